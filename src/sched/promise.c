#include "sched/promise.h"

#include "sched/mem.h"
#include "sched/owner.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool is_under_way(const struct promise *promise, int64_t at_ms)
{
    return promise->start_ms <= at_ms && at_ms < promise->end_ms;
}

static const struct grant_part *part_of(const struct fleet_limit *limit)
{
    return &limit->of->plan->parts[limit - limit->of->limits];
}

/* What the node has, less the promises that are then under way. */
static void set_limit(const struct promise *promise, struct fleet_limit *limit,
                      const struct fleet_node *node)
{
    struct fleet_limit *next = limit->next;

    *limit = (struct fleet_limit){ .next = next,
                                   .of = promise,
                                   .window = limit->window,
                                   .is_always = promise->is_hold,
                                   .lets_lent = !promise->is_claim,
                                   .start_ms = promise->start_ms,
                                   .cpus = node->cpus,
                                   .memory_bytes = node->memory_bytes,
                                   .disk_bytes = node->disk_bytes };
    for (uint32_t d = 0; d < node->devices_count; d++)
        limit->devices_milli[d] = 1000;
    for (const struct fleet_limit *other = node->limits; other; other = other->next)
        if (other->of != promise && is_under_way(other->of, promise->start_ms))
            fleet_limit_take(limit, part_of(other), false);
    fleet_limit_take(limit, part_of(limit), false);
}

/* A hold looks at the moment at which what it waits for has ended: the fleet is as it then is. */
static void take_running(struct promise *promise, const struct fleet *fleet)
{
    const struct fleet_site *site = &fleet->sites[promise->plan->site];

    for (uint32_t i = 0; i < promise->plan->parts_count; i++) {
        const struct fleet_node *node = &site->nodes[promise->plan->parts[i].node];
        struct fleet_limit *limit = &promise->limits[i];

        for (const struct grant_part *part = node->parts; part && !promise->is_hold;
             part = part->next)
            if (part->of->end_ms > promise->start_ms && !fleet_is_lent(node, part->of))
                fleet_limit_take(limit, part, false);
        if (!promise->is_hold)
            continue;
        limit->cpus -= node->cpus_used;
        limit->memory_bytes -= node->memory_used;
        limit->disk_bytes -= node->disk_used;
        for (uint32_t d = 0; d < node->devices_count; d++)
            limit->devices_milli[d] -= node->devices[d].used_milli;
    }
}

static void link_limit(struct fleet_node *node, struct fleet_limit *limit)
{
    struct fleet_limit **at = &node->limits;

    while (*at && (*at)->start_ms < limit->start_ms)
        at = &(*at)->next;
    limit->next = *at;
    *at = limit;
}

static void unlink_limit(struct fleet_node *node, struct fleet_limit *limit)
{
    struct fleet_limit **at = &node->limits;

    while (*at != limit)
        at = &(*at)->next;
    *at = limit->next;
}

/* The promises that begin while this one is under way have less over, or more again. */
static void change_others(const struct promise *promise, struct fleet *fleet, bool give_back)
{
    struct fleet_site *site = &fleet->sites[promise->plan->site];

    for (uint32_t i = 0; !promise->is_hold && i < promise->plan->parts_count; i++) {
        const struct grant_part *part = &promise->plan->parts[i];

        for (struct fleet_limit *limit = site->nodes[part->node].limits; limit;
             limit = limit->next) {
            if (limit->of == promise ||
                !(limit->is_always || is_under_way(promise, limit->start_ms)))
                continue;
            if (fleet_limit_take(limit, part, give_back))
                fleet->is_overpromised = true;
        }
    }
}

void promise_set(struct promise *promise, struct fleet *fleet)
{
    struct fleet_site *site = &fleet->sites[promise->plan->site];
    const struct grant *plan = promise->plan;

    assert(!promise->is_set);
    if (!promise->limits)
        promise->limits = mem_alloc(plan->parts_count, sizeof(*promise->limits));
    change_others(promise, fleet, false);
    for (uint32_t i = 0; i < plan->parts_count; i++) {
        struct fleet_limit *limit = &promise->limits[i];
        struct fleet_node *node = &site->nodes[plan->parts[i].node];

        limit->of = promise;
        limit->window = &fleet->window;
        set_limit(promise, limit, node);
        link_limit(node, limit);
        if (plan->apart)
            apart_promise(&site->marks, plan->apart, plan->parts[i].node, limit);
        room_set_apart(&site->room, site, plan->parts[i].node, true);
    }
    take_running(promise, fleet);
    for (uint32_t i = 0; !promise->is_hold && i < plan->parts_count; i++)
        if (fleet_limit_is_broken(&promise->limits[i]))
            fleet->is_overpromised = true;
    MEM_GROW(fleet->promises, fleet->promises_cap, fleet->promises_count + 1);
    fleet->promises[fleet->promises_count++] = promise;
    promise->is_set = true;
}

void promise_touch(const struct promise *promise, struct fleet *fleet)
{
    if (!promise->plan)
        return;
    kinds_touch_grant(fleet, promise->plan, false);
    if (promise->plan->apart)
        kinds_touch_site(fleet, promise->plan->site);
    fleet_own_room(fleet, promise->plan);
    fleet->limit_version++;
}

void promise_lift(struct promise *promise, struct fleet *fleet)
{
    struct fleet_site *site;
    uint32_t at = 0;

    if (!promise->is_set)
        return;
    site = &fleet->sites[promise->plan->site];
    for (uint32_t i = 0; i < promise->plan->parts_count; i++) {
        uint32_t node = promise->plan->parts[i].node;

        unlink_limit(&site->nodes[node], &promise->limits[i]);
        if (promise->plan->apart)
            apart_unpromise(&site->marks, &promise->limits[i]);
        if (!site->nodes[node].limits)
            room_set_apart(&site->room, site, node, false);
    }
    change_others(promise, fleet, true);
    while (fleet->promises[at] != promise)
        at++;
    fleet->promises[at] = fleet->promises[--fleet->promises_count];
    promise->is_set = false;
}

void promise_unset(struct promise *promise, struct fleet *fleet)
{
    if (!promise->is_set)
        return;
    promise_lift(promise, fleet);
    promise_touch(promise, fleet);
}

void promise_clear(struct promise *promise, struct fleet *fleet)
{
    promise_unset(promise, fleet);
    grant_destroy(promise->plan);
    free(promise->limits);
    promise->plan = NULL;
    promise->limits = NULL;
    promise->start_ms = INT64_MAX;
    promise->end_ms = INT64_MAX;
}

bool promise_is_sound(const struct promise *promise, const struct fleet *fleet)
{
    const struct grant *plan = promise->plan;
    const struct fleet_site *site = &fleet->sites[plan->site];

    if (!owner_is_expected(site))
        return false;
    for (uint32_t i = 0; i < plan->parts_count; i++) {
        const struct fleet_node *node = &site->nodes[plan->parts[i].node];

        if (!node_is_open(node) || fleet_limit_is_broken(&promise->limits[i]))
            return false;
        for (uint32_t d = 0; d < plan->parts[i].devices_count; d++) {
            uint32_t index = plan->parts[i].devices[d].index;

            if (index >= node->devices_count || !device_is_usable(&node->devices[index]) ||
                (promise->chip != FLEET_MIXED && node->devices[index].chip != promise->chip))
                return false;
        }
    }
    return true;
}

bool promise_limits_are_sound(const struct promise *promise, const struct fleet *fleet)
{
    const struct grant *plan = promise->plan;
    const struct fleet_site *site = &fleet->sites[plan->site];
    bool is_sound = promise->is_set;

    for (uint32_t i = 0; i < plan->parts_count && is_sound; i++) {
        const struct fleet_limit *limit = &promise->limits[i];
        struct fleet_limit anew = { .window = limit->window };

        anew.cpus = site->nodes[plan->parts[i].node].cpus;
        anew.memory_bytes = site->nodes[plan->parts[i].node].memory_bytes;
        anew.disk_bytes = site->nodes[plan->parts[i].node].disk_bytes;
        for (uint32_t d = 0; d < site->nodes[plan->parts[i].node].devices_count; d++)
            anew.devices_milli[d] = 1000;
        for (const struct fleet_limit *other = site->nodes[plan->parts[i].node].limits; other;
             other = other->next)
            if (is_under_way(other->of, promise->start_ms))
                fleet_limit_take(&anew, part_of(other), false);
        for (uint32_t g = 0; g < site->ends.count; g++)
            for (uint32_t k = 0; k < site->ends.heap[g]->parts_count; k++)
                if (site->ends.heap[g]->end_ms > promise->start_ms &&
                    !fleet_is_lent(&site->nodes[plan->parts[i].node], site->ends.heap[g]) &&
                    site->ends.heap[g]->parts[k].node == plan->parts[i].node)
                    fleet_limit_take(&anew, &site->ends.heap[g]->parts[k], false);
        is_sound =
            anew.cpus == limit->cpus && anew.memory_bytes == limit->memory_bytes &&
            anew.disk_bytes == limit->disk_bytes &&
            memcmp(anew.devices_milli, limit->devices_milli, sizeof(anew.devices_milli)) == 0;
    }
    return is_sound;
}

int64_t promise_horizon(const struct fleet *fleet, int64_t until_ms)
{
    int64_t last_ms = INT64_MIN;

    for (uint32_t i = 0; i < fleet->promises_count; i++)
        if (fleet->promises[i]->start_ms < until_ms && fleet->promises[i]->start_ms > last_ms)
            last_ms = fleet->promises[i]->start_ms;
    return last_ms == INT64_MIN ? 0 : last_ms + 1;
}
