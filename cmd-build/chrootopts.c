/* cmd-build/chrootopts.c: words for hoy-run as what they mean to a command that has no runtime; the others are refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-build/chroot.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/units.h"
#include "common/oci/caps.h"

static int refuse(const char *name, const char *value, struct hoy_err *err)
{
	return hoy_fail(err, HOY_EUNSUPPORTED, "the isolation chroot cannot have --%s%s%s", name, *value ? "=" : "", value);
}

/* A namespace that VALUE says it shares with us, or has itself. */
static int take_namespace(const char *name, const char *value, bool *ret_host, struct hoy_err *err)
{
	if (strcmp(value, "host") && strcmp(value, "private") && *value)
		return refuse(name, value, err);
	*ret_host = !strcmp(value, "host");
	return 0;
}

static int take_network(const char *value, struct chroot_cmd *k, struct hoy_err *err)
{
	k->no_network = !strcmp(value, "none");
	/* There is no resolver without one: the file is the image's, as buildah has it. */
	k->no_resolv = k->no_resolv || k->no_network;
	return k->no_network || !strcmp(value, "host") || !strcmp(value, "default") || !*value ? 0 : refuse("network", value, err);
}

/* Where the kernel has no such labels, they say nothing. */
static int take_security(const char *value, struct chroot_cmd *k, struct hoy_err *err)
{
	if (!strcmp(value, "no-new-privileges") || !strcmp(value, "no-new-privileges=true"))
		k->no_new_privs = true;
	else if (!strncmp(value, "mask=", 5))
		hoy_strv_split(&k->masks, value + 5, ':');
	else if (!strncmp(value, "unmask=", 7))
		hoy_strv_split(&k->unmasks, value + 7, ':');
	else if (strcmp(value, "no-new-privileges=false") && strcmp(value, "label=disable") && strcmp(value, "apparmor=unconfined") &&
		 strcmp(value, "seccomp=unconfined") && !(!strncmp(value, "label=", 6) && !hoy_exists(AT_FDCWD, "/sys/fs/selinux/enforce")))
		return refuse("security-opt", value, err);
	return 0;
}

static int take_caps(const char *name, const char *value, struct chroot_cmd *k, struct hoy_err *err)
{
	uint64_t set = 0;
	int r = hoy_caps_parse(value, &set, err);

	if (!r)
		k->caps = !strcmp(name, "cap-add") ? k->caps | set : k->caps & ~set;
	return r;
}

static int take_shm(const char *value, struct chroot_cmd *k, struct hoy_err *err)
{
	int64_t n;

	if (!hoy_size_parse(value, &n) || n < 0)
		return hoy_fail(err, EINVAL, "--shm-size: '%s' is no size", value);
	/* The usual one is whatever we have ourselves. */
	k->shm = n == 65536 * 1024 ? 0 : n;
	return 0;
}

static void take_env(const char *value, struct chroot_cmd *k)
{
	const char *eq = strchr(value, '=');
	cleanup_free char *key = strndup(value, eq ? (size_t)(eq - value) : strlen(value));

	if (key && (eq || getenv(key)))
		hoy_env_set(&k->env, key, eq ? eq + 1 : getenv(key));
}

static int take_option(const char *name, const char *value, struct chroot_cmd *k, struct hoy_err *err)
{
	const struct {
		const char *name;
		struct hoy_strv *list;
	} lists[] = { { "volume", &k->volumes }, { "add-host", &k->hosts }, { "ulimit", &k->limits }, { "dns", &k->dns },
		      { "dns-search", &k->dns_search }, { "dns-option", &k->dns_options } };
	const struct {
		const char *name;
		const char **text;
	} texts[] = { { "user", &k->user }, { "workdir", &k->dir }, { "hostname", &k->hostname } };
	const struct {
		const char *name;
		bool *flag;
	} spaces[] = { { "pid", &k->host_pid }, { "ipc", &k->host_ipc }, { "uts", &k->host_uts } }, flags[] = { { "no-hosts", &k->no_hosts },
		       { "no-hostname", &k->no_hostname }, { "no-pivot", &k->no_pivot } };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (!strcmp(lists[i].name, name)) {
			hoy_strv_push(lists[i].list, value);
			return 0;
		}
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!strcmp(texts[i].name, name)) {
			*texts[i].text = value;
			return 0;
		}
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (!strcmp(flags[i].name, name)) {
			*flags[i].flag = true;
			return 0;
		}
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
		if (!strcmp(spaces[i].name, name))
			return take_namespace(name, value, spaces[i].flag, err);
	if (!strcmp(name, "network"))
		return take_network(value, k, err);
	if (!strcmp(name, "cap-add") || !strcmp(name, "cap-drop"))
		return take_caps(name, value, k, err);
	if (!strcmp(name, "security-opt"))
		return take_security(value, k, err);
	if (!strcmp(name, "shm-size"))
		return take_shm(value, k, err);
	if (!strcmp(name, "env"))
		return take_env(value, k), 0;
	if (!strcmp(name, "group-add") && strcmp(value, "keep-groups"))
		return hoy_strv_push(&k->groups, value), 0;
	if (!strcmp(name, "http-proxy"))
		return k->no_proxy = !strcmp(value, "false"), 0;
	if (!strcmp(name, "unsetenv") || (!strcmp(name, "cgroupns") && !strcmp(value, "host")))
		return 0;
	return refuse(name, value, err);
}

/* "SOURCE:TARGET[:OPTIONS]": what there can be. */
static int check_volume(const char *text, struct hoy_err *err)
{
	static const char *const known[] = { "ro", "rw", "O", "z", "Z", "nosuid", "nodev", "noexec", "bind", "rbind", "private", "rprivate" };
	cleanup_strv struct hoy_strv parts = HOY_STRV_INIT, options = HOY_STRV_INIT;

	hoy_strv_split(&parts, text, ':');
	if (parts.n < 2 || parts.n > 3 || *parts.v[1] != '/' || *parts.v[0] != '/')
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s': with the isolation chroot, a volume is /SOURCE:/TARGET[:OPTIONS]", text);
	hoy_strv_split(&options, parts.n > 2 ? parts.v[2] : "", ',');
	for (size_t i = 0; i < options.n; i++) {
		bool ok = false;

		for (size_t k = 0; k < ARRAY_SIZE(known); k++)
			ok = ok || !strcmp(options.v[i], known[k]);
		if (!ok || ((*options.v[i] | 32) == 'z' && hoy_exists(AT_FDCWD, "/sys/fs/selinux/enforce")))
			return hoy_fail(err, HOY_EUNSUPPORTED, "'%s': the isolation chroot has no volumes with the option '%s'", text, options.v[i]);
	}
	return options.error ? hoy_fail_oom(err) : 0;
}

int chroot_words(struct chroot_cmd *k, const struct hoy_strv *words, struct hoy_err *err)
{
	int r = 0;

	for (size_t i = 0; i < words->n && !r; i++) {
		const char *word = words->v[i], *eq = strchr(word, '=');
		cleanup_free char *name = strncmp(word, "--", 2) ? NULL : strndup(word + 2, eq ? (size_t)(eq - word - 2) : strlen(word));

		r = name ? take_option(name, eq ? eq + 1 : "", k, err) : hoy_fail(err, EINVAL, "'%s' is no option", word);
	}
	for (size_t i = 0; i < k->volumes.n && !r; i++)
		r = check_volume(k->volumes.v[i], err);
	for (char **e = environ; *e && !k->no_proxy; e++) {
		size_t len = strcspn(*e, "=");
		cleanup_free char *key = strndup(*e, len);

		if (len > 6 && !strncasecmp(*e + len - 6, "_proxy", 6) && key && !hoy_env_get(&k->env, key))
			hoy_strv_push(&k->env, *e);
	}
	if (k->dns.n == 1 && !strcmp(k->dns.v[0], "none"))
		k->no_resolv = true;
	return r;
}
