#include "cmd-image/transfer/compare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "cmd-image/transfer/unpack.h"
#include "common/base/beneath.h"

#define MODIFIED ", layer content modified"

void compare_init(struct compare *c, int rootfd, bool userns, bool any_owner)
{
	*c = (struct compare){ .rootfd = rootfd, .userns = userns, .any_owner = any_owner, .parentfd = -1, .last = -1 };
}

void compare_release(struct compare *c)
{
	posmap_release(&c->known);
	posmap_release(&c->faults);
	posmap_release(&c->linked);
	hoy_strv_release(&c->found);
	hoy_close(c->parentfd);
	c->parentfd = -1;
}

static uint64_t key_of(uint64_t dir, const char *name)
{
	uint64_t h = 0xcbf29ce484222325 ^ dir * 0x9e3779b97f4a7c15;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3;
	return h ^ h >> 32;
}

/* What was found out about NAME before counts no more. */
static void settle(struct compare *c, const char *name)
{
	uint64_t at;

	c->last = -1;
	if (!c->faults.n || !posmap_get(&c->faults, key_of(c->parent_ino, name), &at) || !at)
		return;
	c->found.v[at - 1][0] = '\0';
	posmap_put(&c->faults, key_of(c->parent_ino, name), 0);
}

static int fault(struct compare *c, const char *name, const char *fmt, ...) HOY_PRINTF(3, 4);
static int fault(struct compare *c, const char *name, const char *fmt, ...)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	va_list ap;

	va_start(ap, fmt);
	hoy_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	hoy_buf_puts(&b, MODIFIED);
	hoy_strv_take(&c->found, hoy_buf_steal(&b));
	if (c->found.error)
		return -ENOMEM;
	c->last = (long)c->found.n - 1;
	return posmap_put(&c->faults, key_of(c->parent_ino, name), c->found.n);
}

void compare_forget_last(struct compare *c)
{
	if (c->last >= 0)
		c->found.v[c->last][0] = '\0';
	c->last = -1;
}

/* The directories on the way are accounted for, whether the tar names them or not. */
static int know_parents(struct compare *c, const char *path)
{
	char part[TAR_NAME_MAX + 1];

	for (const char *p = path; p && *p;) {
		const char *slash = strchr(p, '/');
		size_t len = slash ? (size_t)(slash - path) : strlen(path);
		cleanup_fd int fd = -1;
		struct stat st;

		memcpy(part, path, len);
		part[len] = '\0';
		fd = hoy_open_beneath(c->rootfd, part, O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT);
		if (fd < 0)
			return fd;
		if (!fstat(fd, &st) && posmap_put(&c->known, st.st_ino, 1) < 0)
			return -ENOMEM;
		p = slash ? slash + 1 : NULL;
	}
	return 0;
}

/* Open the directory that PATH lies in, following links as unpacking does; *RET_NAME is the last component. */
static int enter(struct compare *c, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	struct stat st;
	int r;

	*ret_name = slash ? slash + 1 : path;
	if (c->parentfd >= 0 && strlen(c->parent) == len && !memcmp(c->parent, path, len))
		return 0;
	hoy_close(c->parentfd);
	c->parentfd = -1;
	memcpy(c->parent, path, len);
	c->parent[len] = '\0';
	r = know_parents(c, c->parent);
	if (r < 0)
		return r;
	c->parentfd = hoy_open_beneath(c->rootfd, len ? c->parent : ".", O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT);
	if (c->parentfd < 0)
		return c->parentfd;
	if (fstat(c->parentfd, &st) < 0)
		return -errno;
	c->parent_ino = st.st_ino;
	return 0;
}

static mode_t kind_of(char type)
{
	switch (type) {
	case '2': return S_IFLNK;
	case '3': return S_IFCHR;
	case '4': return S_IFBLK;
	case '5': return S_IFDIR;
	case '6': return S_IFIFO;
	}
	return S_IFREG;
}

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFLNK: return "symlink";
	case S_IFCHR: return "character device";
	case S_IFBLK: return "block device";
	case S_IFDIR: return "directory";
	case S_IFIFO: return "fifo";
	case S_IFREG: return "file";
	}
	return "socket";
}

static bool same_target(const struct compare *c, const char *name, const struct tar_entry *e)
{
	char have[TAR_NAME_MAX + 2];
	ssize_t n = readlinkat(c->parentfd, name, have, sizeof(have));

	return n >= 0 && (size_t)n == e->link.len && !memcmp(have, hoy_buf_str(&e->link), n);
}

#define ARROW "\xef\xbf\xab" /* as podman prints it */

/* What differs between ST and E: "mode:0644￫0600,uid:0￫5"; empty if nothing does. */
static void differences(const struct compare *c, const char *name, const struct tar_entry *e, const struct stat *st, struct hoy_buf *b)
{
	bool link = e->type == '1';
	mode_t kind = link ? st->st_mode & S_IFMT : kind_of(e->type);
	/* Unpacking takes what was before 1970 for 1970, as the library does. */
	int64_t mtime = e->mtime < 0 ? 0 : e->mtime;
#define PUT(...) (hoy_buf_puts(b, b->len ? "," : ""), hoy_buf_printf(b, __VA_ARGS__))

	if ((st->st_mode & S_IFMT) != kind) {
		PUT("filetype:%s" ARROW "%s", kind_name(kind), kind_name(st->st_mode));
		return;
	}
	if (!c->any_owner && st->st_uid != (uid_t)e->uid)
		PUT("uid:%lld" ARROW "%u", (long long)e->uid, st->st_uid);
	if (!c->any_owner && st->st_gid != (gid_t)e->gid)
		PUT("gid:%lld" ARROW "%u", (long long)e->gid, st->st_gid);
	if (kind == S_IFREG && !link && st->st_size != tar_file_size(e))
		PUT("size:%lld" ARROW "%lld", (long long)tar_file_size(e), (long long)st->st_size);
	if (kind != S_IFLNK && (st->st_mode & 07777) != (e->mode & 07777))
		PUT("mode:%04o" ARROW "%04o", e->mode & 07777, st->st_mode & 07777);
	if (!(link && kind == S_IFLNK) && st->st_mtim.tv_sec != mtime && !(c->files_times_only && !S_ISREG(st->st_mode)))
		PUT("mtime:%#llx" ARROW "%#llx", (long long)mtime, (long long)st->st_mtim.tv_sec);
	if (kind == S_IFLNK && !link && !same_target(c, name, e))
		PUT("target of the link");
	if ((kind == S_IFCHR || kind == S_IFBLK) && !link && st->st_rdev != makedev(e->major, e->minor))
		PUT("device:%u:%u" ARROW "%u:%u", e->major, e->minor, major(st->st_rdev), minor(st->st_rdev));
#undef PUT
}

/* A hard link is the file that it names. */
static bool same_file(const struct compare *c, const struct tar_entry *e, const struct stat *st)
{
	char target[TAR_NAME_MAX + 1];
	cleanup_fd int fd = -1;
	struct stat other;

	if (tar_clean(hoy_buf_str(&e->link), e->link.len, target, sizeof(target)) <= 0)
		return false;
	fd = hoy_open_beneath(c->rootfd, target, O_PATH | O_NOFOLLOW, 0, HOY_IN_ROOT);
	return fd >= 0 && !fstat(fd, &other) && other.st_ino == st->st_ino;
}

static bool opaque(const struct compare *c)
{
	char v[2];

	return fgetxattr(c->parentfd, c->userns ? "user.overlay.opaque" : "trusted.overlay.opaque", v, sizeof(v)) == 1 && v[0] == 'y';
}

/* ".wh.NAME" is a device 0:0 called NAME, ".wh..wh..opq" a mark on the directory; or, with a mount program, files of those names. */
static int whiteout(struct compare *c, const char *path, const char *base)
{
	const char *name = base + 4;
	struct stat st;

	settle(c, name);
	if (!strcmp(name, ".wh..opq") && opaque(c))
		return 0;
	if (!fstatat(c->parentfd, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISCHR(st.st_mode) && !st.st_rdev)
		return posmap_put(&c->known, st.st_ino, 1);
	if (!fstatat(c->parentfd, base, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
		return posmap_put(&c->known, st.st_ino, 1);
	return fault(c, name, "-/%s", path);
}

static int entry_at(struct compare *c, const struct tar_entry *e, const char *path, const char *name)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4096);
	struct stat st;
	uint64_t at;

	settle(c, name);
	if (fstatat(c->parentfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return c->userns && (e->type == '3' || e->type == '4') ? 0 : fault(c, name, "-/%s", path);
	if (posmap_put(&c->known, st.st_ino, 1) < 0)
		return -ENOMEM;
	if (e->type == '1' && !same_file(c, e, &st))
		return fault(c, name, "/%s(no link to %s)", path, hoy_buf_str(&e->link));
	/* What a link's entry says counts for the file, whatever its first entry said. */
	if (e->type == '1' && c->linked.n && posmap_get(&c->linked, st.st_ino, &at))
		c->found.v[at - 1][0] = '\0';
	differences(c, name, e, &st, &b);
	if (b.len && fault(c, name, "/%s(%s)", path, hoy_buf_str(&b)) < 0)
		return -ENOMEM;
	return b.len && st.st_nlink > 1 ? posmap_put(&c->linked, st.st_ino, c->found.n) : 0;
}

int compare_entry(struct compare *c, const struct tar_entry *e)
{
	char path[TAR_NAME_MAX + 1];
	const char *name;
	int n = tar_clean(hoy_buf_str(&e->name), e->name.len, path, sizeof(path)), r;

	c->last = -1;
	/* The root's own attributes are the parent layer's; a global header is no file. */
	if (n <= 0 || e->type == 'g')
		return 0;
	r = enter(c, path, &name);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		c->parent_ino = 0;
	if (r == -ENOTDIR) /* what the way leads through was replaced by a later entry, or has a fault of its own */
		return 0;
	if (r < 0)
		return !strncmp(name, ".wh.", 4) ? 0 : fault(c, path, "-/%s", path);
	return !strncmp(name, ".wh.", 4) ? whiteout(c, path, name) : entry_at(c, e, path, name);
}

/* ---- what is there beside ---- */

static int look_at(struct compare *c, int dirfd, const char *dir, const char *name, struct hoy_strv *todo)
{
	struct stat st;
	uint64_t v;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!posmap_get(&c->known, st.st_ino, &v))
		hoy_strv_take(&c->found, hoy_asprintf("+/%s%s%s%s" MODIFIED, dir, *dir ? "/" : "", name, S_ISDIR(st.st_mode) ? "/" : ""));
	if (S_ISDIR(st.st_mode))
		hoy_strv_pushf(todo, "%s%s%s", dir, *dir ? "/" : "", name);
	return c->found.error || todo->error ? -ENOMEM : 0;
}

static int look_into(struct compare *c, const char *dir, struct hoy_strv *todo)
{
	int fd = hoy_open_beneath(c->rootfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, HOY_IN_ROOT), r = 0;
	cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return fd < 0 ? fd : -errno;
	while (!r && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = look_at(c, dirfd(d), dir, e->d_name, todo);
	return r;
}

int compare_end(struct compare *c)
{
	cleanup_strv struct hoy_strv todo = HOY_STRV_INIT;
	int r;

	hoy_strv_push(&todo, "");
	for (r = 0; !r && todo.n && !todo.error;) {
		cleanup_free char *dir = strdup(todo.v[todo.n - 1]);

		hoy_strv_remove(&todo, todo.n - 1);
		r = dir ? look_into(c, dir, &todo) : -ENOMEM;
	}
	for (size_t i = c->found.n; i-- > 0;)
		if (!*c->found.v[i])
			hoy_strv_remove(&c->found, i);
	return r ? r : todo.error ? -ENOMEM : 0;
}
