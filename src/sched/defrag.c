#include "sched/defrag.h"
#include "sched/cells_internal.h"
#include "sched/mem.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

struct domain {
    uint32_t empty; /* whole nodes idle */
    uint32_t cell;
};
struct search {
    struct cells *cells;
    const struct defrag_params *params;
    const struct cells_ask *ask;
    uint32_t nodes_wanted, devices;
    double cost_max;
    bool *is_moved, *is_stuck; /* by job */
    uint32_t *moved;
    uint32_t moved_count;
    uint32_t *in_domain; /* by job: its nodes in the domain looked at; else 0 */
};

struct defrag_params defrag_params_default(void)
{
    return (struct defrag_params){
        .wait_ms_min = INT64_C(600000), .gain_times = 1.5, .moves_max = 128, .domains_max = 64
    };
}

void defrag_plan_fini(struct defrag_plan *plan)
{
    free(plan->parts);
    *plan = (struct defrag_plan){ 0 };
}

/* What emptying a node costs beyond what is moved already, 0 = it is empty; INFINITY = it cannot
 * be. A move that costs nothing still counts for something. */
static double node_cost(const struct search *search, uint32_t node)
{
    const struct cells *cells = search->cells;
    const uint32_t *holders = cells->holders + (size_t)node * cells->idle.shape.counts[0];
    double cost = 0;

    if (cells->closed[node])
        return INFINITY;
    for (uint32_t i = 0; i < cells->holders_count[node]; i++) {
        const struct record *record = &cells->records[holders[i]];

        if (record->is_firm || record->worth < 0 || search->is_stuck[holders[i]])
            return INFINITY;
        cost += search->is_moved[holders[i]] ? 0 : record->worth + 1;
    }
    return cost;
}

static void forget_moved(struct search *search)
{
    for (uint32_t i = 0; i < search->moved_count; i++)
        search->is_moved[search->moved[i]] = false;
    search->moved_count = 0;
}

/* The most nodes that emptying this one empties in the domain. */
static uint32_t node_gain(const struct search *search, uint32_t node)
{
    const struct cells *cells = search->cells;
    uint32_t job = cells->holders[(size_t)node * cells->idle.shape.counts[0]];

    return cells->holders_count[node] == 1 ? search->in_domain[job] : 1;
}

static void count_in_domain(struct search *search, uint32_t first, uint32_t size, bool is_reset)
{
    const struct cells *cells = search->cells;

    for (uint32_t n = first; n < first + size; n++)
        for (uint32_t i = 0; i < cells->holders_count[n]; i++) {
            uint32_t *count =
                &search->in_domain[cells->holders[(size_t)n * cells->idle.shape.counts[0] + i]];

            *count = is_reset ? 0 : *count + 1;
        }
}

/* The node to empty next: least cost for each node that is gained and wanted, then most gained.
 * `wanted_out` is what is still wanted. */
static uint32_t choose_node(const struct search *search, uint32_t first, uint32_t size,
                            uint32_t *wanted_out, double *cost_out, double *rate_out)
{
    uint32_t empty = 0, best = CELLS_NONE, best_gain = 0;
    double best_rate = INFINITY;

    for (uint32_t n = first; n < first + size; n++)
        empty += node_cost(search, n) <= 0;
    *wanted_out = search->nodes_wanted > empty ? search->nodes_wanted - empty : 0;
    for (uint32_t n = first; n < first + size && *wanted_out; n++) {
        double cost = node_cost(search, n), rate;
        uint32_t gain;

        if (cost <= 0 || !isfinite(cost))
            continue;
        gain = node_gain(search, n);
        rate = cost / MIN(gain, *wanted_out);
        if (rate < best_rate || (rate <= best_rate && gain > best_gain)) {
            best = n;
            best_rate = rate;
            best_gain = gain;
            *cost_out = cost;
        }
    }
    *rate_out = best_rate;
    return best;
}

/* Choose what leaves the domain, node by node. A gang that leaves one node leaves all of its
 * nodes, so the rest is counted again. Gives the cost. */
static double choose_moved(struct search *search, uint32_t level, uint32_t cell)
{
    const struct cells *cells = search->cells;
    uint32_t first = cell * cells->idle.sizes[level], size = cells->idle.sizes[level];
    double cost = 0;

    forget_moved(search);
    count_in_domain(search, first, size, false);
    for (;;) {
        uint32_t wanted;
        double more = INFINITY, rate;
        uint32_t best = choose_node(search, first, size, &wanted, &more, &rate);

        if (!wanted)
            break;
        if (best == CELLS_NONE || cost + rate * wanted > search->cost_max ||
            search->moved_count + cells->holders_count[best] > search->params->moves_max) {
            cost = INFINITY; /* the rest is no cheaper than this one */
            break;
        }
        cost += more;
        for (uint32_t i = 0; i < cells->holders_count[best]; i++) {
            uint32_t job = cells->holders[(size_t)best * cells->idle.shape.counts[0] + i];

            if (!search->is_moved[job])
                search->moved[search->moved_count++] = job;
            search->is_moved[job] = true;
        }
    }
    count_in_domain(search, first, size, true);
    return cost;
}

/* The level of the smallest cell that a job's place lies in. */
static uint32_t level_of(const struct celltree *tree, const struct record *record)
{
    uint32_t level = 0;

    for (; level + 1 < tree->shape.levels_count; level++) {
        uint32_t cell = record->parts[0].node / tree->sizes[level];
        uint32_t i = 1;

        while (i < record->parts_count && record->parts[i].node / tree->sizes[level] == cell)
            i++;
        if (i == record->parts_count)
            break;
    }
    return level;
}

static uint32_t plan_room(struct defrag_plan *plan, uint32_t parts)
{
    MEM_GROW(plan->parts, plan->parts_cap, plan->parts_count + parts);
    return plan->parts_count;
}

static void sort_moved(struct search *search)
{
    const struct record *records = search->cells->records;

    for (uint32_t i = 1; i < search->moved_count; i++) {
        uint32_t job = search->moved[i], at = i;
        uint64_t devices = (uint64_t)records[job].ask.tasks * records[job].ask.task_devices;

        for (; at > 0; at--) {
            const struct cells_ask *other = &records[search->moved[at - 1]].ask;
            uint64_t others = (uint64_t)other->tasks * other->task_devices;

            if (others > devices || (others == devices && search->moved[at - 1] < job))
                break;
            search->moved[at] = search->moved[at - 1];
        }
        search->moved[at] = job;
    }
}

/* Try it on the tree and put the tree back. False: a moved job finds no place as tight as its own;
 * it is stuck from then on. */
static bool try_plan(struct search *search, uint32_t level, uint32_t cell, struct defrag_plan *plan)
{
    struct celltree *tree = &search->cells->idle;
    uint32_t done = 0;
    bool fits = true;

    sort_moved(search);
    plan->moves_count = plan->parts_count = 0;
    for (uint32_t i = 0; i < search->moved_count; i++) {
        const struct record *record = &search->cells->records[search->moved[i]];

        celltree_give(tree, record->parts, record->parts_count);
    }
    plan_room(plan, celltree_parts_max(tree, search->ask));
    plan->place_count = celltree_find_in(tree, search->ask, level, cell, plan->parts);
    plan->parts_count = plan->place_count;
    fits = plan->place_count > 0;
    if (fits)
        celltree_take(tree, plan->parts, plan->place_count);
    for (; fits && done < search->moved_count; done++) {
        uint32_t job = search->moved[done];
        const struct record *record = &search->cells->records[job];
        struct cells_ask ask = record->ask;
        struct defrag_move *move = &plan->moves[done];

        ask.is_hard = true;
        ask.level = MAX(level_of(tree, record), record->ask.is_hard ? record->ask.level : 0);
        move->job = job;
        move->first = plan_room(plan, celltree_parts_max(tree, &ask));
        move->count = celltree_find(tree, &ask, plan->parts + move->first, NULL);
        if (!move->count) {
            search->is_stuck[job] = true;
            fits = false;
            break;
        }
        celltree_take(tree, plan->parts + move->first, move->count);
        plan->parts_count += move->count;
    }
    celltree_give(tree, plan->parts, plan->parts_count);
    for (uint32_t i = 0; i < search->moved_count; i++) {
        const struct record *record = &search->cells->records[search->moved[i]];

        celltree_take(tree, record->parts, record->parts_count);
    }
    plan->moves_count = done;
    return fits;
}

static int domain_compare(const void *a, const void *b)
{
    const struct domain *x = a, *y = b;

    if (x->empty != y->empty)
        return x->empty > y->empty ? -1 : 1;
    return x->cell < y->cell ? -1 : x->cell > y->cell;
}

/* The cheapest plan over the domains with most idle: those lack least. */
static bool search_level(struct search *search, uint32_t level, struct defrag_plan *plan)
{
    const struct celltree *tree = &search->cells->idle;
    uint32_t cells_count = tree->cells_count[level];
    struct domain *domains = mem_alloc(cells_count, sizeof(*domains));
    uint32_t count;
    bool is_found = false;

    for (uint32_t c = 0; c < cells_count; c++)
        domains[c] = (struct domain){ level ? tree->whole[level][c] : tree->free[c], c };
    qsort(domains, cells_count, sizeof(*domains), domain_compare);
    count = MIN(cells_count, search->params->domains_max);
    for (uint32_t tries = 0; tries < count + 4 && !is_found; tries++) {
        double best_cost = INFINITY, cost;
        uint32_t best = CELLS_NONE;

        for (uint32_t k = 0; k < count; k++) {
            if (domains[k].empty == CELLS_NONE)
                continue; /* no plan there */
            cost = choose_moved(search, level, domains[k].cell);
            if (!isfinite(cost))
                domains[k].empty = CELLS_NONE;
            else if (cost < best_cost) {
                best = k;
                best_cost = cost;
            }
        }
        if (best == CELLS_NONE)
            break;
        plan->cost = choose_moved(search, level, domains[best].cell);
        is_found = try_plan(search, level, domains[best].cell, plan);
    }
    free(domains);
    return is_found;
}

bool defrag_find(struct cells *cells, const struct defrag_params *params, uint32_t job,
                 int64_t waited_ms, struct defrag_plan *plan)
{
    const struct record *record = &cells->records[job];
    uint32_t per_node = cells->idle.shape.counts[0] / record->ask.task_devices;
    uint32_t devices = record->ask.tasks * record->ask.task_devices, level;
    struct search search;
    bool is_found = false;

    assert(!record->parts && params->moves_max <= DEFRAG_MOVES_MAX);
    if (!record->ask.is_hard || !per_node || cells->idle.devices_free < devices)
        return false;
    level = celltree_level_least(&cells->idle.shape, &record->ask);
    search = (struct search){
        .cells = cells,
        .params = params,
        .ask = &record->ask,
        .nodes_wanted = (record->ask.tasks + per_node - 1) / per_node,
        .devices = devices,
        .cost_max =
            (double)devices * (double)MAX(waited_ms, params->wait_ms_min) / params->gain_times,
        .is_moved = mem_alloc(cells->records_count, sizeof(bool)),
        .is_stuck = mem_alloc(cells->records_count, sizeof(bool)),
        .moved = mem_alloc(params->moves_max, sizeof(uint32_t)),
        .in_domain = mem_alloc(cells->records_count, sizeof(uint32_t)),
    };
    for (; level <= record->ask.level && level < cells->levels_count && !is_found; level++)
        is_found = search_level(&search, level, plan);
    free(search.is_moved);
    free(search.is_stuck);
    free(search.moved);
    free(search.in_domain);
    return is_found;
}

void defrag_apply(struct cells *cells, uint32_t job, const struct defrag_plan *plan)
{
    bool is_put;

    for (uint32_t i = 0; i < plan->moves_count; i++)
        cells_release(cells, plan->moves[i].job);
    is_put = cells_put(cells, job, plan->parts, plan->place_count);
    for (uint32_t i = 0; i < plan->moves_count; i++)
        is_put = cells_put(cells, plan->moves[i].job, plan->parts + plan->moves[i].first,
                           plan->moves[i].count) &&
                 is_put;
    assert(is_put);
    (void)is_put;
}
