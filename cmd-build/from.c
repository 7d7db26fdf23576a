/* cmd-build/from.c: `from`: a working container of an image, or of nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/ctr.h"
#include "cmd-build/verbs.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/conf/containers.h"
#include "common/data/units.h"
#include "common/oci/caps.h"
#include "common/store/images.h"

struct from_opts {
	struct hoy_strv add_host, cap_add, cap_drop, device, dns, dns_option, dns_search, group_add, security_opt, ulimit, volume,
		decryption_key;
	const char *arch, *authfile, *cert_dir, *cgroup_parent, *cgroupns, *cidfile, *cpuset_cpus, *cpuset_mems, *creds, *format, *ipc,
		*isolation, *memory, *memory_swap, *name, *network, *os, *pid, *platform, *pull, *retry_delay, *shm_size, *uts, *variant;
	int64_t cpu_period, cpu_quota, cpu_shares, retry;
	int http_proxy, tls_verify;
	bool quiet;
	struct userns_opts userns;
};
#define O(field) offsetof(struct from_opts, field)
#define STR(letter, name, field, arg, help) { letter, name, HOY_OPT_STRING, O(field), arg, help }
#define LIST(letter, name, field, arg, help) { letter, name, HOY_OPT_LIST, O(field), arg, help }
#define COMMAS(letter, name, field, arg, help) { letter, name, HOY_OPT_COMMAS, O(field), arg, help }
#define INT(letter, name, field, arg, help) { letter, name, HOY_OPT_INT, O(field), arg, help }
static const struct hoy_opt from_opts[] = {
	COMMAS(0, "add-host", add_host, "HOST:IP", "add a line to /etc/hosts"),
	STR(0, "arch", arch, "ARCH", "architecture of the image"),
	STR(0, "authfile", authfile, "FILE", "credentials of registries"),
	COMMAS(0, "cap-add", cap_add, "CAP", "give commands a capability"),
	COMMAS(0, "cap-drop", cap_drop, "CAP", "take a capability from commands"),
	STR(0, "cert-dir", cert_dir, "DIR", "certificates of registries"),
	STR(0, "cgroup-parent", cgroup_parent, "PATH", "cgroup to put the commands' into"),
	STR(0, "cgroupns", cgroupns, "MODE", "cgroup namespace: private or host"),
	STR(0, "cidfile", cidfile, "FILE", "write the container's id to a file"),
	INT(0, "cpu-period", cpu_period, "USEC", "length of a CPU period"),
	INT(0, "cpu-quota", cpu_quota, "USEC", "CPU time in a period"),
	INT('c', "cpu-shares", cpu_shares, "N", "relative weight of CPU time"),
	STR(0, "cpuset-cpus", cpuset_cpus, "LIST", "CPUs to run on"),
	STR(0, "cpuset-mems", cpuset_mems, "LIST", "memory nodes to use"),
	STR(0, "creds", creds, "USER[:PASSWORD]", "credentials for the registry"),
	COMMAS(0, "decryption-key", decryption_key, "FILE[:PASSWORD]", "private key for encrypted layers"),
	LIST(0, "device", device, "DEVICE", "give commands a device"),
	COMMAS(0, "dns", dns, "IP", "name server, or none"),
	COMMAS(0, "dns-option", dns_option, "OPTION", "option of the resolver"),
	COMMAS(0, "dns-search", dns_search, "DOMAIN", "search domain"),
	STR('f', "format", format, "FORMAT", "what it will be committed as: oci (default) or docker"),
	COMMAS(0, "group-add", group_add, "GROUP", "supplementary group of commands"),
	{ 0, "http-proxy", HOY_OPT_TRI, O(http_proxy), NULL, "give commands the proxy variables (default true)" },
	STR(0, "ipc", ipc, "MODE", "IPC namespace: private, host or a path"),
	STR(0, "isolation", isolation, "TYPE", "of commands: oci, rootless or chroot"),
	STR('m', "memory", memory, "SIZE", "limit of memory"),
	STR(0, "memory-swap", memory_swap, "SIZE", "limit of memory and swap, -1 for none"),
	STR(0, "name", name, "NAME", "name of the container"),
	STR(0, "network", network, "MODE", "private, none, host, NETWORK or ns:PATH"),
	STR(0, "os", os, "OS", "operating system of the image"),
	STR(0, "pid", pid, "MODE", "PID namespace: private, host or a path"),
	STR(0, "platform", platform, "OS/ARCH", "platform of the image"),
	{ 0, "pull", HOY_OPT_OPTARG, O(pull), "[=always]", "always, missing (default), never or newer" },
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "no progress of a pull" },
	INT(0, "retry", retry, "N", "attempts after a failed one of a pull (default 3)"),
	STR(0, "retry-delay", retry_delay, "DURATION", "time between attempts"),
	LIST(0, "security-opt", security_opt, "OPTION", "seccomp=, label=, apparmor=, mask=, unmask=, no-new-privileges"),
	STR(0, "shm-size", shm_size, "SIZE", "size of /dev/shm (default 65536k)"),
	{ 0, "tls-verify", HOY_OPT_TRI, O(tls_verify), NULL, "check the registry's certificate" },
	COMMAS(0, "ulimit", ulimit, "NAME=SOFT[:HARD]", "resource limit"),
	USERNS_OPTS(O(userns)),
	STR(0, "uts", uts, "MODE", "UTS namespace: private, host or a path"),
	STR(0, "variant", variant, "VARIANT", "variant of the architecture"),
	LIST('v', "volume", volume, "SOURCE:PATH[:OPTIONS]", "mount a directory for commands"),
	HOY_OPTS_END,
};

/* ---- settings ---- */

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

static int set_namespaces(struct ctr *c, const struct from_opts *o)
{
	const struct {
		const char *name, *how;
	} of[] = { { "cgroup", o->cgroupns }, { "ipc", o->ipc }, { "network", o->network }, { "pid", o->pid }, { "uts", o->uts } };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(of) && !r; i++)
		r = set_namespace(c, of[i].name, of[i].how);
	return r;
}

static int set_caps(struct ctr *c, const struct from_opts *o, const struct hoy_json *conf)
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

static int set_common(struct ctr *c, const struct from_opts *o, const struct hoy_json *conf)
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

static int set_all(struct ctr *c, const struct from_opts *o)
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

/* ---- the container ---- */

/* "localhost/a/busybox:latest" gives "busybox" (and a registry with a port its host, as buildah has it). */
static char *prefix_of(const char *image)
{
	cleanup_free char *word = strndup(image, strcspn(image, ":"));
	char *slash = word ? strrchr(word, '/') : NULL, *at;

	if (slash)
		memmove(word, slash + 1, strlen(slash));
	at = word ? strchr(word, '@') : NULL;
	if (at)
		*at = '\0';
	return word ? hoy_asprintf("%s-working-container", word) : NULL;
}

static bool is_taken(struct hoy_store *s, const char *name)
{
	for (struct hoy_json *rec = hoy_first(s->ctrs); rec; rec = hoy_next(s->ctrs, rec))
		if (hoy_record_has(rec, "names", name))
			return true;
	return false;
}

/* PREFIX, or PREFIX-N with the first N that nobody has. */
static int free_name(struct ctr *c, const char *prefix)
{
	int r = hoy_store_peek(c->b.s, HOY_LAYERS | HOY_IMAGES | HOY_CONTAINERS, &c->b.err);

	for (unsigned n = 0; !r; n++) {
		free(c->w.name);
		c->w.name = n ? hoy_asprintf("%s-%u", prefix, n) : strdup(prefix);
		if (!c->w.name)
			return hoy_fail_oom(&c->b.err);
		if (!is_taken(c->b.s, c->w.name))
			break;
	}
	return r;
}

static int settings(struct work *w, struct hoy_buf *ret)
{
	struct ctr *c = (struct ctr *)((char *)w - offsetof(struct ctr, w));
	int r = userns_write(&w->ns, &c->d, &c->b.err);

	if (!r)
		ctr_write(c, ret);
	return r;
}

static int store_it(struct ctr *c, const struct state *s)
{
	if (hoy_random_id(c->w.id) < 0 || hoy_random_id(c->w.layer) < 0)
		return hoy_fail(&c->b.err, EIO, "cannot draw a random number");
	if (!hoy_json_set_string(&c->d, c->d.root, "container-name", c->w.name) || !hoy_json_set_string(&c->d, c->d.root, "container-id", c->w.id))
		return hoy_fail_oom(&c->b.err);
	return work_create(s, &c->w, settings);
}

static int create(struct ctr *c, const struct state *s, const char *name)
{
	const char *image = hoy_json_str(c->d.root, "image");
	cleanup_free char *prefix = image ? prefix_of(image) : strdup("working-container");
	int r;

	if (name) {
		c->w.name = strdup(name);
		r = c->w.name ? store_it(c, s) : hoy_fail_oom(&c->b.err);
		return r < 0 ? hoy_fail_prefix(&c->b.err, "creating container") : 0;
	}
	/* Another `from` may have been faster with the same name. */
	do {
		r = prefix ? free_name(c, prefix) : hoy_fail_oom(&c->b.err);
		if (!r)
			r = store_it(c, s);
	} while (r == -EEXIST);
	return r;
}

static int write_cidfile(struct ctr *c, const char *path)
{
	int r = path ? hoy_replace_file(AT_FDCWD, path, c->w.id, strlen(c->w.id), 0644, false) : 0;

	return r < 0 ? hoy_fail_errno(&c->b.err, -r, "cannot write '%s'", path) : 0;
}

static int take_platform(struct ctr *c, const struct from_opts *o, struct stage *st)
{
	st->plat_given = o->platform || o->os || o->arch || o->variant;
	if (!st->plat_given)
		return 0;
	if (o->platform && (o->os || o->arch || o->variant))
		return hoy_fail(&c->b.err, EINVAL, "invalid --platform may not be used with --os, --arch, or --variant");
	return o->platform ? platform_parse(&st->plat, o->platform, &c->b.err) : platform_of(&st->plat, o->os, o->arch, o->variant, &c->b.err);
}

static int make(struct ctr *c, const char *image, const struct from_opts *o)
{
	const char *format = o->format ?: getenv("BUILDAH_FORMAT") ?: "oci";
	struct stage st = { .base_stage = -1 };
	struct state s = { .b = &c->b, .st = &st };
	int r = take_platform(c, o, &st);

	if (r < 0)
		return r;
	if (strcmp(format, "oci") && strcmp(format, "docker"))
		return hoy_fail(&c->b.err, EINVAL, "unrecognized image type \"%s\"", format);
	r = ctr_open_store(c);
	if (!r)
		r = strcmp(image, "scratch") ? image_base(&s, image) : 0;
	if (!r)
		r = ctr_describe(c, &s, *format == 'o' ? FORMAT_OCI : FORMAT_DOCKER);
	if (!r)
		r = set_all(c, o);
	if (!r)
		r = create(c, &s, o->name);
	/* What the base image asks those who build on it to do. */
	if (!r) {
		r = ctr_trigger(c, hoy_json_path(s.base.root, "config", "OnBuild", NULL));
		if (r < 0)
			(void)ctr_remove(c);
	}
	state_release(&s);
	return r ? r : write_cidfile(c, o->cidfile);
}

static void take_pull(struct ctr *c, const struct from_opts *o)
{
	c->o.pull = o->pull;
	c->o.authfile = o->authfile;
	c->o.creds = o->creds;
	c->o.cert_dir = o->cert_dir;
	c->o.tls_verify = o->tls_verify;
	c->o.quiet = o->quiet;
	c->o.retry = o->retry;
	c->o.retry_delay = o->retry_delay;
	c->o.decryption_keys = o->decryption_key;
}

static void opts_release(struct from_opts *o)
{
	struct hoy_strv *lists[] = { &o->add_host, &o->cap_add, &o->cap_drop, &o->device, &o->dns, &o->dns_option, &o->dns_search,
				     &o->group_add, &o->security_opt, &o->ulimit, &o->volume, &o->decryption_key };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_strv_release(lists[i]);
	userns_opts_release(&o->userns);
}

static int run_from(const struct hoy_verb *v, int argc, char **argv)
{
	struct from_opts o = { .http_proxy = -1, .tls_verify = -1, .retry = -1 };
	struct ctr c;
	int status, r, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	ctr_init(&c);
	take_pull(&c, &o);
	r = options_first(n, argv, "image or container name", &c.b.err);
	if (!r && !n)
		r = hoy_fail(&c.b.err, EINVAL, "an image name (or \"scratch\") must be specified");
	if (!r && n > 1)
		r = hoy_fail(&c.b.err, EINVAL, "too many arguments specified");
	if (!r)
		r = make(&c, argv[1], &o);
	if (!r)
		puts(c.w.name);
	opts_release(&o);
	return ctr_finish(&c, r);
}
const struct hoy_verb verb_from = { "from", "[options] IMAGE|scratch", "Make a working container of an image", from_opts, run_from, HOY_VERB_COMMAND };
