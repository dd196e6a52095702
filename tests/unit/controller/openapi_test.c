/* Every route of the table is in docs/openapi.yaml with its roles, and nothing else is. */
#include "openapi_check.h"

#include "controller/api.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static struct openapi openapi;

static unsigned roles_of(const json_t *operation)
{
    unsigned roles = 0;
    json_t *name;
    size_t i;

    json_array_foreach (json_object_get(operation, "x-roles"), i, name) {
        enum role role;

        if (role_find(json_string_value(name), &role) < 0)
            fail_msg("x-roles: \"%s\" is no role", json_string_value(name));
        roles |= role;
    }
    return roles;
}

static void test_routes_are_documented(void **state)
{
    (void)state;
    for (const struct route *route = api_routes; route->method; route++) {
        const json_t *operation = openapi_operation(&openapi, route->method, route->path);

        if (!operation)
            fail_msg("%s %s is not in openapi.yaml", route->method, route->path);
        if (roles_of(operation) != route->roles)
            fail_msg("%s %s: roles %u, openapi.yaml says %u", route->method, route->path,
                     route->roles, roles_of(operation));
        if (!route->roles != !!json_object_get(operation, "security"))
            fail_msg("%s %s: `security: []` stands where no token is asked, and only there",
                     route->method, route->path);
        if (!json_object_get(operation, "summary") || !json_object_get(operation, "operationId"))
            fail_msg("%s %s: no summary or operationId", route->method, route->path);
    }
}

static bool has_route(const char *method, const char *path)
{
    for (const struct route *route = api_routes; route->method; route++)
        if (!strcasecmp(route->method, method) && !strcmp(route->path, path))
            return true;
    return false;
}

static void test_documented_routes_exist(void **state)
{
    json_t *paths = json_object_get(openapi.root, "paths");
    json_t *item, *operation;
    const char *path, *method;

    (void)state;
    json_object_foreach (paths, path, item) {
        json_object_foreach (item, method, operation) {
            if (strcmp(method, "parameters") && !has_route(method, path))
                fail_msg("%s %s is documented and is no route", method, path);
        }
    }
}

/* Names in the path are documented as parameters of the path. */
static void test_path_parameters(void **state)
{
    json_t *paths = json_object_get(openapi.root, "paths");
    json_t *item;
    const char *path;

    (void)state;
    json_object_foreach (paths, path, item) {
        size_t names = 0;

        for (const char *p = path; *p; p++)
            names += *p == '{';
        if (json_array_size(json_object_get(item, "parameters")) != names)
            fail_msg("%s: %zu names in the path, %zu parameters documented", path, names,
                     json_array_size(json_object_get(item, "parameters")));
    }
}

/* The checker itself must be able to say no. */
static void test_checker_refuses(void **state)
{
    static const struct {
        const char *method, *path;
        int status;
        const char *json;
    } cases[] = {
        { "GET", "/api/v1/nothing", 200, "{}" },
        { "GET", "/api/v1/version", 418, "{}" },
        { "GET", "/api/v1/version", 200, NULL },
        { "GET", "/healthz", 200, "{}" },
        { "GET", "/api/v1/version", 200, "{\"version\":\"1\",\"api\":\"v1\"}" },
        { "GET", "/api/v1/version", 200, "{\"version\":1,\"api\":\"v1\",\"started_at\":null}" },
        { "GET", "/api/v1/version", 200,
          "{\"version\":\"1\",\"api\":\"v1\",\"started_at\":null,\"more\":1}" },
        { "GET", "/api/v1/whoami", 200,
          "{\"id\":\"1\",\"role\":\"king\",\"tenant\":\"a\",\"user\":\"b\",\"unix_uid\":null}" },
        { "GET", "/api/v1/tokens", 200, "{\"tokens\":[{\"id\":\"1\"}]}" },
        { "GET", "/api/v1/version", 401,
          "{\"error\":{\"code\":\"odd\",\"message\":\"\","
          "\"field\":null}}" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *json = cases[i].json ? json_loads(cases[i].json, 0, NULL) : NULL;

        if (openapi_check_answer(&openapi, cases[i].method, cases[i].path, cases[i].status, json,
                                 NULL) != -EINVAL)
            fail_msg("case %zu was let through", i);
        json_decref(json);
    }
}

static int setup(void **state)
{
    struct err err = { 0 };

    (void)state;
    if (openapi_load(&openapi, &err) == 0)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int teardown(void **state)
{
    (void)state;
    openapi_fini(&openapi);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes_are_documented),
        cmocka_unit_test(test_documented_routes_exist),
        cmocka_unit_test(test_path_parameters),
        cmocka_unit_test(test_checker_refuses),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
