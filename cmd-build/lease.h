/*
 * cmd-build/lease.h: what a build has taken and will give back: mounts of layers, working containers of its own, a temporary directory,
 * a command that runs. It's written down in a file beneath the runroot that is locked as long as the process lives: of those that were
 * killed, the next command of hoy-build gives it back.
 */
#pragma once

struct hoy_err;
struct hoy_store;

/* Of what kinds a thing can be; NAME is an id, a path, or a container's name. */
#define LEASE_LAYER "layer"
#define LEASE_NEW_LAYER "new-layer" /* that no container has yet */
#define LEASE_CONTAINER "container"
#define LEASE_DIR "dir"
#define LEASE_RUN "run"
#define LEASE_NAME "name" /* LEASE_NAMES and an id: an image's, for as long as nothing else tells it apart */
#define LEASE_NAMES "localhost/hoy-build:"
/* Note that NAME is taken from now on, before it is; 0 or an error with a sentence. */
int lease_take(struct hoy_store *s, const char *kind, const char *name, struct hoy_err *err);
/* It's given back, or it isn't ours any more. */
void lease_drop(const char *kind, const char *name);
/* Give back what the dead have left. */
void lease_collect(struct hoy_store *s);
