/* cmd-image/transfer/http.h: one request on libcurl, with its limits. */
#pragma once
#include <curl/curl.h>

#include "cmd-image/transfer/part.h"
#include "cmd-image/transfer/registry.h"

struct request {
	const char *method, *url, *accept, *type, *authorization; /* authorization: a whole header line */
	const char *body;
	size_t body_len;
	struct ring *send; /* instead of BODY */
	int64_t send_size; /* -1: unknown */
	int64_t send_from; /* of a blob, whose beginning is there */
	size_t max;	   /* of the answer's body, kept in the answer */
	struct ring *receive; /* 2xx bodies go there instead */
	int64_t got, expect; /* bytes of RECEIVE so far, and in all (-1: unknown) */
	struct part *part;   /* keeps what goes to RECEIVE; or NULL */
	bool whole;	     /* the server is no good at ranges: ask for all and pass over what we have */
	bool slow_end;	     /* the server may think long before it answers */
	const char *socket;  /* of a server on this machine; or NULL */
};
struct tls {
	bool verify;
	char *ca; /* PEM of all that are trusted; NULL: the system's */
	char *cert, *key;
};
/* There is no handle to be had: with libcurl being loaded when it is first needed, it may be that it is missing. */
int http_no_handle(struct hoy_err *err);
/* C trusts whom T says, and is who T says. */
void http_trust(CURL *c, const struct tls *t);
/* May a transfer that ended with CODE and this STATUS work the next time? */
bool http_worth_again(CURLcode code, long status);
/* 0, or -errno of a connection that failed with the sentence; a->again: it may work the next time. */
int http_do(CURL *c, const struct tls *tls, struct request *q, struct answer *a, struct hoy_err *err);
