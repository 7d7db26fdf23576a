/* cmd-image/transfer/certs.h: whom we trust, and who we are, by TLS: containers-certs.d(5). */
#pragma once
#include "cmd-image/transfer/http.h"

/* The certificates for HOST in CERT_DIR, or (NULL) in the directories of certs.d(5); T is blank before and released by tls_release() whatever comes. */
int tls_load(struct tls *t, const char *host, const char *cert_dir, struct hoy_err *err);
void tls_release(struct tls *t);
