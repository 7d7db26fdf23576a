/* cmd-image/check.c: the records of layers, images and containers, and whether what they promise is there. */
#include "cmd-image/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/store/bigdata.h"
#include "common/store/layers.h"

#define MAX_DEPTH 1000

struct check {
	const struct hoy_store *s;
	const struct check_opts *o;
	struct report *r;
	struct hoy_strv used; /* layers that images and containers stand on, sorted */
	int64_t now;
};

/* ---- the report ---- */

void report_release(struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].id);
		hoy_strv_release(&r->v[i].errors);
	}
	free(r->v);
	*r = (struct report){ 0 };
}

static struct finding *find(const struct report *r, enum what what, const char *id)
{
	for (size_t i = r->n; i-- > 0;)
		if (r->v[i].what == what && !strcmp(r->v[i].id, id))
			return &r->v[i];
	return NULL;
}

struct finding *report_add(struct report *r, enum what what, const char *id)
{
	struct finding *f = find(r, what, id), *p;

	if (f)
		return f;
	p = reallocarray(r->v, r->n + 1, sizeof(*p));
	if (!p)
		return NULL;
	r->v = p;
	p[r->n] = (struct finding){ .what = what, .id = strdup(id) };
	return p[r->n].id ? &p[r->n++] : NULL;
}

const struct hoy_strv *report_errors(const struct report *r, enum what what, const char *id)
{
	const struct finding *f = find(r, what, id);

	return f ? &f->errors : NULL;
}

static int blame(struct check *c, enum what what, const char *id, const char *fmt, ...) HOY_PRINTF(4, 5);
static int blame(struct check *c, enum what what, const char *id, const char *fmt, ...)
{
	struct finding *f = report_add(c->r, what, id);
	struct hoy_buf b = HOY_BUF_INIT(1 << 17);
	va_list ap;

	va_start(ap, fmt);
	hoy_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	if (!f) {
		hoy_buf_release(&b);
		return -ENOMEM;
	}
	f->link_only = f->unused = false;
	hoy_strv_take(&f->errors, hoy_buf_steal(&b));
	return f->errors.error ? -ENOMEM : 0;
}

/* The errors of what ID stands on are its own. */
static int inherit(struct check *c, enum what what, const char *id, enum what below, const char *below_id)
{
	const struct hoy_strv *errors = report_errors(c->r, below, below_id);

	for (size_t i = 0; errors && i < errors->n; i++) {
		cleanup_free char *text = strdup(errors->v[i]);
		int r = text ? blame(c, what, id, "%s", text) : -ENOMEM;

		if (r < 0)
			return r;
		errors = report_errors(c->r, below, below_id); /* the report may have moved */
	}
	return 0;
}

static void print_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s);
}

void report_print(const struct report *r, enum what what)
{
	static const char *const names[] = { "layer", "image", "container" };

	for (size_t i = 0; i < r->n; i++) {
		const struct finding *f = &r->v[i];

		if (f->what != what)
			continue;
		if (what == LEFTOVER) {
			printf("Left over: ");
			print_text(f->id);
			printf("\n");
			continue;
		}
		printf("Damaged %s ", names[what]);
		print_text(f->id);
		printf(":\n%zu error%s occurred:\n", f->errors.n, f->errors.n == 1 ? "" : "s");
		for (size_t k = 0; k < f->errors.n; k++) {
			printf("\t* ");
			print_text(f->errors.v[k]);
			printf("\n");
		}
		printf("\n");
	}
}

/* ---- items ---- */

/* Are the items there that REC names, of the sizes that it says (layers' records say none)? */
static int check_items(struct check *c, enum what what, const struct hoy_json *rec, int dirfd)
{
	static const char *const names[] = { "layer", "image", "container" };
	const char *id = hoy_json_str(rec, "id");
	int r = 0;

	HOY_JSON_EACH(n, hoy_json_get(rec, "big-data-names")) {
		const char *key = hoy_json_text(n);
		cleanup_free char *file = key ? hoy_item_file(key) : NULL, *path = file ? hoy_path_join(id, file) : NULL;
		struct stat st;

		if (r || !path)
			continue;
		if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			r = blame(c, what, id, "%s %s: data item \"%s\": %s data item is missing", names[what], id, key, names[what]);
		else if (what != DAMAGED_LAYER && st.st_size != hoy_json_int(hoy_json_get(rec, "big-data-sizes"), key, -1))
			r = blame(c, what, id, "%s %s: data item \"%s\": %s data item has incorrect size", names[what], id, key,
				  names[what]);
	}
	return r;
}

/* ---- layers ---- */

static void use_chain(struct check *c, const char *id)
{
	for (int depth = 0; id && depth < MAX_DEPTH; depth++) {
		hoy_strv_push(&c->used, id);
		id = hoy_json_str(hoy_layer_get(c->s, id), "parent");
	}
}

static int find_used(struct check *c)
{
	for (struct hoy_json *i = hoy_image_first(c->s); i; i = hoy_image_next(c->s, i)) {
		use_chain(c, hoy_json_str(i, "layer"));
		HOY_JSON_EACH(m, hoy_json_get(i, "mapped-layers"))
			use_chain(c, hoy_json_text(m));
	}
	for (struct hoy_json *k = hoy_first(c->s->ctrs); k; k = hoy_next(c->s->ctrs, k))
		use_chain(c, hoy_json_str(k, "layer"));
	hoy_strv_sort(&c->used);
	return c->used.error ? -ENOMEM : 0;
}

static int check_content(struct check *c, const struct hoy_json *rec)
{
	const char *id = hoy_json_str(rec, "id"), *digest = hoy_json_str(rec, "diff-digest");

	if (digest && !hoy_is_digest(digest))
		return blame(c, DAMAGED_LAYER, id, "layer %s: invalid checksum digest format", id);
	HOY_JSON_EACH(f, c->o->content) {
		const char *of = hoy_json_str(f, "layer"), *created = hoy_json_str(f, "created");
		int r;

		/* Made anew since it was read: another layer, although of the same name. */
		if (!of || strcmp(of, id) || !created || strcmp(created, hoy_json_str(rec, "created") ?: ""))
			continue;
		r = blame(c, DAMAGED_LAYER, id, "layer %s: %s", id, hoy_json_str(f, "error") ?: "");
		if (r < 0)
			return r;
	}
	return 0;
}

/* Its directory, and those of the layers that it would be mounted on. */
static int check_directory(struct check *c, const struct hoy_json *rec)
{
	cleanup_strv struct hoy_strv lowers = HOY_STRV_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	const char *id = hoy_json_str(rec, "id");
	cleanup_free char *path = hoy_layer_path(c->s, id, "diff");
	cleanup_fd int diff = -1;
	struct finding *f;
	int r = 0;

	if (!path)
		return -ENOMEM;
	if (!hoy_exists(hoy_layer_home(c->s, id)->homefd, id))
		return blame(c, DAMAGED_LAYER, id, "layer %s: faccessat %.*s: no such file or directory", id,
			     (int)(strlen(path) - (c->s->vfs ? 0 : strlen("/diff"))), path);
	diff = hoy_layer_open_diff(c->s, id);
	if (diff < 0)
		return blame(c, DAMAGED_LAYER, id, "layer %s: readlink %s: no such file or directory", id, path);
	if (hoy_layer_lowers(c->s, id, &lowers, &err) < 0)
		return blame(c, DAMAGED_LAYER, id, "layer %s: %s", id, err.msg);
	for (size_t i = 0; i < lowers.n && !r; i++)
		if (!hoy_is_id(lowers.v[i]) || !hoy_exists(hoy_layer_home(c->s, lowers.v[i])->homefd, lowers.v[i]))
			r = blame(c, DAMAGED_LAYER, id, "layer %s: lower layer %s: layer is missing", id, lowers.v[i]);
	if (!r && !hoy_layer_link_good(c->s, id)) {
		bool first = !report_errors(c->r, DAMAGED_LAYER, id);

		r = blame(c, DAMAGED_LAYER, id, "layer %s: its short link is missing or leads elsewhere", id);
		f = report_add(c->r, DAMAGED_LAYER, id);
		if (f)
			f->link_only = first;
	}
	return r;
}

/* Without digests it was made for a container that never came to be: under both locks there is no such thing. */
static bool for_nothing(const struct check *c, const struct hoy_json *rec)
{
	int64_t created;

	if (!hoy_json_str(rec, "diff-digest") && !hoy_json_str(rec, "toc-digest") && !hoy_json_get(rec, "uidmap"))
		return true;
	return !hoy_time_parse(hoy_json_str(rec, "created"), &created) || created == HOY_TIME_ZERO ||
	       created + c->o->max_age < c->now;
}

static int check_place(struct check *c, const struct hoy_json *rec)
{
	const char *id = hoy_json_str(rec, "id"), *parent = hoy_json_str(rec, "parent");
	struct finding *f;
	int depth = 0, r = 0;
	bool unused = false;

	if (parent && *parent && !hoy_layer_get(c->s, parent))
		r = blame(c, DAMAGED_LAYER, id, "layer %s: layer is missing", parent);
	for (const char *p = parent; p && *p && depth < MAX_DEPTH; depth++)
		p = hoy_json_str(hoy_layer_get(c->s, p), "parent");
	if (!r && depth == MAX_DEPTH)
		r = blame(c, DAMAGED_LAYER, id, "layer %s: it is its own ancestor", id);
	if (!r && hoy_layer_incomplete(rec))
		r = blame(c, DAMAGED_LAYER, id, "layer %s: layer is incomplete", id);
	else if (!r && !hoy_strv_has_sorted(&c->used, id) && for_nothing(c, rec)) {
		unused = !report_errors(c->r, DAMAGED_LAYER, id);
		r = blame(c, DAMAGED_LAYER, id, "layer %s: layer not referenced by any images or containers", id);
	}
	f = find(c->r, DAMAGED_LAYER, id);
	if (f) {
		f->depth = depth;
		f->circle = depth == MAX_DEPTH;
		f->unused = unused;
	}
	return r;
}

static int check_layers(struct check *c)
{
	int r = 0;

	for (struct hoy_json *l = hoy_layer_first(c->s); l && !r; l = hoy_layer_next(c->s, l)) {
		const char *id = hoy_json_str(l, "id");

		if (!id || !hoy_is_id(id)) {
			r = blame(c, DAMAGED_LAYER, id ? id : "", "layer \"%s\": its id is malformed", id ? id : "");
			continue;
		}
		r = check_items(c, DAMAGED_LAYER, l, c->s->own.layersfd);
		if (!r)
			r = check_content(c, l);
		if (!r)
			r = check_directory(c, l);
		if (!r)
			r = check_place(c, l);
	}
	return r;
}

/* Every directory in home but these is a layer's. */
static int check_strays(struct check *c, const struct hoy_place *p)
{
	int fd = p->homefd < 0 ? -1 : openat(p->homefd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && !r && (e = readdir(d))) {
		struct finding *f;
		struct stat st;

		if (e->d_name[0] == '.' || !strcmp(e->d_name, "l") || !strcmp(e->d_name, "staging") || !strcmp(e->d_name, "tempdirs") ||
		    hoy_layer_get(c->s, e->d_name) || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
			continue;
		r = blame(c, DAMAGED_LAYER, e->d_name, "layer %s: layer in lower level storage driver not accounted for", e->d_name);
		f = find(c->r, DAMAGED_LAYER, e->d_name);
		if (f)
			f->unaccounted = true;
	}
	return r;
}

/* ---- images and containers ---- */

static int check_chain(struct check *c, const char *image, const char *top)
{
	cleanup_strv struct hoy_strv passed = HOY_STRV_INIT; /* a layer may be its own ancestor */
	int r = 0;

	while (!r && top && *top && passed.n < MAX_DEPTH && !hoy_strv_has(&passed, top)) {
		hoy_strv_push(&passed, top);
		if (!hoy_layer_get(c->s, top))
			r = blame(c, DAMAGED_IMAGE, image, "image %s: layer %s: image layer is missing", image, top);
		if (!r)
			r = inherit(c, DAMAGED_IMAGE, image, DAMAGED_LAYER, top);
		top = hoy_json_str(hoy_layer_get(c->s, top), "parent");
	}
	return passed.error ? -ENOMEM : r;
}

static int check_digests(struct check *c, const struct hoy_json *rec)
{
	const char *id = hoy_json_str(rec, "id"), *digest = hoy_json_str(rec, "digest");
	int r = digest && !hoy_is_digest(digest) ? blame(c, DAMAGED_IMAGE, id, "image %s: invalid checksum digest format", id) : 0;

	HOY_JSON_EACH(d, hoy_json_get(rec, "big-data-digests"))
		if (!r && !(hoy_json_text(d) && hoy_is_digest(d->str)))
			r = blame(c, DAMAGED_IMAGE, id, "image %s: data item \"%s\": invalid checksum digest format", id, d->key);
	return r;
}

static int check_images(struct check *c)
{
	int r = 0;

	for (struct hoy_json *i = hoy_image_first(c->s); i; i = hoy_image_next(c->s, i)) {
		const char *id = hoy_json_str(i, "id");

		if (r || hoy_image_place(c->s, i)->rdonly)
			break;
		if (!id || !hoy_is_id(id)) {
			r = blame(c, DAMAGED_IMAGE, id ? id : "", "image \"%s\": its id is malformed", id ? id : "");
			continue;
		}
		r = check_items(c, DAMAGED_IMAGE, i, hoy_image_place(c->s, i)->imagesfd);
		if (!r)
			r = check_digests(c, i);
		if (!r)
			r = check_chain(c, id, hoy_json_str(i, "layer"));
		HOY_JSON_EACH(m, hoy_json_get(i, "mapped-layers"))
			if (!r && hoy_json_text(m))
				r = check_chain(c, id, m->str);
	}
	return r;
}

static int check_container(struct check *c, const struct hoy_json *rec)
{
	const char *id = hoy_json_str(rec, "id"), *image = hoy_json_str(rec, "image"), *layer = hoy_json_str(rec, "layer");
	int r = check_items(c, DAMAGED_CONTAINER, rec, c->s->ctrsfd);

	if (!r && image && *image && !hoy_image_get(c->s, image))
		r = blame(c, DAMAGED_CONTAINER, id, "image %s: image missing", image);
	if (!r && image && *image)
		r = inherit(c, DAMAGED_CONTAINER, id, DAMAGED_IMAGE, image);
	if (!r && layer && *layer && !hoy_layer_get(c->s, layer))
		r = blame(c, DAMAGED_CONTAINER, id, "container %s: layer %s: layer is missing", id, layer);
	if (!r && layer && *layer)
		r = inherit(c, DAMAGED_CONTAINER, id, DAMAGED_LAYER, layer);
	return r;
}

static int check_containers(struct check *c)
{
	int r = 0;

	for (struct hoy_json *k = hoy_first(c->s->ctrs); k && !r; k = hoy_next(c->s->ctrs, k)) {
		const char *id = hoy_json_str(k, "id");

		if (!id || !hoy_is_id(id))
			r = blame(c, DAMAGED_CONTAINER, id ? id : "", "container \"%s\": its id is malformed", id ? id : "");
		else
			r = check_container(c, k);
	}
	return r;
}

/* podman counts a link that only needs to be made again as no damage of what stands on it; nor do we remove that. */
static bool only_link(const struct report *r, const char *layer)
{
	const struct finding *f = find(r, DAMAGED_LAYER, layer);

	return f && f->link_only;
}

static void drop_link_heirs(struct report *r)
{
	for (size_t i = r->n; i-- > 0;) {
		struct finding *f = &r->v[i];
		bool all = f->what == DAMAGED_IMAGE || f->what == DAMAGED_CONTAINER;

		for (size_t k = 0; all && k < f->errors.n; k++) {
			const char *p = !strncmp(f->errors.v[k], "layer ", 6) ? f->errors.v[k] + 6 : "";
			char id[HOY_ID_SIZE] = "";

			snprintf(id, sizeof(id), "%.64s", p);
			all = only_link(r, id);
		}
		if (!all)
			continue;
		free(f->id);
		hoy_strv_release(&f->errors);
		memmove(f, f + 1, (r->n - i - 1) * sizeof(*f));
		r->n--;
	}
}

int check_store(const struct hoy_store *s, const struct check_opts *o, struct report *ret, struct hoy_err *err)
{
	struct check c = { .s = s, .o = o, .r = ret, .now = hoy_now() };
	int r = find_used(&c);

	if (!r)
		r = check_layers(&c);
	if (!r)
		r = check_images(&c);
	if (!r)
		r = check_containers(&c);
	HOY_PLACES_EACH(p, s)
		if (!r && !p->rdonly)
			r = check_strays(&c, p);
	hoy_strv_release(&c.used);
	if (r < 0)
		return hoy_fail_oom(err);
	drop_link_heirs(ret);
	return find_leftovers(s, ret, err);
}
