/* cmd-run/exec.c: `exec`: a process.json for the runtime, which we then become. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/oci/caps.h"

struct exec_opts {
	bool detach, interactive, tty, privileged, latest;
	int64_t preserve_fds;
	const char *user, *workdir, *detach_keys, *pid_file;
	struct hoy_strv env, env_file;
};
#define O(f) offsetof(struct exec_opts, f)
static const struct hoy_opt opts[] = {
	{ 'd', "detach", HOY_OPT_FLAG, O(detach), NULL, "leave it running in the background" },
	{ 'e', "env", HOY_OPT_LIST, O(env), "NAME=VALUE", "set an environment variable" },
	{ 0, "env-file", HOY_OPT_LIST, O(env_file), "PATH", "read environment variables from a file" },
	{ 'i', "interactive", HOY_OPT_FLAG, O(interactive), NULL, "keep stdin open" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
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

static void process(struct hoy_buf *b, const struct ctr *c, const struct exec_opts *o, const struct user *u, const struct hoy_strv *env,
		    const char *cwd, char **words)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);

	hoy_jw_object(&w, NULL);
	if (o->tty)
		hoy_jw_bool(&w, "terminal", true);
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

/* FD has the process. */
static int runtime_words(const struct ctr *c, const struct exec_opts *o, int fd, struct hoy_strv *argv, struct hoy_err *err)
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
	if (o->preserve_fds)
		hoy_strv_pushf(argv, "--preserve-fds=%lld", (long long)o->preserve_fds);
	if (o->pid_file)
		hoy_strv_pushf(argv, "--pid-file=%s", o->pid_file);
	hoy_strv_push(argv, "--process");
	hoy_strv_pushf(argv, "/proc/self/fd/%d", fd);
	hoy_strv_push(argv, c->id);
	return argv->error ? hoy_fail_oom(err) : 0;
}

static int become_runtime(const struct exec_opts *o, const struct hoy_strv *argv, struct hoy_err *err)
{
	if (!o->interactive && !o->tty) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		if (null >= 0)
			dup2(null, STDIN_FILENO);
	}
	execvp(argv->v[0], argv->v);
	return hoy_fail_errno(err, errno, "cannot run the OCI runtime '%s'", argv->v[0]);
}

/* From the words of the user to those of the runtime. */
static int prepare(struct ctr *c, const struct exec_opts *o, char **words, struct hoy_strv *argv, int *ret_fd, int *code, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4 << 20);
	cleanup_fd int root = -1;
	struct user u;
	char path[64];
	const char *cwd;
	int fd, r;

	*code = 125;
	if (ctr_status(c) != ST_RUNNING) {
		*code = ctr_pid(c) ? 125 : 255;
		return hoy_fail(err, HOY_EUNSUPPORTED, "can only create exec sessions on running containers: container state improper");
	}
	r = ctr_load_def(c, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/root", (int)ctr_pid(c));
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return hoy_fail_errno(err, errno, "cannot open the root of container %.12s", c->id);
	r = resolve_user(root, o->user ?: hoy_json_str(c->def.root, "user"), &u, err);
	if (!r)
		r = environment(c, o, &u, &env, err);
	if (r < 0)
		return r;
	cwd = o->workdir ?: hoy_json_str(c->def.root, "cwd") ?: "/";
	*code = resolve(root, words[0], &env, cwd, err);
	if (*code)
		return -ENOENT;
	*code = 125;
	process(&b, c, o, &u, &env, cwd, words);
	fd = b.error ? hoy_fail_oom(err) : spec_fd(&b, err);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return runtime_words(c, o, fd, argv, err);
}

int exec_command(struct ctr *c, char **words, const char *pidfile, struct hoy_strv *argv, int *ret_fd, int *ret_code, struct hoy_err *err)
{
	struct exec_opts o = { .pid_file = pidfile };

	return prepare(c, &o, words, argv, ret_fd, ret_code, err);
}

static int do_exec(struct ctr *c, struct exec_opts *o, char **words, int *code, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	int fd, r = prepare(c, o, words, &argv, &fd, code, err);

	return r ? r : become_runtime(o, &argv, err);
}

static int run_exec(const struct hoy_verb *v, int argc, char **argv)
{
	struct exec_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int status, code = 125, r, n = hoy_verb_args(v, argc, argv, &o, 1, -1, &status);
	char **words;

	if (n < 0)
		return status;
	words = argv + (o.latest ? 1 : 2);
	if (!*words) {
		hoy_error("must provide a non-empty command to start an exec session: invalid argument");
		return 125;
	}
	s = open_store(HOY_STORE_RDONLY);
	if (!s)
		return 125;
	r = pick(s, o.latest ? 0 : 1, argv + 1, false, o.latest, &ids, &err);
	if (!r)
		r = ctr_open(&c, s, ids.v[0], &err);
	if (!r)
		r = ctr_load_live(&c, &err);
	if (!r)
		r = do_exec(&c, &o, words, &code, &err);
	return hoy_report(&err, code);
}
const struct hoy_verb verb_exec = { "exec", "[options] CONTAINER COMMAND [ARG...]", "Run a command in a running container", opts, run_exec,
				    true };
