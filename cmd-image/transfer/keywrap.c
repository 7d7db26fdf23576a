#include "cmd-image/transfer/keywrap.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/gpg.h"
#include "cmd-image/transfer/jwe.h"
#include "cmd-image/transfer/pkcs7.h"
#include "cmd-image/transfer/provider.h"
#include "common/base/fd.h"
#include "common/data/base64.h"

#define KEYS CRYPT_NOTE "keys."
#define KEYS_PROVIDER KEYS "provider."
#define PROVIDER "provider:"

struct private_key {
	EVP_PKEY *key;	/* NULL: something else, or a certificate, which nothing needs */
	struct gpg gpg; /* a keyring of its own with the keys of the file; blank: it has none */
	char *password; /* for those */
	bool provider;
};

/* gpgme takes one at a time. */
static pthread_mutex_t one_gpg = PTHREAD_MUTEX_INITIALIZER;

void crypt_opts_release(struct crypt_opts *o)
{
	for (size_t i = 0; o->keys && i < o->decrypt.n; i++) {
		EVP_PKEY_free(o->keys[i].key);
		gpg_close(&o->keys[i].gpg);
		if (o->keys[i].password)
			OPENSSL_cleanse(o->keys[i].password, strlen(o->keys[i].password));
		free(o->keys[i].password);
	}
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
	const char *path = strchr(spec, ':') + 1;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, KEY_FILE_MAX, &data, &len, err);

	if (r < 0)
		return r;
	if (*spec == 'p')
		ret->cert = read_cert(data, len);
	else
		ret->key = read_public(data, len);
	return ret->key || ret->cert ? 0 : hoy_fail(err, HOY_EFORMAT, "'%s' has no %s (PEM or DER)", path, *spec == 'p' ? "certificate" : "public key");
}

/* Does SPEC name somebody for whom can be encrypted? */
static int check_public(const char *spec, struct hoy_err *err)
{
	struct recipient to = { NULL, NULL };
	cleanup_gpg struct gpg g = { NULL };
	const char *colon = strchr(spec, ':');
	int r;

	if (!colon || !colon[1])
		return hoy_fail(err, EINVAL, "'%s': an encryption key is PROTOCOL:KEY (jwe:/path/to/public.pem)", spec);
	if (!strncmp(spec, PROVIDER, strlen(PROVIDER)))
		return provider_check(colon + 1, err);
	if (!strncmp(spec, "pgp:", 4)) {
		r = gpg_open(&g, false, err);
		return r ? r : gpg_has(&g, colon + 1, err);
	}
	if (strncmp(spec, "jwe:", 4) && strncmp(spec, "pkcs7:", 6))
		return hoy_fail(err, EINVAL, "'%.*s': this way to encrypt is not known (jwe, pkcs7, pgp, provider)", (int)(colon - spec), spec);
	r = load_public(spec, &to, err);
	recipient_release(&to);
	return r;
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

/* A file with secret keys of OpenPGP: they go into a keyring that only this process has. */
static int load_ring(struct private_key *k, const char *data, size_t len)
{
	struct hoy_err err = HOY_ERR_INIT;

	if (gpg_open(&k->gpg, true, &err) < 0 || gpg_import(&k->gpg, data, len, &err) < 0 || !k->gpg.fingerprints.n) {
		gpg_close(&k->gpg);
		return -EINVAL;
	}
	return 0;
}

static int load_key(const char *path, const char *data, size_t len, struct private_key *k, struct hoy_err *err)
{
	X509 *cert;

	k->key = read_private(data, len, k->password);
	if (k->key)
		return 0;
	cert = read_cert(data, len);
	X509_free(cert);
	if (cert || !load_ring(k, data, len))
		return 0;
	return hoy_fail(err, HOY_EFORMAT, "'%s' has no private key that can be read%s", path,
			!k->password && memmem(data, len, "ENCRYPTED", 9) ? ": it needs a password (FILE:PASSWORD, FILE:file=FILE)" : "");
}

static int load_private(const char *spec, struct private_key *k, struct hoy_err *err)
{
	cleanup_free char *path = strndup(spec, strcspn(spec, ":")), *data = NULL;
	const char *colon = strchr(spec, ':');
	size_t len = 0;
	int r = path ? 0 : hoy_fail_oom(err);

	k->provider = !strncmp(spec, PROVIDER, strlen(PROVIDER));
	if (k->provider)
		return r ? r : provider_check(colon + 1, err);
	if (!r && colon)
		r = password_of(colon + 1, &k->password, err);
	if (!r)
		r = hoy_read_file(AT_FDCWD, path, KEY_FILE_MAX, &data, &len, err);
	if (!r)
		r = load_key(path, data, len, k, err);
	if (data)
		OPENSSL_cleanse(data, len);
	return r;
}

int crypt_load(struct crypt_opts *o, struct hoy_err *err)
{
	int r = 0;

	if (o->encrypt.n && o->decrypt.n)
		return hoy_fail(err, EINVAL, "--encryption-key and --decryption-key cannot be specified together");
	if (o->layers.n && !o->encrypt.n)
		return hoy_fail(err, EINVAL, "--encrypt-layer can only be used with --encryption-key");
	for (size_t i = 0; i < o->encrypt.n && !r; i++)
		r = check_public(o->encrypt.v[i], err);
	o->keys = r ? NULL : calloc(o->decrypt.n + 1, sizeof(*o->keys));
	if (!r && !o->keys)
		r = hoy_fail_oom(err);
	for (size_t i = 0; i < o->decrypt.n && !r; i++)
		r = load_private(o->decrypt.v[i], &o->keys[i], err);
	for (size_t i = 0; i < o->layers.n && !r; i++) {
		char *end;

		(void)strtol(o->layers.v[i], &end, 10);
		if (!*o->layers.v[i] || *end)
			r = hoy_fail(err, EINVAL, "invalid argument \"%s\" for \"--encrypt-layer\" flag: not a number", o->layers.v[i]);
	}
	return r;
}

/* ---- wrapping ---- */

/* ONE more packet to ALL, which are separated by commas. */
static void add_packet(struct hoy_buf *all, const struct hoy_buf *one)
{
	if (all->len)
		hoy_buf_putc(all, ',');
	hoy_base64(all, hoy_buf_str(one), one->len);
}

static int note(const char *name, const struct hoy_buf *all, struct hoy_json_doc *doc, struct hoy_json *annotations, struct hoy_err *err)
{
	return all->error || !hoy_json_set_string(doc, annotations, name, all->data) ? hoy_fail_oom(err) : 0;
}

static int seal_one(const char *spec, const struct hoy_buf *data, struct hoy_buf *ret, struct hoy_err *err)
{
	struct recipient to = { NULL, NULL };
	int r = load_public(spec, &to, err);

	if (!r)
		r = to.cert ? pkcs7_seal(to.cert, hoy_buf_str(data), data->len, ret, err) : jwe_seal(to.key, hoy_buf_str(data), data->len, ret, err);
	recipient_release(&to);
	return r;
}

/* For the keys of the kind that PREFIX ("jwe:") says. Without any, nothing. */
static int seal_files(const struct crypt_opts *o, const char *prefix, const struct hoy_buf *data, const char *name, struct hoy_json_doc *doc,
		      struct hoy_json *annotations, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf all = HOY_BUF_INIT(1 << 20);
	int r = 0;

	for (size_t i = 0; i < o->encrypt.n && !r; i++) {
		cleanup_buf struct hoy_buf one = HOY_BUF_INIT(KEY_FILE_MAX);

		if (strncmp(o->encrypt.v[i], prefix, strlen(prefix)))
			continue;
		r = seal_one(o->encrypt.v[i], data, &one, err);
		add_packet(&all, &one);
	}
	return r || !all.len ? r : note(name, &all, doc, annotations, err);
}

/* One message for all whose names begin with "pgp:". */
static int seal_pgp(const struct crypt_opts *o, const struct hoy_buf *data, struct hoy_json_doc *doc, struct hoy_json *annotations, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf all = HOY_BUF_INIT(1 << 20), one = HOY_BUF_INIT(KEY_FILE_MAX);
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	struct gpg g = { NULL };
	int r;

	for (size_t i = 0; i < o->encrypt.n; i++)
		if (!strncmp(o->encrypt.v[i], "pgp:", 4))
			hoy_strv_push(&names, o->encrypt.v[i] + 4);
	if (!names.n)
		return 0;
	pthread_mutex_lock(&one_gpg);
	r = gpg_open(&g, false, err);
	if (!r)
		r = gpg_encrypt(&g, &names, hoy_buf_str(data), data->len, &one, err);
	gpg_close(&g);
	pthread_mutex_unlock(&one_gpg);
	add_packet(&all, &one);
	return r ? r : note(KEYS "pgp", &all, doc, annotations, err);
}

static int seal_provider(const char *spec, const struct hoy_buf *data, struct hoy_json_doc *doc, struct hoy_json *annotations, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf all = HOY_BUF_INIT(1 << 20), one = HOY_BUF_INIT(KEY_FILE_MAX);
	cleanup_free char *name = hoy_asprintf(KEYS_PROVIDER "%.*s", (int)strcspn(spec, ":"), spec);
	int r = name ? provider_seal(spec, hoy_buf_str(data), data->len, &one, err) : hoy_fail_oom(err);

	add_packet(&all, &one);
	return r ? r : note(name, &all, doc, annotations, err);
}

int keywrap_seal(const struct crypt_opts *o, const struct hoy_buf *data, struct hoy_json_doc *doc, struct hoy_json *annotations, struct hoy_err *err)
{
	int r = seal_files(o, "jwe:", data, KEYS "jwe", doc, annotations, err);

	if (!r)
		r = seal_files(o, "pkcs7:", data, KEYS "pkcs7", doc, annotations, err);
	if (!r)
		r = seal_pgp(o, data, doc, annotations, err);
	for (size_t i = 0; i < o->encrypt.n && !r; i++)
		if (!strncmp(o->encrypt.v[i], PROVIDER, strlen(PROVIDER)))
			r = seal_provider(o->encrypt.v[i] + strlen(PROVIDER), data, doc, annotations, err);
	return r;
}

/* ---- unwrapping ---- */

enum way { BY_JWE, BY_PKCS7, BY_PGP, N_WAYS };
static const char *const way_notes[N_WAYS] = { KEYS "jwe", KEYS "pkcs7", KEYS "pgp" };

/* The packet B by K, appended to RET. */
static int open_packet(enum way way, struct private_key *k, const struct hoy_buf *b, struct hoy_buf *ret)
{
	int r;

	if (way != BY_PGP)
		return k->key ? (way == BY_JWE ? jwe_open : pkcs7_open)(k->key, b->data, b->len, ret) : -ENOENT;
	if (!k->gpg.ctx)
		return -ENOENT;
	pthread_mutex_lock(&one_gpg);
	r = gpg_decrypt(&k->gpg, k->password, b->data, b->len, ret);
	pthread_mutex_unlock(&one_gpg);
	return r;
}

/* One of the packets in LIST, which are separated by commas, by one of the keys of O. -ENOENT: none. */
static int open_packets(const struct crypt_opts *o, enum way way, const char *list, struct hoy_buf *ret)
{
	cleanup_strv struct hoy_strv v = HOY_STRV_INIT;
	int r = -ENOENT;

	hoy_strv_split(&v, list, ',');
	for (size_t i = 0; i < v.n && r < 0; i++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(KEY_FILE_MAX);

		if (hoy_unbase64(&b, v.v[i], strlen(v.v[i])) < 0 || !b.len)
			continue;
		for (size_t k = 0; k < o->decrypt.n && r < 0; k++)
			r = open_packet(way, &o->keys[k], &b, ret);
	}
	return r < 0 ? -ENOENT : 0;
}

/* By the program that IT, an annotation, was made by, if the user has named it. */
static int open_provider(const struct crypt_opts *o, const struct hoy_json *it, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv specs = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(KEY_FILE_MAX);
	const char *name = it->key + strlen(KEYS_PROVIDER), *text = hoy_json_text(it);
	bool wanted = false;

	for (size_t i = 0; i < o->decrypt.n; i++)
		if (o->keys[i].provider) {
			const char *spec = o->decrypt.v[i] + strlen(PROVIDER);

			hoy_strv_push(&specs, spec);
			wanted = wanted || (strcspn(spec, ":") == strlen(name) && !strncmp(spec, name, strlen(name)));
		}
	if (!wanted || !text || hoy_unbase64(&b, text, strlen(text)) < 0)
		return -ENOENT;
	return provider_open(name, &specs, hoy_buf_str(&b), b.len, ret, err);
}

int keywrap_open(const struct crypt_opts *o, const struct hoy_json *annotations, const char *digest, struct hoy_buf *ret, struct hoy_err *err)
{
	bool any = false;
	int r = -ENOENT;

	for (enum way w = 0; w < N_WAYS && r == -ENOENT; w++) {
		const char *list = hoy_json_str(annotations, way_notes[w]);

		any = any || list;
		if (list)
			r = open_packets(o, w, list, ret);
	}
	HOY_JSON_EACH(it, annotations)
		if (r == -ENOENT && !strncmp(it->key, KEYS_PROVIDER, strlen(KEYS_PROVIDER))) {
			any = true;
			r = open_provider(o, it, ret, err);
		}
	if (r == -ENOENT && !any)
		return hoy_fail(err, HOY_EUNSUPPORTED, "the layer %s is encrypted for no key of the kinds that are supported (jwe, pkcs7, pgp, provider)", digest);
	return r == -ENOENT ? hoy_fail(err, EACCES, "no key that was given opens the layer %s (--decryption-key)", digest) : r;
}
