#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "model/units.h"

#include <errno.h>
#include <inttypes.h>

#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)

struct parse_case {
    const char *text;
    int rc;
    int64_t value;
};

static void check(const struct parse_case *cases, size_t count,
                  int (*parse)(const char *, int64_t *, struct err *))
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = -77;
        struct err err = { 0 };
        int rc = parse(cases[i].text, &value, &err);

        if (rc != cases[i].rc || (rc == 0 && value != cases[i].value) || (rc < 0 && value != -77))
            fail_msg("\"%s\": rc %d, %" PRId64 " (%s)", cases[i].text, rc, value, err.text);
        if (rc < 0 && !strstr(err.text, "expected"))
            fail_msg("\"%s\": \"%s\" does not say what was expected", cases[i].text, err.text);
    }
}

static void test_parse_duration(void **state)
{
    static const struct parse_case cases[] = {
        { "", -EINVAL, 0 },
        { "-1", -EINVAL, 0 },
        { "+1", -EINVAL, 0 },
        { " 1", -EINVAL, 0 },
        { "1 ", -EINVAL, 0 },
        { "1x", -EINVAL, 0 },
        { "m", -EINVAL, 0 },
        { "1m1h", -EINVAL, 0 },
        { "1h1h", -EINVAL, 0 },
        { "1h30", -EINVAL, 0 },
        { "nan", -EINVAL, 0 },
        { "inf", -EINVAL, 0 },
        { "1e3", -EINVAL, 0 },
        { "0x10", -EINVAL, 0 },
        { "1:", -EINVAL, 0 },
        { ":1", -EINVAL, 0 },
        { "1:60", -EINVAL, 0 },
        { "1:60:00", -EINVAL, 0 },
        { "1:2:3:4", -EINVAL, 0 },
        { "1-", -EINVAL, 0 },
        { "1.2345s", -EINVAL, 0 },
        { "1.", -EINVAL, 0 },
        { ".5", -EINVAL, 0 },
        { "1-2-3", -EINVAL, 0 },
        { "99999999999999999999", -ERANGE, 0 },
        { "9223372036854775807", -ERANGE, 0 },
        { "99999999999999d", -ERANGE, 0 },
        { "9999999999999-00:00:00", -ERANGE, 0 },
        { "0", 0, 0 },
        { "90", 0, 90000 },
        { "90s", 0, 90000 },
        { "1.5", 0, 1500 },
        { "250ms", 0, 250 },
        { "15m", 0, 15 * 60000 },
        { "2h", 0, 2 * HOUR },
        { "1.5h", 0, 5400000 },
        { "3d", 0, 3 * DAY },
        { "1h30m", 0, 5400000 },
        { "1d2h3m4s5ms", 0, DAY + 2 * HOUR + 184005 },
        { "02:03:04", 0, 2 * HOUR + 184000 },
        { "03:04", 0, 184000 },
        { "1-02", 0, DAY + 2 * HOUR },
        { "1-02:03", 0, DAY + 2 * HOUR + 180000 },
        { "1-02:03:04", 0, DAY + 2 * HOUR + 184000 },
    };

    (void)state;
    check(cases, ARRAY_COUNT(cases), units_parse_duration);
}

static void test_parse_bytes(void **state)
{
    static const struct parse_case cases[] = {
        { "", -EINVAL, 0 },
        { "-1", -EINVAL, 0 },
        { "K", -EINVAL, 0 },
        { "1KK", -EINVAL, 0 },
        { "1 K", -EINVAL, 0 },
        { "1Kx", -EINVAL, 0 },
        { "1Z", -EINVAL, 0 },
        { "nan", -EINVAL, 0 },
        { "1.2345G", -EINVAL, 0 },
        { "8E", -ERANGE, 0 },
        { "9223372036854775808", -ERANGE, 0 },
        { "99999999999T", -ERANGE, 0 },
        { "0", 0, 0 },
        { "512", 0, 512 },
        { "512B", 0, 512 },
        { "64K", 0, 65536 },
        { "64k", 0, 65536 },
        { "64KB", 0, 65536 },
        { "64KiB", 0, 65536 },
        { "64Ki", 0, 65536 },
        { "1.5G", 0, INT64_C(1610612736) },
        { "2Ti", 0, INT64_C(2) << 40 },
        { "7E", 0, INT64_C(7) << 60 },
        { "0.001K", 0, 1 },
        { "9223372036854775", 0, INT64_C(9223372036854775) },
    };
    int64_t bytes = 0;

    (void)state;
    check(cases, ARRAY_COUNT(cases), units_parse_bytes);
    assert_int_equal(units_parse_bytes_in("4", 1 << 20, &bytes, NULL), 0);
    assert_int_equal(bytes, 4 << 20);
    assert_int_equal(units_parse_bytes_in("4K", 1 << 20, &bytes, NULL), 0);
    assert_int_equal(bytes, 4096);
}

static void test_parse_milli(void **state)
{
    static const struct parse_case cases[] = {
        { "", -EINVAL, 0 },
        { "-1", -EINVAL, 0 },
        { "0.0001", -EINVAL, 0 },
        { "1,5", -EINVAL, 0 },
        { "0.5m", -EINVAL, 0 },
        { "nan", -EINVAL, 0 },
        { "9999999999999999999", -ERANGE, 0 },
        { "9223372036854776", -ERANGE, 0 },
        { "0", 0, 0 },
        { "1", 0, 1000 },
        { "0.25", 0, 250 },
        { "0.001", 0, 1 },
        { "250m", 0, 250 },
        { "8", 0, 8000 },
    };

    (void)state;
    check(cases, ARRAY_COUNT(cases), units_parse_milli);
}

static void test_parse_time(void **state)
{
    static const struct parse_case cases[] = {
        { "", -EINVAL, 0 },
        { "2026", -EINVAL, 0 },
        { "2026-13-01", -EINVAL, 0 },
        { "2026-00-01", -EINVAL, 0 },
        { "2026-02-29", -EINVAL, 0 },
        { "2026-11-31", -EINVAL, 0 },
        { "1969-12-31", -EINVAL, 0 },
        { "2026-11-22T24:00", -EINVAL, 0 },
        { "2026-11-22T10:60", -EINVAL, 0 },
        { "2026-11-22T10:00:60", -EINVAL, 0 },
        { "2026-11-22T10", -EINVAL, 0 },
        { "2026-11-22T10:00+15:00", -EINVAL, 0 },
        { "2026-11-22T10:00Zx", -EINVAL, 0 },
        { "2026-11-22T10:00:00.1234Z", -EINVAL, 0 },
        { "1970-01-01T00:30+01:00", -ERANGE, 0 },
        { "1970-01-01", 0, 0 },
        { "2000-02-29", 0, INT64_C(951782400000) },
        { "2026-11-22", 0, INT64_C(1795305600000) },
        { "2026-11-22T10:00:00Z", 0, INT64_C(1795341600000) },
        { "2026-11-22 10:00", 0, INT64_C(1795341600000) },
        { "2026-11-22T11:00:00+01:00", 0, INT64_C(1795341600000) },
        { "2026-11-22T02:00:00-0800", 0, INT64_C(1795341600000) },
        { "2026-11-22T10:00:00.5Z", 0, INT64_C(1795341600500) },
        { "9999-12-31T23:59:59.999Z", 0, INT64_C(253402300799999) },
    };

    (void)state;
    check(cases, ARRAY_COUNT(cases), units_parse_time);
}

static void test_parse_int(void **state)
{
    static const struct {
        const char *text;
        int64_t min, max;
        int rc;
        int64_t value;
    } cases[] = {
        { "", 0, 9, -EINVAL, 0 },    { "x", 0, 9, -EINVAL, 0 },
        { "1x", 0, 9, -EINVAL, 0 },  { "-1", 0, 9, -EINVAL, 0 },
        { "10", 0, 9, -ERANGE, 0 },  { "0", 1, 9, -ERANGE, 0 },
        { "-6", -5, 9, -ERANGE, 0 }, { "-5", -5, 9, 0, -5 },
        { "9", 0, 9, 0, 9 },         { "99999999999999999999", 0, INT64_MAX, -ERANGE, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t value = 0;
        int rc = units_parse_int(cases[i].text, cases[i].min, cases[i].max, &value, NULL);

        if (rc != cases[i].rc || value != cases[i].value)
            fail_msg("\"%s\": rc %d, %" PRId64, cases[i].text, rc, value);
    }
}

static void test_print(void **state)
{
    static const struct {
        void (*print)(int64_t, char *, size_t);
        int64_t value;
        const char *text;
    } cases[] = {
        { units_print_duration, 0, "0s" },
        { units_print_duration, 250, "250ms" },
        { units_print_duration, 5400000, "1h30m" },
        { units_print_duration, 3 * DAY, "3d" },
        { units_print_duration, DAY + 1, "1d1ms" },
        { units_print_duration, -1000, "-1s" },
        { units_print_bytes, 0, "0 B" },
        { units_print_bytes, 1023, "1023 B" },
        { units_print_bytes, 1536, "1.5 KiB" },
        { units_print_bytes, INT64_C(4) << 30, "4 GiB" },
        { units_print_bytes, INT64_MAX, "8.0 EiB" },
        { units_print_time, 0, "1970-01-01T00:00:00Z" },
        { units_print_time, INT64_C(951782400000), "2000-02-29T00:00:00Z" },
        { units_print_time, INT64_C(1795341600500), "2026-11-22T10:00:00.500Z" },
        { units_print_milli, 250, "0.25" },
        { units_print_milli, 8000, "8" },
        { units_print_milli, -1, "-0.001" },
        { units_print_micro, 1234567, "1.234567" },
        { units_print_micro, 0, "0" },
        { units_print_micro, 10, "0.00001" },
        { units_print_micro, INT64_MIN, "-9223372036854.775808" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[64], small[4] = "zzz";

        cases[i].print(cases[i].value, text, sizeof(text));
        if (strcmp(text, cases[i].text) != 0)
            fail_msg("%" PRId64 ": \"%s\", not \"%s\"", cases[i].value, text, cases[i].text);
        cases[i].print(cases[i].value, small, sizeof(small)); /* cut, never past the end */
        assert_true(strlen(small) < sizeof(small));
    }
}

/* What is printed is read back as it was. */
static void test_round_trip(void **state)
{
    static const int64_t values[] = { 1,       999,           1000,           61001, 86400000,
                                      5400000, 1795341600500, 31536000000000, 123 };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        char text[64];
        int64_t value = 0;

        units_print_duration(values[i], text, sizeof(text));
        assert_int_equal(units_parse_duration(text, &value, NULL), 0);
        assert_true(value == values[i]);
        units_print_time(values[i], text, sizeof(text));
        assert_int_equal(units_parse_time(text, &value, NULL), 0);
        assert_true(value == values[i]);
        units_print_milli(values[i], text, sizeof(text));
        assert_int_equal(units_parse_milli(text, &value, NULL), 0);
        assert_true(value == values[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_duration), cmocka_unit_test(test_parse_bytes),
        cmocka_unit_test(test_parse_milli),    cmocka_unit_test(test_parse_time),
        cmocka_unit_test(test_parse_int),      cmocka_unit_test(test_print),
        cmocka_unit_test(test_round_trip),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
