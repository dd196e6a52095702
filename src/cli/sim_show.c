#include "cli/sim_show.h"

#include "cli/table.h"
#include "model/units.h"

#include <inttypes.h>
#include <stdio.h>

#define GROUPS_SHOWN 24u

static void add_time(struct table *table, int64_t ms)
{
    char text[64];
    int64_t fine = ms < 60000 ? 100 : ms < 3600000 ? 1000 : 60000;

    units_print_duration(ms / fine * fine, text, sizeof(text));
    table_add(table, text);
}

static void add_share(struct table *table, double value)
{
    if (value < 0)
        table_add(table, "-");
    else
        table_addf(table, "%.1f %%", 100 * value);
}

static void add_scaled(struct table *table, double value, const char *const *units, double step)
{
    uint32_t at = 0;

    for (; units[at + 1] && value >= step; at++)
        value /= step;
    table_addf(table, "%.*f %s", value < 100 ? 2 : 0, value, units[at]);
}

static int show_results(const struct sim_report *report)
{
    static const struct table_column columns[] = {
        { "POLICY", false, 8 },  { "DONE", true, 0 },   { "FAILED", true, 0 },
        { "LEFT", true, 0 },     { "LASTED", true, 0 }, { "WAIT", true, 0 },
        { "P50", true, 0 },      { "P99", true, 0 },    { "LONGEST", true, 0 },
        { "SLOWDOWN", true, 0 }, { "USED", true, 0 },   { "ENERGY", true, 0 },
        { "CO2", true, 0 },      { "COST", true, 0 },   { 0 },
    };
    static const char *const energy[] = { "kWh", "MWh", "GWh", NULL };
    static const char *const mass[] = { "kg", "t", "kt", NULL };
    static const char *const money[] = { "", "k", "M", NULL };
    struct table table = table_init(columns);
    int rc;

    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];

        table_add_color(&table, result->policy, TERM_BOLD);
        table_addf(&table, "%" PRIu64, result->done);
        table_addf(&table, "%" PRIu64, result->failed + result->cancelled + result->refused);
        table_addf(&table, "%" PRIu64, result->never_started + result->cut_off);
        add_time(&table, result->end_ms);
        add_time(&table, result->wait_all.mean_ms);
        add_time(&table, result->wait_all.p50_ms);
        add_time(&table, result->wait_all.p99_ms);
        add_time(&table, result->wait_all.most_ms);
        table_addf(&table, "%.2f", (double)result->slowdown_milli / 1000);
        add_share(&table, sim_result_utilisation(report, result));
        add_scaled(&table, (double)result->energy_mj / 3.6e9, energy, 1000);
        add_scaled(&table, (double)result->carbon_ug / 1e9, mass, 1000);
        add_scaled(&table, (double)result->price_micro / 1e6, money, 1000);
    }
    rc = table_show(&table);
    table_fini(&table);
    return rc;
}

static int show_waits(const struct sim_report *report)
{
    static const struct table_column columns[] = {
        { "POLICY", false, 8 }, { "CLASS", false, 0 },  { "JOBS", true, 0 },
        { "WAIT", true, 0 },    { "P50", true, 0 },     { "P90", true, 0 },
        { "P99", true, 0 },     { "LONGEST", true, 0 }, { 0 },
    };
    static const char *const classes[CLASS_COUNT] = { "low", "normal", "high", "urgent" };
    struct table table = table_init(columns);
    int rc;

    for (uint32_t i = 0; i < report->results_count; i++)
        for (uint32_t c = CLASS_COUNT; c-- > 0;) {
            const struct sim_spread *wait = &report->results[i].wait[c];

            if (!wait->count)
                continue;
            table_add(&table, report->results[i].policy);
            table_add(&table, classes[c]);
            table_addf(&table, "%" PRIu64, wait->count);
            add_time(&table, wait->mean_ms);
            add_time(&table, wait->p50_ms);
            add_time(&table, wait->p90_ms);
            add_time(&table, wait->p99_ms);
            add_time(&table, wait->most_ms);
        }
    putchar('\n');
    rc = table_show(&table);
    table_fini(&table);
    return rc;
}

static int show_faults(const struct sim_report *report)
{
    static const struct table_column columns[] = {
        { "POLICY", false, 8 },  { "NODES", true, 0 },   { "CHIPS", true, 0 },
        { "LINKS", true, 0 },    { "SITES", true, 0 },   { "WINDOWS", true, 0 },
        { "RESTARTS", true, 0 }, { "GOODPUT", true, 0 }, { "LOST", true, 0 },
        { "OVERHEAD", true, 0 }, { "ETTR", true, 0 },    { 0 },
    };
    struct table table = table_init(columns);
    int rc;

    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];
        bool devices = result->devices.useful || result->devices.lost;
        const struct sim_goodput *sums = devices ? &result->devices : &result->cpus;
        double unit = (devices ? 1000 : 1) * 3.6e6;

        table_add(&table, result->policy);
        table_addf(&table, "%" PRIu64, result->node_failures);
        table_addf(&table, "%" PRIu64, result->chip_failures);
        table_addf(&table, "%" PRIu64, result->link_failures);
        table_addf(&table, "%" PRIu64, result->site_failures);
        table_addf(&table, "%" PRIu64, result->windows);
        table_addf(&table, "%" PRIu64, result->restarts);
        table_addf(&table, "%.2f %%", 100 * MAX(sim_result_goodput(result), 0.0));
        table_addf(&table, "%.0f %s-h", (double)sums->lost / unit, devices ? "device" : "CPU");
        table_addf(&table, "%.0f %s-h", (double)sums->overhead / unit, devices ? "device" : "CPU");
        add_share(&table, sim_result_ettr(result));
    }
    printf(
        "\nFaults (failures and windows; what was lost and what saving and coming back cost):\n");
    rc = table_show(&table);
    table_fini(&table);
    return rc;
}

static int show_groups(const struct sim_report *report)
{
    static const struct table_column columns[] = {
        { "SITE", false, 8 }, { "CHIP", false, 6 },    { "THERE", true, 0 },
        { "USED", true, 0 },  { "ATTEMPTS", true, 0 }, { 0 },
    };
    const struct sim_result *result = &report->results[0];
    struct table table = table_init(columns);
    uint32_t shown = 0;
    int rc;

    for (uint32_t i = 0; i < result->groups_count && shown < GROUPS_SHOWN; i++) {
        const struct sim_group *group = &result->groups[i];

        if (!group->capacity || (!group->attempts && !group->chip[0]))
            continue;
        table_add(&table, report->fleet->sites[group->site].name);
        table_add(&table, group->chip[0] ? group->chip : "cpu");
        table_addf(&table, "%" PRIu64, group->capacity);
        add_share(&table, sim_group_utilisation(result, group));
        table_addf(&table, "%" PRIu64, group->attempts);
        shown++;
    }
    printf("\nPer site and chip, policy %s:\n", result->policy);
    rc = table_show(&table);
    table_fini(&table);
    if (shown == GROUPS_SHOWN)
        printf("The rest is in --json and --html.\n");
    return rc;
}

static void show_notes(const struct sim_report *report)
{
    const struct sim_result *result = &report->results[0];

    if (report->load->lines_bad)
        printf("\n%" PRIu64 " lines of the trace could not be read and are left out.\n",
               report->load->lines_bad);
    if (report->load->lines_skipped)
        printf("%" PRIu64 " lines of the trace are no job that ran and are left out.\n",
               report->load->lines_skipped);
    if (result->refused)
        printf("%" PRIu64 " jobs were refused at submit.\n", result->refused);
    for (uint32_t i = 0; i < result->whys_count; i++)
        printf("Never started, for example: %s\n", result->whys[i].text);
    if (result->power_unknown)
        printf("%" PRIu64 " attempts ran on chips whose power is not known: energy, CO2 and cost "
               "leave their devices out.\n",
               result->power_unknown);
    if (result->speed_unknown)
        printf("%" PRIu64 " attempts ran as long as in the trace, because a chip's speed is not "
               "known.\n",
               result->speed_unknown);
}

int sim_show(const struct sim_report *report)
{
    int rc;

    printf("%s: %u jobs on fleet %s: %u sites, %" PRIu64 " nodes, %" PRIu64 " devices, %" PRIu64
           " CPUs; seed %" PRIu64 "\n\n",
           report->load->source, report->load->jobs_count, report->fleet->name,
           report->fleet->sites_count, report->fleet->nodes_count, report->fleet->devices_count,
           report->fleet->cpus_count, report->seed);
    rc = show_results(report);
    if (rc == 0)
        rc = show_waits(report);
    if (rc == 0 && report->faults)
        rc = show_faults(report);
    if (rc == 0)
        rc = show_groups(report);
    show_notes(report);
    return rc;
}
