/* columns.h - a table of figures as text: CSV, TSV or columns parted by blanks, with a first line
 * of names or without. Empty lines and lines that begin with '#' are passed over. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

#define COLUMNS_MAX 64u
#define COLUMNS_ROWS_MAX 1000000u

struct columns {
    char *names[COLUMNS_MAX]; /* of the first line, or "1", "2", ... */
    uint32_t count, rows_count;
    double *values; /* rows_count x count; NaN where no figure stands */
};

/* -EINVAL with the line; -E2BIG. */
int columns_parse(const char *text, size_t len, struct columns *columns_out, struct err *err);
void columns_fini(struct columns *columns);
/* By name, or by number from 1; -1 = none. */
int columns_find(const struct columns *columns, const char *name);
