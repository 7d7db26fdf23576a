/* cmd-run/update.c: `update`: limits, restart policy, environment and health check of a container that is there already. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd-run/options.h"

struct update_opts {
	struct create_opts of; /* the same texts as create's; what was not given is NULL */
	bool latest;
};
#define O(f) offsetof(struct update_opts, f)
#define STR(name, field, arg, help) { 0, name, HOY_OPT_STRING, O(of.field), arg, help }
static const struct hoy_opt opts[] = {
	STR("cpu-period", cpu_period, "USEC", "length of a CPU period"),
	STR("cpu-quota", cpu_quota, "USEC", "CPU time in a period"),
	{ 'c', "cpu-shares", HOY_OPT_STRING, O(of.cpu_shares), "N", "relative weight of CPU time" },
	STR("cpus", cpus, "N", "number of CPUs"),
	STR("cpuset-cpus", cpuset_cpus, "LIST", "CPUs to run on"),
	STR("cpuset-mems", cpuset_mems, "LIST", "memory nodes to use"),
	{ 'e', "env", HOY_OPT_LIST, O(of.env), "NAME=VALUE", "set an environment variable, from the next start on" },
	STR("health-cmd", health_cmd, "COMMAND", "command that tells whether the container is healthy; none: do not check"),
	STR("health-interval", health_interval, "TIME", "time between checks, or disable"),
	STR("health-max-log-count", health_log_count, "N", "results to keep (0: all)"),
	STR("health-max-log-size", health_log_size, "N", "bytes of output to keep of each (0: no limit)"),
	STR("health-on-failure", health_on_failure, "ACTION", "when it is unhealthy: none, kill, restart or stop"),
	STR("health-retries", health_retries, "N", "failures in a row that make it unhealthy"),
	STR("health-start-period", health_start_period, "TIME", "time after the start in which failures do not count"),
	STR("health-startup-cmd", startup_cmd, "COMMAND", "command that must have succeeded before the others count"),
	STR("health-startup-interval", startup_interval, "TIME", "time between its runs, or disable"),
	STR("health-startup-retries", startup_retries, "N", "failures of it that restart the container"),
	STR("health-startup-success", startup_success, "N", "successes in a row that are enough"),
	STR("health-startup-timeout", startup_timeout, "TIME", "time that it may take"),
	STR("health-timeout", health_timeout, "TIME", "time that a check may take"),
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	{ 'm', "memory", HOY_OPT_STRING, O(of.memory), "SIZE", "limit of memory" },
	STR("memory-reservation", memory_reservation, "SIZE", "soft limit of memory"),
	STR("memory-swap", memory_swap, "SIZE", "limit of memory and swap, -1 for none"),
	{ 0, "no-healthcheck", HOY_OPT_FLAG, O(of.no_healthcheck), NULL, "no health checks any more" },
	STR("pids-limit", pids_limit, "N", "limit of processes, -1 for none"),
	STR("restart", restart, "POLICY", "no, never, always, on-failure[:N], unless-stopped"),
	{ 0, "ulimit", HOY_OPT_LIST, O(of.ulimit), "NAME=SOFT[:HARD]", "resource limit, from the next start on" },
	{ 0, "unsetenv", HOY_OPT_LIST, O(of.unsetenv), "NAME", "remove an environment variable, from the next start on" },
	HOY_OPTS_END,
};

static bool any_limit(const struct create_opts *o)
{
	return o->cpu_period || o->cpu_quota || o->cpu_shares || o->cpus || o->cpuset_cpus || o->cpuset_mems || o->memory || o->memory_reservation ||
	       o->memory_swap || o->pids_limit;
}

static bool any_health(const struct create_opts *o)
{
	return o->health_cmd || o->health_interval || o->health_log_count || o->health_log_size || o->health_on_failure || o->health_retries ||
	       o->health_start_period || o->health_timeout || o->startup_cmd || o->startup_interval || o->startup_retries || o->startup_success ||
	       o->startup_timeout || o->no_healthcheck;
}

/* The running container's cgroup, before anything is noted: the kernel may refuse. */
static int apply_limits(struct ctr *c, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf in = HOY_BUF_INIT(1 << 16), out = HOY_BUF_INIT(1 << 16), text = HOY_BUF_INIT(1 << 16);
	int code, r;

	write_resources(c, &in);
	runtime_argv(c, &argv);
	hoy_strv_push(&argv, "update");
	hoy_strv_push(&argv, "--resources");
	hoy_strv_push(&argv, "-");
	hoy_strv_push(&argv, c->id);
	if (argv.error || in.error)
		return hoy_fail_oom(err);
	r = run_tool(argv.v, in.data, in.len, &out, &text);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot run the OCI runtime '%s'", argv.v[0]);
	return r ? runtime_error(c, hoy_buf_str(&text), &code, err) : 0;
}

static int limits(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	struct hoy_json *res = hoy_json_need(&c->def, c->def.root, "resources", HOY_JSON_OBJECT);
	int r = 0;

	if (o->memory && !o->memory_swap)
		hoy_json_unset(res, "memorySwap"); /* twice the memory, unless something else is said */
	if (any_limit(o))
		r = define_resources(c, o, err);
	if (!r && any_limit(o) && ctr_pid(c))
		r = apply_limits(c, err);
	for (size_t i = 0; i < o->ulimit.n && !r; i++)
		r = define_ulimit(c, o->ulimit.v[i], err);
	return r;
}

static int environment(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv env = HOY_STRV_INIT, files = HOY_STRV_INIT;
	int r;

	if (!o->env.n && !o->unsetenv.n)
		return 0;
	HOY_JSON_EACH(it, hoy_json_get(c->def.root, "env"))
		hoy_strv_push(&env, it->str);
	r = add_env(&env, &files, &o->env, err);
	for (size_t i = 0; i < o->unsetenv.n; i++)
		hoy_env_unset(&env, o->unsetenv.v[i]);
	hoy_json_unset(c->def.root, "env");
	def_list(c, "env", &env);
	return r;
}

static int health(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc old = HOY_JSON_DOC_INIT;

	if (!any_health(o))
		return 0;
	if (hoy_json_get(c->def.root, "health"))
		old.root = hoy_json_copy(&old, hoy_json_get(c->def.root, "health"));
	if (old.root && !hoy_json_get(old.root, "Interval"))
		hoy_json_set_int(&old, old.root, "Interval", 0); /* not: as if nothing was ever said */
	if (!old.root && !o->health_cmd && !o->no_healthcheck)
		return hoy_fail(err, EINVAL, "container %.12s has no defined healthcheck: --health-cmd is needed", c->id);
	return define_health(c, o, old.root, err);
}

static int update(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	bool checked;
	int r = ctr_load_def(c, err);

	if (r < 0)
		return r;
	checked = health_checked(c);
	if (o->restart)
		r = define_restart(c, o->restart, hoy_json_bool(c->state.root, "rm", false), err);
	if (!r)
		r = environment(c, o, err);
	if (!r)
		r = health(c, o, err);
	if (!r)
		r = limits(c, o, err);
	if (!r)
		r = ctr_save_def(c, err);
	if (!r)
		r = ctr_save_state(c, err);
	if (r < 0)
		return r;
	event(c, "update", -1);
	if (!ctr_pid(c) || !any_health(o))
		return 0;
	if (!checked && health_checked(c))
		health_begin(c);
	else
		health_schedule(c);
	return 0;
}

static int run_update(const struct hoy_verb *v, int argc, char **argv)
{
	struct update_opts o = { .of.http_proxy = 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int status = 125, r, n = hoy_verb_args(v, argc, argv, &o, 0, 1, &status);

	if (n < 0)
		return status;
	if (!n && !o.latest) {
		hoy_error("\"hoy update\" requires a name, id, or the \"--latest\" flag");
		return 125;
	}
	s = open_store(0);
	r = s ? pick(s, n, argv + 1, false, o.latest, &ids, &err) : -EIO;
	if (!r)
		r = ctr_open(&c, s, ids.v[0], &err);
	if (!r)
		r = ctr_lock(&c, &err);
	if (!r)
		r = update(&c, &o.of, &err);
	create_opts_release(&o.of);
	if (r < 0)
		return s ? hoy_report(&err, 125) : 125;
	puts(c.id);
	return hoy_finish_stdout(0);
}
const struct hoy_verb verb_update = { "update", "[options] CONTAINER", "Change the limits of a container", opts, run_update, false };
