#include "store/blake2b_many.h"

#if defined(__x86_64__)
#define LANES 4
#define LANES_TARGET "avx2"
#include "store/blake2b_lanes.h"

bool blake2b_many_avx2(struct blake2b_piece *pieces, uint32_t count)
{
    return lanes_many(pieces, count);
}
#else
bool blake2b_many_avx2(struct blake2b_piece *pieces, uint32_t count)
{
    (void)pieces;
    (void)count;
    return false;
}
#endif
