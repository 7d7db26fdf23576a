/* cmd-build/commit.h: the verb `commit`: what is asked for, and what is known of the image that it makes. */
#pragma once
#include "cmd-build/ctr.h"
#include "common/data/time.h"

struct commit_opts {
	struct hoy_strv add_file, annotation, change, unset_annotation, unset_env, encryption_key, encrypt_layer;
	const char *authfile, *cert_dir, *config, *creds, *cw, *format, *iidfile, *manifest, *pull, *sign_by, *source_date_epoch, *timestamp;
	int created_annotation, disable_compression, identity_label, tls_verify;
	bool omit_history, quiet, rewrite_timestamp, rm, squash;
	struct sbom_opts sbom;
};

struct commit {
	struct ctr c;
	struct commit_opts o;
	bool docker;
	int64_t time;	     /* of the image in seconds, -1: now */
	char when[HOY_TIME_SIZE];
	struct hoy_json_doc d; /* what hoy-transfer is told */
	struct hoy_json *root, *build;
	const char *name;    /* in the store, NULL: none */
	const char *place;   /* "TRANSPORT:..." elsewhere, or NULL */
	char id[HOY_ID_SIZE];
	struct hoy_strv files; /* that are added: source, path, source, path ... */
	struct hoy_strv before; /* images that were there, and stay */
};
/* Are files that are younger than the image to be as old? */
static inline bool commit_clamps(const struct commit *m) { return m->o.rewrite_timestamp && m->time >= 0 && !m->o.timestamp; }
/* What is committed, as hoy-transfer is told, into m->root; or an error with its sentence. */
int commit_spec(struct commit *m);
