/* cmd-build/builder/sources.c: what the sources of COPY and ADD stand for. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-build/builder/builder.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"

void items_release(struct items *it)
{
	for (size_t i = 0; i < it->n; i++)
		free(it->v[i].path);
	free(it->v);
	it->v = NULL;
	it->n = 0;
}

static int add(struct items *it, enum item_kind kind, const char *path, size_t skip, struct hoy_err *err)
{
	struct item *v = it->n % 64 ? it->v : realloc(it->v, (it->n + 64) * sizeof(*v));

	if (!v)
		return hoy_fail_oom(err);
	it->v = v;
	v[it->n] = (struct item){ strdup(path), kind, skip };
	return v[it->n].path ? (it->n++, 0) : hoy_fail_oom(err);
}

static bool is_glob(const char *s) { return strpbrk(s, "*?[\\") != NULL; }

/* The names in the directory BASE that WORD means: itself, if it is no pattern. */
static int matching(const struct items *it, const char *base, const char *word, struct hoy_strv *ret)
{
	cleanup_strv struct hoy_strv all = HOY_STRV_INIT;
	cleanup_fd int fd = -1;

	if (!is_glob(word)) {
		hoy_strv_push(ret, word);
		return ret->error ? -ENOMEM : 0;
	}
	fd = hoy_open_beneath(it->context, *base ? base : ".", O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT);
	if (fd >= 0 && list_names(fd, &all) == -ENOMEM)
		return -ENOMEM;
	for (size_t i = 0; i < all.n; i++)
		if (!fnmatch(word, all.v[i], FNM_PATHNAME))
			hoy_strv_push(ret, all.v[i]);
	return ret->error ? -ENOMEM : 0;
}

/* Add what PATTERN, from its component AT on, matches beneath BASE (a path in the context). */
static int expand(struct items *it, const char *base, const char *at, int depth, size_t skip, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	cleanup_free char *word = NULL;
	size_t len;
	int r = 0;

	at += strspn(at, "/");
	len = strcspn(at, "/");
	if (!len) {
		cleanup_fd int fd = hoy_open_beneath(it->context, *base ? base : ".", O_PATH, 0, HOY_IN_ROOT);

		return fd < 0 ? 0 : add(it, ITEM_PATH, base, skip, err);
	}
	if (len == 1 && *at == '.')
		return expand(it, base, at + 1, depth, skip, err);
	word = strndup(at, len);
	if (!word || depth > 100)
		return word ? hoy_fail(err, ELOOP, "'%s' is too deep", base) : hoy_fail_oom(err);
	if (matching(it, base, word, &names) < 0)
		return hoy_fail_oom(err);
	for (size_t i = 0; i < names.n && !r; i++) {
		cleanup_free char *next = *base ? hoy_path_join(base, names.v[i]) : strdup(names.v[i]);

		r = next ? expand(it, next, at + len, depth + 1, skip, err) : hoy_fail_oom(err);
	}
	return r;
}

/* How many components stand before the "/./" that says where --parents begins? */
static size_t pivot(const char *arg)
{
	const char *end = strstr(arg, "/./");
	size_t n = 0;

	while (end && arg < end) {
		size_t len;

		arg += strspn(arg, "/");
		len = strcspn(arg, "/");
		n += len && !(len == 1 && *arg == '.');
		arg += len;
	}
	return n;
}

int items_add(struct items *it, const char *arg, struct hoy_err *err)
{
	static const struct { const char *mark; enum item_kind kind; } marks[] = { { "<<", ITEM_DOC }, { "<@", ITEM_FETCHED }, { "<+", ITEM_TREE } };
	size_t before = it->n, to = before;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (!strncmp(arg, marks[i].mark, 2))
			return add(it, marks[i].kind, arg + 2, 0, err);
	r = expand(it, "", arg, 0, pivot(arg), err);
	if (r < 0)
		return r;
	if (it->n == before)
		return hoy_fail_errno(err, ENOENT, "cannot find '%s' beneath '%s'", arg, it->where);
	for (size_t i = before; i < it->n; i++) {
		if (*it->v[i].path && !it->ignore->some_again && ignore_matches(it->ignore, it->v[i].path))
			free(it->v[i].path);
		else
			it->v[to++] = it->v[i];
	}
	it->n = to;
	return to == before ? hoy_fail(err, ENOENT, "all that '%s' matches is left out by '%s'", arg, it->ignored_by ?: "--exclude") : 0;
}
