#include "sched/shed_ways.h"

#include "base/cleanup.h"
#include "sched/mem.h"

#include <assert.h>
#include <stdlib.h>

#define CAP_STEPS 4u
#define SHRINK_STEPS 4u

void shed_ways_fini(struct shed_ways *ways)
{
    free(ways->list);
    free(ways->first);
    *ways = (struct shed_ways){ 0 };
}

/* By Newton's steps: the C library's differs between machines. 0 <= x <= 1. */
static double cube_root(double x)
{
    double y = 1;

    if (x <= 0)
        return 0;
    for (int i = 0; i < 60; i++)
        y = (2 * y + x / (y * y)) / 3;
    return y;
}

struct offer { /* what all ways of one job share */
    const struct shed_params *params;
    const struct shed_ask *ask;
    const struct shed_job *job;
    int64_t within_ms;
    uint32_t index;
    bool may_move;
};

/* lost and waiting in ms of each device. */
static void add_way(struct shed_ways *ways, const struct offer *offer, struct shed_choice choice,
                    double lost_ms, double waiting_ms)
{
    const struct shed_job *job = offer->job;
    struct shed_way *way;

    choice.watts_freed = job->watts - choice.watts_left;
    if (choice.watts_freed <= 0 || choice.ready_ms < 0 || choice.ready_ms > offer->within_ms)
        return;
    choice.job = offer->index;
    choice.lost_ms = (int64_t)(lost_ms * job->devices);
    choice.waiting_ms = (int64_t)(waiting_ms * job->devices);
    MEM_GROW(ways->list, ways->list_cap, ways->count + 1);
    way = &ways->list[ways->count++];
    way->choice = choice;
    way->cost = ((double)choice.lost_ms + (double)offer->params->touch_device_ms +
                 (double)choice.waiting_ms * offer->params->waiting_milli / 1000) *
                offer->params->class_weight[job->job_class] * (1 + job->interrupts / 2.0);
}

static void add_caps(struct shed_ways *ways, const struct offer *offer)
{
    const struct shed_job *job = offer->job;
    int64_t floor = MAX(job->watts_cap_min, job->watts_idle);

    if (job->cap_ms < 0 || floor >= job->watts)
        return;
    for (uint32_t i = 1; i <= CAP_STEPS; i++) {
        int64_t left = job->watts - (job->watts - floor) * i / CAP_STEPS;
        double speed =
            cube_root((double)(left - job->watts_idle) / (double)(job->watts - job->watts_idle));

        add_way(ways, offer,
                (struct shed_choice){ .how = SHED_CAP,
                                      .devices_left = job->devices,
                                      .watts_left = left,
                                      .ready_ms = job->cap_ms },
                0, (1 - speed) * (double)offer->ask->lasts_ms);
    }
}

static void add_shrinks(struct shed_ways *ways, const struct offer *offer)
{
    const struct shed_job *job = offer->job;
    uint32_t left = job->devices, least = MAX(job->devices_min, 1u);

    if (job->shrink_ms < 0)
        return;
    for (uint32_t i = 0; i < SHRINK_STEPS && left > least; i++) {
        double share;

        left = MAX(left / 2, least);
        share = (double)left / job->devices;
        add_way(ways, offer,
                (struct shed_choice){ .how = SHED_SHRINK,
                                      .devices_left = left,
                                      .watts_left =
                                          job->watts_idle +
                                          (int64_t)((double)(job->watts - job->watts_idle) * share),
                                      .ready_ms = job->shrink_ms },
                (double)job->shrink_lost_ms, (1 - share) * (double)offer->ask->lasts_ms);
    }
}

static void add_ends(struct shed_ways *ways, const struct offer *offer)
{
    const struct shed_job *job = offer->job;
    double lasts = (double)offer->ask->lasts_ms, again = (double)job->restart_ms;
    bool is_saved = job->save_ms >= 0 && job->save_ms <= offer->within_ms;
    struct shed_choice end = { .watts_left = job->watts_idle };

    end.how = SHED_PAUSE;
    end.ready_ms = job->pause_ms;
    end.watts_left = MAX(job->watts_idle, job->watts_paused);
    add_way(ways, offer, end, 0, lasts);
    end.how = SHED_STOP;
    end.watts_left = job->watts_idle;
    end.ready_ms = job->stop_ms;
    add_way(ways, offer, end, (double)job->undone_ms + again, lasts);
    end.how = SHED_SAVE;
    end.ready_ms = job->save_ms;
    end.watts_left = MAX(job->watts_idle, job->watts_saving);
    add_way(ways, offer, end, (double)job->save_lost_ms + again, lasts);
    if (job->move_ms < 0 || !offer->may_move)
        return;
    end.how = SHED_MOVE;
    end.is_saved = is_saved;
    if (!is_saved) {
        end.ready_ms = job->stop_ms;
        end.watts_left = job->watts_idle;
    }
    add_way(ways, offer, end,
            (double)(is_saved ? job->save_lost_ms : job->undone_ms) + again + (double)job->move_ms,
            0);
}

static int compare_ways(const void *a, const void *b)
{
    const struct shed_way *x = a, *y = b;

    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    if (x->choice.watts_freed != y->choice.watts_freed)
        return x->choice.watts_freed > y->choice.watts_freed ? -1 : 1;
    return (x->choice.how > y->choice.how) - (x->choice.how < y->choice.how);
}

/* Sort, and drop ways that free no more than a cheaper one. */
static void prune_ways(struct shed_ways *ways, uint32_t from)
{
    uint32_t kept = from;

    if (ways->count) /* else there may be no list */
        qsort(ways->list + from, ways->count - from, sizeof(*ways->list), compare_ways);
    for (uint32_t i = from; i < ways->count; i++) {
        if (kept == from ||
            ways->list[i].choice.watts_freed > ways->list[kept - 1].choice.watts_freed)
            ways->list[kept++] = ways->list[i];
    }
    ways->count = kept;
}

void shed_ways_list(struct shed_ways *ways, const struct shed_params *params,
                    const struct shed_ask *ask, const struct shed_job *jobs, uint32_t count,
                    const bool *is_barred)
{
    struct offer offer = { .params = params, .ask = ask };

    offer.within_ms = MAX(ask->within_ms - params->time_margin_ms, 0);
    MEM_GROW(ways->first, ways->first_cap, count + 1);
    ways->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        ways->first[i] = ways->count;
        assert(jobs[i].devices > 0 && jobs[i].job_class < CLASS_COUNT);
        offer.job = &jobs[i];
        offer.index = i;
        offer.may_move = !is_barred[i];
        add_caps(ways, &offer);
        add_shrinks(ways, &offer);
        add_ends(ways, &offer);
        prune_ways(ways, ways->first[i]);
    }
    ways->first[count] = ways->count;
}
