/* What a job says of its own work and of how its nodes should lie: the keys below work and
 * topology whose form fits no type of the table. */
#include "model/spec_key.h"
#include "model/suggest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UNITS_MILLI_MAX INT64_C(1000000000000000) /* 10^12 units */
#define SECONDS_MILLI_MAX INT64_C(1000000000000)  /* 10^9 seconds */
#define OPERATIONS_MAX INT64_C(9000000000000000000)

/* The arithmetic that work may use, as chip_metric_name has it. */
static const struct {
    const char *name;
    enum chip_metric metric;
} metrics[] = {
    { "fp64_tflops", METRIC_FP64_TFLOPS }, { "fp32_tflops", METRIC_FP32_TFLOPS },
    { "tf32_tflops", METRIC_TF32_TFLOPS }, { "fp16_tflops", METRIC_FP16_TFLOPS },
    { "bf16_tflops", METRIC_BF16_TFLOPS }, { "fp8_tflops", METRIC_FP8_TFLOPS },
    { "int8_tops", METRIC_INT8_TOPS },
};

int spec_read_units(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target)
{
    return spec_read_milli(reader, step, value, 1, UNITS_MILLI_MAX,
                           &((struct job_spec *)target)->request.work.units_milli);
}

void spec_print_units(const void *source, struct buf *out)
{
    const struct request_work *work = &((const struct job_spec *)source)->request.work;

    if (work->units_milli)
        spec_print_decimal_milli(work->units_milli, out);
}

int spec_read_paces(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                    void *target)
{
    struct request_work *work = &((struct job_spec *)target)->request.work;
    const char *name;
    json_t *member;

    if (!json_is_object(value) || !json_object_size(value))
        return spec_expected(reader, step, value, "a mapping such as {h100: 0.42}");
    if (json_object_size(value) > REQUEST_CHIPS_MAX)
        return spec_refuse(reader, step, -E2BIG, "more than %u chip kinds", REQUEST_CHIPS_MAX);
    json_object_foreach ((json_t *)value, name, member) {
        struct spec_step item = { .up = step, .key = name };
        struct request_pace *pace = &work->paces[work->paces_count];
        int rc = spec_read_name(reader, &item, name, "a chip kind");

        if (rc == 0)
            rc = spec_read_milli(reader, &item, member, 1, SECONDS_MILLI_MAX, &pace->seconds_milli);
        if (rc < 0)
            return rc;
        memcpy(pace->chip, name, strlen(name) + 1);
        work->paces_count++;
    }
    return 0;
}

void spec_print_paces(const void *source, struct buf *out)
{
    const struct request_work *work = &((const struct job_spec *)source)->request.work;

    for (uint32_t i = 0; i < work->paces_count; i++) {
        buf_add_char(out, i ? ',' : '{');
        spec_print_text(work->paces[i].chip, out);
        buf_add_char(out, ':');
        spec_print_decimal_milli(work->paces[i].seconds_milli, out);
    }
    if (work->paces_count)
        buf_add_char(out, '}');
}

int spec_read_operations(struct spec_reader *reader, const struct spec_step *step,
                         const json_t *value, void *target)
{
    double number = json_is_number(value) ? json_number_value(value) : -1;

    /* Also false for what is no number. */
    if (!(number >= 1 && number <= (double)OPERATIONS_MAX))
        return spec_expected(reader, step, value, "a number from 1 to 9e18");
    ((struct job_spec *)target)->request.work.operations =
        json_is_integer(value) ? json_integer_value(value) : (int64_t)number;
    return 0;
}

void spec_print_operations(const void *source, struct buf *out)
{
    const struct request_work *work = &((const struct job_spec *)source)->request.work;

    if (work->operations)
        spec_print_int(work->operations, out);
}

int spec_read_metric(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                     void *target)
{
    const char *words[ARRAY_COUNT(metrics)], *text = json_string_value(value), *near;

    for (size_t i = 0; i < ARRAY_COUNT(metrics); i++) {
        words[i] = metrics[i].name;
        if (text && strcmp(text, metrics[i].name) == 0) {
            ((struct job_spec *)target)->request.work.metric = (uint32_t)metrics[i].metric;
            return 0;
        }
    }
    near = text ? suggest_word(text, words, ARRAY_COUNT(words)) : NULL;
    if (near)
        return spec_refuse(reader, step, -EINVAL, "unknown arithmetic; did you mean \"%s\"?", near);
    return spec_expected(reader, step, value, "one of fp64_tflops ... int8_tops");
}

void spec_print_metric(const void *source, struct buf *out)
{
    const struct request_work *work = &((const struct job_spec *)source)->request.work;

    for (size_t i = 0; i < ARRAY_COUNT(metrics); i++)
        if ((uint32_t)metrics[i].metric == work->metric)
            spec_print_text(metrics[i].name, out);
}

int spec_check_work(struct job_spec *spec, struct spec_reader *reader)
{
    const struct spec_step root = { 0 };
    struct request_work *work = &spec->request.work;
    const char *class = spec->work_class;

    if (!class && (work->units_milli || work->paces_count || work->operations || work->bytes))
        return spec_refuse(reader, &root, -EINVAL, "work: expected class: what the work is called");
    if (class)
        memcpy(work->class, class, strlen(class) + 1);
    if (work->metric && !work->operations)
        return spec_refuse(reader, &root, -EINVAL, "work: metric goes with operations");
    if (work->operations && !work->metric)
        work->metric = METRIC_BF16_TFLOPS;
    if (spec->request.shape.within_hard && !spec->request.shape.within)
        return spec_refuse(reader, &root, -EINVAL, "topology: hard goes with within");
    if (spec->request.shape.apart.level && !spec->request.shape.apart.avoids_count)
        return spec_refuse(reader, &root, -EINVAL, "topology: apart goes with not_with");
    return 0;
}
