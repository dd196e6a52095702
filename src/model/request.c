#include "model/request.h"

#include <string.h>

bool request_chip_is_match(const char *wanted, const char *kind)
{
    size_t len = strlen(wanted);

    if (len == 0 || len > strlen(kind) || strncasecmp(wanted, kind, len) != 0)
        return false;
    return kind[len] == '\0' || kind[len] == '-';
}
