/* store_bundle_fuzz.c - a message of chunks from a hostile site: taken apart without reading past
 * its end, in pieces that together are no longer than it is. */
#include "store/bundle.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *at = data;
    struct bundle_item item;
    size_t total = 0;

    while (bundle_next(&at, data + size, &item, NULL) > 0) {
        if (item.frame < data || item.frame + item.frame_len > data + size)
            abort();
        total += STORE_ID_BYTES + item.frame_len;
    }
    if (total > size)
        abort();
    return 0;
}
