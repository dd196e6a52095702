/* A made-up site: its file, and its attempts as the agent sees them. */
#include "agent/executor.h"
#include "agent/lease.h"
#include "agent/simsite.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#define WAIT_MS 20000

/* ---- the file ---- */

static const struct {
    const char *text, *says; /* NULL: it is good */
} files[] = {
    { "nodes: 4\nchip: h100-sxm-80g\ndevices: 8\n", NULL },
    { "{nodes: 2, run: 250ms, spread: exponential, failures: 0.015, memory: 1.5G}", NULL },
    { "run: 90\n", NULL },
    { "", "expected" },
    { "- 1\n", "expected keys and values" },
    { "node: 4\n", "f:1:1: a simulated site has no key \"node\"" },
    { "nodes: 0\n", "f:1:8: nodes: " },
    { "nodes: 20001\n", "f:1:8: nodes: " },
    { "nodes: many\n", "f:1:8: nodes: " },
    { "nodes: [4]\n", "nodes: " },
    { "devices: 65\n", "f:1:10: devices: " },
    { "devices: 8\n", "devices need a chip" },
    { "chip: a b\n", "f:1:7: chip: expected a name" },
    { "memory: 0\n", "f:1:9: memory: out of range" },
    { "run: -3s\n", "f:1:6: run: " },
    { "run: 9000d\n", "f:1:6: run: out of range" },
    { "spread: normal\n", "f:1:9: spread: expected fixed, uniform or exponential" },
    { "failures: 1.5\n", "f:1:11: failures: out of range" },
    { "nodes: 1\nnodes: 2\n", "f:2:1" },
};

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        struct simsite site = { .nodes = 99 };
        struct err err = { 0 };
        int rc = simsite_parse("f", files[i].text, strlen(files[i].text), &site, &err);

        if ((rc == 0) != !files[i].says || (rc < 0 && !strstr(err.text, files[i].says)))
            fail_msg("\"%s\": %d %s", files[i].text, rc, err.text);
        assert_true(rc == 0 || site.nodes == 99);
    }
}

static void test_nodes(void **state)
{
    static const char text[] =
        "{nodes: 20, chip: h100-sxm-80g, devices: 2, rack_nodes: 8, supernode_nodes: 16}";
    struct catalogue *catalogue = NULL;
    struct node_info *nodes = NULL;
    struct simsite site;
    struct err err;

    (void)state;
    assert_int_equal(catalogue_load(NULL, &catalogue, &err), 0);
    assert_int_equal(simsite_parse("f", text, strlen(text), &site, &err), 0);
    assert_int_equal(simsite_describe(&site, catalogue, &nodes, &err), 0);
    assert_string_equal(nodes[19].name, "n20");
    assert_string_equal(nodes[7].rack, "r1");
    assert_string_equal(nodes[8].rack, "r2");
    assert_string_equal(nodes[16].supernode, "s2");
    assert_int_equal(nodes[0].devices_count, 2);
    assert_string_equal(nodes[0].devices[1].family, "cuda");
    assert_true(nodes[0].devices[1].memory_bytes == INT64_C(80000000000));
    for (int i = 0; i < 20; i++)
        assert_int_equal(simsite_find_node(&site, nodes[i].name), i);
    assert_int_equal(simsite_find_node(&site, "n0"), -1);
    assert_int_equal(simsite_find_node(&site, "n01"), -1);
    assert_int_equal(simsite_find_node(&site, "n21"), -1);
    assert_int_equal(simsite_find_node(&site, "m1"), -1);
    assert_int_equal(simsite_find_node(&site, "n"), -1);
    free(nodes);
    snprintf(site.chip, sizeof(site.chip), "nosuch");
    assert_int_equal(simsite_describe(&site, catalogue, &nodes, &err), -ENOENT);
    catalogue_destroy(catalogue);
}

static void test_draws(void **state)
{
    struct simsite site = { .nodes = 1, .run_ms = 1000, .failures_milli = 250, .seed = 7 };
    struct simsite_fate fate, again;
    int64_t sum = 0;
    int failed = 0;
    struct err err;

    (void)state;
    site.spread = SIMSITE_EXPONENTIAL;
    for (uint64_t job = 1; job <= 4000; job++) {
        struct attempt_key key = { job, 1 };

        assert_int_equal(simsite_draw(&site, key, "{\"run\":\"x\"}", 0, &fate, &err), 0);
        assert_int_equal(simsite_draw(&site, key, "{\"run\":\"x\"}", 0, &again, &err), 0);
        assert_true(fate.run_ms == again.run_ms && fate.exit_code == again.exit_code);
        sum += fate.run_ms;
        failed += fate.exit_code == 1;
    }
    assert_in_range(sum / 4000, 900, 1100);
    assert_in_range(failed, 850, 1150);
    site.spread = SIMSITE_UNIFORM;
    for (uint64_t job = 1; job <= 400; job++) {
        simsite_draw(&site, (struct attempt_key){ job, 2 }, "{\"run\":\"x\"}", 0, &fate, &err);
        assert_in_range(fate.run_ms, 500, 1500);
    }
    assert_int_equal(
        simsite_draw(&site, (struct attempt_key){ 1, 1 },
                     "{\"run\":\"x\",\"env\":{\"SIM_SECONDS\":\"20\",\"SIM_EXIT\":\"3\"}}", 0,
                     &fate, &err),
        0);
    assert_true(fate.run_ms == 20000 && fate.exit_code == 3 && fate.end == END_EXITED);
    assert_int_equal(simsite_draw(&site, (struct attempt_key){ 1, 1 },
                                  "{\"run\":\"x\",\"env\":{\"SIM_SECONDS\":\"20\"}}", 5000, &fate,
                                  &err),
                     0);
    assert_true(fate.run_ms == 5000 && fate.end == END_TIME_LIMIT);
    assert_int_equal(simsite_draw(&site, (struct attempt_key){ 1, 1 },
                                  "{\"run\":\"x\",\"env\":{\"SIM_SECONDS\":\"soon\"}}", 0, &fate,
                                  &err),
                     -EINVAL);
}

/* ---- attempts ---- */

struct bed {
    char dir[64], agent_dir[80], fleet[96];
    struct executor *executor;
    uint32_t started, ended;
    struct attempt_record last;
};

static void told(void *context, enum attempt_note_type type, const struct attempt_record *record)
{
    struct bed *bed = context;

    bed->started += type == NOTE_STARTED;
    bed->ended += type == NOTE_ENDED;
    if (type == NOTE_ENDED)
        bed->last = *record;
}

static void open_executor(struct bed *bed)
{
    struct executor_config config = { .state_dir = bed->dir,
                                      .agent_dir = bed->agent_dir,
                                      .sim_fleet = bed->fleet,
                                      .told = told,
                                      .context = bed };
    struct err err;

    if (executor_sim_ops.open(&config, &bed->executor, &err) < 0)
        fail_msg("%s", err.text);
}

static void bed_open(struct bed *bed, const char *fleet)
{
    memset(bed, 0, sizeof(*bed));
    snprintf(bed->dir, sizeof(bed->dir), "/tmp/mains-simsite-XXXXXX");
    assert_non_null(mkdtemp(bed->dir));
    snprintf(bed->agent_dir, sizeof(bed->agent_dir), "%s/agent", bed->dir);
    snprintf(bed->fleet, sizeof(bed->fleet), "%s/fleet.yaml", bed->dir);
    assert_int_equal(dir_make(bed->agent_dir, 0700, NULL), 0);
    assert_int_equal(file_write(bed->fleet, fleet, strlen(fleet), 0600, false, NULL), 0);
    open_executor(bed);
}

static void bed_close(struct bed *bed)
{
    bed->executor->ops->close(bed->executor);
    dir_remove(bed->dir, NULL);
}

/* The agent is killed and starts again. */
static void bed_reopen(struct bed *bed)
{
    bed->executor->ops->close(bed->executor);
    open_executor(bed);
}

static void pump_until(struct bed *bed, const uint32_t *count, uint32_t wanted)
{
    int64_t until = clock_mono_ms() + WAIT_MS;

    while (*count < wanted && clock_mono_ms() < until) {
        struct pollfd fd = { .fd = bed->executor->ops->fd(bed->executor), .events = POLLIN };

        if (poll(&fd, 1, 100) > 0)
            assert_int_equal(bed->executor->ops->pump(bed->executor, NULL), 0);
    }
    assert_int_equal(*count, wanted);
}

static int start_bound(struct bed *bed, uint64_t job, uint32_t epoch, uint32_t device,
                       const char *seconds, uint64_t lease)
{
    struct attempt_order order = { .key = { job, epoch }, .lease = lease };
    struct wire_part part = { .node = "n2", .tasks = 1, .cpus = 4, .devices_count = 1 };
    char spec[120];
    struct err err;

    part.devices[0].index = device;
    part.devices[0].milli = 1000;
    snprintf(spec, sizeof(spec), "{\"run\":\"x\",\"env\":{\"SIM_SECONDS\":\"%s\"}}", seconds);
    return bed->executor->ops->start_parts(bed->executor, &order, &part, 1, spec, &err);
}

static int start(struct bed *bed, uint64_t job, uint32_t epoch, uint32_t device,
                 const char *seconds)
{
    return start_bound(bed, job, epoch, device, seconds, 0);
}

static bool log_has(const struct bed *bed, const char *text)
{
    CLEANUP(buf_fini) struct buf log = buf_init(1u << 20);
    char path[128];

    snprintf(path, sizeof(path), "%s/simsite.log", bed->agent_dir);
    assert_int_equal(file_read(path, &log, NULL), 0);
    return log.data && strstr(log.data, text);
}

#define FLEET "{nodes: 2, devices: 4, chip: h100-sxm-80g}"

static void test_life(void **state)
{
    const struct executor_ops *ops = &executor_sim_ops;
    struct attempt_record record;
    struct attempt_view view;
    struct bed bed;

    (void)state;
    bed_open(&bed, FLEET);
    assert_int_equal(start(&bed, 7, 1, 0, "30ms"), 0);
    assert_int_equal(start(&bed, 7, 1, 0, "30ms"), -EEXIST);
    assert_int_equal(start(&bed, 8, 1, 9, "30ms"), -ENODEV);
    assert_int_equal(ops->count(bed.executor), 1);
    pump_until(&bed, &bed.ended, 1);
    assert_int_equal(bed.started, 1);
    assert_int_equal(bed.last.end, END_EXITED);
    assert_true(bed.last.usage.wall_ms == 30 && bed.last.usage.cpu_ms == 120);
    assert_true(bed.last.usage.device_milli_ms == 30000);
    assert_true(ops->find(bed.executor, (struct attempt_key){ 7, 1 }, &view));
    assert_int_equal(view.state, ATTEMPT_ENDED);
    assert_int_equal(ops->stop(bed.executor, (struct attempt_key){ 7, 1 }, -1, "x", NULL), -ENOENT);
    ops->acknowledge(bed.executor, (struct attempt_key){ 7, 1 });
    assert_false(ops->find(bed.executor, (struct attempt_key){ 7, 1 }, &view));
    assert_true(ops->recall(bed.executor, (struct attempt_key){ 7, 1 }, &record));
    assert_int_equal(ops->count(bed.executor), 0);
    ops->forget(bed.executor, (struct attempt_key){ 7, 1 });
    assert_false(ops->recall(bed.executor, (struct attempt_key){ 7, 1 }, &record));
    assert_false(log_has(&bed, "clash"));
    bed_close(&bed);
}

static void test_stop(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed, FLEET);
    assert_int_equal(start(&bed, 1, 1, 0, "1h"), 0);
    pump_until(&bed, &bed.started, 1);
    assert_int_equal(bed.executor->ops->stop(bed.executor, (struct attempt_key){ 1, 1 },
                                             WIRE_GRACE_SAVES, "say \"stop\"", NULL),
                     0);
    pump_until(&bed, &bed.ended, 1);
    assert_int_equal(bed.last.end, END_STOPPED);
    assert_string_equal(bed.last.reason, "say \"stop\"");
    assert_true(bed.last.checkpoint_ms == bed.last.ended_ms && bed.last.started_ms > 0);
    /* Before it began. */
    assert_int_equal(start(&bed, 2, 1, 0, "1h"), 0);
    assert_int_equal(
        bed.executor->ops->stop(bed.executor, (struct attempt_key){ 2, 1 }, -1, "no", NULL), 0);
    pump_until(&bed, &bed.ended, 2);
    assert_true(bed.last.end == END_STOPPED && bed.last.usage.wall_ms == 0);
    assert_true(bed.last.started_ms == 0);
    bed_close(&bed);
}

/* What ran while the agent was away has run; what was told once is not lost. */
static void test_restart(void **state)
{
    struct attempt_view view;
    struct bed bed;

    (void)state;
    bed_open(&bed, FLEET);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(start(&bed, i + 1, 1, i, i == 0 ? "1ms" : i == 1 ? "200ms" : "1h"), 0);
    pump_until(&bed, &bed.ended, 1);
    assert_int_equal(
        bed.executor->ops->stop(bed.executor, (struct attempt_key){ 3, 1 }, -1, "stopped", NULL),
        0);
    bed_reopen(&bed);
    assert_int_equal(bed.executor->ops->count(bed.executor), 4);
    assert_true(bed.executor->ops->find(bed.executor, (struct attempt_key){ 1, 1 }, &view));
    assert_int_equal(view.state, ATTEMPT_ENDED);
    assert_true(view.record->usage.cpu_ms == 4);
    pump_until(&bed, &bed.ended, 3);
    assert_true(bed.executor->ops->find(bed.executor, (struct attempt_key){ 3, 1 }, &view));
    assert_true(view.record->end == END_STOPPED && !strcmp(view.record->reason, "stopped"));
    assert_true(bed.executor->ops->find(bed.executor, (struct attempt_key){ 4, 1 }, &view));
    assert_int_equal(view.state, ATTEMPT_RUNNING);
    assert_int_equal(start(&bed, 4, 1, 3, "1h"), -EEXIST);
    bed.executor->ops->forget(bed.executor, (struct attempt_key){ 1, 1 });
    bed_reopen(&bed);
    assert_int_equal(bed.executor->ops->count(bed.executor), 3);
    assert_false(log_has(&bed, "clash"));
    bed_close(&bed);
}

/* What is bound to a lease stops with it, also while the agent is away; the rest goes on. */
static void test_lease(void **state)
{
    struct attempt_view view;
    struct lease lease;
    struct bed bed;
    int64_t before, after;
    int fd;

    (void)state;
    bed_open(&bed, FLEET);
    fd = open(bed.agent_dir, O_RDONLY | O_DIRECTORY);
    assert_int_equal(lease_open(fd, &lease, NULL), 0);
    lease_set_terms(&lease, 5700, 200, 100); /* on a busy machine, too, all begins before it ends */
    before = clock_wall_ms();
    assert_int_equal(lease_renew(&lease, clock_boot_ms(), NULL), 0);
    after = clock_wall_ms();
    assert_int_equal(start_bound(&bed, 1, 1, 0, "1h", lease.state.number), 0);
    assert_int_equal(start_bound(&bed, 2, 1, 1, "10ms", lease.state.number), 0);
    assert_int_equal(start_bound(&bed, 3, 1, 2, "1h", 0), 0);
    pump_until(&bed, &bed.ended, 2);
    assert_true(bed.last.key.job_id == 1 && bed.last.end == END_LEASE);
    assert_in_range(bed.last.ended_ms, before + 5400, after + 5600);
    /* Another lease, which ends while the agent is away. */
    assert_int_equal(lease_renew(&lease, clock_boot_ms(), NULL), 0);
    while (!lease_is_held(&lease)) /* the one before is about to end: the next begins after it */
        assert_int_equal(lease_renew(&lease, clock_boot_ms(), NULL), 0);
    assert_int_equal(start_bound(&bed, 4, 1, 0, "1h", lease.state.number), 0);
    bed_reopen(&bed);
    pump_until(&bed, &bed.ended, 3);
    assert_true(bed.last.key.job_id == 4 && bed.last.end == END_LEASE);
    assert_true(bed.executor->ops->find(bed.executor, (struct attempt_key){ 3, 1 }, &view));
    assert_int_equal(view.state, ATTEMPT_RUNNING);
    lease_close(&lease);
    close(fd);
    bed_close(&bed);
}

static void test_clash_is_noted(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed, FLEET);
    assert_int_equal(start(&bed, 1, 1, 2, "1h"), 0);
    assert_false(log_has(&bed, "clash"));
    bed_reopen(&bed); /* what is held is known after a restart */
    assert_int_equal(start(&bed, 2, 1, 2, "1h"), 0);
    assert_true(log_has(&bed, "\"clash\":\"2.1\",\"node\":1,\"device\":2"));
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files), cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_draws), cmocka_unit_test(test_life),
        cmocka_unit_test(test_stop),  cmocka_unit_test(test_restart),
        cmocka_unit_test(test_lease), cmocka_unit_test(test_clash_is_noted),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
