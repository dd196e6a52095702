#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/file.h"
#include "model/spec.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static char *const environment[] = { "HOME=/home/ada",
                                     "PATH=/bin",
                                     "LANG=C",
                                     "PWD=/elsewhere",
                                     "MAINS_TOKEN=mains_x",
                                     "SLURM_JOB_ID=3",
                                     "CUDA_VISIBLE_DEVICES=0",
                                     "RANK=5",
                                     "HF_TOKEN=hf_x",
                                     "AWS_SECRET_ACCESS_KEY=aws",
                                     "BASH_FUNC_f%%=() { :; }",
                                     "BAD=\xff",
                                     "X=outer",
                                     NULL };

static struct job_spec *must_parse(const char *text)
{
    struct job_spec *spec = NULL;
    struct err err = { 0 };
    int rc = text[0] == '#' ? spec_parse_sbatch("s.sh", text, strlen(text), &spec, NULL, &err)
                            : spec_parse_yaml("j.yaml", text, strlen(text), &spec, NULL, &err);

    if (rc < 0)
        fail_msg("%s", err.text);
    return spec;
}

static const char *find_secret(const struct job_spec *spec, const char *name)
{
    for (uint32_t i = 0; i < spec->secrets_count; i++)
        if (strcmp(spec->secrets[i].name, name) == 0)
            return spec->secrets[i].value;
    return NULL;
}

static void test_refusals(void **state)
{
    static const struct {
        const char *text;
        const char *base;
        int rc;
        const char *says;
    } cases[] = {
        { "run: x", "relative", -EINVAL, "expected an absolute folder" },
        { "run: x\nsecrets: {A: {env: NOPE}}", "/b", -ENOENT, "secrets.A: variable NOPE" },
        { "run: x\nsecrets: {A: {file: /nonexistent/s}}", "/b", -ENOENT, "secrets.A" },
        { "run: x\ninputs: [/]", "/b", -EINVAL, "inputs[0]: expected to" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct job_spec *spec = must_parse(cases[i].text);
        struct err err = { 0 };
        int rc = spec_resolve_local(spec, cases[i].base, environment, &err);

        if (rc != cases[i].rc || !strstr(err.text, cases[i].says))
            fail_msg("%s: %d \"%s\"", cases[i].text, rc, err.text);
        spec_destroy(spec);
    }
}

static void test_paths(void **state)
{
    struct job_spec *spec =
        must_parse("run: x\nworkdir: w\ninputs: [a/./b, ../c, ~/d, {from: /e//f, to: g},"
                   " 's3://b/x', {content: hi, to: h}]\n"
                   "outputs: [keep, {from: out, to: ../../../../results}]");
    struct err err = { 0 };

    (void)state;
    assert_int_equal(spec_resolve_local(spec, "/base/dir", environment, &err), 0);
    assert_string_equal(spec->workdir, "/base/dir/w");
    assert_string_equal(spec->inputs[0].from, "/base/dir/a/b");
    assert_string_equal(spec->inputs[0].to, "b");
    assert_string_equal(spec->inputs[1].from, "/base/c");
    assert_string_equal(spec->inputs[2].from, "/home/ada/d");
    assert_string_equal(spec->inputs[3].from, "/e/f");
    assert_string_equal(spec->inputs[3].to, "g");
    assert_string_equal(spec->inputs[4].from, "s3://b/x");
    assert_null(spec->outputs[0].to);
    assert_string_equal(spec->outputs[1].to, "/results");
    spec_destroy(spec);
}

static void test_secrets(void **state)
{
    char path[] = "/tmp/mains-secret-XXXXXX";
    int fd = mkstemp(path);
    char text[256];
    struct job_spec *spec;
    struct err err = { 0 };

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "from file\n", 10), 10);
    close(fd);
    snprintf(text, sizeof(text), "run: x\nsecrets: {A: {env: HF_TOKEN}, B: {file: %s}}", path);
    spec = must_parse(text);
    assert_int_equal(spec_resolve_local(spec, "/", environment, &err), 0);
    assert_string_equal(find_secret(spec, "A"), "hf_x");
    assert_string_equal(find_secret(spec, "B"), "from file");
    assert_int_equal(spec_check_supported(spec, &err), 0);
    spec_destroy(spec);
    unlink(path);
}

/* A script takes the submitter's environment along, but not what belongs to the shell, to another
 * launcher or to mains; and nothing secret in the clear. */
static void test_export(void **state)
{
    struct job_spec *spec = must_parse("#!/bin/sh\n#SBATCH --export=ALL,X=inner\n:\n");
    struct buf out = buf_init(1 << 20);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(spec_resolve_local(spec, "/home/ada/p", environment, &err), 0);
    assert_string_equal(spec_env_find(spec, "PATH"), "/bin");
    assert_string_equal(spec_env_find(spec, "X"), "inner");
    assert_null(spec_env_find(spec, "PWD"));
    assert_null(spec_env_find(spec, "MAINS_TOKEN"));
    assert_null(find_secret(spec, "MAINS_TOKEN"));
    assert_null(spec_env_find(spec, "SLURM_JOB_ID"));
    assert_null(spec_env_find(spec, "CUDA_VISIBLE_DEVICES"));
    assert_null(spec_env_find(spec, "RANK"));
    assert_null(spec_env_find(spec, "BAD"));
    assert_null(spec_env_find(spec, "HF_TOKEN"));
    assert_string_equal(find_secret(spec, "HF_TOKEN"), "hf_x");
    assert_string_equal(find_secret(spec, "AWS_SECRET_ACCESS_KEY"), "aws");
    assert_string_equal(spec->workdir, "/home/ada/p");
    assert_string_equal(spec->submit_dir, "/home/ada/p");
    assert_string_equal(spec->stdout_pattern, "/home/ada/p/slurm-%j.out");
    assert_int_equal(spec_check_supported(spec, &err), 0);
    spec_print_json(spec, false, &out);
    assert_null(strstr(out.data, "hf_x"));
    assert_null(strstr(out.data, "\"export\""));
    buf_fini(&out);
    spec_destroy(spec);

    spec = must_parse("run: x\nexport: [LANG, X, NOPE, MAINS_TOKEN]\nenv: {X: own}");
    assert_int_equal(spec_resolve_local(spec, "/", environment, &err), 0);
    assert_int_equal(spec->env_count, 2);
    assert_string_equal(spec_env_find(spec, "LANG"), "C");
    assert_string_equal(spec_env_find(spec, "X"), "own");
    spec_destroy(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_export),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
