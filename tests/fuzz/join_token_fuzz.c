/* join_token_fuzz.c - a pasted line: what is understood must print and be understood alike. */
#include "wire/join_token.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct join_token token, again;
    char text[JOIN_TEXT_BYTES_MAX];

    if (join_token_parse((const char *)data, size, &token, NULL) < 0)
        return 0;
    if (join_token_print(&token, text, NULL) < 0 ||
        join_token_parse(text, strlen(text), &again, NULL) < 0 ||
        memcmp(&token, &again, sizeof(token)) != 0)
        abort();
    return 0;
}
