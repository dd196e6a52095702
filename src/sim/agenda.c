#include "sim/agenda.h"

#include <assert.h>
#include <stdlib.h>

void sim_agenda_fini(struct sim_agenda *agenda)
{
    free(agenda->heap);
    *agenda = (struct sim_agenda){ 0 };
}

static inline bool is_before(const struct sim_entry *a, const struct sim_entry *b)
{
    return a->time_ms != b->time_ms ? a->time_ms < b->time_ms : a->order < b->order;
}

bool sim_agenda_add(struct sim_agenda *agenda, struct sim_entry entry)
{
    uint32_t at = agenda->count;

    if (agenda->count == agenda->cap) {
        uint32_t cap = agenda->cap ? agenda->cap * 2 : 256;
        void *more = realloc(agenda->heap, cap * sizeof(*agenda->heap));

        if (!more)
            return false;
        agenda->heap = more;
        agenda->cap = cap;
    }
    entry.order = agenda->added++;
    agenda->count++;
    while (at && is_before(&entry, &agenda->heap[(at - 1) / 2])) {
        agenda->heap[at] = agenda->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    agenda->heap[at] = entry;
    return true;
}

int64_t sim_agenda_next_ms(const struct sim_agenda *agenda)
{
    return agenda->count ? agenda->heap[0].time_ms : INT64_MAX;
}

struct sim_entry sim_agenda_take(struct sim_agenda *agenda)
{
    struct sim_entry first, moved;
    uint32_t at = 0;

    assert(agenda->count);
    first = agenda->heap[0];
    moved = agenda->heap[--agenda->count];
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= agenda->count)
            break;
        if (child + 1 < agenda->count && is_before(&agenda->heap[child + 1], &agenda->heap[child]))
            child++;
        if (!is_before(&agenda->heap[child], &moved))
            break;
        agenda->heap[at] = agenda->heap[child];
        at = child;
    }
    if (agenda->count)
        agenda->heap[at] = moved;
    return first;
}
