/* cmd-run/prune.c: container prune, volume prune and system prune, which leaves images to hoy-image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/base/tree.h"
#include "common/cli/call.h"
#include "common/cli/prompt.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/store/containers.h"
#include "common/store/layers.h"

/* What went, in the order in which it did. */
struct pruned {
	struct hoy_strv ids;
	int64_t freed;
	bool failed; /* something could not be removed: it was complained of */
};

struct filter {
	enum { LABEL, NO_LABEL, UNTIL } kind;
	const char *value;
	int64_t time;
};
struct filters {
	struct filter *v;
	size_t n;
};

static int parse_filters(const struct hoy_strv *texts, bool volumes, struct filters *ret, struct hoy_err *err)
{
	int untils = 0;

	ret->v = calloc(texts->n + 1, sizeof(*ret->v));
	if (!ret->v)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < texts->n; i++) {
		const char *t = texts->v[i], *eq = strchr(t, '=');
		struct filter *f = &ret->v[ret->n++];
		int len = eq ? (int)(eq - t) : 0;

		if (!eq)
			return hoy_fail(err, EINVAL, "filter input must be in the form of filter=value: %s is invalid", t);
		f->value = eq + 1;
		if (!strncmp(t, "label=", 6))
			f->kind = LABEL;
		else if (!strncmp(t, "label!=", 7))
			f->kind = NO_LABEL;
		else if (strncmp(t, "until=", 6))
			return hoy_fail(err, EINVAL, volumes ? "\"%.*s\" is an invalid volume filter" : "%.*s is an invalid filter", len, t);
		else if (untils++)
			return hoy_fail(err, EINVAL, "specify exactly one timestamp for until");
		else if (!hoy_moment_parse(f->value, &f->time))
			return hoy_fail(err, EINVAL, "failed to parse value as time or duration: \"%s\"", f->value);
		else
			f->kind = UNTIL;
	}
	return 0;
}

static bool passes(const struct filters *f, const struct hoy_json *labels, int64_t created)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct filter *x = &f->v[i];

		if (x->kind == UNTIL ? created >= x->time : hoy_label_match(labels, x->value) != (x->kind == LABEL))
			return false;
	}
	return true;
}

/* ---- containers ---- */

static bool ended(const struct ctr *c)
{
	enum status st = ctr_status(c);

	return st == ST_CREATED || st == ST_EXITED;
}

/* 1: removed, 0: it runs by now, or is gone. */
static int prune_container(struct hoy_store *s, const char *id, int64_t *ret_freed, struct hoy_err *err)
{
	cleanup_ctr struct ctr c = CTR_INIT;
	int r = ctr_open_id(&c, s, id, err);

	if (!r)
		r = ctr_lock(&c, err);
	if (r == -ENOENT || (!r && !ended(&c)))
		return 0;
	if (!r)
		r = ctr_load_def(&c, err);
	if (r < 0)
		return r;
	*ret_freed = ctr_size(&c);
	r = ctr_clear(&c, false, err);
	return r < 0 ? r : 1;
}

static int prune_containers(struct hoy_store *s, const struct hoy_strv *texts, struct pruned *p, struct hoy_err *err)
{
	struct filters f = { 0 };
	struct usages all = { 0 };
	int r = parse_filters(texts, false, &f, err);

	if (!r) {
		reconcile(s);
		r = list_containers(s, false, &all, err);
	}
	for (size_t i = 0; i < all.n && !r; i++) {
		const struct usage *u = &all.v[i];
		struct hoy_err one = HOY_ERR_INIT;
		int64_t freed = 0;
		int gone;

		if (!ended(&u->c) || !passes(&f, hoy_json_get(u->c.def.root, "labels"), u->created))
			continue;
		gone = prune_container(s, u->c.id, &freed, &one);
		if (gone < 0)
			p->failed = hoy_report(&one, 1);
		if (gone <= 0)
			continue;
		hoy_strv_push(&p->ids, u->c.id);
		p->freed += freed;
	}
	usages_release(&all);
	free(f.v);
	return r;
}

/* Working containers of builds, by whichever engine. */
static int prune_builds(struct hoy_store *s, struct pruned *p, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int r = hoy_store_peek(s, HOY_LAYERS | HOY_CONTAINERS, err);

	for (struct hoy_json *c = r ? NULL : hoy_first(s->ctrs); c; c = hoy_next(s->ctrs, c))
		if (hoy_json_str(c, "id") && hoy_container_builds(s, hoy_json_str(c, "id")))
			hoy_strv_push(&ids, hoy_json_str(c, "id"));
	for (size_t i = 0; i < ids.n && !r; i++) {
		const struct hoy_json *c = hoy_container_get(s, ids.v[i]);
		const char *layer = hoy_json_str(c, "layer");
		int64_t size = (layer ? hoy_layer_size(s, layer) : 0) + hoy_tree_size(s->ctrsfd, ids.v[i]);

		r = hoy_store_lock(s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, err);
		if (!r && hoy_container_get(s, ids.v[i])) {
			r = hoy_container_delete(s, ids.v[i], err);
			if (!r) {
				hoy_strv_push(&p->ids, ids.v[i]);
				p->freed += size;
			}
		}
		hoy_store_unlock(s);
	}
	return r;
}

/* ---- volumes ---- */

/* Out of sight in one step under the lock; the files go after it. A killed prune's are taken along. */
static int hide_volume(int dirfd, const char *name)
{
	cleanup_free char *gone = hoy_asprintf(".gone-%s", name);

	if (!gone)
		return -ENOMEM;
	hoy_remove_tree(dirfd, gone);
	return renameat(dirfd, name, dirfd, gone) < 0 ? -errno : 0;
}

static void drop_hidden(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, ".gone-", 6))
			hoy_remove_tree(dirfd, e->d_name);
}

/* The volumes that nobody uses and F lets pass: named in P, and with REMOVE gone. */
static int unused_volumes(struct hoy_store *s, const struct filters *f, bool remove, struct pruned *p, struct hoy_err *err)
{
	cleanup_fd int dirfd = s->graphfd < 0 ? -1 : openat(s->graphfd, "hoy/volumes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct usages ctrs = { 0 }, all = { 0 };
	struct hoy_lock lock = HOY_LOCK_INIT;
	int r = volumes_lock(s, &lock, remove, err);

	if (!r)
		r = list_containers(s, false, &ctrs, err);
	if (!r && ctrs.unreadable)
		r = hoy_fail(err, HOY_EFORMAT, "%zu container%s cannot be read: which volumes are in use is not known (run: hoy system check)",
			     ctrs.unreadable, ctrs.unreadable == 1 ? "" : "s");
	if (!r)
		r = list_volumes(s, &ctrs, remove, &all, err);
	for (size_t i = 0; i < all.n && !r; i++) {
		const struct usage *u = &all.v[i];

		if (u->links || !passes(f, NULL, u->created))
			continue;
		if (remove && (r = hide_volume(dirfd, u->name)) < 0)
			hoy_fail_errno(err, -r, "cannot remove volume '%s'", u->name);
		if (!r) {
			hoy_strv_push(&p->ids, u->name);
			p->freed += u->size;
		}
	}
	hoy_lock_close(&lock);
	if (remove && dirfd >= 0)
		drop_hidden(dirfd);
	usages_release(&ctrs);
	usages_release(&all);
	return r;
}

static int prune_volumes(struct hoy_store *s, const struct hoy_strv *texts, bool remove, struct pruned *p, struct hoy_err *err)
{
	struct filters f = { 0 };
	int r = parse_filters(texts, true, &f, err);

	if (!r)
		r = unused_volumes(s, &f, remove, p, err);
	free(f.v);
	return r;
}

/* ---- images: hoy-image's ---- */

/* "ID BYTES" a line; "-" for what dead processes left. */
static void take_lines(const char *text, struct pruned *p)
{
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;

	hoy_strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		const char *sp = strchr(lines.v[i], ' ');

		if (!sp)
			continue;
		if (lines.v[i][0] != '-')
			hoy_strv_pushn(&p->ids, lines.v[i], sp - lines.v[i]);
		p->freed += atoll(sp + 1);
	}
}

static int prune_images(bool all, bool leftovers, const struct hoy_strv *filters, struct pruned *p, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	int status;

	for (const char *const *w = (const char *const[]){ "image", "prune", "--force", "--sizes", NULL }; *w; w++)
		hoy_strv_push(&argv, *w);
	if (all)
		hoy_strv_push(&argv, "--all");
	if (leftovers)
		hoy_strv_push(&argv, "--leftovers");
	for (size_t i = 0; filters && i < filters->n; i++)
		hoy_strv_pushf(&argv, "--filter=%s", filters->v[i]);
	status = argv.error ? -ENOMEM : hoy_call_tool("hoy-image", (const char *const *)argv.v, &out);
	if (status < 0)
		return hoy_fail_errno(err, -status, "cannot run hoy-image");
	take_lines(hoy_buf_str(&out), p);
	if (status)
		p->failed = true; /* it has said why */
	return p->ids.error ? hoy_fail_oom(err) : 0;
}

/* ---- verbs ---- */

struct prune_opts {
	bool all, build, external, force, volumes;
	struct hoy_strv filters;
};
#define O(f) offsetof(struct prune_opts, f)

/* 1: go on; else what the command returns is in *STATUS. */
static int ask(const char *warning, bool force, int *status)
{
	int r = force ? 1 : hoy_confirm(warning);

	if (r < 0)
		hoy_error("EOF");
	*status = r < 0 ? 125 : 0;
	return r > 0;
}

static void print_ids(const char *heading, const struct pruned *p)
{
	if (heading && p->ids.n)
		puts(heading);
	for (size_t i = 0; i < p->ids.n; i++)
		puts(p->ids.v[i]);
}

static int end(struct pruned *p, int r, const struct hoy_err *err)
{
	bool failed = p->failed;

	hoy_strv_release(&p->ids);
	return r < 0 ? hoy_report(err, 125) : failed ? 125 : 0;
}

static const struct hoy_opt some_opts[] = {
	{ 0, "filter", HOY_OPT_LIST, O(filters), "KEY=VALUE", "until, label, label!" },
	{ 'f', "force", HOY_OPT_FLAG, O(force), NULL, "do not ask" },
	HOY_OPTS_END,
};

static int run_containers(const struct hoy_verb *v, int argc, char **argv)
{
	struct prune_opts o = { 0 };
	struct pruned p = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0 || !ask("WARNING! This will remove all non running containers.\n", o.force, &status))
		return status;
	s = open_store(0);
	if (!s)
		return 125;
	r = prune_containers(s, &o.filters, &p, &err);
	print_ids(NULL, &p);
	hoy_strv_release(&o.filters);
	return end(&p, r, &err);
}
const struct hoy_verb verb_container_prune = { "container prune", "[options]", "Remove all containers that do not run", some_opts,
					       run_containers, false };

/* podman tells what would go before it asks. */
static int ask_volumes(struct hoy_store *s, const struct prune_opts *o, int *status, struct hoy_err *err)
{
	struct pruned p = { 0 };
	int r;

	if (o->force)
		return 1;
	printf("WARNING! This will remove all volumes not used by at least one container. The following volumes will be removed:\n");
	r = prune_volumes(s, &o->filters, false, &p, err);
	print_ids(NULL, &p);
	*status = r < 0 ? hoy_report(err, 125) : 0;
	if (!r && !p.ids.n)
		printf("No dangling volumes found\n");
	else if (!r)
		r = ask("", false, status);
	hoy_strv_release(&p.ids);
	return r > 0;
}

static int run_volumes(const struct hoy_verb *v, int argc, char **argv)
{
	struct prune_opts o = { 0 };
	struct pruned p = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);

	if (n < 0)
		return status;
	s = open_store(0);
	if (!s)
		return 125;
	if (!ask_volumes(s, &o, &status, &err)) {
		hoy_strv_release(&o.filters);
		return status;
	}
	r = prune_volumes(s, &o.filters, true, &p, &err);
	print_ids(NULL, &p);
	hoy_strv_release(&o.filters);
	return end(&p, r, &err);
}
const struct hoy_verb verb_volume_prune = { "volume prune", "[options]", "Remove volumes of ours that no container uses", some_opts, run_volumes,
					    false };

static int ask_all(const struct prune_opts *o, int *status)
{
	cleanup_free char *text = hoy_asprintf("WARNING! This command removes:\n\t- all stopped containers%s%s\n\t- all %s\n\n",
		o->volumes ? "\n\t- all volumes not used by at least one container" : "", o->build ? "\n\t- all build containers" : "",
		o->all ? "images without at least one container associated with them" : "dangling images");

	*status = 125;
	return text ? ask(text, o->force || o->external, status) : 0;
}

/* All of it, images last but for volumes: what a container held goes with it. */
static int prune_system(struct hoy_store *s, const struct prune_opts *o, struct pruned ctrs[1], struct pruned volumes[1],
			struct pruned images[1], struct hoy_err *err)
{
	int r = o->build ? prune_builds(s, ctrs, err) : 0;

	if (!r)
		r = prune_containers(s, &o->filters, ctrs, err);
	if (!r)
		r = prune_images(o->all, false, &o->filters, images, err);
	return !r && o->volumes ? prune_volumes(s, &o->filters, true, volumes, err) : r;
}

static int prune_external(const struct prune_opts *o, struct hoy_err *err)
{
	struct pruned p = { 0 };
	int r;

	if (o->all || o->build || o->volumes || o->filters.n)
		r = hoy_fail(err, EINVAL, "system prune --external cannot be combined with other options");
	else
		r = prune_images(false, true, NULL, &p, err);
	return end(&p, r, err);
}

static int run_system(const struct hoy_verb *v, int argc, char **argv)
{
	struct prune_opts o = { 0 };
	struct pruned ctrs = { 0 }, volumes = { 0 }, images = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, 0, &status);
	char size[32];

	if (n < 0 || !ask_all(&o, &status))
		return status;
	if (o.external)
		return prune_external(&o, &err);
	s = open_store(0);
	if (!s)
		return 125;
	r = prune_system(s, &o, &ctrs, &volumes, &images, &err);
	print_ids("Deleted Containers", &ctrs);
	print_ids("Deleted Volumes", &volumes);
	print_ids("Deleted Images", &images);
	if (!r)
		printf("Total reclaimed space: %s\n", hoy_size_tight(ctrs.freed + volumes.freed + images.freed, size));
	ctrs.failed = ctrs.failed || volumes.failed || images.failed;
	hoy_strv_release(&volumes.ids);
	hoy_strv_release(&images.ids);
	hoy_strv_release(&o.filters);
	return end(&ctrs, r, &err);
}

static const struct hoy_opt system_opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(all), NULL, "all images that no container uses, not only nameless ones" },
	{ 0, "build", HOY_OPT_FLAG, O(build), NULL, "working containers of builds too" },
	{ 0, "external", HOY_OPT_FLAG, O(external), NULL, "nothing but what dead processes left in the store" },
	{ 0, "filter", HOY_OPT_LIST, O(filters), "KEY=VALUE", "until, label, label!" },
	{ 'f', "force", HOY_OPT_FLAG, O(force), NULL, "do not ask" },
	{ 0, "volumes", HOY_OPT_FLAG, O(volumes), NULL, "volumes of ours that no container uses too" },
	HOY_OPTS_END,
};
const struct hoy_verb verb_system_prune = { "system prune", "[options]", "Remove what nobody uses, and what dead processes left", system_opts,
					    run_system, false };
