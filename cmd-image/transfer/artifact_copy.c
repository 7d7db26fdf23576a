/* cmd-image/transfer/artifact_copy.c: `artifact pull` and `push`: between registries and the artifacts of the store. */
#include "common/oci/artifacts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cmd-image/transfer/copy.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/data/ref.h"

struct copy_out {
	struct reg_opts reg;
	struct copy_opts copy;
	struct trust trust;
	const char *digestfile, *progress;
};
#define O(field) offsetof(struct copy_out, field)
#define COMMON_OPTS \
	REG_AUTHFILE_OPT(O(reg), "", ""), REG_CREDS_OPTS(O(reg), "", ""), \
	PROGRESS_OPT(O(progress)), \
	{ 'q', "quiet", HOY_OPT_FLAG, O(copy.quiet), NULL, "no progress" }, \
	{ 0, "retry", HOY_OPT_INT, O(reg.retry), "N", "attempts after a failed one (default 3)" }, \
	{ 0, "retry-delay", HOY_OPT_STRING, O(reg.retry_delay), "DURATION", "time between attempts" }

static const struct hoy_opt pull_opts[] = { COMMON_OPTS, DECRYPTION_OPT(HOY_OPT_LIST, O(copy.crypt)), HOY_OPTS_END };
static const struct hoy_opt push_opts[] = {
	COMMON_OPTS,
	{ 0, "digestfile", HOY_OPT_STRING, O(digestfile), "FILE", "write the manifest's digest there" },
	SIGN_ADD_OPTS(O(copy.sign)),
	HOY_OPTS_END,
};

static int check_name(const char *name, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	int r = *name ? hoy_ref_parse(&ref, name, err) : hoy_fail(err, EINVAL, "artifact name cannot be empty");

	if (!r && ref.tag && ref.digest)
		r = hoy_fail(err, EINVAL, "'%s': a name has either a tag or a digest", name);
	return r;
}

/* ---- pull ---- */

/* Under the lock from beginning to end, as podman does it: what is there already must not go before the index names it. */
static int receive(struct hoy_artifacts *a, struct source *src, const char *name, const struct copy_opts *o, char digest[SHA_DIGEST_SIZE],
		   struct hoy_err *err)
{
	cleanup_dest struct dest *dst = NULL;
	cleanup_free char *before = NULL;
	const struct hoy_json *old;
	int r = hoy_artifacts_lock(a, true, err);

	if (r < 0)
		return r;
	old = hoy_artifact_named(a, name);
	if (old && !(before = strdup(hoy_json_str(old, "digest"))))
		return hoy_fail_oom(err);
	r = dest_layout(&dst, a->path, name, err);
	if (!r)
		r = copy_image(src, dst, o, digest, err);
	if (!r)
		r = dst->ops->commit(dst, err);
	if (!r && before)
		r = hoy_layout_sweep(a->dirfd, before, err);
	hoy_artifacts_unlock(a);
	return r;
}

static int run_pull(const struct hoy_verb *v, int argc, char **argv)
{
	struct copy_out o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_artifacts struct hoy_artifacts a = HOY_ARTIFACTS_INIT;
	cleanup_source struct source *src = NULL;
	cleanup_free char *from = NULL;
	char digest[SHA_DIGEST_SIZE];
	int status, r;

	if (hoy_verb_args(v, argc, argv, &o, 1, 1, &status) < 0)
		return status;
	o.copy.trust = &o.trust;
	/* A layout keeps none; the policy has looked at them by then. */
	o.copy.sign.remove = true;
	from = hoy_asprintf("docker://%s", argv[1]);
	r = from ? check_name(argv[1], &err) : hoy_fail_oom(&err);
	if (!r)
		r = progress_choose(o.progress, &o.copy.quiet, &err);
	if (!r)
		r = crypt_load(&o.copy.crypt, &err);
	if (!r)
		r = source_open(&src, from, &o.reg, &err);
	if (!r)
		r = hoy_artifacts_open(&a, &hoy_globals.storage, true, &err);
	if (!r)
		r = receive(&a, src, argv[1], &o.copy, digest, &err);
	crypt_opts_release(&o.copy.crypt);
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_artifact_pull = { "artifact pull", "[options] ARTIFACT", "Pull an artifact from a registry", pull_opts, run_pull, 0 };

/* ---- push ---- */

static int send(struct hoy_artifacts *a, const char *name, const struct copy_out *o, char digest[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	cleanup_source struct source *src = NULL;
	cleanup_dest struct dest *dst = NULL;
	cleanup_free char *to = NULL;
	const struct hoy_json *entry;
	int r = hoy_artifacts_lock(a, false, err);

	if (!r)
		r = hoy_artifact_find(a, name, &entry, err);
	if (!r && !hoy_layout_name(entry))
		r = hoy_fail(err, EINVAL, "%s: the artifact has no name", name);
	if (r < 0)
		return r;
	r = check_name(hoy_layout_name(entry), err);
	to = hoy_asprintf("docker://%s", hoy_layout_name(entry));
	if (!r)
		r = to ? dest_open(&dst, to, &o->reg, err) : hoy_fail_oom(err);
	if (!r)
		r = source_layout(&src, a->path, hoy_layout_name(entry), err);
	if (!r)
		r = copy_image(src, dst, &o->copy, digest, err);
	return r ? r : dst->ops->commit(dst, err);
}

static int run_push(const struct hoy_verb *v, int argc, char **argv)
{
	struct copy_out o = { .reg = REG_OPTS_INIT };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_artifacts struct hoy_artifacts a = HOY_ARTIFACTS_INIT;
	char digest[SHA_DIGEST_SIZE];
	int status, r;

	if (hoy_verb_args(v, argc, argv, &o, 1, 1, &status) < 0)
		return status;
	r = progress_choose(o.progress, &o.copy.quiet, &err);
	if (!r)
		r = sign_check(&o.copy.sign, &err);
	if (!r)
		r = hoy_artifacts_open(&a, &hoy_globals.storage, false, &err);
	if (!r)
		r = send(&a, argv[1], &o, digest, &err);
	if (!r && o.digestfile) {
		r = hoy_replace_file(AT_FDCWD, o.digestfile, digest, strlen(digest), 0644, false);
		if (r < 0)
			hoy_fail_errno(&err, -r, "cannot write '%s'", o.digestfile);
	}
	return r < 0 ? hoy_report(&err, 125) : 0;
}
const struct hoy_verb verb_artifact_push = { "artifact push", "[options] ARTIFACT", "Push an artifact to a registry", push_opts, run_push, 0 };
