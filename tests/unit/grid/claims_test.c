/* what a site says an attempt used, held against what was possible */
#include "bed.h"

struct heard {
    struct usage row;
    uint32_t rows, disputes_count;
    struct usage_dispute disputes[USAGE_CLAIMS];
};

static void hear(void *context, const struct effect *effect)
{
    struct heard *heard = context;

    if (effect->type != EFFECT_USAGE)
        return;
    heard->rows++;
    heard->row = effect->usage;
    heard->disputes_count = effect->disputes_count;
    memcpy(heard->disputes, effect->disputes, sizeof(heard->disputes));
}

#define HOUR_MS 3600000LL

/* One hour with 4 of 8 CPUs and one of two devices of 700 W; `ended` says what the site says. */
static struct heard tell(struct event_attempt_ended ended, bool progress_first)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 8, 2, "fast" } }, 1);
    struct event event = bed_job(4), end = { .type = EVENT_ATTEMPT_ENDED };
    struct event progress = { .type = EVENT_ATTEMPT_PROGRESS };
    struct heard heard = { 0 };

    event.job_submitted.request.shape.devices_milli = 1000;
    ended.job_id = bed_submit(&bed, event);
    ended.epoch = 1;
    ended.reason = "";
    bed_pass(&bed);
    bed_started(&bed, ended.job_id, 1);
    bed.now_ms += HOUR_MS;
    if (progress_first) {
        struct job_view view;

        progress.attempt_progress.job_id = ended.job_id;
        progress.attempt_progress.epoch = 1;
        progress.attempt_progress.usage = ended.usage;
        bed_step(&bed, &progress);
        view = bed_view(&bed, ended.job_id);
        assert_true(view.usage.energy_mj < 3 * HOUR_MS * 1000);
    }
    end.time_ms = bed.now_ms;
    end.attempt_ended = ended;
    assert_int_equal(grid_step(bed.grid, &end, hear, &heard, NULL, NULL), 0);
    bed_destroy(&bed);
    assert_int_equal(heard.rows, 1);
    return heard;
}

static void test_what_is_possible_is_believed(void **state)
{
    static const struct usage honest[] = {
        { 0 },
        { .wall_ms = HOUR_MS,
          .cpu_ms = 4 * HOUR_MS,
          .device_milli_ms = 1000 * HOUR_MS,
          .energy_mj = 800 * HOUR_MS },
        /* unconfined, on the whole node; at the bounds of its boards */
        { .wall_ms = HOUR_MS + 1900, .cpu_ms = 8 * HOUR_MS, .energy_mj = 1100 * HOUR_MS },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(honest) / sizeof(honest[0]); i++) {
        struct heard heard =
            tell((struct event_attempt_ended){ .usage = honest[i], .started_ms = 5, .ended_ms = 5 },
                 true);

        if (heard.disputes_count || heard.row.cpu_ms != honest[i].cpu_ms ||
            heard.row.energy_mj != honest[i].energy_mj)
            fail_msg("claim %zu: %u disputes", i, heard.disputes_count);
    }
}

static void test_what_is_not_is_bounded_and_kept(void **state)
{
    static const struct {
        struct usage usage;
        int64_t started_ms, ended_ms;
        enum usage_claim what;
        int64_t claimed;
    } lies[] = {
        { { .wall_ms = 2 * HOUR_MS }, 0, 0, CLAIM_TIME, 2 * HOUR_MS },
        { { .cpu_ms = 10 * HOUR_MS }, 0, 0, CLAIM_CPU, 10 * HOUR_MS },
        { { .cpu_ms = INT64_MAX }, 0, 0, CLAIM_CPU, INT64_MAX },
        { { .cpu_ms = -1 }, 0, 0, CLAIM_CPU, -1 },
        { { .device_milli_ms = 2000 * HOUR_MS }, 0, 0, CLAIM_DEVICES, 2000 * HOUR_MS },
        { { .energy_mj = 2000 * HOUR_MS }, 0, 0, CLAIM_ENERGY, 2000 * HOUR_MS },
        { { .energy_mj = INT64_MAX }, 0, 0, CLAIM_ENERGY, INT64_MAX },
        { { 0 }, 9000, 4000, CLAIM_ORDER, 5000 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct heard heard = tell((struct event_attempt_ended){ .usage = lies[i].usage,
                                                                .started_ms = lies[i].started_ms,
                                                                .ended_ms = lies[i].ended_ms },
                                  true);

        if (heard.disputes_count != 1 || heard.disputes[0].what != lies[i].what ||
            heard.disputes[0].claimed != lies[i].claimed)
            fail_msg("lie %zu: %u disputes, what %d", i, heard.disputes_count,
                     (int)heard.disputes[0].what);
        assert_true(heard.row.cpu_ms >= 0 && heard.row.cpu_ms < 10 * HOUR_MS);
        assert_true(heard.row.energy_mj >= 0 && heard.row.energy_mj < 2000 * HOUR_MS);
        if (lies[i].what == CLAIM_ENERGY)
            assert_int_equal(heard.row.energy_mj, heard.disputes[0].bound);
        /* Nor is more billed than for the bound: 1.4 kWh at 0.25, with CPUs and the device. */
        assert_true(heard.row.price_micro < 4 * 36000 + 3600000 + 350000);
    }
}

static void test_all_of_it_at_once(void **state)
{
    struct heard heard = tell((struct event_attempt_ended){ .usage = { .wall_ms = INT64_MAX,
                                                                       .cpu_ms = INT64_MAX,
                                                                       .device_milli_ms = INT64_MAX,
                                                                       .energy_mj = INT64_MAX },
                                                            .started_ms = INT64_MAX,
                                                            .ended_ms = 1 },
                              false);

    (void)state;
    assert_int_equal(heard.disputes_count, USAGE_CLAIMS);
    for (uint32_t i = 0; i < USAGE_CLAIMS; i++)
        assert_int_equal(heard.disputes[i].what, i);
}

/* What a site signed: of an attempt it holds, before its end; else refused before it is journaled.
 */
static void test_receipts(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 8, 0, NULL } }, 1);
    struct event event = { .type = EVENT_RECEIPT };
    struct event_receipt *receipt = &event.receipt;
    struct err err;

    (void)state;
    *receipt = (struct event_receipt){ .epoch = 1,
                                       .site = "here",
                                       .verdict = RECEIPT_VERDICT_LAST,
                                       .text = "text",
                                       .signature = "signature",
                                       .key = "key" };
    receipt->job_id = bed_submit(&bed, bed_job(1));
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT); /* it waits */
    bed_pass(&bed);
    receipt->verdict = RECEIPT_UNSIGNED;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -EINVAL);
    receipt->verdict = RECEIPT_HOLDS;
    receipt->site = "there";
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT);
    receipt->site = NULL;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT);
    receipt->site = "here";
    receipt->epoch = 2;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT);
    receipt->epoch = 1;
    receipt->job_id++;
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT);
    receipt->job_id--;
    assert_int_equal(bed.receipts, 0);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), 0);
    assert_int_equal(bed.receipts, 1);
    bed_ended(&bed, receipt->job_id, 1, OUTCOME_EXITED, 0);
    assert_int_equal(bed_try(&bed, &event, NULL, &err), -ENOENT); /* too late */
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receipts),
        cmocka_unit_test(test_what_is_possible_is_believed),
        cmocka_unit_test(test_what_is_not_is_bounded_and_kept),
        cmocka_unit_test(test_all_of_it_at_once),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
