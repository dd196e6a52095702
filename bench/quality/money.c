/* money.c - money saved by letting flexible work wait for cheap hours, and move to cheap sites when
 * that pays for its data, as a share of what an oracle saves.
 *
 *   money FOLDER [--jobs N] [--spatial-jobs N] [--years Y,Y]
 *
 * FOLDER has price_YEAR.csv unpacked. Recipe: docs/quality/money.md. */
#include "sites_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define YEARS 4u
#define ERRORS 3u
#define HOLES_MAX 0.1 /* a zone with more of its year missing is left out */

enum set_kind { SET_ML, SET_PEER, SET_WHOLE, SET_COUNT };
static const int years[YEARS] = { 2020, 2021, 2022, 2024 };
static const double error_sds[ERRORS] = { 0.05, 0.20, -1 };
static const char *const error_names[ERRORS] = { "5", "20", "none" };

struct options {
    const char *folder, *years;
    uint32_t jobs, spatial_jobs;
};

struct year_result {
    struct shift_set sums[SET_COUNT]; /* over the zones, each in per cent of its not waiting */
    double least[SET_COUNT];
    char least_zone[SET_COUNT][24];
    uint32_t zones, missed;
};

static void add_zone(struct year_result *result, const char *zone, const struct shift_set *sets)
{
    result->zones++;
    for (uint32_t k = 0; k < SET_COUNT; k++) {
        double share = shift_share(&sets[k]);

        result->sums[k].at_once += 1;
        result->sums[k].ours += sets[k].ours / sets[k].at_once;
        result->sums[k].oracle += sets[k].oracle / sets[k].at_once;
        result->missed += sets[k].missed;
        /* Where an oracle saves nothing worth naming, a share of it says nothing. */
        if (shift_room(&sets[k]) > 0.1 && share < result->least[k]) {
            result->least[k] = share;
            snprintf(result->least_zone[k], sizeof(result->least_zone[k]), "%s", zone);
        }
    }
}

static int run_year(const struct grid_table *table, const struct options *options,
                    struct year_result *results)
{
    struct grid_job *jobs = calloc(options->jobs, sizeof(*jobs));
    int rc = jobs ? 0 : -1;

    for (uint32_t z = 0; rc == 0 && z < table->count; z++) {
        const struct grid_series *series = &table->columns[z];

        if (series->holes > HOLES_MAX * series->count)
            continue;
        grid_draw_ml(jobs, options->jobs, GRID_SEMI_WEEKLY, series->first_ms,
                     series->first_ms + (int64_t)series->count * GRID_HOUR_MS,
                     grid_zone_offset_ms(series->zone), z + 1);
        for (uint32_t e = 0; rc == 0 && e < ERRORS; e++) {
            struct shift_set sets[SET_COUNT] = {
                [SET_ML] = { jobs, options->jobs, true, false, 0, 0, 0, 0 },
                [SET_PEER] = { jobs, options->jobs, true, true, 0, 0, 0, 0 },
                [SET_WHOLE] = { jobs, options->jobs, false, false, 0, 0, 0, 0 },
            };

            rc = shift_run(series, error_sds[e], z + 100, sets, SET_COUNT);
            add_zone(&results[e], series->zone, sets);
        }
    }
    free(jobs);
    return rc;
}

static void print_year(int year, const struct year_result *results)
{
    for (uint32_t e = 0; e < ERRORS; e++) {
        const struct year_result *result = &results[e];
        char name[64], note[400];

        snprintf(name, sizeof(name), "money_%d_%s", year, error_names[e]);
        snprintf(note, sizeof(note),
                 "%s; mean over %u zones, least %.1f (%s); oracle saves %.1f %% of cost; in one "
                 "piece %.1f, least %.1f (%s)",
                 year == 2020 ? "parameters looked at on this year" : "year kept aside",
                 result->zones, result->least[SET_ML], result->least_zone[SET_ML],
                 shift_room(&result->sums[SET_ML]), shift_share(&result->sums[SET_WHOLE]),
                 result->least[SET_WHOLE], result->least_zone[SET_WHOLE]);
        grid_print_figure(name, shift_share(&result->sums[SET_ML]), "% of oracle",
                          e == 0 ? ">=90" : NULL, shift_share(&result->sums[SET_ML]) >= 90,
                          error_sds[e] < 0 ? "7-day mean, replanned"
                                           : "forecast as given, replanned",
                          shift_share(&result->sums[SET_PEER]), note);
        if (e == 0) {
            snprintf(name, sizeof(name), "money_%d_least_zone_5", year);
            grid_print_figure(name, result->least[SET_ML], "% of oracle", ">=90",
                              result->least[SET_ML] >= 90, NULL, 0, result->least_zone[SET_ML]);
        }
    }
}

static int print_sites(const struct grid_table *table, int year, const struct options *options,
                       uint32_t *missed)
{
    for (uint32_t e = 0; e < ERRORS; e++) {
        struct sites_result result;
        char name[64], note[500];

        if (sites_run(table, error_sds[e], options->spatial_jobs, (uint64_t)year, &result) < 0)
            return -1;
        *missed += result.missed;
        snprintf(name, sizeof(name), "money_sites_%d_%s", year, error_names[e]);
        snprintf(note, sizeof(note),
                 "%s; %u sites, %u jobs, %u moved; USD: at once at home %.0f, wait at home %.0f, "
                 "ours %.0f, oracle %.0f",
                 year == 2020 ? "margins looked at on this year" : "year kept aside", result.sites,
                 result.jobs, result.moved, result.at_once, result.stay, result.ours,
                 result.oracle);
        grid_print_figure(name, sites_share(&result, result.ours), "% of oracle",
                          e == 0 ? ">=90" : NULL, sites_share(&result, result.ours) >= 90,
                          "waiting at home", sites_share(&result, result.stay), note);
        snprintf(name, sizeof(name), "money_moves_%d_%s", year, error_names[e]);
        snprintf(note, sizeof(note),
                 "what all moves of the home site that gained least saved, against the same jobs "
                 "staying; all: %.0f USD saved, %u of %u moves lost, together %.2f USD, worst %.2f",
                 result.moved_gain, result.moves_lost, result.moved, result.lost, result.worst);
        grid_print_figure(name, result.least_home_gain, "USD", ">=0", result.least_home_gain >= 0,
                          NULL, 0, note);
    }
    return 0;
}

static int read_options(int argc, char **argv, struct options *options)
{
    for (int i = 2; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--jobs"))
            options->jobs = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--spatial-jobs"))
            options->spatial_jobs = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--years"))
            options->years = argv[i + 1];
        else
            return -1;
    }
    return argc >= 2 ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct options options = { argc > 1 ? argv[1] : NULL, "2020,2021,2022,2024", 300, 900 };
    uint32_t missed = 0;

    if (read_options(argc, argv, &options) < 0) {
        fprintf(stderr, "usage: money FOLDER [--jobs N] [--spatial-jobs N] [--years Y,Y]\n");
        return 2;
    }
    for (uint32_t y = 0; y < YEARS; y++) {
        struct year_result results[ERRORS] = { 0 };
        struct grid_table table;
        char text[16];
        struct err err;

        snprintf(text, sizeof(text), "%d", years[y]);
        if (!strstr(options.years, text))
            continue;
        if (grid_table_read(&table, options.folder, "price", &years[y], 1, "", &err) < 0) {
            fprintf(stderr, "money: skipped: %s\n", err.text);
            return 0;
        }
        fprintf(stderr, "money: %d\n", years[y]);
        for (uint32_t e = 0; e < ERRORS; e++)
            for (uint32_t k = 0; k < SET_COUNT; k++)
                results[e].least[k] = INFINITY;
        if (options.jobs) {
            if (run_year(&table, &options, results) < 0)
                return 1;
            print_year(years[y], results);
            missed += results[0].missed + results[1].missed + results[2].missed;
        }
        if (options.spatial_jobs && print_sites(&table, years[y], &options, &missed) < 0)
            return 1;
        grid_table_fini(&table);
    }
    grid_print_figure("money_missed", missed, "deadlines", "<=0", missed == 0, NULL, 0,
                      "over all zones, years, errors and sets");
    return 0;
}
