#include "store/bundle.h"

#include "store/frame.h"
#include "store/store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_LEN_AT 12u

int bundle_add(struct store *store, const struct store_id *id, struct buf *out, struct err *err)
{
    size_t before = out->len;
    int rc = buf_add(out, id->bytes, STORE_ID_BYTES);

    if (rc < 0)
        return err_set(err, rc, "store: no room for a chunk: %s", strerror(-rc));
    rc = store_chunk_frame(store, id, out, err);
    if (rc < 0)
        out->len = before;
    return rc;
}

int bundle_next(const uint8_t **at, const uint8_t *end, struct bundle_item *item_out,
                struct err *err)
{
    const uint8_t *frame = *at + STORE_ID_BYTES;
    uint32_t follow;

    if (*at == end)
        return 0;
    if ((size_t)(end - *at) < STORE_ID_BYTES + FRAME_HEADER_BYTES)
        return err_set(err, -EBADMSG, "a bundle of chunks ends within a chunk");
    follow = (uint32_t)frame[FRAME_LEN_AT] | (uint32_t)frame[FRAME_LEN_AT + 1] << 8 |
             (uint32_t)frame[FRAME_LEN_AT + 2] << 16 | (uint32_t)frame[FRAME_LEN_AT + 3] << 24;
    if (follow > FRAME_BYTES_MAX - FRAME_HEADER_BYTES ||
        follow > (size_t)(end - frame) - FRAME_HEADER_BYTES)
        return err_set(err, -EBADMSG, "a bundle of chunks ends within a chunk");
    memcpy(item_out->id.bytes, *at, STORE_ID_BYTES);
    item_out->frame = frame;
    item_out->frame_len = FRAME_HEADER_BYTES + follow;
    *at = frame + item_out->frame_len;
    return 1;
}

int bundle_import(struct store *store, const void *data, size_t len, uint32_t *count_out,
                  struct err *err)
{
    struct store_piece *pieces = calloc(STORE_PIECES_MAX, sizeof(*pieces));
    const uint8_t *at = data;
    const uint8_t *end = at + len;
    struct bundle_item item;
    int rc = pieces ? 1 : err_set(err, -ENOMEM, "store: out of memory");

    *count_out = 0;
    while (rc > 0) {
        uint32_t count = 0;
        int taken = 0;

        while (count < STORE_PIECES_MAX && (rc = bundle_next(&at, end, &item, err)) > 0)
            pieces[count++] = (struct store_piece){ .content = item.frame,
                                                    .len = item.frame_len,
                                                    .chunk = { .id = item.id } };
        if (rc >= 0)
            taken = store_chunk_import_many(store, pieces, count, err);
        if (taken < 0)
            rc = taken;
        else if (rc >= 0)
            *count_out += count;
    }
    free(pieces);
    return rc;
}
