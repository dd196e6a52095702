/* A site's series over time: what is refused, what is kept, and sums over intervals. */
#include "base/rng.h"
#include "sched/tariff.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define HOUR INT64_C(3600000)

static void test_refusals(void **state)
{
    struct tariff tariff;
    struct err err;

    (void)state;
    assert_int_equal(tariff_init(&tariff, 0, 10, &err), -EINVAL);
    assert_int_equal(tariff_init(&tariff, TARIFF_SLOT_MS_MAX + 1, 10, &err), -EINVAL);
    assert_int_equal(tariff_init(&tariff, HOUR, 0, &err), -EINVAL);
    assert_int_equal(tariff_init(&tariff, HOUR, TARIFF_SLOTS_MAX + 1, &err), -EINVAL);
    assert_int_equal(tariff_init(&tariff, HOUR, 10, &err), 0);
    assert_int_equal(tariff_set(&tariff, TARIFF_CARBON, 5, -1, &err), -EINVAL);
    assert_int_equal(tariff_set(&tariff, TARIFF_GREEN, 5, 1000001, &err), -EINVAL);
    assert_int_equal(tariff_set(&tariff, TARIFF_CAP, 5, -5, &err), -EINVAL);
    assert_int_equal(tariff_set(&tariff, TARIFF_PRICE, INT64_MAX / 2, 1, &err), -EINVAL);
    assert_int_equal(tariff.count, 0);
    assert_int_equal(tariff_set(&tariff, TARIFF_PRICE, 20, -7, &err), 0);
    assert_int_equal(tariff_set(&tariff, TARIFF_PRICE, 10, 1, &err), -ERANGE);
    assert_int_equal(tariff_set(&tariff, TARIFF_PRICE, 11, 1, &err), 0);
    assert_int_equal(tariff_get(&tariff, TARIFF_PRICE, 20), -7);
    assert_true(tariff_get(&tariff, TARIFF_PRICE, 12) == TARIFF_UNKNOWN);
    assert_true(tariff_get(&tariff, TARIFF_CARBON, 20) == TARIFF_UNKNOWN);
    tariff_fini(&tariff);
    tariff_fini(NULL);
}

static void test_sums(void **state)
{
    /* Prices of hours 0..3: 0.10, -0.05, unknown, 0.30; a 2 kW load. */
    static const struct {
        int64_t from_ms, to_ms, micro, unknown_ms;
    } cases[] = {
        { 0, 0, 0, 0 },
        { HOUR, 0, 0, 0 },
        { 0, HOUR, 200000, 0 },
        { HOUR / 2, HOUR, 100000, 0 },
        { 0, 2 * HOUR, 100000, 0 },
        { HOUR, 3 * HOUR, -100000, HOUR },
        { -HOUR, 5 * HOUR, 700000, 3 * HOUR },
        { 9 * HOUR, 11 * HOUR, 0, 2 * HOUR },
    };
    struct tariff tariff;

    (void)state;
    assert_int_equal(tariff_init(&tariff, HOUR, 10, NULL), 0);
    assert_int_equal(tariff_integrate(&tariff, TARIFF_PRICE, 0, HOUR, 1000).unknown_ms, HOUR);
    tariff_set(&tariff, TARIFF_PRICE, 0, 100000, NULL);
    tariff_set(&tariff, TARIFF_PRICE, 1, -50000, NULL);
    tariff_set(&tariff, TARIFF_PRICE, 3, 300000, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tariff_sum sum =
            tariff_integrate(&tariff, TARIFF_PRICE, cases[i].from_ms, cases[i].to_ms, 2000);

        if (sum.total != cases[i].micro || sum.unknown_ms != cases[i].unknown_ms)
            fail_msg("case %zu: %lld, unknown %lld", i, (long long)sum.total,
                     (long long)sum.unknown_ms);
    }
    tariff_set(&tariff, TARIFF_CARBON, 1, 400000, NULL); /* 400 g */
    tariff_set(&tariff, TARIFF_GREEN, 1, 250000, NULL);
    tariff_set(&tariff, TARIFF_CAP, 1, 5000, NULL);
    assert_int_equal(tariff_integrate(&tariff, TARIFF_CARBON, HOUR, 2 * HOUR, 1000).total,
                     400000000);
    assert_int_equal(tariff_integrate(&tariff, TARIFF_GREEN, HOUR, 2 * HOUR, 1000).total,
                     900000000);
    assert_int_equal(tariff_integrate(&tariff, TARIFF_CAP, HOUR, 2 * HOUR, 1).total,
                     INT64_C(18000000000));
    tariff_set(&tariff, TARIFF_SUPPLY, 1, 3000, NULL);
    assert_int_equal(tariff_integrate(&tariff, TARIFF_SUPPLY, HOUR, 2 * HOUR, 2000).total,
                     INT64_C(7200000000));
    assert_int_equal(tariff_integrate(&tariff, TARIFF_SUPPLY, HOUR, 2 * HOUR, 4000).total,
                     INT64_C(10800000000));
    tariff_fini(&tariff);
}

/* Against a plain array, over any order of setting; sums add up within a unit. */
static void test_like_an_array(void **state)
{
    struct rng rng = { 3 };

    (void)state;
    for (uint32_t round = 0; round < 200; round++) {
        int64_t plain[64], newest = -1, span = 1 + (int64_t)rng_below(&rng, 20);
        struct tariff tariff;

        for (int i = 0; i < 64; i++)
            plain[i] = TARIFF_UNKNOWN;
        assert_int_equal(tariff_init(&tariff, HOUR, (uint32_t)span, NULL), 0);
        for (uint32_t i = 0; i < 40; i++) {
            int64_t slot = (int64_t)rng_below(&rng, 64),
                    value = (int64_t)rng_below(&rng, 1000) - 300;
            bool is_old = newest >= 0 && newest - slot >= span;

            assert_int_equal(tariff_set(&tariff, TARIFF_PRICE, slot, value, NULL),
                             is_old ? -ERANGE : 0);
            if (is_old)
                continue;
            plain[slot] = value;
            newest = slot > newest ? slot : newest;
            for (int64_t k = 0; k < 64; k++) {
                if (k <= newest - span)
                    plain[k] = TARIFF_UNKNOWN;
                assert_true(tariff_get(&tariff, TARIFF_PRICE, k) == plain[k]);
            }
        }
        for (uint32_t i = 0; i < 20; i++) {
            int64_t a = (int64_t)rng_below(&rng, 64 * HOUR),
                    b = (int64_t)rng_below(&rng, 64 * HOUR);
            int64_t c = (int64_t)rng_below(&rng, 64 * HOUR), swap;
            struct tariff_sum ab, bc, ac;

            if (a > b)
                swap = a, a = b, b = swap;
            if (c < b)
                swap = b, b = c > a ? c : a, a = c > a ? a : c, c = swap;
            ab = tariff_integrate(&tariff, TARIFF_PRICE, a, b, 777);
            bc = tariff_integrate(&tariff, TARIFF_PRICE, b, c, 777);
            ac = tariff_integrate(&tariff, TARIFF_PRICE, a, c, 777);
            assert_in_range(ab.total + bc.total - ac.total + 1, 0, 2);
            assert_int_equal(ab.unknown_ms + bc.unknown_ms, ac.unknown_ms);
        }
        tariff_fini(&tariff);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_like_an_array),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
