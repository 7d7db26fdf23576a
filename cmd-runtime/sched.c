/* When, where and with which memory a process runs: scheduler, I/O priority, CPUs, memory policy. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "cmd-runtime/runtime.h"

#define LIST_BITS 1024
#define WORD_BITS (8 * sizeof(unsigned long))
struct id_set {
	unsigned long w[LIST_BITS / WORD_BITS];
};

/* "0-3,7" as bits; false if it is something else. */
static bool parse_list(const char *s, struct id_set *set)
{
	*set = (struct id_set){ { 0 } };
	while (*s) {
		char *end;
		unsigned long from = strtoul(s, &end, 10), to = from;

		if (end == s || *s == '-' || *s == '+')
			return false;
		if (*end == '-') {
			s = end + 1;
			to = strtoul(s, &end, 10);
			if (end == s || *s == '-' || *s == '+')
				return false;
		}
		if (to < from || to >= LIST_BITS || (*end && *end != ','))
			return false;
		for (; from <= to; from++)
			set->w[from / WORD_BITS] |= 1UL << from % WORD_BITS;
		s = *end ? end + 1 : end;
		if (*end && !*s)
			return false;
	}
	return true;
}

int sched_set_cpus(const char *list, struct hoy_err *err)
{
	struct id_set set;

	if (!list || !*list)
		return 0;
	if (!parse_list(list, &set))
		return hoy_fail(err, EINVAL, "process.execCPUAffinity: '%s' is no list of CPUs", list);
	return syscall(SYS_sched_setaffinity, 0, sizeof(set), &set) < 0
		       ? hoy_fail_errno(err, errno, "cannot run on CPUs '%s'", list) : 0;
}

struct sched_attr_v0 {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static int lookup(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; name && i < n; i++)
		if (names[i] && !strcmp(names[i], name))
			return (int)i;
	return -1;
}

static int set_scheduler(const struct hoy_json *s, struct hoy_err *err)
{
	static const char *const policies[] = { "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO",
						"SCHED_IDLE", "SCHED_DEADLINE" };
	static const struct { const char *name; uint64_t flag; } flags[] = {
		{ "SCHED_FLAG_RESET_ON_FORK", 1 }, { "SCHED_FLAG_RECLAIM", 2 }, { "SCHED_FLAG_DL_OVERRUN", 4 },
		{ "SCHED_FLAG_KEEP_POLICY", 8 },   { "SCHED_FLAG_KEEP_PARAMS", 16 },
		{ "SCHED_FLAG_UTIL_CLAMP_MIN", 32 }, { "SCHED_FLAG_UTIL_CLAMP_MAX", 64 },
	};
	struct sched_attr_v0 a = { .size = sizeof(a) };
	int policy = lookup(hoy_json_str(s, "policy"), policies, ARRAY_SIZE(policies));

	if (policy < 0)
		return hoy_fail(err, EINVAL, "unknown process.scheduler.policy");
	a.policy = (uint32_t)policy;
	a.nice = (int32_t)hoy_json_int(s, "nice", 0);
	a.priority = (uint32_t)hoy_json_int(s, "priority", 0);
	a.runtime = (uint64_t)hoy_json_int(s, "runtime", 0);
	a.deadline = (uint64_t)hoy_json_int(s, "deadline", 0);
	a.period = (uint64_t)hoy_json_int(s, "period", 0);
	HOY_JSON_EACH(f, hoy_json_get(s, "flags")) {
		size_t i = 0;

		while (i < ARRAY_SIZE(flags) && (!hoy_json_text(f) || strcmp(hoy_json_text(f), flags[i].name)))
			i++;
		if (i == ARRAY_SIZE(flags))
			return hoy_fail(err, EINVAL, "unknown process.scheduler flag");
		a.flags |= flags[i].flag;
	}
	return syscall(SYS_sched_setattr, 0, &a, 0) < 0 ? hoy_fail_errno(err, errno, "cannot set the scheduler") : 0;
}

static int set_ioprio(const struct hoy_json *p, struct hoy_err *err)
{
	static const char *const classes[] = { NULL, "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE" };
	int class = lookup(hoy_json_str(p, "class"), classes, ARRAY_SIZE(classes));

	if (class < 0)
		return hoy_fail(err, EINVAL, "unknown process.ioPriority.class");
	return syscall(SYS_ioprio_set, 1, 0, class << 13 | (int)hoy_json_int(p, "priority", 0)) < 0
		       ? hoy_fail_errno(err, errno, "cannot set the I/O priority") : 0;
}

int sched_apply(const struct process *p, struct hoy_err *err)
{
	if (p->scheduler && set_scheduler(p->scheduler, err) < 0)
		return -err->code;
	return p->ioprio ? set_ioprio(p->ioprio, err) : 0;
}

#ifndef MPOL_PREFERRED_MANY
#define MPOL_PREFERRED_MANY 5
#endif
#ifndef MPOL_F_NUMA_BALANCING
#define MPOL_F_NUMA_BALANCING (1 << 13)
#endif
static const char *const policy_modes[] = { "MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_LOCAL",
					    "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE" };
static const struct { const char *name; int flag; } policy_flags[] = {
	{ "MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING },
	{ "MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES },
	{ "MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES },
};

void sched_policy_features(struct hoy_jw *w)
{
	hoy_jw_object(w, "memoryPolicy");
	hoy_jw_array(w, "modes");
	for (size_t i = 0; i < ARRAY_SIZE(policy_modes); i++)
		hoy_jw_string(w, NULL, policy_modes[i]);
	hoy_jw_end_array(w);
	hoy_jw_array(w, "flags");
	for (size_t i = 0; i < ARRAY_SIZE(policy_flags); i++)
		hoy_jw_string(w, NULL, policy_flags[i].name);
	hoy_jw_end_array(w);
	hoy_jw_end_object(w);
}

static int policy_flag(const struct hoy_json *j, struct hoy_err *err)
{
	const char *name = hoy_json_text(j);

	for (size_t i = 0; name && i < ARRAY_SIZE(policy_flags); i++)
		if (!strcmp(name, policy_flags[i].name))
			return policy_flags[i].flag;
	return hoy_fail(err, EINVAL, "unknown linux.memoryPolicy flag '%s'", name ? name : "");
}

int sched_memory_policy(const struct spec *s, struct hoy_err *err)
{
	const struct hoy_json *policy = hoy_json_get(s->linux_, "memoryPolicy");
	const char *name = hoy_json_str(policy, "mode"), *nodes = hoy_json_str(policy, "nodes");
	int mode = lookup(name, policy_modes, ARRAY_SIZE(policy_modes));
	struct id_set set;

	if (!policy)
		return 0;
	if (mode < 0)
		return hoy_fail(err, EINVAL, "unknown linux.memoryPolicy mode '%s'", name ? name : "");
	HOY_JSON_EACH(f, hoy_json_get(policy, "flags")) {
		int flag = policy_flag(f, err);

		if (flag < 0)
			return flag;
		mode |= flag;
	}
	nodes = nodes ? nodes : "";
	if (!parse_list(nodes, &set))
		return hoy_fail(err, EINVAL, "linux.memoryPolicy: '%s' is no list of nodes", nodes);
	if (syscall(SYS_set_mempolicy, mode, *nodes ? set.w : NULL, *nodes ? LIST_BITS + 1 : 0) < 0)
		return hoy_fail_errno(err, errno, "cannot set the memory policy '%s' for nodes '%s'", name, nodes);
	return 0;
}
