#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "cmd-runtime/runtime.h"

static const struct command {
	const char *name;
	int (*run)(struct rt *rt, int argc, char **argv, struct hoy_err *err);
	bool seal; /* something of ours will be seen from within a container */
	const char *help;
} commands[] = {
	{ "checkpoint", cmd_checkpoint, false, "dump a running container by CRIU" },
	{ "create", cmd_create, true, "create a container" },
	{ "delete", cmd_delete, false, "remove a container" },
	{ "events", cmd_events, false, "show what a container uses, and that memory ran out" },
	{ "exec", cmd_exec, true, "run a command in a running container" },
	{ "features", cmd_features, false, "show what this runtime can do, as JSON" },
	{ "kill", cmd_kill, false, "send a signal to a container" },
	{ "list", cmd_list, false, "list known containers" },
	{ "mounts", cmd_mounts, false, "add or remove mounts of a running container" },
	{ "pause", cmd_pause, false, "suspend all processes of a container" },
	{ "ps", cmd_ps, false, "show the processes of a container" },
	{ "restore", cmd_restore, false, "make a container from a checkpoint" },
	{ "resume", cmd_resume, false, "let suspended processes run again" },
	{ "run", cmd_run, true, "create a container and start it at once" },
	{ "spec", cmd_spec, false, "write an example config.json" },
	{ "start", cmd_start, false, "start a created container" },
	{ "state", cmd_state, false, "show the state of a container, as JSON" },
	{ "update", cmd_update, false, "change limits of a container" },
};

static int version(const struct rt *rt)
{
	printf("%s version " HOY_VERSION "\nspec: " OCI_VERSION "\n+SELINUX +APPARMOR +CAP +SECCOMP +EBPF +YAJL\n",
	       rt->name);
	return hoy_finish_stdout(0);
}

static int help(const struct cli *cli)
{
	cli_help(stdout, cli);
	printf("%-30s%s\n\nCommands:\n", "  -v, --version", "show the version");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-28s%s\n", commands[i].name, commands[i].help);
	return hoy_finish_stdout(0);
}

static int default_root(struct rt *rt, struct hoy_err *err)
{
	static char path[4096];
	const char *run = getenv("XDG_RUNTIME_DIR");

	if (rt->root)
		return 0;
	if (!geteuid() || !run)
		rt->root = "/run/hoy-runtime";
	else if (snprintf(path, sizeof(path), "%s/hoy-runtime", run) < (int)sizeof(path))
		rt->root = path;
	else
		return hoy_fail(err, ENAMETOOLONG, "XDG_RUNTIME_DIR is too long");
	return 0;
}

static int check_globals(struct rt *rt, struct hoy_err *err)
{
	const char *m = rt->cgroup_manager;
	int r = log_open(rt, err);

	if (r < 0)
		return r;
	if (m && strcmp(m, "cgroupfs") && strcmp(m, "systemd") && strcmp(m, "disabled"))
		return hoy_fail(err, EINVAL, "unknown cgroup manager '%s' (use: cgroupfs, systemd or disabled)", m);
	rt->systemd = m ? !strcmp(m, "systemd") : rt->systemd_cgroup;
	rt->no_cgroup = m && !strcmp(m, "disabled");
	return default_root(rt, err);
}

/* Nothing of ours may land on a number below 3 + N, which the container would inherit as stdio or a preserved fd. */
static void fill_fds(int argc, char **argv)
{
	long n = 0;
	int fd;

	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strncmp(argv[i], "--preserve-fds", 14))
			n = argv[i][14] == '=' ? atol(argv[i] + 15) : argv[i + 1] ? atol(argv[i + 1]) : 0;
	if (getenv("LISTEN_FDS"))
		n += atol(getenv("LISTEN_FDS"));
	if (n > 4096) /* an argument that only looks like the option */
		n = 0;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < 3 + n);
	hoy_close(fd);
}

static int dispatch(struct rt *rt, const struct cli *cli, int argc, char **argv, char **all, struct hoy_err *err)
{
	if (!argc)
		return hoy_fail(err, EINVAL, "please specify a command (run: hoy-runtime --help)");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, argv[0]))
			continue;
		if (commands[i].seal) {
			seal_self(all);
			prctl(PR_SET_NAME, rt->name);
		}
		return commands[i].run(rt, argc, argv, err);
	}
	return hoy_fail(err, EINVAL, "unknown command '%s' (run: hoy-runtime --help)", argv[0]);
}

int main(int argc, char **argv)
{
	struct rt rt = { .name = "hoy-runtime" };
	const char *base = argc ? argv[0] : "", *slash = strrchr(base, '/');
	cleanup_free char **all = calloc(argc + 1, sizeof(*all));
	struct hoy_err err = HOY_ERR_INIT;
	bool want_help = false, want_version = false;
	const struct cli_opt opts[] = {
		{ "cgroup-manager", 0, CLI_STR, &rt.cgroup_manager, "NAME", "cgroupfs (default), systemd or disabled" },
		{ "debug", 0, CLI_FLAG, &rt.debug, NULL, "log more" },
		{ "log", 0, CLI_STR, &rt.log, "FILE", "write errors and warnings to FILE" },
		{ "log-format", 0, CLI_STR, &rt.log_format, "FORMAT", "text or json" },
		{ "log-level", 0, CLI_STR, &rt.log_level, "LEVEL", "error, warning or debug" },
		{ "root", 0, CLI_STR, &rt.root, "DIR", "where the states of containers are kept" },
		{ "rootless", 0, CLI_STR, &rt.rootless, "MODE", "true, false or auto (accepted for runc's sake)" },
		{ "systemd-cgroup", 0, CLI_FLAG, &rt.systemd_cgroup, NULL, "as --cgroup-manager=systemd" },
		{ "help", 'h', CLI_FLAG, &want_help, NULL, "show this help" },
		{ "version", 'v', CLI_FLAG, &want_version, NULL, "show the version" },
		{ "version", 'V', CLI_FLAG, &want_version, NULL, "show the version" },
	};
	/* The last three are not listed twice by --help. */
	const struct cli cli = { "[OPTION]... COMMAND [ARGUMENT]...", opts, ARRAY_SIZE(opts), 0, -1, true };
	const struct cli shown = { cli.usage, opts, ARRAY_SIZE(opts) - 3, 0, -1, true };
	int n, r;

	base = slash ? slash + 1 : base;
	if (!strcmp(base, "crun") || !strcmp(base, "runc"))
		rt.name = base;
	if (!all)
		return 1;
	memcpy(all, argv, argc * sizeof(*all));
	fill_fds(argc, argv);
	for (int i = 1; i < argc && argv[i][0] == '-'; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") || !strcmp(argv[i], "-?"))
			return help(&shown);
	n = r = cli_parse(&cli, argc, argv, &err);
	if (r >= 0 && want_version)
		return version(&rt);
	if (r >= 0)
		r = check_globals(&rt, &err);
	if (r >= 0)
		r = dispatch(&rt, &cli, n, argv, all, &err);
	if (r >= 0)
		return r;
	log_error(err.msg);
	return 1;
}
