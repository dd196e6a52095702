#include "controller/leases.h"

#include "base/clock.h"
#include "base/log.h"
#include "controller/changes.h"
#include "controller/context.h"
#include "controller/session.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART 10 /* of the lease: between two signs of life, and for stopping */
#define EVERY_MS_MIN 200
#define STOP_MS_MIN 500
#define STOP_MS_MAX 10000
#define MARGIN_MS 500   /* for what was killed to be gone, and */
#define MARGIN_PART 100 /* one part in so many, for machines that are slow */
#define RETRY_MS 1000
#define SILENT_PART 2 /* of the lease: a large post on a slow link is no silence */
#define SILENT_MS_MIN 1000
#define LOOK_MS_MIN 20
/* Clocks are compared over so long; what a message may have been on its way beside that. */
#define DRIFT_SPAN_MS (10 * 60 * 1000)
#define DRIFT_TRAVEL_MS 10000

struct site_lease {
    struct site_lease *next;
    char site[MODEL_NAME_BYTES];
    bool keeps;                    /* its agent knows of leases */
    int64_t heard_ms;              /* by our CLOCK_BOOTTIME, as all here */
    int64_t ends_ms;               /* surely over; never sooner than told; 0 = it is */
    int64_t base_here, base_there; /* both clocks at one moment; 0 = not known */
    bool drifts;
};
struct leases {
    struct controller *controller;
    struct site_lease *list;
    int64_t lease_ms; /* as configured: a link that is down for less changes nothing */
    uv_timer_t timer;
    int64_t due_ms; /* when the timer fires */
};

static struct site_lease *find(const struct leases *leases, const char *site)
{
    for (struct site_lease *lease = leases->list; lease; lease = lease->next)
        if (strcmp(lease->site, site) == 0)
            return lease;
    return NULL;
}

static struct site_lease *find_or_add(struct leases *leases, const char *site)
{
    struct site_lease *lease = find(leases, site);

    if (lease)
        return lease;
    lease = calloc(1, sizeof(*lease));
    if (!lease) {
        log_error("leases: out of memory");
        abort(); /* a lease that nobody counts would end never, or too soon */
    }
    snprintf(lease->site, sizeof(lease->site), "%s", site);
    lease->next = leases->list;
    leases->list = lease;
    return lease;
}

static int64_t every_ms(const struct leases *leases)
{
    return MAX(leases->lease_ms / PART, EVERY_MS_MIN);
}

static int64_t stop_ms(const struct leases *leases)
{
    return MIN(MAX(leases->lease_ms / PART, STOP_MS_MIN), STOP_MS_MAX);
}

/* All that the agent is given: beside what is configured, the time between its signs of life and
 * the time that it needs for stopping. */
static int64_t given_ms(const struct leases *leases)
{
    return leases->lease_ms + every_ms(leases) + stop_ms(leases);
}

static int64_t surely_ms(int64_t lease_ms)
{
    return lease_ms + lease_ms * LEASE_DRIFT_PPM / 1000000 + lease_ms / MARGIN_PART + MARGIN_MS;
}

/* --- the end ----------------------------------------------------------------------------------
 */

static int note(struct leases *leases, struct event *event)
{
    struct controller *controller = leases->controller;
    struct change change = { 0 };
    struct err err = { 0 };
    uint64_t seq = 0;
    int rc = shell_apply(controller->shell, event, NULL, &seq, &err);

    if (rc == 0 && change_from_event(seq, event, &change))
        events_note(controller->events, &change);
    if (rc < 0 && rc != -EALREADY)
        log_warn("site %s: %s", event->lease_ended.site, err.text);
    return rc;
}

/* False: the journal cannot take it now. */
static bool end_lease(struct leases *leases, struct site_lease *lease)
{
    struct grid *grid = shell_grid(leases->controller->shell);
    struct event event = { .type = EVENT_SITE_LOST };
    int index = grid_site_find(grid, lease->site);
    struct lease_view view;
    bool reachable = false;
    int rc = 0;

    if (index < 0)
        return true;
    grid_site_lease(grid, (uint32_t)index, &view);
    if (!view.ms || view.is_over)
        return true;
    /* First: nothing that this session still has to say is answered any more. */
    sessions_fence(leases->controller->sessions, lease->site);
    grid_site_get(grid, (uint32_t)index, &reachable);
    if (reachable) {
        event.site_lost.site = lease->site;
        event.site_lost.session = grid_site_session(grid, (uint32_t)index);
        rc = note(leases, &event);
    }
    if (rc == 0) {
        event = (struct event){ .type = EVENT_LEASE_ENDED };
        event.lease_ended.site = lease->site;
        event.lease_ended.session = grid_site_session(grid, (uint32_t)index);
        rc = note(leases, &event);
        if (rc == 0)
            log_info("site %s: its lease has ended", lease->site);
    }
    return rc == 0 || rc == -EALREADY;
}

static void on_due(uv_timer_t *timer);

/* It may be set for sooner already: then it looks again. */
static void look_at(struct leases *leases, int64_t due_ms)
{
    if (leases->due_ms && leases->due_ms <= due_ms)
        return;
    leases->due_ms = due_ms;
    uv_timer_start(&leases->timer, on_due, (uint64_t)MAX(due_ms - clock_boot_ms(), 0), 0);
}

static void on_due(uv_timer_t *timer)
{
    struct leases *leases = timer->data;
    int64_t now = clock_boot_ms(), next = INT64_MAX;

    if (leases->controller->stopping)
        return;
    for (struct site_lease *lease = leases->list; lease; lease = lease->next) {
        if (!lease->ends_ms || lease->drifts)
            continue;
        if (lease->ends_ms <= now)
            lease->ends_ms = end_lease(leases, lease) ? 0 : now + RETRY_MS;
        if (lease->ends_ms)
            next = MIN(next, lease->ends_ms);
    }
    leases->due_ms = 0;
    if (next < INT64_MAX)
        look_at(leases, MAX(next, now + LOOK_MS_MIN));
}

/* Heard, or perhaps heard, at this moment. */
static void extend(struct leases *leases, struct site_lease *lease, int64_t lease_ms)
{
    lease->heard_ms = clock_boot_ms();
    lease->ends_ms = MAX(lease->ends_ms, lease->heard_ms + surely_ms(lease_ms));
    look_at(leases, lease->ends_ms);
}

/* --- what is heard ----------------------------------------------------------------------------
 */

/* A clock that goes more slowly than ours makes the agent believe in a lease that we see end. */
static void compare_clocks(struct site_lease *lease, int64_t there_ms)
{
    int64_t here_ms = clock_boot_ms();
    int64_t here = here_ms - lease->base_here, there = there_ms - lease->base_there;

    if (!lease->base_there || there < 0) { /* the first time, or its machine was started anew */
        lease->base_here = here_ms;
        lease->base_there = there_ms;
        return;
    }
    if (here < DRIFT_SPAN_MS)
        return;
    if (here - there > here * LEASE_DRIFT_PPM / 1000000 + DRIFT_TRAVEL_MS && !lease->drifts) {
        log_warn("site %s: its clock lost %" PRId64 " ms in %" PRId64 " s: its leases are not "
                 "counted, its jobs wait",
                 lease->site, here - there, here / 1000);
        lease->drifts = true;
    }
}

void leases_hello(struct leases *leases, const char *site, int64_t boot_ms)
{
    struct site_lease *lease = find(leases, site);

    if (!boot_ms && !lease)
        return;
    lease = lease ? lease : find_or_add(leases, site);
    lease->keeps = boot_ms > 0;
    if (!lease->keeps)
        return;
    if (boot_ms < lease->base_there)
        lease->drifts = false;
    compare_clocks(lease, boot_ms);
    extend(leases, lease, given_ms(leases));
}

void leases_heard(struct leases *leases, const char *site, int64_t boot_ms)
{
    struct site_lease *lease = find(leases, site);

    if (!lease || !lease->keeps)
        return;
    if (boot_ms)
        compare_clocks(lease, boot_ms);
    extend(leases, lease, given_ms(leases));
}

void leases_fill(const struct leases *leases, const char *site, struct wire_command *reconcile)
{
    const struct site_lease *lease = find(leases, site);

    if (!lease || !lease->keeps)
        return;
    reconcile->lease_ms = given_ms(leases);
    reconcile->stop_ms = stop_ms(leases);
    reconcile->every_ms = every_ms(leases);
}

int64_t leases_left_ms(const struct leases *leases, const char *site)
{
    const struct site_lease *lease = find(leases, site);

    return lease && lease->ends_ms ? MAX(lease->ends_ms - clock_boot_ms(), 0) : -1;
}

bool leases_is_silent(const struct leases *leases, const char *site)
{
    const struct site_lease *lease = find(leases, site);

    return lease && lease->keeps &&
           clock_boot_ms() - lease->heard_ms > MAX(leases->lease_ms / SILENT_PART, SILENT_MS_MIN);
}

bool leases_drifts(const struct leases *leases, const char *site)
{
    const struct site_lease *lease = find(leases, site);

    return lease && lease->drifts;
}

int leases_parse(const char *text, int64_t *lease_ms_out, struct err *err)
{
    int64_t lease_ms = 0;
    int rc = units_parse_duration(text, &lease_ms, err);

    if (rc == 0 && (lease_ms < LEASE_MS_MIN || lease_ms > LEASE_MS_MAX))
        rc = err_set(err, -ERANGE, "%.40s: expected %d s to %lld days", text, LEASE_MS_MIN / 1000,
                     LEASE_MS_MAX / (24 * 3600 * 1000LL));
    if (rc < 0)
        return err_prefix(err, rc, "--lease");
    *lease_ms_out = lease_ms;
    return 0;
}

/* --- life -------------------------------------------------------------------------------------
 */

struct leases *leases_create(struct controller *controller)
{
    struct leases *leases = calloc(1, sizeof(*leases));

    if (!leases)
        return NULL;
    leases->controller = controller;
    leases->lease_ms = controller->config.lease_ms ? controller->config.lease_ms : LEASE_MS_DEFAULT;
    uv_timer_init(&controller->loop, &leases->timer);
    leases->timer.data = leases;
    return leases;
}

void leases_begin(struct leases *leases)
{
    struct grid *grid = shell_grid(leases->controller->shell);
    uint32_t count = grid_site_count(grid);

    for (uint32_t i = 0; i < count; i++) {
        struct lease_view view;

        grid_site_lease(grid, i, &view);
        if (view.ms && !view.is_over)
            extend(leases, find_or_add(leases, grid_site_get(grid, i, NULL)->name), view.ms);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct leases *leases = handle->data;
    struct site_lease *next;

    for (struct site_lease *lease = leases->list; lease; lease = next) {
        next = lease->next;
        free(lease);
    }
    free(leases);
}

void leases_destroy(struct leases *leases)
{
    if (leases)
        uv_close((uv_handle_t *)&leases->timer, on_closed);
}
