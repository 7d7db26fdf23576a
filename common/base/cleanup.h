/* common/base/cleanup.h: owned locals that release themselves at the end of their scope. */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define HOY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Close FD if it is one; errno is kept, close() is never retried (on Linux the fd is gone either way). */
static inline void hoy_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
}

static inline void hoy_cleanup_fd_(int *fd) { hoy_close(*fd); }

static inline void hoy_cleanup_free_(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

static inline void hoy_cleanup_dir_(DIR **d)
{
	int saved = errno;

	if (*d)
		closedir(*d);
	errno = saved;
}

static inline void hoy_cleanup_file_(FILE **f)
{
	int saved = errno;

	if (*f)
		fclose(*f);
	errno = saved;
}

/* `cleanup_fd int fd = -1;` closes, `cleanup_free char *p = NULL;` frees. Do not mix with goto. */
#define cleanup_fd __attribute__((cleanup(hoy_cleanup_fd_)))
#define cleanup_free __attribute__((cleanup(hoy_cleanup_free_)))
#define cleanup_dir __attribute__((cleanup(hoy_cleanup_dir_)))
#define cleanup_file __attribute__((cleanup(hoy_cleanup_file_)))

/* Hand an owned descriptor or pointer over to someone else. */
static inline int steal_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

static inline void *hoy_steal_ptr_(void *p)
{
	void *r = *(void **)p;

	*(void **)p = NULL;
	return r;
}
#define steal_ptr(p) ((__typeof__(*(p)))hoy_steal_ptr_(p))
