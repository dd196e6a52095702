#include "http_fixture.h"

#include <poll.h>

#define TEXT_BYTES (256u << 10)

static char text[TEXT_BYTES];

/* Requests as they come over the wire, and how the answer begins; "" = closed without one. */
static const struct {
    const char *request;
    size_t len; /* 0 = strlen */
    const char *answer;
    const char *holds; /* NULL = anything */
} raw_cases[] = {
    { "\x16\x03\x01\x02\x00\r\n\r\n", 9, "", NULL },
    { "GET\r\n\r\n", 0, "", NULL },
    { "nonsense here\r\n\r\n", 0, "HTTP/1.", NULL },
    { "GET / HTTP/9.9\r\n\r\n", 0, "HTTP/1.1 505", NULL },
    { "GET / HTTP/1.1\r\n\r\n", 0, "HTTP/1.1 400", NULL }, /* no Host */
    { "get / HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 400", "malformed" },
    { "VERYLONGMETHODNAME / HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 400", "malformed" },
    { "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 400", "malformed" },
    { "GET /a%0d%0ab HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 400", "malformed" },
    { "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 30, "HTTP/1.1 400", "malformed" },
    { "GET /a\x01z HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 400", "malformed" },
    { "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 400", "malformed" },
    { "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 400", "malformed" },
    { "GET /a?q=%zz HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 400", "malformed" },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 0, "HTTP/1.1 400", NULL },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 0, "HTTP/1.1 400", NULL },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 0,
      "HTTP/1.1 413", NULL },
    /* 1 GB declared: refused from the head alone. */
    { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n", 0, "HTTP/1.1 413",
      "too_large" },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: "
      "1073741824\r\n\r\n",
      0, "HTTP/1.1 413", "too_large" },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
      0, "HTTP/1.1 400", "both" },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 0, "HTTP/1.1 501",
      NULL },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 0,
      "HTTP/1.1 400", NULL },
    /* And what is welcome. */
    { "GET /echo?q=1 HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 200", "GET /echo q=1" },
    { "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 200", "X-Peer: 127.0.0.1" },
    { "GET http://a/echo HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 200", "GET /echo q=-" },
    { "HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 200", "Content-Length: 25" },
    { "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n", 0, "HTTP/1.1 200", NULL },
    { "GET /echo HTTP/1.0\r\n\r\n", 0, "HTTP/1.1 200", "GET /echo" },
    { "GET /stream HTTP/1.0\r\n\r\n", 0, "HTTP/1.1 200", "chunk 2\n" },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 0, "HTTP/1.1 200",
      " 3:abc" },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
      0, "HTTP/1.1 200", " 5:abcde" },
    { "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", 0,
      "HTTP/1.1 100", " 1:x" },
    { "DELETE /echo HTTP/1.1\r\nHost: a\r\nAuthorization: bearer  t\r\n\r\n", 0, "HTTP/1.1 200",
      "bearer=t" },
    { "GET /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /echo?q=second HTTP/1.1\r\nHost: a\r\n\r\n", 0,
      "HTTP/1.1 200", "q=second" },
};

static void test_raw(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_start(&fixture, NULL);
    for (size_t i = 0; i < ARRAY_COUNT(raw_cases); i++) {
        size_t len = raw_cases[i].len ? raw_cases[i].len : strlen(raw_cases[i].request);
        int fd = fixture_connect(&fixture);

        fixture_talk(fd, raw_cases[i].request, len, text, TEXT_BYTES,
                     raw_cases[i].holds ? raw_cases[i].holds : "\r\n\r\n");
        if (strncmp(text, raw_cases[i].answer, strlen(raw_cases[i].answer)) != 0 ||
            (!raw_cases[i].answer[0] && text[0]) ||
            (raw_cases[i].holds && !strstr(text, raw_cases[i].holds)))
            fail_msg("case %zu: \"%s\"", i, text);
        close(fd);
    }
    assert_int_equal(fixture.gone, 0);
    fixture_stop(&fixture);
}

/* What is too long is refused long before it has been read. */
static void test_bombs(void **state)
{
    static const struct {
        const char *head, *part, *answer;
    } cases[] = {
        { "GET /", "aaaaaaaaaaaaaaaa", "HTTP/1.1 414" },
        { "GET / HTTP/1.1\r\nHost: a\r\nX: ", "aaaaaaaaaaaaaaaa", "HTTP/1.1 431" },
        { "GET / HTTP/1.1\r\nHost: a\r\n", "A: b\r\n", "HTTP/1.1 431" },
        { "GET / HTTP/1.1\r\nHost: a\r\nCookie: ", "a=b; ", "HTTP/1.1 431" },
    };
    struct fixture fixture;

    (void)state;
    fixture_start(&fixture, NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        CLEANUP(buf_fini) struct buf request = buf_init(8u << 20);
        int fd = fixture_connect(&fixture);

        buf_add_text(&request, cases[i].head);
        while (request.len < (64u << 10))
            buf_add_text(&request, cases[i].part);
        fixture_talk(fd, request.data, request.len, text, TEXT_BYTES, "\r\n\r\n");
        /* The answer may be lost when the rest of the bomb meets a closed socket. */
        if (text[0] && strncmp(text, cases[i].answer, strlen(cases[i].answer)) != 0)
            fail_msg("case %zu: \"%.80s\"", i, text);
        close(fd);
    }
    assert_int_equal(fixture.handled, 0);
    fixture_stop(&fixture);
}

/* A chunked body has no length to refuse: it is cut off some way past the limit. */
static void test_chunked_over_limit(void **state)
{
    static const struct {
        size_t bytes;
        const char *answer;
    } cases[] = {
        { HTTP_BODY_BYTES_MAX, "HTTP/1.1 200" },
        { HTTP_BODY_BYTES_MAX + 1, "HTTP/1.1 413" },
        { 12 * (size_t)HTTP_BODY_BYTES_MAX, "" },
    };
    struct fixture fixture;

    (void)state;
    fixture_start(&fixture, NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        CLEANUP(buf_fini) struct buf request = buf_init(16u << 20);
        int fd = fixture_connect(&fixture);

        buf_printf(&request,
                   "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
                   cases[i].bytes);
        buf_reserve(&request, cases[i].bytes);
        memset(request.data + request.len, 'x', cases[i].bytes);
        request.len += cases[i].bytes;
        buf_add_text(&request, "\r\n0\r\n\r\n");
        fixture_talk(fd, request.data, request.len, text, TEXT_BYTES, "\r\n\r\n");
        if (strncmp(text, cases[i].answer, strlen(cases[i].answer)) != 0 ||
            (!cases[i].answer[0] && text[0]))
            fail_msg("case %zu: \"%.80s\"", i, text);
        close(fd);
    }
    assert_int_equal(fixture.handled, 1);
    fixture_stop(&fixture);
}

static size_t small_bodies(void *context, const struct http_request *request)
{
    (void)context;
    return strcmp(http_request_path(request), "/big") == 0 ? 100 : 0;
}

static void test_body_max(void **state)
{
    struct http_server_config config = { .body_max = small_bodies };
    struct fixture fixture;
    static const struct {
        const char *path;
        int bytes;
        const char *answer;
    } cases[] = {
        { "/x", 1, "HTTP/1.1 413" },
        { "/big", 101, "HTTP/1.1 413" },
        { "/x", 0, "HTTP/1.1 200" },
        { "/big", 100, "HTTP/1.1 200" },
    };

    (void)state;
    fixture_start(&fixture, &config);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char request[400];
        int fd = fixture_connect(&fixture);
        int len =
            snprintf(request, sizeof(request),
                     "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%.*s", cases[i].path,
                     cases[i].bytes, cases[i].bytes,
                     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");

        fixture_talk(fd, request, (size_t)len, text, TEXT_BYTES, "\r\n\r\n");
        if (strncmp(text, cases[i].answer, strlen(cases[i].answer)) != 0)
            fail_msg("case %zu: \"%.80s\"", i, text);
        close(fd);
    }
    fixture_stop(&fixture);
}

/* A client that leaves while its request is kept, or in the middle of a stream, is told of once:
 * whether it left before or after we began to watch it. */
static void test_gone(void **state)
{
    static const char never[] = "GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char follow[] = "GET /follow HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char post[] = "POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    struct fixture fixture;
    int fds[6];

    (void)state;
    fixture_start(&fixture, NULL);
    for (int i = 0; i < 6; i++)
        fds[i] = fixture_connect(&fixture);
    send(fds[0], never, sizeof(never) - 1, 0);
    send(fds[1], never, sizeof(never) - 1, 0);
    fixture_talk(fds[2], follow, sizeof(follow) - 1, text, TEXT_BYTES, "tick 3");
    fixture_talk(fds[3], follow, sizeof(follow) - 1, text, TEXT_BYTES, "tick 3");
    send(fds[4], post, sizeof(post) - 1, 0); /* leaves before its body is whole: never handled */
    send(fds[5], never, sizeof(never) - 1, 0);
    fixture_expect(&fixture.kept, 5);
    close(fds[0]);
    close(fds[2]);
    close(fds[4]);
    fixture_expect(&fixture.gone, 2);
    usleep(300000); /* the others are watched by now */
    close(fds[1]);
    close(fds[3]);
    fixture_expect(&fixture.gone, 4);
    assert_int_equal(fixture.handled, 5);
    assert_int_equal(fixture.kept, 1);
    /* The last one is told by the stop. */
    fixture_stop(&fixture);
    assert_int_equal(fixture.gone, 5);
    assert_int_equal(fixture.kept, 0);
    close(fds[5]);
}

/* Answers of kept requests go to those who wait for them, also on one connection in turn. */
static void test_later(void **state)
{
    static const char later[] = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n";
    struct fixture fixture;
    int fds[50];

    (void)state;
    fixture_start(&fixture, NULL);
    for (int i = 0; i < 50; i++)
        fds[i] = fixture_connect(&fixture);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++)
            send(fds[i], later, sizeof(later) - 1, 0);
        for (int i = 0; i < 50; i++) {
            fixture_talk(fds[i], "", 0, text, TEXT_BYTES, "late");
            assert_non_null(strstr(text, "\r\n\r\nlate"));
        }
    }
    assert_int_equal(fixture.handled, 150);
    assert_int_equal(fixture.gone, 0);
    for (int i = 0; i < 50; i++)
        close(fds[i]);
    fixture_stop(&fixture);
}

/* A reader that never reads: the stream is refused more bytes at its limit, not buffered on. */
static void test_slow_reader(void **state)
{
    static const char flood[] = "GET /flood HTTP/1.1\r\nHost: a\r\n\r\n";
    struct fixture fixture;
    int fd;

    (void)state;
    fixture_start(&fixture, NULL);
    fd = fixture_connect(&fixture);
    send(fd, flood, sizeof(flood) - 1, 0);
    fixture_expect(&fixture.handled, 1);
    fixture_stop(&fixture);
    assert_in_range(fixture.flooded, HTTP_STREAM_BACKLOG_BYTES_MAX - 65536,
                    HTTP_STREAM_BACKLOG_BYTES_MAX);
    assert_int_equal(fixture.gone, 0); /* ended by its handler */
    close(fd);
}

/* Silence, and bytes that trickle, both end; a kept request may take as long as it likes. */
static void test_timeouts(void **state)
{
    static const char half[] = "GET /echo HTTP/1.1\r\nHost";
    static const char never[] = "GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_server_config config = { .idle_timeout_s = 3 };
    struct fixture fixture;
    int silent, trickle, kept;
    bool open = true;

    (void)state;
    fixture_start(&fixture, &config);
    silent = fixture_connect(&fixture);
    trickle = fixture_connect(&fixture);
    kept = fixture_connect(&fixture);
    send(silent, half, sizeof(half) - 1, 0);
    send(kept, never, sizeof(never) - 1, 0);
    send(trickle, half, sizeof(half) - 1, 0);
    for (int i = 0; i < 400 && open; i++) {
        struct pollfd wait = { .fd = trickle, .events = POLLIN | POLLRDHUP };

        open = send(trickle, "x", 1, MSG_NOSIGNAL) == 1 && poll(&wait, 1, 50) == 0;
    }
    assert_false(open);
    assert_int_equal(recv(silent, text, 100, MSG_DONTWAIT), 0);
    assert_int_equal(recv(kept, text, 100, MSG_DONTWAIT), -1);
    assert_int_equal(fixture.gone, 0);
    fixture_stop(&fixture);
    close(silent);
    close(trickle);
    close(kept);
}

static void test_connections_max(void **state)
{
    static const char echo[] = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_server_config config = { .connections_max = 4 };
    struct fixture fixture;
    struct pollfd wait = { .events = POLLIN };
    int fds[5];

    (void)state;
    fixture_start(&fixture, &config);
    for (int i = 0; i < 5; i++) {
        fds[i] = fixture_connect(&fixture); /* the kernel takes it into its queue */
        send(fds[i], echo, sizeof(echo) - 1, 0);
        if (i < 4)
            fixture_talk(fds[i], "", 0, text, TEXT_BYTES, "\r\n\r\n");
    }
    wait.fd = fds[4];
    assert_int_equal(poll(&wait, 1, 100), 0);
    assert_int_equal(fixture.handled, 4);
    /* Its turn comes when another leaves. */
    close(fds[0]);
    fixture_talk(fds[4], "", 0, text, TEXT_BYTES, "\r\n\r\n");
    assert_int_equal(strncmp(text, "HTTP/1.1 200", 12), 0);
    for (int i = 1; i < 5; i++)
        close(fds[i]);
    fixture_stop(&fixture);
}

static void test_start_refusals(void **state)
{
    static const struct {
        const char *address, *cert, *key;
        int rc;
        const char *says;
    } cases[] = {
        { NULL, NULL, NULL, -EINVAL, "IP address" },
        { "localhost", NULL, NULL, -EINVAL, "IP address" },
        { "127.0.0.1:80", NULL, NULL, -EINVAL, "IP address" },
        { "0.0.0.0", NULL, NULL, -EPERM, "loopback" },
        { "::", NULL, NULL, -EPERM, "loopback" },
        { "192.0.2.1", NULL, NULL, -EPERM, "certificate" },
        { "::ffff:192.0.2.1", NULL, NULL, -EPERM, "loopback" },
        { "127.0.0.1", "x", NULL, -EINVAL, "key" },
        { "127.0.0.1", NULL, "x", -EINVAL, "certificate" },
        { "127.0.0.1", "not pem", "not pem", -EINVAL, "TLS certificate" },
    };
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct http_server_config config = { .address = cases[i].address,
                                             .cert_pem = cases[i].cert,
                                             .key_pem = cases[i].key,
                                             .handle = fixture_handle };
        struct http_server *server = NULL;
        struct err err = { 0 };
        int rc = http_server_start(&loop, &config, &server, &err);

        if (rc != cases[i].rc || server || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: rc %d, \"%s\"", i, rc, err.text);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_port_in_use(void **state)
{
    struct fixture fixture;
    struct http_server_config config = { .address = "127.0.0.1", .handle = fixture_handle };
    struct http_server *server = NULL;
    struct err err;
    uv_loop_t loop;

    (void)state;
    fixture_start(&fixture, NULL);
    uv_loop_init(&loop);
    config.port = fixture.port;
    assert_int_equal(http_server_start(&loop, &config, &server, &err), -EADDRINUSE);
    assert_int_equal(uv_loop_close(&loop), 0);
    fixture_stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_refusals),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_chunked_over_limit),
        cmocka_unit_test(test_body_max),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_connections_max),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
