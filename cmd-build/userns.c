#include "cmd-build/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/cli/opts.h"
#include "common/conf/subid.h"

#define G(field) offsetof(struct hoy_globals, field)
const struct hoy_opt userns_globals[] = {
	{ 0, "userns-gid-map", HOY_OPT_COMMAS, G(userns_gids), "INSIDE:OUTSIDE:SIZE", "group ids of the user namespaces of commands" },
	{ 0, "userns-uid-map", HOY_OPT_COMMAS, G(userns_uids), "INSIDE:OUTSIDE:SIZE", "user ids of the user namespaces of commands" },
	HOY_OPTS_END,
};

void userns_opts_release(struct userns_opts *o)
{
	hoy_strv_release(&o->uids);
	hoy_strv_release(&o->gids);
}

/* ---- what is asked for ---- */

/* "INSIDE:OUTSIDE:SIZE" of the option NAME, one more line of RET. */
static int parse_line(const char *text, const char *name, struct hoy_idmap *ret, struct hoy_err *err)
{
	int r = hoy_idmap_parse(ret, text);

	if (r == -EINVAL)
		return hoy_fail(err, EINVAL, "%s setting is malformed expected [\"uint32:uint32:uint32\"]: [\"%s\"]", name, text);
	return r < 0 ? hoy_fail_errno(err, -r, "--%s=%s", name, text) : 0;
}

static int parse_lines(const struct hoy_strv *given, const struct hoy_strv *global, const char *name, struct hoy_idmap *ret, struct hoy_err *err)
{
	const struct hoy_strv *list = given->n ? given : global;
	int r = 0;

	for (size_t i = 0; i < list->n && !r; i++)
		r = parse_line(list->v[i], name, ret, err);
	return r;
}

/* --userns-uid-map-user, --userns-gid-map-group, and the lines; a map that is missing is as the other one. */
static int take_maps(struct userns *u, const struct userns_opts *o, struct hoy_err *err)
{
	const char *user = o->user && *o->user ? o->user : o->group, *group = o->group && *o->group ? o->group : user;
	long clash;
	int r = 0;

	if (user && *user)
		r = hoy_subids_map("/etc/subuid", user, &u->maps.uid, err);
	if (!r && group && *group)
		r = hoy_subids_map("/etc/subgid", group, &u->maps.gid, err);
	if (!r)
		r = parse_lines(&o->uids, &hoy_globals.userns_uids, "userns-uid-map", &u->maps.uid, err);
	if (!r)
		r = parse_lines(&o->gids, &hoy_globals.userns_gids, "userns-gid-map", &u->maps.gid, err);
	if (r < 0)
		return hoy_fail_prefix(err, "parsing ID mapping options");
	if (!u->maps.uid.n)
		u->maps.uid = u->maps.gid;
	if (!u->maps.gid.n)
		u->maps.gid = u->maps.uid;
	for (int i = 0; i < 2; i++) {
		const struct hoy_idmap *m = i ? &u->maps.gid : &u->maps.uid;

		clash = hoy_idmap_clash(m);
		if (clash >= 0)
			return hoy_fail(err, EINVAL, "creating container: the specified UID and/or GID mapping %u:%u:%u conflicts with other mappings: "
					"invalid mappings specified", m->v[clash].inside, m->v[clash].outside, m->v[clash].size);
	}
	return 0;
}

static int take_auto_option(struct hoy_auto_ids *a, const char *word, struct hoy_err *err)
{
	const char *eq = strchr(word, '=');
	size_t len = eq ? (size_t)(eq - word) : 0;
	char *end;

	if (!eq)
		return hoy_fail(err, EINVAL, "invalid option specified: \"%s\"", word);
	if (len == 4 && !strncmp(word, "size", 4)) {
		a->size = (uint32_t)strtoul(eq + 1, &end, 10);
		return eq[1] >= '0' && eq[1] <= '9' && !*end ? 0 : hoy_fail(err, EINVAL, "--userns=auto: the size '%s' is no number", eq + 1);
	}
	if (len == 10 && (!strncmp(word, "uidmapping", 10) || !strncmp(word, "gidmapping", 10)))
		return parse_line(eq + 1, *word == 'u' ? "uidmapping" : "gidmapping", *word == 'u' ? &a->extra.uid : &a->extra.gid, err);
	return hoy_fail(err, EINVAL, "unknown option specified: \"%.*s\"", (int)len, word);
}

/* "auto[:size=N,uidmapping=I:O:N,gidmapping=I:O:N]" */
static int take_auto(struct userns *u, const char *mode, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	int r = 0;

	if (mode[4] && mode[4] != ':')
		return hoy_fail(err, EINVAL, "--userns must be host, private, auto[:OPTIONS] or a path, not '%s'", mode);
	if (!hoy_idmaps_empty(&u->maps))
		return hoy_fail(err, EINVAL, "--userns=auto chooses ids: they cannot be given as well");
	hoy_strv_split(&words, mode[4] ? mode + 5 : "", ',');
	for (size_t i = 0; i < words.n && !r; i++)
		r = take_auto_option(&u->want, words.v[i], err);
	u->own = u->automatic = true;
	return r ? r : words.error ? hoy_fail_oom(err) : 0;
}

/* ---- a namespace that is there ---- */

/* A process in the namespace FD, which waits to be killed. */
static pid_t live_in(int fd)
{
	cleanup_fd int in = -1, out = -1;
	int p[2];
	pid_t pid;
	char ok = 0;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	in = p[0];
	out = p[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		int r = prctl(PR_SET_PDEATHSIG, SIGKILL) || setns(fd, CLONE_NEWUSER) < 0 ? errno : 0;

		(void)!write(out, r ? "n" : "y", 1);
		for (;;)
			pause();
	}
	hoy_close(steal_fd(&out));
	if (read(in, &ok, 1) != 1 || ok != 'y') {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return -EPERM;
	}
	return pid;
}

/* Maps that change nothing are none. */
static void forget_same(struct hoy_idmaps *m)
{
	bool same = true;

	for (size_t i = 0; i < m->uid.n; i++)
		same = same && m->uid.v[i].inside == m->uid.v[i].outside;
	for (size_t i = 0; i < m->gid.n; i++)
		same = same && m->gid.v[i].inside == m->gid.v[i].outside;
	if (same)
		m->uid.n = m->gid.n = 0;
}

/* What is committed has the ids that are inside: the maps must be known. */
static int take_path(struct userns *u, const char *path, struct hoy_err *err)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	pid_t pid;
	int r;

	if (fd < 0)
		return hoy_fail_errno(err, errno, "checking user namespace: '%s'", path);
	if (!hoy_idmaps_empty(&u->maps))
		return hoy_fail(err, EINVAL, "the user namespace '%s' has its ids: they cannot be given as well", path);
	pid = live_in(fd);
	if (pid < 0)
		return hoy_fail(err, EPERM, "the user namespace '%s' cannot be joined", path);
	r = hoy_idmap_of(pid, "uid_map", &u->maps.uid);
	if (!r)
		r = hoy_idmap_of(pid, "gid_map", &u->maps.gid);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (r < 0 || !u->maps.uid.n || !u->maps.gid.n)
		return hoy_fail(err, EINVAL, "the user namespace '%s' has no ids yet", path);
	forget_same(&u->maps);
	u->own = true;
	u->path = path;
	return 0;
}

int userns_take(struct userns *ret, const struct userns_opts *o, struct hoy_err *err)
{
	const char *mode = o->mode;
	int r;

	*ret = (struct userns){ .own = false };
	r = take_maps(ret, o, err);
	if (r < 0)
		return r;
	ret->own = !hoy_idmaps_empty(&ret->maps);
	if (!mode)
		return 0;
	if (!strcmp(mode, "host"))
		return ret->own ? hoy_fail(err, EINVAL, "parsing ID mapping options: can not specify ID mappings while using host's user namespace") : 0;
	if (!*mode || !strcmp(mode, "private") || !strcmp(mode, "container")) {
		ret->own = true;
		return 0;
	}
	if (!strncmp(mode, "auto", 4))
		return take_auto(ret, mode, err);
	return take_path(ret, strncmp(mode, "ns:", 3) ? mode : mode + 3, err);
}

/* ---- as settings of a container ---- */

static bool read_lines(const struct hoy_json *list, struct hoy_idmap *ret)
{
	HOY_JSON_EACH(l, list) {
		int64_t in = hoy_json_int(l, "containerID", -1), out = hoy_json_int(l, "hostID", -1), size = hoy_json_int(l, "size", -1);

		if (in < 0 || in > UINT32_MAX || out < 0 || out > UINT32_MAX || size < 0 || size > UINT32_MAX ||
		    hoy_idmap_add(ret, (uint32_t)in, (uint32_t)out, (uint32_t)size) < 0)
			return false;
	}
	return true;
}

int userns_read(struct userns *ret, const struct hoy_json *root, struct hoy_err *err)
{
	const struct hoy_json *options = hoy_json_get(root, "IDMappingOptions");

	*ret = (struct userns){ .own = false };
	HOY_JSON_EACH(o, hoy_json_get(root, "NamespaceOptions")) {
		const char *path = hoy_json_str(o, "Path");

		if (strcmp(hoy_json_str(o, "Name") ?: "", "user"))
			continue;
		ret->own = !hoy_json_bool(o, "Host", true);
		ret->path = path && *path ? path : NULL;
	}
	if (!read_lines(hoy_json_get(options, "UIDMap"), &ret->maps.uid) || !read_lines(hoy_json_get(options, "GIDMap"), &ret->maps.gid) ||
	    !ret->maps.uid.n != !ret->maps.gid.n)
		return hoy_fail(err, HOY_EFORMAT, "the settings have an invalid id map");
	ret->own = ret->own || ret->maps.uid.n;
	return 0;
}

static bool write_lines(struct hoy_json_doc *d, struct hoy_json *options, const char *key, const struct hoy_idmap *m)
{
	struct hoy_json *list = hoy_json_put(d, options, key, hoy_json_new(d, HOY_JSON_ARRAY));

	for (size_t i = 0; list && i < m->n; i++) {
		struct hoy_json *l = hoy_json_put(d, list, NULL, hoy_json_new(d, HOY_JSON_OBJECT));

		if (!l || !hoy_json_set_int(d, l, "containerID", m->v[i].inside) || !hoy_json_set_int(d, l, "hostID", m->v[i].outside) ||
		    !hoy_json_set_int(d, l, "size", m->v[i].size))
			return false;
	}
	return list != NULL;
}

int userns_write(const struct userns *u, struct hoy_json_doc *d, struct hoy_err *err)
{
	struct hoy_json *options = hoy_json_need(d, d->root, "IDMappingOptions", HOY_JSON_OBJECT);
	bool host = hoy_idmaps_empty(&u->maps), ok = options && hoy_json_set_bool(d, options, "HostUIDMapping", host) &&
		    hoy_json_set_bool(d, options, "HostGIDMapping", host) && write_lines(d, options, "UIDMap", &u->maps.uid) &&
		    write_lines(d, options, "GIDMap", &u->maps.gid);

	HOY_JSON_EACH(o, hoy_json_get(d->root, "NamespaceOptions"))
		if (ok && !strcmp(hoy_json_str(o, "Name") ?: "", "user"))
			ok = hoy_json_set_bool(d, (struct hoy_json *)o, "Host", !u->own) && hoy_json_set_string(d, (struct hoy_json *)o, "Path", u->path ?: "");
	return ok ? 0 : hoy_fail_oom(err);
}

/* ---- as words ---- */

/* What commands see: the maps, or all that we have ourselves. */
static int effective(const struct userns *u, struct hoy_idmaps *ret, struct hoy_err *err)
{
	struct hoy_idmap *both[] = { &ret->uid, &ret->gid };
	int r;

	*ret = u->maps;
	if (!hoy_idmaps_empty(ret))
		return 0;
	r = hoy_idmap_own("uid_map", &ret->uid);
	if (!r)
		r = hoy_idmap_own("gid_map", &ret->gid);
	for (int k = 0; k < 2; k++)
		for (size_t i = 0; i < both[k]->n; i++)
			both[k]->v[i].outside = both[k]->v[i].inside;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot read the ids of our own user namespace") : 0;
}

int userns_run_argv(const struct userns *u, struct hoy_strv *argv, struct hoy_err *err)
{
	struct hoy_idmaps m;
	int r = u->own && !u->path ? effective(u, &m, err) : 0;

	if (r < 0)
		return r;
	/* (containers.conf and the environment may say otherwise for what isn't a build.) */
	if (!u->own)
		hoy_strv_push(argv, "--userns=host");
	if (u->path)
		hoy_strv_pushf(argv, "--userns=ns:%s", u->path);
	for (size_t i = 0; u->own && !u->path && i < m.uid.n; i++)
		hoy_strv_pushf(argv, "--uidmap=%u:%u:%u", m.uid.v[i].inside, m.uid.v[i].outside, m.uid.v[i].size);
	for (size_t i = 0; u->own && !u->path && i < m.gid.n; i++)
		hoy_strv_pushf(argv, "--gidmap=%u:%u:%u", m.gid.v[i].inside, m.gid.v[i].outside, m.gid.v[i].size);
	return 0;
}

void userns_map_argv(const struct hoy_idmaps *maps, const char *prefix, struct hoy_strv *argv)
{
	const struct {
		const char *name;
		const struct hoy_idmap *m;
	} of[] = { { "uid-map", &maps->uid }, { "gid-map", &maps->gid } };

	for (size_t k = 0; k < 2; k++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);

		for (size_t i = 0; i < of[k].m->n; i++)
			hoy_buf_printf(&b, "%s%u:%u:%u", i ? "," : "", of[k].m->v[i].inside, of[k].m->v[i].outside, of[k].m->v[i].size);
		if (b.len)
			hoy_strv_pushf(argv, "--%s%s=%s", prefix, of[k].name, hoy_buf_str(&b));
	}
}

int userns_open(const struct userns *u, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf uids = HOY_BUF_INIT(1 << 16), gids = HOY_BUF_INIT(1 << 16);
	struct hoy_idmaps m;
	int fd, r;

	if (u->path) {
		fd = open(u->path, O_RDONLY | O_CLOEXEC);
		return fd < 0 ? hoy_fail_errno(err, errno, "cannot join the user namespace '%s'", u->path) : fd;
	}
	r = effective(u, &m, err);
	if (r < 0)
		return r;
	hoy_idmap_text(&m.uid, &uids);
	hoy_idmap_text(&m.gid, &gids);
	return uids.error || gids.error ? hoy_fail_oom(err) : hoy_idmap_userns(hoy_buf_str(&uids), hoy_buf_str(&gids), err);
}

/* ---- whose files are ---- */

int userns_outside(const struct userns *u, uid_t *uid, gid_t *gid, struct hoy_err *err)
{
	uint32_t id;

	if (hoy_idmaps_empty(&u->maps))
		return 0;
	if (!hoy_idmap_out(&u->maps.uid, *uid, &id))
		return hoy_fail(err, EINVAL, "container ID %u cannot be mapped to a host ID", (unsigned)*uid);
	*uid = id;
	if (!hoy_idmap_out(&u->maps.gid, *gid, &id))
		return hoy_fail(err, EINVAL, "container ID %u cannot be mapped to a host ID", (unsigned)*gid);
	*gid = id;
	return 0;
}

/* Whoever's files we make takes no capability from us. */
static int keep_caps(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		d[i].effective = d[i].permitted;
	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

int userns_as_root(const struct userns *u, struct hoy_err *err)
{
	static __thread bool other;
	uid_t uid = 0;
	gid_t gid = 0;
	int dumpable, r = u ? userns_outside(u, &uid, &gid, err) : 0;

	if (r < 0 || (u ? hoy_idmaps_empty(&u->maps) : !other))
		return r;
	other = u != NULL;
	dumpable = prctl(PR_GET_DUMPABLE);
	setfsgid(u ? gid : getegid());
	setfsuid(u ? uid : geteuid());
	/* Else an ordinary user's own /proc/self and those of children would not be the user's any more. */
	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
	r = keep_caps();
	return r < 0 ? hoy_fail_errno(err, -r, "cannot make files of the container's root") : 0;
}
