/* Journal records. What decodes must encode again, and to JSON and back, without a change. */
#include "base/arena.h"
#include "grid/event.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf encode(const struct event *event)
{
    struct buf bytes = buf_init(2u * EVENT_BYTES_MAX);

    if (event_encode(event, &bytes) < 0)
        abort();
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = arena_init(256 << 20);
    struct event event, again;
    struct buf first, second;
    json_t *json;

    if (event_decode(data, size, &arena, &event, NULL) == 0) {
        first = encode(&event);
        json = event_to_json(&event);
        if (!json || event_from_json(json, &arena, &again, NULL) < 0)
            abort();
        second = encode(&again);
        if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
            abort();
        json_decref(json);
        buf_fini(&first);
        buf_fini(&second);
    }
    arena_fini(&arena);
    return 0;
}
