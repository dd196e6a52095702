#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/sim_show.h"
#include "model/units.h"
#include "sim/draw.h"
#include "sim/load_demo.h"
#include "sim/rates.h"
#include "sim/replay.h"
#include "sim/report.h"
#include "sim/trace.h"
#include "sim/what.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PLAN_ARENA_BYTES_MAX (16u << 20)

static const struct cli_option options[] = {
    { "fleet", 'f', "FILE", NULL,
      "The sites: a fleet file, an openb node list (.csv), \"demo\" or \"demo-100k\" (demo)." },
    { "trace", 't', "FILE", NULL, "The jobs: a published trace, plain, gzip or zstd." },
    { "format", 0, "NAME", NULL, "Format of the trace; told by name and first line otherwise." },
    { "rates", 0, "FILE", NULL,
      "Seconds a unit of the trace's classes of work on each kind of chip: work,chip,seconds." },
    { "load", 'l', "NAME", NULL,
      "Made-up jobs instead, like a published cluster's: demo, philly, venus, seren." },
    { "journal", 'j', "DIR", NULL,
      "The jobs of a network's own past: its state folder. Without --fleet, its sites, too." },
    { "write-fleet", 0, "FILE", NULL,
      "Write the fleet as a file to change (built in, or a journal's), and simulate nothing." },
    { "jobs", 'n', "N", NULL, "At most (of a trace) or exactly (made up) so many jobs." },
    { "days", 0, "N", NULL, "Made-up jobs come for so many days (14)." },
    { "offered", 0, "X", NULL,
      "Made-up work beside what the fleet's devices can do: 0.8 leaves a fifth idle (0.8)." },
    { "asked", 0, "PERCENT", NULL,
      "Fill the fleet: jobs drawn from the trace until they ask for so much of its devices, one a "
      "second; none ends." },
    { "policy", 'p', "FILE", NULL, "What to vary; give several to see them side by side." },
    { "what-if", 'w', "CHANGE", NULL,
      "Run it with this change, too, beside what is: \"add: 200 at west\", \"lose: west\", "
      "\"power_price: 0.3 at west\", \"order: deadline\"; may be given often." },
    { "faults", 0, "FILE", NULL, "What breaks, and how jobs save their work." },
    { "seed", 's', "N", NULL, "Of all draws (1)." },
    { "until", 0, "TIME", NULL, "Stop after so much simulated time: \"30d\"." },
    { "measure", 0, "FROM-TO", NULL,
      "Count the waits and times of these jobs alone, by their place in the load, from 0." },
    { "chip", 0, "KIND", NULL, "The chip that the trace's run times were measured on." },
    { "cpus-per-device", 0, "N", NULL, "CPUs a job takes with each device, where no trace says." },
    { "strict", 0, NULL, NULL, "Stop at the first line of a trace that cannot be read." },
    { "why", 0, "JOB", NULL,
      "Tell what this job waited for, and what would have started it sooner; may be given often." },
    { "check", 0, "N", NULL, "Check the scheduler's invariants after every N steps." },
    { "html", 0, "FILE", NULL, "Write a page with charts." },
    { "quiet", 'q', NULL, NULL, "No progress, no warnings." },
    { 0 },
};

struct plan { /* what one call works with */
    const struct cli_args *args;
    struct arena arena;
    struct catalogue *catalogue;
    struct sim_fleet *fleet;
    struct sim_load *load;
    struct sim_faults faults;
    struct sim_policy policies[SIM_POLICIES_MAX];
    struct sim_what runs[SIM_POLICIES_MAX]; /* each policy, then each with one change */
    struct sim_fleet *changed[SIM_POLICIES_MAX];
    struct sim_result results[SIM_POLICIES_MAX];
    uint32_t policies_count, runs_count, results_count;
    struct sim_policy own; /* the journal's */
    uint64_t seed, check_every;
    uint64_t stories[SIM_STORIES_MAX];
    uint32_t stories_count;
    int64_t until_ms;
    uint32_t measure_from, measure_to;
    struct progress progress;
};

static void plan_fini(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->results_count; i++)
        sim_result_fini(&plan->results[i]);
    sim_load_destroy(plan->load);
    for (uint32_t i = 0; i < SIM_POLICIES_MAX; i++)
        sim_fleet_destroy(plan->changed[i]);
    sim_fleet_destroy(plan->fleet);
    catalogue_destroy(plan->catalogue);
    arena_fini(&plan->arena);
}

static int get_number(const struct cli_args *args, const char *name, int64_t min, int64_t max,
                      int64_t *out, struct err *err)
{
    const char *text = cli_args_get(args, name);
    int rc = text ? units_parse_int(text, min, max, out, err) : 0;

    return rc < 0 ? err_prefix(err, rc, "--%s", name) : 0;
}

static int get_milli(const struct cli_args *args, const char *name, int64_t *out, struct err *err)
{
    const char *text = cli_args_get(args, name);
    int rc = text ? units_parse_milli(text, out, err) : 0;

    return rc < 0 ? err_prefix(err, rc, "--%s", name) : 0;
}

static void warn(void *context, const char *text)
{
    const struct plan *plan = context;

    if (!cli_args_has(plan->args, "quiet"))
        cli_fail_text(0, "%s", text);
}

/* What an option is given for must be there: nobody's wish is passed over in silence. */
static int check_options(const struct plan *plan, struct err *err)
{
    static const struct {
        const char *option;
        bool trace, load; /* goes with these */
        const char *with;
    } rows[] = {
        { "format", true, false, "--trace" },
        { "strict", true, false, "--trace" },
        { "asked", true, false, "--trace" },
        { "rates", true, false, "--trace" },
        { "chip", true, false, "--trace" },
        { "cpus-per-device", true, true, "--trace or a made-up --load" },
        { "jobs", true, true, "--trace or a made-up --load" },
        { "days", false, true, "a made-up --load" },
        { "offered", false, true, "a made-up --load" },
    };
    bool trace = cli_args_has(plan->args, "trace"), journal = cli_args_has(plan->args, "journal");
    bool load = !trace && !journal; /* a made-up one, where nothing is said */

    if (trace + journal + cli_args_has(plan->args, "load") > 1)
        return err_set(err, -EINVAL, "--trace, --load and --journal are loads: give one of them");
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        if (cli_args_has(plan->args, rows[i].option) && !(rows[i].trace && trace) &&
            !(rows[i].load && load))
            return err_set(err, -EINVAL, "--%s goes with %s", rows[i].option, rows[i].with);
    return 0;
}

/* A kind that neither the catalogue nor the fleet knows has no speed to go by. */
static int check_chip(const struct plan *plan, const char *chip, struct err *err)
{
    if (!chip || catalogue_find(plan->catalogue, chip))
        return 0;
    for (uint32_t s = 0; s < plan->fleet->sites_count; s++)
        for (uint32_t p = 0; p < plan->fleet->sites[s].pools_count; p++)
            if (strcmp(plan->fleet->sites[s].pools[p].chip, chip) == 0)
                return 0;
    return err_set(err, -EINVAL,
                   "--chip: neither the catalogue nor fleet %s knows \"%.40s\"; the catalogue "
                   "calls them h100-sxm-80g and the like",
                   plan->fleet->name, chip);
}

static int draw_load(struct plan *plan, uint32_t percent, struct err *err)
{
    int rc = sim_load_draw(plan->load, plan->fleet->devices_count, percent, plan->seed, err);

    if (rc == 0 && !plan->until_ms) /* the last one has arrived, and a pass was made for it */
        plan->until_ms = (int64_t)plan->load->jobs_count * SIM_DRAW_GAP_MS;
    return rc;
}

static int open_load(struct plan *plan, struct err *err)
{
    const char *name = cli_args_get(plan->args, "load"), *trace = cli_args_get(plan->args, "trace");
    const char *rates = cli_args_get(plan->args, "rates");
    struct sim_demo demo = { .load_milli = 800, .seed = plan->seed };
    struct sim_trace_how how = { .format = cli_args_get(plan->args, "format"),
                                 .chip = cli_args_get(plan->args, "chip"),
                                 .strict = cli_args_has(plan->args, "strict"),
                                 .warn = warn,
                                 .context = plan };
    int64_t jobs = 0, cpus = 0, asked = 0;
    int rc = get_number(plan->args, "jobs", 1, SIM_JOBS_MAX, &jobs, err);

    if (rc == 0)
        rc = get_number(plan->args, "cpus-per-device", 1, 4096, &cpus, err);
    if (rc == 0)
        rc = get_number(plan->args, "asked", 1, SIM_DRAW_PERCENT_MAX, &asked, err);
    if (rc == 0)
        rc = get_milli(plan->args, "days", &demo.days_milli, err);
    if (rc == 0)
        rc = get_milli(plan->args, "offered", &demo.load_milli, err);
    if (rc < 0)
        return rc;
    if (plan->load)
        return 0;
    rc = check_chip(plan, how.chip, err);
    if (rc < 0)
        return rc;
    how.jobs_max = demo.jobs = (uint32_t)jobs;
    how.cpus_per_device = (uint32_t)cpus;
    how.timeless = asked > 0;
    if (trace)
        rc = sim_trace_open(trace, &how, &plan->load, err);
    if (trace && rc == 0 && rates)
        rc = sim_rates_open(rates, plan->load, err);
    if (rc == 0 && asked)
        rc = draw_load(plan, (uint32_t)asked, err);
    if (trace)
        return rc;
    return sim_load_demo(name ? name : "demo", &demo, plan->fleet, plan->catalogue, &plan->load,
                         err);
}

/* The cells of the network that can be somewhere: --fleet may have other sites. */
static int keep_cells(struct plan *plan, struct err *err)
{
    struct sim_policy *own = &plan->own;
    struct sim_cells *kept = arena_alloc(&plan->arena, own->cells_count + 1, sizeof(*kept));
    uint32_t count = 0;
    char text[256];

    if (!kept)
        return err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < own->cells_count; i++) {
        if (sim_fleet_find_site(plan->fleet, own->cells[i].site) >= 0) {
            kept[count++] = own->cells[i];
            continue;
        }
        snprintf(text, sizeof(text), "cells of %s at %s are left out: fleet %s has no such site",
                 own->cells[i].tenant, own->cells[i].site, plan->fleet->name);
        warn(plan, text);
    }
    own->cells = kept;
    own->cells_count = count;
    return 0;
}

static int open_policies(struct plan *plan, struct err *err)
{
    const char *path;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && (path = cli_args_nth(plan->args, "policy", i)); i++) {
        if (i == SIM_POLICIES_MAX)
            return err_set(err, -E2BIG, "more than %u policies", SIM_POLICIES_MAX);
        rc = sim_policy_open(path, &plan->arena, &plan->policies[i], err);
        if (rc == 0 && !plan->policies[i].quotas_count) { /* the network's tenants, then */
            plan->policies[i].quotas = plan->own.quotas;
            plan->policies[i].quotas_count = plan->own.quotas_count;
            if (!plan->policies[i].cells_count) {
                plan->policies[i].cells = plan->own.cells;
                plan->policies[i].cells_count = plan->own.cells_count;
            }
        }
        plan->policies_count = i + 1;
    }
    if (!plan->policies_count)
        plan->policies[plan->policies_count++] = plan->own;
    return rc;
}

static int add_run(struct plan *plan, const struct sim_what *run, struct err *err)
{
    if (plan->runs_count == SIM_POLICIES_MAX)
        return err_set(err, -E2BIG, "more than %u runs: policies times changes", SIM_POLICIES_MAX);
    plan->runs[plan->runs_count++] = *run;
    return 0;
}

/* Each policy as it is, and with each change by itself. */
static int open_runs(struct plan *plan, struct err *err)
{
    const char *text;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < plan->policies_count; i++) {
        struct sim_what base = { plan->fleet, plan->faults, plan->policies[i] }, *changed;

        rc = add_run(plan, &base, err);
        for (uint32_t w = 0; rc == 0 && (text = cli_args_nth(plan->args, "what-if", w)); w++) {
            rc = add_run(plan, &base, err);
            if (rc < 0)
                return rc;
            changed = &plan->runs[plan->runs_count - 1];
            rc = sim_what_if(text, &base, plan->catalogue, &plan->arena, changed,
                             &plan->changed[plan->runs_count - 1], err);
            if (rc < 0)
                return err_prefix(err, rc, "--what-if");
            if (plan->policies_count > 1)
                snprintf(changed->policy.name, sizeof(changed->policy.name), "%.20s, %.40s",
                         base.policy.name, text);
        }
    }
    return rc;
}

static int get_stories(struct plan *plan, struct err *err)
{
    const char *text;
    int64_t id;

    while ((text = cli_args_nth(plan->args, "why", plan->stories_count))) {
        if (plan->stories_count == SIM_STORIES_MAX)
            return err_set(err, -E2BIG, "--why: more than %u jobs", SIM_STORIES_MAX);
        if (units_parse_int(text, 1, INT64_MAX, &id, err) < 0)
            return err_prefix(err, -EINVAL, "--why");
        plan->stories[plan->stories_count++] = (uint64_t)id;
    }
    return 0;
}

static int get_measure(struct plan *plan, struct err *err)
{
    const char *text = cli_args_get(plan->args, "measure"), *dash = text ? strchr(text, '-') : NULL;
    int64_t from = 0, to = 0;
    char first[16];

    if (!text)
        return 0;
    snprintf(first, sizeof(first), "%.*s", dash ? (int)MIN(dash - text, 15) : 0, text);
    if (!dash || units_parse_int(first, 0, SIM_JOBS_MAX, &from, NULL) < 0 ||
        units_parse_int(dash + 1, MAX(from, (int64_t)1), SIM_JOBS_MAX, &to, NULL) < 0)
        return err_set(err, -EINVAL, "--measure: expected two places in the load, as 4000-4999");
    plan->measure_from = (uint32_t)from;
    plan->measure_to = (uint32_t)to;
    return 0;
}

static int open_plan(struct plan *plan, struct err *err)
{
    const char *fleet = cli_args_get(plan->args, "fleet");
    const char *faults = cli_args_get(plan->args, "faults");
    const char *journal = cli_args_get(plan->args, "journal");
    const char *until = cli_args_get(plan->args, "until");
    int64_t seed = 1, check = 0;
    int rc = get_number(plan->args, "seed", 0, INT64_MAX, &seed, err);

    if (rc == 0)
        rc = get_number(plan->args, "check", 0, INT64_MAX, &check, err);
    if (rc == 0 && until && units_parse_duration(until, &plan->until_ms, err) < 0)
        rc = err_prefix(err, -EINVAL, "--until");
    if (rc == 0 && until && !plan->until_ms)
        rc = err_set(err, -EINVAL, "--until: expected some time, not \"%s\"", until);
    if (rc == 0)
        rc = check_options(plan, err);
    if (rc == 0)
        rc = get_stories(plan, err);
    if (rc == 0)
        rc = get_measure(plan, err);
    if (rc < 0)
        return rc;
    plan->seed = (uint64_t)seed;
    plan->check_every = (uint64_t)check;
    plan->faults = sim_faults_init();
    plan->own = sim_policy_init();
    rc = catalogue_load(NULL, &plan->catalogue, err);
    if (rc == 0 && journal)
        rc = sim_replay_open(journal, plan->catalogue, &plan->arena, &plan->load,
                             fleet ? NULL : &plan->fleet, &plan->own, err);
    if (rc == 0 && !plan->fleet)
        rc = sim_fleet_open(fleet ? fleet : "demo", plan->catalogue, &plan->fleet, err);
    if (rc == 0 && faults)
        rc = sim_faults_open(faults, &plan->arena, &plan->faults, err);
    if (rc == 0)
        rc = sim_faults_check(&plan->faults, plan->fleet, err);
    if (rc == 0)
        rc = keep_cells(plan, err);
    if (rc == 0)
        rc = open_policies(plan, err);
    if (rc == 0)
        rc = open_runs(plan, err);
    return rc == 0 && !cli_args_has(plan->args, "write-fleet") ? open_load(plan, err) : rc;
}

/* --- running ---------------------------------------------------------------------------------- */

static bool on_progress(void *context, uint64_t ended, uint64_t jobs, int64_t now_ms)
{
    struct plan *plan = context;
    char text[64];

    (void)jobs;
    units_print_duration(now_ms / 3600000 * 3600000, text, sizeof(text));
    progress_show(&plan->progress, ended, text);
    return true;
}

static int run_policies(struct plan *plan, struct err *err)
{
    bool shown = !cli_args_has(plan->args, "quiet") && isatty(STDERR_FILENO);
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < plan->runs_count; i++) {
        struct sim_setup setup = { .fleet = plan->runs[i].fleet,
                                   .load = plan->load,
                                   .faults = &plan->runs[i].faults,
                                   .policy = &plan->runs[i].policy,
                                   .catalogue = plan->catalogue,
                                   .seed = plan->seed,
                                   .until_ms = plan->until_ms,
                                   .measure_from = plan->measure_from,
                                   .measure_to = plan->measure_to,
                                   .check_every = plan->check_every,
                                   .progress = shown ? on_progress : NULL,
                                   .context = plan,
                                   .stories = plan->stories,
                                   .stories_count = plan->stories_count };

        plan->progress = progress_init(plan->runs[i].policy.name, plan->load->jobs_count);
        rc = sim_run(&setup, &plan->results[i], err);
        if (shown)
            progress_end(&plan->progress);
        plan->results_count += rc == 0;
    }
    return rc;
}

static int show(struct plan *plan, struct err *err)
{
    CLEANUP(buf_fini) struct buf out = buf_init(SIM_REPORT_BYTES_MAX);
    const char *html = cli_args_get(plan->args, "html");
    struct sim_report report = { .fleet = plan->fleet,
                                 .load = plan->load,
                                 .results = plan->results,
                                 .results_count = plan->results_count,
                                 .seed = plan->seed,
                                 .faults = cli_args_has(plan->args, "faults") };
    int rc = 0;

    for (uint32_t i = 0; i < plan->results_count; i++)
        report.faults |= plan->results[i].node_failures || plan->results[i].windows;
    if (html) {
        rc = sim_report_html(&report, &out);
        if (rc == 0)
            rc = file_put(html, out.data, out.len, 0644, err);
        buf_clear(&out);
    }
    if (rc < 0)
        return err->text[0] ? rc : err_set(err, rc, "out of memory");
    if (!cli_args_has(plan->args, "json"))
        return sim_show(&report);
    rc = sim_report_json(&report, &out);
    if (rc < 0)
        return err_set(err, rc, "out of memory");
    fwrite(out.data, 1, out.len, stdout);
    return 0;
}

static int write_fleet(const struct plan *plan, const char *path, struct err *err)
{
    CLEANUP(buf_fini) struct buf out = buf_init(SIM_REPORT_BYTES_MAX);
    int rc = sim_fleet_write(plan->fleet, &out);

    return rc < 0 ? err_set(err, rc, "out of memory")
                  : file_put(path, out.data, out.len, 0644, err);
}

static int run(const struct cli_args *args)
{
    struct plan plan = { .args = args, .arena = arena_init(PLAN_ARENA_BYTES_MAX) };
    struct err err = { 0 };
    int64_t began_ms = clock_mono_ms();
    const char *write_to = cli_args_get(args, "write-fleet"), *html = cli_args_get(args, "html");
    int rc = open_plan(&plan, &err);

    if (write_to) {
        if (rc == 0)
            rc = write_fleet(&plan, write_to, &err);
        plan_fini(&plan);
        return rc < 0 ? cli_fail(CLI_FAILED, &err) : CLI_OK;
    }
    if (rc == 0 && html) /* before the hours that a large run may take */
        rc = file_check_put(html, &err);
    if (rc == 0)
        rc = run_policies(&plan, &err);
    if (rc == 0)
        rc = show(&plan, &err);
    if (rc == 0 && !cli_args_has(args, "quiet") && !cli_args_has(args, "json"))
        fprintf(stderr, "Simulated in %.1f s.\n", (double)(clock_mono_ms() - began_ms) / 1000);
    plan_fini(&plan);
    return rc < 0 ? cli_fail(CLI_FAILED, &err) : CLI_OK;
}

const struct cli_command cmd_sim = {
    .name = "sim",
    .summary = "the same scheduler on a made-up clock: what would happen to a load on a fleet",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_JSON,
    .options = { options },
    .text = "Runs the controller's own scheduler over a fleet and a load, without waiting: the "
            "same inputs give the same bytes of --json. docs/simulator.md tells the file formats "
            "and the published traces that can be read.",
    .examples = { { "mains sim", "A demo load on a demo fleet." },
                  { "mains sim --fleet fleet.yaml --trace NASA-iPSC-1993-3.1-cln.swf.gz",
                    "A published trace on a fleet of one's own." },
                  { "mains sim --journal ~/.local/state/mains --what-if 'add: 200 at west' "
                    "--what-if 'lose: west at 2d'",
                    "The network's own past as it was; with 200 more cards; without a site." },
                  { "mains sim --journal ~/.local/state/mains --write-fleet now.yaml",
                    "Its sites as a file to change and give as --fleet." },
                  { "mains sim -p exact.yaml -p none.yaml --faults faults.yaml --html out.html",
                    "Two policies side by side under faults, with charts." } },
    .run = run,
};
