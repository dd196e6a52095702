#include "agent/slurm_internal.h"

#include "agent/engine_job.h"
#include "base/clock.h"

#include <stdio.h>
#include <sys/timerfd.h>

#define SAVE_LOOK_SHARE 10 /* no more than this part of the time, by what a look takes */
#define LEASE_KILL_PART 3  /* of the time for stopping: what is left when SIGKILL is due */

/* ---- the lease ---- */

bool slurm_keeps_lease(const struct executor *executor)
{
    return !CONTAINER_OF(executor, struct slurm, base)->settings.unguarded;
}

void slurm_take_lease(struct executor *executor, const struct lease *lease)
{
    struct slurm *slurm = CONTAINER_OF(executor, struct slurm, base);

    guard_take_lease(&slurm->guard, lease, slurm->bound);
}

static uint64_t lease_of(void *context, struct attempt_key key)
{
    const struct slurm_attempt *attempt = slurm_find(context, key);

    return attempt && attempt->state != ATTEMPT_ENDED && !attempt->stopping && !attempt->collecting
               ? attempt->note.lease
               : 0;
}

void slurm_answer_guards(struct slurm *slurm)
{
    if (slurm->bound)
        guard_answer(&slurm->guard, lease_of, slurm);
}

/* Its guard sees to what runs, to the moment; what waits in Slurm's queue must never begin, and
 * what is left then, a guard that was killed with it, say, goes by scancel. */
static void look_at_lease(struct slurm *slurm, struct slurm_attempt *attempt, int64_t now)
{
    int64_t left_ms;

    if (!attempt->note.lease || attempt->stop_end == END_LEASE ||
        !guard_is_over(&slurm->guard, attempt->note.lease, &left_ms))
        return;
    attempt->stopping = attempt->told_term = true;
    attempt->stop_end = END_LEASE;
    attempt->save.until_ms = 0;
    attempt->kill_at_ms = now;
    if (attempt->state == ATTEMPT_RUNNING && left_ms > slurm->guard.lease.stop_ms / LEASE_KILL_PART)
        attempt->kill_at_ms += left_ms - slurm->guard.lease.stop_ms / LEASE_KILL_PART;
    snprintf(attempt->record.reason, sizeof(attempt->record.reason),
             "the site was not answered by the network for longer than its lease");
    if (!attempt->note.slurm_id && !attempt->submitting && !attempt->unsure)
        slurm_finish(slurm, attempt, END_LEASE, 0, clock_wall_ms(), attempt->record.reason);
}

/* ---- checkpoints ---- */

static void set_timer(const struct slurm *slurm, int64_t after_ms)
{
    const struct itimerspec when = { .it_value.tv_sec = after_ms / 1000,
                                     .it_value.tv_nsec = after_ms % 1000 * 1000000 };

    timerfd_settime(slurm->timer_fd, 0, &when, NULL);
}

/* A checkpoint first, for as long as its grace is. False: it takes none. */
static bool begin_save(struct slurm *slurm, struct slurm_attempt *attempt)
{
    int64_t newest_ms;

    if (!attempt->note.save_signal || attempt->state != ATTEMPT_RUNNING || attempt->told_term)
        return false;
    newest_ms = engine_job_saved_ms(&slurm->place, attempt->key, attempt->note.save_path);
    if (!engine_job_ask_to_save(&slurm->place, attempt->key, &attempt->saves_asked))
        return false;
    save_wait_begin(&attempt->save, newest_ms, slurm_now_mono() + attempt->note.grace_ms);
    set_timer(slurm, SLURM_SAVE_LOOK_MS);
    return true;
}

/* ---- stopping ---- */

void slurm_stop_tell(struct slurm *slurm, struct slurm_attempt *attempt)
{
    if (!attempt->stopping || attempt->save.until_ms || !attempt->note.slurm_id ||
        attempt->told_term)
        return;
    attempt->told_term = true;
    slurm_cancel(slurm, attempt, attempt->state == ATTEMPT_RUNNING ? "TERM" : NULL);
}

static void terminate(struct slurm *slurm, struct slurm_attempt *attempt, int64_t grace_ms)
{
    int64_t kill_at_ms = slurm_now_mono() + grace_ms;

    attempt->save.until_ms = 0;
    attempt->kill_at_ms =
        attempt->kill_at_ms ? MIN(attempt->kill_at_ms, kill_at_ms) : MAX(kill_at_ms, 1);
    slurm->look_at_ms = MIN(slurm->look_at_ms, slurm_now_mono());
    slurm_stop_tell(slurm, attempt);
    if (!attempt->note.slurm_id && !attempt->submitting && !attempt->unsure)
        slurm_finish(slurm, attempt, attempt->stop_end, 0, clock_wall_ms(), attempt->record.reason);
}

static void look_for_save(struct slurm *slurm, struct slurm_attempt *attempt)
{
    int64_t began_ms = slurm_now_mono();
    int64_t newest_ms = engine_job_saved_ms(&slurm->place, attempt->key, attempt->note.save_path);

    if (save_wait_look(&attempt->save, newest_ms, slurm_now_mono())) {
        terminate(slurm, attempt, attempt->note.grace_ms);
        return;
    }
    /* A large one on a slow file server is looked at less often: all else waits meanwhile. */
    set_timer(slurm, MAX(SLURM_SAVE_LOOK_MS, (slurm_now_mono() - began_ms) * SAVE_LOOK_SHARE));
}

void slurm_stop_look(struct slurm *slurm)
{
    struct slurm_attempt *attempt, *next;

    HASH_ITER (hh, slurm->attempts, attempt, next)
        if (attempt->save.until_ms && attempt->state != ATTEMPT_ENDED && !attempt->collecting)
            look_for_save(slurm, attempt);
}

void slurm_stop_attempt(struct slurm *slurm, struct slurm_attempt *attempt, enum attempt_end end,
                        int64_t grace_ms, const char *reason)
{
    if (!attempt->stopping) {
        attempt->stopping = true;
        attempt->stop_end = end;
        if (attempt->state == ATTEMPT_BEGUN && attempt->note.slurm_id) /* for so long, at least */
            queuing_begun(&slurm->queuing, attempt->note.parts[0].devices > 0,
                          attempt->note.parts_count, clock_wall_ms() - attempt->note.submitted_ms,
                          clock_wall_ms());
        snprintf(attempt->record.reason, sizeof(attempt->record.reason), "%.159s", reason);
        if (grace_ms == WIRE_GRACE_SAVES && begin_save(slurm, attempt))
            return;
    } else if (attempt->save.until_ms && grace_ms == WIRE_GRACE_SAVES) {
        return; /* asked already */
    }
    terminate(slurm, attempt, grace_ms < 0 ? attempt->note.grace_ms : grace_ms);
}

void slurm_stop_tick(struct slurm *slurm, struct slurm_attempt *attempt, int64_t now)
{
    int64_t every_ms = attempt->note.save_every_ms;

    look_at_lease(slurm, attempt, now);
    if (every_ms > 0 && attempt->note.save_signal && attempt->state == ATTEMPT_RUNNING &&
        !attempt->stopping) {
        if (attempt->save_at_ms && now >= attempt->save_at_ms)
            engine_job_ask_to_save(&slurm->place, attempt->key, &attempt->saves_asked);
        if (!attempt->save_at_ms || now >= attempt->save_at_ms)
            attempt->save_at_ms = now + every_ms;
    }
    if (!attempt->stopping || !attempt->note.slurm_id || !attempt->kill_at_ms ||
        now < attempt->kill_at_ms)
        return;
    attempt->kill_at_ms = now + SLURM_LOOK_MS_MAX; /* and again, should that be lost */
    if (attempt->state == ATTEMPT_RUNNING)
        slurm_cancel(slurm, attempt, "KILL");
    slurm_cancel(slurm, attempt, NULL);
}
