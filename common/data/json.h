/*
 * common/data/json.h: JSON read into a tree (yajl does the parsing) and written in Go's spelling.
 *
 * A document owns all its nodes and strings. Input is hostile: depth and size are bounded, strings are valid
 * UTF-8, a second value behind the first is an error. Numbers keep their text, so that a value can be carried on.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

struct hoy_err;

enum hoy_json_type { HOY_JSON_NULL, HOY_JSON_BOOL, HOY_JSON_NUMBER, HOY_JSON_STRING, HOY_JSON_ARRAY, HOY_JSON_OBJECT };
#define HOY_JSON_DEPTH 100 /* deeper than any manifest, config or bundle */

struct hoy_json {
	const char *key;	     /* member name, if the parent is an object */
	const char *str;	     /* string, or the text of a number; NUL-terminated */
	size_t len;		     /* of str */
	struct hoy_json *child;	     /* first element or member */
	struct hoy_json *last;	     /* last element or member */
	struct hoy_json *next;	     /* next sibling */
	unsigned count;		     /* elements or members */
	unsigned char type;
	bool boolean;
	bool changed;		     /* children came or went since whoever indexes them cleared this */
};

struct hoy_json_doc {
	struct hoy_json *root;
	void *chunks; /* private, as is: */
	char *text;
};
#define HOY_JSON_DOC_INIT { NULL, NULL, NULL }

void hoy_json_release(struct hoy_json_doc *doc);
static inline void hoy_cleanup_json_(struct hoy_json_doc *d) { hoy_json_release(d); }
#define cleanup_json __attribute__((cleanup(hoy_cleanup_json_)))

/* Parse LEN bytes (named NAME in messages) into DOC, which must be empty; 0 or -HOY_EFORMAT, -ENOMEM. */
int hoy_json_parse(struct hoy_json_doc *doc, const char *data, size_t len, const char *name, struct hoy_err *err);
/* The same with DATA from malloc(), which becomes DOC's whatever is returned: its strings stay where they are. */
int hoy_json_adopt(struct hoy_json_doc *doc, char *data, size_t len, const char *name, struct hoy_err *err);
/* Read and parse the file PATH at DIRFD, of at most MAX bytes; -errno of the reading or -HOY_EFORMAT. */
int hoy_json_load(struct hoy_json_doc *doc, int dirfd, const char *path, size_t max, struct hoy_err *err);

/* All accessors take NULL for the node and give the "absent" answer then. */
struct hoy_json *hoy_json_get(const struct hoy_json *obj, const char *key);
/* Walk down members: hoy_json_path(root, "linux", "seccomp", NULL). */
struct hoy_json *hoy_json_path(const struct hoy_json *node, ...) __attribute__((sentinel));
/* The string itself, or NULL if NODE is no string or contains a NUL. */
const char *hoy_json_text(const struct hoy_json *node);
/* The number as an integer; false if it is none or does not fit. */
bool hoy_json_int64(const struct hoy_json *node, int64_t *ret);
bool hoy_json_uint64(const struct hoy_json *node, uint64_t *ret);
/* Members of OBJ, with a default. */
const char *hoy_json_str(const struct hoy_json *obj, const char *key);
int64_t hoy_json_int(const struct hoy_json *obj, const char *key, int64_t absent);
bool hoy_json_bool(const struct hoy_json *obj, const char *key, bool absent);
/* A member that is a time, in ns; HOY_TIME_ZERO if there is none. */
int64_t hoy_json_time(const struct hoy_json *obj, const char *key);
/* Has the object LABELS the label WANT: "KEY", or "KEY=VALUE"? */
bool hoy_label_match(const struct hoy_json *labels, const char *want);
static inline bool hoy_json_is(const struct hoy_json *n, enum hoy_json_type t) { return n && n->type == t; }
#define HOY_JSON_EACH(it, parent) \
	for (const struct hoy_json *it = (parent) ? (parent)->child : NULL; it; it = it->next)

/*
 * Changing a parsed document, so that a file can be rewritten with what we do not understand carried on. New nodes
 * belong to DOC. Each returns the node set or added, or NULL without memory. VALUE and KEY are copied.
 */
struct hoy_json *hoy_json_new(struct hoy_json_doc *doc, enum hoy_json_type type);
struct hoy_json *hoy_json_set_string(struct hoy_json_doc *doc, struct hoy_json *obj, const char *key, const char *value);
struct hoy_json *hoy_json_set_int(struct hoy_json_doc *doc, struct hoy_json *obj, const char *key, int64_t value);
struct hoy_json *hoy_json_set_bool(struct hoy_json_doc *doc, struct hoy_json *obj, const char *key, bool value);
/* Put NODE (fresh, or taken out of its parent) under KEY, replacing what was there; KEY NULL appends to an array. */
struct hoy_json *hoy_json_put(struct hoy_json_doc *doc, struct hoy_json *parent, const char *key, struct hoy_json *node);
/* A deep copy of NODE (of any document) owned by DOC. */
struct hoy_json *hoy_json_copy(struct hoy_json_doc *doc, const struct hoy_json *node);
/* Member KEY of OBJ, created as TYPE if it is missing or of another type. */
struct hoy_json *hoy_json_need(struct hoy_json_doc *doc, struct hoy_json *obj, const char *key, enum hoy_json_type type);
/* Take CHILD out of PARENT; the memory stays with the document. */
void hoy_json_remove(struct hoy_json *parent, struct hoy_json *child);
/* Remove member KEY if there is one. */
void hoy_json_unset(struct hoy_json *obj, const char *key);

/* Writing. Opening and closing calls must pair; KEY is NULL inside arrays and for the root. */
struct hoy_jw {
	struct hoy_buf *out;
	const char *indent; /* NULL: one line */
	int depth;
	bool html;	  /* Go's default: <, > and & as \u003c, \u003e, \u0026 */
	bool some[HOY_JSON_DEPTH + 8]; /* something was written at that depth */
};
static inline struct hoy_jw hoy_jw_on(struct hoy_buf *out, const char *indent)
{
	return (struct hoy_jw){ .out = out, .indent = indent, .html = true };
}
void hoy_jw_object(struct hoy_jw *w, const char *key);
void hoy_jw_array(struct hoy_jw *w, const char *key);
void hoy_jw_end_object(struct hoy_jw *w);
void hoy_jw_end_array(struct hoy_jw *w);
void hoy_jw_string(struct hoy_jw *w, const char *key, const char *value); /* NULL writes "" */
void hoy_jw_stringn(struct hoy_jw *w, const char *key, const char *value, size_t len);
void hoy_jw_int(struct hoy_jw *w, const char *key, int64_t value);
void hoy_jw_uint(struct hoy_jw *w, const char *key, uint64_t value);
void hoy_jw_bool(struct hoy_jw *w, const char *key, bool value);
void hoy_jw_null(struct hoy_jw *w, const char *key);
void hoy_jw_raw(struct hoy_jw *w, const char *key, const char *json);	       /* VALUE is JSON already */
void hoy_jw_value(struct hoy_jw *w, const char *key, const struct hoy_json *v); /* a parsed value again */
/* The members of OBJ in the order of their keys, as Go writes its maps. */
void hoy_jw_sorted(struct hoy_jw *w, const char *key, const struct hoy_json *obj);
/* "omit empty": nothing is written for NULL or "". */
void hoy_jw_string_opt(struct hoy_jw *w, const char *key, const char *value);
/* An array of strings; NULL v with n 0 gives []. */
void hoy_jw_strings(struct hoy_jw *w, const char *key, char *const *v, size_t n);
