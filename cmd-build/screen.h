/* cmd-build/screen.h: some lines at the bottom of a terminal that change, below those that stay. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct hoy_strv;

#define SCREEN_ROWS 64
struct screen {
	size_t n, len[SCREEN_ROWS]; /* of the lines that are there, in bytes */
};
/* Can what stderr is do that? */
bool screen_able(void);
/* Take them away, before something is printed that stays. */
void screen_wipe(struct screen *s);
/* Draw LINES in their place, as many as fit, cut to the width. */
void screen_draw(struct screen *s, const struct hoy_strv *lines);
/*
 * LINE as it may be printed above them, in new memory: what a terminal would show of it at last, with colours, which end with the line;
 * without anything that moves the cursor or changes the terminal.
 */
char *screen_clean(const char *line);
