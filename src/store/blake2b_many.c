#include "store/blake2b_many.h"

void blake2b_many(struct blake2b_piece *pieces, uint32_t count)
{
    if (count > 1 && (blake2b_many_avx512(pieces, count) || blake2b_many_avx2(pieces, count)))
        return;
    for (uint32_t i = 0; i < count; i++)
        blake2b_of(pieces[i].data, pieces[i].len, pieces[i].digest);
}
