/* cmd-build/copyverb.c: `copy` and `add`: files of the host, or of an image or another container, into a working container. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/ctr.h"
#include "cmd-build/fetch.h"
#include "cmd-build/linked.h"
#include "cmd-build/verbs.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/data/time.h"
#include "common/store/images.h"

struct copy_opts {
	struct hoy_strv exclude;
	const char *cert_dir, *checksum, *chmod, *chown, *contextdir, *from, *ignorefile, *retry_delay, *timestamp;
	int add_history, tls_verify;
	int64_t retry;
	bool link, parents, quiet;
};
#define O(field) offsetof(struct copy_opts, field)
#define COMMON_OPTS \
	{ 0, "add-history", HOY_OPT_TRI, O(add_history), NULL, "note it in the image's history (default BUILDAH_HISTORY)" }, \
	{ 0, "cert-dir", HOY_OPT_STRING, O(cert_dir), "DIR", "certificates of registries and web servers" }, \
	{ 0, "checksum", HOY_OPT_STRING, O(checksum), "DIGEST", "what a fetched file must have" }, \
	{ 0, "chmod", HOY_OPT_STRING, O(chmod), "MODE", "mode of what is copied" }, \
	{ 0, "chown", HOY_OPT_STRING, O(chown), "USER[:GROUP]", "owner of what is copied" }, \
	{ 0, "contextdir", HOY_OPT_STRING, O(contextdir), "DIR", "what sources are beneath" }, \
	{ 0, "exclude", HOY_OPT_COMMAS, O(exclude), "PATTERN", "what isn't copied, as in a .containerignore file" }, \
	{ 0, "from", HOY_OPT_STRING, O(from), "NAME", "a working container or an image, whose root sources are beneath" }, \
	{ 0, "ignorefile", HOY_OPT_STRING, O(ignorefile), "FILE", "a .containerignore file; with --contextdir" }, \
	{ 0, "link", HOY_OPT_FLAG, O(link), NULL, "to a layer of its own, which the container itself doesn't show" }, \
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "do not print the digest of what was copied" }, \
	{ 0, "retry", HOY_OPT_INT, O(retry), "N", "attempts after a failed one to get something (default 3)" }, \
	{ 0, "retry-delay", HOY_OPT_STRING, O(retry_delay), "DURATION", "time between attempts" }, \
	{ 0, "timestamp", HOY_OPT_STRING, O(timestamp), "SECONDS", "time of all files that are copied" }, \
	{ 0, "tls-verify", HOY_OPT_TRI, O(tls_verify), NULL, "check certificates of registries and web servers" }
static const struct hoy_opt add_opts[] = {
	COMMON_OPTS,
	HOY_OPTS_END,
};
static const struct hoy_opt copy_opts[] = {
	COMMON_OPTS,
	{ 0, "parents", HOY_OPT_FLAG, O(parents), NULL, "keep the directories above the sources" },
	HOY_OPTS_END,
};

/* Where sources are. */
struct place {
	char *path;
	char layer[HOY_ID_SIZE]; /* mounted for this; "": none */
	struct hoy_idmaps maps;	 /* its files' ids are shifted by */
	bool image;
};

/* The root of the working container or image NAME. */
static int open_from(struct ctr *c, const char *name, struct place *p)
{
	struct build *b = &c->b;
	struct hoy_json *rec = NULL;
	char id[HOY_ID_SIZE];
	int r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &b->err);

	if (!r && !hoy_container_find(b->s, name, &rec, NULL)) {
		snprintf(p->layer, sizeof(p->layer), "%s", hoy_json_str(rec, "layer") ?: "");
		r = hoy_idmaps_read(rec, &p->maps) < 0 ? hoy_fail(&b->err, HOY_EFORMAT, "container '%s' has an invalid id map", name) : 0;
	} else if (!r) {
		r = image_source(b, name, id);
		if (!r)
			snprintf(p->layer, sizeof(p->layer), "%s", hoy_json_str(hoy_image_get(b->s, id), "layer") ?: "");
	}
	if (!r && !*p->layer)
		r = hoy_fail(&b->err, ENOENT, "'%s' has no files to copy", name);
	if (!r)
		r = mount_layer(b, p->layer, true, &p->path);
	if (r < 0)
		*p->layer = '\0';
	p->image = true;
	return r;
}

static int open_place(struct ctr *c, const struct copy_opts *o, struct place *p)
{
	if (o->from)
		return open_from(c, o->from, p);
	p->path = o->contextdir ? realpath(o->contextdir, NULL) : strdup("/");
	return p->path ? 0 : hoy_fail_errno(&c->b.err, errno, "cannot use the context '%s'", o->contextdir ?: "/");
}

static void close_place(struct ctr *c, struct place *p)
{
	if (*p->layer)
		(void)unmount_layer(&c->b, p->layer, NULL);
	free(p->path);
}

/* What is elsewhere is got first. */
static int push_fetched(struct ctr *c, const char *url, struct hoy_strv *argv)
{
	cleanup_free char *file = NULL;
	const char *path;
	int r = fetch(&c->b, url, false, NULL, &path);

	if (!r && !is_git(url))
		r = fetch_name(&c->b, url, path, &file);
	if (r < 0)
		return r;
	hoy_strv_pushf(argv, "%s%s", file ? "<@" : "<+", (file ?: path) + strlen(c->b.tmp) + 1);
	return 0;
}

/* Without a context a relative source is one in this directory. */
static int push_source(struct ctr *c, const struct copy_opts *o, const char *arg, struct hoy_strv *argv)
{
	cleanup_free char *here = NULL, *path = NULL;

	if (is_remote(arg))
		return push_fetched(c, arg, argv);
	if (o->checksum)
		return hoy_fail(&c->b.err, EINVAL, "checksum flag is not supported for local sources");
	if (o->contextdir || o->from || *arg == '/') {
		hoy_strv_push(argv, arg);
		return 0;
	}
	here = getcwd(NULL, 0);
	path = here ? hoy_path_join(here, arg) : NULL;
	if (!path)
		return hoy_fail_errno(&c->b.err, errno, "cannot find out the current directory");
	hoy_strv_take(argv, steal_ptr(&path));
	return 0;
}

static int make_argv(struct ctr *c, const struct copy_opts *o, const struct place *p, const char *link, bool add, int n, char **args, struct hoy_strv *argv)
{
	const char *dir = hoy_json_str(ctr_oci(c), "WorkingDir");
	cleanup_strv struct hoy_strv paths = HOY_STRV_INIT;
	int r = 0;

	hoy_strv_push(argv, "copy");
	hoy_strv_pushf(argv, "--what=adding content to container \"%s\"", c->w.name);
	hoy_strv_pushf(argv, "--root=%s", c->w.root);
	hoy_strv_pushf(argv, "--context=%s", p->path);
	hoy_strv_pushf(argv, "--workdir=%s", dir && *dir ? dir : "/");
	if (o->chown)
		hoy_strv_pushf(argv, "--chown=%s", o->chown);
	if (o->chmod)
		hoy_strv_pushf(argv, "--chmod=%s", o->chmod);
	userns_map_argv(&p->maps, "from-", argv);
	if (link) {
		hoy_strv_pushf(argv, "--upper=%s", link);
		hoy_strv_pushf(argv, "--link=%s", link);
	} else {
		userns_map_argv(&c->w.ns.maps, "", argv);
	}
	if (!r && (!hoy_idmaps_empty(&c->w.ns.maps) || o->timestamp))
		r = need_tmp(&c->b);
	if (p->image)
		hoy_strv_push(argv, "--from-image");
	if (o->ignorefile)
		hoy_strv_pushf(argv, "--ignore=%s", o->ignorefile);
	if (add)
		hoy_strv_push(argv, "--add");
	if (o->parents)
		hoy_strv_push(argv, "--parents");
	if (o->checksum)
		hoy_strv_pushf(argv, "--checksum=%s", o->checksum);
	if (o->timestamp)
		hoy_strv_pushf(argv, "--timestamp=%s", o->timestamp);
	for (size_t i = 0; i < o->exclude.n; i++)
		hoy_strv_pushf(argv, "--exclude=%s", o->exclude.v[i]);
	/* The last one is where to, if there are several. */
	for (int i = 0; i < (n > 1 ? n - 1 : n) && !r; i++)
		r = push_source(c, o, args[i], &paths);
	if (c->b.tmp)
		hoy_strv_pushf(argv, "--docs=%s", c->b.tmp);
	hoy_strv_push(argv, "--");
	for (size_t i = 0; i < paths.n; i++)
		hoy_strv_push(argv, paths.v[i]);
	hoy_strv_push(argv, n > 1 ? args[n - 1] : "");
	return argv->error ? hoy_fail_oom(&c->b.err) : r;
}

/* *RET_SUM is "file:HEX", "dir:HEX" or "multi:HEX", in new memory. */
/* *RET_TIME: with LINK, the time of the youngest source, in nanoseconds. */
static int copy(struct ctr *c, const struct copy_opts *o, const char *link, bool add, int n, char **args, char **ret_sum, int64_t *ret_time)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	struct place p = { .path = NULL };
	int status = 0, r = work_mount(&c->w), end;
	size_t line;

	if (!r)
		r = open_place(c, o, &p);
	if (!r)
		r = make_argv(c, o, &p, link, add, n, args, &argv);
	if (!r)
		status = hoy_call_tool("hoy-builder", (const char *const *)argv.v, &out);
	close_place(c, &p);
	end = work_unmount(&c->w, r || status ? NULL : &c->b.err);
	if (r < 0)
		return r;
	if (status < 0)
		return hoy_fail_errno(&c->b.err, -status, "cannot run hoy-builder");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	line = strcspn(hoy_buf_str(&out), "\n");
	*ret_sum = strndup(hoy_buf_str(&out), line);
	*ret_time = strtoll(hoy_buf_str(&out) + line, NULL, 10);
	return end < 0 ? end : *ret_sum ? 0 : hoy_fail_oom(&c->b.err);
}

static int note(struct ctr *c, const struct copy_opts *o, bool add, const char *sum)
{
	cleanup_free char *by = hoy_asprintf("/bin/sh -c #(nop) %s %s", add ? "ADD" : "COPY", sum);

	return by ? ctr_note(c, o->add_history, by) : hoy_fail_oom(&c->b.err);
}

/* --link: the container gets a layer more, with its place in the history. */
static int copy_linked(struct ctr *c, const struct copy_opts *o, bool add, int n, char **args, char **ret_sum)
{
	cleanup_free char *dir = NULL, *by = NULL;
	int64_t at = 0;
	int r = linked_stage(c, &dir);

	if (!r)
		r = copy(c, o, dir, add, n, args, ret_sum, &at);
	by = r ? NULL : hoy_asprintf("/bin/sh -c #(nop) %s --link %s in %s ", add ? "ADD" : "COPY", *ret_sum, n > 1 ? args[n - 1] : "");
	if (!r)
		r = by ? linked_note(c, dir, by, o->timestamp ? strtoll(o->timestamp, NULL, 10) * HOY_NS : at) : hoy_fail_oom(&c->b.err);
	if (r < 0 && dir)
		(void)hoy_remove_tree(AT_FDCWD, dir);
	return r;
}

static int check(struct ctr *c, const struct copy_opts *o, int n, char **argv)
{
	int r = options_first(n > 1 ? 1 : n, argv, "container name", &c->b.err);
	int64_t ns;

	if (!r && !n)
		r = hoy_fail(&c->b.err, EINVAL, "container ID must be specified");
	if (!r && n == 1)
		r = hoy_fail(&c->b.err, EINVAL, "src must be specified");
	if (!r && o->timestamp && (!*o->timestamp || o->timestamp[strspn(o->timestamp, "0123456789")]))
		r = hoy_fail(&c->b.err, EINVAL, "parsing timestamp value \"%s\": it must be a number of seconds since 1970", o->timestamp);
	if (!r && o->retry_delay && !hoy_duration_parse(o->retry_delay, &ns))
		r = hoy_fail(&c->b.err, EINVAL, "unable to parse value provided \"%s\" as --retry-delay: time: invalid duration \"%s\"", o->retry_delay, o->retry_delay);
	if (!r && o->ignorefile && !o->contextdir)
		r = hoy_fail(&c->b.err, EINVAL, "--ignorefile option requires that you specify a context dir using --contextdir");
	return r;
}

static int run_copy_or_add(const struct hoy_verb *v, int argc, char **argv, bool add)
{
	struct copy_opts o = { .add_history = -1, .tls_verify = -1, .retry = -1 };
	cleanup_free char *sum = NULL;
	int64_t at;
	struct ctr c;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&c);
	c.o.cert_dir = o.cert_dir;
	c.o.tls_verify = o.tls_verify;
	c.o.retry = o.retry;
	c.o.retry_delay = o.retry_delay;
	r = check(&c, &o, n, argv);
	if (!r)
		r = ctr_open(&c, argv[1]);
	if (!r)
		r = o.link ? copy_linked(&c, &o, add, n - 1, argv + 2, &sum) : copy(&c, &o, NULL, add, n - 1, argv + 2, &sum, &at);
	if (!r)
		r = note(&c, &o, add, sum);
	if (!r)
		r = ctr_save(&c);
	if (!r && !o.quiet)
		puts(strchr(sum, ':') ? strchr(sum, ':') + 1 : sum);
	hoy_strv_release(&o.exclude);
	return ctr_finish(&c, r);
}

static int run_copy(const struct hoy_verb *v, int argc, char **argv) { return run_copy_or_add(v, argc, argv, false); }
static int run_add(const struct hoy_verb *v, int argc, char **argv) { return run_copy_or_add(v, argc, argv, true); }

const struct hoy_verb verb_copy_in = { "copy", "[options] CONTAINER SOURCE... [DESTINATION]", "Copy files into a working container", copy_opts, run_copy,
				    HOY_VERB_COMMAND };
const struct hoy_verb verb_copy_add = { "add", "[options] CONTAINER SOURCE... [DESTINATION]", "The same, and archives are unpacked", add_opts, run_add,
				   HOY_VERB_COMMAND };
