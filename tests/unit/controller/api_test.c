/* The API of a real controller over real HTTP; each answer is checked against docs/openapi.yaml. */
#include "harness.h"

#include "base/file.h"

#include <inttypes.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define V1 "/api/v1"
#define HELD "\"run\":\"exit 0\",\"begin\":\"2099-01-01T00:00:00Z\""

static struct harness harness;

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    return text ? text : "";
}

static int64_t number_of(const json_t *json, const char *key)
{
    return json_integer_value(json_object_get(json, key));
}

/* Submit as admin; the id. */
static char *submit(const char *body)
{
    json_t *json = harness_expect(&harness, 201, "POST", V1 "/jobs", body);
    char *id = strdup(text_of(json, "id"));

    json_decref(json);
    return id;
}

static json_t *get(const char *id, const char *below)
{
    CLEANUP(freep) char *path = path_format(V1 "/jobs/%s%s", id, below);

    return harness_expect(&harness, 200, "GET", path, NULL);
}

static void expect_state(const char *id, const char *below, const char *state)
{
    json_t *json = get(id, below);

    if (strcmp(text_of(json, "state"), state))
        fail_msg("job %s%s: state %s where %s was expected", id, below, text_of(json, "state"),
                 state);
    json_decref(json);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *method, *path, *body;
        bool anonymous;
        int status;
        const char *code;
    } cases[] = {
        { "GET", V1 "/jobs", NULL, true, 401, "unauthorized" },
        { "POST", V1 "/jobs", "{}", true, 401, "unauthorized" },
        { "GET", V1 "/nothing", NULL, true, 401, "unauthorized" },
        { "GET", V1 "/nothing", NULL, false, 404, "not_found" },
        { "GET", "/api/v2/jobs", NULL, false, 404, "not_found" },
        { "PUT", V1 "/jobs", NULL, false, 405, "method_not_allowed" },
        { "DELETE", V1 "/jobs", NULL, false, 400, "invalid" },
        { "DELETE", V1 "/jobs?limit=10", NULL, false, 400, "invalid" },
        { "DELETE", V1 "/jobs?state=odd", NULL, false, 400, "invalid" },
        { "DELETE", V1 "/jobs?state=live&limit=20001", NULL, false, 400, "invalid" },
        { "DELETE", V1 "/jobs?state=live&after=12", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs?order=odd", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs?since=yesterday", NULL, false, 400, "invalid" },
        { "GET", V1 "/site-session", NULL, false, 403, "forbidden" },
        { "POST", V1 "/jobs", "", false, 400, "invalid" },
        { "POST", V1 "/jobs", "[]", false, 400, "invalid" },
        { "POST", V1 "/jobs", "{\"run\":\"x\"", false, 400, "invalid" },
        { "POST", V1 "/jobs", "{\"run\":\"x\",\"run\":\"y\"}", false, 400, "invalid" },
        { "POST", V1 "/jobs", "{\"name\":\"a\\nb\",\"run\":\"x\"}", false, 400, "invalid" },
        { "POST", V1 "/jobs", "{\"run\":\"x\",\"nmae\":\"b\"}", false, 400, "invalid" },
        { "POST", V1 "/jobs", "{\"run\":\"x\",\"tasks\":-1}", false, 400, "invalid" },
        { "POST", V1 "/jobs", "{\"run\":\"x\",\"after\":[\"4711\"]}", false, 400, "invalid" },
        { "POST", V1 "/jobs", "{\"run\":\"x\",\"after\":[\"nobody\"]}", false, 400, "invalid" },
        { "POST", V1 "/jobs?dry_run=2", "{\"run\":\"x\"}", false, 400, "invalid" },
        { "POST", V1 "/jobs/batch", "", false, 400, "invalid" },
        { "POST", V1 "/jobs/batch", "{\"run\":\"x\"}\n{}", false, 400, "invalid" },
        { "GET", V1 "/jobs?limit=0", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs?limit=x", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs?after=12", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs?state=odd", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs/0", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs/-1", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs/1.2.3", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs/99999999999999999999", NULL, false, 400, "invalid" },
        { "GET", V1 "/jobs/4711", NULL, false, 404, "not_found" },
        { "GET", V1 "/jobs/4711/why", NULL, false, 404, "not_found" },
        { "GET", V1 "/jobs/4711/wait", NULL, false, 404, "not_found" },
        { "GET", V1 "/jobs/4711/logs", NULL, false, 404, "not_found" },
        { "GET", V1 "/jobs/4711/outputs", NULL, false, 404, "not_found" },
        { "GET", V1 "/jobs/4711/outputs/a", NULL, false, 404, "not_found" },
        { "DELETE", V1 "/jobs/4711", NULL, false, 404, "not_found" },
        { "POST", V1 "/nodes/here/none/cordon", NULL, false, 404, "not_found" },
        { "GET", V1 "/nodes?limit=0", NULL, false, 400, "invalid" },
        { "GET", V1 "/nodes?limit=1001", NULL, false, 400, "invalid" },
        { "GET", V1 "/nodes?after=1", NULL, false, 400, "invalid" },
        { "GET", V1 "/devices?after=0.0.x", NULL, false, 400, "invalid" },
        { "GET", V1 "/devices?after=-1.0.0", NULL, false, 400, "invalid" },
        { "GET", V1 "/devices?after=0.0.0.0", NULL, false, 400, "invalid" },
        { "POST", V1 "/sites/none/forget", NULL, false, 404, "not_found" },
        { "POST", V1 "/sites/none/readmit", NULL, false, 404, "not_found" },
        { "GET", V1 "/usage?group_by=odd", NULL, false, 400, "invalid" },
        { "GET", V1 "/usage?since=yesterday", NULL, false, 400, "invalid" },
        { "GET", V1 "/ledger/disputes?until=soon", NULL, false, 400, "invalid" },
        { "GET", V1 "/ledger/receipts?job=x", NULL, false, 400, "invalid" },
        { "GET", V1 "/ledger/receipts?job=1.", NULL, false, 400, "invalid" },
        { "GET", V1 "/ledger/receipts?limit=0", NULL, false, 400, "invalid" },
        { "GET", V1 "/events?after=-1", NULL, false, 400, "invalid" },
        { "POST", V1 "/tokens", "{}", false, 400, "invalid" },
        { "POST", V1 "/tokens", "nothing", false, 400, "invalid_json" },
        { "POST", V1 "/tokens", "{\"role\":\"king\"}", false, 400, "invalid" },
        { "POST", V1 "/tokens", "{\"role\":\"tenant\"}", false, 400, "invalid" },
        { "POST", V1 "/tokens", "{\"role\":\"tenant\",\"tenant\":\"a b\"}", false, 400, "invalid" },
        { "PUT", V1 "/tenants/a%20b", "{}", false, 400, "invalid" },
        { "PUT", V1 "/tenants/a", "{\"jobs\":1}", false, 400, "invalid" },
        { "PUT", V1 "/tenants/a", "{\"jobs_max\":-2}", false, 400, "invalid" },
        { "PUT", V1 "/tenants/a", "{\"jobs_max\":\"1\"}", false, 400, "invalid" },
        { "PUT", V1 "/tenants/a", "{\"cpus_max\":1e30}", false, 400, "invalid" },
        { "PUT", V1 "/tenants/a", "{\"weight_milli\":0}", false, 400, "invalid" },
        { "PUT", V1 "/tenants/a", "{\"guarantee_cpus\":null}", false, 400, "invalid" },
        { "PUT", V1 "/tenants/a", "{\"parent\":\"nobody\"}", false, 404, "not_found" },
        { "PUT", V1 "/policy", "{\"order\":\"lottery\"}", false, 400, "invalid" },
        { "PUT", V1 "/policy", "{\"preempt\":1}", false, 400, "invalid" },
        { "GET", V1 "/tenants?limit=0", NULL, false, 400, "invalid" },
        { "DELETE", V1 "/tokens/4711", NULL, false, 404, "not_found" },
        { "DELETE", V1 "/tokens/2", NULL, false, 409, "conflict" },
    };
    json_t *status;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer = harness_call(&harness, cases[i].anonymous ? NULL : harness.admin,
                                            cases[i].method, cases[i].path, cases[i].body, NULL);

        if (answer.status != cases[i].status || strcmp(answer_code(&answer), cases[i].code))
            fail_msg("%s %s %s: %d %s where %d %s was expected", cases[i].method, cases[i].path,
                     cases[i].body ? cases[i].body : "", answer.status, answer_code(&answer),
                     cases[i].status, cases[i].code);
        answer_fini(&answer);
    }
    status = harness_expect(&harness, 200, "GET", V1 "/journal/status", NULL);
    assert_int_equal(number_of(status, "last_seq"), 0); /* none of it changed anything */
    json_decref(status);
}

static void test_submit_list_cancel(void **state)
{
    CLEANUP(freep) char *id = submit("{\"name\":\"one\"," HELD "}");
    CLEANUP(freep) char *second = submit("{\"name\":\"two\"," HELD ",\"after\":[\"one\"]}");
    json_t *json, *page;

    (void)state;
    expect_state(id, "", "held");
    json_decref(get(id, "/why"));
    expect_state(id, "/wait?timeout_s=0", "held");
    page = harness_expect(&harness, 200, "GET", V1 "/jobs?limit=1", NULL);
    assert_int_equal(json_array_size(json_object_get(page, "jobs")), 1);
    {
        CLEANUP(freep) char *path = path_format(V1 "/jobs?after=%s", text_of(page, "next"));

        json = harness_expect(&harness, 200, "GET", path, NULL);
        assert_int_equal(json_array_size(json_object_get(json, "jobs")), 1);
        assert_true(json_is_null(json_object_get(json, "next")));
        json_decref(json);
    }
    json_decref(page);
    json = harness_expect(&harness, 200, "GET", V1 "/jobs?name=two&state=held&user=nobody", NULL);
    assert_int_equal(json_array_size(json_object_get(json, "jobs")), 0);
    json_decref(json);
    json = harness_expect(&harness, 200, "POST", V1 "/jobs?dry_run=1", "{" HELD "}");
    assert_true(json_is_null(json_object_get(json, "id")));
    json_decref(json);
    json_decref(harness_expect(&harness, 200, "POST", V1 "/plan", "{\"run\":\"x\"}"));
    for (int i = 0; i < 2; i++) { /* again is fine */
        CLEANUP(freep) char *path = path_format(V1 "/jobs/%s?reason=a%%20test", second);

        json_decref(harness_expect(&harness, 202, "DELETE", path, NULL));
        expect_state(second, "/wait", "cancelled");
    }
    json = harness_expect(&harness, 200, "GET", V1 "/jobs?all=1", NULL);
    assert_int_equal(json_array_size(json_object_get(json, "jobs")), 2);
    json_decref(json);
    json = harness_expect(&harness, 200, "GET", V1 "/jobs?state=ended", NULL);
    assert_int_equal(json_array_size(json_object_get(json, "jobs")), 1);
    json_decref(json);
    {
        CLEANUP(freep) char *path = path_format(V1 "/jobs/%s", id);

        json_decref(harness_expect(&harness, 202, "DELETE", path, NULL));
    }
}

/* Twelve jobs and an array, three a request; what is not named stays. */
static void test_cancel_many(void **state)
{
    CLEANUP(freep) char *other = submit("{\"name\":\"other\"," HELD "}");
    CLEANUP(freep) char *path = path_format(V1 "/jobs/%s", other);
    CLEANUP(freep) char *next = strdup("");
    int64_t cancelled = 0;
    int requests = 0;
    json_t *json;

    (void)state;
    for (int i = 0; i < 12; i++)
        free(submit("{\"name\":\"many\"," HELD "}"));
    free(submit("{\"name\":\"many\",\"array\":{\"range\":\"0-4\"}," HELD "}"));
    while (next && requests < 100) {
        CLEANUP(freep)
        char *query = path_format(V1 "/jobs?name=many&limit=3%s%s&reason=a%%0atest",
                                  *next ? "&after=" : "", next);

        json = harness_expect(&harness, 200, "DELETE", query, NULL);
        assert_in_range(number_of(json, "cancelled"), 0, 3);
        assert_int_equal(number_of(json, "stopping"), 0);
        cancelled += number_of(json, "cancelled");
        free(next);
        next = *text_of(json, "next") ? strdup(text_of(json, "next")) : NULL;
        requests++;
        json_decref(json);
    }
    assert_int_equal(cancelled, 17);
    assert_in_range(requests, 6, 7);
    expect_state(other, "", "held");
    json = harness_expect(&harness, 200, "DELETE", V1 "/jobs?since=2098-01-01T00:00:00Z", NULL);
    assert_int_equal(number_of(json, "cancelled"), 0);
    json_decref(json);
    json = harness_expect(&harness, 200, "GET", V1 "/jobs?all=1&name=many&state=cancelled", NULL);
    assert_int_equal(json_array_size(json_object_get(json, "jobs")), 17);
    json_decref(json);
    json_decref(harness_expect(&harness, 202, "DELETE", path, NULL));
}

/* Live and ended ones, three a page, up and down: the same jobs, each once. */
static void test_pages(void **state)
{
    static const char *const orders[] = { "oldest", "newest" };
    json_t *ids[2] = { json_array(), json_array() };

    (void)state;
    for (int i = 0; i < 10; i++) {
        CLEANUP(freep) char *id = submit("{\"name\":\"page\"," HELD "}");
        CLEANUP(freep) char *path = path_format(V1 "/jobs/%s", id);

        if (i % 3 == 0)
            json_decref(harness_expect(&harness, 202, "DELETE", path, NULL));
    }
    for (int o = 0; o < 2; o++) {
        CLEANUP(freep) char *next = strdup("");

        for (int page = 0; next && page < 20; page++) {
            CLEANUP(freep)
            char *path = path_format(V1 "/jobs?all=1&name=page&limit=3&order=%s%s%s", orders[o],
                                     *next ? "&after=" : "", next);
            json_t *json = harness_expect(&harness, 200, "GET", path, NULL);
            json_t *job;
            size_t i;

            json_array_foreach (json_object_get(json, "jobs"), i, job)
                json_array_append(ids[o], json_object_get(job, "id"));
            free(next);
            next = *text_of(json, "next") ? strdup(text_of(json, "next")) : NULL;
            json_decref(json);
        }
    }
    assert_int_equal(json_array_size(ids[0]), 10);
    assert_int_equal(json_array_size(ids[1]), 10);
    for (size_t i = 0; i < 10; i++)
        assert_true(json_equal(json_array_get(ids[0], i), json_array_get(ids[1], 9 - i)));
    json_decref(ids[0]);
    json_decref(ids[1]);
    json_decref(harness_expect(&harness, 200, "DELETE", V1 "/jobs?name=page", NULL));
}

static void test_idempotency(void **state)
{
    static const struct http_header key = { "Idempotency-Key", "the-key-1" };
    static const struct http_header bad = { "Idempotency-Key", "not visible" };
    static const char *const others[] = {
        "{" HELD "}\n",
        "{" HELD "}\n{\"name\":\"c\"," HELD "}\n",
        "{" HELD "}\n{\"name\":\"b\"," HELD "}\n{" HELD "}\n",
    };
    struct answer first, again, other;

    (void)state;
    first = harness_call(&harness, harness.admin, "POST", V1 "/jobs", "{" HELD "}", &key);
    again = harness_call(&harness, harness.admin, "POST", V1 "/jobs", "{" HELD "}", &key);
    other = harness_call(&harness, harness.admin, "POST", V1 "/jobs", "{" HELD "}", &bad);
    assert_int_equal(first.status, 201);
    assert_int_equal(again.status, 200);
    assert_int_equal(other.status, 400);
    assert_string_equal(text_of(first.json, "id"), text_of(again.json, "id"));
    answer_fini(&first);
    answer_fini(&again);
    answer_fini(&other);
    other = harness_call(&harness, harness.admin, "POST", V1 "/jobs", "{\"name\":\"b\"," HELD "}",
                         &key);
    assert_int_equal(other.status, 422);
    assert_string_equal(answer_code(&other), "key_reused");
    answer_fini(&other);
    first = harness_call(&harness, harness.admin, "POST", V1 "/jobs/batch",
                         "{" HELD "}\n{\"name\":\"b\"," HELD "}\n",
                         &(struct http_header){ "Idempotency-Key", "the-batch" });
    again = harness_call(&harness, harness.admin, "POST", V1 "/jobs/batch",
                         "{" HELD "}\n{\"name\":\"b\"," HELD "}\n",
                         &(struct http_header){ "Idempotency-Key", "the-batch" });
    assert_int_equal(first.status, 201);
    assert_int_equal(again.status, 200);
    assert_true(json_equal(first.json, again.json));
    assert_int_equal(json_array_size(json_object_get(first.json, "ids")), 2);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        other = harness_call(&harness, harness.admin, "POST", V1 "/jobs/batch", others[i],
                             &(struct http_header){ "Idempotency-Key", "the-batch" });
        assert_int_equal(other.status, 422);
        answer_fini(&other);
    }
    for (size_t i = 0; i < 2; i++) /* and nothing of the first was undone */
        expect_state(json_string_value(json_array_get(json_object_get(first.json, "ids"), i)), "",
                     "held");
    answer_fini(&first);
    answer_fini(&again);
}

/* A token of a tenant sees its own and nothing else, as if the rest were not there. */
static void test_tenants(void **state)
{
    CLEANUP(freep) char *foreign = submit("{" HELD "}");
    json_t *token = harness_expect(&harness, 201, "POST", V1 "/tokens",
                                   "{\"role\":\"tenant\",\"tenant\":\"acme\",\"note\":\"t\"}");
    static const struct {
        const char *method, *below;
    } cases[] = { { "GET", "" },      { "GET", "/why" },     { "GET", "/wait?timeout_s=0" },
                  { "GET", "/logs" }, { "GET", "/outputs" }, { "DELETE", "" } };
    struct answer answer;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP(freep) char *path = path_format(V1 "/jobs/%s%s", foreign, cases[i].below);

        answer = harness_call(&harness, text_of(token, "token"), cases[i].method, path, NULL, NULL);
        if (answer.status != 404)
            fail_msg("%s %s: another tenant got %d", cases[i].method, path, answer.status);
        answer_fini(&answer);
    }
    answer = harness_call(&harness, text_of(token, "token"), "GET", V1 "/jobs?all=1", NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(answer.json, "jobs")), 0);
    answer_fini(&answer);
    answer =
        harness_call(&harness, text_of(token, "token"), "GET", V1 "/jobs?tenant=local", NULL, NULL);
    assert_int_equal(answer.status, 403);
    answer_fini(&answer);
    answer = harness_call(&harness, text_of(token, "token"), "DELETE", V1 "/jobs?state=live", NULL,
                          NULL);
    assert_int_equal(number_of(answer.json, "cancelled"), 0);
    answer_fini(&answer);
    expect_state(foreign, "", "held");
    answer = harness_call(&harness, text_of(token, "token"), "GET", V1 "/tokens", NULL, NULL);
    assert_int_equal(answer.status, 403);
    answer_fini(&answer);
    {
        CLEANUP(freep) char *path = path_format(V1 "/tokens/%s", text_of(token, "id"));

        json_decref(harness_expect(&harness, 200, "DELETE", path, NULL));
    }
    answer = harness_call(&harness, text_of(token, "token"), "GET", V1 "/whoami", NULL, NULL);
    assert_int_equal(answer.status, 401);
    answer_fini(&answer);
    json_decref(token);
}

static json_t *expect_tenant(const char *method, const char *body, int64_t jobs, json_int_t max)
{
    json_t *json = harness_expect(&harness, 200, method, V1 "/tenants/quota", body);

    assert_int_equal(number_of(json, "jobs"), jobs);
    if (max < 0)
        assert_true(json_is_null(json_object_get(json, "jobs_max")));
    else
        assert_int_equal(number_of(json, "jobs_max"), max);
    return json;
}

/* Limits are set, hold, are kept through a restart, and go away. */
static void test_tenant_limits(void **state)
{
    json_t *token = harness_expect(&harness, 201, "POST", V1 "/tokens",
                                   "{\"role\":\"tenant\",\"tenant\":\"quota\"}");
    const char *text = text_of(token, "token");
    struct answer answer;
    json_t *json;

    (void)state;
    json_decref(expect_tenant("GET", NULL, 0, -1));
    json_decref(expect_tenant("PUT", "{\"jobs_max\":1,\"cpus_max\":8}", 0, 1));
    for (int i = 0; i < 2; i++) {
        answer = harness_call(&harness, text, "POST", V1 "/jobs", "{" HELD "}", NULL);
        assert_int_equal(answer.status, i ? 403 : 201);
        assert_string_equal(answer_code(&answer), i ? "quota_exceeded" : "");
        answer_fini(&answer);
    }
    harness_stop(&harness, SIGKILL);
    harness_start(&harness);
    json = expect_tenant("GET", NULL, 1, 1);
    assert_int_equal(number_of(json, "cpus_max"), 8);
    json_decref(json);
    json = expect_tenant("PUT", "{\"jobs_max\":null}", 1, -1);
    assert_int_equal(number_of(json, "cpus_max"), 8);
    json_decref(json);
    json = harness_expect(&harness, 200, "GET", V1 "/tenants?limit=1", NULL);
    assert_int_equal(json_array_size(json_object_get(json, "tenants")), 1);
    json_decref(json);
    json_decref(harness_expect(&harness, 200, "PUT", V1 "/tenants/whole", "{}"));
    json = expect_tenant("PUT",
                         "{\"parent\":\"whole\",\"weight_milli\":2500,\"guarantee_cpus\":2,"
                         "\"guarantee_devices_milli\":500,\"budget_micro\":7000000}",
                         1, -1);
    assert_string_equal(text_of(json, "parent"), "whole");
    assert_int_equal(number_of(json, "weight_milli"), 2500);
    assert_int_equal(number_of(json, "guarantee_cpus"), 2);
    assert_int_equal(number_of(json, "guarantee_devices_milli"), 500);
    assert_int_equal(number_of(json, "budget_micro"), 7000000);
    assert_int_equal(number_of(json, "spent_micro"), 0);
    json_decref(json);
    json = harness_expect(&harness, 200, "PUT", V1 "/policy",
                          "{\"order\":\"fifo\",\"preempt\":false}");
    assert_string_equal(text_of(json, "order"), "fifo");
    json_decref(json);
    json_decref(harness_expect(&harness, 200, "PUT", V1 "/policy",
                               "{\"order\":\"fair\",\"preempt\":true}"));
    answer = harness_call(&harness, text, "PUT", V1 "/policy", "{\"order\":\"fifo\"}", NULL);
    assert_int_equal(answer.status, 403);
    answer_fini(&answer);
    answer = harness_call(&harness, text, "PUT", V1 "/tenants/quota", "{\"jobs_max\":9}", NULL);
    assert_int_equal(answer.status, 403);
    answer_fini(&answer);
    answer = harness_call(&harness, text, "GET", V1 "/tenants/local", NULL, NULL);
    assert_int_equal(answer.status, 404);
    answer_fini(&answer);
    answer = harness_call(&harness, text, "GET", V1 "/tenants", NULL, NULL);
    json = json_object_get(answer.json, "tenants");
    assert_int_equal(json_array_size(json), 1);
    assert_string_equal(text_of(json_array_get(json, 0), "name"), "quota");
    answer_fini(&answer);
    json_decref(harness_expect(&harness, 200, "DELETE", V1 "/jobs?tenant=quota", NULL));
    json_decref(token);
}

static bool file_holds(const char *name, const char *text)
{
    CLEANUP(freep) char *path = path_format("%s/%s", harness.dir, name);
    CLEANUP(buf_fini) struct buf bytes = buf_init((size_t)64 << 20);

    if (file_read(path, &bytes, NULL) < 0)
        return false;
    return memmem(bytes.data, bytes.len, text, strlen(text)) != NULL;
}

static void test_secrets(void **state)
{
    static const char *const files[] = { "journal.db", "journal.db-wal", "history.db",
                                         "history.db-wal", "tokens.json" };
    CLEANUP(freep)
    char *id = submit("{\"name\":\"withsecret\"," HELD
                      ",\"secrets\":{\"KEY\":{\"value\":\"s3cr3t-v4lue\"}}}");
    CLEANUP(freep) char *path = path_format(V1 "/jobs/%s", id);
    struct answer answer = harness_call(&harness, harness.admin, "GET", path, NULL, NULL);

    (void)state;
    assert_null(strstr(answer.body.data, "s3cr3t"));
    assert_null(strstr(answer.body.data, "sealed"));
    answer_fini(&answer);
    json_decref(harness_expect(&harness, 202, "DELETE", path, NULL));
    expect_state(id, "/wait", "cancelled");
    answer = harness_call(&harness, harness.admin, "GET", path, NULL, NULL);
    assert_null(strstr(answer.body.data, "s3cr3t"));
    assert_null(strstr(answer.body.data, "sealed"));
    answer_fini(&answer);
    assert_true(file_holds("journal.db", "withsecret") ||
                file_holds("journal.db-wal", "withsecret"));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (file_holds(files[i], "s3cr3t"))
            fail_msg("%s holds a secret in clear", files[i]);
}

static void test_reads(void **state)
{
    static const char *const paths[] = {
        V1 "/sites",
        V1 "/nodes",
        V1 "/devices",
        V1 "/usage",
        V1 "/usage?group_by=day",
        V1 "/ledger/disputes",
        V1 "/ledger/disputes?site=here&since=2026-01-01",
        V1 "/ledger/receipts",
        V1 "/ledger/receipts?job=12.3&site=here&limit=5",
        V1 "/version",
        V1 "/whoami",
        V1 "/journal/status",
        V1 "/tokens",
        V1 "/openapi.yaml",
        "/metrics",
        "/healthz",
        "/readyz",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        json_decref(harness_expect(&harness, 200, "GET", paths[i], NULL));
}

/* --- with a site --------------------------------------------------------------------------------
 */

static void test_jobs_run(void **state)
{
    CLEANUP(freep) char *good = NULL, *bad = NULL, *array = NULL, *path = NULL, *logs = NULL;
    struct answer answer;
    json_t *json;

    (void)state;
    harness_start_agent(&harness);
    good = submit("{\"name\":\"good\",\"run\":\"exit 0\"}");
    bad = submit("{\"name\":\"bad\",\"run\":\"exit 3\"}");
    array = submit("{\"name\":\"arr\",\"run\":\"exit 0\",\"array\":{\"range\":\"0-4\"}}");
    expect_state(good, "/wait", "done");
    expect_state(bad, "/wait", "failed");
    expect_state(array, "/wait", "done");
    json = get(bad, "");
    assert_int_equal(number_of(json, "exit_code"), 3);
    assert_int_equal(json_array_size(json_object_get(json, "attempts")), 1);
    assert_int_equal(number_of(json_object_get(json, "usage"), "cpu_ms"), 7);
    json_decref(json);
    path = path_format(V1 "/jobs?array=%s&all=1&limit=3", array);
    json = harness_expect(&harness, 200, "GET", path, NULL);
    assert_int_equal(json_array_size(json_object_get(json, "jobs")), 3);
    json_decref(json);
    logs = path_format(V1 "/jobs/%s/logs?offset=5&follow=1", good);
    answer = harness_call(&harness, harness.admin, "GET", logs, NULL, NULL);
    assert_string_equal(answer.body.data, "one\nline two\n");
    answer_fini(&answer);
    free(logs);
    logs = path_format(V1 "/jobs/%s/logs?offset=-4", good);
    answer = harness_call(&harness, harness.admin, "GET", logs, NULL, NULL);
    assert_string_equal(answer.body.data, "two\n");
    answer_fini(&answer);
    json = harness_expect(&harness, 200, "GET", V1 "/usage?group_by=job", NULL);
    assert_int_equal(number_of(json_object_get(json, "total"), "attempts"), 7);
    assert_string_equal(text_of(json_array_get(json_object_get(json, "rows"), 1), "name"), "bad");
    json_decref(json);
    json_decref(harness_expect(&harness, 200, "POST", V1 "/plan", "{\"run\":\"x\"}"));
    json = harness_expect(&harness, 422, "POST", V1 "/jobs", "{\"run\":\"x\",\"sandbox\":false}");
    assert_string_equal(text_of(json_object_get(json, "error"), "field"), "sandbox");
    json_decref(json);
    test_reads(NULL);
}

static void test_cancel_running(void **state)
{
    CLEANUP(freep) char *id = submit("{\"run\":\"sleep\",\"resources\":{\"devices\":1}}");
    CLEANUP(freep) char *path = path_format(V1 "/jobs/%s", id);
    json_t *json;

    (void)state;
    for (int i = 0; i < 4000; i++) { /* running is reported, not promised */
        json = get(id, "");
        if (!strcmp(text_of(json, "state"), "running"))
            break;
        json_decref(json);
        json = NULL;
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    assert_non_null(json);
    assert_true(json_is_object(json_object_get(json, "allocation")));
    json_decref(json);
    json_decref(harness_expect(&harness, 202, "DELETE", path, NULL));
    expect_state(id, "/wait", "cancelled");
}

static void test_cordon(void **state)
{
    json_t *json;

    (void)state;
    json_decref(
        harness_expect(&harness, 200, "POST", V1 "/nodes/here/node-1/cordon?reason=dust", NULL));
    json = harness_expect(&harness, 200, "GET", V1 "/nodes", NULL);
    assert_string_equal(text_of(json_array_get(json_object_get(json, "nodes"), 0), "state"),
                        "cordoned");
    json_decref(json);
    json_decref(harness_expect(&harness, 200, "POST", V1 "/nodes/here/node-1/uncordon", NULL));
}

/* --- kill -9, resume, and a disk that is full
 * ----------------------------------------------------- */

struct stream {
    struct buf text;
    const char *until;
};

static int on_stream(void *context, const char *data, size_t len)
{
    struct stream *stream = context;

    buf_add(&stream->text, data, len);
    return strstr(stream->text.data, stream->until) != NULL;
}

/* The events after `after`, until one holds `until`. */
static void read_events(int64_t after, const char *until, struct buf *out)
{
    CLEANUP(freep) char *url = path_format("%s" V1 "/events?after=%" PRId64, harness.url, after);
    struct stream stream = { .text = buf_init((size_t)16 << 20), .until = until };
    struct http_call call = {
        .method = "GET", .url = url, .bearer = harness.admin, .timeout_ms = 20000
    };
    struct http_answer answer = { 0 };
    struct http_easy *easy = http_easy_create();

    http_easy_call(easy, &call, on_stream, &stream, &answer);
    http_answer_fini(&answer);
    http_easy_destroy(easy);
    if (!stream.text.data || !strstr(stream.text.data, until))
        fail_msg("the events end before %s: %.1000s", until,
                 stream.text.data ? stream.text.data : "");
    *out = stream.text;
}

static void test_kill_and_resume(void **state)
{
    CLEANUP(freep) char *before = submit("{\"name\":\"survivor\"," HELD "}");
    CLEANUP(freep) char *running = submit("{\"name\":\"runner\",\"run\":\"sleep\"}");
    CLEANUP(freep) char *path = path_format(V1 "/jobs/%s", running);
    struct buf first, resumed;
    json_t *json, *ended;
    char *tail;

    (void)state;
    ended = harness_expect(&harness, 200, "GET", V1 "/jobs?state=ended", NULL);
    read_events(0, "\"survivor\"", &first);
    harness_stop_agent(&harness);
    harness_stop(&harness, SIGKILL);
    harness_start(&harness);
    expect_state(before, "", "held");
    json = harness_expect(&harness, 200, "GET", V1 "/jobs?state=ended", NULL);
    assert_true(json_equal(json, ended));
    json_decref(json);
    json_decref(ended);
    /* From the journal: what the ring of the process before told is told again, alike. */
    read_events(0, "\"survivor\"", &resumed);
    tail = strstr(first.data, "id: ");
    assert_non_null(tail);
    assert_memory_equal(tail, strstr(resumed.data, "id: "), strlen(tail));
    buf_fini(&first);
    buf_fini(&resumed);
    /* The agent of before the kill comes back and is told again what it owes. */
    harness_start_agent(&harness);
    json_decref(harness_expect(&harness, 202, "DELETE", path, NULL));
    expect_state(running, "/wait", "cancelled");
    harness_stop(&harness, SIGTERM);
    harness_start(&harness);
    expect_state(before, "", "held");
    expect_state(running, "", "cancelled");
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit limit = { .rlim_cur = bytes, .rlim_max = RLIM_INFINITY };

    assert_int_equal(prlimit(harness.controller, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* No file may grow: as on a full disk. Nothing is promised, reads go on, and it heals by itself. */
static void test_unwritable_journal(void **state)
{
    CLEANUP(freep) char *before = submit("{\"name\":\"before\"," HELD "}");
    struct answer answer;
    int status = 0;

    (void)state;
    set_file_limit(1);
    answer = harness_call(&harness, harness.admin, "POST", V1 "/jobs", "{" HELD "}",
                          &(struct http_header){ "Idempotency-Key", "full-disk" });
    assert_int_equal(answer.status, 503);
    assert_string_equal(answer_code(&answer), "journal_unwritable");
    answer_fini(&answer);
    answer = harness_call(&harness, NULL, "GET", "/readyz", NULL, NULL);
    assert_int_equal(answer.status, 503);
    answer_fini(&answer);
    expect_state(before, "", "held");
    set_file_limit(RLIM_INFINITY);
    for (int i = 0; i < 1000 && status != 200; i++) {
        answer = harness_call(&harness, NULL, "GET", "/readyz", NULL, NULL);
        status = answer.status;
        answer_fini(&answer);
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
    assert_int_equal(status, 200);
    /* What was in flight is recorded now: the key finds it. */
    answer = harness_call(&harness, harness.admin, "POST", V1 "/jobs", "{" HELD "}",
                          &(struct http_header){ "Idempotency-Key", "full-disk" });
    assert_int_equal(answer.status, 200);
    answer_fini(&answer);
}

static int setup(void **state)
{
    (void)state;
    harness_init(&harness);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    harness_fini(&harness);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_submit_list_cancel),
        cmocka_unit_test(test_cancel_many),     cmocka_unit_test(test_pages),
        cmocka_unit_test(test_idempotency),     cmocka_unit_test(test_tenants),
        cmocka_unit_test(test_tenant_limits),   cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_reads),           cmocka_unit_test(test_jobs_run),
        cmocka_unit_test(test_cancel_running),  cmocka_unit_test(test_cordon),
        cmocka_unit_test(test_kill_and_resume), cmocka_unit_test(test_unwritable_journal),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
