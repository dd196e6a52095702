#include "grid/assigns.h"
#include "grid/freight.h"
#include "grid/owners.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/rates.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <stdio.h>
#include <string.h>

/* --- grant and release ----------------------------------------------------------------------- */

static void hold(struct grid *grid, struct job *job, struct grant *grant)
{
    bool is_first = !job->grant;

    fleet_hold(&grid->fleet, grant);
    job->grant = grant;
    shares_hold(grid, job, false);
    if (is_first)
        budget_reserve(grid, job);
    grid->cpus_held += grant->cpus;
    grid->devices_milli_held += grant->devices_milli;
    if (job->array && is_first)
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
    grid->cpu_ms_billed += grant->cpus * wall_ms + (uint64_t)grant->cpu_ms_more;
    grid->device_milli_ms_billed +=
        grant->devices_milli * wall_ms + (uint64_t)grant->device_milli_ms_more;
    job->grant = NULL;
    if (job->across)
        across_settled(job, grant);
    if (job->array && !job->grant)
        job->array->active--;
    power_held(grid, grant, -1);
    grant_destroy(grant);
    grid->wants_pass = true;
}

void attempt_swap(struct grid *grid, struct job *job, struct grant *grant)
{
    struct grant *old = job->grant;

    shares_hold(grid, job, true);
    power_held(grid, old, -1);
    fleet_release(&grid->fleet, old);
    grid->cpus_held += grant->cpus - old->cpus;
    grid->devices_milli_held += grant->devices_milli - old->devices_milli;
    grant->job_id = old->job_id;
    grant->epoch = old->epoch;
    grant->granted_ms = old->granted_ms;
    grant->end_ms = old->end_ms;
    grant->choice = old->choice;
    job->grant = grant;
    fleet_hold(&grid->fleet, grant);
    shares_hold(grid, job, false);
    power_held(grid, grant, 1);
    budget_reserve_again(grid, job);
    grant_destroy(old);
}

void attempt_start(struct grid *grid, struct job *job, struct grant *const *grants, uint32_t count)
{
    int64_t end_ms = job_end_bound(grid, job);

    promises_drop(grid, job);
    job_dequeue(grid, job);
    attempt_take(grid, job, grants, count, end_ms);
}

void attempt_take(struct grid *grid, struct job *job, struct grant *const *grants, uint32_t count,
                  int64_t end_ms)
{
    job->epoch += count;
    if (count > 1)
        across_begin(job, grants, count);
    for (uint32_t i = count; i-- > 0;) {
        grants[i]->job_id = job->item.id;
        grants[i]->epoch = job->epoch - i;
        grants[i]->granted_ms = grid->now_ms;
        grants[i]->end_ms = end_ms;
        hold(grid, job, grants[i]);
    }
    job->started_ms = 0;
    suspend_begin(job);
    rhythm_start(grid, job);
    freight_granted(grid, job);
    job_set_state(grid, job, JOB_STARTING);
    if (job->reason)
        job_set_reason(grid, job, "%s", "");
    grid->counts.attempts_total++;
    waits_watch(grid, job);
    grid_emit(grid, EFFECT_RUN, job);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

/* The job whose newest attempt this is, or a part of it, still holding; NULL: old news. */
static struct job *find_attempt(const struct grid *grid, uint64_t job_id, uint32_t epoch)
{
    struct job *job = grid_job(grid, job_id);

    if (!job || !job->grant)
        return NULL;
    return (job->across ? across_part_of(job, epoch) != NULL : job->epoch == epoch) ? job : NULL;
}

bool attempt_is_first(const struct job *job)
{
    return job->epoch == (job->across ? job->across->parts_count : 1);
}

/* What the site that was heard holds of it, from here to its end `job.grant`. */
static void turn_to(struct job *job, uint32_t epoch)
{
    if (job->across)
        job->grant = across_part_of(job, epoch)->grant;
}

static struct grant *grant_of(const struct job *job, uint32_t epoch)
{
    return job->across ? across_part_of(job, epoch)->grant : job->grant;
}

void attempt_started(struct grid *grid, uint64_t job_id, uint32_t epoch)
{
    struct job *job = find_attempt(grid, job_id, epoch);

    if (!job || (job->across && !across_started(job, epoch)) || job->started_ms)
        return;
    job->started_ms = grid->now_ms;
    freight_started(grid, job);
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
    struct usage running;

    if (!job)
        return;
    running = usage_of_grant(grid, grant_of(job, epoch), usage);
    job_past_of(job)->running = running;
    if (job->across)
        across_progress(job, epoch, &running);
    if (epoch == job->epoch) { /* of several parts, only rank 0's checkpoints are the job's */
        job->past->checkpoint_ms = MAX(job->past->checkpoint_ms, checkpoint_ms);
        rhythm_saved(job->past, stall_ms);
    }
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
    bool is_first = attempt_is_first(job) && !(job->across && job->across->ended_count);
    struct effect effect = { .type = EFFECT_USAGE,
                             .job_id = job->item.id,
                             .epoch = job->grant->epoch,
                             .usage = usage,
                             .outcome = job->outcome,
                             .exit_code = job->exit_code,
                             .granted_ms = job->grant->granted_ms,
                             .released_ms = grid->now_ms };

    suspend_over(grid, job);
    rhythm_end(grid, job);
    if (job->grant->epoch == job->epoch) {
        past->ended_epoch = job->epoch;
        past->ended_site = job->grant->site + 1;
    }
    if (ended)
        effect.disputes_count =
            usage_dispute(grid, job->grant, &ended->usage, ended, effect.disputes);
    memset(&past->running, 0, sizeof(past->running));
    usage_add(&past->ended, &usage, is_first);
    if (grid->perform) {
        job_fill_view(grid, job, &effect.view);
        grid->perform(grid->perform_context, &effect);
    }
    assigns_settled(grid, job);
    ranks_settled(grid, job);
    release(grid, job);
    if (job->grant) /* other parts still hold what is set aside */
        budget_spend(grid, job->tenant, usage.price_micro);
    else
        budget_settle(grid, job, usage.price_micro);
    if (!job->grant)
        freight_reshape(grid, job);
}

static void requeue(struct grid *grid, struct job *job)
{
    job->started_ms = 0;
    if (job->wait)
        job->wait->until_ms = 0;
    move_requeued(grid, job);
    elastic_requeued(grid, job);
    job_enqueue(grid, job);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

/* With spare nodes it goes on there at once, as wide as it was. */
static void requeue_here(struct grid *grid, struct job *job)
{
    uint32_t had = job_asked(grid, job)->tasks;

    requeue(grid, job);
    if (job_terms(grid, job)->spares)
        elastic_resume(grid, job, job->past->ended_site - 1, had);
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
        requeue_here(grid, job);
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

/* Its reason stays: for what, and by whom, it was stopped. */
static void end_yielded(struct grid *grid, struct job *job, uint32_t site, uint32_t width)
{
    if (job->outcome == OUTCOME_RESIZED) {
        uint32_t had = job_asked(grid, job)->tasks;

        requeue(grid, job); /* what is freed for others meanwhile is not for it */
        elastic_resume(grid, job, site, grid->preempt_for ? MIN(width, had) : width);
        return;
    }
    elastic_requeued(grid, job);
    if (job->outcome == OUTCOME_MOVED || job->outcome == OUTCOME_DEFRAG) {
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
    case OUTCOME_RESIZED:
    case OUTCOME_DEFRAG:
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
    case OUTCOME_RESIZED:
    case OUTCOME_DEFRAG:
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
        requeue_here(grid, job);
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

/* All of the attempt has ended: what becomes of the job. */
static void conclude(struct grid *grid, struct job *job, const struct attempt_end_note *note)
{
    const char *reason = note->reason;

    if (note->told == OUTCOME_EXITED && note->exit_code == 0) {
        if (job->reason)
            job_set_reason(grid, job, "%s", "");
        job_end(grid, job, JOB_DONE);
    } else if (job->outcome == OUTCOME_REFUSED) {
        end_refused(grid, job, note->site, reason);
    } else if (job->outcome == OUTCOME_LEASE) {
        end_lease(grid, job, note->site);
    } else if (job->outcome >= OUTCOME_PREEMPTED) {
        end_yielded(grid, job, note->site, note->width);
    } else if (job->outcome == OUTCOME_LOST || note->told == OUTCOME_STOPPED) {
        end_lost(grid, job,
                 *reason                      ? reason
                 : note->told == OUTCOME_LOST ? "its supervisor died"
                                              : "the site stopped it");
    } else {
        end_failed(grid, job, reason);
    }
}

/* The part at the site of `job.grant`, which mostly is all there is, has ended as `note` says. */
static void close_part(struct grid *grid, struct job *job, struct attempt_end_note *note,
                       const struct usage *reported, const struct event_attempt_ended *ended)
{
    note->site = job->grant->site;
    note->width = job->width_next;
    job->outcome = (uint8_t)note->outcome;
    job->exit_code = note->exit_code;
    if (!job->across) {
        yield_count(job);
        yield_clear(grid, job);
        if (ended)
            rates_attempt_ended(grid, job, ended);
    }
    if (ended)
        freight_ended(grid, job, ended);
    settle(grid, job, reported, ended);
    if (job->across) {
        if (!across_over(grid, job, note))
            return;
        job->outcome = (uint8_t)note->outcome;
        job->exit_code = note->exit_code;
        yield_count(job);
        yield_clear(grid, job);
    }
    conclude(grid, job, note);
}

void attempt_ended(struct grid *grid, const struct event_attempt_ended *ended)
{
    struct job *job = find_attempt(grid, ended->job_id, ended->epoch);
    struct attempt_end_note note = { .told = ended->outcome, .exit_code = ended->exit_code };

    if (!job) {
        lease_settle(grid, ended->job_id, ended->epoch, &ended->usage);
        return;
    }
    if (job->across && ended->started_ms) /* the report of its start came never or comes later */
        attempt_started(grid, ended->job_id, ended->epoch);
    turn_to(job, ended->epoch);
    note.outcome = yield_outcome(job, ended->outcome);
    if (note.outcome == OUTCOME_LEASE && !lease_binds(grid, job))
        note.outcome = OUTCOME_LOST; /* a site has no reason to say so */
    snprintf(note.reason, sizeof(note.reason), "%s", ended->reason ? ended->reason : "");
    if (!job->across && !job->started_ms && ended->started_ms)
        job->started_ms = grid->now_ms; /* the same */
    close_part(grid, job, &note, &ended->usage, ended);
}

static const struct usage *running_of(const struct job *job, uint32_t epoch)
{
    if (job->across)
        return &across_part_of(job, epoch)->running;
    return job->past ? &job->past->running : NULL;
}

/* A part of a gang that was stopped for the others before it had begun: that explains nothing. */
static bool is_stopped_unbegun(const struct job *job, uint32_t epoch)
{
    return job->across && job->state == JOB_STOPPING && !across_part_of(job, epoch)->started;
}

void attempt_unknown(struct grid *grid, uint64_t job_id, uint32_t epoch)
{
    struct job *job = find_attempt(grid, job_id, epoch);
    struct attempt_end_note note = { .told = OUTCOME_STOPPED };

    if (!job) {
        lease_settle(grid, job_id, epoch, NULL);
        return;
    }
    turn_to(job, epoch);
    /* Asked to stop before it had begun: it has stopped. */
    note.outcome = yield_outcome(job, OUTCOME_STOPPED);
    if (note.outcome < OUTCOME_PREEMPTED && !is_stopped_unbegun(job, epoch))
        note.told = note.outcome = OUTCOME_LOST;
    snprintf(note.reason, sizeof(note.reason), "the site has no trace of it");
    close_part(grid, job, &note, running_of(job, epoch), NULL);
}

void attempt_lease_ended(struct grid *grid, struct job *job, uint32_t site)
{
    const struct grant *grant = job_grant_at(job, site);
    struct attempt_end_note note = { .told = OUTCOME_LEASE, .outcome = OUTCOME_LEASE };
    struct usage reported, billed;

    turn_to(job, grant->epoch);
    job_past_of(job);
    reported = *running_of(job, grant->epoch);
    billed = usage_of_grant(grid, job->grant, &reported);
    lease_remember(grid, job, &billed);
    close_part(grid, job, &note, &reported, NULL);
}
