#include "agent/queuing.h"

#include <stdlib.h>
#include <string.h>

#define NEWS_MS 10000

static const uint32_t steps[QUEUING_STEPS] = { 1, 4, 16, UINT32_MAX };

static struct queuing_step *step_of(struct queuing *queuing, bool has_devices, uint32_t nodes)
{
    uint32_t i = 0;

    while (nodes > steps[i])
        i++;
    return &queuing->steps[has_devices][i];
}

void queuing_begun(struct queuing *queuing, bool has_devices, uint32_t nodes, int64_t wait_ms,
                   int64_t now_ms)
{
    struct queuing_step *step = step_of(queuing, has_devices, nodes);
    uint32_t at = step->begun_count++ % QUEUING_KEPT;

    step->begun[at].at_ms = now_ms;
    step->begun[at].wait_ms = MAX(wait_ms, 0);
}

void queuing_clear(struct queuing *queuing)
{
    for (uint32_t d = 0; d < 2; d++)
        for (uint32_t i = 0; i < QUEUING_STEPS; i++)
            queuing->steps[d][i].pending = 0;
}

void queuing_waits(struct queuing *queuing, bool has_devices, uint32_t nodes, int64_t age_ms,
                   int64_t left_ms)
{
    struct queuing_step *step = step_of(queuing, has_devices, nodes);

    if (step->pending < QUEUING_KEPT)
        step->waits_ms[step->pending] = MAX(MAX(age_ms, left_ms), 0);
    step->pending++;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int64_t median(const int64_t *list, uint32_t count)
{
    int64_t sorted[QUEUING_KEPT];

    if (!count)
        return 0;
    memcpy(sorted, list, count * sizeof(sorted[0]));
    qsort(sorted, count, sizeof(sorted[0]), compare);
    return sorted[count / 2];
}

static int64_t wait_of(const struct queuing_step *step, int64_t now_ms)
{
    int64_t recent[QUEUING_KEPT];
    uint32_t count = 0;

    for (uint32_t i = 0; i < MIN(step->begun_count, QUEUING_KEPT); i++)
        if (now_ms - step->begun[i].at_ms < QUEUING_RECENT_MS)
            recent[count++] = step->begun[i].wait_ms;
    return MAX(median(recent, count), median(step->waits_ms, MIN(step->pending, QUEUING_KEPT)));
}

uint32_t queuing_rows(const struct queuing *queuing, int64_t now_ms,
                      struct wire_wait rows_out[WIRE_WAITS_MAX])
{
    uint32_t count = 0, kept = 0;

    for (uint32_t d = 0; d < 2; d++) {
        int64_t wait_ms = 0;

        for (uint32_t i = 0; i < QUEUING_STEPS; i++) {
            const struct queuing_step *step = &queuing->steps[d][i];

            wait_ms = MAX(wait_ms, wait_of(step, now_ms));
            rows_out[count++] = (struct wire_wait){
                .has_devices = d,
                .nodes_max = steps[i],
                .pending = step->pending,
                .wait_ms = wait_ms < QUEUING_LEAST_MS ? 0 : wait_ms / 1000 * 1000,
            };
            if (rows_out[count - 1].wait_ms)
                kept = count;
        }
    }
    return kept;
}

bool queuing_is_news(const struct wire_wait *told, uint32_t told_count,
                     const struct wire_wait *rows, uint32_t count)
{
    if (told_count != count)
        return true;
    for (uint32_t i = 0; i < count; i++) {
        int64_t by = llabs(told[i].wait_ms - rows[i].wait_ms);

        if (by > NEWS_MS && by > told[i].wait_ms / 4)
            return true;
    }
    return false;
}
