/* buffers, errors, arenas, random draws */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_buf_refuses_past_its_ceiling_and_stays_as_it_was(void **state)
{
    CLEANUP(buf_fini) struct buf buf = buf_init(8);

    (void)state;
    assert_int_equal(buf_add_text(&buf, "12345"), 0);
    assert_int_equal(buf_add_text(&buf, "6789"), -ENOSPC);
    assert_true(buf.failed);
    assert_string_equal(buf.data, "12345");
    assert_int_equal(buf_printf(&buf, "%d", 1234567), -ENOSPC);
    assert_int_equal(buf_add(&buf, "x", SIZE_MAX), -ENOSPC);
    assert_int_equal(buf_printf(&buf, "%s", "678"), 0);
    assert_int_equal(buf.len, 8);
    buf_clear(&buf);
    assert_false(buf.failed);
    assert_string_equal(buf.data, "");
}

static void test_buf_consume_and_take(void **state)
{
    struct buf buf = buf_init(1024);
    char *text;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf_add_char(&buf, (char)('a' + i % 26)), 0);
    buf_consume(&buf, 26);
    assert_int_equal(buf.len, 74);
    assert_int_equal(buf.data[0], 'a');
    buf_consume(&buf, 1000);
    assert_int_equal(buf.len, 0);
    text = buf_take(&buf);
    assert_string_equal(text, "");
    free(text);
    text = buf_take(&buf); /* from nothing: still a text */
    assert_string_equal(text, "");
    free(text);
}

static void test_a_steady_clock_is_not_stepped(void **state)
{
    const int64_t hour = 3600 * 1000;
    struct steady_clock clock;
    int64_t before, now = 0;

    (void)state;
    steady_clock_init(&clock, 1000000, 50);
    assert_int_equal(steady_clock_read(&clock, 1000007, 57), 1000007);
    /* The machine sleeps, or nobody asks, for an hour. */
    assert_int_equal(steady_clock_read(&clock, 1000007 + hour, 57 + hour), 1000007 + hour);
    /* It is set forward by an hour: a minute later a minute has passed, and a hundredth of it. */
    steady_clock_init(&clock, 0, 0);
    for (int64_t at = 10; at <= 60000; at += 10)
        now = steady_clock_read(&clock, hour + at, at);
    assert_in_range(now, 60590, 60610);
    /* ... and by an hour back: never backward, a hundredth slower. */
    steady_clock_init(&clock, hour, 0);
    before = hour;
    for (int64_t at = 1; at <= 60000; at++) {
        now = steady_clock_read(&clock, at, at);
        assert_true(now >= before);
        before = now;
    }
    assert_in_range(now - hour, 59390, 59410);
    /* It comes up with what it follows, and stays there. */
    steady_clock_init(&clock, 0, 0);
    for (int64_t at = 1; at <= 20000; at++)
        now = steady_clock_read(&clock, at + 100, at);
    assert_int_equal(now, 20100);
    /* A clock that never steps back may still be read by two, the later first. */
    assert_int_equal(steady_clock_read(&clock, 20090, 19990), 20100);
}

static void test_err_is_one_line_whatever_was_printed(void **state)
{
    struct err err;
    char big[1000];

    (void)state;
    memset(big, 'n', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(err_set(&err, -EINVAL, "name \"a\nb\x1b[31m\"\x7f"), -EINVAL);
    assert_string_equal(err.text, "name \"a?b?[31m\"?");
    assert_int_equal(err_field(&err, -ERANGE, "resources.cpus", "%s", big), -ERANGE);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_string_equal(err.field, "resources.cpus");
    assert_int_equal(err_prefix(&err, -ERANGE, "job.yaml:%d", 3), -ERANGE);
    assert_memory_equal(err.text, "job.yaml:3: nnn", 15);
    assert_string_equal(err.field, "resources.cpus");
    assert_int_equal(err_set(NULL, -EIO, "nobody listens"), -EIO);
}

static void test_arena_gives_zeroed_aligned_memory_up_to_its_ceiling(void **state)
{
    struct arena arena = arena_init(100000);

    (void)state;
    assert_null(arena_alloc(&arena, SIZE_MAX, 2));
    assert_null(arena_alloc(&arena, 100001, 1));
    for (size_t i = 0; i < 300; i++) {
        char *p = arena_alloc(&arena, i + 1, 1);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t k = 0; k <= i; k++)
            assert_int_equal(p[k], 0);
        memset(p, 0xff, i + 1);
    }
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    while (arena_alloc(&arena, 1000, 1))
        ;
    assert_true(arena.used_bytes <= arena.bytes_max);
    arena_fini(&arena);
    assert_non_null(arena_alloc(&arena, 1, 1));
    arena_fini(&arena);
}

static void test_rng_same_seed_same_draws(void **state)
{
    struct rng a = { 42 };
    struct rng b = { 42 };
    bool seen[7] = { false };
    char x[32];
    char y[32];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint64_t draw = rng_below(&a, 7);

        assert_int_equal(draw, rng_below(&b, 7));
        assert_true(draw < 7);
        seen[draw] = true;
        double unit = rng_unit(&a);

        assert_true(unit >= 0 && unit < 1);
        (void)rng_unit(&b);
    }
    for (int i = 0; i < 7; i++)
        assert_true(seen[i]);
    assert_int_equal(random_bytes(x, sizeof(x)), 0);
    assert_int_equal(random_bytes(y, sizeof(y)), 0);
    assert_memory_not_equal(x, y, sizeof(x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_refuses_past_its_ceiling_and_stays_as_it_was),
        cmocka_unit_test(test_buf_consume_and_take),
        cmocka_unit_test(test_a_steady_clock_is_not_stepped),
        cmocka_unit_test(test_err_is_one_line_whatever_was_printed),
        cmocka_unit_test(test_arena_gives_zeroed_aligned_memory_up_to_its_ceiling),
        cmocka_unit_test(test_rng_same_seed_same_draws),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
