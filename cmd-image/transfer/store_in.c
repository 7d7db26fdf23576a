#include "cmd-image/transfer/store_in.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-image/transfer/flush.h"
#include "cmd-image/transfer/layer.h"
#include "common/base/msg.h"
#include "common/cli/opts.h"
#include "common/conf/dirs.h"
#include "common/store/layers.h"

struct job {
	char id[HOY_ID_SIZE];
	bool present;
	struct hoy_stage stage;
	bool staged;
	struct layer_got got;
};

struct work {
	struct hoy_store *s;
	struct source *src;
	const struct manifest *m;
	const struct config *config;
	const struct store_in *o;
	struct job *jobs;
	size_t *order; /* the big ones first */
	size_t n, next, n_order;
	pthread_mutex_t mu;
	struct hoy_err err;
};

void progress(bool quiet, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	if (quiet)
		return;
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(2, line, n) < 0)
		return;
}

struct hoy_store *open_store(struct hoy_err *err)
{
	struct hoy_store *s = NULL;

	hoy_store_open(&s, &hoy_globals.storage, 0, err);
	return s;
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

static int one_layer(struct work *w, size_t i, struct hoy_err *err)
{
	const struct desc *d = &w->m->v[i];
	struct job *j = &w->jobs[i];
	struct layer_want want = { d->digest, d->size, w->config->diff_ids.v[i] };
	struct unpack_opts o = { .userns = w->s->rootless, .ignore_chown_errors = w->s->conf.ignore_chown_errors };
	cleanup_stream struct stream *in = NULL;
	int r;

	if (w->src->plain) {
		want.digest = NULL;
		want.size = -1;
	}
	r = hoy_stage_new(&j->stage, w->s, err);
	if (r < 0)
		return r;
	j->staged = true;
	r = w->src->ops->blob(w->src, d, i, &in, err);
	if (!r)
		r = layer_unpack(in, &want, j->stage.difffd, j->stage.splitfd, &o, &j->got, err);
	return r;
}

static void *worker(void *arg)
{
	struct work *w = arg;

	for (;;) {
		struct hoy_err err = HOY_ERR_INIT;
		size_t i = 0;
		bool more;

		pthread_mutex_lock(&w->mu);
		more = !w->err.code && w->next < w->n_order;
		if (more)
			i = w->order[w->next++];
		pthread_mutex_unlock(&w->mu);
		if (!more)
			return NULL;
		progress(w->o->quiet, "Copying blob %s", w->m->v[i].digest);
		if (one_layer(w, i, &err) < 0) {
			pthread_mutex_lock(&w->mu);
			if (!w->err.code)
				w->err = err;
			pthread_mutex_unlock(&w->mu);
			transfer_cancelled = true;
		}
	}
}

static int by_size(const void *a, const void *b, void *arg)
{
	const struct manifest *m = arg;
	int64_t x = m->v[*(const size_t *)a].size, y = m->v[*(const size_t *)b].size;

	return x > y ? -1 : x < y;
}

/* All layers that the store lacks, side by side. What the records will name is on the disk when this returns: one sync for all. */
static int fetch(struct work *w, struct hoy_err *err)
{
	struct flush flush;
	pthread_t t[64];
	int k, started = 0;

	w->n_order = w->next = 0;
	for (size_t i = 0; i < w->n; i++)
		if (!w->jobs[i].present)
			w->order[w->n_order++] = i;
	if (!w->n_order)
		return 0;
	qsort_r(w->order, w->n_order, sizeof(*w->order), by_size, (void *)w->m);
	flush_begin(&flush, w->s->homefd);
	k = jobs_for(w->n_order, w->o->parallel);
	for (; started < k && started < 64; started++)
		if (pthread_create(&t[started], NULL, worker, w))
			break;
	if (!started)
		hoy_fail_oom(&w->err);
	while (started)
		pthread_join(t[--started], NULL);
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
		if (!layer_suffix(w->m->v[i].type) && w->m->v[i].type)
			return hoy_fail(err, HOY_EUNSUPPORTED, "layers of the type '%.100s' are not supported", w->m->v[i].type);
		layer_chain(i ? w->jobs[i - 1].id : NULL, w->config->diff_ids.v[i], w->jobs[i].id);
		w->jobs[i].present = hoy_layer_get(w->s, w->jobs[i].id);
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
		return 0;
	if (!j->staged)
		return hoy_fail(err, EAGAIN, "layer %s was removed from the store meanwhile: try again", w->config->diff_ids.v[i]);
	return hoy_layer_commit(w->s, &j->stage, &n, err);
}

static int commit_image(struct work *w, const struct manifest *list, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	const struct manifest *m = w->m;
	char man_key[100], list_key[100];
	struct hoy_item items[4];
	size_t n = 0;
	struct hoy_image_new img = { .id = m->config.digest + 7, .layer = w->n ? w->jobs[w->n - 1].id : NULL,
				     .created = w->config->created, .items = items, .metadata = "{}" };
	struct hoy_json *rec = NULL;
	int r;

	snprintf(man_key, sizeof(man_key), "manifest-%s", m->digest);
	snprintf(list_key, sizeof(list_key), "manifest-%s", list->digest);
	items[n++] = (struct hoy_item){ m->config.digest, w->config->data, w->config->len, m->config.digest };
	if (list->len)
		items[n++] = (struct hoy_item){ list_key, list->data, list->len, list->digest };
	items[n++] = (struct hoy_item){ man_key, m->data, m->len, m->digest };
	items[n++] = (struct hoy_item){ "manifest", m->data, m->len, m->digest };
	img.n_items = n;
	r = hoy_image_create(w->s, &img, &rec, err);
	for (size_t i = 0; !r && w->o->names && w->o->names[i]; i++)
		r = hoy_image_add_name(w->s, rec, w->o->names[i], err);
	if (!r)
		memcpy(ret_id, img.id, HOY_ID_SIZE);
	return r;
}

static int commit(struct work *w, const struct manifest *list, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	int r;

	r = hoy_store_lock(w->s, 0, HOY_LAYERS | HOY_IMAGES, err);
	if (r < 0)
		return r;
	for (size_t i = 0; !r && i < w->n; i++)
		r = commit_layer(w, i, err);
	if (!r)
		r = commit_image(w, list, ret_id, err);
	hoy_store_unlock(w->s);
	return r;
}

static void work_release(struct work *w)
{
	for (size_t i = 0; w->jobs && i < w->n; i++) {
		if (w->jobs[i].staged)
			hoy_stage_free(&w->jobs[i].stage);
		unpack_result_release(&w->jobs[i].got.res);
	}
	free(w->jobs);
	free(w->order);
}

int store_in(struct hoy_store *s, struct source *src, const struct manifest *m, const struct manifest *list,
	     const struct store_in *o, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_config struct config config = CONFIG_INIT;
	struct work w = { .s = s, .src = src, .m = m, .config = &config, .o = o, .n = m->n, .mu = PTHREAD_MUTEX_INITIALIZER };
	int r = source_config(src, m, &config, err);

	if (!r)
		r = hoy_store_peek(s, HOY_LAYERS, err);
	if (!r)
		r = plan(&w, err);
	if (!r)
		r = fetch(&w, err);
	if (!r) {
		progress(o->quiet, "Copying config %s", m->config.digest);
		progress(o->quiet, "Writing manifest to image destination");
		r = commit(&w, list, ret_id, err);
	}
	work_release(&w);
	return r;
}

int store_import(struct hoy_store *s, struct stream *tar,
		 int (*describe)(void *arg, const struct layer_got *got, struct hoy_buf *config, struct hoy_buf *manifest,
				 struct hoy_err *err),
		 void *arg, const struct store_in *o, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_buf struct hoy_buf cb = HOY_BUF_INIT(MANIFEST_MAX), mb = HOY_BUF_INIT(MANIFEST_MAX);
	cleanup_config struct config config = CONFIG_INIT;
	cleanup_manifest struct manifest m = { 0 };
	struct job job = { 0 };
	struct work w = { .s = s, .m = &m, .config = &config, .o = o, .n = 1, .jobs = &job };
	struct unpack_opts uo = { .userns = s->rootless, .ignore_chown_errors = s->conf.ignore_chown_errors };
	static const struct layer_want anything = { NULL, -1, NULL };
	struct flush flush;
	int r = hoy_stage_new(&job.stage, s, err);

	if (r < 0)
		return r;
	job.staged = true;
	flush_begin(&flush, s->homefd);
	r = layer_unpack(tar, &anything, job.stage.difffd, job.stage.splitfd, &uo, &job.got, err);
	if (flush_end(&flush, !r, err) < 0)
		r = -err->code;
	if (!r)
		r = describe(arg, &job.got, &cb, &mb, err);
	if (!r)
		r = config_parse(&config, hoy_buf_str(&cb), cb.len, 1, err);
	if (!r)
		r = manifest_parse(&m, hoy_buf_str(&mb), mb.len, NULL, err);
	if (!r) {
		progress(o->quiet, "Copying blob %s", job.got.diff_id);
		progress(o->quiet, "Copying config %s", m.config.digest);
		progress(o->quiet, "Writing manifest to image destination");
		layer_chain(NULL, job.got.diff_id, job.id);
		r = commit(&w, &(struct manifest){ 0 }, ret_id, err);
	}
	hoy_stage_free(&job.stage);
	unpack_result_release(&job.got.res);
	return r;
}
