/*
 * cmd-image/check.h: what is damaged in the store. The records are judged here; the content of layers by hoy-transfer
 * check-layers, whose findings are handed in, so that they can be had without a lock and used under one.
 */
#pragma once
#include "common/base/strv.h"
#include "common/store/store.h"

struct hoy_buf;

enum what { DAMAGED_LAYER, DAMAGED_IMAGE, DAMAGED_CONTAINER, LEFTOVER };

struct finding {
	enum what what;
	char *id;	/* of a leftover: its path below the graphroot, or the whole one in an imagestore */
	struct hoy_strv errors;
	bool unaccounted; /* a directory that no layer record names */
	bool link_only;	  /* nothing but the short link is wrong: that can be made again */
	bool unused;	  /* nothing but that no image or container stands on it */
	bool circle;	  /* it is its own ancestor */
	int depth;	  /* layers below it */
};

struct report {
	struct finding *v;
	size_t n;
};

struct check_opts {
	int64_t max_age;		 /* of layers that nobody uses, in ns */
	const struct hoy_json *content; /* list of {layer, created, error} or NULL */
};

/* Judge the records that S has loaded and the directories beside them. Whoever acts on RET holds all write locks. */
int check_store(const struct hoy_store *s, const struct check_opts *o, struct report *ret, struct hoy_err *err);
void report_release(struct report *r);
/* The errors of layer, image or container ID, or NULL. */
const struct hoy_strv *report_errors(const struct report *r, enum what what, const char *id);
/* The finding for ID, made if there is none; NULL without memory. */
struct finding *report_add(struct report *r, enum what what, const char *id);
/* Print it as podman's `system check` does. */
void report_print(const struct report *r, enum what what);

/* ---- mend.c ---- */
/* Fetch again what is damaged of images that came from a registry, and say so. True if any was mended: look again. */
bool mend_images(const struct report *r);

/* ---- leftovers.c: what dead processes left beside the records ---- */
/*
 * Those that S's records and directories show. The temporary directories of the dead are left out if layers.lock is held for
 * writing: they go when it is given back.
 */
int find_leftovers(const struct hoy_store *s, struct report *ret, struct hoy_err *err);
/* Remove what find_leftovers() names PATH; all locks are held for writing. */
int drop_leftover(struct hoy_store *s, const char *path, struct hoy_err *err);
