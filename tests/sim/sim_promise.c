/* sim_promise - what the scheduler owes to a job that waits, as properties of random worlds.
 *
 *   sim_promise [--seeds A-B] [--verbose]
 *
 * 1. A promised start is never made later by another job's arrival: once `why` has told when the
 *    next job in line starts, no submit and no pass tells a later time, and it starts by then.
 * 2. No starvation: a job starts within (n + 1) x (run + slack + hold) of its submit, where n
 * counts the jobs that come before it in order (of its class and older, or of a higher class and
 * here before it started), `run` is the longest limit of any job, `slack` the minute that an end
 * may take to be told, and `hold` GRID_HOLD_AFTER_MS where jobs without a limit are about.
 *
 * Of three seeds one has elastic jobs, which start wide, grow and shrink, and must not break
 * either. Of four seeds two have one tenant, two have three, who take turns by fair share.
 *
 * The load is admissible: every job would fit into the empty fleet, ends by itself, and nothing
 * breaks. It is twice to four times what the fleet can do while it lasts, so that nearly all wait;
 * streams of small jobs try to get around wide ones. */
#include "base/rng.h"
#include "sim_seeds.h"
#include "sim_step.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SITES_MAX 3u
#define NODES_MAX 4u
#define JOBS_MAX 160u
#define MINUTE_MS 60000LL
#define PROMISED_MAX (2 * GRID_RESERVATIONS) /* two classes are about */
#define SLACK_MS MINUTE_MS
#define RUN_MS_MAX (120 * MINUTE_MS)

struct waiter {
    uint64_t id; /* 0 = not submitted yet */
    int64_t submit_ms, start_ms, end_ms, run_ms;
    int64_t told_ms; /* the start it was told; 0 = none yet */
    int64_t stop_ms; /* when it will have stopped, as it was asked to; 0 = it was not */
    int64_t left_ms; /* of its run, when it was stopped */
    uint32_t epoch, running_epoch;
    uint8_t job_class;
};
struct world {
    struct rng rng;
    struct grid *grid;
    int64_t now_ms;
    struct waiter jobs[JOBS_MAX]; /* in the order of their submits */
    uint32_t jobs_count, started_count, promises;
    bool has_unlimited, has_tenants, has_elastic, has_apart;
    uint32_t sites_count, resized;
    int64_t wait_most_ms;
    char failure[SIM_FAILURE_BYTES];
};

static void fail(struct world *world, const char *text, const struct waiter *job, int64_t was,
                 int64_t is)
{
    if (!world->failure[0])
        snprintf(world->failure, sizeof(world->failure),
                 "%s: job %" PRIu64 ", %" PRId64 " s, then %" PRId64 " s, at %" PRId64 " s", text,
                 job->id, was / 1000, is / 1000, world->now_ms / 1000);
}

static struct waiter *find(struct world *world, uint64_t id)
{
    for (uint32_t i = 0; i < world->jobs_count; i++)
        if (world->jobs[i].id == id)
            return &world->jobs[i];
    return NULL;
}

/* How many come before it in order, of all that were here before it started. With several tenants
 * their turns decide: then those that started while it waited. */
static uint32_t count_before(const struct world *world, const struct waiter *job)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < world->jobs_count; i++) {
        const struct waiter *other = &world->jobs[i];
        bool was_waiting = !other->start_ms || other->start_ms > job->submit_ms ||
                           (other->start_ms == job->submit_ms && other < job);

        if (other == job || !was_waiting || other->job_class < job->job_class)
            continue;
        count += world->has_tenants ? other->start_ms != 0
                                    : other->job_class > job->job_class || other < job;
    }
    return count;
}

static void hear(void *context, const struct effect *effect)
{
    struct world *world = context;
    struct waiter *job = find(world, effect->job_id);
    int64_t bound;

    if (job && effect->type == EFFECT_STOP) {
        job->stop_ms = world->now_ms + (int64_t)rng_below(&world->rng, SLACK_MS * 2 / 3);
        if (job->stop_ms > job->end_ms)
            job->stop_ms = 0; /* it is done by then */
    }
    if (effect->type != EFFECT_RUN || !job)
        return;
    job->epoch = effect->epoch;
    if (job->start_ms) { /* it goes on, at another width */
        job->end_ms = world->now_ms + job->left_ms;
        return;
    }
    job->start_ms = world->now_ms;
    job->end_ms = world->now_ms + job->run_ms;
    world->started_count++;
    if (job->told_ms && job->start_ms > job->told_ms)
        fail(world, "a promised start was not kept", job, job->told_ms, job->start_ms);
    bound = (int64_t)(count_before(world, job) + PROMISED_MAX + 1) *
            (RUN_MS_MAX + SLACK_MS + (world->has_unlimited ? GRID_HOLD_AFTER_MS : 0));
    if (job->start_ms - job->submit_ms > bound)
        fail(world, "a job waited past its bound", job, bound, job->start_ms - job->submit_ms);
    world->wait_most_ms = MAX(world->wait_most_ms, job->start_ms - job->submit_ms);
}

static uint64_t apply(struct world *world, struct event *event)
{
    event->time_ms = world->now_ms;
    return sim_step(world->grid, event, hear, world, world->failure);
}

/* --- the fleet -------------------------------------------------------------------------------- */

static void join_site(struct world *world, uint32_t number)
{
    static const struct chip_figures figures[] = {
        { .kind = "fast", .metric_milli = { [METRIC_BF16_TFLOPS] = 900000 }, .power_watts = 700 },
        { .kind = "slow", .metric_milli = { [METRIC_BF16_TFLOPS] = 100000 }, .power_watts = 100 },
    };
    struct node_info *nodes = calloc(NODES_MAX, sizeof(*nodes));
    struct event event = { .type = EVENT_SITE_JOINED };
    struct site_info *site = &event.site_joined.site;

    if (!nodes)
        abort();
    snprintf(site->name, sizeof(site->name), "site-%u", number);
    snprintf(site->owner, sizeof(site->owner), "owner");
    site->tariff.power_price_micro_per_kwh = 50000 + (int64_t)rng_below(&world->rng, 200000);
    site->tariff.carbon_g_per_kwh_milli = (int64_t)rng_below(&world->rng, 600000);
    site->nodes = nodes;
    site->nodes_count = 2 + (uint32_t)rng_below(&world->rng, NODES_MAX - 1);
    for (uint32_t i = 0; i < site->nodes_count; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i);
        nodes[i].cpus = 8 << rng_below(&world->rng, 2);
        nodes[i].memory_bytes = 64LL << 30;
        nodes[i].disk_bytes = 100LL << 30;
        nodes[i].devices_count = 4;
        for (uint32_t d = 0; d < 4; d++) {
            snprintf(nodes[i].devices[d].chip, MODEL_NAME_BYTES, number % 2 ? "slow" : "fast");
            snprintf(nodes[i].devices[d].uuid, 32, "%u-%u-%u", number, i, d);
            nodes[i].devices[d].memory_bytes = 80LL << 30;
        }
    }
    event.site_joined.chips = figures;
    event.site_joined.chips_count = 2;
    apply(world, &event);
    free(nodes);
}

/* --- the load --------------------------------------------------------------------------------- */

static void submit(struct world *world)
{
    struct waiter *job = &world->jobs[world->jobs_count++];
    struct event event = { .type = EVENT_JOB_SUBMITTED };
    struct job_request *request = &event.job_submitted.request;
    uint64_t kind = rng_below(&world->rng, 10);
    static const char *const tenants[] = { "alice", "bob", "carol" };
    static const enum job_class classes[] = { CLASS_NORMAL, CLASS_NORMAL, CLASS_NORMAL, CLASS_LOW };

    request->job_class = classes[rng_below(&world->rng, ARRAY_COUNT(classes))];
    request->shape.tasks = 1;
    request->shape.cpus = 1 + (uint32_t)rng_below(&world->rng, 4);
    if (kind < 2) { /* wide: all CPUs or devices of two nodes, which every site has */
        request->shape.tasks = 2;
        request->shape.cpus = 8;
    } else if (kind < 4) {
        request->shape.tasks = 1 + (uint32_t)rng_below(&world->rng, 8);
        request->shape.cpus = 1;
        request->shape.devices_milli = 1000;
    } else if (kind < 6) {
        request->shape.devices_milli = 100 * (1 + (uint32_t)rng_below(&world->rng, 9));
    }
    request->objective = (uint32_t)rng_below(&world->rng, 3); /* no weights */
    job->run_ms = MINUTE_MS + (int64_t)rng_below(&world->rng, RUN_MS_MAX - MINUTE_MS + 1);
    if (kind >= 4) /* small ones are short, mostly: they could always go around */
        job->run_ms = MINUTE_MS + job->run_ms / (int64_t)(1 + rng_below(&world->rng, 12));
    job->run_ms = MIN(job->run_ms, RUN_MS_MAX);
    request->duration_ms_max = job->run_ms * (int64_t)(1 + rng_below(&world->rng, 3));
    request->duration_ms_max = MIN(request->duration_ms_max, RUN_MS_MAX);
    if (world->has_unlimited && rng_below(&world->rng, 3) == 0)
        request->duration_ms_max = 0;
    if (world->has_elastic && kind < 6 && rng_below(&world->rng, 2)) {
        request->checkpoint = CHECKPOINT_ASKED;
        request->requeue_on_loss = 1;
        request->tasks_max = request->shape.tasks + 1 + (uint32_t)rng_below(&world->rng, 8);
        request->tasks_step = rng_below(&world->rng, 2) ? 1 : REQUEST_STEP_DOUBLE;
        request->resize_hold_ms = 1 + (int64_t)rng_below(&world->rng, 20 * MINUTE_MS);
    }
    if (world->has_apart && rng_below(&world->rng, 2)) { /* copies, none beside another */
        struct request_apart *apart = &request->shape.apart;

        strcpy(apart->labels[apart->labels_count++], rng_below(&world->rng, 2) ? "web" : "db");
        strcpy(apart->avoids[apart->avoids_count++], rng_below(&world->rng, 2) ? "web" : "db");
        apart->level = rng_below(&world->rng, 8) ? APART_NODE : APART_SITE;
    }
    job->job_class = (uint8_t)request->job_class;
    job->submit_ms = world->now_ms;
    event.job_submitted.tenant = tenants[world->has_tenants ? rng_below(&world->rng, 3) : 0];
    event.job_submitted.user = "al";
    event.job_submitted.name = "job";
    event.job_submitted.idempotency_key = "";
    event.job_submitted.spec_json = "{}";
    event.job_submitted.spec_len = 2;
    job->id = apply(world, &event);
}

/* Compare what each that waits is told with what it was told before. */
static void ask_all(struct world *world, bool normal_only)
{
    for (uint32_t i = 0; i < world->jobs_count && !world->failure[0]; i++) {
        struct waiter *job = &world->jobs[i];
        struct why why;

        if (job->start_ms || (normal_only && job->job_class != CLASS_NORMAL) ||
            grid_why(world->grid, job->id, &why) < 0)
            continue;
        if (job->told_ms && why.start_estimate_ms > job->told_ms)
            fail(world, "a promised start was made later", job, job->told_ms,
                 why.start_estimate_ms);
        if (why.start_estimate_ms) {
            world->promises += job->told_ms == 0;
            job->told_ms = why.start_estimate_ms;
        }
    }
}

/* Elastic ones are asked for another width only once they run. */
static void tell_started(struct world *world)
{
    for (uint32_t i = 0; i < world->jobs_count && world->has_elastic; i++) {
        struct event event = { .type = EVENT_ATTEMPT_STARTED };
        struct waiter *job = &world->jobs[i];

        if (!job->end_ms || job->running_epoch == job->epoch)
            continue;
        job->running_epoch = job->epoch;
        event.attempt_started.job_id = job->id;
        event.attempt_started.epoch = job->epoch;
        apply(world, &event);
    }
}

static void run_pass(struct world *world)
{
    while (!world->failure[0] && grid_wants_pass(world->grid)) {
        struct event event = { .type = EVENT_PASS };

        apply(world, &event);
    }
}

static int64_t due_ms(const struct waiter *job)
{
    return job->stop_ms ? job->stop_ms : job->end_ms;
}

static struct waiter *next_end(struct world *world)
{
    struct waiter *first = NULL;

    for (uint32_t i = 0; i < world->jobs_count; i++) {
        struct waiter *job = &world->jobs[i];

        if (job->start_ms && job->end_ms && (!first || due_ms(job) < due_ms(first)))
            first = job;
    }
    return first;
}

static void end(struct world *world, struct waiter *job)
{
    struct event event = { .type = EVENT_ATTEMPT_ENDED };

    world->now_ms = due_ms(job);
    event.attempt_ended.outcome = job->stop_ms ? OUTCOME_STOPPED : OUTCOME_EXITED;
    job->left_ms = job->end_ms - world->now_ms;
    world->resized += job->stop_ms != 0;
    job->end_ms = job->stop_ms = 0;
    event.attempt_ended.job_id = job->id;
    event.attempt_ended.epoch = job->epoch;
    event.attempt_ended.reason = "";
    apply(world, &event);
}

/* Elastic jobs save, so those of a higher class could have them stopped: that may void a promise.
 */
static void stop_nobody_whole(struct world *world)
{
    struct event event = { .type = EVENT_POLICY_SET };

    event.policy_set.by = "op";
    apply(world, &event);
}

/* The grid promises the first in line, so promises are told of the class that is first: of the
 * normal jobs, as long as none of a higher class comes. */
static void run_world(struct world *world)
{
    uint32_t submits = 60 + (uint32_t)rng_below(&world->rng, JOBS_MAX - 60);
    int64_t arrival_ms, gap_ms = (2 + (int64_t)rng_below(&world->rng, 6)) * MINUTE_MS;

    world->now_ms = 1000 * MINUTE_MS;
    world->sites_count = 1 + (uint32_t)rng_below(&world->rng, SITES_MAX);
    gap_ms /= world->sites_count;
    for (uint32_t i = 0; i < world->sites_count; i++)
        join_site(world, i);
    if (world->has_elastic)
        stop_nobody_whole(world);
    arrival_ms = world->now_ms;
    while (!world->failure[0]) {
        struct waiter *ends = next_end(world);
        bool comes = world->jobs_count < submits;

        if (comes && (!ends || arrival_ms <= due_ms(ends))) {
            world->now_ms = arrival_ms;
            submit(world);
            ask_all(world, true); /* also before any pass */
            arrival_ms += (int64_t)rng_below(&world->rng, (uint64_t)(2 * gap_ms));
        } else if (ends) {
            end(world, ends);
        } else {
            break;
        }
        run_pass(world);
        tell_started(world);
        ask_all(world, true);
    }
    if (!world->failure[0] && world->started_count < world->jobs_count)
        snprintf(world->failure, sizeof(world->failure), "%u of %u jobs never started",
                 world->jobs_count - world->started_count, world->jobs_count);
    sim_check(world->grid, world->failure);
}

int main(int argc, char **argv)
{
    unsigned long long promises = 0, started = 0, resized = 0;
    int64_t wait_most_ms = 0;
    struct sim_seeds seeds = { .first = 1, .last = 400 };

    if (!sim_seeds_read(argc, argv, &seeds))
        return 2;
    for (unsigned long long seed = seeds.first; seed <= seeds.last; seed++) {
        struct world *world = calloc(1, sizeof(*world));

        if (!world)
            abort();
        *world = (struct world){ .rng = { .state = seed }, .grid = grid_create() };
        world->has_unlimited = seed % 2 == 0;
        world->has_tenants = seed % 4 >= 2;
        world->has_elastic = seed % 3 == 0;
        world->has_apart = seed % 5 == 1;
        run_world(world);
        promises += world->promises;
        resized += world->resized;
        started += world->started_count;
        wait_most_ms = MAX(wait_most_ms, world->wait_most_ms);
        if (seeds.verbose)
            printf("# seed %llu: %u jobs, %u promises, longest wait %" PRId64 " s\n", seed,
                   world->started_count, world->promises, world->wait_most_ms / 1000);
        if (world->failure[0]) {
            printf("not ok 1 - promises and bounds # seed %llu: %s\n", seed, world->failure);
            return 1;
        }
        grid_destroy(world->grid);
        free(world);
    }
    /* Worlds in which nobody waits would prove nothing. */
    if (seeds.last - seeds.first > 50 &&
        (promises < seeds.last - seeds.first || wait_most_ms < RUN_MS_MAX || !resized)) {
        printf("not ok 1 - too little happened: %llu promises, longest wait %" PRId64 " s\n",
               promises, wait_most_ms / 1000);
        return 1;
    }
    printf("# %llu jobs, %llu promises, %llu attempts resized, longest wait %" PRId64 " s\n",
           started, promises, resized, wait_most_ms / 1000);
    printf("ok 1 - promises are kept and nobody starves, seeds %llu-%llu\n", seeds.first,
           seeds.last);
    return 0;
}
