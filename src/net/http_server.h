/* http_server.h - an HTTP/1.1 server inside a libuv loop (libmicrohttpd's epoll set polled by it).
 *
 * The handler runs on the loop's thread once a request is whole (its body is in memory, at most
 * HTTP_BODY_BYTES_MAX, more gets 413 before it is read). It answers at once or keeps the request
 * and answers later from the same thread. Plain HTTP is refused on any address but loopback: give
 * a certificate and key for others (-EPERM).
 *
 * Answers kept back are sent together: any number of http_reply and http_stream_push calls in one
 * turn of the loop cost one pass over the sockets. HEAD is shown to the handler as GET and answered
 * without the body. Requests that are no HTTP, hold control characters in the path or declare too
 * large a body are answered here; the handler never sees them. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <uv.h>

#define HTTP_HEAD_BYTES_MAX (16u << 10) /* request line and headers, about: 414 or 431 past it */
#define HTTP_BODY_BYTES_MAX (1u << 20)
#define HTTP_BIG_BODY_BYTES_MAX (64u << 20) /* for routes whose handler said so in `body_max` */
#define HTTP_CONNECTIONS_MAX 4096u
#define HTTP_STREAM_BACKLOG_BYTES_MAX (16u << 20)
#define HTTP_BODIES_BYTES_MAX (256u << 20) /* of all requests together; past it 503 */
#define HTTP_IDLE_TIMEOUT_S 120u

struct http_server;
struct http_request; /* good from the handler's call until a reply is complete */

struct http_server_config {
    const char *address;                            /* "127.0.0.1", "::1", "0.0.0.0" */
    uint16_t port;                                  /* 0 = any free one: see http_server_port */
    const char *cert_pem, *key_pem, *client_ca_pem; /* text; NULL = plain */
    /* A client without a certificate, or with one that is not good, is let in as well: the handler
     * asks http_request_client who it is. Otherwise it is refused, where client_ca_pem is given. */
    bool client_cert_optional;
    uint32_t idle_timeout_s; /* silence, 0 = HTTP_IDLE_TIMEOUT_S; a whole request gets twice that */
    uint32_t connections_max; /* 0 = HTTP_CONNECTIONS_MAX */
    /* Called with the head, before the body is read: how many bytes of body are welcome (0 = none).
     * NULL = HTTP_BODY_BYTES_MAX for all. */
    size_t (*body_max)(void *context, const struct http_request *request);
    void (*handle)(void *context, struct http_request *request);
    /* A kept request or stream whose client went away (closed, or shut its sending side down after
     * the request, which is noticed while it is kept longer than a moment): called at most once,
     * never for one that was answered or ended; after this call it must not be touched. May be
     * NULL. */
    void (*gone)(void *context, struct http_request *request);
    void *context;
};

/* "127.0.0.1", any of 127/8, "::1"; false for what is no address. */
bool http_address_is_loopback(const char *address);
/* -EPERM: plain HTTP on an address that is not loopback; -EINVAL: no address, or a certificate or
 * key that cannot be read; -EADDRINUSE and the like. Texts are copied. */
int http_server_start(uv_loop_t *loop, const struct http_server_config *config,
                      struct http_server **server_out, struct err *err);
uint16_t http_server_port(const struct http_server *server);
/* No new connections; open ones are closed after what was answered has been offered to them; `gone`
 * is called for every request still kept. Not from inside `handle` or `gone`. The loop must turn
 * once more, to close the handles. */
void http_server_stop(struct http_server *server);

/* Method names are upper case; the path is percent-decoded once, starts with '/', holds no NUL. */
const char *http_request_method(const struct http_request *request);
const char *http_request_path(const struct http_request *request);
const char *http_request_query(const struct http_request *request, const char *key);   /* NULL */
const char *http_request_header(const struct http_request *request, const char *name); /* NULL */
const char *http_request_body(const struct http_request *request, size_t *len_out);
/* Hand the body over, malloc'd; NULL when there is none. From then on the request has none. */
void *http_request_take_body(struct http_request *request, size_t *len_out);
/* "Authorization: Bearer X" -> X, else NULL. */
const char *http_request_bearer(const struct http_request *request);
const char *http_request_peer(const struct http_request *request); /* "127.0.0.1" */
/* The certificate of the client: its common name and its pin (ca.h). 1: good when the connection
 * began; 0: none was shown; -EKEYREJECTED: not signed by client_ca_pem, or out of its time. */
int http_request_client(const struct http_request *request, const char **name_out,
                        const char **pin_out);
/* A pointer of the handler's own. */
void http_request_set_user(struct http_request *request, void *user);
void *http_request_user(const struct http_request *request);

struct http_header {
    const char *name;
    const char *value;
};
/* Complete answer; `body` is copied. Once per request, which must not be touched afterwards. A
 * header whose name or value cannot be sent (CR, LF) is left out. */
void http_reply(struct http_request *request, int status, const char *content_type,
                const void *body, size_t len, const struct http_header *headers,
                uint32_t headers_count);
/* Streamed answer (chunked): begin once, push any number of times, end. After the end the request
 * must not be touched. 0, or -ENOMEM: end it. */
int http_stream_begin(struct http_request *request, int status, const char *content_type,
                      const struct http_header *headers, uint32_t headers_count);
/* -ENOBUFS: the client reads too slowly (HTTP_STREAM_BACKLOG_BYTES_MAX): end the stream. */
int http_stream_push(struct http_request *request, const void *data, size_t len);
size_t http_stream_backlog(const struct http_request *request);
void http_stream_end(struct http_request *request);
