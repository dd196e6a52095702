/* Whole cells that tenants are guaranteed: what is refused, who may be lent them, and how they are
 * taken back. */
#include "bed.h"

#define MINUTE_MS 60000LL
#define HOUR_MS (60 * MINUTE_MS)
#define NODES 8u
#define RACK_NODES 2u

static void set_tenant(struct bed *bed, const char *name, const char *parent)
{
    struct event event = bed_tenant(name);

    event.tenant_set.parent = parent;
    bed_step(bed, &event);
}

static struct event cells(const char *tenant, uint32_t nodes, uint32_t racks)
{
    struct event event = { .type = EVENT_TENANT_CELLS };

    event.tenant_cells.tenant = tenant;
    event.tenant_cells.site = "here";
    event.tenant_cells.chip = "fast";
    event.tenant_cells.nodes = nodes;
    event.tenant_cells.racks = racks;
    event.tenant_cells.by = "op";
    return event;
}

static struct bed create(void)
{
    struct bed bed = { .grid = grid_create(), .now_ms = 1000 * HOUR_MS };

    bed_join_racks(&bed, NODES, RACK_NODES);
    set_tenant(&bed, "lab", "");
    set_tenant(&bed, "other", "");
    return bed;
}

static struct event gang(const char *tenant, uint32_t tasks, uint32_t devices, uint16_t checkpoint)
{
    struct event event = bed_job(1);

    event.job_submitted.tenant = tenant;
    event.job_submitted.request.shape.tasks = tasks;
    event.job_submitted.request.shape.devices_milli = devices * 1000;
    event.job_submitted.request.duration_ms_max = 10 * HOUR_MS;
    event.job_submitted.request.checkpoint = checkpoint;
    return event;
}

static struct event rack_gang(const char *tenant, uint16_t checkpoint)
{
    struct event event = gang(tenant, 2, 4, checkpoint);

    event.job_submitted.request.shape.within = TOPOLOGY_RACK;
    event.job_submitted.request.shape.within_hard = 1;
    return event;
}

static void refuse(struct bed *bed, struct event event, int rc, const char *part)
{
    struct err err = { 0 };

    assert_int_equal(bed_try(bed, &event, NULL, &err), rc);
    if (!strstr(err.text, part))
        fail_msg("%s", err.text);
}

static void test_refused(void **state)
{
    struct bed bed = create();
    struct event event = cells("lab", 0, 3);

    (void)state;
    refuse(&bed, cells("nobody", 1, 0), -ENOENT, "is not set yet");
    refuse(&bed, cells("lab", 0, 5), -ENOSPC, "can keep 4 whole racks");
    refuse(&bed, cells("lab", 0, 0), -EALREADY, "has these cells");
    event.tenant_cells.site = "there";
    refuse(&bed, event, -ENOENT, "no site there");
    event.tenant_cells.site = "here";
    event.tenant_cells.chip = "";
    refuse(&bed, event, -EINVAL, "name the kind of chip");
    event.tenant_cells.chip = "slow";
    refuse(&bed, event, -ENOSPC, "can keep 0 whole racks of slow");
    event = cells("lab", UINT32_MAX, UINT32_MAX);
    refuse(&bed, event, -EINVAL, "no more than");
    event = cells("lab", 0, 3);
    bed_step(&bed, &event);
    refuse(&bed, event, -EALREADY, "has these cells");
    refuse(&bed, cells("other", 0, 2), -ENOSPC, "can keep 1 whole rack ");
    refuse(&bed, cells("other", 3, 0), -ENOSPC, "can keep 2 whole nodes");
    event = cells("other", 1, 0);
    bed_step(&bed, &event);
    refuse(&bed, cells("lab", 0, 4), -ENOSPC, "can keep 3 whole racks"); /* a node of it is gone */
    refuse(&bed, cells("lab", 2, 3), -ENOSPC, "can keep 1 whole node ");
    event = cells("lab", 1, 3);
    bed_step(&bed, &event);
    bed_restart(&bed);
    event = cells("other", 0, 0);
    bed_step(&bed, &event);
    event = cells("lab", 2, 3); /* the other half of the rack that is broken */
    bed_step(&bed, &event);
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* Single nodes go where a rack is broken already. */
static void test_buddies(void **state)
{
    struct bed bed = create();
    struct event event = cells("lab", 1, 0);

    (void)state;
    bed_step(&bed, &event);
    event = cells("other", 1, 0);
    bed_step(&bed, &event);
    event = cells("lab", 1, 3);
    bed_step(&bed, &event);
    bed_destroy(&bed);
}

static uint64_t start(struct bed *bed, struct event event)
{
    uint64_t id = bed_submit(bed, event);
    struct job_view view;

    bed_pass(bed);
    view = bed_view(bed, id);
    if (view.state == JOB_STARTING)
        bed_started(bed, id, view.epoch);
    return id;
}

static void test_firm_stays_out(void **state)
{
    struct bed bed = create();
    struct event event = cells("lab", 0, 2);
    uint64_t firm[5], own;

    (void)state;
    bed_step(&bed, &event);
    for (uint32_t i = 0; i < 5; i++)
        firm[i] = start(&bed, gang("other", 1, 4, CHECKPOINT_NONE));
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(bed_state(&bed, firm[i]), JOB_RUNNING);
    assert_int_equal(bed_state(&bed, firm[4]), JOB_QUEUED);
    bed_why(&bed, firm[4], "guaranteed", "guaranteed to others");
    own = start(&bed, gang("lab", 4, 4, CHECKPOINT_NONE)); /* at once: nothing was lent */
    assert_int_equal(bed_state(&bed, own), JOB_RUNNING);
    assert_int_equal(bed.stops, 0);
    bed_restart(&bed);
    event = cells("lab", 0, 0); /* none any more: others may come */
    bed_step(&bed, &event);
    bed_done(&bed, own);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, firm[4]), JOB_STARTING);
    bed_restart(&bed);
    bed_destroy(&bed);
}

static void test_taken_back(void **state)
{
    struct bed bed = create();
    struct event event = cells("lab", 0, 2);
    uint64_t lent[8], own, second, stopped[4];
    uint32_t count = 0;
    struct job_view view;

    (void)state;
    bed_step(&bed, &event);
    for (uint32_t i = 0; i < 8; i++) {
        lent[i] = start(&bed, gang("other", 1, 4, CHECKPOINT_ASKED));
        assert_int_equal(bed_state(&bed, lent[i]), JOB_RUNNING); /* all is lent */
    }
    bed.now_ms += MINUTE_MS;
    own = start(&bed, rack_gang("lab", CHECKPOINT_NONE));
    assert_int_equal(bed.stops, 2); /* no more than it takes, and at once */
    bed_why(&bed, own, "preempting", "2 others are being stopped");
    view = bed_view(&bed, own);
    assert_true(view.promised_start_ms <= bed.now_ms + MINUTE_MS);
    bed_restart(&bed);
    bed_pass(&bed);
    assert_int_equal(bed.stops, 2); /* once */
    second = start(&bed, rack_gang("lab", CHECKPOINT_NONE));
    assert_int_equal(bed.stops, 4);
    for (uint32_t i = 0; i < 8; i++)
        if (bed_state(&bed, lent[i]) == JOB_STOPPING) {
            bed_why(&bed, lent[i], "preempted", "tenant lab takes back its cells at here");
            stopped[count++] = lent[i];
        }
    assert_int_equal(count, 4);
    bed.now_ms += MINUTE_MS / 3;
    for (uint32_t i = 0; i < 4; i++) {
        bed_ended(&bed, stopped[i], 1, OUTCOME_STOPPED, 0);
        bed_pass(&bed);
        assert_int_equal(bed_state(&bed, stopped[i]), JOB_QUEUED); /* not lent what is claimed */
        view = bed_view(&bed, stopped[i]);
        assert_int_equal(view.outcome, OUTCOME_PREEMPTED);
        bed_restart(&bed);
    }
    assert_int_equal(bed_state(&bed, own), JOB_STARTING);
    assert_int_equal(bed_state(&bed, second), JOB_STARTING);
    bed_choice(&bed, own, "own", 1, "its tenant's own; the best of 1 place");
    bed_done(&bed, own); /* what is idle is lent again */
    bed_pass(&bed);
    count = 0;
    for (uint32_t i = 0; i < 4; i++)
        count += bed_state(&bed, stopped[i]) == JOB_STARTING;
    assert_int_equal(count, 2);
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* A higher class does not stop what is settled in its own cells; nor is it lent them when it cannot
 * be stopped. Who is lent is promised nothing there. */
static void test_settled(void **state)
{
    struct bed bed = create();
    struct event event = cells("lab", 0, 2), urgent = gang("other", 5, 4, CHECKPOINT_ASKED);
    uint64_t own[2], id;
    struct job_view view;

    (void)state;
    bed_step(&bed, &event);
    for (uint32_t i = 0; i < 2; i++)
        own[i] = start(&bed, rack_gang("lab", CHECKPOINT_ASKED));
    urgent.job_submitted.request.job_class = CLASS_URGENT;
    id = start(&bed, urgent);
    for (uint32_t i = 0; i < 5; i++) {
        bed.now_ms += MINUTE_MS;
        bed_pass(&bed);
    }
    assert_int_equal(bed.stops, 0);
    view = bed_view(&bed, id);
    assert_int_equal(view.state, JOB_QUEUED);
    assert_int_equal(view.promised_start_ms, 0);
    bed_done(&bed, own[0]); /* it may be lent some */
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* Those under the tenant share its cells; a child with cells of its own has those alone. */
static void test_below(void **state)
{
    struct bed bed = create();
    struct event event = cells("lab", 0, 2);
    uint64_t id;

    (void)state;
    bed_step(&bed, &event);
    set_tenant(&bed, "group", "lab");
    for (uint32_t i = 0; i < 4; i++)
        start(&bed, gang("other", 1, 4, CHECKPOINT_NONE));
    id = start(&bed, rack_gang("group", CHECKPOINT_NONE));
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    set_tenant(&bed, "group", ""); /* it is a stranger from now on; what runs stays */
    bed_restart(&bed);
    assert_int_equal(bed_state(&bed, start(&bed, rack_gang("group", CHECKPOINT_NONE))), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, start(&bed, rack_gang("lab", CHECKPOINT_NONE))), JOB_RUNNING);
    bed_destroy(&bed);
}

/* Nodes that join a rack are in its cell; who is there then stays, and ends by itself. */
static void test_rejoin(void **state)
{
    struct bed bed = create();
    struct event event = cells("lab", 0, 4);

    (void)state;
    bed_step(&bed, &event);
    bed_join_racks(&bed, NODES - 1, RACK_NODES);
    bed_restart(&bed);
    bed_join_racks(&bed, NODES, RACK_NODES);
    bed_restart(&bed);
    assert_int_equal(bed_state(&bed, start(&bed, gang("other", 1, 1, CHECKPOINT_NONE))),
                     JOB_QUEUED);
    bed_destroy(&bed);
}

/* Cells of a site that is forgotten are of no nodes; they are theirs again when it is taken back.
 */
static void test_forgotten(void **state)
{
    struct bed bed = create();
    struct event event = cells("lab", 0, 4);
    struct cell_view view;

    (void)state;
    bed_step(&bed, &event);
    bed_seen(&bed, "here", 1, 10000);
    bed_lost(&bed, "here", 1);
    assert_int_equal(bed_forget(&bed, "here", true), 0);
    assert_true(grid_cell(bed.grid, 0, &view));
    assert_int_equal(view.nodes, 0);
    bed_restart(&bed);
    assert_int_equal(bed_forget(&bed, "here", false), 0);
    bed_join_racks(&bed, NODES, RACK_NODES);
    assert_true(grid_cell(bed.grid, 0, &view));
    assert_int_equal(view.nodes, 2);
    bed_destroy(&bed);
}

/* Whatever a byte of a snapshot is instead: it is refused, or can be gone on with. One of them says
 * whose cells the job's own are, where it asks for what it is not bound to. */
static void test_damaged(void **state)
{
    struct bed bed = create();
    struct event event = cells("lab", 0, 2), move = { .type = EVENT_JOB_MOVE };
    struct buf bytes = buf_init((size_t)1 << 20);
    struct err err = { 0 };

    (void)state;
    bed_step(&bed, &event);
    move.job_move.job_id = bed_submit(&bed, rack_gang("lab", CHECKPOINT_NONE));
    move.job_move.by = move.job_move.reason = "";
    move.job_move.to = "here";
    bed_step(&bed, &move);
    assert_int_equal(grid_snapshot(bed.grid, &bytes), 0);
    move.job_move.to = "";
    for (size_t at = 0; at < bytes.len; at++) {
        struct grid *grid = NULL;
        char was = bytes.data[at];

        bytes.data[at] = 6;
        if (grid_restore(bytes.data, bytes.len, &grid, NULL) == 0 &&
            grid_step(grid, &move, NULL, NULL, NULL, NULL) == 0 &&
            grid_check_invariants(grid, &err) < 0)
            fail_msg("byte %zu: %s", at, err.text);
        grid_destroy(grid);
        bytes.data[at] = was;
    }
    buf_fini(&bytes);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_buddies),
        cmocka_unit_test(test_firm_stays_out), cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_settled),        cmocka_unit_test(test_below),
        cmocka_unit_test(test_rejoin),         cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_damaged),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("guards", tests, NULL, NULL);
}
