#include "cmd-build/view.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd-build/build.h"
#include "cmd-build/screen.h"
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
	size_t n;
	struct screen screen;
	bool dirty; /* what runs is not on the terminal as it is now */
};

struct view *view_new(enum view_kind kind)
{
	struct view *v = calloc(1, sizeof(*v));

	if (v)
		v->kind = kind;
	return v;
}

void view_free(struct view *v)
{
	if (v)
		screen_wipe(&v->screen);
	free(v);
}

/* What runs, a line each, below all that was printed. */
static void draw(struct view *v)
{
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;
	time_t now = time(NULL);

	for (size_t i = 0; i < v->n; i++) {
		const struct running *r = &v->run[i];
		char text[PLATFORM_SIZE];

		hoy_strv_pushf(&lines, "=> %s%s%s %s %llds", r->b->many ? platform_text(&r->b->plat, text) : "", r->b->many ? " " : "", r->st->name, r->step,
			       (long long)(now - r->since));
	}
	screen_draw(&v->screen, &lines);
}

void view_show(struct view *v)
{
	if (v->kind == VIEW_TTY && v->dirty)
		draw(v);
	v->dirty = false;
}

void view_tick(struct view *v)
{
	v->dirty = true;
	view_show(v);
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
	v->dirty = true;
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
	cleanup_free char *text = NULL;

	if (!r || strcmp(hoy_json_str(event, "event") ?: "", "step"))
		return;
	text = screen_clean(hoy_json_str(event, "text") ?: "");
	snprintf(r->step, sizeof(r->step), "%s", text ?: "");
	r->since = time(NULL);
}

void view_line(struct view *v, const struct build *b, const struct stage *st, char *line, bool err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	size_t mark = strlen(b->mark);
	bool event = !err && mark && !strncmp(line, b->mark, mark) && !hoy_json_parse(&doc, line + mark, strlen(line + mark), "event", NULL);
	FILE *to = b->log ?: err ? stderr : stdout;
	cleanup_free char *clean = NULL;

	if (event)
		note_step(v, st, doc.root);
	if (v->kind == VIEW_JSON) {
		print_json(b, st, event ? doc.root : NULL, line, err);
		return;
	}
	/* What RUN prints is not for those who want the id alone; what is wrong, is. */
	if (!err && b->o->quiet)
		return;
	if (v->kind == VIEW_TTY && !b->log) {
		screen_wipe(&v->screen);
		v->dirty = true;
		clean = screen_clean(event ? hoy_json_str(doc.root, "text") ?: "" : line);
	}
	print_prefix(b, st, to);
	fprintf(to, "%s\n", clean ? clean : event ? hoy_json_str(doc.root, "text") ?: "" : line);
	fflush(to);
}
