/* vendor_text.h - bits of text without copies, for the parsers of vendors' tools. Every function
 * stays inside the slice it is given, whatever its bytes are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
    const char *data;
    size_t len;
};

#define SLICE_CELLS_MAX 32u

struct slice slice_of(const char *text);
struct slice slice_trim(struct slice slice);
bool slice_is(struct slice slice, const char *text); /* ASCII case does not count */
bool slice_has(struct slice slice, const char *text);
bool slice_begins(struct slice slice, const char *text);
/* Printable ASCII only ('?' for the rest), cut to fit, NUL at the end. */
void slice_copy(struct slice slice, char *out, size_t out_bytes);

/* The next line of *rest (without its end), trimmed; false at the end. */
bool slice_next_line(struct slice *rest, struct slice *line_out);
/* The parts between `separator`, trimmed; a leading and a trailing separator make no cell. */
uint32_t slice_split(struct slice line, char separator, struct slice cells[SLICE_CELLS_MAX]);
/* The next word of *rest; false when only blanks are left. */
bool slice_next_word(struct slice *rest, struct slice *word_out);
/* The n-th word, from 0; empty when there is none. */
struct slice slice_word(struct slice slice, uint32_t n);

/* The whole slice is digits. */
bool slice_parse_u32(struct slice slice, uint32_t *out);
/* The number it begins with, in thousandths: "93.6 W" -> 93600. */
bool slice_parse_milli(struct slice slice, int64_t *milli_out);
/* The first (or last) number followed by `unit` ("MiB", "W", "C"; case does not count, and for "C"
 * the sign U+2103 does as well), blanks between allowed: "106 W/ 250 W" -> 106000. */
bool slice_find_quantity(struct slice slice, const char *unit, bool last, int64_t *milli_out);
/* "0000:c1:00.0", "00000000:18:00.0", "00:2e:00.0" */
bool slice_is_bus_id(struct slice slice);
/* [A-Za-z0-9._-] */
bool slice_is_name_byte(char c);
