/* cmd-build/linkstep.h: COPY --link and ADD --link: layers that have nothing to do with those below them. */
#pragma once
#include <stdbool.h>

struct state;
struct cf_instr;

/* Is I a step of that kind? (A value of --link that is none is told of when the step is carried out.) */
bool is_linked(const struct state *s, const struct cf_instr *i);
/* May the store have the layer of I from another base, so that it's worth knowing the digest of what I copies? */
bool linked_elsewhere(struct state *s, const struct cf_instr *i);
/*
 * Look for the layer of I, which BY tells of, on any base: s->again is it, and s->linked_at its time. "": there is none; or an error.
 */
int linked_find(struct state *s, const struct cf_instr *i, const char *by);
