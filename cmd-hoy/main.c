/* hoy: the front door. One table, verb to tool, and exec; the tool parses the same command line again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd-hoy/completion.h"
#include "common/base/err.h"
#include "common/base/msg.h"
#include "common/cli/complete.h"
#include "common/cli/opts.h"
#include "common/data/ref.h"
#include "common/proc/sibling.h"

static const struct route {
	const char *verb, *tool, *summary; /* no summary: an alias, not in the help */
} routes[] = {
	{ "artifact", "hoy-image", "Manage OCI artifacts" },
	{ "attach", "hoy-run", "Attach to a running container" },
	{ "build", "hoy-build", "Build an image from a Containerfile" },
	{ "commit", "hoy-run", "Make an image of a container" },
	{ "container", "hoy-run", "Manage containers" },
	{ "copy", "hoy-image", "Copy an image between registries, archives and the store" },
	{ "cp", "hoy-run", "Copy files between a container and the host" },
	{ "create", "hoy-run", "Create a container without starting it" },
	{ "diff", "hoy-image", "Show what a container or an image changes in its files" },
	{ "events", "hoy-run", "Show what happens" },
	{ "exec", "hoy-run", "Run a command in a running container" },
	{ "healthcheck", "hoy-run", "Run the health check of a container" },
	{ "history", "hoy-image", "Show how an image was made" },
	{ "image", "hoy-image", "Manage images" },
	{ "images", "hoy-image", "List images" },
	{ "import", "hoy-image", "Make an image from a tar archive of a root file system" },
	{ "info", "hoy-run", "Show what hoy works with here" },
	{ "init", "hoy-run", "Prepare a container for its start" },
	{ "inspect", "hoy-run", "Print the configuration of containers and images" },
	{ "kill", "hoy-run", "Send a signal to containers" },
	{ "list", "hoy-run", NULL },
	{ "load", "hoy-image", "Load images from an archive or directory" },
	{ "login", "hoy-image", "Log in to a registry" },
	{ "logout", "hoy-image", "Log out of a registry" },
	{ "logs", "hoy-run", "Print the output of a container" },
	{ "ls", "hoy-run", NULL },
	{ "manifest", "hoy-image", "Manage lists of images" },
	{ "network", "hoy-run", "Manage networks" },
	{ "pause", "hoy-run", "Freeze containers" },
	{ "pod", "hoy-run", "Manage pods" },
	{ "port", "hoy-run", "List the published ports of a container" },
	{ "ps", "hoy-run", "List containers" },
	{ "pull", "hoy-image", "Pull an image from a registry" },
	{ "push", "hoy-image", "Push an image to a registry" },
	{ "rename", "hoy-run", "Rename a container" },
	{ "restart", "hoy-run", "Restart containers" },
	{ "rm", "hoy-run", "Remove containers" },
	{ "rmi", "hoy-image", "Remove images" },
	{ "run", "hoy-run", "Run a command in a new container" },
	{ "save", "hoy-image", "Save images to an archive or directory" },
	{ "search", "hoy-image", "Search registries for an image" },
	{ "secret", "hoy-run", "Manage secrets" },
	{ "start", "hoy-run", "Start containers" },
	{ "stats", "hoy-run", "Show what containers use" },
	{ "stop", "hoy-run", "Stop containers" },
	{ "system", "hoy-run", "Manage hoy's files" },
	{ "tag", "hoy-image", "Give an image more names" },
	{ "top", "hoy-run", "List the processes of a container" },
	{ "unpause", "hoy-run", "Thaw containers" },
	{ "unshare", "hoy-run", "Run a command in the user namespace of rootless containers" },
	{ "untag", "hoy-image", "Take names from an image" },
	{ "update", "hoy-run", "Change the limits of a container" },
	{ "volume", "hoy-run", "Manage volumes" },
	{ "wait", "hoy-run", "Wait for containers to end" },
};

/* What we carry ourselves. */
static const struct route own[] = {
	{ "completion", NULL, "Print the script for a shell's completion" },
	{ "version", NULL, "Print the version" },
};

/* Commands of docker's buildx, and those that stand in a group without being of its tool. */
static const struct alias {
	const char *group, *verb, *becomes; /* the group that it's in instead; NULL: none */
} aliases[] = {
	{ "builder", "build", NULL }, { "builder", "du", "image" }, { "builder", "prune", "image" }, { "buildx", "build", NULL }, { "buildx", "du", "image" }, { "buildx", "prune", "image" }, { "image", "build", NULL },
};

static int help(void)
{
	printf("Containers without a daemon\n\nUsage:\n  hoy [options] COMMAND\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (routes[i].summary)
			printf("  %-12s %s\n", routes[i].verb, routes[i].summary);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		printf("  %-12s %s\n", own[i].verb, own[i].summary);
	printf("\nThe options before the command are those of every tool: see hoy(1), or `hoy run --help`.\n");
	return hoy_finish_stdout(0);
}

static const char *architecture(void)
{
	static struct utsname u;

	uname(&u);
	return !strcmp(u.machine, "x86_64") ? "amd64" : !strcmp(u.machine, "aarch64") ? "arm64" : u.machine;
}

static int version(const char *format)
{
	if (format && !strcmp(format, "json"))
		printf("{\n  \"Client\": {\n    \"APIVersion\": \"%s\",\n    \"Version\": \"%s\",\n    \"OsArch\": \"linux/%s\",\n"
		       "    \"Os\": \"linux\"\n  }\n}\n",
		       HOY_VERSION, HOY_VERSION, architecture());
	else
		printf("Client:       hoy\nVersion:      %s\nOS/Arch:      linux/%s\n", HOY_VERSION, architecture());
	return hoy_finish_stdout(0);
}

/* What buildx says of the one builder that there is. WORDS are behind it. */
static int buildx(int n, char **words)
{
	if (n && !strcmp(words[0], "version")) {
		printf("hoy-build %s\n", HOY_VERSION);
		return hoy_finish_stdout(0);
	}
	if (n && !strcmp(words[0], "inspect") && (n == 1 || (n == 2 && !strcmp(words[1], "--bootstrap")))) {
		printf("Name:   default\nDriver: hoy\n\nNodes:\nName:             default\nEndpoint:         default\nStatus:           running\n"
		       "Buildkit version: N/A\nPlatforms:        linux/%s\nLabels: \n", architecture());
		return hoy_finish_stdout(0);
	}
	if (!n || !strcmp(words[0], "--help") || !strcmp(words[0], "-h")) {
		printf("Build images\n\nUsage:\n  hoy buildx COMMAND\n\nCommands:\n  build    Build an image from a Containerfile\n"
		       "  du       Show what builds keep as a cache\n"
		       "  inspect  Show what builds\n  prune    Remove images that nobody uses\n  version  Print the version\n");
		return hoy_finish_stdout(0);
	}
	hoy_error("unrecognized command `hoy buildx %s` (run: hoy buildx --help)", words[0]);
	return 125;
}

/* Write the alias at ARGV[AT] out; the number of words that are left. */
static int resolve_alias(int argc, char **argv, int at)
{
	for (size_t i = 0; at + 1 < argc && i < ARRAY_SIZE(aliases); i++) {
		if (strcmp(argv[at], aliases[i].group) || strcmp(argv[at + 1], aliases[i].verb))
			continue;
		if (aliases[i].becomes) {
			argv[at] = (char *)aliases[i].becomes;
			return argc;
		}
		memmove(argv + at, argv + at + 1, (argc - at) * sizeof(*argv)); /* with the NULL at its end */
		return argc - 1;
	}
	return argc;
}

/* "__complete [OPTION...] CUR": no verb is there yet. */
static int complete_verb(const char *cur)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (routes[i].summary)
			hoy_complete_word(routes[i].verb, routes[i].summary, cur);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		hoy_complete_word(own[i].verb, own[i].summary, cur);
	if (*cur == '-')
		hoy_complete_options(hoy_global_opts, cur);
	hoy_complete_end(false);
	return hoy_finish_stdout(0);
}

static bool plain_word(const char *s) { return s && s[0] != '-'; }

/* Index of the verb behind the global options, argc if there is none. */
static int find_verb(int argc, char **argv)
{
	int i, first = 1 + (argc > 1 && !strcmp(argv[1], "__complete"));

	for (i = first; i < argc && !plain_word(argv[i]); i++) {
		bool takes = false;

		for (const struct hoy_opt *o = hoy_global_opts; o->name; o++)
			if (!strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, o->name))
				takes = o->kind == HOY_OPT_STRING || o->kind == HOY_OPT_LIST;
		i += takes;
	}
	return i < argc ? i : argc;
}

int main(int argc, char **argv)
{
	int at = find_verb(argc, argv), r;
	const char *tool;

	if (argc > 1 && !strcmp(argv[1], "__complete") && at >= argc - 1)
		return complete_verb(argc > 2 ? argv[argc - 1] : "");
	for (int i = 1; i < at; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return help();
		if (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-v")) {
			printf("hoy version %s\n", HOY_VERSION);
			return hoy_finish_stdout(0);
		}
	}
	if (at == argc)
		return help();
	if (!strcmp(argv[at], "help")) {
		if (at + 1 == argc)
			return help();
		/* "help VERB" is "VERB --help" */
		memmove(argv + at, argv + at + 1, (argc - at - 1) * sizeof(*argv));
		argv[argc - 1] = (char *)"--help";
	}
	if (!strcmp(argv[at], "completion"))
		return completion(argc - at, argv + at);
	if (!strcmp(argv[at], "version")) {
		if (at + 1 < argc && (!strcmp(argv[at + 1], "--format") || !strcmp(argv[at + 1], "-f")) && at + 2 < argc)
			return version(argv[at + 2]);
		return version(at + 1 < argc && !strncmp(argv[at + 1], "--format=", 9) ? argv[at + 1] + 9 : NULL);
	}
	argc = resolve_alias(argc, argv, at);
	if (!strcmp(argv[at], "buildx") || !strcmp(argv[at], "builder"))
		return buildx(argc - at - 1, argv + at + 1);
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strcmp(routes[i].verb, argv[at]))
			continue;
		setenv("_HOY_DOOR", "1", 1);
		tool = !strcmp(argv[at], "inspect") && hoy_inspects_transport(argv + at) ? "hoy-image" : routes[i].tool;
		r = hoy_exec_sibling(tool, argv);
		hoy_error("cannot run %s: %s", tool, hoy_strerror(-r));
		return 125;
	}
	hoy_error("unrecognized command `hoy %s` (run: hoy --help)", argv[at]);
	return 125;
}
