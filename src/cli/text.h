/* text.h - text for a terminal: what came from elsewhere is made harmless, measured and cut. */
#pragma once

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

/* Append `text` so that it can neither move the cursor, nor forge a line, nor turn the reading
 * direction: control characters, C1 controls, bidirectional overrides and bytes that are not
 * UTF-8 become \n, \t, \xNN or \u{NNNN}. */
void text_add_safe(struct buf *out, const char *text, size_t len);
/* malloc'd; NULL when memory is short. */
char *text_safe(const char *text);
/* Columns that safe UTF-8 text takes: wide characters two, combining ones none. */
uint32_t text_width(const char *text);
/* How many bytes of `text` fit in `width` columns. */
size_t text_fit(const char *text, uint32_t width);
/* "4s", "12m", "3h", "5d": the largest unit that counts at least 1 (rounded down). */
void text_print_age(int64_t ms, char *out, size_t out_bytes);
/* "12m ago", "in 3h", "now". */
void text_print_relative(int64_t at_ms, int64_t now_ms, char *out, size_t out_bytes);
/* Append words of `text` in lines of at most `width` columns, each after `indent` blanks. */
void text_wrap(struct buf *out, const char *text, uint32_t indent, uint32_t width);
/* "12", "12.5", "0.0034": three figures that mean something, no exponent below 1e9. */
void text_print_number(double value, char *out, size_t out_bytes);
