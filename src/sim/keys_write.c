#include "sim/keys.h"

#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SIZE_MAX_BYTES 65536u /* of one struct that a table fills */

static int write_object(const struct sim_table *table, const void *target, uint32_t indent,
                        bool in_list, struct buf *out);

/* Without the zeroes that say nothing: 0.19, 380. */
static void write_scaled(int64_t value, uint32_t decimals, struct buf *out)
{
    uint64_t scale = decimals == 3 ? 1000 : 1000000, part;
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    buf_printf(out, "%s%" PRIu64, value < 0 ? "-" : "", size / scale);
    part = size % scale;
    if (!part)
        return;
    for (; part % 10 == 0; part /= 10)
        decimals--;
    buf_printf(out, ".%0*" PRIu64, (int)decimals, part);
}

/* Exactly, whatever it takes. */
static void write_bytes(int64_t bytes, struct buf *out)
{
    static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti" };
    uint32_t at = 0;

    for (; bytes && bytes % 1024 == 0 && at + 1 < ARRAY_COUNT(units); at++)
        bytes /= 1024;
    buf_printf(out, "%" PRId64 "%s", bytes, units[at]);
}

static void write_scalar(const struct sim_key *key, const void *at, struct buf *out)
{
    char text[64];

    switch (key->kind) {
    case SIM_KEY_NAME: /* in quotes: "no" is a region, and no number is a name */
        buf_printf(out, "\"%s\"", (const char *)at);
        break;
    case SIM_KEY_COUNT:
        buf_printf(out, "%" PRIu32, *(const uint32_t *)at);
        break;
    case SIM_KEY_CHOICE:
        buf_add_text(out, key->choices[*(const uint32_t *)at]);
        break;
    case SIM_KEY_DURATION:
        units_print_duration(*(const int64_t *)at, text, sizeof(text));
        buf_add_text(out, text);
        break;
    case SIM_KEY_TIME:
        units_print_time(*(const int64_t *)at, text, sizeof(text));
        buf_add_text(out, text);
        break;
    case SIM_KEY_BYTES:
        write_bytes(*(const int64_t *)at, out);
        break;
    case SIM_KEY_MILLI:
    case SIM_KEY_MICRO:
        write_scaled(*(const int64_t *)at, key->kind == SIM_KEY_MILLI ? 3 : 6, out);
        break;
    case SIM_KEY_OBJECT:
    case SIM_KEY_LIST:
        break;
    }
}

static bool says_nothing(const struct sim_key *key, const char *target, const char *defaults)
{
    target += key->offset;
    defaults += key->offset;
    switch (key->kind) {
    case SIM_KEY_LIST:
        return *(const uint32_t *)(target + key->count_offset - key->offset) == 0;
    case SIM_KEY_NAME: /* what is behind the end does not count */
        return strcmp(target, defaults) == 0;
    case SIM_KEY_OBJECT:
        for (uint32_t i = 0; i < key->table->keys_count; i++)
            if (!says_nothing(&key->table->keys[i], target, defaults))
                return false;
        return true;
    case SIM_KEY_COUNT:
    case SIM_KEY_CHOICE:
        return *(const uint32_t *)target == *(const uint32_t *)defaults;
    case SIM_KEY_DURATION:
    case SIM_KEY_BYTES:
    case SIM_KEY_MILLI:
    case SIM_KEY_MICRO:
    case SIM_KEY_TIME:
        break;
    }
    return *(const int64_t *)target == *(const int64_t *)defaults;
}

static int write_list(const struct sim_key *key, const char *target, uint32_t indent,
                      struct buf *out)
{
    const char *items = *(char *const *)(target + key->offset);
    uint32_t count = *(const uint32_t *)(target + key->count_offset);
    int rc = 0;

    buf_add_char(out, '\n');
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        buf_printf(out, "%*s- ", (int)indent, "");
        rc = write_object(key->table, items + i * key->table->size, indent + 2, true, out);
    }
    return rc;
}

static int write_object(const struct sim_table *table, const void *target, uint32_t indent,
                        bool in_list, struct buf *out)
{
    _Alignas(16) char defaults[SIZE_MAX_BYTES];
    bool first = in_list; /* stands behind the dash */
    int rc = 0;

    if (table->size > sizeof(defaults))
        return -E2BIG;
    memset(defaults, 0, table->size);
    if (table->defaults)
        table->defaults(defaults);
    for (uint32_t i = 0; rc == 0 && i < table->keys_count; i++) {
        const struct sim_key *key = &table->keys[i];
        const char *at = (const char *)target + key->offset;

        if (!key->needed && says_nothing(key, target, defaults))
            continue;
        buf_printf(out, "%*s%s:", first ? 0 : (int)indent, "", key->name);
        first = false;
        if (key->kind == SIM_KEY_LIST) {
            rc = write_list(key, target, indent + 2, out);
        } else if (key->kind == SIM_KEY_OBJECT) {
            buf_add_char(out, '\n');
            rc = write_object(key->table, at, indent + 2, false, out);
        } else {
            buf_add_char(out, ' ');
            write_scalar(key, at, out);
            buf_add_char(out, '\n');
        }
    }
    return rc;
}

int sim_text_write(const struct sim_table *table, const void *target, struct buf *out)
{
    int rc = write_object(table, target, 0, false, out);

    return rc < 0 ? rc : out->failed ? -ENOMEM : 0;
}
