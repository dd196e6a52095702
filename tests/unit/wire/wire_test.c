#include "wire/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Lines that are refused, and what the message must name. */
#define RUN_AND "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{\"node\":\"n\"}],"

static const struct {
    const char *line;
    int rc;
    const char *says;
} bad_commands[] = {
    { "", -EBADMSG, "not JSON" },
    { "{", -EBADMSG, "not JSON" },
    { "[]", -EBADMSG, "type" },
    { "3", -EBADMSG, "" },
    { "{}", -EBADMSG, "type" },
    { "{\"type\":7}", -EBADMSG, "type" },
    { "{\"type\":\"dance\",\"x\":1}", -ENOTSUP, "dance" },
    { "{\"type\":\"ping\",\"type\":\"ping\"}", -EBADMSG, "uplicate" },
    { "{\"type\":\"ping\"} x", -EBADMSG, "not JSON" },
    { "{\"type\":\"ping\",\"time_ms\":\"1\"}", -EBADMSG, "time_ms" },
    { "{\"type\":\"ping\",\"time_ms\":1.5}", -EBADMSG, "time_ms" },
    { "{\"type\":\"ping\",\"time_ms\":-1}", -EBADMSG, "time_ms" },
    { "{\"type\":\"ping\",\"time_ms\":99999999999999999999}", -EBADMSG, "" },
    { "{\"type\":\"stop\",\"job\":1}", -EBADMSG, "epoch: missing" },
    { "{\"type\":\"stop\",\"job\":-1,\"epoch\":1}", -EBADMSG, "job" },
    { "{\"type\":\"stop\",\"job\":1,\"epoch\":4294967296}", -EBADMSG, "epoch" },
    { "{\"type\":\"stop\",\"job\":1,\"epoch\":1,\"reason\":3}", -EBADMSG, "reason" },
    { "{\"type\":\"receipt\",\"job\":1,\"epoch\":1}", -EBADMSG, "receipt: missing" },
    { "{\"type\":\"receipt\",\"job\":1,\"epoch\":1,\"receipt\":\"a\",\"signature\":\"b\"}",
      -EBADMSG, "key: missing" },
    { "{\"type\":\"receipt\",\"job\":1,\"epoch\":1,\"receipt\":\"a\\nb\"}", -EBADMSG, "control" },
    { "{\"type\":\"log_read\",\"job\":1,\"epoch\":1}", -EBADMSG, "request: missing" },
    { "{\"type\":\"log_read\",\"request\":1,\"follow\":1}", -EBADMSG, "follow" },
    { "{\"type\":\"reconcile\"}", -EBADMSG, "attempts" },
    { "{\"type\":\"reconcile\",\"attempts\":{}}", -EBADMSG, "attempts" },
    { "{\"type\":\"reconcile\",\"attempts\":[[1]]}", -EBADMSG, "attempts[0]" },
    { "{\"type\":\"reconcile\",\"attempts\":[[1,2],[1,-2]]}", -EBADMSG, "attempts[1]" },
    { "{\"type\":\"reconcile\",\"attempts\":[{\"0\":1,\"1\":2}]}", -EBADMSG, "attempts[0]" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{}}", -EBADMSG, "parts" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[]}", -EBADMSG, "parts" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[3]}", -EBADMSG, "parts[0]" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{}]}", -EBADMSG, "node" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{\"node\":\"../x\"}]}",
      -EBADMSG, "not a name" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{\"node\":\"n\",\"devices\":["
      "[0,1001]"
      "]}]}",
      -EBADMSG, "devices[0]" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{\"node\":\"n\",\"shares\":["
      "1,1000001]}]}",
      -EBADMSG, "shares[1]" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{\"node\":\"n\",\"shares\":1}"
      "]}",
      -EBADMSG, "shares: expected a list" },
    { RUN_AND "\"across\":7}", -EBADMSG, "across: expected a list of at most 4" },
    { RUN_AND "\"across\":[[\"a\",1],[\"b\",1],[\"c\",1],[\"d\",1],[\"e\",1]]}", -EBADMSG,
      "at most 4" },
    { RUN_AND "\"across\":[[\"a\",1]],\"across_self\":1}", -EBADMSG, "across" },
    { RUN_AND "\"across\":[[\"a\",1],[\"\",1]]}", -EBADMSG, "across[1]" },
    { RUN_AND "\"across\":[[\"a\\\"b\",1]]}", -EBADMSG, "across[0]" },
    { RUN_AND "\"across\":[[\"a\",257]]}", -EBADMSG, "across[0]: expected [site, 1..256]" },
    { RUN_AND "\"across\":[[\"a\",0]]}", -EBADMSG, "across[0]" },
    { "{\"type\":\"tunnel\",\"job\":1,\"epoch\":1,\"request\":3}", -EBADMSG, "port" },
    { "{\"type\":\"tunnel\",\"job\":1,\"epoch\":1,\"port\":3}", -EBADMSG, "request" },
    { "{\"type\":\"tunnel\",\"job\":1,\"epoch\":1,\"request\":3,\"port\":65536}", -EBADMSG,
      "port" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":\"{}\",\"parts\":[{\"node\":\"n\"}]}",
      -EBADMSG, "spec" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{\"node\":\"n\"}],\"tenant\":"
      "\"a\\nb\"}",
      -EBADMSG, "tenant" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{\"node\":\"n\"}],\"user\":"
      "\"a\\u0000b\"}",
      -EBADMSG, "" },
    { "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{\"node\":\"n\"}],\"uid\":-"
      "2}",
      -EBADMSG, "uid" },
};

static const struct {
    const char *line;
    int rc;
    const char *says;
} bad_reports[] = {
    { "{\"type\":\"run\"}", -ENOTSUP, "run" },
    { "{\"type\":\"hello\",\"incarnation\":1,\"attempts\":[]}", -EBADMSG, "site" },
    { "{\"type\":\"hello\",\"incarnation\":1,\"attempts\":[],\"site\":{}}", -EBADMSG, "site" },
    { "{\"type\":\"hello\",\"attempts\":[],\"site\":{\"name\":\"s\"}}", -EBADMSG, "incarnation" },
    { "{\"type\":\"started\",\"job\":1,\"epoch\":1}", -EBADMSG, "started_ms" },
    { "{\"type\":\"ended\",\"job\":1,\"epoch\":1,\"outcome\":0}", -EBADMSG, "exit_code" },
    { "{\"type\":\"ended\",\"job\":1,\"epoch\":1,\"outcome\":300,\"exit_code\":0}", -EBADMSG,
      "outcome" },
    { "{\"type\":\"ended\",\"job\":1,\"epoch\":1,\"outcome\":0,\"exit_code\":2147483648}", -EBADMSG,
      "exit_code" },
    { "{\"type\":\"ended\",\"job\":1,\"epoch\":1,\"outcome\":0,\"exit_code\":0,\"usage\":[]}",
      -EBADMSG, "usage" },
    { "{\"type\":\"ended\",\"job\":1,\"epoch\":1,\"outcome\":0,\"exit_code\":0,\"usage\":{\"cpu_"
      "ms\":-1}}",
      -EBADMSG, "cpu_ms" },
    { "{\"type\":\"log\",\"request\":1,\"data\":\"a\"}", -EBADMSG, "base64" },
    { "{\"type\":\"log\",\"request\":1,\"data\":\"a?==\"}", -EBADMSG, "base64" },
    { "{\"type\":\"log\",\"request\":1,\"data\":[]}", -EBADMSG, "data" },
    { "{\"type\":\"node\",\"node\":\"n\"}", -EBADMSG, "cordoned" },
    { "{\"type\":\"node\",\"node\":\"n\",\"cordoned\":true,\"device\":-2}", -EBADMSG, "device" },
};

static void test_refusals(void **state)
{
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad_commands); i++) {
        const char *line = bad_commands[i].line;
        struct wire_command command;
        struct err err = { 0 };
        int rc = wire_command_parse(line, strlen(line), &arena, &command, &err);

        if (rc != bad_commands[i].rc || !strstr(err.text, bad_commands[i].says))
            fail_msg("%s: rc %d, \"%s\"", line, rc, err.text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad_reports); i++) {
        const char *line = bad_reports[i].line;
        struct wire_report report;
        struct err err = { 0 };
        int rc = wire_report_parse(line, strlen(line), &arena, &report, &err);

        if (rc != bad_reports[i].rc || !strstr(err.text, bad_reports[i].says))
            fail_msg("%s: rc %d, \"%s\"", line, rc, err.text);
    }
    arena_fini(&arena);
}

/* Print, parse, print again: the same line. */
static void command_round(const struct wire_command *command, struct arena *arena,
                          struct wire_command *out)
{
    CLEANUP(buf_fini) struct buf first = buf_init(WIRE_LINE_BYTES_MAX + 1000);
    CLEANUP(buf_fini) struct buf second = buf_init(WIRE_LINE_BYTES_MAX + 1000);
    struct err err = { 0 };

    assert_int_equal(wire_command_print(command, &first), 0);
    assert_int_equal(first.data[first.len - 1], '\n');
    assert_null(memchr(first.data, '\n', first.len - 1));
    if (wire_command_parse(first.data, first.len - 1, arena, out, &err) < 0)
        fail_msg("%s: %s", first.data, err.text);
    assert_int_equal(wire_command_print(out, &second), 0);
    assert_string_equal(first.data, second.data);
}

static void report_round(const struct wire_report *report, struct arena *arena,
                         struct wire_report *out)
{
    CLEANUP(buf_fini) struct buf first = buf_init(WIRE_LINE_BYTES_MAX + 1000);
    CLEANUP(buf_fini) struct buf second = buf_init(WIRE_LINE_BYTES_MAX + 1000);
    struct err err = { 0 };

    assert_int_equal(wire_report_print(report, &first), 0);
    assert_null(memchr(first.data, '\n', first.len - 1));
    if (wire_report_parse(first.data, first.len - 1, arena, out, &err) < 0)
        fail_msg("%s: %s", first.data, err.text);
    assert_int_equal(wire_report_print(out, &second), 0);
    assert_string_equal(first.data, second.data);
}

static void test_run(void **state)
{
    struct wire_part parts[2] = { { .node = "node-1",
                                    .tasks = 3,
                                    .cpus = 12,
                                    .devices_count = 2,
                                    .memory_bytes = (int64_t)1 << 40,
                                    .disk_bytes = 5,
                                    .devices = { { 7, 1000 }, { 0, 250 } },
                                    .shares_count = 2,
                                    .shares_ppm = { 750000, 250000 } },
                                  { .node = "b", .address = "fd00::7" } };
    struct wire_command run = { .type = WIRE_RUN,
                                .attempt = { INT64_MAX, UINT32_MAX },
                                .tenant = "acme",
                                .user = "a \"b\" \\ c",
                                .name = "job",
                                .array_id = 4,
                                .array_index = 2,
                                .array_count = 9,
                                .attempt_number = 3,
                                .duration_ms_max = 60000,
                                .run_as_uid = 0,
                                .run_as_gid = -1,
                                .host_paths = true,
                                .site = "lab",
                                .spec_json =
                                    "{\"name\":\"x\",\"run\":\"a\\nb\",\"n\":[1,{\"a\":1.5}]}",
                                .parts_count = 2,
                                .parts = parts,
                                .across_count = 2,
                                .across_self = 1,
                                .across = { { "west", 4 }, { "east-2", 256 } } };
    struct wire_command tunnel = { .type = WIRE_TUNNEL,
                                   .attempt = { 9, 3 },
                                   .request = (uint64_t)1 << 52,
                                   .port = 65535,
                                   .direct = true };
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
    struct wire_command out;

    (void)state;
    command_round(&run, &arena, &out);
    assert_true(out.attempt.job_id == INT64_MAX && out.attempt.epoch == UINT32_MAX);
    assert_string_equal(out.tenant, "acme");
    assert_string_equal(out.user, "a \"b\" \\ c");
    assert_true(out.array_id == 4 && out.array_index == 2 && out.array_count == 9);
    assert_true(out.attempt_number == 3 && out.duration_ms_max == 60000 && out.host_paths);
    assert_true(out.run_as_uid == 0 && out.run_as_gid == -1);
    assert_string_equal(out.spec_json, run.spec_json);
    assert_int_equal(out.parts_count, 2);
    assert_string_equal(out.parts[0].node, "node-1");
    assert_true(out.parts[0].tasks == 3 && out.parts[0].cpus == 12);
    assert_true(out.parts[0].memory_bytes == (int64_t)1 << 40 && out.parts[0].disk_bytes == 5);
    assert_int_equal(out.parts[0].devices_count, 2);
    assert_true(out.parts[0].devices[0].index == 7 && out.parts[0].devices[1].milli == 250);
    assert_true(out.parts[0].shares_count == 2 && out.parts[0].shares_ppm[1] == 250000);
    assert_int_equal(out.parts[1].shares_count, 0);
    assert_string_equal(out.parts[1].node, "b");
    assert_string_equal(out.parts[1].address, "fd00::7");
    assert_string_equal(out.parts[0].address, "");
    assert_string_equal(out.site, "lab");
    assert_int_equal(out.parts[1].devices_count, 0);
    assert_true(out.across_count == 2 && out.across_self == 1);
    assert_string_equal(out.across[0].site, "west");
    assert_string_equal(out.across[1].site, "east-2");
    assert_true(out.across[0].tasks == 4 && out.across[1].tasks == 256);
    command_round(&tunnel, &arena, &out);
    assert_true(out.attempt.job_id == 9 && out.attempt.epoch == 3);
    assert_true(out.request == (uint64_t)1 << 52 && out.port == 65535 && out.direct);
    arena_fini(&arena);
}

static void test_defaults(void **state)
{
    static const char run[] = "{\"type\":\"run\",\"job\":1,\"epoch\":2,\"spec\":{},\"later\":[1],"
                              "\"parts\":[{\"node\":\"n\"}]}";
    static const char stop[] = "{\"type\":\"stop\",\"job\":1,\"epoch\":2}";
    static const char node[] = "{\"type\":\"node\",\"node\":\"n\",\"cordoned\":false}";
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
    struct wire_command command;
    struct wire_report report;

    (void)state;
    assert_int_equal(wire_command_parse(run, sizeof(run) - 1, &arena, &command, NULL), 0);
    assert_true(command.attempt_number == 1 && command.run_as_uid == -1);
    assert_true(command.run_as_gid == -1 && !command.host_paths && command.duration_ms_max == 0);
    assert_string_equal(command.tenant, "");
    assert_int_equal(wire_command_parse(stop, sizeof(stop) - 1, &arena, &command, NULL), 0);
    assert_int_equal(command.grace_ms, -1);
    assert_int_equal(wire_report_parse(node, sizeof(node) - 1, &arena, &report, NULL), 0);
    assert_int_equal(report.device, -1);
    arena_fini(&arena);
}

static void test_commands(void **state)
{
    struct wire_attempt_id attempts[] = { { 1, 1 }, { 2, 7 }, { INT64_MAX, UINT32_MAX } };
    struct wire_command commands[] = {
        { .type = WIRE_STOP, .attempt = { 3, 4 }, .grace_ms = 0, .reason = "why \xc3\xa9" },
        { .type = WIRE_STOP, .attempt = { 3, 4 }, .grace_ms = -1 },
        { .type = WIRE_FORGET, .attempt = { 3, 4 } },
        { .type = WIRE_PING, .time_ms = 1763776800000 },
        { .type = WIRE_RECONCILE },
        { .type = WIRE_RECONCILE, .attempts_count = 3, .attempts = attempts },
        { .type = WIRE_RECONCILE, .lease_ms = 72000, .stop_ms = 6000, .every_ms = 6000 },
        { .type = WIRE_LOG_READ, .attempt = { 3, 4 }, .request = 9, .offset = -100 },
        { .type = WIRE_LOG_READ, .request = 9, .follow = true, .stream_stderr = true },
        { .type = WIRE_LOG_READ, .request = 9, .cancel = true },
    };
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        struct wire_command out;

        command_round(&commands[i], &arena, &out);
        assert_int_equal(out.type, commands[i].type);
        assert_true(out.attempt.job_id == commands[i].attempt.job_id);
        assert_true(out.offset == commands[i].offset && out.cancel == commands[i].cancel);
        assert_true(out.type != WIRE_STOP || out.grace_ms == commands[i].grace_ms);
        assert_true(out.lease_ms == commands[i].lease_ms && out.stop_ms == commands[i].stop_ms &&
                    out.every_ms == commands[i].every_ms);
        assert_string_equal(out.reason, commands[i].reason);
        assert_int_equal(out.attempts_count, commands[i].attempts_count);
        for (uint32_t j = 0; j < out.attempts_count; j++)
            assert_true(out.attempts[j].job_id == attempts[j].job_id &&
                        out.attempts[j].epoch == attempts[j].epoch);
    }
    arena_fini(&arena);
}

static void test_reports(void **state)
{
    static const char data[] = "raw \0 \xff\n bytes";
    struct usage usage = { .wall_ms = 1,
                           .cpu_ms = 2,
                           .cpu_held_ms = 3,
                           .device_milli_ms = 4,
                           .memory_peak_bytes = 5,
                           .energy_mj = 6,
                           .energy_measured = true };
    struct wire_report reports[] = {
        { .type = REPORT_STARTED, .attempt = { 1, 2 }, .started_ms = 77 },
        { .type = REPORT_PROGRESS, .attempt = { 1, 2 }, .usage = usage, .checkpoint_ms = 9 },
        { .type = REPORT_ENDED,
          .attempt = { 1, 2 },
          .started_ms = 5,
          .ended_ms = 6,
          .outcome = 7,
          .exit_code = -1,
          .usage = usage,
          .reason = "killed" },
        { .type = REPORT_UNKNOWN, .attempt = { 1, 2 } },
        { .type = REPORT_LOG, .request = 4, .offset = 12, .data = data, .data_len = sizeof(data) },
        { .type = REPORT_LOG, .request = 4, .eof = true },
        { .type = REPORT_NODE, .node = "n1", .device = 3, .cordoned = true, .reason = "ECC" },
        { .type = REPORT_NODE, .node = "n1", .device = -1 },
        { .type = REPORT_ALIVE, .boot_ms = 77 },
        { .type = REPORT_LINK, .down_bytes_s = 5, .up_bytes_s = 6 },
        { .type = REPORT_QUEUE },
        { .type = REPORT_QUEUE,
          .waits_count = 2,
          .waits = { { 0, 1, 2, 3 }, { 1, UINT32_MAX, 4, INT64_MAX } } },
    };
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(reports); i++) {
        struct wire_report out;

        report_round(&reports[i], &arena, &out);
        assert_int_equal(out.type, reports[i].type);
        assert_true(out.attempt.job_id == reports[i].attempt.job_id);
        assert_true(out.exit_code == reports[i].exit_code && out.outcome == reports[i].outcome);
        assert_true(out.started_ms == reports[i].started_ms && out.eof == reports[i].eof);
        assert_true(out.boot_ms == reports[i].boot_ms);
        assert_true(out.down_bytes_s == reports[i].down_bytes_s &&
                    out.up_bytes_s == reports[i].up_bytes_s);
        assert_int_equal(out.waits_count, reports[i].waits_count);
        assert_memory_equal(out.waits, reports[i].waits, sizeof(out.waits));
        assert_true(out.usage.wall_ms == reports[i].usage.wall_ms &&
                    out.usage.cpu_ms == reports[i].usage.cpu_ms &&
                    out.usage.cpu_held_ms == reports[i].usage.cpu_held_ms &&
                    out.usage.device_milli_ms == reports[i].usage.device_milli_ms &&
                    out.usage.memory_peak_bytes == reports[i].usage.memory_peak_bytes &&
                    out.usage.energy_mj == reports[i].usage.energy_mj &&
                    out.usage.energy_measured == reports[i].usage.energy_measured);
        assert_string_equal(out.reason, reports[i].reason);
        assert_int_equal(out.data_len, reports[i].data_len);
        if (out.data_len)
            assert_memory_equal(out.data, data, sizeof(data));
    }
    arena_fini(&arena);
}

static void test_waits_refused(void **state)
{
    static const char *const lines[] = {
        "{\"type\":\"queue\"}",
        "{\"type\":\"queue\",\"waits\":{}}",
        "{\"type\":\"queue\",\"waits\":[[0,1,2]]}",
        "{\"type\":\"queue\",\"waits\":[[0,1,2,-1]]}",
        "{\"type\":\"queue\",\"waits\":[[0,1,2,1.5]]}",
        "{\"type\":\"queue\",\"waits\":[[0,4294967296,2,1]]}",
        "{\"type\":\"queue\",\"waits\":[[],[],[],[],[],[],[],[],[]]}",
        "{\"type\":\"link\",\"down_bytes_s\":-1}",
    };
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
    struct wire_report report;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        struct err err = { 0 };

        if (wire_report_parse(lines[i], strlen(lines[i]), &arena, &report, &err) != -EBADMSG)
            fail_msg("taken: %s", lines[i]);
    }
    arena_fini(&arena);
}

static void test_hello(void **state)
{
    struct wire_attempt_id attempts[] = { { 5, 1 } };
    struct node_info *nodes = calloc(2, sizeof(*nodes));
    struct wire_report hello = { .type = REPORT_HELLO,
                                 .version = "0.1.0",
                                 .incarnation = 12,
                                 .attempts_count = 1,
                                 .attempts = attempts };
    struct wire_report inventory = { .type = REPORT_INVENTORY };
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
    struct wire_report out;

    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "n%d", i);
        nodes[i].cpus = 8;
        nodes[i].memory_bytes = 1 << 30;
    }
    snprintf(hello.site.name, sizeof(hello.site.name), "lab");
    hello.site.nodes = nodes;
    hello.site.nodes_count = 2;
    inventory.site = hello.site;

    report_round(&hello, &arena, &out);
    assert_true(out.incarnation == 12 && out.attempts_count == 1 && out.site.nodes_count == 2);
    assert_string_equal(out.version, "0.1.0");
    assert_string_equal(out.site.nodes[1].name, "n1");
    assert_int_equal(out.site.nodes[1].cpus, 8);
    site_info_fini(&out.site);

    report_round(&inventory, &arena, &out);
    assert_string_equal(out.site.name, "lab");
    site_info_fini(&out.site);
    site_info_fini(&hello.site);
    arena_fini(&arena);
}

/* What cannot stand on the wire is refused by the printer, which leaves the buffer as it was. */
static void test_print_refusals(void **state)
{
    struct wire_part part = { .node = "n" };
    struct wire_part wild = { .node = "n", .devices_count = NODE_DEVICES_MAX + 1 };
    struct wire_part none = { .node = "n", .devices_count = 1 };
    const struct {
        struct wire_command command;
        int rc;
    } cases[] = {
        { { .type = (enum wire_command_type)99 }, -EINVAL },
        { { .type = WIRE_STOP, .attempt = { UINT64_MAX, 1 } }, -EINVAL },
        { { .type = WIRE_STOP, .grace_ms = WIRE_GRACE_SAVES - 1 }, -EINVAL },
        { { .type = WIRE_RECONCILE, .attempts_count = WIRE_ATTEMPTS_MAX + 1 }, -EINVAL },
        { { .type = WIRE_RUN, .spec_json = "{}" }, -EINVAL },
        { { .type = WIRE_RUN,
            .spec_json = "{}",
            .parts_count = WIRE_PARTS_MAX + 1,
            .parts = &part },
          -EINVAL },
        { { .type = WIRE_RUN, .spec_json = NULL, .parts_count = 1, .parts = &part }, -EINVAL },
        { { .type = WIRE_RUN, .spec_json = "[]", .parts_count = 1, .parts = &part }, -EINVAL },
        { { .type = WIRE_RUN, .spec_json = "{\n}", .parts_count = 1, .parts = &part }, -EINVAL },
        { { .type = WIRE_RUN, .spec_json = "{}", .parts_count = 1, .parts = &wild }, -EINVAL },
        { { .type = WIRE_RUN, .spec_json = "{}", .parts_count = 1, .parts = &none }, -EINVAL },
    };
    CLEANUP(buf_fini) struct buf out = buf_init(100);

    (void)state;
    buf_add_text(&out, "before");
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(wire_command_print(&cases[i].command, &out), cases[i].rc);
        assert_string_equal(out.data, "before");
    }
    /* Room for no more than a hundred bytes. */
    struct wire_command stop = { .type = WIRE_STOP,
                                 .reason = "0123456789012345678901234567890123"
                                           "0123456789012345678901234567890123"
                                           "012345678901234567890123456789" };
    assert_int_equal(wire_command_print(&stop, &out), -ENOSPC);
    assert_string_equal(out.data, "before");
    struct wire_command ping = { .type = WIRE_PING };
    assert_int_equal(wire_command_print(&ping, &out), 0);
    assert_string_equal(out.data, "before{\"type\":\"ping\"}\n");
}

/* A reason comes from the system or the job: whatever it holds, one clean line arrives. */
static void test_reason_is_cleaned(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "two\nlines\x1b[2J", "two?lines?[2J" },      { "bad \xff utf", "bad ? utf" },
        { "overlong \xc0\xaf", "overlong ??" },        { "cut \xe2\x82", "cut ??" },
        { "surrogate \xed\xa0\x80", "surrogate ???" }, { "fine \xe2\x82\xac", "fine \xe2\x82\xac" },
    };
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
    CLEANUP(buf_fini) struct buf line = buf_init(4096);
    struct wire_command out;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct wire_command stop = { .type = WIRE_STOP };

        snprintf(stop.reason, sizeof(stop.reason), "%s", cases[i].in);
        command_round(&stop, &arena, &out);
        assert_string_equal(out.reason, cases[i].out);
    }
    /* Longer than a reason may be: cut before the character that does not fit whole. */
    buf_add_text(&line, "{\"type\":\"stop\",\"job\":1,\"epoch\":1,\"reason\":\"");
    for (int i = 0; i < 100; i++)
        buf_add_text(&line, "\xc3\xa9");
    buf_add_text(&line, "\\n\"}");
    assert_int_equal(wire_command_parse(line.data, line.len, &arena, &out, NULL), 0);
    assert_int_equal(strlen(out.reason), 158);
    arena_fini(&arena);
}

/* Counts are bounded before anything is allocated for them. */
static void test_bounds(void **state)
{
    CLEANUP(buf_fini) struct buf line = buf_init(8u << 20);
    struct arena arena = arena_init(WIRE_ARENA_BYTES_MAX);
    struct wire_command out;
    struct err err;

    (void)state;
    buf_add_text(&line, "{\"type\":\"reconcile\",\"attempts\":[[1,1]");
    for (uint32_t i = 0; i < WIRE_ATTEMPTS_MAX; i++)
        buf_add_text(&line, ",[1,1]");
    buf_add_text(&line, "]}");
    assert_int_equal(wire_command_parse(line.data, line.len, &arena, &out, &err), -EBADMSG);

    buf_clear(&line);
    buf_add_text(&line,
                 "{\"type\":\"run\",\"job\":1,\"epoch\":1,\"spec\":{},\"parts\":[{\"node\":\"n\"}");
    for (uint32_t i = 0; i < WIRE_PARTS_MAX; i++)
        buf_add_text(&line, ",{\"node\":\"n\"}");
    buf_add_text(&line, "]}");
    assert_int_equal(wire_command_parse(line.data, line.len, &arena, &out, &err), -EBADMSG);

    buf_clear(&line);
    buf_add_text(&line, "{\"type\":\"ping\",\"x\":\"");
    buf_reserve(&line, WIRE_LINE_BYTES_MAX);
    memset(line.data + line.len, 'x', WIRE_LINE_BYTES_MAX);
    line.len += WIRE_LINE_BYTES_MAX;
    buf_add_text(&line, "\"}");
    assert_int_equal(wire_command_parse(line.data, line.len, &arena, &out, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "longer"));

    buf_clear(&line);
    for (int i = 0; i < 100000; i++)
        buf_add_char(&line, '[');
    assert_int_equal(wire_command_parse(line.data, line.len, &arena, &out, &err), -EBADMSG);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_print_refusals),
        cmocka_unit_test(test_bounds),   cmocka_unit_test(test_run),
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_commands),
        cmocka_unit_test(test_reports),  cmocka_unit_test(test_waits_refused),
        cmocka_unit_test(test_hello),    cmocka_unit_test(test_reason_is_cleaned),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
