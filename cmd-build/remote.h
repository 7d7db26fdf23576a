/* cmd-build/remote.h: the cache in registries: --cache-from and --cache-to. A step's image is the tag that its key is. */
#pragma once
#include <stdbool.h>

struct build;
struct hoy_strv;
struct state;

/* Are the repositories all right that are named? They become b->cache_from and b->cache_to in full. */
int remote_check(struct build *b);
/*
 * If there are repositories: s->key becomes the key of the step that BY tells of on what S stands on, as buildah computes it.
 */
int remote_key(struct state *s, const char *by, bool layer);
/* Get the image with that key into the store; *RET: one of the repositories had it. */
int remote_pull(struct state *s, bool *ret);
/* Send S's image to all repositories that are to have it. */
int remote_push(struct state *s);
/* The options that say how to talk to registries, for a command of hoy-image; RETRIES: it has --retry. */
int remote_options(struct build *b, bool retries, struct hoy_strv *argv);
