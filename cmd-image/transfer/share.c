#include "cmd-image/transfer/share.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/store/layers.h"

#define LIST "hoy-files"
#define LIST_MAX ((size_t)64 << 20)
#define STEP ((int64_t)16 << 20) /* btrfs does no more at once */

bool share_possible(int fd)
{
	struct statfs fs;

	/* XFS may have been made without; the first try tells. */
	return !fstatfs(fd, &fs) && (fs.f_type == BTRFS_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC);
}

int share_add(struct share_list *l, const char *path, int64_t size, uint64_t crc)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct share_file *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->paths.max = LIST_MAX;
	l->v[l->n++] = (struct share_file){ size, crc, l->paths.len, false };
	hoy_buf_add(&l->paths, path, strlen(path) + 1);
	return l->paths.error ? -ENOMEM : 0;
}

void share_release(struct share_list *l)
{
	free(l->v);
	hoy_buf_release(&l->paths);
	*l = (struct share_list){ 0 };
}

static int by_key(const void *a, const void *b)
{
	const struct share_file *x = a, *y = b;

	return x->size != y->size ? (x->size < y->size ? -1 : 1) : x->crc < y->crc ? -1 : x->crc > y->crc;
}

/* ---- the list on the disk: size, CRC, length of the path, path; numbers as little endian ---- */

struct entry {
	uint64_t size, crc;
	uint16_t len;
} __attribute__((packed));

static void leave_list(int layerfd, const struct share_list *l)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(LIST_MAX);

	for (size_t i = 0; i < l->n; i++) {
		const char *path = l->paths.data + l->v[i].path;
		struct entry e = { htole64(l->v[i].size), htole64(l->v[i].crc), htole16(strlen(path)) };

		hoy_buf_add(&b, &e, sizeof(e));
		hoy_buf_add(&b, path, strlen(path));
	}
	/* Lost in a power cut, it is only missed. */
	if (!b.error && b.len)
		(void)hoy_replace_file(layerfd, LIST, b.data, b.len, 0600, false);
}

/* The next entry at *P, of *LEFT bytes; false at the end or where it is none. */
static bool next_entry(const char **p, size_t *left, struct share_file *ret, char path[4096])
{
	struct entry e;
	size_t len;

	if (*left < sizeof(e))
		return false;
	memcpy(&e, *p, sizeof(e));
	len = le16toh(e.len);
	if (!len || len > 4095 || len > *left - sizeof(e))
		return false;
	memcpy(path, *p + sizeof(e), len);
	path[len] = '\0';
	*ret = (struct share_file){ .size = le64toh(e.size), .crc = le64toh(e.crc) };
	*p += sizeof(e) + len;
	*left -= sizeof(e) + len;
	return true;
}

/* ---- sharing ---- */

/* 1: TO has the extents of FROM; 0: not; -EOPNOTSUPP: nothing can be shared here. */
static int share_range(int from, int to, int64_t size)
{
	union {
		struct file_dedupe_range range;
		char room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
	} u;

	for (int64_t at = 0; at < size; at += u.range.info[0].bytes_deduped) {
		memset(&u, 0, sizeof(u));
		u.range.src_offset = at;
		u.range.src_length = size - at < STEP ? size - at : STEP;
		u.range.dest_count = 1;
		u.range.info[0].dest_fd = to;
		u.range.info[0].dest_offset = at;
		if (ioctl(from, FIDEDUPERANGE, &u.range) < 0)
			return errno == EOPNOTSUPP || errno == ENOTTY ? -EOPNOTSUPP : 0;
		if (u.range.info[0].status == -EOPNOTSUPP || u.range.info[0].status == -EXDEV)
			return -EOPNOTSUPP;
		if (u.range.info[0].status != FILE_DEDUPE_RANGE_SAME || !u.range.info[0].bytes_deduped)
			return 0;
	}
	return 1;
}

static int share_file(int fromfd, const char *from, int tofd, const char *to, int64_t size)
{
	cleanup_fd int a = hoy_open_beneath(fromfd, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, HOY_IN_ROOT);
	cleanup_fd int b = a < 0 ? -1 : hoy_open_beneath(tofd, to, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, HOY_IN_ROOT);
	struct stat x, y;

	if (b < 0 || fstat(a, &x) < 0 || fstat(b, &y) < 0 || !S_ISREG(x.st_mode) || !S_ISREG(y.st_mode) || x.st_size != size ||
	    y.st_size != size || (x.st_dev == y.st_dev && x.st_ino == y.st_ino))
		return 0;
	return share_range(a, b, size);
}

/* With one layer: both lists are sorted. */
static int share_with(const struct hoy_store *s, const char *other, int tofd, struct share_list *l)
{
	cleanup_free char *name = hoy_asprintf("%s/" LIST, other), *data = NULL;
	cleanup_fd int fromfd = -1;
	size_t left = 0, i = 0;
	struct share_file f;
	char path[4096];
	int r = 0;

	if (!name || hoy_read_file(hoy_layer_home(s, other)->homefd, name, LIST_MAX, &data, &left, NULL) < 0)
		return 0;
	for (const char *p = data; r >= 0 && next_entry(&p, &left, &f, path);) {
		while (i < l->n && by_key(&l->v[i], &f) < 0)
			i++;
		for (size_t k = i; r >= 0 && k < l->n && !by_key(&l->v[k], &f); k++) {
			if (l->v[k].done)
				continue;
			if (fromfd < 0 && (fromfd = hoy_layer_open_diff(s, other)) < 0)
				return 0;
			r = share_file(fromfd, path, tofd, l->paths.data + l->v[k].path, f.size);
			l->v[k].done = r > 0;
		}
	}
	return r;
}

void share_layer(const struct hoy_store *s, const char *id, struct share_list *l)
{
	cleanup_fd int layerfd = -1, tofd = -1;
	int r = 0;

	if (!l->n || l->paths.error)
		return;
	layerfd = openat(hoy_layer_home(s, id)->homefd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	tofd = hoy_layer_open_diff(s, id);
	if (layerfd < 0 || tofd < 0)
		return;
	qsort(l->v, l->n, sizeof(*l->v), by_key);
	for (struct hoy_json *rec = hoy_layer_first(s); rec && r >= 0; rec = hoy_layer_next(s, rec)) {
		const char *other = hoy_json_str(rec, "id");

		if (other && hoy_is_id(other) && strcmp(other, id))
			r = share_with(s, other, tofd, l);
	}
	if (r >= 0)
		leave_list(layerfd, l);
}
