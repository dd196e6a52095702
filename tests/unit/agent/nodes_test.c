/* An attempt over machines: what its parts report becomes one report, and what of it survives. */
#include "agent/gang.h"
#include "agent/nodes_internal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define KEY ((struct attempt_key){ 7, 2 })

struct bed {
    char dir[64];
    struct nodes nodes;
    struct machine machines[3];
    uint32_t told[4]; /* by type of note */
    struct attempt_record last;
    struct err err;
};

static void on_told(void *context, enum attempt_note_type type, const struct attempt_record *record)
{
    struct bed *bed = context;

    bed->told[type]++;
    bed->last = *record;
}

static int set_up(void **state)
{
    static const char *const names[] = { "a", "b", "c" };
    struct bed *bed = calloc(1, sizeof(*bed));
    CLEANUP(freep) char *attempts = NULL;

    snprintf(bed->dir, sizeof(bed->dir), "/tmp/mains-nodes.XXXXXX");
    if (!mkdtemp(bed->dir))
        return -1;
    attempts = path_format("%s/attempts/7.2", bed->dir);
    bed->nodes.dir = bed->dir;
    bed->nodes.up =
        (struct executor_config){ .agent_dir = bed->dir, .told = on_told, .context = bed };
    for (int i = 0; i < 3; i++) {
        snprintf(bed->machines[i].name, sizeof(bed->machines[i].name), "%s", names[i]);
        bed->machines[i].next = i < 2 ? &bed->machines[i + 1] : NULL;
    }
    bed->nodes.machines = bed->machines;
    *state = bed;
    return dir_make(attempts, 0700, NULL);
}

static int tear_down(void **state)
{
    struct bed *bed = *state;
    struct gang *gang, *next;

    HASH_ITER (hh, bed->nodes.gangs, gang, next) {
        HASH_DEL(bed->nodes.gangs, gang);
        gang_destroy(gang);
    }
    dir_remove(bed->dir, NULL);
    free(bed);
    return 0;
}

static struct gang *begin(struct bed *bed, uint32_t parts)
{
    struct gang *gang = gang_create(KEY, parts);

    for (uint32_t i = 0; i < parts; i++)
        snprintf(gang->parts[i].node, sizeof(gang->parts[i].node), "%c", 'a' + (int)i);
    HASH_ADD(hh, bed->nodes.gangs, key, sizeof(gang->key), gang);
    assert_int_equal(gang_save(&bed->nodes, gang, &bed->err), 0);
    assert_int_equal(gang_logs_open(&bed->nodes, gang, &bed->err), 0);
    for (uint32_t i = 0; i < parts; i++) /* nobody brings any */
        gang->parts[i].logs[0].eof = gang->parts[i].logs[1].eof = true;
    return gang;
}

static struct attempt_record record_of(enum attempt_end end, int code, const char *reason)
{
    struct attempt_record record = {
        .key = KEY, .end = end, .exit_code = code, .started_ms = 1000, .ended_ms = 5000
    };

    snprintf(record.reason, sizeof(record.reason), "%s", reason);
    return record;
}

static void end_part(struct bed *bed, struct gang *gang, uint32_t part, enum attempt_end end,
                     int code, const char *reason)
{
    struct attempt_record record = record_of(end, code, reason);

    record.usage = (struct usage){ .wall_ms = 4000, .cpu_ms = 10, .energy_mj = 5 };
    gang_part_ended(&bed->nodes, gang, &gang->parts[part], &record);
}

/* ---- the text for supervisors ---- */

static void test_gang_text(void **state)
{
    struct wire_part parts[2] = { { .node = "n1", .address = "192.0.2.7", .tasks = 4 },
                                  { .node = "n2", .address = "fd00::1", .tasks = 3 } };
    struct attempt_order *order = calloc(1, sizeof(*order));
    struct arena arena = arena_init(1 << 20);
    struct buf text = buf_init(1 << 16);
    struct rank_node *nodes;
    struct err err;

    (void)state;
    assert_int_equal(gang_print("{\"run\":\"x\"}", parts, 2, order, &text), 0);
    assert_int_equal(order->spec_len, 11);
    assert_int_equal(order->spec_len + order->gang_len, text.len);
    assert_int_equal(
        gang_parse(text.data + order->spec_len, order->gang_len, 2, &arena, &nodes, &err), 0);
    assert_string_equal(nodes[0].address, "192.0.2.7");
    assert_string_equal(nodes[1].name, "n2");
    assert_int_equal(nodes[1].tasks, 3);
    assert_int_equal(
        gang_parse(text.data + order->spec_len, order->gang_len, 3, &arena, &nodes, &err),
        -EBADMSG);
    assert_int_equal(gang_parse("[[\"a\",1,2]]", 11, 1, &arena, &nodes, &err), -EBADMSG);
    assert_int_equal(gang_parse("[[\"a\",\"b\",-1]]", 14, 1, &arena, &nodes, &err), -EBADMSG);
    assert_int_equal(gang_parse("[", 1, 1, &arena, &nodes, &err), -EBADMSG);
    buf_fini(&text);
    arena_fini(&arena);
    free(order);
}

/* ---- what becomes of parts ---- */

static void test_all_well(void **state)
{
    struct bed *bed = *state;
    struct gang *gang = begin(bed, 2);
    struct attempt_record record;

    gang_part_started(&bed->nodes, gang, &gang->parts[1], 900);
    assert_int_equal(bed->told[NOTE_STARTED], 0);
    gang_part_started(&bed->nodes, gang, &gang->parts[0], 1000);
    assert_int_equal(bed->told[NOTE_STARTED], 1);
    assert_int_equal(bed->last.started_ms, 1000);
    gang->parts[0].record.usage.cpu_ms = INT64_MAX; /* a node may say anything */
    gang->parts[1].record.usage.cpu_ms = 5;
    gang->parts[0].record.checkpoint_ms = 77;
    gang->parts[1].record.checkpoint_ms = 99;
    gang_progress(&bed->nodes, gang);
    assert_true(bed->last.usage.cpu_ms == INT64_MAX && bed->last.checkpoint_ms == 77);
    end_part(bed, gang, 0, END_EXITED, 0, "");
    assert_int_equal(bed->told[NOTE_ENDED], 0);
    assert_false(gang->decided);
    end_part(bed, gang, 1, END_EXITED, 0, "");
    assert_int_equal(bed->told[NOTE_ENDED], 1);
    assert_true(bed->last.end == END_EXITED && bed->last.exit_code == 0);
    assert_true(bed->last.usage.cpu_ms == 20 && bed->last.usage.wall_ms == 4000 &&
                bed->last.usage.energy_mj == 10);
    /* Said twice it changes nothing. */
    end_part(bed, gang, 1, END_SIGNALLED, 9, "");
    assert_int_equal(bed->told[NOTE_ENDED], 1);
    assert_true(gang_recall(&bed->nodes, KEY, "final", &record));
    assert_int_equal(record.usage.cpu_ms, 20);
    assert_false(gang_recall(&bed->nodes, (struct attempt_key){ 7, 3 }, "final", &record));
}

static void test_first_failure(void **state)
{
    struct bed *bed = *state;
    struct gang *gang = begin(bed, 3), *again = NULL;

    for (int i = 0; i < 3; i++)
        gang_part_started(&bed->nodes, gang, &gang->parts[i], 1000);
    end_part(bed, gang, 2, END_EXITED, 0, "");
    end_part(bed, gang, 1, END_EXITED, 7, "rank 3 ended first");
    assert_true(gang->decided);
    assert_int_equal(bed->told[NOTE_ENDED], 0); /* one still runs */
    /* An agent that begins anew knows what was decided, and not how far the parts are. */
    assert_int_equal(gang_load(&bed->nodes, KEY, &again), 0);
    assert_true(again->decided && again->state == ATTEMPT_BEGUN && again->parts_count == 3);
    assert_int_equal(again->record.exit_code, 7);
    assert_string_equal(again->parts[2].node, "c");
    gang_destroy(again);
    end_part(bed, gang, 0, END_STOPPED, 0, "another ended first");
    assert_int_equal(bed->told[NOTE_ENDED], 1);
    assert_true(bed->last.end == END_EXITED && bed->last.exit_code == 7);
    assert_string_equal(bed->last.reason, "node b: rank 3 ended first");
    assert_int_equal(gang_load(&bed->nodes, KEY, &again), 0);
    assert_true(again->state == ATTEMPT_ENDED && again->record.exit_code == 7);
    gang_destroy(again);
}

/* A node says what is no end: the network would refuse it, and the job be held for ever. */
static void test_no_end(void **state)
{
    static const uint32_t ends[] = { 8, 11, 14, 255 };
    struct bed *bed = *state;

    for (uint32_t i = 0; i < ARRAY_COUNT(ends); i++) {
        struct gang *gang = begin(bed, 1);

        gang_part_started(&bed->nodes, gang, &gang->parts[0], 1000);
        end_part(bed, gang, 0, (enum attempt_end)ends[i], 0, "");
        assert_int_equal(bed->told[NOTE_ENDED], i + 1);
        assert_int_equal(bed->last.end, END_LOST);
        HASH_DEL(bed->nodes.gangs, gang);
        gang_destroy(gang);
    }
}

static void test_lost(void **state)
{
    struct bed *bed = *state;
    struct gang *gang = begin(bed, 2);

    gang_part_started(&bed->nodes, gang, &gang->parts[0], 1000);
    gang_part_lost(&bed->nodes, gang, &gang->parts[1], "it was not heard");
    assert_int_equal(bed->told[NOTE_STARTED], 0);
    /* The lease that ended is the node's: for the network it is lost, not its site's lease over. */
    end_part(bed, gang, 0, END_LEASE, 0, "lease");
    assert_int_equal(bed->last.end, END_LOST);
    assert_string_equal(bed->last.reason, "node b: it was not heard");
}

static void test_refused_lease(void **state)
{
    struct bed *bed = *state;
    struct gang *gang = begin(bed, 2);

    end_part(bed, gang, 0, END_LEASE, 0, "lease");
    end_part(bed, gang, 1, END_STOPPED, 0, "");
    assert_int_equal(bed->last.end, END_LOST);
    assert_string_equal(bed->last.reason, "node a: lease");
}

static void test_damaged_note(void **state)
{
    static const char *const notes[] = { "", "{}", "[1]", "{\"parts\":[]}", "{\"parts\":7}" };
    struct bed *bed = *state;
    CLEANUP(freep) char *path = path_format("%s/attempts/7.2/gang", bed->dir);
    struct gang *gang = NULL;

    for (size_t i = 0; i < ARRAY_COUNT(notes); i++) {
        assert_int_equal(file_write(path, notes[i], strlen(notes[i]), 0600, false, NULL), 0);
        assert_int_equal(gang_load(&bed->nodes, KEY, &gang), -EBADMSG);
    }
    assert_int_equal(gang_load(&bed->nodes, (struct attempt_key){ 9, 1 }, &gang), -ENOENT);
}

/* ---- one log of several ---- */

static void log_piece(struct bed *bed, struct gang *gang, uint32_t part, int64_t offset,
                      const char *text, bool eof)
{
    struct wire_report report = { .type = REPORT_LOG,
                                  .request = gang->parts[part].logs[0].request,
                                  .offset = offset,
                                  .data = text,
                                  .data_len = (uint32_t)strlen(text),
                                  .eof = eof };

    gang_logs_take(&bed->nodes, &bed->machines[part], &report);
}

static void assert_log(const struct bed *bed, const char *expected)
{
    CLEANUP(freep) char *path = path_format("%s/attempts/7.2/stdout", bed->dir);
    struct buf text = buf_init(1 << 20);

    assert_int_equal(file_read(path, &text, NULL), 0);
    assert_string_equal(text.data ? text.data : "", expected);
    buf_fini(&text);
}

static void test_logs(void **state)
{
    struct bed *bed = *state;
    CLEANUP(freep) char *path = path_format("%s/attempts/7.2/stdout", bed->dir);
    struct gang *gang = begin(bed, 2);
    int fd;

    for (uint32_t i = 0; i < 2; i++) {
        gang->parts[i].logs[0].eof = false;
        gang->parts[i].logs[0].request = 10 + i;
    }
    log_piece(bed, gang, 0, 0, "a1\na", false);
    log_piece(bed, gang, 1, 0, "b1\n", false);
    log_piece(bed, gang, 0, 4, "2\n", false);
    log_piece(bed, gang, 0, 99, "not what follows\n", false);
    log_piece(bed, gang, 1, 3, "b2 without an end", false);
    assert_log(bed, "a1\nb1\na2\n");
    /* The agent is killed after it wrote and before it noted so: what is not noted comes again. */
    gang_logs_close(gang);
    fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "half a li", 9), 9);
    close(fd);
    assert_int_equal(gang_logs_open(&bed->nodes, gang, &bed->err), 0);
    assert_log(bed, "a1\nb1\na2\n");
    assert_true(gang->parts[0].logs[0].offset == 6 && gang->parts[1].logs[0].offset == 3);
    gang->parts[1].logs[0].request = 12;
    log_piece(bed, gang, 1, 3, "b2 without an end", true);
    assert_log(bed, "a1\nb1\na2\nb2 without an end");
    assert_false(gang_logs_are_whole(gang));
    log_piece(bed, gang, 0, 6, "", true);
    assert_true(gang_logs_are_whole(gang));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gang_text),
        cmocka_unit_test_setup_teardown(test_all_well, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_first_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_lease, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_note, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_logs, set_up, tear_down),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
