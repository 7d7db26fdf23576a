#include "cmd-build/screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/fd.h"
#include "common/base/strv.h"

static struct winsize size(void)
{
	struct winsize ws = { 0 };

	ioctl(2, TIOCGWINSZ, &ws);
	return (struct winsize){ .ws_col = ws.ws_col ?: 80, .ws_row = ws.ws_row ?: 24 };
}

bool screen_able(void)
{
	const char *term = getenv("TERM");

	return isatty(2) && term && *term && strcmp(term, "dumb") != 0;
}

/* A terminal that has become narrower has broken the lines that don't fit any more. */
void screen_wipe(struct screen *s)
{
	struct winsize ws = size();
	size_t rows = 0;

	for (size_t i = 0; i < s->n; i++)
		rows += s->len[i] > ws.ws_col ? (s->len[i] + ws.ws_col - 1) / ws.ws_col : 1;
	if (rows >= ws.ws_row)
		rows = ws.ws_row - 1;
	if (rows)
		fprintf(stderr, "\033[%zuA\033[J", rows);
	s->n = 0;
}

/* Bytes are as many as columns, or more. */
static size_t fit(const char *line, size_t cols)
{
	size_t len = strlen(line);

	if (len < cols)
		return len;
	for (len = cols - 1; len && ((unsigned char)line[len] & 0xc0) == 0x80; len--)
		;
	return len;
}

void screen_draw(struct screen *s, const struct hoy_strv *lines)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(1 << 20);
	struct winsize ws = size();
	size_t max = ws.ws_row - 1u < SCREEN_ROWS ? ws.ws_row - 1u : SCREEN_ROWS;

	screen_wipe(s);
	for (size_t i = 0; i < lines->n && i < max; i++) {
		char more[40];
		const char *line = lines->v[i];

		snprintf(more, sizeof(more), "... and %zu more", lines->n - i);
		if (i + 1 == max && i + 1 < lines->n)
			line = more;
		s->len[s->n] = fit(line, ws.ws_col);
		hoy_buf_add(&out, line, s->len[s->n++]);
		hoy_buf_putc(&out, '\n');
	}
	(void)hoy_write_full(2, hoy_buf_str(&out), out.len);
}

/* The length of the control sequence that S begins with, or 0; *COLOUR: it only changes how text looks. */
static size_t sequence(const char *s, bool *colour)
{
	size_t n = 2;

	*colour = false;
	if (*s != '\033')
		return 0;
	if (s[1] == '[') {
		n += strspn(s + n, "0123456789;:<=>?");
		*colour = s[n] == 'm' && !memchr(s, '?', n) && !memchr(s, '>', n);
		n += strspn(s + n, " !\"#$%&'()*+,-./");
		return s[n] ? n + 1 : n;
	}
	/* Titles and the like, up to BEL or ESC backslash. */
	if (s[1] == ']' || s[1] == 'P' || s[1] == 'X' || s[1] == '^' || s[1] == '_') {
		n += strcspn(s + n, "\a\033");
		return s[n] == '\a' ? n + 1 : s[n] == '\033' && s[n + 1] == '\\' ? n + 2 : n;
	}
	n = 1 + strspn(s + 1, " !\"#$%&'()*+,-./");
	return s[n] ? n + 1 : n;
}

/* What comes behind the last return to the line's begin that something comes behind. */
static const char *last_part(const char *line, size_t *ret_len)
{
	size_t len = strlen(line);
	const char *from;

	while (len && line[len - 1] == '\r')
		len--;
	from = line + len;
	while (from > line && from[-1] != '\r')
		from--;
	*ret_len = line + len - from;
	return from;
}

char *screen_clean(const char *line)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	bool coloured = false, colour;
	size_t len, n;

	line = last_part(line, &len);
	for (const char *c = line; c < line + len; c += n) {
		unsigned char byte = *c;

		n = sequence(c, &colour);
		if (n && !colour)
			continue;
		coloured = coloured || n;
		if (n)
			hoy_buf_add(&out, c, n);
		else if (byte == 0xc2 && (unsigned char)c[1] >= 0x80 && (unsigned char)c[1] < 0xa0)
			n = 2; /* a control character, in UTF-8 */
		else if ((byte >= ' ' && byte != 127) || byte == '\t')
			hoy_buf_putc(&out, *c);
		n = n ?: 1;
	}
	if (coloured)
		hoy_buf_puts(&out, "\033[0m");
	return strdup(hoy_buf_str(&out));
}
