#include "sched/topology.h"

#include "sched/fit.h"
#include "sched/intern.h"
#include "sched/mem.h"

#include <stdlib.h>
#include <string.h>

const char *topology_name(uint32_t level)
{
    static const char *const names[] = { [TOPOLOGY_ANY] = "site",
                                         [TOPOLOGY_NODE] = "node",
                                         [TOPOLOGY_RACK] = "rack",
                                         [TOPOLOGY_SUPERNODE] = "supernode",
                                         [TOPOLOGY_POOL] = "pool" };

    return names[level];
}

/* --- domains -------------------------------------------------------------------------------- */

static void level_fini(struct domain_level *level)
{
    free(level->of);
    free(level->nodes);
    free(level->first);
    free(level->whole);
    *level = (struct domain_level){ 0 };
}

void domains_fini(struct domains *domains)
{
    for (uint32_t l = 0; l < DOMAIN_LEVELS; l++)
        level_fini(&domains->levels[l]);
    domains->any = false;
}

static const char *label(const struct node_info *node, uint32_t l)
{
    return l == 0 ? node->rack : node->supernode;
}

/* Domains are numbered by their first node. */
static void build_level(struct domain_level *level, const struct fleet_site *site, uint32_t l)
{
    uint32_t nodes_count = site->info.nodes_count, *at;
    struct intern names = { 0 };

    level->of = mem_alloc(nodes_count, sizeof(*level->of));
    for (uint32_t i = 0; i < nodes_count; i++) {
        uint32_t number = intern_text(&names, label(&site->info.nodes[i], l));

        level->of[i] = number - 1; /* none: UINT32_MAX */
    }
    level->count = names.live_count;
    intern_fini(&names);
    if (!level->count) {
        level_fini(level);
        return;
    }
    level->nodes = mem_alloc(nodes_count, sizeof(*level->nodes));
    level->first = mem_alloc(level->count + 1, sizeof(*level->first));
    level->whole = mem_alloc(level->count, sizeof(*level->whole));
    at = mem_alloc(level->count, sizeof(*at));
    for (uint32_t i = 0; i < nodes_count; i++)
        if (level->of[i] != UINT32_MAX) {
            level->first[level->of[i] + 1]++;
            level->whole[level->of[i]] += site->nodes[i].devices_whole;
        }
    for (uint32_t d = 0; d < level->count; d++) {
        level->first[d + 1] += level->first[d];
        at[d] = level->first[d];
    }
    for (uint32_t i = 0; i < nodes_count; i++)
        if (level->of[i] != UINT32_MAX)
            level->nodes[at[level->of[i]]++] = i;
    free(at);
}

void domains_build(struct domains *domains, const struct fleet_site *site)
{
    bool any = false;

    domains_fini(domains);
    for (uint32_t i = 0; i < site->info.nodes_count && !any; i++)
        any = site->info.nodes[i].rack[0] || site->info.nodes[i].supernode[0];
    if (!any)
        return;
    for (uint32_t l = 0; l < DOMAIN_LEVELS; l++)
        build_level(&domains->levels[l], site, l);
    domains->any = true;
}

bool domains_are_sound(const struct domains *domains, const struct fleet_site *site)
{
    for (uint32_t l = 0; l < DOMAIN_LEVELS; l++) {
        const struct domain_level *level = &domains->levels[l];

        for (uint32_t d = 0; d < level->count; d++) {
            uint64_t whole = 0;

            for (uint32_t i = level->first[d]; i < level->first[d + 1]; i++)
                whole += site->nodes[level->nodes[i]].devices_whole;
            if (whole != level->whole[d])
                return false;
        }
    }
    return true;
}

/* --- fit ------------------------------------------------------------------------------------ */

struct group { /* nodes that may share a gang; `nodes` NULL: all of the site */
    const uint32_t *nodes;
    uint32_t count;
    uint64_t whole; /* unused devices; UINT64_MAX = not known */
};

static uint32_t groups_count(const struct fleet_site *site, uint32_t level)
{
    if (level == TOPOLOGY_POOL)
        return site->room.pools_count;
    return site->domains.levels[level - TOPOLOGY_RACK].count;
}

static struct group group_at(const struct fleet_site *site, uint32_t level, uint32_t index)
{
    const struct domain_level *domains;

    if (level == TOPOLOGY_POOL)
        return (struct group){ site->room.pools[index].nodes, site->room.pools[index].nodes_count,
                               UINT64_MAX };
    domains = &site->domains.levels[level - TOPOLOGY_RACK];
    return (struct group){ domains->nodes + domains->first[index],
                           domains->first[index + 1] - domains->first[index],
                           domains->whole[index] };
}

/* How many tasks its nodes hold together; 0 when they surely do not hold all. */
static uint64_t tasks_of(const struct shape *shape, const struct fleet_site *site,
                         const struct group *group, uint16_t chip, enum fit_when when)
{
    bool is_now = when == FIT_NOW || when == FIT_LIMITED;
    uint64_t sum = 0;

    if (is_now && shape->devices_milli >= 1000 &&
        group->whole < (uint64_t)shape->tasks * (shape->devices_milli / 1000))
        return 0;
    for (uint32_t i = 0; i < group->count; i++) {
        uint32_t node = group->nodes ? group->nodes[i] : i;

        sum += fit_tasks(shape, site, &site->nodes[node], chip, when);
    }
    return sum;
}

/* With at most so many on a node as still lets all find a place. */
static uint32_t least_per_node(const struct shape *shape, const struct fleet_site *site,
                               const struct group *group, uint16_t chip, enum fit_when when)
{
    uint32_t most = shape->tasks_per_node ? MIN(shape->tasks_per_node, shape->tasks) : shape->tasks;
    struct shape capped = *shape;
    uint32_t low = (shape->tasks + GRANT_PARTS_MAX - 1) / GRANT_PARTS_MAX;

    while (low < most) {
        capped.tasks_per_node = low + (most - low) / 2;
        if (tasks_of(&capped, site, group, chip, when) >= shape->tasks)
            most = capped.tasks_per_node;
        else
            low = capped.tasks_per_node + 1;
    }
    return most;
}

static bool place(const struct shape *shape, const struct fleet_site *site,
                  const struct group *group, uint16_t chip, enum fit_when when, struct fit *fit)
{
    struct shape capped;

    if (!shape->spread)
        return fit_among(shape, site, chip, when, group->nodes, group->count, fit);
    capped = *shape;
    capped.tasks_per_node = least_per_node(shape, site, group, chip, when);
    return fit_among(&capped, site, chip, when, group->nodes, group->count, fit);
}

/* In the domain of the level that holds it all and is nearest to full. */
static bool fit_level(const struct shape *shape, const struct fleet_site *site, uint32_t level,
                      uint16_t chip, enum fit_when when, struct fit *fit)
{
    struct group best = { 0 };
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < groups_count(site, level); i++) {
        struct group group = group_at(site, level, i);
        uint64_t tasks = tasks_of(shape, site, &group, chip, when);

        if (tasks >= shape->tasks && tasks < least) {
            least = tasks;
            best = group;
        }
    }
    return best.count && place(shape, site, &best, chip, when, fit);
}

static bool fit_node(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                     enum fit_when when, struct fit *fit)
{
    struct shape alone = *shape;

    alone.tasks_per_node = shape->tasks; /* `per_node` below it: not on one node, then */
    if (shape->tasks_per_node && shape->tasks_per_node < shape->tasks)
        return false;
    return fit_among_one(&alone, site, chip, when, fit);
}

static uint32_t pool_of(const struct fleet_site *site, uint32_t node)
{
    for (uint32_t p = 0; p < site->room.pools_count; p++)
        for (uint32_t i = 0; i < site->room.pools[p].nodes_count; i++)
            if (site->room.pools[p].nodes[i] == node)
                return p;
    return UINT32_MAX;
}

/* Of two nodes: are they in one rack, supernode or pool? */
static bool is_beside(const struct fleet_site *site, uint32_t level, uint32_t a, uint32_t b)
{
    const struct node_info *first = &site->info.nodes[a], *second = &site->info.nodes[b];
    const char *name = level == TOPOLOGY_RACK ? first->rack : first->supernode;

    if (level == TOPOLOGY_POOL)
        return pool_of(site, a) == pool_of(site, b) && pool_of(site, a) != UINT32_MAX;
    return name[0] && strcmp(name, level == TOPOLOGY_RACK ? second->rack : second->supernode) == 0;
}

/* Labels need not nest: a rack may reach over two supernodes, or hold nodes of two pools. What was
 * found at a tighter level counts only if it is within the one that is asked for as well. */
static bool is_within(const struct shape *shape, const struct fleet_site *site, uint32_t level,
                      const struct fit *fit)
{
    if (level == shape->within || fit->parts_count < 2 || !shape->within_hard)
        return true;
    for (uint32_t i = 1; i < fit->parts_count; i++)
        if (!is_beside(site, shape->within, fit->parts[0].node, fit->parts[i].node))
            return false;
    return true;
}

bool topology_fit(const struct shape *shape, const struct fleet *fleet, uint32_t site,
                  uint16_t chip, unsigned when, struct fit *fit)
{
    const struct fleet_site *at = &fleet->sites[site];
    struct group all = { NULL, at->info.nodes_count, UINT64_MAX };

    fit->site = site;
    fit->chip = chip;
    fit->parts_count = fit->share_room = 0;
    for (uint32_t level = shape->spread ? shape->within : TOPOLOGY_NODE;
         level && level <= shape->within; level++) {
        if ((level == TOPOLOGY_NODE ? fit_node(shape, at, chip, when, fit)
                                    : fit_level(shape, at, level, chip, when, fit)) &&
            is_within(shape, at, level, fit))
            return true;
    }
    if (shape->within_hard)
        return false;
    return tasks_of(shape, at, &all, chip, when) >= shape->tasks &&
           place(shape, at, &all, chip, when, fit);
}

uint64_t topology_most(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                       unsigned when)
{
    uint64_t most = 0;

    /* A node is in one domain with itself, labels or not. */
    for (uint32_t i = 0; i < site->info.nodes_count; i++)
        most = MAX(most, fit_tasks(shape, site, &site->nodes[i], chip, when));
    for (uint32_t i = 0; shape->within > TOPOLOGY_NODE && i < groups_count(site, shape->within);
         i++) {
        struct group group = group_at(site, shape->within, i);

        group.whole = UINT64_MAX;
        most = MAX(most, tasks_of(shape, site, &group, chip, when));
    }
    return MIN(most, shape->tasks);
}

bool topology_holds(const struct shape *shape, const struct fleet_site *site,
                    const struct grant_part *parts, uint32_t count)
{
    if (!shape->within_hard || count < 2 || shape->within == TOPOLOGY_ANY)
        return true;
    if (shape->within == TOPOLOGY_NODE)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!is_beside(site, shape->within, parts[0].node, parts[i].node))
            return false;
    return true;
}
