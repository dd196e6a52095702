/* sim_ranks - nobody starves while work is ordered by what it needs: random worlds.
 *
 *   sim_ranks [--seeds A-B] [--verbose]
 *
 * Small jobs keep coming, so many that some always wait, and each of them is to go before the wide
 * and long ones that come now and then. The property, for each job from submit to its end:
 *
 *   the time in which it does not run <= P + (n + p + 1) x 2 x (L + slack) + five minutes
 *
 * P is its patience: a day, or 2.4 times the wait in order of arrival, which is at most the work of
 * the unfinished over all devices (each taken to need what the longest of its width does); n
 * counts the jobs of its class that came earlier and are unfinished a day later; p is how many
 * starts are promised; L is the longest run with all its restarts, slack a quarter of an hour: two
 * looks at who waits, five minutes apart, and a hold of five.
 *
 * Of eight seeds: without limits, with limits, or mixed; jobs that may be stopped, or not. */
#include "base/rng.h"
#include "sim_seeds.h"
#include "sim_step.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define JOBS_MAX 6000u
#define NODES 3u
#define NODE_DEVICES 4u
#define TOTAL (NODES * NODE_DEVICES)
#define SMALL_MS_MAX HOUR_MS
#define WIDE_MS_MAX (6 * HOUR_MS)
#define RESTART_MS MINUTE_MS
#define SLACK_MS (16 * MINUTE_MS) /* and the minute that an end may take to be told */
#define PATIENCE_MILLI 2400

struct one {
    uint64_t id;
    int64_t submit_ms, left_ms, since_ms, end_ms; /* end_ms: planned, 0 = does not run */
    int64_t ran_ms, said_ms;                      /* the most it may be taken to need, x width */
    int64_t arrival_ms_most; /* the most that the wait in order of arrival was */
    int64_t over_ms;         /* when it ended */
    uint32_t width, stops;
    bool is_over;
};
struct world {
    struct rng rng;
    struct grid *grid;
    int64_t now_ms;
    struct one jobs[JOBS_MAX];
    uint32_t jobs_count, over_count, unfinished_count;
    bool saves, small_known;
    uint32_t limits; /* 0 none, 1 all, 2 mixed */
    int64_t sum_said_ms, run_most_ms, idle_most_ms;
    uint64_t stops;
    uint32_t stopping[JOBS_MAX], stopping_count;
    char failure[SIM_FAILURE_BYTES];
};

static struct one *find(struct world *world, uint64_t id)
{
    return id >= 1 && id <= world->jobs_count ? &world->jobs[id - 1] : NULL;
}

static void hear(void *context, const struct effect *effect)
{
    struct world *world = context;
    struct one *job = find(world, effect->job_id);

    if (!job)
        return;
    if (effect->type == EFFECT_RUN) {
        job->left_ms += job->stops ? RESTART_MS : 0;
        job->since_ms = world->now_ms;
        job->end_ms = world->now_ms + job->left_ms;
    } else if (effect->type == EFFECT_STOP) {
        job->stops++;
        world->stops++;
        world->stopping[world->stopping_count++] = (uint32_t)(job - world->jobs);
    }
}

static uint64_t apply(struct world *world, struct event *event)
{
    event->time_ms = world->now_ms;
    return sim_step(world->grid, event, hear, world, world->failure);
}

static void join(struct world *world)
{
    static const struct chip_figures figures[] = { { .kind = "chip", .power_watts = 100 } };
    struct node_info nodes[NODES] = { 0 };
    struct event event = { .type = EVENT_SITE_JOINED };

    for (uint32_t n = 0; n < NODES; n++) {
        snprintf(nodes[n].name, sizeof(nodes[n].name), "n%u", n);
        nodes[n].cpus = 64;
        nodes[n].memory_bytes = 64LL << 30;
        nodes[n].disk_bytes = 64LL << 30;
        nodes[n].devices_count = NODE_DEVICES;
        for (uint32_t d = 0; d < NODE_DEVICES; d++) {
            snprintf(nodes[n].devices[d].chip, MODEL_NAME_BYTES, "chip");
            snprintf(nodes[n].devices[d].uuid, 32, "%u-%u", n, d);
        }
    }
    snprintf(event.site_joined.site.name, MODEL_NAME_BYTES, "here");
    event.site_joined.site.nodes = nodes;
    event.site_joined.site.nodes_count = NODES;
    event.site_joined.chips = figures;
    event.site_joined.chips_count = 1;
    apply(world, &event);
}

static void set_policy(struct world *world)
{
    struct event event = { .type = EVENT_POLICY_SET };

    event.policy_set.order = ORDER_PREDICTED;
    event.policy_set.preempts = 1;
    event.policy_set.by = "op";
    apply(world, &event);
}

static void submit(struct world *world, bool is_wide)
{
    struct one *job = &world->jobs[world->jobs_count++];
    struct event event = { .type = EVENT_JOB_SUBMITTED };
    struct job_request *request = &event.job_submitted.request;
    int64_t most = is_wide ? WIDE_MS_MAX : SMALL_MS_MAX;

    *job = (struct one){ .submit_ms = world->now_ms };
    job->width = is_wide ? 8 : 1;
    job->left_ms = most / 4 + (int64_t)rng_below(&world->rng, (uint64_t)(most - most / 4));
    /* Until one of its width has ended, it may be taken to need what any did. */
    job->said_ms = (world->small_known ? most : WIDE_MS_MAX) * job->width;
    world->sum_said_ms += job->said_ms;
    world->unfinished_count++;
    request->job_class = CLASS_NORMAL;
    request->requeue_on_loss = 1;
    request->checkpoint = world->saves ? CHECKPOINT_ASKED : CHECKPOINT_NONE;
    request->shape.tasks = job->width;
    request->shape.cpus = 1;
    request->shape.devices_milli = 1000;
    if (world->limits == 1 || (world->limits == 2 && rng_below(&world->rng, 2)))
        request->duration_ms_max = most + 10 * RESTART_MS;
    event.job_submitted.tenant = "alice";
    event.job_submitted.user = rng_below(&world->rng, 3) ? "al" : "";
    event.job_submitted.name = is_wide ? "wide" : "small";
    event.job_submitted.idempotency_key = "";
    event.job_submitted.spec_json = "{}";
    event.job_submitted.spec_len = 2;
    job->id = apply(world, &event);
}

static void report_end(struct world *world, struct one *job, bool is_stop)
{
    struct event event = { .type = EVENT_ATTEMPT_ENDED };
    int64_t ran_ms = world->now_ms - job->since_ms;
    struct job_view view;

    if (!grid_find_job(world->grid, job->id, &view))
        return;
    job->end_ms = 0;
    job->ran_ms += ran_ms;
    job->left_ms = MAX(job->left_ms - ran_ms, 0);
    event.attempt_ended.job_id = job->id;
    event.attempt_ended.epoch = view.epoch;
    event.attempt_ended.outcome = is_stop ? OUTCOME_STOPPED : OUTCOME_EXITED;
    event.attempt_ended.reason = "";
    apply(world, &event);
    if (is_stop)
        return;
    job->is_over = true;
    job->over_ms = world->now_ms;
    world->over_count++;
    world->unfinished_count--;
    world->sum_said_ms -= job->said_ms;
    world->small_known |= job->width == 1;
    world->run_most_ms = MAX(world->run_most_ms, job->ran_ms);
}

/* Who came earlier and was still unfinished when its patience ended, at the earliest: nobody else
 * of its class can keep it out from then on. */
static uint32_t count_older(const struct world *world, const struct one *job)
{
    uint32_t count = 0;

    for (const struct one *other = world->jobs; other < job; other++)
        count += !other->is_over || other->over_ms > job->submit_ms + DAY_MS;
    return count;
}

static void check_one(struct world *world, const struct one *job)
{
    int64_t idle_ms = world->now_ms - job->submit_ms - job->ran_ms;
    int64_t patience_ms =
        MAX(DAY_MS, job->arrival_ms_most / 1000 * PATIENCE_MILLI + PATIENCE_MILLI);
    int64_t bound_ms = patience_ms +
                       (int64_t)(count_older(world, job) + GRID_RESERVATIONS + 1) * 2 *
                           (MAX(world->run_most_ms, WIDE_MS_MAX) + SLACK_MS) +
                       5 * MINUTE_MS;

    world->idle_most_ms = MAX(world->idle_most_ms, idle_ms);
    if (idle_ms > bound_ms && !world->failure[0])
        snprintf(world->failure, sizeof(world->failure),
                 "job %" PRIu64 " of width %u did not run for %" PRId64
                 " min, the bound is %" PRId64 " min",
                 job->id, job->width, idle_ms / MINUTE_MS, bound_ms / MINUTE_MS);
}

/* What the wait in order of arrival may be taken to be, for all that are unfinished. */
static void note_arrival(struct world *world)
{
    int64_t wait_ms = world->sum_said_ms / TOTAL;

    for (uint32_t i = 0; i < world->jobs_count; i++)
        if (!world->jobs[i].is_over)
            world->jobs[i].arrival_ms_most = MAX(world->jobs[i].arrival_ms_most, wait_ms);
}

static struct one *next_end(struct world *world)
{
    struct one *first = NULL;

    for (uint32_t i = 0; i < world->jobs_count; i++) {
        struct one *job = &world->jobs[i];

        if (job->end_ms && (!first || job->end_ms < first->end_ms))
            first = job;
    }
    return first;
}

static void settle(struct world *world)
{
    while (world->stopping_count && !world->failure[0]) {
        struct one *job = &world->jobs[world->stopping[--world->stopping_count]];

        if (job->end_ms)
            report_end(world, job, true);
    }
    while (grid_wants_pass(world->grid) && !world->failure[0]) {
        struct event event = { .type = EVENT_PASS };

        apply(world, &event);
    }
}

/* Small work alone keeps nine of ten devices busy, and wide work is more than the rest; for days.
 */
static void run_world(struct world *world)
{
    int64_t begin_ms = 1000 * MINUTE_MS, small_ms, wide_ms, until_ms;
    int64_t gap_ms = SMALL_MS_MAX * 5 / 8 / TOTAL * 10 / 9; /* the mean run over nine of ten */

    world->now_ms = small_ms = begin_ms;
    wide_ms = begin_ms + HOUR_MS;
    until_ms = begin_ms + (9 + (int64_t)rng_below(&world->rng, 3)) * DAY_MS;
    join(world);
    set_policy(world);
    for (uint64_t steps = 0; !world->failure[0] && steps < 200000; steps++) {
        struct one *ends = next_end(world);
        int64_t timer_ms = grid_next_timer_ms(world->grid), next_ms = timer_ms;
        bool comes = small_ms < until_ms && world->jobs_count + 2 < JOBS_MAX;

        if (ends)
            next_ms = MIN(next_ms, ends->end_ms);
        if (comes)
            next_ms = MIN(next_ms, MIN(small_ms, wide_ms));
        if (!comes && world->over_count == world->jobs_count)
            break;
        if (next_ms == INT64_MAX)
            break;
        world->now_ms = MAX(world->now_ms, next_ms);
        if (ends && ends->end_ms <= world->now_ms) {
            report_end(world, ends, false);
            check_one(world, ends);
        } else if (comes && small_ms <= world->now_ms) {
            submit(world, false);
            small_ms += 1 + (int64_t)rng_below(&world->rng, (uint64_t)(2 * gap_ms));
            note_arrival(world);
        } else if (comes && wide_ms <= world->now_ms) {
            submit(world, true);
            wide_ms += 12 * HOUR_MS + (int64_t)rng_below(&world->rng, DAY_MS);
            note_arrival(world);
        } else {
            struct event event = { .type = EVENT_TICK };

            apply(world, &event);
        }
        settle(world);
    }
    if (!world->failure[0] && world->over_count < world->jobs_count)
        snprintf(world->failure, sizeof(world->failure), "%u of %u jobs never ended",
                 world->jobs_count - world->over_count, world->jobs_count);
    sim_check(world->grid, world->failure);
}

int main(int argc, char **argv)
{
    unsigned long long stops = 0, jobs = 0;
    int64_t idle_most_ms = 0;
    struct sim_seeds seeds = { .first = 1, .last = 24 };

    if (!sim_seeds_read(argc, argv, &seeds))
        return 2;
    for (unsigned long long seed = seeds.first; seed <= seeds.last; seed++) {
        struct world *world = calloc(1, sizeof(*world));

        if (!world)
            abort();
        world->rng.state = seed;
        world->grid = grid_create();
        world->saves = seed % 2;
        world->limits = (uint32_t)(seed / 2 % 3);
        run_world(world);
        stops += world->stops;
        jobs += world->over_count;
        idle_most_ms = MAX(idle_most_ms, world->idle_most_ms);
        if (seeds.verbose)
            printf("# seed %llu: %u jobs, %" PRIu64 " stops, longest wait %" PRId64 " min\n", seed,
                   world->over_count, world->stops, world->idle_most_ms / MINUTE_MS);
        if (world->failure[0]) {
            printf("not ok 1 - nobody starves # seed %llu: %s\n", seed, world->failure);
            return 1;
        }
        grid_destroy(world->grid);
        free(world);
    }
    /* Worlds in which nobody is stopped, or waits past a day, would prove nothing. */
    if (seeds.last - seeds.first > 10 && (!stops || idle_most_ms < DAY_MS)) {
        printf("not ok 1 - too little happened: %llu stops, longest wait %" PRId64 " min\n", stops,
               idle_most_ms / MINUTE_MS);
        return 1;
    }
    printf("# %llu jobs, %llu stops, longest wait %" PRId64 " min\n", jobs, stops,
           idle_most_ms / MINUTE_MS);
    printf("ok 1 - nobody starves by what work needs, seeds %llu-%llu\n", seeds.first, seeds.last);
    return 0;
}
