/* What a policy says, and when: refusals first. */
#include "model/site_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define WEEK (168 * HOUR)
#define MONDAY (4 * 24 * HOUR) /* 1970-01-05 */
#define NEVER INT64_MAX

static void test_refusals(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        { "[]", "expected an object" },
        { "{\"tenants\": \"bob\"}", "policy.tenants" },
        { "{\"tenants\": [\"\"]}", "policy.tenants[0]" },
        { "{\"classes\": [\"normal\", \"vip\"]}", "policy.classes[1]" },
        { "{\"images\": [1]}", "policy.images[0]" },
        { "{\"data\": []}", "data and floor" },
        { "{\"data\": {\"come\": 1}}", "data.come" },
        { "{\"windows\": [[1]]}", "windows[0]" },
        { "{\"windows\": [[10, 10]]}", "windows[0]" },
        { "{\"windows\": [[10080, 10081]]}", "windows[0]" },
        { "{\"windows\": [[0, 10081]]}", "windows[0]" },
        { "{\"floor\": {\"cpu_hour_micro\": -1}}", "floor" },
        { "{\"cap_watts\": -2}", "cap_watts" },
        { "{\"own\": {\"tenant\": \"a\", \"ppm\": 1000001}}", "own" },
        { "{\"own\": {\"ppm\": 1}}", "own" },
        { "{\"link\": 1}", "policy.link" },
        { "{\"link\": {\"egress_gb_micro\": -1}}", "policy.link" },
        { "{\"link\": {\"bytes_s\": 1.5}}", "bytes_s" },
    };
    struct site_policy policy;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *json = json_loads(cases[i].json, 0, NULL);
        struct err err = { 0 };
        int rc = site_policy_parse_json(json, &policy, &err);

        if (rc != -EINVAL || !strstr(err.text, cases[i].says))
            fail_msg("%s: rc %d, \"%s\"", cases[i].json, rc, err.text);
        json_decref(json);
    }
}

static void test_round_trip(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"tenants\":[]}",
        "{\"link\":{\"egress_gb_micro\":90000,\"ingress_gb_micro\":1,\"bytes_s\":1000}}",
        "{\"classes\":[]}",
        "{\"tenants\":[\"a\",\"b\"],\"classes\":[\"low\",\"urgent\"],\"images\":[\"x/*\"],"
        "\"data\":{\"come\":[],\"leave\":[\"p\"],\"here\":[\"q\"]},\"floor\":{\"cpu_hour_micro\":5,"
        "\"device_hour_micro\":6},\"windows\":[[0,60],[10000,10100]],\"cap_watts\":0,"
        "\"own\":{\"tenant\":\"a\",\"ppm\":500000}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *json = json_loads(texts[i], 0, NULL), *back;
        struct site_policy policy, again;
        struct err err = { 0 };
        char *text;

        if (site_policy_parse_json(json, &policy, &err) < 0)
            fail_msg("%s: %s", texts[i], err.text);
        back = site_policy_to_json(&policy);
        text = json_dumps(back, JSON_COMPACT);
        assert_string_equal(text, texts[i]);
        assert_int_equal(site_policy_parse_json(back, &again, NULL), 0);
        assert_true(site_policy_is_equal(&policy, &again));
        assert_int_equal(site_policy_is_empty(&policy), i == 0);
        free(text);
        json_decref(json);
        json_decref(back);
    }
}

static const struct {
    struct site_window windows[3];
    int64_t at, open_until; /* from MONDAY on; -1 = closed */
    int64_t span, next_start, next_change;
} hours[] = {
    /* none: always */
    { { { 0 } }, 0, NEVER, 1, 0, NEVER },
    /* eight to six */
    { { { 480, 1080 } }, 0, -1, HOUR, 8 * HOUR, 8 * HOUR },
    { { { 480, 1080 } }, 8 * HOUR, 18 * HOUR, HOUR, 8 * HOUR, 18 * HOUR },
    { { { 480, 1080 } }, 8 * HOUR, 18 * HOUR, 10 * HOUR, 8 * HOUR, 18 * HOUR },
    { { { 480, 1080 } }, 8 * HOUR + 30000, 18 * HOUR, 10 * HOUR, 8 * HOUR + 30000, 18 * HOUR },
    { { { 480, 1080 } }, 8 * HOUR + 61000, 18 * HOUR, 10 * HOUR, WEEK + 8 * HOUR, 18 * HOUR },
    { { { 480, 1080 } }, 9 * HOUR, 18 * HOUR, 10 * HOUR + 61000, NEVER, 18 * HOUR },
    { { { 480, 1080 } }, 9 * HOUR, 18 * HOUR, -1, NEVER, 18 * HOUR },
    { { { 480, 1080 } }, 18 * HOUR, -1, 1, WEEK + 8 * HOUR, WEEK + 8 * HOUR },
    /* over the end of the week */
    { { { 10000, 10160 } }, 0, 80 * MINUTE, 1, 0, 80 * MINUTE },
    { { { 10000, 10160 } }, 80 * MINUTE, -1, 1, 10000 * MINUTE, 10000 * MINUTE },
    /* what follows goes on */
    { { { 0, 60 }, { 60, 120 }, { 130, 140 } }, 0, 2 * HOUR, 2 * HOUR, 0, 2 * HOUR },
    { { { 30, 90 }, { 0, 60 } }, 0, 90 * MINUTE, 90 * MINUTE, 0, 90 * MINUTE },
    /* all week */
    { { { 0, 10080 } }, 5 * HOUR, NEVER, -1, 5 * HOUR, NEVER },
    { { { 0, 5000 }, { 5000, 10080 } }, 5 * HOUR, NEVER, -1, 5 * HOUR, NEVER },
};

static int64_t from_monday(int64_t time_ms, int64_t weeks_ms)
{
    return time_ms < 0 || time_ms == NEVER ? time_ms : time_ms - MONDAY - weeks_ms;
}

static void test_hours(void **state)
{
    static const int64_t weeks[] = { 0, 2900 * WEEK }; /* 1970 and 2025 */

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(hours) / sizeof(hours[0]); i++) {
        const int64_t week_ms = weeks[i % 2], at_ms = MONDAY + week_ms + hours[i / 2].at;
        struct site_policy policy;
        int64_t open, start, change;

        site_policy_init(&policy);
        while (policy.windows_count < 3 && hours[i / 2].windows[policy.windows_count].until_min) {
            policy.windows[policy.windows_count] = hours[i / 2].windows[policy.windows_count];
            policy.windows_count++;
        }
        assert_int_equal(site_policy_check(&policy, NULL), 0);
        open = from_monday(site_policy_open_until(&policy, at_ms), week_ms);
        start = from_monday(site_policy_next_start(&policy, at_ms, hours[i / 2].span), week_ms);
        change = from_monday(site_policy_next_change(&policy, at_ms), week_ms);
        if (open != hours[i / 2].open_until || start != hours[i / 2].next_start ||
            change != hours[i / 2].next_change)
            fail_msg("row %zu: open until %" PRId64 ", start %" PRId64 ", change %" PRId64, i / 2,
                     open, start, change);
    }
}

static void test_contacts(void **state)
{
    static const struct {
        int64_t at, heard_until, next;
    } cases[] = {
        { 0, -1, 3 * MINUTE },
        { 3 * MINUTE, 13 * MINUTE, 3 * MINUTE },
        { 13 * MINUTE - 1, 13 * MINUTE, 13 * MINUTE - 1 },
        { 13 * MINUTE, -1, 50 * MINUTE }, /* the one that comes once */
        { 50 * MINUTE, 51 * MINUTE, 50 * MINUTE },
        { 51 * MINUTE, -1, 99 * MINUTE },
        { 99 * MINUTE, 109 * MINUTE, 99 * MINUTE },
    };
    struct site_policy policy;

    (void)state;
    site_policy_init(&policy);
    assert_int_equal(site_policy_heard_until(&policy, 5), NEVER);
    assert_int_equal(site_policy_next_contact(&policy, 5), 5);
    policy.contacts_count = 2;
    policy.contacts[0] = (struct site_contact){ 3 * MINUTE, 13 * MINUTE, 96 * MINUTE };
    policy.contacts[1] = (struct site_contact){ 50 * MINUTE, 51 * MINUTE, 0 };
    assert_int_equal(site_policy_check(&policy, NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t until = site_policy_heard_until(&policy, cases[i].at);
        int64_t next = site_policy_next_contact(&policy, cases[i].at);

        if (until != cases[i].heard_until || next != cases[i].next)
            fail_msg("row %zu: until %" PRId64 ", next %" PRId64, i, until, next);
    }
    /* Ten minutes of 96, and one minute once, in which what is carried adds up. */
    assert_int_equal(site_policy_heard_for(&policy, 0, 0), 3 * MINUTE);
    assert_int_equal(site_policy_heard_for(&policy, 0, 10 * MINUTE), 13 * MINUTE);
    assert_int_equal(site_policy_heard_for(&policy, 0, 10 * MINUTE + 1), 50 * MINUTE + 1);
    assert_int_equal(site_policy_heard_for(&policy, 0, 11 * MINUTE), 51 * MINUTE);
    assert_int_equal(site_policy_heard_for(&policy, 0, 12 * MINUTE), 100 * MINUTE);
    assert_int_equal(site_policy_heard_for(&policy, 12 * MINUTE, 2 * MINUTE), 51 * MINUTE);
    assert_int_equal(site_policy_heard_for(&policy, 0, INT64_MAX), INT64_MAX);
    policy.contacts[0] = policy.contacts[1];
    policy.contacts_count = 1;
    assert_int_equal(site_policy_next_contact(&policy, 51 * MINUTE), NEVER);
    policy.contacts[0].period_ms = 1; /* shorter than it lasts */
    assert_int_equal(site_policy_check(&policy, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_hours),
        cmocka_unit_test(test_contacts),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
