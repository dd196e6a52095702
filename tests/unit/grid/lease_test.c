/* Sites that are not heard: what goes on, what is closed and queued again, and what is billed when
 * they are heard again. And jobs that are moved. */
#include "bed.h"

static const struct bed_node one[] = { { "n", 4, 0, NULL } };

static int try_lease_end(struct bed *bed, const char *site, uint64_t session)
{
    struct event event = { .type = EVENT_LEASE_ENDED };
    struct err err = { 0 };

    event.lease_ended.site = site;
    event.lease_ended.session = session;
    return bed_try(bed, &event, NULL, &err);
}

static struct bed two_sites_of(const struct bed_node *node)
{
    struct bed bed = bed_create(node, 1);

    bed_join(&bed, "there", node, 1);
    bed_seen(&bed, "here", 1, 10000);
    bed_seen(&bed, "there", 1, 10000);
    return bed;
}

static struct bed two_sites(void)
{
    return two_sites_of(one);
}

static struct event job_that(uint32_t cpus, uint32_t on_unreachable, const char *site)
{
    struct event event = bed_job(cpus);
    struct request_shape *shape = &event.job_submitted.request.shape;

    event.job_submitted.request.on_unreachable = on_unreachable;
    if (site) {
        shape->places_count = 1;
        shape->places[0].kind = PLACE_SITE;
        snprintf(shape->places[0].name, sizeof(shape->places[0].name), "%s", site);
    }
    return event;
}

static const char *site_of(struct bed *bed, uint64_t job_id, uint32_t *epoch_out)
{
    static struct job_view view;

    view = (struct job_view){ 0 };
    grid_find_job(bed->grid, job_id, &view);
    if (epoch_out)
        *epoch_out = view.epoch;
    return view.allocation.site;
}

static void test_refused(void **state)
{
    struct bed bed = two_sites();
    struct event event = { .type = EVENT_SITE_SEEN };
    struct err err = { 0 };

    (void)state;
    assert_int_equal(try_lease_end(&bed, "nowhere", 1), -ENOENT);
    assert_int_equal(try_lease_end(&bed, "here", 1), -EPROTO); /* it is heard */
    bed_lost(&bed, "here", 1);
    assert_int_equal(try_lease_end(&bed, "here", 2), -EALREADY); /* of another session */
    assert_int_equal(try_lease_end(&bed, "here", 1), 0);
    assert_int_equal(try_lease_end(&bed, "here", 1), -EALREADY);
    bed_seen(&bed, "here", 3, 0); /* an agent that knows of no leases */
    bed_lost(&bed, "here", 3);
    assert_int_equal(try_lease_end(&bed, "here", 3), -EPROTO);
    event.site_seen.site = "here";
    event.site_seen.session = 4;
    event.site_seen.lease_ms = -1;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    bed_destroy(&bed);
}

/* The one that may not run twice goes on elsewhere; the other stays. */
static void test_move_and_wait(void **state)
{
    struct bed bed = two_sites();
    uint64_t moves, waits;
    uint32_t epoch;
    struct job_view view;

    (void)state;
    moves = bed_submit(&bed, job_that(2, UNREACHABLE_MOVE, NULL));
    waits = bed_submit(&bed, job_that(2, UNREACHABLE_WAIT, NULL));
    bed_pass(&bed);
    bed_started(&bed, moves, 1);
    bed_started(&bed, waits, 1);
    assert_string_equal(site_of(&bed, moves, NULL), "here");
    assert_string_equal(site_of(&bed, waits, NULL), "here");
    bed.now_ms += 5000;
    bed_lost(&bed, "here", 1);
    bed_why(&bed, moves, "running", "its lease ends");
    bed_why(&bed, waits, "running", "it goes on there");
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, moves, NULL), "here");
    bed.now_ms += 10000;
    assert_int_equal(try_lease_end(&bed, "here", 1), 0);
    assert_int_equal(bed_state(&bed, moves), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, waits), JOB_RUNNING);
    assert_int_equal(bed.rows, 1);
    assert_int_equal(bed.row.cpu_held_ms, 2 * 15000);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, moves, &epoch), "there");
    assert_int_equal(epoch, 2);
    view = bed_view(&bed, moves);
    assert_int_equal(view.attempts_lost + view.attempts_failed, 0);
    bed_started(&bed, moves, 2);
    /* Late word of the old epoch changes nothing of the job. */
    bed_ended(&bed, moves, 1, OUTCOME_EXITED, 0);
    assert_int_equal(bed_state(&bed, moves), JOB_RUNNING);
    bed_seen(&bed, "here", 2, 10000);
    bed_done(&bed, waits);
    assert_int_equal(bed.ended_job, waits);
    assert_int_equal(bed.ended_as, JOB_DONE);
    bed_destroy(&bed);
}

/* What was used in the dark comes to the books once, whether the job still lives or not. */
static void test_settled_once(void **state)
{
    (void)state;
    for (int ended = 0; ended < 2; ended++) {
        struct bed bed = two_sites();
        struct event event = { .type = EVENT_ATTEMPT_PROGRESS };
        uint64_t id = bed_submit(&bed, job_that(1, UNREACHABLE_MOVE, NULL));
        struct dark_view dark;
        uint32_t cursor = 0;

        bed_pass(&bed);
        bed_started(&bed, id, 1);
        bed.now_ms += 600000;
        event.attempt_progress.job_id = id;
        event.attempt_progress.epoch = 1;
        event.attempt_progress.usage.energy_mj = 1000000;
        event.attempt_progress.usage.cpu_ms = 100;
        bed_step(&bed, &event);
        bed.now_ms += 3000000;
        bed_lost(&bed, "here", 1);
        assert_int_equal(try_lease_end(&bed, "here", 1), 0);
        assert_int_equal(bed.row.energy_mj, 1000000);
        assert_true(grid_dark_next(bed.grid, &cursor, &dark));
        assert_int_equal(dark.job_id, id);
        assert_string_equal(dark.site, "here");
        assert_false(grid_dark_next(bed.grid, &cursor, &dark));
        bed_pass(&bed);
        bed_started(&bed, id, 2);
        if (ended)
            bed_ended(&bed, id, 2, OUTCOME_EXITED, 0);
        for (int i = 0; i < 2; i++) { /* told twice */
            event = (struct event){ .type = EVENT_ATTEMPT_ENDED };
            event.attempt_ended.job_id = id;
            event.attempt_ended.epoch = 1;
            event.attempt_ended.outcome = OUTCOME_LEASE;
            event.attempt_ended.usage.energy_mj = 8200000;
            event.attempt_ended.usage.cpu_ms = 700;
            event.attempt_ended.reason = "";
            bed_step(&bed, &event);
            assert_int_equal(bed.settled, 1);
        }
        assert_int_equal(bed.settled_more.energy_mj, 7200000);
        assert_int_equal(bed.settled_more.cpu_ms, 600);
        assert_int_equal(bed.settled_more.cpu_held_ms, 0);
        assert_int_equal(bed.settled_more.price_micro, 500); /* 2 Wh at 0.25 a kWh */
        assert_int_equal(bed.settled_more.carbon_ug, 800000);
        assert_int_equal(bed.row.energy_mj, 8200000);
        assert_int_equal(bed.row.cpu_held_ms, 3600000);
        bed_destroy(&bed);
    }
}

/* It says that it has no trace, or is forgotten: there is nothing more to come. */
static void test_dark_closed(void **state)
{
    struct bed bed = two_sites();
    uint64_t id = bed_submit(&bed, job_that(1, UNREACHABLE_MOVE, NULL));
    struct event event = { .type = EVENT_ATTEMPT_UNKNOWN };
    struct dark_view dark;

    (void)state;
    bed_pass(&bed);
    bed_lost(&bed, "here", 1);
    assert_int_equal(try_lease_end(&bed, "here", 1), 0);
    event.attempt_unknown.job_id = id;
    event.attempt_unknown.epoch = 1;
    bed_step(&bed, &event);
    assert_false(grid_dark_find(bed.grid, id, 1, &dark));
    assert_int_equal(bed.settled, 0);
    bed_pass(&bed);
    bed_lost(&bed, "there", 1);
    assert_int_equal(try_lease_end(&bed, "there", 1), 0);
    assert_true(grid_dark_find(bed.grid, id, 2, &dark));
    assert_int_equal(bed_forget(&bed, "there", true), 0);
    assert_false(grid_dark_find(bed.grid, id, 2, &dark));
    bed_destroy(&bed);
}

/* Stopped by the site for its lease, and told before the lease was over here: the same, without
 * anything left in the dark. A site cannot end so what does not end with a lease. */
static void test_told_by_site(void **state)
{
    struct bed bed = two_sites();
    uint64_t moves = bed_submit(&bed, job_that(1, UNREACHABLE_MOVE, NULL));
    uint64_t waits = bed_submit(&bed, job_that(1, UNREACHABLE_WAIT, NULL));
    struct dark_view dark;
    struct job_view view;

    (void)state;
    bed_pass(&bed);
    bed_ended(&bed, moves, 1, OUTCOME_LEASE, 0);
    bed_ended(&bed, waits, 1, OUTCOME_LEASE, 0);
    assert_false(grid_dark_find(bed.grid, moves, 1, &dark));
    view = bed_view(&bed, moves);
    assert_int_equal(view.state, JOB_QUEUED);
    assert_int_equal(view.attempts_lost, 0);
    view = bed_view(&bed, waits);
    assert_int_equal(view.state, JOB_QUEUED);
    assert_int_equal(view.attempts_lost, 1);
    bed_destroy(&bed);
}

/* A cancel that never reached the site is carried out when its lease ends. */
static void test_cancelled(void **state)
{
    struct bed bed = two_sites();
    uint64_t id = bed_submit(&bed, job_that(1, UNREACHABLE_MOVE, NULL));

    (void)state;
    bed_pass(&bed);
    bed_started(&bed, id, 1);
    bed_lost(&bed, "here", 1);
    assert_int_equal(bed_cancel(&bed, id), 0);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    assert_int_equal(try_lease_end(&bed, "here", 1), 0);
    assert_int_equal(bed_state(&bed, id), JOB_CANCELLED);
    bed_destroy(&bed);
}

/* --- moves ------------------------------------------------------------------------------------
 */

static int try_move(struct bed *bed, uint64_t job_id, const char *to, bool force, struct err *err)
{
    struct event event = { .type = EVENT_JOB_MOVE };

    event.job_move.job_id = job_id;
    event.job_move.to = to;
    event.job_move.force = force;
    event.job_move.by = "al";
    event.job_move.reason = "";
    return bed_try(bed, &event, NULL, err);
}

static void test_move_refused(void **state)
{
    static const struct bed_node small[] = { { "s", 1, 0, NULL } },
                                 wide[] = { { "w", 9, 0, NULL } };
    static const struct {
        uint32_t job; /* 0 plain, 1 saves, 2 not again, 3 tied to its site, 4 unknown, 5 held */
        const char *to;
        int rc;
        const char *text;
    } cases[] = {
        { 4, "there", -ENOENT, "there is no job" },
        { 1, "nowhere", -ENOENT, "there is no site nowhere" },
        { 0, "there", -EPROTO, "saves no checkpoint" },
        { 2, "there", -EPROTO, "may not be started again" },
        { 1, "here", -EALREADY, "is at site here already" },
        { 1, "small", -EPROTO, "never fits at site small (cpus)" },
        { 3, "there", -EPROTO, "`where` does not allow site there" },
        { 3, "", -EPROTO, "fits at no other site" },
        { 5, "there", -EPROTO, "is held" },
    };
    struct bed bed = two_sites_of(wide);
    uint64_t ids[6] = { 0 };
    struct err err;

    (void)state;
    bed_join(&bed, "small", small, 1);
    for (uint32_t i = 0; i < 6; i++) {
        struct event event = job_that(i == 1 ? 2 : 1, UNREACHABLE_WAIT, i == 3 ? "here" : NULL);

        event.job_submitted.request.checkpoint = i ? CHECKPOINT_ASKED : CHECKPOINT_NONE;
        event.job_submitted.request.requeue_on_loss = i != 2;
        if (i == 5)
            event.job_submitted.request.begin_ms = bed.now_ms + 1000;
        ids[i] = i == 4 ? 1000 : bed_submit(&bed, event);
        bed_pass(&bed);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int rc = try_move(&bed, ids[cases[i].job], cases[i].to, false, &err);

        if (rc != cases[i].rc || !strstr(err.text, cases[i].text))
            fail_msg("case %zu: rc %d, \"%s\"", i, rc, err.text);
    }
    bed_lost(&bed, "here", 1);
    assert_int_equal(try_move(&bed, ids[1], "there", true, &err), -EPROTO);
    assert_non_null(strstr(err.text, "is not heard"));
    bed_destroy(&bed);
}

static void test_moved(void **state)
{
    struct bed bed = two_sites();
    struct event event = job_that(1, UNREACHABLE_WAIT, NULL);
    uint32_t epoch, stops;
    struct job_view view;
    struct err err;
    uint64_t id;

    (void)state;
    event.job_submitted.request.checkpoint = CHECKPOINT_ASKED;
    id = bed_submit(&bed, event);
    bed_pass(&bed);
    bed_started(&bed, id, 1);
    assert_string_equal(site_of(&bed, id, NULL), "here");
    stops = bed.stops;
    assert_int_equal(try_move(&bed, id, "there", false, &err), 0);
    assert_int_equal(bed.stops, stops + 1);
    bed_why(&bed, id, "moving", "moves to site there, as asked by al");
    assert_int_equal(try_move(&bed, id, "", false, &err), -EPROTO); /* it is being stopped */
    bed_ended(&bed, id, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_QUEUED);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, id, &epoch), "there");
    assert_int_equal(epoch, 2);
    view = bed_view(&bed, id);
    assert_int_equal(view.attempts_failed + view.attempts_lost, 0);
    assert_int_equal(view.request->shape.places_count, 0); /* what it asked for */
    /* Away from there, wherever that is; and it is bound for one attempt only. */
    assert_int_equal(try_move(&bed, id, "", false, &err), 0);
    bed_ended(&bed, id, 2, OUTCOME_STOPPED, 0);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, id, NULL), "here");
    bed_ended(&bed, id, 3, OUTCOME_LOST, 0);
    bed_lost(&bed, "here", 1);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, id, NULL), "there");
    bed_ended(&bed, id, 4, OUTCOME_EXITED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_DONE);
    bed_destroy(&bed);
}

/* One that waits goes where it is sent, and is let go again. */
static void test_moved_while_queued(void **state)
{
    struct bed bed = two_sites();
    struct err err;
    uint64_t id;

    (void)state;
    bed_submit(&bed, job_that(4, UNREACHABLE_WAIT, "here"));
    bed_submit(&bed, job_that(4, UNREACHABLE_WAIT, "there"));
    bed_pass(&bed);
    id = bed_submit(&bed, job_that(1, UNREACHABLE_WAIT, NULL));
    assert_int_equal(try_move(&bed, id, "there", false, &err), 0);
    bed_pass(&bed);
    bed_ended(&bed, 1, 1, OUTCOME_EXITED, 0); /* room here */
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, id), JOB_QUEUED);
    assert_int_equal(try_move(&bed, id, "", false, &err), 0);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, id, NULL), "here");
    bed_destroy(&bed);
}

/* All of it is in the snapshot. */
static void test_snapshot(void **state)
{
    struct buf bytes = buf_init(1 << 20), again = buf_init(1 << 20);
    struct bed bed = two_sites();
    struct event event = job_that(1, UNREACHABLE_WAIT, "here");
    uint64_t moves = bed_submit(&bed, job_that(1, UNREACHABLE_MOVE, NULL)), id;
    struct grid *restored = NULL;
    struct lease_view lease;
    struct dark_view dark;
    struct err err;

    (void)state;
    bed_pass(&bed);
    bed_lost(&bed, "here", 1);
    assert_int_equal(try_lease_end(&bed, "here", 1), 0);
    event.job_submitted.request.checkpoint = CHECKPOINT_ASKED;
    event.job_submitted.request.shape.places_count = 0;
    event.job_submitted.tenant = "bob";
    id = bed_submit(&bed, event);
    bed_pass(&bed);
    bed_seen(&bed, "here", 2, 20000);
    assert_int_equal(try_move(&bed, id, "here", false, &err), 0);
    assert_int_equal(grid_snapshot(bed.grid, &bytes), 0);
    if (grid_restore(bytes.data, bytes.len, &restored, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(grid_snapshot(restored, &again), 0);
    assert_int_equal(again.len, bytes.len);
    assert_memory_equal(again.data, bytes.data, bytes.len);
    grid_site_lease(restored, 0, &lease);
    assert_int_equal(lease.ms, 20000);
    assert_true(grid_dark_find(restored, moves, 1, &dark));
    grid_destroy(bed.grid);
    bed.grid = restored;
    bed_ended(&bed, id, 1, OUTCOME_STOPPED, 0);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, id, NULL), "here");
    bed_destroy(&bed);
    buf_fini(&bytes);
    buf_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_move_and_wait),
        cmocka_unit_test(test_settled_once), cmocka_unit_test(test_dark_closed),
        cmocka_unit_test(test_told_by_site), cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_move_refused), cmocka_unit_test(test_moved),
        cmocka_unit_test(test_snapshot),     cmocka_unit_test(test_moved_while_queued),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
