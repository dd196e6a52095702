/* A site that is not heard goes on until its lease ends. Its agent then stops, by its own clock,
 * what must not run twice (`on_unreachable: move`), and the shell says, by its own clock and surely
 * later, that the lease has ended: those attempts are closed and their jobs queued again. All else
 * stays with the site, however long it is silent.
 *
 * What such an attempt used in the dark is told when the site is heard again. Its row in the ledger
 * then gets what it lacks, once: the attempt is remembered until that report has come. */
#include "grid/freight.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool lease_binds(const struct grid *grid, const struct job *job)
{
    const struct terms *terms = job_terms(grid, job);

    return terms->on_unreachable == UNREACHABLE_MOVE && terms->requeue_on_loss;
}

int lease_check(const struct grid *grid, const struct event *event, struct err *err)
{
    const char *name = event->lease_ended.site ? event->lease_ended.site : "";
    int index = fleet_find_site(&grid->fleet, name);
    const struct fleet_site *site;

    if (index < 0)
        return err_set(err, -ENOENT, "there is no site %s", name);
    site = &grid->fleet.sites[index];
    if (site->session != event->lease_ended.session || site->lease.is_over)
        return err_set(err, -EALREADY, "the lease of that session of site %s is over", name);
    if (site->reachable)
        return err_set(err, -EPROTO, "site %s is heard", name);
    if (!site->lease.ms)
        return err_set(err, -EPROTO, "site %s keeps no lease", name);
    return 0;
}

void lease_apply(struct grid *grid, const struct event *event)
{
    uint32_t site = (uint32_t)fleet_find_site(&grid->fleet, event->lease_ended.site);
    uint64_t *ids = mem_alloc(grid->fleet.grants_count + 1, sizeof(*ids));
    uint32_t count = 0;

    grid->fleet.sites[site].lease.is_over = true;
    for (uint32_t i = 0; i < grid->fleet.grants_count; i++) {
        const struct grant *grant = grid->fleet.grants[i];

        if (grant->site == site && lease_binds(grid, grid_job(grid, grant->job_id)))
            ids[count++] = grant->job_id;
    }
    ids_sort(ids, count);
    for (uint32_t i = 0; i < count; i++)
        attempt_lease_ended(grid, grid_job(grid, ids[i]), site);
    free(ids);
}

/* --- what was used in the dark ---------------------------------------------------------------- */

static void drop_dark(struct grid *grid, uint32_t at)
{
    grid_tenant_unref(grid, grid->darks[at].tenant);
    memmove(&grid->darks[at], &grid->darks[at + 1],
            (--grid->darks_count - at) * sizeof(*grid->darks));
}

void lease_remember(struct grid *grid, const struct job *job, const struct usage *billed)
{
    int64_t cpu_ms_max, energy_mj_max;

    usage_bounds(grid, job->grant, &cpu_ms_max, &energy_mj_max);
    if (grid->darks_count == DARKS_MAX)
        drop_dark(grid, 0); /* its bill stays as it is */
    MEM_GROW(grid->darks, grid->darks_cap, grid->darks_count + 1);
    grid->darks[grid->darks_count++] =
        (struct dark){ .job_id = job->item.id,
                       .epoch = job->grant->epoch,
                       .tenant = grid_tenant(grid, intern_data(&grid->tenant_names, job->tenant)),
                       .site = job->grant->site,
                       .granted_ms = job->grant->granted_ms,
                       .released_ms = grid->now_ms,
                       .cpu_ms_max = cpu_ms_max,
                       .energy_mj_max = energy_mj_max,
                       .billed = *billed };
}

static struct dark *find_dark(const struct grid *grid, uint64_t job_id, uint32_t epoch)
{
    for (uint32_t i = 0; i < grid->darks_count; i++)
        if (grid->darks[i].job_id == job_id && grid->darks[i].epoch == epoch)
            return &grid->darks[i];
    return NULL;
}

/* What the report tells beyond the bill: energy and CPU time. What was held is billed already. */
static struct usage beyond(const struct grid *grid, const struct dark *dark,
                           const struct usage *reported)
{
    struct usage_span span = { .site = dark->site,
                               .from_ms = dark->granted_ms,
                               .until_ms = dark->released_ms };
    int64_t cpu_ms = MIN(reported->cpu_ms, dark->cpu_ms_max);
    int64_t energy_mj = MIN(reported->energy_mj, dark->energy_mj_max);
    struct usage told = { .cpu_ms = MAX(cpu_ms - dark->billed.cpu_ms, 0),
                          .energy_mj = MAX(energy_mj - dark->billed.energy_mj, 0),
                          .memory_peak_bytes = reported->memory_peak_bytes,
                          .energy_measured = reported->energy_measured };
    struct usage more = usage_of_span(grid, &span, &told);

    more.wall_ms = 0;
    return more;
}

void lease_settle(struct grid *grid, uint64_t job_id, uint32_t epoch, const struct usage *usage)
{
    struct dark *dark = find_dark(grid, job_id, epoch);
    struct effect effect = { .type = EFFECT_SETTLED, .job_id = job_id, .epoch = epoch };
    struct job *job = grid_job(grid, job_id);

    if (!dark)
        return;
    if (usage) {
        effect.more = beyond(grid, dark, usage);
        effect.usage = dark->billed;
        usage_add(&effect.usage, &effect.more, !dark->billed.energy_mj);
        effect.granted_ms = dark->granted_ms;
        effect.released_ms = dark->released_ms;
        effect.outcome = OUTCOME_LEASE;
        budget_spend(grid, dark->tenant, effect.more.price_micro);
        if (job)
            usage_add(&job->past->ended, &effect.more, false);
        if (job && !job->grant)
            freight_reshape(grid, job);
        if (grid->perform)
            grid->perform(grid->perform_context, &effect);
    }
    drop_dark(grid, (uint32_t)(dark - grid->darks));
}

void lease_forget_site(struct grid *grid, uint32_t site)
{
    for (uint32_t i = grid->darks_count; i-- > 0;)
        if (grid->darks[i].site == site)
            drop_dark(grid, i);
}

int lease_check_darks(const struct grid *grid, struct err *err)
{
    for (uint32_t i = 0; i < grid->darks_count; i++) {
        const struct dark *dark = &grid->darks[i];
        const struct job *job = grid_job(grid, dark->job_id);
        struct attempt_place place;

        if (dark->site >= grid->fleet.sites_count || dark->granted_ms > dark->released_ms ||
            dark->released_ms > grid->now_ms || !dark->epoch || dark->job_id >= grid->next_id)
            return err_set(err, -EINVAL, "job %" PRIu64 ": attempt %u in the dark is unsound",
                           dark->job_id, dark->epoch);
        if (job && (dark->epoch > job->epoch || !job->past ||
                    grid_find_attempt(grid, dark->job_id, dark->epoch, &place)))
            return err_set(err, -EINVAL, "job %" PRIu64 ": attempt %u is closed and still holds",
                           dark->job_id, dark->epoch);
        for (uint32_t k = 0; k < i && i < 64; k++) /* all pairs of many would take too long */
            if (grid->darks[k].job_id == dark->job_id && grid->darks[k].epoch == dark->epoch)
                return err_set(err, -EINVAL, "job %" PRIu64 ": attempt %u is in the dark twice",
                               dark->job_id, dark->epoch);
    }
    return 0;
}

/* --- what the shell reads ----------------------------------------------------------------------
 */

void grid_site_lease(const struct grid *grid, uint32_t index, struct lease_view *view_out)
{
    const struct fleet_lease *lease = &grid->fleet.sites[index].lease;

    *view_out = (struct lease_view){ lease->ms, lease->lost_ms, lease->is_over };
}

bool grid_dark_next(const struct grid *grid, uint32_t *cursor, struct dark_view *view_out)
{
    const struct dark *dark;

    if (*cursor >= grid->darks_count)
        return false;
    dark = &grid->darks[(*cursor)++];
    *view_out =
        (struct dark_view){ dark->job_id, dark->epoch, grid->fleet.sites[dark->site].info.name };
    return true;
}

bool grid_dark_find(const struct grid *grid, uint64_t job_id, uint32_t epoch,
                    struct dark_view *view_out)
{
    const struct dark *dark = find_dark(grid, job_id, epoch);

    if (dark)
        *view_out = (struct dark_view){ dark->job_id, dark->epoch,
                                        grid->fleet.sites[dark->site].info.name };
    return dark != NULL;
}
