#include "cmd-build/ctropts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/base/fd.h"
#include "common/conf/containers.h"
#include "common/data/units.h"
#include "common/oci/caps.h"

static int set_strings(struct ctr *c, struct hoy_json *of, const char *key, const struct hoy_strv *v)
{
	struct hoy_json *list = v->n ? hoy_json_need(&c->d, of, key, HOY_JSON_ARRAY) : NULL;

	for (size_t i = 0; i < v->n; i++)
		if (!list || !hoy_json_set_string(&c->d, list, NULL, v->v[i]))
			return hoy_fail_oom(&c->b.err);
	return 0;
}

/* HOW of the namespace NAME: private, host, or a path; of the network also none, or its name. */
static int set_namespace(struct ctr *c, const char *name, const char *how)
{
	bool net = !strcmp(name, "network"), host = how && !strcmp(how, "host"), none = net && how && !strcmp(how, "none");
	bool own = how && (!*how || !strcmp(how, "private") || !strcmp(how, "container"));

	if (!how)
		return 0;
	if (!strncmp(how, "ns:", 3))
		how += 3;
	if (!own && !host && !none && *how == '/' && !hoy_exists(AT_FDCWD, how))
		return hoy_fail_errno(&c->b.err, ENOENT, "checking %s namespace: '%s'", name, how);
	if (!own && !host && !none && !net && *how != '/')
		return hoy_fail(&c->b.err, EINVAL, "checking %s namespace: '%s' is neither private, host nor a path", name, how);
	HOY_JSON_EACH(o, hoy_json_get(c->d.root, "NamespaceOptions")) {
		struct hoy_json *opt = (struct hoy_json *)o;

		if (strcmp(hoy_json_str(o, "Name") ?: "", name))
			continue;
		if (!hoy_json_set_bool(&c->d, opt, "Host", host) || !hoy_json_set_string(&c->d, opt, "Path", own || host || none ? "" : how))
			return hoy_fail_oom(&c->b.err);
	}
	/* (buildah notes it whichever namespace it is; but what is off stays off.) */
	none = none || hoy_json_int(c->d.root, "ConfigureNetwork", NETWORK_DEFAULT) == NETWORK_DISABLED;
	return hoy_json_set_int(&c->d, c->d.root, "ConfigureNetwork", none ? NETWORK_DISABLED : NETWORK_ENABLED) ? 0 : hoy_fail_oom(&c->b.err);
}

static int set_namespaces(struct ctr *c, const struct ctr_opts *o)
{
	const struct {
		const char *name, *how;
	} of[] = { { "cgroup", o->cgroupns }, { "ipc", o->ipc }, { "network", o->network }, { "pid", o->pid }, { "uts", o->uts } };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(of) && !r; i++)
		r = set_namespace(c, of[i].name, of[i].how);
	return r;
}

static int set_caps(struct ctr *c, const struct ctr_opts *o, const struct hoy_json *conf)
{
	const struct hoy_json *given = hoy_json_get(hoy_json_get(conf, "containers"), "default_capabilities");
	struct hoy_json *list = hoy_json_get(c->d.root, "Capabilities");
	uint64_t set = given ? 0 : HOY_CAPS_DEFAULT, add = 0, drop = 0;
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	int r = 0;

	HOY_JSON_EACH(n, given)
		if (!r && hoy_json_text(n))
			r = hoy_caps_parse(n->str, &set, &c->b.err);
	for (size_t i = 0; i < o->cap_add.n && !r; i++)
		r = hoy_caps_parse(o->cap_add.v[i], &add, &c->b.err);
	for (size_t i = 0; i < o->cap_drop.n && !r; i++)
		r = hoy_caps_parse(o->cap_drop.v[i], &drop, &c->b.err);
	set = drop == HOY_CAPS_ALL ? add : ((set | add) & ~drop);
	for (int i = 0; i < 64; i++)
		if (set & UINT64_C(1) << i && hoy_cap_name(i))
			hoy_strv_push(&names, hoy_cap_name(i));
	hoy_strv_sort(&names);
	for (size_t i = 0; i < names.n && !r; i++)
		r = hoy_json_set_string(&c->d, list, NULL, names.v[i]) ? 0 : hoy_fail_oom(&c->b.err);
	return r;
}

static int set_security(struct ctr *c, struct hoy_json *common, const char *opt)
{
	const char *value = opt + strcspn(opt, "=:");
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT;
	cleanup_free char *key = strndup(opt, value - opt);

	value += *value != '\0';
	if (!key)
		return hoy_fail_oom(&c->b.err);
	if (!strcmp(key, "no-new-privileges"))
		return hoy_json_set_bool(&c->d, common, "NoNewPrivileges", !*value || !strcmp(value, "true")) ? 0 : hoy_fail_oom(&c->b.err);
	if (!*value)
		return hoy_fail(&c->b.err, EINVAL, "invalid --security-opt name=value pair: %s", opt);
	if (!strcmp(key, "seccomp") || !strcmp(key, "apparmor"))
		return hoy_json_set_string(&c->d, common, *key == 's' ? "SeccompProfilePath" : "ApparmorProfile", value) ? 0 :
														 hoy_fail_oom(&c->b.err);
	if (!strcmp(key, "label"))
		hoy_strv_push(&parts, value);
	else if (!strcmp(key, "mask") || !strcmp(key, "unmask"))
		hoy_strv_split(&parts, value, ':');
	else
		return hoy_fail(&c->b.err, EINVAL, "invalid --security-opt 2: \"%s\"", opt);
	return set_strings(c, common, *key == 'l' ? "LabelOpts" : *key == 'm' ? "Masks" : "Unmasks", &parts);
}

static int set_size(struct ctr *c, struct hoy_json *common, const char *key, const char *text)
{
	int64_t v = -1;

	if (!text)
		return 0;
	if (strcmp(text, "-1") && !hoy_size_parse(text, &v))
		return hoy_fail(&c->b.err, EINVAL, "invalid value for memory: '%s' is no size", text);
	return hoy_json_set_int(&c->d, common, key, v) ? 0 : hoy_fail_oom(&c->b.err);
}

static int set_common(struct ctr *c, const struct ctr_opts *o, const struct hoy_json *conf)
{
	struct hoy_json *common = hoy_json_get(c->d.root, "CommonBuildOpts");
	const struct {
		const char *key, *text;
	} texts[] = { { "CgroupParent", o->cgroup_parent }, { "CPUSetCPUs", o->cpuset_cpus }, { "CPUSetMems", o->cpuset_mems }, { "ShmSize", o->shm_size } };
	const struct {
		const char *key;
		int64_t n;
	} numbers[] = { { "CPUPeriod", o->cpu_period }, { "CPUQuota", o->cpu_quota }, { "CPUShares", o->cpu_shares } };
	const struct {
		const char *key;
		const struct hoy_strv *v;
	} lists[] = { { "AddHost", &o->add_host }, { "DNSServers", &o->dns }, { "DNSOptions", &o->dns_option }, { "DNSSearch", &o->dns_search },
		      { "Ulimit", &o->ulimit }, { "Volumes", &o->volume } };
	cleanup_strv struct hoy_strv limits = HOY_STRV_INIT;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].text && !hoy_json_set_string(&c->d, common, texts[i].key, texts[i].text))
			return hoy_fail_oom(&c->b.err);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].n && !hoy_json_set_int(&c->d, common, numbers[i].key, numbers[i].n))
			return hoy_fail_oom(&c->b.err);
	HOY_JSON_EACH(l, hoy_json_get(hoy_json_get(conf, "containers"), "default_ulimits"))
		hoy_strv_push(&limits, hoy_json_text(l) ?: "");
	r = set_strings(c, common, "Ulimit", &limits);
	for (size_t i = 0; i < ARRAY_SIZE(lists) && !r; i++)
		r = set_strings(c, common, lists[i].key, lists[i].v);
	for (size_t i = 0; i < o->security_opt.n && !r; i++)
		r = set_security(c, common, o->security_opt.v[i]);
	if (!r && o->http_proxy == 0)
		r = hoy_json_set_bool(&c->d, common, "HTTPProxy", false) ? 0 : hoy_fail_oom(&c->b.err);
	if (!r)
		r = set_size(c, common, "Memory", o->memory);
	return r ? r : set_size(c, common, "MemorySwap", o->memory_swap);
}

int ctr_set_options(struct ctr *c, const struct ctr_opts *o)
{
	cleanup_json struct hoy_json_doc conf = HOY_JSON_DOC_INIT;
	int isolation = isolation_parse(o->isolation, &c->b.err), r;

	if (isolation < 0)
		return isolation;
	if (isolation && !hoy_json_set_int(&c->d, c->d.root, "Isolation", isolation))
		return hoy_fail_oom(&c->b.err);
	r = hoy_containers_conf_load(&conf, &c->b.err);
	if (!r)
		r = set_namespaces(c, o);
	if (!r)
		r = userns_take(&c->w.ns, &o->userns, &c->b.err);
	if (!r)
		r = set_caps(c, o, conf.root);
	if (!r)
		r = set_common(c, o, conf.root);
	if (!r)
		r = set_strings(c, c->d.root, "DeviceSpecs", &o->device);
	return r ? r : set_strings(c, c->d.root, "GroupAdd", &o->group_add);
}

