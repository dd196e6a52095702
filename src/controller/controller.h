/* controller.h - the live shell around the grid: HTTP API, sites' sessions, journal, history.
 *
 * One process, one event loop. A request is checked, its event is appended to the journal, the
 * grid steps, and the request is answered once the event is durable. After kill -9 the journal is
 * replayed and nothing that was answered is lost. */
#pragma once

#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

struct controller_config {
    const char *state_dir;          /* exists or is made (0700); see docs/operations.md for files */
    const char *address;            /* NULL = "127.0.0.1" */
    uint16_t port;                  /* 0 = any free one; endpoint.json tells which */
    const char *cert_pem, *key_pem; /* paths of PEM files; NULL = own or plain */
    bool tls;             /* with a certificate of its own, on loopback too; elsewhere always */
    int64_t cert_life_ms; /* of sites that join; 0 = the default */
    int64_t lease_ms;     /* of sites, see leases.h; 0 = the default */
    bool metrics_open;    /* /metrics needs no token off loopback either */
    enum log_level log_level;
    int64_t store_bytes_max;   /* what the store's chunks may take; 0 = half of its file system */
    uint32_t snapshot_records; /* take a snapshot every so many records; 0 = the default */
};
#define CONTROLLER_PORT_DEFAULT 7743u

/* Run until SIGTERM or SIGINT. The exit code of the process: 0 stopped in order, 2 another process
 * holds the state folder, 3 the journal is damaged, 1 anything else (logged in one line). */
int controller_main(const struct controller_config *config);

/* Throw history.db away and derive it again from the journal. The controller must not be running.
 */
int history_rebuild(const char *state_dir, uint64_t *records_out, struct err *err);
