#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/columns.h"
#include "cli/plot.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static const struct {
    const char *text;
    int rc;
    uint32_t columns, rows;
} tables[] = {
    { "", -EINVAL, 0, 0 },
    { "# only a comment\n\n", -EINVAL, 0, 0 },
    { "a,b\n1,2\n3\n", -EINVAL, 0, 0 },
    { "a,b\n1,2,3\n", -EINVAL, 0, 0 },
    { "a,b\n1,2\n3,4\n", 0, 2, 2 },
    { "a\tb\r\n1\t2\r\n", 0, 2, 1 },
    { "  1   2\n 3 4 \n", 0, 2, 2 },
    { "1;2", 0, 2, 1 },
    { "\"a, b\",\"say \"\"x\"\"\"\n1,2\n", 0, 2, 1 },
    { "x,y\n1,\n", 0, 2, 1 },
};

static void test_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
        struct columns columns = { 0 };
        int rc = columns_parse(tables[i].text, strlen(tables[i].text), &columns, NULL);

        if (rc != tables[i].rc || columns.count != tables[i].columns ||
            columns.rows_count != tables[i].rows)
            fail_msg("\"%s\": rc %d, %u columns, %u rows", tables[i].text, rc, columns.count,
                     columns.rows_count);
        columns_fini(&columns);
    }
}

static void test_values(void **state)
{
    static const char text[] = "\"a, b\",\"say \"\"x\"\"\",c\n1,-2.5e3,word\n4,nan,1e999\n";
    struct columns columns;

    (void)state;
    assert_int_equal(columns_parse(text, strlen(text), &columns, NULL), 0);
    assert_string_equal(columns.names[0], "a, b");
    assert_string_equal(columns.names[1], "say \"x\"");
    assert_true(columns.values[1] == -2500.0);
    assert_true(isnan(columns.values[2]));
    assert_true(isnan(columns.values[4]));
    assert_true(isnan(columns.values[5]));
    assert_int_equal(columns_find(&columns, "c"), 2);
    assert_int_equal(columns_find(&columns, "3"), 2);
    assert_int_equal(columns_find(&columns, "4"), -1);
    assert_int_equal(columns_find(&columns, "0"), -1);
    assert_int_equal(columns_find(&columns, ""), -1);
    columns_fini(&columns);
}

static void test_ticks(void **state)
{
    double ticks[PLOT_TICKS_MAX];

    (void)state;
    assert_int_equal(plot_find_ticks(0, 10, 5, ticks), 6);
    assert_true(ticks[0] == 0 && ticks[5] == 10);
    assert_int_equal(plot_find_ticks(-0.31, 0.29, 5, ticks), 6);
    assert_true(fabs(ticks[0] + 0.3) < 1e-12 && ticks[3] == 0);
    /* Nothing that would never end. */
    assert_true(plot_find_ticks(1, 1, 5, ticks) == 1);
    assert_true(plot_find_ticks(0, INFINITY, 5, ticks) == 1);
    assert_true(plot_find_ticks(0, 1, 1000000, ticks) <= PLOT_TICKS_MAX);
}

static void test_text(void **state)
{
    static const double x[] = { 0, 1, 2 };
    static const double y[] = { 0, 1, 0 };
    struct plot plot = { .title = "roof",
                         .x_name = "x",
                         .y_name = "y",
                         .series_count = 1,
                         .series = { { "y", x, y, 3 } },
                         .points_only = true };
    struct buf out = buf_init(1u << 20);

    (void)state;
    plot_print_text(&plot, 44, 12, false, false, &out);
    assert_false(out.failed);
    /* Three points, and no colour where none was asked for. */
    uint32_t stars = 0;
    for (const char *at = out.data; (at = strchr(at, '*')) != NULL; at++)
        stars++;
    assert_int_equal(stars, 3);
    assert_null(strchr(out.data, '\033'));
    assert_non_null(strstr(out.data, "roof\n"));
    buf_clear(&out);
    plot.points_only = false;
    plot_print_text(&plot, 44, 12, true, true, &out);
    assert_non_null(strstr(out.data, "\033[36m"));
    buf_clear(&out);
    /* One point, and values a rounding apart, still have a place. */
    plot.series[0].count = 1;
    plot_print_text(&plot, 1, 1, false, false, &out);
    assert_non_null(strchr(out.data, '*'));
    buf_fini(&out);
}

static void test_svg(void **state)
{
    static const double x[] = { 1, 2 };
    static const double y[] = { 3, 4 };
    struct plot plot = { .title = "<script>&\"",
                         .x_name = "x",
                         .y_name = "y",
                         .series_count = 2,
                         .series = { { "a<b", x, y, 2 }, { "c", x, y, 2 } } };
    struct buf out = buf_init(1u << 20);

    (void)state;
    plot_print_svg(&plot, 600, 400, &out);
    assert_false(out.failed);
    assert_null(strstr(out.data, "<script>"));
    assert_non_null(strstr(out.data, "&lt;script&gt;&amp;&quot;"));
    assert_non_null(strstr(out.data, "a&lt;b"));
    assert_non_null(strstr(out.data, "</svg>"));
    assert_null(strstr(out.data, "nan"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns), cmocka_unit_test(test_values), cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_text),    cmocka_unit_test(test_svg),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
