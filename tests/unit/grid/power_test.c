/* Tariffs over time, caps and cuts: what is billed, who waits, who is stopped and comes back. */
#include "bed.h"

#define HOUR_MS 3600000LL
#define UNKNOWN TARIFF_UNKNOWN

static const struct bed_node four_fast[] = { { "n0", 16, 4, "fast" } };

static int try_tariff(struct bed *bed, uint32_t kind, int64_t from_ms, int64_t slot_ms,
                      const struct tariff_row *rows, uint32_t count, struct err *err)
{
    struct event event = { .type = EVENT_SITE_TARIFF };

    event.site_tariff = (struct event_site_tariff){ .site = "here",
                                                    .kind = kind,
                                                    .from_ms = from_ms,
                                                    .slot_ms = slot_ms,
                                                    .rows = rows,
                                                    .rows_count = count,
                                                    .by = "op" };
    return bed_try(bed, &event, NULL, err);
}

/* Hourly prices in 1/1000 a kWh from the bed's hour on. */
static void set_prices(struct bed *bed, const int64_t *milli, uint32_t count)
{
    struct tariff_row rows[64];
    struct err err = { 0 };

    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct tariff_row){ milli[i] * 1000, UNKNOWN, UNKNOWN, UNKNOWN };
    if (try_tariff(bed, TARIFF_FACTS, bed->now_ms / HOUR_MS * HOUR_MS, HOUR_MS, rows, count, &err) <
        0)
        fail_msg("%s", err.text);
}

static struct bed at_an_hour(void)
{
    struct bed bed = bed_create(NULL, 0);

    bed.now_ms = 1000 * HOUR_MS;
    bed_join(&bed, "here", four_fast, 1);
    return bed;
}

static void test_refusals(void **state)
{
    const struct tariff_row fine = { 100000, 300000, 500000, 1000 };
    const struct tariff_row rows[] = { { UNKNOWN, -1, UNKNOWN, UNKNOWN },
                                       { INT64_MAX, UNKNOWN, UNKNOWN, UNKNOWN },
                                       { UNKNOWN, UNKNOWN, 1000001, UNKNOWN },
                                       { UNKNOWN, UNKNOWN, UNKNOWN, -5 } };
    struct bed bed = at_an_hour();
    struct event event = { .type = EVENT_SITE_TARIFF };
    struct err err = { 0 };
    CLEANUP(buf_fini) struct buf before = buf_init(1 << 20), after = buf_init(1 << 20);

    (void)state;
    grid_snapshot(bed.grid, &before);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        assert_int_equal(try_tariff(&bed, TARIFF_FACTS, 0, HOUR_MS, &rows[i], 1, &err), -EINVAL);
    assert_int_equal(try_tariff(&bed, TARIFF_FACTS, 0, 1000, &fine, 1, &err), -EINVAL);
    assert_int_equal(try_tariff(&bed, TARIFF_FACTS, 5, HOUR_MS, &fine, 1, &err), -EINVAL);
    assert_int_equal(try_tariff(&bed, TARIFF_FACTS, 0, HOUR_MS, &fine, 0, &err), -EINVAL);
    assert_int_equal(try_tariff(&bed, TARIFF_CONSTANT, 0, HOUR_MS, &fine, 0, &err), -EINVAL);
    assert_int_equal(try_tariff(&bed, TARIFF_CLEAR, 0, HOUR_MS, NULL, 0, &err), -EALREADY);
    assert_int_equal(try_tariff(&bed, 9, 0, HOUR_MS, &fine, 1, &err), -EINVAL);
    event.site_tariff.site = "nowhere";
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT);
    event = (struct event){ .type = EVENT_SITE_SHED };
    event.site_shed = (struct event_site_shed){ .site = "here", .share_ppm = 0, .lasts_ms = 5 };
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event.site_shed.lasts_ms = 0;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EALREADY);
    grid_snapshot(bed.grid, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    assert_int_equal(try_tariff(&bed, TARIFF_FACTS, 0, HOUR_MS, &fine, 1, &err), 0);
    assert_int_equal(try_tariff(&bed, TARIFF_FACTS, 0, HOUR_MS / 2, &fine, 1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "clear"));
    assert_int_equal(try_tariff(&bed, TARIFF_CLEAR, 0, HOUR_MS, NULL, 0, &err), 0);
    assert_int_equal(try_tariff(&bed, TARIFF_FACTS, 0, HOUR_MS / 2, &fine, 1, &err), 0);
    bed_destroy(&bed);
}

/* An hour and a half from the middle of an hour at 100, one at 400: 0.05 kWh, 0.1 kWh. */
static void test_bill_follows_the_hours(void **state)
{
    struct bed bed = at_an_hour();
    struct event job = bed_job(1), end = { .type = EVENT_ATTEMPT_ENDED };
    const struct tariff_row rows[] = { { 100000, 200000, 500000, UNKNOWN },
                                       { 400000, 800000, 0, UNKNOWN } };
    struct err err = { 0 };
    uint64_t id;

    (void)state;
    assert_int_equal(try_tariff(&bed, TARIFF_FACTS, bed.now_ms, HOUR_MS, rows, 2, &err), 0);
    bed.now_ms += HOUR_MS / 2;
    id = bed_submit(&bed, job);
    bed_pass(&bed);
    bed.now_ms += HOUR_MS + HOUR_MS / 2;
    bed_restart(&bed);
    end.attempt_ended.job_id = id;
    end.attempt_ended.epoch = 1;
    end.attempt_ended.usage.energy_mj = 150LL * 3600 * 1000; /* 0.15 kWh over 1.5 h */
    bed_step(&bed, &end);
    /* 0.05 kWh x 0.1 + 0.1 kWh x 0.4, and 1.5 CPU-hours at 0.036 */
    assert_int_equal(bed.row.price_micro, 5000 + 40000 + 54000);
    /* 0.05 kWh x 200 g half of it green, 0.1 kWh x 800 g */
    assert_int_equal(bed.row.carbon_ug, 5000000 + 80000000);
    bed_destroy(&bed);
}

/* Beyond what is known, and for constants told by an operator. */
static void test_bill_falls_back(void **state)
{
    const struct tariff_row constant = { 1000000, UNKNOWN, UNKNOWN, UNKNOWN };
    struct bed bed = at_an_hour();
    struct event end = { .type = EVENT_ATTEMPT_ENDED };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(try_tariff(&bed, TARIFF_CONSTANT, 0, HOUR_MS, &constant, 1, &err), 0);
    end.attempt_ended.job_id = bed_submit(&bed, bed_job(1));
    end.attempt_ended.epoch = 1;
    bed_pass(&bed);
    bed.now_ms += HOUR_MS;
    end.attempt_ended.usage.energy_mj = 360LL * 1000 * 1000;
    bed_step(&bed, &end);
    assert_int_equal(bed.row.price_micro, 100000 + 36000);
    assert_int_equal(bed.row.carbon_ug, 40000000); /* the site's own */
    bed_destroy(&bed);
}

static struct event flexible(struct bed *bed, int64_t duration_ms, int64_t deadline_ms)
{
    struct event job = bed_job(1);

    job.job_submitted.request.objective = OBJECTIVE_CHEAPEST;
    job.job_submitted.request.duration_ms_max = duration_ms;
    job.job_submitted.request.deadline_ms = bed->now_ms + deadline_ms;
    job.job_submitted.request.shape.devices_milli = 1000;
    return job;
}

static void test_waits_for_the_cheap_hour(void **state)
{
    static const int64_t prices[] = { 300, 300, 300, 100, 100, 300, 300, 300, 300, 300, 300, 300 };
    struct bed bed = at_an_hour();
    int64_t begin_ms = bed.now_ms;
    struct plan_candidate plan[PLAN_CANDIDATES_MAX];
    struct event job;
    uint64_t id, hurry;
    uint32_t count;

    (void)state;
    set_prices(&bed, prices, ARRAY_COUNT(prices));
    job = flexible(&bed, HOUR_MS, 11 * HOUR_MS);
    assert_int_equal(
        grid_plan(bed.grid, &job.job_submitted.request, "alice", bed.now_ms, plan, &count, NULL),
        0);
    assert_int_equal(plan[0].start_estimate_ms, begin_ms + 3 * HOUR_MS);
    assert_non_null(strstr(plan[0].reason, "instead of"));
    id = bed_submit(&bed, job);
    assert_int_equal(bed_state(&bed, id), JOB_HELD);
    bed_why(&bed, id, "tariff", "0.100");
    bed_why(&bed, id, "tariff", "objective: fastest");
    hurry = bed_submit(&bed, flexible(&bed, HOUR_MS, 75 * 60000)); /* no time to wait */
    assert_int_equal(bed_state(&bed, hurry), JOB_QUEUED);
    bed_pass(&bed);
    bed_restart(&bed);
    for (int h = 1; h < 3; h++) {
        assert_true(grid_next_timer_ms(bed.grid) <= begin_ms + h * HOUR_MS);
        bed_tick(&bed, begin_ms + h * HOUR_MS);
        assert_int_equal(bed_state(&bed, id), JOB_HELD);
    }
    bed_restart(&bed);
    bed_tick(&bed, begin_ms + 3 * HOUR_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_destroy(&bed);
}

/* One that says so, or has no limit, no deadline or another objective, starts at once. */
static void test_who_does_not_wait(void **state)
{
    static const int64_t prices[] = { 300, 300, 300, 100, 100, 300, 300, 300, 300, 300, 300, 300 };
    struct bed bed = at_an_hour();
    struct event jobs[4];

    (void)state;
    set_prices(&bed, prices, ARRAY_COUNT(prices));
    for (size_t i = 0; i < ARRAY_COUNT(jobs); i++)
        jobs[i] = flexible(&bed, HOUR_MS, 11 * HOUR_MS);
    jobs[0].job_submitted.request.waits_never = 1;
    jobs[1].job_submitted.request.duration_ms_max = 0;
    jobs[2].job_submitted.request.deadline_ms = 0;
    jobs[3].job_submitted.request.objective = OBJECTIVE_FASTEST;
    for (size_t i = 0; i < ARRAY_COUNT(jobs); i++)
        assert_int_equal(bed_state(&bed, bed_submit(&bed, jobs[i])), JOB_QUEUED);
    bed_destroy(&bed);
}

/* As many as there is room for before the deadline wait; those for whom it would be too late go. */
static void test_a_crowd_keeps_its_deadline(void **state)
{
    static const int64_t prices[] = { 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 100, 300 };
    struct bed bed = at_an_hour();
    uint32_t held = 0;

    (void)state;
    set_prices(&bed, prices, ARRAY_COUNT(prices));
    for (int i = 0; i < 16; i++) /* 16 hours of work for 4 devices, 12 hours */
        held +=
            bed_state(&bed, bed_submit(&bed, flexible(&bed, HOUR_MS, 12 * HOUR_MS))) == JOB_HELD;
    assert_true(held >= 1 && held < 12);
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* Where all of those who wait have room at once, each waits to its own deadline. */
static void test_no_crowd(void **state)
{
    static const int64_t prices[] = { 300, 300, 300, 300, 100, 100, 300, 300 };
    struct bed bed = at_an_hour();
    int64_t begin_ms = bed.now_ms;
    uint64_t ids[4];

    (void)state;
    set_prices(&bed, prices, ARRAY_COUNT(prices));
    for (int i = 0; i < 4; i++)
        ids[i] = bed_submit(&bed, flexible(&bed, 2 * HOUR_MS, 6 * HOUR_MS + HOUR_MS / 2));
    for (int h = 1; h <= 4; h++) {
        for (int i = 0; i < 4; i++)
            if (bed_state(&bed, ids[i]) != JOB_HELD)
                fail_msg("job %d waits no longer after %d h", i, h - 1);
        bed_tick(&bed, begin_ms + h * HOUR_MS);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(bed_state(&bed, ids[i]), JOB_STARTING);
    bed_destroy(&bed);
}

/* Only what is to come is told, below zero: the present is what the site itself says. */
static void test_day_ahead_alone(void **state)
{
    const struct tariff_row rows[] = { { -500000, UNKNOWN, UNKNOWN, UNKNOWN },
                                       { -100000, UNKNOWN, UNKNOWN, UNKNOWN } };
    struct bed bed = at_an_hour();
    struct err err = { 0 };
    uint64_t id;

    (void)state;
    assert_int_equal(
        try_tariff(&bed, TARIFF_FACTS, bed.now_ms + 2 * HOUR_MS, HOUR_MS, rows, 1, &err), 0);
    assert_int_equal(
        try_tariff(&bed, TARIFF_FACTS, bed.now_ms + HOUR_MS, HOUR_MS, rows + 1, 1, &err), 0);
    id = bed_submit(&bed, flexible(&bed, HOUR_MS / 2, 10 * HOUR_MS));
    assert_int_equal(bed_state(&bed, id), JOB_HELD);
    bed_why(&bed, id, "tariff", "a kWh at -0.500");
    bed_tick(&bed, bed.now_ms + HOUR_MS);
    assert_int_equal(bed_state(&bed, id), JOB_HELD);
    bed_tick(&bed, bed.now_ms + HOUR_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_destroy(&bed);
}

/* A tariff that is cleared is waited for by nobody: all that it held starts at once. */
static void test_cleared(void **state)
{
    static const int64_t prices[] = { 300, 300, 300, 100, 100, 300, 300, 300, 300, 300, 300, 300 };
    const struct tariff_row flat = { 200000, UNKNOWN, UNKNOWN, UNKNOWN };
    struct bed bed = at_an_hour();
    struct err err = { 0 };
    uint64_t id;

    (void)state;
    set_prices(&bed, prices, ARRAY_COUNT(prices));
    id = bed_submit(&bed, flexible(&bed, HOUR_MS, 11 * HOUR_MS));
    assert_int_equal(bed_state(&bed, id), JOB_HELD);
    bed.now_ms += 60000;
    assert_int_equal(try_tariff(&bed, TARIFF_CONSTANT, 0, HOUR_MS, &flat, 1, &err), 0);
    bed_tick(&bed, bed.now_ms + 1);
    assert_int_equal(bed_state(&bed, id), JOB_HELD); /* its hours are known all the same */
    assert_int_equal(try_tariff(&bed, TARIFF_CLEAR, 0, HOUR_MS, NULL, 0, &err), 0);
    bed_restart(&bed);
    bed_tick(&bed, bed.now_ms + 1);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_destroy(&bed);
}

static void test_pauses_for_the_cheap_hours(void **state)
{
    static const int64_t prices[] = { 100, 900, 900, 900, 100, 100, 100, 100, 300, 300,
                                      300, 300, 300, 300, 300, 300, 300, 300, 300, 300 };
    struct bed bed = at_an_hour();
    int64_t begin_ms = bed.now_ms;
    struct event job = flexible(&bed, 3 * HOUR_MS, 19 * HOUR_MS);
    struct event progress = { .type = EVENT_ATTEMPT_PROGRESS };
    struct job_view view;
    uint64_t id;

    (void)state;
    set_prices(&bed, prices, ARRAY_COUNT(prices));
    job.job_submitted.request.checkpoint = CHECKPOINT_ASKED;
    id = bed_submit(&bed, job);
    bed_pass(&bed); /* nothing is cheaper than now */
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_started(&bed, id, 1);
    progress.attempt_progress.job_id = id;
    progress.attempt_progress.epoch = 1;
    progress.attempt_progress.checkpoint_ms = begin_ms + HOUR_MS;
    bed.now_ms = begin_ms + HOUR_MS - 1;
    bed_step(&bed, &progress);
    bed_tick(&bed, begin_ms + HOUR_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    assert_int_equal(bed.stops, 1);
    bed_restart(&bed);
    bed_ended(&bed, id, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_HELD);
    view = bed_view(&bed, id);
    assert_int_equal(view.attempts_failed + view.attempts_lost, 0);
    bed_restart(&bed);
    for (int h = 2; h < 4; h++) {
        bed_tick(&bed, begin_ms + h * HOUR_MS);
        assert_int_equal(bed_state(&bed, id), JOB_HELD);
    }
    bed_tick(&bed, begin_ms + 4 * HOUR_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_destroy(&bed);
}

/* --- power ------------------------------------------------------------------------------------ */

static struct event one_device(uint32_t job_class)
{
    struct event job = bed_job(1);

    job.job_submitted.request.job_class = job_class;
    job.job_submitted.request.shape.devices_milli = 1000;
    return job;
}

static void test_cut(void **state)
{
    struct bed bed = at_an_hour();
    uint64_t ids[4], late;
    uint32_t stopped = 4;

    (void)state;
    for (uint32_t i = 0; i < 4; i++) /* the third is of the lowest class */
        ids[i] = bed_submit(&bed, one_device(i == 2 ? CLASS_LOW : CLASS_HIGH));
    bed_pass(&bed);
    for (uint32_t i = 0; i < 4; i++)
        bed_started(&bed, ids[i], 1);
    bed.now_ms += 600000;
    bed_shed(&bed, 25, 3 * HOUR_MS);
    for (uint32_t i = 0; i < 4; i++)
        if (bed_state(&bed, ids[i]) == JOB_STOPPING)
            stopped = i;
    assert_int_equal(bed.stops, 1);
    assert_int_equal(stopped, 2);
    bed_restart(&bed);
    late = bed_submit(&bed, one_device(CLASS_URGENT));
    bed_pass(&bed);
    bed_ended(&bed, ids[2], 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, ids[2]), JOB_HELD);
    bed_why(&bed, ids[2], "power_cut", "must draw less");
    bed_pass(&bed); /* a device is free, its power is not */
    assert_int_equal(bed_state(&bed, late), JOB_QUEUED);
    bed_why(&bed, late, "power", "no power");
    bed_restart(&bed);
    bed_tick(&bed, bed.now_ms + 3 * HOUR_MS - 1000);
    assert_int_equal(bed_state(&bed, ids[2]), JOB_HELD);
    assert_int_equal(bed_cancel(&bed, late), 0);
    bed_tick(&bed, bed.now_ms + 2000);
    assert_int_equal(bed_state(&bed, ids[2]), JOB_STARTING);
    bed_destroy(&bed);
}

/* Nothing stops in a second; it is stopped all the same. */
static void test_cut_at_once(void **state)
{
    struct bed bed = at_an_hour();
    uint64_t id = bed_submit(&bed, one_device(CLASS_LOW));
    struct event event = { .type = EVENT_SITE_SHED };

    (void)state;
    bed_pass(&bed);
    bed_started(&bed, id, 1);
    event.site_shed = (struct event_site_shed){ .site = "here",
                                                .share_ppm = 500000,
                                                .within_ms = 1000,
                                                .lasts_ms = HOUR_MS,
                                                .by = "grid operator",
                                                .reason = "" };
    bed_step(&bed, &event);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    bed_destroy(&bed);
}

static void test_cut_ends_early(void **state)
{
    struct bed bed = at_an_hour();
    uint64_t id = bed_submit(&bed, one_device(CLASS_LOW));

    (void)state;
    bed_pass(&bed);
    bed_started(&bed, id, 1);
    bed_shed(&bed, 100, HOUR_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    bed_ended(&bed, id, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_HELD);
    bed.now_ms += 1000;
    bed_shed(&bed, 0, 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_destroy(&bed);
}

/* 700 W a device: two of them under 1,500 W. */
static void test_cap(void **state)
{
    const struct tariff_row capped = { UNKNOWN, UNKNOWN, UNKNOWN, 1500 };
    const struct tariff_row less = { UNKNOWN, UNKNOWN, UNKNOWN, 700 };
    struct bed bed = at_an_hour();
    struct err err = { 0 };

    (void)state;
    assert_int_equal(try_tariff(&bed, TARIFF_CONSTANT, 0, HOUR_MS, &capped, 1, &err), 0);
    for (int i = 0; i < 4; i++)
        bed_submit(&bed, one_device(CLASS_NORMAL));
    bed_pass(&bed);
    assert_int_equal(bed.runs, 2);
    bed_restart(&bed);
    bed_done(&bed, bed.run_jobs[0]);
    bed_pass(&bed);
    assert_int_equal(bed.runs, 3);
    assert_int_equal(try_tariff(&bed, TARIFF_CONSTANT, 0, HOUR_MS, &less, 1, &err), 0);
    assert_int_equal(bed.stops, 1);
    assert_int_equal(try_tariff(&bed, TARIFF_CLEAR, 0, HOUR_MS, NULL, 0, &err), 0);
    bed_pass(&bed);
    assert_int_equal(bed.runs, 4);
    bed_destroy(&bed);
}

/* What somebody expects, and what history shows, are used when no fact is known. */
static void test_forecast(void **state)
{
    struct tariff_row rows[96];
    struct bed bed = at_an_hour();
    struct err err = { 0 };
    int64_t begin_ms;
    uint64_t id;

    (void)state;
    bed.now_ms = 24 * 100 * HOUR_MS;
    for (int i = 0; i < 96; i++) /* four days: nights, of six hours, are cheap */
        rows[i] = (struct tariff_row){ i % 24 < 6 ? 100000 : 300000, UNKNOWN, UNKNOWN, UNKNOWN };
    begin_ms = bed.now_ms;
    assert_int_equal(
        try_tariff(&bed, TARIFF_FACTS, begin_ms - 4 * 24 * HOUR_MS, HOUR_MS, rows, 96, &err), 0);
    bed.now_ms = begin_ms + 12 * HOUR_MS;
    for (int i = 0; i < 13; i++)
        rows[i].price = i < 6 ? 100000 : 300000;
    assert_int_equal(try_tariff(&bed, TARIFF_FACTS, begin_ms, HOUR_MS, rows, 13, &err), 0);
    id = bed_submit(&bed, flexible(&bed, 2 * HOUR_MS, 30 * HOUR_MS));
    assert_int_equal(bed_state(&bed, id), JOB_HELD); /* by history alone */
    bed_restart(&bed);
    for (int i = 0; i < 24; i++)
        rows[i].price = 900000;
    assert_int_equal(
        try_tariff(&bed, TARIFF_FORECAST, begin_ms + 13 * HOUR_MS, HOUR_MS, rows, 24, &err), 0);
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* Of before forecasts were trusted by the hour: what it knows of the price still makes work wait,
 * and it learns on. */
static void test_older_snapshot(void **state)
{
    struct bed bed = bed_read(DOCS_DIR "/../tests/recorded/grid/snapshot-21.bin", 2418 * HOUR_MS);
    struct tariff_row row = { 300000, UNKNOWN, UNKNOWN, UNKNOWN };
    struct err err = { 0 };

    (void)state;
    bed_why(&bed, 1, "tariff", "a kWh at 0.1");
    bed_restart(&bed);
    for (int i = 0; i < 8; i++) {
        bed_tick(&bed, bed.now_ms + 6 * HOUR_MS);
        assert_int_equal(try_tariff(&bed, TARIFF_FACTS, bed.now_ms, 6 * HOUR_MS, &row, 1, &err), 0);
    }
    bed_restart(&bed);
    assert_int_not_equal(bed_state(&bed, 1), JOB_HELD);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bill_follows_the_hours),
        cmocka_unit_test(test_bill_falls_back),
        cmocka_unit_test(test_waits_for_the_cheap_hour),
        cmocka_unit_test(test_who_does_not_wait),
        cmocka_unit_test(test_a_crowd_keeps_its_deadline),
        cmocka_unit_test(test_no_crowd),
        cmocka_unit_test(test_day_ahead_alone),
        cmocka_unit_test(test_cleared),
        cmocka_unit_test(test_pauses_for_the_cheap_hours),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_cut_at_once),
        cmocka_unit_test(test_cut_ends_early),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_older_snapshot),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
