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
/* The same, not compressed. */
int frame_encode_plain(const void *data, size_t len, struct buf *frame_out);
/* What a header says, unchecked beyond the header: -EBADMSG when it is not one. */
int frame_content_bytes(const void *frame, size_t len, uint32_t *bytes_out);
/* Unpack into `content_out` (CHUNK_BYTES_MAX of room), check against `id`.
 * -EBADMSG: damaged or not the chunk asked for. */
int frame_decode(struct frame_codec *codec, const void *frame, size_t len,
                 const struct store_id *id, uint8_t *content_out, uint32_t *bytes_out,
                 struct err *err);
