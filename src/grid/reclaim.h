/* reclaim.h - tenants' own work takes its guaranteed cells (guards.h), and what is lent there makes
 * way.
 *
 * As a pass begins, the first QUEUE_NEAR of each bucket whose tenant has cells are looked at in the
 * order of the queue, each tenant's as it would be alone on its cells:
 *   - who fits there now, beside the starts promised to others of it, starts;
 *   - who would fit were nothing lent there is promised that place, and what is lent in it is
 *     stopped: of all that is lent the cheapest first (preempt.c's order), nobody without need;
 *   - the first few of each class that its own work keeps out are promised a start as well, so many
 *     as alone (`reservations`), besides the network's.
 * So it starts at the latest when it would in a cluster of its own by the same rules, and then the
 * time that the stopped need for a checkpoint, their grace and the report. A start promised in own
 * cells counts what is lent as gone a minute after it is told to (END_SLACK_MS), and what is lent
 * is never promised a start there: so nobody's promise is made later by a claim.
 *
 * No ping-pong: an attempt is stopped for a job that starts in its place and is not stopped for
 * others there, so there are no more stops than starts of guaranteed work; whoever was stopped may
 * be lent something again at once. What is promised to a claim is not lent.
 *
 * Cost: own work that does not fit even with nothing lent is not looked at again before some of
 * its own has ended; a claim costs a look at the nodes of a site for each that is to be stopped. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct grid;
struct job;

/* As the walk of a pass is about to begin; who starts has left the queue. Gives how many. */
uint32_t reclaim_run(struct grid *grid);
