#include "sim/keys.h"

#include "base/file.h"
#include "model/suggest.h"
#include "model/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_BYTES 48u
#define KEYS_MAX 32u

static int refuse_at(struct sim_reader *reader, const struct spec_step *step, bool at_key,
                     const char *text)
{
    struct spec_place place = reader->locator.find(reader->locator.context, step, at_key);

    return err_set(reader->err, -EINVAL, "%s:%u:%u: %s", place.file, place.line, place.column,
                   text);
}

int sim_refuse(struct sim_reader *reader, const struct spec_step *step, const char *fmt, ...)
{
    char text[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return refuse_at(reader, step, false, text);
}

static int refuse_unknown(struct sim_reader *reader, const struct spec_step *step,
                          const struct sim_table *table)
{
    const char *names[KEYS_MAX], *nearest;
    char text[200];

    for (uint32_t i = 0; i < table->keys_count; i++)
        names[i] = table->keys[i].name;
    nearest = suggest_word(step->key, names, table->keys_count);
    if (nearest)
        snprintf(text, sizeof(text), "%s has no key \"%.60s\": did you mean \"%s\"?", table->what,
                 step->key, nearest);
    else
        snprintf(text, sizeof(text), "%s has no key \"%.60s\"", table->what, step->key);
    return refuse_at(reader, step, true, text);
}

/* --- single values --------------------------------------------------------------------------- */

/* The value as it was written, so that 0.1 is a tenth and not the double next to it. */
static bool value_text(struct sim_reader *reader, const struct spec_step *step, const json_t *value,
                       char *out, size_t out_bytes)
{
    const char *text = NULL;
    size_t len = 0;

    if (json_is_string(value)) {
        text = json_string_value(value);
        len = json_string_length(value);
    } else if (json_is_number(value)) {
        text =
            reader->locator.text ? reader->locator.text(reader->locator.context, step, &len) : NULL;
        if (!text && json_is_integer(value)) {
            snprintf(out, out_bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
            return true;
        }
    }
    if (!text || len >= out_bytes || memchr(text, '\0', len))
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

static bool is_name(const char *text)
{
    size_t len = strlen(text);

    if (!len || len >= MODEL_NAME_BYTES || !isalnum((unsigned char)text[0]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i]))
            return false;
    return true;
}

/* Digits with up to `decimals` behind the point, a sign allowed where min < 0. */
static bool parse_scaled(const char *text, uint32_t decimals, int64_t *out)
{
    bool negative = *text == '-';
    uint32_t behind = 0, digits = 0;
    int64_t value = 0;

    for (text += negative; isdigit((unsigned char)*text); text++, digits++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *text - '0', &value))
            return false;
    if (*text == '.')
        for (text++; isdigit((unsigned char)*text) && behind < decimals; text++, behind++)
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, *text - '0', &value))
                return false;
    if (*text || !(digits + behind))
        return false;
    for (; behind < decimals; behind++)
        if (__builtin_mul_overflow(value, 10, &value))
            return false;
    *out = negative ? -value : value;
    return true;
}

static int read_number(struct sim_reader *reader, const struct spec_step *step,
                       const struct sim_key *key, const char *text, int64_t *out)
{
    static const uint32_t decimals[] = { [SIM_KEY_MILLI] = 3, [SIM_KEY_MICRO] = 6 };
    uint32_t places = key->kind == SIM_KEY_COUNT ? 0 : decimals[key->kind];
    int64_t scale = places == 3 ? 1000 : places == 6 ? 1000000 : 1;

    if (parse_scaled(text, places, out) && *out >= key->min && *out <= key->max)
        return 0;
    if (!places)
        return sim_refuse(reader, step,
                          "%s: expected a whole number from %" PRId64 " to %" PRId64
                          ", not \"%.40s\"",
                          key->name, key->min, key->max, text);
    return sim_refuse(reader, step,
                      "%s: expected a number from %" PRId64 " to %" PRId64
                      " with up to %u decimals, not \"%.40s\"",
                      key->name, key->min / scale, key->max / scale, places, text);
}

static int refuse_range(struct sim_reader *reader, const struct spec_step *step,
                        const struct sim_key *key, const char *text)
{
    void (*print)(int64_t value, char *out, size_t bytes) =
        key->kind == SIM_KEY_BYTES ? units_print_bytes : units_print_duration;
    char least[32], most[32];

    if (key->kind != SIM_KEY_BYTES && key->kind != SIM_KEY_DURATION)
        return sim_refuse(reader, step, "%s: \"%.40s\" is out of range", key->name, text);
    print(key->min, least, sizeof(least));
    print(key->max, most, sizeof(most));
    return sim_refuse(reader, step, "%s: expected %s to %s, not \"%.40s\"", key->name, least, most,
                      text);
}

static int read_choice(struct sim_reader *reader, const struct spec_step *step,
                       const struct sim_key *key, const char *text, uint32_t *out)
{
    char list[120];
    size_t len = 0;

    for (uint32_t i = 0; key->choices[i]; i++)
        if (strcmp(text, key->choices[i]) == 0) {
            *out = i;
            return 0;
        }
    list[0] = '\0';
    for (uint32_t i = 0; key->choices[i] && len < sizeof(list) - 1; i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "",
                                key->choices[i]);
    return sim_refuse(reader, step, "%s: expected one of %s, not \"%.40s\"", key->name, list, text);
}

static int read_scalar(struct sim_reader *reader, const struct spec_step *step,
                       const struct sim_key *key, const json_t *value, void *at)
{
    char text[MODEL_NAME_BYTES + NUMBER_BYTES];
    struct err why = { 0 };
    int64_t number = 0;
    int rc = 0;

    if (!value_text(reader, step, value, text, sizeof(text)))
        return sim_refuse(reader, step, "%s: expected a word or a number", key->name);
    switch (key->kind) {
    case SIM_KEY_NAME:
        if (!is_name(text))
            return sim_refuse(reader, step,
                              "%s: expected a name of letters, digits, . _ and -, not \"%.40s\"",
                              key->name, text);
        memcpy(at, text, strlen(text) + 1);
        return 0;
    case SIM_KEY_CHOICE:
        return read_choice(reader, step, key, text, at);
    case SIM_KEY_COUNT:
        rc = read_number(reader, step, key, text, &number);
        if (rc == 0)
            *(uint32_t *)at = (uint32_t)number;
        return rc;
    case SIM_KEY_MILLI:
    case SIM_KEY_MICRO:
        return read_number(reader, step, key, text, at);
    case SIM_KEY_DURATION:
        rc = units_parse_duration(text, &number, &why);
        break;
    case SIM_KEY_BYTES:
        rc = units_parse_bytes(text, &number, &why);
        break;
    case SIM_KEY_TIME:
        rc = units_parse_time(text, &number, &why);
        break;
    case SIM_KEY_OBJECT:
    case SIM_KEY_LIST:
        return -EINVAL;
    }
    if (rc < 0)
        return sim_refuse(reader, step, "%s: %s", key->name, why.text);
    if ((key->min || key->max) && (number < key->min || number > key->max))
        return refuse_range(reader, step, key, text);
    *(int64_t *)at = number;
    return 0;
}

/* --- mappings and lists ---------------------------------------------------------------------- */

static int read_object(struct sim_reader *reader, const struct spec_step *step,
                       const struct sim_table *table, const json_t *object, void *target);

static int read_list(struct sim_reader *reader, const struct spec_step *step,
                     const struct sim_key *key, const json_t *list, void *target)
{
    size_t count = json_array_size(list), index;
    const json_t *value;
    char *items;

    if (!json_is_array(list) || count > SIM_LIST_MAX)
        return sim_refuse(reader, step, "%s: expected a list of at most %u", key->name,
                          SIM_LIST_MAX);
    items = arena_alloc(reader->arena, count + 1, key->table->size);
    if (!items)
        return err_set(reader->err, -ENOMEM, "out of memory");
    json_array_foreach ((json_t *)list, index, value) {
        struct spec_step element = { .up = step, .index = index };
        int rc = read_object(reader, &element, key->table, value, items + index * key->table->size);

        if (rc < 0)
            return rc;
    }
    *(char **)((char *)target + key->offset) = items;
    *(uint32_t *)((char *)target + key->count_offset) = (uint32_t)count;
    return 0;
}

static const struct sim_key *find_key(const struct sim_table *table, const char *name)
{
    for (uint32_t i = 0; i < table->keys_count; i++)
        if (strcmp(table->keys[i].name, name) == 0)
            return &table->keys[i];
    return NULL;
}

static int read_object(struct sim_reader *reader, const struct spec_step *step,
                       const struct sim_table *table, const json_t *object, void *target)
{
    const char *name;
    json_t *value;
    int rc = 0;

    if (!json_is_object(object))
        return sim_refuse(reader, step, "expected %s: a mapping of keys", table->what);
    if (table->defaults)
        table->defaults(target);
    json_object_foreach ((json_t *)object, name, value) {
        struct spec_step at = { .up = step, .key = name };
        const struct sim_key *key = find_key(table, name);

        if (!key)
            return refuse_unknown(reader, &at, table);
        if (key->kind == SIM_KEY_LIST)
            rc = read_list(reader, &at, key, value, target);
        else if (key->kind == SIM_KEY_OBJECT)
            rc = read_object(reader, &at, key->table, value, (char *)target + key->offset);
        else
            rc = read_scalar(reader, &at, key, value, (char *)target + key->offset);
        if (rc < 0)
            return rc;
    }
    for (uint32_t i = 0; i < table->keys_count; i++)
        if (table->keys[i].needed && !json_object_get(object, table->keys[i].name))
            return sim_refuse(reader, step, "%s needs the key \"%s\"", table->what,
                              table->keys[i].name);
    return table->check ? table->check(reader, step, target) : 0;
}

int sim_text_read(const char *file, const char *text, size_t len, const struct sim_table *table,
                  struct arena *arena, void *target, struct err *err)
{
    CLEANUP(yaml_doc_destroyp) struct yaml_doc *doc = NULL;
    struct sim_reader reader = { .arena = arena, .err = err };
    struct spec_step root = { 0 };
    size_t at = 0;
    int rc;

    while (at < len && isspace((unsigned char)text[at]))
        at++;
    if (at == len)
        return err_set(err, -EINVAL, "%s: empty: expected %s", file, table->what);
    rc = yaml_parse(file, text, len, &doc, err);
    if (rc < 0)
        return rc;
    reader.locator = yaml_doc_locator(doc);
    return read_object(&reader, &root, table, yaml_doc_root(doc), target);
}

int sim_file_read(const char *path, const struct sim_table *table, struct arena *arena,
                  void *target, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SIM_FILE_BYTES_MAX);
    int rc = file_read(path, &text, err);

    if (rc < 0)
        return rc;
    return sim_text_read(path, text.data ? text.data : "", text.len, table, arena, target, err);
}
