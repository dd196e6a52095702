#include "sched/rates.h"

#include "sched/intern.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHIPS_MAX 65536u
#define NONE UINT32_MAX

struct work_state {
    struct rates_work profile;
    uint32_t first; /* entry, or NONE; the rest by `next` */
};

struct rates {
    struct rates_params params;
    struct intern keys, works;
    struct rates_entry *entries;
    uint32_t *next;                 /* of an entry: the one before it of the same work */
    uint32_t *entry_of;             /* by the interned number of its key */
    struct work_state *work_states; /* by the interned number of the work */
    struct chip_figures *chips;
    uint32_t count, entries_cap, next_cap, entry_of_cap, works_cap, chips_count, chips_cap;
};

/* ln(seconds a unit), as a normal distribution. */
struct belief {
    double middle, spread;
    bool is_known;
};

struct rates_params rates_params_default(void)
{
    return (struct rates_params){ .run_spread = 0.15,
                                  .declared_spread = 0.3,
                                  .chip_spread = 0.3,
                                  .gang_spread = 0.1,
                                  .gang_loss = 0.05,
                                  .roofline_spread = 0.7,
                                  .roofline_share = 0.4,
                                  .floor_spread = 0.02,
                                  .runs_max = 50,
                                  .entries_max = 1000000 };
}

struct rates *rates_create(const struct rates_params *params)
{
    struct rates *rates = mem_alloc(1, sizeof(*rates));

    rates->params = *params;
    return rates;
}

void rates_destroy(struct rates *rates)
{
    if (!rates)
        return;
    intern_fini(&rates->keys);
    intern_fini(&rates->works);
    free(rates->entries);
    free(rates->next);
    free(rates->entry_of);
    free(rates->work_states);
    free(rates->chips);
    free(rates);
}

static bool is_positive(double value)
{
    return isfinite(value) && value > 0;
}

int rates_set_chip(struct rates *rates, uint32_t chip, const struct chip_figures *figures,
                   struct err *err)
{
    if (chip >= CHIPS_MAX)
        return err_set(err, -EINVAL, "chip %" PRIu32 ": past %u kinds", chip, CHIPS_MAX);
    MEM_GROW(rates->chips, rates->chips_cap, chip + 1);
    for (; rates->chips_count <= chip; rates->chips_count++) {
        struct chip_figures *blank = &rates->chips[rates->chips_count];

        memset(blank, 0, sizeof(*blank));
        for (uint32_t m = 0; m < METRIC_COUNT; m++)
            blank->metric_milli[m] = -1;
    }
    rates->chips[chip] = *figures;
    return 0;
}

static struct work_state *work_get(struct rates *rates, uint64_t work)
{
    bool is_new;
    uint32_t number = intern_get(&rates->works, &work, sizeof(work), &is_new);

    MEM_GROW(rates->work_states, rates->works_cap, number + 1);
    if (is_new)
        rates->work_states[number] = (struct work_state){ .first = NONE };
    return &rates->work_states[number];
}

static const struct work_state *work_find(const struct rates *rates, uint64_t work)
{
    uint32_t number = intern_find(&rates->works, &work, sizeof(work));

    return number ? &rates->work_states[number] : NULL;
}

int rates_set_work(struct rates *rates, uint64_t work, const struct rates_work *profile,
                   struct err *err)
{
    if (!(isfinite(profile->operations) && profile->operations >= 0 && isfinite(profile->bytes) &&
          profile->bytes >= 0 && (uint32_t)profile->metric < METRIC_COUNT))
        return err_set(err, -EINVAL, "work: operations and bytes a unit must be 0 or more");
    if (!work_find(rates, work) && rates->works.live_count >= rates->params.entries_max)
        return err_set(err, -ENOSPC, "rates: %" PRIu32 " kinds of work are kept already",
                       rates->works.live_count);
    work_get(rates, work)->profile = *profile;
    return 0;
}

/* Keys are hashed as their bytes, so they may hold no padding. */
_Static_assert(sizeof(struct rates_key) == 16, "a key has padding");

static uint32_t entry_find(const struct rates *rates, const struct rates_key *key)
{
    uint32_t number = intern_find(&rates->keys, key, sizeof(*key));

    return number ? rates->entry_of[number] : NONE;
}

static int entry_get(struct rates *rates, const struct rates_key *key,
                     struct rates_entry **entry_out, struct err *err)
{
    uint32_t index = entry_find(rates, key), number;
    struct work_state *work;

    if (index != NONE) {
        *entry_out = &rates->entries[index];
        return 0;
    }
    if (key->gang < 1 || key->gang > RATES_GANG_MAX || key->chip >= CHIPS_MAX)
        return err_set(err, -EINVAL, "rate: gang %" PRIu32 " of chip %" PRIu32 " is out of range",
                       key->gang, key->chip);
    if (rates->count >= rates->params.entries_max)
        return err_set(err, -ENOSPC, "rates: %" PRIu32 " are kept already", rates->count);
    number = intern_get(&rates->keys, key, sizeof(*key), NULL);
    MEM_GROW(rates->entries, rates->entries_cap, rates->count + 1);
    MEM_GROW(rates->next, rates->next_cap, rates->count + 1);
    MEM_GROW(rates->entry_of, rates->entry_of_cap, number + 1);
    work = work_get(rates, key->work);
    rates->entries[rates->count] = (struct rates_entry){ .key = *key };
    rates->entry_of[number] = rates->count;
    rates->next[rates->count] = work->first;
    work->first = rates->count;
    *entry_out = &rates->entries[rates->count++];
    return 0;
}

int rates_declare(struct rates *rates, const struct rates_key *key, double seconds_per_unit,
                  struct err *err)
{
    struct rates_entry *entry = NULL;
    int rc;

    if (!is_positive(seconds_per_unit))
        return err_set(err, -EINVAL, "rate: seconds a unit must be more than 0");
    rc = entry_get(rates, key, &entry, err);
    if (rc == 0)
        entry->declared_seconds = seconds_per_unit;
    return rc;
}

int rates_learn(struct rates *rates, const struct rates_key *key, double units, double seconds,
                struct err *err)
{
    struct rates_entry *entry = NULL;
    int rc;

    if (!is_positive(units) || !is_positive(seconds) || !is_positive(seconds / units))
        return err_set(err, -EINVAL, "rate: a run's units and seconds must be more than 0");
    rc = entry_get(rates, key, &entry, err);
    if (rc < 0)
        return rc;
    entry->weight = fmin(entry->weight, fmax(rates->params.runs_max - 1, 0)) + 1;
    entry->ln_mean += (log(seconds / units) - entry->ln_mean) / entry->weight;
    if (entry->runs < UINT32_MAX)
        entry->runs++;
    return 0;
}

static double figure(const struct rates *rates, uint32_t chip, enum chip_metric metric)
{
    int64_t milli = chip < rates->chips_count ? rates->chips[chip].metric_milli[metric] : -1;

    return milli > 0 ? (double)milli / 1000 : 0;
}

/* Seconds of one device for a unit, at the figures' peak; 0 = cannot tell. */
static double roofline(const struct rates *rates, const struct rates_work *work, uint32_t chip)
{
    double peak = figure(rates, chip, work->metric);
    double bandwidth = figure(rates, chip, METRIC_BANDWIDTH_GBS);

    if ((work->operations > 0 && !(peak > 0)) || (work->bytes > 0 && !(bandwidth > 0)))
        return 0;
    return fmax(work->operations > 0 ? work->operations / peak : 0,
                work->bytes > 0 ? work->bytes / bandwidth : 0);
}

/* ln(seconds on `to` / seconds on `from`). With no profile: halfway between the arithmetic that
 * both have and the bandwidth, as work lies somewhere between them. */
static bool chip_ratio(const struct rates *rates, const struct rates_work *work, uint32_t from,
                       uint32_t to, double *ln_out)
{
    static const enum chip_metric order[] = { METRIC_BF16_TFLOPS, METRIC_FP16_TFLOPS,
                                              METRIC_FP32_TFLOPS };
    double a = roofline(rates, work, from), b = roofline(rates, work, to);

    if (a > 0 && b > 0) {
        *ln_out = log(b / a);
        return true;
    }
    a = figure(rates, from, METRIC_BANDWIDTH_GBS);
    b = figure(rates, to, METRIC_BANDWIDTH_GBS);
    if (!(a > 0 && b > 0))
        return false;
    *ln_out = log(a / b);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        double peak_a = figure(rates, from, order[i]), peak_b = figure(rates, to, order[i]);

        if (!(peak_a > 0 && peak_b > 0))
            continue;
        *ln_out = (*ln_out + log(peak_a / peak_b)) / 2;
        break;
    }
    return true;
}

/* ln of how much faster `gang` devices are than one. */
static double gang_speed(const struct rates *rates, uint32_t gang)
{
    return log(gang) + log2(gang) * log1p(-rates->params.gang_loss);
}

static struct belief pool(struct belief a, struct belief b)
{
    double x, y;

    if (!a.is_known || !b.is_known)
        return a.is_known ? a : b;
    x = 1 / (a.spread * a.spread);
    y = 1 / (b.spread * b.spread);
    return (struct belief){ (a.middle * x + b.middle * y) / (x + y), 1 / sqrt(x + y), true };
}

static struct belief believe_entry(const struct rates *rates, const struct rates_entry *entry)
{
    const struct rates_params *params = &rates->params;
    struct belief declared = { 0 }, runs = { 0 };

    if (entry->declared_seconds > 0)
        declared = (struct belief){ log(entry->declared_seconds), params->declared_spread, true };
    if (entry->runs)
        runs = (struct belief){ entry->ln_mean, params->run_spread / sqrt(entry->weight), true };
    return pool(declared, runs);
}

static struct belief believe_roofline(const struct rates *rates, const struct work_state *work,
                                      const struct rates_key *key)
{
    double seconds = work ? roofline(rates, &work->profile, key->chip) : 0;

    if (!(seconds > 0))
        return (struct belief){ 0 };
    return (struct belief){ log(seconds / rates->params.roofline_share) -
                                gang_speed(rates, key->gang),
                            rates->params.roofline_spread, true };
}

/* The surest of the same work's entries, carried over; ties to the one that came last. */
static struct belief believe_carried(const struct rates *rates, const struct work_state *work,
                                     const struct rates_key *key)
{
    const struct rates_params *params = &rates->params;
    struct belief best = { 0 };

    for (uint32_t i = work ? work->first : NONE; i != NONE; i = rates->next[i]) {
        const struct rates_entry *entry = &rates->entries[i];
        struct belief belief = believe_entry(rates, entry);
        double ratio = 0, doublings = log2((double)key->gang / entry->key.gang), spread;

        if (!belief.is_known ||
            (entry->key.chip != key->chip &&
             !chip_ratio(rates, &work->profile, entry->key.chip, key->chip, &ratio)))
            continue;
        spread = hypot(belief.spread, params->gang_spread * doublings);
        if (entry->key.chip != key->chip)
            spread = hypot(spread, params->chip_spread);
        if (best.is_known && spread >= best.spread)
            continue;
        best = (struct belief){ belief.middle + ratio + gang_speed(rates, entry->key.gang) -
                                    gang_speed(rates, key->gang),
                                spread, true };
    }
    return best;
}

struct rate rates_get(const struct rates *rates, const struct rates_key *key)
{
    const struct work_state *work = work_find(rates, key->work);
    uint32_t index = entry_find(rates, key);
    struct belief belief = { 0 };
    struct rate rate = { 0 };

    if (key->gang < 1 || key->gang > RATES_GANG_MAX)
        return rate;
    if (index != NONE) {
        /* NOLINTNEXTLINE(-Wanalyzer-use-of-uninitialized-value): gcc 12 loses a returned struct */
        belief = believe_entry(rates, &rates->entries[index]);
        rate.runs = rates->entries[index].runs;
        rate.source = rate.runs ? RATE_LEARNED : RATE_DECLARED;
    }
    if (!belief.is_known) {
        belief = believe_carried(rates, work, key);
        rate.source = belief.is_known ? RATE_CARRIED : RATE_ROOFLINE;
    }
    if (index == NONE || !(rates->entries[index].declared_seconds > 0)) /* else it would bend it */
        /* NOLINTNEXTLINE(-Wanalyzer-use-of-uninitialized-value): gcc 12 loses a returned struct */
        belief = pool(belief, believe_roofline(rates, work, key));
    if (!belief.is_known)
        return (struct rate){ 0 };
    rate.seconds = exp(belief.middle);
    rate.spread = fmax(belief.spread, rates->params.floor_spread);
    return rate;
}

double rates_seconds_at(const struct rate *rate, double sigmas)
{
    return rate->seconds > 0 ? rate->seconds * exp(rate->spread * sigmas) : 0;
}

double rates_share(const struct rates *rates, const struct rates_key *key, const uint32_t *chips,
                   uint32_t chips_count)
{
    double own = rates_get(rates, key).seconds, best = own;

    if (!(own > 0))
        return 0;
    for (uint32_t i = 0; i < chips_count; i++) {
        struct rates_key other = { key->work, chips[i], key->gang };
        double seconds = rates_get(rates, &other).seconds;

        if (seconds > 0)
            best = fmin(best, seconds);
    }
    return best / own;
}

bool rates_bill(const struct rate *rate, uint32_t gang, double units, double sigmas,
                const struct rates_place *place, struct rates_bill *bill_out)
{
    double work_s, hours, kwh;
    struct rates_bill bill;

    if (!(rate->seconds > 0) || !(units > 0) || !gang)
        return false;
    work_s = units * rate->seconds;
    hours = (work_s + place->setup_s) / 3600 * gang; /* of devices */
    bill.finish_s = place->wait_s + place->setup_s + work_s;
    bill.late_s = place->wait_s + place->setup_s + units * rates_seconds_at(rate, sigmas);
    bill.joules = hours * 3600 * place->watts;
    kwh = bill.joules / 3.6e6;
    bill.money = hours * place->device_hour_price + kwh * place->kwh_price;
    bill.carbon_g = kwh * place->kwh_carbon_g;
    bill.money_per_unit = bill.money / units;
    bill.joules_per_unit = bill.joules / units;
    bill.carbon_g_per_unit = bill.carbon_g / units;
    *bill_out = bill;
    return true;
}

uint32_t rates_count(const struct rates *rates)
{
    return rates->count;
}

const struct rates_entry *rates_at(const struct rates *rates, uint32_t index)
{
    return index < rates->count ? &rates->entries[index] : NULL;
}

int rates_restore(struct rates *rates, const struct rates_entry *entry, struct err *err)
{
    struct rates_entry *kept = NULL;
    int rc;

    if (!isfinite(entry->ln_mean) || !isfinite(entry->weight) || entry->weight < 0 ||
        !isfinite(entry->declared_seconds) || entry->declared_seconds < 0 ||
        (entry->runs > 0) != (entry->weight > 0) ||
        (!entry->runs && !(entry->declared_seconds > 0)))
        return err_set(err, -EINVAL, "rate: an entry that says nothing or is not a number");
    rc = entry_get(rates, &entry->key, &kept, err);
    if (rc == 0 && kept)
        *kept = *entry;
    return rc;
}
