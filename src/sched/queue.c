#include "sched/queue.h"

#include "base/cleanup.h"
#include "sched/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void queue_fini(struct queue *queue)
{
    for (uint32_t i = 0; i < queue->used_count; i++)
        free(queue->buckets[queue->used[i].number].near);
    intern_fini(&queue->keys);
    free(queue->buckets);
    free(queue->used);
    free(queue->heap);
    free(queue->asleep);
    *queue = (struct queue){ 0 };
}

static inline bool item_is_before(const struct queue_item *a, const struct queue_item *b)
{
    return a->order_ms != b->order_ms ? a->order_ms < b->order_ms : a->id < b->id;
}

bool queue_is_before(uint32_t class_a, const struct queue_item *a, uint32_t class_b,
                     const struct queue_item *b)
{
    return class_a != class_b ? class_a > class_b : item_is_before(a, b);
}

/* --- the first few ---------------------------------------------------------------------------- */

static uint32_t near_find(const struct queue_near *near, const struct queue_item *item)
{
    uint32_t at = 0;

    while (at < near->count && near->items[at] != item)
        at++;
    return at;
}

static void near_put(struct queue_near *near, uint32_t at, struct queue_item *item)
{
    near->items[at] = item;
    near->spans_ms[at] = item->span_ms;
}

/* Move the entries from `from` on, to `to` on. */
static void near_shift(struct queue_near *near, uint32_t to, uint32_t from, uint32_t count)
{
    memmove(near->items + to, near->items + from, count * sizeof(near->items[0]));
    memmove(near->spans_ms + to, near->spans_ms + from, count * sizeof(near->spans_ms[0]));
}

/* One has come among them (-1 = none has), one has gone. */
static void near_count_span(struct queue_bucket *bucket, int64_t come_ms, int64_t gone_ms)
{
    if (bucket->near_ms < 0)
        return;
    if (come_ms >= 0 && come_ms <= bucket->near_ms)
        bucket->near_ms = come_ms;
    else if (gone_ms == bucket->near_ms)
        bucket->near_ms = -1;
}

/* Is linked in. */
static void near_add(struct queue_bucket *bucket, struct queue_item *item)
{
    struct queue_near *near = bucket->near;
    int64_t gone_ms = -1;
    uint32_t at;

    if (!near || (near->count == QUEUE_NEAR && !item->next))
        return;
    at = item->prev ? near_find(near, item->prev) + 1 : 0;
    if (at > near->count || at == QUEUE_NEAR)
        return;
    if (near->count == QUEUE_NEAR)
        gone_ms = near->spans_ms[--near->count];
    near_shift(near, at + 1, at, near->count - at);
    near_put(near, at, item);
    near->count++;
    near_count_span(bucket, item->span_ms, gone_ms);
}

/* Is still linked in. */
static void near_remove(struct queue_bucket *bucket, const struct queue_item *item)
{
    struct queue_near *near = bucket->near;
    uint32_t at = near ? near_find(near, item) : 0;
    struct queue_item *come;

    if (!near || at == near->count)
        return;
    come = near->items[near->count - 1]->next;
    near->count--;
    near_shift(near, at, at + 1, near->count - at);
    if (come)
        near_put(near, near->count++, come);
    near_count_span(bucket, come ? come->span_ms : -1, item->span_ms);
}

const struct queue_near *queue_near(struct queue_bucket *bucket)
{
    struct queue_item *item = bucket->first;

    if (bucket->near)
        return bucket->near;
    bucket->near = mem_alloc(1, sizeof(*bucket->near));
    for (; item && bucket->near->count < QUEUE_NEAR; item = item->next)
        near_put(bucket->near, bucket->near->count++, item);
    return bucket->near;
}

int64_t queue_shortest_ms(struct queue_bucket *bucket)
{
    const struct queue_near *near;

    if (bucket->near_ms >= 0)
        return bucket->near_ms;
    if (bucket->count == 1) /* mostly: that needs no list */
        return bucket->first->span_ms;
    near = queue_near(bucket);
    bucket->near_ms = INT64_MAX;
    for (uint32_t i = 0; i < near->count; i++)
        bucket->near_ms = MIN(bucket->near_ms, near->spans_ms[i]);
    return bucket->near_ms;
}

/* --- coming and going ------------------------------------------------------------------------- */

static void set_first(struct queue *queue, const struct queue_bucket *bucket)
{
    queue->used[bucket->slot].first_ms = bucket->first->order_ms;
    queue->used[bucket->slot].first_id = bucket->first->id;
}

void queue_add(struct queue *queue, const struct queue_key *key, struct queue_item *item)
{
    uint32_t number = intern_find(&queue->keys, key, sizeof(*key));
    struct queue_item *before, *after;
    struct queue_bucket *bucket;

    assert(!item->bucket);
    if (!number) {
        number = intern_get(&queue->keys, key, sizeof(*key), NULL);
        MEM_GROW(queue->buckets, queue->buckets_cap, number + 1);
        MEM_GROW(queue->used, queue->used_cap, queue->used_count + 1);
        queue->buckets[number] =
            (struct queue_bucket){ .key = *key, .near_ms = -1, .slot = queue->used_count };
        queue->used[queue->used_count++] = (struct queue_use){ .number = number,
                                                               .job_class = (uint8_t)key->job_class,
                                                               .shape = key->shape,
                                                               .tenant = key->tenant,
                                                               .level = (uint8_t)key->level };
    }
    bucket = &queue->buckets[number];
    /* New ones go to the end and those that come back to the front: look from both. */
    before = bucket->last;
    after = bucket->first;
    while (before && item_is_before(item, before) && item_is_before(after, item)) {
        before = before->prev;
        after = after->next;
    }
    if (!before || !item_is_before(item, before))
        after = before ? before->next : bucket->first;
    else
        before = after->prev;
    item->prev = before;
    item->next = after;
    *(before ? &before->next : &bucket->first) = item;
    *(after ? &after->prev : &bucket->last) = item;
    item->bucket = number;
    near_add(bucket, item);
    bucket->count++;
    set_first(queue, bucket);
    queue->count++;
}

void queue_remove(struct queue *queue, struct queue_item *item)
{
    uint32_t number = item->bucket;
    struct queue_bucket *bucket = &queue->buckets[number];

    assert(number);
    near_remove(bucket, item);
    *(item->prev ? &item->prev->next : &bucket->first) = item->next;
    *(item->next ? &item->next->prev : &bucket->last) = item->prev;
    item->prev = item->next = NULL;
    item->bucket = 0;
    queue->count--;
    bucket->count--;
    if (bucket->first) {
        set_first(queue, bucket);
        return;
    }
    free(bucket->near);
    bucket->near = NULL;
    queue->used[bucket->slot] = queue->used[--queue->used_count];
    queue->buckets[queue->used[bucket->slot].number].slot = bucket->slot;
    intern_unref(&queue->keys, number);
}

/* --- walking the heads ---------------------------------------------------------------------- */

static uint32_t rank_of(const struct queue *queue, const struct queue_bucket *bucket)
{
    return queue_rank(queue, bucket->key.job_class, bucket->key.tenant, bucket->key.level);
}

bool queue_bucket_is_before(const struct queue *queue, const struct queue_bucket *a,
                            const struct queue_bucket *b)
{
    uint32_t rank_a = rank_of(queue, a), rank_b = rank_of(queue, b);

    return rank_a != rank_b ? rank_a < rank_b : item_is_before(a->first, b->first);
}

static inline bool head_is_before(const struct queue_head *a, const struct queue_head *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    return a->first_ms != b->first_ms ? a->first_ms < b->first_ms : a->first_id < b->first_id;
}

int queue_compare_heads(const void *a, const void *b)
{
    return head_is_before(b, a) - head_is_before(a, b);
}

struct queue_head queue_head_of(const struct queue *queue, const struct queue_use *use)
{
    return (struct queue_head){ .first_ms = use->first_ms,
                                .first_id = use->first_id,
                                .rank = queue_rank(queue, use->job_class, use->tenant, use->level),
                                .number = use->number,
                                .shape = use->shape,
                                .tenant = use->tenant };
}

static void sift_down(struct queue *queue, uint32_t at)
{
    struct queue_head *heap = queue->heap, moved = heap[at];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= queue->heap_count)
            break;
        if (child + 1 < queue->heap_count && head_is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!head_is_before(&heap[child], &moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void push(struct queue *queue, const struct queue_head *head)
{
    uint32_t at = queue->heap_count++;

    while (at && head_is_before(head, &queue->heap[(at - 1) / 2])) {
        queue->heap[at] = queue->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    queue->heap[at] = *head;
}

void queue_walk_begin(struct queue *queue,
                      bool (*wanted)(void *context, const struct queue_use *use), void *context)
{
    MEM_GROW(queue->heap, queue->heap_cap, queue->used_count + 1);
    queue->heap_count = queue->asleep_count = 0;
    for (uint32_t i = 0; i < queue->used_count; i++)
        if (!wanted || wanted(context, &queue->used[i]))
            queue->heap[queue->heap_count++] = queue_head_of(queue, &queue->used[i]);
    for (uint32_t i = queue->heap_count / 2; i-- > 0;)
        sift_down(queue, i);
}

static void rank_again(const struct queue *queue, struct queue_head *head)
{
    head->rank =
        queue_rank(queue, 15u - (head->rank >> 28), head->tenant, head->rank % QUEUE_LEVELS);
}

/* Of those that were set aside, who still are to come. */
static void drop_passed(struct queue *queue)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < queue->asleep_count; i++)
        if (head_is_before(&queue->at, &queue->asleep[i]))
            queue->asleep[kept++] = queue->asleep[i];
    queue->asleep_count = kept;
}

void queue_walk_reorder(struct queue *queue,
                        bool (*wanted)(void *context, const struct queue_head *head), void *context)
{
    uint32_t kept = 0;

    drop_passed(queue); /* before the turns are others */
    queue->at = (struct queue_head){ .first_ms = INT64_MIN };
    for (uint32_t i = 0; i < queue->asleep_count; i++)
        rank_again(queue, &queue->asleep[i]);
    for (uint32_t i = 0; i < queue->heap_count; i++) {
        struct queue_head head = queue->heap[i];

        rank_again(queue, &head);
        if (!wanted || wanted(context, &head)) {
            queue->heap[kept++] = head;
            continue;
        }
        MEM_GROW(queue->asleep, queue->asleep_cap, queue->asleep_count + 1);
        queue->asleep[queue->asleep_count++] = head;
    }
    queue->heap_count = kept;
    for (uint32_t i = queue->heap_count / 2; i-- > 0;)
        sift_down(queue, i);
}

void queue_walk_wake(struct queue *queue)
{
    drop_passed(queue);
    while (queue->asleep_count)
        push(queue, &queue->asleep[--queue->asleep_count]);
}

struct queue_bucket *queue_walk_next(struct queue *queue, uint32_t *number_out)
{
    if (!queue->heap_count)
        return NULL;
    queue->at = queue->heap[0];
    *number_out = queue->at.number;
    queue->heap[0] = queue->heap[--queue->heap_count];
    if (queue->heap_count)
        sift_down(queue, 0);
    return &queue->buckets[*number_out];
}

void queue_walk_again(struct queue *queue, uint32_t number)
{
    struct queue_head head = queue_head_of(queue, &queue->used[queue->buckets[number].slot]);

    push(queue, &head);
}

uint64_t queue_count_before(const struct queue *queue, uint32_t rank, queue_counts_fn counts,
                            const void *context)
{
    uint64_t ahead = 0;

    for (uint32_t i = 0; i < queue->used_count; i++) {
        const struct queue_bucket *bucket = &queue->buckets[queue->used[i].number];

        if (rank_of(queue, bucket) < rank && (!counts || counts(context, &bucket->key)))
            ahead += bucket->count;
    }
    return ahead;
}

uint64_t queue_ahead(const struct queue *queue, const struct queue_item *item, uint32_t steps_max,
                     queue_counts_fn counts, const void *context, bool *is_exact_out)
{
    uint32_t rank = rank_of(queue, &queue->buckets[item->bucket]);
    uint64_t ahead = 0;

    *is_exact_out = true;
    for (uint32_t i = 0; i < queue->used_count; i++) {
        const struct queue_bucket *bucket = &queue->buckets[queue->used[i].number];
        const struct queue_item *other = bucket->first;
        uint32_t count = 0;

        if (rank_of(queue, bucket) > rank || (counts && !counts(context, &bucket->key)))
            continue;
        if (rank_of(queue, bucket) < rank) {
            ahead += bucket->count;
            continue;
        }
        for (; other && steps_max && item_is_before(other, item); other = other->next, steps_max--)
            count++;
        if (other && item_is_before(other, item)) {
            /* Not all looked at: as if ids were spread evenly over the rest. */
            uint64_t span = bucket->last->id - other->id + 1;
            uint64_t part = item->id > other->id ? item->id - other->id : 0;

            *is_exact_out = false;
            if (part > span)
                part = span;
            count += (uint32_t)((bucket->count - count) * (double)part / (double)span);
        }
        ahead += count;
    }
    return ahead;
}
