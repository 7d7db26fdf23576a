/* cmd-build/context.c: contexts: directories, and what becomes one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-build/build.h"
#include "cmd-build/fetch.h"
#include "cmd-build/input.h"
#include "common/base/fd.h"
#include "common/cli/call.h"

char *input_path(struct build *b)
{
	const char *dir = getenv("TMPDIR");

	if (!b->inputs) {
		b->inputs = hoy_asprintf("%s/hoy-build-XXXXXX", dir && *dir ? dir : "/var/tmp");
		if (!b->inputs || !mkdtemp(b->inputs)) {
			hoy_fail_errno(&b->err, errno, "cannot make a temporary directory");
			free(b->inputs);
			b->inputs = NULL;
			return NULL;
		}
	}
	return hoy_asprintf("%s/%zu", b->inputs, b->n_inputs++);
}

static int save_stdin(struct build *b, const char *path)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t n = fd < 0 ? -errno : hoy_copy_fd(0, fd);

	return n < 0 ? hoy_fail_errno(&b->err, (int)-n, "cannot read the context from stdin") : 0;
}

/* The file PATH is a tar, which DIR gets, or a Containerfile. */
static int unpack(struct build *b, const char *path, const char *dir)
{
	const char *words[] = { "unpack", path, dir, NULL };
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(4096);
	cleanup_free char *file = NULL;
	int status;

	if (mkdir(dir, 0755) < 0)
		return hoy_fail_errno(&b->err, errno, "cannot create '%s'", dir);
	status = hoy_call_tool("hoy-builder", words, &out);
	if (status < 0)
		return hoy_fail_errno(&b->err, -status, "cannot run hoy-builder");
	if (status)
		return -HOY_EREMOTE; /* it has told the user why */
	if (strncmp(hoy_buf_str(&out), "plain", 5))
		return unlink(path) < 0 ? -errno : 0;
	file = hoy_path_join(dir, "Dockerfile");
	return !file || rename(path, file) < 0 ? hoy_fail_errno(&b->err, errno, "cannot move '%s'", path) : 0;
}

/* What TEXT is the address of becomes a directory: *RET, in new memory. */
static int get(struct build *b, const char *text, char **ret)
{
	cleanup_free char *path = input_path(b), *dir = NULL;
	int r = path ? 0 : b->err.code ? -b->err.code : hoy_fail_oom(&b->err);

	if (r < 0)
		return r;
	if (is_git(text))
		return fetch_to(b, text, true, NULL, path, ret);
	r = strcmp(text, "-") ? fetch_to(b, text, false, NULL, path, &dir) : save_stdin(b, path);
	dir = r ? NULL : input_path(b);
	if (!r)
		r = dir ? unpack(b, path, dir) : hoy_fail_oom(&b->err);
	if (!r)
		*ret = steal_ptr(&dir);
	return r;
}

static int check_dir(struct build *b, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return hoy_fail_errno(&b->err, errno, "cannot use the context '%s'", path);
	return S_ISDIR(st.st_mode) ? 0 : hoy_fail(&b->err, ENOTDIR, "context must be a directory: '%s'", path);
}

int input_context(struct build *b, const char *arg)
{
	int r;

	b->context = arg ?: ".";
	if (strcmp(b->context, "-") && !is_remote(b->context))
		return check_dir(b, b->context);
	for (size_t i = 0; *b->context == '-' && i < b->o->files.n; i++)
		if (!strcmp(b->o->files.v[i], "-"))
			return hoy_fail(&b->err, EINVAL, "stdin can be the context or the Containerfile, not both");
	r = get(b, b->context, &b->got_context);
	if (!r)
		b->context = b->got_context;
	return r;
}

/* ---- by name ---- */

static const char *image_of(const char *value)
{
	static const char *const schemes[] = { "docker-image://", "container-image://", "docker://" };

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (!strncmp(value, schemes[i], strlen(schemes[i])))
			return value + strlen(schemes[i]);
	return NULL;
}

static int add_context(struct build *b, const char *text)
{
	const char *eq = strchr(text, '='), *value = eq ? eq + 1 : "", *image = image_of(value);
	cleanup_free char *got = NULL;
	int r = 0;

	if (!eq || eq == text || !*value)
		return hoy_fail(&b->err, EINVAL, "while parsing additional build context: \"%s\": must be NAME=VALUE", text);
	if (!image && is_remote(value))
		r = get(b, value, &got);
	else if (!image)
		r = check_dir(b, value);
	if (r < 0)
		return r;
	/* The last one of a name counts. */
	hoy_strv_insert(&b->contexts, 0, got ?: image ?: value);
	hoy_strv_insert(&b->contexts, 0, image ? "image" : "dir");
	hoy_strv_insert(&b->contexts, 0, "");
	free(b->contexts.v[0]);
	b->contexts.v[0] = strndup(text, eq - text);
	return b->contexts.error || !b->contexts.v[0] ? hoy_fail_oom(&b->err) : 0;
}

int input_contexts(struct build *b)
{
	int r = 0;

	for (size_t i = 0; i < b->o->contexts.n && !r; i++)
		r = add_context(b, b->o->contexts.v[i]);
	return r;
}

const char *input_named(const struct build *b, const char *name, bool *image)
{
	for (size_t i = 0; i + 2 < b->contexts.n; i += 3)
		if (!strcmp(b->contexts.v[i], name)) {
			*image = *b->contexts.v[i + 1] == 'i';
			return b->contexts.v[i + 2];
		}
	return NULL;
}

void input_release(struct build *b)
{
	if (b->inputs)
		(void)hoy_remove_tree(AT_FDCWD, b->inputs);
	free(b->inputs);
	free(b->got_context);
	hoy_strv_release(&b->contexts);
}
