/* power_event - "25 % less within 30 s for 3 h", ten times in a loaded week, at a site under a
 * published job list: what src/sched/shed.h loses, beside killing the newest and pausing all.
 *
 * The cut is of the whole site's power, hosts included, which no interruption lowers. Told watts
 * of a job are wrong by up to 3 %; after 15 s what is still too much is asked for again. The week
 * is the list's busiest under plain scheduling; events, classes and what a job can do are drawn. */
#include "base/cleanup.h"
#include "base/rng.h"
#include "model/chip.h"
#include "power_site.h"
#include "shown.h"

#include <stdlib.h>
#include <time.h>

#define HOUR_MS ((int64_t)3600 * 1000)
#define WEEK_MS (168 * HOUR_MS)
#define EVENTS 10u
#define LASTS_MS (3 * HOUR_MS)
#define WITHIN_MS 30000
#define AGAIN_MS 15000 /* when the meter is looked at again */
#define CUT 0.25
#define HOST_WATTS 1100.0 /* of a node of 8: DGX-1's 3.5 kW less 8 x 300 W */
#define CAP_FLOOR 0.5     /* lowest cap, of the chip's board power */

enum policy { POLICY_SHED, POLICY_NEWEST, POLICY_PAUSE_ALL, POLICY_COUNT };

struct account {
    double redo, restart, save, waiting, busy; /* device hours */
    double interrupted, high;                  /* of those, high or urgent */
    double over_bound, bounds, choices, chosen_ms;
    uint32_t events, met, over; /* over: events with more than allowed later on */
};

struct trial {
    struct site site;
    enum policy policy;
    struct rng noise;
    struct shed_params params;
    struct shed_job *jobs;
    uint32_t *numbers;
    uint32_t count;
    bool is_over;
    struct account *account;
};

static double lost(const struct account *account)
{
    return account->redo + account->restart + account->save;
}

/* --- one cut -----------------------------------------------------------------------------------
 */

static void offer_job(struct trial *trial, uint32_t number)
{
    struct site *site = &trial->site;
    struct site_job *job = &site->jobs[number];
    double told = 0.97 + 0.06 * rng_unit(&trial->noise);
    int64_t undone_ms = site_undone(site, job); /* first: it brings the job up to now */
    int64_t save_ms = job->can_save ? SITE_STEP_MS : site_next_save(job);
    double idle = site_idle_watts(site, job), busy = site_job_watts(site, job) - idle;

    trial->numbers[trial->count] = number;
    trial->jobs[trial->count++] = (struct shed_job){
        .id = number,
        .job_class = job->job_class,
        .devices = job->gpus,
        .interrupts = site_interrupts(site, job),
        .watts = (int64_t)((idle + busy) * told),
        .watts_idle = (int64_t)idle,
        .undone_ms = undone_ms,
        .restart_ms = job->restart_ms,
        .stop_ms = SITE_STOP_MS + SITE_WORD_MS,
        .pause_ms = job->can_pause ? SITE_PAUSE_MS + SITE_WORD_MS : -1,
        .save_ms = save_ms < 0 ? -1 : save_ms + SITE_WORD_MS,
        .save_lost_ms = job->write_ms + (job->can_save ? SITE_STEP_MS : 0),
        .watts_saving = (int64_t)(idle + (job->can_save ? SITE_SAVING * busy : 0)),
        .cap_ms = site->is_capped ? SITE_CAP_MS + SITE_WORD_MS : -1,
        .watts_cap_min = (int64_t)(site->watts_busy * CAP_FLOOR * job->gpus),
        .shrink_ms = job->can_shrink ? SITE_SHRINK_MS + SITE_WORD_MS : -1,
        .shrink_lost_ms = SITE_SHRINK_MS + SITE_WORD_MS,
        .devices_min = 1,
        .move_ms = -1,
    };
}

/* What the site will draw at `at_ms`, once all that is ordered by then is done. */
static double site_watts_ahead(const struct site *site, int64_t at_ms)
{
    double watts = site_watts(site);

    for (uint32_t i = 0; i < site->orders_count; i++) {
        const struct site_job *job = &site->jobs[site->orders[i].job];

        if (job->state != SITE_RUNNING || site->orders[i].at_ms > at_ms)
            continue;
        watts -= site_job_watts(site, job);
        watts += site->orders[i].watts_limit > 0 ? (double)site->orders[i].watts_limit
                                                 : site_idle_watts(site, job);
    }
    return watts;
}

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void order(struct trial *trial, uint32_t number, enum shed_how how, int64_t watts,
                  double rate)
{
    trial->account->high += trial->site.jobs[number].job_class >= CLASS_HIGH;
    site_order_job(&trial->site, number, how, watts, rate);
}

static void cut_by_choice(struct trial *trial, double watts, int64_t within_ms, int64_t lasts_ms)
{
    struct site *site = &trial->site;
    struct shed_ask ask = { .watts = (int64_t)watts + 1,
                            .within_ms = within_ms,
                            .lasts_ms = lasts_ms };
    const struct shed_choice *choices;
    double from = now_ms();
    struct shed_result result =
        shed_choose(site->shed, &trial->params, &ask, trial->jobs, trial->count, &choices);

    trial->account->chosen_ms += now_ms() - from;
    trial->account->choices++;
    trial->account->over_bound += result.cost;
    trial->account->bounds += result.cost_bound;
    for (uint32_t i = 0; i < result.count; i++) {
        const struct shed_job *told = &trial->jobs[choices[i].job];
        double rate = (double)choices[i].devices_left / told->devices, idle, busy;
        int64_t limit = 0;

        if (choices[i].how == SHED_CAP || choices[i].how == SHED_SHRINK)
            limit = choices[i].watts_left;
        if (choices[i].how == SHED_CAP) {
            idle = (double)told->watts_idle;
            busy = site_job_watts(site, &site->jobs[trial->numbers[choices[i].job]]) - idle;
            rate = busy <= 0 ? 1 : MIN(1, cbrt(((double)limit - idle) / busy));
        }
        order(trial, trial->numbers[choices[i].job], choices[i].how, limit, rate);
    }
}

struct started {
    int64_t ms;
    uint32_t index;
};

static int compare_newest(const void *a, const void *b)
{
    const struct started *x = a, *y = b;

    if (x->ms != y->ms)
        return x->ms > y->ms ? -1 : 1;
    return (x->index < y->index) - (x->index > y->index);
}

static void cut_newest(struct trial *trial, double watts)
{
    struct started *list = calloc(trial->count + 1, sizeof(*list));

    if (!list)
        abort();
    for (uint32_t i = 0; i < trial->count; i++)
        list[i] = (struct started){ trial->site.jobs[trial->numbers[i]].started_ms, i };
    qsort(list, trial->count, sizeof(*list), compare_newest);
    watts *= 1 + trial->params.watts_margin_milli / 1000.0;
    for (uint32_t i = 0; i < trial->count && watts > 0; i++) {
        const struct shed_job *job = &trial->jobs[list[i].index];

        watts -= (double)(job->watts - job->watts_idle);
        order(trial, trial->numbers[list[i].index], SHED_STOP, 0, 0);
    }
    free(list);
}

static void cut(struct trial *trial, int64_t within_ms, int64_t lasts_ms)
{
    struct site *site = &trial->site;
    double watts = site_watts_ahead(site, site->now_ms + within_ms) - site->watts_target;

    if (watts <= 0)
        return;
    trial->count = 0;
    for (uint32_t i = 0; i < site->running_count; i++) {
        const struct site_job *job = &site->jobs[site->running[i]];

        if (job->state == SITE_RUNNING && !job->is_ordered && job->watts_limit == 0)
            offer_job(trial, site->running[i]);
    }
    if (trial->policy == POLICY_SHED)
        cut_by_choice(trial, watts, within_ms, lasts_ms);
    else if (trial->policy == POLICY_NEWEST)
        cut_newest(trial, watts);
    else
        for (uint32_t i = 0; i < trial->count; i++)
            order(trial, trial->numbers[i], SHED_PAUSE, 0, 0);
}

/* --- one week ----------------------------------------------------------------------------------
 */

static void watch(struct site *site, void *context)
{
    struct trial *trial = context;

    if (site_watts(site) > site->watts_target)
        trial->is_over = true;
}

static void run_event(struct trial *trial, int64_t at_ms)
{
    struct site *site = &trial->site;

    site_run(site, at_ms, NULL, NULL);
    site->watts_target = site_watts(site) * (1 - CUT);
    site->may_start = false;
    cut(trial, WITHIN_MS, LASTS_MS);
    site_run(site, at_ms + AGAIN_MS, NULL, NULL);
    cut(trial, WITHIN_MS - AGAIN_MS, LASTS_MS - AGAIN_MS);
    site_run(site, at_ms + WITHIN_MS, NULL, NULL);
    trial->account->events++;
    trial->account->met += site_watts(site) <= site->watts_target;
    trial->is_over = false;
    site->may_start = trial->policy != POLICY_PAUSE_ALL;
    site_run(site, at_ms + LASTS_MS, watch, trial);
    trial->account->over += trial->is_over;
    site->watts_target = 0;
    site->may_start = true;
    site_schedule(site);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void draw_events(int64_t *at_ms, int64_t from_ms, uint64_t seed)
{
    struct rng rng = { seed ^ 0x9e3779b9 };
    bool is_apart = false;

    while (!is_apart) {
        is_apart = true;
        for (uint32_t i = 0; i < EVENTS; i++)
            at_ms[i] = from_ms + (int64_t)rng_below(&rng, (uint64_t)(WEEK_MS - 4 * HOUR_MS));
        qsort(at_ms, EVENTS, sizeof(*at_ms), compare_times);
        for (uint32_t i = 1; i < EVENTS; i++)
            is_apart = is_apart && at_ms[i] - at_ms[i - 1] >= 4 * HOUR_MS;
    }
}

static void run_week(const struct site *begin, const struct site_means *means, enum policy policy,
                     uint64_t seed, struct account *account)
{
    struct trial trial = { .policy = policy, .noise = { seed + 77 }, .account = account };
    int64_t at_ms[EVENTS], from_ms = begin->now_ms;

    trial.params = shed_params_default();
    site_copy(&trial.site, begin, means, seed);
    trial.jobs = calloc(begin->gpus, sizeof(*trial.jobs));
    trial.numbers = calloc(begin->gpus, sizeof(*trial.numbers));
    if (!trial.jobs || !trial.numbers)
        abort();
    draw_events(at_ms, from_ms, seed);
    for (uint32_t i = 0; i < EVENTS; i++)
        run_event(&trial, at_ms[i]);
    site_run(&trial.site, from_ms + WEEK_MS, NULL, NULL);
    site_settle(&trial.site);
    account->redo += trial.site.lost_redo / HOUR_MS;
    account->restart += trial.site.lost_restart / HOUR_MS;
    account->save += trial.site.lost_save / HOUR_MS;
    account->waiting += trial.site.waiting / HOUR_MS;
    account->busy += trial.site.busy / HOUR_MS;
    account->interrupted += trial.site.interrupted;
    free(trial.jobs);
    free(trial.numbers);
    site_fini(&trial.site);
}

/* --- figures -----------------------------------------------------------------------------------
 */

static void show(const char *list, const struct site_means *means, const struct account *accounts,
                 double worst_ratio)
{
    const struct account *ours = &accounts[POLICY_SHED], *newest = &accounts[POLICY_NEWEST];
    const struct account *pause = &accounts[POLICY_PAUSE_ALL];
    double events = ours->events;
    char name[96], note[640];

    snprintf(name, sizeof(name), "power_event %s %s: met", list, means->name);
    snprintf(
        note, sizeof(note),
        "%u events, of %u it was met within 30 s (kill-newest %u, pause-all %u) and in %u more "
        "was drawn later within the 3 h; %s",
        ours->events, ours->met, newest->met, pause->met, ours->over, means->about);
    shown_print(&(struct shown){ name, 100.0 * (ours->met - ours->over) / events, "% of events",
                                 ">=100", NULL, 0, note });
    snprintf(name, sizeof(name), "power_event %s %s: work lost", list, means->name);
    snprintf(
        note, sizeof(note),
        "an event: done again %.1f, restarts %.1f, saves %.1f (kill-newest %.1f, %.1f, 0); "
        "waiting %.0f (kill-newest %.0f, pause-all %.0f, with %.1f lost if all could be "
        "suspended); jobs interrupted %.0f, high or urgent %.1f (%.0f, %.1f); worst seed's "
        "ratio %.3f; cost / bound %.4f; a choice took %.2f ms",
        ours->redo / events, ours->restart / events, ours->save / events, newest->redo / events,
        newest->restart / events, ours->waiting / events, newest->waiting / events,
        pause->waiting / events, lost(pause) / events, ours->interrupted / events,
        ours->high / events, newest->interrupted / events, newest->high / events, worst_ratio,
        ours->bounds > 0 ? ours->over_bound / ours->bounds : 1, ours->chosen_ms / ours->choices);
    shown_print(&(struct shown){ name, lost(ours) / events, "device hours an event", "<=0.3333x",
                                 "kill-newest", lost(newest) / events, note });
}

static const struct site_means all_means[] = {
    { "mixed",
      "20 % of jobs never save, 40 % by their rhythm, 40 % also when asked; no pause, no cap", 20,
      40, 0, 0, false },
    { "all save", "half of the jobs save by their rhythm, half also when asked; no pause, no cap",
      0, 50, 0, 0, false },
    { "rhythm only", "all jobs save by their rhythm, none when asked; no pause, no cap", 0, 0, 0, 0,
      false },
    { "pause and shrink",
      "as mixed, and 30 % of one-node jobs can be suspended, 20 % of the larger ones shrunk", 20,
      40, 30, 20, false },
    { "rhythm, suspended",
      "as rhythm only, and the site's engine can hold jobs on one node still in place", 0, 0, 100,
      0, false },
    { "caps", "as mixed, and power caps down to half", 20, 40, 0, 0, true },
};

static void run_list(const struct site *begin, const char *list, uint32_t seeds)
{
    for (size_t m = 0; m < ARRAY_COUNT(all_means); m++) {
        struct account accounts[POLICY_COUNT] = { 0 };
        double worst_ratio = 0;

        for (uint64_t seed = 1; seed <= seeds; seed++) {
            struct account one[POLICY_COUNT] = { 0 };

            fprintf(stderr, "%s, %s, seed %d\n", list, all_means[m].name, (int)seed);
            for (int p = 0; p < POLICY_COUNT; p++) {
                double before = lost(&accounts[p]);

                run_week(begin, &all_means[m], (enum policy)p, seed, &accounts[p]);
                one[p].redo = lost(&accounts[p]) - before;
            }
            worst_ratio = MAX(worst_ratio, one[POLICY_SHED].redo / one[POLICY_NEWEST].redo);
        }
        show(list, &all_means[m], accounts, worst_ratio);
    }
}

/* The busiest week under plain scheduling, and the site as it stands at its beginning. */
static int begin_week(struct site *site, const char *path, uint32_t nodes, struct err *err)
{
    int64_t best_ms = 0, last_ms;
    double best = -1;
    int rc = site_load(site, path, nodes, err);

    if (rc < 0)
        return rc;
    last_ms = site->jobs[site->jobs_count - 1].submit_ms;
    for (int64_t from_ms = 0; from_ms + WEEK_MS <= last_ms; from_ms += WEEK_MS) {
        site->busy = 0;
        site_run(site, from_ms + WEEK_MS, NULL, NULL);
        if (site->busy > best) {
            best = site->busy;
            best_ms = from_ms;
        }
    }
    site_fini(site);
    rc = site_load(site, path, nodes, err);
    if (rc < 0)
        return rc;
    site_run(site, best_ms, NULL, NULL);
    fprintf(stderr, "%s: week from day %d, %.1f %% of %u devices busy\n", path,
            (int)(best_ms / (24 * HOUR_MS)), 100 * best / WEEK_MS / site->gpus, site->gpus);
    return 0;
}

static int run_site(const char *list, const char *path, uint32_t nodes, uint32_t seeds,
                    const struct chip *chip)
{
    struct site site;
    struct err err;

    if (begin_week(&site, path, nodes, &err) < 0) {
        fprintf(stderr, "power_event: %s\n", err.text);
        return 1;
    }
    site.watts_busy = chip->power_watts;
    site.watts_idle =
        chip->power_idle_watts >= 0 ? chip->power_idle_watts : 0.15 * chip->power_watts;
    site.watts_base = HOST_WATTS * nodes;
    run_list(&site, list, seeds);
    site_fini(&site);
    return 0;
}

int main(int argc, char **argv)
{
    static const char philly[] = "../shared/data/philly/philly_jobs.csv.gz";
    static const char venus[] = "../shared/data/helios/venus_jobs.csv.gz";
    uint32_t seeds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10;
    struct catalogue *catalogue = NULL;
    const struct chip *chip;
    struct err err;
    FILE *file = fopen(philly, "r");
    int rc;

    if (!file) {
        fprintf(stderr, "power_event: %s is not at hand\n", philly);
        return 0;
    }
    fclose(file);
    if (seeds == 0 || seeds > 1000 || catalogue_load(NULL, &catalogue, &err) < 0) {
        fprintf(stderr, "power_event [SEEDS]: 1 .. 1000\n");
        return 2;
    }
    chip = catalogue_find(catalogue, "v100-sxm2-32g");
    rc = !chip || chip->power_watts <= 0;
    rc = rc || run_site("philly", philly, 200, seeds, chip);
    rc = rc || run_site("venus", venus, 69, seeds, chip); /* nothing was chosen on this one */
    catalogue_destroy(catalogue);
    return rc;
}
