/* What is learned of durations: who answers for whom, how near, and that the table keeps to its
 * memory. */
#include "base/rng.h"
#include "sched/predict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define KEYS 64u

static void test_sources(void **state)
{
    struct predict_record records[KEYS] = { 0 };
    const struct predict_params params = predict_params_default();
    struct predict predict;
    uint64_t ann = predict_key(1, 8), bob = predict_key(2, 8);

    (void)state;
    predict_init(&predict, records, KEYS);
    assert_int_equal(predict_ask(&predict, &params, ann, 8).source, PREDICT_NONE);
    predict_learn(&predict, &params, ann, 8, 60000);
    assert_int_equal(predict_ask(&predict, &params, ann, 8).source, PREDICT_KEY);
    assert_int_equal(predict_ask(&predict, &params, bob, 8).source, PREDICT_SIZE);
    assert_int_equal(predict_ask(&predict, &params, bob, 1).source, PREDICT_SIZE); /* all sizes */
    assert_int_equal(predict_ask(&predict, &params, 0, 0).source, PREDICT_SIZE);
    assert_int_equal(predict_ask(&predict, &params, bob, 1).mean_ms, 60000);
    predict_learn(&predict, &params, 0, UINT32_MAX, -5); /* nothing is shorter than 1 ms */
    assert_int_equal(predict_ask(&predict, &params, 0, UINT32_MAX).typical_ms, 1);
}

static void test_typical_table(void **state)
{
    static const int64_t cases[] = { 1, 2, 3, 999, 1000, 86400000, 3613033000, INT64_MAX / 2 };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct predict_record records[KEYS] = { 0 };
        const struct predict_params params = predict_params_default();
        struct predict predict;
        int64_t typical;

        predict_init(&predict, records, KEYS);
        for (uint32_t k = 0; k < 20; k++)
            predict_learn(&predict, &params, 7, 1, cases[i]);
        typical = predict_ask(&predict, &params, 7, 1).typical_ms;
        if (typical > cases[i] + cases[i] / 10000 + 1 || typical < cases[i] - cases[i] / 10000 - 1)
            fail_msg("%lld gave %lld", (long long)cases[i], (long long)typical);
    }
}

/* A user whose jobs last ten times longer than others' is told apart, and one that changes is
 * followed within ten jobs. */
static void test_follows(void **state)
{
    struct predict_record records[KEYS] = { 0 };
    const struct predict_params params = predict_params_default();
    struct predict predict;
    struct rng rng = { 5 };
    int64_t typical;

    (void)state;
    predict_init(&predict, records, KEYS);
    for (uint32_t i = 0; i < 200; i++)
        predict_learn(&predict, &params, 1 + i % 2, 1,
                      (int64_t)((i % 2 ? 100000 : 10000) * (0.5 + rng_unit(&rng))));
    typical = predict_ask(&predict, &params, 1, 1).typical_ms;
    assert_true(typical > 5000 && typical < 15000);
    typical = predict_ask(&predict, &params, 2, 1).typical_ms;
    assert_true(typical > 50000 && typical < 150000);
    for (uint32_t i = 0; i < 10; i++)
        predict_learn(&predict, &params, 1, 1, 1000000);
    typical = predict_ask(&predict, &params, 1, 1).typical_ms;
    assert_true(typical > 700000 && typical <= 1000000);
}

/* More keys than room: the last learned always answers, and nothing grows. */
static void test_bounded(void **state)
{
    struct predict_record records[KEYS + 1] = { 0 };
    const struct predict_params params = predict_params_default();
    struct predict predict;

    (void)state;
    records[KEYS].key = 42; /* behind the end */
    predict_init(&predict, records, KEYS);
    for (uint64_t i = 1; i <= 10000; i++) {
        predict_learn(&predict, &params, predict_key(i, 3), 1, (int64_t)i * 1000);
        assert_int_equal(predict_ask(&predict, &params, predict_key(i, 3), 1).source, PREDICT_KEY);
    }
    assert_int_equal(records[KEYS].key, 42);
    assert_int_not_equal(predict_key(0, 0), 0);
    assert_int_not_equal(predict_key(1, 2), predict_key(2, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_typical_table),
        cmocka_unit_test(test_follows),
        cmocka_unit_test(test_bounded),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
