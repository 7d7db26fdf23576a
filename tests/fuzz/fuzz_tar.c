/* sources: cmd-image/transfer/tar.c cmd-image/transfer/sparse.c cmd-image/transfer/stream.c */
/* The tar reader must neither crash nor read what is not there, and must show every byte that it was given. */
#include <fcntl.h>
#include <stdlib.h>

#include "cmd-image/transfer/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int null = -1;

static void count(void *arg, const void *data, size_t n) { *(size_t *)arg += n; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_stream struct stream *s = stream_mem(data, size);
	struct hoy_err err = HOY_ERR_INIT;
	const unsigned char *p;
	struct tar t;
	size_t shown = 0;
	ssize_t n;
	int r;

	if (null < 0)
		null = open("/dev/null", O_WRONLY);
	tar_init(&t, s, count, &shown);
	while ((r = tar_next(&t, &err)) > 0) {
		struct sparse_out out;
		bool holes = t.e.sparse;

		sparse_out_init(&out, &t.e.map, null);
		while ((n = tar_data(&t, &p, &err)) > 0) {
			holes = holes && !sparse_out_write(&out, p, n);
			shown += n;
		}
		if (holes)
			(void)sparse_out_end(&out);
	}
	if (!r && shown != size)
		abort();
	tar_release(&t);
	return 0;
}
