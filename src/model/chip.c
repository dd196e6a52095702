#include "model/chip.h"

#include "base/buf.h"
#include "base/file.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CATALOGUE_FILE_BYTES_MAX (4u << 20)
#define CATALOGUE_CHIPS_MAX 4096u
#define CATALOGUE_COLUMNS_MAX 64u
#define CATALOGUE_MATCH_BYTES 96u
#define MATCH_TEXT_BYTES 192u
#define BUILTIN_NAME "built-in chips.csv"

/* data/chips.csv as text; made by the build. */
static const char builtin_csv[] =
#include "chips_builtin.inc"
    ;

struct entry {
    struct chip chip;
    char match[CATALOGUE_MATCH_BYTES]; /* see data/README.md; "" = never matched by itself */
};

struct catalogue {
    uint32_t count;
    uint32_t capacity;
    struct entry *entries;
};

static const char *const metric_names[METRIC_COUNT] = {
    [METRIC_MEMORY_GB] = "memory_gb",     [METRIC_BANDWIDTH_GBS] = "bandwidth_gbs",
    [METRIC_FP64_TFLOPS] = "fp64_tflops", [METRIC_FP32_TFLOPS] = "fp32_tflops",
    [METRIC_TF32_TFLOPS] = "tf32_tflops", [METRIC_FP16_TFLOPS] = "fp16_tflops",
    [METRIC_BF16_TFLOPS] = "bf16_tflops", [METRIC_FP8_TFLOPS] = "fp8_tflops",
    [METRIC_INT8_TOPS] = "int8_tops",     [METRIC_LINK_GBS] = "link_gbs",
};

const char *chip_metric_name(enum chip_metric metric)
{
    return (unsigned)metric < METRIC_COUNT ? metric_names[metric] : "?";
}

int chip_metric_find(const char *name)
{
    for (int i = 0; i < METRIC_COUNT; i++)
        if (strcmp(metric_names[i], name) == 0)
            return i;
    return -1;
}

/* The columns of a file. `mem_gb` and `mem_bw_gbs` are what the published lists call them. */
enum column {
    COLUMN_KIND,
    COLUMN_VENDOR,
    COLUMN_MODEL,
    COLUMN_FAMILY,
    COLUMN_MATCH,
    COLUMN_POWER,
    COLUMN_POWER_IDLE,
    COLUMN_SOURCES,
    COLUMN_METRIC, /* + enum chip_metric */
    COLUMN_COUNT = COLUMN_METRIC + METRIC_COUNT
};

static const struct {
    const char *name;
    int column;
} column_names[] = {
    { "kind", COLUMN_KIND },
    { "vendor", COLUMN_VENDOR },
    { "model", COLUMN_MODEL },
    { "family", COLUMN_FAMILY },
    { "match", COLUMN_MATCH },
    { "power_w", COLUMN_POWER },
    { "power_idle_w", COLUMN_POWER_IDLE },
    { "sources", COLUMN_SOURCES },
    { "mem_gb", COLUMN_METRIC + METRIC_MEMORY_GB },
    { "mem_bw_gbs", COLUMN_METRIC + METRIC_BANDWIDTH_GBS },
};

static int column_find(const char *name)
{
    int metric = chip_metric_find(name);

    if (metric >= 0)
        return COLUMN_METRIC + metric;
    for (size_t i = 0; i < ARRAY_COUNT(column_names); i++)
        if (strcmp(column_names[i].name, name) == 0)
            return column_names[i].column;
    return -1;
}

struct reader {
    const char *file; /* for messages */
    uint32_t line;
    int columns[CATALOGUE_COLUMNS_MAX];
    uint32_t columns_count; /* 0: the header has not been read */
    struct err *err;
};

static int refuse(const struct reader *reader, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int refuse(const struct reader *reader, const char *fmt, ...)
{
    char text[160];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return err_set(reader->err, -EINVAL, "%s:%" PRIu32 ": %s", reader->file, reader->line, text);
}

/* One field of a line, RFC 4180: quotes around, doubled inside. The field is unquoted in place;
 * *cursor moves behind its comma, or becomes NULL at the end of the line. */
static int next_field(const struct reader *reader, char **cursor, char **field_out)
{
    char *from = *cursor, *to = *cursor;

    *field_out = from;
    if (*from != '"') {
        char *comma = strchr(from, ',');

        if (comma)
            *comma = '\0';
        if (strchr(from, '"'))
            return refuse(reader, "a quote inside a field that does not begin with one");
        *cursor = comma ? comma + 1 : NULL;
        return 0;
    }
    for (from++;; from++) {
        if (!*from)
            return refuse(reader, "a quote is not closed");
        if (*from == '"') {
            if (from[1] != '"')
                break;
            from++;
        }
        *to++ = *from;
    }
    from++;
    *to = '\0';
    if (*from && *from != ',')
        return refuse(reader, "text after a closing quote");
    *cursor = *from ? from + 1 : NULL;
    return 0;
}

static int read_header(struct reader *reader, char *line)
{
    bool seen[COLUMN_COUNT] = { false };

    for (char *cursor = line; cursor;) {
        char *name;
        int column;
        int rc = next_field(reader, &cursor, &name);

        if (rc < 0)
            return rc;
        column = column_find(name);
        if (column < 0)
            return refuse(reader, "unknown column \"%.40s\"", name);
        if (seen[column])
            return refuse(reader, "column \"%s\" stands twice", name);
        seen[column] = true;
        if (reader->columns_count == CATALOGUE_COLUMNS_MAX)
            return refuse(reader, "more than %u columns", CATALOGUE_COLUMNS_MAX);
        reader->columns[reader->columns_count++] = column;
    }
    if (!seen[COLUMN_KIND] || !seen[COLUMN_VENDOR])
        return refuse(reader, "the columns \"kind\" and \"vendor\" must be there");
    return 0;
}

static bool is_name(const char *text, size_t bytes_max)
{
    size_t len = strlen(text);

    if (len == 0 || len >= bytes_max || !isalnum((unsigned char)text[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i]))
            return false;
    return true;
}

/* "989.4" -> 989400; "" and "null" -> -1. No signs, no exponents, at most 3 decimals kept (a
 * fourth is cut off: 0.9763 TFLOPS is 976 thousandths). */
static bool parse_milli(const char *text, int64_t *out)
{
    int64_t whole = 0, part = 0, unit = 100;
    const char *p = text;

    if (!*text || strcmp(text, "null") == 0) {
        *out = -1;
        return true;
    }
    if (!isdigit((unsigned char)*p))
        return false;
    for (; isdigit((unsigned char)*p); p++) {
        whole = whole * 10 + (*p - '0');
        if (whole > 1000000000)
            return false;
    }
    if (*p == '.') {
        p++;
        if (!isdigit((unsigned char)*p))
            return false;
        for (; isdigit((unsigned char)*p); p++, unit /= 10)
            part += (*p - '0') * unit;
    }
    if (*p)
        return false;
    *out = whole * 1000 + part;
    return true;
}

static int read_text(const struct reader *reader, const char *column, const char *value, char *out,
                     size_t bytes)
{
    if (strlen(value) >= bytes)
        return refuse(reader, "%s: longer than %zu bytes", column, bytes - 1);
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return refuse(reader, "%s: control characters", column);
    memcpy(out, value, strlen(value) + 1);
    return 0;
}

static int read_watts(const struct reader *reader, const char *column, const char *value,
                      int32_t *out)
{
    int64_t milli;

    if (!parse_milli(value, &milli) || milli > 100000000)
        return refuse(reader, "%s: expected watts 0..100000, got \"%.40s\"", column, value);
    *out = milli < 0 ? -1 : (int32_t)((milli + 500) / 1000);
    return 0;
}

static int read_field(const struct reader *reader, int column, const char *value,
                      struct entry *entry)
{
    struct chip *chip = &entry->chip;

    switch (column) {
    case COLUMN_KIND:
        if (!is_name(value, sizeof(chip->kind)))
            return refuse(reader, "kind: expected a name [A-Za-z0-9][A-Za-z0-9._-]*, got \"%.40s\"",
                          value);
        return read_text(reader, "kind", value, chip->kind, sizeof(chip->kind));
    case COLUMN_VENDOR:
        if (!is_name(value, sizeof(chip->vendor)))
            return refuse(reader, "vendor: expected a name, got \"%.40s\"", value);
        return read_text(reader, "vendor", value, chip->vendor, sizeof(chip->vendor));
    case COLUMN_MODEL:
        return read_text(reader, "model", value, chip->model, sizeof(chip->model));
    case COLUMN_FAMILY:
        return read_text(reader, "family", value, chip->family, sizeof(chip->family));
    case COLUMN_MATCH:
        return read_text(reader, "match", value, entry->match, sizeof(entry->match));
    case COLUMN_POWER:
        return read_watts(reader, "power_w", value, &chip->power_watts);
    case COLUMN_POWER_IDLE:
        return read_watts(reader, "power_idle_w", value, &chip->power_idle_watts);
    case COLUMN_SOURCES:
        return 0; /* for people */
    default:
        if (!parse_milli(value, &chip->metric_milli[column - COLUMN_METRIC]))
            return refuse(reader, "%s: expected a number like 989.4, got \"%.40s\"",
                          metric_names[column - COLUMN_METRIC], value);
        return 0;
    }
}

/* A kind that is there already is replaced: the operator's word counts. */
static int put_entry(struct catalogue *catalogue, const struct reader *reader,
                     const struct entry *entry, uint32_t own_from)
{
    for (uint32_t i = 0; i < catalogue->count; i++) {
        if (strcmp(catalogue->entries[i].chip.kind, entry->chip.kind) != 0)
            continue;
        if (i >= own_from)
            return refuse(reader, "kind \"%s\" stands twice", entry->chip.kind);
        catalogue->entries[i] = *entry;
        return 0;
    }
    if (catalogue->count == CATALOGUE_CHIPS_MAX)
        return refuse(reader, "more than %u chips", CATALOGUE_CHIPS_MAX);
    if (catalogue->count == catalogue->capacity) {
        uint32_t capacity = catalogue->capacity ? catalogue->capacity * 2 : 128;
        struct entry *entries = realloc(catalogue->entries, capacity * sizeof(*entries));

        if (!entries)
            return err_set(reader->err, -ENOMEM, "%s: out of memory", reader->file);
        catalogue->entries = entries;
        catalogue->capacity = capacity;
    }
    catalogue->entries[catalogue->count++] = *entry;
    return 0;
}

static int read_row(struct catalogue *catalogue, struct reader *reader, char *line,
                    uint32_t own_from)
{
    struct entry entry = { .chip = { .power_watts = -1, .power_idle_watts = -1 } };
    uint32_t count = 0;

    for (int i = 0; i < METRIC_COUNT; i++)
        entry.chip.metric_milli[i] = -1;
    for (char *cursor = line; cursor; count++) {
        char *value;
        int rc = next_field(reader, &cursor, &value);

        if (rc < 0)
            return rc;
        if (count >= reader->columns_count)
            return refuse(reader, "more than the %" PRIu32 " fields of the header",
                          reader->columns_count);
        rc = read_field(reader, reader->columns[count], value, &entry);
        if (rc < 0)
            return rc;
    }
    if (count != reader->columns_count)
        return refuse(reader, "%" PRIu32 " fields; the header has %" PRIu32, count,
                      reader->columns_count);
    return put_entry(catalogue, reader, &entry, own_from);
}

/* `text` is cut up in place. */
static int read_csv(struct catalogue *catalogue, const char *file, char *text, size_t len,
                    struct err *err)
{
    struct reader reader = { .file = file, .err = err };
    uint32_t own_from = catalogue->count;
    char *end = text + len;

    if (memchr(text, '\0', len))
        return err_set(err, -EINVAL, "%s: a NUL byte; expected text", file);
    for (char *line = text; line < end;) {
        char *next = memchr(line, '\n', (size_t)(end - line));
        int rc = 0;

        reader.line++;
        if (next)
            *next = '\0';
        if (line[0] && line[strlen(line) - 1] == '\r')
            line[strlen(line) - 1] = '\0';
        if (line[0] && line[0] != '#')
            rc = reader.columns_count ? read_row(catalogue, &reader, line, own_from)
                                      : read_header(&reader, line);
        if (rc < 0)
            return rc;
        line = next ? next + 1 : end;
    }
    if (!reader.columns_count)
        return err_set(err, -EINVAL, "%s: empty; expected a header line \"kind,vendor,...\"", file);
    return 0;
}

static void catalogue_destroyp(struct catalogue **catalogue)
{
    catalogue_destroy(*catalogue);
}

int catalogue_load(const char *path, struct catalogue **catalogue_out, struct err *err)
{
    CLEANUP(catalogue_destroyp) struct catalogue *catalogue = calloc(1, sizeof(*catalogue));
    CLEANUP(freep) char *builtin = strdup(builtin_csv);
    CLEANUP(buf_fini) struct buf text = buf_init(CATALOGUE_FILE_BYTES_MAX);
    int rc;

    if (!catalogue || !builtin)
        return err_set(err, -ENOMEM, "chip catalogue: out of memory");
    rc = read_csv(catalogue, BUILTIN_NAME, builtin, strlen(builtin), err);
    if (rc < 0)
        return rc;
    if (path) {
        rc = file_read(path, &text, err);
        if (rc < 0)
            return rc;
        rc = read_csv(catalogue, path, text.data ? text.data : (char[]){ "" }, text.len, err);
        if (rc < 0)
            return rc;
    }
    *catalogue_out = TAKE(catalogue);
    return 0;
}

void catalogue_destroy(struct catalogue *catalogue)
{
    if (!catalogue)
        return;
    free(catalogue->entries);
    free(catalogue);
}

uint32_t catalogue_count(const struct catalogue *catalogue)
{
    return catalogue->count;
}

const struct chip *catalogue_get(const struct catalogue *catalogue, uint32_t index)
{
    return index < catalogue->count ? &catalogue->entries[index].chip : NULL;
}

const struct chip *catalogue_find(const struct catalogue *catalogue, const char *kind)
{
    for (uint32_t i = 0; i < catalogue->count; i++)
        if (strcmp(catalogue->entries[i].chip.kind, kind) == 0)
            return &catalogue->entries[i].chip;
    return NULL;
}

/* " nvidia h100 80gb hbm3 ": lower-case words with one blank around each. */
static void words_of(const char *text, char out[MATCH_TEXT_BYTES])
{
    size_t len = 0;

    out[len++] = ' ';
    for (; *text && len + 2 < MATCH_TEXT_BYTES; text++) {
        if (isalnum((unsigned char)*text))
            out[len++] = (char)tolower((unsigned char)*text);
        else if (out[len - 1] != ' ')
            out[len++] = ' ';
    }
    if (out[len - 1] != ' ')
        out[len++] = ' ';
    out[len] = '\0';
}

/* How many words of one alternative stand in `words`; 0 when one is missing or a "!word" is
 * there. */
static uint32_t match_alternative(const char *from, const char *end, const char *words)
{
    uint32_t count = 0;

    while (from < end) {
        char word[CATALOGUE_MATCH_BYTES + 2];
        bool absent = *from == '!';
        size_t len = 0;

        if (*from == ' ') {
            from++;
            continue;
        }
        if (absent)
            from++;
        word[len++] = ' ';
        while (from < end && *from != ' ')
            word[len++] = (char)tolower((unsigned char)*from++);
        word[len++] = ' ';
        word[len] = '\0';
        if ((strstr(words, word) != NULL) == absent)
            return 0;
        count += absent ? 0 : 1;
    }
    return count;
}

static uint32_t match_entry(const struct entry *entry, const char *words)
{
    uint32_t best = 0;

    for (const char *from = entry->match; *from;) {
        const char *end = strchrnul(from, '|');
        uint32_t count = match_alternative(from, end, words);

        best = MAX(best, count);
        from = *end ? end + 1 : end;
    }
    return best;
}

const struct chip *catalogue_match(const struct catalogue *catalogue, const char *vendor,
                                   const char *model, int64_t memory_bytes)
{
    const struct chip *best = NULL;
    uint32_t best_words = 0;
    int64_t best_distance = 0;
    char words[MATCH_TEXT_BYTES];

    words_of(model, words);
    for (uint32_t i = 0; i < catalogue->count; i++) {
        const struct entry *entry = &catalogue->entries[i];
        int64_t known = entry->chip.metric_milli[METRIC_MEMORY_GB];
        int64_t distance = 0;
        uint32_t count;

        if (strcmp(entry->chip.vendor, vendor) != 0)
            continue;
        count = match_entry(entry, words);
        if (known > 0 && memory_bytes > 0)
            distance = llabs(known * 1000000 - memory_bytes);
        if (count > best_words || (count == best_words && count && distance < best_distance)) {
            best = &entry->chip;
            best_words = count;
            best_distance = distance;
        }
    }
    return best;
}
