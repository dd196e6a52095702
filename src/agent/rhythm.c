#include "agent/rhythm.h"

#include "base/cleanup.h"

#define AGAIN_MS_MIN 60
#define AGAIN_MS_MAX 1000
#define AGAIN_PARTS 16 /* of the time that it was waited for */
#define UNEVEN_MS 97
#define UNEVEN_STEP 41u

void rhythm_look(struct rhythm *rhythm, int64_t newest_ms, int64_t now_ms)
{
    if (!rhythm->waiting_ms)
        rhythm->waiting_ms = now_ms;
    rhythm->rests_ms[rhythm->looks_count++ % RHYTHM_LOOKS] = now_ms - newest_ms;
}

int64_t rhythm_quiet_ms(const struct rhythm *rhythm, int64_t now_ms)
{
    int64_t longest_ms = 0;

    if (!rhythm->waiting_ms || now_ms - rhythm->waiting_ms < RHYTHM_PATIENCE_MS ||
        rhythm->looks_count < RHYTHM_LOOKS)
        return RHYTHM_QUIET_MS;
    for (uint32_t i = 0; i < RHYTHM_LOOKS; i++)
        longest_ms = MAX(longest_ms, rhythm->rests_ms[i]);
    return MIN(MAX(longest_ms / 2, RHYTHM_QUIET_MS_MIN), RHYTHM_QUIET_MS);
}

void rhythm_rest(struct rhythm *rhythm)
{
    rhythm->waiting_ms = 0;
}

int64_t rhythm_again_ms(const struct rhythm *rhythm, int64_t now_ms)
{
    int64_t waited_ms = rhythm->waiting_ms ? MAX(now_ms - rhythm->waiting_ms, 0) : 0;

    return MIN(MAX(waited_ms / AGAIN_PARTS, AGAIN_MS_MIN), AGAIN_MS_MAX) +
           (int64_t)(rhythm->looks_count * UNEVEN_STEP % UNEVEN_MS);
}
