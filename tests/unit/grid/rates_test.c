/* What is known of jobs' work decides where they go: declared, learned, a tenant's own. */
#include "bed.h"

static const struct bed_node both[] = { { "f", 8, 4, "fast" }, { "s", 8, 4, "slow" } };

static struct event work_job(const char *class, double units)
{
    struct event event = bed_job(1);
    struct request_work *work = &event.job_submitted.request.work;

    event.job_submitted.request.shape.devices_milli = 1000;
    snprintf(work->class, sizeof(work->class), "%s", class);
    work->units_milli = (int64_t)(units * 1000);
    return event;
}

static void add_pace(struct event *event, const char *chip, double seconds)
{
    struct request_work *work = &event->job_submitted.request.work;
    struct request_pace *pace = &work->paces[work->paces_count++];

    snprintf(pace->chip, sizeof(pace->chip), "%s", chip);
    pace->seconds_milli = (int64_t)(seconds * 1000);
}

static const char *node_of(struct bed *bed, uint64_t id)
{
    struct job_view view;

    view = bed_view(bed, id);
    if (!view.allocation.parts_count)
        return "";
    return view.allocation.parts[0].node == 0 ? "f" : "s";
}

static uint64_t run(struct bed *bed, struct event event)
{
    uint64_t id = bed_submit(bed, event);

    bed_pass(bed);
    return id;
}

static void finish(struct bed *bed, uint64_t id, int64_t seconds)
{
    bed_started(bed, id, 1);
    bed->now_ms += seconds * 1000;
    bed_done(bed, id);
}

static void test_refused(void **state)
{
    struct bed bed = bed_create(both, 2);
    struct event event = work_job("", 3);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "expected class"));
    event = work_job("w", -1);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = work_job("w", 1);
    event.job_submitted.request.work.metric = METRIC_COUNT;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = work_job("w", 1);
    add_pace(&event, "fast", 0);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = work_job("w", 1);
    event.job_submitted.request.work.paces_count = REQUEST_CHIPS_MAX + 1;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    memset(event.job_submitted.request.work.class, 'x', MODEL_NAME_BYTES);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    bed_destroy(&bed);
}

static void test_learned_overrules(void **state)
{
    struct bed bed = bed_create(both, 2);
    struct rate_view rate;
    struct event event = work_job("w", 10);
    struct why why;
    uint64_t id = run(&bed, event);

    (void)state;
    assert_string_equal(node_of(&bed, id), "f"); /* nothing is known: the catalogue */
    add_pace(&event, "slow", 2);
    add_pace(&event, "fast", 10);
    id = run(&bed, event);
    assert_string_equal(node_of(&bed, id), "s"); /* as declared */
    assert_int_equal(grid_why(bed.grid, id, &why), 0);
    assert_non_null(strstr(why.rate, "2 s a unit (declared, spread 30 %) on slow"));
    finish(&bed, id, 500); /* 50 s a unit, in truth */
    event = work_job("w", 10);
    id = run(&bed, event);
    assert_string_equal(node_of(&bed, id), "f");
    assert_true(grid_rate_entry(bed.grid, 1, &rate));
    assert_string_equal(rate.class, "w");
    assert_string_equal(rate.tenant, "alice");
    assert_string_equal(rate.chip, "slow");
    assert_string_equal(rate.source, "learned");
    assert_true(rate.seconds > 20 && rate.seconds < 50);
    assert_true(rate.declared_seconds == 2);
    assert_int_equal(rate.runs, 1);
    bed_destroy(&bed);
}

static void test_only_its_tenant(void **state)
{
    struct bed bed = bed_create(both, 2);
    struct event event = work_job("w", 10);
    uint64_t id;

    (void)state;
    add_pace(&event, "slow", 1);
    add_pace(&event, "fast", 100);
    id = run(&bed, event);
    assert_string_equal(node_of(&bed, id), "s");
    event = work_job("w", 10);
    event.job_submitted.tenant = "bob";
    id = run(&bed, event);
    assert_string_equal(node_of(&bed, id), "f");
    event.job_submitted.tenant = "alice";
    id = run(&bed, event);
    assert_string_equal(node_of(&bed, id), "s");
    bed_destroy(&bed);
}

/* What teaches nothing: failures, cancels, jobs that do not say how much they do. */
static void test_not_learned(void **state)
{
    struct bed bed = bed_create(both, 2);
    struct rate_view rate;
    uint64_t id = run(&bed, work_job("w", 10));

    (void)state;
    bed_started(&bed, id, 1);
    bed.now_ms += 1000;
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 1);
    id = run(&bed, work_job("w", 0));
    finish(&bed, id, 5);
    id = run(&bed, work_job("w", 10));
    bed_started(&bed, id, 1);
    bed.now_ms += 1000;
    assert_int_equal(bed_cancel(&bed, id), 0);
    bed_done(&bed, id);
    assert_false(grid_rate_entry(bed.grid, 0, &rate));
    id = run(&bed, work_job("w", 10));
    finish(&bed, id, 5);
    assert_true(grid_rate_entry(bed.grid, 0, &rate));
    assert_true(rate.seconds > 0.49 && rate.seconds < 0.51);
    bed_destroy(&bed);
}

/* Per unit, not per hour: what is dearer by the hour may be the cheapest by the unit. */
static void test_objectives(void **state)
{
    struct bed bed = bed_create(both, 2);
    struct event event = work_job("a", 1);
    uint64_t id;

    (void)state;
    event.job_submitted.request.objective = OBJECTIVE_CHEAPEST;
    id = run(&bed, event);
    assert_string_equal(node_of(&bed, id), "s"); /* by the hour */
    event = work_job("b", 1);
    event.job_submitted.request.objective = OBJECTIVE_CHEAPEST;
    add_pace(&event, "slow", 20);
    add_pace(&event, "fast", 10);
    id = run(&bed, event);
    assert_string_equal(node_of(&bed, id), "f"); /* devices cost most, power little */
    event = work_job("c", 1);
    event.job_submitted.request.objective = OBJECTIVE_GREENEST;
    add_pace(&event, "slow", 20);
    add_pace(&event, "fast", 10);
    id = run(&bed, event);
    assert_string_equal(node_of(&bed, id), "s"); /* 100 W for 20 s, not 700 W for 10 s */
    bed_destroy(&bed);
}

static void test_plan(void **state)
{
    struct bed bed = bed_create(both, 2);
    struct plan_candidate list[PLAN_CANDIDATES_MAX];
    struct buf before = buf_init(1 << 20), after = buf_init(1 << 20);
    struct event event = work_job("w", 10);
    uint32_t count;

    (void)state;
    bed_submit(&bed, work_job("other", 1));
    grid_snapshot(bed.grid, &before);
    add_pace(&event, "slow", 1.5);
    assert_int_equal(
        grid_plan(bed.grid, &event.job_submitted.request, "alice", bed.now_ms, list, &count, NULL),
        0);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].chip, "slow"); /* one whose pace is known, before one that is not */
    assert_true(list[0].unit_seconds > 1.49 && list[0].unit_seconds < 1.51);
    assert_string_equal(list[0].rate_source, "declared");
    assert_true(list[1].unit_seconds == 0);
    grid_snapshot(bed.grid, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    event = work_job("w", 10); /* and nothing of it stays */
    assert_int_equal(
        grid_plan(bed.grid, &event.job_submitted.request, "alice", bed.now_ms, list, &count, NULL),
        0);
    assert_string_equal(list[0].chip, "fast");
    buf_fini(&before);
    buf_fini(&after);
    bed_destroy(&bed);
}

static void test_snapshot(void **state)
{
    static const struct bed_node more[] = { { "m", 8, 4, "slow" } };
    struct bed bed = bed_create(both, 2), copy;
    struct buf snapshot = buf_init(1 << 20);
    struct event event = work_job("w", 10);
    struct rate_view x, y;
    struct err err = { 0 };
    uint64_t id;

    (void)state;
    add_pace(&event, "slow", 1.5);
    event.job_submitted.request.work.operations = 1000000;
    event.job_submitted.request.work.metric = METRIC_BF16_TFLOPS;
    id = run(&bed, event);
    finish(&bed, id, 40);
    event = work_job("v", 2);
    event.job_submitted.request.shape.devices_milli = 250;
    finish(&bed, run(&bed, event), 7);
    event.job_submitted.request.shape.devices_milli = 0;
    finish(&bed, run(&bed, event), 9);
    bed_submit(&bed, work_job("w", 3));
    assert_int_equal(grid_snapshot(bed.grid, &snapshot), 0);
    copy = bed;
    assert_int_equal(grid_restore(snapshot.data, snapshot.len, &copy.grid, &err), 0);
    bed_check_same(bed.grid, copy.grid);
    for (uint32_t i = 0; grid_rate_entry(bed.grid, i, &x); i++) {
        assert_true(grid_rate_entry(copy.grid, i, &y));
        assert_string_equal(x.chip, y.chip);
        assert_true(x.seconds == y.seconds && x.spread == y.spread);
    }
    bed_join(&bed, "there", more, 1); /* and they go on alike */
    bed_join(&copy, "there", more, 1);
    bed_pass(&bed);
    bed_pass(&copy);
    bed_check_same(bed.grid, copy.grid);
    for (size_t cut = 0; cut < snapshot.len; cut++) {
        struct grid *none = NULL;

        assert_true(grid_restore(snapshot.data, cut, &none, &err) < 0);
    }
    buf_fini(&snapshot);
    bed_destroy(&bed);
    bed_destroy(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_learned_overrules),
        cmocka_unit_test(test_only_its_tenant), cmocka_unit_test(test_not_learned),
        cmocka_unit_test(test_objectives),      cmocka_unit_test(test_plan),
        cmocka_unit_test(test_snapshot),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
