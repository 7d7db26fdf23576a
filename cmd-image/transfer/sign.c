#include "cmd-image/transfer/sign.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cmd-image/transfer/gpg.h"
#include "cmd-image/transfer/progress.h"
#include "cmd-image/transfer/sigstore.h"
#include "cmd-image/transfer/yaml.h"
#include "common/base/err.h"
#include "common/base/fd.h"

#define PASSPHRASE_MAX ((size_t)64 << 10)
#define KEY_MAX ((size_t)64 << 10)

/* ---- passphrases ---- */

void passphrase_free(char *p)
{
	if (p)
		explicit_bzero(p, strlen(p));
	free(p);
}

static int read_file(const char *file, char **ret, struct hoy_err *err)
{
	char *data, *start;
	size_t n;
	int r = hoy_read_file(AT_FDCWD, file, PASSPHRASE_MAX, &data, &n, err);

	if (r < 0)
		return r;
	while (n && isspace((unsigned char)data[n - 1]))
		data[--n] = '\0';
	for (start = data; isspace((unsigned char)*start);)
		start++;
	memmove(data, start, strlen(start) + 1);
	*ret = data;
	return 0;
}

static int ask(const char *what, char **ret, struct hoy_err *err)
{
	struct termios before, quiet;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (!isatty(0) || tcgetattr(0, &before) < 0)
		return hoy_fail(err, EINVAL, "Cannot read passphrase for key '%s': standard input is not a TTY", what);
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	fprintf(stderr, "Passphrase for key %s: ", what);
	tcsetattr(0, TCSAFLUSH, &quiet);
	n = getline(&line, &cap, stdin);
	tcsetattr(0, TCSAFLUSH, &before);
	fputc('\n', stderr);
	if (n < 0) {
		passphrase_free(line);
		return hoy_fail(err, EINVAL, "Cannot read passphrase for key '%s'", what);
	}
	line[strcspn(line, "\r\n")] = '\0';
	*ret = line;
	return 0;
}

int passphrase_get(const char *file, const char *what, char **ret, struct hoy_err *err)
{
	return file ? read_file(file, ret, err) : ask(what, ret, err);
}

/* ---- signatures ---- */

int sign_name(const struct sign_opts *o, const struct hoy_ref *dest, const char *dest_title, char **ret, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (o->identity) {
		if (hoy_ref_parse(&ref, o->identity, err) < 0)
			return hoy_fail_prefix(err, "Error parsing --sign-identity");
		if (!ref.tag && !ref.digest)
			return hoy_fail(err, EINVAL, "--sign-identity must be a fully specified reference: '%s' has neither a tag nor a digest", o->identity);
		if (hoy_ref_normalize(&ref) < 0)
			return hoy_fail_oom(err);
		dest = &ref;
	}
	if (!dest->path)
		return hoy_fail(err, EINVAL, "Cannot determine canonical Docker reference for destination %s", dest_title);
	*ret = hoy_ref_string(dest);
	return *ret ? 0 : hoy_fail_oom(err);
}

static int sign_gpg(const struct sign_opts *o, const char *name, const char *digest, struct sigs *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf payload = HOY_BUF_INIT(SIG_MAX), out = HOY_BUF_INIT(SIG_MAX);
	cleanup_gpg struct gpg g = { NULL };
	char *pass = NULL;
	int r = o->passphrase_file ? passphrase_get(o->passphrase_file, o->gpg_key, &pass, err) : 0;

	claim_write(&payload, SIG_SIMPLE, name, digest);
	if (!r && payload.error)
		r = hoy_fail_oom(err);
	if (!r)
		r = gpg_open(&g, false, err);
	if (!r)
		r = gpg_sign(&g, o->gpg_key, pass, payload.data, payload.len, &out, err);
	if (!r && !sigs_add(ret, SIG_SIMPLE, out.data, out.len, err))
		r = -err->code;
	passphrase_free(pass);
	return r;
}

/* With the private key in the file KEY and the passphrase in PASS_FILE (NULL: asked for). */
static int sign_sigstore(const char *key, const char *pass_file, const char *name, const char *digest, struct sigs *ret, struct hoy_err *err)
{
	cleanup_free char *pem = NULL;
	char *pass = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, key, KEY_MAX, &pem, &len, err);

	if (!r)
		r = passphrase_get(pass_file, key, &pass, err);
	if (!r)
		r = sigstore_sign(pem, len, key, pass, name, digest, ret, err);
	passphrase_free(pass);
	return r;
}

/* ---- sigstore's parameter file ---- */

struct params {
	struct hoy_json_doc doc;
	const char *key, *passphrase_file;
};

static int bad_params(const char *path, const char *why, struct hoy_err *err)
{
	return hoy_fail(err, HOY_EFORMAT, "parsing sigstore parameter file '%s': %s", path, why);
}

static int load_params(struct params *p, const char *path, struct hoy_err *err)
{
	static const char *const known[] = { "privateKeyFile", "privateKeyPassphraseFile" }, *const undone[] = { "fulcio", "rekorURL" };
	cleanup_free char *text = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, KEY_MAX, &text, &len, err);

	if (!r)
		r = yaml_parse(&p->doc, text, len, path, err);
	if (r < 0)
		return r;
	if (!hoy_json_is(p->doc.root, HOY_JSON_OBJECT))
		return bad_params(path, "it has no parameters", err);
	HOY_JSON_EACH(it, p->doc.root) {
		bool ok = false;

		for (size_t i = 0; i < ARRAY_SIZE(undone); i++)
			if (!strcmp(it->key, undone[i]))
				return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' in '%s' is not supported: images are signed with private keys alone, without Fulcio and Rekor",
						it->key, path);
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			ok = ok || !strcmp(it->key, known[i]);
		if (!ok)
			return hoy_fail(err, HOY_EFORMAT, "parsing sigstore parameter file '%s': '%s' is not known", path, it->key);
		if (!hoy_json_text(it) || !*it->str)
			return hoy_fail(err, HOY_EFORMAT, "parsing sigstore parameter file '%s': '%s' is no path", path, it->key);
	}
	p->key = hoy_json_str(p->doc.root, "privateKeyFile");
	p->passphrase_file = hoy_json_str(p->doc.root, "privateKeyPassphraseFile");
	return p->key ? 0 : bad_params(path, "it names no privateKeyFile", err);
}

static int sign_by_params(const char *path, const char *name, const char *digest, struct sigs *ret, struct hoy_err *err)
{
	struct params p = { HOY_JSON_DOC_INIT, NULL, NULL };
	int r = load_params(&p, path, err);

	if (!r)
		r = sign_sigstore(p.key, p.passphrase_file, name, digest, ret, err);
	hoy_json_release(&p.doc);
	return r;
}

int sign_check(const struct sign_opts *o, struct hoy_err *err)
{
	struct params p = { HOY_JSON_DOC_INIT, NULL, NULL };
	int r = o->sigstore_params ? load_params(&p, o->sigstore_params, err) : 0;

	hoy_json_release(&p.doc);
	return r;
}

int sign_image(const struct sign_opts *o, const char *name, const char *digest, struct sigs *ret, struct hoy_err *err)
{
	int r = o->gpg_key ? sign_gpg(o, name, digest, ret, err) : 0;

	if (!r && o->sigstore_params)
		r = sign_by_params(o->sigstore_params, name, digest, ret, err);
	return r || !o->sigstore_key ? r : sign_sigstore(o->sigstore_key, o->passphrase_file, name, digest, ret, err);
}

int sign_for(const struct sign_opts *o, bool quiet, const struct hoy_ref *dest, const char *dest_title, const char *digest, struct sigs *ret,
	     struct hoy_err *err)
{
	cleanup_free char *name = NULL;
	int r;

	if (!sign_wanted(o))
		return 0;
	if (o->gpg_key)
		progress(quiet, "Creating signature: Signing image using simple signing");
	if (o->sigstore_params)
		progress(quiet, "Creating signature: Signing image using a sigstore signature");
	if (o->sigstore_key)
		progress(quiet, "Creating signature: Signing image using a sigstore signature");
	r = sign_name(o, dest, dest_title, &name, err);
	return r ? r : sign_image(o, name, digest, ret, err);
}
