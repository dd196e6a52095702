/* advice.h - what would start a job sooner: each change by itself, tried on the fleet as it is.
 *
 * A change is kept when the job could start sooner with it than without, beside all that runs and
 * is promised. What is tried is exact for "now" (the fit that a pass uses); a later start is by the
 * bounds of what runs, as in a plan. Nothing is changed by asking. */
#pragma once

#include "grid/state.h"

/* Of what is asked, in the terms given, as the places of its plan stand (best first). */
void advice_find(struct grid *grid, const struct request_shape *asked, const struct terms *terms,
                 const struct plan_candidate *places, uint32_t places_count, struct why_more *out);
/* Of what holds a job that is not room: its tenant's limits and money, its array, its hour. */
void advice_hold(struct grid *grid, const struct job *job, struct why_more *out);
