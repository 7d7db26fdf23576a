/* cmd-build/graph.h: the stages of one build, or of those for several platforms: which must wait for which, and who runs beside whom. */
#pragma once
#include <stddef.h>

#include "cmd-build/view.h"

struct build;

/*
 * Build all stages of the N builds at V (planned) that their targets need, JOBS at once (0: any number; -1: one per processor, if that
 * changes anything), each in a process of its own if there are several at a time. The sentence of the first that failed is in V->err.
 */
int graph_run(struct build *v, size_t n, long jobs, enum view_kind kind);
