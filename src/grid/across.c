/* An attempt that is at several sites at once: a gang that no one site had room for.
 *
 * It is a set of linked parts, one a site, each with a grant of its own and an epoch of its own:
 * part i of an attempt has epoch `job.epoch - i`, so that (job, epoch) names one site's part as it
 * names an attempt anywhere else: in reports, folders, leases and the ledger's rows. Part 0, which
 * holds rank 0, has the newest epoch; only its checkpoints and outputs are the job's.
 *
 * All start together and end together. The first part that ends otherwise than well decides how
 * the attempt has ended and has the others stopped; the job is queued again, or has ended, once
 * the last of them has been settled, by its site's report or by its lease. So no two attempts run
 * at once, whatever becomes of a site. `job.grant` is the grant of the first part that still holds.
 */
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct across_part *across_part_of(const struct job *job, uint32_t epoch)
{
    uint32_t index = job->epoch - epoch;

    if (!job->across || epoch > job->epoch || index >= job->across->parts_count ||
        !job->across->parts[index].grant)
        return NULL;
    return &job->across->parts[index];
}

struct grant *job_next_grant(const struct job *job, const struct grant *after)
{
    bool is_past = !after;

    if (!job->across)
        return after ? NULL : job->grant;
    for (uint32_t i = 0; i < job->across->parts_count; i++) {
        struct grant *grant = job->across->parts[i].grant;

        if (is_past && grant)
            return grant;
        is_past = is_past || grant == after;
    }
    return NULL;
}

struct grant *job_grant_at(const struct job *job, uint32_t site)
{
    struct grant *grant = job_next_grant(job, NULL);

    while (grant && grant->site != site)
        grant = job_next_grant(job, grant);
    return grant;
}

void across_free(struct job *job)
{
    free(job->across);
    job->across = NULL;
}

void across_begin(struct job *job, struct grant *const *grants, uint32_t count)
{
    struct across *across = job->across = mem_alloc(1, sizeof(*across));
    uint32_t first_rank = 0;

    across->parts_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct across_part *part = &across->parts[i];

        part->grant = grants[i];
        part->site = grants[i]->site;
        part->first_rank = first_rank;
        for (uint32_t k = 0; k < grants[i]->parts_count; k++)
            part->tasks += grants[i]->parts[k].tasks;
        first_rank += part->tasks;
    }
}

bool across_started(struct job *job, uint32_t epoch)
{
    struct across *across = job->across;
    bool all = true;

    across->parts[job->epoch - epoch].started = true;
    for (uint32_t i = 0; i < across->parts_count; i++)
        all = all && across->parts[i].started;
    return all;
}

static void sum_running(struct job *job)
{
    struct usage sum = { 0 };
    bool first = true;

    for (uint32_t i = 0; i < job->across->parts_count; i++) {
        const struct across_part *part = &job->across->parts[i];

        if (!part->grant || !part->running.wall_ms)
            continue;
        usage_add(&sum, &part->running, first);
        first = false;
    }
    job_past_of(job)->running = sum;
}

void across_progress(struct job *job, uint32_t epoch, const struct usage *usage)
{
    job->across->parts[job->epoch - epoch].running = *usage;
    sum_running(job);
}

/* --- ends ------------------------------------------------------------------------------------ */

void across_settled(struct job *job, const struct grant *grant)
{
    struct across *across = job->across;

    for (uint32_t i = 0; i < across->parts_count; i++)
        if (across->parts[i].grant == grant)
            across->parts[i].grant = NULL;
    across->ended_count++;
    sum_running(job);
    job->grant = job_next_grant(job, NULL);
}

/* What became of one part explains what became of the others: when one was lost, or asked to make
 * way, those that talked to it fail as well, and may be heard of first. */
static uint32_t weight_of(const struct attempt_end_note *note)
{
    switch ((enum attempt_outcome)note->outcome) {
    case OUTCOME_EXITED:
        return note->exit_code ? 2 : 0;
    case OUTCOME_STOPPED:
        return 1;
    case OUTCOME_SIGNALLED:
        return 2;
    case OUTCOME_TIME_LIMIT:
    case OUTCOME_MEMORY:
    case OUTCOME_DISK:
    case OUTCOME_START_FAILED:
    case OUTCOME_REFUSED:
    case OUTCOME_PREEMPTED:
    case OUTCOME_SHED:
    case OUTCOME_PAUSED:
    case OUTCOME_MOVED:
    case OUTCOME_RESIZED:
    case OUTCOME_DEFRAG:
        return 3;
    case OUTCOME_LOST:
    case OUTCOME_LEASE:
        return 4;
    }
    return 2;
}

static void stop_others(struct grid *grid, struct job *job, const struct attempt_end_note *note)
{
    if (job->state != JOB_STARTING && job->state != JOB_RUNNING)
        return;
    job_set_reason(grid, job, "its part at site %s has ended%s%s: the others are stopped",
                   grid->fleet.sites[note->site].info.name, note->reason[0] ? ": " : "",
                   note->reason);
    for (struct grant *grant = job->grant; grant; grant = job_next_grant(job, grant))
        fleet_set_end(&grid->fleet, grant, grid->now_ms + END_SLACK_MS);
    job_set_state(grid, job, JOB_STOPPING);
    grid_emit(grid, EFFECT_STOP, job);
}

bool across_over(struct grid *grid, struct job *job, struct attempt_end_note *note)
{
    struct across *across = job->across;

    if (across->ended_count == 1 || weight_of(note) > weight_of(&across->end))
        across->end = *note;
    if (job->grant) {
        if (weight_of(note))
            stop_others(grid, job, note);
        grid_emit(grid, EFFECT_JOB_CHANGED, job);
        return false;
    }
    *note = across->end;
    across_free(job);
    return true;
}

/* --- what others read ------------------------------------------------------------------------- */

void across_fill_view(const struct grid *grid, const struct job *job, const struct grant *grant,
                      struct across_view *out)
{
    out->sites_count = job->across->parts_count;
    for (uint32_t i = 0; i < out->sites_count; i++) {
        const struct across_part *part = &job->across->parts[i];
        struct across_site *to = &out->sites[i];

        if (grant && part->grant == grant)
            out->self = i;
        memcpy(to->site, grid->fleet.sites[part->site].info.name, sizeof(to->site));
        to->epoch = job->epoch - i;
        to->first_rank = part->first_rank;
        to->tasks = part->tasks;
        to->is_over = !part->grant;
    }
}

bool grid_find_attempt(const struct grid *grid, uint64_t job_id, uint32_t epoch,
                       struct attempt_place *out)
{
    const struct job *job = grid_job(grid, job_id);
    const struct across_part *part;

    if (!job || !job->grant)
        return false;
    if (!job->across) {
        *out = (struct attempt_place){ grid->fleet.sites[job->grant->site].info.name,
                                       job->started_ms != 0 };
        return job->epoch == epoch;
    }
    part = across_part_of(job, epoch);
    if (part)
        *out = (struct attempt_place){ grid->fleet.sites[part->site].info.name, part->started };
    return part != NULL;
}

/* --- invariants ------------------------------------------------------------------------------- */

int across_check(const struct grid *grid, const struct job *job, struct err *err)
{
    const struct across *across = job->across;
    uint32_t ended = 0, tasks = 0;
    const struct grant *first = NULL;

    if (across->parts_count < 2 || across->parts_count > ACROSS_SITES_MAX ||
        across->parts_count > job->epoch || across->parts_count > job_asked(grid, job)->sites_max)
        return err_set(err, -EINVAL, "job %" PRIu64 " is at %u sites", job->item.id,
                       across->parts_count);
    for (uint32_t i = 0; i < across->parts_count; i++) {
        const struct across_part *part = &across->parts[i];
        uint32_t held = 0;

        if (part->first_rank != tasks || part->site >= grid->fleet.sites_count)
            return err_set(err, -EINVAL, "job %" PRIu64 ": part %u is out of order", job->item.id,
                           i);
        tasks += part->tasks;
        for (uint32_t k = 0; k < i; k++)
            if (across->parts[k].site == part->site)
                return err_set(err, -EINVAL, "job %" PRIu64 " has two parts at one site",
                               job->item.id);
        if (!part->grant) {
            ended++;
            continue;
        }
        if (!first)
            first = part->grant;
        for (uint32_t k = 0; k < part->grant->parts_count; k++)
            held += part->grant->parts[k].tasks;
        if (part->grant->epoch != job->epoch - i || part->grant->site != part->site ||
            held != part->tasks || part->grant->granted_ms != first->granted_ms)
            return err_set(err, -EINVAL, "job %" PRIu64 ": part %u and its grant do not agree",
                           job->item.id, i);
    }
    if (tasks != job_shape(grid, job)->tasks || ended != across->ended_count ||
        job->grant != first || !first)
        return err_set(err, -EINVAL, "job %" PRIu64 ": its parts do not add up", job->item.id);
    if (ended && across->end.site >= grid->fleet.sites_count)
        return err_set(err, -EINVAL, "job %" PRIu64 ": a part has ended nowhere", job->item.id);
    if (ended && weight_of(&across->end) && job->state != JOB_STOPPING)
        return err_set(err, -EINVAL, "job %" PRIu64 " goes on without a part of its gang",
                       job->item.id);
    return 0;
}
