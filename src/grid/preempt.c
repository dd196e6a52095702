/* Who makes way: a job that is blocked may have the room of others stopped for it, when that lets
 * all of its gang start.
 *
 * It may, of the jobs that run,
 *   - those of a lower class, if they are of class low or save checkpoints, and their tenant holds
 *     more than what is its own (share_owes): so that a guarantee stands above classes;
 *   - when it is within its tenant's guarantee (share_is_within), those of any other tenant that
 *     borrows, whatever their class;
 *   - while work is ordered by what it needs (ranks.h), those of the same class and tenant that
 *     save checkpoints and that it stands clearly before (order_may_displace);
 *   - at a site whose owner's own it is, within the share that the owner keeps for that, those of
 *     anybody else, at once: what is lent is taken back without a wait.
 * Jobs with requeue_on_loss false are never stopped. Lower classes first, then those that save
 * checkpoints, then who loses least work: device-ms since the newest checkpoint, or since the
 * start, and a restart (sched/order.h). order_pick_victims knows devices of nodes; here CPUs,
 * memory, disk, shares of devices and gangs over nodes decide as well, so the same rule is applied
 * over the fit itself: victims are given back in that order until the gang fits, and those that it
 * does not need, dearest first, are kept after all.
 *
 * What is freed is kept for whom it was freed: until all of it is, that job is the head of the
 * line, whatever its class, and then it starts.
 *
 * No ping-pong. Who was stopped for a class is of a lower one and cannot stop in return; who was
 * stopped for a guarantee was borrowing, and what took its room is within a guarantee and owes
 * nothing. A job holds its room for PREEMPT_RUN_MS_MIN before it is stopped at all, twice as long
 * before each further time, up to PREEMPT_RUN_DOUBLINGS. So a job that has run for T in all has
 * been stopped at most log2(T / a minute) + 1 times, and once for each further 64 minutes.
 *
 * No starvation. A job within its tenant's guarantee that is first among those in line, and for
 * which enough others borrow, starts at the latest PREEMPT_WAIT_MS + 64 minutes (the longest that
 * a victim may have to run first) + PREEMPT_EVERY_MS + a grace and a report later. */
#include "grid/state.h"

#include "base/cleanup.h"
#include "grid/guards.h"
#include "grid/owners.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "sched/mem.h"
#include "sched/order.h"
#include "sched/owner.h"

#include <inttypes.h>
#include <stdlib.h>

#define PREEMPT_WAIT_MS 30000  /* blocked so long: often something ends by itself */
#define PREEMPT_EVERY_MS 30000 /* the search goes over what runs: not with each pass */
#define PREEMPT_RUN_MS_MIN 60000
#define PREEMPT_RUN_DOUBLINGS 6u
#define PREEMPT_RESTART_MS 60000 /* what starting again costs, besides what was lost */
#define PREEMPT_CANDIDATES 4u    /* places that are tried */

struct search {
    struct grid *grid;
    struct job *head;
    struct shape *shape;
    struct shape firm; /* where it would stay: nobody is stopped for what would be lent room */
    bool is_own;       /* within its tenant's guarantee */
    bool is_turn;      /* only its like may be stopped for it */
    struct order_rank rank;
    bool owner_only; /* only where it is the owner's own */
    bool is_owners;  /* at the place that is tried, it is */
    uint32_t site;   /* which that is */
    struct victim *victims;
    uint32_t count, cap;
};
struct choice {
    uint64_t *ids;
    uint32_t count;
    uint32_t job_class; /* of the highest stopped */
    int64_t lost;
    bool is_owners; /* where the head is the owner's own */
};

/* --- who may be stopped ----------------------------------------------------------------------- */

static int64_t run_ms_least(const struct job *job)
{
    return (int64_t)PREEMPT_RUN_MS_MIN << MIN(job->yields_count, PREEMPT_RUN_DOUBLINGS);
}

static bool saves(const struct grid *grid, const struct job *job)
{
    return job_terms(grid, job)->checkpoint != CHECKPOINT_NONE;
}

static int64_t cost_ms(const struct grid *grid, const struct job *job)
{
    int64_t saved_ms = job->started_ms ? job->started_ms : grid->now_ms;

    if (saves(grid, job) && job->past)
        saved_ms = MAX(saved_ms, MIN(job->past->checkpoint_ms, grid->now_ms));
    return order_stop_cost_ms(grid->now_ms, saved_ms,
                              job_terms(grid, job)->checkpoint == CHECKPOINT_ASKED,
                              PREEMPT_RESTART_MS);
}

/* Now, with what of its tenant has been given back already. */
static bool may_stop(const struct search *search, const struct job *job)
{
    const struct grid *grid = search->grid;
    uint32_t theirs = job_terms(grid, job)->job_class;
    uint32_t ours = job_terms(grid, search->head)->job_class;
    uint32_t account = job_tenant(grid, job)->account;
    uint32_t to = job_tenant(grid, search->head)->account;

    if (search->is_owners)
        return !owners_is_own(grid, job->tenant, search->site);
    if (search->is_turn)
        return job->tenant == search->head->tenant && theirs == ours && saves(grid, job) &&
               ranks_may_displace(grid, &search->rank, job, cost_ms(grid, job));
    if (owners_protects(grid, job, search->site) || !share_owes(grid->share, account, to))
        return false;
    if (search->is_own && job->tenant != search->head->tenant)
        return true;
    return theirs < ours && (theirs == CLASS_LOW || saves(grid, job));
}

int64_t preempt_loss(const struct grid *grid, const struct job *job)
{
    int64_t width = (int64_t)(job->grant->devices_milli + job->grant->cpus), sum;

    return __builtin_mul_overflow(cost_ms(grid, job), width, &sum) ? INT64_MAX / 2
                                                                   : MIN(sum, INT64_MAX / 2);
}

static void list_victims(struct search *search, uint32_t site)
{
    struct grid *grid = search->grid;
    const struct ends *ends = &grid->fleet.sites[site].ends;

    search->count = 0;
    for (uint32_t i = 0; i < ends->count; i++) {
        const struct grant *grant = ends->heap[i];
        struct job *job = grid_job(grid, grant->job_id);

        if (!yield_is_possible(grid, job) || !may_stop(search, job) ||
            guards_keeps(grid, job, search->head) ||
            (!search->is_turn && !search->is_owners &&
             grid->now_ms - grant->granted_ms < run_ms_least(job)))
            continue;
        MEM_GROW(search->victims, search->cap, search->count + 1);
        search->victims[search->count++] =
            (struct victim){ .job = job, .lost = preempt_loss(grid, job) };
    }
}

int victims_compare(const void *a, const void *b, void *context)
{
    const struct grid *grid = context;
    const struct victim *x = a, *y = b;
    uint32_t class_x = job_terms(grid, x->job)->job_class;
    uint32_t class_y = job_terms(grid, y->job)->job_class;
    bool saves_x = saves(grid, x->job), saves_y = saves(grid, y->job);

    if (class_x != class_y)
        return class_x < class_y ? -1 : 1;
    if (saves_x != saves_y)
        return saves_x ? -1 : 1;
    if (x->lost != y->lost)
        return x->lost < y->lost ? -1 : 1;
    return x->job->item.id > y->job->item.id ? -1 : 1; /* the newer one first */
}

/* --- trying it out ---------------------------------------------------------------------------- */

/* Give back what it holds, or take it again; gives the tasks that fit more, or less. */
static uint64_t move(struct search *search, const struct candidate *at, struct victim *victim,
                     bool give_back)
{
    struct grid *grid = search->grid;
    struct fleet_site *site = &grid->fleet.sites[at->site];
    const struct grant *grant = job_grant_at(victim->job, at->site);
    struct share_amount amount = shares_of_grant(job_shape(grid, victim->job), grant);
    uint32_t account = job_tenant(grid, victim->job)->account;
    bool is_near = search->shape->apart && grant->apart; /* it matters to nodes around it, too */
    uint64_t tasks = is_near ? 0 - fit_count(search->shape, &grid->fleet, at->site, at->chip) : 0;

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        const struct fleet_node *node = &site->nodes[part->node];
        uint32_t pool = site->room.spots[part->node].pool;
        bool matters = !is_near && pool != ROOM_NONE &&
                       !fit_never_in_pool(search->shape, &site->room.pools[pool], at->chip);

        tasks -= matters ? fit_tasks(search->shape, site, node, at->chip, FIT_NOW) : 0;
        fleet_take_part(site, part, give_back);
        tasks += matters ? fit_tasks(search->shape, site, node, at->chip, FIT_NOW) : 0;
    }
    if (is_near)
        tasks += fit_count(search->shape, &grid->fleet, at->site, at->chip);
    if (give_back)
        share_release(grid->share, account, &amount, 0, 0, grid->now_ms);
    else
        share_hold(grid->share, account, &amount, 0, grid->now_ms, NULL);
    victim->is_given_back = give_back;
    return tasks;
}

static bool is_better(const struct choice *a, const struct choice *b)
{
    if (a->job_class != b->job_class)
        return a->job_class < b->job_class;
    return a->lost < b->lost;
}

/* Whom it takes there; false: it cannot be made to fit. All is as before afterwards. */
static bool try_candidate(struct search *search, const struct candidate *at, struct choice *out)
{
    struct grid *grid = search->grid;
    uint64_t sum = fit_count(search->shape, &grid->fleet, at->site, at->chip);
    bool fits;

    search->site = at->site;
    search->is_owners = !search->is_turn && owners_claims(grid, search->head, at->site);
    if (search->owner_only && !search->is_owners)
        return false;
    out->is_owners = search->is_owners;
    list_victims(search, at->site);
    if (search->count) /* else there may be no list */
        qsort_r(search->victims, search->count, sizeof(*search->victims), victims_compare, grid);
    for (uint32_t i = 0; i < search->count && sum < search->shape->tasks; i++)
        if (may_stop(search, search->victims[i].job))
            sum += move(search, at, &search->victims[i], true);
    fits = sum >= search->shape->tasks;
    for (uint32_t i = search->count; fits && i-- > 0;) { /* not needed after all? */
        struct victim *victim = &search->victims[i];
        uint64_t less;

        if (!victim->is_given_back)
            continue;
        less = -move(search, at, victim, false);
        if (sum - less >= search->shape->tasks)
            sum -= less;
        else
            move(search, at, victim, true);
    }
    fits = fits && (search->shape->tasks <= GRANT_PARTS_MAX ||
                    fit_candidate_plainly(search->shape, &grid->fleet, at->site, at->chip, FIT_NOW,
                                          &grid->fit));
    out->ids = mem_alloc(search->count + 1, sizeof(*out->ids));
    for (uint32_t i = 0; i < search->count; i++) {
        struct victim *victim = &search->victims[i];

        if (!victim->is_given_back)
            continue;
        move(search, at, victim, false);
        out->ids[out->count++] = victim->job->item.id;
        out->job_class = MAX(out->job_class, job_terms(grid, victim->job)->job_class);
        out->lost = MIN(out->lost + victim->lost, INT64_MAX / 2);
    }
    return fits && out->count;
}

/* Told without a look at what runs. */
static bool has_victims(const struct search *search)
{
    uint32_t job_class = job_terms(search->grid, search->head)->job_class, count = 0;

    for (uint32_t i = 0; i < job_class; i++)
        count += search->grid->class_yields[i];
    return count || search->is_own || search->is_turn || search->owner_only;
}

static bool choose(struct search *search, struct choice *best)
{
    struct grid *grid = search->grid;
    const struct candidate *candidates;
    uint32_t count;
    bool found = false;

    if (!has_victims(search))
        return false;
    candidates = shape_candidates(search->shape, &grid->fleet,
                                  &job_terms(grid, search->head)->objective, &count);
    search->firm = *search->shape;
    search->firm.lends = false;
    search->shape = &search->firm;
    for (uint32_t i = 0; i < count && i < PREEMPT_CANDIDATES; i++) {
        const struct fleet_site *site = &grid->fleet.sites[candidates[i].site];
        struct choice choice = { 0 };

        if (!site->reachable || site->power.is_capped ||
            !owner_is_open(&grid->fleet, search->shape, candidates[i].site))
            continue; /* who would stop them; and it may be power that is short there */
        if (try_candidate(search, &candidates[i], &choice) &&
            (!found || is_better(&choice, best))) {
            uint64_t *ids = best->ids;

            *best = choice;
            choice.ids = ids;
            found = true;
        }
        free(choice.ids);
    }
    return found;
}

/* --- for whom --------------------------------------------------------------------------------- */

static bool is_own(const struct grid *grid, const struct job *job)
{
    struct share_amount amount = shares_of_shape(grid, job_shape(grid, job));

    return share_is_within(grid->share, job_tenant(grid, job)->account, &amount);
}

static bool has_claim(const struct grid *grid, const struct job *job)
{
    uint32_t job_class = job_terms(grid, job)->job_class, lower = 0;

    for (uint32_t i = 0; i < job_class; i++)
        lower += grid->class_grants[i];
    return lower || (grid->guarantees_count && is_own(grid, job));
}

static bool try_for(struct grid *grid, struct job *head, bool owner_only)
{
    const char *tenant = intern_data(&grid->tenant_names, head->tenant);
    struct search search = { .grid = grid, .head = head, .shape = job_shape(grid, head) };
    struct choice choice = { 0 };
    bool found;

    if (yield_pending(grid, YIELD_PREEMPT, head->item.id))
        return true;
    search.owner_only = owner_only;
    search.is_own = grid->guarantees_count && is_own(grid, head);
    found = choose(&search, &choice);
    for (uint32_t i = 0; found && i < choice.count; i++) {
        struct job *job = grid_job(grid, choice.ids[i]);

        if (choice.is_owners)
            yield_ask(grid, job, YIELD_PREEMPT, head->item.id,
                      "makes way for job %" PRIu64
                      ": the owner of its site takes back what is lent",
                      head->item.id);
        else if (job_terms(grid, job)->job_class < job_terms(grid, head)->job_class)
            yield_ask(grid, job, YIELD_PREEMPT, head->item.id,
                      "makes way for job %" PRIu64 ", which is of a higher class", head->item.id);
        else
            yield_ask(grid, job, YIELD_PREEMPT, head->item.id,
                      "makes way for job %" PRIu64 ": tenant %s takes back what is its own",
                      head->item.id, tenant);
    }
    if (found)
        grid->preempt_for = head->item.id;
    free(choice.ids);
    free(search.victims);
    return found;
}

bool preempt_for_turn(struct grid *grid, struct job *head)
{
    struct search search = { .grid = grid,
                             .head = head,
                             .shape = job_shape(grid, head),
                             .is_turn = true,
                             .rank = ranks_rank(grid, head) };
    struct choice choice = { 0 };
    bool found = choose(&search, &choice);

    for (uint32_t i = 0; found && i < choice.count; i++)
        yield_ask(grid, grid_job(grid, choice.ids[i]), YIELD_TURN, head->item.id,
                  "makes way for job %" PRIu64 ", which %s: it goes on from its checkpoint",
                  head->item.id,
                  head->rank->is_aged ? "has waited too long" : "has had and is to need less");
    free(choice.ids);
    free(search.victims);
    return found;
}

/* The first in order that is blocked and within its tenant's guarantee, but for `but`. */
static struct job *first_own(struct grid *grid, const struct job *but)
{
    const struct queue_bucket *best = NULL;

    for (uint32_t i = 0; i < grid->queue.used_count; i++) {
        const struct queue_bucket *bucket = &grid->queue.buckets[grid->queue.used[i].number];
        struct job *job = (struct job *)bucket->first;

        if (job == but ||
            !fit_is_nowhere(&grid->shapes.list[bucket->key.shape], &grid->fleet, &grid->fit) ||
            !grid->shapes.list[bucket->key.shape].candidates_count || !is_own(grid, job) ||
            grid->now_ms - job->item.eligible_ms < PREEMPT_WAIT_MS ||
            pass_hold(grid, job) != HOLD_NONE || power_holds(grid, job))
            continue;
        if (!best || queue_bucket_is_before(&grid->queue, bucket, best))
            best = bucket;
    }
    return best ? (struct job *)best->first : NULL;
}

static bool is_somewheres_own(const struct grid *grid, const struct job *job)
{
    for (uint32_t i = 0; i < grid->fleet.sites_count; i++)
        if (grid->fleet.sites[i].policy && owners_is_own(grid, job->tenant, i))
            return true;
    return false;
}

/* The first in order that has no room and whose owner has lent some. */
static struct job *first_owners(struct grid *grid)
{
    const struct queue_bucket *best = NULL;

    for (uint32_t i = 0; i < grid->queue.used_count; i++) {
        const struct queue_bucket *bucket = &grid->queue.buckets[grid->queue.used[i].number];
        struct shape *shape = &grid->shapes.list[bucket->key.shape];
        struct job *job = (struct job *)bucket->first;

        if (is_somewheres_own(grid, job) && fit_is_nowhere(shape, &grid->fleet, &grid->fit) &&
            shape->candidates_count && pass_hold(grid, job) == HOLD_NONE &&
            !power_holds(grid, job) &&
            (!best || queue_bucket_is_before(&grid->queue, bucket, best)))
            best = bucket;
    }
    return best ? (struct job *)best->first : NULL;
}

struct job *preempt_first(struct grid *grid)
{
    struct job *job = grid->preempt_for ? grid_job(grid, grid->preempt_for) : NULL;
    struct shape *shape;

    if (job && job->state == JOB_QUEUED && pass_hold(grid, job) == HOLD_NONE) {
        shape = job_shape(grid, job);
        if (fit_find_firm(shape, &grid->fleet, &job_terms(grid, job)->objective, FIT_NOW,
                          &grid->fit)) {
            struct grant *grant = fit_grant(shape, &grid->fleet, &grid->fit, FIT_NOW);

            if (job_terms(grid, job)->spares) /* those come beside all promises */
                grant->spares_wanted = standby_wanted(grid, job, grant);
            grant->choice.how = CHOICE_STOPPED;
            attempt_start(grid, job, &grant, 1);
        } else if (yield_pending(grid, YIELD_PREEMPT, grid->preempt_for))
            return job;
    }
    grid->preempt_for = 0; /* it runs, or what was freed is not enough any more */
    return NULL;
}

void preempt_run(struct grid *grid, struct job *head)
{
    struct job *own;

    if (grid->owners_lend && head && !grid->preempt_for) {
        own = first_owners(grid);
        if (own && try_for(grid, own, true))
            return;
    }
    if (grid->preempts_not || !head || (!grid->guarantees_count && !has_claim(grid, head))) {
        grid->preempt_next_ms = 0;
        return;
    }
    if (grid->now_ms < grid->preempt_next_ms)
        return;
    grid->preempt_next_ms = grid->now_ms + PREEMPT_EVERY_MS;
    if (grid->now_ms - head->item.eligible_ms >= PREEMPT_WAIT_MS && has_claim(grid, head) &&
        try_for(grid, head, false))
        return;
    own = grid->guarantees_count ? first_own(grid, head) : NULL;
    if (own)
        try_for(grid, own, false);
}

void preempt_tick(struct grid *grid)
{
    if (grid->preempt_next_ms && grid->now_ms >= grid->preempt_next_ms) {
        grid->preempt_next_ms = 0;
        grid->wants_pass = true;
    }
}
