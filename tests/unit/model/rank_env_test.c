#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "model/rank_env.h"

#include <errno.h>
#include <stdio.h>

static const struct rank_node two_nodes[] = { { "n1", "10.0.0.1", 2 }, { "n2", NULL, 2 } };
static const uint32_t node_devices[] = { 0, 1, 2, 3 };
static const uint32_t task_devices[] = { 2, 3 };

static struct rank_facts facts_of_rank_3(void)
{
    return (struct rank_facts){ .job_id = 77,
                                .array_id = 70,
                                .array_index = 1,
                                .array_count = 4,
                                .attempt = 2,
                                .epoch = 5,
                                .tenant = "lab",
                                .user = "ada",
                                .site = "here",
                                .nodes = two_nodes,
                                .nodes_count = 2,
                                .node_rank = 1,
                                .rank = 3,
                                .local_rank = 1,
                                .devices = task_devices,
                                .devices_count = 2,
                                .share_ppm = 450000,
                                .node_devices = node_devices,
                                .node_devices_count = 4,
                                .visibility_env = "ASCEND_RT_VISIBLE_DEVICES",
                                .workdir = "/jobs/77",
                                .hostfile = "/jobs/77/hosts",
                                .master_port = 29500 };
}

static const char mains_job[] =
    "{\"name\":\"melt\",\"run\":\"x\",\"tasks\":4,\"resources\":{\"cpus\":4,\"devices\":2,"
    "\"memory\":\"1GiB\"},\"array\":{\"temp\":[\"1.0\",\"1.5\"],\"seed\":[1,2]},"
    "\"env\":{\"MASTER_PORT\":\"1\",\"A\":\"b\",\"ASCEND_RT_VISIBLE_DEVICES\":\"9\"},"
    "\"secrets\":{\"S\":{\"value\":\"shh\"}},\"checkpoint\":{\"path\":\"ckpt\"},"
    "\"variants\":{\"cann\":{\"env\":{\"A\":\"c\"}}}}";
static const char script[] = "#!/bin/sh\n#SBATCH -J melt -N 2 -n 4 -c 2 --mem=4G --gres=gpu:4\n"
                             "#SBATCH --array=10-40:10\n:\n";
static const char task[] = "{\"name\":\"t\",\"run\":\"x\",\"tasks\":2,\"origin\":\"skypilot\","
                           "\"resources\":{\"devices\":8}}";

struct expected {
    const char *name;
    const char *value; /* NULL: not set */
};

static void check(struct job_spec *spec, const struct rank_facts *facts,
                  const struct expected *cases, size_t count)
{
    struct arena arena = arena_init(1 << 20);
    struct rank_env env = rank_env_init(&arena);
    size_t faults = 0;

    assert_int_equal(rank_env_add_job(&env, spec, spec->variants_count ? &spec->variants[0] : NULL),
                     0);
    assert_int_equal(rank_env_add_rank(&env, spec, facts), 0);
    for (size_t i = 0; i < count; i++) {
        const char *value = rank_env_find(&env, cases[i].name);

        if (value && cases[i].value ? strcmp(value, cases[i].value) != 0
                                    : value != cases[i].value) {
            print_error("%s=%s, not %s\n", cases[i].name, value ? value : "(none)",
                        cases[i].value ? cases[i].value : "(none)");
            faults++;
        }
    }
    assert_int_equal(faults, 0);
    assert_null(env.list[env.count]); /* as execve wants it */
    for (uint32_t i = 0; i < env.count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcspn(env.list[i], "=") == strcspn(env.list[j], "=") &&
                strncmp(env.list[i], env.list[j], strcspn(env.list[i], "=") + 1) == 0)
                fail_msg("%s and %s", env.list[i], env.list[j]);
    arena_fini(&arena);
}

static struct job_spec *must_parse(const char *text)
{
    struct job_spec *spec = NULL;
    struct err err = { 0 };
    int rc = text[0] == '{' ? spec_parse_json_text(text, strlen(text), &spec, &err)
                            : spec_parse_sbatch("s.sh", text, strlen(text), &spec, NULL, &err);

    if (rc < 0)
        fail_msg("%s", err.text);
    return spec;
}

/* Of a gang over several sites, and of no other. */
static void test_peers(void **state)
{
    static const char peers[] = "10.0.0.1:11,10.0.0.1:12,10.0.0.2:13,10.0.0.2:14";
    struct job_spec *spec = must_parse(mains_job);
    struct rank_facts facts = facts_of_rank_3();
    struct arena arena = arena_init(1 << 20);
    struct rank_env env = rank_env_init(&arena);

    (void)state;
    assert_int_equal(rank_env_add_rank(&env, spec, &facts), 0);
    assert_null(rank_env_find(&env, "MAINS_PEERS"));
    assert_null(rank_env_find(&env, "MAINS_PORT"));
    facts.peers = peers;
    facts.port = 14;
    assert_int_equal(rank_env_add_rank(&env, spec, &facts), 0);
    assert_string_equal(rank_env_find(&env, "MAINS_PEERS"), peers);
    assert_string_equal(rank_env_find(&env, "MAINS_PORT"), "14");
    assert_string_equal(rank_env_find(&env, "MAINS_ADDRESS"), "n2");
    arena_fini(&arena);
    spec_destroy(spec);
}

static void test_mains_and_launchers(void **state)
{
    static const struct expected cases[] = {
        { "MAINS_JOB_ID", "77" },
        { "MAINS_JOB_NAME", "melt" },
        { "MAINS_ATTEMPT", "2" },
        { "MAINS_EPOCH", "5" },
        { "MAINS_RANK", "3" },
        { "MAINS_LOCAL_RANK", "1" },
        { "MAINS_TASKS", "4" },
        { "MAINS_LOCAL_TASKS", "2" },
        { "MAINS_NODE_RANK", "1" },
        { "MAINS_NODE", "n2" },
        { "MAINS_NODES", "n1,n2" },
        { "MAINS_NODES_COUNT", "2" },
        { "MAINS_CPUS", "4" },
        { "MAINS_MEMORY_BYTES", "1073741824" },
        { "MAINS_DEVICES", "2,3" },
        { "MAINS_DEVICES_COUNT", "2" },
        { "MAINS_SHARE", "450000" },
        { "MAINS_WORKDIR", "/jobs/77" },
        { "MAINS_HOSTFILE", "/jobs/77/hosts" },
        { "MAINS_TENANT", "lab" },
        { "MAINS_CHECKPOINT", "ckpt" },
        { "MAINS_ARRAY_ID", "70" },
        { "MAINS_ARRAY_INDEX", "1" },
        { "MAINS_ARRAY_COUNT", "4" },
        { "MAINS_ARRAY_VALUE", "1" },
        { "MAINS_PARAM_TEMP", "1.0" },
        { "MAINS_PARAM_SEED", "2" },
        { "MASTER_ADDR", "10.0.0.1" },
        { "MASTER_PORT", "1" }, /* the job's own */
        { "RANK", "3" },
        { "LOCAL_RANK", "1" },
        { "WORLD_SIZE", "4" },
        { "LOCAL_WORLD_SIZE", "2" },
        { "NODE_RANK", "1" },
        { "GROUP_RANK", "1" },
        { "OMP_NUM_THREADS", "4" },
        { "ASCEND_RT_VISIBLE_DEVICES", "2,3" }, /* never the job's own */
        { "A", "c" },
        { "S", "shh" },
        { "SLURM_JOB_ID", NULL },
        { "SKYPILOT_NODE_RANK", NULL },
    };
    struct job_spec *spec = must_parse(mains_job);
    struct rank_facts facts = facts_of_rank_3();

    (void)state;
    check(spec, &facts, cases, ARRAY_COUNT(cases));
    spec_destroy(spec);
}

static void test_slurm(void **state)
{
    static const struct expected cases[] = {
        { "SLURM_JOB_ID", "77" },
        { "SLURM_JOBID", "77" },
        { "SLURM_JOB_NAME", "melt" },
        { "SLURM_NTASKS", "4" },
        { "SLURM_NPROCS", "4" },
        { "SLURM_CPUS_PER_TASK", "2" },
        { "SLURM_JOB_NUM_NODES", "2" },
        { "SLURM_NNODES", "2" },
        { "SLURM_NODELIST", "n1,n2" },
        { "SLURM_JOB_NODELIST", "n1,n2" },
        { "SLURM_TASKS_PER_NODE", "2(x2)" },
        { "SLURM_NTASKS_PER_NODE", "2" },
        { "SLURM_JOB_CPUS_PER_NODE", "4(x2)" },
        { "SLURM_CPUS_ON_NODE", "4" },
        { "SLURM_MEM_PER_NODE", "4096" },
        { "SLURM_PROCID", "0" },
        { "SLURM_LOCALID", "0" },
        { "SLURM_NODEID", "0" },
        { "SLURM_SUBMIT_DIR", "/jobs/77" },
        { "SLURM_CLUSTER_NAME", "here" },
        { "SLURM_RESTART_COUNT", "1" },
        { "SLURM_ARRAY_JOB_ID", "70" },
        { "SLURM_ARRAY_TASK_ID", "20" },
        { "SLURM_ARRAY_TASK_COUNT", "4" },
        { "SLURM_ARRAY_TASK_MIN", "10" },
        { "SLURM_ARRAY_TASK_MAX", "40" },
        { "SLURM_ARRAY_TASK_STEP", "10" },
        { "SLURM_GPUS", "8" },
        { "SLURM_GPUS_ON_NODE", "4" },
        { "SLURM_JOB_GPUS", "0,1,2,3" },
        { "MAINS_ARRAY_VALUE", "20" },
        { "OMPI_MCA_orte_default_hostfile", "/jobs/77/hosts" },
        { "RANK", NULL }, /* the launcher in the script gives those */
        { "WORLD_SIZE", NULL },
    };
    struct job_spec *spec = must_parse(script);
    struct rank_facts facts = facts_of_rank_3();

    (void)state;
    facts.node_rank = facts.rank = facts.local_rank = 0;
    check(spec, &facts, cases, ARRAY_COUNT(cases));
    spec_destroy(spec);
}

static void test_skypilot(void **state)
{
    static const struct expected cases[] = {
        { "SKYPILOT_NODE_RANK", "1" },
        { "SKYPILOT_NODE_IPS", "10.0.0.1\nn2" },
        { "SKYPILOT_NUM_NODES", "2" },
        { "SKYPILOT_NUM_GPUS_PER_NODE", "8" },
        { "SKYPILOT_TASK_ID", "mains-77_t" },
        { "HOME", "/jobs/77" },
        { "SLURM_JOB_ID", NULL },
    };
    struct job_spec *spec = must_parse(task);
    struct rank_facts facts = facts_of_rank_3();

    (void)state;
    facts.array_id = 0;
    check(spec, &facts, cases, ARRAY_COUNT(cases));
    spec_destroy(spec);
}

/* No device: the visibility variable is there and empty, so that none is seen. */
static void test_no_devices(void **state)
{
    static const struct expected cases[] = {
        { "CUDA_VISIBLE_DEVICES", "" }, { "MAINS_DEVICES", "" },    { "MAINS_DEVICES_COUNT", "0" },
        { "MAINS_ARRAY_ID", NULL },     { "MAINS_HOSTFILE", NULL }, { "MASTER_PORT", NULL },
        { "MAINS_TASKS", "1" }
    };
    struct rank_node node = { "n1", NULL, 1 };
    struct rank_facts facts = { .job_id = 1,
                                .attempt = 1,
                                .nodes = &node,
                                .nodes_count = 1,
                                .visibility_env = "CUDA_VISIBLE_DEVICES" };
    struct job_spec *spec = must_parse("{\"run\":\"x\"}");

    (void)state;
    check(spec, &facts, cases, ARRAY_COUNT(cases));
    spec_destroy(spec);
}

static void test_hostfile(void **state)
{
    struct job_spec *spec = must_parse("{\"run\":\"x\",\"tasks\":4,\"slots\":3}");
    struct rank_facts facts = facts_of_rank_3();
    struct buf out = buf_init(4096);

    (void)state;
    assert_int_equal(rank_hostfile_print(spec, &facts, &out), 0);
    assert_string_equal(out.data, "10.0.0.1 slots=6\nn2 slots=6\n");
    buf_fini(&out);
    spec_destroy(spec);
}

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern;
        const char *text;
    } cases[] = {
        { "plain.out", "plain.out" },
        { "%j", "77" },
        { "%A_%a.out", "70_20.out" },
        { "%5j", "00077" },
        { "%x-%u-%N", "melt-ada-n2" },
        { "%n.%t", "1.3" },
        { "100%%", "100%" },
        { "%", "%" },
        { "%q", "%q" },
        { "%3x", "melt" },
    };
    struct job_spec *spec = must_parse(script);
    struct rank_facts facts = facts_of_rank_3();
    char out[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(rank_expand_pattern(spec, &facts, cases[i].pattern, out, sizeof(out)), 0);
        assert_string_equal(out, cases[i].text);
    }
    assert_int_equal(rank_expand_pattern(spec, &facts, "%j%j", out, 4), -ENAMETOOLONG);
    assert_int_equal(rank_expand_pattern(spec, &facts, "%j%j", out, 5), 0);
    spec_destroy(spec);
}

/* An environment that outgrows its arena says so. */
static void test_no_room(void **state)
{
    struct arena arena = arena_init(2048);
    struct rank_env env = rank_env_init(&arena);
    struct job_spec *spec = must_parse(script);
    struct rank_facts facts = facts_of_rank_3();

    (void)state;
    assert_int_equal(rank_env_add_rank(&env, spec, &facts), -ENOMEM);
    assert_true(env.failed);
    arena_fini(&arena);
    spec_destroy(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_room),  cmocka_unit_test(test_mains_and_launchers),
        cmocka_unit_test(test_peers),    cmocka_unit_test(test_slurm),
        cmocka_unit_test(test_skypilot), cmocka_unit_test(test_no_devices),
        cmocka_unit_test(test_hostfile), cmocka_unit_test(test_patterns),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
