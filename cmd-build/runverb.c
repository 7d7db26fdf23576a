/* cmd-build/runverb.c: `run`: a command in a working container, with the container's settings. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/chroot.h"
#include "cmd-build/runverb.h"
#include "cmd-build/verbs.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"

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

/* ---- the command line ---- */

static bool has_terminal(const struct run_opts *o)
{
	return o->terminal >= 0 ? o->terminal : isatty(0) && isatty(1) && isatty(2);
}

static int run_hoy(struct runner *u, int root, int n, char **words)
{
	int r;

	if (u->o->runtime)
		hoy_globals.runtime = u->o->runtime;
	for (size_t i = 0; i < u->o->runtime_flag.n; i++)
		hoy_strv_push(&hoy_globals.runtime_flags, u->o->runtime_flag.v[i]);
	HOY_JSON_EACH(d, hoy_json_path(u->c->d.root, "CommonBuildOpts", "OCIHooksDir", NULL))
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
		r = run_words(u, root);
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
	int r = run_words(u, root);

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
