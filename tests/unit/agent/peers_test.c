/* Addresses and ports of a gang over several sites: everybody comes to the same ones. */
#include "agent/peers.h"
#include "agent/tunnel.h"

#include "base/buf.h"
#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const struct attempt_across three = {
    .count = 3, .self = 1, .sites = { { "west", 2 }, { "east", 1 }, { "n", 3 } }
};

static void test_list(void **state)
{
    CLEANUP(buf_fini) struct buf text = buf_init(PEERS_TEXT_BYTES_MAX);

    (void)state;
    peers_print(7, &three, &text);
    assert_string_equal(text.data, "127.64.0.7:11792,127.64.0.7:11793,127.65.0.7:11794,"
                                   "127.66.0.7:11795,127.66.0.7:11796,127.66.0.7:11797");
    assert_int_equal(peers_master_port(7), 20007);
    assert_int_equal(peers_first_rank(&three, 0), 0);
    assert_int_equal(peers_first_rank(&three, 2), 3);
}

/* Whoever asks for a port that is none of the gang's gets nowhere. */
static void test_ports(void **state)
{
    uint64_t ids[] = { 1, 7, 9999, 10000, 65535, 1234567890123 };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ids); i++) {
        uint32_t found = 0;

        for (uint32_t port = 0; port < 70000; port++)
            found += peers_part_of_port(ids[i], &three, port) >= 0;
        assert_int_equal(found, 7);
        assert_int_equal(peers_part_of_port(ids[i], &three, peers_master_port(ids[i])), 0);
        assert_int_equal(peers_part_of_port(ids[i], &three, peers_port(ids[i], 1)), 0);
        assert_int_equal(peers_part_of_port(ids[i], &three, peers_port(ids[i], 2)), 1);
        assert_int_equal(peers_part_of_port(ids[i], &three, peers_port(ids[i], 5)), 2);
    }
}

/* The longest list there may be fits. */
static void test_largest(void **state)
{
    struct attempt_across across = { .count = 2, .sites = { { "a", 128 }, { "b", 128 } } };
    CLEANUP(buf_fini) struct buf text = buf_init(PEERS_TEXT_BYTES_MAX);

    (void)state;
    peers_print(UINT64_MAX >> 1, &across, &text);
    assert_false(text.failed);
    assert_null(strchr(text.data, ' '));
}

static void test_address(void **state)
{
    static const struct {
        const char *text;
        bool is_valid;
    } cases[] = {
        { "", false },
        { "192.0.2.7", false },
        { "192.0.2.7:", false },
        { "192.0.2.7:0", false },
        { "192.0.2.7:65536", false },
        { "192.0.2.7:80x", false },
        { ":80", false },
        { "here:80", false },
        { "192.0.2.700:80", false },
        { "192.0.2.7:80", true },
        { "0.0.0.0:65535", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        if (tunnel_address_is_valid(cases[i].text) != cases[i].is_valid)
            fail_msg("\"%s\"", cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_address),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}
