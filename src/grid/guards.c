#include "grid/guards.h"

#include "grid/fields.h"
#include "grid/owners.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- who ------------------------------------------------------------------------------------ */

static uint32_t guard_of_tenant(const struct grid *grid, uint32_t tenant)
{
    for (uint32_t i = 1; i < grid->guards_count; i++)
        if (grid->guards[i] == tenant)
            return i;
    return 0;
}

uint32_t guards_of(const struct grid *grid, uint32_t tenant)
{
    uint32_t guard = 0;

    for (; tenant && !guard && grid->cells_count; tenant = grid->tenants[tenant].parent)
        guard = guard_of_tenant(grid, tenant);
    return guard;
}

bool guards_may_lend(const struct terms *terms)
{
    return terms->requeue_on_loss &&
           (terms->job_class == CLASS_LOW || terms->checkpoint != CHECKPOINT_NONE);
}

uint32_t guards_ask(const struct grid *grid, const char *tenant, const struct terms *terms)
{
    uint32_t number;

    if (!grid->cells_count)
        return 0;
    number = intern_find(&grid->tenant_names, tenant, (uint32_t)strlen(tenant));
    return guards_of(grid, number) << 1 | guards_may_lend(terms);
}

bool guards_keeps(const struct grid *grid, const struct job *job, const struct job *against)
{
    if (!grid->cells_count || !job_shape(grid, job)->guard ||
        job_shape(grid, job)->guard == job_shape(grid, against)->guard)
        return false;
    for (const struct grant *grant = job->grant; grant; grant = job_next_grant(job, grant))
        for (uint32_t i = 0; i < grant->parts_count; i++)
            if (grid->fleet.sites[grant->site].nodes[grant->parts[i].node].guard == grant->guard)
                return true;
    return false;
}

bool guards_lets(const struct grid *grid, const struct shape *shape, const struct grant *plan)
{
    const struct fleet_site *site = &grid->fleet.sites[plan->site];

    for (uint32_t i = 0; i < plan->parts_count && grid->cells_count; i++) {
        uint32_t guard = site->nodes[plan->parts[i].node].guard;

        if (guard && guard != shape->guard)
            return false;
    }
    return true;
}

/* --- where ---------------------------------------------------------------------------------- */

static bool has_chip(const struct fleet_site *site, uint32_t index, const char *chip)
{
    const struct fleet_node *node = &site->nodes[index];

    if (!node->present)
        return false;
    if (!node->devices_count || node->devices[0].chip >= site->chips_count)
        return !node->devices_count && strcmp(chip, GUARD_CHIP_CPU) == 0;
    return strcmp(site->chips[node->devices[0].chip].kind, chip) == 0;
}

static const char *label_of(const struct fleet_site *site, uint32_t node, uint32_t level)
{
    const struct node_info *info = &site->info.nodes[node];

    switch (level) {
    case TOPOLOGY_NODE:
        return info->name;
    case TOPOLOGY_RACK:
        return info->rack;
    case TOPOLOGY_SUPERNODE:
        return info->supernode;
    }
    return "";
}

static bool is_in(const struct fleet_site *site, uint32_t node, const struct guard_cell *cell)
{
    return has_chip(site, node, cell->chip) &&
           strcmp(label_of(site, node, cell->level), cell->place) == 0;
}

/* Nodes that would be one cell. */
struct place {
    uint32_t first; /* node */
    uint64_t size;  /* open devices, or nodes without any */
    uint32_t over;  /* number of the domain around it, 0 = none */
    uint64_t firm;  /* held there by what cannot be made to stop */
    bool is_taken;
};

struct binding { /* cells are being bound at one site */
    const struct grid *grid;
    const struct fleet_site *site;
    const char *chip;
    uint8_t *taken; /* by node: in somebody's cell */
    struct guard_cell *cells;
    uint32_t count;
};

static uint64_t firm_on(const struct fleet_node *node)
{
    uint64_t sum = 0;

    for (const struct grant_part *part = node->parts; part; part = part->next) {
        sum += part->of->lends ? 0 : part->cpus;
        for (uint32_t d = 0; d < part->devices_count && !part->of->lends; d++)
            sum += part->devices[d].milli;
    }
    return sum;
}

/* The domain that the node's cell of the level is a part of: a rack, else a supernode; of a rack
 * the supernode. "" = none. */
static const char *around(const struct fleet_site *site, uint32_t node, uint32_t level)
{
    for (uint32_t above = level + 1; above < TOPOLOGY_POOL; above++)
        if (label_of(site, node, above)[0])
            return label_of(site, node, above);
    return "";
}

static void add_node(const struct binding *binding, struct place *place, uint32_t node)
{
    const struct fleet_node *at = &binding->site->nodes[node];

    place->is_taken |= binding->taken[node];
    place->firm += firm_on(at);
    if (!node_is_open(at))
        return;
    place->size += !at->devices_count;
    for (uint32_t d = 0; d < at->devices_count; d++)
        place->size += device_is_usable(&at->devices[d]);
}

/* The largest; then where fewest nodes around it are in nobody's cell, so that other domains stay
 * whole; then where least is that stays. */
static bool is_better(const struct place *a, const struct place *b, const uint32_t *loose)
{
    if (a->size != b->size)
        return a->size > b->size;
    if (loose[a->over] != loose[b->over])
        return loose[a->over] < loose[b->over];
    return a->firm != b->firm ? a->firm < b->firm : a->first < b->first;
}

/* All there could be of the level, by their first nodes; gives how many. In `loose`, by the domain
 * around them, the nodes that are in nobody's cell. */
static uint32_t list_places(const struct binding *binding, uint32_t level, struct place *places,
                            uint32_t *loose)
{
    const struct fleet_site *site = binding->site;
    struct intern names = { 0 }, domains = { 0 };
    uint32_t count = 0;

    for (uint32_t i = 0; i < site->info.nodes_count; i++) {
        const char *label = label_of(site, i, level);
        uint32_t at = 0, over;

        if (!has_chip(site, i, binding->chip))
            continue;
        over = intern_text(&domains, around(site, i, level));
        loose[over] += over && !binding->taken[i];
        if (!*label && level != TOPOLOGY_POOL)
            continue;
        if (level == TOPOLOGY_NODE)
            at = count;
        else if (level != TOPOLOGY_POOL) /* numbered from 1, as they come */
            at = intern_text(&names, label) - 1;
        if (at >= count)
            places[count++] = (struct place){ .first = i, .over = over };
        add_node(binding, &places[at], i);
    }
    intern_fini(&names);
    intern_fini(&domains);
    return count;
}

/* Gives how many. */
static uint32_t take_nodes(struct binding *binding, const struct guard_cell *cell)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < binding->site->info.nodes_count; i++)
        if (is_in(binding->site, i, cell)) {
            binding->taken[i] = 1;
            count++;
        }
    return count;
}

/* Bind so many more of the level; gives how many it could. */
static uint32_t bind_level(struct binding *binding, const struct guard_cell *like, uint32_t level,
                           uint32_t wanted)
{
    uint32_t nodes = binding->site->info.nodes_count, count, bound = 0;
    struct place *places = mem_alloc(nodes + 1, sizeof(*places));
    uint32_t *loose = mem_alloc(nodes + 1, sizeof(*loose));

    count = list_places(binding, level, places, loose);
    for (; bound < wanted; bound++) {
        struct guard_cell cell = *like;
        struct place *best = NULL;

        for (uint32_t i = 0; i < count; i++)
            if (!places[i].is_taken && (!best || is_better(&places[i], best, loose)))
                best = &places[i];
        if (!best)
            break;
        cell.level = level;
        snprintf(cell.place, sizeof(cell.place), "%s", label_of(binding->site, best->first, level));
        loose[best->over] -= MIN(take_nodes(binding, &cell), loose[best->over]);
        best->is_taken = true;
        binding->cells[binding->count++] = cell;
    }
    free(places);
    free(loose);
    return bound;
}

static uint32_t wanted_of(const struct event_tenant_cells *event, uint32_t level)
{
    switch (level) {
    case TOPOLOGY_NODE:
        return event->nodes;
    case TOPOLOGY_RACK:
        return event->racks;
    case TOPOLOGY_SUPERNODE:
        return event->supernodes;
    }
    return event->pools;
}

static bool is_of(const struct guard_cell *cell, uint32_t guard, uint32_t site, const char *chip)
{
    return cell->guard == guard && cell->site == site && strcmp(cell->chip, chip) == 0;
}

/* All cells as they are with the event, into a new list. -ENOSPC. */
static int bind_all(const struct grid *grid, const struct event_tenant_cells *event, uint32_t guard,
                    struct guard_cell **cells_out, uint32_t *count_out, struct err *err)
{
    uint32_t site = (uint32_t)fleet_find_site(&grid->fleet, event->site);
    uint32_t kept[TOPOLOGY_COUNT] = { 0 };
    struct guard_cell like = { .guard = guard, .site = site, .since_ms = grid->now_ms };
    struct binding binding = { grid, &grid->fleet.sites[site], event->chip, NULL, NULL, 0 };
    int rc = 0;

    memcpy(like.chip, event->chip, strlen(event->chip));
    binding.taken = mem_alloc(binding.site->info.nodes_count + 1, 1);
    binding.cells = mem_alloc((size_t)grid->cells_count + event->nodes + event->racks +
                                  event->supernodes + event->pools + 1,
                              sizeof(*binding.cells));
    for (uint32_t i = 0; i < grid->cells_count; i++) {
        const struct guard_cell *cell = &grid->cells[i];

        if (is_of(cell, guard, site, event->chip) &&
            kept[cell->level]++ >= wanted_of(event, cell->level))
            continue;
        binding.cells[binding.count++] = *cell;
        if (cell->site == site)
            take_nodes(&binding, cell);
    }
    for (uint32_t level = TOPOLOGY_POOL; level >= TOPOLOGY_NODE && rc == 0; level--) {
        uint32_t wanted = wanted_of(event, level), has = MIN(kept[level], wanted), bound;

        bound = wanted > has ? bind_level(&binding, &like, level, wanted - has) : 0;
        if (has + bound < wanted)
            rc = err_field(err, -ENOSPC, "cells",
                           "site %s can keep %u whole %s%s of %s for tenant %s, not %u: the others "
                           "are promised, or not there",
                           event->site, has + bound, topology_name(level),
                           has + bound == 1 ? "" : "s", event->chip, event->tenant, wanted);
    }
    free(binding.taken);
    if (rc == 0) {
        *cells_out = binding.cells;
        *count_out = binding.count;
    } else {
        free(binding.cells);
    }
    return rc;
}

/* --- the event ------------------------------------------------------------------------------ */

static bool is_same(const struct grid *grid, const struct event_tenant_cells *event, uint32_t guard,
                    uint32_t site)
{
    uint32_t has[TOPOLOGY_COUNT] = { 0 };

    for (uint32_t i = 0; i < grid->cells_count && guard; i++)
        if (is_of(&grid->cells[i], guard, site, event->chip))
            has[grid->cells[i].level]++;
    for (uint32_t level = TOPOLOGY_NODE; level <= TOPOLOGY_POOL; level++)
        if (has[level] != wanted_of(event, level))
            return false;
    return true;
}

static uint32_t free_guard(const struct grid *grid)
{
    uint32_t guard = 1;

    while (guard < grid->guards_count && grid->guards[guard])
        guard++;
    return guard;
}

int grid_check_cells(const struct grid *grid, const struct event_tenant_cells *event,
                     struct err *err)
{
    const char *name = event->tenant ? event->tenant : "", *chip = event->chip ? event->chip : "";
    uint32_t tenant = intern_find(&grid->tenant_names, name, (uint32_t)strlen(name)), guard, count;
    int site = event->site ? fleet_find_site(&grid->fleet, event->site) : -1, rc;
    uint64_t wanted = (uint64_t)event->nodes + event->racks + event->supernodes + event->pools;
    struct guard_cell *cells;

    if (site < 0)
        return err_field(err, -ENOENT, "site", "there is no site %s",
                         event->site ? event->site : "");
    if (!*chip || strnlen(chip, MODEL_NAME_BYTES) == MODEL_NAME_BYTES)
        return err_field(err, -EINVAL, "chip", "cells: name the kind of chip, or %s",
                         GUARD_CHIP_CPU);
    if (wanted > SITE_NODES_MAX || wanted + grid->cells_count > GUARD_CELLS_MAX)
        return err_field(err, -EINVAL, "cells", "tenant %s: no more than %u cells of a site", name,
                         SITE_NODES_MAX);
    guard = tenant ? guard_of_tenant(grid, tenant) : 0;
    if (is_same(grid, event, guard, (uint32_t)site))
        return err_set(err, -EALREADY, "tenant %s has these cells", name);
    guard = guard ? guard : free_guard(grid);
    if (guard >= GUARDS_MAX)
        return err_field(err, -ENOSPC, "cells", "%u tenants have cells already", GUARDS_MAX - 1);
    rc = bind_all(grid, event, guard, &cells, &count, err);
    if (rc == 0)
        free(cells);
    return rc;
}

int guards_check_event(const struct grid *grid, const struct event_tenant_cells *event,
                       struct err *err)
{
    const char *name = event->tenant ? event->tenant : "";
    uint32_t tenant = intern_find(&grid->tenant_names, name, (uint32_t)strlen(name));

    if (!tenant || !grid->tenants[tenant].has_limits)
        return err_field(err, -ENOENT, "tenant", "tenant %s is not set yet: mains tenant set %s",
                         name, name);
    return grid_check_cells(grid, event, err);
}

static void grow_guards(struct grid *grid, uint32_t count)
{
    struct fleet *fleet = &grid->fleet;

    if (count <= grid->guards_count)
        return;
    grid->guards = mem_resize(grid->guards, count, sizeof(*grid->guards));
    fleet->own_rooms = mem_resize(fleet->own_rooms, count, sizeof(*fleet->own_rooms));
    for (uint32_t i = grid->guards_count; i < count; i++) {
        grid->guards[i] = 0;
        fleet->own_rooms[i] = 0;
    }
    grid->guards_count = fleet->own_rooms_count = count;
}

/* Who has no cell any more is no guard. */
static void drop_idle_guards(struct grid *grid)
{
    uint8_t *used = mem_alloc(grid->guards_count + 1, 1);

    for (uint32_t i = 0; i < grid->cells_count; i++)
        used[grid->cells[i].guard] = 1;
    for (uint32_t i = 1; i < grid->guards_count; i++)
        grid->guards[i] = used[i] ? grid->guards[i] : 0;
    free(used);
}

/* The nodes' guards, by the cells; true: some are others than before. */
static bool set_nodes(struct grid *grid, uint32_t site)
{
    const struct fleet_site *at = &grid->fleet.sites[site];
    uint32_t *guards = mem_alloc(at->info.nodes_count + 1, sizeof(*guards));
    bool changed = false;

    for (uint32_t c = grid->cells_count; c-- > 0;)
        for (uint32_t i = 0; grid->cells[c].site == site && i < at->info.nodes_count; i++)
            if (is_in(at, i, &grid->cells[c]))
                guards[i] = grid->cells[c].guard; /* the first cell's, in the end */
    for (uint32_t i = 0; i < at->info.nodes_count; i++)
        if (at->nodes[i].guard != guards[i]) {
            fleet_set_guard(&grid->fleet, site, i, guards[i]);
            changed = true;
        }
    free(guards);
    if (changed)
        fleet_guards_changed(&grid->fleet, site);
    return changed;
}

/* What is held tells whose it is, and whether it may be stopped, as its job's shape does. */
static void set_grants(struct grid *grid)
{
    for (uint32_t i = 0; i < grid->fleet.grants_count; i++) {
        struct grant *grant = grid->fleet.grants[i];
        const struct shape *shape = job_shape(grid, grid_job(grid, grant->job_id));

        grant->guard = shape->guard;
        grant->lends = shape->lends;
    }
}

void guards_apply_event(struct grid *grid, const struct event_tenant_cells *event)
{
    uint32_t tenant =
        intern_find(&grid->tenant_names, event->tenant, (uint32_t)strlen(event->tenant));
    uint32_t guard = guard_of_tenant(grid, tenant);
    uint32_t site = (uint32_t)fleet_find_site(&grid->fleet, event->site), count = 0;
    struct guard_cell *cells = NULL;

    guard = guard ? guard : free_guard(grid);
    if (bind_all(grid, event, guard, &cells, &count, NULL) < 0)
        abort(); /* guards_check_event has tried it */
    grow_guards(grid, guard + 1);
    grid->guards[guard] = tenant;
    free(grid->cells);
    grid->cells = cells;
    grid->cells_count = count;
    drop_idle_guards(grid);
    owners_ask_again(grid);
    set_grants(grid);
    set_nodes(grid, site);
    fleet_guards_changed(&grid->fleet, site);
    grid->wants_pass = true;
}

void guards_follow(struct grid *grid, const struct event *event)
{
    const char *name = NULL;
    uint32_t site;

    if (!grid->cells_count)
        return;
    if (event->type == EVENT_SITE_JOINED)
        name = event->site_joined.site.name;
    else if (event->type == EVENT_SITE_FORGOTTEN)
        name = event->site_forgotten.site;
    if (event->type == EVENT_TENANT_SET) { /* whose own work is whose may be another */
        owners_ask_again(grid);
        set_grants(grid);
        grid->fleet.shape_version++;
        for (uint32_t i = 0; i < grid->cells_count; i++)
            grid->cells[i].since_ms = grid->now_ms;
    } else if (name) {
        site = (uint32_t)fleet_find_site(&grid->fleet, name);
        if (!set_nodes(grid, site))
            return;
        for (uint32_t i = 0; i < grid->cells_count; i++)
            if (grid->cells[i].site == site)
                grid->cells[i].since_ms = grid->now_ms;
    }
}

/* --- a part of a snapshot ------------------------------------------------------------------- */

void guards_put(const struct grid *grid, struct buf *out)
{
    put_u64(out, grid->guards_count);
    for (uint32_t i = 1; i < grid->guards_count; i++)
        put_text(out, grid->guards[i] ? intern_data(&grid->tenant_names, grid->guards[i]) : "");
    put_u64(out, grid->cells_count);
    for (uint32_t i = 0; i < grid->cells_count; i++) {
        const struct guard_cell *cell = &grid->cells[i];

        put_u64(out, cell->guard);
        put_u64(out, cell->site);
        put_u64(out, cell->level);
        put_text(out, cell->chip);
        put_text(out, cell->place);
        put_i64(out, cell->since_ms);
    }
}

static bool take_name(struct cursor *in, char *out)
{
    const char *text;
    size_t len;

    if (get_text(in, &text, &len) < 0 || len >= MODEL_NAME_BYTES)
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

static bool take_cell(const struct grid *grid, struct cursor *in, struct guard_cell *cell)
{
    uint64_t guard, site, level;

    if (get_u64(in, &guard) < 0 || !guard || guard >= grid->guards_count || !grid->guards[guard] ||
        get_u64(in, &site) < 0 || site >= grid->fleet.sites_count || get_u64(in, &level) < 0 ||
        level < TOPOLOGY_NODE || level > TOPOLOGY_POOL || !take_name(in, cell->chip) ||
        !take_name(in, cell->place) || get_i64(in, &cell->since_ms) < 0 || cell->since_ms < 0 ||
        cell->since_ms > grid->now_ms)
        return false;
    cell->guard = (uint32_t)guard;
    cell->site = (uint32_t)site;
    cell->level = (uint32_t)level;
    return true;
}

int guards_take(struct grid *grid, struct cursor *in)
{
    char name[MODEL_NAME_BYTES];
    uint32_t cap = 0;
    uint64_t count;

    if (get_u64(in, &count) < 0 || count > GUARDS_MAX)
        return -EBADMSG;
    grow_guards(grid, (uint32_t)count);
    for (uint64_t i = 1; i < count; i++) {
        if (!take_name(in, name))
            return -EBADMSG;
        grid->guards[i] = intern_find(&grid->tenant_names, name, (uint32_t)strlen(name));
        if (*name && (!grid->guards[i] || !grid->tenants[grid->guards[i]].has_limits))
            return -EBADMSG;
    }
    if (get_u64(in, &count) < 0 || count > GUARD_CELLS_MAX)
        return -EBADMSG;
    for (uint64_t i = 0; i < count; i++) {
        struct guard_cell cell = { 0 };

        if (!take_cell(grid, in, &cell))
            return -EBADMSG;
        MEM_GROW(grid->cells, cap, grid->cells_count + 1);
        grid->cells[grid->cells_count++] = cell;
    }
    set_grants(grid);
    for (uint32_t i = 0; i < grid->fleet.sites_count && grid->cells_count; i++)
        set_nodes(grid, i);
    return 0;
}

/* --- the invariants ------------------------------------------------------------------------- */

/* Nobody came in who could not be made to leave. */
static int check_node(const struct grid *grid, uint32_t site, uint32_t index,
                      const struct guard_cell *cell, struct err *err)
{
    const struct fleet_node *node = &grid->fleet.sites[site].nodes[index];

    if (node->guard != (cell ? cell->guard : 0))
        return err_set(err, -EINVAL, "invariant: node %u of site %u is not its cell's", index,
                       site);
    for (const struct grant_part *part = node->parts; part && cell; part = part->next)
        if (part->of->guard != cell->guard && !part->of->lends &&
            part->of->granted_ms > cell->since_ms)
            return err_set(
                err, -EINVAL, "invariant: job %" PRIu64 " cannot be stopped and is in a cell of %s",
                part->of->job_id, intern_data(&grid->tenant_names, grid->guards[cell->guard]));
    return 0;
}

int guards_check(const struct grid *grid, struct err *err)
{
    uint32_t guarded = 0;
    int rc = 0;

    for (uint32_t s = 0; s < grid->fleet.sites_count && rc == 0; s++)
        for (uint32_t i = 0; i < grid->fleet.sites[s].info.nodes_count && rc == 0; i++) {
            const struct guard_cell *cell = NULL;

            for (uint32_t c = 0; c < grid->cells_count && !cell; c++)
                if (grid->cells[c].site == s && is_in(&grid->fleet.sites[s], i, &grid->cells[c]))
                    cell = &grid->cells[c];
            rc = check_node(grid, s, i, cell, err);
            guarded += cell != NULL;
        }
    for (uint32_t i = 0; i < grid->fleet.grants_count && rc == 0; i++) {
        const struct grant *grant = grid->fleet.grants[i];
        const struct shape *shape = job_shape(grid, grid_job(grid, grant->job_id));

        if (grant->guard != shape->guard || grant->lends != shape->lends)
            rc = err_set(err, -EINVAL, "invariant: job %" PRIu64 " does not hold as its shape says",
                         grant->job_id);
    }
    return rc == 0 && guarded != grid->fleet.guarded_nodes
               ? err_set(err, -EINVAL, "invariant: %u nodes are in cells, counted are %u", guarded,
                         grid->fleet.guarded_nodes)
               : rc;
}

/* --- as others see it ------------------------------------------------------------------------- */

const char *grid_level_name(uint32_t level)
{
    return topology_name(level);
}

bool grid_cell(const struct grid *grid, uint32_t index, struct cell_view *view_out)
{
    const struct guard_cell *cell;
    const struct fleet_site *site;

    if (index >= grid->cells_count)
        return false;
    cell = &grid->cells[index];
    site = &grid->fleet.sites[cell->site];
    *view_out =
        (struct cell_view){ .tenant = intern_data(&grid->tenant_names, grid->guards[cell->guard]),
                            .site = site->info.name,
                            .chip = cell->chip,
                            .level = cell->level,
                            .place = cell->place };
    for (uint32_t i = 0; i < site->info.nodes_count; i++) {
        const struct fleet_node *node = &site->nodes[i];

        if (!is_in(site, i, cell))
            continue;
        view_out->nodes++;
        view_out->devices_milli += node->devices_count * 1000ULL;
        for (const struct grant_part *part = node->parts; part; part = part->next)
            for (uint32_t d = 0; d < part->devices_count; d++)
                *(part->of->guard == cell->guard ? &view_out->own_milli : &view_out->lent_milli) +=
                    part->devices[d].milli;
    }
    return true;
}
