/* The page: one file, its charts drawn here as SVG, nothing loaded from elsewhere. */
#include "sim/report.h"
#include "sim/report_chart.h"

#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The same series of every policy. */
static void add_policies(const struct sim_report *report, struct buf *out, const char *title,
                         uint32_t series, double scale)
{
    struct chart_line lines[SIM_POLICIES_MAX];

    for (uint32_t i = 0; i < report->results_count; i++)
        lines[i] = (struct chart_line){ .name = report->results[i].policy,
                                        .result = &report->results[i],
                                        .series = series,
                                        .scale = scale };
    chart_add_lines(out, title, lines, report->results_count);
}

/* Of what each has, in percent. */
static void add_use(const struct sim_report *report, struct buf *out)
{
    bool devices = report->fleet->devices_count > 0;
    struct chart_line lines[SIM_POLICIES_MAX];

    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];

        lines[i] = (struct chart_line){ .name = result->policy,
                                        .result = result,
                                        .series = devices ? SIM_SERIES_DEVICES : SIM_SERIES_CPUS,
                                        .scale = sim_result_room(result, devices) / 100 };
    }
    chart_add_lines(out, devices ? "Devices in use, %" : "CPUs in use, %", lines,
                    report->results_count);
}

static const char *const classes[CLASS_COUNT] = { "low", "normal", "high", "urgent" };

/* Who carries it over time: devices by chip, watts by site. */
static void add_stacks(const struct sim_report *report, const struct sim_result *result,
                       struct buf *out)
{
    uint32_t most = MAX(result->groups_count, result->sites_count);
    const char **names = calloc((size_t)most + 1, sizeof(*names));
    char title[MODEL_NAME_BYTES + 64];

    if (!names) {
        out->failed = true;
        return;
    }
    for (uint32_t g = 0; g < result->groups_count; g++)
        names[g] = result->groups[g].chip[0] ? result->groups[g].chip : NULL;
    snprintf(title, sizeof(title), "Devices in use by chip: %s", result->policy);
    chart_add_stack(out, title, result, sim_series_of_group(0), names, result->groups_count, 1000);
    for (uint32_t s = 0; s < result->sites_count; s++)
        names[s] = report->fleet->sites[s].name;
    snprintf(title, sizeof(title), "Power by site, kW: %s", result->policy);
    chart_add_stack(out, title, result, sim_series_of_site(result, 0), names, result->sites_count,
                    1e6);
    snprintf(title, sizeof(title), "Cost by site, units of money an hour: %s", result->policy);
    chart_add_stack(out, title, result, sim_series_of_site_money(result, 0), names,
                    result->sites_count, 1e6);
    snprintf(title, sizeof(title), "CO2 by site, kg an hour: %s", result->policy);
    chart_add_stack(out, title, result, sim_series_of_site_carbon(result, 0), names,
                    result->sites_count, 1e9);
    free(names);
}

static void add_waits(const struct sim_report *report, struct buf *out)
{
    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];
        struct chart_line lines[CLASS_COUNT];
        char title[MODEL_NAME_BYTES + 64];
        uint32_t count = 0;

        for (uint32_t c = 0; c < CLASS_COUNT; c++)
            if (result->wait[c].count)
                lines[count++] = (struct chart_line){ .name = classes[c],
                                                      .result = result,
                                                      .scale = 60000,
                                                      .is_wait = true,
                                                      .of_class = c };
        snprintf(title, sizeof(title), "Mean wait by time of submit, minutes: %s", result->policy);
        if (count)
            chart_add_lines(out, title, lines, count);
    }
}

/* --- tables ------------------------------------------------------------------------------------
 */

static void add_time(struct buf *out, int64_t ms)
{
    char text[64];
    int64_t fine = ms < 1000 ? 1 : ms < 3600000 ? 1000 : 60000;

    units_print_duration(ms / fine * fine, text, sizeof(text));
    buf_printf(out, "<td>%s</td>", text);
}

static void add_share(struct buf *out, double value)
{
    if (value < 0)
        buf_add_text(out, "<td>-</td>");
    else
        buf_printf(out, "<td>%.2f %%</td>", 100 * value);
}

static void add_row(struct buf *out, const char *name)
{
    buf_add_text(out, "<tr><td>");
    chart_add_text(out, name);
    buf_add_text(out, "</td>");
}

static void add_outcomes(const struct sim_report *report, struct buf *out)
{
    buf_add_text(out, "<h2>What came of the jobs</h2><table><tr><th>policy<th>done<th>failed"
                      "<th>cancelled<th>refused<th>left<th>restarts<th>made way<th>held "
                      "still<th>slowdown<th>lasted<th>used"
                      "<th>used while jobs came</tr>\n");
    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];
        const uint64_t counts[] = { result->done,
                                    result->failed,
                                    result->cancelled,
                                    result->refused,
                                    result->never_started + result->cut_off,
                                    result->restarts,
                                    result->yields,
                                    result->suspends };

        add_row(out, result->policy);
        for (uint32_t c = 0; c < ARRAY_COUNT(counts); c++)
            buf_printf(out, "<td>%" PRIu64 "</td>", counts[c]);
        buf_printf(out, "<td>%.2f</td>", (double)result->slowdown_milli / 1000);
        add_time(out, result->end_ms);
        add_share(out, sim_result_utilisation(report, result));
        add_share(out, sim_result_utilisation_arrivals(report, result));
        buf_add_text(out, "</tr>\n");
    }
    buf_add_text(out, "</table>\n");
}

static void add_wait_row(struct buf *out, const char *policy, const char *name,
                         const struct sim_spread *wait)
{
    add_row(out, policy);
    buf_printf(out, "<td>%s</td><td>%" PRIu64 "</td>", name, wait->count);
    add_time(out, wait->mean_ms);
    add_time(out, wait->p50_ms);
    add_time(out, wait->p90_ms);
    add_time(out, wait->p99_ms);
    add_time(out, wait->most_ms);
    buf_add_text(out, "</tr>\n");
}

static void add_wait_table(const struct sim_report *report, struct buf *out)
{
    buf_add_text(out, "<h2>Wait from submit to first start</h2><table><tr><th>policy<th>class"
                      "<th>jobs<th>mean<th>p50<th>p90<th>p99<th>longest</tr>\n");
    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];

        add_wait_row(out, result->policy, "all", &result->wait_all);
        for (uint32_t c = CLASS_COUNT; c-- > 0;)
            if (result->wait[c].count && result->wait[c].count < result->wait_all.count)
                add_wait_row(out, "", classes[c], &result->wait[c]);
    }
    buf_add_text(out, "</table>\n");
}

static void add_bill(const struct sim_report *report, struct buf *out)
{
    buf_add_text(out, "<h2>What it took</h2><table><tr><th>policy<th>MWh<th>t CO2<th>cost"
                      "<th>goodput<th>lost device-h<th>overhead device-h<th>ETTR</tr>\n");
    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];

        add_row(out, result->policy);
        buf_printf(out, "<td>%.2f</td><td>%.2f</td><td>%.2f</td>",
                   (double)result->energy_mj / 3.6e12, (double)result->carbon_ug / 1e12,
                   (double)result->price_micro / 1e6);
        add_share(out, sim_result_goodput(result));
        buf_printf(out, "<td>%.1f</td><td>%.1f</td>", (double)result->devices.lost / 3.6e9,
                   (double)result->devices.overhead / 3.6e9);
        add_share(out, sim_result_ettr(result));
        buf_add_text(out, "</tr>\n");
    }
    buf_add_text(out, "</table>\n");
}

/* A small picture of one group's use over the run. */
static void add_spark(struct buf *out, const struct sim_result *result, uint32_t group)
{
    const struct sim_group *of = &result->groups[group];
    double could = (double)of->capacity * (of->chip[0] ? 1000 : 1);
    uint32_t step = (result->series.buckets + 119) / 120;

    if (!step)
        step = 1;
    buf_add_text(out, "<svg viewBox='0 0 120 20' class='s'><path d='M0 20");
    for (uint32_t b = 0, x = 0; b < result->series.buckets; b += step, x++)
        buf_printf(out, "L%u %.1f", x,
                   20 - 20 * fmin(sim_series_mean(&result->series, sim_series_of_group(group), b,
                                                  result->end_ms) /
                                      could,
                                  1));
    buf_printf(out, "L%u 20Z'/></svg>", (MAX(result->series.buckets, 1) - 1) / step);
}

static void add_groups(const struct sim_report *report, const struct sim_result *result,
                       struct buf *out)
{
    buf_add_text(out, "<h2>Per site and chip: ");
    chart_add_text(out, result->policy);
    buf_add_text(out, "</h2><table><tr><th>site<th>chip<th>there<th>used<th>while jobs "
                      "came<th>over time<th>attempts"
                      "<th>site's failures<th>MWh<th>t CO2<th>cost</tr>\n");
    for (uint32_t i = 0; i < result->groups_count; i++) {
        const struct sim_group *group = &result->groups[i];
        const struct sim_site_sums *site = &result->sites[group->site];
        bool first = i == 0 || result->groups[i - 1].site != group->site;

        if (!group->capacity)
            continue;
        buf_add_text(out, "<tr><td>");
        chart_add_text(out, first ? report->fleet->sites[group->site].name : "");
        buf_add_text(out, "</td><td>");
        chart_add_text(out, group->chip[0] ? group->chip : "cpu");
        buf_printf(out, "</td><td>%" PRIu64 "</td>", group->capacity);
        add_share(out, sim_group_utilisation(result, group));
        add_share(out, sim_group_utilisation_arrivals(report, result, i));
        buf_add_text(out, "<td>");
        add_spark(out, result, i);
        buf_printf(out, "</td><td>%" PRIu64 "</td>", group->attempts);
        if (first)
            buf_printf(out, "<td>%" PRIu64 "</td><td>%.2f</td><td>%.2f</td><td>%.2f</td></tr>\n",
                       site->failures, (double)site->energy_mj / 3.6e12,
                       (double)site->carbon_ug / 1e12, (double)site->price_micro / 1e6);
        else
            buf_add_text(out, "<td></td><td></td><td></td><td></td></tr>\n");
    }
    buf_add_text(out, "</table>\n");
}

/* The heaviest reasons of each policy, each with the words that a job would have been told. */
static void add_reasons(const struct sim_report *report, struct buf *out)
{
    bool any = false;

    for (uint32_t i = 0; i < report->results_count; i++)
        any |= report->results[i].reasons_count > 0;
    if (!any)
        return;
    buf_add_text(out,
                 "<h2>What they waited for</h2><table class='w'><tr><th>policy<th>reason<th>of "
                 "all waiting<th>job<th>waited<th>was told</tr>\n");
    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];

        for (uint32_t r = 0; r < result->reasons_count; r++) {
            const struct sim_reason *reason = &result->reasons[r];

            if (r && sim_result_reason_share(result, r) < 0.005)
                continue;
            add_row(out, r ? "" : result->policy);
            buf_add_text(out, "<td>");
            chart_add_text(out, reason->code);
            buf_add_text(out, "</td>");
            add_share(out, sim_result_reason_share(result, r));
            buf_printf(out, "<td>%" PRIu64 "</td>", reason->job);
            add_time(out, reason->waited_ms);
            buf_add_text(out, "<td>");
            chart_add_text(out, reason->text);
            buf_add_text(out, "</td></tr>\n");
        }
    }
    buf_add_text(out, "</table>\n");
}

static void add_head(const struct sim_report *report, struct buf *out)
{
    buf_add_text(out,
                 "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>mains sim: ");
    chart_add_text(out, report->load->source);
    buf_add_text(
        out,
        "</title><style>\n"
        "body{font:14px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;"
        "color:#1c2128;background:#fff}h1{font-size:1.4em}h2{font-size:1.05em;margin:1.8em 0 .4em}"
        "table{border-collapse:collapse;font-size:12.5px}td,th{padding:3px 8px;text-align:right;"
        "border-bottom:1px solid #e3e6ea;white-space:nowrap}td:first-child,th:first-child"
        "{text-align:left}td:first-child{white-space:normal;max-width:17em}svg{width:100%;height:"
        "auto}svg text{font:11px sans-serif;fill:#59636e}"
        ".g{stroke:#e3e6ea}.k{margin:0 0 0 64px}.k span{margin-right:1.4em;display:inline-block}.k "
        "i{display:inline-block;width:14px;"
        "height:3px;margin-right:6px;vertical-align:middle}.s{width:120px;height:20px}"
        ".s path{fill:#1f6feb;fill-opacity:.65}.t{overflow-x:auto}"
        ".w td:last-child,.w th:last-child{text-align:left;white-space:normal}\n"
        "@media(prefers-color-scheme:dark){body{color:#d9dfe6;background:#14181d}td,th{"
        "border-color:#2c333b}.g{stroke:#2c333b}svg text{fill:#98a2ad}}</style></head><body>\n"
        "<h1>mains sim: ");
    chart_add_text(out, report->load->source);
    buf_printf(out, "</h1><p>%" PRIu32 " jobs on fleet ", report->load->jobs_count);
    chart_add_text(out, report->fleet->name);
    buf_printf(out,
               ": %" PRIu32 " sites, %" PRIu64 " nodes, %" PRIu64 " devices, %" PRIu64
               " CPUs. Seed %" PRIu64
               ". Power, CO2 and cost count what jobs held, as modelled from "
               "the catalogue and the sites' tariffs.</p>\n",
               report->fleet->sites_count, report->fleet->nodes_count, report->fleet->devices_count,
               report->fleet->cpus_count, report->seed);
}

int sim_report_html(const struct sim_report *report, struct buf *out)
{
    add_head(report, out);
    buf_add_text(out, "<div class='t'>");
    add_outcomes(report, out);
    add_wait_table(report, out);
    add_reasons(report, out);
    add_bill(report, out);
    buf_add_text(out, "</div>");
    add_use(report, out);
    add_policies(report, out, "Jobs in the queue", SIM_SERIES_QUEUED, 1);
    add_waits(report, out);
    add_policies(report, out, "Power of what runs, kW", SIM_SERIES_POWER, 1e6);
    add_policies(report, out, "Cost, units of money an hour", SIM_SERIES_MONEY, 1e6);
    add_policies(report, out, "CO2, kg an hour", SIM_SERIES_CARBON, 1e9);
    if (report->faults)
        add_policies(report, out, "Nodes closed by faults and windows", SIM_SERIES_DOWN, 1);
    for (uint32_t i = 0; i < report->results_count; i++) {
        add_stacks(report, &report->results[i], out);
        buf_add_text(out, "<div class='t'>");
        add_groups(report, &report->results[i], out);
        buf_add_text(out, "</div>");
    }
    buf_add_text(out, "</body></html>\n");
    return out->failed ? -ENOMEM : 0;
}
