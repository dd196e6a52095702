/* What topology and expected fill do in the network: waits that say why, state that is kept. */
#include "bed.h"

static struct event gang(uint32_t tasks, uint32_t devices, uint32_t within, bool hard)
{
    struct event event = bed_job(1);
    struct request_shape *shape = &event.job_submitted.request.shape;

    shape->tasks = tasks;
    shape->devices_milli = devices * 1000;
    shape->within = within;
    shape->within_hard = hard;
    return event;
}

static uint64_t run(struct bed *bed, struct event event)
{
    uint64_t id = bed_submit(bed, event);

    bed_pass(bed);
    return id;
}

static void test_refused(void **state)
{
    struct bed bed = bed_create(NULL, 0);
    struct event event = gang(2, 1, TOPOLOGY_COUNT, false);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    assert_string_equal(err.field, "topology");
    event = (struct event){ .type = EVENT_POLICY_SET };
    event.policy_set.by = "op";
    event.policy_set.fills = 3;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    bed_destroy(&bed);
}

static void test_waits_for_a_rack(void **state)
{
    struct bed bed = bed_create(NULL, 0);
    uint64_t a, b, hard, soft;

    (void)state;
    bed_join_racks(&bed, 4, 2);
    a = run(&bed, gang(1, 4, TOPOLOGY_RACK, true));
    b = run(&bed, gang(2, 3, TOPOLOGY_RACK, true)); /* in the other: the first has one node left */
    assert_int_equal(bed_state(&bed, a), JOB_STARTING);
    assert_int_equal(bed_state(&bed, b), JOB_STARTING);
    bed_done(&bed, b);
    b = run(&bed, gang(1, 4, TOPOLOGY_ANY, false)); /* goes anywhere */
    bed_done(&bed, a);
    a = run(&bed, gang(1, 4, TOPOLOGY_ANY, false));
    hard = run(&bed, gang(3, 4, TOPOLOGY_RACK, true));
    bed_why(&bed, hard, "topology",
            "its 3 tasks must be in one rack (topology.hard); the most that one holds is 2 (here)");
    assert_int_equal(bed_cancel(&bed, hard), 0);
    bed_done(&bed, a);
    bed_done(&bed, b);
    a = run(&bed, gang(1, 4, TOPOLOGY_NODE, true));
    b = run(&bed, gang(2, 3, TOPOLOGY_RACK, true));
    bed_done(&bed, a); /* rack r0 is free, r1 has two devices */
    a = run(&bed, gang(1, 4, TOPOLOGY_ANY, false));
    hard = run(&bed, gang(2, 4, TOPOLOGY_RACK, true));
    assert_int_equal(bed_state(&bed, hard), JOB_QUEUED);
    bed_done(&bed, b);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, hard), JOB_STARTING);
    bed_done(&bed, hard);
    b = run(&bed, gang(1, 4, TOPOLOGY_ANY, false));
    soft = run(&bed, gang(2, 4, TOPOLOGY_RACK, false));
    assert_int_equal(bed_state(&bed, soft), JOB_STARTING);
    bed_destroy(&bed);
}

static void test_why_scattered(void **state)
{
    struct bed bed = bed_create(NULL, 0);
    uint64_t ids[4], hard;

    (void)state;
    bed_join_racks(&bed, 4, 2);
    for (uint32_t i = 0; i < 4; i++)
        ids[i] = run(&bed, gang(1, 4, TOPOLOGY_ANY, false));
    bed_done(&bed, ids[0]); /* one node of each rack comes free */
    bed_done(&bed, ids[2]);
    hard = run(&bed, gang(2, 4, TOPOLOGY_RACK, true));
    assert_int_equal(bed_state(&bed, hard), JOB_QUEUED);
    bed_why(
        &bed, hard, "topology",
        "its 2 tasks would fit at here now, but not in one rack: the one with most room takes 1");
    bed_done(&bed, ids[1]);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, hard), JOB_STARTING);
    bed_destroy(&bed);
}

static void set_fill(struct bed *bed, uint32_t reach)
{
    struct event event = { .type = EVENT_POLICY_SET };

    event.policy_set.preempts = 1;
    event.policy_set.by = "op";
    event.policy_set.fills = reach;
    bed_step(bed, &event);
}

static struct event share(uint32_t milli)
{
    struct event event = bed_job(1);

    event.job_submitted.request.shape.devices_milli = milli;
    return event;
}

/* What was learned is kept, and goes on alike; off, nothing of it stays. */
static void check_fill_is_kept(uint32_t reach)
{
    static const uint32_t asks[] = { 810, 190, 500, 1000, 2000, 300, 700, 250 };
    struct bed bed = bed_create(NULL, 0), copy;
    struct buf snapshot = buf_init(1 << 20);
    struct err err = { 0 };
    struct grid *none = NULL;

    bed_join_racks(&bed, 6, 0);
    assert_int_equal(grid_policy(bed.grid).fills, 0);
    set_fill(&bed, reach);
    assert_int_equal(grid_policy(bed.grid).fills, reach);
    for (uint32_t i = 0; i < 24; i++) {
        uint64_t id = run(&bed, share(asks[i * 5 % 8]));

        if (i % 3 == 0 && bed_state(&bed, id) == JOB_STARTING)
            bed_done(&bed, id);
    }
    assert_int_equal(grid_snapshot(bed.grid, &snapshot), 0);
    copy = bed;
    assert_int_equal(grid_restore(snapshot.data, snapshot.len, &copy.grid, &err), 0);
    bed_check_same(bed.grid, copy.grid);
    for (uint32_t i = 0; i < 24; i++) {
        uint64_t id = run(&bed, share(asks[i % 8])), same = run(&copy, share(asks[i % 8]));

        assert_int_equal(id, same);
        bed_check_same(bed.grid, copy.grid);
        if (i % 2 == 0 && bed_state(&bed, id) == JOB_STARTING) {
            bed_done(&bed, id);
            bed_done(&copy, id);
        }
    }
    for (size_t cut = 0; cut < snapshot.len; cut += 7)
        assert_true(grid_restore(snapshot.data, cut, &none, &err) < 0);
    set_fill(&bed, 3 - reach); /* what was learned goes on in the other */
    run(&bed, share(100));
    set_fill(&bed, 0);
    assert_int_equal(grid_policy(bed.grid).fills, 0);
    run(&bed, share(100));
    buf_fini(&snapshot);
    bed_destroy(&bed);
    bed_destroy(&copy);
}

/* As networks of old have it, that choose the nodes of one candidate alone, and now. */
static void test_fill_is_kept(void **state)
{
    (void)state;
    check_fill_is_kept(1);
    check_fill_is_kept(2);
}

/* A hole that it fills is better than a whole device of the faster kind, for who has not said that
 * it wants that one; a plan says so before. */
static void test_fill_over_sites(void **state)
{
    static const struct bed_node fast[] = { { "f", 8, 2, "fast" } };
    static const struct bed_node slow[] = { { "s", 8, 2, "slow" } };
    struct plan_candidate plan[PLAN_CANDIDATES_MAX];
    struct bed bed = bed_create(NULL, 0);
    struct event half = share(500), bound = share(500);
    uint32_t count;

    (void)state;
    bed_join(&bed, "east", fast, 1);
    bed_join(&bed, "west", slow, 1);
    set_fill(&bed, 2);
    for (uint32_t i = 0; i < 40; i++)
        bed_done(&bed, run(&bed, share(1000)));
    bound.job_submitted.request.shape.chips_count = 1;
    snprintf(bound.job_submitted.request.shape.chips[0], MODEL_NAME_BYTES, "slow");
    run(&bed, bound);
    assert_int_equal(
        grid_plan(bed.grid, &half.job_submitted.request, "alice", bed.now_ms, plan, &count, NULL),
        0);
    assert_int_equal(count, 2);
    assert_string_equal(plan[0].site, "west");
    assert_true(plan[0].fits_now && plan[1].fits_now);
    bed_done(&bed, run(&bed, half));
    assert_string_equal(bed.row_site, "west");
    bound = share(500);
    bound.job_submitted.request.shape.chips_count = 1;
    snprintf(bound.job_submitted.request.shape.chips[0], MODEL_NAME_BYTES, "fast");
    bed_done(&bed, run(&bed, bound));
    assert_string_equal(bed.row_site, "east");
    set_fill(&bed, 1); /* as it was decided of old */
    bed_done(&bed, run(&bed, half));
    assert_string_equal(bed.row_site, "east");
    bed_destroy(&bed);
}

/* Turned off and on it has other streams under the same numbers: nothing found by the old ones
 * counts. Of 500s alone a whole device loses half by one of them, of 1000s all. */
static void test_fill_begins_anew(void **state)
{
    static const struct bed_node small[] = { { "n", 1, 1, "fast" } };
    static const struct bed_node fast[] = { { "f", 8, 1, "fast" } };
    static const struct bed_node slow[] = { { "s", 8, 1, "slow" } };
    struct bed bed = bed_create(NULL, 0);
    uint64_t first;

    (void)state;
    bed_join(&bed, "north", small, 1);
    bed_join(&bed, "east", fast, 1);
    bed_join(&bed, "west", slow, 1);
    set_fill(&bed, 2);
    first = run(&bed, share(500)); /* at the first of three alike, whose CPU it takes; it stays */
    set_fill(&bed, 0);
    set_fill(&bed, 2);
    bed_done(&bed, run(&bed, share(1000)));
    assert_string_equal(bed.row_site, "east");
    bed_done(&bed, run(&bed, share(500)));
    assert_string_equal(bed.row_site, "east");
    bed_done(&bed, first);
    assert_string_equal(bed.row_site, "north");
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_waits_for_a_rack),
        cmocka_unit_test(test_why_scattered),   cmocka_unit_test(test_fill_is_kept),
        cmocka_unit_test(test_fill_over_sites), cmocka_unit_test(test_fill_begins_anew),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
