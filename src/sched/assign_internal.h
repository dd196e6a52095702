/* assign_internal.h - what assign.c and assign_share.c keep between them. */
#pragma once

#include "sched/assign.h"

#include <math.h>
#include <stddef.h>

#define ASSIGN_NEVER (-INFINITY)
#define ASSIGN_NODES_MAX (ASSIGN_KINDS_MAX + 1)
#define ASSIGN_ITEMS_MAX 320u /* sum of UNIT / gang over gangs 1 .. UNIT is 305 */

struct assign_offer {
    double density;
    uint64_t id;
    uint32_t job, kind;
};

/* The best package of jobs that may leave one node for another. */
struct assign_arc {
    double gain;
    uint32_t count;
    uint32_t jobs[ASSIGN_UNIT_MAX];
};

struct assign_item {
    double gain;
    uint32_t job, gang;
};

struct assign {
    const struct assign_problem *problem;
    const struct assign_params *params;
    uint32_t nodes; /* kinds + 1: the last is nowhere */
    uint32_t left;  /* steps */
    uint32_t sizes_count;
    uint32_t sizes[ASSIGN_UNIT_MAX]; /* gangs present, ascending */
    int64_t free[ASSIGN_NODES_MAX];
    bool is_stale[ASSIGN_NODES_MAX]; /* arcs out of the node */
    double least;                    /* gains below this are none */
    double *weight;                  /* jobs x nodes; nowhere = 0 */
    uint32_t *place, *mate, *here, *kept_place, *kept_mate, *partner;
    double *gain;
    struct assign_offer *offers;
    struct assign_arc *arcs; /* nodes x nodes */
    uint32_t weight_cap, place_cap, mate_cap, here_cap, kept_place_cap, kept_mate_cap;
    uint32_t partner_cap, gain_cap, offers_cap, arcs_cap;
    double give[ASSIGN_NODES_MAX], take[ASSIGN_NODES_MAX]; /* what a device more, or less, means */
    struct assign_item items[ASSIGN_ITEMS_MAX];
    bool took[ASSIGN_ITEMS_MAX][ASSIGN_UNIT_MAX + 1];
};

static inline double assign_worth(const struct assign *assign, uint32_t job, uint32_t node)
{
    return assign->weight[(size_t)job * assign->nodes + node];
}
void assign_move(struct assign *assign, uint32_t job, uint32_t node);
void assign_stale(struct assign *assign);
void assign_refresh(struct assign *assign, uint32_t unit);
uint32_t assign_improve(struct assign *assign); /* the steps taken */

bool assign_share_keep(struct assign *assign, uint32_t job); /* a pair that is one already */
void assign_share(struct assign *assign);
/* Shares of x beside y, and of y beside x; false = not together there. */
bool assign_shares(const struct assign *assign, uint32_t kind, uint32_t x, uint32_t y,
                   double *x_out, double *y_out);
