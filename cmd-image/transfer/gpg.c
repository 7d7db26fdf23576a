#include "cmd-image/transfer/gpg.h"

#include <errno.h>
#include <fcntl.h>
#include <gpgme.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/helper.h"
#include "cmd-image/transfer/signature.h"
#include "common/base/err.h"
#include "common/base/fd.h"

static int failed(struct hoy_err *err, gpgme_error_t e, const char *what)
{
	char text[200];

	gpgme_strerror_r(e, text, sizeof(text));
	return hoy_fail(err, gpgme_err_code(e) == GPG_ERR_ENOMEM ? ENOMEM : HOY_EFORMAT, "%s: %s", what, text);
}

int gpg_open(struct gpg *g, bool own, struct hoy_err *err)
{
	const char *tmp = getenv("TMPDIR");
	gpgme_ctx_t ctx;
	gpgme_error_t e;

	*g = (struct gpg){ NULL };
	gpgme_check_version(NULL);
	e = gpgme_new(&ctx);
	if (e)
		return failed(err, e, "cannot use gpg");
	g->ctx = ctx;
	e = gpgme_set_protocol(ctx, GPGME_PROTOCOL_OpenPGP);
	if (!e && own) {
		g->home = hoy_asprintf("%s/hoy-gpg-XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
		if (!g->home || !mkdtemp(g->home)) {
			int code = g->home ? errno : ENOMEM;

			free(g->home);
			g->home = NULL;
			return hoy_fail_errno(err, code, "cannot make a directory for keys");
		}
		e = gpgme_ctx_set_engine_info(ctx, GPGME_PROTOCOL_OpenPGP, NULL, g->home);
	}
	gpgme_set_armor(ctx, 0);
	return e ? failed(err, e, "cannot use gpg") : 0;
}

/* The agent that gpg has started for secret keys in HOME ends. */
static void stop_agent(const char *home)
{
	char *argv[] = { (char *)"gpgconf", (char *)"--homedir", (char *)home, (char *)"--kill", (char *)"gpg-agent", NULL };
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(4096);
	cleanup_free char *keys = hoy_path_join(home, "private-keys-v1.d");

	if (keys && hoy_exists(AT_FDCWD, keys))
		(void)helper_ask(argv, "", 0, &out);
}

void gpg_close(struct gpg *g)
{
	if (g->ctx)
		gpgme_release(g->ctx);
	if (g->home) {
		stop_agent(g->home);
		hoy_remove_tree(AT_FDCWD, g->home);
	}
	free(g->home);
	hoy_strv_release(&g->fingerprints);
	*g = (struct gpg){ NULL };
}

int gpg_import(struct gpg *g, const void *data, size_t len, struct hoy_err *err)
{
	gpgme_import_result_t res;
	gpgme_data_t in;
	gpgme_error_t e = gpgme_data_new_from_mem(&in, data, len, 0);

	if (e)
		return failed(err, e, "cannot import keys");
	e = gpgme_op_import(g->ctx, in);
	gpgme_data_release(in);
	if (e)
		return failed(err, e, "cannot import keys");
	res = gpgme_op_import_result(g->ctx);
	for (gpgme_import_status_t i = res ? res->imports : NULL; i; i = i->next)
		if (i->result == GPG_ERR_NO_ERROR && i->fpr)
			hoy_strv_push(&g->fingerprints, i->fpr);
	return g->fingerprints.error ? hoy_fail_oom(err) : 0;
}

void gpg_ids(struct gpg *g, struct hoy_strv *ret)
{
	for (size_t i = 0; i < g->fingerprints.n; i++) {
		gpgme_key_t key = NULL;

		if (gpgme_get_key(g->ctx, g->fingerprints.v[i], &key, 0) || !key)
			continue;
		for (gpgme_user_id_t u = key->uids; u; u = u->next)
			hoy_strv_push(ret, u->email && *u->email ? u->email : u->uid);
		gpgme_key_unref(key);
	}
}

/* gpg's output goes to a buffer with a limit: a small message may inflate to any size. */
static ssize_t to_buf(void *arg, const void *data, size_t n)
{
	struct hoy_buf *b = arg;

	hoy_buf_add(b, data, n);
	if (b->error)
		errno = b->error;
	return b->error ? -1 : (ssize_t)n;
}
static struct gpgme_data_cbs to_buf_cbs = { NULL, to_buf, NULL, NULL };

/* The key's own fingerprint, where one of its subkeys has signed. */
static char *primary(struct gpg *g, const char *fpr)
{
	gpgme_key_t key = NULL;
	char *ret;

	if (gpgme_get_key(g->ctx, fpr, &key, 0) || !key)
		return strdup(fpr);
	ret = strdup(key->subkeys && key->subkeys->fpr ? key->subkeys->fpr : fpr);
	gpgme_key_unref(key);
	return ret;
}

static int judge(struct gpg *g, char **ret_key, struct hoy_err *err)
{
	gpgme_verify_result_t res = gpgme_op_verify_result(g->ctx);
	gpgme_signature_t s = res ? res->signatures : NULL;
	char text[200];

	if (!s || s->next)
		return hoy_fail(err, HOY_EFORMAT, "Unexpected GPG signature count %s", s ? "above 1" : "0");
	gpgme_strerror_r(s->status, text, sizeof(text));
	/* Whom to trust is the policy's affair, so the summary, which needs the web of trust, says nothing here. */
	if (gpgme_err_code(s->status) || s->validity == GPGME_VALIDITY_NEVER || gpgme_err_code(s->validity_reason) ||
	    s->wrong_key_usage || !s->fpr)
		return hoy_fail(err, HOY_EFORMAT, "Invalid GPG signature by key %s: %s", s->fpr ? s->fpr : "unknown", text);
	*ret_key = primary(g, s->fpr);
	return *ret_key ? 0 : hoy_fail_oom(err);
}

int gpg_verify(struct gpg *g, const void *msg, size_t len, struct hoy_buf *ret, char **ret_key, struct hoy_err *err)
{
	gpgme_data_t in = NULL, out = NULL;
	gpgme_error_t e = gpgme_data_new_from_mem(&in, msg, len, 0);
	int r;

	if (!e)
		e = gpgme_data_new_from_cbs(&out, &to_buf_cbs, ret);
	if (!e)
		e = gpgme_op_verify(g->ctx, in, NULL, out);
	r = e ? failed(err, e, "Invalid GPG signature") : ret->error ? hoy_fail(err, EFBIG, "Invalid GPG signature: it is too large") :
	    judge(g, ret_key, err);
	gpgme_data_release(in);
	gpgme_data_release(out);
	return r;
}

static gpgme_error_t say_passphrase(void *arg, const char *hint, const char *info, int bad, int fd)
{
	const char *pass = arg;

	/* Asked again, it would say the same. */
	if (bad)
		return gpgme_error(GPG_ERR_BAD_PASSPHRASE);
	if (gpgme_io_writen(fd, pass, strlen(pass)) || gpgme_io_writen(fd, "\n", 1))
		return gpgme_error_from_errno(errno);
	return 0;
}

/* Nobody is asked at a terminal. */
static gpgme_error_t use_passphrase(struct gpg *g, const char *passphrase)
{
	gpgme_set_passphrase_cb(g->ctx, say_passphrase, (void *)passphrase);
	return gpgme_set_pinentry_mode(g->ctx, GPGME_PINENTRY_MODE_LOOPBACK);
}

int gpg_sign(struct gpg *g, const char *key, const char *passphrase, const void *data, size_t len, struct hoy_buf *ret,
	     struct hoy_err *err)
{
	gpgme_data_t in = NULL, out = NULL;
	gpgme_key_t k = NULL;
	gpgme_error_t e = gpgme_get_key(g->ctx, key, &k, 1);
	int r;

	if (e)
		return hoy_fail(err, ENOENT, "there is no secret key '%s' in the keyring of gpg", key);
	gpgme_signers_clear(g->ctx);
	e = gpgme_signers_add(g->ctx, k);
	gpgme_key_unref(k);
	if (!e && passphrase)
		e = use_passphrase(g, passphrase);
	if (!e)
		e = gpgme_data_new_from_mem(&in, data, len, 0);
	if (!e)
		e = gpgme_data_new_from_cbs(&out, &to_buf_cbs, ret);
	if (!e)
		e = gpgme_op_sign(g->ctx, in, out, GPGME_SIG_MODE_NORMAL);
	r = e ? failed(err, e, "cannot sign") : ret->error ? hoy_fail_oom(err) : 0;
	gpgme_data_release(in);
	gpgme_data_release(out);
	return r;
}

int gpg_has(struct gpg *g, const char *name, struct hoy_err *err)
{
	gpgme_key_t k = NULL;
	gpgme_error_t e = gpgme_get_key(g->ctx, name, &k, 0);

	if (e || !k)
		return hoy_fail(err, ENOENT, "there is no public key '%s' in the keyring of gpg", name);
	gpgme_key_unref(k);
	return 0;
}

int gpg_encrypt(struct gpg *g, const struct hoy_strv *names, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_free gpgme_key_t *keys = calloc(names->n + 1, sizeof(*keys));
	gpgme_data_t in = NULL, out = NULL;
	gpgme_error_t e = keys ? 0 : gpgme_error(GPG_ERR_ENOMEM);
	int r;

	for (size_t i = 0; i < names->n && !e; i++)
		e = gpgme_get_key(g->ctx, names->v[i], &keys[i], 0);
	if (!e)
		e = gpgme_data_new_from_mem(&in, data, len, 0);
	if (!e)
		e = gpgme_data_new_from_cbs(&out, &to_buf_cbs, ret);
	/* Whose key it is, the user knows: it was named. */
	if (!e)
		e = gpgme_op_encrypt(g->ctx, keys, GPGME_ENCRYPT_ALWAYS_TRUST | GPGME_ENCRYPT_NO_COMPRESS, in, out);
	r = e ? failed(err, e, "cannot encrypt a layer's key by gpg") : ret->error ? hoy_fail_oom(err) : 0;
	for (size_t i = 0; keys && i < names->n; i++)
		if (keys[i])
			gpgme_key_unref(keys[i]);
	gpgme_data_release(in);
	gpgme_data_release(out);
	return r;
}

int gpg_decrypt(struct gpg *g, const char *passphrase, const void *msg, size_t len, struct hoy_buf *ret)
{
	gpgme_data_t in = NULL, out = NULL;
	gpgme_error_t e = use_passphrase(g, passphrase ? passphrase : "");

	if (!e)
		e = gpgme_data_new_from_mem(&in, msg, len, 0);
	if (!e)
		e = gpgme_data_new_from_cbs(&out, &to_buf_cbs, ret);
	if (!e)
		e = gpgme_op_decrypt(g->ctx, in, out);
	gpgme_data_release(in);
	gpgme_data_release(out);
	return e || ret->error ? -ENOENT : 0;
}
