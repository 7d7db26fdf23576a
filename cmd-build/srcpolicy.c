#include "cmd-build/srcpolicy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cmd-build/build.h"
#include "common/base/buf.h"
#include "common/base/fd.h"
#include "common/data/ref.h"

#define POLICY_MAX ((size_t)4 << 20)
#define IMAGE "docker-image://"

/* ---- the file ---- */

static const char *check_rule(const struct hoy_json *rule)
{
	const char *action = hoy_json_str(rule, "action"), *type = hoy_json_str(hoy_json_get(rule, "selector"), "matchType");
	const char *what = hoy_json_str(hoy_json_get(rule, "selector"), "identifier"), *to = hoy_json_str(hoy_json_get(rule, "updates"), "identifier");

	if (!action || !*action)
		return "action is required";
	if (strcmp(action, "ALLOW") && strcmp(action, "DENY") && strcmp(action, "CONVERT"))
		return "unknown action (valid: ALLOW, DENY, CONVERT)";
	if (!what || !*what)
		return "selector.identifier is required";
	if (type && !strcmp(type, "REGEX"))
		return "REGEX match type is not supported";
	if (type && *type && strcmp(type, "EXACT") && strcmp(type, "WILDCARD"))
		return "unknown matchType (valid: EXACT, WILDCARD)";
	/* BuildKit's ways to say more; to go on without them would be to allow what they don't. */
	if (hoy_json_get(hoy_json_get(rule, "selector"), "constraints") || hoy_json_get(hoy_json_get(rule, "updates"), "attrs"))
		return "selector.constraints and updates.attrs are not supported";
	return !strcmp(action, "CONVERT") && (!to || !*to) ? "updates.identifier is required for CONVERT action" : NULL;
}

static int check(struct build *b)
{
	const struct hoy_json *rules = hoy_json_get(b->policy.root, "rules");
	size_t n = 0;

	if (!hoy_json_is(b->policy.root, HOY_JSON_OBJECT) || (rules && !hoy_json_is(rules, HOY_JSON_ARRAY)))
		return hoy_fail(&b->err, EINVAL, "loading source policy: '%s' has no list of rules", b->o->source_policy);
	HOY_JSON_EACH(rule, rules) {
		const char *wrong = check_rule(rule);

		if (wrong)
			return hoy_fail(&b->err, EINVAL, "loading source policy: validating source policy: rule %zu: %s", n, wrong);
		n++;
	}
	return 0;
}

int srcpolicy_load(struct build *b)
{
	cleanup_free char *text = NULL;
	size_t len;
	int r;

	if (!b->o->source_policy)
		return 0;
	r = hoy_read_file(AT_FDCWD, b->o->source_policy, POLICY_MAX, &text, &len, &b->err);
	if (!r)
		r = hoy_json_parse(&b->policy, text, len, b->o->source_policy, &b->err);
	return r < 0 ? hoy_fail_prefix(&b->err, "loading source policy") : check(b);
}

/* ---- its rules ---- */

/* Does TEXT match PATTERN, in which "*" stands for anything, slashes too, and "?" for one character? */
static bool matches(const char *pattern, const char *text)
{
	const char *star = NULL, *from = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			from = text;
		} else if (*pattern == *text || *pattern == '?') {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++from;
		} else {
			return false;
		}
	}
	return !pattern[strspn(pattern, "*")];
}

static bool about(const struct hoy_json *rule, const char *id)
{
	const char *what = hoy_json_str(hoy_json_get(rule, "selector"), "identifier");
	const char *type = hoy_json_str(hoy_json_get(rule, "selector"), "matchType");

	return type && !strcmp(type, "EXACT") ? !strcmp(what, id) : matches(what, id);
}

/* The first rule that is about ID or, if that is another one, LONG_ID decides. */
static int decide(struct build *b, const char *id, const char *long_id, const char *prefix, char **ret)
{
	size_t n = 0;

	HOY_JSON_EACH(rule, hoy_json_get(b->policy.root, "rules")) {
		const char *action = hoy_json_str(rule, "action"), *to = hoy_json_str(hoy_json_get(rule, "updates"), "identifier");

		if (!about(rule, id) && !about(rule, long_id)) {
			n++;
			continue;
		}
		if (!strcmp(action, "DENY"))
			return hoy_fail(&b->err, EPERM, "source \"%s\" denied by source policy: matched rule %zu (selector: \"%s\")", long_id, n,
					hoy_json_str(hoy_json_get(rule, "selector"), "identifier"));
		if (strcmp(action, "CONVERT"))
			return 0;
		*ret = strdup(strncmp(to, prefix, strlen(prefix)) ? to : to + strlen(prefix));
		return *ret ? 0 : hoy_fail_oom(&b->err);
	}
	return 0;
}

int srcpolicy_image(struct build *b, const char *name, char **ret)
{
	cleanup_ref struct hoy_ref ref = HOY_REF_INIT;
	cleanup_free char *plain = NULL, *full = NULL, *id = NULL, *long_id = NULL;
	bool tagged;

	*ret = NULL;
	if (!b->policy.root || !strcmp(name, "scratch"))
		return 0;
	/* What is no name is an id, or will fail. */
	if (hoy_ref_parse(&ref, name, NULL) < 0) {
		id = hoy_asprintf(IMAGE "%s", name);
		return id ? decide(b, id, id, IMAGE, ret) : hoy_fail_oom(&b->err);
	}
	tagged = ref.tag || ref.digest;
	if (hoy_ref_normalize(&ref) < 0)
		return hoy_fail_oom(&b->err);
	full = hoy_ref_string(&ref);
	plain = tagged ? hoy_ref_string(&ref) : hoy_ref_repo(&ref);
	id = plain ? hoy_asprintf(IMAGE "%s", plain) : NULL;
	long_id = full ? hoy_asprintf(IMAGE "%s", full) : NULL;
	return id && long_id ? decide(b, id, long_id, IMAGE, ret) : hoy_fail_oom(&b->err);
}

int srcpolicy_url(struct build *b, const char *url, char **ret)
{
	*ret = NULL;
	return b->policy.root ? decide(b, url, url, "", ret) : 0;
}
