/* cmd-image/transfer/daemon.h: the images of a docker daemon, which gives and takes docker archives over its socket. */
#pragma once
#include "cmd-image/transfer/transport.h"

struct daemon;
/* Where O->daemon_host says, else at $DOCKER_HOST or docker's usual socket. Nothing is asked yet. */
int daemon_new(struct daemon **ret, const struct reg_opts *o, struct hoy_err *err);
void daemon_free(struct daemon *d);
/* Give it the docker archive in FD. */
int daemon_load(struct daemon *d, int fd, struct hoy_err *err);
/*
 * What follows "docker-daemon:" as the daemon names it: "algo:digest", or a name with tag or digest, without docker.io/ and
 * library/. In new memory.
 */
int daemon_name(const char *rest, bool as_dest, char **ret, struct hoy_err *err);
