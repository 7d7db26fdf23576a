/* common/proc/signal.h: signals by name. */
#pragma once

/* The number of the signal S: "9", "KILL", "SIGKILL", "RTMIN+3", in any case; 0 for "0"; -EINVAL: it is none. As podman and crun read it. */
int hoy_signal_parse(const char *s);
