#include "sim/report.h"

#include <string.h>

double sim_group_utilisation(const struct sim_result *result, const struct sim_group *group)
{
    double unit = group->chip[0] ? 1000.0 : 1.0;
    double could = (double)group->capacity * unit * (double)result->end_ms;

    return could > 0 ? (double)group->held_ms / could : 0;
}

uint64_t sim_result_capacity(const struct sim_result *result, bool devices)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < result->groups_count; i++)
        if ((result->groups[i].chip[0] != '\0') == devices)
            sum += result->groups[i].capacity;
    return sum;
}

double sim_result_room(const struct sim_result *result, bool devices)
{
    return (double)sim_result_capacity(result, devices) * (devices ? 1000 : 1);
}

uint32_t sim_result_group(const struct sim_result *result, uint32_t site, const char *chip)
{
    for (uint32_t i = 0; i < result->groups_count; i++)
        if (result->groups[i].site == site && strcmp(result->groups[i].chip, chip) == 0)
            return i;
    return UINT32_MAX;
}

double sim_result_utilisation(const struct sim_report *report, const struct sim_result *result)
{
    bool devices = report->fleet->devices_count > 0;
    double could = sim_result_room(result, devices);
    __int128 held = 0;

    for (uint32_t i = 0; i < result->groups_count; i++)
        if ((result->groups[i].chip[0] != '\0') == devices)
            held += result->groups[i].held_ms;
    could *= (double)result->end_ms;
    return could > 0 ? (double)held / could : 0;
}

double sim_result_held(const struct sim_result *result)
{
    double there = sim_result_room(result, true);

    return there > 0 ? (double)result->held_milli / there : -1;
}

int64_t sim_load_span_ms(const struct sim_load *load)
{
    return load->jobs_count ? load->jobs[load->jobs_count - 1].submit_ms : 0;
}

/* Whole buckets until the last submit. */
static uint32_t arrival_buckets(const struct sim_report *report, const struct sim_result *result)
{
    int64_t span_ms = MIN(sim_load_span_ms(report->load), result->end_ms);

    return (uint32_t)MIN(span_ms / result->series.width_ms, result->series.buckets);
}

static double arrivals_share(const struct sim_report *report, const struct sim_result *result,
                             uint32_t series, double could)
{
    uint32_t buckets = arrival_buckets(report, result);
    __int128 held = 0;

    for (uint32_t b = 0; b < buckets; b++)
        held += result->series.list[series].sums[b];
    could *= (double)buckets * (double)result->series.width_ms;
    return could > 0 ? (double)held / could : -1;
}

double sim_result_utilisation_arrivals(const struct sim_report *report,
                                       const struct sim_result *result)
{
    bool devices = report->fleet->devices_count > 0;

    return arrivals_share(report, result, devices ? SIM_SERIES_DEVICES : SIM_SERIES_CPUS,
                          sim_result_room(result, devices));
}

double sim_group_utilisation_arrivals(const struct sim_report *report,
                                      const struct sim_result *result, uint32_t group)
{
    const struct sim_group *of = &result->groups[group];

    return arrivals_share(report, result, sim_series_of_group(group),
                          (double)of->capacity * (of->chip[0] ? 1000 : 1));
}

bool sim_report_has_tail(const struct sim_report *report)
{
    int64_t span_ms = sim_load_span_ms(report->load);

    for (uint32_t i = 0; i < report->results_count; i++)
        if (arrival_buckets(report, &report->results[i]) >= 2 && span_ms >= 3600000 &&
            span_ms < report->results[i].end_ms / 20 * 19)
            return true;
    return false;
}

double sim_result_reason_share(const struct sim_result *result, uint32_t reason)
{
    __int128 sum = 0;

    for (uint32_t i = 0; i < result->reasons_count; i++)
        sum += result->reasons[i].wait_ms;
    return sum ? (double)result->reasons[reason].wait_ms / (double)sum : 0;
}

double sim_result_goodput(const struct sim_result *result)
{
    const struct sim_goodput *sums =
        result->devices.useful || result->devices.lost ? &result->devices : &result->cpus;
    __int128 held = sums->useful + sums->lost + sums->overhead;

    return held ? (double)sums->useful / (double)held : -1;
}

double sim_result_ettr(const struct sim_result *result)
{
    return result->job_span ? (double)result->job_run / (double)result->job_span : -1;
}
