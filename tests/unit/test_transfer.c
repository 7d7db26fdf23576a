/* Tests of hoy-transfer's tar reader, tar-split and unpacking. */
/* links: cmd-image/transfer */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-image/transfer/challenge.h"
#include "cmd-image/transfer/mime.h"
#include "cmd-image/transfer/split.h"
#include "cmd-image/transfer/tar.h"
#include "cmd-image/transfer/unpack.h"
#include "common/base/fd.h"
#include "tests/unit/tap.h"

static void header(struct hoy_buf *b, const char *name, char type, const char *size, const char *link)
{
	unsigned char h[512] = "";
	unsigned sum = 0;

	strncpy((char *)h, name, 100);
	memcpy(h + 100, "0000644\0" "0000000\0" "0000000\0", 24);
	strncpy((char *)h + 124, size, 12);
	memcpy(h + 136, "00000000001", 12);
	memset(h + 148, ' ', 8);
	h[156] = type;
	strncpy((char *)h + 157, link, 100);
	memcpy(h + 257, "ustar\0" "00", 8);
	for (int i = 0; i < 512; i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
	hoy_buf_add(b, h, 512);
}

static void file(struct hoy_buf *b, const char *name, const char *data)
{
	char size[32], pad[512] = "";

	snprintf(size, sizeof(size), "%011zo", strlen(data));
	header(b, name, '0', size, "");
	hoy_buf_puts(b, data);
	hoy_buf_add(b, pad, -strlen(data) & 511);
}

static void pax(struct hoy_buf *b, const char *records)
{
	char size[32], pad[512] = "";

	snprintf(size, sizeof(size), "%011zo", strlen(records));
	header(b, "PaxHeaders/x", 'x', size, "");
	hoy_buf_puts(b, records);
	hoy_buf_add(b, pad, -strlen(records) & 511);
}

static void end(struct hoy_buf *b)
{
	char zero[1024] = "";

	hoy_buf_add(b, zero, sizeof(zero));
}

static void test_names(void)
{
	static const struct { const char *in, *out; int r; } cases[] = {
		{ "a/b", "a/b", 3 }, { "./a//b/", "a/b", 3 }, { "/a", "a", 1 }, { "a/../b", "b", 1 }, { "", "", 0 },
		{ "./", "", 0 }, { "..", NULL, -EXDEV }, { "a/../../b", NULL, -EXDEV }, { "..a/...", "..a/...", 7 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char out[64];
		int r = tar_clean(cases[i].in, strlen(cases[i].in), out, sizeof(out));

		ok(r == cases[i].r && (r < 0 || !strcmp(out, cases[i].out)), "the clean form of '%s'", cases[i].in);
	}
}

/* What the reader says of the first entry of a tar made of RECORDS and a file. */
static int first(const char *records, const char *size, struct tar *t, struct hoy_buf *b)
{
	cleanup_stream struct stream *s = NULL;
	struct hoy_err err = HOY_ERR_INIT;
	int r;

	if (records)
		pax(b, records);
	header(b, "f", '0', size, "");
	end(b);
	s = stream_mem(b->data, b->len);
	tar_init(t, s, NULL, NULL);
	r = tar_next(t, &err);
	return r;
}

static void test_reader(void)
{
	static const struct { const char *pax, *size, *name; int r; const char *why; } cases[] = {
		{ NULL, "00000000000", "f", 1, "a plain header" },
		{ NULL, "          0", "f", 1, "blanks before a number" },
		{ NULL, "0000000000x", NULL, -HOY_EFORMAT, "a size that is no number" },
		{ NULL, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", NULL, -HOY_EFORMAT, "a negative size" },
		{ NULL, "\x80\x01\1\1\1\1\1\1\1\1\1\1", NULL, -HOY_EFORMAT, "a size of 2^80" },
		{ "12 path=a/b\n", "00000000000", "a/b", 1, "a pax path" },
		{ "8 path=\n", "00000000000", "f", 1, "an empty pax value takes the record back" },
		{ "99 path=a/b\n", "00000000000", NULL, -HOY_EFORMAT, "a wrong pax length" },
		{ "12 path a/b\n", "00000000000", NULL, -HOY_EFORMAT, "a pax record without =" },
		{ "9 uid=-x\n", "00000000000", NULL, -HOY_EFORMAT, "a pax number that is none" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);
		struct tar t;
		int r = first(cases[i].pax, cases[i].size, &t, &b);

		ok(r == cases[i].r && (r < 0 || !strcmp(hoy_buf_str(&t.e.name), cases[i].name)), "%s: %d", cases[i].why, r);
		tar_release(&t);
	}
}

/* Sizes from 8 GiB on, which eleven octal digits cannot say. */
static void test_large(void)
{
	static const struct { const char *pax, *size; int64_t want; } cases[] = {
		{ NULL, "77777777777", 8589934591 }, { NULL, "100000000001", 8589934593 }, { "19 size=8589934593\n", "00000000000", 8589934593 },
		{ "28 size=9000000000000000000\n", "0", 9000000000000000000 },
		{ "28 size=9223372036854775000\n", "0", -1 }, { NULL, "\x80\x01\x01\x01\x01\x7f\x01\x01\x01\x01\x01\x01", -1 },
		{ NULL, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 20);
		struct tar t;
		int r = first(cases[i].pax, cases[i].size, &t, &b);

		ok(cases[i].want < 0 ? r == -HOY_EFORMAT : r == 1 && t.e.size == cases[i].want, "a size of %lld bytes", (long long)cases[i].want);
		tar_release(&t);
	}
}

static void rebuild(int dir, int split, struct hoy_buf *out)
{
	struct unsplit *u = NULL;
	struct split_line l;

	if (unsplit_new(&u, split, NULL) < 0)
		return;
	while (unsplit_next(u, &l, NULL) > 0) {
		char *data = NULL;
		size_t len = 0;

		if (!l.file)
			hoy_buf_add(out, l.data, l.data_len);
		else if (l.size && !hoy_read_file(dir, l.name, 1 << 20, &data, &len, NULL) && crc64(0, data, len) == l.crc)
			hoy_buf_add(out, data, len);
		free(data);
	}
	unsplit_free(u);
}

static void round_trip(const char *why, const struct hoy_buf *tar)
{
	static const struct unpack_opts o = { 0 };
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(8 << 20);
	cleanup_stream struct stream *s = stream_mem(tar->data, tar->len);
	struct unpack_result res;
	struct hoy_err err = HOY_ERR_INIT;
	char name[] = "layer-XXXXXX";
	cleanup_fd int dir = -1, split = -1;
	int r;

	if (!mkdtemp(name))
		return;
	dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	split = open(name, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	r = unpack_tar(s, dir, split, &o, &res, &err);
	ok(!r, "%s: unpacked%s%s", why, r ? ": " : "", err.msg);
	unpack_result_release(&res);
	rebuild(dir, split, &out);
	ok(out.len == tar->len && (!out.len || !memcmp(out.data, tar->data, out.len)), "%s: the same bytes again (%zu of %zu)", why, out.len, tar->len);
	hoy_remove_tree(AT_FDCWD, name);
}

static void test_round_trips(void)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(8 << 20);

	header(&b, "d/", '5', "0", "");
	file(&b, "d/f", "hello");
	header(&b, "d/h", '1', "00000000005", "d/f"); /* a link that declares a size */
	header(&b, "d/s", '2', "0", "f");
	file(&b, "d/.wh.gone", "data in a whiteout");
	end(&b);
	hoy_buf_puts(&b, "behind the end");
	round_trip("the usual", &b);

	hoy_buf_reset(&b);
	file(&b, "f", "one");
	file(&b, "./f", "two, longer");
	file(&b, "g", "third");
	header(&b, "g", '5', "0", "");
	file(&b, "g/x", "below");
	header(&b, "g", '2', "0", "f");
	header(&b, "d", '5', "0", "");
	header(&b, "d/", '5', "0", "");
	round_trip("names that come again, no end", &b);

	hoy_buf_reset(&b);
	round_trip("nothing at all", &b);
}

static const struct { const char *line; enum auth_kind kind; const char *realm, *service; } challenges[] = {
	{ "Bearer realm=\"https://a/token\",service=\"a\",scope=\"repository:x:pull\"", AUTH_BEARER, "https://a/token", "a" },
	{ "bearer  Realm = https://a/token , SERVICE=b", AUTH_BEARER, "https://a/token", "b" },
	{ "Bearer error=\"no realm=z, here\", realm=\"a\\\"b\"", AUTH_BEARER, "a\"b", NULL },
	{ "Basic realm=\"x\"", AUTH_BASIC, "x", NULL },
	{ "Basic realm=\"x, Bearer realm=y\"", AUTH_BASIC, "x, Bearer realm=y", NULL },
	{ "Basic realm=\"x\", Bearer realm=\"y\",service=\"s\"", AUTH_BEARER, "y", "s" },
	{ "Bearer realm=\"y\", Basic realm=\"x\"", AUTH_BEARER, "y", NULL },
	{ "Bearer service=\"no realm\"", AUTH_NONE, NULL, NULL },
	{ "Negotiate abc==, Basic", AUTH_BASIC, NULL, NULL },
	{ "Bearer realm=\"never ends", AUTH_BEARER, "never ends", NULL },
	{ "", AUTH_NONE, NULL, NULL }, { "=\"\",,, =", AUTH_NONE, NULL, NULL },
};

static bool same(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static void test_challenges(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(challenges); i++) {
		struct challenge c = { AUTH_NONE, NULL, NULL };

		challenge_add(&c, challenges[i].line);
		ok(c.kind == challenges[i].kind && same(c.realm, challenges[i].realm) && same(c.service, challenges[i].service), "challenge: %s",
		   challenges[i].line);
		challenge_release(&c);
	}
}

#define M(bytes, type) { bytes, sizeof(bytes) - 1, type }
static const struct { const char *data; size_t len; const char *type; } mimes[] = {
	M("", "text/plain; charset=utf-8"), M("hello", "text/plain; charset=utf-8"), M("a\0b", "application/octet-stream"),
	M("\n\t <hTmL>", "text/html; charset=utf-8"), M("<htmlx>", "text/plain; charset=utf-8"), M("<!-- x", "text/html; charset=utf-8"),
	M("<a", "text/plain; charset=utf-8"), M(" <?xml v", "text/xml; charset=utf-8"), M("\x1f\x8b\x08z", "application/x-gzip"),
	M("PK\3\4", "application/zip"), M("%PDF-1", "application/pdf"), M(" %PDF-1", "text/plain; charset=utf-8"),
	M("\xEF\xBB\xBF", "text/plain; charset=utf-8"), M("\xFF\xFE" "ab", "text/plain; charset=utf-16le"), M("RIFFabcdWAVE", "audio/wave"),
	M("\0\0\0\x14" "ftypisom\0\0\0\1mp41", "video/mp4"), M("\0\0\0\x14" "ftypisom\0\0\0\1avc1", "application/octet-stream"),
	M("\0\0\xff\x14" "ftypmp41aaaaaaaa", "application/octet-stream"), M("\0asm\1", "application/wasm"), M("\x1b[1m", "text/plain; charset=utf-8"),
	M("0123456789012345678901234567890123LP", "application/vnd.ms-fontobject"),
};

static const char *const endings[][2] = {
	{ "a.html", "text/html" }, { "a.HTM", "text/html" }, { "x.tar.gz", "application/gzip" }, { ".json", "application/json" },
	{ "a", NULL }, { "a.", NULL }, { "a.no-such-ending", NULL }, { "a.tif", "image/tiff" }, { "a.ti", NULL },
};

static void test_mime(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(mimes); i++)
		ok(!strcmp(mime_of(mimes[i].data, mimes[i].len), mimes[i].type), "%zu is %s, not %s", i, mimes[i].type,
		   mime_of(mimes[i].data, mimes[i].len));
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		char type[MIME_MAX];
		bool known = mime_by_name(endings[i][0], type);

		ok(known == !!endings[i][1] && (!known || !strcmp(type, endings[i][1])), "%s is %s", endings[i][0], endings[i][1] ? endings[i][1] : "unknown");
	}
}

int main(void)
{
	test_challenges();
	ok(crc64(0, "123456789", 9) == 0xb90956c775a41001, "CRC-64/ISO's check value");
	ok(crc64(crc64(0, "ne", 2), "w\n", 2) == 0x615ab2ddb0000000, "CRC-64 in parts");
	test_names();
	test_reader();
	test_large();
	test_round_trips();
	test_mime();
	return tap_done();
}
