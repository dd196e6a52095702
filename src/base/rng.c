#include "base/rng.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

uint64_t rng_next(struct rng *rng)
{
    uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
    assert(limit >= 1);
    return (uint64_t)(((unsigned __int128)rng_next(rng) * limit) >> 64);
}

double rng_unit(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1.0p-53;
}

int random_bytes(void *data, size_t len)
{
    char *p = data;

    while (len) {
        ssize_t got = getrandom(p, len, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        p += got;
        len -= (size_t)got;
    }
    return 0;
}
