#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/sys.h"

#define CONFIG_MAX ((size_t)16 << 20)

/* In the order in which they are joined: the user namespace decides about the rights in all others. */
const struct ns_info ns_table[NS_COUNT] = {
	[NS_USER] = { "user", "user", CLONE_NEWUSER },	  [NS_PID] = { "pid", "pid", CLONE_NEWPID },
	[NS_NET] = { "network", "net", CLONE_NEWNET },	  [NS_IPC] = { "ipc", "ipc", CLONE_NEWIPC },
	[NS_UTS] = { "uts", "uts", CLONE_NEWUTS },	  [NS_CGROUP] = { "cgroup", "cgroup", CLONE_NEWCGROUP },
	[NS_TIME] = { "time", "time", CLONE_NEWTIME },	  [NS_MNT] = { "mount", "mnt", CLONE_NEWNS },
};

static int parse_namespaces(struct spec *s, struct hoy_err *err)
{
	HOY_JSON_EACH(n, hoy_json_get(s->linux_, "namespaces")) {
		const char *type = hoy_json_str(n, "type"), *path = hoy_json_str(n, "path");
		int i = 0;

		while (i < NS_COUNT && (!type || strcmp(ns_table[i].oci, type)))
			i++;
		if (i == NS_COUNT)
			return hoy_fail(err, EINVAL, "invalid namespace type: '%s'", type ? type : "");
		if (s->ns_new[i] || s->ns_path[i])
			return hoy_fail(err, EINVAL, "namespace '%s' is there twice", type);
		if (path && *path)
			s->ns_path[i] = path;
		else
			s->ns_new[i] = true;
	}
	/* An ordinary user can make none of the others without it. */
	if (geteuid() && !s->ns_path[NS_USER])
		s->ns_new[NS_USER] = true;
	if (!s->ns_new[NS_MNT])
		return hoy_fail(err, HOY_EUNSUPPORTED, "a container without a mount namespace of its own is not supported");
	return 0;
}

/* The kernel's names; the specification has none of its own yet. */
static const struct { const char *name; unsigned long flag; } persona_flags[] = {
	{ "UNAME26", UNAME26 }, { "ADDR_NO_RANDOMIZE", ADDR_NO_RANDOMIZE }, { "FDPIC_FUNCPTRS", FDPIC_FUNCPTRS },
	{ "MMAP_PAGE_ZERO", MMAP_PAGE_ZERO }, { "ADDR_COMPAT_LAYOUT", ADDR_COMPAT_LAYOUT },
	{ "READ_IMPLIES_EXEC", READ_IMPLIES_EXEC }, { "ADDR_LIMIT_32BIT", ADDR_LIMIT_32BIT },
	{ "SHORT_INODE", SHORT_INODE }, { "WHOLE_SECONDS", WHOLE_SECONDS }, { "STICKY_TIMEOUTS", STICKY_TIMEOUTS },
	{ "ADDR_LIMIT_3GB", ADDR_LIMIT_3GB },
};

static int add_persona_flag(struct spec *s, const struct hoy_json *j, struct hoy_err *err)
{
	const char *name = hoy_json_text(j);

	for (size_t i = 0; name && i < ARRAY_SIZE(persona_flags); i++)
		if (!strcmp(persona_flags[i].name, name)) {
			s->personality |= persona_flags[i].flag;
			return 0;
		}
	return hoy_fail(err, EINVAL, "linux.personality: unknown flag '%s'", name ? name : "");
}

static int parse_personality(struct spec *s, struct hoy_err *err)
{
	const struct hoy_json *p = hoy_json_get(s->linux_, "personality");
	const char *domain = hoy_json_str(p, "domain");

	s->personality = ~0UL;
	if (!p)
		return 0;
	if (domain && !strcmp(domain, "LINUX"))
		s->personality = PER_LINUX;
	else if (domain && !strcmp(domain, "LINUX32"))
		s->personality = PER_LINUX32;
	else
		return hoy_fail(err, EINVAL, "unknown persona specified '%s'", domain ? domain : "");
	HOY_JSON_EACH(f, hoy_json_get(p, "flags"))
		if (add_persona_flag(s, f, err) < 0)
			return -err->code;
	return 0;
}

static int unsupported(const struct spec *s, struct hoy_err *err)
{
	static const char *const annotations[] = { "run.oci.handler", "run.oci.seccomp.plugins" };

	for (size_t i = 0; i < ARRAY_SIZE(annotations); i++)
		if (spec_annotation(s, annotations[i]))
			return hoy_fail(err, HOY_EUNSUPPORTED, "annotation %s is not supported", annotations[i]);
	if (hoy_json_get(s->doc.root, "vm"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "virtual machines (vm) are not supported");
	if (!s->linux_)
		return hoy_fail(err, EINVAL, "config.json has no 'linux' section");
	return 0;
}

static int parse_linux(struct spec *s, struct hoy_err *err)
{
	const char *prop = hoy_json_str(s->linux_, "rootfsPropagation");

	s->cgroups_path = hoy_json_str(s->linux_, "cgroupsPath");
	s->resources = hoy_json_get(s->linux_, "resources");
	if (prop && *prop) {
		s->propagation = mountopts_propagation(prop);
		if (!s->propagation)
			return hoy_fail(err, EINVAL, "unknown rootfsPropagation '%s'", prop);
	}
	return parse_namespaces(s, err) < 0 || parse_personality(s, err) < 0 ? -err->code : 0;
}

static int parse(struct spec *s, struct hoy_err *err)
{
	const struct hoy_json *d = s->doc.root, *process = hoy_json_get(d, "process");
	const char *version = hoy_json_str(d, "ociVersion");

	if (!hoy_json_is(d, HOY_JSON_OBJECT) || !version)
		return hoy_fail(err, EINVAL, "config.json has no ociVersion");
	if (strncmp(version, "1.", 2))
		return hoy_fail(err, HOY_EUNSUPPORTED, "unknown version specified '%s'", version);
	s->linux_ = hoy_json_get(d, "linux");
	s->hooks = hoy_json_get(d, "hooks");
	s->annotations = hoy_json_get(d, "annotations");
	s->hostname = hoy_json_str(d, "hostname");
	s->domainname = hoy_json_str(d, "domainname");
	s->root = hoy_json_get(d, "root");
	s->rootfs = hoy_json_str(s->root, "path");
	s->readonly = hoy_json_bool(s->root, "readonly", false);
	if (!s->rootfs || !*s->rootfs)
		return hoy_fail(err, EINVAL, "config.json has no root.path");
	if (unsupported(s, err) < 0 || parse_linux(s, err) < 0)
		return -err->code;
	return process ? process_parse(&s->process, process, err) : 0;
}

static int check(const struct spec *s, struct hoy_err *err)
{
	if (s->hostname && *s->hostname && !s->ns_new[NS_UTS] && !s->ns_path[NS_UTS])
		return hoy_fail(err, EINVAL, "hostname requires a UTS namespace");
	if (s->ns_path[NS_USER] && hoy_json_get(s->linux_, "uidMappings") && !s->ns_new[NS_USER])
		log_debug("linux.uidMappings beside a user namespace by path are those of that namespace");
	if (s->ns_new[NS_USER] && !(geteuid() && !hoy_json_get(s->linux_, "uidMappings") && !hoy_json_get(s->linux_, "gidMappings")) && (!hoy_json_get(s->linux_, "uidMappings") || !hoy_json_get(s->linux_, "gidMappings")))
		return hoy_fail(err, EINVAL, "a user namespace needs linux.uidMappings and linux.gidMappings");
	return netdev_check(s, err) < 0 ? -err->code : sysctls_check(s, err);
}

int spec_load(struct spec *s, const char *bundle, const char *config, struct hoy_err *err)
{
	cleanup_free char *path = config[0] == '/' ? strdup(config) : hoy_path_join(bundle, config);
	int r;

	if (!path)
		return hoy_fail_oom(err);
	r = hoy_read_file(AT_FDCWD, path, CONFIG_MAX, &s->text, &s->len, err);
	if (!r)
		r = hoy_json_parse(&s->doc, s->text, s->len, path, err);
	if (!r)
		r = parse(s, err);
	return r ? r : check(s, err);
}

int spec_load_own(struct spec *s, const struct state *st, struct hoy_err *err)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "/proc/self/fd/%d", st->dirfd);
	return spec_load(s, dir, "config.json", err);
}

void spec_release(struct spec *s)
{
	process_release(&s->process);
	hoy_json_release(&s->doc);
	free(s->text);
	s->text = NULL;
}

const char *spec_annotation(const struct spec *s, const char *name)
{
	return hoy_json_str(s->annotations, name);
}

bool spec_host_root(const struct hoy_json *maps, uid_t *ret)
{
	HOY_JSON_EACH(m, maps)
		if (hoy_json_int(m, "containerID", -1) == 0) {
			*ret = (uid_t)hoy_json_int(m, "hostID", 0);
			return true;
		}
	return false;
}

bool spec_has_userns(const struct spec *s)
{
	return s->ns_new[NS_USER] || s->ns_path[NS_USER];
}
