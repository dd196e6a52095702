/* The keys of jobs whose gang changes: `elastic` and `spares`. */
#include "model/spec_key.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A whole number of least .. most, or the one word; the word is UINT32_MAX. */
static int read_count_or(struct spec_reader *reader, const struct spec_step *step,
                         const json_t *value, const char *word, uint32_t least, uint32_t most,
                         uint32_t *out)
{
    const char *text = json_string_value(value);
    json_int_t count = json_integer_value(value);

    if (text && strcmp(text, word) == 0) {
        *out = UINT32_MAX;
        return 0;
    }
    if (!json_is_integer(value) || count < least || count > most)
        return spec_expected(reader, step, value, "a whole number from %u to %u, or %s", least,
                             most, word);
    *out = (uint32_t)count;
    return 0;
}

static void print_count_or(uint32_t count, const char *word, struct buf *out)
{
    if (count == UINT32_MAX)
        spec_print_text(word, out);
    else
        spec_print_int(count, out);
}

int spec_read_step(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                   void *target)
{
    return read_count_or(reader, step, value, "double", 1, REQUEST_TASKS_MAX,
                         &((struct job_spec *)target)->request.tasks_step);
}

void spec_print_step(const void *source, struct buf *out)
{
    uint32_t step = ((const struct job_spec *)source)->request.tasks_step;

    if (step > 1)
        print_count_or(step, "double", out);
}

int spec_read_spares(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                     void *target)
{
    return read_count_or(reader, step, value, "auto", 0, REQUEST_SPARES_MAX,
                         &((struct job_spec *)target)->request.spares);
}

void spec_print_spares(const void *source, struct buf *out)
{
    uint32_t spares = ((const struct job_spec *)source)->request.spares;

    if (spares)
        print_count_or(spares, "auto", out);
}

static int check_elastic(struct job_spec *spec, struct spec_reader *reader)
{
    const struct spec_step root = { 0 };
    const struct spec_step step = { .up = &root, .key = "elastic" };
    struct job_request *request = &spec->request;

    if (!request->tasks_max)
        return spec->elastic_min || request->tasks_step || request->resize_hold_ms
                   ? spec_refuse(reader, &step, -EINVAL, "expected max, its greatest width")
                   : 0;
    if (spec->elastic_min && request->shape.tasks > 1 && request->shape.tasks != spec->elastic_min)
        return spec_refuse(reader, &step, -EINVAL,
                           "min is %u and tasks is %u: tasks is the least width, say it once",
                           spec->elastic_min, request->shape.tasks);
    if (spec->elastic_min)
        request->shape.tasks = spec->elastic_min;
    spec->elastic_min = 0;
    if (request->tasks_max <= request->shape.tasks)
        return spec_refuse(reader, &step, -EINVAL,
                           "expected max above the %u task%s that it runs with at least",
                           request->shape.tasks, request->shape.tasks == 1 ? "" : "s");
    if (!spec->checkpoint_path)
        return spec_refuse(reader, &step, -EINVAL,
                           "expected checkpoint.path: from there it goes on at its new width");
    if (!request->requeue_on_loss)
        return spec_refuse(reader, &step, -EINVAL,
                           "it is started again at each new width: not with requeue_on_loss false");
    if (request->shape.sites_max > 1)
        return spec_refuse(reader, &step, -EINVAL,
                           "not for a gang that may be over several sites (resources.sites)");
    if (!request->tasks_step)
        request->tasks_step = 1;
    return 0;
}

int spec_check_elastic(struct job_spec *spec, struct spec_reader *reader)
{
    const struct spec_step root = { 0 };
    const struct spec_step step = { .up = &root, .key = "spares" };
    int rc = check_elastic(spec, reader);

    if (rc < 0 || !spec->request.spares)
        return rc;
    if (!spec->checkpoint_path)
        return spec_refuse(reader, &step, -EINVAL,
                           "expected checkpoint.path: from there it goes on with a spare node");
    if (!spec->request.requeue_on_loss)
        return spec_refuse(reader, &step, -EINVAL,
                           "it is started again on a spare: not with requeue_on_loss false");
    if (spec->request.shape.sites_max > 1)
        return spec_refuse(reader, &step, -EINVAL,
                           "not for a gang that may be over several sites (resources.sites)");
    return 0;
}
