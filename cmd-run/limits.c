/* cmd-run/limits.c: cgroup limits, ulimits, capabilities and security options of a definition. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "cmd-run/options.h"
#include "common/base/fd.h"
#include "common/data/units.h"
#include "common/oci/caps.h"

static void set_limit(struct ctr *c, const char *key, int64_t v)
{
	struct hoy_json *res = hoy_json_need(&c->def, c->def.root, "resources", HOY_JSON_OBJECT);

	if (res)
		hoy_json_set_int(&c->def, res, key, v);
}

static int size_limit(struct ctr *c, const char *key, const char *flag, const char *text, struct hoy_err *err)
{
	int64_t v = -1;

	if (!text)
		return 0;
	if (strcmp(text, "-1") && !hoy_size_parse(text, &v))
		return hoy_fail(err, EINVAL, "invalid value for --%s: '%s' is no size", flag, text);
	if (v)
		set_limit(c, key, v);
	return 0;
}

static int number(struct ctr *c, const char *key, const char *flag, const char *text, struct hoy_err *err)
{
	char *end;
	long long v;

	if (!text)
		return 0;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || *end || end == text)
		return hoy_fail(err, EINVAL, "invalid value for --%s: '%s' is no number", flag, text);
	if (v)
		set_limit(c, key, v);
	return 0;
}

static bool pids_controller(void)
{
	char buf[512];

	if (hoy_exists(AT_FDCWD, "/sys/fs/cgroup/pids"))
		return true;
	return hoy_read_small(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", buf, sizeof(buf)) > 0 && strstr(buf, "pids");
}

static void default_pids(struct ctr *c)
{
	int64_t v = hoy_json_int(hoy_json_get(conf(), "containers"), "pids_limit", 2048);

	/* An ordinary user has no cgroup to put a limit on, unless one was delegated: only what is asked for is tried. */
	if (v > 0 && !c->s->rootless && pids_controller())
		set_limit(c, "pids", v);
}

static int cpus(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	char *end;
	double v;

	if (!o->cpus)
		return 0;
	v = strtod(o->cpus, &end);
	if (*end || end == o->cpus || !isfinite(v) || v < 0 || v > 8192)
		return hoy_fail(err, EINVAL, "invalid value for --cpus: '%s'", o->cpus);
	if (o->cpu_period || o->cpu_quota)
		return hoy_fail(err, EINVAL, "conflicting options: --cpus and --cpu-period or --cpu-quota");
	if (v == 0)
		return 0;
	set_limit(c, "cpuPeriod", 100000);
	set_limit(c, "cpuQuota", (int64_t)(v * 100000));
	return 0;
}

static const struct { const char *name; int which; } rlimits[] = {
	{ "as", RLIMIT_AS }, { "core", RLIMIT_CORE }, { "cpu", RLIMIT_CPU }, { "data", RLIMIT_DATA }, { "fsize", RLIMIT_FSIZE },
	{ "locks", RLIMIT_LOCKS }, { "memlock", RLIMIT_MEMLOCK }, { "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE },
	{ "nofile", RLIMIT_NOFILE }, { "nproc", RLIMIT_NPROC }, { "rss", RLIMIT_RSS }, { "rtprio", RLIMIT_RTPRIO },
	{ "rttime", RLIMIT_RTTIME }, { "sigpending", RLIMIT_SIGPENDING }, { "stack", RLIMIT_STACK },
};

static bool rlim_value(const char *s, size_t len, int64_t *ret)
{
	char buf[32], *end;

	if (!len || len >= sizeof(buf))
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	if (!strcmp(buf, "unlimited") || !strcmp(buf, "-1")) {
		*ret = -1;
		return true;
	}
	errno = 0;
	*ret = strtoll(buf, &end, 10);
	return !errno && !*end && *ret >= 0;
}

static void put_ulimit(struct ctr *c, const char *name, int64_t soft, int64_t hard)
{
	struct hoy_json *all = def_array(c, "ulimits"), *u = NULL;
	char type[32] = "RLIMIT_";

	for (size_t i = 0; name[i] && i < 20; i++)
		type[7 + i] = (char)toupper((unsigned char)name[i]);
	for (struct hoy_json *it = all ? all->child : NULL; it; it = it->next)
		if (!strcmp(hoy_json_str(it, "type") ?: "", type))
			u = it;
	if (!u)
		u = hoy_json_put(&c->def, all, NULL, hoy_json_new(&c->def, HOY_JSON_OBJECT));
	if (!u)
		return;
	hoy_json_set_string(&c->def, u, "type", type);
	hoy_json_set_int(&c->def, u, "soft", soft);
	hoy_json_set_int(&c->def, u, "hard", hard);
}

/* "nofile=1024:4096": what was asked for is raised or it fails; -1 means our own hard limit. */
int define_ulimit(struct ctr *c, const char *text, struct hoy_err *err)
{
	const char *eq = strchr(text, '='), *colon = eq ? strchr(eq, ':') : NULL;
	int64_t soft, hard;
	size_t i, len = eq ? (size_t)(eq - text) : 0;

	for (i = 0; i < ARRAY_SIZE(rlimits); i++)
		if (strlen(rlimits[i].name) == len && !strncmp(rlimits[i].name, text, len))
			break;
	if (!eq || i == ARRAY_SIZE(rlimits))
		return hoy_fail(err, EINVAL, "invalid ulimit '%s': it has the form NAME=SOFT[:HARD]", text);
	if (!rlim_value(eq + 1, colon ? (size_t)(colon - eq - 1) : strlen(eq + 1), &soft) ||
	    (colon && !rlim_value(colon + 1, strlen(colon + 1), &hard)))
		return hoy_fail(err, EINVAL, "invalid ulimit '%s': no number", text);
	if (!colon)
		hard = soft;
	if (hard >= 0 && (soft < 0 || soft > hard))
		return hoy_fail(err, EINVAL, "ulimit soft limit must be less than or equal to hard limit: '%s'", text);
	put_ulimit(c, rlimits[i].name, soft, hard);
	return 0;
}

/* podman raises these two where it may; nothing above the hard limit that we ourselves have. */
static void default_ulimits(struct ctr *c)
{
	const struct hoy_json *list = hoy_json_path(conf(), "containers", "default_ulimits", NULL);
	static const char *const names[] = { "nofile", "nproc" };
	static const int which[] = { RLIMIT_NOFILE, RLIMIT_NPROC };

	if (hoy_json_is(list, HOY_JSON_ARRAY)) {
		HOY_JSON_EACH(it, list)
			if (hoy_json_text(it))
				(void)define_ulimit(c, it->str, NULL);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct rlimit rl;
		int64_t v = 1048576;

		if (getrlimit(which[i], &rl) < 0)
			continue;
		if (rl.rlim_max != RLIM_INFINITY && (int64_t)rl.rlim_max < v)
			v = (int64_t)rl.rlim_max;
		put_ulimit(c, names[i], v, v);
	}
}

int define_resources(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	struct hoy_json *res;
	int64_t mem, swap;
	int r = size_limit(c, "memory", "memory", o->memory, err);

	if (!r)
		r = size_limit(c, "memorySwap", "memory-swap", o->memory_swap, err);
	if (!r)
		r = size_limit(c, "memoryReservation", "memory-reservation", o->memory_reservation, err);
	if (!r)
		r = number(c, "cpuShares", "cpu-shares", o->cpu_shares, err);
	if (!r)
		r = number(c, "cpuPeriod", "cpu-period", o->cpu_period, err);
	if (!r)
		r = number(c, "cpuQuota", "cpu-quota", o->cpu_quota, err);
	if (!r)
		r = cpus(c, o, err);
	if (!r && o->pids_limit)
		r = number(c, "pids", "pids-limit", o->pids_limit, err);
	if (r < 0)
		return r;
	res = hoy_json_need(&c->def, c->def.root, "resources", HOY_JSON_OBJECT);
	if (o->cpuset_cpus)
		hoy_json_set_string(&c->def, res, "cpusetCpus", o->cpuset_cpus);
	if (o->cpuset_mems)
		hoy_json_set_string(&c->def, res, "cpusetMems", o->cpuset_mems);
	if (o->oom_kill_disable)
		hoy_json_set_bool(&c->def, res, "oomKillDisable", true);
	mem = hoy_json_int(res, "memory", 0);
	swap = hoy_json_int(res, "memorySwap", 0);
	if (mem > 0 && mem < 4 << 20)
		return hoy_fail(err, EINVAL, "minimum memory limit allowed is 4MB");
	if (mem > 0 && !swap)
		hoy_json_set_int(&c->def, res, "memorySwap", mem * 2);
	if (swap > 0 && swap < mem)
		return hoy_fail(err, EINVAL, "minimum memoryswap limit should be larger than memory limit, see usage");
	if (swap > 0 && !mem)
		return hoy_fail(err, EINVAL, "you should always set the memory limit when using memoryswap limit, see usage");
	return 0;
}

int define_limits(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	int r;

	if (!o->pids_limit)
		default_pids(c);
	r = define_resources(c, o, err);
	if (r < 0)
		return r;
	default_ulimits(c);
	for (size_t i = 0; i < o->ulimit.n && !r; i++)
		r = define_ulimit(c, o->ulimit.v[i], err);
	if (!r && o->oom_score_adj) {
		char *end;
		long v = strtol(o->oom_score_adj, &end, 10);

		if (*end || v < -1000 || v > 1000)
			return hoy_fail(err, EINVAL, "invalid value for --oom-score-adj: '%s'", o->oom_score_adj);
		hoy_json_set_int(&c->def, c->def.root, "oomScoreAdj", v);
	}
	return r;
}

/* The effective set: defaults, or all when privileged; "ALL" in add and drop as podman treats it. */
static int capabilities(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_path(conf(), "containers", "default_capabilities", NULL);
	uint64_t set = o->privileged ? hoy_caps_bounding() : 0, add = 0, drop = 0;
	struct hoy_json *arr = def_array(c, "caps");
	int r = 0;

	if (!o->privileged && !hoy_json_is(list, HOY_JSON_ARRAY))
		set = HOY_CAPS_DEFAULT;
	HOY_JSON_EACH(it, list)
		if (!o->privileged && hoy_json_text(it))
			r = r ? r : hoy_caps_parse(it->str, &set, err);
	for (size_t i = 0; i < o->cap_add.n && !r; i++)
		r = hoy_caps_parse(o->cap_add.v[i], &add, err);
	for (size_t i = 0; i < o->cap_drop.n && !r; i++)
		r = hoy_caps_parse(o->cap_drop.v[i], &drop, err);
	if (r < 0)
		return r;
	if (drop == HOY_CAPS_ALL)
		set = add;
	else
		set = (set | (add == HOY_CAPS_ALL ? hoy_caps_bounding() : add)) & ~drop;
	/* What we may not hand out ourselves cannot be asked for; "ALL" means all that there is. */
	if (add != HOY_CAPS_ALL && (add & ~drop & ~hoy_caps_bounding()))
		return hoy_fail(err, EPERM, "capability '%s' is not ours to give", hoy_cap_name(__builtin_ctzll(add & ~hoy_caps_bounding())));
	set &= hoy_caps_bounding();
	for (int i = 0; i < 64; i++)
		if (set >> i & 1)
			hoy_json_set_string(&c->def, arr, NULL, hoy_cap_name(i));
	def_list(c, "capAdd", &o->cap_add);
	def_list(c, "capDrop", &o->cap_drop);
	return 0;
}

static int security_opt(struct ctr *c, const char *opt, struct hoy_err *err)
{
	const char *value = strpbrk(opt, "=:");
	size_t len = value ? (size_t)(value - opt) : strlen(opt);

	value = value ? value + 1 : "";
#define IS(s) (len == strlen(s) && !strncmp(opt, s, len))
	if (IS("seccomp"))
		return hoy_json_set_string(&c->def, c->def.root, "seccomp", value) ? 0 : hoy_fail_oom(err);
	if (IS("no-new-privileges")) {
		if (*value && strcmp(value, "true") && strcmp(value, "false"))
			return hoy_fail(err, EINVAL, "invalid --security-opt '%s'", opt);
		hoy_json_set_bool(&c->def, c->def.root, "noNewPrivileges", strcmp(value, "false"));
		return 0;
	}
	if (IS("apparmor")) {
		if (strcmp(value, "unconfined") && !hoy_exists(AT_FDCWD, "/sys/kernel/security/apparmor/profiles"))
			return hoy_fail(err, HOY_EUNSUPPORTED, "apparmor profile \"%s\" specified, but AppArmor is not enabled on the system",
					value);
		return hoy_json_set_string(&c->def, c->def.root, "apparmor", value) ? 0 : hoy_fail_oom(err);
	}
	if (IS("label")) {
		/* Without SELinux a label has no effect, as in podman; with it we do not choose labels yet. */
		if (hoy_exists(AT_FDCWD, "/sys/fs/selinux/enforce") && strcmp(value, "disable"))
			return hoy_fail(err, HOY_EUNSUPPORTED, "SELinux labels are not supported (use label=disable)");
		return 0;
	}
	if (IS("mask") || IS("unmask")) {
		cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;
		struct hoy_json *arr = def_array(c, IS("mask") ? "mask" : "unmask");

		hoy_strv_split(&parts, value, ':');
		for (size_t i = 0; i < parts.n; i++)
			hoy_json_set_string(&c->def, arr, NULL, parts.v[i]);
		return 0;
	}
#undef IS
	return hoy_fail(err, EINVAL, "invalid --security-opt 2: \"%s\"", opt);
}

int define_security(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	int r = capabilities(c, o, err);

	for (size_t i = 0; i < o->security_opt.n && !r; i++)
		r = security_opt(c, o->security_opt.v[i], err);
	def_list(c, "securityOpt", &o->security_opt);
	return r;
}
