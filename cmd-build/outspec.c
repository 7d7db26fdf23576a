#include "cmd-build/outspec.h"

#include <errno.h>
#include <string.h>

#include "common/base/cleanup.h"

static const struct {
	const char *word;
	enum out_kind kind;
	bool push;
} kinds[] = {
	{ "image", OUT_IMAGE, false }, { "registry", OUT_IMAGE, true }, { "local", OUT_DIR, false },	   { "tar", OUT_TAR, false },
	{ "oci", OUT_OCI, false },     { "docker", OUT_DOCKER, false }, { "cacheonly", OUT_NOTHING, false },
};

static int set_kind(struct outspec *o, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(value, kinds[i].word)) {
			o->kind = kinds[i].kind;
			o->push = o->push || kinds[i].push;
			return 0;
		}
	return -EINVAL;
}

static int set_bool(bool *b, const char *value)
{
	*b = !strcmp(value, "true") || !strcmp(value, "1");
	return *b || !strcmp(value, "false") || !strcmp(value, "0") ? 0 : -EINVAL;
}

/* What docker says of an image on its way to a registry, as options of `push`. */
static int set_coding(struct outspec *o, const char *key, const char *value)
{
	bool yes;

	if (!strcmp(key, "compression") && (!strcmp(value, "gzip") || !strcmp(value, "zstd")))
		hoy_strv_pushf(&o->coding, "--compression-format=%s", value);
	else if (!strcmp(key, "compression-level"))
		hoy_strv_pushf(&o->coding, "--compression-level=%s", value);
	else if (!strcmp(key, "oci-mediatypes") && !set_bool(&yes, value))
		hoy_strv_pushf(&o->coding, "--format=%s", yes ? "oci" : "v2s2");
	else
		return -EINVAL;
	return o->coding.error ? -ENOMEM : 0;
}

static int set_value(struct outspec *o, const char *key, const char *value)
{
	bool tar;

	if (!strcmp(key, "type"))
		return set_kind(o, value);
	if (!strcmp(key, "push"))
		return set_bool(&o->push, value);
	if (!strcmp(key, "tar")) {
		if (set_bool(&tar, value) < 0)
			return -EINVAL;
		o->directory = !tar;
		return 0;
	}
	if (!strcmp(key, "name")) {
		hoy_strv_split(&o->names, value, ',');
		return o->names.error ? -ENOMEM : 0;
	}
	if (!strcmp(key, "dest")) {
		free(o->dest);
		o->dest = strdup(value);
		return o->dest ? 0 : -ENOMEM;
	}
	return set_coding(o, key, value);
}

static bool is_key(const char *key)
{
	static const char *const keys[] = { "type", "push", "tar", "name", "dest", "compression", "compression-level", "oci-mediatypes" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

static int set_word(struct outspec *o, const char *word, const char *text, struct hoy_err *err)
{
	const char *eq = strchr(word, '=');
	cleanup_free char *key = strndup(word, strcspn(word, "="));
	int r;

	if (!key)
		return hoy_fail_oom(err);
	if (!eq || !is_key(key))
		return hoy_fail(err, EINVAL, "failed to parse build output \"%s\": unrecognized key \"%s\" in build output option: \"%s\"", text, key, text);
	r = set_value(o, key, eq + 1);
	if (r == -ENOMEM)
		return hoy_fail_oom(err);
	return r < 0 ? hoy_fail(err, EINVAL, "failed to parse build output \"%s\": invalid %s \"%s\" selected for build output options \"%s\"", text, key, eq + 1, text) : 0;
}

/* The fields of TEXT, as of a line of CSV: those in quotes may hold commas. */
static int split(struct hoy_strv *ret, const char *text)
{
	while (*text) {
		const char *end = *text == '"' ? strchr(text + 1, '"') : NULL;
		size_t skip = end ? 1 : 0, len = end ? (size_t)(end - text) - 1 : strcspn(text, ",");

		hoy_strv_pushf(ret, "%.*s", (int)len, text + skip);
		text += len + 2 * skip;
		if (*text && *text != ',')
			return -EINVAL;
		text += *text == ',';
	}
	return ret->error ? -ENOMEM : 0;
}

/* Do the fields go together? */
static int check(const struct outspec *o, const char *text, struct hoy_err *err)
{
	if (o->kind == OUT_DIR && o->dest && !strcmp(o->dest, "-"))
		return hoy_fail(err, EINVAL, "failed to parse build output \"%s\": invalid build output option \"%s\", \"type=local\" can not be used with \"dest=-\"", text, text);
	if ((o->kind == OUT_DIR || o->kind == OUT_TAR || o->kind == OUT_OCI) && (!o->dest || !*o->dest))
		return hoy_fail(err, EINVAL, "failed to parse build output \"%s\": it needs a dest", text);
	if (o->directory && (o->kind != OUT_OCI || !strcmp(o->dest, "-")))
		return hoy_fail(err, EINVAL, "failed to parse build output \"%s\": tar=false goes with type=oci and a directory", text);
	if ((o->push || o->coding.n) && o->kind != OUT_IMAGE)
		return hoy_fail(err, EINVAL, "failed to parse build output \"%s\": what is pushed has the type image or registry", text);
	if (o->coding.n && !o->push)
		return hoy_fail(err, HOY_EUNSUPPORTED, "failed to parse build output \"%s\": layers are compressed when they are pushed: push=true", text);
	return 0;
}

int outspec_parse(struct outspec *o, const char *text, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	int r;

	*o = (struct outspec){ .kind = OUT_DIR, .names = HOY_STRV_INIT, .coding = HOY_STRV_INIT };
	if (!strchr(text, '=')) {
		o->kind = !strcmp(text, "-") ? OUT_TAR : *text ? OUT_DIR : OUT_IMAGE;
		o->dest = strdup(text);
		return o->dest ? 0 : hoy_fail_oom(err);
	}
	r = split(&words, text);
	if (r < 0)
		return r == -ENOMEM ? hoy_fail_oom(err) : hoy_fail(err, EINVAL, "failed to parse build output \"%s\": text behind a field in quotes", text);
	for (size_t i = 0; i < words.n && !r; i++)
		r = set_word(o, words.v[i], text, err);
	return r ? r : check(o, text, err);
}

void outspec_release(struct outspec *o)
{
	free(o->dest);
	o->dest = NULL;
	hoy_strv_release(&o->names);
	hoy_strv_release(&o->coding);
}
