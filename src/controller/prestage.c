#include "controller/prestage.h"

#include "base/log.h"
#include "controller/api.h"
#include "controller/session.h"

#include <inttypes.h>
#include <string.h>

static bool wants(const struct job_view *view)
{
    CLEANUP(jsonp) json_t *spec = json_loadb(view->spec_json, view->spec_len, 0, NULL);

    return json_object_get(spec, "rto") != NULL;
}

/* The first of the sites in the job's own order, where it does not run now, with room at best. */
static const char *choose(const struct plan_candidate *list, uint32_t count, const char *here)
{
    const struct plan_candidate *best = NULL;

    for (uint32_t i = 0; i < count; i++)
        if (list[i].fits_ever && strcmp(list[i].site, here) != 0 &&
            (!best || (list[i].fits_now && !best->fits_now)))
            best = &list[i];
    return best ? best->site : NULL;
}

void prestage_offer(struct controller *controller, uint64_t job_id, const char *manifest)
{
    struct grid *grid = shell_grid(controller->shell);
    struct wire_command command = { .type = WIRE_PRESTAGE, .attempt.job_id = job_id };
    struct plan_candidate list[PLAN_CANDIDATES_MAX];
    char tenant[MODEL_NAME_BYTES], here[MODEL_NAME_BYTES];
    struct job_request request;
    struct job_view view;
    const char *site;
    uint32_t count = 0;

    if (!grid_find_job(grid, job_id, &view) || !view.request || !wants(&view))
        return;
    /* The view's own memory is used again by what follows. */
    request = *view.request;
    request.deps_count = 0;
    request.begin_ms = 0;
    command.attempt.epoch = view.epoch;
    snprintf(tenant, sizeof(tenant), "%s", view.tenant);
    command.labels_told = true;
    command.labels_count = request.shape.access.labels_count;
    memcpy(command.labels, request.shape.access.labels, sizeof(command.labels));
    snprintf(here, sizeof(here), "%s", view.allocation.site);
    snprintf(command.checkpoint, sizeof(command.checkpoint), "%s", manifest);
    if (grid_plan(grid, &request, tenant, shell_now_ms(controller->shell), list, &count, NULL) < 0)
        return;
    site = choose(list, count, here);
    if (site && sessions_send(controller->sessions, site, &command) == 0)
        log_debug("job %" PRIu64 ": its checkpoint goes to %s, too", job_id, site);
}
