/* cmd-build/from.c: `from`: a working container of an image, or of nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-build/ctr.h"
#include "cmd-build/ctropts.h"
#include "cmd-build/verbs.h"
#include "common/base/fd.h"

#define O(field) offsetof(struct ctr_opts, field)
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

static int write_cidfile(struct ctr *c, const char *path)
{
	int r = path ? hoy_replace_file(AT_FDCWD, path, c->w.id, strlen(c->w.id), 0644, false) : 0;

	return r < 0 ? hoy_fail_errno(&c->b.err, -r, "cannot write '%s'", path) : 0;
}

static int take_platform(struct ctr *c, const struct ctr_opts *o, struct stage *st)
{
	st->plat_given = o->platform || o->os || o->arch || o->variant;
	if (!st->plat_given)
		return 0;
	if (o->platform && (o->os || o->arch || o->variant))
		return hoy_fail(&c->b.err, EINVAL, "invalid --platform may not be used with --os, --arch, or --variant");
	return o->platform ? platform_parse(&st->plat, o->platform, &c->b.err) : platform_of(&st->plat, o->os, o->arch, o->variant, &c->b.err);
}

static int make(struct ctr *c, const char *image, const struct ctr_opts *o)
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
		r = ctr_set_options(c, o);
	if (!r)
		r = ctr_create(c, &s, o->name);
	/* What the base image asks those who build on it to do. */
	if (!r) {
		r = ctr_trigger(c, hoy_json_path(s.base.root, "config", "OnBuild", NULL));
		if (r < 0)
			(void)ctr_remove(c);
	}
	state_release(&s);
	return r ? r : write_cidfile(c, o->cidfile);
}

static void take_pull(struct ctr *c, const struct ctr_opts *o)
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

static void opts_release(struct ctr_opts *o)
{
	struct hoy_strv *lists[] = { &o->add_host, &o->cap_add, &o->cap_drop, &o->device, &o->dns, &o->dns_option, &o->dns_search,
				     &o->group_add, &o->security_opt, &o->ulimit, &o->volume, &o->decryption_key };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		hoy_strv_release(lists[i]);
	userns_opts_release(&o->userns);
}

static int run_from(const struct hoy_verb *v, int argc, char **argv)
{
	struct ctr_opts o = CTR_OPTS_INIT;
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
