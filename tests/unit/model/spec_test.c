#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HEX_NAME "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#include "job_cases.h"
#include "model/chip.h"
#include "model/spec.h"
#include "model/suggest.h"

#include <errno.h>
#include <stdio.h>

#define UNCHANGED ((struct job_spec *)0x5a)

static int parse(const char *text, struct job_spec **spec, struct err *err)
{
    return spec_parse_yaml("job.yaml", text, strlen(text), spec, NULL, err);
}

static struct job_spec *must_parse(const char *text)
{
    struct job_spec *spec = NULL;
    struct err err = { 0 };

    if (parse(text, &spec, &err) < 0)
        fail_msg("%s\n%s", text, err.text);
    return spec;
}

/* NULL when the refusal is as it should be; else what is wrong with it. */
static const char *find_fault(const char *text, const char *at, const char *says, struct err *err)
{
    struct job_spec *spec = UNCHANGED;
    int rc = parse(text, &spec, err);
    char place[64];

    snprintf(place, sizeof(place), "job.yaml:%s: ", at);
    if (rc != -EINVAL && rc != -E2BIG)
        return "accepted, or refused with another code";
    if (spec != UNCHANGED)
        return "left something behind";
    if (strncmp(err->text, place, strlen(place)) != 0)
        return "another place";
    if (!strstr(err->text, says))
        return "another message";
    for (const char *p = err->text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return "a control character in the message";
    return NULL;
}

static void test_bad_jobs(void **state)
{
    size_t faults = 0;

    (void)state;
    assert_true(ARRAY_COUNT(bad_jobs) >= 100);
    for (size_t i = 0; i < ARRAY_COUNT(bad_jobs); i++) {
        struct err err = { 0 };
        const char *fault = find_fault(bad_jobs[i].text, bad_jobs[i].place, bad_jobs[i].says, &err);

        if (fault)
            print_error("%s\n %s: \"%s\"\n expected %s: \"%s\"\n", bad_jobs[i].text, fault,
                        err.text, bad_jobs[i].place, bad_jobs[i].says);
        faults += fault != NULL;
    }
    assert_int_equal(faults, 0);
}

/* Printed and read again, it is the same; so canonical JSON says all that was said. */
static void test_good_jobs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(good_jobs); i++) {
        struct buf first = buf_init(1 << 20), second = buf_init(1 << 20);
        struct job_spec *spec = must_parse(good_jobs[i]);
        struct job_spec *again = NULL;
        struct err err = { 0 };

        assert_int_equal(spec_print_json(spec, true, &first), 0);
        if (spec_parse_json_text(first.data, first.len, &again, &err) < 0)
            fail_msg("%s\n%s\n%s", good_jobs[i], first.data, err.text);
        assert_int_equal(spec_print_json(again, true, &second), 0);
        assert_string_equal(first.data, second.data);
        assert_memory_equal(&spec->request, &again->request, sizeof(spec->request));
        assert_null(strchr(first.data, '\n'));
        spec_destroy(spec);
        spec_destroy(again);
        buf_fini(&first);
        buf_fini(&second);
    }
}

static void test_values(void **state)
{
    struct job_spec *spec =
        must_parse("name: melt\ntasks: {count: 4, per_node: 2}\nlaunch: once\n"
                   "resources: {cpus: 2, memory: 1.5GiB, devices: 0.25, device_memory: 8G,\n"
                   "            chips: [h100, a100], needs: {bf16_tflops: 300.5}}\n"
                   "duration: 1h30m\nclass: high\nenv: {A: 1.10, B: 007, C: yes}\n"
                   "retries: {max: 2, on_exit: [75]}\nrequeue_on_loss: false\n"
                   "where: {sites: {deny: [x]}}\nrun: |\n  a\n  b\n");
    const struct request_shape *shape = &spec->request.shape;

    (void)state;
    assert_string_equal(spec->name, "melt");
    assert_string_equal(spec->run, "a\nb\n");
    assert_int_equal(shape->tasks, 4);
    assert_int_equal(shape->tasks_per_node, 2);
    assert_int_equal(spec->launch, LAUNCH_ONCE);
    assert_int_equal(shape->cpus, 2);
    assert_true(shape->memory_bytes == INT64_C(1536) << 20);
    assert_int_equal(shape->devices_milli, 250);
    assert_true(shape->device_memory_bytes == INT64_C(8) << 30);
    assert_int_equal(shape->chips_count, 2);
    assert_string_equal(shape->chips[1], "a100");
    assert_int_equal(shape->needs[0].metric, METRIC_BF16_TFLOPS);
    assert_int_equal(shape->needs[0].least_milli, 300500);
    assert_int_equal(spec->request.duration_ms_max, 5400000);
    assert_int_equal(spec->request.job_class, CLASS_HIGH);
    assert_int_equal(spec->request.retries_max, 2);
    assert_int_equal(spec->request.retry_codes[0], 75);
    assert_int_equal(spec->request.requeue_on_loss, 0);
    assert_int_equal(shape->places[0].kind, PLACE_SITE);
    assert_int_equal(shape->places[0].deny, 1);
    /* Text in the file stays as it was written. */
    assert_string_equal(spec_env_find(spec, "A"), "1.10");
    assert_string_equal(spec_env_find(spec, "B"), "007");
    assert_string_equal(spec_env_find(spec, "C"), "yes");
    assert_null(spec_env_find(spec, "D"));
    spec_destroy(spec);
}

static void test_defaults(void **state)
{
    struct job_spec *spec = must_parse("run: x");
    struct buf out = buf_init(4096);

    (void)state;
    assert_string_equal(spec->name, "job");
    assert_int_equal(spec->request.shape.tasks, 1);
    assert_int_equal(spec->request.shape.cpus, 1);
    assert_int_equal(spec->request.job_class, CLASS_NORMAL);
    assert_int_equal(spec->request.requeue_on_loss, 1);
    assert_int_equal(spec->slots, 1);
    assert_int_equal(spec->grace_ms, 10000);
    assert_int_equal(spec->log_bytes_max, 64 << 20);
    assert_true(spec->sandbox);
    assert_int_equal(spec_print_json(spec, false, &out), 0);
    assert_string_equal(out.data, "{\"name\":\"job\",\"run\":\"x\"}");
    buf_fini(&out);
    spec_destroy(spec);
}

static void test_secrets_stay_unseen(void **state)
{
    struct job_spec *spec = must_parse("run: x\nsecrets: {T: {value: hunter2}}");
    struct buf out = buf_init(4096);

    (void)state;
    spec_print_json(spec, false, &out);
    assert_null(strstr(out.data, "hunter2"));
    assert_non_null(strstr(out.data, "\"T\":{}"));
    buf_clear(&out);
    spec_print_json(spec, true, &out);
    assert_non_null(strstr(out.data, "\"T\":{\"value\":\"hunter2\"}"));
    buf_fini(&out);
    spec_destroy(spec);
}

static void test_arrays(void **state)
{
    static const char *const crossed[] = { "1a", "1b", "2a", "2b", "3a", "3b" };
    struct job_spec *spec = must_parse("run: x\narray: {n: [1, 2, 3], l: [a, b]}");

    (void)state;
    assert_int_equal(spec->elements_count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        char text[8];

        snprintf(text, sizeof(text), "%s%s", spec_param_value(spec, 0, i),
                 spec_param_value(spec, 1, i));
        assert_string_equal(text, crossed[i]);
        assert_int_equal(spec_range_value(spec, i), i);
    }
    spec_destroy(spec);
    spec = must_parse("run: x\narray: {n: [1, 2], l: [a, b], zip: true, parallel: 1}");
    assert_int_equal(spec->elements_count, 2);
    assert_int_equal(spec->parallel_max, 1);
    assert_string_equal(spec_param_value(spec, 0, 1), "2");
    assert_string_equal(spec_param_value(spec, 1, 1), "b");
    spec_destroy(spec);
    spec = must_parse("run: x\narray: 7,0,3-9:2,5");
    assert_int_equal(spec->elements_count, 5);
    assert_int_equal(spec_range_value(spec, 0), 0);
    assert_int_equal(spec_range_value(spec, 4), 9);
    spec_destroy(spec);
}

static void test_times(void **state)
{
    struct job_spec *spec = must_parse("run: x\nbegin: 1h\ndeadline: 3d");
    struct err err = { 0 };

    (void)state;
    assert_int_equal(spec->request.begin_ms, 0);
    assert_int_equal(spec_resolve_times(spec, 1000, &err), 0);
    assert_int_equal(spec->request.begin_ms, 3601000);
    assert_int_equal(spec->request.deadline_ms, 3 * 86400000 + 1000);
    assert_int_equal(spec->begin_after_ms, 0);
    spec_destroy(spec);
    spec = must_parse("run: x\nbegin: 3d\ndeadline: 1h");
    assert_int_equal(spec_resolve_times(spec, 1000, &err), -EINVAL);
    assert_string_equal(err.field, "deadline");
    assert_int_equal(spec_resolve_times(spec, INT64_MAX, &err), -ERANGE);
    assert_int_equal(spec->request.begin_ms, 0);
    spec_destroy(spec);
}

static void test_unsupported(void **state)
{
    static const struct {
        const char *text;
        const char *field;
        int rc;
    } cases[] = {
        { "run: x", "", 0 },
        { "run: x\nwhere: {sites: {allow: [a]}}\nobjective: greenest\ndeadline: 1d", "", 0 },
        { "run: x\nimage: debian", "", 0 },
        { "run: x\nvariants: {cuda: {image: y}}", "", 0 },
        { "run: x\non_unreachable: move", "", 0 },
        { "run: x\non_unreachable: move\nrequeue_on_loss: false", "on_unreachable", -EINVAL },
        { "run: x\ncheckpoint: {path: c}\nrpo: 1m", "", 0 },
        { "run: x\ncheckpoint: {path: c}\nrto: 1m", "", 0 },
        { "run: x\nsandbox: false\ncheckpoint: {by: criu}", "", 0 },
        { "run: x\nsandbox: false\ncheckpoint: {by: criu, path: images, every: 1h}", "", 0 },
        { "run: x\nsandbox: false\ncheckpoint: {by: criu, path: i, marker: i/complete, signal: "
          "USR1}",
          "", 0 }, /* as it is printed */
        { "run: x\ninputs: [{from: 'ftp://bucket/x', to: x}]", "inputs", -ENOTSUP },
        { "run: x\ninputs: [{from: 's3://bucket/x', to: x}]", "inputs", -EINVAL },
        { "run: x\ninputs: [{from: 'store:12', to: x}]", "inputs", -EINVAL },
        { "run: x\ninputs: [{from: 'store:" HEX_NAME "'}]", "inputs", -EINVAL },
        { "run: x\ninputs: [{from: 'store:" HEX_NAME "/../y', to: x}]", "inputs", -EINVAL },
        { "run: x\ninputs: [{from: 'store:" HEX_NAME "/y', to: x}]", "", 0 },
        { "run: x\ninputs: [{from: 'artifact:x/y', to: x}]", "inputs", -EINVAL },
        { "run: x\ninputs: [{from: 'artifact:12.3/y', to: x}]", "", 0 },
        { "run: x\ninputs: [{from: 'site:lab:y', to: x}]", "inputs", -EINVAL },
        { "run: x\ninputs: [{from: 'site:lab:/y/../../etc', to: x}]", "inputs", -EINVAL },
        { "run: x\ninputs: [{from: 'site:lab:/data/y', to: x}]", "", 0 },
        { "run: x\ninputs: [{from: 'https://', to: x}]", "inputs", -EINVAL },
        { "run: x\ninputs: [{from: 'https://h/x.tgz', to: x, digest: 'sha256:" HEX_NAME "'}]", "",
          0 },
        { "run: x\noutputs: [{from: a, to: 'https://h/x'}]", "outputs", -ENOTSUP },
        { "run: x\ninputs: [a]", "inputs", -EINVAL },
        { "run: x\noutputs: [{from: a, to: b}]", "outputs", -EINVAL },
        { "run: x\nworkdir: a", "workdir", -EINVAL },
        { "run: x\norigin: sbatch\nstdout: ../../x", "stdout", -EINVAL },
        { "run: x\nexport: all", "export", -EINVAL },
        { "run: x\nsecrets: {A: {env: B}}", "secrets", -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct job_spec *spec = must_parse(cases[i].text);
        struct err err = { 0 };
        int rc = spec_check_supported(spec, &err);

        if (rc != cases[i].rc || strcmp(err.field, cases[i].field) != 0)
            fail_msg("%s: %d, field \"%s\", \"%s\"", cases[i].text, rc, err.field, err.text);
        spec_destroy(spec);
    }
}

static void test_json_bodies(void **state)
{
    static const struct {
        const char *text;
        size_t len; /* 0: strlen */
        const char *says;
    } cases[] = {
        { "", 0, "line 1" },
        { "{", 0, "line 1" },
        { "{\"run\":\"x\"}}", 0, "line 1" },
        { "{\"run\":\"x\",\"run\":\"y\"}", 0, "duplicate" },
        { "{\"run\":\"x\",\"env\":{\"A\":\"1\",\"A\":\"2\"}}", 0, "duplicate" },
        { "{\"run\":\"a\\u0000b\"}", 0, "\\u0000" },
        { "{\"run\":\"\xff\"}", 0, "unable to decode byte" },
        { "{\"run\":\"\\ud800\"}", 0, "line 1" },
        { "{\"run\":\"x\",\"tasks\":1e999}", 0, "line 1" },
        { "{\"run\":\"x\",\"tasks\":NaN}", 0, "line 1" },
        { "{\"run\":\"x\",\"tasks\":99999999999999999999}", 0, "too big integer" },
        { "{\"run\":\"x\"}\0", 12, "line 1" },
        { "[1]", 0, "expected a mapping" },
        { "{\"run\":\"x\",\"cpus\":1}", 0, "cpus: unknown key" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct job_spec *spec = UNCHANGED;
        struct err err = { 0 };
        size_t len = cases[i].len ? cases[i].len : strlen(cases[i].text);

        if (spec_parse_json_text(cases[i].text, len, &spec, &err) != -EINVAL || spec != UNCHANGED ||
            !strstr(err.text, cases[i].says))
            fail_msg("%s: \"%s\"", cases[i].text, err.text);
    }
}

/* Texts that are big on purpose: refused, and quickly. */
static void test_big_ones(void **state)
{
    static const struct {
        const char *before, *each, *after;
        size_t times;
        const char *says;
    } cases[] = {
        { "run: ", "x", "", SPEC_TEXT_BYTES_MAX, "KiB of text" },
        { "run: x\nenv: {", "A: b, ", "}", 3, "twice" },
        { "run: x\ncommand: [", "a,", "]", 2000, "expected 1 to 1024" },
        { "run: x\nafter: [", "1,", "]", 65, "more than 64" },
        { "run: x\nwhere: {sites: {allow: [", "a,", "]}}", 17, "more than 16" },
        { "run: x\nresources: {devices: 1, chips: [", "a,", "]}", 17, "more than 16" },
        { "run: x\narray: {a: [", "1,", "]}", 100001, "more than 100000" },
        { "run: x\nname: ", "[", "", 10000, "nested deeper" },
        { "run: x\ninputs: ", "{from: ", "", 10000, "nested deeper" },
        { "run: x\nargs: [", "a,", "]", 300000, "more than 200000 values" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf text = buf_init(8 << 20);
        struct job_spec *spec = UNCHANGED;
        struct err err = { 0 };

        buf_add_text(&text, cases[i].before);
        for (size_t j = 0; j < cases[i].times; j++)
            buf_add_text(&text, cases[i].each);
        buf_add_text(&text, cases[i].after);
        if (parse(text.data, &spec, &err) >= 0 || spec != UNCHANGED ||
            !strstr(err.text, cases[i].says))
            fail_msg("%s...: \"%s\"", cases[i].before, err.text);
        buf_fini(&text);
    }
}

static void test_deep_json(void **state)
{
    struct job_spec *spec = UNCHANGED;
    struct buf text = buf_init(1 << 20);
    struct err err = { 0 };

    (void)state;
    buf_add_text(&text, "{\"run\":");
    for (int i = 0; i < 100000; i++)
        buf_add_char(&text, '[');
    assert_int_equal(spec_parse_json_text(text.data, text.len, &spec, &err), -EINVAL);
    assert_non_null(strstr(err.text, "depth"));
    assert_int_equal(spec_parse_json_text(text.data, SPEC_TEXT_BYTES_MAX + 1, &spec, &err), -E2BIG);
    assert_ptr_equal(spec, UNCHANGED);
    buf_fini(&text);
}

/* Aliases of aliases ("a billion laughs") cost what they are written with. */
static void test_many_aliases(void **state)
{
    struct job_spec *spec = UNCHANGED;
    struct buf text = buf_init(1 << 20);
    struct err err = { 0 };

    (void)state;
    buf_add_text(&text, "env:\n  A: &a0 [x]\n");
    for (int i = 1; i < 60; i++)
        buf_printf(&text, "  A%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1,
                   i - 1, i - 1);
    assert_int_equal(parse(text.data, &spec, &err), -EINVAL);
    assert_non_null(strstr(err.text, "env.A: expected text, not a list"));
    buf_fini(&text);
    spec = must_parse("env: {A: &x hello, B: *x}\nrun: *x");
    assert_string_equal(spec->run, "hello");
    assert_string_equal(spec_env_find(spec, "B"), "hello");
    spec_destroy(spec);
}

static void test_yaml_faults(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *says;
    } cases[] = {
        { "", 0, "job.yaml: empty" },
        { "# nothing\n", 0, "job.yaml: empty" },
        { "a: b: c", 0, "job.yaml:1:" },
        { "run: x\n\tname: y", 0, "not YAML: " },
        { "run: x\nresources:\n\tcpus: 1", 0, "job.yaml:3:1: not YAML: tab" },
        { "run: \"x", 0, "job.yaml:1:7: not YAML" },
        { "run: [x", 0, "job.yaml:" },
        { "run: x\n---\nrun: y", 0, "job.yaml:2:1: a second document" },
        { "run: x\n...\nrun: y", 0, "a second document" },
        { "run: *a", 0, "job.yaml:1:6: no anchor \"a\"" },
        { "env: &e {A: *e}", 0, "no anchor \"e\"" },
        { "<<: {run: x}", 0, "job.yaml:1:1: merge keys" },
        { "run: !!binary aGk=", 0, "job.yaml:1:6: tags" },
        { "run: !x y", 0, "job.yaml:1:6: tags" },
        { "? [a]\n: b", 0, "job.yaml:1:3: expected a plain key" },
        { "run: \"a\\0b\"", 0, "job.yaml:1:6: text with a NUL" },
        { "run: a\0b", 8, "job.yaml:1:1: a NUL byte" },
        { "run: x\nname: \xff\xfe", 0, "job.yaml:2:1: bytes that are no UTF-8" },
        { "run: \xc0\x80", 0, "no UTF-8" },
        { "run: \xed\xa0\x80", 0, "no UTF-8" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct job_spec *spec = UNCHANGED;
        struct err err = { 0 };
        size_t len = cases[i].len ? cases[i].len : strlen(cases[i].text);
        int rc = spec_parse_yaml("job.yaml", cases[i].text, len, &spec, NULL, &err);

        if (rc >= 0 || spec != UNCHANGED || !strstr(err.text, cases[i].says))
            fail_msg("%s: %d \"%s\", not \"%s\"", cases[i].text, rc, err.text, cases[i].says);
    }
    assert_int_equal(
        spec_parse_file("/nonexistent/job.yaml", &(struct job_spec *){ NULL }, NULL, NULL),
        -ENOENT);
}

static void test_suggestions(void **state)
{
    static const char *const words[] = { "resources", "run", "retries", "env" };
    static const struct {
        const char *word, *near;
    } cases[] = { { "resource", "resources" },
                  { "rnu", "run" },
                  { "RUN", "run" },
                  { "retrys", "retries" },
                  { "x", NULL },
                  { "", NULL },
                  { "evn", "env" },
                  { "banana", NULL } };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *near = suggest_word(cases[i].word, words, ARRAY_COUNT(words));

        if (cases[i].near ? !near || strcmp(near, cases[i].near) != 0 : near != NULL)
            fail_msg("%s: %s", cases[i].word, near ? near : "none");
    }
}

/* The reader and the catalogue call a chip's figures the same. */
static void test_needs_are_metrics(void **state)
{
    (void)state;
    for (int i = 0; i < METRIC_COUNT; i++) {
        char text[128];
        struct job_spec *spec;

        snprintf(text, sizeof(text), "run: x\nresources: {devices: 1, needs: {%s: 1}}",
                 chip_metric_name((enum chip_metric)i));
        spec = must_parse(text);
        assert_int_equal(spec->request.shape.needs[0].metric, i);
        spec_destroy(spec);
    }
}

static void test_chip_match(void **state)
{
    (void)state;
    assert_true(request_chip_is_match("h100", "h100-sxm5-80g"));
    assert_true(request_chip_is_match("H100-SXM5-80G", "h100-sxm5-80g"));
    assert_false(request_chip_is_match("h10", "h100-sxm5-80g"));
    assert_false(request_chip_is_match("", "h100"));
    assert_false(request_chip_is_match("h100-sxm5-80g", "h100"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_jobs),
        cmocka_unit_test(test_json_bodies),
        cmocka_unit_test(test_yaml_faults),
        cmocka_unit_test(test_big_ones),
        cmocka_unit_test(test_deep_json),
        cmocka_unit_test(test_many_aliases),
        cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_good_jobs),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_secrets_stay_unseen),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_needs_are_metrics),
        cmocka_unit_test(test_chip_match),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
