/* cmd-run/options.h: the options of run and create. */
#pragma once
#include "cmd-run/run.h"

struct create_opts {
	/* of run alone */
	bool detach, rmi, once; /* once: made by `run` */
	int sig_proxy;
	const char *detach_keys;
	int64_t preserve_fds;
	/* of both */
	bool tty, interactive, rm, privileged, read_only, replace, quiet, publish_all, no_hosts, env_host, init, no_hostname, oom_kill_disable,
		rootfs, tls_verify_given, no_healthcheck, no_pivot;
	int read_only_tmpfs, http_proxy, tls_verify, passwd;
	const char *name, *workdir, *user, *entrypoint, *hostname, *memory, *memory_swap, *memory_reservation, *cpus, *cpuset_cpus,
		*cpuset_mems, *pull, *platform, *arch, *os, *variant, *authfile, *creds, *stop_signal, *shm_size, *pid, *ipc, *uts, *userns,
		*cgroupns, *restart, *log_driver, *umask, *tz, *cidfile, *pidfile, *conmon_pidfile, *ip, *ip6, *mac, *image_volume, *timeout,
		*systemd, *cgroup_parent, *cgroups, *stop_timeout, *pids_limit, *oom_score_adj, *cpu_shares, *cpu_quota, *cpu_period, *init_path, *subuidname, *subgidname, *passwd_entry,
		*group_entry, *health_cmd, *health_interval, *health_timeout, *health_start_period, *health_retries, *health_on_failure,
		*health_log_count, *health_log_size, *startup_cmd, *startup_interval, *startup_retries, *startup_success, *startup_timeout;
	struct hoy_strv env, env_file, unsetenv, publish, expose, volume, mount, tmpfs, network, network_alias, cap_add, cap_drop,
		security_opt, ulimit, label, label_file, annotation, attach, device, group_add, dns, dns_search, dns_option, add_host, sysctl,
		log_opt, uidmap, gidmap, hostuser;
};
extern const struct hoy_opt run_options[];
extern const struct hoy_opt *const create_options; /* run's without the first, which are about being attached */
void create_opts_release(struct create_opts *o);

/* options.c: O and the command line (IMAGE [COMMAND...]) into C->def, from the image's config CFG (NULL with --rootfs). */
int define(struct ctr *c, const struct create_opts *o, char **command, const struct hoy_json *cfg, struct hoy_err *err);
/* limits.c: cgroup limits, ulimits, capabilities, security options. */
/* The part of it that is about the cgroup, which can be changed later. */
int define_resources(struct ctr *c, const struct create_opts *o, struct hoy_err *err);
/* One --ulimit. */
int define_ulimit(struct ctr *c, const char *text, struct hoy_err *err);
/* options.c: --restart. */
int define_restart(struct ctr *c, const char *policy, bool rm, struct hoy_err *err);
int define_limits(struct ctr *c, const struct create_opts *o, struct hoy_err *err);
int define_security(struct ctr *c, const struct create_opts *o, struct hoy_err *err);
/* userns.c: the user namespace; IMAGE_USER is the image's, or NULL. After the definition's user. */
int define_userns(struct ctr *c, const struct create_opts *o, const char *image_user, struct hoy_err *err);
/* idmaps.c: what --uidmap and --gidmap say, added to RET; one text of --userns=auto, KIND "UID" or "GID"; a number as Go reads it. */
int parse_idmaps(const struct hoy_strv *uids, const struct hoy_strv *gids, struct hoy_idmaps *ret, struct hoy_err *err);
int parse_auto_map(const char *text, const char *kind, struct hoy_idmap *ret, struct hoy_err *err);
int parse_uint32(const char *text, uint32_t *ret, struct hoy_err *err);
/* health.c: the health check; IMAGE is the image's Healthcheck, or NULL. */
int define_health(struct ctr *c, const struct create_opts *o, const struct hoy_json *image, struct hoy_err *err);
/* env.c */
int define_env(struct ctr *c, const struct create_opts *o, const struct hoy_json *image_env, struct hoy_err *err);

/* Shorthands on C->def. */
static inline struct hoy_json *def_array(struct ctr *c, const char *key)
{
	return hoy_json_need(&c->def, c->def.root, key, HOY_JSON_ARRAY);
}
void def_list(struct ctr *c, const char *key, const struct hoy_strv *list);
