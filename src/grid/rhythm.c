/* How often a job with an `rpo` should save: by Daly from how often nodes of the site fail and how
 * long its saves take, both learned (sched/spares.h), and never so seldom that a fault could cost
 * more than what was asked. Said with each start; a run that goes on keeps what it was told. */
#include "grid/fields.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <string.h>

#define EVERY_MS_MIN INT64_C(1000)

static struct spares_nodes *nodes_of(struct grid *grid, uint32_t site)
{
    uint32_t had = grid->site_faults_cap;

    MEM_GROW(grid->site_faults, grid->site_faults_cap, site + 1);
    if (grid->site_faults_cap > had)
        memset(&grid->site_faults[had], 0,
               (grid->site_faults_cap - had) * sizeof(*grid->site_faults));
    return &grid->site_faults[site];
}

void rhythm_start(struct grid *grid, struct job *job)
{
    const struct spares_params params = spares_params_default();
    int64_t rpo_ms = job_terms(grid, job)->rpo_ms;
    struct job_past *past;
    struct spares_plan plan;
    int64_t stall_ms;

    if (!rpo_ms)
        return;
    past = job_past_of(job);
    plan = spares_plan_gang(&params, nodes_of(grid, job->grant->site), &past->saves,
                            job->grant->parts_count - job->grant->spares_count);
    /* Work since the last save, and the save itself that a fault may break. */
    stall_ms = past->saves.stall.count ? past->saves.stall.sum_ms / past->saves.stall.count : 0;
    past->checkpoint_every_ms =
        MAX(MIN(plan.interval_ms, MAX(rpo_ms - stall_ms, rpo_ms / 2)), EVERY_MS_MIN);
}

void rhythm_saved(struct job_past *past, int64_t stall_ms)
{
    if (stall_ms > 0)
        spares_note_time(&past->saves.stall, stall_ms);
}

void rhythm_end(struct grid *grid, const struct job *job)
{
    const struct spares_params params = spares_params_default();
    const struct grant *grant = job->grant;
    struct spares_nodes *nodes = nodes_of(grid, grant->site);

    spares_note_lived(&params, nodes, grant->parts_count, 0, grid->now_ms - grant->granted_ms);
    if (job->outcome == OUTCOME_LOST)
        spares_note_failures(nodes, 1);
}

void rhythm_put_job(struct buf *out, const struct job_past *past)
{
    put_i64(out, past->checkpoint_every_ms);
    put_i64(out, past->saves.stall.sum_ms);
    put_u64(out, past->saves.stall.count);
}

void rhythm_put(const struct grid *grid, struct buf *out)
{
    for (uint32_t i = 0; i < grid->fleet.sites_count; i++) {
        const struct spares_nodes none = { 0 };
        const struct spares_nodes *nodes =
            i < grid->site_faults_cap ? &grid->site_faults[i] : &none;

        put_u64(out, nodes->failures);
        put_i64(out, nodes->node_ms);
    }
}

void rhythm_restore(struct grid *grid, uint32_t site, uint64_t failures, int64_t node_ms)
{
    struct spares_nodes *nodes = nodes_of(grid, site);

    nodes->failures = failures;
    nodes->node_ms = node_ms;
}
