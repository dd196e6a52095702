#include "sched/queue.h"

#include "base/cleanup.h"
#include "sched/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void queue_fini(struct queue *queue)
{
    intern_fini(&queue->keys);
    free(queue->buckets);
    free(queue->used);
    free(queue->heap);
    *queue = (struct queue){ 0 };
}

static inline bool item_is_before(const struct queue_item *a, const struct queue_item *b)
{
    return a->eligible_ms != b->eligible_ms ? a->eligible_ms < b->eligible_ms : a->id < b->id;
}

bool queue_is_before(uint32_t class_a, const struct queue_item *a, uint32_t class_b,
                     const struct queue_item *b)
{
    return class_a != class_b ? class_a > class_b : item_is_before(a, b);
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
        queue->buckets[number] = (struct queue_bucket){ .key = *key, .slot = queue->used_count };
        queue->used[queue->used_count++] = number;
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
    bucket->first_ms = bucket->first->eligible_ms;
    bucket->first_id = bucket->first->id;
    bucket->memo_ms = 0;
    bucket->count++;
    queue->count++;
}

void queue_remove(struct queue *queue, struct queue_item *item)
{
    uint32_t number = item->bucket;
    struct queue_bucket *bucket = &queue->buckets[number];

    assert(number);
    *(item->prev ? &item->prev->next : &bucket->first) = item->next;
    *(item->next ? &item->next->prev : &bucket->last) = item->prev;
    item->prev = item->next = NULL;
    item->bucket = 0;
    queue->count--;
    bucket->memo_ms = 0;
    if (--bucket->count) {
        bucket->first_ms = bucket->first->eligible_ms;
        bucket->first_id = bucket->first->id;
        return;
    }
    queue->used[bucket->slot] = queue->used[--queue->used_count];
    queue->buckets[queue->used[bucket->slot]].slot = bucket->slot;
    intern_unref(&queue->keys, number);
}

/* --- walking the heads ---------------------------------------------------------------------- */

static inline uint32_t rank_of(const struct queue *queue, const struct queue_bucket *bucket)
{
    uint32_t turn = queue->turns ? queue->turns[bucket->key.tenant] : 0;

    return (15u - MIN(bucket->key.job_class, 15u)) << 28 | turn * QUEUE_LEVELS | bucket->key.level;
}

bool queue_bucket_is_before(const struct queue *queue, const struct queue_bucket *a,
                            const struct queue_bucket *b)
{
    uint32_t rank_a = rank_of(queue, a), rank_b = rank_of(queue, b);

    if (rank_a != rank_b)
        return rank_a < rank_b;
    return a->first_ms != b->first_ms ? a->first_ms < b->first_ms : a->first_id < b->first_id;
}

uint32_t queue_rank(const struct queue *queue, const struct queue_bucket *bucket)
{
    return rank_of(queue, bucket);
}

static inline bool head_is_before(const struct queue_head *a, const struct queue_head *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    return a->first_ms != b->first_ms ? a->first_ms < b->first_ms : a->first_id < b->first_id;
}

static struct queue_head head_of(const struct queue *queue, uint32_t number)
{
    const struct queue_bucket *bucket = &queue->buckets[number];

    return (struct queue_head){ bucket->first_ms, bucket->first_id, rank_of(queue, bucket),
                                number };
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

void queue_walk_begin_with(struct queue *queue,
                           bool (*wanted)(void *context, const struct queue_bucket *bucket),
                           void *context)
{
    MEM_GROW(queue->heap, queue->heap_cap, queue->used_count + 1);
    queue->heap_count = 0;
    for (uint32_t i = 0; i < queue->used_count; i++)
        if (!wanted || wanted(context, &queue->buckets[queue->used[i]]))
            queue->heap[queue->heap_count++] = head_of(queue, queue->used[i]);
    for (uint32_t i = queue->heap_count / 2; i-- > 0;)
        sift_down(queue, i);
}

void queue_walk_reorder(struct queue *queue)
{
    for (uint32_t i = 0; i < queue->heap_count; i++)
        queue->heap[i] = head_of(queue, queue->heap[i].number);
    for (uint32_t i = queue->heap_count / 2; i-- > 0;)
        sift_down(queue, i);
}

void queue_walk_begin(struct queue *queue)
{
    queue_walk_begin_with(queue, NULL, NULL);
}

struct queue_bucket *queue_walk_next(struct queue *queue, uint32_t *number_out)
{
    if (!queue->heap_count)
        return NULL;
    *number_out = queue->heap[0].number;
    queue->heap[0] = queue->heap[--queue->heap_count];
    if (queue->heap_count)
        sift_down(queue, 0);
    return &queue->buckets[*number_out];
}

void queue_walk_again(struct queue *queue, uint32_t number)
{
    struct queue_head head = head_of(queue, number);
    uint32_t at = queue->heap_count++;

    while (at && head_is_before(&head, &queue->heap[(at - 1) / 2])) {
        queue->heap[at] = queue->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    queue->heap[at] = head;
}

uint64_t queue_ahead(const struct queue *queue, const struct queue_item *item, uint32_t steps_max,
                     bool *is_exact_out)
{
    uint32_t rank = rank_of(queue, &queue->buckets[item->bucket]);
    uint64_t ahead = 0;

    *is_exact_out = true;
    for (uint32_t i = 0; i < queue->used_count; i++) {
        const struct queue_bucket *bucket = &queue->buckets[queue->used[i]];
        const struct queue_item *other = bucket->first;
        uint32_t count = 0;

        if (rank_of(queue, bucket) != rank) {
            ahead += rank_of(queue, bucket) < rank ? bucket->count : 0;
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
