#include "common/cli/table.h"

#include <stdio.h>
#include <string.h>

#define GAP 2	/* as podman's tabwriter is set up */
#define LEAST 12

/* Code points, not bytes: names may hold anything. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void hoy_grid_add(struct hoy_grid *g, const char *cell)
{
	hoy_strv_push(&g->cells, cell);
}

void hoy_grid_print(const struct hoy_grid *g, bool header)
{
	size_t first = header ? 0 : g->ncols;

	for (size_t i = first; i + g->ncols <= g->cells.n; i += g->ncols) {
		for (size_t c = 0; c < g->ncols; c++) {
			const char *cell = g->cells.v[i + c];
			size_t widest = 0;

			for (size_t j = first + c; j < g->cells.n; j += g->ncols)
				widest = width(g->cells.v[j]) > widest ? width(g->cells.v[j]) : widest;
			fputs(cell, stdout);
			widest = widest + GAP < LEAST ? LEAST : widest + GAP;
			if (c + 1 < g->ncols)
				printf("%*s", (int)(widest - width(cell)), "");
		}
		putchar('\n');
	}
}

void hoy_grid_release(struct hoy_grid *g)
{
	hoy_strv_release(&g->cells);
}
