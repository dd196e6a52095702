/* What owners let happen at their sites. A job's shape carries who asks only while some owner wants
 * to know it: where none does, shapes are shared as ever, and when the first does, the shapes of
 * all live jobs are worked out again. */
#include "grid/owners.h"

#include "grid/fields.h"
#include "grid/freight.h"
#include "grid/guards.h"
#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define LIMIT_MAX (INT64_C(1) << 56)
#define CLOSE_LEAD_MS POLICY_SLACK_MS /* what saves checkpoints is told to, so long before */

enum asked { ASKED_TENANT = 1, ASKED_CLASS = 2, ASKED_SPAN = 4 };

/* --- what is told --------------------------------------------------------------------------- */

static bool limits_are_sound(const struct site_limits *limits)
{
    const int64_t list[] = { limits->cpus, limits->devices, limits->memory_bytes, limits->watts };

    for (size_t i = 0; i < ARRAY_COUNT(list); i++)
        if (list[i] < -1 || list[i] > LIMIT_MAX)
            return false;
    return true;
}

static bool limits_are_none(const struct site_limits *limits)
{
    return limits->cpus < 0 && limits->devices < 0 && limits->memory_bytes < 0 && limits->watts < 0;
}

static bool is_same(const struct fleet_site *site, const struct event_site_policy *event)
{
    if (event->kind == POLICY_LIMITS && !site->limits_told)
        return limits_are_none(&event->limits);
    if (event->kind == POLICY_LIMITS)
        return memcmp(&site->limits, &event->limits, sizeof(event->limits)) == 0;
    if (!event->policies_count || site_policy_is_empty(event->policy))
        return !site->policy;
    return site->policy && site_policy_is_equal(site->policy, event->policy);
}

int owners_check(const struct grid *grid, const struct event_site_policy *event, struct err *err)
{
    int site = event->site ? fleet_find_site(&grid->fleet, event->site) : -1;

    if (site < 0)
        return err_set(err, -ENOENT, "there is no site %s", event->site ? event->site : "");
    if (event->kind > POLICY_LIMITS || event->policies_count > 1)
        return err_set(err, -EINVAL, "unknown kind of policy %u", event->kind);
    if (event->kind == POLICY_LIMITS && !limits_are_sound(&event->limits))
        return err_set(err, -EINVAL, "site %s: a limit is -1 (none) or more", event->site);
    if (event->policies_count && site_policy_check(event->policy, err) < 0)
        return err_prefix(err, -EINVAL, "site %s", event->site);
    if (is_same(&grid->fleet.sites[site], event))
        return err_set(err, -EALREADY, "site %s is as it should be", event->site);
    return 0;
}

static uint32_t asked_by_all(struct grid *grid)
{
    uint32_t asked = 0;

    grid->owners_lend = grid->owners_timed = 0;
    for (uint32_t i = 0; i < grid->fleet.sites_count && grid->fleet.policies_count; i++) {
        const struct site_policy *policy = grid->fleet.sites[i].policy;

        if (!policy)
            continue;
        grid->owners_lend += policy->own_ppm > 0;
        grid->owners_timed += policy->windows_count || policy->contacts_count;
        asked |= policy->tenants_told ? ASKED_TENANT : 0;
        asked |= policy->classes_told ? ASKED_CLASS : 0;
        asked |= policy->windows_count ? ASKED_SPAN : 0;
    }
    return asked;
}

bool owners_ask(const struct grid *grid)
{
    return grid->owners_ask != 0 || grid->cells_count;
}

static int64_t span_of(const struct terms *terms)
{
    if (terms->checkpoint != CHECKPOINT_NONE && terms->requeue_on_loss)
        return terms->duration_ms_max ? MIN(terms->duration_ms_max, POLICY_SPAN_LEAST_MS)
                                      : POLICY_SPAN_LEAST_MS;
    return terms->duration_ms_max ? terms->duration_ms_max : -1;
}

void owners_fill(const struct grid *grid, const char *tenant, const struct terms *terms,
                 struct request_shape *shape)
{
    struct request_access *access = &shape->access;

    memset(shape->apart.tenant, 0, sizeof(shape->apart.tenant));
    if (apart_is_told(&shape->apart))
        memcpy(shape->apart.tenant, tenant, strnlen(tenant, sizeof(shape->apart.tenant) - 1));
    memset(access->tenant, 0, sizeof(access->tenant));
    if (grid->owners_ask & ASKED_TENANT)
        memcpy(access->tenant, tenant, strnlen(tenant, sizeof(access->tenant) - 1));
    access->job_class = grid->owners_ask & ASKED_CLASS ? terms->job_class : 0;
    access->span_ms = grid->owners_ask & ASKED_SPAN ? span_of(terms) : 0;
    access->guard = guards_ask(grid, tenant, terms);
}

static void forget_refusal(struct request_access *access, uint32_t site)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < access->refused_count; i++)
        if (access->refused[i] != site)
            access->refused[kept++] = access->refused[i];
    memset(access->refused + kept, 0, sizeof(access->refused) - kept * sizeof(access->refused[0]));
    access->refused_count = kept;
}

/* All live jobs: what is asked of them has changed, or `site` may let in whom it refused. */
static void reshape_all(struct grid *grid, uint32_t site)
{
    for (struct job *job = grid_job_after(grid, 0); job; job = grid_job_after(grid, job->item.id)) {
        struct request_shape *shape = &grid->request_out.shape;

        memset(&grid->request_out, 0, sizeof(grid->request_out));
        shape_to_request(job_asked(grid, job), shape);
        forget_refusal(&shape->access, site);
        owners_fill(grid, intern_data(&grid->tenant_names, job->tenant), job_terms(grid, job),
                    shape);
        freight_fill(grid, job_terms(grid, job), job->past, shape);
        job_set_shape(grid, job, shape);
    }
    grid->request_of = 0;
}

void owners_ask_again(struct grid *grid)
{
    reshape_all(grid, GRID_SITES_MAX);
}

void owners_apply(struct grid *grid, const struct event_site_policy *event)
{
    uint32_t site = (uint32_t)fleet_find_site(&grid->fleet, event->site);
    bool had_cap = owners_cap_watts(grid, site) >= 0;

    if (event->kind == POLICY_LIMITS) {
        fleet_set_limits(&grid->fleet, site, &event->limits);
    } else {
        fleet_set_policy(&grid->fleet, site, event->policies_count ? event->policy : NULL);
        grid->owners_ask = asked_by_all(grid);
        freight_told_again(grid);
        reshape_all(grid, site);
        grid->owners_next_ms = grid->owners_timed ? grid->now_ms : INT64_MAX;
    }
    if (had_cap || owners_cap_watts(grid, site) >= 0)
        power_make(grid, site);
    power_recount(grid, site);
    shares_set_total(grid);
    grid->wants_pass = true;
}

void owners_refused(struct grid *grid, struct job *job, uint32_t site)
{
    struct request_shape *shape = &grid->request_out.shape;
    struct request_access *access = &shape->access;

    memset(&grid->request_out, 0, sizeof(grid->request_out));
    grid->request_of = 0;
    shape_to_request(job_asked(grid, job), shape);
    forget_refusal(access, site);
    if (access->refused_count == REQUEST_REFUSED_MAX) /* the one of long ago may be asked again */
        forget_refusal(access, access->refused[0]);
    access->refused[access->refused_count++] = site;
    job_set_shape(grid, job, shape);
}

int64_t owners_cap_watts(const struct grid *grid, uint32_t site)
{
    const struct fleet_site *at = &grid->fleet.sites[site];
    int64_t cap = at->policy ? at->policy->cap_watts : -1;
    int64_t limit = at->limits_told ? at->limits.watts : -1;

    return cap < 0 || (limit >= 0 && limit < cap) ? limit : cap;
}

/* --- the owner's own -------------------------------------------------------------------------- */

bool owners_is_own(const struct grid *grid, uint32_t tenant, uint32_t site)
{
    const struct site_policy *policy = grid->fleet.sites[site].policy;
    uint32_t own;

    if (!policy || !policy->own_ppm)
        return false;
    own =
        intern_find(&grid->tenant_names, policy->own_tenant, (uint32_t)strlen(policy->own_tenant));
    for (; own && tenant; tenant = grid->tenants[tenant].parent)
        if (tenant == own)
            return true;
    return false;
}

/* Of devices for work with devices, of CPUs for other work: what the owner's own holds there, and
 * `more`, beside its share of what is open. */
static bool is_within_share(const struct grid *grid, uint32_t site, bool on_devices, uint64_t more)
{
    const struct fleet_site *at = &grid->fleet.sites[site];
    uint64_t total = 0, held = more;

    for (uint32_t i = 0; i < at->info.nodes_count; i++) {
        const struct fleet_node *node = &at->nodes[i];

        if (!node_is_open(node))
            continue;
        total += on_devices ? 0 : node->cpus;
        for (uint32_t d = 0; on_devices && d < node->devices_count; d++)
            total += device_is_usable(&node->devices[d]) ? 1000 : 0;
    }
    for (uint32_t i = 0; i < grid->fleet.grants_count; i++) {
        const struct grant *grant = grid->fleet.grants[i];

        if (grant->site == site && owners_is_own(grid, grid_job(grid, grant->job_id)->tenant, site))
            held += on_devices ? grant->devices_milli : grant->cpus;
    }
    return held * 1000000 <= total * at->policy->own_ppm;
}

bool owners_claims(const struct grid *grid, const struct job *job, uint32_t site)
{
    const struct shape *shape = job_shape(grid, job);
    bool on_devices = shape->devices_milli > 0;

    return owners_is_own(grid, job->tenant, site) &&
           is_within_share(grid, site, on_devices,
                           (uint64_t)shape->tasks *
                               (on_devices ? shape->devices_milli : shape->cpus));
}

bool owners_protects(const struct grid *grid, const struct job *job, uint32_t site)
{
    return owners_is_own(grid, job->tenant, site) &&
           is_within_share(grid, site, job_shape(grid, job)->devices_milli > 0, 0);
}

/* --- hours ---------------------------------------------------------------------------------- */

static int64_t closing_ms(const struct site_policy *policy, int64_t now_ms)
{
    int64_t until_ms = site_policy_open_until(policy, now_ms);

    return until_ms < 0 || until_ms == INT64_MAX ? INT64_MAX : until_ms;
}

static void watch(struct grid *grid)
{
    grid->owners_next_ms = INT64_MAX;
    for (uint32_t i = 0; i < grid->fleet.sites_count && grid->owners_timed; i++) {
        const struct site_policy *policy = grid->fleet.sites[i].policy;
        int64_t lead_ms;

        if (!policy || (!policy->windows_count && !policy->contacts_count))
            continue;
        grid->owners_next_ms =
            MIN(grid->owners_next_ms, site_policy_next_change(policy, grid->now_ms));
        lead_ms = closing_ms(policy, grid->now_ms);
        if (lead_ms < INT64_MAX && lead_ms - CLOSE_LEAD_MS > grid->now_ms)
            grid->owners_next_ms = MIN(grid->owners_next_ms, lead_ms - CLOSE_LEAD_MS);
    }
}

/* What would go on past the end of the hours goes on from its checkpoint another day, or elsewhere.
 * What saves none was bound to end before; the site sees to that. */
static void stop_at_close(struct grid *grid, uint32_t site)
{
    const struct site_policy *policy = grid->fleet.sites[site].policy;
    int64_t until_ms = site_policy_open_until(policy, grid->now_ms);

    if (until_ms == INT64_MAX || until_ms - CLOSE_LEAD_MS > grid->now_ms)
        return;
    for (struct job *job = grid_job_after(grid, 0); job; job = grid_job_after(grid, job->item.id))
        if (job_grant_at(job, site) && yield_is_possible(grid, job) &&
            job_terms(grid, job)->checkpoint != CHECKPOINT_NONE)
            yield_ask(grid, job, YIELD_TARIFF, 0,
                      "paused: the hours of site %s end; it goes on from its checkpoint",
                      grid->fleet.sites[site].info.name);
}

void owners_tick(struct grid *grid)
{
    if (!grid->owners_timed || grid->now_ms < grid->owners_next_ms)
        return;
    for (uint32_t i = 0; i < grid->fleet.sites_count; i++) {
        const struct site_policy *policy = grid->fleet.sites[i].policy;

        if (!policy || (!policy->windows_count && !policy->contacts_count))
            continue;
        stop_at_close(grid, i);
        fleet_open_hours(&grid->fleet, i);
    }
    watch(grid);
    grid->wants_pass = true;
}

/* --- a part of a snapshot ------------------------------------------------------------------- */

void owners_put(const struct grid *grid, struct buf *out)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->fleet.sites_count; i++)
        count += grid->fleet.sites[i].policy || grid->fleet.sites[i].limits_told;
    put_u64(out, count);
    for (uint32_t i = 0; i < grid->fleet.sites_count; i++) {
        const struct fleet_site *site = &grid->fleet.sites[i];
        struct buf bytes = buf_init(1 << 20);

        if (!site->policy && !site->limits_told)
            continue;
        if (site->policy && fields_encode(&fields_of_site_policy, site->policy, &bytes, NULL) < 0)
            out->failed = true;
        put_u64(out, i);
        put_u64(out, site->limits_told);
        put_i64(out, site->limits_told ? site->limits.cpus : 0);
        put_i64(out, site->limits_told ? site->limits.devices : 0);
        put_i64(out, site->limits_told ? site->limits.memory_bytes : 0);
        put_i64(out, site->limits_told ? site->limits.watts : 0);
        put_u64(out, bytes.len);
        buf_add(out, bytes.data ? bytes.data : "", bytes.len);
        buf_fini(&bytes);
    }
    put_i64(out, grid->owners_next_ms);
}

static bool take_policy(struct grid *grid, struct cursor *in, uint32_t site)
{
    struct arena arena = arena_init(1 << 20);
    struct site_policy *policy;
    bool is_sound;
    uint64_t len;

    if (get_u64(in, &len) < 0 || len > (uint64_t)(in->end - in->at))
        return false;
    if (!len)
        return grid->fleet.sites[site].limits_told;
    policy = mem_alloc(1, sizeof(*policy));
    is_sound = fields_decode(&fields_of_site_policy, in->at, len, &arena, policy, NULL) == 0 &&
               site_policy_check(policy, NULL) == 0 && !site_policy_is_empty(policy);
    in->at += len;
    if (is_sound)
        fleet_set_policy(&grid->fleet, site, policy);
    free(policy);
    arena_fini(&arena);
    return is_sound;
}

static bool take_site(struct grid *grid, struct cursor *in, uint64_t *next)
{
    struct site_limits limits;
    uint64_t site, told;

    if (get_u64(in, &site) < 0 || site < *next || site >= grid->fleet.sites_count ||
        get_u64(in, &told) < 0 || told > 1 || get_i64(in, &limits.cpus) < 0 ||
        get_i64(in, &limits.devices) < 0 || get_i64(in, &limits.memory_bytes) < 0 ||
        get_i64(in, &limits.watts) < 0 || (told && !limits_are_sound(&limits)))
        return false;
    *next = site + 1;
    if (told)
        fleet_set_limits(&grid->fleet, (uint32_t)site, &limits);
    return take_policy(grid, in, (uint32_t)site);
}

int owners_take(struct grid *grid, struct cursor *in)
{
    uint64_t count, next = 0;

    if (get_u64(in, &count) < 0 || count > grid->fleet.sites_count)
        return -EBADMSG;
    for (uint64_t i = 0; i < count; i++)
        if (!take_site(grid, in, &next))
            return -EBADMSG;
    grid->owners_ask = asked_by_all(grid);
    return get_i64(in, &grid->owners_next_ms) < 0 || grid->owners_next_ms < 0 ? -EBADMSG : 0;
}

/* --- as others see it ------------------------------------------------------------------------- */

const struct site_policy *grid_site_policy(const struct grid *grid, uint32_t index)
{
    return index < grid->fleet.sites_count ? grid->fleet.sites[index].policy : NULL;
}

struct site_limits grid_site_limits(const struct grid *grid, uint32_t index)
{
    if (index < grid->fleet.sites_count && grid->fleet.sites[index].limits_told)
        return grid->fleet.sites[index].limits;
    return (struct site_limits){ -1, -1, -1, -1 };
}

/* --- an invariant --------------------------------------------------------------------------- */

static bool says_what_is_asked(const struct grid *grid, const struct job *job,
                               const struct shape *shape)
{
    struct request_shape asked = { 0 };
    struct request_access access;

    if (shape->access)
        asked.access = *shape->access;
    access = asked.access;
    owners_fill(grid, intern_data(&grid->tenant_names, job->tenant), job_terms(grid, job), &asked);
    return memcmp(&access, &asked.access, sizeof(access)) == 0;
}

int owners_check_shapes(const struct grid *grid, const struct job *job, struct err *err)
{
    if (!says_what_is_asked(grid, job, job_shape(grid, job)) ||
        (job->shape_asked && !says_what_is_asked(grid, job, job_asked(grid, job))))
        return err_set(err, -EINVAL, "job %" PRIu64 " does not say what owners ask", job->item.id);
    return 0;
}
