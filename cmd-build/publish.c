#include "cmd-build/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cmd-build/remote.h"
#include "common/base/fd.h"
#include "common/cli/call.h"

static bool leaves(const struct outspec *o) { return o->push || o->kind == OUT_OCI || (o->kind == OUT_DOCKER && o->dest); }

int publish_check(struct build *b, const struct outspec *o)
{
	for (size_t i = 0; i < o->names.n; i++)
		if (!hoy_strv_has(&b->o->tags, o->names.v[i]))
			hoy_strv_push(&b->o->tags, o->names.v[i]);
	if (b->o->tags.error)
		return hoy_fail_oom(&b->err);
	if (b->o->tags.n || b->o->manifest)
		return 0;
	if (o->push)
		return hoy_fail(&b->err, EINVAL, "tag is needed when pushing to registry");
	if (leaves(o) && (b->o->platforms.n > 1 || b->o->all_platforms))
		return hoy_fail(&b->err, EINVAL, "an archive of several platforms needs a name: -t or --manifest");
	return 0;
}

bool publish_names(const struct build *b)
{
	for (size_t i = 0; i < b->o->outputs.n; i++) {
		cleanup_outspec struct outspec o;

		if (!outspec_parse(&o, b->o->outputs.v[i], NULL) && o.kind == OUT_NOTHING)
			return false;
	}
	return true;
}

bool publish_needs_list(const struct build *b)
{
	for (size_t i = 0; i < b->o->outputs.n && !b->o->manifest; i++) {
		cleanup_outspec struct outspec o;

		if (!outspec_parse(&o, b->o->outputs.v[i], NULL) && leaves(&o))
			return true;
	}
	return false;
}

static int call_image(struct build *b, const struct hoy_strv *argv)
{
	int r = argv->error ? -ENOMEM : hoy_call_tool("hoy-image", (const char *const *)argv->v, NULL);

	/* What it has to say, it has said. */
	return r < 0 ? hoy_fail_errno(&b->err, -r, "cannot run hoy-image") : r ? -HOY_EREMOTE : 0;
}

/* The beginning of a command line that takes the image (or list) out of the store. */
static int begin(struct build *b, const char *list, struct hoy_strv *argv)
{
	if (list) {
		hoy_strv_push(argv, "manifest");
		hoy_strv_push(argv, "push");
		hoy_strv_push(argv, "--all");
	} else {
		hoy_strv_push(argv, "push");
	}
	if (b->o->quiet || b->view == VIEW_JSON)
		hoy_strv_push(argv, "-q");
	/* What the store has was signed as it is there; layers are packed on their way. */
	if (b->o->sign_by)
		hoy_strv_push(argv, "--remove-signatures");
	return argv->error ? hoy_fail_oom(&b->err) : 0;
}

/* The digest that was written to PATH; all names have the same one. */
static int take_digest(struct build *b, const char *path)
{
	size_t len;
	int r;

	free(b->pushed);
	b->pushed = NULL;
	r = hoy_read_file(AT_FDCWD, path, 4096, &b->pushed, &len, &b->err);
	if (!r)
		b->pushed[strcspn(b->pushed, "\n")] = '\0';
	return r;
}

static int push_name(struct build *b, const struct outspec *o, const char *id, const char *list, const char *name)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_free char *file = NULL;
	int r = need_tmp(b);

	file = r ? NULL : hoy_path_join(b->tmp, "digest");
	if (!r)
		r = begin(b, list, &argv);
	if (!r)
		r = remote_options(b, !list, &argv);
	for (size_t i = 0; i < o->coding.n; i++)
		hoy_strv_push(&argv, o->coding.v[i]);
	if (b->o->sign_by)
		hoy_strv_pushf(&argv, "--sign-by=%s", b->o->sign_by);
	hoy_strv_pushf(&argv, "--digestfile=%s", file ?: "");
	hoy_strv_push(&argv, list ?: id);
	hoy_strv_pushf(&argv, "docker://%s", name);
	if (!b->o->quiet && !r)
		fprintf(b->log ?: stdout, "Pushing %s\n", name);
	fflush(stdout);
	if (!r)
		r = call_image(b, &argv);
	return r ? r : take_digest(b, file);
}

static int push(struct build *b, const struct outspec *o, const char *id, const char *list)
{
	const struct hoy_strv *names = &b->o->tags;
	int r = 0;

	if (b->o->manifest)
		return push_name(b, o, id, list, list);
	for (size_t i = 0; i < names->n && !r; i++) {
		cleanup_free char *name = full_name(names->v[i], &b->err);

		r = name ? push_name(b, o, id, list, name) : -b->err.code;
	}
	return r;
}

static int archive(struct build *b, const struct outspec *o, const char *id, const char *list)
{
	const char *transport = o->kind == OUT_DOCKER ? "docker-archive" : o->directory ? "oci" : "oci-archive";
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_free char *name = b->o->tags.n ? full_name(b->o->tags.v[0], &b->err) : NULL;
	/* Its child has it, too. */
	cleanup_fd int out = strcmp(o->dest, "-") ? -1 : fcntl(b->out, F_DUPFD, 3);
	int r = begin(b, list, &argv);

	hoy_strv_push(&argv, list ?: id);
	if (out >= 0)
		hoy_strv_pushf(&argv, "%s:/dev/fd/%d%s%s", transport, out, name ? ":" : "", name ?: "");
	else
		hoy_strv_pushf(&argv, "%s:%s%s%s", transport, o->dest, name ? ":" : "", name ?: "");
	return r ? r : call_image(b, &argv);
}

int publish(struct build *b, const char *id, const char *list)
{
	int r = 0;

	for (size_t i = 0; i < b->o->outputs.n && !r; i++) {
		cleanup_outspec struct outspec o;

		r = outspec_parse(&o, b->o->outputs.v[i], &b->err);
		if (!r && o.push)
			r = push(b, &o, id, list);
		else if (!r && leaves(&o))
			r = archive(b, &o, id, list);
	}
	return r;
}
