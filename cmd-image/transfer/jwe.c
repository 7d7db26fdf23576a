#include "cmd-image/transfer/jwe.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

#include "common/base/err.h"
#include "common/data/base64.h"
#include "common/data/json.h"

#define CEK 32
#define IV 12
#define TAG 16
#define WRAPPED_MAX 1024
#define POINT_MAX 66 /* bytes of a coordinate of P-521 */
#define PART_MAX ((size_t)1 << 20)

/* ---- base64url ---- */

static void encode(struct hoy_buf *b, const void *data, size_t len)
{
	cleanup_buf struct hoy_buf t = HOY_BUF_INIT(2 * PART_MAX);

	hoy_base64(&t, data, len);
	for (const char *p = hoy_buf_str(&t); *p && *p != '='; p++)
		hoy_buf_putc(b, *p == '+' ? '-' : *p == '/' ? '_' : *p);
	if (t.error)
		b->error = t.error;
}

static int decode(const char *text, struct hoy_buf *ret)
{
	cleanup_buf struct hoy_buf t = HOY_BUF_INIT(2 * PART_MAX);

	if (!text)
		return -EINVAL;
	for (; *text; text++)
		hoy_buf_putc(&t, *text == '-' ? '+' : *text == '_' ? '/' : *text);
	while (t.len % 4)
		hoy_buf_putc(&t, '=');
	return t.error ? -t.error : hoy_unbase64(ret, hoy_buf_str(&t), t.len);
}

/* ---- content: AES-256-GCM ---- */

static bool gcm(bool seal, const unsigned char *key, const unsigned char *iv, const char *aad, const unsigned char *in, size_t len, unsigned char *out,
		unsigned char *tag)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n;
	bool good = c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, iv, seal) && EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)aad, (int)strlen(aad)) &&
		    EVP_CipherUpdate(c, out, &n, in, (int)len) && (seal || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag)) &&
		    EVP_CipherFinal_ex(c, out + n, &n) > 0 && (!seal || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, tag));

	EVP_CIPHER_CTX_free(c);
	return good;
}

/* ---- the key: RSA-OAEP ---- */

static size_t rsa(bool seal, EVP_PKEY *key, const unsigned char *in, size_t len, unsigned char out[WRAPPED_MAX])
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	size_t n = WRAPPED_MAX;
	bool good = c && (seal ? EVP_PKEY_encrypt_init(c) : EVP_PKEY_decrypt_init(c)) > 0 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) > 0 &&
		    (seal ? EVP_PKEY_encrypt(c, out, &n, in, len) : EVP_PKEY_decrypt(c, out, &n, in, len)) > 0;

	EVP_PKEY_CTX_free(c);
	return good ? n : 0;
}

/* ---- the key: ECDH-ES+A256KW ---- */

static const struct { const char *group, *crv; size_t size; } curves[] = {
	{ "prime256v1", "P-256", 32 }, { "secp384r1", "P-384", 48 }, { "secp521r1", "P-521", 66 },
};

static int curve_of(EVP_PKEY *key)
{
	char name[64];
	size_t n;

	if (EVP_PKEY_get_group_name(key, name, sizeof(name), &n) > 0)
		for (size_t i = 0; i < ARRAY_SIZE(curves); i++)
			if (!strcmp(name, curves[i].group))
				return i;
	return -1;
}

/* What both sides can work out, as a key (RFC 7518, 4.6.2, with nothing said of the parties). */
static bool agree(EVP_PKEY *mine, EVP_PKEY *theirs, unsigned char ret[CEK])
{
	static const char alg[] = "ECDH-ES+A256KW";
	unsigned char text[4 + POINT_MAX + 4 + sizeof(alg) - 1 + 4 + 4 + 4] = { 0, 0, 0, 1 }, *p;
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(mine, NULL);
	size_t n = POINT_MAX;
	unsigned size;
	bool good = c && EVP_PKEY_derive_init(c) > 0 && EVP_PKEY_derive_set_peer(c, theirs) > 0 && EVP_PKEY_derive(c, text + 4, &n) > 0;

	EVP_PKEY_CTX_free(c);
	if (!good)
		return false;
	p = text + 4 + n;
	memset(p, 0, text + sizeof(text) - p);
	p[3] = sizeof(alg) - 1;
	memcpy(p + 4, alg, sizeof(alg) - 1);
	p += 4 + sizeof(alg) - 1 + 4 + 4; /* and two empty names of parties */
	p[2] = 1; /* 256 bits */
	good = EVP_Digest(text, p + 4 - text, ret, &size, EVP_sha256(), NULL);
	OPENSSL_cleanse(text, sizeof(text));
	return good;
}

static size_t wrap(bool seal, const unsigned char kek[CEK], const unsigned char *in, size_t len, unsigned char out[WRAPPED_MAX])
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0, more = 0;
	bool good;

	if (c)
		EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	good = c && EVP_CipherInit_ex(c, EVP_aes_256_wrap(), NULL, kek, NULL, seal) && EVP_CipherUpdate(c, out, &n, in, (int)len) > 0 &&
	       EVP_CipherFinal_ex(c, out + n, &more) > 0;
	EVP_CIPHER_CTX_free(c);
	return good ? (size_t)(n + more) : 0;
}

/* The point of a key for one use, as JSON Web Keys have it, and the CEK wrapped by what KEY and it agree upon. */
static size_t ec_seal(EVP_PKEY *key, const unsigned char cek[CEK], struct hoy_buf *epk, unsigned char out[WRAPPED_MAX])
{
	int curve = curve_of(key);
	EVP_PKEY *mine = curve < 0 ? NULL : EVP_EC_gen(curves[curve].group);
	unsigned char point[1 + 2 * POINT_MAX], kek[CEK];
	size_t n = 0, size = curve < 0 ? 0 : curves[curve].size;

	if (mine && EVP_PKEY_get_octet_string_param(mine, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &n) && n == 1 + 2 * size &&
	    agree(mine, key, kek)) {
		hoy_buf_printf(epk, "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"", curves[curve].crv);
		encode(epk, point + 1, size);
		hoy_buf_puts(epk, "\",\"y\":\"");
		encode(epk, point + 1 + size, size);
		hoy_buf_puts(epk, "\"}");
		n = wrap(true, kek, cek, CEK, out);
	} else {
		n = 0;
	}
	OPENSSL_cleanse(kek, sizeof(kek));
	EVP_PKEY_free(mine);
	return n;
}

/* The point that EPK is, on the curve of KEY. */
static EVP_PKEY *point_of(EVP_PKEY *key, const struct hoy_json *epk)
{
	int curve = curve_of(key);
	const char *crv = hoy_json_str(epk, "crv");
	cleanup_buf struct hoy_buf x = HOY_BUF_INIT(1024), y = HOY_BUF_INIT(1024);
	unsigned char point[1 + 2 * POINT_MAX] = { 4 };
	size_t size = curve < 0 ? 0 : curves[curve].size;
	EVP_PKEY *ret = EVP_PKEY_new();

	if (curve < 0 || !ret || !crv || strcmp(crv, curves[curve].crv) || decode(hoy_json_str(epk, "x"), &x) < 0 || decode(hoy_json_str(epk, "y"), &y) < 0 ||
	    x.len > size || y.len > size) {
		EVP_PKEY_free(ret);
		return NULL;
	}
	memcpy(point + 1 + size - x.len, x.data, x.len);
	memcpy(point + 1 + 2 * size - y.len, y.data, y.len);
	/* Fails for what is no point of the curve. */
	if (EVP_PKEY_copy_parameters(ret, key) && EVP_PKEY_set1_encoded_public_key(ret, point, 1 + 2 * size) > 0)
		return ret;
	EVP_PKEY_free(ret);
	return NULL;
}

static size_t ec_open(EVP_PKEY *key, const struct hoy_json *epk, const struct hoy_buf *wrapped, unsigned char out[WRAPPED_MAX])
{
	EVP_PKEY *theirs = point_of(key, epk);
	unsigned char kek[CEK];
	size_t n = theirs && wrapped->len < WRAPPED_MAX && agree(key, theirs, kek) ?
			   wrap(false, kek, (unsigned char *)wrapped->data, wrapped->len, out) : 0;

	OPENSSL_cleanse(kek, sizeof(kek));
	EVP_PKEY_free(theirs);
	return n;
}

/* ---- the whole ---- */

int jwe_seal(EVP_PKEY *key, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf header = HOY_BUF_INIT(PART_MAX), aad = HOY_BUF_INIT(PART_MAX), epk = HOY_BUF_INIT(PART_MAX), out = HOY_BUF_INIT(PART_MAX);
	bool is_rsa = EVP_PKEY_is_a(key, "RSA");
	unsigned char cek[CEK], iv[IV], tag[TAG], wrapped[WRAPPED_MAX];
	char *room = hoy_buf_reserve(&out, len + 1);
	size_t n = 0;

	if (RAND_bytes(cek, CEK) > 0 && RAND_bytes(iv, IV) > 0)
		n = is_rsa ? rsa(true, key, cek, CEK, wrapped) : ec_seal(key, cek, &epk, wrapped);
	hoy_buf_printf(&header, "{\"alg\":\"%s\",\"enc\":\"A256GCM\"", is_rsa ? "RSA-OAEP" : "ECDH-ES+A256KW");
	if (epk.len)
		hoy_buf_printf(&header, ",\"epk\":%s", hoy_buf_str(&epk));
	hoy_buf_puts(&header, "}");
	encode(&aad, hoy_buf_str(&header), header.len);
	if (!n || !room || aad.error || !gcm(true, cek, iv, hoy_buf_str(&aad), data, len, (unsigned char *)room, tag)) {
		OPENSSL_cleanse(cek, sizeof(cek));
		return hoy_fail(err, HOY_EUNSUPPORTED, "nothing can be encrypted with that key (RSA, or EC on P-256, P-384 or P-521)");
	}
	OPENSSL_cleanse(cek, sizeof(cek));
	hoy_buf_printf(ret, "{\"protected\":\"%s\",\"encrypted_key\":\"", hoy_buf_str(&aad));
	encode(ret, wrapped, n);
	hoy_buf_puts(ret, "\",\"iv\":\"");
	encode(ret, iv, IV);
	hoy_buf_puts(ret, "\",\"ciphertext\":\"");
	encode(ret, room, len);
	hoy_buf_puts(ret, "\",\"tag\":\"");
	encode(ret, tag, TAG);
	hoy_buf_puts(ret, "\"}");
	return ret->error ? hoy_fail_oom(err) : 0;
}

/* The member KEY of the headers that hold for a recipient. */
static const struct hoy_json *of_headers(const struct hoy_json *whole, const struct hoy_json *protected_, const struct hoy_json *recipient, const char *key)
{
	const struct hoy_json *v = hoy_json_get(protected_, key);

	if (!v)
		v = hoy_json_get(hoy_json_get(recipient, "header"), key);
	return v ? v : hoy_json_get(hoy_json_get(whole, "unprotected"), key);
}

/* The CEK that RECIPIENT of WHOLE has for KEY; its length or 0. */
static size_t unwrap(EVP_PKEY *key, const struct hoy_json *whole, const struct hoy_json *header, const struct hoy_json *recipient,
		     unsigned char ret[WRAPPED_MAX])
{
	cleanup_buf struct hoy_buf wrapped = HOY_BUF_INIT(PART_MAX);
	const char *alg = hoy_json_text(of_headers(whole, header, recipient, "alg"));

	if (!alg || decode(hoy_json_str(recipient, "encrypted_key"), &wrapped) < 0)
		return 0;
	if (!strcmp(alg, "RSA-OAEP") && EVP_PKEY_is_a(key, "RSA"))
		return rsa(false, key, (unsigned char *)wrapped.data, wrapped.len, ret);
	if (!strcmp(alg, "ECDH-ES+A256KW") && EVP_PKEY_is_a(key, "EC"))
		return ec_open(key, of_headers(whole, header, recipient, "epk"), &wrapped, ret);
	return 0;
}

static int open_content(const struct hoy_json *root, const unsigned char cek[CEK], struct hoy_buf *ret)
{
	cleanup_buf struct hoy_buf iv = HOY_BUF_INIT(PART_MAX), text = HOY_BUF_INIT(PART_MAX), tag = HOY_BUF_INIT(PART_MAX);
	char *room;

	if (decode(hoy_json_str(root, "iv"), &iv) < 0 || decode(hoy_json_str(root, "ciphertext"), &text) < 0 || decode(hoy_json_str(root, "tag"), &tag) < 0 ||
	    iv.len != IV || tag.len != TAG)
		return -HOY_EFORMAT;
	room = hoy_buf_reserve(ret, text.len + 1);
	if (!room)
		return -ENOMEM;
	if (!gcm(false, cek, (unsigned char *)iv.data, hoy_json_str(root, "protected") ?: "", (unsigned char *)text.data, text.len, (unsigned char *)room,
		 (unsigned char *)tag.data))
		return -ENOENT;
	ret->len += text.len;
	ret->data[ret->len] = '\0';
	return 0;
}

int jwe_open(EVP_PKEY *key, const char *text, size_t len, struct hoy_buf *ret)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT, header = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf h = HOY_BUF_INIT(PART_MAX);
	unsigned char cek[WRAPPED_MAX];
	const struct hoy_json *all;
	size_t n = 0;
	int r;

	if (hoy_json_parse(&doc, text, len, "JWE", NULL) < 0 || decode(hoy_json_str(doc.root, "protected"), &h) < 0 ||
	    hoy_json_parse(&header, hoy_buf_str(&h), h.len, "JWE", NULL) < 0)
		return -HOY_EFORMAT;
	all = hoy_json_get(doc.root, "recipients");
	if (!all)
		n = unwrap(key, doc.root, header.root, doc.root, cek);
	HOY_JSON_EACH(it, all)
		if (!n)
			n = unwrap(key, doc.root, header.root, it, cek);
	r = n != CEK || strcmp(hoy_json_text(hoy_json_get(header.root, "enc")) ?: "", "A256GCM") ? -ENOENT : open_content(doc.root, cek, ret);
	OPENSSL_cleanse(cek, sizeof(cek));
	return r;
}
