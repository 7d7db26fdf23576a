#include "common/cli/prompt.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/cleanup.h"

int hoy_confirm(const char *warning)
{
	cleanup_free char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	printf("%sAre you sure you want to continue? [y/N] ", warning);
	fflush(stdout);
	n = getline(&line, &cap, stdin);
	if (n <= 0 || line[n - 1] != '\n')
		return -ENODATA;
	return line[0] == 'y' || line[0] == 'Y';
}

/* ---- choosing from a list ---- */

struct choice {
	int out;
	const char *label;
	char *const *items;
	size_t n, at, first, rows; /* the items from FIRST on that there is room for */
	int cols;
};

/* Draw it from where the cursor is, at the beginning of a line. */
static void draw(const struct choice *c)
{
	dprintf(c->out, "? %.*s: \x1b[K\n", c->cols - 4, c->label);
	for (size_t i = c->first; i < c->first + c->rows; i++)
		dprintf(c->out, "  %s %.*s\x1b[K\n", i == c->at ? "\xe2\x96\xb8" : " ", c->cols - 5, c->items[i]);
}

static void back(const struct choice *c) { dprintf(c->out, "\x1b[%zuA\r", c->rows + 1); }

static void move(struct choice *c, bool down)
{
	if (down ? c->at + 1 < c->n : c->at > 0)
		c->at += down ? 1 : -1;
	if (c->at < c->first)
		c->first = c->at;
	if (c->at >= c->first + c->rows)
		c->first = c->at - c->rows + 1;
}

/* The next byte from the terminal within MS (-1: whenever it comes); 0 if there is none, or -errno. */
static int next(int ms)
{
	struct pollfd p = { 0, POLLIN, 0 };
	unsigned char k;
	ssize_t n = poll(&p, 1, ms) == 1 ? read(0, &k, 1) : 0;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n ? k : ms < 0 && p.revents ? -ENODATA : 0;
}

/* 1: chosen; 0: go on; -ECANCELED, or -ENODATA where the terminal has gone. */
static int key(struct choice *c)
{
	int k = next(-1);

	/* An arrow is ESC [ A or B. */
	if (k == '\x1b' && next(500) == '[')
		switch (next(500)) {
		case 'A':
			k = 'k';
			break;
		case 'B':
			k = 'j';
		}
	switch (k) {
	case 3:
	case 4:
		return -ECANCELED;
	case '\r':
	case '\n':
		return 1;
	case 'j':
	case 14:
		move(c, true);
		break;
	case 'k':
	case 16:
		move(c, false);
		break;
	}
	return k < 0 ? k : 0;
}

#define LENT "_HOY_PROMPT"

void hoy_prompt_lend(bool on)
{
	/* Without memory nobody is asked. */
	if (on && isatty(1))
		setenv(LENT, "1", 1);
	else
		unsetenv(LENT);
}

int hoy_prompt_fd(void)
{
	if (!isatty(0))
		return -1;
	return isatty(1) ? 1 : getenv(LENT) && isatty(2) ? 2 : -1;
}

int hoy_select(int out, const char *label, char *const *items, size_t n)
{
	struct choice c = { .out = out, .label = label, .items = items, .n = n, .rows = n, .cols = 80 };
	struct winsize ws = { 0 };
	struct termios old, raw;
	int r = 0;

	if (tcgetattr(0, &old) < 0)
		return -errno;
	if (!ioctl(out, TIOCGWINSZ, &ws) && ws.ws_col > 8 && ws.ws_row > 3) {
		c.cols = ws.ws_col;
		c.rows = n < ws.ws_row - 2u ? n : ws.ws_row - 2u;
	}
	raw = old;
	raw.c_lflag &= ~(ICANON | ECHO | ISIG);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	tcsetattr(0, TCSAFLUSH, &raw);
	draw(&c);
	while (!(r = key(&c))) {
		back(&c);
		draw(&c);
	}
	back(&c);
	dprintf(out, "\x1b[J");
	if (r > 0)
		dprintf(out, "\xe2\x9c\x94 %s\n", items[c.at]);
	tcsetattr(0, TCSAFLUSH, &old);
	return r < 0 ? r : (int)c.at;
}
