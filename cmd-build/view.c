#include "cmd-build/view.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cmd-build/build.h"
#include "common/base/buf.h"
#include "common/data/time.h"

/* ---- in a stage's process ---- */

static void print_prefix(const struct build *b, const struct stage *st, FILE *to)
{
	char text[PLATFORM_SIZE];

	if (b->many)
		fprintf(to, "[%s] ", platform_text(&b->plat, text));
	if (b->target)
		fprintf(to, "[%zu/%zu] ", st - b->stages + 1, b->target + 1);
}

struct event {
	const char *name, *text, *id;
	size_t at, of; /* step */
	bool bare;     /* buildah puts nothing in front of it */
};

/* With a process of our own, the line is for its parent, who knows it by the mark. */
static void emit(const struct state *s, const struct event *e)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&out, NULL);

	if (s->b->o->quiet)
		return;
	if (!*s->b->mark) {
		if (!e->bare)
			print_prefix(s->b, s->st, stdout);
		puts(e->text);
		fflush(stdout);
		return;
	}
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "event", e->name);
	if (e->of) {
		hoy_jw_uint(&w, "step", e->at);
		hoy_jw_uint(&w, "steps", e->of);
	}
	hoy_jw_string_opt(&w, "id", e->id);
	hoy_jw_string(&w, "text", e->text);
	hoy_jw_end_object(&w);
	printf("%s%s\n", s->b->mark, hoy_buf_str(&out));
	fflush(stdout);
}

void say_line(const struct state *s, const char *event, const char *text) { emit(s, &(struct event){ .name = event, .text = text, .bare = true }); }

void say_from(const struct state *s, size_t of, const char *text)
{
	cleanup_free char *line = hoy_asprintf("STEP 1/%zu: %s", of, text);

	emit(s, &(struct event){ .name = "step", .text = line ?: "", .at = 1, .of = of });
}

/* The instruction as it stands, and how its here-documents begin. */
void say_step(const struct state *s, size_t at, size_t of, const struct cf_instr *i)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(CFILE_MAX);

	hoy_buf_printf(&b, "STEP %zu/%zu: %s", at, of, i->text);
	for (size_t k = 0; k < i->n_docs; k++) {
		const char *c = i->docs[k].content + strspn(i->docs[k].content, " \t\r\n"), *end = c + strlen(c);

		while (end > c && strchr(" \t\r\n", end[-1]))
			end--;
		hoy_buf_printf(&b, " (%.*s%s)", (int)strcspn(c, "\r\n") < end - c ? (int)strcspn(c, "\r\n") : (int)(end - c), c,
			       c + strcspn(c, "\r\n") < end ? "..." : "");
	}
	emit(s, &(struct event){ .name = "step", .text = hoy_buf_str(&b), .at = at, .of = of });
}

void say_image(const struct state *s, bool cached)
{
	char line[HOY_ID_SIZE + 32];

	snprintf(line, sizeof(line), cached ? "--> Using cache %s" : "--> %.12s", s->image);
	emit(s, &(struct event){ .name = cached ? "cached" : "image", .text = line, .id = s->image, .bare = true });
}

void say_commit(const struct state *s)
{
	const struct hoy_strv *tags = &s->b->o->tags;
	cleanup_free char *line = hoy_asprintf("COMMIT%s%s", tags->n ? " " : "", tags->n ? tags->v[0] : "");

	if (s->st == &s->b->stages[s->b->target])
		emit(s, &(struct event){ .name = "commit", .text = line ?: "" });
}

/* ---- in the process that has several of them ---- */

#define RUNNING_MAX 64

struct running {
	const struct build *b;
	const struct stage *st;
	char step[256];
	time_t since;
};

struct view {
	enum view_kind kind;
	struct running run[RUNNING_MAX];
	size_t n, drawn; /* drawn: lines on the terminal that are ours */
};

struct view *view_new(enum view_kind kind)
{
	struct view *v = calloc(1, sizeof(*v));

	if (v)
		v->kind = kind;
	return v;
}

static void wipe(struct view *v)
{
	if (v->drawn)
		fprintf(stderr, "\033[%zuA\033[J", v->drawn);
	v->drawn = 0;
}

void view_free(struct view *v)
{
	if (v)
		wipe(v);
	free(v);
}

/* What runs, a line each, below all that was printed. */
static void draw(struct view *v)
{
	struct winsize ws = { .ws_col = 80 };
	time_t now = time(NULL);

	if (v->kind != VIEW_TTY)
		return;
	ioctl(2, TIOCGWINSZ, &ws);
	for (size_t i = 0; i < v->n; i++) {
		const struct running *r = &v->run[i];
		cleanup_free char *line = hoy_asprintf("=> %s %s %llds", r->st->name, r->step, (long long)(now - r->since));

		if (line && ws.ws_col && strlen(line) >= ws.ws_col)
			line[ws.ws_col - 1] = '\0';
		for (char *c = line ?: (char *)""; *c; c++)
			if ((unsigned char)*c < ' ' || *c == 127)
				*c = '?';
		fprintf(stderr, "%s\n", line ?: "");
		v->drawn++;
	}
}

void view_tick(struct view *v)
{
	wipe(v);
	draw(v);
}

static struct running *find(struct view *v, const struct stage *st)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->run[i].st == st)
			return &v->run[i];
	return NULL;
}

void view_run(struct view *v, const struct build *b, const struct stage *st, bool on)
{
	struct running *r = find(v, st);

	if (on && !r && v->n < RUNNING_MAX)
		v->run[v->n++] = (struct running){ .b = b, .st = st, .since = time(NULL) };
	else if (!on && r)
		*r = v->run[--v->n];
	view_tick(v);
}

static void print_json(const struct build *b, const struct stage *st, const struct hoy_json *event, const char *line, bool err)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&out, NULL);
	char text[PLATFORM_SIZE], now[HOY_TIME_SIZE];

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "time", hoy_time_format(hoy_now(), now));
	hoy_jw_string(&w, "platform", platform_text(&b->plat, text));
	hoy_jw_uint(&w, "stage", st - b->stages + 1);
	hoy_jw_uint(&w, "stages", b->target + 1);
	hoy_jw_string(&w, "name", st->name);
	HOY_JSON_EACH(m, event)
		hoy_jw_value(&w, m->key, m);
	if (!event) {
		hoy_jw_string(&w, "event", "output");
		hoy_jw_string(&w, "stream", err ? "stderr" : "stdout");
		hoy_jw_string(&w, "text", line);
	}
	hoy_jw_end_object(&w);
	fprintf(stderr, "%s\n", hoy_buf_str(&out));
}

static void note_step(struct view *v, const struct stage *st, const struct hoy_json *event)
{
	struct running *r = find(v, st);

	if (!r || strcmp(hoy_json_str(event, "event") ?: "", "step"))
		return;
	snprintf(r->step, sizeof(r->step), "%s", hoy_json_str(event, "text") ?: "");
	r->since = time(NULL);
}

void view_line(struct view *v, const struct build *b, const struct stage *st, char *line, bool err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	size_t mark = strlen(b->mark);
	bool event = !err && mark && !strncmp(line, b->mark, mark) && !hoy_json_parse(&doc, line + mark, strlen(line + mark), "event", NULL);
	FILE *to = b->log ?: err ? stderr : stdout;

	if (event)
		note_step(v, st, doc.root);
	if (v->kind == VIEW_JSON) {
		print_json(b, st, event ? doc.root : NULL, line, err);
		return;
	}
	wipe(v);
	/* What RUN prints is not for those who want the id alone; what is wrong, is. */
	if (err || !b->o->quiet) {
		print_prefix(b, st, to);
		fprintf(to, "%s\n", event ? hoy_json_str(doc.root, "text") ?: "" : line);
		fflush(to);
	}
	draw(v);
}
