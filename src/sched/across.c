#include "sched/across.h"

#include "sched/mem.h"
#include "sched/owner.h"

#include <stdlib.h>
#include <string.h>

struct choice {
    const struct candidate *list; /* places that hold one task, best first */
    uint32_t *tasks;              /* how many each holds */
    uint32_t count;
    uint32_t picked[ACROSS_SITES_MAX]; /* in `list` */
    uint32_t picked_count;
    uint64_t sum;
};

/* Tasks that fit there, none counted beyond the shape's own. */
static uint32_t count_tasks(const struct shape *shape, const struct fleet *fleet,
                            const struct candidate *at, enum fit_when when)
{
    const struct fleet_site *site = &fleet->sites[at->site];
    bool is_now = when == FIT_NOW || when == FIT_LIMITED;
    uint64_t sum = 0;
    uint32_t nodes = 0;

    if (!site->info.tunnels ||
        (is_now && (!site->reachable || !owner_is_open(fleet, shape, at->site))))
        return 0;
    for (uint32_t i = 0; i < site->info.nodes_count && sum < shape->tasks; i++) {
        uint32_t tasks = fit_tasks(shape, site, &site->nodes[i], at->chip, when);

        if (tasks && ++nodes > GRANT_PARTS_MAX)
            break;
        sum += tasks;
    }
    return (uint32_t)MIN(sum, shape->tasks);
}

static const char *kind_of(const struct fleet *fleet, const struct candidate *at)
{
    return at->chip == FLEET_NO_CHIP ? "" : fleet->sites[at->site].chips[at->chip].kind;
}

static bool is_picked(const struct choice *choice, uint32_t site)
{
    for (uint32_t i = 0; i < choice->picked_count; i++)
        if (choice->list[choice->picked[i]].site == site)
            return true;
    return false;
}

/* Those of the kind of candidate `first` with the most room; a site has one of a kind. */
static void pick(const struct shape *shape, const struct fleet *fleet, uint32_t first,
                 struct choice *choice)
{
    const char *kind = kind_of(fleet, &choice->list[first]);

    choice->picked_count = 0;
    choice->sum = 0;
    while (choice->picked_count < shape->sites_max && choice->sum < shape->tasks) {
        uint32_t best = choice->count;

        for (uint32_t i = 0; i < choice->count; i++)
            if (choice->tasks[i] &&
                (best == choice->count || choice->tasks[i] > choice->tasks[best]) &&
                strcmp(kind_of(fleet, &choice->list[i]), kind) == 0 &&
                !is_picked(choice, choice->list[i].site))
                best = i;
        if (best == choice->count)
            return;
        choice->picked[choice->picked_count++] = best;
        choice->sum += choice->tasks[best];
    }
}

static bool is_first_of_kind(const struct fleet *fleet, const struct choice *choice, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++)
        if (strcmp(kind_of(fleet, &choice->list[i]), kind_of(fleet, &choice->list[at])) == 0)
            return false;
    return true;
}

static uint32_t make_grants(const struct shape *shape, const struct fleet *fleet,
                            const struct choice *choice, enum fit_when when, struct fit *fit,
                            struct grant **grants)
{
    struct shape part = *shape;
    uint32_t left = shape->tasks, count = 0;

    for (; count < choice->picked_count; count++) {
        const struct candidate *at = &choice->list[choice->picked[count]];

        part.tasks = MIN(left, choice->tasks[choice->picked[count]]);
        if (!fit_candidate(&part, fleet, at->site, at->chip, when, fit))
            break; /* for lack of power, perhaps */
        grants[count] = fit_grant(&part, fleet, fit, when);
        left -= part.tasks;
    }
    if (left == 0)
        return count;
    while (count > 0)
        grant_destroy(grants[--count]);
    return 0;
}

static struct choice choose_from(struct shape *shape, const struct fleet *fleet,
                                 const struct objective *objective, enum fit_when when)
{
    struct choice choice = { 0 };

    choice.list = shape_candidates(shape->one, fleet, objective, &choice.count);
    choice.tasks = mem_alloc(choice.count + 1, sizeof(*choice.tasks));
    for (uint32_t i = 0; i < choice.count; i++)
        choice.tasks[i] = count_tasks(shape, fleet, &choice.list[i], when);
    return choice;
}

uint32_t across_find(struct shape *shape, const struct fleet *fleet,
                     const struct objective *objective, enum fit_when when, struct fit *fit,
                     struct grant *grants_out[ACROSS_SITES_MAX])
{
    struct choice choice = choose_from(shape, fleet, objective, when);
    uint32_t count = 0;

    for (uint32_t i = 0; i < choice.count && !count; i++) {
        if (!is_first_of_kind(fleet, &choice, i))
            continue;
        pick(shape, fleet, i, &choice);
        if (choice.sum >= shape->tasks && choice.picked_count > 1)
            count = make_grants(shape, fleet, &choice, when, fit, grants_out);
    }
    free(choice.tasks);
    return count;
}

uint64_t across_most(struct shape *shape, const struct fleet *fleet,
                     const struct objective *objective)
{
    struct choice choice = choose_from(shape, fleet, objective, FIT_EMPTY);
    uint64_t most = 0;

    for (uint32_t i = 0; i < choice.count; i++) {
        if (!is_first_of_kind(fleet, &choice, i))
            continue;
        pick(shape, fleet, i, &choice);
        most = MAX(most, choice.sum);
    }
    free(choice.tasks);
    return most;
}
