/* the token bucket: over any stretch of time never more than burst and rate allow, and no less */
#include "base/cleanup.h"
#include "base/rng.h"
#include "store/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_pace_edges(void **state)
{
    struct pace pace = pace_init(0, 0, 0);

    (void)state;
    assert_int_equal(pace_take(&pace, 5, 1ll << 40), 1ll << 40); /* without limit */
    assert_int_equal(pace_wait_us(&pace, 5, 1ll << 40), 0);
    pace = pace_init(-5, -5, 0);
    assert_int_equal(pace.rate_bytes, 0);
    pace = pace_init(INT64_MAX, INT64_MAX, INT64_MIN);
    assert_int_equal(pace.rate_bytes, PACE_RATE_MAX);
    pace_spend(&pace, INT64_MIN, INT64_MAX);
    assert_int_equal(pace_take(&pace, INT64_MAX, INT64_MAX), PACE_BURST_MAX);
    pace = pace_init(1000, 100, 1000000);
    assert_int_equal(pace_take(&pace, 1000000, 0), 0);
    assert_int_equal(pace_take(&pace, 1000000, -7), 0);
    assert_int_equal(pace_take(&pace, 1000000, 1000), 100);
    assert_int_equal(pace_take(&pace, 900000, 1000), 0); /* the clock went back */
    assert_int_equal(pace_wait_us(&pace, 1000000, 10), 10000);
    assert_int_equal(pace_wait_us(&pace, 1000000, 5000), 100000); /* no more than the burst */
    assert_int_equal(pace_take(&pace, 1009999, 10), 9);
    assert_int_equal(pace_take(&pace, 1010000, 10), 1);
    pace_spend(&pace, 1010000, 300); /* a whole chunk: a debt is paid off first */
    assert_int_equal(pace_take(&pace, 1310000, 10), 0);
    assert_int_equal(pace_take(&pace, 1311000, 10), 1);
}

static void test_pace_holds_its_rate(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rng rng = { .state = seed };
        int64_t rate = 1 + (int64_t)rng_below(&rng, 1000000000);
        int64_t burst = 1 + (int64_t)rng_below(&rng, 10000000);
        int64_t now = (int64_t)rng_below(&rng, 1ll << 50);
        int64_t start = now;
        int64_t gone = 0;
        struct pace pace = pace_init(rate, burst, now);

        for (int i = 0; i < 300; i++) {
            int64_t want = 1 + (int64_t)rng_below(&rng, (uint64_t)burst * 2);
            int64_t got = pace_take(&pace, now, want);
            __int128 allowed = (__int128)burst * 1000000 + (__int128)(now - start) * rate;

            gone += got;
            if ((__int128)gone * 1000000 > allowed)
                fail_msg("seed %d: more than allowed", (int)seed);
            if (got < want) { /* after the wait that is named, what was asked for is there */
                int64_t rest = MIN(want - got, burst);

                now += pace_wait_us(&pace, now, rest);
                assert_int_equal(pace_take(&pace, now, rest), rest);
                gone += rest;
            }
            now += (int64_t)rng_below(&rng, 3000);
        }
    }
}

/* Several transfers over one link: each lets a whole message go when there is something in the
 * bucket, whoever comes first. Together they carry what one could, and a message more at most. */
static void test_pace_is_shared(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct rng rng = { .state = seed };
        int64_t rate = 1000 + (int64_t)rng_below(&rng, 100000000);
        int64_t message_max = rate * 2;
        int64_t now = 0;
        int64_t gone = 0;
        int64_t free_at[7] = { 0 }; /* until then a transfer has its message on the way */
        struct pace pace = pace_init(rate, rate, now);

        for (int i = 0; i < 3000; i++) {
            int64_t *transfer = &free_at[rng_below(&rng, ARRAY_COUNT(free_at))];

            if (*transfer <= now && pace_wait_us(&pace, now, 1) == 0) {
                int64_t message = 1 + (int64_t)rng_below(&rng, (uint64_t)message_max);

                pace_spend(&pace, now, message);
                gone += message;
                *transfer = now + (int64_t)rng_below(&rng, 3000000);
            }
            if ((__int128)(gone - rate - message_max) * 1000000 > (__int128)now * rate)
                fail_msg("seed %d: more than the link may carry", (int)seed);
            now += (int64_t)rng_below(&rng, 100000);
        }
        if ((__int128)gone * 1000000 < (__int128)now * rate * 8 / 10)
            fail_msg("seed %d: the link is not used", (int)seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pace_edges),
        cmocka_unit_test(test_pace_holds_its_rate),
        cmocka_unit_test(test_pace_is_shared),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
