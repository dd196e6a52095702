/* job_lookup.h - from the id in a request to the job, wherever it is by now: live in the grid,
 * or ended in the history (once all that ended before this request is in it).
 *
 * Answers 400, 404 (also for other tenants' jobs) and 503 itself. */
#pragma once

#include "controller/api.h"
#include "controller/job_json.h"

enum job_kind { JOB_IS_LIVE, JOB_IS_ENDED, JOB_IS_ARRAY };
struct job_found {
    enum job_kind kind;
    uint64_t id;                /* of the job (elements have their own), or of the array */
    struct job_view view;       /* live */
    struct history_job row;     /* ended; an array: any element that ended, id 0 = none */
    struct array_counts counts; /* array */
    uint32_t array_count;
    char tenant[MODEL_NAME_BYTES], user[MODEL_NAME_BYTES], name[MODEL_NAME_BYTES];
};
typedef void (*job_found_fn)(struct api_call *call, const struct job_found *found);

/* `text` as in the path. `then` runs once, perhaps at once; what it is given is good during the
 * call only. While it waits, the call's `gone` and `kept` are in use. */
void job_lookup(struct api_call *call, const char *text, job_found_fn then);

/* The whole answer for one job, with its attempts. NULL: no memory, or the history failed. */
json_t *job_found_to_json(struct controller *controller, const struct job_found *found, bool full);
bool job_found_is_final(const struct job_found *found);
/* 202 with the id as it was asked for and the state as it is now, once `seq` is durable. */
void job_reply_state(struct api_call *call, const struct job_found *found, uint64_t seq);

/* Live job by internal id or array and index; false: not live. */
bool job_find_live(struct grid *grid, uint64_t id, bool is_element, uint32_t index,
                   struct job_view *view_out);
/* For `after`: text is an id, or the name of a job of this tenant (the newest). 0 and `id_out` 0:
 * it ended and what the dependency asks holds already. -ENOENT; -EPROTO: it ended otherwise. */
int job_resolve_dep(struct controller *controller, const char *tenant, const char *text,
                    enum dep_kind kind, uint64_t *id_out, struct err *err);
