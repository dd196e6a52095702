/* carbon.c - grams saved by letting flexible work wait, as a share of what an oracle saves.
 *
 *   carbon FOLDER [--jobs N] [--seeds N] [--zone ZONE,ZONE] [--write FOLDER]
 *
 * --write: the interruptible semi-weekly jobs of seed 1 and what a kWh emits, each zone and year,
 * as `mains sim` reads them, and one line of what their fleet needs to know; nothing is run. FOLDER
 * has carbon_2021.csv and carbon_2022.csv unpacked. Recipe: docs/quality/carbon.md. */
#include "shift_run.h"

#include "model/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define YEARS 2u
#define ERRORS 3u
#define NIGHTS_MAX 400u
#define SEEDS_MAX 20u

enum set_kind {
    SET_ML,       /* interruptible, semi-weekly */
    SET_ML_PEER,  /* the same, by simple replanning */
    SET_WORKDAY,  /* interruptible, next workday */
    SET_WHOLE,    /* in one piece, semi-weekly */
    SET_NIGHTLY2, /* +- 2 h */
    SET_NIGHTLY8,
    SET_COUNT
};
static const char *const set_names[SET_COUNT] = { "ml",       "peer",       "ml_next_workday",
                                                  "ml_whole", "nightly_2h", "nightly_8h" };
static const int years[YEARS] = { 2021, 2022 };
static const double error_sds[ERRORS] = { 0.05, 0.20, -1 };
static const char *const error_names[ERRORS] = { "5", "20", "none" };

struct zone_result {
    double share[ERRORS][SET_COUNT][YEARS];
    double room[SET_COUNT][YEARS];
};

static const struct {
    const char *zone;
    double goal[ERRORS]; /* 0 = none */
} goals[] = {
    { "DE-LU", { 97, 88, 65 } }, { "GB", { 97, 88, 65 } },        { "US-CAL-CISO", { 97, 92, 90 } },
    { "CA-ON", { 97, 0, 0 } },   { "US-TEX-ERCO", { 97, 0, 0 } }, { "AU-NSW", { 0, 85, 0 } },
};

struct options {
    const char *folder, *zone, *write;
    uint32_t jobs, seeds;
};

static int run_zone(const struct grid_series *series, const struct options *options, uint32_t year,
                    struct zone_result *result, uint32_t *missed)
{
    struct grid_job *ml = calloc(options->jobs, sizeof(*ml));
    struct grid_job *workday = calloc(options->jobs, sizeof(*workday));
    struct grid_job nights[2][NIGHTS_MAX];
    int64_t from_ms = series->first_ms, to_ms = from_ms + (int64_t)series->count * GRID_HOUR_MS;
    int64_t offset_ms = grid_zone_offset_ms(series->zone);
    uint32_t nights_count[2];
    int rc = ml && workday ? 0 : -1;

    for (uint32_t k = 0; k < 2; k++)
        nights_count[k] = grid_draw_nightly(nights[k], NIGHTS_MAX, (k ? 8 : 2) * GRID_HOUR_MS,
                                            from_ms, to_ms, offset_ms);
    for (uint32_t e = 0; rc == 0 && e < ERRORS; e++) {
        struct shift_set totals[SET_COUNT] = { 0 };
        uint32_t seeds = error_sds[e] < 0 ? 1 : options->seeds;

        for (uint32_t seed = 1; rc == 0 && seed <= seeds; seed++) {
            struct shift_set sets[SET_COUNT] = {
                [SET_ML] = { ml, options->jobs, true, false, 0, 0, 0, 0 },
                [SET_ML_PEER] = { ml, options->jobs, true, true, 0, 0, 0, 0 },
                [SET_WORKDAY] = { workday, options->jobs, true, false, 0, 0, 0, 0 },
                [SET_WHOLE] = { ml, options->jobs, false, false, 0, 0, 0, 0 },
                [SET_NIGHTLY2] = { nights[0], nights_count[0], false, false, 0, 0, 0, 0 },
                [SET_NIGHTLY8] = { nights[1], nights_count[1], false, false, 0, 0, 0, 0 },
            };

            grid_draw_ml(ml, options->jobs, GRID_SEMI_WEEKLY, from_ms, to_ms, offset_ms, seed);
            grid_draw_ml(workday, options->jobs, GRID_NEXT_WORKDAY, from_ms, to_ms, offset_ms,
                         seed);
            rc = shift_run(series, error_sds[e], seed + 100, sets, SET_COUNT);
            for (uint32_t k = 0; k < SET_COUNT; k++) {
                totals[k].at_once += sets[k].at_once;
                totals[k].ours += sets[k].ours;
                totals[k].oracle += sets[k].oracle;
                *missed += sets[k].missed;
            }
        }
        for (uint32_t k = 0; k < SET_COUNT; k++) {
            result->share[e][k][year] = shift_share(&totals[k]);
            result->room[k][year] = shift_room(&totals[k]);
        }
    }
    free(ml);
    free(workday);
    return rc;
}

/* The jobs begin at the first submit, to the second. */
static int write_jobs(const struct options *options, const char *stem,
                      const struct grid_series *series, int64_t *first_ms_out)
{
    struct grid_job *jobs = calloc(options->jobs, sizeof(*jobs));
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s.jobs.csv", options->write, stem);
    file = fopen(path, "w");
    if (!file || !jobs) {
        if (file)
            fclose(file);
        free(jobs);
        return -1;
    }
    grid_draw_ml(jobs, options->jobs, GRID_SEMI_WEEKLY, series->first_ms,
                 series->first_ms + (int64_t)series->count * GRID_HOUR_MS,
                 grid_zone_offset_ms(series->zone), 1);
    *first_ms_out = jobs[0].submit_ms;
    fprintf(file, "submit_s,run_s,deadline_s,tasks,cpus,devices\n");
    for (uint32_t i = 0; i < options->jobs; i++)
        fprintf(file, "%lld,%lld,%lld,1,1,1\n", (long long)jobs[i].submit_ms / 1000,
                (long long)jobs[i].work_ms / 1000, (long long)jobs[i].deadline_ms / 1000);
    free(jobs);
    return fclose(file);
}

static int write_zone(const struct options *options, const struct grid_series *series, int year)
{
    char path[512], stem[64], time[40];
    int64_t first_ms = 0;
    FILE *file;

    snprintf(stem, sizeof(stem), "%s_%d", series->zone, year);
    snprintf(path, sizeof(path), "%s/%s.csv", options->write, stem);
    file = fopen(path, "w");
    if (!file || write_jobs(options, stem, series, &first_ms) < 0) {
        if (file)
            fclose(file);
        fprintf(stderr, "carbon: %s cannot be written\n", path);
        return -1;
    }
    fprintf(file, "time,carbon\n");
    for (uint32_t i = 0; i < series->count; i++) {
        units_print_time(series->first_ms + (int64_t)i * GRID_HOUR_MS, time, sizeof(time));
        fprintf(file, "%s,%.3f\n", time, series->values[i]);
    }
    units_print_time(first_ms, time, sizeof(time));
    printf("%s %s\n", stem, time);
    return fclose(file);
}

static double goal_of(const char *zone, uint32_t e)
{
    for (size_t i = 0; i < sizeof(goals) / sizeof(goals[0]); i++)
        if (!strcmp(goals[i].zone, zone))
            return goals[i].goal[e];
    return 0;
}

static void print_zone(const char *zone, const struct zone_result *result)
{
    for (uint32_t e = 0; e < ERRORS; e++) {
        const double(*share)[YEARS] = result->share[e];
        double value = fmin(share[SET_ML][0], share[SET_ML][1]), goal = goal_of(zone, e);
        double peer = fmin(share[SET_ML_PEER][0], share[SET_ML_PEER][1]);
        char name[64], limit[16], note[400];

        snprintf(name, sizeof(name), "carbon_%s_%s", zone, error_names[e]);
        snprintf(limit, sizeof(limit), ">=%g", goal);
        snprintf(note, sizeof(note),
                 "lower of 2021 and 2022 (kept aside): %.1f, %.1f; oracle saves %.1f, %.1f %%; "
                 "next workday %.1f, %.1f; in one piece %.1f, %.1f; nightly 2 h %.1f, %.1f, 8 h "
                 "%.1f, %.1f",
                 share[SET_ML][0], share[SET_ML][1], result->room[SET_ML][0],
                 result->room[SET_ML][1], share[SET_WORKDAY][0], share[SET_WORKDAY][1],
                 share[SET_WHOLE][0], share[SET_WHOLE][1], share[SET_NIGHTLY2][0],
                 share[SET_NIGHTLY2][1], share[SET_NIGHTLY8][0], share[SET_NIGHTLY8][1]);
        grid_print_figure(name, value, "% of oracle", goal > 0 ? limit : NULL, value >= goal,
                          error_sds[e] < 0 ? "7-day mean, replanned"
                                           : "forecast as given, replanned",
                          peer, note);
    }
}

/* The least share over all zones and sets: below zero, waiting did harm. */
static void print_worst(const struct zone_result *results, const struct grid_table *table,
                        const char *only)
{
    for (uint32_t k = 0; k < SET_COUNT; k++) {
        double least = INFINITY;
        char name[64], note[200], where[80] = "";

        if (k == SET_ML_PEER)
            continue;
        for (uint32_t i = 0; i < table->count * ERRORS * YEARS; i++) {
            uint32_t z = i / (ERRORS * YEARS), e = i / YEARS % ERRORS, y = i % YEARS;
            double share = results[z].share[e][k][y];

            if ((only && !strstr(only, table->columns[z].zone)) || !(share < least))
                continue;
            least = share;
            snprintf(where, sizeof(where), "%s %d, error %s", table->columns[z].zone, years[y],
                     error_names[e]);
        }
        snprintf(name, sizeof(name), "carbon_least_%s", set_names[k]);
        snprintf(note, sizeof(note), "never worse than not waiting, in any zone; least: %s", where);
        grid_print_figure(name, least, "% of oracle", ">=0", least >= 0, NULL, 0, note);
    }
}

static int read_options(int argc, char **argv, struct options *options)
{
    for (int i = 2; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--jobs"))
            options->jobs = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--seeds"))
            options->seeds = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--zone"))
            options->zone = argv[i + 1];
        else if (!strcmp(argv[i], "--write"))
            options->write = argv[i + 1];
        else
            return -1;
    }
    return argc >= 2 && options->jobs && options->seeds && options->seeds <= SEEDS_MAX ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct options options = { argc > 1 ? argv[1] : NULL, NULL, NULL, 1200, 1 };
    struct zone_result *results = calloc(GRID_COLUMNS_MAX, sizeof(*results));
    struct grid_table tables[YEARS];
    uint32_t missed = 0;
    struct err err;

    if (!results || read_options(argc, argv, &options) < 0) {
        fprintf(stderr, "usage: carbon FOLDER [--jobs N] [--seeds N] [--zone ZONE,ZONE]\n");
        return 2;
    }
    for (uint32_t y = 0; y < YEARS; y++)
        if (grid_table_read(&tables[y], options.folder, "carbon", &years[y], 1, ".lca", &err) < 0) {
            fprintf(stderr, "carbon: skipped: %s\n", err.text);
            return 0;
        }
    for (uint32_t z = 0; z < tables[0].count; z++) {
        const char *zone = tables[0].columns[z].zone;

        if (options.zone && !strstr(options.zone, zone))
            continue;
        if (options.write) {
            for (uint32_t y = 0; y < YEARS; y++)
                if (write_zone(&options, &tables[y].columns[z], years[y]) < 0)
                    return 1;
            continue;
        }
        fprintf(stderr, "carbon: %s\n", zone);
        for (uint32_t y = 0; y < YEARS; y++)
            if (run_zone(&tables[y].columns[z], &options, y, &results[z], &missed) < 0)
                return 1;
        print_zone(zone, &results[z]);
    }
    if (!options.write) {
        print_worst(results, &tables[0], options.zone);
        grid_print_figure("carbon_missed", missed, "deadlines", "<=0", missed == 0, NULL, 0,
                          "over all zones, years, errors and sets");
    }
    for (uint32_t y = 0; y < YEARS; y++)
        grid_table_fini(&tables[y]);
    free(results);
    return 0;
}
