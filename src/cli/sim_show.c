#include "cli/sim_show.h"

#include "cli/table.h"
#include "model/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define GROUPS_SHOWN 24u

static const char *const energy_units[] = { " kWh", " MWh", " GWh", NULL };
static const char *const mass_units[] = { " kg", " t", " kt", NULL };
static const char *const money_units[] = { "", " k", " M", NULL };

static void add_time(struct table *table, int64_t ms)
{
    char text[64];
    int64_t fine = ms < 1000 ? 1 : ms < 3600000 ? 1000 : 60000;

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
    table_addf(table, "%.*f%s", value < 100 ? 2 : 0, value, units[at]);
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
        add_scaled(&table, (double)result->energy_mj / 3.6e9, energy_units, 1000);
        add_scaled(&table, (double)result->carbon_ug / 1e9, mass_units, 1000);
        add_scaled(&table, (double)result->price_micro / 1e6, money_units, 1000);
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

#define REASONS_SHOWN 4u
#define REASON_SHARE_SHOWN 0.005

/* What waiting was for, and in what words a job would have been told so. */
static int show_reasons(const struct sim_report *report)
{
    static const struct table_column columns[] = {
        { "POLICY", false, 8 },
        { "REASON", false, 0 },
        { "SHARE", true, 0 },
        { "JOB", true, 0 },
        { "AFTER", true, 0 },
        { "WAS TOLD", false, 20 },
        { 0 },
    };
    struct table table = table_init(columns);
    bool any = false;
    int rc = 0;

    for (uint32_t i = 0; i < report->results_count; i++)
        for (uint32_t r = 0; r < MIN(report->results[i].reasons_count, REASONS_SHOWN); r++) {
            const struct sim_reason *reason = &report->results[i].reasons[r];
            double share = sim_result_reason_share(&report->results[i], r);

            if (share < REASON_SHARE_SHOWN)
                continue;
            any = true;
            table_add(&table, report->results[i].policy);
            table_add(&table, reason->code);
            add_share(&table, share);
            table_addf(&table, "%" PRIu64, reason->job);
            add_time(&table, reason->waited_ms);
            table_add(&table, reason->text);
        }
    if (any) {
        printf(
            "\nWhat they waited for, as shares of all waiting, with what `mains why` says to a job "
            "that does:\n");
        rc = table_show(&table);
    }
    table_fini(&table);
    return rc;
}

/* One job through its days. */
static int show_story(const struct sim_report *report, uint32_t number)
{
    static const struct table_column columns[] = {
        { "POLICY", false, 8 },
        { "AT", true, 0 },
        { "WAITED", true, 0 },
        { "WHY", false, 20 },
        { 0 },
    };
    const struct sim_story *first = &report->results[0].stories[number];
    int64_t submit_ms = report->load->jobs[first->index].submit_ms;
    struct table table = table_init(columns);
    int rc;

    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_story *story = &report->results[i].stories[number];

        for (uint32_t m = 0; m < story->moments_count; m++) {
            const struct sim_moment *moment = &story->moments[m];

            table_add(&table, m ? "" : report->results[i].policy);
            add_time(&table, moment->at_ms);
            add_time(&table, moment->at_ms - submit_ms);
            table_addf(&table, "%s%s%s%s%s", moment->code, moment->text[0] ? ": " : "",
                       moment->text, moment->sooner[0] ? "; sooner with " : "", moment->sooner);
        }
    }
    printf("\nJob %" PRIu64 ":\n", first->job);
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

/* The result with the most groups: a what-if may have a kind of chip more at a site. */
static const struct sim_result *widest(const struct sim_report *report)
{
    const struct sim_result *most = &report->results[0];

    for (uint32_t i = 1; i < report->results_count; i++)
        if (report->results[i].groups_count > most->groups_count)
            most = &report->results[i];
    return most;
}

/* CPUs only where jobs went for them. */
static bool is_shown(const struct sim_report *report, const struct sim_group *group)
{
    uint64_t attempts = 0;

    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];
        uint32_t at = sim_result_group(result, group->site, group->chip);

        attempts += at == UINT32_MAX ? 0 : result->groups[at].attempts;
    }
    return group->capacity && (attempts || group->chip[0]);
}

static double group_use(const struct sim_report *report, uint32_t result,
                        const struct sim_group *group)
{
    const struct sim_result *of = &report->results[result];
    uint32_t at = sim_result_group(of, group->site, group->chip);

    if (at == UINT32_MAX)
        return -1;
    return sim_report_has_tail(report) ? sim_group_utilisation_arrivals(report, of, at)
                                       : sim_group_utilisation(of, &of->groups[at]);
}

/* Of one policy: what it used there, and what the site's part of the bill was. */
static void fill_bill(const struct sim_report *report, struct table *table, uint32_t g, bool first)
{
    const struct sim_result *result = &report->results[0];
    const struct sim_site_sums *site = &result->sites[result->groups[g].site];

    add_share(table, group_use(report, 0, &result->groups[g]));
    table_addf(table, "%" PRIu64, result->groups[g].attempts);
    if (first) {
        add_scaled(table, (double)site->energy_mj / 3.6e9, energy_units, 1000);
        add_scaled(table, (double)site->carbon_ug / 1e9, mass_units, 1000);
        add_scaled(table, (double)site->price_micro / 1e6, money_units, 1000);
    } else {
        for (int i = 0; i < 3; i++)
            table_add(table, "");
    }
}

/* One policy with its bill by site; of several what each used, side by side. */
static int show_groups(const struct sim_report *report)
{
    struct table_column columns[TABLE_COLUMNS_MAX + 1] = { { "SITE", false, 8 },
                                                           { "CHIP", false, 6 },
                                                           { "THERE", true, 0 } };
    const struct sim_result *result = widest(report);
    uint32_t policies = MIN(report->results_count, TABLE_COLUMNS_MAX - 3), shown = 0, rest = 0;
    uint32_t site = UINT32_MAX;
    struct table table;
    int rc;

    if (policies == 1) {
        static const char *const titles[] = { "USED", "ATTEMPTS", "ENERGY", "CO2", "COST" };

        for (uint32_t i = 0; i < ARRAY_COUNT(titles); i++)
            columns[3 + i] = (struct table_column){ titles[i], true, 0 };
    } else {
        for (uint32_t i = 0; i < policies; i++)
            columns[3 + i] = (struct table_column){ report->results[i].policy, true, 6 };
    }
    table = table_init(columns);
    for (uint32_t g = 0; g < result->groups_count; g++) {
        const struct sim_group *group = &result->groups[g];

        if (!is_shown(report, group))
            continue;
        if (shown == GROUPS_SHOWN) {
            rest++;
            continue;
        }
        table_add(&table, group->site == site ? "" : report->fleet->sites[group->site].name);
        table_add(&table, group->chip[0] ? group->chip : "cpu");
        table_addf(&table, "%" PRIu64, group->capacity);
        if (policies == 1)
            fill_bill(report, &table, g, group->site != site);
        for (uint32_t i = 0; policies > 1 && i < policies; i++)
            add_share(&table, group_use(report, i, group));
        site = group->site;
        shown++;
    }
    printf("\nPer site and chip, use%s%s:\n",
           sim_report_has_tail(report) ? " while jobs came" : " over the whole time",
           policies == 1 ? "; energy, CO2 and cost of the whole site" : " by each policy");
    rc = table_show(&table);
    table_fini(&table);
    if (rest)
        printf("%u more rows are in --json and --html.\n", rest);
    return rc;
}

/* The tail of a run, when only its longest jobs are left, says little of a fleet's use. */
static void show_arrivals(const struct sim_report *report)
{
    char text[64];

    if (!sim_report_has_tail(report))
        return;
    units_print_duration(sim_load_span_ms(report->load) / 60000 * 60000, text, sizeof(text));
    printf("While jobs came (%s), of the %s were in use:", text,
           report->fleet->devices_count ? "devices" : "CPUs");
    for (uint32_t i = 0; i < report->results_count; i++)
        printf("%s %s %.1f %%", i ? "," : "", report->results[i].policy,
               100 * sim_result_utilisation_arrivals(report, &report->results[i]));
    printf(".\n");
}

static void show_held(const struct sim_report *report)
{
    if (!report->results[0].held_milli)
        return;
    printf("As it was stopped, of the devices were held:");
    for (uint32_t i = 0; i < report->results_count; i++)
        printf("%s %s %.2f %%", i ? "," : "", report->results[i].policy,
               100 * sim_result_held(&report->results[i]));
    printf(".\n");
}

/* What the scheduler did to work that ran. */
static void show_yields(const struct sim_report *report)
{
    for (uint32_t i = 0; i < report->results_count; i++) {
        const struct sim_result *result = &report->results[i];

        if (!result->yields && !result->suspends && !result->sheds)
            continue;
        printf("%s: %" PRIu64 " times work made way, moved or changed its width", result->policy,
               result->yields);
        if (result->suspends)
            printf(", %" PRIu64 " times it was held still in place", result->suspends);
        if (result->sheds)
            printf("; %" PRIu64 " grid event%s", result->sheds, result->sheds == 1 ? "" : "s");
        printf(".\n");
    }
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
        printf("%s, for example: %s\n",
               strcmp(result->whys[i].code, "refused") == 0 ? "Refused" : "Never started",
               result->whys[i].text);
    show_yields(report);
    for (uint32_t i = 0; i < report->results_count; i++)
        if (report->results[i].deadlines)
            printf("%s: %" PRIu64 " of %" PRIu64 " deadlines missed.\n", report->results[i].policy,
                   report->results[i].deadlines_missed, report->results[i].deadlines);
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
    show_arrivals(report);
    show_held(report);
    if (rc == 0)
        rc = show_waits(report);
    if (rc == 0)
        rc = show_reasons(report);
    for (uint32_t i = 0; rc == 0 && i < report->results[0].stories_count; i++)
        rc = show_story(report, i);
    if (rc == 0 && report->faults)
        rc = show_faults(report);
    if (rc == 0)
        rc = show_groups(report);
    show_notes(report);
    return rc;
}
