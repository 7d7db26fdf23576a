/* cmd-build/limit.h: the size of the cache that holds by itself: table build_cache of containers.conf. */
#pragma once

/* After a build: if there is a limit, let go of what is above it. Nobody waits for that: it's done by a process of its own. */
void limit_cache(void);
