/* Whom a power cut stops: edges, each way alone, and small cases against all combinations. */
#include "base/rng.h"
#include "sched/shed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HOUR_MS (3600 * 1000)

static const struct shed_ask ask_default = { .watts = 1000,
                                             .within_ms = 30000,
                                             .lasts_ms = 3 * HOUR_MS };

/* One device of 300 W that can only be stopped, ten minutes after its checkpoint. */
static struct shed_job plain(uint64_t id)
{
    return (struct shed_job){
        .id = id,
        .job_class = CLASS_NORMAL,
        .devices = 1,
        .watts = 300,
        .watts_idle = 45,
        .undone_ms = 600 * 1000,
        .restart_ms = 60 * 1000,
        .stop_ms = 2000,
        .pause_ms = -1,
        .save_ms = -1,
        .cap_ms = -1,
        .shrink_ms = -1,
        .move_ms = -1,
    };
}

static void test_edges(void **state)
{
    struct shed *shed = shed_create();
    struct shed_params params = shed_params_default();
    struct shed_job job = plain(1);
    struct shed_ask ask = ask_default;
    const struct shed_choice *choices;
    struct shed_result result;

    (void)state;
    shed_destroy(NULL);
    result = shed_choose(shed, &params, &ask, NULL, 0, &choices);
    assert_true(result.count == 0 && !result.is_met);
    ask.watts = 0;
    result = shed_choose(shed, &params, &ask, &job, 1, &choices);
    assert_true(result.count == 0 && result.is_met);
    ask.watts = -5;
    assert_true(shed_choose(shed, &params, &ask, NULL, 0, &choices).is_met);
    ask.watts = 1000; /* more than there is: all of it, and said so */
    result = shed_choose(shed, &params, &ask, &job, 1, &choices);
    assert_true(result.count == 1 && !result.is_met && result.watts_freed == 255);
    ask.watts = 255; /* with no margin left it is met all the same */
    assert_true(shed_choose(shed, &params, &ask, &job, 1, &choices).is_met);
    ask.within_ms = 6000; /* 5 s of it are margin: the stop comes too late */
    result = shed_choose(shed, &params, &ask, &job, 1, &choices);
    assert_true(result.count == 0 && !result.is_met);
    ask.within_ms = 30000;
    job.watts_idle = job.watts;
    assert_int_equal(shed_choose(shed, &params, &ask, &job, 1, &choices).count, 0);
    assert_int_equal(shed_resume(shed, NULL, 0, 1000, NULL), 0);
    shed_destroy(shed);
}

/* With everything else equal, which way is taken? */
static void test_ways(void **state)
{
    static const struct {
        const char *what;
        int64_t watts, pause_ms, save_ms, cap_ms, shrink_ms, move_ms;
        int64_t undone_ms;
        enum shed_how how;
        int64_t lost_ms;
    } cases[] = {
        { "only a stop", 1000, -1, -1, -1, -1, -1, 600000, SHED_STOP, 8 * 660000 },
        { "a save in time", 1000, -1, 20000, -1, -1, -1, 600000, SHED_SAVE, 8 * 80000 },
        { "a save too late", 1000, -1, 26000, -1, -1, -1, 600000, SHED_STOP, 8 * 660000 },
        { "just saved", 1000, -1, 20000, -1, -1, -1, 5000, SHED_STOP, 8 * 65000 },
        { "a pause", 1000, 1000, 20000, -1, -1, -1, 600000, SHED_PAUSE, 0 },
        { "a cap is enough", 1000, 1000, 20000, 500, -1, -1, 600000, SHED_CAP, 0 },
        { "a cap is not enough", 1900, 1000, -1, 500, -1, -1, 600000, SHED_PAUSE, 0 },
        { "shrunk", 900, -1, -1, -1, 10000, -1, 600000, SHED_SHRINK, 8 * 10000 },
        { "moved after a save", 1900, -1, 20000, -1, -1, 100000, 600000, SHED_MOVE, 8 * 180000 },
        { "saves, but draws too much meanwhile", 2000, -1, 20000, -1, -1, -1, 600000, SHED_STOP,
          8 * 660000 },
        { "moved without", 1900, -1, -1, -1, -1, 100000, 10000, SHED_MOVE, 8 * 170000 },
    };
    struct shed *shed = shed_create();
    struct shed_params params = shed_params_default();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct shed_job job = plain(1);
        struct shed_ask ask = ask_default;
        const struct shed_choice *choices;
        struct shed_result result;

        job.devices = 8;
        job.watts = 2400;
        job.watts_idle = 360;
        job.watts_cap_min = 1200;
        job.devices_min = 4;
        job.pause_ms = cases[i].pause_ms;
        job.save_ms = cases[i].save_ms;
        job.save_lost_ms = 20000;
        job.watts_saving = 450;
        job.cap_ms = cases[i].cap_ms;
        job.shrink_ms = job.shrink_lost_ms = cases[i].shrink_ms;
        job.move_ms = cases[i].move_ms;
        job.undone_ms = cases[i].undone_ms;
        ask.watts = cases[i].watts;
        ask.devices_elsewhere = 8;
        result = shed_choose(shed, &params, &ask, &job, 1, &choices);
        if (result.count != 1 || !result.is_met || choices[0].how != cases[i].how ||
            choices[0].lost_ms != cases[i].lost_ms)
            fail_msg("%s: how %d, lost %lld", cases[i].what,
                     result.count ? (int)choices[0].how : -1, (long long)result.lost_ms);
    }
    shed_destroy(shed);
}

static void test_whom(void **state)
{
    struct shed *shed = shed_create();
    struct shed_params params = shed_params_default();
    struct shed_ask ask = ask_default;
    struct shed_job jobs[3] = { plain(30), plain(20), plain(10) };
    const struct shed_choice *choices;

    (void)state;
    ask.watts = 200;
    /* All alike: the lowest id. */
    assert_int_equal(shed_choose(shed, &params, &ask, jobs, 3, &choices).count, 1);
    assert_int_equal(choices[0].job, 2);
    /* The lower class, though it loses twice as much. */
    jobs[1].job_class = CLASS_LOW;
    jobs[1].undone_ms *= 2;
    assert_int_equal(shed_choose(shed, &params, &ask, jobs, 3, &choices).count, 1);
    assert_int_equal(choices[0].job, 1);
    /* Not always the same one. */
    jobs[1].interrupts = 9;
    assert_int_equal(shed_choose(shed, &params, &ask, jobs, 3, &choices).count, 1);
    assert_int_equal(choices[0].job, 2);
    /* Nearest to its checkpoint. */
    jobs[0].undone_ms = 1000;
    assert_int_equal(shed_choose(shed, &params, &ask, jobs, 3, &choices).count, 1);
    assert_int_equal(choices[0].job, 0);
    shed_destroy(shed);
}

/* There is room elsewhere for one of the two: the higher class has it. */
static void test_moves_have_room(void **state)
{
    struct shed *shed = shed_create();
    struct shed_params params = shed_params_default();
    struct shed_ask ask = ask_default;
    struct shed_job jobs[40];
    const struct shed_choice *choices;
    struct shed_result result;
    uint32_t moved = 0;

    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        jobs[i] = plain(i);
        jobs[i].devices = 1 + i % 3;
        jobs[i].watts = 300 * jobs[i].devices;
        jobs[i].watts_idle = 45 * jobs[i].devices;
        jobs[i].job_class = i % 2 ? CLASS_HIGH : CLASS_LOW;
        jobs[i].move_ms = 1000;
    }
    for (uint32_t room = 0; room < 90; room += 4) {
        ask.devices_elsewhere = room;
        ask.watts = 255 * 70;
        moved = 0;
        result = shed_choose(shed, &params, &ask, jobs, 40, &choices);
        assert_true(result.is_met);
        for (uint32_t i = 0; i < result.count; i++)
            moved += choices[i].how == SHED_MOVE ? jobs[choices[i].job].devices : 0;
        assert_true(moved <= room);
        assert_true(room < 4 || moved > 0);
    }
    shed_destroy(shed);
}

static struct shed_job draw_job(struct rng *rng, uint64_t id)
{
    struct shed_job job = plain(id);

    job.job_class = (enum job_class)rng_below(rng, CLASS_COUNT);
    job.devices = 1 + (uint32_t)rng_below(rng, 16);
    job.watts = 300 * job.devices - (int64_t)rng_below(rng, 50);
    job.watts_idle = 45 * job.devices;
    job.undone_ms = (int64_t)rng_below(rng, HOUR_MS);
    job.interrupts = (uint32_t)rng_below(rng, 2);
    if (rng_below(rng, 3) == 0)
        job.pause_ms = 1000;
    if (rng_below(rng, 2) == 0) {
        job.save_ms = (int64_t)rng_below(rng, 40000);
        job.save_lost_ms = (int64_t)rng_below(rng, 60000);
        job.watts_saving = job.watts_idle + (int64_t)rng_below(rng, 40);
    }
    if (rng_below(rng, 3) == 0) {
        job.cap_ms = 500;
        job.watts_cap_min = job.watts / 2;
    }
    if (rng_below(rng, 3) == 0) {
        job.shrink_ms = job.shrink_lost_ms = 5000;
        job.devices_min = 1;
    }
    return job;
}

struct all { /* what each job can do, one by one */
    double watts[16][64], cost[16][64];
    uint32_t ways[16], count;
    double best;
};

static void try_all(struct all *all, uint32_t job, double missing, double cost)
{
    if (cost >= all->best)
        return;
    if (missing <= 0) {
        all->best = cost;
        return;
    }
    if (job == all->count)
        return;
    try_all(all, job + 1, missing, cost);
    for (uint32_t w = 0; w < all->ways[job]; w++)
        try_all(all, job + 1, missing - all->watts[job][w], cost + all->cost[job][w]);
}

/* A job's ways are found by asking for ever more of it alone. */
static void list_alone(struct all *all, struct shed *shed, const struct shed_params *params,
                       struct shed_ask ask, const struct shed_job *job, uint32_t index)
{
    struct shed_params exact = *params;

    exact.watts_margin_milli = 0;
    ask.watts = 1;
    all->ways[index] = 0;
    for (;;) {
        const struct shed_choice *choices;
        struct shed_result result = shed_choose(shed, &exact, &ask, job, 1, &choices);

        if (!result.is_met)
            return;
        all->watts[index][all->ways[index]] = (double)result.watts_freed;
        all->cost[index][all->ways[index]++] = result.cost;
        assert_true(all->ways[index] < 64);
        ask.watts = result.watts_freed + 1;
    }
}

static void test_against_all(void **state)
{
    struct shed *shed = shed_create();
    struct shed_params params = shed_params_default();
    double worst = 1, sum = 0;
    uint32_t compared = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct rng rng = { seed };
        struct shed_job jobs[6];
        struct all all = { .count = 2 + (uint32_t)rng_below(&rng, 5), .best = 1e300 };
        struct shed_ask ask = ask_default;
        const struct shed_choice *choices;
        struct shed_result result;
        double watts = 0;

        for (uint32_t i = 0; i < all.count; i++) {
            jobs[i] = draw_job(&rng, i);
            list_alone(&all, shed, &params, ask, &jobs[i], i);
            watts += (double)(jobs[i].watts - jobs[i].watts_idle);
        }
        ask.watts = 1 + (int64_t)(watts * rng_unit(&rng) * 0.95);
        try_all(&all, 0, (double)ask.watts * 1.02, 0);
        result = shed_choose(shed, &params, &ask, jobs, all.count, &choices);
        if (all.best > 1e299) {
            continue;
        }
        assert_true(result.is_met);
        if (result.cost < all.best * (1 - 1e-9) || result.cost_bound > all.best * (1 + 1e-9))
            fail_msg("seed %llu: %g, bound %g, best %g", (unsigned long long)seed, result.cost,
                     result.cost_bound, all.best);
        worst = result.cost / all.best > worst ? result.cost / all.best : worst;
        sum += result.cost / all.best;
        compared++;
    }
    print_message("cost / least cost: mean %.4f, worst %.3f of %u\n", sum / compared, worst,
                  compared);
    assert_true(worst <= 2);
    assert_true(sum / compared < 1.03);
    shed_destroy(shed);
}

/* Many jobs: near the bound, what is said adds up, and the order given does not matter. */
static void test_many(void **state)
{
    enum { COUNT = 2000 };
    struct shed *shed = shed_create();
    struct shed_params params = shed_params_default();
    struct shed_job *jobs = calloc(COUNT, sizeof(*jobs)), *turned = calloc(COUNT, sizeof(*jobs));

    (void)state;
    assert_true(jobs && turned);
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct rng rng = { seed };
        struct shed_ask ask = ask_default;
        const struct shed_choice *choices;
        struct shed_result result, other;
        int64_t watts = 0, freed = 0, lost = 0;

        for (uint32_t i = 0; i < COUNT; i++) {
            jobs[i] = draw_job(&rng, i);
            turned[COUNT - 1 - i] = jobs[i];
            watts += jobs[i].watts - jobs[i].watts_idle;
        }
        ask.watts = watts / 10 * (1 + (int64_t)seed % 6);
        result = shed_choose(shed, &params, &ask, jobs, COUNT, &choices);
        assert_true(result.is_met && result.cost <= result.cost_bound * 1.001);
        for (uint32_t i = 0; i < result.count; i++) {
            freed += choices[i].watts_freed;
            lost += choices[i].lost_ms;
            assert_true(choices[i].ready_ms <= ask.within_ms - params.time_margin_ms);
            assert_true(choices[i].watts_left + choices[i].watts_freed ==
                        jobs[choices[i].job].watts);
            assert_true(i == 0 || choices[i].job > choices[i - 1].job);
        }
        assert_true(freed == result.watts_freed && lost == result.lost_ms);
        other = shed_choose(shed, &params, &ask, turned, COUNT, &choices);
        assert_true(other.watts_freed == result.watts_freed && other.cost == result.cost);
    }
    free(jobs);
    free(turned);
    shed_destroy(shed);
}

static void test_resume(void **state)
{
    static const struct shed_held held[] = {
        { 1, CLASS_LOW, 300, INT64_MAX, 0 },     { 2, CLASS_NORMAL, 300, INT64_MAX, 20 },
        { 3, CLASS_NORMAL, 300, INT64_MAX, 10 }, { 4, CLASS_NORMAL, 300, 5000, 30 },
        { 5, CLASS_HIGH, 2400, INT64_MAX, 0 },   { 6, CLASS_NORMAL, 300, INT64_MAX, 10 },
    };
    static const struct {
        int64_t watts;
        uint32_t count, chosen[6];
    } cases[] = {
        { -1, 0, { 0 } },        { 299, 0, { 0 } },  { 300, 1, { 3 } },
        { 900, 3, { 3, 2, 5 } }, { 2400, 1, { 4 } }, { 9000, 6, { 4, 3, 2, 5, 1, 0 } },
    };
    struct shed *shed = shed_create();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t chosen[6];
        uint32_t count = shed_resume(shed, held, 6, cases[i].watts, chosen);

        assert_int_equal(count, cases[i].count);
        assert_memory_equal(chosen, cases[i].chosen, count * sizeof(chosen[0]));
    }
    shed_destroy(shed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges),       cmocka_unit_test(test_ways),
        cmocka_unit_test(test_whom),        cmocka_unit_test(test_moves_have_room),
        cmocka_unit_test(test_against_all), cmocka_unit_test(test_many),
        cmocka_unit_test(test_resume),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
