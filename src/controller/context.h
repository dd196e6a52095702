/* context.h - what the parts of one controller share. Everything belongs to the loop's thread. */
#pragma once

#include "controller/controller.h"
#include "controller/shell.h"

struct auth;
struct seal;
struct door;
struct members;
struct sign_key;
struct history;
struct leases;
struct sessions;
struct events;
struct waits;
struct relays;
struct bridges;
struct metrics;
struct http_server;
struct sizes;
struct vault;
struct catalogue;

struct controller {
    struct controller_config config;
    uv_loop_t loop;
    struct journal *journal;
    struct shell *shell;
    struct auth *auth;
    struct seal *seal;
    struct door *door;
    struct members *members;
    struct sign_key *signer; /* the history's thread uses it; NULL without TLS */
    struct history *history;
    struct sessions *sessions;
    struct leases *leases;
    struct events *events;
    struct waits *waits;
    struct relays *relays;
    struct bridges *bridges;
    struct metrics *metrics;
    struct vault *vault;
    struct sizes *sizes; /* of what is in it; NULL: no memory for that */
    struct http_server *server;
    struct catalogue *catalogue; /* of chips; what sites have is told with its figures */
    uv_signal_t sigterm, sigint;
    int64_t started_ms;
    bool ready, stopping;
};
