#include "cmd-image/transfer/allow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/gpg.h"
#include "cmd-image/transfer/sigstore.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/conf/policy.h"
#include "common/data/base64.h"

#define KEYS_MAX ((size_t)4 << 20)

struct judged {
	struct source *src;
	const struct manifest *m;
	bool instance;
	const struct sigs *sigs; /* NULL until the first requirement asks for them */
};

/* ---- keys ---- */

static int add_file(struct hoy_strv *keys, const char *path, struct hoy_err *err)
{
	char *data;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, KEYS_MAX, &data, &len, err);

	if (!r)
		hoy_strv_take(keys, data);
	return r;
}

static int add_data(struct hoy_buf *all, struct hoy_strv *keys, const char *text, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	size_t len;

	if (!text || hoy_unbase64_new(text, &data, &len) < 0)
		return hoy_fail(err, HOY_EFORMAT, "the policy has a key that is no base64");
	if (all)
		hoy_buf_add(all, data, len);
	else
		hoy_strv_take(keys, steal_ptr(&data));
	return 0;
}

/* The PEM files of a sigstoreSigned requirement. */
static int sigstore_keys(const struct hoy_json *q, struct hoy_strv *ret, struct hoy_err *err)
{
	static const char *const undone[] = { "fulcio", "pki", "rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas" };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(undone); i++)
		if (hoy_json_get(q, undone[i]))
			return hoy_fail(err, HOY_EUNSUPPORTED, "\"%s\" of sigstoreSigned is not supported (only keys are)", undone[i]);
	if (hoy_json_get(q, "keyPath"))
		r = add_file(ret, hoy_json_str(q, "keyPath"), err);
	if (hoy_json_get(q, "keyData"))
		r = add_data(NULL, ret, hoy_json_str(q, "keyData"), err);
	HOY_JSON_EACH(p, hoy_json_get(q, "keyPaths"))
		r = r ? r : add_file(ret, p->str, err);
	HOY_JSON_EACH(d, hoy_json_get(q, "keyDatas"))
		r = r ? r : add_data(NULL, ret, d->str, err);
	return r ? r : ret->error ? hoy_fail_oom(err) : 0;
}

static int import_file(struct gpg *g, const char *path, struct hoy_err *err)
{
	cleanup_free char *data = NULL;
	size_t len;
	int r = hoy_read_file(AT_FDCWD, path, KEYS_MAX, &data, &len, err);

	return r ? r : gpg_import(g, data, len, err);
}

static int gpg_keys(struct gpg *g, const struct hoy_json *q, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf data = HOY_BUF_INIT(KEYS_MAX);
	int r = 0;

	if (hoy_json_get(q, "keyPath"))
		r = import_file(g, hoy_json_str(q, "keyPath"), err);
	HOY_JSON_EACH(p, hoy_json_get(q, "keyPaths"))
		r = r ? r : import_file(g, p->str, err);
	if (hoy_json_get(q, "keyData")) {
		r = add_data(&data, NULL, hoy_json_str(q, "keyData"), err);
		if (!r)
			r = gpg_import(g, hoy_buf_str(&data), data.len, err);
	}
	return r ? r : g->fingerprints.n ? 0 : hoy_fail(err, EACCES, "No public keys imported");
}

/* ---- one signature ---- */

/* What SIG says, once it is known to be good, must be said of this image. */
static int check_claim(const struct judged *j, const struct hoy_json *q, enum sig_kind kind, const char *data, size_t len, struct hoy_err *err)
{
	cleanup_claim struct claim c = { NULL, NULL };
	const struct hoy_json *match = hoy_json_get(q, "signedIdentity");
	int r = claim_parse(&c, kind, data, len, err);

	if (r < 0)
		return r;
	if (!hoy_policy_identity(match, j->src->ref.path ? &j->src->ref : NULL, c.name))
		return hoy_fail(err, EACCES, "Signature for identity \"%s\" is not accepted", c.name);
	if (strcmp(c.digest, j->m->digest))
		return hoy_fail(err, EACCES, "Signature for digest %s does not match", c.digest);
	return 0;
}

static int check_simple(const struct judged *j, const struct hoy_json *q, struct gpg *g, const struct sig *s, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf payload = HOY_BUF_INIT(SIG_MAX);
	cleanup_free char *key = NULL;
	int r = gpg_verify(g, s->data, s->len, &payload, &key, err);

	if (!r && !hoy_strv_has(&g->fingerprints, key))
		r = hoy_fail(err, EACCES, "Signature by key %s is not accepted", key);
	return r ? r : check_claim(j, q, SIG_SIMPLE, hoy_buf_str(&payload), payload.len, err);
}

/* ---- requirements ---- */

static void add_reason(struct hoy_buf *reasons, const struct hoy_err *why)
{
	if (reasons->len)
		hoy_buf_puts(reasons, "; ");
	hoy_buf_puts(reasons, why->msg);
}

/* N signatures of the right kind were refused for these REASONS, OTHER ones were of no use. */
static int refuse(size_t n, size_t other, bool sigstore, const struct hoy_buf *reasons, struct hoy_err *err)
{
	if (!n && other && sigstore)
		return hoy_fail(err, EACCES, "A signature was required, but no signature exists (%zu non-sigstore signatures, 0 sigstore non-signature attachments)", other);
	if (!n)
		return hoy_fail(err, EACCES, "A signature was required, but no signature exists");
	if (n == 1)
		return hoy_fail(err, EACCES, "%s", hoy_buf_str(reasons));
	return hoy_fail(err, EACCES, "None of the signatures were accepted, reasons: %s", hoy_buf_str(reasons));
}

static int signed_by(struct judged *j, const struct hoy_json *q, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf reasons = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_gpg struct gpg g = { NULL };
	const char *type = hoy_json_str(q, "keyType");
	size_t n = 0;

	if (!j->sigs->n)
		return refuse(0, 0, false, &reasons, err);
	if (strcmp(type, "GPGKeys"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "Unimplemented \"keyType\" value \"%s\"", type);
	if (gpg_open(&g, true, err) < 0 || gpg_keys(&g, q, err) < 0)
		return -err->code;
	for (size_t i = 0; i < j->sigs->n; i++) {
		struct hoy_err why = HOY_ERR_INIT;

		/* Of another kind: an unsuitable signature, and no other reason than that. */
		if (j->sigs->v[i].kind != SIG_SIMPLE)
			continue;
		n++;
		if (!check_simple(j, q, &g, &j->sigs->v[i], &why))
			return 0;
		add_reason(&reasons, &why);
	}
	return refuse(n, j->sigs->n - n, false, &reasons, err);
}

static int sigstore_signed(struct judged *j, const struct hoy_json *q, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf reasons = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_strv struct hoy_strv keys = HOY_STRV_INIT;
	size_t n = 0;
	int r = sigstore_keys(q, &keys, err);

	for (size_t i = 0; i < j->sigs->n && !r; i++) {
		const struct sig *s = &j->sigs->v[i];
		struct hoy_err why = HOY_ERR_INIT;

		if (s->kind != SIG_SIGSTORE || strcmp(s->mime, SIG_MIME))
			continue;
		n++;
		if (!sigstore_verify(s, keys.v, keys.n, &why) && !check_claim(j, q, SIG_SIGSTORE, s->data, s->len, &why))
			return 0;
		add_reason(&reasons, &why);
	}
	return r ? r : refuse(n, j->sigs->n - n, true, &reasons, err);
}

static int judge(struct judged *j, const struct hoy_json *q, struct hoy_err *err)
{
	const char *type = hoy_json_str(q, "type");
	int r;

	if (!strcmp(type, "insecureAcceptAnything"))
		return 0;
	if (!strcmp(type, "reject"))
		return hoy_fail(err, EACCES, "Running image %s is rejected by policy.", j->src->title);
	if (!strcmp(type, "signedBaseLayer"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "signedBaseLayer not implemented!");
	r = source_signatures(j->src, j->m, j->instance, &j->sigs, err);
	if (r < 0)
		return r;
	return !strcmp(type, "signedBy") ? signed_by(j, q, err) : sigstore_signed(j, q, err);
}

int image_allowed(struct source *src, const struct manifest *m, bool instance, const struct trust *t, struct hoy_err *err)
{
	cleanup_policy struct hoy_policy p = HOY_POLICY_INIT;
	struct judged j = { .src = src, .m = m, .instance = instance };
	int r;

	if (t && t->insecure)
		return 0;
	r = hoy_policy_load(&p, t ? t->policy : NULL, err);
	if (r < 0)
		return r;
	/* All must hold. */
	HOY_JSON_EACH(q, hoy_policy_find(&p, src->transport, &src->scopes)) {
		r = judge(&j, q, err);
		if (r < 0)
			break;
	}
	return r < 0 ? hoy_fail_prefix(err, "Source image rejected") : 0;
}
