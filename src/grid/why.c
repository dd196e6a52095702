/* Why a job is where it is, in one line that a person can act on. */
#include "grid/assigns.h"
#include "grid/ranks.h"
#include "grid/rates.h"
#include "grid/freight.h"
#include "grid/owners.h"
#include "grid/power.h"
#include "grid/state.h"
#include "model/chip.h"
#include "model/units.h"
#include "sched/explain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ESTIMATE_GRANTS_MAX 20000u

static void say(struct why *why, const char *code, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void say(struct why *why, const char *code, const char *fmt, ...)
{
    va_list args;

    snprintf(why->code, sizeof(why->code), "%s", code);
    va_start(args, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, args);
    va_end(args);
}

/* "14:05 UTC" within a day, else the whole date. */
static void print_clock(int64_t ms, int64_t now_ms, char *out, size_t bytes)
{
    int64_t minutes = ms / 60000 % 1440;

    if (ms - now_ms < 24 * 3600000LL)
        snprintf(out, bytes, "%02d:%02d UTC", (int)(minutes / 60), (int)(minutes % 60));
    else
        units_print_time(ms, out, bytes);
}

static void print_dep(const struct grid *grid, const struct job_dep *dep, char *out, size_t bytes)
{
    const struct job *job = grid_job(grid, dep->id);
    const struct array *array = grid_array(grid, dep->id);

    if (array)
        snprintf(out, bytes, "array %" PRIu64 " (%u of %u elements have not ended)", dep->id,
                 array->live, array->count);
    else
        snprintf(out, bytes, "job %" PRIu64 " (%s)", dep->id,
                 job ? job_state_name((enum job_state)job->state) : "ended");
}

static void why_held(struct grid *grid, const struct job *job, struct why *why)
{
    char when[64], other[80];

    for (uint32_t i = 0; job->deps && i < job->deps->count; i++) {
        const struct job_dep *dep = &job->deps->list[i];

        if (dep->met)
            continue;
        print_dep(grid, dep, other, sizeof(other));
        if (job->deps->waiting > 1)
            say(why, "dependency", "waits for %s and %u more", other, job->deps->waiting - 1);
        else
            say(why, "dependency", "waits for %s%s", other,
                dep->kind == DEP_FAILED ? " to fail" : "");
        return;
    }
    if (power_why_held(grid, job, why))
        return;
    units_print_time(job_terms(grid, job)->begin_ms, when, sizeof(when));
    why->start_estimate_ms = job_terms(grid, job)->begin_ms;
    say(why, "begin", "begins at %s or later, as it asks", when);
}

static const char *node_name(const struct grid *grid, const struct verdict *is)
{
    const struct site_info *site = &grid->fleet.sites[is->site].info;

    return is->node < site->nodes_count ? site->nodes[is->node].name : "there is none";
}

static void why_devices(const struct grid *grid, const struct shape *shape,
                        const struct verdict *is, struct why *why)
{
    char needed[32], most[32];

    switch (is->code) {
    case VERDICT_CHIP:
        if (shape->chips_count)
            say(why, "chip", "no node has a %s%s: widen resources.chips or add one",
                shape->chips[0], shape->chips_count > 1 ? " or another chip it lists" : "");
        else
            say(why, "chip",
                "no node has an accelerator that meets it: lower resources.devices "
                "or add one");
        break;
    case VERDICT_NEED:
        units_print_milli(is->needed, needed, sizeof(needed));
        units_print_milli(is->most, most, sizeof(most));
        if (is->most < 0)
            say(why, "need", "needs %s >= %s, not known of any chip here: name chips instead",
                chip_metric_name((enum chip_metric)is->metric), needed);
        else
            say(why, "need", "needs %s >= %s, the best chip has %s: lower resources.needs",
                chip_metric_name((enum chip_metric)is->metric), needed, most);
        break;
    case VERDICT_DEVICE_MEMORY:
        units_print_bytes(is->needed, needed, sizeof(needed));
        units_print_bytes(is->most, most, sizeof(most));
        say(why, "device_memory",
            "needs %s on each device, the largest has %s: lower resources.device_memory", needed,
            most);
        break;
    default:
        say(why, "devices",
            "needs %" PRId64 " devices per task, the most on one node (%s) is %" PRId64
            ": lower resources.devices",
            is->needed, node_name(grid, is), is->most);
    }
}

static void why_never(const struct grid *grid, const struct shape *shape, const struct verdict *is,
                      struct why *why)
{
    char needed[32], most[32];

    switch (is->code) {
    case VERDICT_NO_SITE:
        say(why, "no_site", "no site has joined the network: start an agent (mains up)");
        break;
    case VERDICT_PLACE:
        say(why, "where", "its `where` leaves no site of the network's %u: widen it",
            grid->fleet.sites_count);
        break;
    case VERDICT_CPUS:
        say(why, "cpus",
            "needs %" PRId64 " CPUs per task, the largest node (%s) has %" PRId64
            ": lower resources.cpus or add a bigger node",
            is->needed, node_name(grid, is), is->most);
        break;
    case VERDICT_MEMORY:
    case VERDICT_DISK:
        units_print_bytes(is->needed, needed, sizeof(needed));
        units_print_bytes(is->most, most, sizeof(most));
        say(why, verdict_name(is->code),
            "needs %s of %s per task, the largest node (%s) has %s: lower resources.%s or add a "
            "bigger node",
            needed, verdict_name(is->code), node_name(grid, is), most, verdict_name(is->code));
        break;
    case VERDICT_TOGETHER:
        say(why, "together",
            "no one node has all that a task needs together (%u CPUs, memory, "
            "disk, devices): lower one of them",
            shape->cpus);
        break;
    case VERDICT_GANG:
        if (shape->sites_max > 1) {
            say(why, "tasks",
                "its %u tasks may be over %u sites (resources.sites), on one kind of chip, and no "
                "%u sites hold so many: lower tasks or what each needs",
                shape->tasks, shape->sites_max, shape->sites_max);
            break;
        }
        say(why, "tasks",
            "its %" PRId64 " tasks start together at one site and on one kind of chip; the most "
            "that fit is %" PRId64 " (%s): lower tasks or what each needs",
            is->needed, is->most, grid->fleet.sites[is->site].info.name);
        break;
    case VERDICT_TOPOLOGY:
        say(why, "topology",
            "its %" PRId64 " tasks must be in one %s (topology.hard); the most that one holds is "
            "%" PRId64 " (%s): ask for a wider domain, or for hard: false",
            is->needed, topology_name(shape->within), is->most,
            grid->fleet.sites[is->site].info.name);
        break;
    case VERDICT_CLOSED:
        say(why, "cordoned",
            "the nodes or devices at %s that it needs are cordoned, sick or "
            "gone: see `mains nodes`",
            grid->fleet.sites[is->site].info.name);
        break;
    case VERDICT_UNREACHABLE:
        if (owners_why_silent(grid, is->site, why))
            break;
        say(why, "unreachable",
            "site %s, where it fits, is not reachable: see `mains doctor` there",
            grid->fleet.sites[is->site].info.name);
        break;
    default:
        why_devices(grid, shape, is, why);
    }
}

/* "2 of 2 CPUs are busy until about 14:05 UTC": of what its best place has. */
static void print_busy(struct grid *grid, struct shape *shape, const struct candidate *at,
                       int64_t until_ms, char *out, size_t bytes)
{
    const struct fleet_site *site = &grid->fleet.sites[at->site];
    uint64_t total = 0, busy = 0;
    char when[40] = "";

    for (uint32_t i = 0; i < site->info.nodes_count; i++) {
        const struct fleet_node *node = &site->nodes[i];

        if (!node_is_open(node))
            continue;
        for (uint32_t d = 0; shape->devices_milli && d < node->devices_count; d++)
            if ((node->devices[d].chip == at->chip || at->chip == FLEET_MIXED) &&
                device_is_usable(&node->devices[d])) {
                total++;
                busy += node->devices[d].used_milli > 0;
            }
        if (!shape->devices_milli) {
            total += node->cpus;
            busy += node->cpus_used;
        }
    }
    if (until_ms > 0)
        print_clock(until_ms, grid->now_ms, when, sizeof(when));
    snprintf(out, bytes, "%" PRIu64 " of %" PRIu64 " %s at %s are busy%s%s", busy, total,
             at->chip == FLEET_NO_CHIP ? "CPUs"
             : at->chip == FLEET_MIXED ? "devices"
                                       : site->chips[at->chip].kind,
             site->info.name, when[0] ? "; room by " : "", when);
}

/* When it could start at its best place, by the bounds of what runs and is promised; 0 = not known.
 */
static int64_t estimate_start(struct grid *grid, const struct job *job, const struct candidate *at)
{
    struct reserve_ask ask = { .now_ms = grid->now_ms,
                               .span_ms = job_end_bound(grid, job),
                               .before_ms = -1 };
    int64_t start_ms;

    if (grid->fleet.grants_count > ESTIMATE_GRANTS_MAX)
        return 0;
    if (ask.span_ms < INT64_MAX)
        ask.span_ms -= grid->now_ms;
    start_ms = reserve_estimate(&grid->reserve, job_shape(grid, job), &grid->fleet, at->site,
                                at->chip, &ask, &grid->fit);
    return start_ms < INT64_MAX && start_ms > grid->now_ms ? start_ms : 0;
}

/* What became of an earlier promise. */
static void print_broken(const struct grid *grid, const struct promise *promise, char *out,
                         size_t bytes)
{
    char when[40];

    if (!promise || !promise->broken_ms)
        return;
    print_clock(promise->broken_ms, grid->now_ms, when, sizeof(when));
    snprintf(out, bytes, "; the start promised by %s was lost: %s", when,
             promise->broken_by == PROMISE_OVERDUE
                 ? "what ran there outlived its limit"
                 : "its place is gone, closed or taken by who goes first");
}

/* It would start now, but for what it asks of topology. */
static bool why_scattered(struct grid *grid, const struct shape *shape,
                          const struct candidate *candidates, uint32_t count, struct why *why)
{
    struct shape loose = *shape;

    loose.within = loose.within_hard = 0;
    for (uint32_t i = 0; shape->within_hard && i < count; i++) {
        const struct fleet_site *site = &grid->fleet.sites[candidates[i].site];

        if (!fit_candidate(&loose, &grid->fleet, candidates[i].site, candidates[i].chip, FIT_NOW,
                           &grid->fit))
            continue;
        say(why, "topology",
            "its %u tasks would fit at %s now, but not in one %s: the one with most room takes "
            "%" PRIu64 "; it waits (topology.hard)",
            shape->tasks, site->info.name, topology_name(shape->within),
            topology_most(shape, site, candidates[i].chip, FIT_NOW));
        return true;
    }
    return false;
}

static uint64_t job_with(const struct grid *grid, const struct request_apart *apart)
{
    for (uint32_t i = 0; i < grid->fleet.grants_count; i++)
        if (grid->fleet.grants[i]->apart == apart)
            return grid->fleet.grants[i]->job_id;
    return 0;
}

/* It would start now, but for what it keeps away from, or what keeps away from it. */
static bool why_apart(struct grid *grid, const struct shape *shape,
                      const struct candidate *candidates, uint32_t count,
                      const struct promise *promise, struct why *why)
{
    static const char *const names[] = { "node", "rack", "supernode", "site" };
    struct shape loose = *shape;
    char when[40] = "";

    loose.apart = NULL;
    for (uint32_t i = 0; shape->apart && i < count; i++) {
        const struct fleet_site *site = &grid->fleet.sites[candidates[i].site];
        const struct request_apart *other = apart_find(shape, site);

        if (!other || !fit_candidate(&loose, &grid->fleet, candidates[i].site, candidates[i].chip,
                                     FIT_NOW, &grid->fit))
            continue;
        if (promise && promise->plan) {
            why->start_estimate_ms = promise->start_ms;
            print_clock(promise->start_ms, grid->now_ms, when, sizeof(when));
        }
        say(why, "apart",
            "there is room at %s, but only beside job %" PRIu64 " or others that are not to be in "
            "one %s with it (topology.not_with): it waits for them%s%s",
            site->info.name, job_with(grid, other), names[apart_conflict(shape->apart, other)],
            when[0] ? "; starts by " : "", when);
        return true;
    }
    return false;
}

/* It would start now, were the cells of others lent to it. */
static bool why_guaranteed(struct grid *grid, const struct job *job, struct why *why)
{
    struct shape *shape = job_shape(grid, job);
    const struct candidate *candidates;
    struct shape lent;
    uint32_t count;

    if (!grid->cells_count || shape->lends)
        return false;
    candidates = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    lent = *shape;
    lent.lends = true;
    for (uint32_t i = 0; i < count; i++) {
        if (!fit_candidate(&lent, &grid->fleet, candidates[i].site, candidates[i].chip, FIT_NOW,
                           &grid->fit))
            continue;
        say(why, "guaranteed",
            "what is idle at %s is guaranteed to others: it is lent to work that can be stopped "
            "(class low or checkpoint, with requeue_on_loss), which this is not",
            grid->fleet.sites[candidates[i].site].info.name);
        return true;
    }
    return false;
}

static void why_busy(struct grid *grid, const struct job *job, struct why *why)
{
    const struct promise *promise = promise_of(grid, job);
    struct shape *shape = job_shape(grid, job);
    const struct candidate *candidates;
    struct candidate promised;
    uint32_t pending = yield_pending(grid, YIELD_PREEMPT, job->item.id) +
                       yield_pending(grid, YIELD_RESIZE, job->item.id) +
                       yield_pending(grid, YIELD_TURN, job->item.id);
    bool is_exact, has_place = promise && promise->plan;
    uint32_t count = 0;
    char busy[256] = "", line[80] = "it is next", broken[120] = "", when[40] = "";

    if (pending) {
        say(why, "preempting", "room is being made for it: %u other%s being stopped", pending,
            pending == 1 ? " is" : "s are");
        return;
    }
    shares_rank(grid);
    why->ahead =
        queue_ahead(&grid->queue, &job->item, AHEAD_STEPS_MAX, pass_can_start, grid, &is_exact);
    if (why->ahead)
        snprintf(line, sizeof(line), "%s%" PRIu64 " job%s ahead of it", is_exact ? "" : "about ",
                 why->ahead, why->ahead == 1 ? " is" : "s are");
    candidates = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    if (has_place) {
        promised = (struct candidate){ .site = promise->plan->site, .chip = promise->chip };
        print_busy(grid, shape, &promised, 0, busy, sizeof(busy));
        why->start_estimate_ms = promise->start_ms;
        print_clock(promise->start_ms, grid->now_ms, when, sizeof(when));
    } else if (shape->sites_max > 1) {
        snprintf(busy, sizeof(busy),
                 "no one site has room for its %u tasks, and no %u together have it now",
                 shape->tasks, shape->sites_max);
    } else if (count) {
        print_busy(grid, shape, &candidates[0], estimate_start(grid, job, &candidates[0]), busy,
                   sizeof(busy));
    }
    if (why_apart(grid, shape, candidates, count, promise, why))
        return;
    print_broken(grid, promise, broken, sizeof(broken));
    if (!why->ahead && why_guaranteed(grid, job, why))
        return;
    if (!why->ahead && why_scattered(grid, shape, candidates, count, why))
        return;
    say(why, why->ahead ? "priority" : "busy", "%s; %s%s%s%s", line, busy,
        has_place ? "; starts by " : "", when, broken);
}

static void why_budget(struct grid *grid, const struct job *job, struct why *why)
{
    const char *name = intern_data(&grid->tenant_names, job->tenant);
    int64_t promised = promises_price(grid, job);
    char price[32], left[32];

    units_print_micro(budget_price(grid, job), price, sizeof(price));
    units_print_micro(MAX(MAX(budget_left(grid, job->tenant), 0) - promised, 0), left,
                      sizeof(left));
    say(why, "budget",
        "may cost %s by its duration, tenant %s has %s left to spend%s: shorten it or raise the "
        "budget",
        price, name, left, promised > 0 ? " beside what it was promised" : "");
}

/* The tenant, its own or one above it, that has no more room for it under its limit. */
static void why_quota(const struct grid *grid, const struct job *job, struct why *why)
{
    const struct shape *shape = job_shape(grid, job);
    enum hold hold;
    uint32_t full = pass_full_tenant(grid, job, &hold);
    const struct tenant *tenant = &grid->tenants[full];
    bool devices = hold == HOLD_QUOTA_DEVICES;
    struct promised_sums beside = { 0 };
    char held[32], promised[32], more[32], most[32];

    if (!job->is_promised)
        beside = promises_beside(grid, job, full);
    if (devices) {
        units_print_milli((int64_t)(tenant->devices_milli_held + tenant->devices_milli_below), held,
                          sizeof(held));
        units_print_milli((int64_t)beside.devices_milli, promised, sizeof(promised));
        units_print_milli((int64_t)shape->tasks * shape->devices_milli, more, sizeof(more));
        units_print_milli(tenant->devices_milli_max, most, sizeof(most));
    } else {
        snprintf(held, sizeof(held), "%" PRIu64, tenant->cpus_held + tenant->cpus_below);
        snprintf(promised, sizeof(promised), "%" PRIu64, beside.cpus);
        snprintf(more, sizeof(more), "%" PRIu64, (uint64_t)shape->tasks * shape->cpus);
        snprintf(most, sizeof(most), "%" PRId64, tenant->cpus_max);
    }
    say(why, "quota", "tenant %s holds %s %s%s%s, this needs %s more, its limit is %s",
        intern_data(&grid->tenant_names, full), held, devices ? "devices" : "CPUs",
        strcmp(promised, "0") ? " and was promised " : "", strcmp(promised, "0") ? promised : "",
        more, most);
}

static void why_queued(struct grid *grid, const struct job *job, struct why *why)
{
    struct shape *shape = job_shape(grid, job);
    struct verdict is = explain_shape(shape, &grid->fleet, EXPLAIN_ALL_SITES);

    if (freight_why_dear(grid, job, why))
        return;
    if (is.code == VERDICT_POLICY) {
        owners_why_barred(grid, job, is.site, why);
        return;
    }
    if (is.code != VERDICT_BUSY &&
        (shape->sites_max < 2 ||
         across_most(shape, &grid->fleet, &job_terms(grid, job)->objective) < shape->tasks)) {
        why_never(grid, shape, &is, why);
        return;
    }
    if (job->bound_chip) {
        say(why, "assigned",
            "room is being made for it on %s at %s, where all gain most; it goes elsewhere if that "
            "takes long",
            intern_data(&grid->strings, job->bound_chip),
            grid->fleet.sites[job->bound_site - 1].info.name);
        return;
    }
    switch (pass_hold(grid, job)) {
    case HOLD_PARALLEL:
        say(why, "parallel", "array %" PRIu64 " runs %u elements at once, as it asks; %u wait",
            job->array->id, job->array->parallel_max, job->array->queued);
        break;
    case HOLD_QUOTA_CPUS:
    case HOLD_QUOTA_DEVICES:
        why_quota(grid, job, why);
        break;
    case HOLD_BUDGET:
        why_budget(grid, job, why);
        break;
    case HOLD_BUDGET_UNKNOWN:
        say(why, "budget", "tenant %s has a budget and the job no duration: submit it with one",
            intern_data(&grid->tenant_names, job->tenant));
        break;
    case HOLD_NONE:
        if (grid->wants_pass &&
            fit_find(shape, &grid->fleet, &job_terms(grid, job)->objective, FIT_NOW, &grid->fit))
            say(why, "pass", "starts with the next scheduling pass");
        else if (!power_why_queued(grid, job, why) && !owners_why_hours(grid, job, why))
            why_busy(grid, job, why);
        break;
    }
}

/* What becomes of it while its site is not heard; "" = it is. */
static void print_unheard(const struct grid *grid, const struct job *job, char *out, size_t bytes)
{
    const struct fleet_site *site = &grid->fleet.sites[job->grant->site];
    char when[40];

    snprintf(out, bytes, "%s", site->reachable ? "" : ", which is not reachable now");
    if (site->reachable)
        return;
    if (lease_binds(grid, job) && site->lease.ms && !site->lease.is_over) {
        print_clock(site->lease.lost_ms + site->lease.ms, grid->now_ms, when, sizeof(when));
        snprintf(out, bytes,
                 ", which is not reachable now: by about %s its lease ends, it is stopped there "
                 "and queued again",
                 when);
    } else if (job->state == JOB_RUNNING) {
        snprintf(out, bytes, ", which is not reachable now: it goes on there");
    }
}

static void why_stopping(const struct grid *grid, const struct job *job, const char *unheard,
                         struct why *why)
{
    const char *reason = intern_data(&grid->strings, job->reason), *code = "preempted";

    switch ((enum yield_cause)job->yield_cause) {
    case YIELD_NONE:
    case YIELD_TARIFF:
        say(why, "stopping", "is being stopped at %s%s",
            grid->fleet.sites[job->grant->site].info.name, unheard);
        return;
    case YIELD_SHED:
        say(why, "stopping", "%.180s%s", reason, unheard);
        return;
    case YIELD_PREEMPT:
    case YIELD_TURN:
        break;
    case YIELD_RESIZE:
        code = "resizing";
        break;
    case YIELD_MOVE:
    case YIELD_DEFRAG:
        code = "moving";
        break;
    case YIELD_ASSIGN:
        if (job->moves)
            code = "moving";
        break;
    }
    say(why, code, "%.200s", reason);
}

int grid_why(struct grid *grid, uint64_t job_id, struct why *why_out)
{
    const struct job *job = grid_job(grid, job_id);
    char unheard[160] = "", width[128] = "";
    const char *site;

    memset(why_out, 0, sizeof(*why_out));
    if (!job)
        return -ENOENT;
    rates_why(grid, job, why_out->rate, sizeof(why_out->rate));
    freight_say(grid, job, why_out->freight, sizeof(why_out->freight));
    assigns_say(grid, job, why_out->assign, sizeof(why_out->assign));
    site = job->grant ? grid->fleet.sites[job->grant->site].info.name : "";
    if (job->grant) {
        print_unheard(grid, job, unheard, sizeof(unheard));
        elastic_say(grid, job, width, sizeof(width));
    }
    switch ((enum job_state)job->state) {
    case JOB_HELD:
        why_held(grid, job, why_out);
        break;
    case JOB_QUEUED:
        why_queued(grid, job, why_out);
        if (job->rank)
            ranks_say(grid, job, why_out->order, sizeof(why_out->order));
        break;
    case JOB_STARTING:
        if (job->reason) { /* what the site itself says of it */
            say(why_out, "site_queue", "%s: %.200s", site,
                intern_data(&grid->strings, job->reason));
            break;
        }
        say(why_out, "starting", "is being started at %s (attempt %u)%s", site, job->epoch,
            unheard);
        break;
    case JOB_RUNNING:
        if (suspend_holds(job))
            say(why_out, "suspended", "%.200s%s", intern_data(&grid->strings, job->reason),
                unheard);
        else if (job->across)
            say(why_out, "running", "runs at %s and %u more (attempt %u)%s", site,
                job->across->parts_count - 1, job->epoch, unheard);
        else
            say(why_out, "running", "runs at %s (attempt %u)%s%s%s", site, job->epoch,
                *width ? " " : "", width, unheard);
        break;
    case JOB_STOPPING:
        why_stopping(grid, job, unheard, why_out);
        break;
    case JOB_DONE:
    case JOB_FAILED:
    case JOB_CANCELLED:
        break;
    }
    return 0;
}
