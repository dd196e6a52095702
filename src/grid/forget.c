/* A site that is gone for good, or came back under another name: an operator has it forgotten.
 *
 * Its attempts end as lost, its nodes are absent, and its name is refused until it is readmitted,
 * so that no agent reports on, or runs, what was given to others since. */
#include "grid/freight.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "grid/state.h"

#include <errno.h>
#include <string.h>

static bool is_forgotten(const struct grid *grid, const char *name)
{
    return name && intern_find(&grid->forgotten, name, (uint32_t)strlen(name)) != 0;
}

bool grid_site_is_forgotten(const struct grid *grid, uint32_t index)
{
    return is_forgotten(grid, grid->fleet.sites[index].info.name);
}

static int check_forget(const struct grid *grid, const struct event *event, struct err *err)
{
    const char *name = event->site_forgotten.site ? event->site_forgotten.site : "";
    int site = fleet_find_site(&grid->fleet, name);

    if (site < 0)
        return err_set(err, -ENOENT, "there is no site %s", name);
    if (is_forgotten(grid, name) == event->site_forgotten.forgotten)
        return err_set(err, -EALREADY, "site %s is %sforgotten", name,
                       event->site_forgotten.forgotten ? "" : "not ");
    if (event->site_forgotten.forgotten && grid->fleet.sites[site].reachable)
        return err_set(err, -EPROTO,
                       "site %s is heard: stop its agent first, or cordon its nodes instead", name);
    return 0;
}

int forget_check(const struct grid *grid, const struct event *event, struct err *err)
{
    const char *name = NULL;

    switch ((int)event->type) {
    case EVENT_SITE_FORGOTTEN:
        return check_forget(grid, event, err);
    case EVENT_SITE_JOINED:
        name = event->site_joined.site.name;
        break;
    case EVENT_SITE_SEEN:
        name = event->site_seen.site;
        break;
    }
    if (!is_forgotten(grid, name))
        return 0;
    return err_set(err, -EACCES,
                   "site %s was forgotten by an operator: `mains site readmit %s` takes it back",
                   name, name);
}

/* As if the site had reported each of them lost, with the usage it told last. */
static void end_attempts(struct grid *grid, uint32_t site, const char *name)
{
    char reason[MODEL_NAME_BYTES + 32];
    uint64_t id = 0;
    struct job *job;

    snprintf(reason, sizeof(reason), "site %s was forgotten", name);
    while ((job = grid_job_after(grid, id)) != NULL) {
        struct event_attempt_ended ended = { .outcome = OUTCOME_LOST, .reason = reason };
        const struct grant *grant;

        id = job->item.id;
        grant = job_grant_at(job, site);
        if (!grant)
            continue;
        ended.job_id = id;
        ended.epoch = grant->epoch;
        if (job->across)
            ended.usage = across_part_of(job, grant->epoch)->running;
        else if (job->past)
            ended.usage = job->past->running;
        attempt_ended(grid, &ended);
    }
}

void forget_apply(struct grid *grid, const struct event *event)
{
    const char *name = event->site_forgotten.site;
    uint32_t site = (uint32_t)fleet_find_site(&grid->fleet, name);
    struct site_info bare = grid->fleet.sites[site].info;

    if (!event->site_forgotten.forgotten) {
        intern_unref(&grid->forgotten, intern_find(&grid->forgotten, name, (uint32_t)strlen(name)));
        return; /* its nodes come back with its agent */
    }
    intern_text(&grid->forgotten, name);
    end_attempts(grid, site, name);
    lease_forget_site(grid, site); /* nothing more is heard of it */
    bare.nodes = NULL;
    bare.nodes_count = 0;
    fleet_set_site(&grid->fleet, &bare, NULL, 0);
    fleet_set_reachable(&grid->fleet, site, false);
    freight_forget(grid, site);
    power_recount(grid, site);
    ranks_fleet_changed(grid);
    grid->wants_pass = true;
}
