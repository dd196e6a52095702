/* Who runs on which kind: edges, tables, and the answer against every possible one. */
#include "base/rng.h"
#include "sched/assign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define JOBS 8u
#define KINDS 3u
#define WORKS 2u

struct one { /* a question, and what answers it; made for each test */
    struct assign *assign;
    struct assign_params params;
    struct rng rng;
    struct assign_job jobs[JOBS];
    double weights[JOBS * KINDS];
    uint32_t capacity[KINDS];
    struct assign_slot slots[JOBS];
    struct assign_problem problem;
};

static int one_setup(void **state)
{
    struct one *one = calloc(1, sizeof(*one));

    *one =
        (struct one){ .assign = assign_create(), .params = assign_params_default(), .rng = { 7 } };
    *state = one;
    return 0;
}

static int one_teardown(void **state)
{
    struct one *one = *state;

    assign_destroy(one->assign);
    free(one);
    return 0;
}

static struct assign_result solve(struct one *one)
{
    return assign_solve(one->assign, &one->params, &one->problem, one->slots);
}

static void make(struct one *one, uint32_t jobs, uint32_t gang_bits, bool is_held)
{
    struct rng *rng = &one->rng;

    memset(one->jobs, 0, sizeof(one->jobs));
    memset(one->weights, 0, sizeof(one->weights));
    memset(one->slots, 0, sizeof(one->slots));
    one->problem = (struct assign_problem){ .jobs = one->jobs,
                                            .weights = one->weights,
                                            .capacity = one->capacity,
                                            .jobs_count = jobs,
                                            .kinds_count = KINDS };
    for (uint32_t k = 0; k < KINDS; k++)
        one->capacity[k] = (uint32_t)rng_below(rng, gang_bits ? 9 : 4);
    for (uint32_t j = 0; j < jobs; j++) {
        one->jobs[j] = (struct assign_job){ .id = 100 + j,
                                            .gang = 1u << rng_below(rng, gang_bits + 1),
                                            .work = (uint32_t)rng_below(rng, WORKS),
                                            .held = ASSIGN_NONE,
                                            .mate = ASSIGN_NONE };
        if (is_held && rng_below(rng, 2))
            one->jobs[j].held = (uint32_t)rng_below(rng, KINDS);
        for (uint32_t k = 0; k < KINDS; k++)
            if (rng_below(rng, 5))
                one->weights[j * KINDS + k] = rng_unit(rng) * one->jobs[j].gang;
    }
}

static double best_of_all(const struct one *one, uint32_t job, int64_t *left)
{
    double best;

    if (job == one->problem.jobs_count)
        return 0;
    best = best_of_all(one, job + 1, left);
    for (uint32_t k = 0; k < KINDS; k++) {
        double weight = one->weights[job * KINDS + k];

        if (!(weight > 0) || left[k] < one->jobs[job].gang)
            continue;
        left[k] -= one->jobs[job].gang;
        best = fmax(best, weight + best_of_all(one, job + 1, left));
        left[k] += one->jobs[job].gang;
    }
    return best;
}

static double optimum(const struct one *one)
{
    int64_t left[KINDS];

    for (uint32_t k = 0; k < KINDS; k++)
        left[k] = one->capacity[k];
    return best_of_all(one, 0, left);
}

/* Capacities hold, nobody is where it cannot be, mates agree. */
static void check(const struct one *one)
{
    uint64_t used[KINDS] = { 0 };

    for (uint32_t j = 0; j < one->problem.jobs_count; j++) {
        const struct assign_slot *slot = &one->slots[j];

        if (slot->kind == ASSIGN_NONE) {
            assert_int_equal(slot->mate, ASSIGN_NONE);
            continue;
        }
        assert_true(slot->kind < KINDS && one->weights[j * KINDS + slot->kind] > 0);
        if (slot->mate != ASSIGN_NONE) {
            assert_int_not_equal(slot->mate, j);
            assert_int_equal(one->slots[slot->mate].mate, j);
            assert_int_equal(one->slots[slot->mate].kind, slot->kind);
            assert_int_equal(one->jobs[slot->mate].gang, one->jobs[j].gang);
        }
        if (slot->mate == ASSIGN_NONE || slot->mate > j)
            used[slot->kind] += one->jobs[j].gang;
    }
    for (uint32_t k = 0; k < KINDS; k++)
        assert_true(used[k] <= one->capacity[k]);
}

static void test_edges(void **state)
{
    struct one *one = *state;
    struct assign_result result;

    make(one, 0, 0, false);
    result = solve(one);
    assert_true(result.value == 0 && result.is_settled);
    make(one, 4, 0, false);
    memset(one->capacity, 0, sizeof(one->capacity));
    assert_true(solve(one).value == 0);
    make(one, 4, 0, false);
    memset(one->weights, 0, sizeof(one->weights));
    assert_true(solve(one).value == 0);
    make(one, 4, 0, false);
    one->problem.kinds_count = 0;
    assert_true(solve(one).value == 0);
    for (uint32_t j = 0; j < 4; j++)
        assert_int_equal(one->slots[j].kind, ASSIGN_NONE);
    assign_destroy(NULL);
}

/* A gang past ASSIGN_UNIT_MAX is placed all the same, beside small ones. */
static void test_large_gang(void **state)
{
    struct one *one = *state;

    make(one, 2, 0, false);
    one->jobs[0].gang = 500;
    one->capacity[0] = 501;
    one->capacity[1] = one->capacity[2] = 0;
    one->weights[0] = 500;
    one->weights[KINDS] = 1;
    assert_true(solve(one).value == 501);
    check(one);
}

/* Greedy gives the first job the first kind; the exchange finds 9 + 9.5. */
static void test_exchange(void **state)
{
    struct one *one = *state;
    static const double weights[] = { 10, 9, 0, 9.5, 1, 0 };

    make(one, 2, 0, false);
    memcpy(one->weights, weights, sizeof(weights));
    one->capacity[0] = one->capacity[1] = 1;
    one->capacity[2] = 0;
    assert_true(solve(one).value == 18.5);
    assert_int_equal(one->slots[0].kind, 1);
    assert_int_equal(one->slots[1].kind, 0);
}

static void test_exact(void **state)
{
    struct one *one = *state;

    one->params.stay = 0;
    for (uint32_t round = 0; round < 2000; round++) {
        struct assign_result result;

        make(one, 1 + (uint32_t)rng_below(&one->rng, JOBS - 1), 0, true);
        result = solve(one);
        check(one);
        assert_true(result.is_settled);
        if (fabs(result.value - optimum(one)) > 1e-6)
            fail_msg("round %u: %.9f, best %.9f", round, result.value, optimum(one));
    }
}

static void test_gangs(void **state)
{
    struct one *one = *state;
    double sum = 0, most = 0;

    one->params.stay = 0;
    for (uint32_t round = 0; round < 1000; round++) {
        make(one, 1 + (uint32_t)rng_below(&one->rng, JOBS - 1), 3, true);
        sum += solve(one).value;
        most += optimum(one);
        check(one);
    }
    if (sum < 0.99 * most)
        fail_msg("%.4f of the optimum", sum / most);
}

/* One is a little better placed elsewhere: it stays. Much better: it goes. */
static void test_stay(void **state)
{
    struct one *one = *state;

    make(one, 1, 0, false);
    one->capacity[0] = one->capacity[1] = 1;
    one->jobs[0].held = 0;
    one->weights[0] = 1;
    one->weights[1] = 1.04;
    one->weights[2] = 0;
    solve(one);
    assert_int_equal(one->slots[0].kind, 0);
    one->weights[1] = 1.06;
    solve(one);
    assert_int_equal(one->slots[0].kind, 1);
}

static void test_sharing(void **state)
{
    struct one *one = *state;
    float share[KINDS * WORKS * WORKS];
    struct assign_sharing sharing = { share, WORKS };
    double alone = 0, together = 0;
    uint32_t pairs = 0;

    one->params.stay = 0;
    for (uint32_t round = 0; round < 1000; round++) {
        struct assign_result result;

        make(one, 1 + (uint32_t)rng_below(&one->rng, JOBS - 1), 1, false);
        for (uint32_t i = 0; i < KINDS * WORKS * WORKS; i++)
            share[i] = rng_below(&one->rng, 4) ? (float)(0.5 + rng_unit(&one->rng) / 2) : 0;
        result = solve(one);
        one->problem.sharing = &sharing;
        alone += result.value;
        result = solve(one);
        check(one);
        together += result.value;
        pairs += result.pairs;
        /* As it stands, again: nothing changes. */
        for (uint32_t j = 0; j < one->problem.jobs_count; j++) {
            one->jobs[j].held = one->slots[j].kind;
            one->jobs[j].mate = one->slots[j].mate;
        }
        if (solve(one).value < result.value - 1e-6)
            fail_msg("round %u: worse when asked again", round);
        check(one);
    }
    if (pairs < 100 || together <= alone)
        fail_msg("%u pairs, %.3f beside %.3f alone", pairs, together, alone);
}

/* No rate, no weight; little had and long waited count; who waits long enough overtakes. */
static void test_weight(void **state)
{
    struct assign_params params = assign_params_default();
    double young = assign_weight(&params, 1, 0, 0, 1);

    (void)state;
    assert_true(assign_weight(&params, 0, 1, 1, 1) == 0);
    assert_true(assign_weight_batch(&params, 0, 1, 1) == 0);
    assert_true(assign_weight_batch(&params, 1, 9, 1) > assign_weight_batch(&params, 1, 8, 1));
    assert_true(young == 1);
    assert_true(assign_weight(&params, 0.5, 0, 0, 1) < young);
    assert_true(assign_weight(&params, 1, 10, 10, 1) < young);
    assert_true(assign_weight(&params, 1, 0, 10, 1) > young);
    assert_true(assign_weight(&params, 1, 0, 0, 8) < 8 * young);
    assert_true(assign_weight(&params, 0.5, 0, 1e9, 1) > young);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_edges, one_setup, one_teardown),
        cmocka_unit_test_setup_teardown(test_large_gang, one_setup, one_teardown),
        cmocka_unit_test_setup_teardown(test_exchange, one_setup, one_teardown),
        cmocka_unit_test_setup_teardown(test_exact, one_setup, one_teardown),
        cmocka_unit_test_setup_teardown(test_gangs, one_setup, one_teardown),
        cmocka_unit_test_setup_teardown(test_stay, one_setup, one_teardown),
        cmocka_unit_test_setup_teardown(test_sharing, one_setup, one_teardown),
        cmocka_unit_test(test_weight),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
