#include "cmd-build/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/input.h"
#include "common/store/images.h"

static int open_image(struct build *b, struct source *src)
{
	const struct hoy_json *rec = hoy_image_get(b->s, src->id);
	const char *top = hoy_json_str(rec, "layer") ?: "";
	char layer[HOY_ID_SIZE];
	int r;

	if (!*top)
		return hoy_fail(&b->err, ENOENT, "image %.12s has no files to copy", src->id);
	snprintf(layer, sizeof(layer), "%s", top);
	r = mount_layer(b, layer, true, &src->path);
	if (!r)
		memcpy(src->layer, layer, sizeof(layer));
	return r;
}

static int open_stage(struct build *b, struct stage *st, struct source *src)
{
	int r;

	if (st->work) {
		r = work_mount(st->work);
		src->path = r ? NULL : strdup(st->work->root);
		src->maps = &st->work->ns.maps;
		return r ? r : src->path ? 0 : hoy_fail_oom(&b->err);
	}
	snprintf(src->id, sizeof(src->id), "%s", st->image);
	r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);
	return r ? r : open_image(b, src);
}

int source_open(struct state *s, const char *from, struct source *src)
{
	struct build *b = s->b;
	const char *named;
	bool image = false;
	long at;
	int r;

	*src = (struct source){ .image = from != NULL };
	if (!from) {
		src->path = strdup(b->context);
		return src->path ? 0 : hoy_fail_oom(&b->err);
	}
	named = input_named(b, from, &image);
	if (named && !image) {
		*src = (struct source){ .path = strdup(named), .named = true };
		return src->path ? 0 : hoy_fail_oom(&b->err);
	}
	at = find_stage(b, from, s->st - b->stages);
	if (at >= 0 && (b->stages[at].work || *b->stages[at].image))
		return open_stage(b, &b->stages[at], src);
	r = image_source(b, named ?: from, src->id);
	return r ? r : open_image(b, src);
}

int source_open_seen(struct state *s, const char *from, struct source *src)
{
	struct state image = { .b = s->b, .st = s->st };
	int r = source_open(s, from, src);

	if (r < 0 || !*src->layer || hoy_idmaps_empty(&s->work->ns.maps))
		return r;
	memcpy(image.image, src->id, sizeof(image.image));
	memcpy(image.layer, src->layer, sizeof(image.layer));
	r = work_new_like(&image, &s->work->ns);
	src->work = image.work;
	if (!r)
		r = work_mount(src->work);
	free(src->path);
	src->path = r ? NULL : strdup(src->work->root);
	return r ? r : src->path ? 0 : hoy_fail_oom(&s->b->err);
}

void source_close(struct state *s, struct source *src)
{
	work_drop(src->work);
	if (*src->layer)
		(void)unmount_layer(s->b, src->layer, NULL);
	free(src->path);
	*src = (struct source){ .path = NULL };
}
