/* The M x N matrix: what it refuses, what it believes, and how that moves with what is seen. */
#include "base/rng.h"
#include "sched/rates.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { SLOW, FAST, BARE };

static struct rates *make(void)
{
    struct rates_params params = rates_params_default();
    struct rates *rates = rates_create(&params);
    struct chip_figures figures = { .kind = "slow" };

    for (uint32_t m = 0; m < METRIC_COUNT; m++)
        figures.metric_milli[m] = -1;
    assert_int_equal(rates_set_chip(rates, BARE, &figures, NULL), 0);
    figures.metric_milli[METRIC_BF16_TFLOPS] = 100000;
    figures.metric_milli[METRIC_BANDWIDTH_GBS] = 1000000;
    assert_int_equal(rates_set_chip(rates, SLOW, &figures, NULL), 0);
    figures.metric_milli[METRIC_BF16_TFLOPS] = 800000;
    figures.metric_milli[METRIC_BANDWIDTH_GBS] = 2000000;
    assert_int_equal(rates_set_chip(rates, FAST, &figures, NULL), 0);
    return rates;
}

static struct rate get(const struct rates *rates, uint64_t work, uint32_t chip, uint32_t gang)
{
    return rates_get(rates, &(struct rates_key){ work, chip, gang });
}

static bool is_near(double value, double wanted)
{
    return fabs(value - wanted) <= 1e-9 * fabs(wanted);
}

static void test_refusals(void **state)
{
    struct rates *rates = make();
    struct err err;
    static const struct {
        uint32_t gang;
        double units, seconds;
    } cases[] = { { 0, 1, 1 },       { RATES_GANG_MAX + 1, 1, 1 },
                  { 1, 0, 1 },       { 1, -1, 1 },
                  { 1, 1, 0 },       { 1, 1, NAN },
                  { 1, INFINITY, 1 } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rates_key key = { 1, SLOW, cases[i].gang };

        assert_int_equal(rates_learn(rates, &key, cases[i].units, cases[i].seconds, &err), -EINVAL);
        assert_true(err.text[0]);
    }
    assert_int_equal(rates_declare(rates, &(struct rates_key){ 1, SLOW, 1 }, -1, NULL), -EINVAL);
    assert_int_equal(rates_set_work(rates, 1, &(struct rates_work){ .bytes = NAN }, NULL), -EINVAL);
    assert_int_equal(rates_set_chip(rates, 65536, &(struct chip_figures){ 0 }, NULL), -EINVAL);
    assert_int_equal(rates_restore(rates, &(struct rates_entry){ .key = { 1, 0, 1 } }, NULL),
                     -EINVAL);
    assert_int_equal(rates_count(rates), 0);
    assert_null(rates_at(rates, 0));
    assert_int_equal(get(rates, 1, SLOW, 1).source, RATE_UNKNOWN);
    assert_true(get(rates, 1, SLOW, 0).seconds == 0);
    rates_destroy(rates);
    rates_destroy(NULL);
}

static void test_full(void **state)
{
    struct rates_params params = rates_params_default();
    struct rates_key one = { 1, 0, 1 }, two = { 2, 0, 1 };
    struct rates *rates;

    (void)state;
    params.entries_max = 1;
    rates = rates_create(&params);
    assert_int_equal(rates_declare(rates, &one, 5, NULL), 0);
    assert_int_equal(rates_declare(rates, &two, 5, NULL), -ENOSPC);
    assert_int_equal(rates_learn(rates, &one, 1, 5, NULL), 0);
    assert_true(is_near(rates_get(rates, &one).seconds, 5));
    rates_destroy(rates);
}

/* A wrong declaration is overruled by runs, and the spread falls with each. */
static void test_declared_then_learned(void **state)
{
    struct rates *rates = make();
    struct rates_key key = { 7, SLOW, 1 };
    struct rate rate, last;

    (void)state;
    assert_int_equal(rates_declare(rates, &key, 10, NULL), 0);
    last = rates_get(rates, &key);
    assert_int_equal(last.source, RATE_DECLARED);
    assert_true(is_near(last.seconds, 10) && is_near(last.spread, 0.3));
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(rates_learn(rates, &key, 3, 60, NULL), 0);
        rate = rates_get(rates, &key);
        assert_true(rate.seconds > last.seconds && rate.seconds < 20);
        assert_true(rate.spread < last.spread);
        last = rate;
    }
    assert_int_equal(rate.source, RATE_LEARNED);
    assert_int_equal(rate.runs, 40);
    assert_true(rate.seconds > 19.5 && rate.spread < 0.03);
    rates_destroy(rates);
}

/* From noisy runs the truth is met within the spread that is claimed. */
static void test_coverage(void **state)
{
    struct rng rng = { 5 };
    uint32_t inside = 0;

    (void)state;
    for (uint32_t round = 0; round < 400; round++) {
        struct rates *rates = make();
        struct rates_key key = { 1, SLOW, 1 };
        struct rate rate;

        for (uint32_t i = 0; i < 1 + round % 20; i++) {
            double noise = sqrt(-2 * log(1 - rng_unit(&rng))) * cos(6.283185307 * rng_unit(&rng));

            assert_int_equal(rates_learn(rates, &key, 1, 4 * exp(0.15 * noise), NULL), 0);
        }
        rate = rates_get(rates, &key);
        inside += fabs(log(rate.seconds / 4)) <= 1.64 * rate.spread;
        rates_destroy(rates);
    }
    if (inside < 340 || inside > 380) /* 90 % of 400 */
        fail_msg("%u of 400 inside", inside);
}

static void test_roofline(void **state)
{
    struct rates *rates = make();
    struct rates_work work = { .operations = 100, .bytes = 100, .metric = METRIC_BF16_TFLOPS };
    struct rate slow, fast;

    (void)state;
    assert_int_equal(rates_set_work(rates, 3, &work, NULL), 0);
    slow = get(rates, 3, SLOW, 1); /* 1 s of arithmetic, 0.1 s of memory, 40 % reached */
    fast = get(rates, 3, FAST, 1);
    assert_int_equal(slow.source, RATE_ROOFLINE);
    assert_true(is_near(slow.seconds, 2.5) && is_near(slow.seconds / fast.seconds, 8));
    assert_true(slow.spread > 0.5);
    assert_int_equal(get(rates, 3, BARE, 1).source, RATE_UNKNOWN);
    assert_int_equal(get(rates, 3, 99, 1).source, RATE_UNKNOWN);
    rates_destroy(rates);
}

/* The nearest of what is known, and never surer than it. */
static void test_carried(void **state)
{
    struct rates *rates = make();
    struct rates_key key = { 3, SLOW, 1 };
    struct rate own, chip, gang, both;

    (void)state;
    assert_int_equal(rates_learn(rates, &key, 1, 8, NULL), 0);
    own = rates_get(rates, &key);
    chip = get(rates, 3, FAST, 1); /* halfway between 8 x the arithmetic and 2 x the memory */
    gang = get(rates, 3, SLOW, 4);
    both = get(rates, 3, FAST, 4);
    assert_int_equal(chip.source, RATE_CARRIED);
    assert_true(is_near(chip.seconds, 2));
    assert_true(gang.seconds > 2 && gang.seconds < 2.4);
    assert_true(own.spread < gang.spread && gang.spread < chip.spread);
    assert_true(chip.spread < both.spread);
    assert_int_equal(get(rates, 3, BARE, 1).source, RATE_UNKNOWN);
    key.chip = FAST;
    assert_true(is_near(rates_share(rates, &key, (uint32_t[]){ SLOW, FAST, BARE }, 3), 1));
    key.chip = SLOW;
    assert_true(is_near(rates_share(rates, &key, (uint32_t[]){ SLOW, FAST, BARE }, 3), 0.25));
    key.work = 4;
    assert_true(rates_share(rates, &key, NULL, 0) == 0);
    rates_destroy(rates);
}

static void test_bill(void **state)
{
    struct rate rate = { .seconds = 36, .spread = 0.1, .source = RATE_LEARNED };
    struct rates_place place = {
        .wait_s = 100, .watts = 500, .device_hour_price = 2, .kwh_price = 0.2, .kwh_carbon_g = 300
    };
    struct rates_bill bill;

    (void)state;
    assert_false(rates_bill(&rate, 0, 1, 0, &place, &bill));
    assert_false(rates_bill(&rate, 1, 0, 0, &place, &bill));
    assert_false(rates_bill(&(struct rate){ 0 }, 1, 1, 0, &place, &bill));
    assert_true(rates_bill(&rate, 2, 100, 1.64, &place, &bill)); /* an hour on two devices */
    assert_true(is_near(bill.finish_s, 3700) && bill.late_s > 4300);
    assert_true(is_near(bill.joules, 3.6e6) && is_near(bill.joules_per_unit, 3.6e4));
    assert_true(is_near(bill.money, 4.2) && is_near(bill.money_per_unit, 0.042));
    assert_true(is_near(bill.carbon_g, 300) && is_near(bill.carbon_g_per_unit, 3));
}

static void test_restore(void **state)
{
    struct rates *rates = make(), *again = make();
    struct rng rng = { 2 };

    (void)state;
    for (uint32_t i = 0; i < 500; i++) {
        struct rates_key key = { rng_below(&rng, 20), (uint32_t)rng_below(&rng, 3),
                                 1u << rng_below(&rng, 4) };

        if (rng_below(&rng, 2))
            assert_int_equal(rates_learn(rates, &key, 1, 1 + rng_unit(&rng), NULL), 0);
        else
            assert_int_equal(rates_declare(rates, &key, 1 + rng_unit(&rng), NULL), 0);
    }
    for (uint32_t i = 0; i < rates_count(rates); i++)
        assert_int_equal(rates_restore(again, rates_at(rates, i), NULL), 0);
    for (uint64_t work = 0; work < 21; work++)
        for (uint32_t chip = 0; chip < 3; chip++)
            for (uint32_t gang = 1; gang <= 16; gang *= 2) {
                struct rate a = get(rates, work, chip, gang), b = get(again, work, chip, gang);

                assert_true(a.seconds == b.seconds && a.spread == b.spread && a.runs == b.runs);
                assert_int_equal(a.source, b.source);
            }
    rates_destroy(rates);
    rates_destroy(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_declared_then_learned),
        cmocka_unit_test(test_coverage),
        cmocka_unit_test(test_roofline),
        cmocka_unit_test(test_carried),
        cmocka_unit_test(test_bill),
        cmocka_unit_test(test_restore),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
