#include "cmd-build/graph.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "cmd-build/build.h"
#include "common/base/fd.h"
#include "common/cli/opts.h"

#define LINE_MAX_KEPT ((size_t)64 << 10)

struct job {
	struct build *b;
	struct stage *st;
	enum { WAITING, RUNNING, DONE } state;
	pid_t pid;
	int out[2];	       /* what it prints to stdout and stderr; -1: closed */
	struct hoy_buf line[2]; /* what it has begun to print */
	int result;	       /* a file that it leaves its result in */
};

struct graph {
	struct job *v;
	size_t n, running;
	struct view *view;
	int failed; /* of the first that did */
	struct build *who;
	bool told;  /* the others were told to end */
};

/* ---- the result of a stage, from its process to ours ---- */

static void put_result(const struct build *b, const struct stage *st, int r, int fd)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&out, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "r", r);
	hoy_jw_int(&w, "code", b->err.code);
	hoy_jw_string(&w, "msg", b->err.msg);
	hoy_jw_int(&w, "status", b->status);
	hoy_jw_string(&w, "image", st->image);
	hoy_jw_bool(&w, "made", st->made);
	hoy_jw_strings(&w, "args", st->args.v, st->args.n);
	hoy_jw_strings(&w, "used", b->used.v, b->used.n);
	if (st->work) {
		hoy_jw_object(&w, "work");
		hoy_jw_string(&w, "id", st->work->id);
		hoy_jw_string(&w, "layer", st->work->layer);
		hoy_jw_string(&w, "name", st->work->name);
		hoy_jw_string_opt(&w, "root", st->work->root);
		hoy_jw_end_object(&w);
	}
	hoy_jw_end_object(&w);
	(void)hoy_write_full(fd, hoy_buf_str(&out), out.len);
}

static struct work *get_work(struct build *b, const struct hoy_json *o)
{
	struct work *w = o ? calloc(1, sizeof(*w)) : NULL;

	if (!w)
		return NULL;
	w->b = b;
	snprintf(w->id, sizeof(w->id), "%s", hoy_json_str(o, "id") ?: "");
	snprintf(w->layer, sizeof(w->layer), "%s", hoy_json_str(o, "layer") ?: "");
	w->name = strdup(hoy_json_str(o, "name") ?: "");
	w->root = hoy_json_str(o, "root") ? strdup(hoy_json_str(o, "root")) : NULL;
	return w;
}

static void get_list(struct hoy_strv *to, const struct hoy_json *from)
{
	HOY_JSON_EACH(e, from)
		if (hoy_json_text(e) && !hoy_strv_has(to, e->str))
			hoy_strv_push(to, e->str);
}

static int get_result(const struct graph *g, struct job *j, int status)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	cleanup_free char *text = NULL;
	struct build *b = j->b;
	size_t len;
	int r;

	if (WIFSIGNALED(status))
		return g->failed ? -ECHILD : hoy_fail(&b->err, ECHILD, "the process of stage '%s' was ended by signal %d", j->st->name, WTERMSIG(status));
	r = lseek(j->result, 0, SEEK_SET) < 0 ? -errno : hoy_read_fd(j->result, "result", HOY_BUF_OURS, &text, &len, &b->err);
	if (!r)
		r = hoy_json_parse(&d, text, len, "result of a stage", &b->err);
	if (r < 0)
		return r;
	snprintf(j->st->image, sizeof(j->st->image), "%s", hoy_json_str(d.root, "image") ?: "");
	j->st->made = hoy_json_bool(d.root, "made", false);
	get_list(&j->st->args, hoy_json_get(d.root, "args"));
	get_list(&b->used, hoy_json_get(d.root, "used"));
	j->st->work = get_work(b, hoy_json_get(d.root, "work"));
	r = (int)hoy_json_int(d.root, "r", -EIO);
	/* Those that were told to end because of another one have nothing to say. */
	if (r < 0 && !g->failed) {
		b->status = (int)hoy_json_int(d.root, "status", 0);
		b->err.code = (int)hoy_json_int(d.root, "code", 0);
		snprintf(b->err.msg, sizeof(b->err.msg), "%s", hoy_json_str(d.root, "msg") ?: "");
	}
	return r;
}

/* ---- processes ---- */

static void run_child(struct job *j, int out, int err)
{
	struct build *b = j->b;
	int r;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(125);
	/* What the parent has of the store are its descriptors: no lock is ever taken on those here. */
	b->s = NULL;
	b->tmp = NULL;
	r = hoy_store_open(&b->s, &hoy_globals.storage, 0, &b->err);
	if (!r)
		r = build_stage(b, j->st);
	fflush(stdout);
	put_result(b, j->st, r, j->result);
	if (b->tmp)
		hoy_remove_tree(AT_FDCWD, b->tmp);
	hoy_store_free(b->s);
	_exit(0);
}

static int start(struct graph *g, struct job *j)
{
	int out[2], err[2];

	if (pipe2(out, O_CLOEXEC) < 0)
		return hoy_fail_errno(&j->b->err, errno, "cannot make a pipe");
	if (pipe2(err, O_CLOEXEC) < 0) {
		hoy_close(out[0]);
		hoy_close(out[1]);
		return hoy_fail_errno(&j->b->err, errno, "cannot make a pipe");
	}
	j->result = memfd_create("hoy-build", MFD_CLOEXEC);
	fflush(stdout);
	j->pid = j->result < 0 ? -1 : fork();
	if (!j->pid)
		run_child(j, out[1], err[1]);
	hoy_close(out[1]);
	hoy_close(err[1]);
	j->out[0] = out[0];
	j->out[1] = err[0];
	j->state = j->pid < 0 ? DONE : RUNNING;
	if (j->pid < 0)
		return hoy_fail_errno(&j->b->err, errno, "cannot start a process");
	g->running++;
	view_run(g->view, j->b, j->st, true);
	return 0;
}

/* A line, or two: a command that ended without the end of its line is followed by an event in the same one. */
static void take_line(struct graph *g, struct job *j, char *line, int which)
{
	char *event = which || !*j->b->mark ? NULL : strstr(line, j->b->mark);

	if (event && event > line) {
		cleanup_free char *text = strndup(line, event - line);

		if (text)
			view_line(g->view, j->b, j->st, text, which);
		line = event;
	}
	view_line(g->view, j->b, j->st, line, which);
}

static void take_lines(struct graph *g, struct job *j, int which, bool end)
{
	struct hoy_buf *b = &j->line[which];
	char *at = b->data, *nl;

	while (at && (nl = memchr(at, '\n', b->len - (at - b->data)))) {
		*nl = '\0';
		take_line(g, j, at, which);
		at = nl + 1;
	}
	if (at && b->len > (size_t)(at - b->data) && (end || b->len - (at - b->data) > LINE_MAX_KEPT)) {
		take_line(g, j, at, which);
		at = b->data + b->len;
	}
	if (at && at > b->data) {
		size_t left = b->len - (at - b->data);

		memmove(b->data, at, left);
		b->len = left;
		b->data[left] = '\0';
	}
}

static void read_some(struct graph *g, struct job *j, int which)
{
	char *to = hoy_buf_reserve(&j->line[which], 16384);
	ssize_t n = to ? read(j->out[which], to, 16384) : -1;

	if (n < 0 && errno == EINTR)
		return;
	if (n > 0) {
		j->line[which].len += n;
		to[n] = '\0';
	}
	take_lines(g, j, which, n <= 0);
	if (n <= 0) {
		hoy_close(j->out[which]);
		j->out[which] = -1;
	}
}

/* J is at its end, if it has one yet (HOW: 0, or WNOHANG). */
static void reap(struct graph *g, struct job *j, int how)
{
	int status, r;
	pid_t pid;

	while ((pid = waitpid(j->pid, &status, how)) < 0 && errno == EINTR)
		;
	if (!pid)
		return;
	for (int k = 0; k < 2; k++) {
		take_lines(g, j, k, true);
		hoy_close(j->out[k]);
		j->out[k] = -1;
	}
	r = get_result(g, j, status);
	if (r < 0 && !g->failed) {
		g->failed = r;
		g->who = j->b;
	}
	hoy_close(j->result);
	j->state = DONE;
	g->running--;
	view_run(g->view, j->b, j->st, false);
}

static void end_all(struct graph *g)
{
	if (g->told)
		return;
	g->told = true;
	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].state == RUNNING)
			kill(g->v[i].pid, SIGTERM);
}

/* Wait until one of them prints something or ends. */
static int listen(struct graph *g)
{
	cleanup_free struct pollfd *p = calloc(g->n * 2, sizeof(*p));

	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < g->n * 2; i++)
		p[i] = (struct pollfd){ .fd = g->v[i / 2].state == RUNNING ? g->v[i / 2].out[i % 2] : -1, .events = POLLIN };
	if (poll(p, g->n * 2, 1000) <= 0) {
		/* What a RUN left behind may still hold the pipes. */
		for (size_t i = 0; i < g->n; i++)
			if (g->v[i].state == RUNNING)
				reap(g, &g->v[i], WNOHANG);
		view_tick(g->view);
		return 0;
	}
	for (size_t i = 0; i < g->n * 2; i++)
		if (p[i].revents)
			read_some(g, &g->v[i / 2], i % 2);
	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].state == RUNNING && g->v[i].out[0] < 0 && g->v[i].out[1] < 0)
			reap(g, &g->v[i], 0);
	return 0;
}

/* ---- order ---- */

static bool ready(const struct graph *g, const struct job *j)
{
	size_t at = j->st - j->b->stages;

	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].b == j->b && g->v[i].state != DONE && j->b->deps[at * j->b->n + (g->v[i].st - j->b->stages)])
			return false;
	return true;
}

static int schedule(struct graph *g, long jobs)
{
	size_t done = 0;

	while (done < g->n || g->running) {
		int r = 0;

		for (size_t i = 0; i < g->n && !g->failed && (!jobs || g->running < (size_t)jobs); i++)
			if (g->v[i].state == WAITING && ready(g, &g->v[i]) && (r = start(g, &g->v[i])) < 0) {
				g->failed = r;
				g->who = g->v[i].b;
			}
		if (g->failed || stopped(g->v[0].b) < 0) {
			g->failed = g->failed ?: -ECANCELED;
			end_all(g);
			if (!g->running)
				break;
		}
		r = listen(g);
		if (r < 0)
			g->failed = r;
		done = 0;
		for (size_t i = 0; i < g->n; i++)
			done += g->v[i].state == DONE;
		view_show(g->view);
	}
	return g->failed;
}

/* Is there never more than one that could run? */
static bool is_chain(const struct graph *g)
{
	for (size_t i = 1; i < g->n; i++) {
		const struct job *j = &g->v[i], *before = &g->v[i - 1];

		if (j->b != before->b || !j->b->deps[(j->st - j->b->stages) * j->b->n + (before->st - j->b->stages)])
			return false;
	}
	return true;
}

static int collect(struct graph *g, struct build *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < v[i].n; k++)
			g->n += v[i].stages[k].needed;
	g->v = calloc(g->n + 1, sizeof(*g->v));
	if (!g->v)
		return hoy_fail_oom(&v->err);
	g->n = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < v[i].n; k++)
			if (v[i].stages[k].needed)
				g->v[g->n++] = (struct job){ .b = &v[i], .st = &v[i].stages[k], .out = { -1, -1 }, .result = -1,
							     .line = { HOY_BUF_INIT(HOY_BUF_OURS), HOY_BUF_INIT(HOY_BUF_OURS) } };
	return 0;
}

/* One after the other, in this process. */
static int run_here(struct graph *g)
{
	int r = 0;

	for (size_t i = 0; i < g->n && !r; i++)
		if ((r = build_stage(g->v[i].b, g->v[i].st)) < 0)
			g->who = g->v[i].b;
	return r;
}

static int run_beside(struct graph *g, struct build *v, size_t n, long jobs, enum view_kind kind)
{
	char id[HOY_ID_SIZE];

	if (hoy_random_id(id) < 0)
		return hoy_fail(&v->err, EIO, "cannot draw a random number");
	/* No command that RUN runs can guess it. */
	for (size_t i = 0; i < n; i++)
		snprintf(v[i].mark, sizeof(v[i].mark), "\036%.32s ", id);
	g->view = view_new(kind);
	return g->view ? schedule(g, jobs) : hoy_fail_oom(&v->err);
}

int graph_run(struct build *v, size_t n, long jobs, enum view_kind kind)
{
	struct graph g = { .n = 0 };
	int r = collect(&g, v, n);

	if (jobs < 0)
		jobs = get_nprocs();
	if (!r)
		r = kind != VIEW_JSON && !v->log && (jobs == 1 || is_chain(&g)) ? run_here(&g) : run_beside(&g, v, n, jobs, kind);
	view_free(g.view);
	if (g.who && g.who != v) {
		v->err = g.who->err;
		v->status = g.who->status;
	}
	if (g.who && v->many && v->err.code)
		hoy_fail_prefix(&v->err, "[%s]", platform_text(&g.who->plat, (char[PLATFORM_SIZE]){ 0 }));
	for (size_t i = 0; i < g.n; i++)
		for (size_t k = 0; k < 2; k++)
			hoy_buf_release(&g.v[i].line[k]);
	free(g.v);
	return r;
}
