/* cmd-image/inspect.c: `image inspect` and `history`, field for field as podman prints them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/format.h"
#include "common/cli/table.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/store/layers.h"

struct inspect_opts {
	const char *format;
	bool size;
	const char *type;
};
static const struct hoy_opt opts[] = {
	{ 'f', "format", HOY_OPT_STRING, offsetof(struct inspect_opts, format), "FORMAT", "json, or a Go template" },
	{ 's', "size", HOY_OPT_FLAG, offsetof(struct inspect_opts, size), NULL, NULL },
	{ 't', "type", HOY_OPT_STRING, offsetof(struct inspect_opts, type), "TYPE", "image" },
	HOY_OPTS_END,
};

static void put_graph_driver(struct hoy_store *s, struct hoy_jw *w, const char *layer)
{
	cleanup_free char *lower = NULL, *upper = NULL, *work = NULL;

	hoy_jw_object(w, "GraphDriver");
	hoy_jw_string(w, "Name", s->conf.driver);
	if (s->vfs) {
		hoy_jw_null(w, "Data");
		hoy_jw_end_object(w);
		return;
	}
	hoy_jw_object(w, "Data");
	if (layer && !hoy_layer_lowerdir(s, layer, &lower)) {
		hoy_jw_string_opt(w, "LowerDir", lower);
		upper = hoy_layer_path(s, layer, "diff");
		work = hoy_layer_path(s, layer, "work");
		hoy_jw_string(w, "UpperDir", upper);
		hoy_jw_string(w, "WorkDir", work);
	}
	hoy_jw_end_object(w);
	hoy_jw_end_object(w);
}

/* The config's own object, in the order and with the omissions of podman's ImageConfig. */
static void put_config(struct hoy_jw *w, const struct hoy_json *c)
{
	static const char *const keys[] = { "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
					    "StopSignal", "ArgsEscaped" };

	hoy_jw_object(w, "Config");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct hoy_json *v = hoy_json_get(c, keys[i]);

		if (!v || v->type == HOY_JSON_NULL || (v->type == HOY_JSON_STRING && !v->len) ||
		    (v->type == HOY_JSON_BOOL && !v->boolean) ||
		    ((v->type == HOY_JSON_ARRAY || v->type == HOY_JSON_OBJECT) && !v->count))
			continue;
		hoy_jw_value(w, keys[i], v);
	}
	hoy_jw_end_object(w);
}

static void put_names(struct hoy_jw *w, const char *key, const struct hoy_json *names)
{
	hoy_jw_array(w, key);
	HOY_JSON_EACH(n, names)
		hoy_jw_value(w, NULL, n);
	hoy_jw_end_array(w);
}

void put_repo_digests(struct hoy_jw *w, const struct hoy_json *rec)
{
	cleanup_strv struct hoy_strv seen = HOY_STRV_INIT;

	HOY_JSON_EACH(n, hoy_json_get(rec, "names")) {
		cleanup_free char *repo = NULL, *tag = NULL, *line = NULL;

		split_name(hoy_json_text(n), &repo, &tag);
		line = hoy_asprintf("%s@%s", repo, hoy_json_str(rec, "digest") ?: "");
		if (line && !hoy_strv_has(&seen, line))
			hoy_strv_push(&seen, line);
	}
	hoy_strv_sort(&seen);
	hoy_jw_strings(w, "RepoDigests", seen.v, seen.n);
}

static void put_map(struct hoy_jw *w, const char *key, const struct hoy_json *map, bool null)
{
	if (map && map->child)
		hoy_jw_value(w, key, map);
	else if (null)
		hoy_jw_null(w, key);
	else
		hoy_jw_raw(w, key, "{}");
}

/* Docker's images have one; for others podman takes that of their first step. */
static const char *comment(const struct hoy_json *cfg, const char *media)
{
	const struct hoy_json *steps = hoy_json_get(cfg, "history");

	if (!strstr(media, "vnd.oci."))
		return hoy_json_str(cfg, "comment");
	return hoy_json_str(steps && steps->child ? steps->child : NULL, "comment");
}

static int put_image(struct hoy_store *s, struct hoy_jw *w, const struct hoy_json *rec, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT, cfg = HOY_JSON_DOC_INIT;
	const struct hoy_json *c, *health;
	int64_t size = hoy_image_size(s, rec);
	const char *media;
	int r = hoy_image_manifest(s, rec, &man, err);

	if (!r)
		r = hoy_image_config(s, rec, &cfg, err);
	if (r < 0)
		return r;
	c = hoy_json_get(cfg.root, "config");
	media = hoy_json_str(man.root, "mediaType") ?: "application/vnd.oci.image.manifest.v1+json";
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "Id", hoy_json_str(rec, "id"));
	hoy_jw_string(w, "Digest", hoy_json_str(rec, "digest"));
	put_names(w, "RepoTags", hoy_json_get(rec, "names"));
	put_repo_digests(w, rec);
	hoy_jw_string(w, "Parent", hoy_json_str(image_parent(s, rec), "id"));
	hoy_jw_string(w, "Comment", comment(cfg.root, media));
	hoy_jw_string(w, "Created", hoy_json_str(cfg.root, "created") ?: hoy_json_str(rec, "created"));
	put_config(w, c);
	hoy_jw_string(w, "Version", hoy_json_str(cfg.root, "docker_version"));
	hoy_jw_string(w, "Author", hoy_json_str(cfg.root, "author"));
	hoy_jw_string(w, "Architecture", hoy_json_str(cfg.root, "architecture"));
	hoy_jw_string_opt(w, "Variant", hoy_json_str(cfg.root, "variant"));
	hoy_jw_string(w, "Os", hoy_json_str(cfg.root, "os"));
	hoy_jw_int(w, "Size", size);
	hoy_jw_int(w, "VirtualSize", size);
	put_graph_driver(s, w, hoy_json_str(rec, "layer"));
	hoy_jw_object(w, "RootFS");
	hoy_jw_string(w, "Type", hoy_json_str(hoy_json_get(cfg.root, "rootfs"), "type") ?: "layers");
	if (hoy_json_path(cfg.root, "rootfs", "diff_ids", NULL))
		put_names(w, "Layers", hoy_json_path(cfg.root, "rootfs", "diff_ids", NULL));
	else
		hoy_jw_null(w, "Layers");
	hoy_jw_end_object(w);
	put_map(w, "Labels", hoy_json_get(c, "Labels"), true);
	put_map(w, "Annotations", hoy_json_get(man.root, "annotations"), false);
	hoy_jw_string(w, "ManifestType", media);
	hoy_jw_string(w, "User", hoy_json_str(c, "User"));
	put_names(w, "History", hoy_json_get(cfg.root, "history"));
	put_names(w, "NamesHistory", hoy_json_get(rec, "names-history"));
	health = hoy_json_get(c, "Healthcheck");
	if (health && health->type == HOY_JSON_OBJECT)
		hoy_jw_value(w, "Healthcheck", health);
	hoy_jw_end_object(w);
	return 0;
}

static int run_inspect(const struct hoy_verb *v, int argc, char **argv)
{
	struct inspect_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "     ");
	int status, failed = 0, n = hoy_verb_args(v, argc, argv, &o, 1, -1, &status);

	if (n < 0)
		return status;
	if (o.type && strcmp(o.type, "image") && strcmp(o.type, "all")) {
		hoy_error("hoy-image inspects images only, not '%s'", o.type);
		return 125;
	}
	s = open_reader(HOY_LAYERS | HOY_IMAGES);
	if (!s)
		return 125;
	hoy_jw_array(&w, NULL);
	for (int i = 1; i <= n; i++) {
		struct hoy_json *rec;
		int r = hoy_image_find(s, argv[i], &rec, NULL, &err);

		if (!r)
			r = put_image(s, &w, rec, &err);
		if (r < 0) {
			failed = 1;
			hoy_report(&err, 125);
		}
	}
	hoy_jw_end_array(&w);
	if (hoy_format_inspect(o.format, &b, &err) < 0)
		return hoy_report(&err, 125);
	return failed ? 125 : 0;
}

const struct hoy_verb verb_inspect = { "inspect", "[options] IMAGE [IMAGE...]", "Print an image's configuration", opts, run_inspect,
				       false };
const struct hoy_verb verb_image_inspect = { "image inspect", "[options] IMAGE [IMAGE...]", NULL, opts, run_inspect, false };

/* ---- history ---- */

struct history_opts {
	const char *format;
	int human;
	bool no_trunc, quiet;
};
static const struct hoy_opt history_opts[] = {
	{ 0, "format", HOY_OPT_STRING, offsetof(struct history_opts, format), "FORMAT", "json, or a Go template" },
	{ 'H', "human", HOY_OPT_TRI, offsetof(struct history_opts, human), NULL, "sizes and dates for people (default true)" },
	{ 0, "no-trunc", HOY_OPT_FLAG, offsetof(struct history_opts, no_trunc), NULL, "do not cut the output" },
	{ 'q', "quiet", HOY_OPT_FLAG, offsetof(struct history_opts, quiet), NULL, "print ids only" },
	HOY_OPTS_END,
};

struct step {
	const struct hoy_json *h;
	int64_t size;
	const char *id;
};

/* History entries newest first, each with the size of the layer that it made. */
static size_t steps_of(struct hoy_store *s, const struct hoy_json *rec, const struct hoy_json *cfg, struct step *ret, size_t max)
{
	const char *layer = hoy_json_str(rec, "layer");
	const struct hoy_json *all[1024];
	size_t n = 0, k = 0;

	HOY_JSON_EACH(h, hoy_json_get(cfg, "history"))
		if (n < ARRAY_SIZE(all))
			all[n++] = h;
	while (n > 0 && k < max) {
		const struct hoy_json *h = all[--n], *l = layer ? hoy_layer_get(s, layer) : NULL;
		bool empty = hoy_json_bool(h, "empty_layer", false);

		ret[k] = (struct step){ h, empty ? 0 : hoy_json_int(l, "diff-size", 0), k ? "<missing>" : hoy_json_str(rec, "id") };
		if (!empty)
			layer = hoy_json_str(l, "parent");
		k++;
	}
	return k;
}

static void history_json(const struct step *st, size_t n, const struct hoy_json *rec)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	hoy_jw_array(&w, NULL);
	for (size_t i = 0; i < n; i++) {
		hoy_jw_object(&w, NULL);
		hoy_jw_string(&w, "id", st[i].id);
		hoy_jw_string(&w, "created", hoy_json_str(st[i].h, "created"));
		hoy_jw_string(&w, "CreatedBy", hoy_json_str(st[i].h, "created_by"));
		if (!i && hoy_json_get(rec, "names"))
			hoy_jw_value(&w, "tags", hoy_json_get(rec, "names"));
		hoy_jw_int(&w, "size", st[i].size);
		hoy_jw_string_opt(&w, "comment", hoy_json_str(st[i].h, "comment"));
		hoy_jw_string(&w, "Created", hoy_json_str(st[i].h, "created"));
		hoy_jw_end_object(&w);
	}
	hoy_jw_end_array(&w);
	puts(hoy_buf_str(&b));
}

static int history_rows(const struct step *st, size_t n, const struct history_opts *o, struct hoy_err *err)
{
	static const char *const headers[] = { "CreatedBy", "CREATED BY", NULL };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_json *rows = hoy_json_new(&doc, HOY_JSON_ARRAY);

	for (size_t i = 0; rows && i < n; i++) {
		struct hoy_json *r = hoy_json_put(&doc, rows, NULL, hoy_json_new(&doc, HOY_JSON_OBJECT));
		const char *by = hoy_json_str(st[i].h, "created_by") ?: "", *at = hoy_json_str(st[i].h, "created") ?: "";
		bool full = o->no_trunc || strlen(by) <= 45;
		char buf[HOY_TIME_SIZE], size[32], id[80], cut[64];
		int64_t t;

		snprintf(id, sizeof(id), o->no_trunc || *st[i].id == '<' ? "%s" : "%.12s", st[i].id);
		snprintf(cut, sizeof(cut), "%.45s...", by);
		if (o->human && hoy_time_parse(at, &t))
			at = strcat((char *)hoy_time_human(hoy_now() - t, buf), " ago");
		if (o->human)
			hoy_size_human(st[i].size, size);
		else
			snprintf(size, sizeof(size), "%lld", (long long)st[i].size);
		/* podman writes history sizes without the blank */
		for (char *p = strchr(size, ' '); p && *p; p++)
			*p = p[1];
		if (!r || !hoy_json_set_string(&doc, r, "ID", id) || !hoy_json_set_string(&doc, r, "Created", at) ||
		    !hoy_json_set_string(&doc, r, "CreatedAt", hoy_json_str(st[i].h, "created") ?: "") ||
		    !hoy_json_set_string(&doc, r, "CreatedSince", at) ||
		    !hoy_json_set_string(&doc, r, "CreatedBy", full ? by : cut) || !hoy_json_set_string(&doc, r, "Size", size) ||
		    !hoy_json_set_string(&doc, r, "Comment", hoy_json_str(st[i].h, "comment") ?: ""))
			return hoy_fail_oom(err);
	}
	return rows ? hoy_format_rows(o->format ? o->format : "table {{.ID}}\t{{.Created}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
				      rows, headers, false, err) : hoy_fail_oom(err);
}

static int run_history(const struct hoy_verb *v, int argc, char **argv)
{
	struct history_opts o = { .human = 1 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_json struct hoy_json_doc cfg = HOY_JSON_DOC_INIT;
	static struct step steps[1024];
	struct hoy_json *rec;
	size_t k;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 1, 1, &status);

	if (n < 0)
		return status;
	s = open_reader(HOY_LAYERS | HOY_IMAGES);
	if (!s)
		return 125;
	r = hoy_image_find(s, argv[1], &rec, NULL, &err);
	if (!r)
		r = hoy_image_config(s, rec, &cfg, &err);
	if (r < 0)
		return hoy_report(&err, 125);
	k = steps_of(s, rec, cfg.root, steps, ARRAY_SIZE(steps));
	if (o.quiet) {
		for (size_t i = 0; i < k; i++)
			printf(o.no_trunc || *steps[i].id == '<' ? "%s\n" : "%.12s\n", steps[i].id);
		return 0;
	}
	if (o.format && !strcmp(o.format, "json")) {
		history_json(steps, k, rec);
		return 0;
	}
	r = history_rows(steps, k, &o, &err);
	return r < 0 ? hoy_report(&err, 125) : 0;
}

const struct hoy_verb verb_history = { "history", "[options] IMAGE", "Show how an image was made", history_opts, run_history, false };
const struct hoy_verb verb_image_history = { "image history", "[options] IMAGE", NULL, history_opts, run_history, false };
