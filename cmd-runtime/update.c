/* update: options are turned into the same linux.resources object that --resources reads. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-runtime/runtime.h"
#include "common/data/units.h"

enum kind { NUMBER, SIZE, TEXT };
static const struct limit_opt {
	const char *option, *arg, *section, *member, *help;
	enum kind kind;
} limits[] = {
	{ "blkio-weight", "N", "blockIO", "weight", "I/O weight, 10 to 1000", NUMBER },
	{ "cpu-burst", "USEC", "cpu", "burst", "CPU time that may be saved up", NUMBER },
	{ "cpu-idle", "N", "cpu", "idle", "1: run only when nothing else does", NUMBER },
	{ "cpu-period", "USEC", "cpu", "period", "length of the period that the quota is for", NUMBER },
	{ "cpu-quota", "USEC", "cpu", "quota", "CPU time in each period", NUMBER },
	{ "cpu-rt-period", "USEC", "cpu", "realtimePeriod", "period of real-time processes", NUMBER },
	{ "cpu-rt-runtime", "USEC", "cpu", "realtimeRuntime", "CPU time of real-time processes", NUMBER },
	{ "cpu-share", "N", "cpu", "shares", "relative weight", NUMBER },
	{ "cpuset-cpus", "LIST", "cpu", "cpus", "CPUs to use", TEXT },
	{ "cpuset-mems", "LIST", "cpu", "mems", "memory nodes to use", TEXT },
	{ "kernel-memory", "BYTES", "memory", "kernel", "kernel memory (v1)", SIZE },
	{ "kernel-memory-tcp", "BYTES", "memory", "kernelTCP", "kernel memory for TCP buffers (v1)", SIZE },
	{ "memory", "BYTES", "memory", "limit", "memory", SIZE },
	{ "memory-reservation", "BYTES", "memory", "reservation", "memory that is left when there is little", SIZE },
	{ "memory-swap", "BYTES", "memory", "swap", "memory and swap together, -1: unlimited", SIZE },
	{ "pids-limit", "N", "pids", "limit", "number of processes", NUMBER },
};

static int add(struct hoy_json_doc *doc, const struct limit_opt *l, const char *value, struct hoy_err *err)
{
	struct hoy_json *sec = hoy_json_need(doc, doc->root, l->section, HOY_JSON_OBJECT);
	int64_t n = 0;
	char *end;

	if (!sec)
		return hoy_fail_oom(err);
	if (l->kind == TEXT)
		return hoy_json_set_string(doc, sec, l->member, value) ? 0 : hoy_fail_oom(err);
	errno = 0;
	n = strtoll(value, &end, 10);
	if (errno || end == value || (*end && (l->kind != SIZE || !hoy_size_parse(value, &n))))
		return hoy_fail(err, EINVAL, "option '--%s': cannot use '%s'", l->option, value);
	return hoy_json_set_int(doc, sec, l->member, n) ? 0 : hoy_fail_oom(err);
}

static int load(struct hoy_json_doc *doc, const char *file, struct hoy_err *err)
{
	cleanup_free char *text = NULL;
	size_t len;

	if (!file)
		return hoy_json_parse(doc, "{}", 2, "options", err);
	if (strcmp(file, "-"))
		return hoy_json_load(doc, AT_FDCWD, file, 1 << 20, err);
	text = malloc(1 << 20);
	len = text ? fread(text, 1, 1 << 20, stdin) : 0;
	return text ? hoy_json_parse(doc, text, len, "standard input", err) : hoy_fail_oom(err);
}

static int apply(struct rt *rt, const char *id, const struct hoy_json *resources, const struct hoy_json *rdt, struct hoy_err *err)
{
	struct state st = STATE_INIT;
	struct cgroup cg;
	int r = state_open(&st, rt, id, true, err);

	cgroup_init(&cg);
	if (r >= 0 && !strcmp(st.status, "stopped"))
		r = hoy_fail(err, ESRCH, "container '%s' is not running", id);
	if (r >= 0 && rdt->count)
		r = rdt_update(&st, rdt, err);
	if (r >= 0 && resources->count && (st.no_cgroup || !*st.cgroup))
		r = hoy_fail(err, ENOENT, "container '%s' has no cgroup to limit", id);
	if (r >= 0 && resources->count)
		r = cgroup_open_existing(&cg, st.cgroup, err);
	if (r >= 0 && resources->count)
		r = cgroup_update(&cg, resources, err);
	cgroup_release(&cg);
	state_release(&st);
	return r;
}

int cmd_update(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const char *file = NULL, *l3 = NULL, *bandwidth = NULL, *values[ARRAY_SIZE(limits)] = { NULL };
	struct cli_opt opts[ARRAY_SIZE(limits) + 3] = {
		{ "resources", 'r', CLI_STR, &file, "FILE", "read a linux.resources object, '-': standard input" },
		{ "l3-cache-schema", 0, CLI_STR, &l3, "SCHEMA", "share of the caches (Intel RDT), \"L3:0=f\"" },
		{ "mem-bw-schema", 0, CLI_STR, &bandwidth, "SCHEMA", "share of the memory's bandwidth, \"MB:0=50\"" },
	};
	const struct cli cli = { "update [OPTION]... ID", opts, ARRAY_SIZE(opts), 1, 1, false };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT, rdt = HOY_JSON_DOC_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		opts[i + 3] = (struct cli_opt){ limits[i].option, 0, CLI_STR, &values[i], limits[i].arg, limits[i].help };
	if (cli_parse(&cli, argc, argv, err) < 0 || load(&doc, file, err) < 0 || load(&rdt, NULL, err) < 0)
		return -err->code;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (values[i] && add(&doc, &limits[i], values[i], err) < 0)
			return -err->code;
	if ((l3 && !hoy_json_set_string(&rdt, rdt.root, "l3CacheSchema", l3)) ||
	    (bandwidth && !hoy_json_set_string(&rdt, rdt.root, "memBwSchema", bandwidth)))
		return hoy_fail_oom(err);
	return apply(rt, argv[0], doc.root, rdt.root, err);
}
