#include "sched/intern.h"

#include "sched/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Eight bytes at a time. Keys of what was learned about names are made of it (grid/ranks.c): with
 * another hash that would be forgotten. */
static uint64_t hash_bytes(const void *data, uint32_t len)
{
    const uint8_t *at = data;
    uint64_t hash = 0x9e3779b97f4a7c15u ^ len;

    for (; len >= 8; len -= 8, at += 8) {
        uint64_t word;

        memcpy(&word, at, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    for (; len; len--, at++)
        hash = (hash ^ *at) * 0x100000001b3u;
    hash ^= hash >> 33;
    hash *= 0xc4ceb9fe1a85ec53u;
    return hash ^ (hash >> 29);
}

void intern_fini(struct intern *intern)
{
    for (uint32_t i = 1; i < intern->entries_count; i++)
        free(intern->entries[i].data);
    free(intern->entries);
    free(intern->chains);
    *intern = (struct intern){ 0 };
}

static uint32_t find(const struct intern *intern, uint64_t hash, const void *data, uint32_t len)
{
    uint32_t number;

    if (!intern->chains_count)
        return 0;
    number = intern->chains[hash & (intern->chains_count - 1)];
    for (; number; number = intern->entries[number].next) {
        const struct intern_entry *entry = &intern->entries[number];

        if (entry->hash == hash && entry->len == len && memcmp(entry->data, data, len) == 0)
            return number;
    }
    return 0;
}

uint32_t intern_find(const struct intern *intern, const void *data, uint32_t len)
{
    return find(intern, hash_bytes(data, len), data, len);
}

static void link_entry(struct intern *intern, uint32_t number)
{
    struct intern_entry *entry = &intern->entries[number];
    uint32_t *chain = &intern->chains[entry->hash & (intern->chains_count - 1)];

    entry->next = *chain;
    *chain = number;
}

static void grow_chains(struct intern *intern)
{
    free(intern->chains);
    intern->chains_count = intern->chains_count ? intern->chains_count * 2 : 64;
    intern->chains = mem_alloc(intern->chains_count, sizeof(*intern->chains));
    for (uint32_t i = 1; i < intern->entries_count; i++)
        if (intern->entries[i].data)
            link_entry(intern, i);
}

uint32_t intern_get(struct intern *intern, const void *data, uint32_t len, bool *is_new_out)
{
    uint64_t hash = hash_bytes(data, len);
    uint32_t number = find(intern, hash, data, len);

    if (is_new_out)
        *is_new_out = !number;
    if (number) {
        intern->entries[number].refs++;
        return number;
    }
    if (intern->live_count >= intern->chains_count)
        grow_chains(intern);
    number = intern->free_head;
    if (number) {
        intern->free_head = intern->entries[number].next;
    } else {
        number = intern->entries_count ? intern->entries_count : 1;
        MEM_GROW(intern->entries, intern->entries_cap, number + 1);
        if (number == 1)
            intern->entries[0] = (struct intern_entry){ 0 };
        intern->entries_count = number + 1;
    }
    intern->entries[number] =
        (struct intern_entry){ .data = mem_copy(data, len), .hash = hash, .len = len, .refs = 1 };
    link_entry(intern, number);
    intern->live_count++;
    return number;
}

uint32_t intern_text(struct intern *intern, const char *text)
{
    return text && *text ? intern_get(intern, text, (uint32_t)strlen(text), NULL) : 0;
}

void intern_ref(struct intern *intern, uint32_t number)
{
    if (number)
        intern->entries[number].refs++;
}

bool intern_unref(struct intern *intern, uint32_t number)
{
    struct intern_entry *entry;
    uint32_t *at;

    if (!number)
        return false;
    entry = &intern->entries[number];
    assert(entry->refs > 0);
    if (--entry->refs)
        return false;
    at = &intern->chains[entry->hash & (intern->chains_count - 1)];
    while (*at != number)
        at = &intern->entries[*at].next;
    *at = entry->next;
    free(entry->data);
    *entry = (struct intern_entry){ .next = intern->free_head };
    intern->free_head = number;
    intern->live_count--;
    return true;
}

uint32_t intern_len(const struct intern *intern, uint32_t number)
{
    return number ? intern->entries[number].len : 0;
}

uint64_t intern_hash(const struct intern *intern, uint32_t number)
{
    return number ? intern->entries[number].hash : 0;
}
