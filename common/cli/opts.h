/*
 * common/cli/opts.h: verbs and their options: one table that parses, prints the help and feeds completion.
 * The grammar is that of podman's commands: --name=value, --name value, -n value, -nvalue, -n=value, bundles of
 * short flags, --flag=false, "--" ends the options.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/strv.h"
#include "common/conf/storage.h"

struct hoy_err;

enum hoy_opt_kind {
	HOY_OPT_FLAG,	/* bool */
	HOY_OPT_TRI,	/* int: -1 not given (set that before), 0, 1 */
	HOY_OPT_STRING, /* const char *, borrowed from argv */
	HOY_OPT_LIST,	/* struct hoy_strv; may be repeated */
	HOY_OPT_COMMAS, /* struct hoy_strv; may be repeated, each value is split at commas */
	HOY_OPT_INT,	/* int64_t */
	HOY_OPT_OPTARG, /* const char *: --name alone stores the text in ARG's "[=TEXT]" */
};

struct hoy_opt {
	char letter;	  /* 0: none */
	const char *name; /* without "--" */
	enum hoy_opt_kind kind;
	size_t at;	  /* offsetof() in the verb's options */
	const char *arg;  /* name of the value in the help; for OPTARG the value when none is given */
	const char *help; /* NULL: not shown */
};
#define HOY_OPTS_END { 0, NULL, 0, 0, NULL, NULL }

enum hoy_verb_flags {
	HOY_VERB_COMMAND = 1 << 0, /* options end at the first argument: what follows is somebody's command line */
	HOY_VERB_COPIES = 1 << 1,  /* hoy_copy_globals[] may stand before it and behind it */
	HOY_VERB_ELSEWHERE = 1 << 3, /* another tool has its options: run() hands the command line over */
	HOY_VERB_OUTSIDE = 1 << 2, /* an ordinary user's namespace isn't entered: nothing is done with a store */
};

struct hoy_verb {
	const char *name;     /* "run"; "image ls" for a verb of two words */
	const char *synopsis; /* "[options] IMAGE [COMMAND [ARG...]]" */
	const char *summary;
	const struct hoy_opt *opts; /* ends with HOY_OPTS_END */
	int (*run)(const struct hoy_verb *v, int argc, char **argv);
	unsigned flags; /* enum hoy_verb_flags */
};

/* What every tool takes before its verb. */
struct hoy_globals {
	struct hoy_storage_args storage;
	const char *log_level, *runtime, *conmon, *cgroup_manager, *network_cmd, *network_config_dir, *events_backend, *tmpdir;
	struct hoy_strv runtime_flags, modules, hooks_dirs;
	bool version, help;
	/* hoy_copy_globals[] */
	const char *arch, *os, *variant, *command_timeout, *user_agent, *policy, *registries_d;
	bool debug, insecure_policy;
	const char *own; /* the last option given that not every verb of the tool takes */
	/* hoy_own_globals[] */
	struct hoy_strv userns_uids, userns_gids;
};
extern struct hoy_globals hoy_globals;
/* What this tool alone takes before its verb, kept in hoy_globals; NULL: nothing. Set before hoy_tool_main(). */
extern const struct hoy_opt *hoy_own_globals;
extern const struct hoy_opt hoy_global_opts[];
/* skopeo's, for the verbs of hoy-image that copy between transports (HOY_VERB_COPIES). */
extern const struct hoy_opt hoy_copy_globals[];

/*
 * Parse the options of V into OPTS. Returns the number of arguments, which are moved to argv[1]... in order, or
 * -EINVAL with a sentence, or -ECANCELED after --help was printed.
 */
int hoy_opts_parse(const struct hoy_verb *v, int argc, char **argv, void *opts, struct hoy_err *err);

/* The name of the tool in its messages. */
extern const char *hoy_tool_name;
/* Is ARG a request for help, in a table that gives -h no other meaning? */
bool hoy_asks_help(const struct hoy_opt *table, const char *arg);
void hoy_options_help(const char *title, const struct hoy_opt *o);

/*
 * The whole of a tool's main(): global options, verb, dispatch. TOOL is the name in the help, VERBS end with a NULL name.
 * Returns the exit status (125 for usage errors).
 */
int hoy_tool_main(const char *tool, const char *summary, const struct hoy_verb *const *verbs, int argc, char **argv);
/* Parse or complain: the value of hoy_opts_parse(), or -1 with *STATUS set to what the command must return. */
int hoy_verb_args(const struct hoy_verb *v, int argc, char **argv, void *opts, int least, int most, int *status);
/* Print V's help to stdout. */
void hoy_verb_help(const char *tool, const struct hoy_verb *v);
/* The command line words that hand our global options on to another tool of the suite. */
void hoy_globals_argv(struct hoy_strv *argv);
