/* cmd-image/transfer/registry.h: the client of registries: distribution's HTTP protocol on libcurl, with its ways to log in. */
#pragma once
#include "cmd-image/transfer/transport.h"
#include "common/base/buf.h"

struct registry;
struct part;

/* One answer; what it says of itself. */
struct answer {
	long status;
	char *type, *digest, *location, *link, *auth[4]; /* auth: WWW-Authenticate lines */
	int n_auth;
	int64_t length, range_start; /* -1: not said */
	int64_t kept;		     /* bytes of an upload that have arrived; -1: not said */
	int64_t retry_after;	     /* seconds; 0: not said */
	bool subject;		     /* the registry knows what a manifest's subject is */
	bool again;		     /* it may be another answer the next time */
	struct hoy_buf body;
};
void answer_release(struct answer *a);
static inline void hoy_cleanup_answer_(struct answer *a) { answer_release(a); }
#define cleanup_answer __attribute__((cleanup(hoy_cleanup_answer_)))

/* REPO: "host[:port]/path" as it is to be reached; NAME is what the user calls it. */
int registry_new(struct registry **ret, const char *repo, const char *name, bool insecure, const struct reg_opts *o,
		 struct hoy_err *err);
/* The one that REF (complete) leads to, for what no mirror is asked: writing, removing, listing. */
int registry_at(struct registry **ret, const struct hoy_ref *ref, const struct reg_opts *o, struct hoy_err *err);
/* The registry HOST itself, no repository of it: nothing that a scope would name. NAME is what the user calls it. */
int registry_as_such(struct registry **ret, const char *host, const char *name, const struct reg_opts *o, struct hoy_err *err);
void registry_free(struct registry *r);
/* Is anybody there? Finds out the scheme and the way to log in. */
int registry_ping(struct registry *r, bool push, struct hoy_err *err);
/* Ask for the right to do anything with the repository, as removing needs it. */
void registry_ask_all(struct registry *r);
/* The server speaks SCHEME and is no registry (or known to be one): nothing is asked. */
int registry_assume(struct registry *r, const char *scheme, struct hoy_err *err);
/* The path of the repository: "library/debian". */
const char *registry_path(const struct registry *r);
const char *registry_host(const struct registry *r);
const char *registry_base(const struct registry *r); /* "https://host" */
bool registry_https(const struct registry *r);

/*
 * METHOD on PATH (an absolute one, or a whole URL that the registry gave): 401 is answered by logging in, cut connections,
 * 429 and 5xx by trying again. BODY may be NULL. Returns 0 whatever the status. At most MAX bytes are taken.
 */
int registry_do(struct registry *r, const char *method, const char *path, const char *accept, const char *type, const void *body,
		size_t len, size_t max, struct answer *ret, struct hoy_err *err);
/*
 * GET PATH as the first request of all: does what registry_ping() does on the way, without a request of its own. For reading.
 */
int registry_get_first(struct registry *r, const char *path, const char *accept, size_t max, struct answer *ret, struct hoy_err *err);
/*
 * A stream of what GET gives; goes on by itself where the connection is cut. SIZE -1: unknown. PART (may be NULL) gives what
 * it has already, and keeps what comes.
 */
int registry_stream(struct registry *r, const char *path, int64_t size, struct part *part, struct stream **ret, struct hoy_err *err);
/* METHOD (PATCH or PUT) to the upload PATH, which has FROM of SIZE (-1: unknown) bytes, with what comes out of RING. One attempt. */
int registry_send(struct registry *r, const char *method, const char *path, struct ring *ring, int64_t from, int64_t size, struct answer *ret,
		  struct hoy_err *err);
/*
 * An attempt that got on for GOT bytes ended with A or ERR: is it worth another one, and is one left of those that the user
 * allows? Waits before it says so. *TRIES counts them.
 */
bool registry_try_again(struct registry *r, int *tries, int64_t got, const struct answer *a, const struct hoy_err *err);
/* A sentence for an answer that is an error; WHAT was asked for. */
int registry_refused(struct registry *r, const struct answer *a, const char *what, struct hoy_err *err);
/* Is CODE ("MANIFEST_UNKNOWN") the error in the answer? */
bool registry_says(const struct answer *a, const char *code);
/* Also ask for the right to pull from repository PATH (mounts). */
void registry_also_pull(struct registry *r, const char *path);
/* Ask for the right to list all repositories instead. */
void registry_ask_catalog(struct registry *r);
/* The tags of the repository, appended to RET. */
int registry_tags(struct registry *r, struct hoy_strv *ret, struct hoy_err *err);
/* Where the next page of a list is, that A was one of: '<PATH>; rel="next"'. In new memory; NULL: there is none. */
char *registry_next_page(const struct answer *a);
