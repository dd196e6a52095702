/* agenda.h - what will happen, by time; equal times in the order they were added. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sim_entry {
    int64_t time_ms;
    uint64_t order; /* set by sim_agenda_add */
    uint32_t kind;
    uint32_t a, b, c;
};
struct sim_agenda {
    struct sim_entry *heap;
    uint32_t count, cap;
    uint64_t added;
};

void sim_agenda_fini(struct sim_agenda *agenda);
bool sim_agenda_add(struct sim_agenda *agenda, struct sim_entry entry); /* false: no memory */
/* INT64_MAX = nothing will. */
int64_t sim_agenda_next_ms(const struct sim_agenda *agenda);
struct sim_entry sim_agenda_take(struct sim_agenda *agenda); /* there must be one */
