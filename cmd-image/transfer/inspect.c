/* cmd-image/transfer/inspect.c: `inspect TRANSPORT:...` as skopeo prints it, and `manifest-digest`. No layer is fetched. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/schema1.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/format.h"

struct inspect_opts {
	struct reg_opts reg;
	bool raw, config, no_tags;
	const char *format;
};
#define O(field) offsetof(struct inspect_opts, field)
static const struct hoy_opt inspect_opts[] = {
	REG_LOGIN_OPTS(O(reg), "", ""),
	REG_PLACE_OPTS(O(reg), "", ""),
	REG_RETRY_OPTS(O(reg)),
	{ 0, "config", HOY_OPT_FLAG, O(config), NULL, "print the image's config" },
	{ 'f', "format", HOY_OPT_STRING, O(format), "FORMAT", "json, or a Go template" },
	{ 'n', "no-tags", HOY_OPT_FLAG, O(no_tags), NULL, "do not list the repository's tags" },
	{ 0, "raw", HOY_OPT_FLAG, O(raw), NULL, "print the bytes as they are" },
	HOY_OPTS_END,
};

static void put_or_null(struct hoy_jw *w, const char *key, const struct hoy_json *v)
{
	if (v && v->type != HOY_JSON_NULL)
		hoy_jw_value(w, key, v);
	else
		hoy_jw_null(w, key);
}

static void put_layers(struct hoy_jw *w, const struct manifest *m)
{
	hoy_jw_array(w, "Layers");
	for (size_t i = 0; i < m->n; i++)
		hoy_jw_string(w, NULL, m->v[i].digest);
	hoy_jw_end_array(w);
	hoy_jw_array(w, "LayersData");
	for (size_t i = 0; i < m->n; i++) {
		hoy_jw_object(w, NULL);
		hoy_jw_string(w, "MIMEType", m->v[i].type);
		hoy_jw_string(w, "Digest", m->v[i].digest);
		hoy_jw_int(w, "Size", m->v[i].size);
		put_or_null(w, "Annotations", hoy_json_get(m->v[i].json, "annotations"));
		hoy_jw_end_object(w);
	}
	hoy_jw_end_array(w);
}

static void put_summary(struct hoy_jw *w, const struct source *src, const struct manifest *m, const char *digest,
			const struct config *c, const struct hoy_strv *tags, bool whole)
{
	const struct hoy_json *root = c->doc.root, *cc = hoy_json_get(root, "config");

	hoy_jw_object(w, NULL);
	/* WHOLE: for a template, which may ask for what JSON leaves out. */
	if (src->repository || whole)
		hoy_jw_string(w, "Name", src->repository);
	if (m->kind == MAN_V2S1 && hoy_json_str(m->doc.root, "tag"))
		hoy_jw_string(w, "Tag", hoy_json_str(m->doc.root, "tag"));
	hoy_jw_string(w, "Digest", digest);
	hoy_jw_strings(w, "RepoTags", tags->v, tags->n);
	put_or_null(w, "Created", hoy_json_get(root, "created"));
	hoy_jw_string(w, "DockerVersion", hoy_json_str(root, "docker_version"));
	put_or_null(w, "Labels", hoy_json_get(cc, "Labels"));
	hoy_jw_string(w, "Architecture", hoy_json_str(root, "architecture"));
	hoy_jw_string(w, "Os", hoy_json_str(root, "os"));
	put_layers(w, m);
	put_or_null(w, "Env", hoy_json_get(cc, "Env"));
	hoy_jw_end_object(w);
}

static int print_template(const char *format, const char *json, size_t len, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT, rows = HOY_JSON_DOC_INIT;
	struct hoy_json *arr;
	int r = hoy_json_parse(&doc, json, len, "image", err);

	arr = r ? NULL : hoy_json_new(&rows, HOY_JSON_ARRAY);
	if (!r && (!arr || !hoy_json_put(&rows, arr, NULL, hoy_json_copy(&rows, doc.root))))
		r = hoy_fail_oom(err);
	return r ? r : hoy_format_rows(format, arr, NULL, true, err);
}

/* The tags of the repository, asked for while the config comes. */
struct tags_job {
	struct source *src;
	struct hoy_strv tags;
	struct hoy_err err;
	int res;
	bool started;
	pthread_t t;
};

static void *ask_tags(void *arg)
{
	struct tags_job *j = arg;

	j->res = j->src->ops->tags(j->src, &j->tags, &j->err);
	return NULL;
}

static void begin_tags(struct tags_job *j, struct source *src)
{
	j->src = src;
	if (src->ops->tags)
		j->started = !pthread_create(&j->t, NULL, ask_tags, j);
}

/* NAME is where to ask if the source cannot say. */
static int end_tags(struct tags_job *j, const char *name, const struct reg_opts *o, struct hoy_err *err)
{
	if (j->started)
		pthread_join(j->t, NULL);
	else if (j->src && j->src->ops->tags)
		ask_tags(j);
	if (j->res < 0)
		*err = j->err;
	return j->res == 1 ? list_tags(name, o, &j->tags, err) : j->res;
}

static int print_summary(const struct source *src, const struct inspect_opts *o, const struct manifest *m, const char *digest,
			 const struct config *c, const struct hoy_strv *tags, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "    ");

	if (o->config && o->raw)
		return fwrite(c->data, 1, c->len, stdout) == c->len ? 0 : -EIO;
	if (o->config)
		config_write(&w, c->doc.root);
	else
		put_summary(&w, src, m, digest, c, tags, o->format && strcmp(o->format, "json"));
	if (b.error)
		return hoy_fail_oom(err);
	if (o->format && strcmp(o->format, "json"))
		return print_template(o->format, b.data, b.len, err);
	puts(b.data);
	return 0;
}

/* Of schema 1: what there is of a config without a look into the layers. */
static int schema1_summary(const struct manifest *m, struct config *ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	int r;

	for (size_t i = 0; i < m->n; i++)
		if (!schema1_throwaway(&m->v[i]))
			hoy_strv_push(&ids, "");
	r = ids.error ? hoy_fail_oom(err) : schema1_config(m, &ids, &b, err);
	return r ? r : hoy_json_parse(&ret->doc, hoy_buf_str(&b), b.len, "image config", err);
}

static int summary(struct source *src, const char *name, const struct inspect_opts *o, struct hoy_err *err)
{
	struct platform p = skopeo_platform();
	cleanup_manifest struct manifest m = { 0 }, list = { 0 };
	cleanup_config struct config c = CONFIG_INIT;
	struct tags_job tags = { .tags = HOY_STRV_INIT };
	struct hoy_err none = HOY_ERR_INIT;
	int r = source_image(src, &p, &m, &list, err), with_tags;

	if (!r && !o->no_tags && !o->config)
		begin_tags(&tags, src);
	if (!r)
		r = m.kind == MAN_V2S1 ? schema1_summary(&m, &c, err) : source_config(src, &m, &c, err);
	with_tags = end_tags(&tags, name, &o->reg, r ? &none : err);
	if (!r)
		r = with_tags;
	if (!r)
		r = print_summary(src, o, &m, list.len ? list.digest : m.digest, &c, &tags.tags, err);
	hoy_strv_release(&tags.tags);
	return r;
}

static int run_inspect(const struct hoy_verb *v, int argc, char **argv)
{
	struct inspect_opts o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_source struct source *src = NULL;
	cleanup_free char *data = NULL, *type = NULL;
	size_t len = 0;
	int status, r, n = skopeo_args(v, argc, argv, &o, 1, 1, &status);

	if (n < 0)
		return status;
	r = source_open(&src, argv[1], &o.reg, &err);
	if (!r && o.raw && !o.config) {
		r = src->ops->manifest(src, NULL, &data, &len, &type, &err);
		if (!r && fwrite(data, 1, len, stdout) != len)
			r = hoy_fail_errno(&err, EIO, "cannot write to stdout");
	} else if (!r) {
		r = summary(src, argv[1], &o, &err);
	}
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_remote_inspect = { "inspect", "[options] TRANSPORT:IMAGE", "Print what is known of an image anywhere", inspect_opts,
					      run_inspect, HOY_VERB_COPIES };
const struct hoy_verb verb_remote_image_inspect = { "image inspect", "[options] TRANSPORT:IMAGE", NULL, inspect_opts, run_inspect, HOY_VERB_COPIES };

static const struct hoy_opt no_opts[] = { HOY_OPTS_END };

static int run_manifest_digest(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_free char *data = NULL;
	cleanup_manifest struct manifest m = { 0 };
	cleanup_stream struct stream *in = NULL;
	ssize_t got;
	size_t len;
	int status, r, n = skopeo_args(v, argc, argv, NULL, 1, 1, &status);

	if (n < 0)
		return status;
	in = strcmp(argv[1], "-") ? NULL : stream_fd(0, false, -1, -1, "stdin");
	if (!in) {
		r = hoy_read_file(AT_FDCWD, argv[1], MANIFEST_MAX, &data, &len, &err);
	} else {
		data = malloc(MANIFEST_MAX + 1);
		got = data ? stream_read(in, data, MANIFEST_MAX + 1, &err) : hoy_fail_oom(&err);
		r = got < 0 ? got : 0;
		len = got < 0 ? 0 : got;
	}
	if (!r)
		r = manifest_parse(&m, data, len, NULL, &err);
	if (!r)
		puts(m.digest);
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_manifest_digest = { "manifest-digest", "FILE|-", "Print the digest of a manifest file", no_opts, run_manifest_digest,
					       HOY_VERB_COPIES };
