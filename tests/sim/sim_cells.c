/* sim_cells - what the scheduler owes to a tenant that is guaranteed cells, as properties of random
 * worlds.
 *
 *   sim_cells [--seeds A-B] [--verbose]
 *
 * One site of racks; two to four owners with whole racks or nodes of it; strangers of every class,
 * narrow and wide, some that can be stopped and some that cannot, twice what the site can do.
 *
 * 1. Nobody waits longer than alone: each job of each owner starts no later than the same jobs do
 *    through a grid of their own on the owner's racks or nodes alone, plus CLAIM_MS, the longest
 *    that a stopped job takes here to save and end. An owner's jobs are of one width in a world, as
 *    wide as it likes, without limits, or with one limit and one promised start a class; they
 * cannot be stopped themselves. (With several widths, or holes between promises to fill, alone is
 * no bound for any scheduler: a job that ends sooner may delay others, Graham's anomalies.)
 * 2. A start that is promised, to whomever, is never made later, by claims either (worlds in which
 *    nobody is stopped for a class), and is kept but for CLAIM_MS.
 * 3. All invariants hold, and what goes on from a snapshot decides as if nothing had been. */
#include "base/buf.h"
#include "base/rng.h"
#include "sim_seeds.h"
#include "sim_step.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWNERS_MAX 4u
#define JOBS_MAX 400u
#define MINUTE_MS 60000LL
#define CLAIM_MS 40000LL
#define NODE_DEVICES 4u

struct owner {
    char name[8];
    uint32_t racks, nodes; /* one of them */
    struct request_shape shape;
};
struct job {
    struct job_request request;
    uint32_t owner; /* OWNERS_MAX = a stranger's */
    int64_t submit_ms, run_ms;
    uint64_t id; /* 0 = not submitted */
    uint32_t epoch;
    int64_t start_ms, end_ms, stop_ms, left_ms; /* start: the first */
    int64_t told_ms, alone_ms;
};
struct world {
    struct rng rng;
    struct grid *grid;
    int64_t now_ms;
    uint32_t racks, rack_nodes, owners_count, jobs_count;
    struct owner owners[OWNERS_MAX];
    struct job jobs[JOBS_MAX];
    bool one_promise;
    bool tells; /* nobody is stopped for a class */
    uint32_t stops, promises, waits;
    char failure[SIM_FAILURE_BYTES];
};

static void fail(struct world *world, const char *text, const struct job *job, int64_t was,
                 int64_t is)
{
    if (!world->failure[0])
        snprintf(world->failure, sizeof(world->failure),
                 "%s: job %" PRIu64 ", %" PRId64 " s, then %" PRId64 " s, at %" PRId64 " s", text,
                 job->id, was / 1000, is / 1000, world->now_ms / 1000);
}

static void hear(void *context, const struct effect *effect)
{
    struct world *world = context;
    struct job *job = NULL;

    for (uint32_t i = 0; i < world->jobs_count && !job; i++)
        if (world->jobs[i].id == effect->job_id)
            job = &world->jobs[i];
    if (!job)
        return;
    if (effect->type == EFFECT_STOP) {
        world->stops++;
        job->stop_ms = world->now_ms + 1 + (int64_t)rng_below(&world->rng, CLAIM_MS);
        if (job->stop_ms >= job->end_ms)
            job->stop_ms = 0; /* it is done by then */
        if (job->owner < OWNERS_MAX)
            fail(world, "an owner's job was stopped", job, job->start_ms, world->now_ms);
    } else if (effect->type == EFFECT_RUN) {
        job->epoch = effect->epoch;
        job->end_ms = world->now_ms + job->left_ms;
        if (!job->start_ms && world->tells && job->told_ms &&
            world->now_ms > job->told_ms + CLAIM_MS)
            fail(world, "a promised start was not kept", job, job->told_ms, world->now_ms);
        if (!job->start_ms)
            job->start_ms = world->now_ms;
        job->told_ms = 0;
    }
}

static uint64_t apply(struct world *world, struct event *event)
{
    event->time_ms = world->now_ms;
    return sim_step(world->grid, event, hear, world, world->failure);
}

/* --- the site ------------------------------------------------------------------------------- */

static void join(struct world *world, uint32_t nodes_count)
{
    static const struct chip_figures figures[] = {
        { .kind = "fast", .metric_milli = { [METRIC_BF16_TFLOPS] = 900000 }, .power_watts = 700 },
    };
    struct node_info *nodes = calloc(nodes_count, sizeof(*nodes));
    struct event event = { .type = EVENT_SITE_JOINED };
    struct site_info *site = &event.site_joined.site;

    if (!nodes)
        abort();
    snprintf(site->name, sizeof(site->name), "here");
    site->nodes = nodes;
    site->nodes_count = nodes_count;
    for (uint32_t i = 0; i < nodes_count; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i);
        snprintf(nodes[i].rack, sizeof(nodes[i].rack), "r%u", i / world->rack_nodes);
        nodes[i].cpus = 64;
        nodes[i].memory_bytes = 64LL << 30;
        nodes[i].disk_bytes = 100LL << 30;
        nodes[i].devices_count = NODE_DEVICES;
        for (uint32_t d = 0; d < NODE_DEVICES; d++) {
            snprintf(nodes[i].devices[d].chip, MODEL_NAME_BYTES, "fast");
            snprintf(nodes[i].devices[d].uuid, 32, "%u-%u", i, d);
            nodes[i].devices[d].memory_bytes = 80LL << 30;
        }
    }
    event.site_joined.chips = figures;
    event.site_joined.chips_count = 1;
    apply(world, &event);
    free(nodes);
}

static void set_owner(struct world *world, const struct owner *owner)
{
    struct event event = { .type = EVENT_TENANT_SET };

    event.tenant_set.tenant = owner->name;
    event.tenant_set.cpus_max = event.tenant_set.devices_milli_max = event.tenant_set.jobs_max = -1;
    event.tenant_set.budget_micro = -1;
    event.tenant_set.weight_milli = 1000;
    apply(world, &event);
    event = (struct event){ .type = EVENT_TENANT_CELLS };
    event.tenant_cells.tenant = owner->name;
    event.tenant_cells.site = "here";
    event.tenant_cells.chip = "fast";
    event.tenant_cells.racks = owner->racks;
    event.tenant_cells.nodes = owner->nodes;
    event.tenant_cells.by = "op";
    apply(world, &event);
}

static void set_policy(struct world *world, bool preempts)
{
    struct event event = { .type = EVENT_POLICY_SET };

    event.policy_set.preempts = preempts;
    event.policy_set.reservations = world->one_promise;
    event.policy_set.by = "op";
    apply(world, &event);
}

/* --- the load ------------------------------------------------------------------------------- */

static uint32_t below(struct world *world, uint32_t limit)
{
    return (uint32_t)rng_below(&world->rng, limit);
}

static struct job *add_job(struct world *world, uint32_t owner, int64_t submit_ms, int64_t run_ms)
{
    struct job *job = &world->jobs[world->jobs_count++];

    job->owner = owner;
    job->submit_ms = submit_ms;
    job->run_ms = job->left_ms = run_ms;
    job->request.job_class = CLASS_NORMAL;
    job->request.requeue_on_loss = 1;
    job->request.shape.tasks = job->request.shape.cpus = 1;
    if (below(world, 4)) /* exact, long, or none */
        job->request.duration_ms_max = run_ms * (1 + below(world, 3));
    return job;
}

static void make_owner(struct world *world, uint32_t number, uint32_t *racks_left)
{
    struct owner *owner = &world->owners[number];
    uint32_t most, room = *racks_left - (world->owners_count - 1 - number);

    snprintf(owner->name, sizeof(owner->name), "own%u", number);
    owner->shape.cpus = owner->shape.tasks = 1;
    if (below(world, 2)) {
        owner->racks = 1 + below(world, MIN(2, room));
        *racks_left -= owner->racks;
        most = owner->racks * world->rack_nodes;
    } else { /* of a rack by itself: so it is whole */
        owner->nodes = 1 + below(world, world->rack_nodes);
        *racks_left -= 1;
        most = owner->nodes;
    }
    switch (below(world, 4)) {
    case 0: /* some devices of a node */
        owner->shape.devices_milli = 1000 << below(world, 3);
        break;
    case 1: /* whole nodes, anywhere */
        owner->shape.tasks = 1 + below(world, most);
        owner->shape.devices_milli = NODE_DEVICES * 1000;
        break;
    case 2: /* a rack of them, and nowhere else */
        owner->shape.tasks = owner->racks ? world->rack_nodes : 1;
        owner->shape.devices_milli = NODE_DEVICES * 1000;
        owner->shape.within = owner->racks ? TOPOLOGY_RACK : TOPOLOGY_NODE;
        owner->shape.within_hard = 1;
        break;
    case 3: /* a share of a device */
        owner->shape.devices_milli = 500;
    }
}

static void add_stranger(struct world *world, int64_t submit_ms)
{
    static const uint32_t classes[] = { CLASS_LOW, CLASS_NORMAL, CLASS_NORMAL, CLASS_HIGH,
                                        CLASS_URGENT };
    struct job *job = add_job(world, OWNERS_MAX, submit_ms,
                              MINUTE_MS + (int64_t)rng_below(&world->rng, 180 * MINUTE_MS));
    struct job_request *request = &job->request;

    request->job_class = classes[below(world, 5)];
    request->checkpoint = below(world, 3) ? CHECKPOINT_ASKED : CHECKPOINT_NONE;
    request->requeue_on_loss = below(world, 5) != 0;
    request->shape.devices_milli = 1000 * (1 + below(world, NODE_DEVICES));
    if (below(world, 3) == 0) {
        request->shape.tasks = 1 + below(world, 2 * world->rack_nodes);
        request->shape.within = below(world, 2) ? TOPOLOGY_RACK : TOPOLOGY_ANY;
    }
    if (below(world, 10) == 0)
        request->shape.devices_milli = 0; /* CPUs alone */
}

static void make_load(struct world *world)
{
    int64_t begin_ms = world->now_ms;

    for (uint32_t i = 0; i < world->owners_count; i++) {
        uint32_t count = 5 + below(world, 20);
        int64_t at_ms = begin_ms, gap_ms = (1 + below(world, 40)) * MINUTE_MS;

        for (uint32_t k = 0; k < count; k++) {
            struct job *job = add_job(world, i, at_ms,
                                      MINUTE_MS + (int64_t)rng_below(&world->rng, 90 * MINUTE_MS));

            job->request.shape = world->owners[i].shape;
            job->request.duration_ms_max = world->one_promise ? 90 * MINUTE_MS : 0;
            at_ms += (int64_t)rng_below(&world->rng, (uint64_t)(2 * gap_ms));
        }
    }
    for (uint32_t i = 0; i < 40 + below(world, 200); i++)
        add_stranger(world, begin_ms + (int64_t)rng_below(&world->rng, 600 * MINUTE_MS));
}

/* --- running it ----------------------------------------------------------------------------- */

static void submit(struct world *world, struct job *job)
{
    struct event event = { .type = EVENT_JOB_SUBMITTED };

    event.job_submitted.request = job->request;
    event.job_submitted.tenant = job->owner < OWNERS_MAX ? world->owners[job->owner].name : "all";
    event.job_submitted.user = "al";
    event.job_submitted.name = "job";
    event.job_submitted.idempotency_key = "";
    event.job_submitted.spec_json = "{}";
    event.job_submitted.spec_len = 2;
    job->id = apply(world, &event);
}

static void end(struct world *world, struct job *job)
{
    struct event event = { .type = EVENT_ATTEMPT_ENDED };

    event.attempt_ended.outcome = job->stop_ms ? OUTCOME_STOPPED : OUTCOME_EXITED;
    event.attempt_ended.job_id = job->id;
    event.attempt_ended.epoch = job->epoch;
    event.attempt_ended.reason = "";
    job->left_ms = job->end_ms - world->now_ms;
    job->end_ms = job->stop_ms = 0;
    apply(world, &event);
}

static int64_t due_ms(const struct job *job)
{
    if (!job->id)
        return job->submit_ms;
    return !job->end_ms ? INT64_MAX : job->stop_ms ? job->stop_ms : job->end_ms;
}

static void ask_all(struct world *world)
{
    for (uint32_t i = 0; i < world->jobs_count && world->tells && !world->failure[0]; i++) {
        struct job *job = &world->jobs[i];
        struct job_view view;

        if (!job->id || job->start_ms || !grid_find_job(world->grid, job->id, &view))
            continue;
        if (job->told_ms && view.promised_start_ms > job->told_ms)
            fail(world, "a promised start was made later", job, job->told_ms,
                 view.promised_start_ms);
        world->promises += view.promised_start_ms && !job->told_ms;
        job->told_ms = view.promised_start_ms ? view.promised_start_ms : job->told_ms;
    }
}

/* It goes on from its snapshot. */
static void restart(struct world *world)
{
    struct buf bytes = buf_init((size_t)16 << 20), again = buf_init((size_t)16 << 20);
    struct grid *grid = NULL;
    struct err err = { 0 };

    if (grid_snapshot(world->grid, &bytes) < 0 ||
        grid_restore(bytes.data, bytes.len, &grid, &err) < 0) {
        snprintf(world->failure, sizeof(world->failure), "%.200s", err.text);
    } else {
        if (grid_snapshot(grid, &again) < 0 || bytes.len != again.len ||
            memcmp(bytes.data, again.data, bytes.len) != 0)
            snprintf(world->failure, sizeof(world->failure), "a snapshot of a snapshot differs");
        grid_destroy(world->grid);
        world->grid = grid;
    }
    buf_fini(&bytes);
    buf_fini(&again);
}

static void run(struct world *world, uint32_t restart_every)
{
    for (uint32_t step = 0; !world->failure[0]; step++) {
        struct job *next = NULL;
        struct event tick = { .type = EVENT_TICK };

        for (uint32_t i = 0; i < world->jobs_count; i++)
            if (!next || due_ms(&world->jobs[i]) < due_ms(next))
                next = &world->jobs[i];
        if (!next || due_ms(next) == INT64_MAX)
            break;
        if (due_ms(next) > world->now_ms + MINUTE_MS / 2) { /* what comes by time alone */
            world->now_ms += MINUTE_MS / 2;
            apply(world, &tick);
        } else {
            world->now_ms = MAX(world->now_ms, due_ms(next));
            if (next->id)
                end(world, next);
            else
                submit(world, next);
        }
        while (!world->failure[0] && grid_wants_pass(world->grid)) {
            struct event pass = { .type = EVENT_PASS };

            apply(world, &pass);
        }
        ask_all(world);
        if (step % 8 == 0)
            sim_check(world->grid, world->failure);
        if (restart_every && step % restart_every == 0)
            restart(world);
    }
}

/* The same jobs of one owner through a grid of their own. */
static void run_alone(struct world *of, uint32_t number)
{
    const struct owner *owner = &of->owners[number];
    struct world *world = calloc(1, sizeof(*world));
    uint32_t from[JOBS_MAX];

    if (!world)
        abort();
    world->rng.state = 1;
    world->grid = grid_create();
    world->now_ms = of->now_ms;
    world->rack_nodes = of->rack_nodes;
    world->owners[0] = *owner;
    for (uint32_t i = 0; i < of->jobs_count; i++)
        if (of->jobs[i].owner == number) {
            from[world->jobs_count] = i;
            world->jobs[world->jobs_count] = of->jobs[i];
            world->jobs[world->jobs_count++].owner = 0;
        }
    world->one_promise = of->one_promise;
    set_policy(world, true);
    join(world, owner->racks ? owner->racks * world->rack_nodes : owner->nodes);
    run(world, 0);
    for (uint32_t i = 0; i < world->jobs_count; i++)
        of->jobs[from[i]].alone_ms = world->jobs[i].start_ms;
    memcpy(of->failure, world->failure, sizeof(of->failure));
    grid_destroy(world->grid);
    free(world);
}

static bool may_be_lent(const struct job_request *request)
{
    return request->requeue_on_loss &&
           (request->job_class == CLASS_LOW || request->checkpoint != CHECKPOINT_NONE);
}

static void check(struct world *world)
{
    for (uint32_t i = 0; i < world->jobs_count; i++) {
        const struct job *job = &world->jobs[i];

        /* What cannot be stopped may be wider than what is nobody's. */
        if (!job->start_ms && (job->owner < OWNERS_MAX || may_be_lent(&job->request)))
            fail(world, "a job never started", job, 0, 0);
        if (job->owner == OWNERS_MAX)
            continue;
        world->waits += job->alone_ms > job->submit_ms;
        if (!job->alone_ms)
            fail(world, "a job does not fit alone", job, 0, 0);
        if (job->start_ms > job->alone_ms + CLAIM_MS)
            fail(world, "an owner waits longer than alone", job, job->alone_ms, job->start_ms);
    }
}

static void run_world(struct world *world, unsigned long long seed)
{
    uint32_t racks_left;

    world->now_ms = 1000 * MINUTE_MS;
    world->rack_nodes = 1 + below(world, 3);
    world->racks = racks_left = 4 + below(world, 4);
    world->owners_count = 2 + below(world, OWNERS_MAX - 1);
    for (uint32_t i = 0; i < world->owners_count; i++)
        make_owner(world, i, &racks_left);
    world->one_promise = seed % 3 == 0;
    make_load(world);
    for (uint32_t i = 0; i < world->owners_count && !world->failure[0]; i++)
        run_alone(world, i);
    world->tells = seed % 2;
    join(world, world->racks * world->rack_nodes);
    set_policy(world, !world->tells);
    for (uint32_t i = 0; i < world->owners_count; i++)
        set_owner(world, &world->owners[i]);
    run(world, seed % 5 ? 0 : 7);
    check(world);
}

int main(int argc, char **argv)
{
    unsigned long long stops = 0, promises = 0, waits = 0;
    struct sim_seeds seeds = { .first = 1, .last = 100 };

    if (!sim_seeds_read(argc, argv, &seeds))
        return 2;
    for (unsigned long long seed = seeds.first; seed <= seeds.last; seed++) {
        struct world *world = calloc(1, sizeof(*world));

        if (!world)
            abort();
        world->rng.state = seed;
        world->grid = grid_create();
        run_world(world, seed);
        stops += world->stops;
        promises += world->promises;
        waits += world->waits;
        if (seeds.verbose)
            printf("# seed %llu: %u jobs, %u stops, %u promises, %u waits\n", seed,
                   world->jobs_count, world->stops, world->promises, world->waits);
        if (world->failure[0] && seeds.verbose)
            for (uint32_t i = 0; i < world->jobs_count; i++) {
                const struct job *job = &world->jobs[i];

                printf("# job %" PRIu64 " of %u: %u x %u, within %u, submit %" PRId64
                       " run %" PRId64 " limit %" PRId64 " alone %" PRId64 " start %" PRId64 "\n",
                       job->id, job->owner, job->request.shape.tasks,
                       job->request.shape.devices_milli, job->request.shape.within,
                       job->submit_ms / 1000, job->run_ms / 1000,
                       job->request.duration_ms_max / 1000, job->alone_ms / 1000,
                       job->start_ms / 1000);
            }
        if (world->failure[0]) {
            printf("not ok 1 - owners wait no longer than alone # seed %llu: %s\n", seed,
                   world->failure);
            return 1;
        }
        grid_destroy(world->grid);
        free(world);
    }
    if (seeds.last - seeds.first > 20 && (!stops || !promises || !waits)) {
        printf("not ok 1 - too little happened\n");
        return 1;
    }
    printf("# %llu stops, %llu promises, %llu waits alone\n", stops, promises, waits);
    printf("ok 1 - owners wait no longer than alone, seeds %llu-%llu\n", seeds.first, seeds.last);
    return 0;
}
