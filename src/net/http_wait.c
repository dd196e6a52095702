#include "net/http_internal.h"

#include <assert.h>
#include <gnutls/gnutls.h>
#include <sys/epoll.h>

#define WATCH_EVENTS_MAX 64

/* Lists of suspended requests. */

void http_wait_resume(struct http_request *request)
{
    if (!request->suspended || request->resuming)
        return;
    request->resuming = true;
    TAILQ_INSERT_TAIL(&request->server->resuming, request, resume_node);
}

static void on_watch_timer(uv_timer_t *timer);

void http_wait_suspend(struct http_request *request)
{
    struct http_server *server = request->server;

    assert(!request->suspended);
    MHD_suspend_connection(request->connection);
    request->suspended = true;
    request->watched = false;
    request->kept_ms = (int64_t)uv_now(server->loop);
    TAILQ_INSERT_TAIL(&server->kept, request, wait_node);
    if (!uv_is_active((uv_handle_t *)&server->watch_timer) && !server->stopping)
        uv_timer_start(&server->watch_timer, on_watch_timer, HTTP_WATCH_AFTER_MS, 0);
}

static void wait_end(struct http_request *request)
{
    struct http_server *server = request->server;

    if (!request->suspended)
        return;
    request->suspended = false;
    if (!request->watched) {
        TAILQ_REMOVE(&server->kept, request, wait_node);
        return;
    }
    request->watched = false;
    TAILQ_REMOVE(&server->watched, request, wait_node);
    epoll_ctl(server->watch_fd, EPOLL_CTL_DEL, request->peer->fd, NULL);
}

void http_wait_forget(struct http_request *request)
{
    wait_end(request);
    if (request->resuming)
        TAILQ_REMOVE(&request->server->resuming, request, resume_node);
    request->resuming = false;
}

void http_wait_resume_all(struct http_server *server)
{
    struct http_request *request;

    while ((request = TAILQ_FIRST(&server->resuming)) != NULL) {
        http_wait_forget(request);
        MHD_resume_connection(request->connection);
    }
}

/* TLS connections before their first request. */

void http_wait_greet(struct http_server *server, struct http_peer *peer)
{
    peer->greeting = true;
    TAILQ_INSERT_TAIL(&server->greeting, peer, greeting_node);
}

void http_wait_greeted(struct http_server *server, struct http_peer *peer)
{
    if (peer->greeting)
        TAILQ_REMOVE(&server->greeting, peer, greeting_node);
    peer->greeting = false;
}

void http_wait_park_all(struct http_server *server)
{
    struct http_peer *peer, *next;

    for (peer = TAILQ_FIRST(&server->greeting); peer; peer = next) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = peer };
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(peer->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

        next = TAILQ_NEXT(peer, greeting_node);
        /* What the TLS layer has read already will not show on the socket again. */
        if (info && gnutls_record_check_pending(info->tls_session) > 0)
            continue;
        if (epoll_ctl(server->watch_fd, EPOLL_CTL_ADD, peer->fd, &event) < 0)
            continue;
        http_wait_greeted(server, peer);
        peer->parked = true;
        MHD_suspend_connection(peer->connection);
    }
}

void http_wait_unpark(struct http_server *server, struct http_peer *peer)
{
    epoll_ctl(server->watch_fd, EPOLL_CTL_DEL, peer->fd, NULL);
    peer->parked = false;
    http_wait_greet(server, peer);
    MHD_resume_connection(peer->connection);
    server->run_again = true;
}

/* Watch the clients of requests that have been kept for a while. Most are answered within
 * milliseconds and never get here, which saves two system calls each. */
static void on_watch_timer(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    int64_t now = (int64_t)uv_now(server->loop);
    struct http_request *request;

    while ((request = TAILQ_FIRST(&server->kept)) != NULL) {
        struct epoll_event event = { .events = EPOLLRDHUP, .data.ptr = request->peer };
        int64_t left = request->kept_ms + HTTP_WATCH_AFTER_MS - now;

        if (left > 0) {
            uv_timer_start(timer, on_watch_timer, (uint64_t)left, 0);
            return;
        }
        TAILQ_REMOVE(&server->kept, request, wait_node);
        TAILQ_INSERT_TAIL(&server->watched, request, wait_node);
        request->watched = true;
        /* Where it cannot be watched (ENOSPC of watches) its end shows when it is answered. */
        epoll_ctl(server->watch_fd, EPOLL_CTL_ADD, request->peer->fd, &event);
    }
}

void http_wait_on_watch(uv_poll_t *poll, int status, int events)
{
    struct http_server *server = poll->data;
    struct epoll_event found[WATCH_EVENTS_MAX];
    int count;

    (void)status;
    (void)events;
    /* No request and no peer is freed in here: that happens in MHD_run only. */
    count = epoll_wait(server->watch_fd, found, WATCH_EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct http_peer *peer = found[i].data.ptr;

        if (peer->parked) {
            http_wait_unpark(server, peer);
            continue;
        }
        epoll_ctl(server->watch_fd, EPOLL_CTL_DEL, peer->fd, NULL);
        if (peer->request) {
            http_request_lose(peer->request);
            http_wait_resume(peer->request);
        }
    }
}
