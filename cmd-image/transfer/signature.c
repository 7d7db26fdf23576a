#include "cmd-image/transfer/signature.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/data/base64.h"
#include "common/data/digest.h"
#include "common/data/json.h"
#include "common/data/time.h"

#define SIMPLE_NAME "simple-signing"
#define SIGSTORE_NAME "sigstore-json"
#define SIMPLE_TYPE "atomic container signature"
#define SIGSTORE_TYPE "cosign container image signature"
#define SIGS_BYTES ((size_t)32 << 20)

void sigs_release(struct sigs *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].data);
		free(s->v[i].mime);
		hoy_strv_release(&s->v[i].annotations);
	}
	free(s->v);
	*s = (struct sigs){ NULL, 0 };
}

struct sig *sigs_add(struct sigs *s, enum sig_kind kind, const void *data, size_t len, struct hoy_err *err)
{
	size_t all = len;
	struct sig *v;

	for (size_t i = 0; i < s->n; i++)
		all += s->v[i].len;
	if (s->n >= SIGS_MAX || len > SIG_MAX || all > SIGS_BYTES) {
		hoy_fail(err, EFBIG, "the image has too many or too large signatures");
		return NULL;
	}
	v = realloc(s->v, (s->n + 1) * sizeof(*v));
	if (v)
		s->v = v;
	if (!v || !(v[s->n] = (struct sig){ .kind = kind, .data = malloc(len + 1), .len = len }).data) {
		hoy_fail_oom(err);
		return NULL;
	}
	memcpy(v[s->n].data, data, len);
	v[s->n].data[len] = '\0';
	return &v[s->n++];
}

void sig_annotate(struct sig *s, const char *key, const char *value)
{
	for (size_t i = 0; i + 1 < s->annotations.n; i += 2)
		if (!strcmp(s->annotations.v[i], key)) {
			hoy_strv_remove(&s->annotations, i);
			hoy_strv_remove(&s->annotations, i);
			break;
		}
	hoy_strv_push(&s->annotations, key);
	hoy_strv_push(&s->annotations, value);
}

const char *sig_annotation(const struct sig *s, const char *key)
{
	for (size_t i = 0; i + 1 < s->annotations.n; i += 2)
		if (!strcmp(s->annotations.v[i], key))
			return s->annotations.v[i + 1];
	return NULL;
}

void sig_write_annotations(const struct sig *s, struct hoy_jw *w)
{
	hoy_jw_object(w, "annotations");
	for (size_t i = 0; i + 1 < s->annotations.n; i += 2)
		hoy_jw_string(w, s->annotations.v[i], s->annotations.v[i + 1]);
	hoy_jw_end_object(w);
}

/* ---- files ---- */

/* How an OpenPGP message begins: compressed data, a one-pass signature, or a signature. */
static bool is_openpgp(unsigned char c)
{
	return (c >= 0xa0 && c <= 0xa3) || c == 0xc8 || (c >= 0x90 && c <= 0x92) || c == 0xc4 || (c >= 0x88 && c <= 0x8b) || c == 0xc2;
}

static int add_sigstore(struct sigs *s, const char *data, size_t len, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free char *payload = NULL;
	const char *mime, *text;
	struct sig *sig;
	size_t n = 0;
	int r = hoy_json_parse(&doc, data, len, "signature", err);

	mime = hoy_json_str(doc.root, "mimeType");
	text = hoy_json_str(doc.root, "payload");
	if (!r && (!mime || !text || hoy_unbase64_new(text, &payload, &n) < 0))
		r = hoy_fail(err, HOY_EFORMAT, "invalid sigstore signature");
	if (r < 0 || !(sig = sigs_add(s, SIG_SIGSTORE, payload, n, err)))
		return r < 0 ? r : -err->code;
	sig->mime = strdup(mime);
	HOY_JSON_EACH(a, hoy_json_get(doc.root, "annotations"))
		if (hoy_json_text(a))
			sig_annotate(sig, a->key, a->str);
	return !sig->mime || sig->annotations.error ? hoy_fail_oom(err) : 0;
}

int sigs_add_blob(struct sigs *s, const char *blob, size_t len, struct hoy_err *err)
{
	const char *end;

	if (!len)
		return hoy_fail(err, HOY_EFORMAT, "empty signature blob");
	if (is_openpgp(*blob))
		return sigs_add(s, SIG_SIMPLE, blob, len, err) ? 0 : -err->code;
	if (*blob)
		return hoy_fail(err, HOY_EFORMAT, "unrecognized signature format, starting with binary 0x%x", (unsigned char)*blob);
	end = memchr(blob, '\n', len);
	if (!end)
		return hoy_fail(err, HOY_EFORMAT, "invalid signature format, missing newline");
	len -= end + 1 - blob;
	if (end - blob - 1 == strlen(SIMPLE_NAME) && !memcmp(blob + 1, SIMPLE_NAME, strlen(SIMPLE_NAME)))
		return sigs_add(s, SIG_SIMPLE, end + 1, len, err) ? 0 : -err->code;
	if (end - blob - 1 == strlen(SIGSTORE_NAME) && !memcmp(blob + 1, SIGSTORE_NAME, strlen(SIGSTORE_NAME)))
		return add_sigstore(s, end + 1, len, err);
	return hoy_fail(err, HOY_EFORMAT, "unrecognized signature format \"%.*s\"", (int)(end - blob < 60 ? end - blob - 1 : 60), blob + 1);
}

int sigs_add_copy(struct sigs *s, const struct sig *one, struct hoy_err *err)
{
	struct sig *n = sigs_add(s, one->kind, one->data, one->len, err);

	if (!n)
		return -err->code;
	n->mime = one->mime ? strdup(one->mime) : NULL;
	for (size_t i = 0; i < one->annotations.n; i++)
		hoy_strv_push(&n->annotations, one->annotations.v[i]);
	return (one->mime && !n->mime) || n->annotations.error ? hoy_fail_oom(err) : 0;
}

void sig_blob(const struct sig *s, struct hoy_buf *b)
{
	cleanup_buf struct hoy_buf payload = HOY_BUF_INIT(2 * SIG_MAX);
	struct hoy_jw w = hoy_jw_on(b, NULL);

	if (s->kind == SIG_SIMPLE) {
		/* What doesn't look like one is said to be one. */
		if (!is_openpgp(*s->data)) {
			hoy_buf_putc(b, '\0');
			hoy_buf_puts(b, SIMPLE_NAME "\n");
		}
		hoy_buf_add(b, s->data, s->len);
		return;
	}
	hoy_buf_putc(b, '\0');
	hoy_buf_puts(b, SIGSTORE_NAME "\n");
	hoy_base64(&payload, s->data, s->len);
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "mimeType", s->mime);
	hoy_jw_string(&w, "payload", hoy_buf_str(&payload));
	sig_write_annotations(s, &w);
	hoy_jw_end_object(&w);
}

bool sigs_has(const struct sigs *s, const struct sig *one)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct sig *a = &s->v[i];
		const char *x = sig_annotation(a, SIG_ANNOTATION), *y = sig_annotation(one, SIG_ANNOTATION);

		if (a->kind == one->kind && a->len == one->len && !memcmp(a->data, one->data, a->len) && (x ? y && !strcmp(x, y) : !y))
			return true;
	}
	return false;
}

/* ---- payloads ---- */

void claim_release(struct claim *c)
{
	free(c->name);
	free(c->digest);
	*c = (struct claim){ NULL, NULL };
}

/* OBJ has exactly the N members KEYS. */
static bool exactly(const struct hoy_json *obj, size_t n, const char *const *keys)
{
	if (!hoy_json_is(obj, HOY_JSON_OBJECT) || obj->count != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!hoy_json_get(obj, keys[i]))
			return false;
	return true;
}

/* "optional" says who made it and when, if it says so at all; null is nothing. */
static bool optional_fits(const struct hoy_json *o)
{
	const struct hoy_json *creator = hoy_json_get(o, "creator"), *stamp = hoy_json_get(o, "timestamp");
	int64_t t;

	if (hoy_json_is(o, HOY_JSON_NULL))
		return true;
	return hoy_json_is(o, HOY_JSON_OBJECT) && (!creator || hoy_json_text(creator)) && (!stamp || hoy_json_int64(stamp, &t));
}

int claim_parse(struct claim *c, enum sig_kind kind, const char *data, size_t len, struct hoy_err *err)
{
	static const char *const top[] = { "critical", "optional" }, *const inner[] = { "type", "image", "identity" },
				 *const image[] = { "docker-manifest-digest" }, *const identity[] = { "docker-reference" };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const struct hoy_json *critical, *i, *n;
	const char *type, *name, *digest;
	int r = hoy_json_parse(&doc, data, len, "signed document", err);

	if (r < 0)
		return r;
	critical = hoy_json_get(doc.root, "critical");
	i = hoy_json_get(critical, "image");
	n = hoy_json_get(critical, "identity");
	if (!exactly(doc.root, 2, top) || !exactly(critical, 3, inner) || !exactly(i, 1, image) || !exactly(n, 1, identity) ||
	    !optional_fits(hoy_json_get(doc.root, "optional")))
		return hoy_fail(err, HOY_EFORMAT, "the signed document has not the members that it should have");
	type = hoy_json_str(critical, "type");
	if (!type || strcmp(type, kind == SIG_SIMPLE ? SIMPLE_TYPE : SIGSTORE_TYPE))
		return hoy_fail(err, HOY_EFORMAT, "Unrecognized signature type %s", type ? type : "");
	digest = hoy_json_str(i, "docker-manifest-digest");
	name = hoy_json_str(n, "docker-reference");
	if (!digest || !hoy_is_digest(digest) || !name)
		return hoy_fail(err, HOY_EFORMAT, "the signed document has an invalid digest or name");
	c->name = strdup(name);
	c->digest = strdup(digest);
	return c->name && c->digest ? 0 : hoy_fail_oom(err);
}

void claim_write(struct hoy_buf *b, enum sig_kind kind, const char *name, const char *digest)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_object(&w, "critical");
	hoy_jw_object(&w, "identity");
	hoy_jw_string(&w, "docker-reference", name);
	hoy_jw_end_object(&w);
	hoy_jw_object(&w, "image");
	hoy_jw_string(&w, "docker-manifest-digest", digest);
	hoy_jw_end_object(&w);
	hoy_jw_string(&w, "type", kind == SIG_SIMPLE ? SIMPLE_TYPE : SIGSTORE_TYPE);
	hoy_jw_end_object(&w);
	hoy_jw_object(&w, "optional");
	hoy_jw_string(&w, "creator", "hoy " HOY_VERSION);
	hoy_jw_int(&w, "timestamp", hoy_now() / HOY_NS);
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
}
