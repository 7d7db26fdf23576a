#include "common/proc/idmapper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/strv.h"

int hoy_idmapper_run(const char *tool, pid_t pid, const struct hoy_idmap *map, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	pid_t child;
	int status;

	hoy_strv_push(&argv, tool);
	hoy_strv_pushf(&argv, "%d", (int)pid);
	for (size_t i = 0; i < map->n; i++) {
		hoy_strv_pushf(&argv, "%u", map->v[i].inside);
		hoy_strv_pushf(&argv, "%u", map->v[i].outside);
		hoy_strv_pushf(&argv, "%u", map->v[i].size);
	}
	if (argv.error)
		return hoy_fail_oom(err);
	child = vfork();
	if (!child) {
		execvp(tool, argv.v);
		_exit(127);
	}
	if (child < 0)
		return hoy_fail_errno(err, errno, "cannot run %s", tool);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return hoy_fail(err, ENOENT, "cannot run %s (run: apt-get install uidmap)", tool);
	return status ? hoy_fail(err, EPERM, "%s cannot map your ids: check /etc/subuid and /etc/subgid", tool) : 0;
}

static int write_map(pid_t pid, const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return hoy_write_small(AT_FDCWD, path, text);
}

/* One id alone: what the kernel lets everybody do. */
static int map_single(pid_t pid, struct hoy_err *err)
{
	char uid[32], gid[32];
	int r;

	snprintf(uid, sizeof(uid), "0 %u 1", (unsigned)geteuid());
	snprintf(gid, sizeof(gid), "0 %u 1", (unsigned)getegid());
	r = write_map(pid, "setgroups", "deny");
	if (!r)
		r = write_map(pid, "uid_map", uid);
	if (!r)
		r = write_map(pid, "gid_map", gid);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot map your user id into a user namespace") : 0;
}

static bool own_and_more(uint32_t own, const struct hoy_idrange *r, size_t n, struct hoy_idmap *ret)
{
	uint32_t inside = 1;

	if (!n || hoy_idmap_add(ret, 0, own, 1) < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (hoy_idmap_add(ret, inside, (uint32_t)r[i].start, (uint32_t)r[i].count) < 0)
			return false;
		inside += (uint32_t)r[i].count;
	}
	return true;
}

int hoy_idmapper_own(pid_t pid, const struct hoy_idrange *u, size_t nu, const struct hoy_idrange *g, size_t ng, struct hoy_err *err)
{
	struct hoy_idmap uids = { .n = 0 }, gids = { .n = 0 };
	int r;

	if (!own_and_more(geteuid(), u, nu, &uids) || !own_and_more(getegid(), g, ng, &gids))
		return map_single(pid, err);
	r = hoy_idmapper_run("newuidmap", pid, &uids, err);
	return r ? r : hoy_idmapper_run("newgidmap", pid, &gids, err);
}
