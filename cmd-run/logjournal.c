/*
 * cmd-run/logjournal.c: `logs` of the log driver journald. journalctl(1) reads the journal, so that no library is loaded for
 * all the other verbs; an entry becomes a line as a k8s-file log has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-run/logs.h"
#include "common/base/fd.h"
#include "common/data/time.h"
#include "common/proc/pidfd.h"

extern char **environ;

#define ENTRY_MAX ((size_t)16 << 20)

struct source {
	struct log_reader *r;
	pid_t pid;
	int fd;
	char cursor[512]; /* of the last entry */
	struct hoy_buf in; /* of an entry that has not come to its end */
	/* --tail: the lines kept, of which LINES are no pieces */
	char **kept;
	size_t n, room;
	long lines;
};

static int start(struct source *s, const struct ctr *c, bool follow, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	posix_spawn_file_actions_t fa;
	int p[2], r;

	hoy_strv_push(&argv, "journalctl");
	hoy_strv_push(&argv, "--quiet");
	hoy_strv_push(&argv, "--no-pager");
	hoy_strv_push(&argv, "--all");
	hoy_strv_push(&argv, "--output=json");
	if (follow)
		hoy_strv_push(&argv, "--follow");
	if (follow)
		hoy_strv_push(&argv, "--lines=all");
	if (*s->cursor)
		hoy_strv_pushf(&argv, "--after-cursor=%s", s->cursor);
	else if (s->r->since)
		hoy_strv_pushf(&argv, "--since=@%lld", (long long)(s->r->since / HOY_NS));
	hoy_strv_pushf(&argv, "CONTAINER_ID_FULL=%s", c->id);
	if (argv.error || pipe2(p, O_CLOEXEC) < 0)
		return hoy_fail_oom(err);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, p[1], 1);
	r = posix_spawnp(&s->pid, argv.v[0], &fa, NULL, argv.v, environ);
	posix_spawn_file_actions_destroy(&fa);
	hoy_close(p[1]);
	s->fd = p[0];
	if (!r)
		return 0;
	hoy_close(p[0]);
	return hoy_fail_errno(err, r, "cannot run journalctl, which reads the journal");
}

static int stop(struct source *s, struct hoy_err *err)
{
	int status = 0;

	hoy_close(s->fd);
	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	/* 1: there are no entries */
	if (WIFEXITED(status) && WEXITSTATUS(status) > 1)
		return hoy_fail(err, HOY_EREMOTE, "journalctl ended with exit status %d", WEXITSTATUS(status));
	return 0;
}

static void keep(struct source *s, const char *line, size_t len, bool partial)
{
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		char **more = realloc(s->kept, room * sizeof(*more));

		if (!more)
			return;
		s->kept = more;
		s->room = room;
	}
	s->kept[s->n] = strndup(line, len);
	if (!s->kept[s->n])
		return;
	s->n++;
	s->lines += !partial;
}

/* The first that are too many; a line's pieces stand before its end. */
static void shorten(struct source *s)
{
	size_t gone = 0;

	if (s->lines <= 2 * s->r->tail + 64) /* in one go from time to time */
		return;
	while (s->lines > s->r->tail && gone < s->n) {
		const char *tag = strchr(s->kept[gone], ' ');

		tag = tag ? strchr(tag + 1, ' ') : NULL;
		s->lines -= tag && tag[1] == 'F';
		free(s->kept[gone++]);
	}
	memmove(s->kept, s->kept + gone, (s->n - gone) * sizeof(*s->kept));
	s->n -= gone;
}

static void print_kept(struct source *s)
{
	size_t from = s->n;

	for (long left = s->r->tail; from > 0; from--) {
		const char *tag = strchr(s->kept[from - 1], ' ');

		tag = tag ? strchr(tag + 1, ' ') : NULL;
		if (tag && tag[1] == 'F' && left-- == 0)
			break;
	}
	for (size_t i = 0; i < s->n; i++) {
		if (i >= from)
			log_print_line(s->r, s->kept[i], strlen(s->kept[i]));
		free(s->kept[i]);
	}
	s->n = 0;
	s->lines = 0;
}

/* MESSAGE is a text, or a list of its bytes if it is none. */
static void message(const struct hoy_json *m, struct hoy_buf *b)
{
	if (hoy_json_is(m, HOY_JSON_STRING))
		hoy_buf_add(b, m->str, m->len);
	else if (hoy_json_is(m, HOY_JSON_ARRAY))
		HOY_JSON_EACH(it, m) {
			int64_t v;

			if (hoy_json_int64(it, &v))
				hoy_buf_putc(b, (char)v);
		}
}

static void entry(struct source *s, const char *text, size_t len)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(ENTRY_MAX);
	const char *priority, *at;
	char when[HOY_TIME_SIZE];
	bool partial;

	if (hoy_json_parse(&doc, text, len, "the journal", NULL) < 0)
		return;
	snprintf(s->cursor, sizeof(s->cursor), "%s", hoy_json_str(doc.root, "__CURSOR") ?: "");
	priority = hoy_json_str(doc.root, "PRIORITY") ?: "6";
	at = hoy_json_str(doc.root, "__REALTIME_TIMESTAMP") ?: "0";
	partial = hoy_json_get(doc.root, "CONTAINER_PARTIAL_MESSAGE") != NULL;
	hoy_buf_printf(&b, "%s %s %c ", hoy_time_local(strtoll(at, NULL, 10) * 1000, when), *priority <= '3' ? "stderr" : "stdout", partial ? 'P' : 'F');
	message(hoy_json_get(doc.root, "MESSAGE"), &b);
	if (b.error)
		return;
	if (!partial && b.data[b.len - 1] == '\n')
		b.len--;
	if (s->r->tail < 0) {
		log_print_line(s->r, b.data, b.len);
	} else {
		keep(s, b.data, b.len, partial);
		shorten(s);
	}
}

/* One read; 0 at the end. */
static ssize_t more(struct source *s)
{
	char buf[65536];
	ssize_t n = read(s->fd, buf, sizeof(buf));
	const char *p = buf, *nl;

	if (n <= 0)
		return n < 0 && errno == EINTR ? 1 : n;
	while ((nl = memchr(p, '\n', buf + n - p))) {
		hoy_buf_add(&s->in, p, nl - p);
		if (!s->in.error)
			entry(s, s->in.data, s->in.len);
		hoy_buf_reset(&s->in);
		p = nl + 1;
	}
	hoy_buf_add(&s->in, p, buf + n - p);
	return n;
}

static int pass(struct source *s, const struct ctr *c, struct hoy_err *err)
{
	int r = start(s, c, false, err);

	if (r < 0)
		return r;
	while (more(s) > 0)
		;
	return stop(s, err);
}

/* Until the container's monitor has ended, who writes. */
static int follow(struct source *s, const struct ctr *c, struct hoy_err *err)
{
	pid_t monitor = ctr_pid(c) ? ctr_monitor(c) : 0;
	cleanup_fd int mon = monitor ? hoy_pidfd_open(monitor, 0) : -1;
	int r;

	if (mon < 0)
		return 0;
	r = start(s, c, true, err);
	if (r < 0)
		return r;
	for (;;) {
		struct pollfd p[2] = { { s->fd, POLLIN, 0 }, { mon, POLLIN, 0 } };

		fflush(stdout);
		fflush(stderr);
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if ((p[0].revents && more(s) <= 0) || (!p[0].revents && p[1].revents))
			break;
	}
	kill(s->pid, SIGTERM);
	(void)stop(s, NULL);
	hoy_buf_reset(&s->in);
	return pass(s, c, err);
}

int log_print_journal(struct ctr *c, struct log_reader *r, struct hoy_err *err)
{
	struct source s = { .r = r, .in = HOY_BUF_INIT(ENTRY_MAX) };
	int e = pass(&s, c, err);

	if (r->tail >= 0)
		print_kept(&s);
	r->tail = -1;
	if (!e && r->o->follow)
		e = follow(&s, c, err);
	hoy_buf_release(&s.in);
	free(s.kept);
	return e;
}
