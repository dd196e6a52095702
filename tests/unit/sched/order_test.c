/* The order of jobs, ageing, and whom to stop: refusals, a table a question, and what the header
 * promises (no starvation, no ping-pong) against a small machine driven by seeds. */
#include "base/rng.h"
#include "sched/life.h"
#include "sched/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)

static struct order_job job_make(uint64_t id, uint32_t devices, int64_t attained_s)
{
    return (struct order_job){ .id = id,
                               .submit_ms = 100 * HOUR,
                               .attained_ms = attained_s * SECOND * devices,
                               .ran_ms = attained_s * SECOND,
                               .deadline_ms = INT64_MAX,
                               .devices = devices,
                               .job_class = 1 };
}

/* The last level: 64,000,000 device-seconds, and in a large network an hour of all of it. */
static void test_last_level_grows_with_the_network(void **state)
{
    static const struct {
        uint64_t devices;
        uint32_t level;
    } cases[] = { { 0, 21 },     { 1600, 21 },   { 34952, 21 },
                  { 34953, 22 }, { 100000, 23 }, { UINT64_MAX, 37 } };
    struct order_job vast = job_make(1, 1000, 0);

    (void)state;
    vast.attained_ms = INT64_MAX;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct order_params params = order_params_for(cases[i].devices);

        assert_int_equal(order_level_last(&params), ORDER_LEVEL_FIRST + cases[i].level);
        assert_int_equal(order_rank(&params, &vast, 0).level, order_level_last(&params));
    }
}

static void test_rank_table(void **state)
{
    const struct order_params params = order_params_for(8);
    struct order_job fresh = job_make(1, 1, 0), job;
    struct order_rank a = order_rank(&params, &fresh, 100 * HOUR), b;
    static const struct {
        uint32_t devices, job_class;
        int64_t attained_s, submit_later_s, predicted_s;
        bool goes_later;
    } cases[] = {
        { 1, 1, 0, 0, 0, true }, /* a tie: by id */
        { 1, 1, 0, -1, 0, false },    { 1, 0, 9999, 0, 0, false }, { 1, 2, 0, -99, 0, true },
        { 1, 1, 60, -99, 0, true },   { 8, 1, 0, -99, 0, true },   { 1, 1, 20, -99, 0, false },
        { 1, 1, 0, -99, 3600, true }, { 0, 1, 0, -99, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        job = job_make(2, cases[i].devices, cases[i].attained_s);
        job.job_class = cases[i].job_class;
        job.submit_ms += cases[i].submit_later_s * SECOND;
        job.predicted_ms = cases[i].predicted_s * SECOND;
        b = order_rank(&params, &job, 100 * HOUR);
        if (order_is_before(&a, &b) != cases[i].goes_later ||
            order_is_before(&b, &a) == cases[i].goes_later)
            fail_msg("case %zu: level %u beside %u", i, b.level, a.level);
    }
    job = job_make(3, UINT32_MAX, INT64_MAX / UINT32_MAX / SECOND);
    job.predicted_ms = INT64_MAX; /* saturates */
    b = order_rank(&params, &job, INT64_MAX);
    assert_true(order_is_before(&a, &b));
    job.is_aged = true;
    b = order_rank(&params, &job, INT64_MAX);
    assert_true(order_is_before(&b, &a));
}

static void test_due(void **state)
{
    const struct order_params params = order_params_for(8);
    struct order_job job = job_make(1, 8, 0);
    const int64_t latest = 110 * HOUR;
    static const struct {
        int64_t before_latest_ms;
        bool is_due;
    } cases[] = {
        { 20 * HOUR, false }, { 600 * SECOND + 1, false }, { 600 * SECOND, true }, { 0, true },
        { -1, false },
    };

    (void)state;
    job.predicted_ms = HOUR;
    job.deadline_ms = latest + HOUR;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct order_rank rank = order_rank(&params, &job, latest - cases[i].before_latest_ms);

        if ((rank.level == ORDER_LEVEL_DUE) != cases[i].is_due)
            fail_msg("case %zu: level %u", i, rank.level);
    }
    assert_int_equal(order_change_ms(&params, &job, 100 * HOUR), latest - 600 * SECOND);
    assert_int_equal(order_change_ms(&params, &job, latest), latest + 1);
    job.deadline_ms = INT64_MAX;
    assert_int_equal(order_change_ms(&params, &job, 100 * HOUR), 124 * HOUR);
    assert_int_equal(order_change_ms(&params, &job, 130 * HOUR), INT64_MAX);
}

/* A rank does not change while a job waits, until order_change_ms. */
static void test_rank_is_still(void **state)
{
    const struct order_params params = order_params_for(8);
    struct rng rng = { 3 };

    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        struct order_job job =
            job_make(i, 1 + (uint32_t)rng_below(&rng, 64), (int64_t)rng_below(&rng, 100000));
        int64_t now = job.submit_ms + (int64_t)rng_below(&rng, 40 * HOUR), change, then;
        struct order_rank before, after;

        if (rng_below(&rng, 2) == 0) {
            job.deadline_ms = job.submit_ms + (int64_t)rng_below(&rng, 40 * HOUR);
            job.predicted_ms = (int64_t)rng_below(&rng, 5 * HOUR);
        }
        change = order_change_ms(&params, &job, now);
        assert_true(change > now);
        then = now +
               (int64_t)rng_below(
                   &rng, (uint64_t)((change < now + 99 * HOUR ? change : now + 99 * HOUR) - now));
        before = order_rank(&params, &job, now);
        after = order_rank(&params, &job, then);
        if (before.level != after.level)
            fail_msg("job %u: level %u, then %u", i, before.level, after.level);
    }
}

static void test_lane(void **state)
{
    const struct order_params params = order_params_for(8);
    struct order_job job = job_make(1, 8, 0);
    uint64_t held = 0;
    const int64_t day = job.submit_ms + 24 * HOUR;

    (void)state;
    assert_int_equal(order_lane_ask(&params, &held, 80, &job, day - 1), ORDER_LANE_NOT_YET);
    job.arrival_wait_ms = 1000 * HOUR; /* long queues make patience long */
    assert_int_equal(order_lane_ask(&params, &held, 80, &job, day), ORDER_LANE_NOT_YET);
    job.arrival_wait_ms = 0;
    job.ran_ms = HOUR; /* time it ran was no waiting */
    assert_int_equal(order_lane_ask(&params, &held, 80, &job, day), ORDER_LANE_NOT_YET);
    job.ran_ms = 0;
    job.devices = 79; /* alone it may be as wide as it is */
    assert_int_equal(order_lane_ask(&params, &held, 80, &job, day), ORDER_LANE_TAKEN);
    assert_int_equal(held, 79);
    job.devices = 8;
    assert_int_equal(order_lane_ask(&params, &held, 80, &job, day), ORDER_LANE_FULL);
    held = 1; /* with 8 more it is over a tenth of the devices, and under what a long backlog has */
    assert_int_equal(order_lane_ask(&params, &held, 80, &job, day), ORDER_LANE_FULL);
    job.arrival_wait_ms = params.lane_ms_long;
    assert_int_equal(order_lane_ask(&params, &held, 80, &job, 4 * day), ORDER_LANE_TAKEN);
    held = 17;
    assert_int_equal(order_lane_ask(&params, &held, 80, &job, 4 * day), ORDER_LANE_FULL);
    assert_int_equal(order_arrival_wait_ms(-5, 0), 0);
    assert_int_equal(order_arrival_wait_ms(800, 8), 100);
    assert_int_equal(order_work_left_ms(100, 30), 70);
    assert_int_equal(order_work_left_ms(100, 300), 300);
}

static void test_may_displace(void **state)
{
    const struct order_params params = order_params_for(8);
    static const struct {
        struct order_rank blocked, running;
        int64_t run_s, cost_s;
        bool is_preemptible, may;
    } cases[] = {
        { { 1, 4, 0, 1 }, { 1, 9, 0, 2 }, 600, 60, true, true },
        { { 1, 4, 0, 1 }, { 1, 9, 0, 2 }, 600, 60, false, false },
        { { 1, 4, 0, 1 }, { 1, 9, 0, 2 }, 599, 10, true, false },
        { { 1, 4, 0, 1 }, { 1, 9, 0, 2 }, 600, 61, true, false },
        { { 1, 9, 0, 1 }, { 1, 4, 0, 2 }, 9999, 60, true, false },
        { { 1, 4, 5, 1 }, { 1, 4, 6, 2 }, 9999, 60, true, false },
        { { 1, 4, 5, 1 }, { 1, 4, 5 + 28 * HOUR + 1, 2 }, 9999, 60, true, true },
        { { 1, 9, 0, 1 }, { 2, 0, 0, 2 }, 0, 9999, true, true },  /* a lower class, at once */
        { { 2, 0, 0, 1 }, { 1, 9, 0, 2 }, 9999, 0, true, false }, /* never a higher one */
        { { 1, 0, 0, 1 }, { 1, 4, 0, 2 }, 0, 60, true, true },    /* the aged do not wait */
        { { 1, 0, 0, 1 }, { 1, 0, 9, 2 }, 9999, 60, true, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct order_running running = { .rank = cases[i].running,
                                         .run_ms = cases[i].run_s * SECOND,
                                         .cost_ms = cases[i].cost_s * SECOND,
                                         .devices = 1,
                                         .is_preemptible = cases[i].is_preemptible };

        if (order_may_displace(&params, &cases[i].blocked, &running) != cases[i].may)
            fail_msg("case %zu", i);
    }
    assert_int_equal(order_stop_cost_ms(100, 40, false, 7), 67);
    assert_int_equal(order_stop_cost_ms(100, 40, true, 7), 7);
}

/* --- victims against every subset --- */

#define PLACES 4u
#define RUNNERS 9u
struct bed {
    struct order_place places[PLACES];
    struct order_holding holdings[PLACES * 8];
    struct order_running running[RUNNERS];
    struct order_pool pool;
};

static void bed_fill(struct bed *bed, struct rng *rng)
{
    uint32_t free[PLACES] = { 8, 8, 8, 8 };

    memset(bed, 0, sizeof(*bed));
    for (uint32_t p = 0; p < PLACES; p++)
        bed->places[p].first = p * 8;
    for (uint32_t r = 0; r < RUNNERS; r++) {
        struct order_running *one = &bed->running[r];
        uint32_t asked = 1 + (uint32_t)rng_below(rng, 8), p = (uint32_t)rng_below(rng, PLACES);
        uint32_t places = rng_below(rng, 4) == 0 ? 2 : 1;

        *one = (struct order_running){ .rank = { 1 + (uint32_t)rng_below(rng, 2),
                                                 2 + (uint32_t)rng_below(rng, 12), 0, r },
                                       .run_ms = (int64_t)rng_below(rng, 2 * HOUR),
                                       .cost_ms = 60 * SECOND,
                                       .is_preemptible = rng_below(rng, 5) != 0 };
        for (; places > 0; places--, p = (p + 1) % PLACES) {
            struct order_place *place = &bed->places[p];
            uint32_t devices = asked < free[p] ? asked : free[p];

            if (devices == 0)
                continue;
            free[p] -= devices;
            one->devices += devices;
            bed->holdings[place->first + place->count++] = (struct order_holding){ r, devices };
        }
    }
    for (uint32_t p = 0; p < PLACES; p++)
        bed->places[p].free = free[p];
    bed->pool = (struct order_pool){ bed->places, bed->holdings, bed->running, PLACES, RUNNERS };
}

static bool bed_has_room(const struct bed *bed, uint32_t set, const struct order_want *want)
{
    uint32_t whole = 0, some = 0;

    for (uint32_t p = 0; p < PLACES; p++) {
        uint32_t room = bed->places[p].free;

        for (uint32_t h = 0; h < bed->places[p].count; h++) {
            const struct order_holding *holding = &bed->holdings[bed->places[p].first + h];

            room += set >> holding->running & 1u ? holding->devices : 0;
        }
        whole += room >= want->devices;
        some += room >= want->rest;
    }
    return whole >= want->parts && (want->rest == 0 || some >= want->parts + 1);
}

static void test_victims_brute_force(void **state)
{
    const struct order_params params = order_params_for(8);
    struct rng rng = { 17 };
    uint32_t found_count = 0, cheapest_count = 0;

    (void)state;
    for (uint32_t round = 0; round < 2000; round++) {
        struct bed bed;
        struct order_want want = { .rank = { 1, 2 + (uint32_t)rng_below(&rng, 6), 0, 99 } };
        bool stop[RUNNERS] = { false }, again[RUNNERS] = { false }, used[PLACES] = { false };
        bool found;
        uint32_t may = 0, chosen = 0;
        int64_t best = INT64_MAX, lost = 0;

        bed_fill(&bed, &rng);
        want.devices = 8;
        want.parts = (uint32_t)rng_below(&rng, 3);
        want.rest = (uint32_t)rng_below(&rng, 8) + (want.parts == 0);
        for (uint32_t r = 0; r < RUNNERS; r++)
            if (order_may_displace(&params, &want.rank, &bed.running[r]))
                may |= 1u << r;
        found = order_pick_victims(&params, &want, &bed.pool, stop, used);
        /* Some choice exists exactly when stopping all who may be stopped is one. */
        assert_int_equal(found, bed_has_room(&bed, may, &want));
        if (!found)
            continue;
        memset(used, 0, sizeof(used));
        assert_true(order_pick_victims(&params, &want, &bed.pool, again, used));
        assert_memory_equal(stop, again, sizeof(stop));
        for (uint32_t r = 0; r < RUNNERS; r++)
            if (stop[r]) {
                chosen |= 1u << r;
                lost += bed.running[r].cost_ms * bed.running[r].devices;
            }
        assert_int_equal(chosen & ~may, 0);
        assert_true(bed_has_room(&bed, chosen, &want));
        for (uint32_t set = 0; set < 1u << RUNNERS; set++) {
            int64_t cost = 0;

            if ((set & ~may) != 0 || !bed_has_room(&bed, set, &want))
                continue;
            for (uint32_t r = 0; r < RUNNERS; r++)
                if (set >> r & 1u)
                    cost += bed.running[r].cost_ms * bed.running[r].devices;
            best = cost < best ? cost : best;
        }
        assert_true(lost >= best);
        found_count++;
        cheapest_count += lost == best;
    }
    assert_true(found_count > 200);
    assert_true(cheapest_count * 3 > found_count * 2);
}

static void test_victims_order(void **state)
{
    const struct order_params params = order_params_for(8);
    struct bed bed = { 0 };
    struct order_want want = { .rank = { 1, 2, 0, 99 }, .rest = 4 };
    bool stop[RUNNERS] = { false }, used[PLACES] = { false };

    (void)state;
    /* Three nodes held whole: a job of its own class that saves, one of a lower class that would
     * lose an hour, and one of the lower class that saves. */
    for (uint32_t i = 0; i < 3; i++) {
        bed.places[i] = (struct order_place){ 0, i * 8, 1 };
        bed.holdings[i * 8] = (struct order_holding){ i, 8 };
        bed.running[i] = (struct order_running){ .rank = { i == 0 ? 1 : 2, 12, 0, i },
                                                 .run_ms = HOUR,
                                                 .cost_ms = i == 1 ? HOUR : 60 * SECOND,
                                                 .devices = 8,
                                                 .is_preemptible = true };
    }
    bed.pool = (struct order_pool){ bed.places, bed.holdings, bed.running, 3, 3 };
    assert_true(order_pick_victims(&params, &want, &bed.pool, stop, used));
    assert_true(!stop[0] && !stop[1] && stop[2]);
    want.parts = 4; /* more places than there are */
    assert_false(order_pick_victims(&params, &want, &bed.pool, stop, used));
}

/* --- a machine of D devices, jobs of any width, no places: for the promises --- */

#define MACHINE_JOBS 64u
struct machine {
    struct order_params params;
    struct order_job jobs[MACHINE_JOBS];
    int64_t work_ms[MACHINE_JOBS], start_ms[MACHINE_JOBS]; /* start -1: waits; -2: done */
    uint32_t stops[MACHINE_JOBS], pair_stops[MACHINE_JOBS][MACHINE_JOBS];
    uint32_t count, devices, running_most;
    uint64_t held;
};

static void machine_pass(struct machine *m, int64_t now)
{
    bool tried[MACHINE_JOBS] = { false };
    uint32_t used = 0;

    for (uint32_t i = 0; i < m->count; i++) /* by submission */
        if (m->start_ms[i] != -2 && !m->jobs[i].is_aged && m->jobs[i].submit_ms <= now) {
            enum order_lane_answer answer =
                order_lane_ask(&m->params, &m->held, m->devices, &m->jobs[i], now);

            if (answer == ORDER_LANE_FULL)
                break;
            m->jobs[i].is_aged = answer == ORDER_LANE_TAKEN;
        }
    for (uint32_t i = 0; i < m->count; i++)
        used += m->start_ms[i] >= 0 ? m->jobs[i].devices : 0;
    for (;;) {
        struct order_rank best_rank = { 0 };
        uint32_t best = m->count;
        struct order_place place = { m->devices - used, 0, 0 };
        struct order_holding holdings[MACHINE_JOBS];
        struct order_running running[MACHINE_JOBS];
        uint32_t who[MACHINE_JOBS];
        bool stop[MACHINE_JOBS] = { false }, spare[1] = { false };
        struct order_want want = { 0 };
        struct order_pool pool = { &place, holdings, running, 1, 0 };

        for (uint32_t i = 0; i < m->count; i++) {
            struct order_rank rank = order_rank(&m->params, &m->jobs[i], now);

            if (m->start_ms[i] >= 0) {
                holdings[place.count] = (struct order_holding){ place.count, m->jobs[i].devices };
                running[place.count] = (struct order_running){ .rank = rank,
                                                               .run_ms = now - m->start_ms[i],
                                                               .cost_ms = 60 * SECOND,
                                                               .devices = m->jobs[i].devices,
                                                               .is_preemptible = true };
                who[place.count++] = i;
            } else if (m->start_ms[i] == -1 && !tried[i] && m->jobs[i].submit_ms <= now &&
                       (best == m->count || order_is_before(&rank, &best_rank))) {
                best = i;
                best_rank = rank;
            }
        }
        if (best == m->count)
            return;
        tried[best] = true;
        want.rank = best_rank;
        want.rest = m->jobs[best].devices;
        pool.running_count = place.count;
        if (!order_pick_victims(&m->params, &want, &pool, stop, spare))
            continue;
        for (uint32_t r = 0; r < place.count; r++)
            if (stop[r]) {
                m->start_ms[who[r]] = -1;
                m->stops[who[r]]++;
                m->pair_stops[best][who[r]]++;
                used -= m->jobs[who[r]].devices;
                m->work_ms[who[r]] += 60 * SECOND;
            }
        m->start_ms[best] = now;
        used += m->jobs[best].devices;
        assert_true(used <= m->devices);
    }
}

static void machine_run(struct machine *m, int64_t now, int64_t step)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->start_ms[i] >= 0) {
            m->jobs[i].ran_ms += step;
            m->jobs[i].attained_ms += step * m->jobs[i].devices;
            m->work_ms[i] -= step;
            if (m->work_ms[i] <= 0) {
                m->start_ms[i] = -2;
                if (m->jobs[i].is_aged)
                    m->held -= m->jobs[i].devices;
            }
        }
    machine_pass(m, now + step);
}

/* A long job in a stream of short ones that would fill the machine for ever. Without ageing it
 * would never run; the bound is patience and the work of those before it on the lane's share. */
static void test_no_starvation(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct machine *m = calloc(1, sizeof(*m));
        struct rng rng = { seed };
        const int64_t step = 300 * SECOND;
        const uint32_t giants = 6;
        int64_t now = 0, before_ms = 0, ends[8] = { 0 };

        assert_non_null(m);
        m->params = order_params_for(8);
        m->params.lane_milli = m->params.lane_milli_max = 400;
        m->devices = 10;
        m->count = MACHINE_JOBS;
        for (uint32_t i = 0; i < m->count; i++) {
            m->start_ms[i] = -1;
            m->jobs[i] = (struct order_job){ .id = i,
                                             .submit_ms = i < giants ? (int64_t)i * HOUR : 0,
                                             .deadline_ms = INT64_MAX,
                                             .devices = 1 + (uint32_t)rng_below(&rng, 3) };
            m->work_ms[i] = i < giants ? (int64_t)rng_below(&rng, 30) * HOUR + HOUR : 0;
            if (i >= giants)
                m->start_ms[i] = -2;
        }
        for (; now < 400 * HOUR; now += step) {
            for (uint32_t i = giants; i < m->count; i++)
                if (m->start_ms[i] == -2) { /* the next short one, ahead of any giant */
                    m->jobs[i].submit_ms = now;
                    m->jobs[i].ran_ms = m->jobs[i].attained_ms = 0;
                    m->jobs[i].is_aged = false;
                    m->jobs[i].id += MACHINE_JOBS;
                    m->work_ms[i] = 600 * SECOND;
                    m->start_ms[i] = -1;
                }
            machine_run(m, now, step);
            for (uint32_t i = 0; i < giants; i++)
                if (m->start_ms[i] == -2 && ends[i] == 0)
                    ends[i] = now + step;
        }
        for (uint32_t i = 0; i < giants; i++) {
            int64_t run = m->jobs[i].ran_ms, bound;

            /* Widths are at most 3 and the lane is 4: work before it goes at 2 devices at least
             * until there is room for it, and it runs on from then. */
            bound =
                m->jobs[i].submit_ms + m->params.patience_ms_min + before_ms / 2 + run + 3 * step;
            if (ends[i] == 0 || ends[i] > bound)
                fail_msg("seed %d: job %u ended at %d h, bound %d h", (int)seed, i,
                         (int)(ends[i] / HOUR), (int)(bound / HOUR));
            before_ms += run * m->jobs[i].devices;
        }
        free(m);
    }
}

/* Two or more jobs that want the same devices change places at most once a level. */
static void test_no_ping_pong(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct machine *m = calloc(1, sizeof(*m));
        struct rng rng = { seed };
        int64_t now = 0, ran = 0, stops = 0;

        assert_non_null(m);
        m->params = order_params_for(8);
        m->devices = 4;
        m->count = 2 + (uint32_t)rng_below(&rng, 20);
        for (uint32_t i = 0; i < m->count; i++) {
            m->start_ms[i] = -1;
            m->jobs[i] = (struct order_job){ .id = i,
                                             .submit_ms = (int64_t)rng_below(&rng, 50 * HOUR),
                                             .deadline_ms = INT64_MAX,
                                             .devices = 1 + (uint32_t)rng_below(&rng, 4) };
            m->work_ms[i] = (int64_t)rng_below(&rng, 60 * HOUR) + HOUR;
        }
        for (; now < 2000 * HOUR; now += 300 * SECOND)
            machine_run(m, now, 300 * SECOND);
        for (uint32_t i = 0; i < m->count; i++) {
            assert_int_equal(m->start_ms[i], -2);
            ran += m->jobs[i].ran_ms;
            stops += m->stops[i];
            for (uint32_t k = 0; k < m->count; k++)
                if (m->pair_stops[i][k] > 20)
                    fail_msg("seed %d: %u stopped %u %u times", (int)seed, i, k,
                             m->pair_stops[i][k]);
        }
        assert_true(stops * 60 * SECOND * m->params.cost_times <= ran + ran / 10);
        free(m);
    }
}

static struct life life; /* large */

static void test_life_spans(void **state)
{
    (void)state;
    memset(&life, 0, sizeof(life));
    assert_int_equal(life_need_ms(&life, 1, 0), life_need_ms(&life, 1, 999));
    assert_int_equal(life_need_ms(&life, 1, INT64_MAX), life_need_ms(&life, 1, INT64_MAX - 1));
    /* Nothing known: who has had more needs more, at every width. */
    for (int64_t ran = 4000; ran < INT64_C(4000) << 20; ran *= 2)
        assert_true(life_need_ms(&life, 8, 2 * ran) > life_need_ms(&life, 8, ran));
    life_learn(&life, 8, 5000, 4000, true); /* backwards, before the beginning: nothing */
    life_learn(&life, 8, -1, 4000, true);
    assert_int_equal(life.widths[3].spans[0].reached, 0);
    /* One job in two attempts is the same as in one. */
    life_learn(&life, 8, 0, 4500, false);
    life_learn(&life, 15, 4500, 8000, true);
    life_learn(&life, 1u << 20, 0, 8000, true);
    assert_memory_equal(life.widths[3].spans, life.widths[15].spans, sizeof(life.widths[3].spans));
    assert_int_equal(life.widths[3].spans[0].ms, 4000);
    assert_int_equal(life.widths[3].spans[0].reached, 1);
    assert_int_equal(life.widths[3].spans[5].reached, 1);
    assert_int_equal(life.widths[3].spans[5].ended, 1);
    life_learn(&life, 0, 0, INT64_MAX, true);
    life_learn(&life, 0, 0, INT64_MAX, true);
    assert_int_equal(life.widths[0].spans[LIFE_SPANS - 1u].ended, 2);
    assert_int_equal(life.widths[0].spans[LIFE_SPANS - 1u].ms, INT64_MAX);
    assert_true(life_need_ms(&life, 0, INT64_MAX) > 0);
}

/* A hundred times as many as are assumed ran either a minute or a day: who passed the minute needs
 * the more of the day, and least at the end of it; other widths know nothing of it. */
static void test_life_learns(void **state)
{
    int64_t fresh, passed, late, before;

    (void)state;
    memset(&life, 0, sizeof(life));
    before = life_need_ms(&life, 4, 23 * HOUR);
    for (uint32_t i = 0; i < 6000; i++)
        life_learn(&life, 2, 0, i % 2 == 0 ? 60 * SECOND : 24 * HOUR, true);
    fresh = life_need_ms(&life, 2, 0);
    passed = life_need_ms(&life, 2, 120 * SECOND);
    late = life_need_ms(&life, 2, 23 * HOUR);
    assert_in_range(fresh, 90 * SECOND, 150 * SECOND); /* a minute each, every other one ends */
    assert_true(passed > 30 * fresh);
    assert_in_range(late, HOUR, 8 * HOUR); /* its span: to 28 h 50 */
    assert_int_equal(life_need_ms(&life, 4, 23 * HOUR), before);
    /* Who still waits counts, too: as many that ran an hour and are not over make it less sure. */
    for (uint32_t i = 0; i < 6000; i++)
        life_learn(&life, 2, 0, HOUR, false);
    assert_true(life_need_ms(&life, 2, 0) > fresh);
}

/* Need, where it is known, is the level; the user's own history goes before it. */
static void test_rank_by_need(void **state)
{
    const struct order_params params = order_params_for(8);
    struct order_job job = job_make(1, 4, 100), by_had = job_make(2, 4, 3600);

    (void)state;
    job.need_ms = HOUR;
    assert_int_equal(order_rank(&params, &job, 0).level, order_rank(&params, &by_had, 0).level);
    job.predicted_ms = 100 * SECOND;
    by_had = job_make(2, 4, 100);
    assert_int_equal(order_rank(&params, &job, 0).level, order_rank(&params, &by_had, 0).level);
}

/* Against the same beds: who is moved may be, fits elsewhere with the others, and leaves room. */
static void test_moves(void **state)
{
    const struct order_params params = order_params_for(8);
    struct rng rng = { 23 };
    uint32_t found_count = 0;

    (void)state;
    for (uint32_t round = 0; round < 4000; round++) {
        struct bed bed;
        struct order_want want = { .rank = { 1, 2, 0, 99 }, .devices = 8 };
        bool move[RUNNERS] = { false }, used[PLACES] = { false };
        uint32_t room[PLACES], set = 0, moved = 0, free = 0, taken = 0;

        bed_fill(&bed, &rng);
        want.parts = (uint32_t)rng_below(&rng, 2);
        want.rest = (uint32_t)rng_below(&rng, 8) + (want.parts == 0);
        bed.running[0].rank.level = ORDER_LEVEL_AGED;
        bed.running[1].rank.job_class = 0;
        for (uint32_t p = 0; p < PLACES; p++)
            free += bed.places[p].free;
        if (!order_pick_moves(&params, &want, &bed.pool, move, used, room))
            continue;
        assert_true(want.parts * 8 + want.rest <= free);
        assert_true(!move[0] && !move[1]);
        for (uint32_t r = 0; r < RUNNERS; r++)
            if (move[r]) {
                assert_true(bed.running[r].is_preemptible);
                assert_true(bed.running[r].run_ms >= params.run_ms_min);
                set |= 1u << r;
                moved += bed.running[r].devices;
            }
        assert_true(bed_has_room(&bed, set, &want));
        /* Those moved are what the places have less. */
        for (uint32_t p = 0; p < PLACES; p++)
            taken += bed.places[p].free - room[p];
        assert_int_equal(taken, moved);
        found_count += set != 0;
    }
    assert_true(found_count > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_level_grows_with_the_network),
        cmocka_unit_test(test_rank_table),
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_rank_is_still),
        cmocka_unit_test(test_lane),
        cmocka_unit_test(test_life_spans),
        cmocka_unit_test(test_life_learns),
        cmocka_unit_test(test_rank_by_need),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_may_displace),
        cmocka_unit_test(test_victims_brute_force),
        cmocka_unit_test(test_victims_order),
        cmocka_unit_test(test_no_starvation),
        cmocka_unit_test(test_no_ping_pong),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
