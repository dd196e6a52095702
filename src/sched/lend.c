#include "sched/lend.h"
#include "sched/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct link { /* in a queue by arrival */
    uint32_t prev, next;
};
struct queue_ends {
    uint32_t first, last;
};
struct lend_job {
    struct cells_ask ask;
    uint64_t arrival; /* its number */
    uint32_t owner, devices;
    int64_t submit_ms, turn_ms, since_ms;
    int64_t done_ms; /* kept when it last stopped; 0 = starts afresh */
    int64_t work_ms; /* -1 until it ended */
    struct link turns, idle;
    bool is_running, waits_turn, waits_idle;
    bool is_listed; /* in `lent` */
};
struct lend_owner {
    struct queue_ends turns; /* without a claim yet; some run lent, some have ended */
    struct queue_ends idle;  /* not running and not ended */
    uint32_t account;
    uint64_t running_devices, guaranteed_devices;
    bool has_changed; /* a turn may have come */
};
struct claim_end {
    int64_t end_ms;
    uint32_t job;
};
struct lend {
    struct lend_params params;
    struct cells *cells;
    struct share *share;
    struct lend_owner *owners;
    uint32_t owners_count;
    struct lend_job *jobs; /* by cells' handle */
    uint32_t jobs_cap;
    uint64_t arrivals;
    struct claim_end *ends; /* heap: of jobs that have ended, by when they would have alone */
    uint32_t ends_count, ends_cap;
    struct cells_list put_off, lent; /* lent: running and not firm */
    struct cells_list owed;          /* waiting though their turn has come: nodes are closed */
    struct lend_action *actions;
    uint32_t actions_count, actions_cap;
    uint32_t *order, *order_accounts;
};

struct lend_params lend_params_default(void)
{
    return (struct lend_params){ .checkpoint_ms = INT64_C(1800000),
                                 .restart_ms = INT64_C(60000),
                                 .patience_ms = INT64_C(6) * 3600000,
                                 .own_worth = 8.0,
                                 .share = share_params_default() };
}

int lend_create(const struct lend_params *params, const struct cells_shape *shape,
                uint32_t owners_count, struct lend **lend_out, struct err *err)
{
    struct share_amount total = { { 0 } };
    struct lend *lend = mem_alloc(1, sizeof(*lend));
    int rc = 0;

    if (params->checkpoint_ms < 1 || params->restart_ms < 0 || params->patience_ms < 0)
        rc = err_set(err, -EINVAL, "lending: a time is negative, or checkpoints come at once");
    if (rc == 0)
        rc = cells_create(shape, owners_count, &lend->cells, err);
    if (rc == 0) {
        total.of[SHARE_VALUE] = (int64_t)cells_tree(lend->cells)->devices_free;
        rc = share_create(&params->share, &total, &lend->share, err);
    }
    lend->params = *params;
    lend->owners = mem_alloc(owners_count + 1, sizeof(*lend->owners));
    lend->order = mem_alloc(owners_count + 1, sizeof(*lend->order));
    lend->order_accounts = mem_alloc(owners_count + 1, sizeof(*lend->order_accounts));
    for (uint32_t o = 0; o < owners_count && rc == 0; o++) {
        lend->owners[o].turns = lend->owners[o].idle =
            (struct queue_ends){ CELLS_NONE, CELLS_NONE };
        rc = share_add(lend->share, 0, 1, &lend->owners[o].account, err);
        lend->owners_count++;
    }
    if (rc < 0) {
        lend_destroy(lend);
        return rc;
    }
    *lend_out = lend;
    return 0;
}

void lend_destroy(struct lend *lend)
{
    if (!lend)
        return;
    cells_destroy(lend->cells);
    share_destroy(lend->share);
    cells_list_fini(&lend->put_off);
    cells_list_fini(&lend->lent);
    cells_list_fini(&lend->owed);
    free(lend->owners);
    free(lend->jobs);
    free(lend->ends);
    free(lend->actions);
    free(lend->order);
    free(lend->order_accounts);
    free(lend);
}

int lend_set_guarantee(struct lend *lend, uint32_t owner, uint32_t level, uint32_t count,
                       struct err *err)
{
    struct share_amount amount = { { 0 } };
    int rc = cells_set_guarantee(lend->cells, owner, level, count, err);

    if (rc < 0)
        return rc;
    lend->owners[owner].guaranteed_devices = cells_guaranteed_devices(lend->cells, owner);
    lend->owners[owner].has_changed = true;
    amount.of[SHARE_VALUE] = (int64_t)lend->owners[owner].guaranteed_devices;
    return share_set_guarantee(lend->share, lend->owners[owner].account, &amount, err);
}

/* --- queues --- */

static struct link *link_of(struct lend *lend, uint32_t job, bool is_turns)
{
    return is_turns ? &lend->jobs[job].turns : &lend->jobs[job].idle;
}

/* Into its place by arrival, looked for from the front: what is put off has been there long. */
static void queue_insert(struct lend *lend, uint32_t job, bool is_turns)
{
    struct lend_owner *owner = &lend->owners[lend->jobs[job].owner];
    struct queue_ends *ends = is_turns ? &owner->turns : &owner->idle;
    uint32_t before = CELLS_NONE, after = ends->first;

    if (ends->last != CELLS_NONE && lend->jobs[ends->last].arrival < lend->jobs[job].arrival) {
        before = ends->last;
        after = CELLS_NONE;
    }
    while (after != CELLS_NONE && lend->jobs[after].arrival < lend->jobs[job].arrival) {
        before = after;
        after = link_of(lend, after, is_turns)->next;
    }
    *link_of(lend, job, is_turns) = (struct link){ before, after };
    if (before != CELLS_NONE)
        link_of(lend, before, is_turns)->next = job;
    else
        ends->first = job;
    if (after != CELLS_NONE)
        link_of(lend, after, is_turns)->prev = job;
    else
        ends->last = job;
    *(is_turns ? &lend->jobs[job].waits_turn : &lend->jobs[job].waits_idle) = true;
}

static void queue_leave(struct lend *lend, uint32_t job, bool is_turns)
{
    struct lend_owner *owner = &lend->owners[lend->jobs[job].owner];
    struct queue_ends *ends = is_turns ? &owner->turns : &owner->idle;
    bool *waits = is_turns ? &lend->jobs[job].waits_turn : &lend->jobs[job].waits_idle;
    struct link *link = link_of(lend, job, is_turns);

    if (!*waits)
        return;
    *waits = false;
    if (link->prev != CELLS_NONE)
        link_of(lend, link->prev, is_turns)->next = link->next;
    else
        ends->first = link->next;
    if (link->next != CELLS_NONE)
        link_of(lend, link->next, is_turns)->prev = link->prev;
    else
        ends->last = link->prev;
}

static bool ends_before(const struct lend *lend, const struct claim_end *a,
                        const struct claim_end *b)
{
    if (a->end_ms != b->end_ms)
        return a->end_ms < b->end_ms;
    return lend->jobs[a->job].arrival < lend->jobs[b->job].arrival;
}

static void ends_add(struct lend *lend, int64_t end_ms, uint32_t job)
{
    const struct claim_end end = { end_ms, job };
    uint32_t at = lend->ends_count++;

    MEM_GROW(lend->ends, lend->ends_cap, lend->ends_count);
    while (at > 0 && ends_before(lend, &end, &lend->ends[(at - 1) / 2])) {
        lend->ends[at] = lend->ends[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    lend->ends[at] = end;
}

static uint32_t ends_pop(struct lend *lend)
{
    uint32_t job = lend->ends[0].job, at = 0;
    struct claim_end last = lend->ends[--lend->ends_count];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= lend->ends_count)
            break;
        if (child + 1 < lend->ends_count && lend->ends[child + 1].end_ms < lend->ends[child].end_ms)
            child++;
        if (lend->ends[child].end_ms >= last.end_ms)
            break;
        lend->ends[at] = lend->ends[child];
        at = child;
    }
    lend->ends[at] = last;
    return job;
}

int64_t lend_next_ms(const struct lend *lend)
{
    return lend->ends_count ? lend->ends[0].end_ms : INT64_MAX;
}

/* --- a job's life --- */

/* What would be kept of its work if it stopped now. Less than a restart costs is not worth going
 * on from: it starts afresh, and is then as far as if it had never run. */
static int64_t kept_ms(const struct lend *lend, const struct lend_job *job, int64_t now_ms)
{
    int64_t start_ms = job->done_ms ? lend->params.restart_ms : 0;
    int64_t new_ms = now_ms - job->since_ms - start_ms;
    int64_t kept;

    if (!job->is_running || new_ms < 0)
        return job->done_ms;
    kept = job->done_ms + new_ms / lend->params.checkpoint_ms * lend->params.checkpoint_ms;
    return kept > lend->params.restart_ms ? kept : 0;
}

static void act(struct lend *lend, enum lend_what what, uint32_t job)
{
    MEM_GROW(lend->actions, lend->actions_cap, lend->actions_count + 1);
    lend->actions[lend->actions_count++] =
        (struct lend_action){ what, job, lend->jobs[job].done_ms };
}

static void set_running(struct lend *lend, uint32_t number, bool is_running, int64_t now_ms)
{
    struct lend_job *job = &lend->jobs[number];
    struct lend_owner *owner = &lend->owners[job->owner];
    const struct share_amount amount = { { job->devices, 0, 0, 0 } };

    if (is_running) {
        owner->running_devices += job->devices;
        share_hold(lend->share, owner->account, &amount, 0, now_ms, NULL);
        job->since_ms = now_ms;
    } else {
        owner->running_devices -= job->devices;
        share_release(lend->share, owner->account, &amount, 0, 0, now_ms);
    }
    job->is_running = is_running;
}

static void start(struct lend *lend, uint32_t job, int64_t now_ms)
{
    queue_leave(lend, job, false);
    set_running(lend, job, true, now_ms);
    act(lend, LEND_START, job);
}

static void stop(struct lend *lend, uint32_t job, int64_t now_ms)
{
    lend->jobs[job].done_ms = kept_ms(lend, &lend->jobs[job], now_ms);
    set_running(lend, job, false, now_ms);
    act(lend, LEND_STOP, job);
}

uint32_t lend_submit(struct lend *lend, uint32_t owner, const struct cells_ask *ask, int64_t now_ms)
{
    uint32_t job = cells_add(lend->cells, owner, ask);

    MEM_GROW(lend->jobs, lend->jobs_cap, job + 1);
    lend->jobs[job] = (struct lend_job){ .ask = *ask,
                                         .arrival = lend->arrivals++,
                                         .owner = owner,
                                         .devices = ask->tasks * ask->task_devices,
                                         .submit_ms = now_ms,
                                         .work_ms = -1 };
    if (cells_may_claim(lend->cells, job))
        queue_insert(lend, job, true);
    queue_insert(lend, job, false);
    lend->owners[owner].has_changed = true;
    return job;
}

/* Its claim ends, and with it the record. */
static void leave(struct lend *lend, uint32_t job)
{
    lend->owners[lend->jobs[job].owner].has_changed = true;
    cells_remove(lend->cells, job);
}

void lend_finish(struct lend *lend, uint32_t number, int64_t work_ms, int64_t now_ms)
{
    struct lend_job *job = &lend->jobs[number];

    assert(job->is_running && work_ms >= 0);
    set_running(lend, number, false, now_ms);
    cells_release(lend->cells, number);
    job->work_ms = work_ms;
    if (cells_has_claim(lend->cells, number)) {
        if (job->turn_ms + work_ms <= now_ms)
            leave(lend, number);
        else
            ends_add(lend, job->turn_ms + work_ms, number);
    } else if (!job->waits_turn) {
        leave(lend, number);
    }
}

void lend_cancel(struct lend *lend, uint32_t job, int64_t now_ms)
{
    assert(lend->jobs[job].work_ms < 0);
    queue_leave(lend, job, true);
    queue_leave(lend, job, false);
    if (lend->jobs[job].is_running)
        set_running(lend, job, false, now_ms);
    leave(lend, job);
}

static void owe(struct lend *lend, uint32_t job)
{
    if (!lend->jobs[job].waits_idle)
        queue_insert(lend, job, false);
    MEM_GROW(lend->owed.jobs, lend->owed.cap, lend->owed.count + 1);
    lend->owed.jobs[lend->owed.count++] = job;
}

void lend_break(struct lend *lend, uint32_t number, int64_t done_ms, int64_t now_ms)
{
    struct lend_job *job = &lend->jobs[number];

    assert(job->is_running && done_ms >= 0);
    set_running(lend, number, false, now_ms);
    cells_release(lend->cells, number);
    job->done_ms = done_ms > lend->params.restart_ms ? done_ms : 0;
    if (cells_has_claim(lend->cells, number))
        owe(lend, number);
    else
        queue_insert(lend, number, false);
}

void lend_set_open(struct lend *lend, uint32_t node, bool is_open)
{
    cells_set_open(lend->cells, node, is_open);
}

bool lend_is_lent(const struct lend *lend, uint32_t job)
{
    return lend->jobs[job].is_running && !cells_has_claim(lend->cells, job);
}

const struct cells *lend_cells(const struct lend *lend)
{
    return lend->cells;
}

/* --- turns --- */

static bool is_lent_now(const struct lend *lend, uint32_t job)
{
    return lend->jobs[job].is_running && cells_place_of(lend->cells, job) == CELLS_LENT;
}

/* Drop those that are no longer lent, and second entries of handles given out again. */
static void tidy_lent(struct lend *lend)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < lend->lent.count; i++)
        lend->jobs[lend->lent.jobs[i]].is_listed = false;
    for (uint32_t i = 0; i < lend->lent.count; i++) {
        uint32_t job = lend->lent.jobs[i];

        if (lend->jobs[job].is_listed || !is_lent_now(lend, job))
            continue;
        lend->jobs[job].is_listed = true;
        lend->lent.jobs[kept++] = job;
    }
    lend->lent.count = kept;
}

static void list_lent(struct lend *lend, uint32_t job)
{
    if (lend->jobs[job].is_listed)
        return;
    if (lend->lent.count == lend->lent.cap) {
        tidy_lent(lend);
        MEM_GROW(lend->lent.jobs, lend->lent.cap, 2 * lend->lent.count + 16);
    }
    lend->lent.jobs[lend->lent.count++] = job;
    lend->jobs[job].is_listed = true;
}

/* What putting each lent job off would lose now, in device-ms. */
static void set_worths(struct lend *lend, int64_t now_ms)
{
    tidy_lent(lend);
    for (uint32_t i = 0; i < lend->lent.count; i++) {
        const struct lend_job *job = &lend->jobs[lend->lent.jobs[i]];
        const struct lend_owner *owner = &lend->owners[job->owner];
        int64_t start_ms = job->done_ms ? lend->params.restart_ms : 0;
        int64_t come_ms = job->done_ms + MAX(now_ms - job->since_ms - start_ms, 0);
        double worth =
            (double)(come_ms - kept_ms(lend, job, now_ms) + lend->params.restart_ms) * job->devices;

        if (owner->running_devices <= owner->guaranteed_devices)
            worth *= lend->params.own_worth;
        cells_set_worth(lend->cells, lend->lent.jobs[i], worth);
    }
}

/* Put a job on its own cells; what it puts off goes to its own cells in turn when it has a claim,
 * else waits. Each settles once, so it ends. */
static void settle(struct lend *lend, uint32_t first, int64_t now_ms)
{
    uint32_t job = first, from;
    int rc;

    set_worths(lend, now_ms);
    lend->put_off.count = 0;
    for (uint32_t next = 0;; next++) {
        if (lend->jobs[job].is_running)
            stop(lend, job, now_ms);
        from = lend->put_off.count;
        rc = cells_settle(lend->cells, job, &lend->put_off);
        for (; from < lend->put_off.count; from++)
            stop(lend, lend->put_off.jobs[from], now_ms);
        if (rc == 0)
            start(lend, job, now_ms);
        else
            owe(lend, job); /* nodes are closed: until then, wherever there is room */
        for (; next < lend->put_off.count; next++) {
            job = lend->put_off.jobs[next];
            if (cells_has_claim(lend->cells, job))
                break;
            if (!lend->jobs[job].waits_idle)
                queue_insert(lend, job, false);
        }
        if (next >= lend->put_off.count)
            return;
    }
}

static void settle_owed(struct lend *lend, int64_t now_ms)
{
    uint32_t count = lend->owed.count, kept = 0;

    for (uint32_t i = 0; i < count; i++) { /* settle adds those that still find no place */
        uint32_t job = lend->owed.jobs[i];

        if (cells_has_claim(lend->cells, job) && !lend->jobs[job].is_running &&
            lend->jobs[job].work_ms < 0)
            settle(lend, job, now_ms);
    }
    for (uint32_t i = count; i < lend->owed.count; i++)
        lend->owed.jobs[kept++] = lend->owed.jobs[i];
    lend->owed.count = kept;
}

static void take_turn(struct lend *lend, uint32_t number, int64_t now_ms)
{
    struct lend_job *job = &lend->jobs[number];

    queue_leave(lend, number, true);
    job->turn_ms = now_ms;
    if (job->work_ms >= 0) {
        ends_add(lend, now_ms + job->work_ms, number);
        return;
    }
    if (job->is_running) {
        int64_t start_ms = job->done_ms ? lend->params.restart_ms : 0;
        int64_t come_ms = job->done_ms + now_ms - job->since_ms - start_ms;

        /* Stopped at any later moment, it loses less than a checkpoint's time and a restart. */
        if (cells_adopt(lend->cells, number) ||
            come_ms >= lend->params.checkpoint_ms + lend->params.restart_ms)
            return;
    }
    settle(lend, number, now_ms);
}

/* What failed once in a pass fails again: rooms only shrink meanwhile. By devices of a task, the
 * least number of tasks that did not fit. */
struct failed {
    uint32_t tasks[CELLS_NODE_DEVICES_MAX + 1];
};

static bool has_failed(const struct failed *failed, const struct cells_ask *ask)
{
    uint32_t least = failed->tasks[MIN(ask->task_devices, CELLS_NODE_DEVICES_MAX)];

    return least && ask->tasks >= least;
}

static void add_failed(struct failed *failed, const struct cells_ask *ask)
{
    if (!ask->is_hard) /* what is tied to a domain says nothing of others */
        failed->tasks[MIN(ask->task_devices, CELLS_NODE_DEVICES_MAX)] = ask->tasks;
}

static void give_turns(struct lend *lend, struct lend_owner *owner, int64_t now_ms)
{
    struct failed failed = { { 0 } };
    uint32_t job = owner->turns.first;

    while (job != CELLS_NONE) {
        uint32_t next = lend->jobs[job].turns.next;

        if (!has_failed(&failed, &lend->jobs[job].ask)) {
            if (cells_claim(lend->cells, job))
                take_turn(lend, job, now_ms);
            else
                add_failed(&failed, &lend->jobs[job].ask);
        }
        if (lend->jobs[job].waits_turn && job == owner->turns.first &&
            now_ms - lend->jobs[job].submit_ms > lend->params.patience_ms)
            return;
        job = next;
    }
}

/* --- lending --- */

/* The first of an owner's jobs that fits on what is idle. */
static bool lend_one(struct lend *lend, struct failed *failed, uint32_t *from, int64_t now_ms)
{
    for (uint32_t job = *from; job != CELLS_NONE; job = lend->jobs[job].idle.next) {
        const struct cells_ask *ask = &lend->jobs[job].ask;

        if (has_failed(failed, ask))
            continue;
        if (cells_lend(lend->cells, job)) {
            *from = lend->jobs[job].idle.next;
            start(lend, job, now_ms);
            list_lent(lend, job);
            return true;
        }
        add_failed(failed, ask);
        if (!cells_tree(lend->cells)->devices_free)
            return false;
    }
    return false;
}

static void lend_idle(struct lend *lend, int64_t now_ms)
{
    struct failed failed = { { 0 } };
    uint32_t count = 0;
    uint32_t *from = mem_alloc(lend->owners_count + 1, sizeof(*from));

    for (uint32_t o = 0; o < lend->owners_count; o++)
        if (lend->owners[o].idle.first != CELLS_NONE) {
            lend->order[count] = o;
            lend->order_accounts[count++] = lend->owners[o].account;
            from[o] = lend->owners[o].idle.first;
        }
    while (count && cells_tree(lend->cells)->devices_free) {
        uint32_t i = share_first(lend->share, lend->order_accounts, count, now_ms);
        uint32_t o = lend->order[i];

        if (lend_one(lend, &failed, &from[o], now_ms))
            continue;
        count--; /* order of the rest does not matter: share_first is total */
        lend->order[i] = lend->order[count];
        lend->order_accounts[i] = lend->order_accounts[count];
    }
    free(from);
}

const struct lend_action *lend_pass(struct lend *lend, int64_t now_ms, uint32_t *count_out)
{
    lend->actions_count = 0;
    while (lend->ends_count && lend->ends[0].end_ms <= now_ms)
        leave(lend, ends_pop(lend));
    for (uint32_t o = 0; o < lend->owners_count; o++) {
        if (!lend->owners[o].has_changed)
            continue;
        lend->owners[o].has_changed = false;
        give_turns(lend, &lend->owners[o], now_ms);
    }
    settle_owed(lend, now_ms);
    lend_idle(lend, now_ms);
    *count_out = lend->actions_count;
    return lend->actions;
}
