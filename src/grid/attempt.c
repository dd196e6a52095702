#include "grid/owners.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/rates.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- grant and release ----------------------------------------------------------------------- */

static void hold(struct grid *grid, struct job *job, struct grant *grant)
{
    fleet_hold(&grid->fleet, grant);
    job->grant = grant;
    shares_hold(grid, job, false);
    budget_reserve(grid, job);
    grid->cpus_held += grant->cpus;
    grid->devices_milli_held += grant->devices_milli;
    if (job->array)
        job->array->active++;
    power_held(grid, grant, 1);
}

static void release(struct grid *grid, struct job *job)
{
    struct grant *grant = job->grant;
    uint64_t wall_ms = (uint64_t)(grid->now_ms - grant->granted_ms);

    fleet_release(&grid->fleet, grant);
    shares_hold(grid, job, true);
    grid->cpus_held -= grant->cpus;
    grid->devices_milli_held -= grant->devices_milli;
    grid->cpu_ms_billed += grant->cpus * wall_ms;
    grid->device_milli_ms_billed += grant->devices_milli * wall_ms;
    if (job->array)
        job->array->active--;
    job->grant = NULL;
    power_held(grid, grant, -1);
    grant_destroy(grant);
    grid->wants_pass = true;
}

void attempt_start(struct grid *grid, struct job *job, struct grant *grant)
{
    int64_t end_ms = job_end_bound(grid, job);

    promises_drop(grid, job);
    job_dequeue(grid, job);
    job->epoch++;
    grant->job_id = job->item.id;
    grant->epoch = job->epoch;
    grant->granted_ms = grid->now_ms;
    grant->end_ms = end_ms;
    hold(grid, job, grant);
    job->started_ms = 0;
    rhythm_start(grid, job);
    job_set_state(grid, job, JOB_STARTING);
    if (job->reason)
        job_set_reason(grid, job, "%s", "");
    grid->counts.attempts_total++;
    waits_watch(grid, job);
    grid_emit(grid, EFFECT_RUN, job);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

/* The job whose newest attempt this is, still holding; NULL: old news. */
static struct job *find_attempt(const struct grid *grid, uint64_t job_id, uint32_t epoch)
{
    struct job *job = grid_job(grid, job_id);

    return job && job->grant && job->epoch == epoch ? job : NULL;
}

void attempt_started(struct grid *grid, uint64_t job_id, uint32_t epoch)
{
    struct job *job = find_attempt(grid, job_id, epoch);

    if (!job || job->started_ms)
        return;
    job->started_ms = grid->now_ms;
    if (job->state != JOB_STARTING)
        return;
    job_set_state(grid, job, JOB_RUNNING);
    if (job->reason)
        job_set_reason(grid, job, "%s", "");
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

struct job_past *job_past_of(struct job *job)
{
    if (!job->past)
        job->past = mem_alloc(1, sizeof(*job->past));
    return job->past;
}

void attempt_progress(struct grid *grid, uint64_t job_id, uint32_t epoch, const struct usage *usage,
                      int64_t checkpoint_ms, int64_t stall_ms, const char *reason)
{
    struct job *job = find_attempt(grid, job_id, epoch);

    if (!job)
        return;
    job_past_of(job)->running = usage_of_grant(grid, job->grant, usage);
    if (checkpoint_ms > job->past->checkpoint_ms)
        job->past->checkpoint_ms = checkpoint_ms;
    rhythm_saved(job->past, stall_ms);
    if (job->state != JOB_STARTING || !reason || !*reason ||
        strncmp(intern_data(&grid->strings, job->reason), reason, REASON_BYTES - 1) == 0)
        return;
    job_set_reason(grid, job, "%s", reason);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

/* --- ends ------------------------------------------------------------------------------------ */

/* The ledger row, then what was held is free again. */
static void settle(struct grid *grid, struct job *job, const struct usage *reported,
                   const struct event_attempt_ended *ended)
{
    struct usage usage = usage_of_grant(grid, job->grant, reported);
    struct job_past *past = job_past_of(job);
    struct effect effect = { .type = EFFECT_USAGE,
                             .job_id = job->item.id,
                             .epoch = job->epoch,
                             .usage = usage,
                             .outcome = job->outcome,
                             .exit_code = job->exit_code,
                             .granted_ms = job->grant->granted_ms,
                             .released_ms = grid->now_ms };

    rhythm_end(grid, job);
    past->ended_epoch = job->epoch;
    past->ended_site = job->grant->site + 1;
    if (ended)
        effect.disputes_count =
            usage_dispute(grid, job->grant, &ended->usage, ended, effect.disputes);
    memset(&past->running, 0, sizeof(past->running));
    usage_add(&past->ended, &usage, job->epoch == 1);
    if (grid->perform) {
        job_fill_view(grid, job, &effect.view);
        grid->perform(grid->perform_context, &effect);
    }
    budget_settle(grid, job, usage.price_micro);
    ranks_settled(grid, job);
    release(grid, job);
}

static void requeue(struct grid *grid, struct job *job)
{
    job->started_ms = 0;
    if (job->wait)
        job->wait->until_ms = 0;
    move_requeued(grid, job);
    job_enqueue(grid, job);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

/* Its newest attempt is in the sum already. */
static bool is_lost_too_often(const struct job *job)
{
    return job->attempts_lost >=
           GRID_LOST_TRIES_MAX + job->past->ended.wall_ms / GRID_LOST_FORGIVE_MS;
}

static void end_lost(struct grid *grid, struct job *job, const char *why)
{
    if (job->attempts_lost < UINT16_MAX)
        job->attempts_lost++;
    if (job->cancel_requested) {
        job_end(grid, job, JOB_CANCELLED);
    } else if (!job_terms(grid, job)->requeue_on_loss) {
        job_set_reason(grid, job, "lost: %s", why);
        job_end(grid, job, JOB_FAILED);
    } else if (is_lost_too_often(job) || job->attempts_lost == UINT16_MAX) {
        job_set_reason(grid, job, "lost %u times, the last time: %s", job->attempts_lost, why);
        job_end(grid, job, JOB_FAILED);
    } else {
        job_set_reason(grid, job, "attempt %u was lost (%s): queued again", job->epoch, why);
        requeue(grid, job);
    }
}

/* It was stopped where nobody heard it: neither a failure nor a loss. */
static void end_lease(struct grid *grid, struct job *job, uint32_t site)
{
    if (job->cancel_requested) {
        job_end(grid, job, JOB_CANCELLED);
        return;
    }
    job_set_reason(grid, job, "site %s was not heard for longer than its lease: queued again",
                   grid->fleet.sites[site].info.name);
    requeue(grid, job);
}

void attempt_lease_ended(struct grid *grid, struct job *job)
{
    const struct usage *reported = &job_past_of(job)->running;
    struct usage billed = usage_of_grant(grid, job->grant, reported);
    uint32_t site = job->grant->site;

    job->outcome = OUTCOME_LEASE;
    job->exit_code = 0;
    yield_clear(grid, job);
    lease_remember(grid, job, &billed);
    settle(grid, job, reported, NULL);
    end_lease(grid, job, site);
}

/* Its reason stays: for what, and by whom, it was stopped. */
static void end_yielded(struct grid *grid, struct job *job, uint32_t site)
{
    if (job->outcome == OUTCOME_MOVED) {
        requeue(grid, job);
        return;
    }
    if (job->outcome != OUTCOME_PREEMPTED &&
        waits_stopped(grid, job, job->outcome == OUTCOME_SHED, site))
        grid_emit(grid, EFFECT_JOB_CHANGED, job);
    else
        requeue(grid, job);
}

static void failure_text(const struct job *job, const char *reason, char *out, size_t bytes)
{
    const char *colon = *reason ? ": " : "";

    switch ((enum attempt_outcome)job->outcome) {
    case OUTCOME_EXITED:
        snprintf(out, bytes, "exit code %d%s%s", job->exit_code, colon, reason);
        break;
    case OUTCOME_SIGNALLED:
        snprintf(out, bytes, "ended by signal %d%s%s", job->exit_code, colon, reason);
        break;
    case OUTCOME_TIME_LIMIT:
        snprintf(out, bytes, "ran into its time limit%s%s", colon, reason);
        break;
    case OUTCOME_MEMORY:
        snprintf(out, bytes, "ran into its memory limit%s%s", colon, reason);
        break;
    case OUTCOME_DISK:
        snprintf(out, bytes, "ran into its disk limit%s%s", colon, reason);
        break;
    case OUTCOME_START_FAILED:
        snprintf(out, bytes, "could not start%s%s", colon, reason);
        break;
    case OUTCOME_STOPPED:
    case OUTCOME_LOST:
    case OUTCOME_PREEMPTED:
    case OUTCOME_SHED:
    case OUTCOME_PAUSED:
    case OUTCOME_REFUSED:
    case OUTCOME_MOVED:
    case OUTCOME_LEASE:
        snprintf(out, bytes, "%s", reason);
        break;
    }
}

/* A limit that was reached once would be reached again; other failures are as the job says. */
static bool may_retry(const struct grid *grid, const struct job *job)
{
    const struct terms *terms = job_terms(grid, job);
    int code = job->exit_code;

    if (job->attempts_failed > terms->retries_max)
        return false;
    switch ((enum attempt_outcome)job->outcome) {
    case OUTCOME_TIME_LIMIT:
    case OUTCOME_MEMORY:
    case OUTCOME_DISK:
        return false;
    case OUTCOME_SIGNALLED:
        code += 128;
        break;
    case OUTCOME_START_FAILED:
        return terms->retry_codes_count == 0;
    case OUTCOME_EXITED:
    case OUTCOME_STOPPED:
    case OUTCOME_LOST:
    case OUTCOME_PREEMPTED:
    case OUTCOME_SHED:
    case OUTCOME_PAUSED:
    case OUTCOME_REFUSED:
    case OUTCOME_MOVED:
    case OUTCOME_LEASE:
        break;
    }
    for (uint32_t i = 0; i < terms->retry_codes_count; i++)
        if (terms->retry_codes[i] == code)
            return true;
    return terms->retry_codes_count == 0;
}

static void end_failed(struct grid *grid, struct job *job, const char *reason)
{
    char text[REASON_BYTES];

    job->attempts_failed++;
    failure_text(job, reason, text, sizeof(text));
    if (job->cancel_requested) { /* the reason stays who cancelled it */
        job_end(grid, job, JOB_CANCELLED);
    } else if (may_retry(grid, job)) {
        job_set_reason(grid, job, "attempt %u: %.100s; %u of %u retries left", job->epoch, text,
                       job_terms(grid, job)->retries_max - job->attempts_failed + 1,
                       job_terms(grid, job)->retries_max);
        requeue(grid, job);
    } else {
        job_set_reason(grid, job, "%s", text);
        job_end(grid, job, JOB_FAILED);
    }
}

/* It never ran, and that is nobody's failure: another site may take it. */
static void end_refused(struct grid *grid, struct job *job, uint32_t site, const char *reason)
{
    if (job->cancel_requested) {
        job_end(grid, job, JOB_CANCELLED);
        return;
    }
    job_set_reason(grid, job, "site %s: %.120s", grid->fleet.sites[site].info.name, reason);
    owners_refused(grid, job, site);
    requeue(grid, job);
}

void attempt_ended(struct grid *grid, const struct event_attempt_ended *ended)
{
    struct job *job = find_attempt(grid, ended->job_id, ended->epoch);
    const char *reason = ended->reason ? ended->reason : "";
    uint32_t site;

    if (!job) {
        lease_settle(grid, ended->job_id, ended->epoch, &ended->usage);
        return;
    }
    site = job->grant->site;
    job->outcome = (uint8_t)yield_outcome(job, ended->outcome);
    if (job->outcome == OUTCOME_LEASE && !lease_binds(grid, job))
        job->outcome = OUTCOME_LOST; /* a site has no reason to say so */
    yield_count(job);
    yield_clear(grid, job);
    job->exit_code = ended->exit_code;
    if (!job->started_ms && ended->started_ms)
        job->started_ms = grid->now_ms; /* the report of its start came never or comes later */
    rates_attempt_ended(grid, job, ended);
    settle(grid, job, &ended->usage, ended);
    if (ended->outcome == OUTCOME_EXITED && ended->exit_code == 0) {
        if (job->reason)
            job_set_reason(grid, job, "%s", "");
        job_end(grid, job, JOB_DONE);
    } else if (job->outcome == OUTCOME_REFUSED) {
        end_refused(grid, job, site, reason);
    } else if (job->outcome == OUTCOME_LEASE) {
        end_lease(grid, job, site);
    } else if (job->outcome >= OUTCOME_PREEMPTED) {
        end_yielded(grid, job, site);
    } else if (job->outcome == OUTCOME_LOST || ended->outcome == OUTCOME_STOPPED) {
        end_lost(grid, job,
                 *reason                          ? reason
                 : ended->outcome == OUTCOME_LOST ? "its supervisor died"
                                                  : "the site stopped it");
    } else {
        end_failed(grid, job, reason);
    }
}

void attempt_unknown(struct grid *grid, uint64_t job_id, uint32_t epoch)
{
    struct job *job = find_attempt(grid, job_id, epoch);
    uint32_t site;

    if (!job) {
        lease_settle(grid, job_id, epoch, NULL);
        return;
    }
    site = job->grant->site;
    /* Asked to stop before it had begun: it has stopped. */
    job->outcome = (uint8_t)yield_outcome(job, OUTCOME_STOPPED);
    if (job->outcome < OUTCOME_PREEMPTED)
        job->outcome = OUTCOME_LOST;
    job->exit_code = 0;
    yield_count(job);
    yield_clear(grid, job);
    settle(grid, job, job->past ? &job->past->running : NULL, NULL);
    if (job->outcome >= OUTCOME_PREEMPTED)
        end_yielded(grid, job, site);
    else
        end_lost(grid, job, "the site has no trace of it");
}
