/* vendor_fuzz.c - every parser of vendors' tools. The first byte chooses the parser; the rest is
 * what its tool printed. */
#include "agent/vendor.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static vendor_parser *const parsers[] = {
    vendor_parse_nvidia,       vendor_parse_nvidia_list,    vendor_parse_rocm,
    vendor_parse_amd,          vendor_parse_gaudi,          vendor_parse_gaudi_table,
    vendor_parse_ascend,       vendor_parse_cambricon,      vendor_parse_hygon,
    vendor_parse_hygon_table,  vendor_parse_mthreads,       vendor_parse_metax,
    vendor_parse_iluvatar,     vendor_parse_iluvatar_table, vendor_parse_kunlun,
    vendor_parse_kunlun_table, vendor_parse_enflame,        vendor_parse_enflame_table,
    vendor_parse_biren,
};

/* What comes out goes to the controller as JSON and to terminals: printable, ended, bounded. */
static void check_text(const char *text, size_t bytes)
{
    size_t len = strnlen(text, bytes);

    assert(len < bytes);
    for (size_t i = 0; i < len; i++)
        assert(text[i] >= 0x20 && text[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vendor_list *list = calloc(1, sizeof(*list));
    size_t which = size ? data[0] - 'A' : 0;
    struct err err = { 0 };

    if (!list || size == 0 || which >= ARRAY_COUNT(parsers)) {
        free(list);
        return 0;
    }
    if (parsers[which] == vendor_parse_nvidia_list) { /* it refines what a query has told */
        static const char query[] = "0, GPU-a, NVIDIA A100, 00000000:01:00.0, 1, 81920\n"
                                    "1, GPU-b, NVIDIA A100, 00000000:02:00.0, 1, 81920\n";

        vendor_parse_nvidia(query, sizeof(query) - 1, list, NULL);
    }
    parsers[which]((const char *)data + 1, size - 1, list, &err);
    assert(list->count <= NODE_DEVICES_MAX);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct vendor_device *device = &list->devices[i];

        check_text(device->model, sizeof(device->model));
        check_text(device->uuid, sizeof(device->uuid));
        check_text(device->bus_id, sizeof(device->bus_id));
        check_text(device->driver, sizeof(device->driver));
        check_text(device->visibility_value, sizeof(device->visibility_value));
        check_text(device->partition, sizeof(device->partition));
        check_text(device->health_text, sizeof(device->health_text));
        assert(device->memory_bytes >= -1 && device->memory_bytes <= INT64_C(1) << 53);
        assert(device->temperature_c >= -1 && device->temperature_c <= 1000);
        assert(device->power_mw >= -1);
    }
    free(list);
    return 0;
}
