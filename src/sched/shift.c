#include "sched/shift.h"

#include "sched/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MS_PER_KWH_WATT 3600000000.0 /* W ms in a kWh */

struct shift_params shift_params_default(void)
{
    return (struct shift_params){
        .move_sigmas = 1.5,
        .move_share = 0.02,
    };
}

const char *shift_reason_name(enum shift_reason reason)
{
    switch (reason) {
    case SHIFT_DEADLINE:
        return "deadline";
    case SHIFT_CHEAP_NOW:
        return "cheap_now";
    case SHIFT_NO_OUTLOOK:
        return "no_outlook";
    case SHIFT_HELD:
        return "held";
    case SHIFT_CHEAPER:
        return "cheaper_later";
    case SHIFT_NOT_YET:
        return "not_yet";
    }
    return "?";
}

/* Expected draw above the supply. */
static double unmatched_watts(double mean_watts, double sd_watts, double draw_watts)
{
    double over = draw_watts - mean_watts, z;

    if (!(sd_watts > 0))
        return over > 0 ? over : 0;
    z = over / sd_watts;
    return over * 0.5 * erfc(-z * 0.70710678118654752) +
           sd_watts * 0.39894228040143268 * exp(-0.5 * z * z);
}

double shift_unmatched_share(double mean_watts, double sd_watts, double load_watts,
                             double job_watts)
{
    double share;

    if (!(job_watts > 0))
        return 0;
    share = (unmatched_watts(mean_watts, sd_watts, load_watts + job_watts) -
             unmatched_watts(mean_watts, sd_watts, load_watts)) /
            job_watts;
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

/* The part of slot i between two moments. */
static int64_t part_of(const struct shift_outlook *outlook, uint32_t i, int64_t from_ms,
                       int64_t to_ms)
{
    int64_t begin = outlook->from_ms + (int64_t)i * outlook->slot_ms;
    int64_t end = begin + outlook->slot_ms;

    if (begin < from_ms)
        begin = from_ms;
    if (end > to_ms)
        end = to_ms;
    return end > begin ? end - begin : 0;
}

static int64_t end_of(const struct shift_outlook *outlook)
{
    return outlook->from_ms + (int64_t)outlook->count * outlook->slot_ms;
}

static uint32_t slot_at(const struct shift_outlook *outlook, int64_t time_ms)
{
    if (time_ms <= outlook->from_ms)
        return 0;
    return (uint32_t)((time_ms - outlook->from_ms) / outlook->slot_ms);
}

/* Mean cost of running through from `from_ms` for `ms`, as far as the outlook goes. */
static double mean_cost(const struct shift_outlook *outlook, int64_t from_ms, int64_t ms)
{
    double sum = 0;
    int64_t counted = 0;

    for (uint32_t i = slot_at(outlook, from_ms); i < outlook->count; i++) {
        int64_t part = part_of(outlook, i, from_ms, from_ms + ms);

        if (!part)
            break;
        sum += outlook->cost[i] * (double)part;
        counted += part;
    }
    return counted ? sum / (double)counted : outlook->cost[outlook->count - 1];
}

static double sd_of(const struct shift_outlook *outlook, uint32_t i)
{
    return outlook->sd ? outlook->sd[i] : 0;
}

struct key {
    double cost;
    uint32_t slot;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;

    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* Fill runs with the cheapest `work_ms` of [from_ms, to_ms), the earlier of equals. */
static void pick_cheapest(const struct shift_outlook *outlook, int64_t from_ms, int64_t to_ms,
                          int64_t work_ms, int64_t *runs)
{
    struct key *keys = mem_alloc(outlook->count, sizeof(*keys));
    uint32_t count = 0;

    for (uint32_t i = 0; i < outlook->count; i++) {
        runs[i] = 0;
        if (part_of(outlook, i, from_ms, to_ms))
            keys[count++] = (struct key){ outlook->cost[i], i };
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    for (uint32_t k = 0; k < count && work_ms > 0; k++) {
        int64_t part = part_of(outlook, keys[k].slot, from_ms, to_ms);

        runs[keys[k].slot] = part < work_ms ? part : work_ms;
        work_ms -= runs[keys[k].slot];
    }
    free(keys);
}

/* Cost from the outlook's start to `time_ms`, given the sums at slot starts. */
static double cost_until(const struct shift_outlook *outlook, const double *sums, int64_t time_ms)
{
    uint32_t slot = slot_at(outlook, time_ms);

    if (slot >= outlook->count)
        return sums[outlook->count];
    return sums[slot] + outlook->cost[slot] *
                            (double)(time_ms - outlook->from_ms - (int64_t)slot * outlook->slot_ms);
}

/* The start from which running through is cheapest, over [from_ms, last_ms]; a tie goes to
 * `nominal_ms` when it is one of the best, else to the earlier. */
static int64_t find_start(const struct shift_outlook *outlook, int64_t from_ms, int64_t last_ms,
                          int64_t nominal_ms, int64_t work_ms, double *cost_out)
{
    double *sums = mem_alloc((size_t)outlook->count + 1, sizeof(*sums));
    int64_t best_ms = from_ms, start_ms = from_ms;
    double best = INFINITY;

    for (uint32_t i = 0; i < outlook->count; i++)
        sums[i + 1] = sums[i] + outlook->cost[i] * (double)outlook->slot_ms;
    /* The cost of a start is linear between moments at which an end crosses a border. */
    while (start_ms <= last_ms) {
        int64_t slot_end_ms =
            outlook->from_ms + ((int64_t)slot_at(outlook, start_ms) + 1) * outlook->slot_ms;
        int64_t tail = (start_ms + work_ms - outlook->from_ms) % outlook->slot_ms;
        int64_t next_ms = start_ms + outlook->slot_ms - tail; /* the end meets a border */
        double cost =
            cost_until(outlook, sums, start_ms + work_ms) - cost_until(outlook, sums, start_ms);

        if (cost < best || (cost <= best && start_ms == nominal_ms)) {
            best = cost;
            best_ms = start_ms;
        }
        if (slot_end_ms < next_ms)
            next_ms = slot_end_ms;
        if (nominal_ms > start_ms && nominal_ms < next_ms)
            next_ms = nominal_ms;
        if (start_ms < last_ms && next_ms > last_ms)
            next_ms = last_ms;
        start_ms = next_ms;
    }
    free(sums);
    *cost_out = best / (double)work_ms;
    return best_ms;
}

static int64_t clamp_ms(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* What of the work belongs to the time the outlook shows. */
static int64_t work_in_sight(const struct shift_job *job, const struct shift_outlook *outlook,
                             int64_t now_ms)
{
    int64_t end_ms = end_of(outlook);

    if (job->deadline_ms <= end_ms)
        return job->work_ms;
    return (int64_t)((double)job->work_ms * (double)(end_ms - now_ms) /
                     (double)(job->deadline_ms - now_ms));
}

/* Would a pause now lose more than it saves? */
static bool is_pause_dear(const struct shift_job *job, const struct shift_outlook *outlook,
                          int64_t now_ms, int64_t to_ms, int64_t work_ms)
{
    int64_t *runs = mem_alloc(outlook->count, sizeof(*runs));
    double limit = -INFINITY, saved = 0;

    pick_cheapest(outlook, now_ms, to_ms, work_ms, runs);
    for (uint32_t i = 0; i < outlook->count; i++)
        if (runs[i] && outlook->cost[i] > limit)
            limit = outlook->cost[i];
    for (uint32_t i = 0; i < outlook->count && !runs[i]; i++)
        saved += (outlook->cost[i] - limit) * (double)part_of(outlook, i, now_ms, to_ms);
    free(runs);
    return saved <= (limit > 0 ? limit : 0) * (double)job->restart_ms;
}

static void decide_pieces(const struct shift_job *job, const struct shift_outlook *outlook,
                          int64_t now_ms, struct shift_verdict *verdict)
{
    int64_t end_ms = end_of(outlook), work_ms = work_in_sight(job, outlook, now_ms), cheaper = 0;
    int64_t to_ms = job->deadline_ms < end_ms ? job->deadline_ms : end_ms;
    int64_t stretch_ms = job->is_running ? 0 : job->run_ms_min;
    double limit = outlook->cost[0];
    bool is_early = now_ms < job->nominal_ms;
    uint32_t first = 1;

    if (stretch_ms > outlook->slot_ms) { /* once started it goes on into dearer slots */
        limit = mean_cost(outlook, now_ms, stretch_ms < work_ms ? stretch_ms : work_ms);
        first = 0;
    }
    for (uint32_t i = first; i < outlook->count && cheaper < work_ms; i++) {
        int64_t part = part_of(outlook, i, now_ms, to_ms);

        if (!part)
            break;
        /* There is no gain in being early. */
        if (outlook->cost[i] < limit || (is_early && outlook->cost[i] <= limit))
            cheaper += part;
    }
    verdict->cheaper_ms = cheaper;
    verdict->is_run = cheaper < work_ms;
    verdict->reason = verdict->is_run ? SHIFT_CHEAP_NOW : is_early ? SHIFT_NOT_YET : SHIFT_CHEAPER;
    if (verdict->is_run || !job->is_running)
        return;
    if (job->ran_ms < job->run_ms_min ||
        verdict->slack_ms - job->restart_ms < verdict->until_ms - now_ms ||
        (job->restart_ms > 0 && is_pause_dear(job, outlook, now_ms, to_ms, work_ms))) {
        verdict->is_run = true;
        verdict->reason = SHIFT_HELD;
    }
}

static void decide_whole(const struct shift_job *job, const struct shift_outlook *outlook,
                         int64_t now_ms, struct shift_verdict *verdict)
{
    int64_t end_ms = end_of(outlook);
    int64_t last_ms = job->deadline_ms - job->work_ms, start_ms;
    double best;

    if (job->is_running) {
        verdict->is_run = true;
        verdict->reason = SHIFT_HELD;
        return;
    }
    if (last_ms > end_ms - job->work_ms)
        last_ms = end_ms - job->work_ms; /* no start whose end is out of sight */
    if (last_ms < now_ms)
        last_ms = now_ms;
    start_ms = find_start(outlook, now_ms, last_ms, job->nominal_ms, job->work_ms, &best);
    verdict->is_run =
        start_ms == now_ms || (now_ms >= job->nominal_ms && verdict->cost_at_once <= best);
    verdict->reason = verdict->is_run            ? SHIFT_CHEAP_NOW
                      : now_ms < job->nominal_ms ? SHIFT_NOT_YET
                                                 : SHIFT_CHEAPER;
    verdict->cheaper_ms = verdict->is_run ? 0 : job->work_ms;
}

struct shift_verdict shift_decide(const struct shift_job *job, const struct shift_outlook *outlook,
                                  int64_t now_ms)
{
    struct shift_verdict verdict = { .is_run = true, .reason = SHIFT_DEADLINE };

    verdict.slack_ms = job->deadline_ms - now_ms - job->work_ms;
    verdict.until_ms = now_ms + job->work_ms;
    if (outlook->count) {
        verdict.cost_now = outlook->cost[0];
        verdict.cost_at_once = mean_cost(outlook, now_ms, job->work_ms);
        verdict.until_ms = outlook->from_ms + outlook->slot_ms;
    }
    if (verdict.slack_ms <= 0) {
        verdict.until_ms = now_ms + job->work_ms;
        return verdict;
    }
    if (outlook->count < 2 || outlook->count > SHIFT_SLOTS_MAX) {
        verdict.is_run = now_ms >= job->nominal_ms || job->is_running;
        verdict.reason = SHIFT_NO_OUTLOOK;
        verdict.until_ms = verdict.is_run ? now_ms + job->work_ms : job->nominal_ms;
        return verdict;
    }
    if (job->is_interruptible)
        decide_pieces(job, outlook, now_ms, &verdict);
    else
        decide_whole(job, outlook, now_ms, &verdict);
    /* Not past the moment at which no slack is left. */
    if (!verdict.is_run)
        verdict.until_ms = clamp_ms(verdict.until_ms, now_ms + 1, now_ms + verdict.slack_ms);
    return verdict;
}

/* Sum up what is planned in `runs`. */
static void describe(const struct shift_outlook *outlook, int64_t now_ms, const int64_t *runs,
                     struct shift_plan *plan)
{
    double sum = 0, sd = 0, ms = 0;
    bool was_on = false;

    for (uint32_t i = 0; i < outlook->count; i++) {
        int64_t begin = outlook->from_ms + (int64_t)i * outlook->slot_ms;
        int64_t whole = part_of(outlook, i, now_ms, INT64_MAX);

        if (!runs[i]) {
            was_on = false;
            continue;
        }
        if (begin < now_ms)
            begin = now_ms;
        if (!was_on) { /* a part slot is run at its end when the next one follows */
            bool is_next = i + 1 < outlook->count && runs[i + 1];

            plan->pieces_count++;
            if (plan->pieces_count == 1)
                plan->start_ms = begin + (is_next ? whole - runs[i] : 0);
        }
        plan->end_ms = begin + (was_on || whole == runs[i] ? runs[i] : whole);
        if (!was_on && !(i + 1 < outlook->count && runs[i + 1]))
            plan->end_ms = begin + runs[i];
        was_on = true;
        sum += outlook->cost[i] * (double)runs[i];
        sd += sd_of(outlook, i) * (double)runs[i];
        ms += (double)runs[i];
    }
    plan->cost = ms > 0 ? sum / ms : 0;
    plan->sd = ms > 0 ? sd / ms : 0;
}

int shift_plan(const struct shift_job *job, const struct shift_outlook *outlook, int64_t now_ms,
               struct shift_plan *plan_out, int64_t *runs_ms_out, struct err *err)
{
    struct shift_plan plan = { 0 };
    int64_t to_ms = job->deadline_ms, *runs;

    if (outlook->count < 1 || outlook->count > SHIFT_SLOTS_MAX || outlook->slot_ms < 1)
        return err_set(err, -EINVAL, "an outlook of %" PRIu32 " slots (1 to %u)", outlook->count,
                       SHIFT_SLOTS_MAX);
    if (job->work_ms < 1)
        return err_set(err, -EINVAL, "work of %" PRId64 " ms", job->work_ms);
    if (to_ms > end_of(outlook))
        to_ms = end_of(outlook);
    if (to_ms - now_ms < job->work_ms)
        return err_set(err, -ENOSPC,
                       "%" PRId64 " s of work, %" PRId64 " s to its deadline in sight",
                       job->work_ms / 1000, (to_ms - now_ms) / 1000);
    runs = mem_alloc(outlook->count, sizeof(*runs));
    plan.cost_at_once =
        mean_cost(outlook, clamp_ms(job->nominal_ms, now_ms, to_ms - job->work_ms), job->work_ms);
    if (job->is_interruptible) {
        pick_cheapest(outlook, now_ms, to_ms, job->work_ms, runs);
        describe(outlook, now_ms, runs, &plan);
    } else {
        double cost;
        int64_t start_ms = now_ms;

        if (!job->is_running)
            start_ms = find_start(outlook, now_ms, to_ms - job->work_ms, job->nominal_ms,
                                  job->work_ms, &cost);
        for (uint32_t i = 0; i < outlook->count; i++)
            runs[i] = part_of(outlook, i, start_ms, start_ms + job->work_ms);
        describe(outlook, start_ms, runs, &plan);
        plan.start_ms = start_ms;
        plan.end_ms = start_ms + job->work_ms;
        plan.pieces_count = 1;
    }
    *plan_out = plan;
    if (runs_ms_out)
        memcpy(runs_ms_out, runs, outlook->count * sizeof(*runs));
    free(runs);
    return 0;
}

static double kwh_of(const struct shift_job *job, const struct shift_site *site)
{
    return site->power_watts * (double)job->work_ms / site->rate / MS_PER_KWH_WATT;
}

static int plan_at(const struct shift_job *job, const struct shift_site *site, int64_t now_ms,
                   struct shift_plan *plan_out, struct err *err)
{
    struct shift_job there = *job;

    if (!(site->rate > 0) || site->move_ms < 0)
        return err_set(err, -EINVAL, "a site's rate %g and way of %" PRId64 " ms", site->rate,
                       site->move_ms);
    there.work_ms = (int64_t)ceil((double)job->work_ms / site->rate);
    return shift_plan(&there, &site->outlook, now_ms + site->move_ms, plan_out, NULL, err);
}

int shift_choose_site(const struct shift_params *params, const struct shift_job *job,
                      const struct shift_site *sites, uint32_t sites_count, uint32_t home,
                      int64_t now_ms, struct shift_choice *choice_out, struct err *err)
{
    struct shift_choice choice = { 0 };
    struct shift_plan plan;
    double home_cost = INFINITY, home_sd = 0, best = INFINITY;
    int rc;

    if (sites_count < 1 || sites_count > SHIFT_SITES_MAX || home >= sites_count)
        return err_set(err, -EINVAL, "%" PRIu32 " sites, home %" PRIu32, sites_count, home);
    rc = plan_at(job, &sites[home], now_ms, &plan, err);
    if (rc < 0 && rc != -ENOSPC)
        return rc;
    if (rc == 0) {
        home_cost = plan.cost * kwh_of(job, &sites[home]);
        home_sd = plan.sd * kwh_of(job, &sites[home]);
        best = home_cost;
        choice = (struct shift_choice){ home, home_cost, home_cost, 0, plan };
    }
    for (uint32_t i = 0; i < sites_count; i++) {
        double kwh, cost, sd, margin;

        if (i == home || plan_at(job, &sites[i], now_ms, &plan, err) < 0)
            continue;
        kwh = kwh_of(job, &sites[i]);
        cost = plan.cost * kwh + sites[i].move_cost;
        sd = sqrt(home_sd * home_sd + plan.sd * kwh * plan.sd * kwh);
        margin = params->move_sigmas * sd + params->move_share * fabs(home_cost);
        if (!isfinite(home_cost))
            margin = 0; /* it cannot stay */
        if (cost < best && cost + margin < home_cost) {
            best = cost;
            choice = (struct shift_choice){ i, cost, home_cost, sd, plan };
        }
    }
    if (!isfinite(best))
        return err_set(err, -ENOSPC, "%" PRId64 " s of work fit at none of %" PRIu32 " sites",
                       job->work_ms / 1000, sites_count);
    *choice_out = choice;
    return 0;
}
