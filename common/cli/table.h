/* common/cli/table.h: columns as podman prints them: two blanks between columns, at least 12 wide, never cut. */
#pragma once
#include <stdbool.h>

#include "common/base/cleanup.h"
#include "common/base/strv.h"

/* Collect cells row by row (NCOLS each, header row first), then print to stdout. HEADER false leaves out the first row. */
struct hoy_grid {
	size_t ncols;
	struct hoy_strv cells;
};
void hoy_grid_add(struct hoy_grid *g, const char *cell);
void hoy_grid_print(const struct hoy_grid *g, bool header);
void hoy_grid_release(struct hoy_grid *g);
