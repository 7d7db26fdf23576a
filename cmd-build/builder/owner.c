/* cmd-build/builder/owner.c: --chown by the container's own passwd and group files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-build/builder/builder.h"
#include "common/base/beneath.h"
#include "common/base/err.h"
#include "common/base/fd.h"

static bool number(const char *s, unsigned *ret)
{
	char *end;
	unsigned long v;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	v = strtoul(s, &end, 10);
	if (*end || errno || v > 0x7fffffffUL)
		return false;
	*ret = (unsigned)v;
	return true;
}

/*
 * The line of FILE whose field AT is WANT, cut into N fields; FIELDS point into *RET_TEXT, which is the caller's. False if there
 * is none.
 */
static bool look_up(int rootfd, const char *file, size_t at, const char *want, char **fields, size_t n, char **ret_text)
{
	cleanup_fd int fd = hoy_open_beneath(rootfd, file, O_RDONLY | O_NONBLOCK, 0, HOY_IN_ROOT);
	char *line, *save = NULL;
	size_t len;

	if (fd < 0 || hoy_read_fd(fd, file, (size_t)16 << 20, ret_text, &len, NULL) < 0)
		return false;
	for (line = strtok_r(*ret_text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		for (size_t i = 0; i < n; i++)
			fields[i] = line ? strsep(&line, ":") : (char *)"";
		if (!strcmp(fields[at], want))
			return true;
	}
	return false;
}

int owner_parse(int rootfd, const char *text, uid_t *uid, gid_t *gid, struct hoy_err *err)
{
	cleanup_free char *copy = strdup(text), *users = NULL, *groups = NULL;
	char *group = copy ? strchr(copy, ':') : NULL, *f[4];
	unsigned id;

	if (!copy)
		return hoy_fail_oom(err);
	if (group)
		*group++ = '\0';
	if (!*copy && group && *group) {
		*uid = *gid = 0;
	} else if (number(copy, &id)) {
		*uid = id;
		/* The user's own group if there is such a user, else the same number. */
		*gid = look_up(rootfd, "etc/passwd", 2, copy, f, 4, &users) && number(f[3], &id) ? id : *uid;
	} else if (look_up(rootfd, "etc/passwd", 0, copy, f, 4, &users) && number(f[2], &id)) {
		*uid = id;
		*gid = number(f[3], &id) ? id : 0;
	} else {
		return hoy_fail(err, ENOENT, "looking up UID/GID for \"%s\": unknown user '%s'", text, copy);
	}
	if (!group || !*group)
		return 0;
	if (!number(group, &id) && !(look_up(rootfd, "etc/group", 0, group, f, 3, &groups) && number(f[2], &id)))
		return hoy_fail(err, ENOENT, "looking up UID/GID for \"%s\": unknown group '%s'", text, group);
	*gid = id;
	return 0;
}

/* ---- where ids are others outside ---- */

int maps_parse(const struct hoy_strv *uids, const struct hoy_strv *gids, struct hoy_idmaps *ret, struct hoy_err *err)
{
	const struct hoy_strv *const lists[] = { uids, gids };

	for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
		for (size_t i = 0; i < lists[k]->n; i++)
			if (hoy_idmap_parse(k ? &ret->gid : &ret->uid, lists[k]->v[i]) < 0)
				return hoy_fail(err, EINVAL, "'%s' is no line of a map of ids", lists[k]->v[i]);
	return 0;
}

int maps_out(const struct hoy_idmaps *m, uid_t *uid, gid_t *gid, struct hoy_err *err)
{
	if (hoy_idmaps_empty(m))
		return 0;
	if (!hoy_idmap_out(&m->uid, *uid, uid))
		return hoy_fail(err, EINVAL, "container ID %u cannot be mapped to a host ID", (unsigned)*uid);
	if (!hoy_idmap_out(&m->gid, *gid, gid))
		return hoy_fail(err, EINVAL, "container ID %u cannot be mapped to a host ID", (unsigned)*gid);
	return 0;
}
