/*
 * The systemd cgroup manager: linux.cgroupsPath is "SLICE:PREFIX:NAME", and systemd makes PREFIX-NAME.scope in SLICE. A scope
 * needs a process to begin with; that is a helper, which sleeps until the container's own is there. Limits are written to the
 * cgroup below the scope that is delegated to us, as the cgroupfs manager does it; systemd is told those that it knows, too,
 * where the scope itself is that cgroup.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cmd-runtime/runtime.h"
#include "common/proc/dbus.h"
#include "common/proc/sys.h"

static bool unit_ok(const char *name)
{
	/* What systemd takes in a name, and no way out of the directory. */
	return *name && strlen(name) < 256 && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@") == strlen(name);
}

int scope_name(const struct spec *s, const char *id, struct scope *ret, struct hoy_err *err)
{
	cleanup_free char *copy = strdup(s->cgroups_path && *s->cgroups_path ? s->cgroups_path : "");
	const char *slice, *prefix = "hoy", *name = id;
	char *one, *two;

	if (!copy)
		return hoy_fail_oom(err);
	slice = copy;
	if (*copy) {
		one = strchr(copy, ':');
		two = one ? strchr(one + 1, ':') : NULL;
		if (!two || strchr(two + 1, ':'))
			return hoy_fail(err, EINVAL, "linux.cgroupsPath '%s' is not SLICE:PREFIX:NAME, as the systemd cgroup manager wants it", copy);
		*one = *two = '\0';
		prefix = one + 1;
		name = two + 1;
	}
	ret->slice = strdup(*slice ? slice : geteuid() ? "user.slice" : "system.slice");
	ret->unit = *prefix ? hoy_asprintf("%s-%s.scope", prefix, name) : hoy_asprintf("%s.scope", name);
	if (!ret->slice || !ret->unit)
		return hoy_fail_oom(err);
	return unit_ok(ret->unit) ? 0 : hoy_fail(err, EINVAL, "invalid unit name '%s'", ret->unit);
}

/* Where systemd has put the scope, of which only it knows: that is where the helper is now. */
static int scope_path(const struct scope *sc, bool unified, struct hoy_buf *b, struct hoy_err *err)
{
	const char *key = unified ? "0::" : ":name=systemd:", *p;
	cleanup_free char *text = NULL;
	char file[64];
	size_t len;

	snprintf(file, sizeof(file), "/proc/%d/cgroup", sc->helper);
	if (hoy_read_file(AT_FDCWD, file, 1 << 16, &text, NULL, err) < 0)
		return -err->code;
	p = strstr(text, key);
	p = p ? p + strlen(key) : "";
	len = strcspn(p, "\n");
	if (len < strlen(sc->unit) + 1 || strncmp(p + len - strlen(sc->unit), sc->unit, strlen(sc->unit)))
		return hoy_fail(err, EREMOTEIO, "systemd has not moved our process into '%s'", sc->unit);
	hoy_buf_add(b, p, len);
	return b->error ? hoy_fail_oom(err) : 0;
}

static void property_limit(struct hoy_dbus_out *m, const char *name, const struct hoy_json *limit)
{
	int64_t n;

	if (!hoy_json_int64(limit, &n) || !n)
		return;
	hoy_systemd_property(m, name, "t");
	hoy_dbus_u64(m, n < 0 ? UINT64_MAX : (uint64_t)n);
}

/* "org.systemd.property.NAME": a value as GVariant text; of its types those that scopes use. */
static int property_text(struct hoy_dbus_out *m, const char *name, const char *text, struct hoy_err *err)
{
	size_t len = strlen(text);
	uint64_t n = 0;

	if (!strcmp(text, "true") || !strcmp(text, "false"))
		return hoy_systemd_property_bool(m, name, *text == 't'), 0;
	if (len >= 2 && (*text == '\'' || *text == '"') && text[len - 1] == *text) {
		cleanup_free char *s = strndup(text + 1, len - 2);

		return s ? (hoy_systemd_property_string(m, name, s), 0) : hoy_fail_oom(err);
	}
	if (sscanf(text, "uint64 %lu", &n) == 1) {
		hoy_systemd_property(m, name, "t");
		hoy_dbus_u64(m, n);
		return 0;
	}
	if (sscanf(text, "uint32 %lu", &n) == 1 || sscanf(text, "int32 %lu", &n) == 1) {
		hoy_systemd_property(m, name, *text == 'u' ? "u" : "i");
		hoy_dbus_u32(m, (uint32_t)n);
		return 0;
	}
	return hoy_fail(err, HOY_EUNSUPPORTED, "annotation org.systemd.property.%s: cannot use '%s'", name, text);
}

static int properties(struct hoy_dbus_out *m, const struct scope *sc, const struct spec *s, const char *id, bool unified, struct hoy_err *err)
{
	size_t all = hoy_dbus_array(m, 8);
	char text[300];

	snprintf(text, sizeof(text), "hoy container %s", id);
	hoy_systemd_property_string(m, "Description", text);
	hoy_systemd_property_string(m, "Slice", sc->slice);
	hoy_systemd_property_bool(m, "Delegate", true);
	hoy_systemd_property_bool(m, "DefaultDependencies", false);
	hoy_systemd_property_pid(m, sc->helper);
	property_limit(m, unified ? "MemoryMax" : "MemoryLimit", hoy_json_path(s->resources, "memory", "limit", NULL));
	property_limit(m, "TasksMax", hoy_json_path(s->resources, "pids", "limit", NULL));
	HOY_JSON_EACH(a, s->annotations)
		if (!strncmp(a->key, "org.systemd.property.", 21) && hoy_json_text(a) &&
		    property_text(m, a->key + 21, a->str, err) < 0)
			return -err->code;
	hoy_dbus_end_array(m, all, 8);
	hoy_dbus_end_array(m, hoy_dbus_array(m, 8), 8); /* no other units */
	return 0;
}

static int start_helper(struct scope *sc, struct hoy_err *err)
{
	sc->helper = fork();
	if (sc->helper < 0)
		return hoy_fail_errno(err, errno, "cannot start a helper");
	if (sc->helper)
		return 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	sys_close_range(0, ~0U, 0);
	signals_reset();
	for (;;)
		pause();
}

int scope_start(struct scope *sc, struct hoy_cgroups *all, const struct spec *s, const char *id, char **ret_path, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf path = HOY_BUF_INIT(4096);
	struct hoy_dbus_out start = hoy_systemd_message("StartTransientUnit", "ssa(sv)a(sa(sv))");
	const char *sub = spec_annotation(s, "run.oci.systemd.subgroup");
	cleanup_free char *job = NULL;
	struct hoy_dbus d = HOY_DBUS_INIT;
	int r = 0;

	sub = sub ? sub : all->unified ? "container" : "";
	if (strchr(sub, '/') || *sub == '.')
		r = hoy_fail(err, EINVAL, "annotation run.oci.systemd.subgroup: '%s' is no name", sub);
	if (!r)
		r = hoy_systemd_connect(&d, err);
	if (!r)
		r = start_helper(sc, err);
	if (!r) {
		hoy_dbus_string(&start, sc->unit);
		hoy_dbus_string(&start, "fail");
		r = properties(&start, sc, s, id, all->unified, err);
	}
	if (!r)
		r = hoy_dbus_call(&d, &start, &job, NULL, err);
	if (!r)
		r = hoy_dbus_wait_job(&d, job, err);
	if (!r)
		r = scope_path(sc, all->unified, &path, err);
	if (!r && *sub)
		hoy_buf_printf(&path, "/%s", sub);
	if (!r && !(*ret_path = strdup(hoy_buf_str(&path))))
		r = hoy_fail_oom(err);
	hoy_buf_release(&start.body);
	hoy_dbus_release(&d);
	return r;
}

void scope_end_helper(struct scope *sc)
{
	if (sc->helper <= 0)
		return;
	kill(sc->helper, SIGKILL);
	while (waitpid(sc->helper, NULL, 0) < 0 && errno == EINTR)
		;
	sc->helper = 0;
}

int scope_stop(const char *unit, struct hoy_err *err)
{
	struct hoy_dbus_out stop = hoy_systemd_message("StopUnit", "ss"), reset = hoy_systemd_message("ResetFailedUnit", "s");
	struct hoy_err ignored = HOY_ERR_INIT;
	char errname[128] = "";
	struct hoy_dbus d = HOY_DBUS_INIT;
	cleanup_free char *job = NULL;
	int r = hoy_systemd_connect(&d, err);

	if (!r) {
		hoy_dbus_string(&stop, unit);
		hoy_dbus_string(&stop, "replace");
		r = hoy_dbus_call(&d, &stop, &job, errname, err);
	}
	if (!r)
		r = hoy_dbus_wait_job(&d, job, err);
	else if (strstr(errname, ".NoSuchUnit"))
		r = 0; /* it ended with its last process */
	if (!r) {
		hoy_dbus_string(&reset, unit);
		(void)hoy_dbus_call(&d, &reset, NULL, NULL, &ignored);
	}
	hoy_buf_release(&stop.body);
	hoy_buf_release(&reset.body);
	hoy_dbus_release(&d);
	return r;
}

void scope_release(struct scope *sc)
{
	scope_end_helper(sc);
	free(sc->slice);
	free(sc->unit);
	sc->slice = sc->unit = NULL;
}
