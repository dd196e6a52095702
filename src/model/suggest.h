/* suggest.h - "did you mean": the known word nearest to a misspelt one. */
#pragma once

#include <stddef.h>

#define SUGGEST_WORD_BYTES_MAX 64u

/* The word of `words` within a third of its length in edits (a swap of neighbours is one edit);
 * the first of the nearest; NULL when none is near. Words longer than SUGGEST_WORD_BYTES_MAX are
 * never near. */
const char *suggest_word(const char *misspelt, const char *const *words, size_t words_count);
