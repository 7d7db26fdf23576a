/* cmd-image/transfer/source.c: what all sources have in common, whatever they read from. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/transport.h"

void source_free(struct source *s)
{
	if (!s)
		return;
	s->ops->free(s);
	free(s->name);
	free(s->repo_host);
	free(s->repo);
	free(s->title);
	hoy_ref_release(&s->ref);
	sigs_release(&s->sigs);
	hoy_strv_release(&s->scopes);
	free(s->repository);
	hoy_strv_release(&s->names);
	free(s);
}

void dest_free(struct dest *d)
{
	if (!d)
		return;
	d->ops->free(d);
	hoy_ref_release(&d->ref);
	free(d->name);
	free(d);
}

int source_manifest(struct source *src, const char *digest, struct manifest *ret, struct hoy_err *err)
{
	cleanup_free char *data = NULL, *type = NULL;
	size_t len;
	int r = src->ops->manifest(src, digest, &data, &len, &type, err);

	if (!r)
		r = manifest_parse(ret, data, len, type, err);
	if (!r && digest && strcmp(ret->digest, digest))
		r = hoy_fail(err, HOY_EDIGEST, "manifest %s of '%s' is not what its digest says: it has %s", digest, src->name, ret->digest);
	return r;
}

int source_image(struct source *src, const struct platform *p, struct manifest *m, struct manifest *list, struct hoy_err *err)
{
	struct platform here = platform_here(p);
	const struct desc *d;
	int r = source_manifest(src, NULL, m, err);

	/* A list in a list is not taken. */
	if (r < 0 || !manifest_is_list(m))
		return r;
	*list = *m;
	memset(m, 0, sizeof(*m));
	r = manifest_choose(list, &here, &d, err);
	if (!r)
		r = source_manifest(src, d->digest, m, err);
	if (!r && d->size != (int64_t)m->len)
		return hoy_fail(err, HOY_EDIGEST, "manifest %s of '%s' has not the size that its list says", d->digest, src->name);
	if (!r && manifest_is_list(m))
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is a list of lists", src->name);
	return r;
}

int source_signatures(struct source *src, const struct manifest *m, bool instance, const struct sigs **ret, struct hoy_err *err)
{
	int r = 0;

	if (strcmp(src->sigs_of, m->digest)) {
		sigs_release(&src->sigs);
		src->sigs_of[0] = '\0';
		r = src->ops->signatures ? src->ops->signatures(src, m, instance, &src->sigs, err) : 0;
		if (r < 0)
			return hoy_fail_prefix(err, "reading signatures");
		memcpy(src->sigs_of, m->digest, sizeof(src->sigs_of));
	}
	*ret = &src->sigs;
	return r;
}

int source_config(struct source *src, const struct manifest *m, struct config *ret, struct hoy_err *err)
{
	cleanup_stream struct stream *in = NULL;
	cleanup_free char *buf = NULL;
	char digest[SHA_DIGEST_SIZE];
	ssize_t n;

	if (!manifest_is_image(m))
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is an artifact with a config of the type '%.100s', and no image", src->name, m->config.type);
	if (m->config.size > (int64_t)MANIFEST_MAX)
		return hoy_fail(err, EFBIG, "the config of '%s' has more than %zu bytes", src->name, MANIFEST_MAX);
	buf = malloc(m->config.size + 2);
	if (!buf)
		return hoy_fail_oom(err);
	n = src->ops->blob(src, &m->config, -1, &in, err);
	if (!n)
		n = stream_read(in, buf, m->config.size + 1, err);
	if (n < 0)
		return n;
	sha_of(buf, n, digest);
	if (n != m->config.size || strcmp(digest, m->config.digest))
		return hoy_fail(err, HOY_EDIGEST, "config %s of '%s' is not what its digest says", m->config.digest, src->name);
	return config_parse(ret, buf, n, m->n, err);
}
