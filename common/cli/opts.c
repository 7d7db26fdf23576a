#include "common/cli/opts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

struct hoy_globals hoy_globals;
const struct hoy_opt *hoy_own_globals;
const char *hoy_tool_name = "hoy";

#define G(field) offsetof(struct hoy_globals, field)
const struct hoy_opt hoy_global_opts[] = {
	{ 0, "root", HOY_OPT_STRING, G(storage.root), "PATH", "directory of the store" },
	{ 0, "runroot", HOY_OPT_STRING, G(storage.runroot), "PATH", "directory of the store's state until the next boot" },
	{ 0, "storage-driver", HOY_OPT_STRING, G(storage.driver), "NAME", "storage driver (overlay or vfs)" },
	{ 0, "storage-opt", HOY_OPT_LIST, G(storage.opts), "KEY=VALUE", "option of the storage driver" },
	{ 0, "imagestore", HOY_OPT_STRING, G(storage.imagestore), "PATH", "directory of the images' store" },
	{ 0, "transient-store", HOY_OPT_FLAG, G(storage.transient), NULL, "keep containers until the next boot only" },
	{ 0, "runtime", HOY_OPT_STRING, G(runtime), "PATH", "OCI runtime (default hoy-runtime)" },
	{ 0, "runtime-flag", HOY_OPT_LIST, G(runtime_flags), "FLAG", "global flag for the OCI runtime" },
	{ 0, "conmon", HOY_OPT_STRING, G(conmon), "PATH", "container monitor (default hoy-conmon)" },
	{ 0, "cgroup-manager", HOY_OPT_STRING, G(cgroup_manager), "NAME", "cgroupfs or systemd" },
	{ 0, "network-cmd-path", HOY_OPT_STRING, G(network_cmd), "PATH", "tool for user-mode networking" },
	{ 0, "network-config-dir", HOY_OPT_STRING, G(network_config_dir), "PATH", "directory of network definitions" },
	{ 0, "events-backend", HOY_OPT_STRING, G(events_backend), "NAME", "file or none" },
	{ 0, "hooks-dir", HOY_OPT_LIST, G(hooks_dirs), "PATH", "directory of OCI hooks; of several, the last one with a file of a name counts" },
	{ 0, "tmpdir", HOY_OPT_STRING, G(tmpdir), "PATH", "directory of the engine's own state" },
	{ 0, "log-level", HOY_OPT_STRING, G(log_level), "LEVEL", "debug, info, warn, error, fatal" },
	{ 'v', "version", HOY_OPT_FLAG, G(version), NULL, "print the version" },
	{ 'h', "help", HOY_OPT_FLAG, G(help), NULL, "print this help" },
	HOY_OPTS_END,
};

const struct hoy_opt hoy_copy_globals[] = {
	{ 0, "command-timeout", HOY_OPT_STRING, G(command_timeout), "DURATION", "longest time that the command may take" },
	{ 0, "debug", HOY_OPT_FLAG, G(debug), NULL, "the same as --log-level debug" },
	{ 0, "insecure-policy", HOY_OPT_FLAG, G(insecure_policy), NULL, "take any image, whatever policy.json says" },
	{ 0, "override-arch", HOY_OPT_STRING, G(arch), "ARCH", "architecture of images to be chosen from a list" },
	{ 0, "override-os", HOY_OPT_STRING, G(os), "OS", "operating system of images to be chosen from a list" },
	{ 0, "override-variant", HOY_OPT_STRING, G(variant), "VARIANT", "variant of their architecture" },
	{ 0, "policy", HOY_OPT_STRING, G(policy), "FILE", "the policy.json(5) that images must please" },
	{ 0, "registries.d", HOY_OPT_STRING, G(registries_d), "DIR", "where registries.d(5) is" },
	{ 0, "user-agent-prefix", HOY_OPT_STRING, G(user_agent), "TEXT", "text in front of the user agent that registries see" },
	HOY_OPTS_END,
};

static const struct hoy_opt *by_name(const struct hoy_opt *o, const char *name, size_t len)
{
	for (; o && o->name; o++)
		if (strlen(o->name) == len && !strncmp(o->name, name, len))
			return o;
	return NULL;
}

static const struct hoy_opt *by_letter(const struct hoy_opt *o, char c)
{
	for (; o && o->name; o++)
		if (o->letter == c)
			return o;
	return NULL;
}

static bool takes_value(const struct hoy_opt *o)
{
	return o->kind != HOY_OPT_FLAG && o->kind != HOY_OPT_TRI && o->kind != HOY_OPT_OPTARG;
}

static int parse_bool(const char *s)
{
	static const char *const yes[] = { "true", "1", "t", "T", "TRUE", "True" };
	static const char *const no[] = { "false", "0", "f", "F", "FALSE", "False" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcmp(s, yes[i]))
			return 1;
		if (!strcmp(s, no[i]))
			return 0;
	}
	return -1;
}

/* Store VALUE (NULL: the option stood alone). */
static int store(const struct hoy_opt *o, void *opts, const char *value, struct hoy_err *err)
{
	void *at = (char *)opts + o->at;
	long long v;
	char *end;
	int b;

	switch (o->kind) {
	case HOY_OPT_FLAG:
	case HOY_OPT_TRI:
		b = value ? parse_bool(value) : 1;
		if (b < 0)
			return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--%s\" flag: not true or false", value, o->name);
		if (o->kind == HOY_OPT_FLAG)
			*(bool *)at = b;
		else
			*(int *)at = b;
		return 0;
	case HOY_OPT_STRING:
		*(const char **)at = value;
		return 0;
	case HOY_OPT_OPTARG:
		*(const char **)at = value ? value : o->arg;
		return 0;
	case HOY_OPT_LIST:
		hoy_strv_push(at, value);
		return ((struct hoy_strv *)at)->error ? hoy_fail_oom(err) : 0;
	case HOY_OPT_COMMAS:
		hoy_strv_split(at, value, ',');
		return ((struct hoy_strv *)at)->error ? hoy_fail_oom(err) : 0;
	case HOY_OPT_INT:
		errno = 0;
		v = strtoll(value, &end, 0);
		if (errno || *end || end == value)
			return hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--%s\" flag: not a whole number", value,
					o->name);
		*(int64_t *)at = v;
		return 0;
	}
	return 0;
}

/* --name, --name=value, --name value; *I moves on over a value. */
static int long_option(const struct hoy_verb *v, int argc, char **argv, int *i, void *opts, struct hoy_err *err)
{
	const char *name = argv[*i] + 2, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const struct hoy_opt *o = by_name(v->opts, name, len);

	if (!o && v->flags & HOY_VERB_COPIES && (o = by_name(hoy_copy_globals, name, len))) {
		opts = &hoy_globals;
		hoy_globals.own = o->name;
	}
	if (!o && !*v->name && (o = by_name(hoy_own_globals, name, len)))
		opts = &hoy_globals;
	if (!o)
		return hoy_fail(err, ENOENT, "unknown flag: --%.*s", eq ? (int)(eq - name) : (int)strlen(name), name);
	if (eq)
		return store(o, opts, eq + 1, err);
	if (!takes_value(o))
		return store(o, opts, NULL, err);
	if (*i + 1 >= argc)
		return hoy_fail(err, EINVAL, "flag needs an argument: --%s", o->name);
	return store(o, opts, argv[++*i], err);
}

static int short_options(const struct hoy_opt *table, int argc, char **argv, int *i, void *opts, struct hoy_err *err)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		const struct hoy_opt *o = by_letter(table, *p);
		int r;

		if (!o)
			return hoy_fail(err, ENOENT, "unknown shorthand flag: '%c' in %s", *p, argv[*i]);
		if (p[1] == '=')
			return store(o, opts, p + 2, err);
		if (!takes_value(o)) {
			r = store(o, opts, NULL, err);
			if (r < 0)
				return r;
			continue;
		}
		if (p[1])
			return store(o, opts, p + 1, err);
		if (*i + 1 >= argc)
			return hoy_fail(err, EINVAL, "flag needs an argument: '%c' in -%c", *p, *p);
		return store(o, opts, argv[++*i], err);
	}
	return 0;
}

bool hoy_asks_help(const struct hoy_opt *table, const char *arg)
{
	return !strcmp(arg, "--help") || (!strcmp(arg, "-h") && !by_letter(table, 'h'));
}

int hoy_opts_parse(const struct hoy_verb *v, int argc, char **argv, void *opts, struct hoy_err *err)
{
	int n = 0, r = 0;

	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-' || !argv[i][1]) {
			argv[++n] = argv[i];
			if (!(v->flags & HOY_VERB_COMMAND))
				continue;
			while (++i < argc)
				argv[++n] = argv[i];
			break;
		}
		if (!strcmp(argv[i], "--")) {
			while (++i < argc)
				argv[++n] = argv[i];
			break;
		}
		if (hoy_asks_help(v->opts, argv[i])) {
			hoy_verb_help(hoy_tool_name, v);
			return -ECANCELED;
		}
		r = argv[i][1] == '-' ? long_option(v, argc, argv, &i, opts, err) :
					short_options(v->opts, argc, argv, &i, opts, err);
		if (r < 0)
			return -EINVAL;
	}
	argv[n + 1] = NULL;
	return n;
}

static void option_line(const struct hoy_opt *o)
{
	char head[80];
	int n;

	n = snprintf(head, sizeof(head), "  %c%c%c --%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
		     o->letter ? ',' : ' ', o->name);
	if (takes_value(o) && n < (int)sizeof(head))
		n += snprintf(head + n, sizeof(head) - n, " %s", o->arg ? o->arg : "VALUE");
	else if (o->kind == HOY_OPT_OPTARG && n < (int)sizeof(head))
		n += snprintf(head + n, sizeof(head) - n, "[=%s]", o->arg);
	if (n >= 30)
		printf("%s\n%30s%s\n", head, "", o->help);
	else
		printf("%-30s%s\n", head, o->help);
}

void hoy_options_help(const char *title, const struct hoy_opt *o)
{
	if (!o || !o->name)
		return;
	printf("\n%s:\n", title);
	for (; o->name; o++)
		if (o->help)
			option_line(o);
}

void hoy_verb_help(const char *tool, const struct hoy_verb *v)
{
	printf("%s\n\nUsage:\n  %s %s%s%s\n", v->summary, tool, v->name, *v->name ? " " : "", v->synopsis);
	hoy_options_help("Options", v->opts);
}

void hoy_globals_argv(struct hoy_strv *argv)
{
	for (const struct hoy_opt *o = hoy_global_opts; o->name; o++) {
		const void *at = (const char *)&hoy_globals + o->at;
		const struct hoy_strv *list = at;

		if (!strcmp(o->name, "version") || !strcmp(o->name, "help"))
			continue;
		if (o->kind == HOY_OPT_STRING && *(const char *const *)at)
			hoy_strv_pushf(argv, "--%s=%s", o->name, *(const char *const *)at);
		else if (o->kind == HOY_OPT_FLAG && *(const bool *)at)
			hoy_strv_pushf(argv, "--%s", o->name);
		else if (o->kind == HOY_OPT_LIST)
			for (size_t i = 0; i < list->n; i++)
				hoy_strv_pushf(argv, "--%s=%s", o->name, list->v[i]);
	}
}
