/* usage.h - what one attempt used. Integers in small units; each says whether it was measured. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct usage {
    int64_t wall_ms;         /* from grant to release */
    int64_t cpu_ms;          /* CPU time really spent (user + system) */
    int64_t cpu_held_ms;     /* CPUs x time held */
    int64_t device_milli_ms; /* 1/1000 of a device x ms held */
    int64_t memory_peak_bytes;
    int64_t energy_mj;    /* millijoule */
    int64_t carbon_ug;    /* microgram CO2 equivalent */
    int64_t price_micro;  /* 1/1,000,000 of the currency */
    bool energy_measured; /* false: modelled from the catalogue */
};

/* A site's figures are a claim. What of it can be held against what is physically possible in the
 * time between grant and release, as the controller saw it. */
enum usage_claim {                    /* numbers are for ever: they are in histories */
                   CLAIM_TIME = 0,    /* ms that it ran */
                   CLAIM_CPU = 1,     /* CPU ms spent */
                   CLAIM_DEVICES = 2, /* device ms held, in 1/1000 of a device */
                   CLAIM_ENERGY = 3,  /* mJ */
                   CLAIM_ORDER = 4,   /* ms that it ended before it had begun */
                   /* Found by the books, not by the grid. */
                   CLAIM_MEMORY = 5, /* bytes at most */
                   CLAIM_RECEIPT = 6 /* what it signed does not count; `claimed` is the verdict
                                        (model/receipt.h) */
};
#define USAGE_CLAIMS 5u /* of the grid's */
#define USAGE_CLAIM_LAST CLAIM_RECEIPT
struct usage_dispute {
    enum usage_claim what;
    int64_t claimed;
    int64_t bound; /* what is counted instead */
};
