/* hoy-run: containers: define, start, look at, stop, remove. */
#include <string.h>

#include "cmd-run/run.h"
#include "common/proc/sibling.h"

static char **whole_argv;

/* What needs the store's records alone is hoy-image's work, with the command line as it is. */
static int hand_over(const struct hoy_verb *v, int argc, char **argv)
{
	int r = hoy_exec_sibling("hoy-image", whole_argv);

	(void)v;
	(void)argc;
	(void)argv;
	hoy_error("cannot run hoy-image: %s", hoy_strerror(-r));
	return 125;
}
static const struct hoy_verb verb_system_check = { .name = "system check", .summary = "Look for damage in the store, and mend it",
						   .synopsis = "[options]", .run = hand_over, .flags = HOY_VERB_COMMAND };

static const struct hoy_verb verb_container_diff = { .name = "container diff", .synopsis = "[options] ...", .run = hand_over, .flags = HOY_VERB_COMMAND };

/* "container X" is X. */
#define ALSO(alias, of) \
	&(const struct hoy_verb){ .name = alias, .synopsis = (of).synopsis, .opts = (of).opts, .run = (of).run, .flags = (of).flags }

int main(int argc, char **argv)
{
	cleanup_strv struct hoy_strv copy = HOY_STRV_INIT;
	const struct hoy_verb *const verbs[] = {
		&verb_run, &verb_create, &verb_start, &verb_stop, &verb_restart, &verb_kill, &verb_rm, &verb_ps, &verb_logs, &verb_exec,
		&verb_inspect, &verb_wait, &verb_attach, &verb_pause, &verb_unpause, &verb_port, &verb_rename, &verb_commit, &verb_top, &verb_info, &verb_init,
		&verb_cleanup, &verb_exists, &verb_healthcheck, &verb_system_check, &verb_container_diff,
		&verb_update, &verb_container_prune, &verb_volume_prune, &verb_system_df, &verb_system_prune,
		ALSO("container run", verb_run), ALSO("container create", verb_create), ALSO("container start", verb_start),
		ALSO("container stop", verb_stop), ALSO("container restart", verb_restart), ALSO("container kill", verb_kill),
		ALSO("container rm", verb_rm), ALSO("container ps", verb_ps), ALSO("container ls", verb_ps), ALSO("container list", verb_ps),
		ALSO("ls", verb_ps), ALSO("list", verb_ps), ALSO("container logs", verb_logs), ALSO("container exec", verb_exec),
		ALSO("container inspect", verb_inspect), ALSO("container wait", verb_wait), ALSO("container attach", verb_attach),
		ALSO("container pause", verb_pause), ALSO("container unpause", verb_unpause), ALSO("container port", verb_port),
		ALSO("container rename", verb_rename), ALSO("container commit", verb_commit), ALSO("container top", verb_top), ALSO("container init", verb_init), ALSO("container update", verb_update),
		NULL,
	};

	if (argc > 4 && !strcmp(argv[1], PASSAGE_OPTION))
		return passage_main(argv);
	/* Parsing moves the words of argv about. */
	for (int i = 0; i < argc; i++)
		hoy_strv_push(&copy, argv[i]);
	if (copy.error)
		return 125;
	whole_argv = copy.v;
	return hoy_tool_main("hoy-run", "Containers: define them and drive their lives", verbs, argc, argv);
}
