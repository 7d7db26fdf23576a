/* cmd-build/ctropts.h: what `from` can ask for, and a build that keeps its containers: settings of a working container. */
#pragma once
#include "cmd-build/ctr.h"

struct ctr_opts {
	struct hoy_strv add_host, cap_add, cap_drop, device, dns, dns_option, dns_search, group_add, security_opt, ulimit, volume,
		decryption_key;
	const char *arch, *authfile, *cert_dir, *cgroup_parent, *cgroupns, *cidfile, *cpuset_cpus, *cpuset_mems, *creds, *format, *ipc,
		*isolation, *memory, *memory_swap, *name, *network, *os, *pid, *platform, *pull, *retry_delay, *shm_size, *uts, *variant;
	int64_t cpu_period, cpu_quota, cpu_shares, retry;
	int http_proxy, tls_verify;
	bool quiet;
	struct userns_opts userns;
};
/* Nothing is asked for. */
#define CTR_OPTS_INIT { .http_proxy = -1, .tls_verify = -1, .retry = -1 }
/* Note in C's settings what O asks for, and what containers.conf does. 0 or an error. */
int ctr_set_options(struct ctr *c, const struct ctr_opts *o);
