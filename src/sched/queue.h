/* queue.h - who waits, in order: class first, then whose tenant's turn it is (the caller's to say;
 * without, all are alike), then by level (of each job, the caller's to say, too), then by its
 * order_ms (when it became eligible, or what else the caller goes by), ties by id.
 *
 * Jobs that nothing distinguishes for placement share a bucket: when its head does not fit, none
 * does. A pass looks at bucket heads, so it costs what differs, not what waits. */
#pragma once

#include "sched/intern.h"

#include <stdbool.h>

struct queue_item { /* inside a job */
    uint64_t id;
    int64_t eligible_ms; /* since when it waits: the caller's */
    int64_t order_ms;    /* by which it stands: of those alike the least goes first */
    int64_t span_ms;     /* the caller's: it runs no longer than this; INT64_MAX = not known */
    struct queue_item *prev, *next;
    uint32_t bucket; /* 0 = not queued */
};

struct queue_key {
    uint64_t array_id; /* of an array that limits how many run at once; else 0 */
    uint32_t job_class, shape, tenant;
    uint32_t level; /* below QUEUE_LEVELS: less goes first, before age */
};

/* The first few of a bucket side by side: a look at how long they run touches none of them. */
#define QUEUE_NEAR 16u
struct queue_near {
    uint32_t count; /* all of the bucket's, or QUEUE_NEAR */
    int64_t spans_ms[QUEUE_NEAR];
    struct queue_item *items[QUEUE_NEAR];
};
struct queue_bucket {
    struct queue_key key;
    struct queue_item *first, *last;
    struct queue_near *near; /* owned; NULL = nobody has asked yet */
    int64_t near_ms;         /* see queue_shortest_ms; -1 = not known */
    uint32_t count;
    uint32_t slot; /* in `used` */
};

struct queue_use { /* a bucket with somebody in it, beside its likes: a pass looks at all of them */
    int64_t first_ms; /* of its first */
    uint64_t first_id;
    uint32_t number, shape, tenant;
    uint8_t job_class, level;
};
struct queue_head { /* of a bucket */
    int64_t first_ms;
    uint64_t first_id;
    uint32_t rank, number; /* rank: class, turn and level */
    uint32_t shape, tenant;
};
#define QUEUE_LEVELS 64u
#define QUEUE_TURNS_MAX (1u << 22)

struct queue {
    struct intern keys;
    struct queue_bucket *buckets; /* by the interned number */
    uint32_t buckets_cap;
    struct queue_use *used; /* in no order that means anything */
    uint32_t used_count, used_cap;
    struct queue_head *heap; /* of the pass under way */
    uint32_t heap_count, heap_cap;
    struct queue_head *asleep; /* of the walk, set aside; in no order that means anything */
    uint32_t asleep_count, asleep_cap;
    struct queue_head at; /* handed out last */
    uint64_t count;
    const uint32_t *turns; /* by tenant, below QUEUE_TURNS_MAX, less goes first; NULL = all alike */
};

void queue_fini(struct queue *queue);
void queue_add(struct queue *queue, const struct queue_key *key, struct queue_item *item);
void queue_remove(struct queue *queue, struct queue_item *item);
/* Is `a` (of class class_a) before `b`? */
bool queue_is_before(uint32_t class_a, const struct queue_item *a, uint32_t class_b,
                     const struct queue_item *b);

/* The first QUEUE_NEAR of the bucket in order, and the least span_ms of these; both are kept along.
 * The list is good until somebody comes or goes. */
const struct queue_near *queue_near(struct queue_bucket *bucket);
int64_t queue_shortest_ms(struct queue_bucket *bucket);

/* A walk over bucket heads in order: begin, then next until NULL. The bucket handed out is put
 * back, with its new head, by queue_walk_again; else the walk is done with it. Only over the
 * buckets that are `wanted` (NULL: over all); each is asked about once, in any order. */
void queue_walk_begin(struct queue *queue,
                      bool (*wanted)(void *context, const struct queue_use *use), void *context);
/* Of its class, its tenant's turn and its level; less goes first, and alike who became eligible
 * first. */
static inline uint32_t queue_rank(const struct queue *queue, uint32_t job_class, uint32_t tenant,
                                  uint32_t level)
{
    uint32_t turn = queue->turns ? queue->turns[tenant] : 0;

    return (15u - (job_class < 15u ? job_class : 15u)) << 28 | turn * QUEUE_LEVELS | level;
}
struct queue_head queue_head_of(const struct queue *queue, const struct queue_use *use);
/* For qsort: struct queue_head, in the order of a walk. */
int queue_compare_heads(const void *a, const void *b);
/* Is the head of `a` before that of `b`? */
bool queue_bucket_is_before(const struct queue *queue, const struct queue_bucket *a,
                            const struct queue_bucket *b);
/* Put what is left of the walk in order again, by the turns as they are now. What is not `wanted`
 * is set aside; queue_walk_wake brings back what of that has not been passed by since. */
void queue_walk_reorder(struct queue *queue,
                        bool (*wanted)(void *context, const struct queue_head *head),
                        void *context);
void queue_walk_wake(struct queue *queue);
struct queue_bucket *queue_walk_next(struct queue *queue, uint32_t *number_out);
void queue_walk_again(struct queue *queue, uint32_t number);

/* Do those of such a bucket count as being before others? NULL = all do. */
typedef bool (*queue_counts_fn)(const void *context, const struct queue_key *key);
/* How many are before `item`. Exact up to `steps_max` looked at; `*is_exact_out` tells. */
uint64_t queue_ahead(const struct queue *queue, const struct queue_item *item, uint32_t steps_max,
                     queue_counts_fn counts, const void *context, bool *is_exact_out);
/* How many are in buckets that come before this rank. */
uint64_t queue_count_before(const struct queue *queue, uint32_t rank, queue_counts_fn counts,
                            const void *context);
