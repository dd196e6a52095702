/* Attempts that wait in a site's own queue (Slurm, Kubernetes) for longer than was told when they
 * were sent are taken back, one at a time, where another place has room now and would end them
 * clearly sooner. Such an attempt has never started: nothing of its work is lost. It is stopped as
 * any other, and is queued again only when the site has said that it is gone. Each further time it
 * is left there twice as long before. */
#include "grid/freight.h"
#include "grid/state.h"

#define LOOK_MS 5000
#define PATIENCE_MS 20000 /* beyond what was told, at least */
#define DOUBLINGS_MAX 10u
#define TRIES_MAX 32u /* places looked for at a time; whose are more take turns */

int64_t freight_next_ms(const struct grid *grid)
{
    return grid->withdraw_next_ms ? grid->withdraw_next_ms : INT64_MAX;
}

void freight_tick(struct grid *grid)
{
    if (!grid->withdraw_next_ms || grid->now_ms < grid->withdraw_next_ms)
        return;
    grid->withdraw_next_ms = 0;
    grid->wants_pass = true;
}

/* One is on its way back: the room that was found is for it. */
static bool is_one_on_its_way(const struct grid *grid)
{
    for (uint32_t i = 0; i < grid->yielding_count; i++) {
        const struct job *job = grid_job(grid, grid->yielding[i]);

        if (job->yield_cause == YIELD_MOVE && job->yield_for == job->item.id &&
            yield_is_soon(grid, job))
            return true;
    }
    return false;
}

static bool has_waited_too_long(const struct grid *grid, const struct job *job)
{
    const struct job_past *past = job->past;
    int64_t told_ms = past ? past->queue_told_ms : 0;
    int64_t most_ms = told_ms + MAX(told_ms / 2, PATIENCE_MS);

    most_ms <<= MIN(past ? past->withdrawn_count : 0, DOUBLINGS_MAX);
    return grid->now_ms - job->grant->granted_ms >= most_ms;
}

static bool is_there(const struct fleet_site *site, const struct grant *grant,
                     const struct candidate *candidate)
{
    const struct grant_part *part = &grant->parts[0];

    if (candidate->site != grant->site)
        return false;
    if (!part->devices_count)
        return candidate->chip == FLEET_NO_CHIP;
    return part->devices[0].index < site->nodes[part->node].devices_count &&
           candidate->chip == site->nodes[part->node].devices[part->devices[0].index].chip;
}

/* The site at which it would clearly end sooner, with room now; -1 = none. */
static int find_better(struct grid *grid, const struct job *job)
{
    const struct fleet_site *site = &grid->fleet.sites[job->grant->site];
    struct shape *shape = job_shape(grid, job);
    const struct candidate *list, *here = NULL;
    const struct fleet_window window = grid->fleet.window;
    int better = -1;
    uint32_t count;
    double margin_s;

    list = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    for (uint32_t i = 0; i < count && !here; i++)
        if (is_there(site, job->grant, &list[i]))
            here = &list[i];
    if (!here || !(here->finish_s > 0))
        return -1;
    margin_s = MAX((double)here->freight.wait_ms / 4000, PATIENCE_MS / 1000);
    grid->fleet.window.until_ms = job_end_bound(grid, job);
    grid->fleet.window.is_promised = false;
    for (const struct candidate *at = list; at < here && better < 0; at++) /* it would rather be */
        if (at->site != here->site && (at->rate.seconds > 0) == (here->rate.seconds > 0) &&
            at->finish_s + margin_s <= here->finish_s && grid->fleet.sites[at->site].reachable &&
            fit_candidate(shape, &grid->fleet, at->site, at->chip, FIT_LIMITED, &grid->fit))
            better = (int)at->site;
    grid->fleet.window = window;
    return better;
}

static bool may_be_withdrawn(const struct grid *grid, const struct job *job)
{
    const struct fleet_site *site = &grid->fleet.sites[job->grant->site];

    return job->state == JOB_STARTING && !job->started_ms && job->reason && !job->bound_site &&
           !job->across && site->reachable && yield_is_possible(grid, job) &&
           has_waited_too_long(grid, job);
}

/* NULL: it stays. At sites without a queue of their own, which are most, no job is looked up. */
static struct job *withdrawable(const struct grid *grid, const struct grant *grant)
{
    struct job *job;

    if (!grid->fleet.sites[grant->site].freight.waits_count)
        return NULL;
    job = grid_job(grid, grant->job_id);
    return may_be_withdrawn(grid, job) ? job : NULL;
}

static uint32_t count_waiting(const struct grid *grid)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->fleet.grants_count; i++)
        count += withdrawable(grid, grid->fleet.grants[i]) != NULL;
    return count;
}

static bool is_older(const struct job *a, const struct job *b)
{
    return a->grant->granted_ms != b->grant->granted_ms
               ? a->grant->granted_ms < b->grant->granted_ms
               : a->item.id < b->item.id;
}

/* Whose turn it is, who has waited for longest there first. */
static uint32_t list_waiting(const struct grid *grid, uint32_t waiting, struct job *list[TRIES_MAX])
{
    uint64_t turns = (waiting + TRIES_MAX - 1) / TRIES_MAX, count = 0;
    uint64_t turn = (uint64_t)(grid->now_ms / LOOK_MS) % turns;

    for (uint32_t i = 0; i < grid->fleet.grants_count; i++) {
        const struct grant *grant = grid->fleet.grants[i];
        struct job *job = grant->job_id % turns == turn ? withdrawable(grid, grant) : NULL;
        uint64_t at;

        if (!job || (count == TRIES_MAX && !is_older(job, list[TRIES_MAX - 1])))
            continue;
        at = count < TRIES_MAX ? count++ : TRIES_MAX - 1;
        for (; at && is_older(job, list[at - 1]); at--)
            list[at] = list[at - 1];
        list[at] = job;
    }
    return (uint32_t)count;
}

void freight_withdraw(struct grid *grid)
{
    struct job *list[TRIES_MAX], *first = NULL;
    uint32_t waiting, count = 0;
    int better = -1;

    if (!grid->fleet.waits_count || !grid->counts.starting) {
        grid->withdraw_next_ms = 0;
        return;
    }
    if (grid->now_ms < grid->withdraw_next_ms)
        return;
    grid->withdraw_next_ms = grid->now_ms + LOOK_MS;
    if (is_one_on_its_way(grid))
        return;
    waiting = count_waiting(grid);
    if (waiting)
        count = list_waiting(grid, waiting, list);
    for (uint32_t i = 0; i < count && better < 0; i++) {
        first = list[i];
        better = find_better(grid, first);
    }
    if (better < 0)
        return;
    job_past_of(first)->withdrawn_count++;
    yield_ask(grid, first, YIELD_MOVE, first->item.id,
              "taken back: it waits in the queue of site %s for longer than was told; site %s has "
              "room",
              grid->fleet.sites[first->grant->site].info.name, grid->fleet.sites[better].info.name);
}
