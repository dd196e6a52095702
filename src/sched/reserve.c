#include "sched/reserve.h"

#include "sched/mem.h"

#include <stdlib.h>
#include <string.h>

void reserve_fini(struct reserve *reserve)
{
    free(reserve->limits);
    free(reserve->kept);
    free(reserve->parts);
    ends_walk_fini(&reserve->walk);
    *reserve = (struct reserve){ 0 };
}

void reserve_clear(struct reserve *reserve, struct fleet *fleet)
{
    for (uint32_t i = 0; i < reserve->limits_count; i++)
        fleet_set_limit(fleet, reserve->limits[i].site, reserve->limits[i].node, NULL);
    reserve->limits_count = 0;
    reserve->is_planned = false;
    reserve->start_ms = INT64_MAX;
}

/* --- looking ahead at one site --------------------------------------------------------------- */

/* Give back what a grant holds, where that may matter to the shape; gives the tasks gained. */
static uint64_t give_back(struct reserve *reserve, const struct shape *shape,
                          struct fleet_site *site, uint16_t chip, const struct grant *grant)
{
    uint64_t gained = 0;

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        struct fleet_node *node = &site->nodes[part->node];
        uint32_t pool = site->room.spots[part->node].pool;

        if (pool == ROOM_NONE || fit_never_in_pool(shape, &site->room.pools[pool], chip))
            continue;
        gained -= fit_tasks(shape, site, node, chip, FIT_NOW);
        fleet_take_part(site, part, true);
        gained += fit_tasks(shape, site, node, chip, FIT_NOW);
        MEM_GROW(reserve->parts, reserve->parts_cap, reserve->parts_count + 1);
        reserve->parts[reserve->parts_count++].part = part;
    }
    return gained;
}

static void take_again(struct reserve *reserve, struct fleet_site *site)
{
    for (uint32_t i = 0; i < reserve->parts_count; i++)
        fleet_take_part(site, reserve->parts[i].part, false);
    reserve->parts_count = 0;
}

/* Release grants of the site in the order of their ends until the gang fits: when that is. -1:
 * never; or, with `before_ms` >= 0, not before that. The fleet is left as it then is, for
 * take_again to undo. With enough room for each task there is a place (fit.h), but for the limit
 * on parts: that is asked only then. */
static int64_t run_ahead(struct reserve *reserve, const struct shape *shape, struct fleet *fleet,
                         uint32_t site, uint16_t chip, int64_t before_ms, struct fit *fit,
                         int64_t now_ms)
{
    struct fleet_site *at = &fleet->sites[site];
    uint64_t sum = fit_count(shape, fleet, site, chip);
    int64_t start_ms = now_ms, end_ms;
    const struct grant *grant;

    ends_walk_begin(&reserve->walk, &at->ends, now_ms);
    for (;;) {
        if (sum >= shape->tasks && ((shape->tasks <= GRANT_PARTS_MAX && !shape->within_hard) ||
                                    fit_candidate_plainly(shape, fleet, site, chip, FIT_NOW, fit)))
            return start_ms;
        grant = ends_walk_next(&reserve->walk, &end_ms);
        if (!grant || (before_ms >= 0 && end_ms >= before_ms))
            return -1;
        sum += give_back(reserve, shape, at, chip, grant);
        start_ms = end_ms;
    }
}

int64_t reserve_estimate(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                         uint32_t site, uint16_t chip, struct fit *fit, int64_t now_ms)
{
    int64_t start_ms = run_ahead(reserve, shape, fleet, site, chip, -1, fit, now_ms);

    if (start_ms >= 0) /* where: the caller may want to know */
        fit_candidate_plainly(shape, fleet, site, chip, FIT_NOW, fit);
    take_again(reserve, &fleet->sites[site]);
    return start_ms;
}

/* Is what was found there still so? What is held at start_ms and just before it decides. A grant
 * that was made or has ended since changes neither when it was bound to end before start_ms: by
 * then it is gone either way. Grants made can only make it later, which a bound does not mind. */
static bool ahead_holds(struct candidate_ahead *ahead, const struct fleet_site *site,
                        int64_t now_ms)
{
    if (ahead->changes_count == UINT64_MAX ||
        site->changes_count - ahead->changes_count > FLEET_CHANGES ||
        ends_next_ms(&site->ends, ahead->now_ms) <= now_ms)
        return false;
    for (uint64_t i = ahead->changes_count; i < site->changes_count; i++) {
        const struct fleet_change *change = &site->changes[i % FLEET_CHANGES];
        bool is_gone = change->end_ms > ahead->now_ms && change->end_ms < ahead->start_ms;

        if (!is_gone && (ahead->is_exact || !change->is_hold))
            return false;
    }
    ahead->changes_count = site->changes_count;
    return true;
}

/* run_ahead, remembered; a start that is too late to matter as "not before". */
static int64_t start_at(struct reserve *reserve, const struct shape *shape, struct fleet *fleet,
                        struct candidate *candidate, int64_t before_ms, struct fit *fit,
                        int64_t now_ms)
{
    const struct fleet_site *site = &fleet->sites[candidate->site];
    struct candidate_ahead *ahead = &candidate->ahead;
    int64_t start_ms;

    if (ahead_holds(ahead, site, now_ms)) {
        if (before_ms >= 0 && ahead->start_ms >= before_ms)
            return -1;
        if (ahead->is_exact)
            return ahead->start_ms;
    }
    start_ms =
        run_ahead(reserve, shape, fleet, candidate->site, candidate->chip, before_ms, fit, now_ms);
    take_again(reserve, &fleet->sites[candidate->site]);
    *ahead = (struct candidate_ahead){
        .changes_count = start_ms == now_ms ? UINT64_MAX : site->changes_count,
        .now_ms = now_ms,
        .start_ms = start_ms >= 0 || before_ms < 0 ? start_ms : before_ms,
        .is_exact = start_ms >= 0 || before_ms < 0,
    };
    return start_ms;
}

/* What each promised node has over at that moment, beside the head's own part. */
static void keep_limits(struct reserve *reserve, const struct fleet *fleet,
                        const struct grant *plan)
{
    const struct fleet_site *site = &fleet->sites[plan->site];

    MEM_GROW(reserve->kept, reserve->kept_cap, plan->parts_count);
    reserve->kept_count = plan->parts_count;
    for (uint32_t i = 0; i < plan->parts_count; i++) {
        const struct grant_part *part = &plan->parts[i];
        const struct fleet_node *node = &site->nodes[part->node];
        struct fleet_limit *limit = &reserve->kept[i];

        *limit = (struct fleet_limit){
            .site = plan->site,
            .node = part->node,
            .cpus = node_cpus_free(node) - part->cpus,
            .memory_bytes = node->memory_bytes - node->memory_used - part->memory_bytes,
            .disk_bytes = node->disk_bytes - node->disk_used - part->disk_bytes,
        };
        for (uint32_t d = 0; d < node->devices_count; d++)
            limit->devices_milli[d] = (uint16_t)(1000 - node->devices[d].used_milli);
        for (uint32_t d = 0; d < part->devices_count; d++)
            limit->devices_milli[part->devices[d].index] =
                (uint16_t)(limit->devices_milli[part->devices[d].index] - part->devices[d].milli);
    }
}

static void make_plan(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                      struct candidate *at, struct fit *fit, int64_t now_ms)
{
    struct grant *plan;

    run_ahead(reserve, shape, fleet, at->site, at->chip, -1, fit, now_ms);
    fit_candidate_plainly(shape, fleet, at->site, at->chip, FIT_NOW, fit);
    plan = fit_grant(shape, fleet, fit, FIT_NOW);
    keep_limits(reserve, fleet, plan);
    grant_destroy(plan);
    take_again(reserve, &fleet->sites[at->site]);
    at->ahead.plan = ++reserve->plan;
}

static void set_limits(struct reserve *reserve, struct fleet *fleet)
{
    MEM_GROW(reserve->limits, reserve->limits_cap, reserve->kept_count);
    memcpy(reserve->limits, reserve->kept, reserve->kept_count * sizeof(*reserve->limits));
    reserve->limits_count = reserve->kept_count;
    for (uint32_t i = 0; i < reserve->limits_count; i++)
        fleet_set_limit(fleet, reserve->limits[i].site, reserve->limits[i].node,
                        &reserve->limits[i]);
}

void reserve_plan(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                  const struct objective *objective, struct fit *fit, int64_t now_ms)
{
    int64_t best_ms = -1, start_ms;
    uint32_t count, best = 0;
    struct candidate *at;

    reserve_clear(reserve, fleet);
    reserve->is_planned = true;
    fleet->limit_version++;
    shape_candidates(shape, fleet, objective, &count);
    for (uint32_t i = 0; i < count; i++) {
        start_ms = start_at(reserve, shape, fleet, &shape->candidates[i], best_ms, fit, now_ms);
        if (start_ms >= 0 && (best_ms < 0 || start_ms < best_ms)) {
            best_ms = start_ms;
            best = i;
        }
    }
    if (best_ms < 0)
        return;
    at = &shape->candidates[best];
    if (!at->ahead.plan || at->ahead.plan != reserve->plan || at->ahead.changes_count == UINT64_MAX)
        make_plan(reserve, shape, fleet, at, fit, now_ms);
    set_limits(reserve, fleet);
    reserve->start_ms = best_ms;
    reserve->site = at->site;
    reserve->candidate = best;
}

void reserve_took(struct reserve *reserve, struct fleet *fleet, const struct grant *grant)
{
    const struct fleet_site *site = &fleet->sites[grant->site];

    (void)reserve;
    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        struct fleet_limit *limit = site->nodes[part->node].limit;

        if (!limit)
            continue;
        limit->cpus -= part->cpus;
        limit->memory_bytes -= part->memory_bytes;
        limit->disk_bytes -= part->disk_bytes;
        for (uint32_t d = 0; d < part->devices_count; d++)
            limit->devices_milli[part->devices[d].index] =
                (uint16_t)(limit->devices_milli[part->devices[d].index] - part->devices[d].milli);
    }
}
