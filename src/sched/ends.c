#include "sched/ends.h"

#include "sched/fleet.h"
#include "sched/mem.h"

#include <assert.h>
#include <stdlib.h>

void ends_fini(struct ends *ends)
{
    free(ends->heap);
    *ends = (struct ends){ 0 };
}

static inline bool has_run_longer(const struct grant *a, const struct grant *b)
{
    return a->granted_ms != b->granted_ms ? a->granted_ms < b->granted_ms : a->job_id < b->job_id;
}

static inline bool is_before(const struct grant *a, const struct grant *b)
{
    return a->end_ms != b->end_ms ? a->end_ms < b->end_ms : has_run_longer(a, b);
}

static void put(struct ends *ends, struct grant *grant, uint32_t at)
{
    ends->heap[at] = grant;
    grant->end_slot = at;
}

static void sift_up(struct ends *ends, struct grant *grant, uint32_t at)
{
    for (; at && is_before(grant, ends->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put(ends, ends->heap[(at - 1) / 2], at);
    put(ends, grant, at);
}

static void sift_down(struct ends *ends, struct grant *grant, uint32_t at)
{
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= ends->count)
            break;
        if (child + 1 < ends->count && is_before(ends->heap[child + 1], ends->heap[child]))
            child++;
        if (!is_before(ends->heap[child], grant))
            break;
        put(ends, ends->heap[child], at);
        at = child;
    }
    put(ends, grant, at);
}

void ends_add(struct ends *ends, struct grant *grant)
{
    MEM_GROW(ends->heap, ends->cap, ends->count + 1);
    sift_up(ends, grant, ends->count++);
}

void ends_remove(struct ends *ends, struct grant *grant)
{
    uint32_t at = grant->end_slot;
    struct grant *moved = ends->heap[--ends->count];

    assert(ends->heap[at] == grant || moved == grant);
    if (moved == grant)
        return;
    if (at && is_before(moved, ends->heap[(at - 1) / 2]))
        sift_up(ends, moved, at);
    else
        sift_down(ends, moved, at);
}

static int64_t next_ms(const struct ends *ends, int64_t now_ms, uint32_t at)
{
    int64_t a, b;

    if (at >= ends->count)
        return INT64_MAX;
    if (ends->heap[at]->end_ms > now_ms)
        return ends->heap[at]->end_ms;
    a = next_ms(ends, now_ms, 2 * at + 1);
    b = next_ms(ends, now_ms, 2 * at + 2);
    return a < b ? a : b;
}

int64_t ends_next_ms(const struct ends *ends, int64_t now_ms)
{
    return next_ms(ends, now_ms, 0);
}

/* --- walking -------------------------------------------------------------------------------- */

void ends_walk_fini(struct ends_walk *walk)
{
    free(walk->next);
    free(walk->late);
    *walk = (struct ends_walk){ 0 };
}

static void push_place(struct ends_walk *walk, uint32_t place)
{
    struct grant *const *heap = walk->ends->heap;
    uint32_t at = walk->next_count;

    if (place >= walk->ends->count)
        return;
    MEM_GROW(walk->next, walk->next_cap, at + 1);
    walk->next_count++;
    for (; at && is_before(heap[place], heap[walk->next[(at - 1) / 2]]); at = (at - 1) / 2)
        walk->next[at] = walk->next[(at - 1) / 2];
    walk->next[at] = place;
}

static void pop_place(struct ends_walk *walk)
{
    struct grant *const *heap = walk->ends->heap;
    uint32_t first = walk->next[0], moved = walk->next[--walk->next_count], at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= walk->next_count)
            break;
        if (child + 1 < walk->next_count &&
            is_before(heap[walk->next[child + 1]], heap[walk->next[child]]))
            child++;
        if (!is_before(heap[walk->next[child]], heap[moved]))
            break;
        walk->next[at] = walk->next[child];
        at = child;
    }
    walk->next[at] = moved;
    push_place(walk, 2 * first + 1);
    push_place(walk, 2 * first + 2);
}

void ends_walk_begin(struct ends_walk *walk, const struct ends *ends, int64_t now_ms)
{
    walk->ends = ends;
    walk->now_ms = now_ms;
    walk->next_count = walk->late_count = walk->late_first = 0;
    walk->is_late_sorted = false;
    push_place(walk, 0);
}

static int compare_late(const void *a, const void *b)
{
    return has_run_longer(*(struct grant *const *)a, *(struct grant *const *)b) ? -1 : 1;
}

static struct grant *next_unbound(struct ends_walk *walk)
{
    struct grant *first = walk->next_count ? walk->ends->heap[walk->next[0]] : NULL;

    if (!walk->is_late_sorted && walk->late_count)
        qsort(walk->late, walk->late_count, sizeof(struct grant *), compare_late);
    walk->is_late_sorted = true;
    if (walk->late_first < walk->late_count &&
        (!first || has_run_longer(walk->late[walk->late_first], first)))
        return walk->late[walk->late_first++];
    if (first)
        pop_place(walk);
    return first;
}

struct grant *ends_walk_next(struct ends_walk *walk, int64_t *end_ms_out)
{
    while (walk->next_count) {
        struct grant *grant = walk->ends->heap[walk->next[0]];

        if (grant->end_ms == INT64_MAX)
            break;
        pop_place(walk);
        if (grant->end_ms > walk->now_ms) {
            *end_ms_out = grant->end_ms;
            return grant;
        }
        MEM_GROW(walk->late, walk->late_cap, walk->late_count + 1);
        walk->late[walk->late_count++] = grant;
    }
    *end_ms_out = INT64_MAX;
    return next_unbound(walk);
}
