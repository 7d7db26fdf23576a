/* cmd-build/cfile_docs.c: lines of a Containerfile that are no instructions: directives, here-documents. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd-build/cfile_in.h"
#include "common/base/buf.h"
#include "common/base/err.h"

const char *cf_take_line(struct parser *ps, size_t *len)
{
	const char *at = ps->p, *nl = memchr(at, '\n', ps->end - at);

	ps->p = nl ? nl + 1 : ps->end;
	*len = (nl ?: ps->end) - at;
	if (*len && at[*len - 1] == '\r')
		--*len;
	ps->line++;
	return at;
}

/* ---- here-documents ---- */

/* Is WORD the beginning of one: [0-9]*<<-?NAME, where NAME may be quoted? */
static bool doc_begins(const char *word, struct cf_doc *ret)
{
	const char *s = word + strspn(word, "0123456789");
	char *name, *out;
	bool quoted = false;

	if (strncmp(s, "<<", 2) || strchr(s + 2, '<'))
		return false;
	s += 2;
	*ret = (struct cf_doc){ .chomp = *s == '-' };
	s += ret->chomp;
	name = out = malloc(strlen(s) + 1);
	for (; name && *s; s++) {
		if (*s == '"' || *s == '\'' || *s == '\\')
			quoted = true;
		else
			*out++ = *s;
	}
	if (!name || out == name) {
		free(name);
		return false;
	}
	*out = '\0';
	ret->name = name;
	ret->expand = !quoted;
	return true;
}

static int take_doc(struct parser *ps, const struct cf_instr *i, struct cf_doc *d, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(CFILE_MAX), written = HOY_BUF_INIT(CFILE_MAX);
	size_t len, name = strlen(d->name);

	while (ps->p < ps->end) {
		const char *line = cf_take_line(ps, &len), *s = line;

		for (; d->chomp && len && *s == '\t'; len--)
			s++;
		if (len == name && !memcmp(s, d->name, len)) {
			d->content = strdup(hoy_buf_str(&b));
			d->written = d->chomp ? strdup(hoy_buf_str(&written)) : NULL;
			return d->content && (d->written || !d->chomp) && !b.error && !written.error ? 0 : hoy_fail_oom(err);
		}
		if (memchr(s, '\0', len))
			return hoy_fail(err, HOY_EFORMAT, "%s:%u: a NUL byte", ps->f->name, ps->line);
		hoy_buf_add(&b, s, len);
		hoy_buf_putc(&b, '\n');
		if (d->chomp)
			hoy_buf_printf(&written, "%.*s\n", (int)(s + len - line), line);
	}
	return cfile_fail(ps->f, i, err, EINVAL, "unterminated heredoc '%s'", d->name);
}

int cf_take_docs(struct parser *ps, struct cf_instr *i, struct hoy_err *err)
{
	cleanup_strv struct hoy_strv words = HOY_STRV_INIT;
	int r = 0;

	cf_split_words(ps->f, i->rest, &words);
	i->docs = words.n ? calloc(words.n, sizeof(*i->docs)) : NULL;
	if (words.error || (words.n && !i->docs))
		return hoy_fail_oom(err);
	for (size_t k = 0; k < words.n && !r; k++)
		if (doc_begins(words.v[k], &i->docs[i->n_docs]))
			r = take_doc(ps, i, &i->docs[i->n_docs++], err);
	return r;
}

/* ---- directives ---- */

int cf_take_directives(struct parser *ps, struct hoy_err *err)
{
	bool seen = false;

	while (ps->p < ps->end) {
		struct parser look = *ps;
		size_t len;
		const char *s = cf_take_line(&look, &len), *e = s + len, *key, *eq;

		for (; s < e && strchr(CF_SPACES, *s); s++)
			;
		if (s == e || *s++ != '#')
			return 0;
		for (; s < e && strchr(CF_SPACES, *s); s++)
			;
		key = s;
		for (; s < e && (isalnum((unsigned char)*s) || *s == '_'); s++)
			;
		eq = s;
		for (; s < e && strchr(CF_SPACES, *s); s++)
			;
		if (eq == key || s == e || *s++ != '=')
			return 0;
		for (; s < e && strchr(CF_SPACES, *s); s++)
			;
		while (e > s && strchr(CF_SPACES, e[-1]))
			e--;
		if (eq - key == 6 && !strncasecmp(key, "escape", 6)) {
			if (seen)
				return hoy_fail(err, EINVAL, "%s:%u: only one escape parser directive can be used", ps->f->name, look.line);
			if (e - s != 1 || (*s != '\\' && *s != '`'))
				return hoy_fail(err, EINVAL, "%s:%u: invalid escape token '%.*s': must be ` or \\", ps->f->name, look.line,
						(int)(e - s), s);
			ps->f->escape = *s;
			seen = true;
		} else if (!(eq - key == 6 && !strncasecmp(key, "syntax", 6)) && !(eq - key == 5 && !strncasecmp(key, "check", 5))) {
			return 0;
		}
		*ps = look;
	}
	return 0;
}
