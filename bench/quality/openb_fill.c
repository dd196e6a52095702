/* openb_fill - devices in use when as many have been asked for as there are: the fill beside FGD,
 * BestFit and an upper bound. See docs/quality/openb_fill.md. */
#include "openb.h"
#include "shown.h"

#include "base/cleanup.h"
#include "sched/fill_set.h"

#include <stdlib.h>
#include <time.h>

#define SEED_FIRST 42u
#define BOUND_SEEDS 3u
#define SMALL_MILLI 220u /* what a pod of 810 leaves, and a little */

static const struct row {
    const char *list;
    double published; /* FGD, expected/fgd_alloc_summary.csv; 0 = none */
    double bound;     /* tighter, of a linear programme solved elsewhere; 0 = none */
} rows[] = {
    { "default", 95.227, 96.89 },
    { "cpu037", 0, 0 },
    { "cpu050", 94.996, 96.90 },
    { "cpu072", 0, 0 },
    { "cpu200", 94.824, 0 },
    { "cpu235", 0, 0 },
    { "cpu300", 0, 0 },
    { "gpushare20", 0, 0 },
    { "gpushare40", 93.961, 95.66 },
    { "gpushare60", 91.255, 0 },
    { "gpushare80", 89.083, 0 },
    { "gpuspec05", 0, 0 },
    { "gpuspec20", 94.662, 96.89 },
    { "gpuspec25", 93.907, 0 },
    { "gpuspec33", 87.836, 96.39 },
    { "multigpu20", 95.528, 97.32 },
    { "multigpu30", 96.357, 0 },
    { "multigpu40", 96.906, 0 },
};

struct outcome {
    double fill, fgd, bestfit, bound, fill_worst; /* percent; worst of fill - fgd over seeds */
    double cpus_out; /* devices asked for before more CPUs were than there are, percent */
    double holes;    /* what large shares leave of their devices, less all small ones; percent */
    double decision_us, decisions;
};

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void put_node(struct fill_set *set, uint32_t number, const struct openb_node *node,
                     bool is_empty)
{
    struct fill_node room = {
        .cpu_milli = node->cpu_milli,
        .chip = node->chip,
        .devices_count = node->devices,
        .is_empty = is_empty,
    };

    memcpy(room.free_milli, node->free_milli, sizeof(node->free_milli));
    fill_set_put(set, number, &room, (int64_t)node->memory_mib << 20);
}

/* Percent in use at the end; NAN when memory is short. */
static double run_fill(const struct openb *openb, uint64_t seed, struct outcome *outcome)
{
    struct fill_params params = fill_params_default();
    struct openb_node *nodes = calloc(openb->nodes_count, sizeof(*nodes));
    struct fill_set *set = fill_set_create(&params, seed, openb->nodes_count);
    int64_t used = 0;
    double from;

    if (!nodes || !set) {
        free(nodes);
        fill_set_destroy(set);
        return NAN;
    }
    memcpy(nodes, openb->nodes, openb->nodes_count * sizeof(*nodes));
    for (uint32_t i = 0; i < openb->nodes_count; i++)
        put_node(set, i, &nodes[i], true);
    from = cpu_seconds();
    for (uint32_t a = 0; a < openb->arrivals_count; a++) {
        const struct openb_pod *pod = &openb->arrivals[a];
        struct fill_ask ask = { .cpu_milli = pod->cpu_milli,
                                .devices = pod->devices,
                                .milli = pod->milli,
                                .chips = pod->chips };
        struct fill_choice choice;

        fill_set_learn(set, &ask);
        if (!fill_set_find(set, &ask, (int64_t)pod->memory_mib << 20, &choice))
            continue;
        nodes[choice.node].cpu_milli -= pod->cpu_milli;
        nodes[choice.node].memory_mib -= pod->memory_mib;
        for (uint32_t i = 0; i < choice.devices_count; i++) {
            uint16_t *left = &nodes[choice.node].free_milli[choice.devices[i]];

            *left = (uint16_t)(*left - pod->milli);
        }
        put_node(set, choice.node, &nodes[choice.node], false);
        used += (int64_t)choice.devices_count * pod->milli;
    }
    outcome->decision_us += (cpu_seconds() - from) * 1e6;
    outcome->decisions += openb->arrivals_count;
    free(nodes);
    fill_set_destroy(set);
    return 100.0 * (double)used / (double)openb->total_milli;
}

/* What no placement that refuses nothing can help: see docs/quality/openb_fill.md. */
static void look_at_asks(const struct openb *openb, uint32_t seeds, struct outcome *outcome)
{
    int64_t cpus = 0, cpus_there = 0, asked = 0, holes = 0;
    double scale = 100.0 / (double)openb->total_milli / seeds;
    bool is_out = false;

    for (uint32_t i = 0; i < openb->nodes_count; i++)
        cpus_there += openb->nodes[i].cpu_milli;
    for (uint32_t i = 0; i < openb->arrivals_count; i++) {
        const struct openb_pod *pod = &openb->arrivals[i];
        bool is_share = pod->devices == 1 && pod->milli < 1000;

        cpus += pod->cpu_milli;
        if (cpus > cpus_there && !is_out) {
            is_out = true;
            outcome->cpus_out += (double)asked * scale;
        }
        asked += (int64_t)pod->devices * pod->milli;
        if (is_share && pod->milli > 1000 - SMALL_MILLI)
            holes += 1000 - pod->milli;
        else if (is_share && pod->milli <= SMALL_MILLI)
            holes -= pod->milli;
    }
    if (!is_out)
        outcome->cpus_out += (double)asked * scale;
    outcome->holes += (double)holes * scale;
}

static void run_list(struct openb *openb, uint32_t seeds, uint32_t percent, struct outcome *outcome)
{
    *outcome = (struct outcome){ .fill_worst = 100 };
    for (uint32_t i = 0; i < seeds; i++) {
        double fill, fgd;

        openb_draw(openb, SEED_FIRST + i, percent);
        look_at_asks(openb, seeds, outcome);
        fill = run_fill(openb, SEED_FIRST + i, outcome);
        fgd = openb_peer_run(openb, OPENB_FGD);
        outcome->fill += fill / seeds;
        outcome->fgd += fgd / seeds;
        outcome->bestfit += openb_peer_run(openb, OPENB_BESTFIT) / seeds;
        outcome->fill_worst = MIN(outcome->fill_worst, fill - fgd);
        if (i < BOUND_SEEDS)
            outcome->bound += openb_bound(openb, fill) / MIN(seeds, BOUND_SEEDS);
        fprintf(stderr, ".");
    }
    fprintf(stderr, "\n");
    outcome->decision_us /= outcome->decisions;
}

static void show_list(const struct row *row, const struct outcome *outcome, uint32_t percent)
{
    bool is_known = row->bound > 0 && percent == 100;
    double bound = is_known ? MIN(row->bound, outcome->bound) : outcome->bound;
    double half = (outcome->fgd + bound) / 2;
    char name[64], goal[32], note[768], published[32] = "none";

    if (row->published > 0 && percent == 100)
        snprintf(published, sizeof(published), "%.2f", row->published);
    snprintf(name, sizeof(name), "openb_fill_%s", row->list);
    snprintf(goal, sizeof(goal), ">=%.3f", half);
    snprintf(
        note, sizeof(note),
        "mean of seeds; goal is half way from FGD to the bound %.2f (own bound %.2f); gap "
        "closed %.0f %%; worst seed %+.2f to FGD; BestFit %.2f; published FGD %s; %.0f us a "
        "decision; CPUs asked for are more than there are at %.2f %% of devices asked for; shares "
        "over %u leave %.2f %% more than those up to %u fill",
        bound, outcome->bound, 100 * (outcome->fill - outcome->fgd) / (bound - outcome->fgd),
        outcome->fill_worst, outcome->bestfit, published, outcome->decision_us, outcome->cpus_out,
        1000 - SMALL_MILLI, outcome->holes, SMALL_MILLI);
    shown_print(&(struct shown){ name, outcome->fill, "%", goal, "FGD", outcome->fgd, note });
}

int main(int argc, char **argv)
{
    struct openb *openb;
    uint32_t seeds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 10;
    uint32_t percent = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 100;
    const char *only = argc > 4 ? argv[4] : NULL;
    const char *folder = argc > 1 ? argv[1] : "../shared/data/openb";
    double us = 0, decisions = 0;
    struct err err;

    if (!seeds || !percent) {
        fprintf(stderr, "openb_fill [FOLDER [SEEDS [PERCENT ARRIVED [LIST]]]]\n");
        return 2;
    }
    openb = calloc(1, sizeof(*openb));
    if (!openb || openb_read_nodes(openb, folder, &err) < 0) {
        fprintf(stderr, "openb_fill: the lists are not at hand: see docs/quality/openb_fill.md\n");
        free(openb);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct outcome outcome;

        if (only && !strstr(only, rows[i].list))
            continue;
        if (openb_read_pods(openb, folder, rows[i].list, &err) < 0) {
            fprintf(stderr, "openb_fill: %s\n", err.text);
            continue;
        }
        run_list(openb, seeds, percent, &outcome);
        us += outcome.decision_us * outcome.decisions;
        decisions += outcome.decisions;
        show_list(&rows[i], &outcome, percent);
        if (i == 0 && percent == 100)
            shown_print(
                &(struct shown){ "openb_fill", outcome.fill, "%", ">=96.0", "FGD", outcome.fgd,
                                 "default list at 100 % arrived; parameters chosen "
                                 "with default, cpu050, cpu235, cpu300, gpushare40, gpushare60, "
                                 "gpuspec20, gpuspec33, multigpu20, multigpu40 at seeds "
                                 "42-43, the rest kept apart" });
    }
    if (decisions > 0)
        shown_print(&(struct shown){ "openb_fill_decision", us / decisions, "us", "<=100", NULL, 0,
                                     "mean CPU time of an arrival: learning, draws, choice" });
    free(openb);
    return 0;
}
