/* Work that keeps away from other work: at nodes, racks and sites, both ways, promised and
 * explained. */
#include "bed.h"

#define HOUR 3600000LL
#define MINUTE 60000LL

static struct event called(const char *label, const char *avoids, uint32_t level)
{
    struct event event = bed_job(1);
    struct request_apart *apart = &event.job_submitted.request.shape.apart;

    event.job_submitted.request.duration_ms_max = HOUR;
    if (label)
        snprintf(apart->labels[apart->labels_count++], MODEL_NAME_BYTES, "%s", label);
    if (avoids)
        snprintf(apart->avoids[apart->avoids_count++], MODEL_NAME_BYTES, "%s", avoids);
    apart->level = level;
    return event;
}

/* Four nodes of 4 CPUs, two to a rack, two racks to a supernode. */
static struct bed racks(void)
{
    struct bed bed = bed_create(NULL, 0);
    struct event event = { .type = EVENT_SITE_JOINED };
    struct node_info *nodes = calloc(4, sizeof(*nodes));

    assert_non_null(nodes);
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i);
        snprintf(nodes[i].rack, sizeof(nodes[i].rack), "r%u", i / 2);
        snprintf(nodes[i].supernode, sizeof(nodes[i].supernode), "s0");
        nodes[i].cpus = 4;
        nodes[i].memory_bytes = nodes[i].disk_bytes = 64LL << 30;
    }
    snprintf(event.site_joined.site.name, MODEL_NAME_BYTES, "here");
    event.site_joined.site.nodes = nodes;
    event.site_joined.site.nodes_count = 4;
    bed_step(&bed, &event);
    free(nodes);
    return bed;
}

static uint32_t node_of(struct bed *bed, uint64_t id)
{
    struct job_view view;

    view = bed_view(bed, id);
    assert_true(view.allocation.parts_count > 0);
    return view.allocation.parts[0].node;
}

static uint64_t run(struct bed *bed, struct event event)
{
    uint64_t id = bed_submit(bed, event);

    bed_pass(bed);
    bed_restart(bed);
    return id;
}

/* Copies, one a node; the fifth waits for the first to end, is promised that, and starts then. */
static void test_copies(void **state)
{
    struct bed bed = racks();
    struct why_more more;
    uint64_t ids[5];
    uint32_t seen = 0;

    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        ids[i] = run(&bed, called("web", "web", APART_NODE));
        bed.now_ms += MINUTE;
    }
    for (uint32_t i = 0; i < 4; i++)
        seen |= 1u << node_of(&bed, ids[i]);
    assert_int_equal(seen, 15);
    assert_int_equal(bed_state(&bed, ids[4]), JOB_QUEUED);
    bed_why(&bed, ids[4], "apart", "there is room at here, but only beside job ");
    bed_why(&bed, ids[4], "apart", "starts by ");
    assert_int_equal(grid_why_more(bed.grid, ids[4], &more), 0);
    assert_string_equal(more.changes[0].code, "topology.not_with");
    assert_true(more.changes[0].start_ms <= bed.now_ms);
    run(&bed, bed_job(1)); /* others do not mind */
    assert_int_equal(bed.runs, 5);
    bed_done(&bed, ids[2]);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, ids[4]), JOB_STARTING);
    bed_destroy(&bed);
}

/* Who comes later keeps away, whoever of the two said so; other tenants' labels are others'. */
static void test_both_ways(void **state)
{
    for (uint32_t first = 0; first < 2; first++) {
        struct bed bed = bed_create((struct bed_node[]){ { "n1", 8, 0, NULL } }, 1);
        struct event db = called("db", NULL, 0), shy = called(NULL, "db", APART_NODE);
        struct event other = called("db", "db", APART_SITE);
        uint64_t a = run(&bed, first ? db : shy), b = run(&bed, first ? shy : db);

        (void)state;
        assert_int_equal(bed_state(&bed, a), JOB_STARTING);
        assert_int_equal(bed_state(&bed, b), JOB_QUEUED);
        bed_why(&bed, b, "apart", "in one node");
        run(&bed, first ? db : shy); /* two that are called the same, or two that are shy */
        other.job_submitted.tenant = "bob";
        run(&bed, other);
        assert_int_equal(bed.runs, 3);
        bed_destroy(&bed);
    }
}

static void test_levels(void **state)
{
    struct bed bed = racks();
    uint64_t first, second, third;

    (void)state;
    first = run(&bed, called("web", "web", APART_RACK));
    second = run(&bed, called("web", "web", APART_RACK));
    third = run(&bed, called("web", "web", APART_RACK));
    assert_int_not_equal(node_of(&bed, first) / 2, node_of(&bed, second) / 2);
    assert_int_equal(bed_state(&bed, third), JOB_QUEUED);
    bed_why(&bed, third, "apart", "in one rack");
    /* The wider of both: it would be content with another node. */
    third = run(&bed, called("web", NULL, 0));
    assert_int_equal(bed_state(&bed, third), JOB_QUEUED);
    bed_done(&bed, first);
    bed_pass(&bed);
    assert_int_equal(bed.runs, 3);
    bed_destroy(&bed);

    bed = racks();
    run(&bed, called("web", "web", APART_SUPERNODE));
    second = run(&bed, called("web", "web", APART_SUPERNODE));
    assert_int_equal(bed_state(&bed, second), JOB_QUEUED);
    bed_destroy(&bed);

    bed = racks();
    bed_join(&bed, "there", (struct bed_node[]){ { "n1", 8, 0, NULL } }, 1);
    first = run(&bed, called("web", "web", APART_SITE));
    second = run(&bed, called("web", "web", APART_SITE));
    third = run(&bed, called("web", "web", APART_SITE));
    assert_int_equal(bed.runs, 2);
    bed_why(&bed, third, "apart", "in one site");
    bed_destroy(&bed);
}

/* Gangs: none of one beside any of the other. */
static void test_gangs(void **state)
{
    struct bed bed = racks();
    struct event pair = called("train", "train", APART_RACK);
    struct job_view view;
    uint32_t rack;
    uint64_t first, second;

    (void)state;
    pair.job_submitted.request.shape.tasks = 2;
    pair.job_submitted.request.shape.tasks_per_node = 1;
    pair.job_submitted.request.shape.within = TOPOLOGY_RACK;
    pair.job_submitted.request.shape.within_hard = 1;
    first = run(&bed, pair);
    second = run(&bed, pair);
    assert_int_equal(bed.runs, 2);
    rack = node_of(&bed, first) / 2;
    view = bed_view(&bed, second);
    assert_int_equal(view.allocation.parts_count, 2);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_not_equal(view.allocation.parts[i].node / 2, rack);
    bed_destroy(&bed);
}

/* What is promised to one is kept free of those it is to be apart from, however little they ask. */
static void test_beside_promises(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 4, 0, NULL } }, 1);
    struct event big = called("db", NULL, 0), small = called(NULL, "db", APART_NODE);
    struct job_view view;
    uint64_t waits, later;

    (void)state;
    run(&bed, called(NULL, NULL, 0)); /* an hour of one CPU */
    big.job_submitted.request.shape.cpus = 4;
    waits = run(&bed, big);
    view = bed_view(&bed, waits);
    assert_true(view.promised_start_ms > 0);
    small.job_submitted.request.duration_ms_max = 3 * HOUR;
    later = run(&bed, small);
    assert_int_equal(bed_state(&bed, later), JOB_QUEUED);
    small.job_submitted.request.duration_ms_max = HOUR / 2; /* it is gone by then */
    later = run(&bed, small);
    assert_int_equal(bed_state(&bed, later), JOB_STARTING);
    bed_destroy(&bed);

    /* Nothing of the CPUs of node n2 is missing: only whom it is beside matters. */
    bed = bed_create((struct bed_node[]){ { "n1", 4, 0, NULL } }, 1);
    run(&bed, called("db", NULL, 0));
    waits = run(&bed, called(NULL, "db", APART_NODE));
    view = bed_view(&bed, waits);
    assert_int_equal(view.promised_start_ms, bed.now_ms + HOUR + MINUTE);
    big = called("db", NULL, 0);
    big.job_submitted.request.duration_ms_max = 2 * HOUR; /* it would be there then */
    later = run(&bed, big);
    assert_int_equal(bed_state(&bed, later), JOB_QUEUED);
    bed_done(&bed, 1);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, waits), JOB_STARTING);
    bed_destroy(&bed);
}

static void test_refused(void **state)
{
    struct bed bed = racks();
    struct event event = called("web", "web", APART_COUNT);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    assert_string_equal(err.field, "topology.not_with");
    event = called("", NULL, 0);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = called("web", NULL, 0);
    event.job_submitted.request.shape.apart.avoids_count = REQUEST_APART_MAX + 1;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = called("web", NULL, 0);
    memset(event.job_submitted.request.shape.apart.labels[0], 'x', MODEL_NAME_BYTES);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),          cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_levels),          cmocka_unit_test(test_gangs),
        cmocka_unit_test(test_beside_promises), cmocka_unit_test(test_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
