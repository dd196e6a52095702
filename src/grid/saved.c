/* Checkpoints that the network holds: which one a next attempt goes on from.
 *
 * The newest is that of the newest attempt, and of one attempt the one written last. Only the site
 * that holds the newest attempt is believed, and the one where the last attempt ended: its last
 * checkpoint may still have been on its way. So an older epoch never replaces a newer one's. */
#include "grid/freight.h"
#include "grid/state.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool saved_name_is_valid(const char *manifest)
{
    return manifest && strlen(manifest) == CHECKPOINT_NAME_CHARS &&
           strspn(manifest, "0123456789abcdef") == CHECKPOINT_NAME_CHARS;
}

static bool is_held_by(const struct grid *grid, const struct job *job, uint32_t epoch,
                       const char *site)
{
    int index = site ? fleet_find_site(&grid->fleet, site) : -1;
    const struct job_past *past = job->past;

    if (index < 0 || !epoch)
        return false;
    if (job->grant && epoch == job->epoch && job->grant->site == (uint32_t)index)
        return true;
    if (job->outcome == OUTCOME_LEASE && job->epoch > epoch)
        return false; /* closed unheard: another has gone on since */
    return past && epoch == past->ended_epoch && past->ended_site == (uint32_t)index + 1;
}

int saved_check(const struct grid *grid, const struct event_checkpoint_stored *stored,
                struct err *err)
{
    const struct job *job = grid_job(grid, stored->job_id);
    const struct saved *saved = job && job->past ? job->past->saved : NULL;

    if (!saved_name_is_valid(stored->manifest))
        return err_field(err, -EINVAL, "manifest", "manifest: expected %u hex digits",
                         CHECKPOINT_NAME_CHARS);
    if (stored->bytes < 0 || stored->saved_ms < 0 || stored->saved_ms > EVENT_TIME_MS_MAX)
        return err_field(err, -EINVAL, "saved_ms", "a checkpoint's size or time is out of range");
    if (!job)
        return err_set(err, -ENOENT, "there is no job %" PRIu64 " that waits or runs",
                       stored->job_id);
    if (!is_held_by(grid, job, stored->epoch, stored->site))
        return err_set(err, -EPROTO, "job %" PRIu64 ": attempt %u is not this site's, or no longer",
                       stored->job_id, stored->epoch);
    if (saved && (stored->epoch < saved->epoch ||
                  (stored->epoch == saved->epoch && stored->saved_ms <= saved->saved_ms)))
        return err_set(err, -EALREADY, "job %" PRIu64 " has a newer checkpoint", stored->job_id);
    return 0;
}

void saved_apply(struct grid *grid, const struct event_checkpoint_stored *stored)
{
    struct job_past *past = job_past_of(grid_job(grid, stored->job_id));

    if (!past->saved)
        past->saved = mem_alloc(1, sizeof(*past->saved));
    past->saved->epoch = stored->epoch;
    past->saved->bytes = stored->bytes;
    past->saved->saved_ms = stored->saved_ms;
    memcpy(past->saved->manifest, stored->manifest, CHECKPOINT_NAME_CHARS + 1);
    freight_saved(grid, stored);
}

void past_free(struct job_past *past)
{
    if (past)
        free(past->saved);
    free(past);
}
