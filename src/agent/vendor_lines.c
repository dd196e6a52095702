/* Tools with a layout of their own: npu-smi, hy-smi's table, xpu_smi -m, efsmi -q. */
#include "agent/vendor.h"

#include "agent/vendor_text.h"

#include <errno.h>
#include <string.h>

#define MIB 1048576

static int64_t mib_to_bytes(int64_t milli)
{
    return MIN(milli / 1000, INT64_C(1) << 32) * MIB;
}

/* npu-smi info. Two lines a chip:
 *     | 0     910B3           | OK            | 93.6        40                0    / 0 | | 0 (0) |
 * 0000:C1:00.0  | 0           0    / 0          3437 / 65536         | In the second line the first
 * number is the chip in its card; the second, where there is one, is the device's own number, which
 * /dev/davinciN and ASCEND_RT_VISIBLE_DEVICES count. */
static void ascend_read_health(struct slice cell, struct vendor_device *device)
{
    char word[32];

    slice_copy(cell, word, sizeof(word));
    if (slice_is(cell, "OK") || cell.len == 0)
        return;
    if (slice_is(cell, "Warning")) /* a link without cable is one: it still computes */
        memcpy(device->health_text, "npu-smi: Warning", sizeof("npu-smi: Warning"));
    else
        vendor_device_mark_sick(device, "npu-smi: %s", word);
}

/* "used / total" pairs: memory, then HBM where there is any. The last total above zero counts. */
static void ascend_read_memory(struct slice cell, struct vendor_device *device)
{
    for (size_t i = 0; i < cell.len; i++) {
        int64_t milli;

        if (cell.data[i] == '/' &&
            slice_parse_milli((struct slice){ cell.data + i + 1, cell.len - i - 1 }, &milli) &&
            milli > 0)
            device->memory_bytes = mib_to_bytes(milli);
    }
}

static bool ascend_read_line_1(const struct slice *cells, struct vendor_device *device)
{
    struct slice rest = cells[0], word;
    int64_t milli;

    if (!slice_next_word(&rest, &word) || !slice_parse_u32(word, &device->index))
        return false;
    rest = slice_trim(rest);
    if (rest.len == 0)
        return false;
    slice_copy(rest, device->model, sizeof(device->model));
    ascend_read_health(cells[1], device);
    if (slice_parse_milli(slice_word(cells[2], 0), &milli))
        device->power_mw = milli;
    if (slice_parse_milli(slice_word(cells[2], 1), &milli))
        device->temperature_c = (int32_t)MIN(milli / 1000, 1000);
    return true;
}

int vendor_parse_ascend(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    struct slice rest = { text, len }, line;
    struct vendor_device device;
    bool half = false;
    char driver[64] = "";

    if (!slice_has(rest, "npu-smi"))
        return err_set(err, -EBADMSG, "not the expected output: \"npu-smi\" is not in it");
    while (slice_next_line(&rest, &line)) {
        struct slice cells[SLICE_CELLS_MAX];
        uint32_t count = slice_split(line, '|', cells);
        uint32_t number;

        if (slice_has(line, "Process"))
            break;
        if (!driver[0] && slice_begins(cells[0], "npu-smi "))
            slice_copy(slice_word(cells[0], 1), driver, sizeof(driver));
        if (count < 3) {
            half = false;
            continue;
        }
        if (!half) {
            vendor_device_init(&device);
            half = ascend_read_line_1(cells, &device);
            continue;
        }
        half = false;
        if (slice_parse_u32(slice_word(cells[0], 1), &number))
            device.index = number;
        if (slice_is_bus_id(cells[1]))
            slice_copy(cells[1], device.bus_id, sizeof(device.bus_id));
        ascend_read_memory(cells[2], &device);
        struct vendor_device *added = vendor_list_add(list);
        if (added) {
            *added = device;
            memcpy(added->driver, driver, sizeof(driver));
        }
    }
    return 0;
}

/* hy-smi (and rocm-smi of a DTK):
 *     HCU     Temp     AvgPwr     Perf     PwrCap     VRAM%      HCU%      Mode
 *     0       51.0C    145.0W     manual   300.0W     0%         0.0%      Normal
 * It tells neither model nor memory: these stay unknown. */
int vendor_parse_hygon_table(const char *text, size_t len, struct vendor_list *list,
                             struct err *err)
{
    struct slice rest = { text, len }, line;
    bool inside = false, seen = false;

    while (slice_next_line(&rest, &line)) {
        struct vendor_device *device;
        uint32_t index;
        int64_t milli;

        if (slice_begins(line, "HCU ") || slice_begins(line, "DCU ")) {
            inside = seen = true;
            continue;
        }
        if (slice_begins(line, "==="))
            inside = false;
        if (!inside || !slice_parse_u32(slice_word(line, 0), &index))
            continue;
        device = vendor_list_add(list);
        if (!device)
            continue;
        device->index = index;
        if (slice_find_quantity(slice_word(line, 1), "C", false, &milli))
            device->temperature_c = (int32_t)MIN(milli / 1000, 1000);
        if (slice_find_quantity(slice_word(line, 2), "W", false, &milli))
            device->power_mw = milli;
    }
    return seen ? 0 : err_set(err, -EBADMSG, "not the expected output: no line \"HCU\" or \"DCU\"");
}

/* xpu_smi -m: one line a device, words by place: 0 address, 1 device, 2 board, 3 serial,
 * 4 temperature, 8 power (W; mW on older boards), 17 memory used, 18 memory, 21 "model". */
int vendor_parse_kunlun(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    struct slice rest = { text, len }, line;

    while (slice_next_line(&rest, &line)) {
        const char *quote = line.len ? memchr(line.data, '"', line.len) : NULL;
        struct slice name = { line.data, 0 };
        struct vendor_device *device;
        uint32_t index;
        int64_t milli;

        if (!quote || !slice_is_bus_id(slice_word(line, 0)) ||
            !slice_parse_u32(slice_word(line, 1), &index))
            continue;
        name.data = quote + 1;
        name.len = line.len - (size_t)(name.data - line.data);
        quote = name.len ? memchr(name.data, '"', name.len) : NULL;
        if (!quote)
            continue;
        name.len = (size_t)(quote - name.data);
        device = vendor_list_add(list);
        if (!device)
            continue;
        device->index = index;
        slice_copy(name, device->model, sizeof(device->model));
        slice_copy(slice_word(line, 0), device->bus_id, sizeof(device->bus_id));
        slice_copy(slice_word(line, 3), device->uuid, sizeof(device->uuid));
        if (slice_parse_milli(slice_word(line, 4), &milli))
            device->temperature_c = (int32_t)MIN(milli / 1000, 1000);
        if (slice_parse_milli(slice_word(line, 8), &milli)) /* no board draws 2 kW: it is mW */
            device->power_mw = milli > 2000000 ? milli / 1000 : milli;
        if (slice_parse_milli(slice_word(line, 18), &milli))
            device->memory_bytes = mib_to_bytes(milli);
    }
    if (list->count == 0)
        return err_set(err, -EBADMSG, "not the expected output: no line begins with an address");
    return 0;
}

/* efsmi -q: sections "DEV ID n" of "Key : value" lines. */
static void enflame_read_pair(struct slice key, struct slice value, struct vendor_device *device)
{
    int64_t milli;

    if (slice_is(key, "Dev Name"))
        slice_copy(value, device->model, sizeof(device->model));
    else if (slice_is(key, "Dev UUID"))
        slice_copy(value, device->uuid, sizeof(device->uuid));
    else if (slice_is(key, "Ver"))
        slice_copy(value, device->driver, sizeof(device->driver));
    else if (slice_is(key, "Health") && !slice_is(value, "True"))
        vendor_device_mark_sick(device, "efsmi: Health is not True");
    else if ((slice_is(key, "Mem Size") || slice_is(key, "Total Size")) &&
             slice_find_quantity(value, "MiB", false, &milli))
        device->memory_bytes = mib_to_bytes(milli);
    else if (slice_is(key, "GCU Temp") && slice_find_quantity(value, "C", false, &milli))
        device->temperature_c = (int32_t)MIN(milli / 1000, 1000);
    else if (slice_has(key, "Power Usage") && slice_find_quantity(value, "W", false, &milli))
        device->power_mw = milli;
}

int vendor_parse_enflame(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    struct slice rest = { text, len }, line;
    struct vendor_device *device = NULL;
    struct slice domain = { text, 0 }, bus = domain, slot = domain;

    while (slice_next_line(&rest, &line)) {
        const char *colon = line.len ? memchr(line.data, ':', line.len) : NULL;
        struct slice key, value;
        uint32_t index;

        if (slice_begins(line, "DEV ID") && slice_parse_u32(slice_word(line, 2), &index)) {
            device = vendor_list_add(list);
            if (device)
                device->index = index;
            continue;
        }
        if (!device || !colon)
            continue;
        key = slice_trim((struct slice){ line.data, (size_t)(colon - line.data) });
        value = slice_trim((struct slice){ colon + 1, line.len - (size_t)(colon + 1 - line.data) });
        enflame_read_pair(key, value, device);
        if (slice_is(key, "Domain"))
            domain = value;
        else if (slice_is(key, "Bus"))
            bus = value;
        else if (slice_is(key, "Dev"))
            slot = value;
        else if (slice_is(key, "Func") && domain.len == 4 && bus.len == 2 && slot.len == 2 &&
                 value.len == 1) {
            char address[32];

            snprintf(address, sizeof(address), "%.4s:%.2s:%.2s.%.1s", domain.data, bus.data,
                     slot.data, value.data);
            if (slice_is_bus_id(slice_of(address)))
                memcpy(device->bus_id, address, sizeof(address));
        }
    }
    if (list->count == 0)
        return err_set(err, -EBADMSG, "not the expected output: no line \"DEV ID\"");
    return 0;
}
