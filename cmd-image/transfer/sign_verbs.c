/* cmd-image/transfer/sign_verbs.c: signing by itself: `standalone-sign`, `standalone-verify`, `generate-sigstore-key`, `image sign`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/gpg.h"
#include "cmd-image/transfer/lookaside.h"
#include "cmd-image/transfer/sign.h"
#include "cmd-image/transfer/sigstore.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"

struct sign_file {
	const char *output, *passphrase_file, *public_keys, *prefix;
};
#define O(field) offsetof(struct sign_file, field)
static const struct hoy_opt sign_opts[] = {
	{ 'o', "output", HOY_OPT_STRING, O(output), "SIGNATURE", "where the signature goes" },
	{ 0, "passphrase-file", HOY_OPT_STRING, O(passphrase_file), "FILE", "file with the passphrase of the key" },
	HOY_OPTS_END,
};
static const struct hoy_opt verify_opts[] = {
	{ 0, "public-key-file", HOY_OPT_STRING, O(public_keys), "FILE", "the public keys (default: those of the user's gpg)" },
	HOY_OPTS_END,
};
static const struct hoy_opt generate_opts[] = {
	{ 0, "output-prefix", HOY_OPT_STRING, O(prefix), "PREFIX", "write the keys to PREFIX.pub and PREFIX.private" },
	{ 0, "passphrase-file", HOY_OPT_STRING, O(passphrase_file), "FILE", "file with the passphrase for the private key" },
	HOY_OPTS_END,
};

/* The digest of the manifest in FILE. */
static int digest_of(const char *file, char ret[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, file, MANIFEST_MAX, &data, &len, err);

	if (!r)
		sha_of(data, len, ret);
	return r;
}

/* NAME as it stands in signatures: complete, with the tag or digest that it must have. */
static int exact_name(const char *name, struct hoy_ref *ref, struct hoy_err *err)
{
	int r = hoy_ref_parse(ref, name, err);

	if (!r && !ref->tag && !ref->digest)
		return hoy_fail(err, EINVAL, "'%s' has neither a tag nor a digest", name);
	return r ? r : hoy_ref_normalize(ref) < 0 ? hoy_fail_oom(err) : 0;
}

static int sign_file(const char *const *args, const struct sign_file *o, struct hoy_err *err)
{
	struct sign_opts s = { .gpg_key = args[2], .passphrase_file = o->passphrase_file };
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *name = NULL;
	cleanup_sigs struct sigs sigs = { 0 };
	char digest[SHA_DIGEST_SIZE];
	int r;

	if (!o->output)
		return hoy_fail(err, EINVAL, "the signature needs a place: --output SIGNATURE");
	r = digest_of(args[0], digest, err);
	if (!r)
		r = exact_name(args[1], &ref, err);
	if (!r)
		r = sign_name(&s, &ref, args[1], &name, err);
	if (!r)
		r = sign_image(&s, name, digest, &sigs, err);
	if (r < 0)
		return r;
	r = hoy_replace_file(AT_FDCWD, o->output, sigs.v[0].data, sigs.v[0].len, 0644, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s'", o->output) : 0;
}

static int run_sign(const struct hoy_verb *v, int argc, char **argv)
{
	struct sign_file o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	int status, n = hoy_verb_args(v, argc, argv, &o, 3, 3, &status);

	if (n < 0)
		return status;
	return sign_file((const char *const *)argv + 1, &o, &err) < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_standalone_sign = { "standalone-sign", "[options] MANIFEST NAME KEY-FINGERPRINT",
	"Sign a manifest in a file with a key of gpg", sign_opts, run_sign, false };

/* ---- verifying ---- */

static int open_keys(struct gpg *g, const char *file, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	size_t len;
	int r = file ? hoy_read_file(AT_FDCWD, file, SIG_MAX, &data, &len, err) : 0;

	if (!r)
		r = gpg_open(g, file, err);
	return r || !file ? r : gpg_import(g, data, len, err);
}

/* The claim must be about DIGEST and NAME, to the letter once both are complete. */
static int check_claim(const struct hoy_buf *payload, const char *digest, const char *name, struct hoy_err *err)
{
	cleanup_claim struct claim c = { NULL, NULL };
	cleanup_ref struct hoy_ref want = HOY_REF_INIT, has = HOY_REF_INIT;
	cleanup_free char *a = NULL, *b = NULL;
	int r = claim_parse(&c, SIG_SIMPLE, hoy_buf_str(payload), payload->len, err);

	if (!r)
		r = exact_name(name, &want, err);
	if (!r)
		r = exact_name(c.name, &has, err);
	if (r < 0)
		return r;
	a = hoy_ref_string(&want);
	b = hoy_ref_string(&has);
	if (!a || !b)
		return hoy_fail_oom(err);
	if (strcmp(a, b))
		return hoy_fail(err, EACCES, "Docker reference \"%s\" does not match \"%s\"", c.name, name);
	return strcmp(c.digest, digest) ? hoy_fail(err, EACCES, "Signature for docker digest \"%s\" does not match", c.digest) : 0;
}

static int verify_file(char **args, const struct sign_file *o, char digest[SHA_DIGEST_SIZE], char **ret_key, struct hoy_err *err)
{
	cleanup_gpg struct gpg g = { NULL };
	cleanup_strv struct hoy_strv allowed = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf payload = HOY_BUF_INIT(SIG_MAX);
	cleanup_free char *sig = NULL, *key = NULL;
	bool any = !strcmp(args[2], "any");
	size_t len;
	int r;

	if (any && !o->public_keys)
		return hoy_fail(err, EINVAL, "Cannot use any fingerprint without a public key file");
	r = digest_of(args[0], digest, err);
	if (!r)
		r = hoy_read_file(AT_FDCWD, args[3], SIG_MAX, &sig, &len, err);
	if (!r)
		r = open_keys(&g, o->public_keys, err);
	if (!r)
		r = gpg_verify(&g, sig, len, &payload, &key, err);
	hoy_strv_split(&allowed, args[2], ',');
	if (!r && !hoy_strv_has(any ? &g.fingerprints : &allowed, key))
		r = hoy_fail(err, EACCES, "Signature by %s does not match expected fingerprints %s", key, args[2]);
	if (!r)
		r = check_claim(&payload, digest, args[1], err);
	if (!r)
		*ret_key = steal_ptr(&key);
	return r < 0 ? hoy_fail_prefix(err, "Error verifying signature") : 0;
}

static int run_verify(const struct hoy_verb *v, int argc, char **argv)
{
	struct sign_file o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_free char *key = NULL;
	char digest[SHA_DIGEST_SIZE];
	int status, n = hoy_verb_args(v, argc, argv, &o, 4, 4, &status);

	if (n < 0)
		return status;
	if (verify_file(argv + 1, &o, digest, &key, &err) < 0)
		return hoy_report(&err, 125);
	printf("Signature verified using fingerprint %s, digest %s\n", key, digest);
	return hoy_finish_stdout(0);
}
const struct hoy_verb verb_standalone_verify = { "standalone-verify", "[options] MANIFEST NAME KEY-FINGERPRINTS SIGNATURE",
	"Verify a signature in a file", verify_opts, run_verify, false };

/* ---- keys ---- */

/* Never in place of a file that is there: it might be somebody's key. */
static int write_new(const char *path, const struct hoy_buf *b, mode_t mode, struct hoy_err *err)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int r = fd < 0 ? -errno : hoy_write_full(fd, b->data, b->len);

	if (r == -EEXIST)
		return hoy_fail(err, EEXIST, "Refusing to overwrite existing \"%s\"", path);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s'", path) : 0;
}

static int generate(const struct sign_file *o, const char *priv, const char *pub, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf k = HOY_BUF_INIT(SIG_MAX), p = HOY_BUF_INIT(SIG_MAX);
	char *pass = NULL;
	int r;

	if (hoy_exists(AT_FDCWD, priv) || hoy_exists(AT_FDCWD, pub))
		return hoy_fail(err, EEXIST, "Refusing to overwrite existing \"%s\"", hoy_exists(AT_FDCWD, pub) ? pub : priv);
	r = passphrase_get(o->passphrase_file, priv, &pass, err);
	if (!r)
		r = sigstore_generate(pass, &k, &p, err);
	passphrase_free(pass);
	if (!r)
		r = write_new(priv, &k, 0600, err);
	return r ? r : write_new(pub, &p, 0644, err);
}

static int run_generate(const struct hoy_verb *v, int argc, char **argv)
{
	struct sign_file o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_free char *priv = NULL, *pub = NULL;
	int status, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	if (!o.prefix)
		return hoy_report((hoy_fail(&err, EINVAL, "the keys need a place: --output-prefix PREFIX"), &err), 125);
	priv = hoy_asprintf("%s.private", o.prefix);
	pub = hoy_asprintf("%s.pub", o.prefix);
	if (!priv || !pub)
		return hoy_report((hoy_fail_oom(&err), &err), 125);
	if (generate(&o, priv, pub, &err) < 0)
		return hoy_report(&err, 125);
	printf("Key written to \"%s\" and \"%s\"\n", priv, pub);
	return hoy_finish_stdout(0);
}
const struct hoy_verb verb_generate_sigstore_key = { "generate-sigstore-key", "[options] --output-prefix PREFIX",
	"Make a key pair for sigstore signatures", generate_opts, run_generate, false };

/* ---- images in registries ---- */

struct sign_image {
	struct sign_opts sign;
	struct reg_opts reg;
	const char *directory;
	bool all;
};
#define I(field) offsetof(struct sign_image, field)
static const struct hoy_opt image_sign_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, I(all), NULL, "sign all images of a list" },
	{ 0, "authfile", HOY_OPT_STRING, I(reg.authfile), "FILE", "file with credentials" },
	{ 0, "cert-dir", HOY_OPT_STRING, I(reg.cert_dir), "DIR", "directory of certificates" },
	{ 'd', "directory", HOY_OPT_STRING, I(directory), "DIR", "where the signatures go (default: as registries.d says)" },
	SIGN_BY_OPT(I(sign.gpg_key)),
	HOY_OPTS_END,
};

static int add_signature(const struct sign_image *o, const struct hoy_ref *ref, const char *digest, struct hoy_err *err)
{
	cleanup_sigs struct sigs sigs = { 0 };
	cleanup_free char *name = hoy_ref_string(ref);
	int r = name ? sign_image(&o->sign, name, digest, &sigs, err) : hoy_fail_oom(err);

	return r ? r : lookaside_add(ref, digest, o->directory, &sigs.v[0], err);
}

static int sign_remote(const struct sign_image *o, const char *image, struct hoy_err *err)
{
	cleanup_source struct source *src = NULL;
	cleanup_manifest struct manifest m = { 0 };
	int r = source_open(&src, image, &o->reg, err);

	if (!r && !src->ref.path)
		r = hoy_fail(err, EINVAL, "cannot determine canonical Docker reference for destination %s", src->title);
	if (!r)
		r = source_manifest(src, NULL, &m, err);
	if (!r && o->all && !manifest_is_list(&m))
		r = hoy_fail(err, EINVAL, "%s is not a multi-architecture image (manifest type %s)", image, manifest_type(m.kind));
	for (size_t i = 0; !r && o->all && i < m.n; i++)
		r = add_signature(o, &src->ref, m.v[i].digest, err);
	return r || o->all ? r : add_signature(o, &src->ref, m.digest, err);
}

static int run_image_sign(const struct hoy_verb *v, int argc, char **argv)
{
	struct sign_image o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	int status, r = 0, n = hoy_verb_args(v, argc, argv, &o, 1, -1, &status);

	if (n < 0)
		return status;
	if (!o.sign.gpg_key)
		return hoy_report((hoy_fail(&err, EINVAL, "no identity provided: --sign-by"), &err), 125);
	for (int i = 1; i <= n && !r; i++)
		r = sign_remote(&o, argv[i], &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_image_sign = { "image sign", "[options] IMAGE [IMAGE...]", "Sign images of a registry", image_sign_opts,
					  run_image_sign, false };
