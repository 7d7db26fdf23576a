/* cmd-build/runwords.c: the settings of a working container as words of hoy-run's command line. */
#include "cmd-build/runverb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common/base/beneath.h"
#include "common/base/copytree.h"
#include "common/base/fd.h"
#include "common/oci/caps.h"

static const struct hoy_json *common(const struct runner *u) { return hoy_json_get(u->c->d.root, "CommonBuildOpts"); }

/* ---- words of hoy-run's command line ---- */

static void push_list(struct runner *u, const char *option, const char *key)
{
	HOY_JSON_EACH(v, hoy_json_get(common(u), key))
		if (hoy_json_text(v))
			hoy_strv_pushf(&u->argv, "--%s=%s", option, v->str);
}

static void push_given(struct runner *u, const char *option, const struct hoy_strv *v)
{
	for (size_t i = 0; i < v->n; i++)
		hoy_strv_pushf(&u->argv, "--%s=%s", option, v->v[i]);
}

/* The mode of namespace NAME: as the option says, else as the container was made. */
static void push_namespace(struct runner *u, const char *name, const char *option, const char *given)
{
	bool net = !strcmp(name, "network");
	int64_t policy = hoy_json_int(u->c->d.root, "ConfigureNetwork", NETWORK_DEFAULT);

	if (given) {
		if (!strcmp(given, "container") || !*given || !strcmp(given, "private"))
			hoy_strv_pushf(&u->argv, "--%s=%s", option, net ? "bridge" : "private");
		else
			hoy_strv_pushf(&u->argv, "--%s=%s%s", option, *given == '/' ? "ns:" : "", given);
		return;
	}
	HOY_JSON_EACH(o, hoy_json_get(u->c->d.root, "NamespaceOptions")) {
		const char *path = hoy_json_str(o, "Path") ?: "";

		if (strcmp(hoy_json_str(o, "Name") ?: "", name))
			continue;
		if (hoy_json_bool(o, "Host", false))
			hoy_strv_pushf(&u->argv, "--%s=host", option);
		else if (*path)
			hoy_strv_pushf(&u->argv, "--%s=%s%s", option, *path == '/' ? "ns:" : "", path);
		else if (net && policy == NETWORK_DISABLED)
			hoy_strv_push(&u->argv, "--network=none");
	}
}

static bool is_network(const struct runner *u, const char *mode)
{
	cleanup_free char *word = hoy_asprintf("--network=%s", mode);

	return word && hoy_strv_has(&u->argv, word);
}

static void push_namespaces(struct runner *u)
{
	push_namespace(u, "cgroup", "cgroupns", u->o->cgroupns);
	push_namespace(u, "ipc", "ipc", u->o->ipc);
	push_namespace(u, "network", "network", u->o->network);
	push_namespace(u, "pid", "pid", u->o->pid);
	push_namespace(u, "uts", "uts", u->o->uts);
	/* Then /etc/hosts is the image's, as buildah has it. */
	if (u->o->no_hosts || hoy_json_bool(common(u), "NoHosts", false) || is_network(u, "none"))
		hoy_strv_push(&u->argv, "--no-hosts");
	if (u->o->no_hostname || hoy_json_bool(common(u), "NoHostname", false))
		hoy_strv_push(&u->argv, "--no-hostname");
}

static void push_hostname(struct runner *u)
{
	const char *own = hoy_json_str(ctr_docker(u->c), "Hostname");

	if (hoy_strv_has(&u->argv, "--uts=host"))
		return;
	if (u->o->hostname || (own && *own))
		hoy_strv_pushf(&u->argv, "--hostname=%s", u->o->hostname ?: own);
	else
		hoy_strv_pushf(&u->argv, "--hostname=%.12s", u->c->w.id);
}

/* The container's, and what the options add and take. */
static int find_caps(struct runner *u, uint64_t *ret)
{
	uint64_t own = 0, drop = 0;
	int r = 0;

	HOY_JSON_EACH(cap, hoy_json_get(u->c->d.root, "Capabilities"))
		if (!r && hoy_json_text(cap))
			r = hoy_caps_parse(cap->str, &own, &u->c->b.err);
	for (size_t i = 0; i < u->o->cap_add.n && !r; i++)
		r = hoy_caps_parse(u->o->cap_add.v[i], &own, &u->c->b.err);
	for (size_t i = 0; i < u->o->cap_drop.n && !r; i++)
		r = hoy_caps_parse(u->o->cap_drop.v[i], &drop, &u->c->b.err);
	*ret = own & ~drop;
	return r;
}

static int push_caps(struct runner *u)
{
	uint64_t caps = 0;
	int r = find_caps(u, &caps);

	hoy_strv_push(&u->argv, "--cap-drop=all");
	for (int i = 0; i < 64; i++)
		if (caps & UINT64_C(1) << i && hoy_cap_name(i))
			hoy_strv_pushf(&u->argv, "--cap-add=%s", hoy_cap_name(i));
	return r;
}

static void push_number(struct runner *u, const char *option, const char *key)
{
	int64_t n = hoy_json_int(common(u), key, 0);

	if (n)
		hoy_strv_pushf(&u->argv, "--%s=%lld", option, (long long)n);
}

static void push_limits(struct runner *u)
{
	static const char *const texts[][2] = { { "cgroup-parent", "CgroupParent" }, { "cpuset-cpus", "CPUSetCPUs" },
						{ "cpuset-mems", "CPUSetMems" }, { "shm-size", "ShmSize" } };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *v = hoy_json_str(common(u), texts[i][1]);

		/* A /dev/shm of the host's has its own size. */
		if (v && *v && !(!strcmp(texts[i][0], "shm-size") && hoy_strv_has(&u->argv, "--ipc=host")))
			hoy_strv_pushf(&u->argv, "--%s=%s", texts[i][0], v);
	}
	push_number(u, "cpu-period", "CPUPeriod");
	push_number(u, "cpu-quota", "CPUQuota");
	push_number(u, "cpu-shares", "CPUShares");
	push_number(u, "memory", "Memory");
	push_number(u, "memory-swap", "MemorySwap");
	push_list(u, "ulimit", "Ulimit");
}

/* Another root of buildah's may have had its own copy of the profile that everybody has. */
static bool usual_profile(const char *path)
{
	return !*path || ((!strcmp(path, "/usr/share/containers/seccomp.json") || !strcmp(path, "/etc/containers/seccomp.json")) &&
			  !hoy_exists(AT_FDCWD, path));
}

static void push_security(struct runner *u)
{
	const char *seccomp = hoy_json_str(common(u), "SeccompProfilePath") ?: "", *apparmor = hoy_json_str(common(u), "ApparmorProfile") ?: "";
	static const char *const lists[][2] = { { "label", "LabelOpts" }, { "mask", "Masks" }, { "unmask", "Unmasks" } };

	if (!usual_profile(seccomp))
		hoy_strv_pushf(&u->argv, "--security-opt=seccomp=%s", seccomp);
	if (*apparmor)
		hoy_strv_pushf(&u->argv, "--security-opt=apparmor=%s", apparmor);
	if (hoy_json_bool(common(u), "NoNewPrivileges", false))
		hoy_strv_push(&u->argv, "--security-opt=no-new-privileges");
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		HOY_JSON_EACH(v, hoy_json_get(common(u), lists[i][1]))
			hoy_strv_pushf(&u->argv, "--security-opt=%s=%s", lists[i][0], hoy_json_text(v) ?: "");
}

static void push_env(struct runner *u)
{
	hoy_strv_push(&u->argv, "--unsetenv=container");
	HOY_JSON_EACH(e, hoy_json_get(ctr_oci(u->c), "Env"))
		hoy_strv_pushf(&u->argv, "--env=%s", hoy_json_text(e) ?: "");
	push_given(u, "env", &u->o->env);
	if (!hoy_json_bool(common(u), "HTTPProxy", true))
		hoy_strv_push(&u->argv, "--http-proxy=false");
}

static void push_files(struct runner *u)
{
	push_list(u, "add-host", "AddHost");
	if (!is_network(u, "none")) {
		push_list(u, "dns", "DNSServers");
		push_list(u, "dns-option", "DNSOptions");
		push_list(u, "dns-search", "DNSSearch");
	}
	push_list(u, "volume", "Volumes");
	push_given(u, "volume", &u->o->volume);
	HOY_JSON_EACH(d, hoy_json_get(u->c->d.root, "DeviceSpecs"))
		hoy_strv_pushf(&u->argv, "--device=%s", hoy_json_text(d) ?: "");
	push_given(u, "device", &u->o->device);
	HOY_JSON_EACH(g, hoy_json_get(u->c->d.root, "GroupAdd"))
		hoy_strv_pushf(&u->argv, "--group-add=%s", hoy_json_text(g) ?: "");
}

/* ---- volumes of the config ---- */

static bool leads_to(const char *volume, const char *path)
{
	const char *to = strchr(volume, ':');
	size_t len = strlen(path);

	return to && !strncmp(to + 1, path, len) && (!to[1 + len] || to[1 + len] == ':');
}

/* Is something else mounted at PATH? */
static bool is_covered(const struct runner *u, const char *path)
{
	for (size_t i = 0; i < u->o->volume.n; i++)
		if (leads_to(u->o->volume.v[i], path))
			return true;
	for (size_t i = 0; i < u->mounts.n; i++)
		if (!strcmp(u->mounts.v[i].target, path))
			return true;
	HOY_JSON_EACH(v, hoy_json_get(common(u), "Volumes"))
		if (hoy_json_text(v) && leads_to(v->str, path))
			return true;
	return false;
}

/*
 * What commands write to a volume doesn't come into the image, but the next command finds it: a directory of the container's, which
 * begins with what the image has there.
 */
static int push_volume(struct runner *u, int root, size_t nth, const char *path, struct hoy_strv *ret)
{
	struct ctr *c = u->c;
	cleanup_free char *host = NULL, *name = hoy_asprintf("volume-%zu", nth);
	cleanup_fd int own = -1, dir = -1, from = -1;
	char at[HOY_ID_SIZE + 32];
	bool fresh;
	int r;

	snprintf(at, sizeof(at), "%s/buildah-volumes", c->w.id);
	own = name ? hoy_open_dir_p(c->b.s->ctrsfd, at, 0755) : -ENOMEM;
	fresh = own >= 0 && !hoy_exists(own, name);
	dir = own < 0 ? own : hoy_open_dir_p(own, name, 0755);
	r = userns_as_root(&c->w.ns, &c->b.err);
	from = r < 0 ? r : hoy_mkdir_in_root(root, path, 0755);
	(void)userns_as_root(NULL, NULL);
	if (r < 0)
		return r;
	if (dir < 0 || from < 0)
		return hoy_fail_errno(&c->b.err, dir < 0 ? -dir : -from, "cannot make the volume '%s'", path);
	hoy_close(from);
	from = hoy_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0, HOY_IN_ROOT);
	r = !fresh ? 0 : from < 0 ? from : hoy_copy_tree(from, dir, true);
	if (r < 0)
		return hoy_fail_errno(&c->b.err, -r, "cannot fill the volume '%s'", path);
	host = hoy_asprintf("%s/%s-containers/%s/%s", c->b.s->conf.graphroot, c->b.s->own.driver, at, name);
	hoy_strv_pushf(ret, "%s:%s", host ?: "", path);
	return host ? 0 : hoy_fail_oom(&c->b.err);
}

static int push_volumes(struct runner *u, int root, struct hoy_strv *ret)
{
	size_t nth = 0;
	int r = 0;

	HOY_JSON_EACH(v, hoy_json_get(ctr_oci(u->c), "Volumes")) {
		if (!r && !is_covered(u, v->key))
			r = push_volume(u, root, nth, v->key, ret);
		nth++;
	}
	return r;
}

int run_words(struct runner *u, int root)
{
	const char *user = u->o->user ?: hoy_json_str(ctr_oci(u->c), "User"), *dir = u->o->workingdir ?: hoy_json_str(ctr_oci(u->c), "WorkingDir");
	cleanup_strv struct hoy_strv volumes = HOY_STRV_INIT;
	int r;

	hoy_strv_pushf(&u->argv, "--workdir=%s", dir && *dir ? dir : "/");
	hoy_strv_pushf(&u->argv, "--user=%s", user && *user ? user : "0");
	if (u->o->no_pivot || no_pivot_asked())
		hoy_strv_push(&u->argv, "--no-pivot");
	push_namespaces(u);
	push_hostname(u);
	r = push_caps(u);
	if (r < 0)
		return r;
	push_limits(u);
	push_security(u);
	push_env(u);
	push_files(u);
	r = push_volumes(u, root, &volumes);
	push_given(u, "volume", &volumes);
	return r ? r : u->argv.error ? hoy_fail_oom(&u->c->b.err) : 0;
}
