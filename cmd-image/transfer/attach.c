/* cmd-image/transfer/attach.c: sigstore signatures as cosign keeps them in a registry: an image of its own, under the tag sha256-HEX.sig. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/lookaside.h"

#define EMPTY_MAX ((size_t)64 << 10)

static char *tag_path(struct registry *r, const char *digest)
{
	size_t algorithm = strcspn(digest, ":");

	return hoy_asprintf("/v2/%s/manifests/%.*s-%s.sig", registry_path(r), (int)algorithm, digest, digest + algorithm + 1);
}

/* The attachments' manifest into M. 1, 0: there is none, or an error. */
static int read_manifest(struct registry *r, const char *digest, struct manifest *m, struct hoy_err *err)
{
	cleanup_free char *path = tag_path(r, digest);
	cleanup_answer struct answer a = { 0 };
	int res = path ? registry_do(r, "GET", path, T_OCI, NULL, NULL, 0, MANIFEST_MAX, &a, err) : hoy_fail_oom(err);

	if (res < 0)
		return res;
	if (a.status == 404)
		return 0;
	if (a.status != 200)
		return registry_refused(r, &a, "sigstore attachments", err);
	res = manifest_parse(m, hoy_buf_str(&a.body), a.body.len, a.type, err);
	if (!res && m->kind != MAN_OCI)
		res = hoy_fail(err, HOY_EFORMAT, "it is no OCI image");
	if (!res && m->n > SIGS_MAX)
		res = hoy_fail(err, EFBIG, "it has too many signatures");
	return res < 0 ? hoy_fail_prefix(err, "the sigstore attachments of %s", digest) : 1;
}

static int read_layer(struct registry *r, const struct desc *d, struct sigs *ret, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("/v2/%s/blobs/%s", registry_path(r), d->digest);
	cleanup_answer struct answer a = { 0 };
	char sum[SHA_DIGEST_SIZE];
	struct sig *s;
	int res = path ? registry_do(r, "GET", path, NULL, NULL, NULL, 0, SIG_MAX, &a, err) : hoy_fail_oom(err);

	if (res < 0)
		return res;
	if (a.status != 200)
		return registry_refused(r, &a, "a sigstore signature", err);
	sha_of(hoy_buf_str(&a.body), a.body.len, sum);
	if (strcmp(sum, d->digest) || (int64_t)a.body.len != d->size)
		return hoy_fail(err, HOY_EDIGEST, "the sigstore signature %s is not what its digest says", d->digest);
	s = sigs_add(ret, SIG_SIGSTORE, hoy_buf_str(&a.body), a.body.len, err);
	if (!s)
		return -err->code;
	s->mime = strdup(d->type ? d->type : "");
	HOY_JSON_EACH(n, hoy_json_get(d->json, "annotations"))
		if (hoy_json_text(n))
			sig_annotate(s, n->key, n->str);
	return !s->mime || s->annotations.error ? hoy_fail_oom(err) : 0;
}

static int read_layers(struct registry *r, const struct manifest *m, struct sigs *ret, struct hoy_err *err)
{
	int res = 0;

	for (size_t i = 0; i < m->n && !res; i++)
		res = read_layer(r, &m->v[i], ret, err);
	return res;
}

int attach_read(struct registry *r, const char *digest, struct sigs *ret, struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 };
	int res = read_manifest(r, digest, &m, err);

	return res <= 0 ? res : read_layers(r, &m, ret, err);
}

/* ---- writing ---- */

static int put_blob(struct registry *r, const void *data, size_t len, const char *digest, struct hoy_err *err)
{
	cleanup_free char *head = hoy_asprintf("/v2/%s/blobs/%s", registry_path(r), digest);
	cleanup_free char *start = hoy_asprintf("/v2/%s/blobs/uploads/", registry_path(r)), *url = NULL;
	cleanup_answer struct answer there = { 0 }, begun = { 0 }, done = { 0 };
	int res = head && start ? registry_do(r, "HEAD", head, NULL, NULL, NULL, 0, EMPTY_MAX, &there, err) : hoy_fail_oom(err);

	if (res < 0 || there.status == 200)
		return res;
	res = registry_do(r, "POST", start, NULL, NULL, NULL, 0, EMPTY_MAX, &begun, err);
	if (!res && (begun.status != 202 || !begun.location))
		res = registry_refused(r, &begun, "an upload", err);
	if (res < 0)
		return res;
	url = hoy_asprintf("%s%cdigest=%s", begun.location, strchr(begun.location, '?') ? '&' : '?', digest);
	res = url ? registry_do(r, "PUT", url, NULL, "application/octet-stream", data, len, EMPTY_MAX, &done, err) : hoy_fail_oom(err);
	return res < 0 ? res : done.status / 100 == 2 ? 0 : registry_refused(r, &done, "an upload", err);
}

static void write_layer(struct hoy_jw *w, const struct sig *s, const char *digest)
{
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "mediaType", s->mime);
	hoy_jw_string(w, "digest", digest);
	hoy_jw_int(w, "size", s->len);
	sig_write_annotations(s, w);
	hoy_jw_end_object(w);
}

/* The config that makes an image of the signatures. */
static void write_config(struct hoy_buf *b, const struct sigs *all)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);
	char digest[SHA_DIGEST_SIZE];

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "architecture", "");
	hoy_jw_string(&w, "os", "");
	hoy_jw_object(&w, "config");
	hoy_jw_end_object(&w);
	hoy_jw_object(&w, "rootfs");
	hoy_jw_string(&w, "type", "layers");
	hoy_jw_array(&w, "diff_ids");
	for (size_t i = 0; i < all->n; i++) {
		sha_of(all->v[i].data, all->v[i].len, digest);
		hoy_jw_string(&w, NULL, digest);
	}
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
}

static void write_manifest(struct hoy_buf *b, const struct sigs *all, const struct hoy_buf *config)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);
	char digest[SHA_DIGEST_SIZE];

	sha_of(config->data, config->len, digest);
	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "schemaVersion", 2);
	hoy_jw_string(&w, "mediaType", T_OCI);
	hoy_jw_object(&w, "config");
	hoy_jw_string(&w, "mediaType", T_OCI_CONFIG);
	hoy_jw_string(&w, "digest", digest);
	hoy_jw_int(&w, "size", config->len);
	hoy_jw_end_object(&w);
	hoy_jw_array(&w, "layers");
	for (size_t i = 0; i < all->n; i++) {
		sha_of(all->v[i].data, all->v[i].len, digest);
		write_layer(&w, &all->v[i], digest);
	}
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
}

static int put_all(struct registry *r, const char *digest, const struct sigs *all, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf config = HOY_BUF_INIT(MANIFEST_MAX), manifest = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_free char *path = tag_path(r, digest);
	cleanup_answer struct answer a = { 0 };
	char sum[SHA_DIGEST_SIZE];
	int res = 0;

	write_config(&config, all);
	write_manifest(&manifest, all, &config);
	if (!path || config.error || manifest.error)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < all->n && !res; i++) {
		sha_of(all->v[i].data, all->v[i].len, sum);
		res = put_blob(r, all->v[i].data, all->v[i].len, sum, err);
	}
	sha_of(config.data, config.len, sum);
	if (!res)
		res = put_blob(r, config.data, config.len, sum, err);
	if (!res)
		res = registry_do(r, "PUT", path, NULL, T_OCI, manifest.data, manifest.len, EMPTY_MAX, &a, err);
	return res < 0 ? res : a.status / 100 == 2 ? 0 : registry_refused(r, &a, "sigstore attachments", err);
}

int attach_write(struct registry *r, const char *digest, const struct sigs *sigs, struct hoy_err *err)
{
	cleanup_manifest struct manifest m = { 0 };
	cleanup_sigs struct sigs all = { 0 };
	bool news = false;
	int res = read_manifest(r, digest, &m, err);

	if (res > 0)
		res = read_layers(r, &m, &all, err);
	for (size_t i = 0; i < sigs->n && !res; i++) {
		if (sigs->v[i].kind != SIG_SIGSTORE || sigs_has(&all, &sigs->v[i]))
			continue;
		news = true;
		res = sigs_add_copy(&all, &sigs->v[i], err);
	}
	return res < 0 || !news ? res : put_all(r, digest, &all, err);
}
