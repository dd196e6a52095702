/* How often to save and how many nodes stand by: against the closed formulas and drawn histories.
 */
#include "base/rng.h"
#include "sched/spares.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define DAY_MS ((int64_t)24 * 3600 * 1000)

static void test_nothing_noted(void **state)
{
    struct spares_params params = spares_params_default();
    struct spares_nodes seen = { 0 };
    struct spares_work work = { 0 };

    (void)state;
    spares_note_lived(&params, &seen, 10, 1, 0);
    spares_note_lived(&params, &seen, 10, 1, -5);
    spares_note_lived(&params, &seen, 0, 0, 1000);
    assert_int_equal(seen.node_ms, 0);
    assert_int_equal(seen.repair_ms, 0);
    spares_note_time(&work.stall, -1);
    spares_note_time(&work.stall, INT64_MAX);
    assert_int_equal(work.stall.count, 0);
}

/* However long, nothing runs over and the rate stays what it was. */
static void test_window(void **state)
{
    struct spares_params params = spares_params_default();
    struct spares_nodes seen = { 0 };
    struct spares_work work = { 0 };
    struct spares_plan plan;

    (void)state;
    spares_note_lived(&params, &seen, UINT32_MAX, UINT32_MAX, INT64_MAX);
    assert_true(seen.node_ms > 0 && seen.node_ms <= params.window_node_ms);
    memset(&seen, 0, sizeof(seen));
    for (int day = 0; day < 3000; day++) {
        spares_note_lived(&params, &seen, 1000, 5, DAY_MS);
        spares_note_failures(&seen, 5);
        spares_note_repairs(&seen, 5);
        assert_true(seen.node_ms <= params.window_node_ms);
    }
    plan = spares_plan_gang(&params, &seen, &work, 100);
    assert_true(fabs(plan.failures_per_1000_node_days - 5) < 0.1);
    /* The fleet gets ten times worse: seen within the window. */
    for (int day = 0; day < 150; day++) {
        spares_note_lived(&params, &seen, 1000, 50, DAY_MS);
        spares_note_failures(&seen, 50);
    }
    plan = spares_plan_gang(&params, &seen, &work, 100);
    assert_true(plan.failures_per_1000_node_days > 35);
    for (uint32_t i = 0; i < SPARES_SAMPLES_MAX + 10; i++)
        spares_note_time(&work.stall, 1000);
    assert_true(work.stall.count <= SPARES_SAMPLES_MAX);
    assert_int_equal(work.stall.sum_ms / work.stall.count, 1000);
}

/* The interval stands where the goodput is greatest, to 0.01 points. */
static void test_interval(void **state)
{
    static const struct {
        double mtbf_s, stall_s, restart_s;
    } cases[] = { { 98462, 5, 150 },  { 60792, 5, 150 }, { 35446, 5, 150 }, { 60792, 60, 900 },
                  { 60792, 0.5, 20 }, { 3600, 30, 60 },  { 600, 60, 30 } };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double mtbf = cases[i].mtbf_s * 1e3, stall = cases[i].stall_s * 1e3;
        double restart = cases[i].restart_s * 1e3, best = 0;
        double at = spares_goodput(mtbf, spares_best_interval(mtbf, stall), stall, restart);

        for (double interval = 1000; interval < 4 * mtbf; interval *= 1.01)
            best = fmax(best, spares_goodput(mtbf, interval, stall, restart));
        if (at < best - 1e-4)
            fail_msg("mtbf %g s, stall %g s: %g, best %g", cases[i].mtbf_s, cases[i].stall_s, at,
                     best);
    }
    assert_true(fabs(spares_goodput(60792e3, 780e3, 5e3, 150e3) - 0.985) < 0.0005);
    assert_true(spares_best_interval(1000, 2000) == 1000);
    assert_true(spares_best_interval(1000, 0) == 0);
    assert_true(spares_goodput(1000, 0, 1, 1) == 0);
    assert_true(spares_goodput(1, 1e9, 1, 1) == 0);
}

/* When everything is known well, the shortage is Poisson's. */
static void test_shortage(void **state)
{
    struct spares_params params = spares_params_default();
    struct spares_nodes seen = { .failures = 2000000, .repairs = 2000000 };
    struct spares_work work = { 0 };
    struct spares_plan plan;
    double load, p, above = 1;

    (void)state;
    params.window_node_ms = INT64_MAX / 4;
    seen.node_ms = (int64_t)1e6 / 2 * 1000 * DAY_MS / 1000; /* 4 per 1,000 node-days */
    seen.node_ms *= 1000;
    seen.repair_ms = (int64_t)2000000 * DAY_MS;
    plan = spares_plan_gang(&params, &seen, &work, 375);
    assert_true(fabs(plan.failures_per_1000_node_days - 4) < 0.01);
    load = (375 + plan.spares) * 0.004;
    p = exp(-load);
    for (uint32_t k = 0; k <= plan.spares; k++) {
        above -= p;
        p *= load / (k + 1);
    }
    assert_true(fabs(plan.shortage_share - above) < 1e-4);
    assert_in_range(plan.spares, 4, 7);
    assert_true(plan.shortage_share * 375 < 1);
}

/* More nodes or failures: never fewer spares; and never past the limit. */
static void test_monotone(void **state)
{
    struct spares_params params = spares_params_default();
    struct spares_nodes seen = { .node_ms = 10000 * DAY_MS,
                                 .repair_ms = 40 * DAY_MS,
                                 .repairs = 40 };
    struct spares_work work = { 0 };
    uint32_t last = 0;

    (void)state;
    for (uint32_t nodes = 1; nodes < 20000; nodes *= 3) {
        struct spares_plan plan = spares_plan_gang(&params, &seen, &work, nodes);

        assert_true(plan.spares >= last);
        assert_true(plan.goodput >= 0 && plan.goodput <= 1);
        last = plan.spares;
    }
    last = 0;
    for (uint64_t failures = 100; failures < 10000; failures *= 3) {
        struct spares_plan plan;

        seen.failures = failures;
        plan = spares_plan_gang(&params, &seen, &work, 375);
        assert_true(plan.spares >= last);
        last = plan.spares;
    }
    assert_true(last > 30);
    params.spares_max = 3;
    seen.failures = 80;
    assert_int_equal(spares_plan_gang(&params, &seen, &work, 375).spares, 3);
    seen.failures = 1000000000; /* all of them are in repair: spares are no help */
    assert_int_equal(spares_plan_gang(&params, &seen, &work, 375).spares, 0);
    assert_true(spares_plan_gang(&params, &seen, &work, 375).shortage_share == 1);
}

static void test_prior(void **state)
{
    struct spares_params params = spares_params_default();
    struct spares_nodes seen = { 0 };
    struct spares_work work = { 0 };
    struct spares_plan unknown = spares_plan_gang(&params, &seen, &work, 375), known;

    (void)state;
    assert_true(fabs(unknown.failures_per_1000_node_days - 4) < 1e-9);
    seen = (struct spares_nodes){ 400, 400, 100000 * DAY_MS, 400 * DAY_MS };
    known = spares_plan_gang(&params, &seen, &work, 375);
    assert_true(known.spares < unknown.spares); /* what is not known costs spares */
    spares_note_time(&work.stall, 5000);
    assert_true(spares_plan_gang(&params, &seen, &work, 375).interval_ms < known.interval_ms);
    params.interval_ms_min = known.interval_ms + 1;
    assert_int_equal(spares_plan_gang(&params, &seen, &work, 375).interval_ms,
                     params.interval_ms_min);
}

/* From drawn histories the rate is found: within 25 % after 40 failures or so, in most seeds. */
static void test_learning(void **state)
{
    struct spares_params params = spares_params_default();
    uint32_t near = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct rng rng = { seed };
        struct spares_nodes seen = { 0 };
        struct spares_work work = { 0 };

        for (uint32_t hour = 0; hour < 600; hour++) {
            spares_note_lived(&params, &seen, 375, 0, 3600000);
            spares_note_failures(&seen, rng_unit(&rng) < 375 * 0.008 / 24);
        }
        near += fabs(spares_plan_gang(&params, &seen, &work, 375).failures_per_1000_node_days / 8 -
                     1) < 0.25;
    }
    assert_true(near > 85);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_noted), cmocka_unit_test(test_window),
        cmocka_unit_test(test_interval),      cmocka_unit_test(test_shortage),
        cmocka_unit_test(test_monotone),      cmocka_unit_test(test_prior),
        cmocka_unit_test(test_learning),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
