/* cmd-image/transfer/pull.c: `pull`: images into the store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/crypt.h"
#include "cmd-image/transfer/transfer.h"
#include "common/base/msg.h"
#include "common/cli/prompt.h"
#include "common/conf/regconf.h"
#include "common/conf/registries.h"
#include "common/data/ref.h"

char *local_name(const char *name)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (hoy_ref_parse(&ref, name, NULL) < 0)
		return NULL;
	if (!ref.domain && !(ref.domain = strdup("localhost")))
		return NULL;
	return hoy_ref_normalize(&ref) < 0 ? NULL : hoy_ref_string(&ref);
}

char *full_name(const char *name)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;

	if (hoy_ref_parse(&ref, name, NULL) < 0 || hoy_ref_normalize(&ref) < 0)
		return NULL;
	return hoy_ref_string(&ref);
}

/* Names in docker's archives and tags of layouts are completed docker's way, those in OCI archives with localhost/. */
static char *brought_name(const char *from, const char *name)
{
	return !strncmp(from, "oci-archive:", 12) ? local_name(name) : full_name(name);
}

int pull_files(struct hoy_store *s, const char *from, const struct platform *p, const struct store_in *o,
	       struct hoy_strv *ret_names, char ret_id[HOY_ID_SIZE], struct hoy_err *err)
{
	static const struct reg_opts none = REG_OPTS_INIT;
	cleanup_source struct source *src = NULL;
	cleanup_manifest struct manifest m = { 0 }, list = { 0 };
	struct store_in mine = *o;
	int r = source_open(&src, from, &none, err);

	if (!r)
		r = source_image(src, p, &m, &list, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < src->names.n; i++) {
		char *full = brought_name(from, src->names.v[i]);

		if (full)
			hoy_strv_take(ret_names, full);
	}
	mine.names = (const char *const *)ret_names->v;
	return store_in(s, src, &m, &list, &mine, ret_id, err);
}

/* ---- from registries ---- */

struct pull_opts {
	bool quiet, all, no_signatures;
	const char *platform, *arch, *os, *variant, *policy, *max_layer, *progress;
	struct trust trust;
	int64_t parallel;
	struct reg_opts reg;
	struct crypt_opts crypt;
};
#define O(field) offsetof(struct pull_opts, field)
static const struct hoy_opt pull_opts[] = {
	{ 'a', "all-tags", HOY_OPT_FLAG, O(all), NULL, "all tags of the repository" },
	{ 0, "arch", HOY_OPT_STRING, O(arch), "ARCH", "architecture of the image" },
	REG_AUTHFILE_OPT(O(reg), "", ""),
	REG_CREDS_OPTS(O(reg), "", ""),
	DECRYPTION_OPT(HOY_OPT_LIST, O(crypt)),
	{ 0, "image-parallel-copies", HOY_OPT_INT, O(parallel), "N", "layers at once (default 6)" },
	MAX_LAYER_OPT(O(max_layer)),
	{ 0, "os", HOY_OPT_STRING, O(os), "OS", "operating system of the image" },
	{ 0, "platform", HOY_OPT_STRING, O(platform), "OS/ARCH[/VARIANT]", "platform of the image" },
	{ 0, "policy", HOY_OPT_STRING, O(policy), "POLICY", "always, missing, never or newer (default always)" },
	PROGRESS_OPT(O(progress)),
	{ 'q', "quiet", HOY_OPT_FLAG, O(quiet), NULL, "print the id only" },
	{ 0, "remove-signatures", HOY_OPT_FLAG, O(no_signatures), NULL, NULL }, /* hoy-build's */
	{ 0, "retry", HOY_OPT_INT, O(reg.retry), "N", "attempts after a failed one (default 3)" },
	{ 0, "retry-delay", HOY_OPT_STRING, O(reg.retry_delay), "DURATION", "time between attempts (default: growing)" },
	{ 0, "signature-policy", HOY_OPT_STRING, O(trust.policy), "FILE", "the policy.json(5) that the image must please" },
	{ 0, "variant", HOY_OPT_STRING, O(variant), "VARIANT", "variant of the architecture" },
	HOY_OPTS_END,
};

struct pull {
	struct hoy_store *s;
	const struct pull_opts *o;
	struct platform p;
	struct store_in in; /* what all images of the command have in common */
};

/* The store's image of NAME into ID, if it is there. */
static int have(struct pull *p, const char *name, char id[HOY_ID_SIZE], char digest[SHA_DIGEST_SIZE], struct hoy_err *err)
{
	struct hoy_json *rec;
	int r = hoy_store_peek(p->s, HOY_IMAGES | HOY_LAYERS, err);

	if (r < 0)
		return r;
	if (hoy_image_find(p->s, name, &rec, NULL, NULL) < 0 || !hoy_is_id(hoy_json_str(rec, "id")))
		return 0;
	memcpy(id, hoy_json_str(rec, "id"), HOY_ID_SIZE);
	snprintf(digest, SHA_DIGEST_SIZE, "%s", hoy_json_str(rec, "digest") ?: "");
	return 1;
}

/* FULL is a complete reference; its image gets this name (without the tag, if there is a digest as well). */
static int pull_full(struct pull *p, const char *full, char id[HOY_ID_SIZE], const char *known, struct hoy_err *err)
{
	cleanup_source struct source *src = NULL;
	cleanup_manifest struct manifest m = { 0 }, list = { 0 };
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *name = NULL;
	const char *names[2] = { NULL, NULL };
	struct store_in in = p->in;
	int r = hoy_ref_parse(&ref, full, err);

	in.names = names;
	if (!r && ref.tag && ref.digest)
		ref.tag = (free(ref.tag), NULL);
	if (!r && (hoy_ref_normalize(&ref) < 0 || !(names[0] = name = hoy_ref_string(&ref))))
		r = hoy_fail_oom(err);
	progress(p->o->quiet, "Trying to pull %s...", full);
	if (!r)
		r = source_registry(&src, full, &p->o->reg, err);
	if (!r)
		r = source_image(src, &p->p, &m, &list, err);
	/* Newer means: something else than what is there. */
	if (!r && known && (!strcmp(known, m.digest) || (list.len && !strcmp(known, list.digest))))
		return 0;
	return r < 0 ? r : store_in(p->s, src, &m, &list, &in, id, err);
}

/* Which of several the user means, where there is somebody to ask; *RET_ASKED: then the answer is to be kept. */
static int choose(struct hoy_short *s, bool *ret_asked, struct hoy_err *err)
{
	int i, out = hoy_prompt_fd();

	if (out < 0)
		return s->enforcing ? hoy_fail(err, ENOTTY, "short-name resolution enforced but cannot prompt without a TTY") : 0;
	i = hoy_select(out, "Please select an image", s->names.v, s->names.n);
	if (i < 0)
		return hoy_fail(err, ECANCELED, "no image was selected");
	while (s->names.n > (size_t)i + 1)
		hoy_strv_remove(&s->names, i + 1);
	while (i--)
		hoy_strv_remove(&s->names, 0);
	*ret_asked = true;
	return 0;
}

/* The short name NAME means what it means in the store already, unless another platform's image is wanted. */
static int local_meaning(struct pull *p, const char *name, struct hoy_strv *ret, struct hoy_err *err)
{
	const char *matched = NULL;
	struct hoy_json *rec;
	int r = p->p.os || p->p.arch || p->p.variant ? 0 : hoy_store_peek(p->s, HOY_IMAGES | HOY_LAYERS, err);

	if (r < 0 || p->p.os || p->p.arch || p->p.variant)
		return r;
	if (!hoy_image_find(p->s, name, &rec, &matched, NULL) && matched)
		hoy_strv_push(ret, matched);
	return ret->error ? hoy_fail_oom(err) : 0;
}

/* What NAME may be pulled from. *RET_SHORT: it is a short name whose meaning was asked for; in new memory. */
static int candidates(struct pull *p, const char *name, struct hoy_strv *ret, char **ret_short, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_regconf struct hoy_regconf c = HOY_REGCONF_INIT;
	cleanup_short struct hoy_short s = HOY_SHORT_INIT;
	cleanup_free char *full = NULL;
	bool asked = false, quiet = p->o->quiet;
	int r = hoy_ref_parse(&ref, name, err);

	if (r < 0)
		return r;
	if (ref.domain) {
		full = hoy_ref_normalize(&ref) < 0 ? NULL : hoy_ref_string(&ref);
		hoy_strv_take(ret, steal_ptr(&full));
		return ret->error ? hoy_fail_oom(err) : 0;
	}
	r = local_meaning(p, name, ret, err);
	if (r < 0 || ret->n)
		return r;
	r = hoy_regconf_load(&c, err);
	if (!r)
		r = hoy_short_name_remote(&c, &ref, &s, err);
	if (!r && s.ask)
		r = choose(&s, &asked, err);
	if (r < 0)
		return r;
	if (s.alias)
		progress(quiet, "Resolved \"%s\" as an alias (%s)", ref.path, s.file);
	else if (!asked)
		progress(quiet, "Resolving \"%s\" using unqualified-search registries (%s)", ref.path, s.file);
	*ret = s.names;
	s.names = (struct hoy_strv)HOY_STRV_INIT;
	*ret_short = asked ? steal_ptr(&ref.path) : NULL;
	return 0;
}

/* From now on the short name NAME means the repository of FULL. */
static int keep_answer(const char *name, const char *full, struct hoy_err *err)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *repo = NULL;
	int r = hoy_ref_parse(&ref, full, err);

	repo = r ? NULL : hoy_ref_repo(&ref);
	if (!r)
		r = repo ? hoy_regconf_answer(name, repo, err) : hoy_fail_oom(err);
	return r ? hoy_fail_prefix(err, "recording short-name alias (\"%s\"=\"%s\")", name, full) : 0;
}

static int pull_remote(struct pull *p, const char *name, char id[HOY_ID_SIZE], struct hoy_err *err)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT;
	const char *policy = p->o->policy ? p->o->policy : "always";
	char digest[SHA_DIGEST_SIZE] = "";
	bool docker = !strncmp(name, "docker://", 9);
	cleanup_free char *asked = NULL;
	int r, there;

	name += docker ? 9 : 0;
	there = strcmp(policy, "always") ? have(p, name, id, digest, err) : 0;
	if (there < 0)
		return there;
	if (there && (!strcmp(policy, "missing") || !strcmp(policy, "never") || !strcmp(policy, "ifnotpresent")))
		return 0;
	if (!strcmp(policy, "never"))
		return hoy_fail(err, ENOENT, "%s: image not known", name);
	if (strcmp(policy, "always") && strcmp(policy, "missing") && strcmp(policy, "newer") && strcmp(policy, "ifnewer") &&
	    strcmp(policy, "ifnotpresent"))
		return hoy_fail(err, EINVAL, "unsupported pull policy '%s' (always, missing, never, newer)", policy);
	r = docker ? (hoy_strv_push(&names, name), names.error ? hoy_fail_oom(err) : 0)  :
		     candidates(p, name, &names, &asked, err);
	for (size_t i = 0; !r && i < names.n; i++) {
		r = pull_full(p, names.v[i], id, there ? digest : NULL, err);
		if (r < 0 && i + 1 < names.n && !transfer_cancelled) {
			hoy_report(err, 0);
			r = 0;
			continue;
		}
		break;
	}
	if (!r && asked)
		r = keep_answer(asked, names.v[0], err);
	/* "newer" is content with what there is. */
	return r < 0 && there && !transfer_cancelled ? 0 : r;
}

static int pull_one(struct pull *p, const char *name, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv names = HOY_STRV_INIT, tags = HOY_STRV_INIT;
	char id[HOY_ID_SIZE];
	int r;

	if (p->o->all) {
		r = list_tags(name, &p->o->reg, &tags, err);
		for (size_t i = 0; !r && i < tags.n; i++) {
			cleanup_free char *full = hoy_asprintf("%s:%s", name, tags.v[i]);

			r = full ? pull_remote(p, full, id, err) : hoy_fail_oom(err);
			if (!r)
				puts(id);
		}
		return r;
	}
	if (hoy_names_transport(name) && strncmp(name, "docker://", 9)) {
		progress(p->o->quiet, "Trying to pull %s...", name);
		r = pull_files(p->s, name, &p->p, &p->in, &names, id, err);
	} else {
		r = pull_remote(p, name, id, err);
	}
	if (!r)
		puts(id);
	return r;
}

static int run_pull(const struct hoy_verb *v, int argc, char **argv)
{
	struct pull_opts o = { .reg = REG_OPTS_INIT };
	struct pull p = { .o = &o };
	struct hoy_err err = HOY_ERR_INIT;
	cleanup_store struct hoy_store *s = NULL;
	cleanup_free char *text = NULL;
	int status, r = 0, n = hoy_verb_args(v, argc, argv, &o, 1, -1, &status);

	if (n < 0)
		return status;
	r = progress_choose(o.progress, &o.quiet, &err);
	if (!r && o.platform)
		r = (text = strdup(o.platform)) ? platform_parse(&p.p, text, &err) : hoy_fail_oom(&err);
	p.in = (struct store_in){ .quiet = o.quiet, .parallel = o.parallel, .trust = &o.trust, .crypt = &o.crypt, .no_signatures = o.no_signatures };
	if (!r)
		r = store_in_limit(&p.in, o.max_layer, &err);
	if (!r)
		r = crypt_load(&o.crypt, &err);
	p.p.os = o.os ? o.os : p.p.os;
	p.p.arch = o.arch ? o.arch : p.p.arch;
	p.p.variant = o.variant ? o.variant : p.p.variant;
	if (!r && !(p.s = s = open_store(&err)))
		r = -err.code;
	for (int i = 1; i <= n && !r; i++)
		r = pull_one(&p, argv[i], &err);
	crypt_opts_release(&o.crypt);
	return r < 0 ? hoy_report(&err, 125) : 0;
}

const struct hoy_verb verb_pull = { "pull", "[options] IMAGE [IMAGE...]", "Pull an image from a registry", pull_opts, run_pull, false };
const struct hoy_verb verb_image_pull = { "image pull", "[options] IMAGE [IMAGE...]", NULL, pull_opts, run_pull, false };
