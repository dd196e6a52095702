#include "sched/tariff.h"

#include "sched/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int64_t least, most;
} series_table[TARIFF_SERIES_COUNT] = {
    [TARIFF_PRICE] = { "price", -TARIFF_VALUE_MAX, TARIFF_VALUE_MAX },
    [TARIFF_CARBON] = { "carbon", 0, TARIFF_VALUE_MAX },
    [TARIFF_GREEN] = { "green share", 0, 1000000 },
    [TARIFF_CAP] = { "power cap", 0, TARIFF_WATTS_MAX },
    [TARIFF_SUPPLY] = { "own supply", 0, TARIFF_WATTS_MAX },
};

int tariff_init(struct tariff *tariff, int64_t slot_ms, uint32_t slots_max, struct err *err)
{
    if (slot_ms < TARIFF_SLOT_MS_MIN || slot_ms > TARIFF_SLOT_MS_MAX)
        return err_set(err, -EINVAL, "tariff slots of %" PRId64 " ms (a minute to a day)", slot_ms);
    if (slots_max < 1 || slots_max > TARIFF_SLOTS_MAX)
        return err_set(err, -EINVAL, "tariff of %" PRIu32 " slots (1 to %u)", slots_max,
                       TARIFF_SLOTS_MAX);
    *tariff = (struct tariff){ .slot_ms = slot_ms, .slots_max = slots_max };
    return 0;
}

void tariff_fini(struct tariff *tariff)
{
    if (!tariff)
        return;
    for (int i = 0; i < TARIFF_SERIES_COUNT; i++)
        free(tariff->values[i]);
    memset(tariff, 0, sizeof(*tariff));
}

int64_t tariff_slot_of(const struct tariff *tariff, int64_t time_ms)
{
    int64_t slot = time_ms / tariff->slot_ms;

    return slot - (time_ms % tariff->slot_ms < 0); /* floor, also before 1970 */
}

int64_t tariff_slot_start_ms(const struct tariff *tariff, int64_t slot)
{
    return slot * tariff->slot_ms;
}

static size_t place_of(const struct tariff *tariff, int64_t slot)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): 1 or more since tariff_init */
    int64_t place = slot % (int64_t)tariff->slots_max;

    return (size_t)(place < 0 ? place + (int64_t)tariff->slots_max : place);
}

static void forget(struct tariff *tariff, int64_t slot)
{
    for (int i = 0; i < TARIFF_SERIES_COUNT; i++)
        if (tariff->values[i])
            tariff->values[i][place_of(tariff, slot)] = TARIFF_UNKNOWN;
}

/* Let the window reach `slot`. */
static void reach(struct tariff *tariff, int64_t slot)
{
    int64_t last = tariff->first_slot + (int64_t)tariff->count - 1;

    if (!tariff->count || slot - last >= (int64_t)tariff->slots_max) {
        tariff->first_slot = slot;
        tariff->count = 1;
        for (int i = 0; i < TARIFF_SERIES_COUNT; i++)
            for (uint32_t k = 0; tariff->values[i] && k < tariff->slots_max; k++)
                tariff->values[i][k] = TARIFF_UNKNOWN;
        return;
    }
    if (slot < tariff->first_slot) { /* room for older ones is checked by the caller */
        tariff->count += (uint32_t)(tariff->first_slot - slot);
        tariff->first_slot = slot;
        return;
    }
    while (last < slot) {
        forget(tariff, ++last);
        if (tariff->count == tariff->slots_max)
            tariff->first_slot++;
        else
            tariff->count++;
    }
}

int tariff_set(struct tariff *tariff, enum tariff_series series, int64_t slot, int64_t value,
               struct err *err)
{
    assert(series < TARIFF_SERIES_COUNT);
    if (value != TARIFF_UNKNOWN &&
        (value < series_table[series].least || value > series_table[series].most))
        return err_set(err, -EINVAL, "%s %" PRId64 " is out of range (%" PRId64 " to %" PRId64 ")",
                       series_table[series].name, value, series_table[series].least,
                       series_table[series].most);
    if (slot > TARIFF_TIME_MS_MAX / tariff->slot_ms || slot < -TARIFF_TIME_MS_MAX / tariff->slot_ms)
        return err_set(err, -EINVAL, "slot %" PRId64 " is no time", slot);
    if (tariff->count &&
        tariff->first_slot + (int64_t)tariff->count - slot > (int64_t)tariff->slots_max)
        return err_set(err, -ERANGE, "slot %" PRId64 " is older than the %" PRIu32 " kept", slot,
                       tariff->slots_max);
    if (!tariff->values[series]) {
        tariff->values[series] = mem_alloc(tariff->slots_max, sizeof(int64_t));
        for (uint32_t k = 0; k < tariff->slots_max; k++)
            tariff->values[series][k] = TARIFF_UNKNOWN;
    }
    reach(tariff, slot);
    tariff->values[series][place_of(tariff, slot)] = value;
    return 0;
}

int64_t tariff_get(const struct tariff *tariff, enum tariff_series series, int64_t slot)
{
    assert(series < TARIFF_SERIES_COUNT);
    if (!tariff->values[series] || slot < tariff->first_slot ||
        slot >= tariff->first_slot + (int64_t)tariff->count)
        return TARIFF_UNKNOWN;
    return tariff->values[series][place_of(tariff, slot)];
}

int64_t tariff_at(const struct tariff *tariff, enum tariff_series series, int64_t time_ms)
{
    return tariff_get(tariff, series, tariff_slot_of(tariff, time_ms));
}

static int64_t divide_nearest(__int128 value, __int128 by)
{
    __int128 half = by / 2;

    value = value >= 0 ? (value + half) / by : (value - half) / by;
    if (value > INT64_MAX)
        return INT64_MAX;
    return value < -INT64_MAX ? -INT64_MAX : (int64_t)value;
}

struct tariff_sum tariff_integrate(const struct tariff *tariff, enum tariff_series series,
                                   int64_t from_ms, int64_t to_ms, int64_t watts)
{
    struct tariff_sum sum = { 0, 0 };
    int64_t end_slot = tariff->first_slot + (int64_t)tariff->count;
    int64_t first_ms = tariff->first_slot * tariff->slot_ms, end_ms = end_slot * tariff->slot_ms;
    int64_t begin_ms = from_ms > first_ms ? from_ms : first_ms;
    int64_t stop_ms = to_ms < end_ms ? to_ms : end_ms, known_ms = 0;
    __int128 total = 0;

    assert(series < TARIFF_SERIES_COUNT);
    if (to_ms <= from_ms)
        return sum;
    while (tariff->count && begin_ms < stop_ms) {
        int64_t slot = tariff_slot_of(tariff, begin_ms);
        int64_t next_ms = (slot + 1) * tariff->slot_ms;
        int64_t value = tariff_get(tariff, series, slot);

        if (next_ms > stop_ms)
            next_ms = stop_ms;
        if (value != TARIFF_UNKNOWN) {
            if (series == TARIFF_SUPPLY && value > watts)
                value = watts;
            total += (__int128)value * (next_ms - begin_ms);
            known_ms += next_ms - begin_ms;
        }
        begin_ms = next_ms;
    }
    sum.unknown_ms = to_ms - from_ms - known_ms;
    switch (series) {
    case TARIFF_PRICE: /* W ms are mJ; a kWh is 3.6e9 of them */
        sum.total = divide_nearest(total * watts, 3600000000);
        break;
    case TARIFF_CARBON: /* mg per kWh to ug */
        sum.total = divide_nearest(total * watts, 3600000);
        break;
    case TARIFF_GREEN:
        sum.total = divide_nearest(total * watts, 1000000);
        break;
    case TARIFF_CAP:
    case TARIFF_SUPPLY:
    case TARIFF_SERIES_COUNT:
        sum.total = divide_nearest(total, 1);
        break;
    }
    return sum;
}
