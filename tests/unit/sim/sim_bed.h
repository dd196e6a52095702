/* sim_bed.h - a fleet, a load and one run, from text. */
#pragma once

#include "sim/report.h"
#include "sim/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct bed {
    struct catalogue *catalogue;
    struct sim_fleet *fleet;
    struct sim_load *load;
    struct arena arena;
    struct sim_faults faults;
    struct sim_policy policy;
    struct sim_result result;
    uint64_t seed;
    int64_t until_ms;
    uint64_t story; /* of this job; 0 = none */
};

static inline struct bed bed_init(const char *fleet, const char *format, const char *trace)
{
    struct bed bed = { .arena = arena_init(1u << 20),
                       .faults = sim_faults_init(),
                       .policy = sim_policy_init(),
                       .seed = 1 };
    struct sim_trace_how how = { .format = format };
    struct sim_lines *lines = NULL;
    struct err err = { 0 };

    if (catalogue_load(NULL, &bed.catalogue, &err) < 0 ||
        sim_fleet_read("fleet.yaml", fleet, strlen(fleet), bed.catalogue, &bed.fleet, &err) < 0 ||
        sim_lines_of_memory("trace", trace, strlen(trace), &lines, &err) < 0)
        fail_msg("%s", err.text);
    if (sim_trace_read(lines, &how, &bed.load, &err) < 0)
        fail_msg("%s", err.text);
    sim_lines_close(lines);
    return bed;
}

static inline void bed_set_faults(struct bed *bed, const char *text)
{
    struct err err = { 0 };

    if (sim_faults_read("faults.yaml", text, strlen(text), &bed->arena, &bed->faults, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void bed_set_policy(struct bed *bed, const char *text)
{
    struct err err = { 0 };

    if (sim_policy_read("p.yaml", text, strlen(text), &bed->arena, &bed->policy, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void bed_run(struct bed *bed)
{
    struct sim_setup setup = { .fleet = bed->fleet,
                               .load = bed->load,
                               .faults = &bed->faults,
                               .policy = &bed->policy,
                               .catalogue = bed->catalogue,
                               .seed = bed->seed,
                               .until_ms = bed->until_ms,
                               .check_every = 1,
                               .stories = &bed->story,
                               .stories_count = bed->story != 0 };
    struct err err = { 0 };

    sim_result_fini(&bed->result);
    if (sim_run(&setup, &bed->result, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void bed_report(const struct bed *bed, struct buf *out)
{
    struct sim_report report = { .fleet = bed->fleet,
                                 .load = bed->load,
                                 .results = &bed->result,
                                 .results_count = 1,
                                 .seed = bed->seed,
                                 .faults = true };

    assert_int_equal(sim_report_json(&report, out), 0);
}

static inline void bed_fini(struct bed *bed)
{
    sim_result_fini(&bed->result);
    sim_load_destroy(bed->load);
    sim_fleet_destroy(bed->fleet);
    catalogue_destroy(bed->catalogue);
    arena_fini(&bed->arena);
}
