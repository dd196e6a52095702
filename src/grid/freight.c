#include "grid/freight.h"

#include "grid/fields.h"
#include "grid/owners.h"
#include "grid/state.h"
#include "model/units.h"
#include "sched/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_DIGITS 16 /* of a tree's name, that stand for it */

/* --- what is told ----------------------------------------------------------------------------- */

/* Within a quarter of each other: not worth a record. */
static bool is_near(int64_t was, int64_t is)
{
    return is == was || (was > 0 && is > was - was / 4 && is < was + was / 4);
}

static bool is_known(const struct freight_site *site, const struct event_site_queue *queue)
{
    if (site->waits_count != queue->waits_count)
        return false;
    for (uint32_t i = 0; i < queue->waits_count; i++)
        if (site->waits[i].has_devices != queue->waits[i].has_devices ||
            site->waits[i].nodes_max != queue->waits[i].nodes_max ||
            site->waits[i].pending != queue->waits[i].pending ||
            site->waits[i].wait_ms != queue->waits[i].wait_ms)
            return false;
    return true;
}

int freight_check(const struct grid *grid, const struct event *event, struct err *err)
{
    const struct event_site_queue *queue = &event->site_queue;
    const struct event_site_link *link = &event->site_link;
    const char *name = event->type == EVENT_SITE_QUEUE ? queue->site : link->site;
    int site = name ? fleet_find_site(&grid->fleet, name) : -1;
    const struct freight_site *at;

    if (site < 0)
        return err_set(err, -ENOENT, "there is no site %s", name ? name : "");
    at = &grid->fleet.sites[site].freight;
    if (event->type == EVENT_SITE_QUEUE) {
        if (!freight_waits_are_sound(queue->waits, queue->waits_count))
            return err_set(err, -EINVAL, "site %s: its queue makes no sense", name);
        if (is_known(at, queue))
            return err_set(err, -EALREADY, "site %s: its queue is known", name);
        return 0;
    }
    if (link->down_bytes_s < 0 || link->down_bytes_s > FREIGHT_RATE_MAX || link->up_bytes_s < 0 ||
        link->up_bytes_s > FREIGHT_RATE_MAX)
        return err_set(err, -EINVAL, "site %s: a link's rate is out of range", name);
    if ((!link->down_bytes_s || is_near(at->down_bytes_s, link->down_bytes_s)) &&
        (!link->up_bytes_s || is_near(at->up_bytes_s, link->up_bytes_s)))
        return err_set(err, -EALREADY, "site %s: its link is known", name);
    return 0;
}

void freight_apply(struct grid *grid, const struct event *event)
{
    struct freight_site *at;

    if (event->type == EVENT_SITE_LINK) {
        at = &grid->fleet.sites[fleet_find_site(&grid->fleet, event->site_link.site)].freight;
        if (event->site_link.down_bytes_s)
            at->down_bytes_s = event->site_link.down_bytes_s;
        if (event->site_link.up_bytes_s)
            at->up_bytes_s = event->site_link.up_bytes_s;
        grid->fleet.freight_version++;
        return;
    }
    at = &grid->fleet.sites[fleet_find_site(&grid->fleet, event->site_queue.site)].freight;
    grid->fleet.waits_count += (event->site_queue.waits_count > 0) - (at->waits_count > 0);
    at->waits_count = event->site_queue.waits_count;
    if (at->waits_count)
        memcpy(at->waits, event->site_queue.waits, at->waits_count * sizeof(at->waits[0]));
    grid->fleet.waits_version++;
    if (grid->counts.starting)
        grid->wants_pass = true; /* who waits there may go elsewhere */
}

void freight_forget(struct grid *grid, uint32_t site)
{
    struct freight_site *at = &grid->fleet.sites[site].freight;

    grid->fleet.waits_count -= at->waits_count > 0;
    freight_site_fini(at);
    grid->fleet.waits_version++;
    grid->fleet.freight_version++;
}

int freight_check_sites(const struct grid *grid, struct err *err)
{
    uint32_t told = 0;

    for (uint32_t i = 0; i < grid->fleet.sites_count; i++)
        told += grid->fleet.sites[i].freight.waits_count > 0;
    return told == grid->fleet.waits_count
               ? 0
               : err_set(err, -EINVAL, "invariant: %u sites told of a queue, counted are %u", told,
                         grid->fleet.waits_count);
}

bool freight_is_told(const struct grid *grid)
{
    return grid->freight_told;
}

void freight_told_again(struct grid *grid)
{
    grid->freight_told = false;
    for (uint32_t i = 0; i < grid->fleet.sites_count && grid->fleet.policies_count; i++) {
        const struct site_policy *policy = grid->fleet.sites[i].policy;

        grid->freight_told |=
            policy && (policy->egress_gb_micro || policy->ingress_gb_micro || policy->link_bytes_s);
    }
    grid->fleet.freight_version++;
}

struct freight_view grid_site_freight(const struct grid *grid, uint32_t index)
{
    const struct freight_site *at;

    if (index >= grid->fleet.sites_count)
        return (struct freight_view){ 0 };
    at = &grid->fleet.sites[index].freight;
    return (struct freight_view){ .down_bytes_s = at->down_bytes_s,
                                  .up_bytes_s = at->up_bytes_s,
                                  .held_bytes = at->held_bytes,
                                  .waits_count = at->waits_count,
                                  .waits = at->waits };
}

/* --- what jobs bring -------------------------------------------------------------------------- */

int freight_check_request(const struct job_request *request, struct err *err)
{
    const struct request_goods *goods = &request->goods;

    if (request->price_micro_max < 0 || request->price_micro_max > REQUEST_PRICE_MICRO_MAX)
        return err_field(err, -EINVAL, "max_price", "max_price: out of range");
    if (request->price_micro_max && !request->duration_ms_max)
        return err_field(err, -EINVAL, "max_price",
                         "max_price: say a duration, too, so that the price is known");
    if (request->price_micro_max && request->shape.sites_max > 1)
        return err_field(err, -EINVAL, "max_price",
                         "max_price: goes with work at one site, not with sites");
    if (request->price_micro_max && (request->tasks_max || request->spares))
        return err_field(err, -EINVAL, "max_price",
                         "max_price: goes with a number of tasks that stays, and no spare nodes");
    if (goods->count > REQUEST_GOODS_MAX || goods->more_bytes < 0 ||
        goods->more_bytes > REQUEST_GOOD_BYTES_MAX)
        return err_field(err, -EINVAL, "inputs", "inputs: their sizes are out of range");
    for (uint32_t i = 0; i < goods->count; i++)
        if (goods->list[i].bytes < 0 || goods->list[i].bytes > REQUEST_GOOD_BYTES_MAX)
            return err_field(err, -EINVAL, "inputs", "inputs: their sizes are out of range");
    return 0;
}

/* Up to the next power of two, so that jobs of one kind stay alike. */
static int64_t rounded(int64_t bytes)
{
    int64_t up = FREIGHT_BYTES_MIN;

    while (up < bytes && up < REQUEST_GOOD_BYTES_MAX)
        up *= 2;
    return bytes < FREIGHT_BYTES_MIN ? 0 : up;
}

void freight_expect(const struct grid *grid, const char *tenant, const char *user, const char *name,
                    struct terms *terms)
{
    terms->out_bytes =
        grid->outs ? rounded(freight_expect_out(grid->outs, freight_key(tenant, user, name))) : 0;
}

static bool name_of(const char *manifest, uint64_t *name_out)
{
    char digits[NAME_DIGITS + 1] = "";

    snprintf(digits, sizeof(digits), "%.*s", NAME_DIGITS, manifest);
    *name_out = strtoull(digits, NULL, 16);
    return strlen(digits) == NAME_DIGITS;
}

static void add_good(struct request_freight *freight, struct request_good good, int64_t least)
{
    if (good.bytes < least)
        freight->more_bytes += good.bytes;
    else if (freight->goods_count < ARRAY_COUNT(freight->goods))
        freight->goods[freight->goods_count++] = good;
}

bool freight_fill(const struct grid *grid, const struct terms *terms, const struct job_past *past,
                  struct request_shape *shape)
{
    struct request_freight *freight = &shape->freight;
    bool is_bound = terms->price_micro_max > 0;
    int64_t least = is_bound ? 0 : FREIGHT_BYTES_MIN;

    memset(freight, 0, sizeof(*freight));
    if (!is_bound && !grid->freight_told)
        return false;
    freight->more_bytes = terms->goods.more_bytes;
    for (uint32_t i = 0; i < terms->goods.count; i++)
        add_good(freight, terms->goods.list[i], least);
    if (past && past->saved) {
        struct request_good good = { .bytes = MIN(past->saved->bytes, REQUEST_GOOD_BYTES_MAX) };

        if (name_of(past->saved->manifest, &good.name))
            add_good(freight, good, least);
    }
    freight->out_bytes = terms->out_bytes;
    if (!is_bound) /* little of it would only keep like jobs apart */
        freight->more_bytes -= freight->more_bytes % FREIGHT_BYTES_MIN;
    if (!is_bound && !freight->goods_count && !freight->more_bytes && !freight->out_bytes)
        return false;
    freight->span_ms = terms->duration_ms_max;
    freight->units_milli = terms->work_units_milli;
    if (is_bound) {
        freight->price_micro_max = terms->price_micro_max - (past ? past->ended.price_micro : 0);
        if (freight->price_micro_max <= 0)
            freight->price_micro_max = -1;
    }
    return true;
}

void freight_reshape(struct grid *grid, struct job *job)
{
    static const struct request_freight nothing;
    const struct shape *is = job_asked(grid, job);
    struct request_shape *shape;

    if (!grid->freight_told && !is->freight)
        return;
    shape = mem_alloc(1, sizeof(*shape));
    shape_to_request(is, shape);
    freight_fill(grid, job_terms(grid, job), job->past, shape);
    if (memcmp(is->freight ? is->freight : &nothing, &shape->freight, sizeof(nothing)) != 0)
        job_set_shape(grid, job, shape);
    free(shape);
}

/* --- what is where ---------------------------------------------------------------------------- */

static void hold(struct grid *grid, uint32_t site, const struct request_good *good)
{
    if (good->bytes >= FREIGHT_BYTES_MIN &&
        freight_hold(&grid->fleet.sites[site].freight, good->name, good->bytes, grid->now_ms))
        grid->fleet.freight_version++;
}

void freight_granted(struct grid *grid, struct job *job)
{
    const struct shape *shape = job_shape(grid, job);
    int64_t told_ms = freight_wait_ms(&grid->fleet.sites[job->grant->site].freight,
                                      shape->devices_milli > 0, job->grant->parts_count);

    if (told_ms || (job->past && job->past->queue_told_ms))
        job_past_of(job)->queue_told_ms = told_ms;
}

/* All that it needs was fetched before. */
void freight_started(struct grid *grid, const struct job *job)
{
    const struct request_goods *goods = &job_terms(grid, job)->goods;
    const struct saved *saved = job->past ? job->past->saved : NULL;
    struct request_good good = { .bytes = saved ? saved->bytes : 0 };
    bool has_good = saved && name_of(saved->manifest, &good.name);

    for (const struct grant *grant = job_next_grant(job, NULL); grant;
         grant = job_next_grant(job, grant)) {
        for (uint32_t i = 0; i < goods->count; i++)
            hold(grid, grant->site, &goods->list[i]);
        if (has_good)
            hold(grid, grant->site, &good);
    }
}

void freight_saved(struct grid *grid, const struct event_checkpoint_stored *stored)
{
    struct request_good good = { .bytes = stored->bytes };
    struct job *job = grid_job(grid, stored->job_id);

    if (name_of(stored->manifest, &good.name))
        hold(grid, (uint32_t)fleet_find_site(&grid->fleet, stored->site), &good);
    if (!job->grant)
        freight_reshape(grid, job);
}

void freight_ended(struct grid *grid, const struct job *job,
                   const struct event_attempt_ended *ended)
{
    int64_t bytes = MIN(ended->output.bytes, REQUEST_GOOD_BYTES_MAX);

    if (bytes <= 0)
        return;
    hold(grid, job->grant->site, &ended->output);
    if (!grid->outs)
        grid->outs = mem_alloc(FREIGHT_OUTS, sizeof(*grid->outs));
    freight_learn_out(grid->outs,
                      freight_key(intern_data(&grid->tenant_names, job->tenant),
                                  intern_data(&grid->strings, job->user),
                                  intern_data(&grid->strings, job->name)),
                      bytes);
}

/* --- in words --------------------------------------------------------------------------------- */

/* When what is moved for it would be back, at a site that is heard now and then: moved in, run for
 * as long as it may, moved out, the way in and out in the windows of its plan only. */
static int64_t back_ms(const struct grid *grid, const struct job *job, const struct candidate *at)
{
    const struct site_policy *policy = grid->fleet.sites[at->site].policy;
    int64_t begins_ms = site_policy_heard_for(policy, grid->now_ms, at->freight.in_ms);

    if (begins_ms > EVENT_TIME_MS_MAX)
        return INT64_MAX;
    return site_policy_heard_for(policy, begins_ms + job_terms(grid, job)->duration_ms_max,
                                 at->freight.out_ms);
}

static void say_windows(const struct grid *grid, const struct job *job, const struct candidate *at,
                        char *out, size_t bytes)
{
    int64_t deadline_ms = job_terms(grid, job)->deadline_ms, results_ms = back_ms(grid, job, at);
    char when[64] = "", limit[64];

    if (results_ms <= EVENT_TIME_MS_MAX)
        units_print_time(results_ms, when, sizeof(when));
    units_print_time(deadline_ms, limit, sizeof(limit));
    if (!when[0])
        snprintf(out, bytes, "; by the windows in which that is heard its results never come");
    else if (deadline_ms && results_ms > deadline_ms)
        snprintf(out, bytes,
                 "; by the windows in which that is heard its results come at %s, after its "
                 "deadline (%s): let it run elsewhere, or later",
                 when, limit);
    else
        snprintf(out, bytes, "; by the windows in which that is heard its results come at %s",
                 when);
}

void freight_say(struct grid *grid, const struct job *job, char *out, size_t bytes)
{
    struct shape *shape = job_shape(grid, job);
    const struct candidate *best;
    char size[32], time[32], wait[32], money[32];
    const struct site_policy *policy;
    uint32_t count;
    bool is_timed;
    int len = 0;

    out[0] = '\0';
    if (job->grant || job_state_is_final((enum job_state)job->state) ||
        (!shape->freight && !grid->fleet.waits_count && !grid->owners_timed))
        return;
    best = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    if (!count)
        return;
    policy = grid->fleet.sites[best->site].policy;
    is_timed = policy && policy->contacts_count;
    if (!is_timed && !best->freight.in_bytes && !best->freight.out_bytes && !best->freight.wait_ms)
        return;
    units_print_bytes(best->freight.in_bytes + best->freight.out_bytes, size, sizeof(size));
    units_print_duration((best->freight.in_ms + best->freight.out_ms) / 1000 * 1000, time,
                         sizeof(time));
    units_print_duration(best->freight.wait_ms / 1000 * 1000, wait, sizeof(wait));
    units_print_micro(best->freight.money_micro, money, sizeof(money));
    len = snprintf(out, bytes, "at %s", grid->fleet.sites[best->site].info.name);
    if (best->freight.in_bytes || best->freight.out_bytes)
        len += snprintf(out + len, bytes - (size_t)len, " %s of files are moved, %s, for %s", size,
                        time, money);
    if (best->freight.wait_ms && (size_t)len < bytes)
        len += snprintf(out + len, bytes - (size_t)len, "%s waits about %s in the site's own queue",
                        best->freight.in_bytes || best->freight.out_bytes ? "; it" : " it", wait);
    if (is_timed && (size_t)len < bytes)
        say_windows(grid, job, best, out + len, bytes - (size_t)len);
}

bool freight_why_dear(struct grid *grid, const struct job *job, struct why *why)
{
    struct shape *shape = job_shape(grid, job);
    char most[32], least[32], spent[48] = "";
    int64_t had = job->past ? job->past->ended.price_micro : 0;
    uint32_t count;

    shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    if (count || !shape->dear_count)
        return false;
    units_print_micro(job_terms(grid, job)->price_micro_max, most, sizeof(most));
    units_print_micro(shape->dear_micro, least, sizeof(least));
    if (had) {
        char text[32];

        units_print_micro(had, text, sizeof(text));
        snprintf(spent, sizeof(spent), ", of which %s is spent", text);
    }
    snprintf(why->code, sizeof(why->code), "price");
    snprintf(
        why->text, sizeof(why->text),
        "may cost %s by its duration where that is least (%s), and max_price is %s%s: raise it, "
        "shorten the job, or wait for cheaper power",
        least, grid->fleet.sites[shape->dear_site].info.name, most, spent);
    return true;
}

/* --- an invariant ----------------------------------------------------------------------------- */

int freight_check_shapes(const struct grid *grid, const struct job *job, struct err *err)
{
    static const struct request_freight nothing;
    const struct request_freight *is = job_asked(grid, job)->freight;
    struct request_shape *asked;
    int rc = 0;

    if (job->grant || (!is && !grid->freight_told && !job_terms(grid, job)->price_micro_max))
        return 0; /* what runs was placed by what was known then */
    asked = mem_alloc(1, sizeof(*asked));
    freight_fill(grid, job_terms(grid, job), job->past, asked);
    if (memcmp(is ? is : &nothing, &asked->freight, sizeof(nothing)) != 0)
        rc = err_set(err, -EINVAL, "job %" PRIu64 " does not say what is moved for it",
                     job->item.id);
    free(asked);
    return rc;
}
