/* cmd-build/cache.c: the cache: images of the store that tell in their history of the step at hand. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cmd-build/build.h"
#include "common/base/fd.h"
#include "common/data/time.h"
#include "common/store/images.h"
#include "common/store/inuse.h"

static bool same_text(const struct hoy_json *a, const struct hoy_json *b, const char *key)
{
	return !strcmp(hoy_json_str(a, key) ?: "", hoy_json_str(b, key) ?: "");
}

static bool same_entry(const struct hoy_json *a, const struct hoy_json *b)
{
	return same_text(a, b, "created_by") && same_text(a, b, "comment") && same_text(a, b, "author") &&
	       hoy_json_bool(a, "empty_layer", false) == hoy_json_bool(b, "empty_layer", false) &&
	       hoy_json_time(a, "created") == hoy_json_time(b, "created");
}

const struct hoy_json *cache_last_step(const struct state *s, const struct hoy_json *cfg, bool layer)
{
	const struct hoy_json *base = s->base.root;
	const struct hoy_json *bh = hoy_json_get(base, "history"), *dh = hoy_json_get(cfg, "history");
	const struct hoy_json *bd = hoy_json_path(base, "rootfs", "diff_ids", NULL), *dd = hoy_json_path(cfg, "rootfs", "diff_ids", NULL);
	const struct hoy_json *d = dh ? dh->child : NULL, *id = dd ? dd->child : NULL;

	if (!dh || dh->count != (bh ? bh->count : 0) + 1 || (dd ? dd->count : 0) != (bd ? bd->count : 0) + layer)
		return NULL;
	HOY_JSON_EACH(h, bh) {
		if (!same_entry(h, d))
			return NULL;
		d = d->next;
	}
	HOY_JSON_EACH(h, bd) {
		if (!hoy_json_text(h) || !hoy_json_text(id) || strcmp(h->str, id->str))
			return NULL;
		id = id->next;
	}
	return d;
}

/* Is CFG that of what S stands on, with one step more, which is BY? */
static bool one_step(const struct state *s, const struct hoy_json *cfg, const char *by, bool layer)
{
	const struct hoy_json *last = cache_last_step(s, cfg, layer);
	int64_t at = s->b->time;

	/* With a time given, what was made at another one is something else. */
	return last && !strcmp(hoy_json_str(last, "created_by") ?: "", by) && (at < 0 || hoy_json_time(last, "created") == at * HOY_NS);
}

bool cache_too_old(const struct build *b, const struct hoy_json *rec)
{
	return b->cache_ttl > 0 && hoy_json_time(rec, "created") < hoy_now() - b->cache_ttl;
}

bool cache_fits_format(const struct build *b, const struct hoy_json *rec)
{
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT;
	struct hoy_err ignored = HOY_ERR_INIT;

	if (hoy_image_manifest(b->s, rec, &man, &ignored) < 0)
		return false;
	return !strcmp(hoy_json_str(man.root, "mediaType") ?: "", b->docker ? "application/vnd.docker.distribution.manifest.v2+json" :
							 "application/vnd.oci.image.manifest.v1+json");
}

bool cache_fits_platform(const struct state *s, const struct hoy_json *cfg)
{
	const struct hoy_json *base = s->base.root;
	struct platform p = s->st->plat;

	if (!s->st->plat_given && base)
		return same_text(base, cfg, "os") && same_text(base, cfg, "architecture");
	*p.variant = '\0';
	return platform_fits(&p, cfg);
}

bool cache_on_top(const struct state *s, const struct hoy_json *rec, bool layer)
{
	const char *top = hoy_json_str(rec, "layer") ?: "";

	if (layer)
		return *top && !strcmp(hoy_json_str(hoy_layer_get(s->b->s, top), "parent") ?: "", s->layer);
	return !strcmp(top, s->layer);
}

int cache_find(struct state *s, const char *by, bool layer, char id[HOY_ID_SIZE])
{
	struct build *b = s->b;
	int64_t newest = INT64_MIN;
	int r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);

	*id = '\0';
	for (struct hoy_json *rec = r ? NULL : hoy_image_first(b->s); rec; rec = hoy_image_next(b->s, rec)) {
		cleanup_json struct hoy_json_doc cfg = HOY_JSON_DOC_INIT;
		struct hoy_err ignored = HOY_ERR_INIT;
		int64_t created = hoy_json_time(rec, "created");

		if (cache_too_old(b, rec) || !cache_on_top(s, rec, layer) || created < newest || hoy_image_config(b->s, rec, &cfg, &ignored) < 0 ||
		    !one_step(s, cfg.root, by, layer) || !cache_fits_platform(s, cfg.root) || !cache_fits_format(b, rec))
			continue;
		newest = created;
		snprintf(id, HOY_ID_SIZE, "%s", hoy_json_str(rec, "id") ?: "");
	}
	return r;
}

/* ---- one at a time ---- */

/* FNV-1a, for a place (below HOY_INUSE_IMAGES) in a file of locks: if two keys share one, they wait for each other, no more. */
static uint64_t hash(uint64_t h, const char *text)
{
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3;
	return h;
}

int cache_claim(struct state *s, const struct cf_instr *i)
{
	struct build *b = s->b;
	cleanup_fd int fd = hoy_inuse_open(b->s);
	uint64_t h = hash(hash(hash(0xcbf29ce484222325, s->image), b->docker ? "docker" : "oci"), i->text);
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)(h >> 2), .l_len = 1 };

	if (fd < 0)
		return hoy_fail_errno(&b->err, -fd, "cannot open the lock of builds");
	s->waited = fcntl(fd, F_OFD_SETLK, &fl) < 0;
	while (s->waited && fcntl(fd, F_OFD_SETLKW, &fl) < 0) {
		if (errno != EINTR)
			return hoy_fail_errno(&b->err, errno, "cannot take the lock of builds");
		if (stopped(b) < 0)
			return -ECANCELED;
	}
	return steal_fd(&fd);
}

/* ---- what others must not take away ---- */

static int held = -1; /* children of ours have it, too: what a stage stands on stays when its process ends */

int cache_hold_begin(struct build *b)
{
	if (held < 0)
		held = hoy_inuse_open(b->s);
	return held < 0 ? hoy_fail_errno(&b->err, -held, "cannot open the lock of builds") : 0;
}

int cache_gate(struct build *b)
{
	int fd = hoy_inuse_gate(b->s, false);

	return fd < 0 ? hoy_fail_errno(&b->err, -fd, "cannot take the lock of builds") : fd;
}

int cache_hold(struct build *b, const char *id)
{
	int r = cache_hold_begin(b);

	if (!r && (r = hoy_inuse_hold(held, id)) < 0)
		r = hoy_fail_errno(&b->err, -r, "cannot take the lock of builds");
	if (!r)
		hoy_image_touch(b->s, id);
	return r;
}

void cache_drop(struct build *b, const char *id)
{
	cleanup_fd int gate = hoy_inuse_gate(b->s, true);
	const struct hoy_json *rec, *names;

	if (gate < 0 || hoy_store_lock(b->s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, NULL) < 0)
		return;
	rec = hoy_image_get(b->s, id);
	names = hoy_json_get(rec, "names");
	if (rec && (!names || !names->count) && !hoy_inuse_held(held, id))
		(void)hoy_image_delete(b->s, id, NULL, NULL);
	hoy_store_unlock(b->s);
}
