#include "common/proc/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

void hoy_cgroups_release(struct hoy_cgroups *cg)
{
	free(cg->text);
	cg->text = NULL;
	cg->n = 0;
}

/* Hierarchies are mounted under the name of their controllers, or the first of them where the orders differ. */
static bool find_mount(struct hoy_cgroup_hier *h)
{
	const char *name = !strncmp(h->name, "name=", 5) ? h->name + 5 : *h->name ? h->name : "unified";

	if (snprintf(h->mount, sizeof(h->mount), CGROUP_ROOT "/%s", name) < (int)sizeof(h->mount) &&
	    !access(h->mount, F_OK))
		return true;
	snprintf(h->mount, sizeof(h->mount), CGROUP_ROOT "/%.*s", (int)strcspn(name, ","), name);
	return strchr(name, ',') && !access(h->mount, F_OK);
}

/* One line "ID:CONTROLLERS:PATH" of /proc/self/cgroup. */
static void add_line(struct hoy_cgroups *cg, char *line)
{
	struct hoy_cgroup_hier *h = &cg->h[cg->n];
	char *name = strchr(line, ':'), *path = name ? strchr(name + 1, ':') : NULL;

	if (!path || cg->n == HOY_CGROUP_MAX)
		return;
	*path++ = '\0';
	if (snprintf(h->name, sizeof(h->name), "%s", name + 1) >= (int)sizeof(h->name))
		return;
	h->self = path;
	if (cg->unified) {
		if (*h->name)
			return;
		strcpy(h->mount, CGROUP_ROOT);
	} else if (!find_mount(h)) {
		return;
	}
	cg->n++;
}

int hoy_cgroups_find(struct hoy_cgroups *cg, struct hoy_err *err)
{
	struct statfs fs;
	char *save = NULL;
	int r;

	cg->n = 0;
	if (statfs(CGROUP_ROOT, &fs) < 0)
		return 0;
	cg->unified = fs.f_type == CGROUP2_SUPER_MAGIC;
	r = hoy_read_file(AT_FDCWD, "/proc/self/cgroup", 1 << 16, &cg->text, NULL, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (char *line = strtok_r(cg->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		add_line(cg, line);
	return 0;
}

struct hoy_cgroup_hier *hoy_cgroups_with(struct hoy_cgroups *cg, const char *controller)
{
	size_t len = strlen(controller);

	for (size_t i = 0; i < cg->n; i++) {
		const char *p = cg->h[i].name;

		if (!len && !*p)
			return &cg->h[i];
		for (; len && p && *p; p = strchr(p, ','), p = p ? p + 1 : NULL)
			if (!strncmp(p, controller, len) && (!p[len] || p[len] == ','))
				return &cg->h[i];
	}
	return NULL;
}

struct hoy_cgroup_hier *hoy_cgroups_main(struct hoy_cgroups *cg)
{
	static const char *const order[] = { "freezer", "pids", "memory", "" };
	struct hoy_cgroup_hier *h = NULL;

	if (cg->unified)
		return cg->n ? &cg->h[0] : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(order) && !h; i++)
		h = hoy_cgroups_with(cg, order[i]);
	return h ? h : cg->n ? &cg->h[0] : NULL;
}

int hoy_cgroup_open(const struct hoy_cgroup_hier *h, const char *path)
{
	char full[PATH_MAX];
	int fd;

	if (snprintf(full, sizeof(full), "%s/%s", h->mount, path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	fd = open(full, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* cgroup2 says "frozen 1" in cgroup.events and wakes up pollers of that file. */
static int wait_frozen_v2(int dirfd, bool frozen)
{
	cleanup_fd int fd = openat(dirfd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	char buf[256];

	if (fd < 0)
		return -errno;
	for (int i = 0; i < 200; i++) {
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

		if (n < 0)
			return -errno;
		buf[n] = '\0';
		if (!!strstr(buf, "frozen 1") == frozen)
			return 0;
		poll(&p, 1, 50);
	}
	return -ETIMEDOUT;
}

/* The v1 freezer may stay in FREEZING while tasks come and go: write again until it says FROZEN. */
static int freeze_v1(int dirfd, bool frozen)
{
	const char *want = frozen ? "FROZEN" : "THAWED";
	char buf[64];

	for (int i = 0; i < 1000; i++) {
		int r = hoy_write_small(dirfd, "freezer.state", want);
		ssize_t n;

		if (r < 0)
			return r;
		n = hoy_read_small(dirfd, "freezer.state", buf, sizeof(buf));
		if (n < 0)
			return (int)n;
		if (!strcmp(buf, want))
			return 0;
		sleep_ms(i < 10 ? 1 : 10);
	}
	return -ETIMEDOUT;
}

static int open_freezer(struct hoy_cgroups *cg, const char *path)
{
	struct hoy_cgroup_hier *h = hoy_cgroups_with(cg, cg->unified ? "" : "freezer");

	if (!h)
		h = hoy_cgroups_with(cg, "");
	return h ? hoy_cgroup_open(h, path) : -EOPNOTSUPP;
}

int hoy_cgroup_freeze(struct hoy_cgroups *cg, const char *path, bool frozen)
{
	cleanup_fd int fd = open_freezer(cg, path);
	int r;

	if (fd < 0)
		return fd;
	if (hoy_exists(fd, "freezer.state"))
		return freeze_v1(fd, frozen);
	r = hoy_write_small(fd, "cgroup.freeze", frozen ? "1" : "0");
	return r < 0 ? r : wait_frozen_v2(fd, frozen);
}

int hoy_cgroup_frozen(struct hoy_cgroups *cg, const char *path)
{
	cleanup_fd int fd = open_freezer(cg, path);
	char buf[256];
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT || fd == -EOPNOTSUPP ? 0 : fd;
	n = hoy_read_small(fd, "freezer.state", buf, sizeof(buf));
	if (n >= 0)
		return strcmp(buf, "THAWED") != 0;
	n = hoy_read_small(fd, "cgroup.freeze", buf, sizeof(buf));
	return n < 0 ? (n == -ENOENT ? 0 : (int)n) : buf[0] == '1';
}

struct pids {
	pid_t *v;
	size_t n, cap;
};

static int add_pids(int dirfd, struct pids *p)
{
	int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	cleanup_file FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	int pid;

	if (!f)
		return errno == ENOENT || errno == EOPNOTSUPP ? 0 : -errno;
	while (fscanf(f, "%d", &pid) == 1) {
		if (p->n == p->cap) {
			pid_t *v = realloc(p->v, (p->cap = p->cap ? 2 * p->cap : 64) * sizeof(*v));

			if (!v)
				return -ENOMEM;
			p->v = v;
		}
		p->v[p->n++] = pid;
	}
	return 0;
}

static int for_each_below(int dirfd, int depth, int (*fn)(int dirfd, struct pids *p), struct pids *p)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int r = fn(dirfd, p);

	while (!r && d && depth < 64 && (e = readdir(d))) {
		cleanup_fd int sub = -1;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		sub = openat(dirfd, e->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			r = for_each_below(sub, depth + 1, fn, p);
	}
	return r;
}

int hoy_cgroup_pids(struct hoy_cgroups *cg, const char *path, pid_t **ret_pids, size_t *ret_n)
{
	struct hoy_cgroup_hier *h = hoy_cgroups_main(cg);
	cleanup_fd int fd = h ? hoy_cgroup_open(h, path) : -ENOENT;
	struct pids p = { NULL, 0, 0 };
	int r = fd < 0 ? fd : for_each_below(fd, 0, add_pids, &p);

	if (r < 0) {
		free(p.v);
		return r;
	}
	*ret_pids = p.v;
	*ret_n = p.n;
	return 0;
}

static int kill_once(struct hoy_cgroups *cg, const char *path, int sig, size_t *ret_n)
{
	cleanup_free pid_t *pids = NULL;
	int r = hoy_cgroup_pids(cg, path, &pids, ret_n);

	for (size_t i = 0; !r && i < *ret_n; i++)
		if (pids[i] > 0 && kill(pids[i], sig) < 0 && errno != ESRCH)
			r = -errno;
	return r;
}

int hoy_cgroup_kill(struct hoy_cgroups *cg, const char *path, int sig)
{
	size_t n = 1;
	int r = 0;

	if (sig == SIGKILL && cg->unified && cg->n) {
		cleanup_fd int fd = hoy_cgroup_open(&cg->h[0], path);

		r = fd < 0 ? fd : hoy_write_small(fd, "cgroup.kill", "1");
		if (!r || fd == -ENOENT)
			return 0;
	}
	/* Without cgroup.kill a fork bomb is only caught by going round until none is left. */
	for (int i = 0; i < 100 && n; i++) {
		r = kill_once(cg, path, sig, &n);
		if (r < 0 || sig != SIGKILL)
			break;
		if (n)
			sleep_ms(i < 10 ? 1 : 20);
	}
	return r == -ENOENT ? 0 : r;
}

static int remove_below(int dirfd, const char *name, int depth)
{
	cleanup_dir DIR *d = NULL;
	struct dirent *e;
	int fd;

	if (!unlinkat(dirfd, name, AT_REMOVEDIR) || errno == ENOENT)
		return 0;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	while (d && depth < 64 && (e = readdir(d)))
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			remove_below(fd, e->d_name, depth + 1);
	return !unlinkat(dirfd, name, AT_REMOVEDIR) || errno == ENOENT ? 0 : -errno;
}

int hoy_cgroup_remove(struct hoy_cgroups *cg, const char *path)
{
	int first = 0;

	if (!*path || !strcmp(path, "/"))
		return -EINVAL;
	for (size_t i = 0; i < cg->n; i++) {
		char full[PATH_MAX];
		int r = -EBUSY;

		if (snprintf(full, sizeof(full), "%s/%s", cg->h[i].mount, path) >= (int)sizeof(full))
			return -ENAMETOOLONG;
		for (int tries = 0; tries < 400 && r == -EBUSY; tries++) {
			r = remove_below(AT_FDCWD, full, 0);
			if (r == -EBUSY)
				sleep_ms(tries < 20 ? 1 : 10);
		}
		if (r < 0 && !first)
			first = r;
	}
	return first;
}
