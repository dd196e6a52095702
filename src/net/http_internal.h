/* http_internal.h - shared by the files of the HTTP server; nobody else includes it.
 *
 * http_server.c   starts, stops, and drives libmicrohttpd from the loop
 * http_wait.c     requests and connections that wait, outside of the library's epoll set
 * http_serve.c    what libmicrohttpd calls: a request's life from its first byte to its last
 * http_request.c  what handlers call: reading a request, answering it
 *
 * Who owns a request: libmicrohttpd's connection, from the target's arrival (on_uri) to its
 * completion (on_completed), where it is freed. A kept request is suspended there: its socket is in
 * no epoll set of the library, so after HTTP_WATCH_AFTER_MS we watch it ourselves for the client
 * going away. */
#pragma once

#include "net/ca.h"
#include "net/http_server.h"
#include "net/http_uri.h"

#include <microhttpd.h>
#include <string.h>
#include <sys/queue.h>

#define HTTP_WATCH_AFTER_MS 250
#define HTTP_SWEEP_MS 15000u
#define HTTP_METHOD_BYTES 16u
/* Of one connection: the head, then what is written. Zeroed by the library for every request. */
#define HTTP_CONNECTION_MEMORY_BYTES HTTP_HEAD_BYTES_MAX
/* What a length that is told is believed of: memory that is not written to costs nothing. */
#define HTTP_BODY_RESERVED_BYTES_MAX ((size_t)16 << 20)
/* Read past a body's limit, and forgotten, before the connection is cut. */
#define HTTP_BODY_DROPPED_BYTES_MAX (8u << 20)

/* For prototypes that lack a const they keep. */
static inline void *http_unconst(const void *pointer)
{
    void *same;

    memcpy(&same, &pointer, sizeof(same));
    return same;
}

enum http_request_state {
    HTTP_READING,   /* head or body still coming */
    HTTP_HANDLING,  /* inside config.handle */
    HTTP_KEPT,      /* the handler keeps it and will answer */
    HTTP_STREAMING, /* begun by the handler, not ended */
    HTTP_DONE       /* answered, ended or gone: not the handler's any more */
};

/* One TCP connection, while it is open.
 *
 * The library polls a TLS connection without end while its handshake waits for the client. So each
 * one is parked (suspended, its socket watched by us) whenever it waits, until its first request.
 */
struct http_peer {
    TAILQ_ENTRY(http_peer) peers_node;
    TAILQ_ENTRY(http_peer) greeting_node; /* server->greeting: TLS, no request yet, not parked */
    struct MHD_Connection *connection;
    struct http_request *request; /* in progress; NULL between two */
    bool greeting, parked;
    int fd;
    int64_t since_ms; /* connected, or last request ended */
    /* Of the client certificate, where one is asked for. */
    bool looked_at;
    int client_rc; /* as http_request_client */
    char client_name[CA_NAME_BYTES], client_pin[CA_PIN_BYTES];
};

struct http_request {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_peer *peer;
    TAILQ_ENTRY(http_request) requests_node; /* all of the server */
    TAILQ_ENTRY(http_request) wait_node;     /* server->kept or server->watched, when suspended */
    TAILQ_ENTRY(http_request) resume_node;   /* server->resuming */
    enum http_request_state state;
    bool head_seen;
    bool suspended;
    bool watched;  /* in server->watched and its epoll set, else in server->kept */
    bool resuming; /* in server->resuming */
    bool lost;     /* the client went away, or memory did: close the connection */
    bool is_stream, stream_ended;
    bool too_large; /* a body without a length grew past its limit */
    int uri_rc;
    size_t uri_len; /* as received */
    int64_t begun_ms, kept_ms;
    size_t body_bytes_max, body_over_bytes;
    struct buf body;
    struct MHD_Response *response; /* made, not yet queued */
    int status;
    struct buf out; /* of a stream: pushed, not yet taken */
    size_t out_offset;
    void *user;
    char method[HTTP_METHOD_BYTES];
    char address[48];
    struct http_uri uri;
    char target[]; /* decoded in place */
};

TAILQ_HEAD(http_request_list, http_request);
TAILQ_HEAD(http_peer_list, http_peer);

struct http_server {
    struct http_server_config config; /* its texts are not kept */
    bool is_tls, wants_client_cert;
    struct MHD_Daemon *daemon;
    uint16_t port;
    int watch_fd; /* epoll set of the sockets of kept requests and parked peers; data: http_peer */
    uint32_t handles_open;
    bool running; /* inside MHD_run */
    bool stopping;
    bool run_again; /* the library must run once more, though it does not say so */
    uint32_t idle_timeout_s, sweep_ms;
    int64_t swept_ms;
    size_t bodies_bytes; /* of all requests */
    uv_poll_t poll, watch_poll;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t again;
    uv_timer_t timer, watch_timer;
    uv_loop_t *loop;
    struct http_peer_list peers, greeting;
    struct http_request_list requests, kept, watched, resuming;
};

/* http_wait.c: put a suspended request on the list that is resumed at the end of this turn. */
void http_wait_resume(struct http_request *request);
void http_wait_resume_all(struct http_server *server);
/* Suspend it in the library, and begin to watch for its client after a while. */
void http_wait_suspend(struct http_request *request);
void http_wait_forget(struct http_request *request); /* leave all lists */
/* Begin and end of the time before a TLS connection's first request; parking in between. */
void http_wait_greet(struct http_server *server, struct http_peer *peer);
void http_wait_greeted(struct http_server *server, struct http_peer *peer);
void http_wait_park_all(struct http_server *server);
void http_wait_unpark(struct http_server *server, struct http_peer *peer);
void http_wait_on_watch(uv_poll_t *poll, int status, int events); /* of server->watch_fd */

/* http_serve.c: the client is gone (or memory is): tell the handler, once. */
void http_request_lose(struct http_request *request);
void *http_on_uri(void *context, const char *uri, struct MHD_Connection *connection);
enum MHD_Result http_on_request(void *context, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_bytes, void **request_inout);
void http_on_completed(void *context, struct MHD_Connection *connection, void **request_inout,
                       enum MHD_RequestTerminationCode code);
void http_on_connection(void *context, struct MHD_Connection *connection, void **peer_inout,
                        enum MHD_ConnectionNotificationCode code);

/* http_request.c: libmicrohttpd asks for more of a stream. */
ssize_t http_stream_read(void *request, uint64_t offset, char *out, size_t out_bytes);
