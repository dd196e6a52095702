/* What sites sign of their attempts goes through the journal, so that it is there for ever and a
 * history made anew has it again. Nothing is decided by it, and nothing is remembered of it here.
 */
#include "grid/state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* What the attempt holds, or the part of it that has this epoch; NULL: nothing does. */
static const struct grant *find_grant(const struct job *job, uint32_t epoch)
{
    const struct across_part *part;

    if (!job || !job->grant)
        return NULL;
    if (!job->across)
        return job->epoch == epoch ? job->grant : NULL;
    part = across_part_of(job, epoch);
    return part ? part->grant : NULL;
}

int signed_check(const struct grid *grid, const struct event_receipt *receipt, struct err *err)
{
    const struct grant *grant = find_grant(grid_job(grid, receipt->job_id), receipt->epoch);
    const char *site = receipt->site ? receipt->site : "";
    int index = fleet_find_site(&grid->fleet, site);
    struct dark_view dark;

    if (receipt->verdict > RECEIPT_VERDICT_LAST)
        return err_set(err, -EINVAL, "a receipt: unknown verdict %" PRIu32, receipt->verdict);
    if (index >= 0 && grant && grant->site == (uint32_t)index)
        return 0;
    if (grid_dark_find(grid, receipt->job_id, receipt->epoch, &dark) &&
        strcmp(dark.site, site) == 0)
        return 0;
    return err_set(err, -ENOENT, "job %" PRIu64 ": attempt %" PRIu32 " is not held by site %s",
                   receipt->job_id, receipt->epoch, site);
}

void signed_apply(struct grid *grid, const struct event_receipt *receipt)
{
    struct effect effect = { .type = EFFECT_RECEIPT,
                             .job_id = receipt->job_id,
                             .epoch = receipt->epoch,
                             .receipt = receipt };

    if (grid->perform)
        grid->perform(grid->perform_context, &effect);
}
