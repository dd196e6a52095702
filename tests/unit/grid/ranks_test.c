/* Work in the order of what it has had and is expected to need. */
#include "base/cleanup.h"
#include "bed.h"

#define MINUTE 60000
#define HOUR (60 * MINUTE)

static const struct bed_node four_cpus[] = { { "n1", 4, 0, NULL } };

static void set_order(struct bed *bed, uint32_t order, uint32_t preempts)
{
    struct event event = { .type = EVENT_POLICY_SET };

    event.policy_set.order = order;
    event.policy_set.preempts = preempts;
    event.policy_set.by = "op";
    bed_step(bed, &event);
}

static struct event job_of(const char *user, const char *name, uint32_t cpus)
{
    struct event event = bed_job(cpus);

    event.job_submitted.user = user;
    event.job_submitted.name = name;
    return event;
}

static struct event saving(struct event event)
{
    event.job_submitted.request.checkpoint = CHECKPOINT_ASKED;
    return event;
}

/* It runs alone for so long and ends well. */
static void run_once(struct bed *bed, struct event event, int64_t ms)
{
    uint64_t id = bed_submit(bed, event);

    bed_pass(bed);
    assert_int_equal(bed_state(bed, id), JOB_STARTING);
    bed_started(bed, id, 1);
    bed->now_ms += ms;
    bed_done(bed, id);
}

static void check_place(struct bed *bed, uint64_t id, const char *part)
{
    struct why why;

    assert_int_equal(grid_why(bed->grid, id, &why), 0);
    if (!strstr(why.order, part))
        fail_msg("job %d: \"%s\"; expected \"...%s...\"", (int)id, why.order, part);
}

/* Of what nobody knows, narrow goes before wide; of what is known, short before long. */
static void test_less_goes_first(void **state)
{
    struct bed bed = bed_create(four_cpus, 1);
    uint64_t all, wide, narrow, slow, quick;

    (void)state;
    set_order(&bed, ORDER_PREDICTED, 0);
    assert_int_equal(grid_policy(bed.grid).order, ORDER_PREDICTED);
    run_once(&bed, job_of("al", "slow", 1), 5 * HOUR);
    run_once(&bed, job_of("al", "quick", 1), MINUTE);
    run_once(&bed, job_of("bo", "slow", 1), MINUTE); /* another user's name says nothing */
    all = bed_submit(&bed, bed_job(4));
    bed_pass(&bed);
    wide = bed_submit(&bed, job_of("al", "new", 4));
    slow = bed_submit(&bed, job_of("al", "slow", 1));
    bed.now_ms += MINUTE;
    quick = bed_submit(&bed, job_of("al", "quick", 1));
    narrow = bed_submit(&bed, job_of("al", "new", 1));
    bed_restart(&bed);
    check_place(&bed, slow, "took about 5h");
    check_place(&bed, quick, "took about 1m");
    check_place(&bed, wide, "it has had nothing of 4 CPUs");
    bed_why(&bed, slow, "priority", "3 jobs are ahead");
    bed_done(&bed, all);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, wide), JOB_QUEUED); /* the last CPUs are too few for it */
    assert_int_equal(bed_state(&bed, narrow), JOB_STARTING);
    assert_int_equal(bed.run_jobs[bed.runs - 3], narrow);
    assert_int_equal(bed.run_jobs[bed.runs - 2], quick);
    assert_int_equal(bed.run_jobs[bed.runs - 1], slow);
    bed_restart(&bed);
    bed_destroy(&bed);
}

static void test_off_is_age(void **state)
{
    struct bed bed = bed_create(four_cpus, 1);
    uint64_t all, slow, quick;
    struct why why;

    (void)state;
    set_order(&bed, ORDER_PREDICTED, 1);
    run_once(&bed, job_of("al", "slow", 4), 5 * HOUR);
    run_once(&bed, job_of("al", "quick", 4), MINUTE);
    all = bed_submit(&bed, bed_job(4));
    bed_pass(&bed);
    slow = bed_submit(&bed, job_of("al", "slow", 4));
    quick = bed_submit(&bed, job_of("al", "quick", 4));
    set_order(&bed, ORDER_FAIR, 1);
    bed_restart(&bed);
    assert_int_equal(grid_why(bed.grid, slow, &why), 0);
    assert_string_equal(why.order, "");
    bed_done(&bed, all);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, slow), JOB_STARTING);
    bed_done(&bed, slow);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, quick), JOB_STARTING);
    set_order(&bed, ORDER_PREDICTED, 1); /* with what runs; nothing is remembered */
    slow = bed_submit(&bed, job_of("al", "slow", 4));
    check_place(&bed, slow, "it has had nothing");
    bed_done(&bed, quick);
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* Shares stand above it: what needs little of one tenant does not go before another's turn. */
static void test_turns_stand_above(void **state)
{
    struct bed bed = bed_create(four_cpus, 1);
    struct event theirs = job_of("bo", "slow", 4);
    uint64_t all, bob, alice;

    (void)state;
    set_order(&bed, ORDER_PREDICTED, 0);
    theirs.job_submitted.tenant = "bob";
    run_once(&bed, job_of("al", "quick", 4), MINUTE);
    all = bed_submit(&bed, bed_job(4)); /* alice holds all */
    bed_pass(&bed);
    bed.now_ms += 10 * MINUTE;
    alice = bed_submit(&bed, job_of("al", "quick", 4));
    bob = bed_submit(&bed, theirs);
    bed_done(&bed, all);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, alice), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, bob), JOB_STARTING);
    bed_destroy(&bed);
}

static void test_deadline_calls(void **state)
{
    struct bed bed = bed_create(four_cpus, 1);
    struct event event = job_of("al", "slow", 4), tick = { .type = EVENT_TICK };
    uint64_t all, due, quick;

    (void)state;
    set_order(&bed, ORDER_PREDICTED, 0);
    run_once(&bed, event, 5 * HOUR);
    run_once(&bed, job_of("al", "quick", 4), MINUTE);
    all = bed_submit(&bed, bed_job(4));
    bed_pass(&bed);
    event.job_submitted.request.deadline_ms = bed.now_ms + 6 * HOUR;
    due = bed_submit(&bed, event);
    quick = bed_submit(&bed, job_of("al", "quick", 4));
    check_place(&bed, due, "took about 5h");
    bed_restart(&bed);
    bed.now_ms += 52 * MINUTE; /* ten minutes before the latest start */
    assert_true(grid_next_timer_ms(bed.grid) <= bed.now_ms);
    bed_step(&bed, &tick);
    check_place(&bed, due, "for its deadline");
    bed_restart(&bed);
    bed.now_ms += 9 * MINUTE; /* it can be kept no more: it has no call on others */
    bed_step(&bed, &tick);
    check_place(&bed, due, "took about 5h");
    bed_done(&bed, all);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, quick), JOB_STARTING);
    bed_destroy(&bed);
}

/* A pass each time that a tick asks for it. */
static void pass_on(struct bed *bed, int count)
{
    for (int i = 0; i < count; i++) {
        if (grid_next_timer_ms(bed->grid) == INT64_MAX)
            return;
        assert_true(grid_next_timer_ms(bed->grid) <= bed->now_ms + 5 * MINUTE);
        bed->now_ms = grid_next_timer_ms(bed->grid);
        bed_pass(bed);
    }
}

/* What has had much makes way for what is to need little, once, of its own tenant only. */
static void test_makes_way(void **state)
{
    struct bed bed = bed_create(four_cpus, 1);
    struct event theirs = job_of("bo", "new", 1);
    uint64_t first, second, other;
    struct job_view view;

    (void)state;
    theirs.job_submitted.tenant = "bob";
    set_order(&bed, ORDER_PREDICTED, 1);
    first = bed_submit(&bed, saving(bed_job(4)));
    bed_pass(&bed);
    bed_started(&bed, first, 1);
    bed.now_ms += 4 * MINUTE;
    other = bed_submit(&bed, theirs);
    bed_pass(&bed);
    assert_int_equal(bed.stops, 0); /* another tenant's is not stopped for it */
    second = bed_submit(&bed, saving(job_of("al", "new", 1)));
    bed_pass(&bed);
    assert_int_equal(bed.stops, 0); /* it has run less than ten minutes */
    pass_on(&bed, 1);
    assert_int_equal(bed.stops, 0);
    pass_on(&bed, 1);
    assert_int_equal(bed.stops, 1);
    bed_why(&bed, second, "preempting", "1 other is being stopped");
    bed_why(&bed, first, "preempted", "makes way for job");
    bed_restart(&bed);
    bed_ended(&bed, first, 1, OUTCOME_STOPPED, 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, second), JOB_STARTING);
    assert_int_equal(bed_state(&bed, other), JOB_STARTING); /* there is room, and it fits */
    assert_int_equal(bed_state(&bed, first), JOB_QUEUED);
    check_place(&bed, first, "it has had 14m");
    view = bed_view(&bed, first);
    assert_int_equal(view.outcome, OUTCOME_PREEMPTED);
    bed_restart(&bed);
    pass_on(&bed, 12); /* nobody is stopped for the one that made way */
    assert_int_equal(bed.stops, 1);
    bed_destroy(&bed);
}

static void test_who_is_not_stopped(void **state)
{
    struct bed bed = bed_create(four_cpus, 1);
    struct event event = saving(bed_job(2));
    uint64_t plain, firm;

    (void)state;
    set_order(&bed, ORDER_PREDICTED, 1);
    event.job_submitted.request.requeue_on_loss = 0;
    plain = bed_submit(&bed, bed_job(2)); /* it saves nothing */
    firm = bed_submit(&bed, event);
    bed_pass(&bed);
    bed_started(&bed, plain, 1);
    bed_started(&bed, firm, 1);
    bed.now_ms += HOUR;
    bed_submit(&bed, job_of("al", "new", 1));
    pass_on(&bed, 5);
    assert_int_equal(bed.stops, 0);
    bed_destroy(&bed);

    bed = bed_create(four_cpus, 1);
    set_order(&bed, ORDER_PREDICTED, 0); /* nobody is, if the operator says so */
    plain = bed_submit(&bed, saving(bed_job(4)));
    bed_pass(&bed);
    bed_started(&bed, plain, 1);
    bed.now_ms += HOUR;
    bed_submit(&bed, job_of("al", "new", 1));
    pass_on(&bed, 5);
    assert_int_equal(bed.stops, 0);
    bed_destroy(&bed);
}

/* Small ones that keep coming do not keep a wide one out for more than a day and a turn. */
static void test_ages(void **state)
{
    struct bed bed = bed_create(four_cpus, 1);
    uint64_t runs[4], wide;
    uint32_t epoch = 1;

    (void)state;
    set_order(&bed, ORDER_PREDICTED, 0);
    for (int i = 0; i < 4; i++)
        runs[i] = bed_submit(&bed, bed_job(1));
    bed_pass(&bed);
    wide = bed_submit(&bed, bed_job(4));
    for (int i = 0; i < 25; i++) {
        uint64_t next = bed_submit(&bed, bed_job(1));

        if (i % 8 == 3)
            bed_restart(&bed);
        bed.runs = 0;
        bed.now_ms += HOUR;
        bed_done(&bed, runs[i % 4]);
        bed_pass(&bed);
        runs[i % 4] = next;
        assert_int_equal(bed_state(&bed, wide), JOB_QUEUED);
        if (i < 23)
            assert_int_equal(bed_state(&bed, next), JOB_STARTING);
    }
    check_place(&bed, wide, "waited so long");
    bed_restart(&bed);
    for (int i = 0; i < 4; i++)
        if (bed_state(&bed, runs[i]) == JOB_STARTING)
            bed_ended(&bed, runs[i], epoch, OUTCOME_EXITED, 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, wide), JOB_STARTING);
    bed_destroy(&bed);
}

/* What is learned of whom: ends of their own, not losses or cancels. */
static void test_what_teaches(void **state)
{
    struct bed bed = bed_create(four_cpus, 1);
    uint64_t id;

    (void)state;
    set_order(&bed, ORDER_PREDICTED, 0);
    id = bed_submit(&bed, job_of("al", "cut", 1));
    bed_pass(&bed);
    bed_started(&bed, id, 1);
    bed.now_ms += HOUR;
    assert_int_equal(bed_cancel(&bed, id), 0);
    bed_ended(&bed, id, 1, OUTCOME_STOPPED, 0);
    id = bed_submit(&bed, job_of("al", "cut", 1));
    check_place(&bed, id, "it has had nothing of 1 CPU");
    bed_pass(&bed);
    bed_started(&bed, id, 1);
    bed.now_ms += HOUR;
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 3); /* a failure took its time as well */
    id = bed_submit(&bed, job_of("al", "cut", 1));
    check_place(&bed, id, "took about 1h");
    id = bed_submit(&bed, job_of("al", "cut", 2)); /* of another width */
    check_place(&bed, id, "it has had nothing of 2 CPUs");
    bed_destroy(&bed);
}

/* One of version 11, from before work was ordered so: job 1 (all four CPUs) runs, 2 (four CPUs) and
 * 3 (one) wait. */
static void test_older_snapshot(void **state)
{
    struct bed bed = bed_read(DOCS_DIR "/../tests/recorded/grid/snapshot-11.bin", 1000000);

    (void)state;
    assert_int_equal(grid_policy(bed.grid).order, ORDER_FAIR);
    bed_why(&bed, 3, "priority", "1 job is ahead");
    set_order(&bed, ORDER_PREDICTED, 1);
    bed_why(&bed, 2, "priority", "1 job is ahead");
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* Where the last level begins depends on the size of the network; those that wait stand anew. */
static void test_levels_of_a_larger_network(void **state)
{
    static const struct bed_node large[] = { { "n1", 35000, 0, NULL } };
    struct bed bed = bed_create(four_cpus, 1);
    uint64_t all, slow, slower;

    (void)state;
    set_order(&bed, ORDER_PREDICTED, 0);
    run_once(&bed, job_of("al", "slow", 4), INT64_C(4800) * HOUR);
    run_once(&bed, job_of("al", "slower", 4), INT64_C(14400) * HOUR);
    all = bed_submit(&bed, bed_job(4));
    bed_pass(&bed);
    slower = bed_submit(&bed, job_of("al", "slower", 4));
    bed.now_ms += MINUTE;
    slow = bed_submit(&bed, job_of("al", "slow", 4));
    check_place(&bed, slow, "level 22,");
    check_place(&bed, slower, "level 22,"); /* both of the last level: by age */
    bed_join(&bed, "far", large, 1);
    bed_restart(&bed);
    check_place(&bed, slow, "level 22,");
    check_place(&bed, slower, "level 23,");
    bed_join(&bed, "far", four_cpus, 1);
    bed_restart(&bed);
    check_place(&bed, slower, "level 22,");
    bed_done(&bed, all);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_less_goes_first),
        cmocka_unit_test(test_off_is_age),
        cmocka_unit_test(test_turns_stand_above),
        cmocka_unit_test(test_deadline_calls),
        cmocka_unit_test(test_makes_way),
        cmocka_unit_test(test_ages),
        cmocka_unit_test(test_who_is_not_stopped),
        cmocka_unit_test(test_what_teaches),
        cmocka_unit_test(test_older_snapshot),
        cmocka_unit_test(test_levels_of_a_larger_network),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
