/* figures.h - what a scheduler must know of a kind of chip: numbers only, from the catalogue. */
#pragma once

#include "model/request.h"

struct chip_figures {
    char kind[MODEL_NAME_BYTES];
    int64_t metric_milli[METRIC_COUNT]; /* 1/1000 of the unit; -1 = not known */
    int32_t power_watts;                /* board under load; -1 = not known */
    int32_t power_idle_watts;           /* -1 = not known */
};
