/* With one promised start a class, and one class, the grid backfills as EASY does: the first in
 * line is promised the moment at which enough has ended by its limit, and who comes behind may
 * start if it is gone by then, or fits beside it. Against a plain model of that rule. */
#include "base/cleanup.h"
#include "base/rng.h"
#include "grid/grid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CPUS 64u
#define JOBS 120u
#define MINUTE_MS 60000LL

enum progress { TO_COME, WAITING, RUNS, ENDED };
struct easy_job { /* ids go from 1 up in the order of their submits */
    int64_t submit_ms, limit_ms, run_ms;
    int64_t start_ms, model_ms; /* by the grid, by the model; 0 = not yet */
    uint32_t cpus;
    enum progress progress; /* in the model */
};
struct world {
    struct grid *grid;
    struct easy_job jobs[JOBS];
    int64_t now_ms;
};

static void hear(void *context, const struct effect *effect)
{
    struct world *world = context;

    if (effect->type == EFFECT_RUN)
        world->jobs[effect->job_id - 1].start_ms = world->now_ms;
}

static void step(struct world *world, struct event *event)
{
    struct err err = { 0 };

    event->time_ms = world->now_ms;
    if (grid_step(world->grid, event, hear, world, NULL, &err) < 0 ||
        grid_check_invariants(world->grid, &err) < 0)
        fail_msg("%s", err.text);
}

static void join(struct world *world)
{
    struct node_info *node = calloc(1, sizeof(*node));
    struct event event = { .type = EVENT_SITE_JOINED };

    assert_non_null(node);
    strcpy(node->name, "n");
    node->cpus = CPUS;
    node->memory_bytes = 1LL << 30;
    strcpy(event.site_joined.site.name, "s");
    event.site_joined.site.nodes = node;
    event.site_joined.site.nodes_count = 1;
    step(world, &event);
    free(node);
}

/* Each is of a shape of its own, so that all are looked at one by one, oldest first. */
static void submit(struct world *world, uint32_t number)
{
    struct event event = { .type = EVENT_JOB_SUBMITTED };
    struct job_request *request = &event.job_submitted.request;

    request->job_class = CLASS_NORMAL;
    request->requeue_on_loss = 1;
    request->duration_ms_max = world->jobs[number].limit_ms;
    request->shape.tasks = 1;
    request->shape.cpus = world->jobs[number].cpus;
    request->shape.memory_bytes = number + 1;
    event.job_submitted.tenant = "t";
    event.job_submitted.user = "u";
    event.job_submitted.name = "j";
    event.job_submitted.spec_json = "{}";
    event.job_submitted.spec_len = 2;
    event.job_submitted.idempotency_key = "";
    step(world, &event);
}

static void end(struct world *world, uint32_t number)
{
    struct event event = { .type = EVENT_ATTEMPT_ENDED };

    event.attempt_ended.job_id = number + 1;
    event.attempt_ended.epoch = 1;
    event.attempt_ended.reason = "";
    step(world, &event);
}

/* --- the model -------------------------------------------------------------------------------- */

static int64_t bound_ms(const struct easy_job *job)
{
    return job->model_ms + job->limit_ms + MINUTE_MS;
}

/* CPUs that are free at that time, when all that runs lasts as long as it may. */
static uint32_t free_at(const struct world *world, int64_t time_ms)
{
    uint32_t left = CPUS;

    for (uint32_t i = 0; i < JOBS; i++)
        if (world->jobs[i].progress == RUNS && bound_ms(&world->jobs[i]) > time_ms)
            left -= world->jobs[i].cpus;
    return left;
}

static int64_t shadow_of(const struct world *world, const struct easy_job *head)
{
    int64_t first_ms = INT64_MAX;

    for (uint32_t i = 0; i < JOBS; i++) {
        int64_t end_ms = bound_ms(&world->jobs[i]);

        if (world->jobs[i].progress == RUNS && end_ms < first_ms &&
            free_at(world, end_ms) >= head->cpus)
            first_ms = end_ms;
    }
    return first_ms;
}

static void model_pass(struct world *world)
{
    const struct easy_job *head = NULL;
    int64_t shadow_ms = 0;

    for (uint32_t i = 0; i < JOBS; i++) {
        struct easy_job *job = &world->jobs[i];
        bool fits = job->cpus <= free_at(world, world->now_ms);

        if (job->progress != WAITING)
            continue;
        if (head && fits)
            fits = world->now_ms + job->limit_ms + MINUTE_MS <= shadow_ms ||
                   job->cpus + head->cpus <= free_at(world, shadow_ms);
        if (fits) {
            job->progress = RUNS;
            job->model_ms = world->now_ms;
        } else if (!head) {
            head = job;
            shadow_ms = shadow_of(world, head);
        }
    }
}

static uint32_t run_world(uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    struct rng rng = { seed };
    uint32_t passed = 0, left = JOBS; /* passed: started before one that is older */

    assert_non_null(world);
    world->grid = grid_create();
    grid_set_reservations(world->grid, 1);
    world->now_ms = 1000 * MINUTE_MS;
    join(world);
    for (uint32_t i = 0; i < JOBS; i++) {
        struct easy_job *job = &world->jobs[i];

        job->submit_ms =
            (i ? job[-1].submit_ms : world->now_ms) + MINUTE_MS * (int64_t)rng_below(&rng, 6);
        job->limit_ms = MINUTE_MS * (int64_t)(1 + rng_below(&rng, 60));
        job->run_ms =
            MINUTE_MS * (int64_t)(1 + rng_below(&rng, (uint64_t)(job->limit_ms / MINUTE_MS)));
        job->cpus = 1 + (uint32_t)rng_below(&rng, rng_below(&rng, 3) ? 16 : CPUS);
    }
    for (; left; world->now_ms += MINUTE_MS) {
        struct event pass = { .type = EVENT_PASS };

        for (uint32_t i = 0; i < JOBS; i++) {
            struct easy_job *job = &world->jobs[i];

            if (job->progress == RUNS && job->model_ms + job->run_ms == world->now_ms) {
                job->progress = ENDED;
                left--;
                end(world, i);
            }
            if (job->submit_ms == world->now_ms) {
                job->progress = WAITING;
                submit(world, i);
            }
        }
        if (!grid_wants_pass(world->grid))
            continue;
        step(world, &pass);
        model_pass(world);
        for (uint32_t i = 0; i < JOBS; i++) {
            const struct easy_job *job = &world->jobs[i];

            if (job->start_ms != job->model_ms)
                fail_msg("seed %u, job %u: started at %d min, by EASY at %d", (unsigned)seed, i + 1,
                         (int)(job->start_ms / MINUTE_MS), (int)(job->model_ms / MINUTE_MS));
            for (uint32_t k = 0; k < i && job->start_ms == world->now_ms; k++)
                passed += world->jobs[k].progress == WAITING;
        }
    }
    grid_destroy(world->grid);
    free(world);
    return passed;
}

static void test_one_promise_is_easy(void **state)
{
    uint32_t passed = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++)
        passed += run_world(seed);
    assert_true(passed > 1000); /* there was something to backfill */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_promise_is_easy) };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
