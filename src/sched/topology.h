/* topology.h - gangs whose nodes must, or should, have a rack, a supernode, a pool or a node in
 * common, and gangs that are spread.
 *
 * A site labels its nodes (node_info.rack, .supernode); nodes with the same label are a domain; a
 * node without one is in no domain of that level. The tightest level that holds the gang is taken
 * (node, then rack, then supernode, then pool, up to the one that is asked for), in it the domain
 * with the least room left that does. Hard: there or nowhere. Else anywhere at the site.
 *
 * Exact: each domain's room is what its nodes hold together. The unused devices of each domain are
 * kept along with each grant, so that a full one costs one comparison; the others cost a look at
 * their nodes. Sites without labels, and shapes that ask for nothing of it, cost nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DOMAIN_LEVELS 2u /* racks, supernodes */

struct domain_level {
    uint32_t count;
    uint32_t *of;    /* node -> domain, UINT32_MAX = none */
    uint32_t *nodes; /* by domain, then ascending */
    uint32_t *first; /* domain -> place in nodes; count + 1 of them */
    uint64_t *whole; /* unused devices */
};
struct domains {
    struct domain_level levels[DOMAIN_LEVELS];
    bool any;
};

struct fit;
struct fleet;
struct fleet_site;
struct grant_part;
struct shape;

/* From nothing, by the nodes' labels. */
void domains_build(struct domains *domains, const struct fleet_site *site);
void domains_fini(struct domains *domains);
/* The node has so many unused devices now, and had `was`. */
static inline void domains_move(struct domains *domains, uint32_t node, uint32_t was, uint32_t now)
{
    if (!domains->any)
        return;
    for (uint32_t l = 0; l < DOMAIN_LEVELS; l++)
        if (domains->levels[l].count && domains->levels[l].of[node] != UINT32_MAX)
            domains->levels[l].whole[domains->levels[l].of[node]] += (uint64_t)now - was;
}
bool domains_are_sound(const struct domains *domains, const struct fleet_site *site);

/* As fit_candidate, for a shape that asks for topology. */
bool topology_fit(const struct shape *shape, const struct fleet *fleet, uint32_t site,
                  uint16_t chip, unsigned when, struct fit *fit);
/* The most tasks (at most the shape's own) that fit in one domain of the level asked for. */
uint64_t topology_most(const struct shape *shape, const struct fleet_site *site, uint16_t chip,
                       unsigned when);
/* Is a place that was found some time ago still in one domain of the level asked for? */
bool topology_holds(const struct shape *shape, const struct fleet_site *site,
                    const struct grant_part *parts, uint32_t count);
const char *topology_name(uint32_t level); /* "rack" */
