/* cmd-run/start.c: a created container comes to life: mount, network, bundle, monitor, runtime start. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/cli/template.h"
#include "common/data/time.h"
#include "common/proc/boot.h"
#include "common/proc/sibling.h"
#include "common/store/layers.h"

extern char **environ;

static void live_str(struct ctr *c, const char *key, const char *value)
{
	if (value)
		hoy_json_set_string(&c->live, c->live.root, key, value);
}

/* The run directory and the notes that make it possible to undo what follows. */
static int begin(struct ctr *c, bool again, struct hoy_err *err)
{
	cleanup_free char *exitdir = hoy_path_join(c->rundir, "exit"), *persist = hoy_path_join(c->rundir, "persist"), *runtime = NULL,
			  *host = NULL;
	const char *name = hoy_json_str(c->def.root, "hostname");
	char own[256];
	int r;

	r = exitdir && persist ? hoy_mkdir_p(exitdir, 0700) : -ENOMEM;
	if (!r)
		r = hoy_mkdir_p(persist, 0700);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot make '%s'", c->rundir);
	hoy_json_release(&c->live);
	c->live.root = hoy_json_new(&c->live, HOY_JSON_OBJECT);
	if (!c->live.root)
		return hoy_fail_oom(err);
	runtime = runtime_path(hoy_globals.runtime ? hoy_globals.runtime : hoy_json_str(c->def.root, "runtime"));
	live_str(c, "boot", hoy_boot_id());
	live_str(c, "runtime", runtime);
	if (hoy_globals.runtime_flags.n) {
		struct hoy_json *f = hoy_json_need(&c->live, c->live.root, "runtimeFlags", HOY_JSON_ARRAY);

		for (size_t i = 0; f && i < hoy_globals.runtime_flags.n; i++)
			hoy_json_set_string(&c->live, f, NULL, hoy_globals.runtime_flags.v[i]);
	}
	r = cgroup_note(c, err);
	if (r < 0)
		return r;
	live_str(c, "layer", hoy_json_str(c->def.root, "layer"));
	if (!name || !*name) {
		bool uts = !strcmp(hoy_json_str(c->def.root, "uts") ?: "", "host") || !strcmp(hoy_json_str(c->def.root, "network") ?: "", "host");

		if (uts && !gethostname(own, sizeof(own)))
			name = own;
		else
			name = host = strndup(c->id, 12);
	}
	live_str(c, "hostname", name);
	if (again)
		hoy_json_set_bool(&c->live, c->live.root, "again", true);
	r = net_resolve(c, err);
	return r ? r : ctr_save_live(c, err);
}

/* The read-write layer's mount, or the directory of --rootfs. */
static int mount_root(struct ctr *c, char **ret, struct hoy_err *err)
{
	const char *layer = hoy_json_str(c->def.root, "layer"), *rootfs = hoy_json_str(c->def.root, "rootfs");
	struct hoy_mount_opts o = { .vol = hoy_json_bool(c->def.root, "rm", false) };
	int r;

	if (rootfs) {
		*ret = strdup(rootfs);
		return *ret ? 0 : hoy_fail_oom(err);
	}
	r = hoy_store_lock(c->s, 0, HOY_GRAPH | HOY_LAYERS, err);
	if (!r && !hoy_layer_get(c->s, layer))
		r = hoy_fail(err, ENOENT, "the layer of container %.12s is gone: another engine removed it", c->id);
	if (!r)
		r = hoy_layer_mount(c->s, layer, &o, ret, err);
	hoy_store_unlock(c->s);
	return r;
}

static int write_bundle(struct ctr *c, const char *root, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf spec = HOY_BUF_INIT(16 << 20);
	cleanup_free char *path = hoy_path_join(c->rundir, "config.json");
	int r = write_files(c, hoy_json_get(c->live.root, "netStatus"), err);

	if (!r)
		r = passage_make(c, err);
	if (!r)
		r = write_spec(c, hoy_json_str(c->live.root, "passage") ?: root, net_late(c) ? NULL : net_path(c), &spec, err);
	if (!r && (r = path ? hoy_replace_file(AT_FDCWD, path, spec.data, spec.len, 0600, false) : -ENOMEM) < 0)
		hoy_fail_errno(err, -r, "cannot write '%s'", path);
	return r;
}

static void exit_command(const struct ctr *c, struct hoy_strv *argv)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	cleanup_free char *self = hoy_sibling("hoy-run");

	hoy_strv_push(argv, "--exit-command");
	hoy_strv_push(argv, self ? self : "hoy-run");
	hoy_globals_argv(&words);
	hoy_strv_push(&words, "container");
	hoy_strv_push(&words, "cleanup");
	hoy_strv_push(&words, c->id);
	for (size_t i = 0; i < words.n; i++) {
		hoy_strv_push(argv, "--exit-command-arg");
		hoy_strv_push(argv, words.v[i]);
	}
}

/* The runtime and what stands before its verb. */
static void runtime_args(const struct ctr *c, const char *root, struct hoy_strv *argv)
{
	cleanup_strv struct hoy_strv rt = HOY_STRV_INIT, program = HOY_STRV_INIT, args = HOY_STRV_INIT;

	runtime_argv(c, &rt);
	passage_argv(c, root, &program, &args);
	hoy_strv_push(argv, "-r");
	hoy_strv_push(argv, program.n ? program.v[0] : "");
	for (size_t i = 0; i < args.n; i++)
		hoy_strv_pushf(argv, "--runtime-arg=%s", args.v[i]);
	for (size_t i = 1; i < rt.n; i++)
		if (strcmp(rt.v[i], "--systemd-cgroup")) /* that is the monitor's -s */
			hoy_strv_pushf(argv, "--runtime-arg=%s", rt.v[i]);
}

/* The command line's, containers.conf's, else ours. */
static char *monitor_path(void)
{
	const char *name = hoy_globals.conmon;

	if (name && *name)
		return strdup(name);
	HOY_JSON_EACH(it, hoy_json_path(conf(), "engine", "conmon_path", NULL))
		if (hoy_json_text(it) && !access(it->str, X_OK))
			return strdup(it->str);
	return hoy_sibling("hoy-conmon");
}

/* Does the container get the streams of who starts it? */
static bool passthrough(const struct ctr *c)
{
	const char *driver = hoy_json_str(c->def.root, "logDriver") ?: "";

	return !strcmp(driver, "passthrough") || !strcmp(driver, "passthrough-tty");
}

static bool own_monitor(const char *path)
{
	const char *base = path && strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	return base && !strcmp(base, "hoy-conmon");
}

/* A tag may be a template over what inspect says; one that cannot be evaluated stays as it is. */
static char *log_tag(struct ctr *c)
{
	const char *tag = hoy_json_str(c->def.root, "logTag");
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS), out = HOY_BUF_INIT(4096);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	struct hoy_template *t = NULL;
	char *ret = NULL;

	if (tag && strstr(tag, "{{") && !ctr_inspect(&w, c, NULL) && !hoy_json_parse(&doc, hoy_buf_str(&b), b.len, "tag", NULL) &&
	    !hoy_template_new(&t, tag, NULL) && !hoy_template_eval(t, doc.root, &out, NULL))
		ret = strdup(hoy_buf_str(&out));
	hoy_template_free(t);
	return ret ? ret : tag ? strdup(tag) : NULL;
}

/* What the journal is told beside the output. */
static void journal_words(struct ctr *c, struct hoy_strv *a)
{
	cleanup_free char *tag = log_tag(c);

	if (tag && *tag) {
		hoy_strv_push(a, "--log-tag");
		hoy_strv_push(a, tag);
	}
	HOY_JSON_EACH(it, hoy_json_get(c->def.root, "logLabels")) {
		hoy_strv_push(a, "--log-label");
		hoy_strv_push(a, it->str);
	}
}

/* conmon's command line, as podman gives it. */
static void monitor_argv(struct ctr *c, const char *root, struct hoy_strv *a)
{
	cleanup_free char *path = monitor_path();
	const char *driver = hoy_json_str(c->def.root, "logDriver") ?: "k8s-file", *log = hoy_json_str(c->def.root, "logPath");
	int64_t max = hoy_json_int(c->def.root, "logMax", 0), timeout = hoy_json_int(c->def.root, "timeout", 0);

	hoy_strv_push(a, path ? path : "hoy-conmon");
	hoy_strv_push(a, "--api-version");
	hoy_strv_push(a, "1");
	hoy_strv_push(a, "-c");
	hoy_strv_push(a, c->id);
	hoy_strv_push(a, "-u");
	hoy_strv_push(a, c->id);
	hoy_strv_push(a, "-b");
	hoy_strv_push(a, c->rundir);
	hoy_strv_push(a, "-p");
	hoy_strv_pushf(a, "%s/pidfile", c->rundir);
	hoy_strv_push(a, "-n");
	hoy_strv_push(a, ctr_name(c));
	hoy_strv_push(a, "--exit-dir");
	hoy_strv_pushf(a, "%s/exit", c->rundir);
	hoy_strv_push(a, "--persist-dir");
	hoy_strv_pushf(a, "%s/persist", c->rundir);
	hoy_strv_push(a, "--full-attach");
	if (hoy_json_bool(c->def.root, "noPivot", false))
		hoy_strv_push(a, "--no-pivot");
	if (hoy_json_str(c->live.root, "cgroupManager"))
		hoy_strv_push(a, "-s");
	hoy_strv_push(a, "-l");
	if (!strcmp(driver, "k8s-file") || !strcmp(driver, "json-file"))
		hoy_strv_pushf(a, "k8s-file:%s%s", log ? log : c->dir, log ? "" : "/ctr.log");
	else
		hoy_strv_push(a, driver);
	/* What a power cut takes from a log is not worth the wait for the disk at each container's end. */
	hoy_strv_push(a, "--no-sync-log");
	if (max > 0) {
		hoy_strv_push(a, "--log-size-max");
		hoy_strv_pushf(a, "%lld", (long long)max);
	}
	if (!strcmp(driver, "journald"))
		journal_words(c, a);
	hoy_strv_push(a, "--log-level");
	hoy_strv_push(a, "error");
	runtime_args(c, root, a);
	if (hoy_json_bool(c->def.root, "tty", false))
		hoy_strv_push(a, "-t");
	if (hoy_json_bool(c->def.root, "stdin", false))
		hoy_strv_push(a, "-i");
	if (timeout > 0)
		hoy_strv_pushf(a, "--timeout=%lld", (long long)timeout);
	/* Ours need not go into the background first: it has a session of its own, and we tell it apart by its pid. */
	if (own_monitor(path)) {
		hoy_strv_push(a, "--sync");
		hoy_strv_push(a, "--control");
	}
	hoy_strv_push(a, "--conmon-pidfile");
	hoy_strv_pushf(a, "%s/conmon.pid", c->rundir);
	exit_command(c, a);
}

/* Beside another monitor ours watches, for what that one does not do. */
static void watcher_argv(const struct ctr *c, struct hoy_strv *a)
{
	cleanup_free char *path = hoy_sibling("hoy-conmon");

	hoy_strv_push(a, path ? path : "hoy-conmon");
	hoy_strv_push(a, "--watch");
	hoy_strv_push(a, c->id);
	hoy_strv_push(a, "-b");
	hoy_strv_push(a, c->rundir);
	hoy_strv_push(a, "-p");
	hoy_strv_pushf(a, "%s/pidfile", c->rundir);
	hoy_strv_push(a, "--conmon-pidfile");
	hoy_strv_pushf(a, "%s/conmon.pid", c->rundir);
	exit_command(c, a);
}

/* Only async-signal-safe calls: we share the parent's memory until the exec. */
static void become_monitor(char *const *argv, char *const *env, int sync, const int *keep, int n_keep, bool own_streams)
{
	static sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 0; i < 3 && !own_streams; i++)
		dup2(null, i);
	fcntl(sync, F_SETFD, 0);
	for (int i = 0; i < n_keep; i++)
		fcntl(keep[i], F_SETFD, 0);
	execvpe(argv[0], argv, env);
	_exit(127);
}

/* {"data":PID} or {"data":-1,"message":"..."} from the sync pipe. */
static int read_sync(struct ctr *c, int fd, pid_t *ret, int *ret_code, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	char text[16384];
	size_t len = 0;
	ssize_t n;
	int64_t pid;

	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? n : 0;
		if (len && text[len - 1] == '\n')
			break;
	}
	text[len] = '\0';
	if (!len)
		return runtime_error(c, "the monitor ended before the container was made", ret_code, err);
	if (hoy_json_parse(&doc, text, len, "the monitor's report", err) < 0)
		return -err->code;
	pid = hoy_json_int(doc.root, "data", hoy_json_int(doc.root, "pid", -1));
	if (pid <= 0)
		return runtime_error(c, hoy_json_str(doc.root, "message"), ret_code, err);
	*ret = (pid_t)pid;
	return 0;
}

/* Our environment may be that of a monitor's exit command, with pipes that were its own. */
static void monitor_env(int sync, struct hoy_strv *env)
{
	char number[16];

	for (char **e = environ; *e; e++)
		if (strncmp(*e, "_OCI_", 5))
			hoy_strv_push(env, *e);
	snprintf(number, sizeof(number), "%d", sync);
	hoy_env_set(env, "_OCI_SYNCPIPE", number);
}

static int spawn_watcher(struct ctr *c, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT, env = HOY_STRV_INIT;
	int sync[2], code, r;
	pid_t child, pid;

	if (pipe2(sync, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe");
	watcher_argv(c, &argv);
	monitor_env(sync[1], &env);
	if (argv.error || env.error)
		return hoy_fail_oom(err);
	child = vfork();
	if (!child)
		become_monitor(argv.v, env.v, sync[1], NULL, 0, false);
	hoy_close(sync[1]);
	r = child < 0 ? hoy_fail_errno(err, errno, "cannot start hoy-conmon") : read_sync(c, sync[0], &pid, &code, err);
	hoy_close(sync[0]);
	return r;
}

static int spawn_monitor(struct ctr *c, const char *root, const struct start_how *how, int *ret_code, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT, env = HOY_STRV_INIT;
	cleanup_free char *pidfile = hoy_path_join(c->rundir, "conmon.pid");
	int sync[2], status = 0, r, keep[300], n_keep = 0;
	char text[32];
	pid_t child, pid = 0;

	if (pipe2(sync, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe");
	monitor_argv(c, root, &argv);
	if (how->preserve_fds) {
		hoy_strv_pushf(&argv, "--runtime-opt=--preserve-fds=%d", how->preserve_fds);
		for (int i = 0; i < how->preserve_fds && n_keep < 40; i++)
			keep[n_keep++] = 3 + i;
	}
	for (int i = 0; i < c->n_port_fds; i++)
		keep[n_keep++] = c->port_fds[i];
	monitor_env(sync[1], &env);
	if (argv.error || env.error || !pidfile)
		return hoy_fail_oom(err);
	child = vfork();
	if (!child)
		become_monitor(argv.v, env.v, sync[1], keep, n_keep, passthrough(c));
	hoy_close(sync[1]);
	while (c->n_port_fds)
		hoy_close(c->port_fds[--c->n_port_fds]);
	if (child < 0) {
		hoy_close(sync[0]);
		return hoy_fail_errno(err, errno, "cannot start the monitor");
	}
	r = read_sync(c, sync[0], &pid, ret_code, err);
	hoy_close(sync[0]);
	if (r < 0 || !own_monitor(argv.v[0]))
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	if (r < 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		*ret_code = 125;
		return hoy_fail(err, ENOENT, "cannot run the monitor '%s'", argv.v[0]);
	}
	if (r < 0)
		return r;
	hoy_json_set_int(&c->live, c->live.root, "pid", pid);
	hoy_json_set_int(&c->live, c->live.root, "pidStart", (int64_t)start_time(pid));
	if (!own_monitor(argv.v[0]))
		child = hoy_read_small(AT_FDCWD, pidfile, text, sizeof(text)) > 0 ? atoi(text) : 0;
	if (child > 0) {
		hoy_json_set_int(&c->live, c->live.root, "monitor", child);
		hoy_json_set_int(&c->live, c->live.root, "monitorStart", (int64_t)start_time(child));
	}
	cgroup_found(c, pid);
	cgroup_adopt_monitor(c, child);
	r = ctr_save_live(c, err);
	return r || own_monitor(argv.v[0]) ? r : spawn_watcher(c, err);
}

int ctr_note_running(struct ctr *c, struct hoy_err *err)
{
	hoy_json_set_string(&c->state, c->state.root, "status", "running");
	hoy_json_set_string(&c->state, c->state.root, "started", hoy_json_str(c->live.root, "startedAt") ?: "");
	hoy_json_set_int(&c->state, c->state.root, "exitCode", 0);
	hoy_json_unset(c->state.root, "oomKilled");
	hoy_json_unset(c->state.root, "stoppedByUser");
	/* In one write: who is killed before it leaves `again` to be seen, and the restart is counted once. */
	if (hoy_json_bool(c->state.root, "again", false))
		hoy_json_set_int(&c->state, c->state.root, "restarts", hoy_json_int(c->state.root, "restarts", 0) + 1);
	hoy_json_unset(c->state.root, "again");
	return ctr_save_state(c, err);
}

static int note_started(struct ctr *c, struct hoy_err *err)
{
	char now[HOY_TIME_SIZE];
	int r;

	hoy_json_set_bool(&c->live, c->live.root, "started", true);
	hoy_json_unset(c->live.root, "again");
	hoy_json_set_string(&c->live, c->live.root, "startedAt", hoy_time_format(hoy_now(), now));
	r = ctr_save_live(c, err);
	/* The state says after a reboot that it has run; with --rm nobody will ask. */
	return r || hoy_json_bool(c->state.root, "rm", false) ? r : ctr_note_running(c, err);
}

static void write_pidfile(const char *path, int64_t pid)
{
	char text[24];

	if (!path || !pid)
		return;
	snprintf(text, sizeof(text), "%lld", (long long)pid);
	if (hoy_replace_file(AT_FDCWD, path, text, strlen(text), 0644, false) < 0)
		hoy_warning("cannot write '%s', ignoring", path);
}

/* The files that tell of the network are there already, and mounted: they are written once more. */
static int wire_late(struct ctr *c, int *ret_code, struct hoy_err *err)
{
	int r = net_wire(c, err);

	*ret_code = 125;
	if (!r)
		r = ctr_save_live(c, err);
	return r ? r : write_files(c, hoy_json_get(c->live.root, "netStatus"), err);
}

/* Everything up to the created OCI container. */
int ctr_prepare(struct ctr *c, const struct start_how *how, int *ret_code, struct hoy_err *err)
{
	cleanup_free char *root = NULL;
	int r = ctr_load_def(c, err);

	*ret_code = 125;
	if (!r)
		r = begin(c, how->again, err);
	if (!r)
		r = mount_root(c, &root, err);
	if (!r)
		r = net_reserve(c, err);
	if (!r && !net_late(c))
		r = net_wire(c, err);
	if (!r)
		r = write_bundle(c, root, err);
	if (!r)
		r = spawn_monitor(c, root, how, ret_code, err);
	passage_remove(c); /* the container is in it, and has left it behind */
	if (!r && net_late(c))
		r = wire_late(c, ret_code, err);
	return r;
}

/* Our part in the foreground: pass the streams on, then take the container down as its monitor's command would. */
static int follow(struct ctr *c, int sock, const struct start_how *how, int *ret_code, struct hoy_err *err)
{
	bool tty = hoy_json_bool(c->def.root, "tty", false);
	int r;

	ctr_unlock(c);
	r = sock < 0 ? attach_wait(c, how) : attach_run(c, sock, how, tty);
	if (r == 1) { /* detached by keys */
		*ret_code = 0;
		return 0;
	}
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot pass on the output of container %.12s", c->id);
	r = wait_exit_file(c, ret_code);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot learn how container %.12s ended", c->id);
	/* -ENOENT: the monitor's cleanup was faster and has removed it. */
	r = ctr_lock(c, NULL);
	if (r == -ENOENT)
		return 0;
	if (!r && c->live.root && !ctr_pid(c))
		r = ctr_cleanup(c, err);
	if (!r && hoy_json_bool(c->state.root, "rm", false))
		r = ctr_remove(c, true, err);
	return r;
}

/*
 * The runtime's `start`. What ours does for a container without poststart hooks is to write
 * to the fifo that its process waits on (hoy-runtime(1), FILES): we do that ourselves and spare a program.
 */
static int runtime_start(struct ctr *c, int *ret_code, struct hoy_err *err)
{
	const char *path = hoy_json_str(c->live.root, "runtime"), *base = path ? strrchr(path, '/') : NULL;
	cleanup_free char *dir = hoy_asprintf("%s/hoy/runtime/%s", c->s->conf.runroot, c->id);
	cleanup_fd int dirfd = -1, fifo = -1;

	if (!base || strcmp(base + 1, "hoy-runtime") || hoy_json_bool(c->live.root, "poststart", false))
		return runtime_call(c, "start", NULL, ret_code, err);
	dirfd = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	fifo = dirfd < 0 ? -1 : openat(dirfd, "exec.fifo", O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fifo < 0 || unlinkat(dirfd, "exec.fifo", 0) < 0 || write(fifo, "0", 1) != 1)
		return hoy_fail_errno(err, errno, "cannot start container %.12s: its runtime's exec.fifo", c->id);
	return 0;
}

int ctr_start(struct ctr *c, const struct start_how *how, int *ret_code, struct hoy_err *err)
{
	cleanup_fd int sock = -1;
	int r = 0;

	*ret_code = 125;
	if (!how->again) {
		hoy_json_unset(c->state.root, "restarts");
		hoy_json_unset(c->state.root, "again");
	}
	if (ctr_status(c) != ST_INITIALIZED)
		r = ctr_prepare(c, how, ret_code, err);
	else
		r = ctr_load_def(c, err);
	if (!r && how->attach && !passthrough(c) && (sock = attach_connect(c)) < 0)
		r = hoy_fail_errno(err, -sock, "cannot attach to container %.12s", c->id);
	if (!r)
		r = runtime_start(c, ret_code, err);
	if (!r)
		r = note_started(c, err);
	if (r < 0) {
		struct hoy_err ignored = HOY_ERR_INIT;

		if (hoy_json_bool(c->state.root, "again", false)) {
			hoy_json_unset(c->state.root, "again");
			(void)ctr_save_state(c, &ignored);
		}
		/* What was half made goes away again; the error that we report stays the first one. */
		ctr_abort(c, &ignored);
		return r;
	}
	write_pidfile(hoy_json_str(c->def.root, "pidFile"), hoy_json_int(c->live.root, "pid", 0));
	write_pidfile(hoy_json_str(c->def.root, "conmonPidFile"), hoy_json_int(c->live.root, "monitor", 0));
	event(c, "start", -1);
	health_begin(c);
	if (!how->attach) {
		*ret_code = 0;
		return 0;
	}
	return follow(c, steal_fd(&sock), how, ret_code, err);
}
