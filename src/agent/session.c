#include "agent/session.h"

#include "agent/membership.h"
#include "agent/transfer.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "net/http_client.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POST_BYTES_MAX (512u << 10)
#define POST_TIMEOUT_MS 30000
#define SMALL_BYTES_MAX 65536
#define TOKEN_BYTES_MAX 256
#define URL_BYTES_MAX 1024
#define PATH_STREAM "/api/v1/site-session"
#define PATH_REPORTS "/api/v1/site-session/reports"

enum session_state { SESSION_PAUSED, SESSION_GREETING, SESSION_OPEN };

struct session {
    struct session_config config;
    struct http_client *client;
    enum session_state state;
    uint64_t number;
    char base_url[URL_BYTES_MAX], token[TOKEN_BYTES_MAX];
    char pin[CA_PIN_BYTES];        /* of the controller's TLS key; "" = plain */
    struct membership *membership; /* NULL: the local site, that has a token */
    uint32_t tries;
    struct http_pending *stream, *post;
    struct buf queue;  /* whole lines not yet sent */
    size_t on_its_way; /* bytes at the front of `queue` that the running POST carries */
    struct buf line;   /* of the stream, unfinished */
    uv_timer_t timer;
    int64_t pause_ms;
    int64_t sent_ms, acked_ms; /* CLOCK_BOOTTIME */
    int64_t patience_ms;
    struct rng rng;
    bool quiet; /* the failure was logged; say no more until it works again */
    bool held;
};

static void begin(uv_timer_t *timer);

static void break_off(struct session *session, const char *why)
{
    int64_t pause;

    if (session->stream)
        http_pending_cancel(session->stream);
    if (session->post)
        http_pending_cancel(session->post);
    session->stream = session->post = NULL;
    buf_clear(&session->queue);
    buf_clear(&session->line);
    session->on_its_way = 0;
    session->acked_ms = 0;
    if (!session->quiet)
        log_warn("no session with the controller: %s", why);
    session->quiet = true;
    if (session->state == SESSION_OPEN)
        session->config.closed(session->config.context);
    session->state = SESSION_PAUSED;
    pause = session->pause_ms / 2 + (int64_t)rng_below(&session->rng, (uint64_t)session->pause_ms);
    session->pause_ms = MIN(session->pause_ms * 2, SESSION_PAUSE_MS_MAX);
    if (!session->held)
        uv_timer_start(&session->timer, begin, (uint64_t)pause, 0);
}

void session_hold(struct session *session, bool holds)
{
    if (session->held == holds)
        return;
    session->held = holds;
    if (!holds) {
        session->pause_ms = SESSION_PAUSE_MS_MIN;
        uv_timer_start(&session->timer, begin, 0, 0);
        return;
    }
    uv_timer_stop(&session->timer);
    session->quiet = true; /* as planned */
    if (session->state != SESSION_PAUSED)
        break_off(session, "its contact is over");
}

/* ---- reports ---- */

static void on_posted(void *context, const struct http_answer *answer)
{
    struct session *session = context;
    char why[320];
    bool full = session->queue.len >= SESSION_BACKLOG_BYTES;

    session->post = NULL;
    if (answer->status != 200) {
        snprintf(why, sizeof(why), "reports were answered %d %.200s", answer->status,
                 answer->status ? (answer->body.data ? answer->body.data : "") : answer->error);
        break_off(session, why);
        return;
    }
    buf_consume(&session->queue, session->on_its_way);
    session->on_its_way = 0;
    session->acked_ms = session->sent_ms;
    session->config.acked(session->config.context);
    if (full && session->queue.len < SESSION_BACKLOG_BYTES)
        session->config.drained(session->config.context);
    session_flush(session);
}

static void identify(const struct session *session, struct http_call *call)
{
    const struct membership *membership = session->membership;

    call->pin_sha256 = session->pin[0] ? session->pin : NULL;
    if (membership) {
        call->client_cert_pem = membership->cert_pem;
        call->client_key_pem = membership->key_pem;
    } else {
        call->bearer = session->token;
    }
}

static int post(struct session *session, const char *url, const void *body, size_t len,
                http_done_fn done, struct err *err)
{
    struct http_call call = { .method = "POST",
                              .url = url,
                              .content_type = "application/x-ndjson",
                              .body = body,
                              .body_len = len,
                              .timeout_ms = POST_TIMEOUT_MS };

    if (session->patience_ms && len <= SMALL_BYTES_MAX)
        call.timeout_ms = MIN(call.timeout_ms, session->patience_ms);
    identify(session, &call);
    session->sent_ms = clock_boot_ms(); /* before it is: what holds from then on ends too soon */
    return http_client_call(session->client, &call, NULL, done, session, &session->post, err);
}

void session_flush(struct session *session)
{
    char url[URL_BYTES_MAX + 256];
    struct err err = { 0 };
    size_t len = session->queue.len;

    if (session->state != SESSION_OPEN || session->post || len == 0)
        return;
    if (len > POST_BYTES_MAX) {
        /* Whole lines; a longer one goes alone. */
        const char *end = memrchr(session->queue.data, '\n', POST_BYTES_MAX);

        if (!end)
            end = memchr(session->queue.data, '\n', len);
        len = (size_t)(end + 1 - session->queue.data);
    }
    snprintf(url, sizeof(url), "%s" PATH_REPORTS "?site=%s&session=%" PRIu64, session->base_url,
             session->config.site, session->number);
    session->on_its_way = len;
    if (post(session, url, session->queue.data, len, on_posted, &err) < 0)
        break_off(session, err.text);
}

void session_report(struct session *session, const struct wire_report *report)
{
    int rc;

    if (session->state != SESSION_OPEN)
        return;
    rc = wire_report_print(report, &session->queue);
    if (rc == 0)
        return;
    /* Never lose one silently: begin again, everything is told anew. */
    log_error("a report could not be queued: %s", strerror(-rc));
    session->queue.failed = false;
    if (rc != -EINVAL)
        break_off(session, "too many reports wait");
}

void session_link(const struct session *session, struct transfer_link *link_out)
{
    const struct membership *membership = session->membership;
    struct transfer_link link = {
        .url = (char *)(uintptr_t)session->base_url,
        .bearer = membership ? NULL : (char *)(uintptr_t)session->token,
        .pin = session->pin[0] ? (char *)(uintptr_t)session->pin : NULL,
        .cert_pem = membership ? membership->cert_pem : NULL,
        .key_pem = membership ? membership->key_pem : NULL,
    };

    *link_out = (struct transfer_link){ .url = NULL };
    if (session->state == SESSION_OPEN)
        transfer_link_copy(&link, link_out);
}

int64_t session_acked_ms(const struct session *session)
{
    return session->acked_ms;
}

int64_t session_sent_ms(const struct session *session)
{
    return session->sent_ms;
}

void session_set_patience(struct session *session, int64_t patience_ms)
{
    session->patience_ms = patience_ms;
}

bool session_is_open(const struct session *session)
{
    return session->state == SESSION_OPEN;
}

size_t session_backlog(const struct session *session)
{
    return session->queue.len;
}

/* ---- commands ---- */

static void take_line(struct session *session, const char *line, size_t len)
{
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
    struct wire_command command;
    struct err err = { 0 };
    int rc = wire_command_parse(line, len, &arena, &command, &err);

    if (rc == 0)
        session->config.command(session->config.context, &command);
    else if (rc != -ENOTSUP)
        log_error("a command of the controller makes no sense: %s", err.text);
    arena_fini(&arena);
}

static void on_stream_data(void *context, const char *data, size_t len)
{
    struct session *session = context;

    while (len && session->state == SESSION_OPEN) {
        const char *end = memchr(data, '\n', len);
        size_t part = end ? (size_t)(end - data) : len;

        if (end && session->line.len == 0) {
            take_line(session, data, part);
        } else {
            if (buf_add(&session->line, data, part) < 0) {
                break_off(session, "a command is too long");
                return;
            }
            if (end) {
                struct buf line = session->line;

                /* The command may break the session off, and with it this buffer. */
                session->line = buf_init(WIRE_LINE_BYTES_MAX);
                take_line(session, line.data, line.len);
                buf_fini(&line);
            }
        }
        data += part + (end != NULL);
        len -= part + (end != NULL);
    }
    session_flush(session);
}

static void on_stream_done(void *context, const struct http_answer *answer)
{
    struct session *session = context;
    char why[320];

    session->stream = NULL;
    if (answer->status == 0 || answer->status == 200)
        snprintf(why, sizeof(why), "its stream ended%s%.200s", answer->error[0] ? ": " : "",
                 answer->error);
    else
        snprintf(why, sizeof(why), "its stream was answered %d", answer->status);
    break_off(session, why);
}

static void on_greeted(void *context, const struct http_answer *answer)
{
    struct session *session = context;
    char url[URL_BYTES_MAX + 256], why[320];
    struct http_call call = { .method = "GET",
                              .url = url,
                              .silence_timeout_ms = WIRE_SILENCE_MS_MAX };
    json_t *root = NULL;
    json_t *number;
    struct err err = { 0 };

    session->post = NULL;
    if (answer->status == 200)
        root = json_loadb(answer->body.data ? answer->body.data : "", answer->body.len, 0, NULL);
    number = json_object_get(root, "session");
    if (!json_is_integer(number)) {
        snprintf(why, sizeof(why), "HELLO was answered %d %.200s", answer->status,
                 answer->status ? (answer->body.data ? answer->body.data : "") : answer->error);
        json_decref(root);
        break_off(session, why);
        return;
    }
    session->number = (uint64_t)json_integer_value(number);
    session->acked_ms = session->sent_ms;
    json_decref(root);
    snprintf(url, sizeof(url), "%s" PATH_STREAM "?site=%s&incarnation=%" PRIu64 "&session=%" PRIu64,
             session->base_url, session->config.site, session->config.incarnation, session->number);
    session->state = SESSION_OPEN;
    identify(session, &call);
    if (http_client_call(session->client, &call, on_stream_data, on_stream_done, session,
                         &session->stream, &err) < 0) {
        break_off(session, err.text);
        return;
    }
    session->pause_ms = SESSION_PAUSE_MS_MIN;
    session->quiet = false;
    log_info("session %" PRIu64 " with %s", session->number, session->base_url);
}

/* ---- dialling ---- */

static int read_endpoint(struct session *session, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/endpoint.json", session->config.state_dir);
    CLEANUP(buf_fini) struct buf text = buf_init(65536);
    json_t *root;
    const char *url, *pin;
    int rc;

    session->pin[0] = '\0';
    if (session->membership) {
        const struct membership *membership = session->membership;

        snprintf(session->base_url, sizeof(session->base_url), "%s",
                 membership->urls[session->tries++ % membership->urls_count]);
        snprintf(session->pin, sizeof(session->pin), "%s", membership->pin);
        return 0;
    }
    if (session->config.controller_url) {
        snprintf(session->base_url, sizeof(session->base_url), "%s",
                 session->config.controller_url);
        return 0;
    }
    if (!path)
        return err_set(err, -ENOMEM, "endpoint: out of memory");
    rc = file_read(path, &text, err);
    if (rc < 0)
        return rc;
    root = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
    url = json_string_value(json_object_get(root, "url"));
    if (url)
        snprintf(session->base_url, sizeof(session->base_url), "%s", url);
    pin = json_string_value(json_object_get(root, "pin"));
    if (pin)
        snprintf(session->pin, sizeof(session->pin), "%s", pin);
    json_decref(root);
    return url ? 0 : err_set(err, -EBADMSG, "%s: names no url", path);
}

static int read_token(struct session *session, struct err *err)
{
    CLEANUP(freep)
    char *path = session->config.token_file
                     ? strdup(session->config.token_file)
                     : path_format("%s/site.token", session->config.state_dir);
    CLEANUP(buf_fini) struct buf text = buf_init(TOKEN_BYTES_MAX - 1);
    int rc;

    if (!path)
        return err_set(err, -ENOMEM, "token: out of memory");
    rc = file_read(path, &text, err);
    if (rc < 0)
        return rc;
    snprintf(session->token, sizeof(session->token), "%s", text.data ? text.data : "");
    session->token[strcspn(session->token, " \r\n")] = '\0';
    return 0;
}

static int greet(struct session *session, struct err *err)
{
    CLEANUP(buf_fini) struct buf line = buf_init(WIRE_LINE_BYTES_MAX);
    struct wire_report report = { .type = REPORT_HELLO,
                                  .incarnation = session->config.incarnation };
    char url[URL_BYTES_MAX + 256];
    size_t len;
    int rc;

    membership_free(TAKE(session->membership));
    rc = membership_load(session->config.state_dir, &session->membership, err);
    if (rc == -ENOENT)
        rc = 0;
    if (rc == 0)
        rc = read_endpoint(session, err);
    if (rc == 0 && !session->membership)
        rc = read_token(session, err);
    if (rc < 0)
        return rc;
    len = strlen(session->base_url);
    while (len && session->base_url[len - 1] == '/')
        session->base_url[--len] = '\0';
    session->config.hello(session->config.context, &report);
    rc = wire_report_print(&report, &line);
    if (rc < 0)
        return err_set(err, rc, "HELLO: %s", strerror(-rc));
    snprintf(url, sizeof(url), "%s" PATH_REPORTS "?site=%s", session->base_url,
             session->config.site);
    return post(session, url, line.data, line.len, on_greeted, err);
}

static void begin(uv_timer_t *timer)
{
    struct session *session = timer->data;
    struct err err = { 0 };

    session->state = SESSION_GREETING;
    if (greet(session, &err) < 0)
        break_off(session, err.text);
}

int session_create(const struct session_config *config, struct session **session_out,
                   struct err *err)
{
    struct session *session = calloc(1, sizeof(*session));
    int rc;

    if (!session)
        return err_set(err, -ENOMEM, "session: out of memory");
    session->config = *config;
    session->pause_ms = SESSION_PAUSE_MS_MIN;
    session->queue = buf_init(SESSION_QUEUE_BYTES_MAX);
    session->line = buf_init(WIRE_LINE_BYTES_MAX);
    random_bytes(&session->rng.state, sizeof(session->rng.state));
    rc = http_client_create(config->loop, &session->client, err);
    if (rc < 0) {
        free(session);
        return rc;
    }
    uv_timer_init(config->loop, &session->timer);
    session->timer.data = session;
    uv_timer_start(&session->timer, begin, 0, 0);
    *session_out = session;
    return 0;
}

static void free_session(uv_handle_t *handle)
{
    struct session *session = handle->data;

    buf_fini(&session->queue);
    buf_fini(&session->line);
    membership_free(session->membership);
    free(session);
}

void session_destroy(struct session *session)
{
    if (!session)
        return;
    http_client_destroy(session->client);
    session->state = SESSION_PAUSED;
    uv_close((uv_handle_t *)&session->timer, free_session);
}
