/* What the agent keeps: tenants' numbers, and for how long the folders of old attempts. */
#include "agent/attempt.h"
#include "agent/retain.h"
#include "agent/tenants.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void make_attempt(const char *dir, int number, int64_t ended_s, size_t log_bytes)
{
    char path[256];
    char *log = calloc(1, log_bytes + 1);
    struct timespec times[2] = { { .tv_sec = ended_s }, { .tv_sec = ended_s } };

    snprintf(path, sizeof(path), "%s/attempts/%d.1", dir, number);
    assert_int_equal(dir_make(path, 0700, NULL), 0);
    if (log_bytes) {
        snprintf(path, sizeof(path), "%s/attempts/%d.1/stdout", dir, number);
        assert_int_equal(file_write(path, log, log_bytes, 0600, false, NULL), 0);
    }
    if (ended_s) {
        snprintf(path, sizeof(path), "%s/attempts/%d.1/ended", dir, number);
        assert_int_equal(file_write(path, "{}", 2, 0600, false, NULL), 0);
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    free(log);
}

static bool is_there(const char *dir, int number)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/attempts/%d.1", dir, number);
    return access(path, F_OK) == 0;
}

static void test_retention(void **state)
{
    static const struct {
        struct retain_limits limits;
        const char *left; /* of attempts 1 (oldest) .. 4, and 5, which never ended */
    } rows[] = {
        { { 100, 1000000000, 1 << 30 }, "12345" }, { { 2, 1000000000, 1 << 30 }, "345" },
        { { 0, 1000000000, 1 << 30 }, "5" },       { { 100, 250000, 1 << 30 }, "345" },
        { { 100, 1000000000, 250000 }, "345" },    { { 100, 1000000000, 0 }, "5" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char dir[] = "/tmp/mains-keep-XXXXXX";
        char left[8] = "";

        assert_non_null(mkdtemp(dir));
        for (int n = 1; n <= 5; n++)
            make_attempt(dir, n, n == 5 ? 0 : 1000 + n * 100, 100000);
        retain_run(dir, 1500 * 1000, &rows[i].limits);
        for (int n = 1; n <= 5; n++)
            if (is_there(dir, n))
                left[strlen(left)] = (char)('0' + n);
        assert_string_equal(left, rows[i].left);
        dir_remove(dir, NULL);
    }
}

static void test_tenants_keep_their_uid(void **state)
{
    char dir[] = "/tmp/mains-keep-XXXXXX", path[256];
    struct tenants *tenants;
    uid_t uid;
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(tenants_open(dir, &tenants, NULL), 0);
    assert_int_equal(tenants_find_uid(tenants, "a", &uid, NULL), 0);
    assert_int_equal(uid, TENANT_UID_FIRST);
    assert_int_equal(tenants_find_uid(tenants, "b", &uid, NULL), 0);
    assert_int_equal(uid, TENANT_UID_FIRST + 1);
    assert_int_equal(tenants_find_uid(tenants, "a", &uid, NULL), 0);
    assert_int_equal(uid, TENANT_UID_FIRST);
    tenants_close(tenants);
    /* A crash in the middle of a line. */
    snprintf(path, sizeof(path), "%s/tenants", dir);
    file = fopen(path, "a");
    fputs("61190 hal", file);
    fclose(file);
    assert_int_equal(tenants_open(dir, &tenants, NULL), 0);
    assert_int_equal(tenants_find_uid(tenants, "c", &uid, NULL), 0);
    assert_int_equal(uid, TENANT_UID_FIRST + 2);
    tenants_close(tenants);
    assert_int_equal(tenants_open(dir, &tenants, NULL), 0);
    assert_int_equal(tenants_find_uid(tenants, "c", &uid, NULL), 0);
    assert_int_equal(uid, TENANT_UID_FIRST + 2);
    assert_int_equal(tenants_find_uid(tenants, "b", &uid, NULL), 0);
    assert_int_equal(uid, TENANT_UID_FIRST + 1);
    tenants_close(tenants);
    dir_remove(dir, NULL);
}

static void test_names_and_notes(void **state)
{
    static const struct {
        const char *name;
        bool good;
    } names[] = {
        { "", false },
        { "1", false },
        { ".1", false },
        { "0.1", false },
        { "1.", false },
        { "01.1", false },
        { "1.01", false },
        { "1.1x", false },
        { "-1.1", false },
        { "1.1/x", false },
        { "1.1", true },
        { "18446744073709551615.4294967295", true },
        { "1.1.json", false },
        { "99999999999999999999.1", false },
        { "1.4294967296", false },
    };
    struct attempt_note note = { .type = NOTE_ENDED,
                                 .record = { .key = { 7, 3 },
                                             .end = END_MEMORY,
                                             .exit_code = -9,
                                             .started_ms = 5,
                                             .ended_ms = 6,
                                             .reason = "a \"b\"\n\\ \xff",
                                             .usage = { .cpu_ms = 8, .energy_measured = true },
                                             .devices_count = 2,
                                             .devices = { { 1, 500 }, { 63, 1000 } } } };
    struct attempt_note back;
    struct buf line = buf_init(ATTEMPT_NOTE_BYTES_MAX);
    struct attempt_key key;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (attempt_parse_name(names[i].name, &key) != names[i].good)
            fail_msg("\"%s\"", names[i].name);
    assert_int_equal(attempt_note_print(&note, &line), 0);
    assert_int_equal(attempt_note_parse(line.data, line.len, &back, NULL), 0);
    assert_int_equal(back.record.key.job_id, 7);
    assert_int_equal(back.record.exit_code, -9);
    assert_string_equal(back.record.reason, "a \"b\"?\\ ?");
    assert_int_equal(back.record.devices_count, 2);
    assert_int_equal(back.record.devices[1].milli, 1000);
    assert_true(back.record.usage.energy_measured);
    for (size_t cut = 0; cut + 2 < line.len; cut++) /* torn anywhere, it is refused */
        assert_int_equal(attempt_note_parse(line.data, cut, &back, NULL), -EBADMSG);
    buf_fini(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_tenants_keep_their_uid),
        cmocka_unit_test(test_names_and_notes),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
