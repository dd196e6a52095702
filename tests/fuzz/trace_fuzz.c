/* trace_fuzz.c - hostile traces and sim files: the first byte chooses the reader. What is taken
 * must be in order and within its bounds. */
#include "sim/engine.h"
#include "sim/keys.h"
#include "sim/trace.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *format;

    if (!size)
        return 0;
    format = data[0] >= '0' ? sim_trace_format(data[0] - '0', NULL) : NULL;
    if (format)
        read_trace(format, data + 1, size - 1);
    else
        read_files(data[0] % 3, data + 1, size - 1);
    return 0;
}
