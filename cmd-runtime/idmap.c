/* Bind mounts with mapped ids. The kernel takes the mapping as a user namespace, so one is made for each. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cmd-runtime/mounts.h"
#include "cmd-runtime/sys.h"
#include "common/proc/pidfd.h"

/* "0-1-10#10-11-10" behind KEY in "uids=...;gids=..." as lines of a uid_map. */
static int map_from_option(const char *arg, const char *key, struct hoy_buf *b, struct hoy_err *err)
{
	const char *p = strstr(arg, key);

	if (!p)
		return hoy_fail(err, EINVAL, "mount option 'idmap=%s' has no '%s'", arg, key);
	for (p += strlen(key); *p && *p != ';'; p += *p == '#') {
		unsigned in, out, size;
		int n = 0;

		if (sscanf(p, "%u-%u-%u%n", &in, &out, &size, &n) != 3)
			return hoy_fail(err, *p == '@' ? HOY_EUNSUPPORTED : EINVAL, "mount option 'idmap=%s': cannot use '%s'", arg, p);
		hoy_buf_printf(b, "%u %u %u\n", in, out, size);
		p += n;
	}
	return 0;
}

static void map_from_json(const struct hoy_json *list, struct hoy_buf *b)
{
	HOY_JSON_EACH(m, list)
		hoy_buf_printf(b, "%lld %lld %lld\n", (long long)hoy_json_int(m, "containerID", 0),
			       (long long)hoy_json_int(m, "hostID", 0), (long long)hoy_json_int(m, "size", 0));
}

static int collect(const struct mount_job *m, const struct spec *s, struct hoy_buf *uids, struct hoy_buf *gids,
		   struct hoy_err *err)
{
	const struct hoy_json *from = hoy_json_get(m->json, "uidMappings") ? m->json : s->linux_;

	if (m->o.idmap_arg)
		return map_from_option(m->o.idmap_arg, "uids=", uids, err) < 0 ||
		       map_from_option(m->o.idmap_arg, "gids=", gids, err) < 0 ? -err->code : 0;
	map_from_json(hoy_json_get(from, "uidMappings"), uids);
	map_from_json(hoy_json_get(from, "gidMappings"), gids);
	if (!uids->len || !gids->len)
		return hoy_fail(err, EINVAL, "mount '%s' has option idmap, but there is no mapping for it", m->target);
	return 0;
}

static int write_map(pid_t pid, const char *file, const struct hoy_buf *b)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return hoy_write_small(AT_FDCWD, path, hoy_buf_str(b));
}

static int make_userns(const struct hoy_buf *uids, const struct hoy_buf *gids, struct hoy_err *err)
{
	int pidfd = -1, ns = -1, r;
	struct sys_clone_args a = { .flags = CLONE_NEWUSER | CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)sys_clone3(&a);
	char path[64];

	if (pid < 0)
		return hoy_fail_errno(err, errno, "cannot make a user namespace for a mapped mount");
	while (!pid)
		pause();
	r = write_map(pid, "uid_map", uids);
	if (!r)
		r = write_map(pid, "gid_map", gids);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	if (!r && (ns = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		r = -errno;
	hoy_pidfd_kill(pidfd, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	hoy_close(pidfd);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write the mapping of a mount") : ns;
}

int idmap_prepare(struct mount_jobs *jobs, const struct root *r, const struct spec *s, struct hoy_err *err)
{
	for (size_t i = 0; i < jobs->n; i++) {
		struct mount_job *m = &jobs->v[i];
		cleanup_buf struct hoy_buf uids = HOY_BUF_INIT(1 << 16), gids = HOY_BUF_INIT(1 << 16);
		struct sys_mount_attr a = { .set = MOUNT_ATTR_IDMAP };
		cleanup_fd int ns = -1;

		if (!m->o.idmap && !hoy_json_get(m->json, "uidMappings"))
			continue;
		if (!m->o.bind)
			return hoy_fail(err, HOY_EUNSUPPORTED, "mount '%s': only bind mounts can map ids", m->target);
		if (collect(m, s, &uids, &gids, err) < 0)
			return -err->code;
		ns = make_userns(&uids, &gids, err);
		m->fd = ns < 0 ? ns : mounts_open_source(r, m, err);
		if (m->fd < 0)
			return m->fd;
		a.userns_fd = (uint64_t)ns;
		if (sys_mount_setattr(m->fd, m->o.ridmap ? AT_RECURSIVE : 0, &a) < 0)
			return hoy_fail_errno(err, errno, "cannot map the ids of mount '%s'", m->target);
	}
	return 0;
}
