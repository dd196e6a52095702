/* Money: what a job may cost is set aside from its tenant's budget, and from those above, before
 * it starts, and what it did cost is settled when it has ended.
 *
 * What it may cost is what its time limit, with the minute's slack, costs at the dearest place
 * that it could run at, power under load included. So whatever starts is paid for, unless a site
 * reports more energy than its chips draw by the catalogue: that is billed, counts as spent, and
 * nothing more starts once there is nothing left. */
#include "grid/state.h"

#define HOUR_MS 3600000

bool budget_exists(const struct grid *grid, uint32_t tenant)
{
    for (uint32_t at = tenant; at; at = grid->tenants[at].parent)
        if (grid->tenants[at].budget_micro >= 0)
            return true;
    return false;
}

int64_t budget_left(const struct grid *grid, uint32_t tenant)
{
    int64_t least = INT64_MAX;

    for (uint32_t at = tenant; at; at = grid->tenants[at].parent) {
        const struct tenant *own = &grid->tenants[at];

        if (own->budget_micro >= 0)
            least = MIN(least, own->budget_micro - own->spent_micro - own->reserved_micro);
    }
    return least;
}

int64_t budget_price(struct grid *grid, const struct job *job)
{
    return budget_price_of(grid, job, job_shape(grid, job)->tasks);
}

int64_t budget_price_of(struct grid *grid, const struct job *job, uint64_t tasks)
{
    const struct terms *terms = job_terms(grid, job);
    struct shape *shape = job_shape(grid, job);
    const struct candidate *candidates;
    int64_t most = 0;
    uint32_t count;
    __int128 sum;

    if (!terms->duration_ms_max)
        return -1;
    /* Over several sites, each task may be at the dearest. */
    candidates =
        shape_candidates(shape->one ? shape->one : shape, &grid->fleet, &terms->objective, &count);
    for (uint32_t i = 0; i < count; i++)
        most = MAX(most, candidates[i].price_micro);
    sum =
        ((__int128)most * tasks * (terms->duration_ms_max + END_SLACK_MS) + HOUR_MS - 1) / HOUR_MS;
    return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

static void reserve(struct grid *grid, uint32_t tenant, int64_t by_micro)
{
    for (uint32_t at = tenant; at; at = grid->tenants[at].parent)
        grid->tenants[at].reserved_micro += by_micro;
}

void budget_reserve(struct grid *grid, struct job *job)
{
    const struct grant *grant = job->grant;
    uint64_t tasks = job_shape(grid, job)->tasks;

    if (!budget_exists(grid, job->tenant))
        return;
    for (uint32_t i = 1; i <= grant->spares_count; i++)
        tasks += grant->parts[grant->parts_count - i].tasks;
    job->reserved_micro = MAX(budget_price_of(grid, job, tasks), 0);
    reserve(grid, job->tenant, job->reserved_micro);
}

void budget_reserve_again(struct grid *grid, struct job *job)
{
    reserve(grid, job->tenant, -job->reserved_micro);
    job->reserved_micro = 0;
    budget_reserve(grid, job);
}

void budget_settle(struct grid *grid, struct job *job, int64_t price_micro)
{
    reserve(grid, job->tenant, -job->reserved_micro);
    job->reserved_micro = 0;
    budget_spend(grid, job->tenant, price_micro);
}

void budget_spend(struct grid *grid, uint32_t tenant, int64_t price_micro)
{
    for (uint32_t at = tenant; at; at = grid->tenants[at].parent) {
        struct tenant *own = &grid->tenants[at];

        if (own->has_limits &&
            __builtin_add_overflow(own->spent_micro, price_micro, &own->spent_micro))
            own->spent_micro = INT64_MAX;
    }
}

void budget_restore(struct grid *grid, const struct job *job)
{
    reserve(grid, job->tenant, job->reserved_micro);
}
