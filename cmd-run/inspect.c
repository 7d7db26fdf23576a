/* cmd-run/inspect.c: `inspect` of a container, field for field as podman's; what is no container goes to hoy-image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-run/session.h"
#include "common/base/fd.h"
#include "common/cli/format.h"
#include "common/data/time.h"
#include "common/data/units.h"
#include "common/proc/sibling.h"
#include "common/store/layers.h"

struct inspect_opts {
	const char *format, *type;
	bool size, latest;
};
#define O(f) offsetof(struct inspect_opts, f)
static const struct hoy_opt opts[] = {
	{ 'f', "format", HOY_OPT_STRING, O(format), "FORMAT", "json, or a Go template" },
	{ 'l', "latest", HOY_OPT_FLAG, O(latest), NULL, "the container made last" },
	{ 's', "size", HOY_OPT_FLAG, O(size), NULL, NULL },
	{ 't', "type", HOY_OPT_STRING, O(type), "TYPE", "container, image or all (default)" },
	HOY_OPTS_END,
};

static const char *ds(const struct ctr *c, const char *key) { return hoy_json_str(c->def.root, key); }
static bool db(const struct ctr *c, const char *key) { return hoy_json_bool(c->def.root, key, false); }
static int64_t res(const struct ctr *c, const char *key) { return hoy_json_int(hoy_json_get(c->def.root, "resources"), key, 0); }

static void time_member(struct hoy_jw *w, const char *key, const char *text)
{
	char buf[HOY_TIME_SIZE];
	int64_t t;

	hoy_jw_string(w, key, hoy_time_parse(text, &t) ? hoy_time_local(t, buf) : "0001-01-01T00:00:00Z");
}

static void put_state(struct hoy_jw *w, const struct ctr *c)
{
	enum status st = ctr_status(c);
	const char *cg = hoy_json_str(c->live.root, "cgroup");
	cleanup_json struct hoy_json_doc health = HOY_JSON_DOC_INIT;

	hoy_jw_object(w, "State");
	hoy_jw_string(w, "OciVersion", "1.2.0");
	hoy_jw_string(w, "Status", status_name(st));
	hoy_jw_bool(w, "Running", st == ST_RUNNING || st == ST_PAUSED);
	hoy_jw_bool(w, "Paused", st == ST_PAUSED);
	hoy_jw_bool(w, "Restarting", false);
	hoy_jw_bool(w, "OOMKilled", hoy_json_bool(c->state.root, "oomKilled", false));
	hoy_jw_bool(w, "Dead", false);
	hoy_jw_int(w, "Pid", ctr_pid(c));
	if (st == ST_RUNNING || st == ST_PAUSED)
		hoy_jw_int(w, "ConmonPid", hoy_json_int(c->live.root, "monitor", 0));
	hoy_jw_int(w, "ExitCode", ctr_exit_code(c));
	hoy_jw_string(w, "Error", "");
	time_member(w, "StartedAt", hoy_json_str(c->live.root, "startedAt") ?: hoy_json_str(c->state.root, "started"));
	time_member(w, "FinishedAt", hoy_json_str(c->state.root, "finished"));
	if (cg && ctr_pid(c))
		hoy_jw_string(w, "CgroupPath", cg);
	if (health_checked(c) && !health_load(c, &health))
		hoy_jw_value(w, "Health", health.root);
	hoy_jw_string(w, "CheckpointedAt", "0001-01-01T00:00:00Z");
	hoy_jw_string(w, "RestoredAt", "0001-01-01T00:00:00Z");
	hoy_jw_end_object(w);
}

static void run_path(struct hoy_jw *w, const struct ctr *c, const char *key, const char *name)
{
	cleanup_free char *path = hoy_path_join(c->rundir, name);

	hoy_jw_string(w, key, c->live.root && path && hoy_exists(AT_FDCWD, path) ? path : "");
}

static void list(struct hoy_jw *w, const char *key, const struct hoy_json *arr)
{
	hoy_jw_array(w, key);
	HOY_JSON_EACH(it, arr)
		hoy_jw_value(w, NULL, it);
	hoy_jw_end_array(w);
}

static void graph_driver(struct hoy_jw *w, const struct ctr *c)
{
	const char *layer = ds(c, "layer");
	cleanup_free char *lower = NULL, *merged = NULL, *upper = NULL, *work = NULL;

	hoy_jw_object(w, "GraphDriver");
	hoy_jw_string(w, "Name", c->s->conf.driver);
	hoy_jw_object(w, "Data");
	if (layer && !c->s->vfs && !hoy_layer_lowerdir(c->s, layer, &lower)) {
		merged = hoy_layer_path(c->s, layer, "merged");
		upper = hoy_layer_path(c->s, layer, "diff");
		work = hoy_layer_path(c->s, layer, "work");
		hoy_jw_string(w, "LowerDir", lower);
		if (c->live.root)
			hoy_jw_string(w, "MergedDir", merged);
		hoy_jw_string(w, "UpperDir", upper);
		hoy_jw_string(w, "WorkDir", work);
	}
	hoy_jw_end_object(w);
	hoy_jw_end_object(w);
}

static bool has_option(const struct hoy_json *m, const char *opt)
{
	HOY_JSON_EACH(it, hoy_json_get(m, "options"))
		if (hoy_json_text(it) && !strcmp(it->str, opt))
			return true;
	return false;
}

static void put_mounts(struct hoy_jw *w, const struct ctr *c)
{
	static const char *const props[] = { "rprivate", "private", "rshared", "shared", "rslave", "slave" };

	hoy_jw_array(w, "Mounts");
	HOY_JSON_EACH(m, hoy_json_get(c->def.root, "mounts")) {
		const char *type = hoy_json_str(m, "type") ?: "", *prop = "";

		if (!strcmp(type, "tmpfs"))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(props) && !*prop; i++)
			if (has_option(m, props[i]))
				prop = props[i];
		hoy_jw_object(w, NULL);
		hoy_jw_string(w, "Type", type);
		if (hoy_json_str(m, "name"))
			hoy_jw_string(w, "Name", hoy_json_str(m, "name"));
		hoy_jw_string(w, "Source", hoy_json_str(m, "source"));
		hoy_jw_string(w, "Destination", hoy_json_str(m, "destination"));
		hoy_jw_string(w, "Driver", hoy_json_str(m, "name") ? "local" : "");
		hoy_jw_string(w, "Mode", "");
		hoy_jw_array(w, "Options");
		HOY_JSON_EACH(it, hoy_json_get(m, "options"))
			if (strcmp(it->str, "ro") && strcmp(it->str, "rw") && strcmp(it->str, prop))
				hoy_jw_value(w, NULL, it);
		hoy_jw_end_array(w);
		hoy_jw_bool(w, "RW", !has_option(m, "ro"));
		hoy_jw_string(w, "Propagation", prop);
		hoy_jw_end_object(w);
	}
	hoy_jw_end_array(w);
}

/* {"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"443/tcp":null} */
static void put_ports(struct hoy_jw *w, const struct ctr *c, const char *key)
{
	bool none = !strcmp(ds(c, "network") ?: "", "none");
	cleanup_strv struct hoy_strv seen = HOY_STRV_INIT;

	hoy_jw_object(w, key);
	HOY_JSON_EACH(p, none ? NULL : hoy_json_get(c->def.root, "ports"))
		for (int64_t i = 0; i < hoy_json_int(p, "range", 1); i++) {
			cleanup_free char *name = hoy_asprintf("%lld/%s", (long long)(hoy_json_int(p, "container_port", 0) + i), hoy_json_str(p, "protocol"));
			cleanup_free char *port = hoy_asprintf("%lld", (long long)(hoy_json_int(p, "host_port", 0) + i));
			const char *ip = hoy_json_str(p, "host_ip");

			if (!name || hoy_strv_has(&seen, name))
				continue;
			hoy_strv_push(&seen, name);
			hoy_jw_array(w, name);
			hoy_jw_object(w, NULL);
			hoy_jw_string(w, "HostIp", ip && *ip ? ip : "0.0.0.0");
			hoy_jw_string(w, "HostPort", port);
			hoy_jw_end_object(w);
			hoy_jw_end_array(w);
		}
	if (!strcmp(key, "Ports"))
		HOY_JSON_EACH(e, hoy_json_get(c->def.root, "expose"))
			if (!hoy_strv_has(&seen, e->key))
				hoy_jw_null(w, e->key);
	hoy_jw_end_object(w);
}

struct address {
	char ip[64], gateway[64], mac[32];
	int bits;
};

static void find_address(const struct ctr *c, struct address *a)
{
	memset(a, 0, sizeof(*a));
	HOY_JSON_EACH(net, hoy_json_get(c->live.root, "netStatus"))
		HOY_JSON_EACH(ifc, hoy_json_get(net, "interfaces")) {
			snprintf(a->mac, sizeof(a->mac), "%s", hoy_json_str(ifc, "mac_address") ?: "");
			HOY_JSON_EACH(sub, hoy_json_get(ifc, "subnets")) {
				char *slash;

				snprintf(a->ip, sizeof(a->ip), "%s", hoy_json_str(sub, "ipnet") ?: "");
				snprintf(a->gateway, sizeof(a->gateway), "%s", hoy_json_str(sub, "gateway") ?: "");
				slash = strchr(a->ip, '/');
				if (slash) {
					a->bits = atoi(slash + 1);
					*slash = '\0';
				}
				return;
			}
		}
}

static void endpoint(struct hoy_jw *w, const struct address *a)
{
	hoy_jw_string(w, "EndpointID", "");
	hoy_jw_string(w, "Gateway", a->gateway);
	hoy_jw_string(w, "IPAddress", a->ip);
	hoy_jw_int(w, "IPPrefixLen", a->bits);
	hoy_jw_string(w, "IPv6Gateway", "");
	hoy_jw_string(w, "GlobalIPv6Address", "");
	hoy_jw_int(w, "GlobalIPv6PrefixLen", 0);
	hoy_jw_string(w, "MacAddress", a->mac);
}

static const char *net_mode(const struct ctr *c)
{
	const char *n = ds(c, "network") ?: "";

	return *n ? n : c->s->rootless ? "pasta" : "bridge";
}

static void network_settings(struct hoy_jw *w, const struct ctr *c)
{
	const char *mode = net_mode(c), *name = hoy_json_str(c->live.root, "netName") ?: mode;
	struct address a;

	find_address(c, &a);
	hoy_jw_object(w, "NetworkSettings");
	endpoint(w, &a);
	hoy_jw_string(w, "Bridge", "");
	hoy_jw_string(w, "SandboxID", "");
	hoy_jw_bool(w, "HairpinMode", false);
	hoy_jw_string(w, "LinkLocalIPv6Address", "");
	hoy_jw_int(w, "LinkLocalIPv6PrefixLen", 0);
	put_ports(w, c, "Ports");
	hoy_jw_string(w, "SandboxKey", net_path(c));
	if (strcmp(mode, "host") && strcmp(mode, "pasta")) {
		hoy_jw_object(w, "Networks");
		hoy_jw_object(w, !strcmp(name, "bridge") ? "podman" : name);
		endpoint(w, &a);
		hoy_jw_string(w, "NetworkID", !strcmp(name, "bridge") ? "podman" : name);
		hoy_jw_null(w, "DriverOpts");
		hoy_jw_null(w, "IPAMConfig");
		hoy_jw_null(w, "Links");
		if (strcmp(mode, "none")) {
			hoy_jw_array(w, "Aliases");
			HOY_JSON_EACH(it, hoy_json_get(c->def.root, "aliases"))
				hoy_jw_value(w, NULL, it);
			hoy_jw_stringn(w, NULL, c->id, 12);
			hoy_jw_end_array(w);
		}
		hoy_jw_end_object(w);
		hoy_jw_end_object(w);
	}
	hoy_jw_end_object(w);
}

static void map_or_null(struct hoy_jw *w, const char *key, const struct hoy_json *v)
{
	hoy_jw_value(w, key, v && v->child ? v : NULL);
}

static void config(struct hoy_jw *w, const struct ctr *c)
{
	char host[13];

	snprintf(host, sizeof(host), "%.12s", c->id);
	hoy_jw_object(w, "Config");
	hoy_jw_string(w, "Hostname", ds(c, "hostname") ?: host);
	hoy_jw_string(w, "Domainname", "");
	hoy_jw_string(w, "User", ds(c, "user"));
	hoy_jw_bool(w, "AttachStdin", false);
	hoy_jw_bool(w, "AttachStdout", false);
	hoy_jw_bool(w, "AttachStderr", false);
	hoy_jw_bool(w, "Tty", db(c, "tty"));
	hoy_jw_bool(w, "OpenStdin", db(c, "stdin"));
	hoy_jw_bool(w, "StdinOnce", false);
	list(w, "Env", hoy_json_get(c->def.root, "env"));
	map_or_null(w, "Cmd", hoy_json_get(c->def.root, "cmd"));
	hoy_jw_string(w, "Image", ds(c, "imageName"));
	hoy_jw_null(w, "Volumes");
	hoy_jw_string(w, "WorkingDir", ds(c, "cwd"));
	map_or_null(w, "Entrypoint", hoy_json_get(c->def.root, "entrypoint"));
	hoy_jw_null(w, "OnBuild");
	map_or_null(w, "Labels", hoy_json_get(c->def.root, "labels"));
	map_or_null(w, "Annotations", hoy_json_get(c->def.root, "annotations"));
	hoy_jw_string(w, "StopSignal", hoy_json_int(c->def.root, "stopSignal", 15) == 15 ? "SIGTERM" :
		      hoy_json_int(c->def.root, "stopSignal", 15) == 9 ? "SIGKILL" : hoy_json_int(c->def.root, "stopSignal", 15) == 3 ? "SIGQUIT" :
		      hoy_json_int(c->def.root, "stopSignal", 15) == 2 ? "SIGINT" : "SIGRTMIN+3");
	if (hoy_json_get(c->def.root, "startupHealth"))
		hoy_jw_value(w, "StartupHealthCheck", hoy_json_get(c->def.root, "startupHealth"));
	if (hoy_json_get(c->def.root, "health"))
		hoy_jw_value(w, "Healthcheck", hoy_json_get(c->def.root, "health"));
	hoy_jw_string(w, "HealthcheckOnFailureAction", ds(c, "healthOnFailure") ?: "none");
	hoy_jw_string(w, "HealthLogDestination", "local");
	hoy_jw_int(w, "HealthcheckMaxLogCount", hoy_json_int(c->def.root, "healthLogCount", 5));
	hoy_jw_int(w, "HealthcheckMaxLogSize", hoy_json_int(c->def.root, "healthLogSize", 500));
	list(w, "CreateCommand", hoy_json_get(c->def.root, "createCommand"));
	hoy_jw_string(w, "Umask", ds(c, "umask"));
	hoy_jw_int(w, "Timeout", hoy_json_int(c->def.root, "timeout", 0));
	hoy_jw_int(w, "StopTimeout", hoy_json_int(c->def.root, "stopTimeout", 10));
	hoy_jw_bool(w, "Passwd", !db(c, "noPasswd"));
	hoy_jw_string(w, "sdNotifyMode", "container");
	if (hoy_json_get(c->def.root, "expose") && hoy_json_get(c->def.root, "expose")->child) {
		hoy_jw_object(w, "ExposedPorts");
		HOY_JSON_EACH(e, hoy_json_get(c->def.root, "expose"))
			hoy_jw_raw(w, e->key, "{}");
		hoy_jw_end_object(w);
	}
	hoy_jw_end_object(w);
}

static void host_limits(struct hoy_jw *w, const struct ctr *c)
{
	const struct hoy_json *r = hoy_json_get(c->def.root, "resources");
	int64_t period = res(c, "cpuPeriod"), quota = res(c, "cpuQuota");

	hoy_jw_int(w, "ShmSize", hoy_json_int(c->def.root, "shmSize", 65536000));
	hoy_jw_string(w, "Runtime", "oci");
	hoy_jw_int(w, "CpuShares", res(c, "cpuShares"));
	hoy_jw_int(w, "Memory", res(c, "memory"));
	hoy_jw_int(w, "NanoCpus", period && quota > 0 ? quota * (1000000000 / period) : 0);
	hoy_jw_string(w, "CgroupParent", ds(c, "cgroupParent"));
	hoy_jw_int(w, "CpuPeriod", period);
	hoy_jw_int(w, "CpuQuota", quota);
	hoy_jw_string(w, "CpusetCpus", hoy_json_str(r, "cpusetCpus"));
	hoy_jw_string(w, "CpusetMems", hoy_json_str(r, "cpusetMems"));
	hoy_jw_int(w, "MemoryReservation", res(c, "memoryReservation"));
	hoy_jw_int(w, "MemorySwap", res(c, "memorySwap"));
	hoy_jw_bool(w, "OomKillDisable", hoy_json_bool(r, "oomKillDisable", false));
	hoy_jw_int(w, "PidsLimit", res(c, "pids"));
	hoy_jw_array(w, "Ulimits");
	HOY_JSON_EACH(u, hoy_json_get(c->def.root, "ulimits")) {
		hoy_jw_object(w, NULL);
		hoy_jw_string(w, "Name", hoy_json_str(u, "type"));
		hoy_jw_int(w, "Soft", hoy_json_int(u, "soft", 0));
		hoy_jw_int(w, "Hard", hoy_json_int(u, "hard", 0));
		hoy_jw_end_object(w);
	}
	hoy_jw_end_array(w);
}

static void id_map(struct hoy_jw *w, const char *key, const struct hoy_json *lines)
{
	hoy_jw_array(w, key);
	HOY_JSON_EACH(l, lines) {
		cleanup_free char *text = hoy_asprintf("%lld:%lld:%lld", (long long)hoy_json_int(l, "container_id", 0),
						       (long long)hoy_json_int(l, "host_id", 0), (long long)hoy_json_int(l, "size", 0));

		hoy_jw_string(w, NULL, text);
	}
	hoy_jw_end_array(w);
}

static void userns(struct hoy_jw *w, const struct ctr *c)
{
	const char *path = ds(c, "usernsPath"), *of = ds(c, "usernsOf");
	cleanup_free char *mode = path ? hoy_asprintf("ns:%s", path) : of ? hoy_asprintf("container:%s", of) : strdup("private");

	hoy_jw_string(w, "UsernsMode", ctr_has_userns(c) ? mode : "");
	if (!hoy_json_get(c->def.root, "uidmap") || !hoy_json_get(c->def.root, "gidmap"))
		return;
	hoy_jw_object(w, "IDMappings");
	id_map(w, "UidMap", hoy_json_get(c->def.root, "uidmap"));
	id_map(w, "GidMap", hoy_json_get(c->def.root, "gidmap"));
	hoy_jw_end_object(w);
}

static void log_config(struct hoy_jw *w, const struct ctr *c)
{
	static const char *const files[] = { "k8s-file", "json-file", "passthrough-tty" };
	cleanup_free char *log = ds(c, "logPath") ? strdup(ds(c, "logPath")) : NULL;
	char size[32];

	for (size_t i = 0; i < ARRAY_SIZE(files) && !log; i++)
		if (!strcmp(ds(c, "logDriver") ?: "k8s-file", files[i]))
			log = hoy_path_join(c->dir, "ctr.log");
	hoy_jw_object(w, "LogConfig");
	hoy_jw_string(w, "Type", ds(c, "logDriver"));
	hoy_jw_null(w, "Config");
	hoy_jw_string(w, "Path", log);
	hoy_jw_string(w, "Tag", ds(c, "logTag"));
	hoy_jw_string(w, "Size", hoy_json_get(c->def.root, "logMax") ? hoy_size_tight(hoy_json_int(c->def.root, "logMax", 0), size) : "-1B");
	hoy_jw_end_object(w);
}

static void host_config(struct hoy_jw *w, const struct ctr *c)
{
	const char *def = "private";

	hoy_jw_object(w, "HostConfig");
	hoy_jw_array(w, "Binds");
	HOY_JSON_EACH(m, hoy_json_get(c->def.root, "mounts")) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);

		if (!strcmp(hoy_json_str(m, "type") ?: "", "tmpfs"))
			continue;
		hoy_buf_printf(&b, "%s:%s:", hoy_json_str(m, "name") ?: hoy_json_str(m, "source"), hoy_json_str(m, "destination"));
		if (!has_option(m, "ro") && !has_option(m, "rw"))
			hoy_buf_puts(&b, "rw,");
		HOY_JSON_EACH(it, hoy_json_get(m, "options"))
			hoy_buf_printf(&b, "%s%s", it == hoy_json_get(m, "options")->child ? "" : ",", it->str);
		hoy_jw_string(w, NULL, hoy_buf_str(&b));
	}
	hoy_jw_end_array(w);
	hoy_jw_string(w, "CgroupManager", cgroup_by_systemd(c) ? "systemd" : "cgroupfs");
	hoy_jw_string(w, "CgroupMode", ds(c, "cgroupns") ?: def);
	hoy_jw_string(w, "ContainerIDFile", ds(c, "cidFile"));
	log_config(w, c);
	hoy_jw_string(w, "NetworkMode", net_mode(c));
	put_ports(w, c, "PortBindings");
	hoy_jw_object(w, "RestartPolicy");
	hoy_jw_string(w, "Name", ds(c, "restart") ?: "no");
	hoy_jw_int(w, "MaximumRetryCount", hoy_json_int(c->def.root, "restartMax", 0));
	hoy_jw_end_object(w);
	hoy_jw_bool(w, "AutoRemove", db(c, "rm"));
	hoy_jw_bool(w, "AutoRemoveImage", db(c, "rmi"));
	map_or_null(w, "Annotations", hoy_json_get(c->def.root, "annotations"));
	list(w, "CapAdd", hoy_json_get(c->def.root, "capAdd"));
	list(w, "CapDrop", hoy_json_get(c->def.root, "capDrop"));
	list(w, "Dns", hoy_json_get(c->def.root, "dns"));
	list(w, "DnsOptions", hoy_json_get(c->def.root, "dnsOptions"));
	list(w, "DnsSearch", hoy_json_get(c->def.root, "dnsSearch"));
	list(w, "ExtraHosts", hoy_json_get(c->def.root, "addHosts"));
	list(w, "GroupAdd", hoy_json_get(c->def.root, "groups"));
	hoy_jw_string(w, "IpcMode", ds(c, "ipc") ?: "shareable");
	hoy_jw_string(w, "Cgroups", db(c, "noCgroups") ? "disabled" : "default");
	hoy_jw_int(w, "OomScoreAdj", hoy_json_int(c->def.root, "oomScoreAdj", 0));
	hoy_jw_string(w, "PidMode", ds(c, "pid") ?: def);
	hoy_jw_bool(w, "Privileged", db(c, "privileged"));
	hoy_jw_bool(w, "PublishAllPorts", db(c, "publishAll"));
	hoy_jw_bool(w, "ReadonlyRootfs", db(c, "readonly"));
	list(w, "SecurityOpt", hoy_json_get(c->def.root, "securityOpt"));
	hoy_jw_object(w, "Tmpfs");
	HOY_JSON_EACH(m, hoy_json_get(c->def.root, "mounts"))
		if (!strcmp(hoy_json_str(m, "type") ?: "", "tmpfs")) {
			cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);

			HOY_JSON_EACH(it, hoy_json_get(m, "options"))
				hoy_buf_printf(&b, "%s%s", it == hoy_json_get(m, "options")->child ? "" : ",", it->str);
			hoy_jw_string(w, hoy_json_str(m, "destination"), hoy_buf_str(&b));
		}
	hoy_jw_end_object(w);
	hoy_jw_string(w, "UTSMode", ds(c, "uts") ?: def);
	userns(w, c);
	list(w, "Devices", NULL);
	host_limits(w, c);
	hoy_jw_end_object(w);
}

static void exec_ids(struct hoy_jw *w, const struct ctr *c)
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;

	if (c->live.root)
		session_list(c, &ids);
	hoy_jw_strings(w, "ExecIDs", ids.v, ids.n);
}

int ctr_inspect(struct hoy_jw *w, struct ctr *c, struct hoy_err *err)
{
	const struct hoy_json *args;
	int r = ctr_load_def(c, err);

	if (!r)
		r = ctr_load_live(c, err);
	if (r < 0)
		return r;
	args = hoy_json_get(c->def.root, "args");
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "Id", c->id);
	time_member(w, "Created", ds(c, "created"));
	hoy_jw_string(w, "Path", args && args->child ? args->child->str : "");
	hoy_jw_array(w, "Args");
	for (const struct hoy_json *a = args && args->child ? args->child->next : NULL; a; a = a->next)
		hoy_jw_value(w, NULL, a);
	hoy_jw_end_array(w);
	put_state(w, c);
	hoy_jw_string(w, "Image", ds(c, "image"));
	hoy_jw_string(w, "ImageDigest", ds(c, "imageDigest"));
	hoy_jw_string(w, "ImageName", ds(c, "imageName"));
	hoy_jw_string(w, "Rootfs", ds(c, "rootfs"));
	hoy_jw_string(w, "Pod", "");
	run_path(w, c, "ResolvConfPath", "resolv.conf");
	run_path(w, c, "HostnamePath", "hostname");
	run_path(w, c, "HostsPath", "hosts");
	hoy_jw_string(w, "StaticDir", c->dir);
	if (c->live.root)
		run_path(w, c, "OCIConfigPath", "config.json");
	hoy_jw_string(w, "OCIRuntime", hoy_json_str(c->live.root, "runtime") ?: ds(c, "runtime") ?: "hoy-runtime");
	run_path(w, c, "ConmonPidFile", "conmon.pid");
	run_path(w, c, "PidFile", "pidfile");
	hoy_jw_string(w, "Name", ctr_name(c));
	hoy_jw_int(w, "RestartCount", hoy_json_int(c->state.root, "restarts", 0));
	hoy_jw_string(w, "Driver", c->s->conf.driver);
	hoy_jw_string(w, "MountLabel", "");
	hoy_jw_string(w, "ProcessLabel", "");
	hoy_jw_string(w, "AppArmorProfile", ds(c, "apparmor"));
	list(w, "EffectiveCaps", hoy_json_get(c->def.root, "caps"));
	list(w, "BoundingCaps", hoy_json_get(c->def.root, "caps"));
	exec_ids(w, c);
	graph_driver(w, c);
	put_mounts(w, c);
	hoy_jw_array(w, "Dependencies");
	if (ds(c, "usernsOf"))
		hoy_jw_string(w, NULL, ds(c, "usernsOf"));
	hoy_jw_end_array(w);
	network_settings(w, c);
	hoy_jw_string(w, "Namespace", "");
	hoy_jw_bool(w, "IsInfra", false);
	hoy_jw_bool(w, "IsService", false);
	config(w, c);
	host_config(w, c);
	hoy_jw_end_object(w);
	return 0;
}

/* No container of that name: perhaps an image. hoy-image answers for it, with our options. */
static int ask_image(const char *name, struct hoy_buf *out, struct hoy_buf *text)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_free char *tool = hoy_sibling("hoy-image");

	hoy_strv_push(&argv, tool ? tool : "hoy-image");
	hoy_globals_argv(&argv);
	hoy_strv_push(&argv, "image");
	hoy_strv_push(&argv, "inspect");
	hoy_strv_push(&argv, "--");
	hoy_strv_push(&argv, name);
	return argv.error ? -ENOMEM : run_tool(argv.v, NULL, 0, out, text);
}

static int inspect_one(struct hoy_store *s, const struct inspect_opts *o, const char *name, struct hoy_jw *w, struct hoy_err *err)
{
	cleanup_ctr struct ctr c = CTR_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS), text = HOY_BUF_INIT(1 << 16);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	bool image = o->type && !strcmp(o->type, "image");
	int r = image ? -ENOENT : ctr_open(&c, s, name, err);

	if (!r)
		return ctr_inspect(w, &c, err);
	if (r != -ENOENT || (o->type && !strcmp(o->type, "container")))
		return r;
	r = ask_image(name, &out, &text);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot run hoy-image");
	if (r || hoy_json_parse(&doc, hoy_buf_str(&out), out.len, "hoy-image's answer", err) < 0)
		return image ? hoy_fail(err, ENOENT, "%s: image not known", name) : hoy_fail(err, ENOENT, "no such object: \"%s\"", name);
	HOY_JSON_EACH(it, doc.root)
		hoy_jw_value(w, NULL, it);
	return 0;
}

static int run_inspect(const struct hoy_verb *v, int argc, char **argv)
{
	struct inspect_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "     ");
	int status, failed = 0, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	if (strncmp(v->name, "container", 9) == 0)
		o.type = "container";
	if (o.type && strcmp(o.type, "container") && strcmp(o.type, "image") && strcmp(o.type, "all")) {
		hoy_error("inspecting the type '%s' is not supported (container, image, all)", o.type);
		return 125;
	}
	s = open_store(HOY_STORE_RDONLY);
	if (!s)
		return 125;
	if (pick(s, n, argv + 1, false, o.latest, &ids, &err) < 0)
		return hoy_report(&err, 125);
	hoy_jw_array(&w, NULL);
	for (size_t i = 0; i < ids.n; i++)
		if (inspect_one(s, &o, ids.v[i], &w, &err) < 0) {
			failed = 125;
			hoy_report(&err, 0);
		}
	hoy_jw_end_array(&w);
	if (hoy_format_inspect(o.format, &b, &err) < 0)
		return hoy_report(&err, 125);
	return failed;
}
const struct hoy_verb verb_inspect = { "inspect", "[options] NAME [NAME...]", "Print the configuration of containers and images", opts,
				       run_inspect, false };
