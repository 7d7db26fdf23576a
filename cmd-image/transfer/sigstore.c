#include "cmd-image/transfer/sigstore.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <string.h>

#include "common/base/err.h"
#include "common/data/base64.h"
#include "common/data/json.h"

/*
 * An encrypted key is PEM around JSON: the PKCS #8 key in a NaCl secretbox, whose key is made of the passphrase by scrypt.
 * libsodium has the secretbox, which OpenSSL lacks; OpenSSL does the rest.
 */
#define PEM_NAME "ENCRYPTED SIGSTORE PRIVATE KEY"
#define OLD_PEM_NAME "ENCRYPTED COSIGN PRIVATE KEY"
#define SCRYPT_N 65536
#define KEY_MAX ((size_t)64 << 10)

/* Of a passphrase and SALT the secretbox's key. N is one of those that cosign uses, so that no file decides how long it takes. */
static int derive(const char *passphrase, const void *salt, size_t salt_len, uint64_t n, unsigned char key[crypto_secretbox_KEYBYTES],
		  struct hoy_err *err)
{
	if (!EVP_PBE_scrypt(passphrase, strlen(passphrase), salt, salt_len, n, 8, 1, (uint64_t)256 << 20, key, crypto_secretbox_KEYBYTES))
		return hoy_fail_oom(err);
	return 0;
}

/* ---- private keys ---- */

static void write_box(struct hoy_buf *json, const unsigned char *salt, size_t salt_len, const unsigned char *nonce, const struct hoy_buf *box)
{
	cleanup_buf struct hoy_buf s = HOY_BUF_INIT(KEY_MAX), n = HOY_BUF_INIT(KEY_MAX), b = HOY_BUF_INIT(KEY_MAX);
	struct hoy_jw w = hoy_jw_on(json, NULL);

	hoy_base64(&s, salt, salt_len);
	hoy_base64(&n, nonce, crypto_secretbox_NONCEBYTES);
	hoy_base64(&b, box->data, box->len);
	hoy_jw_object(&w, NULL);
	hoy_jw_object(&w, "kdf");
	hoy_jw_string(&w, "name", "scrypt");
	hoy_jw_object(&w, "params");
	hoy_jw_int(&w, "N", SCRYPT_N);
	hoy_jw_int(&w, "r", 8);
	hoy_jw_int(&w, "p", 1);
	hoy_jw_end_object(&w);
	hoy_jw_string(&w, "salt", hoy_buf_str(&s));
	hoy_jw_end_object(&w);
	hoy_jw_object(&w, "cipher");
	hoy_jw_string(&w, "name", "nacl/secretbox");
	hoy_jw_string(&w, "nonce", hoy_buf_str(&n));
	hoy_jw_end_object(&w);
	hoy_jw_string(&w, "ciphertext", hoy_buf_str(&b));
	hoy_jw_end_object(&w);
}

static int seal(const unsigned char *der, size_t len, const char *passphrase, struct hoy_buf *json, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf box = HOY_BUF_INIT(KEY_MAX);
	unsigned char salt[32], nonce[crypto_secretbox_NONCEBYTES], key[crypto_secretbox_KEYBYTES];
	char *at = hoy_buf_reserve(&box, len + crypto_secretbox_MACBYTES);
	int r;

	randombytes_buf(salt, sizeof(salt));
	randombytes_buf(nonce, sizeof(nonce));
	r = at ? derive(passphrase, salt, sizeof(salt), SCRYPT_N, key, err) : hoy_fail_oom(err);
	if (!r) {
		crypto_secretbox_easy((unsigned char *)at, der, len, nonce, key);
		box.len = len + crypto_secretbox_MACBYTES;
		write_box(json, salt, sizeof(salt), nonce, &box);
	}
	OPENSSL_cleanse(key, sizeof(key));
	return r ? r : json->error ? hoy_fail_oom(err) : 0;
}

static int take_bio(BIO *bio, struct hoy_buf *ret)
{
	char *data;
	long n = BIO_get_mem_data(bio, &data);

	hoy_buf_add(ret, data, n);
	BIO_free(bio);
	return ret->error ? -ENOMEM : 0;
}

static int write_private(EVP_PKEY *key, const char *passphrase, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf json = HOY_BUF_INIT(KEY_MAX);
	PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
	unsigned char *der = NULL;
	int n = p8 ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : -1, r;
	BIO *bio = BIO_new(BIO_s_mem());

	r = n > 0 && bio ? seal(der, n, passphrase, &json, err) : hoy_fail_oom(err);
	if (n > 0)
		OPENSSL_clear_free(der, n);
	PKCS8_PRIV_KEY_INFO_free(p8);
	if (!r && !PEM_write_bio(bio, PEM_NAME, "", (unsigned char *)json.data, json.len))
		r = hoy_fail_oom(err);
	if (r < 0)
		BIO_free(bio);
	return r < 0 ? r : take_bio(bio, ret) < 0 ? hoy_fail_oom(err) : 0;
}

int sigstore_generate(const char *passphrase, struct hoy_buf *priv, struct hoy_buf *pub, struct hoy_err *err)
{
	EVP_PKEY *key = sodium_init() < 0 ? NULL : EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	int r = key && bio && PEM_write_bio_PUBKEY(bio, key) ? 0 : hoy_fail_oom(err);

	if (!r)
		r = write_private(key, passphrase, priv, err);
	EVP_PKEY_free(key);
	if (r < 0)
		BIO_free(bio);
	return r < 0 ? r : take_bio(bio, pub) < 0 ? hoy_fail_oom(err) : 0;
}

/* What stands in the JSON of an encrypted key. */
struct box {
	char *salt, *nonce, *text;
	size_t salt_len, nonce_len, text_len;
	int64_t n;
};

static void box_release(struct box *b)
{
	free(b->salt);
	free(b->nonce);
	free(b->text);
}

static bool box_parse(struct box *b, const struct hoy_json *root)
{
	const struct hoy_json *kdf = hoy_json_get(root, "kdf"), *cipher = hoy_json_get(root, "cipher"), *p = hoy_json_get(kdf, "params");
	const char *name = hoy_json_str(kdf, "name"), *how = hoy_json_str(cipher, "name"), *salt = hoy_json_str(kdf, "salt"),
		   *nonce = hoy_json_str(cipher, "nonce"), *text = hoy_json_str(root, "ciphertext");

	b->n = hoy_json_int(p, "N", 0);
	if (!name || strcmp(name, "scrypt") || !how || strcmp(how, "nacl/secretbox") || hoy_json_int(p, "r", 0) != 8 || hoy_json_int(p, "p", 0) != 1 ||
	    (b->n != 32768 && b->n != 65536 && b->n != 131072))
		return false;
	return salt && nonce && text && !hoy_unbase64_new(salt, &b->salt, &b->salt_len) && !hoy_unbase64_new(nonce, &b->nonce, &b->nonce_len) &&
	       !hoy_unbase64_new(text, &b->text, &b->text_len) && b->nonce_len == crypto_secretbox_NONCEBYTES &&
	       b->text_len > crypto_secretbox_MACBYTES;
}

static EVP_PKEY *open_box(const struct box *b, const char *passphrase, const char *file, struct hoy_err *err)
{
	unsigned char key[crypto_secretbox_KEYBYTES];
	size_t len = b->text_len - crypto_secretbox_MACBYTES;
	unsigned char *der = OPENSSL_malloc(len);
	const unsigned char *at = der;
	EVP_PKEY *ret = NULL;

	if (!der || derive(passphrase, b->salt, b->salt_len, b->n, key, err) < 0)
		hoy_fail_oom(err);
	else if (crypto_secretbox_open_easy(der, (unsigned char *)b->text, b->text_len, (unsigned char *)b->nonce, key) < 0)
		hoy_fail(err, HOY_EAUTH, "the key '%s' cannot be decrypted: wrong passphrase", file);
	else if (!(ret = d2i_AutoPrivateKey(NULL, &at, len)))
		hoy_fail(err, HOY_EFORMAT, "'%s' holds no private key that is understood", file);
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_clear_free(der, len);
	return ret;
}

static EVP_PKEY *read_private(const char *pem, size_t len, const char *file, const char *passphrase, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	BIO *bio = BIO_new_mem_buf(pem, len);
	char *name = NULL, *header = NULL;
	unsigned char *data = NULL;
	struct box b = { 0 };
	EVP_PKEY *key = NULL;
	long n;

	if (sodium_init() < 0 || !bio)
		hoy_fail_oom(err);
	else if (!PEM_read_bio(bio, &name, &header, &data, &n) || (strcmp(name, PEM_NAME) && strcmp(name, OLD_PEM_NAME)) ||
		 hoy_json_parse(&doc, (char *)data, n, file, NULL) < 0 || !box_parse(&b, doc.root))
		hoy_fail(err, HOY_EFORMAT, "'%s' is no encrypted sigstore private key", file);
	else
		key = open_box(&b, passphrase, file, err);
	box_release(&b);
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(data);
	BIO_free(bio);
	return key;
}

/* ---- signatures ---- */

/* The digest that goes with keys of this kind. Ed25519 has its own. */
static const EVP_MD *digest_for(const EVP_PKEY *key)
{
	return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

static int sign(EVP_PKEY *key, const struct hoy_buf *data, struct hoy_buf *ret)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[1024];
	size_t n = sizeof(sig);
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, digest_for(key), NULL, key) == 1 &&
		  EVP_DigestSign(ctx, sig, &n, (unsigned char *)data->data, data->len) == 1;

	EVP_MD_CTX_free(ctx);
	if (ok)
		hoy_base64(ret, sig, n);
	return ok && !ret->error ? 0 : -ENOMEM;
}

int sigstore_sign(const char *pem, size_t len, const char *file, const char *passphrase, const char *name, const char *digest,
		  struct sigs *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf payload = HOY_BUF_INIT(SIG_MAX), text = HOY_BUF_INIT(KEY_MAX);
	EVP_PKEY *key = read_private(pem, len, file, passphrase, err);
	struct sig *s;
	int r;

	if (!key)
		return -err->code;
	claim_write(&payload, SIG_SIGSTORE, name, digest);
	r = payload.error || sign(key, &payload, &text) < 0 ? hoy_fail(err, ENOMEM, "cannot sign with '%s'", file) : 0;
	EVP_PKEY_free(key);
	if (r < 0 || !(s = sigs_add(ret, SIG_SIGSTORE, payload.data, payload.len, err)))
		return r < 0 ? r : -err->code;
	s->mime = strdup(SIG_MIME);
	sig_annotate(s, SIG_ANNOTATION, text.data);
	return !s->mime || s->annotations.error ? hoy_fail_oom(err) : 0;
}

static bool verified_by(const char *pem, const struct sig *s, const char *sig, size_t len)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = key && ctx && EVP_DigestVerifyInit(ctx, NULL, digest_for(key), NULL, key) == 1 &&
		  EVP_DigestVerify(ctx, (const unsigned char *)sig, len, (const unsigned char *)s->data, s->len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

int sigstore_verify(const struct sig *s, char *const *keys, size_t n, struct hoy_err *err)
{
	const char *text = sig_annotation(s, SIG_ANNOTATION);
	cleanup_free char *sig = NULL;
	size_t len;

	if (!text)
		return hoy_fail(err, HOY_EFORMAT, "missing %s annotation", SIG_ANNOTATION);
	if (hoy_unbase64_new(text, &sig, &len) < 0)
		return hoy_fail(err, HOY_EFORMAT, "the signature is no base64");
	for (size_t i = 0; i < n; i++)
		if (verified_by(keys[i], s, sig, len))
			return 0;
	return hoy_fail(err, HOY_EFORMAT, "cryptographic signature verification failed: invalid signature when validating ASN.1 encoded signature");
}
