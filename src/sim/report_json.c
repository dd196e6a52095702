#include "sim/report.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static const char *const class_names[CLASS_COUNT] = { "low", "normal", "high", "urgent" };

/* Shares with six decimals: enough to compare, and the same text everywhere. */
static json_t *share(double value)
{
    return value < 0 ? json_null() : json_real(round(value * 1e6) / 1e6);
}

static json_t *whole(__int128 value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static void set_number(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *spread_json(const struct sim_spread *spread)
{
    json_t *object = json_object();

    set_number(object, "jobs", spread->count);
    set_number(object, "mean_ms", (uint64_t)spread->mean_ms);
    set_number(object, "p50_ms", (uint64_t)spread->p50_ms);
    set_number(object, "p90_ms", (uint64_t)spread->p90_ms);
    set_number(object, "p99_ms", (uint64_t)spread->p99_ms);
    set_number(object, "max_ms", (uint64_t)spread->most_ms);
    return object;
}

static json_t *waits_json(const struct sim_result *result)
{
    json_t *object = json_object();

    json_object_set_new(object, "all", spread_json(&result->wait_all));
    for (uint32_t i = 0; i < CLASS_COUNT; i++)
        if (result->wait[i].count)
            json_object_set_new(object, class_names[i], spread_json(&result->wait[i]));
    return object;
}

static json_t *tenants_json(const struct sim_result *result)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < result->tenants_count; i++) {
        const struct sim_tenant *tenant = &result->tenants[i];
        json_t *object = json_object();

        json_object_set_new(object, "name", json_string(tenant->name));
        set_number(object, "jobs", tenant->jobs);
        set_number(object, "ended", tenant->ended);
        json_object_set_new(object, "wait_ms", whole(tenant->wait_ms));
        json_object_set_new(object, "delay_ms", whole(tenant->delay_ms));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *jobs_json(const struct sim_result *result)
{
    json_t *object = json_object();

    set_number(object, "submitted", result->submitted);
    set_number(object, "refused", result->refused);
    set_number(object, "done", result->done);
    set_number(object, "failed", result->failed);
    set_number(object, "cancelled", result->cancelled);
    set_number(object, "never_started", result->never_started);
    set_number(object, "cut_off", result->cut_off);
    set_number(object, "attempts", result->attempts);
    return object;
}

static json_t *faults_json(const struct sim_result *result)
{
    json_t *object = json_object();

    set_number(object, "node_failures", result->node_failures);
    set_number(object, "chip_failures", result->chip_failures);
    set_number(object, "link_failures", result->link_failures);
    set_number(object, "site_failures", result->site_failures);
    set_number(object, "windows", result->windows);
    set_number(object, "restarts", result->restarts);
    set_number(object, "made_way", result->yields);
    if (result->suspends)
        set_number(object, "suspended", result->suspends);
    json_object_set_new(object, "goodput", share(sim_result_goodput(result)));
    json_object_set_new(object, "ettr_restarted_jobs", share(sim_result_ettr(result)));
    json_object_set_new(object, "device_useful_ms", whole(result->devices.useful / 1000));
    json_object_set_new(object, "device_lost_ms", whole(result->devices.lost / 1000));
    json_object_set_new(object, "device_overhead_ms", whole(result->devices.overhead / 1000));
    json_object_set_new(object, "cpu_useful_ms", whole(result->cpus.useful));
    json_object_set_new(object, "cpu_lost_ms", whole(result->cpus.lost));
    json_object_set_new(object, "cpu_overhead_ms", whole(result->cpus.overhead));
    return object;
}

/* Means over the buckets, with three decimals. */
static json_t *means_json(const struct sim_result *result, uint32_t series, double scale)
{
    json_t *list = json_array();

    for (uint32_t b = 0; b < result->series.buckets; b++)
        json_array_append_new(
            list, json_real(round(sim_series_mean(&result->series, series, b, result->end_ms) /
                                  scale * 1000) /
                            1000));
    return list;
}

static json_t *sites_json(const struct sim_report *report, const struct sim_result *result)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < result->sites_count; i++) {
        const struct sim_site_sums *site = &result->sites[i];
        json_t *object = json_object(), *groups = json_array();

        json_object_set_new(object, "site", json_string(report->fleet->sites[i].name));
        set_number(object, "attempts", site->attempts);
        set_number(object, "failures", site->failures);
        set_number(object, "energy_mj", (uint64_t)site->energy_mj);
        set_number(object, "carbon_ug", (uint64_t)site->carbon_ug);
        set_number(object, "price_micro", (uint64_t)site->price_micro);
        for (uint32_t g = 0; g < result->groups_count; g++) {
            const struct sim_group *group = &result->groups[g];
            json_t *row;

            if (group->site != i)
                continue;
            row = json_object();
            json_object_set_new(row, "chip",
                                group->chip[0] ? json_string(group->chip) : json_string("cpu"));
            set_number(row, "capacity", group->capacity);
            set_number(row, "attempts", group->attempts);
            json_object_set_new(row, "held_ms",
                                whole(group->chip[0] ? group->held_ms / 1000 : group->held_ms));
            json_object_set_new(row, "utilisation", share(sim_group_utilisation(result, group)));
            json_object_set_new(
                row, "held", means_json(result, sim_series_of_group(g), group->chip[0] ? 1000 : 1));
            json_array_append_new(groups, row);
        }
        json_object_set_new(object, "watts",
                            means_json(result, sim_series_of_site(result, i), 1000));
        json_object_set_new(object, "price_micro_per_h",
                            means_json(result, sim_series_of_site_money(result, i), 1));
        json_object_set_new(object, "carbon_mg_per_h",
                            means_json(result, sim_series_of_site_carbon(result, i), 1000));
        json_object_set_new(object, "groups", groups);
        json_array_append_new(list, object);
    }
    return list;
}

/* By class, the mean wait of those submitted in each bucket; null where none was. */
static json_t *wait_series_json(const struct sim_result *result)
{
    json_t *object = json_object();

    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        json_t *list;

        if (!result->wait[c].count)
            continue;
        list = json_array();
        for (uint32_t b = 0; b < result->series.buckets; b++)
            json_array_append_new(
                list, result->wait_counts[b][c]
                          ? json_integer(result->wait_sums[b][c] / result->wait_counts[b][c])
                          : json_null());
        json_object_set_new(object, class_names[c], list);
    }
    return object;
}

static json_t *series_json(const struct sim_result *result)
{
    static const struct {
        const char *name;
        double scale;
    } rows[SIM_SERIES_NETWORK_COUNT] = {
        [SIM_SERIES_QUEUED] = { "queued_jobs", 1 },
        [SIM_SERIES_RUNNING] = { "running_jobs", 1 },
        [SIM_SERIES_DEVICES] = { "devices_held", 1000 },
        [SIM_SERIES_CPUS] = { "cpus_held", 1 },
        [SIM_SERIES_POWER] = { "watts", 1000 },
        [SIM_SERIES_MONEY] = { "price_micro_per_hour", 1 },
        [SIM_SERIES_CARBON] = { "carbon_ug_per_hour", 1 },
        [SIM_SERIES_DOWN] = { "nodes_down", 1 },
    };
    json_t *object = json_object();

    set_number(object, "bucket_ms", (uint64_t)result->series.width_ms);
    for (uint32_t i = 0; i < SIM_SERIES_NETWORK_COUNT; i++)
        json_object_set_new(object, rows[i].name, means_json(result, i, rows[i].scale));
    json_object_set_new(object, "wait_ms", wait_series_json(result));
    return object;
}

static json_t *whys_json(const struct sim_result *result)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < result->whys_count; i++) {
        json_t *why = json_object();

        json_object_set_new(why, "code", json_string(result->whys[i].code));
        set_number(why, "jobs_asked", result->whys[i].jobs);
        json_object_set_new(why, "example", json_string(result->whys[i].text));
        json_array_append_new(list, why);
    }
    return list;
}

/* For what they waited, by the samples taken; `example` is the one asked that had waited longest.
 */
static json_t *reasons_json(const struct sim_result *result)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < result->reasons_count; i++) {
        const struct sim_reason *reason = &result->reasons[i];
        json_t *row = json_object(), *example = json_object();

        json_object_set_new(row, "code", json_string(reason->code));
        json_object_set_new(row, "wait_ms", whole(reason->wait_ms));
        json_object_set_new(row, "share", share(sim_result_reason_share(result, i)));
        set_number(row, "asked", reason->asked);
        set_number(example, "job", reason->job);
        set_number(example, "waited_ms", (uint64_t)reason->waited_ms);
        json_object_set_new(example, "text", json_string(reason->text));
        json_object_set_new(row, "example", example);
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *stories_json(const struct sim_result *result)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < result->stories_count; i++) {
        const struct sim_story *story = &result->stories[i];
        json_t *row = json_object(), *moments = json_array();

        for (uint32_t m = 0; m < story->moments_count; m++) {
            const struct sim_moment *moment = &story->moments[m];
            json_t *object = json_object();

            set_number(object, "at_ms", (uint64_t)moment->at_ms);
            json_object_set_new(object, "code", json_string(moment->code));
            json_object_set_new(object, "text", json_string(moment->text));
            json_object_set_new(object, "sooner",
                                moment->sooner[0] ? json_string(moment->sooner) : json_null());
            json_array_append_new(moments, object);
        }
        set_number(row, "job", story->job);
        json_object_set_new(row, "moments", moments);
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *result_json(const struct sim_report *report, const struct sim_result *result)
{
    json_t *object = json_object();

    json_object_set_new(object, "policy", json_string(result->policy));
    set_number(object, "devices", sim_result_capacity(result, true));
    set_number(object, "cpus", sim_result_capacity(result, false));
    set_number(object, "end_ms", (uint64_t)result->end_ms);
    json_object_set_new(object, "jobs", jobs_json(result));
    json_object_set_new(object, "wait", waits_json(result));
    json_object_set_new(object, "tenants", tenants_json(result));
    json_object_set_new(object, "turnaround", spread_json(&result->turnaround));
    set_number(object, "slowdown_milli", (uint64_t)result->slowdown_milli);
    json_object_set_new(object, "utilisation", share(sim_result_utilisation(report, result)));
    json_object_set_new(object, "held_at_end", share(sim_result_held(result)));
    json_object_set_new(object, "utilisation_arrivals",
                        share(sim_result_utilisation_arrivals(report, result)));
    set_number(object, "energy_mj", (uint64_t)result->energy_mj);
    set_number(object, "carbon_ug", (uint64_t)result->carbon_ug);
    set_number(object, "price_micro", (uint64_t)result->price_micro);
    set_number(object, "deadlines", result->deadlines);
    set_number(object, "deadlines_missed", result->deadlines_missed);
    set_number(object, "grid_events", result->sheds);
    set_number(object, "attempts_power_unknown", result->power_unknown);
    set_number(object, "attempts_speed_unknown", result->speed_unknown);
    json_object_set_new(object, "faults", faults_json(result));
    set_number(object, "passes", result->passes);
    set_number(object, "steps", result->steps);
    json_object_set_new(object, "why_not_started", whys_json(result));
    json_object_set_new(object, "waited_for", reasons_json(result));
    if (result->stories_count)
        json_object_set_new(object, "stories", stories_json(result));
    json_object_set_new(object, "sites", sites_json(report, result));
    json_object_set_new(object, "series", series_json(result));
    return object;
}

int sim_report_json(const struct sim_report *report, struct buf *out)
{
    json_t *root = json_object(), *fleet = json_object(), *load = json_object();
    json_t *results = json_array();
    char *text;

    json_object_set_new(root, "version", json_integer(1));
    set_number(root, "seed", report->seed);
    json_object_set_new(fleet, "name", json_string(report->fleet->name));
    set_number(fleet, "sites", report->fleet->sites_count);
    set_number(fleet, "nodes", report->fleet->nodes_count);
    set_number(fleet, "devices", report->fleet->devices_count);
    set_number(fleet, "cpus", report->fleet->cpus_count);
    set_number(fleet, "start_ms", (uint64_t)report->fleet->start_ms);
    json_object_set_new(root, "fleet", fleet);
    json_object_set_new(load, "source", json_string(report->load->source));
    set_number(load, "jobs", report->load->jobs_count);
    set_number(load, "lines_bad", report->load->lines_bad);
    set_number(load, "lines_skipped", report->load->lines_skipped);
    json_object_set_new(root, "load", load);
    for (uint32_t i = 0; i < report->results_count; i++)
        json_array_append_new(results, result_json(report, &report->results[i]));
    json_object_set_new(root, "results", results);
    text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
    json_decref(root);
    if (!text)
        return -ENOMEM;
    buf_add_text(out, text);
    buf_add_char(out, '\n');
    free(text);
    return out->failed ? -ENOMEM : 0;
}
