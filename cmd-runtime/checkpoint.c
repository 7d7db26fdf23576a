/*
 * checkpoint and restore by CRIU. What it cannot know by itself is told: which mounts come from outside, where the root is, and
 * which namespaces are others'. Images are as crun's: beside CRIU's files there is descriptors.json, what stdio was.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd-runtime/criu.h"
#include "cmd-runtime/mounts.h"
#include "common/base/beneath.h"
#include "common/proc/pidfd.h"

#define NET_KEY "extRootNetNS"
#define PID_KEY "extRootPidNS"
#define DESCRIPTORS "descriptors.json"

struct cr {
	/* options */
	const char *image_path, *work_path, *parent_path, *cgroups_mode, *network_lock, *empty_ns, *page_server;
	const char *bundle, *console_socket, *pid_file, *lsm_profile, *lsm_mount_context;
	bool leave_running, tcp_established, tcp_skip, tcp_close, link_remap, ext_unix, shell_job, file_locks, pre_dump, auto_dedup;
	bool detach, no_subreaper, no_pivot;
	/* state */
	struct criu criu;
	int images, work;
	int nsfd[2];
};

#define CR_INIT { .bundle = ".", .criu = CRIU_INIT, .images = -1, .work = -1, .nsfd = { -1, -1 } }

static void cr_release(struct cr *c)
{
	criu_release(&c->criu);
	hoy_close(c->images);
	hoy_close(c->work);
	hoy_close(c->nsfd[0]);
	hoy_close(c->nsfd[1]);
}

static int find_word(const char *word, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] && !strcmp(word, list[i]))
			return (int)i;
	return -1;
}

static int add_modes(struct cr *c, struct hoy_err *err)
{
	static const char *const modes[] = { "ignore", NULL, NULL, "soft", "full", "strict" };
	static const char *const locks[] = { NULL, "iptables", "nftables", "skip" };
	int mode = find_word(c->cgroups_mode ? c->cgroups_mode : "soft", modes, ARRAY_SIZE(modes));
	int lock = c->network_lock ? find_word(c->network_lock, locks, ARRAY_SIZE(locks)) : 0;

	if (mode < 0)
		return hoy_fail(err, EINVAL, "unknown cgroup mode '%s' (use: soft, ignore, full or strict)", c->cgroups_mode);
	if (lock < 0)
		return hoy_fail(err, EINVAL, "unknown network lock '%s' (use: iptables, nftables or skip)", c->network_lock);
	if (c->empty_ns && strcmp(c->empty_ns, "network"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "option '--empty-ns': only 'network' can be empty, not '%s'", c->empty_ns);
	criu_flag(&c->criu.opts, CRIU_MANAGE_CGROUPS, true);
	criu_number(&c->criu.opts, CRIU_CGROUPS_MODE, (uint64_t)mode);
	if (lock)
		criu_number(&c->criu.opts, CRIU_NETWORK_LOCK, (uint64_t)lock);
	if (c->empty_ns)
		criu_number(&c->criu.opts, CRIU_EMPTY_NS, CLONE_NEWNET);
	return 0;
}

static int open_dir(const char *path, bool make, int *ret, struct hoy_err *err)
{
	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return hoy_fail_errno(err, errno, "cannot make directory '%s'", path);
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? hoy_fail_errno(err, errno, "cannot open directory '%s'", path) : 0;
}

/* What both directions have in common. */
static int begin(struct cr *c, const struct spec *s, const char *log, bool dump, struct hoy_err *err)
{
	const char *config = spec_annotation(s, "org.criu.config");
	struct hoy_buf *o = &c->criu.opts;

	if (geteuid())
		return hoy_fail(err, EPERM, "checkpoint takes root's rights");
	if (!c->image_path)
		return hoy_fail(err, EINVAL, "option '--image-path' is missing");
	if (open_dir(c->image_path, dump, &c->images, err) < 0 || (c->work_path && open_dir(c->work_path, true, &c->work, err) < 0))
		return -err->code;
	if (!config)
		config = !access("/etc/criu/crun.conf", F_OK) ? "/etc/criu/crun.conf" : "/etc/criu/runc.conf";
	criu_number(o, CRIU_IMAGES_DIR_FD, (uint64_t)c->images);
	if (c->work >= 0)
		criu_number(o, CRIU_WORK_DIR_FD, (uint64_t)c->work);
	criu_number(o, CRIU_LOG_LEVEL, 4);
	criu_text(o, CRIU_LOG_FILE, log);
	if (!access(config, F_OK) || spec_annotation(s, "org.criu.config"))
		criu_text(o, CRIU_CONFIG_FILE, config);
	criu_flag(o, CRIU_EXT_UNIX_SK, c->ext_unix);
	criu_flag(o, CRIU_SHELL_JOB, c->shell_job);
	criu_flag(o, CRIU_TCP_ESTABLISHED, c->tcp_established);
	criu_flag(o, CRIU_TCP_CLOSE, c->tcp_close);
	criu_flag(o, CRIU_TCP_SKIP_IN_FLIGHT, c->tcp_skip);
	criu_flag(o, CRIU_LINK_REMAP, c->link_remap);
	criu_flag(o, CRIU_FILE_LOCKS, c->file_locks);
	criu_flag(o, CRIU_AUTO_DEDUP, c->auto_dedup);
	criu_flag(o, CRIU_ORPHAN_PTS_MASTER, true);
	return add_modes(c, err);
}

/* TARGET as it is once links in the root directory are followed; what lies on a mount of its own is not seen from here. */
static int resolve(int rootfd, const char *target, char *ret, size_t size, struct hoy_err *err)
{
	cleanup_fd int fd = hoy_open_beneath(rootfd, target, O_PATH, 0, HOY_IN_ROOT);
	char root[PATH_MAX], path[PATH_MAX], link[64];
	ssize_t n, k = 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", rootfd);
	n = readlink(link, root, sizeof(root) - 1);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fd >= 0)
		k = readlink(link, path, sizeof(path) - 1);
	if (n > 0 && k > n && !memcmp(root, path, (size_t)n) && path[n] == '/')
		n = snprintf(ret, size, "%.*s", (int)(k - n), path + n);
	else
		n = snprintf(ret, size, "/%s", target + strspn(target, "/"));
	return n < (ssize_t)size ? 0 : hoy_fail_errno(err, ENAMETOOLONG, "mount target '%s'", target);
}

/* On cgroup v1 a mount of type cgroup is a directory of mounts, each bound again from its hierarchy. */
static int cgroup_mounts(struct cr *c, const char *target, const char *own, bool dump, struct hoy_err *err)
{
	cleanup_cgroups struct hoy_cgroups all = HOY_CGROUPS_INIT;
	char key[PATH_MAX], from[PATH_MAX];

	if (hoy_cgroups_find(&all, err) < 0)
		return -err->code;
	for (size_t i = 0; !all.unified && i < all.n; i++) {
		snprintf(key, sizeof(key), "%s%s", target, strrchr(all.h[i].mount, '/'));
		if (snprintf(from, sizeof(from), "%s%s", all.h[i].mount, own && *own ? own : all.h[i].self) >= (int)sizeof(from))
			return hoy_fail_errno(err, ENAMETOOLONG, "cgroup '%s'", own);
		criu_pair(&c->criu.opts, CRIU_EXT_MNT, key, dump ? key : from);
	}
	return 0;
}

static int add_mounts(struct cr *c, const struct spec *s, const struct state *st, bool dump, struct hoy_err *err)
{
	struct mount_jobs jobs = { NULL, 0 };
	cleanup_fd int root = open(st->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = root < 0 ? hoy_fail_errno(err, errno, "cannot open root directory '%s'", st->rootfs) : mounts_parse(&jobs, hoy_json_get(s->doc.root, "mounts"), err);
	char target[PATH_MAX];

	for (size_t i = 0; !r && i < jobs.n; i++) {
		struct mount_job *m = &jobs.v[i];

		r = resolve(root, m->target, target, sizeof(target), err);
		if (r)
			break;
		if (!strncmp(m->type, "cgroup", 6))
			r = cgroup_mounts(c, target, st->cgroup, dump, err);
		else if (m->o.bind && m->o.src_nofollow)
			r = hoy_fail(err, HOY_EUNSUPPORTED, "CRIU cannot handle the option src-nofollow of the mount on '%s'", m->target);
		else if (m->o.bind)
			criu_pair(&c->criu.opts, CRIU_EXT_MNT, target, dump ? target : m->source);
	}
	/* In a user namespace devices are bound, not made. */
	for (size_t i = 0; !r && spec_has_userns(s) && dev_default(i); i++) {
		snprintf(target, sizeof(target), "/%s", dev_default(i));
		criu_pair(&c->criu.opts, CRIU_EXT_MNT, target, target);
	}
	mounts_release(&jobs);
	return r;
}

static int check_parent(struct cr *c, struct hoy_err *err)
{
	struct criu check = CRIU_INIT;
	struct stat st;
	int r;

	if (!c->parent_path && !c->pre_dump)
		return 0;
	if (c->parent_path && *c->parent_path == '/')
		return hoy_fail(err, EINVAL, "option '--parent-path' must be relative to '--image-path'");
	if (c->parent_path && (fstatat(c->images, c->parent_path, &st, 0) < 0 || !S_ISDIR(st.st_mode)))
		return hoy_fail(err, ENOTDIR, "option '--parent-path': '%s/%s' is no directory", c->image_path, c->parent_path);
	r = criu_call(&check, CRIU_FEATURES, err);
	if (!r && !check.mem_track)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "the kernel does not track changed memory, which --pre-dump and --parent-path take");
	criu_release(&check);
	criu_flag(&c->criu.opts, CRIU_TRACK_MEM, true);
	criu_text(&c->criu.opts, CRIU_PARENT_IMG, c->parent_path);
	return r;
}

static int add_page_server(struct cr *c, struct hoy_err *err)
{
	const char *colon = c->page_server ? strrchr(c->page_server, ':') : NULL;
	struct hoy_buf m = HOY_BUF_INIT(4096);
	cleanup_free char *host = NULL;

	if (!c->page_server)
		return 0;
	host = colon ? strndup(c->page_server, (size_t)(colon - c->page_server)) : NULL;
	if (!host || atoi(colon + 1) <= 0 || atoi(colon + 1) > 65535)
		return hoy_fail(err, EINVAL, "option '--page-server': '%s' is not ADDRESS:PORT", c->page_server);
	criu_text(&m, 1, host);
	criu_number(&m, 2, (uint64_t)atoi(colon + 1));
	criu_message(&c->criu.opts, CRIU_PAGE_SERVER, &m);
	hoy_buf_release(&m);
	return 0;
}

/* Where its stdio leads: pipes are connected anew when it is restored. */
static int save_descriptors(struct cr *c, pid_t pid, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	hoy_jw_array(&w, NULL);
	for (int i = 0; i < 3; i++) {
		char file[64], to[PATH_MAX];
		ssize_t n;

		snprintf(file, sizeof(file), "/proc/%d/fd/%d", pid, i);
		n = readlink(file, to, sizeof(to) - 1);
		to[n < 0 ? 0 : n] = '\0';
		hoy_jw_string(&w, NULL, to);
	}
	hoy_jw_end_array(&w);
	r = hoy_replace_file(c->images, DESCRIPTORS, hoy_buf_str(&b), b.len, 0600, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s/" DESCRIPTORS "'", c->image_path) : 0;
}

static int add_external(struct cr *c, const struct spec *s, enum ns ns, const char *key, struct hoy_err *err)
{
	char text[128];
	struct stat st;

	if (!s->ns_path[ns])
		return 0;
	if (stat(s->ns_path[ns], &st) < 0)
		return hoy_fail_errno(err, errno, "cannot stat namespace '%s'", s->ns_path[ns]);
	snprintf(text, sizeof(text), "%s[%llu]:%s", ns_table[ns].proc, (unsigned long long)st.st_ino, key);
	criu_text(&c->criu.opts, CRIU_EXTERNAL, text);
	return 0;
}

static int add_freezer(struct cr *c, const struct state *st, struct hoy_err *err)
{
	cleanup_cgroups struct hoy_cgroups cg = HOY_CGROUPS_INIT;
	struct hoy_cgroup_hier *h;
	char path[PATH_MAX];

	if (st->no_cgroup || !*st->cgroup)
		return 0;
	if (hoy_cgroups_find(&cg, err) < 0)
		return -err->code;
	h = hoy_cgroups_with(&cg, cg.unified ? "" : "freezer");
	if (h && snprintf(path, sizeof(path), "%s%s", h->mount, st->cgroup) < (int)sizeof(path))
		criu_text(&c->criu.opts, CRIU_FREEZE_CGROUP, path);
	return 0;
}

/* The first complaint in CRIU's log but the one that it can live with, where limits cannot be raised. It answers with the very first. */
static bool complaint(const struct cr *c, const char *log, char *ret, size_t size)
{
	cleanup_free char *text = NULL;
	const char *p;

	if (hoy_read_file(c->work >= 0 ? c->work : c->images, log, 16 << 20, &text, NULL, NULL) < 0)
		return false;
	for (p = strstr(text, "Error ("); p; p = strstr(p + 1, "Error (")) {
		const char *said = strstr(p, "): ");

		if (!said || !strncmp(said + 3, "rlimit:", 7))
			continue;
		snprintf(ret, size, "%.*s", (int)strcspn(said + 3, "\n"), said + 3);
		return true;
	}
	return false;
}

static int explain(const struct cr *c, const char *id, const char *what, const char *log, struct hoy_err *err)
{
	struct hoy_err why = *err;
	char said[256];

	if (why.code != ENOENT && complaint(c, log, said, sizeof(said)))
		return hoy_fail(err, why.code, "cannot %s container '%s': criu failed: %s (see: %s/%s)", what, id, said, c->work_path ? c->work_path : c->image_path, log);
	return hoy_fail(err, why.code, "cannot %s container '%s': %s (see: %s/%s)", what, id, why.msg, c->work_path ? c->work_path : c->image_path, log);
}

static int dump(struct cr *c, struct state *st, const struct spec *s, struct hoy_err *err)
{
	struct hoy_buf *o = &c->criu.opts;

	if (!strcmp(st->status, "created") || !strcmp(st->status, "stopped"))
		return hoy_fail(err, EINVAL, "container '%s' is %s, not running", st->id, st->status);
	if (begin(c, s, "dump.log", true, err) < 0 || check_parent(c, err) < 0 || add_page_server(c, err) < 0)
		return -err->code;
	criu_number(o, CRIU_PID, (uint64_t)st->pid);
	criu_flag(o, CRIU_LEAVE_RUNNING, c->leave_running);
	if (c->pre_dump)
		return criu_call(&c->criu, CRIU_PRE_DUMP, err) < 0 ? explain(c, st->id, "pre-dump", "dump.log", err) : 0;
	criu_text(o, CRIU_ROOT, st->rootfs);
	if (save_descriptors(c, st->pid, err) < 0 || add_mounts(c, s, st, true, err) < 0 || add_freezer(c, st, err) < 0 ||
	    add_external(c, s, NS_NET, NET_KEY, err) < 0 || add_external(c, s, NS_PID, PID_KEY, err) < 0)
		return -err->code;
	return criu_call(&c->criu, CRIU_DUMP, err) < 0 ? explain(c, st->id, "checkpoint", "dump.log", err) : 0;
}

int cmd_checkpoint(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	struct cr c = CR_INIT;
	const struct cli_opt opts[] = {
		{ "auto-dedup", 0, CLI_FLAG, &c.auto_dedup, NULL, "free pages of earlier images that are saved anew" },
		{ "empty-ns", 0, CLI_STR, &c.empty_ns, "NAMESPACE", "network: don't save what is in it" },
		{ "ext-unix-sk", 0, CLI_FLAG, &c.ext_unix, NULL, "allow sockets of processes outside" },
		{ "file-locks", 0, CLI_FLAG, &c.file_locks, NULL, "allow file locks" },
		{ "image-path", 0, CLI_STR, &c.image_path, "DIR", "where the images go" },
		{ "leave-running", 0, CLI_FLAG, &c.leave_running, NULL, "let the container run on" },
		{ "link-remap", 0, CLI_FLAG, &c.link_remap, NULL, "allow unlinked files to be linked again" },
		{ "manage-cgroups-mode", 0, CLI_STR, &c.cgroups_mode, "MODE", "soft (default), ignore, full or strict" },
		{ "network-lock", 0, CLI_STR, &c.network_lock, "METHOD", "iptables, nftables or skip" },
		{ "page-server", 0, CLI_STR, &c.page_server, "ADDRESS:PORT", "send the memory there" },
		{ "parent-path", 0, CLI_STR, &c.parent_path, "DIR", "images of the pre-dump, relative to the images" },
		{ "pre-dump", 0, CLI_FLAG, &c.pre_dump, NULL, "save the memory alone, and let it run on" },
		{ "shell-job", 0, CLI_FLAG, &c.shell_job, NULL, "allow a terminal from outside" },
		{ "tcp-established", 0, CLI_FLAG, &c.tcp_established, NULL, "allow TCP connections" },
		{ "tcp-skip-in-flight", 0, CLI_FLAG, &c.tcp_skip, NULL, "leave out those that are being made" },
		{ "work-path", 0, CLI_STR, &c.work_path, "DIR", "where the log goes (default: to the images)" },
	};
	const struct cli cli = { "checkpoint [OPTION]... ID", opts, ARRAY_SIZE(opts), 1, 1, false };
	struct state st = STATE_INIT;
	struct spec s = SPEC_INIT;
	int r = cli_parse(&cli, argc, argv, err);

	if (r >= 0)
		r = state_open(&st, rt, argv[0], true, err);
	if (r >= 0)
		r = spec_load_own(&s, &st, err);
	if (r >= 0)
		r = dump(&c, &st, &s, err);
	if (r >= 0 && !c.leave_running && !c.pre_dump)
		r = container_destroy(&st, rt, &s, err);
	cr_release(&c);
	spec_release(&s);
	state_release(&st);
	return r;
}

static int load_descriptors(struct cr *c, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int fd = 0;

	if (hoy_json_load(&doc, c->images, DESCRIPTORS, 1 << 16, err) < 0)
		return -err->code;
	HOY_JSON_EACH(d, doc.root) {
		const char *to = hoy_json_text(d);

		if (to && !strncmp(to, "pipe:", 5) && fd < 3 && criu_inherit(&c->criu, fd, to, err) < 0)
			return -err->code;
		fd++;
	}
	return 0;
}

static int add_namespaces(struct cr *c, const struct spec *s, struct hoy_err *err)
{
	static const struct { enum ns ns; const char *key; } given[] = { { NS_NET, NET_KEY }, { NS_PID, PID_KEY } };
	static const enum ns joined[] = { NS_TIME, NS_IPC, NS_UTS };

	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		const char *path = s->ns_path[given[i].ns];

		if (!path)
			continue;
		c->nsfd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (c->nsfd[i] < 0)
			return hoy_fail_errno(err, errno, "cannot open namespace '%s'", path);
		if (criu_inherit(&c->criu, c->nsfd[i], given[i].key, err) < 0)
			return -err->code;
	}
	for (size_t i = 0; i < ARRAY_SIZE(joined); i++)
		if (s->ns_path[joined[i]])
			criu_pair(&c->criu.opts, CRIU_JOIN_NS, ns_table[joined[i]].proc, s->ns_path[joined[i]]);
	return 0;
}

/* Targets that the first start of a container made; a tmpfs is restored with what was in it. */
static int make_targets(const struct spec *s, int rootfd, struct hoy_err *err)
{
	struct root r = { .fd = rootfd };
	struct mount_jobs jobs = { NULL, 0 };
	int n = mounts_parse(&jobs, hoy_json_get(s->doc.root, "mounts"), err);

	for (size_t i = 0; !n && i < jobs.n; i++) {
		struct mount_job *m = &jobs.v[i];
		bool on_tmpfs = false;
		cleanup_fd int fd = -1;
		struct stat st;

		for (size_t k = 0; k < jobs.n; k++) {
			size_t len = strlen(jobs.v[k].target);

			on_tmpfs = on_tmpfs || (!strcmp(jobs.v[k].type, "tmpfs") && !strncmp(m->target, jobs.v[k].target, len) && m->target[len] == '/');
		}
		if (on_tmpfs || !strncmp(m->type, "cgroup", 6))
			continue;
		fd = mounts_target(&r, m->target, !m->o.bind || (m->source && !stat(m->source, &st) && S_ISDIR(st.st_mode)), false, err);
		n = fd < 0 ? fd : 0;
	}
	mounts_release(&jobs);
	return n;
}

/* Before a directory is opened: CRIU mounts something in that of its images, and it must be of our namespace. */
static int own_mounts(struct hoy_err *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return hoy_fail_errno(err, errno, "cannot make a mount namespace");
	return 0;
}

/* CRIU wants the root as a mount; it lies in a mount namespace that goes with us. */
static int mount_root(struct cr *c, const struct birth *b, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("%s/%s/criu-root", b->rt->root, b->state.id);
	cleanup_fd int root = -1;

	if (!path)
		return hoy_fail_oom(err);
	if (mkdirat(b->state.dirfd, "criu-root", 0700) < 0 || mount(b->state.rootfs, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return hoy_fail_errno(err, errno, "cannot mount root directory '%s'", b->state.rootfs);
	if (mount(NULL, path, NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		return hoy_fail_errno(err, errno, "cannot make root directory '%s' private", b->state.rootfs);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	criu_text(&c->criu.opts, CRIU_ROOT, path);
	return root < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", path) : make_targets(&b->spec, root, err);
}

/* CRIU reads images as root of the container's user namespace, too, to whom root's own directory would be closed. */
static int open_images(const struct cr *c, const struct spec *s, struct hoy_err *err)
{
	struct stat st;
	gid_t gid;

	if (!s->ns_new[NS_USER] || !spec_host_root(hoy_json_get(s->linux_, "gidMappings"), &gid))
		return 0;
	if (fstat(c->images, &st) < 0 || fchown(c->images, (uid_t)-1, gid) < 0 || fchmod(c->images, (st.st_mode & 07777) | 0050) < 0)
		return hoy_fail_errno(err, errno, "cannot make '%s' readable to group %u", c->image_path, gid);
	return 0;
}

/* With "strict" CRIU makes the cgroup and sets what it had, but knows no filter of devices. */
static int limit_again(const struct birth *b, struct hoy_err *err)
{
	struct cgroup cg;
	int r;

	cgroup_init(&cg);
	r = cgroup_open_existing(&cg, b->cgroup.path, err);
	if (!r && b->spec.resources)
		r = cgroup_update(&cg, b->spec.resources, err);
	cgroup_release(&cg);
	return r;
}

static void unmount_root(const struct birth *b)
{
	cleanup_free char *path = hoy_asprintf("%s/%s/criu-root", b->rt->root, b->state.id);

	if (path)
		(void)umount2(path, MNT_DETACH);
	(void)!unlinkat(b->state.dirfd, "criu-root", AT_REMOVEDIR);
}

static int hand_over_terminal(struct cr *c, struct hoy_err *err)
{
	cleanup_fd int sock = -1;
	int r;

	if (c->criu.master < 0 || !c->console_socket)
		return 0;
	sock = tty_connect(c->console_socket, err);
	if (sock < 0)
		return sock;
	r = tty_send(sock, c->criu.master, "/dev/ptmx", 9);
	hoy_close(c->criu.master);
	c->criu.master = -1;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot hand over the terminal") : 0;
}

static int bring_back(struct cr *c, struct birth *b, struct hoy_err *err)
{
	bool strict = c->cgroups_mode && !strcmp(c->cgroups_mode, "strict") && b->cgroup.path && !b->cgroup.scope.unit;
	struct hoy_buf *o = &c->criu.opts;

	if (begin(c, &b->spec, "restore.log", false, err) < 0 || load_descriptors(c, err) < 0 || open_images(c, &b->spec, err) < 0 || mount_root(c, b, err) < 0 ||
	    add_mounts(c, &b->spec, &b->state, false, err) < 0 || add_namespaces(c, &b->spec, err) < 0)
		return -err->code;
	criu_flag(o, CRIU_NOTIFY_SCRIPTS, true);
	criu_flag(o, CRIU_RST_SIBLING, true);
	criu_text(o, CRIU_LSM_PROFILE, c->lsm_profile);
	criu_text(o, CRIU_LSM_MOUNT_CONTEXT, c->lsm_mount_context);
	if (b->cgroup.path)
		criu_pair(o, CRIU_CG_ROOT, NULL, b->cgroup.path);
	if (strict)
		cgroup_undo(&b->cgroup); /* CRIU insists on making it */
	if (criu_call(&c->criu, CRIU_RESTORE, err) < 0)
		return explain(c, b->state.id, "restore", "restore.log", err);
	b->spawn.pid = c->criu.pid;
	b->spawn.pidfd = hoy_pidfd_open(b->spawn.pid, 0);
	if (b->spawn.pid <= 0 || b->spawn.pidfd < 0)
		return hoy_fail(err, ESRCH, "the restored process of container '%s' died early", b->state.id);
	scope_end_helper(&b->cgroup.scope);
	if ((strict && limit_again(b, err) < 0) || (!strict && cgroup_adopt(&b->cgroup, b->spawn.pid, err) < 0))
		return -err->code;
	return birth_record(b, c->pid_file, NULL, err) < 0 ? -err->code : hand_over_terminal(c, err);
}

static int restore(struct cr *c, struct rt *rt, const char *id, struct hoy_err *err)
{
	struct mount_jobs none = { NULL, 0 };
	struct hoy_err gone = HOY_ERR_INIT;
	char bundle[PATH_MAX];
	struct birth b;
	int r;

	if (geteuid())
		return hoy_fail(err, EPERM, "restore takes root's rights");
	if (own_mounts(err) < 0)
		return -err->code;
	if (!realpath(c->bundle, bundle))
		return hoy_fail_errno(err, errno, "cannot find bundle '%s'", c->bundle);
	birth_init(&b, rt);
	b.bundle = bundle;
	b.jobs = &none;
	signals_block(NULL);
	r = spec_load(&b.spec, bundle, "config.json", err);
	if (!r)
		r = birth_claim(&b, id, !c->detach, err);
	if (!r)
		r = bring_back(c, &b, err);
	if (b.state.dirfd >= 0)
		unmount_root(&b);
	if (r < 0) {
		/* CRIU may have made some below it. */
		for (size_t i = 0; b.cgroup.path && i < b.cgroup.all.n; i++)
			if (b.cgroup.made[i])
				(void)hoy_cgroup_remove(&b.cgroup.all, b.cgroup.path);
		birth_undo(&b);
	} else if (!c->detach) {
		flock(b.state.dirfd, LOCK_UN);
		r = wait_foreground(b.spawn.pid, b.spawn.pidfd, c->criu.master);
		if (birth_end(&b, &gone) < 0)
			log_warning("%s", gone.msg);
	}
	birth_release(&b);
	return r;
}

int cmd_restore(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	struct cr c = CR_INIT;
	const struct cli_opt opts[] = {
		{ "auto-dedup", 0, CLI_FLAG, &c.auto_dedup, NULL, "free pages of the images that were restored" },
		{ "bundle", 'b', CLI_STR, &c.bundle, "DIR", "the bundle (default: .)" },
		{ "console-socket", 0, CLI_STR, &c.console_socket, "PATH", "socket that gets the terminal's master" },
		{ "detach", 'd', CLI_FLAG, &c.detach, NULL, "don't wait for the container to end" },
		{ "empty-ns", 0, CLI_STR, &c.empty_ns, "NAMESPACE", "network: leave it empty" },
		{ "ext-unix-sk", 0, CLI_FLAG, &c.ext_unix, NULL, "allow sockets of processes outside" },
		{ "file-locks", 0, CLI_FLAG, &c.file_locks, NULL, "allow file locks" },
		{ "image-path", 0, CLI_STR, &c.image_path, "DIR", "where the images are" },
		{ "lsm-mount-context", 0, CLI_STR, &c.lsm_mount_context, "CONTEXT", "SELinux context of the mounts" },
		{ "lsm-profile", 0, CLI_STR, &c.lsm_profile, "TYPE:NAME", "label of the processes" },
		{ "manage-cgroups-mode", 0, CLI_STR, &c.cgroups_mode, "MODE", "soft (default), ignore, full or strict" },
		{ "network-lock", 0, CLI_STR, &c.network_lock, "METHOD", "iptables, nftables or skip" },
		{ "no-pivot", 0, CLI_FLAG, &c.no_pivot, NULL, "accepted for runc's sake: CRIU decides" },
		{ "no-subreaper", 0, CLI_FLAG, &c.no_subreaper, NULL, "accepted for runc's sake" },
		{ "pid-file", 0, CLI_STR, &c.pid_file, "FILE", "write the process id to FILE" },
		{ "shell-job", 0, CLI_FLAG, &c.shell_job, NULL, "allow a terminal from outside" },
		{ "tcp-close", 0, CLI_FLAG, &c.tcp_close, NULL, "close the connections that were open" },
		{ "tcp-established", 0, CLI_FLAG, &c.tcp_established, NULL, "allow TCP connections" },
		{ "work-path", 0, CLI_STR, &c.work_path, "DIR", "where the log goes (default: to the images)" },
	};
	const struct cli cli = { "restore [OPTION]... ID", opts, ARRAY_SIZE(opts), 1, 1, false };
	int r = cli_parse(&cli, argc, argv, err);

	if (r >= 0)
		r = restore(&c, rt, argv[0], err);
	cr_release(&c);
	return r;
}
