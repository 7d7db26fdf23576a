/*
 * linux.intelRdt: a group of the resctrl file system, a share of the caches and of the memory's bandwidth. It is closID's, or
 * the container's own; what we made goes with the container.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "cmd-runtime/runtime.h"

#define RESCTRL "/sys/fs/resctrl"
#ifndef RDTGROUP_SUPER_MAGIC
#define RDTGROUP_SUPER_MAGIC 0x7655821
#endif

static int rdt_open(struct hoy_err *err)
{
	cleanup_fd int fd = open(RESCTRL, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != RDTGROUP_SUPER_MAGIC)
		return hoy_fail(err, HOY_EUNSUPPORTED, "linux.intelRdt needs the resctrl file system of a processor that has it, mounted on '" RESCTRL "'");
	return steal_fd(&fd);
}

static int rdt_group(const struct hoy_json *rdt, const char *id, const char **ret, struct hoy_err *err)
{
	const char *name = hoy_json_str(rdt, "closID");

	*ret = name && *name ? name : id;
	if (!strcmp(*ret, "/"))
		*ret = "."; /* the default group */
	else if (strchr(*ret, '/') || **ret == '.' || !strcmp(*ret, "info") || !strncmp(*ret, "mon_", 4))
		return hoy_fail(err, EINVAL, "linux.intelRdt.closID: '%s' is no name", *ret);
	return 0;
}

/* Does LINE ("L3:0=f;1=f") give each domain the value that it has in HAVE? */
static bool same_domains(const char *line, const char *have)
{
	for (const char *p = strchr(line, ':'); p && *p && *p != '\n'; p += 1 + strcspn(p + 1, ";\n")) {
		const char *q = strchr(have, ':');
		char *end, *there;
		long domain = strtol(p + 1, &end, 10), value, other = -1;

		if (*end != '=')
			return false;
		value = strtol(end + 1, NULL, 16);
		for (; q && *q && *q != '\n'; q += 1 + strcspn(q + 1, ";\n"))
			if (strtol(q + 1, &there, 10) == domain && *there == '=')
				other = strtol(there + 1, NULL, 16);
		if (other != value)
			return false;
	}
	return true;
}

/* The line of TEXT for the resource of WANTED ("L3:..."). */
static const char *find_line(const char *text, const char *wanted)
{
	size_t len = strcspn(wanted, ":") + 1;

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		text += strspn(text, " ");
		if (!strncmp(text, wanted, len))
			return text;
	}
	return NULL;
}

/* A group that somebody else made has to be as it is wanted: others are in it. */
static int compare(int dir, const char *group, const struct hoy_json *rdt, struct hoy_err *err)
{
	static const char *const members[] = { "l3CacheSchema", "memBwSchema" };
	char have[4096];
	ssize_t n = hoy_read_small(dir, "schemata", have, sizeof(have));

	if (n < 0)
		return hoy_fail_errno(err, (int)-n, "cannot read the schemata of resctrl group '%s'", group);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *p = hoy_json_str(rdt, members[i]);

		for (; p && *p; p += strcspn(p, "\n"), p += *p == '\n') {
			const char *line = find_line(have, p);

			if (!line || !same_domains(p, line))
				return hoy_fail(err, EEXIST, "resctrl group '%s' exists with another configuration", group);
		}
	}
	return 0;
}

/* As the kernel wants it, one write. Lines of bandwidth in l3CacheSchema are not for it, as the specification has it. */
static int write_schemata(int dir, const char *group, const struct hoy_json *rdt, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	const char *p = hoy_json_str(rdt, "l3CacheSchema"), *mb = hoy_json_str(rdt, "memBwSchema");
	int r;

	for (; p && *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (strncmp(p, "MB:", 3))
			hoy_buf_printf(&b, "%.*s\n", (int)strcspn(p, "\n"), p);
	if (mb)
		hoy_buf_printf(&b, "%s\n", mb);
	HOY_JSON_EACH(s, hoy_json_get(rdt, "schemata"))
		if (hoy_json_text(s))
			hoy_buf_printf(&b, "%s\n", s->str);
	r = b.len ? hoy_write_small(dir, "schemata", hoy_buf_str(&b)) : 0;
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write the schemata of resctrl group '%s'", group) : 0;
}

static bool has_any(const struct hoy_json *rdt)
{
	const struct hoy_json *list = hoy_json_get(rdt, "schemata");

	return hoy_json_str(rdt, "l3CacheSchema") || hoy_json_str(rdt, "memBwSchema") || (list && list->count);
}

static bool monitored(const struct hoy_json *rdt)
{
	return hoy_json_bool(rdt, "enableMonitoring", false) || hoy_json_bool(rdt, "enableCMT", false) ||
	       hoy_json_bool(rdt, "enableMBM", false);
}

int rdt_make_at(int top, struct state *st, const struct hoy_json *rdt, struct hoy_err *err)
{
	cleanup_fd int dir = -1;
	char mon[300];

	if (!st->rdt_made && strcmp(st->rdt, st->id) && !has_any(rdt) && !hoy_exists(top, st->rdt))
		return hoy_fail(err, ENOENT, "resctrl group '%s' does not exist", st->rdt);
	if (st->rdt_made && mkdirat(top, st->rdt, 0755) < 0)
		return hoy_fail_errno(err, errno, "cannot make resctrl group '%s'", st->rdt);
	dir = openat(top, st->rdt, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return hoy_fail_errno(err, errno, "cannot open resctrl group '%s'", st->rdt);
	if (!st->rdt_made && compare(dir, st->rdt, rdt, err) < 0)
		return -err->code;
	if (write_schemata(dir, st->rdt, rdt, err) < 0)
		return -err->code;
	snprintf(mon, sizeof(mon), "mon_groups/%s", st->id);
	if (monitored(rdt) && mkdirat(dir, mon, 0755) < 0 && errno != EEXIST)
		return hoy_fail_errno(err, errno, "cannot make the monitoring group '%s' of resctrl group '%s'", st->id, st->rdt);
	return 0;
}

/* Whether it is ours to remove is written down before it is made. */
int rdt_make(struct state *st, const struct spec *s, struct hoy_err *err)
{
	const struct hoy_json *rdt = hoy_json_get(s->linux_, "intelRdt");
	cleanup_fd int top = -1;
	const char *group;

	if (!rdt || !rdt->count)
		return 0;
	top = rdt_open(err);
	if (top < 0 || rdt_group(rdt, st->id, &group, err) < 0)
		return -err->code;
	free(st->rdt);
	st->rdt = strdup(group);
	if (!st->rdt)
		return hoy_fail_oom(err);
	st->rdt_made = (!strcmp(group, st->id) || has_any(rdt)) && !hoy_exists(top, group);
	return state_save(st, err) < 0 ? -err->code : rdt_make_at(top, st, rdt, err);
}

int rdt_enter_at(int top, const struct state *st, pid_t pid, struct hoy_err *err)
{
	char file[600], text[16];
	int r;

	snprintf(text, sizeof(text), "%d", pid);
	snprintf(file, sizeof(file), "%s/tasks", st->rdt);
	r = hoy_write_small(top, file, text);
	snprintf(file, sizeof(file), "%s/mon_groups/%s/tasks", st->rdt, st->id);
	if (!r && hoy_exists(top, file))
		r = hoy_write_small(top, file, text);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot enter resctrl group '%s'", st->rdt) : 0;
}

int rdt_enter(const struct state *st, pid_t pid, struct hoy_err *err)
{
	cleanup_fd int top = *st->rdt ? rdt_open(err) : -1;

	return !*st->rdt ? 0 : top < 0 ? top : rdt_enter_at(top, st, pid, err);
}

int rdt_update(const struct state *st, const struct hoy_json *rdt, struct hoy_err *err)
{
	cleanup_fd int top = rdt_open(err), dir = -1;

	if (top < 0)
		return top;
	if (!*st->rdt)
		return hoy_fail(err, ENOENT, "container '%s' has no linux.intelRdt to change", st->id);
	dir = openat(top, st->rdt, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return dir < 0 ? hoy_fail_errno(err, errno, "cannot open resctrl group '%s'", st->rdt) : write_schemata(dir, st->rdt, rdt, err);
}

void rdt_remove_at(int top, const struct state *st)
{
	char mon[600];

	snprintf(mon, sizeof(mon), "%s/mon_groups/%s", st->rdt, st->id);
	(void)!unlinkat(top, mon, AT_REMOVEDIR);
	if (st->rdt_made)
		(void)!unlinkat(top, st->rdt, AT_REMOVEDIR);
}

void rdt_remove(const struct state *st)
{
	struct hoy_err ignored = HOY_ERR_INIT;
	cleanup_fd int top = st->rdt && *st->rdt ? rdt_open(&ignored) : -1;

	if (top >= 0)
		rdt_remove_at(top, st);
}
