#include "sim/report.h"

double sim_group_utilisation(const struct sim_result *result, const struct sim_group *group)
{
    double unit = group->chip[0] ? 1000.0 : 1.0;
    double could = (double)group->capacity * unit * (double)result->end_ms;

    return could > 0 ? (double)group->held_ms / could : 0;
}

double sim_result_utilisation(const struct sim_report *report, const struct sim_result *result)
{
    bool devices = report->fleet->devices_count > 0;
    double could =
        devices ? (double)report->fleet->devices_count * 1000.0 : (double)report->fleet->cpus_count;
    __int128 held = 0;

    for (uint32_t i = 0; i < result->groups_count; i++)
        if ((result->groups[i].chip[0] != '\0') == devices)
            held += result->groups[i].held_ms;
    could *= (double)result->end_ms;
    return could > 0 ? (double)held / could : 0;
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
