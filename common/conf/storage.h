/* common/conf/storage.h: where the store is and how it is mounted: command line, environment, storage.conf, defaults. */
#pragma once
#include <stdbool.h>

#include "common/base/strv.h"

struct hoy_err;

struct hoy_storage_conf {
	char *graphroot, *runroot;
	char *driver;		 /* "overlay" or "vfs"; anything else is refused by the store */
	char *imagestore;	 /* NULL: none */
	char *mountopt;		 /* NULL or a comma list */
	char *mount_program;	 /* NULL: native overlay */
	struct hoy_strv stores;	 /* additionalimagestores */
	bool skip_mount_home;
	bool disable_volatile;
	bool ignore_chown_errors;
	bool transient;
	char *auto_user;	       /* whose subordinate ids --userns=auto takes; NULL: "containers" */
	unsigned auto_min, auto_max;   /* how many, where nobody says it */
	char *file; /* the storage.conf that was read, NULL if none */
};

/* What the command line says; NULL and empty where it is silent. --storage-opt may be repeated. */
struct hoy_storage_args {
	const char *root, *runroot, *driver, *imagestore;
	struct hoy_strv opts;
	bool transient;
};

/*
 * Work out the store's place by containers-storage.conf(5). CONF is zeroed first and then owned by the caller.
 * Options that we do not know are an error that names them.
 */
int hoy_storage_conf_load(struct hoy_storage_conf *conf, const struct hoy_storage_args *args, struct hoy_err *err);
void hoy_storage_conf_release(struct hoy_storage_conf *conf);
