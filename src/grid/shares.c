/* Whose turn it is: what each tenant holds and has borrowed, kept in a tree of accounts
 * (sched/share.h), and from it the order of the tenants that have work waiting.
 *
 * The accounts' numbers are handles; what they hold follows from the grants. Only what is
 * remembered of the past is state of its own. */
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The turns are worked out anew once what was started since is more than this part of all there
 * is: so a pass that fills a large fleet gives nobody more than that out of turn, and one that
 * fills a small one goes job by job. */
#define TURN_GROWTH_MAX (1.0 / 256)
#define VALUE_UNKNOWN 100000 /* milli-TFLOPS, of a chip of which the catalogue has no figure */

void shares_init(struct grid *grid)
{
    struct share_params params = share_params_default();
    struct share_amount nothing = { 0 };

    share_create(&params, &nothing, &grid->share, NULL);
}

void shares_add_tenant(struct grid *grid, uint32_t number)
{
    struct tenant *tenant = &grid->tenants[number];

    /* There is room: TENANTS_MAX is less than SHARE_ACCOUNTS_MAX. */
    if (share_add(grid->share, 0, tenant->weight_milli, &tenant->account, NULL) < 0)
        abort();
}

void shares_remove_tenant(struct grid *grid, uint32_t number)
{
    share_remove(grid->share, grid->tenants[number].account);
}

/* What a device of the kind counts for, in milli-TFLOPS of the catalogue: the figure that places
 * are compared by. */
static int64_t value_of(const struct fleet_site *site, uint16_t chip)
{
    int64_t speed = chip < site->chips_count ? shape_chip_speed(&site->chips[chip]) : 0;

    return speed > 0 ? speed : VALUE_UNKNOWN;
}

static void set_total(struct grid *grid)
{
    struct share_amount total = { 0 };

    for (uint32_t s = 0; s < grid->fleet.sites_count; s++) {
        const struct fleet_site *site = &grid->fleet.sites[s];

        for (uint32_t n = 0; n < site->info.nodes_count; n++) {
            const struct fleet_node *node = &site->nodes[n];

            if (!node->present || grid_site_is_forgotten(grid, s))
                continue;
            total.of[SHARE_DEVICES] += node->devices_count * 1000LL;
            for (uint32_t d = 0; grid->by_value && d < node->devices_count; d++)
                total.of[SHARE_VALUE] += value_of(site, node->devices[d].chip);
            total.of[SHARE_CPUS] += node->cpus;
            total.of[SHARE_MEMORY] += node->memory_bytes;
        }
    }
    if (!grid->by_value)
        total.of[SHARE_VALUE] = total.of[SHARE_DEVICES];
    grid->value_mean =
        total.of[SHARE_DEVICES] ? total.of[SHARE_VALUE] * 1000 / total.of[SHARE_DEVICES] : 0;
    share_set_by_value(grid->share, grid->by_value);
    share_set_total(grid->share, &total);
}

/* What is held, and what a guarantee is worth, follow from what kinds of device there are. */
void shares_set_total(struct grid *grid)
{
    if (grid->by_value)
        shares_rebuild(grid, false);
    else
        set_total(grid);
}

/* Of 1/1000 of devices whose kinds are not known yet. */
static int64_t value_of_number(const struct grid *grid, int64_t devices_milli)
{
    return grid->by_value ? (int64_t)((__int128)devices_milli * grid->value_mean / 1000)
                          : devices_milli;
}

int64_t shares_value(const struct grid *grid, const struct grant *grant)
{
    const struct fleet_site *site = &grid->fleet.sites[grant->site];
    int64_t value = 0;

    if (!grid->by_value)
        return (int64_t)grant->devices_milli;
    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        const struct fleet_node *node = &site->nodes[part->node];

        for (uint32_t d = 0; d < part->devices_count; d++) {
            uint32_t index = part->devices[d].index;
            uint16_t chip = index < node->devices_count ? node->devices[index].chip : FLEET_NO_CHIP;

            value += value_of(site, chip) * part->devices[d].milli / 1000;
        }
    }
    return value;
}

struct share_amount shares_of_shape(const struct grid *grid, const struct shape *shape)
{
    int64_t devices_milli = (int64_t)shape->tasks * shape->devices_milli;

    return (struct share_amount){ .of = { [SHARE_VALUE] = value_of_number(grid, devices_milli),
                                          [SHARE_DEVICES] = devices_milli,
                                          [SHARE_CPUS] = (int64_t)shape->tasks * shape->cpus,
                                          [SHARE_MEMORY] =
                                              (int64_t)shape->tasks * shape->memory_bytes } };
}

struct share_amount shares_of_grant(const struct shape *shape, const struct grant *grant)
{
    struct share_amount amount = { .of = { [SHARE_VALUE] = grant->value,
                                           [SHARE_DEVICES] = (int64_t)grant->devices_milli,
                                           [SHARE_CPUS] = (int64_t)grant->cpus } };

    for (uint32_t i = 0; i < grant->parts_count; i++)
        amount.of[SHARE_MEMORY] += (int64_t)grant->parts[i].tasks * shape->memory_bytes;
    return amount;
}

static void hold_in_share(struct grid *grid, const struct job *job, struct grant *grant,
                          bool release, int64_t now_ms)
{
    uint32_t account = job_tenant(grid, job)->account;
    struct share_amount amount;

    if (!release) /* what it gives back is what it counted for as it was taken */
        grant->value = shares_value(grid, grant);
    amount = shares_of_grant(job_shape(grid, job), grant);

    if (release)
        share_release(grid->share, account, &amount, 0, 0, now_ms);
    else if (share_hold(grid->share, account, &amount, 0, now_ms, NULL) < 0)
        abort(); /* it knows of no quota: pass_hold looks after those */
}

/* To (sign 1) or from (-1) all above the tenant. */
static void add_above(struct grid *grid, uint32_t tenant, int sign, uint64_t cpus,
                      uint64_t devices_milli, uint32_t jobs)
{
    for (uint32_t at = grid->tenants[tenant].parent; at; at = grid->tenants[at].parent) {
        struct tenant *above = &grid->tenants[at];

        above->cpus_below += sign > 0 ? cpus : -cpus;
        above->devices_milli_below += sign > 0 ? devices_milli : -devices_milli;
        above->jobs_below += sign > 0 ? jobs : -jobs;
    }
}

static void count_class(struct grid *grid, const struct job *job, uint32_t by)
{
    const struct terms *terms = job_terms(grid, job);

    grid->class_grants[terms->job_class] += by;
    if (terms->tasks_max)
        grid->elastic_grants += by;
    if (terms->spares)
        grid->standby_grants += by;
    if (terms->requeue_on_loss &&
        (terms->job_class == CLASS_LOW || terms->checkpoint != CHECKPOINT_NONE))
        grid->class_yields[terms->job_class] += by;
}

void shares_hold(struct grid *grid, const struct job *job, bool release)
{
    struct grant *grant = job->grant;
    struct tenant *tenant = job_tenant(grid, job);

    tenant->cpus_held += release ? -grant->cpus : grant->cpus;
    tenant->devices_milli_held += release ? -grant->devices_milli : grant->devices_milli;
    add_above(grid, job->tenant, release ? -1 : 1, grant->cpus, grant->devices_milli, 0);
    count_class(grid, job, release ? -1u : 1u);
    hold_in_share(grid, job, grant, release, grid->now_ms);
}

void shares_jobs_live(struct grid *grid, uint32_t tenant, int32_t by)
{
    grid->tenants[tenant].jobs_live += (uint32_t)by;
    add_above(grid, tenant, by, 0, 0, 1);
}

/* --- the tree --------------------------------------------------------------------------------- */

static void add_account(struct grid *grid, uint32_t number)
{
    struct tenant *tenant = &grid->tenants[number];
    struct share_amount guarantee = { .of = { [SHARE_VALUE] = value_of_number(
                                                  grid, tenant->guarantee_devices_milli),
                                              [SHARE_DEVICES] = tenant->guarantee_devices_milli,
                                              [SHARE_CPUS] = tenant->guarantee_cpus } };

    if (tenant->account)
        return;
    if (tenant->parent)
        add_account(grid, tenant->parent);
    if (share_add(grid->share, tenant->parent ? grid->tenants[tenant->parent].account : 0,
                  tenant->weight_milli, &tenant->account, NULL) < 0)
        abort(); /* shares_check_tenant has counted the levels */
    share_put_guarantee(grid->share, tenant->account, &guarantee);
    grid->guarantees_count += tenant->guarantee_devices_milli || tenant->guarantee_cpus;
}

/* The accounts anew, from what the tenants are told to be and what is held. What is remembered of
 * each is brought up to now, as it was, or (keep_memory) set by the caller. */
void shares_rebuild(struct grid *grid, bool keep_memory)
{
    const struct intern *names = &grid->tenant_names;
    struct share_memory *memory = mem_alloc(names->entries_count + 1, sizeof(*memory));

    for (uint32_t i = 1; i < names->entries_count; i++) {
        struct tenant *tenant = &grid->tenants[i];

        if (!names->entries[i].data)
            continue;
        memory[i] = keep_memory ? share_memory(grid->share, tenant->account)
                                : share_memory_at(grid->share, tenant->account, grid->now_ms);
        tenant->account = 0;
        tenant->cpus_below = tenant->devices_milli_below = tenant->jobs_below = 0;
        tenant->reserved_micro = 0;
    }
    share_destroy(grid->share);
    memset(grid->class_grants, 0, sizeof(grid->class_grants));
    memset(grid->class_yields, 0, sizeof(grid->class_yields));
    grid->guarantees_count = grid->elastic_grants = grid->standby_grants = 0;
    shares_init(grid);
    set_total(grid);
    for (uint32_t i = 1; i < names->entries_count; i++)
        if (names->entries[i].data)
            add_account(grid, i);
    for (uint32_t i = 1; i < names->entries_count; i++)
        if (names->entries[i].data)
            add_above(grid, i, 1, grid->tenants[i].cpus_held, grid->tenants[i].devices_milli_held,
                      grid->tenants[i].jobs_live);
    for (uint32_t i = 0; i < grid->fleet.grants_count; i++) {
        struct grant *grant = grid->fleet.grants[i];
        const struct job *job = grid_job(grid, grant->job_id);

        hold_in_share(grid, job, grant, false, 0);
        count_class(grid, job, 1);
        if (grant == job->grant) /* once, of several parts */
            budget_restore(grid, job);
    }
    for (uint32_t i = 1; i < names->entries_count; i++)
        if (names->entries[i].data)
            share_set_memory(grid->share, grid->tenants[i].account, memory[i]);
    free(memory);
}

/* Levels under the network of `number` with all that is under it, were its parent `parent`. */
static uint32_t depth_of(const struct grid *grid, uint32_t number)
{
    uint32_t depth = 0;

    for (uint32_t at = number; at && depth <= SHARE_DEPTH_MAX; at = grid->tenants[at].parent)
        depth++;
    return depth;
}

static uint32_t depth_under(const struct grid *grid, uint32_t number)
{
    uint32_t most = 1;

    for (uint32_t i = 1; i < grid->tenant_names.entries_count; i++) {
        uint32_t depth = 1, at = i;

        if (!grid->tenant_names.entries[i].data)
            continue;
        for (; at && at != number; at = grid->tenants[at].parent)
            depth++;
        if (at && depth > most)
            most = depth;
    }
    return most;
}

int shares_check_tenant(const struct grid *grid, const struct event *event, struct err *err)
{
    const struct event_tenant_set *set = &event->tenant_set;
    const char *name = set->tenant, *above = set->parent ? set->parent : "";
    uint32_t number = intern_find(&grid->tenant_names, name, (uint32_t)strlen(name)), parent = 0;

    if (set->weight_milli < 1 || set->weight_milli > GRID_WEIGHT_MILLI_MAX)
        return err_field(err, -EINVAL, "weight", "tenant %s: a weight is 0.001 to %u", name,
                         GRID_WEIGHT_MILLI_MAX / 1000);
    if (set->guarantee_cpus < 0 || set->guarantee_cpus > GRID_GUARANTEE_MAX ||
        set->guarantee_devices_milli < 0 || set->guarantee_devices_milli > GRID_GUARANTEE_MAX)
        return err_field(err, -EINVAL, "guarantee", "tenant %s: a guarantee is 0 or more", name);
    if (set->budget_micro < -1)
        return err_field(err, -EINVAL, "budget", "tenant %s: a budget is -1 (none) or more", name);
    if (!*above)
        return 0;
    parent = intern_find(&grid->tenant_names, above, (uint32_t)strlen(above));
    if (!parent || !grid->tenants[parent].has_limits)
        return err_field(err, -ENOENT, "parent", "tenant %s: its parent %s is not set yet", name,
                         above);
    for (uint32_t at = parent; at; at = grid->tenants[at].parent)
        if (at == number)
            return err_field(err, -EINVAL, "parent",
                             "tenant %s cannot be under %s: that is under %s", name, above, name);
    if (depth_of(grid, parent) + (number ? depth_under(grid, number) : 1) > SHARE_DEPTH_MAX)
        return err_field(err, -EINVAL, "parent", "tenant %s: more than %u levels of tenants", name,
                         SHARE_DEPTH_MAX);
    return 0;
}

/* --- turns ------------------------------------------------------------------------------------ */

static int compare_turns(const void *a, const void *b)
{
    return share_compare_keys(&((const struct turn *)a)->key, &((const struct turn *)b)->key);
}

/* Those with work waiting, each once. */
static uint32_t collect(struct grid *grid)
{
    const struct queue *queue = &grid->queue;
    uint32_t count = 0;

    grid->turn_mark++;
    for (uint32_t i = 0; i < queue->used_count; i++) {
        uint32_t number = queue->used[i].tenant;
        struct tenant *tenant = &grid->tenants[number];

        if (tenant->turn_mark == grid->turn_mark)
            continue;
        tenant->turn_mark = grid->turn_mark;
        MEM_GROW(grid->turn_list, grid->turn_list_cap, count + 1);
        grid->turn_list[count++].tenant = number;
    }
    return count;
}

void shares_rank_again(struct grid *grid)
{
    uint32_t count = grid->turn_count, turn = 0;

    grid->turn_growth = 0;
    for (uint32_t i = 0; i < count; i++)
        share_fill_key(grid->share, grid->tenants[grid->turn_list[i].tenant].account, grid->now_ms,
                       &grid->turn_list[i].key);
    qsort(grid->turn_list, count, sizeof(*grid->turn_list), compare_turns);
    MEM_GROW(grid->turns, grid->turns_cap, grid->tenant_names.entries_count);
    for (uint32_t i = 0; i < count; i++) { /* those who stand alike have the same turn */
        if (i && compare_turns(&grid->turn_list[i - 1], &grid->turn_list[i]) != 0)
            turn++;
        grid->turns[grid->turn_list[i].tenant] = turn;
    }
    grid->queue.turns = grid->turns;
}

bool shares_rank(struct grid *grid)
{
    grid->queue.turns = NULL;
    grid->turn_growth = 0;
    if (grid->order != ORDER_FAIR)
        return false;
    grid->turn_count = collect(grid);
    if (grid->turn_count < 2)
        return false;
    shares_rank_again(grid);
    return true;
}

bool shares_have_moved(struct grid *grid, const struct shape *shape)
{
    struct share_amount amount = shares_of_shape(grid, shape);

    grid->turn_growth += share_dominant(grid->share, &amount);
    return grid->turn_growth > TURN_GROWTH_MAX;
}
