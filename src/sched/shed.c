#include "sched/shed.h"

#include "base/cleanup.h"
#include "sched/mem.h"
#include "sched/shed_ways.h"

#include <assert.h>
#include <stdlib.h>

#define MOVE_ROUNDS 4u /* in the last but one all who do not keep a move are barred */

struct step { /* along a job's hull: from one of its ways (or none) to the next */
    uint64_t id;
    uint32_t job, from, way; /* counted as `taken` */
    double watts, cost;      /* more than before */
};
struct dear { /* a job chosen, by cost */
    double cost;
    uint32_t job;
};
struct order { /* of shed_resume */
    const struct shed_held *held;
    uint32_t index;
};

struct shed {
    struct shed_ways ways;
    uint32_t *taken; /* a job's way, counted from its first, and 1; 0 = none */
    struct step *steps;
    struct shed_choice *choices;
    struct order *orders;
    struct dear *dear;
    bool *is_barred; /* from moving */
    uint32_t steps_count;
    uint32_t taken_cap, steps_cap, choices_cap, orders_cap, dear_cap, barred_cap;
};

struct shed_params shed_params_default(void)
{
    return (struct shed_params){
        .class_weight = { [CLASS_LOW] = 1,
                          [CLASS_NORMAL] = 4,
                          [CLASS_HIGH] = 16,
                          [CLASS_URGENT] = 64 },
        .waiting_milli = 20,
        .time_margin_ms = 5000,
        .watts_margin_milli = 20,
        .touch_device_ms = 60 * 1000,
        .swaps_max = 64,
    };
}

struct shed *shed_create(void)
{
    return mem_alloc(1, sizeof(struct shed));
}

void shed_destroy(struct shed *shed)
{
    if (!shed)
        return;
    shed_ways_fini(&shed->ways);
    free(shed->taken);
    free(shed->steps);
    free(shed->choices);
    free(shed->orders);
    free(shed->dear);
    free(shed->is_barred);
    free(shed);
}

/* --- the choice --------------------------------------------------------------------------------
 */

struct cover { /* a choice being made */
    struct shed *shed;
    uint32_t count;
    double need, freed, cost, bound;
};

static double watts_at(const struct shed *shed, uint32_t job, uint32_t taken)
{
    return taken == 0
               ? 0
               : (double)shed->ways.list[shed->ways.first[job] + taken - 1].choice.watts_freed;
}

static double cost_at(const struct shed *shed, uint32_t job, uint32_t taken)
{
    return taken == 0 ? 0 : shed->ways.list[shed->ways.first[job] + taken - 1].cost;
}

static void take(struct cover *cover, uint32_t job, uint32_t taken)
{
    struct shed *shed = cover->shed;
    uint32_t before = shed->taken[job];

    cover->freed += watts_at(shed, job, taken) - watts_at(shed, job, before);
    cover->cost += cost_at(shed, job, taken) - cost_at(shed, job, before);
    shed->taken[job] = taken;
}

static int compare_steps(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    double left = x->cost * y->watts, right = y->cost * x->watts;

    if (left != right)
        return left < right ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->way > y->way) - (x->way < y->way);
}

/* The lower hull of each job's ways: cost per watt rises along it. */
static void list_steps(struct shed *shed, const struct shed_job *jobs, uint32_t count)
{
    MEM_GROW(shed->steps, shed->steps_cap, shed->ways.count + 1);
    shed->steps_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t ways_count = shed->ways.first[i + 1] - shed->ways.first[i], at = 0;

        while (at < ways_count) {
            struct step best = { 0 };

            for (uint32_t w = at + 1; w <= ways_count; w++) {
                struct step step = { jobs[i].id,
                                     i,
                                     at,
                                     w,
                                     watts_at(shed, i, w) - watts_at(shed, i, at),
                                     cost_at(shed, i, w) - cost_at(shed, i, at) };

                if (best.way == 0 || step.cost * best.watts <= best.cost * step.watts)
                    best = step;
            }
            shed->steps[shed->steps_count++] = best;
            at = best.way;
        }
    }
    qsort(shed->steps, shed->steps_count, sizeof(*shed->steps), compare_steps);
}

/* Steps by cost per watt. One that would finish is a candidate and is passed over (and with it
 * what follows of its job), so that smaller ones may finish for less. */
static uint32_t find_finish(struct cover *cover)
{
    struct shed *shed = cover->shed;
    uint32_t best = UINT32_MAX;
    double best_cost = 0;

    cover->bound = -1;
    for (uint32_t i = 0; i < shed->steps_count; i++) {
        const struct step *step = &shed->steps[i];

        if (best != UINT32_MAX && cover->cost >= best_cost)
            break;
        if (shed->taken[step->job] != step->from)
            continue; /* its job was passed over */
        if (cover->freed + step->watts < cover->need) {
            take(cover, step->job, step->way);
            continue;
        }
        if (cover->bound < 0)
            cover->bound = cover->cost + step->cost * (cover->need - cover->freed) / step->watts;
        if (best == UINT32_MAX || cover->cost + step->cost < best_cost) {
            best = i;
            best_cost = cover->cost + step->cost;
        }
    }
    return best;
}

static void begin(struct cover *cover)
{
    for (uint32_t i = 0; i < cover->count; i++)
        cover->shed->taken[i] = 0;
    cover->freed = 0;
    cover->cost = 0;
}

static void take_steps(struct cover *cover, uint32_t finish)
{
    struct shed *shed = cover->shed;

    begin(cover);
    for (uint32_t i = 0; i <= finish; i++) {
        const struct step *step = &shed->steps[i];

        if (shed->taken[step->job] != step->from)
            continue;
        if (i == finish || cover->freed + step->watts < cover->need)
            take(cover, step->job, step->way);
    }
}

static void take_everything(struct cover *cover)
{
    const struct shed *shed = cover->shed;

    begin(cover);
    for (uint32_t i = 0; i < cover->count; i++)
        take(cover, i, shed->ways.first[i + 1] - shed->ways.first[i]);
    cover->bound = cover->cost;
}

static int compare_dear(const void *a, const void *b)
{
    const struct dear *x = a, *y = b;

    if (x->cost != y->cost)
        return x->cost > y->cost ? -1 : 1;
    return (x->job > y->job) - (x->job < y->job);
}

static uint32_t list_dear(struct cover *cover)
{
    struct shed *shed = cover->shed;
    uint32_t dear_count = 0;

    MEM_GROW(shed->dear, shed->dear_cap, cover->count);
    for (uint32_t i = 0; i < cover->count; i++) {
        if (shed->taken[i] > 0)
            shed->dear[dear_count++] = (struct dear){ cost_at(shed, i, shed->taken[i]), i };
    }
    qsort(shed->dear, dear_count, sizeof(*shed->dear), compare_dear);
    return dear_count;
}

/* What is freed beyond the need lets the dearest go for a lesser way, or free. */
static void give_back(struct cover *cover)
{
    struct shed *shed = cover->shed;
    uint32_t dear_count = list_dear(cover);

    for (uint32_t d = 0; d < dear_count; d++) {
        uint32_t job = shed->dear[d].job, at = shed->taken[job];

        for (uint32_t taken = 0; taken < at; taken++) {
            if (cover->freed - watts_at(shed, job, at) + watts_at(shed, job, taken) >=
                cover->need) {
                take(cover, job, taken);
                break;
            }
        }
    }
}

/* Let one of the dearest go, if another's next way is cheaper and enough. */
static void swap_dear(struct cover *cover, uint32_t swaps_max)
{
    struct shed *shed = cover->shed;
    uint32_t dear_count = MIN(list_dear(cover), swaps_max);

    for (uint32_t d = 0; d < dear_count; d++) {
        uint32_t job = shed->dear[d].job, best = UINT32_MAX, best_taken = 0;
        double gap = cover->need - (cover->freed - watts_at(shed, job, shed->taken[job]));
        double best_cost = cost_at(shed, job, shed->taken[job]);

        for (uint32_t i = 0; i < cover->count; i++) {
            uint32_t at = shed->taken[i],
                     ways_count = shed->ways.first[i + 1] - shed->ways.first[i];

            if (i == job || watts_at(shed, i, ways_count) - watts_at(shed, i, at) < gap)
                continue;
            for (uint32_t taken = at + 1; taken <= ways_count; taken++) {
                if (watts_at(shed, i, taken) - watts_at(shed, i, at) < gap)
                    continue;
                if (cost_at(shed, i, taken) - cost_at(shed, i, at) < best_cost) {
                    best = i;
                    best_taken = taken;
                    best_cost = cost_at(shed, i, taken) - cost_at(shed, i, at);
                }
                break;
            }
        }
        if (best != UINT32_MAX) {
            take(cover, job, 0);
            take(cover, best, best_taken);
        }
    }
}

static void solve(struct cover *cover, const struct shed_params *params,
                  const struct shed_job *jobs)
{
    struct shed *shed = cover->shed;
    uint32_t finish;

    list_steps(shed, jobs, cover->count);
    begin(cover);
    finish = find_finish(cover);
    if (finish == UINT32_MAX) {
        take_everything(cover);
        return;
    }
    take_steps(cover, finish);
    for (int round = 0; round < 2; round++) {
        give_back(cover);
        swap_dear(cover, params->swaps_max);
    }
    give_back(cover);
}

/* More moves than there is room: higher classes keep theirs, the rest may not. True: nobody had
 * to be barred. */
static bool bar_moves(struct shed *shed, const struct shed_job *jobs, uint32_t count, uint32_t room,
                      bool is_last)
{
    bool is_fine = true;

    for (int job_class = CLASS_COUNT - 1; job_class >= 0; job_class--) {
        for (uint32_t i = 0; i < count; i++) {
            bool is_moved;

            if ((int)jobs[i].job_class != job_class)
                continue;
            is_moved =
                shed->taken[i] > 0 &&
                shed->ways.list[shed->ways.first[i] + shed->taken[i] - 1].choice.how == SHED_MOVE;
            if (is_moved && jobs[i].devices <= room) {
                room -= jobs[i].devices;
            } else if (is_moved || is_last) {
                is_fine = is_fine && !is_moved;
                shed->is_barred[i] = true;
            }
        }
    }
    return is_fine;
}

static struct shed_result list_choices(struct cover *cover, const struct shed_ask *ask,
                                       const struct shed_choice **choices_out)
{
    struct shed *shed = cover->shed;
    struct shed_result result = { .cost = cover->cost, .cost_bound = cover->bound };

    MEM_GROW(shed->choices, shed->choices_cap, cover->count);
    for (uint32_t i = 0; i < cover->count; i++) {
        const struct shed_choice *choice;

        if (shed->taken[i] == 0)
            continue;
        choice = &shed->ways.list[shed->ways.first[i] + shed->taken[i] - 1].choice;
        shed->choices[result.count++] = *choice;
        result.watts_freed += choice->watts_freed;
        result.lost_ms += choice->lost_ms;
        result.waiting_ms += choice->waiting_ms;
    }
    result.is_met = result.watts_freed >= ask->watts;
    *choices_out = shed->choices;
    return result;
}

struct shed_result shed_choose(struct shed *shed, const struct shed_params *params,
                               const struct shed_ask *ask, const struct shed_job *jobs,
                               uint32_t count, const struct shed_choice **choices_out)
{
    struct cover cover = { .shed = shed, .count = count };

    assert(count <= SHED_JOBS_MAX);
    *choices_out = shed->choices;
    if (ask->watts <= 0 || count == 0)
        return (struct shed_result){ .is_met = ask->watts <= 0 };
    cover.need = (double)ask->watts * (1 + params->watts_margin_milli / 1000.0);
    MEM_GROW(shed->taken, shed->taken_cap, count);
    MEM_GROW(shed->is_barred, shed->barred_cap, count);
    for (uint32_t i = 0; i < count; i++)
        shed->is_barred[i] = jobs[i].devices > ask->devices_elsewhere;
    for (uint32_t round = 0; round < MOVE_ROUNDS; round++) {
        shed_ways_list(&shed->ways, params, ask, jobs, count, shed->is_barred);
        solve(&cover, params, jobs);
        if (bar_moves(shed, jobs, count, ask->devices_elsewhere, round == MOVE_ROUNDS - 2))
            break;
    }
    return list_choices(&cover, ask, choices_out);
}

/* --- back again --------------------------------------------------------------------------------
 */

static int compare_held(const void *a, const void *b)
{
    const struct order *left = a, *right = b;
    const struct shed_held *x = left->held, *y = right->held;

    if (x->job_class != y->job_class)
        return x->job_class > y->job_class ? -1 : 1;
    if (x->slack_ms != y->slack_ms)
        return x->slack_ms < y->slack_ms ? -1 : 1;
    if (x->since_ms != y->since_ms)
        return x->since_ms < y->since_ms ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

uint32_t shed_resume(struct shed *shed, const struct shed_held *held, uint32_t count, int64_t watts,
                     uint32_t *chosen_out)
{
    uint32_t chosen_count = 0;

    assert(count <= SHED_JOBS_MAX);
    MEM_GROW(shed->orders, shed->orders_cap, count);
    for (uint32_t i = 0; i < count; i++)
        shed->orders[i] = (struct order){ &held[i], i };
    if (count > 1)
        qsort(shed->orders, count, sizeof(*shed->orders), compare_held);
    for (uint32_t i = 0; i < count; i++) {
        if (shed->orders[i].held->watts > watts)
            continue;
        watts -= shed->orders[i].held->watts;
        chosen_out[chosen_count++] = shed->orders[i].index;
    }
    return chosen_count;
}
