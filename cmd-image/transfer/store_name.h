/* cmd-image/transfer/store_name.h: what follows "containers-storage:": "[driver@root+run:options]name@id" or parts of it. */
#pragma once
#include "common/conf/storage.h"

struct hoy_err;
struct hoy_json;
struct hoy_store;

struct store_name {
	struct hoy_storage_args at; /* of the command line where the name says nothing; strings point into it or into HOLD */
	char *name;		    /* NULL: only an id is given */
	char *id;		    /* NULL, or 64 hex digits */
	char *hold;
	bool own_opts;		    /* AT.opts is ours */
};
int store_name_parse(struct store_name *n, const char *text, struct hoy_err *err);
/* The image of S (locked, or peeked at) that N means: by its id, which has the name if one is given too, or by its name. HOY_ENOIMAGE. */
int store_name_find(const struct store_name *n, struct hoy_store *s, struct hoy_json **ret, struct hoy_err *err);
void store_name_release(struct store_name *n);
static inline void hoy_cleanup_store_name_(struct store_name *n) { store_name_release(n); }
#define cleanup_store_name __attribute__((cleanup(hoy_cleanup_store_name_)))
