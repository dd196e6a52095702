#include "store/frame.h"

#include "store/chunker.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

static_assert(FRAME_BYTES_MAX == FRAME_HEADER_BYTES + CHUNK_BYTES_MAX, "one ceiling");

enum codec { CODEC_NONE = 0, CODEC_ZSTD = 1 };

struct header {
    char magic[4];
    uint8_t codec;
    uint8_t zeros[3];
    uint32_t content_bytes;
    uint32_t packed_bytes;
};
static_assert(sizeof(struct header) == FRAME_HEADER_BYTES, "packed by itself");

/* Where packing saves less than an eighth, as with weights of models, so many are not tried. */
#define PLAIN_RUN 7u

struct frame_codec {
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
    uint32_t plain; /* so many more are not worth packing */
};

struct frame_codec *frame_codec_create(int level)
{
    struct frame_codec *codec = calloc(1, sizeof(*codec));

    if (!codec)
        return NULL;
    codec->pack = ZSTD_createCCtx();
    codec->unpack = ZSTD_createDCtx();
    if (!codec->pack || !codec->unpack ||
        ZSTD_isError(ZSTD_CCtx_setParameter(codec->pack, ZSTD_c_compressionLevel, level))) {
        frame_codec_destroy(codec);
        return NULL;
    }
    return codec;
}

void frame_codec_destroy(struct frame_codec *codec)
{
    if (!codec)
        return;
    ZSTD_freeCCtx(codec->pack);
    ZSTD_freeDCtx(codec->unpack);
    free(codec);
}

bool frame_is_worth_packing(struct frame_codec *codec)
{
    if (!codec->plain)
        return true;
    codec->plain--;
    return false;
}

int frame_encode(struct frame_codec *codec, const void *data, size_t len, struct buf *frame_out)
{
    struct header header = { .magic = { 'M', 'S', 'C', '1' } };
    char *body;
    size_t packed;

    if (len == 0 || len > CHUNK_BYTES_MAX)
        return -EINVAL;
    if (buf_reserve(frame_out, FRAME_HEADER_BYTES + len) < 0)
        return frame_out->max - frame_out->len < FRAME_HEADER_BYTES + len ? -ENOSPC : -ENOMEM;
    body = frame_out->data + frame_out->len + FRAME_HEADER_BYTES;
    /* What would not save a sixteenth is not worth the unpacking: zstd then runs out of room. */
    packed = ZSTD_compress2(codec->pack, body, len - len / 16, data, len);
    header.codec = CODEC_ZSTD;
    if (ZSTD_isError(packed)) {
        header.codec = CODEC_NONE;
        packed = len;
        memcpy(body, data, len);
    }
    if (packed > len - len / 8)
        codec->plain = PLAIN_RUN;
    header.content_bytes = htole32((uint32_t)len);
    header.packed_bytes = htole32((uint32_t)packed);
    memcpy(frame_out->data + frame_out->len, &header, sizeof(header));
    frame_out->len += sizeof(header) + packed;
    frame_out->data[frame_out->len] = '\0';
    return 0;
}

void frame_plain_header(size_t len, uint8_t header_out[FRAME_HEADER_BYTES])
{
    struct header header = { .magic = { 'M', 'S', 'C', '1' }, .codec = CODEC_NONE };

    assert(len >= 1 && len <= CHUNK_BYTES_MAX);
    header.content_bytes = header.packed_bytes = htole32((uint32_t)len);
    memcpy(header_out, &header, sizeof(header));
}

int frame_begin_plain(size_t len, struct buf *frame_out, void **body_out)
{
    int rc;

    if (len == 0 || len > CHUNK_BYTES_MAX)
        return -EINVAL;
    rc = buf_reserve(frame_out, FRAME_HEADER_BYTES + len);
    if (rc < 0)
        return rc;
    frame_plain_header(len, (uint8_t *)frame_out->data + frame_out->len);
    *body_out = frame_out->data + frame_out->len + FRAME_HEADER_BYTES;
    frame_out->len += FRAME_HEADER_BYTES + len;
    frame_out->data[frame_out->len] = '\0';
    return 0;
}

int frame_encode_plain(const void *data, size_t len, struct buf *frame_out)
{
    void *body;
    int rc = frame_begin_plain(len, frame_out, &body);

    if (rc == 0)
        memcpy(body, data, len);
    return rc;
}

static int read_header(const void *frame, size_t len, struct header *header_out)
{
    static const uint8_t zeros[3];
    struct header header;

    if (len < sizeof(header))
        return -EBADMSG;
    memcpy(&header, frame, sizeof(header));
    header.content_bytes = le32toh(header.content_bytes);
    header.packed_bytes = le32toh(header.packed_bytes);
    if (memcmp(header.magic, "MSC1", 4) != 0 || header.codec > CODEC_ZSTD ||
        memcmp(header.zeros, zeros, sizeof(zeros)) != 0 || header.content_bytes == 0 ||
        header.content_bytes > CHUNK_BYTES_MAX || header.packed_bytes > CHUNK_BYTES_MAX ||
        (header.codec == CODEC_NONE && header.packed_bytes != header.content_bytes))
        return -EBADMSG;
    *header_out = header;
    return 0;
}

int frame_content_bytes(const void *frame, size_t len, uint32_t *bytes_out)
{
    struct header header;
    int rc = read_header(frame, len, &header);

    if (rc == 0)
        *bytes_out = header.content_bytes;
    return rc;
}

int frame_unpack(struct frame_codec *codec, const void *frame, size_t len,
                 const struct store_id *id, uint8_t *room, const uint8_t **content_out,
                 uint32_t *bytes_out, struct err *err)
{
    const uint8_t *body = (const uint8_t *)frame + FRAME_HEADER_BYTES;
    char name[STORE_ID_TEXT_BYTES];
    struct header header;
    size_t got;

    store_id_format(id, name);
    if (read_header(frame, len, &header) < 0)
        return err_set(err, -EBADMSG, "chunk %s: damaged header", name);
    if (header.packed_bytes != len - FRAME_HEADER_BYTES)
        return err_set(err, -EBADMSG, "chunk %s: %zu bytes where its header says %zu", name, len,
                       (size_t)header.packed_bytes + FRAME_HEADER_BYTES);
    if (header.codec == CODEC_ZSTD) {
        got = ZSTD_decompressDCtx(codec->unpack, room, header.content_bytes, body,
                                  header.packed_bytes);
        if (ZSTD_isError(got) || got != header.content_bytes)
            return err_set(err, -EBADMSG, "chunk %s: does not unpack to its %u bytes", name,
                           (unsigned)header.content_bytes);
        body = room;
    }
    *content_out = body;
    *bytes_out = header.content_bytes;
    return 0;
}

int frame_decode(struct frame_codec *codec, const void *frame, size_t len,
                 const struct store_id *id, uint8_t *content_out, uint32_t *bytes_out,
                 struct err *err)
{
    const uint8_t *content;
    char name[STORE_ID_TEXT_BYTES];
    struct store_id found;
    uint32_t bytes;
    int rc = frame_unpack(codec, frame, len, id, content_out, &content, &bytes, err);

    if (rc < 0)
        return rc;
    if (content != content_out)
        memcpy(content_out, content, bytes);
    found = store_id_of(content_out, bytes);
    if (!store_id_is_equal(&found, id)) {
        store_id_format(id, name);
        return err_set(err, -EBADMSG, "chunk %s: holds other bytes than its name says", name);
    }
    *bytes_out = bytes;
    return 0;
}
