/* Room for a gang that must be near together, made by moving others: a gang can wait for long while
 * devices enough are free, only scattered. With the policy's `defrag`, running work that saves
 * checkpoints is stopped with one and started elsewhere, when the gang gains more by it than that
 * costs (sched/defrag.h has the rule and, over made-up pools, the measure; here the fleet itself is
 * asked, with its CPUs, memory, shares of devices and promises).
 *
 * For whom: those that are promised a start, in the order of the promises, and have waited for
 * DEFRAG_WAIT_MS, when as many devices of the kind are free at one site as they want. What they
 * gain is the time until the promised start, or as long as they have waited where none is known,
 * at least DEFRAG_SPARED_MS; what it costs is what the moved lose by a stop, and a restart.
 *
 * Who is moved: who saves checkpoints, may be queued again and has run for a minute, twice as long
 * each further time it made way: so at most log2(T) + 1 times in T minutes, as with preemption.
 * Each must find room at the same site at once, beside what is made for the gang, so nobody is put
 * off; others may still take it first, when they come before it in line. What is freed is promised
 * to the gang. Domains are looked into that lack least, at most DEFRAG_GROUPS of them, nodes are
 * emptied where it costs least a task, at most DEFRAG_MOVES jobs. Once a minute, one gang. */
#include "grid/guards.h"
#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/order.h"
#include "sched/owner.h"

#include <inttypes.h>
#include <stdlib.h>

#define DEFRAG_EVERY_MS 60000
#define DEFRAG_WAIT_MS (2 * 60 * 1000LL)
#define DEFRAG_SPARED_MS (10 * 60 * 1000LL)
#define DEFRAG_RUN_MS_MIN 60000
#define DEFRAG_RUN_DOUBLINGS 6u
#define DEFRAG_RESTART_MS 60000
#define DEFRAG_GAIN_MILLI 1500 /* how many times its cost it must gain */
#define DEFRAG_MOVES 16u
#define DEFRAG_GROUPS 16u
#define DEFRAG_JOBS 4u       /* gangs looked at each time */
#define DEFRAG_CANDIDATES 4u /* places of each */

struct moved {
    struct job *job;
    int64_t cost; /* device-ms */
};
struct group { /* nodes that the gang may share */
    const uint32_t *nodes;
    uint32_t count, first; /* nodes NULL: from `first` on */
    uint64_t tasks;
};
struct plan {
    struct moved list[DEFRAG_MOVES];
    uint32_t count;
    int64_t cost;
};
struct search {
    struct grid *grid;
    struct job *job;
    struct shape *shape;
    uint32_t site;
    uint16_t chip;
    int64_t cost_most;
    struct plan plan;
};

/* --- who may be moved ------------------------------------------------------------------------- */

static int64_t width_of(const struct grant *grant)
{
    return (int64_t)MAX(grant->devices_milli / 1000, (uint64_t)1);
}

static int64_t cost_of(const struct grid *grid, const struct job *job)
{
    int64_t saved_ms = job->started_ms;

    if (job->past)
        saved_ms = MAX(saved_ms, MIN(job->past->checkpoint_ms, grid->now_ms));
    return width_of(job->grant) *
           order_stop_cost_ms(grid->now_ms, saved_ms,
                              job_terms(grid, job)->checkpoint == CHECKPOINT_ASKED,
                              DEFRAG_RESTART_MS);
}

static bool may_move(const struct grid *grid, const struct job *job)
{
    const struct terms *terms = job_terms(grid, job);
    int64_t least_ms = (int64_t)DEFRAG_RUN_MS_MIN << MIN(job->yields_count, DEFRAG_RUN_DOUBLINGS);

    return job->state == JOB_RUNNING && job->started_ms && !job->across && !suspend_holds(job) &&
           !terms->tasks_max && !terms->spares && yield_is_possible(grid, job) &&
           terms->checkpoint != CHECKPOINT_NONE &&
           grid->now_ms - job->grant->granted_ms >= least_ms;
}

static bool is_moved(const struct plan *plan, const struct job *job)
{
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->list[i].job == job)
            return true;
    return false;
}

/* --- trying it out ---------------------------------------------------------------------------- */

static struct fleet_site *site_of(const struct search *search)
{
    return &search->grid->fleet.sites[search->site];
}

static void take(const struct search *search, const struct grant *grant, bool give_back)
{
    for (uint32_t i = 0; i < grant->parts_count; i++)
        fleet_take_part(site_of(search), &grant->parts[i], give_back);
}

static uint32_t tasks_on(const struct search *search, uint32_t node)
{
    const struct fleet_site *site = site_of(search);

    return fit_tasks(search->shape, site, &site->nodes[node], search->chip, FIT_NOW);
}

static uint32_t node_at(const struct group *group, uint32_t i)
{
    return group->nodes ? group->nodes[i] : group->first + i;
}

static uint64_t tasks_in(const struct search *search, const struct group *group)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < group->count; i++)
        sum += tasks_on(search, node_at(group, i));
    return sum;
}

/* NULL: who holds this is moved already, or may not be. */
static struct job *movable(const struct search *search, const struct grant_part *part)
{
    struct job *job = grid_job(search->grid, part->of->job_id);

    return job && !is_moved(&search->plan, job) && may_move(search->grid, job) &&
                   !guards_keeps(search->grid, job, search->job)
               ? job
               : NULL;
}

/* What emptying the node of those that may be moved costs; -1 = nobody is there to be moved, or too
 * many. */
static int64_t node_cost(const struct search *search, uint32_t node, uint32_t *count_out)
{
    int64_t cost = 0;

    *count_out = 0;
    for (const struct grant_part *part = site_of(search)->nodes[node].parts; part;
         part = part->next) {
        const struct job *job = movable(search, part);

        if (!job)
            continue;
        cost += cost_of(search->grid, job);
        ++*count_out;
    }
    return *count_out && search->plan.count + *count_out <= DEFRAG_MOVES ? cost : -1;
}

static void empty_node(struct search *search, uint32_t node)
{
    struct plan *plan = &search->plan;

    for (const struct grant_part *part = site_of(search)->nodes[node].parts; part;
         part = part->next) {
        struct job *job = movable(search, part);

        if (!job)
            continue;
        plan->list[plan->count] = (struct moved){ job, cost_of(search->grid, job) };
        plan->cost += plan->list[plan->count++].cost;
        take(search, job->grant, true);
    }
}

/* Put back those from `from` on; what they held is as it was. */
static void put_back(struct search *search, uint32_t from)
{
    while (search->plan.count > from) {
        struct moved *moved = &search->plan.list[--search->plan.count];

        take(search, moved->job->grant, false);
        search->plan.cost -= moved->cost;
    }
}

/* The node of the group whose emptying costs least for each task that finds room there then;
 * UINT32_MAX: none does. */
static uint32_t choose_node(struct search *search, const struct group *group)
{
    uint32_t best = UINT32_MAX, count;
    int64_t best_cost = 0, best_gain = 1;

    for (uint32_t i = 0; i < group->count; i++) {
        uint32_t node = node_at(group, i), from = search->plan.count;
        int64_t cost = node_cost(search, node, &count), gain = -(int64_t)tasks_on(search, node);

        if (cost < 0 || search->plan.cost + cost > search->cost_most)
            continue;
        empty_node(search, node);
        gain += tasks_on(search, node);
        put_back(search, from);
        if (gain > 0 &&
            (best == UINT32_MAX || (__int128)cost * best_gain < (__int128)best_cost * gain)) {
            best = node;
            best_cost = cost;
            best_gain = gain;
        }
    }
    return best;
}

/* Those that the group does without, dearest first, stay after all. */
static void spare(struct search *search, const struct group *group)
{
    struct plan *plan = &search->plan;

    for (uint32_t tries = plan->count; tries > 0; tries--) {
        uint32_t dearest = 0;

        for (uint32_t i = 1; i < tries; i++)
            if (plan->list[i].cost > plan->list[dearest].cost)
                dearest = i;
        take(search, plan->list[dearest].job->grant, false);
        if (tasks_in(search, group) >= search->shape->tasks) {
            plan->cost -= plan->list[dearest].cost;
            plan->list[dearest] = plan->list[tries - 1];
            plan->list[tries - 1] = plan->list[--plan->count];
        } else {
            struct moved kept = plan->list[dearest];

            take(search, kept.job->grant, true);
            plan->list[dearest] = plan->list[tries - 1];
            plan->list[tries - 1] = kept;
        }
    }
}

/* A place for it at the site as it is being tried out; NULL = none. */
static struct grant *place(struct search *search, struct shape *shape, const struct job *job)
{
    struct grid *grid = search->grid;
    const struct candidate *candidates;
    uint32_t count;

    candidates = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    for (uint32_t i = 0; i < count; i++)
        if (candidates[i].site == search->site &&
            (job != search->job || candidates[i].chip == search->chip) &&
            fit_candidate_plainly(shape, &grid->fleet, search->site, candidates[i].chip, FIT_NOW,
                                  &grid->fit))
            return fit_grant(shape, &grid->fleet, &grid->fit, FIT_NOW);
    return NULL;
}

static int compare_wider(const void *a, const void *b)
{
    const struct moved *x = a, *y = b;
    int64_t wide_x = width_of(x->job->grant), wide_y = width_of(y->job->grant);

    if (wide_x != wide_y)
        return wide_x > wide_y ? -1 : 1;
    return x->job->item.id < y->job->item.id ? -1 : 1;
}

/* With all that are moved given back: does the gang find its place, and then each of them one, the
 * wider first? All is as before afterwards. */
static bool all_find_room(struct search *search)
{
    struct grant *grants[DEFRAG_MOVES + 1];
    uint32_t count = 0;
    bool fits;

    qsort(search->plan.list, search->plan.count, sizeof(search->plan.list[0]), compare_wider);
    grants[0] = place(search, search->shape, search->job);
    fits = grants[0] != NULL;
    while (fits) {
        struct job *job;

        take(search, grants[count++], false);
        if (count > search->plan.count)
            break;
        job = search->plan.list[count - 1].job;
        grants[count] = place(search, job_shape(search->grid, job), job);
        fits = grants[count] != NULL;
    }
    while (count > 0) {
        take(search, grants[--count], true);
        grant_destroy(grants[count]);
    }
    return fits;
}

static bool try_group(struct search *search, const struct group *group)
{
    bool fits;
    uint32_t node;

    while (tasks_in(search, group) < search->shape->tasks) {
        node = choose_node(search, group);
        if (node == UINT32_MAX)
            break;
        empty_node(search, node);
    }
    fits = tasks_in(search, group) >= search->shape->tasks && search->plan.count;
    if (fits)
        spare(search, group);
    fits = fits && search->plan.count && all_find_room(search);
    for (uint32_t i = 0; i < search->plan.count; i++)
        take(search, search->plan.list[i].job->grant, false);
    return fits;
}

/* --- where ------------------------------------------------------------------------------------ */

static uint32_t groups_count(const struct search *search)
{
    const struct fleet_site *site = site_of(search);
    uint32_t level = search->shape->within_hard ? search->shape->within : TOPOLOGY_ANY;

    switch (level) {
    case TOPOLOGY_NODE:
        return site->info.nodes_count;
    case TOPOLOGY_RACK:
    case TOPOLOGY_SUPERNODE:
        return site->domains.any ? site->domains.levels[level - TOPOLOGY_RACK].count : 0;
    case TOPOLOGY_POOL:
        return site->room.pools_count;
    }
    return 1;
}

static struct group group_at(const struct search *search, uint32_t index)
{
    const struct fleet_site *site = site_of(search);
    uint32_t level = search->shape->within_hard ? search->shape->within : TOPOLOGY_ANY;
    const struct domain_level *domains;

    switch (level) {
    case TOPOLOGY_NODE:
        return (struct group){ .count = 1, .first = index };
    case TOPOLOGY_RACK:
    case TOPOLOGY_SUPERNODE:
        domains = &site->domains.levels[level - TOPOLOGY_RACK];
        return (struct group){ domains->nodes + domains->first[index],
                               domains->first[index + 1] - domains->first[index], 0, 0 };
    case TOPOLOGY_POOL:
        return (struct group){ site->room.pools[index].nodes, site->room.pools[index].nodes_count,
                               0, 0 };
    }
    return (struct group){ .count = site->info.nodes_count };
}

/* Those that lack least, of equal ones the first. */
static uint32_t list_groups(const struct search *search, struct group *list)
{
    uint32_t all = groups_count(search), count = 0;

    for (uint32_t i = 0; i < all; i++) {
        struct group group = group_at(search, i);
        uint32_t at;

        group.tasks = tasks_in(search, &group);
        for (at = count; at > 0 && list[at - 1].tasks < group.tasks; at--)
            if (at < DEFRAG_GROUPS)
                list[at] = list[at - 1];
        if (at < DEFRAG_GROUPS)
            list[at] = group;
        count = MIN(count + 1, DEFRAG_GROUPS);
    }
    return count;
}

/* Are devices enough free there, only not together? Where the site has a queue of its own, who is
 * stopped would stand at the end of that. */
static bool is_scattered(const struct search *search)
{
    const struct fleet_site *site = site_of(search);
    uint64_t wanted = (uint64_t)search->shape->tasks * (search->shape->devices_milli / 1000);

    return site->reachable && !site->power.is_capped && !site->freight.waits_count &&
           site->devices_whole >= wanted &&
           owner_is_open(&search->grid->fleet, search->shape, search->site);
}

/* Is there a place where it might be worth a look? */
static bool might_help(struct grid *grid, struct job *job)
{
    struct search search = { .grid = grid, .job = job, .shape = job_shape(grid, job) };
    const struct candidate *candidates;
    uint32_t count;

    if (!grid->fleet.grants_count)
        return false;
    candidates =
        shape_candidates(search.shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    for (uint32_t i = 0; i < count && i < DEFRAG_CANDIDATES; i++) {
        search.site = candidates[i].site;
        if (is_scattered(&search))
            return true;
    }
    return false;
}

/* The cheapest plan of all that are found. */
static bool find_plan(struct search *search, struct plan *best)
{
    struct grid *grid = search->grid;
    struct group groups[DEFRAG_GROUPS];
    const struct candidate *candidates;
    uint32_t count;

    candidates = shape_candidates(search->shape, &grid->fleet,
                                  &job_terms(grid, search->job)->objective, &count);
    for (uint32_t i = 0; i < count && i < DEFRAG_CANDIDATES; i++) {
        uint32_t groups_listed;

        search->site = candidates[i].site;
        search->chip = candidates[i].chip;
        if (search->chip == FLEET_MIXED || !is_scattered(search))
            continue;
        groups_listed = list_groups(search, groups);
        for (uint32_t k = 0; k < groups_listed; k++) {
            search->plan = (struct plan){ 0 };
            if (try_group(search, &groups[k]) && (!best->count || search->plan.cost < best->cost))
                *best = search->plan;
        }
    }
    return best->count > 0;
}

/* --- doing it --------------------------------------------------------------------------------- */

/* What it would be spared, by what is known; 0: it is not worth a look. */
static int64_t spared_ms(const struct grid *grid, const struct job *job,
                         const struct promise *promise)
{
    int64_t waited_ms = grid->now_ms - job->item.eligible_ms;

    if (waited_ms < DEFRAG_WAIT_MS || yield_pending(grid, YIELD_DEFRAG, job->item.id))
        return 0;
    if (!promise->plan)
        return MAX(waited_ms, DEFRAG_SPARED_MS);
    return promise->start_ms - grid->now_ms - 2 * END_SLACK_MS >= DEFRAG_SPARED_MS
               ? promise->start_ms - grid->now_ms - 2 * END_SLACK_MS
               : 0;
}

/* The moved will soon be gone: is the gang promised a sooner start for that? Once it is, they go:
 * a promise that counts on it is not taken back. */
static bool is_promised_then(struct grid *grid, struct job *job, const struct plan *plan)
{
    const struct promise *promise = promise_of(grid, job);
    int64_t before_ms = promise->plan ? promise->start_ms : INT64_MAX;
    int64_t ends_ms[DEFRAG_MOVES];
    bool is_sooner;

    for (uint32_t i = 0; i < plan->count; i++) {
        ends_ms[i] = plan->list[i].job->grant->end_ms;
        fleet_set_end(&grid->fleet, plan->list[i].job->grant, grid->now_ms + END_SLACK_MS);
    }
    promises_renew(grid, job);
    promise = promise_of(grid, job);
    is_sooner = promise && promise->plan && promise->start_ms < before_ms;
    for (uint32_t i = 0; !is_sooner && i < plan->count; i++)
        fleet_set_end(&grid->fleet, plan->list[i].job->grant, ends_ms[i]);
    return is_sooner;
}

static bool try_for(struct grid *grid, struct job *job, int64_t spared)
{
    struct search search = { .grid = grid, .job = job, .shape = job_shape(grid, job) };
    struct plan plan = { 0 };
    int64_t devices = (int64_t)search.shape->tasks * (search.shape->devices_milli / 1000);

    search.cost_most = (int64_t)MIN((__int128)devices * spared * 1000 / DEFRAG_GAIN_MILLI,
                                    (__int128)INT64_MAX / 4);
    if (!find_plan(&search, &plan) || !is_promised_then(grid, job, &plan))
        return false;
    for (uint32_t i = 0; i < plan.count; i++)
        yield_ask(grid, plan.list[i].job, YIELD_DEFRAG, job->item.id,
                  "moves within its site, so that job %" PRIu64
                  " finds room that is together: it goes on from its checkpoint",
                  job->item.id);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
    return true;
}

void defrag_run(struct grid *grid)
{
    uint64_t ids[DEFRAG_JOBS];
    uint32_t count = 0;

    if (!grid->defrags || grid->now_ms < grid->defrag_next_ms)
        return;
    grid->defrag_next_ms = 0;
    for (uint32_t i = 0; i < grid->promises_count; i++) {
        struct job *job = grid_job(grid, grid->promises[i]->job_id);
        const struct shape *shape = job_shape(grid, job);

        if (shape->devices_milli < 1000 || shape->sites_max > 1 || !might_help(grid, job))
            continue;
        grid->defrag_next_ms = grid->now_ms + DEFRAG_EVERY_MS; /* while there is one, a look */
        if (count < DEFRAG_JOBS && spared_ms(grid, job, grid->promises[i]) &&
            pass_hold(grid, job) == HOLD_NONE)
            ids[count++] = job->item.id;
    }
    for (uint32_t i = 0; i < count; i++) { /* one that is tried may lose its promise */
        struct job *job = grid_job(grid, ids[i]);
        const struct promise *promise = promise_of(grid, job);

        if (promise && try_for(grid, job, spared_ms(grid, job, promise)))
            return;
    }
}

void defrag_tick(struct grid *grid)
{
    if (grid->defrag_next_ms && grid->now_ms >= grid->defrag_next_ms) {
        grid->defrag_next_ms = 0;
        grid->wants_pass = true;
    }
}
