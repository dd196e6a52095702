/* job_json.h - jobs as the API shows them. Each gives a new reference, NULL when memory is short.
 * Secrets are never in what is shown. */
#pragma once

#include "controller/history_sql.h"
#include "grid/grid.h"

#include <jansson.h>

#define JOB_ID_TEXT_BYTES 40u

/* "12", or "12.3" for an element of an array. */
void job_id_print(uint64_t id, uint64_t array_id, uint32_t array_index,
                  char out[JOB_ID_TEXT_BYTES]);
/* false: not of that form. */
bool job_id_parse(const char *text, uint64_t *id_out, bool *is_element_out, uint32_t *index_out);

const char *job_class_name(uint32_t job_class);
const char *outcome_name(uint32_t outcome); /* "exited" */
json_t *time_to_json(int64_t unix_ms);      /* RFC 3339, null for 0 */
json_t *usage_to_json(const struct usage *usage);

/* `full`: with spec; attempts are added by the caller. */
json_t *job_view_to_json(const struct grid *grid, const struct job_view *view, bool full);
json_t *job_row_to_json(const struct history_job *row, bool full);
json_t *attempt_row_to_json(const struct history_attempt *attempt);

struct array_counts {
    uint64_t held, queued, running, done, failed, cancelled; /* running: holds an allocation */
};
/* An array as a whole: its state is that of the part of it that is furthest from its end. */
json_t *array_to_json(uint64_t array_id, uint32_t count, const char *name, const char *tenant,
                      const char *user, const struct array_counts *counts);
enum job_state array_state(const struct array_counts *counts);
