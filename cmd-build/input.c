#include "cmd-build/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd-build/build.h"
#include "cmd-build/fetch.h"
#include "common/base/fd.h"
#include "common/proc/sibling.h"

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

/* The path of the Containerfile GIVEN (NULL: none was): as it is, else in the context. */
static char *find_file(struct build *b, const char *given)
{
	static const char *const names[] = { "Containerfile", "Dockerfile" };
	char *path = NULL;

	if (given) {
		path = strdup(given);
		/* As podman has it, a name that isn't here may be one in the context. */
		if (path && strcmp(path, "-") && !hoy_exists(AT_FDCWD, path)) {
			free(path);
			path = hoy_path_join(b->context, given);
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

/* "Containerfile.in" goes through the C preprocessor, as buildah has it. TEXT is replaced. */
static int preprocess(struct build *b, const char *name, char **text, size_t *len)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(CFILE_MAX);
	cleanup_fd int in = memfd_create("Containerfile", MFD_CLOEXEC), own = fcntl(0, F_DUPFD_CLOEXEC, 3);
	int status, r = in < 0 || own < 0 ? -errno : hoy_write_full(in, *text, *len);

	for (const char *const *w = (const char *const[]){ "cpp", "-E", "-P", "-iquote", b->context, "-traditional", "-undef", "-", NULL }; *w; w++)
		hoy_strv_push(&argv, *w);
	for (size_t i = 0; i < b->o->cpp_flags.n; i++)
		hoy_strv_push(&argv, b->o->cpp_flags.v[i]);
	if (r < 0 || argv.error || lseek(in, 0, SEEK_SET) < 0 || dup2(in, 0) < 0)
		return hoy_fail_errno(&b->err, r < 0 ? -r : errno, "cannot preprocess '%s'", name);
	status = hoy_sibling_run("cpp", argv.v, &out);
	(void)dup2(own, 0);
	if (status == -ENOENT || status == 127)
		return hoy_fail(&b->err, ENOENT, "%s support requires /usr/bin/cpp, which is not here", name);
	if (status || out.error)
		return hoy_fail(&b->err, HOY_EREMOTE, "cpp did not preprocess '%s'", name);
	free(*text);
	*len = out.len;
	hoy_buf_puts(&out, "");
	*text = hoy_buf_steal(&out);
	return *text ? 0 : hoy_fail_oom(&b->err);
}

static int read_one(struct build *b, const char *given, struct cfile *f)
{
	cleanup_free char *path = NULL, *text = NULL, *got = NULL;
	const char *name;
	size_t len = 0;
	int r = 0;

	if (given && is_remote(given) && !is_git(given)) {
		path = input_path(b);
		r = path ? fetch_to(b, given, false, NULL, path, &got) : -ENOMEM;
	} else {
		path = find_file(b, given);
	}
	if (!path || r < 0)
		return r < 0 && r != -ENOMEM ? r : b->err.code ? -b->err.code : hoy_fail_oom(&b->err);
	name = given ?: strrchr(path, '/') + 1;
	r = strcmp(path, "-") ? hoy_read_file(AT_FDCWD, path, CFILE_MAX, &text, &len, &b->err) : read_stdin(&text, &len, &b->err);
	if (!r && strlen(path) > 3 && !strcmp(path + strlen(path) - 3, ".in"))
		r = preprocess(b, name, &text, &len);
	return r ? r : cfile_parse(f, name, text, len, &b->err);
}

int input_file(struct build *b)
{
	int r = read_one(b, b->o->files.n ? b->o->files.v[0] : NULL, &b->f);

	for (size_t i = 1; i < b->o->files.n && !r; i++) {
		cleanup_cfile struct cfile more = CFILE_INIT;

		r = read_one(b, b->o->files.v[i], &more);
		if (!r)
			r = cfile_join(&b->f, &more, &b->err);
	}
	return r;
}

int input_ignore(struct build *b)
{
	static const char *const names[] = { ".containerignore", ".dockerignore" };
	cleanup_free char *file = NULL;

	if (b->o->ignorefile) {
		b->ignore = strdup(b->o->ignorefile);
		if (b->ignore && !hoy_exists(AT_FDCWD, b->ignore))
			return hoy_fail_errno(&b->err, ENOENT, "cannot open '%s'", b->ignore);
		return b->ignore ? 0 : hoy_fail_oom(&b->err);
	}
	/* By the Containerfile's name first; as buildah has it, that is one in the context, wherever the file is,
	 * and there .dockerignore counts more. */
	if (!b->o->files.n)
		file = find_file(b, NULL);
	else if (strcmp(b->o->files.v[0], "-") && !is_remote(b->o->files.v[0]))
		file = *b->o->files.v[0] == '/' ? strdup(b->o->files.v[0]) : hoy_path_join(b->context, b->o->files.v[0]);
	for (size_t k = file ? 0 : 2; k < ARRAY_SIZE(names) * 2; k++) {
		cleanup_free char *path = k < 2 ? hoy_asprintf("%s%s", file, names[1 - k]) : hoy_path_join(b->context, names[k - 2]);

		if (!path)
			return hoy_fail_oom(&b->err);
		if (hoy_exists(AT_FDCWD, path)) {
			b->ignore = steal_ptr(&path);
			return 0;
		}
	}
	return 0;
}

/* "KEY=VALUE", or "KEY": that of our own environment. */
static int take_arg(struct build *b, const char *arg)
{
	const char *eq = strchr(arg, '=');
	cleanup_free char *key = strndup(arg, eq ? (size_t)(eq - arg) : strlen(arg));
	const char *value = eq ? eq + 1 : key ? getenv(key) : NULL;

	if (!key)
		return hoy_fail_oom(&b->err);
	if (value)
		hoy_env_set(&b->given, key, value);
	return b->given.error ? hoy_fail_oom(&b->err) : 0;
}

/* Lines KEY=VALUE or KEY, and comments. */
static int read_args(struct build *b, const char *path)
{
	cleanup_free char *text = NULL;
	char *save = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, 1 << 20, &text, &len, &b->err);

	for (char *line = r ? NULL : strtok_r(text, "\n", &save); line && !r; line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t");
		line[strcspn(line, "\r")] = '\0';
		if (*line && *line != '#')
			r = take_arg(b, line);
	}
	return r;
}

int input_args(struct build *b)
{
	int r = 0;

	for (size_t i = 0; i < b->o->arg_files.n && !r; i++)
		r = read_args(b, b->o->arg_files.v[i]);
	for (size_t i = 0; i < b->o->build_args.n && !r; i++)
		r = take_arg(b, b->o->build_args.v[i]);
	return r;
}
