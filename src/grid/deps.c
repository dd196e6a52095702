#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <stdlib.h>

/* --- who waits for whom --------------------------------------------------------------------- */

static enum dep_status status_of(unsigned outcome, uint32_t kind)
{
    switch ((enum dep_kind)kind) {
    case DEP_OK:
        return outcome == 1 ? DEP_MET : DEP_UNMEETABLE;
    case DEP_FAILED:
        return outcome == 1 ? DEP_UNMEETABLE : DEP_MET;
    case DEP_ANY:
        break;
    }
    return DEP_MET;
}

enum dep_status dep_status(const struct grid *grid, uint64_t id, uint32_t kind)
{
    const struct array *array = grid_array(grid, id);

    if (array) {
        /* One element that did not end well decides; else all must have ended. */
        if (kind == DEP_OK && array->failed + array->cancelled)
            return DEP_UNMEETABLE;
        return DEP_WAITING;
    }
    if (grid_job(grid, id))
        return DEP_WAITING;
    return status_of((unsigned)grid_outcome(grid, id), kind);
}

static void wait_for(struct grid *grid, uint64_t id, uint64_t waiter)
{
    bool is_new;
    uint32_t number = intern_get(&grid->waited, &id, sizeof(id), &is_new);
    struct waiters *list;

    MEM_GROW(grid->waiters, grid->waiters_cap, number + 1);
    list = &grid->waiters[number];
    if (is_new)
        *list = (struct waiters){ 0 };
    else
        intern_unref(&grid->waited, number); /* one user: the list */
    MEM_GROW(list->ids, list->cap, list->count + 1);
    list->ids[list->count++] = waiter;
}

static bool is_waiting_for(const struct grid *grid, uint64_t waiter, uint64_t id)
{
    const struct job *job = grid_job(grid, waiter);

    for (uint32_t i = 0; job && job->deps && i < job->deps->count; i++)
        if (job->deps->list[i].id == id && !job->deps->list[i].met)
            return true;
    return false;
}

/* Those that went leave their place behind; when they are most of a list it is swept. */
static void leave(struct grid *grid, uint64_t id, uint64_t self)
{
    uint32_t number = intern_find(&grid->waited, &id, sizeof(id)), kept = 0;
    struct waiters *list;

    if (!number)
        return;
    list = &grid->waiters[number];
    if (++list->gone < 32 || list->gone < list->count / 2)
        return;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->ids[i] != self && is_waiting_for(grid, list->ids[i], id))
            list->ids[kept++] = list->ids[i];
    list->count = kept;
    list->gone = 0;
    if (kept)
        return;
    free(list->ids);
    intern_unref(&grid->waited, number);
}

void deps_wait(struct grid *grid, struct job *job)
{
    struct job_deps *deps = job->deps;

    deps->waiting = 0;
    for (uint32_t i = 0; i < deps->count; i++) {
        bool listed = false;

        if (deps->list[i].met)
            continue;
        deps->waiting++;
        for (uint32_t k = 0; k < i && !listed; k++)
            listed = deps->list[k].id == deps->list[i].id && !deps->list[k].met;
        if (!listed)
            wait_for(grid, deps->list[i].id, job->item.id);
    }
}

void deps_leave(struct grid *grid, struct job *job)
{
    for (uint32_t i = 0; job->deps && job->deps->waiting && i < job->deps->count; i++)
        if (!job->deps->list[i].met)
            leave(grid, job->deps->list[i].id, job->item.id);
}

/* Look at one waiter again: `id` ended so, or (0) changed otherwise. */
static void wake(struct grid *grid, struct job *job, uint64_t id, unsigned outcome)
{
    struct job_deps *deps = job->deps;

    for (uint32_t i = 0; i < deps->count; i++) {
        struct job_dep *dep = &deps->list[i];

        if (dep->id != id || dep->met)
            continue;
        switch (outcome ? status_of(outcome, dep->kind) : dep_status(grid, id, dep->kind)) {
        case DEP_WAITING:
            break;
        case DEP_MET:
            dep->met = 1;
            if (--deps->waiting == 0)
                job_become_ready(grid, job);
            break;
        case DEP_UNMEETABLE:
            job_set_reason(grid, job,
                           dep->kind == DEP_OK ? "job %llu, which it waits for, did not end well"
                                               : "job %llu, whose failure it waits for, ended well",
                           (unsigned long long)id);
            job_end(grid, job, JOB_CANCELLED);
            return;
        }
    }
}

static void tell_waiters(struct grid *grid, uint64_t id, unsigned outcome)
{
    uint32_t number = intern_find(&grid->waited, &id, sizeof(id));
    struct waiters list;

    if (!number)
        return;
    list = grid->waiters[number];
    if (outcome) { /* its list goes; nobody can join it any more */
        grid->waiters[number] = (struct waiters){ 0 };
        intern_unref(&grid->waited, number);
    } else { /* ends of waiters sweep the list: walk a copy */
        list.ids = mem_copy(list.ids, list.count * sizeof(*list.ids));
    }
    for (uint32_t i = 0; i < list.count; i++) {
        struct job *job = grid_job(grid, list.ids[i]);

        if (job && job->deps && job->deps->waiting)
            wake(grid, job, id, outcome);
    }
    free(list.ids);
}

void deps_settle(struct grid *grid)
{
    /* Those that end while others are told queue up behind: no recursion, however long a chain. */
    for (uint32_t i = 0; i < grid->settle_count; i++)
        tell_waiters(grid, grid->settle[i].id, grid->settle[i].outcome);
    grid->settle_count = 0;
}

void deps_fini(struct grid *grid)
{
    for (uint32_t i = 1; i < grid->waited.entries_count; i++)
        if (grid->waited.entries[i].data)
            free(grid->waiters[i].ids);
    free(grid->waiters);
    intern_fini(&grid->waited);
    free(grid->settle);
    free(grid->timers);
}

/* --- begin times ---------------------------------------------------------------------------- */

static bool timer_is_before(const struct timer *a, const struct timer *b)
{
    return a->time_ms != b->time_ms ? a->time_ms < b->time_ms : a->job_id < b->job_id;
}

void timers_add(struct grid *grid, int64_t time_ms, uint64_t job_id)
{
    struct timer timer = { time_ms, job_id };
    uint32_t at = grid->timers_count;

    MEM_GROW(grid->timers, grid->timers_cap, at + 1);
    grid->timers_count++;
    for (; at && timer_is_before(&timer, &grid->timers[(at - 1) / 2]); at = (at - 1) / 2)
        grid->timers[at] = grid->timers[(at - 1) / 2];
    grid->timers[at] = timer;
}

static void timers_pop(struct grid *grid)
{
    struct timer moved = grid->timers[--grid->timers_count];
    uint32_t at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= grid->timers_count)
            break;
        if (child + 1 < grid->timers_count &&
            timer_is_before(&grid->timers[child + 1], &grid->timers[child]))
            child++;
        if (!timer_is_before(&grid->timers[child], &moved))
            break;
        grid->timers[at] = grid->timers[child];
        at = child;
    }
    grid->timers[at] = moved;
}

void timers_fire(struct grid *grid)
{
    while (grid->timers_count) {
        struct timer timer = grid->timers[0];
        struct job *job = grid_job(grid, timer.job_id);
        bool is_wait = job && waits_has_timer(job, timer.time_ms);
        bool is_begin = job && job->state == JOB_HELD && !(job->deps && job->deps->waiting) &&
                        !waits_is_held(job);
        bool is_due = job && ranks_has_timer(grid, job);

        if ((is_wait || is_begin || is_due) && timer.time_ms > grid->now_ms)
            return;
        timers_pop(grid);
        if (is_wait) {
            waits_fire(grid, job);
        } else if (is_due) {
            ranks_fire(grid, job);
        } else if (is_begin && !waits_hold(grid, job)) {
            job_enqueue(grid, job);
            grid_emit(grid, EFFECT_JOB_CHANGED, job);
        }
    }
}

void job_become_ready(struct grid *grid, struct job *job)
{
    int64_t begin_ms = job_terms(grid, job)->begin_ms;

    if (begin_ms > grid->now_ms) {
        timers_add(grid, begin_ms, job->item.id);
        return;
    }
    if (waits_hold(grid, job))
        return;
    job_enqueue(grid, job);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}
