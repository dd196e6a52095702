#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/family.h"
#include "cli/job_show.h"
#include "cli/progress.h"
#include "cli/remote.h"
#include "cli/table.h"
#include "cli/text.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    const char *safe;
} texts[] = {
    { "plain", "plain" },
    { "\033[31mred\033[0m", "\\x1b[31mred\\x1b[0m" },
    { "two\nlines\tand\ra bell\a", "two\\nlines\\tand\\x0da bell\\x07" },
    { "\x7f", "\\x7f" },
    { "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
    { "\xc2\x9b"
      "31m",
      "\\u{9b}31m" }, /* CSI as one C1 control */
    { "a\xe2\x80\xae"
      "b",
      "a\\u{202e}b" },                     /* right-to-left override */
    { "\xff\xfe", "\\xff\\xfe" },          /* not UTF-8 */
    { "\xc0\xaf", "\\xc0\\xaf" },          /* overlong '/' */
    { "\xed\xa0\x80", "\\xed\\xa0\\x80" }, /* a surrogate */
    { "cut \xe2\x82", "cut \\xe2\\x82" },
};

static void test_safe(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        CLEANUP(freep) char *safe = text_safe(texts[i].text);

        assert_string_equal(safe, texts[i].safe);
    }
    assert_int_equal(text_width("\xe7\xae\x97\xe5\x8a\x9b"), 4);
    assert_int_equal(text_width("e\xcc\x81"), 1);
    assert_int_equal(text_fit("\xe7\xae\x97\xe5\x8a\x9b", 3), 3);
}

static const struct {
    int64_t ms;
    const char *age;
} ages[] = {
    { -5, "0s" },       { 999, "0s" },     { 59999, "59s" },     { 60000, "1m" },
    { 3599999, "59m" }, { 7200000, "2h" }, { 172799999, "47h" }, { 172800000, "2d" },
};

static void test_ages(void **state)
{
    char text[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ages); i++) {
        text_print_age(ages[i].ms, text, sizeof(text));
        assert_string_equal(text, ages[i].age);
    }
    text_print_relative(1000000, 1000500, text, sizeof(text));
    assert_string_equal(text, "now");
    text_print_relative(1000000, 1065000, text, sizeof(text));
    assert_string_equal(text, "1m ago");
    text_print_relative(1065000, 1000000, text, sizeof(text));
    assert_string_equal(text, "in 1m");
}

static void test_table_print(void **state)
{
    static const struct table_column columns[] = {
        { "ID", false, 0 }, { "NAME", false, 4 }, { "N", true, 0 }, { 0 }
    };
    struct table table = table_init(columns);
    struct buf out = buf_init(65536);

    (void)state;
    table_add_color(&table, "1", TERM_CYAN);
    table_add(&table, "a rather long name");
    table_add(&table, "7");
    table_add(&table, "22");
    table_add(&table, "x\033[2J");
    table_addf(&table, "%d", 1000);
    table_print(&table, 0, false, true, &out);
    assert_string_equal(out.data, "ID  NAME                   N\n"
                                  "1   a rather long name     7\n"
                                  "22  x\\x1b[2J            1000\n");
    buf_clear(&out);
    table_print(&table, 18, false, false, &out);
    assert_string_equal(out.data, "ID  NAME         N\n"
                                  "1   a rathe~     7\n"
                                  "22  x\\x1b[2J  1000\n");
    buf_clear(&out);
    table_print(&table, 0, true, true, &out);
    assert_non_null(strstr(out.data, "\033[36m1\033[0m "));
    /* Too narrow for what may not be cut: whole rather than wrong. */
    buf_clear(&out);
    table_print(&table, 5, false, false, &out);
    assert_non_null(strstr(out.data, "22  x\\x~  1000\n"));
    buf_fini(&out);
    table_fini(&table);
}

static void test_bar(void **state)
{
    char bar[64];

    (void)state;
    progress_bar(0, 10, 10, false, bar, sizeof(bar));
    assert_string_equal(bar, "[..........]");
    progress_bar(5, 10, 10, false, bar, sizeof(bar));
    assert_string_equal(bar, "[#####.....]");
    progress_bar(11, 10, 10, false, bar, sizeof(bar));
    assert_string_equal(bar, "[##########]");
    progress_bar(1, 0, 4, false, bar, sizeof(bar));
    assert_string_equal(bar, "[....]");
    progress_bar(1, 1, 30, true, bar, 11); /* room for two cells */
    assert_int_equal(text_width(bar), 4);
}

static const struct {
    const char *json;
    int status;
} ends[] = {
    { "{\"state\":\"done\",\"exit_code\":0,\"outcome\":\"exited\"}", 0 },
    { "{\"state\":\"failed\",\"exit_code\":7,\"outcome\":\"exited\"}", 7 },
    { "{\"state\":\"failed\",\"exit_code\":11,\"outcome\":\"signalled\"}", 139 },
    { "{\"state\":\"failed\",\"exit_code\":0,\"outcome\":\"time_limit\"}", 124 },
    { "{\"state\":\"failed\",\"exit_code\":9,\"outcome\":\"memory\"}", 137 },
    { "{\"state\":\"failed\",\"exit_code\":0,\"outcome\":\"start_failed\"}", 125 },
    { "{\"state\":\"failed\",\"exit_code\":0,\"outcome\":\"lost\"}", 125 },
    { "{\"state\":\"failed\",\"exit_code\":0,\"outcome\":\"exited\"}", 125 },
    { "{\"state\":\"cancelled\",\"exit_code\":15,\"outcome\":\"stopped\"}", 130 },
    { "{}", 125 },
};

static void test_exit_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        json_t *job = json_loads(ends[i].json, 0, NULL);

        assert_non_null(job);
        if (job_exit_status(job) != ends[i].status)
            fail_msg("%s: %d", ends[i].json, job_exit_status(job));
        json_decref(job);
    }
}

static const struct {
    const char *id;
    const char *path; /* NULL: refused */
} ids[] = {
    { "", NULL },
    { "x", NULL },
    { "1.", NULL },
    { ".1", NULL },
    { "1/2", NULL },
    { "1.2.3", NULL },
    { "-1", NULL },
    { "1 ", NULL },
    { "../x", NULL },
    { "12?x=1", NULL },
    { "123456789012345678901", NULL },
    { "12", "/jobs/12/why" },
    { "12.3", "/jobs/12.3/why" },
};

static void test_job_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        CLEANUP(freep) char *path = NULL;
        int rc = remote_job_path(ids[i].id, "/why", &path, NULL);

        if (ids[i].path ? rc != 0 || strcmp(path, ids[i].path) != 0 : rc != -EINVAL)
            fail_msg("\"%s\": rc %d, %s", ids[i].id, rc, path ? path : "-");
    }
}

static void test_members(void **state)
{
    json_t *object =
        json_loads("{\"a\":{\"b\":{\"c\":5}},\"t\":\"2026-11-22T10:00:00Z\",\"n\":null}", 0, NULL);

    (void)state;
    assert_int_equal(json_integer_value(reply_member(object, "a.b.c")), 5);
    assert_null(reply_member(object, "a.x.c"));
    assert_null(reply_member(NULL, "a"));
    assert_string_equal(reply_text(object, "n"), "");
    assert_int_equal(reply_number(object, "none"), 0);
    assert_int_equal(reply_time_ms(object, "t"), INT64_C(1795341600000));
    json_decref(object);
}

static void test_family_delay(void **state)
{
    (void)state;
    assert_int_equal(family_delay_ms(1), 100);
    assert_int_equal(family_delay_ms(2), 200);
    assert_int_equal(family_delay_ms(4), 800);
    assert_int_equal(family_delay_ms(5), 1000);
    assert_int_equal(family_delay_ms(4000000000u), 1000);
}

static void test_wrap(void **state)
{
    struct buf out = buf_init(4096);

    (void)state;
    text_wrap(&out, "one two three  four\nfive", 2, 11);
    assert_string_equal(out.data, "  one two\n  three\n  four five\n");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safe),        cmocka_unit_test(test_ages),
        cmocka_unit_test(test_table_print), cmocka_unit_test(test_bar),
        cmocka_unit_test(test_exit_status), cmocka_unit_test(test_job_path),
        cmocka_unit_test(test_members),     cmocka_unit_test(test_family_delay),
        cmocka_unit_test(test_wrap),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
