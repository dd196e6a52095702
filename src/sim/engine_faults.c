/* What breaks and is mended. Each thing draws from a stream of its own, so that what breaks when
 * depends on the seed alone and not on what ran meanwhile. */
#include "sim/engine_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000.0

static struct rng stream(uint64_t seed, uint32_t kind, uint32_t site, uint32_t node)
{
    struct rng rng = { .state = seed };
    uint64_t mixed = rng_next(&rng) ^ ((uint64_t)kind << 56 | (uint64_t)site << 32 | node);

    rng.state = mixed;
    rng.state = rng_next(&rng);
    return rng;
}

/* When the next failure comes, from an exponential; `things` fail independently. */
static int64_t draw_ms(struct rng *rng, int64_t per_1000_days_milli, uint32_t things)
{
    double mean = 1000.0 * DAY_MS * 1000.0 / ((double)per_1000_days_milli * things);
    double wait = -log(1.0 - rng_unit(rng)) * mean;

    return wait > 1e15 ? (int64_t)1e15 : 1 + (int64_t)wait;
}

static int64_t node_rate(const struct sim_engine *engine, uint32_t site, uint32_t node)
{
    const struct sim_pool *pool = sim_site_pool(&engine->setup->fleet->sites[site], node);

    return pool->failures_milli >= 0 ? pool->failures_milli
                                     : engine->setup->faults->nodes.per_1000_days_milli;
}

/* --- closing and opening ---------------------------------------------------------------------- */

static int set_node(struct sim_engine *engine, uint32_t site, uint32_t node, int32_t device,
                    bool closed, const char *reason)
{
    struct event event = { .type = EVENT_NODE_STATE };
    char name[MODEL_NAME_BYTES];
    int rc;

    sim_node_name(&engine->setup->fleet->sites[site], node, name);
    event.node_state.site = engine->setup->fleet->sites[site].name;
    event.node_state.node = name;
    event.node_state.device = device;
    event.node_state.cordoned = closed;
    event.node_state.reason = reason;
    rc = sim_engine_step(engine, &event, NULL);
    return rc == -EALREADY ? 0 : rc;
}

static int close_node(struct sim_engine *engine, uint32_t site, uint32_t node, const char *reason)
{
    struct sim_node_state *state = &engine->sites[site].nodes[node];

    if (state->down++)
        return 0;
    sim_series_add(&engine->result->series, SIM_SERIES_DOWN, engine->now_ms, 1);
    return set_node(engine, site, node, -1, true, reason);
}

static int open_node(struct sim_engine *engine, uint32_t site, uint32_t node)
{
    struct sim_node_state *state = &engine->sites[site].nodes[node];

    if (--state->down)
        return 0;
    sim_series_add(&engine->result->series, SIM_SERIES_DOWN, engine->now_ms, -1);
    return set_node(engine, site, node, -1, false, "");
}

static int compare_attempts(const void *a, const void *b)
{
    const struct sim_attempt *x = *(struct sim_attempt *const *)a;
    const struct sim_attempt *y = *(struct sim_attempt *const *)b;

    return x->job < y->job ? -1 : 1;
}

/* What runs on the node (UINT32_MAX: anywhere at the site; `devices`: holding one of these) dies,
 * in the order of the jobs. */
static int kill_on(struct sim_engine *engine, uint32_t site, uint32_t node, uint64_t devices,
                   enum sim_end end)
{
    struct sim_attempt **list = calloc(engine->active_count + 1, sizeof(struct sim_attempt *));
    uint32_t count = 0;

    if (!list)
        return err_set(engine->err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < engine->active_count; i++) {
        struct sim_attempt *attempt = engine->active[i];
        bool hit = attempt->site == site && node == UINT32_MAX;

        for (uint32_t k = 0; !hit && attempt->site == site && k < attempt->shares_count; k++)
            hit = attempt->shares[k].node == node &&
                  (!devices || attempt->shares[k].devices & devices);
        if (hit)
            list[count++] = attempt;
    }
    qsort(list, count, sizeof(struct sim_attempt *), compare_attempts);
    for (uint32_t i = 0; i < count; i++)
        sim_attempt_kill(engine, list[i], end);
    free(list);
    return engine->rc;
}

int sim_faults_kill_site(struct sim_engine *engine, uint32_t site, enum sim_end end)
{
    return kill_on(engine, site, UINT32_MAX, 0, end);
}

/* One more reason (or one less) why a site is not heard. */
static int set_link(struct sim_engine *engine, uint32_t index, bool down)
{
    struct sim_site_state *site = &engine->sites[index];
    struct event event = { .type = down ? EVENT_SITE_LOST : EVENT_SITE_SEEN };
    int rc;

    if (down ? site->links_down++ : --site->links_down)
        return 0;
    event.site_seen.site = engine->setup->fleet->sites[index].name;
    event.site_seen.session = down ? site->session : ++site->session;
    for (uint32_t i = 0; !down && i < site->late_count; i++)
        sim_engine_expect(engine, engine->now_ms, SIM_ENTRY_ENDED, site->late[i].job,
                          site->late[i].serial, 0);
    if (!down)
        site->late_count = 0;
    if (down)
        sim_lease_silent(engine, index);
    else if (engine->setup->policy->moves)
        event.site_seen.lease_ms = engine->setup->policy->lease_ms;
    rc = sim_engine_step(engine, &event, NULL);
    return rc < 0 || down ? rc : sim_lease_heard(engine, index);
}

/* --- nodes and devices ------------------------------------------------------------------------ */

static void expect_node(struct sim_engine *engine, uint32_t site, uint32_t node)
{
    int64_t rate = node_rate(engine, site, node);

    if (rate > 0)
        sim_engine_expect(
            engine, engine->now_ms + draw_ms(&engine->sites[site].nodes[node].node_rng, rate, 1),
            SIM_ENTRY_NODE_FAILS, site, node, 0);
}

static void expect_chip(struct sim_engine *engine, uint32_t site, uint32_t node)
{
    int64_t rate = engine->setup->faults->chips.per_1000_days_milli;
    uint32_t devices = sim_site_pool(&engine->setup->fleet->sites[site], node)->devices;

    if (rate > 0 && devices)
        sim_engine_expect(engine,
                          engine->now_ms +
                              draw_ms(&engine->sites[site].nodes[node].chip_rng, rate, devices),
                          SIM_ENTRY_CHIP_FAILS, site, node, 0);
}

static int node_fails(struct sim_engine *engine, uint32_t site, uint32_t node)
{
    int rc;

    if (engine->sites[site].nodes[node].down) { /* closed already: it cannot fail twice */
        expect_node(engine, site, node);
        return engine->rc;
    }
    engine->result->node_failures++;
    engine->result->sites[site].failures++;
    rc = kill_on(engine, site, node, 0, SIM_END_FAULT); /* first: what is dead saves nothing more */
    if (rc == 0)
        rc = close_node(engine, site, node, "failed");
    sim_engine_expect(engine, engine->now_ms + engine->setup->faults->nodes.repair_ms,
                      SIM_ENTRY_NODE_MENDED, site, node, 0);
    return rc;
}

static int chip_fails(struct sim_engine *engine, uint32_t site, uint32_t node)
{
    struct sim_node_state *state = &engine->sites[site].nodes[node];
    uint32_t devices = sim_site_pool(&engine->setup->fleet->sites[site], node)->devices;
    uint32_t device = (uint32_t)rng_below(&state->chip_rng, devices);
    int rc;

    expect_chip(engine, site, node);
    if (state->chips_down >> device & 1)
        return engine->rc;
    state->chips_down |= 1ULL << device;
    engine->result->chip_failures++;
    engine->result->sites[site].failures++;
    rc = set_node(engine, site, node, (int32_t)device, true, "failed");
    if (rc == 0)
        rc = kill_on(engine, site, node, 1ULL << device, SIM_END_FAULT);
    sim_engine_expect(engine, engine->now_ms + engine->setup->faults->chips.repair_ms,
                      SIM_ENTRY_CHIP_MENDED, site, node, device);
    return rc;
}

/* --- links, sites, windows -------------------------------------------------------------------- */

static void expect_site(struct sim_engine *engine, uint32_t site, bool power)
{
    const struct sim_rate *rate =
        power ? &engine->setup->faults->sites : &engine->setup->faults->links;
    struct rng *rng = power ? &engine->sites[site].site_rng : &engine->sites[site].link_rng;

    if (rate->per_1000_days_milli > 0)
        sim_engine_expect(engine, engine->now_ms + draw_ms(rng, rate->per_1000_days_milli, 1),
                          power ? SIM_ENTRY_SITE_FAILS : SIM_ENTRY_LINK_FAILS, site, 0, 0);
}

static int site_fails(struct sim_engine *engine, uint32_t site, bool power)
{
    const struct sim_rate *rate =
        power ? &engine->setup->faults->sites : &engine->setup->faults->links;
    int rc;

    if (power)
        engine->result->site_failures++;
    else
        engine->result->link_failures++;
    engine->result->sites[site].failures++;
    rc = set_link(engine, site, true); /* first, so that nobody hears of the deaths */
    if (rc == 0 && power)
        rc = sim_faults_kill_site(engine, site, SIM_END_FAULT);
    sim_engine_expect(engine, engine->now_ms + rate->repair_ms,
                      power ? SIM_ENTRY_SITE_MENDED : SIM_ENTRY_LINK_MENDED, site, 0, 0);
    return rc;
}

static int set_all_nodes(struct sim_engine *engine, uint32_t site, bool closed)
{
    uint32_t count = engine->setup->fleet->sites[site].nodes_count;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = closed ? close_node(engine, site, i, "maintenance") : open_node(engine, site, i);
    return rc;
}

static int window_drains(struct sim_engine *engine, uint32_t index)
{
    const struct sim_window *window = &engine->windows[index].window;

    sim_engine_expect(engine, engine->now_ms + window->drain_ms, SIM_ENTRY_WINDOW_OPENS, index, 0,
                      0);
    return set_all_nodes(engine, engine->windows[index].site, true);
}

static int window_opens(struct sim_engine *engine, uint32_t index)
{
    const struct sim_window *window = &engine->windows[index].window;
    uint32_t site = engine->windows[index].site;
    int rc = 0;

    engine->result->windows++;
    switch ((enum sim_window_kind)window->kind) {
    case SIM_WINDOW_MAINTENANCE:
        rc = sim_faults_kill_site(engine, site, SIM_END_FAULT);
        break;
    case SIM_WINDOW_CONTACT:
        rc = set_link(engine, site, false);
        break;
    case SIM_WINDOW_POWER:
    case SIM_WINDOW_LINK:
        rc = set_link(engine, site, true);
        if (rc == 0 && window->kind == SIM_WINDOW_POWER)
            rc = sim_faults_kill_site(engine, site, SIM_END_FAULT);
        break;
    }
    sim_engine_expect(engine, engine->now_ms + window->length_ms, SIM_ENTRY_WINDOW_CLOSES, index, 0,
                      0);
    return rc;
}

static void expect_window(struct sim_engine *engine, uint32_t index, int64_t at_ms)
{
    const struct sim_window *window = &engine->windows[index].window;

    if (window->kind == SIM_WINDOW_MAINTENANCE)
        sim_engine_expect(engine, MAX(at_ms - window->drain_ms, engine->now_ms),
                          SIM_ENTRY_WINDOW_DRAINS, index, 0, 0);
    else
        sim_engine_expect(engine, at_ms, SIM_ENTRY_WINDOW_OPENS, index, 0, 0);
}

static int window_closes(struct sim_engine *engine, uint32_t index)
{
    const struct sim_window *window = &engine->windows[index].window;
    uint32_t site = engine->windows[index].site;

    if (window->every_ms)
        expect_window(engine, index, engine->now_ms - window->length_ms + window->every_ms);
    switch ((enum sim_window_kind)window->kind) {
    case SIM_WINDOW_MAINTENANCE:
        return set_all_nodes(engine, site, false);
    case SIM_WINDOW_CONTACT:
        return set_link(engine, site, true);
    case SIM_WINDOW_POWER:
    case SIM_WINDOW_LINK:
        break;
    }
    return set_link(engine, site, false);
}

int sim_faults_take(struct sim_engine *engine, const struct sim_entry *entry)
{
    uint32_t a = entry->a, b = entry->b;

    switch (entry->kind) {
    case SIM_ENTRY_NODE_FAILS:
        return node_fails(engine, a, b);
    case SIM_ENTRY_NODE_MENDED:
        expect_node(engine, a, b);
        return open_node(engine, a, b);
    case SIM_ENTRY_CHIP_FAILS:
        return chip_fails(engine, a, b);
    case SIM_ENTRY_CHIP_MENDED:
        engine->sites[a].nodes[b].chips_down &= ~(1ULL << entry->c);
        return set_node(engine, a, b, (int32_t)entry->c, false, "");
    case SIM_ENTRY_LINK_FAILS:
    case SIM_ENTRY_SITE_FAILS:
        return site_fails(engine, a, entry->kind == SIM_ENTRY_SITE_FAILS);
    case SIM_ENTRY_LINK_MENDED:
    case SIM_ENTRY_SITE_MENDED:
        expect_site(engine, a, entry->kind == SIM_ENTRY_SITE_MENDED);
        return set_link(engine, a, false);
    case SIM_ENTRY_WINDOW_DRAINS:
        return window_drains(engine, a);
    case SIM_ENTRY_WINDOW_OPENS:
        return window_opens(engine, a);
    case SIM_ENTRY_WINDOW_CLOSES:
        return window_closes(engine, a);
    default:
        return -EINVAL;
    }
}

/* --- the beginning ---------------------------------------------------------------------------- */

static int begin_windows(struct sim_engine *engine)
{
    const struct sim_fleet *fleet = engine->setup->fleet;
    const struct sim_faults *faults = engine->setup->faults;
    uint32_t most = faults->windows_count;

    for (uint32_t s = 0; s < fleet->sites_count; s++)
        most += fleet->sites[s].windows_count;
    engine->windows = calloc(most + 1, sizeof(*engine->windows));
    if (!engine->windows)
        return err_set(engine->err, -ENOMEM, "out of memory");
    for (uint32_t s = 0; s < fleet->sites_count; s++) {
        bool has_contact = false;
        uint32_t first = engine->windows_count;

        for (uint32_t i = 0; i < fleet->sites[s].windows_count; i++)
            engine->windows[engine->windows_count++] =
                (struct sim_engine_window){ s, fleet->sites[s].windows[i] };
        for (uint32_t i = 0; i < faults->windows_count; i++)
            if (strcmp(faults->windows[i].site, fleet->sites[s].name) == 0)
                engine->windows[engine->windows_count++] =
                    (struct sim_engine_window){ s, faults->windows[i].window };
        for (uint32_t i = first; i < engine->windows_count; i++) {
            has_contact |= engine->windows[i].window.kind == SIM_WINDOW_CONTACT;
            expect_window(engine, i, engine->windows[i].window.at_ms);
        }
        if (has_contact) { /* silence but in the windows */
            int rc = set_link(engine, s, true);

            if (rc < 0)
                return rc;
        }
    }
    return engine->rc;
}

int sim_faults_begin(struct sim_engine *engine)
{
    const struct sim_fleet *fleet = engine->setup->fleet;
    const struct sim_faults *faults = engine->setup->faults;
    uint64_t seed = engine->setup->seed;
    int rc = begin_windows(engine);

    engine->faulty = engine->windows_count || faults->chips.per_1000_days_milli ||
                     faults->links.per_1000_days_milli || faults->sites.per_1000_days_milli ||
                     faults->slow_share_milli;
    for (uint32_t s = 0; rc == 0 && s < fleet->sites_count; s++) {
        struct sim_site_state *site = &engine->sites[s];

        site->link_rng = stream(seed, 1, s, 0);
        site->site_rng = stream(seed, 2, s, 0);
        expect_site(engine, s, false);
        expect_site(engine, s, true);
        for (uint32_t n = 0; n < fleet->sites[s].nodes_count; n++) {
            struct rng slow = stream(seed, 3, s, n);

            site->nodes[n].node_rng = stream(seed, 4, s, n);
            site->nodes[n].chip_rng = stream(seed, 5, s, n);
            site->nodes[n].slow = rng_below(&slow, 1000) < (uint64_t)faults->slow_share_milli;
            engine->faulty |= node_rate(engine, s, n) > 0;
            expect_node(engine, s, n);
            expect_chip(engine, s, n);
        }
    }
    return rc < 0 ? rc : engine->rc;
}
