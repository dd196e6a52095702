/* intern.h - equal bytes kept once, counted by their users, named by a small number.
 *
 * Numbers are handles: they start at 1 (0 = nothing, reads as ""), are reused, and mean nothing
 * for order: no decision and no durable record may depend on them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct intern_entry {
    char *data; /* NUL behind its end; NULL = free */
    uint64_t hash;
    uint32_t len;
    uint32_t refs;
    uint32_t next; /* in its hash chain, or in the free list */
};
struct intern {
    struct intern_entry *entries; /* [0] is never used */
    uint32_t entries_count, entries_cap;
    uint32_t free_head;
    uint32_t live_count;
    uint32_t *chains;
    uint32_t chains_count; /* a power of two */
};

void intern_fini(struct intern *intern);
/* The number of these bytes, one user more. `is_new_out` may be NULL. */
uint32_t intern_get(struct intern *intern, const void *data, uint32_t len, bool *is_new_out);
uint32_t intern_text(struct intern *intern, const char *text); /* "" and NULL give 0 */
/* Without counting a user; 0 = not there. */
uint32_t intern_find(const struct intern *intern, const void *data, uint32_t len);
void intern_ref(struct intern *intern, uint32_t number);
/* True when that was the last user and the number is free again. */
bool intern_unref(struct intern *intern, uint32_t number);
static inline const char *intern_data(const struct intern *intern, uint32_t number)
{
    return number ? intern->entries[number].data : "";
}
uint32_t intern_len(const struct intern *intern, uint32_t number);
/* Of its bytes, the same on every machine; 0 for nothing. */
uint64_t intern_hash(const struct intern *intern, uint32_t number);
