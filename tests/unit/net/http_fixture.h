/* http_fixture.h - a server in a thread of its own, with routes that each show one behaviour:
 *
 *   /echo        what came in, as JSON-free text: method, path, query, body
 *   /later       kept, answered after 20 ms
 *   /never       kept for ever
 *   /stream?n=K  K chunks of "chunk I\n", then the end
 *   /follow      a chunk each 10 ms, for ever
 *   /flood       pushes until the backlog is full, then ends
 *   /empty       204
 */
#pragma once

#include "base/clock.h"
#include "net/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct http_server_config config;
    uv_loop_t loop;
    struct http_server *server;
    uint16_t port;
    pthread_t thread;
    uv_async_t stop;
    sem_t ready;
    int start_rc;
    struct err err;
    _Atomic int handled, gone, kept;
    _Atomic long flooded;
};

struct fixture_wait {
    struct fixture *fixture;
    struct http_request *request;
    uv_timer_t timer;
    int count;
};

static inline void fixture_free_timer(uv_handle_t *handle)
{
    free(handle->data);
}

static inline void fixture_wait_end(struct fixture_wait *wait)
{
    http_request_set_user(wait->request, NULL);
    uv_close((uv_handle_t *)&wait->timer, fixture_free_timer);
}

static inline void fixture_on_later(uv_timer_t *timer)
{
    struct fixture_wait *wait = timer->data;
    struct http_request *request = wait->request;

    wait->fixture->kept--;
    fixture_wait_end(wait);
    http_reply(request, 200, "text/plain", "late", 4, NULL, 0);
}

static inline void fixture_on_follow(uv_timer_t *timer)
{
    struct fixture_wait *wait = timer->data;
    char text[32];
    int len = snprintf(text, sizeof(text), "tick %d\n", wait->count++);

    if (http_stream_push(wait->request, text, (size_t)len) < 0) {
        struct http_request *request = wait->request;

        fixture_wait_end(wait);
        http_stream_end(request);
    }
}

static inline void fixture_wait_begin(struct fixture *fixture, struct http_request *request,
                                      uv_timer_cb call, uint64_t first_ms, uint64_t repeat_ms)
{
    struct fixture_wait *wait = calloc(1, sizeof(*wait));

    wait->fixture = fixture;
    wait->request = request;
    wait->timer.data = wait;
    uv_timer_init(&fixture->loop, &wait->timer);
    uv_timer_start(&wait->timer, call, first_ms, repeat_ms);
    http_request_set_user(request, wait);
}

static inline void fixture_stream(struct http_request *request)
{
    const char *count = http_request_query(request, "n");
    long n = count ? strtol(count, NULL, 10) : 3;

    http_stream_begin(request, 200, "text/plain", NULL, 0);
    for (long i = 0; i < n; i++) {
        char text[32];
        int len = snprintf(text, sizeof(text), "chunk %ld\n", i);

        http_stream_push(request, text, (size_t)len);
    }
    http_stream_end(request);
}

static inline void fixture_flood(struct fixture *fixture, struct http_request *request)
{
    static const char block[65536];

    http_stream_begin(request, 200, NULL, NULL, 0);
    while (http_stream_push(request, block, sizeof(block)) == 0)
        fixture->flooded += (long)sizeof(block);
    http_stream_end(request);
}

static inline void fixture_echo(struct http_request *request)
{
    CLEANUP(buf_fini) struct buf out = buf_init(16u << 20);
    const char *query = http_request_query(request, "q");
    const char *bearer = http_request_bearer(request);
    size_t len;
    const char *body = http_request_body(request, &len);
    struct http_header header = { "X-Peer", http_request_peer(request) };

    buf_printf(&out, "%s %s q=%s bearer=%s %zu:", http_request_method(request),
               http_request_path(request), query ? query : "-", bearer ? bearer : "-", len);
    buf_add(&out, body, len);
    http_reply(request, 200, "text/plain", out.data, out.len, &header, 1);
}

static inline void fixture_handle(void *context, struct http_request *request)
{
    struct fixture *fixture = context;
    const char *path = http_request_path(request);

    fixture->handled++;
    if (strcmp(path, "/later") == 0) {
        fixture->kept++;
        fixture_wait_begin(fixture, request, fixture_on_later, 20, 0);
    } else if (strcmp(path, "/never") == 0) {
        fixture->kept++;
    } else if (strcmp(path, "/follow") == 0) {
        http_stream_begin(request, 200, "text/plain", NULL, 0);
        fixture->kept++;
        fixture_wait_begin(fixture, request, fixture_on_follow, 0, 10);
    } else if (strcmp(path, "/stream") == 0) {
        fixture_stream(request);
    } else if (strcmp(path, "/flood") == 0) {
        fixture_flood(fixture, request);
    } else if (strcmp(path, "/empty") == 0) {
        http_reply(request, 204, NULL, NULL, 0, NULL, 0);
    } else {
        fixture_echo(request);
    }
}

static inline void fixture_gone(void *context, struct http_request *request)
{
    struct fixture *fixture = context;
    struct fixture_wait *wait = http_request_user(request);

    fixture->gone++;
    fixture->kept--;
    if (wait)
        fixture_wait_end(wait);
}

static inline void fixture_on_stop(uv_async_t *async)
{
    struct fixture *fixture = async->data;

    if (fixture->server)
        http_server_stop(fixture->server);
    fixture->server = NULL;
    uv_close((uv_handle_t *)async, NULL);
}

static inline void *fixture_run(void *context)
{
    struct fixture *fixture = context;

    uv_loop_init(&fixture->loop);
    uv_async_init(&fixture->loop, &fixture->stop, fixture_on_stop);
    fixture->stop.data = fixture;
    fixture->start_rc =
        http_server_start(&fixture->loop, &fixture->config, &fixture->server, &fixture->err);
    if (fixture->start_rc == 0)
        fixture->port = http_server_port(fixture->server);
    sem_post(&fixture->ready);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    return NULL;
}

/* `config` NULL = plain on loopback; its handlers are set here. */
static inline void fixture_start(struct fixture *fixture, const struct http_server_config *config)
{
    memset(fixture, 0, sizeof(*fixture));
    if (config)
        fixture->config = *config;
    if (!fixture->config.address)
        fixture->config.address = "127.0.0.1";
    fixture->config.handle = fixture_handle;
    fixture->config.gone = fixture_gone;
    fixture->config.context = fixture;
    sem_init(&fixture->ready, 0, 0);
    pthread_create(&fixture->thread, NULL, fixture_run, fixture);
    sem_wait(&fixture->ready);
    if (fixture->start_rc != 0)
        fail_msg("server: %s", fixture->err.text);
}

static inline void fixture_stop(struct fixture *fixture)
{
    uv_async_send(&fixture->stop);
    pthread_join(fixture->thread, NULL);
    sem_destroy(&fixture->ready);
}

/* Wait until *value is `wanted`, for at most 20 s: whether it ever is, not how soon. */
static inline void fixture_expect(_Atomic int *value, int wanted)
{
    int64_t end = clock_mono_ms() + 20000;

    while (*value != wanted && clock_mono_ms() < end)
        usleep(2000);
    assert_int_equal(*value, wanted);
}

static inline int fixture_connect(const struct fixture *fixture)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(fixture->port) };
    struct timeval limit = { .tv_sec = 20 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

/* Send bytes and read until `until` was seen, the other end closed, or 20 s of silence. */
static inline size_t fixture_talk(int fd, const char *bytes, size_t len, char *out,
                                  size_t out_bytes, const char *until)
{
    size_t got = 0;

    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

        if (sent <= 0)
            break;
        bytes += sent;
        len -= (size_t)sent;
    }
    out[0] = '\0';
    while (got < out_bytes - 1) {
        ssize_t n = recv(fd, out + got, out_bytes - 1 - got, 0);

        if (n <= 0)
            break;
        got += (size_t)n;
        out[got] = '\0';
        if (until && strstr(out, until))
            break;
    }
    return got;
}
