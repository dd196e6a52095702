/* owners.h - what owners let happen at their sites and operators limit them to, as the grid keeps
 * it. Only for the files of this folder; sched/owner.h judges. */
#pragma once

#include "grid/event.h"

struct grid;
struct job;
struct terms;
struct cursor;
struct shape;
struct why;
struct verdict;

int owners_check(const struct grid *grid, const struct event_site_policy *event, struct err *err);
void owners_apply(struct grid *grid, const struct event_site_policy *event);
/* Who asks, into the shape, as far as some owner wants to know it. */
void owners_fill(const struct grid *grid, const char *tenant, const struct terms *terms,
                 struct request_shape *shape);
bool owners_ask(const struct grid *grid); /* does any want to know who asks? */
void owners_ask_again(struct grid *grid); /* of all live jobs */
/* The site has refused the job, which is not queued: it is not asked again. */
void owners_refused(struct grid *grid, struct job *job, uint32_t site);
/* Windows that have opened or are about to close (grid.owners_next_ms says when that is). */
void owners_tick(struct grid *grid);
/* Is the tenant, or one above it, whose work is the site's owner's own? */
bool owners_is_own(const struct grid *grid, uint32_t tenant, uint32_t site);
/* Does the job come within the share of the site that is its owner's own, and is it the owner's? */
bool owners_claims(const struct grid *grid, const struct job *job, uint32_t site);
/* Is what the job holds there within that share? */
bool owners_protects(const struct grid *grid, const struct job *job, uint32_t site);
/* The cap of its owner or of an operator, the lesser; -1 = none. In W. */
int64_t owners_cap_watts(const struct grid *grid, uint32_t site);
void owners_put(const struct grid *grid, struct buf *out);
int owners_take(struct grid *grid, struct cursor *in); /* -EBADMSG. The fleet is there */
int owners_check_shapes(const struct grid *grid, const struct job *job, struct err *err);

/* owners_say.c */
void owners_why_barred(struct grid *grid, const struct job *job, uint32_t site, struct why *why);
/* The site is not heard, as its plan of contacts has it; false: that is not it. */
bool owners_why_silent(const struct grid *grid, uint32_t site, struct why *why);
/* It would start now, but for the hours of a site; false: that is not it. */
bool owners_why_hours(struct grid *grid, const struct job *job, struct why *why);
void owners_say_bar(const struct grid *grid, const struct shape *shape, uint32_t site, char *out,
                    size_t bytes);
