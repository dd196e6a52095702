#include "sched/fill_streams.h"

#include "base/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_BITS 17u /* of the cache of values */
#define GAINS_BITS 18u  /* of the cache of scores before the room is looked at */
#define CLASSES_KEPT (FILL_CLASSES_MAX / 4 * 3) /* over a draw: leaves places for new ones */
#define BALANCE_PART 4u                         /* supply is matched on a quarter of the streams */
#define BALANCE_STEP 4.0  /* how far one round may be off before it is cut off */
#define BIG_EXTRA_MAX 1.0 /* of the node: as if nothing else mattered */

struct value {
    uint64_t key;
    double value;
};
struct gain {
    uint64_t key;
    double gain;
    uint32_t free_milli; /* of the device to share */
};

struct fill {
    struct fill_params params;
    struct fill_memory memory;
    struct fill_streams *streams;
    struct value *values;
    struct gain *gains;
    uint64_t takes[FILL_CLASSES_MAX]; /* whole numbers: the order of nodes does not matter */
};

struct fill_params fill_params_default(void)
{
    return (struct fill_params){
        .streams = 32,
        .stream_asks = 60,
        .draw_first = 16,
        .draw_growth_percent = 175,
        .draw_interval_max = 8192,
        .balance_rounds = 2,
        .balance_floor = 0.2,
        .cpu_only_weight = 0.3,
        .big_devices = 8,
        .big_milli = 100,
        .big_slack = 0.5,
        .chip_slack = 0.3,
    };
}

static bool params_are_valid(const struct fill_params *p)
{
    return p->streams >= 1 && p->streams <= FILL_STREAMS_MAX && p->stream_asks >= 1 &&
           p->stream_asks <= FILL_STREAMS_MAX && p->draw_first >= 1 &&
           p->draw_growth_percent > 100 && p->draw_interval_max >= 1 && p->balance_floor > 0 &&
           p->balance_floor <= 1 && p->cpu_only_weight >= 0 && p->cpu_only_weight <= 1 &&
           p->big_devices >= 1;
}

struct fill *fill_create(const struct fill_params *params, uint64_t seed)
{
    struct fill *fill;

    if (!params_are_valid(params))
        return NULL;
    fill = calloc(1, sizeof(*fill));
    if (!fill)
        return NULL;
    fill->params = *params;
    fill->memory.seed = seed;
    fill->memory.draw_next = 1;
    fill->streams = fill_streams_create(params->streams, params->stream_asks);
    fill->values = calloc((size_t)1 << VALUES_BITS, sizeof(*fill->values));
    fill->gains = calloc((size_t)1 << GAINS_BITS, sizeof(*fill->gains));
    if (!fill->streams || !fill->values || !fill->gains) {
        fill_destroy(fill);
        return NULL;
    }
    return fill;
}

void fill_destroy(struct fill *fill)
{
    if (!fill)
        return;
    fill_streams_destroy(fill->streams);
    free(fill->values);
    free(fill->gains);
    free(fill);
}

const struct fill_params *fill_params(const struct fill *fill)
{
    return &fill->params;
}

const struct fill_memory *fill_memory(const struct fill *fill)
{
    return &fill->memory;
}

/* ---- nodes ------------------------------------------------------------------------------- */

static inline uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Summed over devices, so that their order does not matter and one can be exchanged. */
static inline uint64_t mix_device(uint32_t free_milli)
{
    return free_milli ? mix(free_milli * 0x9e3779b97f4a7c15u) : 0;
}

void fill_node_seal(struct fill_node *node)
{
    node->free_total = 0;
    node->free_hash = 0;
    for (uint32_t i = 0; i < node->devices_count; i++) {
        node->free_total += node->free_milli[i];
        node->free_hash += mix_device(node->free_milli[i]);
    }
}

static uint32_t node_whole(const struct fill_node *node)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < node->devices_count; i++)
        count += node->free_milli[i] >= FILL_DEVICE_MILLI;
    return count;
}

bool fill_fits(const struct fill_node *node, const struct fill_ask *ask)
{
    if (node->cpu_milli < ask->cpu_milli)
        return false;
    if (!ask->devices)
        return true;
    if (!(ask->chips >> node->chip & 1) || node->free_total < (uint32_t)ask->devices * ask->milli)
        return false;
    if (ask->milli >= FILL_DEVICE_MILLI)
        return node_whole(node) >= ask->devices;
    for (uint32_t i = 0; i < node->devices_count; i++)
        if (node->free_milli[i] >= ask->milli)
            return true;
    return false;
}

/* ---- what is learned --------------------------------------------------------------------- */

bool fill_ask_is_valid(const struct fill_ask *ask)
{
    if (ask->cpu_milli < 0 || ask->cpu_milli > FILL_CPU_MILLI_MAX ||
        ask->devices > FILL_DEVICES_MAX || ask->milli > FILL_DEVICE_MILLI)
        return false;
    if (!ask->devices)
        return ask->milli == 0;
    return ask->chips && ask->milli && (ask->devices == 1 || ask->milli == FILL_DEVICE_MILLI);
}

static bool ask_is_same(const struct fill_ask *a, const struct fill_ask *b)
{
    return a->cpu_milli == b->cpu_milli && a->devices == b->devices && a->milli == b->milli &&
           (!a->devices || a->chips == b->chips);
}

static double class_demand(const struct fill_class *one)
{
    return (double)one->count * one->ask.devices * one->ask.milli;
}

void fill_learn(struct fill *fill, const struct fill_ask *ask)
{
    struct fill_memory *memory = &fill->memory;

    assert(fill_ask_is_valid(ask));
    memory->arrivals_count++;
    for (uint32_t i = 0; i < memory->classes_count; i++)
        if (ask_is_same(&memory->classes[i].ask, ask)) {
            memory->classes[i].count++;
            return;
        }
    /* Nobody is put out between draws: what was drawn must be known to draw it again. */
    if (memory->classes_count < FILL_CLASSES_MAX)
        memory->classes[memory->classes_count++] =
            (struct fill_class){ .ask = *ask, .count = 1, .weight = 1 };
}

bool fill_is_due(const struct fill *fill)
{
    return fill->memory.arrivals_count >= fill->memory.draw_next;
}

/* ---- values ------------------------------------------------------------------------------ */

static inline uint64_t node_key(const struct fill *fill, const struct fill_node *node)
{
    uint64_t draw =
        fill->memory.draws_count * FILL_CHIPS_MAX + fill_streams_lane(fill->streams, node->chip);

    return mix(node->free_hash + (uint64_t)node->cpu_milli * 0x9e3779b97f4a7c15u +
               draw * 0xd1b54a32d192ed03u);
}

double fill_value(struct fill *fill, const struct fill_node *node)
{
    uint64_t key;
    struct value *known;

    if (!node->free_total || !fill->memory.draws_count)
        return 0;
    key = node_key(fill, node);
    known = &fill->values[key >> (64 - VALUES_BITS)];
    if (known->key != key) {
        known->value = fill_streams_mean(fill->streams, node, fill->params.streams, NULL, 0);
        known->key = key;
    }
    return known->value;
}

/* ---- scores ------------------------------------------------------------------------------ */

static void take_device(struct fill_node *node, uint32_t index, uint32_t milli)
{
    node->free_hash +=
        mix_device(node->free_milli[index] - milli) - mix_device(node->free_milli[index]);
    node->free_milli[index] = (uint16_t)(node->free_milli[index] - milli);
    node->free_total -= milli;
}

/* The value after the ask less the value before; for a share on its best device. */
static struct gain node_gain(struct fill *fill, const struct fill_node *node,
                             const struct fill_ask *ask)
{
    struct fill_node after = *node;
    struct gain best = { .gain = -INFINITY };
    uint64_t seen[FILL_DEVICE_MILLI / 64 + 1] = { 0 };

    after.cpu_milli -= ask->cpu_milli;
    if (!ask->devices || ask->milli >= FILL_DEVICE_MILLI) {
        for (uint32_t i = 0, left = ask->devices; left; i++)
            if (node->free_milli[i] >= FILL_DEVICE_MILLI) {
                take_device(&after, i, FILL_DEVICE_MILLI);
                left--;
            }
        best.gain = fill_value(fill, &after);
    } else {
        for (uint32_t i = 0; i < node->devices_count; i++) {
            uint32_t was = node->free_milli[i];
            double value;

            if (was < ask->milli || seen[was / 64] >> was % 64 & 1)
                continue;
            seen[was / 64] |= UINT64_C(1) << was % 64;
            take_device(&after, i, ask->milli);
            value = fill_value(fill, &after);
            if (value > best.gain || (value >= best.gain && was < best.free_milli)) {
                best.gain = value;
                best.free_milli = was;
            }
            after.free_milli[i] = (uint16_t)was;
            after.free_total = node->free_total;
            after.free_hash = node->free_hash;
        }
    }
    best.gain -= fill_value(fill, node);
    return best;
}

static struct gain known_gain(struct fill *fill, const struct fill_node *node,
                              const struct fill_ask *ask)
{
    uint64_t key = node_key(fill, node);
    struct gain *known;

    key = mix(key ^ ((uint64_t)ask->cpu_milli << 24 | (uint64_t)ask->devices << 12 | ask->milli));
    known = &fill->gains[key >> (64 - GAINS_BITS)];
    if (known->key != key) {
        struct gain gain = node_gain(fill, node, ask);

        *known = gain;
        known->key = key;
    }
    return *known;
}

static bool ask_is_big(const struct fill *fill, const struct fill_ask *ask)
{
    return ask->devices > fill->params.big_devices / 2;
}

/* How much of `share` of demand is left over when `part` of the room is kept for it. */
static double scarcity(double share, uint64_t room_milli, uint64_t part_milli, double slack)
{
    double over = share * (double)room_milli / (double)MAX(part_milli, 1u) - slack;

    return over > 0 ? MIN(over, 1) : 0;
}

struct fill_score fill_gain(struct fill *fill, const struct fill_node *node,
                            const struct fill_ask *ask)
{
    struct gain gain = { 0 };
    struct fill_score score = { 0 };

    /* Without free devices there is nothing to lose. */
    if (node->free_total)
        gain = known_gain(fill, node, ask);
    score.score = gain.gain;
    if (ask->devices && ask->milli < FILL_DEVICE_MILLI)
        while (score.device + 1u < node->devices_count &&
               node->free_milli[score.device] != gain.free_milli)
            score.device++;
    return score;
}

bool fill_is_kept(const struct fill *fill, const struct fill_node *node, const struct fill_ask *ask)
{
    return node->is_empty && node->devices_count >= fill->params.big_devices &&
           !ask_is_big(fill, ask);
}

double fill_less_kept(const struct fill *fill, double gain, uint16_t chip, uint32_t kept_milli,
                      const struct fill_ask *ask, const struct fill_room *room)
{
    const struct fill_params *params = &fill->params;
    const struct fill_memory *memory = &fill->memory;

    if (kept_milli)
        gain -= params->big_milli + BIG_EXTRA_MAX * kept_milli *
                                        scarcity(memory->big_share, room->free_all_milli,
                                                 room->big_empty_milli, params->big_slack);
    if (ask->devices && ask->chips == UINT64_MAX)
        gain -= (double)ask->devices * ask->milli *
                scarcity(memory->chip_share[chip], room->free_all_milli, room->free_milli[chip],
                         params->chip_slack);
    return gain;
}

struct fill_score fill_score(struct fill *fill, const struct fill_node *node,
                             const struct fill_ask *ask, const struct fill_room *room)
{
    struct fill_score score = fill_gain(fill, node, ask);

    score.score = fill_less_kept(fill, score.score, node->chip,
                                 fill_is_kept(fill, node, ask) ? node->free_total : 0, ask, room);
    return score;
}

/* ---- drawing ----------------------------------------------------------------------------- */

/* Make the past count less, and room for new classes where the rarest are. */
static void forget(struct fill_memory *memory)
{
    uint32_t kept = 0;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < memory->classes_count; i++)
        sum += memory->classes[i].count;
    for (uint32_t i = 0; i < memory->classes_count && sum >= FILL_LEARNED_MAX; i++)
        memory->classes[i].count /= 2;
    for (uint32_t least = 1; memory->classes_count > CLASSES_KEPT; least *= 2, kept = 0) {
        for (uint32_t i = 0; i < memory->classes_count; i++)
            if (memory->classes[i].count > least)
                memory->classes[kept++] = memory->classes[i];
        memory->classes_count = kept;
    }
}

/* The demand of classes that only some chips of the fleet can take, spread by room over these. */
static void learn_shares(struct fill_memory *memory, uint32_t big_devices,
                         const struct fill_room *room)
{
    double total = 0;

    memory->big_share = 0;
    memset(memory->chip_share, 0, sizeof(memory->chip_share));
    for (uint32_t i = 0; i < memory->classes_count; i++) {
        const struct fill_class *one = &memory->classes[i];
        double demand = class_demand(one), within = 0;

        total += demand;
        if (one->ask.devices > big_devices / 2)
            memory->big_share += demand;
        if (one->ask.chips == UINT64_MAX || demand <= 0)
            continue;
        for (uint32_t chip = 0; chip < FILL_CHIPS_MAX; chip++)
            if (one->ask.chips >> chip & 1)
                within += (double)room->total_milli[chip];
        for (uint32_t chip = 0; chip < FILL_CHIPS_MAX && within > 0; chip++)
            if (one->ask.chips >> chip & 1)
                memory->chip_share[chip] += demand * (double)room->total_milli[chip] / within;
    }
    if (total <= 0)
        return;
    memory->big_share /= total;
    for (uint32_t chip = 0; chip < FILL_CHIPS_MAX; chip++)
        memory->chip_share[chip] /= total;
}

static void learn_drawn(struct fill_memory *memory, double cpu_only_weight)
{
    double sum = 0;

    for (uint32_t i = 0; i < memory->classes_count; i++) {
        struct fill_class *one = &memory->classes[i];

        one->drawn = one->count * one->weight * (one->ask.devices ? 1 : cpu_only_weight);
        sum += one->drawn;
    }
    for (uint32_t i = 0; i < memory->classes_count && sum > 0; i++)
        memory->classes[i].drawn /= sum;
}

static void draw_streams(struct fill *fill, uint32_t round)
{
    const struct fill_memory *memory = &fill->memory;

    fill_streams_draw(fill->streams, memory->classes, memory->classes_count,
                      memory->seed ^ mix(memory->draws_count * 64 + round));
}

/* One round: what would the nodes take, and what is there to be had? Square roots keep the steps
 * small, and are the same on every machine. */
static void balance(struct fill *fill, const struct fill_group *groups, uint32_t groups_count,
                    uint64_t free_milli)
{
    struct fill_memory *memory = &fill->memory;
    uint32_t streams = MAX(fill->params.streams / BALANCE_PART, 1u);
    double demand = 0, top = 0;

    memset(fill->takes, 0, sizeof(fill->takes));
    for (uint32_t i = 0; i < groups_count; i++)
        if (groups[i].count && groups[i].node.free_total)
            fill_streams_mean(fill->streams, &groups[i].node, streams, fill->takes,
                              groups[i].count);
    for (uint32_t i = 0; i < memory->classes_count; i++)
        demand += class_demand(&memory->classes[i]);
    if (demand <= 0)
        return;
    for (uint32_t i = 0; i < memory->classes_count; i++) {
        struct fill_class *one = &memory->classes[i];
        double supply = one->count * (double)free_milli / demand;
        double ratio = fill->takes[i] ? supply * streams / (double)fill->takes[i] : BALANCE_STEP;

        one->weight *= sqrt(MAX(MIN(ratio, BALANCE_STEP), 1 / BALANCE_STEP));
        top = MAX(top, one->weight);
    }
    for (uint32_t i = 0; i < memory->classes_count; i++)
        memory->classes[i].weight =
            MAX(memory->classes[i].weight / top, fill->params.balance_floor);
}

void fill_draw(struct fill *fill, const struct fill_group *groups, uint32_t groups_count,
               const struct fill_room *room)
{
    struct fill_memory *memory = &fill->memory;
    uint64_t next = memory->arrivals_count * fill->params.draw_growth_percent / 100 + 1;

    memory->draws_count++;
    forget(memory);
    next = MIN(next, memory->arrivals_count + fill->params.draw_interval_max);
    memory->draw_next = MAX(next, fill->params.draw_first);
    learn_shares(memory, fill->params.big_devices, room);
    for (uint32_t round = 0; round < fill->params.balance_rounds; round++) {
        learn_drawn(memory, fill->params.cpu_only_weight);
        draw_streams(fill, round + 1);
        balance(fill, groups, groups_count, room->free_all_milli);
    }
    learn_drawn(memory, fill->params.cpu_only_weight);
    draw_streams(fill, 0);
}

static bool memory_is_valid(const struct fill_memory *memory)
{
    if (memory->classes_count > FILL_CLASSES_MAX || !(memory->big_share >= 0) ||
        !(memory->big_share <= 1))
        return false;
    for (uint32_t i = 0; i < FILL_CHIPS_MAX; i++)
        if (!(memory->chip_share[i] >= 0) || !(memory->chip_share[i] <= 1.0000001))
            return false;
    for (uint32_t i = 0; i < memory->classes_count; i++) {
        const struct fill_class *one = &memory->classes[i];

        if (!fill_ask_is_valid(&one->ask) || !(one->weight > 0) || !(one->weight <= 1) ||
            !(one->drawn >= 0) || !(one->drawn <= 1))
            return false;
    }
    return true;
}

int fill_restore(struct fill *fill, const struct fill_memory *memory)
{
    if (!memory_is_valid(memory))
        return -EINVAL;
    fill->memory = *memory;
    memset(fill->values, 0, sizeof(*fill->values) << VALUES_BITS);
    memset(fill->gains, 0, sizeof(*fill->gains) << GAINS_BITS);
    if (memory->draws_count)
        draw_streams(fill, 0);
    return 0;
}
