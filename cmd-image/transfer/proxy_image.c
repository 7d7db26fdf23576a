#include "cmd-image/transfer/proxy_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/skopeo.h"
#include "common/data/digest.h"

struct proxy_image {
	_Atomic int refs;
	struct source *src;
	bool chosen; /* what follows is there */
	struct manifest m, list;
	struct config config;
};

void proxy_image_unref(struct proxy_image *p)
{
	if (!p || --p->refs)
		return;
	manifest_release(&p->m);
	manifest_release(&p->list);
	config_release(&p->config);
	source_free(p->src);
	free(p);
}

struct proxy_image *proxy_image_ref(struct proxy_image *p)
{
	p->refs++;
	return p;
}

int proxy_image_open(struct proxy_image **ret, const char *name, const struct reg_opts *o, const struct trust *t, struct hoy_err *err)
{
	cleanup_manifest struct manifest top = { 0 };
	struct proxy_image *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return hoy_fail_oom(err);
	p->refs = 1;
	p->config = (struct config)CONFIG_INIT;
	r = source_open(&p->src, name, o, err);
	if (!r)
		r = source_manifest(p->src, NULL, &top, err);
	if (!r)
		r = image_allowed(p->src, &top, false, t, err);
	if (r < 0)
		proxy_image_unref(p);
	else
		*ret = p;
	return r;
}

/* Of a list, the image for this machine. */
static int choose(struct proxy_image *p, struct hoy_err *err)
{
	struct platform here = skopeo_platform();
	int r;

	if (p->chosen)
		return 0;
	r = source_image(p->src, &here, &p->m, &p->list, err);
	p->chosen = !r;
	if (r < 0) {
		manifest_release(&p->m);
		manifest_release(&p->list);
	}
	return r;
}

/* Its config, too: an artifact has none that means anything to us. */
static int choose_with_config(struct proxy_image *p, struct hoy_err *err)
{
	int r = choose(p, err);

	return r || p->config.data ? r : source_config(p->src, &p->m, &p->config, err);
}

/* A store has no blobs any more, and makes tars of its layers: what layer I is called there. */
static int ask_for(struct proxy_image *p, size_t i, struct desc *ret, struct hoy_err *err)
{
	int r = p->src->ops->plain_size ? choose_with_config(p, err) : choose(p, err);

	if (r < 0)
		return r;
	*ret = p->m.v[i];
	if (p->src->ops->plain_size)
		*ret = (struct desc){ p->config.diff_ids.v[i], (char *)layer_type(p->m.kind, ""), p->src->ops->plain_size(p->src, i), NULL };
	return 0;
}

/* docker's manifest and config become OCI's. */
static int as_oci(struct proxy_image *p, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf config = HOY_BUF_INIT(HOY_BUF_OURS);
	struct desc d = p->m.config;
	char digest[SHA_DIGEST_SIZE];
	int r = proxy_image_config(p, true, &config, err);

	if (r < 0)
		return r;
	sha_of(hoy_buf_str(&config), config.len, digest);
	d.digest = digest;
	d.size = config.len;
	return manifest_convert(&p->m, MAN_OCI, &d, ret, err);
}

int proxy_image_manifest(struct proxy_image *p, struct hoy_buf *ret, const char **ret_digest, struct hoy_err *err)
{
	int r = choose(p, err);

	if (r < 0)
		return r;
	*ret_digest = p->m.digest;
	if (p->m.kind != MAN_OCI)
		return as_oci(p, ret, err);
	hoy_buf_add(ret, p->m.data, p->m.len);
	return ret->error ? hoy_fail_oom(err) : 0;
}

int proxy_image_config(struct proxy_image *p, bool whole, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf all = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_jw w = hoy_jw_on(whole ? ret : &all, NULL), part = hoy_jw_on(ret, NULL);
	const struct hoy_json *inner;
	int r = choose_with_config(p, err);

	if (r < 0)
		return r;
	config_write(&w, p->config.doc.root);
	if (!whole && !all.error && (r = hoy_json_parse(&doc, all.data, all.len, "config", err)) < 0)
		return r;
	inner = hoy_json_get(doc.root, "config");
	if (!whole && inner)
		hoy_jw_value(&part, NULL, inner);
	else if (!whole)
		hoy_buf_puts(ret, "{}");
	return all.error || ret->error ? hoy_fail_oom(err) : 0;
}

int proxy_image_layers(struct proxy_image *p, struct hoy_buf *ret, struct hoy_err *err)
{
	struct hoy_jw w = hoy_jw_on(ret, NULL);
	int r = choose(p, err);

	if (r < 0)
		return r;
	hoy_jw_array(&w, NULL);
	for (size_t i = 0; !r && i < p->m.n; i++) {
		struct desc d;

		r = ask_for(p, i, &d, err);
		if (r < 0)
			return r;
		hoy_jw_object(&w, NULL);
		hoy_jw_string(&w, "digest", d.digest);
		hoy_jw_int(&w, "size", d.size);
		hoy_jw_string(&w, "media_type", d.type);
		hoy_jw_end_object(&w);
	}
	hoy_jw_end_array(&w);
	return ret->error ? hoy_fail_oom(err) : 0;
}

/* Which blob of the image has DIGEST: a layer's number, -1 for all others, or an error; its descriptor to *RET. */
static int find_blob(struct proxy_image *p, const char *digest, struct desc *ret, struct hoy_err *err)
{
	for (size_t i = 0; i < p->m.n; i++) {
		int r = ask_for(p, i, ret, err);

		if (r < 0)
			return r - 1;
		if (!strcmp(ret->digest, digest))
			return i;
	}
	*ret = (struct desc){ (char *)digest, NULL, -1, NULL };
	if (p->chosen && !strcmp(p->m.config.digest, digest))
		*ret = p->m.config;
	return -1;
}

int proxy_image_blob(struct proxy_image *p, const char *digest, struct stream **ret, int64_t *ret_size, struct hoy_err *err)
{
	cleanup_stream struct stream *in = NULL;
	const unsigned char *first;
	struct desc d;
	int layer, r = 0;

	if (!hoy_is_digest(digest) || strncmp(digest, "sha256:", 7))
		return hoy_fail(err, EINVAL, "'%.100s' is no digest of the kind sha256", digest);
	/* A registry has its blobs whether or not the manifest has been asked for. */
	if (!p->src->repo_host)
		r = choose(p, err);
	if (r < 0)
		return r;
	layer = find_blob(p, digest, &d, err);
	if (layer < -1)
		return -err->code;
	if (layer < 0 && !p->src->repo_host && d.size < 0)
		return hoy_fail(err, ENOENT, "'%s' has no blob %s", p->src->name, digest);
	r = p->src->ops->blob(p->src, &d, layer, &in, err);
	if (!r && stream_peek(in, &first, err) < 0)
		return -err->code;
	if (r < 0)
		return r;
	*ret = steal_ptr(&in);
	*ret_size = d.size;
	return 0;
}
