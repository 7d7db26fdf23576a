/* cmd-run/user.c: USER[:GROUP] by the image's own passwd and group files, read beneath its root. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-run/run.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"

static char *read_db(int rootfd, const char *path)
{
	cleanup_fd int fd = hoy_open_beneath(rootfd, path, O_RDONLY | O_NONBLOCK, 0, HOY_IN_ROOT);
	char *data = NULL;

	if (fd < 0 || hoy_read_fd(fd, path, (size_t)16 << 20, &data, NULL, NULL) < 0)
		return strdup("");
	return data;
}

static bool number(const char *s, unsigned *ret)
{
	char *end;
	unsigned long v;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	v = strtoul(s, &end, 10);
	if (*end || errno || v > 0x7fffffffUL)
		return false;
	*ret = (unsigned)v;
	return true;
}

/* The next line of *TEXT cut at colons into FIELDS; false at the end. */
static bool next_line(char **text, char **fields, size_t n)
{
	char *line = *text, *end;

	if (!line || !*line)
		return false;
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	*text = end ? end + 1 : NULL;
	for (size_t i = 0; i < n; i++) {
		char *colon = line ? strchr(line, ':') : NULL;

		fields[i] = line ? line : (char *)"";
		if (colon)
			*colon = '\0';
		line = colon ? colon + 1 : NULL;
	}
	return true;
}

static bool find_user(char *db, const char *want, struct user *u)
{
	char *f[7];
	unsigned id = 0, gid = 0, wanted = 0;
	bool numeric = number(want, &wanted);

	while (next_line(&db, f, 7)) {
		if (!number(f[2], &id) || !number(f[3], &gid))
			continue;
		if (strcmp(f[0], want) && !(numeric && id == wanted))
			continue;
		u->uid = id;
		u->gid = gid;
		snprintf(u->home, sizeof(u->home), "%s", f[5]);
		snprintf(u->name, sizeof(u->name), "%s", f[0]);
		return true;
	}
	return false;
}

static bool find_group(char *db, const char *want, unsigned *ret)
{
	char *f[4];
	unsigned id;

	while (next_line(&db, f, 4))
		if (!strcmp(f[0], want) && number(f[2], &id)) {
			*ret = id;
			return true;
		}
	return number(want, ret);
}

bool known_account(int rootfd, const char *path, const char *name, unsigned id)
{
	cleanup_free char *db = read_db(rootfd, path);
	char *rest = db, *f[4];
	unsigned have;

	while (next_line(&rest, f, 4))
		if ((name && !strcmp(f[0], name)) || (number(f[2], &have) && have == id))
			return true;
	return false;
}

static bool in_list(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; len && (p = strstr(p, name)); p += len)
		if ((p == list || p[-1] == ',') && (!p[len] || p[len] == ','))
			return true;
	return false;
}

static void member_groups(char *db, struct user *u)
{
	char *f[4];
	unsigned id;

	while (next_line(&db, f, 4))
		if (number(f[2], &id) && id != u->gid && in_list(f[3], u->name) && u->n_groups < ARRAY_SIZE(u->groups))
			u->groups[u->n_groups++] = id;
}

int resolve_user(int rootfd, const char *spec, struct user *u, struct hoy_err *err)
{
	cleanup_free char *copy = strdup(spec && *spec ? spec : "0"), *passwd = read_db(rootfd, "etc/passwd");
	cleanup_free char *group = read_db(rootfd, "etc/group"), *again = group ? strdup(group) : NULL;
	char *g;
	bool known;

	memset(u, 0, sizeof(*u));
	if (!copy || !passwd || !group || !again)
		return hoy_fail_oom(err);
	strcpy(u->home, "/");
	g = strchr(copy, ':');
	if (g)
		*g++ = '\0';
	known = find_user(passwd, *copy ? copy : "0", u);
	if (!known && !number(*copy ? copy : "0", &u->uid))
		return hoy_fail(err, EINVAL, "unable to find user %s: no matching entries in passwd file", copy);
	if (!known && !u->uid)
		strcpy(u->home, "/root");
	if (g && *g) {
		if (!find_group(group, g, &u->gid))
			return hoy_fail(err, EINVAL, "unable to find group %s: no matching entries in group file", g);
	} else if (known) {
		member_groups(again, u);
	}
	/* Who is asked for by name or number has its own group among the supplementary ones, as podman does it. */
	if (spec && *spec) {
		size_t n = u->n_groups < ARRAY_SIZE(u->groups) ? u->n_groups++ : u->n_groups - 1;

		memmove(u->groups + 1, u->groups, n * sizeof(*u->groups));
		u->groups[0] = u->gid;
	}
	return 0;
}
