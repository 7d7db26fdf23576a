#include "common/store/inuse.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/data/digest.h"
#include "common/data/time.h"
#include "common/store/store.h"

#define GATE (INT64_MAX - 1)

int hoy_inuse_open(const struct hoy_store *s)
{
	cleanup_fd int dir = s->graphfd < 0 ? -ENOENT : hoy_open_dir_p(s->graphfd, "hoy", 0700);
	int fd = dir < 0 ? dir : openat(dir, "build.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	return fd >= 0 || dir < 0 ? fd : -errno;
}

static int lock_byte(int fd, int64_t at, short type)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };

	while (fcntl(fd, F_OFD_SETLKW, &fl) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int hoy_inuse_gate(const struct hoy_store *s, bool alone)
{
	cleanup_fd int fd = hoy_inuse_open(s);
	int r = fd < 0 ? fd : lock_byte(fd, GATE, alone ? F_WRLCK : F_RDLCK);

	return r < 0 ? r : steal_fd(&fd);
}

/* If two images share a byte, neither goes while one is in use, no more. */
static int64_t byte_of(const char *id)
{
	uint64_t n = 0;

	for (; *id; id++)
		n = n * 31 + (unsigned char)*id;
	return HOY_INUSE_IMAGES + (int64_t)(n >> 3);
}

int hoy_inuse_hold(int fd, const char *id) { return lock_byte(fd, byte_of(id), F_RDLCK); }

bool hoy_inuse_held(int fd, const char *id)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte_of(id), .l_len = 1 };

	return fcntl(fd, F_OFD_GETLK, &fl) < 0 || fl.l_type != F_UNLCK;
}

void hoy_image_touch(const struct hoy_store *s, const char *id)
{
	if (s->own.imagesfd >= 0 && hoy_is_id(id))
		(void)utimensat(s->own.imagesfd, id, NULL, AT_SYMLINK_NOFOLLOW);
}

int64_t hoy_image_touched(const struct hoy_store *s, const char *id)
{
	struct stat st;

	if (!hoy_is_id(id) || fstatat(s->own.imagesfd, id, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return st.st_mtim.tv_sec * HOY_NS + st.st_mtim.tv_nsec;
}
