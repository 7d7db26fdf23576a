/* cmd-build/work.c: working containers: a layer on what a stage stands on, mounted; commands run and files copied in it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "cmd-build/build.h"
#include "cmd-build/runopts.h"
#include "cmd-build/subst.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/proc/sibling.h"
#include "common/store/containers.h"
#include "common/store/images.h"
#include "common/store/layers.h"

/* ---- life ---- */

static int make_storage(struct state *s, struct work *w)
{
	struct build *b = s->b;
	cleanup_free char *lname = hoy_asprintf("%s-layer", w->name);
	struct hoy_layer_rw rw = { .id = w->layer, .parent = *s->layer ? s->layer : NULL, .name = lname, .vol = true };
	struct hoy_container_new n = { .id = w->id, .name = w->name, .image = s->image, .layer = w->layer, .metadata = "", .vol = true };
	int r = lname ? hoy_store_lock(b->s, HOY_IMAGES, HOY_LAYERS | HOY_CONTAINERS, &b->err) : hoy_fail_oom(&b->err);

	if (r < 0)
		return r;
	if (*s->image && !hoy_image_get(b->s, s->image))
		r = hoy_fail(&b->err, ENOENT, "image %.12s was removed meanwhile", s->image);
	if (!r)
		r = hoy_layer_create_rw(b->s, &rw, &b->err);
	if (!r) {
		r = hoy_container_create(b->s, &n, &b->err);
		if (r < 0)
			(void)hoy_layer_delete(b->s, w->layer, NULL);
	}
	hoy_store_unlock(b->s);
	return r;
}

static int mount_layer(struct build *b, const char *layer, bool rdonly, char **ret)
{
	struct hoy_mount_opts o = { .rdonly = rdonly, .vol = !rdonly };
	int r = hoy_store_lock(b->s, 0, HOY_GRAPH | HOY_LAYERS, &b->err);

	if (!r)
		r = hoy_layer_mount(b->s, layer, &o, ret, &b->err);
	hoy_store_unlock(b->s);
	return r;
}

static int unmount_layer(struct build *b, const char *layer, struct hoy_err *err)
{
	int r = hoy_store_lock(b->s, 0, HOY_GRAPH | HOY_LAYERS, err);

	if (!r)
		r = hoy_layer_unmount(b->s, layer, false, err);
	hoy_store_unlock(b->s);
	return r;
}

static int work_mount(struct work *w) { return w->root ? 0 : mount_layer(w->b, w->layer, false, &w->root); }

int work_open(struct state *s)
{
	struct work *w;
	int r;

	if (s->work)
		return work_mount(s->work);
	w = calloc(1, sizeof(*w));
	if (!w)
		return hoy_fail_oom(&s->b->err);
	w->b = s->b;
	if (hoy_random_id(w->id) < 0 || hoy_random_id(w->layer) < 0 ||
	    !(w->name = hoy_asprintf("%.12s-working-container-%.8s", *s->image ? s->image : "scratch", w->id))) {
		free(w);
		return hoy_fail(&s->b->err, EIO, "cannot draw a random number");
	}
	r = make_storage(s, w);
	if (r < 0) {
		free(w->name);
		free(w);
		return r;
	}
	s->work = w;
	return work_mount(w);
}

void work_drop(struct work *w)
{
	struct hoy_err err = HOY_ERR_INIT;

	if (!w)
		return;
	(void)work_unmount(w, &err);
	if (!hoy_store_lock(w->b->s, 0, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &err)) {
		(void)hoy_container_delete(w->b->s, w->id, &err);
		hoy_store_unlock(w->b->s);
	}
	hoy_strv_release(&w->stubs);
	free(w->name);
	free(w->root);
	free(w);
}

int work_mkdir(struct state *s, const char *path)
{
	cleanup_fd int root = -1, fd = -1;
	int r = work_open(s);

	if (r < 0)
		return r;
	root = open(s->work->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = root < 0 ? -errno : hoy_mkdir_in_root(root, path, 0755);
	return fd < 0 ? hoy_fail_errno(&s->b->err, -fd, "cannot create the directory '%s'", path) : 0;
}

/* ---- what mounts leave ---- */

/* Where a container's mounts are, innermost first: a runtime makes them if they are missing. */
static const char *const stubs[] = { "etc/hostname", "etc/hosts", "etc/resolv.conf", "run/.containerenv", "run/secrets", "dev", "etc", "proc", "run", "sys" };

static void note_stubs(struct work *w, int root)
{
	for (size_t i = 0; i < ARRAY_SIZE(stubs); i++)
		if (!hoy_exists(root, stubs[i]))
			hoy_strv_push(&w->stubs, stubs[i]);
}

/* Those that were not there before go, if nobody has put anything into them. */
static void drop_stubs(struct work *w, int root)
{
	for (size_t i = 0; i < ARRAY_SIZE(stubs); i++) {
		struct stat st;

		if (!hoy_strv_has(&w->stubs, stubs[i]) || fstatat(root, stubs[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			(void)unlinkat(root, stubs[i], AT_REMOVEDIR);
		else if (S_ISREG(st.st_mode) && !st.st_size)
			(void)unlinkat(root, stubs[i], 0);
	}
	hoy_strv_release(&w->stubs);
}

/* Is the directory NAME of a layer below as ST? */
static bool as_below(struct work *w, const char *name, const struct stat *st)
{
	cleanup_strv struct hoy_strv lowers = HOY_STRV_INIT;

	if (hoy_layer_lowers(w->b->s, w->layer, &lowers, NULL) < 0)
		return false;
	for (size_t i = 0; i < lowers.n; i++) {
		cleanup_fd int fd = hoy_layer_open_diff(w->b->s, lowers.v[i]);
		struct stat there;

		if (fd >= 0 && !fstatat(fd, name, &there, AT_SYMLINK_NOFOLLOW))
			return S_ISDIR(there.st_mode) && there.st_mode == st->st_mode && there.st_uid == st->st_uid && there.st_gid == st->st_gid;
	}
	return false;
}

/*
 * A stub that came and went has left its directory in the upper layer, with a new time and nothing in it. It isn't mounted now: the
 * directory goes if it says nothing that those below don't.
 */
static void drop_copied_up(struct work *w)
{
	cleanup_fd int upper = hoy_layer_open_diff(w->b->s, w->layer);

	for (size_t i = 0; upper >= 0 && i < ARRAY_SIZE(stubs); i++) {
		cleanup_fd int fd = strchr(stubs[i], '/') ? -1 : openat(upper, stubs[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0 || fgetxattr(fd, "trusted.overlay.opaque", NULL, 0) >= 0 ||
		    fgetxattr(fd, "user.overlay.opaque", NULL, 0) >= 0 || fgetxattr(fd, "trusted.overlay.redirect", NULL, 0) >= 0)
			continue;
		if (as_below(w, stubs[i], &st))
			(void)unlinkat(upper, stubs[i], AT_REMOVEDIR);
	}
}

int work_unmount(struct work *w, struct hoy_err *err)
{
	int r;

	if (!w->root)
		return 0;
	r = unmount_layer(w->b, w->layer, err);
	free(w->root);
	w->root = NULL;
	if (!r && !w->b->s->vfs)
		drop_copied_up(w);
	return r;
}

/* ---- signals ---- */

static volatile sig_atomic_t caught;

int stopped(struct build *b)
{
	if (!caught)
		return 0;
	b->status = 128 + caught;
	return hoy_fail(&b->err, ECANCELED, "stopped by signal %d", (int)caught);
}

static void on_signal(int sig) { caught = sig; }

void catch_signals(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_SIZE(sigs); i++)
		sigaction(sigs[i], &sa, NULL);
}

/* In a process group of its own, so that a terminal's Ctrl-C is ours alone: what ends a container is `rm`. */
static int spawn(struct build *b, char **argv, pid_t *ret)
{
	cleanup_free char *path = hoy_sibling(argv[0]);
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none;
	int r;

	if (!path)
		return -ENOMEM;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (b->o->quiet)
		posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&at);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setpgroup(&at, 0);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	r = posix_spawnp(ret, path, &fa, &at, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	return -r;
}

static void end_container(const char *name)
{
	const char *const words[] = { "rm", "-f", "-i", "-t", "0", name, NULL };

	(void)hoy_call_tool("hoy-run", words, NULL);
}

/* Wait for PID, the container NAME; a signal for us ends it. */
static int wait_for(pid_t pid, const char *name, const sigset_t *set)
{
	int status, sig;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		sig = sigwaitinfo(set, NULL);
		if (sig != SIGINT && sig != SIGTERM && sig != SIGHUP)
			continue;
		caught = sig;
		end_container(name);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_and_wait(struct build *b, char **argv, const char *name)
{
	sigset_t set, old;
	pid_t pid;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &old);
	r = spawn(b, argv, &pid);
	if (!r)
		r = wait_for(pid, name, &set);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}

/* ---- here-documents ---- */

/* Write DOC's text, as NAME, to the directory for these. */
static int doc_file(struct build *b, const char *name, const char *text, mode_t mode)
{
	const char *dir = getenv("TMPDIR");
	cleanup_free char *path = NULL;
	int r;

	if (!b->tmp) {
		cleanup_free char *made = hoy_asprintf("%s/hoy-build-XXXXXX", dir && *dir ? dir : "/var/tmp");

		if (!made || !mkdtemp(made))
			return hoy_fail_errno(&b->err, errno, "cannot make a temporary directory");
		b->tmp = steal_ptr(&made);
	}
	if (strchr(name, '/') || !strcmp(name, "..") || !strcmp(name, "."))
		return hoy_fail(&b->err, EINVAL, "'%s' cannot be the name of a file", name);
	path = hoy_path_join(b->tmp, name);
	r = path ? hoy_replace_file(AT_FDCWD, path, text, strlen(text), mode, false) : -ENOMEM;
	return r < 0 ? hoy_fail_errno(&b->err, -r, "cannot write '%s'", name) : 0;
}

/* Is I's text nothing but one here-document? */
static bool only_doc(const struct cf_instr *i)
{
	return i->n_docs == 1 && !strncmp(i->rest, "<<", 2) && !i->rest[strcspn(i->rest, " \t")];
}

/* ---- RUN ---- */

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

static void push_options(const struct state *s, const struct cf_instr *i, struct hoy_strv *argv)
{
	const struct build_opts *o = s->b->o;
	const char *network = cf_flag(i, "network") ?: "default", *user = config_str(s, "User"), *dir = config_str(s, "WorkingDir");

	if (!strcmp(network, "default"))
		network = o->network ?: "";
	if (*network)
		hoy_strv_pushf(argv, "--network=%s", network);
	/* As buildah has it: then /etc/hosts is the image's. */
	if (!strcmp(network, "none"))
		hoy_strv_push(argv, "--no-hosts");
	if (*user)
		hoy_strv_pushf(argv, "--user=%s", user);
	hoy_strv_pushf(argv, "--workdir=%s", *dir ? dir : "/");
	if (o->http_proxy == 0)
		hoy_strv_push(argv, "--http-proxy=false");
	for (size_t k = 0; k < n_run_options; k++)
		for (size_t m = 0; m < o->run_opts[k].n; m++)
			hoy_strv_pushf(argv, "--%s=%s", run_options[k].name, o->run_opts[k].v[m]);
}

static int make_argv(struct state *s, const struct cf_instr *i, const char *name, struct hoy_strv *argv)
{
	int r;

	hoy_strv_push(argv, "hoy-run");
	hoy_globals_argv(argv);
	hoy_strv_push(argv, "--events-backend=none");
	hoy_strv_push(argv, "run");
	hoy_strv_push(argv, "--rm");
	hoy_strv_push(argv, "--rootfs");
	hoy_strv_push(argv, "--log-driver=none");
	hoy_strv_push(argv, "--passwd=false");
	hoy_strv_pushf(argv, "--name=%s", name);
	push_env(s, argv);
	push_options(s, i, argv);
	r = push_script(s, i, argv);
	if (r < 0)
		return r;
	hoy_strv_push(argv, s->work->root);
	r = push_command(s, i, argv);
	return argv->error ? hoy_fail_oom(&s->b->err) : r;
}

int work_run(struct state *s, const struct cf_instr *i)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_free char *name = NULL;
	cleanup_fd int root = -1;
	const char *dir = config_str(s, "WorkingDir");
	int r = work_open(s);

	if (!r)
		r = stopped(s->b);
	if (!r && *dir && strcmp(dir, "/"))
		r = work_mkdir(s, dir);
	HOY_JSON_EACH(v, hoy_json_get(s->cfg, "Volumes"))
		if (!r)
			r = work_mkdir(s, v->key);
	if (r < 0)
		return r;
	root = open(s->work->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	name = hoy_asprintf("hoy-build-%.12s", s->work->id);
	r = root < 0 ? hoy_fail_errno(&s->b->err, errno, "cannot open '%s'", s->work->root) : name ? 0 : hoy_fail_oom(&s->b->err);
	if (!r)
		r = make_argv(s, i, name, &argv);
	if (r < 0)
		return r;
	note_stubs(s->work, root);
	r = run_and_wait(s->b, argv.v, name);
	drop_stubs(s->work, root);
	if (r < 0)
		return hoy_fail_errno(&s->b->err, -r, "cannot run hoy-run");
	if (stopped(s->b) < 0)
		return -ECANCELED;
	s->b->status = r;
	return r ? cfile_fail(&s->b->f, i, &s->b->err, ECHILD, "building at STEP \"%s\": while running runtime: exit status %d", i->text, r) : 0;
}

/* ---- COPY and ADD ---- */

struct source {
	char *path;	  /* of its root */
	const char *layer; /* mounted for this, or NULL */
	char id[HOY_ID_SIZE], top[HOY_ID_SIZE];
	bool image;
};

static int open_image(struct state *s, struct source *src)
{
	struct build *b = s->b;
	const struct hoy_json *rec = hoy_image_get(b->s, src->id);
	int r;

	snprintf(src->top, sizeof(src->top), "%s", hoy_json_str(rec, "layer") ?: "");
	if (!*src->top)
		return hoy_fail(&b->err, ENOENT, "image %.12s has no files to copy", src->id);
	r = mount_layer(b, src->top, true, &src->path);
	if (!r)
		src->layer = src->top;
	return r;
}

static int open_source(struct state *s, const struct cf_instr *i, struct source *src)
{
	struct build *b = s->b;
	const char *flag = cf_flag(i, "from");
	cleanup_free char *from = flag ? config_word(s, i, flag) : NULL;
	long at;
	int r;

	if (!flag) {
		src->path = strdup(b->context);
		return src->path ? 0 : hoy_fail_oom(&b->err);
	}
	if (!from)
		return -b->err.code;
	src->image = true;
	at = find_stage(b, from, s->st - b->stages);
	if (at >= 0 && b->stages[at].work) {
		r = work_mount(b->stages[at].work);
		src->path = r ? NULL : strdup(b->stages[at].work->root);
		return r ? r : src->path ? 0 : hoy_fail_oom(&b->err);
	}
	if (at >= 0 && *b->stages[at].image) {
		snprintf(src->id, sizeof(src->id), "%s", b->stages[at].image);
		r = hoy_store_peek(b->s, HOY_LAYERS | HOY_IMAGES, &b->err);
	} else {
		r = image_source(b, from, src->id);
	}
	return r ? r : open_image(s, src);
}

static void close_source(struct state *s, struct source *src)
{
	if (src->layer)
		(void)unmount_layer(s->b, src->layer, NULL);
	free(src->path);
}

/* A here-document among the sources: "<<NAME" for hoy-builder, its text in a file. */
static int push_doc(struct state *s, const struct cf_instr *i, size_t *nth, struct hoy_strv *argv)
{
	const struct cf_doc *d = &i->docs[(*nth)++];
	cleanup_strv struct hoy_strv vars = HOY_STRV_INIT;
	cleanup_free char *text = NULL;
	int r;

	config_vars(s, &vars);
	text = d->expand ? subst_text(d->content, '\\', &vars, &s->b->err) : strdup(d->content);
	if (!text)
		return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "%s", (char *)strdupa(s->b->err.msg));
	r = doc_file(s->b, d->name, text, 0644);
	hoy_strv_pushf(argv, "<<%s", d->name);
	return r;
}

static int push_paths(struct state *s, const struct cf_instr *i, struct hoy_strv *argv)
{
	size_t nth = 0;
	int r = 0;

	for (size_t k = 0; k < i->args.n && !r; k++) {
		cleanup_free char *word = NULL;

		if (nth < i->n_docs && k + 1 < i->args.n && !i->json && strstr(i->args.v[k], "<<") == i->args.v[k]) {
			r = push_doc(s, i, &nth, argv);
			continue;
		}
		word = config_word(s, i, i->args.v[k]);
		if (!word)
			return -s->b->err.code;
		if (k + 1 < i->args.n && *i->word == 'A' && strstr(word, "://"))
			return cfile_fail(&s->b->f, i, &s->b->err, HOY_EUNSUPPORTED, "'%s': sources that are fetched are not supported", word);
		hoy_strv_push(argv, word);
	}
	return r;
}

static int push_copy_flags(struct state *s, const struct cf_instr *i, const struct source *src, const char *root, struct hoy_strv *argv)
{
	static const char *const flags[] = { "chown", "chmod" };
	const char *dir = config_str(s, "WorkingDir");

	for (size_t k = 0; k < ARRAY_SIZE(flags); k++) {
		const char *flag = cf_flag(i, flags[k]);
		cleanup_free char *word = flag ? config_word(s, i, flag) : NULL;

		if (flag && !word)
			return -s->b->err.code;
		if (word && !*word)
			return cfile_fail(&s->b->f, i, &s->b->err, EINVAL, "--%s needs a value", flags[k]);
		if (word)
			hoy_strv_pushf(argv, "--%s=%s", flags[k], word);
	}
	hoy_strv_pushf(argv, "--what=%s:%u: %s", s->b->f.name, i->line, i->word);
	hoy_strv_pushf(argv, "--root=%s", root);
	hoy_strv_pushf(argv, "--context=%s", src->path);
	hoy_strv_pushf(argv, "--workdir=%s", *dir ? dir : "/");
	if (src->image)
		hoy_strv_push(argv, "--from-image");
	else if (s->b->ignore)
		hoy_strv_pushf(argv, "--ignore=%s", s->b->ignore);
	if (*i->word == 'A')
		hoy_strv_push(argv, "--add");
	return 0;
}

static int copy(struct state *s, const struct cf_instr *i, const struct source *src, const char *root, bool dry, char **ret_sum)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT, paths = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	int status, r = push_paths(s, i, &paths);

	hoy_strv_push(&argv, "copy");
	if (!r)
		r = push_copy_flags(s, i, src, root, &argv);
	if (r < 0)
		return r;
	if (dry)
		hoy_strv_push(&argv, "--dry-run");
	if (i->n_docs && s->b->tmp)
		hoy_strv_pushf(&argv, "--docs=%s", s->b->tmp);
	hoy_strv_push(&argv, "--");
	for (size_t k = 0; k < paths.n; k++)
		hoy_strv_push(&argv, paths.v[k]);
	if (argv.error || paths.error)
		return hoy_fail_oom(&s->b->err);
	status = hoy_call_tool("hoy-builder", (const char *const *)argv.v, &out);
	if (status < 0)
		return hoy_fail_errno(&s->b->err, -status, "cannot run hoy-builder");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	*ret_sum = strndup(hoy_buf_str(&out), strcspn(hoy_buf_str(&out), "\n"));
	return *ret_sum ? 0 : hoy_fail_oom(&s->b->err);
}

int work_copy(struct state *s, const struct cf_instr *i, char **ret_sum)
{
	struct source src = { .path = NULL };
	int r = work_open(s);

	if (!r)
		r = open_source(s, i, &src);
	if (!r)
		r = copy(s, i, &src, s->work->root, false, ret_sum);
	close_source(s, &src);
	return r ? r : stopped(s->b);
}

int work_digest(struct state *s, const struct cf_instr *i, char **ret_sum)
{
	struct source src = { .path = NULL };
	cleanup_free char *root = NULL;
	int r = mount_layer(s->b, s->layer, true, &root);

	if (r < 0)
		return r;
	r = open_source(s, i, &src);
	if (!r)
		r = copy(s, i, &src, root, true, ret_sum);
	close_source(s, &src);
	(void)unmount_layer(s->b, s->layer, NULL);
	return r ? r : stopped(s->b);
}
