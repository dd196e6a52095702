/* fill.h - where a share of a device, or a few whole ones, does least harm to what will be asked.
 *
 * The value of a node's free room is how much of its devices a crowd of coming asks would fill:
 * the mean over drawn streams of asks, each offered in order to this node alone, which takes what
 * fits. A placement is scored by how that value changes, so that room nobody could use (190
 * thousandths, devices without CPUs) costs nothing to use up and much to make. This is Monte Carlo
 * fill. FGD (Weng et al., USENIX ATC 2023) counts what each ask alone could not use at once; a
 * fill counts what the mix can still use together, CPUs included.
 *
 * The mix is learned from the asks that arrive (`fill_learn`); nothing is given ahead. At growing
 * intervals (`fill_is_due`) the streams are drawn again. Asks of which more will come than nodes
 * counted on are then drawn more often, the others less (supply is the mix scaled to the free
 * room): two nodes must not both count on the same rare ask. On top of that, chips that
 * constrained asks need are kept from the unconstrained, and empty big nodes from small asks, by
 * the learned share of such asks. docs/quality/openb_fill.md says what this reaches.
 *
 * Devices are counted in 1/1000, CPUs in 1/1000 of a core. Memory is for the caller to check: it
 * is not valued. One owner; no clock, no I/O; the same calls in the same order give the same
 * answers. Space is bounded: 9 MiB with the default parameters, and 0.1 MiB for each set of chips
 * that sees different asks.
 *
 * Snapshots: `struct fill_memory` is all that lasts (25 KiB); streams and cached values are made
 * from it by fill_restore. It changes in fill_learn and fill_draw alone, so replaying these calls
 * in their order gives the same memory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FILL_CHIPS_MAX 64u      /* kinds of chip told apart: bits of a mask */
#define FILL_DEVICES_MAX 64u    /* of a node */
#define FILL_CLASSES_MAX 512u   /* distinct asks remembered; a draw lets the rarest go */
#define FILL_STREAMS_MAX 1024u  /* drawn streams, and asks in each */
#define FILL_LEARNED_MAX 65536u /* counts are halved there by a draw, so that the mix may drift */
#define FILL_DEVICE_MILLI 1000u
#define FILL_CPU_MILLI_MAX 1000000000 /* a million cores */

struct fill_params {
    uint32_t streams;             /* drawn, 1 .. FILL_STREAMS_MAX */
    uint32_t stream_asks;         /* in each, 1 .. FILL_STREAMS_MAX */
    uint32_t draw_first;          /* arrivals before the second draw (the first is at once) */
    uint32_t draw_growth_percent; /* the next after this much of the arrivals, > 100 */
    uint32_t draw_interval_max;   /* or after so many more at the latest */
    uint32_t balance_rounds;      /* of matching draws with supply; 0 = draw by the mix alone */
    double balance_floor;         /* least weight beside the scarcest class's, 0 < .. <= 1 */
    double cpu_only_weight;       /* of asks without devices in the mix, 0 .. 1 */
    uint32_t big_devices;         /* a node of so many devices, an ask of more than half, is big */
    double big_milli;             /* what an empty big node is worth more to big asks, always */
    double big_slack, chip_slack; /* share of demand over share of room above which more is kept */
};
/* The one default, for every fleet and load. */
struct fill_params fill_params_default(void);

struct fill_ask {
    int64_t cpu_milli;
    uint16_t devices; /* 0 .. FILL_DEVICES_MAX */
    uint16_t milli;   /* of each: less than 1000 only of one device; 0 of none */
    uint64_t chips;   /* a bit per kind that will do; UINT64_MAX = any */
};
/* Free room of a node as the value sees it: fill in all but the last two, then fill_node_seal. */
struct fill_node {
    int64_t cpu_milli;
    uint16_t chip;          /* < FILL_CHIPS_MAX; any when there are no devices */
    uint16_t devices_count; /* usable ones */
    bool is_empty;          /* nothing runs here */
    uint16_t free_milli[FILL_DEVICES_MAX];
    uint32_t free_total;
    uint64_t free_hash; /* of the free devices, in whatever order */
};
void fill_node_seal(struct fill_node *node);

/* Nodes alike in all that counts. */
struct fill_group {
    struct fill_node node;
    uint32_t count;
};
/* Room of the whole fleet as it is now; the caller keeps these sums. */
struct fill_room {
    uint64_t free_milli[FILL_CHIPS_MAX], total_milli[FILL_CHIPS_MAX];
    uint64_t free_all_milli;
    uint64_t big_empty_milli; /* of empty nodes of params.big_devices and more */
};

struct fill_class {
    struct fill_ask ask;
    uint32_t count; /* arrivals, aged */
    double weight;  /* beside its count, from matching supply: 0 < .. <= 1 */
    double drawn;   /* its share of the streams in force */
};
/* All that lasts. */
struct fill_memory {
    uint64_t seed, draws_count, arrivals_count, draw_next;
    double big_share, chip_share[FILL_CHIPS_MAX]; /* of demand, when last drawn */
    uint32_t classes_count;
    struct fill_class classes[FILL_CLASSES_MAX];
};

struct fill_score {
    double score;    /* more is better; comparable between nodes for one ask and one draw */
    uint16_t device; /* index for a share; for whole devices take any wholly free ones */
};

struct fill; /* opaque */
/* NULL: parameters out of range, or memory is short. Free with fill_destroy. */
struct fill *fill_create(const struct fill_params *params, uint64_t seed);
void fill_destroy(struct fill *fill);
const struct fill_params *fill_params(const struct fill *fill);

bool fill_ask_is_valid(const struct fill_ask *ask);
/* An ask has arrived: once each, whether it can be placed or not. It must be valid. */
void fill_learn(struct fill *fill, const struct fill_ask *ask);
/* Enough has been learned for new streams. */
bool fill_is_due(const struct fill *fill);
/* Draw new streams, matched with the supply these nodes leave; every score changes. Groups'
 * nodes are sealed. Costs about balance_rounds / 4 values for each group. */
void fill_draw(struct fill *fill, const struct fill_group *groups, uint32_t groups_count,
               const struct fill_room *room);

/* CPUs, devices and chip. */
bool fill_fits(const struct fill_node *node, const struct fill_ask *ask);
/* The score of an ask on a sealed node that it fits. Costs 2-20 us for a value not seen since the
 * last draw, 30 ns for a known one. */
struct fill_score fill_score(struct fill *fill, const struct fill_node *node,
                             const struct fill_ask *ask, const struct fill_room *room);
/* The score in two steps, for who keeps the first: it stands until the next draw, whatever else is
 * placed. Then what is kept back for others is taken off, of `kept_milli`: the node's free_total
 * where fill_is_kept, else 0. */
struct fill_score fill_gain(struct fill *fill, const struct fill_node *node,
                            const struct fill_ask *ask);
bool fill_is_kept(const struct fill *fill, const struct fill_node *node,
                  const struct fill_ask *ask);
double fill_less_kept(const struct fill *fill, double gain, uint16_t chip, uint32_t kept_milli,
                      const struct fill_ask *ask, const struct fill_room *room);
/* What is expected to be filled of a sealed node's free devices, in 1/1000. */
double fill_value(struct fill *fill, const struct fill_node *node);

const struct fill_memory *fill_memory(const struct fill *fill);
/* Go on from a memory kept earlier: answers are as they were then. -EINVAL: out of range, and
 * nothing has changed. */
int fill_restore(struct fill *fill, const struct fill_memory *memory);
