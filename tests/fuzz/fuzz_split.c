/* sources: cmd-image/transfer/split.c cmd-image/transfer/recipe.c cmd-image/transfer/layer_files.c cmd-image/transfer/inflate.c cmd-image/transfer/stream.c */
/*
 * A tar-split that anybody may have written: its lines are read, a tar is made from them and a layer of one file, "f"; and
 * what was read and written again reads the same.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd-image/transfer/recipe.h"
#include "cmd-image/transfer/split.h"
#include "common/base/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int top = -1;
static char dir[] = "/dev/shm/hoy-fuzz-XXXXXX";

static void remove_layer(void) { hoy_remove_tree(AT_FDCWD, dir); }

static void make_layer(void)
{
	cleanup_fd int f = -1;

	if (!mkdtemp(dir) || (top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || atexit(remove_layer))
		abort();
	f = openat(top, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (f < 0 || hoy_write_full(f, "four", 4) < 0)
		abort();
}

static void no_fault(void *arg, const char *name, const char *why)
{
	if (!name || !*why)
		abort();
}

static void make_tar(int fd)
{
	static struct hoy_store st = { .conf.graphroot = (char *)"/store" };
	static char id[] = "layer";
	struct layer_files files = { .st = &st, .id = id, .diffs = { top }, .n_diffs = 1 };
	struct hoy_err err = HOY_ERR_INIT;
	struct stream *s = recipe_stream(&files, fd, no_fault, NULL, &err);
	const unsigned char *p;
	ssize_t n;

	for (size_t total = 0; s && total < (1 << 20) && (n = stream_peek(s, &p, &err)) > 0; total += n)
		stream_take(s, n);
	stream_free(s);
}

/* The same lines, but for how segments are divided: digest names and sizes, concatenate the rest. */
static int read_all(int fd, struct split *to, struct hoy_buf *sum)
{
	struct unsplit *u = NULL;
	struct split_line l;
	struct hoy_err err = HOY_ERR_INIT;
	int r = unsplit_new(&u, fd, &err);

	while (!r && (r = unsplit_next(u, &l, &err)) > 0) {
		r = 0;
		if (l.file)
			hoy_buf_printf(sum, "[%zu:%s %lld %llx]", l.name_len, l.name, (long long)(l.size > 0 ? l.size : 0),
				       (unsigned long long)(l.size > 0 ? l.crc : 0));
		else
			hoy_buf_add(sum, l.data, l.data_len);
		if (to && l.file)
			split_file(to, l.name, l.name_len, l.size > 0 ? l.size : 0, l.crc);
		else if (to)
			split_raw(to, l.data, l.data_len);
	}
	unsplit_free(u);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_fd int fd = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	cleanup_buf struct hoy_buf one = HOY_BUF_INIT(HOY_BUF_OURS), two = HOY_BUF_INIT(HOY_BUF_OURS);
	struct split to;
	int r;

	if (top < 0)
		make_layer();
	if (hoy_write_full(fd, data, size) < 0 || split_init(&to, out) < 0)
		abort();
	r = read_all(fd, &to, &one);
	if (split_end(&to) < 0)
		abort();
	if (!r && (read_all(out, NULL, &two) || one.len != two.len || memcmp(hoy_buf_str(&one), hoy_buf_str(&two), one.len)))
		abort();
	make_tar(steal_fd(&fd));
	return 0;
}
