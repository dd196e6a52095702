/* Gangs whose tasks may be on several kinds of chip. */
#include "base/cleanup.h"
#include "bed.h"

#define MINUTE 60000

static const struct bed_node two_kinds[] = { { "n1", 8, 2, "fast" }, { "n2", 8, 2, "slow" } };

static struct event gang(uint32_t tasks, uint32_t devices, uint32_t mixed)
{
    struct event event = bed_job(1);

    event.job_submitted.request.shape.tasks = tasks;
    event.job_submitted.request.shape.devices_milli = devices * 1000;
    event.job_submitted.request.shape.mixed = mixed;
    return event;
}

/* The shares of all its tasks, in the order of their ranks. */
static void check_shares(struct bed *bed, uint64_t id, const uint32_t *expected, uint32_t count)
{
    struct job_view view;
    uint32_t at = 0;

    view = bed_view(bed, id);
    for (uint32_t p = 0; p < view.allocation.parts_count; p++)
        for (uint32_t t = 0; t < view.allocation.parts[p].shares_count; t++, at++) {
            assert_true(at < count);
            assert_int_equal(view.allocation.parts[p].shares_ppm[t], expected[at]);
        }
    assert_int_equal(at, count);
}

static void test_refusals(void **state)
{
    struct bed bed = bed_create(two_kinds, 2);
    struct event alone = gang(1, 1, 1), none = gang(4, 0, 1), odd = gang(4, 1, 2);
    struct event share = gang(4, 0, 1);
    struct err err = { 0 };

    (void)state;
    share.job_submitted.request.shape.devices_milli = 500;
    assert_int_equal(bed_try(&bed, &alone, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "mixed: expected several tasks, each with whole devices"));
    assert_int_equal(bed_try(&bed, &none, NULL, &err), -EINVAL);
    assert_int_equal(bed_try(&bed, &share, NULL, &err), -EINVAL);
    assert_int_equal(bed_try(&bed, &odd, NULL, &err), -EINVAL);
    bed_destroy(&bed);
}

/* Four on two kinds of two each; the fast one, nine times as fast, does nine times as much. */
static void test_on_both(void **state)
{
    static const uint32_t shares[] = { 450000, 450000, 50000, 50000 };
    struct bed bed = bed_create(two_kinds, 2);
    struct event only = gang(4, 1, 1);
    uint64_t plain, mixed, fast;
    struct job_view view;

    (void)state;
    plain = bed_submit(&bed, gang(4, 1, 0));
    strcpy(only.job_submitted.request.shape.chips[0], "fast");
    only.job_submitted.request.shape.chips_count = 1;
    fast = bed_submit(&bed, only);
    mixed = bed_submit(&bed, gang(4, 1, 1));
    bed_pass(&bed);
    bed_why(&bed, plain, "tasks", "on one kind of chip");
    bed_why(&bed, fast, "tasks", "the most that fit is 2");
    assert_int_equal(bed_state(&bed, mixed), JOB_STARTING);
    check_shares(&bed, mixed, shares, 4);
    bed_restart(&bed);
    check_shares(&bed, mixed, shares, 4);
    view = bed_view(&bed, mixed);
    assert_int_equal(view.request->shape.mixed, 1);
    bed_done(&bed, mixed);
    bed_destroy(&bed);
}

/* Of one kind where there is room: it is told its shares all the same. */
static void test_one_kind_first(void **state)
{
    static const uint32_t halves[] = { 500000, 500000 }, uneven[] = { 900000, 100000 };
    struct bed bed = bed_create(two_kinds, 2);
    struct job_view view;
    uint64_t first, second, third;

    (void)state;
    first = bed_submit(&bed, gang(2, 1, 1));
    bed_pass(&bed);
    view = bed_view(&bed, first);
    assert_int_equal(view.allocation.parts_count, 1);
    assert_int_equal(view.allocation.parts[0].node, 0);
    check_shares(&bed, first, halves, 2);
    bed_done(&bed, first);
    for (uint32_t i = 0; i < 2; i++) { /* one device of each kind is taken */
        struct event event = gang(1, 1, 0);

        strcpy(event.job_submitted.request.shape.chips[0], i ? "slow" : "fast");
        event.job_submitted.request.shape.chips_count = 1;
        bed_submit(&bed, event);
    }
    second = bed_submit(&bed, gang(2, 1, 1));
    third = bed_submit(&bed, gang(2, 1, 0));
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, second), JOB_STARTING);
    assert_int_equal(bed_state(&bed, third), JOB_QUEUED);
    check_shares(&bed, second, uneven, 2);
    bed_destroy(&bed);
}

/* What the work says of its pace goes before the catalogue; nothing is learned of a mixed run. */
static void test_by_the_work(void **state)
{
    static const uint32_t shares[] = { 375000, 375000, 125000, 125000 };
    struct bed bed = bed_create(two_kinds, 2);
    struct event event = gang(4, 1, 1);
    struct request_work *work = &event.job_submitted.request.work;
    struct rate_view view;
    uint64_t id;

    (void)state;
    strcpy(work->class, "train");
    work->units_milli = 1000;
    work->paces_count = 2;
    strcpy(work->paces[0].chip, "fast");
    work->paces[0].seconds_milli = 1000;
    strcpy(work->paces[1].chip, "slow");
    work->paces[1].seconds_milli = 3000;
    id = bed_submit(&bed, event);
    bed_pass(&bed);
    check_shares(&bed, id, shares, 4);
    bed_started(&bed, id, 1);
    bed.now_ms += MINUTE;
    bed_done(&bed, id);
    for (uint32_t i = 0; grid_rate_entry(bed.grid, i, &view); i++)
        assert_int_equal(view.runs, 0);
    bed_destroy(&bed);
}

/* Tasks of several devices are on one kind each. */
static void test_wide_tasks(void **state)
{
    static const uint32_t shares[] = { 900000, 100000 };
    struct bed bed = bed_create(two_kinds, 2);
    uint64_t id = bed_submit(&bed, gang(2, 2, 1));
    struct job_view view;

    (void)state;
    bed_pass(&bed);
    view = bed_view(&bed, id);
    assert_int_equal(view.allocation.parts_count, 2);
    assert_int_equal(view.allocation.parts[0].devices_count, 2);
    check_shares(&bed, id, shares, 2);
    bed_destroy(&bed);
}

/* It waits like any other, and is promised a start. */
static void test_promised(void **state)
{
    struct bed bed = bed_create(two_kinds, 2);
    struct event hold = gang(1, 1, 0);
    struct why why;
    uint64_t first, id;

    (void)state;
    hold.job_submitted.request.duration_ms_max = 10 * MINUTE;
    first = bed_submit(&bed, hold);
    bed_pass(&bed);
    id = bed_submit(&bed, gang(4, 1, 1));
    bed_pass(&bed);
    assert_int_equal(grid_why(bed.grid, id, &why), 0);
    assert_true(why.start_estimate_ms > bed.now_ms);
    bed_why(&bed, id, "busy", "1 of 4 devices at here are busy");
    bed_restart(&bed);
    bed_submit(&bed, gang(1, 1, 0)); /* without a limit: it would be in the way */
    bed_pass(&bed);
    bed_done(&bed, first);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_destroy(&bed);
}

/* A site that says so has no place for it. */
static void test_site_of_one_kind(void **state)
{
    struct event event = { .type = EVENT_SITE_JOINED };
    struct bed bed = bed_create(two_kinds, 2);
    struct node_info nodes[2] = { 0 };
    struct node_view view;
    uint64_t id;

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(grid_node_get(bed.grid, 0, i, &view));
        nodes[i] = *view.info;
    }
    event.site_joined.site = *grid_site_get(bed.grid, 0, &(bool){ false });
    event.site_joined.site.nodes = nodes;
    event.site_joined.site.one_kind = true;
    bed_step(&bed, &event);
    id = bed_submit(&bed, gang(4, 1, 1));
    bed_pass(&bed);
    bed_why(&bed, id, "tasks", "the most that fit is 2");
    bed_restart(&bed);
    bed_why(&bed, id, "tasks", "the most that fit is 2");
    bed_destroy(&bed);
}

static void test_plan(void **state)
{
    struct plan_candidate candidates[PLAN_CANDIDATES_MAX];
    struct bed bed = bed_create(two_kinds, 2);
    struct event event = gang(4, 1, 1);
    uint32_t count = 0;

    (void)state;
    assert_int_equal(grid_plan(bed.grid, &event.job_submitted.request, "alice", bed.now_ms,
                               candidates, &count, NULL),
                     0);
    assert_int_equal(count, 1);
    assert_string_equal(candidates[0].chip, "mixed");
    assert_true(candidates[0].fits_now);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),         cmocka_unit_test(test_on_both),
        cmocka_unit_test(test_one_kind_first),   cmocka_unit_test(test_by_the_work),
        cmocka_unit_test(test_wide_tasks),       cmocka_unit_test(test_promised),
        cmocka_unit_test(test_site_of_one_kind), cmocka_unit_test(test_plan),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
