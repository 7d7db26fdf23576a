/* cmd-build/runopts.h: options of a build that are hoy-run's own, for each RUN. */
#pragma once
#include <stddef.h>

struct run_option {
	const char *name;
};
extern const struct run_option run_options[];
extern const size_t n_run_options;
