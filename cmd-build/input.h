/* cmd-build/input.h: what a build reads before it begins: its context, others by name, and the Containerfile. */
#pragma once
#include <stdbool.h>

struct build;

/* b->context from ARG: a directory, or what becomes one: "-" (stdin), a git repository, the address of a tar or Containerfile. */
int input_context(struct build *b, const char *arg);
/* --build-context: those that are elsewhere are fetched. */
int input_contexts(struct build *b);
/* Parse the Containerfile, or several one behind the other. */
int input_file(struct build *b);
/* b->ignore. */
int input_ignore(struct build *b);
/* --build-arg-file and --build-arg into b->given. */
int input_args(struct build *b);
/* A path for something that is read, in a directory that goes with the build; in new memory, or NULL. */
char *input_path(struct build *b);
/* Take away what was fetched. */
void input_release(struct build *b);

/* The value of --build-context NAME, *IMAGE: it's an image, not a directory. NULL if there is no such one. */
const char *input_named(const struct build *b, const char *name, bool *image);
