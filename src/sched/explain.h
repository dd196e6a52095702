/* explain.h - why a shape does not run: the binding constraint, with its numbers, as data. */
#pragma once

#include "sched/fit.h"

enum verdict_code {
    VERDICT_BUSY,    /* it would fit if less ran */
    VERDICT_NO_SITE, /* nothing has joined */
    VERDICT_PLACE,   /* `where` leaves no site */
    VERDICT_POLICY,  /* the owner of the site that would do does not let it in: owner_bar */
    VERDICT_CHIP,    /* no device, or none of the kinds listed */
    VERDICT_NEED,    /* `metric`: the best device has `most`, `needed` are asked */
    VERDICT_DEVICE_MEMORY,
    VERDICT_DEVICES, /* per task; `most` on one node */
    VERDICT_CPUS,
    VERDICT_MEMORY,
    VERDICT_DISK,
    VERDICT_TOGETHER, /* each by itself is there, on no node all of it */
    VERDICT_GANG,     /* `most` of `needed` tasks fit at the best place */
    VERDICT_TOPOLOGY, /* `most` of `needed` tasks fit in one domain of the level it asks for */
    VERDICT_CLOSED,   /* what would do is cordoned, sick or gone */
    VERDICT_UNREACHABLE
};
struct verdict {
    enum verdict_code code;
    int64_t needed, most;
    uint32_t metric;
    uint32_t site, node; /* where `most` is */
};
#define EXPLAIN_ALL_SITES UINT32_MAX
struct verdict explain_shape(struct shape *shape, const struct fleet *fleet, uint32_t only_site);
/* "cpus", "chip", "busy": the reason's code as others see it. */
const char *verdict_name(enum verdict_code code);
