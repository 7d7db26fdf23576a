#include <string.h>

#include "common/base/err.h"
#include "common/data/json.h"
#include "tests/unit/tap.h"

static const struct { const char *in, *out; } same[] = {
	{ "{\"a\":[1,2.50,-3e4],\"b\":null,\"c\":true}", NULL },
	{ "\"\\u003cx\\u003e\\u0026\"", NULL },
	{ "\"tab\\t nl\\n bs\\b ff\\f cr\\r q\\\" s\\\\ x\\u0001\"", NULL },
	{ "\"\\u2028 \xc3\xa9\"", NULL },
	{ " [ ] ", "[]" },
	{ "{ \"x\" : {} }", "{\"x\":{}}" },
};
static const char *const bad[] = { "", "  ", "{", "[1,]", "{\"a\":1}x", "\"\xff\"", "nul", "{\"a\" 1}", "01" };

int main(void)
{
	char deep[400];

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4096);
		struct hoy_jw w = hoy_jw_on(&b, NULL);
		struct hoy_err err = HOY_ERR_INIT;
		int r = hoy_json_parse(&doc, same[i].in, strlen(same[i].in), "t", &err);

		if (!r)
			hoy_jw_value(&w, NULL, doc.root);
		ok(!r && !strcmp(hoy_buf_str(&b), same[i].out ? same[i].out : same[i].in), "round trip of %s gives %s",
		   same[i].in, hoy_buf_str(&b));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
		struct hoy_err err = HOY_ERR_INIT;

		ok(hoy_json_parse(&doc, bad[i], strlen(bad[i]), "t", &err) == -HOY_EFORMAT && err.msg[0] && !doc.root,
		   "refused: %s", bad[i]);
		hoy_json_release(&doc);
	}
	memset(deep, '[', 200);
	memset(deep + 200, ']', 200);
	struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	ok(hoy_json_parse(&doc, deep, 400, "deep", NULL) == -HOY_EFORMAT, "200 levels are refused");
	static const char odd[] = "{\"a\":{\"b\":\"x\\u0000y\",\"n\":9223372036854775808}}";

	ok(!hoy_json_parse(&doc, odd, strlen(odd), "t", NULL), "parsed");
	ok(!hoy_json_text(hoy_json_path(doc.root, "a", "b", NULL)), "a string with a NUL is no text");
	ok(hoy_json_int(hoy_json_get(doc.root, "a"), "n", 7) == 7, "a number that does not fit is absent");
	hoy_json_release(&doc);
	return tap_done();
}
