#include "agent/slurm_job.h"
#include "agent/slurm_text.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KEPT_MAX 16u

static struct buf recorded(const char *name)
{
    struct buf text = buf_init(1u << 20);
    char path[512];

    snprintf(path, sizeof(path), "%s/slurm/%s", RECORDED_DIR, name);
    if (file_read(path, &text, NULL) < 0)
        fail_msg("%s cannot be read", path);
    return text;
}

struct kept {
    uint32_t count;
    struct slurm_node nodes[KEPT_MAX];
    struct slurm_partition partitions[KEPT_MAX];
    struct slurm_job jobs[KEPT_MAX];
};

static void keep_node(void *context, const struct slurm_node *node)
{
    struct kept *kept = context;

    if (kept->count < KEPT_MAX)
        kept->nodes[kept->count++] = *node;
}

static void keep_partition(void *context, const struct slurm_partition *partition)
{
    struct kept *kept = context;

    if (kept->count < KEPT_MAX)
        kept->partitions[kept->count++] = *partition;
}

static void keep_job(void *context, const struct slurm_job *job)
{
    struct kept *kept = context;

    if (kept->count < KEPT_MAX)
        kept->jobs[kept->count++] = *job;
}

static void nonsense_is_skipped(void **state)
{
    static const char *const texts[] = {
        "",     "\n\n",      "NodeName=",         "NodeName=a b=c|d",
        "||||", "x|RUNNING", "slurm_load: error", "=== = ="
    };
    struct kept kept = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        size_t len = strlen(texts[i]);

        slurm_parse_jobs(texts[i], len, keep_job, &kept);
        slurm_parse_partitions(texts[i], len, keep_partition, &kept);
        assert_int_equal(slurm_parse_submitted(texts[i], len), 0);
    }
    assert_int_equal(kept.count, 0);
    assert_int_equal(slurm_parse_nodes("NodeName=a/b CPUTot=4", 21, keep_node, &kept), 0);
}

static void recorded_nodes_are_read(void **state)
{
    CLEANUP(buf_fini) struct buf text = recorded("nodes_22.05.txt");
    struct kept kept = { 0 };

    (void)state;
    assert_int_equal(slurm_parse_nodes(text.data, text.len, keep_node, &kept), 4);
    assert_string_equal(kept.nodes[0].name, "n1");
    assert_int_equal(kept.nodes[0].cpus, 16);
    assert_int_equal(kept.nodes[0].cpus_used, 2);
    assert_int_equal(kept.nodes[0].memory_bytes, 16000LL << 20);
    assert_string_equal(kept.nodes[0].partitions, "main");
    assert_string_equal(kept.nodes[0].arch, "x86_64");
    assert_int_equal(kept.nodes[0].gres_count, 1);
    assert_string_equal(kept.nodes[0].gres[0].name, "gpu");
    assert_int_equal(kept.nodes[0].gres[0].count, 4);
    assert_int_equal(kept.nodes[0].gres[0].used, 2);
    assert_int_equal(kept.nodes[1].gres[0].used, 0);
    assert_true(slurm_node_is_usable(&kept.nodes[0]));
}

static void recorded_partitions_are_read(void **state)
{
    CLEANUP(buf_fini) struct buf text = recorded("partitions_22.05.txt");
    struct kept kept = { 0 };

    (void)state;
    assert_int_equal(slurm_parse_partitions(text.data, text.len, keep_partition, &kept), 1);
    assert_string_equal(kept.partitions[0].name, "main");
    assert_true(kept.partitions[0].is_default);
    assert_true(kept.partitions[0].up);
    assert_int_equal(kept.partitions[0].time_ms_max, 0);
}

static void recorded_jobs_are_read(void **state)
{
    CLEANUP(buf_fini) struct buf text = recorded("jobs_22.05.txt");
    struct kept kept = { 0 };
    struct attempt_key key = { 0 };

    (void)state;
    assert_int_equal(slurm_parse_jobs(text.data, text.len, keep_job, &kept), 6);
    assert_int_equal(kept.jobs[0].state, SLURM_CANCELLED);
    assert_int_equal(kept.jobs[1].state, SLURM_FAILED);
    assert_int_equal(kept.jobs[4].state, SLURM_PENDING);
    assert_int_equal(kept.jobs[4].start_s, 0);
    assert_int_equal(kept.jobs[5].state, SLURM_RUNNING);
    assert_true(kept.jobs[5].start_s > 1700000000);
    assert_true(slurm_job_parse_name("3af4b421", kept.jobs[1].name, &key));
    assert_int_equal(key.job_id, 3);
    assert_int_equal(key.epoch, 1);
    assert_false(slurm_job_parse_name("3af4b422", kept.jobs[1].name, &key));
    assert_false(slurm_job_parse_name("3af4b421", kept.jobs[0].name, &key));
}

static void gres_are_counted(void **state)
{
    static const struct {
        const char *all, *used;
        uint32_t kinds, first, first_used;
    } table[] = {
        { "gpu:a100:4(S:0-1)", "gpu:a100:1(IDX:2)", 1, 4, 1 },
        { "gpu:a100:4(S:0-1),gpu:v100:2(S:0,1)", "gpu:a100:0(IDX:N/A),gpu:v100:2(IDX:0-1)", 2, 4,
          0 },
        { "gpu:2", "gpu:9", 1, 2, 2 },
        { "gpu", "", 1, 1, 0 },
        { "gpu:../x:3", "", 0, 0, 0 },
        { "", "gpu:1", 0, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        struct slurm_node node = { 0 };

        slurm_parse_gres(table[i].all, strlen(table[i].all), false, &node);
        slurm_parse_gres(table[i].used, strlen(table[i].used), true, &node);
        assert_int_equal(node.gres_count, table[i].kinds);
        assert_int_equal(node.gres[0].count, table[i].first);
        assert_int_equal(node.gres[0].used, table[i].first_used);
    }
}

static void only_ready_nodes_take_jobs(void **state)
{
    static const struct {
        const char *state;
        bool usable;
    } table[] = { { "IDLE", true },          { "MIXED", true },       { "ALLOCATED", true },
                  { "MIXED+PLANNED", true }, { "IDLE+DRAIN", false }, { "DOWN*", false },
                  { "IDLE*", false },        { "IDLE+MAINT", false }, { "", false } };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        struct slurm_node node = { .cpus = 1 };

        snprintf(node.state, sizeof(node.state), "%s", table[i].state);
        assert_int_equal(slurm_node_is_usable(&node), table[i].usable);
    }
}

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } table[] = { { "UNLIMITED", 0 },
                  { "1-02:03:04", 93784000 },
                  { "02:03:04", 7384000 },
                  { "03:04", 184000 },
                  { "03:04.567", 184567 },
                  { "1-02:03", 93780000 },
                  { "60", 3600000 },
                  { "x", -1 },
                  { "", -1 },
                  { "1:2:3:4:5", -1 },
                  { "1-", -1 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        assert_int_equal(slurm_parse_time_ms(table[i].text), table[i].ms);
}

static void events_are_read(void **state)
{
    static const char good[] = "3 1795334382335 n1\n0m0.010000s 0m0.000000s\n0m1.500000s 1m0.25s\n";
    static const char *const bad[] = { "", "x", "3", "3 ", "3 x", "-1 5 n", "256 5 n", "3 -5 n" };
    struct slurm_event event;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_false(slurm_event_parse(bad[i], strlen(bad[i]), &event));
    assert_true(slurm_event_parse(good, strlen(good), &event));
    assert_int_equal(event.exit_code, 3);
    assert_int_equal(event.at_ms, 1795334382335);
    assert_int_equal(event.cpu_ms, 10 + 1500 + 60250);
    assert_string_equal(event.host, "n1");
}

static void a_note_comes_back(void **state)
{
    struct engine_part parts[2] = { { "n1", 2, 4, 1, 1 << 20, UINT64_C(1) << 63 },
                                    { "n2", 1, 2, 0, 0, 0 } };
    struct slurm_note note = { .key = { 12, 3 },
                               .slurm_id = 99,
                               .duration_ms_max = 5000,
                               .grace_ms = 700,
                               .lease = UINT64_C(1) << 40,
                               .save_signal = 10,
                               .save_every_ms = 60000,
                               .save_path = "ck/pt",
                               .array_id = 12,
                               .array_index = 4,
                               .array_count = 9,
                               .user = "ann",
                               .partition = "main",
                               .parts_count = 2,
                               .parts = parts };
    struct slurm_note again = { 0 };
    char dir[] = "/tmp/mains-slurm-test.XXXXXX";
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(slurm_note_read(fd, note.key, &again), -ENOENT);
    assert_int_equal(slurm_note_write(fd, &note), 0);
    assert_int_equal(slurm_note_read(fd, note.key, &again), 0);
    assert_int_equal(again.slurm_id, 99);
    assert_int_equal(again.parts_count, 2);
    assert_string_equal(again.parts[1].node, "n2");
    assert_int_equal(again.parts[0].tasks, 2);
    assert_int_equal(again.parts[0].cpus, 4);
    assert_int_equal(again.parts[0].memory_bytes, 1 << 20);
    assert_true(again.parts[0].device_mask == UINT64_C(1) << 63);
    assert_string_equal(again.partition, "main");
    assert_string_equal(again.user, "ann");
    assert_int_equal(again.array_index, 4);
    assert_true(again.lease == UINT64_C(1) << 40);
    assert_int_equal(again.save_signal, 10);
    assert_int_equal(again.save_every_ms, 60000);
    assert_string_equal(again.save_path, "ck/pt");
    slurm_note_fini(&again);
    close(fd);
    assert_int_equal(dir_remove(dir, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_is_skipped),
        cmocka_unit_test(recorded_nodes_are_read),
        cmocka_unit_test(recorded_partitions_are_read),
        cmocka_unit_test(recorded_jobs_are_read),
        cmocka_unit_test(gres_are_counted),
        cmocka_unit_test(only_ready_nodes_take_jobs),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(events_are_read),
        cmocka_unit_test(a_note_comes_back),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
