/*
 * cmd-run/health.c: health checks: a command in the container, from time to time.
 *
 * What is checked is the definition's `health`; how the container is, <container>/health: status, streak of failures,
 * the last results. The monitor runs `hoy-run healthcheck run ID` when it is time (hoy-conmon(1), control).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-run/options.h"
#include "cmd-run/session.h"
#include "common/base/fd.h"
#include "common/data/time.h"
#include "common/proc/sibling.h"

extern char **environ;

#define HEALTH_MAX ((size_t)16 << 20)

/* ---- the definition ---- */

static int duration(const char *text, const char *what, int64_t absent, int64_t *ret, struct hoy_err *err)
{
	*ret = absent;
	if (text && (!hoy_duration_parse(text, ret) || *ret < 0))
		return hoy_fail(err, EINVAL, "invalid healthcheck-%s: %s", what, text);
	return 0;
}

static int number(const char *text, const char *what, int64_t absent, int64_t *ret, struct hoy_err *err)
{
	char *end;

	*ret = text ? strtoll(text, &end, 10) : absent;
	if (text && (!*text || *end || *ret < 0))
		return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--health-%s\" flag: it is a number", text, what);
	return 0;
}

/* --health-cmd: a JSON array of words, or a line for the shell; NONE and CMD in front of a line are taken as docker's. */
static int test_of(struct ctr *c, const char *text, struct hoy_json *test, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;

	if (!hoy_json_parse(&doc, text, strlen(text), "--health-cmd", NULL) && hoy_json_is(doc.root, HOY_JSON_ARRAY)) {
		const char *first = hoy_json_text(doc.root->child);

		if (!first)
			return hoy_fail(err, EINVAL, "must define a healthcheck command for all healthchecks");
		if (strcasecmp(first, "CMD") && strcasecmp(first, "CMD-SHELL"))
			hoy_json_set_string(&c->def, test, NULL, doc.root->count > 1 ? "CMD" : "CMD-SHELL");
		HOY_JSON_EACH(it, doc.root)
			hoy_json_set_string(&c->def, test, NULL, it->str ?: "");
		return 0;
	}
	if (!text[strspn(text, " \t")])
		return hoy_fail(err, EINVAL, "must define a healthcheck command for all healthchecks");
	if (strncasecmp(text, "CMD ", 4)) {
		hoy_json_set_string(&c->def, test, NULL, "CMD-SHELL");
		hoy_json_set_string(&c->def, test, NULL, text);
		return 0;
	}
	hoy_strv_split(&words, text, ' ');
	for (size_t i = 0; i < words.n; i++)
		if (*words.v[i])
			hoy_json_set_string(&c->def, test, NULL, words.v[i]);
	return 0;
}

static int on_failure(const struct ctr *c, const char *action, const struct create_opts *o, struct hoy_err *err)
{
	const char *restart = o->restart ?: hoy_json_str(c->def.root, "restart") ?: "no";

	if (strcmp(action, "none") && strcmp(action, "kill") && strcmp(action, "restart") && strcmp(action, "stop"))
		return hoy_fail(err, EINVAL, "invalid on-failure action \"%s\" for health check: supported actions are none,kill,restart,stop", action);
	if (!strcmp(action, "restart") && strcmp(restart, "no"))
		return hoy_fail(err, EINVAL, "--health-on-failure=restart and --restart exclude each other");
	return 0;
}

/* "disable" is no interval. */
static int interval_of(const char *text, int64_t absent, int64_t *ret, struct hoy_err *err)
{
	return duration(text && !strcmp(text, "disable") ? "0" : text, "interval", absent, ret, err);
}

static void set_interval(struct ctr *c, struct hoy_json *h, int64_t interval)
{
	if (interval)
		hoy_json_set_int(&c->def, h, "Interval", interval);
	else
		hoy_json_unset(h, "Interval");
}

/* The check that must have passed before the other one begins. */
static int define_startup(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	int64_t interval, timeout, retries, successes;
	const struct hoy_json *old = hoy_json_get(c->def.root, "startupHealth");
	struct hoy_json *h;
	int r = interval_of(o->startup_interval, hoy_json_int(old, "Interval", old ? 0 : 30 * HOY_NS), &interval, err);

	if (!r)
		r = duration(o->startup_timeout, "timeout", hoy_json_int(old, "Timeout", 30 * HOY_NS), &timeout, err);
	if (!r)
		r = number(o->startup_retries, "startup-retries", hoy_json_int(old, "Retries", 0), &retries, err);
	if (!r)
		r = number(o->startup_success, "startup-success", hoy_json_int(old, "Successes", 0), &successes, err);
	if (r < 0 || (!o->startup_cmd && !old))
		return r;
	h = hoy_json_need(&c->def, c->def.root, "startupHealth", HOY_JSON_OBJECT);
	if (!h)
		return hoy_fail_oom(err);
	if (o->startup_cmd) {
		hoy_json_unset(h, "Test");
		r = !strcasecmp(o->startup_cmd, "none") ?
		    !hoy_json_set_string(&c->def, hoy_json_need(&c->def, h, "Test", HOY_JSON_ARRAY), NULL, "NONE") ? -ENOMEM : 0 :
		    test_of(c, o->startup_cmd, hoy_json_need(&c->def, h, "Test", HOY_JSON_ARRAY), err);
	}
	set_interval(c, h, interval);
	hoy_json_set_int(&c->def, h, "Timeout", timeout);
	if (retries)
		hoy_json_set_int(&c->def, h, "Retries", retries);
	if (successes)
		hoy_json_set_int(&c->def, h, "Successes", successes);
	return r;
}

int define_health(struct ctr *c, const struct create_opts *o, const struct hoy_json *image, struct hoy_err *err)
{
	const char *action = o->health_on_failure ?: hoy_json_str(c->def.root, "healthOnFailure") ?: "none";
	int64_t interval, timeout, start, retries, count, size;
	bool none = o->no_healthcheck || (o->health_cmd && !strcasecmp(o->health_cmd, "none"));
	struct hoy_json *h;
	int r;

	if (o->no_healthcheck && o->health_cmd)
		return hoy_fail(err, EINVAL, "cannot specify both --no-healthcheck and --health-cmd");
	if (o->startup_cmd && (none || (!o->health_cmd && !hoy_json_get(image, "Test"))))
		return hoy_fail(err, EINVAL, "cannot set a startup healthcheck when there is no regular healthcheck: invalid argument");
	if (!none && !o->health_cmd && !hoy_json_get(image, "Test"))
		return 0;
	r = interval_of(o->health_interval, hoy_json_get(image, "Interval") ? hoy_json_int(image, "Interval", 0) : 30 * HOY_NS, &interval, err);
	if (!r)
		r = duration(o->health_timeout, "timeout", hoy_json_int(image, "Timeout", 0) ?: 30 * HOY_NS, &timeout, err);
	if (!r && timeout < HOY_NS)
		r = hoy_fail(err, EINVAL, "healthcheck-timeout must be at least 1 second");
	if (!r)
		r = duration(o->health_start_period, "start-period", hoy_json_int(image, "StartPeriod", 0), &start, err);
	if (!r)
		r = number(o->health_retries, "retries", hoy_json_int(image, "Retries", 0) ?: 3, &retries, err);
	if (!r && retries < 1)
		r = hoy_fail(err, EINVAL, "healthcheck-retries must be greater than 0");
	if (!r)
		r = number(o->health_log_count, "max-log-count", hoy_json_int(c->def.root, "healthLogCount", 5), &count, err);
	if (!r)
		r = number(o->health_log_size, "max-log-size", hoy_json_int(c->def.root, "healthLogSize", 500), &size, err);
	if (!r)
		r = on_failure(c, action, o, err);
	h = r ? NULL : hoy_json_need(&c->def, c->def.root, "health", HOY_JSON_OBJECT);
	if (!h)
		return r ? r : hoy_fail_oom(err);
	if (none || o->health_cmd)
		hoy_json_unset(h, "Test");
	if (none)
		hoy_json_set_string(&c->def, hoy_json_need(&c->def, h, "Test", HOY_JSON_ARRAY), NULL, "NONE");
	else if (o->health_cmd)
		r = test_of(c, o->health_cmd, hoy_json_need(&c->def, h, "Test", HOY_JSON_ARRAY), err);
	else
		hoy_json_put(&c->def, h, "Test", hoy_json_copy(&c->def, hoy_json_get(image, "Test")));
	if (none)
		hoy_json_unset(c->state.root, "health");
	if (o->no_healthcheck)
		return r;
	if (start)
		hoy_json_set_int(&c->def, h, "StartPeriod", start);
	set_interval(c, h, interval);
	hoy_json_set_int(&c->def, h, "Timeout", timeout);
	hoy_json_set_int(&c->def, h, "Retries", retries);
	hoy_json_set_string(&c->def, c->def.root, "healthOnFailure", action);
	hoy_json_set_int(&c->def, c->def.root, "healthLogCount", count);
	hoy_json_set_int(&c->def, c->def.root, "healthLogSize", size);
	if (none)
		return r;
	hoy_json_set_bool(&c->state, c->state.root, "health", true);
	return r ? r : define_startup(c, o, err);
}

/* ---- how it is ---- */

static int load(const struct ctr *c, struct hoy_json_doc *ret)
{
	cleanup_free char *path = hoy_path_join(c->dir, "health");

	return path ? hoy_json_load(ret, AT_FDCWD, path, HEALTH_MAX, NULL) : -ENOMEM;
}

int health_load(const struct ctr *c, struct hoy_json_doc *ret)
{
	int r = load(c, ret);

	if (!r)
		hoy_json_unset(ret->root, "startup");
	return r;
}

/* The check that counts now: with one for the start it is that, until it has passed. DOC: how the container is. */
static const struct hoy_json *current(const struct ctr *c, const struct hoy_json *doc, bool *ret_startup)
{
	const struct hoy_json *s = hoy_json_get(c->def.root, "startupHealth"), *test = hoy_json_get(s, "Test");
	const char *first = test ? hoy_json_text(test->child) : NULL;

	*ret_startup = first && *first && strcasecmp(first, "NONE") && !hoy_json_bool(hoy_json_get(doc, "startup"), "passed", false);
	return *ret_startup ? s : hoy_json_get(c->def.root, "health");
}

/* Not synced: after a power loss the container does not run, and the next start begins anew. */
static int save(const struct ctr *c, const struct hoy_json *root, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HEALTH_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);
	int r;

	hoy_jw_value(&w, NULL, root);
	r = b.error ? -b.error : hoy_replace_locked(c->dirfd, "health", b.data, b.len, 0600, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s/health'", c->dir) : 0;
}

bool health_checked(const struct ctr *c)
{
	return hoy_json_bool(c->state.root, "health", false);
}

/* Tell the monitor how often to check, and with which command. */
static int schedule(const struct ctr *c, int64_t ms)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	cleanup_free char *self = hoy_sibling("hoy-run");

	hoy_strv_push(&words, "health");
	hoy_strv_pushf(&words, "%lld", (long long)ms);
	hoy_strv_push(&words, self ? self : "hoy-run");
	hoy_globals_argv(&words);
	hoy_strv_push(&words, "healthcheck");
	hoy_strv_push(&words, "run");
	hoy_strv_push(&words, c->id);
	return monitor_tell(c, &words, NULL, 0);
}

void health_schedule(const struct ctr *c)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	bool startup;
	int64_t ms;
	int r;

	(void)load(c, &doc);
	ms = health_checked(c) ? hoy_json_int(current(c, doc.root, &startup), "Interval", 0) / 1000000 : 0;
	r = schedule(c, ms);
	if (r < 0 && ms)
		hoy_warning("the monitor of container %.12s does not schedule health checks (%s), ignoring", c->id, strerror(-r));
}

void health_begin(struct ctr *c)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

	if (!health_checked(c))
		return;
	doc.root = hoy_json_new(&doc, HOY_JSON_OBJECT);
	hoy_json_set_string(&doc, doc.root, "Status", "starting");
	hoy_json_set_int(&doc, doc.root, "FailingStreak", 0);
	hoy_json_need(&doc, doc.root, "Log", HOY_JSON_ARRAY);
	if (!doc.root || save(c, doc.root, NULL) < 0)
		hoy_warning("cannot write the health of container %.12s, ignoring", c->id);
	health_schedule(c);
}

/* ---- one check ---- */

/* Everything that the command says, at most MAX bytes of it; false when the time is over. */
static bool listen_to(int fd, int pidfd, int64_t until, struct hoy_buf *out, size_t max)
{
	char buf[4096];

	for (bool ended = false;;) {
		struct pollfd p[2] = { { fd, POLLIN, 0 }, { ended ? -1 : pidfd, POLLIN, 0 } };
		int64_t left = (until - hoy_now()) / 1000000;
		ssize_t n;

		if (left <= 0 && !ended)
			return false;
		/* What a child of it in the background may still say does not matter. */
		if (poll(p, 2, ended ? 0 : (int)(left < 3600000 ? left : 3600000)) < 0 && errno != EINTR)
			return false;
		if (p[0].revents) {
			n = read(fd, buf, sizeof(buf));
			if (n > 0 && out->len < max)
				hoy_buf_add(out, buf, (size_t)n < max - out->len ? (size_t)n : max - out->len);
			if (n > 0)
				continue;
			if (ended)
				return true;
			fd = -1;
		} else if (ended) {
			return true;
		}
		ended = ended || p[1].revents;
	}
}

static void kill_check(const char *pidfile, pid_t runtime)
{
	char text[32];

	if (hoy_read_small(AT_FDCWD, pidfile, text, sizeof(text)) > 0 && atoi(text) > 1)
		kill(atoi(text), SIGKILL);
	kill(runtime, SIGKILL);
}

/* Run WORDS in the container; 0 and its exit status (-1: it took too long), or -errno. */
static int run_words(struct ctr *c, char **words, int64_t timeout, struct hoy_buf *out, size_t max, int *ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_free char *pidfile = hoy_asprintf("%s/health-%d.pid", c->rundir, (int)getpid());
	posix_spawn_file_actions_t fa;
	int fds[2], spec = -1, status = 0, r;
	bool in_time;
	pid_t pid;

	r = pidfile ? exec_command(c, words, pidfile, &argv, &spec, ret, err) : -ENOMEM;
	if (r < 0 && (*ret == 126 || *ret == 127))
		return 0; /* the command is not there: it failed */
	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe");
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, fds[1], 1);
	posix_spawn_file_actions_adddup2(&fa, fds[1], 2);
	r = -posix_spawnp(&pid, argv.v[0], &fa, NULL, argv.v, environ);
	posix_spawn_file_actions_destroy(&fa);
	hoy_close(fds[1]);
	hoy_close(spec);
	if (!r) {
		cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

		in_time = listen_to(fds[0], pidfd, hoy_now() + timeout, out, max);
		if (!in_time)
			kill_check(pidfile, pid);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		*ret = in_time ? (WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)) : -1;
	}
	hoy_close(fds[0]);
	unlink(pidfile);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot run the OCI runtime '%s'", argv.v[0]) : 0;
}

/* The words of Test: CMD ..., CMD-SHELL LINE (its words are joined if there are several), or as they are. */
static int test_words(const struct hoy_json *test, struct hoy_strv *words)
{
	const char *first = test ? hoy_json_text(test->child) : NULL;
	cleanup_buf struct hoy_buf line = HOY_BUF_INIT(1 << 20);

	if (!first || !*first || !strcasecmp(first, "NONE") || (!strncasecmp(first, "CMD", 3) && !test->child->next))
		return -ENOENT;
	if (strcasecmp(first, "CMD-SHELL")) {
		for (const struct hoy_json *it = strcasecmp(first, "CMD") ? test->child : test->child->next; it; it = it->next)
			hoy_strv_push(words, it->str ?: "");
		return words->error ? -ENOMEM : 0;
	}
	for (const struct hoy_json *it = test->child->next; it; it = it->next)
		hoy_buf_printf(&line, "%s%s", line.len ? " " : "", it->str ?: "");
	hoy_strv_push(words, "/bin/sh");
	hoy_strv_push(words, "-c");
	hoy_strv_push(words, line.data ?: "");
	return words->error || line.error ? -ENOMEM : 0;
}

struct result {
	int64_t start, end;
	int code;
	bool startup;
	struct hoy_buf output;
};

/* What the result makes of the container's health. */
static void judge(struct ctr *c, struct hoy_json_doc *d, const struct result *res)
{
	const struct hoy_json *h = hoy_json_get(c->def.root, "health");
	const char *was = hoy_json_str(d->root, "Status") ?: "starting";
	int64_t streak = hoy_json_int(d->root, "FailingStreak", 0), started = hoy_json_time(c->live.root, "startedAt");
	bool grace = !strcmp(was, "starting") && res->start < started + hoy_json_int(h, "StartPeriod", 0);

	if (!res->code) {
		streak = 0;
		was = "healthy";
	} else if (!grace && ++streak >= hoy_json_int(h, "Retries", 3)) {
		was = "unhealthy";
	}
	hoy_json_set_string(d, d->root, "Status", was);
	hoy_json_set_int(d, d->root, "FailingStreak", streak);
}

enum next { GO_ON, PASSED, RESTART };

/* The same of a check for the start: how often it passed or failed decides what comes next. */
static enum next judge_startup(const struct ctr *c, struct hoy_json_doc *d, const struct result *res)
{
	const struct hoy_json *h = hoy_json_get(c->def.root, "startupHealth");
	struct hoy_json *s = hoy_json_need(d, d->root, "startup", HOY_JSON_OBJECT);
	int64_t ok = hoy_json_int(s, "ok", 0), failed = hoy_json_int(s, "failed", 0), retries = hoy_json_int(h, "Retries", 0);

	if (!s)
		return GO_ON;
	if (res->code) {
		hoy_json_set_int(d, s, "ok", 0);
		hoy_json_set_int(d, s, "failed", failed + 1);
		return retries && failed + 1 >= retries ? RESTART : GO_ON;
	}
	hoy_json_set_string(d, d->root, "Status", "healthy");
	hoy_json_set_int(d, s, "ok", ok + 1);
	if (ok + 1 < hoy_json_int(h, "Successes", 0))
		return GO_ON;
	hoy_json_set_bool(d, s, "passed", true);
	return PASSED;
}

static void note(struct ctr *c, struct hoy_json_doc *d, const struct result *res)
{
	struct hoy_json *log = hoy_json_need(d, d->root, "Log", HOY_JSON_ARRAY), *e = hoy_json_new(d, HOY_JSON_OBJECT);
	int64_t max = hoy_json_int(c->def.root, "healthLogCount", 5);
	char t[HOY_TIME_SIZE];

	if (!log || !e)
		return;
	hoy_json_set_string(d, e, "Start", hoy_time_format(res->start, t));
	hoy_json_set_string(d, e, "End", hoy_time_format(res->end, t));
	hoy_json_set_int(d, e, "ExitCode", res->code);
	hoy_json_set_string(d, e, "Output", res->output.data ?: "");
	hoy_json_put(d, log, NULL, e);
	while (max && log->count > max)
		hoy_json_remove(log, log->child);
}

/* Unhealthy: the deed is a command of ours, and need not be waited for: restart ends the monitor that has started us. */
static void act(const struct ctr *c, const char *action)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_free char *self = hoy_sibling("hoy-run");
	posix_spawn_file_actions_t fa;
	pid_t pid;

	if (!strcmp(action, "none"))
		return;
	hoy_strv_push(&argv, self ? self : "hoy-run");
	hoy_globals_argv(&argv);
	hoy_strv_push(&argv, action);
	hoy_strv_push(&argv, c->id);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	if (argv.error || posix_spawnp(&pid, argv.v[0], &fa, NULL, argv.v, environ))
		hoy_warning("cannot %s the unhealthy container %.12s", action, c->id);
	posix_spawn_file_actions_destroy(&fa);
}

static int record(struct ctr *c, const struct result *res, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	enum next next = GO_ON;
	bool unhealthy;
	int r = ctr_lock(c, err);

	if (r < 0)
		return r;
	if (load(c, &doc) < 0)
		doc.root = hoy_json_new(&doc, HOY_JSON_OBJECT);
	if (!doc.root)
		return hoy_fail_oom(err);
	if (res->startup)
		next = judge_startup(c, &doc, res);
	else
		judge(c, &doc, res);
	note(c, &doc, res);
	r = save(c, doc.root, err);
	unhealthy = !strcmp(hoy_json_str(doc.root, "Status") ?: "", "unhealthy");
	health_event(c, hoy_json_str(doc.root, "Status"), hoy_json_int(doc.root, "FailingStreak", 0));
	ctr_unlock(c);
	if (!r && next == PASSED)
		health_schedule(c);
	if (!r && ctr_pid(c) && (unhealthy || next == RESTART))
		act(c, next == RESTART ? "restart" : hoy_json_str(c->def.root, "healthOnFailure") ?: "none");
	return r;
}

/* Text that is no UTF-8 could not be read again. */
static void tidy(struct hoy_buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (!b->data[i] || (unsigned char)b->data[i] >= 0x80)
			b->data[i] = '?';
}

/* What it was is in RET_SAID, NULL if it passed. */
static int check(struct ctr *c, const char **ret_said, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const struct hoy_json *h;
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	size_t max;
	struct result res;
	bool startup;
	int r = ctr_load_def(c, err);

	if (!r)
		r = ctr_load_live(c, err);
	if (r < 0)
		return r;
	(void)load(c, &doc);
	if (ctr_status(c) != ST_RUNNING)
		return hoy_fail(err, HOY_EUNSUPPORTED, "container %s is not running", c->id);
	h = current(c, doc.root, &startup);
	if (test_words(hoy_json_get(h, "Test"), &words) < 0)
		return hoy_fail(err, ENOENT, "container %s has no defined healthcheck", c->id);
	max = (size_t)hoy_json_int(c->def.root, "healthLogSize", 500);
	max = max && max < 1 << 20 ? max : 1 << 20;
	res = (struct result){ .start = hoy_now(), .startup = startup, .output = HOY_BUF_INIT(max + 64) };
	r = run_words(c, words.v, hoy_json_int(h, "Timeout", 30 * HOY_NS), &res.output, max, &res.code, err);
	res.end = hoy_now();
	if (!r) {
		tidy(&res.output);
		if (res.code > 0)
			res.code = 1; /* podman's: it tells only that it failed */
		*ret_said = !res.code ? NULL : startup ? "starting" : "unhealthy";
		r = record(c, &res, err);
	}
	hoy_buf_release(&res.output);
	return r;
}

static int run_healthcheck(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	const char *said = NULL;
	int status, r, n = hoy_verb_args(v, argc, argv, NULL, 1, 1, &status);

	if (n < 0)
		return status;
	s = open_store(HOY_STORE_RDONLY);
	if (!s)
		return 125;
	r = ctr_open(&c, s, argv[1], &err);
	if (!r)
		r = check(&c, &said, &err);
	if (r < 0)
		return hoy_report(&err, 125);
	if (said)
		puts(said);
	return hoy_finish_stdout(said ? 1 : 0);
}
static const struct hoy_opt no_opts[] = { HOY_OPTS_END };
const struct hoy_verb verb_healthcheck = { "healthcheck run", "CONTAINER", "Run the health check of a container", no_opts, run_healthcheck, 0 };
