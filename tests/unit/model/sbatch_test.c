#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "model/spec.h"
#include "model/units.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#define UNCHANGED ((struct job_spec *)0x5a)

static int parse(const char *text, struct job_spec **spec, struct spec_warnings *warnings,
                 struct err *err)
{
    return spec_parse_sbatch("s.sh", text, strlen(text), spec, warnings, err);
}

static struct job_spec *must_parse(const char *text)
{
    struct spec_warnings warnings = { 0 };
    struct job_spec *spec = NULL;
    struct err err = { 0 };

    if (parse(text, &spec, &warnings, &err) < 0)
        fail_msg("%s\n%s", text, err.text);
    if (warnings.count)
        fail_msg("%s\n%s", text, warnings.text.data);
    spec_warnings_fini(&warnings);
    return spec;
}

static void test_refusals(void **state)
{
    static const struct {
        const char *line;
        const char *says;
    } cases[] = {
        { "--ntasks=x", "2:9: --ntasks: expected a whole number" },
        { "--ntasks=0", "--ntasks: expected a whole number" },
        { "--ntasks=-1", "--ntasks: expected a whole number" },
        { "--ntasks=99999999999999999999", "--ntasks: expected a whole number" },
        { "--ntasks", "--ntasks: expected a value" },
        { "-n", "-n: expected a value" },
        { "--ntasks=", "--ntasks: expected a value" },
        { "--nodes=0", "--nodes: expected a whole number" },
        { "--mem=4Q", "--mem: expected a size" },
        { "--mem=-1", "--mem: expected a size" },
        { "--mem=99999999999T", "--mem: expected a size that fits" },
        { "--time=abc", "--time: expected minutes" },
        { "--time=1:99", "--time: expected a duration" },
        { "--time=1h", "--time: expected minutes" },
        { "--gres=gpu:x:y", "--gres: expected a whole number" },
        { "--gpus=a!b:2", "--gpus: expected GPUs such as" },
        { "--gres=gpu:a100:1 --gpus=h100:1", "GPUs of one kind" },
        { "--array=5-1", "--array: expected numbers such as" },
        { "--array=1-1000000", "--array: more than 100000" },
        { "--array=1-3%0", "--array: expected a whole number from 1" },
        { "--array=1,,2", "--array: expected numbers" },
        { "--dependency=after:1", "--dependency: expected afterok:ID" },
        { "--dependency=afterok:abc", "--dependency: expected the id of a job" },
        { "--dependency=afterok:1?afterok:2", "a choice of dependencies" },
        { "--begin=yesterday", "--begin: expected a time" },
        { "--begin=now+1fortnight", "--begin: expected a time such as now+1hour" },
        { "--deadline=25:00", "--deadline: expected a time" },
        { "--signal=FOO@60", "--signal: expected a signal" },
        { "--signal=USR1@x", "--signal: expected a whole number" },
        { "--export=A-B", "--export: expected the name of a variable" },
        { "--export=MAINS_RANK=1", "--export: expected the name of a variable" },
        { "--requeue=1", "--requeue: takes no value" },
        { "--hold", "--hold: held jobs are not offered" },
        { "hetjob", "hetjob: jobs of unlike parts" },
        { "--ntasks=2 stray", "expected an option such as --ntasks=2, not \"stray\"" },
        { "--comment=\"open", "the quote \" has no end" },
        { "--comment=a\x01", "a control character" },
        { "-", "expected an option" },
        { "--=3", "expected an option" },
    };
    size_t faults = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct job_spec *spec = UNCHANGED;
        struct spec_warnings warnings = { 0 };
        struct err err = { 0 };
        char text[256];
        int rc;

        snprintf(text, sizeof(text), "#!/bin/sh\n#SBATCH %s\ntrue\n", cases[i].line);
        rc = parse(text, &spec, &warnings, &err);
        if (rc >= 0 || spec != UNCHANGED || strncmp(err.text, "s.sh:", 5) != 0 ||
            !strstr(err.text, cases[i].says)) {
            print_error("%s: %d \"%s\"\n", cases[i].line, rc, err.text);
            faults++;
        }
        spec_warnings_fini(&warnings);
    }
    assert_int_equal(faults, 0);
}

static void test_not_scripts(void **state)
{
    struct job_spec *spec = UNCHANGED;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(spec_parse_sbatch("s",
                                       "\x7f"
                                       "ELF\0\xff",
                                       6, &spec, NULL, &err),
                     -EINVAL);
    assert_int_equal(parse("", &spec, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "nothing to do"));
    assert_int_equal(parse("#!/bin/sh\n#SBATCH -n 2\r\n:\r\n", &spec, NULL, &err), -EINVAL);
    assert_string_equal(err.text, "s.sh:2: DOS line ends (CR LF): expected a script with LF alone");
    assert_int_equal(parse("#!/bin/\x01sh\n:\n", &spec, NULL, &err), -EINVAL);
    assert_string_equal(err.text, "s.sh:1:8: a control character in the #! line");
    assert_ptr_equal(spec, UNCHANGED);
}

static void test_warnings(void **state)
{
    static const struct {
        const char *line;
        const char *says; /* NULL: no warning */
    } cases[] = {
        { "--ntasks=2", NULL },
        { "--partition=gpu", "s.sh:2: --partition: has no effect here" },
        { "-p gpu", "-p: has no effect here" },
        { "--mail-type=END --mail-user=a@b", "--mail-user: has no effect here" },
        { "--exclusive", "--exclusive: has no effect here" },
        { "--fooo=3", "--fooo: unknown option, left out" },
        { "--fooo 3", "--fooo: unknown option, left out" },
        { "--ntask=3", "did you mean --ntasks?" },
        { "--mem=0", "--mem: the whole node's memory is not claimed" },
        { "--nodes=2-4 --ntasks=4", "--nodes: 2 nodes are taken" },
        { "--nodes=4 --ntasks=2", "2 nodes are not taken" },
        { "--gres=shard:1", "\"shard:1\" is not known here" },
        { "--dependency=singleton", "singleton is not offered" },
        { "--job-name=\"a b\"", "the job is called \"a_b\"" },
        { "--ntasks=2 # --ntasks=x", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct job_spec *spec = NULL;
        struct spec_warnings warnings = { 0 };
        struct err err = { 0 };
        char text[256];

        snprintf(text, sizeof(text), "#!/bin/sh\n#SBATCH %s\ntrue\n", cases[i].line);
        if (parse(text, &spec, &warnings, &err) < 0)
            fail_msg("%s: %s", cases[i].line, err.text);
        if (cases[i].says ? !warnings.count || !strstr(warnings.text.data, cases[i].says)
                          : warnings.count != 0)
            fail_msg("%s: \"%s\"", cases[i].line, warnings.count ? warnings.text.data : "");
        spec_destroy(spec);
        spec_warnings_fini(&warnings);
    }
}

/* tasks, tasks_per_node, cpus, devices, slots and MiB a task that options come to. */
static void test_layout(void **state)
{
    static const struct {
        const char *line;
        uint32_t tasks, per_node, cpus, devices_milli, slots;
        int64_t mib;
    } cases[] = {
        { "--requeue", 1, 0, 1, 0, 1, 0 },
        { "-n 4", 4, 0, 1, 0, 1, 0 },
        { "-n4 -c2", 4, 0, 2, 0, 1, 0 },
        { "-N 2", 2, 1, 1, 0, 1, 0 },
        { "-N 2 -n 8", 8, 4, 1, 0, 1, 0 },
        { "-N 2 --ntasks-per-node=3", 6, 3, 1, 0, 1, 0 },
        { "--ntasks-per-node=3", 3, 3, 1, 0, 1, 0 },
        { "-n 8 --ntasks-per-node=4", 8, 4, 1, 0, 1, 0 },
        { "-n 4 --mem=4G", 4, 0, 1, 0, 1, 1024 },
        { "-n 4 -N 2 --mem=4G", 4, 2, 1, 0, 1, 2048 },
        { "--mem=500", 1, 0, 1, 0, 1, 500 },
        { "-c 4 --mem-per-cpu=500M", 1, 0, 4, 0, 1, 2000 },
        { "--gres=gpu:2", 1, 0, 1, 2000, 1, 0 },
        { "--gres=gpu", 1, 0, 1, 1000, 1, 0 },
        { "--gres=gpu:a100:2,gpu:a100:1", 1, 0, 1, 3000, 1, 0 },
        { "-n 4 --gres=gpu:4", 4, 0, 1, 1000, 1, 0 },
        { "-n 4 --gres=gpu:1", 1, 0, 4, 1000, 4, 0 },
        { "-n 3 -c 2 --gpus=2 --mem-per-cpu=100", 1, 0, 6, 2000, 3, 600 },
        { "-N 2 --gpus-per-node=8 --ntasks-per-node=8", 16, 8, 1, 1000, 1, 0 },
        { "-N 2 -n 6 --gpus=4", 2, 1, 3, 2000, 3, 0 },
        { "-n 2 --gpus-per-task=3", 2, 0, 1, 3000, 1, 0 },
        { "--gpus=2 --cpus-per-gpu=8 --mem-per-gpu=1G", 1, 0, 16, 2000, 1, 2048 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[256];
        struct job_spec *spec;
        const struct request_shape *shape;

        snprintf(text, sizeof(text), "#!/bin/sh\n#SBATCH %s\ntrue\n", cases[i].line);
        spec = must_parse(text);
        shape = &spec->request.shape;
        if (shape->tasks != cases[i].tasks || shape->tasks_per_node != cases[i].per_node ||
            shape->cpus != cases[i].cpus || shape->devices_milli != cases[i].devices_milli ||
            spec->slots != cases[i].slots || shape->memory_bytes != cases[i].mib << 20)
            fail_msg("%s: %u tasks, %u a node, %u cpus, %u/1000 devices, %u slots, %lld MiB",
                     cases[i].line, shape->tasks, shape->tasks_per_node, shape->cpus,
                     shape->devices_milli, spec->slots, (long long)(shape->memory_bytes >> 20));
        spec_destroy(spec);
    }
}

static void test_limits(void **state)
{
    static const struct {
        const char *time;
        int64_t ms;
    } cases[] = { { "90", 5400000 },       { "1:30", 90000 },     { "02:00:00", 7200000 },
                  { "1-0", 86400000 },     { "1-12", 129600000 }, { "1-12:30", 131400000 },
                  { "1-0:0:1", 86401000 }, { "UNLIMITED", 0 },    { "0", 0 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[128];
        struct job_spec *spec;

        snprintf(text, sizeof(text), "#!/bin/sh\n#SBATCH -t %s\ntrue\n", cases[i].time);
        spec = must_parse(text);
        if (spec->request.duration_ms_max != cases[i].ms)
            fail_msg("%s: %lld ms", cases[i].time, (long long)spec->request.duration_ms_max);
        spec_destroy(spec);
    }
}

static void test_whole_script(void **state)
{
    static const char text[] = "#!/bin/bash -l\n"
                               "# a comment\n"
                               "#SBATCH --job-name=melt -o out-%j.txt\n"
                               "##SBATCH --ntasks=9\n"
                               "\n"
                               "#SBATCH --array=1-10:3%2 --gres=gpu:A100:1\n"
                               "#SBATCH --export=ALL,X=1,Y --chdir /tmp\n"
                               "#SBATCH -d afterok:12:13,afternotok:14_3 --signal=B:USR1@120\n"
                               "#SBATCH --comment='hello world' --no-requeue --begin=now+1hour\n"
                               "srun hostname\n";
    struct job_spec *spec = must_parse(text);

    (void)state;
    assert_int_equal(spec->origin, ORIGIN_SBATCH);
    assert_int_equal(spec->launch, LAUNCH_ONCE);
    assert_string_equal(spec->name, "melt");
    assert_string_equal(spec->run, text);
    assert_string_equal(spec->script_interpreter, "/bin/bash -l");
    assert_int_equal(spec->request.shape.tasks, 1);
    assert_string_equal(spec->request.shape.chips[0], "a100");
    assert_string_equal(spec->stdout_pattern, "out-%j.txt");
    assert_string_equal(spec->stderr_pattern, "out-%j.txt");
    assert_int_equal(spec->elements_count, 4);
    assert_int_equal(spec_range_value(spec, 3), 10);
    assert_int_equal(spec->parallel_max, 2);
    assert_true(spec->export_all);
    assert_string_equal(spec_env_find(spec, "X"), "1");
    assert_string_equal(spec->workdir, "/tmp");
    assert_int_equal(spec->after_count, 3);
    assert_string_equal(spec->after[2].job, "14.3");
    assert_int_equal(spec->after[2].kind, DEP_FAILED);
    assert_int_equal(spec->warn_signal, SIGUSR1);
    assert_int_equal(spec->warn_before_ms, 120000);
    assert_string_equal(spec->notes, "hello world");
    assert_int_equal(spec->request.requeue_on_loss, 0);
    assert_int_equal(spec->begin_after_ms, 3600000);
    spec_destroy(spec);
}

static void test_defaults(void **state)
{
    struct job_spec *spec = must_parse("#!/usr/bin/env python3\nprint(1)\n");

    (void)state;
    assert_string_equal(spec->name, "s.sh");
    assert_string_equal(spec->script_interpreter, "/usr/bin/env python3");
    assert_string_equal(spec->stdout_pattern, "slurm-%j.out");
    assert_true(spec->export_all);
    spec_destroy(spec);
    spec = must_parse("#!/bin/sh\n#SBATCH -a 0-3 --export=NONE\ntrue");
    assert_string_equal(spec->stdout_pattern, "slurm-%A_%a.out");
    assert_false(spec->export_all);
    spec_destroy(spec);
    spec = must_parse("#SBATCH --export=A\ntrue");
    assert_null(spec->script_interpreter);
    assert_int_equal(spec->export_names_count, 1);
    spec_destroy(spec);
}

/* Times without a zone are the submitter's own. */
static void test_local_times(void **state)
{
    struct job_spec *spec;

    (void)state;
    setenv("TZ", "Asia/Shanghai", 1);
    tzset();
    spec =
        must_parse("#!/bin/sh\n#SBATCH --begin=2026-11-22T18:00 --deadline=2026-11-22T18:00Z\n:");
    assert_true(spec->request.begin_ms == INT64_C(1795341600000));
    assert_true(spec->request.deadline_ms == INT64_C(1795341600000) + 8 * 3600000);
    spec_destroy(spec);
    spec = must_parse("#!/bin/sh\n#SBATCH --begin=midnight\n:");
    assert_int_equal((spec->request.begin_ms / 1000 + 8 * 3600) % 86400, 0);
    assert_true(spec->request.begin_ms > (int64_t)time(NULL) * 1000);
    spec_destroy(spec);
}

static void test_skypilot(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } bad[] = {
        { "num_nodes: 0\nrun: x", "t.yaml:1:12: num_nodes: expected a whole number" },
        { "num_nodes: 2\nrunn: x", "t.yaml:2:1: runn: unknown key; did you mean \"run\"?" },
        { "num_nodes: 2", "nothing to do" },
        { "resources: {accelerators: 'A100:x'}\nrun: x", "1:27: resources.accelerators: expected" },
        { "resources: {accelerators: [A100:8, H100:4]}\nrun: x", "in different numbers" },
        { "resources: {accelerators: A100, foo: 1}\nrun: x", "resources.foo: unknown key" },
        { "file_mounts: {/data: ./d}\nrun: x", "below the job's work folder" },
        { "file_mounts: {~/../d: ./d}\nrun: x", "without \"..\"" },
        { "file_mounts: {~/d: 's3://b/x'}\nrun: x", "mounts of URLs are not offered yet" },
        { "file_mounts: {~/d: {name: b}}\nrun: x", "mounts of storage are not offered yet" },
        { "service: {replicas: 2}\nrun: x", "services are not offered yet" },
        { "envs: {A: }\nrun: x", "envs.A: expected text, not nothing" },
    };
    static const char good[] =
        "name: my train\nresources:\n  any_of:\n    - {accelerators: 'H100:8', cloud: aws}\n"
        "    - {accelerators: {A100-80GB: 8}}\n  cpus: 16+\n  memory: 64+\n  use_spot: true\n"
        "  job_recovery: {strategy: FAILOVER, max_restarts_on_errors: 3}\n"
        "num_nodes: 2\nworkdir: .\nenvs: {A: 1.10}\nsecrets: {HF_TOKEN: abc}\n"
        "file_mounts: {~/data: ./data}\nsetup: make\nrun: python t.py\n";
    struct spec_warnings warnings = { 0 };
    struct job_spec *spec = UNCHANGED;
    struct err err = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        if (spec_parse_yaml("t.yaml", bad[i].text, strlen(bad[i].text), &spec, NULL, &err) >= 0 ||
            spec != UNCHANGED || !strstr(err.text, bad[i].says))
            fail_msg("%s\n\"%s\"", bad[i].text, err.text);
    if (spec_parse_yaml("t.yaml", good, strlen(good), &spec, &warnings, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(warnings.count, 2);
    assert_non_null(strstr(warnings.text.data, "resources.cloud"));
    assert_int_equal(spec->origin, ORIGIN_SKYPILOT);
    assert_int_equal(spec->launch, LAUNCH_EACH);
    assert_string_equal(spec->name, "my_train");
    assert_int_equal(spec->request.shape.tasks, 2);
    assert_int_equal(spec->request.shape.tasks_per_node, 1);
    assert_int_equal(spec->request.shape.cpus, 16);
    assert_true(spec->request.shape.memory_bytes == INT64_C(64) << 30);
    assert_int_equal(spec->request.shape.devices_milli, 8000);
    assert_int_equal(spec->request.shape.chips_count, 2);
    assert_string_equal(spec->request.shape.chips[1], "a100");
    assert_int_equal(spec->request.retries_max, 3);
    assert_int_equal(spec->inputs_count, 2);
    assert_string_equal(spec->inputs[0].to, ".");
    assert_string_equal(spec->inputs[1].to, "data");
    assert_string_equal(spec_env_find(spec, "A"), "1.10");
    assert_string_equal(spec->secrets[0].value, "abc");
    spec_destroy(spec);
    spec_warnings_fini(&warnings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_not_scripts),
        cmocka_unit_test(test_warnings), cmocka_unit_test(test_layout),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_whole_script),
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_local_times),
        cmocka_unit_test(test_skypilot),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
