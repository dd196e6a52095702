/* freight.h - what is moved for jobs and how long they wait in sites' own queues, as the grid keeps
 * it. Only for the files of this folder; sched/freight.h reckons.
 *
 * A job's shape carries what is moved for it only while some owner has told what that costs or how
 * fast it is, or while the job bounds its price: else shapes are shared as ever. It holds from one
 * attempt to the next: a checkpoint that came, and money that was spent, count when the job is
 * queued again. */
#pragma once

#include "grid/event.h"

struct grid;
struct job;
struct job_past;
struct terms;
struct cursor;
struct why;

#define FREIGHT_BYTES_MIN (INT64_C(16) << 20)      /* what is smaller does not matter to a place */
#define FREIGHT_RATE_MAX INT64_C(1000000000000000) /* of a link, in bytes a second */

int freight_check(const struct grid *grid, const struct event *event, struct err *err);
void freight_apply(struct grid *grid, const struct event *event);
void freight_forget(struct grid *grid, uint32_t site); /* its queue, its link, what it has */
int freight_check_request(const struct job_request *request, struct err *err);
/* Into the terms of what is submitted: what it is expected to leave. */
void freight_expect(const struct grid *grid, const char *tenant, const char *user, const char *name,
                    struct terms *terms);
/* Into the shape; `past` NULL: it has not run. True: there is something. */
bool freight_fill(const struct grid *grid, const struct terms *terms, const struct job_past *past,
                  struct request_shape *shape);
/* Does some site tell what data costs on its way, or how fast that is? */
bool freight_is_told(const struct grid *grid);
void freight_told_again(struct grid *grid); /* some site's policy has changed */
/* The job, which holds nothing, has another checkpoint or has spent something. */
void freight_reshape(struct grid *grid, struct job *job);
/* Its grant is made; its attempt runs; its checkpoint is in the store; it has ended. */
void freight_granted(struct grid *grid, struct job *job);
void freight_started(struct grid *grid, const struct job *job);
void freight_saved(struct grid *grid, const struct event_checkpoint_stored *stored);
void freight_ended(struct grid *grid, const struct job *job,
                   const struct event_attempt_ended *ended);
/* Who waits in a site's own queue for longer than was told goes elsewhere, where that is clearly
 * sooner. At the end of a pass. */
void freight_withdraw(struct grid *grid);
void freight_tick(struct grid *grid);
int64_t freight_next_ms(const struct grid *grid);
/* One line: what is moved to its best place and how long it waits there; "" = nothing. */
void freight_say(struct grid *grid, const struct job *job, char *out, size_t bytes);
/* Its bound on the price keeps it from starting anywhere; false: that is not it. */
bool freight_why_dear(struct grid *grid, const struct job *job, struct why *why);

/* freight_snapshot.c */
void freight_put(const struct grid *grid, struct buf *out);
int freight_take(struct grid *grid, struct cursor *in); /* -EBADMSG. The fleet is there */
void freight_put_shape(const struct request_freight *freight, struct buf *out);
int freight_take_shape(struct cursor *in, struct request_freight *freight);
void freight_put_terms(const struct terms *terms, struct buf *out);
/* Into the request; what it is expected to leave, of which a request says nothing, beside it. */
int freight_take_terms(struct cursor *in, struct job_request *request, int64_t *out_bytes_out);

/* Invariants, of freight.c. */
int freight_check_shapes(const struct grid *grid, const struct job *job, struct err *err);
int freight_check_sites(const struct grid *grid, struct err *err);
