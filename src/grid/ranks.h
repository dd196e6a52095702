/* ranks.h - inside src/grid: whose work goes first by what it has had and is expected to need
 * (sched/order.h, sched/predict.h), while the policy orders so. Off, there is nothing of it. */
#pragma once

#include "grid/fields.h"
#include "grid/state.h"
#include "sched/order.h"

struct job_rank {         /* of a job that is queued or runs */
    int64_t predicted_ms; /* what its like took; 0 = nobody knows */
    int64_t said_ms;      /* width x ms that it was taken to need when it came */
    int64_t left_ms;      /* ... and is taken to need yet; derived */
    int64_t need_ms;      /* what one like it needs yet, as it was queued; 0 = nobody knows */
    int64_t learned_ms;   /* of its running, what was learned from; derived */
    uint8_t level;        /* of its queue bucket */
    bool is_aged;         /* it has waited long enough: first of its class until it ends */
};

/* On: it learns from here on; all that waits is put in order. Off: all of it is forgotten. */
void ranks_set(struct grid *grid, bool is_on);
void ranks_free(struct grid *grid);
/* Nodes came or went: who waits stands anew where the last level is another now. */
void ranks_fleet_changed(struct grid *grid);
/* The job is about to be queued: its level, as its bucket has it. */
void ranks_enqueue(struct grid *grid, struct job *job);
void ranks_settled(struct grid *grid, struct job *job); /* an attempt of it has ended */
/* It ends for good as `state`: its like will be taken to need what it did. Frees its rank. */
void ranks_job_ended(struct grid *grid, struct job *job, enum job_state state);
/* Does a timer matter to it: its deadline may call? */
bool ranks_has_timer(const struct grid *grid, const struct job *job);
void ranks_fire(struct grid *grid, struct job *job);

int64_t ranks_next_ms(const struct grid *grid); /* INT64_MAX = no tick is wanted */
void ranks_tick(struct grid *grid);
/* As a pass begins, every five minutes while somebody is blocked: who has waited too long. True: it
 * is time to make room, too. */
bool ranks_begin(struct grid *grid);
/* As it ends; `head` is the first that is blocked by lack of room, NULL = none. Those that stand
 * first and have no room may have others of their tenant and class stopped. */
void ranks_end(struct grid *grid, const struct job *head, bool is_time);
/* May others go around this blocked job, the first of all in line, whose start is not known? */
bool ranks_lets_past(const struct grid *grid, const struct job *job);

struct order_rank ranks_rank(const struct grid *grid, const struct job *job); /* as of now */
/* Does the blocked one stand so clearly before it that it may have it stopped? */
bool ranks_may_displace(const struct grid *grid, const struct order_rank *blocked,
                        const struct job *running, int64_t cost_ms);
void ranks_say(const struct grid *grid, const struct job *job, char *out, size_t bytes);

/* The snapshot's section, and the invariants. */
void ranks_put(const struct grid *grid, struct buf *out);
int ranks_take(struct grid *grid, struct cursor *in, uint32_t version);
int ranks_check(const struct grid *grid, struct err *err);
