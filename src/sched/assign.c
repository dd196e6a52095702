#include "sched/assign.h"

#include "sched/assign_internal.h"
#include "sched/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct assign_params assign_params_default(void)
{
    return (struct assign_params){ .rate_exponent = 0.7,
                                   .done_exponent = 0.2,
                                   .age_exponent = 0.15,
                                   .gang_exponent = 0.85,
                                   .left_exponent = 0.7,
                                   .stay = 0.05,
                                   .gain_min = 1e-9,
                                   .steps_max = 4096,
                                   .sweeps_max = 64 };
}

double assign_weight(const struct assign_params *params, double rate_share, double done_hours,
                     double age_hours, uint32_t gang)
{
    if (!(rate_share > 0))
        return 0;
    return pow(rate_share, params->rate_exponent) * pow(gang, params->gang_exponent) *
           pow(1 + fmax(age_hours, 0), params->age_exponent) /
           pow(1 + fmax(done_hours, 0), params->done_exponent);
}

double assign_weight_batch(const struct assign_params *params, double rate_share, double left_hours,
                           uint32_t gang)
{
    return rate_share > 0 ? rate_share * gang * pow(fmax(left_hours, 1e-3), params->left_exponent)
                          : 0;
}

struct assign *assign_create(void)
{
    return mem_alloc(1, sizeof(struct assign));
}

void assign_destroy(struct assign *assign)
{
    if (!assign)
        return;
    free(assign->weight);
    free(assign->place);
    free(assign->mate);
    free(assign->here);
    free(assign->kept_place);
    free(assign->kept_mate);
    free(assign->partner);
    free(assign->gain);
    free(assign->offers);
    free(assign->arcs);
    free(assign);
}

static void note_size(struct assign *assign, uint32_t gang)
{
    uint32_t at = 0;

    if (gang > ASSIGN_UNIT_MAX)
        return;
    while (at < assign->sizes_count && assign->sizes[at] < gang)
        at++;
    if (at < assign->sizes_count && assign->sizes[at] == gang)
        return;
    memmove(&assign->sizes[at + 1], &assign->sizes[at],
            (assign->sizes_count - at) * sizeof(assign->sizes[0]));
    assign->sizes[at] = gang;
    assign->sizes_count++;
}

static void make_room(struct assign *assign, uint32_t jobs, uint32_t nodes)
{
    MEM_GROW(assign->weight, assign->weight_cap, jobs * nodes);
    MEM_GROW(assign->place, assign->place_cap, jobs);
    MEM_GROW(assign->mate, assign->mate_cap, jobs);
    MEM_GROW(assign->here, assign->here_cap, jobs);
    MEM_GROW(assign->kept_place, assign->kept_place_cap, jobs);
    MEM_GROW(assign->kept_mate, assign->kept_mate_cap, jobs);
    MEM_GROW(assign->partner, assign->partner_cap, jobs);
    MEM_GROW(assign->gain, assign->gain_cap, jobs);
    MEM_GROW(assign->offers, assign->offers_cap, jobs * nodes);
    MEM_GROW(assign->arcs, assign->arcs_cap, nodes * nodes);
}

static void prepare(struct assign *assign, const struct assign_params *params,
                    const struct assign_problem *problem)
{
    uint32_t kinds = problem->kinds_count;
    double top = 0;

    assert(kinds <= ASSIGN_KINDS_MAX && problem->jobs_count < UINT32_MAX / ASSIGN_NODES_MAX);
    assign->problem = problem;
    assign->params = params;
    assign->nodes = kinds + 1;
    assign->left = params->steps_max;
    assign->sizes_count = 0;
    make_room(assign, problem->jobs_count, assign->nodes);
    for (uint32_t j = 0; j < problem->jobs_count; j++) {
        double *weight = &assign->weight[(size_t)j * assign->nodes];

        assert(problem->jobs[j].gang >= 1);
        for (uint32_t k = 0; k < kinds; k++) {
            double given = problem->weights[(size_t)j * kinds + k];

            weight[k] = given > 0 ? given : ASSIGN_NEVER;
            if (k == problem->jobs[j].held && given > 0)
                weight[k] = given * (1 + params->stay);
            top = fmax(top, weight[k]);
        }
        weight[kinds] = 0;
        assign->place[j] = kinds;
        assign->mate[j] = ASSIGN_NONE;
        note_size(assign, problem->jobs[j].gang);
    }
    assign->least = top * params->gain_min;
    for (uint32_t k = 0; k < kinds; k++)
        assign->free[k] = problem->capacity[k];
    assign->free[kinds] = INT64_MAX / 4;
}

void assign_move(struct assign *assign, uint32_t job, uint32_t node)
{
    uint32_t gang = assign->problem->jobs[job].gang;

    assign->free[assign->place[job]] += gang;
    assign->free[node] -= gang;
    assign->free[assign->nodes - 1] = INT64_MAX / 4; /* nowhere never fills */
    assign->place[job] = node;
}

static int compare_offers(const void *left, const void *right)
{
    const struct assign_offer *a = left, *b = right;

    if (a->density != b->density)
        return a->density > b->density ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return (a->kind > b->kind) - (a->kind < b->kind);
}

/* Who runs stays where there is room; the rest by weight per device. */
static void start(struct assign *assign)
{
    const struct assign_problem *problem = assign->problem;
    uint32_t nowhere = assign->nodes - 1, count = 0;

    for (uint32_t j = 0; j < problem->jobs_count; j++) {
        const struct assign_job *job = &problem->jobs[j];

        if (assign->place[j] != nowhere || assign_share_keep(assign, j) || job->held >= nowhere)
            continue;
        if (assign_worth(assign, j, job->held) > 0 && assign->free[job->held] >= job->gang)
            assign_move(assign, j, job->held);
    }
    for (uint32_t j = 0; j < problem->jobs_count; j++)
        for (uint32_t k = 0; k < nowhere && assign->place[j] == nowhere; k++)
            if (assign_worth(assign, j, k) > 0)
                assign->offers[count++] =
                    (struct assign_offer){ assign_worth(assign, j, k) / problem->jobs[j].gang,
                                           problem->jobs[j].id, j, k };
    if (count)
        qsort(assign->offers, count, sizeof(assign->offers[0]), compare_offers);
    for (uint32_t i = 0; i < count; i++) {
        const struct assign_offer *offer = &assign->offers[i];

        if (assign->place[offer->job] == nowhere &&
            assign->free[offer->kind] >= problem->jobs[offer->job].gang)
            assign_move(assign, offer->job, offer->kind);
    }
}

/* Keep the `most` best of one gang size, best first; jobs come in order, so ties stay so. */
static uint32_t add_item(struct assign_item *items, uint32_t count, uint32_t most,
                         struct assign_item item)
{
    uint32_t at;

    if (count == most && item.gain <= items[count - 1].gain)
        return count;
    at = count < most ? count++ : most - 1;
    for (; at > 0 && items[at - 1].gain < item.gain; at--)
        items[at] = items[at - 1];
    items[at] = item;
    return count;
}

static uint32_t gather(struct assign *assign, uint32_t from, uint32_t to, uint32_t unit,
                       uint32_t here_count)
{
    uint32_t count = 0;

    for (uint32_t s = 0; s < assign->sizes_count && assign->sizes[s] <= unit; s++) {
        uint32_t gang = assign->sizes[s], got = 0;

        for (uint32_t i = 0; i < here_count; i++) {
            uint32_t job = assign->here[i];
            double gain;

            if (assign->problem->jobs[job].gang != gang)
                continue;
            gain = assign_worth(assign, job, to) - assign_worth(assign, job, from);
            if (gain > ASSIGN_NEVER)
                got = add_item(&assign->items[count], got, unit / gang,
                               (struct assign_item){ gain, job, gang });
        }
        count += got;
    }
    return count;
}

/* The best package of `unit` devices that may leave; free devices fill it up for nothing. */
static void pack(struct assign *assign, uint32_t from, uint32_t to, uint32_t unit,
                 uint32_t here_count, struct assign_arc *arc)
{
    uint32_t count = gather(assign, from, to, unit, here_count), best = unit;
    int64_t holes = assign->free[from] < unit ? assign->free[from] : unit;
    double value[ASSIGN_UNIT_MAX + 1];

    for (uint32_t t = 0; t <= unit; t++)
        value[t] = t ? ASSIGN_NEVER : 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct assign_item *item = &assign->items[i];

        for (uint32_t t = unit + 1; t-- > 0;) {
            bool is_better = t >= item->gang && value[t - item->gang] + item->gain > value[t];

            assign->took[i][t] = is_better;
            if (is_better)
                value[t] = value[t - item->gang] + item->gain;
        }
    }
    for (uint32_t t = unit - (uint32_t)holes; t <= unit; t++)
        if (value[t] > value[best])
            best = t;
    arc->gain = value[best];
    arc->count = 0;
    for (uint32_t i = count; i-- > 0 && best > 0 && arc->gain > ASSIGN_NEVER;)
        if (assign->took[i][best]) {
            arc->jobs[arc->count++] = assign->items[i].job;
            best -= assign->items[i].gang;
        }
}

/* Packages of one device need no packing. */
static void refresh_ones(struct assign *assign)
{
    uint32_t nodes = assign->nodes;

    for (uint32_t i = 0; i < nodes; i++)
        for (uint32_t j = 0; assign->is_stale[i] && j < nodes; j++) {
            assign->arcs[i * nodes + j].count = 0;
            assign->arcs[i * nodes + j].gain = i != j && assign->free[i] > 0 ? 0 : ASSIGN_NEVER;
        }
    for (uint32_t job = 0; job < assign->problem->jobs_count; job++) {
        uint32_t i = assign->place[job];

        if (!assign->is_stale[i] || assign->mate[job] != ASSIGN_NONE ||
            assign->problem->jobs[job].gang != 1)
            continue;
        for (uint32_t j = 0; j < nodes; j++) {
            double gain = assign_worth(assign, job, j) - assign_worth(assign, job, i);
            struct assign_arc *arc = &assign->arcs[i * nodes + j];

            if (j == i || !(gain > arc->gain))
                continue;
            arc->gain = gain;
            arc->count = 1;
            arc->jobs[0] = job;
        }
    }
    memset(assign->is_stale, 0, sizeof(assign->is_stale));
}

void assign_refresh(struct assign *assign, uint32_t unit)
{
    uint32_t nodes = assign->nodes;

    if (unit == 1) {
        refresh_ones(assign);
        return;
    }
    for (uint32_t i = 0; i < nodes; i++) {
        uint32_t count = 0;

        if (!assign->is_stale[i])
            continue;
        for (uint32_t j = 0; j < assign->problem->jobs_count; j++)
            if (assign->place[j] == i && assign->mate[j] == ASSIGN_NONE &&
                assign->problem->jobs[j].gang <= unit)
                assign->here[count++] = j;
        for (uint32_t j = 0; j < nodes; j++)
            if (j != i)
                pack(assign, i, j, unit, count, &assign->arcs[i * nodes + j]);
        assign->arcs[i * nodes + i].gain = ASSIGN_NEVER;
        assign->is_stale[i] = false;
    }
}

void assign_stale(struct assign *assign)
{
    for (uint32_t i = 0; i < assign->nodes; i++)
        assign->is_stale[i] = true;
}

/* A cycle of positive gain (Bellman-Ford for longest paths), its nodes in order; 0 = none. */
static uint32_t find_cycle(const struct assign *assign, uint32_t *cycle)
{
    uint32_t nodes = assign->nodes, from[ASSIGN_NODES_MAX] = { 0 }, last = ASSIGN_NONE;
    uint32_t count = 0, at;
    double reach[ASSIGN_NODES_MAX];

    assert(nodes > 0 && nodes <= ASSIGN_NODES_MAX);
    for (uint32_t i = 0; i < nodes; i++) {
        reach[i] = 0;
        from[i] = ASSIGN_NONE;
    }
    for (uint32_t round = 0; round < nodes; round++) {
        last = ASSIGN_NONE;
        for (uint32_t i = 0; i < nodes; i++)
            for (uint32_t j = 0; j < nodes; j++) {
                double next = reach[i] + assign->arcs[i * nodes + j].gain;

                if (!(next > reach[j] + assign->least))
                    continue;
                reach[j] = next;
                from[j] = i;
                last = j;
            }
        if (last == ASSIGN_NONE)
            return 0;
    }
    for (uint32_t i = 0; i < nodes; i++)
        last = from[last]; /* now surely on the cycle */
    at = last;
    do {
        cycle[count++] = at;
        at = from[at];
    } while (at != last);
    return count;
}

/* The cycle came against its arcs: cycle[i + 1] -> cycle[i]. */
static void turn_cycle(struct assign *assign, const uint32_t *cycle, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t to = cycle[i], from = cycle[(i + 1) % count];
        const struct assign_arc *arc = &assign->arcs[from * assign->nodes + to];

        for (uint32_t j = 0; j < arc->count; j++)
            assign_move(assign, arc->jobs[j], to);
        assign->is_stale[to] = true;
    }
}

uint32_t assign_improve(struct assign *assign)
{
    uint32_t cycle[ASSIGN_NODES_MAX], steps = 0, before;

    do {
        before = steps;
        for (uint32_t s = 0; s < assign->sizes_count; s++) {
            uint32_t count;

            assign_stale(assign);
            assign_refresh(assign, assign->sizes[s]);
            while (assign->left && (count = find_cycle(assign, cycle)) > 0) {
                turn_cycle(assign, cycle, count);
                assign_refresh(assign, assign->sizes[s]);
                assign->left--;
                steps++;
            }
        }
    } while (assign->sizes_count > 1 && steps > before && assign->left);
    return steps;
}

struct assign_result assign_solve(struct assign *assign, const struct assign_params *params,
                                  const struct assign_problem *problem, struct assign_slot *out)
{
    struct assign_result result = { 0 };
    uint32_t kinds = problem->kinds_count;

    prepare(assign, params, problem);
    start(assign);
    assign_improve(assign);
    if (problem->sharing)
        assign_share(assign);
    for (uint32_t j = 0; j < problem->jobs_count; j++) {
        uint32_t kind = assign->place[j], mate = assign->mate[j];
        double share = 1, other;

        out[j] = (struct assign_slot){ kind == kinds ? ASSIGN_NONE : kind, mate };
        if (kind == kinds)
            continue;
        if (mate != ASSIGN_NONE) {
            assign_shares(assign, kind, j, mate, &share, &other);
            result.pairs += j < mate;
        }
        result.value += problem->weights[(size_t)j * kinds + kind] * share;
    }
    result.steps = params->steps_max - assign->left;
    result.is_settled = assign->left > 0;
    return result;
}
