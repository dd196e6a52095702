/* The owner's words, and the door: what an order that the policy does not allow is answered,
 * whoever gave it. */
#include "agent/labels.h"
#include "base/file.h"
#include "agent/policy.h"
#include "agent/pricing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <cmocka.h>

#define HOUR INT64_C(3600000)
#define MONDAY (4 * 24 * HOUR)             /* 1970-01-05 */
#define SUMMER (1751328000000 + 24 * HOUR) /* 2025-07-02 */
#define WINTER (1735689600000 + 24 * HOUR) /* 2025-01-02 */

static int parse(const char *text, int64_t now_ms, struct site_policy *policy, struct err *err)
{
    json_t *json = json_loads(text, 0, NULL);
    int rc;

    assert_non_null(json);
    rc = policy_parse(json, "physics", now_ms, policy, err);
    json_decref(json);
    return rc;
}

static void test_refusals(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        { "{\"hours\": \"Mon\"}", "policy.hours" },
        { "{\"hours\": []}", "an empty list" },
        { "{\"hours\": [1]}", "policy.hours[0]" },
        { "{\"hours\": [\"Mon\"]}", "\"Mon\"" },
        { "{\"hours\": [\"Mon 8-18\"]}", "expected like" },
        { "{\"hours\": [\"Moon 08:00-18:00\"]}", "expected like" },
        { "{\"hours\": [\"Mon- 08:00-18:00\"]}", "expected like" },
        { "{\"hours\": [\"Mon08:00-18:00\"]}", "expected like" },
        { "{\"hours\": [\"08:60-18:00\"]}", "expected like" },
        { "{\"hours\": [\"08:00-24:01\"]}", "expected like" },
        { "{\"hours\": [\"24:00-01:00\"]}", "expected like" },
        { "{\"hours\": [\"08:00-18:00 \"]}", "expected like" },
        { "{\"zone\": 1}", "policy.zone" },
        { "{\"zone\": \"Nowhere/At_all\"}", "not a time zone" },
        { "{\"zone\": \"../../etc/passwd\"}", "not a time zone" },
        { "{\"zone\": \"/etc/localtime\"}", "not a time zone" },
        { "{\"zone\": \"\"}", "not a time zone" },
        { "{\"zone\": \"+1\"}", "+HH:MM" },
        { "{\"zone\": \"+15:00\"}", "+HH:MM" },
        { "{\"floor\": {\"cpu_hour\": \"1\"}}", "floor.cpu_hour" },
        { "{\"floor\": {\"device_hour\": -1}}", "floor.device_hour" },
        { "{\"floor\": 1}", "policy.floor" },
        { "{\"power_cap\": \"12 kW\"}", "power_cap" },
        { "{\"power_cap\": \"-1W\"}", "power_cap" },
        { "{\"power_cap\": \"lots\"}", "power_cap" },
        { "{\"power_cap\": []}", "power_cap" },
        { "{\"own\": {\"share\": 0}}", "policy.own" },
        { "{\"own\": {\"share\": 101}}", "policy.own" },
        { "{\"own\": {\"tenant\": \"\", \"share\": 1}}", "policy.own" },
        { "{\"link\": 1}", "policy.link" },
        { "{\"link\": {\"rate\": 5}}", "policy.link.rate" },
        { "{\"link\": {\"rate\": \"-5M\"}}", "policy.link.rate" },
        { "{\"link\": {\"egress\": -1}}", "policy.link.egress" },
        { "{\"link\": {\"ingress\": \"free\"}}", "policy.link.ingress" },
        { "{\"classes\": [\"vip\"]}", "policy.classes[0]" },
    };
    struct site_policy policy;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = { 0 };
        int rc = parse(cases[i].json, MONDAY, &policy, &err);

        if (rc >= 0 || !strstr(err.text, cases[i].says))
            fail_msg("%s: rc %d, \"%s\"", cases[i].json, rc, err.text);
    }
}

static void test_what_is_read(void **state)
{
    struct site_policy policy;

    (void)state;
    assert_int_equal(policy_parse(NULL, "physics", MONDAY, &policy, NULL), 0);
    assert_true(site_policy_is_empty(&policy));
    assert_int_equal(parse("{\"floor\": {\"device_hour\": 0.5, \"cpu_hour\": 1},"
                           "\"power_cap\": \"1.5kW\", \"own\": {\"share\": 50},"
                           "\"link\": {\"rate\": \"1K\", \"egress\": 0.09}}",
                           MONDAY, &policy, NULL),
                     0);
    assert_int_equal(policy.device_hour_micro, 500000);
    assert_int_equal(policy.cpu_hour_micro, 1000000);
    assert_int_equal(policy.cap_watts, 1500);
    assert_int_equal(policy.own_ppm, 500000);
    assert_int_equal(policy.link_bytes_s, 1024);
    assert_int_equal(policy.egress_gb_micro, 90000);
    assert_int_equal(policy.ingress_gb_micro, 0);
    assert_string_equal(policy.own_tenant, "physics");
}

static void test_zones(void **state)
{
    static const struct {
        const char *hours, *zone;
        int64_t now_ms;
        uint32_t count, from_min, until_min; /* of the first */
    } cases[] = {
        { "08:00-18:00", "UTC", MONDAY, 7, 480, 1080 },
        { "Mon 08:00-18:00", "+01:00", MONDAY, 1, 420, 1020 },
        { "Mon 00:30-18:00", "+01:00", MONDAY, 1, 10050, 11100 }, /* Sunday in UTC */
        { "Sun 23:30-00:30", "-01:00", MONDAY, 1, 30, 90 },
        { "Fri-Mon 18:00-08:00", "UTC", MONDAY, 4, 1080, 1920 },
        { "Sat,Sun 00:00-24:00", "UTC", MONDAY, 2, 7200, 8640 },
        { "Mon 08:00-18:00", "Europe/Berlin", WINTER, 1, 420, 1020 },
        { "Mon 08:00-18:00", "Europe/Berlin", SUMMER, 1, 360, 960 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *json = json_pack("{s:[s], s:s}", "hours", cases[i].hours, "zone", cases[i].zone);
        struct site_policy policy;
        struct err err = { 0 };

        if (policy_parse(json, "physics", cases[i].now_ms, &policy, &err) < 0)
            fail_msg("%s %s: %s", cases[i].hours, cases[i].zone, err.text);
        if (policy.windows_count != cases[i].count ||
            policy.windows[0].from_min != cases[i].from_min ||
            policy.windows[0].until_min != cases[i].until_min)
            fail_msg("%s %s: %u windows, %u to %u", cases[i].hours, cases[i].zone,
                     policy.windows_count, policy.windows[0].from_min, policy.windows[0].until_min);
        json_decref(json);
    }
}

static void test_contacts(void **state)
{
    static const struct {
        const char *json, *says; /* NULL = fine */
    } cases[] = {
        { "[{\"period\": \"96m\", \"duration\": \"10m\", \"offset\": \"3m\"}]", NULL },
        { "[{\"from\": \"2026-11-22T10:00:00Z\", \"until\": \"2026-11-22T11:00:00Z\"}]", NULL },
        { "[]", "a list of 1" },
        { "{}", "a list of 1" },
        { "[{}]", "windows[0]: expected from" },
        { "[{\"period\": \"96m\"}]", "windows[0]" },
        { "[{\"period\": \"10m\", \"duration\": \"11m\"}]", "windows[0]" },
        { "[{\"period\": \"10m\", \"duration\": 5}]", "windows[0].duration" },
        { "[{\"from\": \"2026-11-22T10:00:00Z\", \"until\": \"soon\"}]", "windows[0].until" },
        { "[{\"from\": \"2026-11-22T10:00:00Z\", \"until\": \"2026-11-22T09:00:00Z\"}]",
          "windows[0]" },
        { "[{\"from\": \"2026-11-22T10:00:00Z\", \"length\": \"1h\"}]", "windows[0].until" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *json = json_loads(cases[i].json, 0, NULL);
        struct site_policy policy;
        struct err err = { 0 };
        int rc;

        site_policy_init(&policy);
        rc = policy_add_contacts(&policy, json, &err);
        if ((rc < 0) != (cases[i].says != NULL) ||
            (cases[i].says && !strstr(err.text, cases[i].says)))
            fail_msg("%s: rc %d, \"%s\"", cases[i].json, rc, err.text);
        json_decref(json);
    }
}

#define OPEN_MONDAYS "{\"hours\": [\"Mon 08:00-18:00\"]}"

static void test_the_door(void **state)
{
    static const struct {
        const char *policy, *tenant, *spec;
        int64_t duration_ms, now_ms;
        const char *says; /* NULL = it is let in */
    } cases[] = {
        { "{}", "bob", "{}", 0, MONDAY, NULL },
        { "{\"tenants\": [\"alice\"]}", "bob", "{}", 0, MONDAY, "tenant bob" },
        { "{\"tenants\": [\"alice\"]}", "alice", "{}", 0, MONDAY, NULL },
        { "{\"tenants\": []}", "alice", "{}", 0, MONDAY, "tenant alice" },
        { "{\"classes\": [\"high\"]}", "bob", "{}", 0, MONDAY, "work of its class" },
        { "{\"classes\": [\"normal\"]}", "bob", "{}", 0, MONDAY, NULL },
        { "{\"classes\": [\"high\"]}", "bob", "{\"class\":\"high\"}", 0, MONDAY, NULL },
        { "{\"classes\": [\"high\"]}", "bob", "{\"class\":\"vip\"}", 0, MONDAY, "its class" },
        { "{\"classes\": [\"high\"]}", "bob", "no spec at all", 0, MONDAY, "no sense" },
        { "{\"images\": [\"lab/*\"]}", "bob", "{\"image\":\"hub/x\"}", 0, MONDAY, "image hub/x" },
        { "{\"images\": [\"lab/*\"]}", "bob", "{\"image\":\"lab/x\"}", 0, MONDAY, NULL },
        { "{\"images\": [\"lab/*\"]}", "bob", "{}", 0, MONDAY, NULL },
        { "{\"data\": {\"come\": [\"public\"]}}", "bob", "{\"data\":[\"secret\"]}", 0, MONDAY,
          "labelled secret" },
        { "{\"data\": {\"come\": [], \"here\": [\"own\"]}}", "bob", "{\"data\":[\"own\"]}", 0,
          MONDAY, NULL },
        { "{\"data\": {\"come\": []}}", "bob", "{\"data\":[1]}", 0, MONDAY, "may not come" },
        { "{\"data\": {\"come\": []}}", "bob",
          "{\"data\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}", 0, MONDAY,
          "no sense" },
        { OPEN_MONDAYS, "bob", "{}", HOUR, MONDAY + 7 * HOUR, "at this hour" },
        { OPEN_MONDAYS, "bob", "{}", HOUR, MONDAY + 8 * HOUR, NULL },
        { OPEN_MONDAYS, "bob", "{}", HOUR, MONDAY + 17 * HOUR + 90000, NULL }, /* on its way */
        { OPEN_MONDAYS, "bob", "{}", HOUR, MONDAY + 17 * HOUR + 150000, "at this hour" },
        { OPEN_MONDAYS, "bob", "{}", 11 * HOUR, MONDAY + 8 * HOUR, "longer than" },
        { OPEN_MONDAYS, "bob", "{}", 0, MONDAY + 8 * HOUR, "longer than" },
        { OPEN_MONDAYS, "bob", "{\"checkpoint\":{\"path\":\"c\"}}", 0, MONDAY + 8 * HOUR, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct policy_ask ask = { cases[i].tenant, cases[i].spec, cases[i].duration_ms };
        struct site_policy policy;
        struct err err = { 0 };
        int rc;

        assert_int_equal(parse(cases[i].policy, MONDAY, &policy, &err), 0);
        rc = policy_check(&policy, &ask, cases[i].now_ms, &err);
        if (rc != (cases[i].says ? -EACCES : 0) ||
            (cases[i].says && (!strstr(err.text, cases[i].says) ||
                               strncmp(err.text, "refused by the owner's policy: ", 31) != 0)))
            fail_msg("row %zu: rc %d, \"%s\"", i, rc, err.text);
    }
}

/* What comes and what leaves, by the labels of an attempt; and that they are not forgotten. */
static void test_labels(void **state)
{
    static const char rules[] =
        "{\"data\": {\"come\": [\"public\"], \"leave\": [\"papers\"], \"here\": [\"patients\", "
        "\"papers\"]}}";
    static const struct {
        const char *spec, *kept, *barred;
        int rc;
    } cases[] = {
        { "{}", NULL, NULL, 0 },
        { "{\"data\": [\"public\"]}", NULL, NULL, 0 },
        { "{\"data\": [\"papers\"]}", NULL, NULL, 0 },
        { "{\"data\": [\"papers\", \"patients\"]}", "patients", NULL, 0 },
        { "{\"data\": [\"public\", \"secret\"]}", NULL, "secret", 0 },
        { "{\"data\": \"patients\"}", NULL, NULL, -EINVAL },
        { "{\"data\": [3]}", NULL, NULL, -EINVAL },
        { "{\"data\": [\"\"]}", NULL, NULL, -EINVAL },
        { "{\"data\": [\"a\\nb\"]}", NULL, NULL, -EINVAL },
        { "{\"data\": [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}", NULL, NULL,
          -EINVAL },
    };
    char folder[] = "/tmp/mains-labels-XXXXXX";
    struct site_policy policy, none;
    struct labels labels, again;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(parse(rules, MONDAY, &policy, NULL), 0);
    site_policy_init(&none);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *spec = json_loads(cases[i].spec, 0, NULL);
        struct attempt_key key = { .job_id = i + 1, .epoch = 1 };
        const char *kept, *barred;

        assert_int_equal(labels_of_spec(spec, &labels), cases[i].rc);
        json_decref(spec);
        if (cases[i].rc < 0)
            continue;
        kept = labels_kept(&labels, &policy);
        barred = labels_barred(&labels, &policy);
        if ((kept != NULL) != (cases[i].kept != NULL) || (kept && strcmp(kept, cases[i].kept)) ||
            (barred != NULL) != (cases[i].barred != NULL))
            fail_msg("row %zu: kept %s, barred %s", i, kept, barred);
        assert_null(labels_kept(&labels, &none));
        assert_null(labels_barred(&labels, &none));
        assert_int_equal(labels_note(folder, key, &labels, NULL), 0);
        assert_int_equal(labels_recall(folder, key, &again), 0);
        assert_int_equal(again.count, labels.count);
        for (uint32_t k = 0; k < labels.count; k++)
            assert_string_equal(again.names[k], labels.names[k]);
    }
    assert_int_equal(dir_remove(folder, NULL), 0);
}

static void test_the_end_of_the_day(void **state)
{
    struct site_policy policy;

    (void)state;
    assert_int_equal(parse(OPEN_MONDAYS, MONDAY, &policy, NULL), 0);
    assert_false(policy_is_closed(&policy, MONDAY + 17 * HOUR));
    assert_false(policy_is_closed(&policy, MONDAY + 18 * HOUR + 60000)); /* what stops may */
    assert_true(policy_is_closed(&policy, MONDAY + 18 * HOUR + 121000));
    site_policy_init(&policy);
    assert_false(policy_is_closed(&policy, MONDAY));
}

static void test_tariff_settings(void **state)
{
    static const struct {
        const char *json, *says; /* NULL = fine */
    } cases[] = {
        { "{}", NULL },
        { "{\"series\": \"/a.csv\"}", NULL },
        { "{\"url\": \"https://x/y\", \"every\": \"1h\"}", NULL },
        { "{\"series\": \"a.csv\"}", "an absolute path" },
        { "{\"series\": 1}", "tariff.series" },
        { "{\"url\": \"ftp://x\"}", "expected http" },
        { "{\"url\": \"http://x\", \"series\": \"/a\"}", "either" },
        { "{\"url\": \"http://x\", \"every\": \"1s\"}", "at least 10s" },
        { "{\"url\": \"http://x\", \"every\": \"often\"}", "tariff.every" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *json = json_loads(cases[i].json, 0, NULL);
        struct pricing_config config;
        struct err err = { 0 };
        int rc = pricing_config_parse(json, &config, &err);

        if ((rc < 0) != (cases[i].says != NULL) ||
            (cases[i].says && !strstr(err.text, cases[i].says)))
            fail_msg("%s: rc %d, \"%s\"", cases[i].json, rc, err.text);
        json_decref(json);
    }
}

/* From the first slot that is new or another to the last, and nothing where all is known. */
static void test_what_changed(void **state)
{
    struct tariff_file_row old_rows[] = { { .price_micro = 1 },
                                          { .price_micro = 2 },
                                          { .price_micro = 3 } };
    struct tariff_file_row new_rows[] = { { .price_micro = 2 },
                                          { .price_micro = 3 },
                                          { .price_micro = 4 } };
    const struct tariff_file none = { 0 }, told = { 0, 60000, 3, old_rows };
    struct tariff_file next = { 60000, 60000, 3, new_rows }, changes;

    (void)state;
    changes = pricing_changes(&none, &told);
    assert_int_equal(changes.count, 3);
    assert_int_equal(pricing_changes(&told, &told).count, 0);
    changes = pricing_changes(&told, &next);
    assert_int_equal(changes.count, 1);
    assert_int_equal(changes.from_ms, 180000);
    assert_int_equal(changes.rows[0].price_micro, 4);
    new_rows[0].price_micro = 9;
    changes = pricing_changes(&told, &next);
    assert_int_equal(changes.count, 3);
    assert_int_equal(changes.from_ms, 60000);
    next.from_ms = 90000; /* other slots */
    assert_int_equal(pricing_changes(&told, &next).count, 3);
    next.slot_ms = 30000;
    next.from_ms = 60000;
    assert_int_equal(pricing_changes(&told, &next).count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_zones),        cmocka_unit_test(test_the_door),
        cmocka_unit_test(test_labels),       cmocka_unit_test(test_the_end_of_the_day),
        cmocka_unit_test(test_contacts),     cmocka_unit_test(test_tariff_settings),
        cmocka_unit_test(test_what_changed),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
