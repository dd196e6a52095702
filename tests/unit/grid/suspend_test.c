/* Work that stands still in place while its site must draw less. */
#include "bed.h"

#define HOUR_MS 3600000LL
#define LIMIT_MS HOUR_MS

static const struct bed_node four_fast[] = { { "n0", 16, 4, "fast" } };

struct stand { /* a site that suspends, four jobs on a device each, running for ten minutes */
    struct bed bed;
    uint64_t ids[4];
};

static struct event on_device(enum job_class job_class)
{
    struct event event = bed_job(1);

    event.job_submitted.request.shape.devices_milli = 1000;
    event.job_submitted.request.job_class = job_class;
    event.job_submitted.request.duration_ms_max = LIMIT_MS;
    return event;
}

static struct stand stand_priced(bool suspends, int64_t price_micro_max)
{
    struct stand stand = { .bed = bed_create(NULL, 0) };

    stand.bed.now_ms = 1000 * HOUR_MS;
    stand.bed.suspends = suspends;
    bed_join(&stand.bed, "here", four_fast, 1);
    for (uint32_t i = 0; i < 4; i++) { /* the third is of the lowest class */
        struct event event = on_device(i == 2 ? CLASS_LOW : CLASS_HIGH);

        event.job_submitted.request.price_micro_max = price_micro_max;
        stand.ids[i] = bed_submit(&stand.bed, event);
    }
    bed_pass(&stand.bed);
    for (uint32_t i = 0; i < 4; i++)
        bed_started(&stand.bed, stand.ids[i], 1);
    stand.bed.now_ms += 600000;
    return stand;
}

static struct stand stand_create(bool suspends)
{
    return stand_priced(suspends, 0);
}

static void stands(struct bed *bed, uint64_t id, uint32_t epoch, const char *why_not)
{
    struct event event = { .type = EVENT_ATTEMPT_SUSPENDED };

    event.attempt_suspended.job_id = id;
    event.attempt_suspended.epoch = epoch;
    event.attempt_suspended.suspended = !*why_not;
    event.attempt_suspended.reason = why_not;
    bed_step(bed, &event);
}

static int64_t draw_mw(struct bed *bed)
{
    struct power_view view;

    grid_power_get(bed->grid, 0, &view);
    return view.draw_mw;
}

static void test_stands_and_goes_on(void **state)
{
    struct stand stand = stand_create(true);
    struct bed *bed = &stand.bed;
    int64_t full_mw;

    (void)state;
    bed_shed(bed, 1, 0 + HOUR_MS); /* so that the site has power to speak of */
    bed_shed(bed, 0, 0);
    bed_tick(bed, bed->now_ms + 1);
    bed->suspends_heard = bed->resumes = 0;
    full_mw = draw_mw(bed);
    bed_shed(bed, 20, 3 * HOUR_MS);
    assert_int_equal(bed->stops, 0);
    assert_int_equal(bed->suspends_heard, 1);
    assert_true(bed_view(bed, stand.ids[2]).suspended);
    assert_false(bed_view(bed, stand.ids[2]).stands);
    assert_int_equal(bed_view(bed, stand.ids[2]).state, JOB_RUNNING);
    bed_why(bed, stand.ids[2], "suspended", "suspended: site here must draw");
    assert_int_equal(draw_mw(bed), full_mw); /* until it is said that it stands */
    bed_pass(bed);
    assert_true(bed_view(bed, stand.ids[2]).suspended);
    bed_restart(bed);
    stands(bed, stand.ids[2], 1, "");
    assert_true(bed_view(bed, stand.ids[2]).stands);
    assert_true(draw_mw(bed) <= full_mw * 80 / 100);
    bed_restart(bed);
    bed_tick(bed, bed->now_ms + 2 * HOUR_MS); /* far beyond its limit: nobody stops it */
    assert_int_equal(bed_view(bed, stand.ids[2]).suspended_ms, 2 * HOUR_MS);
    assert_int_equal(bed->resumes, 0);
    bed_tick(bed, bed->now_ms + HOUR_MS);
    assert_int_equal(bed->resumes, 1);
    assert_false(bed_view(bed, stand.ids[2]).suspended);
    assert_int_equal(bed_view(bed, stand.ids[2]).epoch, 1);
    assert_int_equal(bed_view(bed, stand.ids[2]).suspended_ms, 3 * HOUR_MS);
    assert_int_equal(draw_mw(bed), full_mw);
    bed_restart(bed);
    bed_done(bed, stand.ids[2]);
    assert_int_equal(bed->row.wall_ms, 3 * HOUR_MS + 600000 + 1); /* billed for what it held */
    bed_destroy(bed);
}

/* Its limit does not run: a start that is promised behind it is as much later, and no later. */
static void test_promise_behind(void **state)
{
    struct stand stand = stand_create(true);
    struct bed *bed = &stand.bed;
    struct event wide = on_device(CLASS_HIGH);
    uint64_t waits;
    int64_t before_ms;

    (void)state;
    wide.job_submitted.request.shape.devices_milli = 4000;
    waits = bed_submit(bed, wide);
    bed_pass(bed);
    before_ms = bed_view(bed, waits).promised_start_ms;
    assert_true(before_ms > bed->now_ms && before_ms <= bed->now_ms + LIMIT_MS);
    bed_shed(bed, 20, HOUR_MS);
    stands(bed, stand.ids[2], 1, "");
    bed_pass(bed);
    assert_int_equal(bed_view(bed, waits).promised_start_ms, before_ms + HOUR_MS);
    bed_restart(bed);
    bed->now_ms += HOUR_MS / 4;
    bed_shed(bed, 0, 0);
    bed_pass(bed);
    assert_int_equal(bed->resumes, 1);
    bed_pass(bed);
    assert_int_equal(bed_view(bed, waits).promised_start_ms, before_ms + HOUR_MS / 4);
    bed_destroy(bed);
}

static void test_who_may_not(void **state)
{
    struct stand stand = stand_create(false); /* its engine cannot */
    struct event tenant = bed_tenant("alice");

    (void)state;
    bed_shed(&stand.bed, 20, HOUR_MS);
    assert_int_equal(stand.bed.suspends_heard, 0);
    assert_int_equal(stand.bed.stops, 1);
    bed_destroy(&stand.bed);
    stand = stand_create(true); /* nor for longer than a day */
    bed_shed(&stand.bed, 20, 25 * HOUR_MS);
    assert_int_equal(stand.bed.suspends_heard, 0);
    assert_int_equal(stand.bed.stops, 1);
    bed_destroy(&stand.bed);
    stand = stand_create(true); /* nor beyond a budget */
    tenant.tenant_set.budget_micro = INT64_C(1) << 40;
    bed_step(&stand.bed, &tenant);
    bed_shed(&stand.bed, 20, HOUR_MS);
    assert_int_equal(stand.bed.suspends_heard, 0);
    assert_int_equal(stand.bed.stops, 1);
    bed_destroy(&stand.bed);
    stand = stand_priced(true, INT64_C(1) << 40); /* nor beyond what it may cost */
    bed_shed(&stand.bed, 20, HOUR_MS);
    assert_int_equal(stand.bed.suspends_heard, 0);
    assert_int_equal(stand.bed.stops, 1);
    bed_destroy(&stand.bed);
    stand = stand_create(true); /* all of it: idle is too much */
    bed_shed(&stand.bed, 100, HOUR_MS);
    assert_int_equal(stand.bed.suspends_heard, 0);
    assert_int_equal(stand.bed.stops, 4);
    bed_destroy(&stand.bed);
}

/* The site says that it could not, or nothing at all. */
static void test_stopped_instead(void **state)
{
    struct stand stand = stand_create(true);
    struct bed *bed = &stand.bed;

    (void)state;
    bed_shed(bed, 20, HOUR_MS);
    stands(bed, stand.ids[2], 7, "no such attempt"); /* old news */
    assert_int_equal(bed->stops, 0);
    stands(bed, stand.ids[2], 1, "a process would not");
    assert_int_equal(bed->stops, 1);
    assert_int_equal(bed_state(bed, stand.ids[2]), JOB_STOPPING);
    bed_ended(bed, stand.ids[2], 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(bed, stand.ids[2]), JOB_HELD);
    bed_destroy(bed);
    stand = stand_create(true);
    bed_shed(bed, 20, HOUR_MS);
    assert_true(grid_next_timer_ms(bed->grid) <= bed->now_ms + 30000);
    bed_tick(bed, bed->now_ms + 30000);
    assert_int_equal(bed->stops, 1);
    bed_destroy(bed);
}

static void test_ends_meanwhile(void **state)
{
    struct stand stand = stand_create(true);
    struct bed *bed = &stand.bed;
    int64_t mw;

    (void)state;
    bed_shed(bed, 20, HOUR_MS);
    stands(bed, stand.ids[2], 1, "");
    mw = draw_mw(bed);
    assert_int_equal(bed_cancel(bed, stand.ids[2]), 0);
    assert_int_equal(bed->stops, 1);
    assert_true(draw_mw(bed) > mw);   /* it goes on to its end */
    stands(bed, stand.ids[2], 1, ""); /* old news */
    assert_false(bed_view(bed, stand.ids[2]).suspended);
    bed_ended(bed, stand.ids[2], 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed->ended_as, JOB_CANCELLED);
    bed_destroy(bed);
    stand = stand_create(true); /* lost while it stands: queued again, and counted as it is */
    bed_shed(bed, 20, HOUR_MS);
    stands(bed, stand.ids[2], 1, "");
    bed_ended(bed, stand.ids[2], 1, OUTCOME_LOST, 0);
    assert_false(bed_view(bed, stand.ids[2]).suspended);
    bed_restart(bed);
    bed_pass(bed);
    bed_destroy(bed);
}

/* A deeper cut stops what stands: idle is something too. It waits that out, listed once. */
static void test_deeper(void **state)
{
    struct stand stand = stand_create(true);
    struct bed *bed = &stand.bed;

    (void)state;
    bed_shed(bed, 20, HOUR_MS);
    stands(bed, stand.ids[2], 1, "");
    bed_shed(bed, 100, HOUR_MS);
    assert_int_equal(bed->stops, 4);
    for (uint32_t i = 0; i < 4; i++)
        bed_ended(bed, stand.ids[i], 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(bed, stand.ids[2]), JOB_HELD);
    bed_pass(bed);
    bed_restart(bed);
    bed_tick(bed, bed->now_ms + HOUR_MS + 1);
    assert_int_equal(bed->runs, 8);
    bed_destroy(bed);
}

/* "here" may draw so many watts at most, from now on. */
static void set_cap(struct bed *bed, int64_t watts)
{
    const struct tariff_row row = { TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN, watts };
    struct event event = { .type = EVENT_SITE_TARIFF };

    event.site_tariff = (struct event_site_tariff){
        .site = "here", .kind = TARIFF_CONSTANT, .rows = &row, .rows_count = 1, .by = "op"
    };
    bed_step(bed, &event);
}

/* Under a cap nobody knows how long they will stand: what is promised behind them, and needs no
 * power to speak of, is later by the hour and never overdue. */
static void test_stands_for_hours(void **state)
{
    struct stand stand = { .bed = bed_create(NULL, 0) };
    struct bed *bed = &stand.bed;
    struct event holder = on_device(CLASS_NORMAL), behind = bed_job(12);
    uint64_t stood, waits;
    int64_t now_ms, promised_ms;

    (void)state;
    bed->now_ms = 1000 * HOUR_MS;
    bed->suspends = true;
    bed_join(bed, "here", four_fast, 1);
    holder.job_submitted.request.shape.cpus = 10;
    stood = bed_submit(bed, holder);
    bed_pass(bed);
    bed_started(bed, stood, 1);
    waits = bed_submit(bed, behind);
    bed_pass(bed);
    assert_true(bed_view(bed, waits).promised_start_ms > bed->now_ms);
    bed->now_ms += 600000;
    set_cap(bed, 400);
    assert_int_equal(bed->suspends_heard, 1);
    stands(bed, stood, 1, "");
    bed_pass(bed);
    for (int quarter = 0; quarter < 40; quarter++) {
        bed_tick(bed, bed->now_ms + HOUR_MS / 4);
        promised_ms = bed_view(bed, waits).promised_start_ms;
        if (promised_ms <= bed->now_ms)
            fail_msg("after %d min it should have begun %d s ago", quarter * 15 + 15,
                     (int)((bed->now_ms - promised_ms) / 1000));
        bed_restart(bed);
    }
    assert_int_equal(bed->stops, 0);
    now_ms = bed->now_ms;
    set_cap(bed, 10000);
    bed_pass(bed);
    assert_int_equal(bed->resumes, 1);
    bed_tick(bed, bed->now_ms + 1); /* of its hour ten minutes had gone */
    promised_ms = bed_view(bed, waits).promised_start_ms;
    if (promised_ms < now_ms + 50 * 60000 || promised_ms > now_ms + 52 * 60000)
        fail_msg("promised in %d min", (int)((promised_ms - now_ms) / 60000));
    bed_destroy(bed);
}

/* What stands draws next to nothing: it is others that draw less. */
static void test_deeper_spares_them(void **state)
{
    struct stand stand = stand_create(true);
    struct bed *bed = &stand.bed;
    uint32_t stand_count = 0;

    (void)state;
    bed_shed(bed, 20, 3 * HOUR_MS);
    stands(bed, stand.ids[2], 1, "");
    assert_true(bed_view(bed, stand.ids[2]).stands);
    bed_shed(bed, 2, HOUR_MS); /* what stands draws more than that */
    assert_int_equal(bed->stops, 0);
    assert_true(bed_view(bed, stand.ids[2]).stands);
    for (uint32_t i = 0; i < 4; i++)
        stand_count += bed_view(bed, stand.ids[i]).suspended;
    assert_int_equal(stand_count, 2);
    bed_destroy(bed);
}

/* However many stand, one that was stopped and has room elsewhere goes there. */
static void test_elsewhere_beside_many(void **state)
{
    static const struct bed_node many[] = {
        { "n0", 32, 16, "fast" }, { "n1", 32, 16, "fast" }, { "n2", 32, 16, "fast" },
        { "n3", 32, 16, "fast" }, { "n4", 32, 16, "fast" },
    };
    struct bed bed = bed_create(NULL, 0);
    struct event priced = on_device(CLASS_LOW);
    uint64_t ids[79], stopped;

    (void)state;
    bed.now_ms = 1000 * HOUR_MS;
    bed.suspends = true;
    bed_join(&bed, "here", many, 5);
    for (uint32_t i = 0; i < 79; i++)
        ids[i] = bed_submit(&bed, on_device(CLASS_NORMAL));
    priced.job_submitted.request.price_micro_max = INT64_C(1) << 40; /* it may not stand */
    stopped = bed_submit(&bed, priced);
    bed_pass(&bed);
    for (uint32_t i = 0; i < 79; i++)
        bed_started(&bed, ids[i], 1);
    bed_started(&bed, stopped, 1);
    bed_shed(&bed, 85, HOUR_MS);
    assert_int_equal(bed.stops, 1);
    assert_true(bed.suspends_heard > 70);
    for (uint32_t i = 0; i < 79; i++)
        stands(&bed, ids[i], 1, "");
    bed_ended(&bed, stopped, 1, OUTCOME_STOPPED, 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, stopped), JOB_HELD);
    bed_join(&bed, "there", four_fast, 1);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, stopped), JOB_STARTING);
    assert_string_equal(bed_view(&bed, stopped).allocation.site, "there");
    bed_destroy(&bed);
}

/* Of before anybody could stand still: one that a cut has stopped waits it out. */
static void test_older_snapshot(void **state)
{
    struct bed bed =
        bed_read(DOCS_DIR "/../tests/recorded/grid/snapshot-17.bin", 1000 * HOUR_MS + 600000);

    (void)state;
    bed_why(&bed, 3, "power_cut", "must draw less");
    assert_false(bed_view(&bed, 1).suspended);
    assert_false(grid_policy(bed.grid).defrags);
    bed_restart(&bed);
    assert_int_equal(bed_cancel(&bed, 5), 0);
    bed_tick(&bed, bed.now_ms + 3 * HOUR_MS + 1);
    assert_int_equal(bed_state(&bed, 3), JOB_STARTING);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stands_and_goes_on),    cmocka_unit_test(test_promise_behind),
        cmocka_unit_test(test_who_may_not),           cmocka_unit_test(test_stopped_instead),
        cmocka_unit_test(test_ends_meanwhile),        cmocka_unit_test(test_deeper),
        cmocka_unit_test(test_stands_for_hours),      cmocka_unit_test(test_deeper_spares_them),
        cmocka_unit_test(test_elsewhere_beside_many), cmocka_unit_test(test_older_snapshot),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
