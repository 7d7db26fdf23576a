/* linux.resources on cgroup v2, whose files mean partly other things than the members, which are v1's. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-runtime/runtime.h"

static int put(int dir, const char *file, const char *value, struct hoy_err *err)
{
	int r = hoy_write_small(dir, file, value);

	/* Not ENOENT, which callers would take for a missing command. */
	if (r == -ENOENT)
		return hoy_fail(err, ENODEV, "cannot set '%s': the cgroup controller '%.*s' is not available", file,
				(int)strcspn(file, "."), file);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s' to '%s'", value, file) : 0;
}

static int put_number(int dir, const char *file, int64_t n, struct hoy_err *err)
{
	char text[24] = "max";

	if (n >= 0)
		snprintf(text, sizeof(text), "%lld", (long long)n);
	return put(dir, file, text, err);
}

/* Enable, on the way from MOUNT to PATH, the controllers that the root offers and PATH lacks. */
int cgroup_v2_controllers(const char *mount, const char *path, struct hoy_err *err)
{
	char dir[PATH_MAX], file[PATH_MAX + 32], want[512], have[512], *save = NULL, line[600] = "";

	snprintf(file, sizeof(file), "%s/cgroup.controllers", mount);
	if (hoy_read_small(AT_FDCWD, file, want, sizeof(want)) < 0)
		return 0;
	snprintf(file, sizeof(file), "%s%s/cgroup.controllers", mount, path);
	if (hoy_read_small(AT_FDCWD, file, have, sizeof(have)) < 0 || !strcmp(want, have))
		return 0;
	for (char *c = strtok_r(want, " ", &save); c; c = strtok_r(NULL, " ", &save))
		snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s+%s", *line ? " " : "", c);
	if (snprintf(dir, sizeof(dir), "%s%s", mount, path) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	for (char *p = dir + strlen(mount); p; p = strchr(p + 1, '/')) {
		char one[64], *c = line;

		*p = '\0';
		snprintf(file, sizeof(file), "%s/cgroup.subtree_control", dir);
		/* All at once, or whatever can be had: what is missing shows when its file is written. */
		if (hoy_write_small(AT_FDCWD, file, line) < 0)
			while (sscanf(c, "%63s", one) == 1) {
				(void)hoy_write_small(AT_FDCWD, file, one);
				c += strlen(one) + (c[strlen(one)] == ' ');
			}
		*p = '/';
	}
	return 0;
}

static double log2_of(double x)
{
	double r = 0, step = 0.5;

	for (; x >= 2; x /= 2)
		r++;
	for (int i = 0; i < 50; i++, step /= 2) {
		x *= x;
		if (x >= 2) {
			x /= 2;
			r += step;
		}
	}
	return r;
}

static double exp2_of(double x)
{
	double term = 1, sum = 1, frac = x - (int)x;

	for (int i = 1; i < 30; i++) {
		term *= frac * 0.69314718055994530942 / i;
		sum += term;
	}
	return x < 0 ? sum / (double)(1ULL << -(int)x) : sum * (double)(1ULL << (int)x);
}

/* 2 -> 1, 1024 -> 100, 262144 -> 10000, by the curve that all runtimes have agreed on. */
static int64_t weight_of_shares(int64_t shares)
{
	double l, w;

	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	l = log2_of((double)shares);
	w = exp2_of(((l * l + 125 * l) / 612.0 - 7.0 / 34.0) * 3.32192809488736234787);
	return (int64_t)w + (w > (double)(int64_t)w + 1e-9);
}

static int put_cpu(int dir, const struct hoy_json *cpu, struct hoy_err *err)
{
	int64_t shares = hoy_json_int(cpu, "shares", 0), quota = hoy_json_int(cpu, "quota", 0);
	int64_t period = hoy_json_int(cpu, "period", 0);
	const char *cpus = hoy_json_str(cpu, "cpus"), *mems = hoy_json_str(cpu, "mems");
	char line[64];

	if (hoy_json_int(cpu, "realtimeRuntime", 0) || hoy_json_int(cpu, "realtimePeriod", 0))
		return hoy_fail(err, HOY_EUNSUPPORTED, "realtime limits are not supported on cgroup v2");
	if (hoy_json_get(cpu, "idle") && put_number(dir, "cpu.idle", hoy_json_int(cpu, "idle", 0), err) < 0)
		return -err->code;
	if (shares > 0 && put_number(dir, "cpu.weight", weight_of_shares(shares), err) < 0)
		return -err->code;
	if (hoy_json_get(cpu, "burst") && put_number(dir, "cpu.max.burst", hoy_json_int(cpu, "burst", 0), err) < 0)
		return -err->code;
	if (quota || period) {
		char q[24] = "max";

		if (quota > 0)
			snprintf(q, sizeof(q), "%lld", (long long)quota);
		snprintf(line, sizeof(line), "%s %lld", q, (long long)(period > 0 ? period : 100000));
		if (put(dir, "cpu.max", line, err) < 0)
			return -err->code;
	}
	if (cpus && *cpus && put(dir, "cpuset.cpus", cpus, err) < 0)
		return -err->code;
	return mems && *mems ? put(dir, "cpuset.mems", mems, err) : 0;
}

static int put_memory(int dir, const struct hoy_json *m, struct hoy_err *err)
{
	int64_t limit = hoy_json_int(m, "limit", 0), swap = hoy_json_int(m, "swap", 0);
	int64_t low = hoy_json_int(m, "reservation", 0);

	if (hoy_json_int(m, "kernelTCP", 0) || hoy_json_get(m, "swappiness") || hoy_json_bool(m, "disableOOMKiller", false))
		return hoy_fail(err, HOY_EUNSUPPORTED,
				"memory.kernelTCP, swappiness and disableOOMKiller are not supported on cgroup v2");
	/* The member counts memory and swap, the file swap alone. */
	if (swap > 0 && limit > 0 && swap < limit)
		return hoy_fail(err, EINVAL, "memory.swap must not be less than memory.limit");
	if (swap > 0 && limit <= 0)
		return hoy_fail(err, EINVAL, "cannot set memory.swap without memory.limit");
	if (swap > 0 || (swap == -1 && hoy_exists(dir, "memory.swap.max")))
		if (put_number(dir, "memory.swap.max", swap > 0 ? swap - limit : -1, err) < 0)
			return -err->code;
	if (limit && hoy_json_bool(m, "checkBeforeUpdate", false) && limit > 0) {
		char now[32];

		if (hoy_read_small(dir, "memory.current", now, sizeof(now)) > 0 && atoll(now) > limit)
			return hoy_fail(err, EBUSY, "memory.limit %lld is less than what is used", (long long)limit);
	}
	if (limit && put_number(dir, "memory.max", limit, err) < 0)
		return -err->code;
	return low ? put_number(dir, "memory.low", low, err) : 0;
}

static int put_io(int dir, const struct hoy_json *io, struct hoy_err *err)
{
	static const struct { const char *member, *key; } lists[] = {
		{ "throttleReadBpsDevice", "rbps" }, { "throttleWriteBpsDevice", "wbps" },
		{ "throttleReadIOPSDevice", "riops" }, { "throttleWriteIOPSDevice", "wiops" },
	};
	int64_t weight = hoy_json_int(io, "weight", 0);
	bool bfq = hoy_exists(dir, "io.bfq.weight");
	char line[96];

	/* 10..1000 for bfq as it is; 1..10000 else. */
	if (weight > 0 && put_number(dir, bfq ? "io.bfq.weight" : "io.weight",
				     bfq ? weight : 1 + (weight - 10) * 9999 / 990, err) < 0)
		return -err->code;
	HOY_JSON_EACH(d, hoy_json_get(io, "weightDevice")) {
		snprintf(line, sizeof(line), "%lld:%lld %lld", (long long)hoy_json_int(d, "major", 0),
			 (long long)hoy_json_int(d, "minor", 0), (long long)hoy_json_int(d, "weight", 0));
		if (put(dir, "io.bfq.weight", line, err) < 0)
			return -err->code;
	}
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		HOY_JSON_EACH(d, hoy_json_get(io, lists[i].member)) {
			snprintf(line, sizeof(line), "%lld:%lld %s=%lld", (long long)hoy_json_int(d, "major", 0),
				 (long long)hoy_json_int(d, "minor", 0), lists[i].key, (long long)hoy_json_int(d, "rate", 0));
			if (put(dir, "io.max", line, err) < 0)
				return -err->code;
		}
	return 0;
}

static int put_lists(int dir, const struct hoy_json *res, struct hoy_err *err)
{
	char file[128], line[256];

	HOY_JSON_EACH(h, hoy_json_get(res, "hugepageLimits")) {
		const struct hoy_json *limit = hoy_json_get(h, "limit");

		snprintf(file, sizeof(file), "hugetlb.%s.max", hoy_json_str(h, "pageSize"));
		if (strchr(file, '/') || !hoy_json_is(limit, HOY_JSON_NUMBER))
			return hoy_fail(err, EINVAL, "bad entry in hugepageLimits");
		if (put(dir, file, limit->str, err) < 0)
			return -err->code;
	}
	HOY_JSON_EACH(d, hoy_json_get(res, "rdma")) {
		int n = snprintf(line, sizeof(line), "%s", d->key);

		if (hoy_json_get(d, "hcaHandles"))
			n += snprintf(line + n, sizeof(line) - n, " hca_handle=%lld", (long long)hoy_json_int(d, "hcaHandles", 0));
		if (hoy_json_get(d, "hcaObjects"))
			snprintf(line + n, sizeof(line) - n, " hca_object=%lld", (long long)hoy_json_int(d, "hcaObjects", 0));
		if (put(dir, "rdma.max", line, err) < 0)
			return -err->code;
	}
	HOY_JSON_EACH(u, hoy_json_get(res, "unified")) {
		if (strchr(u->key, '/') || !hoy_json_text(u))
			return hoy_fail(err, EINVAL, "linux.resources.unified: bad file name '%s'", u->key);
		if (put(dir, u->key, hoy_json_text(u), err) < 0)
			return -err->code;
	}
	if (hoy_json_get(res, "network") && hoy_json_get(res, "network")->count)
		return hoy_fail(err, HOY_EUNSUPPORTED, "linux.resources.network is not supported on cgroup v2");
	return 0;
}

int cgroup_v2_limits(int dir, const struct hoy_json *res, bool devices, struct hoy_err *err)
{
	int64_t pids;

	if (!res || dir < 0)
		return 0;
	if (put_cpu(dir, hoy_json_get(res, "cpu"), err) < 0 || put_memory(dir, hoy_json_get(res, "memory"), err) < 0 ||
	    put_io(dir, hoy_json_get(res, "blockIO"), err) < 0)
		return -err->code;
	if (hoy_json_int64(hoy_json_path(res, "pids", "limit", NULL), &pids) &&
	    put_number(dir, "pids.max", pids > 0 ? pids : -1, err) < 0)
		return -err->code;
	if (put_lists(dir, res, err) < 0)
		return -err->code;
	return devices ? devbpf_attach(dir, hoy_json_get(res, "devices"), err) : 0;
}
