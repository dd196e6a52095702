/* Which job on which kind of chip, while the policy assigns. */
#include "bed.h"

#include "base/rng.h"

#define MINUTE_MS 60000LL
#define HOUR_MS (60 * MINUTE_MS)

static const struct bed_node two_nodes[] = { { "f", 8, 1, "fast" }, { "s", 8, 1, "slow" } };

static int set_policy(struct bed *bed, uint32_t order, uint32_t assigns)
{
    struct event event = { .type = EVENT_POLICY_SET };
    struct err err = { 0 };

    event.policy_set.order = order;
    event.policy_set.preempts = 1;
    event.policy_set.by = "op";
    event.policy_set.assigns = assigns;
    return bed_try(bed, &event, NULL, &err);
}

/* A unit takes so long on each kind. */
static struct event work(const char *class, uint32_t devices, int64_t fast_ms, int64_t slow_ms)
{
    static const char *const chips[] = { "fast", "slow" };
    struct event event = bed_job(1);
    struct job_request *request = &event.job_submitted.request;

    request->shape.devices_milli = devices * 1000;
    request->checkpoint = CHECKPOINT_ASKED;
    snprintf(request->work.class, sizeof(request->work.class), "%s", class);
    request->work.units_milli = 1000000;
    request->work.paces_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(request->work.paces[i].chip, MODEL_NAME_BYTES, "%s", chips[i]);
        request->work.paces[i].seconds_milli = i ? slow_ms : fast_ms;
    }
    return event;
}

static uint64_t start(struct bed *bed, struct event job)
{
    uint64_t id = bed_submit(bed, job);

    bed_pass(bed);
    if (bed_state(bed, id) == JOB_STARTING)
        bed_started(bed, id, bed_view(bed, id).epoch);
    return id;
}

static const char *chip_of(struct bed *bed, uint64_t id)
{
    struct job_view view = bed_view(bed, id);

    return view.allocation.parts_count && view.allocation.parts[0].node == 0 ? "fast" : "slow";
}

static void later(struct bed *bed, int64_t by_ms)
{
    bed_tick(bed, bed->now_ms + by_ms);
    bed_pass(bed);
}

/* One that hardly cares has the fast chip, one that does came second. */
struct swapped {
    struct bed bed;
    uint64_t even, steep;
};

static struct swapped swapped_create(struct event even, struct event steep, uint32_t assigns)
{
    struct swapped at = { .bed = bed_create(two_nodes, 2) };

    at.bed.now_ms = 1000 * HOUR_MS;
    assert_int_equal(set_policy(&at.bed, ORDER_FAIR, assigns), 0);
    at.even = start(&at.bed, even);
    at.steep = start(&at.bed, steep);
    assert_string_equal(chip_of(&at.bed, at.even), "fast");
    assert_string_equal(chip_of(&at.bed, at.steep), "slow");
    return at;
}

static void test_policy(void **state)
{
    struct bed bed = bed_create(two_nodes, 2);
    struct bed old = bed_read(DOCS_DIR "/../tests/recorded/grid/snapshot-17.bin", 2000 * HOUR_MS);

    (void)state;
    assert_int_equal(set_policy(&bed, ORDER_FAIR, 2), -EINVAL);
    assert_false(grid_policy(bed.grid).assigns);
    assert_int_equal(set_policy(&bed, ORDER_FAIR, 1), 0);
    assert_true(grid_policy(bed.grid).assigns);
    bed_restart(&bed);
    assert_true(grid_policy(bed.grid).assigns);
    assert_int_equal(set_policy(&bed, ORDER_FAIR, 0), 0);
    assert_false(grid_policy(bed.grid).assigns);
    assert_false(grid_policy(old.grid).assigns);
    bed_destroy(&old);
    bed_destroy(&bed);
}

static void test_swap(void **state)
{
    struct swapped at =
        swapped_create(work("even", 1, 1000, 1100), work("steep", 1, 1000, 9000), 1);
    struct bed *bed = &at.bed;
    struct event plain = bed_job(1);
    uint64_t other;
    struct why why;

    (void)state;
    assert_int_equal(grid_why(bed->grid, at.steep, &why), 0);
    assert_non_null(strstr(why.assign, "slow at here 11 %"));
    later(bed, 30000);
    assert_int_equal(bed->stops, 0); /* they have run for half a minute */
    later(bed, 5 * MINUTE_MS);
    assert_int_equal(bed->stops, 2);
    bed_why(bed, at.even, "moving", "from fast to slow at here");
    bed_why(bed, at.steep, "moving", "from slow to fast at here");
    plain.job_submitted.request.shape.devices_milli = 1000; /* it would take what comes first */
    other = bed_submit(bed, plain);
    bed_restart(bed);
    bed_ended(bed, at.even, 1, OUTCOME_STOPPED, 0);
    bed_restart(bed);
    bed_pass(bed);
    bed_why(bed, at.even, "assigned", "room is being made for it on slow");
    assert_int_equal(bed_state(bed, other), JOB_QUEUED); /* it is kept for the other */
    bed_ended(bed, at.steep, 1, OUTCOME_STOPPED, 0);
    assert_int_equal(bed_view(bed, at.steep).outcome, OUTCOME_MOVED);
    bed_pass(bed);
    assert_int_equal(bed_state(bed, at.even), JOB_STARTING);
    assert_int_equal(bed_state(bed, at.steep), JOB_STARTING);
    assert_string_equal(chip_of(bed, at.even), "slow");
    assert_string_equal(chip_of(bed, at.steep), "fast");
    assert_int_equal(bed_view(bed, at.even).attempts_failed + bed_view(bed, at.even).attempts_lost,
                     0);
    bed_restart(bed);
    bed_choice(bed, at.even, "assigned", 0, "where all together gain most");
    bed_started(bed, at.even, 2);
    bed_started(bed, at.steep, 2);
    for (uint32_t i = 0; i < 20; i++)
        later(bed, 5 * MINUTE_MS);
    assert_int_equal(bed->stops, 2); /* it is as it should be */
    bed_destroy(bed);
}

static void test_left_alone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 7; i++) {
        struct event even = work("even", 1, 1000, 1100), steep = work("steep", 1, 1000, 9000);
        struct job_request *request = &steep.job_submitted.request;
        struct swapped at;

        if (i == 1)
            request->checkpoint = CHECKPOINT_NONE;
        else if (i == 2)
            request->requeue_on_loss = 0;
        else if (i == 3)
            request->work = (struct request_work){ 0 };
        else if (i == 4) /* not worth a restart and a twentieth */
            steep = work("steep", 1, 1000, 1130);
        else if (i == 5)
            request->tasks_max = request->shape.tasks + (request->tasks_step = 1);
        at = swapped_create(even, steep, i != 0);
        if (i == 6) { /* its user has bound it elsewhere meanwhile: nobody binds it once more */
            later(&at.bed, 5 * MINUTE_MS);
            assert_int_equal(at.bed.stops, 2);
            assert_int_equal(bed_cancel(&at.bed, at.steep), 0);
            bed_ended(&at.bed, at.steep, 1, OUTCOME_STOPPED, 0);
            bed_ended(&at.bed, at.even, 1, OUTCOME_STOPPED, 0);
            bed_pass(&at.bed);
            assert_int_equal(bed_state(&at.bed, at.even), JOB_STARTING);
            bed_restart(&at.bed);
        }
        for (uint32_t k = 0; k < 5 && i < 6; k++)
            later(&at.bed, 6 * MINUTE_MS);
        if (at.bed.stops != (i == 6 ? 2 : 0))
            fail_msg("case %u: %u were stopped", i, at.bed.stops);
        bed_destroy(&at.bed);
    }
}

/* Who makes way does not end: who was to come instead goes elsewhere again. */
static void test_let_go(void **state)
{
    static const struct bed_node more[] = { { "more", 8, 1, "slow" } };

    (void)state;
    for (uint32_t is_off = 0; is_off < 2; is_off++) {
        struct swapped at =
            swapped_create(work("even", 1, 1000, 1100), work("steep", 1, 1000, 9000), 1);
        struct bed *bed = &at.bed;

        later(bed, 5 * MINUTE_MS);
        assert_int_equal(bed->stops, 2);
        bed_ended(bed, at.steep, 1, OUTCOME_STOPPED, 0);
        bed_join(bed, "there", more, 1);
        bed_pass(bed);
        assert_int_equal(bed_state(bed, at.steep), JOB_QUEUED); /* for the fast one */
        if (is_off)
            assert_int_equal(set_policy(bed, ORDER_FAIR, 0), 0);
        else
            bed_tick(bed, bed->now_ms + 15 * MINUTE_MS);
        bed_restart(bed);
        bed_pass(bed);
        assert_int_equal(bed_state(bed, at.steep), JOB_STARTING);
        bed_destroy(bed);
    }
}

/* Who has had much makes way for its own tenant's, and for nobody else's. */
static void test_who_waits(void **state)
{
    static const struct {
        const char *tenant;
        uint32_t order, stops;
    } cases[] = {
        { "alice", ORDER_FAIR, 1 },
        { "bob", ORDER_FAIR, 0 },
        { "alice", ORDER_FIFO, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bed bed = bed_create(two_nodes, 2);
        struct event job = work("steep", 1, 1000, 1200);
        uint64_t first, second, third;

        bed.now_ms = 1000 * HOUR_MS;
        assert_int_equal(set_policy(&bed, cases[i].order, 1), 0);
        first = start(&bed, job);
        bed.now_ms += 30 * HOUR_MS;
        second = start(&bed, job);
        later(&bed, 10 * MINUTE_MS);
        job.job_submitted.tenant = cases[i].tenant;
        third = bed_submit(&bed, job);
        later(&bed, 5 * MINUTE_MS);
        assert_int_equal(bed.stops, cases[i].stops);
        if (bed.stops) {
            bed_why(&bed, first, "preempted", "makes way on fast");
            bed_ended(&bed, first, 1, OUTCOME_STOPPED, 0);
            assert_int_equal(bed_view(&bed, first).outcome, OUTCOME_PREEMPTED);
            bed_pass(&bed);
            assert_int_equal(bed_state(&bed, third), JOB_STARTING);
            assert_int_equal(bed_state(&bed, first), JOB_QUEUED);
        }
        assert_int_equal(bed_state(&bed, second), JOB_RUNNING);
        bed_restart(&bed);
        bed_destroy(&bed);
    }
}

/* --- many, at random -------------------------------------------------------------------------- */

#define JOBS 40u
#define STEPS 250u

struct world {
    struct bed bed;
    struct rng rng;
    uint64_t jobs[JOBS];
    uint32_t jobs_count;
};

static struct event any_work(struct rng *rng)
{
    static const char *const classes[] = { "a", "b", "c", "d" };
    static const char *const tenants[] = { "alice", "alice", "alice", "bob" };
    uint32_t class = (uint32_t)rng_below(rng, 4);
    struct event event = work(classes[class], 1u << rng_below(rng, 3), 1000, 1000 << class);

    event.job_submitted.tenant = tenants[rng_below(rng, 4)];
    event.job_submitted.request.job_class = rng_below(rng, 4) ? CLASS_NORMAL : CLASS_LOW;
    if (rng_below(rng, 4) == 0)
        event.job_submitted.request.duration_ms_max =
            MINUTE_MS * (10 + (int64_t)rng_below(rng, 50));
    return event;
}

static void turn(struct world *world, uint32_t index)
{
    struct bed *bed = &world->bed;
    uint64_t id = world->jobs[index];
    struct job_view view = bed_view(bed, id);

    bed->runs = 0;
    if (view.state == JOB_STARTING)
        bed_started(bed, id, view.epoch);
    else if (view.state == JOB_STOPPING && rng_below(&world->rng, 3) == 0)
        bed_ended(bed, id, view.epoch, OUTCOME_STOPPED, 0);
    else if (view.state == JOB_RUNNING && rng_below(&world->rng, 12) == 0)
        bed_ended(bed, id, view.epoch, OUTCOME_EXITED, 0);
    else if (rng_below(&world->rng, 60) == 0)
        bed_cancel(bed, id); /* it may be being stopped for that already */
}

/* Each step keeps the invariants (bed_step), a restart changes nothing, and all ends. */
static void test_random(void **state)
{
    static const struct bed_node nodes[] = { { "f0", 16, 4, "fast" },
                                             { "f1", 16, 4, "fast" },
                                             { "s0", 16, 4, "slow" },
                                             { "s1", 16, 4, "slow" } };
    uint32_t stops = 0, starts = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world world = { .bed = bed_create(nodes, 4), .rng = { seed } };
        struct bed *bed = &world.bed;

        bed->now_ms = 1000 * HOUR_MS;
        assert_int_equal(set_policy(bed, seed % 2 ? ORDER_FAIR : ORDER_PREDICTED, 1), 0);
        for (uint32_t step = 0; step < STEPS || world.jobs_count; step++) {
            uint32_t kept = 0;

            assert_true(step < 20 * STEPS);
            if (step < STEPS && world.jobs_count < JOBS && rng_below(&world.rng, 3) == 0)
                world.jobs[world.jobs_count++] = bed_submit(bed, any_work(&world.rng));
            if (world.jobs_count)
                turn(&world, (uint32_t)rng_below(&world.rng, world.jobs_count));
            for (uint32_t i = 0; i < world.jobs_count; i++)
                if (bed_state(bed, world.jobs[i]) < JOB_DONE)
                    world.jobs[kept++] = world.jobs[i];
            world.jobs_count = kept;
            later(bed, (int64_t)rng_below(&world.rng, 20000));
            if (rng_below(&world.rng, 150) == 0)
                bed_restart(bed);
        }
        stops += bed->stops;
        starts += (uint32_t)grid_count(bed->grid).attempts_total;
        bed_destroy(bed);
    }
    assert_in_range(stops, 20, starts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy),     cmocka_unit_test(test_swap),
        cmocka_unit_test(test_left_alone), cmocka_unit_test(test_let_go),
        cmocka_unit_test(test_who_waits),  cmocka_unit_test(test_random),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
