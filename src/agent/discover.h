/* discover.h - what this machine has: CPUs, memory, disk, accelerators; and whether it is fit to
 * run jobs.
 *
 * Nothing here fails because a tool is missing or prints nonsense: what could be read is reported,
 * the rest is said in node_info.notes and in the health of the device. Calls block (a vendor's tool
 * may take VENDOR_TOOL_MS_MAX): at start, or on a worker thread; never on the event loop. They keep
 * no state and may run on any thread, but `opencl` forks: ask for it before threads exist. */
#pragma once

#include "base/err.h"
#include "model/chip.h"
#include "model/inventory.h"

#define DISCOVER_CHECKS_MAX 40u

struct discover_config {
    const char *name;                  /* of the node; NULL = the host's, made a valid name */
    const char *disk_path;             /* scratch is measured here; NULL = "/" */
    const struct catalogue *catalogue; /* borrowed; NULL = every chip is "unknown-<vendor>" */
    bool opencl; /* look for OpenCL devices no vendor adapter has claimed; off: those known stay */
    /* For tests; NULL in real life. */
    const char *root;      /* put before /dev, /proc, /sys and /etc */
    const char *tool_path; /* where tools are sought, "dir:dir"; NULL = PATH and known folders */
    const char *opencl_library; /* NULL = libOpenCL.so.1 */
};

/* What a vendor's tool said just now of node_info.devices[i]; -1 = it did not say. */
struct discover_readings {
    int64_t power_mw[NODE_DEVICES_MAX];
    int32_t temperature_c[NODE_DEVICES_MAX];
    char address[NODE_DEVICES_MAX][16]; /* PCI, "0000:3b:00.0"; "" = not told */
};

/* All of it. `readings_out` may be NULL. -ENOMEM, or -EIO where the machine's CPUs cannot be read;
 * no other failure. node_info is large (about 60 KiB): not for small stacks. */
int discover_node(const struct discover_config *config, struct node_info *node_out,
                  struct discover_readings *readings_out, struct err *err);
/* Only the devices (and their notes) again, into a node that discover_node has filled: the same
 * devices keep their places, whatever order the tools list them in; one that is gone stays, sick;
 * new ones come after them. */
int discover_devices(const struct discover_config *config, struct node_info *node,
                     struct discover_readings *readings_out, struct err *err);

/* `mains doctor`: each says what was looked at and, when it is not well, what to do. */
struct discover_check {
    char name[32]; /* "sandbox" */
    bool ok;
    bool needed;      /* false: mains works without, with the loss that `text` names */
    char text[200];   /* what was found */
    char advice[200]; /* "" when ok */
};
/* Up to DISCOVER_CHECKS_MAX checks; the count. */
uint32_t discover_checks(const struct discover_config *config, struct discover_check *checks_out);
