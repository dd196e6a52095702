/* engine_part.h - what an attempt holds of a node, as engines before a cluster keep it. */
#pragma once

#include "agent/attempt.h"
#include "wire/wire.h"

#include <jansson.h>

struct engine_part {
    char node[MODEL_NAME_BYTES];
    uint32_t tasks, cpus, devices;
    int64_t memory_bytes;
    uint64_t device_mask; /* which of the node's, as the controller counts them */
};

void engine_part_take(const struct wire_part *from, struct engine_part *part_out);
/* A new reference. */
json_t *engine_parts_print(const struct engine_part *parts, uint32_t count);
/* At least one. `parts_out` is malloc'd. -EBADMSG, -ENOMEM. */
int engine_parts_read(const json_t *json, struct engine_part **parts_out, uint32_t *count_out);
/* What they come to from the record's start until then. */
void engine_parts_fill_usage(const struct engine_part *parts, uint32_t count, int64_t until_ms,
                             struct attempt_record *record);

/* A note of an attempt's, in its folder: whole on the disk, or as it was. Takes `root` over. */
int engine_note_write(int attempt_fd, const char *name, json_t *root);
json_t *engine_note_read(int attempt_fd, const char *name); /* NULL: there is none */
