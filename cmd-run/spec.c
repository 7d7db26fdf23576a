/* cmd-run/spec.c: config.json of a container, as podman would write it (OCI runtime-spec 1.2). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"
#include "common/oci/caps.h"
#include "common/oci/seccomp.h"

struct spec {
	struct ctr *c;
	const struct hoy_json *def;
	struct hoy_jw w;
	int rootfd;
	bool privileged;
	struct user user;
	struct hoy_idmaps maps; /* of its user namespace */
	char *userns;		/* the path of that, NULL: the runtime makes it */
};

static bool is(const char *a, const char *b) { return a && !strcmp(a, b); }
static const char *def_str(const struct spec *s, const char *key) { return hoy_json_str(s->def, key); }

static void strings(struct hoy_jw *w, const char *key, const struct hoy_json *list)
{
	hoy_jw_array(w, key);
	HOY_JSON_EACH(it, list)
		hoy_jw_value(w, NULL, it);
	hoy_jw_end_array(w);
}

static void options(struct hoy_jw *w, const char *text)
{
	cleanup_strv struct hoy_strv list = HOY_STRV_INIT;

	hoy_strv_split(&list, text, ',');
	hoy_jw_strings(w, "options", list.v, list.n);
}

static void mount(struct hoy_jw *w, const char *dest, const char *type, const char *source, const char *opts)
{
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "destination", dest);
	hoy_jw_string(w, "type", type);
	hoy_jw_string(w, "source", source);
	options(w, opts);
	hoy_jw_end_object(w);
}

/* Does the user mount something of his own at DEST? */
static bool taken(const struct spec *s, const char *dest)
{
	HOY_JSON_EACH(m, hoy_json_get(s->def, "mounts"))
		if (is(hoy_json_str(m, "destination"), dest))
			return true;
	return false;
}

static void base_mount(struct spec *s, const char *dest, const char *type, const char *source, const char *opts)
{
	if (!taken(s, dest))
		mount(&s->w, dest, type, source, opts);
}

/* A file of the run directory, if it was written. */
static void file_mount(struct spec *s, const char *dest, const char *name)
{
	cleanup_free char *path = hoy_path_join(s->c->rundir, name);

	if (path && hoy_exists(AT_FDCWD, path) && !taken(s, dest))
		mount(&s->w, dest, "bind", path, hoy_json_bool(s->def, "readonly", false) ? "bind,rprivate,ro,nosuid,nodev,noexec" :
		      "bind,rprivate");
}

/* Does its user namespace have GID? The user with one id alone lacks tty's. */
static bool gid_mapped(const struct spec *s, uint32_t gid)
{
	uint32_t outside;

	cleanup_file FILE *f = fopen("/proc/self/gid_map", "re");
	unsigned long long inner, outer, count;

	if (s->maps.gid.n)
		return hoy_idmap_out(&s->maps.gid, gid, &outside);
	while (f && fscanf(f, "%llu %llu %llu", &inner, &outer, &count) == 3)
		if (gid >= inner && gid - inner < count)
			return true;
	return !f;
}

/* A sysfs belongs to the network namespace's user namespace: who is in another one may only bind the host's. */
static bool host_sys(const struct spec *s, const char *net)
{
	return is(net, "host") && (s->c->s->rootless || ctr_has_userns(s->c));
}

static void base_mounts(struct spec *s)
{
	const char *ipc = def_str(s, "ipc") ?: "", *net = hoy_json_str(s->c->live.root, "netMode") ?: "";
	char shm[96];

	snprintf(shm, sizeof(shm), "nosuid,noexec,nodev,mode=1777,size=%lld", (long long)hoy_json_int(s->def, "shmSize", 65536000));
	/* A procfs belongs to the pid namespace's user namespace in the same way. */
	if (is(def_str(s, "pid"), "host") && (s->c->s->rootless || ctr_has_userns(s->c)))
		base_mount(s, "/proc", "bind", "/proc", "rbind,nosuid,noexec,nodev");
	else
		base_mount(s, "/proc", "proc", "proc", "nosuid,noexec,nodev");
	base_mount(s, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
	if (host_sys(s, net))
		base_mount(s, "/sys", "bind", "/sys", "rprivate,nosuid,noexec,nodev,ro,rbind");
	else
		base_mount(s, "/sys", "sysfs", "sysfs", s->privileged ? "nosuid,noexec,nodev,rw" : "nosuid,noexec,nodev,ro");
	base_mount(s, "/dev/pts", "devpts", "devpts", gid_mapped(s, 5) ? "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5" :
		   "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620");
	if (is(ipc, "host")) {
		if (hoy_exists(AT_FDCWD, "/dev/mqueue"))
			base_mount(s, "/dev/mqueue", "bind", "/dev/mqueue", "rbind,nosuid,noexec,nodev");
		base_mount(s, "/dev/shm", "bind", "/dev/shm", "rbind,nosuid,noexec,nodev");
	} else {
		base_mount(s, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev");
		if (!is(ipc, "none"))
			base_mount(s, "/dev/shm", "tmpfs", "shm", shm);
	}
	if (!host_sys(s, net))
		base_mount(s, "/sys/fs/cgroup", "cgroup", "cgroup", s->privileged ? "rprivate,nosuid,noexec,nodev,relatime,rw" :
			   "rprivate,nosuid,noexec,nodev,relatime,ro");
	file_mount(s, "/etc/resolv.conf", "resolv.conf");
	file_mount(s, "/etc/hosts", "hosts");
	file_mount(s, "/etc/hostname", "hostname");
	file_mount(s, "/run/.containerenv", ".containerenv");
	if (hoy_json_bool(s->def, "readonly", false)) {
		file_mount(s, "/etc/passwd", "passwd");
		file_mount(s, "/etc/group", "group");
	}
	if (hoy_json_bool(s->def, "readonlyTmpfs", false)) {
		base_mount(s, "/tmp", "tmpfs", "tmpfs", "rw,rprivate,nosuid,nodev,tmpcopyup");
		base_mount(s, "/var/tmp", "tmpfs", "tmpfs", "rw,rprivate,nosuid,nodev,tmpcopyup");
		base_mount(s, "/run", "tmpfs", "tmpfs", "rw,rprivate,nosuid,nodev,tmpcopyup");
	}
	if (def_str(s, "init"))
		mount(&s->w, "/run/podman-init", "bind", def_str(s, "init"), "bind,ro");
}

static void mappings(struct spec *s, const char *key, const struct hoy_idmap *m)
{
	if (!m->n)
		return;
	hoy_jw_array(&s->w, key);
	for (size_t i = 0; i < m->n; i++) {
		hoy_jw_object(&s->w, NULL);
		hoy_jw_uint(&s->w, "containerID", m->v[i].inside);
		hoy_jw_uint(&s->w, "hostID", m->v[i].outside);
		hoy_jw_uint(&s->w, "size", m->v[i].size);
		hoy_jw_end_object(&s->w);
	}
	hoy_jw_end_array(&s->w);
}

static unsigned depth_of(const char *path)
{
	unsigned n = 0;

	for (; *path; path++)
		n += path[0] == '/' && path[1];
	return n;
}

/* Those of the definition that are the runtime's too; U and idmap say whose the files are. */
static void mount_options(struct spec *s, const struct hoy_json *m, bool tmpfs)
{
	const char *idmap = mount_option(m, "idmap");
	bool give = tmpfs && mount_option(m, "U");
	struct hoy_idmaps maps;
	char text[32];

	hoy_jw_array(&s->w, "options");
	HOY_JSON_EACH(it, hoy_json_get(m, "options"))
		if (!is(it->str, "U") && it->str != idmap && !(give && is(it->str, "tmpcopyup"))) /* which brings the image's owner */
			hoy_jw_value(&s->w, NULL, it);
	snprintf(text, sizeof(text), "uid=%u", s->user.uid);
	if (give)
		hoy_jw_string(&s->w, NULL, text);
	snprintf(text, sizeof(text), "gid=%u", s->user.gid);
	if (give)
		hoy_jw_string(&s->w, NULL, text);
	hoy_jw_end_array(&s->w);
	if (!idmap || mount_idmap(idmap, &s->maps, &maps, NULL) < 0)
		return;
	mappings(s, "uidMappings", &maps.uid);
	mappings(s, "gidMappings", &maps.gid);
}

/* O: the runtime mounts an overlay, whose upper directory goes with the run directory unless the user named one. */
static void overlay_mount(struct spec *s, const struct hoy_json *m)
{
	const char *upper = mount_option(m, "upperdir"), *work = mount_option(m, "workdir");
	cleanup_free char *dir = overlay_dir(s->c, m), *lower = hoy_asprintf("lowerdir=%s", hoy_json_str(m, "source"));
	cleanup_free char *own_upper = dir ? hoy_asprintf("upperdir=%s/upper", dir) : NULL;
	cleanup_free char *own_work = dir ? hoy_asprintf("workdir=%s/work", dir) : NULL;

	hoy_jw_string(&s->w, "type", "overlay");
	hoy_jw_string(&s->w, "source", "overlay");
	hoy_jw_array(&s->w, "options");
	hoy_jw_string(&s->w, NULL, lower);
	hoy_jw_string(&s->w, NULL, upper ?: own_upper);
	hoy_jw_string(&s->w, NULL, work ?: own_work);
	hoy_jw_string(&s->w, NULL, "private");
	if (s->c->s->rootless || ctr_has_userns(s->c))
		hoy_jw_string(&s->w, NULL, "userxattr");
	hoy_jw_end_array(&s->w);
}

/* The user's mounts, shallow ones first so that none hides another. */
static void user_mounts(struct spec *s)
{
	unsigned done = 0, total = 0;

	for (const struct hoy_json *m = hoy_json_get(s->def, "mounts") ? hoy_json_get(s->def, "mounts")->child : NULL; m; m = m->next)
		total++;
	for (unsigned depth = 0; done < total && depth < 4096; depth++)
		HOY_JSON_EACH(m, hoy_json_get(s->def, "mounts")) {
			const char *type = hoy_json_str(m, "type"), *dest = hoy_json_str(m, "destination");

			if (depth_of(dest) != depth)
				continue;
			done++;
			hoy_jw_object(&s->w, NULL);
			hoy_jw_string(&s->w, "destination", dest);
			if (mount_option(m, "O")) {
				overlay_mount(s, m);
				hoy_jw_end_object(&s->w);
				continue;
			}
			hoy_jw_string(&s->w, "type", is(type, "tmpfs") ? "tmpfs" : "bind");
			hoy_jw_string(&s->w, "source", hoy_json_str(m, "source"));
			mount_options(s, m, is(type, "tmpfs"));
			hoy_jw_end_object(&s->w);
		}
}

static void capabilities(struct spec *s)
{
	static const char *const sets[] = { "bounding", "effective", "permitted", "inheritable", "ambient" };
	const struct hoy_json *caps = hoy_json_get(s->def, "caps");
	bool root = s->user.uid == 0;

	hoy_jw_object(&s->w, "capabilities");
	strings(&s->w, sets[0], caps);
	/* An ordinary user inside has only what was added by name. */
	for (int i = 1; i < 5; i++) {
		if (root && i >= 3)
			break;
		if (root) {
			strings(&s->w, sets[i], caps);
			continue;
		}
		hoy_jw_array(&s->w, sets[i]);
		HOY_JSON_EACH(it, caps)
			HOY_JSON_EACH(add, hoy_json_get(s->def, "capAdd")) {
				uint64_t a = 0, b = 0;

				if (!hoy_caps_parse(add->str, &a, NULL) && !hoy_caps_parse(it->str, &b, NULL) && a != HOY_CAPS_ALL && a == b)
					hoy_jw_value(&s->w, NULL, it);
			}
		hoy_jw_end_array(&s->w);
	}
	hoy_jw_end_object(&s->w);
}

static void environment(struct spec *s)
{
	const struct hoy_json *env = hoy_json_get(s->def, "env");
	const char *hostname = hoy_json_str(s->c->live.root, "hostname");
	bool home = false, host = false;
	cleanup_free char *line = NULL;

	hoy_jw_array(&s->w, "env");
	HOY_JSON_EACH(it, env) {
		home = home || !strncmp(it->str, "HOME=", 5);
		host = host || !strncmp(it->str, "HOSTNAME=", 9);
		hoy_jw_value(&s->w, NULL, it);
	}
	line = home ? NULL : hoy_asprintf("HOME=%s", s->user.home);
	if (line)
		hoy_jw_string(&s->w, NULL, line);
	free(line);
	line = host ? NULL : hoy_asprintf("HOSTNAME=%s", hostname ? hostname : "");
	if (line)
		hoy_jw_string(&s->w, NULL, line);
	hoy_jw_end_array(&s->w);
}

static void user(struct spec *s)
{
	const char *umask = def_str(s, "umask");

	hoy_jw_object(&s->w, "user");
	hoy_jw_uint(&s->w, "uid", s->user.uid);
	hoy_jw_uint(&s->w, "gid", s->user.gid);
	hoy_jw_int(&s->w, "umask", strtol(umask ? umask : "0022", NULL, 8));
	if (s->user.n_groups) {
		hoy_jw_array(&s->w, "additionalGids");
		for (size_t i = 0; i < s->user.n_groups; i++)
			hoy_jw_uint(&s->w, NULL, s->user.groups[i]);
		hoy_jw_end_array(&s->w);
	}
	hoy_jw_end_object(&s->w);
}

static void rlimits(struct spec *s)
{
	hoy_jw_array(&s->w, "rlimits");
	HOY_JSON_EACH(u, hoy_json_get(s->def, "ulimits")) {
		int64_t soft = hoy_json_int(u, "soft", 0), hard = hoy_json_int(u, "hard", 0);

		hoy_jw_object(&s->w, NULL);
		hoy_jw_string(&s->w, "type", hoy_json_str(u, "type"));
		hoy_jw_uint(&s->w, "hard", hard < 0 ? UINT64_MAX : (uint64_t)hard);
		hoy_jw_uint(&s->w, "soft", soft < 0 ? UINT64_MAX : (uint64_t)soft);
		hoy_jw_end_object(&s->w);
	}
	hoy_jw_end_array(&s->w);
}

static void process(struct spec *s)
{
	hoy_jw_object(&s->w, "process");
	if (hoy_json_bool(s->def, "tty", false))
		hoy_jw_bool(&s->w, "terminal", true);
	user(s);
	hoy_jw_array(&s->w, "args");
	if (def_str(s, "init")) {
		hoy_jw_string(&s->w, NULL, "/run/podman-init");
		hoy_jw_string(&s->w, NULL, "--");
	}
	HOY_JSON_EACH(it, hoy_json_get(s->def, "args"))
		hoy_jw_value(&s->w, NULL, it);
	hoy_jw_end_array(&s->w);
	environment(s);
	hoy_jw_string(&s->w, "cwd", def_str(s, "cwd"));
	capabilities(s);
	rlimits(s);
	if (hoy_json_bool(s->def, "noNewPrivileges", false))
		hoy_jw_bool(&s->w, "noNewPrivileges", true);
	if (def_str(s, "apparmor") && !is(def_str(s, "apparmor"), "unconfined"))
		hoy_jw_string(&s->w, "apparmorProfile", def_str(s, "apparmor"));
	if (hoy_json_get(s->def, "oomScoreAdj"))
		hoy_jw_int(&s->w, "oomScoreAdj", hoy_json_int(s->def, "oomScoreAdj", 0));
	hoy_jw_end_object(&s->w);
}

static void namespace(struct hoy_jw *w, const char *type, const char *path)
{
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "type", type);
	hoy_jw_string_opt(w, "path", path);
	hoy_jw_end_object(w);
}

static void namespaces(struct spec *s, const char *netns)
{
	hoy_jw_array(&s->w, "namespaces");
	if (!is(def_str(s, "pid"), "host"))
		namespace(&s->w, "pid", NULL);
	if (!is(hoy_json_str(s->c->live.root, "netMode"), "host"))
		namespace(&s->w, "network", netns);
	if (!is(def_str(s, "ipc"), "host"))
		namespace(&s->w, "ipc", NULL);
	if (!is(def_str(s, "uts"), "host"))
		namespace(&s->w, "uts", NULL);
	namespace(&s->w, "mount", NULL);
	if (ctr_has_userns(s->c))
		namespace(&s->w, "user", s->userns);
	if (!is(def_str(s, "cgroupns"), "host"))
		namespace(&s->w, "cgroup", NULL);
	hoy_jw_end_array(&s->w);
}

static void put_device(struct spec *s, const char *path, const struct stat *st)
{
	hoy_jw_object(&s->w, NULL);
	hoy_jw_string(&s->w, "path", path);
	hoy_jw_string(&s->w, "type", S_ISBLK(st->st_mode) ? "b" : "c");
	hoy_jw_int(&s->w, "major", major(st->st_rdev));
	hoy_jw_int(&s->w, "minor", minor(st->st_rdev));
	hoy_jw_int(&s->w, "fileMode", st->st_mode & 07777);
	hoy_jw_uint(&s->w, "uid", st->st_uid);
	hoy_jw_uint(&s->w, "gid", st->st_gid);
	hoy_jw_end_object(&s->w);
}

/* HOST[:INSIDE[:rwm]] */
static void split_device(const char *text, char host[PATH_MAX], char inside[PATH_MAX], char access[8])
{
	cleanup_strv struct hoy_strv p = HOY_STRV_INIT;

	hoy_strv_split(&p, text, ':');
	snprintf(host, PATH_MAX, "%s", p.n ? p.v[0] : "");
	snprintf(inside, PATH_MAX, "%s", p.n > 1 && p.v[1][0] == '/' ? p.v[1] : host);
	snprintf(access, 8, "%s", p.n > 1 && p.v[p.n - 1][0] != '/' ? p.v[p.n - 1] : "rwm");
}

static int devices(struct spec *s, struct hoy_err *err)
{
	static const char *const own[] = { "null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "pts", "shm", "mqueue",
					   "fd", "stdin", "stdout", "stderr", ".", "..", "core" };
	cleanup_dir DIR *d = s->privileged && !s->c->s->rootless ? opendir("/dev") : NULL;
	struct dirent *e;

	hoy_jw_array(&s->w, "devices");
	while (d && (e = readdir(d))) {
		cleanup_free char *path = hoy_asprintf("/dev/%s", e->d_name);
		struct stat st;
		size_t i;

		for (i = 0; i < ARRAY_SIZE(own) && strcmp(own[i], e->d_name); i++)
			;
		if (i < ARRAY_SIZE(own) || !path || lstat(path, &st) < 0 || !(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
			continue;
		put_device(s, path, &st);
	}
	HOY_JSON_EACH(it, hoy_json_get(s->def, "devices")) {
		char host[PATH_MAX], inside[PATH_MAX], access[8];
		struct stat st;

		split_device(it->str, host, inside, access);
		if (stat(host, &st) < 0)
			return hoy_fail_errno(err, errno, "cannot use device '%s'", host);
		if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
			return hoy_fail(err, EINVAL, "'%s' is no device", host);
		put_device(s, inside, &st);
	}
	hoy_jw_end_array(&s->w);
	return 0;
}

static void device_rules(struct spec *s)
{
	struct hoy_jw *w = &s->w;

	hoy_jw_array(w, "devices");
	hoy_jw_object(w, NULL);
	hoy_jw_bool(w, "allow", s->privileged);
	hoy_jw_string(w, "access", "rwm");
	hoy_jw_end_object(w);
	HOY_JSON_EACH(it, hoy_json_get(s->def, "devices")) {
		char host[PATH_MAX], inside[PATH_MAX], access[8];
		struct stat st;

		split_device(it->str, host, inside, access);
		if (stat(host, &st) < 0)
			continue;
		hoy_jw_object(w, NULL);
		hoy_jw_bool(w, "allow", true);
		hoy_jw_string(w, "type", S_ISBLK(st.st_mode) ? "b" : "c");
		hoy_jw_int(w, "major", major(st.st_rdev));
		hoy_jw_int(w, "minor", minor(st.st_rdev));
		hoy_jw_string(w, "access", access);
		hoy_jw_end_object(w);
	}
	hoy_jw_end_array(w);
}

static void put_limit(struct hoy_jw *w, const char *key, const struct hoy_json *res, const char *from)
{
	if (hoy_json_get(res, from))
		hoy_jw_int(w, key, hoy_json_int(res, from, 0));
}

static void limits(struct hoy_jw *w, const struct hoy_json *r)
{
	if (hoy_json_get(r, "memory") || hoy_json_get(r, "memorySwap") || hoy_json_get(r, "memoryReservation") || hoy_json_get(r, "oomKillDisable")) {
		hoy_jw_object(w, "memory");
		put_limit(w, "limit", r, "memory");
		put_limit(w, "reservation", r, "memoryReservation");
		put_limit(w, "swap", r, "memorySwap");
		if (hoy_json_bool(r, "oomKillDisable", false))
			hoy_jw_bool(w, "disableOOMKiller", true);
		hoy_jw_end_object(w);
	}
	if (hoy_json_get(r, "cpuShares") || hoy_json_get(r, "cpuQuota") || hoy_json_get(r, "cpuPeriod") || hoy_json_get(r, "cpusetCpus") ||
	    hoy_json_get(r, "cpusetMems")) {
		hoy_jw_object(w, "cpu");
		put_limit(w, "shares", r, "cpuShares");
		put_limit(w, "quota", r, "cpuQuota");
		put_limit(w, "period", r, "cpuPeriod");
		hoy_jw_string_opt(w, "cpus", hoy_json_str(r, "cpusetCpus"));
		hoy_jw_string_opt(w, "mems", hoy_json_str(r, "cpusetMems"));
		hoy_jw_end_object(w);
	}
	if (hoy_json_get(r, "pids")) {
		hoy_jw_object(w, "pids");
		put_limit(w, "limit", r, "pids");
		hoy_jw_end_object(w);
	}
}

static void resources(struct spec *s)
{
	hoy_jw_object(&s->w, "resources");
	device_rules(s);
	limits(&s->w, hoy_json_get(s->def, "resources"));
	hoy_jw_end_object(&s->w);
}

void write_resources(const struct ctr *c, struct hoy_buf *out)
{
	struct hoy_jw w = hoy_jw_on(out, NULL);

	hoy_jw_object(&w, NULL);
	limits(&w, hoy_json_get(c->def.root, "resources"));
	hoy_jw_end_object(&w);
}

static bool unmasked(const struct spec *s, const char *path)
{
	HOY_JSON_EACH(it, hoy_json_get(s->def, "unmask"))
		if (is(it->str, "ALL") || is(it->str, "all") || is(it->str, path) ||
		    (!strncmp(path, it->str, strlen(it->str)) && path[strlen(it->str)] == '/'))
			return true;
	return false;
}

static void hidden_paths(struct spec *s)
{
	static const char *const masked[] = { "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/fs/selinux",
		"/sys/devices/virtual/powercap", "/proc/interrupts" };
	static const char *const readonly[] = { "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

	if (s->privileged)
		return;
	hoy_jw_array(&s->w, "maskedPaths");
	for (size_t i = 0; i < ARRAY_SIZE(masked); i++)
		if (!unmasked(s, masked[i]))
			hoy_jw_string(&s->w, NULL, masked[i]);
	HOY_JSON_EACH(it, hoy_json_get(s->def, "mask"))
		hoy_jw_value(&s->w, NULL, it);
	hoy_jw_end_array(&s->w);
	hoy_jw_array(&s->w, "readonlyPaths");
	for (size_t i = 0; i < ARRAY_SIZE(readonly); i++)
		if (!unmasked(s, readonly[i]))
			hoy_jw_string(&s->w, NULL, readonly[i]);
	hoy_jw_end_array(&s->w);
}

static uint64_t cap_set(const struct spec *s)
{
	uint64_t set = 0;

	HOY_JSON_EACH(it, hoy_json_get(s->def, "caps"))
		(void)hoy_caps_parse(it->str, &set, NULL);
	return set;
}

/* The profile: by option, by the places where podman looks, else our own table. */
static int seccomp(struct spec *s, struct hoy_err *err)
{
	static const char *const places[] = { "/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json" };
	const char *path = def_str(s, "seccomp") ?: hoy_json_str(hoy_json_get(conf(), "containers"), "seccomp_profile");
	const struct hoy_seccomp_target target = { NULL, cap_set(s) };
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int r;

	if (is(path, "unconfined") || (s->privileged && !path))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(places) && !(path && *path); i++)
		if (!access(places[i], R_OK))
			path = places[i];
	if (!path || !*path) {
		hoy_seccomp_default(&s->w, "seccomp", &target);
		return 0;
	}
	r = hoy_json_load(&doc, AT_FDCWD, path, 4 << 20, err);
	return r ? r : hoy_seccomp_profile(&s->w, "seccomp", doc.root, &target, err);
}

static void sysctls(struct spec *s)
{
	const char *net = hoy_json_str(s->c->live.root, "netMode");

	hoy_jw_object(&s->w, "sysctl");
	if (!is(net, "host") && !s->privileged && !hoy_json_path(s->def, "sysctls", "net.ipv4.ping_group_range", NULL))
		hoy_jw_string(&s->w, "net.ipv4.ping_group_range", "0 0");
	HOY_JSON_EACH(it, hoy_json_get(s->def, "sysctls"))
		hoy_jw_value(&s->w, it->key, it);
	hoy_jw_end_object(&s->w);
}

static int linux_part(struct spec *s, const char *netns, struct hoy_err *err)
{
	int r;

	hoy_jw_object(&s->w, "linux");
	mappings(s, "uidMappings", &s->maps.uid);
	mappings(s, "gidMappings", &s->maps.gid);
	sysctls(s);
	resources(s);
	if (hoy_json_str(s->c->live.root, "cgroupsPath"))
		hoy_jw_string(&s->w, "cgroupsPath", hoy_json_str(s->c->live.root, "cgroupsPath"));
	namespaces(s, netns);
	r = devices(s, err);
	if (!r)
		r = seccomp(s, err);
	hidden_paths(s);
	hoy_jw_end_object(&s->w);
	return r;
}

static int extra_groups(struct spec *s, struct hoy_err *err)
{
	/* Who kept their ids is in their own group too, whoever they are there. */
	if (hoy_json_bool(s->def, "addCaller", false) && s->user.n_groups < ARRAY_SIZE(s->user.groups) &&
	    !(s->user.n_groups && s->user.groups[0] == hoy_rootless_gid())) {
		memmove(s->user.groups + 1, s->user.groups, s->user.n_groups++ * sizeof(*s->user.groups));
		s->user.groups[0] = hoy_rootless_gid();
	}
	HOY_JSON_EACH(it, hoy_json_get(s->def, "keepGroups") ? NULL : hoy_json_get(s->def, "groups")) {
		cleanup_free char *spec = hoy_asprintf("%u:%s", s->user.uid, it->str);
		struct user u;
		int r = spec ? resolve_user(s->rootfd, spec, &u, err) : hoy_fail_oom(err);

		if (r < 0)
			return r;
		if (s->user.n_groups < ARRAY_SIZE(s->user.groups))
			s->user.groups[s->user.n_groups++] = u.gid;
	}
	return 0;
}

/* The directory PATH, whose parent is there; of the container's root, or (LAST) of its user. */
static int make_dir(struct spec *s, const char *path, bool last, struct hoy_err *err)
{
	cleanup_fd int fd = hoy_open_beneath(s->rootfd, path, O_PATH, 0, HOY_IN_ROOT);
	uid_t uid;
	gid_t gid;
	int r;

	if (fd >= 0)
		return 0;
	fd = hoy_mkdir_in_root(s->rootfd, path, 0755);
	if (fd < 0)
		return hoy_fail_errno(err, -fd, "cannot make the working directory '%s'", path);
	r = ctr_outside(s->c, last ? s->user.uid : 0, last ? s->user.gid : 0, &uid, &gid, err);
	if (!r && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		r = hoy_fail_errno(err, errno, "cannot give '%s' to its user", path);
	return r;
}

static int make_dirs(struct spec *s, const char *path, struct hoy_err *err)
{
	cleanup_free char *part = strdup(path);
	int r = 0;

	for (char *end = part, was; end && *end && !r; *end = was) {
		end += strspn(end, "/");
		end += strcspn(end, "/");
		was = *end;
		*end = '\0';
		r = make_dir(s, part, !was, err);
	}
	return part ? r : hoy_fail_oom(err);
}

/* podman makes the working directory if it is missing. */
static int make_cwd(struct spec *s, struct hoy_err *err)
{
	const char *cwd = def_str(s, "cwd");
	struct stat st;
	int fd, r = 0;

	HOY_JSON_EACH(m, hoy_json_get(s->def, "mounts")) {
		const char *dest = hoy_json_str(m, "destination");

		if (!strncmp(cwd, dest, strlen(dest)) && strchr("/", cwd[strlen(dest)]))
			return 0;
	}
	fd = hoy_open_beneath(s->rootfd, cwd, O_PATH, 0, HOY_IN_ROOT);
	if (fd >= 0) {
		if (!fstat(fd, &st) && !S_ISDIR(st.st_mode))
			r = hoy_fail(err, ENOTDIR, "workdir \"%s\" exists on container %s, but it is not a directory", cwd, s->c->id);
		hoy_close(fd);
		return r;
	}
	if (hoy_json_bool(s->def, "cwdGiven", false))
		return hoy_fail(err, ENOENT, "workdir \"%s\" does not exist on container %s", cwd, s->c->id);
	return make_dirs(s, cwd, err);
}

/* The user has to be somebody in there. */
static int user_namespace(struct spec *s, struct hoy_err *err)
{
	struct hoy_idmaps own = { 0 };
	uint32_t outside;
	int r;

	if (!ctr_has_userns(s->c))
		return 0;
	r = ctr_maps(s->c, &s->maps, err);
	if (!r)
		r = ctr_userns_path(s->c, &s->userns, err);
	if (!r && s->maps.uid.n && !hoy_idmap_out(&s->maps.uid, s->user.uid, &outside))
		r = hoy_fail(err, EINVAL, "container uses ID mappings, but doesn't map UID %u", s->user.uid);
	if (!r && s->maps.gid.n && !hoy_idmap_out(&s->maps.gid, s->user.gid, &outside))
		r = hoy_fail(err, EINVAL, "container uses ID mappings, but doesn't map GID %u", s->user.gid);
	if (!r && s->c->s->rootless && (hoy_idmap_own("uid_map", &own.uid) < 0 || hoy_idmap_own("gid_map", &own.gid) < 0 ||
					hoy_idmap_split(&s->maps.uid, &own.uid) < 0 || hoy_idmap_split(&s->maps.gid, &own.gid) < 0))
		r = hoy_fail(err, E2BIG, "too many ID mappings");
	return r;
}

int write_spec(struct ctr *c, const char *rootfs, const char *netns, struct hoy_buf *out, struct hoy_err *err)
{
	struct spec s = { .c = c, .def = c->def.root, .w = hoy_jw_on(out, NULL) };
	cleanup_fd int rootfd = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (rootfd < 0)
		return hoy_fail_errno(err, errno, "cannot open the root file system '%s'", rootfs);
	s.rootfd = rootfd;
	s.privileged = hoy_json_bool(s.def, "privileged", false);
	r = write_accounts(c, rootfd, err);
	if (!r)
		r = resolve_user(rootfd, def_str(&s, "user"), &s.user, err);
	if (!r)
		r = extra_groups(&s, err);
	if (!r)
		r = user_namespace(&s, err);
	if (!r)
		r = make_cwd(&s, err);
	if (!r)
		r = fill_volumes(c, rootfd, &s.user, err);
	if (r < 0) {
		free(s.userns);
		return r;
	}
	hoy_jw_object(&s.w, NULL);
	hoy_jw_string(&s.w, "ociVersion", "1.2.0");
	process(&s);
	hoy_jw_object(&s.w, "root");
	hoy_jw_string(&s.w, "path", rootfs);
	if (hoy_json_bool(s.def, "readonly", false))
		hoy_jw_bool(&s.w, "readonly", true);
	hoy_jw_end_object(&s.w);
	if (!is(def_str(&s, "uts"), "host"))
		hoy_jw_string(&s.w, "hostname", hoy_json_str(c->live.root, "hostname"));
	hoy_jw_array(&s.w, "mounts");
	base_mounts(&s);
	user_mounts(&s);
	hoy_jw_end_array(&s.w);
	hoy_jw_object(&s.w, "annotations");
	hoy_jw_string(&s.w, "io.container.manager", "libpod");
	hoy_jw_string(&s.w, "org.opencontainers.image.stopSignal", "15");
	if (hoy_json_bool(s.def, "keepGroups", false))
		hoy_jw_string(&s.w, "run.oci.keep_original_groups", "1");
	HOY_JSON_EACH(it, hoy_json_get(s.def, "annotations"))
		hoy_jw_value(&s.w, it->key, it);
	hoy_jw_end_object(&s.w);
	r = write_hooks(c, &s.w, err);
	if (!r)
		r = linux_part(&s, netns, err);
	free(s.userns);
	hoy_jw_end_object(&s.w);
	return r ? r : out->error ? hoy_fail_oom(err) : 0;
}
