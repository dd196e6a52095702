/* store_chunk_fuzz.c - a chunk's frame from a hostile site: never more is unpacked than it says,
 * and nothing is accepted whose name is not that of its content. */
#include "store/chunker.h"
#include "store/frame.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_codec *codec;
    struct store_id id = { .bytes = { 1, 2, 3 } };
    uint8_t *content;
    uint32_t said = 0;
    uint32_t bytes = 0;

    if (size > FRAME_BYTES_MAX || frame_content_bytes(data, size, &said) < 0)
        return 0;
    codec = frame_codec_create(1);
    /* Exactly what the header says, so that a sanitizer sees a byte more. */
    content = malloc(said);
    if (!codec || !content)
        abort();
    memset(content, 0, said);
    if (frame_decode(codec, data, size, &id, content, &bytes, NULL) == 0)
        abort(); /* nobody has found bytes of that name */
    id = store_id_of(content, said);
    if (frame_decode(codec, data, size, &id, content, &bytes, NULL) == 0 && bytes != said)
        abort();
    free(content);
    frame_codec_destroy(codec);
    return 0;
}
