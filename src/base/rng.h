/* rng.h - seeded random numbers for simulation and tests (splitmix64; Steele, Lea, Flood 2014).
 * Same seed, same draws, on every machine. Secrets come from the kernel: see random_bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t limit); /* 0 .. limit-1; limit >= 1 */
double rng_unit(struct rng *rng);                    /* 0 <= u < 1 */

/* `len` bytes from the kernel, for tokens. 0 or -errno. */
int random_bytes(void *data, size_t len);
