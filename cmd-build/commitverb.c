/* cmd-build/commitverb.c: `commit`: an image of a working container, in the store or wherever a transport leads. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/commit.h"
#include "cmd-build/extra.h"
#include "cmd-build/linked.h"
#include "cmd-build/makeimage.h"
#include "cmd-build/sbom.h"
#include "cmd-build/signing.h"
#include "cmd-build/verbs.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/data/ref.h"
#include "common/store/images.h"

#define O(field) offsetof(struct commit_opts, field)
#define STR(letter, name, field, arg, help) { letter, name, HOY_OPT_STRING, O(field), arg, help }
#define LIST(letter, name, field, arg, help) { letter, name, HOY_OPT_LIST, O(field), arg, help }
#define COMMAS(letter, name, field, arg, help) { letter, name, HOY_OPT_COMMAS, O(field), arg, help }
static const struct hoy_opt commit_opts[] = {
	LIST(0, "add-file", add_file, "SOURCE[:PATH]", "add a file to the image, in a layer of its own"),
	LIST(0, "annotation", annotation, "KEY=VALUE", "add an annotation to the image's manifest"),
	STR(0, "authfile", authfile, "FILE", "credentials of registries"),
	STR(0, "cert-dir", cert_dir, "DIR", "certificates of registries"),
	LIST('c', "change", change, "INSTRUCTION", "change the image's config as this instruction would"),
	STR(0, "config", config, "FILE", "JSON with settings for the image, as docker has them in its config"),
	{ 0, "created-annotation", HOY_OPT_TRI, O(created_annotation), NULL, "add the annotation org.opencontainers.image.created (default true)" },
	STR(0, "creds", creds, "USER[:PASSWORD]", "credentials for the registry"),
	STR(0, "cw", cw, "OPTIONS", "not supported"),
	{ 'D', "disable-compression", HOY_OPT_TRI, O(disable_compression), NULL, "write layers as they are, where the place may have them so (default true)" },
	COMMAS(0, "encrypt-layer", encrypt_layer, "N", "encrypt this layer alone; -1 is the last one"),
	COMMAS(0, "encryption-key", encryption_key, "PROTOCOL:FILE", "encrypt layers for this public key"),
	STR('f', "format", format, "FORMAT", "oci (default) or docker"),
	{ 0, "identity-label", HOY_OPT_TRI, O(identity_label), NULL, "add the label io.buildah.version (default true)" },
	STR(0, "iidfile", iidfile, "FILE", "write the image's id to a file, instead of printing it"),
	STR(0, "manifest", manifest, "LIST", "add the image to a list, which is made if need be"),
	{ 0, "omit-history", HOY_OPT_FLAG, O(omit_history), NULL, "leave the history out of the image" },
	{ 0, "pull", HOY_OPT_OPTARG, O(pull), "[=true]", "of the scanner's image: true (newer, the default), false (missing), always or never" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "no progress" },
	{ 0, "rewrite-timestamp", HOY_OPT_FLAG, O(rewrite_timestamp), NULL, "no file of the layer is younger than --source-date-epoch" },
	{ 0, "rm", HOY_OPT_FLAG, O(rm), NULL, "remove the container afterwards" },
	SBOM_OPTS(O(sbom)),
	STR(0, "sign-by", sign_by, "FINGERPRINT", "sign the image with this key of gpg"),
	STR(0, "source-date-epoch", source_date_epoch, "SECONDS", "time of the image (default SOURCE_DATE_EPOCH, else now)"),
	{ 0, "squash", HOY_OPT_FLAG, O(squash), NULL, "one layer for all there is" },
	STR(0, "timestamp", timestamp, "SECONDS", "time of the image and of all its new files"),
	{ 0, "tls-verify", HOY_OPT_TRI, O(tls_verify), NULL, "check the registry's certificate" },
	COMMAS(0, "unsetannotation", unset_annotation, "KEY", "leave out an annotation of the base image's"),
	COMMAS(0, "unsetenv", unset_env, "NAME", "take a variable from the image"),
	HOY_OPTS_END,
};

static const char *const linked_lists[] = { "PrependedLinkedLayers", "AppendedLinkedLayers" };

/* Are there layers that were put together beside the container? */
static bool linked(const struct commit *m)
{
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(linked_lists); i++) {
		const struct hoy_json *list = hoy_json_get(m->c.d.root, linked_lists[i]);

		any = any || (list && list->count);
	}
	return any;
}

/* The image is not yet what it is to be when it is committed: it gets its name afterwards. */
static bool unfinished(const struct commit *m) { return m->o.sign_by || (m->files.n && !m->o.squash) || linked(m); }

/* ---- into the store ---- */

static int call(struct commit *m, const char *tool, const struct hoy_strv *argv, struct hoy_buf *out)
{
	int status = argv->error ? -ENOMEM : hoy_call_tool(tool, (const char *const *)argv->v, out);

	if (status < 0)
		return hoy_fail_errno(&m->c.b.err, -status, "cannot run %s", tool);
	return status ? -HOY_EREMOTE : 0; /* it has told the user why */
}

static void note_images(struct commit *m)
{
	if (!hoy_store_peek(m->c.b.s, HOY_LAYERS | HOY_IMAGES, NULL))
		for (struct hoy_json *rec = hoy_image_first(m->c.b.s); rec; rec = hoy_image_next(m->c.b.s, rec))
			hoy_strv_push(&m->before, hoy_json_str(rec, "id") ?: "");
}

static int store_image(struct commit *m)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	const char *author = hoy_json_str(hoy_json_get(m->c.d.root, "ociv1"), "author"), *comment = hoy_json_str(hoy_json_get(m->c.d.root, "docker"), "comment");
	int r = commit_spec(m);

	if (r < 0)
		return r;
	if (linked(m) && m->o.squash)
		return hoy_fail(&m->c.b.err, EINVAL, "can't add prebuilt layers and produce an image with only one layer, at the same time");
	if (m->place || unfinished(m))
		note_images(m);
	hoy_strv_pushf(&argv, "--format=%s", m->docker ? "docker" : "oci");
	if (m->o.quiet || m->place)
		hoy_strv_push(&argv, "--quiet");
	if (author && *author)
		hoy_strv_pushf(&argv, "--author=%s", author);
	if (m->docker && comment && *comment)
		hoy_strv_pushf(&argv, "--message=%s", comment);
	if (m->o.squash)
		hoy_strv_push(&argv, "--squash");
	if (m->o.config)
		hoy_strv_pushf(&argv, "--config=%s", m->o.config);
	for (size_t i = 0; i < m->o.change.n; i++)
		hoy_strv_pushf(&argv, "--change=%s", m->o.change.v[i]);
	if (m->name && !unfinished(m))
		hoy_strv_push(&argv, m->name);
	return make_image_of(m->root, &argv, m->id, &m->c.b.err);
}

/* ---- --sbom ---- */

static void push_from_options(const struct commit *m, struct hoy_strv *argv)
{
	const char *pull = m->o.pull ?: "true";

	hoy_strv_pushf(argv, "--pull=%s", !strcmp(pull, "true") ? "newer" : !strcmp(pull, "false") ? "missing" : pull);
	if (m->o.authfile)
		hoy_strv_pushf(argv, "--authfile=%s", m->o.authfile);
	if (m->o.cert_dir)
		hoy_strv_pushf(argv, "--cert-dir=%s", m->o.cert_dir);
	if (m->o.tls_verify >= 0)
		hoy_strv_pushf(argv, "--tls-verify=%s", m->o.tls_verify ? "true" : "false");
}

static int scan(struct commit *m)
{
	cleanup_strv struct hoy_strv from = HOY_STRV_INIT;
	cleanup_free char *root = NULL;
	int r = sbom_wanted(&m->o.sbom) ? mount_layer(&m->c.b, m->c.w.layer, false, &root) : 0;

	if (!root)
		return r;
	push_from_options(m, &from);
	r = sbom_scan(&m->c.b, &m->o.sbom, &from, root, NULL, &m->files);
	(void)unmount_layer(&m->c.b, m->c.w.layer, NULL);
	return r;
}

/* ---- elsewhere ---- */

static void push_copy_options(const struct commit *m, struct hoy_strv *argv)
{
	const struct {
		const char *option, *value;
	} texts[] = { { "authfile", m->o.authfile }, { "dest-cert-dir", m->o.cert_dir }, { "dest-creds", m->o.creds }, { "sign-by", m->o.sign_by } };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].value)
			hoy_strv_pushf(argv, "--%s=%s", texts[i].option, texts[i].value);
	if (m->o.tls_verify >= 0)
		hoy_strv_pushf(argv, "--dest-tls-verify=%s", m->o.tls_verify ? "true" : "false");
	if (m->o.disable_compression == 0)
		hoy_strv_push(argv, "--dest-compress");
	if (m->o.quiet)
		hoy_strv_push(argv, "--quiet");
	for (size_t i = 0; i < m->o.encryption_key.n; i++)
		hoy_strv_pushf(argv, "--encryption-key=%s", m->o.encryption_key.v[i]);
	for (size_t i = 0; i < m->o.encrypt_layer.n; i++)
		hoy_strv_pushf(argv, "--encrypt-layer=%s", m->o.encrypt_layer.v[i]);
}

/* Only the place that was asked for keeps the image. */
static void forget_image(struct commit *m, const char *id)
{
	if (hoy_strv_has(&m->before, id) || hoy_store_lock(m->c.b.s, 0, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, NULL) < 0)
		return;
	(void)hoy_image_delete(m->c.b.s, id, NULL, NULL);
	hoy_store_unlock(m->c.b.s);
}

static int add_files(struct commit *m)
{
	char first[HOY_ID_SIZE];
	int r;

	memcpy(first, m->id, sizeof(first));
	r = extra_layer(&m->c.b, m->id, &m->files, m->o.timestamp ? m->time : -1);
	if (strcmp(first, m->id))
		forget_image(m, first);
	return r;
}

/* They come on top of the container's own layer. */
static int add_linked(struct commit *m)
{
	const struct linked_how how = { .when = m->time >= 0 ? m->when : NULL, .mtime = m->o.timestamp || commit_clamps(m) ? m->time : -1, .clamp = commit_clamps(m) };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(linked_lists); i++)
		HOY_JSON_EACH(l, hoy_json_get(m->c.d.root, linked_lists[i])) {
			char before[HOY_ID_SIZE];

			memcpy(before, m->id, sizeof(before));
			r = r ? r : linked_add(&m->c.b, m->id, l, &how);
			if (strcmp(before, m->id))
				forget_image(m, before);
		}
	return r;
}

static int sign_here(struct commit *m, const char *name)
{
	int r;

	if (!m->o.quiet)
		fputs("Creating signature: Signing image using simple signing\n", stderr);
	r = sign_stored(m->id, name, m->o.sign_by, &m->c.b.err);
	if (!r && !m->o.quiet)
		fputs("Storing signatures\n", stderr);
	return r;
}

/* What is left to do for the image in the store. What fails here leaves no image. */
static int complete_image(struct commit *m)
{
	cleanup_free char *name = m->name ? full_name(m->name, &m->c.b.err) : NULL;
	int r = m->name && !name ? -m->c.b.err.code : 0;

	if (!r && linked(m))
		r = add_linked(m);
	if (!r && m->files.n && !m->o.squash)
		r = add_files(m);
	if (!r && m->o.sign_by && !m->place)
		r = sign_here(m, name);
	if (!r && name && unfinished(m))
		r = image_tag(&m->c.b, m->id, name);
	if (r < 0)
		forget_image(m, m->id);
	return r;
}

static int copy_out(struct commit *m)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 20);
	int r;

	hoy_strv_push(&argv, "copy");
	push_copy_options(m, &argv);
	hoy_strv_pushf(&argv, "containers-storage:%s", m->id);
	hoy_strv_push(&argv, m->place);
	r = call(m, "hoy-image", &argv, &out);
	forget_image(m, m->id);
	return r;
}

static int add_to_list(struct commit *m)
{
	const char *const exists[] = { "manifest", "exists", m->o.manifest, NULL };
	cleanup_strv struct hoy_strv create = HOY_STRV_INIT, add = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	int r = 0;

	if (hoy_call_tool("hoy-image", exists, NULL)) {
		hoy_strv_push(&create, "manifest");
		hoy_strv_push(&create, "create");
		hoy_strv_push(&create, m->o.manifest);
		r = call(m, "hoy-image", &create, &out);
	}
	hoy_strv_push(&add, "manifest");
	hoy_strv_push(&add, "add");
	hoy_strv_push(&add, m->o.manifest);
	hoy_strv_pushf(&add, "containers-storage:%s", m->id);
	return r ? r : call(m, "hoy-image", &add, &out);
}

/* ---- the verb ---- */

static int parse_time(struct commit *m, const char *option, const char *text)
{
	char *end;

	m->time = strtoll(text, &end, 10);
	if (!*text || *end || m->time < 0)
		return hoy_fail(&m->c.b.err, EINVAL, "%s must be a number of seconds since 1970, not '%s'", option, text);
	return 0;
}

static int take_times(struct commit *m)
{
	const char *epoch = m->o.source_date_epoch ?: getenv("SOURCE_DATE_EPOCH");

	m->time = -1;
	if (m->o.timestamp && epoch && *epoch)
		return hoy_fail(&m->c.b.err, EINVAL, "cannot use more then one timestamp option at a time");
	if (m->o.timestamp)
		return parse_time(m, "--timestamp", m->o.timestamp);
	return epoch && *epoch ? parse_time(m, "--source-date-epoch", epoch) : 0;
}

static int take_format(struct commit *m)
{
	const char *f = m->o.format ?: getenv("BUILDAH_FORMAT");

	m->docker = f && !strcmp(f, "docker");
	if (f && !m->docker && strcmp(f, "oci"))
		return hoy_fail(&m->c.b.err, EINVAL, "unrecognized image type \"%s\"", f);
	return 0;
}

static int take_name(struct commit *m, const char *word)
{
	static const char here[] = "containers-storage:";

	if (!word)
		return 0;
	if (!strncmp(word, here, sizeof(here) - 1) && word[sizeof(here) - 1] != '[')
		m->name = word + sizeof(here) - 1;
	else if (hoy_names_transport(word))
		m->place = word;
	else
		m->name = word;
	if (!m->place && m->o.encryption_key.n)
		return hoy_fail(&m->c.b.err, HOY_EUNSUPPORTED, "images in the store cannot be encrypted: name a registry or a file");
	return 0;
}

static int finish(struct commit *m)
{
	int r = unfinished(m) ? complete_image(m) : 0;

	if (!r && m->place)
		r = copy_out(m);
	if (!r && m->o.manifest)
		r = add_to_list(m);
	if (!r && m->o.iidfile) {
		cleanup_free char *text = hoy_asprintf("sha256:%s", m->id);

		r = text ? hoy_replace_file(AT_FDCWD, m->o.iidfile, text, strlen(text), 0644, false) : -ENOMEM;
		if (r < 0)
			return hoy_fail_errno(&m->c.b.err, -r, "cannot write '%s'", m->o.iidfile);
	} else if (!r) {
		puts(m->id);
	}
	return !r && m->o.rm ? ctr_remove(&m->c) : r;
}

static int check(struct commit *m, int n, char **argv)
{
	int r = options_first(n, argv, "container name", &m->c.b.err);

	if (!r && !n)
		r = hoy_fail(&m->c.b.err, EINVAL, "container ID must be specified");
	if (!r && n > 2)
		r = hoy_fail(&m->c.b.err, EINVAL, "too many arguments specified");
	if (!r)
		r = take_times(m);
	if (!r)
		r = take_format(m);
	if (!r && m->o.manifest && n == 2 && hoy_names_transport(argv[2]))
		r = hoy_fail(&m->c.b.err, HOY_EUNSUPPORTED, "--manifest is for images in the store");
	if (!r && m->o.cw)
		r = hoy_fail(&m->c.b.err, HOY_EUNSUPPORTED, "--cw is not supported: no images for confidential workloads are made");
	if (!r)
		r = sbom_check(&m->o.sbom, &m->c.b.err);
	for (size_t i = 0; i < m->o.add_file.n && !r; i++)
		r = extra_parse(&m->files, m->o.add_file.v[i], &m->c.b.err);
	return r ? r : take_name(m, n == 2 ? argv[2] : NULL);
}

static int run_commit(const struct hoy_verb *v, int argc, char **argv)
{
	struct commit m = { .o = { .created_annotation = 1, .disable_compression = -1, .identity_label = -1, .tls_verify = -1 } };
	struct hoy_strv *lists[] = { &m.files, &m.before, &m.o.add_file, &m.o.annotation, &m.o.change, &m.o.unset_annotation, &m.o.unset_env, &m.o.encryption_key, &m.o.encrypt_layer,
				     &m.o.sbom.commands };
	int status, r, n = hoy_verb_args(v, argc, argv, &m.o, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&m.c);
	r = check(&m, n, argv);
	if (!r)
		r = ctr_open(&m.c, argv[1]);
	if (!r)
		ctr_tidy(&m.c);
	if (!r)
		r = scan(&m);
	if (!r)
		r = store_image(&m);
	if (!r)
		r = finish(&m);
	hoy_json_release(&m.d);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_strv_release(lists[i]);
	return ctr_finish(&m.c, r);
}
const struct hoy_verb verb_commit = { "commit", "[options] CONTAINER [IMAGE]", "Make an image of a working container", commit_opts, run_commit,
				      HOY_VERB_COMMAND };
