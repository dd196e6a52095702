#include "cli/lent.h"

#include "model/units.h"

#include <errno.h>

#define LENT_CPUS_MAX 65536
#define LENT_MEMORY_BYTES_MIN (16LL << 20)

int lent_parse(const struct cli_args *args, struct lent *lent_out, struct err *err)
{
    const char *cpus_text = cli_args_get(args, "cpus");
    const char *memory_text = cli_args_get(args, "memory");
    int64_t cpus = 0;
    int64_t memory_bytes = 0;
    int rc;

    if (cpus_text) {
        rc = units_parse_int(cpus_text, 1, LENT_CPUS_MAX, &cpus, err);
        if (rc < 0)
            return err_prefix(err, rc, "--cpus");
    }
    if (memory_text) {
        rc = units_parse_bytes(memory_text, &memory_bytes, err);
        if (rc == 0 && memory_bytes < LENT_MEMORY_BYTES_MIN)
            rc = err_set(err, -ERANGE, "%s: 16M at least", memory_text);
        if (rc < 0)
            return err_prefix(err, rc, "--memory");
    }
    *lent_out = (struct lent){ .cpus = (uint32_t)cpus, .memory_bytes = memory_bytes };
    return 0;
}
