/* cmd-run/fill.c: what happens to volumes at a start: their first filling, and owners that fit the container (U, idmap). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/beneath.h"
#include "common/base/chowntree.h"
#include "common/base/copytree.h"
#include "common/base/fd.h"

/* ---- idmap ---- */

/* "[@]INSIDE-OUTSIDE-SIZE#...": on the disk INSIDE, and OUTSIDE beneath the mount; "@": the container's OUTSIDE. */
static int parse_ranges(const char *text, const struct hoy_idmap *of, struct hoy_idmap *ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;

	hoy_strv_split(&parts, text, '#');
	for (size_t i = 0; i < parts.n; i++) {
		bool relative = parts.v[i][0] == '@';
		struct hoy_idline l;
		int n = 0;

		if (sscanf(parts.v[i] + relative, "%u-%u-%u%n", &l.inside, &l.outside, &l.size, &n) != 3 || parts.v[i][relative + n])
			return hoy_fail(err, EINVAL, "invalid range '%s' in the option idmap: it has the form ID-ID-SIZE", parts.v[i]);
		/* Id by id, since the container's may lie anywhere. */
		for (uint32_t k = 0, out; relative && of->n && k < l.size; k++)
			if (!hoy_idmap_out(of, l.outside + k, &out))
				return hoy_fail(err, EINVAL, "option idmap: the container has no ID %u", l.outside + k);
			else if (hoy_idmap_add(ret, l.inside + k, out, 1) < 0)
				return hoy_fail(err, E2BIG, "option idmap: too many IDs in '%s'", parts.v[i]);
			else
				hoy_idmap_tidy(ret);
		if ((!relative || !of->n) && hoy_idmap_add(ret, l.inside, l.outside, l.size) < 0)
			return hoy_fail(err, E2BIG, "option idmap: too many ranges");
	}
	return 0;
}

int mount_idmap(const char *option, const struct hoy_idmaps *of, struct hoy_idmaps *ret, struct hoy_err *err)
{
	const char *eq = strchr(option, '=');
	cleanup_strv struct hoy_strv kinds = HOY_STRV_INIT;
	int r = 0;

	*ret = *of;
	if (!eq)
		return 0;
	hoy_strv_split(&kinds, eq + 1, ';');
	for (size_t i = 0; i < kinds.n && !r; i++) {
		bool uids = !strncmp(kinds.v[i], "uids=", 5);
		struct hoy_idmap *m = uids ? &ret->uid : &ret->gid;

		if (!uids && strncmp(kinds.v[i], "gids=", 5))
			return hoy_fail(err, EINVAL, "unknown option \"%s\"", kinds.v[i]);
		m->n = 0;
		r = parse_ranges(kinds.v[i] + 5, uids ? &of->uid : &of->gid, m, err);
	}
	return r;
}

int mount_idmap_check(const char *option, struct hoy_err *err)
{
	struct hoy_idmaps none = { 0 }, ignored;

	return mount_idmap(option, &none, &ignored, err);
}

const char *mount_option(const struct hoy_json *m, const char *name)
{
	size_t len = strlen(name);

	HOY_JSON_EACH(it, hoy_json_get(m, "options"))
		if (hoy_json_text(it) && !strncmp(it->str, name, len) && strchr("=", it->str[len]))
			return it->str;
	return NULL;
}

/* ---- the first filling of a volume ---- */

static bool empty_dir(int fd)
{
	int dup = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_dir DIR *d = dup < 0 ? NULL : fdopendir(dup);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			return false;
	return d != NULL;
}

/* What a mount that maps ids shows as ST's owner: who that is on the disk. */
static bool on_disk(const void *arg, const struct stat *st, uid_t *uid, gid_t *gid)
{
	const struct hoy_idmaps *m = arg;

	*uid = st->st_uid;
	*gid = st->st_gid;
	return (!m->uid.n || hoy_idmap_in(&m->uid, st->st_uid, uid)) && (!m->gid.n || hoy_idmap_in(&m->gid, st->st_gid, gid));
}

static int unmap_copy(struct ctr *c, int to, const char *option, struct hoy_err *err)
{
	struct hoy_idmaps of = { 0 }, m;
	const struct hoy_chown how = { on_disk, &m, .keep = true };
	struct stat st;
	uid_t uid;
	gid_t gid;
	int r = ctr_maps(c, &of, err);

	if (!r)
		r = mount_idmap(option, &of, &m, err);
	if (!r)
		r = hoy_chown_tree(to, &how, err);
	if (!r && (fstat(to, &st) < 0 || (on_disk(&m, &st, &uid, &gid) && fchown(to, uid, gid) < 0)))
		r = hoy_fail_errno(err, errno, "cannot change the owner of a volume");
	return r;
}

/* A volume of ours that the image has nothing for is its user's. */
static int give_volume(struct ctr *c, int to, const struct user *u, bool idmap, struct hoy_err *err)
{
	uid_t uid = u->uid;
	gid_t gid = u->gid;
	struct stat st;
	int r = idmap ? 0 : ctr_outside(c, u->uid, u->gid, &uid, &gid, err);

	if (!r && (fstat(to, &st) < 0 || (!st.st_uid && !st.st_gid && (uid || gid) && fchown(to, uid, gid) < 0)))
		r = hoy_fail_errno(err, errno, "cannot change the owner of a volume");
	return r;
}

static int fill_volume(struct ctr *c, int rootfd, const struct hoy_json *m, const struct user *u, struct hoy_err *err)
{
	const char *dest = hoy_json_str(m, "destination"), *idmap = mount_option(m, "idmap");
	cleanup_fd int to = open(hoy_json_str(m, "source"), O_RDONLY | O_DIRECTORY | O_CLOEXEC), from = -1;
	int r;

	if (to < 0)
		return hoy_fail_errno(err, errno, "cannot open volume '%s'", hoy_json_str(m, "name"));
	if (!empty_dir(to))
		return 0;
	from = hoy_open_beneath(rootfd, dest, O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT);
	if (from < 0)
		return give_volume(c, to, u, idmap != NULL, err);
	r = hoy_copy_tree(from, to, false);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot copy '%s' of the image to volume '%s'", dest, hoy_json_str(m, "name"));
	return idmap ? unmap_copy(c, to, idmap, err) : 0;
}

/* ---- U ---- */

/* Directories that no container may take from the host. */
static bool dangerous(const char *path)
{
	static const char *const no[] = { "/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64",
					  "/media", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib",
					  "/var/log" };
	const char *home = getenv("HOME");

	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (!strcmp(path, no[i]))
			return true;
	return home && !strcmp(path, home);
}

struct owner {
	uid_t uid;
	gid_t gid;
};

static bool same_for_all(const void *arg, const struct stat *st, uid_t *uid, gid_t *gid)
{
	const struct owner *o = arg;

	(void)st;
	*uid = o->uid;
	*gid = o->gid;
	return true;
}

static int take_over(struct ctr *c, const char *path, const struct user *u, struct hoy_err *err)
{
	cleanup_free char *real = realpath(path, NULL);
	struct owner o;
	const struct hoy_chown how = { .owner = same_for_all, .arg = &o };
	cleanup_fd int fd = -1, dir = -1;
	struct stat st;
	int r = ctr_outside(c, u->uid, u->gid, &o.uid, &o.gid, err);

	if (r < 0)
		return r;
	if (real && dangerous(real))
		return hoy_fail(err, EPERM, "chowning host path \"%s\" is not allowed. You can manually `chown -R %u:%u %s`", path, o.uid, o.gid, path);
	fd = real ? open(real, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (fd < 0 || fstat(fd, &st) < 0 || ((st.st_uid != o.uid || st.st_gid != o.gid) && fchownat(fd, "", o.uid, o.gid, AT_EMPTY_PATH) < 0))
		return hoy_fail_errno(err, errno, "cannot change the owner of '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return 0;
	dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", path) : hoy_chown_tree(dir, &how, err);
}

/* ---- O ---- */

char *overlay_dir(const struct ctr *c, const struct hoy_json *m)
{
	unsigned n = 0;

	for (const struct hoy_json *it = hoy_json_get(c->def.root, "mounts")->child; it && it != m; it = it->next)
		n++;
	return hoy_asprintf("%s/overlay/%u", c->rundir, n);
}

/* Upper and work directory; the upper one is what is seen of the root, so it is as the volume. */
static int make_overlay(struct ctr *c, const struct hoy_json *m, struct hoy_err *err)
{
	static const char *const names[] = { "upper", "work" };
	cleanup_free char *dir = overlay_dir(c, m);
	cleanup_fd int fd = dir ? hoy_open_dir_p(AT_FDCWD, dir, 0700) : -ENOMEM;
	struct stat st;
	int r = fd < 0 ? fd : stat(hoy_json_str(m, "source"), &st) < 0 ? -errno : 0;

	for (size_t i = 0; i < ARRAY_SIZE(names) && !r; i++)
		if (mkdirat(fd, names[i], 0700) < 0 || fchownat(fd, names[i], st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		    fchmodat(fd, names[i], st.st_mode & 07777, 0) < 0)
			r = -errno;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot make an overlay of '%s'", hoy_json_str(m, "source")) : 0;
}

int fill_volumes(struct ctr *c, int rootfd, const struct user *u, struct hoy_err *err)
{
	int r = 0;

	HOY_JSON_EACH(m, hoy_json_get(c->def.root, "mounts")) {
		bool tmpfs = !strcmp(hoy_json_str(m, "type") ?: "", "tmpfs");

		if (!r && hoy_json_bool(m, "copy", false))
			r = fill_volume(c, rootfd, m, u, err);
		if (!r && !tmpfs && mount_option(m, "U"))
			r = take_over(c, hoy_json_str(m, "source"), u, err);
		if (!r && mount_option(m, "O") && !mount_option(m, "upperdir"))
			r = make_overlay(c, m, err);
	}
	return r;
}
