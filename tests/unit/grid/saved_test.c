/* Checkpoints that the network holds: whose word counts, which is the newest, what is kept. */
#include "bed.h"

#define NAME_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_BAD "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const struct bed_node one[] = { { "n1", 1, 0, NULL } };

static int stored(struct bed *bed, uint64_t job_id, uint32_t epoch, const char *site,
                  const char *manifest, int64_t saved_ms)
{
    struct event event = { .type = EVENT_CHECKPOINT_STORED };
    struct err err = { 0 };

    event.checkpoint_stored.job_id = job_id;
    event.checkpoint_stored.epoch = epoch;
    event.checkpoint_stored.site = site;
    event.checkpoint_stored.manifest = manifest;
    event.checkpoint_stored.bytes = 100;
    event.checkpoint_stored.saved_ms = saved_ms;
    return bed_try(bed, &event, NULL, &err);
}

static void test_refused(void **state)
{
    struct bed bed = bed_create(one, 1);
    uint64_t id = bed_submit(&bed, bed_job(1));

    (void)state;
    assert_int_equal(stored(&bed, id, 0, "here", NAME_A, 5), -EPROTO);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_A, 5), -EPROTO); /* waits */
    bed_pass(&bed);
    bed_started(&bed, id, 1);
    assert_int_equal(stored(&bed, 99, 1, "here", NAME_A, 5), -ENOENT);
    assert_int_equal(stored(&bed, id, 2, "here", NAME_A, 5), -EPROTO);
    assert_int_equal(stored(&bed, id, 1, "there", NAME_A, 5), -EPROTO);
    assert_int_equal(stored(&bed, id, 1, "", NAME_A, 5), -EPROTO);
    assert_int_equal(stored(&bed, id, 1, "here", "", 5), -EINVAL);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_A "a", 5), -EINVAL);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_BAD, 5), -EINVAL);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_A, -1), -EINVAL);
    assert_string_equal(bed_view(&bed, id).checkpoint, "");
    bed_destroy(&bed);
}

static void test_newest_stays(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct event event = bed_job(1);
    uint64_t id;

    (void)state;
    event.job_submitted.request.retries_max = 3;
    id = bed_submit(&bed, event);
    bed_pass(&bed);
    bed_started(&bed, id, 1);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_A, 50), 0);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_B, 50), -EALREADY);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_B, 49), -EALREADY);
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 1);
    /* What was on its way when it ended still counts, also when the next one runs elsewhere. */
    assert_int_equal(stored(&bed, id, 1, "here", NAME_B, 60), 0);
    bed_join(&bed, "there", one, 1);
    bed_pass(&bed);
    assert_int_equal(bed_view(&bed, id).epoch, 2);
    assert_int_equal(stored(&bed, id, 1, "there", NAME_A, 70), -EPROTO);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_A, 70), 0);
    /* A newer epoch's is newer, whatever its site's clock says; then no older one comes back. */
    assert_int_equal(stored(&bed, id, 2, bed_view(&bed, id).allocation.site, NAME_B, 10), 0);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_A, 80), -EALREADY);
    assert_string_equal(bed_view(&bed, id).checkpoint, NAME_B);
    assert_int_equal(bed_view(&bed, id).checkpoint_epoch, 2);
    assert_int_equal(bed_view(&bed, id).checkpoint_saved_ms, 10);
    bed_destroy(&bed);
}

static void test_snapshot(void **state)
{
    CLEANUP(buf_fini) struct buf first = buf_init(1 << 20), again = buf_init(1 << 20);
    struct bed bed = bed_create(one, 1);
    struct grid *copy = NULL, *none = NULL;
    struct event event = bed_job(1);
    struct err err = { 0 };
    uint64_t id;

    (void)state;
    event.job_submitted.request.retries_max = 1;
    id = bed_submit(&bed, event);
    bed_pass(&bed);
    bed_ended(&bed, id, 1, OUTCOME_EXITED, 1);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_A, 60), 0);
    assert_int_equal(grid_snapshot(bed.grid, &first), 0);
    for (size_t cut = 0; cut < first.len; cut++)
        assert_true(grid_restore(first.data, cut, &none, &err) < 0);
    assert_int_equal(grid_restore(first.data, first.len, &copy, &err), 0);
    assert_int_equal(grid_snapshot(copy, &again), 0);
    assert_int_equal(first.len, again.len);
    assert_memory_equal(first.data, again.data, first.len);
    grid_destroy(bed.grid);
    bed.grid = copy;
    assert_string_equal(bed_view(&bed, id).checkpoint, NAME_A);
    assert_int_equal(stored(&bed, id, 1, "here", NAME_B, 61), 0); /* it knows where it ended */
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_newest_stays),
        cmocka_unit_test(test_snapshot),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
