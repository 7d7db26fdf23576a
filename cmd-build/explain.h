/* cmd-build/explain.h: why the cache has nothing for a step: --explain-cache. */
#pragma once
#include <stdbool.h>

struct state;
struct cf_instr;

/* Tell which input of I (BY is its line of the history; NULL: unknown yet) is another one than when it was last built on what S stands on. */
void explain_miss(const struct state *s, const struct cf_instr *i, const char *by, bool layer);
