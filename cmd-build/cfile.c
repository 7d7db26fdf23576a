#include "cmd-build/cfile.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd-build/cfile_in.h"
#include "cmd-build/words.h"
#include "common/base/buf.h"
#include "common/base/err.h"

enum form { F_TEXT, F_WORDS, F_QUOTED_WORDS, F_PAIRS, F_JSON_TEXT, F_JSON_WORDS, F_HEALTH };
static const struct kind {
	const char *word;
	enum form form;
	bool docs;   /* may have here-documents */
	const char *flags; /* those that it knows */
} kinds[] = {
	{ "ADD", F_JSON_WORDS, true, "checksum chmod chown exclude keep-git-dir link unpack " },
	{ "ARG", F_QUOTED_WORDS, false, "" },
	{ "CMD", F_JSON_TEXT, false, "" },
	{ "COPY", F_JSON_WORDS, true, "chmod chown exclude from link parents " },
	{ "ENTRYPOINT", F_JSON_TEXT, false, "" },
	{ "ENV", F_PAIRS, false, "" },
	{ "EXPOSE", F_WORDS, false, "" },
	{ "FROM", F_WORDS, false, "platform " },
	{ "HEALTHCHECK", F_HEALTH, false, "interval timeout start-period start-interval retries " },
	{ "LABEL", F_PAIRS, false, "" },
	{ "MAINTAINER", F_TEXT, false, "" },
	{ "ONBUILD", F_TEXT, false, NULL },
	{ "RUN", F_JSON_TEXT, true, "mount network security " },
	{ "SHELL", F_JSON_TEXT, false, "" },
	{ "STOPSIGNAL", F_TEXT, false, "" },
	{ "USER", F_TEXT, false, "" },
	{ "VOLUME", F_JSON_WORDS, false, "" },
	{ "WORKDIR", F_TEXT, false, "" },
};

static const struct kind *kind_of(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].word, word))
			return &kinds[i];
	return NULL;
}

const char *cf_name(const struct cfile *f, const struct cf_instr *i) { return i->file ?: f->name; }

int cfile_fail(const struct cfile *f, const struct cf_instr *i, struct hoy_err *err, int code, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return hoy_fail(err, code, "%s:%u: %s%s%s", cf_name(f, i), i->line, i->word ?: "", i->word ? ": " : "", text);
}

static void instr_release(struct cf_instr *i)
{
	for (size_t k = 0; k < i->n_docs; k++) {
		free(i->docs[k].name);
		free(i->docs[k].content);
	}
	free(i->docs);
	free(i->word);
	free(i->text);
	free(i->rest);
	free(i->file);
	hoy_strv_release(&i->flags);
	hoy_strv_release(&i->args);
}

void cfile_release(struct cfile *f)
{
	for (size_t i = 0; i < f->n; i++)
		instr_release(&f->v[i]);
	free(f->v);
	free(f->name);
	*f = (struct cfile)CFILE_INIT;
}

const char *cf_flag(const struct cf_instr *i, const char *name)
{
	size_t len = strlen(name);
	const char *found = NULL;

	for (size_t k = 0; k < i->flags.n; k++)
		if (!strncmp(i->flags.v[k] + 2, name, len)) {
			if (i->flags.v[k][2 + len] == '=')
				found = i->flags.v[k] + 3 + len;
			else if (!i->flags.v[k][2 + len])
				found = "";
		}
	return found;
}

int cf_bool(const struct cfile *f, const struct cf_instr *i, const char *name, bool unsaid, bool *ret, struct hoy_err *err)
{
	const char *value = cf_flag(i, name);

	*ret = value ? !*value || !strcasecmp(value, "true") || !strcmp(value, "1") : unsaid;
	if (value && !*ret && strcasecmp(value, "false") && strcmp(value, "0"))
		return cfile_fail(f, i, err, EINVAL, "--%s must be true or false, not '%s'", name, value);
	return 0;
}

void cf_sources(const struct cf_instr *i, struct hoy_strv *ret)
{
	for (size_t k = 0; k < i->flags.n; k++) {
		const char *flag = i->flags.v[k];

		if (!strncmp(flag, "--from=", 7))
			hoy_strv_push(ret, flag + 7);
		if (strncmp(flag, "--mount=", 8))
			continue;
		for (const char *word = flag + 8; *word; word += strcspn(word, ",") + (word[strcspn(word, ",")] == ','))
			if (!strncmp(word, "from=", 5))
				hoy_strv_pushn(ret, word + 5, strcspn(word + 5, ","));
	}
}

/* ---- lines ---- */

static bool blank(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr(CF_SPACES, s[i]))
			return false;
	return true;
}

static bool comment(const char *s, size_t len)
{
	while (len && strchr(CF_SPACES, *s)) {
		s++;
		len--;
	}
	return len && *s == '#';
}

/* Where the escape character that continues the line is; LEN if it ends here. */
static size_t continued(const struct parser *ps, const char *s, size_t len)
{
	size_t n = len;

	while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	return n && s[n - 1] == ps->f->escape ? n - 1 : len;
}

/*
 * The next instruction on one line, in new memory; NULL at the end. Comments and empty lines between continued lines are
 * left out.
 */
static int take_logical(struct parser *ps, struct cf_instr *i, char **ret, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(CFILE_MAX);
	size_t len, cut;
	const char *s;
	bool more = false;

	while (ps->p < ps->end) {
		s = cf_take_line(ps, &len);
		if (blank(s, len) || comment(s, len))
			continue;
		if (memchr(s, '\0', len))
			return hoy_fail(err, HOY_EFORMAT, "%s:%u: a NUL byte", ps->f->name, ps->line);
		if (!more) {
			i->line = ps->line;
			for (; len && strchr(CF_SPACES, *s); len--)
				s++;
		}
		cut = continued(ps, s, len);
		hoy_buf_add(&b, s, cut);
		more = cut < len;
		if (!more)
			break;
	}
	if (b.error)
		return hoy_fail_oom(err);
	*ret = blank(hoy_buf_str(&b), b.len) ? NULL : hoy_buf_steal(&b);
	return 0;
}

/* ---- words ---- */

/* The end of the word at S: quotes and escapes hold it together. */
static const char *word_end(const struct cfile *f, const char *s)
{
	for (char quote = 0; *s && (quote || !strchr(CF_SPACES, *s)); s++) {
		if (*s == f->escape && s[1] && quote != '\'')
			s++;
		else if (quote && *s == quote)
			quote = 0;
		else if (!quote && (*s == '"' || *s == '\''))
			quote = *s;
	}
	return s;
}

void cf_split_words(const struct cfile *f, const char *s, struct hoy_strv *ret)
{
	for (s += strspn(s, CF_SPACES); *s; s += strspn(s, CF_SPACES)) {
		const char *e = word_end(f, s);

		hoy_strv_pushn(ret, s, e - s);
		s = e;
	}
}

/* (No quote holds these together: paths with spaces need the JSON form.) */
static void split_at_spaces(const char *s, struct hoy_strv *ret)
{
	for (s += strspn(s, CF_SPACES); *s; s += strspn(s, CF_SPACES)) {
		size_t len = strcspn(s, CF_SPACES);

		hoy_strv_pushn(ret, s, len);
		s += len;
	}
}

/* KEY=VALUE words, or the old form: one key, and all the rest is its value. */
static int split_pairs(const struct cfile *f, struct cf_instr *i, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	const char *e, *value;

	cf_split_words(f, i->rest, &words);
	if (!words.n)
		return cfile_fail(f, i, err, EINVAL, "requires at least one argument");
	if (!strchr(words.v[0], '=')) {
		e = i->rest + strcspn(i->rest, CF_SPACES);
		value = e + strspn(e, CF_SPACES);
		if (!*value)
			return cfile_fail(f, i, err, EINVAL, "'%s' must have a value: NAME=VALUE, or NAME VALUE", words.v[0]);
		hoy_strv_pushn(&i->args, i->rest, e - i->rest);
		hoy_strv_push(&i->args, value);
		return 0;
	}
	for (size_t k = 0; k < words.n; k++) {
		const char *eq = strchr(words.v[k], '=');

		if (!eq || eq == words.v[k])
			return cfile_fail(f, i, err, EINVAL, "cannot find = in '%s': must be of the form NAME=VALUE", words.v[k]);
		hoy_strv_pushn(&i->args, words.v[k], eq - words.v[k]);
		hoy_strv_push(&i->args, eq + 1);
	}
	return words.error ? hoy_fail_oom(err) : 0;
}

/* ---- flags ---- */

static bool flag_known(const char *known, const char *name, size_t len)
{
	for (const char *s = known; *s; s += strcspn(s, " ") + 1)
		if (strcspn(s, " ") == len && !strncmp(s, name, len))
			return true;
	return false;
}

static int take_flags(const struct cfile *f, const struct kind *k, struct cf_instr *i, const char **at, struct hoy_err *err)
{
	const char *s = *at;

	while (k->flags && !strncmp(s, "--", 2)) {
		const char *e = word_end(f, s);
		size_t len = strcspn(s + 2, "= \t");

		if (e == s + 2) { /* "--" alone ends them */
			s = e + strspn(e, CF_SPACES);
			break;
		}
		if (!flag_known(k->flags, s + 2, len))
			return cfile_fail(f, i, err, EINVAL, "unknown flag: %.*s", (int)len + 2, s);
		hoy_strv_pushn(&i->flags, s, e - s);
		s = e + strspn(e, CF_SPACES);
	}
	*at = s;
	return 0;
}

/* ---- instructions ---- */

/* The words of TEXT, if it is an array. What follows it is nothing to podman; to RUN it is, as to docker: `RUN [ "$a" ] && b`. */
static int take_json(const struct cfile *f, struct cf_instr *i, const char *text, struct hoy_err *err)
{
	int r = json_words(text, !strcmp(i->word, "RUN"), &i->args);

	i->json = r > 0;
	return r < 0 ? cfile_fail(f, i, err, EINVAL, "when using JSON array syntax, arrays must be comprised of strings only") : 0;
}

static int take_health(const struct cfile *f, struct cf_instr *i, struct hoy_err *err)
{
	const char *e = i->rest + strcspn(i->rest, CF_SPACES), *cmd = e + strspn(e, CF_SPACES);
	char type[8] = "";
	int r;

	for (size_t k = 0; i->rest + k < e && k < sizeof(type) - 1; k++)
		type[k] = toupper((unsigned char)i->rest[k]);
	if (strcmp(type, "NONE") && strcmp(type, "CMD"))
		return cfile_fail(f, i, err, EINVAL, "unknown type '%.*s': it is CMD or NONE", (int)(e - i->rest), i->rest);
	if (!strcmp(type, "NONE") == !!*cmd)
		return cfile_fail(f, i, err, EINVAL, *cmd ? "NONE takes no arguments" : "missing command after HEALTHCHECK CMD");
	hoy_strv_push(&i->args, type);
	r = take_json(f, i, cmd, err);
	if (!i->json && *cmd)
		hoy_strv_push(&i->args, cmd);
	if (!r && *cmd && i->args.n == 1)
		r = cfile_fail(f, i, err, EINVAL, "missing command after HEALTHCHECK CMD");
	return r;
}

static int take_args(const struct cfile *f, const struct kind *k, struct cf_instr *i, struct hoy_err *err)
{
	int r = 0;

	if (k->form == F_JSON_TEXT || k->form == F_JSON_WORDS)
		r = take_json(f, i, i->rest, err);
	if (k->form == F_HEALTH)
		r = take_health(f, i, err);
	else if (k->form == F_PAIRS)
		r = split_pairs(f, i, err);
	else if (k->form == F_QUOTED_WORDS)
		cf_split_words(f, i->rest, &i->args);
	else if (k->form == F_WORDS || (k->form == F_JSON_WORDS && !i->json))
		split_at_spaces(i->rest, &i->args);
	else if (!i->json && *i->rest)
		hoy_strv_push(&i->args, i->rest);
	return i->args.error ? hoy_fail_oom(err) : r;
}

/* What can be said of an instruction by looking at it alone. */
static int check(const struct cfile *f, const struct cf_instr *i, struct hoy_err *err)
{
	const char *w = i->word;
	size_t n = i->args.n;

	if (!strcmp(w, "FROM") && n != 1 && !(n == 3 && !strcasecmp(i->args.v[1], "as")))
		return cfile_fail(f, i, err, EINVAL, "requires one argument, or three: FROM IMAGE [AS NAME]");
	if ((!strcmp(w, "COPY") || !strcmp(w, "ADD")) && n < 2)
		return cfile_fail(f, i, err, EINVAL, "requires at least one source and a destination");
	if (!strcmp(w, "SHELL") && (!i->json || !n))
		return cfile_fail(f, i, err, EINVAL, "requires the arguments to be in JSON form");
	/* CMD and ENTRYPOINT that are empty take away what the base image has. */
	if (!n && strcmp(w, "CMD") && strcmp(w, "ENTRYPOINT"))
		return cfile_fail(f, i, err, EINVAL, "requires an argument");
	return 0;
}

static int take_instr(struct parser *ps, struct cf_instr *i, const char *text, struct hoy_err *err)
{
	/* (What continues a line of the escape character alone may begin with spaces.) */
	const char *word = text + strspn(text, CF_SPACES), *rest;
	size_t len = strcspn(word, CF_SPACES);
	const struct kind *k;
	int r;

	rest = word + len + strspn(word + len, CF_SPACES);
	i->text = strdup(text);
	i->word = strndup(word, len);
	if (!i->text || !i->word)
		return hoy_fail_oom(err);
	for (char *c = i->word; *c; c++)
		*c = toupper((unsigned char)*c);
	k = kind_of(i->word);
	if (!k)
		return hoy_fail(err, EINVAL, "%s:%u: unknown instruction: %s", ps->f->name, i->line, i->word);
	r = take_flags(ps->f, k, i, &rest, err);
	if (r < 0)
		return r;
	for (len = strlen(rest); len && strchr(CF_SPACES, rest[len - 1]);)
		len--;
	i->rest = strndup(rest, len);
	if (!i->rest)
		return hoy_fail_oom(err);
	r = take_args(ps->f, k, i, err);
	if (!r && k->docs && !i->json)
		r = cf_take_docs(ps, i, err);
	return r ? r : check(ps->f, i, err);
}

static struct cf_instr *grow(struct cfile *f)
{
	struct cf_instr *v = f->n % 16 ? f->v : realloc(f->v, (f->n + 16) * sizeof(*v));

	if (!v)
		return NULL;
	f->v = v;
	f->v[f->n] = (struct cf_instr){ .args = HOY_STRV_INIT, .flags = HOY_STRV_INIT };
	return &f->v[f->n++];
}

int cfile_join(struct cfile *f, struct cfile *more, struct hoy_err *err)
{
	for (size_t k = 0; k < more->n; k++) {
		struct cf_instr *i;

		if (!more->v[k].file && !(more->v[k].file = strdup(more->name)))
			return hoy_fail_oom(err);
		i = grow(f);
		if (!i)
			return hoy_fail_oom(err);
		*i = more->v[k];
		more->v[k] = (struct cf_instr){ .args = HOY_STRV_INIT, .flags = HOY_STRV_INIT };
	}
	return 0;
}

static int take_all(struct parser *ps, struct hoy_err *err)
{
	while (ps->p < ps->end) {
		cleanup_free char *text = NULL;
		struct cf_instr at = { 0 }, *i;
		int r = take_logical(ps, &at, &text, err);

		if (r < 0)
			return r;
		if (!text)
			break;
		i = grow(ps->f);
		if (!i)
			return hoy_fail_oom(err);
		i->line = at.line;
		r = take_instr(ps, i, text, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cfile_parse(struct cfile *f, const char *name, const char *text, size_t len, struct hoy_err *err)
{
	struct parser ps = { f, text, text + len, 0 };
	int r;

	f->name = strdup(name);
	if (!f->name)
		return hoy_fail_oom(err);
	if (len > CFILE_MAX)
		return hoy_fail(err, EFBIG, "'%s' is larger than %zu bytes", name, CFILE_MAX);
	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		ps.p += 3;
	r = cf_take_directives(&ps, err);
	if (!r)
		r = take_all(&ps, err);
	return !r && !f->n ? hoy_fail(err, EINVAL, "%s: file with no instructions", name) : r;
}

int cfile_append(struct cfile *f, const char *text, struct hoy_err *err)
{
	struct parser ps = { f, text + strlen(text), text + strlen(text), 0 };
	struct cf_instr *i = grow(f);

	if (!i)
		return hoy_fail_oom(err);
	return take_instr(&ps, i, text + strspn(text, CF_SPACES), err);
}
