#include "cmd-build/lease.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/base/strv.h"
#include "common/cli/call.h"
#include "common/data/digest.h"
#include "common/store/containers.h"
#include "common/store/images.h"
#include "common/store/layers.h"

#define LEASE_MAX ((size_t)16 << 20)

static int file = -1;	 /* children of ours write to it, too */
static char *path;
static pid_t owner;

static char *leases(const struct hoy_store *s) { return hoy_path_join(s->conf.runroot, "hoy-builds"); }

/* ---- ours ---- */

/* The end of this process: nothing is taken. */
static void lease_end(void)
{
	if (file >= 0 && owner == getpid())
		unlink(path);
	hoy_close(file);
	free(path);
	file = -1;
	path = NULL;
}

/* A new file in DIR, locked; -EAGAIN: somebody took it for a dead one's before it was. */
static int start_in(const char *dir)
{
	cleanup_free char *name = NULL;
	cleanup_fd int fd = -1;
	char id[HOY_ID_SIZE];
	struct stat st;

	if (hoy_random_id(id) < 0)
		return -EIO;
	name = hoy_asprintf("%s/%.16s", dir, id);
	fd = name ? open(name, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
	if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0)
		return name ? -errno : -ENOMEM;
	if (!st.st_nlink)
		return -EAGAIN;
	dprintf(fd, "=%d\n", (int)getpid());
	file = steal_fd(&fd);
	path = steal_ptr(&name);
	owner = getpid();
	atexit(lease_end);
	return 0;
}

static int start(struct hoy_store *s)
{
	cleanup_free char *dir = leases(s);
	int r = dir ? hoy_mkdir_p(dir, 0700) : -ENOMEM;

	if (!r)
		do
			r = start_in(dir);
		while (r == -EAGAIN);
	return r;
}

static int note(char sign, const char *kind, const char *name)
{
	cleanup_free char *line = hoy_asprintf("%c%s %s\n", sign, kind, name);

	return line ? hoy_write_full(file, line, strlen(line)) : -ENOMEM;
}

int lease_take(struct hoy_store *s, const char *kind, const char *name, struct hoy_err *err)
{
	int r = file < 0 ? start(s) : 0;

	if (!r)
		r = note('+', kind, name);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot note what is taken") : 0;
}

void lease_drop(const char *kind, const char *name)
{
	if (file >= 0)
		(void)note('-', kind, name);
}

/* ---- those of the dead ---- */

/* Whatever is mounted at PLACE or beneath it, the last one first. */
static void unmount_all(const char *place)
{
	cleanup_free char *data = NULL;
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;
	size_t len, n = strlen(place);

	if (hoy_read_file(AT_FDCWD, "/proc/self/mountinfo", 64 << 20, &data, &len, NULL) < 0)
		return;
	hoy_strv_split(&lines, data, '\n');
	for (size_t i = lines.n; i; i--) {
		char at[4096];

		if (sscanf(lines.v[i - 1], "%*s %*s %*s %*s %4095s", at) == 1 && !strncmp(at, place, n) && (!at[n] || at[n] == '/'))
			(void)umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
}

/* Who is killed between the mount and the note of it leaves one that nobody counts. */
static void unmount_layer_of(struct hoy_store *s, const char *id)
{
	cleanup_free char *merged = NULL;

	if (!hoy_is_id(id) || hoy_store_lock(s, 0, HOY_GRAPH | HOY_LAYERS, NULL) < 0)
		return;
	if (hoy_layer_mounted(s, id, NULL) > 0)
		(void)hoy_layer_unmount(s, id, false, NULL);
	merged = !s->vfs && !hoy_layer_mounted(s, id, NULL) ? hoy_layer_path(s, id, "merged") : NULL;
	if (merged)
		unmount_all(merged);
	hoy_store_unlock(s);
}

static void remove_name(struct hoy_store *s, const char *name)
{
	struct hoy_json *rec;

	if (strncmp(name, LEASE_NAMES, strlen(LEASE_NAMES)) || hoy_store_lock(s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES, NULL) < 0)
		return;
	if (!hoy_image_find(s, name, &rec, NULL, NULL))
		(void)hoy_image_remove_name(s, rec, name, NULL);
	hoy_store_unlock(s);
}

static void remove_container(struct hoy_store *s, const char *id)
{
	const struct hoy_json *rec;

	if (!hoy_is_id(id) || hoy_store_lock(s, 0, HOY_GRAPH | HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, NULL) < 0)
		return;
	rec = hoy_container_get(s, id);
	if (rec) {
		(void)hoy_layer_unmount(s, hoy_json_str(rec, "layer") ?: "", true, NULL);
		(void)hoy_container_delete(s, id, NULL);
	} else {
		(void)hoy_remove_tree(s->ctrsfd, id);
	}
	hoy_store_unlock(s);
}

static void remove_layer(struct hoy_store *s, const char *id)
{
	if (!hoy_is_id(id) || hoy_store_lock(s, 0, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, NULL) < 0)
		return;
	if (hoy_layer_get(s, id) && !hoy_layer_used(s, id))
		(void)hoy_layer_delete(s, id, NULL);
	hoy_store_unlock(s);
}

static void give_back(struct hoy_store *s, const char *kind, const char *name)
{
	const char *const words[] = { "rm", "-f", "-i", "-t", "0", name, NULL };

	hoy_debug("a build that was killed has left the %s %s", kind, name);
	if (!strcmp(kind, LEASE_RUN))
		(void)hoy_call_tool("hoy-run", words, NULL);
	else if (!strcmp(kind, LEASE_LAYER))
		unmount_layer_of(s, name);
	else if (!strcmp(kind, LEASE_NEW_LAYER))
		remove_layer(s, name);
	else if (!strcmp(kind, LEASE_CONTAINER))
		remove_container(s, name);
	else if (!strcmp(kind, LEASE_NAME))
		remove_name(s, name);
	else if (!strcmp(kind, LEASE_DIR) && *name == '/' && strstr(name, "/hoy-build-")) {
		unmount_all(name);
		(void)hoy_remove_tree(AT_FDCWD, name);
	}
}

/* What TEXT says is taken and not given back, the last one first: commands, then what they stood on. */
static void settle(struct hoy_store *s, const char *text)
{
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT, open_ones = HOY_STRV_INIT;

	hoy_strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		long at;

		if (*lines.v[i] == '+')
			hoy_strv_push(&open_ones, lines.v[i] + 1);
		else if (*lines.v[i] == '-' && (at = hoy_strv_find(&open_ones, lines.v[i] + 1)) >= 0)
			hoy_strv_remove(&open_ones, at);
	}
	for (size_t i = open_ones.n; i; i--) {
		char *blank = strchr(open_ones.v[i - 1], ' ');

		if (!blank)
			continue;
		*blank = '\0';
		give_back(s, open_ones.v[i - 1], blank + 1);
	}
}

/* Lock the file FD, unless its owner lives or somebody else is at it. Children of a dead one's may take a moment to follow. */
static bool lock_of_dead(int fd)
{
	char text[16] = "";

	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (i == 100 || pread(fd, text, sizeof(text) - 1, 0) < 2 || *text != '=' || kill(atoi(text + 1), 0) == 0 || errno != ESRCH)
			return false;
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	}
	return true;
}

static void collect_one(struct hoy_store *s, int dir, const char *name)
{
	cleanup_fd int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	cleanup_free char *text = NULL;
	size_t len;

	if (fd < 0 || !lock_of_dead(fd))
		return;
	if (!hoy_read_fd(fd, name, LEASE_MAX, &text, &len, NULL))
		settle(s, text);
	unlinkat(dir, name, 0);
}

void lease_collect(struct hoy_store *s)
{
	cleanup_free char *at = leases(s);
	cleanup_dir DIR *d = at ? opendir(at) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (*e->d_name != '.')
			collect_one(s, dirfd(d), e->d_name);
}
