/* cmd-image/tree.c: `image tree`: the layers of an image, or with --whatrequires what stands on its top layer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/msg.h"
#include "common/data/digest.h"
#include "common/data/units.h"
#include "common/store/layers.h"

#define MAX_DEPTH 1000

struct tree_opts {
	bool whatrequires;
};
static const struct hoy_opt opts[] = {
	{ 0, "whatrequires", HOY_OPT_FLAG, offsetof(struct tree_opts, whatrequires), NULL, "show the layers and images that need this one" },
	HOY_OPTS_END,
};

/* The names of all images whose top layer is LAYER: " Top Layer of: [a b]", or nothing. */
static void put_names(const struct hoy_store *s, const char *layer, struct hoy_buf *b)
{
	size_t n = 0;

	for (struct hoy_json *i = hoy_image_first(s); i; i = hoy_image_next(s, i))
		if (!strcmp(hoy_json_str(i, "layer") ?: "", layer))
			HOY_JSON_EACH(name, hoy_json_get(i, "names"))
				hoy_buf_printf(b, "%s%s", n++ ? " " : " Top Layer of: [", hoy_json_text(name) ?: "");
	if (n)
		hoy_buf_putc(b, ']');
}

static void put_layer(const struct hoy_store *s, const struct hoy_json *layer, const char *before, bool last)
{
	cleanup_buf struct hoy_buf names = HOY_BUF_INIT(1 << 20);
	const char *id = hoy_json_str(layer, "id");
	char size[32];

	put_names(s, id, &names);
	printf("%s%s ID: %.12s Size: %7s%s\n", before, last ? "└──" : "├──", id, hoy_size_tight(hoy_json_int(layer, "diff-size", 0), size),
	       hoy_buf_str(&names));
}

static void put_chain(const struct hoy_store *s, const struct hoy_json *layer, int depth, bool last)
{
	const char *below = hoy_json_str(layer, "parent");

	if (below && *below && hoy_layer_get(s, below) && depth < MAX_DEPTH)
		put_chain(s, hoy_layer_get(s, below), depth + 1, false);
	put_layer(s, layer, "", last);
}

/* The layers that stand on LAYER, those of containers too, as podman shows them. */
static size_t children(const struct hoy_store *s, const char *layer, const struct hoy_json ***ret)
{
	size_t n = 0, cap = 0;

	*ret = NULL;
	HOY_PLACES_EACH(p, s)
		for (struct hoy_json *l = hoy_first(p->layers); l; l = hoy_next(p->layers, l)) {
			if (strcmp(hoy_json_str(l, "parent") ?: "", layer) || !hoy_is_id(hoy_json_str(l, "id")))
				continue;
			if (n == cap) {
				const struct hoy_json **v = reallocarray(*ret, cap = 2 * cap + 4, sizeof(*v));

				if (!v)
					return n;
				*ret = v;
			}
			(*ret)[n++] = l;
		}
	return n;
}

/* What stands on a layer is drawn in the column of that, or, if the layer has SIBLINGS, in a deeper one. LAST: nothing follows in the column. */
static void put_above(const struct hoy_store *s, const struct hoy_json *layer, const char *before, int depth, bool siblings, bool last)
{
	cleanup_free const struct hoy_json **v = NULL;
	size_t n = children(s, hoy_json_str(layer, "id"), &v);
	cleanup_free char *deeper = hoy_asprintf("%s%s", before, !siblings ? "" : last ? "    " : "│   ");

	put_layer(s, layer, before, last && (siblings || !n));
	for (size_t i = 0; deeper && i < n && depth < MAX_DEPTH; i++)
		put_above(s, v[i], deeper, depth + 1, n > 1, i + 1 == n && (siblings || last));
}

static int run_tree(const struct hoy_verb *v, int argc, char **argv)
{
	struct tree_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	const struct hoy_json *top;
	struct hoy_json *rec;
	char size[32];
	int status, n = 0;

	if (hoy_verb_args(v, argc, argv, &o, 1, 1, &status) < 0)
		return status;
	s = open_reader(HOY_LAYERS | HOY_IMAGES);
	if (!s)
		return 125;
	if (hoy_image_find(s, argv[1], &rec, NULL, &err) < 0)
		return hoy_report(&err, 125);
	printf("Image ID: %.12s\nTags:     [", hoy_json_str(rec, "id"));
	HOY_JSON_EACH(name, hoy_json_get(rec, "names"))
		printf("%s%s", n++ ? " " : "", hoy_json_text(name) ?: "");
	top = hoy_json_str(rec, "layer") ? hoy_layer_get(s, hoy_json_str(rec, "layer")) : NULL;
	printf("]\nSize:     %s\n%s\n", hoy_size_tight(hoy_image_size(s, rec), size), top ? "Image Layers" : "No Image Layers");
	if (top && o.whatrequires)
		put_above(s, top, "", 0, false, true);
	else if (top)
		put_chain(s, top, 0, true);
	putchar('\n');
	return 0;
}
const struct hoy_verb verb_image_tree = { "image tree", "[options] IMAGE", "Show the layers of an image", opts, run_tree, false };
