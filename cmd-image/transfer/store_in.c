#include "cmd-image/transfer/store_in.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd-image/transfer/crypt.h"
#include "cmd-image/transfer/flush.h"
#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/part.h"
#include "cmd-image/transfer/schema1.h"
#include "cmd-image/transfer/sign.h"
#include "cmd-image/transfer/store_sigs.h"
#include "common/base/msg.h"
#include "common/cli/opts.h"
#include "common/conf/dirs.h"
#include "common/data/ref.h"
#include "common/data/units.h"
#include "common/store/layers.h"
#include "common/store/parts.h"
#include "common/store/vfs.h"

enum job_state { WAITS, READY, TAKEN };

struct job {
	char id[HOY_ID_SIZE];
	bool present;
	bool sealed; /* encrypted: it is fetched even if the store has it, because what is inside has another digest, which nobody knows */
	enum job_state state;
	struct job *first; /* the one that fetches the same blob; itself in most cases */
	struct part part;  /* of FIRST; blank in the others */
	struct hoy_stage stage;
	bool staged;
	struct meter *meter; /* while it is fetched */
	struct layer_got got;
};

struct work {
	struct hoy_store *s;
	struct source *src;
	const struct manifest *m;
	const struct manifest *kept; /* what the store gets: M, or that of the decrypted image */
	const struct config *config;
	const struct sigs *sigs; /* NULL: none are kept */
	const struct store_in *o;
	struct job *jobs;
	struct job **order; /* those that are to be fetched, the big ones first */
	size_t n, n_order;
	bool share; /* the file system can share what is equal */
	struct parts parts;
	pthread_mutex_t mu; /* over what follows, and the states of jobs */
	pthread_cond_t news;
	bool all_leased;
	struct hoy_err err;
	pthread_t threads[64];
	int n_threads;
};

struct hoy_store *open_store_at(const struct hoy_storage_args *at, struct hoy_err *err)
{
	struct hoy_store *s = NULL;

	hoy_store_open(&s, at, 0, err);
	return s;
}

struct hoy_store *open_store(struct hoy_err *err) { return open_store_at(&hoy_globals.storage, err); }

int store_in_limit(struct store_in *o, const char *size, struct hoy_err *err)
{
	if (size && (!hoy_size_parse(size, &o->max_layer) || !o->max_layer))
		return hoy_fail(err, EINVAL, "'%s' is no size for --max-layer-size", size);
	return 0;
}

int jobs_for(size_t n, int64_t wanted)
{
	size_t k = wanted > 0 ? wanted : 6;

	return k < n ? k : n;
}

void layer_chain(const char *parent, const char *diff_id, char ret[HOY_ID_SIZE])
{
	char text[2 * HOY_ID_SIZE + 2], sum[SHA_DIGEST_SIZE];

	if (!parent) {
		memcpy(ret, diff_id + 7, HOY_ID_SIZE);
		return;
	}
	snprintf(text, sizeof(text), "%s+%s", parent, diff_id + 7);
	sha_of(text, strlen(text), sum);
	memcpy(ret, sum + 7, HOY_ID_SIZE);
}

static const struct desc *desc_of(const struct work *w, const struct job *j) { return &w->m->v[j - w->jobs]; }

static bool damaged(const struct work *w, const char *id) { return w->o->damaged && hoy_strv_has(w->o->damaged, id); }

/* Is the layer in the store, and nothing wrong with it? */
static bool there(const struct work *w, const char *id) { return hoy_layer_whole(w->s, id) && !damaged(w, id); }

static int unseal(struct work *w, struct job *j, struct stream **s, struct hoy_err *err)
{
	const struct desc *d = desc_of(w, j);
	struct layer_key key;
	int r = layer_key_open(&key, w->o->crypt, hoy_json_get(d->json, "annotations"), d->digest, err);

	if (!r && !(*s = decrypt_stream(*s, &key, d->digest, err)))
		r = -err->code;
	layer_key_forget(&key);
	return r;
}

static int open_blob(struct work *w, struct job *j, struct stream **ret, struct hoy_err *err)
{
	const struct source_ops *ops = w->src->ops;
	int r = ops->resume ? ops->resume(w->src, desc_of(w, j), &j->first->part, ret, err) :
			      ops->blob(w->src, desc_of(w, j), j - w->jobs, ret, err);

	if (!r)
		*ret = meter_stream(j->meter, *ret);
	return r || !j->sealed ? r : unseal(w, j, ret, err);
}

static int unpack_layer(struct work *w, struct job *j, struct hoy_err *err)
{
	const struct desc *d = desc_of(w, j);
	struct layer_want want = { d->digest, d->size, w->config->diff_ids.v[j - w->jobs], w->o->max_layer };
	struct unpack_opts o = { .userns = w->s->rootless, .ignore_chown_errors = w->s->conf.ignore_chown_errors,
				 .max_sparse = w->o->max_layer, .share = w->share };
	cleanup_stream struct stream *in = NULL;
	int r;

	/* The HMAC says whether an encrypted blob is right. */
	if (w->src->plain || j->sealed) {
		want.digest = NULL;
		want.size = -1;
	}
	r = hoy_stage_new(&j->stage, w->s, err);
	if (r < 0)
		return r;
	j->staged = true;
	r = open_blob(w, j, &in, err);
	if (!r)
		r = layer_unpack(in, &want, j->stage.difffd, j->stage.splitfd, &o, &j->got, err);
	return r;
}

/*
 * May an error with this code come from a part that is not what its digest says? Then that is worth nothing. (What is no
 * archive or too large was read to its end: layer_unpack() would have said HOY_EDIGEST.)
 */
static bool blames_blob(int code)
{
	static const int others[] = { ECANCELED, ENOMEM, ENOSPC, EDQUOT, EROFS, EIO, EMFILE, ENFILE, ECONNREFUSED, EPROTO, ENOENT,
				      EFBIG, HOY_EFORMAT, HOY_EAUTH, HOY_EREMOTE };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (code == others[i])
			return false;
	return true;
}

static int one_layer(struct work *w, struct job *j, struct hoy_err *err)
{
	int r = unpack_layer(w, j, err);

	if (r < 0 && blames_blob(-r) && j->first->part.old) {
		part_empty(&j->first->part);
		hoy_stage_free(&j->stage);
		j->staged = false;
		unpack_result_release(&j->got.res);
		*err = (struct hoy_err)HOY_ERR_INIT;
		r = unpack_layer(w, j, err);
	}
	if (r < 0 && blames_blob(-r))
		part_drop(&j->first->part);
	return r;
}

/* ---- all layers, side by side ---- */

/* The biggest job that is ready; waits for one. NULL: there are no more. */
static struct job *next_job(struct work *w)
{
	struct job *j = NULL;

	pthread_mutex_lock(&w->mu);
	for (;;) {
		for (size_t i = 0; !j && !w->err.code && i < w->n_order; i++)
			if (w->order[i]->state == READY)
				j = w->order[i];
		if (j || w->err.code || w->all_leased)
			break;
		pthread_cond_wait(&w->news, &w->mu);
	}
	if (j)
		j->state = TAKEN;
	pthread_mutex_unlock(&w->mu);
	return j;
}

/* Tell the other threads: this job can be taken (or NULL), this error has happened (or none). */
static void tell(struct work *w, struct job *ready, const struct hoy_err *err)
{
	pthread_mutex_lock(&w->mu);
	if (ready)
		ready->state = READY;
	if (err->code && !w->err.code)
		w->err = *err;
	pthread_cond_broadcast(&w->news);
	pthread_mutex_unlock(&w->mu);
	if (err->code)
		transfer_cancelled = true;
}

static void *worker(void *arg)
{
	struct work *w = arg;
	struct job *j;

	while ((j = next_job(w))) {
		struct hoy_err err = HOY_ERR_INIT;
		int r;

		j->meter = meter_begin(w->o->quiet, "blob", desc_of(w, j)->digest, w->src->plain ? -1 : desc_of(w, j)->size);
		r = one_layer(w, j, &err);
		meter_end(steal_ptr(&j->meter), !r);
		for (size_t i = 0; !r && i < w->n_order; i++)
			if (w->order[i] != j && w->order[i]->first == j)
				r = one_layer(w, w->order[i], &err);
		if (r < 0)
			tell(w, NULL, &err);
	}
	return NULL;
}

static int by_size(const void *a, const void *b, void *arg)
{
	int64_t x = desc_of(arg, *(struct job *const *)a)->size, y = desc_of(arg, *(struct job *const *)b)->size;

	return x > y ? -1 : x < y;
}

static int by_digest(const void *a, const void *b, void *arg)
{
	return strcmp(desc_of(arg, *(struct job *const *)a)->digest, desc_of(arg, *(struct job *const *)b)->digest);
}

static void start_workers(struct work *w)
{
	int k = jobs_for(w->n_order, w->o->parallel);

	for (; w->n_threads < k && w->n_threads < (int)ARRAY_SIZE(w->threads); w->n_threads++)
		if (pthread_create(&w->threads[w->n_threads], NULL, worker, w))
			break;
}

/* With the lease in hand: has its last holder made the layer? Then J is done. */
static int look_again(struct work *w, struct job *j, struct hoy_err *err)
{
	struct hoy_stamp now = { .len = -1 };
	int r;

	if (hoy_stamp_read(&w->s->own.layers_lock, &now) < 0 || !hoy_stamp_same(&now, &w->s->own.layers_stamp)) {
		r = hoy_store_lock(w->s, HOY_LAYERS, 0, err);
		if (r < 0)
			return r;
		hoy_store_unlock(w->s);
	}
	j->present = !j->sealed && there(w, j->id);
	if (j->present)
		part_drop(&j->part);
	return 0;
}

/* Wait until nobody else fetches J's blob. */
static int wait_for_lease(struct work *w, struct job *j, struct hoy_err *err)
{
	const struct desc *d = desc_of(w, j);

	start_workers(w);
	progress(w->o->quiet, "Waiting for blob %s, which another process fetches", d->digest);
	while (part_take(&j->part, &w->parts, d->digest, d->size) == -EAGAIN) {
		if (transfer_cancelled)
			return hoy_fail(err, ECANCELED, "stopped");
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	}
	return 0;
}

static int take_lease(struct work *w, struct job *j, struct hoy_err *err)
{
	int r = 0;

	if (!w->src->ops->resume)
		return 0;
	if (part_take(&j->part, &w->parts, desc_of(w, j)->digest, desc_of(w, j)->size) == -EAGAIN)
		r = wait_for_lease(w, j, err);
	return r < 0 ? r : look_again(w, j, err);
}

/*
 * Leases are taken in the order of digests by everybody: so nobody waits in a circle. V: all jobs, sorted so; what is
 * leased is given to the workers.
 */
static void take_leases(struct work *w, struct job **v)
{
	struct hoy_err err = HOY_ERR_INIT;

	for (size_t i = 0; i < w->n_order; i++)
		v[i]->first = i && !by_digest(&v[i - 1], &v[i], w) ? v[i - 1]->first : v[i];
	for (size_t i = 0; i < w->n_order && !err.code; i++) {
		struct job *j = v[i];

		if (j->first != j && !j->first->present)
			continue;
		if (j->first != j) { /* the blob's other layer has come from elsewhere, this one may not */
			j->first = j;
			j->present = !j->sealed && there(w, j->id);
		} else {
			take_lease(w, j, &err);
		}
		if (!j->present && !err.code)
			tell(w, j, &err);
	}
	start_workers(w);
	pthread_mutex_lock(&w->mu);
	w->all_leased = true;
	pthread_mutex_unlock(&w->mu);
	if (!w->n_threads && !err.code)
		hoy_fail_oom(&err);
	tell(w, NULL, &err);
}

/* All layers that the store lacks, side by side. What the records will name is on the disk when this returns: one sync for all. */
static int fetch(struct work *w, struct hoy_err *err)
{
	cleanup_free struct job **by_lease = calloc(w->n + 1, sizeof(*by_lease));
	struct flush flush;
	int64_t size = 0;

	if (!by_lease)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < w->n; i++)
		if (!w->jobs[i].present) {
			size += w->m->v[i].size;
			w->order[w->n_order++] = &w->jobs[i];
		}
	if (!w->n_order)
		return 0;
	if (w->src->ops->resume)
		parts_open(&w->parts, w->s, size);
	memcpy(by_lease, w->order, w->n_order * sizeof(*by_lease));
	qsort_r(by_lease, w->n_order, sizeof(*by_lease), by_digest, w);
	qsort_r(w->order, w->n_order, sizeof(*w->order), by_size, w);
	flush_begin(&flush, w->s->dest->homefd);
	take_leases(w, by_lease);
	while (w->n_threads)
		pthread_join(w->threads[--w->n_threads], NULL);
	if (!w->err.code)
		return flush_end(&flush, true, err);
	flush_end(&flush, false, NULL);
	*err = w->err;
	return -err->code;
}

static int plan(struct work *w, struct hoy_err *err)
{
	w->jobs = calloc(w->n + 1, sizeof(*w->jobs));
	w->order = calloc(w->n + 1, sizeof(*w->order));
	if (!w->jobs || !w->order)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < w->n; i++) {
		w->jobs[i].sealed = crypt_type(w->m->v[i].type);
		if (w->jobs[i].sealed && !(w->o->crypt && w->o->crypt->decrypt.n))
			return hoy_fail(err, EACCES, "the layer %s is encrypted, and there is no key to open it (--decryption-key)", w->m->v[i].digest);
		if (w->jobs[i].sealed && w->sigs && w->sigs->n)
			return hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is signed and encrypted: the signatures would not hold for what is in the store", w->src->name);
		if (!w->jobs[i].sealed && !layer_suffix(w->m->v[i].type) && w->m->v[i].type)
			return hoy_fail(err, HOY_EUNSUPPORTED, "layers of the type '%.100s' are not supported", w->m->v[i].type);
		layer_chain(i ? w->jobs[i - 1].id : NULL, w->config->diff_ids.v[i], w->jobs[i].id);
		w->jobs[i].present = !w->jobs[i].sealed && there(w, w->jobs[i].id);
		w->jobs[i].part = (struct part)PART_INIT;
		if (w->jobs[i].present)
			meter_skip(w->o->quiet, "blob", w->m->v[i].digest, w->m->v[i].size);
	}
	return 0;
}

static int commit_layer(struct work *w, size_t i, struct hoy_err *err)
{
	struct job *j = &w->jobs[i];
	const struct layer_got *g = &j->got;
	struct hoy_layer_new n = {
		.id = j->id, .parent = i ? w->jobs[i - 1].id : NULL,
		.compressed_digest = g->digest, .compressed_size = g->size,
		.diff_digest = g->diff_id, .diff_size = g->diff_size, .compression = g->kind,
		.uids = g->res.uids.v, .n_uids = g->res.uids.n, .gids = g->res.gids.v, .n_gids = g->res.gids.n,
	};

	if (hoy_layer_get(w->s, j->id))
		return damaged(w, j->id) && j->staged ? hoy_layer_replace(w->s, &j->stage, &n, err) : 0;
	if (!j->staged)
		return hoy_fail(err, EAGAIN, "layer %s was removed from the store meanwhile: try again", w->config->diff_ids.v[i]);
	return hoy_layer_commit(w->s, &j->stage, &n, err);
}

static int commit_image(struct work *w, const struct manifest *list, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	const struct manifest *m = w->kept;
	char man_key[100], list_key[100];
	cleanup_stored_sigs struct stored_sigs sigs = STORED_SIGS_INIT;
	struct hoy_item items[6];
	size_t n = 0;
	struct hoy_image_new img = { .id = m->config.digest + 7, .layer = w->n ? w->jobs[w->n - 1].id : NULL,
				     .created = w->config->created, .items = items, .metadata = "{}" };
	struct hoy_json *rec = NULL;
	int r = w->sigs && w->sigs->n ? stored_sigs_make(&sigs, w->sigs, m->digest, err) : 0;

	snprintf(man_key, sizeof(man_key), "manifest-%s", m->digest);
	snprintf(list_key, sizeof(list_key), "manifest-%s", list->digest);
	items[n++] = (struct hoy_item){ m->config.digest, w->config->data, w->config->len, m->config.digest };
	if (list->len)
		items[n++] = (struct hoy_item){ list_key, list->data, list->len, list->digest };
	items[n++] = (struct hoy_item){ man_key, m->data, m->len, m->digest };
	items[n++] = (struct hoy_item){ "manifest", m->data, m->len, m->digest };
	if (sigs.data.len) {
		items[n++] = (struct hoy_item){ "signatures", sigs.data.data, sigs.data.len, sigs.sum };
		items[n++] = (struct hoy_item){ sigs.key, sigs.data.data, sigs.data.len, sigs.sum };
		img.metadata = sigs.metadata.data;
	}
	img.n_items = n;
	if (!r)
		r = hoy_image_create(w->s, &img, &rec, err);
	for (size_t i = 0; !r && w->o->names && w->o->names[i]; i++)
		r = hoy_image_add_name(w->s, &rec, w->o->names[i], err);
	if (!r)
		memcpy(ret_id, img.id, HOY_ID_SIZE);
	return r;
}

/* With vfs each layer needs the whole of the one below it: one after the other, still without a lock. */
static int complete_layers(struct work *w, struct hoy_err *err)
{
	int r = 0;

	for (size_t i = 0; i < w->n && !r; i++) {
		struct job *j = &w->jobs[i], *below = i ? j - 1 : NULL;
		cleanup_fd int theirs = below && !below->staged ? hoy_layer_open_diff(w->s, below->id) : -1;

		if (j->staged)
			r = hoy_vfs_complete(&j->stage, !below ? -1 : below->staged ? below->stage.difffd : theirs, err);
	}
	if (!r && syncfs(w->s->dest->homefd) < 0)
		r = hoy_fail_errno(err, errno, "cannot write layers to the disk");
	return r;
}

/* A layer that was there already may have a part too: its pull died, or failed, between the layer and the image. */
static void drop_part(struct work *w, size_t i)
{
	if (part_kept(&w->jobs[i].part))
		part_drop(&w->jobs[i].part);
	else if (w->src && w->src->ops->resume)
		hoy_parts_drop(w->s, w->m->v[i].digest);
}

static int commit(struct work *w, const struct manifest *list, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	int r = w->s->vfs ? complete_layers(w, err) : 0;

	if (!r)
		r = hoy_store_lock(w->s, 0, HOY_LAYERS | HOY_IMAGES, err);
	if (r < 0)
		return r;
	for (size_t i = 0; !r && i < w->n; i++)
		r = commit_layer(w, i, err);
	if (!r)
		r = commit_image(w, list, ret_id, err);
	hoy_store_unlock(w->s);
	for (size_t i = 0; !r && i < w->n; i++)
		drop_part(w, i);
	/* In order, so that the layers of one image share, too. */
	for (size_t i = 0; !r && i < w->n; i++)
		share_layer(w->s, w->jobs[i].id, &w->jobs[i].got.res.files);
	return r;
}

static void work_release(struct work *w)
{
	for (size_t i = 0; w->jobs && i < w->n; i++) {
		if (w->jobs[i].staged)
			hoy_stage_free(&w->jobs[i].stage);
		unpack_result_release(&w->jobs[i].got.res);
		part_leave(&w->jobs[i].part);
	}
	parts_close(&w->parts);
	free(w->jobs);
	free(w->order);
}

/* The manifest of what the store has when layers were encrypted: they have other digests now. RET stays blank if none was. */
static int unsealed_manifest(struct work *w, struct manifest *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_free struct desc *v = calloc(w->n + 1, sizeof(*v));
	cleanup_free struct hoy_json_doc *docs = calloc(w->n + 1, sizeof(*docs));
	bool any = false;
	int r = v && docs ? 0 : hoy_fail_oom(err);

	for (size_t i = 0; i < w->n && !r; i++) {
		v[i] = w->m->v[i];
		if (!w->jobs[i].sealed)
			continue;
		any = true;
		v[i] = (struct desc){ w->jobs[i].got.digest, crypt_inner_type(v[i].type), w->jobs[i].got.size, crypt_opened(&docs[i], v[i].json) };
		if (!v[i].type || !v[i].json)
			r = hoy_fail_oom(err);
	}
	if (!r && any && manifest_write(&b, w->m->kind, &w->m->config, v, w->n, w->m->doc.root) < 0)
		r = hoy_fail_oom(err);
	if (!r && any)
		r = manifest_parse(ret, hoy_buf_str(&b), b.len, manifest_type(w->m->kind), err);
	for (size_t i = 0; docs && v && i < w->n; i++) {
		if (w->jobs[i].sealed)
			free(v[i].type);
		hoy_json_release(&docs[i]);
	}
	return r;
}

/* New signatures of what the store gets, if they are wanted, behind those that came along: in ALL, which is blank. */
static int sign(struct work *w, struct sigs *all, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	int r = 0;

	if (!w->o->sign || !sign_wanted(w->o->sign))
		return 0;
	for (size_t i = 0; w->sigs && i < w->sigs->n && !r; i++)
		r = sigs_add_copy(all, &w->sigs->v[i], err);
	if (!r && w->o->names && w->o->names[0])
		r = hoy_ref_parse(&ref, w->o->names[0], err);
	if (!r)
		r = sign_for(w->o->sign, w->o->quiet, &ref, w->o->title, w->kept->digest, all, err);
	progress(w->o->quiet || r, "Storing signatures");
	w->sigs = all;
	return r;
}

static int try_store_in(struct hoy_store *s, struct source *src, const struct manifest *m, const struct manifest *list,
			const struct config *config, const struct sigs *sigs, const struct store_in *o, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	struct work w = { .s = s, .src = src, .m = m, .config = config, .sigs = sigs, .o = o, .n = m->n, .parts = { -1 },
			  .mu = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER };
	cleanup_manifest struct manifest unsealed = { 0 };
	cleanup_sigs struct sigs all = { 0 };
	int r = hoy_store_peek(s, HOY_LAYERS, err);

	w.share = !s->vfs && share_possible(s->dest->homefd);
	if (!r)
		r = plan(&w, err);
	if (!r)
		r = fetch(&w, err);
	if (!r) {
		meter_end(meter_begin(o->quiet, "config", m->config.digest, m->config.size), true);
		progress(o->quiet, "Writing manifest to image destination");
		r = unsealed_manifest(&w, &unsealed, err);
	}
	if (!r) {
		w.kept = unsealed.len ? &unsealed : m;
		r = sign(&w, &all, err);
	}
	if (!r)
		r = commit(&w, unsealed.len && !list->len ? m : list, ret_id, err);
	work_release(&w);
	return r;
}

static int store_image(struct hoy_store *s, struct source *src, const struct manifest *m, const struct manifest *list, const struct sigs *sigs,
		       const struct store_in *o, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_config struct config config = CONFIG_INIT;
	int r = source_config(src, m, &config, err);

	if (r < 0)
		return r;
	/* A layer that was there went with somebody's rmi while we fetched those above it: then it is fetched too. */
	for (int tries = 5;; tries--) {
		r = try_store_in(s, src, m, list, &config, sigs, o, ret_id, err);
		if (r != -EAGAIN || !tries || transfer_cancelled)
			return r;
		*err = (struct hoy_err)HOY_ERR_INIT;
	}
}

int store_in(struct hoy_store *s, struct source *src, const struct manifest *m, const struct manifest *list,
	     const struct store_in *o, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_source struct source *as2 = NULL;
	cleanup_manifest struct manifest m2 = { 0 };
	const struct sigs *sigs = NULL;
	int r = image_allowed(src, m, list->len, o->trust, err);

	if (!r && m->kind != MAN_V2S1) {
		r = o->no_signatures ? 0 : source_signatures(src, m, list->len, &sigs, err);
		return r ? r : store_image(s, src, m, list, sigs, o, ret_id, err);
	}
	/* The store has images of schema 2, for which no signature of the other manifest holds. */
	if (!r)
		r = source_schema1(&as2, src, m, o->quiet, err);
	if (!r)
		r = source_manifest(as2, NULL, &m2, err);
	return r ? r : store_image(s, as2, &m2, list, NULL, o, ret_id, err);
}

static int take(struct work *w, struct job *j, struct hoy_err *err)
{
	int r = hoy_store_lock(w->s, 0, HOY_LAYERS, err);

	if (r < 0)
		return r;
	r = hoy_stage_take(&j->stage, w->s, w->o->take, err);
	hoy_store_unlock(w->s);
	return r;
}

/* The layer that J has staged, unpacked from TAR (or what that was made of is taken) and on the disk. */
static int stage_tar(struct work *w, struct job *j, struct stream *tar, struct hoy_err *err)
{
	struct unpack_opts uo = { .userns = w->s->rootless, .ignore_chown_errors = w->s->conf.ignore_chown_errors, .there = w->o->take != NULL,
				  .max_sparse = w->o->max_layer, .share = !w->s->vfs && !w->o->take && share_possible(w->s->dest->homefd) };
	const struct layer_want anything = { NULL, -1, NULL, w->o->max_layer };
	struct flush flush;
	int r = hoy_stage_new(&j->stage, w->s, err);

	if (r < 0)
		return r;
	j->staged = true;
	flush_begin(&flush, w->s->dest->homefd);
	r = layer_unpack(tar, &anything, j->stage.difffd, j->stage.splitfd, &uo, &j->got, err);
	if (!r && w->o->take)
		r = take(w, j, err);
	return flush_end(&flush, !r, r ? NULL : err) < 0 && !r ? -err->code : r;
}

static bool take_ids(struct id_set *ret, const struct hoy_json *from)
{
	ret->v = from && from->count ? calloc(from->count, sizeof(*ret->v)) : NULL;
	HOY_JSON_EACH(e, ret->v ? from : NULL) {
		int64_t id;

		if (hoy_json_int64(e, &id) && id >= 0 && id <= UINT32_MAX)
			ret->v[ret->n++] = (unsigned)id;
	}
	return ret->v || !from || !from->count;
}

/* What the record REC of a layer tells of it. */
static int take_facts(struct layer_got *g, const struct hoy_json *rec, struct hoy_err *err)
{
	const char *diff_id = hoy_json_str(rec, "diff-digest");

	if (!diff_id || strlen(diff_id) != SHA_DIGEST_SIZE - 1)
		return hoy_fail(err, HOY_EFORMAT, "the layer that is to be had again has no digest");
	snprintf(g->diff_id, sizeof(g->diff_id), "%s", diff_id);
	snprintf(g->digest, sizeof(g->digest), "%s", hoy_json_str(rec, "compressed-diff-digest") ?: diff_id);
	g->size = hoy_json_int(rec, "compressed-size", 0);
	g->diff_size = hoy_json_int(rec, "diff-size", 0);
	g->kind = (enum compression)hoy_json_int(rec, "compression", COMP_NONE);
	return take_ids(&g->res.uids, hoy_json_get(rec, "uidset")) && take_ids(&g->res.gids, hoy_json_get(rec, "gidset")) ? 0 : hoy_fail_oom(err);
}

/* The files of the layer that the store has. */
static int copy_layer(struct work *w, struct job *j, struct hoy_err *err)
{
	struct flush flush;
	int r = hoy_stage_new(&j->stage, w->s, err);

	if (r < 0)
		return r;
	j->staged = true;
	flush_begin(&flush, w->s->dest->homefd);
	r = hoy_stage_copy(&j->stage, w->s, w->o->again, err);
	if (flush_end(&flush, !r, r ? NULL : err) < 0 && !r)
		r = -err->code;
	return r ? r : hoy_store_peek(w->s, HOY_LAYERS, err);
}

/* The layer J on PARENT (NULL: on nothing) is one that the store has, of which nothing needs to be digested. */
static int stage_again(struct work *w, struct job *j, const char *parent, struct hoy_err *err)
{
	const char *id = w->o->again;
	int r = take_facts(&j->got, hoy_layer_get(w->s, id), err);

	if (r < 0)
		return r;
	layer_chain(parent, j->got.diff_id, j->id);
	/* It may even be there at this very place. */
	if (hoy_layer_whole(w->s, j->id))
		return 0;
	r = copy_layer(w, j, err);
	/* Who removes a layer, removes its record first: what was copied is whole if that is there. */
	if (!r && !hoy_layer_whole(w->s, id))
		r = hoy_fail(err, ENOENT, "layer %.12s was removed meanwhile: try again", id);
	return r;
}

int store_import(struct hoy_store *s, struct stream *tar, const struct hoy_strv *below,
		 int (*describe)(void *arg, const struct layer_got *got, struct hoy_buf *config, struct hoy_buf *manifest,
				 struct hoy_err *err),
		 void *arg, const struct store_in *o, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_buf struct hoy_buf cb = HOY_BUF_INIT(MANIFEST_MAX), mb = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_config struct config config = CONFIG_INIT;
	cleanup_manifest struct manifest m = { 0 };
	bool own = tar || o->again;
	size_t n = below ? below->n : 0, all = n + own;
	struct work w = { .s = s, .m = &m, .kept = &m, .config = &config, .o = o, .n = all, .parts = { -1 }, .jobs = calloc(n + 1, sizeof(*w.jobs)) };
	int r = w.jobs ? 0 : hoy_fail_oom(err);

	for (size_t i = 0; i < all && !r; i++) {
		w.jobs[i].part = (struct part)PART_INIT;
		snprintf(w.jobs[i].id, HOY_ID_SIZE, "%s", i < n ? below->v[i] : "");
	}
	if (!r && own)
		r = tar ? stage_tar(&w, &w.jobs[n], tar, err) : stage_again(&w, &w.jobs[n], n ? w.jobs[n - 1].id : NULL, err);
	if (!r)
		r = describe(arg, own ? &w.jobs[n].got : NULL, &cb, &mb, err);
	if (!r)
		r = config_parse(&config, hoy_buf_str(&cb), cb.len, (long)all, err);
	if (!r)
		r = manifest_parse(&m, hoy_buf_str(&mb), mb.len, NULL, err);
	if (!r) {
		for (size_t i = 0; i < all; i++)
			progress(o->quiet, "Copying blob %s", config.diff_ids.v[i]);
		progress(o->quiet, "Copying config %s", m.config.digest);
		progress(o->quiet, "Writing manifest to image destination");
		if (tar)
			layer_chain(n ? w.jobs[n - 1].id : NULL, w.jobs[n].got.diff_id, w.jobs[n].id);
		r = commit(&w, &(struct manifest){ 0 }, ret_id, err);
	}
	work_release(&w);
	return r;
}
