/* Tariff files: what is taken, and the one line for what is not. */
#include "model/tariff_file.h"

#include "base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int parse(const char *text, struct tariff_file *file, struct err *err)
{
    char *copy = strdup(text);
    int rc = tariff_file_parse("f", copy, 100, file, err);

    free(copy);
    return rc;
}

static void test_taken(void **state)
{
    struct tariff_file file;
    struct err err = { 0 };

    (void)state;
    if (parse("# settled\n\"time\", green "
              ",price,carbon,cap\r\n2026-01-01T00:00:00Z,0.5,-0.01,380.5,\n"
              "2026-01-01T00:30:00Z,,1.2345678,0,1500\n\n",
              &file, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(file.count, 2);
    assert_int_equal(file.slot_ms, 1800000);
    assert_true(file.from_ms == 1767225600000);
    assert_int_equal(file.rows[0].price_micro, -10000);
    assert_int_equal(file.rows[0].carbon_mg, 380500);
    assert_int_equal(file.rows[0].green_ppm, 500000);
    assert_true(file.rows[0].cap_w == TARIFF_FILE_UNKNOWN);
    assert_true(file.rows[1].green_ppm == TARIFF_FILE_UNKNOWN);
    assert_int_equal(file.rows[1].price_micro, 1234567);
    assert_int_equal(file.rows[1].cap_w, 1500);
    tariff_file_fini(&file);
    assert_int_equal(parse("time,price\n1767225600,1\n1767229200,2\n", &file, &err), 0);
    assert_int_equal(file.slot_ms, 3600000);
    tariff_file_fini(&file);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "", "f: expected a line of names" },
        { "time,price\n", "at least two slots" },
        { "time,price\n1767225600,1\n", "at least two slots" },
        { "price,carbon\n1,2\n", "f:1: expected a first line that names time" },
        { "time\n1767225600\n", "f:1: expected a first line that names time" },
        { "time,prize\n", "f:1: unknown column \"prize\"" },
        { "time,price,price\n", "f:1: column price is there twice" },
        { "time,price\nnoon,1\n", "f:2: time \"noon\": expected" },
        { "time,price\n1767225600,cheap\n", "f:2: price \"cheap\": expected a number" },
        { "time,green\n1767225600,1.5\n", "f:2: green \"1.5\": expected a number from 0 to 1" },
        { "time,carbon\n1767225600,-4\n", "expected a number of 0 or more" },
        { "time,price\n1767225600\n", "f:2: expected 2 fields" },
        { "time,price\n1767225600,1,2\n", "f:2: expected 2 fields" },
        { "time,price\n1767225600,1\n1767229200,1\n1767229300,1\n", "f:4: times go up in even" },
        { "time,price\n1767225600,1\n1767225600,1\n", "f:3: times go up in even" },
        { "time,price\n1767225600,99999999999999999999999999999999\n", "expected a number" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct tariff_file file = { 0 };
        struct err err = { 0 };

        assert_true(parse(cases[i].text, &file, &err) < 0);
        if (!strstr(err.text, cases[i].message) || strchr(err.text, '\n'))
            fail_msg("\"%s\": \"%s\", expected \"%s\"", cases[i].text, err.text, cases[i].message);
        assert_null(file.rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
