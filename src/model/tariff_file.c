#include "model/tariff_file.h"

#include "base/buf.h"
#include "base/file.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 8u
#define VALUE_MAX INT64_C(1000000000000)

static const struct {
    const char *name;
    uint32_t digits;
    int64_t least, most;
    size_t offset;
} figures[] = {
    { "price", 6, -VALUE_MAX, VALUE_MAX, offsetof(struct tariff_file_row, price_micro) },
    { "carbon", 3, 0, VALUE_MAX, offsetof(struct tariff_file_row, carbon_mg) },
    { "green", 6, 0, 1000000, offsetof(struct tariff_file_row, green_ppm) },
    { "cap", 0, 0, VALUE_MAX, offsetof(struct tariff_file_row, cap_w) },
};
#define COLUMN_TIME ((int)ARRAY_COUNT(figures))

int tariff_parse_decimal(const char *text, uint32_t digits, int64_t least, int64_t most,
                         int64_t *value_out)
{
    bool is_negative = *text == '-';
    uint32_t after = 0;
    bool has_point = false, has_digit = false;
    __int128 value = 0;

    for (text += is_negative; *text; text++) {
        if (*text == '.' && !has_point) {
            has_point = true;
            continue;
        }
        if (*text < '0' || *text > '9')
            return -EINVAL;
        has_digit = true;
        if (has_point && after++ >= digits)
            continue; /* finer than is kept */
        value = value * 10 + (*text - '0');
        if (value > VALUE_MAX * 1000000)
            return -EINVAL;
    }
    for (after = MIN(after, digits); after < digits; after++)
        value *= 10;
    value = is_negative ? -value : value;
    if (!has_digit || value < least || value > most)
        return -EINVAL;
    *value_out = (int64_t)value;
    return 0;
}

struct table {
    const char *name;
    uint32_t line;
    int columns[COLUMNS_MAX];
    uint32_t columns_count, cap, max;
    struct err *err;
};

static char *trim(char *text)
{
    char *end;

    text += strspn(text, " \t\"");
    for (end = text + strlen(text); end > text && strchr(" \t\"\r", end[-1]); end--)
        ;
    *end = '\0';
    return text;
}

static int read_head(struct table *table, char *line)
{
    bool has_time = false;

    for (char *field; (field = strsep(&line, ",")) != NULL;) {
        int column = 0;

        field = trim(field);
        while (column < COLUMN_TIME && strcmp(figures[column].name, field) != 0)
            column++;
        if (column == COLUMN_TIME && strcmp(field, "time") != 0)
            return err_set(table->err, -EINVAL,
                           "%s:%u: unknown column \"%.40s\"; expected time and any of price, "
                           "carbon, green, cap",
                           table->name, table->line, field);
        for (uint32_t i = 0; i < table->columns_count; i++)
            if (table->columns[i] == column)
                return err_set(table->err, -EINVAL, "%s:%u: column %s is there twice", table->name,
                               table->line, field);
        if (table->columns_count == COLUMNS_MAX)
            return err_set(table->err, -EINVAL, "%s:%u: too many columns", table->name,
                           table->line);
        has_time |= column == COLUMN_TIME;
        table->columns[table->columns_count++] = column;
    }
    if (!has_time || table->columns_count < 2)
        return err_set(table->err, -EINVAL,
                       "%s:%u: expected a first line that names time and any of price, carbon, "
                       "green, cap",
                       table->name, table->line);
    return 0;
}

static int read_time(const struct table *table, const char *text, int64_t *ms_out)
{
    if (text[strspn(text, "0123456789")] == '\0' && *text && strlen(text) > 4) {
        int64_t seconds;

        if (units_parse_int(text, 0, INT64_C(8640000000), &seconds, NULL) == 0) {
            *ms_out = seconds * 1000;
            return 0;
        }
    }
    if (units_parse_time(text, ms_out, NULL) == 0)
        return 0;
    return err_set(table->err, -EINVAL,
                   "%s:%u: time \"%.40s\": expected 2026-11-22T10:00:00Z or Unix seconds",
                   table->name, table->line, text);
}

static int read_row(struct table *table, char *line, struct tariff_file_row *row, int64_t *ms_out)
{
    uint32_t i = 0;
    int rc = 0;

    *row = (struct tariff_file_row){ TARIFF_FILE_UNKNOWN, TARIFF_FILE_UNKNOWN, TARIFF_FILE_UNKNOWN,
                                     TARIFF_FILE_UNKNOWN };
    for (char *field; rc == 0 && (field = strsep(&line, ",")) != NULL; i++) {
        int column = i < table->columns_count ? table->columns[i] : -1;

        field = trim(field);
        if (column < 0)
            continue; /* one too many: told below */
        if (column == COLUMN_TIME)
            rc = read_time(table, field, ms_out);
        else if (*field && tariff_parse_decimal(field, figures[column].digits,
                                                figures[column].least, figures[column].most,
                                                (int64_t *)((char *)row + figures[column].offset)))
            rc = err_set(table->err, -EINVAL, "%s:%u: %s \"%.40s\": expected a number%s",
                         table->name, table->line, figures[column].name, field,
                         column == 2 ? " from 0 to 1"
                         : column    ? " of 0 or more"
                                     : "");
    }
    if (rc == 0 && i != table->columns_count)
        rc = err_set(table->err, -EINVAL, "%s:%u: expected %u fields as the first line names",
                     table->name, table->line, table->columns_count);
    return rc;
}

/* The first two rows say how long a slot is. */
static int add_row(struct table *table, struct tariff_file *file, const struct tariff_file_row *row,
                   int64_t ms)
{
    if (file->count == table->max)
        return err_set(table->err, -E2BIG, "%s:%u: more than %u slots", table->name, table->line,
                       table->max);
    if (!file->count)
        file->from_ms = ms;
    else if (file->count == 1)
        file->slot_ms = ms - file->from_ms;
    if (file->count &&
        (file->slot_ms < 1 || ms != file->from_ms + (int64_t)file->count * file->slot_ms))
        return err_set(table->err, -EINVAL,
                       "%s:%u: times go up in even steps, the first of which is %" PRId64 " s",
                       table->name, table->line, file->slot_ms / 1000);
    if (!file->rows || file->count == table->cap) {
        uint32_t cap = table->cap ? table->cap * 2 : 256;
        void *more = realloc(file->rows, cap * sizeof(*file->rows));

        if (!more)
            return err_set(table->err, -ENOMEM, "%s: out of memory", table->name);
        file->rows = more;
        table->cap = cap;
    }
    file->rows[file->count++] = *row;
    return 0;
}

int tariff_file_parse(const char *name, char *text, uint32_t rows_max, struct tariff_file *file_out,
                      struct err *err)
{
    struct table table = { .name = name, .max = rows_max, .err = err };
    struct tariff_file file = { 0 };
    int rc = 0;

    for (char *line; rc == 0 && (line = strsep(&text, "\n")) != NULL;) {
        struct tariff_file_row row;
        int64_t ms = 0;

        table.line++;
        line = trim(line);
        if (!*line || *line == '#')
            continue;
        if (!table.columns_count) {
            rc = read_head(&table, line);
            continue;
        }
        rc = read_row(&table, line, &row, &ms);
        if (rc == 0)
            rc = add_row(&table, &file, &row, ms);
    }
    if (rc == 0 && file.count < 2)
        rc = err_set(err, -EINVAL, "%s: expected a line of names and at least two slots", name);
    if (rc < 0) {
        tariff_file_fini(&file);
        return rc;
    }
    *file_out = file;
    return 0;
}

int tariff_file_read(const char *path, uint32_t rows_max, struct tariff_file *file_out,
                     struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(TARIFF_FILE_BYTES_MAX);
    int rc = file_read(path, &text, err);

    if (rc < 0)
        return rc;
    if (!text.data || memchr(text.data, '\0', text.len))
        return err_set(err, -EINVAL, "%s: no text", path);
    return tariff_file_parse(path, text.data, rows_max, file_out, err);
}

void tariff_file_fini(struct tariff_file *file)
{
    free(file->rows);
    file->rows = NULL;
    file->count = 0;
}
