/* An attempt that is held still in place for a while, because its site must draw less: its
 * processes stand, its memory and its devices stay its own, nothing of its work is lost. The site
 * is told with (job, epoch), and says when it stands (event ATTEMPT_SUSPENDED); until then it
 * counts as drawing what it did, from then on as idle. Told to go on, it counts in full at once.
 *
 * The job is running all the while: it is billed for what it holds, but its time limit does not
 * run. It stands for a day at most; then it is stopped like any other. */
#include "grid/power.h"
#include "grid/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define ANSWER_MS 30000 /* a site that has not done it by then will not: it is stopped instead */
#define LONGER_MS (3600 * 1000LL) /* at a time, for one that stands longer than was foreseen */

bool suspend_holds(const struct job *job)
{
    return job->wait && job->wait->suspended_ms;
}

bool suspend_is_possible(const struct grid *grid, const struct job *job, int64_t lasts_ms)
{
    const struct fleet_site *site =
        job->grant && !job->across ? &grid->fleet.sites[job->grant->site] : NULL;

    /* What it would be billed beyond its limit is not set aside of anybody's budget, nor within
     * what it may cost. */
    return site && job->state == JOB_RUNNING && site->info.suspends && site->reachable &&
           !job->cancel_requested && !suspend_holds(job) && lasts_ms <= SUSPEND_MS_MAX &&
           !budget_exists(grid, job->tenant) && !job_terms(grid, job)->price_micro_max;
}

void suspend_ask(struct grid *grid, struct job *job, int64_t lasts_ms, const char *fmt, ...)
{
    struct job_wait *wait = job_wait_of(job);
    char text[REASON_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    job_set_reason(grid, job, "%s", text);
    wait->suspended_ms = MAX(grid->now_ms, (int64_t)1);
    wait->frozen_ms = 0;
    wait->lasts_ms = 0;
    if (job->grant->end_ms < INT64_MAX - lasts_ms) {
        wait->lasts_ms = lasts_ms;
        fleet_set_end(&grid->fleet, job->grant, job->grant->end_ms + lasts_ms);
    }
    power_list(grid, job);
    grid_emit(grid, EFFECT_SUSPEND, job);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

/* It stands no longer, or will not. */
static void leave(struct grid *grid, struct job *job)
{
    struct job_wait *wait = job->wait;

    if (wait->frozen_ms)
        wait->stood_ms += grid->now_ms - wait->frozen_ms;
    if (job->grant->is_idle)
        power_set_idle(grid, job->grant, false);
    wait->suspended_ms = wait->frozen_ms = wait->lasts_ms = 0;
}

void suspend_over(struct grid *grid, struct job *job)
{
    if (suspend_holds(job))
        leave(grid, job);
}

void suspend_resume(struct grid *grid, struct job *job)
{
    struct job_wait *wait = job->wait;

    /* Its limit has stood still for as long as it did. */
    if (wait->lasts_ms)
        fleet_set_end(&grid->fleet, job->grant,
                      job->grant->end_ms - wait->lasts_ms + (grid->now_ms - wait->suspended_ms));
    leave(grid, job);
    job_set_reason(grid, job, "%s", "");
    grid_emit(grid, EFFECT_RESUME, job);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

/* Not in place, then: it is stopped, or goes on where that may not be. */
static void give_up(struct grid *grid, struct job *job, const char *why)
{
    const char *site = grid->fleet.sites[job->grant->site].info.name;

    if (!yield_is_possible(grid, job)) {
        suspend_resume(grid, job);
        return;
    }
    yield_ask(grid, job, YIELD_SHED, 0, "stopped: site %s must draw less, and %.90s", site, why);
}

void suspend_reported(struct grid *grid, const struct event *event)
{
    struct job *job = grid_job(grid, event->attempt_suspended.job_id);
    const char *reason = event->attempt_suspended.reason;

    if (!job || job->epoch != event->attempt_suspended.epoch || job->state != JOB_RUNNING ||
        !suspend_holds(job) || job->wait->frozen_ms)
        return;
    if (!event->attempt_suspended.suspended) {
        give_up(grid, job, reason && *reason ? reason : "it could not be suspended");
        return;
    }
    job->wait->frozen_ms = MAX(grid->now_ms, (int64_t)1);
    power_set_idle(grid, job->grant, true);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

/* A new attempt: what the one before has stood is kept apart. */
void suspend_begin(struct job *job)
{
    if (!job->wait)
        return;
    job->wait->stood_before_ms += job->wait->stood_ms;
    job->wait->stood_ms = 0;
}

int64_t suspend_stood_ms(const struct grid *grid, const struct job *job)
{
    const struct job_wait *wait = job->wait;

    if (!wait)
        return 0;
    return wait->stood_before_ms + wait->stood_ms +
           (wait->frozen_ms ? grid->now_ms - wait->frozen_ms : 0);
}

static int64_t due_ms(const struct job *job)
{
    const struct job_wait *wait = job->wait;

    return wait->suspended_ms + (wait->frozen_ms ? SUSPEND_MS_MAX : ANSWER_MS);
}

/* Of those that cannot be stopped none is due once it stands. */
static bool is_watched(const struct grid *grid, const struct job *job)
{
    return suspend_holds(job) && (!job->wait->frozen_ms || yield_is_possible(grid, job));
}

/* The end that others count on comes nearer from then on, though nothing of it runs. */
static int64_t longer_ms(const struct job *job)
{
    const struct job_wait *wait = job->wait;

    return wait->frozen_ms && wait->lasts_ms ? wait->suspended_ms + wait->lasts_ms : INT64_MAX;
}

static void stand_longer(struct grid *grid, struct job *job)
{
    if (job->grant->end_ms >= INT64_MAX - LONGER_MS)
        return;
    job->wait->lasts_ms += LONGER_MS;
    fleet_set_end(&grid->fleet, job->grant, job->grant->end_ms + LONGER_MS);
}

int64_t suspend_next_ms(const struct grid *grid)
{
    int64_t next_ms = INT64_MAX;

    for (uint32_t i = 0; i < grid->cut_jobs_count; i++) {
        const struct job *job = grid_job(grid, grid->cut_jobs[i]);

        if (job && is_watched(grid, job))
            next_ms = MIN(next_ms, due_ms(job));
        if (job && suspend_holds(job))
            next_ms = MIN(next_ms, longer_ms(job));
    }
    return next_ms;
}

void suspend_tick(struct grid *grid)
{
    for (uint32_t i = 0; i < grid->cut_jobs_count; i++) {
        struct job *job = grid_job(grid, grid->cut_jobs[i]);

        if (job && is_watched(grid, job) && due_ms(job) <= grid->now_ms)
            give_up(grid, job,
                    job->wait->frozen_ms ? "it has been suspended for a day"
                                         : "the site has not said that it stands");
        else if (job && suspend_holds(job) && longer_ms(job) <= grid->now_ms)
            stand_longer(grid, job);
    }
}

int suspend_check(const struct grid *grid, const struct job *job, struct err *err)
{
    const struct job_wait *wait = job->wait;
    bool is_idle = job->grant && job->grant->is_idle, is_listed = false;

    if (is_idle != (wait && wait->frozen_ms))
        return err_set(err, -EINVAL, "job %" PRIu64 " stands and is not counted so, or the reverse",
                       job->item.id);
    if (!wait || !wait->suspended_ms)
        return is_idle || (wait && wait->lasts_ms)
                   ? err_set(err, -EINVAL, "job %" PRIu64 " stands for no reason", job->item.id)
                   : 0;
    for (uint32_t i = 0; i < grid->cut_jobs_count && !is_listed; i++)
        is_listed = grid->cut_jobs[i] == job->item.id;
    if (job->state != JOB_RUNNING || !is_listed || !power_of(grid, job->grant->site) ||
        wait->cut_site || wait->suspended_ms > MAX(grid->now_ms, (int64_t)1))
        return err_set(err, -EINVAL, "job %" PRIu64 " is suspended and nobody will wake it",
                       job->item.id);
    return 0;
}
