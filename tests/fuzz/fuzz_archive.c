/* sources: cmd-image/transfer/src_files.c cmd-image/transfer/files.c cmd-image/transfer/inflate.c cmd-image/transfer/stream.c cmd-image/transfer/tar.c cmd-image/transfer/sparse.c cmd-image/transfer/layer_files.c cmd-image/transfer/manifest.c cmd-image/transfer/source.c cmd-image/transfer/schema1.c cmd-image/transfer/referrers.c common/oci/layout.c cmd-image/transfer/signature.c */
/* An archive that anybody may have sent: opened as docker's and as an OCI layout, its images listed, all of the first one read. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd-image/transfer/transport.h"
#include "cmd-image/transfer/web.h"
#include "common/base/fd.h"

#define PLENTY ((int64_t)16 << 20) /* of what a small archive inflates to */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Nobody is asked here. */
struct stream *web_stream(const char *url, int64_t size, struct hoy_err *err)
{
	hoy_fail(err, ENETUNREACH, "'%s' is not asked for %lld bytes", url, (long long)size);
	return NULL;
}

static void drain(struct stream *in)
{
	struct hoy_err err;
	const unsigned char *p;
	int64_t all = 0;
	ssize_t n;

	while (all < PLENTY && (n = stream_peek(in, &p, &err)) > 0) {
		all += n;
		stream_take(in, n);
	}
	stream_free(in);
}

static void read_image(struct source *src)
{
	cleanup_manifest struct manifest m = { 0 };
	cleanup_config struct config c = CONFIG_INIT;
	struct hoy_err err;

	if (source_manifest(src, NULL, &m, &err) < 0 || manifest_is_list(&m) || source_config(src, &m, &c, &err) < 0)
		return;
	for (size_t i = 0; i < m.n; i++) {
		struct stream *in = NULL;

		if (!src->ops->blob(src, &m.v[i], (int)i, &in, &err))
			drain(in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct reg_opts o = REG_OPTS_INIT;
	static int fd = -1;
	char path[64];

	if (fd < 0)
		fd = memfd_create("archive", MFD_CLOEXEC);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (int docker = 0; docker < 2; docker++) {
		cleanup_strv struct hoy_strv images = HOY_STRV_INIT;
		cleanup_source struct source *src = NULL;
		struct hoy_err err;

		if (!archive_images(path, docker, &images, &err) && images.n &&
		    !(docker ? source_docker_archive(&src, images.v[0], &err) : source_oci(&src, images.v[0], true, &o, &err)))
			read_image(src);
	}
	return 0;
}
