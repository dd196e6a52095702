/* The queue's order, and the interned things under it, against plain lists. */
#include "base/cleanup.h"
#include "base/rng.h"
#include "sched/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ITEMS 200u

struct waiting {
    struct queue_item item;
    struct queue_key key;
    bool is_in;
};

static bool is_first(const struct waiting *list, const struct waiting *one)
{
    for (uint32_t i = 0; i < ITEMS; i++)
        if (list[i].is_in &&
            queue_is_before(list[i].key.job_class, &list[i].item, one->key.job_class, &one->item))
            return false;
    return true;
}

static uint64_t count_before(const struct waiting *list, const struct waiting *one)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < ITEMS; i++)
        count += list[i].is_in && queue_is_before(list[i].key.job_class, &list[i].item,
                                                  one->key.job_class, &one->item);
    return count;
}

/* In any order of coming and going, a walk meets everybody in order. */
static void test_walk(void **state)
{
    struct waiting *list = calloc(ITEMS, sizeof(*list));
    struct rng rng = { 11 };

    (void)state;
    assert_non_null(list);
    for (uint32_t round = 0; round < 60; round++) {
        struct queue queue = { 0 };
        struct queue_bucket *bucket;
        uint32_t number, left = 0;

        memset(list, 0, ITEMS * sizeof(*list));
        for (uint32_t i = 0; i < ITEMS; i++) {
            struct waiting *one = &list[rng_below(&rng, ITEMS)];

            if (one->is_in) {
                queue_remove(&queue, &one->item);
                one->is_in = false;
                continue;
            }
            one->item.id = (uint64_t)(one - list) + 1;
            one->item.order_ms = (int64_t)rng_below(&rng, 20);
            one->key = (struct queue_key){ .job_class = (uint32_t)rng_below(&rng, 3),
                                           .shape = (uint32_t)rng_below(&rng, 4),
                                           .array_id = rng_below(&rng, 2) };
            queue_add(&queue, &one->key, &one->item);
            one->is_in = true;
        }
        for (uint32_t i = 0; i < ITEMS; i++) {
            bool is_exact;

            if (!list[i].is_in)
                continue;
            left++;
            assert_int_equal(queue_ahead(&queue, &list[i].item, UINT32_MAX, NULL, NULL, &is_exact),
                             count_before(list, &list[i]));
            assert_true(is_exact);
        }
        assert_int_equal(queue.count, left);
        queue_walk_begin(&queue, NULL, NULL);
        while ((bucket = queue_walk_next(&queue, &number)) != NULL) {
            struct waiting *one = (struct waiting *)bucket->first;
            uint32_t count = bucket->count;

            assert_true(is_first(list, one));
            queue_remove(&queue, &one->item);
            one->is_in = false;
            left--;
            if (count > 1)
                queue_walk_again(&queue, number);
        }
        assert_int_equal(left, 0);
        assert_int_equal(queue.keys.live_count, 0);
        queue_fini(&queue);
    }
    free(list);
}

static int64_t least_of_first(const struct queue_bucket *bucket)
{
    const struct queue_item *item = bucket->first;
    int64_t least_ms = INT64_MAX;

    for (uint32_t i = 0; item && i < QUEUE_NEAR; i++, item = item->next)
        least_ms = item->span_ms < least_ms ? item->span_ms : least_ms;
    return least_ms;
}

static void assert_lists_first(struct queue_bucket *bucket)
{
    const struct queue_near *near = queue_near(bucket);
    const struct queue_item *item = bucket->first;

    assert_int_equal(near->count, MIN(bucket->count, QUEUE_NEAR));
    for (uint32_t i = 0; i < near->count; i++, item = item->next) {
        assert_ptr_equal(near->items[i], item);
        assert_int_equal(near->spans_ms[i], item->span_ms);
    }
}

/* A bucket's first few, and the shortest of them, are known however they come and go. */
static void test_shortest(void **state)
{
    struct waiting *list = calloc(ITEMS, sizeof(*list));
    struct queue queue = { 0 };
    struct rng rng = { 7 };

    (void)state;
    assert_non_null(list);
    for (uint32_t round = 0; round < 40000; round++) {
        uint32_t most =
            round / 5000 % 2 ? 12 : ITEMS; /* of a bucket that is shorter than that, too */
        struct waiting *one = &list[rng_below(&rng, most)];

        if (one->is_in) {
            queue_remove(&queue, &one->item);
        } else {
            one->item.id = (uint64_t)(one - list) + 1;
            one->item.order_ms = (int64_t)rng_below(&rng, 50);
            one->item.span_ms = rng_below(&rng, 9) ? (int64_t)rng_below(&rng, 6) * 100 : INT64_MAX;
            one->key = (struct queue_key){ .shape = (uint32_t)rng_below(&rng, 2) };
            queue_add(&queue, &one->key, &one->item);
        }
        one->is_in = !one->is_in;
        for (uint32_t i = 0; i < queue.used_count; i++) {
            struct queue_bucket *bucket = &queue.buckets[queue.used[i].number];

            assert_int_equal(queue.used[i].first_id, bucket->first->id);
            assert_int_equal(queue.used[i].first_ms, bucket->first->order_ms);
            if (rng_below(&rng, 3)) /* it is not asked for at each change */
                assert_int_equal(queue_shortest_ms(bucket), least_of_first(bucket));
            if (!rng_below(&rng, 3))
                assert_lists_first(bucket);
        }
    }
    queue_fini(&queue);
    free(list);
}

static void test_intern(void **state)
{
    struct intern intern = { 0 };
    struct rng rng = { 5 };
    uint32_t numbers[50] = { 0 }, users[50] = { 0 };

    (void)state;
    assert_int_equal(intern_text(&intern, ""), 0);
    assert_int_equal(intern_text(&intern, NULL), 0);
    assert_string_equal(intern_data(&intern, 0), "");
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t k = (uint32_t)rng_below(&rng, 50);
        char text[16];
        int len = snprintf(text, sizeof(text), "text-%u", k);

        if (rng_below(&rng, 2)) {
            bool is_new;

            numbers[k] = intern_get(&intern, text, (uint32_t)len, &is_new);
            assert_int_equal(is_new, users[k] == 0);
            users[k]++;
        } else if (users[k]) {
            assert_int_equal(intern_unref(&intern, numbers[k]), users[k] == 1);
            users[k]--;
        }
        assert_int_equal(intern_find(&intern, text, (uint32_t)len), users[k] ? numbers[k] : 0);
        if (users[k])
            assert_string_equal(intern_data(&intern, numbers[k]), text);
    }
    intern_fini(&intern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_shortest),
        cmocka_unit_test(test_intern),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
