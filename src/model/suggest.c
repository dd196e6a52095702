#include "model/suggest.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <string.h>

/* Optimal string alignment: insert, delete, replace, swap of neighbours. */
static unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][SUGGEST_WORD_BYTES_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b_len; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *spare = before;

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            unsigned best = MIN(last[j], row[j - 1]) + 1;

            best = MIN(best, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                tolower((unsigned char)a[i - 2]) == y)
                best = MIN(best, before[j - 2] + 1);
            row[j] = best;
        }
        before = last;
        last = row;
        row = spare;
    }
    return last[b_len];
}

const char *suggest_word(const char *misspelt, const char *const *words, size_t words_count)
{
    size_t len = strlen(misspelt);
    unsigned nearest = SUGGEST_WORD_BYTES_MAX;
    const char *found = NULL;

    if (len == 0 || len > SUGGEST_WORD_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < words_count; i++) {
        size_t word_len = strlen(words[i]);
        unsigned distance;

        if (word_len > SUGGEST_WORD_BYTES_MAX)
            continue;
        distance = edit_distance(misspelt, len, words[i], word_len);
        if (distance < nearest && distance <= MAX(len, word_len) / 3) {
            nearest = distance;
            found = words[i];
        }
    }
    return found;
}
