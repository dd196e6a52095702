#include "net/http_client.h"

#include "base/clock.h"
#include "net/http_curl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define CONNECTIONS_KEPT_MAX 16L
#define SILENCE_CHECK_MS 250

enum pending_state {
    PENDING_WAITING, /* called from inside libcurl: it is given over when that has returned */
    PENDING_RUNNING,
    PENDING_CANCELLED /* from inside libcurl: likewise */
};

struct http_pending {
    struct http_client *client;
    TAILQ_ENTRY(http_pending) node;
    enum pending_state state;
    bool added; /* to the multi handle */
    struct http_transfer transfer;
    CURL *curl;
    http_data_fn on_data;
    http_done_fn done;
    void *context;
    char body[]; /* the call's */
};

struct http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;         /* libcurl's */
    uv_timer_t silence_timer; /* runs while a call has a silence limit */
    uint32_t handles_open;
    uint32_t depth; /* inside libcurl or `done`: neither may be pulled from under them */
    bool in_curl;
    bool destroyed;
    bool has_deferred; /* a pending is WAITING or CANCELLED */
    TAILQ_HEAD(, http_pending) pendings;
};

/* One socket of libcurl's in the loop. */
struct client_socket {
    struct http_client *client;
    uv_poll_t poll;
    curl_socket_t fd;
};

static void pending_free(struct http_pending *pending)
{
    TAILQ_REMOVE(&pending->client->pendings, pending, node);
    if (pending->added)
        curl_multi_remove_handle(pending->client->multi, pending->curl);
    curl_easy_cleanup(pending->curl);
    http_transfer_fini(&pending->transfer);
    http_answer_fini(&pending->transfer.answer);
    free(pending);
}

static void pending_add(struct http_pending *pending)
{
    pending->state = PENDING_RUNNING;
    pending->added = true;
    curl_multi_add_handle(pending->client->multi, pending->curl);
}

static void on_closed(uv_handle_t *handle)
{
    struct http_client *client = handle->data;

    if (--client->handles_open == 0)
        free(client);
}

static void client_free(struct http_client *client)
{
    struct http_pending *pending;

    while ((pending = TAILQ_FIRST(&client->pendings)) != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it takes itself out of the list */
        pending_free(pending);
    curl_multi_cleanup(client->multi); /* closes the kept connections: on_socket is called */
    curl_global_cleanup();
    uv_close((uv_handle_t *)&client->timer, on_closed);
    uv_close((uv_handle_t *)&client->silence_timer, on_closed);
}

static void curl_enter(struct http_client *client)
{
    client->depth++;
    client->in_curl = true;
}

static void report_done(struct http_client *client)
{
    CURLMsg *message;
    int left;

    while (!client->destroyed && (message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct http_pending *pending = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &pending);
        if (pending->state != PENDING_CANCELLED) {
            http_transfer_finish(&pending->transfer, message->data.result);
            /* Out of libcurl first, so that `done` finds a client it can use freely, and marked,
             * so that a cancel from inside it is harmless. */
            pending->state = PENDING_CANCELLED;
            pending->done(pending->context, &pending->transfer.answer);
        }
        pending_free(pending);
    }
}

static void run_deferred(struct http_client *client)
{
    struct http_pending *pending, *next;

    if (!client->has_deferred || client->destroyed)
        return;
    client->has_deferred = false;
    for (pending = TAILQ_FIRST(&client->pendings); pending; pending = next) {
        next = TAILQ_NEXT(pending, node);
        if (pending->state == PENDING_CANCELLED) {
            pending_free(pending);
        } else if (pending->state == PENDING_WAITING) {
            pending_add(pending);
        }
    }
}

/* After libcurl returned: what it finished, what was asked for meanwhile. */
static void curl_leave(struct http_client *client)
{
    client->in_curl = false;
    if (client->depth == 1) {
        report_done(client);
        run_deferred(client);
    }
    client->depth--;
    if (client->destroyed && client->depth == 0)
        client_free(client);
}

static void on_timeout(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    int running;

    curl_enter(client);
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    curl_leave(client);
}

static int on_timer_wish(CURLM *multi, long timeout_ms, void *context)
{
    struct http_client *client = context;

    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&client->timer);
    else
        uv_timer_start(&client->timer, on_timeout, (uint64_t)timeout_ms, 0);
    return 0;
}

static void on_socket_event(uv_poll_t *poll, int status, int events)
{
    struct client_socket *socket = poll->data;
    struct http_client *client = socket->client;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    int running;

    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_enter(client);
    curl_multi_socket_action(client->multi, socket->fd, flags, &running);
    curl_leave(client);
}

static void on_socket_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int on_socket_wish(CURL *curl, curl_socket_t fd, int what, void *context,
                          void *socket_pointer)
{
    struct http_client *client = context;
    struct client_socket *socket = socket_pointer;
    int events = 0;

    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        if (socket) {
            uv_poll_stop(&socket->poll);
            uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
            curl_multi_assign(client->multi, fd, NULL);
        }
        return 0;
    }
    if (!socket) {
        socket = calloc(1, sizeof(*socket));
        if (!socket)
            return -1;
        if (uv_poll_init_socket(client->loop, &socket->poll, fd) < 0) {
            free(socket);
            return -1;
        }
        socket->client = client;
        socket->fd = fd;
        socket->poll.data = socket;
        curl_multi_assign(client->multi, fd, socket);
    }
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    uv_poll_start(&socket->poll, events, on_socket_event);
    return 0;
}

/* A silent call is ended by libcurl itself, from its progress callback, which needs a turn. */
static void on_silence_timer(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    int64_t now = clock_mono_ms();
    struct http_pending *pending, *next;
    bool some = false;

    client->depth++;
    for (pending = TAILQ_FIRST(&client->pendings); pending && !client->destroyed; pending = next) {
        struct http_transfer *transfer = &pending->transfer;

        next = TAILQ_NEXT(pending, node);
        if (!transfer->silence_ms_max || pending->state != PENDING_RUNNING)
            continue;
        if (now - transfer->heard_ms <= transfer->silence_ms_max) {
            some = true;
            continue;
        }
        transfer->silent = true;
        http_transfer_finish(transfer, CURLE_OPERATION_TIMEDOUT);
        pending->state = PENDING_CANCELLED;
        client->has_deferred = true;
        pending->done(pending->context, &transfer->answer);
        some = true; /* `done` may have begun another */
    }
    if (!some && !client->destroyed)
        uv_timer_stop(timer);
    curl_leave(client);
}

int http_client_create(uv_loop_t *loop, struct http_client **client_out, struct err *err)
{
    struct http_client *client = calloc(1, sizeof(*client));

    if (!client || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(client);
        return err_set(err, -ENOMEM, "HTTP client: out of memory");
    }
    client->multi = curl_multi_init();
    if (!client->multi) {
        curl_global_cleanup();
        free(client);
        return err_set(err, -ENOMEM, "HTTP client: out of memory");
    }
    client->loop = loop;
    TAILQ_INIT(&client->pendings);
    uv_timer_init(loop, &client->timer);
    uv_timer_init(loop, &client->silence_timer);
    client->timer.data = client->silence_timer.data = client;
    client->handles_open = 2;
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wish);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT_MAX);
    *client_out = client;
    return 0;
}

void http_client_destroy(struct http_client *client)
{
    if (!client || client->destroyed)
        return;
    client->destroyed = true;
    assert(!client->in_curl); /* not from on_data */
    if (client->depth == 0)
        client_free(client);
}

static int on_pending_data(void *context, const char *data, size_t len)
{
    struct http_pending *pending = context;

    pending->on_data(pending->context, data, len);
    return pending->state == PENDING_CANCELLED;
}

int http_client_call(struct http_client *client, const struct http_call *call, http_data_fn on_data,
                     http_done_fn done, void *context, struct http_pending **pending_out,
                     struct err *err)
{
    struct http_pending *pending = calloc(1, sizeof(*pending) + call->body_len);
    struct http_call copy = *call;
    int rc;

    if (!pending)
        return err_set(err, -ENOMEM, "HTTP client: out of memory");
    pending->curl = curl_easy_init();
    if (!pending->curl) {
        free(pending);
        return err_set(err, -ENOMEM, "HTTP client: out of memory");
    }
    if (call->body_len)
        memcpy(pending->body, call->body, call->body_len);
    copy.body = pending->body;
    rc = http_transfer_init(&pending->transfer, pending->curl, &copy, err);
    if (rc < 0) {
        curl_easy_cleanup(pending->curl);
        free(pending);
        return rc;
    }
    pending->client = client;
    pending->on_data = on_data;
    pending->done = done;
    pending->context = context;
    pending->transfer.on_data = on_data ? on_pending_data : NULL;
    pending->transfer.context = pending;
    curl_easy_setopt(pending->curl, CURLOPT_PRIVATE, pending);
    TAILQ_INSERT_TAIL(&client->pendings, pending, node);
    if (client->in_curl) {
        client->has_deferred = true;
    } else {
        pending_add(pending);
    }
    if (call->silence_timeout_ms && !uv_is_active((uv_handle_t *)&client->silence_timer))
        uv_timer_start(&client->silence_timer, on_silence_timer, SILENCE_CHECK_MS,
                       SILENCE_CHECK_MS);
    if (pending_out)
        *pending_out = pending;
    return 0;
}

void http_pending_cancel(struct http_pending *pending)
{
    struct http_client *client = pending->client;

    if (pending->state == PENDING_CANCELLED)
        return;
    if (client->depth == 0) {
        pending_free(pending);
        return;
    }
    pending->state = PENDING_CANCELLED;
    client->has_deferred = true;
}
