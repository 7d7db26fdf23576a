/* common/proc/idmap.h and common/base/spans.h: sets of ids, and what they are on either side of a user namespace. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/proc/idmap.h"
#include "tests/unit/tap.h"

/* "0:100:10 10:5:1" */
static struct hoy_idmap map(const char *text)
{
	struct hoy_idmap m = { .n = 0 };
	struct hoy_idline l;
	int n;

	for (; sscanf(text, "%u:%u:%u%n", &l.inside, &l.outside, &l.size, &n) == 3; text += n, text += *text == ' ')
		(void)hoy_idmap_add(&m, l.inside, l.outside, l.size);
	return m;
}

static const char *text(const struct hoy_idmap *m)
{
	static char out[1024];
	size_t len = 0;

	*out = '\0';
	for (size_t i = 0; i < m->n; i++)
		len += snprintf(out + len, sizeof(out) - len, "%s%u:%u:%u", i ? " " : "", m->v[i].inside, m->v[i].outside, m->v[i].size);
	return out;
}

static void test_lookup(void)
{
	struct hoy_idmap m = map("0:100000:65536 70000:5:1 4294967294:7:1");
	uint32_t id = 99;

	ok(hoy_idmap_out(&m, 65535, &id) && id == 165535, "the last id of a line");
	ok(hoy_idmap_out(&m, 70000, &id) && id == 5, "a line of one id");
	ok(hoy_idmap_in(&m, 7, &id) && id == 4294967294U, "an id at the very end");
	id = 99;
	ok(!hoy_idmap_out(&m, 65536, &id) && !hoy_idmap_in(&m, 99999, &id) && id == 99, "nobody, and then the result is left alone");
}

static void test_tidy_and_clash(void)
{
	static const struct { const char *in, *tidy; long clash; } cases[] = {
		{ "", "", -1 },
		{ "5:105:5 0:100:5", "0:100:10", -1 },
		{ "5:106:5 0:100:5", "0:100:5 5:106:5", -1 },
		{ "0:100:10 9:200:1", "0:100:10 9:200:1", 1 },
		{ "0:100:10 20:109:1", "0:100:10 20:109:1", 1 },
		{ "0:1:1 1:2:1 2:1:1", "0:1:2 2:1:1", 2 },
		{ "0:4294967290:5 5:0:1", "0:4294967290:5 5:0:1", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct hoy_idmap m = map(cases[i].in);

		ok(hoy_idmap_clash(&m) == cases[i].clash, "clash in '%s': %ld", cases[i].in, hoy_idmap_clash(&m));
		hoy_idmap_tidy(&m);
		ok(!strcmp(text(&m), cases[i].tidy), "'%s' in order: %s", cases[i].in, text(&m));
	}
}

static void test_split(void)
{
	static const struct { const char *in, *parent, *want; } cases[] = {
		{ "0:0:65537", "0:4711:1 1:471100000:65536", "0:0:1 1:1:65536" },
		{ "0:1:65536", "0:4711:1 1:471100000:65536", "0:1:65536" },
		{ "0:5:20", "0:1:10 10:50:10 20:90:10", "0:5:5 5:10:10 15:20:5" },
		{ "0:1000:5", "0:1:10", "0:1000:5" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct hoy_idmap m = map(cases[i].in), p = map(cases[i].parent);

		ok(!hoy_idmap_split(&m, &p) && !strcmp(text(&m), cases[i].want), "'%s' in a namespace of '%s': %s", cases[i].in, cases[i].parent, text(&m));
	}
}

static void test_spans(void)
{
	static const struct { uint64_t start, size; const char *want; } cuts[] = {
		{ 100, 0, "10-20 30-40" }, { 0, 10, "10-20 30-40" }, { 20, 10, "10-20 30-40" }, { 0, 11, "11-20 30-40" }, { 12, 3, "10-12 15-20 30-40" },
		{ 19, 12, "10-19 31-40" }, { 10, 10, "30-40" }, { 0, 4294967296, "" }, { 39, 4294967296, "10-20 30-39" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		cleanup_spans struct hoy_spans s = { NULL, 0, 0 };
		char out[256] = "";
		size_t len = 0;
		int r = hoy_spans_add(&s, 30, 10);

		r = r ? r : hoy_spans_add(&s, 10, 10);
		r = r ? r : hoy_spans_subtract(&s, cuts[i].start, cuts[i].size);
		for (size_t k = 0; k < s.n; k++)
			len += snprintf(out + len, sizeof(out) - len, "%s%llu-%llu", k ? " " : "", (unsigned long long)s.v[k].start,
					(unsigned long long)s.v[k].end);
		ok(!r && !strcmp(out, cuts[i].want), "without %llu ids from %llu on: %s", (unsigned long long)cuts[i].size,
		   (unsigned long long)cuts[i].start, out);
	}
}

static void test_pair(void)
{
	cleanup_spans struct hoy_spans wanted = { NULL, 0, 0 }, unused = { NULL, 0, 0 };
	struct hoy_idmap m = { .n = 0 };

	ok(!hoy_spans_add(&wanted, 0, 5) && !hoy_spans_add(&wanted, 6, 10) && !hoy_spans_add(&unused, 100, 8) && !hoy_spans_add(&unused, 200, 100), "two sets");
	ok(!hoy_idmap_pair(&wanted, &unused, &m) && !strcmp(text(&m), "0:100:5 6:105:3 9:200:7"), "in order: %s", text(&m));
	m.n = 0;
	ok(!hoy_spans_subtract(&unused, 203, 1000) && hoy_idmap_pair(&wanted, &unused, &m) == -ERANGE && !strcmp(text(&m), "0:100:5 6:105:3 9:200:3"),
	   "too few: %s", text(&m));
}

static void test_records(void)
{
	static const struct { const char *json; int want; const char *uid; } cases[] = {
		{ "{}", 0, "" },
		{ "{\"uidmap\":[{\"container_id\":0,\"host_id\":1,\"size\":4294967295}]}", 0, "0:1:4294967295" },
		{ "{\"uidmap\":null}", 0, "" },
		{ "{\"uidmap\":[{\"container_id\":0,\"size\":1}]}", -HOY_EFORMAT, NULL },
		{ "{\"uidmap\":[{\"container_id\":-1,\"host_id\":1,\"size\":1}]}", -HOY_EFORMAT, NULL },
		{ "{\"gidmap\":[{\"container_id\":0,\"host_id\":4294967296,\"size\":1}]}", -HOY_EFORMAT, NULL },
		{ "{\"uidmap\":[{\"container_id\":0,\"host_id\":4294967290,\"size\":7}]}", -HOY_EFORMAT, NULL },
		{ "{\"uidmap\":[7]}", -HOY_EFORMAT, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
		struct hoy_idmaps m = { 0 };
		int r = hoy_json_parse(&d, cases[i].json, strlen(cases[i].json), "record", NULL);

		r = r ? r : hoy_idmaps_read(d.root, &m);
		ok(r == cases[i].want && (r || !strcmp(text(&m.uid), cases[i].uid)), "%s", cases[i].json);
		ok(r || !hoy_idmaps_put(&d, d.root, &m), "and back");
	}
}

static void test_parse(void)
{
	static const struct {
		const char *text;
		int want;
		const char *result;
	} cases[] = {
		{ "0:100000:65536", 0, "0:100000:65536" },
		{ "5:6:7", 0, "5:6:7" },
		{ "4294967295:4294967295:1", 0, "4294967295:4294967295:1" },
		{ "4294967295:0:2", -ERANGE, "" },
		{ "0:1:4294967296", -EINVAL, "" },
		{ "0:1", -EINVAL, "" },
		{ "0:1:2:3", -EINVAL, "" },
		{ "", -EINVAL, "" },
		{ "0::2", -EINVAL, "" },
		{ "+0:1:2", -EINVAL, "" },
		{ "0:-1:2", -EINVAL, "" },
		{ " 0:1:2", -EINVAL, "" },
		{ "0:1:2x", -EINVAL, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct hoy_idmap m = { .n = 0 };
		int r = hoy_idmap_parse(&m, cases[i].text);

		ok(r == cases[i].want && !strcmp(text(&m), cases[i].result), "'%s' is %d '%s'", cases[i].text, r, text(&m));
	}
}

int main(void)
{
	test_parse();
	test_lookup();
	test_tidy_and_clash();
	test_split();
	test_spans();
	test_pair();
	test_records();
	return tap_done();
}
