/* Arrays: ranges of numbers, and columns of values. */
#include "model/spec_key.h"
#include "model/suggest.h"
#include "model/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANGE_VALUE_MAX 2000000000

static const struct spec_key array_keys[] = {
    { "range", KEY_LINE, .offset = offsetof(struct job_spec, range), .min = 1,
      .max = SPEC_RANGE_BYTES_MAX, .help = "Numbers: 0-9, 0-9:2, 1,5,20-30; a lone 10 is 0-9." },
    { "parallel", KEY_U32, .offset = offsetof(struct job_spec, parallel_max), .min = 1,
      .max = SPEC_ELEMENTS_MAX, .help = "At most so many elements run at once." },
    { "zip", KEY_BOOL, .offset = offsetof(struct job_spec, params_zip),
      .help = "Read the columns side by side instead of crossing them." },
};
static const struct spec_table array_table = { "array", sizeof(struct job_spec), array_keys,
                                               ARRAY_COUNT(array_keys), NULL };

static int compare_values(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* "5", "0-9" or "0-9:2" from `part`, which ends at a comma or NUL. */
static int take_segment(const char **at, int64_t segment[3], struct err *err)
{
    static const char ends[] = { '-', ':', '\0' };
    int64_t value[3] = { 0, 0, 1 };
    int count = 0;
    const char *p = *at;

    for (;;) {
        char digits[16];
        size_t len = 0;
        int rc;

        while (isdigit((unsigned char)p[len]) && len < sizeof(digits) - 1) {
            digits[len] = p[len];
            len++;
        }
        digits[len] = '\0';
        rc = units_parse_int(digits, count == 2, RANGE_VALUE_MAX, &value[count], err);
        if (rc < 0)
            return rc;
        p += len;
        count++;
        if (*p == ',' || *p == '\0')
            break;
        if (count == 3 || *p != ends[count - 1])
            return -EINVAL;
        p++;
    }
    segment[0] = value[0];
    segment[1] = count == 1 ? value[0] : value[1];
    segment[2] = value[2];
    *at = *p ? p + 1 : p;
    return *p == ',' && p[1] == '\0' ? -EINVAL : 0;
}

int spec_parse_range(const char *text, struct arena *arena, const uint32_t **values_out,
                     uint32_t *count_out, struct err *err)
{
    uint32_t *values = NULL;
    uint64_t total = 0;
    uint32_t kept = 0;

    /* Once to count, once to fill. */
    for (int fill = 0; fill < 2; fill++) {
        const char *p = text;

        total = 0;
        do {
            int64_t segment[3];

            if (take_segment(&p, segment, NULL) < 0 || segment[1] < segment[0])
                return err_set(err, -EINVAL,
                               "expected numbers such as 0-9, 0-9:2 or 1,5,20-30, not \"%.60s\"",
                               text);
            if (!fill)
                total += (uint64_t)((segment[1] - segment[0]) / segment[2] + 1);
            for (int64_t v = segment[0]; fill && v <= segment[1]; v += segment[2])
                values[total++] = (uint32_t)v;
        } while (*p);
        if (total > SPEC_ELEMENTS_MAX)
            return err_set(err, -E2BIG, "more than %u elements", SPEC_ELEMENTS_MAX);
        if (!fill)
            values = arena_alloc(arena, total, sizeof(*values));
        if (!values)
            return err_set(err, -E2BIG, "the job is too big");
    }
    for (uint64_t i = 1; i < total; i++)
        if (values[i] <= values[i - 1]) {
            qsort(values, total, sizeof(*values), compare_values);
            break;
        }
    for (uint64_t i = 0; i < total; i++)
        if (kept == 0 || values[i] != values[kept - 1])
            values[kept++] = values[i];
    *values_out = values;
    *count_out = kept;
    return 0;
}

static int read_range(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                      struct job_spec *spec)
{
    const char *text = json_string_value(value);
    char lone[32];
    struct err err = { 0 };
    int rc;

    if (json_is_integer(value)) { /* 10 elements: 0-9 */
        json_int_t count = json_integer_value(value);

        if (count < 1 || count > (json_int_t)SPEC_ELEMENTS_MAX)
            return spec_expected(reader, step, value, "a number of elements from 1 to %u",
                                 SPEC_ELEMENTS_MAX);
        snprintf(lone, sizeof(lone), "0-%lld", (long long)count - 1);
        text = lone;
    }
    if (!text)
        return spec_expected(reader, step, value, "numbers such as 0-9, 0-9:2 or 1,5,20-30");
    if (strlen(text) > SPEC_RANGE_BYTES_MAX)
        return spec_refuse(reader, step, -E2BIG, "longer than %u bytes", SPEC_RANGE_BYTES_MAX);
    rc = spec_parse_range(text, reader->arena, &spec->range_values, &spec->elements_count, &err);
    if (rc < 0)
        return spec_refuse(reader, step, rc, "%s", err.text);
    spec->range = arena_strdup(reader->arena, text);
    return spec->range ? 0 : spec_no_memory(reader, step);
}

static int read_column(struct spec_reader *reader, const struct spec_step *step,
                       const json_t *value, struct spec_param *param)
{
    size_t count = json_array_size(value);
    const char **choices;
    int rc;

    if (!spec_env_name_is_valid(step->key) || strlen(step->key) > 48)
        return spec_refuse_key(reader, step,
                               "expected a column's name: at most 48 letters, digits and '_'");
    if (!json_is_array(value))
        return spec_expected(reader, step, value, "a list of values");
    if (count == 0)
        return spec_refuse_key(reader, step, "expected at least one value");
    if (count > SPEC_ELEMENTS_MAX)
        return spec_refuse(reader, step, -E2BIG, "more than %u values", SPEC_ELEMENTS_MAX);
    choices = arena_alloc(reader->arena, count, sizeof(*choices));
    param->name = arena_strdup(reader->arena, step->key);
    if (!choices || !param->name)
        return spec_no_memory(reader, step);
    for (size_t i = 0; i < count; i++) {
        struct spec_step item = { .up = step, .index = i };

        rc = spec_read_scalar_text(reader, &item, json_array_get(value, i), &choices[i]);
        if (rc < 0)
            return rc;
    }
    param->choices = choices;
    param->choices_count = (uint32_t)count;
    return 0;
}

/* How many elements the columns make: crossed, or side by side. */
static int count_elements(struct spec_reader *reader, const struct spec_step *step,
                          struct job_spec *spec)
{
    uint64_t count = 1;

    for (uint32_t i = 0; i < spec->params_count; i++) {
        const struct spec_param *param = &spec->params[i];

        for (uint32_t j = 0; j < i; j++)
            if (strcasecmp(param->name, spec->params[j].name) == 0)
                return spec_refuse(reader, step, -EINVAL, "two columns are called \"%s\"",
                                   param->name);
        if (spec->params_zip && param->choices_count != spec->params[0].choices_count)
            return spec_refuse(reader, step, -EINVAL,
                               "zip needs columns of one length: \"%s\" has %" PRIu32
                               " values, \"%s\" %" PRIu32,
                               spec->params[0].name, spec->params[0].choices_count, param->name,
                               param->choices_count);
        count = spec->params_zip ? param->choices_count : count * param->choices_count;
        if (count > SPEC_ELEMENTS_MAX)
            return spec_refuse(reader, step, -E2BIG, "more than %u elements", SPEC_ELEMENTS_MAX);
    }
    spec->elements_count = (uint32_t)count;
    return 0;
}

static int read_columns(struct spec_reader *reader, const struct spec_step *step,
                        const json_t *columns, bool reserved, struct job_spec *spec)
{
    struct spec_param *params = (struct spec_param *)spec->params;
    const char *name;
    json_t *member;

    if (!json_is_object(columns))
        return spec_expected(reader, step, columns, "a mapping of names and lists of values");
    json_object_foreach ((json_t *)columns, name, member) {
        struct spec_step item = { .up = step, .key = name };
        bool known = strcmp(name, "params") == 0;
        int rc;

        for (size_t i = 0; i < ARRAY_COUNT(array_keys); i++)
            known = known || strcmp(array_keys[i].name, name) == 0;
        if (reserved && known)
            continue;
        if (reserved && !json_is_array(member))
            return spec_unknown_key(reader, &item, &array_table);
        if (spec->params_count == SPEC_PARAMS_MAX)
            return spec_refuse(reader, &item, -E2BIG, "more than %u columns", SPEC_PARAMS_MAX);
        rc = read_column(reader, &item, member, &params[spec->params_count]);
        if (rc < 0)
            return rc;
        spec->params_count++;
    }
    return 0;
}

int spec_read_array(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target)
{
    struct spec_step item = { .up = step, .key = "params" };
    struct job_spec *spec = target;
    const json_t *params = json_object_get(value, "params");
    int rc = 0;

    if (!json_is_object(value))
        return read_range(reader, step, value, spec);
    for (size_t i = 1; rc == 0 && i < ARRAY_COUNT(array_keys); i++) {
        const json_t *member = json_object_get(value, array_keys[i].name);
        struct spec_step key = { .up = step, .key = array_keys[i].name };

        if (member)
            rc = spec_read_key(reader, &key, &array_keys[i], member, spec);
    }
    spec->params = arena_alloc(reader->arena, SPEC_PARAMS_MAX, sizeof(struct spec_param));
    if (!spec->params)
        return spec_no_memory(reader, step);
    if (rc == 0)
        rc = read_columns(reader, step, value, true, spec);
    if (rc == 0 && params)
        rc = read_columns(reader, &item, params, false, spec);
    if (rc < 0)
        return rc;
    item.key = "range";
    value = json_object_get(value, "range");
    if (!value == !spec->params_count)
        return spec_refuse(reader, step, -EINVAL, "expected either a range or lists of values");
    return value ? read_range(reader, &item, value, spec) : count_elements(reader, step, spec);
}

void spec_print_array(const void *source, struct buf *out)
{
    const struct job_spec *spec = source;

    if (!spec->elements_count)
        return;
    buf_add_char(out, '{');
    if (spec->range) {
        buf_add_text(out, "\"range\":");
        spec_print_text(spec->range, out);
    } else {
        buf_add_text(out, "\"params\":{");
        for (uint32_t i = 0; i < spec->params_count; i++) {
            if (i)
                buf_add_char(out, ',');
            spec_print_text(spec->params[i].name, out);
            for (uint32_t j = 0; j < spec->params[i].choices_count; j++) {
                buf_add_text(out, j ? "," : ":[");
                spec_print_text(spec->params[i].choices[j], out);
            }
            buf_add_char(out, ']');
        }
        buf_add_char(out, '}');
        if (spec->params_zip)
            buf_add_text(out, ",\"zip\":true");
    }
    if (spec->parallel_max) {
        buf_add_text(out, ",\"parallel\":");
        spec_print_int(spec->parallel_max, out);
    }
    buf_add_char(out, '}');
}

const char *spec_param_value(const struct job_spec *spec, uint32_t param, uint32_t element)
{
    uint32_t at = element;

    if (!spec->params_zip) {
        for (uint32_t i = spec->params_count - 1; i > param; i--)
            at /= spec->params[i].choices_count;
        at %= spec->params[param].choices_count;
    }
    return spec->params[param].choices[at];
}

uint32_t spec_range_value(const struct job_spec *spec, uint32_t element)
{
    return spec->range_values ? spec->range_values[element] : element;
}
