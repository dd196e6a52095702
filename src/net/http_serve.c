#include "net/http_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

void http_on_connection(void *context, struct MHD_Connection *connection, void **peer_inout,
                        enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = context;
    struct http_peer *peer = *peer_inout;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        server->run_again = true; /* at its limit the library listens again only in the next run */
        if (peer) {
            http_wait_greeted(server, peer);
            TAILQ_REMOVE(&server->peers, peer, peers_node);
            free(peer);
            *peer_inout = NULL;
        }
        return;
    }
    peer = calloc(1, sizeof(*peer));
    if (!peer)
        return; /* its requests are refused */
    peer->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    peer->connection = connection;
    peer->since_ms = (int64_t)uv_now(server->loop);
    TAILQ_INSERT_TAIL(&server->peers, peer, peers_node);
    if (server->is_tls)
        http_wait_greet(server, peer);
    *peer_inout = peer;
}

void *http_on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct http_server *server = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_peer *peer = info ? info->socket_context : NULL;
    struct http_request *request;
    size_t len = uri ? strlen(uri) : 0;

    if (!peer)
        return NULL;
    http_wait_greeted(server, peer);
    request = malloc(sizeof(*request) + len + 1);
    if (!request)
        return NULL;
    memset(request, 0, offsetof(struct http_request, uri));
    request->server = server;
    request->connection = connection;
    request->peer = peer;
    request->begun_ms = (int64_t)uv_now(server->loop);
    request->uri_len = len;
    if (len)
        memcpy(request->target, uri, len);
    request->target[len] = '\0';
    request->uri_rc = http_uri_parse(request->target, &request->uri);
    peer->request = request;
    TAILQ_INSERT_TAIL(&server->requests, request, requests_node);
    return request;
}

static bool is_handlers(const struct http_request *request)
{
    return request->state == HTTP_KEPT || request->state == HTTP_STREAMING;
}

void http_request_lose(struct http_request *request)
{
    struct http_server *server = request->server;
    bool tell = is_handlers(request);

    request->lost = true;
    request->state = HTTP_DONE;
    if (tell && server->config.gone)
        server->config.gone(server->config.context, request);
}

void http_on_completed(void *context, struct MHD_Connection *connection, void **request_inout,
                       enum MHD_RequestTerminationCode code)
{
    struct http_server *server = context;
    struct http_request *request = *request_inout;

    (void)connection;
    (void)code;
    if (!request)
        return;
    *request_inout = NULL;
    http_request_lose(request);
    http_wait_forget(request);
    TAILQ_REMOVE(&server->requests, request, requests_node);
    request->peer->request = NULL;
    request->peer->since_ms = (int64_t)uv_now(server->loop);
    if (request->response)
        MHD_destroy_response(request->response);
    server->bodies_bytes -= request->body.len;
    buf_fini(&request->body);
    buf_fini(&request->out);
    free(request);
}

/* An answer of the server's own, in the form the API gives its errors. */
static enum MHD_Result refuse(struct http_request *request, unsigned status, const char *code,
                              const char *message)
{
    char text[256];
    int len = snprintf(text, sizeof(text),
                       "{\"error\":{\"code\":\"%s\",\"message\":\"%s\",\"field\":null}}\n", code,
                       message);
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result rc;

    request->state = HTTP_DONE;
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    rc = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response);
    return rc;
}

static void address_print(struct http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *addr = info ? info->client_addr : NULL;

    if (addr && addr->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)addr)->sin_addr,
                  request->address, sizeof(request->address));
    else if (addr && addr->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr,
                  request->address, sizeof(request->address));
}

/* Once a connection: what is good stays good while it is open. */
static void look_at_client(struct http_request *request)
{
    struct http_peer *peer = request->peer;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    const gnutls_datum_t *chain = NULL;
    gnutls_datum_t pem = { 0 };
    unsigned count = 0, status = 0;

    peer->looked_at = true;
    if (info)
        chain = gnutls_certificate_get_peers(info->tls_session, &count);
    if (!chain || !count)
        return;
    peer->client_rc = -EKEYREJECTED;
    if (gnutls_certificate_verify_peers2(info->tls_session, &status) != 0 || status != 0)
        return;
    if (gnutls_pem_base64_encode2("CERTIFICATE", &chain[0], &pem) < 0)
        return;
    if (ca_cert_read((const char *)pem.data, peer->client_pin, NULL, peer->client_name, NULL) == 0)
        peer->client_rc = 1;
    gnutls_free(pem.data);
}

static bool client_is_let_in(struct http_request *request)
{
    if (!request->server->wants_client_cert)
        return true;
    if (!request->peer->looked_at)
        look_at_client(request);
    return request->server->config.client_cert_optional || request->peer->client_rc == 1;
}

/* Copies the method; HEAD becomes GET, whose body the library leaves out. */
static bool method_set(struct http_request *request, const char *method)
{
    size_t len = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

    if (!len || method[len] || len >= sizeof(request->method))
        return false;
    snprintf(request->method, sizeof(request->method), "%s",
             strcmp(method, "HEAD") == 0 ? "GET" : method);
    return true;
}

/* A large body is written to page by page: a few large ones cost less than thousands of small ones.
 * A wish. */
static void prefer_huge_pages(char *data, size_t len)
{
    size_t before = -(uintptr_t)data & (HUGE_PAGE_BYTES - 1);

    if (len >= before + HUGE_PAGE_BYTES)
        madvise(data + before, (len - before) & ~(HUGE_PAGE_BYTES - 1), MADV_HUGEPAGE);
}

/* The whole head is here, none of the body. */
static enum MHD_Result on_head(struct http_request *request, const char *url, const char *method,
                               const char *version)
{
    struct http_server *server = request->server;
    const char *encoding, *length;
    uint64_t declared;

    /* The version stands right after the target's end: an earlier end means a NUL inside it. */
    if (!method_set(request, method) || request->uri_rc < 0 ||
        (version[0] && version != url + request->uri_len + 1))
        return refuse(request, MHD_HTTP_BAD_REQUEST, "invalid",
                      request->uri_rc == -E2BIG ? "too many parameters in the query"
                                                : "method, path or query is malformed");
    address_print(request);
    if (!client_is_let_in(request))
        return refuse(request, MHD_HTTP_FORBIDDEN, "forbidden", "a client certificate is needed");

    encoding = http_request_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    if (encoding && strcasecmp(encoding, "chunked") != 0)
        return refuse(request, MHD_HTTP_NOT_IMPLEMENTED, "invalid",
                      "transfer encoding other than chunked");
    length = http_request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (encoding && length)
        return refuse(request, MHD_HTTP_BAD_REQUEST, "invalid",
                      "both a length and a transfer encoding");

    request->body_bytes_max = server->config.body_max
                                  ? server->config.body_max(server->config.context, request)
                                  : HTTP_BODY_BYTES_MAX;
    request->body = buf_init(request->body_bytes_max);
    /* Its digits were checked by the library; too large for 64 bits never came here. */
    declared = length ? strtoull(length, NULL, 10) : 0;
    if (declared > request->body_bytes_max + HTTP_BODY_DROPPED_BYTES_MAX ||
        (declared > request->body_bytes_max &&
         http_request_header(request, MHD_HTTP_HEADER_EXPECT)))
        return refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", "the body is too large");
    if (declared && declared <= request->body_bytes_max &&
        buf_reserve(&request->body, MIN(declared, HTTP_BODY_RESERVED_BYTES_MAX)) == 0)
        prefer_huge_pages(request->body.data, request->body.cap);
    return MHD_YES;
}

/* A part of the body. What comes past the limit is read and dropped for a while, so that its sender
 * can be told: closing on bytes not read would destroy the answer on its way. Then it is cut off.
 */
static enum MHD_Result on_body(struct http_request *request, const char *data, size_t *bytes)
{
    struct http_server *server = request->server;
    size_t len = *bytes;

    *bytes = 0;
    if (request->state == HTTP_DONE)
        return MHD_YES;
    if (!request->too_large && len <= request->body_bytes_max - request->body.len &&
        len <= HTTP_BODIES_BYTES_MAX - server->bodies_bytes &&
        buf_add(&request->body, data, len) == 0) {
        server->bodies_bytes += len;
        return MHD_YES;
    }
    request->too_large = true;
    request->body_over_bytes += len;
    return request->body_over_bytes > HTTP_BODY_DROPPED_BYTES_MAX + HTTP_CONNECTION_MEMORY_BYTES
               ? MHD_NO
               : MHD_YES;
}

/* Queue what the handler made, or wait for it. */
static enum MHD_Result answer(struct http_request *request)
{
    enum MHD_Result rc;

    if (request->lost)
        return MHD_NO;
    if (!request->response) {
        http_wait_suspend(request);
        return MHD_YES;
    }
    rc = MHD_queue_response(request->connection, (unsigned)request->status, request->response);
    MHD_destroy_response(TAKE(request->response));
    return rc;
}

enum MHD_Result http_on_request(void *context, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_bytes, void **request_inout)
{
    struct http_server *server = context;
    struct http_request *request = *request_inout;

    (void)connection;
    if (!request)
        return MHD_NO; /* there was no memory for it */
    if (!request->head_seen) {
        request->head_seen = true;
        return on_head(request, url, method, version);
    }
    if (*upload_bytes)
        return on_body(request, upload, upload_bytes);
    if (request->state == HTTP_READING) {
        if (request->too_large)
            return request->body.len + request->body_over_bytes > request->body_bytes_max
                       ? refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "too_large",
                                "the body is too large")
                       : refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "overloaded",
                                "too many bodies at once: try again");
        request->state = HTTP_HANDLING;
        server->config.handle(server->config.context, request);
        if (request->state == HTTP_HANDLING)
            request->state = HTTP_KEPT;
    }
    return answer(request);
}
