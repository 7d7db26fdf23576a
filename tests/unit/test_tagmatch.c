/* Tests of the tags that `sync` takes: regular expressions in Go's spelling, constraints on versions. */
/* links: cmd-image/transfer */
#include <errno.h>

#include "cmd-image/transfer/tagmatch.h"
#include "common/base/err.h"
#include "tests/unit/tap.h"

static const struct { const char *text, *tag; int want; } regexes[] = {
	{ "^1\\.13\\.[12]-alpine-perl$", "1.13.1-alpine-perl", 1 },
	{ "^1\\.13\\.[12]-alpine-perl$", "1x13.1-alpine-perl", 0 },
	{ "^v\\d+$", "v12", 1 },
	{ "^v\\d+$", "vd", 0 },
	{ "^[\\d.]+$", "1.2.3", 1 },
	{ "^[\\w\\.]+$", "a_1.z", 1 },
	{ "^[a\\-]$", "-", 1 },
	{ "^[^\\d]$", "7", 0 },
	{ "^[]a]+$", "]a", 1 },
	{ "(?:foo|bar)baz", "xbarbaz", 1 },
	{ "(?i)^LATEST$", "latest", 1 },
	{ "^a+?$", "aaa", 1 },
	{ "^\\S+\\z", "a b", 0 },
	{ "", "anything", 1 },
	{ "(?P<name>a)", "a", -HOY_EUNSUPPORTED },
	{ "\\pN", "1", -HOY_EUNSUPPORTED },
	{ "[\\]]", "]", -HOY_EUNSUPPORTED },
	{ "[a", "a", -HOY_EUNSUPPORTED },
	{ "a\\", "a", -HOY_EUNSUPPORTED },
	{ "(a", "a", -EINVAL },
	{ "a**", "a", -EINVAL },
	{ "a+?+", "a", -EINVAL },
};

static const struct { const char *text, *version; int want; } versions[] = {
	{ "1.2.3", "1.2.3", 1 },       { "=1.2.3", "v1.2.3", 1 },      { "1.2.3", "1.2.4", 0 },
	{ "1.2", "1.2.9", 1 },	       { "1.2", "1.3.0", 0 },	       { "1", "1.9", 1 },
	{ "*", "9.9.9", 1 },	       { "*", "9.9.9-rc1", 0 },	       { "1.x", "1.7.2", 1 },
	{ "1.2.x", "1.3.0", 0 },       { ">= 1.2.3", "1.2.3", 1 },     { ">=1.2", "1.1.9", 0 },
	{ ">1.2", "1.2.5", 0 },	       { ">1.2", "1.3.0", 1 },	       { ">11", "11.1.0", 0 },
	{ "<2", "1.9.9", 1 },	       { "<2", "2.0.0", 0 },	       { "<=1", "1.5.0", 1 },
	{ "<=1.4", "1.4.7", 1 },       { "<=1.4", "1.5", 0 },	       { "!=1.2", "1.2.5", 0 },
	{ "!=1.2", "1.3.5", 1 },       { "!=1.2.3", "1.2.4", 1 },      { "~1.2.3", "1.2.9", 1 },
	{ "~1.2.3", "1.3.0", 0 },      { "~1", "1.9.0", 1 },	       { "~>1.2", "1.2.7", 1 },
	{ "~0.0.0", "7.0.0", 1 },      { "^1.2.3", "1.9.0", 1 },       { "^1.2.3", "2.0.0", 0 },
	{ "^0.2.3", "0.2.9", 1 },      { "^0.2.3", "0.3.0", 0 },       { "^0.0.3", "0.0.3", 1 },
	{ "^0.0.3", "0.0.4", 0 },      { "^0.0", "0.0.9", 1 },	       { "^0", "0.9.0", 1 },
	{ "^0", "1.0.0", 0 },	       { ">=1.2, <2", "1.5.0", 1 },    { ">=1.2 <2", "2.1.0", 0 },
	{ "1.2 - 1.4.5", "1.4.5", 1 }, { "1.2 - 1.4.5", "1.4.6", 0 },  { "<1 || >=3", "3.1.0", 1 },
	{ "<1 || >=3", "2.0.0", 0 },   { ">=1.0.0", "1.1.0-rc1", 0 },  { ">=1.0.0-0", "1.1.0-rc1", 1 },
	{ ">1.0.0-rc.2", "1.0.0-rc.10", 1 }, { ">1.0.0-rc.2", "1.0.0", 1 }, { "1.2.3", "1.2.3+build", 1 },
	{ ">=1", "latest", 0 },	       { ">=1", "1.2.3.4", 0 },	       { ">=1", "", 0 },
	{ "", "1.0.0", -EINVAL },      { ">=", "1.0.0", -EINVAL },     { "abc", "1.0.0", -EINVAL },
	{ "1.0,", "1.0.0", -EINVAL },  { ">=1 ||", "1.0.0", -EINVAL }, { "99999999999999999999", "1.0.0", -EINVAL },
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(regexes); i++) {
		struct hoy_err err = HOY_ERR_INIT;
		regex_t re;
		int r = tag_regex(&re, regexes[i].text, &err);

		if (!r) {
			r = !regexec(&re, regexes[i].tag, 0, NULL, 0);
			regfree(&re);
		}
		ok(r == regexes[i].want, "regex '%s' of '%s': %d", regexes[i].text, regexes[i].tag, r);
	}
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		struct hoy_err err = HOY_ERR_INIT;
		int r = semver_match(versions[i].text, versions[i].version, &err);

		ok(r == versions[i].want && (r >= 0 || err.msg[0]), "'%s' of '%s': %d", versions[i].text, versions[i].version, r);
	}
	return tap_done();
}
