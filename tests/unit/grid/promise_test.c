/* The promised start stays promised, and what stands above it. One node of four CPUs, full until
 * `bound`; a wide job of alice waits for all of it. */
#include "bed.h"

#define HOUR_MS 3600000LL

static struct event asks(const char *tenant, uint32_t cpus, int64_t duration_ms)
{
    struct event event = bed_job(cpus);

    event.job_submitted.tenant = tenant;
    event.job_submitted.request.duration_ms_max = duration_ms;
    return event;
}

/* Alice holds all of it for an hour, and her wide job is told that it starts then. */
static uint64_t promised(struct bed *bed, uint64_t *holder_out, int64_t *start_out)
{
    struct why why;
    uint64_t wide;

    *bed = bed_create((struct bed_node[]){ { "n1", 4, 0, NULL } }, 1);
    *holder_out = bed_submit(bed, asks("alice", 3, HOUR_MS));
    bed_pass(bed);
    bed->now_ms += 1000;
    wide = bed_submit(bed, asks("alice", 4, HOUR_MS));
    bed_pass(bed);
    assert_int_equal(grid_why(bed->grid, wide, &why), 0);
    assert_true(why.start_estimate_ms > bed->now_ms);
    *start_out = why.start_estimate_ms;
    return wide;
}

static int64_t told(struct bed *bed, uint64_t id)
{
    struct why why;

    assert_int_equal(grid_why(bed->grid, id, &why), 0);
    return why.start_estimate_ms;
}

/* Bob holds nothing, so it is his turn; but his job would take an hour of the CPU that is over. */
static void test_a_turn_does_not_take_it(void **state)
{
    struct bed bed;
    uint64_t holder, wide, bobs, beside;
    int64_t start_ms;

    (void)state;
    wide = promised(&bed, &holder, &start_ms);
    bed.now_ms += 1000;
    bobs = bed_submit(&bed, asks("bob", 2, HOUR_MS));
    beside = bed_submit(&bed, asks("bob", 1, HOUR_MS / 2)); /* gone by then: it may go around */
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, bobs), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, beside), JOB_STARTING);
    assert_true(told(&bed, wide) <= start_ms);
    assert_true(told(&bed, bobs) > start_ms); /* it has a promise of its own, behind */
    bed_done(&bed, holder);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, bobs), JOB_QUEUED); /* it fits now, and must not */
    bed_done(&bed, beside);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, wide), JOB_STARTING);
    bed_destroy(&bed);
}

static void test_no_higher_class_takes_it(void **state)
{
    struct bed bed;
    uint64_t holder, wide, urgent;
    struct event event = asks("bob", 4, HOUR_MS);
    int64_t start_ms;

    (void)state;
    wide = promised(&bed, &holder, &start_ms);
    event.job_submitted.request.job_class = CLASS_URGENT;
    urgent = bed_submit(&bed, event);
    bed_pass(&bed);
    bed_done(&bed, holder);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, wide), JOB_STARTING);
    assert_int_equal(bed_state(&bed, urgent), JOB_QUEUED);
    assert_true(told(&bed, urgent) > start_ms);
    bed_destroy(&bed);
}

/* A quota that came to hold it: others need not wait for it. */
static void test_what_is_held_back_keeps_nobody(void **state)
{
    struct event set = bed_tenant("alice");
    struct bed bed;
    uint64_t holder, wide, bobs;
    int64_t start_ms;

    (void)state;
    wide = promised(&bed, &holder, &start_ms);
    set.tenant_set.cpus_max = 3;
    bed_step(&bed, &set);
    bobs = bed_submit(&bed, asks("bob", 1, 0));
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, bobs), JOB_STARTING);
    assert_int_equal(bed_state(&bed, wide), JOB_QUEUED);
    bed_destroy(&bed);
}

static void pass_some(struct bed *bed)
{
    for (uint32_t i = 0; i < 8; i++) {
        bed->now_ms += 1000;
        bed_pass(bed);
    }
}

/* Who was looked at again and again, and found nothing sooner, is moved up when there is. */
static void test_sooner_after_looks_in_vain(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 4, 0, NULL } }, 1);
    uint64_t longer, first, second;
    int64_t first_ms, second_ms;

    (void)state;
    bed_submit(&bed, asks("alice", 2, HOUR_MS));
    longer = bed_submit(&bed, asks("alice", 2, 3 * HOUR_MS));
    bed_pass(&bed);
    first = bed_submit(&bed, asks("alice", 4, 2 * HOUR_MS));
    second = bed_submit(&bed, asks("alice", 4, HOUR_MS));
    pass_some(&bed);
    first_ms = told(&bed, first);
    second_ms = told(&bed, second);
    assert_true(second_ms >= first_ms + 2 * HOUR_MS);
    pass_some(&bed);
    assert_int_equal(told(&bed, second), second_ms);
    bed_done(&bed, longer);
    pass_some(&bed);
    assert_true(told(&bed, first) < first_ms - HOUR_MS);
    assert_true(told(&bed, second) < second_ms - HOUR_MS);
    bed_destroy(&bed);
}

/* A restart in between changes nothing; one that is cancelled is forgotten. */
static void test_restarts_and_cancels(void **state)
{
    struct buf bytes = buf_init(1u << 20);
    struct grid *restored;
    struct bed bed;
    uint64_t holder, wide, bobs;
    int64_t start_ms;
    struct err err;

    (void)state;
    wide = promised(&bed, &holder, &start_ms);
    assert_int_equal(grid_snapshot(bed.grid, &bytes), 0);
    assert_int_equal(grid_restore(bytes.data, bytes.len, &restored, &err), 0);
    grid_destroy(bed.grid);
    bed.grid = restored;
    bobs = bed_submit(&bed, asks("bob", 1, 3 * HOUR_MS));
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, bobs), JOB_QUEUED);
    assert_int_equal(told(&bed, wide), start_ms);
    assert_int_equal(bed_cancel(&bed, wide), 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, bobs), JOB_STARTING);
    buf_fini(&bytes);
    bed_destroy(&bed);
}

/* A pass that has started as many as it may leaves the one that is next its promise. */
static void test_a_full_pass_takes_no_promise(void **state)
{
    struct bed_node wide[] = { { "n1", 4000, 0, NULL } };
    struct bed bed = bed_create(wide, 1);
    struct event small = asks("alice", 1, HOUR_MS);
    uint64_t holder = bed_submit(&bed, asks("alice", 3000, HOUR_MS)), next;
    struct event pass = { .type = EVENT_PASS };
    struct err err = { 0 };

    (void)state;
    small.job_submitted.request.job_class = CLASS_HIGH;
    bed_pass(&bed);
    next = bed_submit(&bed, asks("alice", 1500, HOUR_MS));
    bed_pass(&bed);
    assert_true(told(&bed, next) > bed.now_ms);
    for (uint32_t i = 0; i < GRID_PASS_STARTS_MAX; i++)
        bed_submit(&bed, small);
    bed_done(&bed, holder);
    pass.time_ms = bed.now_ms; /* nobody counts so many starts */
    assert_int_equal(grid_step(bed.grid, &pass, NULL, NULL, NULL, &err), 0);
    if (grid_check_invariants(bed.grid, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(bed_state(&bed, next), JOB_QUEUED);
    assert_true(grid_wants_pass(bed.grid));
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, next), JOB_STARTING);
    bed_destroy(&bed);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_does_not_take_it),
        cmocka_unit_test(test_no_higher_class_takes_it),
        cmocka_unit_test(test_what_is_held_back_keeps_nobody),
        cmocka_unit_test(test_sooner_after_looks_in_vain),
        cmocka_unit_test(test_restarts_and_cancels),
        cmocka_unit_test(test_a_full_pass_takes_no_promise),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
