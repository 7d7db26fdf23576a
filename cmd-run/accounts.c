/* cmd-run/accounts.c: who runs in the container gets a line in its passwd and group files, as podman adds them. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"

#define FILE_MAX ((size_t)16 << 20)

/* ---- lines ---- */

/* FORM with each $KEY of PAIRS, a list of keys and values, replaced. */
static void expand(struct hoy_buf *b, const char *form, const char *const *pairs, size_t n)
{
	while (*form) {
		size_t i = 0;

		while (i < n && strncmp(form, pairs[i], strlen(pairs[i])))
			i += 2;
		if (i < n) {
			hoy_buf_puts(b, pairs[i + 1]);
			form += strlen(pairs[i]);
		} else {
			hoy_buf_putc(b, *form++);
		}
	}
	hoy_buf_putc(b, '\n');
}

static void passwd_line(const struct ctr *c, struct hoy_buf *b, const char *name, unsigned uid, unsigned gid, const char *gecos, const char *home)
{
	char u[16], g[16];
	const char *pairs[] = { "$USERNAME", name, "$UID", u, "$GID", g, "$NAME", gecos, "$HOME", home };

	snprintf(u, sizeof(u), "%u", uid);
	snprintf(g, sizeof(g), "%u", gid);
	expand(b, hoy_json_str(c->def.root, "passwdEntry") ?: "$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh", pairs, ARRAY_SIZE(pairs));
}

static void group_line(const struct ctr *c, struct hoy_buf *b, const char *name, unsigned gid, const char *user)
{
	char g[16];
	const char *pairs[] = { "$GROUPNAME", name, "$GID", g, "$USERLIST", user };

	snprintf(g, sizeof(g), "%u", gid);
	expand(b, hoy_json_str(c->def.root, "groupEntry") ?: "$GROUPNAME:x:$GID:$USERLIST", pairs, ARRAY_SIZE(pairs));
}

static const char *cwd_of(const struct ctr *c)
{
	const char *cwd = hoy_json_str(c->def.root, "cwd");

	return cwd && *cwd ? cwd : "/";
}

/* The user's home on the host, if that or a directory above it is mounted; else the working directory. */
static const char *home_of(const struct ctr *c, const char *home)
{
	HOY_JSON_EACH(m, hoy_json_get(c->def.root, "mounts")) {
		const char *at = hoy_json_str(m, "destination") ?: "";
		size_t len = strlen(at);

		if (len > 1 && !strncmp(home, at, len) && strchr("/", home[len]))
			return home;
	}
	return cwd_of(c);
}

static bool number(const char *s, unsigned *ret)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	*ret = (unsigned)v;
	return *s >= '0' && *s <= '9' && !*end && v <= UINT32_MAX;
}

/* A user of the host, by passwd(5) there, whom the container doesn't know. */
static void host_user(const struct ctr *c, int rootfd, const struct passwd *pw, struct hoy_buf *b)
{
	if (pw && !known_account(rootfd, "etc/passwd", pw->pw_name, pw->pw_uid))
		passwd_line(c, b, pw->pw_name, pw->pw_uid, pw->pw_gid, pw->pw_gecos, home_of(c, pw->pw_dir));
}

static int host_users(const struct ctr *c, int rootfd, struct hoy_buf *b, struct hoy_err *err)
{
	HOY_JSON_EACH(it, hoy_json_get(c->def.root, "hostUsers")) {
		unsigned id;
		struct passwd *pw = number(it->str, &id) ? getpwuid(id) : getpwnam(it->str);

		if (!pw)
			return hoy_fail(err, ENOENT, "user: unknown user %s", it->str);
		host_user(c, rootfd, pw, b);
	}
	return 0;
}

/* "UID[:GROUP]" of the container, if that is a number nobody has; named as on the host, if it has it. */
static void container_user(const struct ctr *c, int rootfd, bool caller, struct hoy_buf *passwd, struct hoy_buf *group)
{
	cleanup_free char *spec = strdup(hoy_json_str(c->def.root, "user") ?: "");
	char *g = spec ? strchr(spec, ':') : NULL;
	struct user who;
	struct passwd *pw;
	unsigned id, gid = 0;

	if (!spec || !*spec)
		return;
	if (g)
		*g++ = '\0';
	/* (A group that nobody knows is an error that is told later.) */
	if (g && *g && !number(g, &gid) && !resolve_user(rootfd, hoy_json_str(c->def.root, "user"), &who, NULL))
		gid = who.gid;
	if (number(spec, &id) && !(caller && id == hoy_rootless_uid()) && !known_account(rootfd, "etc/passwd", NULL, id)) {
		pw = getpwuid(id);
		passwd_line(c, passwd, pw ? pw->pw_name : spec, id, gid, pw ? pw->pw_gecos : "container user", cwd_of(c));
	}
	if (g && number(g, &gid) && !(caller && gid == hoy_rootless_gid()) && !known_account(rootfd, "etc/group", NULL, gid))
		group_line(c, group, g, gid, spec);
}

/* ---- files ---- */

static bool mounted(const struct ctr *c, const char *path)
{
	HOY_JSON_EACH(m, hoy_json_get(c->def.root, "mounts"))
		if (!strcmp(hoy_json_str(m, "destination") ?: "", path))
			return true;
	return false;
}

/* Behind what the file has; of a container that may not change, in a copy in the run directory, which is mounted. */
static int add_lines(struct ctr *c, int rootfd, const char *path, const struct hoy_buf *lines, struct hoy_err *err)
{
	const char *name = strrchr(path, '/') + 1;
	cleanup_fd int fd = -1;
	cleanup_free char *copy = hoy_path_join(c->rundir, name), *old = NULL;
	cleanup_buf struct hoy_buf all = HOY_BUF_INIT(FILE_MAX);
	bool ro = hoy_json_bool(c->def.root, "readonly", false);
	int r = 0;

	if (!lines->len || mounted(c, path))
		return 0;
	fd = hoy_open_beneath(rootfd, path + 1, (ro ? O_RDONLY : O_WRONLY | O_APPEND) | O_NONBLOCK, 0, HOY_IN_ROOT);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return hoy_fail_errno(err, -fd, "cannot open '%s' of the container", path);
	if (!ro)
		r = hoy_write_full(fd, lines->data, lines->len);
	else if (hoy_read_fd(fd, path, FILE_MAX, &old, NULL, err) < 0)
		return -err->code;
	else {
		hoy_buf_puts(&all, old);
		hoy_buf_puts(&all, lines->data);
		r = all.error ? -all.error : put_file(c, name, &all, err);
	}
	return r < 0 && !(err && err->code) ? hoy_fail_errno(err, -r, "cannot write '%s' of the container", path) : r;
}

int write_accounts(struct ctr *c, int rootfd, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf passwd = HOY_BUF_INIT(1 << 20), group = HOY_BUF_INIT(1 << 20);
	bool caller = hoy_json_bool(c->def.root, "addCaller", false);
	int r;

	if (hoy_json_bool(c->def.root, "noPasswd", false))
		return 0;
	r = host_users(c, rootfd, &passwd, err);
	if (!r && caller) {
		struct passwd *pw = getpwuid(hoy_rootless_uid());
		struct group *gr = getgrgid(hoy_rootless_gid());

		host_user(c, rootfd, pw, &passwd);
		if (gr && pw && !known_account(rootfd, "etc/group", gr->gr_name, gr->gr_gid))
			group_line(c, &group, gr->gr_name, gr->gr_gid, pw->pw_name);
	}
	if (!r)
		container_user(c, rootfd, caller, &passwd, &group);
	if (!r && (passwd.error || group.error))
		r = hoy_fail_oom(err);
	if (!r)
		r = add_lines(c, rootfd, "/etc/passwd", &passwd, err);
	return r ? r : add_lines(c, rootfd, "/etc/group", &group, err);
}
