/*
 * cmd-run/passage.c: a way for other runtimes to the root of a container with a user namespace. They open it when they are that
 * namespace's root already, who is nobody on the host and cannot go through the store's directories. So the monitor starts us in
 * the runtime's place (`hoy-run --with-root`): in a mount namespace of its own, the root is bound to a directory that everybody
 * can reach, and there we become the runtime. hoy-runtime opens it in time.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/proc/sibling.h"

static bool needed(struct ctr *c)
{
	const char *path = hoy_json_str(c->live.root, "runtime"), *base = path && strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct hoy_idmaps m = { 0 };
	uint32_t inside;

	if (!ctr_has_userns(c) || !base || !strcmp(base, "hoy-runtime") || ctr_maps(c, &m, NULL) < 0)
		return false;
	return !m.uid.n || !hoy_idmap_in(&m.uid, 0, &inside);
}

int passage_make(struct ctr *c, struct hoy_err *err)
{
	char path[] = "/var/tmp/hoy-root-XXXXXX";

	if (!needed(c))
		return 0;
	if (!mkdtemp(path) || chmod(path, 0711) < 0)
		return hoy_fail_errno(err, errno, "cannot make '%s'", path);
	return hoy_json_set_string(&c->live, c->live.root, "passage", path) ? ctr_save_live(c, err) : hoy_fail_oom(err);
}

void passage_remove(struct ctr *c)
{
	const char *path = hoy_json_str(c->live.root, "passage");

	if (!path)
		return;
	rmdir(path);
	hoy_json_unset(c->live.root, "passage");
}

void passage_argv(const struct ctr *c, const char *root, struct hoy_strv *program, struct hoy_strv *args)
{
	const char *to = hoy_json_str(c->live.root, "passage"), *runtime = hoy_json_str(c->live.root, "runtime");
	cleanup_free char *self = to ? hoy_sibling("hoy-run") : NULL;

	if (!to) {
		hoy_strv_push(program, runtime ?: "");
		return;
	}
	hoy_strv_push(program, self ?: "hoy-run");
	hoy_strv_push(args, PASSAGE_OPTION);
	hoy_strv_push(args, root);
	hoy_strv_push(args, to);
	hoy_strv_push(args, runtime ?: "");
}

int passage_main(char **argv)
{
	const char *root = argv[2], *to = argv[3];

	/* The other way round nothing spreads: the mount is ours, and goes with us. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 || mount(root, to, NULL, MS_BIND, NULL) < 0) {
		hoy_error("cannot bind '%s' to '%s': %s", root, to, hoy_strerror(errno));
		return 125;
	}
	execvp(argv[4], argv + 4);
	hoy_error("cannot run the OCI runtime '%s': %s", argv[4], hoy_strerror(errno));
	return 125;
}
