/* defrag.h - room for a gang that must be near together, made by moving others.
 *
 * A gang that is tied to a domain can wait while devices enough are idle, only scattered. Here the
 * domain is looked for in which it can be given room most cheaply by moving lent jobs elsewhere,
 * each to a place at least as tight as its own: nobody is put off. A plan is made only when it
 * pays: the gang's devices times the wait it is believed to be spared, against what the moves cost
 * (cells_set_worth: in device-ms; negative = not to be moved). Pure: the plan changes nothing;
 * defrag_apply does it in the books.
 *
 * Nothing is known of when work ends. The wait spared is taken to be what the gang has waited so
 * far, and at least `wait_ms_min` (who has waited long will wait long). Ask again when it has
 * waited a quarter longer: a plan that did not pay may then.
 * Bounded: `moves_max` moves; of the level's domains, the `domains_max` with most whole nodes idle
 * are looked into. Cost: sorting the domains, then for each O(nodes * moves). Deterministic. */
#pragma once

#include "sched/cells.h"

struct defrag_params {
    int64_t wait_ms_min;  /* believed of a gang that has only come */
    double gain_times;    /* how many times its cost a plan must save */
    uint32_t moves_max;   /* 1 .. DEFRAG_MOVES_MAX */
    uint32_t domains_max; /* >= 1 */
};
struct defrag_params defrag_params_default(void); /* 10 min, 1.5, 128, 64 */

#define DEFRAG_MOVES_MAX 256u

struct defrag_move {
    uint32_t job;
    uint32_t first, count; /* its new place, in `parts` */
};
struct defrag_plan {      /* reuse it; zeroes at first */
    uint32_t place_count; /* the gang's place: parts[0 .. place_count) */
    struct cells_part *parts;
    uint32_t parts_count, parts_cap;
    struct defrag_move moves[DEFRAG_MOVES_MAX];
    uint32_t moves_count;
    double cost; /* device-ms */
};
void defrag_plan_fini(struct defrag_plan *plan);

/* Room for a waiting hard job; false: none that pays. */
bool defrag_find(struct cells *cells, const struct defrag_params *params, uint32_t job,
                 int64_t waited_ms, struct defrag_plan *plan);
/* Carry the plan out at once, in the books. */
void defrag_apply(struct cells *cells, uint32_t job, const struct defrag_plan *plan);
