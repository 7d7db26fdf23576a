/*
 * disk: a disk that writes down what reaches it.
 *
 * usage: disk IMAGE LOG MOUNTPOINT
 *
 * Serves the file IMAGE as the file MOUNTPOINT (by FUSE, as a file system whose root is a regular file), for a loop device
 * with direct I/O to stand on. Each write and each flush of the device is appended to LOG before it is answered, as a struct
 * record and for a write its bytes: what was not flushed when a command said that it is done is what a power cut may
 * take. Prints "ready"; ends when MOUNTPOINT is unmounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK (256 * 4096)

struct record {
	uint64_t offset;
	uint32_t len; /* 0: a flush */
	uint32_t zero;
};

static int fuse, image, record_fd;
static struct stat size;
static char request[CHUNK + 4096], data[CHUNK];

static void die(const char *what)
{
	fprintf(stderr, "disk: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void answer(uint64_t unique, int error, const void *body, size_t len)
{
	struct fuse_out_header h = { .len = sizeof(h) + len, .error = -error, .unique = unique };
	struct iovec v[2] = { { &h, sizeof(h) }, { (void *)body, len } };

	if (writev(fuse, v, len ? 2 : 1) < 0 && errno != ENOENT)
		die("cannot answer");
}

static void note(uint64_t offset, const void *bytes, uint32_t len)
{
	struct record r = { offset, len, 0 };
	struct iovec v[2] = { { &r, sizeof(r) }, { (void *)bytes, len } };

	if (writev(record_fd, v, len ? 2 : 1) != (ssize_t)(sizeof(r) + len))
		die("cannot write the log");
}

static void serve_init(uint64_t unique, const struct fuse_init_in *in)
{
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 0,
				     .flags = in->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES), .max_background = 16,
				     .congestion_threshold = 12, .max_write = CHUNK, .time_gran = 1, .max_pages = CHUNK / 4096 };

	answer(unique, 0, &out, sizeof(out));
}

static void serve_attr(uint64_t unique)
{
	struct fuse_attr_out out = { .attr_valid = 3600, .attr = { .ino = FUSE_ROOT_ID, .size = size.st_size, .mode = S_IFREG | 0600,
								   .blocks = size.st_size / 512, .nlink = 1, .blksize = 4096 } };

	answer(unique, 0, &out, sizeof(out));
}

static void serve_read(uint64_t unique, const struct fuse_read_in *in)
{
	ssize_t n = pread(image, data, in->size < CHUNK ? in->size : CHUNK, (off_t)in->offset);

	answer(unique, n < 0 ? errno : 0, data, n < 0 ? 0 : n);
}

static void serve_write(uint64_t unique, const struct fuse_write_in *in)
{
	struct fuse_write_out out = { .size = in->size };

	if (pwrite(image, in + 1, in->size, (off_t)in->offset) != (ssize_t)in->size)
		die("cannot write the image");
	note(in->offset, in + 1, in->size);
	answer(unique, 0, &out, sizeof(out));
}

static void serve(const struct fuse_in_header *h)
{
	static const struct fuse_open_out opened = { .open_flags = FOPEN_DIRECT_IO };
	static const struct fuse_statfs_out space = { .st = { .bsize = 4096, .frsize = 4096, .namelen = 255 } };

	switch (h->opcode) {
	case FUSE_INIT: serve_init(h->unique, (const void *)(h + 1)); break;
	case FUSE_GETATTR: serve_attr(h->unique); break;
	case FUSE_OPEN: answer(h->unique, 0, &opened, sizeof(opened)); break;
	case FUSE_READ: serve_read(h->unique, (const void *)(h + 1)); break;
	case FUSE_WRITE: serve_write(h->unique, (const void *)(h + 1)); break;
	case FUSE_FSYNC: note(0, NULL, 0); answer(h->unique, 0, NULL, 0); break;
	case FUSE_STATFS: answer(h->unique, 0, &space, sizeof(space)); break;
	case FUSE_FLUSH:
	case FUSE_RELEASE: answer(h->unique, 0, NULL, 0); break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT: break;
	case FUSE_DESTROY: answer(h->unique, 0, NULL, 0); exit(0);
	default: answer(h->unique, ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	char options[128];
	ssize_t n;

	if (argc != 4) {
		fprintf(stderr, "usage: disk IMAGE LOG MOUNTPOINT\n");
		return 1;
	}
	image = open(argv[1], O_RDWR | O_CLOEXEC);
	record_fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (image < 0 || record_fd < 0 || fuse < 0 || fstat(image, &size) < 0)
		die(fuse < 0 ? "/dev/fuse" : argv[1]);
	snprintf(options, sizeof(options), "fd=%d,rootmode=100600,user_id=0,group_id=0", fuse);
	if (mount("disk", argv[3], "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		die(argv[3]);
	puts("ready");
	fclose(stdout);
	while ((n = read(fuse, request, sizeof(request))) >= 0 || errno == EINTR || errno == ENOENT)
		if (n >= (ssize_t)sizeof(struct fuse_in_header))
			serve((const struct fuse_in_header *)request);
	return errno == ENODEV ? 0 : 1;
}
