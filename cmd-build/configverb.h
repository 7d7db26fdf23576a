/* cmd-build/configverb.h: the verb `config`: what is asked for, and its parts that have files of their own. */
#pragma once
#include "cmd-build/ctr.h"

struct config_opts {
	struct hoy_strv annotation, env, label, onbuild, os_feature, port, unset_annotation, unset_label, volume;
	const char *arch, *author, *cmd, *comment, *created_by, *domainname, *entrypoint, *health, *health_interval, *health_start_period,
		*health_start_interval, *health_timeout, *history_comment, *hostname, *os, *os_version, *shell, *stop_signal, *user, *variant,
		*workingdir, *health_retries;
	int add_history;
};

struct config {
	struct ctr c;
	struct config_opts o;
};

/* An entry of the history without a layer, if one is asked for. 0 or an error with its sentence, like all of these. */
int config_note(struct config *g, const char *fmt, ...) HOY_PRINTF(2, 3);
/* "nop" as the history tells of an instruction, with all of V behind it. */
int config_note_list(struct config *g, const char *word, const struct hoy_strv *v);
/* Say that OCI's format has no WHAT, unless VALUE is empty or the format docker's; KEY (may be "") and VALUE are told, without a KEY neither. */
void config_warn_oci(struct config *g, const char *what, const char *key, const char *value);
/* --healthcheck and what begins with it; --env. */
int config_health(struct config *g);
int config_env(struct config *g);
