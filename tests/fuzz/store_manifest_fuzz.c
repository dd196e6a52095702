/* store_manifest_fuzz.c - a manifest from a hostile site: what is accepted prints as it was
 * written, byte for byte. */
#include "store/manifest.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_fini) struct buf text = buf_init(1 << 20);
    struct manifest manifest;
    int64_t bytes = 0;

    if (size > (64u << 10) || manifest_parse((const char *)data, size, NULL, &manifest, NULL) < 0)
        return 0;
    for (uint32_t i = 0; i < manifest.entries_count; i++)
        bytes += manifest.entries[i].bytes;
    if (bytes != manifest.content_bytes || manifest_print(&manifest, &text) < 0 ||
        text.len != size || memcmp(text.data, data, size) != 0)
        abort();
    manifest_fini(&manifest);
    return 0;
}
