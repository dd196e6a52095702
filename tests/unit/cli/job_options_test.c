#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/job_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGV_MAX 32

static const struct {
    const char *words[ARGV_MAX]; /* after "submit" */
    const char *path;            /* in what would be sent */
    const char *json;            /* what stands there; NULL = nothing */
} cases[] = {
    { { "--", "./a b" }, "command", "[\"./a b\"]" },
    { { "--", "/usr/bin/env", "x" }, "name", "\"env\"" },
    { { "--name", "n1", "--", "true" }, "name", "\"n1\"" },
    { { "--tasks", "4", "--per-node", "2", "--", "true" },
      "tasks",
      "{\"count\":4,\"per_node\":2}" },
    { { "-c", "3", "--", "true" }, "resources.cpus", "3" },
    { { "--devices", "0.25", "--", "true" }, "resources.devices", "0.25" },
    { { "-d", "1", "--chips", "h100,910b", "--", "true" },
      "resources.chips",
      "[\"h100\",\"910b\"]" },
    { { "-t", "4", "-d", "1", "--mixed", "--", "true" }, "resources.mixed", "true" },
    { { "-t", "4", "--across", "2", "--", "true" }, "resources.sites", "2" },
    { { "-d", "1", "--need", "bf16_tflops=300", "--", "true" },
      "resources.needs.bf16_tflops",
      "300" },
    { { "--class", "high", "--", "true" }, "class", "\"high\"" },
    { { "--env", "A=1=2", "--env", "B=", "--", "true" }, "env", "{\"A\":\"1=2\",\"B\":\"\"}" },
    { { "--no-sandbox", "--", "true" }, "sandbox", "false" },
    { { "--", "true" }, "sandbox", NULL },
    { { "--retries", "2", "--", "true" }, "retries", NULL }, /* bare or an object: see below */
    { { "--launch", "once", "--", "true" }, "launch", "\"once\"" },
    { { "--site", "a,b", "--", "true" }, "where.sites.allow", "[\"a\",\"b\"]" },
    { { "--workdir", "/srv", "--", "true" }, "workdir", "\"/srv\"" },
    { { "--scratch", "--", "true" }, "workdir", NULL },
};

static int read_job(const char *const *words, bool here, struct job_text *text, struct err *err)
{
    struct cli_args *args = calloc(1, sizeof(*args));
    char *argv[ARGV_MAX + 2] = { "submit" };
    struct job_source source = { .args = args, .here = here };
    int argc = 1;
    int rc;

    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    rc = cli_args_parse(&cmd_submit, argc, argv, args, err);
    if (rc == 0)
        rc = job_file_read(&source, text, err);
    free(args);
    return rc;
}

static void test_options(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct job_text text = { 0 };
        struct err err = { .text = "" };
        int rc = read_job(cases[i].words, false, &text, &err);
        CLEANUP(freep) char *found = NULL;
        json_t *root;

        if (rc < 0)
            fail_msg("case %zu (%s): %s", i, cases[i].path, err.text);
        root = json_loads(text.json, 0, NULL);
        found = json_dumps(reply_member(root, cases[i].path),
                           JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
        if (strcmp(cases[i].path, "retries") == 0)
            assert_non_null(strchr(found, '2'));
        else if (cases[i].json ? !found || strcmp(found, cases[i].json) != 0 : found != NULL)
            fail_msg("case %zu (%s): %s in %s", i, cases[i].path, found ? found : "none",
                     text.json);
        json_decref(root);
        job_text_fini(&text);
    }
}

static const struct {
    const char *words[ARGV_MAX];
    const char *text; /* a part of the message */
} refused[] = {
    { { "--cpus", "many", "--", "true" }, "cpus" },
    { { "--cpus", "0", "--", "true" }, "cpus" },
    { { "--memory", "lots", "--", "true" }, "memory" },
    { { "--need", "speed", "--", "true" }, "FIGURE=NUMBER" },
    { { "--need", "bf16_tflop=1", "--", "true" }, "bf16_tflops" },
    { { "--time", "-1", "--", "true" }, "duration" },
    { { "--output", "../x", "--", "true" }, "output" },
    { { "--array", "9-1", "--", "true" }, "0-9" },
    { { "--env", "NO_SUCH_VARIABLE_HERE", "--", "true" }, "NO_SUCH_VARIABLE_HERE" },
    { { "--name", "a b", "--", "true" }, "name" },
    { { "no-such-file.yaml" }, "no-such-file.yaml" },
};

static void test_refused(void **state)
{
    (void)state;
    unsetenv("NO_SUCH_VARIABLE_HERE");
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        struct job_text text = { 0 };
        struct err err = { .text = "" };
        int rc = read_job(refused[i].words, false, &text, &err);

        if (rc >= 0 || !strstr(err.text, refused[i].text) || strchr(err.text, '\n'))
            fail_msg("case %zu: rc %d, \"%s\"", i, rc, err.text);
        job_text_fini(&text);
    }
}

static void test_arrays(void **state)
{
    const char *const range[] = { "--array", "0-9%2", "--", "true", NULL };
    const char *const named[] = { "--array", "T=1,2,3", "--array", "P=x,y", "--", "true", NULL };
    struct job_text text = { 0 };
    struct err err;

    (void)state;
    assert_int_equal(read_job(range, false, &text, &err), 0);
    assert_int_equal(text.elements_count, 10);
    assert_non_null(strstr(text.json, "\"parallel\":2"));
    job_text_fini(&text);
    assert_int_equal(read_job(named, false, &text, &err), 0);
    assert_int_equal(text.elements_count, 6);
    job_text_fini(&text);
}

/* A file is told from a program; options win over the file; a command works here. */
static void test_files(void **state)
{
    static const char job[] = "name: from-file\nresources: {cpus: 2, memory: 1G}\nrun: echo hi\n";
    char folder[] = "/tmp/mains-cli-XXXXXX";
    CLEANUP(freep) char *path = NULL;
    CLEANUP(freep) char *program = NULL;
    struct job_text text = { 0 };
    struct err err;

    (void)state;
    assert_non_null(mkdtemp(folder));
    path = path_format("%s/job.yaml", folder);
    program = path_format("%s/program", folder);
    assert_int_equal(file_write(path, job, strlen(job), 0644, false, &err), 0);
    assert_int_equal(file_write(program, "\177ELF\0\0", 6, 0755, false, &err), 0);

    const char *const file_words[] = { "--cpus", "4", path, NULL };
    assert_int_equal(read_job(file_words, true, &text, &err), 0);
    assert_non_null(strstr(text.json, "\"cpus\":4"));
    assert_non_null(strstr(text.json, "echo hi"));
    assert_null(strstr(text.json, "workdir"));
    assert_string_equal(text.name, "from-file");
    job_text_fini(&text);

    const char *const program_words[] = { program, "arg", NULL };
    assert_int_equal(read_job(program_words, true, &text, &err), 0);
    assert_non_null(strstr(text.json, "\"command\":["));
    assert_non_null(strstr(text.json, "\"workdir\":\"/"));
    job_text_fini(&text);
    assert_int_equal(dir_remove(folder, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_files),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
