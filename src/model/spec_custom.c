/* The keys whose form fits no type of the table. */
#include "model/spec_key.h"
#include "model/suggest.h"
#include "model/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FIGURE_MILLI_MAX INT64_C(1000000000000) /* 10^9 of a unit */

/* As chip_metric_name has them; a test compares the two. */
static const char *const metric_names[METRIC_COUNT] = {
    [METRIC_MEMORY_GB] = "memory_gb",     [METRIC_BANDWIDTH_GBS] = "bandwidth_gbs",
    [METRIC_FP64_TFLOPS] = "fp64_tflops", [METRIC_FP32_TFLOPS] = "fp32_tflops",
    [METRIC_TF32_TFLOPS] = "tf32_tflops", [METRIC_FP16_TFLOPS] = "fp16_tflops",
    [METRIC_BF16_TFLOPS] = "bf16_tflops", [METRIC_FP8_TFLOPS] = "fp8_tflops",
    [METRIC_INT8_TOPS] = "int8_tops",     [METRIC_LINK_GBS] = "link_gbs",
};
static const char *const place_names[] = { "owners", "sites", "regions" };
static const char *const objective_names[] = { "fastest", "cheapest", "greenest" };
static const char *const weight_names[] = { "time", "money", "carbon" };

static int find_word(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return (int)i;
    return -1;
}

static int unknown_word(struct spec_reader *reader, const struct spec_step *step,
                        const char *const *words, size_t count, const char *what)
{
    const char *near = suggest_word(step->key, words, count);

    if (near)
        return spec_refuse_key(reader, step, "unknown %s; did you mean \"%s\"?", what, near);
    return spec_refuse_key(reader, step, "unknown %s; known: %s ... %s", what, words[0],
                           words[count - 1]);
}

int spec_read_needs(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target)
{
    struct request_shape *shape = &((struct job_spec *)target)->request.shape;
    uint32_t count = 0;
    const char *name;
    json_t *member;

    if (!json_is_object(value))
        return spec_expected(reader, step, value, "a mapping such as {bf16_tflops: 300}");
    if (json_object_size(value) > REQUEST_NEEDS_MAX)
        return spec_refuse(reader, step, -E2BIG, "more than %u figures", REQUEST_NEEDS_MAX);
    json_object_foreach ((json_t *)value, name, member) {
        struct spec_step item = { .up = step, .key = name };
        int metric = find_word(name, metric_names, METRIC_COUNT);
        int64_t milli;
        int rc;

        if (metric < 0)
            return unknown_word(reader, &item, metric_names, METRIC_COUNT, "figure of a chip");
        rc = spec_read_milli(reader, &item, member, 0, FIGURE_MILLI_MAX, &milli);
        if (rc < 0)
            return rc;
        shape->needs[count++] =
            (struct request_need){ .metric = (uint32_t)metric, .least_milli = milli };
    }
    shape->needs_count = count;
    return 0;
}

void spec_print_needs(const void *source, struct buf *out)
{
    const struct request_shape *shape = &((const struct job_spec *)source)->request.shape;

    for (uint32_t i = 0; i < shape->needs_count; i++) {
        buf_add_char(out, i ? ',' : '{');
        spec_print_text(metric_names[shape->needs[i].metric], out);
        buf_add_char(out, ':');
        spec_print_decimal_milli(shape->needs[i].least_milli, out);
    }
    if (shape->needs_count)
        buf_add_char(out, '}');
}

static int read_place_list(struct spec_reader *reader, const struct spec_step *step,
                           const json_t *value, enum place_kind kind, uint32_t deny,
                           struct request_shape *shape)
{
    if (!json_is_array(value))
        return spec_expected(reader, step, value, "a list of names");
    for (size_t i = 0; i < json_array_size(value); i++) {
        struct spec_step item = { .up = step, .index = i };
        struct request_place *place = &shape->places[shape->places_count];
        int rc;

        if (shape->places_count == REQUEST_PLACES_MAX)
            return spec_refuse(reader, &item, -E2BIG, "more than %u owners, sites and regions",
                               REQUEST_PLACES_MAX);
        rc = spec_read_model_name(reader, &item, json_array_get(value, i), "a name", place->name);
        if (rc < 0)
            return rc;
        place->kind = kind;
        place->deny = deny;
        shape->places_count++;
    }
    return 0;
}

int spec_read_where(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target)
{
    static const char *const list_names[] = { "allow", "deny" };
    struct request_shape *shape = &((struct job_spec *)target)->request.shape;
    const char *name, *list;
    json_t *member, *entries;

    if (!json_is_object(value))
        return spec_expected(reader, step, value, "a mapping of owners, sites and regions");
    json_object_foreach ((json_t *)value, name, member) {
        struct spec_step place = { .up = step, .key = name };
        int kind = find_word(name, place_names, ARRAY_COUNT(place_names));

        if (kind < 0)
            return unknown_word(reader, &place, place_names, ARRAY_COUNT(place_names), "place");
        if (!json_is_object(member))
            return spec_expected(reader, &place, member, "a mapping of allow and deny");
        json_object_foreach (member, list, entries) {
            struct spec_step item = { .up = &place, .key = list };
            int deny = find_word(list, list_names, ARRAY_COUNT(list_names));
            int rc;

            if (deny < 0)
                return unknown_word(reader, &item, list_names, ARRAY_COUNT(list_names), "list");
            rc = read_place_list(reader, &item, entries, (enum place_kind)kind, (uint32_t)deny,
                                 shape);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static bool print_place_list(const struct request_shape *shape, uint32_t kind, uint32_t deny,
                             bool first, struct buf *out)
{
    bool any = false;

    for (uint32_t i = 0; i < shape->places_count; i++) {
        if (shape->places[i].kind != kind || shape->places[i].deny != deny)
            continue;
        if (!any)
            buf_printf(out, "%s\"%s\":[", first ? "" : ",", deny ? "deny" : "allow");
        else
            buf_add_char(out, ',');
        spec_print_text(shape->places[i].name, out);
        any = true;
    }
    if (any)
        buf_add_char(out, ']');
    return any;
}

void spec_print_where(const void *source, struct buf *out)
{
    const struct request_shape *shape = &((const struct job_spec *)source)->request.shape;
    bool any = false;

    for (uint32_t kind = 0; kind < ARRAY_COUNT(place_names); kind++) {
        bool has = false;

        for (uint32_t i = 0; i < shape->places_count; i++)
            has = has || shape->places[i].kind == kind;
        if (!has)
            continue;
        buf_printf(out, "%s\"%s\":{", any ? "," : "{", place_names[kind]);
        has = print_place_list(shape, kind, 0, true, out);
        print_place_list(shape, kind, 1, !has, out);
        buf_add_char(out, '}');
        any = true;
    }
    if (any)
        buf_add_char(out, '}');
}

int spec_read_objective(struct spec_reader *reader, const struct spec_step *step,
                        const json_t *value, void *target)
{
    struct job_request *request = &((struct job_spec *)target)->request;
    int64_t weights[3] = { 0, 0, 0 };
    const char *name;
    json_t *member;

    if (json_is_string(value)) {
        int kind =
            find_word(json_string_value(value), objective_names, ARRAY_COUNT(objective_names));

        if (kind < 0)
            return spec_expected(reader, step, value, "fastest, cheapest, greenest or weights");
        request->objective = (uint32_t)kind;
        return 0;
    }
    if (!json_is_object(value))
        return spec_expected(reader, step, value, "fastest, cheapest, greenest or weights");
    json_object_foreach ((json_t *)value, name, member) {
        struct spec_step item = { .up = step, .key = name };
        int weight = find_word(name, weight_names, ARRAY_COUNT(weight_names));
        int rc;

        if (weight < 0)
            return unknown_word(reader, &item, weight_names, ARRAY_COUNT(weight_names), "weight");
        rc = spec_read_milli(reader, &item, member, 0, 1000000, &weights[weight]);
        if (rc < 0)
            return rc;
    }
    if (weights[0] + weights[1] + weights[2] == 0)
        return spec_refuse(reader, step, -EINVAL, "expected a weight above 0");
    request->objective = OBJECTIVE_WEIGHTS;
    request->weight_time_milli = (uint32_t)weights[0];
    request->weight_money_milli = (uint32_t)weights[1];
    request->weight_carbon_milli = (uint32_t)weights[2];
    return 0;
}

void spec_print_objective(const void *source, struct buf *out)
{
    const struct job_request *request = &((const struct job_spec *)source)->request;
    const uint32_t weights[] = { request->weight_time_milli, request->weight_money_milli,
                                 request->weight_carbon_milli };
    char before = '{';

    if (request->objective == OBJECTIVE_CHEAPEST || request->objective == OBJECTIVE_GREENEST)
        spec_print_text(objective_names[request->objective], out);
    if (request->objective != OBJECTIVE_WEIGHTS)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(weights); i++) {
        if (!weights[i])
            continue;
        buf_add_char(out, before);
        spec_print_text(weight_names[i], out);
        buf_add_char(out, ':');
        spec_print_decimal_milli(weights[i], out);
        before = ',';
    }
    buf_add_char(out, '}');
}

int spec_read_max_price(struct spec_reader *reader, const struct spec_step *step,
                        const json_t *value, void *target)
{
    struct job_request *request = &((struct job_spec *)target)->request;
    double price = json_number_value(value);

    if (!json_is_number(value) || !(price >= 1e-6 && price <= 1e9))
        return spec_expected(reader, step, value, "a price above 0, such as 2.50");
    request->price_micro_max = (int64_t)(price * 1e6 + 0.5);
    return 0;
}

void spec_print_max_price(const void *source, struct buf *out)
{
    int64_t micro = ((const struct job_spec *)source)->request.price_micro_max;
    char text[32];

    if (!micro)
        return;
    units_print_micro(micro, text, sizeof(text));
    buf_add_text(out, text);
}

int spec_read_codes(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target)
{
    struct job_request *request = &((struct job_spec *)target)->request;
    size_t count = json_array_size(value);

    if (!json_is_array(value) || count == 0)
        return spec_expected(reader, step, value, "a list of exit codes");
    if (count > REQUEST_RETRY_CODES_MAX)
        return spec_refuse(reader, step, -E2BIG, "more than %u exit codes",
                           REQUEST_RETRY_CODES_MAX);
    for (size_t i = 0; i < count; i++) {
        struct spec_step item = { .up = step, .index = i };
        const json_t *code = json_array_get(value, i);

        if (!json_is_integer(code) || json_integer_value(code) < 1 ||
            json_integer_value(code) > 255)
            return spec_expected(reader, &item, code, "an exit code from 1 to 255");
        request->retry_codes[i] = (uint8_t)json_integer_value(code);
    }
    request->retry_codes_count = (uint32_t)count;
    return 0;
}

void spec_print_codes(const void *source, struct buf *out)
{
    const struct job_request *request = &((const struct job_spec *)source)->request;

    for (uint32_t i = 0; i < request->retry_codes_count; i++) {
        buf_add_char(out, i ? ',' : '[');
        spec_print_int(request->retry_codes[i], out);
    }
    if (request->retry_codes_count)
        buf_add_char(out, ']');
}

int spec_read_export(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                     void *target)
{
    struct job_spec *spec = target;
    const char *text = json_string_value(value);
    size_t count = json_array_size(value);
    const char **names;

    if (text && (strcmp(text, "all") == 0 || strcmp(text, "none") == 0)) {
        spec->export_all = text[0] == 'a';
        return 0;
    }
    if (!json_is_array(value))
        return spec_expected(reader, step, value, "all, none or a list of variables");
    if (count > SPEC_LIST_MAX)
        return spec_refuse(reader, step, -E2BIG, "more than %u variables", SPEC_LIST_MAX);
    names = arena_alloc(reader->arena, count + 1, sizeof(*names));
    if (!names)
        return spec_no_memory(reader, step);
    for (size_t i = 0; i < count; i++) {
        struct spec_step item = { .up = step, .index = i };
        const json_t *name = json_array_get(value, i);

        if (!json_is_string(name) || !spec_env_name_is_valid(json_string_value(name)))
            return spec_expected(reader, &item, name, "the name of a variable");
        names[i] = arena_strdup(reader->arena, json_string_value(name));
        if (!names[i])
            return spec_no_memory(reader, &item);
    }
    spec->export_names = names;
    spec->export_names_count = (uint32_t)count;
    return 0;
}

void spec_print_export(const void *source, struct buf *out)
{
    const struct job_spec *spec = source;

    if (spec->export_all)
        buf_add_text(out, "\"all\"");
    for (uint32_t i = 0; !spec->export_all && i < spec->export_names_count; i++) {
        buf_add_char(out, i ? ',' : '[');
        spec_print_text(spec->export_names[i], out);
    }
    if (!spec->export_all && spec->export_names_count)
        buf_add_char(out, ']');
}
