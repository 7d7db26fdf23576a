#include "cmd-image/transfer/crypt.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/jwe.h"
#include "cmd-image/transfer/pkcs7.h"
#include "common/base/fd.h"
#include "common/data/base64.h"

#define KEY_FILE_MAX ((size_t)64 << 10)
#define CIPHER "AES_256_CTR_HMAC_SHA256"
#define ENC "org.opencontainers.image.enc."
#define PUBOPTS ENC "pubopts"
#define KEYS_JWE ENC "keys.jwe"
#define KEYS_PKCS7 ENC "keys.pkcs7"

bool crypt_annotation(const char *key) { return !strncmp(key, ENC, strlen(ENC)); }

void crypt_opts_release(struct crypt_opts *o)
{
	for (size_t i = 0; o->keys && i < o->decrypt.n; i++)
		EVP_PKEY_free(o->keys[i]);
	free(o->keys);
	o->keys = NULL;
	hoy_strv_release(&o->encrypt);
	hoy_strv_release(&o->layers);
	hoy_strv_release(&o->decrypt);
}

/* ---- keys in files ---- */

static EVP_PKEY *read_public(const char *data, size_t len)
{
	const unsigned char *p = (const unsigned char *)data;
	BIO *b = BIO_new_mem_buf(data, (int)len);
	EVP_PKEY *k = b ? PEM_read_bio_PUBKEY(b, NULL, NULL, NULL) : NULL;

	BIO_free(b);
	return k ? k : d2i_PUBKEY(NULL, &p, (long)len);
}

static EVP_PKEY *read_private(const char *data, size_t len, char *password)
{
	static char none[] = "";
	const unsigned char *p = (const unsigned char *)data;
	BIO *b = BIO_new_mem_buf(data, (int)len);
	EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, password ? password : none) : NULL;

	BIO_free(b);
	return k ? k : d2i_AutoPrivateKey(NULL, &p, (long)len);
}

static X509 *read_cert(const char *data, size_t len)
{
	const unsigned char *p = (const unsigned char *)data;
	BIO *b = BIO_new_mem_buf(data, (int)len);
	X509 *c = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;

	BIO_free(b);
	return c ? c : d2i_X509(NULL, &p, (long)len);
}

/* For whom something is encrypted: a public key, or a certificate. */
struct recipient {
	EVP_PKEY *key;
	X509 *cert;
};

static void recipient_release(struct recipient *r)
{
	EVP_PKEY_free(r->key);
	X509_free(r->cert);
}

static int load_public(const char *spec, struct recipient *ret, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	const char *colon = strchr(spec, ':');
	size_t len;
	int r;

	if (!colon || !colon[1])
		return hoy_fail(err, EINVAL, "'%s': an encryption key is PROTOCOL:FILE (jwe:/path/to/public.pem)", spec);
	if (strncmp(spec, "jwe:", 4) && strncmp(spec, "pkcs7:", 6))
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%.*s': this way to encrypt is not supported (jwe, pkcs7)", (int)(colon - spec), spec);
	r = hoy_read_file(AT_FDCWD, colon + 1, KEY_FILE_MAX, &data, &len, err);
	if (r < 0)
		return r;
	if (*spec == 'p')
		ret->cert = read_cert(data, len);
	else
		ret->key = read_public(data, len);
	return ret->key || ret->cert ? 0 : hoy_fail(err, HOY_EFORMAT, "'%s' has no %s (PEM or DER)", colon + 1, *spec == 'p' ? "certificate" : "public key");
}

/* What stands behind the file's name: "pass=TEXT", "file=FILE", "fd=N", or the password itself. */
static int password_of(const char *text, char **ret, struct hoy_err *err)
{
	size_t len;
	int r = 0;

	if (!strncmp(text, "file=", 5))
		r = hoy_read_file(AT_FDCWD, text + 5, KEY_FILE_MAX, ret, &len, err);
	else if (!strncmp(text, "fd=", 3))
		r = hoy_read_fd(atoi(text + 3), "password", KEY_FILE_MAX, ret, &len, err);
	else
		*ret = strdup(text + (strncmp(text, "pass=", 5) ? 0 : 5));
	if (!r && *ret)
		(*ret)[strcspn(*ret, "\r\n")] = '\0';
	return r ? r : *ret ? 0 : hoy_fail_oom(err);
}

static int load_private(const char *spec, EVP_PKEY **ret, struct hoy_err *err)
{
	cleanup_free char *path = strndup(spec, strcspn(spec, ":")), *data = NULL, *password = NULL;
	const char *colon = strchr(spec, ':');
	size_t len = 0;
	int r = path ? 0 : hoy_fail_oom(err);

	if (!r && colon)
		r = password_of(colon + 1, &password, err);
	if (!r)
		r = hoy_read_file(AT_FDCWD, path, KEY_FILE_MAX, &data, &len, err);
	if (!r) {
		X509 *cert = NULL;

		*ret = read_private(data, len, password);
		r = *ret || (cert = read_cert(data, len)) ? 0 : hoy_fail(err, HOY_EFORMAT, "'%s' has no private key that can be read%s", path,
					!password && strstr(data, "ENCRYPTED") ? ": it needs a password (FILE:PASSWORD, FILE:file=FILE)" : "");
		X509_free(cert);
	}
	if (data)
		OPENSSL_cleanse(data, len);
	if (password)
		OPENSSL_cleanse(password, strlen(password));
	return r;
}

int crypt_load(struct crypt_opts *o, struct hoy_err *err)
{
	int r = 0;

	if (o->encrypt.n && o->decrypt.n)
		return hoy_fail(err, EINVAL, "--encryption-key and --decryption-key cannot be specified together");
	if (o->layers.n && !o->encrypt.n)
		return hoy_fail(err, EINVAL, "--encrypt-layer can only be used with --encryption-key");
	for (size_t i = 0; i < o->encrypt.n && !r; i++) {
		struct recipient to = { NULL, NULL };

		r = load_public(o->encrypt.v[i], &to, err);
		recipient_release(&to);
	}
	o->keys = r ? NULL : calloc(o->decrypt.n + 1, sizeof(*o->keys));
	if (!r && !o->keys)
		r = hoy_fail_oom(err);
	for (size_t i = 0; i < o->decrypt.n && !r; i++) {
		EVP_PKEY *k = NULL;

		r = load_private(o->decrypt.v[i], &k, err);
		o->keys[i] = k;
	}
	for (size_t i = 0; i < o->layers.n && !r; i++) {
		char *end;

		(void)strtol(o->layers.v[i], &end, 10);
		if (!*o->layers.v[i] || *end)
			r = hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--encrypt-layer\" flag: not a number", o->layers.v[i]);
	}
	return r;
}

int crypt_wanted(const struct crypt_opts *o, size_t i, size_t n, struct hoy_err *err)
{
	bool wanted = o->encrypt.n && !o->layers.n;

	for (size_t k = 0; k < o->layers.n; k++) {
		long at = strtol(o->layers.v[k], NULL, 10);

		if (at < 0)
			at += (long)n;
		if (at < 0 || at >= (long)n)
			return hoy_fail(err, EINVAL, "there is no layer %s to be encrypted: the image has %zu", o->layers.v[k], n);
		wanted = wanted || at == (long)i;
	}
	return wanted;
}

/* ---- the layer's key ---- */

void layer_key_forget(struct layer_key *k) { OPENSSL_cleanse(k, sizeof(*k)); }

/* The member KEY of OBJ, base64 of exactly N bytes. */
static bool bytes_of(const struct hoy_json *obj, const char *key, unsigned char *ret, size_t n)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(KEY_FILE_MAX);
	const char *text = hoy_json_str(obj, key);

	if (!text || hoy_unbase64(&b, text, strlen(text)) < 0 || b.len != n)
		return false;
	memcpy(ret, b.data, n);
	OPENSSL_cleanse(b.data, b.len);
	return true;
}

static int base64_json(const char *text, struct hoy_json_doc *ret)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(KEY_FILE_MAX);

	return text && !hoy_unbase64(&b, text, strlen(text)) && !hoy_json_parse(ret, hoy_buf_str(&b), b.len, "annotation", NULL) ? 0 : -EINVAL;
}

/* One of the packets in LIST, which are separated by commas, opened by KEY; -ENOENT. */
static int open_packets(const char *list, int (*open_one)(EVP_PKEY *, const char *, size_t, struct hoy_buf *), EVP_PKEY *key, struct hoy_buf *ret)
{
	cleanup_strv struct hoy_strv v = HOY_STRV_INIT;
	int r = -ENOENT;

	hoy_strv_split(&v, list, ',');
	for (size_t i = 0; i < v.n && r < 0; i++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(KEY_FILE_MAX);

		if (!hoy_unbase64(&b, v.v[i], strlen(v.v[i])))
			r = open_one(key, hoy_buf_str(&b), b.len, ret);
	}
	return r < 0 ? -ENOENT : 0;
}

static int take_key(struct layer_key *ret, const struct hoy_json *pub, const struct hoy_buf *priv)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

	if (hoy_json_parse(&doc, hoy_buf_str(priv), priv->len, "key", NULL) < 0 || !bytes_of(doc.root, "symkey", ret->key, sizeof(ret->key)) ||
	    !bytes_of(pub, "hmac", ret->hmac, sizeof(ret->hmac)))
		return -EINVAL;
	return bytes_of(hoy_json_get(pub, "cipheroptions"), "nonce", ret->nonce, sizeof(ret->nonce)) ||
		       bytes_of(hoy_json_get(doc.root, "cipheroptions"), "nonce", ret->nonce, sizeof(ret->nonce)) ? 0 : -EINVAL;
}

int layer_key_open(struct layer_key *ret, const struct crypt_opts *o, const struct hoy_json *annotations, const char *digest, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc pub = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf priv = HOY_BUF_INIT(KEY_FILE_MAX);
	const char *jwe = hoy_json_str(annotations, KEYS_JWE), *pkcs7 = hoy_json_str(annotations, KEYS_PKCS7), *cipher;
	int r = -ENOENT;

	if (base64_json(hoy_json_str(annotations, PUBOPTS), &pub) < 0)
		return hoy_fail(err, HOY_EFORMAT, "the layer %s does not say how it is encrypted", digest);
	cipher = hoy_json_str(pub.root, "cipher");
	if (!cipher || strcmp(cipher, CIPHER))
		return hoy_fail(err, HOY_EUNSUPPORTED, "the layer %s is encrypted in a way that is not supported: '%.100s'", digest, cipher ? cipher : "");
	if (!jwe && !pkcs7)
		return hoy_fail(err, HOY_EUNSUPPORTED, "the layer %s is encrypted for no key of the kinds that are supported (jwe, pkcs7)", digest);
	for (size_t i = 0; i < o->decrypt.n && r == -ENOENT; i++)
		if (o->keys[i]) {
			r = jwe ? open_packets(jwe, jwe_open, o->keys[i], &priv) : -ENOENT;
			if (r < 0 && pkcs7)
				r = open_packets(pkcs7, pkcs7_open, o->keys[i], &priv);
		}
	if (r < 0)
		return hoy_fail(err, EACCES, "no key that was given opens the layer %s (--decryption-key)", digest);
	r = take_key(ret, pub.root, &priv);
	OPENSSL_cleanse(priv.data, priv.len);
	return r < 0 ? hoy_fail(err, HOY_EFORMAT, "the key of the layer %s is malformed", digest) : 0;
}

/* ---- the cipher ---- */

struct cipher {
	EVP_CIPHER_CTX *ctr;
	EVP_MAC_CTX *mac;
};

static void cipher_release(struct cipher *c)
{
	EVP_CIPHER_CTX_free(c->ctr);
	EVP_MAC_CTX_free(c->mac);
}

static EVP_MAC_CTX *new_mac(void)
{
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *c = hmac ? EVP_MAC_CTX_new(hmac) : NULL;

	EVP_MAC_free(hmac);
	return c;
}

static int cipher_start(struct cipher *c, const struct layer_key *k)
{
	const OSSL_PARAM how[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0), OSSL_PARAM_construct_end() };

	if (!c->ctr)
		c->ctr = EVP_CIPHER_CTX_new();
	if (!c->mac)
		c->mac = new_mac();
	return c->ctr && c->mac && EVP_EncryptInit_ex(c->ctr, EVP_aes_256_ctr(), NULL, k->key, k->nonce) &&
		       EVP_MAC_init(c->mac, k->key, sizeof(k->key), how) ? 0 : -ENOMEM;
}

struct encryptor {
	struct layer_key k;
	struct cipher c;
	struct sha plain;
	char digest[SHA_DIGEST_SIZE];
};

void encryptor_free(struct encryptor *e)
{
	if (!e)
		return;
	cipher_release(&e->c);
	sha_release(&e->plain);
	layer_key_forget(&e->k);
	free(e);
}

int encryptor_new(struct encryptor **ret, struct hoy_err *err)
{
	struct encryptor *e = calloc(1, sizeof(*e));

	if (!e)
		return hoy_fail_oom(err);
	if (RAND_bytes(e->k.key, sizeof(e->k.key)) <= 0 || RAND_bytes(e->k.nonce, sizeof(e->k.nonce)) <= 0) {
		encryptor_free(e);
		return hoy_fail(err, EIO, "there are no random numbers for a key");
	}
	*ret = e;
	return 0;
}

int encryptor_restart(struct encryptor *e, struct hoy_err *err)
{
	sha_release(&e->plain);
	e->plain = (struct sha){ NULL };
	return cipher_start(&e->c, &e->k) < 0 || sha_init(&e->plain) < 0 ? hoy_fail_oom(err) : 0;
}

int encryptor_add(struct encryptor *e, const void *in, size_t n, unsigned char *out, struct hoy_err *err)
{
	int len;

	sha_add(&e->plain, in, n);
	if (!EVP_EncryptUpdate(e->c.ctr, out, &len, in, (int)n) || !EVP_MAC_update(e->c.mac, out, n))
		return hoy_fail(err, EIO, "a layer cannot be encrypted");
	return 0;
}

static void put_bytes(struct hoy_jw *w, const char *key, const void *data, size_t n)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(KEY_FILE_MAX);

	hoy_base64(&b, data, n);
	hoy_jw_string(w, key, hoy_buf_str(&b));
}

static void write_private(struct hoy_buf *b, const struct encryptor *e)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);

	hoy_jw_object(&w, NULL);
	put_bytes(&w, "symkey", e->k.key, sizeof(e->k.key));
	hoy_jw_string(&w, "digest", e->digest);
	hoy_jw_object(&w, "cipheroptions");
	put_bytes(&w, "nonce", e->k.nonce, sizeof(e->k.nonce));
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
}

static void write_public(struct hoy_buf *b, const struct encryptor *e)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "cipher", CIPHER);
	put_bytes(&w, "hmac", e->k.hmac, sizeof(e->k.hmac));
	hoy_jw_object(&w, "cipheroptions");
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
}

/* DATA for the keys of the kind that PREFIX ("jwe:") says, as one annotation: packets with commas between them. Without any, none. */
static int put_keys(const struct crypt_opts *o, const char *prefix, const struct hoy_buf *data, const char *name, struct hoy_json_doc *doc,
		    struct hoy_json *annotations, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf all = HOY_BUF_INIT(1 << 20);
	int r = 0;

	for (size_t i = 0; i < o->encrypt.n && !r; i++) {
		cleanup_buf struct hoy_buf one = HOY_BUF_INIT(KEY_FILE_MAX);
		struct recipient to = { NULL, NULL };

		if (strncmp(o->encrypt.v[i], prefix, strlen(prefix)))
			continue;
		r = load_public(o->encrypt.v[i], &to, err);
		if (!r)
			r = to.cert ? pkcs7_seal(to.cert, hoy_buf_str(data), data->len, &one, err) : jwe_seal(to.key, hoy_buf_str(data), data->len, &one, err);
		recipient_release(&to);
		if (all.len)
			hoy_buf_putc(&all, ',');
		hoy_base64(&all, hoy_buf_str(&one), one.len);
	}
	if (!r && all.len && (all.error || !hoy_json_set_string(doc, annotations, name, hoy_buf_str(&all))))
		r = hoy_fail_oom(err);
	return r;
}

int encryptor_end(struct encryptor *e, const struct crypt_opts *o, struct hoy_json_doc *doc, struct hoy_json *annotations, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf priv = HOY_BUF_INIT(KEY_FILE_MAX), pub = HOY_BUF_INIT(KEY_FILE_MAX), text = HOY_BUF_INIT(1 << 20);
	size_t n;
	int r = EVP_MAC_final(e->c.mac, e->k.hmac, &n, sizeof(e->k.hmac)) ? 0 : hoy_fail(err, EIO, "a layer cannot be encrypted");

	sha_end(&e->plain, e->digest);
	e->plain = (struct sha){ NULL };
	write_private(&priv, e);
	write_public(&pub, e);
	if (!r)
		r = put_keys(o, "jwe:", &priv, KEYS_JWE, doc, annotations, err);
	if (!r)
		r = put_keys(o, "pkcs7:", &priv, KEYS_PKCS7, doc, annotations, err);
	hoy_base64(&text, hoy_buf_str(&pub), pub.len);
	if (priv.data)
		OPENSSL_cleanse(priv.data, priv.len);
	if (r < 0)
		return r;
	return text.error || !hoy_json_set_string(doc, annotations, PUBOPTS, hoy_buf_str(&text)) ? hoy_fail_oom(err) : 0;
}

/* ---- reading ---- */

struct decrypting {
	struct stream s, *in;
	struct cipher c;
	unsigned char want[32], buf[1 << 16];
	size_t at, fill;
	bool ended;
	const char *digest;
};

static ssize_t de_end(struct decrypting *x, struct hoy_err *err)
{
	unsigned char have[32];
	size_t n;

	if (!x->ended && (!EVP_MAC_final(x->c.mac, have, &n, sizeof(have)) || CRYPTO_memcmp(have, x->want, sizeof(have))))
		return hoy_fail(err, HOY_EDIGEST, "the layer %s was changed after it was encrypted: its HMAC is not right", x->digest);
	x->ended = true;
	return 0;
}

static ssize_t de_peek(struct stream *s, const unsigned char **ret, struct hoy_err *err)
{
	struct decrypting *x = (struct decrypting *)s;
	const unsigned char *p;
	ssize_t n;
	int len;

	if (x->at == x->fill) {
		n = stream_peek(x->in, &p, err);
		if (n <= 0)
			return n ? n : de_end(x, err);
		n = n < (ssize_t)sizeof(x->buf) ? n : (ssize_t)sizeof(x->buf);
		if (!EVP_MAC_update(x->c.mac, p, n) || !EVP_EncryptUpdate(x->c.ctr, x->buf, &len, p, (int)n))
			return hoy_fail(err, EIO, "the layer %s cannot be decrypted", x->digest);
		stream_take(x->in, n);
		x->at = 0;
		x->fill = n;
	}
	*ret = x->buf + x->at;
	return (ssize_t)(x->fill - x->at);
}

static void de_take(struct stream *s, size_t n) { ((struct decrypting *)s)->at += n; }

static void de_free(struct stream *s)
{
	struct decrypting *x = (struct decrypting *)s;

	stream_free(x->in);
	cipher_release(&x->c);
	free(x);
}

struct stream *decrypt_stream(struct stream *in, const struct layer_key *k, const char *digest, struct hoy_err *err)
{
	struct decrypting *x = calloc(1, sizeof(*x));

	if (!x) {
		stream_free(in);
		hoy_fail_oom(err);
		return NULL;
	}
	x->s = (struct stream){ de_peek, de_take, de_free, NULL };
	x->in = in;
	x->digest = digest;
	memcpy(x->want, k->hmac, sizeof(x->want));
	if (!cipher_start(&x->c, k))
		return &x->s;
	de_free(&x->s);
	hoy_fail_oom(err);
	return NULL;
}
