/* The table: one page of tagged pointers per JOB_PAGE_IDS ids, so that a look-up is two loads and
 * a walk goes by id. Tag 1 = an array. Jobs come from slabs and never move. */
#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DUE_MS_WITHOUT (7 * 24 * 3600 * 1000LL) /* by deadline: of a job that has none */

#define SLAB_JOBS 256u
#define TAG_ARRAY 1

/* An array's pointer is kept one byte further, where no job can stand. */
static inline bool is_array(const char *value)
{
    return (uintptr_t)value & TAG_ARRAY;
}

static inline struct array *to_array(char *value)
{
    return (struct array *)(value - TAG_ARRAY);
}

static char **slot_of(const struct grid *grid, uint64_t id)
{
    uint64_t page = id / JOB_PAGE_IDS;

    if (page < grid->pages_base || page - grid->pages_base >= grid->pages_count ||
        !grid->pages[page - grid->pages_base])
        return NULL;
    return &grid->pages[page - grid->pages_base][id % JOB_PAGE_IDS];
}

struct job *grid_job(const struct grid *grid, uint64_t id)
{
    char *const *slot = slot_of(grid, id);

    return slot && !is_array(*slot) ? (struct job *)*slot : NULL;
}

struct array *grid_array(const struct grid *grid, uint64_t id)
{
    char *const *slot = slot_of(grid, id);

    return slot && is_array(*slot) ? to_array(*slot) : NULL;
}

struct job *grid_job_after(const struct grid *grid, uint64_t id)
{
    uint64_t next = id + 1, end = (grid->pages_base + grid->pages_count) * JOB_PAGE_IDS;

    if (id == UINT64_MAX)
        return NULL;
    if (next < grid->pages_base * JOB_PAGE_IDS)
        next = grid->pages_base * JOB_PAGE_IDS;
    while (next < end) {
        char *const *slot = slot_of(grid, next);

        if (!slot) {
            next = (next / JOB_PAGE_IDS + 1) * JOB_PAGE_IDS;
            continue;
        }
        if (*slot && !is_array(*slot))
            return (struct job *)*slot;
        next++;
    }
    return NULL;
}

struct job *grid_job_before(const struct grid *grid, uint64_t id)
{
    uint64_t first = grid->pages_base * JOB_PAGE_IDS;
    uint64_t next = MIN(id, first + grid->pages_count * (uint64_t)JOB_PAGE_IDS);

    while (next > first) {
        char *const *slot = slot_of(grid, --next);

        if (!slot)
            next -= next % JOB_PAGE_IDS;
        else if (*slot && !is_array(*slot))
            return (struct job *)*slot;
    }
    return NULL;
}

struct array *grid_array_after(const struct grid *grid, uint64_t id)
{
    uint64_t next = MAX(id + 1, grid->pages_base * JOB_PAGE_IDS);
    uint64_t end = (grid->pages_base + grid->pages_count) * JOB_PAGE_IDS;

    for (; next < end; next++) {
        char *const *slot = slot_of(grid, next);

        if (!slot)
            next |= JOB_PAGE_IDS - 1;
        else if (is_array(*slot))
            return to_array(*slot);
    }
    return NULL;
}

void grid_begin_ids(struct grid *grid, uint64_t first_id)
{
    assert(!grid->pages_count);
    MEM_GROW(grid->pages, grid->pages_cap, 1);
    grid->pages_live = mem_alloc(grid->pages_cap, sizeof(*grid->pages_live));
    grid->pages[0] = NULL;
    grid->pages_base = first_id / JOB_PAGE_IDS;
    grid->pages_count = 1;
}

static void put(struct grid *grid, uint64_t id, void *value)
{
    uint64_t page = id / JOB_PAGE_IDS;
    uint32_t index;

    if (!grid->pages_count)
        grid->pages_base = page;
    assert(page >= grid->pages_base);
    while (grid->pages_base + grid->pages_count <= page) {
        uint32_t cap = grid->pages_cap;

        MEM_GROW(grid->pages, cap, grid->pages_count + 1);
        MEM_GROW(grid->pages_live, grid->pages_cap, grid->pages_count + 1);
        grid->pages[grid->pages_count] = NULL;
        grid->pages_live[grid->pages_count++] = 0;
    }
    index = (uint32_t)(page - grid->pages_base);
    if (!grid->pages[index])
        grid->pages[index] = mem_alloc(JOB_PAGE_IDS, sizeof(char *));
    grid->pages[index][id % JOB_PAGE_IDS] = value;
    grid->pages_live[index]++;
}

static void drop(struct grid *grid, uint64_t id)
{
    uint32_t index = (uint32_t)(id / JOB_PAGE_IDS - grid->pages_base), empty = 0;

    grid->pages[index][id % JOB_PAGE_IDS] = NULL;
    if (--grid->pages_live[index])
        return;
    free(grid->pages[index]);
    grid->pages[index] = NULL;
    while (empty < grid->pages_count && !grid->pages[empty])
        empty++;
    /* Old pages go in bulk, so that moving the rest down stays cheap. */
    if (empty < 64 && empty < grid->pages_count)
        return;
    memmove(grid->pages, grid->pages + empty, (grid->pages_count - empty) * sizeof(*grid->pages));
    memmove(grid->pages_live, grid->pages_live + empty,
            (grid->pages_count - empty) * sizeof(*grid->pages_live));
    grid->pages_base += empty;
    grid->pages_count -= empty;
}

struct job *grid_add_job(struct grid *grid, uint64_t id)
{
    struct job *job = grid->free_jobs;

    if (!job) {
        struct job *slab = mem_alloc(SLAB_JOBS, sizeof(*slab));

        MEM_GROW(grid->slabs, grid->slabs_cap, grid->slabs_count + 1);
        grid->slabs[grid->slabs_count++] = slab;
        for (uint32_t i = 0; i < SLAB_JOBS; i++)
            slab[i].item.next = i + 1 < SLAB_JOBS ? &slab[i + 1].item : NULL;
        job = slab;
    }
    grid->free_jobs = (struct job *)job->item.next;
    memset(job, 0, sizeof(*job));
    job->item.id = id;
    put(grid, id, job);
    return job;
}

struct array *grid_add_array(struct grid *grid, uint64_t id)
{
    struct array *array = mem_alloc(1, sizeof(*array));

    array->id = id;
    put(grid, id, (char *)array + TAG_ARRAY);
    return array;
}

void grid_free_array(struct grid *grid, struct array *array)
{
    drop(grid, array->id);
    free(array);
}

void grid_jobs_fini(struct grid *grid)
{
    for (uint32_t i = 0; i < grid->pages_count; i++) {
        for (uint32_t k = 0; grid->pages[i] && k < JOB_PAGE_IDS; k++) {
            char *value = grid->pages[i][k];
            struct job *job = (struct job *)value;

            if (is_array(value)) {
                free(to_array(value));
            } else if (job) {
                for (struct grant *grant = job_next_grant(job, NULL), *next; grant; grant = next) {
                    next = job_next_grant(job, grant);
                    grant_destroy(grant);
                }
                free(job->across);
                free(job->deps);
                past_free(job->past);
                free(job->wait);
                free(job->rank);
            }
        }
        free(grid->pages[i]);
    }
    for (uint32_t i = 0; i < grid->slabs_count; i++)
        free(grid->slabs[i]);
    for (uint32_t i = 0; i < grid->outcome_count; i++)
        free(grid->outcome_pages[i]);
    free(grid->pages);
    free(grid->pages_live);
    free(grid->slabs);
    free(grid->outcome_pages);
}

/* --- what a job refers to ------------------------------------------------------------------ */

uint32_t grid_tenant(struct grid *grid, const char *name)
{
    bool is_new;
    uint32_t number = intern_get(&grid->tenant_names, name, (uint32_t)strlen(name), &is_new);

    MEM_GROW(grid->tenants, grid->tenants_cap, number + 1);
    if (is_new) {
        grid->tenants[number] = (struct tenant){ .cpus_max = -1,
                                                 .devices_milli_max = -1,
                                                 .jobs_max = -1,
                                                 .weight_milli = 1000,
                                                 .budget_micro = -1 };
        shares_add_tenant(grid, number);
    }
    return number;
}

void grid_tenant_unref(struct grid *grid, uint32_t number)
{
    if (intern_unref(&grid->tenant_names, number))
        shares_remove_tenant(grid, number);
}

void job_set_reason(struct grid *grid, struct job *job, const char *fmt, ...)
{
    char text[REASON_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    intern_unref(&grid->strings, job->reason);
    job->reason = intern_text(&grid->strings, text);
}

static uint64_t *count_of(struct grid *grid, enum job_state state)
{
    switch (state) {
    case JOB_HELD:
        return &grid->counts.held;
    case JOB_QUEUED:
        return &grid->counts.queued;
    case JOB_STARTING:
        return &grid->counts.starting;
    case JOB_RUNNING:
        return &grid->counts.running;
    case JOB_STOPPING:
        return &grid->counts.stopping;
    case JOB_DONE:
        return &grid->counts.done_total;
    case JOB_FAILED:
        return &grid->counts.failed_total;
    case JOB_CANCELLED:
        return &grid->counts.cancelled_total;
    }
    abort();
}

void job_set_state(struct grid *grid, struct job *job, enum job_state state)
{
    (*count_of(grid, (enum job_state)job->state))--;
    (*count_of(grid, state))++;
    job->state = (uint8_t)state;
}

struct queue_key job_queue_key(const struct grid *grid, const struct job *job)
{
    return (struct queue_key){
        .array_id = job->array && job->array->parallel_max ? job->array->id : 0,
        .job_class = job_terms(grid, job)->job_class,
        .shape = job->shape,
        .tenant = job->tenant,
        .level = job->rank ? job->rank->level : 0,
    };
}

int64_t job_span_ms(const struct grid *grid, const struct job *job)
{
    const struct terms *terms = job_terms(grid, job);
    int64_t duration_ms = terms->spares ? 0 : terms->duration_ms_max;

    return duration_ms ? duration_ms + END_SLACK_MS : INT64_MAX;
}

int64_t job_order_ms(const struct grid *grid, const struct job *job)
{
    const struct terms *terms = job_terms(grid, job);
    int64_t due_ms = terms->deadline_ms - terms->duration_ms_max;

    if (grid->order != ORDER_DEADLINE)
        return job->item.eligible_ms;
    if (!terms->deadline_ms)
        due_ms = job->item.eligible_ms + DUE_MS_WITHOUT;
    return MAX(due_ms, job->item.eligible_ms);
}

void jobs_line_up_anew(struct grid *grid)
{
    for (struct job *job = grid_job_after(grid, 0); job; job = grid_job_after(grid, job->item.id)) {
        struct queue_key key;

        if (job->state != JOB_QUEUED)
            continue;
        key = job_queue_key(grid, job);
        queue_remove(&grid->queue, &job->item);
        job->item.order_ms = job_order_ms(grid, job);
        queue_add(&grid->queue, &key, &job->item);
    }
}

void job_line_up(struct grid *grid, struct job *job)
{
    struct queue_key key = job_queue_key(grid, job);

    job->item.order_ms = job_order_ms(grid, job);
    job->item.span_ms = job_span_ms(grid, job);
    queue_add(&grid->queue, &key, &job->item);
    if (job->array)
        job->array->queued++;
}

void job_enqueue(struct grid *grid, struct job *job)
{
    if (!job->item.eligible_ms)
        job->item.eligible_ms = grid->now_ms;
    ranks_enqueue(grid, job);
    job_set_state(grid, job, JOB_QUEUED);
    job_line_up(grid, job);
    grid->wants_pass = true;
}

void job_dequeue(struct grid *grid, struct job *job)
{
    if (job->is_promised) { /* it starts not, so others may */
        promises_drop(grid, job);
        grid->wants_pass = true;
    }
    queue_remove(&grid->queue, &job->item);
    if (job->array)
        job->array->queued--;
}

/* --- ends ----------------------------------------------------------------------------------- */

int grid_outcome(const struct grid *grid, uint64_t id)
{
    uint64_t page = id / OUTCOME_PAGE_IDS, at = id % OUTCOME_PAGE_IDS;

    if (id < grid_outcomes_from(grid) || page < grid->outcome_base ||
        page - grid->outcome_base >= grid->outcome_count ||
        !grid->outcome_pages[page - grid->outcome_base])
        return 0;
    return grid->outcome_pages[page - grid->outcome_base][at / 4] >> (at % 4 * 2) & 3;
}

int ids_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

void ids_sort(uint64_t *ids, uint32_t count)
{
    if (count)
        qsort(ids, count, sizeof(*ids), ids_compare);
}

uint64_t grid_outcomes_from(const struct grid *grid)
{
    uint64_t kept = GRID_OUTCOMES_KEPT, pages = grid->next_id / OUTCOME_PAGE_IDS;

    return pages > kept / OUTCOME_PAGE_IDS ? (pages - kept / OUTCOME_PAGE_IDS) * OUTCOME_PAGE_IDS
                                           : 0;
}

void grid_set_outcome(struct grid *grid, uint64_t id, unsigned outcome)
{
    uint64_t page = id / OUTCOME_PAGE_IDS, at = id % OUTCOME_PAGE_IDS;
    uint64_t from = grid_outcomes_from(grid) / OUTCOME_PAGE_IDS;
    uint32_t old = 0;

    if (page < from)
        return;
    while (old < grid->outcome_count && grid->outcome_base + old < from)
        free(grid->outcome_pages[old++]);
    if (old) {
        grid->outcome_base += old;
        grid->outcome_count -= old;
        memmove(grid->outcome_pages, grid->outcome_pages + old,
                grid->outcome_count * sizeof(*grid->outcome_pages));
    }
    if (!grid->outcome_count)
        grid->outcome_base = from;
    while (grid->outcome_base + grid->outcome_count <= page) {
        MEM_GROW(grid->outcome_pages, grid->outcome_cap, grid->outcome_count + 1);
        grid->outcome_pages[grid->outcome_count++] = NULL;
    }
    page -= grid->outcome_base;
    if (!grid->outcome_pages[page])
        grid->outcome_pages[page] = mem_alloc(OUTCOME_PAGE_IDS / 4, 1);
    grid->outcome_pages[page][at / 4] |= (uint8_t)(outcome << (at % 4 * 2));
}

static unsigned outcome_of(enum job_state state)
{
    return state == JOB_DONE ? 1 : state == JOB_FAILED ? 2 : 3;
}

static void tell(struct grid *grid, uint64_t id, unsigned outcome)
{
    MEM_GROW(grid->settle, grid->settle_cap, grid->settle_count + 1);
    grid->settle[grid->settle_count++] = (struct news){ id, outcome };
}

void array_end(struct grid *grid, struct array *array)
{
    unsigned outcome = array->failed ? 2 : array->cancelled ? 3 : 1;

    grid_set_outcome(grid, array->id, outcome);
    tell(grid, array->id, outcome);
    grid_free_array(grid, array);
}

static void array_element_ended(struct grid *grid, struct array *array, enum job_state state)
{
    array->live--;
    array->done += state == JOB_DONE;
    array->failed += state == JOB_FAILED;
    array->cancelled += state == JOB_CANCELLED;
    if (!array->live) {
        array_end(grid, array);
    } else if (state != JOB_DONE && !array->failure_told) {
        array->failure_told = true;
        tell(grid, array->id, 0);
    }
}

void job_free(struct grid *grid, struct job *job)
{
    if (job->shape_asked)
        shapes_unref(&grid->shapes, job->shape_asked);
    shapes_unref(&grid->shapes, job->shape);
    intern_unref(&grid->terms, job->terms);
    grid_tenant_unref(grid, job->tenant);
    intern_unref(&grid->strings, job->user);
    intern_unref(&grid->strings, job->name);
    intern_unref(&grid->strings, job->reason);
    intern_unref(&grid->strings, job->bound_chip);
    intern_unref(&grid->specs, job->spec);
    free(job->deps);
    past_free(job->past);
    free(job->wait);
    drop(grid, job->item.id);
    job->item.next = (struct queue_item *)grid->free_jobs;
    grid->free_jobs = job;
}

void job_end(struct grid *grid, struct job *job, enum job_state state)
{
    struct array *array = job->array;
    uint64_t id = job->item.id;

    assert(!job->grant && !job->item.bucket);
    deps_leave(grid, job);
    waits_leave(grid, job);
    ranks_job_ended(grid, job, state);
    job_set_state(grid, job, state);
    shares_jobs_live(grid, job->tenant, -1);
    grid_set_outcome(grid, id, outcome_of(state));
    grid_emit(grid, EFFECT_JOB_ENDED, job);
    job_free(grid, job);
    tell(grid, id, outcome_of(state));
    if (array)
        array_element_ended(grid, array, state);
}
