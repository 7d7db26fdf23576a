#include "cmd-build/builder/ignore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/strv.h"

/*
 * Matching is by parts of Go's regular expressions that the patterns stand for: "*" is [^/]*, "?" is [^/], "**" at the end is
 * .*, elsewhere "**" with the slash behind it is (.*\/)?, and [...] is a class.
 */

/* The end of the class at P, behind its ']'; NULL if it has none. */
static const char *class_end(const char *p)
{
	p += 1 + (p[1] == '^');
	if (*p == ']')
		p++;
	for (; *p && *p != ']'; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : NULL;
}

static bool in_class(const char *p, const char *end, unsigned char c)
{
	bool not = p[1] == '^', found = false;

	for (p += 1 + not; p < end - 1; p++) {
		unsigned char lo = *p == '\\' ? *++p : *p, hi = lo;

		if (p[1] == '-' && p + 2 < end - 1) {
			p += 2;
			hi = *p == '\\' ? *++p : *p;
		}
		found = found || (c >= lo && c <= hi);
	}
	return found != not;
}

/* Does P match one character C, and where does it go on? NULL if not. */
static const char *one(const char *p, unsigned char c)
{
	const char *end;

	if (*p == '?')
		return c != '/' ? p + 1 : NULL;
	if (*p == '[') {
		end = class_end(p);
		return end && in_class(p, end, c) ? end : NULL;
	}
	if (*p == '\\' && p[1])
		p++;
	return *p && (unsigned char)*p == c ? p + 1 : NULL;
}

/* "**" may be followed by much that is tried in vain: STEPS bounds that, for a pattern is somebody's. */
static bool match(const char *p, const char *s, unsigned *steps)
{
	while (*p) {
		const char *next;

		if (!*steps || !--*steps)
			return false;
		if (p[0] == '*' && p[1] == '*') {
			p += 2;
			if (*p == '/')
				p++;
			if (!*p)
				return true;
			if (match(p, s, steps))
				return true;
			for (s = strchr(s, '/'); s; s = strchr(s, '/'))
				if (match(p, ++s, steps))
					return true;
			return false;
		}
		if (*p == '*') {
			p++;
			for (;; s++) {
				if (match(p, s, steps))
					return true;
				if (!*s || *s == '/')
					return false;
			}
		}
		next = *s ? one(p, *s) : NULL;
		if (!next)
			return false;
		p = next;
		s++;
	}
	return !*s;
}

#define STEPS 1000000

/* PATTERN against PATH or a directory above it. (A look at its ends spares most paths of large contexts the rest.) */
static bool matches(const struct ignore_pattern *pattern, const char *path)
{
	cleanup_free char *p = NULL;
	unsigned steps = STEPS;

	if (strncmp(path, pattern->text, pattern->front) || !strstr(path, pattern->tail))
		return false;
	p = strdup(path);
	while (p && *p) {
		char *slash;

		if (match(pattern->text, p, &steps))
			return true;
		slash = strrchr(p, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	return false;
}

void ignore_release(struct ignore *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->v[i].text);
	free(g->v);
	*g = (struct ignore){ 0 };
}

/* As Go's filepath.Clean(), and without the slash at its beginning; in place. */
static void clean(char *s)
{
	char *out = s, *p = s;

	while (*p) {
		size_t len;

		p += strspn(p, "/");
		len = strcspn(p, "/");
		if (len == 2 && p[0] == '.' && p[1] == '.') {
			char *last = NULL;

			for (char *q = s; q < out; q++)
				if (*q == '/')
					last = q;
			out = last ?: s;
		} else if (len && !(len == 1 && *p == '.')) {
			if (out != s)
				*out++ = '/';
			memmove(out, p, len);
			out += len;
		}
		p += len;
	}
	*out = '\0';
}

static int check(const char *p, const char *name, struct hoy_err *err)
{
	while (*p) {
		const char *next = *p == '[' ? class_end(p) : *p == '\\' && p[1] ? p + 2 : p + 1;

		if (!next)
			return hoy_fail(err, EINVAL, "%s: syntax error in pattern: a '[' without ']'", name);
		p = next;
	}
	return 0;
}

static int add(struct ignore *g, const char *line, size_t len, const char *name, struct hoy_err *err)
{
	struct ignore_pattern *v;
	bool again = *line == '!';
	char *text;
	int r;

	if (again && len == 1)
		return hoy_fail(err, EINVAL, "%s: illegal exclusion pattern: \"!\"", name);
	text = strndup(line + again, len - again);
	v = text ? realloc(g->v, (g->n + 1) * sizeof(*v)) : NULL;
	if (!v) {
		free(text);
		return hoy_fail_oom(err);
	}
	g->v = v;
	g->v[g->n++] = (struct ignore_pattern){ text, 0, text, again };
	for (size_t n = strlen(text); n && strchr(" \t", text[n - 1]);)
		text[--n] = '\0';
	memmove(text, text + strspn(text, " \t"), strlen(text + strspn(text, " \t")) + 1);
	r = check(text, name, err);
	clean(text);
	g->v[g->n - 1].front = strcspn(text, "*?[\\");
	for (const char *w = strpbrk(text, "*?[]\\"); w; w = strpbrk(w + 1, "*?[]\\"))
		g->v[g->n - 1].tail = w + 1 + (w[1] == '/'); /* "**" in front of it may stand for nothing, and the slash with it */
	g->some_again = g->some_again || again;
	return r;
}

int ignore_parse(struct ignore *g, const char *text, const char *name, struct hoy_err *err)
{
	if (!strncmp(text, "\xef\xbb\xbf", 3))
		text += 3;
	while (*text) {
		const char *s = text, *e = s + strcspn(s, "\n");
		bool comment = *s == '#';
		int r;

		text = e + (*e == '\n');
		while (s < e && strchr(" \t\r", *s))
			s++;
		while (e > s && strchr(" \t\r", e[-1]))
			e--;
		r = comment || s == e ? 0 : add(g, s, e - s, name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

bool ignore_matches(const struct ignore *g, const char *path)
{
	for (size_t i = g->n; i; i--)
		if (matches(&g->v[i - 1], path))
			return !g->v[i - 1].again;
	return false;
}

/* As buildah has it: a pattern that only matches there by its wildcards brings nothing back. */
bool ignore_look_below(const struct ignore *g, const char *path)
{
	size_t n = strlen(path);

	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].again && !strncmp(g->v[i].text, path, n) && (g->v[i].text[n] == '/' || !g->v[i].text[n]))
			return true;
	return false;
}
