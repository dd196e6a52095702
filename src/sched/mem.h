/* mem.h - memory for the core, which cannot half-do a step: when it is short the process aborts
 * with one line, and the journal has everything that was answered. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t count, size_t size); /* zeroed; never NULL */
void *mem_resize(void *data, size_t count, size_t size);
void *mem_copy(const void *data, size_t len); /* and a NUL behind it */
uint32_t mem_next_cap(uint32_t cap, uint32_t need);

/* Make room for `need` elements in a growing array. New ones are not zeroed. */
#define MEM_GROW(list, cap, need)                                                                  \
    do {                                                                                           \
        if ((need) > (cap)) {                                                                      \
            (cap) = mem_next_cap((cap), (need));                                                   \
            (list) = mem_resize((list), (cap), sizeof(*(list)));                                   \
        }                                                                                          \
    } while (0)
