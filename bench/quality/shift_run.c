#include "shift_run.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct running {
    struct grid_job job;
    int64_t left_ms;
    bool is_running;
};

static double series_sum(const struct grid_series *series, int64_t from_ms, int64_t ms)
{
    double sum = 0;

    while (ms > 0) {
        int64_t hour = (from_ms - series->first_ms) / GRID_HOUR_MS;
        int64_t part = series->first_ms + (hour + 1) * GRID_HOUR_MS - from_ms;

        if (part > ms)
            part = ms;
        sum += series->values[hour] * (double)part / (double)GRID_HOUR_MS;
        from_ms += part;
        ms -= part;
    }
    return sum;
}

/* The best that could be done, knowing the series: by the sure plan. */
static double oracle_sum(const struct grid_series *series, const struct grid_job *job,
                         bool is_interruptible)
{
    int64_t hour = (job->submit_ms - series->first_ms) / GRID_HOUR_MS;
    struct shift_outlook outlook = { series->first_ms + hour * GRID_HOUR_MS, GRID_HOUR_MS, 0,
                                     series->values + hour, NULL };
    struct shift_job ask = { .work_ms = job->work_ms,
                             .deadline_ms = job->deadline_ms,
                             .nominal_ms = job->nominal_ms,
                             .is_interruptible = is_interruptible };
    struct shift_plan plan;
    struct err err;

    outlook.count =
        (uint32_t)((job->deadline_ms - outlook.from_ms + GRID_HOUR_MS - 1) / GRID_HOUR_MS);
    if (shift_plan(&ask, &outlook, job->submit_ms, &plan, NULL, &err) < 0)
        return NAN;
    return plan.cost * (double)job->work_ms / (double)GRID_HOUR_MS;
}

/* The peer's idea of the hours ahead. */
static void peer_outlook(const struct grid_series *series, uint32_t at, const double *given,
                         uint32_t given_count, double *cost)
{
    double now = 0, fade = 1;

    for (uint32_t h = 0; h <= GRID_LEADS; h++) {
        uint32_t back = (h + 23) / 24 * 24, days = 0;
        double sum = 0;

        for (uint32_t d = h ? 0 : 1; d < (h ? 7u : 8u); d++) {
            if (at + h < back + d * 24)
                break;
            sum += series->values[at + h - back - d * 24];
            days++;
        }
        sum = days ? sum / days : series->values[at];
        if (!h)
            now = series->values[at] - sum;
        else
            fade *= 0.95;
        cost[h] = !h ? series->values[at] : h <= given_count ? given[h - 1] : sum + fade * now;
    }
}

struct crowd { /* the jobs of a set that are there now */
    struct running *active;
    uint32_t count, next;
};

struct view {
    double cost[GRID_LEADS + 1], sd[GRID_LEADS + 1], peer_cost[GRID_LEADS + 1];
    uint32_t seen, peer_seen;
};

static void look(struct forecast *forecast, const struct grid_error *error, bool is_given,
                 const struct grid_series *series, uint32_t hour, struct view *view)
{
    double given[GRID_LEADS];
    uint32_t given_count = 0;

    if (is_given) {
        given_count = grid_error_forecast(error, series, hour, GRID_LEADS, given);
        forecast_give(forecast, series->first_ms / GRID_HOUR_MS + hour + 1, given, given_count);
    }
    view->cost[0] = series->values[hour];
    view->sd[0] = 0;
    view->seen =
        forecast_fill(forecast, GRID_LEADS, view->cost + 1, view->sd + 1) ? GRID_LEADS + 1 : 1;
    peer_outlook(series, hour, given, given_count, view->peer_cost);
    view->peer_seen = GRID_LEADS + 1;
}

static void step_set(struct shift_set *set, struct crowd *crowd, const struct grid_series *series,
                     const struct view *view, int64_t now_ms)
{
    struct shift_outlook outlook = { now_ms - (now_ms - series->first_ms) % GRID_HOUR_MS,
                                     GRID_HOUR_MS, view->seen, view->cost, view->sd };
    double value = series_sum(series, now_ms, GRID_HALF_MS);

    if (set->is_peer)
        outlook = (struct shift_outlook){ outlook.from_ms, GRID_HOUR_MS, view->peer_seen,
                                          view->peer_cost, NULL };
    for (; crowd->next < set->jobs_count && set->jobs[crowd->next].submit_ms <= now_ms;
         crowd->next++) {
        const struct grid_job *job = &set->jobs[crowd->next];

        crowd->active[crowd->count++] = (struct running){ *job, job->work_ms, false };
        set->at_once += series_sum(series, job->nominal_ms, job->work_ms);
        set->oracle += oracle_sum(series, job, set->is_interruptible);
    }
    for (uint32_t i = 0; i < crowd->count;) {
        struct running *one = &crowd->active[i];
        struct shift_job ask = { .work_ms = one->left_ms,
                                 .deadline_ms = one->job.deadline_ms,
                                 .nominal_ms = one->job.nominal_ms,
                                 .is_interruptible = set->is_interruptible,
                                 .is_running = one->is_running };

        one->is_running = shift_decide(&ask, &outlook, now_ms).is_run;
        if (one->is_running) {
            set->ours += value;
            one->left_ms -= GRID_HALF_MS;
        }
        if (one->left_ms > 0) {
            i++;
            continue;
        }
        set->missed += now_ms + GRID_HALF_MS > one->job.deadline_ms;
        *one = crowd->active[--crowd->count];
    }
}

int shift_run(const struct grid_series *series, double error_sd, uint64_t error_seed,
              struct shift_set *sets, uint32_t sets_count)
{
    struct forecast_params params = forecast_params_default();
    struct crowd crowds[SHIFT_SETS_MAX] = { 0 };
    struct grid_error error = { 0 };
    struct forecast *forecast = NULL;
    struct view view;
    int rc = forecast_create(&params, 24, &forecast, NULL);

    if (rc == 0)
        rc = grid_error_init(&error, series->count, error_sd < 0 ? 0 : error_sd, error_seed);
    for (uint32_t i = 0; rc == 0 && i < sets_count; i++) {
        crowds[i].active = calloc(sets[i].jobs_count + 1, sizeof(struct running));
        if (!crowds[i].active)
            rc = -ENOMEM;
    }
    for (uint32_t half = 0; rc == 0 && half < 2 * series->count; half++) {
        if (half % 2 == 0) {
            rc = forecast_observe(forecast, series->first_ms / GRID_HOUR_MS + half / 2,
                                  series->values[half / 2], NULL);
            look(forecast, &error, error_sd >= 0, series, half / 2, &view);
        }
        for (uint32_t i = 0; i < sets_count; i++)
            step_set(&sets[i], &crowds[i], series, &view,
                     series->first_ms + (int64_t)half * GRID_HALF_MS);
    }
    for (uint32_t i = 0; i < sets_count; i++) {
        sets[i].missed += crowds[i].count;
        free(crowds[i].active);
    }
    grid_error_fini(&error);
    forecast_destroy(forecast);
    return rc;
}

double shift_share(const struct shift_set *set)
{
    double room = set->at_once - set->oracle;

    return room > 1e-9 * fabs(set->at_once) ? 100 * (set->at_once - set->ours) / room : NAN;
}

double shift_room(const struct shift_set *set)
{
    return 100 * (set->at_once - set->oracle) / set->at_once;
}
