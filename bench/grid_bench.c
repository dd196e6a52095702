/* grid_bench.c - what a step of the grid costs, and how soon it is back after a crash.
 *
 *     grid_bench [JOBS]
 *
 * In memory, on one core; no journal. One JSON line a figure. */
#include "base/arena.h"
#include "grid/grid.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SPEC_BYTES 256
#define KEY_BYTES 64

static void print_line(const char *name, double value, const char *unit, double goal,
                       const char *note)
{
    printf("{\"name\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"goal\":\"<=%g\",\"holds\":%s,"
           "\"peer\":null,\"peer_value\":null,\"ratio\":null,\"note\":\"%s\"}\n",
           name, value, unit, goal, value <= goal ? "true" : "false", note);
}

static void die(const char *what)
{
    fprintf(stderr, "grid bench: %s\n", what);
    exit(1);
}

static void step(struct grid *grid, const struct event *event)
{
    struct err err = { 0 };

    if (grid_step(grid, event, NULL, NULL, NULL, &err) < 0)
        die(err.text);
}

static void join(struct grid *grid, uint32_t nodes_count, uint32_t cpus)
{
    struct node_info *nodes = calloc(nodes_count, sizeof(*nodes));
    struct event event = { .type = EVENT_SITE_JOINED, .time_ms = 1 };

    if (!nodes)
        die("out of memory");
    for (uint32_t i = 0; i < nodes_count; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i);
        nodes[i].cpus = cpus;
        nodes[i].memory_bytes = 1LL << 40;
    }
    snprintf(event.site_joined.site.name, MODEL_NAME_BYTES, "here");
    event.site_joined.site.nodes = nodes;
    event.site_joined.site.nodes_count = nodes_count;
    step(grid, &event);
    free(nodes);
}

/* As `mains submit` sends them: few shapes, each its own spec and key. */
static void fill_submit(struct event *event, uint32_t i, char *spec, char *key)
{
    struct job_request *request = &event->job_submitted.request;

    memset(event, 0, sizeof(*event));
    event->type = EVENT_JOB_SUBMITTED;
    event->time_ms = 1000 + i / 10;
    request->job_class = CLASS_NORMAL;
    request->requeue_on_loss = 1;
    request->duration_ms_max = 3600000;
    request->shape.tasks = 1;
    request->shape.cpus = 1 + i % 4;
    request->shape.memory_bytes = 1LL << 30;
    event->job_submitted.tenant = "local";
    event->job_submitted.user = "user";
    event->job_submitted.name = "job";
    event->job_submitted.spec_len = (uint32_t)snprintf(
        spec, SPEC_BYTES,
        "{\"name\":\"job\",\"run\":\"./simulate --seed %u --steps 100000 --out result.%u\","
        "\"resources\":{\"cpus\":%u,\"memory\":\"1G\"},\"duration\":\"1h\"}",
        i, i, 1 + i % 4);
    event->job_submitted.spec_json = spec;
    snprintf(key, KEY_BYTES, "2e471f6c-%08x-ab22c2e", i);
    event->job_submitted.idempotency_key = key;
}

/* Of this process: other work on the machine does not count. */
static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

struct records {
    struct buf bytes;
    size_t *ends;
    uint32_t count;
};

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void bench_submit(struct grid *grid, struct records *records, uint32_t jobs)
{
    double fill_ns, encode_ns, step_ns;
    char spec[SPEC_BYTES], key[KEY_BYTES];
    struct event event;
    size_t before;

    fill_ns = now_ns();
    for (uint32_t i = 0; i < jobs; i++)
        fill_submit(&event, i, spec, key);
    fill_ns = now_ns() - fill_ns;
    encode_ns = now_ns();
    for (uint32_t i = 0; i < jobs; i++) {
        fill_submit(&event, i, spec, key);
        if (event_encode(&event, &records->bytes) < 0)
            die("encode");
        records->ends[records->count++] = records->bytes.len;
    }
    encode_ns = now_ns() - encode_ns - fill_ns;
    before = heap_bytes();
    step_ns = now_ns();
    for (uint32_t i = 0; i < jobs; i++) {
        fill_submit(&event, i, spec, key);
        step(grid, &event);
    }
    step_ns = now_ns() - step_ns - fill_ns;
    print_line("grid_submit", step_ns / jobs, "ns", 3000, "one job a step");
    print_line("grid_encode", encode_ns / jobs, "ns", 3000, "one submit event");
    print_line("grid_job_bytes", (double)(heap_bytes() - before) / jobs, "bytes", 1000,
               "a queued job with its own spec and key");
}

static void bench_replay(struct records *records)
{
    struct arena arena = arena_init(1 << 20);
    struct grid *grid = grid_create();
    double start_ns = now_ns();
    size_t at = 0;

    for (uint32_t i = 0; i < records->count; i++) {
        struct event event;

        if (event_decode(records->bytes.data + at, records->ends[i] - at, &arena, &event, NULL) < 0)
            die("decode");
        step(grid, &event);
        arena_fini(&arena);
        at = records->ends[i];
    }
    print_line("grid_replay", (now_ns() - start_ns) / 1e9, "s", 0.7,
               "events of all jobs, decoded and stepped");
    grid_destroy(grid);
}

static void bench_snapshot(struct grid *grid)
{
    struct buf bytes = buf_init((size_t)1 << 32);
    struct grid *restored = NULL;
    struct err err = { 0 };
    double start_ns = now_ns();

    if (grid_snapshot(grid, &bytes) < 0)
        die("snapshot");
    print_line("grid_snapshot", (now_ns() - start_ns) / 1e9, "s", 0.5, "of all jobs");
    start_ns = now_ns();
    if (grid_restore(bytes.data, bytes.len, &restored, &err) < 0)
        die(err.text);
    print_line("grid_restore", (now_ns() - start_ns) / 1e9, "s", 0.5, "of all jobs");
    print_line("grid_snapshot_bytes", (double)bytes.len, "bytes", 1e9, "of all jobs");
    grid_destroy(restored);
    buf_fini(&bytes);
}

struct ran { /* the newest attempts, to end them */
    uint64_t ids[4096];
    uint32_t count;
};
static void hear(void *context, const struct effect *effect)
{
    struct ran *ran = context;

    if (effect->type == EFFECT_RUN && ran->count < ARRAY_COUNT(ran->ids))
        ran->ids[ran->count++] = effect->job_id;
}

/* A full machine: each end starts the next. */
static void bench_run(struct grid *grid, uint32_t rounds)
{
    struct event pass = { .type = EVENT_PASS, .time_ms = 100000 };
    struct event ended = { .type = EVENT_ATTEMPT_ENDED, .time_ms = 100000 };
    double start_ns, pass_ns = 0, end_ns = 0, idle_ns;
    struct ran *ran = calloc(1, sizeof(*ran));

    if (!ran)
        die("out of memory");
    grid_step(grid, &pass, hear, ran, NULL, NULL);
    start_ns = now_ns();
    for (uint32_t i = 0; i < 1000; i++)
        grid_step(grid, &pass, hear, ran, NULL, NULL);
    idle_ns = now_ns() - start_ns;
    for (uint32_t i = 0; i < rounds && ran->count; i++) {
        ended.time_ms = pass.time_ms = pass.time_ms + 1;
        ended.attempt_ended.job_id = ran->ids[0];
        ended.attempt_ended.epoch = 1;
        ended.attempt_ended.reason = "";
        memmove(ran->ids, ran->ids + 1, --ran->count * sizeof(ran->ids[0]));
        start_ns = now_ns();
        step(grid, &ended);
        end_ns += now_ns() - start_ns;
        start_ns = now_ns();
        grid_step(grid, &pass, hear, ran, NULL, NULL);
        pass_ns += now_ns() - start_ns;
    }
    print_line("grid_pass_full", idle_ns / 1000, "ns", 10000, "all queued, nothing fits");
    print_line("grid_finish", end_ns / rounds, "ns", 10000, "an attempt ended");
    print_line("grid_pass", pass_ns / rounds, "ns", 20000,
               "a pass after each end, starts included");
    free(ran);
}

int main(int argc, char **argv)
{
    uint32_t jobs = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    struct records records = { .bytes = buf_init((size_t)1 << 32) };
    struct grid *grid = grid_create();

    records.ends = calloc(jobs + 1, sizeof(*records.ends));
    if (!records.ends || !grid || !jobs)
        die("usage: grid_bench [JOBS]");
    join(grid, 4, 16);
    bench_submit(grid, &records, jobs);
    bench_replay(&records);
    bench_snapshot(grid);
    bench_run(grid, jobs < 20000 ? jobs / 2 : 10000);
    grid_destroy(grid);
    buf_fini(&records.bytes);
    free(records.ends);
    return 0;
}
