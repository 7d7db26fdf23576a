/* cmd-build/keep.c: working containers that last get a name and settings. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/ctropts.h"
#include "cmd-build/lease.h"
#include "cmd-build/runopts.h"
#include "common/store/containers.h"

/* "localhost/a/busybox:latest" gives "busybox" (and a registry with a port its host, as buildah has it). */
static char *prefix_of(const char *image)
{
	cleanup_free char *word = strndup(image, strcspn(image, ":"));
	char *slash = word ? strrchr(word, '/') : NULL, *at;

	if (slash)
		memmove(word, slash + 1, strlen(slash));
	at = word ? strchr(word, '@') : NULL;
	if (at)
		*at = '\0';
	return word ? hoy_asprintf("%s-working-container", word) : NULL;
}

static bool is_taken(struct hoy_store *s, const char *name)
{
	for (struct hoy_json *rec = hoy_first(s->ctrs); rec; rec = hoy_next(s->ctrs, rec))
		if (hoy_record_has(rec, "names", name))
			return true;
	return false;
}

/* PREFIX, or PREFIX-N with the first N that nobody has. */
static int free_name(struct ctr *c, const char *prefix)
{
	int r = hoy_store_peek(c->b.s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &c->b.err);

	for (unsigned n = 0; !r; n++) {
		free(c->w.name);
		c->w.name = n ? hoy_asprintf("%s-%u", prefix, n) : strdup(prefix);
		if (!c->w.name)
			return hoy_fail_oom(&c->b.err);
		if (!is_taken(c->b.s, c->w.name))
			break;
	}
	return r;
}

static int settings(struct work *w, struct hoy_buf *ret)
{
	struct ctr *c = (struct ctr *)((char *)w - offsetof(struct ctr, w));
	int r = userns_write(&w->ns, &c->d, &c->b.err);

	if (!r)
		ctr_write(c, ret);
	return r;
}

static int store_it(struct ctr *c, const struct state *s)
{
	if (hoy_random_id(c->w.id) < 0 || hoy_random_id(c->w.layer) < 0)
		return hoy_fail(&c->b.err, EIO, "cannot draw a random number");
	if (!hoy_json_set_string(&c->d, c->d.root, "container-name", c->w.name) || !hoy_json_set_string(&c->d, c->d.root, "container-id", c->w.id))
		return hoy_fail_oom(&c->b.err);
	return work_create(s, &c->w, settings);
}

int ctr_create(struct ctr *c, const struct state *s, const char *name)
{
	const char *image = hoy_json_str(c->d.root, "image");
	cleanup_free char *prefix = image ? prefix_of(image) : strdup("working-container");
	int r;

	if (name) {
		c->w.name = strdup(name);
		r = c->w.name ? store_it(c, s) : hoy_fail_oom(&c->b.err);
		return r < 0 ? hoy_fail_prefix(&c->b.err, "creating container") : 0;
	}
	/* Another `from` may have been faster with the same name. */
	do {
		r = prefix ? free_name(c, prefix) : hoy_fail_oom(&c->b.err);
		if (!r)
			r = store_it(c, s);
	} while (r == -EEXIST);
	return r;
}
