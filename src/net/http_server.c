#include "net/http_server.h"

#include "net/http_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024
#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_EVERY_S 10
#define KEEPALIVE_TRIES 3
/* An answer takes up to three passes of the library: handler, write, read of what follows. */
#define RUNS_MAX 4
#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* Driving the library. */

/* A client that sends a byte now and then is never idle: bound the whole of a request, and the
 * time between two, by twice the idle time-out. */
static void sweep(struct http_server *server, int64_t now)
{
    int64_t limit_ms = 2000 * (int64_t)server->idle_timeout_s;
    struct http_peer *peer;

    server->swept_ms = now;
    TAILQ_FOREACH(peer, &server->peers, peers_node)
    {
        struct http_request *request = peer->request;

        if (request ? request->state == HTTP_READING && now - request->begun_ms > limit_ms
                    : now - peer->since_ms > limit_ms)
            shutdown(peer->fd, SHUT_RDWR);
    }
}

static void on_timer(uv_timer_t *timer);

static void on_again(uv_idle_t *idle)
{
    (void)idle; /* its being active keeps the loop from sleeping; the work is done in on_turn */
}

static void plan_next(struct http_server *server)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    enum MHD_Result waits = MHD_get_timeout(server->daemon, &wait_ms);

    if ((waits == MHD_YES && wait_ms == 0) || !TAILQ_EMPTY(&server->resuming) ||
        server->run_again) {
        uv_idle_start(&server->again, on_again);
        return;
    }
    uv_idle_stop(&server->again);
    if (TAILQ_EMPTY(&server->peers))
        return;
    if (waits != MHD_YES || wait_ms > server->sweep_ms)
        wait_ms = server->sweep_ms;
    /* A timer that fires too early costs less than one that is set anew by every request. */
    if (!uv_is_active((uv_handle_t *)&server->timer) ||
        uv_timer_get_due_in(&server->timer) > wait_ms)
        uv_timer_start(&server->timer, on_timer, wait_ms, 0);
}

static void server_run(struct http_server *server)
{
    if (server->running || server->stopping)
        return;
    server->running = true;
    for (int i = 0; i < RUNS_MAX; i++) {
        MHD_UNSIGNED_LONG_LONG wait_ms = 0;

        server->run_again = false;
        http_wait_resume_all(server);
        MHD_run(server->daemon);
        http_wait_park_all(server);
        if (!server->run_again && TAILQ_EMPTY(&server->resuming) &&
            (MHD_get_timeout(server->daemon, &wait_ms) != MHD_YES || wait_ms > 0))
            break;
    }
    server->running = false;
    plan_next(server);
}

static void on_timer(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    int64_t now = (int64_t)uv_now(server->loop);

    if (now - server->swept_ms >= (int64_t)server->sweep_ms)
        sweep(server, now);
    server_run(server);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    server_run(poll->data);
}

/* Before and after the loop sleeps: what was answered in this turn goes out together. */
static void turn(struct http_server *server)
{
    if (!TAILQ_EMPTY(&server->resuming) || server->run_again ||
        uv_is_active((uv_handle_t *)&server->again))
        server_run(server);
}

static void on_prepare(uv_prepare_t *prepare)
{
    turn(prepare->data);
}

static void on_check(uv_check_t *check)
{
    turn(check->data);
}

/* Start and stop. */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int address_parse(const char *text, uint16_t port, union address *out, socklen_t *len_out)
{
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        *len_out = sizeof(out->v4);
        return 0;
    }
    if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        *len_out = sizeof(out->v6);
        return 0;
    }
    return -EINVAL;
}

static bool address_is_loopback(const union address *address)
{
    if (address->any.sa_family == AF_INET)
        return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

bool http_address_is_loopback(const char *text)
{
    union address address;
    socklen_t len;

    return address_parse(text, 0, &address, &len) == 0 && address_is_loopback(&address);
}

static int listen_open(const struct http_server_config *config, uint16_t *port_out, struct err *err)
{
    CLEANUP(closep) int fd = -1;
    union address address;
    socklen_t len;
    int one = 1;
    int listening;

    if (!config->address || address_parse(config->address, config->port, &address, &len) < 0)
        return err_set(err, -EINVAL, "\"%s\": expected an IP address such as 127.0.0.1 or ::1",
                       config->address ? config->address : "");
    if (!config->cert_pem && !address_is_loopback(&address))
        return err_set(err, -EPERM,
                       "%s: plain HTTP is served on loopback only: give a certificate and a key",
                       config->address);
    fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", config->address, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    /* Inherited by the connections: an answer must not wait for the ack of the one before. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    /* A client whose machine died says nothing: a kept request or a stream must still end. */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){ KEEPALIVE_IDLE_S }, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){ KEEPALIVE_EVERY_S }, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){ KEEPALIVE_TRIES }, sizeof(int));
    if (bind(fd, &address.any, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
        getsockname(fd, &address.any, &len) < 0)
        return err_set(err, -errno, "%s port %u: %s", config->address, config->port,
                       strerror(errno));
    *port_out =
        ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    listening = fd;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): CLEANUP looks at it */
    fd = -1; /* the caller's now */
    return listening;
}

/* The library says only that it could not start: look first. */
static int tls_check(const struct http_server_config *config, struct err *err)
{
    gnutls_certificate_credentials_t credentials;
    int rc;

    if (!config->cert_pem && !config->key_pem && !config->client_ca_pem)
        return 0;
    if (!config->cert_pem || !config->key_pem)
        return err_set(err, -EINVAL, "TLS: a certificate and its key go together");
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return err_set(err, -ENOTSUP, "TLS: libmicrohttpd was built without it");
    rc = gnutls_certificate_allocate_credentials(&credentials);
    if (rc < 0)
        return err_set(err, -ENOMEM, "TLS: %s", gnutls_strerror(rc));
    rc = gnutls_certificate_set_x509_key_mem(
        credentials,
        &(gnutls_datum_t){ http_unconst(config->cert_pem), (unsigned)strlen(config->cert_pem) },
        &(gnutls_datum_t){ http_unconst(config->key_pem), (unsigned)strlen(config->key_pem) },
        GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    if (rc < 0)
        return err_set(err, -EINVAL, "TLS certificate or key: %s", gnutls_strerror(rc));
    return 0;
}

static struct MHD_Daemon *daemon_start(struct http_server *server,
                                       const struct http_server_config *config, int listen_fd)
{
    struct MHD_OptionItem tls[5] = { { MHD_OPTION_END, 0, NULL } };
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO;
    int count = 0;

    if (strchr(config->address, ':'))
        flags |= MHD_USE_IPv6;
    if (config->cert_pem) {
        flags |= MHD_USE_TLS;
        tls[count++] =
            (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_CERT, 0, http_unconst(config->cert_pem) };
        tls[count++] =
            (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_KEY, 0, http_unconst(config->key_pem) };
        tls[count++] =
            (struct MHD_OptionItem){ MHD_OPTION_HTTPS_PRIORITIES, 0, http_unconst(TLS_PRIORITIES) };
        if (config->client_ca_pem)
            tls[count++] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_TRUST, 0,
                                                    http_unconst(config->client_ca_pem) };
        tls[count] = (struct MHD_OptionItem){ MHD_OPTION_END, 0, NULL };
    }
    return MHD_start_daemon(
        flags, 0, NULL, NULL, http_on_request, server, MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_CONNECTION_LIMIT,
        config->connections_max ? config->connections_max : HTTP_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONNECTION_MEMORY_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, server->idle_timeout_s, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, http_on_uri, server, MHD_OPTION_NOTIFY_COMPLETED,
        http_on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, http_on_connection, server,
        MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

static void on_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;

    if (--server->handles_open)
        return;
    close(server->watch_fd);
    free(server);
}

static void loop_leave(struct http_server *server)
{
    uv_handle_t *handles[] = {
        (uv_handle_t *)&server->poll,        (uv_handle_t *)&server->watch_poll,
        (uv_handle_t *)&server->prepare,     (uv_handle_t *)&server->check,
        (uv_handle_t *)&server->again,       (uv_handle_t *)&server->timer,
        (uv_handle_t *)&server->watch_timer,
    };

    for (size_t i = 0; i < ARRAY_COUNT(handles); i++)
        uv_close(handles[i], on_closed);
}

/* The epoll set of the library is the one handle that keeps the loop alive. */
static int loop_enter(struct http_server *server, int epoll_fd)
{
    uv_loop_t *loop = server->loop;
    int rc = uv_poll_init(loop, &server->poll, epoll_fd);

    if (rc < 0)
        return rc;
    rc = uv_poll_init(loop, &server->watch_poll, server->watch_fd);
    if (rc < 0) {
        /* The handle is memory of `server`, which dies only after the loop let go of it. */
        server->poll.data = server;
        server->handles_open = 1;
        uv_close((uv_handle_t *)&server->poll, on_closed);
        return rc;
    }
    uv_prepare_init(loop, &server->prepare);
    uv_check_init(loop, &server->check);
    uv_idle_init(loop, &server->again);
    uv_timer_init(loop, &server->timer);
    uv_timer_init(loop, &server->watch_timer);
    server->poll.data = server->watch_poll.data = server->prepare.data = server->check.data =
        server->again.data = server->timer.data = server->watch_timer.data = server;
    server->handles_open = 7;
    uv_poll_start(&server->poll, UV_READABLE, on_poll);
    uv_poll_start(&server->watch_poll, UV_READABLE, http_wait_on_watch);
    uv_prepare_start(&server->prepare, on_prepare);
    uv_check_start(&server->check, on_check);
    uv_unref((uv_handle_t *)&server->watch_poll);
    uv_unref((uv_handle_t *)&server->prepare);
    uv_unref((uv_handle_t *)&server->check);
    return 0;
}

int http_server_start(uv_loop_t *loop, const struct http_server_config *config,
                      struct http_server **server_out, struct err *err)
{
    CLEANUP(freep) struct http_server *server = calloc(1, sizeof(*server));
    CLEANUP(closep) int watch_fd = epoll_create1(EPOLL_CLOEXEC);
    const union MHD_DaemonInfo *info;
    int rc = tls_check(config, err);
    int listen_fd;

    if (rc < 0)
        return rc;
    if (!server || watch_fd < 0)
        return err_set(err, -ENOMEM, "HTTP server: no memory or no file descriptor");
    server->config = *config;
    server->config.cert_pem = server->config.key_pem = server->config.client_ca_pem = NULL;
    server->config.address = NULL;
    server->is_tls = config->cert_pem != NULL;
    server->wants_client_cert = config->client_ca_pem != NULL;
    server->idle_timeout_s = config->idle_timeout_s ? config->idle_timeout_s : HTTP_IDLE_TIMEOUT_S;
    server->sweep_ms = MIN(HTTP_SWEEP_MS, 1000u * server->idle_timeout_s);
    server->loop = loop;
    server->watch_fd = watch_fd;
    TAILQ_INIT(&server->peers);
    TAILQ_INIT(&server->greeting);
    TAILQ_INIT(&server->requests);
    TAILQ_INIT(&server->kept);
    TAILQ_INIT(&server->watched);
    TAILQ_INIT(&server->resuming);

    listen_fd = listen_open(config, &server->port, err);
    if (listen_fd < 0)
        return listen_fd;
    /* From here the library closes the socket, also when it does not start. */
    server->daemon = daemon_start(server, config, listen_fd);
    if (!server->daemon)
        return err_set(err, -EIO, "%s port %u: the HTTP server does not start", config->address,
                       server->port);
    info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    rc = loop_enter(server, info->epoll_fd);
    if (rc < 0) {
        MHD_stop_daemon(server->daemon);
        if (server->handles_open) {
            /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): CLEANUP looks at it */
            watch_fd = -1;
            server = NULL;
        }
        return err_set(err, rc, "HTTP server: event loop: %s", uv_strerror(rc));
    }
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): CLEANUP looks at it */
    watch_fd = -1;
    *server_out = TAKE(server);
    return 0;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_stop(struct http_server *server)
{
    struct http_request *request;
    struct http_peer *peer;
    MHD_socket listen_fd;

    assert(!server->running);
    listen_fd = MHD_quiesce_daemon(server->daemon);
    server_run(server); /* what was answered in this turn goes out */
    server->stopping = true;
    loop_leave(server);
    TAILQ_FOREACH(request, &server->requests, requests_node)
    {
        http_request_lose(request);
        if (request->suspended) {
            http_wait_forget(request);
            MHD_resume_connection(request->connection);
        }
    }
    TAILQ_FOREACH(peer, &server->peers, peers_node)
    if (peer->parked)
        http_wait_unpark(server, peer);
    MHD_stop_daemon(server->daemon);
    if (listen_fd != MHD_INVALID_SOCKET)
        close(listen_fd);
}
