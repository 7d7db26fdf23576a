/*
 * cmd-run/exec.c: `exec`: a process.json for the runtime. In the foreground without a terminal the runtime is our child, and
 * has our streams; with a terminal, or in the background, the monitor carries the session.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-run/session.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/oci/caps.h"

struct exec_opts {
	bool detach, interactive, tty, privileged, latest, no_session;
	int64_t preserve_fds;
	const char *user, *workdir, *detach_keys, *cidfile, *pid_file;
	struct hoy_strv env, env_file, preserve_fd;
	int fds[64]; /* what both options for that mean */
	size_t n_fds;
};
#define O(f) offsetof(struct exec_opts, f)
static const struct hoy_opt opts[] = {
	{ 0, "cidfile", HOY_OPT_STRING, O(cidfile), "PATH", "read the container's id from a file" },
	{ 'd', "detach", HOY_OPT_FLAG, O(detach), NULL, "leave it running in the background" },
	{ 0, "detach-keys", HOY_OPT_STRING, O(detach_keys), "KEYS", "keys that detach (default ctrl-p,ctrl-q)" },
	{ 'e', "env", HOY_OPT_LIST, O(env), "NAME=VALUE", "set an environment variable" },
	{ 0, "env-file", HOY_OPT_LIST, O(env_file), "PATH", "read environment variables from a file" },
	{ 'i', "interactive", HOY_OPT_FLAG, O(interactive), NULL, "keep stdin open" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	{ 0, "no-session", HOY_OPT_FLAG, O(no_session), NULL, "note no session, and no events" },
	{ 0, "preserve-fd", HOY_OPT_COMMAS, O(preserve_fd), "FD", "pass on this file descriptor" },
	{ 0, "preserve-fds", HOY_OPT_INT, O(preserve_fds), "N", "pass on N file descriptors beside the first three" },
	{ 0, "privileged", HOY_OPT_FLAG, O(privileged), NULL, "give all capabilities" },
	{ 't', "tty", HOY_OPT_FLAG, O(tty), NULL, "give it a terminal" },
	{ 'u', "user", HOY_OPT_STRING, O(user), "USER[:GROUP]", "user to run as" },
	{ 'w', "workdir", HOY_OPT_STRING, O(workdir), "PATH", "working directory" },
	HOY_OPTS_END,
};

static int environment(const struct ctr *c, const struct exec_opts *o, const struct user *u, struct hoy_strv *env, struct hoy_err *err)
{
	int r;

	HOY_JSON_EACH(it, hoy_json_get(c->def.root, "env"))
		hoy_strv_push(env, it->str);
	if (o->tty && !hoy_env_get(env, "TERM"))
		hoy_env_set(env, "TERM", "xterm");
	if (!hoy_env_get(env, "HOME") || o->user)
		hoy_env_set(env, "HOME", u->home);
	if (!hoy_env_get(env, "HOSTNAME"))
		hoy_env_set(env, "HOSTNAME", hoy_json_str(c->live.root, "hostname") ?: "");
	r = add_env(env, &o->env_file, &o->env, err);
	return r ? r : env->error ? hoy_fail_oom(err) : 0;
}

/* Can COMMAND be executed in the container? Found where the runtime would find it; 0, 126 or 127. */
static int probe(int rootfd, const char *path, struct hoy_err *err)
{
	cleanup_fd int fd = hoy_open_beneath(rootfd, path, O_PATH, 0, HOY_IN_ROOT);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fd == -EACCES ? 126 : 127;
	if (S_ISDIR(st.st_mode)) {
		hoy_fail(err, EISDIR, "open executable: Is a directory: OCI permission denied");
		return 126;
	}
	return st.st_mode & 0111 ? 0 : 126;
}

static int resolve(int rootfd, const char *command, const struct hoy_strv *env, const char *cwd, struct hoy_err *err)
{
	const char *path = hoy_env_get(env, "PATH") ?: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	cleanup_strv struct hoy_strv dirs = HOY_STRV_INIT;
	int worst = 127, r;

	if (strchr(command, '/')) {
		cleanup_free char *full = *command == '/' ? strdup(command) : hoy_asprintf("%s/%s", cwd, command);

		r = full ? probe(rootfd, full, err) : 125;
		if (r && !err->msg[0])
			hoy_fail(err, ENOENT, r == 126 ? "exec %s: Permission denied: OCI permission denied" :
				 "executable file `%s` not found: No such file or directory: OCI runtime attempted to invoke a command that "
				 "was not found", command);
		return r;
	}
	hoy_strv_split(&dirs, path, ':');
	for (size_t i = 0; i < dirs.n; i++) {
		cleanup_free char *full = hoy_asprintf("%s/%s", dirs.v[i], command);
		struct hoy_err ignored = HOY_ERR_INIT;

		r = full ? probe(rootfd, full, &ignored) : 125;
		if (!r)
			return 0;
		worst = r < worst ? r : worst;
	}
	hoy_fail(err, ENOENT, worst == 126 ? "exec %s: Permission denied: OCI permission denied" :
		 "executable file `%s` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not "
		 "found", command);
	return worst;
}

static int working_directory(int rootfd, const char *cwd, struct hoy_err *err)
{
	cleanup_fd int fd = hoy_open_beneath(rootfd, cwd, O_PATH | O_DIRECTORY, 0, HOY_IN_ROOT);

	if (fd >= 0 || fd == -EACCES) /* the container's user may see more than we */
		return 0;
	hoy_fail(err, -fd, "chdir to `%s`: %s: OCI runtime attempted to invoke a command that was not found", cwd, strerror(-fd));
	return 127;
}

static void caps(struct hoy_jw *w, const struct ctr *c, const struct exec_opts *o, const struct user *u)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	uint64_t all = hoy_caps_bounding();

	hoy_jw_object(w, "capabilities");
	for (int i = 0; i < 3; i++) {
		hoy_jw_array(w, sets[i]);
		if (o->privileged)
			for (int k = 0; k < 64; k++)
				if (all >> k & 1)
					hoy_jw_string(w, NULL, hoy_cap_name(k));
		if (!o->privileged && (i == 0 || u->uid == 0))
			HOY_JSON_EACH(it, hoy_json_get(c->def.root, "caps"))
				hoy_jw_value(w, NULL, it);
		hoy_jw_end_array(w);
	}
	hoy_jw_end_object(w);
}

/* As large as ours from the first moment on. */
static void terminal(struct hoy_jw *w)
{
	struct winsize ws;

	hoy_jw_bool(w, "terminal", true);
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) < 0 || !ws.ws_row || !ws.ws_col)
		return;
	hoy_jw_object(w, "consoleSize");
	hoy_jw_uint(w, "height", ws.ws_row);
	hoy_jw_uint(w, "width", ws.ws_col);
	hoy_jw_end_object(w);
}

static void process(struct hoy_buf *b, const struct ctr *c, const struct exec_opts *o, const struct user *u, const struct hoy_strv *env,
		    const char *cwd, char **words)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);

	hoy_jw_object(&w, NULL);
	if (o->tty)
		terminal(&w);
	hoy_jw_object(&w, "user");
	hoy_jw_uint(&w, "uid", u->uid);
	hoy_jw_uint(&w, "gid", u->gid);
	hoy_jw_int(&w, "umask", strtol(hoy_json_str(c->def.root, "umask") ?: "0022", NULL, 8));
	hoy_jw_array(&w, "additionalGids");
	for (size_t i = 0; i < u->n_groups; i++)
		hoy_jw_uint(&w, NULL, u->groups[i]);
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
	hoy_jw_array(&w, "args");
	for (; *words; words++)
		hoy_jw_string(&w, NULL, *words);
	hoy_jw_end_array(&w);
	hoy_jw_strings(&w, "env", env->v, env->n);
	hoy_jw_string(&w, "cwd", cwd);
	caps(&w, c, o, u);
	if (hoy_json_bool(c->def.root, "noNewPrivileges", false))
		hoy_jw_bool(&w, "noNewPrivileges", true);
	hoy_jw_end_object(&w);
}

/* The spec on an fd that the runtime inherits: no file to clean up. */
static int spec_fd(const struct hoy_buf *b, struct hoy_err *err)
{
	int fd = memfd_create("hoy-exec", 0);

	if (fd < 0 || hoy_write_full(fd, b->data, b->len) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return hoy_fail_errno(err, errno, "cannot write the process's specification");
	return fd;
}

/* The highest of the descriptors that are passed on tells the runtime how many to keep. */
static int kept(const struct exec_opts *o)
{
	int most = 2;

	for (size_t i = 0; i < o->n_fds; i++)
		most = o->fds[i] > most ? o->fds[i] : most;
	return most - 2;
}

/* PROCESS: the path of its specification. */
static int runtime_words(const struct ctr *c, const struct exec_opts *o, const char *process, struct hoy_strv *argv, struct hoy_err *err)
{
	/* Our stderr is the user's: the runtime's own complaints come there. */
	hoy_strv_push(argv, hoy_json_str(c->live.root, "runtime") ?: "hoy-runtime");
	hoy_strv_push(argv, "--root");
	hoy_strv_pushf(argv, "%s/hoy/runtime", c->s->conf.runroot);
	hoy_strv_push(argv, "exec");
	if (o->detach)
		hoy_strv_push(argv, "--detach");
	if (o->tty)
		hoy_strv_push(argv, "--tty");
	if (kept(o))
		hoy_strv_pushf(argv, "--preserve-fds=%d", kept(o));
	if (o->pid_file)
		hoy_strv_pushf(argv, "--pid-file=%s", o->pid_file);
	hoy_strv_push(argv, "--process");
	hoy_strv_push(argv, process);
	hoy_strv_push(argv, c->id);
	return argv->error ? hoy_fail_oom(err) : 0;
}

/* From the words of the user to the process's specification in B; else CODE is what the command ends with. */
static int prepare(struct ctr *c, const struct exec_opts *o, char **words, struct hoy_buf *b, int *code, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;
	cleanup_fd int root = -1;
	struct user u;
	char path[64];
	const char *cwd;
	int r;

	*code = 255;
	if (ctr_status(c) != ST_RUNNING)
		return hoy_fail(err, HOY_EUNSUPPORTED, "can only create exec sessions on running containers: container state improper");
	r = ctr_load_def(c, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/root", (int)ctr_pid(c));
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return hoy_fail_errno(err, errno, "cannot open the root of container %.12s", c->id);
	r = resolve_user(root, o->user ?: hoy_json_str(c->def.root, "user"), &u, err);
	*code = r ? 255 : 125;
	if (!r)
		r = environment(c, o, &u, &env, err);
	if (r < 0)
		return r;
	cwd = o->workdir ?: hoy_json_str(c->def.root, "cwd") ?: "/";
	*code = working_directory(root, cwd, err);
	if (!*code)
		*code = resolve(root, words[0], &env, cwd, err);
	if (*code)
		return -ENOENT;
	*code = 125;
	process(b, c, o, &u, &env, cwd, words);
	return b->error ? hoy_fail_oom(err) : 0;
}

/* The same, as a command line of the runtime that gets the specification on the fd RET_FD. */
static int prepare_words(struct ctr *c, const struct exec_opts *o, char **words, struct hoy_strv *argv, int *ret_fd, int *code, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4 << 20);
	char path[32];
	int fd, r = prepare(c, o, words, &b, code, err);

	if (r < 0)
		return r;
	fd = spec_fd(&b, err);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return runtime_words(c, o, path, argv, err);
}

int exec_command(struct ctr *c, char **words, const char *pidfile, struct hoy_strv *argv, int *ret_fd, int *ret_code, struct hoy_err *err)
{
	struct exec_opts o = { .pid_file = pidfile };

	return prepare_words(c, &o, words, argv, ret_fd, ret_code, err);
}

/* ---- in the foreground, without a terminal ---- */

static void take_streams(const struct exec_opts *o)
{
	int null = o->interactive || o->tty ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null >= 0)
		dup2(null, STDIN_FILENO);
	/* --preserve-fd leaves out some below the highest. */
	for (int fd = 3; fd < 3 + kept(o); fd++) {
		bool wanted = false;

		for (size_t i = 0; i < o->n_fds; i++)
			wanted = wanted || o->fds[i] == fd;
		if (!wanted)
			(void)hoy_set_cloexec(fd, true);
	}
}

static int become_runtime(const struct exec_opts *o, const struct hoy_strv *argv, struct hoy_err *err)
{
	take_streams(o);
	execvp(argv->v[0], argv->v);
	return hoy_fail_errno(err, errno, "cannot run the OCI runtime '%s'", argv->v[0]);
}

static volatile pid_t child;

/* What a terminal sends it sends to the child too. */
static void pass_on(int sig, siginfo_t *si, void *context)
{
	(void)context;
	if (si->si_code <= 0 && child > 0)
		kill(child, sig);
}

static int run_child(const struct exec_opts *o, const struct hoy_strv *argv, int *code, struct hoy_err *err)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
	struct sigaction sa = { .sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART };
	volatile int failed = 0; /* told by the child: its memory is ours until it is another program */
	int status;

	take_streams(o);
	child = vfork();
	if (!child) {
		execvp(argv->v[0], argv->v);
		failed = errno;
		_exit(127);
	}
	if (child < 0)
		failed = errno;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return hoy_fail_errno(err, failed ? failed : errno, "cannot run the OCI runtime '%s'", argv->v[0]);
	if (failed)
		return hoy_fail_errno(err, failed, "cannot run the OCI runtime '%s'", argv->v[0]);
	*code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}

static int in_foreground(struct ctr *c, const struct exec_opts *o, char **words, int *code, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	char sid[HOY_ID_SIZE];
	int fd, r = prepare_words(c, o, words, &argv, &fd, code, err);

	if (r < 0)
		return r;
	if (o->no_session)
		return become_runtime(o, &argv, err);
	r = session_new(c, words, false, true, sid, err);
	if (r < 0)
		return r;
	event(c, "exec", -1);
	r = run_child(o, &argv, code, err);
	session_remove(c, sid);
	event(c, "exec_died", *code);
	return r;
}

/* ---- by the monitor ---- */

/* What the runtime said, with podman's exit code for it. */
static int refused(const struct ctr *c, const struct exec_opts *o, const char *said, int *code, struct hoy_err *err)
{
	runtime_error(c, said, code, err);
	if (o->detach)
		*code = 125;
	return -HOY_EREMOTE;
}

static int attach(struct ctr *c, struct exec_opts *o, int sock, const char *sid, int *code, struct hoy_err *err)
{
	struct start_how how = { .stdin_open = o->interactive, .detach_keys = o->detach_keys };
	int r = attach_session(c, sock, sid, &how, o->tty, code);

	if (r < 0)
		return hoy_fail_errno(err, -r, "exec session %.12s", sid);
	if (r) /* detached by keys: the session goes on */
		return 0;
	event(c, "exec_died", *code);
	session_remove(c, sid);
	return 0;
}

static int by_monitor(struct ctr *c, struct exec_opts *o, char **words, int *code, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4 << 20), said = HOY_BUF_INIT(1 << 16);
	cleanup_free char *process = NULL, *pidfile = NULL;
	char sid[HOY_ID_SIZE];
	struct session_how how = { .sid = sid, .tty = o->tty, .stdin_open = o->interactive, .detach = o->detach };
	struct exec_opts detached = *o;
	cleanup_fd int sock = -1;
	int r = prepare(c, o, words, &b, code, err);

	if (!r)
		r = session_new(c, words, o->tty, false, sid, err);
	if (r < 0)
		return r;
	process = session_path(c, sid, ".process");
	pidfile = session_path(c, sid, ".pid");
	detached.pid_file = pidfile;
	detached.detach = true;
	memcpy(how.fds, o->fds, sizeof(how.fds));
	how.n_fds = o->n_fds;
	r = process && pidfile ? hoy_replace_file(AT_FDCWD, process, b.data, b.len, 0600, false) : -ENOMEM;
	if (r < 0)
		hoy_fail_errno(err, -r, "cannot write the process's specification");
	if (!r)
		r = runtime_words(c, &detached, process, &argv, err);
	if (!r)
		r = sock = session_start(c, &how, &argv, err);
	if (r >= 0) {
		r = session_await_start(sock, &said);
		if (r == -HOY_EREMOTE)
			r = refused(c, o, hoy_buf_str(&said), code, err);
		else if (r < 0)
			hoy_fail(err, -r, "the monitor of container %.12s has ended", c->id);
	}
	if (process)
		unlink(process);
	if (r < 0) {
		session_remove(c, sid);
		return r;
	}
	event(c, "exec", -1);
	if (o->detach) {
		puts(sid);
		*code = 0;
		return 0;
	}
	*code = 255;
	return attach(c, o, steal_fd(&sock), sid, code, err);
}

/* ---- the verb ---- */

/* --preserve-fds and --preserve-fd: they must be there. */
static int preserved(struct exec_opts *o, struct hoy_err *err)
{
	for (size_t i = 0; i < o->preserve_fd.n && o->n_fds < ARRAY_SIZE(o->fds); i++) {
		char *end;
		long fd = strtol(o->preserve_fd.v[i], &end, 10);

		if (*end || end == o->preserve_fd.v[i] || fd < 3 || fd > 900)
			return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--preserve-fd\" flag: it is the number of a file descriptor from 3 on",
					o->preserve_fd.v[i]);
		o->fds[o->n_fds++] = (int)fd;
	}
	for (int64_t i = 0; i < o->preserve_fds && o->n_fds < ARRAY_SIZE(o->fds); i++)
		o->fds[o->n_fds++] = (int)(3 + i);
	if (o->preserve_fds < 0 || o->preserve_fds + (int64_t)o->preserve_fd.n > (int64_t)ARRAY_SIZE(o->fds))
		return hoy_fail(err, E2BIG, "no more than %zu file descriptors can be passed on", ARRAY_SIZE(o->fds));
	for (size_t i = 0; i < o->n_fds; i++)
		if (fcntl(o->fds[i], F_GETFD) < 0)
			return hoy_fail(err, EBADF, "file descriptor %d is not available - the %s option requires that file descriptors must be passed",
					o->fds[i], i < o->preserve_fd.n ? "preserve-fd" : "preserve-fds");
	return 0;
}

/* The container's name: the first word, in a file, or of the one made last. */
static int which(struct hoy_store *s, const struct exec_opts *o, char **argv, struct hoy_strv *ids, struct hoy_err *err)
{
	char id[256];
	ssize_t n;

	if (!o->cidfile)
		return pick(s, o->latest ? 0 : 1, argv, false, o->latest, ids, err);
	n = hoy_read_small(AT_FDCWD, o->cidfile, id, sizeof(id));
	if (n < 0)
		return hoy_fail_errno(err, (int)-n, "reading CIDFile: open %s", o->cidfile);
	id[strcspn(id, "\r\n")] = '\0';
	hoy_strv_push(ids, id);
	return ids->error ? hoy_fail_oom(err) : 0;
}

static int do_exec(struct ctr *c, struct exec_opts *o, char **words, int *code, struct hoy_err *err)
{
	unsigned char keys[16];
	int r;

	/* podman's own words end with 255 here, whatever they are about. */
	if (!o->detach && o->detach_keys && *o->detach_keys && parse_detach_keys(o->detach_keys, keys) < 0) {
		*code = 255;
		return hoy_fail(err, EINVAL, "invalid detach keys: '%s'", o->detach_keys);
	}
	r = o->tty || o->detach ? by_monitor(c, o, words, code, err) : in_foreground(c, o, words, code, err);
	/* In the background all errors are podman's own. */
	if (r < 0 && o->detach)
		*code = 125;
	return r;
}

static int run_exec(const struct hoy_verb *v, int argc, char **argv)
{
	struct exec_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int status, code = 125, r, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);
	char **words;

	if (n < 0)
		return status;
	if (!n && !o.latest && !o.cidfile) {
		hoy_error("exec requires the name or ID of a container or the --latest or --cidfile flag");
		return 125;
	}
	words = argv + (o.latest || o.cidfile ? 1 : 2);
	if (!*words) {
		hoy_error("must provide a non-empty command to start an exec session: invalid argument");
		return 125;
	}
	r = preserved(&o, &err);
	s = r < 0 ? NULL : open_store(HOY_STORE_RDONLY);
	if (!r && !s)
		return 125;
	if (!r)
		r = which(s, &o, argv + 1, &ids, &err);
	if (!r)
		r = ctr_open(&c, s, ids.v[0], &err);
	if (!r)
		r = ctr_load_live(&c, &err);
	if (!r)
		r = do_exec(&c, &o, words, &code, &err);
	hoy_strv_release(&o.preserve_fd);
	return r < 0 ? hoy_report(&err, code) : hoy_finish_stdout(code);
}
const struct hoy_verb verb_exec = { "exec", "[options] CONTAINER COMMAND [ARG...]", "Run a command in a running container", opts, run_exec,
				    true };
