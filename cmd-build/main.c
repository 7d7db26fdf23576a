/* cmd-build/main.c: hoy-build: the command line, and what is read before anything is built. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-build/build.h"
#include "cmd-build/lease.h"
#include "cmd-build/mounts.h"
#include "cmd-build/verbs.h"
#include "common/base/fd.h"
#include "common/base/msg.h"

/* ---- what is read ---- */

static int read_stdin(char **ret, size_t *len, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(CFILE_MAX);
	char piece[65536];
	ssize_t n;

	while ((n = read(0, piece, sizeof(piece))) > 0)
		hoy_buf_add(&b, piece, n);
	if (n < 0 || b.error)
		return hoy_fail_errno(err, n < 0 ? errno : b.error, "cannot read the Containerfile from stdin");
	*len = b.len;
	hoy_buf_puts(&b, "");
	*ret = hoy_buf_steal(&b);
	return *ret ? 0 : hoy_fail_oom(err);
}

/* The path of the Containerfile: as given, else in the context. */
static char *find_file(struct build *b)
{
	static const char *const names[] = { "Containerfile", "Dockerfile" };
	char *path = NULL;

	if (b->o->files.n) {
		path = strdup(b->o->files.v[0]);
		/* As podman has it, a name that isn't here may be one in the context. */
		if (path && strcmp(path, "-") && !hoy_exists(AT_FDCWD, path)) {
			free(path);
			path = hoy_path_join(b->context, b->o->files.v[0]);
		}
		return path;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		free(path);
		path = hoy_path_join(b->context, names[i]);
		if (!path || hoy_exists(AT_FDCWD, path))
			return path;
	}
	free(path);
	hoy_fail(&b->err, ENOENT, "no Containerfile or Dockerfile specified or found in context directory, %s", b->context);
	return NULL;
}

static int read_file(struct build *b)
{
	cleanup_free char *path = find_file(b), *text = NULL;
	size_t len = 0;
	int r;

	if (!path)
		return b->err.code ? -b->err.code : hoy_fail_oom(&b->err);
	r = strcmp(path, "-") ? hoy_read_file(AT_FDCWD, path, CFILE_MAX, &text, &len, &b->err) : read_stdin(&text, &len, &b->err);
	if (!r)
		r = cfile_parse(&b->f, b->o->files.n ? b->o->files.v[0] : strrchr(path, '/') + 1, text, len, &b->err);
	return r;
}

static int find_ignore(struct build *b)
{
	static const char *const names[] = { ".containerignore", ".dockerignore" };

	if (b->o->ignorefile) {
		b->ignore = strdup(b->o->ignorefile);
		if (b->ignore && !hoy_exists(AT_FDCWD, b->ignore))
			return hoy_fail_errno(&b->err, ENOENT, "cannot open '%s'", b->ignore);
		return b->ignore ? 0 : hoy_fail_oom(&b->err);
	}
	for (size_t k = 0; k < ARRAY_SIZE(names) * 2; k++) {
		cleanup_free char *path = NULL;

		/* FILE.containerignore first. */
		if (k < 2 && (!b->o->files.n || !strcmp(b->o->files.v[0], "-")))
			continue;
		path = k < 2 ? hoy_asprintf("%s%s", b->o->files.v[0], names[k]) : hoy_path_join(b->context, names[k - 2]);
		if (!path)
			return hoy_fail_oom(&b->err);
		if (hoy_exists(AT_FDCWD, path)) {
			b->ignore = steal_ptr(&path);
			return 0;
		}
	}
	return 0;
}

/* ---- what is asked for ---- */

static int take_build_args(struct build *b)
{
	for (size_t i = 0; i < b->o->build_args.n; i++) {
		const char *arg = b->o->build_args.v[i], *eq = strchr(arg, '=');
		cleanup_free char *key = strndup(arg, eq ? (size_t)(eq - arg) : strlen(arg));
		const char *value = eq ? eq + 1 : key ? getenv(key) : NULL;

		if (!key)
			return hoy_fail_oom(&b->err);
		if (value)
			hoy_env_set(&b->given, key, value);
	}
	return b->given.error ? hoy_fail_oom(&b->err) : 0;
}

static int take_context(struct build *b, const char *arg)
{
	struct stat st;

	b->context = arg ?: ".";
	if (strstr(b->context, "://") || !strncmp(b->context, "git@", 4) || !strcmp(b->context, "-"))
		return hoy_fail(&b->err, HOY_EUNSUPPORTED, "'%s': a context that is not a directory here is not supported", b->context);
	if (stat(b->context, &st) < 0)
		return hoy_fail_errno(&b->err, errno, "cannot use the context '%s'", b->context);
	return S_ISDIR(st.st_mode) ? 0 : hoy_fail(&b->err, ENOTDIR, "context must be a directory: '%s'", b->context);
}

/* Those of --build-arg that no ARG asked for. */
static void warn_unused(const struct build *b)
{
	cleanup_buf struct hoy_buf list = HOY_BUF_INIT(1 << 16);

	for (size_t i = 0; i < b->given.n; i++) {
		size_t len = strcspn(b->given.v[i], "=");
		cleanup_free char *key = strndup(b->given.v[i], len);

		if (key && !hoy_strv_has(&b->used, key) && !(len > 6 && !strcasecmp(key + len - 6, "_proxy")))
			hoy_buf_printf(&list, "%s%s", list.len ? " " : "", key);
	}
	if (list.len)
		hoy_warning("one or more build args were not consumed: [%s]", list.data);
}

static void build_release(struct build *b)
{
	options_release(b->o);
	hoy_strv_release(&b->given);
	hoy_strv_release(&b->used);
	hoy_strv_release(&b->cache_from);
	hoy_strv_release(&b->cache_to);
	free(b->ignore);
	cfile_release(&b->f);
	hoy_store_free(b->s);
}

static int run_build(const struct hoy_verb *v, int argc, char **argv)
{
	struct build_opts o;
	struct build b = { .o = &o, .f = CFILE_INIT, .out = -1, .told = { -1, -1 }, .err = HOY_ERR_INIT };
	int status, r, n;

	options_init(&o);
	n = hoy_verb_args(v, argc, argv, &o, 0, 1, &status);
	if (n < 0)
		return status;
	r = options_take(&b);
	if (!r)
		r = take_context(&b, n ? argv[1] : NULL);
	if (!r)
		r = take_build_args(&b);
	if (!r)
		r = options_times(&b);
	if (!r)
		r = secrets_check(&b);
	if (!r)
		r = read_file(&b);
	if (!r)
		r = find_ignore(&b);
	if (!r)
		r = hoy_store_open(&b.s, &hoy_globals.storage, 0, &b.err);
	if (!r)
		lease_collect(b.s);
	/* What is made for an image has the same mode whoever makes it. */
	umask(022);
	catch_signals();
	if (!r)
		r = log_begin(&b);
	if (!r)
		r = build_all(&b);
	if (!r)
		warn_unused(&b);
	log_end(&b);
	/* Without a sentence of ours, the tool that failed has said it. */
	if (r < 0 && b.err.code)
		hoy_report(&b.err, 0);
	build_release(&b);
	return hoy_finish_stdout(!r ? 0 : b.status ?: 125);
}
const struct hoy_verb verb_build = { "build", "[options] [CONTEXT]", "Build an image from a Containerfile", build_options, run_build, 0 };
const struct hoy_verb verb_bud = { "bud", "[options] [CONTEXT]", NULL, build_options, run_build, 0 };

int main(int argc, char **argv)
{
	static const struct hoy_verb *const verbs[] = { &verb_build, &verb_bud, BUILDAH_VERBS NULL };

	/* (Parsing moves the words of argv about, but nobody parses behind this one.) */
	if (argc > 1 && !strcmp(argv[1], "__complete"))
		handover_remember(argv);
	return hoy_tool_main("hoy-build", "Images from Containerfiles", verbs, argc, argv);
}
