#include "cmd-image/transfer/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd-image/transfer/stream.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/json.h"
#include "common/data/time.h"

#define DRAW_EACH (HOY_NS / 10)
#define TELL_EACH (HOY_NS / 5)
#define BARS_MAX 64

struct meter {
	struct meter *next;
	const char *kind;
	char digest[SHA_DIGEST_SIZE];
	int64_t size, current, begun, told;
};

enum how { PLAIN, BARS, JSON };
static enum how how;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER; /* over all below */
static struct meter *meters, **meters_end = &meters;
static int widths[BARS_MAX + 1]; /* of the lines that stand on the terminal, the cursor behind them */
static int drawn;
static int64_t last_draw;

/* What takes the bars away again, for a signal that ends us. */
static char erase_text[2][32];
static char *_Atomic erase = erase_text[0];

/* ---- bars ---- */

static void terminal_size(int *cols, int *rows)
{
	struct winsize ws = { 0 };
	bool known = !ioctl(2, TIOCGWINSZ, &ws) && ws.ws_col && ws.ws_row;

	*cols = known ? ws.ws_col : 80;
	*rows = known ? ws.ws_row : 24;
}

/* On how many rows the lines stand: where the terminal has become narrower, they were broken. */
static int rows_drawn(int cols)
{
	int n = 0;

	for (int i = 0; i < drawn; i++)
		n += widths[i] > cols ? (widths[i] + cols - 1) / cols : 1;
	return n;
}

static void go_back(struct hoy_buf *b, int cols)
{
	int n = rows_drawn(cols);

	if (n)
		hoy_buf_printf(b, "\x1b[%dA\r\x1b[J", n);
	drawn = 0;
}

static void size_text(char *ret, size_t n, int64_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = size;
	size_t i = 0;

	for (; v >= 1024 && i + 1 < ARRAY_SIZE(units); i++)
		v /= 1024;
	snprintf(ret, n, "%.1f%s", v, units[i]);
}

/* One line of at most COLS - 1 characters; all of them are ASCII. */
static int line_of(const struct meter *m, int cols, int64_t now, char *ret, size_t n)
{
	char have[32], all[32], rate[32], tail[128], bar[48] = "";
	int64_t ns = now - m->begun;
	int len, room, full;

	size_text(have, sizeof(have), m->current);
	size_text(all, sizeof(all), m->size);
	size_text(rate, sizeof(rate), ns > 0 ? m->current * ((double)HOY_NS / ns) : 0);
	if (m->size > 0)
		snprintf(tail, sizeof(tail), "%s / %s | %s/s", have, all, rate);
	else
		snprintf(tail, sizeof(tail), "%s | %s/s", have, rate);
	room = cols - 1 - (int)(8 + strlen(m->kind) + 1 + 12 + 1) - (int)strlen(tail) - 3;
	if (m->size > 0 && room >= 8) {
		room = room > 40 ? 40 : room;
		full = m->current >= m->size ? room : m->current * room / m->size;
		bar[0] = '[';
		memset(bar + 1, '-', room);
		memset(bar + 1, '=', full);
		if (full < room)
			bar[1 + full] = '>';
		memcpy(bar + 1 + room, "] ", 3);
	}
	len = snprintf(ret, n, "Copying %s %.12s %s%s", m->kind, strchr(m->digest, ':') ? strchr(m->digest, ':') + 1 : m->digest, bar, tail);
	if (len > cols - 1)
		len = cols > 1 ? cols - 1 : 0;
	ret[len] = '\0';
	return len;
}

static void keep_eraser(int cols)
{
	char *next = erase == erase_text[0] ? erase_text[1] : erase_text[0];
	int n = rows_drawn(cols);

	*next = '\0';
	if (n)
		snprintf(next, sizeof(erase_text[0]), "\x1b[%dA\r\x1b[J", n);
	erase = next;
}

/* TEXT (lines that stay; or "") where the bars are now, and below it the bars anew: in one write, so that nothing flickers. */
static void draw(const char *text, size_t len)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	int64_t now = hoy_now();
	int cols, rows, more = 0;

	terminal_size(&cols, &rows);
	go_back(&b, cols);
	hoy_buf_add(&b, text, len);
	for (const struct meter *m = meters; m; m = m->next) {
		char line[512];

		if (drawn >= BARS_MAX || drawn + 2 >= rows) {
			more++;
			continue;
		}
		widths[drawn++] = line_of(m, cols < (int)sizeof(line) ? cols : (int)sizeof(line) - 1, now, line, sizeof(line));
		hoy_buf_printf(&b, "%s\n", line);
	}
	if (more) {
		widths[drawn++] = 0;
		hoy_buf_printf(&b, "+%d\n", more);
	}
	if (!b.error)
		(void)hoy_write_full(2, hoy_buf_str(&b), b.len);
	keep_eraser(cols);
	last_draw = now;
}

/* A job in the background must not paint over what is in the foreground. */
static bool in_background(void)
{
	pid_t front = tcgetpgrp(2);

	return front > 0 && front != getpgrp();
}

static void draw_now_and_then(void)
{
	if (hoy_now() - last_draw >= DRAW_EACH && !in_background())
		draw("", 0);
}

static void on_signal(int sig)
{
	const char *text = erase;

	if (write(2, text, strlen(text)) < 0)
		_exit(128 + sig);
	raise(sig); /* SA_RESETHAND: it ends us now */
}

/* Ends by a signal leave no bars behind. Who ignores them goes on doing so. */
static void watch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_NODEFER }, old;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler == SIG_DFL)
			sigaction(signals[i], &sa, NULL);
}

/* ---- JSON ---- */

static void write_json(struct hoy_jw *w)
{
	hoy_jw_end_object(w);
	hoy_buf_putc(w->out, '\n');
	if (!w->out->error)
		(void)hoy_write_full(2, hoy_buf_str(w->out), w->out->len);
}

static void tell_text(const char *event, const char *text, size_t len)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "event", event);
	hoy_jw_stringn(&w, "text", text, len);
	write_json(&w);
}

static void tell(const struct meter *m, const char *event, const char *status)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "event", event);
	hoy_jw_string(&w, "kind", m->kind);
	hoy_jw_string(&w, "digest", m->digest);
	if (m->size >= 0)
		hoy_jw_int(&w, "size", m->size);
	hoy_jw_int(&w, "current", m->current);
	hoy_jw_string_opt(&w, "status", status);
	write_json(&w);
}

/* ---- lines ---- */

/* LINE with its newline, which is from elsewhere: an error, a warning. */
static void message(const char *line, size_t n)
{
	size_t prefix = strcspn(line, ":");

	pthread_mutex_lock(&mu);
	if (how == BARS)
		draw(line, n);
	else if (n > prefix + 3)
		tell_text(*line == 'E' ? "error" : *line == 'W' ? "warning" : "debug", line + prefix + 2, n - prefix - 3);
	pthread_mutex_unlock(&mu);
}

int progress_choose(const char *value, bool *quiet, struct hoy_err *err)
{
	const char *term = getenv("TERM");

	how = PLAIN;
	if (value && !strcmp(value, "none"))
		*quiet = true;
	else if (value && !strcmp(value, "json"))
		how = JSON;
	else if (value && strcmp(value, "plain"))
		return hoy_fail(err, EINVAL, "'%s' is no kind of progress (plain, json, none)", value);
	else if (!value && isatty(2) && term && strcmp(term, "dumb"))
		how = BARS;
	if (*quiet)
		how = PLAIN;
	if (how == BARS)
		watch_signals();
	hoy_msg_writer(how == PLAIN ? NULL : message);
	return 0;
}

void progress(bool quiet, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	if (quiet)
		return;
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	pthread_mutex_lock(&mu);
	if (how == JSON) {
		tell_text("message", line, n);
	} else {
		line[n++] = '\n';
		if (how == BARS)
			draw(line, n);
		else
			(void)hoy_write_full(2, line, n);
	}
	pthread_mutex_unlock(&mu);
}

/* ---- meters ---- */

struct meter *meter_begin(bool quiet, const char *kind, const char *digest, int64_t size)
{
	struct meter *m;

	if (quiet)
		return NULL;
	if (how == PLAIN) {
		progress(false, "Copying %s %s", kind, digest);
		return NULL;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->kind = kind;
	snprintf(m->digest, sizeof(m->digest), "%s", digest);
	m->size = size;
	m->begun = m->told = hoy_now();
	pthread_mutex_lock(&mu);
	*meters_end = m;
	meters_end = &m->next;
	if (how == JSON)
		tell(m, "begin", NULL);
	else
		draw("", 0);
	pthread_mutex_unlock(&mu);
	return m;
}

static void add(struct meter *m, int64_t n)
{
	int64_t now;

	pthread_mutex_lock(&mu);
	m->current += n;
	if (how == BARS) {
		draw_now_and_then();
	} else if ((now = hoy_now()) - m->told >= TELL_EACH) {
		m->told = now;
		tell(m, "progress", NULL);
	}
	pthread_mutex_unlock(&mu);
}

struct metered {
	struct stream s, *in;
	struct meter *m;
	int64_t held; /* taken, and not yet told: not every few bytes are worth a lock */
};

static ssize_t metered_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	return stream_peek(((struct metered *)s)->in, ret, err);
}

static void metered_take(struct stream *s, size_t n)
{
	struct metered *t = (struct metered *)s;

	stream_take(t->in, n);
	t->held += n;
	if (t->held >= 32 << 10) {
		add(t->m, t->held);
		t->held = 0;
	}
}

static int metered_skip(struct stream *s, int64_t n, struct hoy_err *err)
{
	struct metered *t = (struct metered *)s;
	int r = t->in->skip(t->in, n, err);

	if (!r)
		add(t->m, n);
	return r;
}

static void metered_free(struct stream *s)
{
	struct metered *t = (struct metered *)s;

	add(t->m, t->held);
	stream_free(t->in);
	free(t);
}

struct stream *meter_stream(struct meter *m, struct stream *in)
{
	struct metered *t = m && in ? calloc(1, sizeof(*t)) : NULL;

	if (!t)
		return in;
	pthread_mutex_lock(&mu);
	m->current = 0;
	pthread_mutex_unlock(&mu);
	*t = (struct metered){ { metered_peek, metered_take, metered_free, in->skip ? metered_skip : NULL }, in, m, 0 };
	return &t->s;
}

static void forget(struct meter *m)
{
	struct meter **at = &meters;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	if (!m->next)
		meters_end = at;
}

static void say_end(const struct meter *m, const char *text)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "Copying %s %.12s %s\n", m->kind, strchr(m->digest, ':') ? strchr(m->digest, ':') + 1 : m->digest, text);

	draw(line, n);
}

void meter_end(struct meter *m, bool done)
{
	if (!m)
		return;
	pthread_mutex_lock(&mu);
	forget(m);
	if (how == JSON)
		tell(m, "end", done ? "done" : "failed");
	else if (done)
		say_end(m, "done");
	else
		draw("", 0);
	pthread_mutex_unlock(&mu);
	free(m);
}

void meter_skip(bool quiet, const char *kind, const char *digest, int64_t size)
{
	struct meter m = { .kind = kind, .size = size };

	if (quiet || how == PLAIN)
		return;
	snprintf(m.digest, sizeof(m.digest), "%s", digest);
	pthread_mutex_lock(&mu);
	if (how == JSON)
		tell(&m, "end", "exists");
	else
		say_end(&m, "skipped: already exists");
	pthread_mutex_unlock(&mu);
}
