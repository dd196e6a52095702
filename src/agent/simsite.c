#include "agent/simsite.h"

#include "base/file.h"
#include "base/rng.h"
#include "model/spec.h"
#include "model/units.h"
#include "model/yaml.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_BYTES 80u
#define RUN_MS_MAX (INT64_C(366) * 86400000)

/* ---- the file ---- */

enum kind { KIND_NAME, KIND_COUNT, KIND_DURATION, KIND_BYTES, KIND_MILLI, KIND_SPREAD, KIND_SEED };
struct key {
    const char *name;
    enum kind kind;
    size_t offset;
    int64_t min, max;
};
static const struct key keys[] = {
    { "nodes", KIND_COUNT, offsetof(struct simsite, nodes), 1, SITE_NODES_MAX },
    { "devices", KIND_COUNT, offsetof(struct simsite, devices), 0, NODE_DEVICES_MAX },
    { "cpus", KIND_COUNT, offsetof(struct simsite, cpus), 1, 4096 },
    { "rack_nodes", KIND_COUNT, offsetof(struct simsite, rack_nodes), 0, SITE_NODES_MAX },
    { "supernode_nodes", KIND_COUNT, offsetof(struct simsite, supernode_nodes), 0, SITE_NODES_MAX },
    { "memory", KIND_BYTES, offsetof(struct simsite, memory_bytes), 1, INT64_C(1) << 50 },
    { "disk", KIND_BYTES, offsetof(struct simsite, disk_bytes), 0, INT64_C(1) << 50 },
    { "chip", KIND_NAME, offsetof(struct simsite, chip), 0, 0 },
    { "prefix", KIND_NAME, offsetof(struct simsite, prefix), 0, 0 },
    { "run", KIND_DURATION, offsetof(struct simsite, run_ms), 0, RUN_MS_MAX },
    { "start", KIND_DURATION, offsetof(struct simsite, start_ms), 0, RUN_MS_MAX },
    { "stop", KIND_DURATION, offsetof(struct simsite, stop_ms), 0, RUN_MS_MAX },
    { "spread", KIND_SPREAD, offsetof(struct simsite, spread), 0, 0 },
    { "failures", KIND_MILLI, offsetof(struct simsite, failures_milli), 0, 1000 },
    { "seed", KIND_SEED, offsetof(struct simsite, seed), 0, INT64_MAX },
};
static const char *const spreads[] = { "fixed", "uniform", "exponential" };

static int take_name(const char *text, char *out, struct err *err)
{
    size_t len = strlen(text);
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    if (!len || len > MODEL_NAME_BYTES - 16 || strspn(text, letters) != len)
        return err_set(err, -EINVAL, "expected a name of letters, digits, '.', '_' and '-'");
    memcpy(out, text, len + 1);
    return 0;
}

static int take_spread(const char *text, uint32_t *out, struct err *err)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(spreads); i++)
        if (strcmp(text, spreads[i]) == 0) {
            *out = i;
            return 0;
        }
    return err_set(err, -EINVAL, "expected fixed, uniform or exponential");
}

static int take_value(const struct key *key, const char *text, struct simsite *site,
                      struct err *err)
{
    char *at = (char *)site + key->offset;
    int64_t value = 0;
    int rc;

    switch (key->kind) {
    case KIND_NAME:
        return take_name(text, at, err);
    case KIND_SPREAD:
        return take_spread(text, (uint32_t *)(void *)at, err);
    case KIND_DURATION:
        rc = units_parse_duration(text, &value, err);
        break;
    case KIND_BYTES:
        rc = units_parse_bytes(text, &value, err);
        break;
    case KIND_MILLI:
        rc = units_parse_milli(text, &value, err);
        break;
    case KIND_COUNT:
    case KIND_SEED:
        rc = units_parse_int(text, key->min, key->max, &value, err);
        break;
    default:
        return -EINVAL;
    }
    if (rc < 0)
        return rc;
    if (value < key->min || value > key->max)
        return err_set(err, -EINVAL, "out of range");
    if (key->kind == KIND_COUNT)
        *(uint32_t *)(void *)at = (uint32_t)value;
    else
        *(int64_t *)(void *)at = value;
    return 0;
}

/* As it was written, so that 0.1 is a tenth; "" when it is no plain value. */
static void print_value(const struct spec_locator *locator, const struct spec_step *step,
                        const json_t *value, char out[VALUE_BYTES])
{
    const char *text = json_string_value(value);
    size_t len = text ? json_string_length(value) : 0;

    if (json_is_number(value))
        text = locator->text(locator->context, step, &len);
    snprintf(out, VALUE_BYTES, "%.*s", text && len < VALUE_BYTES ? (int)len : 0, text ? text : "");
}

static int read_key(const struct spec_locator *locator, const char *name, const json_t *value,
                    struct simsite *site, struct err *err)
{
    struct spec_step root = { 0 }, step = { .up = &root, .key = name };
    const struct key *key = NULL;
    struct spec_place place;
    char text[VALUE_BYTES];
    struct err why = { 0 };

    for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
        if (strcmp(keys[i].name, name) == 0)
            key = &keys[i];
    print_value(locator, &step, value, text);
    if (key && take_value(key, text, site, &why) == 0)
        return 0;
    place = locator->find(locator->context, &step, !key);
    if (!key)
        return err_set(err, -EINVAL, "%s:%u:%u: a simulated site has no key \"%.60s\"", place.file,
                       place.line, place.column, name);
    return err_set(err, -EINVAL, "%s:%u:%u: %s: %.100s", place.file, place.line, place.column, name,
                   why.text);
}

int simsite_parse(const char *file, const char *text, size_t len, struct simsite *site_out,
                  struct err *err)
{
    CLEANUP(yaml_doc_destroyp) struct yaml_doc *doc = NULL;
    struct simsite site = { .nodes = 1,
                            .cpus = 64,
                            .memory_bytes = INT64_C(512) << 30,
                            .disk_bytes = INT64_C(1) << 40,
                            .prefix = "n",
                            .run_ms = 30000,
                            .seed = 1 };
    struct spec_locator locator;
    const char *name;
    json_t *value, *root;
    int rc = yaml_parse(file, text, len, &doc, err);

    if (rc < 0)
        return rc;
    locator = yaml_doc_locator(doc);
    root = (json_t *)(uintptr_t)yaml_doc_root(doc); /* jansson iterates over no const */
    if (!json_is_object(root))
        return err_set(err, -EINVAL, "%s:1:1: expected keys and values, as nodes: 4", file);
    json_object_foreach (root, name, value) {
        rc = read_key(&locator, name, value, &site, err);
        if (rc < 0)
            return rc;
    }
    if (site.devices && !site.chip[0])
        return err_set(err, -EINVAL, "%s:1:1: devices need a chip", file);
    *site_out = site;
    return 0;
}

int simsite_read(const char *path, struct simsite *site_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SIMSITE_FILE_BYTES_MAX);
    int rc = file_read(path, &text, err);

    return rc < 0 ? rc : simsite_parse(path, text.data ? text.data : "", text.len, site_out, err);
}

/* ---- its nodes ---- */

static void fill_node(const struct simsite *site, const struct chip *chip, uint32_t index,
                      struct node_info *node)
{
    snprintf(node->name, sizeof(node->name), "%s%" PRIu32, site->prefix, index + 1);
    snprintf(node->cpu_model, sizeof(node->cpu_model), "simulated");
    snprintf(node->arch, sizeof(node->arch), "x86_64");
    snprintf(node->os, sizeof(node->os), "simulated");
    node->cpus = site->cpus;
    node->numa_count = 1;
    node->memory_bytes = site->memory_bytes;
    node->disk_bytes = site->disk_bytes;
    if (site->rack_nodes)
        snprintf(node->rack, sizeof(node->rack), "r%" PRIu32, index / site->rack_nodes + 1);
    if (site->supernode_nodes)
        snprintf(node->supernode, sizeof(node->supernode), "s%" PRIu32,
                 index / site->supernode_nodes + 1);
    node->devices_count = chip ? site->devices : 0;
    for (uint32_t i = 0; i < node->devices_count; i++) {
        struct device_info *device = &node->devices[i];

        snprintf(device->chip, sizeof(device->chip), "%s", chip->kind);
        snprintf(device->vendor, sizeof(device->vendor), "%s", chip->vendor);
        snprintf(device->family, sizeof(device->family), "%s", chip->family);
        snprintf(device->driver, sizeof(device->driver), "simulated");
        device->index = i;
        device->numa = UINT32_MAX;
        device->memory_bytes =
            MAX(chip->metric_milli[METRIC_MEMORY_GB], 0) * (INT64_C(1000000000) / 1000);
    }
}

int simsite_describe(const struct simsite *site, const struct catalogue *catalogue,
                     struct node_info **nodes_out, struct err *err)
{
    const struct chip *chip = site->devices ? catalogue_find(catalogue, site->chip) : NULL;
    struct node_info *nodes;

    if (site->devices && !chip)
        return err_set(err, -ENOENT, "simulated site: the catalogue has no chip \"%s\"",
                       site->chip);
    nodes = calloc(site->nodes, sizeof(*nodes));
    if (!nodes)
        return err_set(err, -ENOMEM, "simulated site: out of memory");
    for (uint32_t i = 0; i < site->nodes; i++)
        fill_node(site, chip, i, &nodes[i]);
    *nodes_out = nodes;
    return 0;
}

int simsite_find_node(const struct simsite *site, const char *name)
{
    size_t len = strlen(site->prefix);
    int64_t number;

    if (strncmp(name, site->prefix, len) != 0 || name[len] == '0' ||
        units_parse_int(name + len, 1, site->nodes, &number, NULL) < 0)
        return -1;
    return (int)number - 1;
}

/* ---- what becomes of an attempt ---- */

static int read_told(const char *spec_json, int64_t *run_ms, int64_t *exit_code, struct err *err)
{
    struct job_spec *spec = NULL;
    int rc = spec_parse_json_text(spec_json, strlen(spec_json), &spec, err);

    for (uint32_t i = 0; rc == 0 && i < spec->env_count; i++) {
        const struct spec_pair *pair = &spec->env[i];

        if (strcmp(pair->name, "SIM_SECONDS") == 0)
            rc = units_parse_duration(pair->value, run_ms, err);
        else if (strcmp(pair->name, "SIM_EXIT") == 0)
            rc = units_parse_int(pair->value, 0, 255, exit_code, err);
        if (rc < 0)
            err_prefix(err, rc, "%s", pair->name);
    }
    spec_destroy(spec);
    return rc;
}

int simsite_draw(const struct simsite *site, struct attempt_key key, const char *spec_json,
                 int64_t duration_ms_max, struct simsite_fate *fate_out, struct err *err)
{
    struct rng rng = { (uint64_t)site->seed ^ key.job_id * UINT64_C(0x9e3779b97f4a7c15) ^
                       (uint64_t)key.epoch << 48 };
    struct simsite_fate fate = { .end = END_EXITED };
    double u = rng_unit(&rng);
    int64_t told_ms = -1, told_exit = -1;
    bool fails = (int64_t)rng_below(&rng, 1000) < site->failures_milli;
    int rc = read_told(spec_json, &told_ms, &told_exit, err);

    if (rc < 0)
        return rc;
    switch ((enum simsite_spread)site->spread) {
    case SIMSITE_FIXED:
        fate.run_ms = site->run_ms;
        break;
    case SIMSITE_UNIFORM:
        fate.run_ms = (int64_t)((double)site->run_ms * (0.5 + u));
        break;
    case SIMSITE_EXPONENTIAL:
        fate.run_ms = (int64_t)((double)site->run_ms * -log(1 - u));
        break;
    }
    if (told_ms >= 0)
        fate.run_ms = MIN(told_ms, RUN_MS_MAX);
    fate.exit_code = told_exit >= 0 ? (int32_t)told_exit : fails;
    if (duration_ms_max > 0 && fate.run_ms >= duration_ms_max) {
        fate.run_ms = duration_ms_max;
        fate.end = END_TIME_LIMIT;
        fate.exit_code = 0;
    }
    *fate_out = fate;
    return 0;
}
