/* cmd-build/builder/ignore.h: .containerignore and .dockerignore: which paths of a context are not part of it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct hoy_err;

struct ignore {
	struct ignore_pattern {
		char *text;
		size_t front;	  /* bytes before the first wildcard: what it matches begins with them */
		const char *tail; /* of TEXT, behind the last one: what it matches, or the directory above that it does, ends with it */
		bool again; /* began with '!': what it matches is part of the context after all */
	} *v;
	size_t n;
	bool some_again; /* what is beneath a directory that is left out may be part of it after all */
};
void ignore_release(struct ignore *g);

/* Add the lines of TEXT (of a file that messages call NAME) to G, which may be blank; -EINVAL for a bad pattern. */
int ignore_parse(struct ignore *g, const char *text, const char *name, struct hoy_err *err);
/* Is PATH, relative to the context, left out: does the last pattern that matches it, or a directory above it, say so? */
bool ignore_matches(const struct ignore *g, const char *path);
/* May something beneath the directory PATH, which is left out, be part of the context: does a '!' pattern begin with its path? */
bool ignore_look_below(const struct ignore *g, const char *path);
