#include "sched/defrag.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint32_t add(struct cells *cells, uint32_t nodes, bool is_hard, double worth)
{
    const struct cells_ask ask = { nodes, 8, 1, is_hard };
    uint32_t job = cells_add(cells, CELLS_NONE, &ask);

    cells_set_worth(cells, job, worth);
    return job;
}

static void put(struct cells *cells, uint32_t job, uint32_t node)
{
    const struct cells_part part = { node, 8 };

    assert_true(cells_put(cells, job, &part, 1));
}

/* Two domains of four nodes, two used in each: a gang of three needs one move. */
static void test_one_move(void **state)
{
    const struct cells_shape shape = { 3, { 8, 4, 2 } };
    struct defrag_params params = defrag_params_default();
    static const struct {
        double worth[4];
        int64_t waited_ms;
        uint32_t moved; /* job, CELLS_NONE = no plan */
    } cases[] = {
        { { 9, 9, 5, 9 }, 0, 2 },
        { { 9, 9, -1, 9 }, 0, 0 },
        { { -1, -1, -1, -1 }, 0, CELLS_NONE },
        { { 1e9, 1e9, 1e9, 1e9 }, 0, CELLS_NONE }, /* 24 devices * 10 min < 1e9 */
        { { 1e9, 1e9, 1e9, 1e9 }, 100000000, 0 },
        { { 0, 0, 0, 0 }, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cells *cells = NULL;
        struct defrag_plan plan = { 0 };
        uint32_t gang;
        bool is_found;

        assert_int_equal(cells_create(&shape, 0, &cells, NULL), 0);
        for (uint32_t k = 0; k < 4; k++)
            put(cells, add(cells, 1, false, cases[i].worth[k]), k / 2 * 4 + k % 2);
        gang = add(cells, 3, true, 0);
        assert_false(cells_lend(cells, gang));
        is_found = defrag_find(cells, &params, gang, cases[i].waited_ms, &plan);
        if (is_found != (cases[i].moved != CELLS_NONE) ||
            (is_found && (plan.moves_count != 1 || plan.moves[0].job != cases[i].moved)))
            fail_msg("case %zu: found %d, %u moves, first of %u", i, is_found, plan.moves_count,
                     plan.moves[0].job);
        assert_true(cells_check(cells, NULL));
        assert_int_equal(cells_tree(cells)->devices_free, 32); /* a plan changes nothing */
        if (is_found) {
            defrag_apply(cells, gang, &plan);
            assert_int_equal(cells_tree(cells)->devices_free, 8);
        }
        assert_true(cells_check(cells, NULL));
        defrag_plan_fini(&plan);
        cells_destroy(cells);
    }
}

static void test_refused(void **state)
{
    const struct cells_shape shape = { 3, { 8, 4, 2 } };
    struct defrag_params params = defrag_params_default();
    struct cells *cells = NULL;
    struct defrag_plan plan = { 0 };
    uint32_t gang;

    (void)state;
    assert_int_equal(cells_create(&shape, 0, &cells, NULL), 0);
    for (uint32_t k = 0; k < 6; k++)
        put(cells, add(cells, 1, false, 1), k / 3 * 4 + k % 3);
    gang = add(cells, 3, true, 0); /* two nodes are idle in all */
    assert_false(defrag_find(cells, &params, gang, INT64_C(1000000000), &plan));
    gang = add(cells, 2, false, 0); /* soft: it needs no room in one place */
    assert_false(defrag_find(cells, &params, gang, INT64_C(1000000000), &plan));
    gang = add(cells, 5, true, 0); /* no domain is so large */
    assert_false(defrag_find(cells, &params, gang, INT64_C(1000000000), &plan));
    gang = add(cells, 2, true, 0);
    assert_true(defrag_find(cells, &params, gang, 0, &plan));
    params.moves_max = 0;
    assert_false(defrag_find(cells, &params, gang, 0, &plan));
    defrag_plan_fini(&plan);
    cells_destroy(cells);
}

static uint32_t domains_of(const struct cells *cells, uint32_t job)
{
    uint32_t count, domains = 1;
    const struct cells_part *parts = cells_parts(cells, job, &count);

    for (uint32_t i = 1; i < count; i++)
        domains += parts[i].node / 6 != parts[i - 1].node / 6;
    return domains;
}

/* Random fleets: every plan can be carried out, splits no hard gang, and leaves nobody waiting. */
static void test_random(void **state)
{
    uint32_t found = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        const struct cells_shape shape = { 3, { 8, 6, 4 } };
        struct defrag_params params = defrag_params_default();
        struct rng rng = { seed };
        struct cells *cells = NULL;
        struct defrag_plan plan = { 0 };
        uint32_t jobs[64], gang;

        assert_int_equal(cells_create(&shape, 0, &cells, NULL), 0);
        for (uint32_t k = 0; k < 64; k++) {
            struct cells_ask ask = { 1, 1 + (uint32_t)rng_below(&rng, 8), 1, true };

            if (rng_below(&rng, 4) == 0)
                ask = (struct cells_ask){ 1 + (uint32_t)rng_below(&rng, 5), 8, 1,
                                          rng_below(&rng, 2) };
            jobs[k] = cells_add(cells, CELLS_NONE, &ask);
            cells_set_worth(cells, jobs[k], (double)rng_below(&rng, 20) - 1);
            cells_lend(cells, jobs[k]);
        }
        for (uint32_t k = 0; k < 64; k += 2)
            cells_release(cells, jobs[k]);
        gang = add(cells, 2 + (uint32_t)rng_below(&rng, 5), true, 0);
        if (!cells_lend(cells, gang) && defrag_find(cells, &params, gang, 0, &plan)) {
            found++;
            defrag_apply(cells, gang, &plan);
            assert_int_equal(domains_of(cells, gang), 1);
            for (uint32_t i = 0; i < plan.moves_count; i++) {
                assert_int_equal(cells_place_of(cells, plan.moves[i].job), CELLS_LENT);
                assert_true(domains_of(cells, plan.moves[i].job) <= 4);
            }
        }
        assert_true(cells_check(cells, NULL));
        defrag_plan_fini(&plan);
        cells_destroy(cells);
    }
    assert_true(found > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_move),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
