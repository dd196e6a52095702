/* What becomes of jobs: refusals, attempts, retries, dependencies, arrays, cancels, keys. */
#include "bed.h"

static const struct bed_node two_cpus[] = { { "n1", 2, 0, NULL } };

/* --- refusals --------------------------------------------------------------------------------- */

static void test_refused_submits(void **state)
{
    struct event base = bed_job(1);
    struct bed bed = bed_create(two_cpus, 1);

    (void)state;
#define REFUSE(rc_, field_, ...)                                                                   \
    do {                                                                                           \
        struct event event = base;                                                                 \
        struct event_job_submitted *submit = &event.job_submitted;                                 \
        struct err err = { 0 };                                                                    \
        int rc;                                                                                    \
        __VA_ARGS__;                                                                               \
        rc = bed_try(&bed, &event, NULL, &err);                                                    \
        if (rc != (rc_) || !err.text[0] || strcmp(err.field, field_) != 0)                         \
            fail_msg("%s: rc %d, field %s: %s", #__VA_ARGS__, rc, err.field, err.text);            \
    } while (0)
    REFUSE(-EINVAL, "tenant", submit->tenant = "");
    REFUSE(-EINVAL, "tenant", submit->tenant = NULL);
    REFUSE(-EINVAL, "tasks", submit->request.shape.tasks = 0);
    REFUSE(-EINVAL, "tasks", submit->request.shape.tasks = REQUEST_TASKS_MAX + 1);
    REFUSE(-EINVAL, "resources.cpus", submit->request.shape.cpus = 0);
    REFUSE(-EINVAL, "resources.cpus", submit->request.shape.cpus = UINT32_MAX);
    REFUSE(-EINVAL, "resources.devices", submit->request.shape.devices_milli = 1500);
    REFUSE(-EINVAL, "resources.devices", submit->request.shape.devices_milli = 65000);
    REFUSE(-EINVAL, "resources.memory", submit->request.shape.memory_bytes = -1);
    REFUSE(-EINVAL, "resources.memory", submit->request.shape.memory_bytes = INT64_MAX);
    REFUSE(-EINVAL, "resources.disk", submit->request.shape.disk_bytes = -1);
    REFUSE(-EINVAL, "resources.chips", submit->request.shape.chips_count = 1);
    REFUSE(-EINVAL, "resources.needs", submit->request.shape.needs_count = 1;
           submit->request.shape.needs[0].metric = METRIC_COUNT);
    REFUSE(-EINVAL, "where", submit->request.shape.places_count = 1;
           submit->request.shape.places[0].kind = 3);
    REFUSE(-EINVAL, "duration", submit->request.duration_ms_max = -1);
    REFUSE(-EINVAL, "begin", submit->request.begin_ms = INT64_MAX);
    REFUSE(-EINVAL, "retries", submit->request.retries_max = 1000000);
    REFUSE(-EINVAL, "array", submit->elements_count = GRID_ELEMENTS_MAX + 1);
    REFUSE(-EINVAL, "", submit->request.job_class = CLASS_COUNT);
    REFUSE(-EINVAL, "", submit->spec_json = "a\0b"; submit->spec_len = 3);
    REFUSE(-EINVAL, "after", submit->request.deps_count = REQUEST_DEPS_MAX + 1);
    REFUSE(-ENOENT, "after", submit->request.deps_count = 1;
           submit->request.deps[0].job_id = 1); /* itself: ids must exist, so no cycle can */
    REFUSE(-ENOENT, "after", submit->request.deps_count = 1;
           submit->request.deps[0].job_id = UINT64_MAX);
#undef REFUSE
    assert_int_equal(grid_count(bed.grid).submitted_total, 0);
    bed_destroy(&bed);
}

static void test_refused_events(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    struct event event = { .type = EVENT_SITE_SEEN };
    struct err err = { 0 };

    (void)state;
    event.site_seen.site = "nowhere";
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT);
    assert_int_equal(bed_cancel(&bed, 0), -ENOENT);
    assert_int_equal(bed_cancel(&bed, 77), -ENOENT);
    event = (struct event){ .type = EVENT_NODE_STATE };
    event.node_state.site = "here";
    event.node_state.node = "n9";
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT);
    event.node_state.node = "n1";
    event.node_state.device = 0;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT);
    event.node_state.device = -1;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EALREADY);
    event = (struct event){ .type = EVENT_TENANT_SET };
    event.tenant_set.tenant = "bob";
    event.tenant_set.weight_milli = 1000;
    event.tenant_set.cpus_max = -2;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = (struct event){ .type = EVENT_ATTEMPT_ENDED };
    event.attempt_ended.outcome = 99;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    event = (struct event){ .type = EVENT_NOTE, .time_ms = -1 };
    assert_int_equal(grid_check(bed.grid, &event, &err), -EINVAL);
    event.type = 77;
    event.time_ms = 1;
    assert_int_equal(grid_check(bed.grid, &event, &err), -EINVAL);
    bed_destroy(&bed);
}

/* Stale or strange reports are news of long ago: legal, and nothing changes. */
static void test_stale_reports(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    struct event event = bed_job(1);
    uint64_t id;

    (void)state;
    event.job_submitted.request.retries_max = 1;
    id = bed_submit(&bed, event);
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 0); /* not started at all */
    bed_ended(&bed, 99, 1, OUTCOME_EXITED, 0); /* no such job */
    bed_pass(&bed);
    bed_ended(&bed, id, 2, OUTCOME_EXITED, 0); /* an epoch to come */
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 1);
    bed_pass(&bed);
    bed_started(&bed, id, 1);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 0);
    assert_int_equal(bed_state(&bed, id), JOB_STARTING);
    assert_int_equal(bed.rows, 1);
    bed_destroy(&bed);
}

/* Where a site queues again, its own reason is the job's until it starts, and not after. */
static void test_queued_at_the_site(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    uint64_t id = bed_submit(&bed, bed_job(1));
    struct event event = { .type = EVENT_ATTEMPT_PROGRESS };
    uint32_t changes;

    (void)state;
    bed_pass(&bed);
    bed_why(&bed, id, "starting", "is being started at here");
    event.attempt_progress.job_id = id;
    event.attempt_progress.epoch = 1;
    event.attempt_progress.reason = "queued at the site: Slurm job 7: Resources";
    bed_step(&bed, &event);
    changes = bed.changes;
    bed_why(&bed, id, "site_queue", "here: queued at the site: Slurm job 7: Resources");
    bed_step(&bed, &event); /* the same again is no news */
    assert_int_equal(bed.changes, changes);
    bed_started(&bed, id, 1);
    bed_why(&bed, id, "running", "runs at here");
    bed_step(&bed, &event); /* late */
    bed_why(&bed, id, "running", "runs at here");
    bed_done(&bed, id);
    bed_destroy(&bed);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void test_ends(void **state)
{
    static const struct {
        uint32_t outcome;
        int32_t exit_code;
        uint32_t retries;
        uint8_t retry_code; /* 0: any */
        bool requeue;
        enum job_state expected;
        const char *reason;
    } cases[] = {
        { OUTCOME_EXITED, 0, 3, 0, true, JOB_DONE, "" },
        { OUTCOME_EXITED, 3, 0, 0, true, JOB_FAILED, "exit code 3" },
        { OUTCOME_EXITED, 3, 1, 0, true, JOB_QUEUED, "" },
        { OUTCOME_EXITED, 3, 1, 4, true, JOB_FAILED, "exit code 3" },
        { OUTCOME_EXITED, 4, 1, 4, true, JOB_QUEUED, "" },
        { OUTCOME_SIGNALLED, 9, 0, 0, true, JOB_FAILED, "ended by signal 9" },
        { OUTCOME_SIGNALLED, 9, 1, 137, true, JOB_QUEUED, "" },
        { OUTCOME_TIME_LIMIT, 0, 1, 0, true, JOB_FAILED, "ran into its time limit" },
        { OUTCOME_MEMORY, 0, 1, 0, true, JOB_FAILED, "ran into its memory limit" },
        { OUTCOME_DISK, 0, 1, 0, true, JOB_FAILED, "ran into its disk limit" },
        { OUTCOME_START_FAILED, 0, 0, 0, true, JOB_FAILED, "could not start" },
        { OUTCOME_START_FAILED, 0, 1, 0, true, JOB_QUEUED, "" },
        { OUTCOME_LOST, 0, 0, 0, true, JOB_QUEUED, "" },
        { OUTCOME_LOST, 0, 9, 0, false, JOB_FAILED, "lost: its supervisor died" },
        { OUTCOME_STOPPED, 0, 0, 0, true, JOB_QUEUED, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bed bed = bed_create(two_cpus, 1);
        struct event event = bed_job(1);
        uint64_t id;

        event.job_submitted.request.retries_max = cases[i].retries;
        event.job_submitted.request.retry_codes_count = cases[i].retry_code != 0;
        event.job_submitted.request.retry_codes[0] = cases[i].retry_code;
        event.job_submitted.request.requeue_on_loss = cases[i].requeue;
        id = bed_submit(&bed, event);
        bed_pass(&bed);
        bed_started(&bed, id, 1);
        bed_ended(&bed, id, 1, cases[i].outcome, cases[i].exit_code);
        if (bed_state(&bed, id) != cases[i].expected ||
            (cases[i].expected != JOB_QUEUED && strcmp(bed.ended_reason, cases[i].reason) != 0))
            fail_msg("case %zu: %s, \"%s\"", i, job_state_name(bed_state(&bed, id)),
                     bed.ended_reason);
        assert_int_equal(bed.rows, 1);
        bed_destroy(&bed);
    }
}

static void test_lost_too_often(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    uint64_t id = bed_submit(&bed, bed_job(1));

    (void)state;
    for (uint32_t epoch = 1; epoch <= GRID_LOST_TRIES_MAX; epoch++) {
        struct event event = { .type = EVENT_ATTEMPT_UNKNOWN };

        bed_pass(&bed);
        assert_int_equal(bed_state(&bed, id), JOB_STARTING);
        event.attempt_unknown.job_id = id;
        event.attempt_unknown.epoch = epoch;
        bed_step(&bed, &event);
        bed_step(&bed, &event); /* again: old news */
    }
    assert_int_equal(bed_state(&bed, id), JOB_FAILED);
    assert_string_equal(bed.ended_reason,
                        "lost 5 times, the last time: the site has no trace of it");
    bed_destroy(&bed);
}

static enum job_state lose(struct bed *bed, uint64_t id, uint32_t epoch, int64_t after_ms)
{
    struct event event = { .type = EVENT_ATTEMPT_UNKNOWN };

    bed_pass(bed);
    assert_int_equal(bed_state(bed, id), JOB_STARTING);
    bed->now_ms += after_ms;
    event.attempt_unknown.job_id = id;
    event.attempt_unknown.epoch = epoch;
    bed_step(bed, &event);
    return bed_state(bed, id);
}

/* What ran for an hour may be lost once more; what did not uses that up. */
static void test_long_runs_outlive_losses(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    uint64_t id = bed_submit(&bed, bed_job(1));
    uint32_t epoch = 1;

    (void)state;
    for (; epoch <= 30; epoch++)
        assert_int_equal(lose(&bed, id, epoch, GRID_LOST_FORGIVE_MS), JOB_QUEUED);
    for (; epoch < 30 + GRID_LOST_TRIES_MAX; epoch++)
        assert_int_equal(lose(&bed, id, epoch, 1), JOB_QUEUED);
    assert_int_equal(lose(&bed, id, epoch, 1), JOB_FAILED);
    bed_destroy(&bed);
}

static void test_cancel(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    uint64_t running = bed_submit(&bed, bed_job(1)), ending = bed_submit(&bed, bed_job(1));
    uint64_t queued = bed_submit(&bed, bed_job(1));

    (void)state;
    bed_pass(&bed);
    bed_started(&bed, running, 1);
    assert_int_equal(bed_cancel(&bed, queued), 0);
    assert_int_equal(bed_state(&bed, queued), JOB_CANCELLED);
    assert_string_equal(bed.ended_reason, "cancelled by al");
    assert_int_equal(bed_cancel(&bed, queued), -EALREADY);
    assert_int_equal(bed_cancel(&bed, running), 0);
    assert_int_equal(bed_state(&bed, running), JOB_STOPPING);
    assert_int_equal(bed_cancel(&bed, running), -EALREADY);
    assert_int_equal(bed_cancel(&bed, ending), 0);
    assert_int_equal(bed.stops, 2);
    bed_ended(&bed, running, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, running), JOB_CANCELLED);
    bed_done(&bed, ending); /* it was done in the same moment: that is what happened */
    assert_int_equal(bed_state(&bed, ending), JOB_DONE);
    bed_destroy(&bed);
}

/* --- dependencies, begin, arrays ----------------------------------------------------------------
 */

static uint64_t submit_after(struct bed *bed, uint64_t id, enum dep_kind kind)
{
    struct event event = bed_job(1);

    event.job_submitted.request.deps_count = 1;
    event.job_submitted.request.deps[0] = (struct request_dep){ .job_id = id, .kind = kind };
    return bed_submit(bed, event);
}

static void test_dependencies(void **state)
{
    static const struct {
        int32_t exit_code;
        enum job_state ok, any, failed;
    } cases[] = {
        { 0, JOB_QUEUED, JOB_QUEUED, JOB_CANCELLED },
        { 1, JOB_CANCELLED, JOB_QUEUED, JOB_QUEUED },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bed bed = bed_create(two_cpus, 1);
        uint64_t first = bed_submit(&bed, bed_job(1)), late;
        uint64_t ok = submit_after(&bed, first, DEP_OK), any = submit_after(&bed, first, DEP_ANY);
        uint64_t failed = submit_after(&bed, first, DEP_FAILED);
        uint64_t chain = submit_after(&bed, ok, DEP_OK);

        bed_why(&bed, ok, "dependency", "waits for job 1 (queued)");
        bed_pass(&bed);
        assert_int_equal(bed.runs, 1);
        bed_ended(&bed, first, 1, OUTCOME_EXITED, cases[i].exit_code);
        assert_int_equal(bed_state(&bed, ok), cases[i].ok);
        assert_int_equal(bed_state(&bed, any), cases[i].any);
        assert_int_equal(bed_state(&bed, failed), cases[i].failed);
        assert_int_equal(bed_state(&bed, chain),
                         cases[i].ok == JOB_CANCELLED ? JOB_CANCELLED : JOB_HELD);
        late = submit_after(&bed, first, DEP_OK); /* on one that has ended */
        assert_int_equal(bed_state(&bed, late), cases[i].ok);
        bed_destroy(&bed);
    }
}

/* A long chain must not cost a deep stack. */
static void test_long_chain(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    uint64_t last = bed_submit(&bed, bed_job(1));

    (void)state;
    for (int i = 0; i < 20000; i++)
        last = submit_after(&bed, last, DEP_OK);
    assert_int_equal(bed_cancel(&bed, 1), 0);
    assert_int_equal(bed_state(&bed, last), JOB_CANCELLED);
    assert_int_equal(grid_count(bed.grid).cancelled_total, 20001);
    bed_destroy(&bed);
}

static void test_others_jobs_are_unknown(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    struct event event = bed_job(1);
    struct err err = { 0 };

    (void)state;
    event.job_submitted.request.deps[0].job_id = bed_submit(&bed, event);
    event.job_submitted.request.deps_count = 1;
    event.job_submitted.tenant = "bob";
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT);
    bed_destroy(&bed);
}

static void test_arrays(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 8, 0, NULL } }, 1);
    struct event event = bed_job(1);
    uint64_t array, ok, any;
    struct job_view view;
    uint32_t queued, running;

    (void)state;
    event.job_submitted.elements_count = 4;
    event.job_submitted.parallel_max = 2;
    array = bed_submit(&bed, event);
    ok = submit_after(&bed, array, DEP_OK);
    any = submit_after(&bed, array, DEP_ANY);
    assert_int_equal(ok, array + 5); /* its own id, then its elements' */
    bed_pass(&bed);
    assert_int_equal(grid_array_live(bed.grid, array, &queued, &running), 4);
    assert_int_equal(running, 2);
    assert_int_equal(queued, 2);
    bed_why(&bed, array + 3, "parallel", "runs 2 elements at once");
    view = bed_view(&bed, array + 3);
    assert_int_equal(view.array_id, array);
    assert_int_equal(view.array_index, 2);
    assert_int_equal(view.array_count, 4);
    assert_false(grid_find_job(bed.grid, array, &view));
    bed_ended(&bed, array + 1, 1, OUTCOME_EXITED, 1);
    assert_int_equal(bed_state(&bed, ok), JOB_CANCELLED); /* it cannot end well any more */
    assert_int_equal(bed_state(&bed, any), JOB_HELD);
    bed_why(&bed, any, "dependency", "3 of 4 elements");
    assert_int_equal(bed_cancel(&bed, array), 0);
    bed_ended(&bed, array + 2, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, any), JOB_QUEUED);
    assert_int_equal(grid_find_outcome(bed.grid, array), JOB_FAILED);
    assert_int_equal(bed_cancel(&bed, array), -EALREADY);
    bed_destroy(&bed);
}

static void test_begin(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    struct event event = bed_job(1), tick = { .type = EVENT_TICK };
    uint64_t id;

    (void)state;
    assert_true(grid_next_timer_ms(bed.grid) == INT64_MAX);
    event.job_submitted.request.begin_ms = bed.now_ms + 5000;
    id = bed_submit(&bed, event);
    assert_int_equal(bed_state(&bed, id), JOB_HELD);
    assert_int_equal(grid_next_timer_ms(bed.grid), bed.now_ms + 5000);
    bed_why(&bed, id, "begin", "begins at 1970-01-01T00:16:45Z");
    bed.now_ms += 4999;
    bed_step(&bed, &tick);
    assert_int_equal(bed_state(&bed, id), JOB_HELD);
    bed.now_ms += 1;
    bed_step(&bed, &tick);
    assert_int_equal(bed_state(&bed, id), JOB_QUEUED);
    assert_true(grid_wants_pass(bed.grid));
    bed_destroy(&bed);
}

/* --- keys, views, the clock ----------------------------------------------------------------------
 */

/* From a snapshot. */
static void test_keys(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    struct event event = bed_job(1);
    struct step_result first = { 0 }, again = { 0 };

    (void)state;
    event.job_submitted.idempotency_key = "k1";
    assert_int_equal(bed_try(&bed, &event, &first, NULL), 0);
    assert_false(first.repeated);
    assert_int_equal(bed_try(&bed, &event, &again, NULL), 0);
    assert_true(again.repeated);
    assert_int_equal(again.job_id, first.job_id);
    assert_true(grid_find_key(bed.grid, "alice", "k1", &again));
    assert_false(grid_find_key(bed.grid, "bob", "k1", &again));
    event.job_submitted.body_hash = 7; /* the first one's is not known, as in older journals */
    assert_int_equal(bed_try(&bed, &event, &again, NULL), 0);
    event.job_submitted.tenant = "bob"; /* keys are by tenant */
    assert_int_equal(bed_try(&bed, &event, &again, NULL), 0);
    assert_false(again.repeated);
    event.job_submitted.body_hash = 8;
    assert_int_equal(bed_try(&bed, &event, &again, NULL), -EKEYREJECTED);
    bed_restart(&bed);
    assert_int_equal(bed_try(&bed, &event, &again, NULL), -EKEYREJECTED);
    bed.now_ms += GRID_KEY_KEEP_MS + 1;
    bed_pass(&bed);
    assert_false(grid_find_key(bed.grid, "alice", "k1", &again));
    assert_int_equal(grid_count(bed.grid).submitted_total, 2);
    bed_destroy(&bed);
}

#define VERSION_AT 12 /* the magic's length, its ten bytes and a NUL come before */
#define TAIL_BYTES 3  /* what version 1 did not have: here two hashes, no forgotten site */

/* A snapshot that mains 0.1.0 wrote as version 2: jobs 1 and 2 run (of alice and of bob, with key
 * k1; bob's body has hash 8), each on a quarter of a device; job 3 of bob, for the least carbon,
 * waits for two CPUs beside a quarter. */
static void check_old_snapshot(const char *data, size_t len, bool has_hashes)
{
    struct bed bed = { .now_ms = 1000000 };
    struct event event = bed_job(1);
    struct step_result again = { 0 };
    struct job_view view;
    struct err err = { 0 };

    if (grid_restore(data, len, &bed.grid, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(bed_state(&bed, 1), JOB_RUNNING);
    assert_int_equal(bed_state(&bed, 2), JOB_STARTING);
    assert_int_equal(bed_state(&bed, 3), JOB_QUEUED);
    view = bed_view(&bed, 1);
    assert_int_equal(view.allocation.parts[0].devices[0].milli, 250);
    assert_int_equal(view.request->duration_ms_max, 60000);
    assert_int_equal(view.request->shape.work, 0);
    view = bed_view(&bed, 3);
    assert_int_equal(view.request->objective, OBJECTIVE_GREENEST);
    event.job_submitted.tenant = "bob";
    event.job_submitted.idempotency_key = "k1";
    event.job_submitted.body_hash = 9;
    assert_int_equal(bed_try(&bed, &event, &again, NULL), has_hashes ? -EKEYREJECTED : 0);
    bed_done(&bed, 1);
    bed_done(&bed, 2);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, 3), JOB_STARTING);
    bed_restart(&bed); /* as it is written now */
    bed_done(&bed, 3);
    bed_destroy(&bed);
}

static void test_old_snapshots(void **state)
{
    FILE *file = fopen(DOCS_DIR "/../tests/recorded/grid/snapshot-2.bin", "r");
    char data[4096];
    size_t len;

    (void)state;
    assert_non_null(file);
    len = fread(data, 1, sizeof(data), file);
    fclose(file);
    check_old_snapshot(data, len, true);
    data[VERSION_AT] = 1;
    check_old_snapshot(data, len - TAIL_BYTES, false);
}

/* A job that is being stopped and one that runs, at a site that is never heard again. */
static void test_forgotten_site(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    struct event join = { .type = EVENT_SITE_JOINED }, seen = { .type = EVENT_SITE_SEEN };
    struct event once = bed_job(1);
    uint64_t stopping, running;
    struct job_view view;
    struct err err;

    (void)state;
    once.job_submitted.request.requeue_on_loss = 1;
    stopping = bed_submit(&bed, bed_job(1));
    running = bed_submit(&bed, once);
    bed_pass(&bed);
    bed_started(&bed, stopping, 1);
    bed_cancel(&bed, stopping);
    assert_int_equal(bed_forget(&bed, "nowhere", true), -ENOENT);
    assert_int_equal(bed_forget(&bed, "here", true), -EPROTO); /* it is heard */
    assert_int_equal(bed_forget(&bed, "here", false), -EALREADY);
    seen.site_seen.site = "here";
    bed_lost(&bed, "here", 0);
    assert_int_equal(bed_state(&bed, stopping), JOB_STOPPING);
    assert_int_equal(bed_forget(&bed, "here", true), 0);
    assert_int_equal(bed_forget(&bed, "here", true), -EALREADY);
    assert_false(grid_find_job(bed.grid, stopping, &view));
    assert_string_equal(bed.ended_reason, "cancelled by al");
    assert_int_equal(bed_state(&bed, running), JOB_QUEUED);
    assert_int_equal(bed.rows, 2); /* both are in the ledger */
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, running), JOB_QUEUED);
    bed_restart(&bed);
    snprintf(join.site_joined.site.name, MODEL_NAME_BYTES, "here");
    assert_int_equal(bed_try(&bed, &join, NULL, &err), -EACCES);
    assert_int_equal(bed_try(&bed, &seen, NULL, &err), -EACCES);
    assert_true(grid_site_is_forgotten(bed.grid, 0));
    assert_int_equal(bed_forget(&bed, "here", false), 0);
    bed_join(&bed, "here", two_cpus, 1);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, running), JOB_STARTING);
    bed_destroy(&bed);
}

/* Both ways over a table with holes. */
static void test_walks(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    struct job_view view = { 0 };
    uint64_t up[64] = { 0 }, id;
    uint32_t count = 0, down = 0;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        id = bed_submit(&bed, bed_job(2));
        if (i % 100 && i != 2999)
            assert_int_equal(bed_cancel(&bed, id), 0);
    }
    for (id = 0; grid_next_job(bed.grid, id, NULL, &view) && count < 64; id = view.id)
        up[count++] = view.id;
    assert_int_equal(count, 31);
    for (id = UINT64_MAX; grid_prev_job(bed.grid, id, "alice", &view); id = view.id)
        assert_int_equal(view.id, up[count - ++down]);
    assert_int_equal(down, count);
    assert_false(grid_prev_job(bed.grid, UINT64_MAX, "bob", &view));
    assert_false(grid_prev_job(bed.grid, 0, NULL, &view));
    bed_destroy(&bed);
}

static void test_views(void **state)
{
    struct bed bed = bed_create(two_cpus, 1);
    struct event event = bed_job(2);
    struct job_view view = { 0 };
    uint64_t ids[3];

    (void)state;
    event.job_submitted.request.shape.places_count = 1;
    strcpy(event.job_submitted.request.shape.places[0].name, "owner-of-here");
    event.job_submitted.request.retry_codes_count = 1;
    event.job_submitted.request.retry_codes[0] = 7;
    event.job_submitted.request.weight_time_milli = 5; /* means nothing here: not kept */
    ids[0] = bed_submit(&bed, event);
    ids[1] = bed_submit(&bed, bed_job(1));
    event.job_submitted.tenant = "bob";
    ids[2] = bed_submit(&bed, event);
    view = bed_view(&bed, ids[0]);
    event.job_submitted.request.weight_time_milli = 0;
    assert_memory_equal(view.request, &event.job_submitted.request, sizeof(*view.request));
    assert_string_equal(view.tenant, "alice");
    assert_string_equal(view.spec_json, "{}");
    assert_true(grid_next_job(bed.grid, 0, "bob", &view) && view.id == ids[2]);
    assert_false(grid_next_job(bed.grid, ids[2], "bob", &view));
    assert_false(grid_next_job(bed.grid, 0, "nobody", &view));
    assert_true(grid_next_job(bed.grid, ids[0], NULL, &view) && view.id == ids[1]);
    bed_destroy(&bed);
}

/* A clock set back does not turn back what is billed; a leap forward is billed. */
static void test_usage(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 8, 4, "fast" } }, 1);
    struct event event = bed_job(2), ended = { .type = EVENT_ATTEMPT_ENDED };
    uint64_t id;

    (void)state;
    event.job_submitted.request.shape.tasks = 2;
    event.job_submitted.request.shape.devices_milli = 500;
    id = bed_submit(&bed, event);
    bed_pass(&bed);
    bed.now_ms -= 500000;
    bed_started(&bed, id, 1);
    bed.now_ms += 500000 + 3600000;
    ended.attempt_ended.job_id = id;
    ended.attempt_ended.epoch = 1;
    ended.attempt_ended.usage.energy_mj = 3600000000; /* 1 kWh */
    ended.attempt_ended.usage.energy_measured = true;
    ended.attempt_ended.usage.cpu_ms = -5;       /* a claim that cannot be */
    ended.attempt_ended.usage.price_micro = 999; /* not the site's to say */
    bed_step(&bed, &ended);
    assert_int_equal(bed.row.wall_ms, 3600000);
    assert_int_equal(bed.row.cpu_held_ms, 4 * 3600000LL);
    assert_int_equal(bed.row.device_milli_ms, 1000 * 3600000LL);
    assert_int_equal(bed.row.cpu_ms, 0);
    assert_int_equal(bed.row.carbon_ug, 400000000); /* 400 g */
    assert_int_equal(bed.row.price_micro, 4 * 36000 + 3600000 + 250000);
    assert_true(bed.row.energy_measured);
    assert_string_equal(bed.row_site, "here");
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_submits),
        cmocka_unit_test(test_refused_events),
        cmocka_unit_test(test_stale_reports),
        cmocka_unit_test(test_queued_at_the_site),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_lost_too_often),
        cmocka_unit_test(test_long_runs_outlive_losses),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_dependencies),
        cmocka_unit_test(test_long_chain),
        cmocka_unit_test(test_others_jobs_are_unknown),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_begin),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_old_snapshots),
        cmocka_unit_test(test_forgotten_site),
        cmocka_unit_test(test_walks),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_usage),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
