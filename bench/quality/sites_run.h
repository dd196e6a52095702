/* sites_run.h - flexible jobs over up to 16 sites with a price each: wait, or pay for moving the
 * data and run elsewhere. Beside it staying at home, and the oracle. */
#pragma once

#include "shift_run.h"

struct sites_result {
    double at_once, stay, ours, oracle; /* USD, moves included */
    double moved_gain;                  /* of all moves, against the same jobs staying */
    double least_home_gain;             /* the same, of the home site whose moves gained least */
    double lost, worst;                 /* of the moves that lost: together, and the worst one */
    uint32_t sites, jobs, moved, moves_lost, missed;
};
int sites_run(const struct grid_table *table, double error_sd, uint32_t jobs_count, uint64_t seed,
              struct sites_result *result_out);
/* What `cost` saved against at_once, in per cent of the oracle. */
double sites_share(const struct sites_result *result, double cost);
