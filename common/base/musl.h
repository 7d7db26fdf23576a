/* common/base/musl.h: what glibc has and musl 1.2 has not, included before anything else by tests/musl and nowhere else. */
#pragma once
#include <fcntl.h>
#include <limits.h>
#include <linux/stat.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
static inline int renameat2(int olddir, const char *from, int newdir, const char *to, unsigned flags)
{
	return (int)syscall(SYS_renameat2, olddir, from, newdir, to, flags);
}
#endif
#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x2000
#endif
static inline int hoy_statx(int dir, const char *path, int flags, unsigned mask, struct statx *buf)
{
	return (int)syscall(SYS_statx, dir, path, flags, mask, buf);
}
#define statx(...) hoy_statx(__VA_ARGS__) /* not the structure, which has no parentheses */
