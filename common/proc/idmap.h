/* common/proc/idmap.h: which ids outside of a user namespace the ids inside are, as records, specs and the kernel have it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/spans.h"
#include "common/data/json.h"

#define HOY_IDMAP_MAX 340 /* lines that the kernel takes */

struct hoy_idline {
	uint32_t inside, outside, size;
};
struct hoy_idmap {
	size_t n;
	struct hoy_idline v[HOY_IDMAP_MAX];
};
struct hoy_idmaps {
	struct hoy_idmap uid, gid; /* both empty: no namespace, no shifting */
};

static inline bool hoy_idmaps_empty(const struct hoy_idmaps *m) { return !m || (!m->uid.n && !m->gid.n); }

/* Append a line; -E2BIG beyond HOY_IDMAP_MAX, -ERANGE if there are no such ids. */
int hoy_idmap_add(struct hoy_idmap *m, uint32_t inside, uint32_t outside, uint32_t size);
/* Append the line that TEXT ("INSIDE:OUTSIDE:SIZE") says; also -EINVAL. */
int hoy_idmap_parse(struct hoy_idmap *m, const char *text);
/* Put in order of the ids inside, and make one of lines that go on where another ends. */
void hoy_idmap_tidy(struct hoy_idmap *m);
bool hoy_idmap_same(const struct hoy_idmap *a, const struct hoy_idmap *b);
/* The line that has ids, inside or outside, which an earlier one has too: its index, or -1. */
long hoy_idmap_clash(const struct hoy_idmap *m);
/* The id outside of ID inside, and the other way round; false if there is none. */
bool hoy_idmap_out(const struct hoy_idmap *m, uint32_t id, uint32_t *ret);
bool hoy_idmap_in(const struct hoy_idmap *m, uint32_t id, uint32_t *ret);

/* Append lines by which the ids WANTED inside are the first ones of UNUSED, in order; -ERANGE if those are too few, after them all. */
int hoy_idmap_pair(const struct hoy_spans *wanted, const struct hoy_spans *unused, struct hoy_idmap *m);

/* The "uidmap" and "gidmap" of REC, a store's record or a definition ([{"container_id","host_id","size"}]); -HOY_EFORMAT. */
int hoy_idmaps_read(const struct hoy_json *rec, struct hoy_idmaps *ret);
/* Set them, if there are any. -ENOMEM. */
int hoy_idmaps_put(struct hoy_json_doc *d, struct hoy_json *rec, const struct hoy_idmaps *m);
/* The map of our own namespace: FILE is "uid_map" or "gid_map" in /proc/self. 0 or -errno. */
int hoy_idmap_own(const char *file, struct hoy_idmap *ret);
/* The same of process PID, in terms of our ids. */
int hoy_idmap_of(pid_t pid, const char *file, struct hoy_idmap *ret);
/* Cut lines so that each lies in one of the ranges inside that PARENT has, as the kernel wants it. -E2BIG. */
int hoy_idmap_split(struct hoy_idmap *m, const struct hoy_idmap *parent);
/* As lines of a uid_map. */
void hoy_idmap_text(const struct hoy_idmap *m, struct hoy_buf *b);

/* A user namespace with the maps UIDS and GIDS (lines of uid_map and gid_map), in which nobody lives: for mounts. The fd. */
int hoy_idmap_userns(const char *uids, const char *gids, struct hoy_err *err);
