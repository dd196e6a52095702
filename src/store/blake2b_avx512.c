#include "store/blake2b_many.h"

#if defined(__x86_64__)
#define LANES 8
#define LANES_TARGET "avx512f"
#include "store/blake2b_lanes.h"

bool blake2b_many_avx512(struct blake2b_piece *pieces, uint32_t count)
{
    return lanes_many(pieces, count);
}
#else
bool blake2b_many_avx512(struct blake2b_piece *pieces, uint32_t count)
{
    (void)pieces;
    (void)count;
    return false;
}
#endif
