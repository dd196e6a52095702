/* Work that is moved so that a gang finds room that is together; the settings of the policy. */
#include "bed.h"

#define MINUTE_MS 60000LL
#define HOUR_MS (60 * MINUTE_MS)
#define NODES 4u /* two a rack */

static int set_policy(struct bed *bed, uint32_t reservations, uint32_t defrags)
{
    struct event event = { .type = EVENT_POLICY_SET };
    struct err err = { 0 };

    event.policy_set.preempts = 1;
    event.policy_set.by = "op";
    event.policy_set.reservations = reservations;
    event.policy_set.defrags = defrags;
    return bed_try(bed, &event, NULL, &err);
}

static struct event gang(uint32_t tasks, uint32_t devices, int64_t limit_ms)
{
    struct event event = bed_job(1);

    event.job_submitted.request.shape.tasks = tasks;
    event.job_submitted.request.shape.devices_milli = devices * 1000;
    event.job_submitted.request.duration_ms_max = limit_ms;
    event.job_submitted.request.checkpoint = CHECKPOINT_ASKED;
    return event;
}

struct scattered { /* on each node two devices are held and two are free */
    struct bed bed;
    uint64_t held[NODES];
    uint64_t wants; /* a whole node */
};

static struct scattered scattered_create(uint32_t defrags, uint16_t checkpoint)
{
    struct scattered scattered = { .bed = { .grid = grid_create(), .now_ms = 1000 * HOUR_MS } };
    struct bed *bed = &scattered.bed;
    uint64_t others[NODES];

    bed_join_racks(bed, NODES, 2);
    assert_int_equal(set_policy(bed, 0, defrags), 0);
    for (uint32_t i = 0; i < NODES; i++) { /* packed: two to a node, in this order */
        struct event job = gang(1, 2, 10 * HOUR_MS);

        job.job_submitted.request.checkpoint = checkpoint;
        scattered.held[i] = bed_submit(bed, job);
        others[i] = bed_submit(bed, gang(1, 2, 10 * HOUR_MS));
        bed_pass(bed);
        bed_started(bed, scattered.held[i], 1);
        bed_started(bed, others[i], 1);
    }
    bed->now_ms += 5 * MINUTE_MS;
    for (uint32_t i = 0; i < NODES; i++)
        bed_done(bed, others[i]);
    scattered.wants = bed_submit(bed, gang(1, 4, HOUR_MS));
    bed_pass(bed);
    assert_int_equal(bed_state(bed, scattered.wants), JOB_QUEUED);
    return scattered;
}

static void pass_at(struct bed *bed, int64_t later_ms)
{
    struct event event = { .type = EVENT_TICK };

    bed->now_ms += later_ms;
    bed_step(bed, &event);
    bed_pass(bed);
}

static void test_moved(void **state)
{
    struct scattered at = scattered_create(1, CHECKPOINT_ASKED);
    struct bed *bed = &at.bed;
    uint64_t moved = 0;
    struct job_view view;

    (void)state;
    pass_at(bed, MINUTE_MS);
    assert_int_equal(bed->stops, 0); /* it has not waited for long */
    bed_restart(bed);
    pass_at(bed, 2 * MINUTE_MS);
    assert_int_equal(bed->stops, 1); /* one is enough */
    for (uint32_t i = 0; i < NODES; i++)
        if (bed_state(bed, at.held[i]) == JOB_STOPPING)
            moved = at.held[i];
    bed_why(bed, moved, "moving", "finds room that is together");
    view = bed_view(bed, at.wants);
    assert_true(view.promised_start_ms && view.promised_start_ms <= bed->now_ms + 2 * MINUTE_MS);
    bed_restart(bed);
    pass_at(bed, 2 * MINUTE_MS);
    assert_int_equal(bed->stops, 1); /* not another for the same */
    bed_ended(bed, moved, 1, OUTCOME_STOPPED, 0);
    view = bed_view(bed, moved);
    assert_int_equal(view.outcome, OUTCOME_DEFRAG);
    assert_int_equal(view.attempts_failed + view.attempts_lost, 0);
    bed_pass(bed);
    assert_int_equal(bed_state(bed, at.wants), JOB_STARTING);
    assert_int_equal(bed_state(bed, moved), JOB_STARTING);
    bed_restart(bed);
    bed_destroy(bed);
}

static void test_not_moved(void **state)
{
    struct scattered at = scattered_create(0, CHECKPOINT_ASKED); /* off */

    (void)state;
    pass_at(&at.bed, 10 * MINUTE_MS);
    assert_int_equal(at.bed.stops, 0);
    bed_destroy(&at.bed);
    at = scattered_create(1, CHECKPOINT_NONE); /* it would begin anew */
    pass_at(&at.bed, 10 * MINUTE_MS);
    assert_int_equal(at.bed.stops, 0);
    bed_destroy(&at.bed);
    at = scattered_create(1, CHECKPOINT_ASKED); /* no room for two that would have to go */
    bed_submit(&at.bed, gang(1, 2, 10 * HOUR_MS));
    bed_submit(&at.bed, gang(1, 2, 10 * HOUR_MS));
    bed_submit(&at.bed, gang(1, 2, 10 * HOUR_MS));
    bed_submit(&at.bed, gang(1, 2, 10 * HOUR_MS));
    bed_pass(&at.bed);
    pass_at(&at.bed, 10 * MINUTE_MS);
    assert_int_equal(at.bed.stops, 0);
    bed_destroy(&at.bed);
}

/* Who is stopped where a site has a queue of its own would stand at the end of that. */
static void test_not_into_a_queue(void **state)
{
    struct scattered at = scattered_create(1, CHECKPOINT_ASKED);
    const struct freight_wait wait = { .has_devices = 1, .nodes_max = 1, .wait_ms = MINUTE_MS };
    struct event event = { .type = EVENT_SITE_QUEUE };

    (void)state;
    event.site_queue = (struct event_site_queue){ "here", 1, &wait };
    bed_step(&at.bed, &event);
    pass_at(&at.bed, 10 * MINUTE_MS);
    assert_int_equal(at.bed.stops, 0);
    bed_destroy(&at.bed);
}

/* What a stop costs is more than what is gained: nothing is saved for long, and the wait is short.
 */
static void test_not_worth_it(void **state)
{
    struct scattered at = scattered_create(1, CHECKPOINT_OWN);

    (void)state;
    pass_at(&at.bed, 9 * HOUR_MS); /* nine hours of two devices, for one hour of four */
    assert_int_equal(at.bed.stops, 0);
    bed_destroy(&at.bed);
}

static void test_rack(void **state)
{
    struct scattered at = scattered_create(1, CHECKPOINT_ASKED);
    struct event wide = gang(6, 1, HOUR_MS); /* a rack has room for four beside those that run */
    uint64_t rack;

    (void)state;
    assert_int_equal(bed_cancel(&at.bed, at.wants), 0);
    wide.job_submitted.request.shape.within = TOPOLOGY_RACK;
    wide.job_submitted.request.shape.within_hard = 1;
    rack = bed_submit(&at.bed, wide);
    bed_pass(&at.bed);
    assert_int_equal(bed_state(&at.bed, rack), JOB_QUEUED);
    pass_at(&at.bed, 3 * MINUTE_MS);
    assert_int_equal(at.bed.stops, 1);
    for (uint32_t i = 0; i < NODES; i++)
        if (bed_state(&at.bed, at.held[i]) == JOB_STOPPING)
            bed_ended(&at.bed, at.held[i], 1, OUTCOME_STOPPED, 0);
    bed_pass(&at.bed);
    assert_int_equal(bed_state(&at.bed, rack), JOB_STARTING);
    for (uint32_t i = 0; i < NODES; i++)
        assert_int_not_equal(bed_state(&at.bed, at.held[i]), JOB_QUEUED);
    bed_destroy(&at.bed);
}

static void test_reservations(void **state)
{
    struct scattered at = scattered_create(0, CHECKPOINT_ASKED);
    struct bed *bed = &at.bed;
    uint64_t second;
    struct job_view view;

    (void)state;
    assert_int_equal(grid_policy(bed->grid).reservations, GRID_RESERVATIONS);
    assert_int_equal(set_policy(bed, GRID_RESERVATIONS_MAX + 1, 0), -EINVAL);
    assert_int_equal(set_policy(bed, 1, 2), -EINVAL);
    assert_int_equal(set_policy(bed, 1, 0), 0);
    assert_int_equal(grid_policy(bed->grid).reservations, 1);
    bed_restart(bed);
    assert_int_equal(grid_policy(bed->grid).reservations, 1);
    second = bed_submit(bed, gang(2, 4, HOUR_MS));
    bed_pass(bed);
    view = bed_view(bed, at.wants);
    assert_true(view.promised_start_ms);
    view = bed_view(bed, second);
    assert_false(view.promised_start_ms); /* only the first is */
    assert_int_equal(set_policy(bed, 2, 0), 0);
    bed_pass(bed);
    view = bed_view(bed, second);
    assert_true(view.promised_start_ms);
    assert_int_equal(set_policy(bed, 0, 0), 0); /* an older record: as it was */
    assert_int_equal(grid_policy(bed->grid).reservations, 2);
    bed_destroy(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moved),        cmocka_unit_test(test_not_moved),
        cmocka_unit_test(test_not_worth_it), cmocka_unit_test(test_rack),
        cmocka_unit_test(test_reservations), cmocka_unit_test(test_not_into_a_queue),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
