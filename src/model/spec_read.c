#include "model/spec_key.h"
#include "model/suggest.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEYS_MAX 64u /* of one table, for suggestions */

/* The message of a units_* call, at its place. */
static int pass_on(struct spec_reader *reader, const struct spec_step *step, int code,
                   const struct err *err)
{
    return spec_refuse(reader, step, code == -ERANGE ? -EINVAL : code, "%s", err->text);
}

static int copy_text(struct spec_reader *reader, const struct spec_step *step, const char *text,
                     size_t len, const char **out)
{
    char *copy = arena_strndup(reader->arena, text, len);

    if (!copy)
        return spec_no_memory(reader, step);
    *out = copy;
    return 0;
}

int spec_read_scalar_text(struct spec_reader *reader, const struct spec_step *step,
                          const json_t *value, const char **out)
{
    char number[64];
    size_t len;

    if (json_is_string(value)) {
        if (json_string_length(value) > SPEC_ENV_BYTES_MAX)
            return spec_refuse(reader, step, -E2BIG, "longer than %u KiB",
                               SPEC_ENV_BYTES_MAX >> 10);
        return copy_text(reader, step, json_string_value(value), json_string_length(value), out);
    }
    if (!json_is_number(value) && !json_is_boolean(value))
        return spec_expected(reader, step, value, "text");
    if (reader->locator && reader->locator->text) {
        const char *text = reader->locator->text(reader->locator->context, step, &len);

        if (text)
            return copy_text(reader, step, text, len, out);
    }
    spec_describe_value(value, number, sizeof(number));
    return copy_text(reader, step, number, strlen(number), out);
}

static int read_text(struct spec_reader *reader, const struct spec_step *step,
                     const struct spec_key *key, const json_t *value, const char **out)
{
    const char *text = json_string_value(value);

    if (key->type == KEY_NAME && key->bare && json_is_number(value) &&
        (json_is_integer(value) || reader->locator)) {
        /* An id: 12, or 12.3 where the file still knows how it was written. */
        int rc = spec_read_scalar_text(reader, step, value, out);

        return rc < 0 ? rc : spec_read_name(reader, step, *out, "a name");
    }
    if (!text)
        return spec_expected(reader, step, value, "text%s",
                             json_is_number(value) ? " (in quotes)" : "");
    if (key->type == KEY_NAME) {
        int rc = spec_read_name(reader, step, text, "a name");

        return rc < 0 ? rc : copy_text(reader, step, text, strlen(text), out);
    }
    if ((int64_t)json_string_length(value) < key->min)
        return spec_refuse(reader, step, -EINVAL, "expected text, not nothing");
    if ((int64_t)json_string_length(value) > key->max)
        return spec_refuse(reader, step, -E2BIG, "longer than %" PRId64 " bytes", key->max);
    if (key->type != KEY_TEXT && spec_text_has_control(text))
        return spec_expected(reader, step, value, "text without control characters");
    if (key->type == KEY_WORK_PATH && !spec_work_path_is_valid(text))
        return spec_expected(reader, step, value,
                             "a relative path inside the work folder, without \"..\"");
    return copy_text(reader, step, text, json_string_length(value), out);
}

static int read_integer(struct spec_reader *reader, const struct spec_step *step,
                        const json_t *value, int64_t min, int64_t max, int64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max)
        return spec_expected(reader, step, value, "a whole number from %" PRId64 " to %" PRId64,
                             min, max);
    *out = json_integer_value(value);
    return 0;
}

int spec_read_milli(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    int64_t min, int64_t max, int64_t *out)
{
    int64_t milli = -1;
    char least[32], most[32];

    if (json_is_string(value)) {
        struct err err = { 0 };
        int rc = units_parse_milli(json_string_value(value), &milli, &err);

        if (rc < 0)
            return pass_on(reader, step, rc, &err);
    } else if (json_is_number(value)) {
        double thousandths = json_number_value(value) * 1000.0;

        /* Also false for what is no number; 2^53 keeps the conversion exact. */
        if (thousandths >= 0 && thousandths <= 9007199254740992.0) {
            milli = (int64_t)(thousandths + 0.5);
            if (thousandths - (double)milli > 1e-6 || (double)milli - thousandths > 1e-6)
                return spec_expected(reader, step, value, "at most 3 decimals");
        }
    }
    if (milli < min || milli > max) {
        units_print_milli(min, least, sizeof(least));
        units_print_milli(max, most, sizeof(most));
        return spec_expected(reader, step, value, "a number from %s to %s", least, most);
    }
    *out = milli;
    return 0;
}

static int read_devices(struct spec_reader *reader, const struct spec_step *step,
                        const struct spec_key *key, const json_t *value, uint32_t *out)
{
    int64_t milli = 0;
    int rc = spec_read_milli(reader, step, value, key->min, key->max, &milli);

    if (rc < 0)
        return rc;
    if (milli > 1000 && milli % 1000)
        return spec_expected(reader, step, value,
                             "a whole number of devices or a share of one such as 0.25");
    *out = (uint32_t)milli;
    return 0;
}

static int read_bytes(struct spec_reader *reader, const struct spec_step *step,
                      const struct spec_key *key, const json_t *value, int64_t *out)
{
    int64_t bytes;
    char least[32], most[32];

    if (json_is_string(value)) {
        struct err err = { 0 };
        int rc = units_parse_bytes(json_string_value(value), &bytes, &err);

        if (rc < 0)
            return pass_on(reader, step, rc, &err);
    } else if (json_is_integer(value)) {
        bytes = json_integer_value(value);
    } else {
        return spec_expected(reader, step, value, "a size such as 512M, 4GiB or 1.5T");
    }
    if (bytes < key->min || bytes > key->max) {
        units_print_bytes(key->min, least, sizeof(least));
        units_print_bytes(key->max, most, sizeof(most));
        return spec_expected(reader, step, value, "a size from %s to %s", least, most);
    }
    *out = bytes;
    return 0;
}

static int read_duration(struct spec_reader *reader, const struct spec_step *step,
                         const struct spec_key *key, const json_t *value, int64_t *out)
{
    int64_t ms = 0;
    char least[48], most[48];

    if (json_is_string(value)) {
        struct err err = { 0 };
        int rc = units_parse_duration(json_string_value(value), &ms, &err);

        if (rc < 0)
            return pass_on(reader, step, rc, &err);
    } else if (json_is_number(value)) {
        int rc = spec_read_milli(reader, step, value, 0, INT64_C(9007199254740992), &ms);

        if (rc < 0)
            return rc;
    } else {
        return spec_expected(reader, step, value, "a duration such as 90s, 1h30m or 02:30:00");
    }
    if (ms < key->min || ms > key->max) {
        units_print_duration(key->min, least, sizeof(least));
        units_print_duration(key->max, most, sizeof(most));
        return spec_expected(reader, step, value, "a duration from %s to %s", least, most);
    }
    *out = ms;
    return 0;
}

/* A time ("2026-11-22..."), else a duration from the submit on. */
static int read_when(struct spec_reader *reader, const struct spec_step *step,
                     const struct spec_key *key, const json_t *value, void *target)
{
    const char *text = json_string_value(value);
    int64_t *at = (int64_t *)((char *)target + key->offset);
    int64_t *after = (int64_t *)((char *)target + key->count_offset);
    struct spec_key duration = { .min = 1, .max = key->max };
    struct err err = { 0 };
    int rc;

    if (!text || !(strlen(text) >= 10 && text[4] == '-'))
        return read_duration(reader, step, &duration, value, after);
    rc = units_parse_time(text, at, &err);
    return rc < 0 ? pass_on(reader, step, rc, &err) : 0;
}

static int read_enum(struct spec_reader *reader, const struct spec_step *step,
                     const struct spec_key *key, const json_t *value, uint32_t *out)
{
    const char *text = json_string_value(value);
    const char *near;
    char list[128];
    size_t len = 0;

    for (uint32_t i = 0; text && i < key->names_count; i++)
        if (strcmp(text, key->names[i]) == 0) {
            *out = i;
            return 0;
        }
    for (uint32_t i = 0; i < key->names_count && len < sizeof(list); i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
                                !i                          ? ""
                                : i + 1 == key->names_count ? " or "
                                                            : ", ",
                                key->names[i]);
    near = text ? suggest_word(text, key->names, key->names_count) : NULL;
    if (near)
        return spec_refuse(reader, step, -EINVAL,
                           "expected %s, not \"%.40s\"; did you mean \"%s\"?", list, text, near);
    return spec_expected(reader, step, value, "%s", list);
}

static int read_signal(struct spec_reader *reader, const struct spec_step *step,
                       const json_t *value, int32_t *out)
{
    int number = 0;

    if (json_is_string(value))
        number = spec_signal_find(json_string_value(value));
    else if (json_is_integer(value) && json_integer_value(value) > 0 &&
             json_integer_value(value) < 65)
        number = (int)json_integer_value(value);
    if (!number)
        return spec_expected(reader, step, value, "a signal such as USR1");
    *out = number;
    return 0;
}

static int read_texts(struct spec_reader *reader, const struct spec_step *step,
                      const struct spec_key *key, const json_t *value, void *target)
{
    size_t count = json_array_size(value);
    const char **list;

    if (!json_is_array(value))
        return spec_expected(reader, step, value, "a list of texts");
    if ((int64_t)count < key->min || (int64_t)count > key->max)
        return spec_refuse(reader, step, count ? -E2BIG : -EINVAL,
                           "expected %" PRId64 " to %" PRId64 " texts, not %zu", key->min, key->max,
                           count);
    list = arena_alloc(reader->arena, count + 1, sizeof(*list));
    if (!list)
        return spec_no_memory(reader, step);
    for (size_t i = 0; i < count; i++) {
        struct spec_step item = { .up = step, .index = i };
        int rc = spec_read_scalar_text(reader, &item, json_array_get(value, i), &list[i]);

        if (rc < 0)
            return rc;
    }
    *(const char *const **)((char *)target + key->offset) = list;
    *(uint32_t *)((char *)target + key->count_offset) = (uint32_t)count;
    return 0;
}

static int read_names(struct spec_reader *reader, const struct spec_step *step,
                      const struct spec_key *key, const json_t *value, void *target)
{
    char(*list)[MODEL_NAME_BYTES] = (void *)((char *)target + key->offset);
    size_t count = json_array_size(value);
    char what[MODEL_NAME_BYTES];

    if (!json_is_array(value) || count == 0)
        return spec_expected(reader, step, value, "a list of %ss", key->item);
    if ((int64_t)count > key->max)
        return spec_refuse(reader, step, -E2BIG, "more than %" PRId64 " %ss", key->max, key->item);
    snprintf(what, sizeof(what), "a %s", key->item);
    for (size_t i = 0; i < count; i++) {
        struct spec_step item = { .up = step, .index = i };
        int rc = spec_read_model_name(reader, &item, json_array_get(value, i), what, list[i]);

        if (rc < 0)
            return rc;
    }
    *(uint32_t *)((char *)target + key->count_offset) = (uint32_t)count;
    return 0;
}

static int read_pairs(struct spec_reader *reader, const struct spec_step *step,
                      const struct spec_key *key, const json_t *value, void *target)
{
    size_t count = json_object_size(value);
    struct spec_pair *list;
    uint32_t at = 0;
    const char *name;
    json_t *member;

    if (!json_is_object(value))
        return spec_expected(reader, step, value, "a mapping of variables");
    if ((int64_t)count > key->max)
        return spec_refuse(reader, step, -E2BIG, "more than %" PRId64 " variables", key->max);
    list = arena_alloc(reader->arena, count + 1, sizeof(*list));
    if (!list)
        return spec_no_memory(reader, step);
    json_object_foreach ((json_t *)value, name, member) {
        struct spec_step item = { .up = step, .key = name };
        int rc;

        if (!spec_env_name_is_valid(name))
            return spec_refuse_key(reader, &item,
                                   "expected a variable's name: letters, digits "
                                   "and '_', at most 255");
        if (strncmp(name, "MAINS_", 6) == 0)
            return spec_refuse_key(reader, &item, "MAINS_ variables are set by mains");
        rc = copy_text(reader, &item, name, strlen(name), &list[at].name);
        if (rc == 0)
            rc = spec_read_scalar_text(reader, &item, member, &list[at].value);
        if (rc < 0)
            return rc;
        at++;
    }
    *(const struct spec_pair **)((char *)target + key->offset) = list;
    *(uint32_t *)((char *)target + key->count_offset) = at;
    return 0;
}

static const struct spec_key *find_key(const struct spec_table *table, const char *name)
{
    for (uint32_t i = 0; i < table->keys_count; i++)
        if (table->keys[i].name[0] == name[0] && strcmp(table->keys[i].name, name) == 0)
            return &table->keys[i];
    return NULL;
}

int spec_unknown_key(struct spec_reader *reader, const struct spec_step *step,
                     const struct spec_table *table)
{
    const char *names[KEYS_MAX];
    uint32_t count = MIN(table->keys_count, KEYS_MAX);
    const char *near;

    for (uint32_t i = 0; i < count; i++)
        names[i] = table->keys[i].name;
    near = suggest_word(step->key, names, count);
    if (near)
        return spec_refuse_key(reader, step, "unknown key; did you mean \"%s\"?", near);
    return spec_refuse_key(reader, step, "unknown key of %s", table->what);
}

/* A lone value stands for the first key of the table. */
static int read_bare(struct spec_reader *reader, const struct spec_step *step,
                     const struct spec_key *key, const json_t *value, void *target)
{
    if (key->bare && !json_is_object(value)) {
        int rc;

        if (json_is_array(value) || json_is_null(value))
            return spec_expected(reader, step, value, "a value or a mapping");
        rc = spec_read_key(reader, step, &key->table->keys[0], value, target);
        if (rc == 0 && key->table->check)
            rc = key->table->check(reader, step, target);
        return rc;
    }
    return spec_read_table(reader, step, key->table, value, target);
}

static int read_members(struct spec_reader *reader, const struct spec_step *step,
                        const struct spec_key *key, const json_t *value, void *target)
{
    bool is_map = key->type == KEY_MAP;
    size_t count = is_map ? json_object_size(value) : json_array_size(value);
    void *iter = is_map ? json_object_iter((json_t *)value) : NULL;
    char *list;

    if (is_map ? !json_is_object(value) : !json_is_array(value))
        return spec_expected(reader, step, value, is_map ? "a mapping" : "a list");
    if ((int64_t)count > key->max)
        return spec_refuse(reader, step, -E2BIG, "more than %" PRId64 " of them", key->max);
    list = arena_alloc(reader->arena, count + 1, key->table->size);
    if (!list)
        return spec_no_memory(reader, step);
    for (size_t i = 0; i < count; i++) {
        struct spec_step item = { .up = step, .index = i };
        void *member = list + i * key->table->size;
        int rc = 0;

        if (is_map) {
            item.key = json_object_iter_key(iter);
            rc = copy_text(reader, &item, item.key, strlen(item.key), member);
        }
        if (rc == 0)
            rc =
                read_bare(reader, &item, key,
                          is_map ? json_object_iter_value(iter) : json_array_get(value, i), member);
        if (rc < 0)
            return rc;
        if (is_map)
            iter = json_object_iter_next((json_t *)value, iter);
    }
    *(void **)((char *)target + key->offset) = list;
    *(uint32_t *)((char *)target + key->count_offset) = (uint32_t)count;
    return 0;
}

static int read_bool(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                     bool *out)
{
    if (!json_is_boolean(value))
        return spec_expected(reader, step, value, "true or false");
    *out = json_is_true(value);
    return 0;
}

int spec_read_key(struct spec_reader *reader, const struct spec_step *step,
                  const struct spec_key *key, const json_t *value, void *target)
{
    void *at = (char *)target + key->offset;
    int64_t number = 0;
    bool flag = false;
    int rc;

    switch (key->type) {
    case KEY_NAME:
    case KEY_TEXT:
    case KEY_LINE:
    case KEY_WORK_PATH:
    case KEY_HOST_PATH:
        return read_text(reader, step, key, value, at);
    case KEY_U32:
        rc = read_integer(reader, step, value, key->min, key->max, &number);
        if (rc == 0)
            *(uint32_t *)at = (uint32_t)number;
        return rc;
    case KEY_BOOL:
        return read_bool(reader, step, value, at);
    case KEY_FLAG:
        rc = read_bool(reader, step, value, &flag);
        if (rc == 0)
            *(uint32_t *)at = flag;
        return rc;
    case KEY_MILLI:
        return read_devices(reader, step, key, value, at);
    case KEY_BYTES:
        return read_bytes(reader, step, key, value, at);
    case KEY_DURATION:
        return read_duration(reader, step, key, value, at);
    case KEY_WHEN:
        return read_when(reader, step, key, value, target);
    case KEY_ENUM:
        return read_enum(reader, step, key, value, at);
    case KEY_SIGNAL:
        return read_signal(reader, step, value, at);
    case KEY_TEXTS:
        return read_texts(reader, step, key, value, target);
    case KEY_NAMES:
        return read_names(reader, step, key, value, target);
    case KEY_PAIRS:
        return read_pairs(reader, step, key, value, target);
    case KEY_OBJECT:
        return read_bare(reader, step, key, value, target);
    case KEY_LIST:
    case KEY_MAP:
        return read_members(reader, step, key, value, target);
    case KEY_CUSTOM:
        return key->read(reader, step, value, target);
    }
    return -EINVAL;
}

int spec_read_table(struct spec_reader *reader, const struct spec_step *step,
                    const struct spec_table *table, const json_t *value, void *target)
{
    const char *name;
    json_t *member;

    if (!json_is_object(value))
        return spec_expected(reader, step, value, "a mapping");
    json_object_foreach ((json_t *)value, name, member) {
        const struct spec_key *key = find_key(table, name);
        struct spec_step item = { .up = step, .key = name };
        int rc = key ? spec_read_key(reader, &item, key, member, target)
                     : spec_unknown_key(reader, &item, table);

        if (rc < 0)
            return rc;
    }
    return table->check ? table->check(reader, step, target) : 0;
}

void spec_set_defaults(const struct spec_table *table, void *target)
{
    for (uint32_t i = 0; i < table->keys_count; i++) {
        const struct spec_key *key = &table->keys[i];
        void *at = (char *)target + key->offset;

        if (key->type == KEY_OBJECT)
            spec_set_defaults(key->table, target);
        if (key->fallback == 0)
            continue;
        if (key->type == KEY_BOOL)
            *(bool *)at = true;
        else if (key->type == KEY_U32 || key->type == KEY_ENUM || key->type == KEY_FLAG)
            *(uint32_t *)at = (uint32_t)key->fallback;
        else
            *(int64_t *)at = key->fallback;
    }
}
