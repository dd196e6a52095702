/* When a flexible job runs: refusals, one question a row, and random jobs against brute force. */
#include "base/rng.h"
#include "sched/shift.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define HOUR INT64_C(3600000)
#define HALF INT64_C(1800000)

static void test_refusals(void **state)
{
    double cost[4] = { 1, 2, 3, 4 };
    struct shift_outlook outlook = { 0, HOUR, 4, cost, NULL }, none = { 0, HOUR, 0, NULL, NULL };
    struct shift_job job = { .work_ms = HOUR, .deadline_ms = 4 * HOUR, .is_interruptible = true };
    struct shift_params params = shift_params_default();
    struct shift_choice choice;
    struct shift_plan plan;
    struct shift_site site = { outlook, 0, 0, 1, 1000 };
    struct err err;

    (void)state;
    assert_int_equal(shift_plan(&job, &none, 0, &plan, NULL, &err), -EINVAL);
    job.work_ms = 0;
    assert_int_equal(shift_plan(&job, &outlook, 0, &plan, NULL, &err), -EINVAL);
    job.work_ms = 5 * HOUR;
    assert_int_equal(shift_plan(&job, &outlook, 0, &plan, NULL, &err), -ENOSPC);
    assert_int_equal(shift_choose_site(&params, &job, &site, 0, 0, 0, &choice, &err), -EINVAL);
    assert_int_equal(shift_choose_site(&params, &job, &site, 1, 1, 0, &choice, &err), -EINVAL);
    assert_int_equal(shift_choose_site(&params, &job, &site, 1, 0, 0, &choice, &err), -ENOSPC);
    site.rate = 0;
    job.work_ms = HOUR;
    assert_int_equal(shift_choose_site(&params, &job, &site, 1, 0, 0, &choice, &err), -EINVAL);
    for (int reason = SHIFT_DEADLINE; reason <= SHIFT_NOT_YET; reason++)
        assert_string_not_equal(shift_reason_name((enum shift_reason)reason), "?");
}

static void test_decide(void **state)
{
    static const struct {
        const char *what;
        double cost[6];
        uint32_t count;
        struct shift_job job;
        int64_t now_ms;
        bool is_run;
        enum shift_reason reason;
        int64_t until_ms;
    } cases[] = {
        { "no slack",
          { 9, 1, 1, 1, 1, 1 },
          6,
          { .work_ms = 2 * HOUR, .deadline_ms = 2 * HOUR, .is_interruptible = true },
          0,
          true,
          SHIFT_DEADLINE,
          2 * HOUR },
        { "late already",
          { 9, 1, 1, 1, 1, 1 },
          6,
          { .work_ms = 2 * HOUR, .deadline_ms = HOUR },
          0,
          true,
          SHIFT_DEADLINE,
          2 * HOUR },
        { "nothing known",
          { 9 },
          1,
          { .work_ms = HOUR, .deadline_ms = 5 * HOUR },
          0,
          true,
          SHIFT_NO_OUTLOOK,
          HOUR },
        { "nothing known, not yet due",
          { 9 },
          1,
          { .work_ms = HOUR, .deadline_ms = 5 * HOUR, .nominal_ms = 2 * HOUR },
          0,
          false,
          SHIFT_NO_OUTLOOK,
          2 * HOUR },
        { "cheaper later",
          { 9, 8, 1, 8, 8, 8 },
          6,
          { .work_ms = HOUR, .deadline_ms = 6 * HOUR, .is_interruptible = true },
          0,
          false,
          SHIFT_CHEAPER,
          HOUR },
        { "not enough is cheaper",
          { 9, 8, 1, 9, 9, 9 },
          6,
          { .work_ms = 3 * HOUR, .deadline_ms = 6 * HOUR, .is_interruptible = true },
          0,
          true,
          SHIFT_CHEAP_NOW,
          HOUR },
        { "cheaper after the deadline",
          { 9, 9, 1, 1, 1, 1 },
          6,
          { .work_ms = HOUR, .deadline_ms = 2 * HOUR, .is_interruptible = true },
          0,
          true,
          SHIFT_CHEAP_NOW,
          HOUR },
        { "below zero now",
          { -5, -4, 1, 1, 1, 1 },
          6,
          { .work_ms = HOUR, .deadline_ms = 6 * HOUR, .is_interruptible = true },
          0,
          true,
          SHIFT_CHEAP_NOW,
          HOUR },
        { "below zero later",
          { 0, 1, -4, 1, 1, 1 },
          6,
          { .work_ms = HOUR, .deadline_ms = 6 * HOUR },
          0,
          false,
          SHIFT_CHEAPER,
          HOUR },
        { "flat: at once",
          { 5, 5, 5, 5, 5, 5 },
          6,
          { .work_ms = HOUR, .deadline_ms = 6 * HOUR, .is_interruptible = true },
          0,
          true,
          SHIFT_CHEAP_NOW,
          HOUR },
        { "flat: not early",
          { 5, 5, 5, 5, 5, 5 },
          6,
          { .work_ms = HOUR, .deadline_ms = 6 * HOUR, .nominal_ms = 3 * HOUR },
          0,
          false,
          SHIFT_NOT_YET,
          HOUR },
        { "early when cheaper",
          { 1, 5, 5, 5, 5, 5 },
          6,
          { .work_ms = HOUR, .deadline_ms = 6 * HOUR, .nominal_ms = 3 * HOUR },
          0,
          true,
          SHIFT_CHEAP_NOW,
          HOUR },
        { "one piece: a dip too short",
          { 5, 5, 1, 20, 20, 20 },
          6,
          { .work_ms = 3 * HOUR, .deadline_ms = 6 * HOUR },
          0,
          true,
          SHIFT_CHEAP_NOW,
          HOUR },
        { "one piece: started is not stopped",
          { 5, 1, 1, 1, 1, 1 },
          6,
          { .work_ms = 2 * HOUR, .deadline_ms = 6 * HOUR, .is_running = true },
          0,
          true,
          SHIFT_HELD,
          HOUR },
        { "a pause that loses more than it saves",
          { 5, 4, 4, 4, 4, 4 },
          6,
          { .work_ms = 2 * HOUR,
            .deadline_ms = 6 * HOUR,
            .is_running = true,
            .is_interruptible = true,
            .restart_ms = HOUR },
          0,
          true,
          SHIFT_HELD,
          HOUR },
        { "a pause that pays",
          { 50, 4, 4, 4, 4, 4 },
          6,
          { .work_ms = 2 * HOUR,
            .deadline_ms = 6 * HOUR,
            .is_running = true,
            .is_interruptible = true,
            .restart_ms = HOUR },
          0,
          false,
          SHIFT_CHEAPER,
          HOUR },
        { "no pause before the least run",
          { 50, 4, 4, 4, 4, 4 },
          6,
          { .work_ms = 2 * HOUR,
            .deadline_ms = 6 * HOUR,
            .is_running = true,
            .is_interruptible = true,
            .run_ms_min = HOUR,
            .ran_ms = HALF },
          0,
          true,
          SHIFT_HELD,
          HOUR },
        { "no start of a long run in a short dip",
          { 3, 50, 50, 4, 4, 4 },
          6,
          { .work_ms = 3 * HOUR,
            .deadline_ms = 6 * HOUR,
            .is_interruptible = true,
            .run_ms_min = 3 * HOUR },
          0,
          false,
          SHIFT_CHEAPER,
          HOUR },
        { "asks again before slack ends",
          { 9, 1, 1, 1, 1, 1 },
          6,
          { .work_ms = HOUR + HALF, .deadline_ms = 2 * HOUR, .is_interruptible = true },
          0,
          true,
          SHIFT_CHEAP_NOW,
          HOUR },
        { "waits no longer than its slack",
          { 9, 1, 1, 1, 1, 1 },
          6,
          { .work_ms = HOUR, .deadline_ms = HOUR + HALF },
          0,
          false,
          SHIFT_CHEAPER,
          HALF },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct shift_outlook outlook = { 0, HOUR, cases[i].count, cases[i].cost, NULL };
        struct shift_verdict verdict = shift_decide(&cases[i].job, &outlook, cases[i].now_ms);

        if (verdict.is_run != cases[i].is_run || verdict.reason != cases[i].reason ||
            verdict.until_ms != cases[i].until_ms)
            fail_msg("%s: %d %s until %lld", cases[i].what, verdict.is_run,
                     shift_reason_name(verdict.reason), (long long)verdict.until_ms);
    }
}

/* The least cost of `work` half hours out of slots of two, by trying all (bit masks). */
static double brute_pieces(const double *cost, uint32_t halves, uint32_t work)
{
    double best = INFINITY;

    for (uint32_t mask = 0; mask < 1u << halves; mask++) {
        double sum = 0;

        if ((uint32_t)__builtin_popcount(mask) != work)
            continue;
        for (uint32_t i = 0; i < halves; i++)
            sum += mask >> i & 1 ? cost[i / 2] : 0;
        best = sum < best ? sum : best;
    }
    return best;
}

static double brute_whole(const double *cost, uint32_t halves, uint32_t work)
{
    double best = INFINITY;

    for (uint32_t start = 0; start + work <= halves; start++) {
        double sum = 0;

        for (uint32_t i = start; i < start + work; i++)
            sum += cost[i / 2];
        best = sum < best ? sum : best;
    }
    return best;
}

/* Planned and decided step by step, a job reaches the least cost there is, and its deadline. */
static void test_optimal(void **state)
{
    struct rng rng = { 17 };

    (void)state;
    for (uint32_t round = 0; round < 3000; round++) {
        uint32_t halves = 2 + (uint32_t)rng_below(&rng, 9), work, left, at;
        double cost[8], best, sum = 0;
        bool is_pieces = rng_below(&rng, 2), is_running = false;
        struct shift_outlook outlook = { 0, HOUR, 6, cost, NULL };
        struct shift_job job;
        struct shift_plan plan;
        int64_t runs[6], planned = 0;

        work = 1 + (uint32_t)rng_below(&rng, halves);
        for (int i = 0; i < 8; i++)
            cost[i] = (double)rng_below(&rng, 20) - 5;
        best = is_pieces ? brute_pieces(cost, halves, work) : brute_whole(cost, halves, work);
        job = (struct shift_job){ .work_ms = work * HALF,
                                  .deadline_ms = halves * HALF,
                                  .is_interruptible = is_pieces };
        assert_int_equal(shift_plan(&job, &outlook, 0, &plan, runs, NULL), 0);
        assert_true(fabs(plan.cost * work - best) < 1e-9);
        assert_true(plan.start_ms >= 0 && plan.end_ms <= halves * HALF &&
                    plan.end_ms > plan.start_ms && plan.pieces_count >= 1);
        for (int i = 0; i < 6; i++)
            planned += runs[i];
        assert_int_equal(planned, work * HALF);
        for (left = work, at = 0; left && at < 40; at++) {
            struct shift_outlook rest = { (int64_t)(at / 2) * HOUR, HOUR, 6 - at / 2, cost + at / 2,
                                          NULL };

            job.work_ms = left * HALF;
            job.is_running = is_running;
            is_running = shift_decide(&job, &rest, at * HALF).is_run;
            sum += is_running ? cost[at / 2] : 0;
            left -= is_running;
        }
        assert_true(left == 0 && at <= halves);
        if (fabs(sum - best) > 1e-9)
            fail_msg("round %u: %g, best %g, %s, %u of %u", round, sum, best,
                     is_pieces ? "pieces" : "whole", work, halves);
    }
}

/* Whatever the outlook says, and however it changes, no deadline is missed; restarts and least runs
 * included. */
static void test_deadline(void **state)
{
    struct rng rng = { 23 };

    (void)state;
    for (uint32_t round = 0; round < 3000; round++) {
        double cost[24];
        int64_t end_ms = (int64_t)(1 + rng_below(&rng, 40)) * HALF, ran_ms = 0;
        struct shift_job job = { .work_ms = (int64_t)(1 + rng_below(&rng, 20)) * HALF,
                                 .deadline_ms = end_ms,
                                 .nominal_ms = (int64_t)rng_below(&rng, 10) * HALF,
                                 .is_interruptible = rng_below(&rng, 2),
                                 .restart_ms = (int64_t)rng_below(&rng, 3) * HALF,
                                 .run_ms_min = (int64_t)rng_below(&rng, 5) * HALF };
        int64_t late_ms = job.work_ms > end_ms ? job.work_ms - end_ms : 0, now_ms = 0;

        for (; job.work_ms > 0; now_ms += HALF) {
            struct shift_outlook outlook = { now_ms / HOUR * HOUR, HOUR,
                                             (uint32_t)rng_below(&rng, 24), cost, NULL };
            bool is_run;

            for (int i = 0; i < 24; i++)
                cost[i] = (double)rng_below(&rng, 9) - 3;
            job.ran_ms = ran_ms;
            is_run = shift_decide(&job, &outlook, now_ms).is_run;
            if (job.is_running && !is_run)
                job.work_ms += job.restart_ms;
            job.is_running = is_run;
            ran_ms = is_run ? ran_ms + HALF : 0;
            job.work_ms -= is_run ? HALF : 0;
            assert_true(now_ms <= end_ms + late_ms);
        }
        if (now_ms > end_ms + late_ms)
            fail_msg("round %u: ended %lld, due %lld", round, (long long)now_ms, (long long)end_ms);
    }
}

static void test_sites(void **state)
{
    double dear[6] = { 10, 10, 10, 10, 10, 10 }, cheap[6] = { 4, 4, 4, 4, 4, 4 };
    double sure[6] = { 0 }, loose[6] = { 0, 8, 8, 8, 8, 8 };
    struct shift_params params = shift_params_default();
    struct shift_job job = { .work_ms = 2 * HOUR,
                             .deadline_ms = 6 * HOUR,
                             .is_interruptible = true };
    struct shift_site sites[3] = {
        { { 0, HOUR, 6, dear, sure }, 0, 0, 1, 1000 },
        { { 0, HOUR, 6, cheap, sure }, 5, HOUR, 1, 1000 },
        { { 0, HOUR, 6, cheap, sure }, 6, HOUR, 1, 1000 },
    };
    struct shift_choice choice;

    (void)state;
    /* 20 at home, 8 + 5 there. */
    assert_int_equal(shift_choose_site(&params, &job, sites, 3, 0, 0, &choice, NULL), 0);
    assert_int_equal(choice.site, 1);
    assert_true(fabs(choice.cost - 13) < 1e-9 && fabs(choice.cost_home - 20) < 1e-9);
    assert_true(choice.plan.start_ms >= HOUR);
    sites[1].move_cost = sites[2].move_cost = 12; /* no gain: it stays */
    assert_int_equal(shift_choose_site(&params, &job, sites, 3, 0, 0, &choice, NULL), 0);
    assert_int_equal(choice.site, 0);
    sites[1].move_cost = 5;
    sites[1].outlook.sd = loose; /* the gain is inside the doubt */
    assert_int_equal(shift_choose_site(&params, &job, sites, 3, 0, 0, &choice, NULL), 0);
    assert_int_equal(choice.site, 0);
    sites[1].outlook.sd = sure;
    sites[1].move_ms = 5 * HOUR; /* it would come too late */
    assert_int_equal(shift_choose_site(&params, &job, sites, 3, 0, 0, &choice, NULL), 0);
    assert_int_equal(choice.site, 0);
    sites[1].rate = 2; /* half the time, half the energy */
    assert_int_equal(shift_choose_site(&params, &job, sites, 3, 0, 0, &choice, NULL), 0);
    assert_int_equal(choice.site, 1);
    assert_true(fabs(choice.cost - 9) < 1e-9);
    sites[0].outlook.count = 1; /* home cannot hold it: the cheapest that can */
    sites[1].rate = 1;
    assert_int_equal(shift_choose_site(&params, &job, sites, 3, 0, 0, &choice, NULL), 0);
    assert_int_equal(choice.site, 2);
}

/* A share of the job's power that no supply covers. */
static void test_unmatched(void **state)
{
    static const struct {
        double mean, sd, load, job, share;
    } cases[] = {
        { 100, 0, 0, 100, 0 }, { 100, 0, 100, 50, 1 },   { 100, 0, 50, 100, 0.5 },
        { 0, 0, 0, 10, 1 },    { 100, 0, 50, 0, 0 },     { 100, 10, 1000, 10, 1 },
        { 100, 10, 0, 10, 0 }, { 100, 30, 95, 10, 0.5 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double share =
            shift_unmatched_share(cases[i].mean, cases[i].sd, cases[i].load, cases[i].job);

        if (fabs(share - cases[i].share) > 1e-6)
            fail_msg("case %zu: %g", i, share);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_decide),
        cmocka_unit_test(test_optimal),  cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_sites),    cmocka_unit_test(test_unmatched),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
