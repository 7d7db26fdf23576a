#include "cmd-image/transfer/pkcs7.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/pkcs7.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/err.h"

#define KEY_MAX 1024
#define TAG 16

int pkcs7_seal(X509 *cert, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err)
{
	STACK_OF(X509) *to = sk_X509_new_null();
	BIO *in = BIO_new_mem_buf(data, (int)len);
	unsigned char *der = NULL;
	PKCS7 *p7 = NULL;
	int n = 0;

	/* ocicrypt's own are in GCM, which PKCS #7 doesn't know; it reads these as well. The layer has an HMAC of its own. */
	if (to && in && sk_X509_push(to, cert))
		p7 = PKCS7_encrypt(to, in, EVP_aes_256_cbc(), PKCS7_BINARY);
	if (p7)
		n = i2d_PKCS7(p7, &der);
	if (n > 0)
		hoy_buf_add(ret, der, n);
	OPENSSL_free(der);
	PKCS7_free(p7);
	BIO_free(in);
	sk_X509_free(to);
	return n <= 0 ? hoy_fail(err, HOY_EUNSUPPORTED, "nothing can be encrypted for that certificate (RSA)") : ret->error ? hoy_fail_oom(err) : 0;
}

/* The content's key, as KEY can decrypt it for a recipient; its length or 0. */
static size_t content_key(EVP_PKEY *key, const PKCS7_RECIP_INFO *ri, unsigned char ret[KEY_MAX])
{
	const ASN1_OCTET_STRING *wrapped = ri->enc_key;
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	size_t n = KEY_MAX;
	bool good = c && wrapped && EVP_PKEY_decrypt_init(c) > 0 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) > 0 &&
		    EVP_PKEY_decrypt(c, ret, &n, ASN1_STRING_get0_data(wrapped), ASN1_STRING_length(wrapped)) > 0;

	EVP_PKEY_CTX_free(c);
	return good ? n : 0;
}

/*
 * ocicrypt's library writes the parameters of GCM as a SEQUENCE that isn't marked as made of parts, which no decoder of DER takes. It
 * stands behind the name of the cipher, 2.16.840.1.101.3.4.1.N; there the mark is put in.
 */
static void mend(unsigned char *der, size_t len)
{
	static const unsigned char aes[] = { 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01 };

	for (size_t i = 0; i + sizeof(aes) + 2 <= len; i++)
		if (!memcmp(der + i, aes, sizeof(aes)) && der[i + sizeof(aes) + 1] == 0x10) {
			der[i + sizeof(aes) + 1] = 0x30;
			return;
		}
}

/* The nonce of that GCM: SEQUENCE { SEQUENCE { [4] nonce, INTEGER length of the tag } }. */
static bool gcm_nonce(const ASN1_TYPE *params, unsigned char ret[12])
{
	const unsigned char *p = params && params->type == V_ASN1_SEQUENCE ? ASN1_STRING_get0_data(params->value.sequence) : NULL;
	int n = p ? ASN1_STRING_length(params->value.sequence) : 0;

	if (n < 6 + 12 || p[0] != 0x30 || p[2] != 0x30 || p[4] != 0x84 || p[5] != 12)
		return false;
	memcpy(ret, p + 6, 12);
	return true;
}

static bool open_gcm(const EVP_CIPHER *cipher, const unsigned char *key, const ASN1_TYPE *params, const unsigned char *in, int len, unsigned char *out,
		     int *ret_len)
{
	unsigned char nonce[12];
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0;
	bool good = c && len >= TAG && gcm_nonce(params, nonce) && EVP_DecryptInit_ex(c, cipher, NULL, key, nonce) &&
		    EVP_DecryptUpdate(c, out, ret_len, in, len - TAG) && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, (void *)(in + len - TAG)) &&
		    EVP_DecryptFinal_ex(c, out + *ret_len, &n) > 0;

	EVP_CIPHER_CTX_free(c);
	return good;
}

static bool open_cbc(const EVP_CIPHER *cipher, const unsigned char *key, const ASN1_TYPE *params, const unsigned char *in, int len, unsigned char *out,
		     int *ret_len)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0;
	bool good = c && params && params->type == V_ASN1_OCTET_STRING && ASN1_STRING_length(params->value.octet_string) == EVP_CIPHER_get_iv_length(cipher) &&
		    EVP_DecryptInit_ex(c, cipher, NULL, key, ASN1_STRING_get0_data(params->value.octet_string)) &&
		    EVP_DecryptUpdate(c, out, ret_len, in, len) && EVP_DecryptFinal_ex(c, out + *ret_len, &n) > 0;

	*ret_len += n;
	EVP_CIPHER_CTX_free(c);
	return good;
}

/* The content, by KEY of N bytes. */
static int open_content(const PKCS7_ENC_CONTENT *ec, const unsigned char *key, size_t n, struct hoy_buf *ret)
{
	const EVP_CIPHER *cipher = ec->algorithm ? EVP_get_cipherbyobj(ec->algorithm->algorithm) : NULL;
	const ASN1_OCTET_STRING *text = ec->enc_data;
	const unsigned char *p = text ? ASN1_STRING_get0_data(text) : NULL;
	int len = text ? ASN1_STRING_length(text) : 0, got = 0;
	bool gcm = cipher && EVP_CIPHER_get_mode(cipher) == EVP_CIPH_GCM_MODE;
	char *room;

	if (!cipher || !p || len > (1 << 20) || (size_t)EVP_CIPHER_get_key_length(cipher) != n || (!gcm && EVP_CIPHER_get_mode(cipher) != EVP_CIPH_CBC_MODE))
		return -ENOENT;
	room = hoy_buf_reserve(ret, len + EVP_MAX_BLOCK_LENGTH + 1);
	if (!room)
		return -ENOMEM;
	if (!(gcm ? open_gcm : open_cbc)(cipher, key, ec->algorithm->parameter, p, len, (unsigned char *)room, &got))
		return -ENOENT;
	ret->len += got;
	ret->data[ret->len] = '\0';
	return 0;
}

int pkcs7_open(EVP_PKEY *key, const char *data, size_t len, struct hoy_buf *ret)
{
	cleanup_free unsigned char *der = malloc(len + 1);
	const unsigned char *p = der;
	PKCS7 *p7 = NULL;
	STACK_OF(PKCS7_RECIP_INFO) *all;
	int r;

	if (!der)
		return -ENOMEM;
	memcpy(der, data, len);
	mend(der, len);
	p7 = d2i_PKCS7(NULL, &p, (long)len);
	all = p7 && PKCS7_type_is_enveloped(p7) && p7->d.enveloped ? p7->d.enveloped->recipientinfo : NULL;
	r = all ? -ENOENT : -HOY_EFORMAT;
	for (int i = 0; i < sk_PKCS7_RECIP_INFO_num(all) && r < 0 && EVP_PKEY_is_a(key, "RSA"); i++) {
		unsigned char cek[KEY_MAX];
		size_t n = content_key(key, sk_PKCS7_RECIP_INFO_value(all, i), cek);

		if (n)
			r = open_content(p7->d.enveloped->enc_data, cek, n, ret);
		OPENSSL_cleanse(cek, sizeof(cek));
	}
	PKCS7_free(p7);
	return r;
}
