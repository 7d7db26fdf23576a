#include "cmd-image/transfer/tar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BAD(err, ...) hoy_fail(err, HOY_EFORMAT, "the tar is damaged: " __VA_ARGS__)

void tar_init(struct tar *t, struct stream *in, void (*raw)(void *, const void *, size_t), void *arg)
{
	memset(t, 0, sizeof(*t));
	t->in = in;
	t->raw = raw;
	t->arg = arg;
	t->e.name.max = t->e.link.max = TAR_HEADER_MAX + 1024;
	t->e.xattr_data.max = 2 * TAR_HEADER_MAX;
}

void tar_release(struct tar *t)
{
	hoy_buf_release(&t->e.name);
	hoy_buf_release(&t->e.link);
	hoy_buf_release(&t->e.xattr_data);
	sparse_release(&t->e.map);
}

static void show(struct tar *t, const void *data, size_t n)
{
	if (t->raw && n)
		t->raw(t->arg, data, n);
}

/* N bytes that belong to the frame of the archive. Returns how many there were. */
static ssize_t frame(struct tar *t, void *buf, size_t n, struct hoy_err *err)
{
	ssize_t got = stream_read(t->in, buf, n, err);

	if (got > 0)
		show(t, buf, got);
	t->at += got > 0 ? got : 0;
	return got;
}

static int skip_frame(struct tar *t, int64_t n, struct hoy_err *err)
{
	char buf[TAR_BLOCK];

	while (n > 0) {
		ssize_t got = frame(t, buf, n < TAR_BLOCK ? n : TAR_BLOCK, err);

		if (got < 0)
			return got;
		if (!got)
			return BAD(err, "it ends in the middle of an entry");
		n -= got;
	}
	return 0;
}

ssize_t tar_data(struct tar *t, const unsigned char **ret, struct hoy_err *err)
{
	ssize_t n;

	if (t->seen) {
		stream_take(t->in, t->seen);
		t->seen = 0;
	}
	if (!t->data_left)
		return 0;
	n = stream_peek(t->in, ret, err);
	if (n < 0)
		return n;
	if (!n)
		return BAD(err, "it ends in the middle of an entry");
	if (n > t->data_left)
		n = t->data_left;
	t->data_left -= n;
	t->seen = n;
	return n;
}

/* ---- numbers ---- */

static int base256(const unsigned char *f, size_t len, int64_t *ret)
{
	bool neg = f[0] & 0x40;
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = neg ? ~f[i] : f[i];

		if (!i)
			c &= 0x7f;
		if (v >> 55)
			return -1;
		v = v << 8 | c;
	}
	*ret = neg ? -(int64_t)v - 1 : (int64_t)v;
	return 0;
}

/* A numeric field; blanks and NULs may stand around octal digits, nothing at all is 0. */
static int number(const unsigned char *f, size_t len, int64_t *ret)
{
	uint64_t v = 0;

	if (f[0] & 0x80)
		return base256(f, len, ret);
	while (len && (f[len - 1] == ' ' || !f[len - 1]))
		len--;
	while (len && (*f == ' ' || !*f))
		f++, len--;
	for (size_t i = 0; i < len; i++) {
		if (!f[i])
			break;
		if (f[i] < '0' || f[i] > '7' || v >> 60)
			return -1;
		v = v << 3 | (f[i] - '0');
	}
	*ret = v;
	return 0;
}

static bool checksum_ok(const unsigned char *b)
{
	int64_t want, u = 0, s = 0;

	if (number(b + 148, 8, &want))
		return false;
	for (int i = 0; i < TAR_BLOCK; i++) {
		unsigned char c = i >= 148 && i < 156 ? ' ' : b[i];

		u += c;
		s += (signed char)c;
	}
	return want == u || want == s;
}

static bool all_zero(const unsigned char *b)
{
	return !b[0] && !memcmp(b, b + 1, TAR_BLOCK - 1);
}

/* ---- pax ---- */

struct pax {
	struct hoy_buf data;
	const char *path, *link, *size, *uid, *gid, *mtime; /* NUL-terminated values in DATA */
	struct {
		const char *major, *minor, *name, *size, *real_size, *map, *count;
		struct hoy_buf pairs; /* 0.0's records, as the map that 0.1 has */
		size_t n;
	} gnu;
};

static void pax_reset(struct pax *p)
{
	struct hoy_buf data = p->data, pairs = p->gnu.pairs;

	*p = (struct pax){ .data = data, .gnu.pairs = pairs };
	hoy_buf_reset(&p->gnu.pairs);
}

static int pax_decimal(const char *s, int64_t *ret)
{
	char *end;
	long long v;

	if (*s == '+' || *s == ' ')
		return -1;
	errno = 0;
	v = strtoll(s, &end, 10);
	if (errno || *end || end == s)
		return -1;
	*ret = v;
	return 0;
}

/* "1234.5678": seconds and a fraction, of which nine digits count. */
static int pax_time(const char *s, int64_t *sec, int64_t *ns)
{
	const char *dot = strchr(s, '.');
	char whole[24];
	size_t len = dot ? (size_t)(dot - s) : strlen(s);
	bool neg = *s == '-';
	int64_t f = 0, scale = 100000000;

	if (len >= sizeof(whole))
		return -1;
	memcpy(whole, s, len);
	whole[len] = '\0';
	if (pax_decimal(whole, sec))
		return -1;
	for (const char *p = dot ? dot + 1 : ""; *p; p++) {
		if (*p < '0' || *p > '9')
			return -1;
		f += (*p - '0') * scale;
		scale /= 10;
	}
	if (neg && f) {
		*sec -= 1;
		f = 1000000000 - f;
	}
	*ns = f;
	return 0;
}

static int pax_xattr(struct tar_entry *e, const char *key, const char *value, size_t len, struct hoy_err *err)
{
	struct tar_xattr *x;

	if (e->n_xattrs == ARRAY_SIZE(e->xattrs))
		return hoy_fail(err, EFBIG, "an entry of the tar has more than %zu extended attributes", ARRAY_SIZE(e->xattrs));
	x = &e->xattrs[e->n_xattrs++];
	x->key = e->xattr_data.len;
	hoy_buf_add(&e->xattr_data, key, strlen(key) + 1);
	x->value = e->xattr_data.len;
	x->len = len;
	hoy_buf_add(&e->xattr_data, value, len);
	return e->xattr_data.error ? hoy_fail_oom(err) : 0;
}

/* "GNU.sparse.offset" and "GNU.sparse.numbytes" in turns. */
static int pax_pair(struct pax *p, bool offset, const char *value, struct hoy_err *err)
{
	if (offset != (p->gnu.n++ % 2 == 0) || strchr(value, ','))
		return BAD(err, "the map of a sparse file is wrong");
	if (p->gnu.pairs.len)
		hoy_buf_putc(&p->gnu.pairs, ',');
	hoy_buf_puts(&p->gnu.pairs, value);
	return p->gnu.pairs.error ? hoy_fail_oom(err) : 0;
}

static int pax_record(struct tar *t, struct pax *p, const char *key, const char *value, size_t len, struct hoy_err *err)
{
	static const struct { const char *key; size_t at; } texts[] = {
		{ "path", offsetof(struct pax, path) }, { "linkpath", offsetof(struct pax, link) },
		{ "size", offsetof(struct pax, size) }, { "uid", offsetof(struct pax, uid) },
		{ "gid", offsetof(struct pax, gid) },	{ "mtime", offsetof(struct pax, mtime) },
		{ "GNU.sparse.major", offsetof(struct pax, gnu.major) }, { "GNU.sparse.minor", offsetof(struct pax, gnu.minor) },
		{ "GNU.sparse.name", offsetof(struct pax, gnu.name) }, { "GNU.sparse.size", offsetof(struct pax, gnu.size) },
		{ "GNU.sparse.realsize", offsetof(struct pax, gnu.real_size) }, { "GNU.sparse.map", offsetof(struct pax, gnu.map) },
		{ "GNU.sparse.numblocks", offsetof(struct pax, gnu.count) },
	};

	if (!strncmp(key, "SCHILY.xattr.", 13))
		return pax_xattr(&t->e, key + 13, value, len, err);
	if (!strcmp(key, "GNU.sparse.offset") || !strcmp(key, "GNU.sparse.numbytes"))
		return pax_pair(p, key[11] == 'o', value, err);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!strcmp(key, texts[i].key)) {
			if (memchr(value, '\0', len))
				return BAD(err, "a pax record '%s' contains a NUL", key);
			/* An empty value takes the record back. */
			*(const char **)((char *)p + texts[i].at) = len ? value : NULL;
		}
	return 0;
}

/* "LEN KEY=VALUE\n", LEN counting the whole; the newline becomes the value's NUL. */
static int pax_parse(struct tar *t, struct pax *p, struct hoy_err *err)
{
	char *at = p->data.data;
	size_t left = p->data.len;

	while (left) {
		char *sp = memchr(at, ' ', left < 12 ? left : 12), *eq, *end;
		unsigned long n;
		int r;

		if (!sp || *at < '0' || *at > '9')
			return BAD(err, "a pax record has no length");
		n = strtoul(at, &end, 10);
		if (end != sp || n > left || n <= (size_t)(sp - at) + 2 || at[n - 1] != '\n')
			return BAD(err, "a pax record has a wrong length");
		eq = memchr(sp + 1, '=', at + n - 1 - (sp + 1));
		if (!eq || eq == sp + 1 || memchr(sp + 1, '\0', eq - sp - 1))
			return BAD(err, "a pax record has no key");
		*eq = at[n - 1] = '\0';
		r = pax_record(t, p, sp + 1, eq + 1, at + n - 1 - (eq + 1), err);
		if (r < 0)
			return r;
		at += n;
		left -= n;
	}
	return 0;
}

static int apply_pax(struct tar *t, const struct pax *p, struct hoy_err *err)
{
	struct tar_entry *e = &t->e;

	if (p->path) {
		hoy_buf_reset(&e->name);
		hoy_buf_puts(&e->name, p->path);
	}
	if (p->link) {
		hoy_buf_reset(&e->link);
		hoy_buf_puts(&e->link, p->link);
	}
	if ((p->size && pax_decimal(p->size, &e->size)) || (p->uid && pax_decimal(p->uid, &e->uid)) ||
	    (p->gid && pax_decimal(p->gid, &e->gid)) || (p->mtime && pax_time(p->mtime, &e->mtime, &e->mtime_ns)))
		return BAD(err, "a number in a pax header is none");
	return 0;
}

/* ---- headers ---- */

static int read_blob(struct tar *t, int64_t size, struct hoy_buf *ret, struct hoy_err *err)
{
	char *p;
	ssize_t n;

	hoy_buf_reset(ret);
	if (size > (int64_t)TAR_HEADER_MAX)
		return hoy_fail(err, EFBIG, "the tar has a header of %lld bytes, more than %zu are not taken", (long long)size,
				TAR_HEADER_MAX);
	p = hoy_buf_reserve(ret, size + 1);
	if (!p)
		return hoy_fail_oom(err);
	n = frame(t, p, size, err);
	if (n < 0)
		return n;
	if (n < size)
		return BAD(err, "it ends in the middle of a header");
	ret->len += n;
	p[n] = '\0';
	return skip_frame(t, -size & (TAR_BLOCK - 1), err);
}

static void add_field(struct hoy_buf *b, const unsigned char *f, size_t len)
{
	hoy_buf_add(b, f, strnlen((const char *)f, len));
}

static int parse_block(struct tar *t, struct hoy_err *err)
{
	const unsigned char *b = t->block;
	struct tar_entry *e = &t->e;
	int64_t mode = 0, major = 0, minor = 0;
	bool ustar = !memcmp(b + 257, "ustar\0", 6), gnu = !memcmp(b + 257, "ustar ", 6);

	e->type = b[156];
	e->mtime_ns = 0;
	e->sparse = false;
	hoy_buf_reset(&e->name);
	hoy_buf_reset(&e->link);
	if (ustar && b[345]) {
		add_field(&e->name, b + 345, 155);
		hoy_buf_putc(&e->name, '/');
	}
	add_field(&e->name, b, 100);
	add_field(&e->link, b + 157, 100);
	if (number(b + 100, 8, &mode) || number(b + 108, 8, &e->uid) || number(b + 116, 8, &e->gid) ||
	    number(b + 124, 12, &e->size) || number(b + 136, 12, &e->mtime))
		return BAD(err, "a number in a header is none");
	if ((ustar || gnu) && (e->type == '3' || e->type == '4') &&
	    (number(b + 329, 8, &major) || number(b + 337, 8, &minor)))
		return BAD(err, "a device number is none");
	if (mode < 0 || major < 0 || minor < 0 || major > 0xfff || minor > 0xfffff)
		return BAD(err, "a number in a header is out of range");
	e->mode = mode & 07777;
	e->major = major;
	e->minor = minor;
	return 0;
}

static int next_block(struct tar *t, struct hoy_err *err)
{
	ssize_t n = frame(t, t->block, TAR_BLOCK, err);

	if (n <= 0)
		return n;
	if (n < TAR_BLOCK)
		return BAD(err, "it ends in the middle of a header");
	if (!all_zero(t->block))
		return checksum_ok(t->block) ? 1 : BAD(err, "a header's checksum is wrong");
	n = frame(t, t->block, TAR_BLOCK, err);
	if (n < 0)
		return n;
	if (n && (n < TAR_BLOCK || !all_zero(t->block)))
		return BAD(err, "a block of zeros is followed by something else");
	return 0;
}

/* Whatever lies behind the end belongs to the archive's digest. */
static int drain(struct tar *t, struct hoy_err *err)
{
	for (;;) {
		const unsigned char *p;
		ssize_t n = stream_peek(t->in, &p, err);

		if (n <= 0)
			return n;
		show(t, p, n);
		stream_take(t->in, n);
	}
}

/* ---- sparse files ---- */

static bool is(const char *text, const char *want) { return text && !strcmp(text, want); }

/* The pax formats, told apart as Go does; 1: it is none of them. */
static int sparse_pax(struct tar *t, const struct pax *p)
{
	struct tar_entry *e = &t->e;
	const char *size = p->gnu.size ?: p->gnu.real_size, *map = p->gnu.pairs.len ? p->gnu.pairs.data : p->gnu.map;
	bool old = is(p->gnu.major, "0") && (is(p->gnu.minor, "0") || is(p->gnu.minor, "1"));

	e->map.in_data = is(p->gnu.major, "1") && is(p->gnu.minor, "0");
	if (!old && !e->map.in_data && (p->gnu.major || p->gnu.minor || !map))
		return 1;
	if (p->gnu.name) {
		hoy_buf_reset(&e->name);
		hoy_buf_puts(&e->name, p->gnu.name);
	}
	e->map.size = e->size;
	if ((e->type >= '1' && e->type <= '6') || (size && pax_decimal(size, &e->map.size)) || e->map.size < 0)
		return -EINVAL;
	return e->map.in_data ? 0 : sparse_add_text(&e->map, map ?: "", p->gnu.count);
}

static int find_holes(struct tar *t, const struct pax *p, struct hoy_err *err)
{
	struct tar_entry *e = &t->e;
	int r = sparse_pax(t, p);

	if (r > 0)
		return 0;
	if (!r && !e->map.in_data && e->map.full != e->size)
		r = -EINVAL;
	e->sparse = !r;
	return sparse_fail(r, hoy_buf_str(&e->name), err);
}

static int finish(struct tar *t, const struct pax *p, struct hoy_err *err)
{
	struct tar_entry *e = &t->e;
	int r;

	/* Only the oldest kind of file may be a directory, as in Go. */
	if (!e->type)
		e->type = e->name.len && e->name.data[e->name.len - 1] == '/' ? '5' : '0';
	if (e->type == '7')
		e->type = '0';
	if (e->size < 0)
		return BAD(err, "an entry has a negative size");
	/* podman refuses them, and its check would take the layer for damaged. */
	if (e->type == 'S')
		return hoy_fail(err, HOY_EUNSUPPORTED,
				"the tar has a file in GNU's old sparse format ('%s'), which layers cannot have (run: tar --format=posix)",
				hoy_buf_str(&e->name));
	r = find_holes(t, p, err);
	if (r < 0)
		return r;
	if (e->name.error || e->link.error)
		return hoy_fail_oom(err);
	if (e->name.len > TAR_NAME_MAX)
		return hoy_fail(err, ENAMETOOLONG, "a name in the tar has %zu bytes, more than %d are not taken", e->name.len, TAR_NAME_MAX);
	if (e->link.len > TAR_NAME_MAX)
		return hoy_fail(err, ENAMETOOLONG, "a link in the tar has %zu bytes, more than %d are not taken", e->link.len, TAR_NAME_MAX);
	if (e->type >= '1' && e->type <= '6')
		e->size = 0;
	if (e->size > INT64_MAX - TAR_BLOCK - t->at)
		return BAD(err, "an entry's size is out of range");
	e->at = t->at;
	t->at += e->size;
	t->data_left = e->size;
	t->pad_left = -e->size & (TAR_BLOCK - 1);
	return 1;
}

static int skip_data(struct tar *t, struct hoy_err *err)
{
	const unsigned char *p;
	ssize_t n = 0;

	if (t->in->skip && t->data_left) {
		stream_take(t->in, t->seen);
		t->seen = 0;
		n = t->in->skip(t->in, t->data_left, err);
		t->data_left = 0;
	}
	if (n < 0)
		return n;
	while ((n = tar_data(t, &p, err)) > 0)
		;
	if (n < 0)
		return n;
	n = t->pad_left;
	t->pad_left = 0;
	return skip_frame(t, n, err);
}

static void take_long(struct hoy_buf *b, const struct hoy_buf *name)
{
	if (!*hoy_buf_str(name))
		return;
	hoy_buf_reset(b);
	hoy_buf_puts(b, hoy_buf_str(name));
}

static int read_entry(struct tar *t, struct pax *pax, struct hoy_buf *longname, struct hoy_buf *longlink, struct hoy_err *err)
{
	bool more = false;
	int r;

	for (;;) {
		r = next_block(t, err);
		if (!r && more)
			return BAD(err, "it ends behind a header that belongs to another entry");
		if (r <= 0)
			return r ? r : drain(t, err);
		r = parse_block(t, err);
		if (r < 0)
			return r;
		if (t->e.size < 0)
			return BAD(err, "an entry has a negative size");
		if (t->e.type == 'g') {
			/* Its records are read over, as Go's reader does, but they are an entry of their own. */
			r = read_blob(t, t->e.size, longname, err);
			t->e.size = t->data_left = t->pad_left = 0;
			return r < 0 ? r : 1;
		}
		if (t->e.type == 'x') {
			pax_reset(pax);
			t->e.n_xattrs = 0;
			hoy_buf_reset(&t->e.xattr_data);
			r = read_blob(t, t->e.size, &pax->data, err);
			if (!r)
				r = pax_parse(t, pax, err);
		} else if (t->e.type == 'L') {
			r = read_blob(t, t->e.size, longname, err);
		} else if (t->e.type == 'K') {
			r = read_blob(t, t->e.size, longlink, err);
		} else {
			break;
		}
		if (r < 0)
			return r;
		more = true;
	}
	r = apply_pax(t, pax, err);
	/* GNU's names count more, unless they are empty, as in Go. */
	take_long(&t->e.name, longname);
	take_long(&t->e.link, longlink);
	return r < 0 ? r : finish(t, pax, err);
}

int tar_next(struct tar *t, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf name = HOY_BUF_INIT(TAR_HEADER_MAX + 1024), link = HOY_BUF_INIT(TAR_HEADER_MAX + 1024);
	struct pax pax = { .data = HOY_BUF_INIT(TAR_HEADER_MAX + 1024), .gnu.pairs = HOY_BUF_INIT(TAR_HEADER_MAX + 1024) };
	int r = skip_data(t, err);

	t->e.n_xattrs = 0;
	hoy_buf_reset(&t->e.xattr_data);
	sparse_reset(&t->e.map);
	if (!r)
		r = read_entry(t, &pax, &name, &link, err);
	hoy_buf_release(&pax.data);
	hoy_buf_release(&pax.gnu.pairs);
	return r;
}

int tar_clean(const char *name, size_t len, char *ret, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len;) {
		size_t k = i;

		while (k < len && name[k] != '/')
			k++;
		if (k - i == 2 && !memcmp(name + i, "..", 2)) {
			if (!n)
				return -EXDEV;
			while (n && ret[n - 1] != '/')
				n--;
			if (n)
				n--;
		} else if (k > i && !(k - i == 1 && name[i] == '.')) {
			if (n + 1 + (k - i) >= size)
				return -ENAMETOOLONG;
			if (n)
				ret[n++] = '/';
			memcpy(ret + n, name + i, k - i);
			n += k - i;
		}
		i = k + 1;
	}
	ret[n] = '\0';
	return n;
}
