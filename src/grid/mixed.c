/* How much of its work each task of a mixed gang should do: as much as its chip is fast, so that
 * all are done at once. By what is known of the work's class on each kind of chip, else by the
 * catalogue; alike where neither knows of all of them. */
#include "grid/state.h"

static const struct chip_figures *figures_at(const struct grid *grid, const struct grant *grant,
                                             uint32_t part, uint32_t device)
{
    const struct fleet_site *site = &grid->fleet.sites[grant->site];
    uint32_t index = grant->parts[part].devices[device].index;

    if (index == FLEET_DEVICE_GONE)
        return NULL;
    return &site->chips[site->nodes[grant->parts[part].node].devices[index].chip];
}

bool mixed_is_one_kind(const struct grid *grid, const struct grant *grant)
{
    const struct chip_figures *first = NULL;

    for (uint32_t p = 0; p < grant->parts_count; p++)
        for (uint32_t d = 0; d < grant->parts[p].devices_count; d++) {
            const struct chip_figures *figures = figures_at(grid, grant, p, d);

            if (figures && first && figures != first)
                return false;
            first = figures ? figures : first;
        }
    return true;
}

/* By the work's own pace, or by the catalogue; 0 = not known. */
static double speed_of(const struct grid *grid, const struct shape *shape,
                       const struct chip_figures *figures, bool by_work)
{
    struct rate rate;

    if (!figures)
        return 0;
    if (!by_work)
        return (double)shape_chip_speed(figures);
    if (!shape->work)
        return 0;
    rate = work_rate(&grid->work, shape->work, figures->kind, shape->devices_milli,
                     work_gang(shape->tasks, shape->devices_milli, shape->cpus));
    return rate.seconds > 0 ? 1 / rate.seconds : 0;
}

/* Of all tasks; 0 when one of them is not known. */
static double sum_speeds(const struct grid *grid, const struct shape *shape,
                         const struct grant *grant, bool by_work)
{
    uint32_t devices = shape->devices_milli / 1000;
    double sum = 0;

    for (uint32_t p = 0; p < grant->parts_count; p++)
        for (uint32_t t = 0; t < grant->parts[p].tasks; t++) {
            double speed =
                t * devices < grant->parts[p].devices_count
                    ? speed_of(grid, shape, figures_at(grid, grant, p, t * devices), by_work)
                    : 0;

            if (!(speed > 0))
                return 0;
            sum += speed;
        }
    return sum;
}

void mixed_shares(const struct grid *grid, const struct shape *shape, const struct grant *grant,
                  struct alloc_part *parts)
{
    uint32_t devices = shape->devices_milli / 1000, left = 1000000;
    double sum = sum_speeds(grid, shape, grant, true);
    bool by_work = sum > 0;

    if (!by_work)
        sum = sum_speeds(grid, shape, grant, false);
    for (uint32_t p = 0; p < grant->parts_count; p++) {
        parts[p].shares_count = MIN(grant->parts[p].tasks, NODE_DEVICES_MAX);
        for (uint32_t t = 0; t < parts[p].shares_count; t++) {
            double part = 1.0 / shape->tasks;

            if (sum > 0)
                part =
                    speed_of(grid, shape, figures_at(grid, grant, p, t * devices), by_work) / sum;
            parts[p].shares_ppm[t] = MIN((uint32_t)(part * 1e6), left);
            left -= parts[p].shares_ppm[t];
        }
    }
    /* What rounding left over, one each from the first: so all of the work is somebody's. */
    for (uint32_t p = 0; left && p < grant->parts_count; p++)
        for (uint32_t t = 0; left && t < parts[p].shares_count; t++, left--)
            parts[p].shares_ppm[t]++;
}
