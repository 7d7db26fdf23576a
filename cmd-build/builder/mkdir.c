/* cmd-build/builder/mkdir.c: a directory in the root of a container, its user's: where WORKDIR says. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "cmd-build/builder/builder.h"
#include "common/base/err.h"
#include "common/base/msg.h"

struct mkdir_opts {
	const char *root, *user;
	struct hoy_strv uid_map, gid_map;
};
#define O(field) offsetof(struct mkdir_opts, field)
static const struct hoy_opt mkdir_opts[] = {
	{ 0, "gid-map", HOY_OPT_COMMAS, O(gid_map), "INSIDE:OUTSIDE:SIZE", "what group ids of the root are outside of the container" },
	{ 0, "root", HOY_OPT_STRING, O(root), "DIR", "root of the container" },
	{ 0, "uid-map", HOY_OPT_COMMAS, O(uid_map), "INSIDE:OUTSIDE:SIZE", "what user ids of the root are outside of the container" },
	{ 0, "user", HOY_OPT_STRING, O(user), "USER[:GROUP]", "whose new directories are, if the root knows him; else root's" },
	HOY_OPTS_END,
};

static int make(const struct mkdir_opts *o, const char *path, struct hoy_err *err)
{
	struct hoy_idmaps maps = { 0 };
	struct putter p = { .to = &maps, .name = HOY_BUF_INIT(1 << 20), .err = err };
	cleanup_fd int root = o->root ? open(o->root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	struct spot made = SPOT_NONE;
	int r;

	if (root < 0)
		return hoy_fail_errno(err, o->root ? errno : EINVAL, "cannot open '%s'", o->root ?: "--root");
	p.chown = o->user && !owner_parse(root, o->user, &p.uid, &p.gid, NULL);
	r = maps_parse(&o->uid_map, &o->gid_map, &maps, err);
	if (!r)
		r = put_parents(&p, root, &(struct spot){ root, -1 }, path, &made);
	spot_close(&made);
	hoy_buf_release(&p.name);
	return r;
}

static int run_mkdir(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	struct mkdir_opts o = { .root = NULL };
	int status, n = hoy_verb_args(v, argc, argv, &o, 1, 1, &status);

	if (n < 0)
		return status;
	status = make(&o, argv[1], &err) < 0 ? hoy_report(&err, 125) : 0;
	hoy_strv_release(&o.uid_map);
	hoy_strv_release(&o.gid_map);
	return status;
}
const struct hoy_verb verb_mkdir = { "mkdir", "--root DIR [options] PATH", "Make a directory in the root of a container", mkdir_opts, run_mkdir, 0 };
