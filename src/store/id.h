/* id.h - the name of a piece of content: BLAKE2b-256 of its bytes, 64 hex digits as text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_ID_BYTES 32u
#define STORE_ID_CHARS 64u
#define STORE_ID_TEXT_BYTES (STORE_ID_CHARS + 1) /* NUL included */

struct store_id {
    uint8_t bytes[STORE_ID_BYTES];
};

/* A chunk as a manifest names it. */
struct chunk_ref {
    struct store_id id;
    uint32_t bytes; /* of content, uncompressed */
};

struct store_id store_id_of(const void *data, size_t len);
void store_id_format(const struct store_id *id, char text_out[STORE_ID_TEXT_BYTES]);
/* Exactly 64 lower-case hex digits at `text`; what follows them is not looked at. One name has one
 * spelling. */
bool store_id_parse(const char *text, size_t len, struct store_id *id_out);
bool store_id_is_equal(const struct store_id *a, const struct store_id *b);
int store_id_compare(const void *a, const void *b); /* for qsort and bsearch, chunk_refs too */
