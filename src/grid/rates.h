/* rates.h - inside src/grid: the network's knowledge of jobs' work, where steps touch it. */
#pragma once

#include "grid/fields.h"
#include "grid/grid.h"
#include "sched/shape.h"

struct job;

int rates_check(const struct request_work *work, struct err *err);
/* A submit tells of its work: the shape with its class's number. The request's own where it tells
 * nothing; else `shape_out`. */
const struct request_shape *rates_told(struct grid *grid, const char *tenant,
                                       const struct job_request *request,
                                       struct request_shape *shape_out);
void rates_site_joined(struct grid *grid, const char *name);
/* Before its grant is released. */
/* Seconds of a unit of the running job's work, were it so many tasks wide where it is; 0 = not
 * known. */
double rates_at_width(const struct grid *grid, const struct job *job, uint32_t tasks);
void rates_attempt_ended(struct grid *grid, const struct job *job,
                         const struct event_attempt_ended *ended);
/* "0.42 s a unit (learned of 3 runs, spread 15 %)" */
void rates_print(const struct rate *rate, char *out, size_t bytes);
/* The same for a job, where it is or would best be, with its units; "" when that is not known. */
void rates_why(struct grid *grid, const struct job *job, char *out, size_t bytes);
/* Around a plan: `own` (zeroed) holds what the request tells, when its class is not known yet. */
void rates_plan_begin(struct grid *grid, const char *tenant, const struct job_request *request,
                      struct work_book *own, struct request_shape *shape);
void rates_plan_end(struct grid *grid, struct work_book *own, struct shape *shape);

/* The snapshot's section, which stands before the jobs'. */
void rates_put(const struct grid *grid, struct buf *out);
int rates_take(struct grid *grid, struct cursor *in);
