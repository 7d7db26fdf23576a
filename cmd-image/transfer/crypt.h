/*
 * cmd-image/transfer/crypt.h: layers that are encrypted as ocicrypt has it: AES-256 in counter mode with an HMAC over what comes out;
 * the key is in an annotation, wrapped (JWE or PKCS #7) for those who may read it.
 */
#pragma once
#include "cmd-image/transfer/stream.h"
#include "common/base/strv.h"
#include "common/data/json.h"

#define CRYPT_NOTE "org.opencontainers.image.enc." /* how annotations begin that tell of it */
#define CRYPT_ENDING "+encrypted"

struct crypt_opts {
	struct hoy_strv encrypt;    /* "jwe:FILE", "pkcs7:FILE", "pgp:NAME", "provider:NAME[:TEXT]" */
	struct hoy_strv layers;	    /* numbers; empty: all */
	struct hoy_strv decrypt;    /* "FILE[:PASSWORD]", "provider:NAME[:TEXT]" */
	struct private_key *keys;   /* what those are */
};
/* The options, for commands of skopeo's (HOY_OPT_COMMAS) and of podman's (HOY_OPT_LIST); AT is where a struct crypt_opts is. */
#define DECRYPTION_OPT(type, at) \
	{ 0, "decryption-key", type, (at) + offsetof(struct crypt_opts, decrypt), "FILE[:PASSWORD]", "private key for encrypted layers; or provider:NAME" }
#define ENCRYPTION_OPTS(type, at) \
	{ 0, "encrypt-layer", HOY_OPT_COMMAS, (at) + offsetof(struct crypt_opts, layers), "N", "encrypt this layer alone; -1 is the last one" }, \
	{ 0, "encryption-key", type, (at) + offsetof(struct crypt_opts, encrypt), "PROTOCOL:KEY", \
	  "encrypt layers for this public key (jwe:FILE), certificate (pkcs7:FILE), owner of a key in gpg's keyring (pgp:NAME), or by a program (provider:NAME)" }
/* Do they fit together, and can all of the files be read? The private keys are kept: a password may be there to be read but once. */
int crypt_load(struct crypt_opts *o, struct hoy_err *err);
void crypt_opts_release(struct crypt_opts *o);
/* Is layer I of N to be encrypted? -EINVAL: a number that no layer has. */
int crypt_wanted(const struct crypt_opts *o, size_t i, size_t n, struct hoy_err *err);

struct layer_key {
	unsigned char key[32], nonce[16], hmac[32];
};
/* The key of a layer with these ANNOTATIONS, by one of the private keys that O names. It is forgotten by layer_key_forget(). */
int layer_key_open(struct layer_key *ret, const struct crypt_opts *o, const struct hoy_json *annotations, const char *digest, struct hoy_err *err);
void layer_key_forget(struct layer_key *k);
/* The content of IN, which it owns; at its end the HMAC must be right. K is copied. */
struct stream *decrypt_stream(struct stream *in, const struct layer_key *k, const char *digest, struct hoy_err *err);

/* Encryption of one layer. */
struct encryptor;
/* With a new key. */
int encryptor_new(struct encryptor **ret, struct hoy_err *err);
void encryptor_free(struct encryptor *e);
/* From the beginning, with the same key: the same bytes come out. */
int encryptor_restart(struct encryptor *e, struct hoy_err *err);
/* N bytes at IN become as many at OUT. */
int encryptor_add(struct encryptor *e, const void *in, size_t n, unsigned char *out, struct hoy_err *err);
/* All went through it: note in the object ANNOTATIONS of DOC how those whose keys O names get at it. */
int encryptor_end(struct encryptor *e, const struct crypt_opts *o, struct hoy_json_doc *doc, struct hoy_json *annotations, struct hoy_err *err);

/* Is TYPE (may be NULL) that of an encrypted layer? */
bool crypt_type(const char *type);
/* What such a layer is inside, in new memory. */
char *crypt_inner_type(const char *type);
/* The descriptor D (NULL: none) of an encrypted layer as DOC's root, without the annotations that tell of this. NULL: out of memory. */
const struct hoy_json *crypt_opened(struct hoy_json_doc *doc, const struct hoy_json *d);
