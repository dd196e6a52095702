/* discover_internal.h - the parts of discovery; for discover*.c only. */
#pragma once

#include "agent/discover.h"
#include "agent/vendor.h"

#define DISCOVER_PATH_BYTES 512u
#define PCI_DEVICES_MAX 256u
#define OPENCL_MS_MAX 5000

/* "root" and `path` together. */
void discover_path(const struct discover_config *config, const char *path,
                   char out[DISCOVER_PATH_BYTES]);
bool discover_exists(const struct discover_config *config, const char *path);
/* The first line of a small file below the root, trimmed, printable; "" when it cannot be read. */
void discover_read_line(const struct discover_config *config, const char *path, char *out,
                        size_t out_bytes);
/* Add a note, "; " between; what does not fit is cut. */
void discover_note(struct node_info *node, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* CPUs, memory, disk, system: discover_host.c */
/* Where this process stands in a cgroup hierarchy: "" for v2, "memory" or "cpu" for v1's. */
bool discover_cgroup_path(const struct discover_config *config, const char *controller,
                          char out[DISCOVER_PATH_BYTES]);
int discover_host(const struct discover_config *config, struct node_info *node, struct err *err);

/* Accelerators and displays on the PCI bus: discover_pci.c */
struct pci_device {
    char address[16]; /* "0000:18:00.0" */
    uint16_t vendor;
    bool display; /* class 03; else a processing accelerator */
    uint32_t numa;
};
struct pci_list {
    uint32_t count;
    struct pci_device devices[PCI_DEVICES_MAX];
};
void discover_pci(const struct discover_config *config, struct pci_list *list);
/* Any tool's way of writing it into "0000:18:00.0"; false when it is none. */
bool discover_pci_address(const char *text, char out[16]);
const struct pci_device *discover_pci_find(const struct pci_list *list, const char *address);

/* OpenCL devices, by a process of their own: a driver that crashes takes nobody with it. */
struct opencl_device {
    uint32_t pci_vendor; /* CL_DEVICE_VENDOR_ID; most drivers give the PCI one */
    int64_t memory_bytes;
    char model[96];
    char driver[64];
};
/* GPUs and accelerators only. The count; 0 when there is no ICD, no library or no device. */
uint32_t discover_opencl(const struct discover_config *config, struct opencl_device *devices,
                         uint32_t devices_max, struct err *err);
