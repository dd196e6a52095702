#include "store/id.h"

#include "store/blake2b.h"

#include <string.h>

struct store_id store_id_of(const void *data, size_t len)
{
    struct store_id id;

    blake2b_of(data, len, id.bytes);
    return id;
}

void store_id_format(const struct store_id *id, char text_out[STORE_ID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < STORE_ID_BYTES; i++) {
        text_out[2 * i] = digits[id->bytes[i] >> 4];
        text_out[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    text_out[STORE_ID_CHARS] = '\0';
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool store_id_parse(const char *text, size_t len, struct store_id *id_out)
{
    struct store_id id;

    if (len < STORE_ID_CHARS)
        return false;
    for (size_t i = 0; i < STORE_ID_BYTES; i++) {
        int high = digit_value(text[2 * i]);
        int low = digit_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *id_out = id;
    return true;
}

bool store_id_is_equal(const struct store_id *a, const struct store_id *b)
{
    return memcmp(a->bytes, b->bytes, STORE_ID_BYTES) == 0;
}

int store_id_compare(const void *a, const void *b)
{
    return memcmp(a, b, STORE_ID_BYTES);
}
