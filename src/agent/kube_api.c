#include "agent/kube_api.h"

#include "agent/kube_text.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/http_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utlist.h>

#define TOKEN_AGE_MS 60000
#define STATUS_TOO_MANY 429
#define URL_BYTES 4096

struct kube_stream {
    struct kube_api *api;
    struct http_pending *pending;
    kube_data_fn data;
    kube_done_fn done;
    void *context;
    uv_timer_t failed; /* runs when it could not begin */
    char said[200];
    struct kube_stream *prev, *next;
};

struct kube_api {
    struct kube_access access;
    uv_loop_t loop;
    struct http_client *http;
    int epoll_fd, timer_fd;
    int64_t token_ms; /* when it was read, monotonic */
    bool turning;     /* inside the loop */
    bool closing;
    struct kube_stream *streams; /* all calls under way */
};

static void end_stream(struct kube_stream *stream);

/* ---- the loop in the loop ---- */

/* When the loop wants its next turn. */
static void arm(struct kube_api *api)
{
    int wait_ms = uv_backend_timeout(&api->loop);
    struct itimerspec when = { 0 };

    if (wait_ms >= 0) {
        when.it_value.tv_sec = wait_ms / 1000;
        when.it_value.tv_nsec = (long)(wait_ms % 1000) * 1000000 + 1; /* 0 would disarm it */
    }
    timerfd_settime(api->timer_fd, 0, &when, NULL);
}

/* Something was begun from outside: the loop has to take it up. */
static void kick(struct kube_api *api)
{
    const struct itimerspec now = { .it_value.tv_nsec = 1 };

    if (!api->turning)
        timerfd_settime(api->timer_fd, 0, &now, NULL);
}

void kube_api_pump(struct kube_api *api)
{
    uint64_t count;

    if (read(api->timer_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        log_warn("timerfd: %s", strerror(errno));
    api->turning = true;
    uv_run(&api->loop, UV_RUN_NOWAIT);
    api->turning = false;
    arm(api);
}

void kube_api_run(struct kube_api *api, const bool *done, int64_t timeout_ms)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    struct epoll_event event;

    kube_api_pump(api);
    while (!*done && clock_mono_ms() < until) {
        epoll_wait(api->epoll_fd, &event, 1, (int)MIN(until - clock_mono_ms() + 1, 1000));
        kube_api_pump(api);
    }
}

static int add_fd(struct kube_api *api, int fd, struct err *err)
{
    struct epoll_event event = { .events = EPOLLIN };

    if (epoll_ctl(api->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return err_set(err, -errno, "epoll: %s", strerror(errno));
    return 0;
}

int kube_api_create(struct kube_access *access, struct kube_api **api_out, struct err *err)
{
    struct kube_api *api = calloc(1, sizeof(*api));
    int rc;

    if (!api)
        return err_set(err, -ENOMEM, "kubernetes: out of memory");
    rc = uv_loop_init(&api->loop);
    if (rc < 0) {
        free(api);
        return err_set(err, rc, "loop: %s", uv_strerror(rc));
    }
    api->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    api->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (api->timer_fd < 0 || api->epoll_fd < 0)
        rc = err_set(err, -errno, "kubernetes: %s", strerror(errno));
    if (rc == 0)
        rc = add_fd(api, api->timer_fd, err);
    if (rc == 0)
        rc = add_fd(api, uv_backend_fd(&api->loop), err);
    if (rc == 0)
        rc = http_client_create(&api->loop, &api->http, err);
    if (rc < 0) {
        kube_api_destroy(api);
        return rc;
    }
    api->access = *access;
    memset(access, 0, sizeof(*access));
    api->token_ms = clock_mono_ms();
    *api_out = api;
    return 0;
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void kube_api_destroy(struct kube_api *api)
{
    static const struct kube_answer none = { .text = "", .said = "the agent stops" };
    struct kube_stream *stream, *next;

    if (!api)
        return;
    api->closing = true;
    DL_FOREACH_SAFE (api->streams, stream, next) {
        if (stream->pending)
            http_pending_cancel(stream->pending);
        stream->done(stream->context, &none);
        end_stream(stream);
    }
    http_client_destroy(api->http);
    uv_run(&api->loop, UV_RUN_NOWAIT);
    uv_walk(&api->loop, close_handle, NULL);
    while (uv_run(&api->loop, UV_RUN_DEFAULT) != 0)
        ;
    uv_loop_close(&api->loop);
    if (api->timer_fd >= 0)
        close(api->timer_fd);
    if (api->epoll_fd >= 0)
        close(api->epoll_fd);
    kube_access_fini(&api->access);
    free(api);
}

const char *kube_api_server(const struct kube_api *api)
{
    return api->access.server;
}

const char *kube_api_namespace(const struct kube_api *api)
{
    return api->access.namespace[0] ? api->access.namespace : "default";
}

uv_loop_t *kube_api_loop(struct kube_api *api)
{
    return &api->loop;
}

int kube_api_fd(const struct kube_api *api)
{
    return api->epoll_fd;
}

/* ---- answers ---- */

bool kube_answer_is_passing(const struct kube_answer *answer)
{
    return answer->status == 0 || answer->status == 401 || answer->status == 408 ||
           answer->status == STATUS_TOO_MANY || answer->status >= 500;
}

int64_t kube_api_pause(uint32_t failures, const struct kube_answer *answer)
{
    int64_t pause = (int64_t)KUBE_PAUSE_MS_MIN << MIN(failures ? failures - 1 : 0, 8u);

    pause = MIN(pause, KUBE_PAUSE_MS_MAX);
    pause += clock_mono_us() % (pause / 4 + 1);
    return MAX(pause, MIN(answer->retry_after_ms, KUBE_PAUSE_MS_MAX));
}

void kube_answer_say(int status, const json_t *json, const char *text, char *out, size_t out_bytes)
{
    const char *message = json_string_value(json_object_get(json, "message"));
    char clean[160];

    kube_text_clean(message ? message : text, clean, sizeof(clean));
    snprintf(out, out_bytes, "%s%s(%d)", clean, clean[0] ? " " : "no word of it ", status);
}

static void fill_answer(const struct http_answer *http, struct kube_answer *answer)
{
    const json_t *json = answer->json;
    const char *reason = json_string_value(json_object_get(json, "reason"));

    answer->status = http->status;
    answer->retry_after_ms = http->retry_after_ms;
    if (http->status == 0)
        snprintf(answer->said, sizeof(answer->said), "%s", http->error);
    else if (http->status < 200 || http->status > 299)
        kube_answer_say(http->status, json, answer->text, answer->said, sizeof(answer->said));
    if (reason && json_string_value(json_object_get(json, "message")))
        kube_text_clean(reason, answer->reason, sizeof(answer->reason));
}

static void free_stream(uv_handle_t *handle)
{
    free(handle->data);
}

static void end_stream(struct kube_stream *stream)
{
    DL_DELETE(stream->api->streams, stream);
    uv_close((uv_handle_t *)&stream->failed, free_stream);
}

static void on_done(void *context, const struct http_answer *http)
{
    struct kube_stream *stream = context;
    struct kube_api *api = stream->api;
    struct kube_answer answer = { .text = http->body.data ? http->body.data : "",
                                  .len = http->body.len };
    json_t *json = NULL;

    if (http->body.len && strncmp(http->content_type, "application/json", 16) == 0)
        json = json_loadb(http->body.data, http->body.len, JSON_REJECT_DUPLICATES, NULL);
    answer.json = json;
    fill_answer(http, &answer);
    if (http->status == 401)
        api->token_ms = clock_mono_ms() - TOKEN_AGE_MS;
    stream->pending = NULL;
    stream->done(stream->context, &answer);
    json_decref(json);
    end_stream(stream);
}

static void on_data(void *context, const char *data, size_t len)
{
    struct kube_stream *stream = context;

    stream->data(stream->context, data, len);
}

static void on_failed(uv_timer_t *timer)
{
    struct kube_stream *stream = timer->data;
    struct kube_answer answer = { .text = "" };

    snprintf(answer.said, sizeof(answer.said), "%s", stream->said);
    stream->done(stream->context, &answer);
    end_stream(stream);
}

/* ---- calls ---- */

static void renew_token(struct kube_api *api)
{
    struct err err;

    if (!api->access.token_path || clock_mono_ms() - api->token_ms < TOKEN_AGE_MS)
        return;
    api->token_ms = clock_mono_ms();
    if (kube_access_renew(&api->access, &err) < 0)
        log_warn("%s", err.text);
}

static struct kube_stream *begin(struct kube_api *api, struct http_call *call, const char *path,
                                 kube_data_fn data, kube_done_fn done, void *context)
{
    static const struct http_header headers[] = { { "Accept", "application/json, */*" } };
    struct kube_stream *stream = calloc(1, sizeof(*stream));
    char url[URL_BYTES];
    struct err err = { "the address is too long", "" };
    int rc = -E2BIG;

    if (!stream || api->closing) {
        free(stream);
        return NULL;
    }
    renew_token(api);
    stream->api = api;
    stream->data = data;
    stream->done = done;
    stream->context = context;
    uv_timer_init(&api->loop, &stream->failed);
    stream->failed.data = stream;
    DL_APPEND(api->streams, stream);
    call->bearer = api->access.token;
    call->ca_pem = api->access.ca_pem;
    call->client_cert_pem = api->access.cert_pem;
    call->client_key_pem = api->access.key_pem;
    call->answer_bytes_max = KUBE_ANSWER_BYTES_MAX;
    call->headers = headers;
    call->headers_count = ARRAY_COUNT(headers);
    if (snprintf(url, sizeof(url), "%s%s", api->access.server, path) < (int)sizeof(url)) {
        call->url = url;
        rc = http_client_call(api->http, call, data ? on_data : NULL, on_done, stream,
                              &stream->pending, &err);
    }
    if (rc < 0) {
        snprintf(stream->said, sizeof(stream->said), "%.199s", err.text);
        uv_timer_start(&stream->failed, on_failed, 0, 0);
    }
    kick(api);
    return stream;
}

void kube_api_call(struct kube_api *api, const char *method, const char *path, const json_t *body,
                   kube_done_fn done, void *context)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct http_call call = { .method = method,
                              .content_type = !body ? NULL
                                              : strcmp(method, "PATCH") == 0
                                                  ? "application/merge-patch+json"
                                                  : "application/json",
                              .body = text,
                              .body_len = text ? strlen(text) : 0,
                              .timeout_ms = KUBE_TIMEOUT_MS };
    struct kube_answer none = { .text = "", .said = "out of memory" };

    if ((body && !text) || !begin(api, &call, path, NULL, done, context))
        done(context, &none);
    if (text) { /* it may hold secrets */
        explicit_bzero(text, strlen(text));
        free(text);
    }
}

struct kube_stream *kube_api_stream(struct kube_api *api, const char *path, int64_t silence_ms,
                                    kube_data_fn data, kube_done_fn done, void *context)
{
    struct http_call call = { .method = "GET", .silence_timeout_ms = silence_ms };

    return begin(api, &call, path, data, done, context);
}

void kube_stream_cancel(struct kube_stream *stream)
{
    if (stream->pending)
        http_pending_cancel(stream->pending);
    uv_timer_stop(&stream->failed);
    if (!uv_is_closing((uv_handle_t *)&stream->failed))
        end_stream(stream);
}
