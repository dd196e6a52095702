/* An attempt that is stopped so that its room, or its power, serves something else. It is asked to
 * stop like any other (SIGTERM, grace, SIGKILL); when the site says that it has, the job goes back
 * to where it stood in the queue. That is neither a failure nor a loss: it uses up no retry and
 * the ledger's row says what it was. A job that ends by itself meanwhile has ended as it says. */
#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static void list_add(struct grid *grid, uint64_t job_id)
{
    MEM_GROW(grid->yielding, grid->yielding_cap, grid->yielding_count + 1);
    grid->yielding[grid->yielding_count++] = job_id;
}

static void list_remove(struct grid *grid, uint64_t job_id)
{
    uint32_t at = 0;

    while (grid->yielding[at] != job_id)
        at++;
    grid->yielding[at] = grid->yielding[--grid->yielding_count];
}

bool yield_is_possible(const struct grid *grid, const struct job *job)
{
    return (job->state == JOB_STARTING || job->state == JOB_RUNNING) && !job->cancel_requested &&
           job_terms(grid, job)->requeue_on_loss;
}

void yield_ask(struct grid *grid, struct job *job, enum yield_cause cause, uint64_t for_id,
               const char *fmt, ...)
{
    char text[REASON_BYTES];
    va_list args;

    assert(cause != YIELD_NONE && yield_is_possible(grid, job));
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    job_set_reason(grid, job, "%s", text);
    job->yield_cause = (uint8_t)cause;
    job->yield_for = for_id;
    list_add(grid, job->item.id);
    suspend_over(grid, job);
    /* Its room is soon free: plans made from now on count on that. */
    for (struct grant *grant = job->grant; grant; grant = job_next_grant(job, grant))
        fleet_set_end(&grid->fleet, grant, grid->now_ms + END_SLACK_MS);
    job_set_state(grid, job, JOB_STOPPING);
    grid_emit(grid, EFFECT_STOP, job);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

/* What its ledger row says of an attempt that has ended: asked to yield, it did. */
uint32_t yield_outcome(const struct job *job, uint32_t outcome)
{
    if (outcome != OUTCOME_STOPPED || job->cancel_requested)
        return outcome;
    switch ((enum yield_cause)job->yield_cause) {
    case YIELD_NONE:
        break;
    case YIELD_PREEMPT:
    case YIELD_TURN:
        return OUTCOME_PREEMPTED;
    case YIELD_SHED:
        return OUTCOME_SHED;
    case YIELD_TARIFF:
        return OUTCOME_PAUSED;
    case YIELD_MOVE:
        return OUTCOME_MOVED;
    case YIELD_RESIZE:
        return OUTCOME_RESIZED;
    case YIELD_DEFRAG:
        return OUTCOME_DEFRAG;
    case YIELD_ASSIGN:
        return job->moves ? OUTCOME_MOVED : OUTCOME_PREEMPTED;
    }
    return outcome;
}

void yield_clear(struct grid *grid, struct job *job)
{
    if (job->yield_cause == YIELD_NONE)
        return;
    list_remove(grid, job->item.id);
    job->yield_cause = YIELD_NONE;
    job->yield_for = 0;
    job->width_next = 0;
}

/* For one of its like it makes way by what it has had (sched/order.h): that is no reason to spare
 * it from those who go first anyway. */
void yield_count(struct job *job)
{
    bool made_way = (job->outcome >= OUTCOME_PREEMPTED && job->outcome <= OUTCOME_PAUSED) ||
                    job->outcome == OUTCOME_DEFRAG ||
                    (job->outcome == OUTCOME_MOVED && job->yield_cause == YIELD_ASSIGN);

    if (made_way && job->yield_cause != YIELD_TURN && job->yields_count < UINT16_MAX)
        job->yields_count++;
}

void yield_restore(struct grid *grid, struct job *job)
{
    if (job->yield_cause != YIELD_NONE)
        list_add(grid, job->item.id);
}

bool yield_is_soon(const struct grid *grid, const struct job *job)
{
    for (struct grant *grant = job->grant; grant; grant = job_next_grant(job, grant))
        if (!grid->fleet.sites[grant->site].reachable)
            return false;
    return true;
}

bool yield_any_soon(const struct grid *grid)
{
    for (uint32_t i = 0; i < grid->yielding_count; i++)
        if (yield_is_soon(grid, grid_job(grid, grid->yielding[i])))
            return true;
    return false;
}

uint32_t yield_pending(const struct grid *grid, enum yield_cause cause, uint64_t for_id)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->yielding_count; i++) {
        const struct job *job = grid_job(grid, grid->yielding[i]);

        count += job->yield_cause == cause && job->yield_for == for_id && yield_is_soon(grid, job);
    }
    return count;
}
