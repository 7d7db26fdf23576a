#include "cmd-image/transfer/chunked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#include "cmd-image/transfer/files.h"
#include "cmd-image/transfer/inflate.h"
#include "cmd-image/transfer/posmap.h"
#include "cmd-image/transfer/split.h"
#include "cmd-image/transfer/tar.h"
#include "common/base/fd.h"
#include "common/data/base64.h"
#include "common/data/json.h"
#include "common/data/time.h"

#define SKIPPED "\x50\x2a\x4d\x18"
#define MAGIC "GNUlInUx"

struct chunked {
	ZSTD_CCtx *zc;
	bool open; /* a frame is begun */
	int (*emit)(void *arg, const void *data, size_t n, struct hoy_err *err);
	void *arg;
	int64_t out;		/* bytes emitted */
	struct tar tar;
	struct split split;
	struct hoy_buf table;
	struct hoy_jw w;
	struct posmap names;	/* hashes of those seen */
	bool possible;
	int r;			/* of raw(), which cannot return it */
	struct hoy_err *err;
	unsigned char buf[128 << 10];
};

/* ---- frames ---- */

static int give(struct chunked *c, const void *data, size_t n)
{
	c->out += n;
	return n ? c->emit(c->arg, data, n, c->err) : 0;
}

static int squeeze(struct chunked *c, const void *data, size_t n, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = { data, n, 0 };
	size_t left;
	int r;

	do {
		ZSTD_outBuffer out = { c->buf, sizeof(c->buf), 0 };

		left = ZSTD_compressStream2(c->zc, &out, &in, how);
		if (ZSTD_isError(left))
			return hoy_fail(c->err, EIO, "cannot compress a layer: %s", ZSTD_getErrorName(left));
		r = give(c, c->buf, out.pos);
		if (r < 0)
			return r;
	} while (how == ZSTD_e_end ? left : in.pos < in.size);
	c->open = how != ZSTD_e_end;
	return 0;
}

static int end_frame(struct chunked *c) { return c->open ? squeeze(c, "", 0, ZSTD_e_end) : 0; }

/* Header bytes, padding: what no file has. */
static void raw(void *arg, const void *data, size_t n)
{
	struct chunked *c = arg;

	if (!c->r)
		c->r = squeeze(c, data, n, ZSTD_e_continue);
	split_raw(&c->split, data, n);
}

/* ---- the table ---- */

static uint64_t hash(const char *s, size_t n)
{
	uint64_t h = 0xcbf29ce484222325;

	while (n--)
		h = (h ^ (unsigned char)*s++) * 0x100000001b3;
	return h ^ h >> 32;
}

/* JSON has no way to say other bytes than UTF-8: names beyond ASCII are left to plain zstd unless they are that. */
static bool is_utf8(const struct hoy_buf *b)
{
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(64 << 10);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_jw w = hoy_jw_on(&text, NULL);

	hoy_jw_stringn(&w, NULL, hoy_buf_str(b), b->len);
	return !hoy_json_parse(&doc, hoy_buf_str(&text), text.len, "name", NULL) && doc.root->len == b->len &&
	       !memcmp(doc.root->str, hoy_buf_str(b), b->len);
}

static int check_entry(struct chunked *c)
{
	const struct tar_entry *e = &c->tar.e;
	uint64_t h = hash(hoy_buf_str(&e->name), e->name.len), before;

	if (e->sparse || e->type < '0' || e->type > '6' || posmap_get(&c->names, h, &before) || !is_utf8(&e->name) || !is_utf8(&e->link))
		c->possible = false;
	if (c->possible && posmap_put(&c->names, h, 0) < 0)
		return hoy_fail_oom(c->err);
	return 0;
}

static int put_xattrs(struct chunked *c)
{
	const struct tar_entry *e = &c->tar.e;

	if (e->n_xattrs)
		hoy_jw_object(&c->w, "xattrs");
	for (size_t i = 0; i < e->n_xattrs; i++) {
		const char *base = e->xattr_data.data;
		cleanup_buf struct hoy_buf text = HOY_BUF_INIT(HOY_BUF_OURS);

		hoy_base64(&text, base + e->xattrs[i].value, e->xattrs[i].len);
		if (text.error)
			return hoy_fail_oom(c->err);
		hoy_jw_string(&c->w, base + e->xattrs[i].key, hoy_buf_str(&text));
	}
	if (e->n_xattrs)
		hoy_jw_end_object(&c->w);
	return 0;
}

static void put_number(struct hoy_jw *w, const char *key, int64_t v)
{
	if (v)
		hoy_jw_int(w, key, v);
}

/* DIGEST NULL: without data. */
static int put_entry(struct chunked *c, const char *digest, int64_t from, int64_t to)
{
	static const char *const types[] = { "reg", "hardlink", "symlink", "char", "block", "dir", "fifo" };
	const struct tar_entry *e = &c->tar.e;
	char text[HOY_TIME_SIZE];
	int r;

	if (!c->possible)
		return 0;
	hoy_jw_object(&c->w, NULL);
	hoy_jw_string(&c->w, "type", types[e->type - '0']);
	hoy_jw_stringn(&c->w, "name", hoy_buf_str(&e->name), e->name.len);
	if (e->link.len && (e->type == '1' || e->type == '2'))
		hoy_jw_stringn(&c->w, "linkName", hoy_buf_str(&e->link), e->link.len);
	put_number(&c->w, "mode", e->mode & 07777);
	put_number(&c->w, "size", e->size);
	put_number(&c->w, "uid", e->uid);
	put_number(&c->w, "gid", e->gid);
	hoy_jw_string(&c->w, "modtime", hoy_time_format(e->mtime * HOY_NS + e->mtime_ns, text));
	put_number(&c->w, "devMajor", e->major);
	put_number(&c->w, "devMinor", e->minor);
	r = put_xattrs(c);
	if (digest) {
		hoy_jw_string(&c->w, "digest", digest);
		hoy_jw_int(&c->w, "offset", from);
		hoy_jw_int(&c->w, "endOffset", to);
	}
	hoy_jw_end_object(&c->w);
	return r ? r : c->table.error ? hoy_fail_oom(c->err) : 0;
}

/* A file with data: frames of its own. */
static int pack_file(struct chunked *c, char ret[SHA_DIGEST_SIZE], uint64_t *crc)
{
	struct sha sha;
	const unsigned char *p;
	ssize_t n = 0;
	int r = sha_init(&sha) < 0 ? hoy_fail_oom(c->err) : 0;

	while (!r && (n = tar_data(&c->tar, &p, c->err)) > 0) {
		sha_add(&sha, p, n);
		*crc = crc64(*crc, p, n);
		r = squeeze(c, p, n, ZSTD_e_continue);
	}
	if (sha.ctx)
		sha_end(&sha, ret);
	return r ? r : n < 0 ? n : end_frame(c);
}

static int pack_entry(struct chunked *c)
{
	const struct tar_entry *e = &c->tar.e;
	char digest[SHA_DIGEST_SIZE];
	uint64_t crc = 0;
	int64_t from;
	int r = c->r ? c->r : check_entry(c);

	if (!r && e->size)
		r = end_frame(c);
	from = c->out;
	if (!r && e->size)
		r = pack_file(c, digest, &crc);
	split_file(&c->split, hoy_buf_str(&e->name), e->name.len, e->size, crc);
	return r ? r : put_entry(c, e->size ? digest : NULL, from, c->out);
}

/* ---- what stands behind the layer ---- */

static void put_le64(unsigned char *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = v >> (8 * i);
}

/* DATA in a frame that readers skip; *RET_AT is where DATA begins. */
static int skipped_frame(struct chunked *c, const void *data, size_t n, int64_t *ret_at)
{
	unsigned char head[8] = SKIPPED;
	int r;

	for (int i = 0; i < 4; i++)
		head[4 + i] = n >> (8 * i);
	r = give(c, head, sizeof(head));
	*ret_at = c->out;
	return r ? r : give(c, data, n);
}

static int packed(struct chunked *c, const struct hoy_buf *b, struct hoy_buf *ret)
{
	size_t room = ZSTD_compressBound(b->len), n;
	char *to;

	ret->max = room + 1;
	to = hoy_buf_reserve(ret, room);
	n = to ? ZSTD_compress(to, room, b->data, b->len, 3) : 0;
	if (!to || ZSTD_isError(n))
		return hoy_fail_oom(c->err);
	ret->len = n;
	return 0;
}

/* The tar-split without its gzip. */
static int read_split(struct chunked *c, int fd, struct hoy_buf *ret)
{
	struct stat st;
	struct stream *gz = fstat(fd, &st) < 0 ? NULL : stream_fd(fd, false, 0, st.st_size, "tar-split");
	cleanup_stream struct stream *in = gz ? inflate_stream(gz, NULL, c->err) : NULL;
	const unsigned char *p;
	ssize_t n = 0;

	if (!in)
		return gz ? -c->err->code : hoy_fail_oom(c->err);
	while ((n = stream_peek(in, &p, c->err)) > 0) {
		hoy_buf_add(ret, p, n);
		stream_take(in, n);
	}
	return n < 0 ? n : ret->error ? hoy_fail_oom(c->err) : 0;
}

/* The table, the tar-split, and where both are. */
static int put_tail(struct chunked *c, int split_fd, struct chunked_notes *ret)
{
	cleanup_buf struct hoy_buf split = HOY_BUF_INIT(HOY_BUF_OURS), table = HOY_BUF_INIT(0), lines = HOY_BUF_INIT(0);
	char digest[SHA_DIGEST_SIZE];
	unsigned char foot[64];
	int64_t at[3];
	int r = read_split(c, split_fd, &split);

	if (r < 0)
		return r;
	r = packed(c, &split, &lines);
	if (r < 0)
		return r;
	sha_of(lines.data, lines.len, digest);
	hoy_jw_end_array(&c->w);
	hoy_jw_string(&c->w, "tarSplitDigest", digest);
	hoy_jw_end_object(&c->w);
	r = c->table.error ? hoy_fail_oom(c->err) : packed(c, &c->table, &table);
	if (!r)
		r = skipped_frame(c, table.data, table.len, &at[0]);
	if (!r)
		r = skipped_frame(c, lines.data, lines.len, &at[1]);
	if (r < 0)
		return r;
	const uint64_t numbers[] = { at[0], table.len, c->table.len, 1, at[1], lines.len, split.len };

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		put_le64(foot + 8 * i, numbers[i]);
	memcpy(foot + 56, MAGIC, 8);
	sha_of(table.data, table.len, ret->checksum);
	snprintf(ret->position, sizeof(ret->position), "%lld:%zu:%zu:1", (long long)at[0], table.len, c->table.len);
	snprintf(ret->tarsplit, sizeof(ret->tarsplit), "%lld:%zu:%zu", (long long)at[1], lines.len, split.len);
	ret->set = true;
	return skipped_frame(c, foot, sizeof(foot), &at[2]);
}

/* ---- all of it ---- */

static int pack_all(struct chunked *c, int split_fd, struct chunked_notes *ret)
{
	int r = 0, s;

	while (!r && (r = tar_next(&c->tar, c->err)) > 0)
		r = pack_entry(c);
	s = split_end(&c->split);
	if (!r)
		r = c->r ? c->r : end_frame(c);
	if (!r && s < 0)
		r = hoy_fail_errno(c->err, -s, "cannot write a temporary file");
	return r || !c->possible ? r : put_tail(c, split_fd, ret);
}

int chunked_pack(struct stream *in, int level, int (*emit)(void *arg, const void *data, size_t n, struct hoy_err *err), void *arg,
		 struct chunked_notes *ret, struct hoy_err *err)
{
	struct chunked *c = calloc(1, sizeof(*c));
	cleanup_fd int fd = temp_file();
	int r;

	*ret = (struct chunked_notes){ .set = false };
	if (c)
		*c = (struct chunked){ .zc = ZSTD_createCCtx(), .emit = emit, .arg = arg, .possible = true, .err = err };
	if (!c || !c->zc) {
		free(c);
		return hoy_fail_oom(err);
	}
	ZSTD_CCtx_setParameter(c->zc, ZSTD_c_compressionLevel, level ? level : 3);
	c->table.max = HOY_BUF_OURS;
	c->w = hoy_jw_on(&c->table, NULL);
	hoy_jw_object(&c->w, NULL);
	hoy_jw_int(&c->w, "version", 1);
	hoy_jw_array(&c->w, "entries");
	tar_init(&c->tar, in, raw, c);
	r = fd < 0 ? hoy_fail_errno(err, -fd, "cannot make a temporary file") : split_init(&c->split, fd);
	if (!r)
		r = pack_all(c, fd, ret);
	tar_release(&c->tar);
	posmap_release(&c->names);
	hoy_buf_release(&c->table);
	ZSTD_freeCCtx(c->zc);
	free(c);
	return r;
}
