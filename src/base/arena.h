/* arena.h - memory that is freed all at once. Allocations are zeroed and 16-byte aligned; their
 * total has a ceiling, past which NULL comes back, as it does when memory is short. */
#pragma once

#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *blocks;
    size_t used_bytes;
    size_t bytes_max;
};

struct arena arena_init(size_t bytes_max);
void arena_fini(struct arena *arena);
/* `count` things of `size` bytes (overflow checked). */
void *arena_alloc(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
