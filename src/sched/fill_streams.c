#include "sched/fill_streams.h"

#include "base/cleanup.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT16_MAX

struct item {
    int32_t cpu;
    uint16_t milli; /* of a share; 1000 of whole devices, 0 of none */
    uint16_t whole; /* devices; 0 of a share */
    uint16_t class;
    uint16_t place; /* in the stream as drawn */
};
/* A node with no device wholly free need not look at asks for whole ones, nor one with little left
 * at those for much: streams are kept once for each such bound. */
#define TIERS 4u
static const uint16_t tier_milli[TIERS] = { FILL_DEVICE_MILLI, FILL_DEVICE_MILLI - 1, 500, 250 };

/* What one kind of chip sees of the streams: those asks that may use it. Kinds that see the same
 * share one. All shapes are [streams][stream_asks + 1]. */
struct lane {
    struct item *items[TIERS]; /* each stream ended by an item that fits nowhere */
    uint16_t *next[TIERS];     /* by place in the stream: the first item of the tier from there */
};
struct fill_streams {
    uint32_t count, asks;
    struct lane lanes[FILL_CHIPS_MAX];
    uint16_t lane_of[FILL_CHIPS_MAX];
    int32_t cpu_min;    /* less leaves devices unused */
    uint16_t milli_min; /* less of a device is of no use */
    uint16_t order[];   /* [count * asks], class of each, for drawing */
};

struct fill_streams *fill_streams_create(uint32_t count, uint32_t asks)
{
    struct fill_streams *streams =
        calloc(1, sizeof(*streams) + (size_t)count * asks * sizeof(streams->order[0]));

    if (streams) {
        streams->count = count;
        streams->asks = asks;
    }
    return streams;
}

static void lane_free(struct lane *lane)
{
    for (uint32_t tier = 0; tier < TIERS; tier++) {
        free(lane->items[tier]);
        free(lane->next[tier]);
    }
    *lane = (struct lane){ 0 };
}

void fill_streams_destroy(struct fill_streams *streams)
{
    if (!streams)
        return;
    for (uint32_t i = 0; i < FILL_CHIPS_MAX; i++)
        lane_free(&streams->lanes[i]);
    free(streams);
}

uint32_t fill_streams_lane(const struct fill_streams *streams, uint16_t chip)
{
    return streams->lane_of[chip];
}

/* ---- offering ---------------------------------------------------------------------------- */

/* The free room of a node while a stream is offered to it. */
struct offer {
    int32_t cpu;
    uint32_t whole, count;           /* devices wholly free, and begun */
    uint16_t part[FILL_DEVICES_MAX]; /* what is left of those begun */
};

static inline uint32_t offer_tier(const struct offer *offer)
{
    uint32_t most = 0, tier = TIERS - 1;

    if (offer->whole)
        return 0;
    for (uint32_t i = 0; i < offer->count; i++)
        most = MAX(most, offer->part[i]);
    while (most > tier_milli[tier])
        tier--;
    return tier;
}

/* A share goes to the begun device with the least room that takes it. */
static inline bool offer_share(struct offer *offer, uint32_t milli, uint32_t milli_min)
{
    uint32_t best = UINT32_MAX, best_free = UINT32_MAX;

    for (uint32_t i = 0; i < offer->count; i++)
        if (offer->part[i] >= milli && offer->part[i] < best_free) {
            best_free = offer->part[i];
            best = i;
        }
    if (best == UINT32_MAX) {
        if (!offer->whole)
            return false;
        offer->whole--;
        best = offer->count++;
        best_free = FILL_DEVICE_MILLI;
    }
    offer->part[best] = (uint16_t)(best_free - milli);
    if (offer->part[best] < milli_min)
        offer->part[best] = offer->part[--offer->count];
    return true;
}

/* One stream, from `at` in the lane. With `takes`, each class taken gains `step`. */
static inline uint32_t stream_fill(const struct fill_streams *streams, const struct lane *lane,
                                   size_t at, struct offer *offer, uint64_t *takes, uint32_t step)
{
    uint32_t got = 0;
    const struct item *item = lane->items[offer_tier(offer)] + at;

    for (;; item++) {
        if (item->cpu > offer->cpu) {
            if (item->milli == NONE)
                return got;
            continue;
        }
        if (item->whole) {
            if (item->whole > offer->whole)
                continue;
            offer->whole -= item->whole;
            got += item->whole * FILL_DEVICE_MILLI;
        } else if (item->milli) {
            if (!offer_share(offer, item->milli, streams->milli_min))
                continue;
            got += item->milli;
        }
        offer->cpu -= item->cpu;
        if (takes)
            takes[item->class] += step;
        if (offer->cpu < streams->cpu_min || (!offer->whole && !offer->count))
            return got;
        if (!offer->whole) {
            uint32_t tier = offer_tier(offer);

            item = lane->items[tier] + at + lane->next[tier][at + item->place + 1u] - 1;
        }
    }
}

double fill_streams_mean(const struct fill_streams *streams, const struct fill_node *node,
                         uint32_t count, uint64_t *takes, uint32_t step)
{
    const struct lane *lane = &streams->lanes[streams->lane_of[node->chip]];
    size_t stride = streams->asks + 1;
    struct offer begun = { .cpu = (int32_t)MIN(node->cpu_milli, FILL_CPU_MILLI_MAX) };
    uint64_t got = 0;

    for (uint32_t i = 0; i < node->devices_count; i++) {
        if (node->free_milli[i] >= FILL_DEVICE_MILLI)
            begun.whole++;
        else if (node->free_milli[i] >= streams->milli_min)
            begun.part[begun.count++] = node->free_milli[i];
    }
    if ((!begun.whole && !begun.count) || begun.cpu < streams->cpu_min || !lane->items[0])
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        struct offer offer;

        offer.cpu = begun.cpu;
        offer.whole = begun.whole;
        offer.count = begun.count;
        memcpy(offer.part, begun.part, begun.count * sizeof(*begun.part));
        got += stream_fill(streams, lane, i * stride, &offer, takes, step);
    }
    return (double)got / count;
}

/* ---- drawing ----------------------------------------------------------------------------- */

/* The order of all streams' asks: each class by its share of places, rounded, then shuffled. */
static void draw_order(struct fill_streams *streams, const struct fill_class *classes,
                       uint32_t classes_count, uint64_t seed)
{
    uint32_t places = streams->count * streams->asks, count = 0;
    struct rng rng = { seed };
    uint16_t last = NONE;
    double sum = 0;

    streams->cpu_min = INT32_MAX;
    streams->milli_min = FILL_DEVICE_MILLI;
    for (uint32_t i = 0; i < classes_count; i++) {
        const struct fill_ask *ask = &classes[i].ask;

        if (classes[i].drawn <= 0)
            continue;
        sum += classes[i].drawn * places;
        while (count < places && count + 0.5 < sum)
            streams->order[count++] = (uint16_t)i;
        last = (uint16_t)i;
        if (ask->devices) {
            streams->cpu_min = MIN(streams->cpu_min, (int32_t)ask->cpu_milli);
            streams->milli_min = MIN(streams->milli_min, ask->milli);
        }
    }
    while (count < places)
        streams->order[count++] = last;
    for (uint32_t i = places - 1; i > 0; i--) {
        uint32_t j = (uint32_t)rng_below(&rng, i + 1);
        uint16_t swap = streams->order[i];

        streams->order[i] = streams->order[j];
        streams->order[j] = swap;
    }
}

/* Which chips see the same asks: by the first chip that does. */
static void draw_lanes(struct fill_streams *streams, const struct fill_class *classes,
                       uint32_t classes_count)
{
    for (uint32_t chip = 0; chip < FILL_CHIPS_MAX; chip++) {
        uint32_t same;

        for (same = 0; same < chip; same++) {
            uint32_t i = 0;

            while (i < classes_count &&
                   !(classes[i].drawn > 0 && classes[i].ask.devices &&
                     ((classes[i].ask.chips >> chip ^ classes[i].ask.chips >> same) & 1)))
                i++;
            if (i == classes_count)
                break;
        }
        streams->lane_of[chip] = (uint16_t)same;
    }
}

/* Room for the lane's streams, once. */
static bool lane_reserve(struct lane *lane, size_t places)
{
    for (uint32_t tier = 0; tier < TIERS; tier++) {
        if (!lane->items[tier])
            lane->items[tier] = calloc(places, sizeof(*lane->items[tier]));
        if (!lane->next[tier])
            lane->next[tier] = calloc(places, sizeof(*lane->next[tier]));
        if (!lane->items[tier] || !lane->next[tier])
            return false;
    }
    return true;
}

/* One tier of one stream: what of it the chip may run and the tier lets through. */
static void lane_draw_stream(struct fill_streams *streams, const struct fill_class *classes,
                             uint32_t chip, uint32_t tier, uint32_t stream)
{
    uint32_t asks = streams->asks;
    size_t at = (size_t)stream * (asks + 1);
    struct item *items = streams->lanes[chip].items[tier] + at;
    uint16_t *next = streams->lanes[chip].next[tier] + at;
    uint16_t count = 0;

    for (uint32_t i = 0; i < asks; i++) {
        uint16_t class = streams->order[(size_t)stream * asks + i];
        const struct fill_ask *ask;

        next[i] = count;
        if (class == NONE)
            continue;
        ask = &classes[class].ask;
        if ((ask->devices && !(ask->chips >> chip & 1)) || ask->milli > tier_milli[tier])
            continue;
        items[count++] = (struct item){
            .cpu = (int32_t)ask->cpu_milli,
            .milli = ask->milli,
            .whole = ask->milli >= FILL_DEVICE_MILLI ? ask->devices : 0,
            .class = class,
            .place = (uint16_t)i,
        };
    }
    next[asks] = count;
    items[count] = (struct item){ .cpu = INT32_MAX, .milli = NONE };
}

static bool lane_draw(struct fill_streams *streams, const struct fill_class *classes, uint32_t chip)
{
    if (!lane_reserve(&streams->lanes[chip], (size_t)streams->count * (streams->asks + 1)))
        return false;
    for (uint32_t tier = 0; tier < TIERS; tier++)
        for (uint32_t stream = 0; stream < streams->count; stream++)
            lane_draw_stream(streams, classes, chip, tier, stream);
    return true;
}

void fill_streams_draw(struct fill_streams *streams, const struct fill_class *classes,
                       uint32_t classes_count, uint64_t seed)
{
    draw_order(streams, classes, classes_count, seed);
    draw_lanes(streams, classes, classes_count);
    for (uint32_t chip = 0; chip < FILL_CHIPS_MAX; chip++)
        if (streams->lane_of[chip] == chip && !lane_draw(streams, classes, chip))
            lane_free(&streams->lanes[chip]);
}
