/* how much of a site's talk is written down */
#include "controller/session_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_few_lines_a_minute_and_the_rest_counted(void **state)
{
    struct session_guard guard = { 0 };
    uint32_t unsaid = 99, said = 0;

    (void)state;
    for (int i = 0; i < 100000; i++)
        said += session_guard_says(&guard, 5000 + i / 10, &unsaid);
    assert_int_equal(said, GUARD_LINES);
    assert_int_equal(unsaid, 0);
    assert_true(session_guard_says(&guard, 5000 + GUARD_LINES_MS, &unsaid));
    assert_int_equal(unsaid, 100000 - GUARD_LINES);
    assert_true(session_guard_says(&guard, 5001 + GUARD_LINES_MS, &unsaid));
    assert_int_equal(unsaid, 0);
}

static void test_much_at_once_then_so_much_a_second(void **state)
{
    struct session_guard guard = { 0 };
    const size_t mib = 1 << 20;
    int64_t now = 1000000, taken = 0;

    (void)state;
    assert_false(session_guard_takes(&guard, now, (size_t)GUARD_BYTES + 1));
    for (int i = 0; i < 1000; i++)
        taken += session_guard_takes(&guard, now, mib) ? (int64_t)mib : 0;
    assert_int_equal(taken, GUARD_BYTES);
    /* What is refused costs nothing; what time gives back can be used. */
    now += (int64_t)(3 * mib) / GUARD_BYTES_PER_MS;
    assert_true(session_guard_takes(&guard, now, 3 * mib));
    assert_false(session_guard_takes(&guard, now, 1000));
    /* Long silence gives back all, and no more than all. */
    now += (int64_t)1 << 40;
    assert_true(session_guard_takes(&guard, now, (size_t)GUARD_BYTES));
    assert_false(session_guard_takes(&guard, now, 1));
    /* A clock that stood still or went back does no harm. */
    assert_true(session_guard_takes(&guard, now - 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_lines_a_minute_and_the_rest_counted),
        cmocka_unit_test(test_much_at_once_then_so_much_a_second),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
