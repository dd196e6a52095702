/* Tenants as the shell reads them: limits, and what is held under them. */
#include "grid/state.h"

#include "base/cleanup.h"
#include "sched/packer.h"

#include <string.h>

static void fill(const struct grid *grid, uint32_t number, struct tenant_view *out)
{
    const struct tenant *tenant = &grid->tenants[number];

    *out = (struct tenant_view){ .name = intern_data(&grid->tenant_names, number),
                                 .cpus_max = tenant->cpus_max,
                                 .devices_milli_max = tenant->devices_milli_max,
                                 .jobs_max = tenant->jobs_max,
                                 .cpus_held = tenant->cpus_held + tenant->cpus_below,
                                 .devices_milli_held =
                                     tenant->devices_milli_held + tenant->devices_milli_below,
                                 .jobs_live = tenant->jobs_live + tenant->jobs_below,
                                 .parent = intern_data(&grid->tenant_names, tenant->parent),
                                 .weight_milli = tenant->weight_milli,
                                 .guarantee_cpus = tenant->guarantee_cpus,
                                 .guarantee_devices_milli = tenant->guarantee_devices_milli,
                                 .budget_micro = tenant->budget_micro,
                                 .spent_micro = tenant->spent_micro,
                                 .reserved_micro = tenant->reserved_micro };
}

struct grid_policy grid_policy(const struct grid *grid)
{
    return (struct grid_policy){ .order = grid->order,
                                 .preempts = !grid->preempts_not,
                                 .fills =
                                     grid->fleet.packer ? grid->fleet.packer->reach : PACKER_OFF,
                                 .by_value = grid->by_value,
                                 .defrags = grid->defrags,
                                 .assigns = grid->assigns != NULL,
                                 .reservations = grid->reservations };
}

static const char *const order_names[] = { "fair", "fifo", "predicted", "deadline" };

const char *grid_order_name(uint32_t order)
{
    return order < ARRAY_COUNT(order_names) ? order_names[order] : "unknown";
}

int grid_order_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(order_names); i++)
        if (strcmp(order_names[i], name) == 0)
            return (int)i;
    return -1;
}

bool grid_tenant_find(const struct grid *grid, const char *name, struct tenant_view *view_out)
{
    uint32_t number = intern_find(&grid->tenant_names, name, (uint32_t)strlen(name));

    if (number)
        fill(grid, number, view_out);
    return number != 0;
}

/* Numbers of names mean nothing for order: the least name above is looked for among all. */
bool grid_tenant_next(const struct grid *grid, const char *after, struct tenant_view *view_out)
{
    const struct intern *names = &grid->tenant_names;
    uint32_t found = 0;

    for (uint32_t i = 1; i < names->entries_count; i++) {
        const char *name = names->entries[i].data;

        if (name && strcmp(name, after) > 0 &&
            (!found || strcmp(name, names->entries[found].data) < 0))
            found = i;
    }
    if (found)
        fill(grid, found, view_out);
    return found != 0;
}
