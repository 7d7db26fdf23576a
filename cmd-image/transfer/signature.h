/*
 * cmd-image/transfer/signature.h: signatures of images as they lie in files and registries, and what they sign. Nothing here
 * decides whom to trust: that is allow.c.
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/strv.h"

struct hoy_err;

#define SIG_MAX ((size_t)4 << 20) /* one signature */
#define SIGS_MAX 128		  /* signatures of one image */
#define SIG_MIME "application/vnd.dev.cosign.simplesigning.v1+json"
#define SIG_ANNOTATION "dev.cosignproject.cosign/signature"

enum sig_kind { SIG_SIMPLE, SIG_SIGSTORE };
struct sig {
	enum sig_kind kind;
	char *data; /* an OpenPGP message, or the payload that a sigstore signature is for */
	size_t len;
	char *mime;		     /* sigstore */
	struct hoy_strv annotations; /* sigstore: key, value, key, value ... */
};
struct sigs {
	struct sig *v;
	size_t n;
};
void sigs_release(struct sigs *s);
static inline void hoy_cleanup_sigs_(struct sigs *s) { sigs_release(s); }
#define cleanup_sigs __attribute__((cleanup(hoy_cleanup_sigs_)))

/* A new signature of KIND with a copy of DATA; NULL without memory, or (with a sentence) one too many. */
struct sig *sigs_add(struct sigs *s, enum sig_kind kind, const void *data, size_t len, struct hoy_err *err);
/* The same of a file's content: an OpenPGP message as it is, or a zero byte, the format's name, a line feed and the signature. */
int sigs_add_blob(struct sigs *s, const char *blob, size_t len, struct hoy_err *err);
/* A copy of what ONE is, all of it. 0 or an error. */
int sigs_add_copy(struct sigs *s, const struct sig *one, struct hoy_err *err);
/* And back, appended to B. */
void sig_blob(const struct sig *s, struct hoy_buf *b);
/* Set and get an annotation; NULL if there is none such. */
void sig_annotate(struct sig *s, const char *key, const char *value);
const char *sig_annotation(const struct sig *s, const char *key);
struct hoy_jw;
/* The member "annotations". */
void sig_write_annotations(const struct sig *s, struct hoy_jw *w);
/* Has S such a signature already? */
bool sigs_has(const struct sigs *s, const struct sig *one);

/* What is signed: that the manifest DIGEST is the image NAME. */
struct claim {
	char *name, *digest;
};
void claim_release(struct claim *c);
static inline void hoy_cleanup_claim_(struct claim *c) { claim_release(c); }
#define cleanup_claim __attribute__((cleanup(hoy_cleanup_claim_)))
/* Read a payload of KIND, strictly; C is blank. -HOY_EFORMAT. */
int claim_parse(struct claim *c, enum sig_kind kind, const char *data, size_t len, struct hoy_err *err);
/* Write one, of now. */
void claim_write(struct hoy_buf *b, enum sig_kind kind, const char *name, const char *digest);

