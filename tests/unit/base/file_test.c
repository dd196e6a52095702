/* whole files: replaced at once or not at all; folders removed without following links */
#include "base/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int make_folder(void **state)
{
    char *folder = strdup("/tmp/mains-file-test.XXXXXX");

    *state = folder;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    int rc = dir_remove(*state, NULL);

    free(*state);
    return rc;
}

static void test_file_write_replaces_and_reads_back(void **state)
{
    CLEANUP(freep) char *path = path_format("%s/a", (char *)*state);
    CLEANUP(buf_fini) struct buf text = buf_init(16);
    struct err err;
    struct stat st;

    assert_int_equal(file_read(path, &text, &err), -ENOENT);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(file_write(path, "one", 3, 0600, true, &err), 0);
    assert_int_equal(file_write(path, "second", 6, 0600, false, &err), 0);
    assert_int_equal(file_read(path, &text, &err), 0);
    assert_string_equal(text.data, "second");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    buf_clear(&text);
    assert_int_equal(file_write(path, "0123456789abcdefg", 17, 0600, false, &err), 0);
    assert_int_equal(file_read(path, &text, &err), -EFBIG);
}

static void test_file_put_keeps_what_is_no_plain_file(void **state)
{
    CLEANUP(freep) char *target = path_format("%s/target", (char *)*state);
    CLEANUP(freep) char *link = path_format("%s/link", (char *)*state);
    CLEANUP(freep) char *pipe = path_format("%s/pipe", (char *)*state);
    CLEANUP(buf_fini) struct buf text = buf_init(16);
    struct err err;
    struct stat st;
    char got[4];
    int fd;

    assert_int_equal(file_put(target, "one", 3, 0600, &err), 0);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(file_check_put(link, &err), 0);
    assert_int_equal(file_put(link, "two", 3, 0600, &err), 0);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(file_read(target, &text, &err), 0);
    assert_string_equal(text.data, "two");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    fd = open(pipe, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(file_check_put(pipe, &err), 0);
    assert_int_equal(file_put(pipe, "three", 3, 0600, &err), 0);
    assert_int_equal(read(fd, got, sizeof(got)), 3);
    close(fd);
    assert_int_equal(lstat(pipe, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(file_check_put(*state, &err), -EISDIR);
    assert_int_equal(file_put(*state, "one", 3, 0600, &err), -EISDIR);
    assert_int_equal(file_check_put("/none/such/a", &err), -ENOENT);
}

static void test_file_write_into_no_folder_leaves_nothing(void **state)
{
    CLEANUP(freep) char *path = path_format("%s/none/a", (char *)*state);
    struct err err;

    assert_int_equal(file_write(path, "one", 3, 0600, true, &err), -ENOENT);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_dir_make_and_remove(void **state)
{
    CLEANUP(freep) char *deep = path_format("%s/x/y/z", (char *)*state);
    CLEANUP(freep) char *top = path_format("%s/x", (char *)*state);
    CLEANUP(freep) char *keep = path_format("%s/keep", (char *)*state);
    CLEANUP(freep) char *link = path_format("%s/x/link", (char *)*state);
    CLEANUP(freep) char *file = path_format("%s/x/y/file", (char *)*state);
    struct err err;

    assert_int_equal(dir_make(deep, 0700, &err), 0);
    assert_int_equal(dir_make(deep, 0700, &err), 0);
    assert_int_equal(file_write(file, "f", 1, 0600, false, &err), 0);
    assert_int_equal(dir_make(file, 0700, &err), -ENOTDIR);
    assert_int_equal(file_write(keep, "k", 1, 0600, false, &err), 0);
    assert_int_equal(symlink(*state, link), 0);
    assert_int_equal(chmod(deep, 0), 0);
    assert_int_equal(dir_remove(top, &err), 0);
    assert_int_equal(access(top, F_OK), -1);
    assert_int_equal(access(keep, F_OK), 0); /* behind the link, untouched */
    assert_int_equal(dir_remove(top, &err), 0);
}

/* Why it could not be made is said, not that it is not there. */
static void test_dir_make_says_why(void **state)
{
    struct err err;
    int rc = dir_make("/sys/mains-file-test", 0700, &err);

    (void)state;
    assert_true(rc == -EPERM || rc == -EACCES || rc == -EROFS);
}

/* Deeper than descriptors may be open, and than any path reaches. */
static void test_dir_remove_goes_any_deep(void **state)
{
    CLEANUP(freep) char *top = path_format("%s/top", (char *)*state);
    int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err err;

    assert_int_equal(mkdirat(fd, "top", 0700), 0);
    for (int depth = 0; depth < 6000; depth++) {
        int next = openat(fd, depth ? "d" : "top", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        assert_true(next >= 0);
        close(fd);
        fd = next;
        assert_int_equal(mkdirat(fd, "d", 0700), 0);
        if (depth % 100 == 0)
            assert_int_equal(symlinkat("/etc", fd, "link"), 0);
    }
    close(fd);
    assert_int_equal(dir_remove(top, &err), 0);
    assert_int_equal(access(top, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_write_replaces_and_reads_back, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_file_put_keeps_what_is_no_plain_file, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_file_write_into_no_folder_leaves_nothing, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_dir_make_and_remove, make_folder, remove_folder),
        cmocka_unit_test(test_dir_make_says_why),
        cmocka_unit_test_setup_teardown(test_dir_remove_goes_any_deep, make_folder, remove_folder),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
