/* The lease as the agent and its supervisors see it. */
#include "agent/lease.h"

#include "base/clock.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct bed {
    char dir[64];
    int fd;
    struct lease lease;
};

static int begin(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));
    struct err err;

    assert_non_null(bed);
    strcpy(bed->dir, "/tmp/mains-lease-XXXXXX");
    assert_non_null(mkdtemp(bed->dir));
    bed->fd = open(bed->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(bed->fd >= 0);
    assert_int_equal(lease_open(bed->fd, &bed->lease, &err), 0);
    *state = bed;
    return 0;
}

static int end(void **state)
{
    struct bed *bed = *state;

    lease_close(&bed->lease);
    close(bed->fd);
    dir_remove(bed->dir, NULL);
    free(bed);
    return 0;
}

static void renew(struct bed *bed, int64_t sent_ms)
{
    struct err err;

    assert_int_equal(lease_renew(&bed->lease, sent_ms, &err), 0);
}

static void test_none(void **state)
{
    struct bed *bed = *state;
    struct lease_state seen;

    assert_false(lease_is_held(&bed->lease));
    renew(bed, clock_boot_ms()); /* nobody has given any */
    assert_false(lease_is_held(&bed->lease));
    assert_int_equal(lease_stop_at(bed->fd, 1, &seen), 0);
    lease_set_terms(&bed->lease, 1000, 1000, 100); /* no time is left to run in */
    renew(bed, clock_boot_ms());
    assert_false(lease_is_held(&bed->lease));
}

static void test_renewed(void **state)
{
    struct bed *bed = *state;
    int64_t now = clock_boot_ms();
    struct lease_state seen;

    lease_set_terms(&bed->lease, 60000, 5000, 1000);
    renew(bed, now - 61000); /* answered too late to count */
    assert_false(lease_is_held(&bed->lease));
    renew(bed, now - 1000);
    assert_true(lease_is_held(&bed->lease));
    assert_int_equal(bed->lease.state.ends_ms, now + 59000);
    assert_int_equal(lease_stop_at(bed->fd, 1, &seen), now + 54000);
    assert_int_equal(seen.ends_ms, now + 59000);
    assert_int_equal(lease_stop_at(bed->fd, 2, &seen), 0);
    renew(bed, now - 2000); /* an answer that was overtaken takes nothing away */
    assert_int_equal(bed->lease.state.ends_ms, now + 59000);
    renew(bed, now);
    assert_int_equal(bed->lease.state.ends_ms, now + 60000);
    assert_int_equal(bed->lease.state.number, 1);
}

/* What was begun under one that ended is not under the next. */
static void test_ended(void **state)
{
    struct bed *bed = *state;
    struct lease_state seen;

    lease_set_terms(&bed->lease, 60000, 5000, 1000);
    renew(bed, clock_boot_ms());
    assert_int_equal(bed->lease.state.number, 1);
    bed->lease.state.ends_ms = clock_boot_ms(); /* as if it had passed */
    assert_false(lease_is_held(&bed->lease));
    renew(bed, clock_boot_ms());
    assert_true(lease_is_held(&bed->lease));
    assert_int_equal(bed->lease.state.number, 2);
    assert_int_equal(lease_stop_at(bed->fd, 1, &seen), 0);
    assert_true(lease_stop_at(bed->fd, 2, &seen) > clock_boot_ms());
}

/* An agent that is started again takes up what is there, if the machine was not. */
static void test_taken_up(void **state)
{
    struct bed *bed = *state;
    struct lease_state seen;
    struct lease again;
    uint64_t boot = 42;
    struct err err;
    int fd;

    lease_set_terms(&bed->lease, 60000, 5000, 1000);
    renew(bed, clock_boot_ms());
    assert_int_equal(lease_open(bed->fd, &again, &err), 0);
    assert_true(lease_is_held(&again));
    assert_int_equal(again.state.number, 1);
    lease_close(&again);
    fd = openat(bed->fd, "lease", O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, &boot, sizeof(boot), 8), sizeof(boot)); /* and so damaged */
    close(fd);
    assert_true(lease_read(bed->fd, &seen) < 0);
    assert_int_equal(lease_stop_at(bed->fd, 1, &seen), 0);
    assert_int_equal(lease_open(bed->fd, &again, &err), 0);
    assert_false(lease_is_held(&again));
    lease_close(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_none, begin, end),
        cmocka_unit_test_setup_teardown(test_renewed, begin, end),
        cmocka_unit_test_setup_teardown(test_ended, begin, end),
        cmocka_unit_test_setup_teardown(test_taken_up, begin, end),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
