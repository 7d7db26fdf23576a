/* Tests of options that are commands: words as a shell would cut them, and JSON arrays of them. */
/* links: cmd-build */
#include <errno.h>
#include <string.h>

#include "cmd-build/ctr.h"
#include "common/base/buf.h"
#include "tests/unit/tap.h"

/* Words with | between them; NULL: there is an error. */
static const struct {
	const char *text, *want;
} shell[] = {
	{ "", "" },
	{ " \t\n", "" },
	{ "a b  c", "a|b|c" },
	{ "a 'b c' \"d e\"", "a|b c|d e" },
	{ "a'b c'd", "ab cd" },
	{ "''", "" },
	{ "a '' b", "a||b" },
	{ "'a\\b' \"c\\\"d\" e\\ f", "a\\b|c\"d|e f" },
	{ "\"it's\" 'say \"x\"'", "it's|say \"x\"" },
	{ "a \\", "a|\\" },
	{ "a 'b", NULL },
	{ "\"", NULL },
}, json[] = {
	{ "[\"a\", \"b c\"]", "a|b c" },
	{ " [ \"a\" ] ", "a" },
	{ "[]", "" },
	{ "[\"a\", 1]", NULL },
	{ "[\"a\", null]", NULL },
	{ "[\"a\"", NULL },
	{ "[\"a\\u0000b\"]", NULL },
	{ "{\"a\": \"b\"}", NULL },
	{ "\"a\"", NULL },
	{ "a b", NULL },
};

static bool same(const struct hoy_strv *v, const char *want)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4096);

	for (size_t i = 0; i < v->n; i++)
		hoy_buf_printf(&b, "%s%s", i ? "|" : "", v->v[i]);
	return !strcmp(hoy_buf_str(&b), want);
}

/* What follows an array. */
static const struct { const char *text, *want; } begun[] = {
	{ "[\"a\", \"b]\"]x", "a|b]" }, { "[ \"\\\"]\" ] ]", "\"]" }, { "[] && b", "" },
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(shell); i++) {
		cleanup_strv struct hoy_strv v = HOY_STRV_INIT;
		int r = shell_words(shell[i].text, &v);

		ok(shell[i].want ? !r && same(&v, shell[i].want) : r == -EINVAL, "shell: %s", shell[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(json); i++) {
		cleanup_strv struct hoy_strv v = HOY_STRV_INIT;
		int is = json_words(json[i].text, true, &v);

		ok(json[i].want ? is == 1 && same(&v, json[i].want) : is <= 0 && !v.n, "json: %s", json[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(begun); i++) {
		cleanup_strv struct hoy_strv v = HOY_STRV_INIT, none = HOY_STRV_INIT;

		ok(json_words(begun[i].text, false, &v) == 1 && same(&v, begun[i].want), "json and more: %s", begun[i].text);
		ok(!json_words(begun[i].text, true, &none) && !none.n, "not json alone: %s", begun[i].text);
	}
	ok(json_words("[\"a\", 1]", false, &(struct hoy_strv)HOY_STRV_INIT) == -EINVAL, "json: not strings alone");
	return tap_done();
}
