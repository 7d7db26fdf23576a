#include "common/cli/format.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/cli/table.h"
#include "common/cli/template_in.h"

/* \t and \n as typed in a shell's single quotes. */
static char *unescape(const char *s)
{
	struct hoy_buf b = HOY_BUF_INIT(1 << 16);

	for (; *s; s++) {
		if (s[0] == '\\' && (s[1] == 't' || s[1] == 'n'))
			hoy_buf_putc(&b, *++s == 't' ? '\t' : '\n');
		else
			hoy_buf_putc(&b, *s);
	}
	hoy_buf_puts(&b, "");
	return hoy_buf_steal(&b);
}

static const char *heading(const char *const *headers, const char *name, char *buf, size_t size)
{
	size_t i;

	for (; headers && headers[0]; headers += 2)
		if (!strcmp(headers[0], name))
			return headers[1];
	for (i = 0; name[i] && i + 1 < size; i++)
		buf[i] = (char)toupper((unsigned char)name[i]);
	buf[i] = '\0';
	return buf;
}

/* The header row of a table template: each action replaced by the heading of the field it begins with. */
static void header_row(const struct hoy_template *t, const char *const *headers, struct hoy_buf *out)
{
	for (size_t i = 0; i < t->n; i++) {
		const char *dot = t->pieces[i].kind == TEXT ? NULL : strchr(t->pieces[i].text, '.');
		char name[64], up[64];

		if (t->pieces[i].kind == TEXT)
			hoy_buf_puts(out, t->pieces[i].text);
		else if (dot) {
			dot++;
			tpl_take_name(&dot, name, sizeof(name));
			hoy_buf_puts(out, heading(headers, name, up, sizeof(up)));
		}
	}
}

/* Lines of tab-separated cells become an aligned table. */
static int align(struct hoy_buf *text)
{
	struct hoy_grid g = { 1, HOY_STRV_INIT };
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;

	hoy_strv_split(&lines, hoy_buf_str(text), '\n');
	for (const char *p = lines.n ? lines.v[0] : ""; *p; p++)
		g.ncols += *p == '\t';
	for (size_t i = 0; i < lines.n; i++) {
		cleanup_strv struct hoy_strv cells = HOY_STRV_INIT;

		if (!*lines.v[i] && i + 1 == lines.n)
			break;
		hoy_strv_split(&cells, lines.v[i], '\t');
		for (size_t c = 0; c < g.ncols; c++)
			hoy_grid_add(&g, c < cells.n ? cells.v[c] : "");
	}
	hoy_grid_print(&g, true);
	hoy_grid_release(&g);
	return 0;
}

int hoy_format_rows(const char *format, const struct hoy_json *rows, const char *const *headers, bool noheading,
		    struct hoy_err *err)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	bool table = !strncmp(format, "table", 5) && (isspace((unsigned char)format[5]) || format[5] == '\\');
	cleanup_free char *text = unescape(format);
	const char *body = text;
	struct hoy_template *t = NULL;
	int r;

	if (!text)
		return hoy_fail_oom(err);
	if (table)
		for (body += 5; isspace((unsigned char)*body); body++)
			;
	r = hoy_template_new(&t, body, err);
	if (r < 0)
		return r;
	if (table && !noheading) {
		header_row(t, headers, &out);
		hoy_buf_putc(&out, '\n');
	}
	HOY_JSON_EACH(row, rows) {
		r = hoy_template_eval(t, row, &out, err);
		if (r < 0)
			break;
		hoy_buf_putc(&out, '\n');
	}
	hoy_template_free(t);
	if (r < 0)
		return r;
	if (table)
		return align(&out);
	fwrite(hoy_buf_str(&out), 1, out.len, stdout);
	return 0;
}

int hoy_format_inspect(const char *format, const struct hoy_buf *rows, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int r;

	if (rows->error)
		return hoy_fail_oom(err);
	if (!format || !strcmp(format, "json")) {
		puts(hoy_buf_str(rows));
		return 0;
	}
	r = hoy_json_parse(&doc, rows->data, rows->len, "inspect", err);
	return r < 0 ? r : hoy_format_rows(format, doc.root, NULL, false, err);
}
