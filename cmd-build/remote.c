#include "cmd-build/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "cmd-build/build.h"
#include "common/base/fd.h"
#include "common/cli/call.h"
#include "common/data/ref.h"
#include "common/data/time.h"
#include "common/store/images.h"

/* ---- names ---- */

/* The repository of docker's "type=registry,ref=REPOSITORY,mode=max", which is how all is cached here; other text is one. NULL: it's none. */
static char *repo_of(const char *text)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	const char *ref = NULL;

	if (strncmp(text, "type=", 5))
		return strdup(text);
	hoy_strv_split(&words, text, ',');
	for (size_t i = 0; i < words.n; i++) {
		const char *w = words.v[i];

		if (!strncmp(w, "ref=", 4))
			ref = w + 4;
		else if (strcmp(w, "type=registry") && strcmp(w, "mode=max"))
			return NULL;
	}
	return ref ? strdup(ref) : NULL;
}

static int take_repos(struct build *b, const char *option, const struct hoy_strv *names, struct hoy_strv *ret)
{
	for (size_t i = 0; i < names->n; i++) {
		cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
		cleanup_free char *repo = NULL, *name = repo_of(names->v[i]);
		bool bare;

		if (!name)
			return hoy_fail(&b->err, HOY_EUNSUPPORTED, "a cache is kept in a registry, a tag for each step: --%s=REPOSITORY or type=registry,ref=REPOSITORY,mode=max, not \"%s\"",
					option, names->v[i]);
		if (hoy_ref_parse(&ref, name, &b->err) < 0)
			return hoy_fail_prefix(&b->err, "unable to parse value provided to --%s: invalid repo \"%s\": must contain registry and repository",
					       option, names->v[i]);
		bare = !ref.tag && !ref.digest;
		repo = hoy_ref_normalize(&ref) < 0 ? NULL : hoy_ref_repo(&ref);
		if (!bare)
			return hoy_fail(&b->err, EINVAL, "unable to parse value provided to --%s: repository must contain neither a tag nor digest: %s", option, names->v[i]);
		if (!repo)
			return hoy_fail_oom(&b->err);
		hoy_strv_push(ret, repo);
	}
	return ret->error ? hoy_fail_oom(&b->err) : 0;
}

int remote_check(struct build *b)
{
	const struct build_opts *o = b->o;
	int r = take_repos(b, "cache-from", &o->cache_from, &b->cache_from);

	if (!r)
		r = take_repos(b, "cache-to", &o->cache_to, &b->cache_to);
	if (!r && !b->layers && (b->cache_from.n || b->cache_to.n))
		r = hoy_fail(&b->err, EINVAL, "a cache in a registry has an image of each step: --layers is needed");
	return r;
}

/* ---- keys ---- */

/* What the key is the digest of: buildah's text, Go's spelling. */
static void describe(const struct state *s, const char *by, bool layer, const char *type, struct hoy_buf *b)
{
	HOY_JSON_EACH(d, hoy_json_path(s->base.root, "rootfs", "diff_ids", NULL))
		hoy_buf_printf(b, "%s\n", hoy_json_text(d) ?: "");
	hoy_buf_printf(b, "%s%s\n%s\n", layer ? "true" : "false", by, type);
	HOY_JSON_EACH(h, hoy_json_get(s->base.root, "history")) {
		char when[HOY_TIME_SIZE] = "<nil>";

		if (hoy_json_str(h, "created"))
			hoy_time_string(hoy_json_time(h, "created"), when);
		hoy_buf_printf(b, "%s\n%s\n%s\n%s\n%s\n", hoy_json_str(h, "created_by") ?: "", hoy_json_str(h, "author") ?: "",
			       hoy_json_str(h, "comment") ?: "", when, hoy_json_bool(h, "empty_layer", false) ? "true" : "false");
	}
}

static int hash(struct build *b, const struct hoy_buf *text, char key[HOY_ID_SIZE])
{
	cleanup_fd int fd = memfd_create("hoy-build", 0);
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(4096);
	char path[32];
	const char *const words[] = { "hash", path, NULL };
	int r = text->error ? -text->error : fd < 0 ? -errno : hoy_write_full(fd, text->data, text->len);

	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	if (!r)
		r = hoy_call_tool("hoy-builder", words, &out);
	if (r || out.len < HOY_ID_LEN)
		return hoy_fail_errno(&b->err, r < 0 ? -r : EIO, "cannot compute the key of a step");
	snprintf(key, HOY_ID_SIZE, "%.64s", out.data);
	return 0;
}

int remote_key(struct state *s, const char *by, bool layer)
{
	struct build *b = s->b;
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(HOY_BUF_OURS);
	cleanup_json struct hoy_json_doc man = HOY_JSON_DOC_INIT;
	int r = 0;

	*s->key = '\0';
	if (!b->cache_from.n && !b->cache_to.n)
		return 0;
	if (*s->image)
		r = hoy_image_manifest(b->s, hoy_image_get(b->s, s->image), &man, &b->err);
	if (r < 0)
		return r;
	describe(s, by, layer, hoy_json_str(man.root, "mediaType") ?: "", &text);
	return hash(b, &text, s->key);
}

/* ---- transfers ---- */

int remote_options(struct build *b, bool retries, struct hoy_strv *argv)
{
	const struct build_opts *o = b->o;
	const char *const opts[][2] = { { "authfile", o->authfile }, { "creds", o->creds }, { "cert-dir", o->cert_dir },
					{ "retry-delay", retries ? o->retry_delay : NULL } };

	for (size_t i = 0; i < ARRAY_SIZE(opts); i++)
		if (opts[i][1])
			hoy_strv_pushf(argv, "--%s=%s", opts[i][0], opts[i][1]);
	if (o->tls_verify >= 0)
		hoy_strv_pushf(argv, "--tls-verify=%s", o->tls_verify ? "true" : "false");
	if (o->retry >= 0 && retries)
		hoy_strv_pushf(argv, "--retry=%lld", (long long)o->retry);
	return argv->error ? hoy_fail_oom(&b->err) : 0;
}

/* Without a word: that a repository doesn't have it is no error. */
static int call_quietly(const struct hoy_strv *argv)
{
	cleanup_fd int own = fcntl(2, F_DUPFD_CLOEXEC, 3), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);
	int r;

	if (own < 0 || null < 0 || dup2(null, 2) < 0)
		return -errno;
	r = hoy_call_tool("hoy-image", (const char *const *)argv->v, &out);
	dup2(own, 2);
	return r;
}

int remote_pull(struct state *s, bool *ret)
{
	struct build *b = s->b;
	int r = 0;

	*ret = false;
	for (size_t i = 0; i < b->cache_from.n && !*ret && !r; i++) {
		cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
		cleanup_free char *line = hoy_asprintf("--> Cache pulled from remote %s:%s:%s", b->cache_from.v[i], s->key, s->key);

		hoy_strv_push(&argv, "pull");
		hoy_strv_push(&argv, "--policy=newer");
		hoy_strv_push(&argv, "-q");
		r = remote_options(b, true, &argv);
		hoy_strv_pushf(&argv, "docker://%s:%s", b->cache_from.v[i], s->key);
		*ret = !r && !argv.error && !call_quietly(&argv);
		if (*ret)
			say_line(s, "pulled", line ?: "");
	}
	return r ? r : stopped(b);
}

int remote_push(struct state *s)
{
	struct build *b = s->b;
	cleanup_buf struct hoy_buf line = HOY_BUF_INIT(1 << 20);
	int r = 0;

	if (!b->cache_to.n)
		return 0;
	hoy_buf_puts(&line, "--> Pushing cache [");
	for (size_t i = 0; i < b->cache_to.n; i++)
		hoy_buf_printf(&line, "%s%s", i ? " " : "", b->cache_to.v[i]);
	hoy_buf_printf(&line, "]:%s", s->key);
	say_line(s, "push", hoy_buf_str(&line));
	for (size_t i = 0; i < b->cache_to.n && !r; i++) {
		cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
		cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 16);

		hoy_strv_push(&argv, "push");
		hoy_strv_push(&argv, "-q");
		r = remote_options(b, true, &argv);
		hoy_strv_push(&argv, s->image);
		hoy_strv_pushf(&argv, "docker://%s:%s", b->cache_to.v[i], s->key);
		if (!r && hoy_call_tool("hoy-image", (const char *const *)argv.v, &out))
			r = hoy_fail(&b->err, HOY_EREMOTE, "failed pushing cache to %s:%s", b->cache_to.v[i], s->key);
	}
	return r;
}
