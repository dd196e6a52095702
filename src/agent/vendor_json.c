/* Tools that print JSON, or nearly: rocm-smi, hy-smi (which forgets commas), amd-smi. */
#include "agent/vendor.h"

#include "agent/vendor_text.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define MIB 1048576
#define FIND_TRIES_MAX 16u

/* rocm-smi and hy-smi: {"card0": {"Key": "value", ...}, "system": {...}}, flat. A strict reader
 * would lose the whole of it to one missing comma or one warning printed before it, so this one
 * walks over the quoted strings: a string followed by '{' opens a card, one followed by ':' and
 * another string (or a bare word) is a pair. */
struct walk {
    struct slice rest;
    struct slice card; /* "card0"; empty outside */
};

static void skip_to(struct walk *walk, size_t count)
{
    count = MIN(count, walk->rest.len);
    walk->rest.data += count;
    walk->rest.len -= count;
}

/* The string whose opening quote the walk stands on. */
static struct slice take_string(struct walk *walk)
{
    struct slice string;
    size_t len = 1;

    while (len < walk->rest.len && walk->rest.data[len] != '"' && walk->rest.data[len] != '\n')
        len += walk->rest.data[len] == '\\' ? 2 : 1;
    len = MIN(len, walk->rest.len);
    string = (struct slice){ walk->rest.data + 1, len - 1 };
    skip_to(walk, len + 1);
    return string;
}

static void skip_blanks(struct walk *walk)
{
    while (walk->rest.len && strchr(" \t\r\n", walk->rest.data[0]) && walk->rest.data[0])
        skip_to(walk, 1);
}

/* The next pair; false at the end. */
static bool next_pair(struct walk *walk, struct slice *key_out, struct slice *value_out)
{
    while (walk->rest.len) {
        struct slice key;
        size_t len = 0;

        if (walk->rest.data[0] == '}')
            walk->card.len = 0;
        if (walk->rest.data[0] != '"') {
            skip_to(walk, 1);
            continue;
        }
        key = take_string(walk);
        skip_blanks(walk);
        if (!walk->rest.len || walk->rest.data[0] != ':')
            continue;
        skip_to(walk, 1);
        skip_blanks(walk);
        if (walk->rest.len && walk->rest.data[0] == '{') {
            walk->card = key;
            skip_to(walk, 1);
            continue;
        }
        *key_out = key;
        if (walk->rest.len && walk->rest.data[0] == '"') {
            *value_out = take_string(walk);
            return true;
        }
        while (len < walk->rest.len && !strchr(",}\"\n", walk->rest.data[len]))
            len++;
        *value_out = slice_trim((struct slice){ walk->rest.data, len });
        skip_to(walk, len);
        return true;
    }
    return false;
}

static struct vendor_device *find_card(struct vendor_list *list, struct slice card)
{
    struct vendor_device *device;
    uint32_t index;

    if (!slice_begins(card, "card") ||
        !slice_parse_u32((struct slice){ card.data + 4, card.len - 4 }, &index))
        return NULL;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->devices[i].index == index)
            return &list->devices[i];
    device = vendor_list_add(list);
    if (device)
        device->index = index;
    return device;
}

static bool is_untold(struct slice value)
{
    return value.len == 0 || slice_is(value, "N/A") || slice_is(value, "None") ||
           slice_is(value, "unknown") || slice_is(value, "Unsupported");
}

static void read_pair(struct slice key, struct slice value, struct vendor_device *device)
{
    int64_t milli;

    if (is_untold(value))
        return;
    if (slice_is(key, "Card Series") ||
        (!device->model[0] && (slice_is(key, "Card Model") || slice_is(key, "Device Name")))) {
        slice_copy(value, device->model, sizeof(device->model));
    } else if (slice_is(key, "Unique ID")) {
        slice_copy(value, device->uuid, sizeof(device->uuid));
    } else if (slice_is(key, "PCI Bus")) {
        slice_copy(slice_word(value, 0), device->bus_id, sizeof(device->bus_id));
    } else if (slice_is(key, "Driver version")) {
        slice_copy(value, device->driver, sizeof(device->driver));
    } else if (slice_is(key, "VRAM Total Memory (B)")) {
        if (slice_parse_milli(value, &milli))
            device->memory_bytes = milli / 1000;
    } else if (slice_is(key, "VRAM Total Memory (MiB)")) {
        if (slice_parse_milli(value, &milli))
            device->memory_bytes = MIN(milli / 1000, INT64_C(1) << 32) * MIB;
    } else if (slice_begins(key, "Temperature (Sensor")) {
        if (slice_parse_milli(value, &milli))
            device->temperature_c =
                MAX(device->temperature_c, (int32_t)MIN(milli / 1000, 1000)); /* the hottest */
    } else if (slice_has(key, "Graphics Package Power (W)") && !slice_has(key, "Max")) {
        if (slice_parse_milli(value, &milli))
            device->power_mw = milli;
    }
}

static int parse_cards(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    struct walk walk = { { text, len }, { text, 0 } };
    struct slice key, value;
    char driver[64] = "";

    while (next_pair(&walk, &key, &value)) {
        struct vendor_device *device = find_card(list, walk.card);

        if (device)
            read_pair(key, value, device);
        else if (slice_is(walk.card, "system") && slice_is(key, "Driver version"))
            slice_copy(value, driver, sizeof(driver));
    }
    if (list->count == 0)
        return err_set(err, -EBADMSG, "not the expected output: no \"card0\" in it");
    for (uint32_t i = 0; i < list->count; i++)
        if (!list->devices[i].driver[0])
            memcpy(list->devices[i].driver, driver, sizeof(driver));
    return 0;
}

/* ROCR_VISIBLE_DEVICES takes "GPU-" and the 16 digits of the unique id, which holds whether or not
 * the sandbox shows the other devices. Boards without one are told by index. */
static void name_by_unique_id(struct vendor_device *device)
{
    const char *digits = device->uuid;

    if (strncmp(digits, "0x", 2) == 0)
        digits += 2;
    if (strlen(digits) == 0 || strlen(digits) > 16 ||
        strspn(digits, "0123456789abcdefABCDEF") != strlen(digits) ||
        strspn(digits, "0") == strlen(digits))
        return;
    memcpy(device->visibility_value, "GPU-", 4);
    for (size_t i = 0; i < 16; i++) {
        size_t missing = 16 - strlen(digits);
        char c = i < missing ? '0' : digits[i - missing];

        device->visibility_value[4 + i] = (char)(c >= 'A' && c <= 'F' ? c | 0x20 : c);
    }
    device->visibility_value[20] = '\0';
}

int vendor_parse_rocm(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    int rc = parse_cards(text, len, list, err);

    for (uint32_t i = 0; rc == 0 && i < list->count; i++)
        name_by_unique_id(&list->devices[i]);
    return rc;
}

int vendor_parse_hygon(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    return parse_cards(text, len, list, err);
}

static void copy_json_text(const json_t *object, const char *key, char *out, size_t out_bytes)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_string(value) && !slice_is(slice_of(json_string_value(value)), "N/A"))
        slice_copy(slice_of(json_string_value(value)), out, out_bytes);
}

/* {"value": 196592, "unit": "MB"} (MB means MiB there), or a bare number of it. */
static int64_t json_bytes(const json_t *size)
{
    const json_t *value = json_is_object(size) ? json_object_get(size, "value") : size;
    const char *unit = json_string_value(json_object_get(size, "unit"));
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < 0 || number > ((json_int_t)1 << 52))
        return -1;
    if (unit && strcmp(unit, "B") == 0)
        return number;
    return number <= ((json_int_t)1 << 32) ? number * MIB : -1;
}

static void read_amd_gpu(const json_t *gpu, struct vendor_list *list)
{
    const json_t *index = json_object_get(gpu, "gpu");
    const json_t *asic = json_object_get(gpu, "asic");
    const json_t *driver = json_object_get(gpu, "driver");
    struct vendor_device *device;

    if (!json_is_integer(index) || json_integer_value(index) < 0 ||
        json_integer_value(index) > 65535)
        return;
    device = vendor_list_add(list);
    if (!device)
        return;
    device->index = (uint32_t)json_integer_value(index);
    copy_json_text(asic, "market_name", device->model, sizeof(device->model));
    copy_json_text(asic, "asic_serial", device->uuid, sizeof(device->uuid));
    copy_json_text(json_object_get(gpu, "bus"), "bdf", device->bus_id, sizeof(device->bus_id));
    copy_json_text(driver, "version", device->driver, sizeof(device->driver));
    copy_json_text(driver, "driver_version", device->driver, sizeof(device->driver));
    device->memory_bytes = json_bytes(json_object_get(json_object_get(gpu, "vram"), "size"));
}

/* The first JSON text in it: warnings, which may hold brackets themselves, may come before. */
static json_t *find_json(const char *text, size_t len)
{
    struct slice rest = { text, len }, line;

    for (uint32_t tries = 0; tries < FIND_TRIES_MAX && slice_next_line(&rest, &line);) {
        json_t *root;

        if (!line.len || (line.data[0] != '[' && line.data[0] != '{'))
            continue;
        tries++;
        root =
            json_loadb(line.data, len - (size_t)(line.data - text), JSON_DISABLE_EOF_CHECK, NULL);
        if (root)
            return root;
    }
    return NULL;
}

int vendor_parse_amd(const char *text, size_t len, struct vendor_list *list, struct err *err)
{
    json_t *root = find_json(text, len);
    const json_t *gpus;
    json_t *gpu;
    size_t i;

    if (!root)
        return err_set(err, -EBADMSG, "not the expected output: no JSON in it");
    gpus = json_is_array(root) ? root : json_object_get(root, "gpu_data");
    json_array_foreach (gpus, i, gpu)
        read_amd_gpu(gpu, list);
    if (!gpus)
        read_amd_gpu(root, list);
    json_decref(root);
    return list->count ? 0 : err_set(err, -EBADMSG, "no GPU in its JSON");
}
