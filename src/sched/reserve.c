#include "sched/reserve.h"

#include "sched/mem.h"

#include <stdlib.h>
#include <string.h>

static void lists_fini(struct reserve_lists *lists)
{
    free(lists->order);
    free(lists->heads);
    free(lists->next);
}

void reserve_fini(struct reserve *reserve)
{
    free(reserve->limits);
    lists_fini(&reserve->lists);
    *reserve = (struct reserve){ 0 };
}

void reserve_clear(struct reserve *reserve, struct fleet *fleet)
{
    for (uint32_t i = 0; i < reserve->limits_count; i++)
        fleet->sites[reserve->limits[i].site].nodes[reserve->limits[i].node].limit = NULL;
    reserve->limits_count = 0;
    reserve->is_planned = false;
    reserve->start_ms = INT64_MAX;
}

static int compare_ends(const void *a, const void *b)
{
    const struct reserve_end *x = a, *y = b;

    if (x->end_ms != y->end_ms)
        return x->end_ms < y->end_ms ? -1 : 1;
    if (x->grant->granted_ms != y->grant->granted_ms)
        return x->grant->granted_ms < y->grant->granted_ms ? -1 : 1;
    return x->grant->job_id < y->grant->job_id ? -1 : 1;
}

struct shadow { /* one candidate's answer */
    int64_t start_ms;
    uint32_t count, released; /* grants at the site; how many of them */
};

/* --- the ends of a site's grants, soonest first ----------------------------------------------
 * A heap, not a sorted list: most often a few are enough. What is popped stands behind the rest,
 * the latest first. */

static void sift_end(struct reserve_end *heap, uint32_t count, uint32_t at)
{
    struct reserve_end moved = heap[at];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= count)
            break;
        if (child + 1 < count && compare_ends(&heap[child + 1], &heap[child]) < 0)
            child++;
        if (compare_ends(&heap[child], &moved) >= 0)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* Which grants are at which site: for all candidates of a plan at once. */
static void list_grants(struct reserve_lists *lists, const struct fleet *fleet)
{
    MEM_GROW(lists->heads, lists->heads_cap, fleet->sites_count);
    MEM_GROW(lists->next, lists->next_cap, fleet->grants_count);
    for (uint32_t i = 0; i < fleet->sites_count; i++)
        lists->heads[i] = UINT32_MAX;
    for (uint32_t i = 0; i < fleet->grants_count; i++) {
        lists->next[i] = lists->heads[fleet->grants[i]->site];
        lists->heads[fleet->grants[i]->site] = i;
    }
}

static uint32_t list_ends(struct reserve_lists *lists, const struct fleet *fleet, uint32_t site,
                          int64_t now_ms)
{
    uint32_t count = 0;

    for (uint32_t i = lists->heads[site]; i < fleet->grants_count; i = lists->next[i]) {
        struct grant *grant = fleet->grants[i];

        MEM_GROW(lists->order, lists->order_cap, count + 1);
        /* One that is past its bound and not yet reported: nobody knows. */
        lists->order[count++] = (struct reserve_end){
            .end_ms = grant->end_ms > now_ms ? grant->end_ms : INT64_MAX,
            .grant = grant,
        };
    }
    for (uint32_t i = count / 2; i-- > 0;)
        sift_end(lists->order, count, i);
    return count;
}

static struct reserve_end pop_end(struct reserve_end *heap, uint32_t *left)
{
    struct reserve_end first = heap[0];

    heap[0] = heap[--*left];
    heap[*left] = first;
    if (*left)
        sift_end(heap, *left, 0);
    return first;
}

/* Release grants of the site in the order of their ends until the gang fits. The fleet is left as
 * it then is; the `released` ones, which stand at the order's end, must be taken again. Given up
 * (start_ms -1) when it cannot be before `before_ms` (-1 = no such bound). */
static struct shadow run_ahead(struct shape *shape, struct fleet *fleet, uint32_t site,
                               uint16_t chip, struct reserve_lists *lists, int64_t before_ms,
                               struct fit *fit, int64_t now_ms)
{
    const struct fleet_site *at = &fleet->sites[site];
    struct shadow shadow = { .start_ms = now_ms };
    uint64_t sum = 0;
    uint32_t left = list_ends(lists, fleet, site, now_ms);

    shadow.count = left;
    for (uint32_t i = 0; i < at->info.nodes_count; i++)
        sum += fit_tasks(shape, at, &at->nodes[i], chip, FIT_NOW);
    while (left) {
        struct reserve_end end;

        if (sum >= shape->tasks && fit_candidate(shape, fleet, site, chip, FIT_NOW, fit))
            return shadow;
        if (before_ms >= 0 && lists->order[0].end_ms >= before_ms) {
            shadow.start_ms = -1;
            return shadow;
        }
        end = pop_end(lists->order, &left);
        for (uint32_t i = 0; i < end.grant->parts_count; i++)
            sum -= fit_tasks(shape, at, &at->nodes[end.grant->parts[i].node], chip, FIT_NOW);
        fleet_take(fleet, end.grant, true);
        for (uint32_t i = 0; i < end.grant->parts_count; i++)
            sum += fit_tasks(shape, at, &at->nodes[end.grant->parts[i].node], chip, FIT_NOW);
        shadow.start_ms = end.end_ms;
        shadow.released++;
    }
    if (!fit_candidate(shape, fleet, site, chip, FIT_NOW, fit))
        shadow.start_ms = -1;
    return shadow;
}

static void take_again(struct fleet *fleet, const struct reserve_end *order,
                       const struct shadow *shadow)
{
    for (uint32_t i = 0; i < shadow->released; i++)
        fleet_take(fleet, order[shadow->count - 1 - i].grant, false);
}

int64_t reserve_estimate(struct shape *shape, struct fleet *fleet, uint32_t site, uint16_t chip,
                         struct fit *fit, int64_t now_ms)
{
    struct reserve_lists lists = { 0 };
    struct shadow shadow;

    list_grants(&lists, fleet);
    shadow = run_ahead(shape, fleet, site, chip, &lists, -1, fit, now_ms);
    take_again(fleet, lists.order, &shadow);
    lists_fini(&lists);
    return shadow.start_ms;
}

/* What each promised node has over at that moment, beside the head's own part. */
static void set_limits(struct reserve *reserve, struct fleet *fleet, const struct grant *plan)
{
    struct fleet_site *site = &fleet->sites[plan->site];

    MEM_GROW(reserve->limits, reserve->limits_cap, plan->parts_count);
    reserve->limits_count = plan->parts_count;
    for (uint32_t i = 0; i < plan->parts_count; i++) {
        const struct grant_part *part = &plan->parts[i];
        const struct fleet_node *node = &site->nodes[part->node];
        struct fleet_limit *limit = &reserve->limits[i];

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
    for (uint32_t i = 0; i < plan->parts_count; i++)
        site->nodes[plan->parts[i].node].limit = &reserve->limits[i];
}

void reserve_plan(struct reserve *reserve, struct shape *shape, struct fleet *fleet,
                  const struct objective *objective, struct fit *fit, int64_t now_ms)
{
    const struct candidate *candidates;
    int64_t best_ms = -1;
    uint32_t count, best = 0;
    struct shadow shadow;
    struct grant *plan;

    reserve_clear(reserve, fleet);
    reserve->is_planned = true;
    list_grants(&reserve->lists, fleet);
    candidates = shape_candidates(shape, fleet, objective, &count);
    for (uint32_t i = 0; i < count; i++) {
        shadow = run_ahead(shape, fleet, candidates[i].site, candidates[i].chip, &reserve->lists,
                           best_ms, fit, now_ms);
        take_again(fleet, reserve->lists.order, &shadow);
        if (shadow.start_ms >= 0 && (best_ms < 0 || shadow.start_ms < best_ms)) {
            best_ms = shadow.start_ms;
            best = i;
        }
    }
    if (best_ms < 0)
        return;
    shadow = run_ahead(shape, fleet, candidates[best].site, candidates[best].chip, &reserve->lists,
                       -1, fit, now_ms);
    plan = fit_grant(shape, fleet, fit, FIT_NOW);
    set_limits(reserve, fleet, plan);
    grant_destroy(plan);
    take_again(fleet, reserve->lists.order, &shadow);
    reserve->start_ms = shadow.start_ms;
    reserve->site = candidates[best].site;
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
