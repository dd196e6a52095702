/* shed_ways.h - between shed's files: each job's ways of drawing less, with watts and cost. */
#pragma once

#include "sched/shed.h"

struct shed_way {
    struct shed_choice choice;
    double cost; /* weighted */
};
struct shed_ways {
    struct shed_way *list; /* by job, then by watts and cost, both rising */
    uint32_t *first;       /* of a job; first[count] is the end */
    uint32_t count, list_cap, first_cap;
};

void shed_ways_fini(struct shed_ways *ways);
/* List those that are ready in time and free more than every cheaper one of their job. Jobs that
 * are barred do not move. */
void shed_ways_list(struct shed_ways *ways, const struct shed_params *params,
                    const struct shed_ask *ask, const struct shed_job *jobs, uint32_t count,
                    const bool *is_barred);
