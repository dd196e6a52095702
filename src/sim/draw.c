#include "sim/draw.h"

#include "base/cleanup.h"
#include "base/rng.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sim_draw(const uint64_t *milli, uint32_t count, uint64_t ceiling, uint64_t seed, uint32_t **out,
             uint32_t *out_count)
{
    struct rng rng = { seed * 7919 + 1 };
    uint64_t asked = 0;
    uint32_t *drawn, most = MAX(count, SIM_DRAW_MAX);

    for (uint32_t i = 0; i < count && !asked; i++)
        asked = milli[i];
    if (!asked)
        return -EINVAL;
    drawn = malloc((size_t)most * sizeof(*drawn));
    if (!drawn)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        drawn[i] = i;
    for (uint32_t i = count; i-- > 1;) {
        uint32_t j = (uint32_t)rng_below(&rng, i + 1), swap = drawn[i];

        drawn[i] = drawn[j];
        drawn[j] = swap;
    }
    asked = 0;
    for (uint32_t i = 0; i < SIM_DRAW_MAX; i++) {
        if (i >= count)
            drawn[i] = (uint32_t)rng_below(&rng, count);
        asked += milli[drawn[i]];
        if (asked <= ceiling)
            continue;
        *out = drawn;
        *out_count = i;
        return 0;
    }
    free(drawn);
    return -E2BIG;
}

static uint64_t job_milli(const struct sim_job *job)
{
    return job->tasks ? (uint64_t)job->tasks * job->devices_milli : (uint64_t)job->gpus * 1000;
}

static struct sim_job arrival(const struct sim_job *job, uint32_t index)
{
    struct sim_job arrival = *job;

    arrival.submit_ms = (int64_t)index * SIM_DRAW_GAP_MS;
    arrival.run_ms = SIM_RUN_MS_MAX;
    arrival.limit_ms = arrival.deadline_ms = 0;
    arrival.cancel_ms = -1;
    arrival.outcome = SIM_DONE;
    return arrival;
}

int sim_load_draw(struct sim_load *load, uint64_t devices, uint32_t percent, uint64_t seed,
                  struct err *err)
{
    uint64_t *milli = calloc((size_t)load->jobs_count + 1, sizeof(*milli));
    uint32_t *drawn = NULL, count = 0;
    struct sim_job *jobs;
    char source[sizeof(load->source)];
    int rc;

    for (uint32_t i = 0; milli && i < load->jobs_count; i++)
        milli[i] = job_milli(&load->jobs[i]);
    rc = milli ? sim_draw(milli, load->jobs_count, devices * 10 * percent, seed, &drawn, &count)
               : -ENOMEM;
    free(milli);
    if (rc == -E2BIG)
        return err_set(err, rc, "more than %u jobs would have to come", SIM_DRAW_MAX);
    if (rc == -EINVAL || (rc == 0 && !count)) {
        free(drawn);
        return err_set(err, -EINVAL, "%s: its jobs do not ask for devices that the fleet has",
                       load->source);
    }
    jobs = rc == 0 ? calloc(count, sizeof(*jobs)) : NULL;
    if (!jobs) {
        free(drawn);
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < count; i++)
        jobs[i] = arrival(&load->jobs[drawn[i]], i);
    free(drawn);
    free(load->jobs);
    load->jobs = jobs;
    load->jobs_count = load->jobs_cap = count;
    snprintf(source, sizeof(source), "drawn from %.100s", load->source);
    memcpy(load->source, source, sizeof(source));
    return 0;
}
