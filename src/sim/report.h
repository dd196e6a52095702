/* report.h - results for people and for programs. */
#pragma once

#include "base/buf.h"
#include "sim/engine.h"

struct sim_report {
    const struct sim_fleet *fleet; /* a result's may have more nodes (sim/what.h): the same sites */
    const struct sim_load *load;
    const struct sim_result *results; /* one a policy */
    uint32_t results_count;
    uint64_t seed;
    bool faults; /* a fault plan was given */
};

#define SIM_REPORT_BYTES_MAX (512u << 20) /* 1,000 sites with their series */

/* One JSON object and a newline (docs/simulator.md, "The result"). The same inputs give the same
 * bytes. -ENOMEM. */
int sim_report_json(const struct sim_report *report, struct buf *out);
/* One page with its charts inside (SVG), nothing loaded from elsewhere. -ENOMEM. */
int sim_report_html(const struct sim_report *report, struct buf *out);
/* What there was: devices, or CPUs. */
uint64_t sim_result_capacity(const struct sim_result *result, bool devices);
double sim_result_room(const struct sim_result *result, bool devices); /* as series have it */
/* The group of the site with the chip ("" = its CPUs); UINT32_MAX: it has none. */
uint32_t sim_result_group(const struct sim_result *result, uint32_t site, const char *chip);
/* Held share of what there was, 0 to 1: devices, or CPUs where it has none. */
double sim_result_utilisation(const struct sim_report *report, const struct sim_result *result);
/* Of the devices, as the run was stopped (0 where it was not); -1 where there are none. */
double sim_result_held(const struct sim_result *result);
/* The same while jobs came: from the start to the last submit, in whole buckets. -1: they came in
 * less than one. The rest of a run is the long tail of its longest jobs. */
double sim_result_utilisation_arrivals(const struct sim_report *report,
                                       const struct sim_result *result);
double sim_group_utilisation_arrivals(const struct sim_report *report,
                                      const struct sim_result *result, uint32_t group);
/* Jobs came for an hour or more, and some result lasted well beyond: then the use while they came
 * says more. */
bool sim_report_has_tail(const struct sim_report *report);
int64_t sim_load_span_ms(const struct sim_load *load); /* to the last submit */
double sim_group_utilisation(const struct sim_result *result, const struct sim_group *group);
/* Of all waiting that was asked about, the share of one reason; 0 where nothing was. */
double sim_result_reason_share(const struct sim_result *result, uint32_t reason);
/* Useful share of held time; -1 where nothing was held. */
double sim_result_goodput(const struct sim_result *result);
/* Of jobs that were restarted: useful time over the time from first start to end; -1: none was. */
double sim_result_ettr(const struct sim_result *result);
