/* cmd-build/sbom_merge.c: documents of scanners, CycloneDX's and SPDX's, become one as buildah merges them, and spelled as Go does. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-build/sbom.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/data/json.h"

#define DOC_MAX ((size_t)256 << 20)

/* ---- as Go writes what it has read ---- */

/* A number went through a float64 there: its shortest digits, an exponent beyond 1e21 and below 1e-6. */
static void put_number(struct hoy_jw *w, const char *key, const char *text)
{
	double v = strtod(text, NULL), size = v < 0 ? -v : v;
	char num[400], *e;
	int digits = 1;

	do
		snprintf(num, sizeof(num), "%.*e", digits - 1, v);
	while (strtod(num, NULL) != v && ++digits <= 17);
	e = strchr(num, 'e');
	if (!v || (size >= 1e-6 && size < 1e21)) {
		int behind = digits - 1 - (e ? atoi(e + 1) : 0);

		snprintf(num, sizeof(num), "%.*f", behind > 0 ? behind : 0, v);
	} else if (e && e[1] == '-' && e[2] == '0' && e[3] && !e[4]) {
		memmove(e + 2, e + 3, 2);
	}
	hoy_jw_raw(w, key, num);
}

static void put_value(struct hoy_jw *w, const char *key, const struct hoy_json *v)
{
	cleanup_strv struct hoy_strv keys = HOY_STRV_INIT;

	if (hoy_json_is(v, HOY_JSON_NUMBER)) {
		put_number(w, key, v->str);
	} else if (hoy_json_is(v, HOY_JSON_ARRAY)) {
		hoy_jw_array(w, key);
		HOY_JSON_EACH(e, v)
			put_value(w, NULL, e);
		hoy_jw_end_array(w);
	} else if (hoy_json_is(v, HOY_JSON_OBJECT)) {
		HOY_JSON_EACH(e, v)
			hoy_strv_push(&keys, e->key);
		hoy_strv_sort(&keys);
		w->out->error = w->out->error ?: keys.error;
		hoy_jw_object(w, key);
		for (size_t i = 0; i < keys.n; i++)
			put_value(w, keys.v[i], hoy_json_get(v, keys.v[i]));
		hoy_jw_end_object(w);
	} else {
		hoy_jw_value(w, key, v);
	}
}

/* ---- what a document lists ---- */

/* Members of a list are the same if these are. */
struct listing {
	const char *list, *name, *version;
};
static const struct listing components = { "components", "name", "version" }, packages = { "packages", "name", "versionInfo" },
			    licenses = { "hasExtractedLicensingInfos", "licenseId", NULL };

/* What tells IT from others, in new memory; NULL: it has no name (or there is no memory). */
static char *mark_of(const struct listing *l, const struct hoy_json *it)
{
	const char *name = hoy_json_str(it, l->name), *version = l->version ? hoy_json_str(it, l->version) : NULL;

	return name ? hoy_asprintf("%s%s%s", name, version ? "@" : "", version ?: "") : NULL;
}

/* The members of MORE's list that INTO's has not, behind those. */
static int merge_list(const struct listing *l, struct hoy_json_doc *into, const struct hoy_json *more, struct hoy_err *err)
{
	struct hoy_json *list = hoy_json_get(into->root, l->list);
	const struct hoy_json *add = hoy_json_get(more, l->list);
	cleanup_strv struct hoy_strv seen = HOY_STRV_INIT;

	if (!add)
		return 0;
	if (!hoy_json_is(add, HOY_JSON_ARRAY) || (list && !hoy_json_is(list, HOY_JSON_ARRAY)))
		return hoy_fail(err, HOY_EFORMAT, "\"%s\" is no list", l->list);
	list = list ?: hoy_json_need(into, into->root, l->list, HOY_JSON_ARRAY);
	if (!list)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(it, list) {
		cleanup_free char *mark = mark_of(l, it);

		if (!mark)
			return hoy_fail(err, HOY_EFORMAT, "a member of \"%s\" has no \"%s\"", l->list, l->name);
		hoy_strv_push(&seen, mark);
	}
	HOY_JSON_EACH(it, add) {
		cleanup_free char *mark = mark_of(l, it);

		if (!mark)
			return hoy_fail(err, HOY_EFORMAT, "a member of \"%s\" has no \"%s\"", l->list, l->name);
		if (hoy_strv_has(&seen, mark))
			continue;
		hoy_strv_push(&seen, mark);
		if (!hoy_json_put(into, list, NULL, hoy_json_copy(into, it)))
			return hoy_fail_oom(err);
	}
	return seen.error ? hoy_fail_oom(err) : 0;
}

static void note_purl(struct hoy_strv *purls, const char *purl)
{
	if (purl && *purl)
		hoy_strv_push(purls, purl);
}

static void note_purls(bool cyclonedx, const struct hoy_json *doc, struct hoy_strv *purls)
{
	HOY_JSON_EACH(c, cyclonedx ? hoy_json_get(doc, components.list) : NULL)
		note_purl(purls, hoy_json_str(c, "purl"));
	HOY_JSON_EACH(p, cyclonedx ? NULL : hoy_json_get(doc, packages.list))
		HOY_JSON_EACH(r, hoy_json_get(p, "externalRefs"))
			if (!strcmp(hoy_json_str(r, "referenceCategory") ?: "", "PACKAGE-MANAGER") && !strcmp(hoy_json_str(r, "referenceType") ?: "", "purl"))
				note_purl(purls, hoy_json_str(r, "referenceLocator"));
}

static int put_purls(struct hoy_strv *purls, struct hoy_buf *out, struct hoy_err *err)
{
	struct hoy_jw w = hoy_jw_on(out, NULL);

	hoy_strv_sort(purls);
	hoy_jw_object(&w, NULL);
	hoy_jw_object(&w, "image_contents");
	if (purls->n)
		hoy_jw_array(&w, "dependencies");
	for (size_t i = 0; i < purls->n; i++)
		if (!i || strcmp(purls->v[i], purls->v[i - 1]))
			hoy_jw_string(&w, NULL, purls->v[i]);
	if (purls->n)
		hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
	hoy_buf_putc(out, '\n');
	return purls->error || out->error ? hoy_fail_oom(err) : 0;
}

/* ---- all of them ---- */

static int concatenate(int dir, const struct hoy_strv *results, struct hoy_buf *doc, struct hoy_err *err)
{
	for (size_t i = 0; i < results->n; i++) {
		cleanup_free char *text = NULL;
		size_t len;

		if (hoy_read_beneath(dir, results->v[i], DOC_MAX, &text, &len, err) < 0)
			return -err->code;
		hoy_buf_add(doc, text, len);
	}
	return doc->error ? hoy_fail(err, EFBIG, "what the scanner has found is too large") : 0;
}

static int merge_one(bool cyclonedx, int dir, const char *name, struct hoy_json_doc *into, struct hoy_strv *purls, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc more = HOY_JSON_DOC_INIT;
	char *text;
	size_t len;
	int r = hoy_read_beneath(dir, name, DOC_MAX, &text, &len, err);

	if (!r)
		r = hoy_json_adopt(&more, text, len, name, err);
	if (!r && !hoy_json_is(more.root, HOY_JSON_OBJECT))
		r = hoy_fail(err, HOY_EFORMAT, "'%s' is no document of a scanner", name);
	if (r < 0)
		return r;
	note_purls(cyclonedx, more.root, purls);
	if (!into->root) {
		*into = more;
		more = (struct hoy_json_doc)HOY_JSON_DOC_INIT;
		return 0;
	}
	if (cyclonedx)
		return merge_list(&components, into, more.root, err);
	r = merge_list(&packages, into, more.root, err);
	return r ? r : merge_list(&licenses, into, more.root, err);
}

int sbom_merge(const char *strategy, int dir, const struct hoy_strv *results, struct hoy_buf *doc, struct hoy_buf *purls, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc all = HOY_JSON_DOC_INIT;
	cleanup_strv struct hoy_strv found = HOY_STRV_INIT;
	bool cat = !strcmp(strategy, "cat"), cyclonedx = strstr(strategy, "cyclonedx");
	int r = 0;

	for (size_t i = 0; !cat && i < results->n && !r; i++)
		r = merge_one(cyclonedx, dir, results->v[i], &all, &found, err);
	/* One alone is left as it is. */
	if (!r && (cat || results->n == 1)) {
		r = concatenate(dir, results, doc, err);
	} else if (!r) {
		struct hoy_jw w = hoy_jw_on(doc, NULL);

		put_value(&w, NULL, all.root);
		hoy_buf_putc(doc, '\n');
		r = doc->error ? hoy_fail(err, EFBIG, "what the scanner has found is too large") : 0;
	}
	return r ? r : put_purls(&found, purls, err);
}
