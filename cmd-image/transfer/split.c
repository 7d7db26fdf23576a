#include "cmd-image/transfer/split.h"

#include <errno.h>
#include <fcntl.h>
#include <isa-l/crc64.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-image/transfer/inflate.h"
#include "common/base/fd.h"
#include "common/data/base64.h"
#include "common/data/json.h"

#define SEGMENT ((size_t)512 << 10)
#define LINE_MAX_LEN ((size_t)16 << 20) /* other writers' lines: a segment of theirs has at most 1 MiB */

uint64_t crc64(uint64_t crc, const void *data, size_t n) { return crc64_iso_refl(crc, data, n); }

/* ---- gzip, level 1 ---- */

struct split_gz {
	struct isal_zstream z;
	int fd;
	unsigned char level[ISAL_DEF_LVL1_DEFAULT];
	unsigned char out[64 << 10];
};

static int gz_write(struct split_gz *g, const void *data, size_t n, bool end)
{
	g->z.next_in = (unsigned char *)data;
	g->z.avail_in = n;
	g->z.end_of_stream = end;
	do {
		int r;

		g->z.next_out = g->out;
		g->z.avail_out = sizeof(g->out);
		if (isal_deflate(&g->z) != COMP_OK)
			return -EIO;
		r = hoy_write_full(g->fd, g->out, sizeof(g->out) - g->z.avail_out);
		if (r < 0)
			return r;
	} while (!g->z.avail_out || g->z.avail_in);
	return 0;
}

int split_init(struct split *s, int fd)
{
	*s = (struct split){ .seg = HOY_BUF_INIT(2 * SEGMENT), .line = HOY_BUF_INIT(LINE_MAX_LEN) };
	s->gz = malloc(sizeof(*s->gz));
	if (!s->gz)
		return -ENOMEM;
	isal_deflate_init(&s->gz->z);
	s->gz->fd = fd;
	s->gz->z.level = 1;
	s->gz->z.level_buf = s->gz->level;
	s->gz->z.level_buf_size = sizeof(s->gz->level);
	s->gz->z.gzip_flag = IGZIP_GZIP;
	s->gz->z.flush = NO_FLUSH;
	return 0;
}

void split_release(struct split *s)
{
	free(s->gz);
	hoy_buf_release(&s->seg);
	hoy_buf_release(&s->line);
	s->gz = NULL;
}

static void put_line(struct split *s)
{
	hoy_buf_putc(&s->line, '\n');
	if (!s->error && s->line.error)
		s->error = -s->line.error;
	if (!s->error)
		s->error = gz_write(s->gz, s->line.data, s->line.len, false);
	hoy_buf_reset(&s->line);
	s->pos++;
}

static void flush_segment(struct split *s)
{
	if (!s->seg.len)
		return;
	hoy_buf_puts(&s->line, "{\"type\":2,\"payload\":\"");
	hoy_base64(&s->line, s->seg.data, s->seg.len);
	hoy_buf_printf(&s->line, "\",\"position\":%llu}", (unsigned long long)s->pos);
	put_line(s);
	hoy_buf_reset(&s->seg);
}

void split_raw(struct split *s, const void *data, size_t n)
{
	while (n) {
		size_t k = n < SEGMENT - s->seg.len ? n : SEGMENT - s->seg.len;

		hoy_buf_add(&s->seg, data, k);
		data = (const char *)data + k;
		n -= k;
		if (s->seg.len == SEGMENT)
			flush_segment(s);
	}
	if (s->seg.error && !s->error)
		s->error = -s->seg.error;
}

/* Go's rule: no overlong forms, no surrogates, at most U+10FFFF. */
static bool utf8(const unsigned char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		unsigned c = s[i], len = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

		if (!len || i + len > n)
			return false;
		for (unsigned k = 1; k < len; k++)
			if ((s[i + k] & 0xc0) != 0x80)
				return false;
		if ((c == 0xe0 && s[i + 1] < 0xa0) || (c == 0xed && s[i + 1] > 0x9f) || (c == 0xf0 && s[i + 1] < 0x90) ||
		    (c == 0xf4 && s[i + 1] > 0x8f))
			return false;
		i += len;
	}
	return true;
}

uint64_t split_file(struct split *s, const char *name, size_t len, int64_t size, uint64_t crc)
{
	struct hoy_jw w = hoy_jw_on(&s->line, NULL);

	flush_segment(s);
	hoy_jw_object(&w, NULL);
	hoy_jw_int(&w, "type", 1);
	if (utf8((const unsigned char *)name, len)) {
		if (len)
			hoy_jw_stringn(&w, "name", name, len);
	} else {
		hoy_buf_puts(&s->line, ",\"name_raw\":\"");
		hoy_base64(&s->line, name, len);
		hoy_buf_putc(&s->line, '"');
	}
	if (size) {
		unsigned char be[8];

		for (int i = 0; i < 8; i++)
			be[i] = crc >> (56 - 8 * i);
		hoy_jw_int(&w, "size", size);
		hoy_buf_puts(&s->line, ",\"payload\":\"");
		hoy_base64(&s->line, be, 8);
		hoy_buf_putc(&s->line, '"');
	} else {
		hoy_jw_null(&w, "payload");
	}
	hoy_jw_uint(&w, "position", s->pos);
	hoy_jw_end_object(&w);
	put_line(s);
	return s->pos - 1;
}

int split_end(struct split *s)
{
	int r;

	flush_segment(s);
	if (!s->error)
		s->error = gz_write(s->gz, "", 0, true);
	r = s->error;
	split_release(s);
	return r;
}

/* ---- reading ---- */

struct unsplit {
	struct stream *in;
	struct hoy_buf line, data, name;
};

int unsplit_new(struct unsplit **ret, int fd, struct hoy_err *err)
{
	struct unsplit *u = calloc(1, sizeof(*u));
	struct stream *raw = u ? stream_fd(fd, false, 0, -1, "tar-split") : NULL;

	if (!raw) {
		free(u);
		return hoy_fail_oom(err);
	}
	u->line.max = u->data.max = u->name.max = LINE_MAX_LEN;
	u->in = inflate_stream(raw, NULL, err);
	if (!u->in) {
		free(u);
		return err ? -err->code : -EIO;
	}
	*ret = u;
	return 0;
}

void unsplit_free(struct unsplit *u)
{
	if (!u)
		return;
	stream_free(u->in);
	hoy_buf_release(&u->line);
	hoy_buf_release(&u->data);
	hoy_buf_release(&u->name);
	free(u);
}

static int read_line(struct unsplit *u, struct hoy_err *err)
{
	hoy_buf_reset(&u->line);
	for (;;) {
		const unsigned char *p, *nl;
		ssize_t n = stream_peek(u->in, &p, err);

		if (n < 0)
			return n;
		if (!n)
			return u->line.len ? 1 : 0;
		nl = memchr(p, '\n', n);
		hoy_buf_add(&u->line, p, nl ? (size_t)(nl - p) : (size_t)n);
		stream_take(u->in, nl ? (size_t)(nl - p) + 1 : (size_t)n);
		if (u->line.error)
			return hoy_fail(err, u->line.error, "a line of the tar-split is too long");
		if (nl && u->line.len)
			return 1;
	}
}

static int parse_line(struct unsplit *u, struct split_line *ret, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const struct hoy_json *name, *payload;
	int r = hoy_json_parse(&doc, u->line.data, u->line.len, "tar-split", err);
	int64_t type;

	if (r < 0)
		return r;
	*ret = (struct split_line){ 0 };
	type = hoy_json_int(doc.root, "type", 0);
	payload = hoy_json_get(doc.root, "payload");
	hoy_buf_reset(&u->data);
	if (payload && payload->type == HOY_JSON_STRING && hoy_unbase64(&u->data, payload->str, payload->len) < 0)
		return hoy_fail(err, HOY_EFORMAT, "the tar-split has a payload that is no base64");
	if (type == 2) {
		ret->data = u->data.data;
		ret->data_len = payload && payload->type == HOY_JSON_STRING ? u->data.len : 0;
		return 1;
	}
	if (type != 1)
		return hoy_fail(err, HOY_EFORMAT, "the tar-split has a line of an unknown type");
	ret->file = true;
	ret->size = hoy_json_int(doc.root, "size", 0);
	if (ret->size > 0) {
		if (!payload || payload->type != HOY_JSON_STRING || u->data.len != 8)
			return hoy_fail(err, HOY_EFORMAT, "the tar-split has a file without a checksum");
		for (int i = 0; i < 8; i++)
			ret->crc = ret->crc << 8 | (unsigned char)u->data.data[i];
	}
	hoy_buf_reset(&u->name);
	name = hoy_json_get(doc.root, "name_raw");
	if (name && name->type == HOY_JSON_STRING) {
		hoy_buf_reset(&u->name);
		if (hoy_unbase64(&u->name, name->str, name->len) < 0)
			return hoy_fail(err, HOY_EFORMAT, "the tar-split has a name that is no base64");
	} else if ((name = hoy_json_get(doc.root, "name")) && name->type == HOY_JSON_STRING) {
		hoy_buf_add(&u->name, name->str, name->len);
	}
	ret->name = hoy_buf_str(&u->name);
	ret->name_len = u->name.len;
	return 1;
}

int unsplit_next(struct unsplit *u, struct split_line *ret, struct hoy_err *err)
{
	int r = read_line(u, err);

	return r <= 0 ? r : parse_line(u, ret, err);
}

/* ---- changing ---- */

static int embed(struct split *to, int spool, const struct split_drop *d, struct hoy_err *err)
{
	char buf[32 << 10];
	int64_t done = 0;

	while (done < d->len) {
		ssize_t n = pread(spool, buf, d->len - done < (int64_t)sizeof(buf) ? d->len - done : (int64_t)sizeof(buf), d->at + done);

		if (n <= 0)
			return hoy_fail_errno(err, n ? errno : EIO, "cannot read back a replaced file");
		split_raw(to, buf, n);
		done += n;
	}
	return 0;
}

static int rewrite(struct unsplit *u, struct split *to, const struct split_drop *drop, size_t n, int spool, struct hoy_err *err)
{
	struct split_line l;
	uint64_t pos = 0;
	int r;

	for (size_t i = 0; (r = unsplit_next(u, &l, err)) > 0; pos++) {
		if (i < n && drop[i].pos == pos) {
			r = embed(to, spool, &drop[i++], err);
			if (r < 0)
				return r;
		} else if (l.file) {
			split_file(to, l.name, l.name_len, l.size, l.crc);
		} else {
			split_raw(to, l.data, l.data_len);
		}
	}
	return r;
}

int split_rewrite(int fd, const struct split_drop *drop, size_t n, int spool, int dirfd, struct hoy_err *err)
{
	cleanup_fd int tmp = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct unsplit *u = NULL;
	struct split to = { 0 };
	int r, e;

	if (tmp < 0)
		return hoy_fail_errno(err, errno, "cannot make a temporary file");
	r = split_init(&to, tmp);
	if (r < 0)
		hoy_fail_oom(err);
	if (!r)
		r = unsplit_new(&u, fd, err);
	if (!r)
		r = rewrite(u, &to, drop, n, spool, err);
	unsplit_free(u);
	if (to.gz) {
		e = split_end(&to);
		if (!r && e)
			r = hoy_fail_errno(err, -e, "cannot write the tar-split");
	}
	if (!r && (lseek(tmp, 0, SEEK_SET) < 0 || ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
		   hoy_copy_fd(tmp, fd) < 0))
		r = hoy_fail_errno(err, errno, "cannot write the tar-split");
	return r;
}
