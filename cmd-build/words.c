#include "cmd-build/words.h"

#include <errno.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/data/json.h"

/* One word from *AT on into WORD; -EINVAL: a quote has no end. */
static int one_word(const char **at, struct hoy_buf *word)
{
	const char *s = *at;
	char quote = 0;

	for (; *s && (quote || !strchr(" \t\r\n", *s)); s++) {
		if (quote && *s == quote)
			quote = 0;
		else if (!quote && (*s == '\'' || *s == '"'))
			quote = *s;
		else if (*s == '\\' && quote != '\'' && s[1])
			hoy_buf_putc(word, *++s);
		else
			hoy_buf_putc(word, *s);
	}
	*at = s;
	return quote ? -EINVAL : 0;
}

int shell_words(const char *text, struct hoy_strv *ret)
{
	for (text += strspn(text, " \t\r\n"); *text; text += strspn(text, " \t\r\n")) {
		cleanup_buf struct hoy_buf word = HOY_BUF_INIT(1 << 20);
		int r = one_word(&text, &word);

		if (r < 0)
			return r;
		hoy_strv_push(ret, hoy_buf_str(&word));
	}
	return ret->error ? -ENOMEM : 0;
}

/* How long the array at the beginning of TEXT is; 0: it has no end. */
static size_t array_len(const char *text)
{
	bool string = false;
	int depth = 0;

	for (size_t i = 0; text[i]; i++) {
		if (string && text[i] == '\\' && text[i + 1])
			i++;
		else if (text[i] == '"')
			string = !string;
		else if (!string && text[i] == '[')
			depth++;
		else if (!string && text[i] == ']' && !--depth)
			return i + 1;
	}
	return 0;
}

int json_words(const char *text, bool whole, struct hoy_strv *ret)
{
	cleanup_json struct hoy_json_doc d = HOY_JSON_DOC_INIT;
	size_t len;

	text += strspn(text, " \t\r\n");
	len = *text == '[' ? array_len(text) : 0;
	if (!len || (whole && text[len + strspn(text + len, " \t\r\n")]) || hoy_json_parse(&d, text, len, "words", NULL) < 0)
		return 0;
	HOY_JSON_EACH(e, d.root)
		if (!hoy_json_text(e))
			return -EINVAL;
	HOY_JSON_EACH(e, d.root)
		hoy_strv_push(ret, e->str);
	return 1;
}
