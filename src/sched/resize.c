#include "sched/resize.h"

#include "base/cleanup.h"
#include "sched/mem.h"

#include <assert.h>
#include <stdlib.h>

#define ROUNDS_MAX 4u
#define AHEAD_MAX 8u /* steps that are looked at together */

struct offer {    /* the best next piece of a job */
    double worth; /* a device */
    uint32_t job, devices;
};
struct resize {
    struct offer *heap;
    bool *is_out; /* it does not pay for this job */
    uint32_t heap_count, heap_cap, out_cap;
};

struct resize_params resize_params_default(void)
{
    return (struct resize_params){
        .class_weight = { [CLASS_LOW] = 1,
                          [CLASS_NORMAL] = 2,
                          [CLASS_HIGH] = 4,
                          [CLASS_URGENT] = 8 },
        .beyond_milli = 500,
        .payback_milli = 2000,
        .hold_ms = 600 * 1000,
        .unknown_ms = 3600 * 1000,
    };
}

struct resize *resize_create(void)
{
    return mem_alloc(1, sizeof(struct resize));
}

void resize_destroy(struct resize *resize)
{
    if (!resize)
        return;
    free(resize->heap);
    free(resize->is_out);
    free(resize);
}

static double raw_rate(const struct resize_params *params, const struct resize_job *job,
                       uint32_t devices)
{
    const struct resize_point *points = job->points, *last;

    if (job->points_count == 0)
        return devices;
    last = &points[job->points_count - 1];
    if (devices <= points[0].devices)
        return points[0].rate * devices / points[0].devices;
    if (devices > last->devices)
        return last->rate *
               (1 + params->beyond_milli / 1000.0 * (devices - last->devices) / last->devices);
    for (uint32_t i = 1; i < job->points_count; i++) {
        const struct resize_point *low = &points[i - 1], *high = &points[i];

        if (devices <= high->devices)
            return low->rate + (high->rate - low->rate) * (devices - low->devices) /
                                   (high->devices - low->devices);
    }
    return last->rate;
}

double resize_rate(const struct resize_params *params, const struct resize_job *job,
                   uint32_t devices)
{
    return raw_rate(params, job, devices) / raw_rate(params, job, job->devices);
}

static bool is_elastic(const struct resize_job *job)
{
    assert(job->step > 0 && job->job_class < CLASS_COUNT);
    return job->devices >= 1 && job->devices >= job->devices_min &&
           job->devices <= job->devices_max;
}

/* How long a change is good for. */
static double lasting_ms(const struct resize_params *params, const struct resize_job *job,
                         int64_t ms)
{
    int64_t left_ms = job->left_ms == INT64_MAX ? params->unknown_ms : job->left_ms;

    return (double)MIN(left_ms, ms == INT64_MAX ? params->unknown_ms : ms);
}

/* What a job at this size is worth: its rate, in that of one of its devices alone. */
static double value(const struct resize_params *params, const struct resize_job *job,
                    uint32_t devices)
{
    return raw_rate(params, job, devices) / raw_rate(params, job, 1) *
           params->class_weight[job->job_class];
}

/* --- growing -----------------------------------------------------------------------------------
 */

static bool is_before(const struct offer *a, const struct offer *b, const struct resize_job *jobs)
{
    if (a->worth != b->worth)
        return a->worth > b->worth;
    return jobs[a->job].id < jobs[b->job].id;
}

static void sift_down(struct resize *resize, uint32_t at, const struct resize_job *jobs)
{
    struct offer moved = resize->heap[at];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= resize->heap_count)
            break;
        if (child + 1 < resize->heap_count &&
            is_before(&resize->heap[child + 1], &resize->heap[child], jobs))
            child++;
        if (!is_before(&resize->heap[child], &moved, jobs))
            break;
        resize->heap[at] = resize->heap[child];
        at = child;
    }
    resize->heap[at] = moved;
}

/* The piece of 1, 2, 4 or 8 steps that brings most a device and fits; devices 0: none. */
static struct offer best_piece(const struct resize_params *params, const struct resize_job *job,
                               uint32_t index, uint32_t from, uint32_t idle)
{
    struct offer best = { .job = index };

    for (uint32_t steps = 1; steps <= AHEAD_MAX; steps *= 2) {
        uint64_t more = (uint64_t)steps * job->step;
        double each;

        if (more > idle || from + more > job->devices_max)
            break;
        each =
            (value(params, job, from + (uint32_t)more) - value(params, job, from)) / (double)more;
        if (each > best.worth) {
            best.worth = each;
            best.devices = (uint32_t)more;
        }
    }
    return best;
}

static uint32_t share_out(struct resize *resize, const struct resize_params *params,
                          const struct resize_job *jobs, uint32_t count, uint32_t idle,
                          uint32_t *devices_out)
{
    uint32_t given = 0;

    resize->heap_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct offer offer;

        devices_out[i] = jobs[i].devices;
        if (resize->is_out[i])
            continue;
        offer = best_piece(params, &jobs[i], i, jobs[i].devices, idle);
        if (offer.devices > 0)
            resize->heap[resize->heap_count++] = offer;
    }
    for (uint32_t i = resize->heap_count / 2; i > 0; i--)
        sift_down(resize, i - 1, jobs);
    while (resize->heap_count > 0) {
        struct offer *top = &resize->heap[0];
        uint32_t job = top->job;

        if (top->devices <= idle - given) {
            devices_out[job] += top->devices;
            given += top->devices;
        }
        *top = best_piece(params, &jobs[job], job, devices_out[job], idle - given);
        if (top->devices == 0)
            *top = resize->heap[--resize->heap_count];
        if (resize->heap_count > 0)
            sift_down(resize, 0, jobs);
    }
    return given;
}

static bool does_pay(const struct resize_params *params, const struct resize_job *job,
                     uint32_t devices, int64_t free_ms)
{
    double faster = resize_rate(params, job, devices);
    double works_ms = lasting_ms(params, job, free_ms) - (double)job->resize_ms;

    /* It stands still at what would be rate 1, and then wins what is above it. */
    return works_ms > 0 &&
           (faster - 1) * works_ms * 1000 >= (double)job->resize_ms * params->payback_milli;
}

uint32_t resize_grow(struct resize *resize, const struct resize_params *params,
                     const struct resize_job *jobs, uint32_t count, uint32_t idle, int64_t free_ms,
                     int64_t now_ms, uint32_t *devices_out)
{
    uint32_t given = 0;

    MEM_GROW(resize->heap, resize->heap_cap, count);
    MEM_GROW(resize->is_out, resize->out_cap, count);
    for (uint32_t i = 0; i < count; i++)
        resize->is_out[i] = !is_elastic(&jobs[i]) || now_ms - jobs[i].changed_ms < params->hold_ms;
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        bool is_fine = true;

        given = share_out(resize, params, jobs, count, idle, devices_out);
        for (uint32_t i = 0; i < count; i++) {
            if (devices_out[i] == jobs[i].devices ||
                does_pay(params, &jobs[i], devices_out[i], free_ms))
                continue;
            resize->is_out[i] = true;
            given -= devices_out[i] - jobs[i].devices;
            devices_out[i] = jobs[i].devices;
            is_fine = false;
        }
        if (is_fine)
            break;
    }
    return given;
}

/* --- shrinking ---------------------------------------------------------------------------------
 */

/* What it costs per device that `job` gives as much as it can of what is still missing. */
static double giving_cost(const struct resize_params *params, const struct resize_job *job,
                          uint32_t missing, int64_t needed_ms, uint32_t *gives_out)
{
    uint32_t steps_max = (job->devices - MAX(job->devices_min, 1u)) / job->step;
    uint32_t steps = MIN((missing + (uint64_t)job->step - 1) / job->step, steps_max);
    uint32_t left = job->devices - steps * job->step;
    double now = value(params, job, job->devices), lasts = lasting_ms(params, job, needed_ms);

    *gives_out = steps * job->step;
    if (steps == 0)
        return 0;
    return ((now - value(params, job, left)) * lasts + now * (double)job->resize_ms) /
           MIN(*gives_out, missing);
}

uint32_t resize_shrink(const struct resize_params *params, const struct resize_job *jobs,
                       uint32_t count, enum job_class class_max, uint32_t needed, int64_t needed_ms,
                       uint32_t *devices_out)
{
    uint32_t freed = 0;

    for (uint32_t i = 0; i < count; i++)
        devices_out[i] = jobs[i].devices;
    while (freed < needed) {
        uint32_t best = UINT32_MAX, best_gives = 0;
        double best_cost = 0;

        for (uint32_t i = 0; i < count; i++) {
            uint32_t gives;
            double cost;

            if (devices_out[i] != jobs[i].devices || jobs[i].job_class > class_max ||
                !is_elastic(&jobs[i]))
                continue;
            cost = giving_cost(params, &jobs[i], needed - freed, needed_ms, &gives);
            if (gives == 0)
                continue;
            if (best == UINT32_MAX || cost < best_cost ||
                (cost == best_cost && jobs[i].id < jobs[best].id)) {
                best = i;
                best_cost = cost;
                best_gives = gives;
            }
        }
        if (best == UINT32_MAX)
            break;
        devices_out[best] -= best_gives;
        freed += best_gives;
    }
    return freed;
}
