/* A site must draw less: whose work goes on at another site, and whose goes on narrower. */
#include "base/rng.h"
#include "bed.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)

static const struct bed_node four[] = { { "n0", 16, 4, "fast" } };
static const struct bed_node nine[] = { { "n0", 16, 9, "fast" } };
static const struct bed_node one[] = { { "n0", 16, 1, "fast" } };

static struct event on_device(enum checkpoint_kind checkpoint)
{
    struct event event = bed_job(1);

    event.job_submitted.request.shape.devices_milli = 1000;
    event.job_submitted.request.checkpoint = checkpoint;
    return event;
}

/* 2 to 8 tasks of a device each; it grows when it has run for a minute. */
static struct event elastic(uint32_t step)
{
    struct event event = on_device(CHECKPOINT_ASKED);

    event.job_submitted.request.shape.tasks = 2;
    event.job_submitted.request.tasks_max = 8;
    event.job_submitted.request.tasks_step = step;
    event.job_submitted.request.resize_hold_ms = MINUTE_MS;
    return event;
}

/* Ten minutes ago. */
static uint64_t submit_run(struct bed *bed, struct event event)
{
    uint64_t id = bed_submit(bed, event);

    bed_pass(bed);
    bed_started(bed, id, 1);
    bed->now_ms += 10 * MINUTE_MS;
    return id;
}

static void tick(struct bed *bed, int64_t by_ms)
{
    bed_tick(bed, bed->now_ms + by_ms);
}

static void stopped(struct bed *bed, uint64_t id, uint32_t epoch)
{
    assert_int_equal(bed_state(bed, id), JOB_STOPPING);
    bed_ended(bed, id, epoch, OUTCOME_STOPPED, 0);
}

static void check_within_limit(struct bed *bed)
{
    struct power_view view;

    grid_power_get(bed->grid, 0, &view);
    assert_true(view.limit_mw >= 0);
    assert_true(view.draw_mw <= view.limit_mw);
}

/* --- to another site -------------------------------------------------------------------------- */

static void test_moves(void **state)
{
    struct bed bed = bed_create(four, 1);
    uint64_t id = submit_run(&bed, on_device(CHECKPOINT_ASKED));

    (void)state;
    bed_join(&bed, "there", one, 1);
    bed_shed(&bed, 100, 3 * HOUR_MS);
    bed_why(&bed, id, "stopping",
            "moves: site here must draw 100.0 % less for 180 min; it goes on "
            "at another site");
    bed_restart(&bed);
    stopped(&bed, id, 1);
    assert_int_equal(bed_state(&bed, id), JOB_QUEUED); /* not held for three hours */
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    assert_string_equal(bed_view(&bed, id).allocation.site, "there");
    bed_destroy(&bed);
}

/* By cost: it moves rather than stand for hours, and stands rather than move for a few minutes. */
static void test_moves_or_stands(void **state)
{
    struct bed bed = bed_create(NULL, 0);
    uint64_t id;

    (void)state;
    bed.suspends = true;
    bed_join(&bed, "here", four, 1);
    id = submit_run(&bed, on_device(CHECKPOINT_ASKED));
    submit_run(&bed, on_device(CHECKPOINT_NONE));
    bed_join(&bed, "there", four, 1);
    bed_shed(&bed, 40, 10 * MINUTE_MS);
    assert_int_equal(bed.suspends_heard, 1);
    assert_int_equal(bed.stops, 0);
    bed_shed(&bed, 0, 0);
    tick(&bed, 1);
    assert_int_equal(bed.resumes, 1);
    bed_shed(&bed, 40, 12 * HOUR_MS);
    bed_why(&bed, id, "stopping", "at another site");
    assert_int_equal(bed.stops, 1);
    bed_destroy(&bed);
}

/* Two, and room for one of them: the lower class has it. */
static void test_moves_into_one_room(void **state)
{
    struct bed bed = bed_create(four, 1);
    struct event low = on_device(CHECKPOINT_ASKED);
    uint64_t ids[2];

    (void)state;
    ids[0] = submit_run(&bed, on_device(CHECKPOINT_ASKED));
    low.job_submitted.request.job_class = CLASS_LOW;
    ids[1] = submit_run(&bed, low);
    bed_join(&bed, "there", one, 1);
    bed_shed(&bed, 100, 3 * HOUR_MS);
    bed_why(&bed, ids[0], "stopping", "goes on when there is power");
    bed_why(&bed, ids[1], "stopping", "at another site");
    bed_destroy(&bed);
}

static void test_moves_not(void **state)
{
    struct bed bed = bed_create(four, 1);
    struct event pinned = on_device(CHECKPOINT_ASKED), two_wide = pinned;
    uint64_t ids[3];

    (void)state;
    ids[0] = submit_run(&bed, on_device(CHECKPOINT_NONE)); /* it would begin anew */
    pinned.job_submitted.request.shape.places_count = 1;
    pinned.job_submitted.request.shape.places[0].kind = PLACE_SITE;
    snprintf(pinned.job_submitted.request.shape.places[0].name, MODEL_NAME_BYTES, "here");
    ids[1] = submit_run(&bed, pinned);
    two_wide.job_submitted.request.shape.tasks = 2;
    ids[2] = submit_run(&bed, two_wide); /* there is room for one task alone */
    bed_join(&bed, "there", one, 1);
    bed_shed(&bed, 100, 3 * HOUR_MS);
    for (uint32_t i = 0; i < 3; i++)
        bed_why(&bed, ids[i], "stopping", "stopped: site here must draw");
    stopped(&bed, ids[2], 1);
    assert_int_equal(bed_state(&bed, ids[2]), JOB_HELD);
    bed_destroy(&bed);
}

/* Somebody else has taken its room meanwhile: it waits for another like who was only stopped. */
static void test_room_is_taken(void **state)
{
    struct bed bed = bed_create(four, 1);
    uint64_t id = submit_run(&bed, on_device(CHECKPOINT_ASKED)), other;

    (void)state;
    bed_join(&bed, "there", one, 1);
    bed_shed(&bed, 100, 3 * HOUR_MS);
    bed_why(&bed, id, "stopping", "at another site");
    other = bed_submit(&bed, on_device(CHECKPOINT_NONE));
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, other), JOB_STARTING);
    stopped(&bed, id, 1);
    bed_why(&bed, id, "power_cut", "or when there is room elsewhere");
    bed_restart(&bed);
    bed_started(&bed, other, 1);
    bed_done(&bed, other);
    bed_pass(&bed);
    assert_string_equal(bed_view(&bed, id).allocation.site, "there");
    bed_destroy(&bed);
}

/* --- narrower --------------------------------------------------------------------------------- */

static void test_shrinks(void **state)
{
    struct bed bed = bed_create(nine, 1);
    uint64_t id = submit_run(&bed, elastic(1));

    (void)state;
    assert_int_equal(bed_width(&bed, id), 8);
    bed_shed(&bed, 25, 3 * HOUR_MS); /* no narrower than it must be */
    bed_why(&bed, id, "resizing", "shrinks from 8 to 6 tasks: site here must draw 25.0 % less");
    bed_restart(&bed);
    stopped(&bed, id, 1);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING); /* at once */
    assert_int_equal(bed_width(&bed, id), 6);
    check_within_limit(&bed);
    bed_started(&bed, id, 2);
    tick(&bed, 2 * HOUR_MS);
    assert_int_equal(bed_width(&bed, id), 6);
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    tick(&bed, HOUR_MS); /* the cut is over */
    bed_why(&bed, id, "resizing", "grows from 6 to 8 tasks");
    stopped(&bed, id, 2);
    assert_int_equal(bed_width(&bed, id), 8);
    bed_destroy(&bed);
}

static void test_shrinks_by_its_step(void **state)
{
    struct bed bed = bed_create(nine, 1);
    uint64_t id = submit_run(&bed, elastic(REQUEST_STEP_DOUBLE));

    (void)state;
    bed_shed(&bed, 25, HOUR_MS);
    bed_why(&bed, id, "resizing", "shrinks from 8 to 4 tasks");
    stopped(&bed, id, 1);
    assert_int_equal(bed_width(&bed, id), 4);
    check_within_limit(&bed);
    bed_destroy(&bed);
}

/* Never below its least: then all of it stops. */
static void test_shrinks_not(void **state)
{
    struct bed bed = bed_create(nine, 1);
    uint64_t id = submit_run(&bed, elastic(1));

    (void)state;
    bed_shed(&bed, 75, HOUR_MS);
    bed_why(&bed, id, "resizing", "shrinks from 8 to 2 tasks");
    stopped(&bed, id, 1);
    check_within_limit(&bed);
    bed_started(&bed, id, 2);
    bed_shed(&bed, 10, HOUR_MS);
    bed_why(&bed, id, "stopping", "stopped: site here must draw");
    stopped(&bed, id, 2);
    assert_int_equal(bed_state(&bed, id), JOB_HELD);
    bed_destroy(&bed);

    bed = bed_create(nine, 1);
    id = submit_run(&bed, elastic(1));
    bed_shed(&bed, 90, HOUR_MS); /* its least draws more than that */
    bed_why(&bed, id, "stopping", "stopped: site here must draw");
    bed_destroy(&bed);
}

/* What shrinks for one cut still counts with what it will draw, when the next one is reckoned. */
static void test_next_cut(void **state)
{
    struct bed bed = bed_create(nine, 1);
    struct event high = on_device(CHECKPOINT_ASKED);
    uint64_t wide, small;

    (void)state;
    wide = submit_run(&bed, elastic(1));
    high.job_submitted.request.job_class = CLASS_URGENT;
    small = submit_run(&bed, high);
    bed_shed(&bed, 33, HOUR_MS); /* of nine, six are left */
    bed_why(&bed, wide, "resizing", "shrinks from 8 to 5 tasks");
    assert_int_equal(bed_state(&bed, small), JOB_RUNNING);
    bed_shed(&bed, 40, HOUR_MS); /* five: the wide one still holds all */
    assert_int_equal(bed_state(&bed, small), JOB_STOPPING);
    stopped(&bed, small, 1);
    stopped(&bed, wide, 1);
    assert_int_equal(bed_width(&bed, wide), 5);
    check_within_limit(&bed);
    bed_destroy(&bed);
}

/* Others stop later than it: it has no power yet, waits for that alone, and starts with it. */
static void test_waits_for_others(void **state)
{
    struct bed bed = bed_create(nine, 1);
    uint64_t wide = submit_run(&bed, elastic(1)), small;
    struct event low = on_device(CHECKPOINT_ASKED);

    (void)state;
    low.job_submitted.request.job_class = CLASS_LOW;
    small = submit_run(&bed, low);
    bed_shed(&bed, 77, HOUR_MS); /* of nine, two are left */
    assert_int_equal(bed_state(&bed, small), JOB_STOPPING);
    bed_why(&bed, wide, "resizing", "shrinks from 8 to 2 tasks");
    stopped(&bed, wide, 1);
    assert_int_equal(bed_state(&bed, wide), JOB_QUEUED);
    bed_why(&bed, wide, "power", "no power");
    stopped(&bed, small, 1);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, wide), JOB_STARTING);
    assert_int_equal(bed_width(&bed, wide), 2);
    check_within_limit(&bed);
    bed_destroy(&bed);
}

/* --- whatever comes --------------------------------------------------------------------------- */

struct chaos {
    struct bed bed;
    struct rng rng;
    uint64_t ids[24];
    uint32_t count, moved, shrunk;
};

static void submit_some(struct chaos *chaos)
{
    struct event event = rng_below(&chaos->rng, 2)
                             ? elastic(rng_below(&chaos->rng, 2) ? 1 : REQUEST_STEP_DOUBLE)
                             : on_device((enum checkpoint_kind)rng_below(&chaos->rng, 3));

    if (chaos->count == 24)
        return;
    event.job_submitted.request.job_class = (enum job_class)rng_below(&chaos->rng, CLASS_COUNT);
    if (!event.job_submitted.request.tasks_max)
        event.job_submitted.request.shape.tasks = 1 + (uint32_t)rng_below(&chaos->rng, 3);
    chaos->ids[chaos->count++] = bed_submit(&chaos->bed, event);
}

/* The sites do as they were told, each of it or half of it, and say so. */
static void report(struct chaos *chaos, bool all)
{
    for (uint32_t i = 0; i < chaos->count; i++) {
        struct bed *bed = &chaos->bed;
        struct job_view view;

        if ((!all && rng_below(&chaos->rng, 2)) || !grid_find_job(bed->grid, chaos->ids[i], &view))
            continue;
        if (view.state == JOB_STARTING) {
            bed_started(bed, view.id, view.epoch);
        } else if (view.state == JOB_STOPPING) {
            chaos->moved += strncmp(view.reason, "moves: site here", 16) == 0;
            chaos->shrunk += strstr(view.reason, "tasks: site here") != NULL;
            bed_ended(bed, view.id, view.epoch, OUTCOME_STOPPED, 0);
        } else if (view.state == JOB_RUNNING && rng_below(&chaos->rng, 16) == 0) {
            bed_ended(bed, view.id, view.epoch, OUTCOME_EXITED, 0);
        }
    }
}

static void do_something(struct chaos *chaos)
{
    struct bed *bed = &chaos->bed;

    bed->runs = 0;
    bed->now_ms += (int64_t)rng_below(&chaos->rng, 10 * MINUTE_MS);
    switch (rng_below(&chaos->rng, 8)) {
    case 0:
    case 1:
        submit_some(chaos);
        break;
    case 2:
        bed_shed(bed, 1 + (uint32_t)rng_below(&chaos->rng, 100),
                 MINUTE_MS + (int64_t)rng_below(&chaos->rng, 4 * HOUR_MS));
        break;
    case 3:
        if (rng_below(&chaos->rng, 8) == 0)
            bed_restart(bed);
        break;
    case 4:
        tick(bed, 1);
        break;
    case 5:
        report(chaos, false);
        break;
    default:
        bed_pass(bed);
    }
}

/* Invariants hold after each event (bed_step); and when all has stopped that was told to, the cut
 * is met, whatever else has come meanwhile. */
static void test_at_random(void **state)
{
    uint32_t moved = 0, shrunk = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct chaos chaos = { .bed = bed_create(nine, 1), .rng = { seed } };
        struct power_view view;

        bed_join(&chaos.bed, "there", four, 1);
        for (uint32_t i = 0; i < 80; i++) {
            do_something(&chaos);
            if (i % 8 != 7)
                continue;
            report(&chaos, true);
            grid_power_get(chaos.bed.grid, 0, &view);
            if (view.limit_mw >= 0 && view.draw_mw > view.limit_mw)
                fail_msg("seed %u: draws %u mW", (unsigned)seed, (unsigned)view.draw_mw);
        }
        moved += chaos.moved;
        shrunk += chaos.shrunk;
        bed_destroy(&chaos.bed);
    }
    assert_true(moved > 20);
    assert_true(shrunk > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_moves_or_stands),
        cmocka_unit_test(test_moves_not),
        cmocka_unit_test(test_moves_into_one_room),
        cmocka_unit_test(test_room_is_taken),
        cmocka_unit_test(test_shrinks),
        cmocka_unit_test(test_shrinks_not),
        cmocka_unit_test(test_shrinks_by_its_step),
        cmocka_unit_test(test_at_random),
        cmocka_unit_test(test_next_cut),
        cmocka_unit_test(test_waits_for_others),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
