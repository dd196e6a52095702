/* Where jobs go, who goes first, and what they are told who wait. */
#include "bed.h"

static struct event gang(uint32_t tasks, uint32_t cpus, uint32_t per_node)
{
    struct event event = bed_job(cpus);

    event.job_submitted.request.shape.tasks = tasks;
    event.job_submitted.request.shape.tasks_per_node = per_node;
    return event;
}

static struct event device_job(uint32_t milli)
{
    struct event event = bed_job(1);

    event.job_submitted.request.shape.devices_milli = milli;
    return event;
}

static struct allocation allocation_of(struct bed *bed, uint64_t id)
{
    struct job_view view;

    view = bed_view(bed, id);
    return view.allocation;
}

/* "n1:4 n2:2": node and tasks of each part. */
static void assert_parts(struct bed *bed, uint64_t id, const char *expected)
{
    struct allocation allocation = allocation_of(bed, id);
    int site = grid_site_find(bed->grid, allocation.site);
    char text[256] = "";
    size_t len = 0;

    for (uint32_t i = 0; i < allocation.parts_count; i++) {
        struct node_view node;

        assert_true(grid_node_get(bed->grid, (uint32_t)site, allocation.parts[i].node, &node));
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%.20s:%u", i ? " " : "",
                                node.info->name, allocation.parts[i].tasks);
    }
    assert_string_equal(text, expected);
}

/* --- packing ------------------------------------------------------------------------------------
 */

static void test_gangs(void **state)
{
    static const struct bed_node nodes[] = { { "n1", 4, 0, NULL },
                                             { "n2", 8, 0, NULL },
                                             { "n3", 2, 0, NULL } };
    static const struct {
        uint32_t tasks, cpus, per_node;
        const char *expected; /* NULL: does not fit */
    } cases[] = {
        { 1, 1, 0, "n3:1" }, /* the tightest node */
        { 3, 1, 0, "n1:3" }, /* together where one holds all */
        { 8, 1, 0, "n2:8" },
        { 10, 1, 0, "n2:8 n3:2" }, /* the fewest nodes, and the rest where it fills */
        { 11, 1, 0, "n2:8 n1:3" },
        { 14, 1, 0, "n2:8 n1:4 n3:2" },
        { 15, 1, 0, NULL },
        { 3, 1, 1, "n3:1 n1:1 n2:1" }, /* spread as it asks */
        { 4, 1, 1, NULL },
        { 3, 4, 0, "n2:2 n1:1" },
        { 4, 4, 0, NULL },
        { 2, 3, 1, "n1:1 n2:1" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bed bed = bed_create(nodes, ARRAY_COUNT(nodes));
        uint64_t id = bed_submit(&bed, gang(cases[i].tasks, cases[i].cpus, cases[i].per_node));

        bed_pass(&bed);
        if ((bed.runs == 1) != (cases[i].expected != NULL))
            fail_msg("case %zu: %u starts", i, bed.runs);
        if (cases[i].expected)
            assert_parts(&bed, id, cases[i].expected);
        bed_destroy(&bed);
    }
}

static void test_shares_keep_devices_whole(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 16, 2, "fast" },
                                                     { "n2", 16, 2, "fast" },
                                                     { "cpu", 16, 0, 0 } },
                                3);
    uint64_t half = bed_submit(&bed, device_job(500)), third, whole, plain;

    (void)state;
    bed_pass(&bed);
    third = bed_submit(&bed, device_job(300));
    bed_pass(&bed);
    assert_int_equal(allocation_of(&bed, half).parts[0].node,
                     allocation_of(&bed, third).parts[0].node);
    assert_int_equal(allocation_of(&bed, half).parts[0].devices[0].index,
                     allocation_of(&bed, third).parts[0].devices[0].index);
    bed_submit(&bed, device_job(300)); /* 200 are left there: another device */
    bed_pass(&bed);
    assert_int_equal(bed.runs, 3);
    whole = bed_submit(&bed, device_job(2000)); /* two whole ones are left on the other node */
    bed_pass(&bed);
    assert_int_equal(allocation_of(&bed, whole).parts[0].devices_count, 2);
    plain = bed_submit(&bed, bed_job(1)); /* nodes with devices are kept for those who need them */
    bed_pass(&bed);
    assert_parts(&bed, plain, "cpu:1");
    bed_destroy(&bed);
}

static void test_chips(void **state)
{
    static const struct bed_node fast[] = { { "f", 8, 2, "fast" } };
    static const struct bed_node slow[] = { { "s", 8, 2, "slow" } };
    struct bed bed = bed_create(NULL, 0);
    struct event event;
    uint64_t ids[5];

    (void)state;
    bed_join(&bed, "west", slow, 1);
    bed_join(&bed, "east", fast, 1);
    ids[0] = bed_submit(&bed, device_job(1000)); /* fastest: by the catalogue's figures */
    event = device_job(1000);
    event.job_submitted.request.objective = OBJECTIVE_GREENEST; /* the one that draws less */
    ids[1] = bed_submit(&bed, event);
    event = device_job(100);
    event.job_submitted.request.shape.chips_count = 2; /* its own order comes first */
    strcpy(event.job_submitted.request.shape.chips[0], "slow");
    strcpy(event.job_submitted.request.shape.chips[1], "fast");
    ids[2] = bed_submit(&bed, event);
    event = device_job(100);
    event.job_submitted.request.shape.needs_count = 1;
    event.job_submitted.request.shape.needs[0].metric = METRIC_BF16_TFLOPS;
    event.job_submitted.request.shape.needs[0].least_milli = 500000;
    ids[3] = bed_submit(&bed, event);
    event = device_job(100);
    event.job_submitted.request.shape.places_count = 1;
    event.job_submitted.request.shape.places[0].kind = PLACE_REGION;
    event.job_submitted.request.shape.places[0].deny = 1;
    strcpy(event.job_submitted.request.shape.places[0].name, "region-of-east");
    ids[4] = bed_submit(&bed, event);
    bed_pass(&bed);
    assert_string_equal(allocation_of(&bed, ids[0]).site, "east");
    assert_string_equal(allocation_of(&bed, ids[1]).site, "west");
    assert_string_equal(allocation_of(&bed, ids[2]).site, "west");
    assert_string_equal(allocation_of(&bed, ids[3]).site, "east");
    assert_string_equal(allocation_of(&bed, ids[4]).site, "west");
    bed_destroy(&bed);
}

/* --- order --------------------------------------------------------------------------------------
 */

static void test_order(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 1, 0, NULL } }, 1);
    static const uint32_t classes[] = { CLASS_LOW, CLASS_NORMAL, CLASS_URGENT, CLASS_NORMAL,
                                        CLASS_HIGH };
    static const uint64_t expected[] = { 3, 5, 2, 4, 1 };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(classes); i++) {
        struct event event = bed_job(1);

        event.job_submitted.request.job_class = classes[i];
        event.job_submitted.request.shape.memory_bytes = (int64_t)i; /* each its own shape */
        bed_submit(&bed, event);
    }
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        bed_pass(&bed);
        assert_int_equal(bed.runs, i + 1);
        assert_int_equal(bed.run_jobs[i], expected[i]);
        bed_done(&bed, expected[i]);
    }
    bed_destroy(&bed);
}

/* A requeued job goes back to where it stood. */
static void test_requeued_keeps_its_place(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 1, 0, NULL } }, 1);
    uint64_t first = bed_submit(&bed, bed_job(1));

    (void)state;
    bed.now_ms++;
    bed_submit(&bed, bed_job(1));
    bed_pass(&bed);
    bed_ended(&bed, first, 1, OUTCOME_LOST, 0);
    bed_pass(&bed);
    assert_int_equal(bed.run_jobs[1], first);
    bed_destroy(&bed);
}

static struct event limited(uint32_t tasks, uint32_t cpus, int64_t duration_ms)
{
    struct event event = gang(tasks, cpus, 0);

    event.job_submitted.request.duration_ms_max = duration_ms;
    return event;
}

/* Behind a blocked wide job: what is gone by then, or does not use its nodes, may go first. */
static void test_backfill(void **state)
{
    static const struct bed_node nodes[] = { { "n1", 4, 0, NULL }, { "n2", 4, 0, NULL } };
    struct bed bed = bed_create(nodes, 2);
    uint64_t wide, too_long, is_short;

    (void)state;
    bed_submit(&bed, limited(1, 3, 600000)); /* ten minutes on n1 */
    bed_pass(&bed);
    wide = bed_submit(&bed, limited(2, 4, 600000)); /* both nodes, when n1 is free */
    too_long = bed_submit(&bed, limited(1, 1, 3600000));
    is_short = bed_submit(&bed, limited(1, 2, 60000));
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, wide), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, too_long), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, is_short), JOB_STARTING);
    bed_why(&bed, wide, "busy", "it is next; ");
    bed_why(&bed, too_long, "priority", "1 job is ahead of it");
    bed.now_ms += 600000;
    bed_done(&bed, is_short);
    bed_done(&bed, 1);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, wide), JOB_STARTING);
    assert_parts(&bed, wide, "n1:1 n2:1");
    bed_destroy(&bed);
}

/* What is over beside the promised part is free for all. */
static void test_backfill_beside(void **state)
{
    static const struct bed_node nodes[] = { { "n1", 4, 0, NULL }, { "n2", 8, 0, NULL } };
    struct bed bed = bed_create(nodes, 2);
    uint64_t wide, beside, over;

    (void)state;
    bed_submit(&bed, limited(2, 3, 600000));
    bed_pass(&bed);                                 /* 6 of 8 on n2 */
    wide = bed_submit(&bed, limited(1, 6, 600000)); /* on n2, when that has ended: 2 are over */
    beside = bed_submit(&bed, limited(1, 2, 0));
    over =
        bed_submit(&bed, limited(3, 2, 0)); /* n1 holds two of these: a third breaks the promise */
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, wide), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, beside), JOB_STARTING);
    assert_int_equal(bed_state(&bed, over), JOB_QUEUED);
    bed_done(&bed, 1);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, wide), JOB_STARTING);
    bed_destroy(&bed);
}

/* A stream of small jobs without limits must not starve a wide one: after GRID_HOLD_AFTER_MS it
 * holds its nodes, and it starts when what ran then has ended. */
static void test_no_starvation(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 4, 0, NULL } }, 1);
    uint64_t ids[64], wide;
    uint32_t first = 0, count = 0, waited = 0;

    (void)state;
    for (; count < 4; count++)
        ids[count] = bed_submit(&bed, bed_job(1));
    bed_pass(&bed);
    wide = bed_submit(&bed, gang(1, 4, 0));
    for (; bed_state(&bed, wide) == JOB_QUEUED; waited++) {
        assert_true(waited < 20);
        bed.now_ms += 60000;
        ids[count++] = bed_submit(&bed, bed_job(1));
        if (bed_state(&bed, ids[first]) == JOB_STARTING)
            bed_done(&bed, ids[first++]);
        bed_pass(&bed);
    }
    /* Five minutes around it, then the four that ran at that time end, one a minute. */
    assert_in_range(waited, 5, 9);
    bed_destroy(&bed);
}

static void test_quotas(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 16, 4, "fast" } }, 1);
    struct event set = bed_tenant("alice"), event;
    struct err err = { 0 };
    uint64_t ids[4];

    (void)state;
    set.tenant_set.cpus_max = 4;
    set.tenant_set.devices_milli_max = 1500;
    set.tenant_set.jobs_max = 4;
    bed_step(&bed, &set);
    ids[0] = bed_submit(&bed, bed_job(3));
    ids[1] = bed_submit(&bed, bed_job(2));
    ids[2] = bed_submit(&bed, device_job(1000));
    ids[3] = bed_submit(&bed, device_job(1000));
    event = bed_job(1);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EDQUOT);
    event.job_submitted.tenant = "bob";
    assert_int_equal(bed_try(&bed, &event, NULL, &err), 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, ids[0]), JOB_STARTING);
    assert_int_equal(bed_state(&bed, ids[1]), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, ids[2]), JOB_STARTING); /* a full quota blocks nobody else */
    bed_why(&bed, ids[1], "quota", "tenant alice holds 4 CPUs, this needs 2 more, its limit is 4");
    bed_done(&bed, ids[0]);
    bed_why(&bed, ids[3], "quota",
            "tenant alice holds 1 devices, this needs 1 more, its limit is 1.5");
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, ids[1]), JOB_STARTING);
    set.tenant_set.devices_milli_max = -1;
    bed_step(&bed, &set);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, ids[3]), JOB_STARTING);
    bed_destroy(&bed);
}

/* --- sites that change
 * ---------------------------------------------------------------------------- */

static void test_nodes_come_and_go(void **state)
{
    static const struct bed_node both[] = { { "n1", 2, 0, NULL }, { "n2", 4, 1, "fast" } };
    static const struct bed_node reversed[] = { { "n2", 4, 1, "fast" }, { "n1", 1, 0, NULL } };
    struct bed bed = bed_create(both, 2);
    uint64_t held = bed_submit(&bed, device_job(600)), other;
    struct node_view node;

    (void)state;
    bed_pass(&bed);
    assert_parts(&bed, held, "n2:1");
    bed_join(&bed, "here", both, 1); /* n2 is gone; its attempt goes on until the site says so */
    assert_int_equal(bed_state(&bed, held), JOB_STARTING);
    other = bed_submit(&bed, bed_job(4));
    bed_pass(&bed);
    bed_why(&bed, other, "cordoned", "cordoned, sick or gone");
    bed_join(&bed, "here", reversed, 2); /* back, in another order, n1 smaller */
    assert_parts(&bed, held, "n2:1");
    assert_true(grid_node_get(bed.grid, 0, 1, &node));
    assert_string_equal(node.info->name, "n2"); /* a node keeps its index */
    assert_int_equal(node.devices_free_milli[0], 400);
    assert_int_equal(node.cpus_free, 3);
    bed_done(&bed, held);
    bed_pass(&bed);
    assert_parts(&bed, other, "n2:1");
    bed_destroy(&bed);
}

static void test_cordon(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 4, 2, "fast" } }, 1);
    struct event event = { .type = EVENT_NODE_STATE };
    uint64_t id, second;

    (void)state;
    event.node_state.site = "here";
    event.node_state.node = "n1";
    event.node_state.device = 0;
    event.node_state.cordoned = true;
    event.node_state.reason = "";
    bed_step(&bed, &event);
    id = bed_submit(&bed, device_job(1000));
    bed_pass(&bed);
    assert_int_equal(allocation_of(&bed, id).parts[0].devices[0].index, 1);
    event.node_state.device = -1;
    event.node_state.reason = "fan";
    bed_step(&bed, &event);
    second = bed_submit(&bed, bed_job(1));
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, second), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    event.node_state.cordoned = false;
    bed_step(&bed, &event);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, second), JOB_STARTING);
    bed_destroy(&bed);
}

static void test_unreachable(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 4, 0, NULL } }, 1);
    uint64_t running = bed_submit(&bed, bed_job(1)), waiting;
    bool reachable;

    (void)state;
    bed_pass(&bed);
    bed_started(&bed, running, 1);
    bed_seen(&bed, "here", 7, 0);
    bed_lost(&bed, "here", 6); /* an older session's end says nothing */
    grid_site_get(bed.grid, 0, &reachable);
    assert_true(reachable);
    bed_lost(&bed, "here", 7);
    assert_int_equal(bed_state(&bed, running), JOB_RUNNING); /* it goes on there */
    bed_why(&bed, running, "running", "not reachable now: it goes on");
    waiting = bed_submit(&bed, bed_job(1));
    bed_pass(&bed);
    bed_why(&bed, waiting, "unreachable", "site here");
    bed_seen(&bed, "here", 8, 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, waiting), JOB_STARTING);
    bed_destroy(&bed);
}

/* --- why and plan
 * ---------------------------------------------------------------------------------- */

static void test_why_never(void **state)
{
    static const struct bed_node nodes[] = { { "vm", 2, 0, NULL }, { "g", 4, 2, "slow" } };
    struct bed empty = bed_create(NULL, 0), bed = bed_create(nodes, 2);
    struct event event;

    (void)state;
    bed_why(&empty, bed_submit(&empty, bed_job(1)), "no_site", "no site has joined");
    bed_destroy(&empty);
#define WHY(code, text, make, ...)                                                                 \
    do {                                                                                           \
        struct request_shape *shape = &event.job_submitted.request.shape;                          \
        event = make;                                                                              \
        __VA_ARGS__;                                                                               \
        (void)shape;                                                                               \
        bed_why(&bed, bed_submit(&bed, event), code, text);                                        \
    } while (0)
    WHY("cpus", "needs 64 CPUs per task, the largest node (g) has 4: lower resources.cpus",
        bed_job(64));
    WHY("memory", "the largest node (vm) has 64 GiB", bed_job(1), shape->memory_bytes = 65LL << 30);
    WHY("disk", "resources.disk", bed_job(1), shape->disk_bytes = 101LL << 30);
    WHY("devices", "needs 3 devices per task, the most on one node (g) is 2", device_job(3000));
    WHY("device_memory", "the largest has 80 GiB", device_job(100),
        shape->device_memory_bytes = 81LL << 30);
    WHY("chip", "no node has a fast", device_job(100), shape->chips_count = 1;
        strcpy(shape->chips[0], "fast"));
    WHY("need", "needs bf16_tflops >= 900, the best chip has 100", device_job(100),
        shape->needs_count = 1;
        shape->needs[0] =
            (struct request_need){ .metric = METRIC_BF16_TFLOPS, .least_milli = 900000 });
    WHY("where", "leaves no site", bed_job(1), shape->places_count = 1;
        shape->places[0].kind = PLACE_SITE; strcpy(shape->places[0].name, "mars"));
    WHY("tasks", "the most that fit is 6 (here)", gang(7, 1, 0));
    WHY("tasks", "the most that fit is 2 (here)", gang(3, 1, 1));
#undef WHY
    bed_destroy(&bed);
}

static void test_plan(void **state)
{
    static const struct bed_node fast[] = { { "f", 8, 1, "fast" } };
    static const struct bed_node slow[] = { { "s", 8, 1, "slow" } };
    struct plan_candidate list[PLAN_CANDIDATES_MAX];
    struct bed bed = bed_create(NULL, 0);
    struct event event = device_job(1000);
    struct buf before = buf_init(1 << 20), after = buf_init(1 << 20);
    uint32_t count;

    (void)state;
    bed_join(&bed, "west", slow, 1);
    bed_join(&bed, "east", fast, 1);
    event.job_submitted.request.duration_ms_max = 1800000;
    bed_submit(&bed, event);
    bed_pass(&bed); /* the fast one is taken for half an hour */
    grid_snapshot(bed.grid, &before);
    assert_int_equal(
        grid_plan(bed.grid, &event.job_submitted.request, "alice", bed.now_ms, list, &count, NULL),
        0);
    grid_snapshot(bed.grid, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].site, "west"); /* what a pass would choose: it fits now */
    assert_true(list[0].fits_now);
    assert_int_equal(list[0].energy_mj, 100LL * 1000 * 1800);
    assert_int_equal(list[0].carbon_ug, 20000000); /* 0.05 kWh at 400 g */
    assert_int_equal(list[0].price_micro, (36000 + 3600000 + 25000) / 2);
    assert_string_equal(list[1].site, "east");
    assert_string_equal(list[1].chip, "fast");
    assert_false(list[1].fits_now);
    assert_int_equal(list[1].start_estimate_ms, bed.now_ms + 1800000 + 60000);
    event.job_submitted.request.shape.devices_milli = 2000;
    assert_int_equal(
        grid_plan(bed.grid, &event.job_submitted.request, "alice", bed.now_ms, list, &count, NULL),
        0);
    assert_int_equal(count, 2);
    assert_false(list[0].fits_ever);
    assert_string_equal(list[0].reason, "does not fit: devices: needs 2, has 1");
    event.job_submitted.request.shape.cpus = 0;
    assert_int_equal(
        grid_plan(bed.grid, &event.job_submitted.request, "alice", bed.now_ms, list, &count, NULL),
        -EINVAL);
    buf_fini(&before);
    buf_fini(&after);
    bed_destroy(&bed);
}

static void test_damaged_snapshots(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 4, 1, "fast" } }, 1);
    struct buf bytes = buf_init(1 << 20);
    struct grid *grid = NULL;
    struct err err = { 0 };
    uint32_t taken = 0;

    (void)state;
    bed_submit(&bed, device_job(500));
    bed_submit(&bed, bed_job(64));
    bed_pass(&bed);
    grid_snapshot(bed.grid, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        assert_int_equal(grid_restore(bytes.data, len, &grid, &err), -EBADMSG);
        assert_true(err.text[0]);
    }
    for (size_t i = 0; i < bytes.len; i++) { /* a bit may hit a name; then it is a sound state */
        bytes.data[i] ^= 1;
        if (grid_restore(bytes.data, bytes.len, &grid, NULL) == 0) {
            assert_int_equal(grid_check_invariants(grid, NULL), 0);
            grid_destroy(grid);
            taken++;
        }
        bytes.data[i] ^= 1;
    }
    assert_true(taken < bytes.len);
    buf_fini(&bytes);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gangs),
        cmocka_unit_test(test_shares_keep_devices_whole),
        cmocka_unit_test(test_chips),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_requeued_keeps_its_place),
        cmocka_unit_test(test_backfill),
        cmocka_unit_test(test_backfill_beside),
        cmocka_unit_test(test_no_starvation),
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_nodes_come_and_go),
        cmocka_unit_test(test_cordon),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_why_never),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_damaged_snapshots),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
