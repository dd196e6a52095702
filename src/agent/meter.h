/* meter.h - joules of attempts: measured between start and end where the machine's counters can be
 * read, modelled from what the attempt used where not. */
#pragma once

#include "agent/attempt.h"
#include "agent/energy.h"

struct meter; /* opaque; one thread */

/* `is_here`: the node is this machine, whose counters may be read. */
int meter_create(const struct node_info *node, const struct catalogue *catalogue, bool is_here,
                 struct meter **meter_out, struct err *err);
void meter_destroy(struct meter *meter);
/* The node's devices changed. */
void meter_set_node(struct meter *meter, const struct node_info *node,
                    const struct catalogue *catalogue);
/* At least once in ENERGY_SAMPLE_MS_MAX; with the devices' power as just read
 * (discover_readings.power_mw), or NULL. */
void meter_tick(struct meter *meter, const int64_t *power_mw, uint32_t devices_count);
void meter_begin(struct meter *meter, struct attempt_key key);
/* Fill in the usage's energy; forgets the attempt's beginning when `ended`. */
void meter_read(struct meter *meter, struct attempt_record *record, bool ended);
