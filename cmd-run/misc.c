/* cmd-run/misc.c: start, attach, init, exists, port, rename, top and info; events. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/cli/format.h"
#include "common/conf/dirs.h"
#include "common/data/time.h"
#include "common/proc/events.h"
#include "common/store/containers.h"

static const struct hoy_opt no_opts[] = { HOY_OPTS_END };

static void write_event(const struct ctr *c, const struct hoy_event *e)
{
	const char *backend = hoy_globals.events_backend ?: hoy_json_str(hoy_json_get(conf(), "engine"), "events_logger");
	const char *path = hoy_json_str(hoy_json_get(conf(), "engine"), "events_logfile_path");
	cleanup_free char *run = NULL, *own = NULL;

	if (backend && !strcmp(backend, "none"))
		return;
	if (!path || !*path) {
		const char *tmp = hoy_globals.tmpdir;

		run = hoy_runtime_dir();
		own = tmp && *tmp ? hoy_asprintf("%s/events/events.log", tmp) : c->s->rootless ? hoy_asprintf("%s/libpod/tmp/events/events.log", run) :
		      strdup("/run/libpod/events/events.log");
		path = own;
	}
	if (path && hoy_event_write(path, e) < 0)
		hoy_debug("event %s of %.12s was not written to '%s'", e->status, c->id, path);
}

void event(const struct ctr *c, const char *what, int code)
{
	write_event(c, &(struct hoy_event){ .type = "container", .status = what, .id = c->id, .name = ctr_name(c),
					    .image = hoy_json_str(c->state.root, "imageName"), .exit_code = code });
}

void health_event(const struct ctr *c, const char *status, int64_t streak)
{
	write_event(c, &(struct hoy_event){ .type = "container", .status = "health_status", .id = c->id, .name = ctr_name(c),
					    .image = hoy_json_str(c->state.root, "imageName"), .exit_code = -1, .health = status,
					    .failing_streak = streak });
}

/* ---- start ---- */

struct start_opts {
	bool all, attach, interactive, latest;
	int sig_proxy;
	const char *detach_keys;
};
#define S(f) offsetof(struct start_opts, f)
static const struct hoy_opt start_opts[] = {
	{ 0, "all", HOY_OPT_FLAG, S(all), NULL, "all containers" },
	{ 'a', "attach", HOY_OPT_FLAG, S(attach), NULL, "attach to its output" },
	{ 0, "detach-keys", HOY_OPT_STRING, S(detach_keys), "KEYS", "keys that detach" },
	{ 'i', "interactive", HOY_OPT_FLAG, S(interactive), NULL, "attach to its input" },
	{ 'l', "latest", HOY_OPT_FLAG, S(latest), NULL, "the container made last" },
	{ 0, "sig-proxy", HOY_OPT_TRI, S(sig_proxy), NULL, "pass signals on" },
	HOY_OPTS_END,
};

static int start_one(struct hoy_store *s, const char *name, const struct start_opts *o)
{
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	struct start_how how = { .attach = o->attach || o->interactive, .stdin_open = o->interactive, .detach_keys = o->detach_keys };
	int code = 125, r = ctr_open(&c, s, name, &err);

	if (!r)
		r = ctr_lock(&c, &err);
	if (!r)
		r = ctr_load_def(&c, &err);
	if (r < 0)
		return hoy_report(&err, 125);
	how.sig_proxy = o->sig_proxy > 0 || (o->sig_proxy < 0 && how.attach && !hoy_json_bool(c.def.root, "tty", false));
	if (ctr_status(&c) == ST_RUNNING || ctr_status(&c) == ST_PAUSED) {
		if (!how.attach) {
			puts(o->all ? c.id : name);
			return 0;
		}
		hoy_error("cannot start container %s: it is running (run: hoy attach %s)", name, name);
		return 125;
	}
	if (c.live.root && ctr_status(&c) != ST_INITIALIZED)
		r = ctr_cleanup(&c, &err);
	if (!r)
		r = ctr_start(&c, &how, &code, &err);
	if (r < 0)
		return hoy_report(&err, code ? code : 125);
	if (how.attach)
		return code;
	puts(o->all ? c.id : name);
	return 0;
}

static int run_start(const struct hoy_verb *v, int argc, char **argv)
{
	struct start_opts o = { .sig_proxy = -1 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	int status, worst = 0, n = hoy_verb_args(v, argc, argv, &o, 0, -1, &status);

	if (n < 0)
		return status;
	s = open_store(0);
	if (!s)
		return 125;
	if (pick(s, n, argv + 1, o.all, o.latest, &ids, &err) < 0)
		return hoy_report(&err, 125);
	if (o.attach && ids.n > 1) {
		hoy_error("you cannot start and attach multiple containers at once");
		return 125;
	}
	for (size_t i = 0; i < ids.n; i++) {
		status = start_one(s, ids.v[i], &o);
		worst = status > worst ? status : worst;
	}
	return worst;
}
const struct hoy_verb verb_start = { "start", "[options] CONTAINER [CONTAINER...]", "Start containers", start_opts, run_start, false };

/* ---- attach ---- */

struct attach_opts {
	bool latest, no_stdin;
	int sig_proxy;
	const char *detach_keys;
};
#define A(f) offsetof(struct attach_opts, f)
static const struct hoy_opt attach_opts[] = {
	{ 0, "detach-keys", HOY_OPT_STRING, A(detach_keys), "KEYS", "keys that detach" },
	{ 'l', "latest", HOY_OPT_FLAG, A(latest), NULL, "the container made last" },
	{ 0, "no-stdin", HOY_OPT_FLAG, A(no_stdin), NULL, "do not pass our stdin on" },
	{ 0, "sig-proxy", HOY_OPT_TRI, A(sig_proxy), NULL, "pass signals on (default true)" },
	HOY_OPTS_END,
};

static int run_attach(const struct hoy_verb *v, int argc, char **argv)
{
	struct attach_opts o = { .sig_proxy = -1 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;
	cleanup_ctr struct ctr c = CTR_INIT;
	struct start_how how = { .attach = true };
	int status, code = 0, sock, r, n = hoy_verb_args(v, argc, argv, &o, 0, 1, &status);

	if (n < 0)
		return status;
	s = open_store(0);
	if (!s)
		return 125;
	r = pick(s, n, argv + 1, false, o.latest, &ids, &err);
	if (!r)
		r = ctr_open(&c, s, ids.v[0], &err);
	if (!r)
		r = ctr_load_live(&c, &err);
	if (!r)
		r = ctr_load_def(&c, &err);
	if (!r && !ctr_pid(&c))
		r = hoy_fail(&err, HOY_EUNSUPPORTED, "you can only attach to running containers");
	if (r < 0)
		return hoy_report(&err, 125);
	how.stdin_open = !o.no_stdin && hoy_json_bool(c.def.root, "stdin", false);
	how.detach_keys = o.detach_keys;
	how.sig_proxy = o.sig_proxy != 0 && !hoy_json_bool(c.def.root, "tty", false);
	sock = attach_connect(&c);
	r = sock < 0 ? sock : attach_run(&c, sock, &how, hoy_json_bool(c.def.root, "tty", false));
	if (!r)
		r = wait_exit_file(&c, &code);
	if (r < 0)
		hoy_error("cannot attach to container %s: %s", ids.v[0], hoy_strerror(-r));
	return r < 0 ? 125 : code;
}
const struct hoy_verb verb_attach = { "attach", "[options] CONTAINER", "Attach to a running container", attach_opts, run_attach, false };

/* ---- init, exists, port, rename, top ---- */

static int run_init(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_store struct hoy_store *s = NULL;
	int status, n = hoy_verb_args(v, argc, argv, NULL, 1, -1, &status);

	if (n < 0)
		return status;
	s = open_store(0);
	if (!s)
		return 125;
	status = 0;
	for (int i = 1; i <= n; i++) {
		cleanup_ctr struct ctr c = CTR_INIT;
		struct hoy_err err = HOY_ERR_INIT;
		struct start_how how = { 0 };
		int code, r = ctr_open(&c, s, argv[i], &err);

		if (!r)
			r = ctr_lock(&c, &err);
		if (!r && ctr_pid(&c))
			r = hoy_fail(&err, HOY_EUNSUPPORTED, "container %s has already been created in runtime: container state improper", argv[i]);
		if (!r && (r = ctr_prepare(&c, &how, &code, &err)) < 0)
			ctr_abort(&c, &(struct hoy_err)HOY_ERR_INIT);
		if (r < 0)
			status = hoy_report(&err, 125);
		else
			puts(argv[i]);
	}
	return status;
}
const struct hoy_verb verb_init = { "init", "CONTAINER [CONTAINER...]", "Prepare a container for its start", no_opts, run_init, false };

static int run_exists(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	int status;

	if (hoy_verb_args(v, argc, argv, NULL, 1, 1, &status) < 0)
		return status;
	s = open_store(HOY_STORE_RDONLY);
	return !s ? 125 : ctr_open(&c, s, argv[1], NULL) < 0;
}
const struct hoy_verb verb_exists = { "container exists", "CONTAINER", "Is there such a container? Exit status 0 or 1", no_opts, run_exists,
				      false };

static int run_port(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	int status, r, n = hoy_verb_args(v, argc, argv, NULL, 1, 2, &status);
	bool found = false;

	if (n < 0)
		return status;
	s = open_store(HOY_STORE_RDONLY);
	if (!s)
		return 125;
	r = ctr_open(&c, s, argv[1], &err);
	if (!r)
		r = ctr_load_def(&c, &err);
	if (r < 0)
		return hoy_report(&err, 125);
	HOY_JSON_EACH(p, hoy_json_get(c.def.root, "ports"))
		for (int64_t i = 0; i < hoy_json_int(p, "range", 1); i++) {
			const char *ip = hoy_json_str(p, "host_ip"), *proto = hoy_json_str(p, "protocol");
			char key[32];

			snprintf(key, sizeof(key), "%lld/%s", (long long)(hoy_json_int(p, "container_port", 0) + i), proto);
			if (n == 2 && strcmp(argv[2], key) && !(strlen(argv[2]) == strcspn(key, "/") && !strncmp(argv[2], key, strlen(argv[2])) &&
								!strcmp(proto, "tcp")))
				continue;
			found = true;
			if (n == 1)
				printf("%s -> ", key);
			printf("%s:%lld\n", ip && *ip ? ip : "0.0.0.0", (long long)(hoy_json_int(p, "host_port", 0) + i));
		}
	if (n == 2 && !found) {
		hoy_error("failed to find published port \"%s\"", argv[2]);
		return 125;
	}
	return 0;
}
const struct hoy_verb verb_port = { "port", "CONTAINER [PORT[/PROTO]]", "List the published ports of a container", no_opts, run_port, false };

static int run_rename(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	int status, r;

	if (hoy_verb_args(v, argc, argv, NULL, 2, 2, &status) < 0)
		return status;
	s = open_store(0);
	if (!s)
		return 125;
	r = ctr_open(&c, s, argv[1], &err);
	if (!r)
		r = ctr_lock(&c, &err);
	if (!r)
		r = ctr_load_def(&c, &err);
	if (!r && (!*argv[2] || strspn(argv[2], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != strlen(argv[2])))
		r = hoy_fail(&err, EINVAL, "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument");
	if (!r)
		r = hoy_store_lock(s, 0, HOY_LAYERS | HOY_CONTAINERS, &err);
	if (!r)
		r = hoy_container_rename(s, c.id, argv[2], &err);
	hoy_store_unlock(s);
	if (!r) {
		hoy_json_set_string(&c.state, c.state.root, "name", argv[2]);
		hoy_json_set_string(&c.def, c.def.root, "name", argv[2]);
		r = ctr_save_state(&c, &err);
	}
	if (!r)
		r = ctr_save_def(&c, &err);
	if (!r)
		event(&c, "rename", -1);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_rename = { "rename", "CONTAINER NAME", "Rename a container", no_opts, run_rename, false };

/* ps(1) of the host, for the processes of the container's cgroup; the runtime knows them. */
static int run_top(const struct hoy_verb *v, int argc, char **argv)
{
	cleanup_store struct hoy_store *s = NULL;
	cleanup_ctr struct ctr c = CTR_INIT;
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_strv struct hoy_strv a = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 20), text = HOY_BUF_INIT(1 << 16);
	int status, r;

	if (hoy_verb_args(v, argc, argv, NULL, 1, 1, &status) < 0)
		return status;
	s = open_store(HOY_STORE_RDONLY);
	if (!s)
		return 125;
	r = ctr_open(&c, s, argv[1], &err);
	if (!r)
		r = ctr_load_live(&c, &err);
	if (!r && !ctr_pid(&c))
		r = hoy_fail(&err, HOY_EUNSUPPORTED, "top can only be used on running containers");
	if (r < 0)
		return hoy_report(&err, 125);
	runtime_argv(&c, &a);
	hoy_strv_push(&a, "ps");
	hoy_strv_push(&a, c.id);
	r = run_tool(a.v, NULL, 0, &out, &text);
	if (r)
		return hoy_report((runtime_error(&c, hoy_buf_str(&text), &status, &err), &err), 125);
	fputs(hoy_buf_str(&out), stdout);
	return 0;
}
const struct hoy_verb verb_top = { "top", "CONTAINER", "List the processes of a container", no_opts, run_top, false };

/* ---- info ---- */

struct info_opts {
	const char *format;
};
static const struct hoy_opt info_opts[] = {
	{ 'f', "format", HOY_OPT_STRING, offsetof(struct info_opts, format), "FORMAT", "json" },
	HOY_OPTS_END,
};

static void counts(struct hoy_store *s, int n[4])
{
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;

	(void)ctr_list(s, &ids);
	for (size_t i = 0; i < ids.n; i++) {
		cleanup_ctr struct ctr c = CTR_INIT;

		if (ctr_open_id(&c, s, ids.v[i], NULL) < 0 || ctr_load_live(&c, NULL) < 0)
			continue;
		n[0]++;
		n[ctr_status(&c) == ST_RUNNING ? 1 : ctr_status(&c) == ST_PAUSED ? 2 : 3]++;
	}
}

static void info_host(struct hoy_jw *w, const struct hoy_store *s)
{
	bool v2 = hoy_exists(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers");
	cleanup_free char *runtime = runtime_path(hoy_globals.runtime);
	struct hoy_err ignored = HOY_ERR_INIT;
	struct sysinfo si = { 0 };
	const char *manager;
	struct utsname u;

	(void)cgroup_manager(&manager, &ignored);
	uname(&u);
	sysinfo(&si);
	hoy_jw_object(w, "host");
	hoy_jw_string(w, "arch", !strcmp(u.machine, "x86_64") ? "amd64" : !strcmp(u.machine, "aarch64") ? "arm64" : u.machine);
	hoy_jw_string(w, "cgroupManager", manager);
	hoy_jw_string(w, "cgroupVersion", v2 ? "v2" : "v1");
	hoy_jw_int(w, "cpus", sysconf(_SC_NPROCESSORS_ONLN));
	hoy_jw_string(w, "eventLogger", hoy_json_str(hoy_json_get(conf(), "engine"), "events_logger") ?: "file");
	hoy_jw_string(w, "hostname", u.nodename);
	hoy_jw_string(w, "kernel", u.release);
	hoy_jw_int(w, "memFree", (int64_t)si.freeram * si.mem_unit);
	hoy_jw_int(w, "memTotal", (int64_t)si.totalram * si.mem_unit);
	hoy_jw_string(w, "networkBackend", "netavark");
	hoy_jw_object(w, "ociRuntime");
	hoy_jw_string(w, "name", runtime && strrchr(runtime, '/') ? strrchr(runtime, '/') + 1 : runtime);
	hoy_jw_string(w, "path", runtime);
	hoy_jw_end_object(w);
	hoy_jw_string(w, "os", "linux");
	hoy_jw_object(w, "security");
	hoy_jw_bool(w, "rootless", s->rootless);
	hoy_jw_bool(w, "seccompEnabled", hoy_exists(AT_FDCWD, "/proc/sys/kernel/seccomp/actions_avail"));
	hoy_jw_bool(w, "selinuxEnabled", hoy_exists(AT_FDCWD, "/sys/fs/selinux/enforce"));
	hoy_jw_bool(w, "apparmorEnabled", hoy_exists(AT_FDCWD, "/sys/kernel/security/apparmor/profiles"));
	hoy_jw_end_object(w);
	hoy_jw_int(w, "swapFree", (int64_t)si.freeswap * si.mem_unit);
	hoy_jw_int(w, "swapTotal", (int64_t)si.totalswap * si.mem_unit);
	hoy_jw_end_object(w);
}

static void info_store(struct hoy_jw *w, struct hoy_store *s)
{
	int n[4] = { 0 }, images = 0;

	counts(s, n);
	for (struct hoy_json *i = hoy_image_first(s); i; i = hoy_image_next(s, i))
		images++;
	hoy_jw_object(w, "store");
	hoy_jw_string(w, "configFile", s->conf.file);
	hoy_jw_object(w, "containerStore");
	hoy_jw_int(w, "number", n[0]);
	hoy_jw_int(w, "paused", n[2]);
	hoy_jw_int(w, "running", n[1]);
	hoy_jw_int(w, "stopped", n[3]);
	hoy_jw_end_object(w);
	hoy_jw_string(w, "graphDriverName", s->conf.driver);
	hoy_jw_string(w, "graphRoot", s->conf.graphroot);
	hoy_jw_object(w, "imageStore");
	hoy_jw_int(w, "number", images);
	hoy_jw_end_object(w);
	hoy_jw_string(w, "runRoot", s->conf.runroot);
	hoy_jw_bool(w, "transientStore", s->conf.transient);
	hoy_jw_string(w, "volumePath", s->conf.graphroot);
	hoy_jw_end_object(w);
}

/* The same tree as lines "key: value", which is what YAML looks like for it. */
static void as_yaml(const struct hoy_json *v, int depth)
{
	HOY_JSON_EACH(it, v) {
		printf("%*s%s:", depth * 2, "", it->key);
		if (it->type == HOY_JSON_OBJECT) {
			putchar('\n');
			as_yaml(it, depth + 1);
		} else if (it->type == HOY_JSON_BOOL) {
			puts(it->boolean ? " true" : " false");
		} else {
			printf(" %s\n", it->len ? it->str : "\"\"");
		}
	}
}

static int run_info(const struct hoy_verb *v, int argc, char **argv)
{
	struct info_opts o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	struct hoy_jw w = hoy_jw_on(&b, "  ");
	int status;

	if (hoy_verb_args(v, argc, argv, &o, 0, 0, &status) < 0)
		return status;
	s = open_store(HOY_STORE_RDONLY);
	if (!s)
		return 125;
	if (hoy_store_peek(s, HOY_IMAGES | HOY_CONTAINERS, &err) < 0)
		return hoy_report(&err, 125);
	hoy_jw_object(&w, NULL);
	info_host(&w, s);
	info_store(&w, s);
	hoy_jw_object(&w, "version");
	hoy_jw_string(&w, "Version", HOY_VERSION);
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
	if (o.format && !strcmp(o.format, "json")) {
		puts(hoy_buf_str(&b));
		return 0;
	}
	if (hoy_json_parse(&doc, hoy_buf_str(&b), b.len, "info", &err) < 0)
		return hoy_report(&err, 125);
	if (o.format) {
		cleanup_json struct hoy_json_doc rows = HOY_JSON_DOC_INIT;
		struct hoy_json *one = hoy_json_new(&rows, HOY_JSON_ARRAY);

		if (!one || !hoy_json_put(&rows, one, NULL, hoy_json_copy(&rows, doc.root)))
			return 125;
		return hoy_format_rows(o.format, one, NULL, false, &err) < 0 ? hoy_report(&err, 125) : 0;
	}
	as_yaml(doc.root, 0);
	return 0;
}
const struct hoy_verb verb_info = { "info", "[options]", "Show what hoy works with here", info_opts, run_info, false };
