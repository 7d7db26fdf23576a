/* list, ps and features: what there is. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cmd-runtime/runtime.h"
#include "common/oci/caps.h"

static void list_json(struct hoy_jw *w, const struct state *st)
{
	hoy_jw_object(w, NULL);
	hoy_jw_string(w, "ociVersion", OCI_VERSION);
	hoy_jw_string(w, "id", st->id);
	hoy_jw_int(w, "pid", strcmp(st->status, "stopped") ? st->pid : 0);
	hoy_jw_string(w, "status", st->status);
	hoy_jw_string(w, "bundle", st->bundle);
	hoy_jw_string(w, "rootfs", st->rootfs);
	hoy_jw_string(w, "created", st->created);
	hoy_jw_string(w, "owner", st->owner);
	hoy_jw_end_object(w);
}

static int print_all(struct rt *rt, const struct hoy_strv *ids, bool quiet, bool json)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "  ");

	if (json)
		hoy_jw_array(&w, NULL);
	else if (!quiet)
		printf("%-24s %-10s %-8s %-40s %-30s %s\n", "NAME", "PID", "STATUS", "BUNDLE PATH", "CREATED", "OWNER");
	for (size_t i = 0; i < ids->n; i++) {
		struct hoy_err err = HOY_ERR_INIT;
		struct state st = STATE_INIT;

		/* Gone or unreadable between the two looks: not listed. */
		if (state_open(&st, rt, ids->v[i], false, &err) >= 0) {
			if (quiet)
				puts(st.id);
			else if (json)
				list_json(&w, &st);
			else
				printf("%-24s %-10d %-8s %-40s %-30s %s\n", st.id, strcmp(st.status, "stopped") ? st.pid : 0,
				       st.status, st.bundle, st.created, st.owner);
		}
		state_release(&st);
	}
	if (json) {
		hoy_jw_end_array(&w);
		puts(hoy_buf_str(&b));
	}
	return hoy_finish_stdout(0);
}

static int check_format(const char *format, struct hoy_err *err)
{
	if (strcmp(format, "table") && strcmp(format, "json"))
		return hoy_fail(err, EINVAL, "unknown format '%s' (use: table or json)", format);
	return 0;
}

int cmd_list(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const char *format = "table";
	bool quiet = false;
	const struct cli_opt opts[] = {
		{ "format", 'f', CLI_STR, &format, "FORMAT", "table or json" },
		{ "quiet", 'q', CLI_FLAG, &quiet, NULL, "show only ids" },
	};
	const struct cli cli = { "list [OPTION]...", opts, ARRAY_SIZE(opts), 0, 0, false };
	cleanup_strv struct hoy_strv ids = HOY_STRV_INIT;

	if (cli_parse(&cli, argc, argv, err) < 0 || check_format(format, err) < 0 || state_ids(rt, &ids, err) < 0)
		return -err->code;
	return print_all(rt, &ids, quiet, !strcmp(format, "json"));
}

static int ps_json(const pid_t *pids, size_t n)
{
	printf("[");
	for (size_t i = 0; i < n; i++)
		printf("%s%d", i ? ",\n  " : "\n  ", pids[i]);
	printf("\n]\n");
	return hoy_finish_stdout(0);
}

static bool has_pid(const pid_t *pids, size_t n, const char *line, int column)
{
	for (; column > 0; column--) {
		line += strspn(line, " ");
		line += strcspn(line, " ");
	}
	for (size_t i = 0; i < n; i++)
		if (atoi(line) == pids[i])
			return true;
	return false;
}

static int pid_column(char *head)
{
	cleanup_free char *copy = strdup(head);
	char *save = NULL;
	int i = 0;

	for (char *w = copy ? strtok_r(copy, " \n", &save) : NULL; w; w = strtok_r(NULL, " \n", &save), i++)
		if (!strcmp(w, "PID"))
			return i;
	return -1;
}

/* As runc: ps(1) with the options given, of which the lines of the container's processes remain. */
static int ps_by_ps(char **options, const pid_t *pids, size_t n, struct hoy_err *err)
{
	cleanup_file FILE *f = NULL;
	cleanup_free char *line = NULL;
	size_t size = 0;
	int p[2], status = 0, column = -1;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return hoy_fail_errno(err, errno, "cannot make a pipe");
	pid = fork();
	if (!pid) {
		dup2(p[1], STDOUT_FILENO);
		execvp("ps", options);
		_exit(127);
	}
	hoy_close(p[1]);
	f = fdopen(p[0], "r");
	while (f && getline(&line, &size, f) > 0) {
		bool head = column < 0;

		if (head && (column = pid_column(line)) < 0)
			break;
		if (head || has_pid(pids, n, line, column))
			fputs(line, stdout);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
		return hoy_fail(err, EIO, "cannot run ps(1)");
	return column < 0 ? hoy_fail(err, EINVAL, "ps(1) shows no column PID with these options") : hoy_finish_stdout(0);
}

int cmd_ps(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const char *format = "table";
	const struct cli_opt opts[] = { { "format", 'f', CLI_STR, &format, "FORMAT", "table or json" } };
	const struct cli cli = { "ps [OPTION]... ID [OPTION OF PS]...", opts, ARRAY_SIZE(opts), 1, -1, true };
	cleanup_cgroups struct hoy_cgroups cg = HOY_CGROUPS_INIT;
	cleanup_free pid_t *pids = NULL;
	struct state st = STATE_INIT;
	size_t n = 0;
	int r = cli_parse(&cli, argc, argv, err), args = r;

	if (r < 0 || check_format(format, err) < 0)
		return -err->code;
	if (state_open(&st, rt, argv[0], false, err) < 0 || hoy_cgroups_find(&cg, err) < 0)
		return -err->code;
	r = st.no_cgroup || !*st.cgroup ? -ENOENT : hoy_cgroup_pids(&cg, st.cgroup, &pids, &n);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot list the processes of container '%s'", st.id);
	state_release(&st);
	if (!strcmp(format, "json"))
		return ps_json(pids, n);
	if (args > 1) {
		argv[0] = (char *)(uintptr_t)"ps";
		return ps_by_ps(argv, pids, n, err);
	}
	puts("PID");
	for (size_t i = 0; i < n; i++)
		printf("%d\n", pids[i]);
	return hoy_finish_stdout(0);
}

static void strings(struct hoy_jw *w, const char *key, const char *const *v, size_t n)
{
	hoy_jw_array(w, key);
	for (size_t i = 0; i < n; i++)
		hoy_jw_string(w, NULL, v[i]);
	hoy_jw_end_array(w);
}

static void feature(struct hoy_jw *w, const char *key, bool enabled)
{
	hoy_jw_object(w, key);
	hoy_jw_bool(w, "enabled", enabled);
	hoy_jw_end_object(w);
}

static void linux_features(struct hoy_jw *w)
{
	hoy_jw_object(w, "linux");
	hoy_jw_array(w, "namespaces");
	for (int i = 0; i < NS_COUNT; i++)
		hoy_jw_string(w, NULL, ns_table[i].oci);
	hoy_jw_end_array(w);
	hoy_jw_array(w, "capabilities");
	for (int c = 0; hoy_cap_name(c); c++)
		hoy_jw_string(w, NULL, hoy_cap_name(c));
	hoy_jw_end_array(w);
	hoy_jw_object(w, "cgroup");
	hoy_jw_bool(w, "v1", true);
	hoy_jw_bool(w, "v2", true);
	hoy_jw_bool(w, "systemd", true);
	hoy_jw_bool(w, "systemdUser", true);
	hoy_jw_bool(w, "rdma", true);
	hoy_jw_end_object(w);
	seccomp_features(w);
	feature(w, "apparmor", true);
	feature(w, "selinux", true);
	hoy_jw_object(w, "intelRdt");
	hoy_jw_bool(w, "enabled", true);
	hoy_jw_bool(w, "schemata", true);
	hoy_jw_bool(w, "monitoring", true);
	hoy_jw_end_object(w);
	feature(w, "netDevices", true);
	sched_policy_features(w);
	hoy_jw_object(w, "mountExtensions");
	feature(w, "idmap", true);
	hoy_jw_end_object(w);
	hoy_jw_end_object(w);
}

int cmd_features(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	static const char *const hooks[] = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart",
					     "poststop" };
	/* One that ends in a dot stands for all that begin so. */
	static const char *const unsafe[] = { "run.oci.", "org.systemd.property.", "org.criu." };
	const struct cli cli = { "features", NULL, 0, 0, 0, false };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "  ");

	if (cli_parse(&cli, argc, argv, err) < 0)
		return -err->code;
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "ociVersionMin", "1.0.0");
	hoy_jw_string(&w, "ociVersionMax", "1.3.0");
	strings(&w, "hooks", hooks, ARRAY_SIZE(hooks));
	mountopts_features(&w);
	linux_features(&w);
	hoy_jw_object(&w, "annotations");
	seccomp_annotation(&w);
	/* Engines look for these names. */
	hoy_jw_string(&w, "org.opencontainers.runc.checkpoint.enabled", "true");
	hoy_jw_string(&w, "run.oci.crun.checkpoint.enabled", "true");
	hoy_jw_string(&w, "io.hoy.version", HOY_VERSION);
	hoy_jw_end_object(&w);
	strings(&w, "potentiallyUnsafeConfigAnnotations", unsafe, ARRAY_SIZE(unsafe));
	hoy_jw_end_object(&w);
	puts(hoy_buf_str(&b));
	return hoy_finish_stdout(0);
}
