/* Snapshots of the grid. What is read back must be sound, and step on. */
#include "grid/grid.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event event = { .type = EVENT_PASS };
    struct buf first = buf_init(64 << 20), second = buf_init(64 << 20);
    struct grid *grid = NULL, *again = NULL;
    struct job_view view;

    if (grid_restore(data, size, &grid, NULL) < 0)
        return 0;
    if (grid_snapshot(grid, &first) < 0 || grid_restore(first.data, first.len, &again, NULL) < 0)
        abort();
    for (uint64_t id = 0; grid_next_job(grid, id, NULL, &view); id = view.id) {
        struct why why;

        if (grid_why(grid, view.id, &why) < 0)
            abort();
    }
    /* Both go the same way. */
    event.time_ms = EVENT_TIME_MS_MAX / 2;
    if (grid_step(grid, &event, NULL, NULL, NULL, NULL) < 0 ||
        grid_step(again, &event, NULL, NULL, NULL, NULL) < 0)
        abort();
    buf_clear(&first);
    if (grid_snapshot(grid, &first) < 0 || grid_snapshot(again, &second) < 0)
        abort();
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
        abort();
    if (grid_check_invariants(grid, NULL) < 0)
        abort();
    grid_destroy(grid);
    grid_destroy(again);
    buf_fini(&first);
    buf_fini(&second);
    return 0;
}
