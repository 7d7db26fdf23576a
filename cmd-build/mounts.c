#include "cmd-build/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd-build/build.h"
#include "cmd-build/source.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/conf/dirs.h"
#include "common/proc/sys.h"
#include "common/store/mountcaches.h"

struct mount_lock {
	struct hoy_lock lock; /* not opened: others may use the cache, too */
	int dir;	      /* the cache's lock directory */
	struct mount_lock *next;
};

static int fail(struct state *s, const char *what, const char *path) { return hoy_fail_errno(&s->b->err, errno, "cannot %s '%s'", what, path); }

char *mounts_path(struct state *s, struct run_mounts *m, const char *kind)
{
	int r = need_tmp(s->b);

	if (!r && strpbrk(s->b->tmp, ",:\\"))
		r = hoy_fail(&s->b->err, EINVAL, "'%s': a directory for mounts must have no comma, colon or backslash in its name (set: TMPDIR)", s->b->tmp);
	if (r < 0)
		return NULL;
	hoy_strv_pushf(&m->made, "%s/%s-%.12s-%zu", s->b->tmp, kind, s->work->id, m->made.n);
	return m->made.error ? NULL : strdup(m->made.v[m->made.n - 1]);
}

struct run_mount *mounts_add(struct run_mounts *m, const char *source, const char *target, bool rdonly)
{
	struct run_mount *v = realloc(m->v, (m->n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	m->v = v;
	v[m->n] = (struct run_mount){ .source = source ? strdup(source) : NULL, .target = strdup(target), .rdonly = rdonly, .options = HOY_STRV_INIT };
	if ((source && !v[m->n].source) || !v[m->n].target) {
		free(v[m->n].source);
		free(v[m->n].target);
		return NULL;
	}
	return &v[m->n++];
}

/* ---- sources ---- */

/* What FD is open on, mounted at a path of ours: whatever becomes of the names that led to it, this stays what was looked up. */
static char *pin(struct state *s, struct run_mounts *m, int fd, bool alone)
{
	cleanup_free char *path = mounts_path(s, m, "mount");
	cleanup_fd int tree = -1, at = -1;
	struct stat st;

	if (!path)
		return NULL;
	if (fstat(fd, &st) < 0 || (S_ISDIR(st.st_mode) ? mkdir(path, 0700) : mknod(path, S_IFREG | 0600, 0)) < 0) {
		fail(s, "create", path);
		return NULL;
	}
	tree = sys_open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | (alone ? 0 : AT_RECURSIVE));
	at = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (tree < 0 || at < 0 || sys_attach(tree, at) < 0) {
		fail(s, "mount", path);
		return NULL;
	}
	hoy_strv_push(&m->mounted, path);
	return steal_ptr(&path);
}

/* A directory as LOWER, in which what is written goes away with the RUN. */
static char *over(struct state *s, struct run_mounts *m, const char *lower, const struct stat *st)
{
	cleanup_free char *path = mounts_path(s, m, "over"), *upper = path ? hoy_path_join(path, "upper") : NULL, *work = path ? hoy_path_join(path, "work") : NULL;
	cleanup_free char *merged = path ? hoy_path_join(path, "merged") : NULL, *opts = NULL;

	if (!upper || !work || !merged)
		return NULL;
	opts = hoy_asprintf("lowerdir=%s,upperdir=%s,workdir=%s,volatile%s", lower, upper, work, hoy_in_userns() && hoy_rootless() ? ",userxattr" : "");
	if (mkdir(path, 0700) < 0 || mkdir(upper, 0700) < 0 || mkdir(work, 0700) < 0 || mkdir(merged, 0700) < 0 ||
	    chown(upper, st->st_uid, st->st_gid) < 0 || chmod(upper, st->st_mode & 07777) < 0 || !opts || mount("overlay", merged, "overlay", 0, opts) < 0) {
		fail(s, "mount an overlay on", lower);
		return NULL;
	}
	hoy_strv_push(&m->mounted, merged);
	return steal_ptr(&merged);
}

/* A file as FD, which can be written to; that goes away with the RUN. */
static char *copied(struct state *s, struct run_mounts *m, int at, const struct stat *st)
{
	cleanup_free char *path = mounts_path(s, m, "file"), *self = hoy_asprintf("/proc/self/fd/%d", at);
	cleanup_fd int in = self ? open(self, O_RDONLY | O_CLOEXEC) : -1;
	cleanup_fd int out = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
	ssize_t n = in < 0 || out < 0 ? -errno : hoy_copy_fd(in, out);

	if (n < 0 || fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0) {
		hoy_fail_errno(&s->b->err, n < 0 ? (int)-n : errno, "cannot copy what is mounted");
		return NULL;
	}
	return steal_ptr(&path);
}

static struct source *open_from(struct state *s, const struct mount_spec *spec, struct run_mounts *m)
{
	struct source *src = calloc(1, sizeof(*src));

	if (!src) {
		hoy_fail_oom(&s->b->err);
		return NULL;
	}
	src->next = m->sources;
	m->sources = src;
	return source_open_seen(s, spec->from, src) < 0 ? NULL : src;
}

/* PATH beneath ROOT, which is taken for "/". */
static int open_below(struct state *s, const char *root, const char *path)
{
	cleanup_fd int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = dir < 0 ? -errno : hoy_open_beneath(dir, path && *path ? path : ".", O_PATH, 0, HOY_IN_ROOT);

	return fd < 0 ? hoy_fail_errno(&s->b->err, -fd, "cannot mount '%s' of '%s'", path ?: "", root) : fd;
}

static int finish(struct state *s, struct run_mounts *m, const struct mount_spec *spec, const char *path, bool rdonly)
{
	struct run_mount *v = path ? mounts_add(m, path, spec->target, rdonly) : NULL;

	for (size_t i = 0; v && i < spec->options.n; i++)
		hoy_strv_push(&v->options, spec->options.v[i]);
	if (v && spec->alone)
		hoy_strv_push(&v->options, "bind");
	return v && !v->options.error ? 0 : s->b->err.code ? -s->b->err.code : hoy_fail_oom(&s->b->err);
}

static int mount_bind(struct state *s, const struct mount_spec *spec, struct run_mounts *m)
{
	struct source *src = open_from(s, spec, m);
	cleanup_fd int fd = src ? open_below(s, src->path, spec->source) : -1;
	cleanup_free char *path = NULL;
	bool write = spec->access == ACCESS_WRITE || hoy_strv_has(&spec->options, "U");
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return s->b->err.code ? -s->b->err.code : -errno;
	if (write && S_ISREG(st.st_mode))
		path = copied(s, m, fd, &st);
	else
		path = pin(s, m, fd, spec->alone);
	if (path && write && S_ISDIR(st.st_mode)) {
		char *merged = over(s, m, path, &st);

		free(path);
		path = merged;
	}
	return finish(s, m, spec, path, spec->access != ACCESS_WRITE);
}

/* ---- caches ---- */

/* The name that the directory of the cache ID has. Digests are hoy-builder's. */
static int cache_name(struct state *s, const char *id, char name[32])
{
	const char *words[] = { "name", "--", id, NULL };
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(4096);
	int status = hoy_call_tool("hoy-builder", words, &out);

	if (status || out.len < 16 || !hoy_is_hex(out.data, 16))
		return hoy_fail(&s->b->err, HOY_EREMOTE, "hoy-builder did not name a cache");
	snprintf(name, 32, "%.16s", out.data);
	return 0;
}

static int open_cache(struct state *s, int parent, const char *name, const struct mount_spec *spec)
{
	bool fresh = !mkdirat(parent, name, 0700);
	cleanup_fd int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return fail(s, "open the cache", name);
	if (fresh && (fchown(fd, spec->uid, spec->gid) < 0 || fchmod(fd, spec->has_mode ? spec->mode : 0755) < 0))
		return fail(s, "set the owner of the cache", name);
	return steal_fd(&fd);
}

/* Cache NAME is in use from now on; nobody's lock yet. */
static struct mount_lock *use_cache(struct state *s, struct run_mounts *m, int parent, const char *name)
{
	struct mount_lock *l = calloc(1, sizeof(*l));

	if (!l) {
		hoy_fail_oom(&s->b->err);
		return NULL;
	}
	*l = (struct mount_lock){ HOY_LOCK_INIT, hoy_mountcache_use(parent, name), m->locks };
	m->locks = l;
	if (l->dir < 0)
		hoy_fail_errno(&s->b->err, -l->dir, "cannot lock the cache");
	return l->dir < 0 ? NULL : l;
}

/* The lock of the cache NAME: *RET is false if WAIT is and somebody else has it. */
static int take_lock(struct state *s, struct run_mounts *m, int parent, const char *name, bool wait, bool *ret)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	struct mount_lock *l = use_cache(s, m, parent, name);
	int r = l ? hoy_lock_open(&l->lock, l->dir, "buildah-cache-lockfile", false) : -s->b->err.code;

	/* A signal must end the waiting: that's why it isn't done by the kernel. */
	while (!r && (r = hoy_lock_try(&l->lock, true)) == -EAGAIN && wait) {
		if (stopped(s->b) < 0)
			return -ECANCELED;
		nanosleep(&pause, NULL);
		r = 0;
	}
	*ret = !r;
	return !r || r == -EAGAIN || s->b->err.code ? (r == -EAGAIN ? 0 : r) : hoy_fail_errno(&s->b->err, -r, "cannot lock the cache");
}

/* Caches that are private have another directory for each build that runs at the same time: NAME, NAME-1, NAME-2... */
static int lock_cache(struct state *s, struct run_mounts *m, int parent, const struct mount_spec *spec, char name[64])
{
	cleanup_free char *key = hoy_asprintf("%s:%u:%u", spec->id ?: spec->target, spec->uid, spec->gid);
	char first[32];
	bool have = false;
	int r = key ? cache_name(s, key, first) : hoy_fail_oom(&s->b->err);

	snprintf(name, 64, "%s", first);
	if (r < 0 || spec->sharing == SHARING_SHARED)
		return r < 0 || use_cache(s, m, parent, name) ? r : -s->b->err.code;
	r = take_lock(s, m, parent, name, spec->sharing == SHARING_LOCKED, &have);
	for (unsigned i = 1; !r && !have; i++) {
		snprintf(name, 64, "%s-%u", first, i);
		r = take_lock(s, m, parent, name, false, &have);
	}
	return r;
}

static int own_cache(struct state *s, const struct mount_spec *spec, struct run_mounts *m)
{
	cleanup_fd int parent = hoy_mountcaches_open(true, &s->b->err);
	char name[64];
	int r = parent < 0 ? parent : lock_cache(s, m, parent, spec, name);

	return r ? r : open_cache(s, parent, name, spec);
}

static int mount_cache(struct state *s, const struct mount_spec *spec, struct run_mounts *m)
{
	struct source *src = spec->from ? open_from(s, spec, m) : NULL;
	cleanup_fd int root = -1, fd = -1;
	cleanup_free char *path = NULL;
	struct stat st;

	if (spec->from && !src)
		return -s->b->err.code;
	root = src ? open_below(s, src->path, ".") : own_cache(s, spec, m);
	if (root < 0)
		return root;
	fd = hoy_open_beneath(root, spec->source ?: ".", O_PATH, 0, HOY_IN_ROOT);
	if (fd < 0 || fstat(fd, &st) < 0)
		return hoy_fail_errno(&s->b->err, fd < 0 ? -fd : errno, "cannot mount '%s' of a cache", spec->source ?: "");
	path = pin(s, m, fd, true);
	/* An image stays what it is. */
	if (path && src && *src->layer && S_ISDIR(st.st_mode)) {
		char *merged = over(s, m, path, &st);

		free(path);
		path = merged;
	}
	return finish(s, m, spec, path, spec->access == ACCESS_READ);
}

/* ---- all of an instruction ---- */

static int mount_tmpfs(struct state *s, const struct mount_spec *spec, struct run_mounts *m)
{
	struct run_mount *v;

	if (strchr(spec->target, ':'))
		return hoy_fail(&s->b->err, EINVAL, "'%s': a tmpfs cannot have a colon in its path", spec->target);
	v = mounts_add(m, NULL, spec->target, spec->access == ACCESS_READ);
	for (size_t i = 0; v && i < spec->options.n; i++)
		hoy_strv_push(&v->options, spec->options.v[i]);
	return v && !v->options.error ? 0 : hoy_fail_oom(&s->b->err);
}

static int open_one(struct state *s, const char *text, struct run_mounts *m)
{
	const char *dir = config_str(s, "WorkingDir");
	struct mount_spec spec = { .options = HOY_STRV_INIT };
	static int (*const of[])(struct state *, const struct mount_spec *, struct run_mounts *) = {
		[MOUNT_BIND] = mount_bind,     [MOUNT_CACHE] = mount_cache, [MOUNT_TMPFS] = mount_tmpfs,
		[MOUNT_SECRET] = mount_secret, [MOUNT_SSH] = mount_ssh,
	};
	int r = mount_spec_parse(&spec, text, *dir ? dir : "/", &s->b->err);

	/* From here on, who is meant. */
	if (!r)
		r = userns_outside(&s->work->ns, &spec.uid, &spec.gid, &s->b->err);
	if (!r)
		r = of[spec.type](s, &spec, m);
	mount_spec_release(&spec);
	return r;
}

char *mount_text(struct state *s, const struct cf_instr *i, size_t n)
{
	for (size_t k = 0; k < i->flags.n; k++)
		if (!strncmp(i->flags.v[k], "--mount=", 8) && !n--)
			return config_word(s, i, i->flags.v[k] + 8);
	return NULL;
}

int mounts_open(struct state *s, const struct cf_instr *i, struct run_mounts *m)
{
	char *text;
	int r = 0;

	for (size_t n = 0; !r && (text = mount_text(s, i, n)); n++) {
		r = open_one(s, text, m);
		for (size_t k = 0; !r && m->n && k + 1 < m->n; k++)
			if (!strcmp(m->v[k].target, m->v[m->n - 1].target))
				r = hoy_fail(&s->b->err, EINVAL, "%s: duplicate mount destination", m->v[k].target);
		free(text);
	}
	if (!r && s->b->err.code)
		r = -s->b->err.code;
	if (!r)
		stubs_note(s, m);
	return r == -ECANCELED || r >= 0 || *s->b->err.msg == '\0' ? r :
	       cfile_fail(&s->b->f, i, &s->b->err, s->b->err.code, "%s", (char *)strdupa(s->b->err.msg));
}

void mounts_argv(const struct run_mounts *m, struct hoy_strv *argv)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct run_mount *v = &m->v[i];
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);

		if (v->source)
			hoy_buf_printf(&b, "--mount=type=bind,source=%s,target=%s,%s", v->source, v->target, v->rdonly ? "ro" : "rw");
		else /* as buildah's: nothing of what is beneath is copied into it */
			hoy_buf_printf(&b, "--tmpfs=%s:%s,rprivate,suid,dev%s", v->target, v->rdonly ? "ro" : "rw", hoy_strv_has(&v->options, "tmpcopyup") ? "" : ",notmpcopyup");
		for (size_t k = 0; k < v->options.n; k++)
			hoy_buf_printf(&b, ",%s", v->options.v[k]);
		hoy_strv_push(argv, hoy_buf_str(&b));
	}
	for (size_t k = 0; k < m->env.n; k++)
		hoy_strv_pushf(argv, "--env=%.*s", (int)strcspn(m->env.v[k], "="), m->env.v[k]);
}

void mounts_close(struct state *s, struct run_mounts *m)
{
	for (size_t i = 0; i < m->n_agents; i++)
		agent_stop(m->agents[i]);
	for (size_t i = m->mounted.n; i; i--)
		(void)umount2(m->mounted.v[i - 1], MNT_DETACH | UMOUNT_NOFOLLOW);
	stubs_drop(s, m);
	for (size_t i = m->made.n; i; i--)
		(void)hoy_remove_tree(AT_FDCWD, m->made.v[i - 1]);
	for (struct source *src = m->sources, *next; src; src = next) {
		next = src->next;
		source_close(s, src);
		free(src);
	}
	for (struct mount_lock *l = m->locks, *next; l; l = next) {
		next = l->next;
		hoy_lock_close(&l->lock);
		if (l->dir >= 0)
			hoy_mountcache_used(l->dir);
		hoy_close(l->dir);
		free(l);
	}
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i].source);
		free(m->v[i].target);
		hoy_strv_release(&m->v[i].options);
	}
	for (size_t i = 0; i < m->env.n; i++)
		explicit_bzero(m->env.v[i], strlen(m->env.v[i]));
	hoy_strv_release(&m->env);
	hoy_strv_release(&m->mounted);
	hoy_strv_release(&m->made);
	hoy_strv_release(&m->stubs);
	free(m->v);
	*m = (struct run_mounts)RUN_MOUNTS_INIT;
}
