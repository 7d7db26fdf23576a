/* cmd-image/transfer/search.c: `search`: repositories of registries, or (--list-tags) the tags of one. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/registry.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/msg.h"
#include "common/cli/format.h"
#include "common/cli/table.h"
#include "common/conf/registries.h"

#define ANSWER_MAX ((size_t)16 << 20)
#define LIMIT 25
#define PAGES_MAX 1000
#define SHORT 44 /* characters of a description, unless --no-trunc */

struct search_opts {
	struct reg_opts reg;
	bool compatible, list_tags, no_trunc;
	int64_t limit;
	const char *format;
	struct hoy_strv filters;
	/* of the filters */
	int64_t stars;
	int official, automated; /* -1: either */
};
#define O(field) offsetof(struct search_opts, field)
static const struct hoy_opt opts[] = {
	{ 0, "authfile", HOY_OPT_STRING, O(reg.authfile), "FILE", "file with credentials" },
	{ 0, "cert-dir", HOY_OPT_STRING, O(reg.cert_dir), "DIR", "directory of certificates" },
	{ 0, "compatible", HOY_OPT_FLAG, O(compatible), NULL, "show stars, official and automated too" },
	{ 0, "creds", HOY_OPT_STRING, O(reg.creds), "USER:PASSWORD", "credentials for the registry" },
	{ 'f', "filter", HOY_OPT_LIST, O(filters), "KEY=VALUE", "stars=N, is-official[=BOOL] or is-automated[=BOOL]" },
	{ 0, "format", HOY_OPT_STRING, O(format), "FORMAT", "json, or a Go template" },
	{ 0, "limit", HOY_OPT_INT, O(limit), "N", "results of each registry (default 25)" },
	{ 0, "list-tags", HOY_OPT_FLAG, O(list_tags), NULL, "list the tags of a repository" },
	{ 0, "no-trunc", HOY_OPT_FLAG, O(no_trunc), NULL, "do not cut descriptions" },
	{ 0, "tls-verify", HOY_OPT_TRI, O(reg.tls_verify), NULL, "require HTTPS and check certificates (default true)" },
	HOY_OPTS_END,
};

struct found {
	struct hoy_json_doc doc;
	struct hoy_json *rows; /* objects with Go names, as --format takes them */
};

static int truth(const char *value, int *ret)
{
	*ret = !*value || !strcmp(value, "true") || !strcmp(value, "1") ? 1 : !strcmp(value, "false") || !strcmp(value, "0") ? 0 : -2;
	return *ret == -2 ? -EINVAL : 0;
}

static int read_filters(struct search_opts *o, struct hoy_err *err)
{
	o->official = o->automated = -1;
	for (size_t i = 0; i < o->filters.n; i++) {
		const char *f = o->filters.v[i], *value = strchr(f, '=') ? strchr(f, '=') + 1 : "";
		size_t len = strcspn(f, "=");
		char *end = NULL;
		int r = -EINVAL;

		if (len == 5 && !strncmp(f, "stars", 5)) {
			o->stars = strtoll(value, &end, 10);
			r = *value && !*end ? 0 : -EINVAL;
		} else if (len == 11 && !strncmp(f, "is-official", 11)) {
			r = truth(value, &o->official);
		} else if (len == 12 && !strncmp(f, "is-automated", 12)) {
			r = truth(value, &o->automated);
		} else {
			return hoy_fail(err, EINVAL, "invalid filter type \"%s\"", f);
		}
		if (r < 0)
			return hoy_fail(err, EINVAL, "incorrect value for filter \"%s\"", f);
	}
	return 0;
}

/* ---- asking ---- */

static void put(struct found *f, struct hoy_json *row, const char *key, const char *value)
{
	hoy_json_set_string(&f->doc, row, key, value ? value : "");
}

/* A repository of HOST, unless the filters are against it. DESC: what HOST says of it, or NULL. FIRST: before all others. */
static int add(struct found *f, const struct search_opts *o, const char *host, const char *name, const struct hoy_json *desc, bool first)
{
	cleanup_free char *full = hoy_asprintf("%s/%s%s", host, !strcmp(host, "docker.io") && !strchr(name, '/') ? "library/" : "", name);
	int64_t stars = hoy_json_int(desc, "star_count", 0);
	bool official = hoy_json_bool(desc, "is_official", false), automated = hoy_json_bool(desc, "is_automated", false);
	const char *text = hoy_json_str(desc, "description") ?: "";
	cleanup_free char *cut = !o->no_trunc && strlen(text) > SHORT ? hoy_asprintf("%.*s...", SHORT, text) : strdup(text);
	struct hoy_json *row;

	if (stars < o->stars || (o->official >= 0 && official != o->official) || (o->automated >= 0 && automated != o->automated))
		return 0;
	row = full && cut ? hoy_json_new(&f->doc, HOY_JSON_OBJECT) : NULL;
	if (!row)
		return -ENOMEM;
	for (char *p = cut; *p; p++)
		*p = *p == '\n' ? ' ' : *p;
	put(f, row, "Index", host);
	put(f, row, "Name", full);
	put(f, row, "Description", cut);
	hoy_json_set_int(&f->doc, row, "Stars", stars);
	put(f, row, "Official", official ? "[OK]" : "");
	put(f, row, "Automated", automated ? "[OK]" : "");
	put(f, row, "Tag", "");
	if (first) {
		row->next = f->rows->child;
		f->rows->child = row;
		f->rows->last = f->rows->last ? f->rows->last : row;
		f->rows->count++;
		return 0;
	}
	return hoy_json_put(&f->doc, f->rows, NULL, row) ? 0 : -ENOMEM;
}

/* docker.io's own way, which other registries may have too. 1: it was answered. */
static int ask_v1(struct registry *r, const char *host, const char *term, const struct search_opts *o, struct found *f, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_answer struct answer a = { 0 };
	cleanup_buf struct hoy_buf path = HOY_BUF_INIT(4096);
	int res;

	hoy_buf_puts(&path, "/v1/search?q=");
	for (const char *p = term; *p; p++)
		hoy_buf_printf(&path, isalnum((unsigned char)*p) || strchr("-._~", *p) ? "%c" : "%%%02X", (unsigned char)*p);
	hoy_buf_printf(&path, "&n=%lld", (long long)o->limit);
	res = path.error ? hoy_fail_oom(err) : registry_do(r, "GET", hoy_buf_str(&path), "application/json", NULL, NULL, 0, ANSWER_MAX, &a, err);
	if (res < 0 || a.status != 200 || hoy_json_parse(&doc, hoy_buf_str(&a.body), a.body.len, "search", NULL) < 0)
		return res;
	HOY_JSON_EACH(one, hoy_json_get(doc.root, "results"))
		if (hoy_json_str(one, "name") && (res = add(f, o, host, hoy_json_str(one, "name"), one, false)) < 0)
			return hoy_fail_oom(err);
	return 1;
}

/* The catalog, of which those count that have TERM in their name; the one that is TERM comes first. */
static int ask_catalog(struct registry *r, const char *host, const char *term, const struct search_opts *o, struct found *f, struct hoy_err *err)
{
	cleanup_free char *path = strdup("/v2/_catalog");
	int64_t left = o->limit;
	int res = path ? 0 : hoy_fail_oom(err);

	for (int page = 0; !res && path && left > 0 && page < PAGES_MAX; page++) {
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		cleanup_answer struct answer a = { 0 };

		res = registry_do(r, "GET", path, "application/json", NULL, NULL, 0, ANSWER_MAX, &a, err);
		if (!res && a.status != 200)
			res = registry_refused(r, &a, "the catalog", err);
		if (!res)
			res = hoy_json_parse(&doc, hoy_buf_str(&a.body), a.body.len, "catalog", err);
		HOY_JSON_EACH(name, res ? NULL : hoy_json_get(doc.root, "repositories"))
			if (!res && left > 0 && hoy_json_text(name) && strstr(name->str, term)) {
				left--;
				res = add(f, o, host, name->str, NULL, !strcmp(name->str, term)) < 0 ? hoy_fail_oom(err) : 0;
			}
		free(path);
		path = registry_next_page(&a);
	}
	return res;
}

static int ask(const char *host, const char *term, const struct search_opts *o, struct found *f, struct hoy_err *err)
{
	struct registry *r = NULL;
	int res = registry_as_such(&r, !strcmp(host, "docker.io") ? "index.docker.io" : host, host, &o->reg, err);

	if (!res) {
		registry_ask_catalog(r);
		res = registry_ping(r, false, err);
	}
	if (!res && *term)
		res = ask_v1(r, host, term, o, f, err);
	if (!res)
		res = ask_catalog(r, host, term, o, f, err);
	registry_free(r);
	return res < 0 ? hoy_fail_prefix(err, "couldn't search registry \"%s\"", host) : 0;
}

static int find_tags(const char *name, const struct search_opts *o, struct found *f, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv tags = HOY_STRV_INIT;
	int r = list_tags(name, &o->reg, &tags, err);

	for (size_t i = 0; i < tags.n && i < (size_t)o->limit && !r; i++) {
		struct hoy_json *row = hoy_json_put(&f->doc, f->rows, NULL, hoy_json_new(&f->doc, HOY_JSON_OBJECT));

		if (!row)
			return hoy_fail_oom(err);
		put(f, row, "Name", strncmp(name, "docker://", 9) ? name : name + 9);
		put(f, row, "Tag", tags.v[i]);
	}
	return r < 0 ? hoy_fail_prefix(err, "getting repository tags") : 0;
}

/* ---- telling ---- */

static void print_table(const struct found *f, const struct search_opts *o)
{
	static const char *const plain[] = { "Name", "Description" }, *const all[] = { "Name", "Description", "Stars", "Official", "Automated" },
				 *const tags[] = { "Name", "Tag" };
	const char *const *keys = o->list_tags ? tags : o->compatible ? all : plain;
	struct hoy_grid g = { o->compatible && !o->list_tags ? ARRAY_SIZE(all) : 2, HOY_STRV_INIT };

	for (size_t i = 0; i < g.ncols; i++) {
		cleanup_free char *head = strdup(keys[i]);

		for (char *p = head; p && *p; p++)
			*p = *p >= 'a' && *p <= 'z' ? *p - 32 : *p;
		hoy_grid_add(&g, head ? head : "");
	}
	HOY_JSON_EACH(row, f->rows)
		for (size_t i = 0; i < g.ncols; i++) {
			const struct hoy_json *v = hoy_json_get(row, keys[i]);

			hoy_grid_add(&g, v ? v->str : "");
		}
	hoy_grid_print(&g, true);
	hoy_grid_release(&g);
}

/* With --list-tags one object for each name, which here is one. */
static int print_json(const struct found *f, bool tags, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "    ");

	if (!tags) {
		hoy_jw_value(&w, NULL, f->rows);
	} else {
		hoy_jw_array(&w, NULL);
		hoy_jw_object(&w, NULL);
		hoy_jw_string(&w, "Name", hoy_json_str(f->rows->child, "Name"));
		hoy_jw_array(&w, "Tags");
		HOY_JSON_EACH(row, f->rows)
			hoy_jw_string(&w, NULL, hoy_json_str(row, "Tag"));
		hoy_jw_end_array(&w);
		hoy_jw_end_object(&w);
		hoy_jw_end_array(&w);
	}
	return b.error ? hoy_fail_oom(err) : (puts(hoy_buf_str(&b)), 0);
}

static int print(const struct found *f, const struct search_opts *o, struct hoy_err *err)
{
	if (!f->rows->child)
		return 0;
	if (o->format && !strcmp(o->format, "json"))
		return print_json(f, o->list_tags, err);
	if (o->format)
		return hoy_format_rows(o->format, f->rows, NULL, false, err);
	print_table(f, o);
	return 0;
}

/* The registries to ask, and what for. */
static int targets(const char *arg, struct hoy_strv *hosts, const char **term, struct hoy_err *err)
{
	size_t len = strcspn(arg, "/");

	*term = arg;
	if (!arg[len] || !(memchr(arg, '.', len) || memchr(arg, ':', len) || (len == 9 && !strncmp(arg, "localhost", 9))))
		return hoy_search_registries(hosts, err);
	hoy_strv_pushn(hosts, arg, len);
	*term = arg + len + 1;
	return hosts->error ? hoy_fail_oom(err) : 0;
}

static int run_search(const struct hoy_verb *v, int argc, char **argv)
{
	struct search_opts o = { .reg = REG_OPTS_INIT, .limit = LIMIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_strv struct hoy_strv hosts = HOY_STRV_INIT;
	struct found f = { HOY_JSON_DOC_INIT, NULL };
	const char *term = "";
	int status, r, failed = 0, n = hoy_verb_args(v, argc, argv, &o, 1, 1, &status);

	if (n < 0)
		return status;
	f.rows = hoy_json_new(&f.doc, HOY_JSON_ARRAY);
	r = f.rows ? read_filters(&o, &err) : hoy_fail_oom(&err);
	o.limit = o.limit > 0 ? o.limit : LIMIT;
	if (!r)
		r = targets(argv[1], &hosts, &term, &err);
	for (size_t i = 0; i < hosts.n && !r; i++) {
		cleanup_free char *name = hoy_asprintf("%s/%s", hosts.v[i], term);
		struct hoy_err one = HOY_ERR_INIT;
		int res = !name ? hoy_fail_oom(&one) : o.list_tags ? find_tags(name, &o, &f, &one) : ask(hosts.v[i], term, &o, &f, &one);

		/* One that answers is enough. */
		if (res < 0 && !failed++)
			err = one;
	}
	if (!r && failed && !f.rows->child)
		r = -err.code;
	if (!r)
		r = print(&f, &o, &err);
	hoy_json_release(&f.doc);
	hoy_strv_release(&o.filters);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_search = { "search", "[options] [REGISTRY/]TERM", "Search registries for an image", opts, run_search, false };
const struct hoy_verb verb_image_search = { "image search", "[options] [REGISTRY/]TERM", NULL, opts, run_search, false };
