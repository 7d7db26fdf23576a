/* common/proc/idmapper.h: an ordinary user's ids, mapped into the new user namespace of a child. */
#pragma once
#include <sys/types.h>

#include "common/conf/subid.h"
#include "common/proc/idmap.h"

/* Our own ids as 0, from 1 on the ranges U and G, by newuidmap(1) and newgidmap(1); without ranges, 0 alone. 0 or -errno. */
int hoy_idmapper_own(pid_t pid, const struct hoy_idrange *u, size_t nu, const struct hoy_idrange *g, size_t ng, struct hoy_err *err);
/* The lines of MAP by TOOL, newuidmap or newgidmap, for who may not write them himself. 0 or -errno. */
int hoy_idmapper_run(const char *tool, pid_t pid, const struct hoy_idmap *map, struct hoy_err *err);
