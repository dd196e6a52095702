/* gavel.c - rows gavel_jct and gavel_makespan: mean completion time and makespan on the public
 * workloads of Gavel (OSDI'20), beside FIFO, FIFO by rate and an own LAS in the same run.
 *
 *   gavel jct|makespan FOLDER [SEEDS [single|shared|multi]]
 *
 * The parameters' default was chosen on seeds 0-2; rows named _check are of lists made by the
 * authors' recipe from other draws (docs/quality/gavel.md tells what was seen of them). */
#include "gavel_run.h"
#include "shown.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS_MAX 3u
#define LOADS 4u
#define CHECK_SEED 1000u
#define SIZES 4u

enum { FIFO, PERF, LAS, PEERS };

struct bench {
    struct gavel_rates rates;
    struct gavel_list lists[2][SEEDS_MAX]; /* single, multi */
    struct gavel_list checks[2][SEEDS_MAX];
    struct gavel_figures peers[2][LOADS][PEERS];
    bool has_peers[2][LOADS];
    uint32_t seeds;
};

struct row {
    const char *name;
    bool is_multi, is_shared;
    uint32_t loads;
    double jobs_per_h[LOADS], goal[LOADS], published[LOADS];
};

static const struct row rows[] = {
    { "single",
      false,
      false,
      4,
      { 4.0, 4.8, 5.2, 5.6 },
      { 15.6, 16.5, 17.4, 19.6 },
      { 16.82, 18.97, 22.02, 28.96 } },
    { "shared",
      false,
      true,
      4,
      { 4.0, 4.8, 5.2, 5.6 },
      { 15.5, 16.1, 16.7, 17.4 },
      { 16.96, 18.67, 19.14, 19.64 } },
    { "multi", true, false, 3, { 2.0, 2.4, 2.6 }, { 16.6, 19.2, 21.0 }, { 21.90, 30.03, 36.44 } },
};

static struct gavel_setup setup_of(const struct bench *bench, const struct gavel_list *list,
                                   enum gavel_policy policy, double jobs_per_h)
{
    return (struct gavel_setup){ .rates = &bench->rates,
                                 .list = list,
                                 .policy = policy,
                                 .params = assign_params_default(),
                                 .jobs_per_h = jobs_per_h,
                                 .jobs = GAVEL_JOBS_MAX,
                                 .from = 4000,
                                 .to = 5000 };
}

/* Means over the seeds; of p99 and max the worst. */
static int run_seeds(const struct bench *bench, const struct gavel_list *lists,
                     struct gavel_setup setup, struct gavel_figures *out)
{
    *out = (struct gavel_figures){ 0 };
    for (uint32_t s = 0; s < bench->seeds; s++) {
        struct gavel_figures one;
        int rc;

        setup.list = &lists[s];
        rc = gavel_run(&setup, &one);
        if (rc < 0)
            return rc;
        out->jct_mean_h += one.jct_mean_h / bench->seeds;
        out->switches_per_job += one.switches_per_job / bench->seeds;
        out->pairs_mean += one.pairs_mean / bench->seeds;
        out->round_us_mean += one.round_us_mean / bench->seeds;
        out->slow_p99 = fmax(out->slow_p99, one.slow_p99);
        out->slow_max = fmax(out->slow_max, one.slow_max);
        out->jct_max_h = fmax(out->jct_max_h, one.jct_max_h);
        out->unfinished += one.unfinished;
    }
    return 0;
}

static void describe(char *text, size_t size, const char *name, const struct gavel_figures *of)
{
    if (of->unfinished)
        snprintf(text, size, "%s: %u unfinished", name, of->unfinished);
    else
        snprintf(text, size, "%s %.2f h", name, of->jct_mean_h);
}

static void show_fairness(const char *name, const struct gavel_figures *mine,
                          const struct gavel_figures *las)
{
    char title[96], note[256];

    snprintf(title, sizeof(title), "%s_p99_slowdown", name);
    snprintf(note, sizeof(note),
             "JCT / alone on the best kind, worst seed; largest %.2f (LAS %.2f); switches a job "
             "%.1f (LAS %.1f)",
             mine->slow_max, las->slow_max, mine->switches_per_job, las->switches_per_job);
    shown_print(
        &(struct shown){ title, mine->slow_p99, "x", NULL, "own LAS", las->slow_p99, note });
}

/* The peers share nothing, so rows with and without sharing stand beside the same runs. */
static int run_peers(struct bench *bench, const struct row *row, uint32_t load)
{
    static const enum gavel_policy policies[PEERS] = { GAVEL_FIFO, GAVEL_FIFO_PERF, GAVEL_LAS };
    struct gavel_setup setup = setup_of(bench, NULL, GAVEL_FIFO, row->jobs_per_h[load]);
    int rc = 0;

    for (uint32_t p = 0; p < PEERS && rc == 0 && !bench->has_peers[row->is_multi][load]; p++) {
        setup.policy = policies[p];
        rc = run_seeds(bench, bench->lists[row->is_multi], setup,
                       &bench->peers[row->is_multi][load][p]);
    }
    bench->has_peers[row->is_multi][load] = rc == 0;
    return rc;
}

static int show_load(struct bench *bench, const struct row *row, uint32_t load)
{
    const struct gavel_figures *peers = bench->peers[row->is_multi][load], *las = &peers[LAS];
    struct gavel_figures mine;
    struct gavel_setup setup = setup_of(bench, NULL, GAVEL_MAINS, row->jobs_per_h[load]);
    char name[64], goal[32], note[400], fifo_text[48], perf_text[48];
    int rc;

    fprintf(stderr, "%s %.1f jobs/h\n", row->name, row->jobs_per_h[load]);
    rc = run_peers(bench, row, load);
    setup.is_shared = row->is_shared;
    rc = rc < 0 ? rc : run_seeds(bench, bench->lists[row->is_multi], setup, &mine);
    if (rc < 0)
        return rc;
    describe(fifo_text, sizeof(fifo_text), "FIFO", &peers[FIFO]);
    describe(perf_text, sizeof(perf_text), "FIFO by rate", &peers[PERF]);
    snprintf(name, sizeof(name), "gavel_jct_%s_%.1f", row->name, row->jobs_per_h[load]);
    snprintf(goal, sizeof(goal), "<=%.1f", row->goal[load]);
    snprintf(note, sizeof(note),
             "mean JCT of jobs 4000-4999, %u seeds, lengths not known; published Gavel LAS%s %.2f; "
             "%s; %s; longest %.0f h (LAS %.0f); %.1f pairs; decision %.0f us a round",
             bench->seeds, row->is_shared ? "+SS" : "", row->published[load], fifo_text, perf_text,
             mine.jct_max_h, las->jct_max_h, mine.pairs_mean, mine.round_us_mean);
    shown_print(&(struct shown){ name, mine.jct_mean_h, "h", goal,
                                 row->is_shared ? "own LAS without sharing" : "own LAS",
                                 las->jct_mean_h, note });
    show_fairness(name, &mine, las);
    if (row->is_multi) {
        snprintf(name, sizeof(name), "gavel_jct_%s_%.1f_las", row->name, row->jobs_per_h[load]);
        shown_print(&(struct shown){ name, mine.jct_mean_h, "h", "<=1x", "own LAS", las->jct_mean_h,
                                     "not above an own LAS in the same simulator" });
    }
    return 0;
}

/* What was not looked at when the default was chosen, and what moving costs. */
static int show_checks(const struct bench *bench, const struct row *row, uint32_t load)
{
    struct gavel_setup setup = setup_of(bench, NULL, GAVEL_LAS, row->jobs_per_h[load]);
    struct gavel_figures mine, las;
    char name[64];
    int rc = run_seeds(bench, bench->checks[row->is_multi], setup, &las);

    setup.policy = GAVEL_MAINS;
    setup.is_shared = row->is_shared;
    rc = rc < 0 ? rc : run_seeds(bench, bench->checks[row->is_multi], setup, &mine);
    if (rc < 0)
        return rc;
    snprintf(name, sizeof(name), "gavel_jct_%s_%.1f_check", row->name, row->jobs_per_h[load]);
    shown_print(&(struct shown){ name, mine.jct_mean_h, "h", NULL, "own LAS", las.jct_mean_h,
                                 "lists made by the published recipe, other draws" });
    show_fairness(name, &mine, &las);
    setup.switch_s = 60;
    rc = run_seeds(bench, bench->lists[row->is_multi], setup, &mine);
    setup.policy = GAVEL_LAS;
    setup.is_shared = false;
    rc = rc < 0 ? rc : run_seeds(bench, bench->lists[row->is_multi], setup, &las);
    if (rc < 0)
        return rc;
    snprintf(name, sizeof(name), "gavel_jct_%s_%.1f_60s", row->name, row->jobs_per_h[load]);
    shown_print(&(struct shown){
        name, mine.jct_mean_h, "h", NULL, "own LAS", las.jct_mean_h,
        "seeds 0-2 where a move or a start again loses 60 s; the LAS with the same hysteresis" });
    return 0;
}

static int run_jct(struct bench *bench, const char *only)
{
    int rc = 0;

    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        if (only && strcmp(only, rows[r].name) != 0)
            continue;
        for (uint32_t load = 0; load < rows[r].loads && rc == 0; load++)
            rc = show_load(bench, &rows[r], load);
        if (rc == 0)
            rc = show_checks(bench, &rows[r], rows[r].loads - 1);
    }
    return rc;
}

struct batch {
    double ratio, hours, bound, fifo_ratio, perf_ratio, check_ratio;
};

static int run_batch(const struct bench *bench, uint32_t seed, uint32_t jobs, struct batch *out)
{
    const struct gavel_list *list = &bench->lists[1][seed], *check = &bench->checks[1][seed];
    struct gavel_setup setup = setup_of(bench, list, GAVEL_BATCH, 0);
    struct gavel_figures mine, fifo, perf, other;
    int rc;

    setup.jobs = setup.to = jobs;
    setup.from = 0;
    rc = gavel_run(&setup, &mine);
    setup.list = check;
    rc = rc < 0 ? rc : gavel_run(&setup, &other);
    setup.list = list;
    setup.policy = GAVEL_FIFO;
    rc = rc < 0 ? rc : gavel_run(&setup, &fifo);
    setup.policy = GAVEL_FIFO_PERF;
    rc = rc < 0 ? rc : gavel_run(&setup, &perf);
    if (rc < 0)
        return rc;
    out->bound = gavel_makespan_bound(&bench->rates, list, jobs);
    out->hours = mine.makespan_h;
    out->ratio = mine.makespan_h / out->bound;
    out->fifo_ratio = fifo.makespan_h / out->bound;
    out->perf_ratio = perf.makespan_h / out->bound;
    out->check_ratio = other.makespan_h / gavel_makespan_bound(&bench->rates, check, jobs);
    return 0;
}

static int run_makespan(const struct bench *bench)
{
    static const uint32_t sizes[SIZES] = { 100, 300, 500, 700 };

    for (uint32_t n = 0; n < SIZES; n++) {
        struct batch worst = { 0 }, one;
        char name[64], note[400] = "";
        size_t len = 0;

        fprintf(stderr, "makespan of %u jobs\n", sizes[n]);
        for (uint32_t s = 0; s < bench->seeds; s++) {
            int rc = run_batch(bench, s, sizes[n], &one);

            if (rc < 0)
                return rc;
            worst.ratio = fmax(worst.ratio, one.ratio);
            worst.perf_ratio = fmax(worst.perf_ratio, one.perf_ratio);
            worst.fifo_ratio = fmax(worst.fifo_ratio, one.fifo_ratio);
            worst.check_ratio = fmax(worst.check_ratio, one.check_ratio);
            len += (size_t)snprintf(note + len, sizeof(note) - len, "seed %u: %.1f h, bound %.1f; ",
                                    s, one.hours, one.bound);
        }
        snprintf(note + len, sizeof(note) - len,
                 "worst seed's ratio; multi-GPU, lengths known; FIFO %.3f; made lists (check) %.3f",
                 worst.fifo_ratio, worst.check_ratio);
        snprintf(name, sizeof(name), "gavel_makespan_%u", sizes[n]);
        shown_print(&(struct shown){ name, worst.ratio, "x bound", "<=1.025", "FIFO by rate",
                                     worst.perf_ratio, note });
    }
    return 0;
}

static int load(struct bench *bench, const char *folder, struct err *err)
{
    int rc = gavel_read_rates(folder, &bench->rates, err);

    for (uint32_t s = 0; s < bench->seeds && rc == 0; s++)
        for (uint32_t v = 0; v < 2 && rc == 0; v++) {
            rc = gavel_read_list(folder, &bench->rates, v == 1, s, &bench->lists[v][s], err);
            if (rc == 0)
                gavel_make_list(&bench->rates, v == 1, CHECK_SEED + s, &bench->checks[v][s]);
        }
    return rc;
}

int main(int argc, char **argv)
{
    struct bench *bench;
    struct err err = { 0 };
    int rc;

    if (argc < 3 || (strcmp(argv[1], "jct") != 0 && strcmp(argv[1], "makespan") != 0)) {
        fprintf(stderr, "usage: gavel jct|makespan FOLDER [SEEDS [single|shared|multi]]\n");
        return 2;
    }
    bench = calloc(1, sizeof(*bench));
    if (!bench)
        return 1;
    bench->seeds = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : SEEDS_MAX;
    if (bench->seeds < 1 || bench->seeds > SEEDS_MAX)
        bench->seeds = SEEDS_MAX;
    rc = load(bench, argv[2], &err);
    if (rc == 0)
        rc = strcmp(argv[1], "jct") == 0 ? run_jct(bench, argc > 4 ? argv[4] : NULL)
                                         : run_makespan(bench);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.text[0] ? err.text : "out of memory");
    gavel_rates_fini(&bench->rates);
    free(bench);
    return rc == 0 || rc == -ENOENT ? 0 : 1;
}
