#include "grid/assigns.h"
#include "grid/freight.h"
#include "grid/guards.h"
#include "grid/owners.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BROKEN(...) err_set(err, -EINVAL, __VA_ARGS__)

struct sums { /* recomputed from the jobs */
    uint64_t states[JOB_STOPPING + 1];
    uint64_t cpus, devices_milli, cpu_ms, device_milli_ms, grants, waiting_units[2];
    uint64_t waiting_width[2];
    uint32_t yielding;
    struct tenant *tenants;
};

/* --- one job ---------------------------------------------------------------------------------- */

static int check_deps(const struct grid *grid, const struct job *job, struct err *err)
{
    uint32_t waiting = 0;

    for (uint32_t i = 0; i < job->deps->count; i++) {
        const struct job_dep *dep = &job->deps->list[i];
        uint32_t list;

        if (dep->met)
            continue;
        waiting++;
        if (dep_status(grid, dep->id, dep->kind) != DEP_WAITING)
            return BROKEN("job %" PRIu64 " waits for %" PRIu64 ", which is decided", job->item.id,
                          dep->id);
        list = intern_find(&grid->waited, &dep->id, sizeof(dep->id));
        if (!list || !bsearch(&job->item.id, grid->waiters[list].ids, grid->waiters[list].count,
                              sizeof(job->item.id), ids_compare))
            return BROKEN("nobody will tell job %" PRIu64 " that %" PRIu64 " has ended",
                          job->item.id, dep->id);
    }
    if (waiting != job->deps->waiting || (waiting && job->state != JOB_HELD))
        return BROKEN("job %" PRIu64 " waits for %u jobs, says %u", job->item.id, waiting,
                      job->deps->waiting);
    return 0;
}

/* Promised what it asked for: all tasks of it at one site, or its part of them (across_check). */
static int check_grant(const struct grid *grid, const struct job *job, const struct grant *grant,
                       struct err *err)
{
    const struct shape *shape = job_shape(grid, job);
    uint64_t tasks = 0, cpus = 0, devices_milli = 0;

    if (grant->job_id != job->item.id || (!job->across && grant->epoch != job->epoch) ||
        grant->slot >= grid->fleet.grants_count || grid->fleet.grants[grant->slot] != grant)
        return BROKEN("job %" PRIu64 " and what it holds do not agree", job->item.id);
    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        uint64_t milli = 0;

        for (uint32_t d = 0; d < part->devices_count; d++)
            milli += part->devices[d].milli;
        if (!part->tasks || part->cpus != part->tasks * shape->cpus ||
            part->memory_bytes != part->tasks * shape->memory_bytes ||
            part->disk_bytes != part->tasks * shape->disk_bytes ||
            milli != (uint64_t)part->tasks * shape->devices_milli ||
            (shape->tasks_per_node && part->tasks > shape->tasks_per_node))
            return BROKEN("job %" PRIu64 " does not hold what it asked for on node %u",
                          job->item.id, part->node);
        tasks += i < grant->parts_count - grant->spares_count ? part->tasks : 0;
        cpus += part->cpus;
        devices_milli += milli;
    }
    if ((!job->across && tasks != shape->tasks) || cpus != grant->cpus ||
        devices_milli != grant->devices_milli)
        return BROKEN("job %" PRIu64 " holds a part of its gang", job->item.id);
    if (grant->granted_ms > grid->now_ms)
        return BROKEN("job %" PRIu64 " holds since a time to come", job->item.id);
    return 0;
}

static int check_job(const struct grid *grid, const struct job *job, struct sums *sums,
                     struct err *err)
{
    struct tenant *tenant = &sums->tenants[job->tenant];
    bool queued = job->item.bucket != 0;
    int rc = 0;

    if (job->state > JOB_STOPPING)
        return BROKEN("job %" PRIu64 " has ended and is still there", job->item.id);
    if (queued != (job->state == JOB_QUEUED))
        return BROKEN("job %" PRIu64 " is %s and %s the queue", job->item.id,
                      job_state_name((enum job_state)job->state), queued ? "in" : "not in");
    if (job->across && !job->grant)
        return BROKEN("job %" PRIu64 " is over and has parts", job->item.id);
    if ((job->grant != NULL) != (job->state >= JOB_STARTING))
        return BROKEN("job %" PRIu64 " is %s and holds %s", job->item.id,
                      job_state_name((enum job_state)job->state), job->grant ? "nodes" : "nothing");
    if (queued) {
        struct queue_key key = job_queue_key(grid, job);

        if (memcmp(&grid->queue.buckets[job->item.bucket].key, &key, sizeof(key)) != 0)
            return BROKEN("job %" PRIu64 " waits in a wrong place", job->item.id);
    }
    rc = waits_check(grid, job, sums->waiting_units, sums->waiting_width, err);
    if (rc == 0)
        rc = elastic_check_job(grid, job, err);
    if (rc == 0)
        rc = owners_check_shapes(grid, job, err);
    if (rc == 0)
        rc = freight_check_shapes(grid, job, err);
    if (rc < 0)
        return rc;
    if (job->past && (job->past->ended_epoch > job->epoch ||
                      (job->past->saved && job->past->saved->epoch > job->epoch)))
        return BROKEN("job %" PRIu64 " has a checkpoint of an attempt to come", job->item.id);
    sums->states[job->state]++;
    tenant->jobs_live++;
    if (job->deps)
        rc = check_deps(grid, job, err);
    if (rc < 0 || !job->grant)
        return rc;
    for (const struct grant *grant = job_next_grant(job, NULL); grant && rc == 0;
         grant = job_next_grant(job, grant)) {
        uint64_t held_ms = (uint64_t)(grid->now_ms - grant->granted_ms);

        sums->grants++;
        sums->cpus += grant->cpus;
        sums->devices_milli += grant->devices_milli;
        sums->cpu_ms += grant->cpus * held_ms + (uint64_t)grant->cpu_ms_more;
        sums->device_milli_ms +=
            grant->devices_milli * held_ms + (uint64_t)grant->device_milli_ms_more;
        tenant->cpus_held += grant->cpus;
        tenant->devices_milli_held += grant->devices_milli;
        rc = check_grant(grid, job, grant, err);
    }
    if (rc == 0 && job->across)
        rc = across_check(grid, job, err);
    for (uint32_t at = job->tenant; at; at = grid->tenants[at].parent)
        sums->tenants[at].reserved_micro += job->reserved_micro;
    sums->yielding += job->yield_cause != YIELD_NONE;
    return rc;
}

/* --- all together ----------------------------------------------------------------------------- */

struct node_sums {
    uint64_t cpus, grants;
    int64_t memory_bytes, disk_bytes;
    uint64_t devices_milli[NODE_DEVICES_MAX];
};

static int check_nodes(const struct grid *grid, uint32_t s, struct err *err)
{
    const struct fleet_site *site = &grid->fleet.sites[s];
    struct node_sums *sums = mem_alloc(site->info.nodes_count, sizeof(*sums));
    int rc = 0;

    if (!domains_are_sound(&site->domains, site))
        return BROKEN("site %s: unused devices of its domains do not add up", site->info.name);
    if (!kinds_are_sound(site))
        rc = BROKEN("site %s: unused devices of its chips do not add up", site->info.name);
    if (!room_is_sound(&site->room, site))
        rc = BROKEN("site %s: the index of its nodes is wrong", site->info.name);
    for (uint32_t i = 0; i < grid->fleet.grants_count; i++) {
        const struct grant *grant = grid->fleet.grants[i];

        for (uint32_t k = 0; grant->site == s && k < grant->parts_count; k++) {
            struct node_sums *sum = &sums[grant->parts[k].node];

            sum->cpus += grant->parts[k].cpus;
            sum->memory_bytes += grant->parts[k].memory_bytes;
            sum->disk_bytes += grant->parts[k].disk_bytes;
            sum->grants++;
            for (uint32_t d = 0; d < grant->parts[k].devices_count; d++)
                if (grant->parts[k].devices[d].index != FLEET_DEVICE_GONE)
                    sum->devices_milli[grant->parts[k].devices[d].index] +=
                        grant->parts[k].devices[d].milli;
        }
    }
    for (uint32_t i = 0; i < site->info.nodes_count && rc == 0; i++) {
        const struct fleet_node *node = &site->nodes[i];
        uint32_t parts = 0;

        for (const struct grant_part *part = node->parts; part; part = part->next)
            parts += part->node == i && part->of->site == s;
        if (parts != node->grants_count)
            rc = BROKEN("node %s: its list of grants is wrong", site->info.nodes[i].name);
        if (sums[i].cpus != node->cpus_used || sums[i].memory_bytes != node->memory_used ||
            sums[i].disk_bytes != node->disk_used || sums[i].grants != node->grants_count)
            rc = BROKEN("node %s: what is held is not what is counted", site->info.nodes[i].name);
        for (uint32_t d = 0; d < node->devices_count && rc == 0; d++)
            if (sums[i].devices_milli[d] != node->devices[d].used_milli ||
                sums[i].devices_milli[d] > 1000)
                rc = BROKEN("node %s: device %u is promised twice", site->info.nodes[i].name, d);
    }
    free(sums);
    return rc;
}

static int check_queue(const struct grid *grid, struct err *err)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < grid->queue.used_count; i++) {
        const struct queue_bucket *bucket = &grid->queue.buckets[grid->queue.used[i].number];
        uint32_t count = 0;

        for (const struct queue_item *item = bucket->first; item; item = item->next, count++) {
            if (grid_job(grid, item->id) != (const struct job *)item)
                return BROKEN("the queue holds %" PRIu64 ", which is no job", item->id);
            if (item->order_ms != job_order_ms(grid, (const struct job *)item))
                return BROKEN("job %" PRIu64 " stands by another time than its own", item->id);
            if (item->next && !queue_is_before(0, item, 0, item->next))
                return BROKEN("job %" PRIu64 " waits out of order", item->id);
        }
        if (!count || count != bucket->count)
            return BROKEN("a bucket of the queue counts %u, has %u", bucket->count, count);
        total += count;
    }
    if (total != grid->queue.count || total != grid->counts.queued)
        return BROKEN("%" PRIu64 " jobs are queued, counted are %" PRIu64, total,
                      grid->counts.queued);
    return 0;
}

static int check_array(const struct grid *grid, const struct array *array, struct err *err)
{
    uint32_t live = 0, active = 0, queued = 0;

    for (uint32_t i = 0; i < array->count; i++) {
        const struct job *job = grid_job(grid, array->id + 1 + i);

        live += job != NULL;
        active += job && job->grant;
        queued += job && job->state == JOB_QUEUED;
        if (job && (job->array != array || job->array_index != i))
            return BROKEN("job %" PRIu64 " does not know its array", job->item.id);
    }
    if (!live || live != array->live || active != array->active || queued != array->queued ||
        live + array->done + array->failed + array->cancelled != array->count)
        return BROKEN("array %" PRIu64 ": its elements do not add up", array->id);
    return 0;
}

static int check_arrays(const struct grid *grid, struct err *err)
{
    const struct array *array = grid_array_after(grid, 0);
    int rc = 0;

    for (; array && rc == 0; array = grid_array_after(grid, array->id))
        rc = check_array(grid, array, err);
    return rc;
}

/* What the devices of each tenant count for, with all under it, by the grants that are held. */
static int sum_values(const struct grid *grid, int64_t *values, struct err *err)
{
    for (uint32_t i = 0; i < grid->fleet.grants_count; i++) {
        const struct grant *grant = grid->fleet.grants[i];

        if (grant->value != shares_value(grid, grant))
            return BROKEN("job %" PRIu64 ": its devices do not count for what they are worth",
                          grant->job_id);
        for (uint32_t at = grid_job(grid, grant->job_id)->tenant; at; at = grid->tenants[at].parent)
            values[at] += grant->value;
    }
    return 0;
}

/* A tenant and all under it: what is held, by the grants and in the accounts; the money set aside.
 */
static int check_tree(const struct grid *grid, const struct sums *sums, struct err *err)
{
    const struct intern *names = &grid->tenant_names;
    struct tenant *below = mem_alloc(names->entries_count + 1, sizeof(*below));
    int64_t *values = mem_alloc(names->entries_count + 1, sizeof(*values));
    int rc = sum_values(grid, values, err);

    for (uint32_t i = 1; i < names->entries_count; i++)
        for (uint32_t at = names->entries[i].data ? grid->tenants[i].parent : 0; at;
             at = grid->tenants[at].parent) {
            below[at].cpus_below += sums->tenants[i].cpus_held;
            below[at].devices_milli_below += sums->tenants[i].devices_milli_held;
            below[at].jobs_below += sums->tenants[i].jobs_live;
        }
    for (uint32_t i = 1; i < names->entries_count && rc == 0; i++) {
        const struct tenant *own = &grid->tenants[i];
        struct share_amount held;

        if (!names->entries[i].data)
            continue;
        held = share_held(grid->share, own->account);
        if (own->cpus_below != below[i].cpus_below || own->jobs_below != below[i].jobs_below ||
            own->devices_milli_below != below[i].devices_milli_below)
            rc = BROKEN("tenant %s: the sums of those under it are wrong", names->entries[i].data);
        else if (held.of[SHARE_CPUS] != (int64_t)(own->cpus_held + own->cpus_below) ||
                 held.of[SHARE_DEVICES] !=
                     (int64_t)(own->devices_milli_held + own->devices_milli_below))
            rc = BROKEN("tenant %s: its account is not what it holds", names->entries[i].data);
        else if (held.of[SHARE_VALUE] != values[i])
            rc = BROKEN("tenant %s: its account is not what its devices are worth",
                        names->entries[i].data);
        else if (own->reserved_micro != sums->tenants[i].reserved_micro)
            rc = BROKEN("tenant %s: the money set aside is not its jobs'", names->entries[i].data);
    }
    free(below);
    free(values);
    if (rc == 0 && sums->yielding != grid->yielding_count)
        rc = BROKEN("%u attempts make way, listed are %u", sums->yielding, grid->yielding_count);
    return rc;
}

static bool is_apart_on_node(const struct fleet_node *node)
{
    for (const struct grant_part *part = node->parts; part; part = part->next)
        for (const struct grant_part *other = part->next; part->apart && other; other = other->next)
            if (other->apart && other->of != part->of &&
                apart_conflict(part->apart, other->apart) >= 0)
                return false;
    return true;
}

/* A site is too near only where one of the two says so: others are not asked of each other. */
static bool is_apart_at_site(const struct apart_marks *marks)
{
    for (uint32_t i = 0; i < marks->held_count; i++) {
        const struct request_apart *of = marks->held[i].of;

        for (uint32_t k = 0; of->level == APART_SITE && k < marks->held_count; k++)
            if (marks->held[k].of != of && apart_conflict(of, marks->held[k].of) == APART_SITE)
                return false;
    }
    return true;
}

/* Nobody is on a node, or at a site, with whom it is to be apart from; marks are where grants are.
 * (Racks may be labelled anew under what runs.) */
static int check_apart(const struct grid *grid, struct err *err)
{
    uint64_t parts = 0, marks = 0;

    for (uint32_t i = 0; i < grid->fleet.grants_count; i++)
        parts += grid->fleet.grants[i]->apart ? grid->fleet.grants[i]->parts_count : 0;
    for (uint32_t s = 0; s < grid->fleet.sites_count; s++) {
        const struct fleet_site *site = &grid->fleet.sites[s];
        bool is_sound = is_apart_at_site(&site->marks);

        marks += site->marks.held_count;
        for (uint32_t i = 0; i < site->info.nodes_count && site->marks.held_count; i++)
            is_sound &= is_apart_on_node(&site->nodes[i]);
        if (!is_sound)
            return BROKEN("site %s: jobs are together that are to be apart", site->info.name);
    }
    if (parts != marks)
        return BROKEN("%" PRIu64 " parts keep away from others, marked are %" PRIu64, parts, marks);
    return 0;
}

static int check_sums(const struct grid *grid, const struct sums *sums, struct err *err)
{
    const struct grid_counts *counts = &grid->counts;

    if (sums->states[JOB_HELD] != counts->held || sums->states[JOB_QUEUED] != counts->queued ||
        sums->states[JOB_STARTING] != counts->starting ||
        sums->states[JOB_RUNNING] != counts->running ||
        sums->states[JOB_STOPPING] != counts->stopping)
        return BROKEN("jobs by state do not add up");
    if (counts->submitted_total != counts->held + counts->queued + counts->starting +
                                       counts->running + counts->stopping + counts->done_total +
                                       counts->failed_total + counts->cancelled_total)
        return BROKEN("jobs submitted, live and ended do not add up");
    if (memcmp(sums->waiting_units, grid->waiting_units, sizeof(sums->waiting_units)) != 0 ||
        memcmp(sums->waiting_width, grid->waiting_width, sizeof(sums->waiting_width)) != 0)
        return BROKEN("work that waits for power does not add up");
    if (sums->grants != grid->fleet.grants_count || sums->cpus != grid->cpus_held ||
        sums->devices_milli != grid->devices_milli_held)
        return BROKEN("what is held does not add up");
    if (grid->cpu_ms_held != grid->cpu_ms_billed + sums->cpu_ms ||
        grid->device_milli_ms_held != grid->device_milli_ms_billed + sums->device_milli_ms)
        return BROKEN("the ledger does not have every millisecond that was held");
    for (uint32_t i = 1; i < grid->tenant_names.entries_count; i++) {
        const struct tenant *a = &grid->tenants[i], *b = &sums->tenants[i];

        if (grid->tenant_names.entries[i].data &&
            (a->jobs_live != b->jobs_live || a->cpus_held != b->cpus_held ||
             a->devices_milli_held != b->devices_milli_held))
            return BROKEN("tenant %s: its sums are wrong", grid->tenant_names.entries[i].data);
    }
    return check_tree(grid, sums, err);
}

int grid_check_invariants(const struct grid *grid, struct err *err)
{
    struct sums sums = { 0 };
    int rc = 0;

    sums.tenants = mem_alloc(grid->tenant_names.entries_count + 1, sizeof(*sums.tenants));
    for (const struct job *job = grid_job_after(grid, 0); job && rc == 0;
         job = grid_job_after(grid, job->item.id))
        rc = check_job(grid, job, &sums, err);
    if (rc == 0)
        rc = check_sums(grid, &sums, err);
    if (rc == 0)
        rc = check_apart(grid, err);
    free(sums.tenants);
    for (uint32_t i = 0; i < grid->fleet.sites_count && rc == 0; i++)
        rc = check_nodes(grid, i, err);
    if (rc == 0)
        rc = power_check_draws(grid, err);
    if (rc == 0)
        rc = freight_check_sites(grid, err);
    if (rc == 0)
        rc = check_queue(grid, err);
    if (rc == 0)
        rc = promises_check(grid, err);
    if (rc == 0)
        rc = guards_check(grid, err);
    if (rc == 0)
        rc = ranks_check(grid, err);
    if (rc == 0)
        rc = assigns_check(grid, err);
    if (rc == 0)
        rc = lease_check_darks(grid, err);
    return rc < 0 ? rc : check_arrays(grid, err);
}
