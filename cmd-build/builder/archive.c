/* cmd-build/builder/archive.c: archives that ADD unpacks: tar files, plain or compressed. */
#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-build/builder/builder.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/proc/sibling.h"

/* Is BLOCK the header of an entry of a tar, whatever its age? Its sum says so. */
static bool is_header(const unsigned char block[TAR_BLOCK])
{
	char field[9] = "";
	unsigned sum = 0;

	for (int i = 0; i < TAR_BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : block[i];
	memcpy(field, block + 148, 8);
	return sum != 8 * ' ' && strtoul(field, NULL, 8) == sum;
}

static struct archive *open_raw(int fd)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;

	if (a && (archive_read_support_filter_gzip(a) != ARCHIVE_OK || archive_read_support_filter_bzip2(a) != ARCHIVE_OK ||
		  archive_read_support_filter_xz(a) != ARCHIVE_OK || archive_read_support_filter_zstd(a) != ARCHIVE_OK ||
		  archive_read_support_format_raw(a) != ARCHIVE_OK || archive_read_open_fd(a, fd, 65536) != ARCHIVE_OK ||
		  archive_read_next_header(a, &e) != ARCHIVE_OK)) {
		archive_read_free(a);
		return NULL;
	}
	return a;
}

bool is_archive(int fd)
{
	unsigned char b[TAR_BLOCK];
	ssize_t n = pread(fd, b, sizeof(b), 0);
	struct archive *a;
	bool compressed = (n > 2 && b[0] == 0x1f && b[1] == 0x8b) || (n > 3 && !memcmp(b, "BZh", 3)) || (n > 6 && !memcmp(b, "\xfd" "7zXZ", 6)) ||
			  (n > 4 && !memcmp(b, "\x28\xb5\x2f\xfd", 4));
	size_t have = 0;

	if (!compressed)
		return n == sizeof(b) && is_header(b);
	a = lseek(fd, 0, SEEK_SET) < 0 ? NULL : open_raw(fd);
	while (a && have < sizeof(b) && (n = archive_read_data(a, b + have, sizeof(b) - have)) > 0)
		have += n;
	archive_read_free(a);
	return have == sizeof(b) && is_header(b);
}

/* The tar that the archive FD is when it's inflated, into OUT; in a process of its own, whose exit status says how it went. */
static int inflate(int fd, int out)
{
	struct archive *a = open_raw(fd);
	char piece[65536];
	ssize_t n = -1;

	if (!a)
		return 1;
	while ((n = archive_read_data(a, piece, sizeof(piece))) > 0)
		if (hoy_write_full(out, piece, n) < 0)
			return 1;
	return n < 0;
}

/* Start that; *RET is where the tar comes from. */
static pid_t start_inflate(int fd, int *ret, struct hoy_err *err)
{
	int p[2];
	pid_t pid;

	if (lseek(fd, 0, SEEK_SET) < 0 || pipe2(p, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot read the archive");
	pid = fork();
	if (!pid) {
		hoy_close(p[0]);
		_exit(inflate(fd, p[1]));
	}
	hoy_close(p[1]);
	if (pid < 0) {
		hoy_close(p[0]);
		return hoy_fail_errno(err, errno, "cannot start a process");
	}
	*ret = p[0];
	return pid;
}

/*
 * hoy-transfer unpacks the tar IN into the directory TO, with the same care as for layers; -1: it only digests it. OUT is what it
 * prints.
 */
static int unpack_tar(int in, int to, struct hoy_buf *out, struct hoy_err *err)
{
	char dir[40];
	char *unpack[] = { (char *)"hoy-transfer", (char *)"layer", (char *)"unpack", (char *)"--keep-whiteouts", dir, NULL };
	char *digest[] = { (char *)"hoy-transfer", (char *)"layer", (char *)"digest", NULL };
	cleanup_fd int own = fcntl(0, F_DUPFD_CLOEXEC, 3);
	int status;

	if (to >= 0)
		hoy_set_cloexec(to, false);
	snprintf(dir, sizeof(dir), "/proc/self/fd/%d", to);
	if (own < 0 || dup2(in, 0) < 0)
		return hoy_fail_errno(err, errno, "cannot read the archive");
	status = hoy_sibling_run("hoy-transfer", to < 0 ? digest : unpack, out);
	if (dup2(own, 0) < 0 || status)
		return hoy_fail(err, HOY_EREMOTE, "cannot unpack the archive");
	return out->len >= 71 && !strncmp(out->data, "sha256:", 7) ? 0 : hoy_fail(err, HOY_EFORMAT, "hoy-transfer printed no digest");
}

int unpack_archive(int fd, int to, struct hoy_strv *sums, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	cleanup_fd int in = -1;
	int status, r;
	pid_t pid = start_inflate(fd, &in, err);

	if (pid < 0)
		return pid;
	r = unpack_tar(in, to, &out, err);
	hoy_close(steal_fd(&in));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!r && (!WIFEXITED(status) || WEXITSTATUS(status)))
		r = hoy_fail(err, HOY_EFORMAT, "the archive is damaged");
	if (!r)
		hoy_strv_pushf(sums, "file:%.64s", out.data + 7);
	return r;
}

static int unpack_file(const char *path, const char *dir, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv sums = HOY_STRV_INIT;
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC), to = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0 || to < 0)
		return hoy_fail_errno(err, errno, "cannot open '%s'", fd < 0 ? path : dir);
	if (!is_archive(fd)) {
		puts("plain");
		return 0;
	}
	r = unpack_archive(fd, to, &sums, err);
	if (!r)
		puts("archive");
	return r;
}

static int run_unpack(const struct hoy_verb *v, int argc, char **argv)
{
	struct hoy_err err = HOY_ERR_INIT;
	int status, n = hoy_verb_args(v, argc, argv, NULL, 2, 2, &status);

	return n < 0 ? status : hoy_finish_stdout(unpack_file(argv[1], argv[2], &err) < 0 ? hoy_report(&err, 125) : 0);
}
static const struct hoy_opt none[] = { HOY_OPTS_END };
const struct hoy_verb verb_unpack = { "unpack", "FILE DIR", "Unpack a tar into a directory, or say that it is none", none, run_unpack, 0 };
