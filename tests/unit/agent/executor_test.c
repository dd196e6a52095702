/* What an attempt's life looks like from the agent: ends, logs, limits, stops, gangs, restarts. */
#include "bed.h"

#include <dirent.h>
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
    { "{\"command\":[\"/etc/passwd\"]}", END_EXITED, 126, "",
      "mains: /etc/passwd: Permission denied\n" },
    { "{\"run\":\"exit 42\"}", END_EXITED, 42, "", "" },
    { "{\"run\":\"kill -9 $$\"}", END_SIGNALLED, SIGKILL, "", "" },
    { "{\"run\":\"echo out; echo err >&2\"}", END_EXITED, 0, "out\n", "err\n" },
    { "{\"run\":\"printf %s $A\",\"env\":{\"A\":\"b\"}}", END_EXITED, 0, "b", "" },
    { "{\"run\":\"read x; echo $?\"}", END_EXITED, 0, "1\n", "" },
    { "{\"run\":\"ulimit -c\"}", END_EXITED, 0, "0\n", "" },
    { "{\"setup\":\"echo s > f\",\"run\":\"cat f\"}", END_EXITED, 0, "s\n", "" },
    { "{\"setup\":\"exit 3\",\"run\":\"echo never\"}", END_EXITED, 3, "", "" },
    { "{\"run\":\"cat f; stat -c %a g\",\"inputs\":[{\"to\":\"f\",\"content\":\"c\"},"
      "{\"to\":\"g\",\"content\":\"d\",\"executable\":true}]}",
      END_EXITED, 0, "c755\n", "" },
    { "{\"run\":\"trap 'echo bye; exit 9' TERM; kill $$; sleep 5\"}", END_EXITED, 9, "bye\n", "" },
    { "{\"run\":\"echo $MAINS_RANK/$MAINS_TASKS $MAINS_JOB_NAME\"}", END_EXITED, 0, "0/1 job\n",
      "" },
    { "{\"run\":\"print(6*7)\",\"interpreter\":\"/usr/bin/awk -f\"}", END_EXITED, 2, NULL, NULL },
    { "{\"run\":\"BEGIN{print 6*7}\",\"interpreter\":\"/usr/bin/awk -f\"}", END_EXITED, 0, "42\n",
      "" },
    { "{\"run\":\"echo x\",\"image\":\"debian\"}", END_START_FAILED, 0, "", "" },
    { "{\"run\":\"pwd\",\"workdir\":\"/tmp\"}", END_START_FAILED, 0, "", "" },
    { "{\"run\":\"cat p\",\"inputs\":[{\"from\":\"/etc/passwd\",\"to\":\"p\"}]}", END_START_FAILED,
      0, "", "" },
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
        if (cases[i].out)
            assert_string_equal(bed_read(&bed, "stdout"), cases[i].out);
        if (cases[i].err)
            assert_string_equal(bed_read(&bed, "stderr"), cases[i].err);
        assert_true(bed.ended.ended_ms >= bed.ended.started_ms);
        assert_true((bed.ended.started_ms > 0) == (bed.ended.end != END_START_FAILED));
        assert_true((bed.ended.reason[0] != '\0') == (bed.ended.end == END_START_FAILED) ||
                    bed.ended.exit_code == 3);
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

/* Each must end within the wait though it would like to go on for ever. */
static const struct {
    const char *what, *spec;
    int64_t duration_ms, memory_bytes, disk_bytes;
    uint32_t processes;
    uint32_t end;
} limits[] = {
    { "duration", "{\"run\":\"sleep 100\",\"grace\":\"0s\"}", 200, 0, 0, 0, END_TIME_LIMIT },
    { "duration, TERM ignored", "{\"run\":\"trap '' TERM; sleep 100\",\"grace\":\"0s\"}", 200, 0, 0,
      0, END_TIME_LIMIT },
    { "memory", "{\"run\":\"head -c 200000000 /dev/zero | tail -c 200000000 | wc\"}", 0, 32 << 20,
      0, 0, END_MEMORY },
    { "memory, of a child",
      "{\"run\":\"head -c 200000000 /dev/zero | tail -c 200000000; sleep 100\"}", 0, 32 << 20, 0, 0,
      END_MEMORY },
    { "one file", "{\"run\":\"exec head -c 100000000 /dev/zero > f\"}", 0, 0, 16 << 20, 0,
      END_DISK },
    { "many files",
      "{\"run\":\"for i in 1 2 3 4 5 6; do head -c 4000000 /dev/zero > $i; done; sleep 100\"}", 0,
      0, 16 << 20, 0, END_DISK },
    { "files without names",
      "{\"run\":\"exec 3>a 4>b 5>c; rm a b c; for i in 3 4 5; do head -c 8000000 /dev/zero >&$i; "
      "done; sleep 100\"}",
      0, 0, 16 << 20, 0, END_DISK },
};

static void test_limits(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed);
    for (size_t i = 0; i < 2 * ARRAY_COUNT(limits); i++) {
        struct attempt_order order = bed_order(&bed, i % 2);

        if (limits[i / 2].end == END_MEMORY && !bed_has_memory_limit())
            continue;
        order.duration_ms_max = limits[i / 2].duration_ms;
        order.memory_bytes = limits[i / 2].memory_bytes;
        order.disk_bytes = limits[i / 2].disk_bytes;
        bed_run_order(&bed, &order, limits[i / 2].spec);
        if (bed.ended.end != limits[i / 2].end)
            fail_msg("%s: end %u, code %d: %s", limits[i / 2].what, bed.ended.end,
                     bed.ended.exit_code, bed.ended.reason);
    }
    bed_close(&bed);
}

/* A supervisor stands over one attempt after the other: nothing of one is left for the next. */
static void test_nothing_is_left_for_the_next(void **state)
{
    static const char *const before[] = {
        "{\"run\":\"true\",\"image\":\"debian\"}", /* not even begun */
        "{\"run\":\"umask 077; sleep 600 & trap '' TERM; head -c 40000000 /dev/zero | tail -c 1\"}",
        "{\"run\":\"kill -9 $$\"}",
        "{\"run\":\"i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done\"}",
    };
    struct bed bed;

    (void)state;
    bed_open(&bed);
    for (size_t i = 0; i < 40; i++) {
        struct attempt_order order = bed_order(&bed, i % 2);

        order.memory_bytes = 256 << 20;
        bed_run_order(&bed, &order, before[i / 2 % ARRAY_COUNT(before)]);
        order = bed_order(&bed, i % 2);
        bed_run_order(&bed, &order,
                      "{\"run\":\"readlink /proc/self/fd/0; ls /proc/self/fd | wc -l; umask; "
                      "trap; ulimit -v\"}");
        assert_int_equal(bed.ended.exit_code, 0);
        assert_string_equal(bed_read(&bed, "stdout"), "/dev/null\n4\n0022\nunlimited\n");
        assert_true(bed.ended.usage.cpu_ms < 1000);
        if (bed_has_memory_limit())
            assert_true(bed.ended.usage.memory_peak_bytes < 30 << 20);
    }
    bed_close(&bed);
}

static void test_processes_are_bounded(void **state)
{
    struct bed bed;
    struct attempt_order order;

    (void)state;
    if (!bed_has_memory_limit()) /* no cgroups here: nothing bounds them but the user's own limit */
        skip();
    bed_open(&bed);
    order = bed_order(&bed, true);
    order.processes_max = 20;
    bed_run_order(
        &bed, &order,
        "{\"run\":\"i=0; while [ $i -lt 40 ]; do sleep 9 & i=$((i+1)); done; echo all\"}");
    assert_string_not_equal(bed_read(&bed, "stdout"), "all\n");
    assert_non_null(strstr(bed_read(&bed, "stderr"), "fork"));
    bed_close(&bed);
}

/* What a job leaves running, however it hides it, is gone once it is told as ended. */
static void test_nothing_outlives(void **state)
{
    static const char *const hides[] = {
        "sleep 54321 &",
        "setsid sleep 54321 &",
        "(setsid sh -c 'trap \\\"\\\" TERM HUP INT; sleep 54321; sleep 54321' &) &",
        "(setsid sh -c 'setsid sh -c \\\"setsid sleep 54321 &\\\" &' &)",
        "nohup sleep 54321 > /dev/null 2>&1 & sleep 0.05",
    };
    struct bed bed;

    (void)state;
    bed_open(&bed);
    for (size_t i = 0; i < 2 * ARRAY_COUNT(hides); i++) {
        bed_run(&bed, i % 2, hides[i / 2]);
        if (bed_count_processes("54321") != 0)
            fail_msg("%s: outlived its attempt", hides[i / 2]);
    }
    bed_close(&bed);
}

static void test_stop(void **state)
{
    static const struct {
        const char *run;
        int64_t grace_ms;
        const char *out;
    } rows[] = {
        { "echo on; sleep 100", -1, "on\n" },
        { "trap '' TERM; echo on; while :; do sleep 0.1; done", 100, "on\n" },
        { "trap 'echo bye; exit 0' TERM; echo on; while :; do sleep 0.02; done", 5000,
          "on\nbye\n" },
    };
    struct bed bed;

    (void)state;
    bed_open(&bed);
    for (size_t i = 0; i < 2 * ARRAY_COUNT(rows); i++) {
        struct attempt_order order = bed_order(&bed, i % 2);
        uint32_t ended = bed.ended_count, started = bed.started_count;
        char spec[512];

        snprintf(spec, sizeof(spec), "{\"run\":\"%s\"}", rows[i / 2].run);
        bed_start(&bed, &order, spec);
        assert_true(bed_wait(&bed, 0, started + 1));
        bed.ended.key = order.key;
        for (int tries = 0; tries < 500 && !bed_read(&bed, "stdout")[0]; tries++)
            poll(NULL, 0, 10);
        assert_int_equal(bed.executor->ops->stop(bed.executor, order.key, rows[i / 2].grace_ms,
                                                 "asked to", NULL),
                         0);
        assert_true(bed_wait(&bed, ended + 1, 0));
        assert_int_equal(bed.ended.end, END_STOPPED);
        assert_string_equal(bed.ended.reason, "asked to");
        assert_string_equal(bed_read(&bed, "stdout"), rows[i / 2].out);
        assert_int_equal(bed.executor->ops->stop(bed.executor, order.key, 0, "again", NULL),
                         -ENOENT);
    }
    bed_close(&bed);
}

/* Asked to stop at once after the order, before the supervisor can have done anything. */
static void test_stop_races_start(void **state)
{
    struct bed bed;

    (void)state;
    bed_open(&bed);
    for (int i = 0; i < 10; i++) {
        struct attempt_order order = bed_order(&bed, i % 2);
        uint32_t ended = bed.ended_count;

        bed_start(&bed, &order, "{\"run\":\"sleep 100\"}");
        if (i % 3)
            poll(NULL, 0, i % 3);
        bed.executor->ops->stop(bed.executor, order.key, 0, "at once", NULL);
        assert_true(bed_wait(&bed, ended + 1, 0));
        assert_int_equal(bed.ended.end, END_STOPPED);
    }
    bed_close(&bed);
}

static void test_gang(void **state)
{
    struct bed bed;
    struct attempt_order order;

    (void)state;
    bed_open(&bed);
    for (int i = 0; i < 2; i++) {
        order = bed_order(&bed, i);
        order.tasks = 3;
        bed_run_order(&bed, &order, "{\"tasks\":3,\"run\":\"[ $RANK = 1 ] && exit 5; sleep 100\"}");
        assert_int_equal(bed.ended.end, END_EXITED);
        assert_int_equal(bed.ended.exit_code, 5);
        assert_string_equal(bed.ended.reason, "rank 1 ended first");
        order = bed_order(&bed, i);
        order.tasks = 3;
        bed_run_order(&bed, &order,
                      "{\"tasks\":3,\"run\":\"echo $RANK of $WORLD_SIZE > r$RANK\","
                      "\"outputs\":[\"r*\"]}");
        assert_int_equal(bed.ended.exit_code, 0);
        assert_string_equal(bed_read(&bed, "outputs/r2"), "2 of 3\n");
        order = bed_order(&bed, i);
        order.tasks = 3;
        bed_run_order(&bed, &order,
                      "{\"tasks\":3,\"launch\":\"once\",\"run\":\"cat "
                      "$MAINS_HOSTFILE; echo $MAINS_RANK\"}");
        assert_string_equal(bed_read(&bed, "stdout"), "127.0.0.1 slots=3\n0\n");
    }
    bed_close(&bed);
}

static void test_logs_are_bounded(void **state)
{
    struct bed bed;
    struct attempt_order order;
    const char *text;

    (void)state;
    bed_open(&bed);
    order = bed_order(&bed, false);
    bed_run_order(&bed, &order,
                  "{\"run\":\"head -c 3000000 /dev/zero | tr '\\\\0' x\",\"log_limit\":\"8K\"}");
    text = bed_read(&bed, "stdout");
    assert_int_equal(bed.ended.end, END_EXITED);
    assert_string_equal(text + 8192, "\n[mains: stdout truncated at 8192 bytes]\n");
    bed_close(&bed);
}

static void test_warning_signal(void **state)
{
    struct bed bed;
    struct attempt_order order;

    (void)state;
    bed_open(&bed);
    for (int i = 0; i < 2; i++) {
        order = bed_order(&bed, i);
        order.duration_ms_max = 12000;
        bed_run_order(
            &bed, &order,
            "{\"signal\":{\"name\":\"USR1\",\"before\":\"5s\"},\"run\":\"trap 'echo soon; "
            "exit 4' USR1; while :; do sleep 0.02; done\"}");
        assert_string_equal(bed_read(&bed, "stdout"), "soon\n");
        assert_int_equal(bed.ended.exit_code, 4);
    }
    bed_close(&bed);
}

static void test_same_epoch_runs_once(void **state)
{
    struct bed bed;
    struct attempt_order order;
    struct attempt_record record;
    static const char spec[] = "{\"run\":\"exit 6\"}";

    (void)state;
    bed_open(&bed);
    order = bed_order(&bed, false);
    bed_start(&bed, &order, spec);
    assert_int_equal(bed.executor->ops->start(bed.executor, &order, spec, NULL), -EEXIST);
    assert_true(bed_wait(&bed, 1, 0));
    assert_int_equal(bed.executor->ops->start(bed.executor, &order, spec, NULL), -EEXIST);
    bed.executor->ops->acknowledge(bed.executor, order.key);
    assert_int_equal(bed.executor->ops->count(bed.executor), 0);
    assert_int_equal(bed.executor->ops->start(bed.executor, &order, spec, NULL), -EEXIST);
    assert_true(bed.executor->ops->recall(bed.executor, order.key, &record));
    assert_int_equal(record.exit_code, 6);
    assert_int_equal(bed.ended_count, 1);
    bed_close(&bed);
}

/* A folder that held nothing worth keeping serves again, for whoever comes next. */
static void test_folders_serve_again(void **state)
{
    struct bed bed;
    struct attempt_order order;
    char path[256];

    (void)state;
    bed_open(&bed);
    for (uint32_t i = 0; i < 6; i++) {
        order = bed_order(&bed, i != 3);
        if (order.drop)
            order.uid = order.gid = BED_JOB_UID + i / 2;
        bed_run_order(
            &bed, &order,
            "{\"run\":\"[ -z \\\"$(ls -A)\\\" ] && [ $(stat -c %a .) = 700 ] && echo x > y "
            "&& rm y && chmod 755 . || exit 9\"}");
        assert_int_equal(bed.ended.end, END_EXITED);
        assert_int_equal(bed.ended.exit_code, 0);
        for (int tries = 0; tries < 500; tries++) { /* until its supervisor is quite gone */
            bed.executor->ops->forget(bed.executor, order.key);
            snprintf(path, sizeof(path), "%s/attempts/%" PRIu64 ".1", bed.agent_dir,
                     order.key.job_id);
            if (access(path, F_OK) < 0)
                break;
            poll(NULL, 0, 10);
        }
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(bed.executor->ops->count(bed.executor), 0);
    }
    snprintf(path, sizeof(path), "%s/spare/0", bed.agent_dir);
    assert_int_equal(access(path, F_OK), 0);
    bed_close(&bed);
}

/* The executor (and with it spawner and agent) goes and comes back while jobs run. */
static void test_restart(void **state)
{
    struct bed bed;
    struct attempt_order order;
    struct attempt_view view;

    (void)state;
    bed_open(&bed);
    for (int i = 0; i < 2; i++) {
        uint32_t started = bed.started_count, ended = bed.ended_count;

        order = bed_order(&bed, i);
        bed_start(&bed, &order, "{\"run\":\"sleep 43210; echo done; exit 5\"}");
        assert_true(bed_wait(&bed, 0, started + 1));
        bed.executor->ops->close(bed.executor);
        bed_open_executor(&bed);
        assert_true(bed.executor->ops->find(bed.executor, order.key, &view));
        assert_int_equal(view.state, ATTEMPT_RUNNING);
        for (int tries = 0; tries < 500 && !bed_kill_processes("43210", SIGKILL); tries++)
            poll(NULL, 0, 10);
        assert_true(bed_wait(&bed, ended + 1, 0));
        assert_int_equal(bed.ended.exit_code, 5);
        assert_string_equal(bed_read(&bed, "stdout"), "done\n");

        /* Once more, and now it ends while nobody is there. */
        order = bed_order(&bed, i);
        bed_start(&bed, &order, "{\"run\":\"sleep 0.1; exit 7\"}");
        bed.executor->ops->close(bed.executor);
        for (int tries = 0; tries < 500 && !bed_has_record(&bed, order.key); tries++)
            poll(NULL, 0, 10);
        bed_open_executor(&bed);
        assert_true(bed.executor->ops->find(bed.executor, order.key, &view));
        assert_int_equal(view.state, ATTEMPT_ENDED);
        assert_int_equal(view.record->exit_code, 7);
    }
    bed_close(&bed);
}

static pid_t supervisor_of(struct bed *bed, struct attempt_key key)
{
    bed->ended.key = key;
    return (pid_t)strtol(bed_read(bed, "run"), NULL, 10);
}

static void test_killed_supervisor_is_lost(void **state)
{
    struct bed bed;
    struct attempt_order order;
    struct attempt_view view;

    (void)state;
    bed_open(&bed);
    for (int i = 0; i < 4; i++) {
        bool away = i / 2; /* it dies while no agent is there */
        uint32_t started = bed.started_count, ended = bed.ended_count;

        order = bed_order(&bed, i % 2);
        bed_start(&bed, &order, "{\"run\":\"setsid sleep 65432 & sleep 65432\"}");
        assert_true(bed_wait(&bed, 0, started + 1));
        for (int tries = 0; tries < 500 && bed_count_processes("65432") < 2; tries++)
            poll(NULL, 0, 10);
        if (away)
            bed.executor->ops->close(bed.executor);
        kill(supervisor_of(&bed, order.key), SIGKILL);
        if (away) {
            poll(NULL, 0, 20);
            bed_open_executor(&bed);
        }
        assert_true(bed_wait(&bed, ended + 1, 0));
        assert_true(bed.executor->ops->find(bed.executor, order.key, &view));
        assert_int_equal(view.record->end, END_LOST);
        for (int tries = 0; tries < 500 && bed_count_processes("65432"); tries++)
            poll(NULL, 0, 10);
        assert_int_equal(bed_count_processes("65432"), 0);
    }
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_and_logs),
        cmocka_unit_test(test_ends_and_logs_sandboxed),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nothing_is_left_for_the_next),
        cmocka_unit_test(test_processes_are_bounded),
        cmocka_unit_test(test_nothing_outlives),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_races_start),
        cmocka_unit_test(test_gang),
        cmocka_unit_test(test_logs_are_bounded),
        cmocka_unit_test(test_warning_signal),
        cmocka_unit_test(test_same_epoch_runs_once),
        cmocka_unit_test(test_folders_serve_again),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_killed_supervisor_is_lost),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
