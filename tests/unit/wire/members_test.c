#include "base/cleanup.h"
#include "base/file.h"
#include "wire/members.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define PIN_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define PIN_B "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="

struct bed {
    char dir[64];
    struct members *members;
    struct err err;
};

static int set_up(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));

    snprintf(bed->dir, sizeof(bed->dir), "/tmp/mains-members.XXXXXX");
    if (!mkdtemp(bed->dir) ||
        members_open(bed->dir, "mains site token", &bed->members, &bed->err) < 0)
        return -1;
    *state = bed;
    return 0;
}

static int tear_down(void **state)
{
    struct bed *bed = *state;

    members_close(bed->members);
    dir_remove(bed->dir, NULL);
    free(bed);
    return 0;
}

static void test_secret(void **state)
{
    struct bed *bed = *state;
    char secret[TOKEN_TEXT_BYTES], newer[TOKEN_TEXT_BYTES];
    CLEANUP(freep) char *path = path_format("%s/members.json", bed->dir);
    CLEANUP(buf_fini) struct buf text = buf_init(1u << 20);
    struct stat st;

    assert_int_equal(members_check_secret(bed->members, "lab", "mains_x", 0, &bed->err), -EACCES);
    assert_int_equal(members_invite(bed->members, "lab", "phys", 1000, 2000, secret, &bed->err), 0);
    assert_int_equal(members_check_secret(bed->members, "lab", secret, 1999, &bed->err), 0);
    /* Expired; another site's; replaced; used. */
    assert_int_equal(members_check_secret(bed->members, "lab", secret, 2000, &bed->err), -EACCES);
    assert_non_null(strstr(bed->err.text, "expired"));
    assert_int_equal(members_check_secret(bed->members, "lab2", secret, 1500, &bed->err), -EACCES);
    assert_int_equal(members_invite(bed->members, "lab", "phys", 1000, 2000, newer, &bed->err), 0);
    assert_int_equal(members_check_secret(bed->members, "lab", secret, 1500, &bed->err), -EACCES);
    assert_int_equal(members_admit(bed->members, "lab", PIN_A, 1500, 9000, &bed->err), 0);
    assert_int_equal(members_check_secret(bed->members, "lab", newer, 1600, &bed->err), -EACCES);
    assert_non_null(strstr(bed->err.text, "used"));
    /* On the disk: hashes, for the owner's eyes. */
    assert_int_equal(file_read(path, &text, &bed->err), 0);
    assert_null(strstr(text.data, newer));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_key(void **state)
{
    struct bed *bed = *state;
    char secret[TOKEN_TEXT_BYTES];

    assert_false(members_is_key_of(bed->members, "lab", PIN_A));
    assert_int_equal(members_invite(bed->members, "lab", "", 1, 100, secret, &bed->err), 0);
    assert_false(members_is_key_of(bed->members, "lab", ""));
    assert_int_equal(members_admit(bed->members, "lab", PIN_A, 2, 50, &bed->err), 0);
    assert_true(members_is_key_of(bed->members, "lab", PIN_A));
    assert_false(members_is_key_of(bed->members, "home", PIN_A));
    /* It joined again: the older key is over. And all of it survives a restart. */
    assert_int_equal(members_admit(bed->members, "lab", PIN_B, 3, 60, &bed->err), 0);
    members_close(bed->members);
    assert_int_equal(members_open(bed->dir, "mains site token", &bed->members, &bed->err), 0);
    assert_false(members_is_key_of(bed->members, "lab", PIN_A));
    assert_true(members_is_key_of(bed->members, "lab", PIN_B));
    assert_int_equal(members_remove(bed->members, "lab", 4, &bed->err), 0);
    assert_false(members_is_key_of(bed->members, "lab", PIN_B));
    assert_int_equal(members_remove(bed->members, "none", 4, &bed->err), -ENOENT);
}

static void test_damaged_file(void **state)
{
    struct bed *bed = *state;
    CLEANUP(freep) char *path = path_format("%s/members.json", bed->dir);
    struct members *members = NULL;

    assert_int_equal(file_write(path, "[{}]", 4, 0600, false, NULL), 0);
    assert_int_equal(members_open(bed->dir, "mains site token", &members, &bed->err), -EINVAL);
    assert_null(members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_secret, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_file, set_up, tear_down),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
