/* Who grows into idle devices and who gives some back: edges, hysteresis, and small cases against
 * all ways to share. */
#include "base/rng.h"
#include "sched/resize.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define NOW_MS (100 * 3600 * 1000LL)

static const struct resize_point halving[] = { { 1, 1 }, { 2, 1.8 }, { 4, 3 }, { 8, 4.5 } };
static const struct resize_point stairs[] = { { 1, 1 }, { 4, 1.1 }, { 8, 6 } };

static struct resize_job plain(uint64_t id, uint32_t devices)
{
    return (struct resize_job){
        .id = id,
        .job_class = CLASS_NORMAL,
        .devices = devices,
        .devices_min = 1,
        .devices_max = 64,
        .step = 1,
        .left_ms = INT64_MAX,
    };
}

static void test_edges(void **state)
{
    struct resize *resize = resize_create();
    struct resize_params params = resize_params_default();
    struct resize_job job = plain(1, 4);
    uint32_t devices = 99;

    (void)state;
    resize_destroy(NULL);
    assert_int_equal(resize_grow(resize, &params, NULL, 0, 10, INT64_MAX, NOW_MS, NULL), 0);
    assert_int_equal(resize_grow(resize, &params, &job, 1, 0, INT64_MAX, NOW_MS, &devices), 0);
    assert_int_equal(devices, 4);
    assert_int_equal(resize_shrink(&params, &job, 1, CLASS_URGENT, 0, INT64_MAX, &devices), 0);
    assert_int_equal(devices, 4);
    job.devices_max = 4; /* as large as it may be */
    assert_int_equal(resize_grow(resize, &params, &job, 1, 10, INT64_MAX, NOW_MS, &devices), 0);
    job.devices_max = 3; /* makes no sense: left alone */
    assert_int_equal(resize_grow(resize, &params, &job, 1, 10, INT64_MAX, NOW_MS, &devices), 0);
    assert_int_equal(resize_shrink(&params, &job, 1, CLASS_URGENT, 2, INT64_MAX, &devices), 0);
    job = plain(1, 4);
    job.devices_min = 3; /* no more than there is */
    assert_int_equal(resize_shrink(&params, &job, 1, CLASS_URGENT, 2, INT64_MAX, &devices), 1);
    assert_int_equal(devices, 3);
    assert_int_equal(resize_shrink(&params, &job, 1, CLASS_LOW, 2, INT64_MAX, &devices), 0);
    resize_destroy(resize);
}

static void test_rate(void **state)
{
    static const struct {
        uint32_t devices;
        double rate;
    } cases[] = { { 1, 1 }, { 2, 1.8 }, { 3, 2.4 }, { 6, 3.75 }, { 8, 4.5 }, { 16, 6.75 } };
    struct resize_params params = resize_params_default();
    struct resize_job job = plain(1, 1);

    (void)state;
    assert_true(fabs(resize_rate(&params, &job, 7) - 7) < 1e-12);
    job.points = halving;
    job.points_count = 4;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(fabs(resize_rate(&params, &job, cases[i].devices) - cases[i].rate) < 1e-12);
    job.points = &halving[2];
    job.points_count = 1;
    assert_true(fabs(resize_rate(&params, &job, 2) - 2) < 1e-12); /* in proportion below 4 */
}

static void test_grow(void **state)
{
    struct resize *resize = resize_create();
    struct resize_params params = resize_params_default();
    struct resize_job jobs[2] = { plain(7, 4), plain(3, 4) };
    uint32_t devices[2];

    (void)state;
    jobs[0].points = jobs[1].points = halving;
    jobs[0].points_count = jobs[1].points_count = 4;
    /* The same curve: who has less wins more. */
    jobs[0].devices = 1;
    assert_int_equal(resize_grow(resize, &params, jobs, 2, 2, INT64_MAX, NOW_MS, devices), 2);
    assert_int_equal(devices[0], 3);
    /* A higher class before. */
    jobs[1].job_class = CLASS_URGENT;
    assert_int_equal(resize_grow(resize, &params, jobs, 2, 2, INT64_MAX, NOW_MS, devices), 2);
    assert_int_equal(devices[1], 6);
    /* Whole steps only. */
    jobs[1].step = 4;
    assert_int_equal(resize_grow(resize, &params, &jobs[1], 1, 3, INT64_MAX, NOW_MS, devices), 0);
    assert_int_equal(resize_grow(resize, &params, &jobs[1], 1, 7, INT64_MAX, NOW_MS, devices), 4);
    /* A flat piece is got over when there is enough for the steep one. */
    jobs[0].points = stairs;
    jobs[0].points_count = 3;
    jobs[0].devices = 4;
    assert_int_equal(resize_grow(resize, &params, jobs, 1, 4, INT64_MAX, NOW_MS, devices), 4);
    assert_int_equal(devices[0], 8);
    resize_destroy(resize);
}

/* Not again at once, not for a short while, not near the end; what one leaves another takes. */
static void test_hysteresis(void **state)
{
    struct resize *resize = resize_create();
    struct resize_params params = resize_params_default();
    struct resize_job jobs[2] = { plain(1, 4), plain(2, 4) };
    uint32_t devices[2];

    (void)state;
    jobs[0].changed_ms = NOW_MS - params.hold_ms + 1;
    assert_int_equal(resize_grow(resize, &params, jobs, 1, 4, INT64_MAX, NOW_MS, devices), 0);
    assert_int_equal(resize_grow(resize, &params, jobs, 1, 4, INT64_MAX, NOW_MS + 1, devices), 4);
    jobs[0].changed_ms = 0;
    jobs[0].resize_ms = 60 * 1000;
    /* Twice as fast pays the minute back twice in three. */
    assert_int_equal(resize_grow(resize, &params, jobs, 1, 4, 179 * 1000, NOW_MS, devices), 0);
    assert_int_equal(resize_grow(resize, &params, jobs, 1, 4, 180 * 1000, NOW_MS, devices), 4);
    jobs[0].left_ms = 100 * 1000;
    assert_int_equal(resize_grow(resize, &params, jobs, 1, 4, INT64_MAX, NOW_MS, devices), 0);
    jobs[0].job_class = CLASS_URGENT;
    assert_int_equal(resize_grow(resize, &params, jobs, 2, 4, INT64_MAX, NOW_MS, devices), 4);
    assert_int_equal(devices[0], 4);
    assert_int_equal(devices[1], 8);
    /* Somebody waits: shrinking does not mind the hold. */
    jobs[1].changed_ms = NOW_MS;
    assert_int_equal(resize_shrink(&params, &jobs[1], 1, CLASS_NORMAL, 2, INT64_MAX, devices), 2);
    resize_destroy(resize);
}

static void test_shrink(void **state)
{
    struct resize_params params = resize_params_default();
    struct resize_job jobs[3] = { plain(5, 8), plain(4, 8), plain(3, 8) };
    uint32_t devices[3];

    (void)state;
    /* All alike: the lowest id, and only one of them is stopped. */
    for (int i = 0; i < 3; i++)
        jobs[i].resize_ms = 60 * 1000;
    assert_int_equal(resize_shrink(&params, jobs, 3, CLASS_URGENT, 4, INT64_MAX, devices), 4);
    assert_true(devices[0] == 8 && devices[1] == 8 && devices[2] == 4);
    /* Who scales worst loses least. */
    jobs[0].points = halving;
    jobs[0].points_count = 4;
    assert_int_equal(resize_shrink(&params, jobs, 3, CLASS_URGENT, 4, INT64_MAX, devices), 4);
    assert_int_equal(devices[0], 4);
    /* Not a class above the one that asks. */
    jobs[0].job_class = CLASS_HIGH;
    jobs[1].job_class = CLASS_LOW;
    assert_int_equal(resize_shrink(&params, jobs, 3, CLASS_NORMAL, 30, INT64_MAX, devices), 14);
    assert_true(devices[0] == 8 && devices[1] == 1 && devices[2] == 1);
    /* One step more than needed at most. */
    jobs[1].step = 3;
    assert_int_equal(resize_shrink(&params, jobs, 3, CLASS_LOW, 4, INT64_MAX, devices), 6);
}

static double best_share(const struct resize_params *params, const struct resize_job *jobs,
                         uint32_t count, uint32_t idle)
{
    double best = 0;

    if (count == 0)
        return 0;
    for (uint32_t more = 0; more <= idle && jobs[0].devices + more <= jobs[0].devices_max; more++) {
        struct resize_job one = jobs[0];
        double rate;

        one.devices = 1;
        rate = resize_rate(params, &one, jobs[0].devices + more) *
                   params->class_weight[one.job_class] +
               best_share(params, jobs + 1, count - 1, idle - more);
        best = rate > best ? rate : best;
    }
    return best;
}

/* With concave curves and resizing free, no way to share is better. */
static void test_against_all(void **state)
{
    struct resize *resize = resize_create();
    struct resize_params params = resize_params_default();

    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct rng rng = { seed };
        struct resize_point points[4][16];
        struct resize_job jobs[4];
        uint32_t count = 1 + (uint32_t)rng_below(&rng, 4), idle = (uint32_t)rng_below(&rng, 12);
        uint32_t devices[4], given, sum = 0;
        double rate = 0, best;

        for (uint32_t i = 0; i < count; i++) {
            double serial = 0.5 * rng_unit(&rng);

            jobs[i] = plain(i, 1 + (uint32_t)rng_below(&rng, 8));
            jobs[i].job_class = (enum job_class)rng_below(&rng, CLASS_COUNT);
            jobs[i].devices_max = jobs[i].devices + (uint32_t)rng_below(&rng, 8);
            for (uint32_t k = 0; k < 16; k++) /* Amdahl's */
                points[i][k] =
                    (struct resize_point){ k + 1, 1 / (serial + (1 - serial) / (k + 1)) };
            jobs[i].points = points[i];
            jobs[i].points_count = 16;
        }
        given = resize_grow(resize, &params, jobs, count, idle, INT64_MAX, NOW_MS, devices);
        for (uint32_t i = 0; i < count; i++) {
            struct resize_job one = jobs[i];

            one.devices = 1;
            sum += devices[i] - jobs[i].devices;
            rate += resize_rate(&params, &one, devices[i]) * params.class_weight[one.job_class];
            assert_true(devices[i] <= jobs[i].devices_max);
        }
        best = best_share(&params, jobs, count, idle);
        assert_true(given == sum && given <= idle);
        if (rate < best * (1 - 1e-9))
            fail_msg("seed %llu: %g, best %g", (unsigned long long)seed, rate, best);
    }
    resize_destroy(resize);
}

/* Growing into what is idle and giving back on demand, in turns: bounds hold, and no job is
 * grown twice within the hold. */
static void test_turns(void **state)
{
    enum { COUNT = 50 };
    struct resize *resize = resize_create();
    struct resize_params params = resize_params_default();

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rng rng = { seed };
        struct resize_job jobs[COUNT];
        uint32_t devices[COUNT];
        int64_t now_ms = NOW_MS;

        for (uint32_t i = 0; i < COUNT; i++) {
            jobs[i] = plain(i, 4);
            jobs[i].resize_ms = (int64_t)rng_below(&rng, 60000);
            jobs[i].job_class = (enum job_class)rng_below(&rng, CLASS_COUNT);
            jobs[i].points = halving;
            jobs[i].points_count = 4;
        }
        for (int turn = 0; turn < 200; turn++, now_ms += 30000) {
            uint32_t devices_asked = (uint32_t)rng_below(&rng, 40);
            bool is_grown = rng_below(&rng, 2) == 0;

            if (is_grown)
                assert_true(resize_grow(resize, &params, jobs, COUNT, devices_asked, INT64_MAX,
                                        now_ms, devices) <= devices_asked);
            else
                resize_shrink(&params, jobs, COUNT, CLASS_HIGH, devices_asked, INT64_MAX, devices);
            for (uint32_t i = 0; i < COUNT; i++) {
                assert_true(devices[i] >= jobs[i].devices_min && devices[i] <= jobs[i].devices_max);
                if (devices[i] == jobs[i].devices)
                    continue;
                assert_true(is_grown == (devices[i] > jobs[i].devices));
                assert_true(!is_grown || now_ms - jobs[i].changed_ms >= params.hold_ms);
                jobs[i].devices = devices[i];
                jobs[i].changed_ms = now_ms;
            }
        }
    }
    resize_destroy(resize);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),  cmocka_unit_test(test_rate),
        cmocka_unit_test(test_grow),   cmocka_unit_test(test_hysteresis),
        cmocka_unit_test(test_shrink), cmocka_unit_test(test_against_all),
        cmocka_unit_test(test_turns),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
