#include "grid/advice.h"

#include "grid/freight.h"
#include "grid/power.h"
#include "grid/ranks.h"
#include "model/chip.h"
#include "model/units.h"
#include "sched/across.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACES_MAX 8u     /* candidates looked at for one change */
#define ESTIMATES_MAX 4u  /* of these, for how many a later start is worked out */
#define NODES_MAX 20000u  /* in a larger network no quantities are searched for */
#define GRANTS_MAX 20000u /* with more that runs no later start is worked out */
#define HOUR_MS 3600000LL
#define MINUTE_MS 60000LL
#define DURATION_MINUTES_MAX (30 * 24 * 60) /* for one without a time limit */
#define GIB (INT64_C(1) << 30)

struct advice {
    struct grid *grid;
    const struct request_shape *asked;
    const struct terms *terms;
    struct why_more *out;
    int64_t span_ms; /* it holds no longer than this; INT64_MAX = not known */
    int64_t base_ms; /* its start as it is; INT64_MAX = not known, or never */
    int64_t base_price;
    bool has_estimates, is_never; /* as it is, it fits nowhere whatever ends */
};
struct found {
    bool any;
    int64_t start_ms, price_micro; /* start INT64_MAX = some day */
    int64_t price_most_micro;      /* by its time limit, with what is moved; 0 = it has none */
    uint32_t site;
    uint16_t chip;
};

/* --- the list --------------------------------------------------------------------------------- */

static bool is_before(const struct why_change *a, const struct why_change *b)
{
    if ((a->start_ms > 0) != (b->start_ms > 0))
        return a->start_ms > 0;
    if (a->start_ms != b->start_ms)
        return a->start_ms < b->start_ms;
    return a->price_more_micro < b->price_more_micro;
}

/* Kept in order; the last falls off when there are too many. */
static void keep(struct why_more *out, const struct why_change *change)
{
    uint32_t at = out->changes_count;

    while (at && is_before(change, &out->changes[at - 1]))
        at--;
    if (at == WHY_CHANGES_MAX)
        return;
    if (out->changes_count < WHY_CHANGES_MAX)
        out->changes_count++;
    for (uint32_t i = out->changes_count - 1; i > at; i--)
        out->changes[i] = out->changes[i - 1];
    out->changes[at] = *change;
}

static struct why_change change_of(const char *code, const char *fmt, ...) PRINTF_LIKE(2, 3);
static struct why_change change_of(const char *code, const char *fmt, ...)
{
    struct why_change change = { .price_micro = -1 };
    va_list args;

    snprintf(change.code, sizeof(change.code), "%s", code);
    va_start(args, fmt);
    vsnprintf(change.text, sizeof(change.text), fmt, args);
    va_end(args);
    return change;
}

static void keep_found(const struct advice *advice, const struct found *found,
                       struct why_change change)
{
    const struct fleet_site *site = &advice->grid->fleet.sites[found->site];

    snprintf(change.site, sizeof(change.site), "%s", site->info.name);
    if (found->chip != FLEET_NO_CHIP)
        snprintf(change.chip, sizeof(change.chip), "%s",
                 found->chip == FLEET_MIXED ? "mixed" : site->chips[found->chip].kind);
    change.start_ms = found->start_ms < INT64_MAX ? found->start_ms : 0;
    change.price_micro = found->price_micro;
    change.price_more_micro = advice->base_price < 0 ? 0 : found->price_micro - advice->base_price;
    keep(advice->out, &change);
}

/* --- trying ----------------------------------------------------------------------------------- */

static struct found found_at(const struct candidate *at, int64_t start_ms, uint32_t tasks,
                             int64_t span_ms)
{
    struct found found = { true, start_ms, 0, 0, at->site, at->chip };
    struct request_freight none = { .span_ms = span_ms - END_SLACK_MS };
    int64_t billed_ms = span_ms < INT64_MAX ? span_ms - END_SLACK_MS : HOUR_MS;

    found.price_micro = plan_over_time(at->price_micro, tasks, billed_ms);
    if (span_ms < INT64_MAX)
        found.price_most_micro = freight_price_most(&none, at->price_micro, tasks, &at->freight);
    return found;
}

static int64_t estimate(const struct advice *advice, struct shape *shape,
                        const struct candidate *at, int64_t span_ms, int64_t before_ms)
{
    struct grid *grid = advice->grid;
    struct reserve_ask ask = { .now_ms = grid->now_ms,
                               .span_ms = span_ms,
                               .before_ms = before_ms < INT64_MAX ? before_ms : -1 };
    int64_t start_ms =
        reserve_estimate(&grid->reserve, shape, &grid->fleet, at->site, at->chip, &ask, &grid->fit);

    return start_ms > 0 ? start_ms : INT64_MAX;
}

/* Where and when it could start, sooner than as it is: now at the first candidate that has room,
 * else (unless `now_only`) where there is room first. */
static bool look(const struct advice *advice, const struct request_shape *asked, int64_t span_ms,
                 bool now_only, struct found *out)
{
    struct grid *grid = advice->grid;
    uint32_t number = shapes_get(&grid->shapes, asked), count;
    struct shape *shape = shapes_at(&grid->shapes, number);
    const struct candidate *list =
        shape_candidates(shape, &grid->fleet, &advice->terms->objective, &count);

    *out = (struct found){ .start_ms = advice->base_ms };
    for (uint32_t i = 0; i < count && i < PLACES_MAX && !(out->any && now_only); i++) {
        int64_t start_ms = INT64_MAX;

        grid->fleet.window =
            (struct fleet_window){ INT64_MIN, span_end_ms(grid->now_ms, span_ms), false };
        if (fit_candidate(shape, &grid->fleet, list[i].site, list[i].chip, FIT_LIMITED, &grid->fit))
            start_ms = grid->now_ms;
        else if (!now_only && advice->has_estimates && i < ESTIMATES_MAX)
            start_ms = estimate(advice, shape, &list[i], span_ms, out->start_ms);
        if (start_ms >= out->start_ms && !(advice->is_never && !now_only && !out->any))
            continue;
        *out = found_at(&list[i], start_ms, shape->tasks, span_ms);
        if (start_ms <= grid->now_ms)
            break;
    }
    grid->fleet.window = (struct fleet_window){ INT64_MIN, INT64_MAX, false };
    shapes_unref(&grid->shapes, number);
    return out->any;
}

/* --- what kinds of place it takes ------------------------------------------------------------- */

/* "bf16_tflops 362, all that this chip has": of the needs that it does not meet, the first. */
static void say_needs(const struct advice *advice, const struct found *found, char *out,
                      size_t bytes)
{
    const struct fleet_site *site = &advice->grid->fleet.sites[found->site];
    char has[32];

    snprintf(out, bytes, "lower ones");
    for (uint32_t i = 0; found->chip < FLEET_MIXED && i < advice->asked->needs_count; i++) {
        const struct request_need *need = &advice->asked->needs[i];
        int64_t figure = site->chips[found->chip].metric_milli[need->metric];

        if (figure >= need->least_milli)
            continue;
        units_print_milli(figure, has, sizeof(has));
        snprintf(out, bytes, "%s %s, which is what this chip has",
                 chip_metric_name((enum chip_metric)need->metric), figure > 0 ? has : "dropped");
        return;
    }
}

static void try_kinds(const struct advice *advice)
{
    const struct request_shape *asked = advice->asked;
    struct request_shape other = *asked;
    struct found found;

    other.chips_count = 0;
    if (asked->chips_count && look(advice, &other, advice->span_ms, false, &found))
        keep_found(advice, &found, change_of("resources.chips", "any kind of chip, or this one"));
    other = *asked;
    other.needs_count = 0;
    if (asked->needs_count && look(advice, &other, advice->span_ms, false, &found)) {
        char text[160];

        say_needs(advice, &found, text, sizeof(text));
        keep_found(advice, &found, change_of("resources.needs", "%s", text));
    }
    other = *asked;
    other.mixed = 1;
    if (!asked->mixed && asked->sites_max < 2 && asked->tasks > 1 && asked->devices_milli >= 1000 &&
        look(advice, &other, advice->span_ms, false, &found))
        keep_found(advice, &found,
                   change_of("resources.mixed", "its tasks on several kinds of chip at one site, "
                                                "where its program reads MAINS_SHARE"));
}

static void try_places(const struct advice *advice)
{
    const struct request_shape *asked = advice->asked;
    struct request_shape other = *asked;
    struct found found;

    other.places_count = 0;
    if (asked->places_count && look(advice, &other, advice->span_ms, false, &found))
        keep_found(advice, &found, change_of("where", "any site, or this one"));
    other = *asked;
    other.freight.price_micro_max = 0;
    if (asked->freight.price_micro_max && look(advice, &other, advice->span_ms, false, &found)) {
        char least[32];

        units_print_micro(found.price_most_micro, least, sizeof(least));
        keep_found(advice, &found, change_of("max_price", "%s: it may cost so much", least));
    }
    other = *asked;
    other.within_hard = 0;
    if (asked->within_hard && look(advice, &other, advice->span_ms, false, &found))
        keep_found(
            advice, &found,
            change_of("topology.hard", "false: not all in one %s", topology_name(asked->within)));
    other = *asked;
    memset(&other.apart, 0, sizeof(other.apart));
    if (apart_is_told(&asked->apart) && look(advice, &other, advice->span_ms, false, &found))
        keep_found(advice, &found,
                   change_of("topology.not_with", "none: beside what it keeps away from, or what "
                                                  "keeps away from it"));
    other = *asked;
    other.tasks_per_node = 0;
    if (asked->tasks_per_node && look(advice, &other, advice->span_ms, false, &found))
        keep_found(advice, &found, change_of("tasks.per_node", "more of its tasks on one node"));
}

/* Over several sites, now. */
static void try_across(const struct advice *advice)
{
    struct grid *grid = advice->grid;
    struct grant *grants[ACROSS_SITES_MAX];
    struct request_shape other = *advice->asked;
    uint32_t number, count;

    other.sites_max = REQUEST_SITES_MAX;
    if (advice->asked->sites_max > 1 || other.tasks < 2 || other.tasks > REQUEST_ACROSS_TASKS_MAX ||
        other.within || other.spread || other.mixed)
        return;
    number = shapes_get(&grid->shapes, &other);
    grid->fleet.window =
        (struct fleet_window){ INT64_MIN, span_end_ms(grid->now_ms, advice->span_ms), false };
    count = across_find(shapes_at(&grid->shapes, number), &grid->fleet, &advice->terms->objective,
                        FIT_LIMITED, &grid->fit, grants);
    grid->fleet.window = (struct fleet_window){ INT64_MIN, INT64_MAX, false };
    shapes_unref(&grid->shapes, number);
    if (count) {
        struct why_change change = change_of("resources.sites",
                                             "%u: over several sites, where its tasks talk through "
                                             "MAINS_PEERS",
                                             count);

        change.start_ms = grid->now_ms;
        snprintf(change.site, sizeof(change.site), "%s",
                 grid->fleet.sites[grants[0]->site].info.name);
        keep(advice->out, &change);
    }
    while (count)
        grant_destroy(grants[--count]);
}

/* --- how much it asks for --------------------------------------------------------------------- */

enum quantity {
    ITS_TASKS,
    ITS_DEVICES,
    ITS_CPUS,
    ITS_MEMORY,
    ITS_DISK,
    ITS_DEVICE_MEMORY,
    ITS_DURATION /* in minutes; the others are in its shape */
};
static const struct {
    const char *code;
    int64_t unit; /* of what the shape counts in */
} quantities[] = {
    [ITS_TASKS] = { "tasks", 1 },
    [ITS_DEVICES] = { "resources.devices", 1000 },
    [ITS_CPUS] = { "resources.cpus", 1 },
    [ITS_MEMORY] = { "resources.memory", GIB },
    [ITS_DISK] = { "resources.disk", GIB },
    [ITS_DEVICE_MEMORY] = { "resources.device_memory", GIB },
};

/* In units; or told to be so many (`set` > 0). */
static int64_t quantity(struct request_shape *shape, enum quantity which, int64_t set)
{
    switch (which) {
    case ITS_TASKS:
        shape->tasks = set ? (uint32_t)set : shape->tasks;
        return shape->tasks;
    case ITS_DEVICES:
        shape->devices_milli = set ? (uint32_t)set * 1000 : shape->devices_milli;
        return shape->devices_milli / 1000;
    case ITS_CPUS:
        shape->cpus = set ? (uint32_t)set : shape->cpus;
        return shape->cpus;
    case ITS_MEMORY:
        shape->memory_bytes = set ? set * GIB : shape->memory_bytes;
        return (shape->memory_bytes + GIB - 1) / GIB;
    case ITS_DISK:
        shape->disk_bytes = set ? set * GIB : shape->disk_bytes;
        return (shape->disk_bytes + GIB - 1) / GIB;
    case ITS_DEVICE_MEMORY:
        shape->device_memory_bytes = set ? set * GIB : shape->device_memory_bytes;
        return (shape->device_memory_bytes + GIB - 1) / GIB;
    case ITS_DURATION:
        break;
    }
    return 0;
}

/* The most of it, up to so many, with which `look` finds a start; 0 = not even with one. */
static int64_t find_most(const struct advice *advice, enum quantity which, int64_t most,
                         bool now_only, struct found *best)
{
    int64_t least = 0, middle = 1; /* one first: mostly that is too much already */

    while (least < most) {
        struct request_shape other = *advice->asked;
        int64_t span_ms = advice->span_ms;
        struct found found;

        if (which == ITS_DURATION)
            span_ms = middle * MINUTE_MS + END_SLACK_MS;
        else
            quantity(&other, which, middle);
        if (look(advice, &other, span_ms, now_only, &found)) {
            *best = found;
            least = middle;
        } else {
            most = middle - 1;
        }
        middle = least + (most - least + 1) / 2;
    }
    return least;
}

/* The most of it, below what is asked, with which the job could start now; where there is none,
 * with which it would ever start. */
static void try_quantity(const struct advice *advice, enum quantity which)
{
    struct request_shape shape = *advice->asked;
    int64_t asked = quantity(&shape, which, 0), most;
    struct found best;
    char was[32], now[32];

    most = find_most(advice, which, asked - 1, true, &best);
    if (!most && advice->is_never)
        most = find_most(advice, which, asked - 1, false, &best);
    if (!most)
        return;
    if (quantities[which].unit == GIB) {
        units_print_bytes(most * GIB, now, sizeof(now));
        units_print_bytes(asked * GIB, was, sizeof(was));
    } else {
        snprintf(now, sizeof(now), "%" PRId64, most);
        snprintf(was, sizeof(was), "%" PRId64, asked);
    }
    keep_found(advice, &best, change_of(quantities[which].code, "%s instead of %s", now, was));
}

/* The longest time limit with which it would be gone before what is promised to others begins. */
static void try_duration(const struct advice *advice)
{
    int64_t most = DURATION_MINUTES_MAX;
    struct found best;
    char text[32];

    if (!advice->grid->fleet.promises_count)
        return;
    if (advice->span_ms < INT64_MAX)
        most = (advice->span_ms - END_SLACK_MS) / MINUTE_MS - 1;
    most = find_most(advice, ITS_DURATION, most, true, &best);
    if (!most)
        return;
    units_print_duration(most * MINUTE_MS, text, sizeof(text));
    keep_found(advice, &best,
               change_of("duration", "at most %s: gone before a promised start", text));
}

static uint64_t nodes_in_all(const struct grid *grid)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < grid->fleet.sites_count; i++)
        count += grid->fleet.sites[i].info.nodes_count;
    return count;
}

void advice_find(struct grid *grid, const struct request_shape *asked, const struct terms *terms,
                 const struct plan_candidate *places, uint32_t places_count, struct why_more *out)
{
    struct advice advice = { .grid = grid,
                             .asked = asked,
                             .terms = terms,
                             .out = out,
                             .span_ms = INT64_MAX,
                             .base_ms = INT64_MAX,
                             .base_price = -1,
                             .has_estimates = grid->fleet.grants_count <= GRANTS_MAX };

    if (terms->duration_ms_max)
        advice.span_ms = terms->duration_ms_max + END_SLACK_MS;
    if (places_count && places[0].fits_ever) {
        if (places[0].start_estimate_ms)
            advice.base_ms = places[0].start_estimate_ms;
        advice.base_price = places[0].price_micro;
    }
    advice.is_never = !places_count || !places[0].fits_ever;
    if (places_count && places[0].fits_now)
        return;
    try_kinds(&advice);
    try_places(&advice);
    try_across(&advice);
    try_duration(&advice);
    if (nodes_in_all(grid) > NODES_MAX)
        return;
    for (enum quantity which = ITS_TASKS; which <= ITS_DEVICE_MEMORY; which++)
        try_quantity(&advice, which);
}

/* --- what is not room ------------------------------------------------------------------------- */

struct end { /* of something that its tenant holds */
    int64_t end_ms;
    uint64_t units;
};

static int compare_ends(const void *a, const void *b)
{
    const struct end *x = a, *y = b;

    return x->end_ms < y->end_ms ? -1 : x->end_ms > y->end_ms;
}

static bool is_under(const struct grid *grid, uint32_t tenant, uint32_t above)
{
    for (uint32_t at = tenant; at; at = grid->tenants[at].parent)
        if (at == above)
            return true;
    return false;
}

/* When so much of what the tenant holds is bound to have ended; 0 = not known. */
static int64_t freed_by(const struct grid *grid, uint32_t tenant, bool devices, uint64_t units)
{
    struct end *ends;
    uint64_t sum = 0;
    uint32_t count = 0;
    int64_t at_ms = 0;

    if (grid->fleet.grants_count > GRANTS_MAX)
        return 0;
    ends = calloc((size_t)grid->fleet.grants_count + 1, sizeof(*ends));
    for (uint32_t i = 0; ends && i < grid->fleet.grants_count; i++) {
        const struct grant *grant = grid->fleet.grants[i];
        const struct job *job = grid_job(grid, grant->job_id);

        if (job && is_under(grid, job->tenant, tenant) && grant->end_ms < INT64_MAX)
            ends[count++] =
                (struct end){ grant->end_ms, devices ? grant->devices_milli : grant->cpus };
    }
    if (count)
        qsort(ends, count, sizeof(*ends), compare_ends);
    for (uint32_t i = 0; i < count && sum < units; i++) {
        sum += ends[i].units;
        at_ms = sum >= units ? ends[i].end_ms : 0;
    }
    free(ends);
    return at_ms;
}

/* When there is room for it, whatever else holds it; 0 = not known. */
static int64_t room_ms(const struct why_more *out)
{
    return out->places_count ? out->places[0].start_estimate_ms : 0;
}

static void hold_quota(struct grid *grid, const struct job *job, struct why_more *out)
{
    const struct shape *shape = job_shape(grid, job);
    enum hold hold;
    uint32_t full = pass_full_tenant(grid, job, &hold);
    bool devices = hold == HOLD_QUOTA_DEVICES;
    const struct tenant *tenant = &grid->tenants[full];
    const char *name = intern_data(&grid->tenant_names, full);
    uint64_t unit = devices ? shape->devices_milli : shape->cpus;
    uint64_t held = devices ? tenant->devices_milli_held + tenant->devices_milli_below
                            : tenant->cpus_held + tenant->cpus_below;
    uint64_t limit = (uint64_t)(devices ? tenant->devices_milli_max : tenant->cpus_max);
    struct promised_sums beside = { 0 };
    struct why_change change;
    uint64_t wanted;
    char most[32];

    if (!unit)
        return;
    if (!job->is_promised)
        beside = promises_beside(grid, job, full);
    held += devices ? beside.devices_milli : beside.cpus;
    wanted = held + unit * shape->tasks;
    units_print_milli((int64_t)(devices ? wanted : wanted * 1000), most, sizeof(most));
    change =
        change_of("quota", "mains tenant set %s --%s %s", name, devices ? "devices" : "cpus", most);
    change.start_ms = room_ms(out);
    keep(out, &change);
    if (held < limit && (limit - held) / unit >= 1) {
        change = change_of("tasks", "%" PRIu64 ": what is left of tenant %s's limit",
                           (limit - held) / unit, name);
        change.start_ms = room_ms(out);
        keep(out, &change);
    }
    change = change_of("wait", "until enough of what tenant %s runs has ended", name);
    change.start_ms = freed_by(grid, full, devices, wanted > limit ? wanted - limit : 0);
    if (change.start_ms)
        change.start_ms = room_ms(out) ? MAX(change.start_ms, room_ms(out)) : 0;
    if (unit * shape->tasks <= limit)
        keep(out, &change);
}

/* Who of its tenants has least left beside what is promised, and what of the duration that would
 * pay for. */
static void hold_budget(struct grid *grid, const struct job *job, struct why_more *out)
{
    int64_t promised = promises_price(grid, job), price = budget_price(grid, job);
    int64_t left = MAX(budget_left(grid, job->tenant), (int64_t)0) - promised;
    const struct terms *terms = job_terms(grid, job);
    struct why_change change;
    char text[32];

    for (uint32_t at = job->tenant; at; at = grid->tenants[at].parent) {
        const struct tenant *tenant = &grid->tenants[at];
        __int128 wanted = (__int128)tenant->spent_micro + tenant->reserved_micro + promised + price;

        if (tenant->budget_micro < 0 || price < 0 || wanted <= tenant->budget_micro)
            continue;
        units_print_micro((int64_t)MIN(wanted, (__int128)INT64_MAX), text, sizeof(text));
        change = change_of("budget", "mains tenant set %s --budget %s",
                           intern_data(&grid->tenant_names, at), text);
        change.start_ms = room_ms(out);
        change.price_micro = price;
        keep(out, &change);
    }
    if (price > 0 && left > 0) {
        __int128 ms = (__int128)(terms->duration_ms_max + END_SLACK_MS) * left / price;
        int64_t minutes = (int64_t)((ms - END_SLACK_MS) / MINUTE_MS);

        units_print_duration(minutes * MINUTE_MS, text, sizeof(text));
        change = change_of("duration", "at most %s: what is left pays for it", text);
        change.start_ms = room_ms(out);
        change.price_micro = left;
        if (minutes >= 1)
            keep(out, &change);
    }
    if (price < 0) {
        change = change_of("duration", "any: a budget needs to know what it may cost");
        change.start_ms = room_ms(out);
        keep(out, &change);
    }
}

/* It waits for a better hour: what now costs more than then. */
static void hold_hour(struct grid *grid, const struct job *job, struct why_more *out)
{
    struct plan_candidate places[PLAN_CANDIDATES_MAX];
    struct shape *shape = job_shape(grid, job);
    struct terms at_once = *job_terms(grid, job);
    struct why_change change =
        change_of("objective", "fastest: it does not wait for a better hour");
    uint32_t count = 0;

    at_once.waits_never = 1;
    plan_list(grid, shape, &at_once, grid->now_ms, places, &count);
    if (!count || !places[0].fits_now)
        return;
    snprintf(change.site, sizeof(change.site), "%s", places[0].site);
    snprintf(change.chip, sizeof(change.chip), "%s", places[0].chip);
    change.start_ms = grid->now_ms;
    change.price_micro = places[0].price_micro;
    if (out->places_count && !out->places[0].fits_now)
        change.price_more_micro = places[0].price_micro - out->places[0].price_micro;
    keep(out, &change);
}

void advice_hold(struct grid *grid, const struct job *job, struct why_more *out)
{
    struct why_change change;

    if (job->state == JOB_HELD) {
        if (waits_is_held(job) && job->wait->until_ms)
            hold_hour(grid, job, out);
        return;
    }
    switch (pass_hold(grid, job)) {
    case HOLD_NONE:
        break;
    case HOLD_PARALLEL:
        change = change_of("array.parallel", "%u instead of %u", job->array->active + 1,
                           job->array->parallel_max);
        change.start_ms = room_ms(out);
        keep(out, &change);
        break;
    case HOLD_QUOTA_CPUS:
    case HOLD_QUOTA_DEVICES:
        hold_quota(grid, job, out);
        break;
    case HOLD_BUDGET:
    case HOLD_BUDGET_UNKNOWN:
        hold_budget(grid, job, out);
        break;
    }
}

/* --- of a job --------------------------------------------------------------------------------- */

/* How many go before it, were it of the next class. No start is told: who is before it counts, but
 * so does what they need. */
static void try_class(struct grid *grid, const struct job *job, struct why_more *out)
{
    static const char *const names[] = { "low", "normal", "high", "urgent" };
    uint32_t next = job_terms(grid, job)->job_class + 1;
    struct why_change change;
    uint64_t now, then;
    bool is_exact;

    if (next >= CLASS_COUNT)
        return;
    shares_rank(grid);
    now = queue_ahead(&grid->queue, &job->item, AHEAD_STEPS_MAX, pass_can_start, grid, &is_exact);
    then = queue_count_before(
        &grid->queue, queue_rank(&grid->queue, next, job->tenant, job->rank ? job->rank->level : 0),
        pass_can_start, grid);
    if (then >= now)
        return;
    change = change_of("class", "%s: %" PRIu64 " jobs ahead of it instead of %" PRIu64, names[next],
                       then, now);
    keep(out, &change);
}

static void say_choice(const struct grid *grid, const struct grant *grant, struct why_choice *out)
{
    static const char *const names[] = { "",       "turn", "around",  "promised",
                                         "across", "own",  "stopped", "assigned" };
    static const char *const texts[] = {
        "",
        "there was room when its turn came",
        "it went around others that wait for room",
        "it was promised a start and is there by then",
        "over several sites, as no one had room for all of it",
        "in cells that are its tenant's own",
        "others were stopped so that it fits",
        "on the chip where all together gain most",
    };
    const struct grant_choice *choice = &grant->choice;
    const struct fleet_site *other =
        choice->other_site ? &grid->fleet.sites[choice->other_site - 1] : NULL;
    char place[2 * MODEL_NAME_BYTES] = "";
    int len;

    if (!choice->how)
        return;
    snprintf(out->how, sizeof(out->how), "%s", names[choice->how]);
    out->places = choice->places;
    out->rank = choice->places ? choice->rank + 1 : 0;
    if (other) {
        snprintf(out->other_site, sizeof(out->other_site), "%s", other->info.name);
        if (choice->other_chip < other->chips_count)
            snprintf(out->other_chip, sizeof(out->other_chip), "%s",
                     other->chips[choice->other_chip].kind);
        snprintf(place, sizeof(place), "%s%s%s", out->other_chip, out->other_chip[0] ? " at " : "",
                 out->other_site);
    }
    len = snprintf(out->text, sizeof(out->text), "%s", texts[choice->how]);
    if (choice->places && choice->rank)
        snprintf(out->text + len, sizeof(out->text) - (size_t)len,
                 "; place %u of %u, as the best (%s) had no room", out->rank, out->places, place);
    else if (choice->places)
        snprintf(out->text + len, sizeof(out->text) - (size_t)len, "; the best of %u place%s%s%s",
                 out->places, out->places > 1 ? "s" : "", other ? ", before " : "", place);
}

int grid_why_more(struct grid *grid, uint64_t job_id, struct why_more *more_out)
{
    const struct job *job = grid_job(grid, job_id);
    struct plan_candidate places[PLAN_CANDIDATES_MAX];
    bool was_overpromised = grid->fleet.is_overpromised, has_place;
    struct request_shape asked = { 0 };
    struct promise *promise;
    uint32_t count = 0;

    memset(more_out, 0, sizeof(*more_out));
    if (!job)
        return -ENOENT;
    if (job->grant)
        say_choice(grid, job->grant, &more_out->choice);
    if (job->grant || (job->state != JOB_QUEUED && job->state != JOB_HELD))
        return 0;
    promise = promise_of(grid, job);
    has_place = promise && promise->plan;
    if (has_place) /* its own promise is no bar to it */
        promise_lift(promise, &grid->fleet);
    plan_list(grid, job_shape(grid, job), job_terms(grid, job), grid->now_ms, places, &count);
    more_out->places_count = MIN(count, WHY_PLACES_MAX);
    memcpy(more_out->places, places, more_out->places_count * sizeof(places[0]));
    advice_hold(grid, job, more_out);
    if (job->state == JOB_QUEUED && !more_out->changes_count) {
        shape_to_request(job_asked(grid, job), &asked);
        advice_find(grid, &asked, job_terms(grid, job), places, count, more_out);
        if (count && places[0].fits_ever)
            try_class(grid, job, more_out);
    }
    if (has_place) {
        promise_set(promise, &grid->fleet);
        grid->fleet.is_overpromised = was_overpromised;
    }
    return 0;
}
