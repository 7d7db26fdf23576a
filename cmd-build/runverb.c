/* cmd-build/runverb.c: `run`: a command in a working container, with the container's settings. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/chroot.h"
#include "cmd-build/ctr.h"
#include "cmd-build/mounts.h"
#include "cmd-build/verbs.h"
#include "common/base/beneath.h"
#include "common/base/copytree.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/oci/caps.h"

struct run_opts {
	struct hoy_strv cap_add, cap_drop, device, env, mount, runtime_flag, volume;
	const char *cgroupns, *contextdir, *hostname, *ipc, *isolation, *network, *pid, *runtime, *user, *uts, *workingdir;
	int add_history, terminal;
	bool no_hostname, no_hosts, no_pivot;
};
#define O(field) offsetof(struct run_opts, field)
#define STR(letter, name, field, arg, help) { letter, name, HOY_OPT_STRING, O(field), arg, help }
#define LIST(letter, name, field, arg, help) { letter, name, HOY_OPT_LIST, O(field), arg, help }
#define COMMAS(letter, name, field, arg, help) { letter, name, HOY_OPT_COMMAS, O(field), arg, help }
static const struct hoy_opt run_opts[] = {
	{ 0, "add-history", HOY_OPT_TRI, O(add_history), NULL, "note it in the image's history (default BUILDAH_HISTORY)" },
	COMMAS(0, "cap-add", cap_add, "CAP", "give it a capability"),
	COMMAS(0, "cap-drop", cap_drop, "CAP", "take a capability from it"),
	STR(0, "cgroupns", cgroupns, "MODE", "cgroup namespace: private or host"),
	LIST(0, "device", device, "DEVICE", "give it a device"),
	LIST('e', "env", env, "NAME[=VALUE]", "environment variable for this command"),
	STR(0, "contextdir", contextdir, "DIR", "what sources of bind mounts are beneath (default /)"),
	STR(0, "hostname", hostname, "NAME", "host name"),
	STR(0, "ipc", ipc, "MODE", "IPC namespace: private, host or a path"),
	STR(0, "isolation", isolation, "TYPE", "oci, rootless or chroot"),
	LIST(0, "mount", mount, "type=TYPE,...", "add a mount"),
	STR(0, "network", network, "MODE", "private, none, host, NETWORK or ns:PATH"),
	{ 0, "no-hostname", HOY_OPT_FLAG, O(no_hostname), NULL, "leave /etc/hostname alone" },
	{ 0, "no-hosts", HOY_OPT_FLAG, O(no_hosts), NULL, "leave /etc/hosts alone" },
	{ 0, "no-pivot", HOY_OPT_FLAG, O(no_pivot), NULL, "change the root without pivot_root (default BUILDAH_NOPIVOT)" },
	STR(0, "pid", pid, "MODE", "PID namespace: private, host or a path"),
	STR(0, "runtime", runtime, "PATH", "OCI runtime"),
	COMMAS(0, "runtime-flag", runtime_flag, "FLAG", "option of the runtime, without dashes"),
	{ 't', "terminal", HOY_OPT_TRI, O(terminal), NULL, "give it a terminal (default if we have one)" },
	{ 0, "tty", HOY_OPT_TRI, O(terminal), NULL, NULL },
	STR(0, "user", user, "USER[:GROUP]", "user to run as"),
	STR(0, "uts", uts, "MODE", "UTS namespace: private, host or a path"),
	LIST('v', "volume", volume, "SOURCE:PATH[:OPTIONS]", "mount a directory"),
	STR(0, "workingdir", workingdir, "DIR", "working directory"),
	HOY_OPTS_END,
};

struct runner {
	struct ctr *c;
	const struct run_opts *o;
	struct hoy_strv argv;
	char *name; /* of the container that hoy-run makes of it */
	bool chroot; /* there is none: a command in the root */
	struct run_mounts mounts; /* of --mount */
	struct state state;	  /* for these */
};

static const struct hoy_json *common(const struct runner *u) { return hoy_json_get(u->c->d.root, "CommonBuildOpts"); }

/* ---- words of hoy-run's command line ---- */

static void push_list(struct runner *u, const char *option, const char *key)
{
	HOY_JSON_EACH(v, hoy_json_get(common(u), key))
		if (hoy_json_text(v))
			hoy_strv_pushf(&u->argv, "--%s=%s", option, v->str);
}

static void push_given(struct runner *u, const char *option, const struct hoy_strv *v)
{
	for (size_t i = 0; i < v->n; i++)
		hoy_strv_pushf(&u->argv, "--%s=%s", option, v->v[i]);
}

/* The mode of namespace NAME: as the option says, else as the container was made. */
static void push_namespace(struct runner *u, const char *name, const char *option, const char *given)
{
	bool net = !strcmp(name, "network");
	int64_t policy = hoy_json_int(u->c->d.root, "ConfigureNetwork", NETWORK_DEFAULT);

	if (given) {
		if (!strcmp(given, "container") || !*given || !strcmp(given, "private"))
			hoy_strv_pushf(&u->argv, "--%s=%s", option, net ? "bridge" : "private");
		else
			hoy_strv_pushf(&u->argv, "--%s=%s%s", option, *given == '/' ? "ns:" : "", given);
		return;
	}
	HOY_JSON_EACH(o, hoy_json_get(u->c->d.root, "NamespaceOptions")) {
		const char *path = hoy_json_str(o, "Path") ?: "";

		if (strcmp(hoy_json_str(o, "Name") ?: "", name))
			continue;
		if (hoy_json_bool(o, "Host", false))
			hoy_strv_pushf(&u->argv, "--%s=host", option);
		else if (*path)
			hoy_strv_pushf(&u->argv, "--%s=%s%s", option, *path == '/' ? "ns:" : "", path);
		else if (net && policy == NETWORK_DISABLED)
			hoy_strv_push(&u->argv, "--network=none");
	}
}

static bool is_network(const struct runner *u, const char *mode)
{
	cleanup_free char *word = hoy_asprintf("--network=%s", mode);

	return word && hoy_strv_has(&u->argv, word);
}

static void push_namespaces(struct runner *u)
{
	push_namespace(u, "cgroup", "cgroupns", u->o->cgroupns);
	push_namespace(u, "ipc", "ipc", u->o->ipc);
	push_namespace(u, "network", "network", u->o->network);
	push_namespace(u, "pid", "pid", u->o->pid);
	push_namespace(u, "uts", "uts", u->o->uts);
	/* Then /etc/hosts is the image's, as buildah has it. */
	if (u->o->no_hosts || hoy_json_bool(common(u), "NoHosts", false) || is_network(u, "none"))
		hoy_strv_push(&u->argv, "--no-hosts");
	if (u->o->no_hostname || hoy_json_bool(common(u), "NoHostname", false))
		hoy_strv_push(&u->argv, "--no-hostname");
}

static void push_hostname(struct runner *u)
{
	const char *own = hoy_json_str(ctr_docker(u->c), "Hostname");

	if (hoy_strv_has(&u->argv, "--uts=host"))
		return;
	if (u->o->hostname || (own && *own))
		hoy_strv_pushf(&u->argv, "--hostname=%s", u->o->hostname ?: own);
	else
		hoy_strv_pushf(&u->argv, "--hostname=%.12s", u->c->w.id);
}

/* The container's, and what the options add and take. */
static int find_caps(struct runner *u, uint64_t *ret)
{
	uint64_t own = 0, drop = 0;
	int r = 0;

	HOY_JSON_EACH(cap, hoy_json_get(u->c->d.root, "Capabilities"))
		if (!r && hoy_json_text(cap))
			r = hoy_caps_parse(cap->str, &own, &u->c->b.err);
	for (size_t i = 0; i < u->o->cap_add.n && !r; i++)
		r = hoy_caps_parse(u->o->cap_add.v[i], &own, &u->c->b.err);
	for (size_t i = 0; i < u->o->cap_drop.n && !r; i++)
		r = hoy_caps_parse(u->o->cap_drop.v[i], &drop, &u->c->b.err);
	*ret = own & ~drop;
	return r;
}

static int push_caps(struct runner *u)
{
	uint64_t caps = 0;
	int r = find_caps(u, &caps);

	hoy_strv_push(&u->argv, "--cap-drop=all");
	for (int i = 0; i < 64; i++)
		if (caps & UINT64_C(1) << i && hoy_cap_name(i))
			hoy_strv_pushf(&u->argv, "--cap-add=%s", hoy_cap_name(i));
	return r;
}

static void push_number(struct runner *u, const char *option, const char *key)
{
	int64_t n = hoy_json_int(common(u), key, 0);

	if (n)
		hoy_strv_pushf(&u->argv, "--%s=%lld", option, (long long)n);
}

static void push_limits(struct runner *u)
{
	static const char *const texts[][2] = { { "cgroup-parent", "CgroupParent" }, { "cpuset-cpus", "CPUSetCPUs" },
						{ "cpuset-mems", "CPUSetMems" }, { "shm-size", "ShmSize" } };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *v = hoy_json_str(common(u), texts[i][1]);

		/* A /dev/shm of the host's has its own size. */
		if (v && *v && !(!strcmp(texts[i][0], "shm-size") && hoy_strv_has(&u->argv, "--ipc=host")))
			hoy_strv_pushf(&u->argv, "--%s=%s", texts[i][0], v);
	}
	push_number(u, "cpu-period", "CPUPeriod");
	push_number(u, "cpu-quota", "CPUQuota");
	push_number(u, "cpu-shares", "CPUShares");
	push_number(u, "memory", "Memory");
	push_number(u, "memory-swap", "MemorySwap");
	push_list(u, "ulimit", "Ulimit");
}

/* Another root of buildah's may have had its own copy of the profile that everybody has. */
static bool usual_profile(const char *path)
{
	return !*path || ((!strcmp(path, "/usr/share/containers/seccomp.json") || !strcmp(path, "/etc/containers/seccomp.json")) &&
			  !hoy_exists(AT_FDCWD, path));
}

static void push_security(struct runner *u)
{
	const char *seccomp = hoy_json_str(common(u), "SeccompProfilePath") ?: "", *apparmor = hoy_json_str(common(u), "ApparmorProfile") ?: "";
	static const char *const lists[][2] = { { "label", "LabelOpts" }, { "mask", "Masks" }, { "unmask", "Unmasks" } };

	if (!usual_profile(seccomp))
		hoy_strv_pushf(&u->argv, "--security-opt=seccomp=%s", seccomp);
	if (*apparmor)
		hoy_strv_pushf(&u->argv, "--security-opt=apparmor=%s", apparmor);
	if (hoy_json_bool(common(u), "NoNewPrivileges", false))
		hoy_strv_push(&u->argv, "--security-opt=no-new-privileges");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		HOY_JSON_EACH(v, hoy_json_get(common(u), lists[i][1]))
			hoy_strv_pushf(&u->argv, "--security-opt=%s=%s", lists[i][0], hoy_json_text(v) ?: "");
}

static void push_env(struct runner *u)
{
	hoy_strv_push(&u->argv, "--unsetenv=container");
	HOY_JSON_EACH(e, hoy_json_get(ctr_oci(u->c), "Env"))
		hoy_strv_pushf(&u->argv, "--env=%s", hoy_json_text(e) ?: "");
	push_given(u, "env", &u->o->env);
	if (!hoy_json_bool(common(u), "HTTPProxy", true))
		hoy_strv_push(&u->argv, "--http-proxy=false");
}

static void push_files(struct runner *u)
{
	push_list(u, "add-host", "AddHost");
	if (!is_network(u, "none")) {
		push_list(u, "dns", "DNSServers");
		push_list(u, "dns-option", "DNSOptions");
		push_list(u, "dns-search", "DNSSearch");
	}
	push_list(u, "volume", "Volumes");
	push_given(u, "volume", &u->o->volume);
	HOY_JSON_EACH(d, hoy_json_get(u->c->d.root, "DeviceSpecs"))
		hoy_strv_pushf(&u->argv, "--device=%s", hoy_json_text(d) ?: "");
	push_given(u, "device", &u->o->device);
	HOY_JSON_EACH(g, hoy_json_get(u->c->d.root, "GroupAdd"))
		hoy_strv_pushf(&u->argv, "--group-add=%s", hoy_json_text(g) ?: "");
}

/* ---- volumes of the config ---- */

static bool leads_to(const char *volume, const char *path)
{
	const char *to = strchr(volume, ':');
	size_t len = strlen(path);

	return to && !strncmp(to + 1, path, len) && (!to[1 + len] || to[1 + len] == ':');
}

/* Is something else mounted at PATH? */
static bool is_covered(const struct runner *u, const char *path)
{
	for (size_t i = 0; i < u->o->volume.n; i++)
		if (leads_to(u->o->volume.v[i], path))
			return true;
	for (size_t i = 0; i < u->mounts.n; i++)
		if (!strcmp(u->mounts.v[i].target, path))
			return true;
	HOY_JSON_EACH(v, hoy_json_get(common(u), "Volumes"))
		if (hoy_json_text(v) && leads_to(v->str, path))
			return true;
	return false;
}

/*
 * What commands write to a volume doesn't come into the image, but the next command finds it: a directory of the container's, which
 * begins with what the image has there.
 */
static int push_volume(struct runner *u, int root, size_t nth, const char *path, struct hoy_strv *ret)
{
	struct ctr *c = u->c;
	cleanup_free char *host = NULL, *name = hoy_asprintf("volume-%zu", nth);
	cleanup_fd int own = -1, dir = -1, from = -1;
	char at[HOY_ID_SIZE + 32];
	bool fresh;
	int r;

	snprintf(at, sizeof(at), "%s/buildah-volumes", c->w.id);
	own = name ? hoy_open_dir_p(c->b.s->ctrsfd, at, 0755) : -ENOMEM;
	fresh = own >= 0 && !hoy_exists(own, name);
	dir = own < 0 ? own : hoy_open_dir_p(own, name, 0755);
	r = userns_as_root(&c->w.ns, &c->b.err);
	from = r < 0 ? r : hoy_mkdir_in_root(root, path, 0755);
	(void)userns_as_root(NULL, NULL);
	if (r < 0)
		return r;
	if (dir < 0 || from < 0)
		return hoy_fail_errno(&c->b.err, dir < 0 ? -dir : -from, "cannot make the volume '%s'", path);
	hoy_close(from);
	from = hoy_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT);
	r = !fresh ? 0 : from < 0 ? from : hoy_copy_tree(from, dir, true);
	if (r < 0)
		return hoy_fail_errno(&c->b.err, -r, "cannot fill the volume '%s'", path);
	host = hoy_asprintf("%s/%s-containers/%s/%s", c->b.s->conf.graphroot, c->b.s->own.driver, at, name);
	hoy_strv_pushf(ret, "%s:%s", host ?: "", path);
	return host ? 0 : hoy_fail_oom(&c->b.err);
}

static int push_volumes(struct runner *u, int root, struct hoy_strv *ret)
{
	size_t nth = 0;
	int r = 0;

	HOY_JSON_EACH(v, hoy_json_get(ctr_oci(u->c), "Volumes")) {
		if (!r && !is_covered(u, v->key))
			r = push_volume(u, root, nth, v->key, ret);
		nth++;
	}
	return r;
}

/* ---- the command line ---- */

static bool has_terminal(const struct run_opts *o)
{
	return o->terminal >= 0 ? o->terminal : isatty(0) && isatty(1) && isatty(2);
}

/* All that the command line has for the command, but for the container's root, and the words that belong to a runtime. */
static int push_all(struct runner *u, int root)
{
	const char *user = u->o->user ?: hoy_json_str(ctr_oci(u->c), "User"), *dir = u->o->workingdir ?: hoy_json_str(ctr_oci(u->c), "WorkingDir");
	cleanup_strv struct hoy_strv volumes = HOY_STRV_INIT;
	int r;

	hoy_strv_pushf(&u->argv, "--workdir=%s", dir && *dir ? dir : "/");
	hoy_strv_pushf(&u->argv, "--user=%s", user && *user ? user : "0");
	if (u->o->no_pivot || no_pivot_asked())
		hoy_strv_push(&u->argv, "--no-pivot");
	push_namespaces(u);
	push_hostname(u);
	r = push_caps(u);
	if (r < 0)
		return r;
	push_limits(u);
	push_security(u);
	push_env(u);
	push_files(u);
	r = push_volumes(u, root, &volumes);
	push_given(u, "volume", &volumes);
	return r ? r : u->argv.error ? hoy_fail_oom(&u->c->b.err) : 0;
}

static int run_hoy(struct runner *u, int root, int n, char **words)
{
	int r;

	if (u->o->runtime)
		hoy_globals.runtime = u->o->runtime;
	for (size_t i = 0; i < u->o->runtime_flag.n; i++)
		hoy_strv_push(&hoy_globals.runtime_flags, u->o->runtime_flag.v[i]);
	HOY_JSON_EACH(d, hoy_json_get(common(u), "OCIHooksDir"))
		hoy_strv_push(&hoy_globals.hooks_dirs, hoy_json_text(d) ?: "");
	hoy_strv_push(&u->argv, "hoy-run");
	hoy_globals_argv(&u->argv);
	hoy_strv_push(&u->argv, "--events-backend=none");
	hoy_strv_push(&u->argv, "run");
	hoy_strv_push(&u->argv, "--rm");
	hoy_strv_push(&u->argv, "--rootfs");
	hoy_strv_push(&u->argv, "--log-driver=none");
	hoy_strv_push(&u->argv, "--passwd=false");
	hoy_strv_push(&u->argv, has_terminal(u->o) ? "-it" : "-i");
	hoy_strv_pushf(&u->argv, "--name=%s", u->name);
	r = userns_run_argv(&u->c->w.ns, &u->argv, &u->c->b.err);
	if (!r)
		r = push_all(u, root);
	mounts_argv(&u->mounts, &u->argv);
	hoy_strv_push(&u->argv, u->c->w.root);
	for (int i = 0; i < n; i++)
		hoy_strv_push(&u->argv, words[i]);
	if (!r && u->argv.error)
		r = hoy_fail_oom(&u->c->b.err);
	return r ? r : run_with_secrets(&u->c->b, &u->mounts, u->argv.v, u->name, RUN_STDIN);
}

/* Without a runtime. */
static int run_chroot(struct runner *u, int root, int n, char **words)
{
	struct ctr *c = u->c;
	struct chroot_cmd k = { .root = c->w.root, .mounts = &u->mounts, .ns = &c->w.ns };
	int r = push_all(u, root);

	if (!r && (u->o->runtime || u->o->runtime_flag.n))
		r = hoy_fail(&c->b.err, HOY_EUNSUPPORTED, "the isolation chroot cannot have --runtime");
	if (!r)
		r = chroot_words(&k, &u->argv, &c->b.err);
	for (size_t i = 0; i < u->mounts.env.n; i++)
		hoy_strv_push(&k.env, u->mounts.env.v[i]);
	for (int i = 0; i < n; i++)
		hoy_strv_push(&k.words, words[i]);
	if (!r)
		r = chroot_run(&c->b, &k, RUN_STDIN);
	chroot_cmd_release(&k);
	return r;
}

/* ---- mounts ---- */

/* The --mount options, as those of a RUN: in words that nobody substitutes anything in. */
static int open_mounts(struct runner *u)
{
	cleanup_strv struct hoy_strv flags = HOY_STRV_INIT;
	struct cf_instr i = { .word = (char *)"RUN", .flags = HOY_STRV_INIT, .args = HOY_STRV_INIT };
	struct build *b = &u->c->b;
	int r;

	for (size_t k = 0; k < u->o->mount.n; k++) {
		cleanup_buf struct hoy_buf text = HOY_BUF_INIT(1 << 16);

		hoy_buf_puts(&text, "--mount=");
		for (const char *s = u->o->mount.v[k]; *s; s++)
			hoy_buf_printf(&text, "%s%c", strchr("\\$\"'", *s) ? "\\" : "", *s);
		hoy_strv_push(&flags, hoy_buf_str(&text));
	}
	u->state = (struct state){ .b = b, .work = &u->c->w, .cfg = ctr_oci(u->c) };
	i.flags = flags;
	b->context = u->o->contextdir ?: "/";
	b->f.name = (char *)"run";
	r = flags.error ? hoy_fail_oom(&b->err) : mounts_open(&u->state, &i, &u->mounts);
	b->f.name = NULL;
	return r;
}

/* ---- running ---- */

/* What the command needs is there or made; then it is run. Its exit status, or an error. */
static int run_prepared(struct runner *u, int root, int n, char **words)
{
	struct ctr *c = u->c;
	const char *dir = u->o->workingdir ?: hoy_json_str(ctr_oci(c), "WorkingDir");
	cleanup_fd int made = -1;
	int r = 0;

	r = dir && *dir ? userns_as_root(&c->w.ns, &c->b.err) : 0;
	if (!r && dir && *dir && (made = hoy_mkdir_in_root(root, dir, 0755)) < 0)
		r = hoy_fail_errno(&c->b.err, -made, "cannot create the directory '%s'", dir);
	(void)userns_as_root(NULL, NULL);
	if (!r && u->o->mount.n)
		r = open_mounts(u);
	if (!r)
		work_note_stubs(&c->w, root);
	if (!r)
		r = u->chroot ? run_chroot(u, root, n, words) : run_hoy(u, root, n, words);
	if (u->o->mount.n)
		mounts_close(&u->state, &u->mounts);
	work_drop_stubs(&c->w, root);
	return r;
}

static int run_mounted(struct runner *u, int n, char **words)
{
	struct ctr *c = u->c;
	cleanup_fd int root = open(c->w.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = root < 0 ? hoy_fail_errno(&c->b.err, errno, "cannot open '%s'", c->w.root) : run_prepared(u, root, n, words);

	if (r < 0 && !c->b.err.code)
		return hoy_fail_errno(&c->b.err, -r, "cannot run hoy-run");
	if (r < 0)
		return r;
	if (stopped(&c->b) < 0)
		return -ECANCELED;
	c->b.status = r;
	return r ? hoy_fail(&c->b.err, ECHILD, "while running runtime: exit status %d", r) : 0;
}

static int run_in(struct ctr *c, const struct run_opts *o, bool chroot, int n, char **words)
{
	struct runner u = { .c = c, .o = o, .argv = HOY_STRV_INIT, .chroot = chroot, .mounts = RUN_MOUNTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	char id[HOY_ID_SIZE];
	int r = hoy_random_id(id) < 0 ? hoy_fail(&c->b.err, EIO, "cannot draw a random number") : work_mount(&c->w), end;

	if (r < 0)
		return r;
	u.name = hoy_asprintf("hoy-build-%.12s", id);
	r = u.name ? run_mounted(&u, n, words) : hoy_fail_oom(&c->b.err);
	end = work_unmount(&c->w, &err);
	if (!r && end < 0) {
		c->b.err = err;
		r = end;
	}
	hoy_strv_release(&u.argv);
	free(u.name);
	return r;
}

/* What the history says: the shell, though it wasn't asked, and the words. */
static int note(struct ctr *c, const struct run_opts *o, int n, char **words)
{
	cleanup_buf struct hoy_buf by = HOY_BUF_INIT(16 << 20);
	const struct hoy_json *shell = hoy_json_get(ctr_docker(c), "Shell");

	HOY_JSON_EACH(w, shell)
		hoy_buf_printf(&by, "%s%s", by.len ? " " : "", hoy_json_text(w) ?: "");
	if (!by.len)
		hoy_buf_puts(&by, "/bin/sh -c");
	for (int i = 0; i < n; i++)
		hoy_buf_printf(&by, " %s", words[i]);
	return by.error ? hoy_fail_oom(&c->b.err) : ctr_note(c, o->add_history, by.data);
}

/* As the option says, else as the container was made. */
static int take_isolation(struct ctr *c, const struct run_opts *o)
{
	int isolation = isolation_parse(o->isolation, &c->b.err);

	if (isolation == ISOLATION_DEFAULT)
		isolation = (int)hoy_json_int(c->d.root, "Isolation", ISOLATION_OCI);
	return isolation;
}

static int check(struct ctr *c, int n)
{
	if (!n)
		return hoy_fail(&c->b.err, EINVAL, "container ID must be specified");
	if (n < 2)
		return hoy_fail(&c->b.err, EINVAL, "command must be specified");
	return 0;
}

static int run_run(const struct hoy_verb *v, int argc, char **argv)
{
	struct run_opts o = { .add_history = -1, .terminal = -1 };
	struct hoy_strv *lists[] = { &o.cap_add, &o.cap_drop, &o.device, &o.env, &o.mount, &o.runtime_flag, &o.volume };
	struct ctr c;
	int status, r, at = 2, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&c);
	if (n > 1 && !strcmp(argv[at], "--")) {
		at++;
		n--;
	}
	r = check(&c, n);
	if (!r)
		r = ctr_open(&c, argv[1]);
	if (!r)
		r = take_isolation(&c, &o);
	if (r >= 0) {
		catch_signals();
		r = run_in(&c, &o, r == ISOLATION_CHROOT, n - 1, argv + at);
	}
	if (!r)
		r = note(&c, &o, n - 1, argv + at);
	if (!r)
		r = ctr_save(&c);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_strv_release(lists[i]);
	return ctr_finish(&c, r);
}
const struct hoy_verb verb_run = { "run", "[options] CONTAINER [--] COMMAND [ARG...]", "Run a command in a working container", run_opts, run_run,
				   HOY_VERB_COMMAND };
