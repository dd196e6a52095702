#include "model/receipt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PIN "0oxlT7dIda6BE4Qt9fJZIO1U3K0AX5iQYMOdVDgAUdk="
#define GOOD                                                                                       \
    "mains-receipt/1 side=site network=" PIN                                                       \
    " site=lab job=12 epoch=3 outcome=1 exit=-9 began_ms=100 ended_ms=200 wall_ms=100 cpu_ms=90 "  \
    "cpu_held_ms=200 device_milli_ms=100000 memory_peak_bytes=4096 energy_mj=7 energy_measured=1 " \
    "carbon_ug=0 price_micro=0"

static struct receipt example(void)
{
    return (struct receipt){ .side = RECEIPT_SITE,
                             .network = PIN,
                             .site = "lab",
                             .job_id = 12,
                             .epoch = 3,
                             .outcome = 1,
                             .exit_code = -9,
                             .began_ms = 100,
                             .ended_ms = 200,
                             .usage = { .wall_ms = 100,
                                        .cpu_ms = 90,
                                        .cpu_held_ms = 200,
                                        .device_milli_ms = 100000,
                                        .memory_peak_bytes = 4096,
                                        .energy_mj = 7,
                                        .energy_measured = true } };
}

/* One receipt has one text: what differs from GOOD by a byte is another one, or none. */
static const struct {
    const char *from, *to;
} spoilt[] = {
    { "mains-receipt/1", "mains-receipt/2" },
    { "mains-receipt/1 side", "mains-receipt/1  side" },
    { "side=site", "side=someone" },
    { "side=site", "side=" },
    { "site=lab", "site=" },
    { "site=lab", "site=l\tab" },
    { " site=lab", "" },
    { "job=12", "job=+12" },
    { "job=12", "job=012" },
    { "job=12", "job=-12" },
    { "job=12", "job=12x" },
    { "job=12", "job=99999999999999999999" },
    { "job=12 epoch=3", "epoch=3 job=12" },
    { "epoch=3", "epoch=4294967299" },
    { "exit=-9", "exit=--9" },
    { "exit=-9", "exit=-0" },
    { "energy_measured=1", "energy_measured=2" },
    { "energy_mj=7", "energy_mj=0x7" },
    { "price_micro=0", "price_micro=0 " },
    { "price_micro=0", "price_micro=0\n" },
    { "price_micro=0", "price_micro=0 more=1" },
    { " price_micro=0", "" },
};

static void test_refused(void **state)
{
    struct receipt receipt;
    struct err err;

    (void)state;
    assert_int_equal(receipt_parse("", &receipt, &err), -EBADMSG);
    assert_int_equal(receipt_parse("mains", &receipt, &err), -EBADMSG);
    assert_int_equal(receipt_parse("mains-receipt/1", &receipt, &err), -EBADMSG);
    for (size_t i = 0; i < ARRAY_COUNT(spoilt); i++) {
        const char *at = strstr(GOOD, spoilt[i].from);
        char text[RECEIPT_TEXT_BYTES];

        assert_non_null(at);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - GOOD), GOOD, spoilt[i].to,
                 at + strlen(spoilt[i].from));
        if (receipt_parse(text, &receipt, &err) != -EBADMSG)
            fail_msg("taken: %s", text);
    }
    /* Cut anywhere. */
    for (size_t len = 0; len < strlen(GOOD); len++) {
        char text[RECEIPT_TEXT_BYTES];

        snprintf(text, sizeof(text), "%.*s", (int)len, GOOD);
        assert_int_equal(receipt_parse(text, &receipt, &err), -EBADMSG);
    }
}

static void test_text(void **state)
{
    struct receipt receipt = example(), again;
    char text[RECEIPT_TEXT_BYTES];
    struct err err;

    (void)state;
    assert_int_equal(receipt_print(&receipt, text), 0);
    assert_string_equal(text, GOOD);
    assert_int_equal(receipt_parse(text, &again, &err), 0);
    assert_int_equal(again.usage.cpu_ms, 90);
    assert_int_equal(again.exit_code, -9);
    assert_true(again.usage.energy_measured);
    /* The longest there is fits. */
    memset(receipt.site, 'x', sizeof(receipt.site) - 1);
    receipt.side = RECEIPT_NETWORK;
    receipt.job_id = INT64_MAX;
    receipt.epoch = receipt.outcome = UINT32_MAX;
    receipt.exit_code = INT32_MIN;
    receipt.began_ms = receipt.ended_ms = INT64_MIN;
    receipt.usage = (struct usage){ INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN,
                                    INT64_MIN, INT64_MIN, INT64_MIN, true };
    assert_int_equal(receipt_print(&receipt, text), 0);
    assert_int_equal(receipt_parse(text, &again, &err), 0);
    assert_int_equal(again.job_id, INT64_MAX);
    receipt.network[0] = '\0';
    assert_int_equal(receipt_print(&receipt, text), -EINVAL);
}

static void test_judged(void **state)
{
    struct receipt_signed signed_ = { .text = GOOD, .signature = "s", .key = "k" };
    struct receipt expected = example();
    struct err err;

    (void)state;
    assert_int_equal(receipt_judge(&signed_, false, &expected, &err), RECEIPT_FORGED);
    assert_int_equal(receipt_judge(&signed_, true, &expected, &err), RECEIPT_HOLDS);
    expected.usage.energy_mj++;
    assert_int_equal(receipt_judge(&signed_, true, &expected, &err), RECEIPT_ALTERED);
    assert_non_null(strstr(err.text, "energy_mj=7, the report says 8"));
    expected.epoch++;
    assert_int_equal(receipt_judge(&signed_, true, &expected, &err), RECEIPT_REPLAYED);
    expected.site[0] = 'L';
    assert_int_equal(receipt_judge(&signed_, true, &expected, &err), RECEIPT_FOREIGN);
    expected = example();
    expected.network[0] = '1';
    assert_int_equal(receipt_judge(&signed_, true, &expected, &err), RECEIPT_FOREIGN);
    expected = example();
    expected.side = RECEIPT_NETWORK;
    assert_int_equal(receipt_judge(&signed_, true, &expected, &err), RECEIPT_FOREIGN);
    snprintf(signed_.text, sizeof(signed_.text), "no receipt");
    assert_int_equal(receipt_judge(&signed_, true, &expected, &err), RECEIPT_FORGED);
}

static const struct {
    struct usage site, network;
    const char *field; /* NULL = they say the same */
} pairs[] = {
    { { .wall_ms = 100 }, { .wall_ms = 130 }, NULL },
    { { .wall_ms = 8000 + 3000 }, { .wall_ms = 8000 }, NULL },
    { { .wall_ms = 8000 + 3001 }, { .wall_ms = 8000 }, "wall_ms" },
    { { .wall_ms = -1 }, { .wall_ms = 8000 }, "wall_ms" },
    { { .cpu_ms = 5 }, { .cpu_ms = 4 }, "cpu_ms" },
    { { .cpu_ms = 4 }, { .cpu_ms = 5 }, "cpu_ms" },
    { { .memory_peak_bytes = 1 }, { 0 }, "memory_peak_bytes" },
    { { .energy_mj = 1 }, { 0 }, "energy_mj" },
    { { .device_milli_ms = 1000 * 8000 },
      { .wall_ms = 8000, .device_milli_ms = 1000 * 8000 },
      NULL },
    { { .device_milli_ms = 2000 * 8000 },
      { .wall_ms = 8000, .device_milli_ms = 1000 * 8000 },
      "device_milli_ms" },
    { { .device_milli_ms = INT64_MAX },
      { .wall_ms = INT64_MAX, .device_milli_ms = INT64_MAX },
      NULL },
    { { .wall_ms = INT64_MAX }, { .wall_ms = INT64_MIN }, "wall_ms" },
};

static void test_compared(void **state)
{
    struct receipt_difference out[RECEIPT_DIFFERENCES_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        struct receipt site = { .usage = pairs[i].site }, network = { .usage = pairs[i].network };
        uint32_t count = receipt_compare(&site, &network, out);

        if ((count > 0) != (pairs[i].field != NULL) ||
            (count && strcmp(out[0].field, pairs[i].field)))
            fail_msg("pair %zu: %u differences", i, count);
    }
}

static void test_json(void **state)
{
    struct receipt_signed signed_ = { .text = GOOD, .signature = "s", .key = "k" }, again;
    static const char *const members[] = { "text", "signature", "key" };
    struct err err;
    json_t *json = receipt_to_json(&signed_);

    (void)state;
    assert_int_equal(receipt_from_json(json, &again, &err), 0);
    assert_memory_equal(again.text, signed_.text, sizeof(GOOD));
    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        json_t *without = json_copy(json);

        json_object_del(without, members[i]);
        assert_int_equal(receipt_from_json(without, &again, &err), -EBADMSG);
        json_object_set_new(without, members[i], json_sprintf("%2000d", 1));
        assert_int_equal(receipt_from_json(without, &again, &err), -EBADMSG);
        json_object_set_new(without, members[i], json_integer(3));
        assert_int_equal(receipt_from_json(without, &again, &err), -EBADMSG);
        json_decref(without);
    }
    json_decref(json);
    signed_.text[0] = '\0';
    assert_null(receipt_to_json(&signed_));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_text), cmocka_unit_test(test_judged),
        cmocka_unit_test(test_compared), cmocka_unit_test(test_json),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
