/* cmd-image/transfer/tagmatch.h: which tags `sync` takes: by a regular expression, or by a constraint on versions. */
#pragma once
#include <regex.h>
#include <stdbool.h>

struct hoy_err;

/*
 * Compile TEXT, a regular expression in Go's spelling. What POSIX spells differently is translated (\d, (?:...), (?i), lazy
 * repetitions); what it lacks is -HOY_EUNSUPPORTED.
 */
int tag_regex(regex_t *ret, const char *text, struct hoy_err *err);

/*
 * Constraints as github.com/Masterminds/semver has them: comparisons joined by a comma or a blank (all of them) and "||" (one of
 * them), "~", "^", "x" for any number, "1.2 - 1.4". 1: VERSION fits, 0: it doesn't or is no version, -EINVAL: TEXT is none.
 */
int semver_match(const char *text, const char *version, struct hoy_err *err);
