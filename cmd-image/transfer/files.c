#include "cmd-image/transfer/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/inflate.h"
#include "cmd-image/transfer/tar.h"
#include "cmd-image/transfer/unpack.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"

#define MAX_FILES 100000

struct member {
	char *name, *link; /* link: the clean name of what it stands for */
	int64_t at, size;
};

struct files {
	char *path;
	int fd;
	bool tar;
	struct member *v;
	size_t n, cap;
};

int temp_file(void)
{
	const char *dir = getenv("TMPDIR");
	int fd = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/hoy-XXXXXX", dir && *dir ? dir : "/var/tmp");
		fd = mkostemp(name, O_CLOEXEC);
		if (fd >= 0)
			unlink(name);
	}
	return fd < 0 ? -errno : fd;
}

int temp_copy(struct stream *in, int *ret_fd, struct hoy_err *err)
{
	cleanup_fd int to = temp_file();
	const unsigned char *p;
	ssize_t n;

	if (to < 0)
		return hoy_fail_errno(err, -to, "cannot make a temporary file");
	while ((n = stream_peek(in, &p, err)) > 0) {
		int r = hoy_write_full(to, p, n);

		if (r < 0)
			return hoy_fail_errno(err, -r, "cannot write a temporary file");
		stream_take(in, n);
	}
	if (n < 0)
		return n;
	*ret_fd = steal_fd(&to);
	return 0;
}

static int spool(int *fd, const char *path, bool packed, struct hoy_err *err)
{
	struct stream *in = stream_fd(*fd, false, packed ? 0 : -1, -1, path);
	cleanup_stream struct stream *plain = in ? inflate_stream(in, NULL, err) : NULL;
	int to, r = plain ? temp_copy(plain, &to, err) : err->code ? -err->code : hoy_fail_oom(err);

	if (r < 0)
		return r;
	hoy_close(*fd);
	*fd = to;
	return 0;
}

static bool is_packed(int fd)
{
	unsigned char h[6];

	return pread(fd, h, 6, 0) == 6 && ((h[0] == 0x1f && h[1] == 0x8b) || !memcmp(h, "\x28\xb5\x2f\xfd", 4) ||
					   !memcmp(h, "BZh", 3) || !memcmp(h, "\xfd" "7zXZ", 6));
}

int files_plain(const char *path, int *ret_fd, struct hoy_err *err)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : fcntl(0, F_DUPFD_CLOEXEC, 3), r = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return hoy_fail_errno(err, errno, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode) || is_packed(fd))
		r = spool(&fd, path, S_ISREG(st.st_mode), err);
	if (r < 0)
		hoy_close(fd);
	else
		*ret_fd = fd;
	return r;
}

static struct files *blank(const char *path, int fd, bool tar)
{
	struct files *f = calloc(1, sizeof(*f));

	if (!f || !(f->path = strdup(path))) {
		hoy_close(fd);
		free(f);
		return NULL;
	}
	f->fd = fd;
	f->tar = tar;
	return f;
}

void files_free(struct files *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].name);
		free(f->v[i].link);
	}
	free(f->v);
	free(f->path);
	hoy_close(f->fd);
	free(f);
}

const char *files_path(const struct files *f) { return f->path; }

int files_open_dir(struct files **ret, const char *path, struct hoy_err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return hoy_fail_errno(err, errno, "cannot open '%s'", path);
	*ret = blank(path, fd, false);
	return *ret ? 0 : hoy_fail_oom(err);
}

/* ---- tar archives ---- */

static int add_member(struct files *f, const struct tar_entry *e, struct hoy_err *err)
{
	char name[TAR_NAME_MAX + 1], link[2 * TAR_NAME_MAX + 8], clean[TAR_NAME_MAX + 1];
	struct member *m;
	char *slash;

	if (tar_clean(hoy_buf_str(&e->name), e->name.len, name, sizeof(name)) <= 0 || !(e->type >= '0' && e->type <= '2') || e->sparse)
		return 0;
	if (f->n == MAX_FILES)
		return hoy_fail(err, EFBIG, "'%s' has more than %d files: it is no image archive", f->path, MAX_FILES);
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;

		m = realloc(f->v, cap * sizeof(*m));
		if (!m)
			return hoy_fail_oom(err);
		f->v = m;
		f->cap = cap;
	}
	m = &f->v[f->n++];
	*m = (struct member){ strdup(name), NULL, e->at, e->size };
	if (e->type != '0') {
		slash = e->type == '2' ? strrchr(name, '/') : NULL;
		snprintf(link, sizeof(link), "%.*s/%s", slash ? (int)(slash - name) : 0, name, hoy_buf_str(&e->link));
		if (tar_clean(link, strlen(link), clean, sizeof(clean)) > 0)
			m->link = strdup(clean);
		if (!m->link)
			m->size = -1;
	}
	return m->name ? 0 : hoy_fail_oom(err);
}

static int make_index(struct files *f, struct hoy_err *err)
{
	struct stat st;
	cleanup_stream struct stream *in = NULL;
	struct tar t;
	int r;

	if (fstat(f->fd, &st) < 0)
		return hoy_fail_errno(err, errno, "cannot stat '%s'", f->path);
	in = stream_fd(f->fd, false, 0, st.st_size, f->path);
	if (!in)
		return hoy_fail_oom(err);
	tar_init(&t, in, NULL, NULL);
	while ((r = tar_next(&t, err)) > 0)
		if ((r = add_member(f, &t.e, err)) < 0)
			break;
	tar_release(&t);
	return r < 0 ? hoy_fail_prefix(err, "'%s'", f->path) : 0;
}

int files_open_tar(struct files **ret, const char *path, struct hoy_err *err)
{
	struct files *f;
	int fd, r = files_plain(path, &fd, err);

	if (r < 0)
		return r;
	f = blank(path, fd, true);
	if (!f)
		return hoy_fail_oom(err);
	r = make_index(f, err);
	if (r < 0)
		files_free(f);
	else
		*ret = f;
	return r;
}

/* The last one of that name counts; links are followed a few times. */
static const struct member *find(const struct files *f, const char *name)
{
	char clean[TAR_NAME_MAX + 1];

	if (tar_clean(name, strlen(name), clean, sizeof(clean)) <= 0)
		return NULL;
	for (int hops = 0; hops < 8; hops++) {
		const struct member *m = NULL;

		for (size_t i = f->n; i && !m; i--)
			if (!strcmp(f->v[i - 1].name, clean))
				m = &f->v[i - 1];
		if (!m || !m->link)
			return m && m->size >= 0 ? m : NULL;
		snprintf(clean, sizeof(clean), "%s", m->link);
	}
	return NULL;
}

/* ---- both ---- */

int files_stream(struct files *f, const char *name, struct stream **ret, int64_t *ret_size, struct hoy_err *err)
{
	const struct member *m = f->tar ? find(f, name) : NULL;
	struct stat st;
	int fd;

	if (f->tar) {
		if (!m)
			return hoy_fail(err, ENOENT, "'%s' has no file '%s'", f->path, name);
		*ret = stream_fd(f->fd, false, m->at, m->size, f->path);
		if (ret_size)
			*ret_size = m->size;
		return *ret ? 0 : hoy_fail_oom(err);
	}
	fd = hoy_open_beneath(f->fd, name, O_RDONLY | O_NONBLOCK, 0, HOY_BENEATH);
	if (fd < 0)
		return hoy_fail_errno(err, -fd, "cannot open '%s' in '%s'", name, f->path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		hoy_close(fd);
		return hoy_fail(err, EINVAL, "'%s' in '%s' is not a regular file", name, f->path);
	}
	if (ret_size)
		*ret_size = st.st_size;
	*ret = stream_fd(fd, true, 0, st.st_size, name);
	return *ret ? 0 : hoy_fail_oom(err);
}

int files_read(struct files *f, const char *name, size_t max, char **ret, size_t *ret_len, struct hoy_err *err)
{
	cleanup_stream struct stream *s = NULL;
	cleanup_free char *buf = NULL;
	int64_t size;
	ssize_t n = files_stream(f, name, &s, &size, err);

	if (n < 0)
		return n;
	if (size > (int64_t)max)
		return hoy_fail(err, EFBIG, "'%s' in '%s' has more than %zu bytes", name, f->path, max);
	buf = malloc(size + 1);
	if (!buf)
		return hoy_fail_oom(err);
	n = stream_read(s, buf, size, err);
	if (n < 0)
		return n;
	buf[n] = '\0';
	*ret_len = n;
	*ret = steal_ptr(&buf);
	return 0;
}

bool files_has(struct files *f, const char *name)
{
	if (f->tar)
		return find(f, name);
	return hoy_exists(f->fd, name);
}
