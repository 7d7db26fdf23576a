/* common/store/overlay.c: directories of the overlay driver and their mounts (formats/storage.md 4). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/store/layers.h"
#include "common/store/shift.h"

#define LINK_LEN 26
#define MAX_LOWERS 500

struct hoy_place *hoy_layer_home(const struct hoy_store *s, const char *id)
{
	if (s->n_extra)
		HOY_PLACES_EACH(p, s)
			if (p->homefd >= 0 && hoy_exists(p->homefd, id))
				return p;
	return hoy_place_next(s, NULL);
}

static int homefd_of(const struct hoy_store *s, const char *id) { return hoy_layer_home(s, id)->homefd; }

char *hoy_layer_path(const struct hoy_store *s, const char *id, const char *below)
{
	if (s->vfs)
		return hoy_asprintf("%s/vfs/dir/%s", hoy_layer_home(s, id)->root, id);
	return hoy_asprintf("%s/overlay/%s/%s", hoy_layer_home(s, id)->root, id, below);
}

int hoy_layer_open_diff(const struct hoy_store *s, const char *id)
{
	char path[HOY_ID_SIZE + 8];
	int fd;

	snprintf(path, sizeof(path), s->vfs ? "%s" : "%s/diff", id);
	fd = openat(homefd_of(s, id), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Standard base32 of 17 random bytes, its first 26 characters. */
static int short_name(char ret[LINK_LEN + 1])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	unsigned char raw[17];
	unsigned bits = 0, n = 0;
	size_t at = 0;

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -errno;
	for (int i = 0; i < LINK_LEN; i++) {
		while (n < 5) {
			bits = bits << 8 | raw[at++];
			n += 8;
		}
		ret[i] = digits[bits >> (n - 5) & 31];
		n -= 5;
	}
	ret[LINK_LEN] = '\0';
	return 0;
}

/* A file of a layer that nobody sees before it is complete. */
static int put_file(int dirfd, const char *name, const char *data, size_t len)
{
	cleanup_fd int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : hoy_write_full(fd, data, len);
}

/*
 * Its bytes before its name: podman, cleaning up, removes "l/" and what is in "link", and an empty one means all of "l".
 * Written back (not synced) before the rename, a power cut leaves no "link" or a whole one: the journal's commit that has
 * the rename has the blocks too. Started alone (WAIT is false) that holds on ext4; others may need to see it done.
 */
static int put_link(int dirfd, const char *name, bool wait)
{
	cleanup_fd int fd = openat(dirfd, "link.new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : hoy_write_full(fd, name, LINK_LEN);

	if (!r)
		(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE | (wait ? SYNC_FILE_RANGE_WAIT_AFTER : 0));
	if (!r && renameat(dirfd, "link.new", dirfd, "link") < 0)
		r = -errno;
	return r;
}

static int make_links_dir(const struct hoy_place *p)
{
	cleanup_fd int fd = hoy_open_dir_p(p->homefd, "l", 0755);

	return fd < 0 ? fd : 0;
}

/* The file before the link that it names: who cleans up after us finds the link by it. */
static int make_link(const struct hoy_place *p, int dirfd, const char *id, bool wait)
{
	char name[LINK_LEN + 1], from[HOY_ID_SIZE + 16], to[LINK_LEN + 8];
	int r, tries = 8;

	snprintf(from, sizeof(from), "../%s/diff", id);
	do {
		r = short_name(name);
		if (!r)
			r = put_link(dirfd, name, wait);
		snprintf(to, sizeof(to), "l/%s", name);
		if (!r && symlinkat(from, p->homefd, to) < 0)
			r = -errno;
		if (r == -ENOENT && !make_links_dir(p))
			r = -EEXIST;
	} while (r == -EEXIST && --tries && !unlinkat(dirfd, "link", 0));
	return r;
}

bool hoy_layer_link(int homefd, const char *id, char ret[HOY_LINK_SIZE])
{
	char path[HOY_ID_SIZE + 8], name[64];

	snprintf(path, sizeof(path), "%s/link", id);
	/* After a power cut it may be empty, or zeros: "l/" alone would be all links. */
	if (hoy_read_small(homefd, path, name, sizeof(name)) != LINK_LEN ||
	    strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != LINK_LEN)
		return false;
	snprintf(ret, HOY_LINK_SIZE, "l/%.*s", LINK_LEN, name);
	return true;
}

bool hoy_layer_link_good(const struct hoy_store *s, const char *id)
{
	char want[HOY_ID_SIZE + 16], have[256], name[HOY_LINK_SIZE];
	ssize_t n;

	if (s->vfs)
		return true;
	if (!hoy_layer_link(homefd_of(s, id), id, name))
		return false;
	n = readlinkat(homefd_of(s, id), name, have, sizeof(have) - 1);
	have[n > 0 ? n : 0] = '\0';
	snprintf(want, sizeof(want), "../%s/diff", id);
	return !strcmp(have, want);
}

int hoy_layer_link_mend(struct hoy_store *s, const char *id, struct hoy_err *err)
{
	const struct hoy_place *p = hoy_layer_home(s, id);
	char target[HOY_ID_SIZE + 16], name[HOY_LINK_SIZE];
	cleanup_fd int dirfd = -1;
	int r = 0;

	if (hoy_layer_link(p->homefd, id, name)) {
		snprintf(target, sizeof(target), "../%s/diff", id);
		unlinkat(p->homefd, name, 0);
		if (symlinkat(target, p->homefd, name) < 0)
			r = -errno;
	} else {
		/* Those above it name the old link; what they need of it is in their lower-layers. */
		dirfd = openat(p->homefd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dirfd >= 0)
			unlinkat(dirfd, "link", 0);
		r = dirfd < 0 ? -errno : make_link(p, dirfd, id, true);
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot make the short link of layer '%s'", id) : 0;
}

/* "l/X" entries of a lower file resolve, in any place, to the id in their second last component. */
static int resolve_link(const struct hoy_store *s, const char *entry, char ret[HOY_ID_SIZE])
{
	char target[256];
	ssize_t n = -1;
	char *slash, *start;

	errno = ENOENT;
	HOY_PLACES_EACH(p, s)
		if (n < 0 && errno == ENOENT)
			n = readlinkat(p->homefd, entry, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	slash = strrchr(target, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	start = strrchr(target, '/');
	start = start ? start + 1 : target;
	if (strlen(start) >= HOY_ID_SIZE)
		return -EINVAL;
	strcpy(ret, start);
	return 0;
}

static int read_list(const struct hoy_store *s, const char *id, const char *name, struct hoy_strv *ret)
{
	cleanup_free char *data = NULL;
	char path[HOY_ID_SIZE + 16];
	int r;

	snprintf(path, sizeof(path), "%s/%s", id, name);
	r = hoy_read_file(homefd_of(s, id), path, 1 << 17, &data, NULL, NULL);
	if (r < 0)
		return r;
	hoy_strv_split(ret, data, ':');
	return ret->error ? -ENOMEM : ret->n > MAX_LOWERS ? -E2BIG : 0;
}

int hoy_layer_lowers(const struct hoy_store *s, const char *id, struct hoy_strv *ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv links = HOY_STRV_INIT;
	int r = s->vfs ? 0 : read_list(s, id, "lower-layers", ret);

	if (r != -ENOENT)
		return r < 0 ? hoy_fail_errno(err, -r, "cannot read the lower layers of '%s'", id) : 0;
	r = read_list(s, id, "lower", &links);
	if (r == -ENOENT)
		return 0;
	for (size_t i = 0; !r && i < links.n; i++) {
		char lower[HOY_ID_SIZE];

		r = resolve_link(s, links.v[i], lower);
		if (!r)
			hoy_strv_push(ret, lower);
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot read the lower layers of '%s'", id) : 0;
}

int hoy_layer_lowerdir(const struct hoy_store *s, const char *id, char **ret)
{
	cleanup_strv struct hoy_strv lowers = HOY_STRV_INIT;
	struct hoy_buf b = HOY_BUF_INIT(1 << 20);
	int r = hoy_layer_lowers(s, id, &lowers, NULL);

	hoy_buf_puts(&b, "");
	for (size_t i = 0; i < lowers.n && !r; i++) {
		cleanup_free char *path = hoy_layer_path(s, lowers.v[i], "diff");

		hoy_buf_printf(&b, "%s%s", i ? ":" : "", path ?: "");
		r = path ? 0 : -ENOMEM;
	}
	*ret = hoy_buf_steal(&b);
	return r ? r : *ret ? 0 : -ENOMEM;
}

static int write_lowers(struct hoy_store *s, int dirfd, const char *parent, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT, links = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf a = HOY_BUF_INIT(1 << 17), b = HOY_BUF_INIT(1 << 17);
	char link[HOY_LINK_SIZE];
	int r;

	if (!hoy_layer_link(homefd_of(s, parent), parent, link))
		return hoy_fail(err, HOY_EFORMAT, "layer '%s' has no valid link file", parent);
	hoy_buf_puts(&a, link);
	hoy_buf_puts(&b, parent);
	r = read_list(s, parent, "lower", &links);
	if (r < 0 && r != -ENOENT)
		return hoy_fail_errno(err, -r, "cannot read the lower layers of '%s'", parent);
	r = hoy_layer_lowers(s, parent, &ids, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < links.n; i++)
		hoy_buf_printf(&a, ":%s", links.v[i]);
	for (size_t i = 0; i < ids.n; i++)
		hoy_buf_printf(&b, ":%s", ids.v[i]);
	if (a.error || b.error)
		return hoy_fail_oom(err);
	r = put_file(dirfd, "lower", a.data, a.len);
	if (!r)
		r = put_file(dirfd, "lower-layers", b.data, b.len);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write the lower layers of a new layer") : 0;
}

static int make_dir(int dirfd, const char *name, const struct stat *like)
{
	if (mkdirat(dirfd, name, 0700) < 0)
		return -errno;
	if (fchownat(dirfd, name, like->st_uid, like->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

/*
 * The small files of a layer must not be empty when a power cut leaves its record. All are written back first: then one
 * commit of the file system's journal does for the three.
 */
static int sync_files(int dirfd)
{
	static const char *const names[] = { "link", "lower", "lower-layers" };
	int fds[ARRAY_SIZE(names)], r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		fds[i] = openat(dirfd, names[i], O_RDONLY | O_CLOEXEC);
		if (fds[i] >= 0)
			(void)sync_file_range(fds[i], 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
		else if (errno != ENOENT)
			r = -errno;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (fds[i] >= 0 && !r && fdatasync(fds[i]) < 0)
			r = -errno;
		hoy_close(fds[i]);
	}
	return r;
}

int hoy_overlay_create(struct hoy_store *s, const struct hoy_place *p, const char *id, const char *parent, bool sync,
		       const struct hoy_idmaps *maps, struct hoy_err *err)
{
	struct stat like = { .st_uid = geteuid(), .st_gid = getegid(), .st_mode = 0555 };
	uint32_t uid, gid;
	cleanup_fd int dirfd = -1;
	char path[HOY_ID_SIZE + 8];
	int r = 0;

	if (parent) {
		snprintf(path, sizeof(path), "%s/diff", parent);
		if (fstatat(homefd_of(s, parent), path, &like, 0) < 0)
			return hoy_fail_errno(err, errno, "cannot look at layer '%s'", parent);
	}
	if (hoy_exists(p->homefd, id) && (r = hoy_remove_tree(p->homefd, id)) < 0)
		return hoy_fail_errno(err, -r, "cannot remove the old directory of layer '%s'", id);
	if (mkdirat(p->homefd, id, 0700) < 0 || (dirfd = openat(p->homefd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return hoy_fail_errno(err, errno, "cannot make the directory of layer '%s'", id);
	if (maps && (!hoy_idmap_out(&maps->uid, 0, &uid) || !hoy_idmap_out(&maps->gid, 0, &gid)))
		return hoy_fail(err, EINVAL, "container ID 0 cannot be mapped to a host ID");
	if (maps && fchown(dirfd, uid, gid) < 0)
		return hoy_fail_errno(err, errno, "cannot give the directory of layer '%s' to its owner", id);
	r = make_dir(dirfd, "diff", &like);
	if (!r && fchmodat(dirfd, "diff", like.st_mode & 07777, 0) < 0)
		r = -errno;
	if (!r)
		r = make_link(p, dirfd, id, sync);
	if (!r)
		r = make_dir(dirfd, "work", &like);
	if (!r)
		r = make_dir(dirfd, "merged", &like);
	if (!r && !parent)
		r = make_dir(dirfd, "empty", &like);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot fill the directory of layer '%s'", id);
	r = parent ? write_lowers(s, dirfd, parent, err) : 0;
	if (!r && sync && (r = sync_files(dirfd)) < 0)
		hoy_fail_errno(err, -r, "cannot sync the directory of layer '%s'", id);
	return r;
}

static bool is_mount_point(int dirfd, const char *path)
{
	struct statx sx;

	return !statx(dirfd, path, AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, 0, &sx) &&
	       sx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

/* The bind of home onto itself, which the last one to unmount takes away with everything below (4.5). */
static int bind_home(struct hoy_store *s, struct hoy_err *err)
{
	cleanup_free char *home = hoy_path_join(s->conf.graphroot, "overlay");

	if (!home)
		return hoy_fail_oom(err);
	if (s->vfs || s->conf.skip_mount_home || is_mount_point(AT_FDCWD, home))
		return 0;
	if (mount(home, home, NULL, MS_BIND, NULL) < 0 || mount(NULL, home, NULL, MS_PRIVATE, NULL) < 0)
		return hoy_fail_errno(err, errno, "cannot bind '%s' onto itself", home);
	hoy_close(s->own.homefd);
	s->own.driverfd = s->own.homefd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* one descriptor, two names */
	return s->own.homefd < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", home) : 0;
}

/* Mount options as text: known words become flags, the others stay data. */
static unsigned long split_options(const char *options, bool vol, struct hoy_buf *data)
{
	static const struct { const char *word; unsigned long flag; } words[] = {
		{ "nodev", MS_NODEV }, { "nosuid", MS_NOSUID }, { "noexec", MS_NOEXEC }, { "ro", MS_RDONLY },
		{ "noatime", MS_NOATIME }, { "nodiratime", MS_NODIRATIME }, { "relatime", MS_RELATIME },
		{ "sync", MS_SYNCHRONOUS }, { "dirsync", MS_DIRSYNC }, { "rw", 0 }, { "dev", 0 }, { "suid", 0 },
		{ "exec", 0 }, { "defaults", 0 },
	};
	cleanup_strv struct hoy_strv list = HOY_STRV_INIT;
	unsigned long flags = 0;

	hoy_strv_split(&list, options ? options : "", ',');
	for (size_t i = 0; i < list.n; i++) {
		size_t w;

		for (w = 0; w < ARRAY_SIZE(words) && strcmp(words[w].word, list.v[i]); w++)
			;
		if (w < ARRAY_SIZE(words))
			flags |= words[w].flag;
		else if (*list.v[i] && !(vol && !strcmp(list.v[i], "volatile")))
			hoy_buf_printf(data, ",%s", list.v[i]);
	}
	return flags;
}

struct plan {
	struct hoy_strv lowers; /* "ID/diff" below home, or absolute in another place; uppermost first */
	unsigned long flags;
	struct hoy_buf tail; /* ",userxattr,volatile..." */
	bool rw;
};

static int add_lower(const struct hoy_store *s, struct plan *p, const char *id, bool self)
{
	const struct hoy_place *at = hoy_layer_home(s, id);
	cleanup_free char *dir = at == &s->own ? strdup(id) : hoy_asprintf("%s/overlay/%s", at->root, id);
	char path[HOY_ID_SIZE + 32];

	if (!dir)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/composefs-data", id);
	if (hoy_exists(at->homefd, path))
		return -HOY_EUNSUPPORTED;
	if (!self)
		hoy_strv_pushf(&p->lowers, "%s/diff", dir);
	for (int i = 1; i < MAX_LOWERS; i++) { /* rotated by a chowning remap */
		snprintf(path, sizeof(path), "%s/diff%d", id, i);
		if (!hoy_exists(at->homefd, path))
			break;
		hoy_strv_pushf(&p->lowers, "%s/diff%d", dir, i);
	}
	return p->lowers.error ? -ENOMEM : p->lowers.n > MAX_LOWERS ? -E2BIG : 0;
}

static int plan_lowers(struct hoy_store *s, const char *id, struct plan *p, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int r = hoy_layer_lowers(s, id, &ids, err);

	if (r < 0)
		return r;
	r = add_lower(s, p, id, p->rw);
	for (size_t i = 0; !r && i < ids.n; i++) {
		if (!hoy_is_id(ids.v[i]))
			return hoy_fail(err, HOY_EFORMAT, "layer '%s' names a lower layer that is no id", id);
		r = add_lower(s, p, ids.v[i], false);
	}
	if (r == -HOY_EUNSUPPORTED)
		return hoy_fail(err, HOY_EUNSUPPORTED, "layer '%s' is made of composefs layers, which are not supported", id);
	if (!r && ((!ids.n && p->rw && !p->lowers.n) || (!p->rw && p->lowers.n == 1))) {
		/* Overlay wants a lower, and two of them when there is no upper. */
		cleanup_free char *empty = hoy_layer_path(s, id, "empty");

		if (empty)
			hoy_strv_push(&p->lowers, empty);
		r = empty ? 0 : -ENOMEM;
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot stack the layers of '%s'", id) : 0;
}

/* mount(2) takes one page of options: absolute paths, else descriptors of the lowers, seen from /proc/self/fd. */
static int do_mount(struct hoy_store *s, const char *id, const char *target, struct plan *p)
{
	cleanup_buf struct hoy_buf d = HOY_BUF_INIT(1 << 20);
	cleanup_fd int cwd = -1;
	int fds[MAX_LOWERS + 1], n = 0, r = 0;

	for (size_t i = 0; i < p->lowers.n; i++) {
		const char *l = p->lowers.v[i];

		hoy_buf_printf(&d, "%s%s%s%s", i ? ":" : "lowerdir=", *l == '/' ? "" : s->conf.graphroot, *l == '/' ? "" : "/overlay/", l);
	}
	if (d.len > 3600) {
		cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		hoy_buf_reset(&d);
		for (; n < (int)p->lowers.n && !r; n++) {
			fds[n] = openat(s->own.homefd, p->lowers.v[n], O_PATH | O_DIRECTORY | O_CLOEXEC);
			r = fds[n] < 0 ? -errno : 0;
			hoy_buf_printf(&d, "%s%d", n ? ":" : "lowerdir=", fds[n]);
		}
		if (!r && (cwd < 0 || chdir("/proc/self/fd") < 0))
			r = -errno;
	}
	if (p->rw)
		hoy_buf_printf(&d, ",upperdir=%s/overlay/%s/diff,workdir=%s/overlay/%s/work", s->conf.graphroot, id,
			       s->conf.graphroot, id);
	hoy_buf_puts(&d, hoy_buf_str(&p->tail));
	if (!r && d.error)
		r = -d.error;
	if (!r && mount("overlay", target, "overlay", p->flags, d.data) < 0)
		r = -errno;
	while (n > 0)
		hoy_close(fds[--n]);
	if (cwd >= 0 && fchdir(cwd) < 0 && !r)
		r = -errno;
	return r;
}

/* The upper directory's root belongs to the root of the container. */
static int give_root(const struct hoy_store *s, const char *id, const struct hoy_idmaps *maps, struct hoy_err *err)
{
	char path[HOY_ID_SIZE + 8];
	uint32_t uid, gid;

	if (!hoy_idmap_out(&maps->uid, 0, &uid) || !hoy_idmap_out(&maps->gid, 0, &gid))
		return hoy_fail(err, EINVAL, "container ID 0 cannot be mapped to a host ID");
	snprintf(path, sizeof(path), "%s/diff", id);
	if (fchownat(s->own.homefd, path, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return hoy_fail_errno(err, errno, "cannot give layer '%s' to its owner", id);
	return 0;
}

int hoy_overlay_mount(struct hoy_store *s, const char *id, const char *target, const struct hoy_mount_opts *o,
		      const struct hoy_idmaps *maps, struct hoy_err *err)
{
	struct plan p = { HOY_STRV_INIT, 0, HOY_BUF_INIT(1 << 16), !o->rdonly && hoy_layer_home(s, id) == &s->own };
	char path[HOY_ID_SIZE + 48];
	bool vol = o->vol && !s->conf.disable_volatile;
	int r;

	if (s->conf.mount_program)
		return hoy_fail(err, HOY_EUNSUPPORTED, "mount_program '%s' is not supported: this kernel mounts overlay itself",
				s->conf.mount_program);
	r = plan_lowers(s, id, &p, err);
	if (!r) {
		p.flags = split_options(o->options ? o->options : s->conf.mountopt, vol, &p.tail) |
			  (p.rw ? 0 : MS_RDONLY);
		if (s->rootless)
			hoy_buf_puts(&p.tail, ",userxattr");
		if (vol && p.rw)
			hoy_buf_puts(&p.tail, ",volatile");
		if (o->label && *o->label)
			hoy_buf_printf(&p.tail, ",context=\"%s\"", o->label);
		/* Left by a volatile mount, it would make the kernel refuse this one. */
		snprintf(path, sizeof(path), "%s/work/work/incompat/volatile", id);
		if (p.rw)
			hoy_remove_tree(s->own.homefd, path);
		if ((r = hoy_mkdir_p(target, 0700)) < 0)
			hoy_fail_errno(err, -r, "cannot make the mount point of layer '%s'", id);
	}
	if (!r && !hoy_idmaps_empty(maps)) {
		r = hoy_shift_attach(s, id, maps, &p.lowers, err);
		if (!r && p.rw)
			r = give_root(s, id, maps, err);
	}
	if (!r && (r = do_mount(s, id, target, &p)) < 0)
		hoy_fail_errno(err, -r, "cannot mount layer '%s'", id);
	if (!hoy_idmaps_empty(maps))
		hoy_shift_detach(s, id);
	hoy_strv_release(&p.lowers);
	hoy_buf_release(&p.tail);
	return r;
}

/* A layer of another place is mounted below the runroot: nobody writes there. */
static char *mount_point(const struct hoy_store *s, const char *id)
{
	if (s->vfs)
		return hoy_layer_path(s, id, NULL);
	return hoy_asprintf("%s/overlay/%s/merged", hoy_layer_home(s, id) == &s->own ? s->conf.graphroot : s->conf.runroot, id);
}

static struct hoy_json *count_of(struct hoy_store *s, const char *id)
{
	for (struct hoy_json *r = s->mounts.doc.root->child; r; r = r->next) {
		const char *have = hoy_json_str(r, "id");

		if (have && !strcmp(have, id))
			return r;
	}
	return NULL;
}

static int count_up(struct hoy_store *s, const char *id, const char *path, struct hoy_err *err)
{
	struct hoy_table *t = &s->mounts;
	struct hoy_json *rec = count_of(s, id);

	if (!rec)
		rec = hoy_json_put(&t->doc, t->doc.root, NULL, hoy_json_new(&t->doc, HOY_JSON_OBJECT));
	if (!rec || !hoy_json_set_string(&t->doc, rec, "id", id) || !hoy_json_set_string(&t->doc, rec, "path", path) ||
	    !hoy_json_set_int(&t->doc, rec, "count", hoy_json_int(rec, "count", 0) + 1))
		return hoy_fail_oom(err);
	t->dirty = true;
	return hoy_store_save(s, err);
}

int hoy_layer_mount(struct hoy_store *s, const char *id, const struct hoy_mount_opts *o, char **ret_path,
		    struct hoy_err *err)
{
	cleanup_free char *path = mount_point(s, id);
	struct hoy_idmaps maps = { 0 };
	int r = path ? hoy_store_load_mounts(s, err) : hoy_fail_oom(err);

	if (!r)
		r = bind_home(s, err);
	if (r < 0)
		return r;
	if (!s->vfs && (!count_of(s, id) || !is_mount_point(AT_FDCWD, path))) {
		r = hoy_shift_of(s, id, &maps, err);
		if (!r)
			r = hoy_overlay_mount(s, id, path, o, &maps, err);
	}
	if (!r)
		r = count_up(s, id, path, err);
	if (!r)
		*ret_path = steal_ptr(&path);
	return r;
}

/* A fresh directory takes the place of the mount point, which is never missing. */
static void renew(const struct hoy_store *s, const char *id)
{
	char merged[HOY_ID_SIZE + 8], fresh[HOY_ID_SIZE + 12];
	struct stat st;

	snprintf(merged, sizeof(merged), "%s/merged", id);
	snprintf(fresh, sizeof(fresh), "%s/merged.1", id);
	if (!fstatat(s->own.homefd, merged, &st, 0) && (!mkdirat(s->own.homefd, fresh, 0700) || errno == EEXIST)) {
		(void)!fchownat(s->own.homefd, fresh, st.st_uid, st.st_gid, 0);
		renameat(s->own.homefd, fresh, s->own.homefd, merged);
	}
}

static int detach(struct hoy_store *s, const char *id)
{
	cleanup_free char *path = mount_point(s, id);

	if (!path)
		return -ENOMEM;
	if (s->vfs)
		return 0;
	hoy_shift_detach(s, id); /* left by who died while he mounted it */
	if (umount2(path, MNT_DETACH) < 0)
		return errno == EINVAL || errno == ENOENT ? 0 : -errno;
	if (hoy_layer_home(s, id) == &s->own) {
		renew(s, id);
	} else if (!rmdir(path)) {
		*strrchr(path, '/') = '\0';
		rmdir(path);
	}
	return 0;
}

/*
 * The last mount is gone: home's bind goes too, as the library does at the end of a command (4.5). Only for callers
 * that hold storage.lock.
 */
static int unbind_home(struct hoy_store *s, struct hoy_err *err)
{
	cleanup_free char *home = hoy_path_join(s->conf.graphroot, "overlay");
	struct hoy_stamp stamp;

	if (!home)
		return hoy_fail_oom(err);
	if (s->mounts.doc.root->child || !s->graph.held || s->vfs || s->conf.skip_mount_home || !is_mount_point(AT_FDCWD, home))
		return 0;
	if (hoy_stamp_write(&s->graph, &stamp) < 0 || umount2(home, MNT_DETACH) < 0)
		return hoy_fail_errno(err, errno, "cannot unmount '%s'", home);
	return 0;
}

int hoy_layer_unmount(struct hoy_store *s, const char *id, bool force, struct hoy_err *err)
{
	struct hoy_json *rec;
	int64_t count;
	int r = hoy_store_load_mounts(s, err);

	if (r < 0)
		return r;
	rec = count_of(s, id);
	count = hoy_json_int(rec, "count", 0);
	if (count > 1 && !force) {
		hoy_json_set_int(&s->mounts.doc, rec, "count", count - 1);
	} else if (rec || force) {
		r = detach(s, id);
		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot unmount layer '%s'", id);
		if (!rec)
			return 0;
		hoy_json_remove(s->mounts.doc.root, rec);
	} else {
		return 0;
	}
	s->mounts.dirty = true;
	r = hoy_store_save(s, err);
	return r ? r : unbind_home(s, err);
}

int hoy_layer_mounted(struct hoy_store *s, const char *id, struct hoy_err *err)
{
	int r = hoy_store_load_mounts(s, err);

	for (struct hoy_json *m = r ? NULL : s->mounts.doc.root->child; m; m = m->next) {
		cleanup_strv struct hoy_strv lowers = HOY_STRV_INIT;
		const char *top = hoy_json_str(m, "id"), *path = hoy_json_str(m, "path");

		/* Counts outlast a reboot where the runroot is on a disk: only a mount counts. */
		if (!top || !hoy_is_id(top) || !path || (!s->vfs && !is_mount_point(AT_FDCWD, path)))
			continue;
		r = hoy_layer_lowers(s, top, &lowers, err);
		if (r < 0)
			return r;
		if (!strcmp(top, id) || hoy_strv_has(&lowers, id))
			return 1;
	}
	return r;
}

void hoy_layer_presync(struct hoy_store *s, const char *id, bool vol)
{
	cleanup_free char *path = mount_point(s, id);
	int fd;

	if (!path || s->n_late == ARRAY_SIZE(s->late_fds) || !is_mount_point(AT_FDCWD, path))
		return;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (!vol)
		syncfs(fd);
	s->late_fds[s->n_late++] = fd;
}
