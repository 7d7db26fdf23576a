#include "common/cli/table.h"

#include <stdio.h>
#include <stdlib.h>
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

static void print_rows(const struct hoy_grid *g, size_t first, const size_t *widest)
{
	for (size_t i = first; i + g->ncols <= g->cells.n; i += g->ncols) {
		for (size_t c = 0; c < g->ncols; c++) {
			const char *cell = g->cells.v[i + c];

			fputs(cell, stdout);
			for (size_t pad = c + 1 < g->ncols ? widest[c] - width(cell) : 0; pad; pad--)
				putchar_unlocked(' ');
		}
		putchar_unlocked('\n');
	}
}

void hoy_grid_print(const struct hoy_grid *g, bool header)
{
	cleanup_free size_t *widest = calloc(g->ncols, sizeof(*widest));
	size_t first = header ? 0 : g->ncols;

	if (!widest)
		return;
	for (size_t i = first; i < g->cells.n; i++) {
		size_t w = width(g->cells.v[i]) + GAP, *most = &widest[i % g->ncols];

		*most = w > *most ? w : *most;
	}
	for (size_t c = 0; c < g->ncols; c++)
		widest[c] = widest[c] < LEAST ? LEAST : widest[c];
	print_rows(g, first, widest);
}

void hoy_grid_release(struct hoy_grid *g)
{
	hoy_strv_release(&g->cells);
}
