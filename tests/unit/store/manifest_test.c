/* manifests: what a stranger may not write into one, and that one tree has one text */
#include "store/chunker.h"
#include "store/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define V "mains-manifest 1\n"
#define ID "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"

static const struct {
    const char *text;
    int rc;
} cases[] = {
    { "", -EBADMSG },
    { "mains-manifest 2\nend 0 0\n", -EBADMSG },
    { V, -EBADMSG },
    { V "end 0 0", -EBADMSG },
    { V "end 0 1\n", -EBADMSG },
    { V "end 00 0\n", -EBADMSG },
    { V "end 0 0 \n", -EBADMSG },
    { V "end 0 0\n\n", -EBADMSG },
    { V "\nend 0 0\n", -EBADMSG },
    { V "x\nend 0 0\n", -EBADMSG },
    /* paths */
    { V "d 755 \nend 1 0\n", -EINVAL },
    { V "d 755\nend 1 0\n", -EINVAL },
    { V "d 755 /etc\nend 1 0\n", -EINVAL },
    { V "d 755 .\nend 1 0\n", -EINVAL },
    { V "d 755 ..\nend 1 0\n", -EINVAL },
    { V "d 755 a\nd 755 a/..\nend 2 0\n", -EINVAL },
    { V "d 755 a\nd 755 a/../b\nend 2 0\n", -EINVAL },
    { V "d 755 a//b\nend 1 0\n", -EINVAL },
    { V "d 755 a/\nend 1 0\n", -EINVAL },
    { V "d 755 a\tb\nend 1 0\n", -EINVAL },
    { V "d 755 a/b\nend 1 0\n", -EINVAL },                     /* no parent */
    { V "f 644 0 a\nf 644 0 a/b\nend 2 0\n", -EINVAL },        /* parent a file */
    { V "l a\n> b\nf 644 0 a/b\nend 2 0\n", -EINVAL },         /* parent a link */
    { V "d 755 b\nd 755 a\nend 2 0\n", -EINVAL },              /* out of order */
    { V "d 755 a\nd 755 a\nend 2 0\n", -EINVAL },              /* twice */
    { V "d 755 a\nd 755 a-b\nd 755 a/b\nend 3 0\n", -EINVAL }, /* '/' comes first */
    /* modes and numbers */
    { V "d 4755 a\nend 1 0\n", -EBADMSG },
    { V "d 0755 a\nend 1 0\n", -EBADMSG },
    { V "d 888 a\nend 1 0\n", -EBADMSG },
    { V "d -1 a\nend 1 0\n", -EBADMSG },
    { V "f 644 99999999999999999999 a\nend 1 0\n", -EBADMSG },
    { V "f 644 1 a\nend 1 0\n", -EBADMSG }, /* a size without chunks */
    { V "f 644 1 a\n" ID " 2\nend 1 1\n", -EBADMSG },
    { V "f 644 0 a\n" ID " 0\nend 1 1\n", -EINVAL },
    { V "f 644 524289 a\n" ID " 524289\nend 1 1\n", -EBADMSG },
    { V "f 644 2 a\n" ID " 1\n" ID " 1\nend 1 2\n", -EINVAL }, /* a short one inside */
    { V "f 644 1 a\n" ID " 1 \nend 1 1\n", -EBADMSG },
    { V "f 644 1 a\n" ID " +1\nend 1 1\n", -EBADMSG },
    { V ID " 1\nend 0 1\n", -EINVAL },
    { V "d 755 a\n" ID " 1\nend 1 1\n", -EINVAL },
    /* links */
    { V "l a\nend 1 0\n", -EBADMSG },
    { V "l a\n> \nend 1 0\n", -EINVAL },
    { V "l a\n> /etc/passwd\nend 1 0\n", -EINVAL },
    { V "l a\n> ..\nend 1 0\n", -EINVAL },
    { V "l a\n> ../a\nend 1 0\n", -EINVAL },
    { V "l a\n> b/../c\nend 1 0\n", -EINVAL }, /* b may be a link that leads up */
    { V "d 755 a\nl a/b\n> ../../c\nend 2 0\n", -EINVAL },
    { V "d 755 a\nl a/b\n> ../c/../../d\nend 2 0\n", -EINVAL },
    /* fine */
    { V "end 0 0\n", 0 },
    { V "d 755 a\nl a/b\n> ../c\nd 0 a/c\nd 755 a-b\nl c\n> a/b\nend 5 0\n", 0 },
    { V "f 644 0 a\nf 755 32769 b b\n" ID " 32768\n" ID " 1\nend 2 2\n", 0 },
    { V "f 644 0 ..a\nf 644 0 ...\nend 2 0\n", -EINVAL },
    { V "f 644 0 ...\nf 644 0 ..a\nend 2 0\n", 0 },
};

static void test_manifest_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        CLEANUP(buf_fini) struct buf text = buf_init(65536);
        struct manifest manifest;
        struct err err = { .text = "" };
        int rc = manifest_parse(cases[i].text, strlen(cases[i].text), NULL, &manifest, &err);

        if (rc != cases[i].rc)
            fail_msg("\"%s\": rc %d, %s", cases[i].text, rc, err.text);
        if (rc < 0) {
            assert_non_null(strstr(err.text, "manifest line "));
            continue;
        }
        assert_int_equal(manifest_print(&manifest, &text), 0);
        assert_string_equal(text.data, cases[i].text);
        manifest_fini(&manifest);
    }
}

static void test_manifest_breaks_off_anywhere(void **state)
{
    static const char text[] =
        V "d 755 a\nl a/b\n> ../c\nf 755 32769 b b\n" ID " 32768\n" ID " 1\nend 3 2\n";

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct manifest manifest;

        if (manifest_parse(text, len, NULL, &manifest, NULL) == 0)
            fail_msg("%zu bytes of it are accepted", len);
    }
    /* A NUL does not hide what follows. */
    assert_int_equal(manifest_parse(text, sizeof(text), NULL, &(struct manifest){ 0 }, NULL),
                     -EBADMSG);
}

static void test_manifest_limits(void **state)
{
    static const char text[] = V "f 644 0 a\nf 755 32769 b b\n" ID " 32768\n" ID " 1\nend 2 2\n";
    static const struct {
        struct manifest_limits limits;
        int rc;
    } limited[] = {
        { { 1, 9, 99999 }, -EFBIG },
        { { 9, 1, 99999 }, -EFBIG },
        { { 9, 9, 32768 }, -EFBIG },
        { { 2, 2, 32769 }, 0 },
        { { UINT32_MAX, UINT32_MAX, INT64_MAX }, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(limited); i++) {
        struct manifest manifest;
        int rc = manifest_parse(text, sizeof(text) - 1, &limited[i].limits, &manifest, NULL);

        assert_int_equal(rc, limited[i].rc);
        if (rc == 0) {
            assert_true(manifest.limits.chunks_max <= MANIFEST_CHUNKS_MAX);
            manifest_fini(&manifest);
        }
    }
}

static void test_manifest_long_and_deep(void **state)
{
    struct manifest manifest = manifest_init(NULL);
    char name[MANIFEST_PATH_BYTES_MAX + 2];
    char deep[256] = "";

    (void)state;
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(manifest_add_dir(&manifest, name, 0, NULL), -EINVAL);
    name[MANIFEST_NAME_BYTES_MAX + 1] = '\0';
    assert_int_equal(manifest_add_dir(&manifest, name, 0, NULL), -EINVAL);
    for (unsigned i = 0; i < MANIFEST_DEPTH_MAX + 1; i++) {
        size_t len = strlen(deep);

        snprintf(deep + len, sizeof(deep) - len, "%sd", i ? "/" : "");
        assert_int_equal(manifest_add_dir(&manifest, deep, 0, NULL),
                         i < MANIFEST_DEPTH_MAX ? 0 : -EINVAL);
    }
    name[MANIFEST_NAME_BYTES_MAX] = '\0';
    assert_int_equal(manifest_add_dir(&manifest, name, 0, NULL), 0);
    assert_int_equal(manifest_add_dir(&manifest, "o", 01000, NULL), -EINVAL);
    assert_int_equal(manifest.entries_count, MANIFEST_DEPTH_MAX + 1);
    manifest_fini(&manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_parse),
        cmocka_unit_test(test_manifest_breaks_off_anywhere),
        cmocka_unit_test(test_manifest_limits),
        cmocka_unit_test(test_manifest_long_and_deep),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
