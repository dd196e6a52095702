/* gavel_data.h - the public rates and workloads of Gavel (OSDI'20): 3 kinds of GPU, 26 kinds of
 * job, 6,000 jobs a list. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define GAVEL_KINDS 3u /* v100, p100, k80 */
#define GAVEL_TYPES_MAX 32u
#define GAVEL_GANGS 4u /* 1, 2, 4, 8 */
#define GAVEL_JOBS_MAX 6000u
#define GAVEL_WORKS (GAVEL_TYPES_MAX * GAVEL_GANGS)

struct gavel_rates {
    uint32_t types_count;
    char types[GAVEL_TYPES_MAX][48];
    double steps_per_s[GAVEL_KINDS][GAVEL_WORKS]; /* alone, on one server; 0 = cannot */
    float *share; /* [kind][work][work]: rate beside another over the rate alone */
};

struct gavel_job {
    double gap; /* to the job before, in mean gaps */
    double steps;
    uint32_t work, gang; /* work = gang's index x GAVEL_TYPES_MAX + type */
};
struct gavel_list {
    struct gavel_job jobs[GAVEL_JOBS_MAX];
    uint32_t count;
};

/* -ENOENT: the data is not at hand. */
int gavel_read_rates(const char *folder, struct gavel_rates *rates, struct err *err);
void gavel_rates_fini(struct gavel_rates *rates);
int gavel_read_list(const char *folder, const struct gavel_rates *rates, bool is_multi,
                    uint32_t seed, struct gavel_list *list, struct err *err);
/* A list as the authors' generator makes them, of other draws: for checking. */
void gavel_make_list(const struct gavel_rates *rates, bool is_multi, uint64_t seed,
                     struct gavel_list *list);
