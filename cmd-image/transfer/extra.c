#include "cmd-image/transfer/extra.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "common/data/json.h"
#include "common/data/tar_write.h"

/* ---- one tar behind another ---- */

struct chained {
	struct stream s, *in[2];
	int at;
};

static ssize_t ch_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	struct chained *c = (struct chained *)s;
	ssize_t n = stream_peek(c->in[c->at], ret, err);

	if (n || c->at || !c->in[1])
		return n;
	c->at = 1;
	return stream_peek(c->in[1], ret, err);
}
static void ch_take(struct stream *s, size_t n) { stream_take(((struct chained *)s)->in[((struct chained *)s)->at], n); }
static void ch_free(struct stream *s)
{
	stream_free(((struct chained *)s)->in[0]);
	stream_free(((struct chained *)s)->in[1]);
	free(s);
}

/* ---- the files ---- */

static int put_header(int out, const char *path, int64_t size, int64_t mtime)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);

	tar_put_header(&b, &(struct tar_item){ .type = '0', .name = path, .size = size, .mtime = mtime, .mode = 0644 });
	return b.error ? -ENOMEM : hoy_write_full(out, b.data, b.len);
}

static int put_data(int out, int in, int64_t size)
{
	static const char zeros[TAR_BLOCK];

	for (int64_t left = size; left;) {
		ssize_t n = sendfile(out, in, NULL, left < 1 << 30 ? (size_t)left : 1 << 30);

		if (n <= 0)
			return n ? -errno : -ESTALE;
		left -= n;
	}
	return hoy_write_full(out, zeros, tar_padding(size));
}

static int put_file(int out, const struct hoy_json *file, int64_t mtime, struct hoy_err *err)
{
	const char *source = hoy_json_str(file, "source"), *path = hoy_json_str(file, "path");
	cleanup_fd int in = source ? open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	struct stat st;
	int r;

	if (!source || !path || !*path || strlen(path) > TAR_NAME_MAX)
		return hoy_fail(err, EINVAL, "a file that is to be added has no source or no name");
	if (in < 0 || fstat(in, &st) < 0)
		return hoy_fail_errno(err, errno, "cannot read '%s'", source);
	if (!S_ISREG(st.st_mode))
		return hoy_fail(err, EINVAL, "source \"%s\" is not a regular file", source);
	r = put_header(out, path, st.st_size, mtime);
	if (!r)
		r = put_data(out, in, st.st_size);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot copy '%s'", source) : 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(hoy_json_str(*(const struct hoy_json *const *)a, "path") ?: "", hoy_json_str(*(const struct hoy_json *const *)b, "path") ?: "");
}

static int put_files(int out, const struct hoy_json *files, int64_t mtime, struct hoy_err *err)
{
	cleanup_free const struct hoy_json **v = calloc(files->count + 1, sizeof(*v));
	size_t n = 0;
	int r = v ? 0 : hoy_fail_oom(err);

	if (r < 0)
		return r;
	HOY_JSON_EACH(f, files)
		v[n++] = f;
	qsort(v, n, sizeof(*v), by_path);
	for (size_t i = 0; i < n && !r; i++)
		r = put_file(out, v[i], mtime, err);
	return r;
}

/* In a file without a name; the end of the archive is written where nothing FOLLOWS. */
static int tar_file(const struct hoy_json *files, int64_t mtime, bool follows, struct hoy_err *err)
{
	static const char end[2 * TAR_BLOCK];
	const char *dir = getenv("TMPDIR");
	cleanup_fd int fd = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return hoy_fail_errno(err, errno, "cannot make a temporary file");
	r = put_files(fd, files, mtime, err);
	if (r < 0)
		return r;
	if (!follows)
		r = hoy_write_full(fd, end, sizeof(end));
	if (!r && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write a temporary file") : steal_fd(&fd);
}

int extra_tar(const struct hoy_json *files, int64_t mtime, struct stream *behind, struct stream **ret, struct hoy_err *err)
{
	struct chained *c = calloc(1, sizeof(*c));
	int fd = c ? tar_file(files, mtime, behind, err) : hoy_fail_oom(err);

	if (fd >= 0) {
		c->s = (struct stream){ ch_peek, ch_take, ch_free, NULL };
		c->in[0] = stream_fd(fd, true, -1, -1, "added files");
		c->in[1] = behind;
	}
	if (fd < 0 || !c->in[0]) {
		stream_free(behind);
		free(c);
		return fd < 0 ? fd : hoy_fail_oom(err);
	}
	*ret = &c->s;
	return 0;
}
