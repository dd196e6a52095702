/* Nodes that stand by beside a gang: held and billed with it, as the last parts of its grant, and
 * nothing runs there until one of its nodes fails or is closed. Then its attempt goes on from its
 * checkpoint on what is left and a spare, in the same step (elastic_resume), with as many spare
 * nodes as there are then.
 *
 * Nobody plans with the nodes of such a gang: its end counts as not known, since it may begin
 * again. */
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/topology.h"

#include <stdlib.h>

uint32_t standby_wanted(const struct grid *grid, const struct job *job, uint32_t site,
                        uint32_t nodes)
{
    const struct spares_params params = spares_params_default();
    const struct spares_nodes none = { 0 };
    const struct spares_work unknown = { 0 };
    uint32_t spares = job_terms(grid, job)->spares;

    if (spares == REQUEST_SPARES_AUTO)
        spares = spares_plan_gang(&params,
                                  site < grid->site_faults_cap ? &grid->site_faults[site] : &none,
                                  job->past ? &job->past->saves : &unknown, nodes)
                     .spares;
    return MIN(spares, REQUEST_SPARES_MAX);
}

static bool is_paid(struct grid *grid, const struct job *job, uint64_t tasks)
{
    const struct shape *shape = job_shape(grid, job);
    int64_t left_micro = budget_left(grid, job->tenant);
    enum hold hold;

    return !pass_full_for(grid, job, tasks * shape->cpus, tasks * shape->devices_milli, &hold) &&
           (left_micro == INT64_MAX || budget_price_of(grid, job, tasks) <= left_micro);
}

static bool is_in_domain(const struct shape *shape, const struct fleet_site *site,
                         const struct grant *grant, uint32_t node)
{
    struct grant_part two[2];

    if (!shape->within_hard)
        return true;
    two[0] = grant->parts[0];
    two[1] = grant->parts[0];
    two[1].node = node;
    return topology_holds(shape, site, two, 2);
}

struct grant *standby_add(struct grid *grid, const struct job *job, struct grant *grant,
                          enum fit_when when)
{
    const struct shape *shape = job_shape(grid, job);
    const struct fleet_site *site = &grid->fleet.sites[grant->site];
    uint32_t wanted = standby_wanted(grid, job, grant->site, grant->parts_count), each = 0;
    bool *is_taken = mem_alloc(site->info.nodes_count + 1, sizeof(*is_taken));
    struct fit fit = { .site = grant->site, .chip = grid->fit.chip };
    struct grant *both;

    fit.parts = mem_alloc(grant->parts_count + wanted + 1, sizeof(*fit.parts));
    for (uint32_t i = 0; i < grant->parts_count; i++) {
        is_taken[grant->parts[i].node] = true;
        each = MAX(each, grant->parts[i].tasks);
        fit.parts[fit.parts_count++] =
            (struct fit_part){ grant->parts[i].node, grant->parts[i].tasks, 0 };
    }
    wanted = MIN(wanted, GRANT_PARTS_MAX - grant->parts_count);
    if (shape->mixed || site->power.is_capped || shape->within == TOPOLOGY_NODE)
        wanted = 0;
    for (uint32_t n = 0; n < site->info.nodes_count && wanted; n++) {
        uint32_t had = fit.parts_count - grant->parts_count;

        if (is_taken[n] || !node_is_open(&site->nodes[n]) ||
            fit_tasks(shape, site, &site->nodes[n], fit.chip, when) < each ||
            !is_in_domain(shape, site, grant, n))
            continue;
        if (!is_paid(grid, job, shape->tasks + (had + 1ull) * each))
            break;
        fit.parts[fit.parts_count++] = (struct fit_part){ n, each, 0 };
        wanted--;
    }
    both = grant;
    if (fit.parts_count > grant->parts_count) {
        both = fit_grant(shape, &grid->fleet, &fit, when);
        both->spares_count = fit.parts_count - grant->parts_count;
        grant_destroy(grant);
    }
    free(is_taken);
    free(fit.parts);
    return both;
}
