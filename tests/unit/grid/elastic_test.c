/* Elastic jobs: how wide they start, when they grow, for whom they shrink; and spare nodes. */
#include "bed.h"

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)

static const struct bed_node eight[] = { { "n1", 8, 8, "fast" } };
static const struct bed_node four[] = {
    { "n1", 8, 8, "fast" }, { "n2", 8, 8, "fast" }, { "n3", 8, 8, "fast" }, { "n4", 8, 8, "fast" }
};

/* 2 to 8 tasks of a device each; it grows when it has run for a minute. */
static struct event elastic(uint32_t tasks, uint32_t most, uint32_t step)
{
    struct event event = bed_job(1);
    struct job_request *request = &event.job_submitted.request;

    request->checkpoint = CHECKPOINT_ASKED;
    request->shape.tasks = tasks;
    request->shape.devices_milli = 1000;
    request->tasks_max = most;
    request->tasks_step = step;
    request->resize_hold_ms = MINUTE_MS;
    return event;
}

static struct event rigid(uint32_t tasks, int64_t duration_ms)
{
    struct event event = bed_job(1);

    event.job_submitted.request.shape.tasks = tasks;
    event.job_submitted.request.shape.devices_milli = 1000;
    event.job_submitted.request.duration_ms_max = duration_ms;
    return event;
}

static void after(struct bed *bed, int64_t ms)
{
    bed->now_ms += ms;
    bed_pass(bed);
}

static uint64_t submit_run(struct bed *bed, struct event event)
{
    uint64_t id = bed_submit(bed, event);

    bed_pass(bed);
    if (bed_state(bed, id) == JOB_STARTING)
        bed_started(bed, id, 1);
    return id;
}

/* The site says that it has stopped. */
static void stopped(struct bed *bed, uint64_t id, uint32_t epoch)
{
    assert_int_equal(bed_state(bed, id), JOB_STOPPING);
    bed_ended(bed, id, epoch, OUTCOME_STOPPED, 0);
}

static int try_resize(struct bed *bed, uint64_t id, uint32_t tasks, struct err *err)
{
    struct event event = { .type = EVENT_JOB_RESIZE };

    event.job_resize.job_id = id;
    event.job_resize.tasks = tasks;
    event.job_resize.by = "al";
    event.job_resize.reason = "";
    return bed_try(bed, &event, NULL, err);
}

static void close_node(struct bed *bed, const char *node)
{
    struct event event = { .type = EVENT_NODE_STATE };

    event.node_state.site = "here";
    event.node_state.node = node;
    event.node_state.device = -1;
    event.node_state.cordoned = true;
    event.node_state.reason = "sick";
    bed_step(bed, &event);
}

static void test_refused(void **state)
{
    struct bed bed = bed_create(eight, 1);
    struct event event;
    struct err err = { 0 };

    (void)state;
    event = elastic(2, 8, 1);
    event.job_submitted.request.checkpoint = CHECKPOINT_NONE;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    assert_string_equal(err.field, "elastic");
    event = elastic(2, 8, 1);
    event.job_submitted.request.requeue_on_loss = 0;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = elastic(2, 2, 1);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = elastic(2, 8, 0);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = elastic(2, 0, 1);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = elastic(2, REQUEST_TASKS_MAX + 1, 1);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = rigid(1, 0);
    event.job_submitted.request.spares = 1;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    assert_string_equal(err.field, "spares");
    bed_destroy(&bed);
}

static void test_width(void **state)
{
    static const struct {
        uint32_t least, most, step, tasks, width;
    } cases[] = {
        { 2, 8, 1, 8, 8 },
        { 2, 8, 1, 1, 2 },
        { 2, 8, 4, 8, 6 },
        { 2, 8, 4, 5, 2 },
        { 2, 8, 1, 100, 8 },
        { 3, 20, REQUEST_STEP_DOUBLE, 20, 12 },
        { 3, 20, REQUEST_STEP_DOUBLE, 11, 6 },
        { 1, REQUEST_TASKS_MAX, REQUEST_STEP_DOUBLE, UINT32_MAX, 65536 },
        { 5, 0, 0, 9, 5 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(
            request_width(cases[i].least, cases[i].most, cases[i].step, cases[i].tasks),
            cases[i].width);
}

static void test_starts_wide(void **state)
{
    struct bed bed = bed_create(eight, 1);
    uint64_t first, second, third;

    (void)state;
    first = submit_run(&bed, rigid(3, 0));
    second = submit_run(&bed, elastic(1, 8, 2)); /* 1, 3, 5, 7: five are free */
    assert_int_equal(bed_width(&bed, first), 3);
    assert_int_equal(bed_width(&bed, second), 5);
    bed_why(&bed, second, "running", "on 5 of 1 to 8 tasks");
    third = submit_run(&bed, elastic(2, 8, 1));
    assert_int_equal(bed_state(&bed, third), JOB_QUEUED);
    bed_done(&bed, first);
    bed_pass(&bed);
    assert_int_equal(bed_width(&bed, third), 3);
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* By its tenant's limit, too. */
static void test_starts_within_limits(void **state)
{
    struct bed bed = bed_create(eight, 1);
    struct event event = bed_tenant("alice");
    uint64_t id;

    (void)state;
    event.tenant_set.devices_milli_max = 6000;
    bed_step(&bed, &event);
    id = submit_run(&bed, elastic(2, 8, REQUEST_STEP_DOUBLE));
    assert_int_equal(bed_width(&bed, id), 4);
    after(&bed, 2 * MINUTE_MS);
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING); /* 8 would be too many */
    bed_destroy(&bed);
}

/* Beside a promised start it takes what is over. */
static void test_starts_beside_promise(void **state)
{
    struct bed bed = bed_create(eight, 1);
    uint64_t runs, waits, id;
    int64_t promised_ms;

    (void)state;
    runs = submit_run(&bed, rigid(4, 10 * MINUTE_MS));
    waits = submit_run(&bed, rigid(6, 10 * MINUTE_MS));
    promised_ms = bed_view(&bed, waits).promised_start_ms;
    assert_true(promised_ms > 0);
    id = submit_run(&bed, elastic(1, 4, 1)); /* for ever: two are over beside the promise */
    assert_int_equal(bed_width(&bed, id), 2);
    assert_int_equal(bed_view(&bed, waits).promised_start_ms, promised_ms);
    bed_done(&bed, runs);
    bed_pass(&bed);
    assert_int_equal(bed_width(&bed, waits), 6);
    bed_destroy(&bed);
}

static void test_grows(void **state)
{
    struct bed bed = bed_create(eight, 1);
    uint64_t other = submit_run(&bed, rigid(6, 0)), id = submit_run(&bed, elastic(2, 8, 1));
    uint32_t runs;

    (void)state;
    assert_int_equal(bed_width(&bed, id), 2);
    bed_done(&bed, other);
    after(&bed, MINUTE_MS - SECOND_MS);
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING); /* it has not run for its hold */
    after(&bed, 10 * SECOND_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    bed_why(&bed, id, "resizing", "grows from 2 to 8 tasks: there is room");
    bed_restart(&bed);
    runs = bed.runs;
    stopped(&bed, id, 1);
    assert_int_equal(bed.runs, runs + 1); /* in the same step */
    assert_int_equal(bed_width(&bed, id), 8);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    assert_int_equal(bed_view(&bed, id).epoch, 2);
    assert_int_equal(bed_view(&bed, id).attempts_failed + bed_view(&bed, id).attempts_lost, 0);
    bed_started(&bed, id, 2);
    bed_restart(&bed);
    bed_ended(&bed, id, 2, OUTCOME_EXITED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_DONE);
    bed_destroy(&bed);
}

/* What is idle is for who waits, even when it is not enough yet. */
static void test_grows_not(void **state)
{
    struct bed bed = bed_create(eight, 1);
    uint64_t other = submit_run(&bed, rigid(6, 0)), id = submit_run(&bed, elastic(2, 8, 1));
    uint64_t waits;

    (void)state;
    waits = submit_run(&bed, rigid(7, 0));
    bed_done(&bed, other);
    after(&bed, 2 * MINUTE_MS);
    assert_int_equal(bed_state(&bed, waits), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    assert_int_equal(bed_cancel(&bed, waits), 0);
    after(&bed, 2 * MINUTE_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    bed_destroy(&bed);
}

/* A minute is not worth the restart. */
static void test_grows_not_for_nothing(void **state)
{
    struct bed bed = bed_create(eight, 1);
    struct event event = elastic(2, 8, 1);
    uint64_t other = submit_run(&bed, rigid(6, 0)), id;

    (void)state;
    event.job_submitted.request.duration_ms_max = 3 * MINUTE_MS;
    id = submit_run(&bed, event);
    after(&bed, 2 * MINUTE_MS + 30 * SECOND_MS);
    bed_done(&bed, other);
    after(&bed, 10 * SECOND_MS);
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    bed_destroy(&bed);
}

/* Where it would stand in the site's own queue again, it stays as it is. */
static void test_grows_not_into_a_queue(void **state)
{
    static const struct freight_wait waits[] = { { .nodes_max = 1, .wait_ms = 60000 } };
    struct bed bed = bed_create(eight, 1);
    struct event event = { .type = EVENT_SITE_QUEUE };
    uint64_t other = submit_run(&bed, rigid(6, 0)), id = submit_run(&bed, elastic(2, 8, 1));

    (void)state;
    event.site_queue.site = "here";
    event.site_queue.waits = waits;
    event.site_queue.waits_count = 1;
    bed_step(&bed, &event);
    bed_done(&bed, other);
    after(&bed, 20 * MINUTE_MS);
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    event.site_queue.waits_count = 0;
    bed_step(&bed, &event);
    after(&bed, 20 * MINUTE_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    bed_destroy(&bed);
}

static void test_plan(void **state)
{
    struct bed bed = bed_create(eight, 1);
    struct event event = elastic(2, 8, REQUEST_STEP_DOUBLE);
    struct plan_candidate list[PLAN_CANDIDATES_MAX];
    struct err err = { 0 };
    uint32_t count;

    (void)state;
    submit_run(&bed, rigid(3, 0));
    assert_int_equal(
        grid_plan(bed.grid, &event.job_submitted.request, "alice", bed.now_ms, list, &count, &err),
        0);
    assert_int_equal(count, 1);
    assert_non_null(strstr(list[0].reason, "fits now on 4 of 2 to 8 tasks"));
    bed_destroy(&bed);
}

/* Between the asking and the end somebody came: it goes on at least as wide as it was. */
static void test_grows_less(void **state)
{
    struct bed bed = bed_create(eight, 1);
    uint64_t other = submit_run(&bed, rigid(6, 0)), id = submit_run(&bed, elastic(2, 8, 1)), late;

    (void)state;
    bed_done(&bed, other);
    after(&bed, 2 * MINUTE_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    late = submit_run(&bed, rigid(4, 0));
    assert_int_equal(bed_width(&bed, late), 4);
    stopped(&bed, id, 1);
    assert_int_equal(bed_width(&bed, id), 4);
    bed_destroy(&bed);
}

static void test_shrinks(void **state)
{
    struct bed bed = bed_create(eight, 1);
    uint64_t id = submit_run(&bed, elastic(2, 8, 1)), waits;

    (void)state;
    assert_int_equal(bed_width(&bed, id), 8);
    waits = submit_run(&bed, rigid(3, 10 * MINUTE_MS));
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING); /* it waits for seconds first */
    after(&bed, 10 * SECOND_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    bed_why(&bed, id, "resizing", "shrinks from 8 to 5 tasks: job 2 waits for room");
    bed_why(&bed, waits, "preempting", "room is being made for it");
    assert_true(bed_view(&bed, waits).promised_start_ms > 0);
    bed_restart(&bed);
    stopped(&bed, id, 1);
    assert_int_equal(bed_width(&bed, id), 5);
    bed_pass(&bed);
    assert_int_equal(bed_width(&bed, waits), 3);
    bed_started(&bed, id, 2);
    bed_started(&bed, waits, 1);
    bed_done(&bed, waits);
    after(&bed, 2 * MINUTE_MS); /* and grows again */
    stopped(&bed, id, 2);
    assert_int_equal(bed_width(&bed, id), 8);
    bed_destroy(&bed);
}

/* Not for a lower class, and never below its least. */
static void test_shrinks_not(void **state)
{
    struct bed bed = bed_create(eight, 1);
    uint64_t id = submit_run(&bed, elastic(6, 8, 1));
    struct event event = rigid(2, 0);

    (void)state;
    event.job_submitted.request.job_class = CLASS_LOW;
    submit_run(&bed, event);
    after(&bed, 30 * SECOND_MS);
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    submit_run(&bed, rigid(3, 0));
    after(&bed, 30 * SECOND_MS);
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    submit_run(&bed, rigid(2, 0)); /* the first in line still cannot, but this one is promised */
    after(&bed, 30 * SECOND_MS);
    after(&bed, 30 * SECOND_MS);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    stopped(&bed, id, 1);
    assert_int_equal(bed_width(&bed, id), 6);
    bed_destroy(&bed);
}

/* Before somebody is stopped whole, who can gives some. */
static void test_shrinks_before_preemption(void **state)
{
    struct bed bed = bed_create(four, 2);
    struct event low = rigid(8, 0), wide = elastic(2, 8, REQUEST_STEP_DOUBLE), urgent = rigid(4, 0);
    uint64_t whole, gives, waits;

    (void)state;
    low.job_submitted.request.job_class = CLASS_LOW;
    wide.job_submitted.request.job_class = CLASS_LOW;
    urgent.job_submitted.request.job_class = CLASS_URGENT;
    whole = submit_run(&bed, low);
    gives = submit_run(&bed, wide);
    assert_int_equal(bed_width(&bed, gives), 8);
    after(&bed, 5 * MINUTE_MS);
    waits = submit_run(&bed, urgent);
    after(&bed, 40 * SECOND_MS);
    assert_int_equal(bed_state(&bed, whole), JOB_RUNNING);
    stopped(&bed, gives, 1);
    assert_int_equal(bed_width(&bed, gives), 4);
    bed_pass(&bed);
    assert_int_equal(bed_width(&bed, waits), 4);
    assert_int_equal(bed_state(&bed, whole), JOB_RUNNING);
    bed_destroy(&bed);
}

static void test_wish(void **state)
{
    static const struct {
        uint32_t job, tasks; /* job: 0 elastic, 1 rigid, 2 unknown */
        int rc;
        const char *text;
    } cases[] = {
        { 2, 4, -ENOENT, "there is no job" },      { 1, 4, -EPROTO, "is not elastic" },
        { 0, 1, -EINVAL, "runs on 2 to 8 tasks" }, { 0, 9, -EINVAL, "runs on 2 to 8 tasks" },
        { 0, 5, -EINVAL, "the next below is 4" },  { 0, 0, -EALREADY, "as wide as was asked" },
    };
    struct bed bed = bed_create(four, 2);
    uint64_t ids[3] = { submit_run(&bed, elastic(2, 8, REQUEST_STEP_DOUBLE)),
                        submit_run(&bed, rigid(2, 0)), 1000 };
    struct err err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int rc = try_resize(&bed, ids[cases[i].job], cases[i].tasks, &err);

        if (rc != cases[i].rc || !strstr(err.text, cases[i].text))
            fail_msg("case %zu: rc %d, \"%s\"", i, rc, err.text);
    }
    assert_int_equal(try_resize(&bed, ids[0], 4, &err), 0);
    bed_why(&bed, ids[0], "resizing", "shrinks from 8 to 4 tasks: as asked by al");
    bed_restart(&bed);
    stopped(&bed, ids[0], 1);
    assert_int_equal(bed_width(&bed, ids[0]), 4);
    bed_started(&bed, ids[0], 2);
    after(&bed, 10 * MINUTE_MS); /* there is room, and it stays as it is wanted */
    assert_int_equal(bed_state(&bed, ids[0]), JOB_RUNNING);
    bed_why(&bed, ids[0], "running", "no more than 4 as its user wants");
    assert_int_equal(try_resize(&bed, ids[0], 8, &err), 0);
    bed_pass(&bed);
    stopped(&bed, ids[0], 2);
    assert_int_equal(bed_width(&bed, ids[0]), 8);
    assert_int_equal(bed_cancel(&bed, ids[0]), 0);
    assert_int_equal(try_resize(&bed, ids[0], 0, &err), -EPROTO);
    bed_ended(&bed, ids[0], 3, OUTCOME_STOPPED, 0);
    assert_int_equal(try_resize(&bed, ids[0], 0, &err), -EPROTO);
    bed_destroy(&bed);
}

/* Stopped for another width, it is cancelled, fails or ends: that is what holds. */
static void test_ends_otherwise(void **state)
{
    struct bed bed = bed_create(eight, 1);
    uint64_t id = submit_run(&bed, elastic(2, 8, 1));
    struct err err;

    (void)state;
    assert_int_equal(try_resize(&bed, id, 2, &err), 0);
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_DONE);
    id = submit_run(&bed, elastic(2, 8, 1));
    assert_int_equal(try_resize(&bed, id, 4, &err), 0);
    assert_int_equal(bed_cancel(&bed, id), 0);
    bed_ended(&bed, id, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_CANCELLED);
    id = submit_run(&bed, elastic(2, 8, 1));
    assert_int_equal(try_resize(&bed, id, 4, &err), 0);
    bed_ended(&bed, id, 1, OUTCOME_LOST, 0);
    assert_int_equal(bed_state(&bed, id), JOB_QUEUED);
    assert_int_equal(bed_view(&bed, id).request->shape.tasks, 2); /* it waits with its least */
    bed_pass(&bed);
    assert_int_equal(bed_width(&bed, id), 4); /* and starts as wide as is wanted */
    bed_destroy(&bed);
}

/* --- spare nodes ------------------------------------------------------------------------------
 */

static struct event spared(uint32_t tasks, uint32_t spares)
{
    struct event event = rigid(tasks, 60 * MINUTE_MS);

    event.job_submitted.request.checkpoint = CHECKPOINT_ASKED;
    event.job_submitted.request.shape.devices_milli = 8000;
    event.job_submitted.request.spares = spares;
    return event;
}

static void test_spares(void **state)
{
    struct bed bed = bed_create(four, 4);
    uint64_t id = submit_run(&bed, spared(2, 1)), other;
    struct job_view view = bed_view(&bed, id);
    struct job_request last;
    uint32_t runs;

    (void)state;
    last = *view.request;
    assert_int_equal(last.spares, 1);
    assert_int_equal(view.allocation.parts_count, 2);
    assert_int_equal(view.allocation.spares_count, 1);
    bed_why(&bed, id, "running", "on 2 tasks with 1 spare node");
    other = submit_run(&bed, rigid(8, 0)); /* one node is left for others */
    assert_int_equal(bed_width(&bed, other), 8);
    assert_int_equal(bed_state(&bed, submit_run(&bed, rigid(1, 0))), JOB_QUEUED);
    bed_restart(&bed);
    bed.now_ms += MINUTE_MS;
    close_node(&bed, "n1");
    bed_why(&bed, id, "resizing", "node n1 is closed, a spare one takes its place");
    runs = bed.runs;
    bed_ended(&bed, id, 1, OUTCOME_LOST, 0);
    assert_int_equal(bed.runs, runs + 1); /* at once, before who waits */
    assert_int_equal(bed_width(&bed, id), 2);
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 0); /* no node is left for that */
    assert_int_equal(bed.row.device_milli_ms, 3 * 8000 * MINUTE_MS); /* a spare is billed as well */
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* Asked to stop, since a node is to be drained, it goes on with the spare one. */
static void test_spares_drain(void **state)
{
    struct bed bed = bed_create(four, 4);
    uint64_t id = submit_run(&bed, spared(2, 2));

    (void)state;
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 2);
    close_node(&bed, "n2");
    stopped(&bed, id, 1);
    assert_int_equal(bed_width(&bed, id), 2);
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 1);
    assert_int_equal(bed_view(&bed, id).attempts_lost, 0);
    bed_started(&bed, id, 2);
    close_node(&bed, "n4"); /* the spare one: nothing runs there */
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    close_node(&bed, "n1"); /* and now there is none to go on with */
    assert_int_equal(bed_state(&bed, id), JOB_RUNNING);
    bed_destroy(&bed);
}

static void open_node(struct bed *bed, const char *node)
{
    struct event event = { .type = EVENT_NODE_STATE };

    event.node_state.site = "here";
    event.node_state.node = node;
    event.node_state.device = -1;
    event.node_state.reason = "";
    bed_step(bed, &event);
}

/* What is free again stands by before anybody in line has it, and is billed from then on. */
static void test_spares_replenished(void **state)
{
    struct bed bed = bed_create(four, 4);
    uint64_t other = submit_run(&bed, rigid(8, 0)), id = submit_run(&bed, spared(2, 2)), waits;

    (void)state;
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 1);
    waits = submit_run(&bed, rigid(4, 0));
    assert_int_equal(bed_state(&bed, waits), JOB_QUEUED);
    bed.now_ms += 10 * MINUTE_MS;
    bed_done(&bed, other);
    bed_pass(&bed);
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 2);
    assert_int_equal(bed_state(&bed, waits), JOB_QUEUED);
    bed_restart(&bed);
    bed.now_ms += 10 * MINUTE_MS;
    close_node(&bed, "n4"); /* a spare one breaks: it is given back, and comes again */
    bed_pass(&bed);
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 1);
    bed.now_ms += 10 * MINUTE_MS;
    open_node(&bed, "n4");
    bed_pass(&bed);
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 2);
    bed_restart(&bed);
    bed.now_ms += 10 * MINUTE_MS;
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 0);
    assert_int_equal(bed.row.device_milli_ms,
                     (3 * 10 + 4 * 10 + 3 * 10 + 4 * 10) * 8000 * MINUTE_MS);
    assert_int_equal(bed.row.cpu_held_ms, (3 * 10 + 4 * 10 + 3 * 10 + 4 * 10) * MINUTE_MS);
    bed_pass(&bed);
    assert_int_equal(bed_width(&bed, waits), 4);
    bed_destroy(&bed);
}

/* For whom others make way has spare nodes, too, as soon as there are some. */
static void test_spares_by_preemption(void **state)
{
    struct bed bed = bed_create(four, 4);
    struct event low = rigid(8, 0), high = rigid(8, 0);
    uint64_t ids[4], id, stopping = 0;

    (void)state;
    low.job_submitted.request.job_class = CLASS_LOW;
    high.job_submitted.request.job_class = CLASS_HIGH;
    high.job_submitted.request.checkpoint = CHECKPOINT_ASKED;
    high.job_submitted.request.spares = 1;
    for (uint32_t i = 0; i < 4; i++)
        ids[i] = submit_run(&bed, low);
    id = bed_submit(&bed, high);
    for (uint32_t i = 0; i < 4; i++)
        after(&bed, MINUTE_MS);
    for (uint32_t i = 0; i < 4; i++)
        if (bed_state(&bed, ids[i]) == JOB_STOPPING)
            stopping = ids[i];
    assert_true(stopping);
    stopped(&bed, stopping, 1);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 0);
    bed_restart(&bed);
    for (uint32_t i = 0; i < 4; i++)
        if (ids[i] != stopping)
            bed_done(&bed, ids[i]);
    assert_int_equal(bed_cancel(&bed, stopping), 0);
    bed_pass(&bed);
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 1);
    bed_destroy(&bed);
}

/* As the planner says: not one for a gang of two nodes that fail as seldom as most. */
static void test_spares_auto(void **state)
{
    struct bed bed = bed_create(four, 4);
    uint64_t id = submit_run(&bed, spared(2, REQUEST_SPARES_AUTO));

    (void)state;
    assert_int_equal(bed_view(&bed, id).allocation.spares_count, 0);
    bed_destroy(&bed);
}

/* However wide it is, it may go where its least finds room. */
static void test_moves_to_less(void **state)
{
    static const struct bed_node two[] = { { "n", 2, 2, "fast" } };
    struct bed bed = bed_create(eight, 1);
    struct event move = { .type = EVENT_JOB_MOVE };
    uint64_t id = submit_run(&bed, elastic(2, 8, 1));

    (void)state;
    assert_int_equal(bed_width(&bed, id), 8);
    bed_join(&bed, "small", two, 1);
    move.job_move.job_id = id;
    move.job_move.to = "small";
    move.job_move.by = move.job_move.reason = "";
    bed_step(&bed, &move);
    bed_restart(&bed);
    stopped(&bed, id, 1);
    bed_pass(&bed);
    assert_int_equal(bed_width(&bed, id), 2);
    assert_string_equal(bed_view(&bed, id).allocation.site, "small");
    bed_destroy(&bed);
}

/* What is being stopped at a site that is not heard keeps nobody elsewhere from growing. */
static void test_grows_beside_the_dark(void **state)
{
    struct bed bed = bed_create(eight, 1);
    struct event there = elastic(2, 4, 1);
    uint64_t other = submit_run(&bed, rigid(6, 0)), id = submit_run(&bed, elastic(2, 8, 1)), dark;

    (void)state;
    bed_join(&bed, "there", four, 1);
    there.job_submitted.request.shape.places_count = 1;
    there.job_submitted.request.shape.places[0].kind = PLACE_SITE;
    strcpy(there.job_submitted.request.shape.places[0].name, "there");
    dark = submit_run(&bed, there);
    assert_int_equal(bed_state(&bed, dark), JOB_RUNNING);
    after(&bed, 2 * MINUTE_MS);
    assert_int_equal(try_resize(&bed, dark, 2, NULL), 0);
    assert_int_equal(bed_state(&bed, dark), JOB_STOPPING);
    bed_lost(&bed, "there", 0);
    bed_done(&bed, other);
    after(&bed, 10 * SECOND_MS);
    assert_int_equal(bed_state(&bed, dark), JOB_STOPPING);
    assert_int_equal(bed_state(&bed, id), JOB_STOPPING);
    bed_why(&bed, id, "resizing", "grows from 2 to 8 tasks");
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_width),
        cmocka_unit_test(test_starts_wide),
        cmocka_unit_test(test_starts_within_limits),
        cmocka_unit_test(test_starts_beside_promise),
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_grows_not),
        cmocka_unit_test(test_grows_not_for_nothing),
        cmocka_unit_test(test_grows_not_into_a_queue),
        cmocka_unit_test(test_grows_beside_the_dark),
        cmocka_unit_test(test_moves_to_less),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_grows_less),
        cmocka_unit_test(test_shrinks),
        cmocka_unit_test(test_shrinks_not),
        cmocka_unit_test(test_shrinks_before_preemption),
        cmocka_unit_test(test_wish),
        cmocka_unit_test(test_ends_otherwise),
        cmocka_unit_test(test_spares),
        cmocka_unit_test(test_spares_drain),
        cmocka_unit_test(test_spares_replenished),
        cmocka_unit_test(test_spares_auto),
        cmocka_unit_test(test_spares_by_preemption),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
