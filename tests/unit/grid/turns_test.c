/* Whose turn it is, what it may spend, and who makes way. */
#include "base/cleanup.h"
#include "bed.h"

#define MINUTE 60000

static struct event job_of(const char *name, uint32_t cpus, uint32_t job_class)
{
    struct event event = bed_job(cpus);

    event.job_submitted.tenant = name;
    event.job_submitted.request.job_class = job_class;
    return event;
}

static struct event saving(struct event event)
{
    event.job_submitted.request.checkpoint = CHECKPOINT_OWN;
    return event;
}

/* How many of the jobs first .. first + count - 1 hold something. */
static uint32_t held_of(struct bed *bed, uint64_t first, uint32_t count)
{
    uint32_t held = 0;

    for (uint32_t i = 0; i < count; i++)
        held += bed_state(bed, first + i) == JOB_STARTING;
    return held;
}

static void test_refusals(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 4, 0, NULL } }, 1);
    struct event a = bed_tenant("a"), b = bed_tenant("b"), policy = { .type = EVENT_POLICY_SET };
    struct err err = { 0 };

    (void)state;
    a.tenant_set.parent = "b";
    assert_int_equal(bed_try(&bed, &a, NULL, &err), -ENOENT);
    a.tenant_set.parent = "";
    bed_step(&bed, &a);
    b.tenant_set.parent = "a";
    bed_step(&bed, &b);
    a.tenant_set.parent = "b"; /* a circle */
    assert_int_equal(bed_try(&bed, &a, NULL, &err), -EINVAL);
    a.tenant_set.parent = "a";
    assert_int_equal(bed_try(&bed, &a, NULL, &err), -EINVAL);
    a.tenant_set.parent = "";
    a.tenant_set.weight_milli = 0;
    assert_int_equal(bed_try(&bed, &a, NULL, &err), -EINVAL);
    a = bed_tenant("a");
    a.tenant_set.guarantee_cpus = -1;
    assert_int_equal(bed_try(&bed, &a, NULL, &err), -EINVAL);
    a = bed_tenant("a");
    a.tenant_set.budget_micro = -2;
    assert_int_equal(bed_try(&bed, &a, NULL, &err), -EINVAL);
    policy.policy_set.order = 99;
    assert_int_equal(bed_try(&bed, &policy, NULL, &err), -EINVAL);
    policy.policy_set.order = 0;
    policy.policy_set.by_value = 2;
    assert_int_equal(bed_try(&bed, &policy, NULL, &err), -EINVAL);
    bed_destroy(&bed);
}

/* One tenant's crowd came first: the other's jobs take turns with it, by weight. */
static void test_turns(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 12, 0, NULL } }, 1);
    struct event bob = bed_tenant("bob"), fifo = { .type = EVENT_POLICY_SET };
    uint64_t first = 0, second = 0;

    (void)state;
    bob.tenant_set.weight_milli = 2000;
    bed_step(&bed, &bob);
    for (int i = 0; i < 12; i++)
        first = bed_submit(&bed, job_of("alice", 1, CLASS_NORMAL));
    for (int i = 0; i < 12; i++)
        second = bed_submit(&bed, job_of("bob", 1, CLASS_NORMAL));
    first -= 11;
    second -= 11;
    bed_restart(&bed);
    bed_pass(&bed);
    assert_int_equal(held_of(&bed, first, 12), 4);
    assert_int_equal(held_of(&bed, second, 12), 8);
    bed_restart(&bed);
    bed_destroy(&bed);

    bed = bed_create((struct bed_node[]){ { "n1", 12, 0, NULL } }, 1);
    fifo.policy_set.order = ORDER_FIFO;
    bed_step(&bed, &fifo);
    for (int i = 0; i < 12; i++)
        first = bed_submit(&bed, job_of("alice", 1, CLASS_NORMAL));
    bed_submit(&bed, job_of("bob", 1, CLASS_NORMAL));
    bed_pass(&bed);
    assert_int_equal(held_of(&bed, first - 11, 12), 12);
    bed_destroy(&bed);
}

/* Who has had much waits for who has had little, also once nobody holds anything. */
static void test_past_counts(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 2, 0, NULL } }, 1);
    struct event alice = bed_tenant("alice"), bob = bed_tenant("bob");
    uint64_t had, first, second;

    (void)state;
    bed_step(&bed, &alice);
    bed_step(&bed, &bob);
    had = bed_submit(&bed, job_of("alice", 2, CLASS_NORMAL));
    bed_pass(&bed);
    bed.now_ms += 60 * MINUTE;
    first = bed_submit(&bed, job_of("alice", 2, CLASS_NORMAL));
    bed.now_ms += MINUTE;
    second = bed_submit(&bed, job_of("bob", 2, CLASS_NORMAL));
    bed_done(&bed, had);
    bed_restart(&bed);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, first), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, second), JOB_STARTING);
    bed_why(&bed, first, "busy", "next");
    bed_destroy(&bed);
}

static void test_limits_of_a_parent(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 16, 0, NULL } }, 1);
    struct event physics = bed_tenant("physics"), optics = bed_tenant("optics"),
                 heat = bed_tenant("heat");
    struct event event;
    struct tenant_view view;
    struct err err = { 0 };
    uint64_t first, second;

    (void)state;
    physics.tenant_set.cpus_max = 4;
    physics.tenant_set.jobs_max = 2;
    bed_step(&bed, &physics);
    optics.tenant_set.parent = heat.tenant_set.parent = "physics";
    bed_step(&bed, &optics);
    bed_step(&bed, &heat);
    first = bed_submit(&bed, job_of("optics", 3, CLASS_NORMAL));
    second = bed_submit(&bed, job_of("heat", 2, CLASS_NORMAL));
    event = job_of("heat", 1, CLASS_NORMAL);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EDQUOT);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, first), JOB_STARTING);
    bed_why(&bed, second, "quota", "tenant physics holds 3 CPUs");
    assert_true(grid_tenant_find(bed.grid, "physics", &view));
    assert_int_equal(view.cpus_held, 3);
    assert_int_equal(view.jobs_live, 2);
    bed_restart(&bed);
    heat.tenant_set.parent = ""; /* it leaves, with what it has */
    bed_step(&bed, &heat);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, second), JOB_STARTING);
    bed_destroy(&bed);
}

/* 0.036 a CPU-hour: a CPU for 99 minutes and the slack costs 0.06. */
static void test_budget(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 16, 0, NULL } }, 1);
    struct event set = bed_tenant("alice"), event = bed_job(1);
    struct tenant_view view;
    struct err err = { 0 };
    uint64_t first, second;

    (void)state;
    set.tenant_set.budget_micro = 100000;
    bed_step(&bed, &set);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL); /* nobody knows its price */
    assert_non_null(strstr(err.text, "say a duration"));
    event.job_submitted.request.duration_ms_max = 99 * MINUTE;
    first = bed_submit(&bed, event);
    second = bed_submit(&bed, event);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, first), JOB_STARTING);
    assert_int_equal(bed_state(&bed, second), JOB_QUEUED);
    bed_why(&bed, second, "budget", "may cost 0.06 by its duration, tenant alice has 0.04 left");
    bed_restart(&bed);
    bed.now_ms += 50 * MINUTE; /* it costs half of what was set aside */
    bed_done(&bed, first);
    assert_true(grid_tenant_find(bed.grid, "alice", &view));
    assert_int_equal(view.reserved_micro, 0);
    assert_int_equal(view.spent_micro, 30000);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, second), JOB_STARTING);
    bed_restart(&bed);
    bed_destroy(&bed);
}

static void run_for(struct bed *bed, uint64_t id, uint32_t epoch, int64_t ms)
{
    bed_started(bed, id, epoch);
    bed->now_ms += ms;
}

/* A pass now, and another when a preemption may be looked at again. */
static void two_passes(struct bed *bed)
{
    bed_pass(bed);
    bed->now_ms += MINUTE;
    bed_pass(bed);
}

static void test_lower_class_makes_way(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 2, 0, NULL } }, 1);
    struct job_view view;
    uint64_t low, high;

    (void)state;
    low = bed_submit(&bed, job_of("alice", 2, CLASS_LOW));
    bed_pass(&bed);
    run_for(&bed, low, 1, 5 * MINUTE);
    high = bed_submit(&bed, job_of("alice", 1, CLASS_NORMAL));
    bed_pass(&bed);
    assert_int_equal(bed.stops, 0); /* it has just come */
    assert_true(grid_next_timer_ms(bed.grid) <= bed.now_ms + MINUTE);
    bed_restart(&bed);
    bed.now_ms += MINUTE;
    bed_pass(&bed);
    assert_int_equal(bed.stops, 1);
    assert_int_equal(bed_state(&bed, low), JOB_STOPPING);
    bed_why(&bed, low, "preempted", "makes way for job");
    bed_why(&bed, high, "preempting", "1 other is being stopped");
    bed_restart(&bed);
    bed.now_ms += MINUTE;
    bed_pass(&bed);
    assert_int_equal(bed.stops, 1); /* one is enough */
    bed_ended(&bed, low, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_state(&bed, low), JOB_QUEUED);
    view = bed_view(&bed, low);
    assert_int_equal(view.outcome, OUTCOME_PREEMPTED);
    assert_int_equal(view.attempts_failed, 0);
    assert_int_equal(view.eligible_ms, 1000000); /* where it stood */
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, high), JOB_STARTING);
    assert_int_equal(bed_state(&bed, low), JOB_QUEUED);
    bed_restart(&bed);
    bed_choice(&bed, high, "stopped", 0, "others were stopped so that it fits");
    bed_done(&bed, high);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, low), JOB_STARTING);
    bed_destroy(&bed);
}

static uint64_t submit_due(struct bed *bed, const char *name, int64_t in_ms, int64_t limit_ms)
{
    struct event event = job_of(name, 1, CLASS_NORMAL);

    event.job_submitted.request.deadline_ms = in_ms ? bed->now_ms + in_ms : 0;
    event.job_submitted.request.duration_ms_max = limit_ms;
    return bed_submit(bed, event);
}

/* Who must start first to keep its deadline, whoever came first and whosever it is; after a week
 * who has none. */
static void test_order_by_deadline(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 1, 0, NULL } }, 1);
    struct event policy = { .type = EVENT_POLICY_SET };
    const int64_t hour = 60 * MINUTE;
    uint64_t want[5];

    (void)state;
    want[3] = submit_due(&bed, "a", 0, hour);
    want[4] = submit_due(&bed, "a", 240 * hour, hour);
    want[2] = submit_due(&bed, "a", 48 * hour, hour);
    policy.policy_set.order = ORDER_DEADLINE;
    bed_step(&bed, &policy);
    want[1] = submit_due(&bed, "a", 5 * hour, hour);
    want[0] = submit_due(&bed, "b", 6 * hour, 3 * hour);
    for (int i = 0; i < 5; i++) {
        bed_restart(&bed);
        bed_pass(&bed);
        assert_int_equal(bed_state(&bed, want[i]), JOB_STARTING);
        bed_done(&bed, want[i]);
    }
    want[1] = submit_due(&bed, "a", 5 * hour, hour);
    want[0] = submit_due(&bed, "b", 0, hour);
    policy.policy_set.order = ORDER_FIFO;
    bed_step(&bed, &policy);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, want[1]), JOB_STARTING);
    bed_destroy(&bed);
}

static void test_who_does_not_make_way(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 5, 0, NULL } }, 1);
    struct event stays = job_of("alice", 1, CLASS_LOW), off = { .type = EVENT_POLICY_SET };
    uint64_t equal, unsaved, fixed, fresh, high, saved;

    (void)state;
    stays.job_submitted.request.requeue_on_loss = 0;
    equal = bed_submit(&bed, saving(job_of("alice", 1, CLASS_HIGH)));
    unsaved = bed_submit(&bed, job_of("alice", 1, CLASS_NORMAL));
    saved = bed_submit(&bed, saving(job_of("alice", 1, CLASS_NORMAL)));
    fixed = bed_submit(&bed, stays);
    fresh = bed_submit(&bed, job_of("alice", 1, CLASS_LOW));
    bed_pass(&bed);
    bed_started(&bed, equal, 1);
    bed_started(&bed, unsaved, 1);
    bed_started(&bed, saved, 1);
    bed_started(&bed, fixed, 1);
    bed.now_ms += 10 * MINUTE;
    bed_started(&bed, fresh, 1); /* it has not run its minute, at first */
    off.policy_set.preempts = 0;
    bed_step(&bed, &off);
    high = bed_submit(&bed, job_of("alice", 3, CLASS_HIGH));
    two_passes(&bed);
    assert_int_equal(bed.stops, 0);
    off.policy_set.preempts = 1;
    bed_step(&bed, &off);
    two_passes(&bed);
    assert_int_equal(bed.stops, 0); /* two make way at most: not enough, so none does */
    assert_int_equal(bed_cancel(&bed, high), 0);
    high = bed_submit(&bed, job_of("alice", 1, CLASS_HIGH));
    two_passes(&bed);
    assert_int_equal(bed.stops, 1); /* of the lowest class, though it saves nothing */
    assert_int_equal(bed_state(&bed, fresh), JOB_STOPPING);
    assert_int_equal(bed_cancel(&bed, fresh), 0); /* meanwhile: then it is that */
    bed_ended(&bed, fresh, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed.ended_as, JOB_CANCELLED);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, high), JOB_STARTING);
    bed_destroy(&bed);
}

/* Bob borrowed all of it before Alice came for what is hers; and he does not get it back. */
static void test_guarantee_is_taken_back(void **state)
{
    struct bed bed =
        bed_create((struct bed_node[]){ { "n1", 8, 2, "fast" }, { "n2", 8, 2, "fast" } }, 2);
    struct event alice = bed_tenant("alice"), bob = bed_tenant("bob");
    struct event wide = job_of("alice", 1, CLASS_LOW), one = job_of("bob", 1, CLASS_HIGH);
    uint64_t bobs[5], own, more;
    uint32_t stopped = 0;

    (void)state;
    alice.tenant_set.guarantee_devices_milli = 2000;
    bob.tenant_set.guarantee_devices_milli = 2000;
    bed_step(&bed, &alice);
    bed_step(&bed, &bob);
    one.job_submitted.request.shape.devices_milli = 1000;
    for (int i = 0; i < 5; i++)
        bobs[i] = bed_submit(&bed, one);
    bed_pass(&bed);
    for (int i = 0; i < 4; i++)
        run_for(&bed, bobs[i], 1, MINUTE);
    wide.job_submitted.request.shape.devices_milli = 2000; /* both of one node */
    own = bed_submit(&bed, wide);
    two_passes(&bed);
    assert_int_equal(bed.stops, 2);
    for (int i = 0; i < 4; i++)
        if (bed_state(&bed, bobs[i]) == JOB_STOPPING) {
            bed_why(&bed, bobs[i], "preempted", "tenant alice takes back what is its own");
            bed_ended(&bed, bobs[i], 1, OUTCOME_STOPPED, 0);
            stopped++;
        }
    assert_int_equal(stopped, 2);
    bed_restart(&bed);
    two_passes(&bed);
    assert_int_equal(bed_state(&bed, own), JOB_STARTING);
    bed_started(&bed, own, 1);
    more = bed_submit(&bed, wide);  /* beyond her own: she waits like all */
    for (int i = 0; i < 200; i++) { /* Bob's are of a higher class, and wait: no ping-pong */
        bed.now_ms += MINUTE;
        bed_pass(&bed);
    }
    assert_int_equal(bed.stops, 2);
    assert_int_equal(bed_state(&bed, own), JOB_RUNNING);
    assert_int_equal(bed_state(&bed, more), JOB_QUEUED);
    bed_destroy(&bed);
}

/* Urgent work comes without end. A low job is stopped ever more rarely, and gets done. */
static void test_no_ping_pong(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 1, 0, NULL } }, 1);
    uint64_t low = bed_submit(&bed, job_of("alice", 1, CLASS_LOW)), urgent = 0;
    int64_t ran_ms = 0;
    uint32_t epoch = 0, stops = 0, bound;

    (void)state;
    for (int minute = 0; minute < 24 * 60; minute++) {
        struct job_view view;

        bed.runs = 0;
        bed_pass(&bed);
        view = bed_view(&bed, low);
        if (view.state == JOB_STARTING)
            bed_started(&bed, low, epoch = view.epoch);
        if (view.state == JOB_STOPPING) {
            bed_ended(&bed, low, epoch, OUTCOME_STOPPED, 0);
            stops++;
        }
        if (view.state == JOB_RUNNING && !urgent)
            urgent = bed_submit(&bed, job_of("alice", 1, CLASS_URGENT));
        if (urgent && bed_state(&bed, urgent) == JOB_STARTING) {
            bed_done(&bed, urgent);
            urgent = 0;
        }
        ran_ms += view.state == JOB_RUNNING ? MINUTE : 0;
        bed.now_ms += MINUTE;
    }
    /* 1 + 2 + 4 ... + 32 minutes, then 64 each. */
    bound = 6 + (uint32_t)(ran_ms / (64 * MINUTE)) + 1;
    assert_in_range(stops, 6, bound);
    assert_true(ran_ms > 12 * 60 * MINUTE);
    bed_destroy(&bed);
}

/* Others keep coming and keep the network full: what is a tenant's own still starts in time. */
static void test_own_does_not_starve(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 4, 0, NULL } }, 1);
    struct event alice = bed_tenant("alice");
    uint64_t ids[256], own = 0;
    uint32_t count = 0, epochs[256] = { 0 };
    int64_t submitted_ms = 0;

    (void)state;
    alice.tenant_set.guarantee_cpus = 3;
    bed_step(&bed, &alice);
    for (int minute = 0; minute < 200; minute++) {
        bed.runs = 0;
        if (count < 200)
            ids[count++] = bed_submit(&bed, job_of("bob", 1, CLASS_URGENT));
        if (minute == 100) {
            own = bed_submit(&bed, job_of("alice", 3, CLASS_NORMAL));
            submitted_ms = bed.now_ms;
        }
        bed_pass(&bed);
        for (uint32_t i = 0; i < count; i++) {
            struct job_view view;

            if (!grid_find_job(bed.grid, ids[i], &view))
                continue;
            if (view.state == JOB_STARTING)
                bed_started(&bed, ids[i], epochs[i] = view.epoch);
            if (view.state == JOB_STOPPING)
                bed_ended(&bed, ids[i], epochs[i], OUTCOME_STOPPED, 0);
        }
        if (own && bed_state(&bed, own) == JOB_STARTING)
            break;
        bed.now_ms += MINUTE;
    }
    assert_int_equal(bed_state(&bed, own), JOB_STARTING);
    assert_true(bed.now_ms - submitted_ms <= 4 * MINUTE);
    bed_destroy(&bed);
}

static void set_by_value(struct bed *bed, uint32_t by_value)
{
    struct event event = { .type = EVENT_POLICY_SET };

    event.policy_set.preempts = 1;
    event.policy_set.by_value = by_value;
    bed_step(bed, &event);
}

static uint64_t submit_on(struct bed *bed, const char *name, const char *chip, uint32_t tasks)
{
    struct event event = job_of(name, 1, CLASS_NORMAL);
    struct request_shape *shape = &event.job_submitted.request.shape;

    shape->tasks = tasks;
    shape->devices_milli = 1000;
    shape->chips_count = chip != NULL;
    snprintf(shape->chips[0], MODEL_NAME_BYTES, "%s", chip ? chip : "");
    return bed_submit(bed, event);
}

/* Alice holds four slow devices, bob one that is nine times as fast: who has borrowed less? */
static void test_devices_by_value(void **state)
{
    static const struct bed_node nodes[] = { { "f1", 8, 2, "fast" }, { "s1", 8, 4, "slow" } };

    (void)state;
    for (uint32_t by_value = 0; by_value < 2; by_value++) {
        struct bed bed = bed_create(nodes, 2);
        struct event other = bed_job(1);
        uint64_t alice, bob;

        if (by_value == 0) { /* told and taken back: as it was */
            set_by_value(&bed, 1);
            bed_restart(&bed);
        }
        submit_on(&bed, "alice", "slow", 4);
        submit_on(&bed, "bob", "fast", 1);
        bed_pass(&bed);
        assert_int_equal(bed.runs, 2);
        set_by_value(&bed, by_value);
        assert_int_equal(grid_policy(bed.grid).by_value, by_value);
        bed_restart(&bed);
        /* One device is left; the one whose turn it is not asked first. */
        if (by_value) {
            bob = submit_on(&bed, "bob", NULL, 1);
            alice = submit_on(&bed, "alice", NULL, 1);
        } else {
            alice = submit_on(&bed, "alice", NULL, 1);
            bob = submit_on(&bed, "bob", NULL, 1);
        }
        bed_pass(&bed);
        assert_int_equal(bed_state(&bed, by_value ? alice : bob), JOB_STARTING);
        assert_int_equal(bed_state(&bed, by_value ? bob : alice), JOB_QUEUED);
        /* Devices of another kind come and go under what is held. */
        bed_join(&bed, "here", (struct bed_node[]){ { "f1", 8, 2, "slow" } }, 1);
        bed_restart(&bed);
        bed_join(&bed, "here", nodes, 2);
        bed_done(&bed, 1);
        bed_done(&bed, 2);
        bed_restart(&bed);
        bed_submit(&bed, other);
        bed_pass(&bed);
        bed_destroy(&bed);
    }
}

/* What is a tenant's own is a number of devices, however fast they are. */
static void test_own_by_number(void **state)
{
    static const struct bed_node nodes[] = { { "f1", 8, 2, "fast" }, { "s1", 8, 6, "slow" } };
    struct bed bed = bed_create(nodes, 2);
    struct event alice = bed_tenant("alice"), lends;
    uint64_t own;

    (void)state;
    alice.tenant_set.guarantee_devices_milli = 2000;
    bed_step(&bed, &alice);
    set_by_value(&bed, 1);
    lends = job_of("bob", 1, CLASS_NORMAL);
    lends.job_submitted.request.shape.tasks = 2;
    lends.job_submitted.request.shape.devices_milli = 1000;
    bed_submit(&bed, saving(lends)); /* takes the fast ones */
    bed_pass(&bed);
    assert_int_equal(bed.runs, 1);
    bed.now_ms += 2 * MINUTE;
    own = submit_on(&bed, "alice", "fast", 2);
    bed_pass(&bed);
    bed.now_ms += MINUTE;
    bed_pass(&bed);
    assert_int_equal(bed.stops, 1); /* both are within its own, though they are worth far more */
    bed_why(&bed, own, "preempting", "room is being made");
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_devices_by_value),
        cmocka_unit_test(test_own_by_number),
        cmocka_unit_test(test_past_counts),
        cmocka_unit_test(test_limits_of_a_parent),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_lower_class_makes_way),
        cmocka_unit_test(test_order_by_deadline),
        cmocka_unit_test(test_who_does_not_make_way),
        cmocka_unit_test(test_guarantee_is_taken_back),
        cmocka_unit_test(test_no_ping_pong),
        cmocka_unit_test(test_own_does_not_starve),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
