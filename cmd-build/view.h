/* cmd-build/view.h: what the user sees of a build: lines, JSON, or a picture of what runs on a terminal. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct build;
struct stage;
struct state;
struct cf_instr;

enum view_kind {
	VIEW_PLAIN,
	VIEW_TTY,  /* lines, and below them what runs now: screen.h */
	VIEW_JSON, /* an object for each event, on stderr */
};

/* ---- in a stage's process ---- */

/* STEP 1, which names the base. */
void say_from(const struct state *s, size_t of, const char *text);
void say_step(const struct state *s, size_t at, size_t of, const struct cf_instr *i);
/* The image that a step made, or found in the cache. */
void say_image(const struct state *s, bool cached);
void say_commit(const struct state *s);
/* A line of its own, such as why the cache has nothing. */
void say_line(const struct state *s, const char *event, const char *text);

/* ---- in the process that has several of them ---- */

struct view;
struct view *view_new(enum view_kind kind);
void view_free(struct view *v);
/* A line that stage ST of B printed to stdout (or to stderr: ERR), an event of the above among them. */
void view_line(struct view *v, const struct build *b, const struct stage *st, char *line, bool err);
/* ST is running, or no more. */
void view_run(struct view *v, const struct build *b, const struct stage *st, bool on);
/* Show what runs, if that has changed; or because time goes by. */
void view_show(struct view *v);
void view_tick(struct view *v);
