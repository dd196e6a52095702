#include "sim/fleet.h"

#include "base/file.h"
#include "model/tariff_file.h"
#include "sim/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES_MAX (256u << 20)
#define START_MS 1767225600000LL /* 2026-01-01T00:00:00Z */
#define DAY_MS 86400000LL
#define SPAN_MS_MAX (3650 * DAY_MS)

/* --- the file --------------------------------------------------------------------------------- */

static const char *const window_kinds[] = { "maintenance", "contact", "link", "power", NULL };

static int check_window(struct sim_reader *reader, const struct spec_step *step, const void *target)
{
    const struct sim_window *window = target;

    if (window->every_ms && window->every_ms < window->length_ms)
        return sim_refuse(reader, step, "a window that returns before it ends");
    return 0;
}

static const struct sim_key window_keys[] = {
    { .name = "kind",
      .kind = SIM_KEY_CHOICE,
      .needed = true,
      .offset = offsetof(struct sim_window, kind),
      .choices = window_kinds },
    { .name = "at",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_window, at_ms),
      .max = SPAN_MS_MAX },
    { .name = "for",
      .kind = SIM_KEY_DURATION,
      .needed = true,
      .offset = offsetof(struct sim_window, length_ms),
      .min = 1000,
      .max = SPAN_MS_MAX },
    { .name = "every",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_window, every_ms),
      .min = 1000,
      .max = SPAN_MS_MAX },
    { .name = "drain",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_window, drain_ms),
      .max = SPAN_MS_MAX },
};
static const struct sim_table window_table = {
    .what = "a window",
    .size = sizeof(struct sim_window),
    .keys = window_keys,
    .keys_count = ARRAY_COUNT(window_keys),
    .check = check_window,
};

static void pool_defaults(void *target)
{
    *(struct sim_pool *)target = (struct sim_pool){
        .cpus = 1, .chip_tflops_milli = -1, .chip_watts = UINT32_MAX, .failures_milli = -1
    };
}

static int check_pool(struct sim_reader *reader, const struct spec_step *step, const void *target)
{
    const struct sim_pool *pool = target;

    if (pool->devices && !pool->chip[0])
        return sim_refuse(reader, step, "pool %s has devices but no chip", pool->name);
    if (!pool->devices && pool->chip[0])
        return sim_refuse(reader, step, "pool %s has a chip but no devices", pool->name);
    return 0;
}

static const struct sim_key pool_keys[] = {
    { .name = "name",
      .kind = SIM_KEY_NAME,
      .needed = true,
      .offset = offsetof(struct sim_pool, name) },
    { .name = "nodes",
      .kind = SIM_KEY_COUNT,
      .needed = true,
      .offset = offsetof(struct sim_pool, nodes),
      .min = 1,
      .max = SITE_NODES_MAX },
    { .name = "cpus",
      .kind = SIM_KEY_COUNT,
      .needed = true,
      .offset = offsetof(struct sim_pool, cpus),
      .min = 1,
      .max = 65536 },
    { .name = "memory",
      .kind = SIM_KEY_BYTES,
      .needed = true,
      .offset = offsetof(struct sim_pool, memory_bytes),
      .max = 1LL << 50 },
    { .name = "disk",
      .kind = SIM_KEY_BYTES,
      .offset = offsetof(struct sim_pool, disk_bytes),
      .max = 1LL << 55 },
    { .name = "devices",
      .kind = SIM_KEY_COUNT,
      .offset = offsetof(struct sim_pool, devices),
      .max = NODE_DEVICES_MAX },
    { .name = "chip", .kind = SIM_KEY_NAME, .offset = offsetof(struct sim_pool, chip) },
    { .name = "device_memory",
      .kind = SIM_KEY_BYTES,
      .offset = offsetof(struct sim_pool, device_memory_bytes),
      .max = 1LL << 50 },
    { .name = "chip_tflops",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_pool, chip_tflops_milli),
      .max = 1000000000 },
    { .name = "chip_watts",
      .kind = SIM_KEY_COUNT,
      .offset = offsetof(struct sim_pool, chip_watts),
      .max = 100000 },
    { .name = "cpu_watts",
      .kind = SIM_KEY_COUNT,
      .offset = offsetof(struct sim_pool, cpu_watts),
      .max = 1000000 },
    { .name = "rack_nodes",
      .kind = SIM_KEY_COUNT,
      .offset = offsetof(struct sim_pool, rack_nodes),
      .max = SITE_NODES_MAX },
    { .name = "supernode_nodes",
      .kind = SIM_KEY_COUNT,
      .offset = offsetof(struct sim_pool, supernode_nodes),
      .max = SITE_NODES_MAX },
    { .name = "failures_per_1000_node_days",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_pool, failures_milli),
      .max = 1000000000 },
};
static const struct sim_table pool_table = {
    .what = "a pool",
    .size = sizeof(struct sim_pool),
    .keys = pool_keys,
    .keys_count = ARRAY_COUNT(pool_keys),
    .defaults = pool_defaults,
    .check = check_pool,
};

#define TARIFF_ROWS_MAX_SIM 105408u /* three years of quarter hours */
#define PRICE_MICRO_MAX 1000000000000LL
static const struct sim_key tariff_keys[] = {
    { .name = "power_price",
      .kind = SIM_KEY_MICRO,
      .offset = offsetof(struct site_tariff, power_price_micro_per_kwh),
      .max = PRICE_MICRO_MAX },
    { .name = "carbon",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct site_tariff, carbon_g_per_kwh_milli),
      .max = 10000000 },
    { .name = "cpu_price",
      .kind = SIM_KEY_MICRO,
      .offset = offsetof(struct site_tariff, cpu_price_micro_per_hour),
      .max = PRICE_MICRO_MAX },
    { .name = "device_price",
      .kind = SIM_KEY_MICRO,
      .offset = offsetof(struct site_tariff, device_price_micro_per_hour),
      .max = PRICE_MICRO_MAX },
};
static const struct sim_table tariff_table = {
    .what = "a tariff",
    .size = sizeof(struct site_tariff),
    .keys = tariff_keys,
    .keys_count = ARRAY_COUNT(tariff_keys),
};

static void row_defaults(void *target)
{
    *(struct sim_series_row *)target =
        (struct sim_series_row){ TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN, TARIFF_UNKNOWN };
}

static const struct sim_key row_keys[] = {
    { .name = "price",
      .kind = SIM_KEY_MICRO,
      .offset = offsetof(struct sim_series_row, price_micro),
      .min = -PRICE_MICRO_MAX,
      .max = PRICE_MICRO_MAX },
    { .name = "carbon",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_series_row, carbon_mg),
      .max = 10000000 },
    { .name = "green",
      .kind = SIM_KEY_MICRO,
      .offset = offsetof(struct sim_series_row, green_ppm),
      .max = 1000000 },
    { .name = "cap",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_series_row, cap_milliwatts),
      .max = 1000000000000LL },
};
static const struct sim_table row_table = {
    .what = "a row of a series",
    .size = sizeof(struct sim_series_row),
    .keys = row_keys,
    .keys_count = ARRAY_COUNT(row_keys),
    .defaults = row_defaults,
};

static void series_defaults(void *target)
{
    *(struct sim_tariff_series *)target =
        (struct sim_tariff_series){ .slot_ms = 3600000, .ahead_ms = DAY_MS };
}

static int check_series(struct sim_reader *reader, const struct spec_step *step, const void *target)
{
    const struct sim_tariff_series *series = target;

    if (!series->file[0] == !series->rows_count)
        return sim_refuse(reader, step, "series: expected either file or rows");
    return 0;
}

static const struct sim_key series_keys[] = {
    { .name = "file", .kind = SIM_KEY_NAME, .offset = offsetof(struct sim_tariff_series, file) },
    { .name = "slot",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_tariff_series, slot_ms),
      .min = TARIFF_SLOT_MS_MIN,
      .max = TARIFF_SLOT_MS_MAX },
    { .name = "ahead",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_tariff_series, ahead_ms),
      .max = 30 * DAY_MS },
    { .name = "rows",
      .kind = SIM_KEY_LIST,
      .offset = offsetof(struct sim_tariff_series, rows),
      .count_offset = offsetof(struct sim_tariff_series, rows_count),
      .table = &row_table },
};
static const struct sim_table series_table = {
    .what = "a series",
    .size = sizeof(struct sim_tariff_series),
    .keys = series_keys,
    .keys_count = ARRAY_COUNT(series_keys),
    .defaults = series_defaults,
    .check = check_series,
};

static const char *const suspends_choices[] = { "off", "on", NULL };
static const struct sim_key site_keys[] = {
    { .name = "name",
      .kind = SIM_KEY_NAME,
      .needed = true,
      .offset = offsetof(struct sim_site, name) },
    { .name = "owner", .kind = SIM_KEY_NAME, .offset = offsetof(struct sim_site, owner) },
    { .name = "region", .kind = SIM_KEY_NAME, .offset = offsetof(struct sim_site, region) },
    { .name = "suspends",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_site, suspends),
      .choices = suspends_choices },
    { .name = "tariff",
      .kind = SIM_KEY_OBJECT,
      .offset = offsetof(struct sim_site, tariff),
      .table = &tariff_table },
    { .name = "series",
      .kind = SIM_KEY_OBJECT,
      .offset = offsetof(struct sim_site, series),
      .table = &series_table },
    { .name = "pools",
      .kind = SIM_KEY_LIST,
      .needed = true,
      .offset = offsetof(struct sim_site, pools),
      .count_offset = offsetof(struct sim_site, pools_count),
      .table = &pool_table },
    { .name = "windows",
      .kind = SIM_KEY_LIST,
      .offset = offsetof(struct sim_site, windows),
      .count_offset = offsetof(struct sim_site, windows_count),
      .table = &window_table },
};
static const struct sim_table site_table = {
    .what = "a site",
    .size = sizeof(struct sim_site),
    .keys = site_keys,
    .keys_count = ARRAY_COUNT(site_keys),
};

static const struct sim_key fleet_keys[] = {
    { .name = "name", .kind = SIM_KEY_NAME, .offset = offsetof(struct sim_fleet, name) },
    { .name = "start",
      .kind = SIM_KEY_TIME,
      .offset = offsetof(struct sim_fleet, start_ms),
      .min = DAY_MS,
      .max = 4102444800000LL /* 2100 */ },
    { .name = "sites",
      .kind = SIM_KEY_LIST,
      .needed = true,
      .offset = offsetof(struct sim_fleet, sites),
      .count_offset = offsetof(struct sim_fleet, sites_count),
      .table = &site_table },
};
static const struct sim_table fleet_table = {
    .what = "a fleet",
    .size = sizeof(struct sim_fleet),
    .keys = fleet_keys,
    .keys_count = ARRAY_COUNT(fleet_keys),
};

/* --- what follows from it --------------------------------------------------------------------- */

struct sim_fleet *sim_fleet_create(void)
{
    struct sim_fleet *fleet = calloc(1, sizeof(*fleet));

    if (fleet) {
        fleet->arena = arena_init(ARENA_BYTES_MAX);
        fleet->start_ms = START_MS;
    }
    return fleet;
}

int sim_fleet_find_site(const struct sim_fleet *fleet, const char *name)
{
    for (uint32_t i = 0; i < fleet->sites_count; i++)
        if (strcmp(fleet->sites[i].name, name) == 0)
            return (int)i;
    return -1;
}

void sim_fleet_destroy(struct sim_fleet *fleet)
{
    if (!fleet)
        return;
    arena_fini(&fleet->arena);
    free(fleet);
}

void sim_fleet_destroyp(struct sim_fleet **fleet)
{
    sim_fleet_destroy(*fleet);
}

static void fill_figures(struct sim_pool *pool, const struct catalogue *catalogue)
{
    const struct chip *chip = catalogue_find(catalogue, pool->chip);
    struct chip_figures *figures = &pool->figures;

    memcpy(figures->kind, pool->chip, sizeof(figures->kind));
    for (int i = 0; i < METRIC_COUNT; i++)
        figures->metric_milli[i] = chip ? chip->metric_milli[i] : -1;
    figures->power_watts = chip ? chip->power_watts : -1;
    figures->power_idle_watts = chip ? chip->power_idle_watts : -1;
    if (pool->chip_watts != UINT32_MAX)
        figures->power_watts = (int32_t)pool->chip_watts;
    if (pool->chip_tflops_milli >= 0)
        figures->metric_milli[METRIC_BF16_TFLOPS] = pool->chip_tflops_milli;
    if (!pool->device_memory_bytes && chip && chip->metric_milli[METRIC_MEMORY_GB] > 0)
        pool->device_memory_bytes = chip->metric_milli[METRIC_MEMORY_GB] * (1LL << 30) / 1000;
}

static int finish_site(struct sim_fleet *fleet, struct sim_site *site,
                       const struct catalogue *catalogue, struct err *err)
{
    for (uint32_t i = 0; i < site->pools_count; i++) {
        struct sim_pool *pool = &site->pools[i];

        for (uint32_t k = 0; k < i; k++)
            if (strcmp(site->pools[k].name, pool->name) == 0)
                return err_set(err, -EINVAL, "site %s has two pools named %s", site->name,
                               pool->name);
        pool->first_node = site->nodes_count;
        site->nodes_count += pool->nodes;
        if (site->nodes_count > SITE_NODES_MAX)
            return err_set(err, -EINVAL, "site %s has more than %u nodes", site->name,
                           SITE_NODES_MAX);
        fleet->devices_count += (uint64_t)pool->nodes * pool->devices;
        fleet->cpus_count += (uint64_t)pool->nodes * pool->cpus;
        fleet->node_devices_most = MAX(fleet->node_devices_most, pool->devices);
        fill_figures(pool, catalogue);
    }
    for (uint32_t i = 0; i < site->pools_count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(site->pools[k].chip, site->pools[i].chip) == 0 && site->pools[k].devices &&
                site->pools[i].devices &&
                sim_chip_speed(&site->pools[k].figures) != sim_chip_speed(&site->pools[i].figures))
                return err_set(err, -EINVAL, "site %s: pools %s and %s rate chip %s differently",
                               site->name, site->pools[k].name, site->pools[i].name,
                               site->pools[i].chip);
    fleet->nodes_count += site->nodes_count;
    return 0;
}

int sim_fleet_finish(struct sim_fleet *fleet, const struct catalogue *catalogue, struct err *err)
{
    int rc = 0;

    if (!fleet->name[0])
        memcpy(fleet->name, "fleet", sizeof("fleet"));
    if (!fleet->sites_count || fleet->sites_count > SIM_SITES_MAX)
        return err_set(err, -EINVAL, "a fleet has 1 to %u sites, not %u", SIM_SITES_MAX,
                       fleet->sites_count);
    for (uint32_t i = 0; rc == 0 && i < fleet->sites_count; i++) {
        struct sim_site *site = &fleet->sites[i];

        for (uint32_t k = 0; k < i; k++)
            if (strcmp(fleet->sites[k].name, site->name) == 0)
                return err_set(err, -EINVAL, "two sites are named %s", site->name);
        memcpy(site->tariff.currency, "USD", sizeof("USD"));
        rc = finish_site(fleet, site, catalogue, err);
    }
    if (rc == 0 && fleet->nodes_count > SIM_NODES_MAX)
        return err_set(err, -EINVAL, "more than %u nodes", SIM_NODES_MAX);
    return rc;
}

static int load_series(struct sim_fleet *fleet, struct sim_site *site, const char *file,
                       struct err *err)
{
    CLEANUP(buf_fini) struct buf path = buf_init(4096);
    const char *slash = strrchr(file, '/');
    struct tariff_file table;
    int rc;

    buf_add(&path, file, slash ? (size_t)(slash - file) + 1 : 0);
    buf_add_text(&path, site->series.file);
    rc = tariff_file_read(path.data, TARIFF_ROWS_MAX_SIM, &table, err);
    if (rc < 0)
        return rc;
    site->series.from_ms = table.from_ms;
    site->series.slot_ms = table.slot_ms;
    site->series.rows = arena_alloc(&fleet->arena, table.count, sizeof(*site->series.rows));
    site->series.rows_count = site->series.rows ? table.count : 0;
    for (uint32_t i = 0; i < site->series.rows_count; i++) {
        const struct tariff_file_row *row = &table.rows[i];

        site->series.rows[i] =
            (struct sim_series_row){ row->price_micro, row->carbon_mg, row->green_ppm,
                                     row->cap_w == TARIFF_FILE_UNKNOWN ? TARIFF_UNKNOWN
                                                                       : row->cap_w * 1000 };
    }
    tariff_file_fini(&table);
    if (!site->series.rows_count)
        return err_set(err, -ENOMEM, "out of memory");
    if (site->series.slot_ms < TARIFF_SLOT_MS_MIN || site->series.slot_ms > TARIFF_SLOT_MS_MAX)
        return err_set(err, -EINVAL, "%s: slots of a minute to a day", path.data);
    return 0;
}

static int load_all_series(struct sim_fleet *fleet, const char *file, struct err *err)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < fleet->sites_count; i++) {
        struct sim_site *site = &fleet->sites[i];

        if (site->series.file[0])
            rc = load_series(fleet, site, file, err);
        else if (site->series.rows_count)
            site->series.from_ms = fleet->start_ms / site->series.slot_ms * site->series.slot_ms;
    }
    return rc;
}

int sim_tariff_change(const char *text, struct arena *arena, struct site_tariff *tariff,
                      struct err *err)
{
    return sim_text_read("tariff", text, strlen(text), &tariff_table, arena, tariff, err);
}

int sim_fleet_read(const char *file, const char *text, size_t len,
                   const struct catalogue *catalogue, struct sim_fleet **fleet_out, struct err *err)
{
    CLEANUP(sim_fleet_destroyp) struct sim_fleet *fleet = sim_fleet_create();
    int rc;

    if (!fleet)
        return err_set(err, -ENOMEM, "out of memory");
    rc = sim_text_read(file, text, len, &fleet_table, &fleet->arena, fleet, err);
    if (rc < 0)
        return rc;
    rc = load_all_series(fleet, file, err);
    if (rc < 0)
        return rc;
    rc = sim_fleet_finish(fleet, catalogue, err);
    if (rc < 0)
        return err_prefix(err, rc, "%s", file);
    *fleet_out = TAKE(fleet);
    return 0;
}

int sim_fleet_write(const struct sim_fleet *fleet, struct buf *out)
{
    return sim_text_write(&fleet_table, fleet, out);
}

static bool has_ending(const char *text, const char *ending)
{
    size_t len = strlen(text), end = strlen(ending);

    return len >= end && strcmp(text + len - end, ending) == 0;
}

int sim_fleet_open(const char *name, const struct catalogue *catalogue,
                   struct sim_fleet **fleet_out, struct err *err)
{
    CLEANUP(sim_fleet_destroyp) struct sim_fleet *fleet = NULL;
    CLEANUP(buf_fini) struct buf text = buf_init(SIM_FILE_BYTES_MAX);
    bool large = strcmp(name, "demo-100k") == 0, is_demo = large || strcmp(name, "demo") == 0;
    int rc;

    if (!is_demo && !has_ending(name, ".csv") && !has_ending(name, ".csv.gz")) {
        rc = file_read(name, &text, err);
        if (rc == -ENOENT)
            return err_set(err, rc, "%s: no such fleet file; built in are demo and demo-100k",
                           name);
        if (rc < 0)
            return rc;
        return sim_fleet_read(name, text.data ? text.data : "", text.len, catalogue, fleet_out,
                              err);
    }
    fleet = sim_fleet_create();
    if (!fleet)
        return err_set(err, -ENOMEM, "out of memory");
    rc = is_demo ? sim_fleet_demo(fleet, large, err) : sim_fleet_openb(name, fleet, err);
    if (rc == 0)
        rc = sim_fleet_finish(fleet, catalogue, err);
    if (rc < 0)
        return rc;
    *fleet_out = TAKE(fleet);
    return 0;
}

/* --- looking up ------------------------------------------------------------------------------- */

const struct sim_pool *sim_site_pool(const struct sim_site *site, uint32_t node)
{
    uint32_t low = 0, high = site->pools_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (site->pools[middle].first_node <= node)
            low = middle;
        else
            high = middle;
    }
    return &site->pools[low];
}

void sim_node_name(const struct sim_site *site, uint32_t node, char out[MODEL_NAME_BYTES])
{
    const struct sim_pool *pool = sim_site_pool(site, node);

    if (pool->nodes == 1)
        snprintf(out, MODEL_NAME_BYTES, "%s", pool->name);
    else
        snprintf(out, MODEL_NAME_BYTES, "%.56s-%05" PRIu32, pool->name, node - pool->first_node);
}

int64_t sim_chip_speed(const struct chip_figures *figures)
{
    static const enum chip_metric order[] = { METRIC_BF16_TFLOPS, METRIC_FP16_TFLOPS,
                                              METRIC_TF32_TFLOPS, METRIC_FP32_TFLOPS };

    for (size_t i = 0; i < ARRAY_COUNT(order); i++)
        if (figures->metric_milli[order[i]] > 0)
            return figures->metric_milli[order[i]];
    return 0;
}
