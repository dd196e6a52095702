/* bundle.h - chunks on their way: many in one message, each its name (STORE_ID_BYTES) and then its
 * frame (frame.h), which says itself how long it is. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"

#define BUNDLE_BYTES_MAX (16u << 20)   /* of one message */
#define BUNDLE_BYTES_WANTED (8u << 20) /* a sender stops adding past it */

/* Append a chunk of the store; who takes it in checks it. -ENOENT, -ENOSPC. */
int bundle_add(struct store *store, const struct store_id *id, struct buf *out, struct err *err);

struct bundle_item {
    struct store_id id;
    const uint8_t *frame; /* into the message */
    size_t frame_len;
};
/* The next one; `*at` moves on. 1; 0 at the end; -EBADMSG: the message is cut off or is none. The
 * frame is not unpacked here: store_chunk_import checks it. */
int bundle_next(const uint8_t **at, const uint8_t *end, struct bundle_item *item_out,
                struct err *err);
/* Take all of it in, each checked; `*count_out` of them, when all were good. -EBADMSG. */
int bundle_import(struct store *store, const void *data, size_t len, uint32_t *count_out,
                  struct err *err);
