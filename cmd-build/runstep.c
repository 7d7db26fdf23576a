/* cmd-build/runstep.c: RUN: a command in the working container. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/build.h"
#include "cmd-build/chroot.h"
#include "cmd-build/ctr.h"
#include "cmd-build/mounts.h"
#include "cmd-build/runopts.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/oci/caps.h"

/* Is I's text nothing but one here-document? */
static bool only_doc(const struct cf_instr *i)
{
	return i->n_docs == 1 && !strncmp(i->rest, "<<", 2) && !i->rest[strcspn(i->rest, " \t")];
}

static void push_shell(const struct state *s, struct hoy_strv *argv)
{
	const struct hoy_json *shell = hoy_json_get(s->cfg, "Shell");

	if (!shell || !shell->count) {
		hoy_strv_push(argv, "/bin/sh");
		hoy_strv_push(argv, "-c");
	}
	HOY_JSON_EACH(e, shell)
		hoy_strv_push(argv, hoy_json_text(e) ?: "");
}

/* The command of I. With here-documents it's the shell that reads them, or a script with an interpreter of its own. */
static int push_command(struct state *s, const struct cf_instr *i, struct hoy_strv *argv)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(CFILE_MAX);

	if (i->json) {
		for (size_t k = 0; k < i->args.n; k++)
			hoy_strv_push(argv, i->args.v[k]);
		return 0;
	}
	if (only_doc(i) && !strncmp(i->docs[0].content, "#!", 2)) {
		hoy_strv_pushf(argv, "/dev/pipes/%s", i->docs[0].name);
		return 0;
	}
	if (only_doc(i)) {
		hoy_buf_puts(&text, i->docs[0].content);
	} else {
		hoy_buf_puts(&text, i->rest);
		for (size_t k = 0; k < i->n_docs; k++)
			hoy_buf_printf(&text, "\n%s%s", i->docs[k].content, i->docs[k].name);
	}
	push_shell(s, argv);
	hoy_strv_push(argv, hoy_buf_str(&text));
	return text.error ? hoy_fail_oom(&s->b->err) : 0;
}

static int push_script(struct state *s, const struct cf_instr *i, struct hoy_strv *argv)
{
	int r = 0;

	if (only_doc(i) && !strncmp(i->docs[0].content, "#!", 2)) {
		r = doc_file(s->b, i->docs[0].name, i->docs[0].content, 0755);
		if (!r)
			hoy_strv_pushf(argv, "--volume=%s/%s:/dev/pipes/%s:ro", s->b->tmp, i->docs[0].name, i->docs[0].name);
	}
	return r;
}

static void push_env(const struct state *s, struct hoy_strv *argv)
{
	cleanup_strv struct hoy_strv vars = HOY_STRV_INIT;

	config_vars(s, &vars);
	hoy_strv_push(argv, "--unsetenv=container");
	for (size_t k = 0; k < vars.n; k++)
		hoy_strv_pushf(argv, "--env=%s", vars.v[k]);
	for (size_t k = 0; k < s->b->given.n; k++) {
		const char *eq = strchr(s->b->given.v[k], '=');
		size_t len = eq ? (size_t)(eq - s->b->given.v[k]) : 0;

		/* Those that need no ARG. */
		if (len > 6 && !strncasecmp(eq - 6, "_proxy", 6))
			hoy_strv_pushf(argv, "--env=%s", s->b->given.v[k]);
	}
}

static int push_options(const struct state *s, const struct cf_instr *i, struct hoy_strv *argv)
{
	const struct build_opts *o = s->b->o;
	const char *network = cf_flag(i, "network") ?: "default", *user = config_str(s, "User"), *dir = config_str(s, "WorkingDir");

	if (strcmp(network, "default") && strcmp(network, "none") && strcmp(network, "host"))
		return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "unsupported value \"%s\" for \"RUN --network\", must be either \"host\" or \"none\"", network);
	if (!strcmp(network, "default"))
		network = o->network ?: "";
	if (*network)
		hoy_strv_pushf(argv, "--network=%s", network);
	/* As buildah has it: then /etc/hosts is the image's. */
	if (!strcmp(network, "none") || o->no_hosts)
		hoy_strv_push(argv, "--no-hosts");
	if (o->no_hostname)
		hoy_strv_push(argv, "--no-hostname");
	hoy_strv_pushf(argv, "--user=%s", *user ? user : "0");
	hoy_strv_pushf(argv, "--workdir=%s", *dir ? dir : "/");
	if (o->http_proxy == 0)
		hoy_strv_push(argv, "--http-proxy=false");
	/* What RUN does to a volume is undone. */
	HOY_JSON_EACH(v, o->compat_volumes ? hoy_json_get(s->cfg, "Volumes") : NULL)
		hoy_strv_pushf(argv, "--volume=%s%s:%s:O", s->work->root, v->key, v->key);
	for (size_t k = 0; k < n_run_options; k++)
		for (size_t m = 0; m < o->run_opts[k].n; m++)
			/* Without a network, /etc/resolv.conf is the image's. */
			if (strcmp(network, "none") || strncmp(run_options[k].name, "dns", 3))
				hoy_strv_pushf(argv, "--%s=%s", run_options[k].name, o->run_opts[k].v[m]);
	return 0;
}

/* --security=insecure is all that the machine has: only whoever builds can allow that. */
static int push_security(struct state *s, const struct cf_instr *i, struct hoy_strv *argv)
{
	const char *mode = cf_flag(i, "security") ?: "sandbox";

	if (!strcmp(mode, "insecure") && !hoy_strv_has(&s->b->o->allow, "security.insecure"))
		return cfile_fail(&s->b->f, i, &s->b->err, EPERM, "--security=insecure is not allowed (build with: --allow security.insecure)");
	if (strcmp(mode, "insecure") && strcmp(mode, "sandbox"))
		return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "unsupported value \"%s\" for \"RUN --security\", must be either \"insecure\" or \"sandbox\"", mode);
	if (*mode == 'i')
		hoy_strv_push(argv, "--privileged");
	return 0;
}

static int make_argv(struct state *s, const struct cf_instr *i, const char *name, const struct run_mounts *m, struct hoy_strv *argv)
{
	int r;

	hoy_strv_push(argv, "hoy-run");
	hoy_globals_argv(argv);
	hoy_strv_push(argv, "--events-backend=none");
	hoy_strv_push(argv, "run");
	hoy_strv_push(argv, "--rm");
	if (s->b->o->use_stdin)
		hoy_strv_push(argv, "--interactive");
	if (no_pivot_asked())
		hoy_strv_push(argv, "--no-pivot");
	hoy_strv_push(argv, "--rootfs");
	hoy_strv_push(argv, "--log-driver=none");
	hoy_strv_push(argv, "--passwd=false");
	hoy_strv_pushf(argv, "--name=%s", name);
	push_env(s, argv);
	r = userns_run_argv(&s->work->ns, argv, &s->b->err);
	if (!r)
		r = push_options(s, i, argv);
	if (!r)
		r = push_security(s, i, argv);
	if (!r)
		r = push_script(s, i, argv);
	if (r < 0)
		return r;
	mounts_argv(m, argv);
	hoy_strv_push(argv, s->work->root);
	r = push_command(s, i, argv);
	return argv->error ? hoy_fail_oom(&s->b->err) : r;
}

static unsigned run_flags(const struct build *b) { return (b->o->quiet ? RUN_QUIET : 0) | (b->o->use_stdin ? RUN_STDIN : 0); }

int run_with_secrets(struct build *b, const struct run_mounts *m, char **argv, const char *name, unsigned flags)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;
	char **own = environ;
	int r;

	if (!m->env.n)
		return run_and_wait(b, argv, name, flags);
	for (char **e = own; *e; e++)
		hoy_strv_push(&env, *e);
	for (size_t k = 0; k < m->env.n; k++) {
		cleanup_free char *key = strndup(m->env.v[k], strcspn(m->env.v[k], "="));

		hoy_env_set(&env, key ?: "", m->env.v[k] + strcspn(m->env.v[k], "=") + 1);
	}
	if (env.error)
		return -ENOMEM;
	environ = env.v;
	r = run_and_wait(b, argv, name, flags);
	environ = own;
	for (size_t k = 0; k < env.n; k++)
		explicit_bzero(env.v[k], strlen(env.v[k]));
	return r;
}

/* ---- without a runtime ---- */

/* What hoy-run would be told. */
static int fill_chroot(struct state *s, const struct cf_instr *i, struct chroot_cmd *k, const struct run_mounts *m, struct hoy_strv *argv)
{
	int r = push_options(s, i, argv);

	if (!r)
		r = push_security(s, i, argv);
	push_env(s, argv);
	if (!r)
		r = push_script(s, i, argv);
	if (r < 0)
		return r;
	r = argv->error ? hoy_fail_oom(&s->b->err) : chroot_words(k, argv, &s->b->err);
	if (r < 0)
		return cfile_fail(&s->b->f, i, &s->b->err, -r, "%s", (char *)strdupa(s->b->err.msg));
	for (size_t n = 0; n < m->env.n; n++)
		hoy_strv_push(&k->env, m->env.v[n]);
	return push_command(s, i, &k->words);
}

static int run_chroot(struct state *s, const struct cf_instr *i, const struct run_mounts *m)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	char host[16];
	struct chroot_cmd k = { .root = s->work->root, .hostname = host, .caps = HOY_CAPS_DEFAULT, .mounts = m, .ns = &s->work->ns,
				.no_pivot = no_pivot_asked() };
	int r = fill_chroot(s, i, &k, m, &argv);

	snprintf(host, sizeof(host), "%.12s", s->work->id);
	if (!r)
		r = chroot_run(s->b, &k, run_flags(s->b));
	for (size_t n = 0; n < k.env.n && m->env.n; n++)
		explicit_bzero(k.env.v[n], strlen(k.env.v[n]));
	chroot_cmd_release(&k);
	return r;
}

/* ---- the step ---- */

static int run_hoy(struct state *s, const struct cf_instr *i, const char *name, const struct run_mounts *m)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	int r = make_argv(s, i, name, m, &argv);

	return r ? r : run_with_secrets(s->b, m, argv.v, name, run_flags(s->b));
}

int work_run(struct state *s, const struct cf_instr *i)
{
	struct run_mounts mounts = RUN_MOUNTS_INIT;
	cleanup_free char *name = NULL;
	cleanup_fd int root = -1;
	int r = work_open(s);

	if (!r)
		r = stopped(s->b);
	if (!r)
		r = work_workdir(s);
	if (!r)
		r = work_volumes(s, hoy_json_get(s->cfg, "Volumes"));
	if (r < 0)
		return r;
	root = open(s->work->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	name = hoy_asprintf("hoy-build-%.12s", s->work->id);
	r = root < 0 ? hoy_fail_errno(&s->b->err, errno, "cannot open '%s'", s->work->root) : name ? 0 : hoy_fail_oom(&s->b->err);
	if (!r)
		r = mounts_open(s, i, &mounts);
	if (!r)
		work_note_stubs(s->work, root);
	if (!r)
		r = s->b->chroot ? run_chroot(s, i, &mounts) : run_hoy(s, i, name, &mounts);
	mounts_close(s, &mounts);
	work_drop_stubs(s->work, root);
	if (r < 0)
		return s->b->err.code ? r : hoy_fail_errno(&s->b->err, -r, "cannot run hoy-run");
	if (stopped(s->b) < 0)
		return -ECANCELED;
	s->b->status = r;
	return r ? cfile_fail(&s->b->f, i, &s->b->err, ECHILD, "building at STEP \"%s\": while running runtime: exit status %d", i->text, r) : 0;
}
