#include "cmd-image/transfer/crypt.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/keywrap.h"
#include "common/data/base64.h"

#define CIPHER "AES_256_CTR_HMAC_SHA256"
#define PUBOPTS CRYPT_NOTE "pubopts"

bool crypt_type(const char *type)
{
	size_t n = type ? strlen(type) : 0, e = strlen(CRYPT_ENDING);

	return n > e && !strcmp(type + n - e, CRYPT_ENDING);
}

char *crypt_inner_type(const char *type) { return strndup(type, strlen(type) - strlen(CRYPT_ENDING)); }

const struct hoy_json *crypt_opened(struct hoy_json_doc *doc, const struct hoy_json *d)
{
	struct hoy_json *notes;

	doc->root = d ? hoy_json_copy(doc, d) : hoy_json_new(doc, HOY_JSON_OBJECT);
	notes = doc->root ? hoy_json_need(doc, doc->root, "annotations", HOY_JSON_OBJECT) : NULL;
	if (!notes)
		return NULL;
	HOY_JSON_EACH(it, hoy_json_get(d, "annotations"))
		if (!strncmp(it->key, CRYPT_NOTE, strlen(CRYPT_NOTE)))
			hoy_json_unset(notes, it->key);
	if (!notes->child)
		hoy_json_unset(doc->root, "annotations");
	return doc->root;
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
	const char *cipher;
	int r;

	if (base64_json(hoy_json_str(annotations, PUBOPTS), &pub) < 0)
		return hoy_fail(err, HOY_EFORMAT, "the layer %s does not say how it is encrypted", digest);
	cipher = hoy_json_str(pub.root, "cipher");
	if (!cipher || strcmp(cipher, CIPHER))
		return hoy_fail(err, HOY_EUNSUPPORTED, "the layer %s is encrypted in a way that is not supported: '%.100s'", digest, cipher ? cipher : "");
	r = keywrap_open(o, annotations, digest, &priv, err);
	if (r < 0)
		return r;
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
		r = keywrap_seal(o, &priv, doc, annotations, err);
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
