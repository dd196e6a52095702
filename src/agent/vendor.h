/* vendor.h - accelerators, one row of a table for each vendor: how its devices are seen without
 * its tool, which tool to ask, how to read what it prints, and what a job needs to use one.
 *
 * Parsers are pure: text in, devices out. They take any bytes (tools crash, drivers warn in the
 * middle of a table), keep what they understood and never read past `len`. A new vendor is one
 * row, one parser, one recorded output (tests/recorded/<vendor>/) and one row in the test. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "model/inventory.h"

#include <sys/types.h>

#define VENDOR_TOOL_MS_MAX 5000
#define VENDOR_OUTPUT_BYTES_MAX (1u << 20)
#define VENDOR_TOOLS_MAX 3u
#define VENDOR_ARGS_MAX 12u

struct vendor_device { /* what a tool said of one device; "" or -1 = nothing */
    uint32_t index;    /* as the tool counts */
    char model[96];
    char uuid[96];
    char bus_id[32]; /* PCI, as printed */
    char driver[64];
    char visibility_value[96]; /* "" = the index */
    char partition[32];        /* "1g.10gb" of a MIG instance */
    int64_t memory_bytes;
    int64_t power_mw;
    int32_t temperature_c;
    enum device_health health;
    char health_text[96];
};

struct vendor_list {
    uint32_t count;
    uint32_t dropped; /* more devices than NODE_DEVICES_MAX */
    bool wants_more;  /* the `more` tool has to be asked too (instances of a split device) */
    struct vendor_device devices[NODE_DEVICES_MAX];
};

/* 0 even when nothing was found; -EBADMSG when the text is not this tool's at all. */
typedef int vendor_parser(const char *text, size_t len, struct vendor_list *list, struct err *err);

struct vendor_tool {
    const char *argv[VENDOR_ARGS_MAX]; /* argv[0] is sought in the tool path */
    vendor_parser *parse;
};

struct vendor_adapter {
    const char *name;    /* "nvidia": device_info.vendor */
    const char *family;  /* "cuda": job variants */
    const char *runtime; /* for people: "CUDA" */
    const char *visibility_env;
    uint16_t pci_vendor;
    bool displays_count;      /* PCI class 03 (display) too, not only 12 and 0b40 */
    const char *driver_node;  /* must exist before the tool is asked; NULL = none */
    const char *node_glob;    /* one for each device, ending in its index; NULL = none is typical */
    const char *node_formats; /* of one device, ';' between, %u the index */
    bool render_nodes;        /* its /dev/dri nodes (by PCI address) belong to it as well */
    const char *nodes_common; /* of all devices, ';' between */
    const char *library_paths;                  /* LD_LIBRARY_PATH its tool needs; NULL = none */
    int32_t temperature_c_max;                  /* from here on the device counts as sick */
    struct vendor_tool tools[VENDOR_TOOLS_MAX]; /* asked in turn until one tells of a device */
    struct vendor_tool more; /* refines the list when it `wants_more`; argv[0] NULL = none */
};

/* The table; ends with a row whose name is NULL. */
const struct vendor_adapter *vendor_adapters(void);
const struct vendor_adapter *vendor_find(const char *name); /* NULL = none */

/* Where `tool` is: the first of `path` ("dir:dir"; NULL = PATH and the folders vendors use) that
 * has it. False when none. */
bool vendor_tool_find(const char *tool, const char *path, char *out, size_t out_bytes);
/* Run `file` with `argv` (argv[0] included, NULL at the end) without a shell, stdin and stderr
 * shut, in its own process group, which is killed at the time-out. Its output is appended to `out`.
 * -ETIMEDOUT; -EFBIG when it prints more than `out` holds (what came first is kept); -EIO and the
 * exit status when that is not 0 (the output is kept); -errno when it cannot be started. */
int vendor_tool_run(const char *file, const char *const *argv, const char *library_paths,
                    int64_t timeout_ms, struct buf *out, struct err *err);

/* The second half of vendor_tool_run, for a child forked otherwise: `pid` leads its process group
 * and writes to `fd` (closed here). `name` is for messages. */
int vendor_child_collect(pid_t pid, int fd, const char *name, int64_t deadline_ms, struct buf *out,
                         struct err *err);

vendor_parser vendor_parse_nvidia;         /* nvidia-smi --query-gpu, nine or ten columns */
vendor_parser vendor_parse_nvidia_list;    /* nvidia-smi -L: replaces split devices by instances */
vendor_parser vendor_parse_rocm;           /* rocm-smi --json */
vendor_parser vendor_parse_amd;            /* amd-smi static --json */
vendor_parser vendor_parse_gaudi;          /* hl-smi -Q */
vendor_parser vendor_parse_gaudi_table;    /* hl-smi */
vendor_parser vendor_parse_ascend;         /* npu-smi info */
vendor_parser vendor_parse_cambricon;      /* cnmon */
vendor_parser vendor_parse_hygon;          /* hy-smi --json, which is not always JSON */
vendor_parser vendor_parse_hygon_table;    /* hy-smi */
vendor_parser vendor_parse_mthreads;       /* mthreads-gmi */
vendor_parser vendor_parse_metax;          /* mx-smi, three layouts */
vendor_parser vendor_parse_iluvatar;       /* ixsmi --query-gpu */
vendor_parser vendor_parse_iluvatar_table; /* ixsmi */
vendor_parser vendor_parse_kunlun;         /* xpu_smi -m */
vendor_parser vendor_parse_kunlun_table;   /* xpu_smi, xpu-smi */
vendor_parser vendor_parse_enflame;        /* efsmi -q */
vendor_parser vendor_parse_enflame_table;  /* efsmi */
vendor_parser vendor_parse_biren;          /* brsmi gpu --query-gpu */

/* Shared by discovery and tests. */
void vendor_device_init(struct vendor_device *device); /* nothing known, healthy */
/* NULL when the list is full (counted in `dropped`). */
struct vendor_device *vendor_list_add(struct vendor_list *list);
void vendor_device_mark_sick(struct vendor_device *device, const char *fmt, ...) PRINTF_LIKE(2, 3);
