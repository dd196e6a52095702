/* The bound: a price on each class of pod, then each device filled as profitably as they allow.
 *
 * Any prices l >= 0 give
 *   used <= sum over classes of supply x l + sum over devices of the best pattern's profit,
 * a pattern being any pods of at most 1000 milli together that the chip may run, each worth milli
 * - l; a pod of n whole devices counts as n pieces that only nodes of n devices and more take.
 * (That is the Lagrangian dual of cutting stock; CPUs and memory are left out, which only makes
 * the bound looser.) Prices move against the difference between what the best patterns would use
 * and what there is, by Polyak's step towards what a placement reached; the least value met is
 * returned. */
#include "openb.h"

#include "base/cleanup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES_MAX 1024u
#define KINDS_MAX 32u
#define ROUNDS 1000u
#define STALE_MAX 40u
#define STEPS 100u /* of 10 milli: every share is a multiple */

struct piece {
    uint16_t size;    /* steps */
    uint16_t devices; /* nodes with fewer cannot take it */
    uint64_t chips;
    double supply, price, used; /* of a piece: 1 of n devices of a pod */
};
struct kind {
    uint16_t chip, devices;
    double devices_sum;
};
struct bound {
    struct piece pieces[CLASSES_MAX];
    uint32_t pieces_count;
    struct kind kinds[KINDS_MAX];
    uint32_t kinds_count;
    double best_prices[CLASSES_MAX];
};

/* False: too many classes. */
static bool add_pod(struct bound *bound, const struct openb_pod *pod)
{
    if (!pod->devices)
        return true;
    for (uint32_t i = 0; i < bound->pieces_count; i++) {
        struct piece *piece = &bound->pieces[i];

        if (piece->size == pod->milli / 10 && piece->devices == pod->devices &&
            piece->chips == pod->chips) {
            piece->supply += pod->devices;
            return true;
        }
    }
    if (bound->pieces_count == CLASSES_MAX || pod->milli % 10)
        return false;
    bound->pieces[bound->pieces_count++] = (struct piece){ .size = (uint16_t)(pod->milli / 10),
                                                           .devices = pod->devices,
                                                           .chips = pod->chips,
                                                           .supply = pod->devices };
    return true;
}

static bool add_node(struct bound *bound, const struct openb_node *node)
{
    uint32_t i = 0;

    while (i < bound->kinds_count &&
           (bound->kinds[i].chip != node->chip || bound->kinds[i].devices != node->devices))
        i++;
    if (i == bound->kinds_count) {
        if (i == KINDS_MAX)
            return false;
        bound->kinds[bound->kinds_count++] =
            (struct kind){ .chip = node->chip, .devices = node->devices };
    }
    bound->kinds[i].devices_sum += node->devices;
    return true;
}

/* The best pattern of one device of the kind; adds what all its devices use by it. */
static double fill_kind(struct bound *bound, const struct kind *kind)
{
    int32_t best_of[STEPS + 1];
    double worth_of[STEPS + 1], worth[STEPS + 1] = { 0 };
    int32_t chosen[STEPS + 1];

    for (uint32_t s = 0; s <= STEPS; s++) {
        best_of[s] = -1;
        worth_of[s] = 0;
    }
    for (uint32_t i = 0; i < bound->pieces_count; i++) {
        const struct piece *piece = &bound->pieces[i];
        double value = piece->size * 10.0 - piece->price;

        if (piece->devices > kind->devices || !(piece->chips >> kind->chip & 1))
            continue;
        if (value > worth_of[piece->size]) {
            worth_of[piece->size] = value;
            best_of[piece->size] = (int32_t)i;
        }
    }
    for (uint32_t room = 0; room <= STEPS; room++) {
        chosen[room] = -1;
        worth[room] = room ? worth[room - 1] : 0;
        for (uint32_t s = 1; s <= room; s++)
            if (best_of[s] >= 0 && worth[room - s] + worth_of[s] > worth[room] + 1e-9) {
                worth[room] = worth[room - s] + worth_of[s];
                chosen[room] = (int32_t)s;
            }
    }
    for (int32_t room = STEPS; room > 0;) {
        int32_t s = chosen[room];

        if (s < 0) {
            room--;
            continue;
        }
        bound->pieces[best_of[s]].used += kind->devices_sum;
        room -= s;
    }
    return worth[STEPS] * kind->devices_sum;
}

static double evaluate(struct bound *bound)
{
    double value = 0;

    for (uint32_t i = 0; i < bound->pieces_count; i++) {
        bound->pieces[i].used = 0;
        value += bound->pieces[i].supply * bound->pieces[i].price;
    }
    for (uint32_t i = 0; i < bound->kinds_count; i++)
        value += fill_kind(bound, &bound->kinds[i]);
    return value;
}

static void move_prices(struct bound *bound, double distance)
{
    double square = 1;

    for (uint32_t i = 0; i < bound->pieces_count; i++) {
        double over = bound->pieces[i].used - bound->pieces[i].supply;

        if (over > 0 || bound->pieces[i].price > 0)
            square += over * over;
    }
    for (uint32_t i = 0; i < bound->pieces_count; i++) {
        struct piece *piece = &bound->pieces[i];

        piece->price += distance / square * (piece->used - piece->supply);
        piece->price = MAX(MIN(piece->price, piece->size * 10.0), 0);
    }
}

/* Go on from the best prices met with a shorter step whenever it has not got better for long. */
static double search(struct bound *bound, double least, double target)
{
    double shorten = 1;
    uint32_t stale = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        double value = evaluate(bound);

        if (value < least) {
            least = value;
            stale = 0;
            for (uint32_t i = 0; i < bound->pieces_count; i++)
                bound->best_prices[i] = bound->pieces[i].price;
        } else if (++stale == STALE_MAX) {
            shorten *= 0.6;
            stale = 0;
            for (uint32_t i = 0; i < bound->pieces_count; i++)
                bound->pieces[i].price = bound->best_prices[i];
            evaluate(bound);
        }
        move_prices(bound, shorten * (value - target));
    }
    return least;
}

/* One search; `with_chips` false lets every pod run anywhere: looser where chips bind, but sooner
 * at its least. `start` and `out` are prices by size, of pieces of one device. */
static double bound_of(struct bound *bound, const struct openb *openb, bool with_chips,
                       double reached, const double *start, double *out)
{
    double total = (double)openb->total_milli;

    memset(bound, 0, sizeof(*bound));
    for (uint32_t i = 0; i < openb->arrivals_count; i++) {
        struct openb_pod pod = openb->arrivals[i];

        if (!with_chips)
            pod.chips = UINT64_MAX;
        if (!add_pod(bound, &pod))
            return total;
    }
    for (uint32_t i = 0; i < openb->nodes_count; i++)
        if (!add_node(bound, &openb->nodes[i]))
            return total;
    for (uint32_t i = 0; i < bound->pieces_count; i++)
        bound->pieces[i].price = bound->best_prices[i] = start[bound->pieces[i].size];
    total = search(bound, total, reached);
    for (uint32_t i = 0; i < bound->pieces_count; i++)
        if (bound->pieces[i].devices == 1 || bound->pieces[i].size < STEPS)
            out[bound->pieces[i].size] = bound->best_prices[i];
    return total;
}

double openb_bound(const struct openb *openb, double reached_percent)
{
    struct bound *bound = calloc(1, sizeof(*bound));
    double total = (double)openb->total_milli, reached = reached_percent / 100 * total;
    double prices[STEPS + 1], least = total;

    /* From two starts: where few pods are large the search from nothing stops early. */
    for (uint32_t start = 0; bound && start < 2; start++) {
        for (uint32_t s = 0; s <= STEPS; s++)
            prices[s] = start * s * 5.0;
        least = MIN(least, bound_of(bound, openb, false, reached, prices, prices));
        least = MIN(least, bound_of(bound, openb, true, reached, prices, prices));
    }
    free(bound);
    return 100 * least / total;
}
