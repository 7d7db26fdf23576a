#include "cmd-image/transfer/provider.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd-image/transfer/helper.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/data/base64.h"
#include "common/data/json.h"

#define CONFIG "OCICRYPT_KEYPROVIDER_CONFIG"
#define CONFIG_MAX ((size_t)1 << 20)

static size_t name_len(const char *spec) { return strcspn(spec, ":"); }
static const char *text_of(const char *spec) { return spec[name_len(spec)] ? spec + name_len(spec) + 1 : "Enabled"; }

/* The command of provider NAME (LEN bytes) into ARGV. */
static int command(const char *name, size_t len, struct hoy_strv *argv, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	cleanup_free char *key = strndup(name, len), *data = NULL;
	const char *path = getenv(CONFIG);
	const struct hoy_json *p, *cmd;
	size_t n;
	int r;

	if (!path || !*path)
		return hoy_fail(err, ENOENT, "the key provider '%.*s' is not known: " CONFIG " names no file", (int)len, name);
	r = key ? hoy_read_file(AT_FDCWD, path, CONFIG_MAX, &data, &n, err) : hoy_fail_oom(err);
	if (!r)
		r = hoy_json_parse(&doc, data, n, path, err);
	if (r < 0)
		return r;
	p = hoy_json_get(hoy_json_get(doc.root, "key-providers"), key);
	cmd = hoy_json_get(p, "cmd");
	if (!p)
		return hoy_fail(err, ENOENT, "'%s' has no key provider '%s'", path, key);
	if (!hoy_json_str(cmd, "path"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "'%s': the key provider '%s' has no command, and other ways to one (gRPC) are not supported", path, key);
	hoy_strv_push(argv, hoy_json_str(cmd, "path"));
	HOY_JSON_EACH(a, hoy_json_get(cmd, "args"))
		hoy_strv_push(argv, hoy_json_text(a) ?: "");
	return argv->error ? hoy_fail_oom(err) : 0;
}

int provider_check(const char *spec, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;

	return command(spec, name_len(spec), &argv, err);
}

static void put_base64(struct hoy_jw *w, const char *key, const void *data, size_t n)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(CONFIG_MAX);

	hoy_base64(&b, data, n);
	hoy_jw_string(w, key, hoy_buf_str(&b));
}

/* Ask the provider NAME (LEN bytes); of its answer RESULT.FIELD, which is base64, to RET. */
static int ask(const char *name, size_t len, const struct hoy_buf *request, const char *result, const char *field, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv argv = HOY_STRV_INIT;
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(CONFIG_MAX);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	const char *text;
	int r = request->error ? hoy_fail_oom(err) : command(name, len, &argv, err);

	if (r < 0)
		return r;
	r = helper_ask(argv.v, request->data, request->len, &out);
	if (r)
		return hoy_fail(err, HOY_EREMOTE, "the key provider '%.*s' (%s) fails%s%s", (int)len, name, argv.v[0], r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
	r = hoy_json_parse(&doc, hoy_buf_str(&out), out.len, argv.v[0], err);
	text = r ? NULL : hoy_json_str(hoy_json_get(doc.root, result), field);
	if (!r && (!text || !*text || hoy_unbase64(ret, text, strlen(text)) < 0))
		r = hoy_fail(err, HOY_EFORMAT, "the key provider '%.*s' does not answer with a key", (int)len, name);
	return r;
}

int provider_seal(const char *spec, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(CONFIG_MAX);
	cleanup_free char *name = strndup(spec, name_len(spec));
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	if (!name)
		return hoy_fail_oom(err);
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "op", "keywrap");
	hoy_jw_object(&w, "keywrapparams");
	hoy_jw_object(&w, "ec");
	hoy_jw_object(&w, "Parameters");
	hoy_jw_array(&w, name);
	put_base64(&w, NULL, text_of(spec), strlen(text_of(spec)));
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
	hoy_jw_raw(&w, "DecryptConfig", "{\"Parameters\":null}");
	hoy_jw_end_object(&w);
	put_base64(&w, "optsdata", data, len);
	hoy_jw_end_object(&w);
	hoy_jw_raw(&w, "keyunwrapparams", "{\"dc\":null,\"annotation\":null}");
	hoy_jw_end_object(&w);
	return ask(spec, name_len(spec), &b, "keywrapresults", "annotation", ret, err);
}

int provider_open(const char *name, const struct hoy_strv *specs, const void *data, size_t len, struct hoy_buf *ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(CONFIG_MAX);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "op", "keyunwrap");
	hoy_jw_raw(&w, "keywrapparams", "{\"ec\":null,\"optsdata\":null}");
	hoy_jw_object(&w, "keyunwrapparams");
	hoy_jw_object(&w, "dc");
	hoy_jw_object(&w, "Parameters");
	hoy_jw_array(&w, name);
	for (size_t i = 0; i < specs->n; i++)
		if (strlen(name) == name_len(specs->v[i]) && !strncmp(name, specs->v[i], strlen(name)))
			put_base64(&w, NULL, text_of(specs->v[i]), strlen(text_of(specs->v[i])));
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
	put_base64(&w, "annotation", data, len);
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
	return ask(name, strlen(name), &b, "keyunwrapresults", "optsdata", ret, err);
}
