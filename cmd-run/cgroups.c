/* cmd-run/cgroups.c: who manages cgroups, us or systemd, and what a container's is called, as podman has it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"
#include "common/proc/dbus.h"

/* As podman decides: systemd where it runs and cgroup v2 is alone; for an ordinary user, where there is a session to ask, too. */
static const char *default_manager(void)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	cleanup_free char *bus = run ? hoy_path_join(run, "bus") : NULL;

	if (!hoy_exists(AT_FDCWD, "/run/systemd/system") || !hoy_exists(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers"))
		return "cgroupfs";
	if (hoy_rootless() && !getenv("DBUS_SESSION_BUS_ADDRESS") && !(bus && hoy_exists(AT_FDCWD, bus)))
		return "cgroupfs";
	return "systemd";
}

int cgroup_manager(const char **ret, struct hoy_err *err)
{
	const char *name = hoy_globals.cgroup_manager;

	if (!name || !*name)
		name = hoy_json_str(hoy_json_get(conf(), "engine"), "cgroup_manager");
	*ret = name && *name ? name : default_manager();
	if (strcmp(*ret, "systemd") && strcmp(*ret, "cgroupfs"))
		return hoy_fail(err, EINVAL, "unknown cgroup manager '%s' (use: systemd or cgroupfs)", *ret);
	return 0;
}

int cgroup_check_parent(const char *manager, const char *parent, struct hoy_err *err)
{
	size_t len = parent ? strlen(parent) : 0;
	bool slice = len > 6 && !strcmp(parent + len - 6, ".slice");

	if (!len)
		return 0;
	if (!strcmp(manager, "systemd") && (!slice || strchr(parent, '/')))
		return hoy_fail(err, EINVAL, "did not receive systemd slice as cgroup parent when using systemd to manage cgroups: '%s'", parent);
	if (strcmp(manager, "systemd") && slice)
		return hoy_fail(err, EINVAL, "systemd slice received as cgroup parent when using cgroupfs: '%s'", parent);
	return 0;
}

bool cgroup_by_systemd(const struct ctr *c)
{
	return !strcmp(hoy_json_str(c->def.root, "cgroupManager") ?: hoy_json_str(c->live.root, "cgroupManager") ?: "", "systemd");
}

static const char *parent_of(const struct ctr *c)
{
	const char *parent = hoy_json_str(c->def.root, "cgroupParent");

	if (parent && *parent)
		return parent;
	return cgroup_by_systemd(c) ? "machine.slice" : "/libpod_parent";
}

int cgroup_note(struct ctr *c, struct hoy_err *err)
{
	const char *parent = parent_of(c);
	cleanup_free char *path = NULL;

	if (hoy_json_bool(c->def.root, "noCgroups", false))
		return 0;
	if (cgroup_by_systemd(c)) {
		path = hoy_asprintf("%s:libpod:%s", parent, c->id);
		if (path && hoy_json_set_string(&c->live, c->live.root, "cgroupManager", "systemd"))
			return hoy_json_set_string(&c->live, c->live.root, "cgroupsPath", path) ? 0 : hoy_fail_oom(err);
		return hoy_fail_oom(err);
	}
	path = hoy_asprintf("%s%s/libpod-%s", *parent == '/' ? "" : "/", parent, c->id);
	if (!path || !hoy_json_set_string(&c->live, c->live.root, "cgroupsPath", path) ||
	    !hoy_json_set_string(&c->live, c->live.root, "cgroup", path))
		return hoy_fail_oom(err);
	return 0;
}

void cgroup_found(struct ctr *c, pid_t pid)
{
	cleanup_free char *text = NULL, *scope = hoy_asprintf("/libpod-%s.scope", c->id);
	char file[64], *end, *line;

	if (!hoy_json_str(c->live.root, "cgroupManager") || !scope)
		return;
	snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)pid);
	if (hoy_read_file(AT_FDCWD, file, 1 << 16, &text, NULL, NULL) < 0 || !(end = strstr(text, scope)))
		return;
	end[strlen(scope)] = '\0';
	for (line = end; line > text && line[-1] != ':'; line--)
		;
	hoy_json_set_string(&c->live, c->live.root, "cgroup", line);
}

void cgroup_adopt_monitor(struct ctr *c, pid_t pid)
{
	cleanup_free char *unit = hoy_asprintf("libpod-conmon-%s.scope", c->id);
	struct hoy_err err = HOY_ERR_INIT;

	if (!hoy_json_str(c->live.root, "cgroupManager") || pid <= 0)
		return;
	if (!unit || hoy_systemd_adopt(parent_of(c), unit, pid, &err) < 0)
		hoy_warning("the monitor of container %.12s stays in our cgroup: %s, ignoring", c->id, err.msg);
}
