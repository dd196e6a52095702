#include "sim/policy.h"

#include "base/file.h"
#include "grid/grid.h"
#include "sim/keys.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define COUNT_MAX 1000000000LL

static const char *const limits_names[] = { "trace", "exact", "none", NULL };
static const char *const objective_names[] = { "job", "fastest", "cheapest", "greenest", NULL };

static const char *const switch_names[] = { "off", "on", NULL };
static const char *const switch_off_names[] = { "on", "off", NULL }; /* on, when nothing is said */
static const char *const unreachable_names[] = { "wait", "move", NULL };
static const char *const saves_names[] = { "trace", "told", NULL };
static const char *const order_names[] = { "fair", "fifo", "predicted", "deadline", NULL };

static void quota_defaults(void *target)
{
    *(struct sim_quota *)target = (struct sim_quota){ .cpus_max = -1,
                                                      .devices_milli_max = -1,
                                                      .jobs_max = -1,
                                                      .weight_milli = 1000,
                                                      .budget_micro = -1 };
}

/* Whole numbers, but for devices: the kinds scale by 1, so that one table serves. */
static const struct sim_key quota_keys[] = {
    { .name = "tenant",
      .kind = SIM_KEY_NAME,
      .needed = true,
      .offset = offsetof(struct sim_quota, tenant) },
    { .name = "cpus",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_quota, cpus_max),
      .max = COUNT_MAX },
    { .name = "devices",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_quota, devices_milli_max),
      .max = COUNT_MAX },
    { .name = "jobs",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_quota, jobs_max),
      .max = COUNT_MAX },
    { .name = "parent", .kind = SIM_KEY_NAME, .offset = offsetof(struct sim_quota, parent) },
    { .name = "weight",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_quota, weight_milli),
      .min = 1,
      .max = COUNT_MAX },
    { .name = "guarantee_cpus",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_quota, guarantee_cpus),
      .max = COUNT_MAX },
    { .name = "guarantee_devices",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_quota, guarantee_devices_milli),
      .max = COUNT_MAX },
    { .name = "budget",
      .kind = SIM_KEY_MICRO,
      .offset = offsetof(struct sim_quota, budget_micro),
      .max = COUNT_MAX * 1000000 },
};
static const struct sim_table quota_table = {
    .what = "a quota",
    .size = sizeof(struct sim_quota),
    .keys = quota_keys,
    .keys_count = ARRAY_COUNT(quota_keys),
    .defaults = quota_defaults,
};

#define CELLS_KEY(name_, member_)                                                                  \
    {                                                                                              \
        .name = (name_), .kind = SIM_KEY_COUNT, .offset = offsetof(struct sim_cells, member_),     \
        .max = SITE_NODES_MAX                                                                      \
    }
static const struct sim_key cells_keys[] = {
    { .name = "tenant",
      .kind = SIM_KEY_NAME,
      .needed = true,
      .offset = offsetof(struct sim_cells, tenant) },
    { .name = "site",
      .kind = SIM_KEY_NAME,
      .needed = true,
      .offset = offsetof(struct sim_cells, site) },
    { .name = "chip",
      .kind = SIM_KEY_NAME,
      .needed = true,
      .offset = offsetof(struct sim_cells, chip) },
    CELLS_KEY("nodes", nodes),
    CELLS_KEY("racks", racks),
    CELLS_KEY("supernodes", supernodes),
    CELLS_KEY("pools", pools),
};
static const struct sim_table cells_table = {
    .what = "cells",
    .size = sizeof(struct sim_cells),
    .keys = cells_keys,
    .keys_count = ARRAY_COUNT(cells_keys),
};

static void policy_defaults(void *target)
{
    *(struct sim_policy *)target = sim_policy_init();
    ((struct sim_policy *)target)->name[0] = '\0';
}

static const struct sim_key patient_keys[] = {
    { .name = "share",
      .kind = SIM_KEY_MILLI,
      .needed = true,
      .offset = offsetof(struct sim_policy, patient_share_milli),
      .max = 1000 },
    { .name = "within",
      .kind = SIM_KEY_DURATION,
      .needed = true,
      .offset = offsetof(struct sim_policy, patient_within_ms),
      .max = 31LL * 24 * 3600 * 1000 },
    { .name = "checkpoints",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, patient_saves),
      .choices = switch_names },
};
static const struct sim_table patient_table = {
    .what = "patience",
    .size = sizeof(struct sim_policy),
    .keys = patient_keys,
    .keys_count = ARRAY_COUNT(patient_keys),
};

static const struct sim_key policy_keys[] = {
    { .name = "name", .kind = SIM_KEY_NAME, .offset = offsetof(struct sim_policy, name) },
    { .name = "limits",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, limits),
      .choices = limits_names },
    { .name = "limits_times",
      .kind = SIM_KEY_MILLI,
      .offset = offsetof(struct sim_policy, limits_milli),
      .min = 1000,
      .max = 1000000 },
    { .name = "objective",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, objective),
      .choices = objective_names },
    { .name = "pass_every",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_policy, pass_every_ms),
      .max = 86400000 },
    { .name = "fill",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, fill),
      .choices = switch_names },
    { .name = "defrag",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, defrag),
      .choices = switch_names },
    { .name = "by_value",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, by_value),
      .choices = switch_names },
    { .name = "assign",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, assign),
      .choices = switch_names },
    { .name = "order",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, order),
      .choices = order_names },
    { .name = "preempt",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, preempts_not),
      .choices = switch_off_names },
    { .name = "reservations",
      .kind = SIM_KEY_COUNT,
      .offset = offsetof(struct sim_policy, reservations),
      .min = 1,
      .max = GRID_RESERVATIONS_MAX },
    { .name = "spares",
      .kind = SIM_KEY_COUNT,
      .offset = offsetof(struct sim_policy, spares),
      .max = REQUEST_SPARES_MAX },
    { .name = "spares_planned",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, spares_planned),
      .choices = switch_names },
    { .name = "shift",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, shifts_not),
      .choices = switch_off_names },
    { .name = "saves",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, saves),
      .choices = saves_names },
    { .name = "on_unreachable",
      .kind = SIM_KEY_CHOICE,
      .offset = offsetof(struct sim_policy, moves),
      .choices = unreachable_names },
    { .name = "lease",
      .kind = SIM_KEY_DURATION,
      .offset = offsetof(struct sim_policy, lease_ms),
      .min = 1000,
      .max = 30LL * 24 * 3600 * 1000 },
    { .name = "patient", .kind = SIM_KEY_OBJECT, .offset = 0, .table = &patient_table },
    { .name = "quotas",
      .kind = SIM_KEY_LIST,
      .offset = offsetof(struct sim_policy, quotas),
      .count_offset = offsetof(struct sim_policy, quotas_count),
      .table = &quota_table },
    { .name = "cells",
      .kind = SIM_KEY_LIST,
      .offset = offsetof(struct sim_policy, cells),
      .count_offset = offsetof(struct sim_policy, cells_count),
      .table = &cells_table },
};

bool sim_quotas_have(const struct sim_quota *quotas, uint32_t count, const char *tenant)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(quotas[i].tenant, tenant) == 0)
            return true;
    return false;
}

/* Each tenant once, and those above it before it. */
static int check_quotas(struct sim_reader *reader, const struct spec_step *step, const void *target)
{
    const struct sim_policy *policy = target;
    struct spec_step list = { .up = step, .key = "quotas" };

    for (uint32_t i = 0; i < policy->quotas_count; i++) {
        const struct sim_quota *quota = &policy->quotas[i];
        struct spec_step at = { .up = &list, .index = i };

        if (sim_quotas_have(policy->quotas, i, quota->tenant))
            return sim_refuse(reader, &at, "tenant %s is there twice", quota->tenant);
        if (quota->parent[0] && !sim_quotas_have(policy->quotas, i, quota->parent))
            return sim_refuse(reader, &at, "tenant %s: its parent %s must come before it",
                              quota->tenant, quota->parent);
    }
    return 0;
}

static const struct sim_table policy_table = {
    .what = "a policy",
    .size = sizeof(struct sim_policy),
    .keys = policy_keys,
    .keys_count = ARRAY_COUNT(policy_keys),
    .defaults = policy_defaults,
    .check = check_quotas,
};

struct sim_policy sim_policy_init(void)
{
    return (struct sim_policy){ .name = "default",
                                .limits_milli = 1000,
                                .pass_every_ms = 1000,
                                .lease_ms = 60000,
                                .reservations = GRID_RESERVATIONS };
}

static void count_quotas(struct sim_policy *policy)
{
    for (uint32_t i = 0; i < policy->quotas_count; i++) {
        struct sim_quota *quota = (struct sim_quota *)&policy->quotas[i];

        if (quota->cpus_max > 0)
            quota->cpus_max /= 1000;
        if (quota->jobs_max > 0)
            quota->jobs_max /= 1000;
        quota->guarantee_cpus /= 1000;
    }
}

int sim_policy_change(const char *text, struct arena *arena, struct sim_policy *policy,
                      struct err *err)
{
    struct sim_table table = policy_table;
    struct sim_policy changed = *policy;
    int rc;

    table.defaults = NULL;
    rc = sim_text_read("policy", text, strlen(text), &table, arena, &changed, err);
    if (rc < 0)
        return rc;
    if (changed.quotas != policy->quotas)
        count_quotas(&changed);
    *policy = changed;
    return 0;
}

int sim_policy_read(const char *file, const char *text, size_t len, struct arena *arena,
                    struct sim_policy *policy_out, struct err *err)
{
    struct sim_policy policy;
    int rc = sim_text_read(file, text, len, &policy_table, arena, &policy, err);

    if (rc < 0)
        return rc;
    count_quotas(&policy);
    if (!policy.name[0]) {
        const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
        size_t name_len = MIN(strcspn(base, "."), sizeof(policy.name) - 1);

        memcpy(policy.name, base, name_len);
        policy.name[name_len] = '\0';
    }
    *policy_out = policy;
    return 0;
}

int sim_policy_open(const char *path, struct arena *arena, struct sim_policy *policy_out,
                    struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SIM_FILE_BYTES_MAX);
    int rc = file_read(path, &text, err);

    if (rc < 0)
        return rc;
    return sim_policy_read(path, text.data ? text.data : "", text.len, arena, policy_out, err);
}
