#include "grid/reclaim.h"

#include "grid/guards.h"
#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/owner.h"

#include <inttypes.h>
#include <stdlib.h>

#define RECLAIM_CANDIDATES 8u /* places of one job that are tried */

struct reclaim {
    struct grid *grid;
    struct job *job;
    struct shape own;       /* its shape, on its own cells alone */
    struct victim *victims; /* lent on them at the site */
    uint32_t count, cap;
    uint32_t (*blocked)[CLASS_COUNT]; /* by guard: those that were found to have to wait */
};

/* --- what is lent there --------------------------------------------------------------------- */

static struct fleet_site *site_at(const struct reclaim *reclaim, const struct candidate *at)
{
    return &reclaim->grid->fleet.sites[at->site];
}

/* Give back, or take again, what of it is lent of the cells; gives the tasks that fit more. */
static uint64_t move(struct reclaim *reclaim, const struct candidate *at, struct victim *victim,
                     bool give_back)
{
    struct fleet_site *site = site_at(reclaim, at);
    const struct grant *grant = job_grant_at(victim->job, at->site);
    uint64_t gained = 0;

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        const struct fleet_node *node = &site->nodes[part->node];

        if (node->guard != reclaim->own.guard)
            continue;
        gained -= fit_tasks(&reclaim->own, site, node, at->chip, FIT_LIMITED);
        fleet_take_part(site, part, give_back);
        gained += fit_tasks(&reclaim->own, site, node, at->chip, FIT_LIMITED);
    }
    victim->is_given_back = give_back;
    return gained;
}

static bool is_lent_here(const struct reclaim *reclaim, const struct fleet_site *site,
                         const struct grant *grant)
{
    bool any = false;

    for (uint32_t i = 0; i < grant->parts_count && !any; i++) {
        const struct fleet_node *node = &site->nodes[grant->parts[i].node];

        any = node->guard == reclaim->own.guard && fleet_is_lent(node, grant);
    }
    return any;
}

/* Who is leaving anyway costs nothing and comes first. */
static void list_lent(struct reclaim *reclaim, const struct candidate *at)
{
    struct grid *grid = reclaim->grid;
    const struct fleet_site *site = site_at(reclaim, at);

    reclaim->count = 0;
    for (uint32_t i = 0; i < site->ends.count; i++) {
        const struct grant *grant = site->ends.heap[i];
        struct job *job;

        if (!grant->lends || !is_lent_here(reclaim, site, grant))
            continue;
        job = grid_job(grid, grant->job_id);
        MEM_GROW(reclaim->victims, reclaim->cap, reclaim->count + 1);
        reclaim->victims[reclaim->count++] =
            (struct victim){ .job = job, .lost = preempt_loss(grid, job) };
    }
    if (reclaim->count)
        qsort_r(reclaim->victims, reclaim->count, sizeof(*reclaim->victims), victims_compare, grid);
}

static bool is_leaving(const struct reclaim *reclaim, const struct victim *victim)
{
    return !yield_is_possible(reclaim->grid, victim->job);
}

/* `sum`: of its tasks so many fit, node by node; where who is beside whom matters, nobody counts.
 */
static bool fits(struct reclaim *reclaim, const struct candidate *at, uint64_t sum)
{
    struct grid *grid = reclaim->grid;

    if (sum < reclaim->own.tasks && !reclaim->own.apart)
        return false;
    return fit_candidate_plainly(&reclaim->own, &grid->fleet, at->site, at->chip, FIT_LIMITED,
                                 &grid->fit);
}

/* With who is leaving gone, and then as few more as need be, cheapest first: they are given back
 * then. False: not even with all of them; none is. */
static bool give_back(struct reclaim *reclaim, const struct candidate *at)
{
    struct fleet_site *site = site_at(reclaim, at);
    uint64_t sum = 0;
    bool found = false;

    for (uint32_t i = 0; i < site->info.nodes_count; i++)
        sum += fit_tasks(&reclaim->own, site, &site->nodes[i], at->chip, FIT_LIMITED);
    for (uint32_t i = 0; i < reclaim->count; i++)
        if (is_leaving(reclaim, &reclaim->victims[i]))
            sum += move(reclaim, at, &reclaim->victims[i], true);
    found = fits(reclaim, at, sum);
    for (uint32_t i = 0; i < reclaim->count && !found; i++) {
        if (reclaim->victims[i].is_given_back)
            continue;
        sum += move(reclaim, at, &reclaim->victims[i], true);
        found = fits(reclaim, at, sum);
    }
    for (uint32_t i = reclaim->count; i-- > 0;) { /* not needed after all? */
        struct victim *victim = &reclaim->victims[i];

        if (!victim->is_given_back || (found && is_leaving(reclaim, victim)))
            continue;
        sum += move(reclaim, at, victim, false);
        if (found && !fits(reclaim, at, sum))
            sum += move(reclaim, at, victim, true);
    }
    return found;
}

static void stop_lent(struct reclaim *reclaim, const struct candidate *at)
{
    struct grid *grid = reclaim->grid;
    const char *tenant = intern_data(&grid->tenant_names, grid->guards[reclaim->own.guard]);

    for (uint32_t i = 0; i < reclaim->count; i++)
        if (reclaim->victims[i].is_given_back && !is_leaving(reclaim, &reclaim->victims[i]))
            yield_ask(grid, reclaim->victims[i].job, YIELD_PREEMPT, reclaim->job->item.id,
                      "makes way for job %" PRIu64 ": tenant %.48s takes back its cells at %.32s",
                      reclaim->job->item.id, tenant, grid->fleet.sites[at->site].info.name);
}

/* --- one job at one place ------------------------------------------------------------------- */

enum found { FOUND_NONE, FOUND_START, FOUND_CLAIM };

/* What is lent there is told to go, and the place is promised to the job. */
static bool claim(struct reclaim *reclaim, const struct candidate *at, struct promise *had)
{
    struct grid *grid = reclaim->grid;
    int64_t start_ms = grid->now_ms + END_SLACK_MS, end_ms = grid->fleet.window.until_ms;
    struct grant *plan;
    bool found;

    list_lent(reclaim, at);
    found = reclaim->count && give_back(reclaim, at) && fits(reclaim, at, UINT64_MAX);
    if (!found)
        return false;
    plan = fit_grant(&reclaim->own, &grid->fleet, &grid->fit, FIT_LIMITED);
    for (uint32_t i = 0; i < reclaim->count; i++)
        if (reclaim->victims[i].is_given_back) {
            move(reclaim, at, &reclaim->victims[i], false);
            reclaim->victims[i].is_given_back = true;
        }
    if (had && had->plan && had->start_ms > grid->now_ms && had->start_ms < start_ms)
        start_ms = had->start_ms;
    if (!promises_claim(grid, reclaim->job, plan, at->chip, start_ms, end_ms))
        return false; /* as many as there may be are under way */
    stop_lent(reclaim, at);
    grid_emit(grid, EFFECT_JOB_CHANGED, reclaim->job);
    return true;
}

/* Its own promise, if it has one, is lifted. */
static enum found try_at(struct reclaim *reclaim, const struct candidate *at, struct promise *had)
{
    struct grid *grid = reclaim->grid;
    const struct fleet_site *site = site_at(reclaim, at);

    if (!site->reachable || !fit_has_power(&reclaim->own, site, at->chip) ||
        !owner_is_open(&grid->fleet, &reclaim->own, at->site))
        return FOUND_NONE;
    if (fits(reclaim, at, UINT64_MAX))
        return FOUND_START;
    if (had && had->plan && yield_pending(grid, YIELD_PREEMPT, reclaim->job->item.id))
        return FOUND_NONE; /* they are on their way */
    return claim(reclaim, at, had) ? FOUND_CLAIM : FOUND_NONE;
}

static bool has_cells_at(const struct grid *grid, uint32_t guard, uint32_t site)
{
    for (uint32_t i = 0; i < grid->cells_count; i++)
        if (grid->cells[i].guard == guard && grid->cells[i].site == site)
            return true;
    return false;
}

static enum found try_all(struct reclaim *reclaim, struct promise *had)
{
    struct grid *grid = reclaim->grid;
    struct shape *shape = job_shape(grid, reclaim->job);
    const struct candidate *candidates;
    enum found found = FOUND_NONE;
    uint32_t count, tried = 0;

    candidates =
        shape_candidates(shape, &grid->fleet, &job_terms(grid, reclaim->job)->objective, &count);
    reclaim->own = *shape;
    reclaim->own.own_only = true;
    for (uint32_t i = 0; i < count && tried < RECLAIM_CANDIDATES && found == FOUND_NONE; i++) {
        if (!has_cells_at(grid, shape->guard, candidates[i].site))
            continue;
        tried++;
        found = try_at(reclaim, &candidates[i], had);
    }
    return found;
}

/* Told without a look: of its like none would fit even with nothing lent, and none of its own has
 * ended since. Power and hours change by themselves. */
static bool is_known_not(const struct grid *grid, const struct shape *shape)
{
    const struct fleet *fleet = &grid->fleet;

    return !grid->powers_capped && !fleet->policies_count &&
           shape->no_own_shape == fleet->shape_version &&
           shape->no_own_room == fleet->own_rooms[shape->guard] &&
           fleet->window.until_ms >= shape->no_own_until_ms;
}

/* --- in order ------------------------------------------------------------------------------- */

static bool may_be_blocked(struct reclaim *reclaim, const struct job *job)
{
    uint32_t guard = job_shape(reclaim->grid, job)->guard;

    return reclaim->blocked[guard][job_terms(reclaim->grid, job)->job_class]++ <
           reclaim->grid->reservations;
}

static uint32_t try_job(struct reclaim *reclaim, struct job *job)
{
    struct grid *grid = reclaim->grid;
    struct shape *shape = job_shape(grid, job);
    struct promise *had = promise_of(grid, job);
    bool has_place = had && had->plan;
    enum found found = FOUND_NONE;
    int64_t until_ms = job_end_bound(grid, job);

    if (pass_hold(grid, job) != HOLD_NONE || power_holds(grid, job))
        return 0;
    reclaim->job = job;
    until_ms += until_ms < INT64_MAX - END_SLACK_MS ? END_SLACK_MS : 0;
    grid->fleet.window = (struct fleet_window){ INT64_MIN, until_ms, has_place };
    if (!has_place && is_known_not(grid, shape)) {
        if (!had && may_be_blocked(reclaim, job))
            promises_own(grid, job);
        return 0;
    }
    if (has_place)
        promise_lift(had, &grid->fleet);
    found = try_all(reclaim, had);
    if (found == FOUND_START) {
        if (has_place)
            promise_touch(had, &grid->fleet);
        grid->fleet.window.until_ms = job_end_bound(grid, job);
        pass_start(grid, job, FIT_LIMITED, CHOICE_OWN);
        return 1;
    }
    if (found == FOUND_CLAIM)
        return 0;
    if (has_place) {
        promise_set(had, &grid->fleet);
    } else {
        shape->no_own_shape = grid->fleet.shape_version;
        shape->no_own_room = grid->fleet.own_rooms[shape->guard];
        shape->no_own_until_ms = until_ms;
    }
    if (may_be_blocked(reclaim, job) && !had)
        promises_own(grid, job);
    return 0;
}

/* Those that wait for cells of their own, the first of each bucket, in order. */
static struct queue_head *list_heads(const struct grid *grid, uint32_t *count_out)
{
    const struct queue *queue = &grid->queue;
    struct queue_head *heads = NULL;
    uint32_t count = 0, cap = 0;

    for (uint32_t i = 0; i < queue->used_count; i++) {
        const struct queue_use *use = &queue->used[i];
        const struct queue_item *item = queue->buckets[use->number].first;

        if (!grid->shapes.list[use->shape].guard)
            continue;
        for (uint32_t k = 0; item && k < QUEUE_NEAR; k++, item = item->next) {
            MEM_GROW(heads, cap, count + 1);
            heads[count] = queue_head_of(queue, use);
            heads[count].first_ms = item->order_ms;
            heads[count++].first_id = item->id;
        }
    }
    if (count)
        qsort(heads, count, sizeof(*heads), queue_compare_heads);
    *count_out = count;
    return heads;
}

uint32_t reclaim_run(struct grid *grid)
{
    struct reclaim reclaim = { .grid = grid };
    struct fleet_window window = grid->fleet.window;
    uint32_t count, starts = 0;
    struct queue_head *heads;

    if (!grid->cells_count || !grid->queue.count)
        return 0;
    heads = list_heads(grid, &count);
    reclaim.blocked = mem_alloc(grid->guards_count, sizeof(*reclaim.blocked));
    for (uint32_t i = 0; i < count && starts < GRID_PASS_STARTS_MAX; i++)
        starts += try_job(&reclaim, grid_job(grid, heads[i].first_id));
    grid->fleet.window = window;
    free(reclaim.blocked);
    free(reclaim.victims);
    free(heads);
    return starts;
}
