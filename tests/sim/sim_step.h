/* sim_step.h - one event in the world of a simulated property. `failure` is what went wrong first,
 * "" = nothing: from then on nothing happens any more. */
#pragma once

#include "grid/grid.h"

#include <stdio.h>

#define SIM_FAILURE_BYTES 256

/* A refusal is a failure. The id of the job that was submitted, if one was. */
static inline uint64_t sim_step(struct grid *grid, const struct event *event, effect_fn hear,
                                void *world, char failure[SIM_FAILURE_BYTES])
{
    struct step_result result = { 0 };
    struct err err = { 0 };

    if (!failure[0] && grid_step(grid, event, hear, world, &result, &err) < 0)
        snprintf(failure, SIM_FAILURE_BYTES, "%s: %.200s", event_type_name(event->type), err.text);
    return result.job_id;
}

static inline void sim_check(const struct grid *grid, char failure[SIM_FAILURE_BYTES])
{
    struct err err = { 0 };

    if (!failure[0] && grid_check_invariants(grid, &err) < 0)
        snprintf(failure, SIM_FAILURE_BYTES, "%.200s", err.text);
}
