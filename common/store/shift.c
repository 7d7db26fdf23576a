#include "common/store/shift.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/chowntree.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/proc/sys.h"
#include "common/store/layers.h"

#define MARK "idmapped-lower-dir-"

/* ---- mounts that shift ---- */

static int map_userns(const struct hoy_idmaps *maps, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf u = HOY_BUF_INIT(1 << 16), g = HOY_BUF_INIT(1 << 16);

	hoy_idmap_text(&maps->uid, &u);
	hoy_idmap_text(&maps->gid, &g);
	return u.error || g.error ? hoy_fail_oom(err) : hoy_idmap_userns(hoy_buf_str(&u), hoy_buf_str(&g), err);
}

/* A clone of the directory FROM at DIRFD, shifted as USERNS says, on the directory TO there. */
static int attach_clone(int dirfd, const char *from, const char *to, int userns)
{
	struct sys_mount_attr a = { .set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns };
	cleanup_fd int tree = sys_open_tree(dirfd, from, OPEN_TREE_CLONE);
	cleanup_fd int at = tree < 0 ? -1 : openat(dirfd, to, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return at < 0 || sys_mount_setattr(tree, 0, &a) < 0 || sys_attach(tree, at) < 0 ? -errno : 0;
}

/* "DIR/diff1" or "DIR/diff": its last part, and DIR without it in RET; NULL if it has none. */
static const char *split(const char *path, char ret[PATH_MAX])
{
	const char *slash = strrchr(path, '/');

	if (!slash || slash == path || slash - path >= PATH_MAX)
		return NULL;
	snprintf(ret, PATH_MAX, "%.*s", (int)(slash - path), path);
	return slash + 1;
}

int hoy_shift_attach(const struct hoy_store *s, const char *id, const struct hoy_idmaps *maps, struct hoy_strv *lowers, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv to = HOY_STRV_INIT;
	cleanup_fd int ns = map_userns(maps, err);
	char dir[PATH_MAX], last[PATH_MAX] = "", at[HOY_ID_SIZE + 32];
	int n = -1, r = ns < 0 ? ns : 0;

	snprintf(at, sizeof(at), "%s/mapped", id);
	if (!r && mkdirat(s->own.homefd, at, 0700) < 0 && errno != EEXIST)
		r = hoy_fail_errno(err, errno, "cannot make '%s'", at);
	for (size_t i = 0; !r && i < lowers->n; i++) {
		const char *leaf = split(lowers->v[i], dir);
		bool again = leaf && !strcmp(dir, last); /* diff and diff1 of one layer */

		snprintf(at, sizeof(at), "%s/mapped/%d", id, again ? n : ++n);
		if (!again && mkdirat(s->own.homefd, at, 0700) < 0 && errno != EEXIST)
			r = -errno;
		if (!r && !again)
			r = leaf ? attach_clone(s->own.homefd, dir, at, ns) : -EINVAL;
		if (r < 0)
			hoy_fail_errno(err, -r, "cannot mount '%s' with the ids of the container", lowers->v[i]);
		snprintf(last, sizeof(last), "%s", dir);
		hoy_strv_pushf(&to, "%s/%s", at, leaf);
	}
	if (!r && to.error)
		r = hoy_fail_oom(err);
	for (size_t i = 0; !r && i < to.n; i++) {
		free(lowers->v[i]);
		lowers->v[i] = steal_ptr(&to.v[i]);
	}
	return r;
}

void hoy_shift_detach(const struct hoy_store *s, const char *id)
{
	cleanup_free char *dir = hoy_asprintf("%s/overlay/%s/mapped", s->conf.graphroot, id);
	cleanup_dir DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		cleanup_free char *path = *e->d_name == '.' ? NULL : hoy_path_join(dir, e->d_name);

		if (path)
			umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	}
}

int hoy_shift_of(const struct hoy_store *s, const char *id, struct hoy_idmaps *ret, struct hoy_err *err)
{
	const struct hoy_json *rec = hoy_layer_get(s, id), *parent;
	char rotated[HOY_ID_SIZE + 8];

	memset(ret, 0, sizeof(*ret));
	if (!hoy_json_get(rec, "uidmap") && !hoy_json_get(rec, "gidmap"))
		return 0;
	parent = hoy_layer_get(s, hoy_json_str(rec, "parent") ?: "");
	snprintf(rotated, sizeof(rotated), "%s/diff1", id);
	/* What has been chowned is as the container wants it. */
	if (!parent || hoy_json_get(parent, "uidmap") || hoy_json_get(parent, "gidmap") || hoy_exists(hoy_layer_home(s, id)->homefd, rotated) ||
	    !hoy_shift_mounts(s))
		return 0;
	if (hoy_idmaps_read(rec, ret) < 0)
		return hoy_fail(err, HOY_EFORMAT, "layer '%s' has an invalid id map", id);
	return 0;
}

/* ---- does the kernel do it? ---- */

static const char *const probe_dirs[] = { "lower", "mapped", "upper", "work", "merged" };

/* In a mount namespace of its own, so that nothing stays. */
static int try_it(int dir, const char *path)
{
	const struct hoy_idmaps maps = { { 1, { { 0, 0, 1 } } }, { 1, { { 0, 0, 1 } } } };
	cleanup_fd int ns = map_userns(&maps, NULL);
	cleanup_free char *data = hoy_asprintf("lowerdir=%s/mapped,upperdir=%s/upper,workdir=%s/work", path, path, path);
	cleanup_free char *merged = hoy_path_join(path, "merged");

	if (ns < 0 || !data || !merged || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 1;
	return attach_clone(dir, "lower", "mapped", ns) < 0 || mount("overlay", merged, "overlay", 0, data) < 0;
}

static bool probe(const struct hoy_store *s)
{
	cleanup_free char *path = hoy_asprintf("%s/overlay/compatXXXXXX", s->conf.graphroot);
	cleanup_fd int dir = -1;
	int status = 1, r = 0;
	pid_t pid = -1;

	if (!path || !mkdtemp(path))
		return false;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(probe_dirs) && !r; i++)
		r = mkdirat(dir, probe_dirs[i], 0700);
	pid = r < 0 ? -1 : fork();
	if (!pid)
		_exit(try_it(dir, path));
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	hoy_remove_tree(AT_FDCWD, path);
	return !status;
}

bool hoy_shift_mounts(const struct hoy_store *s)
{
	const char *off = getenv("_CONTAINERS_OVERLAY_DISABLE_IDMAP");
	cleanup_fd int dir = -1, mark = -1;
	bool yes;

	/* The kernel lets only those shift who own the file system. */
	if ((off && !strcmp(off, "yes")) || s->vfs || s->rootless || s->conf.mount_program || s->runfd < 0)
		return false;
	if (!faccessat(s->runfd, "overlay/" MARK "true", F_OK, 0))
		return true;
	if (!faccessat(s->runfd, "overlay/" MARK "false", F_OK, 0))
		return false;
	yes = probe(s);
	dir = hoy_open_dir_p(s->runfd, "overlay", 0700);
	if (dir >= 0)
		mark = openat(dir, yes ? MARK "true" : MARK "false", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return yes;
}

/* ---- chowned copies ---- */

static bool shift_id(const struct hoy_idmap *from, const struct hoy_idmap *to, uint32_t id, uint32_t *ret)
{
	return (!from->n || hoy_idmap_in(from, id, &id)) && hoy_idmap_out(to, id, ret);
}

struct maps {
	const struct hoy_idmaps *from, *to;
};

static bool shifted(const void *arg, const struct stat *st, uid_t *uid, gid_t *gid)
{
	const struct maps *m = arg;

	return shift_id(&m->from->uid, &m->to->uid, st->st_uid, uid) && shift_id(&m->from->gid, &m->to->gid, st->st_gid, gid);
}

/* In a mount namespace of our own: whoever kills us, the mount goes, and nobody has seen it. */
static int chown_mounted(struct hoy_store *s, const char *id, const struct hoy_idmaps *from, const struct hoy_idmaps *to, struct hoy_err *err)
{
	struct hoy_mount_opts o = { 0 };
	const struct maps maps = { from, to };
	const struct hoy_chown how = { shifted, &maps, .overlay = true, .keep = true };
	cleanup_free char *target = hoy_layer_path(s, id, "merged");
	cleanup_fd int root = -1;
	int r;

	/* With its parent: the layer is incomplete then, and goes. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!target || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return hoy_fail_errno(err, target ? errno : ENOMEM, "cannot make a mount namespace");
	r = hoy_overlay_mount(s, id, target, &o, NULL, err);
	if (!r && (root = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		r = hoy_fail_errno(err, errno, "cannot open '%s'", target);
	if (!r)
		r = hoy_chown_tree(root, &how, err);
	if (!r && syncfs(root) < 0)
		r = hoy_fail_errno(err, errno, "cannot write layer '%s'", id);
	return r;
}

/* diff becomes diff1, diff1 diff2..., and there is a new one; and a new work directory, since overlay notes things in that. */
static int rotate(const struct hoy_place *p, const char *id, const struct hoy_idmaps *to)
{
	cleanup_fd int dir = openat(p->homefd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const char *const fresh[] = { "work", "diff" };
	char a[24] = "diff", b[24];
	uint32_t uid, gid;
	struct stat st;
	int n = 0, r;

	if (dir < 0 || fstatat(dir, "diff", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!hoy_idmap_out(&to->uid, 0, &uid) || !hoy_idmap_out(&to->gid, 0, &gid))
		return -EINVAL;
	for (; hoy_exists(dir, a); snprintf(a, sizeof(a), "diff%d", n))
		n++;
	for (; n > 0; n--) {
		snprintf(a, sizeof(a), n > 1 ? "diff%d" : "diff", n - 1);
		snprintf(b, sizeof(b), "diff%d", n);
		if (renameat(dir, a, dir, b) < 0)
			return -errno;
	}
	r = hoy_remove_tree(dir, "work");
	for (size_t i = 0; i < ARRAY_SIZE(fresh) && !r; i++)
		if (mkdirat(dir, fresh[i], 0700) < 0 || fchownat(dir, fresh[i], uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		    fchmodat(dir, fresh[i], i ? st.st_mode & 07777 : 0555, 0) < 0)
			r = -errno;
	return r;
}

static int in_child(struct hoy_store *s, const char *id, const struct hoy_idmaps *from, const struct hoy_idmaps *to, struct hoy_err *err)
{
	struct hoy_err theirs = HOY_ERR_INIT;
	int p[2], status = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe");
	pid = fork();
	if (!pid) {
		(void)chown_mounted(s, id, from, to, &theirs);
		_exit(hoy_write_full(p[1], &theirs, sizeof(theirs)) < 0);
	}
	hoy_close(p[1]);
	n = pid < 0 ? -1 : hoy_read_full(p[0], &theirs, sizeof(theirs));
	hoy_close(p[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || n != (ssize_t)sizeof(theirs))
		return hoy_fail(err, ECHILD, "who changed the owners in layer '%s' died", id);
	if (theirs.code && err)
		*err = theirs;
	return theirs.code ? -theirs.code : 0;
}

int hoy_shift_chown(struct hoy_store *s, const char *id, const struct hoy_idmaps *from, const struct hoy_idmaps *to, struct hoy_err *err)
{
	int r = in_child(s, id, from, to, err);

	if (!r && (r = rotate(hoy_layer_home(s, id), id, to)) < 0)
		hoy_fail_errno(err, -r, "cannot rotate the directories of layer '%s'", id);
	return r;
}

int hoy_shift_chown_dir(struct hoy_store *s, const char *id, const struct hoy_idmaps *to, struct hoy_err *err)
{
	const struct hoy_idmaps none = { 0 };
	const struct maps maps = { &none, to };
	const struct hoy_chown how = { shifted, &maps, .keep = true };
	cleanup_fd int dir = hoy_layer_open_diff(s, id);
	struct stat st;
	uid_t uid;
	gid_t gid;

	if (dir < 0 || fstat(dir, &st) < 0)
		return hoy_fail_errno(err, dir < 0 ? -dir : errno, "cannot open layer '%s'", id);
	if (!shifted(&maps, &st, &uid, &gid))
		return hoy_fail(err, EINVAL, "container ID 0 cannot be mapped to a host ID");
	if (fchown(dir, uid, gid) < 0)
		return hoy_fail_errno(err, errno, "cannot give layer '%s' to its owner", id);
	return hoy_chown_tree(dir, &how, err);
}

/* ---- what a container stands on ---- */

/* Does layer ID have these maps? A layer that is not there has none. */
static bool fits(const struct hoy_store *s, const char *id, const struct hoy_idmaps *maps)
{
	const struct hoy_json *rec = hoy_layer_get(s, id ?: "");
	struct hoy_idmaps have = { 0 };

	return rec && hoy_layer_whole(s, id) && !hoy_idmaps_read(rec, &have) && hoy_idmap_same(&have.uid, &maps->uid) &&
	       hoy_idmap_same(&have.gid, &maps->gid);
}

static int note_mapped(struct hoy_store *s, struct hoy_json *image, const char *id, struct hoy_err *err)
{
	struct hoy_table *t = &hoy_image_place(s, image)->images;
	struct hoy_json *list = hoy_json_need(&t->doc, image, "mapped-layers", HOY_JSON_ARRAY);

	t->dirty = true;
	return list && hoy_json_set_string(&t->doc, list, NULL, id) ? hoy_store_save(s, err) : hoy_fail_oom(err);
}

int hoy_shift_parent(struct hoy_store *s, struct hoy_json *image, const struct hoy_idmaps *maps, char ret[HOY_ID_SIZE], struct hoy_err *err)
{
	const char *top = hoy_json_str(image, "layer") ?: "";
	const struct hoy_json *rec = hoy_layer_get(s, top);
	int r;

	snprintf(ret, HOY_ID_SIZE, "%s", top);
	if (!rec || hoy_shift_mounts(s) || fits(s, top, maps) || s->vfs)
		return 0;
	HOY_JSON_EACH(m, hoy_json_get(image, "mapped-layers"))
		if (fits(s, hoy_json_text(m), maps)) {
			snprintf(ret, HOY_ID_SIZE, "%s", m->str);
			return 0;
		}
	/* Nothing can be added to an image of a store that is only read: then the container's own layer is chowned. */
	if (hoy_image_place(s, image)->rdonly || hoy_layer_place(s, rec)->rdonly)
		return 0;
	r = hoy_layer_create_mapped(s, rec, maps, ret, err);
	return r ? r : note_mapped(s, image, ret, err);
}

int hoy_shift_lock(const struct hoy_store *s, struct hoy_lock *lock, struct hoy_err *err)
{
	int r = hoy_lock_open(lock, s->graphfd, "userns.lock", false);

	if (!r)
		r = hoy_lock_take(lock, true);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot lock 'userns.lock' of the store '%s'", s->conf.graphroot) : 0;
}
