/*
 * cmd-build/builder/libarchive.c: libarchive's functions, which load it when the first of them is called: with all the libraries that
 * it needs it costs more than the rest of most COPY steps.
 */
#include <archive.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cmd-build/builder/builder.h"
#include "common/base/err.h"
#include "common/base/msg.h"

#define SONAME "libarchive.so.13"

static struct {
	__typeof__(archive_read_data) *data;
	__typeof__(archive_read_free) *free;
	__typeof__(archive_read_new) *new;
	__typeof__(archive_read_next_header) *next_header;
	__typeof__(archive_read_open_fd) *open_fd;
	__typeof__(archive_read_support_filter_bzip2) *bzip2;
	__typeof__(archive_read_support_filter_gzip) *gzip;
	__typeof__(archive_read_support_filter_xz) *xz;
	__typeof__(archive_read_support_filter_zstd) *zstd;
	__typeof__(archive_read_support_format_raw) *raw;
} lib;

static const struct { const char *name; void *at; } names[] = {
	{ "archive_read_data", &lib.data }, { "archive_read_free", &lib.free }, { "archive_read_new", &lib.new },
	{ "archive_read_next_header", &lib.next_header }, { "archive_read_open_fd", &lib.open_fd },
	{ "archive_read_support_filter_bzip2", &lib.bzip2 }, { "archive_read_support_filter_gzip", &lib.gzip },
	{ "archive_read_support_filter_xz", &lib.xz }, { "archive_read_support_filter_zstd", &lib.zstd },
	{ "archive_read_support_format_raw", &lib.raw },
};

/* (There is one thread in hoy-builder.) */
static bool have(void)
{
	static bool tried, loaded;
	void *so = tried ? NULL : dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);

	for (size_t i = 0; so && i < ARRAY_SIZE(names); i++) {
		void *found = dlsym(so, names[i].name);

		if (!found)
			break;
		*(void **)names[i].at = found;
		loaded = i + 1 == ARRAY_SIZE(names);
	}
	tried = true;
	return loaded;
}

/* Without it nobody knows what an archive is: that is no reason to copy one as a file. The other functions are for those who have one. */
struct archive *archive_read_new(void)
{
	struct hoy_err err = HOY_ERR_INIT;

	if (have())
		return lib.new();
	hoy_fail(&err, ENOENT, "cannot load " SONAME ", which is needed for compressed archives");
	exit(hoy_report(&err, 125));
}

int archive_read_free(struct archive *a) { return a ? lib.free(a) : ARCHIVE_OK; }
la_ssize_t archive_read_data(struct archive *a, void *to, size_t n) { return lib.data(a, to, n); }
int archive_read_next_header(struct archive *a, struct archive_entry **ret) { return lib.next_header(a, ret); }
int archive_read_open_fd(struct archive *a, int fd, size_t block) { return lib.open_fd(a, fd, block); }
int archive_read_support_filter_bzip2(struct archive *a) { return lib.bzip2(a); }
int archive_read_support_filter_gzip(struct archive *a) { return lib.gzip(a); }
int archive_read_support_filter_xz(struct archive *a) { return lib.xz(a); }
int archive_read_support_filter_zstd(struct archive *a) { return lib.zstd(a); }
int archive_read_support_format_raw(struct archive *a) { return lib.raw(a); }
