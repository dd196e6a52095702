#include "grid/grid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

struct ear {
    uint32_t runs, stops, changes, ends, rows;
    enum job_state last;
    uint64_t last_job;
    uint32_t last_epoch;
};
static void hear(void *context, const struct effect *effect)
{
    struct ear *ear = context;

    ear->last = effect->view.state;
    ear->last_job = effect->job_id;
    ear->last_epoch = effect->epoch;
    switch (effect->type) {
    case EFFECT_RUN:
        ear->runs++;
        break;
    case EFFECT_STOP:
        ear->stops++;
        break;
    case EFFECT_JOB_CHANGED:
        ear->changes++;
        break;
    case EFFECT_JOB_ENDED:
        ear->ends++;
        break;
    case EFFECT_USAGE:
        ear->rows++;
        break;
    }
}

static struct event submit(uint32_t cpus)
{
    struct event event = { .type = EVENT_JOB_SUBMITTED, .time_ms = 1000 };

    event.job_submitted.request.job_class = CLASS_NORMAL;
    event.job_submitted.request.requeue_on_loss = 1;
    event.job_submitted.request.shape.tasks = 1;
    event.job_submitted.request.shape.cpus = cpus;
    event.job_submitted.tenant = "alice";
    event.job_submitted.user = "alice";
    event.job_submitted.name = "job";
    event.job_submitted.idempotency_key = "";
    event.job_submitted.spec_json = "{}";
    event.job_submitted.spec_len = 2;
    return event;
}

static void step(struct grid *grid, const struct event *event, struct ear *ear)
{
    struct err err;
    int rc = grid_step(grid, event, hear, ear, NULL, &err);

    if (rc < 0)
        fail_msg("step: %s", err.text);
}

static void join(struct grid *grid, uint32_t cpus)
{
    struct node_info node = { .name = "n1", .cpus = cpus, .memory_bytes = 1 << 30 };
    struct event event = { .type = EVENT_SITE_JOINED, .time_ms = 1 };

    strcpy(event.site_joined.site.name, "here");
    event.site_joined.site.nodes = &node;
    event.site_joined.site.nodes_count = 1;
    step(grid, &event, NULL);
}

static void test_run_to_done(void **state)
{
    struct grid *grid = grid_create();
    struct event event = submit(1), pass = { .type = EVENT_PASS, .time_ms = 2000 };
    struct event started = { .type = EVENT_ATTEMPT_STARTED, .time_ms = 3000 };
    struct event ended = { .type = EVENT_ATTEMPT_ENDED, .time_ms = 4000 };
    struct ear ear = { 0 };

    (void)state;
    join(grid, 2);
    for (int i = 0; i < 3; i++)
        step(grid, &event, &ear);
    assert_true(grid_wants_pass(grid));
    step(grid, &pass, &ear);
    assert_int_equal(ear.runs, 2);
    assert_int_equal(grid_count(grid).queued, 1);
    started.attempt_started.job_id = ended.attempt_ended.job_id = 1;
    started.attempt_started.epoch = ended.attempt_ended.epoch = 1;
    step(grid, &started, &ear);
    step(grid, &ended, &ear);
    assert_int_equal(ear.ends, 1);
    assert_int_equal(ear.rows, 1);
    assert_int_equal(grid_find_outcome(grid, 1), JOB_DONE);
    step(grid, &ended, &ear); /* old news */
    assert_int_equal(ear.ends, 1);
    step(grid, &pass, &ear);
    assert_int_equal(ear.runs, 3);
    grid_destroy(grid);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_run_to_done) };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
