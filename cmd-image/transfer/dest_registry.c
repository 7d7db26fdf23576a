/* cmd-image/transfer/dest_registry.c: docker:// as a destination. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/http.h"
#include "cmd-image/transfer/lookaside.h"
#include "cmd-image/transfer/referrers.h"
#include "cmd-image/transfer/registry.h"
#include "common/data/ref.h"

struct reg_dest {
	struct dest d;
	struct registry *r;
	char *tag; /* or digest */
	const char *registries_d;
	bool knows_subjects; /* it has OCI's referrers API */
};

struct reg_sink {
	struct sink k;
	struct reg_dest *d;
	struct ring *ring;
	char *url;
	char *whole;	 /* where to PUT all of it at once, which saves the registry work; NULL: it goes by PATCH, and PUT ends it */
	int64_t size;	 /* of the blob; -1: unknown */
	int64_t from;	 /* where this attempt began */
	int64_t given;	 /* bytes of it so far */
	int64_t gained;	 /* what the attempt before it has left there */
	int tries;
	struct answer a; /* to the attempt, once the thread has ended */
	struct hoy_err err;
	bool sending;
	bool lost;	 /* all was sent, and the registry knows of nothing */
	pthread_t t;
};

/* LOCATION as the server gave it, against where we asked. */
static char *resolve(const char *asked, const char *location)
{
	CURLU *u = curl_url();
	char *url = NULL, *ret;

	if (u && !curl_url_set(u, CURLUPART_URL, asked, 0) && !curl_url_set(u, CURLUPART_URL, location, 0))
		curl_url_get(u, CURLUPART_URL, &url, 0);
	curl_url_cleanup(u);
	ret = url ? strdup(url) : NULL;
	curl_free(url);
	return ret;
}

static int start_upload(struct reg_dest *d, const char *query, struct answer *a, char **ret_url, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("/v2/%s/blobs/uploads/%s", registry_path(d->r), query);
	cleanup_free char *asked = hoy_asprintf("%s%s", registry_base(d->r), path);
	int r = path && asked ? registry_do(d->r, "POST", path, NULL, NULL, NULL, 0, 64 << 10, a, err) : hoy_fail_oom(err);

	if (r < 0)
		return r;
	if (a->status == 201)
		return 0;
	if (a->status != 202)
		return registry_refused(d->r, a, "an upload", err);
	*ret_url = a->location ? resolve(asked, a->location) : NULL;
	return *ret_url ? 0 : hoy_fail(err, HOY_EREMOTE, "'%s' names no place for an upload", d->d.name);
}

static int rd_has(struct dest *dest, const struct desc *blob, const struct source *src, struct hoy_err *err)
{
	struct reg_dest *d = (struct reg_dest *)dest;
	cleanup_free char *path = hoy_asprintf("/v2/%s/blobs/%s", registry_path(d->r), blob->digest);
	cleanup_answer struct answer a = { 0 }, m = { 0 };
	cleanup_free char *query = NULL, *url = NULL;
	int r = path ? registry_do(d->r, "HEAD", path, NULL, NULL, NULL, 0, 64 << 10, &a, err) : hoy_fail_oom(err);

	if (r < 0)
		return r;
	if (a.status == 200)
		return 1;
	if (a.status != 404 && a.status != 405)
		return registry_refused(d->r, &a, "a blob", err);
	if (!src || !src->repo_host || strcmp(src->repo_host, registry_host(d->r)) || !strcmp(src->repo, registry_path(d->r)))
		return 0;
	registry_also_pull(d->r, src->repo);
	query = hoy_asprintf("?mount=%s&from=%s", blob->digest, src->repo);
	r = query ? start_upload(d, query, &m, &url, err) : hoy_fail_oom(err);
	if (url)
		(void)registry_do(d->r, "DELETE", url, NULL, NULL, NULL, 0, 64 << 10, &a, NULL);
	/* Registries that refuse mounts get the blob itself. */
	return !r && m.status == 201 ? 1 : 0;
}

static char *with_digest(const char *url, const char *digest)
{
	return hoy_asprintf("%s%cdigest=%s", url, strchr(url, '?') ? '&' : '?', digest);
}

static void *send_thread(void *arg)
{
	struct reg_sink *k = arg;

	const char *method = k->whole ? "PUT" : "PATCH";

	if (registry_send(k->d->r, method, k->whole ? k->whole : k->url, k->ring, k->from, k->size, &k->a, &k->err) < 0 || k->a.status / 100 != 2)
		ring_stop(k->ring);
	return NULL;
}

/* Send from K's place FROM on. */
static int rk_start(struct reg_sink *k, struct hoy_err *err)
{
	stream_free(k->ring ? &k->ring->stream : NULL);
	answer_release(&k->a);
	k->err = (struct hoy_err)HOY_ERR_INIT;
	k->ring = ring_new(1 << 20);
	if (!k->ring || pthread_create(&k->t, NULL, send_thread, k))
		return hoy_fail_oom(err);
	k->sending = true;
	return 0;
}

/* No more is sent; WHY: because it failed (NULL: because that was all). */
static void rk_stop(struct reg_sink *k, const struct hoy_err *why)
{
	if (!k->sending)
		return;
	ring_end(k->ring, why);
	pthread_join(k->t, NULL);
	k->sending = false;
}

static int rk_write(struct sink *s, const void *data, size_t n, struct hoy_err *err)
{
	struct reg_sink *k = (struct reg_sink *)s;

	k->given += n;
	/* The thread that broke off says why in again(). */
	return ring_write(k->ring, data, n) < 0 ? hoy_fail(err, EPIPE, "the upload was broken off") : 0;
}

static int rk_end(struct sink *s, const char *digest, int64_t size, struct hoy_err *err)
{
	struct reg_sink *k = (struct reg_sink *)s;
	cleanup_answer struct answer a = { 0 };
	cleanup_free char *next = NULL, *url = NULL;
	int r;

	rk_stop(k, NULL);
	if (k->err.code || k->a.status / 100 != 2)
		return hoy_fail(err, EPIPE, "the upload was broken off");
	if (k->whole)
		return 0;
	next = resolve(k->url, k->a.location ? k->a.location : k->url);
	url = next ? with_digest(next, digest) : NULL;
	r = url ? registry_do(k->d->r, "PUT", url, NULL, NULL, NULL, 0, 64 << 10, &a, err) : hoy_fail_oom(err);
	/* The answer to an attempt before this one may have been lost. */
	if (!r && a.status == 404 && rd_has(&k->d->d, &(struct desc){ (char *)digest, NULL, size, NULL }, NULL, NULL) == 1)
		return 0;
	k->lost = !r && a.status == 404;
	if (!r && a.status != 201 && a.status != 204)
		r = registry_refused(k->d->r, &a, "an upload", err);
	return r;
}

/*
 * How much of the upload has arrived, of those registries that keep what came before the link was cut. 0: begin anew, also if
 * the size isn't known: then no Content-Range tells the registry where we go on, and more may be on its way to it still.
 * ("0-0" is what registries say of one byte, and of none.)
 */
static int64_t arrived(struct reg_sink *k)
{
	cleanup_answer struct answer a = { 0 };
	char *next;

	if (k->size < 0)
		return 0;
	if (registry_do(k->d->r, "GET", k->url, NULL, NULL, NULL, 0, 64 << 10, &a, NULL) < 0 || a.status != 204 || a.kept <= 1 ||
	    a.kept > k->from + k->given)
		return 0;
	next = a.location ? resolve(k->url, a.location) : NULL;
	if (next) {
		free(k->url);
		k->url = next;
	}
	return a.kept;
}

static int rk_again(struct sink *s, int64_t *ret_from, struct hoy_err *err)
{
	struct reg_sink *k = (struct reg_sink *)s;
	struct hoy_err stop = { ECANCELED, "stopped" };
	cleanup_answer struct answer a = { 0 };
	int64_t from;
	int r = 0;

	rk_stop(k, &stop);
	if (k->lost)
		hoy_fail(&k->err, HOY_EREMOTE, "the registry has lost an upload");
	else if (!k->err.code && k->a.status / 100 == 2)
		return -err->code; /* It was the end that failed. */
	/* More has arrived since we asked, or it is forgotten. */
	k->a.again |= k->lost || k->a.status == 416 || (k->from && k->a.status == 404);
	if (!ret_from || !registry_try_again(k->d->r, &k->tries, k->gained, &k->a, &k->err)) {
		if (!k->err.code)
			return registry_refused(k->d->r, &k->a, "an upload", err);
		*err = k->err;
		return hoy_fail_prefix(err, "'%s'", k->d->d.name);
	}
	free(k->whole);
	k->whole = NULL;
	from = arrived(k);
	if (!from) {
		free(k->url);
		k->url = NULL;
		r = start_upload(k->d, "", &a, &k->url, err);
		if (!r && !k->url)
			r = hoy_fail(err, HOY_EREMOTE, "'%s' names no place for an upload", k->d->d.name);
	}
	k->gained = from - k->from;
	k->lost = false;
	k->from = *ret_from = from;
	k->given = 0;
	return r ? r : rk_start(k, err);
}

static void rk_free(struct sink *s)
{
	struct reg_sink *k = (struct reg_sink *)s;
	struct hoy_err stop = { ECANCELED, "stopped" };

	rk_stop(k, &stop);
	stream_free(k->ring ? &k->ring->stream : NULL);
	answer_release(&k->a);
	free(k->url);
	free(k->whole);
	free(k);
}

static int rd_put(struct dest *dest, const char *digest, int64_t size, struct sink **ret, struct hoy_err *err)
{
	struct reg_dest *d = (struct reg_dest *)dest;
	struct reg_sink *k = calloc(1, sizeof(*k));
	cleanup_answer struct answer a = { 0 };
	int r;

	if (!k)
		return hoy_fail_oom(err);
	k->k = (struct sink){ rk_write, rk_end, rk_again, rk_free };
	k->d = d;
	k->size = size;
	r = start_upload(d, "", &a, &k->url, err);
	if (!r && !k->url)
		r = hoy_fail(err, HOY_EREMOTE, "'%s' names no place for an upload", dest->name);
	if (!r && digest && size >= 0 && !(k->whole = with_digest(k->url, digest)))
		r = hoy_fail_oom(err);
	if (!r)
		r = rk_start(k, err);
	if (r < 0)
		rk_free(&k->k);
	else
		*ret = &k->k;
	return r;
}

static int put_manifest(struct reg_dest *d, const struct manifest *m, const char *reference, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("/v2/%s/manifests/%s", registry_path(d->r), reference);
	cleanup_answer struct answer a = { 0 };
	int r = path ? registry_do(d->r, "PUT", path, NULL, manifest_type(m->kind), m->data, m->len, 64 << 10, &a, err) : hoy_fail_oom(err);

	d->knows_subjects |= a.subject;
	return r < 0 ? r : a.status / 100 == 2 ? 0 : registry_refused(d->r, &a, "the manifest", err);
}

static int rd_manifest(struct dest *dest, const struct manifest *m, bool top, struct hoy_err *err)
{
	struct reg_dest *d = (struct reg_dest *)dest;

	if (top && d->tag && strchr(d->tag, ':') && strcmp(d->tag, m->digest))
		return hoy_fail(err, HOY_EDIGEST, "the manifest's digest is %s, not the %s that '%s' names", m->digest, d->tag, dest->name);
	return put_manifest(d, m, top && d->tag ? d->tag : m->digest, err);
}

static int rd_tag(struct dest *dest, const struct manifest *m, const char *tag, struct hoy_err *err)
{
	return put_manifest((struct reg_dest *)dest, m, tag, err);
}

/* The list that TAG means, if there is one: 1, 0 or an error. */
static int get_list(struct reg_dest *d, const char *tag, struct manifest *ret, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("/v2/%s/manifests/%s", registry_path(d->r), tag);
	cleanup_answer struct answer a = { 0 };
	int r = path ? registry_do(d->r, "GET", path, T_OCI_INDEX, NULL, NULL, 0, MANIFEST_MAX, &a, err) : hoy_fail_oom(err);

	if (r < 0 || a.status == 404)
		return r;
	if (a.status != 200)
		return registry_refused(d->r, &a, "the list of referrers", err);
	r = manifest_parse(ret, hoy_buf_str(&a.body), a.body.len, a.type, err);
	if (!r && !manifest_is_list(ret))
		r = hoy_fail(err, HOY_EFORMAT, "'%s:%s' is no list of what refers to an image", d->d.name, tag);
	return r ? r : 1;
}

/* A registry that has the API said so when it took M. For others there is a list under a tag, which we keep. */
static int rd_refer(struct dest *dest, const struct manifest *m, const char *subject, struct hoy_err *err)
{
	struct reg_dest *d = (struct reg_dest *)dest;
	cleanup_manifest struct manifest list = { 0 }, longer = { 0 };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	char tag[REFERRERS_TAG_SIZE];
	int r;

	if (d->knows_subjects)
		return 0;
	referrers_tag(subject, "", tag);
	r = get_list(d, tag, &list, err);
	if (r < 0)
		return r;
	r = referrers_add(r ? &list : NULL, m, &b, err);
	if (r)
		return r < 0 ? r : 0;
	r = manifest_parse(&longer, b.data, b.len, T_OCI_INDEX, err);
	return r ? r : put_manifest(d, &longer, tag, err);
}

static int rd_commit(struct dest *d, struct hoy_err *err) { return 0; }

static void rd_free(struct dest *dest)
{
	registry_free(((struct reg_dest *)dest)->r);
	free(((struct reg_dest *)dest)->tag);
}

static int rd_signatures(struct dest *dest, const struct manifest *m, bool top, const struct sigs *sigs, struct hoy_err *err)
{
	struct reg_dest *d = (struct reg_dest *)dest;

	(void)top;
	return registry_put_signatures(d->r, &dest->ref, m->digest, d->registries_d, sigs, err);
}

static const struct dest_ops ops = { .has = rd_has, .put = rd_put, .manifest = rd_manifest, .commit = rd_commit, .free = rd_free,
				     .signatures = rd_signatures, .refer = rd_refer, .tag = rd_tag };

int dest_registry(struct dest **ret, const char *rest, const struct reg_opts *o, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	struct reg_dest *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return hoy_fail_oom(err);
	d->d.ops = &ops;
	d->d.layers = LAYERS_PACKED;
	d->d.takes_urls = true;
	memset(d->d.takes, true, sizeof(d->d.takes));
	/* Registries refuse it nowadays. */
	d->d.takes[MAN_V2S1] = false;
	r = hoy_ref_parse(&ref, rest, err);
	if (!r && (hoy_ref_normalize(&ref) < 0 || !(d->d.name = hoy_ref_repo(&ref))))
		r = hoy_fail_oom(err);
	if (!r) {
		d->tag = strdup(ref.digest ? ref.digest : ref.tag);
		r = registry_at(&d->r, &ref, o, err);
	}
	if (!r)
		r = registry_ping(d->r, true, err);
	if (!r) {
		d->registries_d = o->registries_d;
		d->d.ref = ref;
		ref = (struct hoy_ref)HOY_REF_INIT;
	}
	if (r < 0)
		dest_free(&d->d);
	else
		*ret = &d->d;
	return r;
}
