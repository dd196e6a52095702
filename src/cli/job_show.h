/* job_show.h - what several commands show of jobs. */
#pragma once

#include "cli/remote.h"
#include "cli/table.h"

enum term_color job_state_color(const char *state);
bool job_state_is_over(const char *state);
/* How long it ran (or has run so far) or, not yet started, waits; ms. */
int64_t job_elapsed_ms(const json_t *job, int64_t now_ms);
/* What `run` and `wait` exit with: the job's code, 128 + signal, 124 time limit, 130 cancelled,
 * 125 when mains could not run it. */
int job_exit_status(const json_t *job);
/* "2 CPUs, 1 GiB, 1 x h100 on vm"; "" when it holds nothing. */
void job_print_place(const json_t *job, struct buf *out);
/* Energy, carbon and money of a usage object, as people read them. */
void usage_print_energy(const json_t *usage, char *out, size_t out_bytes); /* "1.2 kJ" */
void usage_print_carbon(const json_t *usage, char *out, size_t out_bytes); /* "0.12 g" */
void usage_print_price(const json_t *usage, char *out, size_t out_bytes);  /* "0.0042" */
/* A call that must be JSON for programs or a table for people: fetch, then one of the two. */
bool cli_wants_json(const struct cli_args *args);
