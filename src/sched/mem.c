#include "sched/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *check(void *data, size_t count, size_t size)
{
    if (!data) {
        fprintf(stderr, "out of memory: %zu x %zu bytes\n", count, size);
        abort();
    }
    return data;
}

void *mem_alloc(size_t count, size_t size)
{
    return check(calloc(count ? count : 1, size), count, size);
}

void *mem_resize(void *data, size_t count, size_t size)
{
    return check(reallocarray(data, count ? count : 1, size), count, size);
}

void *mem_copy(const void *data, size_t len)
{
    char *copy = check(malloc(len + 1), len + 1, 1);

    if (len)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

uint32_t mem_next_cap(uint32_t cap, uint32_t need)
{
    uint64_t next = cap ? cap : 8;

    while (next < need)
        next = next < 4096 ? next * 2 : next + next / 2;
    return next > UINT32_MAX ? UINT32_MAX : (uint32_t)next;
}
