/* frame.h - a chunk as it is kept and moved: 16 bytes of header, then its bytes, compressed or not.
 *
 *   0  "MSC1"                    4  codec: 0 as it is, 1 zstd     5  three zeros
 *   8  content bytes, u32 LE    12  bytes that follow, u32 LE
 *
 * A frame is refused unless its header, its length, what it unpacks to and the name it is asked for
 * agree. Never is more unpacked than the header says, and it may say CHUNK_BYTES_MAX at most. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "store/id.h"

#include <stdbool.h>
#include <stdint.h>

#define FRAME_HEADER_BYTES 16u
/* Bytes a frame may have: what does not shrink is kept as it is. */
#define FRAME_BYTES_MAX (FRAME_HEADER_BYTES + 524288u)

/* Holds what compressing and unpacking need, so that it is made once; belongs to one thread. */
struct frame_codec;

/* `level` as zstd counts (negative is faster). NULL when memory is short. */
struct frame_codec *frame_codec_create(int level);
void frame_codec_destroy(struct frame_codec *codec);

/* Append the frame of 1 .. CHUNK_BYTES_MAX bytes to `frame_out`. -EINVAL, -ENOMEM, -ENOSPC. */
int frame_encode(struct frame_codec *codec, const void *data, size_t len, struct buf *frame_out);
/* Should the next chunk be compressed at all? Where the last one saved little, as with weights of
 * models, only every eighth is tried. Asked once a chunk. */
bool frame_is_worth_packing(struct frame_codec *codec);
/* The same as frame_encode, not compressed. */
int frame_encode_plain(const void *data, size_t len, struct buf *frame_out);
/* The header of `len` bytes (1 .. CHUNK_BYTES_MAX) that are not compressed. */
void frame_plain_header(size_t len, uint8_t header_out[FRAME_HEADER_BYTES]);
/* A header, and room for `len` bytes after it, which the caller fills. -EINVAL, -ENOSPC, -ENOMEM.
 */
int frame_begin_plain(size_t len, struct buf *frame_out, void **body_out);
/* What a header says, unchecked beyond the header: -EBADMSG when it is not one. */
int frame_content_bytes(const void *frame, size_t len, uint32_t *bytes_out);
/* Where its content is: in the frame itself, or unpacked into `room` (CHUNK_BYTES_MAX; as much as
 * the header says is used). Its name is not looked at: `id` is for the message. -EBADMSG. */
int frame_unpack(struct frame_codec *codec, const void *frame, size_t len,
                 const struct store_id *id, uint8_t *room, const uint8_t **content_out,
                 uint32_t *bytes_out, struct err *err);
/* Into `content_out`, checked against `id`. -EBADMSG: damaged or not the chunk asked for. */
int frame_decode(struct frame_codec *codec, const void *frame, size_t len,
                 const struct store_id *id, uint8_t *content_out, uint32_t *bytes_out,
                 struct err *err);
