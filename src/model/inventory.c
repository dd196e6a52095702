#include "model/inventory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One row a key: reading, printing and comparing walk the same tables, so they cannot disagree. */
enum field_kind { FIELD_TEXT, FIELD_NAME, FIELD_I64, FIELD_I32, FIELD_U32, FIELD_BOOL };

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;
    size_t bytes;
    int64_t min, max;
    bool required;
};

#define TEXT(type, m)                                                                              \
    {                                                                                              \
#m, FIELD_TEXT, offsetof(type, m), sizeof(((type *)0)->m), 0, 0, false                     \
    }
#define NAME(type, m, need)                                                                        \
    {                                                                                              \
#m, FIELD_NAME, offsetof(type, m), sizeof(((type *)0)->m), 0, 0, need                      \
    }
#define INT(type, m, kind, low, high, need)                                                        \
    {                                                                                              \
#m, kind, offsetof(type, m), sizeof(((type *)0)->m), low, high, need                       \
    }
#define BOOL(type, m)                                                                              \
    {                                                                                              \
#m, FIELD_BOOL, offsetof(type, m), sizeof(bool), 0, 1, false                               \
    }

#define BYTES_MAX ((int64_t)1 << 60) /* sums over a site's nodes still fit in 64 bits */
#define CPUS_MAX 65536
#define WATTS_MAX 1000000
#define PRICE_MAX INT64_C(1000000000000) /* a million of the currency, in micro-units */

static const struct field device_fields[] = {
    NAME(struct device_info, chip, true),
    TEXT(struct device_info, vendor),
    TEXT(struct device_info, uuid),
    INT(struct device_info, index, FIELD_U32, 0, 65535, true),
    INT(struct device_info, memory_bytes, FIELD_I64, 0, BYTES_MAX, false),
    TEXT(struct device_info, health_text),
    TEXT(struct device_info, visibility_env),
    TEXT(struct device_info, visibility_value),
    TEXT(struct device_info, family),
    TEXT(struct device_info, device_nodes),
    TEXT(struct device_info, driver),
};

static const struct field node_fields[] = {
    NAME(struct node_info, name, true),
    TEXT(struct node_info, cpu_model),
    TEXT(struct node_info, arch),
    TEXT(struct node_info, os),
    INT(struct node_info, cpus, FIELD_U32, 0, CPUS_MAX, true),
    INT(struct node_info, numa_count, FIELD_U32, 0, CPUS_MAX, false),
    INT(struct node_info, memory_bytes, FIELD_I64, 0, BYTES_MAX, true),
    INT(struct node_info, disk_bytes, FIELD_I64, 0, BYTES_MAX, false),
    INT(struct node_info, cpu_load_watts, FIELD_I32, 0, WATTS_MAX, false),
    INT(struct node_info, cpu_idle_watts, FIELD_I32, 0, WATTS_MAX, false),
    BOOL(struct node_info, energy_measured),
    NAME(struct node_info, rack, false),
    NAME(struct node_info, supernode, false),
    TEXT(struct node_info, notes),
};

static const struct field tariff_fields[] = {
    INT(struct site_tariff, carbon_g_per_kwh_milli, FIELD_I64, 0, PRICE_MAX, false),
    INT(struct site_tariff, power_price_micro_per_kwh, FIELD_I64, 0, PRICE_MAX, false),
    INT(struct site_tariff, cpu_price_micro_per_hour, FIELD_I64, 0, PRICE_MAX, false),
    INT(struct site_tariff, device_price_micro_per_hour, FIELD_I64, 0, PRICE_MAX, false),
    TEXT(struct site_tariff, currency),
    BOOL(struct site_tariff, carbon_assumed),
    BOOL(struct site_tariff, price_assumed),
};

static const struct field site_fields[] = {
    NAME(struct site_info, name, true),    NAME(struct site_info, owner, false),
    NAME(struct site_info, region, false), BOOL(struct site_info, sandbox_optional),
    BOOL(struct site_info, one_kind),      BOOL(struct site_info, images),
    BOOL(struct site_info, tunnels),       BOOL(struct site_info, suspends),
    TEXT(struct site_info, address),
};

/* Where the reader stands, as "nodes[3].devices[0]."; short by construction. */
struct place {
    char path[64];
};

static int refuse(struct err *err, const struct place *place, const char *key, const char *expected,
                  const json_t *got)
{
    static const char *const type_names[] = { "an object", "a list", "a string", "an integer",
                                              "a real",    "true",   "false",    "null" };
    char path[128];

    snprintf(path, sizeof(path), "%s%s", place->path, key);
    if (!got)
        return err_field(err, -EINVAL, path, "%s: missing; expected %s", path, expected);
    if (json_is_integer(got))
        return err_field(err, -EINVAL, path, "%s: expected %s, got %" JSON_INTEGER_FORMAT, path,
                         expected, json_integer_value(got));
    return err_field(err, -EINVAL, path, "%s: expected %s, got %s", path, expected,
                     type_names[json_typeof(got)]);
}

/* One line of text: a hostile agent must not forge lines or terminal escapes in an operator's
 * table. */
static bool text_is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return true;
}

static bool text_is_name(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (!word && (i == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
    }
    return len > 0;
}

static int read_text(const struct field *field, const json_t *value, const struct place *place,
                     char *out, struct err *err)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    char expected[64];
    bool good;

    if (!text)
        return refuse(err, place, field->key, "a string", value);
    if (field->kind == FIELD_NAME)
        good = (len == 0 && !field->required) || text_is_name(text, len);
    else
        good = text_is_plain(text, len);
    if (!good || len >= field->bytes) {
        char path[128];

        snprintf(path, sizeof(path), "%s%s", place->path, field->key);
        snprintf(expected, sizeof(expected), "%s of at most %zu bytes",
                 field->kind == FIELD_NAME ? "a name [A-Za-z0-9][A-Za-z0-9._-]*" : "one line",
                 field->bytes - 1);
        return err_field(err, -EINVAL, path, "%s: expected %s, got \"%.40s\"", path, expected,
                         text);
    }
    memcpy(out, text, len + 1);
    return 0;
}

static int read_int(const struct field *field, const json_t *value, const struct place *place,
                    void *out, struct err *err)
{
    json_int_t number = json_integer_value(value);
    char expected[64];

    if (!json_is_integer(value) || number < field->min || number > field->max) {
        snprintf(expected, sizeof(expected), "an integer %" PRId64 "..%" PRId64, field->min,
                 field->max);
        return refuse(err, place, field->key, expected, value);
    }
    if (field->kind == FIELD_I64)
        *(int64_t *)out = number;
    else if (field->kind == FIELD_I32)
        *(int32_t *)out = (int32_t)number;
    else
        *(uint32_t *)out = (uint32_t)number;
    return 0;
}

static int read_fields(const struct field *fields, size_t count, const json_t *object,
                       const struct place *place, void *out, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct field *field = &fields[i];
        const json_t *value = json_object_get(object, field->key);
        char *member = (char *)out + field->offset;
        int rc = 0;

        if (!value) {
            if (field->required)
                return refuse(err, place, field->key, "a value", NULL);
            continue;
        }
        switch (field->kind) {
        case FIELD_TEXT:
        case FIELD_NAME:
            rc = read_text(field, value, place, member, err);
            break;
        case FIELD_I64:
        case FIELD_I32:
        case FIELD_U32:
            rc = read_int(field, value, place, member, err);
            break;
        case FIELD_BOOL:
            if (!json_is_boolean(value))
                rc = refuse(err, place, field->key, "true or false", value);
            else
                *(bool *)member = json_is_true(value);
            break;
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_device(const json_t *object, const struct place *place, struct device_info *device,
                       struct err *err)
{
    const json_t *health = json_object_get(object, "health");
    const json_t *numa = json_object_get(object, "numa");
    const char *word = json_string_value(health);
    int rc;

    if (!json_is_object(object))
        return refuse(err, place, "", "an object", object);
    rc = read_fields(device_fields, ARRAY_COUNT(device_fields), object, place, device, err);
    if (rc < 0)
        return rc;

    device->numa = UINT32_MAX;
    if (numa && !json_is_null(numa)) {
        static const struct field field = { "numa", FIELD_U32, 0, 4, 0, CPUS_MAX, false };

        rc = read_int(&field, numa, place, &device->numa, err);
        if (rc < 0)
            return rc;
    }
    if (health && (!word || (strcmp(word, "ok") != 0 && strcmp(word, "sick") != 0)))
        return refuse(err, place, "health", "\"ok\" or \"sick\"", health);
    device->health = word && strcmp(word, "sick") == 0 ? DEVICE_SICK : DEVICE_OK;
    return 0;
}

static int read_node(const json_t *object, size_t index, struct node_info *node, struct err *err)
{
    const json_t *devices = json_object_get(object, "devices");
    struct place place;
    int rc;

    snprintf(place.path, sizeof(place.path), "nodes[%zu].", index);
    if (!json_is_object(object))
        return refuse(err, &place, "", "an object", object);
    rc = read_fields(node_fields, ARRAY_COUNT(node_fields), object, &place, node, err);
    if (rc < 0)
        return rc;

    if (devices && !json_is_array(devices))
        return refuse(err, &place, "devices", "a list", devices);
    if (json_array_size(devices) > NODE_DEVICES_MAX)
        return err_field(err, -E2BIG, "devices", "%sdevices: %zu devices; at most %u on one node",
                         place.path, json_array_size(devices), NODE_DEVICES_MAX);
    for (size_t i = 0; i < json_array_size(devices); i++) {
        snprintf(place.path, sizeof(place.path), "nodes[%zu].devices[%zu].", index, i);
        rc = read_device(json_array_get(devices, i), &place, &node->devices[i], err);
        if (rc < 0)
            return rc;
        node->devices_count++;
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const struct node_info *const *)a)->name,
                  (*(const struct node_info *const *)b)->name);
}

/* Names are how the controller tells nodes apart; two of one name would share one set of books. */
static int check_names_unique(const struct site_info *info, struct err *err)
{
    CLEANUP(freep) const struct node_info **sorted = NULL;

    if (info->nodes_count < 2)
        return 0;
    sorted = calloc(info->nodes_count, sizeof(*sorted));
    if (!sorted)
        return err_set(err, -ENOMEM, "site %s: out of memory", info->name);
    for (uint32_t i = 0; i < info->nodes_count; i++)
        sorted[i] = &info->nodes[i];
    qsort(sorted, info->nodes_count, sizeof(*sorted), compare_names);
    for (uint32_t i = 1; i < info->nodes_count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            return err_field(err, -EINVAL, "nodes", "nodes: two are named \"%s\"", sorted[i]->name);
    return 0;
}

void site_info_fini(struct site_info *info)
{
    if (!info)
        return;
    free(info->nodes);
    memset(info, 0, sizeof(*info));
}

static int read_site(const json_t *root, struct site_info *info, struct err *err)
{
    static const struct place top = { "" };
    static const struct place tariff_place = { "tariff." };
    const json_t *tariff = json_object_get(root, "tariff");
    const json_t *nodes = json_object_get(root, "nodes");
    int rc;

    if (!json_is_object(root))
        return refuse(err, &top, "site", "an object", root);
    rc = read_fields(site_fields, ARRAY_COUNT(site_fields), root, &top, info, err);
    if (rc < 0)
        return rc;
    if (tariff) {
        if (!json_is_object(tariff))
            return refuse(err, &top, "tariff", "an object", tariff);
        rc = read_fields(tariff_fields, ARRAY_COUNT(tariff_fields), tariff, &tariff_place,
                         &info->tariff, err);
        if (rc < 0)
            return rc;
    }

    if (nodes && !json_is_array(nodes))
        return refuse(err, &top, "nodes", "a list", nodes);
    if (json_array_size(nodes) > SITE_NODES_MAX)
        return err_field(err, -E2BIG, "nodes", "nodes: %zu nodes; at most %u in one site",
                         json_array_size(nodes), SITE_NODES_MAX);
    if (json_array_size(nodes) == 0)
        return 0;
    info->nodes = calloc(json_array_size(nodes), sizeof(*info->nodes));
    if (!info->nodes)
        return err_set(err, -ENOMEM, "site %s: out of memory", info->name);
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        rc = read_node(json_array_get(nodes, i), i, &info->nodes[i], err);
        if (rc < 0)
            return rc;
        info->nodes_count++;
    }
    return check_names_unique(info, err);
}

int site_info_parse_json(const json_t *root, struct site_info *info_out, struct err *err)
{
    CLEANUP(site_info_fini) struct site_info info = { 0 };
    int rc = read_site(root, &info, err);

    if (rc < 0)
        return rc;
    *info_out = info;
    info.nodes = NULL;
    return 0;
}

static json_t *fields_to_json(const struct field *fields, size_t count, const void *from)
{
    json_t *object = json_object();

    for (size_t i = 0; object && i < count; i++) {
        const char *member = (const char *)from + fields[i].offset;
        json_t *value = NULL;

        switch (fields[i].kind) {
        case FIELD_TEXT:
        case FIELD_NAME:
            value = json_string(member);
            if (!value) /* a tool printed what is not UTF-8: say so, lose nothing else */
                value = json_string("?");
            break;
        case FIELD_I64:
            value = json_integer(*(const int64_t *)member);
            break;
        case FIELD_I32:
            value = json_integer(*(const int32_t *)member);
            break;
        case FIELD_U32:
            value = json_integer(*(const uint32_t *)member);
            break;
        case FIELD_BOOL:
            value = json_boolean(*(const bool *)member);
            break;
        }
        if (json_object_set_new(object, fields[i].key, value) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *device_info_to_json(const struct device_info *device)
{
    json_t *object = fields_to_json(device_fields, ARRAY_COUNT(device_fields), device);
    json_t *numa = device->numa == UINT32_MAX ? json_null() : json_integer(device->numa);

    /* Every set is tried (and frees its value) even after one failed. */
    if (json_object_set_new(object, "numa", numa) < 0 ||
        json_object_set_new(object, "health",
                            json_string(device->health == DEVICE_OK ? "ok" : "sick")) < 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *node_info_to_json(const struct node_info *node)
{
    json_t *object = fields_to_json(node_fields, ARRAY_COUNT(node_fields), node);
    json_t *devices = json_array();
    bool good = object && devices;

    for (uint32_t i = 0; good && i < node->devices_count; i++)
        good = json_array_append_new(devices, device_info_to_json(&node->devices[i])) == 0;
    if (!good || json_object_set(object, "devices", devices) < 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(devices);
    return object;
}

json_t *site_info_to_json(const struct site_info *info)
{
    json_t *object = fields_to_json(site_fields, ARRAY_COUNT(site_fields), info);
    json_t *tariff = fields_to_json(tariff_fields, ARRAY_COUNT(tariff_fields), &info->tariff);
    json_t *nodes = json_array();
    bool good = object && tariff && nodes;

    for (uint32_t i = 0; good && i < info->nodes_count; i++)
        good = json_array_append_new(nodes, node_info_to_json(&info->nodes[i])) == 0;
    if (!good || json_object_set(object, "tariff", tariff) < 0 ||
        json_object_set(object, "nodes", nodes) < 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(tariff);
    json_decref(nodes);
    return object;
}

static bool fields_are_equal(const struct field *fields, size_t count, const void *a, const void *b)
{
    for (size_t i = 0; i < count; i++) {
        const char *left = (const char *)a + fields[i].offset;
        const char *right = (const char *)b + fields[i].offset;
        bool text = fields[i].kind == FIELD_TEXT || fields[i].kind == FIELD_NAME;

        if (text ? strcmp(left, right) != 0 : memcmp(left, right, fields[i].bytes) != 0)
            return false;
    }
    return true;
}

bool node_info_is_equal(const struct node_info *a, const struct node_info *b)
{
    if (!fields_are_equal(node_fields, ARRAY_COUNT(node_fields), a, b) ||
        a->devices_count != b->devices_count)
        return false;
    for (uint32_t i = 0; i < a->devices_count; i++) {
        const struct device_info *left = &a->devices[i], *right = &b->devices[i];

        if (!fields_are_equal(device_fields, ARRAY_COUNT(device_fields), left, right) ||
            left->numa != right->numa || left->health != right->health)
            return false;
    }
    return true;
}
