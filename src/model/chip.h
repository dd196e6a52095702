/* chip.h - the catalogue: what kinds of accelerator exist and what they can do.
 *
 * Loaded from data/chips.csv (built into the program, so that it runs anywhere) and from the
 * operator's own file, whose rows replace or add kinds. Figures are 1/1000 of the unit; -1 = not
 * known (never a guess). A catalogue is immutable after load and may be shared. */
#pragma once

#include "base/err.h"
#include "model/request.h"

struct chip {
    char kind[MODEL_NAME_BYTES]; /* key: "h100-sxm5-80g" */
    char vendor[32];             /* "nvidia" */
    char model[96];              /* as the vendor's tool prints it, about */
    char family[32];             /* "cuda", "rocm", "habana", "cann", ..., "opencl": job variants */
    int64_t metric_milli[METRIC_COUNT];
    int32_t power_watts;      /* board power under load; -1 unknown */
    int32_t power_idle_watts; /* -1 unknown: the energy model then takes 15 % of power_watts */
};

struct catalogue;
/* The built-in rows, then `path` (NULL = none) over them. Errors name file and line. */
int catalogue_load(const char *path, struct catalogue **catalogue_out, struct err *err);
void catalogue_destroy(struct catalogue *catalogue);
uint32_t catalogue_count(const struct catalogue *catalogue);
const struct chip *catalogue_get(const struct catalogue *catalogue, uint32_t index);
const struct chip *catalogue_find(const struct catalogue *catalogue, const char *kind);
/* Best match for what a vendor's tool printed ("NVIDIA H100 80GB HBM3", memory); NULL when none. */
const struct chip *catalogue_match(const struct catalogue *catalogue, const char *vendor,
                                   const char *model, int64_t memory_bytes);
/* "bf16_tflops" <-> METRIC_BF16_TFLOPS */
const char *chip_metric_name(enum chip_metric metric);
int chip_metric_find(const char *name); /* -1 = none */
