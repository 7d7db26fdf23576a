/*
 * common/proc/userns.h: an ordinary user's user and mount namespace, in which all of that user's commands work.
 */
#pragma once

struct hoy_err;

/*
 * Enter it; for root, and where we are in it already, nothing happens. The process that keeps it alive is podman's
 * pause process if there is one, else ours, published in the same pause.pid: both engines share one set of mounts.
 * Ids are mapped by newuidmap and newgidmap, or one id alone where the user has no range. Before any thread.
 */
int hoy_userns_enter(struct hoy_err *err);
