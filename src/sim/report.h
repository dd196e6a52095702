/* report.h - results for people and for programs. */
#pragma once

#include "base/buf.h"
#include "sim/engine.h"

struct sim_report {
    const struct sim_fleet *fleet;
    const struct sim_load *load;
    const struct sim_result *results; /* one a policy */
    uint32_t results_count;
    uint64_t seed;
    bool faults; /* a fault plan was given */
};

#define SIM_REPORT_BYTES_MAX (64u << 20)

/* One JSON object and a newline (docs/simulator.md, "The result"). The same inputs give the same
 * bytes. -ENOMEM. */
int sim_report_json(const struct sim_report *report, struct buf *out);
/* One page with its charts inside (SVG), nothing loaded from elsewhere. -ENOMEM. */
int sim_report_html(const struct sim_report *report, struct buf *out);
/* Held share of what there was, in 1/1000 of a percent: devices, or CPUs where it has none. */
double sim_result_utilisation(const struct sim_report *report, const struct sim_result *result);
double sim_group_utilisation(const struct sim_result *result, const struct sim_group *group);
/* Useful share of held time; -1 where nothing was held. */
double sim_result_goodput(const struct sim_result *result);
/* Of jobs that were restarted: useful time over the time from first start to end; -1: none was. */
double sim_result_ettr(const struct sim_result *result);
