#include "base/arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 1024u

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t cap;
    alignas(16) char data[];
};

struct arena arena_init(size_t bytes_max)
{
    return (struct arena){ .bytes_max = bytes_max };
}

void arena_fini(struct arena *arena)
{
    struct arena_block *block = arena->blocks;

    while (block) {
        struct arena_block *next = block->next;

        free(block);
        block = next;
    }
    *arena = arena_init(arena->bytes_max);
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
    struct arena_block *block = arena->blocks;
    bool is_zero = false;
    size_t bytes;
    char *data;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - 15)
        return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > arena->bytes_max - arena->used_bytes)
        return NULL;
    if (!block || block->cap - block->used < bytes) {
        size_t cap = block ? block->cap * 2 : BLOCK_BYTES;

        if (cap > 65536)
            cap = 65536;
        if (cap < bytes)
            cap = bytes;
        /* What is large comes as zeroes from the system, page by page as it is touched. */
        is_zero = cap == bytes;
        block = is_zero ? calloc(1, sizeof(*block) + cap) : malloc(sizeof(*block) + cap);
        if (!block)
            return NULL;
        *block = (struct arena_block){ .next = arena->blocks, .cap = cap };
        arena->blocks = block;
    }
    data = block->data + block->used;
    if (!is_zero)
        memset(data, 0, bytes);
    block->used += bytes;
    arena->used_bytes += bytes;
    return data;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
    char *copy = arena_alloc(arena, len + 1, 1);

    if (copy && len)
        memcpy(copy, text, len);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}
