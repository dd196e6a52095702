#include "grid/power.h"
#include "grid/state.h"
#include "sched/mem.h"
#include "sched/shed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define CAP_LASTS_MS (3600 * 1000LL)
#define RESUME_MOVES_MAX 64u /* looked for a place elsewhere, a pass */

/* --- what is drawn, what may be -------------------------------------------------------------- */

int64_t power_limit_mw(const struct grid *grid, const struct site_power *power)
{
    (void)grid;
    if (!power->shed_until_ms)
        return power->cap_mw;
    return power->cap_mw < 0 ? power->shed_mw : MIN(power->cap_mw, power->shed_mw);
}

static void set_left(struct grid *grid, uint32_t site)
{
    const struct site_power *power = power_of(grid, site);
    struct fleet_power now = grid->fleet.sites[site].power;
    int64_t limit_mw = power_limit_mw(grid, power);

    grid->powers_capped += (limit_mw >= 0) - now.is_capped;
    now.is_capped = limit_mw >= 0;
    now.left_mw = limit_mw - power->draw_mw;
    fleet_set_power(&grid->fleet, site, &now);
}

void power_held(struct grid *grid, const struct grant *grant, int sign)
{
    struct site_power *power = grid->powers_count ? power_of(grid, grant->site) : NULL;

    if (!power)
        return;
    power->draw_mw += sign * fleet_grant_mw(&grid->fleet, grant);
    set_left(grid, grant->site);
}

void power_set_idle(struct grid *grid, struct grant *grant, bool is_idle)
{
    struct site_power *power = grid->powers_count ? power_of(grid, grant->site) : NULL;
    int64_t was_mw = fleet_grant_mw(&grid->fleet, grant);

    grant->is_idle = is_idle;
    if (!power)
        return;
    power->draw_mw += fleet_grant_mw(&grid->fleet, grant) - was_mw;
    set_left(grid, grant->site);
    grid->wants_pass |= is_idle;
}

static int64_t sum_mw(const struct grid *grid, uint32_t site)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < grid->fleet.grants_count; i++)
        if (grid->fleet.grants[i]->site == site)
            sum += fleet_grant_mw(&grid->fleet, grid->fleet.grants[i]);
    return sum;
}

static void set_next(struct grid *grid)
{
    grid->power_next_ms = INT64_MAX;
    for (uint32_t i = 0; i < grid->powers_cap; i++) {
        const struct site_power *power = grid->powers[i];

        if (!power)
            continue;
        grid->power_next_ms = MIN(grid->power_next_ms, tariffs_next_ms(grid, i));
        if (power->shed_until_ms)
            grid->power_next_ms = MIN(grid->power_next_ms, power->shed_until_ms);
    }
    grid->power_next_ms = MIN(grid->power_next_ms, suspend_next_ms(grid));
}

int power_check_draws(const struct grid *grid, struct err *err)
{
    uint32_t capped = 0;

    for (uint32_t i = 0; i < grid->powers_cap; i++) {
        if (!grid->powers[i])
            continue;
        capped += grid->fleet.sites[i].power.is_capped;
        if (grid->powers[i]->draw_mw != sum_mw(grid, i))
            return err_set(
                err, -EINVAL, "site %s: its draw is counted as %" PRId64 " mW, is %" PRId64,
                grid->fleet.sites[i].info.name, grid->powers[i]->draw_mw, sum_mw(grid, i));
    }
    if (capped != grid->powers_capped)
        return err_set(err, -EINVAL, "%u sites are capped, counted are %u", capped,
                       grid->powers_capped);
    return 0;
}

/* --- a cut ------------------------------------------------------------------------------------ */

int power_check_shed(const struct grid *grid, const struct event_site_shed *shed, struct err *err)
{
    int site = shed->site ? fleet_find_site(&grid->fleet, shed->site) : -1;
    const struct site_power *power;

    if (site < 0)
        return err_set(err, -ENOENT, "there is no site %s", shed->site ? shed->site : "");
    power = power_of(grid, (uint32_t)site);
    if (shed->lasts_ms == 0 && !(power && power->shed_until_ms))
        return err_set(err, -EALREADY, "site %s is under no cut", shed->site);
    if (shed->lasts_ms < 0 || shed->lasts_ms > SHED_MS_MAX)
        return err_field(err, -EINVAL, "for", "a cut lasts 1 ms to 31 days");
    if (shed->lasts_ms && (shed->share_ppm < 1 || shed->share_ppm > 1000000))
        return err_field(err, -EINVAL, "percent", "a cut is more than 0 and up to 100 percent");
    if (shed->within_ms < 0 || shed->within_ms > SHED_MS_MAX)
        return err_field(err, -EINVAL, "within", "a cut is met within 31 days");
    return 0;
}

struct job_wait *job_wait_of(struct job *job)
{
    if (!job->wait)
        job->wait = mem_alloc(1, sizeof(*job->wait));
    return job->wait;
}

void power_apply_shed(struct grid *grid, const struct event_site_shed *shed)
{
    uint32_t site = (uint32_t)fleet_find_site(&grid->fleet, shed->site);
    struct site_power *power = power_make(grid, site);
    char why[80];

    power_recount(grid, site); /* it may be new */
    power->shed_until_ms = shed->lasts_ms ? grid->now_ms + shed->lasts_ms : 0;
    power->shed_mw = (int64_t)((__int128)power->draw_mw * (1000000 - shed->share_ppm) / 1000000);
    set_left(grid, site);
    grid->wants_pass = true;
    snprintf(why, sizeof(why), "must draw %u.%u %% less for %" PRId64 " min",
             shed->share_ppm / 10000, shed->share_ppm / 1000 % 10, shed->lasts_ms / 60000);
    if (shed->lasts_ms)
        power_enforce(grid, site, shed->within_ms, shed->lasts_ms, why);
    set_next(grid); /* who was told to stand is watched */
}

static void count_draw(struct grid *grid, uint32_t site)
{
    struct fleet_site *at = &grid->fleet.sites[site];
    struct fleet_power now = at->power;

    now.cpu_mw_max = 0;
    for (uint32_t i = 0; i < at->info.nodes_count; i++) {
        int32_t watts = at->info.nodes[i].cpu_load_watts;

        if (at->info.nodes[i].cpus && watts > 0) /* rounded up: a guess that is never too low */
            now.cpu_mw_max =
                MAX(now.cpu_mw_max, (int64_t)watts * 1000 / at->info.nodes[i].cpus + 1);
    }
    fleet_set_power(&grid->fleet, site, &now);
    power_of(grid, site)->draw_mw = sum_mw(grid, site);
}

void power_restored(struct grid *grid, uint32_t site)
{
    count_draw(grid, site);
    set_left(grid, site);
}

void power_recount(struct grid *grid, uint32_t site)
{
    if (!grid->powers_count || !power_of(grid, site))
        return;
    count_draw(grid, site);
    tariffs_set_rates(grid, site);
    set_left(grid, site);
    power_enforce(grid, site, POWER_CAP_WITHIN_MS, CAP_LASTS_MS, "is at its power cap");
    set_next(grid);
}

void power_tick(struct grid *grid)
{
    if (!grid->powers_count || grid->now_ms < grid->power_next_ms)
        return;
    suspend_tick(grid);
    for (uint32_t i = 0; i < grid->powers_cap; i++) {
        struct site_power *power = grid->powers[i];

        if (!power)
            continue;
        if (power->shed_until_ms && power->shed_until_ms <= grid->now_ms)
            power->shed_until_ms = 0;
        tariffs_set_rates(grid, i);
        set_left(grid, i);
        power_enforce(grid, i, POWER_CAP_WITHIN_MS, CAP_LASTS_MS, "is at its power cap");
    }
    grid->wants_pass = true;
    set_next(grid);
}

/* --- who comes back --------------------------------------------------------------------------- */

/* Stopped by a cut and again in nobody's way: it waits the cut out, unless it has room elsewhere.
 */
bool power_wait_out(struct grid *grid, struct job *job, uint32_t site)
{
    struct shape *shape = job_shape(grid, job);

    if (!power_of(grid, site) || power_limit_mw(grid, power_of(grid, site)) < 0 ||
        fit_find(shape, &grid->fleet, &job_terms(grid, job)->objective, FIT_NOW, &grid->fit))
        return false;
    job_wait_of(job)->cut_site = site + 1;
    job_set_state(grid, job, JOB_HELD);
    power_list(grid, job);
    grid->wants_pass = true;
    return true;
}

void power_list(struct grid *grid, const struct job *job)
{
    MEM_GROW(grid->cut_jobs, grid->cut_jobs_cap, grid->cut_jobs_count + 1);
    grid->cut_jobs[grid->cut_jobs_count++] = job->item.id;
}

static void come_back(struct grid *grid, struct job *job)
{
    if (suspend_holds(job)) {
        suspend_resume(grid, job);
        return;
    }
    job->wait->cut_site = 0;
    job_enqueue(grid, job);
    grid_emit(grid, EFFECT_JOB_CHANGED, job);
}

int64_t power_job_mw(const struct grid *grid, const struct job *job, uint32_t site)
{
    struct shape *shape = job_shape(grid, job);
    uint32_t count;
    const struct candidate *candidates =
        shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);

    for (uint32_t i = 0; i < count; i++)
        if (candidates[i].site == site)
            return candidates[i].watts_milli * shape->tasks;
    return 0;
}

/* What it will draw more when it is back. */
static int64_t more_mw(const struct grid *grid, const struct job *job, uint32_t site)
{
    if (!suspend_holds(job))
        return power_job_mw(grid, job, site);
    /* Rounded up: nothing looks at its power again. */
    return fleet_load_mw(&grid->fleet, job->grant) - fleet_grant_mw(&grid->fleet, job->grant) + 999;
}

static int64_t slack_of(const struct grid *grid, const struct job *job)
{
    const struct terms *terms = job_terms(grid, job);

    return terms->deadline_ms && terms->duration_ms_max
               ? terms->deadline_ms - grid->now_ms - waits_left_ms(grid, job)
               : INT64_MAX;
}

static void resume_site(struct grid *grid, uint32_t site, struct shed_held *held, uint32_t *chosen)
{
    const struct fleet_power *power = &grid->fleet.sites[site].power;
    uint32_t count = 0;

    for (uint32_t i = 0; i < grid->cut_jobs_count; i++) {
        const struct job *job = grid_job(grid, grid->cut_jobs[i]);

        if (!job || !job->wait ||
            (suspend_holds(job) ? job->grant->site != site : job->wait->cut_site != site + 1))
            continue;
        if (suspend_holds(job) && !job->wait->frozen_ms && power->is_capped)
            continue; /* it does not stand yet: it still counts in full */
        held[count++] = (struct shed_held){
            .id = job->item.id,
            .job_class = (enum job_class)job_terms(grid, job)->job_class,
            .watts = more_mw(grid, job, site) / 1000,
            .slack_ms = slack_of(grid, job),
            .since_ms = job->wait->stopped_ms,
        };
    }
    if (!count)
        return;
    if (!grid->shed)
        grid->shed = shed_create();
    count = shed_resume(grid->shed, held, count,
                        power->is_capped ? MAX(power->left_mw, (int64_t)0) / 1000 : INT64_MAX / 4,
                        chosen);
    for (uint32_t i = 0; i < count; i++)
        come_back(grid, grid_job(grid, held[chosen[i]].id));
}

/* By id, and each once: one that stood and was stopped then may be listed twice. */
static void sort_cut_jobs(struct grid *grid)
{
    uint32_t kept = 0;

    ids_sort(grid->cut_jobs, grid->cut_jobs_count);
    for (uint32_t i = 0; i < grid->cut_jobs_count; i++)
        if (!i || grid->cut_jobs[i] != grid->cut_jobs[i - 1])
            grid->cut_jobs[kept++] = grid->cut_jobs[i];
    grid->cut_jobs_count = kept;
}

static bool waits_out(const struct job *job)
{
    return job && job->wait && job->wait->cut_site;
}

/* Of those that wait out a cut some have a place looked for elsewhere in a pass, in turns. */
static void resume_elsewhere(struct grid *grid)
{
    uint32_t kept = 0, waiting = 0, at = 0, first;

    for (uint32_t i = 0; i < grid->cut_jobs_count; i++)
        waiting += waits_out(grid_job(grid, grid->cut_jobs[i]));
    first = waiting > RESUME_MOVES_MAX
                ? (uint32_t)(grid->counts.passes_total * RESUME_MOVES_MAX % waiting)
                : 0;
    for (uint32_t i = 0; i < grid->cut_jobs_count; i++) {
        struct job *job = grid_job(grid, grid->cut_jobs[i]);

        if (waits_out(job) && (at++ + waiting - first) % waiting < RESUME_MOVES_MAX &&
            fit_find(job_shape(grid, job), &grid->fleet, &job_terms(grid, job)->objective, FIT_NOW,
                     &grid->fit))
            come_back(grid, job);
        if (job && (suspend_holds(job) || waits_out(job)))
            grid->cut_jobs[kept++] = grid->cut_jobs[i];
    }
    grid->cut_jobs_count = kept;
}

void power_resume(struct grid *grid)
{
    struct shed_held *held;
    uint32_t *chosen;

    if (!grid->cut_jobs_count)
        return;
    sort_cut_jobs(grid);
    held = mem_alloc(grid->cut_jobs_count, sizeof(*held));
    chosen = mem_alloc(grid->cut_jobs_count, sizeof(*chosen));
    for (uint32_t i = 0; i < grid->powers_cap; i++)
        if (grid->powers[i])
            resume_site(grid, i, held, chosen);
    free(held);
    free(chosen);
    resume_elsewhere(grid);
}

bool power_holds(struct grid *grid, const struct job *job)
{
    struct shape *shape = job_shape(grid, job);
    const struct candidate *candidates;
    uint32_t count;

    if (!grid->powers_capped)
        return false;
    candidates = shape_candidates(shape, &grid->fleet, &job_terms(grid, job)->objective, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct fleet_site *site = &grid->fleet.sites[candidates[i].site];
        bool fits;

        if (fit_has_power(shape, site, candidates[i].chip))
            continue;
        site->power.is_capped = false; /* for one question */
        fits = fit_candidate(shape, &grid->fleet, candidates[i].site, candidates[i].chip, FIT_NOW,
                             &grid->fit);
        site->power.is_capped = true;
        if (fits)
            return true;
    }
    return false;
}
