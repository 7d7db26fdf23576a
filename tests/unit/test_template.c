#include <string.h>

#include "common/base/err.h"
#include "common/cli/template.h"
#include "common/conf/toml.h"
#include "tests/unit/tap.h"

static const char data[] = "{\"Name\":\"web\",\"Size\":42,\"On\":true,\"Nil\":null,\"List\":[\"a\",\"b\"],\"Labels\":{\"k\":\"v\"},"
			   "\"State\":{\"Running\":false,\"Pid\":7},\"Empty\":[]}";

static const struct { const char *in, *out; } good[] = {
	{ "{{.Name}}", "web" }, { "{{ .Name }}-{{.Size}}", "web-42" }, { "{{.State.Pid}}", "7" }, { "{{.name}}", "web" },
	{ "{{if .On}}yes{{else}}no{{end}}", "yes" }, { "{{if .State.Running}}yes{{else}}no{{end}}", "no" },
	{ "{{if .State.Running}}a{{else if .On}}b{{else}}c{{end}}", "b" },
	{ "{{if .Empty}}a{{else if .Nil}}b{{else}}c{{end}}", "c" },
	{ "{{range .List}}<{{.}}>{{end}}", "<a><b>" }, { "{{range $i, $v := .List}}{{$i}}{{$v}}{{end}}", "0a1b" },
	{ "{{range $k, $v := .Labels}}{{$k}}={{$v}}{{end}}", "k=v" }, { "{{range .Empty}}x{{else}}none{{end}}", "none" },
	{ "{{with .State}}{{.Pid}}{{end}}", "7" }, { "{{$x := .Name}}{{$x}}", "web" }, { "{{range .List}}{{$.Name}}{{end}}", "webweb" },
	{ "{{json .List}}", "[\"a\",\"b\"]" }, { "{{.List | json}}", "[\"a\",\"b\"]" }, { "{{join .List \",\"}}", "a,b" },
	{ "{{upper .Name}} {{.Name | title}}", "WEB Web" }, { "{{len .List}} {{len .Name}}", "2 3" }, { "{{index .List 1}}", "b" },
	{ "{{index .Labels \"k\"}}", "v" }, { "{{.Labels.k}}", "v" }, { "{{.Labels.none}}", "<no value>" },
	{ "{{printf \"%-5s|%d\" .Name .Size}}", "web  |42" }, { "{{eq .Name \"web\"}} {{ne .Size 42}} {{lt .Size 50}}", "true false true" },
	{ "{{and .On .Name}} {{or .Nil .Name}} {{not .On}}", "web web false" }, { "{{.List}} {{.Labels}} {{.State}}", "[a b] map[k:v] {false 7}" },
	{ "{{split \"a:b\" \":\"}}", "[a b]" }, { "{{slice .Name 1 3}}", "eb" }, { "a {{- \"b\" -}} c", "abc" }, { "{{/* note */}}x", "x" },
	{ "{{truncate .Name 2}}", "we" }, { "{{`raw`}}", "raw" }, { "{{(index .List 0)}}", "a" }, { "{{.Nil}}", "<nil>" },
};
static const char *const bad[] = { "{{.Nothing}}", "{{", "{{end}}", "{{if .On}}", "{{nosuch .Name}}", "{{.Name", "{{index .List 9}}", "{{.State.No}}",
				   "{{$x}}", "{{else}}", "{{len}}", "{{.Name .Size}}", "{{\"open}}", "{{(.Name}}", "{{slice .Name 3 1}}" };

static void test_templates(void)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;

	ok(!hoy_json_parse(&doc, data, strlen(data), "data", NULL), "data");
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4096);
		struct hoy_template *t = NULL;
		struct hoy_err err = HOY_ERR_INIT;
		int r = hoy_template_new(&t, good[i].in, &err);

		if (!r)
			r = hoy_template_eval(t, doc.root, &b, &err);
		ok(!r && !strcmp(hoy_buf_str(&b), good[i].out), "%s gives '%s' %s", good[i].in, hoy_buf_str(&b), err.msg);
		hoy_template_free(t);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4096);
		struct hoy_template *t = NULL;
		struct hoy_err err = HOY_ERR_INIT;
		int r = hoy_template_new(&t, bad[i], &err);

		if (!r)
			r = hoy_template_eval(t, doc.root, &b, &err);
		ok(r == -EINVAL && err.msg[0], "%s is refused: %s", bad[i], err.msg);
		hoy_template_free(t);
	}
}

static const struct { const char *in, *json; } tomls[] = {
	{ "a = 1\nb = \"x\\ty\" # c\n[t]\nc = true\n[t.u]\nd = 'raw\\n'\n", "{\"a\":1,\"b\":\"x\\ty\",\"t\":{\"c\":true,\"u\":{\"d\":\"raw\\\\n\"}}}" },
	{ "a = [1, 2,\n # x\n 3,]\n", "{\"a\":[1,2,3]}" },
	{ "[[r]]\nl = \"x\"\n[[r]]\nl = \"y\"\n[[r.m]]\nz = 0x10\n", "{\"r\":[{\"l\":\"x\"},{\"l\":\"y\",\"m\":[{\"z\":16}]}]}" },
	{ "a.b.\"c d\" = { e = 1_000, f = [] }\n", "{\"a\":{\"b\":{\"c d\":{\"e\":1000,\"f\":[]}}}}" },
	{ "s = \"\"\"\none\\\n   two\"\"\"\n", "{\"s\":\"onetwo\"}" }, { "f = 1.5\nd = 2026-01-02T03:04:05Z\n", "{\"f\":\"1.5\",\"d\":\"2026-01-02T03:04:05Z\"}" },
	{ "", "{}" }, { "# only\r\n\r\n", "{}" }, { "u = \"\\u00e9\"", "{\"u\":\"\xc3\xa9\"}" },
	{ "a = 1\na = 2\n", NULL }, { "a", NULL }, { "[a\n", NULL }, { "a = \"x\n", NULL }, { "a = [1,2\n", NULL }, { "a = 1 b = 2\n", NULL },
	{ "a = nope\n", NULL }, { "a = \"\\q\"\n", NULL }, { "a = 1\n[a]\n", NULL }, { "= 1\n", NULL },
};

static void test_toml(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(tomls); i++) {
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4096);
		struct hoy_jw w = hoy_jw_on(&b, NULL);
		struct hoy_err err = HOY_ERR_INIT;
		int r = hoy_toml_parse(&doc, tomls[i].in, strlen(tomls[i].in), "t.toml", &err);

		if (!r)
			hoy_jw_value(&w, NULL, doc.root);
		ok(tomls[i].json ? !r && !strcmp(hoy_buf_str(&b), tomls[i].json) : r == -HOY_EFORMAT && strstr(err.msg, "line"), "TOML %zu: %s%s", i,
		   hoy_buf_str(&b), err.msg);
	}
}

int main(void)
{
	test_templates();
	test_toml();
	return tap_done();
}
