/* The page: one file, its charts drawn here as SVG, nothing loaded from elsewhere. */
#include "sim/report.h"

#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define WIDTH 880.0
#define HEIGHT 200.0
#define LEFT 64.0
#define DAY_MS 86400000.0

static const char *const colors[] = { "#1f6feb", "#d1453b", "#2f9e44", "#e8890c",
                                      "#7048e8", "#0c8599", "#c2255c", "#5c677d" };

static void add_text(struct buf *out, const char *text)
{
    for (; *text; text++)
        if (*text == '<')
            buf_add_text(out, "&lt;");
        else if (*text == '&')
            buf_add_text(out, "&amp;");
        else if (*text == '"')
            buf_add_text(out, "&quot;");
        else
            buf_add_char(out, *text);
}

/* --- charts ------------------------------------------------------------------------------------
 */

struct line {
    const char *name, *color;
    const struct sim_result *result;
    uint32_t series;
    double scale; /* the shown value is the mean divided by this */
    bool is_wait; /* not a series but the mean wait of a class, in minutes */
    uint32_t of_class;
};

static double value_at(const struct line *line, uint32_t bucket)
{
    const struct sim_result *result = line->result;

    if (!line->is_wait)
        return sim_series_mean(&result->series, line->series, bucket, result->end_ms) / line->scale;
    if (!result->wait_counts[bucket][line->of_class])
        return NAN;
    return (double)result->wait_sums[bucket][line->of_class] /
           result->wait_counts[bucket][line->of_class] / line->scale;
}

static double round_up(double most)
{
    double power = pow(10, floor(log10(most)));
    double part = most / power;

    return (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10) * power;
}

static void add_axes(struct buf *out, double most, double days)
{
    for (int i = 0; i <= 4; i++) {
        double y = HEIGHT - HEIGHT * i / 4;

        buf_printf(out,
                   "<line x1='%.0f' x2='%.0f' y1='%.1f' y2='%.1f' class='g'/><text x='%.0f' "
                   "y='%.1f' text-anchor='end'>%.4g</text>\n",
                   LEFT, LEFT + WIDTH, y, y, LEFT - 6, y + 4, most * i / 4);
    }
    for (int i = 0; i <= 6; i++)
        buf_printf(out, "<text x='%.1f' y='%.0f' text-anchor='middle'>%.3g d</text>\n",
                   LEFT + WIDTH * i / 6, HEIGHT + 18, days * i / 6);
}

static void add_line(struct buf *out, const struct line *line, double most, double end_ms)
{
    const struct sim_series_set *series = &line->result->series;
    bool pen = false;

    buf_printf(out, "<path fill='none' stroke='%s' stroke-width='1.5' d='", line->color);
    for (uint32_t b = 0; b < series->buckets; b++) {
        double value = value_at(line, b);
        double x = LEFT + WIDTH * ((double)b + 0.5) * (double)series->width_ms / end_ms;

        if (isnan(value) || x > LEFT + WIDTH)
            continue;
        buf_printf(out, "%s%.1f %.1f", pen ? "L" : "M", x, HEIGHT - HEIGHT * value / most);
        pen = true;
    }
    buf_add_text(out, "'/>\n");
}

static void add_chart(struct buf *out, const char *title, const struct line *lines, uint32_t count)
{
    double most = 0, end_ms = 1;

    for (uint32_t i = 0; i < count; i++) {
        end_ms = fmax(end_ms, (double)lines[i].result->end_ms);
        for (uint32_t b = 0; b < lines[i].result->series.buckets; b++)
            most = fmax(most, value_at(&lines[i], b)); /* fmax passes NAN over */
    }
    most = most > 0 ? round_up(most) : 1;
    buf_add_text(out, "<h2>");
    add_text(out, title);
    buf_printf(out, "</h2>\n<svg viewBox='0 -8 %.0f %.0f' role='img'>\n", LEFT + WIDTH + 24,
               HEIGHT + 34);
    add_axes(out, most, end_ms / DAY_MS);
    for (uint32_t i = 0; i < count; i++)
        add_line(out, &lines[i], most, end_ms);
    buf_add_text(out, "</svg><p class='k'>");
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(out, "<span><i style='background:%s'></i>", lines[i].color);
        add_text(out, lines[i].name);
        buf_add_text(out, "</span>");
    }
    buf_add_text(out, "</p>\n");
}

/* The same series of every policy. */
static void add_policies(const struct sim_report *report, struct buf *out, const char *title,
                         uint32_t series, double scale)
{
    struct line lines[SIM_POLICIES_MAX];

    for (uint32_t i = 0; i < report->results_count; i++)
        lines[i] = (struct line){ .name = report->results[i].policy,
                                  .color = colors[i % ARRAY_COUNT(colors)],
                                  .result = &report->results[i],
                                  .series = series,
                                  .scale = scale };
    add_chart(out, title, lines, report->results_count);
}

static void add_waits(const struct sim_report *report, struct buf *out)
{
    static const char *const classes[CLASS_COUNT] = { "low", "normal", "high", "urgent" };

    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];
        struct line lines[CLASS_COUNT];
        char title[MODEL_NAME_BYTES + 64];
        uint32_t count = 0;

        for (uint32_t c = 0; c < CLASS_COUNT; c++)
            if (result->wait[c].count)
                lines[count++] = (struct line){ .name = classes[c],
                                                .color = colors[c],
                                                .result = result,
                                                .scale = 60000,
                                                .is_wait = true,
                                                .of_class = c };
        snprintf(title, sizeof(title), "Mean wait by time of submit, minutes: %s", result->policy);
        add_chart(out, title, lines, count);
    }
}

/* --- tables ------------------------------------------------------------------------------------
 */

static void add_time(struct buf *out, int64_t ms)
{
    char text[64];
    int64_t fine = ms < 60000 ? 100 : ms < 3600000 ? 1000 : 60000;

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

static void add_summary(const struct sim_report *report, struct buf *out)
{
    buf_add_text(out, "<table><tr><th>policy<th>done<th>failed<th>not done<th>lasted<th>wait<th>p50"
                      "<th>p99<th>longest<th>slowdown<th>used<th>restarts<th>goodput<th>MWh<th>t "
                      "CO2<th>cost</tr>\n");
    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];

        buf_add_text(out, "<tr><td>");
        add_text(out, result->policy);
        buf_printf(out, "</td><td>%" PRIu64 "</td><td>%" PRIu64 "</td><td>%" PRIu64 "</td>",
                   result->done, result->failed + result->cancelled + result->refused,
                   result->never_started + result->cut_off);
        add_time(out, result->end_ms);
        add_time(out, result->wait_all.mean_ms);
        add_time(out, result->wait_all.p50_ms);
        add_time(out, result->wait_all.p99_ms);
        add_time(out, result->wait_all.most_ms);
        buf_printf(out, "<td>%.2f</td>", (double)result->slowdown_milli / 1000);
        add_share(out, sim_result_utilisation(report, result));
        buf_printf(out, "<td>%" PRIu64 "</td>", result->restarts);
        add_share(out, sim_result_goodput(result));
        buf_printf(out, "<td>%.2f</td><td>%.2f</td><td>%.2f</td></tr>\n",
                   (double)result->energy_mj / 3.6e12, (double)result->carbon_ug / 1e12,
                   (double)result->price_micro / 1e6);
    }
    buf_add_text(out, "</table>\n");
}

/* A small picture of one group's use over the run. */
static void add_spark(struct buf *out, const struct sim_result *result, uint32_t group)
{
    const struct sim_group *of = &result->groups[group];
    double could = (double)of->capacity * (of->chip[0] ? 1000 : 1);
    uint32_t step = MAX(result->series.buckets / 120, 1);

    buf_add_text(out, "<svg viewBox='0 0 120 20' class='s'><path d='M0 20");
    for (uint32_t b = 0, x = 0; b < result->series.buckets; b += step, x++)
        buf_printf(out, "L%u %.1f", x,
                   20 - 20 * fmin(sim_series_mean(&result->series, sim_series_of_group(group), b,
                                                  result->end_ms) /
                                      could,
                                  1));
    buf_printf(out, "L%u 20Z'/></svg>", (result->series.buckets - 1) / step);
}

static void add_groups(const struct sim_report *report, const struct sim_result *result,
                       struct buf *out)
{
    buf_add_text(out, "<h2>Per site and chip: ");
    add_text(out, result->policy);
    buf_add_text(out, "</h2><table><tr><th>site<th>chip<th>there<th>used<th>over time<th>attempts"
                      "<th>site's failures<th>MWh<th>t CO2<th>cost</tr>\n");
    for (uint32_t i = 0; i < result->groups_count; i++) {
        const struct sim_group *group = &result->groups[i];
        const struct sim_site_sums *site = &result->sites[group->site];
        bool first = i == 0 || result->groups[i - 1].site != group->site;

        if (!group->capacity)
            continue;
        buf_add_text(out, "<tr><td>");
        add_text(out, first ? report->fleet->sites[group->site].name : "");
        buf_add_text(out, "</td><td>");
        add_text(out, group->chip[0] ? group->chip : "cpu");
        buf_printf(out, "</td><td>%" PRIu64 "</td>", group->capacity);
        add_share(out, sim_group_utilisation(result, group));
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

static void add_head(const struct sim_report *report, struct buf *out)
{
    buf_add_text(out,
                 "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>mains sim: ");
    add_text(out, report->load->source);
    buf_add_text(
        out,
        "</title><style>\n"
        "body{font:14px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;"
        "color:#1c2128;background:#fff}h1{font-size:1.4em}h2{font-size:1.05em;margin:1.8em 0 .4em}"
        "table{border-collapse:collapse;font-size:12.5px}td,th{padding:3px 8px;text-align:right;"
        "border-bottom:1px solid #e3e6ea;white-space:nowrap}td:first-child,th:first-child"
        "{text-align:left}svg{width:100%;height:auto}svg text{font:11px sans-serif;fill:#59636e}"
        ".g{stroke:#e3e6ea}.k span{margin-right:1.4em}.k i{display:inline-block;width:14px;"
        "height:3px;margin-right:6px;vertical-align:middle}.s{width:120px;height:20px}"
        ".s path{fill:#1f6feb;fill-opacity:.65}.t{overflow-x:auto}\n"
        "@media(prefers-color-scheme:dark){body{color:#d9dfe6;background:#14181d}td,th{"
        "border-color:#2c333b}.g{stroke:#2c333b}svg text{fill:#98a2ad}}</style></head><body>\n"
        "<h1>mains sim: ");
    add_text(out, report->load->source);
    buf_printf(out, "</h1><p>%" PRIu32 " jobs on fleet ", report->load->jobs_count);
    add_text(out, report->fleet->name);
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
    bool devices = report->fleet->devices_count > 0;
    double could = devices ? (double)report->fleet->devices_count * 10
                           : (double)report->fleet->cpus_count / 100;

    add_head(report, out);
    buf_add_text(out, "<div class='t'>");
    add_summary(report, out);
    buf_add_text(out, "</div>");
    add_policies(report, out, devices ? "Devices in use, %" : "CPUs in use, %",
                 devices ? SIM_SERIES_DEVICES : SIM_SERIES_CPUS, could);
    add_policies(report, out, "Jobs in the queue", SIM_SERIES_QUEUED, 1);
    add_waits(report, out);
    add_policies(report, out, "Power of what runs, kW", SIM_SERIES_POWER, 1e6);
    add_policies(report, out, "Cost, units of money an hour", SIM_SERIES_MONEY, 1e6);
    add_policies(report, out, "CO2, kg an hour", SIM_SERIES_CARBON, 1e9);
    if (report->faults)
        add_policies(report, out, "Nodes closed by faults and windows", SIM_SERIES_DOWN, 1);
    for (uint32_t i = 0; i < report->results_count; i++) {
        buf_add_text(out, "<div class='t'>");
        add_groups(report, &report->results[i], out);
        buf_add_text(out, "</div>");
    }
    buf_add_text(out, "</body></html>\n");
    return out->failed ? -ENOMEM : 0;
}
