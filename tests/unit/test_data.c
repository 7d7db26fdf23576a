#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/strv.h"
#include "common/data/base64.h"
#include "common/data/digest.h"
#include "common/data/ref.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/store/bigdata.h"
#include "tests/unit/tap.h"

static const struct { const char *in, *full; } refs[] = {
	{ "debian", "docker.io/library/debian:latest" },
	{ "debian:12", "docker.io/library/debian:12" },
	{ "user/app", "docker.io/user/app:latest" },
	{ "localhost/a", "localhost/a:latest" },
	{ "localhost:5000/a/b:c", "localhost:5000/a/b:c" },
	{ "127.0.0.1:5000/x", "127.0.0.1:5000/x:latest" },
	{ "quay.io/a/b@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "quay.io/a/b@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
	{ "[::1]:5000/x", "[::1]:5000/x:latest" },
	{ "a__b/c-d.e", "docker.io/a__b/c-d.e:latest" },
	{ "index.docker.io/x", "docker.io/library/x:latest" },
	{ "", NULL }, { "UPPER", NULL }, { "a//b", NULL }, { "a/", NULL }, { "/a", NULL }, { "a:", NULL }, { "a:b:c", NULL }, { "a@sha256:1", NULL },
	{ "-a", NULL }, { "a..b", NULL }, { "a___b", NULL }, { "host:port/x", NULL }, { "a:-x", NULL }, { "a b", NULL }, { "../a", NULL },
};

static void test_refs(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
		cleanup_ref struct hoy_ref r = HOY_REF_INIT;
		struct hoy_err err = HOY_ERR_INIT;
		int e = hoy_ref_parse(&r, refs[i].in, &err);
		cleanup_free char *full = e || hoy_ref_normalize(&r) ? NULL : hoy_ref_string(&r);

		ok(refs[i].full ? full && !strcmp(full, refs[i].full) : e == -HOY_EFORMAT && err.msg[0], "reference '%s' is %s", refs[i].in,
		   full ? full : "refused");
	}
}

static const struct { const char *in, *out; } encoded[] = { /* RFC 4648, section 10, and bytes beyond ASCII */
	{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
	{ "\xfb\xff\xfe", "+//+" },
};
static const char *const no_base64[] = { "Zg", "Zg=", "Z===", "====", "Zm9v\n", "Zm-_", "Zg==Zg==", "Z m9", "Zm9\xff" };

static void test_base64(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(encoded); i++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(100);
		cleanup_free char *back = NULL;
		size_t len = 99;

		hoy_base64(&b, encoded[i].in, strlen(encoded[i].in));
		ok(!strcmp(hoy_buf_str(&b), encoded[i].out), "base64 of %zu bytes is '%s'", strlen(encoded[i].in), encoded[i].out);
		ok(!hoy_unbase64_new(encoded[i].out, &back, &len) && len == strlen(encoded[i].in) && !strcmp(back, encoded[i].in), "'%s' and back",
		   encoded[i].out);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no_base64); i++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(100);

		hoy_buf_puts(&b, "x");
		ok(hoy_unbase64(&b, no_base64[i], strlen(no_base64[i])) == -EINVAL && !strcmp(b.data, "x"), "no base64: number %zu", i);
	}
}

static const struct { const char *in; int64_t sec; const char *out; } times[] = {
	{ "2026-11-23T19:10:52.774813711Z", 1795461052, "2026-11-23T19:10:52.774813711Z" },
	{ "2026-11-23T20:10:52.5+01:00", 1795461052, "2026-11-23T19:10:52.5Z" },
	{ "1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z" },
	{ "1969-12-31T23:59:59.25Z", -1, "1969-12-31T23:59:59.25Z" },
	{ "0001-01-01T00:00:00Z", INT64_MIN, "0001-01-01T00:00:00Z" },
};
static const char *const no_times[] = { "", "2026", "2026-13-01T00:00:00Z", "2026-11-23T19:10:52", "2026-11-23 19:10:5Z", "2026-11-23T19:10:52.Z", "x" };

static const struct { const char *in; int64_t sec; } moments[] = {
	{ "1795461052", 1795461052 }, { "1795461052.25", 1795461052 }, { "2026-11-23T19:10:52Z", 1795461052 },
	{ "2026-11-23", 1795392000 }, { "2026-11-23T19:10:52", 1795461052 }, { "2026-11-23T19:10", 1795461000 },
};
static const char *const no_moments[] = { "", "x", "2026-11-23T", "1h x", "2026-11-23T19:10:52.", "." };

static void test_moments(void)
{
	int64_t t, now = hoy_now();

	setenv("TZ", "UTC", 1);
	for (size_t i = 0; i < ARRAY_SIZE(moments); i++)
		ok(hoy_moment_parse(moments[i].in, &t) && t / HOY_NS == moments[i].sec, "moment %s", moments[i].in);
	ok(hoy_moment_parse("90m", &t) && t >= now - 5400 * HOY_NS && t < now - 5399 * HOY_NS, "moment 90m ago");
	for (size_t i = 0; i < ARRAY_SIZE(no_moments); i++)
		ok(!hoy_moment_parse(no_moments[i], &t), "no moment '%s'", no_moments[i]);
}

static void test_times(void)
{
	char buf[HOY_TIME_SIZE];
	int64_t t;

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		bool r = hoy_time_parse(times[i].in, &t);

		ok(r && (times[i].sec == INT64_MIN ? t == HOY_TIME_ZERO : (t - (t % HOY_NS + HOY_NS) % HOY_NS) / HOY_NS == times[i].sec) &&
		   !strcmp(hoy_time_format(t, buf), times[i].out), "time %s", times[i].in);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no_times); i++)
		ok(!hoy_time_parse(no_times[i], &t), "no time: '%s'", no_times[i]);
	ok(!strcmp(hoy_time_human(90 * HOY_NS, buf), "About a minute"), "90 s is about a minute");
	ok(!strcmp(hoy_time_human(72 * 3600 * HOY_NS, buf), "3 days"), "72 h is 3 days");
	ok(!strcmp(hoy_time_human(0, buf), "Less than a second"), "0 is less than a second");
	ok(hoy_duration_parse("1h30m", &t) && t == 5400 * HOY_NS, "1h30m");
	ok(hoy_duration_parse("10", &t) && t == 10 * HOY_NS, "a bare number is seconds");
	ok(hoy_duration_parse("500ms", &t) && t == HOY_NS / 2, "500ms");
	ok(!hoy_duration_parse("1x", &t) && !hoy_duration_parse("", &t) && !hoy_duration_parse("m", &t), "no durations");
}

static void test_units(void)
{
	static const struct { const char *in; int64_t v; } sizes[] = {
		{ "64m", 64 << 20 }, { "1.5g", 3LL << 29 }, { "512kb", 512 << 10 }, { "1024", 1024 }, { "2KiB", 2048 }, { "7b", 7 },
		{ "", -1 }, { "x", -1 }, { "1q", -1 }, { "-5", -1 }, { "1mm", -1 }, { "99999999999p", -1 },
	};
	char buf[32];
	int64_t v;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		ok(hoy_size_parse(sizes[i].in, &v) ? v == sizes[i].v : sizes[i].v == -1, "size '%s'", sizes[i].in);
	ok(!strcmp(hoy_size_human(4500000, buf), "4.5 MB"), "4.5 MB");
	ok(!strcmp(hoy_size_human(999, buf), "999 B"), "999 B");
	ok(!strcmp(hoy_size_tight(379744539, buf), "379.7MB"), "379.7MB");
	ok(!strcmp(hoy_size_tight(0, buf), "0B"), "0B");
	ok(!strcmp(hoy_size_tight(113488, buf), "113.5kB"), "113.5kB");
}

static void test_digests(void)
{
	char id[HOY_ID_SIZE];

	ok(hoy_random_id(id) == 0 && hoy_is_id(id), "a random id is an id");
	ok(!hoy_is_id("abc") && !hoy_is_id(NULL), "too short for an id");
	ok(!hoy_is_digest("sha256:ABC") && !hoy_is_digest("md5:aa") && !hoy_is_digest(NULL), "no digests");
}

static void test_items(void)
{
	static const struct { const char *key, *file; } names[] = {
		{ "manifest", "manifest" }, { "signatures", "signatures" }, { "sha256:9419", "=c2hhMjU2Ojk0MTk=" }, { "a", "a" }, { "A", "=QQ==" },
		{ "a-b", "=YS1i" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_free char *f = hoy_item_file(names[i].key);

		ok(f && !strcmp(f, names[i].file), "big data key %s is file %s", names[i].key, f);
	}
}

static void test_vectors(void)
{
	cleanup_strv struct hoy_strv v = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(10);

	hoy_strv_split(&v, "a=1,,b=2", ',');
	ok(v.n == 3 && !*v.v[1] && !v.v[3], "split keeps empty parts");
	hoy_env_set(&v, "a", "9");
	hoy_env_set(&v, "c", "3");
	ok(!strcmp(hoy_env_get(&v, "a"), "9") && !strcmp(hoy_env_get(&v, "c"), "3") && !hoy_env_get(&v, "d"), "environment");
	hoy_buf_puts(&b, "0123456789");
	ok(!b.error && b.len == 10, "a buffer can be filled");
	hoy_buf_puts(&b, "x");
	ok(b.error == EFBIG && b.len == 10 && !hoy_buf_steal(&b), "and not more, for good");
}

int main(void)
{
	test_refs();
	test_base64();
	test_times();
	test_moments();
	test_units();
	test_digests();
	test_items();
	test_vectors();
	return tap_done();
}
