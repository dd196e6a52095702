/* sim_model.h - what must be true of the effects, computed from the effects alone.
 *
 * A function of the event log, as the grid is: after a crash it is rebuilt by the same replay. */
#pragma once

#include "sim_site.h"

#define MODEL_PARTS_MAX 32u

struct model_part {
    char node[16];
    uint32_t cpus, devices_count;
    struct {
        char uuid[24];
        uint32_t milli;
    } devices[SIM_DEVICES_MAX];
};
struct model_holding {
    uint64_t job_id;
    uint32_t epoch;
    uint32_t site;
    int64_t granted_ms;
    uint32_t parts_count, spares_count;
    struct model_part parts[MODEL_PARTS_MAX];
    uint64_t cpus, devices_milli;
    uint64_t cpu_ms_more, device_milli_ms_more; /* of nodes that came later, or have gone */
};
struct model {
    struct model_holding *holdings;
    uint32_t holdings_count, holdings_cap;
    uint8_t ended[SIM_IDS_MAX];
    uint32_t epochs[SIM_IDS_MAX];
    int64_t now_ms;
    uint64_t cpus, devices_milli;               /* held now */
    uint64_t cpu_ms, device_milli_ms;           /* integrals */
    uint64_t rows_cpu_ms, rows_device_milli_ms; /* of the ledger rows */
    uint64_t rows, runs, settled, price_micro;
};

void model_reset(struct model *model);
void model_fini(struct model *model);
/* Before the step: its time passes. */
void model_advance(struct model *model, int64_t time_ms);
void model_hear(struct model *model, struct sim_truth *truth, const struct grid *grid,
                const struct effect *effect);
