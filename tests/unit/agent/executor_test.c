/* What an attempt's life looks like from the agent: ends, logs, stops, gangs, restarts. */
#include "bed.h"

#include <signal.h>

static const struct {
    const char *spec;
    uint32_t end;
    int32_t exit_code;
    const char *out, *err;
} cases[] = {
    { "{\"command\":[\"true\"]}", END_EXITED, 0, "", "" },
    { "{\"command\":[\"false\"]}", END_EXITED, 1, "", "" },
    { "{\"command\":[\"/nowhere/x\"]}", END_EXITED, 127, "",
      "mains: /nowhere/x: No such file or directory\n" },
    { "{\"run\":\"exit 42\"}", END_EXITED, 42, "", "" },
    { "{\"run\":\"kill -9 $$\"}", END_SIGNALLED, SIGKILL, "", "" },
    { "{\"run\":\"echo out; echo err >&2\"}", END_EXITED, 0, "out\n", "err\n" },
    { "{\"run\":\"printf %s $A\",\"env\":{\"A\":\"b\"}}", END_EXITED, 0, "b", "" },
    { "{\"run\":\"read x; echo $?\"}", END_EXITED, 0, "1\n", "" },
    { "{\"setup\":\"echo s > f\",\"run\":\"cat f\"}", END_EXITED, 0, "s\n", "" },
    { "{\"setup\":\"exit 3\",\"run\":\"echo never\"}", END_EXITED, 3, "", "" },
};

static void run_cases(bool sandboxed)
{
    struct bed bed;

    bed_open(&bed);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct attempt_order order = bed_order(&bed, sandboxed);

        bed_run_order(&bed, &order, cases[i].spec);
        if (bed.ended.end != cases[i].end || bed.ended.exit_code != cases[i].exit_code)
            fail_msg("%s: end %u, code %d: %s", cases[i].spec, bed.ended.end, bed.ended.exit_code,
                     bed.ended.reason);
        assert_string_equal(bed_read(&bed, "stdout"), cases[i].out);
        assert_string_equal(bed_read(&bed, "stderr"), cases[i].err);
        assert_true(bed.ended.ended_ms >= bed.ended.started_ms && bed.ended.started_ms > 0);
    }
    bed_close(&bed);
}

static void test_ends_and_logs(void **state)
{
    (void)state;
    run_cases(false);
}

static void test_ends_and_logs_sandboxed(void **state)
{
    (void)state;
    run_cases(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_and_logs),
        cmocka_unit_test(test_ends_and_logs_sandboxed),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
