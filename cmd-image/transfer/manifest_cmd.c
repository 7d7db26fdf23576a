/* cmd-image/transfer/manifest_cmd.c: `manifest create|add|annotate|remove|rm|inspect|exists`: lists of images in the store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/index.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/msg.h"
#include "common/data/digest.h"
#include "common/data/ref.h"

struct list_opts {
	struct reg_opts reg;
	struct index_facts facts;
	struct artifact_opts artifact;
	bool all, amend, index, ignore;
	const char *subject;
};
#define O(field) offsetof(struct list_opts, field)
#define REG_OPTS \
	{ 0, "authfile", HOY_OPT_STRING, O(reg.authfile), "FILE", "file with credentials" }, \
	{ 0, "tls-verify", HOY_OPT_TRI, O(reg.tls_verify), NULL, "require HTTPS and check certificates (default true)" }
#define FACT_OPTS \
	{ 0, "annotation", HOY_OPT_LIST, O(facts.annotations), "KEY=VALUE", "annotation of the image in the list" }, \
	{ 0, "arch", HOY_OPT_STRING, O(facts.arch), "ARCH", "architecture that the list says" }, \
	{ 0, "features", HOY_OPT_COMMAS, O(facts.features), "FEATURE,...", "features of the processor (docker's form of lists alone)" }, \
	{ 0, "os", HOY_OPT_STRING, O(facts.os), "OS", "operating system that the list says" }, \
	{ 0, "os-version", HOY_OPT_STRING, O(facts.os_version), "VERSION", "version of the operating system" }, \
	{ 0, "variant", HOY_OPT_STRING, O(facts.variant), "VARIANT", "variant of the architecture" }

static const struct hoy_opt create_opts[] = {
	{ 0, "all", HOY_OPT_FLAG, O(all), NULL, "of a list that is added take all images" },
	{ 'a', "amend", HOY_OPT_FLAG, O(amend), NULL, "change the list if there is one of that name" },
	{ 0, "annotation", HOY_OPT_LIST, O(facts.annotations), "KEY=VALUE", "annotation of the list" },
	{ 0, "tls-verify", HOY_OPT_TRI, O(reg.tls_verify), NULL, "require HTTPS and check certificates (default true)" },
	HOY_OPTS_END,
};
static const struct hoy_opt add_opts[] = {
	{ 0, "all", HOY_OPT_FLAG, O(all), NULL, "of a list take all images" },
	FACT_OPTS,
	{ 0, "os-features", HOY_OPT_COMMAS, O(facts.os_features), "FEATURE,...", NULL }, /* hoy-build's, like the next */
	{ 0, "artifact-annotation", HOY_OPT_LIST, O(artifact.annotations), "KEY=VALUE", NULL },
	{ 0, "artifact", HOY_OPT_FLAG, O(artifact.artifact), NULL, "make an artifact of files, and add that" },
	{ 0, "artifact-config", HOY_OPT_STRING, O(artifact.config), "FILE", "its config" },
	{ 0, "artifact-config-type", HOY_OPT_STRING, O(artifact.config_type), "TYPE", "media type of its config" },
	{ 0, "artifact-exclude-titles", HOY_OPT_FLAG, O(artifact.no_titles), NULL, "do not note what the files are called" },
	{ 0, "artifact-layer-type", HOY_OPT_STRING, O(artifact.layer_type), "TYPE", "media type of the files (default: by their names, or their content)" },
	{ 0, "artifact-subject", HOY_OPT_STRING, O(artifact.subject), "IMAGE", "the image that the list is about" },
	{ 0, "artifact-type", HOY_OPT_STRING, O(artifact.type), "TYPE", "what the artifact is: its artifactType" },
	REG_OPTS,
	{ 0, "cert-dir", HOY_OPT_STRING, O(reg.cert_dir), "DIR", "directory of certificates" },
	{ 0, "creds", HOY_OPT_STRING, O(reg.creds), "USER:PASSWORD", "credentials for the registry" },
	HOY_OPTS_END,
};
static const struct hoy_opt annotate_opts[] = {
	FACT_OPTS,
	{ 0, "index", HOY_OPT_FLAG, O(index), NULL, "annotate the list itself" },
	{ 0, "os-features", HOY_OPT_COMMAS, O(facts.os_features), "FEATURE,...", "features of the operating system" },
	{ 0, "subject", HOY_OPT_STRING, O(subject), "IMAGE", "the image that the list is about" },
	HOY_OPTS_END,
};
static const struct hoy_opt inspect_opts[] = { REG_OPTS, HOY_OPTS_END };
static const struct hoy_opt rm_opts[] = {
	{ 'i', "ignore", HOY_OPT_FLAG, O(ignore), NULL, "lists that are not there are no error" },
	HOY_OPTS_END,
};
static const struct hoy_opt no_opts[] = { HOY_OPTS_END };

static void release(struct list_opts *o)
{
	hoy_strv_release(&o->facts.annotations);
	hoy_strv_release(&o->facts.features);
	hoy_strv_release(&o->facts.os_features);
	hoy_strv_release(&o->artifact.annotations);
}

/* ---- what is to be added: found before any lock is taken ---- */

struct found {
	char *from; /* its name, with the transport */
	struct manifest m;
	struct config config;
	struct hoy_json_doc platform; /* of an entry of a list */
};
struct finds {
	struct found *v;
	size_t n;
};

static void finds_release(struct finds *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].from);
		manifest_release(&f->v[i].m);
		config_release(&f->v[i].config);
		hoy_json_release(&f->v[i].platform);
	}
	free(f->v);
}

/* NAME of an image as podman's lists say where it is, and how we open it: both in new memory. */
static int locate(const char *name, char **ret_from, char **ret_open, struct hoy_err *err)
{
	cleanup_store struct hoy_store *s = NULL;
	const char *rest = strncmp(name, "containers-storage:", 19) ? name : name + 19;
	struct hoy_json *rec;
	int r = hoy_store_open(&s, &hoy_globals.storage, HOY_STORE_RDONLY, err);

	if (rest == name && hoy_names_transport(name)) {
		*ret_from = strdup(name);
		*ret_open = strdup(name);
		return *ret_from && *ret_open ? 0 : hoy_fail_oom(err);
	}
	if (!r)
		r = hoy_store_peek(s, HOY_LAYERS | HOY_IMAGES, err);
	if (r < 0)
		return r;
	r = hoy_image_find(s, *rest == '[' ? strchr(rest, ']') ? strchr(rest, ']') + 1 : rest : rest, &rec, NULL, err);
	if (!r) {
		*ret_from = hoy_asprintf("containers-storage:[%s@%s+%s]@%s", s->own.driver, s->conf.graphroot, s->conf.runroot, hoy_json_str(rec, "id"));
		*ret_open = hoy_asprintf("containers-storage:%s", hoy_json_str(rec, "id"));
	} else if (rest != name) {
		return r;
	} else {
		cleanup_free char *full = full_name(name);

		if (!full)
			return hoy_fail(err, EINVAL, "invalid image reference \"%s\"", name);
		*ret_from = hoy_asprintf("docker://%s", full);
		*ret_open = hoy_asprintf("docker://%s", full);
	}
	return *ret_from && *ret_open ? 0 : hoy_fail_oom(err);
}

static struct found *one_more(struct finds *f, const char *from)
{
	struct found *v = reallocarray(f->v, f->n + 1, sizeof(*v));

	if (!v)
		return NULL;
	f->v = v;
	v[f->n] = (struct found){ .from = strdup(from), .config = CONFIG_INIT };
	return &v[f->n++];
}

/* An entry of a list that is taken over with all its images. */
static int find_entry(struct finds *f, struct source *src, const char *from, const struct desc *d, struct hoy_err *err)
{
	const struct hoy_json *platform = hoy_json_get(d->json, "platform");
	struct found *one = one_more(f, from);
	int r = one && one->from ? source_manifest(src, d->digest, &one->m, err) : hoy_fail_oom(err);

	if (!r && !(one->platform.root = platform ? hoy_json_copy(&one->platform, platform) : hoy_json_new(&one->platform, HOY_JSON_OBJECT)))
		r = hoy_fail_oom(err);
	return r;
}

static int find(struct finds *f, const char *name, const struct list_opts *o, struct hoy_err *err)
{
	static const struct platform here = { NULL, NULL, NULL };
	cleanup_free char *from = NULL, *open = NULL;
	cleanup_source struct source *src = NULL;
	cleanup_manifest struct manifest top = { 0 }, list = { 0 };
	struct found *one;
	int r = locate(name, &from, &open, err);

	if (!r)
		r = source_open(&src, open, &o->reg, err);
	if (!r && o->all)
		r = source_manifest(src, NULL, &top, err);
	if (!r && o->all && manifest_is_list(&top)) {
		for (size_t i = 0; i < top.n && !r; i++)
			r = find_entry(f, src, from, &top.v[i], err);
		return r;
	}
	if (r < 0)
		return r;
	one = one_more(f, from);
	r = one && one->from ? source_image(src, &here, &one->m, &list, err) : hoy_fail_oom(err);
	return r ? r : source_config(src, &one->m, &one->config, err);
}

/* ---- what the list is about ---- */

/* The image NAME. */
static int find_subject(const char *name, const struct reg_opts *reg, struct manifest *ret, struct hoy_err *err)
{
	cleanup_free char *from = NULL, *open = NULL;
	cleanup_source struct source *src = NULL;
	int r = locate(name, &from, &open, err);

	if (!r)
		r = source_open(&src, open, reg, err);
	if (!r)
		r = source_manifest(src, NULL, ret, err);
	return r ? hoy_fail_prefix(err, "locating subject for image index") : 0;
}

static int set_subject(struct index *x, const struct manifest *m)
{
	struct hoy_json *s = hoy_json_put(&x->doc, x->doc.root, "subject", hoy_json_new(&x->doc, HOY_JSON_OBJECT));
	const char *type = hoy_json_str(m->doc.root, "artifactType");

	return s && hoy_json_set_string(&x->doc, s, "mediaType", manifest_type(m->kind)) && hoy_json_set_string(&x->doc, s, "digest", m->digest) &&
	       hoy_json_set_int(&x->doc, s, "size", (int64_t)m->len) && (!type || hoy_json_set_string(&x->doc, s, "artifactType", type)) ? 0 : -ENOMEM;
}

/* ---- create, add ---- */

/* Under the lock: what was found goes into X, with what the user says of it. */
static int add_all(struct index *x, const struct finds *f, const struct index_facts *facts, struct hoy_err *err)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct found *one = &f->v[i];

		if (index_add(x, &one->m, one->from, one->config.doc.root, one->platform.root) < 0 ||
		    (facts && index_annotate(x, index_find(x, one->m.digest), facts) < 0))
			return hoy_fail_oom(err);
	}
	return 0;
}

/* The store, with the images locked for writing. */
static int lock_images(struct hoy_store **ret, struct hoy_err *err)
{
	int r = (*ret = open_store(err)) ? 0 : -err->code;

	return r ? r : hoy_store_lock(*ret, HOY_LAYERS, HOY_IMAGES, err);
}

static int finish(struct list_opts *o, int r, const struct index *x, struct hoy_err *err)
{
	if (!r)
		puts(x->id);
	release(o);
	return r < 0 ? hoy_report(err, 125) : 0;
}

static int taken(const struct hoy_store *s, const char *name, struct hoy_err *err)
{
	for (struct hoy_json *i = hoy_image_first(s); i; i = hoy_image_next(s, i))
		if (hoy_record_has(i, "names", name))
			return hoy_fail(err, EEXIST, "image name \"%s\" is already associated with image \"%s\": that name is already in use", name,
					hoy_json_str(i, "id"));
	return 0;
}

static int run_create(const struct hoy_verb *v, int argc, char **argv)
{
	struct list_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT, none = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_index struct index x = INDEX_INIT;
	cleanup_free char *name = NULL;
	struct finds f = { 0 };
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 1, -1, &status);

	if (n < 0)
		return status;
	name = local_name(argv[1]);
	r = name ? index_facts_check(&o.facts, &err) : hoy_fail(&err, EINVAL, "normalizing name \"%s\": invalid reference format", argv[1]);
	for (int i = 2; i <= n && !r; i++)
		r = find(&f, argv[i], &o, &err);
	if (!r)
		r = lock_images(&s, &err);
	if (!r && !(o.amend && !index_load(&x, s, name, &none))) {
		index_release(&x);
		*x.id = '\0';
		r = taken(s, name, &err);
		if (!r && index_init(&x) < 0)
			r = hoy_fail_oom(&err);
	}
	if (!r)
		r = add_all(&x, &f, NULL, &err);
	if (!r && index_annotate(&x, NULL, &o.facts) < 0)
		r = hoy_fail_oom(&err);
	if (!r)
		r = index_save(&x, s, name, &err);
	finds_release(&f);
	return finish(&o, r, &x, &err);
}
const struct hoy_verb verb_manifest_create = { "manifest create", "[options] LIST [IMAGE...]", "Make a list of images", create_opts, run_create, false };

/* What is to be added: images, or one artifact of files. */
struct addition {
	struct finds images;
	struct artifact artifact;
	struct manifest subject;
};

static void addition_release(struct addition *a)
{
	finds_release(&a->images);
	artifact_release(&a->artifact);
	manifest_release(&a->subject);
}

static int prepare(struct addition *a, const struct list_opts *o, char **names, int n, struct hoy_err *err)
{
	int r = 0;

	if (o->artifact.subject && *o->artifact.subject)
		r = find_subject(o->artifact.subject, &o->reg, &a->subject, err);
	if (!r && o->artifact.artifact)
		return artifact_make(&a->artifact, &o->artifact, names, n, err);
	for (int i = 0; i < n && !r; i++)
		r = find(&a->images, names[i], o, err);
	return r;
}

static int add_artifact(struct index *x, const struct addition *a, const struct index_facts *facts, struct hoy_err *err)
{
	if (index_add_artifact(x, &a->artifact) < 0 || index_annotate(x, index_find(x, a->artifact.digest), facts) < 0 ||
	    (a->subject.len && set_subject(x, &a->subject) < 0))
		return hoy_fail_oom(err);
	return 0;
}

static int run_add(const struct hoy_verb *v, int argc, char **argv)
{
	struct list_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_index struct index x = INDEX_INIT, before = INDEX_INIT;
	struct addition a = { 0 };
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 2, -1, &status);

	if (n < 0)
		return status;
	r = index_facts_check(&o.facts, &err);
	if (!r)
		r = artifact_check(&o.artifact, &err);
	/* Is there a list at all? Before anything is fetched. */
	if (!r && !(s = open_store(&err)))
		r = -err.code;
	if (!r)
		r = hoy_store_peek(s, HOY_LAYERS | HOY_IMAGES, &err);
	if (!r)
		r = index_load(&before, s, argv[1], &err);
	if (!r)
		r = prepare(&a, &o, argv + 2, n - 1, &err);
	if (!r)
		r = hoy_store_lock(s, HOY_LAYERS, HOY_IMAGES, &err);
	if (!r)
		r = index_load(&x, s, argv[1], &err);
	if (!r)
		r = o.artifact.artifact ? add_artifact(&x, &a, &o.facts, &err) : add_all(&x, &a.images, &o.facts, &err);
	if (!r)
		r = index_save(&x, s, NULL, &err);
	addition_release(&a);
	return finish(&o, r, &x, &err);
}
const struct hoy_verb verb_manifest_add = { "manifest add", "[options] LIST IMAGE|FILE [IMAGE|FILE...]", "Add images, or an artifact, to a list", add_opts, run_add, false };

/* ---- annotate, remove ---- */

/* The entry of X that ARG means: a digest, or the name of an image. */
static int entry_of(struct index *x, const char *arg, struct hoy_json **ret, struct hoy_err *err)
{
	struct list_opts o = { .reg = REG_OPTS_INIT };
	struct finds f = { 0 };
	int r = 0;

	*ret = hoy_is_digest(arg) ? index_find(x, arg) : NULL;
	if (!*ret && !hoy_is_digest(arg)) {
		r = find(&f, arg, &o, err);
		*ret = r ? NULL : index_find(x, f.v[0].m.digest);
	}
	finds_release(&f);
	return r || *ret ? r : hoy_fail(err, ENOENT, "no instance matching \"%s\" found in manifest list", arg);
}

static int run_annotate(const struct hoy_verb *v, int argc, char **argv)
{
	struct list_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_index struct index x = INDEX_INIT;
	cleanup_manifest struct manifest subject = { 0 };
	struct hoy_json *entry = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 1, 2, &status);

	if (n < 0)
		return status;
	r = index_facts_check(&o.facts, &err);
	if (!r && o.index && n == 2)
		r = hoy_fail(&err, EINVAL, "did not expect image or artifact name \"%s\" when modifying the entire index", argv[2]);
	if (!r && !o.index && n == 1)
		r = hoy_fail(&err, EINVAL, "expected an instance digest, image name, or artifact name");
	if (!r && o.index && (o.facts.arch || o.facts.os || o.facts.variant || o.facts.os_version || o.facts.features.n || o.facts.os_features.n))
		r = hoy_fail(&err, EINVAL, "--index takes annotations only");
	if (!r && o.subject && *o.subject)
		r = find_subject(o.subject, &o.reg, &subject, &err);
	if (!r)
		r = lock_images(&s, &err);
	if (!r)
		r = index_load(&x, s, argv[1], &err);
	if (!r && subject.len && set_subject(&x, &subject) < 0)
		r = hoy_fail_oom(&err);
	if (!r && n == 2)
		r = entry_of(&x, argv[2], &entry, &err);
	if (!r && index_annotate(&x, entry, &o.facts) < 0)
		r = hoy_fail_oom(&err);
	if (!r)
		r = index_save(&x, s, NULL, &err);
	return finish(&o, r, &x, &err);
}
const struct hoy_verb verb_manifest_annotate = { "manifest annotate", "[options] LIST IMAGE|DIGEST", "Say more of an image in a list",
						 annotate_opts, run_annotate, false };

static int run_remove(const struct hoy_verb *v, int argc, char **argv)
{
	struct list_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_index struct index x = INDEX_INIT;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 2, 2, &status);

	if (n < 0)
		return status;
	r = lock_images(&s, &err);
	if (!r)
		r = index_load(&x, s, argv[1], &err);
	if (!r && !hoy_is_digest(argv[2]))
		r = hoy_fail(&err, EINVAL, "removing from manifest list %s: invalid image digest \"%s\": invalid checksum digest %s", argv[1],
			     argv[2], strncmp(argv[2], "sha256:", 7) ? "format" : "length");
	if (!r && !index_drop(&x, argv[2]))
		r = hoy_fail(&err, ENOENT, "removing from manifest list %s: no instance matching digest \"%s\" found in manifest list: file does not exist",
			     argv[1], argv[2]);
	if (!r)
		r = index_save(&x, s, NULL, &err);
	return finish(&o, r, &x, &err);
}
const struct hoy_verb verb_manifest_remove = { "manifest remove", "LIST DIGEST", "Take an image out of a list", no_opts, run_remove, false };

/* ---- rm, exists, inspect ---- */

int index_delete(struct hoy_store *s, const char *name, struct hoy_err *err)
{
	cleanup_index struct index x = INDEX_INIT;
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	int r = hoy_store_lock(s, 0, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);

	if (!r)
		r = index_load(&x, s, name, err);
	if (!r)
		HOY_JSON_EACH(n, hoy_json_get(hoy_image_get(s, x.id), "names"))
			hoy_strv_push(&names, hoy_json_text(n) ?: "");
	if (!r)
		r = hoy_image_delete(s, x.id, NULL, err);
	hoy_store_unlock(s);
	for (size_t i = 0; i < names.n && !r; i++)
		printf("Untagged: %s\n", names.v[i]);
	if (!r)
		printf("Deleted: %s\n", x.id);
	return r;
}

static int run_rm(const struct hoy_verb *v, int argc, char **argv)
{
	struct list_opts o = { 0 };
	cleanup_store struct hoy_store *s = NULL;
	struct hoy_err err = HOY_ERR_INIT;
	int status, n = hoy_verb_args(v, argc, argv, &o, 1, -1, &status);

	if (n < 0)
		return status;
	s = open_store(&err);
	if (!s)
		return hoy_report(&err, 125);
	status = 0;
	for (int i = 1; i <= n; i++) {
		int r = index_delete(s, argv[i], &err);

		if (!r || (r == -ENOENT && o.ignore))
			continue;
		hoy_report(&err, 0);
		r = r == -ENOENT ? 1 : 125;
		status = r > status ? r : status;
	}
	return status;
}
const struct hoy_verb verb_manifest_rm = { "manifest rm", "[options] LIST [LIST...]", "Remove lists", rm_opts, run_rm, false };

static int load_list(struct index *x, const char *name, struct hoy_err *err)
{
	cleanup_store struct hoy_store *s = NULL;
	int r = hoy_store_open(&s, &hoy_globals.storage, HOY_STORE_RDONLY, err);

	if (!r)
		r = hoy_store_peek(s, HOY_LAYERS | HOY_IMAGES, err);
	return r ? r : index_load(x, s, name, err);
}

static int run_exists(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_index struct index x = INDEX_INIT;
	int status, r;

	if (hoy_verb_args(v, argc, argv, NULL, 1, 1, &status) < 0)
		return status;
	r = load_list(&x, argv[1], &err);
	return !r ? 0 : r == -ENOENT ? 1 : hoy_report(&err, 125);
}
const struct hoy_verb verb_manifest_exists = { "manifest exists", "LIST", "Is there such a list? Exit status 0 or 1", no_opts, run_exists, false };

/* Of a registry, or in the store as a single image. */
static int inspect_other(const char *name, const struct reg_opts *o, struct hoy_jw *w, struct hoy_err *err)
{
	cleanup_free char *from = NULL, *open = NULL;
	cleanup_source struct source *src = NULL;
	cleanup_manifest struct manifest m = { 0 };
	int r = locate(name, &from, &open, err);

	if (!r)
		r = source_open(&src, open, o, err);
	if (!r)
		r = source_manifest(src, NULL, &m, err);
	if (r < 0)
		return r;
	if (manifest_is_list(&m)) {
		index_show(w, m.doc.root, NULL);
		return 0;
	}
	hoy_warning("The manifest type %s is not a manifest list but a single image", manifest_type(m.kind));
	hoy_jw_value(w, NULL, m.doc.root);
	return 0;
}

static int run_inspect(const struct hoy_verb *v, int argc, char **argv)
{
	struct list_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT, none = HOY_ERR_INIT;
	cleanup_index struct index x = INDEX_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "    ");
	int status, r = 0;

	if (hoy_verb_args(v, argc, argv, &o, 1, 1, &status) < 0)
		return status;
	if (!load_list(&x, argv[1], &none))
		index_show(&w, x.doc.root, hoy_json_get(x.artifacts.root, "files"));
	else
		r = inspect_other(argv[1], &o.reg, &w, &err);
	if (!r && b.error)
		r = hoy_fail_oom(&err);
	if (r < 0)
		return hoy_report(&err, 125);
	puts(hoy_buf_str(&b));
	return 0;
}
const struct hoy_verb verb_manifest_inspect = { "manifest inspect", "[options] LIST", "Print a list", inspect_opts, run_inspect, false };
