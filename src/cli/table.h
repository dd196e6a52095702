/* table.h - rows for people: columns aligned, cut to the terminal where they must be.
 *
 * Cells are made safe (text.h) as they come in. A table belongs to one command; memory comes from
 * its arena, and a table that ran out of it says so when it is printed. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "cli/term.h"

#include <stdbool.h>
#include <stdint.h>

#define TABLE_COLUMNS_MAX 16u
#define TABLE_ROWS_MAX 200000u

struct table_column {
    const char *title; /* NULL ends the list */
    bool right;        /* figures */
    uint32_t least;    /* may be cut to this many columns when the line is too long; 0 = never */
};
struct table_cell {
    const char *text;
    enum term_color color;
};
struct table {
    struct arena arena;
    const struct table_column *columns;
    uint32_t columns_count;
    struct table_cell *cells; /* rows_count x columns_count */
    uint32_t rows_count, rows_room, filled;
    bool failed;
};

struct table table_init(const struct table_column *columns);
void table_fini(struct table *table);
/* Fill the next cell of the row, from left to right; a full row begins the next one. */
void table_add(struct table *table, const char *text);
void table_add_color(struct table *table, const char *text, enum term_color color);
void table_addf(struct table *table, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* `width` 0 = as wide as it needs. Appends; the buffer's `failed` tells of short memory. */
void table_print(const struct table *table, uint32_t width, bool color, bool utf8, struct buf *out);
/* To stdout as the terminal there allows. 0 or -errno. */
int table_show(const struct table *table);
