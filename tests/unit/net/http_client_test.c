#include "http_fixture.h"

#include "net/http_client.h"

static struct fixture fixture;

static char *url(char *out, const char *path)
{
    snprintf(out, 200, "http://127.0.0.1:%u%s", fixture.port, path);
    return out;
}

static int setup(void **state)
{
    (void)state;
    fixture_start(&fixture, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(&fixture);
    return 0;
}

/* What can be refused is refused before a byte is sent. */
static void test_refusals(void **state)
{
    static const struct {
        const char *method, *url, *bearer, *header;
        int rc;
    } cases[] = {
        { "GET", "ftp://127.0.0.1/", NULL, NULL, -EINVAL },
        { "GET", "no url", NULL, NULL, -EINVAL },
        { "GET", "", NULL, NULL, -EINVAL },
        { "get", "http://127.0.0.1/", NULL, NULL, -EINVAL },
        { "GET /x", "http://127.0.0.1/", NULL, NULL, -EINVAL },
        { "GET", "http://127.0.0.1/", "a\r\nX: y", NULL, -EINVAL },
        { "GET", "http://127.0.0.1/", "", NULL, -EINVAL },
        { "GET", "http://127.0.0.1/", NULL, "v\nX: y", -EINVAL },
        /* Port 1 of loopback: nobody listens. */
        { "GET", "http://127.0.0.1:1/", NULL, NULL, -ECONNREFUSED },
    };
    struct http_easy *easy = http_easy_create();

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct http_header header = { "X-Test", cases[i].header };
        struct http_call call = { .method = cases[i].method,
                                  .url = cases[i].url,
                                  .bearer = cases[i].bearer,
                                  .headers = &header,
                                  .headers_count = cases[i].header != NULL };
        struct http_answer answer;
        int rc = http_easy_call(easy, &call, NULL, NULL, &answer);

        if (rc != cases[i].rc || answer.status != 0 || !answer.error[0])
            fail_msg("case %zu: rc %d, status %d, \"%s\"", i, rc, answer.status, answer.error);
        http_answer_fini(&answer);
    }
    http_easy_destroy(easy);
}

static void test_easy(void **state)
{
    static const struct {
        const char *method, *path, *body, *answer;
        int status;
    } cases[] = {
        { "GET", "/echo?q=a%20b", NULL, "GET /echo q=a b bearer=tok 0:", 200 },
        { "POST", "/echo", "hello", "POST /echo q=- bearer=tok 5:hello", 200 },
        { "POST", "/echo", NULL, "POST /echo q=- bearer=tok 0:", 200 },
        { "DELETE", "/a%2Fb", NULL, "DELETE /a/b q=- bearer=tok 0:", 200 },
        { "PUT", "/echo", "x", "PUT /echo q=- bearer=tok 1:x", 200 },
        { "HEAD", "/echo", NULL, "", 200 },
        { "GET", "/later", NULL, "late", 200 },
        { "GET", "/empty", NULL, "", 204 },
        { "GET", "/stream?n=3", NULL, "chunk 0\nchunk 1\nchunk 2\n", 200 },
        { "GET", "/stream?n=0", NULL, "", 200 },
    };
    struct http_easy *easy = http_easy_create();

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[200];
        struct http_call call = { .method = cases[i].method,
                                  .url = url(text, cases[i].path),
                                  .bearer = "tok",
                                  .body = cases[i].body,
                                  .body_len = cases[i].body ? strlen(cases[i].body) : 0 };
        struct http_answer answer;
        int rc = http_easy_call(easy, &call, NULL, NULL, &answer);

        if (rc != 0 || answer.status != cases[i].status ||
            strcmp(answer.body.data ? answer.body.data : "", cases[i].answer) != 0)
            fail_msg("%s %s: rc %d, status %d, \"%s\" %s", cases[i].method, cases[i].path, rc,
                     answer.status, answer.body.data, answer.error);
        http_answer_fini(&answer);
    }
    http_easy_destroy(easy);
}

static int stop_after_three(void *context, const char *data, size_t len)
{
    int *lines = context;

    for (size_t i = 0; i < len; i++)
        *lines += data[i] == '\n';
    return *lines >= 3;
}

static int never_stop(void *context, const char *data, size_t len)
{
    (void)data;
    *(size_t *)context += len;
    return 0;
}

static void test_easy_limits(void **state)
{
    struct http_easy *easy = http_easy_create();
    struct http_answer answer;
    struct http_call call = { .method = "GET" };
    char text[200];
    int lines = 0;
    size_t bytes = 0;

    (void)state;
    /* A stream ended by its reader is no failure, and its server is told. */
    call.url = url(text, "/follow");
    assert_int_equal(http_easy_call(easy, &call, stop_after_three, &lines, &answer), 0);
    assert_int_equal(answer.status, 200);
    http_answer_fini(&answer);
    fixture_expect(&fixture.gone, 1);

    call.url = url(text, "/never");
    call.timeout_ms = 100;
    assert_int_equal(http_easy_call(easy, &call, NULL, NULL, &answer), -ETIMEDOUT);
    assert_int_equal(answer.status, 0);
    http_answer_fini(&answer);
    fixture_expect(&fixture.gone, 2);

    call.timeout_ms = 0;
    call.silence_timeout_ms = 100;
    assert_int_equal(http_easy_call(easy, &call, NULL, NULL, &answer), -ETIMEDOUT);
    http_answer_fini(&answer);
    fixture_expect(&fixture.gone, 3);

    call.silence_timeout_ms = 0;
    call.url = url(text, "/stream?n=1000");
    call.answer_bytes_max = 100;
    assert_int_equal(http_easy_call(easy, &call, NULL, NULL, &answer), -EIO);
    assert_int_equal(answer.status, 0);
    assert_non_null(strstr(answer.error, "larger than 100 bytes"));
    http_answer_fini(&answer);

    /* All that the server could push before its backlog was full arrives. */
    call.url = url(text, "/flood");
    assert_int_equal(http_easy_call(easy, &call, never_stop, &bytes, &answer), 0);
    assert_int_equal(bytes, fixture.flooded);
    assert_in_range(bytes, HTTP_STREAM_BACKLOG_BYTES_MAX - 65536, HTTP_STREAM_BACKLOG_BYTES_MAX);
    http_answer_fini(&answer);
    http_easy_destroy(easy);
}

/* In a loop. */

struct many {
    uv_loop_t loop;
    struct http_client *client;
    struct http_pending *pendings[64];
    int done, failed, data_bytes;
    int destroy_at; /* destroy the client in the n-th `done`; 0 = never */
    bool again;     /* one more call from inside `done` */
};

static void on_data(void *context, const char *data, size_t len)
{
    struct many *many = context;

    (void)data;
    many->data_bytes += (int)len;
}

static void many_call(struct many *many, const char *path, int index, http_data_fn data,
                      http_done_fn done)
{
    char text[200];
    struct http_call call = {
        .method = "POST", .url = url(text, path), .body = "b", .body_len = 1
    };
    struct err err;

    if (http_client_call(many->client, &call, data, done, many, &many->pendings[index], &err) < 0)
        fail_msg("%s", err.text);
}

static void on_done(void *context, const struct http_answer *answer)
{
    struct many *many = context;

    many->done++;
    many->failed += answer->status != 200;
    if (many->again) {
        many->again = false;
        many_call(many, "/echo", 63, NULL, on_done);
    }
    if (many->done == many->destroy_at)
        http_client_destroy(many->client);
}

static void many_init(struct many *many)
{
    struct err err;

    memset(many, 0, sizeof(*many));
    uv_loop_init(&many->loop);
    assert_int_equal(http_client_create(&many->loop, &many->client, &err), 0);
}

static void many_fini(struct many *many)
{
    uv_run(&many->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&many->loop), 0);
}

static void test_client_many(void **state)
{
    struct many many;

    (void)state;
    many_init(&many);
    many.again = true;
    for (int i = 0; i < 40; i++)
        many_call(&many, i % 2 ? "/later" : "/echo", i, NULL, on_done);
    assert_int_equal(many.done, 0);
    while (many.done < 41 && uv_run(&many.loop, UV_RUN_ONCE))
        ;
    assert_int_equal(many.done, 41);
    assert_int_equal(many.failed, 0);
    http_client_destroy(many.client);
    many_fini(&many);
}

static void on_data_cancel(void *context, const char *data, size_t len)
{
    struct many *many = context;

    on_data(context, data, len);
    if (many->data_bytes > 20 && many->pendings[0]) {
        http_pending_cancel(many->pendings[0]);
        many->pendings[0] = NULL;
        /* A call from inside libcurl's callback is carried out after it. */
        many_call(many, "/later", 1, NULL, on_done);
    }
}

static void test_client_cancel(void **state)
{
    struct many many;
    int gone = fixture.gone;

    (void)state;
    many_init(&many);
    many_call(&many, "/follow", 0, on_data_cancel, on_done);
    many_call(&many, "/never", 2, NULL, on_done);
    while (many.done < 1 && uv_run(&many.loop, UV_RUN_ONCE))
        ;
    assert_int_equal(many.failed, 0);
    http_pending_cancel(many.pendings[2]);
    assert_int_equal(many.done, 1);
    http_client_destroy(many.client);
    many_fini(&many);
    assert_int_equal(many.done, 1);
    fixture_expect(&fixture.gone, gone + 2);
}

static void test_client_destroy(void **state)
{
    struct many many;
    int gone = fixture.gone;

    (void)state;
    many_init(&many);
    many.destroy_at = 1;
    many_call(&many, "/follow", 0, on_data, on_done);
    many_call(&many, "/never", 1, NULL, on_done);
    many_call(&many, "/later", 2, NULL, on_done);
    many_fini(&many);
    assert_int_equal(many.done, 1);
    fixture_expect(&fixture.gone, gone + 2);
}

static void test_client_failures(void **state)
{
    struct many many;
    struct http_call call = { .method = "GET", .url = "http://127.0.0.1:1/" };
    struct http_call silent = { .method = "GET", .silence_timeout_ms = 60 };
    struct http_call bad = { .method = "GET", .url = "http://127.0.0.1:1/", .bearer = "\n" };
    struct err err;
    char text[200];

    (void)state;
    many_init(&many);
    silent.url = url(text, "/never");
    assert_int_equal(http_client_call(many.client, &bad, NULL, on_done, &many, NULL, &err),
                     -EINVAL);
    assert_int_equal(http_client_call(many.client, &call, NULL, on_done, &many, NULL, &err), 0);
    assert_int_equal(http_client_call(many.client, &silent, NULL, on_done, &many, NULL, &err), 0);
    while (many.done < 2 && uv_run(&many.loop, UV_RUN_ONCE))
        ;
    assert_int_equal(many.failed, 2);
    http_client_destroy(many.client);
    many_fini(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_easy),
        cmocka_unit_test(test_easy_limits),     cmocka_unit_test(test_client_many),
        cmocka_unit_test(test_client_cancel),   cmocka_unit_test(test_client_destroy),
        cmocka_unit_test(test_client_failures),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
