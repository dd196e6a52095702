/* What sites sign of their attempts goes through the journal, so that it is there for ever and a
 * history made anew has it again. Nothing is decided by it, and nothing is remembered of it here.
 */
#include "grid/state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

int signed_check(const struct grid *grid, const struct event_receipt *receipt, struct err *err)
{
    const char *site = receipt->site ? receipt->site : "";
    struct attempt_place place;
    struct dark_view dark;

    if (receipt->verdict > RECEIPT_VERDICT_LAST)
        return err_set(err, -EINVAL, "a receipt: unknown verdict %" PRIu32, receipt->verdict);
    if (grid_find_attempt(grid, receipt->job_id, receipt->epoch, &place) &&
        strcmp(place.site, site) == 0)
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
