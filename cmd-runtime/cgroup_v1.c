/* linux.resources on cgroup v1: a table from members to files, and the few that are not one number in one file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-runtime/runtime.h"

static const struct entry {
	const char *section, *member, *controller, *file;
} table[] = {
	{ "cpu", "shares", "cpu", "cpu.shares" },
	{ "cpu", "period", "cpu", "cpu.cfs_period_us" },
	{ "cpu", "quota", "cpu", "cpu.cfs_quota_us" },
	{ "cpu", "burst", "cpu", "cpu.cfs_burst_us" },
	{ "cpu", "realtimePeriod", "cpu", "cpu.rt_period_us" },
	{ "cpu", "realtimeRuntime", "cpu", "cpu.rt_runtime_us" },
	{ "cpu", "idle", "cpu", "cpu.idle" },
	{ "cpu", "cpus", "cpuset", "cpuset.cpus" },
	{ "cpu", "mems", "cpuset", "cpuset.mems" },
	{ "memory", "reservation", "memory", "memory.soft_limit_in_bytes" },
	{ "memory", "kernel", "memory", "memory.kmem.limit_in_bytes" },
	{ "memory", "kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes" },
	{ "memory", "swappiness", "memory", "memory.swappiness" },
	{ "memory", "disableOOMKiller", "memory", "memory.oom_control" },
	{ "memory", "useHierarchy", "memory", "memory.use_hierarchy" },
	{ "blockIO", "weight", "blkio", "blkio.weight" },
	{ "blockIO", "leafWeight", "blkio", "blkio.leaf_weight" },
	{ "network", "classID", "net_cls", "net_cls.classid" },
};

static int find_dir(struct cgroup *cg, const char *controller)
{
	struct hoy_cgroup_hier *h = hoy_cgroups_with(&cg->all, controller);

	return h ? cg->dir[h - cg->all.h] : -1;
}

static int put(struct cgroup *cg, const char *controller, const char *file, const char *value, struct hoy_err *err)
{
	int dir = find_dir(cg, controller), r = dir < 0 ? -ENODEV : hoy_write_small(dir, file, value);

	if (r == -ENODEV)
		return hoy_fail(err, ENODEV, "cannot set %s: there is no cgroup controller '%s'", file, controller);
	if (r == -ENOENT)
		return hoy_fail(err, ENODEV, "cannot set '%s': this kernel does not have it", file);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s' to '%s'", value, file) : 0;
}

static const char *value_text(const struct hoy_json *v)
{
	if (hoy_json_is(v, HOY_JSON_BOOL))
		return v->boolean ? "1" : NULL;
	return hoy_json_is(v, HOY_JSON_NUMBER) ? v->str : hoy_json_text(v);
}

static int put_entry(struct cgroup *cg, const struct hoy_json *res, const struct entry *e, struct hoy_err *err)
{
	const char *value = value_text(hoy_json_path(res, e->section, e->member, NULL)), *file = e->file;

	if (!value || !*value)
		return 0;
	/* Both I/O schedulers have had the name; newer kernels only this one. */
	if (!strcmp(file, "blkio.weight") && !hoy_exists(find_dir(cg, "blkio"), file))
		file = "blkio.bfq.weight";
	/* Engines write 0 for what is not set, but where 0 says something. */
	if (!strcmp(value, "0") && strcmp(e->controller, "cpuset") && strcmp(e->member, "idle") && strcmp(e->member, "swappiness"))
		return 0;
	return put(cg, e->controller, file, value, err);
}

/* The limit must never exceed memory+swap, whichever of them moves first. */
static int put_memory(struct cgroup *cg, const struct hoy_json *res, struct hoy_err *err)
{
	const char *limit = value_text(hoy_json_path(res, "memory", "limit", NULL));
	const char *swap = value_text(hoy_json_path(res, "memory", "swap", NULL));
	static const char lf[] = "memory.limit_in_bytes", sf[] = "memory.memsw.limit_in_bytes";
	int dir = find_dir(cg, "memory");

	if (swap && (!strcmp(swap, "0") || (!strcmp(swap, "-1") && dir >= 0 && !hoy_exists(dir, sf))))
		swap = NULL;
	if (limit && !strcmp(limit, "0"))
		limit = NULL;
	if (limit && swap && dir >= 0 && hoy_write_small(dir, lf, limit) < 0)
		return put(cg, "memory", sf, swap, err) < 0 ? -err->code : put(cg, "memory", lf, limit, err);
	if (limit && !swap && put(cg, "memory", lf, limit, err) < 0)
		return -err->code;
	return swap ? put(cg, "memory", sf, swap, err) : 0;
}

static int put_pids(struct cgroup *cg, const struct hoy_json *res, struct hoy_err *err)
{
	const struct hoy_json *l = hoy_json_path(res, "pids", "limit", NULL);
	int64_t n;

	if (!hoy_json_int64(l, &n))
		return 0;
	return put(cg, "pids", "pids.max", n > 0 ? l->str : "max", err);
}

static int put_throttles(struct cgroup *cg, const struct hoy_json *io, struct hoy_err *err)
{
	static const struct { const char *member, *file, *value; } lists[] = {
		{ "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rate" },
		{ "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "rate" },
		{ "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "rate" },
		{ "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "rate" },
		{ "weightDevice", "blkio.weight_device", "weight" },
		{ "weightDevice", "blkio.leaf_weight_device", "leafWeight" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		HOY_JSON_EACH(d, hoy_json_get(io, lists[i].member)) {
			int dir = find_dir(cg, "blkio");
			const char *file = lists[i].file;
			char line[96];

			if (!hoy_json_get(d, lists[i].value))
				continue;
			if (i == 4 && !hoy_exists(dir, file))
				file = "blkio.bfq.weight_device";
			snprintf(line, sizeof(line), "%lld:%lld %lld", (long long)hoy_json_int(d, "major", 0),
				 (long long)hoy_json_int(d, "minor", 0), (long long)hoy_json_int(d, lists[i].value, 0));
			if (put(cg, "blkio", file, line, err) < 0)
				return -err->code;
		}
	return 0;
}

static int put_lists(struct cgroup *cg, const struct hoy_json *res, struct hoy_err *err)
{
	char file[128], line[320];

	HOY_JSON_EACH(h, hoy_json_get(res, "hugepageLimits")) {
		snprintf(file, sizeof(file), "hugetlb.%s.limit_in_bytes", hoy_json_str(h, "pageSize"));
		if (strchr(file, '/') || put(cg, "hugetlb", file, value_text(hoy_json_get(h, "limit")), err) < 0)
			return err->code ? -err->code : hoy_fail(err, EINVAL, "bad page size in hugepageLimits");
	}
	HOY_JSON_EACH(p, hoy_json_path(res, "network", "priorities", NULL)) {
		snprintf(line, sizeof(line), "%s %lld", hoy_json_str(p, "name"), (long long)hoy_json_int(p, "priority", 0));
		if (put(cg, "net_prio", "net_prio.ifpriomap", line, err) < 0)
			return -err->code;
	}
	if (hoy_json_get(res, "unified") && hoy_json_get(res, "unified")->count)
		return hoy_fail(err, HOY_EUNSUPPORTED, "linux.resources.unified needs cgroup v2");
	if (hoy_json_get(res, "rdma") && hoy_json_get(res, "rdma")->count)
		return hoy_fail(err, HOY_EUNSUPPORTED, "linux.resources.rdma needs cgroup v2");
	return 0;
}

static int write_rule(int allow, int deny, const struct dev_rule *d, struct hoy_err *err)
{
	char line[64], ma[24] = "*", mi[24] = "*";

	if (d->type == 'a') {
		snprintf(line, sizeof(line), "a");
	} else {
		if (d->major >= 0)
			snprintf(ma, sizeof(ma), "%lld", (long long)d->major);
		if (d->minor >= 0)
			snprintf(mi, sizeof(mi), "%lld", (long long)d->minor);
		snprintf(line, sizeof(line), "%c %s:%s %s", d->type, ma, mi, d->access);
	}
	return write(d->allow ? allow : deny, line, strlen(line)) < 0
		       ? hoy_fail_errno(err, errno, "cannot write '%s' to 'devices.%s'", line, d->allow ? "allow" : "deny") : 0;
}

static int put_devices(struct cgroup *cg, const struct hoy_json *rules, struct hoy_err *err)
{
	int dir = find_dir(cg, "devices");
	cleanup_fd int allow = -1, deny = -1;

	if (!rules || !rules->count || dir < 0)
		return 0; /* no rules: as the host; no controller: nothing could be kept */
	allow = openat(dir, "devices.allow", O_WRONLY | O_CLOEXEC);
	deny = openat(dir, "devices.deny", O_WRONLY | O_CLOEXEC);
	if (allow < 0 || deny < 0)
		return hoy_fail_errno(err, errno, "cannot open 'devices.allow'");
	HOY_JSON_EACH(j, rules) {
		struct dev_rule d;

		if (dev_rule_parse(j, &d, err) < 0 || write_rule(allow, deny, &d, err) < 0)
			return -err->code;
	}
	for (size_t i = 0; i < dev_default_rules_n; i++)
		if (write_rule(allow, deny, &dev_default_rules[i], err) < 0)
			return -err->code;
	return 0;
}

int cgroup_v1_limits(struct cgroup *cg, const struct hoy_json *res, bool devices, struct hoy_err *err)
{
	if (!res)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (put_entry(cg, res, &table[i], err) < 0)
			return -err->code;
	if (put_memory(cg, res, err) < 0 || put_pids(cg, res, err) < 0 ||
	    put_throttles(cg, hoy_json_get(res, "blockIO"), err) < 0 || put_lists(cg, res, err) < 0)
		return -err->code;
	return devices ? put_devices(cg, hoy_json_get(res, "devices"), err) : 0;
}
