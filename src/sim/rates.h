/* rates.h - measured rates for a load: seconds that a unit of each class of work takes on each kind
 * of chip.
 *
 * A table with the columns work, chip, seconds (up to 3 decimals, of all devices of a job
 * together; a class whose jobs are of several sizes has another name for each). Jobs whose class
 * (`work`) is in it run for their `units` times the seconds of the chip they got, and tell the
 * scheduler all of the class's rates, as a job file's `work.seconds_per_unit` does. */
#pragma once

#include "sim/lines.h"
#include "sim/load.h"

#define SIM_RATES_MAX 100000u

struct sim_pace {
    uint32_t work, chip; /* sim_load_name */
    int64_t seconds_milli;
};

/* Into the load, whose jobs of these classes then run as long as on their best chip; once.
 * -EINVAL and "file:line: what"; -errno of the open. */
int sim_rates_open(const char *path, struct sim_load *load, struct err *err);
int sim_rates_read(struct sim_lines *lines, struct sim_load *load, struct err *err);
/* The class's rates, side by side; NULL = none. */
const struct sim_pace *sim_rates_of(const struct sim_load *load, uint32_t work,
                                    uint32_t *count_out);
/* Seconds a unit in 1/1000 on the chip ("" = without devices), 0 = not told, and on the class's
 * best; false: nothing is told of the class. */
bool sim_rates_find(const struct sim_load *load, uint32_t work, const char *chip, int64_t *out,
                    int64_t *best_out);
