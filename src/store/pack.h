/* pack.h - many chunks in one file, so that a file system has one to make and sync instead of many.
 *
 *   0  "MSP1"                4  count of chunks, u32 LE (1 .. PACK_CHUNKS_MAX)
 *   8  count x: name (32 bytes), where its frame begins (u32 LE), how long it is (u32 LE),
 *      in the order of names
 *   then the frames (frame.h)
 *
 * Each chunk's name is a hard link to the pack (docs/store.md): what no name is left of is gone. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "store/frame.h"
#include "store/id.h"

#define PACK_CHUNKS_MAX 256u
#define PACK_HEADER_BYTES 8u
#define PACK_ENTRY_BYTES (STORE_ID_BYTES + 8u)

/* A frame to be packed: in one piece, or its header and its content apart. */
struct pack_part {
    struct store_id id;
    const void *head; /* NULL = all is in `body` */
    const void *body;
    uint32_t head_len, body_len;
};
uint32_t pack_part_bytes(const struct pack_part *part);

/* Write 1 .. PACK_CHUNKS_MAX parts to an empty file, sorting them by name. -errno. */
int pack_write(int fd, struct pack_part *parts, uint32_t count);

/* What a pack says of itself. */
struct pack_index {
    uint32_t count;
    struct {
        struct store_id id;
        uint32_t offset, bytes;
    } chunks[PACK_CHUNKS_MAX];
};
/* 1: read; 0: it is no pack (a chunk's frame by itself, frame.h). -EBADMSG: damaged; -errno. */
int pack_read_index(int fd, struct pack_index *index_out);
/* Append the frame of one chunk, whatever kind of file it is in: a pack, or by itself. -EBADMSG: it
 * is not in there, or is longer than can be; -errno. */
int pack_read_frame(int fd, const struct store_id *id, struct buf *frame_out);
