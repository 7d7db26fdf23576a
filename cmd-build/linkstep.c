#include "cmd-build/linkstep.h"

#include <stdio.h>
#include <string.h>

#include "cmd-build/build.h"
#include "common/data/time.h"
#include "common/store/images.h"
#include "common/store/layers.h"

bool is_linked(const struct state *s, const struct cf_instr *i)
{
	bool on;

	return (!strcmp(i->word, "COPY") || !strcmp(i->word, "ADD")) && !cf_bool(&s->b->f, i, "link", false, &on, NULL) && on;
}

/* The last entry of the history in CFG, if it's that of a step with a layer. */
static const struct hoy_json *last_entry(const struct hoy_json *cfg)
{
	const struct hoy_json *list = hoy_json_get(cfg, "history"), *last = NULL;

	HOY_JSON_EACH(h, list)
		last = h;
	return last && !hoy_json_bool(last, "empty_layer", false) ? last : NULL;
}

/* The destination as the history has it says all only if it's absolute: else the working directory must be the same. */
static bool same_place(const struct state *s, const struct cf_instr *i, const struct hoy_json *cfg)
{
	const char *dir = hoy_json_str(hoy_json_get(cfg, "config"), "WorkingDir") ?: "";

	return *i->args.v[i->args.n - 1] == '/' || !strcmp(*dir ? dir : "/", *config_str(s, "WorkingDir") ? config_str(s, "WorkingDir") : "/");
}

/* Can the layer on top of the image REC be copied: is it all there, in our own place, with the ids of an image? */
static bool whole_layer(const struct state *s, const struct hoy_json *rec)
{
	const char *id = hoy_json_str(rec, "layer") ?: "";
	const struct hoy_json *layer = *id ? hoy_layer_get(s->b->s, id) : NULL;

	return layer && hoy_layer_whole(s->b->s, id) && hoy_layer_home(s->b->s, id) == s->b->s->dest && hoy_json_str(layer, "diff-digest") &&
	       !hoy_json_get(layer, "uidmap");
}

/* BY of a step whose digest isn't known has this in its place. */
#define ANY "*"

/* Is OLD the line BY, whose ANY stands for any one word? */
static bool same_line(const char *by, const char *old)
{
	const char *any = strstr(by, " " ANY " in ");
	size_t front = any ? (size_t)(any - by) + 1 : 0;

	if (!any || strncmp(by, old, front))
		return !strcmp(by, old);
	return !strcmp(any + 1 + strlen(ANY), old + front + strcspn(old + front, " "));
}

/* The newest image whose last step is the line BY, as I on other layers is; its entry is in CFG, which is blank. NULL: there is none. */
static const struct hoy_json *find(struct state *s, const struct cf_instr *i, const char *by, struct hoy_json_doc *cfg)
{
	struct build *b = s->b;
	const struct hoy_json *best = NULL;

	for (struct hoy_json *rec = hoy_image_first(b->s); rec; rec = hoy_image_next(b->s, rec)) {
		cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
		const struct hoy_json *last;
		struct hoy_err ignored = HOY_ERR_INIT;

		if (cache_too_old(b, rec) || !whole_layer(s, rec) || hoy_image_config(b->s, rec, &d, &ignored) < 0)
			continue;
		last = last_entry(d.root);
		if (!last || !same_line(by, hoy_json_str(last, "created_by") ?: "") || !same_place(s, i, d.root) ||
		    (b->time >= 0 && hoy_json_time(last, "created") != b->time * HOY_NS) ||
		    (best && hoy_json_time(rec, "created") < hoy_json_time(best, "created")))
			continue;
		best = rec;
		hoy_json_release(cfg);
		*cfg = d;
		d = (struct hoy_json_doc)HOY_JSON_DOC_INIT;
	}
	return best;
}

bool linked_elsewhere(struct state *s, const struct cf_instr *i)
{
	cleanup_json struct hoy_json_doc cfg = HOY_JSON_DOC_INIT;
	cleanup_free char *by = NULL;

	/* What a variable in the destination was, histories don't tell. */
	if (!is_linked(s, i) || stage_no_cache(s) || s->b->squash || s->b->s->vfs || strchr(i->args.v[i->args.n - 1], '$') ||
	    hoy_store_peek(s->b->s, HOY_LAYERS | HOY_IMAGES, NULL) < 0)
		return false;
	by = created_by(s, i, ANY);
	return by && find(s, i, by, &cfg);
}

int linked_find(struct state *s, const struct cf_instr *i, const char *by)
{
	cleanup_json struct hoy_json_doc cfg = HOY_JSON_DOC_INIT;
	cleanup_free char *line = NULL;
	const struct hoy_json *rec;

	if (!linked_elsewhere(s, i) || !(rec = find(s, i, by, &cfg)))
		return 0;
	snprintf(s->again, sizeof(s->again), "%s", hoy_json_str(rec, "layer"));
	s->linked_at = hoy_json_time(last_entry(cfg.root), "created");
	line = hoy_asprintf("--> Using the layer of %.12s, made of the same on another base", hoy_json_str(rec, "id") ?: "");
	say_line(s, "link", line ?: "");
	return line ? 0 : hoy_fail_oom(&s->b->err);
}
