/* what.h - "what if": one change in words of what a run is made from.
 *
 *     add: 200 at west            so many devices more, in nodes like most of that site's
 *     add: 200 h200-sxm at west   of this kind, in nodes like those that have it, there or not
 *     add: 10 nodes at west       nodes like most of that site's
 *     lose: west [at 3d] [for 2d] its power fails; from the beginning and for good: then what ran
 *                                 there goes on elsewhere
 *     power_price: 0.30 at west   a key of its tariff, as in the fleet's file
 *     order: deadline             a key of the policy, as in its file */
#pragma once

#include "sim/faults.h"
#include "sim/policy.h"

#define SIM_WHAT_BYTES_MAX 1000u

struct sim_what { /* borrows what it was made from */
    const struct sim_fleet *fleet;
    struct sim_faults faults;
    struct sim_policy policy; /* its name is the change */
};

/* `base` with the change; lists come from `arena`. `fleet_out` is what the caller has to destroy,
 * after `out` and all made from it: NULL unless the fleet is another. -EINVAL: what was expected,
 * or -ENOENT: no such site or kind of chip. */
int sim_what_if(const char *text, const struct sim_what *base, const struct catalogue *catalogue,
                struct arena *arena, struct sim_what *out, struct sim_fleet **fleet_out,
                struct err *err);
