#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-runtime/runtime.h"

static const struct cli_opt *find_long(const struct cli *cli, const char *name, size_t len)
{
	for (size_t i = 0; i < cli->n; i++)
		if (strlen(cli->opts[i].name) == len && !memcmp(cli->opts[i].name, name, len))
			return &cli->opts[i];
	return NULL;
}

static const struct cli_opt *find_short(const struct cli *cli, char c)
{
	for (size_t i = 0; i < cli->n; i++)
		if (cli->opts[i].c == c)
			return &cli->opts[i];
	return NULL;
}

void cli_help(FILE *f, const struct cli *cli)
{
	fprintf(f, "Usage: hoy-runtime %s\n\nOptions:\n", cli->usage);
	for (size_t i = 0; i < cli->n; i++) {
		const struct cli_opt *o = &cli->opts[i];
		char left[64];
		int n = snprintf(left, sizeof(left), o->c ? "  -%c, " : "      ", o->c);

		n += snprintf(left + n, sizeof(left) - n, "--%s", o->name);
		if (o->arg)
			snprintf(left + n, sizeof(left) - n, "=%s", o->arg);
		fprintf(f, "%-30s%s\n", left, o->help);
	}
	fprintf(f, "%-30s%s\n", "  -h, --help", "show this help");
}

static int set(const struct cli_opt *o, const char *value, struct hoy_err *err)
{
	char *end;

	switch (o->kind) {
	case CLI_FLAG:
		if (value && strcmp(value, "true") && strcmp(value, "false"))
			return hoy_fail(err, EINVAL, "option '--%s' takes no value '%s'", o->name, value);
		*(bool *)o->to = !value || !strcmp(value, "true");
		return 0;
	case CLI_STR:
		*(const char **)o->to = value;
		return 0;
	case CLI_LIST:
		hoy_strv_push(o->to, value);
		return 0;
	case CLI_INT:
		errno = 0;
		*(int64_t *)o->to = strtoll(value, &end, 10);
		if (errno || end == value || *end)
			return hoy_fail(err, EINVAL, "option '--%s': '%s' is no number", o->name, value);
		return 0;
	}
	return 0;
}

/* One "--name[=value]" or "-abc" at ARGV[*I]; a value may be the next word. */
static int option(const struct cli *cli, int argc, char **argv, int *i, struct hoy_err *err)
{
	const char *word = argv[*i], *eq, *value;
	const struct cli_opt *o;

	if (word[1] == '-') {
		eq = strchr(word, '=');
		o = find_long(cli, word + 2, eq ? (size_t)(eq - word - 2) : strlen(word + 2));
		if (!o)
			return hoy_fail(err, EINVAL, "unknown option '%s'", word);
		value = eq ? eq + 1 : NULL;
		if (o->kind != CLI_FLAG && !value && !(value = argv[++*i]))
			return hoy_fail(err, EINVAL, "option '%s' needs a value", word);
		return set(o, value, err);
	}
	for (const char *p = word + 1; *p; p++) {
		int r;

		o = find_short(cli, *p);
		if (!o)
			return hoy_fail(err, EINVAL, "unknown option '-%c'", *p);
		value = NULL;
		if (o->kind != CLI_FLAG && !(value = p[1] ? p + 1 : argv[++*i]))
			return hoy_fail(err, EINVAL, "option '-%c' needs a value", *p);
		r = set(o, value, err);
		if (r < 0 || value)
			return r;
	}
	return 0;
}

int cli_parse(const struct cli *cli, int argc, char **argv, struct hoy_err *err)
{
	bool only_args = false;
	int n = 0;

	for (int i = 1; i < argc; i++) {
		int r;

		if (only_args || argv[i][0] != '-' || !argv[i][1]) {
			argv[n++] = argv[i];
			only_args = only_args || cli->in_order;
			continue;
		}
		if (!strcmp(argv[i], "--")) {
			only_args = true;
			continue;
		}
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") || !strcmp(argv[i], "-?")) {
			cli_help(stdout, cli);
			exit(hoy_finish_stdout(0));
		}
		r = option(cli, argc, argv, &i, err);
		if (r < 0)
			return r;
	}
	argv[n] = NULL;
	if (n < cli->min || (cli->max >= 0 && n > cli->max))
		return hoy_fail(err, EINVAL, "%s arguments (usage: hoy-runtime %s)", n < cli->min ? "too few" : "too many",
				cli->usage);
	return n;
}
