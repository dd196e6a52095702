/* fill_streams.h - streams of asks drawn from a mix, and what a node takes of them: the inside of
 * fill.h, on its own so that each can be read alone.
 *
 * Each stream is kept once for each set of chips that see the same asks (a lane), and there once
 * for each bound on what an ask may want of one device (a tier), so that a nearly full node looks
 * at few asks. That changes the cost, never the result. */
#pragma once

#include "sched/fill.h"

#include <stddef.h>

struct fill_streams; /* opaque */
/* NULL when memory is short. Room for streams is taken when drawn: 64 bytes an ask and lane. */
struct fill_streams *fill_streams_create(uint32_t streams, uint32_t asks);
void fill_streams_destroy(struct fill_streams *streams);

/* Draw all streams: each class gets its share of places (`drawn`; 0 = none), rounded, in an order
 * shuffled by the seed. A lane for which memory is short values nothing: worse placements, no
 * harm. */
void fill_streams_draw(struct fill_streams *streams, const struct fill_class *classes,
                       uint32_t classes_count, uint64_t seed);
/* Chips with the same number see the same streams. */
uint32_t fill_streams_lane(const struct fill_streams *streams, uint16_t chip);
/* What the node takes of a stream, in 1/1000 of a device: the mean over the first `count`. With
 * `takes` (by class), each ask taken adds `step`. */
double fill_streams_mean(const struct fill_streams *streams, const struct fill_node *node,
                         uint32_t count, uint64_t *takes, uint32_t step);
