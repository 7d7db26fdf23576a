#include "cmd-image/transfer/schema1.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/data/base64.h"
#include "common/data/digest.h"
#include "common/data/time.h"

#define BAD(err, ...) hoy_fail(err, HOY_EFORMAT, __VA_ARGS__)
#define LAYERS_MAX 500

/* ---- the signature's payload ---- */

/* base64url without padding, as JOSE has it. */
static int unbase64url(const char *text, struct hoy_buf *ret)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);

	for (; *text; text++)
		hoy_buf_putc(&b, *text == '-' ? '+' : *text == '_' ? '/' : *text);
	while (b.len % 4)
		hoy_buf_putc(&b, '=');
	return b.error ? -b.error : hoy_unbase64(ret, hoy_buf_str(&b), b.len);
}

/* What one signature says that was signed: so many bytes of the document, and TAIL behind them. */
static int protected_part(const struct hoy_json *sig, size_t len, size_t *ret_len, struct hoy_buf *tail)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const char *text = hoy_json_str(sig, "protected"), *end;
	int64_t n;

	if (!text || unbase64url(text, &b) < 0 || hoy_json_parse(&doc, hoy_buf_str(&b), b.len, "signature", NULL) < 0)
		return -EINVAL;
	end = hoy_json_str(doc.root, "formatTail");
	if (!end || !hoy_json_int64(hoy_json_get(doc.root, "formatLength"), &n) || n < 0 || n > (int64_t)len || unbase64url(end, tail) < 0)
		return -EINVAL;
	*ret_len = n;
	return 0;
}

/* What counts of the LEN bytes DATA, whose parsed form is ROOT: the payload, or all of it where nothing is signed. */
static int payload(const char *data, size_t len, const struct hoy_json *root, struct hoy_buf *ret)
{
	const struct hoy_json *sigs = hoy_json_get(root, "signatures");
	bool first = true;

	if (!sigs || !sigs->child) {
		hoy_buf_add(ret, data, len);
		return ret->error ? -ret->error : 0;
	}
	HOY_JSON_EACH(s, sigs) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX), tail = HOY_BUF_INIT(MANIFEST_MAX);
		size_t n;

		if (protected_part(s, len, &n, &tail) < 0)
			return -EINVAL;
		hoy_buf_add(&b, data, n);
		hoy_buf_add(&b, hoy_buf_str(&tail), tail.len);
		if (first)
			hoy_buf_add(ret, hoy_buf_str(&b), b.len);
		else if (b.len != ret->len || memcmp(hoy_buf_str(&b), hoy_buf_str(ret), b.len))
			return -EINVAL;
		if (b.error || ret->error)
			return -ENOMEM;
		first = false;
	}
	return 0;
}

bool schema1_digest(const char *data, size_t len, char ret_digest[SHA_DIGEST_SIZE])
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(2 * MANIFEST_MAX);

	if (hoy_json_parse(&doc, data, len, "manifest", NULL) < 0 || hoy_json_int(doc.root, "schemaVersion", 0) != 1 ||
	    payload(data, len, doc.root, &b) < 0)
		return false;
	sha_of(hoy_buf_str(&b), b.len, ret_digest);
	return true;
}

/* ---- reading ---- */

static const char *compat_text(const struct desc *d) { return hoy_json_str(d->json, "v1Compatibility"); }

static int compat(const struct desc *d, struct hoy_json_doc *ret, struct hoy_err *err)
{
	const char *text = compat_text(d);

	if (!text)
		return BAD(err, "the manifest has an entry in its history without v1Compatibility");
	return hoy_json_parse(ret, text, strlen(text), "v1Compatibility", err);
}

bool schema1_throwaway(const struct desc *d)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

	return !compat(d, &doc, NULL) && hoy_json_bool(doc.root, "throwaway", false);
}

/* One more layer, which lies upon those that are there. 1: it is the last one once more. */
static int add_layer(struct manifest *m, const struct hoy_json *fs, const struct hoy_json *history, struct hoy_strv *ids, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const char *sum = hoy_json_str(fs, "blobSum"), *id, *parent, *below = ids->n ? ids->v[ids->n - 1] : "";
	struct desc *d = &m->v[m->n];

	if (!sum || strncmp(sum, "sha256:", 7) || !hoy_is_digest(sum))
		return BAD(err, "the digest '%.80s' of a layer is not valid", sum ? sum : "");
	*d = (struct desc){ .size = -1, .json = history };
	if (compat(d, &doc, err) < 0)
		return -err->code;
	id = hoy_json_str(doc.root, "id");
	parent = hoy_json_str(doc.root, "parent") ?: "";
	if (!id || !hoy_is_id(id))
		return BAD(err, "the id '%.80s' in the manifest's history is not valid", id ? id : "");
	/* Docker 1.x wrote some entries twice: the newer one counts. */
	if (!strcmp(id, below)) {
		free(m->v[m->n - 1].digest);
		m->v[m->n - 1] = (struct desc){ .digest = strdup(sum), .size = -1, .json = history };
		return m->v[m->n - 1].digest ? 0 : hoy_fail_oom(err);
	}
	if (strcmp(parent, below))
		return BAD(err, "the manifest's history has the parent '%.80s' where '%.80s' should be", parent, below);
	if (hoy_strv_has(ids, id))
		return BAD(err, "the id %s is in the manifest's history more than once", id);
	hoy_strv_push(ids, id);
	d->digest = strdup(sum);
	m->n++;
	return d->digest && !ids->error ? 0 : hoy_fail_oom(err);
}

/* The arrays have the uppermost layer first. */
static int parse_layers(struct manifest *m, struct hoy_err *err)
{
	const struct hoy_json *fs = hoy_json_get(m->doc.root, "fsLayers"), *history = hoy_json_get(m->doc.root, "history");
	cleanup_free const struct hoy_json **a = NULL, **b = NULL;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	unsigned n = 0;
	int r = 0;

	if (!hoy_json_is(fs, HOY_JSON_ARRAY) || !hoy_json_is(history, HOY_JSON_ARRAY) || !fs->count)
		return BAD(err, "the manifest has no list of layers, or no history");
	if (fs->count != history->count)
		return BAD(err, "the manifest has %u layers, and %u entries in its history", fs->count, history->count);
	if (fs->count > LAYERS_MAX)
		return hoy_fail(err, EFBIG, "the manifest has %u layers, that is too many", fs->count);
	m->v = calloc(fs->count + 1, sizeof(*m->v));
	a = calloc(fs->count, sizeof(*a));
	b = calloc(fs->count, sizeof(*b));
	if (!m->v || !a || !b)
		return hoy_fail_oom(err);
	for (const struct hoy_json *x = fs->child, *y = history->child; x; x = x->next, y = y->next, n++) {
		a[n] = x;
		b[n] = y;
	}
	while (n-- && !r)
		r = add_layer(m, a[n], b[n], &ids, err);
	return r;
}

int schema1_parse(struct manifest *m, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(2 * MANIFEST_MAX);
	int r = payload(m->data, m->len, m->doc.root, &b);

	m->kind = MAN_V2S1;
	if (r == -EINVAL)
		return BAD(err, "the signatures of the manifest do not say what they sign");
	if (r < 0)
		return hoy_fail_oom(err);
	sha_of(hoy_buf_str(&b), b.len, m->digest);
	/* Nothing counts that was not signed. */
	hoy_json_release(&m->doc);
	r = hoy_json_parse(&m->doc, hoy_buf_str(&b), b.len, "manifest", err);
	if (!r && (!hoy_json_is(m->doc.root, HOY_JSON_OBJECT) || hoy_json_int(m->doc.root, "schemaVersion", 0) != 1))
		r = BAD(err, "the manifest is not of docker's schema 1, as it says");
	return r ? r : parse_layers(m, err);
}

/* ---- the config ---- */

/* The end of the JSON value at P, which is well-formed. */
static const char *value_end(const char *p)
{
	int depth = 0;

	do {
		if (*p == '"') {
			for (p++; *p != '"'; p++)
				p += *p == '\\';
		} else if (*p == '{' || *p == '[') {
			depth++;
		} else if (*p == '}' || *p == ']') {
			depth--;
		} else if (!depth) {
			return p + strcspn(p, ",}] \t\r\n");
		}
		p++;
	} while (depth);
	return p;
}

/* JSON as Go compacts it: without blanks, and with what HTML minds escaped; else as it stands there. */
static void compact(struct hoy_buf *b, const char *p, const char *end)
{
	bool string = false;

	for (; p < end; p++) {
		if (*p == '"')
			string = !string;
		if (!string && strchr(" \t\r\n", *p))
			continue;
		if (*p == '<' || *p == '>' || *p == '&')
			hoy_buf_printf(b, "\\u00%02x", *p);
		else if (end - p >= 3 && !memcmp(p, "\xE2\x80", 2) && ((unsigned char)p[2] & ~1) == 0xA8) {
			hoy_buf_puts(b, (unsigned char)p[2] == 0xA8 ? "\\u2028" : "\\u2029");
			p += 2;
		} else {
			hoy_buf_putc(b, *p);
			if (string && *p == '\\')
				hoy_buf_putc(b, *++p);
		}
	}
}

struct member {
	const char *key, *from, *to;
};

static int by_key(const void *a, const void *b) { return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key); }

/* A time as Go writes it again. */
static void put_time(struct hoy_jw *w, const char *key, const char *text)
{
	cleanup_free char *copy = text ? strdup(text) : NULL;
	char *dot = copy ? strchr(copy, '.') : NULL, *end = dot ? dot + 1 + strspn(dot + 1, "0123456789") : NULL, *p = end;
	int64_t t;

	if (!copy || !hoy_time_parse(copy, &t)) {
		hoy_jw_string(w, key, "0001-01-01T00:00:00Z");
		return;
	}
	while (p && p > dot && (p[-1] == '0' || p - 1 == dot))
		p--;
	if (p)
		memmove(p, end, strlen(end) + 1);
	end = strstr(copy, "+00:00");
	if (end)
		strcpy(end, "Z");
	hoy_jw_string(w, key, copy);
}

static int put_step(struct hoy_jw *w, const struct desc *d, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf by = HOY_BUF_INIT(MANIFEST_MAX);
	const char *author, *comment;
	int r = compat(d, &doc, err);

	if (r < 0)
		return r;
	HOY_JSON_EACH(word, hoy_json_path(doc.root, "container_config", "Cmd", NULL))
		hoy_buf_printf(&by, "%s%s", by.len ? " " : "", hoy_json_text(word) ?: "");
	author = hoy_json_str(doc.root, "author");
	comment = hoy_json_str(doc.root, "comment");
	hoy_jw_object(w, NULL);
	put_time(w, "created", hoy_json_str(doc.root, "created"));
	if (author && *author)
		hoy_jw_string(w, "author", author);
	if (by.len)
		hoy_jw_string(w, "created_by", hoy_buf_str(&by));
	if (comment && *comment)
		hoy_jw_string(w, "comment", comment);
	if (hoy_json_bool(doc.root, "throwaway", false))
		hoy_jw_bool(w, "empty_layer", true);
	hoy_jw_end_object(w);
	return by.error ? hoy_fail_oom(err) : 0;
}

static int put_history(struct hoy_buf *b, const struct manifest *m, struct hoy_err *err)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);
	int r = 0;

	hoy_jw_array(&w, NULL);
	for (size_t i = 0; i < m->n && !r; i++)
		r = put_step(&w, &m->v[i], err);
	hoy_jw_end_array(&w);
	return r;
}

static void put_rootfs(struct hoy_buf *b, const struct hoy_strv *diff_ids)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "type", "layers");
	if (diff_ids->n)
		hoy_jw_strings(&w, "diff_ids", diff_ids->v, diff_ids->n);
	hoy_jw_end_object(&w);
}

/* The members of the object TEXT (parsed: ROOT), but those that a config doesn't have, into V; returns their number. */
static size_t members(const char *text, const struct hoy_json *root, struct member *v)
{
	static const char *const dropped[] = { "id", "parent", "parent_id", "layer_id", "throwaway", "Size", "rootfs", "history" };
	const char *p = strchr(text, '{') + 1;
	size_t n = 0;

	HOY_JSON_EACH(it, root) {
		bool drop = false;

		p = value_end(strchr(p, '"'));
		p += strspn(p, " \t\r\n:");
		v[n] = (struct member){ it->key, p, value_end(p) };
		p = v[n].to;
		for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
			drop = drop || !strcmp(it->key, dropped[i]);
		/* Of two of the same name the later one counts. */
		for (size_t i = 0; i < n && !drop; i++)
			if (!strcmp(v[i].key, it->key)) {
				v[i] = v[n];
				drop = true;
			}
		n += !drop;
	}
	return n;
}

int schema1_config(const struct manifest *m, const struct hoy_strv *diff_ids, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf rootfs = HOY_BUF_INIT(MANIFEST_MAX), history = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free struct member *v = NULL;
	const struct desc *top = &m->v[m->n - 1];
	size_t n;
	int r = compat(top, &doc, err);

	if (!r && !hoy_json_is(doc.root, HOY_JSON_OBJECT))
		r = BAD(err, "the manifest's history has an entry that is no object");
	if (!r)
		r = put_history(&history, m, err);
	put_rootfs(&rootfs, diff_ids);
	v = r ? NULL : calloc(doc.root->count + 2, sizeof(*v));
	if (r < 0)
		return r;
	if (!v || history.error || rootfs.error)
		return hoy_fail_oom(err);
	n = members(compat_text(top), doc.root, v);
	v[n++] = (struct member){ "history", history.data, history.data + history.len };
	v[n++] = (struct member){ "rootfs", rootfs.data, rootfs.data + rootfs.len };
	qsort(v, n, sizeof(*v), by_key);
	for (size_t i = 0; i < n; i++) {
		struct hoy_jw w = hoy_jw_on(ret, NULL);

		hoy_buf_putc(ret, i ? ',' : '{');
		hoy_jw_string(&w, NULL, v[i].key);
		hoy_buf_putc(ret, ':');
		compact(ret, v[i].from, v[i].to);
	}
	hoy_buf_putc(ret, '}');
	return ret->error ? hoy_fail_oom(err) : 0;
}
