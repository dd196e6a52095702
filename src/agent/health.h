/* health.h - what is believed of a node and its devices, from one look to the next: what turns sick
 * is so at once, what seems well again is watched for a while first.
 *
 * Pure but for health_look_at_node. One thread at a time. */
#pragma once

#include "agent/discover.h"

#define HEALTH_LOOKS_WELL 3u        /* in a row, before what was sick is well */
#define HEALTH_FAULT_HOLD_MS 600000 /* after the last fault that a kernel told of a device */
#define HEALTH_DISK_BYTES_LEAST (16 << 20)

struct health_fault { /* of a device, as a kernel's log has it */
    char address[16]; /* PCI */
    uint32_t code;
    char text[64];
};

struct health {
    uint32_t looks_well[NODE_DEVICES_MAX]; /* since it was sick */
    struct {
        char text[96];
        int64_t until_ms; /* 0 = none */
    } faults[NODE_DEVICES_MAX];
    uint64_t memory_errors; /* at the beginning */
    bool memory_is_known;
    bool node_is_sick;
    uint32_t node_looks_well;
    char node_reason[120]; /* "unhealthy: ..."; "" = it never was */
};

/* `looked` is what was just seen, `told` what the network knows: mends the health in `looked`. */
void health_judge(struct health *health, const struct node_info *told, struct node_info *looked,
                  int64_t now_ms);
/* A line of the kernel's log: true when it tells of a fault after which a device is not to be used.
 * NVIDIA's "NVRM: Xid (PCI:0000:3b:00): 79, ...". */
bool health_parse_fault(const char *line, size_t len, struct health_fault *fault_out);
/* The device at `place` is not well for a while. */
void health_take_fault(struct health *health, uint32_t place, const struct health_fault *fault,
                       int64_t now_ms);

/* Is the node itself fit? `reason_out` says why not. Reads /sys and asks the file system. */
bool health_look_at_node(struct health *health, const char *root, const char *state_dir,
                         char reason_out[120]);
/* True when the node has turned sick or well: health->node_is_sick, node_reason. */
bool health_judge_node(struct health *health, bool is_well, const char *reason);
