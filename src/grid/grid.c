#include "grid/grid.h"

#include "grid/assigns.h"
#include "grid/freight.h"
#include "grid/guards.h"
#include "grid/owners.h"
#include "grid/packing.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/shed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct grid *grid_create(void)
{
    struct grid *grid = calloc(1, sizeof(*grid));

    if (grid) {
        grid->next_id = 1;
        grid->reservations = GRID_RESERVATIONS;
        grid->promises_version = UINT64_MAX;
        grid->owners_next_ms = INT64_MAX;
        grid->fleet.work = &grid->work;
        shares_init(grid);
    }
    return grid;
}

void grid_destroy(struct grid *grid)
{
    if (!grid)
        return;
    promises_fini(grid);
    grid_jobs_fini(grid);
    deps_fini(grid);
    queue_fini(&grid->queue);
    shapes_fini(&grid->shapes);
    packing_set(grid, PACKER_OFF);
    fleet_fini(&grid->fleet);
    work_fini(&grid->work);
    intern_fini(&grid->strings);
    intern_fini(&grid->specs);
    intern_fini(&grid->terms);
    intern_fini(&grid->tenant_names);
    intern_fini(&grid->key_texts);
    intern_fini(&grid->forgotten);
    free(grid->tenants);
    free(grid->cells);
    free(grid->guards);
    share_destroy(grid->share);
    free(grid->turn_list);
    free(grid->site_faults);
    free(grid->turns);
    free(grid->keys);
    free(grid->key_order);
    free(grid->parts_out);
    free(grid->yielding);
    free(grid->darks);
    fit_fini(&grid->fit);
    reserve_fini(&grid->reserve);
    power_free(grid);
    ranks_free(grid);
    assigns_free(grid);
    shed_destroy(grid->shed);
    free(grid->outs);
    free(grid->cut_jobs);
    free(grid->outlook_out);
    free(grid);
}

void grid_set_reservations(struct grid *grid, uint32_t count)
{
    grid->reservations = MIN(MAX(count, 1), GRID_RESERVATIONS_MAX);
}

/* --- effects --------------------------------------------------------------------------------- */

void grid_emit(struct grid *grid, enum effect_type type, const struct job *job)
{
    struct effect effect = { .type = type, .job_id = job->item.id, .epoch = job->epoch };
    struct job part;

    if (!grid->perform)
        return;
    if (!job->across || (type != EFFECT_RUN && type != EFFECT_STOP)) {
        job_fill_view(grid, job, &effect.view);
        grid->perform(grid->perform_context, &effect);
        return;
    }
    part = *job; /* each site is told of what it holds */
    for (part.grant = job_next_grant(job, NULL); part.grant;
         part.grant = job_next_grant(job, part.grant)) {
        effect.epoch = part.grant->epoch;
        job_fill_view(grid, &part, &effect.view);
        grid->perform(grid->perform_context, &effect);
    }
}

void grid_reissue(struct grid *grid, effect_fn perform, void *context)
{
    grid->perform = perform;
    grid->perform_context = context;
    for (struct job *job = grid_job_after(grid, 0); job; job = grid_job_after(grid, job->item.id)) {
        if (job->state == JOB_STARTING || job->state == JOB_RUNNING)
            grid_emit(grid, EFFECT_RUN, job);
        else if (job->state == JOB_STOPPING)
            grid_emit(grid, EFFECT_STOP, job);
    }
    grid->perform = NULL;
}

/* --- the step -------------------------------------------------------------------------------- */

/* The clock never steps back, whatever the events' times do; what is held is billed along it. */
void grid_advance(struct grid *grid, int64_t time_ms)
{
    uint64_t passed_ms;

    if (time_ms <= grid->now_ms)
        return;
    passed_ms = (uint64_t)(time_ms - grid->now_ms);
    grid->cpu_ms_held += grid->cpus_held * passed_ms;
    grid->device_milli_ms_held += grid->devices_milli_held * passed_ms;
    grid->now_ms = grid->fleet.now_ms = time_ms;
}

static int check_ended(const struct event_attempt_ended *ended, struct err *err)
{
    if (ended->outcome > OUTCOME_LOST && ended->outcome != OUTCOME_LEASE &&
        ended->outcome != OUTCOME_REFUSED)
        return err_set(err, -EINVAL, "job %" PRIu64 ": unknown outcome %u", ended->job_id,
                       ended->outcome);
    return 0;
}

static int policy_check(const struct event *event, struct err *err)
{
    if (event->policy_set.order > ORDER_LAST)
        return err_field(err, -EINVAL, "order", "unknown order %u", event->policy_set.order);
    if (event->policy_set.preempts > 1)
        return err_field(err, -EINVAL, "preempt", "preempt: expected 0 or 1");
    if (event->policy_set.fills > PACKER_PLACES)
        return err_field(err, -EINVAL, "fill", "fill: expected 0 to %d", PACKER_PLACES);
    if (event->policy_set.reservations > GRID_RESERVATIONS_MAX)
        return err_field(err, -EINVAL, "reservations", "reservations: expected 1 to %u, not %u",
                         GRID_RESERVATIONS_MAX, event->policy_set.reservations);
    if (event->policy_set.defrags > 1)
        return err_field(err, -EINVAL, "defrag", "defrag: expected 0 or 1");
    if (event->policy_set.by_value > 1)
        return err_field(err, -EINVAL, "by_value", "by_value: expected 0 or 1");
    if (event->policy_set.assigns > 1)
        return err_field(err, -EINVAL, "assign", "assign: expected 0 or 1");
    return 0;
}

int grid_check(const struct grid *grid, const struct event *event, struct err *err)
{
    int rc;

    if (event->time_ms < 0 || event->time_ms > EVENT_TIME_MS_MAX)
        return err_set(err, -EINVAL, "event time %" PRId64 " is out of range", event->time_ms);
    switch (event->type) {
    case EVENT_JOB_SUBMITTED:
        return submit_check(grid, &event->job_submitted, err);
    case EVENT_JOB_CANCELLED:
        return cancel_check(grid, event->job_cancelled.job_id, err);
    case EVENT_SITE_JOINED:
    case EVENT_SITE_SEEN:
    case EVENT_SITE_LOST:
    case EVENT_NODE_STATE:
    case EVENT_TENANT_SET:
        rc = forget_check(grid, event, err);
        return rc < 0 ? rc : place_check(grid, event, err);
    case EVENT_SITE_FORGOTTEN:
        return forget_check(grid, event, err);
    case EVENT_SITE_TARIFF:
        return tariffs_check(grid, &event->site_tariff, err);
    case EVENT_SITE_SHED:
        return power_check_shed(grid, &event->site_shed, err);
    case EVENT_POLICY_SET:
        return policy_check(event, err);
    case EVENT_TENANT_CELLS:
        return guards_check_event(grid, &event->tenant_cells, err);
    case EVENT_SITE_POLICY:
        return owners_check(grid, &event->site_policy, err);
    case EVENT_ATTEMPT_ENDED:
        return check_ended(&event->attempt_ended, err);
    case EVENT_CHECKPOINT_STORED:
        return saved_check(grid, &event->checkpoint_stored, err);
    case EVENT_RECEIPT:
        return signed_check(grid, &event->receipt, err);
    case EVENT_LEASE_ENDED:
        return lease_check(grid, event, err);
    case EVENT_JOB_MOVE:
        return move_check(grid, event, err);
    case EVENT_SITE_QUEUE:
    case EVENT_SITE_LINK:
        return freight_check(grid, event, err);
    case EVENT_JOB_RESIZE:
        return elastic_check(grid, event, err);
    case EVENT_PASS:
    case EVENT_TICK:
    case EVENT_ATTEMPT_STARTED:
    case EVENT_ATTEMPT_PROGRESS:
    case EVENT_ATTEMPT_UNKNOWN:
    case EVENT_ATTEMPT_SUSPENDED:
    case EVENT_NOTE:
        return 0;
    }
    return err_set(err, -EINVAL, "unknown event type %d", (int)event->type);
}

static void policy_apply(struct grid *grid, const struct event *event)
{
    bool is_other = (grid->order == ORDER_DEADLINE) != (event->policy_set.order == ORDER_DEADLINE);

    grid->order = event->policy_set.order;
    if (is_other)
        jobs_line_up_anew(grid);
    ranks_set(grid, grid->order == ORDER_PREDICTED);
    grid->preempts_not = !event->policy_set.preempts;
    packing_set(grid, (enum packer_reach)event->policy_set.fills);
    if (event->policy_set.reservations) /* those that are promised already stay so */
        grid_set_reservations(grid, event->policy_set.reservations);
    grid->defrags = event->policy_set.defrags;
    grid->defrag_next_ms = 0;
    if (grid->by_value != (event->policy_set.by_value == 1)) {
        grid->by_value = event->policy_set.by_value;
        shares_rebuild(grid, false);
    }
    assigns_set(grid, event->policy_set.assigns);
    grid->wants_pass = true;
}

/* What time alone brings about. */
static void tick(struct grid *grid)
{
    owners_tick(grid);
    power_tick(grid);
    preempt_tick(grid);
    defrag_tick(grid);
    assigns_tick(grid);
    freight_tick(grid);
    ranks_tick(grid);
    widen_tick(grid);
    timers_fire(grid);
}

/* What a site costs, lets in and can do. */
static void apply_terms(struct grid *grid, const struct event *event)
{
    if (event->type == EVENT_POLICY_SET)
        policy_apply(grid, event);
    else if (event->type == EVENT_SITE_TARIFF)
        tariffs_apply(grid, &event->site_tariff);
    else if (event->type == EVENT_SITE_SHED)
        power_apply_shed(grid, &event->site_shed);
    else if (event->type == EVENT_SITE_POLICY)
        owners_apply(grid, &event->site_policy);
    else if (event->type == EVENT_TENANT_CELLS)
        guards_apply_event(grid, &event->tenant_cells);
    else
        freight_apply(grid, event);
}

static void apply(struct grid *grid, const struct event *event, struct step_result *result)
{
    switch (event->type) {
    case EVENT_JOB_SUBMITTED:
        submit_apply(grid, &event->job_submitted, result);
        break;
    case EVENT_JOB_CANCELLED:
        cancel_apply(grid, event->job_cancelled.job_id, event->job_cancelled.by,
                     event->job_cancelled.reason);
        break;
    case EVENT_SITE_JOINED:
    case EVENT_SITE_SEEN:
    case EVENT_SITE_LOST:
    case EVENT_NODE_STATE:
    case EVENT_TENANT_SET:
    case EVENT_SITE_FORGOTTEN:
        place_apply(grid, event);
        guards_follow(grid, event);
        break;
    case EVENT_POLICY_SET:
    case EVENT_SITE_TARIFF:
    case EVENT_SITE_SHED:
    case EVENT_SITE_POLICY:
    case EVENT_SITE_QUEUE:
    case EVENT_SITE_LINK:
    case EVENT_TENANT_CELLS:
        apply_terms(grid, event);
        break;
    case EVENT_PASS:
    case EVENT_TICK:
        tick(grid);
        if (event->type == EVENT_PASS)
            pass_run(grid);
        break;
    case EVENT_ATTEMPT_STARTED:
        attempt_started(grid, event->attempt_started.job_id, event->attempt_started.epoch);
        break;
    case EVENT_ATTEMPT_PROGRESS:
        attempt_progress(grid, event->attempt_progress.job_id, event->attempt_progress.epoch,
                         &event->attempt_progress.usage, event->attempt_progress.checkpoint_ms,
                         event->attempt_progress.stall_ms, event->attempt_progress.reason);
        break;
    case EVENT_ATTEMPT_ENDED:
        attempt_ended(grid, &event->attempt_ended);
        break;
    case EVENT_ATTEMPT_UNKNOWN:
        attempt_unknown(grid, event->attempt_unknown.job_id, event->attempt_unknown.epoch);
        break;
    case EVENT_ATTEMPT_SUSPENDED:
        suspend_reported(grid, event);
        break;
    case EVENT_CHECKPOINT_STORED:
        saved_apply(grid, &event->checkpoint_stored);
        break;
    case EVENT_RECEIPT:
        signed_apply(grid, &event->receipt);
        break;
    case EVENT_LEASE_ENDED:
        lease_apply(grid, event);
        break;
    case EVENT_JOB_MOVE:
        move_apply(grid, event);
        break;
    case EVENT_JOB_RESIZE:
        elastic_apply(grid, event);
        break;
    case EVENT_NOTE:
        break;
    }
}

int grid_step(struct grid *grid, const struct event *event, effect_fn perform, void *context,
              struct step_result *result_out, struct err *err)
{
    struct step_result result = { 0 };
    int rc = grid_check(grid, event, err);

    if (rc < 0)
        return rc;
    grid->perform = perform;
    grid->perform_context = context;
    grid_advance(grid, event->time_ms);
    tariffs_observe(grid);
    apply(grid, event, &result);
    tariffs_observe(grid); /* what it told */
    deps_settle(grid);
    keys_expire(grid); /* last, so that check and apply saw the same keys */
    grid->perform = NULL;
    if (result_out)
        *result_out = result;
    return 0;
}

bool grid_wants_pass(const struct grid *grid)
{
    return grid->wants_pass;
}
