/* cmd-image/repair.c: `system check`: look for damage, and with --repair remove what is damaged and what stands on it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/check.h"
#include "cmd-image/image.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/call.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/store/containers.h"
#include "common/store/layers.h"

#define EVERYTHING (HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS)

struct check_args {
	bool force, quick, repair;
	const char *max;
	int64_t max_age;
};
#define O(field) offsetof(struct check_args, field)
static const struct hoy_opt opts[] = {
	{ 'f', "force", HOY_OPT_FLAG, O(force), NULL, "remove damaged images and the containers that use them" },
	{ 'm', "max", HOY_OPT_STRING, O(max), "DURATION", "how old a layer may be that nothing uses (default 24h)" },
	{ 'q', "quick", HOY_OPT_FLAG, O(quick), NULL, "do not read the content of layers" },
	{ 'r', "repair", HOY_OPT_FLAG, O(repair), NULL, "mend what registries still have; remove other damaged images, layers, leftovers" },
	HOY_OPTS_END,
};

/* The lines that hoy-transfer prints, as one list. */
static int parse_lines(struct hoy_json_doc *ret, const char *text, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf list = HOY_BUF_INIT(HOY_BUF_OURS);

	hoy_buf_putc(&list, '[');
	for (const char *nl; (nl = strchr(text, '\n')); text = nl + 1) {
		hoy_buf_puts(&list, list.len > 1 ? "," : "");
		hoy_buf_add(&list, text, nl - text);
	}
	hoy_buf_putc(&list, ']');
	return list.error ? hoy_fail_oom(err) : hoy_json_parse(ret, list.data, list.len, "findings", err);
}

static int read_content(struct hoy_json_doc *ret, struct hoy_err *err)
{
	static const char *const words[] = { "check-layers", NULL };
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	int r = hoy_call_tool("hoy-transfer", words, &out);

	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot run hoy-transfer");
	if (r)
		return hoy_fail(err, HOY_EREMOTE, "hoy-transfer could not read the layers (exit status %d)", r);
	return parse_lines(ret, hoy_buf_str(&out), err);
}

/* ---- looking ---- */

struct look {
	struct hoy_json_doc content; /* read without a lock; root NULL with --quick */
	struct report r;
};

static void look_release(struct look *l)
{
	hoy_json_release(&l->content);
	report_release(&l->r);
}

/* Without a lock a store that is whole looks whole; what looks like damage may be half of a save: again, under read locks. */
static int look(struct look *l, const struct check_args *a, struct hoy_err *err)
{
	cleanup_store struct hoy_store *s = NULL;
	struct check_opts o = { .max_age = a->max_age };
	int r = a->quick ? 0 : read_content(&l->content, err);

	o.content = l->content.root;
	if (!r)
		r = hoy_store_open(&s, &hoy_globals.storage, HOY_STORE_RDONLY, err);
	if (!r)
		r = hoy_store_peek(s, EVERYTHING, err);
	if (!r)
		r = check_store(s, &o, &l->r, err);
	if (r || !l->r.n)
		return r;
	report_release(&l->r);
	r = hoy_store_lock(s, EVERYTHING, 0, err);
	return r ? r : check_store(s, &o, &l->r, err);
}

/* ---- repairing ---- */

static int by_depth(const void *x, const void *y)
{
	const struct finding *const *a = x, *const *b = y;

	/* Known ones first, and of these the ones that stand on the others. */
	if ((*a)->unaccounted != (*b)->unaccounted)
		return (*a)->unaccounted - (*b)->unaccounted;
	return (*a)->depth > (*b)->depth ? -1 : (*a)->depth < (*b)->depth;
}

/* Layers that stand on each other can only go if one of them no longer does; saved with what is removed. */
static void break_circles(struct hoy_store *s, const struct report *rep)
{
	for (size_t i = 0; i < rep->n; i++) {
		struct hoy_json *rec = rep->v[i].circle ? hoy_layer_get(s, rep->v[i].id) : NULL;

		if (rec)
			hoy_json_unset(rec, "parent");
	}
}

static bool fine(int r) { return !r || r == -ENOENT; }

static int drop_containers(struct hoy_store *s, const struct report *rep)
{
	int failed = 0;

	for (size_t i = 0; i < rep->n; i++) {
		struct hoy_err err = HOY_ERR_INIT;

		if (rep->v[i].what != DAMAGED_CONTAINER)
			continue;
		if (!fine(hoy_container_delete(s, rep->v[i].id, &err)))
			failed = hoy_report(&err, 1);
		else
			printf("Deleted damaged container: %s\n", rep->v[i].id);
	}
	return failed;
}

static int drop_images(struct hoy_store *s, const struct report *rep)
{
	int failed = 0;

	for (size_t i = 0; i < rep->n; i++) {
		struct hoy_err err = HOY_ERR_INIT;

		if (rep->v[i].what != DAMAGED_IMAGE)
			continue;
		if (!fine(hoy_image_delete(s, rep->v[i].id, NULL, &err))) {
			hoy_fail_prefix(&err, "deleting image %s", rep->v[i].id);
			failed = hoy_report(&err, 1);
		} else {
			printf("Deleted damaged image: %s\n", rep->v[i].id);
		}
	}
	return failed;
}

static int drop_layer(struct hoy_store *s, const struct finding *f, struct hoy_err *err)
{
	int r;

	if (f->unaccounted) {
		r = hoy_layer_get(s, f->id) ? 0 : hoy_layer_discard(s, f->id);
		return r < 0 ? hoy_fail_errno(err, -r, "deleting storage layer %s", f->id) : 0;
	}
	if (!hoy_layer_get(s, f->id))
		return 0; /* went with its image */
	if (f->link_only) {
		r = hoy_layer_link_mend(s, f->id, err);
		if (!r)
			printf("Mended layer: %s\n", f->id);
		return r;
	}
	r = hoy_layer_delete(s, f->id, err);
	if (!r)
		printf("Deleted damaged layer: %s\n", f->id);
	return r ? hoy_fail_prefix(err, "deleting layer %s", f->id) : 0;
}

static int drop_layers(struct hoy_store *s, const struct report *rep, bool kept_images)
{
	const struct finding **v = calloc(rep->n + 1, sizeof(*v));
	size_t n = 0;
	int failed = 0;

	for (size_t i = 0; v && i < rep->n; i++)
		if (rep->v[i].what == DAMAGED_LAYER)
			v[n++] = &rep->v[i];
	if (n)
		qsort(v, n, sizeof(*v), by_depth);
	for (size_t i = 0; i < n; i++) {
		struct hoy_err err = HOY_ERR_INIT;
		int r = drop_layer(s, v[i], &err);

		/* That its image could not go has been said. */
		if (r < 0 && !(r == -HOY_EBUSY && kept_images))
			failed = hoy_report(&err, 1);
	}
	free(v);
	return failed;
}

/* Looked for anew: layers whose directory was gone have left their short links. */
static int drop_leftovers(struct hoy_store *s)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct report rep = { 0 };
	int failed = find_leftovers(s, &rep, &err) < 0 ? hoy_report(&err, 1) : 0;

	for (size_t i = 0; i < rep.n; i++)
		if (drop_leftover(s, rep.v[i].id, &err) < 0)
			failed = hoy_report(&err, 1);
	report_release(&rep);
	return failed;
}

/* Containers of ours are more than their storage record: hoy-run knows how to remove them. */
static void drop_own_containers(const struct hoy_store *s, const struct report *rep)
{
	for (size_t i = 0; i < rep->n; i++) {
		const char *const words[] = { "rm", "-f", "-t", "0", rep->v[i].id, NULL };
		cleanup_free char *dir = hoy_asprintf("hoy/containers/%s", rep->v[i].id);

		if (rep->v[i].what == DAMAGED_CONTAINER && dir && hoy_is_id(rep->v[i].id) && hoy_exists(s->graphfd, dir) &&
		    !hoy_call_tool("hoy-run", words, NULL))
			printf("Deleted damaged container: %s\n", rep->v[i].id);
	}
}

/* All that was found is judged again under the locks; what is no longer so is left alone. */
static int repair(struct look *l, const struct check_args *a, struct hoy_err *err)
{
	static const char *const tidy[] = { "container", "cleanup", "--all", NULL };
	cleanup_store struct hoy_store *s = NULL;
	struct check_opts o = { .max_age = a->max_age, .content = l->content.root };
	struct report now = { 0 };
	int r = hoy_store_open(&s, &hoy_globals.storage, 0, err), failed = 0, kept;

	if (r < 0)
		return r;
	/* Files of containers that ended or that nobody has a record of any more. */
	(void)hoy_call_tool("hoy-run", tidy, NULL);
	if (a->force)
		drop_own_containers(s, &l->r);
	r = hoy_store_lock(s, 0, HOY_GRAPH | EVERYTHING, err);
	if (!r)
		r = check_store(s, &o, &now, err);
	if (!r) {
		break_circles(s, &now);
		failed |= a->force ? drop_containers(s, &now) : 0;
		failed |= kept = drop_images(s, &now);
		failed |= drop_layers(s, &now, kept);
		failed |= drop_leftovers(s);
	}
	hoy_store_unlock(s);
	report_release(&now);
	fflush(stdout);
	return r < 0 ? r : failed;
}

static int run_repair(struct look *l, const struct check_args *a)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct look again = { 0 };
	int r = 0;

	if (mend_images(&l->r)) {
		look_release(l);
		*l = (struct look){ 0 };
		r = look(l, a, &err);
	}
	if (!r && l->r.n)
		r = repair(l, a, &err);
	if (r < 0)
		return hoy_report(&err, 125);
	r = look(&again, a, &err);
	if (!r && again.r.n) {
		hoy_error("damage in local storage still present after repair attempt");
		r = 1;
	} else if (r < 0) {
		hoy_report(&err, 125);
	}
	look_release(&again);
	return r ? 125 : 0;
}

static int run_check(const struct hoy_verb *v, int argc, char **argv)
{
	struct check_args a = { .max_age = 24 * 3600 * HOY_NS };
	struct hoy_err err = HOY_ERR_INIT;
	struct look l = { 0 };
	int status, n = hoy_verb_args(v, argc, argv, &a, 0, 0, &status);

	if (n < 0)
		return status;
	if (a.max && !hoy_duration_parse(a.max, &a.max_age)) {
		hoy_error("invalid argument \"%s\" for \"-m, --max\" flag: it is a length of time such as 24h", a.max);
		return 125;
	}
	if (look(&l, &a, &err) < 0) {
		look_release(&l);
		return hoy_report(&err, 125);
	}
	for (int what = DAMAGED_LAYER; what <= LEFTOVER; what++)
		report_print(&l.r, what);
	fflush(stdout); /* before what stderr says of it */
	if (!l.r.n)
		status = 0;
	else if (a.repair || a.force)
		status = run_repair(&l, &a);
	else {
		hoy_error("damage detected in local storage");
		status = 125;
	}
	look_release(&l);
	return status;
}
const struct hoy_verb verb_system_check = { "system check", "[options]", "Look for damage in the store, and mend it", opts, run_check,
					    false };
