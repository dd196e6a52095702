/* Nodes that stand by beside a gang: held and billed with it, as the last parts of its grant, and
 * nothing runs there until one of its nodes fails or is closed. Then its attempt goes on from its
 * checkpoint on what is left and a spare, in the same step (elastic_resume), with as many spare
 * nodes as there are then. Spare nodes that are missing, or closed, are replaced by what is free as
 * a pass begins, before anybody in line has it; beside what is promised. The grant tells what of
 * its time they were not held.
 *
 * Nobody plans with the nodes of such a gang: its end counts as not known, since it may begin
 * again. */
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/topology.h"

#include <stdlib.h>

uint32_t standby_wanted(const struct grid *grid, const struct job *job, const struct grant *grant)
{
    const struct spares_params params = spares_params_default();
    const struct spares_nodes none = { 0 };
    const struct spares_work unknown = { 0 };
    uint32_t spares = job_terms(grid, job)->spares, site = grant->site;

    if (spares == REQUEST_SPARES_AUTO)
        spares = spares_plan_gang(&params,
                                  site < grid->site_faults_cap ? &grid->site_faults[site] : &none,
                                  job->past ? &job->past->saves : &unknown, grant->parts_count)
                     .spares;
    return MIN(MIN(spares, REQUEST_SPARES_MAX), GRANT_PARTS_MAX - grant->parts_count);
}

/* May its tenant have so many tasks held for it, of which those of the grant may be by now? */
static bool is_paid(struct grid *grid, const struct job *job, const struct grant *grant,
                    uint64_t tasks)
{
    const struct shape *shape = job_shape(grid, job);
    uint64_t cpus = tasks * shape->cpus, devices_milli = tasks * shape->devices_milli;
    int64_t left_micro = budget_left(grid, job->tenant);
    enum hold hold;

    if (grant == job->grant) {
        cpus -= grant->cpus;
        devices_milli -= grant->devices_milli;
        left_micro += left_micro < INT64_MAX ? job->reserved_micro : 0;
    }
    return !pass_full_for(grid, job, cpus, devices_milli, &hold) &&
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

/* Into fit.parts, behind those of the gang: nodes with room for as much as any node of it holds. */
static void find_nodes(struct grid *grid, const struct job *job, const struct grant *grant,
                       uint32_t wanted, enum fit_when when, struct fit *fit)
{
    const struct shape *shape = job_shape(grid, job);
    const struct fleet_site *site = &grid->fleet.sites[grant->site];
    bool *is_taken = mem_alloc(site->info.nodes_count + 1, sizeof(*is_taken));
    uint64_t tasks = 0;
    uint32_t each = 0;

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        is_taken[grant->parts[i].node] = true;
        each = MAX(each, grant->parts[i].tasks);
        tasks += grant->parts[i].tasks;
    }
    for (uint32_t n = 0; n < site->info.nodes_count && wanted; n++) {
        if (is_taken[n] || !node_is_open(&site->nodes[n]) ||
            fit_tasks(shape, site, &site->nodes[n], fit->chip, when) < each ||
            !is_in_domain(shape, site, grant, n))
            continue;
        tasks += each;
        if (!is_paid(grid, job, grant, tasks))
            break;
        fit->parts[fit->parts_count++] = (struct fit_part){ n, each, 0 };
        wanted--;
    }
    free(is_taken);
}

static bool is_possible(const struct grid *grid, const struct job *job, const struct grant *grant)
{
    const struct shape *shape = job_shape(grid, job);

    return !shape->mixed && !grid->fleet.sites[grant->site].power.is_capped &&
           shape->within != TOPOLOGY_NODE;
}

struct grant *standby_add(struct grid *grid, const struct job *job, struct grant *grant,
                          enum fit_when when)
{
    uint32_t wanted = standby_wanted(grid, job, grant);
    struct fit fit = { .site = grant->site, .chip = grid->fit.chip };
    struct grant *both = grant;

    if (!wanted || !is_possible(grid, job, grant))
        return grant;
    fit.parts = mem_alloc(grant->parts_count + wanted, sizeof(*fit.parts));
    for (uint32_t i = 0; i < grant->parts_count; i++)
        fit.parts[fit.parts_count++] =
            (struct fit_part){ grant->parts[i].node, grant->parts[i].tasks, 0 };
    find_nodes(grid, job, grant, wanted, when, &fit);
    if (fit.parts_count > grant->parts_count) {
        both = fit_grant(job_shape(grid, job), &grid->fleet, &fit, when);
        both->spares_count = fit.parts_count - grant->parts_count;
        grant_destroy(grant);
    }
    both->spares_wanted = wanted;
    free(fit.parts);
    return both;
}

/* --- while it runs ----------------------------------------------------------------------------
 */

static void add_part(struct grant *to, struct grant_device **devices, const struct grant_part *part)
{
    struct grant_part *copy = &to->parts[to->parts_count++];

    *copy = *part;
    copy->prev = copy->next = NULL;
    copy->of = NULL;
    copy->devices = *devices;
    for (uint32_t d = 0; d < part->devices_count; d++) {
        (*devices)[d] = part->devices[d];
        to->devices_milli += part->devices[d].milli;
    }
    *devices += part->devices_count;
    to->cpus += part->cpus;
}

/* What it holds, less spare nodes that are closed, and with those of `more` (NULL = none). What it
 * has not held all the time, or no longer, is told beside. */
static struct grant *changed(const struct grid *grid, const struct grant *old,
                             const struct grant *more)
{
    const struct fleet_site *site = &grid->fleet.sites[old->site];
    uint32_t gang = old->parts_count - old->spares_count, devices_count = 0;
    int64_t held_ms = grid->now_ms - old->granted_ms;
    struct grant_device *devices;
    struct grant *grant;

    for (uint32_t i = 0; i < old->parts_count; i++)
        devices_count += old->parts[i].devices_count;
    for (uint32_t i = 0; more && i < more->parts_count; i++)
        devices_count += more->parts[i].devices_count;
    grant =
        grant_create(old->parts_count + (more ? more->parts_count : 0), devices_count, &devices);
    grant->parts_count = 0;
    grant->site = old->site;
    grant->guard = old->guard;
    grant->lends = old->lends;
    for (uint32_t i = 0; i < old->parts_count; i++)
        if (i < gang || node_is_open(&site->nodes[old->parts[i].node]))
            add_part(grant, &devices, &old->parts[i]);
    for (uint32_t i = 0; more && i < more->parts_count; i++)
        add_part(grant, &devices, &more->parts[i]);
    grant->spares_count = grant->parts_count - gang;
    grant->spares_wanted = old->spares_wanted;
    grant->cpu_ms_more = old->cpu_ms_more + ((int64_t)old->cpus - (int64_t)grant->cpus) * held_ms;
    grant->device_milli_ms_more =
        old->device_milli_ms_more +
        ((int64_t)old->devices_milli - (int64_t)grant->devices_milli) * held_ms;
    grant_set_apart(grant, old->apart);
    return grant;
}

static void replenish(struct grid *grid, struct job *job)
{
    const struct grant *old = job->grant;
    const struct fleet_site *site = &grid->fleet.sites[old->site];
    uint32_t open = 0, missing;
    struct fit fit = { .site = old->site, .chip = fleet_grant_chip(&grid->fleet, old) };
    struct grant *more = NULL;

    for (uint32_t i = old->parts_count - old->spares_count; i < old->parts_count; i++)
        open += node_is_open(&site->nodes[old->parts[i].node]);
    missing = old->spares_wanted > open ? old->spares_wanted - open : 0;
    missing = MIN(missing, GRANT_PARTS_MAX - old->parts_count);
    if (!missing || !is_possible(grid, job, old))
        return;
    fit.parts = mem_alloc(missing, sizeof(*fit.parts));
    find_nodes(grid, job, old, missing, FIT_LIMITED, &fit);
    if (fit.parts_count)
        more = fit_grant(job_shape(grid, job), &grid->fleet, &fit, FIT_LIMITED);
    if (more || open < old->spares_count) {
        attempt_swap(grid, job, changed(grid, old, more));
        grid_emit(grid, EFFECT_JOB_CHANGED, job);
    }
    grant_destroy(more);
    free(fit.parts);
}

void standby_replenish(struct grid *grid)
{
    uint64_t *ids = mem_alloc(grid->standby_grants, sizeof(*ids));
    struct fleet_window window = grid->fleet.window;
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->fleet.grants_count; i++) {
        const struct grant *grant = grid->fleet.grants[i];
        const struct job *job = grant->spares_wanted ? grid_job(grid, grant->job_id) : NULL;

        if (job && (job->state == JOB_STARTING || job->state == JOB_RUNNING) &&
            grid->fleet.sites[grant->site].reachable)
            ids[count++] = grant->job_id;
    }
    ids_sort(ids, count);
    grid->fleet.window = (struct fleet_window){ INT64_MIN, INT64_MAX, false };
    for (uint32_t i = 0; i < count; i++)
        replenish(grid, grid_job(grid, ids[i]));
    grid->fleet.window = window;
    free(ids);
}
