#include "cmd-image/transfer/part.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "common/data/time.h"
#include "common/proc/boot.h"
#include "common/store/parts.h"

#define SUFFIX ".part"
/* "BOOT-ID BYTES": so much is on the disk; in the same boot all of the file counts. */
#define SYNCED_XATTR "user.hoy.synced"
#define SYNC_EVERY ((int64_t)64 << 20)
#define AGE_MAX (7 * 24 * 3600 * HOY_NS)
#define ALL_MAX ((int64_t)10 << 30)
#define NAME_SIZE 160
#define PIECE ((size_t)256 << 10)
#define SPARE ((int64_t)256 << 20)

/* ---- the directory ---- */

void parts_open(struct parts *d, const struct hoy_store *s, int64_t size)
{
	struct statvfs vfs;
	int64_t spare;

	d->fd = hoy_open_dir_p(s->graphfd, HOY_PARTS_DIR, 0700);
	if (d->fd < 0)
		return;
	hoy_parts_prune(s, AGE_MAX, ALL_MAX, NULL);
	/* An unpacked layer has about three times its blob's size. */
	spare = fstatvfs(d->fd, &vfs) < 0 ? 0 : (int64_t)vfs.f_bavail * (int64_t)vfs.f_frsize;
	if (spare - SPARE < 6 * (size < INT64_MAX / 8 ? size : INT64_MAX / 8))
		parts_close(d);
}

void parts_close(struct parts *d)
{
	hoy_close(d->fd);
	d->fd = -1;
}

/* ---- one ---- */

static void file_name(const char *digest, char ret[NAME_SIZE]) { snprintf(ret, NAME_SIZE, "%s" SUFFIX, digest); }

static int mark(struct part *p, int64_t synced)
{
	char text[80];
	int n = snprintf(text, sizeof(text), "%s %lld", hoy_boot_id(), (long long)synced);

	if (fsetxattr(p->lock.fd, SYNCED_XATTR, text, n, 0) < 0)
		return -errno;
	p->synced = synced;
	return 0;
}

/* How much of P's file of SIZE bytes is believed. */
static void believe(struct part *p, int64_t size)
{
	char text[80] = "", *space;
	ssize_t n = fgetxattr(p->lock.fd, SYNCED_XATTR, text, sizeof(text) - 1);

	if (n <= 0)
		return;
	text[n] = '\0';
	space = strchr(text, ' ');
	if (!space)
		return;
	*space = '\0';
	p->synced = strtoll(space + 1, NULL, 10);
	if (p->synced < 0 || p->synced > size)
		p->synced = 0;
	p->have = strcmp(text, hoy_boot_id()) ? p->synced : size;
}

/* The file of NAME with the lock on it; again if it went away between the two. */
static int open_locked(struct hoy_lock *l, int dirfd, const char *name, struct stat *st)
{
	for (;;) {
		int r;

		l->fd = openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (l->fd < 0)
			return -errno;
		r = hoy_lock_try(l, true);
		if (!r && fstat(l->fd, st) < 0)
			r = -errno;
		if (!r && st->st_nlink)
			return 0;
		hoy_lock_close(l);
		if (r < 0)
			return r;
	}
}

int part_take(struct part *p, const struct parts *d, const char *digest, int64_t size)
{
	char name[NAME_SIZE];
	struct stat st;
	int r;

	*p = (struct part)PART_INIT;
	if (d->fd < 0)
		return 0;
	file_name(digest, name);
	r = open_locked(&p->lock, d->fd, name, &st);
	if (r < 0)
		return r == -EAGAIN ? r : 0;
	p->dir = d;
	p->digest = digest;
	if (st.st_size <= size)
		believe(p, st.st_size);
	p->old = p->have;
	if (ftruncate(p->lock.fd, p->have) < 0 || mark(p, p->synced) < 0)
		part_drop(p);
	return 0;
}

static void sync_part(struct part *p)
{
	if (fdatasync(p->lock.fd) || mark(p, p->have) < 0)
		p->synced = p->have; /* not again for every piece; the digest will tell */
}

void part_flush(struct part *p)
{
	for (size_t at = 0; at < p->n_buf && !p->full;) {
		ssize_t k = pwrite(p->lock.fd, p->buf + at, p->n_buf - at, p->have);

		if (k <= 0)
			p->full = true;
		else
			at += k, p->have += k;
	}
	p->n_buf = 0;
	if (p->have - p->synced >= SYNC_EVERY)
		sync_part(p);
}

void part_add(struct part *p, const void *data, size_t n)
{
	const char *at = data;

	if (!part_kept(p) || p->full || (!p->buf && !(p->buf = malloc(PIECE))))
		return;
	while (n) {
		size_t k = n < PIECE - p->n_buf ? n : PIECE - p->n_buf;

		memcpy(p->buf + p->n_buf, at, k);
		p->n_buf += k;
		at += k;
		n -= k;
		if (p->n_buf == PIECE)
			part_flush(p);
	}
}

void part_empty(struct part *p)
{
	p->have = p->old = 0;
	p->n_buf = 0;
	if (part_kept(p) && (ftruncate(p->lock.fd, 0) < 0 || mark(p, 0) < 0))
		part_drop(p);
}

static void end(struct part *p)
{
	free(p->buf);
	hoy_lock_close(&p->lock);
	*p = (struct part)PART_INIT;
}

void part_leave(struct part *p)
{
	part_flush(p);
	end(p);
}

void part_drop(struct part *p)
{
	char name[NAME_SIZE];

	if (part_kept(p)) {
		file_name(p->digest, name);
		unlinkat(p->dir->fd, name, 0);
	}
	end(p);
}
