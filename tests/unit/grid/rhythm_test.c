/* How often a job should save: what it asked, what is learned of saves and of faults. */
#include "bed.h"
#include "sched/spares.h"

#define MINUTE_MS INT64_C(60000)

static const struct bed_node one[] = { { "n1", 8, 0, NULL } };

static struct event saves(int64_t rpo_ms)
{
    struct event event = bed_job(1);

    event.job_submitted.request.checkpoint = CHECKPOINT_ASKED;
    event.job_submitted.request.rpo_ms = rpo_ms;
    return event;
}

static int64_t every_ms(struct bed *bed, uint64_t id)
{
    struct job_view view;

    view = bed_view(bed, id);
    return view.checkpoint_every_ms;
}

static uint64_t start(struct bed *bed, int64_t rpo_ms)
{
    uint64_t id = bed_submit(bed, saves(rpo_ms));

    bed_pass(bed);
    return id;
}

static void progress(struct bed *bed, uint64_t id, uint32_t epoch, int64_t stall_ms)
{
    struct event event = { .type = EVENT_ATTEMPT_PROGRESS };

    event.attempt_progress.job_id = id;
    event.attempt_progress.epoch = epoch;
    event.attempt_progress.stall_ms = stall_ms;
    bed_step(bed, &event);
}

static void test_refused(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct event event = saves(-1);

    (void)state;
    assert_int_equal(bed_try(&bed, &event, NULL, NULL), -EINVAL);
    event = saves(MINUTE_MS);
    event.job_submitted.request.checkpoint = CHECKPOINT_NONE;
    assert_int_equal(bed_try(&bed, &event, NULL, NULL), -EINVAL);
    bed_destroy(&bed);
}

static void test_asked(void **state)
{
    const struct spares_params params = spares_params_default();
    struct bed bed = bed_create(one, 1);
    uint64_t none = start(&bed, 0), hour = start(&bed, 60 * MINUTE_MS);
    uint64_t minute = start(&bed, MINUTE_MS), year = start(&bed, 365 * 24 * 60 * MINUTE_MS);
    const struct spares_nodes unseen = { 0 };
    const struct spares_work unmeasured = { 0 };

    (void)state;
    assert_int_equal(every_ms(&bed, none), 0);
    assert_int_equal(every_ms(&bed, minute), MINUTE_MS);
    /* Who asks for little gets what is best at the rate that is assumed at first. */
    assert_int_equal(every_ms(&bed, year),
                     spares_plan_gang(&params, &unseen, &unmeasured, 1).interval_ms);
    assert_true(every_ms(&bed, hour) <= 60 * MINUTE_MS);
    bed_destroy(&bed);
}

/* Saves that take long are asked for more seldom, but a save and the work before it fit the rpo. */
static void test_learned(void **state)
{
    struct bed bed = bed_create(one, 1);
    const int64_t year_ms = 365 * 24 * 60 * MINUTE_MS;
    uint64_t slow = start(&bed, year_ms), bound = start(&bed, 10 * MINUTE_MS);
    int64_t before = every_ms(&bed, slow);

    (void)state;
    bed_started(&bed, slow, 1);
    bed_started(&bed, bound, 1);
    for (int i = 0; i < 20; i++) {
        progress(&bed, slow, 1, 5 * MINUTE_MS);
        progress(&bed, bound, 1, 2 * MINUTE_MS);
    }
    assert_int_equal(every_ms(&bed, slow), before); /* what it was told holds */
    bed_ended(&bed, slow, 1, OUTCOME_LOST, 0);
    bed_ended(&bed, bound, 1, OUTCOME_LOST, 0);
    bed_pass(&bed);
    assert_true(every_ms(&bed, slow) > before);
    assert_int_equal(every_ms(&bed, bound), 8 * MINUTE_MS);
    bed_destroy(&bed);
}

/* Where nodes fail often, jobs save often. */
static void test_faults(void **state)
{
    struct bed bed = bed_create(one, 1);
    const int64_t year_ms = 365 * 24 * 60 * MINUTE_MS;
    uint64_t id = start(&bed, year_ms);
    int64_t before = every_ms(&bed, id);

    (void)state;
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        bed_started(&bed, id, epoch);
        bed.now_ms += 60 * MINUTE_MS;
        bed_ended(&bed, id, epoch, OUTCOME_LOST, 0);
        bed_pass(&bed);
        assert_true(every_ms(&bed, id) < before);
        before = every_ms(&bed, id);
    }
    bed_destroy(&bed);
}

static void test_snapshot(void **state)
{
    struct bed bed = bed_create(one, 1), copy;
    struct buf snapshot = buf_init(1 << 20);
    struct err err = { 0 };
    uint64_t id = start(&bed, 30 * MINUTE_MS), next;

    (void)state;
    bed_started(&bed, id, 1);
    progress(&bed, id, 1, 4 * MINUTE_MS);
    bed_ended(&bed, id, 1, OUTCOME_LOST, 0);
    bed_pass(&bed);
    assert_int_equal(grid_snapshot(bed.grid, &snapshot), 0);
    copy = bed;
    assert_int_equal(grid_restore(snapshot.data, snapshot.len, &copy.grid, &err), 0);
    bed_check_same(bed.grid, copy.grid);
    assert_int_equal(every_ms(&copy, id), 26 * MINUTE_MS);
    next = start(&bed, 365 * 24 * 60 * MINUTE_MS);
    assert_int_equal(start(&copy, 365 * 24 * 60 * MINUTE_MS), next);
    assert_int_equal(every_ms(&bed, next), every_ms(&copy, next));
    bed_check_same(bed.grid, copy.grid);
    buf_fini(&snapshot);
    bed_destroy(&copy);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_asked),
        cmocka_unit_test(test_learned),  cmocka_unit_test(test_faults),
        cmocka_unit_test(test_snapshot),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
