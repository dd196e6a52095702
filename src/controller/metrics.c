#include "controller/metrics.h"

#include "controller/api.h"
#include "controller/changes.h"
#include "controller/history.h"
#include "controller/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const int codes[] = { 200, 201, 202, 400, 401, 403, 404, 405, 409, 413, 422, 500, 503 };
#define CODES ARRAY_COUNT(codes)
static const int64_t bounds_us[] = { 500,   1000,   2500,   5000,    10000,  25000,
                                     50000, 100000, 250000, 1000000, 5000000 };
#define BOUNDS ARRAY_COUNT(bounds_us)

struct metrics {
    uint32_t routes_count;
    uint64_t (*requests)[CODES + 1]; /* per route and code; the last: other codes */
    uint64_t durations[BOUNDS + 1];
    int64_t duration_us_sum;
    struct usage used;
    uint64_t attempts;
};

struct metrics *metrics_create(uint32_t routes_count)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));

    if (!metrics)
        return NULL;
    metrics->routes_count = routes_count;
    metrics->requests = calloc(routes_count + 1, sizeof(*metrics->requests));
    if (!metrics->requests) {
        free(metrics);
        return NULL;
    }
    return metrics;
}

void metrics_destroy(struct metrics *metrics)
{
    if (!metrics)
        return;
    free(metrics->requests);
    free(metrics);
}

void metrics_count_request(struct metrics *metrics, uint32_t route, int status, int64_t us)
{
    size_t code = 0, bound = 0;

    while (code < CODES && codes[code] != status)
        code++;
    while (bound < BOUNDS && us > bounds_us[bound])
        bound++;
    metrics->requests[MIN(route, metrics->routes_count)][code]++;
    metrics->durations[bound]++;
    metrics->duration_us_sum += us;
}

void metrics_count_usage(struct metrics *metrics, const struct usage *usage)
{
    metrics->attempts++;
    metrics->used.cpu_ms += usage->cpu_ms;
    metrics->used.device_milli_ms += usage->device_milli_ms;
    metrics->used.energy_mj += usage->energy_mj;
    metrics->used.carbon_ug += usage->carbon_ug;
}

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void value(struct buf *out, const char *name, const char *type, const char *help, double v)
{
    head(out, name, type, help);
    buf_printf(out, "%s %.15g\n", name, v);
}

static void print_jobs(struct controller *controller, struct buf *out)
{
    struct grid_counts counts = grid_count(shell_grid(controller->shell));

    head(out, "mains_jobs", "gauge", "Live jobs by state.");
    buf_printf(out,
               "mains_jobs{state=\"held\"} %" PRIu64 "\nmains_jobs{state=\"queued\"} %" PRIu64
               "\nmains_jobs{state=\"starting\"} %" PRIu64
               "\nmains_jobs{state=\"running\"} %" PRIu64
               "\nmains_jobs{state=\"stopping\"} %" PRIu64 "\n",
               counts.held, counts.queued, counts.starting, counts.running, counts.stopping);
    value(out, "mains_jobs_submitted_total", "counter", "Jobs accepted.",
          (double)counts.submitted_total);
    head(out, "mains_jobs_ended_total", "counter", "Jobs ended, by final state.");
    buf_printf(out,
               "mains_jobs_ended_total{state=\"done\"} %" PRIu64
               "\nmains_jobs_ended_total{state=\"failed\"} %" PRIu64
               "\nmains_jobs_ended_total{state=\"cancelled\"} %" PRIu64 "\n",
               counts.done_total, counts.failed_total, counts.cancelled_total);
    value(out, "mains_attempts_total", "counter", "Attempts given to sites.",
          (double)counts.attempts_total);
    value(out, "mains_passes_total", "counter", "Scheduling passes.", (double)counts.passes_total);
}

static void print_sites(struct controller *controller, struct buf *out)
{
    const struct grid *grid = shell_grid(controller->shell);
    uint64_t cpus = 0, cpus_free = 0, devices = 0, milli_free = 0, nodes = 0, reachable_count = 0;

    for (uint32_t s = 0; s < grid_site_count(grid); s++) {
        struct site_totals totals = grid_site_totals(grid, s);
        bool reachable = false;

        grid_site_get(grid, s, &reachable);
        reachable_count += reachable;
        nodes += totals.nodes;
        cpus += totals.cpus;
        cpus_free += totals.cpus_free;
        devices += totals.devices;
        milli_free += totals.devices_free_milli;
    }
    value(out, "mains_sites", "gauge", "Sites known.", grid_site_count(grid));
    value(out, "mains_sites_reachable", "gauge", "Sites heard now.", (double)reachable_count);
    value(out, "mains_nodes", "gauge", "Nodes present.", (double)nodes);
    value(out, "mains_cpus", "gauge", "CPUs of the nodes present.", (double)cpus);
    value(out, "mains_cpus_free", "gauge", "CPUs that no attempt holds.", (double)cpus_free);
    value(out, "mains_devices", "gauge", "Devices of the nodes present.", (double)devices);
    value(out, "mains_devices_free", "gauge", "Devices, or shares of them, that are free.",
          (double)milli_free / 1000);
}

static void print_requests(const struct metrics *metrics, struct buf *out)
{
    uint64_t sum = 0;

    head(out, "mains_http_requests_total", "counter", "Requests answered, by route and code.");
    for (uint32_t r = 0; r <= metrics->routes_count; r++)
        for (size_t c = 0; c <= CODES; c++) {
            if (!metrics->requests[r][c])
                continue;
            buf_printf(out, "mains_http_requests_total{route=\"%s %s\",code=\"",
                       r < metrics->routes_count ? api_routes[r].method : "none",
                       r < metrics->routes_count ? api_routes[r].path : "");
            if (c < CODES)
                buf_printf(out, "%d\"} %" PRIu64 "\n", codes[c], metrics->requests[r][c]);
            else
                buf_printf(out, "other\"} %" PRIu64 "\n", metrics->requests[r][c]);
        }
    head(out, "mains_http_request_duration_seconds", "histogram",
         "From the request being whole to its answer, streams and long polls included.");
    for (size_t b = 0; b < BOUNDS; b++) {
        sum += metrics->durations[b];
        buf_printf(out, "mains_http_request_duration_seconds_bucket{le=\"%g\"} %" PRIu64 "\n",
                   (double)bounds_us[b] / 1e6, sum);
    }
    sum += metrics->durations[BOUNDS];
    buf_printf(out,
               "mains_http_request_duration_seconds_bucket{le=\"+Inf\"} %" PRIu64
               "\nmains_http_request_duration_seconds_sum %.6f"
               "\nmains_http_request_duration_seconds_count %" PRIu64 "\n",
               sum, (double)metrics->duration_us_sum / 1e6, sum);
}

static double resident_bytes(void)
{
    char text[128] = { 0 };
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    if (fgets(text, sizeof(text), file)) {
        char *end;

        total = strtol(text, &end, 10);
        resident = strtol(end, NULL, 10);
    }
    fclose(file);
    (void)total;
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void print_journal(struct controller *controller, struct buf *out)
{
    const struct shell *shell = controller->shell;
    const struct shell_stats *stats = shell_stats(shell);

    value(out, "mains_journal_durable_seq", "counter", "The newest record that is safe.",
          (double)shell_durable_seq(shell));
    value(out, "mains_journal_pending_records", "gauge", "Records stepped and not yet safe.",
          (double)(shell_last_seq(shell) - shell_durable_seq(shell)));
    value(out, "mains_journal_writable", "gauge", "1 while the journal can be written.",
          shell_is_writable(shell, NULL));
    value(out, "mains_journal_commits_total", "counter", "Group commits.",
          (double)stats->commits_total);
    head(out, "mains_journal_commit_seconds", "summary", "From hand-over to safe, one at a time.");
    buf_printf(out,
               "mains_journal_commit_seconds_sum %.6f\nmains_journal_commit_seconds_count %" PRIu64
               "\n",
               (double)stats->commit_us_sum / 1e6, stats->commit_samples);
    value(out, "mains_snapshots_total", "counter", "Snapshots taken since the start.",
          (double)stats->snapshots_total);
    value(out, "mains_history_applied_seq", "counter", "The journal's record the history is at.",
          (double)history_applied_seq(controller->history));
    value(out, "mains_pass_seconds_last", "gauge", "How long the last scheduling pass took.",
          (double)stats->pass_us_last / 1e6);
}

void metrics_print(struct controller *controller, struct buf *out)
{
    const struct metrics *metrics = controller->metrics;

    print_jobs(controller, out);
    print_sites(controller, out);
    print_journal(controller, out);
    print_requests(metrics, out);
    value(out, "mains_site_sessions", "gauge", "Command streams open.",
          sessions_count(controller->sessions));
    value(out, "mains_event_clients", "gauge", "Clients of the event stream.",
          events_clients(controller->events));
    /* Of attempts that ended since this start: sums over all time are in GET /usage. */
    value(out, "mains_used_cpu_seconds_total", "counter", "CPU time of ended attempts.",
          (double)metrics->used.cpu_ms / 1e3);
    value(out, "mains_used_device_seconds_total", "counter", "Device time held by ended attempts.",
          (double)metrics->used.device_milli_ms / 1e6);
    value(out, "mains_used_energy_joules_total", "counter", "Energy of ended attempts.",
          (double)metrics->used.energy_mj / 1e3);
    value(out, "mains_used_co2_grams_total", "counter", "CO2 equivalent of ended attempts.",
          (double)metrics->used.carbon_ug / 1e6);
    value(out, "mains_resident_memory_bytes", "gauge", "Resident memory of the controller.",
          resident_bytes());
    value(out, "mains_start_time_seconds", "gauge", "Unix time of the start.",
          (double)controller->started_ms / 1e3);
}
