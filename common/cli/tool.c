/* common/cli/tool.c: main() of a tool with verbs. Apart from opts.c, since small tools parse options without all this. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/msg.h"
#include "common/cli/complete.h"
#include "common/cli/opts.h"
#include "common/proc/userns.h"

/* HOY_VERB_COPIES if there is such a verb. */
static unsigned copies(const struct hoy_verb *const *verbs)
{
	for (; *verbs; verbs++)
		if ((*verbs)->flags & HOY_VERB_COPIES)
			return HOY_VERB_COPIES;
	return 0;
}

static void tool_help(const char *tool, const char *summary, const struct hoy_verb *const *verbs)
{
	int width = 0;

	for (size_t i = 0; verbs[i]; i++)
		if (verbs[i]->summary && (int)strlen(verbs[i]->name) > width)
			width = (int)strlen(verbs[i]->name);
	printf("%s\n\nUsage:\n  %s [options] COMMAND\n\nCommands:\n", summary, tool);
	for (size_t i = 0; verbs[i]; i++)
		if (verbs[i]->summary)
			printf("  %-*s  %s\n", width, verbs[i]->name, verbs[i]->summary);
	hoy_options_help("Options", hoy_global_opts);
	hoy_options_help("Options of this tool", hoy_own_globals);
	if (copies(verbs))
		hoy_options_help("Options of commands that copy between transports", hoy_copy_globals);
}

/* How many words of ARGV are all of NAME; 0: they are another verb. */
static int words_of(const char *name, int argc, char **argv)
{
	for (int n = 0; n < argc; n++) {
		size_t len = strcspn(name, " ");

		if (strlen(argv[n]) != len || strncmp(argv[n], name, len))
			return 0;
		if (!name[len])
			return n + 1;
		name += len + 1;
	}
	return 0;
}

/* The verb at argv[0], of one word or more ("image ls"): the one with the most; *WORDS says how many. */
static const struct hoy_verb *find_verb(const struct hoy_verb *const *verbs, int argc, char **argv, int *words)
{
	const struct hoy_verb *best = NULL;

	*words = 0;
	for (; *verbs; verbs++) {
		int n = words_of((*verbs)->name, argc, argv);

		if (n > *words) {
			*words = n;
			best = *verbs;
		}
	}
	return best;
}

/* `VERB --help` needs no store and so no namespace. */
static bool wants_help(const struct hoy_verb *v, int argc, char **argv)
{
	for (int i = 1; i <= argc; i++) {
		if (hoy_asks_help(v->opts, argv[i]))
			return true;
		if (argv[i][0] != '-' || !strcmp(argv[i], "--"))
			return false;
	}
	return false;
}

/* What V does; another name of a verb has no text of its own. */
static const char *summary_of(const struct hoy_verb *const *verbs, const struct hoy_verb *v)
{
	if (v->summary)
		return v->summary;
	for (; *verbs; verbs++)
		if ((*verbs)->run == v->run && (*verbs)->summary && (*verbs)->opts == v->opts)
			return (*verbs)->summary;
	return v->name;
}

/* How many of the N words in ARGV begin the name of V, which goes on behind them; 0: not all of one word's. */
static int group_of(const struct hoy_verb *v, int n, char **argv)
{
	const char *name = v->name;

	for (int i = 0; i < n; i++) {
		size_t len = strcspn(name, " ");

		if (!name[len] || strlen(argv[i]) != len || strncmp(argv[i], name, len))
			return i;
		name += len + 1;
	}
	return n;
}

/* Where V's name goes on behind N words. */
static const char *behind(const struct hoy_verb *v, int n)
{
	const char *name = v->name;

	while (n-- && strchr(name, ' '))
		name = strchr(name, ' ') + 1;
	return name;
}

/* What V does, of whose name N words are a group's: "image pull" does what "pull" does. */
static const char *summary_in_group(const struct hoy_verb *const *verbs, const struct hoy_verb *v, int n)
{
	for (size_t i = 0; !v->summary && verbs[i]; i++)
		if (!strcmp(verbs[i]->name, behind(v, n)) && verbs[i]->summary)
			return verbs[i]->summary;
	return summary_of(verbs, v);
}

static void group_help(const struct hoy_verb *const *verbs, int n, char **argv)
{
	int width = 0;

	printf("Usage:\n  %s", hoy_tool_name);
	for (int i = 0; i < n; i++)
		printf(" %s", argv[i]);
	printf(" COMMAND\n\nCommands:\n");
	for (size_t i = 0; verbs[i]; i++)
		if (group_of(verbs[i], n, argv) == n && (int)strlen(behind(verbs[i], n)) > width)
			width = (int)strlen(behind(verbs[i], n));
	for (size_t i = 0; verbs[i]; i++)
		if (group_of(verbs[i], n, argv) == n)
			printf("  %-*s  %s\n", width, behind(verbs[i], n), summary_in_group(verbs, verbs[i], n));
}

/* ARGV is no verb, but its first words may be those of several ("image", "image trust"). */
static int no_verb(const struct hoy_verb *const *verbs, int argc, char **argv)
{
	cleanup_buf struct hoy_buf words = HOY_BUF_INIT(HOY_BUF_OURS);
	int n = 0;

	for (size_t i = 0; verbs[i]; i++) {
		int k = group_of(verbs[i], argc, argv);

		n = k > n ? k : n;
	}
	for (int i = 0; i < n; i++)
		hoy_buf_printf(&words, " %s", argv[i]);
	if (n < argc && !(n && hoy_asks_help(NULL, argv[n]))) {
		hoy_error("unrecognized command '%s%s %s' (run: %s%s --help)", hoy_tool_name, hoy_buf_str(&words), argv[n], hoy_tool_name, hoy_buf_str(&words));
		return 125;
	}
	if (n == argc)
		hoy_error("missing command '%s%s COMMAND'", hoy_tool_name, hoy_buf_str(&words));
	group_help(verbs, n, argv);
	return hoy_finish_stdout(n == argc ? 125 : 0);
}

/* "__complete WORD... CUR": what may stand in place of CUR. GLOBALS parses what stands before the verb. */
static int complete(const struct hoy_verb *globals, const struct hoy_verb *const *verbs, int argc, char **argv)
{
	const char *cur = argc > 2 ? argv[argc - 1] : "";
	char last[64] = "";
	struct hoy_err err = HOY_ERR_INIT;
	const struct hoy_verb *v;
	int words, n = hoy_opts_parse(globals, argc > 2 ? argc - 2 : 1, argv + 1, &hoy_globals, &err);

	argv += 2;
	v = n > 0 ? find_verb(verbs, n, argv, &words) : NULL;
	if (v && v->flags & HOY_VERB_ELSEWHERE)
		return v->run(v, 0, NULL);
	if (v) {
		hoy_complete_verb(v, n - words, argv + words, cur);
		return hoy_finish_stdout(0);
	}
	if (!n && *cur == '-')
		hoy_complete_options(hoy_global_opts, cur);
	if (!n && *cur == '-')
		hoy_complete_options(hoy_own_globals, cur);
	for (size_t i = 0; n >= 0 && *cur != '-' && verbs[i]; i++) {
		const char *name = behind(verbs[i], n);
		char word[64];

		if ((n && group_of(verbs[i], n, argv) != n) || (!n && !verbs[i]->summary))
			continue;
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, " "), name);
		/* "trust show" and "trust set" are one word yet. */
		if (strcmp(word, last))
			hoy_complete_word(word, name[strcspn(name, " ")] ? NULL : summary_in_group(verbs, verbs[i], n), cur);
		memcpy(last, word, sizeof(last));
	}
	hoy_complete_end(false);
	return hoy_finish_stdout(0);
}

/*
 * Some (conmon) start us without stdin, stdout and stderr. No file of ours may get their numbers; what is written to them fails as it
 * would without.
 */
static void take_std_fds(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
			return;
}

int hoy_tool_main(const char *tool, const char *summary, const struct hoy_verb *const *verbs, int argc, char **argv)
{
	const struct hoy_verb globals = { .name = "", .synopsis = "", .summary = summary, .opts = hoy_global_opts,
					  .flags = HOY_VERB_COMMAND | copies(verbs) };
	struct hoy_err err = HOY_ERR_INIT;
	const struct hoy_verb *v;
	struct hoy_verb verb;
	int words, r;

	take_std_fds();
	/* "hoy" exec'ed us: its users see its name. */
	hoy_tool_name = getenv("_HOY_DOOR") ? "hoy" : tool;
	if (argc > 1 && !strcmp(argv[1], "__complete"))
		return complete(&globals, verbs, argc, argv);
	for (int i = 1; i < argc && argv[i][0] == '-'; i++)
		if (hoy_asks_help(NULL, argv[i])) {
			tool_help(hoy_tool_name, summary, verbs);
			return hoy_finish_stdout(0);
		}
	r = hoy_opts_parse(&globals, argc, argv, &hoy_globals, &err);
	if (r < 0)
		return hoy_report(&err, 125);
	if (hoy_globals.log_level && hoy_log_set(hoy_globals.log_level) < 0) {
		hoy_error("log level '%s' is not known (debug, info, warn, error, fatal)", hoy_globals.log_level);
		return 125;
	}
	if (hoy_globals.version) {
		printf("%s version %s\n", hoy_tool_name, HOY_VERSION);
		return hoy_finish_stdout(0);
	}
	if (!r) {
		tool_help(hoy_tool_name, summary, verbs);
		return hoy_finish_stdout(0);
	}
	v = find_verb(verbs, r, argv + 1, &words);
	if (!v)
		return no_verb(verbs, r, argv + 1);
	if (hoy_globals.own && !(v->flags & HOY_VERB_COPIES)) {
		hoy_error("%s has no option --%s", v->name, hoy_globals.own);
		return 125;
	}
	if (hoy_globals.debug)
		hoy_log_set("debug");
	if (!(v->flags & HOY_VERB_OUTSIDE) && !wants_help(v, r - words, argv + words) && hoy_userns_enter(&err) < 0)
		return hoy_report(&err, 125);
	verb = *v;
	verb.summary = summary_of(verbs, v);
	r = verb.run(&verb, r - words + 1, argv + words);
	return hoy_finish_stdout(r);
}

int hoy_verb_args(const struct hoy_verb *v, int argc, char **argv, void *opts, int least, int most, int *status)
{
	struct hoy_err err = HOY_ERR_INIT;
	int n = hoy_opts_parse(v, argc, argv, opts, &err);

	if (n == -ECANCELED) {
		*status = 0;
		return -1;
	}
	if (n >= 0 && n < least)
		n = hoy_fail(&err, EINVAL, "%s requires at least %d argument%s (run: %s %s --help)", v->name, least,
			     least == 1 ? "" : "s", hoy_tool_name, v->name);
	else if (most >= 0 && n > most)
		n = hoy_fail(&err, EINVAL, "%s takes at most %d argument%s, '%s' is one too many (run: %s %s --help)", v->name,
			     most, most == 1 ? "" : "s", argv[most + 1], hoy_tool_name, v->name);
	if (n < 0) {
		*status = hoy_report(&err, 125);
		return -1;
	}
	return n;
}
