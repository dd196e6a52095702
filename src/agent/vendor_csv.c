/* Tools that answer a query in CSV: nvidia-smi, ixsmi, hl-smi, brsmi; and nvidia-smi -L. */
#include "agent/vendor.h"

#include "agent/vendor_text.h"

#include <errno.h>
#include <string.h>

#define MIB 1048576

/* What a column holds; the order is that of the query in the adapter's argv. */
enum role {
    ROLE_INDEX,
    ROLE_UUID,
    ROLE_MODEL,
    ROLE_BUS,
    ROLE_DRIVER,
    ROLE_MEMORY,      /* MiB; several add up */
    ROLE_TEMPERATURE, /* C */
    ROLE_POWER,       /* W */
    ROLE_ECC,         /* uncorrected errors since the driver was loaded */
    ROLE_SPLIT,       /* "Enabled": its instances are what jobs get */
    ROLE_VISIBILITY
};

/* "[N/A]", "[Not Supported]", "N/A", "": nothing was told, and that is well. */
static bool is_untold(struct slice cell)
{
    return cell.len == 0 || slice_has(cell, "N/A") || slice_has(cell, "Not Supported") ||
           slice_has(cell, "Not Found") || slice_has(cell, "Insufficient");
}

/* "[Unknown Error]", "[GPU is lost]", "ERR!", "[GPU requires reset]": the device is not well. */
static bool is_error(struct slice cell)
{
    return slice_has(cell, "Unknown Error") || slice_has(cell, "is lost") ||
           slice_has(cell, "requires reset") || slice_has(cell, "ERR!");
}

static void read_cell(enum role role, struct slice cell, struct vendor_device *device,
                      struct vendor_list *list)
{
    int64_t milli;
    uint32_t number;

    if (is_error(cell)) {
        char text[48];

        slice_copy(cell, text, sizeof(text));
        vendor_device_mark_sick(device, "its tool prints: %s", text);
        return;
    }
    if (is_untold(cell))
        return;
    switch (role) {
    case ROLE_INDEX:
        break; /* read before */
    case ROLE_UUID:
        slice_copy(cell, device->uuid, sizeof(device->uuid));
        break;
    case ROLE_MODEL:
        slice_copy(cell, device->model, sizeof(device->model));
        break;
    case ROLE_BUS:
        if (slice_is_bus_id(cell))
            slice_copy(cell, device->bus_id, sizeof(device->bus_id));
        break;
    case ROLE_DRIVER:
        slice_copy(cell, device->driver, sizeof(device->driver));
        break;
    case ROLE_MEMORY:
        if (slice_parse_milli(cell, &milli))
            device->memory_bytes =
                MAX(device->memory_bytes, 0) + MIN(milli / 1000, INT64_C(1) << 32) * MIB;
        break;
    case ROLE_TEMPERATURE:
        if (slice_parse_milli(cell, &milli))
            device->temperature_c = (int32_t)MIN(milli / 1000, 1000);
        break;
    case ROLE_POWER:
        if (slice_parse_milli(cell, &milli))
            device->power_mw = milli;
        break;
    case ROLE_ECC:
        if (slice_parse_u32(slice_word(cell, 0), &number) && number > 0)
            vendor_device_mark_sick(device, "%u uncorrected ECC errors", number);
        break;
    case ROLE_SPLIT:
        if (slice_is(cell, "Enabled"))
            list->wants_more = true;
        break;
    case ROLE_VISIBILITY:
        if (slice_parse_u32(cell, &number))
            slice_copy(cell, device->visibility_value, sizeof(device->visibility_value));
        break;
    }
}

/* Whatever a broken tool spills is not to be taken for a device that is well. */
static bool is_text(struct slice line)
{
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)line.data[i] < ' ' && line.data[i] != '\t')
            return false;
        else if ((unsigned char)line.data[i] > '~')
            return false;
    return true;
}

/* Lines that do not begin with an index (a header, a warning of the driver) are passed over; rows
 * may be shorter than the query, as older tools print them. */
static int parse_rows(const char *text, size_t len, const enum role *roles, uint32_t roles_count,
                      struct vendor_list *list, struct err *err)
{
    struct slice rest = { text, len }, line;
    bool seen = false;

    while (slice_next_line(&rest, &line)) {
        struct slice cells[SLICE_CELLS_MAX];
        uint32_t count = slice_split(line, ',', cells);
        struct vendor_device *device;
        uint32_t index;

        if (count < 3 || !is_text(line) || !slice_parse_u32(cells[0], &index))
            continue;
        seen = true;
        device = vendor_list_add(list);
        if (!device)
            continue;
        device->index = index;
        for (uint32_t i = 1; i < count && i < roles_count; i++)
            read_cell(roles[i], cells[i], device, list);
    }
    if (!seen) {
        char first[64] = "nothing";

        rest = (struct slice){ text, len };
        if (slice_next_line(&rest, &line) && line.len)
            slice_copy(line, first, sizeof(first));
        return err_set(err, -EBADMSG, "no row of a device; it prints: %s", first);
    }
    return 0;
}

int vendor_parse_nvidia(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    static const enum role roles[] = { ROLE_INDEX,  ROLE_UUID,   ROLE_MODEL,       ROLE_BUS,
                                       ROLE_DRIVER, ROLE_MEMORY, ROLE_TEMPERATURE, ROLE_POWER,
                                       ROLE_ECC,    ROLE_SPLIT };
    int rc = parse_rows(text, len, roles, ARRAY_COUNT(roles), list, err);

    /* By UUID the choice holds whether or not the sandbox shows the other devices. */
    for (uint32_t i = 0; rc == 0 && i < list->count; i++)
        memcpy(list->devices[i].visibility_value, list->devices[i].uuid,
               sizeof(list->devices[i].uuid));
    return rc;
}

int vendor_parse_iluvatar(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    static const enum role roles[] = { ROLE_INDEX, ROLE_UUID,   ROLE_MODEL,
                                       ROLE_BUS,   ROLE_MEMORY, ROLE_TEMPERATURE };

    return parse_rows(text, len, roles, ARRAY_COUNT(roles), list, err);
}

int vendor_parse_gaudi(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    static const enum role roles[] = { ROLE_INDEX,  ROLE_VISIBILITY,  ROLE_MODEL,
                                       ROLE_UUID,   ROLE_BUS,         ROLE_DRIVER,
                                       ROLE_MEMORY, ROLE_TEMPERATURE, ROLE_POWER };

    return parse_rows(text, len, roles, ARRAY_COUNT(roles), list, err);
}

int vendor_parse_biren(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    static const enum role roles[] = { ROLE_INDEX, ROLE_MODEL, ROLE_MEMORY, ROLE_MEMORY };

    return parse_rows(text, len, roles, ARRAY_COUNT(roles), list, err);
}

/* The text after `mark`, up to ')' or the end. */
static struct slice after(struct slice line, const char *mark)
{
    for (size_t i = 0; i + strlen(mark) <= line.len; i++) {
        struct slice rest = { line.data + i, line.len - i };
        size_t len = 0;

        if (!slice_begins(rest, mark))
            continue;
        rest.data += strlen(mark);
        rest.len -= strlen(mark);
        while (len < rest.len && rest.data[len] != ')')
            len++;
        return slice_trim((struct slice){ rest.data, len });
    }
    return (struct slice){ line.data, 0 };
}

/* "1g.10gb" -> 10 GiB; the profile's name is all that -L tells of an instance's memory. */
static int64_t profile_bytes(const char *profile)
{
    const char *dot = strrchr(profile, '.');
    int64_t milli;

    if (!dot || !slice_find_quantity(slice_of(dot + 1), "gb", false, &milli))
        return -1;
    return MIN(milli / 1000, INT64_C(1) << 20) * 1024 * MIB;
}

static void add_instance(struct slice line, const struct vendor_device *whole,
                         struct vendor_list *list)
{
    struct vendor_device *instance = vendor_list_add(list);

    if (!instance)
        return;
    *instance = *whole;
    slice_copy(slice_word(line, 1), instance->partition, sizeof(instance->partition));
    slice_copy(after(line, "UUID:"), instance->uuid, sizeof(instance->uuid));
    memcpy(instance->visibility_value, instance->uuid, sizeof(instance->uuid));
    instance->memory_bytes = profile_bytes(instance->partition);
    instance->power_mw = -1; /* what is measured is the whole board's */
}

/*     GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-...)
 *       MIG 1g.5gb     Device  0: (UUID: MIG-...)
 * A device with instances gives way to them; one without stays. */
int vendor_parse_nvidia_list(const char *text, size_t len, struct vendor_list *list,
                             struct err *err)
{
    struct vendor_device wholes[NODE_DEVICES_MAX];
    uint32_t wholes_count = list->count;
    bool split[NODE_DEVICES_MAX] = { false };
    struct slice rest = { text, len }, line;
    uint32_t current = NODE_DEVICES_MAX;
    bool seen = false;

    memcpy(wholes, list->devices, sizeof(wholes));
    list->count = 0;
    while (slice_next_line(&rest, &line)) {
        if (slice_begins(line, "GPU ")) {
            struct slice uuid = after(line, "UUID:");

            seen = true;
            current = NODE_DEVICES_MAX;
            for (uint32_t i = 0; i < wholes_count; i++)
                if (uuid.len && slice_is(uuid, wholes[i].uuid))
                    current = i;
        } else if (slice_begins(line, "MIG ") && current < wholes_count) {
            split[current] = true;
            add_instance(line, &wholes[current], list);
        }
    }
    for (uint32_t i = 0; i < wholes_count; i++) {
        struct vendor_device *device = split[i] ? NULL : vendor_list_add(list);

        if (device)
            *device = wholes[i];
    }
    return seen ? 0 : err_set(err, -EBADMSG, "not the expected output: no line \"GPU\"");
}
