/* Gangs over several sites: who may, where they go, and that they start and end together, once. */
#include "bed.h"

#include "base/cleanup.h"

static const struct bed_node two_cpus[] = { { "n", 2, 0, NULL } };
static const struct bed_node fast_pair[] = { { "n", 8, 2, "fast" } };
static const struct bed_node slow_pair[] = { { "n", 8, 2, "slow" } };

static struct event gang(uint32_t tasks, uint32_t sites_max, uint32_t on_unreachable)
{
    struct event event = bed_job(1);

    event.job_submitted.request.shape.tasks = tasks;
    event.job_submitted.request.shape.sites_max = sites_max;
    event.job_submitted.request.on_unreachable = on_unreachable;
    return event;
}

static struct bed sites_of(const struct bed_node *node, uint32_t count)
{
    static const char *const names[] = { "west", "east", "south", "north" };
    struct bed bed = bed_create(NULL, 0);

    bed.tunnels = true;
    for (uint32_t i = 0; i < count; i++) {
        bed_join(&bed, names[i], node, 1);
        bed_seen(&bed, names[i], 1, 10000);
    }
    return bed;
}

static uint64_t start(struct bed *bed, struct event event)
{
    uint64_t id = bed_submit(bed, event);

    bed_pass(bed);
    return id;
}

static uint32_t epoch_of(struct bed *bed, uint64_t id)
{
    struct job_view view;

    view = bed_view(bed, id);
    return view.epoch;
}

static void test_refusals(void **state)
{
    static const struct {
        uint32_t tasks, sites, within, spread, mixed, named;
        const char *text;
    } cases[] = {
        { 4, 5, 0, 0, 0, 0, "sites: expected 1 to 4" },
        { 1, 2, 0, 0, 0, 0, "sites: expected 2 to 256 tasks, not 1" },
        { 257, 2, 0, 0, 0, 0, "not 257" },
        { 4, 2, TOPOLOGY_RACK, 0, 0, 0, "goes neither with topology" },
        { 4, 2, 0, 1, 0, 0, "goes neither with topology" },
        { 4, 2, 0, 0, 1, 0, "nor with mixed" },
        { 4, 2, 0, 0, 0, 1, "where.sites names one" },
    };
    struct bed bed = sites_of(two_cpus, 2);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct event event = gang(cases[i].tasks, cases[i].sites, UNREACHABLE_WAIT);
        struct request_shape *shape = &event.job_submitted.request.shape;
        struct err err = { 0 };

        shape->within = cases[i].within;
        shape->spread = cases[i].spread;
        shape->mixed = cases[i].mixed;
        shape->devices_milli = cases[i].mixed ? 1000 : 0;
        shape->places_count = cases[i].named;
        shape->places[0].kind = PLACE_SITE;
        strcpy(shape->places[0].name, cases[i].named ? "west" : "");
        assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
        if (!strstr(err.text, cases[i].text))
            fail_msg("\"%s\", expected \"...%s...\"", err.text, cases[i].text);
        assert_string_equal(err.field, "resources.sites");
    }
    bed_destroy(&bed);
}

/* At one site where there is room; over the fewest where not; only those whose agents can. */
static void test_where(void **state)
{
    struct bed bed = sites_of(two_cpus, 3);
    uint64_t small, large, none, plain;

    (void)state;
    small = start(&bed, gang(2, 3, UNREACHABLE_WAIT));
    assert_int_equal(bed.runs, 1);
    assert_int_equal(bed.across.sites_count, 0);
    plain = start(&bed, gang(4, 0, UNREACHABLE_WAIT));
    bed_why(&bed, plain, "tasks", "start together at one site");
    large = start(&bed, gang(3, 3, UNREACHABLE_WAIT));
    assert_int_equal(bed.runs, 3);
    assert_int_equal(bed.across.sites_count, 2);
    assert_int_equal(bed.across.self, 1);
    assert_string_equal(bed.across.sites[0].site, "east");
    assert_int_equal(bed.across.sites[0].tasks, 2);
    assert_string_equal(bed.across.sites[1].site, "south");
    assert_int_equal(bed.across.sites[1].first_rank, 2);
    assert_int_equal(bed.across.sites[1].tasks, 1);
    assert_int_equal(bed.across.sites[0].epoch, 2);
    assert_int_equal(bed.across.sites[1].epoch, 1);
    none = start(&bed, gang(6, 2, UNREACHABLE_WAIT));
    bed_why(&bed, none, "tasks", "no 2 sites hold so many");
    none = start(&bed, gang(4, 2, UNREACHABLE_WAIT));
    bed_why(&bed, none, "priority", "no one site has room for its 4 tasks");
    bed_done(&bed, small);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, none), JOB_QUEUED); /* west, and half of south */
    bed_started(&bed, large, 2);
    assert_int_equal(bed_state(&bed, large), JOB_STARTING);
    bed_started(&bed, large, 1);
    assert_int_equal(bed_state(&bed, large), JOB_RUNNING);
    bed_restart(&bed);
    bed_ended(&bed, large, 2, OUTCOME_EXITED, 0);
    assert_int_equal(bed_state(&bed, large), JOB_RUNNING);
    bed_restart(&bed);
    bed_ended(&bed, large, 1, OUTCOME_EXITED, 0);
    assert_int_equal(bed_state(&bed, large), JOB_DONE);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, none), JOB_STARTING);
    bed_destroy(&bed);
}

static void test_without_tunnels(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    uint64_t id;

    (void)state;
    bed.tunnels = true;
    bed_join(&bed, "west", two_cpus, 1);
    id = start(&bed, gang(4, 2, UNREACHABLE_WAIT));
    bed_why(&bed, id, "tasks", "no 2 sites hold so many");
    bed_join(&bed, "here", two_cpus, 1); /* its agent is newer now */
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_destroy(&bed);
}

/* All parts are on the one kind. */
static void test_one_kind(void **state)
{
    struct bed bed = sites_of(fast_pair, 1);
    struct event event = gang(4, 3, UNREACHABLE_WAIT);
    uint64_t id;

    (void)state;
    event.job_submitted.request.shape.devices_milli = 1000;
    bed_join(&bed, "east", slow_pair, 1);
    bed_seen(&bed, "east", 1, 10000);
    id = start(&bed, event);
    bed_why(&bed, id, "tasks", "on one kind of chip");
    bed_join(&bed, "south", slow_pair, 1);
    bed_seen(&bed, "south", 1, 10000);
    bed_pass(&bed);
    assert_int_equal(bed.across.sites_count, 2);
    assert_string_equal(bed.across.sites[0].site, "east");
    assert_string_equal(bed.across.sites[1].site, "south");
    bed_destroy(&bed);
}

/* One part ends otherwise than well: the other is stopped, and only then it goes on. */
static void test_ends_together(void **state)
{
    static const struct {
        uint32_t first, second; /* outcomes of the parts, in the order of their reports */
        uint32_t retries;
        enum job_state after;
        uint32_t lost, failed;
    } cases[] = {
        { OUTCOME_LOST, OUTCOME_STOPPED, 0, JOB_QUEUED, 1, 0 },
        { OUTCOME_SIGNALLED, OUTCOME_STOPPED, 0, JOB_FAILED, 0, 1 },
        { OUTCOME_SIGNALLED, OUTCOME_STOPPED, 1, JOB_QUEUED, 0, 1 },
        /* The one that talked to the lost one failed, and was heard of first. */
        { OUTCOME_SIGNALLED, OUTCOME_LOST, 0, JOB_QUEUED, 1, 0 },
        { OUTCOME_REFUSED, OUTCOME_STOPPED, 0, JOB_QUEUED, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bed bed = sites_of(two_cpus, 2);
        struct event event = gang(4, 2, UNREACHABLE_WAIT);
        struct job_view view;
        uint64_t id;

        event.job_submitted.request.retries_max = cases[i].retries;
        id = start(&bed, event);
        bed_started(&bed, id, 1);
        bed_started(&bed, id, 2);
        bed.now_ms += 3600000;
        bed_ended(&bed, id, 1, cases[i].first, cases[i].first == OUTCOME_SIGNALLED ? 9 : 0);
        assert_int_equal(bed.rows, 1);
        assert_int_equal(bed.row.price_micro, 2 * 36000);
        assert_string_equal(bed.row_site, "east");
        assert_int_equal(bed.stops, 1);
        assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
        bed_pass(&bed);
        assert_int_equal(bed.runs, 2);
        bed_restart(&bed);
        bed_ended(&bed, id, 1, OUTCOME_EXITED, 0); /* told twice */
        assert_int_equal(bed.rows, 1);
        bed.now_ms += 3600000;
        bed_ended(&bed, id, 2, cases[i].second, 0);
        assert_int_equal(bed.rows, 2);
        assert_int_equal(bed.row.price_micro, 4 * 36000);
        assert_string_equal(bed.row_site, "west");
        assert_int_equal(bed_state(&bed, id), cases[i].after);
        if (cases[i].after == JOB_QUEUED) {
            grid_find_job(bed.grid, id, &view);
            assert_int_equal(view.attempts_lost, cases[i].lost);
            assert_int_equal(view.attempts_failed, cases[i].failed);
            assert_int_equal(view.usage.cpu_held_ms, (2 + 4) * 3600000);
        }
        bed_destroy(&bed);
    }
}

/* From several sites to the one that has room for all of it by now. */
static void test_moved_together(void **state)
{
    static const struct bed_node four_cpus[] = { { "n", 4, 0, NULL } };
    struct bed bed = sites_of(two_cpus, 2);
    struct event move = { .type = EVENT_JOB_MOVE };
    uint64_t id = start(&bed, gang(4, 2, UNREACHABLE_WAIT));

    (void)state;
    bed_started(&bed, id, 1);
    bed_started(&bed, id, 2);
    bed_join(&bed, "large", four_cpus, 1);
    bed_seen(&bed, "large", 1, 10000);
    move.job_move.job_id = id;
    move.job_move.to = "large";
    move.job_move.by = move.job_move.reason = "";
    move.job_move.force = true;
    bed_step(&bed, &move);
    assert_int_equal(bed.stops, 2);
    bed_restart(&bed);
    bed_ended(&bed, id, 1, OUTCOME_STOPPED, 0);
    bed_restart(&bed);
    bed_ended(&bed, id, 2, OUTCOME_STOPPED, 0);
    bed_pass(&bed);
    assert_int_equal(bed.across.sites_count, 0);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_destroy(&bed);
}

/* One part fails at once; the other is stopped before it has begun, so its site knows nothing of
 * it: the job has failed, and is not lost. */
static void test_unknown_when_stopped(void **state)
{
    for (uint32_t begun = 0; begun < 2; begun++) {
        struct bed bed = sites_of(two_cpus, 2);
        struct event unknown = { .type = EVENT_ATTEMPT_UNKNOWN };
        uint64_t id = start(&bed, gang(4, 2, UNREACHABLE_WAIT));

        (void)state;
        bed_started(&bed, id, 2);
        if (begun) /* it ran, and there is no trace of it: that explains why the other failed */
            bed_started(&bed, id, 1);
        bed_ended(&bed, id, 2, OUTCOME_EXITED, 3);
        assert_int_equal(bed.stops, 1);
        unknown.attempt_unknown.job_id = id;
        unknown.attempt_unknown.epoch = 1;
        bed_restart(&bed);
        bed_step(&bed, &unknown);
        assert_int_equal(bed_state(&bed, id), begun ? JOB_QUEUED : JOB_FAILED);
        if (!begun)
            assert_non_null(strstr(bed.ended_reason, "exit code 3"));
        bed_destroy(&bed);
    }
}

/* One part has ended before anybody heard that it began: the job runs all the same. */
static void test_ended_before_started(void **state)
{
    struct bed bed = sites_of(two_cpus, 2);
    uint64_t id = start(&bed, gang(4, 2, UNREACHABLE_WAIT));
    struct event ended = { .type = EVENT_ATTEMPT_ENDED };

    (void)state;
    ended.attempt_ended.job_id = id;
    ended.attempt_ended.epoch = 1;
    ended.attempt_ended.started_ms = bed.now_ms;
    ended.attempt_ended.reason = "";
    bed_step(&bed, &ended);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_started(&bed, id, 2);
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    bed_ended(&bed, id, 2, OUTCOME_EXITED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_DONE);
    bed_destroy(&bed);
}

static int end_lease(struct bed *bed, const char *site)
{
    struct event event = { .type = EVENT_LEASE_ENDED };
    struct err err = { 0 };

    event.lease_ended.site = site;
    event.lease_ended.session = 1;
    return bed_try(bed, &event, NULL, &err);
}

/* Both sites go silent, one after the other: it runs again when the later lease has ended. */
static void test_leases(void **state)
{
    struct bed bed = sites_of(two_cpus, 4);
    uint64_t id = start(&bed, gang(4, 2, UNREACHABLE_MOVE));
    struct dark_view dark;
    uint32_t cursor = 0;

    (void)state;
    bed_started(&bed, id, 1);
    bed_started(&bed, id, 2);
    bed.now_ms += 1000;
    bed_lost(&bed, "west", 1);
    bed_lost(&bed, "east", 1);
    bed.now_ms += 20000;
    assert_int_equal(end_lease(&bed, "east"), 0);
    assert_int_equal(bed.stops, 1);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    assert_int_equal(bed.runs, 2);
    assert_int_equal(end_lease(&bed, "west"), 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    assert_int_equal(bed.runs, 4);
    assert_int_equal(epoch_of(&bed, id), 4);
    assert_string_equal(bed.across.sites[0].site, "south");
    assert_true(grid_dark_next(bed.grid, &cursor, &dark));
    assert_int_equal(dark.epoch, 1);
    assert_true(grid_dark_next(bed.grid, &cursor, &dark));
    assert_int_equal(dark.epoch, 2);
    bed_restart(&bed);
    bed_seen(&bed, "east", 2, 10000);
    bed_ended(&bed, id, 1, OUTCOME_LEASE, 0);
    assert_int_equal(bed.settled, 1);
    bed_destroy(&bed);
}

/* A site that is forgotten ends its part as lost; a cancel and a move reach all parts. */
static void test_stops(void **state)
{
    struct bed bed = sites_of(two_cpus, 3);
    struct event move = { .type = EVENT_JOB_MOVE };
    uint64_t id = start(&bed, gang(4, 2, UNREACHABLE_WAIT));

    (void)state;
    assert_int_equal(bed_cancel(&bed, id), 0);
    assert_int_equal(bed.stops, 2);
    bed_ended(&bed, id, 2, OUTCOME_STOPPED, 0);
    bed_ended(&bed, id, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed.ended_as, JOB_CANCELLED);
    id = start(&bed, gang(4, 2, UNREACHABLE_WAIT));
    bed_started(&bed, id, 1);
    bed_started(&bed, id, 2);
    move.job_move.job_id = id;
    move.job_move.to = "";
    move.job_move.by = move.job_move.reason = "";
    move.job_move.force = true;
    bed_step(&bed, &move);
    assert_int_equal(bed.stops, 4);
    /* Its peer is gone, so this one fails before it is stopped: it was moved all the same. */
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 1);
    bed_ended(&bed, id, 2, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_QUEUED);
    assert_int_equal(bed_cancel(&bed, id), 0);
    id = start(&bed, gang(4, 2, UNREACHABLE_WAIT));
    bed_lost(&bed, "east", 1);
    assert_int_equal(bed_forget(&bed, "east", true), 0);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    bed_ended(&bed, id, 2, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_QUEUED);
    bed_destroy(&bed);
}

/* With a budget, all of it is set aside once, and each part pays its own. */
static void test_budget(void **state)
{
    struct bed bed = sites_of(two_cpus, 2);
    struct event event = gang(4, 2, UNREACHABLE_WAIT), tenant = bed_tenant("alice");
    struct tenant_view view;
    uint64_t id;

    (void)state;
    tenant.tenant_set.budget_micro = 1000000;
    bed_step(&bed, &tenant);
    event.job_submitted.request.duration_ms_max = 3540000;
    id = start(&bed, event);
    assert_true(grid_tenant_find(bed.grid, "alice", &view));
    assert_int_equal(view.reserved_micro, 4 * 36000);
    bed.now_ms += 1800000;
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 0);
    assert_true(grid_tenant_find(bed.grid, "alice", &view));
    assert_int_equal(view.spent_micro, 36000);
    assert_int_equal(view.reserved_micro, 4 * 36000);
    bed_ended(&bed, id, 2, OUTCOME_EXITED, 0);
    assert_true(grid_tenant_find(bed.grid, "alice", &view));
    assert_int_equal(view.spent_micro, 2 * 36000);
    assert_int_equal(view.reserved_micro, 0);
    bed_destroy(&bed);
}

/* What was saved before there were such attempts is read as it was: job 1 runs on all four CPUs, 2
 * waits. */
static void test_older_snapshot(void **state)
{
    struct bed bed = bed_read(DOCS_DIR "/../tests/recorded/grid/snapshot-15.bin", 1000000);

    (void)state;
    assert_int_equal(bed_state(&bed, 1), JOB_RUNNING);
    bed_restart(&bed);
    bed_done(&bed, 1);
    assert_int_equal(bed_state(&bed, 1), JOB_DONE);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, 2), JOB_STARTING);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_where),
        cmocka_unit_test(test_without_tunnels),
        cmocka_unit_test(test_one_kind),
        cmocka_unit_test(test_ends_together),
        cmocka_unit_test(test_leases),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_older_snapshot),
        cmocka_unit_test(test_unknown_when_stopped),
        cmocka_unit_test(test_ended_before_started),
        cmocka_unit_test(test_moved_together),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("across", tests, NULL, NULL);
}
