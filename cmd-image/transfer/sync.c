/* cmd-image/transfer/sync.c: `sync`: many images at once, between registries and directories. */
#include "cmd-image/transfer/sync.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/copy.h"
#include "cmd-image/transfer/skopeo.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/ref.h"

#define DEPTH 64

struct sync_opts {
	struct copy_opts copy;
	struct reg_opts src, dst, both;
	struct trust trust;
	const char *from, *to, *digestfile, *suffix, *progress;
	bool scoped, dry, keep_going;
};
#define O(field) offsetof(struct sync_opts, field)
static const struct hoy_opt opts[] = {
	{ 'a', "all", HOY_OPT_FLAG, O(copy.all), NULL, "all images of a list" },
	{ 0, "append-suffix", HOY_OPT_STRING, O(suffix), "TEXT", "put TEXT behind the destinations' tags" },
	REG_AUTHFILE_OPT(O(both), "", ""),
	{ 'd', "dest", HOY_OPT_STRING, O(to), "TRANSPORT", "where to: docker, dir or oci" },
	REG_LOGIN_OPTS(O(dst), "dest-", " of the destination"),
	{ 0, "digestfile", HOY_OPT_STRING, O(digestfile), "FILE", "write each image's digest and name there" },
	{ 0, "dry-run", HOY_OPT_FLAG, O(dry), NULL, "only say what would be copied" },
	{ 'f', "format", HOY_OPT_STRING, O(copy.format), "FORMAT", "oci or v2s2" },
	{ 0, "keep-going", HOY_OPT_FLAG, O(keep_going), NULL, "go on when an image cannot be copied" },
	{ 0, "preserve-digests", HOY_OPT_FLAG, O(copy.preserve), NULL, "fail if a digest would change" },
	PROGRESS_OPT(O(progress)),
	REG_RETRY_OPTS(O(both)),
	{ 0, "scoped", HOY_OPT_FLAG, O(scoped), NULL, "keep the whole name of the source behind the destination's" },
	{ 's', "src", HOY_OPT_STRING, O(from), "TRANSPORT", "where from: docker, dir, oci or yaml" },
	SIGN_OPTS(O(copy.sign)),
	REG_LOGIN_OPTS(O(src), "src-", " of the source"),
	HOY_OPTS_END,
};

/* ---- the plan ---- */

void sync_plan_release(struct sync_plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		hoy_strv_release(&p->v[i].images);
		hoy_strv_release(&p->v[i].names);
		hoy_strv_release(&p->v[i].hold);
	}
	free(p->v);
	*p = (struct sync_plan){ NULL, 0 };
}

struct sync_repo *sync_plan_add(struct sync_plan *p, const struct reg_opts *reg)
{
	struct sync_repo *v = realloc(p->v, (p->n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	p->v = v;
	v[p->n] = (struct sync_repo){ .reg = *reg };
	return &v[p->n++];
}

void sync_add_image(struct sync_repo *r, const char *full)
{
	hoy_strv_pushf(&r->images, "docker://%s", full);
	hoy_strv_push(&r->names, full);
}

int sync_add_tags(struct sync_repo *r, const char *full, int (*wanted)(const void *arg, const char *tag, struct hoy_err *err), const void *arg,
		  struct hoy_err *err)
{
	cleanup_strv struct hoy_strv tags = HOY_STRV_INIT;
	int res = list_tags(full, &r->reg, &tags, err);

	for (size_t i = 0; !res && i < tags.n; i++) {
		cleanup_free char *name = hoy_asprintf("%s:%s", full, tags.v[i]);
		cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
		int yes = wanted ? wanted(arg, tags.v[i], err) : 1;

		if (!name || yes < 0)
			return name ? yes : hoy_fail_oom(err);
		if (!yes)
			continue;
		/* The registry chose the tag: it becomes a part of a path. */
		if (hoy_ref_parse(&ref, name, NULL) < 0 || !ref.tag || strchr(tags.v[i], '/'))
			hoy_error("'%s' has a tag that is none, skipping it", full);
		else
			sync_add_image(r, name);
	}
	return res;
}

static int from_registry(struct sync_plan *p, const char *source, const struct reg_opts *reg, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *full = NULL;
	struct sync_repo *repo = sync_plan_add(p, reg);
	bool whole;
	int r = hoy_ref_parse(&ref, source, err);

	if (r < 0 || !repo)
		return r ? r : hoy_fail_oom(err);
	whole = !ref.tag && !ref.digest;
	if (hoy_ref_normalize(&ref) < 0 || !(full = whole ? hoy_ref_repo(&ref) : hoy_ref_string(&ref)))
		return hoy_fail_oom(err);
	if (!whole) {
		sync_add_image(repo, full);
		return 0;
	}
	r = sync_add_tags(repo, full, NULL, NULL, err);
	return r < 0 || repo->images.n ? r : hoy_fail(err, ENOENT, "No images to sync found in \"%s\"", source);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

/* Directories beneath BASE/REST that have a manifest.json, in order; no symlink is followed. */
static int walk(struct sync_repo *repo, const char *base, const char *rest, int depth, struct hoy_err *err)
{
	cleanup_free char *dir = hoy_asprintf("%s%s", base, rest);
	struct dirent **v = NULL;
	int r = 0, n = dir && depth < DEPTH ? scandir(dir, &v, NULL, by_name) : -1;

	if (n < 0)
		return depth == DEPTH ? hoy_fail(err, ELOOP, "'%s' is too deep", dir) : hoy_fail_errno(err, errno, "cannot read '%s'", dir ? dir : base);
	for (int i = 0; i < n; i++) {
		cleanup_free char *name = hoy_asprintf("%s/%s", rest, v[i]->d_name), *path = name ? hoy_asprintf("%s%s", base, name) : NULL;
		struct stat st;

		if (r < 0 || !strcmp(v[i]->d_name, ".") || !strcmp(v[i]->d_name, ".."))
			continue;
		if (!path || lstat(path, &st) < 0) {
			r = path ? hoy_fail_errno(err, errno, "cannot stat '%s'", path) : hoy_fail_oom(err);
		} else if (S_ISDIR(st.st_mode)) {
			r = walk(repo, base, name, depth + 1, err);
		} else if (!strcmp(v[i]->d_name, "manifest.json")) {
			const char *last = strrchr(base, '/');

			hoy_strv_pushf(&repo->images, "dir:%s", dir);
			hoy_strv_push(&repo->names, *rest ? rest + 1 : last ? last + 1 : base);
			break;
		}
	}
	while (n > 0)
		free(v[--n]);
	free(v);
	return r;
}

static int from_dir(struct sync_plan *p, const char *source, const struct reg_opts *reg, struct hoy_err *err)
{
	cleanup_free char *base = strdup(source);
	struct sync_repo *repo = sync_plan_add(p, reg);
	struct stat st;
	int r;

	if (!base || !repo)
		return hoy_fail_oom(err);
	for (size_t n = strlen(base); n > 1 && base[n - 1] == '/'; n--)
		base[n - 1] = '\0';
	if (stat(base, &st) < 0)
		return hoy_fail_errno(err, errno, "Invalid source directory specified: '%s'", source);
	r = walk(repo, base, "", 0, err);
	if (!r && (repo->images.error || repo->names.error))
		r = hoy_fail_oom(err);
	return r < 0 || repo->images.n ? r : hoy_fail(err, ENOENT, "No images to sync found in \"%s\"", source);
}

/* All images of a layout that have names there. */
static int from_layout(struct sync_plan *p, const char *source, const struct reg_opts *reg, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc index = HOY_JSON_DOC_INIT;
	cleanup_fd int dir = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct sync_repo *repo = sync_plan_add(p, reg);
	int r;

	if (!repo)
		return hoy_fail_oom(err);
	if (dir < 0)
		return hoy_fail_errno(err, errno, "Invalid source directory specified: '%s'", source);
	r = hoy_json_load(&index, dir, "index.json", MANIFEST_MAX, err);
	if (r < 0)
		return hoy_fail_prefix(err, "'%s' is no OCI layout", source);
	HOY_JSON_EACH(it, hoy_json_get(index.root, "manifests")) {
		const char *name = hoy_json_str(hoy_json_get(it, "annotations"), "org.opencontainers.image.ref.name");
		cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

		/* The name becomes a part of paths and of other names. */
		if (!name || hoy_ref_parse(&ref, name, NULL) < 0) {
			hoy_warning("'%s' has an image without a name that could be kept, skipping it", source);
			continue;
		}
		hoy_strv_pushf(&repo->images, "oci:%s:%s", source, name);
		hoy_strv_push(&repo->names, name);
	}
	if (repo->images.error || repo->names.error)
		return hoy_fail_oom(err);
	return repo->images.n ? 0 : hoy_fail(err, ENOENT, "No images to sync found in \"%s\"", source);
}

/* ---- carrying it out ---- */

struct sync_run {
	const struct sync_opts *o;
	const char *destination;
	FILE *digests;
	size_t done;
	bool failed;
};

/* The destination of an image called NAME. */
static char *target(const struct sync_run *run, const char *name)
{
	const char *last = strrchr(name, '/'), *dest = run->destination;
	size_t n = strlen(dest);

	if (!run->o->scoped && last)
		name = last + 1;
	while (n > 1 && dest[n - 1] == '/')
		n--;
	/* A layout has them all, by their names. */
	if (!strcmp(run->o->to, "oci"))
		return hoy_asprintf("oci:%.*s:%s%s", (int)n, dest, name, run->o->suffix ? run->o->suffix : "");
	return hoy_asprintf("%s:%s%.*s%s%s%s", run->o->to, !strcmp(run->o->to, "docker") ? "//" : "", (int)n, dest,
			    n && dest[n - 1] != '/' ? "/" : "", name, run->o->suffix ? run->o->suffix : "");
}

static int check_target(const char *to, bool dry, struct hoy_err *err)
{
	struct stat st;
	int r;

	if (strncmp(to, "dir:", 4))
		return 0;
	if (!lstat(to + 4, &st))
		return hoy_fail(err, EEXIST, "Refusing to overwrite destination directory \"%s\"", to + 4);
	if (errno != ENOENT)
		return hoy_fail_errno(err, errno, "cannot stat '%s'", to + 4);
	r = dry ? 0 : hoy_mkdir_p(to + 4, 0755);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot make the directory '%s'", to + 4) : 0;
}

static int copy_to(const struct sync_run *run, const struct reg_opts *reg, const char *from, const char *to, struct hoy_err *err)
{
	cleanup_source struct source *src = NULL;
	cleanup_dest struct dest *dst = NULL;
	char digest[SHA_DIGEST_SIZE];
	int r = source_open(&src, from, reg, err);

	if (!r)
		r = dest_open(&dst, to, &run->o->dst, err);
	if (!r)
		r = copy_image(src, dst, &run->o->copy, digest, err);
	if (!r)
		r = dst->ops->commit(dst, err);
	if (!r && run->digests && (fprintf(run->digests, "%s %s\n", digest, to) < 0 || fflush(run->digests)))
		r = hoy_fail_errno(err, EIO, "cannot write '%s'", run->o->digestfile);
	return r;
}

static int sync_image(struct sync_run *run, const struct sync_repo *repo, size_t i, struct hoy_err *err)
{
	cleanup_free char *to = target(run, repo->names.v[i]);
	const char *from = repo->images.v[i];
	int r = to ? check_target(to, run->o->dry, err) : hoy_fail_oom(err);

	if (r < 0)
		return r;
	progress(run->o->copy.quiet, run->o->dry ? "Would have copied image ref %zu/%zu from %s to %s" : "Copying image ref %zu/%zu from %s to %s", i + 1,
		 repo->images.n, from, to);
	if (!run->o->dry)
		r = copy_to(run, &repo->reg, from, to, err);
	if (!r) {
		run->done++;
		return 0;
	}
	hoy_fail_prefix(err, "cannot copy '%s'", from);
	if (!run->o->keep_going || skopeo_timed_out())
		return r;
	hoy_report(err, 0);
	*err = (struct hoy_err)HOY_ERR_INIT;
	run->failed = true;
	/* The parts of that copy have ended; the next one begins afresh. */
	transfer_cancelled = false;
	return 0;
}

static int sync_all(struct sync_run *run, const struct sync_plan *p, struct hoy_err *err)
{
	int r = 0;

	if (run->o->dry)
		hoy_warning("this is a dry run, nothing is copied");
	for (size_t i = 0; !r && i < p->n; i++)
		for (size_t k = 0; !r && k < p->v[i].images.n; k++)
			r = sync_image(run, &p->v[i], k, err);
	if (r < 0)
		return r;
	progress(run->o->copy.quiet, run->o->dry ? "Would have synced %zu images from %zu sources" : "Synced %zu images from %zu sources", run->done, p->n);
	return run->failed ? hoy_fail(err, HOY_EREMOTE, "Sync failed due to previous reported error(s) for one or more images") : 0;
}

static int check(struct sync_opts *o, struct hoy_err *err)
{
	struct reg_opts *ends[] = { &o->src, &o->dst };

	if (!o->from || !*o->from)
		return hoy_fail(err, EINVAL, "A source transport must be specified (--src)");
	if (strcmp(o->from, "docker") && strcmp(o->from, "dir") && strcmp(o->from, "oci") && strcmp(o->from, "yaml"))
		return hoy_fail(err, EINVAL, "\"%s\" is not a valid source transport (docker, dir, oci, yaml)", o->from);
	if (!o->to || !*o->to)
		return hoy_fail(err, EINVAL, "A destination transport must be specified (--dest)");
	if (strcmp(o->to, "docker") && strcmp(o->to, "dir") && strcmp(o->to, "oci"))
		return hoy_fail(err, EINVAL, "\"%s\" is not a valid destination transport (docker, dir, oci)", o->to);
	if (!strcmp(o->from, o->to) && strcmp(o->to, "docker"))
		return hoy_fail(err, EINVAL, "sync from '%s' to '%s' not implemented, consider using rsync instead", o->from, o->to);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		reg_opts_share(ends[i], &o->both);
	o->src.registries_d = o->dst.registries_d = hoy_globals.registries_d;
	o->trust = skopeo_trust();
	o->copy.trust = &o->trust;
	o->copy.platform = skopeo_platform();
	if (progress_choose(o->progress, &o->copy.quiet, err) < 0)
		return -err->code;
	return reg_opts_check(&o->src, err) < 0 || reg_opts_check(&o->dst, err) < 0 ? -err->code : copy_check(&o->copy, err);
}

static int run_plan(struct sync_opts *o, const char *source, const char *destination, struct hoy_err *err)
{
	struct sync_run run = { .o = o, .destination = destination };
	struct sync_plan p = { NULL, 0 };
	bool layouts = !strcmp(o->to, "oci");
	int r = layouts && strchr(destination, ':') ? hoy_fail(err, EINVAL, "the layout '%s' has a colon in its name", destination) :
		!strcmp(o->from, "docker") ? from_registry(&p, source, &o->src, err) :
		!strcmp(o->from, "dir")	   ? from_dir(&p, source, &o->src, err) :
		!strcmp(o->from, "oci")	   ? from_layout(&p, source, &o->src, err) :
					     sync_from_yaml(&p, source, &o->src, err);

	if (!r && o->digestfile && !o->dry && !(run.digests = fopen(o->digestfile, "we")))
		r = hoy_fail_errno(err, errno, "cannot write '%s'", o->digestfile);
	if (!r)
		r = sync_all(&run, &p, err);
	if (run.digests && fclose(run.digests) && !r)
		r = hoy_fail_errno(err, errno, "cannot write '%s'", o->digestfile);
	sync_plan_release(&p);
	return r;
}

static int run_sync(const struct hoy_verb *v, int argc, char **argv)
{
	struct sync_opts o = { .src = REG_OPTS_INIT, .dst = REG_OPTS_INIT, .both = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	int status, r, n = skopeo_args(v, argc, argv, &o, 2, 2, &status);

	if (n < 0)
		return status;
	r = check(&o, &err);
	if (!r)
		r = run_plan(&o, argv[1], argv[2], &err);
	return r < 0 ? skopeo_failed(&err) : 0;
}
const struct hoy_verb verb_sync = { "sync", "[options] --src TRANSPORT --dest TRANSPORT SOURCE DESTINATION",
				    "Copy all images of a source to a registry or directory", opts, run_sync, HOY_VERB_COPIES };
