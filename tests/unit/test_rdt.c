/* links: cmd-runtime */
/* linux.intelRdt in a directory that looks like a resctrl file system: machines that have one are rare. */
#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-runtime/runtime.h"

static void put(const char *path, const char *text)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ok(fd >= 0 && hoy_write_full(fd, text, strlen(text)) == 0, "%s is there", path);
}

static bool holds(const char *path, const char *want)
{
	char have[256];

	/* A regular file keeps what lay behind. */
	return hoy_read_small(AT_FDCWD, path, have, sizeof(have)) >= 0 && !strncmp(have, want, strlen(want));
}

static const struct { const char *group, *json; int want; const char *schemata, *why; } cases[] = {
	{ "g", "{\"closID\":\"g\",\"l3CacheSchema\":\"L3:0=f;1=0f\"}", 0, "L3:0=f;1=0f", "the same in another order" },
	{ "g", "{\"closID\":\"g\",\"l3CacheSchema\":\"L3:0=ff\"}", -EEXIST, NULL, "another share of the cache" },
	{ "g", "{\"closID\":\"g\",\"l3CacheSchema\":\"L3:2=f\"}", -EEXIST, NULL, "a domain that is not there" },
	{ "g", "{\"closID\":\"g\",\"memBwSchema\":\"MB:0=20\"}", -EEXIST, NULL, "another bandwidth" },
	{ "g", "{\"closID\":\"g\",\"l3CacheSchema\":\"L2:0=f\"}", -EEXIST, NULL, "a resource that is not there" },
	{ "g", "{\"closID\":\"g\",\"l3CacheSchema\":\"L3:0=f\\nMB:0=70\",\"memBwSchema\":\"MB:0=50\"}", -EEXIST, NULL, "bandwidth among the caches" },
	{ "g", "{\"closID\":\"g\",\"schemata\":[\"L3:0=3\",\"MB:0=10\"]}", 0, "L3:0=3\nMB:0=10", "lines of the specification 1.3" },
	{ "g", "{\"closID\":\"g\"}", 0, NULL, "a group to join" },
	{ "none", "{\"closID\":\"none\"}", -ENOENT, NULL, "a group to join that is not there" },
	{ ".", "{\"closID\":\"/\"}", 0, NULL, "the default group" },
};

int main(void)
{
	cleanup_fd int top = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct state st = { .id = "c1", .dirfd = -1, .rdt_made = false };
	struct hoy_err err = HOY_ERR_INIT;

	mkdir("g", 0755), mkdir("g/mon_groups", 0755);
	put("g/tasks", ""), put("tasks", ""), put("schemata", "");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		struct hoy_err why = HOY_ERR_INIT;
		int r;

		put("g/schemata", "    MB:0=50;1=50\n    L3:0=f;1=f\n");
		st.rdt = (char *)(uintptr_t)cases[i].group;
		hoy_json_parse(&doc, cases[i].json, strlen(cases[i].json), "case", &why);
		r = rdt_make_at(top, &st, doc.root, &why);
		ok(r == cases[i].want, "%s: %d %s", cases[i].why, r, why.msg);
		ok(!cases[i].schemata || holds("g/schemata", cases[i].schemata), "%s: written", cases[i].why);
	}
	st.rdt = (char *)(uintptr_t)"g";
	{
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		const char *text = "{\"closID\":\"g\",\"enableMonitoring\":true}";

		hoy_json_parse(&doc, text, strlen(text), "monitoring", &err);
		ok(rdt_make_at(top, &st, doc.root, &err) == 0 && !access("g/mon_groups/c1", F_OK), "a monitoring group");
	}
	put("g/mon_groups/c1/tasks", "");
	ok(rdt_enter_at(top, &st, 4711, &err) == 0 && holds("g/tasks", "4711") && holds("g/mon_groups/c1/tasks", "4711"), "the process enters both");
	unlink("g/mon_groups/c1/tasks");
	rdt_remove_at(top, &st);
	ok(access("g/mon_groups/c1", F_OK) < 0 && !access("g", F_OK), "a group that is another's stays");
	st.rdt = (char *)(uintptr_t)"c1", st.rdt_made = true;
	{
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

		hoy_json_parse(&doc, "{\"x\":1}", 7, "own", &err);
		ok(rdt_make_at(top, &st, doc.root, &err) == 0 && !access("c1", F_OK), "a group of its own");
	}
	rdt_remove_at(top, &st);
	ok(access("c1", F_OK) < 0, "which goes with it");
	return tap_done();
}
