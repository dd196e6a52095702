#include "sim/faults.h"

#include "base/file.h"
#include "sim/keys.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define RATE_MAX 1000000000LL
#define DAY_MS 86400000LL
#define SPAN_MS_MAX (3650 * DAY_MS)

static void rate_defaults(void *target)
{
    *(struct sim_rate *)target = (struct sim_rate){ .repair_ms = 4 * 3600000LL };
}

#define RATE_KEYS(per)                                                                             \
    {                                                                                              \
        { .name = (per),                                                                           \
          .kind = SIM_KEY_MILLI,                                                                   \
          .needed = true,                                                                          \
          .offset = offsetof(struct sim_rate, per_1000_days_milli),                                \
          .max = RATE_MAX },                                                                       \
            { .name = "repair",                                                                    \
              .kind = SIM_KEY_DURATION,                                                            \
              .offset = offsetof(struct sim_rate, repair_ms),                                      \
              .min = 1000,                                                                         \
              .max = SPAN_MS_MAX },                                                                \
    }

static const struct sim_key node_keys[] = RATE_KEYS("failures_per_1000_node_days");
static const struct sim_key chip_keys[] = RATE_KEYS("failures_per_1000_device_days");
static const struct sim_key site_rate_keys[] = RATE_KEYS("failures_per_1000_site_days");
static const struct sim_table node_table = { "nodes",       sizeof(struct sim_rate),
                                             node_keys,     ARRAY_COUNT(node_keys),
                                             rate_defaults, NULL };
static const struct sim_table chip_table = { "chips",       sizeof(struct sim_rate),
                                             chip_keys,     ARRAY_COUNT(chip_keys),
                                             rate_defaults, NULL };
static const struct sim_table site_rate_table = { "links or sites", sizeof(struct sim_rate),
                                                  site_rate_keys,   ARRAY_COUNT(site_rate_keys),
                                                  rate_defaults,    NULL };

/* --- slow nodes, checkpoints, windows --------------------------------------------------------- */

static const struct sim_key slow_keys[] = {
    { .name = "share",
      .kind = SIM_KEY_MILLI,
      .needed = true,
      .offset = offsetof(struct sim_faults, slow_share_milli),
      .max = 1000 },
    { .name = "speed",
      .kind = SIM_KEY_MILLI,
      .needed = true,
      .offset = offsetof(struct sim_faults, slow_speed_milli),
      .min = 1,
      .max = 1000 },
};
/* Its keys fill the plan itself: its offset there is 0. */
static const struct sim_table slow_table = { .what = "slow nodes",
                                             .size = sizeof(struct sim_faults),
                                             .keys = slow_keys,
                                             .keys_count = ARRAY_COUNT(slow_keys) };

static void checkpoint_defaults(void *target)
{
    *(struct sim_checkpoint *)target =
        (struct sim_checkpoint){ .stall_ms = 5000, .restart_ms = 150000, .on = true };
}

static const struct sim_key checkpoint_keys[] = {
    { .name = "every",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_checkpoint, every_ms),
      .min = 1000,
      .max = SPAN_MS_MAX },
    { .name = "stall",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_checkpoint, stall_ms),
      .max = DAY_MS },
    { .name = "restart",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_checkpoint, restart_ms),
      .max = DAY_MS },
    { .name = "jobs_from",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_checkpoint, least_ms),
      .max = SPAN_MS_MAX },
};
static const struct sim_table checkpoint_table = {
    "checkpoint",        sizeof(struct sim_checkpoint),
    checkpoint_keys,     ARRAY_COUNT(checkpoint_keys),
    checkpoint_defaults, NULL
};

static const char *const kinds[] = { "maintenance", "contact", "link", "power", NULL };

static int check_window(struct sim_reader *reader, const struct spec_step *step, const void *target)
{
    const struct sim_site_window *window = target;

    if (window->window.every_ms && window->window.every_ms < window->window.length_ms)
        return sim_refuse(reader, step, "a window that returns before it ends");
    return 0;
}

static const struct sim_key window_keys[] = {
    { .name = "site",
      .kind = SIM_KEY_NAME,
      .needed = true,
      .offset = offsetof(struct sim_site_window, site) },
    { .name = "kind",
      .kind = SIM_KEY_CHOICE,
      .needed = true,
      .offset = offsetof(struct sim_site_window, window.kind),
      .choices = kinds },
    { .name = "at",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_site_window, window.at_ms),
      .max = SPAN_MS_MAX },
    { .name = "for",
      .kind = SIM_KEY_DURATION,
      .needed = true,
      .offset = offsetof(struct sim_site_window, window.length_ms),
      .min = 1000,
      .max = SPAN_MS_MAX },
    { .name = "every",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_site_window, window.every_ms),
      .min = 1000,
      .max = SPAN_MS_MAX },
    { .name = "drain",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_site_window, window.drain_ms),
      .max = SPAN_MS_MAX },
};
static const struct sim_table window_table = { "a window",  sizeof(struct sim_site_window),
                                               window_keys, ARRAY_COUNT(window_keys),
                                               NULL,        check_window };

static void shed_defaults(void *target)
{
    *(struct sim_shed *)target = (struct sim_shed){ .within_ms = 30000 };
}

static const struct sim_key shed_keys[] = {
    { .name = "site",
      .kind = SIM_KEY_NAME,
      .needed = true,
      .offset = offsetof(struct sim_shed, site) },
    { .name = "at",
      .kind = SIM_KEY_DURATION,
      .needed = true,
      .offset = offsetof(struct sim_shed, at_ms),
      .max = SPAN_MS_MAX },
    { .name = "for",
      .kind = SIM_KEY_DURATION,
      .needed = true,
      .offset = offsetof(struct sim_shed, length_ms),
      .min = 1000,
      .max = 31LL * 24 * 3600 * 1000 },
    { .name = "within",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_shed, within_ms),
      .max = 24 * 3600 * 1000 },
    { .name = "percent",
      .kind = SIM_KEY_MILLI,
      .needed = true,
      .offset = offsetof(struct sim_shed, percent_milli),
      .min = 1,
      .max = 100000 },
};
static const struct sim_table shed_table = {
    .what = "a grid event",
    .size = sizeof(struct sim_shed),
    .keys = shed_keys,
    .keys_count = ARRAY_COUNT(shed_keys),
    .defaults = shed_defaults,
};

static const struct sim_key fault_keys[] = {
    { .name = "nodes",
      .kind = SIM_KEY_OBJECT,
      .offset = offsetof(struct sim_faults, nodes),
      .table = &node_table },
    { .name = "chips",
      .kind = SIM_KEY_OBJECT,
      .offset = offsetof(struct sim_faults, chips),
      .table = &chip_table },
    { .name = "links",
      .kind = SIM_KEY_OBJECT,
      .offset = offsetof(struct sim_faults, links),
      .table = &site_rate_table },
    { .name = "sites",
      .kind = SIM_KEY_OBJECT,
      .offset = offsetof(struct sim_faults, sites),
      .table = &site_rate_table },
    { .name = "slow", .kind = SIM_KEY_OBJECT, .offset = 0, .table = &slow_table },
    { .name = "checkpoint",
      .kind = SIM_KEY_OBJECT,
      .offset = offsetof(struct sim_faults, checkpoint),
      .table = &checkpoint_table },
    { .name = "windows",
      .kind = SIM_KEY_LIST,
      .offset = offsetof(struct sim_faults, windows),
      .count_offset = offsetof(struct sim_faults, windows_count),
      .table = &window_table },
    { .name = "sheds",
      .kind = SIM_KEY_LIST,
      .offset = offsetof(struct sim_faults, sheds),
      .count_offset = offsetof(struct sim_faults, sheds_count),
      .table = &shed_table },
};
static const struct sim_table fault_table = { .what = "a fault plan",
                                              .size = sizeof(struct sim_faults),
                                              .keys = fault_keys,
                                              .keys_count = ARRAY_COUNT(fault_keys) };

struct sim_faults sim_faults_init(void)
{
    return (struct sim_faults){ .nodes.repair_ms = 4 * 3600000LL, .slow_speed_milli = 1000 };
}

int sim_faults_read(const char *file, const char *text, size_t len, struct arena *arena,
                    struct sim_faults *faults_out, struct err *err)
{
    struct sim_faults faults = sim_faults_init();
    int rc = sim_text_read(file, text, len, &fault_table, arena, &faults, err);

    if (rc == 0)
        *faults_out = faults;
    return rc;
}

int sim_faults_open(const char *path, struct arena *arena, struct sim_faults *faults_out,
                    struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SIM_FILE_BYTES_MAX);
    int rc = file_read(path, &text, err);

    if (rc < 0)
        return rc;
    return sim_faults_read(path, text.data ? text.data : "", text.len, arena, faults_out, err);
}

int sim_faults_check(const struct sim_faults *faults, const struct sim_fleet *fleet,
                     struct err *err)
{
    for (uint32_t i = 0; i < faults->windows_count; i++)
        if (sim_fleet_find_site(fleet, faults->windows[i].site) < 0)
            return err_set(err, -ENOENT,
                           "the fault plan has a window for site %s, which fleet %s "
                           "does not have",
                           faults->windows[i].site, fleet->name);
    for (uint32_t i = 0; i < faults->sheds_count; i++)
        if (sim_fleet_find_site(fleet, faults->sheds[i].site) < 0)
            return err_set(err, -ENOENT,
                           "the fault plan sheds at site %s, which fleet %s does not have",
                           faults->sheds[i].site, fleet->name);
    return 0;
}

int64_t sim_checkpoint_interval(int64_t stall_ms, int64_t mtbf_ms)
{
    double best = sqrt(2.0 * (double)MAX(stall_ms, 1) * (double)mtbf_ms);

    return best < 1000 ? 1000 : best > 1e15 ? (int64_t)1e15 : (int64_t)best;
}
