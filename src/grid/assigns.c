/* Who is bound to a kind of chip, and what is kept for it; assigns_round.c decides who that is. */
#include "grid/assigns.h"

#include "grid/power.h"
#include "sched/mem.h"
#include "sched/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LETS_PAST_MS (24 * 3600000LL)
#define BOUND_MS (15 * 60 * 1000LL) /* a stop with its checkpoint takes no longer, mostly */

/* --- a job's kinds ---------------------------------------------------------------------------- */

bool assigns_may_use(const struct grid *grid, const struct shape *shape,
                     const struct candidate *candidate)
{
    const struct fleet_site *site = &grid->fleet.sites[candidate->site];

    return candidate->chip < FLEET_MIXED && candidate->rate.seconds > 0 && site->reachable &&
           !site->power.is_capped && !site->freight.waits_count &&
           owner_is_open(&grid->fleet, shape, candidate->site);
}

bool assigns_is_asked(const struct grid *grid, const struct job *job)
{
    const struct shape *shape = job_asked(grid, job);
    const struct terms *terms = job_terms(grid, job);

    return shape->work && shape->devices_milli >= 1000 && !shape->mixed && shape->sites_max < 2 &&
           !shape->apart && !shape->guard && shape->places_count < REQUEST_PLACES_MAX &&
           !terms->tasks_max && !terms->spares;
}

const struct candidate *assigns_kinds(struct grid *grid, const struct job *job, uint32_t *count_out)
{
    return shape_candidates(job_asked(grid, job), &grid->fleet, &job_terms(grid, job)->objective,
                            count_out);
}

double assigns_best(const struct candidate *list, uint32_t count)
{
    double best = 0;

    for (uint32_t i = 0; i < count; i++)
        if (list[i].rate.seconds > 0 && (best <= 0 || list[i].score < best))
            best = list[i].score;
    return best;
}

double assigns_share(struct grid *grid, const struct job *job, uint32_t site, uint16_t chip)
{
    uint32_t count;
    const struct candidate *list = assigns_kinds(grid, job, &count);
    double here = 0, best = assigns_best(list, count);

    for (uint32_t i = 0; i < count; i++)
        if (list[i].rate.seconds > 0 && list[i].site == site && list[i].chip == chip)
            here = list[i].score;
    return here > 0 && best > 0 ? best / here : 0;
}

/* What its attempt has done since it started, as long as that takes on its best kind. */
static int64_t doing_ms(struct grid *grid, const struct job *job, int64_t until_ms)
{
    int64_t ran_ms = job->started_ms ? MAX(until_ms - job->started_ms, (int64_t)0) : 0;
    double share =
        assigns_share(grid, job, job->grant->site, fleet_grant_chip(&grid->fleet, job->grant));

    return share > 0 ? (int64_t)((double)ran_ms * share) : ran_ms;
}

int64_t assigns_done_ms(struct grid *grid, const struct job *job)
{
    return (job->past ? job->past->done_ms : 0) +
           (job->grant ? doing_ms(grid, job, grid->now_ms) : 0);
}

/* Of what was lost only what is saved counts. */
void assigns_settled(struct grid *grid, struct job *job)
{
    int64_t until_ms = grid->now_ms;

    if (!grid->assigns || job->across || !assigns_is_asked(grid, job))
        return;
    if (job->outcome == OUTCOME_LOST || job->outcome == OUTCOME_LEASE)
        until_ms = MIN(job->past->checkpoint_ms, grid->now_ms);
    job->past->done_ms =
        MIN(job->past->done_ms + doing_ms(grid, job, until_ms), (int64_t)DURATION_MS_MAX);
}

/* --- trying out, and starting ----------------------------------------------------------------- */

void assigns_take_parts(struct grid *grid, const struct grant *grant, bool give_back)
{
    for (uint32_t i = 0; i < grant->parts_count; i++)
        fleet_take_part(&grid->fleet.sites[grant->site], &grant->parts[i], give_back);
}

static void set_window(struct grid *grid, const struct job *job, bool is_head)
{
    grid->fleet.window.until_ms = job_end_bound(grid, job);
    grid->fleet.window.is_promised = is_head;
}

struct grant *assigns_place(struct grid *grid, const struct job *job, uint32_t site, uint16_t chip,
                            bool is_head)
{
    struct shape *shape = job_asked(grid, job);

    set_window(grid, job, is_head);
    return fit_candidate_plainly(shape, &grid->fleet, site, chip, FIT_LIMITED, &grid->fit)
               ? fit_grant(shape, &grid->fleet, &grid->fit, FIT_LIMITED)
               : NULL;
}

bool assigns_start(struct grid *grid, struct job *job, uint32_t site, uint16_t chip, bool is_head)
{
    struct shape *shape = job_asked(grid, job);
    struct grant *grant;

    set_window(grid, job, is_head);
    if (!owner_lets(&grid->fleet, shape, site) || !owner_is_open(&grid->fleet, shape, site) ||
        !fit_candidate(shape, &grid->fleet, site, chip, FIT_LIMITED, &grid->fit))
        return false;
    if (job->bound_site) /* what it may cost is asked of all that it may have */
        move_unbind(grid, job);
    if (pass_hold(grid, job) != HOLD_NONE || power_holds(grid, job))
        return false;
    grant = fit_grant(job_asked(grid, job), &grid->fleet, &grid->fit, FIT_LIMITED);
    grant->choice.how = CHOICE_ASSIGNED;
    attempt_start(grid, job, &grant, 1);
    return true;
}

/* --- who is bound ----------------------------------------------------------------------------- */

void assigns_bind(struct grid *grid, struct job *job, uint32_t site, uint16_t chip)
{
    struct assigns *assigns = grid->assigns;

    move_bind_kind(grid, job, site, grid->fleet.sites[site].chips[chip].kind);
    assigns->bound[assigns->bound_count].job_id = job->item.id;
    assigns->bound[assigns->bound_count++].until_ms = grid->now_ms + BOUND_MS;
}

/* Only a queued job, or one that is to go there, is bound by a round. */
static bool is_bound(const struct job *job)
{
    return job && job->bound_chip && (job->state == JOB_QUEUED || job->moves);
}

/* Who is in the queue and has waited for a kind for long enough goes where it likes again. */
static void release_bound(struct grid *grid, bool all)
{
    struct assigns *assigns = grid->assigns;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < assigns->bound_count; i++) {
        struct job *job = grid_job(grid, assigns->bound[i].job_id);

        if (is_bound(job) && job->state == JOB_QUEUED &&
            (all || assigns->bound[i].until_ms <= grid->now_ms))
            move_unbind(grid, job);
        if (is_bound(job))
            assigns->bound[kept++] = assigns->bound[i];
    }
    assigns->bound_count = kept;
}

void assigns_set(struct grid *grid, bool is_on)
{
    if (is_on == (grid->assigns != NULL))
        return;
    if (is_on) {
        grid->assigns = mem_alloc(1, sizeof(*grid->assigns));
        grid->assigns->solver = assign_create();
        return;
    }
    for (uint32_t i = 0; i < grid->assigns->bound_count; i++) {
        struct job *job = grid_job(grid, grid->assigns->bound[i].job_id);

        if (job && job->bound_chip)
            move_unbind(grid, job);
    }
    assigns_free(grid);
}

void assigns_free(struct grid *grid)
{
    if (!grid->assigns)
        return;
    assign_destroy(grid->assigns->solver);
    free(grid->assigns);
    grid->assigns = NULL;
}

/* Who is on its way out is looked at again when it has gone. */
static int64_t next_release_ms(const struct grid *grid)
{
    const struct assigns *assigns = grid->assigns;

    for (uint32_t i = 0; i < assigns->bound_count; i++) {
        const struct job *job = grid_job(grid, assigns->bound[i].job_id);

        if (is_bound(job) && job->state == JOB_QUEUED)
            return assigns->bound[i].until_ms;
    }
    return INT64_MAX;
}

int64_t assigns_next_ms(const struct grid *grid)
{
    if (!grid->assigns)
        return INT64_MAX;
    return MIN(grid->assigns->next_ms ? grid->assigns->next_ms : INT64_MAX, next_release_ms(grid));
}

void assigns_tick(struct grid *grid)
{
    struct assigns *assigns = grid->assigns;

    if (assigns_next_ms(grid) > grid->now_ms)
        return;
    release_bound(grid, false);
    if (assigns->next_ms <= grid->now_ms)
        assigns->next_ms = 0;
    grid->wants_pass = true;
}

/* --- what is kept for them -------------------------------------------------------------------- */

static bool find_kind(const struct grid *grid, const struct job *job, uint16_t *chip_out)
{
    const struct fleet_site *site = &grid->fleet.sites[job->bound_site - 1];
    const char *kind = intern_data(&grid->strings, job->bound_chip);

    for (uint32_t c = 0; c < site->chips_count; c++)
        if (strcmp(site->chips[c].kind, kind) == 0) {
            *chip_out = (uint16_t)c;
            return site->reachable;
        }
    return false;
}

/* Everybody that makes way for this, as if it had; or as it is, again. How many those are. */
static uint32_t take_yielding(struct grid *grid, bool give_back)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->yielding_count; i++) {
        const struct job *job = grid_job(grid, grid->yielding[i]);

        if (job->yield_cause != YIELD_ASSIGN || !yield_is_soon(grid, job))
            continue;
        assigns_take_parts(grid, job->grant, give_back);
        count++;
    }
    return count;
}

/* The limits of a hold are those of the moment at which all that makes way has, and the holds
 * before it are taken. */
static void hold(struct grid *grid, const struct job *job, uint16_t chip)
{
    struct assigns *assigns = grid->assigns;
    struct promise *hold = &assigns->holds[assigns->holds_count];
    struct grant *plan = assigns_place(grid, job, job->bound_site - 1, chip, true);

    if (!plan)
        return;
    *hold = (struct promise){
        .is_hold = true, .start_ms = INT64_MAX, .end_ms = INT64_MAX, .chip = chip, .plan = plan
    };
    promise_set(hold, &grid->fleet);
    assigns_take_parts(grid, plan, false);
    assigns->holds_count++;
}

/* False: nobody makes way any more. */
static bool hold_all(struct grid *grid)
{
    struct assigns *assigns = grid->assigns;
    struct fleet *fleet = &grid->fleet;
    uint16_t chip;

    if (!take_yielding(grid, true))
        return false;
    for (uint32_t i = 0; i < assigns->bound_count; i++) {
        const struct job *job = grid_job(grid, assigns->bound[i].job_id);

        if (find_kind(grid, job, &chip))
            hold(grid, job, chip);
    }
    for (uint32_t i = 0; i < assigns->holds_count; i++)
        assigns_take_parts(grid, assigns->holds[i].plan, true);
    take_yielding(grid, false);
    for (uint32_t i = 0; i < assigns->holds_count; i++) { /* their nodes have less again */
        const struct grant *plan = assigns->holds[i].plan;
        struct fleet_site *site = &fleet->sites[plan->site];

        for (uint32_t k = 0; k < plan->parts_count; k++)
            room_move(&site->room, site, plan->parts[k].node);
    }
    fleet->window.is_promised = false;
    return true;
}

/* Where others want devices, too, of which no round is ever asked, they would go before those that
 * wait for one, whatever their class: then nobody waits. */
static bool holds_back(const struct grid *grid)
{
    if (!assigns_chooses(grid) || !grid->assigns->is_short)
        return false;
    for (uint32_t i = 0; i < grid->queue.used_count; i++) {
        const struct job *job =
            (const struct job *)grid->queue.buckets[grid->queue.used[i].number].first;

        if (job_shape(grid, job)->devices_milli && !assigns_is_asked(grid, job))
            return false;
    }
    return true;
}

void assigns_begin(struct grid *grid)
{
    struct assigns *assigns = grid->assigns;
    uint32_t kept = 0;

    if (!assigns)
        return;
    for (uint32_t i = 0; i < assigns->bound_count; i++) {
        struct job *job = grid_job(grid, assigns->bound[i].job_id);
        uint16_t chip;

        if (!is_bound(job))
            continue;
        if (job->state == JOB_QUEUED && find_kind(grid, job, &chip))
            assigns_start(grid, job, job->bound_site - 1, chip, false);
        else if (job->state == JOB_QUEUED)
            move_unbind(grid, job);
        if (is_bound(job))
            assigns->bound[kept++] = assigns->bound[i];
    }
    assigns->bound_count = kept;
    if (kept && !hold_all(grid))
        release_bound(grid, true);
    shares_rank(grid);
    assigns_round_soon(grid);
    assigns->holds_back = holds_back(grid);
}

bool assigns_chooses(const struct grid *grid)
{
    return grid->assigns && grid->order == ORDER_FAIR && !grid->preempts_not &&
           grid->turn_count < 2;
}

bool assigns_waits(const struct grid *grid, const struct job *job)
{
    return grid->assigns->holds_back && assigns_lets_past(grid, job);
}

bool assigns_lets_past(const struct grid *grid, const struct job *job)
{
    return assigns_chooses(grid) && assigns_is_asked(grid, job) &&
           grid->now_ms - job->item.eligible_ms < LETS_PAST_MS;
}

/* --- in words --------------------------------------------------------------------------------- */

void assigns_say(struct grid *grid, const struct job *job, char *out, size_t bytes)
{
    const struct candidate *list;
    uint32_t count, shown = 0;
    size_t len = 0;
    double best;

    if (!grid->assigns || job->across || !assigns_is_asked(grid, job))
        return;
    list = assigns_kinds(grid, job, &count);
    best = assigns_best(list, count);
    for (uint32_t i = 0; i < count && shown < 3; i++) {
        const struct fleet_site *site = &grid->fleet.sites[list[i].site];

        if (!(list[i].rate.seconds > 0 && list[i].score > 0 && best > 0) ||
            list[i].chip >= FLEET_MIXED || len >= bytes)
            continue;
        len += (size_t)snprintf(
            out + len, bytes - len, "%s%.24s at %.24s %d %%",
            shown++ ? ", " : "its best kinds of chip: ", site->chips[list[i].chip].kind,
            site->info.name, (int)(best / list[i].score * 100 + 0.5));
    }
    if (shown < 2)
        *out = '\0'; /* there is nothing to choose */
}

/* --- snapshots and checks --------------------------------------------------------------------- */

void assigns_put(const struct grid *grid, struct buf *out)
{
    const struct assigns *assigns = grid->assigns;

    put_u64(out, assigns != NULL);
    if (assigns) {
        put_i64(out, assigns->next_ms);
        put_i64(out, assigns->last_ms);
        put_u64(out, assigns->is_short);
        put_u64(out, assigns->cursor);
        put_u64(out, assigns->bound_count);
        for (uint32_t i = 0; i < assigns->bound_count; i++) {
            put_u64(out, assigns->bound[i].job_id);
            put_i64(out, assigns->bound[i].until_ms);
        }
    }
    for (const struct job *job = grid_job_after(grid, 0); job;
         job = grid_job_after(grid, job->item.id)) {
        if (!job->bound_chip && !(job->past && job->past->done_ms))
            continue;
        put_u64(out, job->item.id);
        put_text(out, job->bound_chip ? intern_data(&grid->strings, job->bound_chip) : "");
        put_i64(out, job->past ? job->past->done_ms : 0);
    }
    put_u64(out, 0);
}

/* Its shape, read before, has the kind already. */
static bool take_job(struct grid *grid, struct cursor *in, uint64_t id)
{
    struct job *job = grid_job(grid, id);
    const char *chip;
    int64_t done_ms;
    size_t len;

    if (!job || job->bound_chip || get_text(in, &chip, &len) < 0 || len >= MODEL_NAME_BYTES ||
        get_i64(in, &done_ms) < 0 || done_ms < 0 || done_ms > DURATION_MS_MAX ||
        (done_ms && !job->past))
        return false;
    job->bound_chip = intern_text(&grid->strings, chip);
    if (job->past)
        job->past->done_ms = done_ms;
    return true;
}

int assigns_take(struct grid *grid, struct cursor *in)
{
    uint64_t is_on, is_short, count, id;

    if (get_u64(in, &is_on) < 0 || is_on > 1)
        return -EBADMSG;
    assigns_set(grid, is_on);
    if (is_on) {
        struct assigns *assigns = grid->assigns;

        if (get_i64(in, &assigns->next_ms) < 0 || assigns->next_ms < 0 ||
            get_i64(in, &assigns->last_ms) < 0 || assigns->last_ms < 0 ||
            assigns->last_ms > grid->now_ms || get_u64(in, &is_short) < 0 || is_short > 1 ||
            get_u64(in, &assigns->cursor) < 0 || get_u64(in, &count) < 0 || count > ASSIGNS_BOUND)
            return -EBADMSG;
        for (uint64_t i = 0; i < count; i++)
            if (get_u64(in, &assigns->bound[i].job_id) < 0 ||
                get_i64(in, &assigns->bound[i].until_ms) < 0)
                return -EBADMSG;
        assigns->bound_count = (uint32_t)count;
        assigns->is_short = is_short;
    }
    for (;;) {
        if (get_u64(in, &id) < 0)
            return -EBADMSG;
        if (!id)
            return 0;
        if (!take_job(grid, in, id))
            return -EBADMSG;
    }
}

int assigns_check(const struct grid *grid, struct err *err)
{
    for (const struct job *job = grid_job_after(grid, 0); job;
         job = grid_job_after(grid, job->item.id)) {
        bool is_listed = false;

        if (!job->bound_chip)
            continue;
        for (uint32_t i = 0; grid->assigns && i < grid->assigns->bound_count; i++)
            is_listed |= grid->assigns->bound[i].job_id == job->item.id;
        if (!job->bound_site || job->bound_away || job_shape(grid, job)->chips_count != 1 ||
            (is_bound(job) && !is_listed))
            return err_set(err, -EINVAL,
                           "invariant: job %" PRIu64 " is bound to a kind of chip and nobody keeps "
                           "room for it",
                           job->item.id);
    }
    if (grid->assigns && grid->assigns->holds_count)
        return err_set(err, -EINVAL, "invariant: what is kept in a pass is kept beyond it");
    return 0;
}
