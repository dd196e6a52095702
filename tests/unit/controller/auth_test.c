/* Tokens and sealed secrets: what is kept, what is refused, what is never on disk. */
#include "controller/auth.h"
#include "controller/seal.h"

#include "base/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char dir[] = "/tmp/mains-auth-XXXXXX";

static void read_file(const char *name, struct buf *out)
{
    CLEANUP(freep) char *path = path_format("%s/%s", dir, name);

    assert_int_equal(file_read(path, out, NULL), 0);
}

static void test_first_start(void **state)
{
    CLEANUP(buf_fini) struct buf admin = buf_init(4096);
    CLEANUP(buf_fini) struct buf kept = buf_init(65536);
    const struct principal *who;
    struct auth *auth = NULL;

    (void)state;
    assert_int_equal(auth_open(dir, &auth, NULL), 0);
    read_file("admin.token", &admin);
    read_file("tokens.json", &kept);
    admin.data[strcspn(admin.data, "\n")] = '\0';
    assert_null(strstr(kept.data, admin.data));
    who = auth_find(auth, admin.data);
    assert_non_null(who);
    assert_int_equal(who->role, ROLE_ADMIN);
    auth_close(auth);
    /* A second start knows them, and makes no others. */
    assert_int_equal(auth_open(dir, &auth, NULL), 0);
    assert_int_equal(auth_count(auth), 2);
    assert_non_null(auth_find(auth, admin.data));
    auth_close(auth);
}

static void test_unknown_tokens(void **state)
{
    static const char *const texts[] = {
        NULL,
        "",
        "mains_",
        "mains_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "Bearer mains_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    };
    struct auth *auth = NULL;

    (void)state;
    assert_int_equal(auth_open(dir, &auth, NULL), 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (auth_find(auth, texts[i]))
            fail_msg("case %zu is somebody", i);
    auth_close(auth);
}

static void test_add_and_revoke(void **state)
{
    struct principal wanted = {
        .role = ROLE_TENANT, .tenant = "acme", .user = "ann", .unix_uid = 1234, .unix_gid = 1234
    };
    char text[TOKEN_TEXT_BYTES];
    struct token_entry entry;
    struct auth *auth = NULL;
    int64_t uid = 0, gid = 0;

    (void)state;
    assert_int_equal(auth_open(dir, &auth, NULL), 0);
    assert_int_equal(auth_revoke(auth, "4711", NULL), -ENOENT);
    assert_int_equal(auth_revoke(auth, "2", NULL), -EPERM); /* the last admin */
    assert_int_equal(auth_add(auth, &wanted, "note", text, &entry, NULL), 0);
    assert_non_null(auth_find(auth, text));
    assert_int_equal(auth_revoke(auth, entry.principal.id, NULL), 0);
    assert_int_equal(auth_revoke(auth, entry.principal.id, NULL), 0);
    assert_null(auth_find(auth, text));
    auth_close(auth);
    assert_int_equal(auth_open(dir, &auth, NULL), 0);
    assert_null(auth_find(auth, text));
    /* Jobs of that user keep their identity. */
    assert_true(auth_find_unix(auth, "acme", "ann", &uid, &gid));
    assert_int_equal(uid, 1234);
    assert_false(auth_find_unix(auth, "acme", "bob", &uid, &gid));
    auth_close(auth);
}

static void test_damaged_file(void **state)
{
    static const char *const texts[] = { "",
                                         "{}",
                                         "[1]",
                                         "[{\"id\":\"1\"}]",
                                         "[{\"id\":\"1\",\"hash\":\"abc\",\"role\":\"admin\","
                                         "\"tenant\":\"a\"}]",
                                         "[{\"id\":\"1\",\"hash\":\"\",\"role\":\"king\","
                                         "\"tenant\":\"a\"}]" };
    CLEANUP(freep) char *path = path_format("%s/tokens.json", dir);
    CLEANUP(buf_fini) struct buf good = buf_init(65536);

    (void)state;
    read_file("tokens.json", &good);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct auth *auth = NULL;
        struct err err = { 0 };

        assert_int_equal(file_write(path, texts[i], strlen(texts[i]), 0600, false, NULL), 0);
        if (auth_open(dir, &auth, &err) == 0 || !strstr(err.text, "tokens.json"))
            fail_msg("case %zu: taken, or refused without the file's name: %s", i, err.text);
    }
    assert_int_equal(file_write(path, good.data, good.len, 0600, false, NULL), 0);
}

static void test_seal(void **state)
{
    static const char full[] = "{\"name\":\"a\",\"secrets\":{\"K\":\"v4lue\"}}";
    static const char bare[] = "{\"name\":\"a\"}";
    CLEANUP(buf_fini) struct buf stored = buf_init(65536);
    CLEANUP(buf_fini) struct buf opened = buf_init(65536);
    struct seal *seal = NULL;
    struct stat info;
    CLEANUP(freep) char *path = path_format("%s/secret.key", dir);

    (void)state;
    assert_int_equal(seal_open(dir, &seal, NULL), 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(seal_spec(seal, "acme", full, bare, &stored, NULL), 0);
    assert_null(strstr(stored.data, "v4lue"));
    assert_true(seal_is_sealed(stored.data));
    assert_string_equal(seal_open_part(stored.data), bare + 1);
    assert_int_equal(seal_open_spec(seal, "acme", stored.data, stored.len, &opened, NULL), 0);
    assert_string_equal(opened.data, full);
    /* Bound to the tenant; a changed byte is noticed; what is not sealed passes. */
    assert_int_equal(seal_open_spec(seal, "other", stored.data, stored.len, &opened, NULL),
                     -EBADMSG);
    stored.data[20] = stored.data[20] == 'A' ? 'B' : 'A';
    assert_int_equal(seal_open_spec(seal, "acme", stored.data, stored.len, &opened, NULL),
                     -EBADMSG);
    buf_clear(&opened);
    assert_int_equal(seal_open_spec(seal, "acme", bare, strlen(bare), &opened, NULL), 0);
    assert_string_equal(opened.data, bare);
    seal_close(seal);
    /* A key of another length is refused, not stretched. */
    assert_int_equal(file_write(path, "short", 5, 0600, false, NULL), 0);
    assert_int_equal(seal_open(dir, &seal, NULL), -EINVAL);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return dir_remove(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_start),    cmocka_unit_test(test_unknown_tokens),
        cmocka_unit_test(test_add_and_revoke), cmocka_unit_test(test_damaged_file),
        cmocka_unit_test(test_seal),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
