/* spec: an example config.json to start from. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cmd-runtime/runtime.h"

static const char *const caps[] = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE" };
static const char *const masked[] = { "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				      "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
				      "/proc/scsi" };
static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
static const struct { const char *to, *type, *source, *options; } mounts[] = {
	{ "/proc", "proc", "proc", "" },
	{ "/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k" },
	{ "/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5" },
	{ "/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k" },
	{ "/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev" },
	{ "/sys", "sysfs", "sysfs", "nosuid noexec nodev ro" },
	{ "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro" },
};

static void strings(struct hoy_jw *w, const char *key, const char *const *v, size_t n)
{
	hoy_jw_array(w, key);
	for (size_t i = 0; i < n; i++)
		hoy_jw_string(w, NULL, v[i]);
	hoy_jw_end_array(w);
}

static void write_process(struct hoy_jw *w)
{
	static const char *const args[] = { "sh" };
	static const char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm" };
	static const char *const sets[] = { "bounding", "effective", "permitted" };

	hoy_jw_object(w, "process");
	hoy_jw_bool(w, "terminal", true);
	hoy_jw_object(w, "user");
	hoy_jw_int(w, "uid", 0);
	hoy_jw_int(w, "gid", 0);
	hoy_jw_end_object(w);
	strings(w, "args", args, ARRAY_SIZE(args));
	strings(w, "env", env, ARRAY_SIZE(env));
	hoy_jw_string(w, "cwd", "/");
	hoy_jw_object(w, "capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		strings(w, sets[i], caps, ARRAY_SIZE(caps));
	hoy_jw_end_object(w);
	hoy_jw_raw(w, "rlimits", "[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1024}]");
	hoy_jw_bool(w, "noNewPrivileges", true);
	hoy_jw_end_object(w);
}

static void write_mounts(struct hoy_jw *w, bool rootless)
{
	hoy_jw_array(w, "mounts");
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		struct hoy_strv o = HOY_STRV_INIT;

		/* Group 5 is not mapped for an ordinary user. */
		hoy_strv_split(&o, mounts[i].options, ' ');
		if (rootless && hoy_strv_find(&o, "gid=5") >= 0)
			hoy_strv_remove(&o, (size_t)hoy_strv_find(&o, "gid=5"));
		hoy_jw_object(w, NULL);
		hoy_jw_string(w, "destination", mounts[i].to);
		hoy_jw_string(w, "type", mounts[i].type);
		hoy_jw_string(w, "source", mounts[i].source);
		if (o.n)
			hoy_jw_strings(w, "options", o.v, o.n);
		hoy_jw_end_object(w);
		hoy_strv_release(&o);
	}
	hoy_jw_end_array(w);
}

static void write_mapping(struct hoy_jw *w, const char *key, unsigned id)
{
	hoy_jw_array(w, key);
	hoy_jw_object(w, NULL);
	hoy_jw_int(w, "containerID", 0);
	hoy_jw_int(w, "hostID", id);
	hoy_jw_int(w, "size", 1);
	hoy_jw_end_object(w);
	hoy_jw_end_array(w);
}

static void write_linux(struct hoy_jw *w, bool rootless)
{
	static const char *const ns[] = { "pid", "network", "ipc", "uts", "mount", "cgroup", "user" };

	hoy_jw_object(w, "linux");
	if (rootless) {
		write_mapping(w, "uidMappings", geteuid());
		write_mapping(w, "gidMappings", getegid());
	} else {
		hoy_jw_raw(w, "resources", "{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}");
	}
	hoy_jw_array(w, "namespaces");
	for (size_t i = 0; i < ARRAY_SIZE(ns) - !rootless; i++) {
		hoy_jw_object(w, NULL);
		hoy_jw_string(w, "type", ns[i]);
		hoy_jw_end_object(w);
	}
	hoy_jw_end_array(w);
	strings(w, "maskedPaths", masked, ARRAY_SIZE(masked));
	strings(w, "readonlyPaths", readonly, ARRAY_SIZE(readonly));
	hoy_jw_end_object(w);
}

int cmd_spec(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const char *bundle = ".", *file = "config.json";
	bool rootless = false;
	const struct cli_opt opts[] = {
		{ "bundle", 'b', CLI_STR, &bundle, "DIR", "where to write config.json (default: .)" },
		{ "file", 'f', CLI_STR, &file, "FILE", "its name (default: config.json)" },
		{ "rootless", 0, CLI_FLAG, &rootless, NULL, "for an ordinary user" },
	};
	const struct cli cli = { "spec [OPTION]...", opts, ARRAY_SIZE(opts), 0, 0, false };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "\t");
	cleanup_fd int dir = -1;
	int r;

	if (cli_parse(&cli, argc, argv, err) < 0)
		return -err->code;
	dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return hoy_fail_errno(err, errno, "cannot open '%s'", bundle);
	if (hoy_exists(dir, file))
		return hoy_fail(err, EEXIST, "%s already exists in '%s'", file, bundle);
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "ociVersion", OCI_VERSION);
	write_process(&w);
	hoy_jw_raw(&w, "root", "{\"path\":\"rootfs\",\"readonly\":true}");
	hoy_jw_string(&w, "hostname", "hoy");
	write_mounts(&w, rootless);
	write_linux(&w, rootless);
	hoy_jw_end_object(&w);
	hoy_buf_putc(&b, '\n');
	r = b.error ? -b.error : hoy_replace_file(dir, file, b.data, b.len, 0644, false);
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s'", file) : 0;
}
