/* lent.h - `--cpus` and `--memory` of `mains up`: how much of the machine its owner lends. */
#pragma once

#include "cli/cli.h"

struct lent {
    uint32_t cpus;        /* 0 = all there are */
    int64_t memory_bytes; /* 0 = all there is */
};

/* -EINVAL or -ERANGE names the option. */
int lent_parse(const struct cli_args *args, struct lent *lent_out, struct err *err);
