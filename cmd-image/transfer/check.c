/*
 * cmd-image/transfer/check.c: `check-layers`: the content of layers against their tar-split and digests, the heavy half of
 * `hoy system check`. No lock is held: what was found about a layer counts only if its record is still the same afterwards.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-image/transfer/compare.h"
#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/recipe.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/msg.h"
#include "common/base/fd.h"
#include "common/store/layers.h"

#define MOST_FAULTS 100 /* of one layer: a tree that was deleted need not be listed file by file */

struct layer {
	const struct hoy_json *rec;
	const char *id, *created;
	struct hoy_strv faults;
};

struct check {
	struct hoy_store *s;
	struct layer *v;
	size_t n;
	_Atomic size_t next;
	_Atomic bool failed;
};

/* One layer's findings, while its tar is read. */
struct reading {
	struct layer *l;
	struct compare *c;
};

static void file_fault(void *arg, const char *name, const char *why)
{
	struct reading *x = arg;

	(void)name;
	hoy_strv_push(&x->l->faults, why);
	if (x->c)
		compare_forget_last(x->c); /* of the entry that this is the content of */
}

/* Read the whole tar, its entries beside the tree if C is given. */
static int read_tar(struct checked *in, struct compare *c, struct hoy_err *err)
{
	struct tar tar;
	int r;

	if (!c)
		return checked_drain(in, err);
	tar_init(&tar, &in->s, NULL, NULL);
	while ((r = tar_next(&tar, err)) > 0)
		if (compare_entry(c, &tar.e) < 0) {
			r = hoy_fail_oom(err);
			break;
		}
	tar_release(&tar);
	return r < 0 ? r : checked_drain(in, err);
}

static void compare_digest(struct layer *l, const struct checked *in)
{
	const char *want = hoy_json_str(l->rec, "diff-digest");
	int64_t size = hoy_json_int(l->rec, "diff-size", -1);

	if (strcmp(in->digest, want))
		hoy_strv_push(&l->faults, "layer content incorrect digest");
	if (size >= 0 && in->size != size)
		hoy_strv_pushf(&l->faults, "read %lld bytes instead of %lld bytes: layer content incorrect size", (long long)in->size,
			       (long long)size);
}

/* Files of a layer with id maps, or one that was shifted by copying, are not as its tar says. */
static bool shifted(const struct check *k, const struct layer *l)
{
	cleanup_free char *copy = hoy_asprintf("%s/diff1", l->id);

	return hoy_json_get(l->rec, "uidmap") || hoy_json_get(l->rec, "gidmap") || !copy || hoy_exists(hoy_layer_home(k->s, l->id)->homefd, copy);
}

static int check_tar(struct check *k, struct layer *l, struct layer_files *files, int split, int difffd, struct hoy_err *err)
{
	struct compare c;
	struct reading x = { l, difffd < 0 ? NULL : &c };
	cleanup_stream struct stream *raw = recipe_stream(files, split, file_fault, &x, err);
	struct checked in;
	int r;

	if (!raw)
		return -HOY_EFORMAT;
	r = checked_init(&in, raw, NULL, -1, err);
	compare_init(&c, difffd, k->s->rootless, k->s->conf.ignore_chown_errors);
	c.files_times_only = hoy_json_str(l->rec, "toc-digest");
	if (!r)
		r = read_tar(&in, x.c, err);
	if (!r && !l->faults.n)
		compare_digest(l, &in);
	if (!r && x.c && compare_end(&c) < 0)
		hoy_strv_push(&l->faults, "its directory cannot be read");
	for (size_t i = 0; i < c.found.n; i++)
		hoy_strv_push(&l->faults, c.found.v[i]);
	compare_release(&c);
	checked_release(&in);
	return r;
}

static int check_layer(struct check *k, struct layer *l)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct layer_files files;
	int split = layer_split_open(k->s, l->id), r;
	/* With vfs a tree holds what the layers below have brought as well: its files are compared, not what is beside them. */
	cleanup_fd int difffd = shifted(k, l) || k->s->vfs ? -1 : hoy_layer_open_diff(k->s, l->id);

	if (difffd == -ENOENT) {
		cleanup_free char *path = hoy_layer_path(k->s, l->id, "diff");

		hoy_strv_pushf(&l->faults, "open %s: no such file or directory", path ?: "");
		hoy_close(split);
		return l->faults.error ? -ENOMEM : 0;
	}
	r = layer_files_init(&files, k->s, l->id, &err);
	if (!r && split < 0 && !hoy_json_str(l->rec, "toc-digest")) /* one that was pulled in part never had one */
		hoy_strv_push(&l->faults, "its tar-split is missing: layer content incorrect digest");
	else if (!r && split >= 0)
		r = check_tar(k, l, &files, steal_fd(&split), difffd, &err);
	if (r < 0 && r != -ENOMEM)
		hoy_strv_push(&l->faults, err.msg);
	hoy_close(split);
	layer_files_release(&files);
	return l->faults.error ? -ENOMEM : r == -ENOMEM ? r : 0;
}

static void *worker(void *arg)
{
	struct check *k = arg;
	size_t i;

	while (!k->failed && (i = k->next++) < k->n)
		if (check_layer(k, &k->v[i]) < 0)
			k->failed = true;
	return NULL;
}

static int run_workers(struct check *k, struct hoy_err *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int n = 0, most = jobs_for(k->n, cpus > 0 ? cpus : 1);
	pthread_t t[64];

	while (n < most && n < 64 && !pthread_create(&t[n], NULL, worker, k))
		n++;
	if (most && !n)
		worker(k);
	while (n)
		pthread_join(t[--n], NULL);
	return k->failed ? hoy_fail_oom(err) : 0;
}

/* All layers that have something to be compared with, or those of ARGV. */
static int choose(struct check *k, int n, char **argv)
{
	for (struct hoy_json *r = hoy_layer_first(k->s); r; r = hoy_layer_next(k->s, r)) {
		const char *id = hoy_json_str(r, "id"), *digest = hoy_json_str(r, "diff-digest");
		bool named = !n;
		struct layer *p;

		for (int i = 0; i < n && id; i++)
			named = named || !strcmp(argv[i], id);
		if (!id || !hoy_is_id(id) || !digest || !hoy_is_digest(digest) || strncmp(digest, "sha256:", 7) || !named)
			continue;
		p = reallocarray(k->v, k->n + 1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		k->v = p;
		k->v[k->n++] = (struct layer){ .rec = r, .id = id, .created = hoy_json_str(r, "created") ?: "" };
	}
	return 0;
}

static void print_fault(const struct layer *l, const char *text)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 17);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "layer", l->id);
	hoy_jw_string(&w, "created", l->created);
	hoy_jw_string(&w, "error", text);
	hoy_jw_end_object(&w);
	puts(hoy_buf_str(&b));
}

static void print_faults(const struct layer *l)
{
	char more[64];

	for (size_t i = 0; i < l->faults.n && i < MOST_FAULTS; i++)
		print_fault(l, l->faults.v[i]);
	if (l->faults.n > MOST_FAULTS) {
		snprintf(more, sizeof(more), "and %zu more", l->faults.n - MOST_FAULTS);
		print_fault(l, more);
	}
}

/* Layers that were removed, or made anew, while we read them have no faults that matter. */
static int report(struct check *k, struct hoy_err *err)
{
	struct hoy_store *now = NULL;
	int r = hoy_store_open(&now, &hoy_globals.storage, HOY_STORE_RDONLY, err);

	if (!r)
		r = hoy_store_peek(now, HOY_LAYERS, err);
	for (size_t i = 0; i < k->n && !r; i++) {
		const struct hoy_json *rec = k->v[i].faults.n ? hoy_layer_get(now, k->v[i].id) : NULL;

		if (rec && !strcmp(hoy_json_str(rec, "created") ?: "", k->v[i].created))
			print_faults(&k->v[i]);
	}
	hoy_store_free(now);
	return r;
}

static const struct hoy_opt no_opts[] = { HOY_OPTS_END };

static int run_check(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	struct check k = { 0 };
	int status, r, n = hoy_verb_args(v, argc, argv, NULL, 0, -1, &status);

	if (n < 0)
		return status;
	r = hoy_store_open(&s, &hoy_globals.storage, HOY_STORE_RDONLY, &err);
	if (!r)
		r = hoy_store_peek(s, HOY_LAYERS, &err);
	k.s = s;
	if (!r && choose(&k, n, argv + 1) < 0)
		r = hoy_fail_oom(&err);
	if (!r)
		r = run_workers(&k, &err);
	if (!r)
		r = report(&k, &err);
	for (size_t i = 0; i < k.n; i++)
		hoy_strv_release(&k.v[i].faults);
	free(k.v);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_check_layers = { "check-layers", "[LAYER...]",
	"Compare layers with their tar-split and digests; a line of JSON for each fault", no_opts, run_check, false };
