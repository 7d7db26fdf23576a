/* cmd-build/outspec.h: what one --output asks for, in podman's words and docker's. */
#pragma once
#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/strv.h"

struct outspec {
	enum out_kind {
		OUT_IMAGE,   /* in the store, where it is anyway; with push, in registries as well */
		OUT_DIR,     /* the files of the image beneath DEST */
		OUT_TAR,     /* the same as a tar */
		OUT_OCI,     /* the image as a layout of OCI's: an archive, or with DIRECTORY a directory */
		OUT_DOCKER,  /* the image as an archive of docker's; without DEST, in the store */
		OUT_NOTHING, /* steps for the cache: the image gets no names */
	} kind;
	char *dest;		/* a path, "-" for stdout, or NULL */
	struct hoy_strv names;	/* that the image gets beside those of -t */
	bool push, directory;
	struct hoy_strv coding; /* options of `push`: compression, format */
};

/*
 * Read TEXT: "DIR", "-", or "type=KIND,dest=PATH,KEY=VALUE...", a field with commas in double quotes. O is to be released in any case.
 * EINVAL with a sentence for what is none, HOY_EUNSUPPORTED for what docker has and hoy hasn't.
 */
int outspec_parse(struct outspec *o, const char *text, struct hoy_err *err);
void outspec_release(struct outspec *o);
#define cleanup_outspec __attribute__((cleanup(outspec_release)))
