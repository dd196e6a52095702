/* transfer.h - a tree of files between a store here and the network's, piece by piece.
 *
 * Nothing is remembered of a transfer: the other side is asked what is missing. So it goes on after
 * any break, also of either program, and what came before counts. Each step carries one message and
 * blocks; a transfer belongs to one thread, as its store and connection do. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "net/http_client.h"
#include "store/pace.h"
#include "store/scan.h"
#include "store/store.h"

#include <stdatomic.h>

/* Where the network is, and as who. Strings are the link's own. */
struct transfer_link {
    char *url;                /* without a slash at its end; NULL = not known */
    char *bearer;             /* NULL = none */
    char *pin;                /* NULL = none */
    char *cert_pem, *key_pem; /* NULL = none */
    /* True once it carries nothing more: what is on its way ends, what comes is refused (-EAGAIN).
     * Borrowed; NULL = it is never known beforehand. */
    const atomic_bool *over;
    bool is_short; /* it is there for a while only: messages are made so small that they arrive */
};
void transfer_link_fini(struct transfer_link *link);
int transfer_link_copy(const struct transfer_link *from, struct transfer_link *out);

/* How fast files came and went, a moving mean; 0 = not known. Written by the depot's thread. */
#define TRANSFER_MEASURED_BYTES (4 << 20) /* less says little of a link */
struct transfer_meter {
    _Atomic int64_t down_bytes_s, up_bytes_s;
};

#define TRANSFER_MESSAGES 2u /* on their way: one is checked at its end, one is carried */
struct transfer_message;

struct transfer {
    struct store *store;
    struct scan *scan; /* what goes up comes from it instead of the store; NULL = it does not */
    struct http_easy *easy;
    const struct transfer_link *link;
    struct pace *pace;            /* NULL = without limit */
    struct transfer_meter *meter; /* NULL = nobody asks; may be set after transfer_init */
    struct store_id id;
    /* How far it is. */
    bool up, begun;
    struct chunk_list list; /* still to carry */
    uint32_t next;
    int64_t missing;       /* chunks, as that side said last */
    uint32_t idle_rounds;  /* nothing came of them */
    int64_t bytes_total;   /* of content, of the tree */
    int64_t bytes_carried; /* on the wire */
    int64_t busy_us;       /* for so long */
    uint32_t wanted_bytes; /* of a message: what the link carries in some seconds */
    struct transfer_message *messages[TRANSFER_MESSAGES];
    uint32_t turn;
};

/* From here to there (`up`) or back. The pointers are borrowed until transfer_fini. */
struct transfer transfer_init(struct store *store, struct http_easy *easy,
                              const struct transfer_link *link, struct pace *pace, bool up,
                              const struct store_id *id);
/* Up, from where it lies. */
struct transfer transfer_init_scan(struct scan *scan, struct http_easy *easy,
                                   const struct transfer_link *link, struct pace *pace);
/* Waits for messages on their way. Idempotent. */
void transfer_fini(struct transfer *transfer);
/* Carry one message. 1: call again; 0: all is there, and durable as that side does it. -ENOENT: the
 * network has it not; -ENOSPC: it has no room; -EACCES; -EAGAIN and the like: try again later. */
int transfer_step(struct transfer *transfer, struct err *err);

/* One JSON request of this link: "/api/v1" is put before `path`. `answer_out` (may be NULL) is a
 * new reference. Errors as transfer_step's, and -EPROTO for 409. */
int transfer_call(struct http_easy *easy, const struct transfer_link *link, const char *method,
                  const char *path, const char *body, char **answer_out, struct err *err);
