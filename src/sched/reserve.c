#include "sched/reserve.h"

#include "sched/mem.h"
#include "sched/owner.h"

#include <stdlib.h>
#include <string.h>

void reserve_fini(struct reserve *reserve)
{
    free(reserve->parts);
    free(reserve->marks);
    ends_walk_fini(&reserve->walk);
    *reserve = (struct reserve){ 0 };
}

/* --- trying out what comes -------------------------------------------------------------------- */

/* Where only its own cells are looked at, what is lent of them leaves when it is told to. */
static bool is_lent_of(const struct shape *shape, const struct fleet_site *site,
                       const struct grant_part *part)
{
    const struct fleet_node *node = &site->nodes[part->node];

    return shape->own_only && node->guard == shape->guard && part->of &&
           fleet_is_lent(node, part->of);
}

/* Give back or take what a grant or plan holds (lent: only what is lent of the shape's own cells;
 * else but for that, which is given back already), where that may matter to the shape; gives the
 * tasks gained, which may be below zero (mod 2^64). */
static uint64_t try_out(struct reserve *reserve, const struct shape *shape, struct fleet *fleet,
                        uint16_t chip, const struct grant *grant, bool give_back, bool lent)
{
    struct fleet_site *site = &fleet->sites[grant->site];
    bool is_near = shape->apart && grant->apart && /* then it matters to nodes around it, too */
                   apart_conflict(shape->apart, grant->apart) > APART_NODE;
    uint64_t gained = is_near ? 0 - fit_count(shape, fleet, site->number, chip) : 0;

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        struct fleet_node *node = &site->nodes[part->node];
        uint32_t pool = site->room.spots[part->node].pool;

        if (is_lent_of(shape, site, part) != lent)
            continue;
        if (!is_near &&
            (pool == ROOM_NONE || fit_never_in_pool(shape, &site->room.pools[pool], chip)))
            continue;
        if (!is_near)
            gained -= fit_tasks(shape, site, node, chip, FIT_NOW);
        fleet_take_part(site, part, give_back);
        if (!is_near)
            gained += fit_tasks(shape, site, node, chip, FIT_NOW);
        MEM_GROW(reserve->parts, reserve->parts_cap, reserve->parts_count + 1);
        reserve->parts[reserve->parts_count++] = (struct reserve_part){ part, !give_back };
    }
    if (is_near)
        gained += fit_count(shape, fleet, site->number, chip);
    return gained;
}

static uint64_t give_back_lent(struct reserve *reserve, const struct shape *shape,
                               struct fleet *fleet, const struct fleet_site *site, uint16_t chip)
{
    uint64_t gained = 0;

    for (uint32_t i = 0; shape->own_only && i < site->ends.count; i++)
        gained += try_out(reserve, shape, fleet, chip, site->ends.heap[i], true, true);
    return gained;
}

static void undo(struct reserve *reserve, struct fleet_site *site)
{
    while (reserve->parts_count) {
        const struct reserve_part *last = &reserve->parts[--reserve->parts_count];

        fleet_take_part(site, last->part, last->is_taken);
    }
}

/* Release grants of the site in the order of their ends until the gang fits, whatever is promised:
 * when that is, or when the site's hours let it in next. -1: never; or, with `before_ms` >= 0, not
 * before that, and in `tasks_out` how many fit by then. The fleet is left as it then is, for undo.
 * With enough room for each task there is a place (fit.h), but for the limit on parts: that is
 * asked only then. */
static int64_t run_ahead(struct reserve *reserve, const struct shape *shape, struct fleet *fleet,
                         uint32_t site, uint16_t chip, int64_t before_ms, struct fit *fit,
                         int64_t now_ms, uint64_t *tasks_out)
{
    struct fleet_site *at = &fleet->sites[site];
    uint64_t sum = fit_count(shape, fleet, site, chip);
    int64_t start_ms = now_ms, end_ms, open_ms;
    const struct grant *grant;

    sum += give_back_lent(reserve, shape, fleet, at, chip);
    ends_walk_begin(&reserve->walk, &at->ends, now_ms);
    for (;;) {
        if (sum >= shape->tasks &&
            ((shape->tasks <= GRANT_PARTS_MAX && !shape->within_hard) ||
             fit_candidate_plainly(shape, fleet, site, chip, FIT_NOW, fit))) {
            open_ms =
                start_ms < INT64_MAX ? owner_next_start(fleet, shape, site, start_ms) : INT64_MAX;
            *tasks_out = sum;
            if (open_ms > start_ms && (open_ms == INT64_MAX || /* it is never let in again */
                                       (before_ms >= 0 && open_ms >= before_ms)))
                return -1;
            return open_ms;
        }
        grant = ends_walk_next(&reserve->walk, &end_ms);
        if (!grant || (before_ms >= 0 && end_ms >= before_ms)) {
            *tasks_out = sum;
            return -1;
        }
        sum += try_out(reserve, shape, fleet, chip, grant, true, false);
        start_ms = end_ms;
    }
}

/* --- beside promises -------------------------------------------------------------------------- */

static bool mark_is_before(const struct reserve_mark *a, const struct reserve_mark *b)
{
    if (a->time_ms != b->time_ms)
        return a->time_ms < b->time_ms;
    return a->is_end != b->is_end ? a->is_end : a->promise->job_id < b->promise->job_id;
}

static void add_mark(struct reserve *reserve, int64_t time_ms, const struct promise *promise,
                     bool is_end)
{
    struct reserve_mark mark = { time_ms, promise, is_end };
    uint32_t at = reserve->marks_count;

    MEM_GROW(reserve->marks, reserve->marks_cap, at + 1);
    reserve->marks_count++;
    for (; at && mark_is_before(&mark, &reserve->marks[at - 1]); at--)
        reserve->marks[at] = reserve->marks[at - 1];
    reserve->marks[at] = mark;
}

/* A start that is overdue comes as soon as it can, and ends that much later. */
static void list_marks(struct reserve *reserve, const struct fleet *fleet, uint32_t site,
                       int64_t now_ms)
{
    reserve->marks_count = reserve->marks_next = 0;
    for (uint32_t i = 0; i < fleet->promises_count; i++) {
        const struct promise *promise = fleet->promises[i];
        int64_t late_ms = now_ms > promise->start_ms ? now_ms - promise->start_ms : 0;

        if (promise->plan->site != site || promise->is_hold)
            continue;
        add_mark(reserve, promise->start_ms + late_ms, promise, false);
        if (promise->end_ms < INT64_MAX - late_ms)
            add_mark(reserve, promise->end_ms + late_ms, promise, true);
    }
}

static uint64_t pass_marks(struct reserve *reserve, const struct shape *shape, struct fleet *fleet,
                           uint16_t chip, int64_t time_ms)
{
    uint64_t gained = 0;

    for (; reserve->marks_next < reserve->marks_count; reserve->marks_next++) {
        const struct reserve_mark *mark = &reserve->marks[reserve->marks_next];

        if (mark->time_ms > time_ms)
            break;
        gained += try_out(reserve, shape, fleet, chip, mark->promise->plan, mark->is_end, false);
    }
    return gained;
}

/* What promised nodes have over is less than what they have free. */
static uint64_t count_limited_off(const struct shape *shape, const struct fleet_site *site,
                                  uint16_t chip)
{
    uint64_t off = 0;

    for (uint32_t i = 0; i < site->room.apart_count; i++) {
        const struct fleet_node *node = &site->nodes[site->room.apart[i].node];
        uint32_t tasks = fit_tasks(shape, site, node, chip, FIT_NOW);

        if (tasks)
            off += tasks - fit_tasks(shape, site, node, chip, FIT_LIMITED);
    }
    return off;
}

/* When something changes next: a promise begins or ends, a grant ends, the site's hours begin; -1 =
 * no more. */
static int64_t next_time(const struct reserve *reserve, int64_t end_ms, int64_t open_ms)
{
    int64_t next_ms = end_ms;

    if (reserve->marks_next < reserve->marks_count &&
        (next_ms < 0 || reserve->marks[reserve->marks_next].time_ms <= next_ms))
        next_ms = reserve->marks[reserve->marks_next].time_ms;
    if (open_ms >= 0 && open_ms < INT64_MAX && (next_ms < 0 || open_ms < next_ms))
        next_ms = open_ms;
    return next_ms;
}

/* As run_ahead, but the gang must fit for as long as it may run, beside what is promised: so
 * promises are taken and given back on the way. What it then fits is in `fit`; the fleet and its
 * window are left as they then are. INT64_MAX = not known. */
static int64_t run_beside(struct reserve *reserve, const struct shape *shape, struct fleet *fleet,
                          uint32_t site, uint16_t chip, const struct reserve_ask *ask,
                          struct fit *fit)
{
    struct fleet_site *at = &fleet->sites[site];
    uint64_t sum = fit_count(shape, fleet, site, chip);
    int64_t time_ms = ask->now_ms, end_ms = INT64_MAX, open_ms;
    const struct grant *grant;

    list_marks(reserve, fleet, site, ask->now_ms);
    sum += give_back_lent(reserve, shape, fleet, at, chip);
    sum += pass_marks(reserve, shape, fleet, chip, time_ms);
    ends_walk_begin(&reserve->walk, &at->ends, ask->now_ms);
    grant = ends_walk_next(&reserve->walk, &end_ms);
    for (;;) {
        fleet->window = (struct fleet_window){
            time_ms, ask->span_ms < INT64_MAX - time_ms ? time_ms + ask->span_ms : INT64_MAX, false
        };
        open_ms = owner_next_start(fleet, shape, site, time_ms);
        if (open_ms == time_ms && sum >= shape->tasks &&
            sum - count_limited_off(shape, at, chip) >= shape->tasks &&
            fit_candidate_plainly(shape, fleet, site, chip, FIT_LIMITED, fit))
            return time_ms;
        time_ms = next_time(reserve, grant ? end_ms : -1, open_ms > time_ms ? open_ms : -1);
        if (time_ms < 0)
            return -1;
        if (ask->before_ms >= 0 && time_ms >= ask->before_ms)
            return -1;
        if (time_ms == INT64_MAX)
            return INT64_MAX;
        for (; grant && end_ms <= time_ms; grant = ends_walk_next(&reserve->walk, &end_ms))
            sum += try_out(reserve, shape, fleet, chip, grant, true, false);
        sum += pass_marks(reserve, shape, fleet, chip, time_ms);
    }
}

static bool has_promises(const struct fleet *fleet, uint32_t site)
{
    for (uint32_t i = 0; i < fleet->promises_count; i++)
        if (fleet->promises[i]->plan->site == site)
            return true;
    return false;
}

/* Nobody is promised what is lent: whose cell it is would make that start later. */
static bool be_firm(struct shape *shape)
{
    bool lends = shape->lends;

    shape->lends = false;
    return lends;
}

static const struct fleet_window all_time = { INT64_MIN, INT64_MAX, false };

int64_t reserve_estimate(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                         uint32_t site, uint16_t chip, const struct reserve_ask *ask,
                         struct fit *fit)
{
    bool lends = be_firm(shape);
    int64_t start_ms = run_beside(reserve, shape, fleet, site, chip, ask, fit);
    uint64_t tasks;

    if (start_ms == INT64_MAX) { /* where: the caller may want to know */
        undo(reserve, &fleet->sites[site]);
        run_ahead(reserve, shape, fleet, site, chip, -1, fit, ask->now_ms, &tasks);
        fit_candidate_plainly(shape, fleet, site, chip, FIT_NOW, fit);
    }
    undo(reserve, &fleet->sites[site]);
    fleet->window = all_time;
    shape->lends = lends;
    return start_ms;
}

/* --- what was found before -------------------------------------------------------------------- */

/* How many tasks would fit on the node just before then, with what runs there now. */
static uint64_t tasks_before(const struct shape *shape, struct fleet_site *site, uint32_t index,
                             uint16_t chip, int64_t now_ms, int64_t before_ms)
{
    const struct fleet_node *node = &site->nodes[index];
    uint64_t tasks;

    for (const struct grant_part *part = node->parts; part; part = part->next)
        if (part->of->end_ms > now_ms && part->of->end_ms < before_ms)
            fleet_take_part(site, part, true);
    tasks = fit_tasks(shape, site, node, chip, FIT_NOW);
    for (const struct grant_part *part = node->parts; part; part = part->next)
        if (part->of->end_ms > now_ms && part->of->end_ms < before_ms)
            fleet_take_part(site, part, false);
    return tasks;
}

/* Is what was found there still so? What is held at start_ms and just before it decides. A grant
 * that was made or has ended since changes neither when it was bound to end before start_ms: by
 * then it is gone either way. Grants made can only make it later, which a bound does not mind; and
 * those that ended leave it standing while what then fits on their nodes is not enough. */
static bool ahead_holds(struct candidate *at, const struct shape *shape, struct fleet *fleet,
                        int64_t now_ms)
{
    struct candidate_ahead *ahead = &at->ahead;
    struct fleet_site *site = &fleet->sites[at->site];
    const struct fleet_kind *kind = &fleet->kinds[at->kind];
    uint64_t tasks = ahead->tasks;

    if (ahead->changes_count == UINT64_MAX || shape->apart || shape->guard ||
        kind->changes_count - ahead->changes_count > KIND_CHANGES ||
        ends_next_ms(&site->ends, ahead->now_ms) <= now_ms ||
        (ahead->is_exact && ahead->start_ms >= 0 && ahead->start_ms < now_ms)) /* of the hours */
        return false;
    for (uint64_t i = ahead->changes_count; i < kind->changes_count; i++) {
        const struct fleet_change *change = &kind->changes[i % KIND_CHANGES];
        bool is_gone = change->end_ms > ahead->now_ms && change->end_ms < ahead->start_ms;

        if (is_gone || (change->is_hold && !ahead->is_exact))
            continue;
        if (ahead->is_exact)
            return false;
        tasks += tasks_before(shape, site, change->node, at->chip, ahead->now_ms, ahead->start_ms);
        if (tasks >= shape->tasks)
            return false;
    }
    ahead->changes_count = kind->changes_count;
    ahead->tasks = tasks;
    return true;
}

/* run_ahead, remembered; a start that is too late to matter as "not before". */
static int64_t start_at(struct reserve *reserve, const struct shape *shape, struct fleet *fleet,
                        struct candidate *candidate, int64_t before_ms, struct fit *fit,
                        int64_t now_ms)
{
    struct candidate_ahead *ahead = &candidate->ahead;
    uint64_t tasks = 0;
    int64_t start_ms;

    if (ahead_holds(candidate, shape, fleet, now_ms)) {
        if (before_ms >= 0 && ahead->start_ms >= before_ms)
            return -1;
        if (ahead->is_exact)
            return ahead->start_ms;
    }
    start_ms = run_ahead(reserve, shape, fleet, candidate->site, candidate->chip, before_ms, fit,
                         now_ms, &tasks);
    undo(reserve, &fleet->sites[candidate->site]);
    *ahead = (struct candidate_ahead){
        .changes_count =
            start_ms == now_ms ? UINT64_MAX : fleet->kinds[candidate->kind].changes_count,
        .now_ms = now_ms,
        .start_ms = start_ms >= 0 || before_ms < 0 ? start_ms : before_ms,
        .tasks = tasks,
        .is_exact = start_ms >= 0 || before_ms < 0,
    };
    return start_ms;
}

/* What is kept of looks at that kind; NULL = nothing. */
static struct promise_look *look_of(const struct reserve_ask *ask, const struct shape *shape,
                                    const struct fleet *fleet, uint32_t kind)
{
    struct promise_looks *looks = ask->looks;

    if (!looks || ask->before_ms < 0 || shape->apart || shape->guard)
        return NULL;
    if (!looks->list || looks->shape_version != fleet->shape_version ||
        looks->span_ms != ask->span_ms) {
        free(looks->list);
        looks->list = mem_alloc(fleet->kinds_count, sizeof(*looks->list));
        looks->shape_version = fleet->shape_version;
        looks->span_ms = ask->span_ms;
    }
    return &looks->list[kind];
}

/* The first start at one candidate. It is no sooner than without promises: that is remembered. */
static int64_t find_at(struct reserve *reserve, const struct shape *shape, struct fleet *fleet,
                       struct candidate *at, const struct reserve_ask *ask, struct fit *fit)
{
    int64_t start_ms = start_at(reserve, shape, fleet, at, ask->before_ms, fit, ask->now_ms);
    struct promise_look *look;

    if (start_ms < 0 || start_ms == INT64_MAX || !has_promises(fleet, at->site))
        return start_ms;
    look = look_of(ask, shape, fleet, at->kind);
    if (look && look->before_ms && look->before_ms >= ask->before_ms &&
        look->limit_version == fleet->kinds[at->kind].limit_version)
        return -1;
    start_ms = run_beside(reserve, shape, fleet, at->site, at->chip, ask, fit);
    undo(reserve, &fleet->sites[at->site]);
    if (look && start_ms < 0)
        *look = (struct promise_look){ fleet->kinds[at->kind].limit_version, ask->before_ms };
    return start_ms;
}

static void make_plan(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                      const struct candidate *at, const struct reserve_ask *ask, struct fit *fit,
                      struct promise *promise)
{
    struct reserve_ask any = *ask;

    any.before_ms = -1;
    promise->start_ms = run_beside(reserve, shape, fleet, at->site, at->chip, &any, fit);
    if (promise->start_ms >= 0 && promise->start_ms < INT64_MAX) {
        promise->end_ms = fleet->window.until_ms;
        promise->chip = at->chip;
        promise->plan = fit_grant(shape, fleet, fit, FIT_LIMITED);
        promise->plan->job_id = promise->job_id;
    }
    undo(reserve, &fleet->sites[at->site]);
}

int64_t reserve_find(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                     const struct objective *objective, const struct reserve_ask *ask,
                     struct fit *fit, struct promise *promise)
{
    struct reserve_ask next = *ask;
    int64_t best_ms = -1, start_ms;
    uint32_t count, best = 0;
    bool lends = be_firm(shape);

    shape_candidates(shape, fleet, objective, &count);
    for (uint32_t i = 0; i < count; i++) {
        start_ms = find_at(reserve, shape, fleet, &shape->candidates[i], &next, fit);
        if (start_ms >= 0 && (best_ms < 0 || start_ms < best_ms)) {
            best_ms = next.before_ms = start_ms;
            best = i;
        }
    }
    if (best_ms >= 0 && best_ms < INT64_MAX)
        make_plan(reserve, shape, fleet, &shape->candidates[best], ask, fit, promise);
    fleet->window = all_time;
    shape->lends = lends;
    return best_ms;
}

/* --- the hold --------------------------------------------------------------------------------- */

/* The promises there are come first and end in their time: the hold looks past them, as past all
 * that runs, and none of them is bound by it. */
static bool hold_at(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                    const struct candidate *at, struct fit *fit, int64_t now_ms)
{
    struct fleet_site *site = &fleet->sites[at->site];
    uint64_t tasks;
    bool fits =
        run_ahead(reserve, shape, fleet, at->site, at->chip, -1, fit, now_ms, &tasks) >= 0 &&
        fit_candidate_plainly(shape, fleet, at->site, at->chip, FIT_NOW, fit);

    if (fits) {
        reserve->hold = (struct promise){ .is_hold = true,
                                          .start_ms = INT64_MAX,
                                          .end_ms = INT64_MAX,
                                          .chip = at->chip,
                                          .plan = fit_grant(shape, fleet, fit, FIT_NOW) };
        promise_set(&reserve->hold, fleet);
    }
    undo(reserve, site);
    for (uint32_t i = 0; fits && i < reserve->hold.plan->parts_count; i++)
        room_move(&site->room, site, reserve->hold.plan->parts[i].node); /* it holds that again */
    return fits;
}

bool reserve_hold(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                  const struct objective *objective, struct fit *fit, int64_t now_ms)
{
    int64_t best_ms = -1, start_ms;
    uint32_t count, best = 0;
    bool lends = be_firm(shape), held;

    reserve_release_hold(reserve, fleet);
    shape_candidates(shape, fleet, objective, &count);
    for (uint32_t i = 0; i < count; i++) {
        start_ms = start_at(reserve, shape, fleet, &shape->candidates[i], best_ms, fit, now_ms);
        if (start_ms >= 0 && (best_ms < 0 || start_ms < best_ms)) {
            best_ms = start_ms;
            best = i;
        }
    }
    held = best_ms >= 0 && hold_at(reserve, shape, fleet, &shape->candidates[best], fit, now_ms);
    shape->lends = lends;
    return held;
}

void reserve_release_hold(struct reserve *reserve, struct fleet *fleet)
{
    promise_clear(&reserve->hold, fleet);
}
