/* tunnel_internal.h - what the files of tunnel.h share: tunnel.c gangs, opening, ends;
 * tunnel_carry.c pieces through the controller; tunnel_direct.c the way without it. */
#pragma once

#include "agent/tunnel.h"
#include "net/http_client.h"

#define TUNNEL_READ_BYTES (64u << 10)
#define TUNNEL_PATH "/api/v1/site-session/tunnels"

struct gang { /* an attempt, part of which is here */
    struct gang *next;
    struct tunnels *tunnels;
    struct attempt_key key;
    struct attempt_across across;
    struct listener *listeners;
    uint32_t streams_count, listeners_open;
    int64_t no_direct_until_ms[REQUEST_SITES_MAX]; /* that part's site was not reached */
    bool over;
};
struct listener {
    uv_tcp_t tcp;
    struct listener *next;
    struct gang *gang;
    uint32_t part;
    uint16_t port;
};

struct stream {
    struct stream *next;
    struct tunnels *tunnels;
    struct gang *gang;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    uint32_t handles_open;
    uint64_t id;   /* the controller's; 0 = it was not asked yet, or has not answered */
    uint32_t part; /* to or, of what came from elsewhere, here */
    uint16_t port;
    bool is_guest; /* it came from elsewhere, for a task here */
    bool is_connecting, is_connected, is_writing, is_reading, closing;
    bool tries_any;   /* of a guest: the task is tried at 127.0.0.1 */
    bool is_lost;     /* the controller has started anew and knows it no more */
    int64_t lost_ms;  /* of a guest: since then; 0 = it is known */
    int64_t until_ms; /* until it must be open at both ends */
    struct http_pending *up, *down;
    struct buf sent, gathered; /* read from the task: on its way, and after that */
    int64_t sent_from, fetched_from;
    bool has_ended, end_sent, end_taken; /* the task has written all of it, and that was told */
    bool peer_ended;
    struct buf fetched; /* being written to the task */
    /* A connection to the other site's agent itself, where its owner tells an address. */
    uv_tcp_t *direct;
    int64_t direct_until_ms; /* while this has not passed, that is waited for; 0 = it is not */
    bool is_direct;
    struct splice *splice;
    char read_bytes[TUNNEL_READ_BYTES];
};
struct tunnels {
    struct tunnels_config config;
    char *site;
    struct http_client *client;
    struct gang *gangs;
    struct stream *streams;
    uint32_t streams_count, callers_count;
    uint32_t handles_open;
    uv_tcp_t direct_listener;
    bool is_listening;
    bool destroyed;
};

/* Do all that can be done now; and after a moment. */
void tunnel_pump(struct stream *stream);
void tunnel_again(struct stream *stream);
void tunnel_close(struct stream *stream);
/* A call was answered 404. */
void tunnel_lost(struct stream *stream);
/* And tell the other end: it is broken off, or (done) all went both ways. */
void tunnel_break(struct stream *stream, bool done);
/* A call of TUNNEL_PATH and `rest`. -ENOTCONN: there is no session now. */
int tunnel_call(struct tunnels *tunnels, const char *method, const char *rest, const void *body,
                size_t len, http_done_fn done, void *context, struct http_pending **pending_out);
/* Will asking again help? Not where the network says that there is nothing to be had. */
bool tunnel_is_final(const struct http_answer *answer);
/* The controller shall forget it: nothing goes that way any more. */
void tunnel_forget(struct stream *stream);
/* One handle of the tunnels' own fewer; of a stream. */
void tunnel_handle_closed(struct tunnels *tunnels);
void tunnel_release(struct stream *stream);

/* tunnel_carry.c: of a stream that is open at both ends. */
void tunnel_carry(struct stream *stream);

/* tunnel_direct.c */
int tunnel_direct_listen(struct tunnels *tunnels, const char *address, struct err *err);
/* Ask the agent there; it is a stream again, one way or the other, by direct_until_ms. */
void tunnel_direct_try(struct stream *stream, const char *address);
/* Both ends are here: nothing goes by the controller any more. */
void tunnel_direct_run(struct stream *stream);
void tunnel_direct_late(struct stream *stream); /* its time is over */
void tunnel_direct_drop(struct stream *stream);
