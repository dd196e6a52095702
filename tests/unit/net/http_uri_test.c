#include "net/http_uri.h"

#include "base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_refusals(void **state)
{
    static const char *const cases[] = {
        "",         "*",          "a",       "?q=1",     "/%",      "/%4",      "/%zz",
        "/%00",     "/a%0a",      "/%7f",    "/%1B[2J",  "/a b",    "/a\tb",    "/a\x01",
        "/a#b",     "/a?q=%",     "/a?q=%0", "/a?q=%00", "/a?%00=", "/a?q=a b", "http://",
        "http://h", "https://h?", "host:80", "//?#",     "/?a=%g0", "/a\x7f",   "http:/h/",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct http_uri uri;
        char text[64];

        snprintf(text, sizeof(text), "%s", cases[i]);
        if (http_uri_parse(text, &uri) != -EINVAL)
            fail_msg("\"%s\" is not refused", cases[i]);
    }
}

static void test_paths(void **state)
{
    static const struct {
        const char *text, *path, *key, *value;
    } cases[] = {
        { "/", "/", "q", NULL },
        { "/a/b", "/a/b", "q", NULL },
        { "/a%2Fb%20c", "/a/b c", "q", NULL },
        { "/%2561", "/%61", "q", NULL }, /* decoded once */
        { "/a+b", "/a+b", "q", NULL },
        { "/\xc3\xa9%C3%A9", "/\xc3\xa9\xc3\xa9", "q", NULL },
        { "/../..", "/../..", "q", NULL }, /* routes, not files */
        { "http://h:1/x?q=1", "/x", "q", "1" },
        { "HTTPS://h/", "/", "q", NULL },
        { "/a?", "/a", "q", NULL },
        { "/a?q", "/a", "q", "" },
        { "/a?q=", "/a", "q", "" },
        { "/a?q=1&q=2", "/a", "q", "1" },
        { "/a?p=1&q=2", "/a", "q", "2" },
        { "/a?&&q=2&", "/a", "q", "2" },
        { "/a?q=a+b%2Bc%26d%3D", "/a", "q", "a b+c&d=" },
        { "/a?q=1%0A2", "/a", "q", "1\n2" },
        { "/a?%71=x", "/a", "q", "x" },
        { "/a?=x", "/a", "", "x" },
        { "/a?q=x?y=z", "/a", "q", "x?y=z" },
        { "/a?q=1&r%3D=2", "/a", "r=", "2" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct http_uri uri;
        char text[64];
        const char *value;

        snprintf(text, sizeof(text), "%s", cases[i].text);
        if (http_uri_parse(text, &uri) != 0)
            fail_msg("\"%s\" is refused", cases[i].text);
        assert_string_equal(uri.path, cases[i].path);
        value = http_uri_param(&uri, cases[i].key);
        if ((value == NULL) != (cases[i].value == NULL) ||
            (value && strcmp(value, cases[i].value) != 0))
            fail_msg("\"%s\": \"%s\"", cases[i].text, value ? value : "none");
    }
}

static void test_params_are_bounded(void **state)
{
    char text[1000] = "/?";
    struct http_uri uri;

    (void)state;
    for (uint32_t i = 0; i < HTTP_PARAMS_MAX; i++)
        strncat(text, "a=1&", sizeof(text) - strlen(text) - 1);
    assert_int_equal(http_uri_parse(text, &uri), 0);
    assert_int_equal(uri.params_count, HTTP_PARAMS_MAX);
    snprintf(text, sizeof(text), "/?");
    for (uint32_t i = 0; i <= HTTP_PARAMS_MAX; i++)
        strncat(text, "a=1&", sizeof(text) - strlen(text) - 1);
    assert_int_equal(http_uri_parse(text, &uri), -E2BIG);
}

static void test_bearer(void **state)
{
    static const struct {
        const char *header, *token;
    } cases[] = {
        { NULL, NULL },           { "", NULL },           { "Bearer", NULL },
        { "Bearer ", NULL },      { "Basic YTpi", NULL }, { "Bearer a b", NULL },
        { "Bearer a,b", NULL },   { "Bearerx", NULL },    { "Bearer \xc3\xa9", NULL },
        { "Bearer a\x01", NULL }, { " Bearer a", NULL },  { "Bearer abc", "abc" },
        { "bearer abc", "abc" },  { "BEARER  a", "a" },   { "Bearer a-._~+/=", "a-._~+/=" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *token = http_bearer_find(cases[i].header);

        if ((token == NULL) != (cases[i].token == NULL) ||
            (token && strcmp(token, cases[i].token) != 0))
            fail_msg("\"%s\": \"%s\"", cases[i].header, token ? token : "none");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_params_are_bounded),
        cmocka_unit_test(test_bearer),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
