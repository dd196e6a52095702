/* wind.c - how much of a site's power its own wind covers, hour by hour, when half of its work may
 * wait for 72 h.
 *
 *   wind FOLDER
 *
 * FOLDER has wind_solar_gb_fr_2020_30min.csv unpacked. Recipe: docs/quality/wind.md. */
#include "grid_data.h"
#include "sched/forecast.h"
#include "sched/shift.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MAX 10000u
#define DAY_SLOTS 24u
#define LEAD_SLOTS 72u  /* by so much a start may slip */
#define FIRST_SLOT 288u /* 2020-01-01: the series begins on 20 December */
#define END_SLOT (FIRST_SLOT + 366u * DAY_SLOTS)
#define LOAD_WATTS 1000000.0
#define JOBS_A_SLOT 20u /* deferrable jobs that come in each hour, an hour each */

struct wind {
    double watts[SLOTS_MAX]; /* scaled: mean of 2020 is twice the load */
    uint32_t count;
};

struct outcome {
    double matched, drawn; /* Wh */
    uint32_t missed;
    double most_watts;
};

static int read_wind(struct wind *wind, const char *folder)
{
    char path[512], line[256];
    double sum = 0, value = 0;
    uint32_t halves = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/wind_solar_gb_fr_2020_30min.csv", folder);
    file = fopen(path, "re");
    if (!file)
        return -errno;
    while (fgets(line, sizeof(line), file) && halves / 2 < SLOTS_MAX) {
        const char *comma = strchr(line, ',');

        if (!comma || strncmp(line, "20", 2) != 0)
            continue;
        if (comma[1] != ',')
            value = strtod(comma + 1, NULL);
        wind->watts[halves++ / 2] += value / 2;
    }
    wind->count = halves / 2;
    fclose(file);
    if (wind->count < END_SLOT + LEAD_SLOTS)
        return -EINVAL;
    for (uint32_t i = FIRST_SLOT; i < END_SLOT; i++)
        sum += wind->watts[i];
    for (uint32_t i = 0; i < wind->count; i++)
        wind->watts[i] *= 2 * LOAD_WATTS * (END_SLOT - FIRST_SLOT) / sum;
    return 0;
}

static void match(const struct wind *wind, const double *draw, struct outcome *outcome)
{
    for (uint32_t i = FIRST_SLOT; i < wind->count; i++) {
        outcome->matched += fmin(draw[i], wind->watts[i]);
        outcome->drawn += draw[i];
        outcome->most_watts = fmax(outcome->most_watts, draw[i]);
    }
}

/* The most there is: work without grain takes what wind the rigid half leaves, first due first, and
 * never else before it must. */
static void run_bound(const struct wind *wind, double cap_watts, struct outcome *outcome)
{
    double *draw = calloc(SLOTS_MAX, sizeof(*draw)), *left = calloc(SLOTS_MAX, sizeof(*left));
    uint32_t oldest = FIRST_SLOT;

    for (uint32_t slot = FIRST_SLOT; draw && left && slot < wind->count; slot++) {
        double room;

        if (slot < END_SLOT)
            draw[slot] = left[slot] = LOAD_WATTS / 2;
        room = fmax(0, fmin(wind->watts[slot], cap_watts) - draw[slot]);
        for (; oldest <= slot; oldest++) {
            double part = slot >= oldest + LEAD_SLOTS ? left[oldest] : fmin(room, left[oldest]);

            draw[slot] += part;
            left[oldest] -= part;
            room = fmax(0, room - part);
            if (left[oldest] > 0)
                break;
        }
    }
    match(wind, draw, outcome);
    free(draw);
    free(left);
}

/* The outlook of a job in this slot: later slots by the forecast, over the work that cannot wait.
 */
static uint32_t look(struct forecast *forecast, const struct grid_error *error,
                     const struct grid_series *series, uint32_t slot, bool is_given,
                     double *cost_out)
{
    double mean[LEAD_SLOTS], sd[LEAD_SLOTS], given[LEAD_SLOTS];

    forecast_observe(forecast, slot, series->values[slot], NULL);
    if (is_given)
        forecast_give(forecast, slot + 1, given,
                      grid_error_forecast(error, series, slot, LEAD_SLOTS, given));
    if (!forecast_fill(forecast, LEAD_SLOTS, mean, sd))
        return 1;
    for (uint32_t i = 0; i < LEAD_SLOTS; i++)
        cost_out[i + 1] = shift_unmatched_share(mean[i], isinf(sd[i]) ? mean[i] : sd[i],
                                                LOAD_WATTS / 2, LOAD_WATTS / 2 / JOBS_A_SLOT);
    return LEAD_SLOTS + 1;
}

/* Jobs wait in order of deadline; a slot starts those to whom it is worth it, up to the cap. */
static int run(const struct wind *wind, double error_sd, double cap_watts, struct outcome *outcome)
{
    struct forecast_params params = forecast_params_default();
    struct grid_series series = { .values = (double *)wind->watts, .count = wind->count };
    double job_watts = LOAD_WATTS / 2 / JOBS_A_SLOT, *draw = calloc(SLOTS_MAX, sizeof(*draw));
    uint32_t arrived = 0, started = 0; /* jobs: first come, first due */
    struct grid_error error = { 0 };
    struct forecast *forecast = NULL;
    double cost[LEAD_SLOTS + 1];
    int rc = draw ? forecast_create(&params, DAY_SLOTS, &forecast, NULL) : -ENOMEM;

    if (rc == 0)
        rc = grid_error_init(&error, wind->count, error_sd < 0 ? 0 : error_sd, 1);
    for (uint32_t slot = 0; rc == 0 && slot < wind->count; slot++) {
        uint32_t seen = look(forecast, &error, &series, slot, error_sd >= 0, cost);

        if (slot < FIRST_SLOT)
            continue;
        if (slot < END_SLOT) {
            arrived += JOBS_A_SLOT;
            draw[slot] = LOAD_WATTS / 2;
        }
        while (started < arrived) {
            uint32_t come = FIRST_SLOT + started / JOBS_A_SLOT;
            struct shift_outlook outlook = { slot * GRID_HOUR_MS, GRID_HOUR_MS, seen, cost, NULL };
            struct shift_job job = { .work_ms = GRID_HOUR_MS,
                                     .deadline_ms = (int64_t)(come + LEAD_SLOTS + 1) * GRID_HOUR_MS,
                                     .is_interruptible = true };

            cost[0] = shift_unmatched_share(wind->watts[slot], 0, draw[slot], job_watts);
            if (draw[slot] + job_watts > cap_watts + 1 ||
                !shift_decide(&job, &outlook, slot * GRID_HOUR_MS).is_run)
                break; /* the next ones have no less slack */
            outcome->missed += slot > come + LEAD_SLOTS;
            draw[slot] += job_watts;
            started++;
        }
    }
    if (rc == 0)
        match(wind, draw, outcome);
    outcome->missed += arrived - started;
    grid_error_fini(&error);
    forecast_destroy(forecast);
    free(draw);
    return rc;
}

static double percent(const struct outcome *outcome)
{
    return 100 * outcome->matched / outcome->drawn;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *note;
        double error_sd, cap;
        bool is_goal;
    } rows[] = {
        { "wind", "no forecast: history alone; machines for any draw", -1, 100, true },
        { "wind_cap_2", "no forecast; machines for twice the load", -1, 2, true },
        { "wind_cap_1.5", "no forecast; machines for 1.5 times the load", -1, 1.5, false },
        { "wind_cap_2_5", "forecast with 5 % error; machines for twice the load", 0.05, 2, true },
        { "wind_cap_2_20", "forecast with 20 % error; machines for twice the load", 0.2, 2, true },
    };
    struct wind *wind = calloc(1, sizeof(*wind));
    struct outcome flat = { 0 };
    double *draw = calloc(SLOTS_MAX, sizeof(*draw));

    if (argc != 2 || !wind || !draw) {
        fprintf(stderr, "usage: wind FOLDER\n");
        return 2;
    }
    if (read_wind(wind, argv[1]) < 0) {
        fprintf(stderr, "wind: skipped: no wind_solar_gb_fr_2020_30min.csv in %s\n", argv[1]);
        return 0;
    }
    for (uint32_t i = FIRST_SLOT; i < END_SLOT; i++)
        draw[i] = LOAD_WATTS;
    match(wind, draw, &flat);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct outcome outcome = { 0 }, bound = { 0 };
        char note[200];

        fprintf(stderr, "wind: %s\n", rows[i].name);
        if (run(wind, rows[i].error_sd, rows[i].cap * LOAD_WATTS, &outcome) < 0)
            return 1;
        run_bound(wind, rows[i].cap * LOAD_WATTS, &bound);
        snprintf(note, sizeof(note),
                 "%s; bound %.2f; %u deadlines missed; most drawn %.1f x the load", rows[i].note,
                 percent(&bound), outcome.missed, outcome.most_watts / LOAD_WATTS);
        grid_print_figure(
            rows[i].name, percent(&outcome), "% matched", rows[i].is_goal ? ">=95.6" : NULL,
            percent(&outcome) >= 95.6 && outcome.missed == 0, "unmanaged", percent(&flat), note);
    }
    free(wind);
    free(draw);
    return 0;
}
