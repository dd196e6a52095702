/* trace_fuzz.c - hostile traces, sim files and changes in words: the first byte chooses the reader.
 * What is taken must be in order and within its bounds. */
#include "sim/engine.h"
#include "sim/keys.h"
#include "sim/rates.h"
#include "sim/trace.h"
#include "sim/what.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a buffer when it refuses some long quoted keys. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml";
}

static void check_load(const struct sim_load *load)
{
    for (uint32_t i = 0; i < load->jobs_count; i++) {
        const struct sim_job *job = &load->jobs[i];

        if (job->submit_ms < 0 || (i && job->submit_ms < load->jobs[i - 1].submit_ms) ||
            job->run_ms < 0 || job->run_ms > SIM_RUN_MS_MAX || job->user >= load->names_count ||
            job->tenant >= load->names_count || job->chips >= load->chip_sets_count ||
            (!job->tasks && !job->gpus) || job->job_class >= CLASS_COUNT)
            abort();
    }
}

static void read_trace(const char *format, const uint8_t *data, size_t size)
{
    struct sim_trace_how how = { .format = format };
    struct sim_lines *lines;
    struct sim_load *load;

    if (sim_lines_of_memory("fuzz", data, size, &lines, NULL) < 0)
        return;
    if (sim_trace_read(lines, &how, &load, NULL) == 0) {
        check_load(load);
        sim_load_destroy(load);
    }
    sim_lines_close(lines);
}

/* What is written reads back, and is then written the same. */
static void write_fleet(const struct sim_fleet *fleet, const struct catalogue *catalogue)
{
    struct buf first = buf_init(256u << 20), second = buf_init(256u << 20);
    struct sim_fleet *again = NULL;

    if (sim_fleet_write(fleet, &first) == 0 && first.len < SIM_FILE_BYTES_MAX) {
        if (sim_fleet_read("w", first.data, first.len, catalogue, &again, NULL) < 0 ||
            sim_fleet_write(again, &second) < 0 || first.len != second.len ||
            memcmp(first.data, second.data, first.len) != 0)
            abort();
        sim_fleet_destroy(again);
    }
    buf_fini(&first);
    buf_fini(&second);
}

/* Beside a job of the class "w". */
static void read_rates(const uint8_t *data, size_t size)
{
    static const char trace[] = "submit_s,run_s,gpus,work,units\n0,10,1,w,5\n";
    struct sim_trace_how how = { .format = "jobs" };
    struct sim_lines *lines;
    struct sim_load *load = NULL;

    if (sim_lines_of_memory("jobs", trace, sizeof(trace) - 1, &lines, NULL) < 0)
        return;
    if (sim_trace_read(lines, &how, &load, NULL) < 0)
        abort();
    sim_lines_close(lines);
    if (sim_lines_of_memory("rates", data, size, &lines, NULL) == 0) {
        if (sim_rates_read(lines, load, NULL) == 0)
            check_load(load);
        sim_lines_close(lines);
    }
    sim_load_destroy(load);
}

static void read_files(uint32_t which, const uint8_t *data, size_t size)
{
    struct arena arena = arena_init(64u << 20);
    struct sim_fleet *fleet = NULL;
    struct sim_faults faults;
    struct sim_policy policy;
    struct catalogue *catalogue;

    if (which == 0 && catalogue_load(NULL, &catalogue, NULL) == 0) {
        if (sim_fleet_read("f", (const char *)data, size, catalogue, &fleet, NULL) == 0) {
            write_fleet(fleet, catalogue);
            sim_fleet_destroy(fleet);
        }
        catalogue_destroy(catalogue);
    } else if (which == 1) {
        (void)sim_faults_read("f", (const char *)data, size, &arena, &faults, NULL);
    } else {
        (void)sim_policy_read("f", (const char *)data, size, &arena, &policy, NULL);
    }
    arena_fini(&arena);
}

/* A change in words, tried on a fleet of two sites. */
static void read_change(const uint8_t *data, size_t size)
{
    static const char sites[] =
        "sites: [ { name: a, pools: [ { name: p, nodes: 2, cpus: 8, memory: 1Gi, devices: 4, chip: "
        "odd } ] }, { name: b, pools: [ { name: q, nodes: 1, cpus: 8, memory: 1Gi } ] } ]";
    struct sim_what base = { .faults = sim_faults_init(), .policy = sim_policy_init() }, out;
    struct arena arena = arena_init(64u << 20);
    struct sim_fleet *fleet = NULL, *changed = NULL;
    struct catalogue *catalogue;
    char text[SIM_WHAT_BYTES_MAX + 64] = "";

    memcpy(text, data, MIN(size, sizeof(text) - 1));
    if (catalogue_load(NULL, &catalogue, NULL) < 0)
        return;
    if (sim_fleet_read("f", sites, strlen(sites), catalogue, &fleet, NULL) < 0)
        abort();
    base.fleet = fleet;
    if (sim_what_if(text, &base, catalogue, &arena, &out, &changed, NULL) == 0 &&
        (out.fleet->sites_count != 2 || out.fleet->nodes_count < 3 ||
         (changed != NULL) != (out.fleet != fleet)))
        abort();
    sim_fleet_destroy(changed);
    sim_fleet_destroy(fleet);
    catalogue_destroy(catalogue);
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *format;

    if (!size)
        return 0;
    format = data[0] >= '0' ? sim_trace_format(data[0] - '0', NULL) : NULL;
    if (format)
        read_trace(format, data + 1, size - 1);
    else if (data[0] == '$')
        read_change(data + 1, size - 1);
    else if (data[0] == '%')
        read_rates(data + 1, size - 1);
    else
        read_files(data[0] % 3, data + 1, size - 1);
    return 0;
}
