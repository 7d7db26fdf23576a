/* linux.sysctl: only what belongs to the container's own namespaces, written beneath a procfs that was verified. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-runtime/runtime.h"
#include "common/base/beneath.h"

/* "net.ipv4.ip_forward" and "net/ipv4/conf/eth0.1/x" are both usual: the first separator decides. A path below /proc. */
static char *path_of(const char *name)
{
	char *path = hoy_asprintf("sys/%s", name);

	if (path && path[4 + strcspn(path + 4, "./")] == '.')
		for (char *p = path + 4; *p; p++)
			*p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
	return path;
}

/* No empty part, no "." and no "..": the name must say what is written. */
static bool plain(const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		size_t len;

		p += *p == '/';
		len = strcspn(p, "/");
		if (!len || (len == 1 && *p == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
	}
	return true;
}

static enum ns owner(const char *path)
{
	static const char *const ipc[] = { "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall",
					   "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced" };

	for (size_t i = 0; i < ARRAY_SIZE(ipc); i++)
		if (!strcmp(path, ipc[i]))
			return NS_IPC;
	if (!strncmp(path, "fs/mqueue/", 10))
		return NS_IPC;
	if (!strncmp(path, "net/", 4))
		return NS_NET;
	if (!strcmp(path, "kernel/domainname") || !strcmp(path, "kernel/hostname"))
		return NS_UTS;
	if (!strncmp(path, "user/", 5))
		return NS_USER;
	return NS_COUNT;
}

static int check(const struct spec *s, const char *name, const char *path, struct hoy_err *err)
{
	enum ns ns = owner(path);

	if (!plain(path))
		return hoy_fail(err, EINVAL, "the sysctl `%s` is no plain name", name);
	if (ns == NS_COUNT)
		return hoy_fail(err, EINVAL, "the sysctl `%s` is not namespaced", name);
	if (!s->ns_new[ns] && !s->ns_path[ns])
		return hoy_fail(err, EINVAL, "the sysctl `%s` requires a new %s namespace", name, ns_table[ns].oci);
	if (!strcmp(path, "kernel/hostname") && s->hostname && *s->hostname)
		return hoy_fail(err, EINVAL, "the sysctl `%s` conflicts with OCI field `hostname`", name);
	if (!strcmp(path, "kernel/domainname") && s->domainname && *s->domainname)
		return hoy_fail(err, EINVAL, "the sysctl `%s` conflicts with OCI field `domainname`", name);
	return 0;
}

int sysctls_check(const struct spec *s, struct hoy_err *err)
{
	HOY_JSON_EACH(c, hoy_json_get(s->linux_, "sysctl")) {
		cleanup_free char *path = path_of(c->key);

		if (!path)
			return hoy_fail_oom(err);
		if (!hoy_json_text(c))
			return hoy_fail(err, EINVAL, "linux.sysctl: '%s' has no text", c->key);
		if (check(s, c->key, path + 4, err) < 0)
			return -err->code;
	}
	return 0;
}

int sysctls_write(int proc, const struct spec *s, struct hoy_err *err)
{
	HOY_JSON_EACH(c, hoy_json_get(s->linux_, "sysctl")) {
		cleanup_free char *path = path_of(c->key);
		cleanup_fd int fd = path ? hoy_open_beneath(proc, path, O_WRONLY, 0, HOY_BENEATH) : -ENOMEM;

		if (fd < 0)
			return hoy_fail_errno(err, -fd, "cannot open sysctl '%s'", c->key);
		if (write(fd, c->str, strlen(c->str)) < 0)
			return hoy_fail_errno(err, errno, "cannot set sysctl '%s' to '%s'", c->key, c->str);
	}
	return 0;
}
