/* Tools that draw a box around two lines a device, as nvidia-smi does: hl-smi, cnmon, ixsmi,
 * xpu-smi, mx-smi, efsmi, mthreads-gmi. They differ in little, and that little is a style. */
#include "agent/vendor.h"

#include "agent/vendor_text.h"

#include <errno.h>
#include <string.h>

struct box_style {
    const char *banner; /* stands somewhere in this tool's output */
    const char *driver; /* the driver's version follows this text */
    bool ecc;           /* the last word of the first line counts uncorrected errors */
    bool metax;         /* the last cell of the second line says "Available"; see read_line_1 */
    bool bus_is_optional;
};

/* "   0  HL-225              N/A", "0     /   MLU370-X8    v1.1.6", "0     MetaX C500" -> the
 * number and the name between. */
static bool read_name(struct slice cell, struct vendor_device *device)
{
    struct slice rest = cell, word, first = { cell.data, 0 }, last = first;

    if (!slice_next_word(&rest, &word) || !slice_parse_u32(word, &device->index))
        return false;
    while (slice_next_word(&rest, &word)) {
        bool version = slice_begins(word, "v") && slice_has(word, ".");

        if (slice_is(word, "/"))
            continue; /* cnmon: no virtual function */
        if (slice_is(word, "On") || slice_is(word, "Off") || slice_is(word, "N/A") || version)
            break; /* the column after the name */
        if (!first.len)
            first = word;
        last = word;
    }
    if (!first.len)
        return false;
    slice_copy((struct slice){ first.data, (size_t)(last.data + last.len - first.data) },
               device->model, sizeof(device->model));
    return true;
}

/* The first line of a device: which cell is its PCI address? 0 = it is no such line. */
static uint32_t read_line_1(const struct slice *cells, uint32_t count,
                            const struct box_style *style, struct vendor_device *device)
{
    uint32_t bus = 0;

    if (count < 3)
        return 0;
    for (uint32_t i = 1; i < count && !bus; i++)
        if (slice_is_bus_id(slice_word(cells[i], 0)))
            bus = i;
    if ((!bus && !style->bus_is_optional) || !read_name(cells[0], device))
        return 0;
    if (bus) {
        slice_copy(slice_word(cells[bus], 0), device->bus_id, sizeof(device->bus_id));
        /* Newer mx-smi counts boards first and puts the GPU's number in a cell of its own. */
        if (style->metax && bus == 2 && !slice_parse_u32(slice_word(cells[1], 0), &device->index))
            return 0;
    }
    if (style->ecc) {
        struct slice rest = cells[count - 1], word;
        uint32_t errors = 0;

        while (slice_next_word(&rest, &word))
            if (!slice_parse_u32(word, &errors))
                errors = 0;
        if (errors > 0)
            vendor_device_mark_sick(device, "%u uncorrected ECC errors", errors);
    }
    return bus ? bus : 1;
}

/* The first cell that tells of memory: "0 MiB/ 23374 MiB", "49120MiB Disable", "858/65536 MiB". */
static bool read_memory(const struct slice *cells, uint32_t count, struct vendor_device *device)
{
    int64_t milli;

    for (uint32_t i = 0; i < count; i++) {
        if (!slice_find_quantity(cells[i], "MiB", true, &milli))
            continue;
        device->memory_bytes = MIN(milli / 1000, INT64_C(1) << 32) * 1048576;
        return true;
    }
    return false;
}

static void read_line_2(struct slice line, const struct slice *cells, uint32_t count,
                        const struct box_style *style, struct slice line_1,
                        struct vendor_device *device)
{
    struct slice cells_1[SLICE_CELLS_MAX];
    int64_t milli;

    if (!read_memory(cells, count, device))
        read_memory(cells_1, slice_split(line_1, '|', cells_1), device);
    if (slice_find_quantity(line, "C", false, &milli))
        device->temperature_c = (int32_t)MIN(milli / 1000, 1000);
    if (slice_find_quantity(line, "W", false, &milli))
        device->power_mw = milli;
    if (style->metax && count && cells[count - 1].len && !slice_is(cells[count - 1], "Available")) {
        char state[48];

        slice_copy(cells[count - 1], state, sizeof(state));
        vendor_device_mark_sick(device, "state: %s", state);
    }
    if (slice_has(line, "ERR!") || slice_has(line_1, "ERR!"))
        vendor_device_mark_sick(device, "its tool prints an error: ERR!");
}

static void read_driver(struct slice line, const struct box_style *style, char driver[64])
{
    for (size_t i = 0; i + strlen(style->driver) <= line.len; i++) {
        struct slice rest = { line.data + i, line.len - i };

        if (slice_begins(rest, style->driver)) {
            rest.data += strlen(style->driver);
            rest.len -= strlen(style->driver);
            rest = slice_word(rest, 0);
            if (rest.len && rest.data[0] != '|') /* else it was a column's title */
                slice_copy(rest, driver, 64);
            return;
        }
    }
}

static int parse_box(const char *text, size_t len, const struct box_style *style,
                     struct vendor_list *list, struct err *err)
{
    struct slice rest = { text, len }, line, line_1 = { text, 0 };
    struct vendor_device device;
    bool half = false;
    char driver[64] = "";

    if (!slice_has(rest, style->banner))
        return err_set(err, -EBADMSG, "not the expected output: \"%s\" is not in it",
                       style->banner);
    while (slice_next_line(&rest, &line)) {
        struct slice cells[SLICE_CELLS_MAX];
        uint32_t count = slice_split(line, '|', cells);

        if (!driver[0])
            read_driver(line, style, driver);
        if (slice_has(line, "Process"))
            break; /* what follows counts processes, not devices */
        if (half) {
            struct vendor_device *added = vendor_list_add(list);

            read_line_2(line, cells, count, style, line_1, &device);
            if (added) {
                *added = device;
                memcpy(added->driver, driver, sizeof(driver));
            }
            half = false;
            continue;
        }
        vendor_device_init(&device);
        half = read_line_1(cells, count, style, &device) > 0;
        line_1 = line;
    }
    return 0;
}

int vendor_parse_gaudi_table(const char *text, size_t len, struct vendor_list *list,
                             struct err *err)
{
    static const struct box_style style = {
        .banner = "HL-SMI", .driver = "Driver Version:", .ecc = true
    };

    return parse_box(text, len, &style, list, err);
}

int vendor_parse_cambricon(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    static const struct box_style style = {
        .banner = "CNMON", .driver = "Driver ", .ecc = true, .bus_is_optional = true
    };

    return parse_box(text, len, &style, list, err);
}

int vendor_parse_iluvatar_table(const char *text, size_t len, struct vendor_list *list,
                                struct err *err)
{
    static const struct box_style style = { .banner = "IX-ML", .driver = "Driver Version:" };

    return parse_box(text, len, &style, list, err);
}

int vendor_parse_kunlun_table(const char *text, size_t len, struct vendor_list *list,
                              struct err *err)
{
    static const struct box_style style = {
        .banner = "XPU-SMI", .driver = "Driver Version:", .ecc = true
    };

    return parse_box(text, len, &style, list, err);
}

int vendor_parse_metax(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    static const struct box_style style = {
        .banner = "MX-SMI", .driver = "Kernel Mode Driver Version:", .metax = true
    };

    return parse_box(text, len, &style, list, err);
}

int vendor_parse_enflame_table(const char *text, size_t len, struct vendor_list *list,
                               struct err *err)
{
    static const struct box_style style = { .banner = "EFSMI", .driver = "Driver Ver:" };

    return parse_box(text, len, &style, list, err);
}

int vendor_parse_mthreads(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    static const struct box_style style = { .banner = "mthreads-gmi", .driver = "Driver Version:" };

    return parse_box(text, len, &style, list, err);
}
