/* Whose turn it is on a link that is there now and then, and that the depot keeps to it. */
#include "agent/depot.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Each goes before the next. */
static const struct turn in_turn[] = {
    { TURN_OUTPUTS, CLASS_URGENT, 0, 9 },    { TURN_OUTPUTS, CLASS_HIGH, 0, 9 },
    { TURN_OUTPUTS, CLASS_NORMAL, 100, 9 },  { TURN_OUTPUTS, CLASS_NORMAL, 200, 1 },
    { TURN_OUTPUTS, CLASS_NORMAL, 0, 1 },    { TURN_OUTPUTS, CLASS_NORMAL, 0, 2 },
    { TURN_OUTPUTS, CLASS_LOW, 50, 0 },      { TURN_LAST_CHECKPOINT, CLASS_URGENT, 1, 0 },
    { TURN_CHECKPOINT, CLASS_URGENT, 1, 0 }, { TURN_STAGING, CLASS_URGENT, 1, 0 },
    { TURN_PRESTAGE, CLASS_URGENT, 1, 0 },
};

static void test_turns(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(in_turn); i++)
        for (size_t k = 0; k < ARRAY_COUNT(in_turn); k++) {
            int is = turn_compare(&in_turn[i], &in_turn[k]);

            if ((is < 0) != (i < k) || (is > 0) != (i > k))
                fail_msg("%zu and %zu: %d", i, k, is);
        }
}

static void test_what_orders_say(void **state)
{
    const struct attempt_key one = { .job_id = 1, .epoch = 1 }, two = { .job_id = 2, .epoch = 1 };
    struct turns *turns = turns_create();
    struct turn turn;

    (void)state;
    turns_note(turns, one, "{\"class\":\"high\"}", 77);
    turns_note(turns, one, "{\"class\":\"low\"}", 1); /* ordered again: it stays as it was */
    turns_note(turns, two, "{\"class\":\"of its own\",\"x\":1}", 0);
    turn = turns_find(turns, one, TURN_STAGING, 5);
    assert_int_equal(turn.kind, TURN_STAGING);
    assert_int_equal(turn.job_class, CLASS_HIGH);
    assert_int_equal(turn.deadline_ms, 77);
    assert_int_equal(turn.since_ms, 5);
    turn = turns_find(turns, two, TURN_OUTPUTS, 0);
    assert_int_equal(turn.job_class, CLASS_NORMAL);
    turns_forget(turns, one);
    turns_forget(turns, one);
    assert_int_equal(turns_find(turns, one, TURN_OUTPUTS, 0).deadline_ms, 0);
    turns_note(turns, one, "not JSON \"class\"", 9);
    assert_int_equal(turns_find(turns, one, TURN_OUTPUTS, 0).deadline_ms, 9);
    turns_destroy(turns);
}

struct errand {
    struct depot_task task; /* first */
    char name;
    int steps;
    char **at; /* each step leaves its name there */
    int *left;
};

static int step(struct depot_task *task, const struct depot_bench *bench, struct err *err)
{
    struct errand *errand = (struct errand *)task;

    (void)bench;
    (void)err;
    *(*errand->at)++ = errand->name;
    return --errand->steps > 0;
}

static void done(struct depot_task *task)
{
    --*((struct errand *)task)->left;
}

/* Given in the order of the text, two steps each. */
static void run(const char *names, bool ordered, char *said)
{
    char folder[] = "/tmp/mains-turn-XXXXXX", *at = said;
    struct errand errands[8] = { 0 };
    struct depot_config config = { .agent_dir = folder };
    struct depot *depot = NULL;
    int left = (int)strlen(names);
    uv_loop_t loop;

    assert_non_null(mkdtemp(folder));
    uv_loop_init(&loop);
    config.loop = &loop;
    assert_int_equal(depot_create(&config, &depot, NULL), 0);
    depot_set_ordered(depot, ordered);
    depot_gather(depot, true);
    for (size_t i = 0; names[i]; i++) {
        errands[i] = (struct errand){ .name = names[i], .steps = 2, .at = &at, .left = &left };
        errands[i].task.step = step;
        errands[i].task.done = done;
        errands[i].task.turn = (struct turn){ .kind = (enum turn_kind)(names[i] - 'a') };
        depot_submit(depot, &errands[i].task);
    }
    depot_gather(depot, false);
    while (left)
        uv_run(&loop, UV_RUN_ONCE);
    *at = '\0';
    depot_destroy(depot);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
        ;
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(dir_remove(folder, NULL), 0);
}

static void test_the_depot(void **state)
{
    char said[64];

    (void)state;
    run("cab", false, said);
    assert_string_equal(said, "cabcab"); /* a message each */
    run("cabae", true, said);
    assert_string_equal(said, "aaaabbccee"); /* each whole */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_what_orders_say),
        cmocka_unit_test(test_the_depot),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
