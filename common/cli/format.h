/* common/cli/format.h: what --format says: JSON, or a template for each row, with a heading as a table has. */
#pragma once
#include "common/base/buf.h"
#include "common/data/json.h"

struct hoy_err;

/*
 * The --format of a list: "json", "table TEMPLATE", or a TEMPLATE applied to each row. ROWS is an array of objects with
 * Go names. HEADERS maps Go names to column heads ("ID" -> "CONTAINER ID"), NULL-terminated pairs; names that it lacks
 * become upper case. Prints to stdout.
 */
int hoy_format_rows(const char *format, const struct hoy_json *rows, const char *const *headers, bool noheading,
		    struct hoy_err *err);
/* The --format of inspect: ROWS, such an array as JSON text, is printed as it is without a FORMAT or with "json". */
int hoy_format_inspect(const char *format, const struct hoy_buf *rows, struct hoy_err *err);
