/* bed.h - a fleet under random work: what is held there, and what is let go again. */
#pragma once

#include "base/rng.h"
#include "sched/fit.h"
#include "sched/packer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BED_HELD_MAX 400u

struct bed {
    struct fleet fleet;
    struct shapes shapes;
    struct fit fit;
    struct grant *held[BED_HELD_MAX];
    uint32_t held_count;
    uint64_t held_ever;
    struct rng rng;
};

static inline uint32_t draw(struct bed *bed, uint32_t limit)
{
    return (uint32_t)rng_below(&bed->rng, limit);
}

/* The bed owns the grant from here on; its job is numbered. */
static inline void bed_hold(struct bed *bed, struct grant *grant)
{
    assert_true(bed->held_count < BED_HELD_MAX);
    grant->job_id = ++bed->held_ever;
    fleet_hold(&bed->fleet, grant);
    bed->held[bed->held_count++] = grant;
}

/* Any one of them. */
static inline void bed_let_go(struct bed *bed)
{
    uint32_t at = draw(bed, bed->held_count);

    fleet_release(&bed->fleet, bed->held[at]);
    grant_destroy(bed->held[at]);
    bed->held[at] = bed->held[--bed->held_count];
}

static inline void bed_end(struct bed *bed)
{
    while (bed->held_count)
        bed_let_go(bed);
    packer_destroy(bed->fleet.packer);
    fit_fini(&bed->fit);
    shapes_fini(&bed->shapes);
    fleet_fini(&bed->fleet);
}
