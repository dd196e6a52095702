#include "sched/lend.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct lend_params quick(void)
{
    struct lend_params params = lend_params_default();

    params.checkpoint_ms = 100;
    params.restart_ms = 20;
    params.patience_ms = 500;
    return params;
}

static void test_refused(void **state)
{
    const struct cells_shape shape = { 2, { 4, 2 } };
    struct lend_params params = quick();
    struct lend *lend = NULL;

    (void)state;
    params.checkpoint_ms = 0;
    assert_int_equal(lend_create(&params, &shape, 1, &lend, NULL), -EINVAL);
    params = quick();
    params.share.half_life_ms = 0;
    assert_int_equal(lend_create(&params, &shape, 1, &lend, NULL), -EINVAL);
    assert_null(lend);
}

static void test_lent_and_taken_back(void **state)
{
    const struct cells_shape shape = { 2, { 4, 2 } };
    const struct cells_ask ask = { 1, 4, 1, false };
    struct lend_params params = quick();
    const struct lend_action *actions;
    struct lend *lend = NULL;
    uint32_t count, a, b, c;

    (void)state;
    assert_int_equal(lend_create(&params, &shape, 2, &lend, NULL), 0);
    assert_int_equal(lend_set_guarantee(lend, 0, 0, 1, NULL), 0);
    assert_int_equal(lend_set_guarantee(lend, 1, 0, 1, NULL), 0);
    a = lend_submit(lend, 0, &ask, 0);
    b = lend_submit(lend, 0, &ask, 0); /* on the other's node */
    actions = lend_pass(lend, 0, &count);
    assert_int_equal(count, 2);
    assert_int_equal(actions[0].job, a);
    assert_false(lend_is_lent(lend, a));
    assert_true(lend_is_lent(lend, b));

    c = lend_submit(lend, 1, &ask, 250); /* wants its own now */
    actions = lend_pass(lend, 250, &count);
    assert_int_equal(count, 2);
    assert_int_equal(actions[0].what, LEND_STOP);
    assert_int_equal(actions[0].job, b);
    assert_int_equal(actions[0].done_ms, 200); /* since the checkpoint: lost */
    assert_int_equal(actions[1].what, LEND_START);
    assert_int_equal(actions[1].job, c);

    lend_finish(lend, a, 300, 300);
    actions = lend_pass(lend, 300, &count);
    assert_int_equal(count, 1);
    assert_int_equal(actions[0].job, b);
    assert_int_equal(actions[0].done_ms, 200);
    assert_false(lend_is_lent(lend, b)); /* its turn */
    lend_cancel(lend, b, 310);
    lend_finish(lend, c, 100, 350);
    lend_pass(lend, 350, &count);
    assert_int_equal(count, 0);
    assert_int_equal(lend_next_ms(lend), INT64_MAX);
    assert_int_equal(cells_tree(lend_cells(lend))->devices_free, 8);
    lend_destroy(lend);
}

static void test_lost_node(void **state)
{
    const struct cells_shape shape = { 2, { 4, 2 } };
    const struct cells_ask ask = { 1, 4, 1, false };
    struct lend_params params = quick();
    const struct lend_action *actions;
    struct lend *lend = NULL;
    uint32_t count, a, b, node;

    (void)state;
    assert_int_equal(lend_create(&params, &shape, 2, &lend, NULL), 0);
    assert_int_equal(lend_set_guarantee(lend, 0, 0, 1, NULL), 0);
    assert_int_equal(lend_set_guarantee(lend, 1, 0, 1, NULL), 0);
    a = lend_submit(lend, 0, &ask, 0);
    b = lend_submit(lend, 1, &ask, 0);
    lend_pass(lend, 0, &count);
    assert_int_equal(count, 2);
    node = cells_parts(lend_cells(lend), a, &count)->node;
    lend_set_open(lend, node, false);
    lend_break(lend, a, 150, 200);
    lend_pass(lend, 200, &count);
    assert_int_equal(count, 0); /* the other node is its owner's, who uses it */
    lend_finish(lend, b, 300, 300);
    actions = lend_pass(lend, 300, &count);
    assert_int_equal(count, 1); /* on the other's, and its own in all but name */
    assert_int_equal(actions[0].job, a);
    assert_int_equal(actions[0].done_ms, 150);
    lend_finish(lend, a, 400, 700);
    lend_pass(lend, 700, &count);
    lend_set_open(lend, node, true);
    assert_int_equal(lend_next_ms(lend), INT64_MAX);
    assert_int_equal(cells_tree(lend_cells(lend))->devices_free, 8);
    assert_true(cells_check(lend_cells(lend), NULL));
    lend_destroy(lend);
}

#define JOBS 150u
#define OWNERS 3u

struct work {
    int64_t submit_ms, work_ms, end_ms, alone_ms;
    uint32_t owner, job;
    struct cells_ask ask;
    int64_t run_end_ms; /* INT64_MAX: not running */
};

/* The owner in its own cells: in order, past what does not fit, until the first is out of
 * patience. Written without lend.c. */
static void run_alone(struct work *works, uint32_t owner, struct cells *cells, int64_t patience_ms)
{
    enum { NOT_THERE, QUEUED, RUNS, ENDED } at[JOBS] = { NOT_THERE };

    for (int64_t now = 0; now < INT64_MAX;) {
        int64_t next = INT64_MAX;
        bool is_first = true;

        for (uint32_t i = 0; i < JOBS; i++) {
            if (works[i].owner != owner)
                continue;
            if (at[i] == RUNS && works[i].alone_ms <= now) {
                cells_unclaim(cells, works[i].job);
                at[i] = ENDED;
            }
            if (at[i] == NOT_THERE && works[i].submit_ms <= now) {
                works[i].job = cells_add(cells, owner, &works[i].ask);
                at[i] = cells_may_claim(cells, works[i].job) ? QUEUED : ENDED;
                works[i].alone_ms = INT64_MAX;
            }
        }
        for (uint32_t i = 0; i < JOBS; i++) {
            if (works[i].owner != owner || at[i] != QUEUED)
                continue;
            if (cells_claim(cells, works[i].job)) {
                works[i].alone_ms = now + works[i].work_ms;
                at[i] = RUNS;
                continue;
            }
            if (is_first && now - works[i].submit_ms > patience_ms)
                break;
            is_first = false;
        }
        for (uint32_t i = 0; i < JOBS; i++) {
            if (works[i].owner == owner && at[i] == NOT_THERE)
                next = next < works[i].submit_ms ? next : works[i].submit_ms;
            if (works[i].owner == owner && at[i] == RUNS)
                next = next < works[i].alone_ms ? next : works[i].alone_ms;
        }
        now = next;
    }
}

static void run_network(struct work *works, struct lend *lend, int64_t restart_ms, uint64_t seed)
{
    uint32_t of_job[JOBS] = { 0 }, next = 0;
    struct err err = { { 0 }, { 0 } };

    for (uint32_t i = 0; i < JOBS; i++)
        works[i].run_end_ms = works[i].end_ms = INT64_MAX;
    for (;;) {
        const struct lend_action *actions;
        int64_t now = lend_next_ms(lend);
        uint32_t count;

        if (next < JOBS && works[next].submit_ms < now)
            now = works[next].submit_ms;
        for (uint32_t i = 0; i < next; i++)
            now = works[i].run_end_ms < now ? works[i].run_end_ms : now;
        if (now == INT64_MAX)
            return;
        for (uint32_t i = 0; i < next; i++)
            if (works[i].run_end_ms <= now) {
                works[i].end_ms = now;
                works[i].run_end_ms = INT64_MAX;
                lend_finish(lend, works[i].job, works[i].work_ms, now);
            }
        for (; next < JOBS && works[next].submit_ms <= now; next++) {
            works[next].job = lend_submit(lend, works[next].owner, &works[next].ask, now);
            of_job[works[next].job] = next;
        }
        actions = lend_pass(lend, now, &count);
        for (uint32_t k = 0; k < count; k++) {
            struct work *work = &works[of_job[actions[k].job]];

            assert_true(actions[k].done_ms >= 0 && actions[k].done_ms <= work->work_ms);
            work->run_end_ms = actions[k].what == LEND_STOP
                                   ? INT64_MAX
                                   : now + work->work_ms - actions[k].done_ms +
                                         (actions[k].done_ms ? restart_ms : 0);
        }
        if (!cells_check(lend_cells(lend), &err))
            fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
    }
}

static void test_never_later_than_alone(void **state)
{
    const struct cells_shape shape = { 3, { 4, 3, 4 } }; /* 4 racks of 3 nodes of 4 */
    static const uint32_t promised[OWNERS][2] = { { 3, 1 }, { 1, 1 }, { 2, 0 } };
    const struct lend_params params = quick();
    uint32_t earlier = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct rng rng = { seed };
        struct work works[JOBS];
        struct lend *lend = NULL;
        int64_t now = 0, pace = 20 + (int64_t)rng_below(&rng, 150);

        for (uint32_t i = 0; i < JOBS; i++) {
            now += (int64_t)rng_below(&rng, (uint64_t)pace);
            works[i] = (struct work){ .submit_ms = now,
                                      .work_ms = 1 + (int64_t)rng_below(&rng, 900),
                                      .owner = (uint32_t)rng_below(&rng, OWNERS),
                                      .ask = { 1, 1 + (uint32_t)rng_below(&rng, 4), 2, false } };
            if (rng_below(&rng, 4) == 0) /* a rack is three nodes */
                works[i].ask =
                    (struct cells_ask){ 1 + (uint32_t)rng_below(&rng, 3), 4,
                                        1 + (uint32_t)rng_below(&rng, 2), rng_below(&rng, 2) };
        }
        assert_int_equal(lend_create(&params, &shape, OWNERS, &lend, NULL), 0);
        for (uint32_t o = 0; o < OWNERS; o++) {
            struct cells *cells = NULL;

            assert_int_equal(cells_create(&shape, OWNERS, &cells, NULL), 0);
            for (uint32_t l = 0; l < 2; l++) {
                assert_int_equal(cells_set_guarantee(cells, o, l, promised[o][l], NULL), 0);
                assert_int_equal(lend_set_guarantee(lend, o, l, promised[o][l], NULL), 0);
            }
            run_alone(works, o, cells, params.patience_ms);
            cells_destroy(cells);
        }
        run_network(works, lend, params.restart_ms, seed);
        for (uint32_t i = 0; i < JOBS; i++) {
            if (works[i].end_ms > works[i].alone_ms)
                fail_msg("seed %llu: job %u of owner %u ends at %lld, alone at %lld",
                         (unsigned long long)seed, i, works[i].owner, (long long)works[i].end_ms,
                         (long long)works[i].alone_ms);
            assert_true(works[i].end_ms < INT64_MAX); /* what an owner cannot hold runs lent */
            earlier += works[i].end_ms < works[i].alone_ms;
        }
        assert_int_equal(cells_tree(lend_cells(lend))->devices_free, 48);
        lend_destroy(lend);
    }
    assert_true(earlier > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lent_and_taken_back),
        cmocka_unit_test(test_lost_node),
        cmocka_unit_test(test_never_later_than_alone),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
