/* listen.h - "ADDR:PORT", "PORT", "ADDR" or "[ADDR6]:PORT". */
#pragma once

#include "base/err.h"

#include <stdint.h>

struct listen_place {
    char address[64];
    uint16_t port; /* 0 = any free one */
};

/* What is not said is 127.0.0.1 and `port_default`. -EINVAL. */
int listen_parse(const char *text, uint16_t port_default, struct listen_place *place_out,
                 struct err *err);
