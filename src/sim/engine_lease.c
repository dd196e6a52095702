/* Sites that are not heard for longer than their lease (docs/leases.md), where jobs move: the site
 * stops them by itself, and some time later the controller lets them go on elsewhere. */
#include "sim/engine_internal.h"

#include <errno.h>
#include <stdlib.h>

#define SURELY_PPM 10500 /* what the controller counts beyond the lease: drift and 1 % */
#define SURELY_MS 500

int sim_lease_begin(struct sim_engine *engine)
{
    const struct sim_fleet *fleet = engine->setup->fleet;
    int rc = 0;

    for (uint32_t i = 0; i < fleet->sites_count && rc == 0 && engine->setup->policy->moves; i++) {
        struct event event = { .type = EVENT_SITE_SEEN };

        event.site_seen.site = fleet->sites[i].name;
        event.site_seen.session = ++engine->sites[i].session;
        event.site_seen.lease_ms = engine->setup->policy->lease_ms;
        rc = sim_engine_step(engine, &event, NULL);
    }
    return rc;
}

void sim_lease_silent(struct sim_engine *engine, uint32_t site)
{
    int64_t lease_ms = engine->setup->policy->lease_ms;
    uint32_t silence = ++engine->sites[site].silences;

    if (!engine->setup->policy->moves)
        return;
    sim_engine_expect(engine, engine->now_ms + lease_ms, SIM_ENTRY_LEASE_STOPS, site, silence, 0);
    sim_engine_expect(engine,
                      engine->now_ms + lease_ms + lease_ms * SURELY_PPM / 1000000 + SURELY_MS,
                      SIM_ENTRY_LEASE_ENDS, site, silence, 0);
}

/* Its end is told later, and changes nothing but the books. */
static int put_in_the_dark(struct sim_engine *engine, struct sim_site_state *site,
                           struct sim_attempt *attempt)
{
    if (site->darks_count == site->darks_cap) {
        uint32_t cap = site->darks_cap ? site->darks_cap * 2 : 16;
        void *more = realloc(site->darks, cap * sizeof(struct sim_attempt *));

        if (!more)
            return err_set(engine->err, -ENOMEM, "out of memory");
        site->darks = more;
        site->darks_cap = cap;
    }
    site->darks[site->darks_count++] = attempt;
    engine->jobs[attempt->job].attempt = NULL;
    sim_why_waits(engine, attempt->job);
    if (attempt->outcome != OUTCOME_LEASE)
        sim_attempt_void(engine, attempt); /* it had ended by itself, but nobody knew */
    return 0;
}

static int end_lease(struct sim_engine *engine, uint32_t index)
{
    struct sim_site_state *site = &engine->sites[index];
    struct event event = { .type = EVENT_LEASE_ENDED };
    int rc = 0;

    for (uint32_t i = 0; i < site->late_count && rc == 0; i++) {
        struct sim_attempt *attempt = engine->jobs[site->late[i].job].attempt;

        if (attempt && attempt->serial == site->late[i].serial)
            rc = put_in_the_dark(engine, site, attempt);
    }
    if (rc < 0)
        return rc;
    site->late_count = 0;
    event.lease_ended.site = engine->setup->fleet->sites[index].name;
    event.lease_ended.session = site->session;
    return sim_engine_step(engine, &event, NULL);
}

int sim_lease_heard(struct sim_engine *engine, uint32_t index)
{
    struct sim_site_state *site = &engine->sites[index];
    int rc = 0;

    site->silences++;
    engine->settling_site = index;
    for (uint32_t i = 0; i < site->darks_count; i++) {
        if (rc == 0)
            rc = sim_attempt_tell_end(engine, site->darks[i]);
        free(site->darks[i]);
    }
    site->darks_count = 0;
    return rc;
}

int sim_lease_take(struct sim_engine *engine, const struct sim_entry *entry)
{
    if (entry->b != engine->sites[entry->a].silences)
        return 0; /* it was heard in time */
    return entry->kind == SIM_ENTRY_LEASE_STOPS
               ? sim_faults_kill_site(engine, entry->a, SIM_END_LEASE)
               : end_lease(engine, entry->a);
}
