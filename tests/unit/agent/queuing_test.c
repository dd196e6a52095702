/* How long work waits in an engine's own queue, as it is told. */
#include "agent/queuing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)

static void test_nothing_is_nothing(void **state)
{
    struct queuing queuing = { 0 };
    struct wire_wait rows[WIRE_WAITS_MAX];

    (void)state;
    assert_int_equal(queuing_rows(&queuing, 0, rows), 0);
    for (int i = 0; i < 40; i++)
        queuing_begun(&queuing, false, 1, QUEUING_LEAST_MS - 1, 0); /* all start at once */
    assert_int_equal(queuing_rows(&queuing, 0, rows), 0);
    queuing_begun(&queuing, false, 0, -5, 0); /* a clock that was set */
    assert_int_equal(queuing_rows(&queuing, 0, rows), 0);
}

static void test_median_of_the_last(void **state)
{
    struct queuing queuing = { 0 };
    struct wire_wait rows[WIRE_WAITS_MAX];

    (void)state;
    for (int i = 1; i <= 5; i++)
        queuing_begun(&queuing, true, 2, i * MINUTE, 0);
    assert_int_equal(queuing_rows(&queuing, 0, rows), 2 * QUEUING_STEPS);
    /* On one node of such: nobody knows, so nothing; on more, no less than on fewer. */
    assert_int_equal(rows[QUEUING_STEPS].wait_ms, 0);
    assert_int_equal(rows[QUEUING_STEPS].has_devices, 1);
    assert_int_equal(rows[QUEUING_STEPS + 1].wait_ms, 3 * MINUTE);
    assert_int_equal(rows[QUEUING_STEPS + 1].nodes_max, 4);
    assert_int_equal(rows[QUEUING_STEPS + 3].wait_ms, 3 * MINUTE);
    assert_int_equal(rows[QUEUING_STEPS + 3].nodes_max, UINT32_MAX);
    assert_int_equal(rows[0].wait_ms, 0);       /* without devices */
    for (uint32_t i = 0; i < QUEUING_KEPT; i++) /* what was before is not kept */
        queuing_begun(&queuing, true, 2, 10 * MINUTE, MINUTE);
    assert_int_equal(queuing_rows(&queuing, MINUTE, rows), 2 * QUEUING_STEPS);
    assert_int_equal(rows[QUEUING_STEPS + 1].wait_ms, 10 * MINUTE);
    assert_int_equal(queuing_rows(&queuing, MINUTE + QUEUING_RECENT_MS, rows), 0); /* long ago */
}

static void test_what_waits_now(void **state)
{
    struct queuing queuing = { 0 };
    struct wire_wait rows[WIRE_WAITS_MAX];

    (void)state;
    queuing_begun(&queuing, false, 1, MINUTE, 0);
    queuing_waits(&queuing, false, 1, 2 * MINUTE, 0);
    assert_int_equal(queuing_rows(&queuing, 0, rows), QUEUING_STEPS);
    assert_int_equal(rows[0].wait_ms, 2 * MINUTE);
    assert_int_equal(rows[0].pending, 1);
    queuing_clear(&queuing);
    queuing_waits(&queuing, false, 1, SECOND, 7 * MINUTE); /* as the engine expects */
    queuing_rows(&queuing, 0, rows);
    assert_int_equal(rows[0].wait_ms, 7 * MINUTE);
    for (int i = 0; i < 1000; i++)
        queuing_waits(&queuing, false, 1, SECOND, 0);
    queuing_rows(&queuing, 0, rows);
    assert_int_equal(rows[0].pending, 1001);
    assert_int_equal(rows[0].wait_ms, MINUTE); /* of the first sixteen, most have waited little */
    queuing_clear(&queuing);
    queuing_rows(&queuing, 0, rows);
    assert_int_equal(rows[0].pending, 0);
}

static void test_news(void **state)
{
    struct wire_wait told = { 0, 1, 1, 10 * MINUTE }, now = told;

    (void)state;
    assert_true(queuing_is_news(NULL, 0, &now, 1));
    assert_true(queuing_is_news(&told, 1, NULL, 0));
    assert_false(queuing_is_news(NULL, 0, NULL, 0));
    now.pending = 7;
    now.wait_ms += 2 * MINUTE;
    assert_false(queuing_is_news(&told, 1, &now, 1));
    now.wait_ms += MINUTE;
    assert_true(queuing_is_news(&told, 1, &now, 1));
    told.wait_ms = 0;
    now.wait_ms = 9 * SECOND; /* of little, much is little */
    assert_false(queuing_is_news(&told, 1, &now, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_nothing),
        cmocka_unit_test(test_median_of_the_last),
        cmocka_unit_test(test_what_waits_now),
        cmocka_unit_test(test_news),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
