#include "agent/discover.h"

#include "agent/discover_internal.h"
#include "agent/vendor_text.h"
#include "base/file.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One look at the devices, gathered before it is fitted into the node. */
struct look {
    const struct discover_config *config;
    struct node_info *node; /* only devices and notes */
    struct discover_readings readings;
    struct pci_list pci;
    struct vendor_list list; /* of the adapter at hand */
    uint16_t absent[32];     /* PCI vendors whose devices are there and whose tool says nothing */
    uint32_t absent_count;
};

static bool pci_belongs(const struct pci_device *device, const struct vendor_adapter *adapter)
{
    return device->vendor == adapter->pci_vendor && (!device->display || adapter->displays_count);
}

static uint32_t count_pci(const struct look *look, const struct vendor_adapter *adapter)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < look->pci.count; i++)
        count += pci_belongs(&look->pci.devices[i], adapter) ? 1 : 0;
    return count;
}

/* The numbers its device nodes end in, ascending. */
static uint32_t find_nodes(const struct look *look, const struct vendor_adapter *adapter,
                           uint32_t indexes[NODE_DEVICES_MAX])
{
    char pattern[DISCOVER_PATH_BYTES];
    uint32_t count = 0;
    glob_t found;

    if (!adapter->node_glob)
        return 0;
    discover_path(look->config, adapter->node_glob, pattern);
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc && count < NODE_DEVICES_MAX; i++) {
        const char *path = found.gl_pathv[i];
        const char *digits = path + strlen(path);
        uint32_t index;

        while (digits > path && digits[-1] >= '0' && digits[-1] <= '9')
            digits--;
        if (slice_parse_u32(slice_of(digits), &index) &&
            !strchr("/", digits > path ? digits[-1] : '/'))
            indexes[count++] = index;
    }
    globfree(&found);
    for (uint32_t i = 1; i < count; i++) /* few: glob sorts "10" before "2" */
        for (uint32_t k = i; k > 0 && indexes[k - 1] > indexes[k]; k--) {
            uint32_t swap = indexes[k];

            indexes[k] = indexes[k - 1];
            indexes[k - 1] = swap;
        }
    return count;
}

static void add_node(const struct look *look, const char *path, struct device_info *device)
{
    size_t len = strlen(device->device_nodes);

    if (!discover_exists(look->config, path) ||
        len + strlen(path) + 2 > sizeof(device->device_nodes))
        return;
    snprintf(device->device_nodes + len, sizeof(device->device_nodes) - len, "%s%s", len ? ";" : "",
             path);
}

/* Each path of "a%u;b%u", with the number in the place of %u. */
static void add_nodes(const struct look *look, const char *paths, uint32_t number,
                      struct device_info *device)
{
    while (paths && *paths) {
        size_t len = strcspn(paths, ";");
        const char *mark = memmem(paths, len, "%u", 2);
        char path[128];

        if (mark)
            snprintf(path, sizeof(path), "%.*s%" PRIu32 "%.*s", (int)(mark - paths), paths, number,
                     (int)(paths + len - mark - 2), mark + 2);
        else
            snprintf(path, sizeof(path), "%.*s", (int)len, paths);
        add_node(look, path, device);
        paths += len + (paths[len] ? 1 : 0);
    }
}

/* The nodes of a display or compute device below /dev/dri, by its PCI address. */
static void add_render_nodes(const struct look *look, const char *address,
                             struct device_info *device)
{
    char pattern[DISCOVER_PATH_BYTES], path[128];
    glob_t found;

    snprintf(pattern, sizeof(pattern), "%s/sys/bus/pci/devices/%s/drm/*[0-9]",
             look->config->root ? look->config->root : "", address);
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *name = strrchr(found.gl_pathv[i], '/') + 1;

        if (strncmp(name, "card", 4) != 0 && strncmp(name, "renderD", 7) != 0)
            continue;
        snprintf(path, sizeof(path), "/dev/dri/%.40s", name);
        add_node(look, path, device);
    }
    globfree(&found);
}

/* /dev/nvidiaN counts by the driver's minor number, which need not be nvidia-smi's index. */
static uint32_t node_number(const struct look *look, const char *address, uint32_t index)
{
    CLEANUP(buf_fini) struct buf text = buf_init(4096);
    char path[DISCOVER_PATH_BYTES], file[128];
    struct slice rest, line;
    uint32_t minor;

    snprintf(file, sizeof(file), "/proc/driver/nvidia/gpus/%s/information", address);
    discover_path(look->config, file, path);
    if (file_read(path, &text, NULL) < 0 || !text.data)
        return index;
    rest = (struct slice){ text.data, text.len };
    while (slice_next_line(&rest, &line))
        if (slice_begins(line, "Device Minor:") && slice_parse_u32(slice_word(line, 2), &minor))
            return minor;
    return index;
}

/* The catalogue's kind of it, made a name of its own where it is a part of a device. */
static void name_chip(const struct look *look, const char *vendor,
                      const struct vendor_device *found, struct device_info *device)
{
    const struct catalogue *catalogue = look->config->catalogue;
    const struct chip *chip = NULL;
    char kind[MODEL_NAME_BYTES];

    if (catalogue && found->model[0])
        chip = catalogue_match(catalogue, vendor, found->model, found->memory_bytes);
    if (chip)
        snprintf(kind, sizeof(kind), "%s", chip->kind);
    else
        snprintf(kind, sizeof(kind), "unknown-%s", vendor);
    /* "mig-" in front, or a job that asks for the chip, by the beginning of its name, would get
     * a part of it. */
    if (found->partition[0])
        snprintf(device->chip, sizeof(device->chip), "mig-%.30s-%.24s", kind, found->partition);
    else
        snprintf(device->chip, sizeof(device->chip), "%s", kind);
    for (char *p = device->chip; *p; p++)
        if (!slice_is_name_byte(*p))
            *p = '-';
}

static struct device_info *take_place(struct look *look, uint32_t *place_out)
{
    struct node_info *node = look->node;

    if (node->devices_count == NODE_DEVICES_MAX)
        return NULL;
    *place_out = node->devices_count++;
    memset(&node->devices[*place_out], 0, sizeof(node->devices[0]));
    node->devices[*place_out].numa = UINT32_MAX;
    look->readings.power_mw[*place_out] = -1;
    look->readings.temperature_c[*place_out] = -1;
    look->readings.address[*place_out][0] = '\0';
    return &node->devices[*place_out];
}

static void add_device(struct look *look, const struct vendor_adapter *adapter,
                       const struct vendor_device *found)
{
    uint32_t place;
    struct device_info *device = take_place(look, &place);
    const struct pci_device *pci = NULL;
    char address[16] = "";
    uint32_t number = found->index;

    if (!device)
        return;
    if (discover_pci_address(found->bus_id, address))
        pci = discover_pci_find(&look->pci, address);
    name_chip(look, adapter->name, found, device);
    snprintf(device->vendor, sizeof(device->vendor), "%s", adapter->name);
    snprintf(device->family, sizeof(device->family), "%s", adapter->family);
    snprintf(device->driver, sizeof(device->driver), "%s", found->driver);
    snprintf(device->visibility_env, sizeof(device->visibility_env), "%s", adapter->visibility_env);
    device->index = found->index;
    device->numa = pci ? pci->numa : UINT32_MAX;
    device->memory_bytes = MAX(found->memory_bytes, 0);
    if (found->uuid[0])
        snprintf(device->uuid, sizeof(device->uuid), "%s", found->uuid);
    else if (address[0]) /* still a name of its own, over restarts */
        snprintf(device->uuid, sizeof(device->uuid), "pci-%s", address);
    if (found->visibility_value[0])
        snprintf(device->visibility_value, sizeof(device->visibility_value), "%s",
                 found->visibility_value);
    else
        snprintf(device->visibility_value, sizeof(device->visibility_value), "%" PRIu32,
                 found->index);

    device->health = found->health;
    snprintf(device->health_text, sizeof(device->health_text), "%s", found->health_text);
    if (device->health == DEVICE_OK && found->temperature_c >= adapter->temperature_c_max) {
        device->health = DEVICE_SICK;
        snprintf(device->health_text, sizeof(device->health_text), "temperature %" PRId32 " C",
                 found->temperature_c);
    }

    if (address[0] && strcmp(adapter->name, "nvidia") == 0)
        number = node_number(look, address, number);
    add_nodes(look, adapter->node_formats, number, device);
    if (adapter->render_nodes && address[0])
        add_render_nodes(look, address, device);
    add_nodes(look, adapter->nodes_common, 0, device);
    look->readings.power_mw[place] = found->power_mw;
    look->readings.temperature_c[place] = found->temperature_c;
    memcpy(look->readings.address[place], address, sizeof(address));
}

/* Run one tool and parse what it says, even when it failed half-way. 0 when it told of devices. */
static int ask_tool(struct look *look, const struct vendor_adapter *adapter,
                    const struct vendor_tool *tool, struct err *err)
{
    CLEANUP(buf_fini) struct buf out = buf_init(VENDOR_OUTPUT_BYTES_MAX);
    struct err run_err = { 0 };
    char file[256];
    int run_rc, rc;

    if (!vendor_tool_find(tool->argv[0], look->config->tool_path, file, sizeof(file)))
        return err_set(err, -ENOENT, "%s is missing", tool->argv[0]);
    run_rc = vendor_tool_run(file, tool->argv, adapter->library_paths, VENDOR_TOOL_MS_MAX, &out,
                             &run_err);
    rc = tool->parse(out.data ? out.data : "", out.len, &look->list, err);
    if (look->list.count > 0)
        return 0;
    if (rc == 0)
        return err_set(err, -ENODEV, "%s: tells of no device", tool->argv[0]);
    if (run_rc < 0 && out.len == 0)
        return err_set(err, run_rc, "%s", run_err.text);
    return err_prefix(err, rc, "%s", tool->argv[0]);
}

static int ask_tools(struct look *look, const struct vendor_adapter *adapter, struct err *err)
{
    struct err first = { 0 };
    int rc = -ENOENT;

    for (uint32_t i = 0; i < VENDOR_TOOLS_MAX && adapter->tools[i].argv[0]; i++) {
        memset(&look->list, 0, sizeof(look->list));
        rc = ask_tool(look, adapter, &adapter->tools[i], err);
        if (rc == 0)
            break;
        /* What the first tool that is there says is the best clue. */
        if (i == 0 || strstr(first.text, "is missing"))
            first = *err;
    }
    if (rc < 0) {
        *err = first;
        return rc;
    }
    if (look->list.wants_more && adapter->more.argv[0]) {
        struct vendor_list *before = malloc(sizeof(*before));
        struct err more_err = { 0 };

        if (!before)
            return 0;
        *before = look->list;
        if (ask_tool(look, adapter, &adapter->more, &more_err) < 0) {
            look->list = *before;
            discover_note(look->node, "%s", more_err.text);
        }
        free(before);
    }
    return 0;
}

/* Devices that are there while nothing tells of them: shown, and never used. */
static void add_absent(struct look *look, const struct vendor_adapter *adapter,
                       const uint32_t *indexes, uint32_t count, const char *reason)
{
    for (uint32_t i = 0; i < count; i++) {
        struct vendor_device found;

        vendor_device_init(&found);
        found.index = indexes[i];
        found.health = DEVICE_SICK;
        snprintf(found.health_text, sizeof(found.health_text), "present, but %.80s", reason);
        add_device(look, adapter, &found);
    }
}

static void look_at_vendor(struct look *look, const struct vendor_adapter *adapter)
{
    uint32_t indexes[NODE_DEVICES_MAX];
    uint32_t nodes = find_nodes(look, adapter, indexes);
    uint32_t pci = count_pci(look, adapter);
    struct err err = { 0 };

    if (nodes == 0 && pci == 0)
        return;
    if (adapter->driver_node && !discover_exists(look->config, adapter->driver_node)) {
        discover_note(look->node, "%s: %" PRIu32 " on the PCI bus, but no driver (%s)",
                      adapter->name, pci, adapter->driver_node);
        return;
    }
    if (ask_tools(look, adapter, &err) == 0) {
        for (uint32_t i = 0; i < look->list.count; i++)
            add_device(look, adapter, &look->list.devices[i]);
        if (look->list.dropped)
            discover_note(look->node, "%s: %" PRIu32 " devices more than a node may have",
                          adapter->name, look->list.dropped);
        return;
    }
    discover_note(look->node, "%s: %" PRIu32 " present, but %s", adapter->name, MAX(nodes, pci),
                  err.text);
    if (nodes == 0 && adapter->driver_node) /* render nodes: as many as on the bus */
        for (nodes = 0; nodes < pci && nodes < NODE_DEVICES_MAX; nodes++)
            indexes[nodes] = nodes;
    if (look->absent_count < ARRAY_COUNT(look->absent))
        look->absent[look->absent_count++] = adapter->pci_vendor;
    add_absent(look, adapter, indexes, nodes, err.text);
}

/* Is this PCI vendor's hardware told of by an adapter's tool? */
static bool is_claimed(const struct look *look, uint32_t pci_vendor)
{
    for (uint32_t i = 0; i < look->absent_count; i++)
        if (look->absent[i] == pci_vendor)
            return false;
    for (uint32_t i = 0; i < look->node->devices_count; i++) {
        const struct device_info *device = &look->node->devices[i];
        const struct vendor_adapter *adapter = vendor_find(device->vendor);

        if (adapter && adapter->pci_vendor == pci_vendor &&
            strcmp(device->family, adapter->family) == 0)
            return true;
    }
    return false;
}

static const char *opencl_vendor(uint32_t pci_vendor)
{
    for (const struct vendor_adapter *adapter = vendor_adapters(); adapter->name; adapter++)
        if (adapter->pci_vendor == pci_vendor)
            return adapter->name;
    return pci_vendor == 0x8086 ? "intel" : "opencl";
}

static void look_at_opencl(struct look *look)
{
    struct opencl_device found[NODE_DEVICES_MAX];
    struct err err = { 0 };
    uint32_t count = discover_opencl(look->config, found, NODE_DEVICES_MAX, &err);
    uint32_t index = 0;

    if (err.text[0])
        discover_note(look->node, "%s", err.text);
    for (uint32_t i = 0; i < count; i++) {
        struct vendor_device device;
        struct device_info *info;
        uint32_t place;

        if (is_claimed(look, found[i].pci_vendor))
            continue;
        info = take_place(look, &place);
        if (!info)
            return;
        vendor_device_init(&device);
        memcpy(device.model, found[i].model, sizeof(device.model));
        device.memory_bytes = found[i].memory_bytes;
        name_chip(look, opencl_vendor(found[i].pci_vendor), &device, info);
        snprintf(info->vendor, sizeof(info->vendor), "%s", opencl_vendor(found[i].pci_vendor));
        snprintf(info->family, sizeof(info->family), "opencl");
        snprintf(info->driver, sizeof(info->driver), "%s", found[i].driver);
        info->memory_bytes = found[i].memory_bytes;
        info->index = index++;
        snprintf(info->visibility_value, sizeof(info->visibility_value), "%" PRIu32, info->index);
    }
}

static void look_at_devices(struct look *look)
{
    discover_pci(look->config, &look->pci);
    for (const struct vendor_adapter *adapter = vendor_adapters(); adapter->name; adapter++)
        look_at_vendor(look, adapter);
    if (look->config->opencl)
        look_at_opencl(look);
}

static bool is_same_device(const struct device_info *a, const struct device_info *b)
{
    if (strcmp(a->vendor, b->vendor) != 0 || strcmp(a->family, b->family) != 0)
        return false;
    if (a->uuid[0] && b->uuid[0])
        return strcmp(a->uuid, b->uuid) == 0;
    return a->index == b->index; /* one of them was seen without its tool */
}

static void fit_in(const struct look *look, struct node_info *node,
                   struct discover_readings *readings)
{
    const struct node_info *now = look->node;
    bool taken[NODE_DEVICES_MAX] = { false };
    uint32_t before = node->devices_count;

    for (uint32_t place = 0; place < before; place++) {
        struct device_info *device = &node->devices[place];
        bool found = false;

        readings->power_mw[place] = -1;
        readings->temperature_c[place] = -1;
        if (strcmp(device->family, "opencl") == 0 && !look->config->opencl)
            continue; /* not looked for this time: as it was */
        for (uint32_t i = 0; i < now->devices_count && !found; i++) {
            if (taken[i] || !is_same_device(device, &now->devices[i]))
                continue;
            taken[i] = found = true;
            *device = now->devices[i];
            readings->power_mw[place] = look->readings.power_mw[i];
            readings->temperature_c[place] = look->readings.temperature_c[i];
            memcpy(readings->address[place], look->readings.address[i],
                   sizeof(readings->address[place]));
        }
        if (!found) {
            device->health = DEVICE_SICK;
            snprintf(device->health_text, sizeof(device->health_text), "no longer there");
        }
    }
    for (uint32_t i = 0; i < now->devices_count; i++) {
        uint32_t place = node->devices_count;

        if (taken[i] || place == NODE_DEVICES_MAX)
            continue;
        node->devices[place] = now->devices[i];
        readings->power_mw[place] = look->readings.power_mw[i];
        readings->temperature_c[place] = look->readings.temperature_c[i];
        memcpy(readings->address[place], look->readings.address[i],
               sizeof(readings->address[place]));
        node->devices_count++;
    }
}

int discover_devices(const struct discover_config *config, struct node_info *node,
                     struct discover_readings *readings_out, struct err *err)
{
    CLEANUP(freep) struct look *look = calloc(1, sizeof(*look));
    CLEANUP(freep) struct node_info *now = calloc(1, sizeof(*now));
    CLEANUP(freep) struct discover_readings *readings = calloc(1, sizeof(*readings));

    if (!look || !now || !readings)
        return err_set(err, -ENOMEM, "discovery: out of memory");
    look->config = config;
    look->node = now;
    look_at_devices(look);
    for (uint32_t i = 0; i < NODE_DEVICES_MAX; i++)
        readings->power_mw[i] = readings->temperature_c[i] = -1;
    fit_in(look, node, readings);
    memcpy(node->notes, now->notes, sizeof(node->notes));
    if (readings_out)
        *readings_out = *readings;
    return 0;
}

int discover_node(const struct discover_config *config, struct node_info *node_out,
                  struct discover_readings *readings_out, struct err *err)
{
    CLEANUP(freep) struct node_info *node = calloc(1, sizeof(*node));
    char host_notes[sizeof(node->notes)];
    int rc;

    if (!node)
        return err_set(err, -ENOMEM, "discovery: out of memory");
    rc = discover_host(config, node, err);
    if (rc < 0)
        return rc;
    memcpy(host_notes, node->notes, sizeof(host_notes));
    rc = discover_devices(config, node, readings_out, err);
    if (rc < 0)
        return rc;
    if (host_notes[0]) {
        char device_notes[sizeof(node->notes)];

        memcpy(device_notes, node->notes, sizeof(device_notes));
        memcpy(node->notes, host_notes, sizeof(host_notes));
        if (device_notes[0])
            discover_note(node, "%s", device_notes);
    }
    *node_out = *node;
    return 0;
}
