/* cmd-run/options.c: the option table of run and create, and the plain parts of the definition. */
#include "cmd-run/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf/dirs.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/proc/signal.h"

#define O(field) offsetof(struct create_opts, field)
#define FLAG(letter, name, field, help) { letter, name, HOY_OPT_FLAG, O(field), NULL, help }
#define STR(letter, name, field, arg, help) { letter, name, HOY_OPT_STRING, O(field), arg, help }
#define LIST(letter, name, field, arg, help) { letter, name, HOY_OPT_LIST, O(field), arg, help }
#define COMMAS(letter, name, field, arg, help) { letter, name, HOY_OPT_COMMAS, O(field), arg, help }

const struct hoy_opt run_options[] = {
	FLAG('d', "detach", detach, "print the container's id and leave it running"),
	STR(0, "detach-keys", detach_keys, "KEYS", "keys that detach (default ctrl-p,ctrl-q)"),
	{ 0, "preserve-fds", HOY_OPT_INT, O(preserve_fds), "N", "pass on N file descriptors beside the first three" },
	FLAG(0, "rmi", rmi, "remove the image after the container"),
	{ 0, "sig-proxy", HOY_OPT_TRI, O(sig_proxy), NULL, "pass signals on (default true)" },
	LIST(0, "add-host", add_host, "HOST:IP", "add a line to /etc/hosts"),
	LIST(0, "annotation", annotation, "KEY=VALUE", "add an annotation"),
	STR(0, "arch", arch, "ARCH", "architecture of the image to pull"),
	LIST('a', "attach", attach, "STREAM", "attach to stdin, stdout or stderr"),
	STR(0, "authfile", authfile, "PATH", "file with the registries' credentials"),
	COMMAS(0, "cap-add", cap_add, "CAP", "add a capability"),
	COMMAS(0, "cap-drop", cap_drop, "CAP", "drop a capability"),
	STR(0, "cgroup-parent", cgroup_parent, "PATH", "cgroup to put the container's into"),
	STR(0, "cgroupns", cgroupns, "MODE", "cgroup namespace: private or host"),
	STR(0, "cgroups", cgroups, "MODE", "enabled or disabled"),
	STR(0, "cidfile", cidfile, "PATH", "write the container's id to a file"),
	STR(0, "conmon-pidfile", conmon_pidfile, "PATH", "write the monitor's pid to a file"),
	STR(0, "cpu-period", cpu_period, "USEC", "length of a CPU period"),
	STR(0, "cpu-quota", cpu_quota, "USEC", "CPU time in a period"),
	STR('c', "cpu-shares", cpu_shares, "N", "relative weight of CPU time"),
	STR(0, "cpus", cpus, "N", "number of CPUs"),
	STR(0, "cpuset-cpus", cpuset_cpus, "LIST", "CPUs to run on"),
	STR(0, "cpuset-mems", cpuset_mems, "LIST", "memory nodes to use"),
	STR(0, "creds", creds, "USER[:PASSWORD]", "credentials for the registry"),
	LIST(0, "device", device, "PATH[:PATH[:rwm]]", "add a device of the host"),
	COMMAS(0, "dns", dns, "IP", "name server"),
	COMMAS(0, "dns-option", dns_option, "OPTION", "option of the resolver"),
	COMMAS(0, "dns-search", dns_search, "DOMAIN", "search domain"),
	STR(0, "entrypoint", entrypoint, "COMMAND", "instead of the image's entrypoint"),
	LIST('e', "env", env, "NAME[=VALUE]", "set an environment variable"),
	LIST(0, "env-file", env_file, "PATH", "read environment variables from a file"),
	FLAG(0, "env-host", env_host, "pass on our own environment"),
	COMMAS(0, "expose", expose, "PORT", "note a port that the container listens on"),
	COMMAS(0, "gidmap", gidmap, "INSIDE:OUTSIDE[:SIZE]", "map group ids in a user namespace"),
	COMMAS(0, "group-add", group_add, "GROUP", "add a supplementary group"),
	STR(0, "group-entry", group_entry, "LINE", "what to add to /etc/group: $GROUPNAME, $GID, $USERLIST"),
	STR(0, "health-cmd", health_cmd, "COMMAND", "command that tells whether the container is healthy; none: do not check"),
	STR(0, "health-interval", health_interval, "TIME", "time between checks (default 30s), or disable"),
	STR(0, "health-max-log-count", health_log_count, "N", "results to keep (default 5, 0: all)"),
	STR(0, "health-max-log-size", health_log_size, "N", "bytes of output to keep of each (default 500, 0: no limit)"),
	STR(0, "health-on-failure", health_on_failure, "ACTION", "when it is unhealthy: none, kill, restart or stop"),
	STR(0, "health-retries", health_retries, "N", "failures in a row that make it unhealthy (default 3)"),
	STR(0, "health-start-period", health_start_period, "TIME", "time after the start in which failures do not count"),
	STR(0, "health-startup-cmd", startup_cmd, "COMMAND", "command that must have succeeded before the others count"),
	STR(0, "health-startup-interval", startup_interval, "TIME", "time between its runs (default 30s), or disable"),
	STR(0, "health-startup-retries", startup_retries, "N", "failures of it that restart the container (default 0: never)"),
	STR(0, "health-startup-success", startup_success, "N", "successes in a row that are enough (default 1)"),
	STR(0, "health-startup-timeout", startup_timeout, "TIME", "time that it may take (default 30s)"),
	STR(0, "health-timeout", health_timeout, "TIME", "time that a check may take (default 30s)"),
	STR('h', "hostname", hostname, "NAME", "host name of the container"),
	LIST(0, "hostuser", hostuser, "USER", "add a user of the host to /etc/passwd"),
	{ 0, "http-proxy", HOY_OPT_TRI, O(http_proxy), NULL, "pass on proxy variables (default true)" },
	STR(0, "image-volume", image_volume, "MODE", "bind, tmpfs or ignore for the image's volumes"),
	FLAG(0, "init", init, "run an init as process 1"),
	STR(0, "init-path", init_path, "PATH", "that init (default catatonit)"),
	FLAG('i', "interactive", interactive, "keep stdin open"),
	STR(0, "ip", ip, "IP", "address in the network"),
	STR(0, "ip6", ip6, "IP", "IPv6 address in the network"),
	STR(0, "ipc", ipc, "MODE", "IPC namespace: private, shareable, host, none"),
	LIST('l', "label", label, "KEY=VALUE", "add a label"),
	LIST(0, "label-file", label_file, "PATH", "read labels from a file"),
	STR(0, "log-driver", log_driver, "NAME", "k8s-file, json-file, journald, none, passthrough, passthrough-tty"),
	LIST(0, "log-opt", log_opt, "KEY=VALUE", "path, max-size or tag of the log, label=NAME=VALUE for journald"),
	STR(0, "mac-address", mac, "MAC", "hardware address in the network"),
	STR('m', "memory", memory, "SIZE", "limit of memory"),
	STR(0, "memory-reservation", memory_reservation, "SIZE", "soft limit of memory"),
	STR(0, "memory-swap", memory_swap, "SIZE", "limit of memory and swap, -1 for none"),
	LIST(0, "mount", mount, "type=TYPE,...", "add a mount"),
	STR(0, "name", name, "NAME", "name of the container"),
	LIST(0, "network", network, "MODE", "none, host, bridge, NETWORK[:OPTIONS], container:ID, ns:PATH, pasta"),
	LIST(0, "net", network, "MODE", NULL),
	LIST(0, "network-alias", network_alias, "NAME", "further name in the network"),
	FLAG(0, "no-healthcheck", no_healthcheck, "ignore the image's health check"),
	FLAG(0, "no-hosts", no_hosts, "leave /etc/hosts alone"),
	FLAG(0, "no-hostname", no_hostname, "leave /etc/hostname alone"),
	FLAG(0, "no-pivot", no_pivot, NULL), /* hoy-build's */
	FLAG(0, "oom-kill-disable", oom_kill_disable, "do not kill when memory runs out (cgroup v1)"),
	STR(0, "oom-score-adj", oom_score_adj, "N", "score for the kernel's OOM killer"),
	STR(0, "os", os, "OS", "operating system of the image to pull"),
	{ 0, "passwd", HOY_OPT_TRI, O(passwd), NULL, "add who runs to /etc/passwd and /etc/group (default true)" },
	STR(0, "passwd-entry", passwd_entry, "LINE", "what to add to /etc/passwd: $USERNAME, $UID, $GID, $NAME, $HOME"),
	STR(0, "pid", pid, "MODE", "PID namespace: private or host"),
	STR(0, "pidfile", pidfile, "PATH", "write the container's pid to a file"),
	STR(0, "pids-limit", pids_limit, "N", "limit of processes, -1 for none"),
	STR(0, "platform", platform, "OS/ARCH", "platform of the image to pull"),
	FLAG(0, "privileged", privileged, "give all capabilities and devices"),
	LIST('p', "publish", publish, "[[IP:]PORT:]PORT[/PROTO]", "publish a port"),
	FLAG('P', "publish-all", publish_all, "publish all exposed ports"),
	STR(0, "pull", pull, "POLICY", "missing, always, newer or never"),
	FLAG('q', "quiet", quiet, "no progress of a pull"),
	FLAG(0, "read-only", read_only, "read-only root file system"),
	{ 0, "read-only-tmpfs", HOY_OPT_TRI, O(read_only_tmpfs), NULL, "writable /tmp, /run and /var/tmp then (default true)" },
	FLAG(0, "replace", replace, "remove a container of that name first"),
	STR(0, "restart", restart, "POLICY", "no, never, always, on-failure[:N], unless-stopped"),
	FLAG(0, "rm", rm, "remove the container when it ends"),
	FLAG(0, "rootfs", rootfs, "the first argument is the path of a root file system"),
	LIST(0, "security-opt", security_opt, "OPTION", "seccomp=, no-new-privileges, apparmor=, label=, mask=, unmask="),
	STR(0, "shm-size", shm_size, "SIZE", "size of /dev/shm (default 65536k)"),
	STR(0, "stop-signal", stop_signal, "SIGNAL", "signal that stops it"),
	STR(0, "stop-timeout", stop_timeout, "SECONDS", "time before it is killed (default 10)"),
	STR(0, "subgidname", subgidname, "NAME", "map the ids that NAME has in /etc/subgid"),
	STR(0, "subuidname", subuidname, "NAME", "map the ids that NAME has in /etc/subuid"),
	COMMAS(0, "sysctl", sysctl, "KEY=VALUE", "set a sysctl"),
	STR(0, "timeout", timeout, "SECONDS", "end it after that time"),
	{ 0, "tls-verify", HOY_OPT_TRI, O(tls_verify), NULL, "check the registry's certificate" },
	LIST(0, "tmpfs", tmpfs, "PATH[:OPTIONS]", "mount a tmpfs"),
	FLAG('t', "tty", tty, "give it a terminal"),
	STR(0, "tz", tz, "ZONE", "time zone"),
	COMMAS(0, "uidmap", uidmap, "INSIDE:OUTSIDE[:SIZE]", "map user ids in a user namespace"),
	LIST(0, "ulimit", ulimit, "NAME=SOFT[:HARD]", "resource limit"),
	STR(0, "umask", umask, "MASK", "file mode mask (default 0022)"),
	COMMAS(0, "unsetenv", unsetenv, "NAME", "remove an environment variable"),
	STR('u', "user", user, "USER[:GROUP]", "user to run as"),
	STR(0, "userns", userns, "MODE", "user namespace: host, keep-id, auto, nomap, private, ns:PATH or container:ID"),
	STR(0, "uts", uts, "MODE", "UTS namespace: private or host"),
	STR(0, "variant", variant, "VARIANT", "variant of the architecture to pull"),
	LIST('v', "volume", volume, "[SOURCE:]PATH[:OPTIONS]", "mount a directory or volume"),
	STR('w', "workdir", workdir, "PATH", "working directory"),
	HOY_OPTS_END,
};
#define RUN_ALONE 5
const struct hoy_opt *const create_options = run_options + RUN_ALONE;

void create_opts_release(struct create_opts *o)
{
	struct hoy_strv *lists[] = { &o->env, &o->env_file, &o->unsetenv, &o->publish, &o->expose, &o->volume, &o->mount, &o->tmpfs,
		&o->network, &o->network_alias, &o->cap_add, &o->cap_drop, &o->security_opt, &o->ulimit, &o->label, &o->label_file,
		&o->annotation, &o->attach, &o->device, &o->group_add, &o->dns, &o->dns_search, &o->dns_option, &o->add_host, &o->sysctl,
		&o->log_opt, &o->uidmap, &o->gidmap, &o->hostuser };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_strv_release(lists[i]);
}

void def_list(struct ctr *c, const char *key, const struct hoy_strv *list)
{
	struct hoy_json *arr = list->n ? def_array(c, key) : NULL;

	for (size_t i = 0; arr && i < list->n; i++)
		hoy_json_set_string(&c->def, arr, NULL, list->v[i]);
}

static void set(struct ctr *c, const char *key, const char *value)
{
	if (value)
		hoy_json_set_string(&c->def, c->def.root, key, value);
}

static void set_true(struct ctr *c, const char *key, bool value)
{
	if (value)
		hoy_json_set_bool(&c->def, c->def.root, key, true);
}

/* "KEY=VALUE" texts into an object. */
static int pairs(struct ctr *c, const char *key, const struct hoy_strv *list, struct hoy_err *err)
{
	struct hoy_json *obj = list->n ? hoy_json_need(&c->def, c->def.root, key, HOY_JSON_OBJECT) : NULL;

	for (size_t i = 0; i < list->n; i++) {
		const char *eq = strchr(list->v[i], '=');
		cleanup_free char *name = eq ? strndup(list->v[i], eq - list->v[i]) : strdup(list->v[i]);

		if (!*list->v[i] || eq == list->v[i])
			return hoy_fail(err, EINVAL, "invalid %s '%s': it has no name", key, list->v[i]);
		if (!name || !obj || !hoy_json_set_string(&c->def, obj, name, eq ? eq + 1 : ""))
			return hoy_fail_oom(err);
	}
	return 0;
}

static int labels(struct ctr *c, const struct create_opts *o, const struct hoy_json *image, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;
	int r = read_lines(&o->label_file, &lines, err);

	if (!r && image && image->child)
		hoy_json_put(&c->def, c->def.root, "labels", hoy_json_copy(&c->def, image));
	if (!r)
		r = pairs(c, "labels", &lines, err);
	if (!r)
		r = pairs(c, "labels", &o->label, err);
	return r ? r : pairs(c, "annotations", &o->annotation, err);
}

/* --entrypoint takes a program or a JSON list; an empty one clears the image's. */
static int entrypoint(struct ctr *c, const char *text, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_json *arr = def_array(c, "entrypoint");

	if (*text == '[' && !hoy_json_parse(&doc, text, strlen(text), "entrypoint", NULL)) {
		HOY_JSON_EACH(it, doc.root)
			if (hoy_json_text(it))
				hoy_json_set_string(&c->def, arr, NULL, it->str);
		return 0;
	}
	if (*text && !hoy_json_set_string(&c->def, arr, NULL, text))
		return hoy_fail_oom(err);
	return 0;
}

/* What runs: entrypoint and command, each the user's or the image's. */
static int command(struct ctr *c, const struct create_opts *o, char **words, const struct hoy_json *cfg, struct hoy_err *err)
{
	struct hoy_json *args = def_array(c, "args"), *cmd;
	const struct hoy_json *from;
	int r = 0;

	if (o->entrypoint)
		r = entrypoint(c, o->entrypoint, err);
	else if (hoy_json_is(hoy_json_get(cfg, "Entrypoint"), HOY_JSON_ARRAY))
		hoy_json_put(&c->def, c->def.root, "entrypoint", hoy_json_copy(&c->def, hoy_json_get(cfg, "Entrypoint")));
	if (r < 0)
		return r;
	cmd = def_array(c, "cmd");
	for (char **w = words; *w; w++)
		hoy_json_set_string(&c->def, cmd, NULL, *w);
	if (!*words && !o->entrypoint)
		HOY_JSON_EACH(it, hoy_json_get(cfg, "Cmd"))
			hoy_json_put(&c->def, cmd, NULL, hoy_json_copy(&c->def, it));
	from = hoy_json_get(c->def.root, "entrypoint");
	HOY_JSON_EACH(it, from)
		hoy_json_put(&c->def, args, NULL, hoy_json_copy(&c->def, it));
	HOY_JSON_EACH(it, cmd)
		hoy_json_put(&c->def, args, NULL, hoy_json_copy(&c->def, it));
	if (!args->child)
		return hoy_fail(err, EINVAL, "no command or entrypoint provided, and no CMD or ENTRYPOINT from image");
	return 0;
}

static int ports(struct ctr *c, const struct create_opts *o, const struct hoy_json *exposed, struct hoy_err *err)
{
	struct hoy_json *list = o->publish.n || o->publish_all ? def_array(c, "ports") : NULL;
	struct hoy_json *ex = hoy_json_need(&c->def, c->def.root, "expose", HOY_JSON_OBJECT);
	int r = 0;

	HOY_JSON_EACH(it, exposed)
		hoy_json_set_bool(&c->def, ex, it->key, true);
	for (size_t i = 0; i < o->expose.n; i++) {
		cleanup_free char *full = strchr(o->expose.v[i], '/') ? strdup(o->expose.v[i]) : hoy_asprintf("%s/tcp", o->expose.v[i]);

		if (full)
			hoy_json_set_bool(&c->def, ex, full, true);
	}
	for (size_t i = 0; i < o->publish.n && !r; i++)
		r = parse_port(&c->def, list, o->publish.v[i], err);
	if (o->publish_all)
		HOY_JSON_EACH(it, ex)
			if (!r)
				r = parse_port(&c->def, list, it->key, err);
	return r;
}

static bool one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(s, *list))
			return true;
	return false;
}

/* Namespaces that can be chosen; what cannot be had yet says so. */
static int namespaces(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	static const char *const modes[] = { "private", "host", "", NULL }, *const ipc[] = { "private", "shareable", "host", "none", "", NULL };
	const struct { const char *key, *value; const char *const *allowed; } all[] = {
		{ "pid", o->pid, modes }, { "ipc", o->ipc, ipc }, { "uts", o->uts, modes }, { "cgroupns", o->cgroupns, modes },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!all[i].value)
			continue;
		if (!one_of(all[i].value, all[i].allowed))
			return hoy_fail(err, HOY_EUNSUPPORTED, "--%s '%s' is not supported (private or host)", all[i].key, all[i].value);
		set(c, all[i].key, all[i].value);
	}
	return 0;
}

/* "none" is the image's own file. */
static int name_servers(struct ctr *c, const struct create_opts *o, const char *mode, struct hoy_err *err)
{
	bool none = hoy_strv_has(&o->dns, "none");

	if (o->dns.n && mode && (!strcmp(mode, "none") || !strncmp(mode, "container:", 10)))
		return hoy_fail(err, EINVAL, "conflicting options: dns and the network mode: %s", mode);
	if (none && o->dns.n > 1)
		return hoy_fail(err, EINVAL, "none is not allowed to be specified with other DNS ip addresses");
	if (none && (o->dns_search.n || o->dns_option.n))
		return hoy_fail(err, EINVAL, "invalid config provided: UseImageResolvConf and %s are mutually exclusive options", o->dns_search.n ? "DNSSearch" : "DNSOption");
	set_true(c, "imageResolv", none);
	if (!none)
		def_list(c, "dns", &o->dns);
	def_list(c, "dnsSearch", &o->dns_search);
	def_list(c, "dnsOptions", &o->dns_option);
	return 0;
}

static int network(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	const char *mode = o->network.n ? o->network.v[0] : NULL;

	if (o->network.n > 1)
		return hoy_fail(err, HOY_EUNSUPPORTED, "more than one --network is not supported");
	if (o->ip6)
		return hoy_fail(err, HOY_EUNSUPPORTED, "--ip6 is not supported");
	set(c, "network", mode && *mode ? mode : "");
	set(c, "ip", o->ip);
	set(c, "mac", o->mac);
	def_list(c, "aliases", &o->network_alias);
	for (size_t i = 0; i < o->add_host.n; i++)
		if (!strchr(o->add_host.v[i], ':'))
			return hoy_fail(err, EINVAL, "bad format for add-host: \"%s\": it has the form HOST:IP", o->add_host.v[i]);
	def_list(c, "addHosts", &o->add_host);
	set_true(c, "noHosts", o->no_hosts);
	set_true(c, "noHostname", o->no_hostname);
	set_true(c, "noPivot", o->no_pivot || hoy_json_bool(hoy_json_get(conf(), "engine"), "no_pivot_root", false));
	return name_servers(c, o, mode, err);
}

static int log_option(struct ctr *c, const char *opt, struct hoy_err *err)
{
	struct hoy_json *labels;
	int64_t size;

	if (!strncmp(opt, "path=", 5))
		set(c, "logPath", opt + 5);
	else if (!strncmp(opt, "tag=", 4))
		set(c, "logTag", opt + 4);
	else if (!strncmp(opt, "label=", 6) && (labels = def_array(c, "logLabels")))
		hoy_json_set_string(&c->def, labels, NULL, opt + 6);
	else if (!strncmp(opt, "max-size=", 9) && hoy_size_parse_decimal(opt + 9, &size))
		hoy_json_set_int(&c->def, c->def.root, "logMax", size);
	else if (!strncmp(opt, "max-size=", 9))
		return hoy_fail(err, EINVAL, "invalid size: '%s'", opt + 9);
	else
		return hoy_fail(err, EINVAL, "invalid log option \"%s\"", opt);
	return 0;
}

static int log_options(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	static const char *const drivers[] = { "k8s-file", "json-file", "journald", "none", "passthrough", "passthrough-tty", NULL };
	const char *driver = o->log_driver && *o->log_driver ? o->log_driver : hoy_json_str(hoy_json_get(conf(), "containers"), "log_driver") ?: "k8s-file";
	int64_t size = hoy_json_int(hoy_json_get(conf(), "containers"), "log_size_max", -1);
	int r = 0;

	if (!one_of(driver, drivers))
		return hoy_fail(err, EINVAL, "running container create option: invalid log driver: '%s': invalid argument", driver);
	set(c, "logDriver", driver);
	if (hoy_json_str(hoy_json_get(conf(), "containers"), "log_tag"))
		set(c, "logTag", hoy_json_str(hoy_json_get(conf(), "containers"), "log_tag"));
	if (size > 0)
		hoy_json_set_int(&c->def, c->def.root, "logMax", size);
	for (size_t i = 0; i < o->log_opt.n && !r; i++)
		r = log_option(c, o->log_opt.v[i], err);
	return r;
}

int define_restart(struct ctr *c, const char *policy, bool rm, struct hoy_err *err)
{
	static const char *const known[] = { "no", "always", "on-failure", "unless-stopped", NULL };
	const char *colon = strchr(policy, ':');
	cleanup_free char *given = colon ? strndup(policy, colon - policy) : strdup(policy);
	const char *name = given && (!*given || !strcmp(given, "never")) ? "no" : given;
	char *end = NULL;
	long max = colon ? strtol(colon + 1, &end, 10) : 0;

	if (!given)
		return hoy_fail_oom(err);
	if (!one_of(name, known))
		return hoy_fail(err, EINVAL, "\"%s\" is not a valid restart policy: invalid argument", policy);
	if (colon && strcmp(name, "on-failure"))
		return hoy_fail(err, EINVAL, "restart policy retries can only be specified with on-failure restart policy");
	if (colon && (end == colon + 1 || *end))
		return hoy_fail(err, EINVAL, "parsing restart policy retry count: \"%s\" is no number", colon + 1);
	if (max < 0)
		return hoy_fail(err, EINVAL, "must specify restart policy retry count as a number greater than 0");
	if (rm && strcmp(name, "no"))
		return hoy_fail(err, EINVAL, "the --rm option conflicts with --restart, when the restartPolicy is not \"\" and \"no\"");
	set(c, "restart", name);
	hoy_json_unset(c->def.root, "restartMax");
	if (max)
		hoy_json_set_int(&c->def, c->def.root, "restartMax", max);
	return 0;
}

static bool seconds(const char *text, int64_t *ret)
{
	uint32_t v;

	if (parse_uint32(text, &v, NULL) < 0)
		return false;
	*ret = v;
	return true;
}

static int stopping(struct ctr *c, const struct create_opts *o, const struct hoy_json *cfg, struct hoy_err *err)
{
	const char *sig = o->stop_signal ?: hoy_json_str(cfg, "StopSignal") ?: "SIGTERM";
	int n = hoy_signal_parse(sig);
	int64_t v;

	if (n <= 0)
		return hoy_fail(err, EINVAL, "invalid signal: %s", sig);
	hoy_json_set_int(&c->def, c->def.root, "stopSignal", n);
	v = hoy_json_int(hoy_json_get(conf(), "engine"), "stop_timeout", 10);
	if (o->stop_timeout && !seconds(o->stop_timeout, &v))
		return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--stop-timeout\" flag: it is a number of seconds", o->stop_timeout);
	hoy_json_set_int(&c->def, c->def.root, "stopTimeout", v);
	if (o->timeout && !seconds(o->timeout, &v))
		return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--timeout\" flag: it is a number of seconds", o->timeout);
	if (o->timeout)
		hoy_json_set_int(&c->def, c->def.root, "timeout", v);
	return 0;
}

static int mounts(struct ctr *c, const struct create_opts *o, const struct hoy_json *cfg, struct hoy_err *err)
{
	struct hoy_json *list = def_array(c, "mounts");
	const char *how = o->image_volume ?: "anonymous";
	int r = 0;

	for (size_t i = 0; i < o->volume.n && !r; i++)
		r = parse_volume(c->s, &c->def, list, o->volume.v[i], err);
	for (size_t i = 0; i < o->mount.n && !r; i++)
		r = parse_mount(c->s, &c->def, list, o->mount.v[i], err);
	for (size_t i = 0; i < o->tmpfs.n && !r; i++)
		r = parse_tmpfs(&c->def, list, o->tmpfs.v[i], err);
	if (!r && strcmp(how, "ignore") && strcmp(how, "tmpfs"))
		r = image_volumes(c->s, &c->def, list, hoy_json_get(cfg, "Volumes"), err);
	else if (!r && !strcmp(how, "tmpfs"))
		HOY_JSON_EACH(it, hoy_json_get(cfg, "Volumes"))
			r = r ? r : parse_tmpfs(&c->def, list, it->key, err);
	return r;
}

static int devices(struct ctr *c, const struct create_opts *o, struct hoy_err *err)
{
	for (size_t i = 0; i < o->device.n; i++)
		if (o->device.v[i][0] != '/')
			return hoy_fail(err, EINVAL, "device '%s' is no absolute path", o->device.v[i]);
	def_list(c, "devices", &o->device);
	return 0;
}

int define(struct ctr *c, const struct create_opts *o, char **words, const struct hoy_json *cfg, struct hoy_err *err)
{
	const char *manager;
	int64_t shm = 65536000;
	int r;

	set(c, "user", o->user ?: hoy_json_str(cfg, "User"));
	set(c, "cwd", o->workdir ?: (hoy_json_str(cfg, "WorkingDir") && *hoy_json_str(cfg, "WorkingDir") ? hoy_json_str(cfg, "WorkingDir") : "/"));
	set_true(c, "cwdGiven", o->workdir != NULL);
	set(c, "hostname", o->hostname);
	set_true(c, "tty", o->tty);
	set_true(c, "stdin", o->interactive);
	set_true(c, "rm", o->rm);
	set_true(c, "rmi", o->rmi);
	set_true(c, "privileged", o->privileged);
	set_true(c, "readonly", o->read_only);
	if (o->read_only && o->read_only_tmpfs != 0)
		set_true(c, "readonlyTmpfs", true);
	set_true(c, "publishAll", o->publish_all);
	set(c, "umask", o->umask ?: "0022");
	set(c, "tz", o->tz);
	set(c, "passwdEntry", o->passwd_entry);
	set(c, "groupEntry", o->group_entry);
	set_true(c, "noPasswd", !o->passwd);
	def_list(c, "hostUsers", &o->hostuser);
	set(c, "pidFile", o->pidfile);
	set(c, "conmonPidFile", o->conmon_pidfile);
	set(c, "cidFile", o->cidfile);
	if (cgroup_manager(&manager, err) < 0 || cgroup_check_parent(manager, o->cgroup_parent, err) < 0)
		return -err->code;
	/* podman's records have it, too. */
	set(c, "cgroupParent", o->cgroup_parent ?: hoy_rootless() && !strcmp(manager, "systemd") ? "user.slice" : NULL);
	set(c, "cgroupManager", strcmp(manager, "systemd") ? NULL : manager);
	if (o->cgroups && strcmp(o->cgroups, "enabled") && strcmp(o->cgroups, "disabled"))
		return hoy_fail(err, EINVAL, "--cgroups is enabled or disabled, not '%s'", o->cgroups);
	set_true(c, "noCgroups", o->cgroups && !strcmp(o->cgroups, "disabled"));
	if (o->init)
		set(c, "init", o->init_path ?: hoy_json_str(hoy_json_get(conf(), "engine"), "init_path") ?: "/usr/libexec/podman/catatonit");
	if (o->shm_size && !hoy_size_parse(o->shm_size, &shm))
		return hoy_fail(err, EINVAL, "invalid size '%s' for --shm-size", o->shm_size);
	hoy_json_set_int(&c->def, c->def.root, "shmSize", shm);
	def_list(c, "groups", &o->group_add);
	set_true(c, "keepGroups", hoy_strv_has(&o->group_add, "keep-groups"));
	if (o->group_add.n > 1 && hoy_strv_has(&o->group_add, "keep-groups"))
		return hoy_fail(err, EINVAL, "the '--group-add keep-groups' option is not allowed with any other --group-add options");
	r = pairs(c, "sysctls", &o->sysctl, err);
	if (!r)
		r = command(c, o, words, cfg, err);
	if (!r)
		r = labels(c, o, hoy_json_get(cfg, "Labels"), err);
	if (!r)
		r = define_env(c, o, hoy_json_get(cfg, "Env"), err);
	if (!r)
		r = namespaces(c, o, err);
	if (!r)
		r = define_userns(c, o, hoy_json_str(cfg, "User"), err);
	if (!r)
		r = network(c, o, err);
	if (!r)
		r = ports(c, o, hoy_json_get(cfg, "ExposedPorts"), err);
	if (!r)
		r = mounts(c, o, cfg, err);
	if (!r)
		r = devices(c, o, err);
	if (!r)
		r = log_options(c, o, err);
	if (!r)
		r = define_restart(c, o->restart ?: "no", o->rm, err);
	if (!r)
		r = stopping(c, o, cfg, err);
	if (!r)
		r = define_health(c, o, hoy_json_get(cfg, "Healthcheck"), err);
	if (!r)
		r = define_limits(c, o, err);
	return r ? r : define_security(c, o, err);
}
