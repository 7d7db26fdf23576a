/* list, ps and features: what there is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cmd-runtime/runtime.h"
#include "common/oci/caps.h"

static int compare(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_container(const struct dirent *e)
{
	return state_id_ok(e->d_name);
}

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

static int print_all(struct rt *rt, struct dirent **v, int n, bool quiet, bool json)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "  ");

	if (json)
		hoy_jw_array(&w, NULL);
	else if (!quiet)
		printf("%-24s %-10s %-8s %-40s %-30s %s\n", "NAME", "PID", "STATUS", "BUNDLE PATH", "CREATED", "OWNER");
	for (int i = 0; i < n; i++) {
		struct hoy_err err = HOY_ERR_INIT;
		struct state st = STATE_INIT;

		/* Gone or unreadable between the two looks: not listed. */
		if (state_open(&st, rt, v[i]->d_name, false, &err) >= 0) {
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
	struct dirent **v = NULL;
	int n, r = cli_parse(&cli, argc, argv, err);

	if (r < 0 || check_format(format, err) < 0)
		return -err->code;
	n = scandir(rt->root, &v, is_container, compare);
	if (n < 0 && errno != ENOENT)
		return hoy_fail_errno(err, errno, "cannot read '%s'", rt->root);
	r = print_all(rt, v, n, quiet, !strcmp(format, "json"));
	for (int i = 0; i < n; i++)
		free(v[i]);
	free(v);
	return r;
}

static int ps_json(const pid_t *pids, size_t n)
{
	printf("[");
	for (size_t i = 0; i < n; i++)
		printf("%s%d", i ? ",\n  " : "\n  ", pids[i]);
	printf("\n]\n");
	return hoy_finish_stdout(0);
}

int cmd_ps(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	const char *format = "table";
	const struct cli_opt opts[] = { { "format", 'f', CLI_STR, &format, "FORMAT", "table or json" } };
	const struct cli cli = { "ps [OPTION]... ID", opts, ARRAY_SIZE(opts), 1, -1, false };
	cleanup_cgroups struct hoy_cgroups cg = HOY_CGROUPS_INIT;
	cleanup_free pid_t *pids = NULL;
	struct state st = STATE_INIT;
	size_t n = 0;
	int r = cli_parse(&cli, argc, argv, err);

	if (r < 0 || check_format(format, err) < 0)
		return -err->code;
	if (r > 1)
		return hoy_fail(err, HOY_EUNSUPPORTED, "options for ps(1) are not supported");
	if (state_open(&st, rt, argv[0], false, err) < 0 || hoy_cgroups_find(&cg, err) < 0)
		return -err->code;
	r = st.no_cgroup || !*st.cgroup ? -ENOENT : hoy_cgroup_pids(&cg, st.cgroup, &pids, &n);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot list the processes of container '%s'", st.id);
	state_release(&st);
	if (!strcmp(format, "json"))
		return ps_json(pids, n);
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
	hoy_jw_bool(w, "systemd", false);
	hoy_jw_bool(w, "systemdUser", false);
	hoy_jw_end_object(w);
	seccomp_features(w);
	feature(w, "apparmor", true);
	feature(w, "selinux", true);
	feature(w, "intelRdt", false);
	hoy_jw_object(w, "mountExtensions");
	feature(w, "idmap", true);
	hoy_jw_end_object(w);
	hoy_jw_end_object(w);
}

int cmd_features(struct rt *rt, int argc, char **argv, struct hoy_err *err)
{
	static const char *const hooks[] = { "prestart", "createRuntime", "createContainer", "startContainer", "poststart",
					     "poststop" };
	static const char *const unsafe[] = { "run.oci.keep_original_groups", "run.oci.seccomp.receiver" };
	const struct cli cli = { "features", NULL, 0, 0, 0, false };
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
	struct hoy_jw w = hoy_jw_on(&b, "  ");

	if (cli_parse(&cli, argc, argv, err) < 0)
		return -err->code;
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "ociVersionMin", "1.0.0");
	hoy_jw_string(&w, "ociVersionMax", OCI_VERSION);
	strings(&w, "hooks", hooks, ARRAY_SIZE(hooks));
	mountopts_features(&w);
	linux_features(&w);
	hoy_jw_object(&w, "annotations");
	hoy_jw_string(&w, "io.hoy.version", HOY_VERSION);
	hoy_jw_end_object(&w);
	strings(&w, "potentiallyUnsafeConfigAnnotations", unsafe, ARRAY_SIZE(unsafe));
	hoy_jw_end_object(&w);
	puts(hoy_buf_str(&b));
	return hoy_finish_stdout(0);
}
