/* A round: who runs, who waits, on which kind of chip all of them gain most, and who is stopped for
 * that. See assigns.h.
 *
 * Who waits for what: the classes go before all else. Where work is ordered by fair share or age
 * and all that waits is one tenant's, the rounds also decide which of it runs, by what it has had
 * and how long it has been there (assign_weight); its own running jobs of that class and below make
 * way for it. In any other case nobody is stopped to wait, and of those that wait as many are
 * looked at, in order, as there is room for. */
#include "grid/assigns.h"
#include "grid/owners.h"
#include "grid/power.h"
#include "sched/mem.h"
#include "sched/order.h"

#include <math.h>
#include <stdlib.h>

#define RUN_MS_MIN 60000
#define RUN_DOUBLINGS 3u
#define RESTART_MS 60000
#define SOON_MS 180000
#define LEFT_MS_MIN (10 * 60 * 1000LL) /* believed of who has only started */
#define STAY 1.05                      /* being elsewhere must be worth that much more */
#define CLASS_TIMES 64.0
#define WEIGHT_ONE 1024.0           /* weights are whole numbers: alike on every machine */
#define KEPT_WEIGHT 4398046511104.0 /* 2^42: of who is not stopped to wait */
#define TRIES 12u
#define OF_A_BUCKET 64u
#define WORK_MAX 200000000ull /* of a search for what gains, in rough operations */

struct kind {
    uint32_t site;
    uint16_t chip;
    uint64_t devices; /* free, and held by who may be moved */
    uint64_t free;
};
struct item {
    struct job *job;
    uint32_t gang;
    uint32_t held, to; /* kinds; ASSIGN_NONE */
    uint32_t rank;     /* of who waits, in the queue */
    bool is_kept;      /* it is not stopped to wait */
    bool has_failed;   /* no place was found where it was to be */
    struct grant *tried;
};
struct round {
    struct grid *grid;
    const struct job *head;
    struct kind kinds[ASSIGN_KINDS_MAX];
    uint32_t kinds_count;
    struct item *items; /* those that run first */
    uint32_t count, running, choices;
    double *weights;      /* count x kinds_count */
    uint32_t free_tenant; /* whose work may be stopped for its own; 0 = nobody's */
};

/* --- who takes part --------------------------------------------------------------------------- */

static uint32_t find_kind(const struct round *round, uint32_t site, uint16_t chip)
{
    for (uint32_t k = 0; k < round->kinds_count; k++)
        if (round->kinds[k].site == site && round->kinds[k].chip == chip)
            return k;
    return ASSIGN_NONE;
}

static uint32_t add_kind(struct round *round, uint32_t site, uint16_t chip)
{
    uint32_t found = find_kind(round, site, chip);

    if (found != ASSIGN_NONE || round->kinds_count == ASSIGN_KINDS_MAX)
        return found;
    round->kinds[round->kinds_count] = (struct kind){ .site = site, .chip = chip };
    return round->kinds_count++;
}

/* The kinds that it may use are listed from here on; how many there are. */
static uint32_t list_kinds(struct round *round, const struct job *job)
{
    uint32_t count, usable = 0;
    const struct candidate *list = assigns_kinds(round->grid, job, &count);

    for (uint32_t i = 0; i < count; i++)
        usable += assigns_may_use(round->grid, job_asked(round->grid, job), &list[i]) &&
                  add_kind(round, list[i].site, list[i].chip) != ASSIGN_NONE;
    return usable;
}

static uint32_t gang_of(const struct grid *grid, const struct job *job)
{
    const struct shape *shape = job_asked(grid, job);

    return shape->tasks * (shape->devices_milli / 1000);
}

static void add_item(struct round *round, struct job *job, uint32_t held, uint32_t rank)
{
    uint32_t usable = list_kinds(round, job);

    round->choices += usable > 1;
    if (!usable && held == ASSIGN_NONE)
        return;
    round->items[round->count++] = (struct item){
        .job = job, .gang = gang_of(round->grid, job), .held = held, .to = held, .rank = rank
    };
}

/* Were it to cost as much as it may once more, its tenant could still pay. */
static bool is_affordable(struct grid *grid, const struct job *job)
{
    int64_t price = budget_exists(grid, job->tenant) ? budget_price(grid, job) : 0;

    return price >= 0 && price <= budget_left(grid, job->tenant);
}

static bool may_stop(struct grid *grid, const struct job *job)
{
    const struct terms *terms = job_terms(grid, job);
    const struct fleet_site *site = &grid->fleet.sites[job->grant->site];
    int64_t least_ms = (int64_t)RUN_MS_MIN << MIN(job->yields_count, RUN_DOUBLINGS);

    return job->state == JOB_RUNNING && job->started_ms && !job->across && !job->bound_site &&
           !suspend_holds(job) && terms->checkpoint != CHECKPOINT_NONE &&
           yield_is_possible(grid, job) && grid->now_ms - job->grant->granted_ms >= least_ms &&
           site->reachable && !site->power.is_capped && !site->freight.waits_count &&
           assigns_is_asked(grid, job) && !owners_protects(grid, job, job->grant->site) &&
           is_affordable(grid, job);
}

static void add_running(struct round *round)
{
    struct grid *grid = round->grid;
    uint32_t count = grid->fleet.grants_count, from = 0;
    uint64_t *ids = mem_alloc(count + 1, sizeof(*ids));

    for (uint32_t i = 0; i < count; i++)
        ids[i] = grid->fleet.grants[i]->job_id;
    ids_sort(ids, count);
    while (from < count && ids[from] < grid->assigns->cursor)
        from++;
    grid->assigns->cursor = 0; /* all of them, unless there are more */
    for (uint32_t i = 0; i < count; i++) {
        struct job *job = grid_job(grid, ids[(from + i) % count]);
        uint32_t held;

        if (round->count == ASSIGNS_JOBS - ASSIGNS_WAITING) {
            grid->assigns->cursor = ids[(from + i) % count];
            break;
        }
        if (!may_stop(grid, job))
            continue;
        held = add_kind(round, job->grant->site, fleet_grant_chip(&grid->fleet, job->grant));
        if (held != ASSIGN_NONE &&
            assigns_share(grid, job, round->kinds[held].site, round->kinds[held].chip) > 0)
            add_item(round, job, held, 0);
    }
    round->running = round->count;
    free(ids);
}

static bool may_wait_for(struct grid *grid, const struct job *job)
{
    const struct promise *promise = promise_of(grid, job);

    return !job->bound_site && !(promise && promise->plan) && assigns_is_asked(grid, job) &&
           pass_hold(grid, job) == HOLD_NONE && !power_holds(grid, job);
}

static void add_bucket(struct round *round, const struct queue_head *head)
{
    const struct queue_item *item = round->grid->queue.buckets[head->number].first;

    for (uint32_t i = 0; item && i < OF_A_BUCKET; i++, item = item->next) {
        struct job *job = (struct job *)item;

        if (round->count - round->running == ASSIGNS_WAITING)
            return;
        if (!may_wait_for(round->grid, job))
            continue;
        add_item(round, job, ASSIGN_NONE, head->rank);
    }
}

static int compare_waiting(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    struct queue_head left = { .rank = x->rank,
                               .first_ms = x->job->item.order_ms,
                               .first_id = x->job->item.id };
    struct queue_head right = { .rank = y->rank,
                                .first_ms = y->job->item.order_ms,
                                .first_id = y->job->item.id };

    return queue_compare_heads(&left, &right);
}

static void add_waiting(struct round *round)
{
    struct grid *grid = round->grid;
    struct queue_head *heads = mem_alloc(grid->queue.used_count + 1, sizeof(*heads));
    uint32_t count = 0;

    shares_rank(grid);
    for (uint32_t i = 0; i < grid->queue.used_count; i++) {
        const struct queue_use *use = &grid->queue.used[i];
        struct job *first = (struct job *)grid->queue.buckets[use->number].first;

        if (assigns_is_asked(grid, first))
            heads[count++] = queue_head_of(&grid->queue, use);
    }
    qsort(heads, count, sizeof(*heads), queue_compare_heads);
    for (uint32_t i = 0; i < count; i++)
        add_bucket(round, &heads[i]);
    qsort(round->items + round->running, round->count - round->running, sizeof(*round->items),
          compare_waiting);
    free(heads);
}

/* --- what there is, and what it is worth ------------------------------------------------------ */

/* What is free and kept for others. */
static void leave_held(struct round *round, const struct promise *hold)
{
    const struct fleet_site *site;
    uint32_t kind;

    if (!hold->plan || (kind = find_kind(round, hold->plan->site, hold->chip)) == ASSIGN_NONE)
        return;
    site = &round->grid->fleet.sites[hold->plan->site];
    for (uint32_t i = 0; i < hold->plan->parts_count; i++) {
        const struct grant_part *part = &hold->plan->parts[i];

        for (uint32_t d = 0; d < part->devices_count && round->kinds[kind].free; d++)
            round->kinds[kind].free -=
                !site->nodes[part->node].devices[part->devices[d].index].used_milli;
    }
}

static void count_devices(struct round *round)
{
    const struct assigns *assigns = round->grid->assigns;

    for (uint32_t k = 0; k < round->kinds_count; k++) {
        struct kind *kind = &round->kinds[k];
        const struct fleet_site *site = &round->grid->fleet.sites[kind->site];

        for (uint32_t n = 0; n < site->info.nodes_count; n++) {
            const struct fleet_node *node = &site->nodes[n];

            for (uint32_t d = 0; node_is_open(node) && d < node->devices_count; d++)
                kind->free += node->devices[d].chip == kind->chip &&
                              device_is_usable(&node->devices[d]) && !node->devices[d].used_milli;
        }
    }
    leave_held(round, &round->grid->reserve.hold);
    for (uint32_t i = 0; i < assigns->holds_count; i++)
        leave_held(round, &assigns->holds[i]);
    for (uint32_t k = 0; k < round->kinds_count; k++)
        round->kinds[k].devices = round->kinds[k].free;
    for (uint32_t i = 0; i < round->running; i++)
        round->kinds[round->items[i].held].devices += round->items[i].gang;
}

/* May the rounds decide who of those that wait runs? Else only as many of them as there is room
 * for, in order. */
static void choose_freedom(struct round *round)
{
    const struct grid *grid = round->grid;
    uint32_t tenant = round->count > round->running ? round->items[round->running].job->tenant : 0;
    uint64_t left = 0;

    for (uint32_t i = round->running; i < round->count; i++)
        if (round->items[i].job->tenant != tenant)
            tenant = 0;
    if (assigns_chooses(grid))
        round->free_tenant = tenant;
    for (uint32_t i = 0; i < round->running; i++)
        round->items[i].is_kept = round->items[i].job->tenant != round->free_tenant;
    if (round->free_tenant)
        return;
    for (uint32_t k = 0; k < round->kinds_count; k++)
        left += round->kinds[k].free;
    for (uint32_t i = round->running; i < round->count; i++) {
        if (round->items[i].gang > left) {
            round->count = i;
            return;
        }
        left -= round->items[i].gang;
    }
}

/* How much better it must be for it to be stopped: by what it has left over what that costs. */
static double stay_of(struct grid *grid, const struct job *job, int64_t done_ms)
{
    bool is_asked = job_terms(grid, job)->checkpoint == CHECKPOINT_ASKED;
    int64_t saved_ms = job->started_ms, cost_ms;
    double left_ms = (double)MAX(done_ms, LEFT_MS_MIN); /* nobody knows: as long again */

    if (job->past)
        saved_ms = MAX(saved_ms, MIN(job->past->checkpoint_ms, grid->now_ms));
    cost_ms = order_stop_cost_ms(grid->now_ms, saved_ms, is_asked, RESTART_MS);
    return STAY * (left_ms + (double)cost_ms) / left_ms;
}

static void weigh_item(struct round *round, const struct item *item, double *weights)
{
    struct assign_params params = assign_params_default();
    struct grid *grid = round->grid;
    const struct job *job = item->job;
    const struct shape *shape = job_asked(grid, job);
    int64_t done_ms = assigns_done_ms(grid, job);
    double age_h = (double)(grid->now_ms - job->item.eligible_ms) / 3600000;
    double stay = item->held != ASSIGN_NONE ? stay_of(grid, job, done_ms) : 1;
    double times = WEIGHT_ONE, best;
    const struct candidate *list;
    uint32_t count;

    for (uint32_t c = 0; c < job_terms(grid, job)->job_class; c++)
        times *= CLASS_TIMES;
    list = assigns_kinds(grid, job, &count);
    best = assigns_best(list, count);
    for (uint32_t i = 0; i < count && best > 0; i++) {
        uint32_t kind = find_kind(round, list[i].site, list[i].chip);
        double weight;

        if (kind == ASSIGN_NONE || (kind != item->held && !assigns_may_use(grid, shape, &list[i])))
            continue;
        weight = assign_weight(&params, best / list[i].score, (double)done_ms / 3600000, age_h,
                               item->gang);
        weight = floor(weight * times * (kind == item->held ? stay : 1)) + 1;
        weights[kind] = weight + (item->is_kept ? KEPT_WEIGHT : 0);
    }
}

static void weigh(struct round *round)
{
    round->weights =
        mem_alloc((size_t)round->count * round->kinds_count + 1, sizeof(*round->weights));
    for (uint32_t i = 0; i < round->count; i++)
        weigh_item(round, &round->items[i], &round->weights[(size_t)i * round->kinds_count]);
}

/* --- where all gain most ---------------------------------------------------------------------- */

static uint32_t steps_most(const struct round *round)
{
    uint64_t kinds = round->kinds_count + 1, unit = 1;

    for (uint32_t i = 0; i < round->count; i++)
        unit = MAX(unit, (uint64_t)MIN(round->items[i].gang, ASSIGN_UNIT_MAX));
    return (uint32_t)MIN(MAX(WORK_MAX / (round->count * kinds +
                                         kinds * kinds * (kinds + (unit > 1 ? unit * unit : 0))),
                             (uint64_t)4),
                         (uint64_t)1024);
}

static void solve(struct round *round)
{
    struct assign_params params = assign_params_default();
    struct assign_job *asked = mem_alloc(round->count, sizeof(*asked));
    struct assign_slot *slots = mem_alloc(round->count, sizeof(*slots));
    uint32_t capacity[ASSIGN_KINDS_MAX];
    struct assign_problem problem = { .jobs = asked,
                                      .weights = round->weights,
                                      .capacity = capacity,
                                      .jobs_count = round->count,
                                      .kinds_count = round->kinds_count };

    params.stay = 0; /* the weights have it */
    params.gain_min = 0;
    params.steps_max = steps_most(round);
    for (uint32_t k = 0; k < round->kinds_count; k++)
        capacity[k] = (uint32_t)MIN(round->kinds[k].devices, (uint64_t)INT32_MAX);
    for (uint32_t i = 0; i < round->count; i++)
        asked[i] = (struct assign_job){ .id = round->items[i].job->item.id,
                                        .gang = round->items[i].gang,
                                        .held = round->items[i].held,
                                        .mate = ASSIGN_NONE };
    assign_solve(round->grid->assigns->solver, &params, &problem, slots);
    for (uint32_t i = 0; i < round->count; i++)
        round->items[i].to = slots[i].kind;
    free(asked);
    free(slots);
}

static double weight_at(const struct round *round, uint32_t i, uint32_t kind)
{
    return kind == ASSIGN_NONE ? 0 : round->weights[(size_t)i * round->kinds_count + kind];
}

static bool is_stopped(const struct item *item)
{
    return item->held != ASSIGN_NONE && item->to != item->held;
}

/* Those that gain least by it stay, down to as many as are stopped at a time. */
static void limit_stops(struct round *round)
{
    for (;;) {
        uint32_t stops = 0, least = 0;

        for (uint32_t i = 0; i < round->running; i++) {
            const struct item *item = &round->items[i];

            if (!is_stopped(item))
                continue;
            if (!stops++ || weight_at(round, i, item->to) - weight_at(round, i, item->held) <
                                weight_at(round, least, round->items[least].to) -
                                    weight_at(round, least, round->items[least].held))
                least = i;
        }
        if (stops <= ASSIGNS_STOPS)
            return;
        round->items[least].to = round->items[least].held;
    }
}

/* --- does it fit ------------------------------------------------------------------------------ */

static bool try_place(struct round *round, struct item *item)
{
    const struct kind *kind = &round->kinds[item->to];

    item->tried =
        assigns_place(round->grid, item->job, kind->site, kind->chip, item->job == round->head);
    if (item->tried)
        assigns_take_parts(round->grid, item->tried, false);
    return item->tried != NULL;
}

static void untry(struct round *round)
{
    for (uint32_t i = 0; i < round->count; i++) {
        struct item *item = &round->items[i];

        if (!item->tried)
            continue;
        assigns_take_parts(round->grid, item->tried, true);
        grant_destroy(item->tried);
        item->tried = NULL;
    }
}

static bool still_fits(const struct grid *grid, const struct grant *grant)
{
    const struct fleet_site *site = &grid->fleet.sites[grant->site];

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        const struct fleet_node *node = &site->nodes[part->node];

        if (node_cpus_free(node) < part->cpus ||
            node->memory_bytes - node->memory_used < part->memory_bytes ||
            node->disk_bytes - node->disk_used < part->disk_bytes)
            return false;
        for (uint32_t d = 0; d < part->devices_count; d++)
            if (part->devices[d].index == FLEET_DEVICE_GONE ||
                node->devices[part->devices[d].index].used_milli)
                return false;
    }
    return true;
}

/* Wider ones first; then those that run before those that wait, which are in order. */
static uint32_t list_by_width(const struct round *round, uint32_t *order)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < round->count; i++) {
        const struct item *item = &round->items[i];
        uint32_t at;

        if (item->to == ASSIGN_NONE || item->to == item->held)
            continue;
        for (at = count++; at && round->items[order[at - 1]].gang < item->gang; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return count;
}

/* With all that are stopped gone, each finds a place on its kind. False: one that runs does not, so
 * it stays. Who waits and finds none is left out. As it was before, afterwards. */
static bool try_all(struct round *round, uint32_t *order)
{
    struct grid *grid = round->grid;
    uint32_t count = list_by_width(round, order);
    bool fits = true;

    for (uint32_t i = 0; i < round->running; i++)
        if (is_stopped(&round->items[i]))
            assigns_take_parts(grid, round->items[i].job->grant, true);
    for (uint32_t i = 0; i < count; i++) {
        struct item *item = &round->items[order[i]];

        if (try_place(round, item))
            continue;
        item->has_failed = true;
        fits &= item->held == ASSIGN_NONE;
    }
    for (uint32_t i = 0; i < round->running; i++) { /* who stands in nobody's way goes on */
        struct item *item = &round->items[i];

        if (!fits || item->to != ASSIGN_NONE || !still_fits(grid, item->job->grant))
            continue;
        assigns_take_parts(grid, item->job->grant, false);
        item->to = item->held;
    }
    untry(round);
    for (uint32_t i = 0; i < round->count; i++) {
        struct item *item = &round->items[i];

        if (is_stopped(item))
            assigns_take_parts(grid, item->job->grant, false);
        if (item->has_failed)
            item->to = item->held;
        item->has_failed = false;
    }
    return fits;
}

/* What of it fits; nobody is stopped when it is not worth that. */
static void settle(struct round *round)
{
    uint32_t *order = mem_alloc(round->count, sizeof(*order));
    bool fits = false;
    double gain = 0;

    limit_stops(round);
    for (uint32_t i = 0; i < TRIES && !fits; i++)
        fits = try_all(round, order);
    free(order);
    for (uint32_t i = 0; i < round->count; i++)
        gain += weight_at(round, i, round->items[i].to) - weight_at(round, i, round->items[i].held);
    for (uint32_t i = 0; i < round->running && !(fits && gain > 0); i++)
        round->items[i].to = round->items[i].held;
}

/* --- doing it --------------------------------------------------------------------------------- */

static void stop(struct round *round, struct item *item)
{
    struct grid *grid = round->grid;
    const struct kind *from = &round->kinds[item->held], *to;
    const char *chip = grid->fleet.sites[from->site].chips[from->chip].kind;

    if (item->to == ASSIGN_NONE) {
        yield_ask(grid, item->job, YIELD_ASSIGN, 0,
                  "makes way on %.48s for work that gains more there or has had less: it goes on "
                  "from its checkpoint",
                  chip);
        return;
    }
    to = &round->kinds[item->to];
    assigns_bind(grid, item->job, to->site, to->chip);
    item->job->moves = true;
    yield_ask(grid, item->job, YIELD_ASSIGN, 0,
              "moves from %.40s to %.40s at %.40s: there all gain most; it goes on from its "
              "checkpoint",
              chip, grid->fleet.sites[to->site].chips[to->chip].kind,
              grid->fleet.sites[to->site].info.name);
}

/* On any of its kinds that has room after all. */
static bool start_anywhere(struct round *round, struct job *job)
{
    struct grid *grid = round->grid;
    uint32_t count;
    const struct candidate *list = assigns_kinds(grid, job, &count);

    for (uint32_t i = 0; i < count; i++)
        if (list[i].chip < FLEET_MIXED && grid->fleet.sites[list[i].site].devices_whole &&
            assigns_start(grid, job, list[i].site, list[i].chip, job == round->head))
            return true;
    return false;
}

static void act(struct round *round)
{
    struct grid *grid = round->grid;
    bool any_stops = false;

    for (uint32_t i = 0; i < round->running; i++)
        if (is_stopped(&round->items[i])) {
            stop(round, &round->items[i]);
            any_stops = true;
        }
    for (uint32_t i = round->running; i < round->count; i++) {
        struct item *item = &round->items[i];
        const struct kind *kind;

        if (item->to == ASSIGN_NONE)
            continue;
        kind = &round->kinds[item->to];
        if (assigns_start(grid, item->job, kind->site, kind->chip, item->job == round->head))
            continue;
        if (any_stops && grid->assigns->bound_count < ASSIGNS_BOUND)
            assigns_bind(grid, item->job, kind->site, kind->chip);
        else
            item->to = ASSIGN_NONE;
    }
    for (uint32_t i = round->running; i < round->count; i++)
        if (round->items[i].to == ASSIGN_NONE && !start_anywhere(round, round->items[i].job))
            grid->assigns->is_short = true;
}

static void run(struct round *round)
{
    round->items = mem_alloc(ASSIGNS_JOBS, sizeof(*round->items));
    add_running(round);
    add_waiting(round);
    if (round->choices) {
        count_devices(round);
        choose_freedom(round);
    }
    if (round->choices && round->count) {
        weigh(round);
        solve(round);
        settle(round);
        act(round);
        free(round->weights);
    }
    free(round->items);
}

static void run_round(struct grid *grid, const struct job *head)
{
    struct round *round = mem_alloc(1, sizeof(*round));

    grid->assigns->next_ms = 0;
    grid->assigns->last_ms = grid->now_ms;
    grid->assigns->is_short = false;
    round->grid = grid;
    round->head = head;
    run(round);
    free(round);
}

static bool is_possible(const struct grid *grid)
{
    return grid->assigns->bound_count + ASSIGNS_STOPS <= ASSIGNS_BOUND && !grid->preempt_for &&
           grid->work.names.live_count;
}

void assigns_round_soon(struct grid *grid)
{
    struct assigns *assigns = grid->assigns;
    uint64_t free_devices = 0;

    if (!assigns_chooses(grid) || !grid->queue.count || !is_possible(grid))
        return;
    for (uint32_t s = 0; s < grid->fleet.sites_count; s++)
        free_devices += grid->fleet.sites[s].devices_whole;
    if (!free_devices)
        return;
    if (grid->now_ms - assigns->last_ms >= SOON_MS)
        run_round(grid, NULL);
    else if (assigns->is_short)
        assigns->next_ms = assigns->last_ms + SOON_MS;
}

void assigns_round(struct grid *grid, const struct job *head, bool is_done)
{
    struct assigns *assigns = grid->assigns;
    int64_t due_ms;

    if (!assigns)
        return;
    due_ms = assigns->next_ms ? assigns->next_ms : assigns->last_ms + ASSIGNS_EVERY_MS;
    if (is_done && is_possible(grid) && (grid->fleet.grants_count || grid->queue.count) &&
        grid->now_ms >= due_ms)
        run_round(grid, head);
    /* While nothing runs, nothing changes but by an event, and that has its pass. */
    if (!assigns->next_ms && grid->fleet.grants_count && grid->work.names.live_count)
        assigns->next_ms = MAX(assigns->last_ms + ASSIGNS_EVERY_MS, grid->now_ms + SOON_MS);
    for (uint32_t i = 0; i < assigns->holds_count; i++)
        promise_clear(&assigns->holds[i], &grid->fleet);
    assigns->holds_count = 0;
}
