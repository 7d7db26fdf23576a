/* cmd-image/transfer/src_tarball.c: tarball: as a source: each file is a layer, the config and manifest are made here. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/files.h"
#include "cmd-image/transfer/inflate.h"
#include "cmd-image/transfer/layer.h"
#include "cmd-image/transfer/transport.h"
#include "common/base/fd.h"
#include "common/data/time.h"

struct tarball {
	struct source s;
	size_t n;
	int *fds;
	struct desc *layers;
	struct hoy_strv diff_ids;
	int64_t *times;
	struct hoy_buf config, manifest;
};

static void tb_free(struct source *s)
{
	struct tarball *t = (struct tarball *)s;

	for (size_t i = 0; i < t->n; i++) {
		hoy_close(t->fds[i]);
		free(t->layers[i].digest);
	}
	free(t->fds);
	free(t->layers);
	free(t->times);
	hoy_strv_release(&t->diff_ids);
	hoy_buf_release(&t->config);
	hoy_buf_release(&t->manifest);
}

static int tb_manifest(struct source *s, const char *digest, char **ret, size_t *ret_len, char **ret_type, struct hoy_err *err)
{
	struct tarball *t = (struct tarball *)s;

	if (digest)
		return hoy_fail(err, ENOENT, "a tarball has no manifest %s", digest);
	*ret = strdup(hoy_buf_str(&t->manifest));
	*ret_len = t->manifest.len;
	*ret_type = strdup(T_OCI);
	return *ret ? 0 : hoy_fail_oom(err);
}

static int tb_blob(struct source *s, const struct desc *d, int layer, struct stream **ret, struct hoy_err *err)
{
	struct tarball *t = (struct tarball *)s;

	*ret = layer < 0 ? stream_mem(t->config.data, t->config.len) : stream_fd(t->fds[layer], false, 0, d->size, s->name);
	return *ret ? 0 : hoy_fail_oom(err);
}

static const struct source_ops ops = { .manifest = tb_manifest, .blob = tb_blob, .free = tb_free };

/* Stdin is kept in a temporary file: it is read more than once. */
static int open_file(const char *path, int *ret, struct hoy_err *err)
{
	cleanup_stream struct stream *in = strcmp(path, "-") ? NULL : stream_fd(0, false, -1, -1, "stdin");
	int fd = in ? -1 : open(path, O_RDONLY | O_CLOEXEC), r = in ? temp_copy(in, &fd, err) : 0;
	struct stat st;

	if (r < 0 || fd < 0)
		return r ? r : hoy_fail_errno(err, errno, "cannot open '%s'", path);
	if (!r && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		r = hoy_fail(err, EINVAL, "'%s' is not a regular file", path);
	if (r < 0)
		hoy_close(fd);
	else
		*ret = fd;
	return r;
}

/* Digests of the file and of its content. */
static int measure(struct tarball *t, const char *path, struct hoy_err *err)
{
	struct desc *d = &t->layers[t->n];
	struct checked file = { 0 };
	enum compression kind = COMP_NONE;
	struct inflate *f = NULL;
	struct sha sha = { NULL };
	unsigned char buf[64 << 10];
	char sum[SHA_DIGEST_SIZE];
	struct stat st;
	ssize_t n = 0;
	int fd = t->fds[t->n], r = fstat(fd, &st) < 0 ? hoy_fail_errno(err, errno, "cannot stat '%s'", path) : 0;
	cleanup_stream struct stream *in = stream_fd(fd, false, 0, r ? 0 : st.st_size, path);

	if (!r)
		r = in && !sha_init(&sha) ? checked_init(&file, in, NULL, -1, err) : hoy_fail_oom(err);
	if (!r)
		r = inflate_new(&f, &file.s, &kind, err);
	while (!r && (n = inflate_read(f, buf, sizeof(buf), err)) > 0)
		sha_add(&sha, buf, n);
	inflate_free(f);
	if (!r)
		r = n < 0 ? n : checked_drain(&file, err);
	if (sha.ctx)
		sha_end(&sha, sum);
	if (!r && kind != COMP_NONE && kind != COMP_GZIP)
		r = hoy_fail(err, HOY_EUNSUPPORTED, "'%s' is neither a plain tar nor one packed by gzip", path);
	if (!r) {
		*d = (struct desc){ strdup(file.digest), (char *)layer_type(MAN_OCI, kind == COMP_GZIP ? "+gzip" : ""), st.st_size, NULL };
		hoy_strv_push(&t->diff_ids, sum);
		t->times[t->n] = st.st_mtim.tv_sec * HOY_NS + st.st_mtim.tv_nsec;
		r = d->digest && !t->diff_ids.error ? 0 : hoy_fail_oom(err);
	}
	checked_release(&file);
	return r;
}

static void write_config(struct tarball *t)
{
	struct hoy_jw w = hoy_jw_on(&t->config, NULL);
	struct platform p = platform_here(NULL);
	char text[HOY_TIME_SIZE];

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "created", hoy_time_format(t->times[t->n - 1], text));
	hoy_jw_string(&w, "architecture", p.arch);
	hoy_jw_string(&w, "os", p.os);
	hoy_jw_raw(&w, "config", "{}");
	hoy_jw_object(&w, "rootfs");
	hoy_jw_string(&w, "type", "layers");
	hoy_jw_strings(&w, "diff_ids", t->diff_ids.v, t->diff_ids.n);
	hoy_jw_end_object(&w);
	hoy_jw_array(&w, "history");
	for (size_t i = 0; i < t->n; i++) {
		cleanup_free char *by = hoy_asprintf("/bin/sh -c #(nop) ADD file:%s in /", t->diff_ids.v[i] + 7);

		hoy_jw_object(&w, NULL);
		hoy_jw_string(&w, "created", hoy_time_format(t->times[i], text));
		hoy_jw_string(&w, "created_by", by);
		hoy_jw_string(&w, "comment", "imported from tarball");
		hoy_jw_end_object(&w);
	}
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
}

static int describe(struct tarball *t, struct hoy_err *err)
{
	struct desc config;
	char sum[SHA_DIGEST_SIZE];

	write_config(t);
	if (t->config.error)
		return hoy_fail_oom(err);
	sha_of(t->config.data, t->config.len, sum);
	config = (struct desc){ sum, (char *)T_OCI_CONFIG, t->config.len, NULL };
	return manifest_write(&t->manifest, MAN_OCI, &config, t->layers, t->n, NULL) < 0 ? hoy_fail_oom(err) : 0;
}

int source_tarball(struct source **ret, const char *rest, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv paths = HOY_STRV_INIT;
	struct tarball *t = calloc(1, sizeof(*t));
	int r = 0;

	if (!t)
		return hoy_fail_oom(err);
	t->s.ops = &ops;
	t->s.name = strdup(rest);
	t->config.max = t->manifest.max = MANIFEST_MAX;
	hoy_strv_split(&paths, rest, ':');
	t->fds = calloc(paths.n + 1, sizeof(*t->fds));
	t->layers = calloc(paths.n + 1, sizeof(*t->layers));
	t->times = calloc(paths.n + 1, sizeof(*t->times));
	if (!t->s.name || paths.error || !t->fds || !t->layers || !t->times)
		r = hoy_fail_oom(err);
	else if (!paths.n)
		r = hoy_fail(err, EINVAL, "'tarball:' needs the name of a file");
	for (size_t i = 0; !r && i < paths.n; i++) {
		r = open_file(paths.v[i], &t->fds[i], err);
		if (!r)
			r = measure(t, paths.v[i], err);
		if (!r)
			t->n++;
		else if (t->fds[i] > 0)
			hoy_close(t->fds[i]);
	}
	if (!r)
		r = describe(t, err);
	if (r < 0)
		source_free(&t->s);
	else
		*ret = &t->s;
	return r;
}
