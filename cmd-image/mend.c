/* cmd-image/mend.c: `system check --repair`: what came from a registry comes from there again, before anything is removed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/check.h"
#include "cmd-image/image.h"
#include "common/base/buf.h"
#include "common/cli/call.h"

/* Can fetching mend it? Not what is only unused, or that has no record. */
static bool wanted(const struct finding *f)
{
	return f->what == DAMAGED_LAYER && !f->unaccounted && !f->unused && !f->link_only && !f->circle;
}

/* Those of LAYERS that the errors of image F speak of. */
static void layers_of(const struct finding *f, const struct hoy_strv *layers, struct hoy_strv *ret)
{
	for (size_t k = 0; k < layers->n; k++)
		for (size_t i = 0; i < f->errors.n; i++)
			if (!strncmp(f->errors.v[i], "layer ", 6) && !strncmp(f->errors.v[i] + 6, layers->v[k], strlen(layers->v[k]))) {
				hoy_strv_push(ret, layers->v[k]);
				break;
			}
}

static bool has_own_errors(const struct finding *f)
{
	for (size_t i = 0; i < f->errors.n; i++)
		if (!strncmp(f->errors.v[i], "image ", 6))
			return true;
	return false;
}

/* If image F has errors of its own, or of one of LAYERS; what is mended is taken out of LAYERS. */
static bool mend_image(const struct finding *f, struct hoy_strv *layers)
{
	cleanup_strv struct hoy_strv mine = HOY_STRV_INIT, words = HOY_STRV_INIT;

	layers_of(f, layers, &mine);
	if (!mine.n && !has_own_errors(f))
		return false;
	hoy_strv_push(&words, "mend");
	hoy_strv_push(&words, f->id);
	for (size_t i = 0; i < mine.n; i++)
		hoy_strv_push(&words, mine.v[i]);
	if (words.error || mine.error || hoy_call_tool("hoy-transfer", (const char *const *)words.v, NULL))
		return false;
	for (size_t i = 0; i < mine.n; i++) {
		printf("Mended layer: %s\n", mine.v[i]);
		hoy_strv_remove(layers, hoy_strv_find(layers, mine.v[i]));
	}
	if (!mine.n)
		printf("Mended image: %s\n", f->id);
	return true;
}

bool mend_images(const struct report *r)
{
	cleanup_strv struct hoy_strv layers = HOY_STRV_INIT;
	bool any = false;

	for (size_t i = 0; i < r->n; i++)
		if (wanted(&r->v[i]))
			hoy_strv_push(&layers, r->v[i].id);
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].what == DAMAGED_IMAGE && mend_image(&r->v[i], &layers))
			any = true;
	fflush(stdout);
	return any;
}
