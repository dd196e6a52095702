#include "cli/table.h"

#include "cli/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2u

struct table table_init(const struct table_column *columns)
{
    struct table table = { .arena = arena_init(256u << 20), .columns = columns };

    while (columns[table.columns_count].title && table.columns_count < TABLE_COLUMNS_MAX)
        table.columns_count++;
    return table;
}

void table_fini(struct table *table)
{
    arena_fini(&table->arena);
    free(table->cells);
    memset(table, 0, sizeof(*table));
}

static bool grow(struct table *table)
{
    uint32_t room = table->rows_room ? table->rows_room * 2 : 16;
    struct table_cell *cells;

    if (table->rows_count >= TABLE_ROWS_MAX)
        return false;
    cells = realloc(table->cells, sizeof(*cells) * table->columns_count * room);
    if (!cells)
        return false;
    table->cells = cells;
    table->rows_room = room;
    return true;
}

void table_add_color(struct table *table, const char *text, enum term_color color)
{
    CLEANUP(freep) char *safe = text_safe(text ? text : "");
    struct table_cell *cell;

    if (table->filled == 0) {
        if (table->rows_count == table->rows_room && !grow(table)) {
            table->failed = true;
            return;
        }
        memset(&table->cells[table->rows_count * table->columns_count], 0,
               sizeof(*table->cells) * table->columns_count);
        table->rows_count++;
    }
    cell = &table->cells[(table->rows_count - 1) * table->columns_count + table->filled];
    cell->text = safe ? arena_strdup(&table->arena, safe) : NULL;
    cell->color = color;
    if (!cell->text) {
        cell->text = "";
        table->failed = true;
    }
    table->filled = (table->filled + 1) % table->columns_count;
}

void table_add(struct table *table, const char *text)
{
    table_add_color(table, text, TERM_PLAIN);
}

void table_addf(struct table *table, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    table_add_color(table, text, TERM_PLAIN);
}

/* Columns that may be cut give up one column at a time, the widest first. */
static void squeeze(const struct table *table, uint32_t *widths, uint32_t width)
{
    for (;;) {
        uint32_t total = 0;
        uint32_t widest = UINT32_MAX;

        for (uint32_t c = 0; c < table->columns_count; c++) {
            total += widths[c] + (c ? GAP : 0);
            if (table->columns[c].least && widths[c] > table->columns[c].least &&
                (widest == UINT32_MAX || widths[c] > widths[widest]))
                widest = c;
        }
        if (total <= width || widest == UINT32_MAX)
            return;
        widths[widest]--;
    }
}

static void print_cell(const char *text, uint32_t width, bool right, bool last,
                       enum term_color color, bool utf8, struct buf *out)
{
    uint32_t wide = text_width(text);
    uint32_t shown = MIN(wide, width);

    if (wide == 0)
        color = TERM_PLAIN;
    if (right)
        buf_printf(out, "%*s", (int)(width - shown), "");
    buf_add_text(out, term_color_on(color));
    if (wide <= width) {
        buf_add_text(out, text);
    } else if (width > 0) {
        size_t fits = text_fit(text, width - 1);

        buf_add(out, text, fits);
        buf_add_text(out, utf8 ? "\u2026" : "~");
    }
    if (color != TERM_PLAIN)
        buf_add_text(out, TERM_COLOR_OFF);
    if (!right && !last)
        buf_printf(out, "%*s", (int)(width - shown), "");
    if (!last)
        buf_printf(out, "%*s", (int)GAP, "");
}

void table_print(const struct table *table, uint32_t width, bool color, bool utf8, struct buf *out)
{
    uint32_t widths[TABLE_COLUMNS_MAX];
    uint32_t count = table->columns_count;

    for (uint32_t c = 0; c < count; c++) {
        widths[c] = text_width(table->columns[c].title);
        for (uint32_t r = 0; r < table->rows_count; r++) {
            const char *text = table->cells[r * count + c].text;

            widths[c] = MAX(widths[c], text ? text_width(text) : 0);
        }
    }
    if (width)
        squeeze(table, widths, width);
    for (uint32_t c = 0; c < count; c++)
        print_cell(table->columns[c].title, widths[c], table->columns[c].right, c + 1 == count,
                   color ? TERM_BOLD : TERM_PLAIN, utf8, out);
    buf_add_char(out, '\n');
    for (uint32_t r = 0; r < table->rows_count; r++) {
        for (uint32_t c = 0; c < count; c++) {
            const struct table_cell *cell = &table->cells[r * count + c];

            print_cell(cell->text ? cell->text : "", widths[c], table->columns[c].right,
                       c + 1 == count, color ? cell->color : TERM_PLAIN, utf8, out);
        }
        buf_add_char(out, '\n');
    }
    if (table->failed)
        buf_add_text(out, "(some rows are not shown: memory is short)\n");
}

int table_show(const struct table *table)
{
    CLEANUP(buf_fini) struct buf out = buf_init(512u << 20);

    table_print(table, term_width(stdout), term_has_color(stdout), term_has_utf8(), &out);
    if (out.failed)
        return -ENOMEM;
    if (fwrite(out.data, 1, out.len, stdout) != out.len)
        return -EIO;
    return 0;
}
