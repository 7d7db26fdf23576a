#include "common/conf/dirs.h"

#include <ctype.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/fd.h"

#define UID_VAR "_CONTAINERS_ROOTLESS_UID"
#define GID_VAR "_CONTAINERS_ROOTLESS_GID"

uid_t hoy_rootless_uid(void)
{
	static uid_t uid = (uid_t)-1;
	const char *var;

	if (uid == (uid_t)-1) {
		/* Only believable inside a user namespace: root outside must not be talked into another identity. */
		var = hoy_in_userns() ? getenv(UID_VAR) : NULL;
		uid = var && isdigit((unsigned char)*var) ? (uid_t)strtoul(var, NULL, 10) : geteuid();
	}
	return uid;
}

gid_t hoy_rootless_gid(void)
{
	const char *var = hoy_rootless() ? getenv(GID_VAR) : NULL;

	return var && isdigit((unsigned char)*var) ? (gid_t)strtoul(var, NULL, 10) : getegid();
}

bool hoy_rootless(void)
{
	return hoy_rootless_uid() != 0;
}

bool hoy_in_userns(void)
{
	static int in = -1;
	char buf[256];
	unsigned long long inner, outer, count;

	if (in < 0) {
		in = 0;
		if (hoy_read_small(AT_FDCWD, "/proc/self/uid_map", buf, sizeof(buf)) > 0 &&
		    sscanf(buf, "%llu %llu %llu", &inner, &outer, &count) == 3)
			in = !(inner == 0 && outer == 0 && count == 4294967295ULL);
	}
	return in;
}

char *hoy_home(void)
{
	const char *home = getenv("HOME");
	struct passwd *pw;

	if (home && *home == '/')
		return strdup(home);
	pw = getpwuid(hoy_rootless_uid());
	return strdup(pw && pw->pw_dir ? pw->pw_dir : "/");
}

static char *home_or(const char *var, const char *below)
{
	const char *dir = getenv(var);
	cleanup_free char *home = NULL;

	if (dir && *dir == '/')
		return strdup(dir);
	home = hoy_home();
	return home ? hoy_path_join(home, below) : NULL;
}

char *hoy_config_home(void) { return home_or("XDG_CONFIG_HOME", ".config"); }
char *hoy_data_home(void) { return home_or("XDG_DATA_HOME", ".local/share"); }

/* Inside our namespace the user is uid 0, so the owner to compare with is geteuid(). */
static bool private_dir(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 0722) == 0700;
}

char *hoy_runtime_dir(void)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR"), *tmp = getenv("TMPDIR");
	char *path;

	if (!hoy_rootless())
		return strdup("/run");
	if (xdg && *xdg == '/')
		return strdup(xdg);
	path = hoy_asprintf("/run/user/%u", (unsigned)hoy_rootless_uid());
	if (!path || private_dir(path))
		return path;
	free(path);
	path = hoy_asprintf("%s/storage-run-%u", tmp && *tmp == '/' ? tmp : "/tmp", (unsigned)hoy_rootless_uid());
	if (path)
		mkdir(path, 0700);
	return path;
}

char *hoy_expand_path(const char *path)
{
	struct hoy_buf b = HOY_BUF_INIT(PATH_MAX);

	while (*path) {
		char name[64];
		const char *v;
		size_t n = 0;
		bool brace;

		if (*path != '$') {
			hoy_buf_putc(&b, *path++);
			continue;
		}
		brace = *++path == '{';
		path += brace;
		while ((isalnum((unsigned char)*path) || *path == '_') && n < sizeof(name) - 1)
			name[n++] = *path++;
		name[n] = '\0';
		path += brace && *path == '}';
		if (!strcmp(name, "UID"))
			hoy_buf_printf(&b, "%u", (unsigned)hoy_rootless_uid());
		else if ((v = getenv(name)))
			hoy_buf_puts(&b, v);
	}
	if (!b.len)
		hoy_buf_puts(&b, "");
	return hoy_buf_steal(&b);
}
