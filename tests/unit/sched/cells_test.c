#include "sched/cells.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cells *make(const struct cells_shape *shape, uint32_t owners)
{
    struct cells *cells = NULL;
    struct err err = { { 0 }, { 0 } };

    if (cells_create(shape, owners, &cells, &err) < 0)
        fail_msg("%s", err.text);
    return cells;
}

static void test_shapes_refused(void **state)
{
    static const struct {
        struct cells_shape shape;
        uint32_t owners;
        int rc;
    } cases[] = {
        { { 0, { 0 } }, 1, -EINVAL },
        { { 8, { 8, 1, 1, 1, 1, 1, 1, 1 } }, 1, -EINVAL }, /* one level too many */
        { { 9, { 8 } }, 1, -EINVAL },
        { { 2, { 8, 0 } }, 1, -EINVAL },
        { { 2, { 65, 1 } }, 1, -EINVAL },
        { { 3, { 8, 1000, 1001 } }, 1, -ENOSPC },
        { { 2, { 8, 4 } }, CELLS_OWNERS_MAX + 1, -EINVAL },
        { { 2, { 8, 4 } }, 0, 0 },
        { { 1, { 8 } }, 1, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cells *cells = NULL;
        struct err err = { { 0 }, { 0 } };
        int rc = cells_create(&cases[i].shape, cases[i].owners, &cells, &err);

        if (rc != cases[i].rc || (rc == 0) != (cells != NULL) || (rc < 0) != (err.text[0] != 0))
            fail_msg("case %zu: rc %d \"%s\"", i, rc, err.text);
        cells_destroy(cells);
    }
}

static void test_promised_once(void **state)
{
    /* 2 racks of 2 boards of 2 nodes */
    const struct cells_shape shape = { 4, { 8, 2, 2, 2 } };
    struct cells *cells = make(&shape, 3);

    (void)state;
    assert_int_equal(cells_set_guarantee(cells, 0, 2, 1, NULL), 0); /* a rack */
    assert_int_equal(cells_set_guarantee(cells, 1, 0, 1, NULL), 0); /* a node splits the other */
    assert_int_equal(cells_set_guarantee(cells, 2, 2, 1, NULL), -ENOSPC);
    assert_int_equal(cells_set_guarantee(cells, 2, 1, 2, NULL), -ENOSPC);
    assert_int_equal(cells_set_guarantee(cells, 2, 1, 1, NULL), 0);
    assert_int_equal(cells_set_guarantee(cells, 2, 0, 2, NULL), -ENOSPC);
    assert_int_equal(cells_set_guarantee(cells, 2, 0, 1, NULL), 0);
    assert_int_equal(cells_set_guarantee(cells, 1, 0, 2, NULL), -ENOSPC);
    assert_int_equal(cells_set_guarantee(cells, 3, 0, 1, NULL), -EINVAL);
    assert_int_equal(cells_set_guarantee(cells, 0, 4, 1, NULL), -EINVAL);
    assert_int_equal(cells_set_guarantee(cells, 0, 0, 9, NULL), -ENOSPC);
    assert_int_equal(cells_guaranteed_devices(cells, 2), 24);
    cells_destroy(cells);
}

static void test_tightest_domain(void **state)
{
    /* 2 supernodes of 2 racks of 4 nodes of 8 */
    const struct cells_shape shape = { 4, { 8, 4, 2, 2 } };
    static const struct {
        struct cells_ask ask;
        uint32_t level; /* CELLS_NONE = no place */
    } cases[] = {
        { { 1, 3, 3, false }, 0 },
        { { 4, 2, 3, false }, 0 },
        { { 4, 8, 3, false }, 1 },
        { { 5, 8, 3, false }, 2 },
        { { 8, 8, 2, true }, 2 },
        { { 9, 8, 2, true }, CELLS_NONE },
        { { 9, 8, 2, false }, 3 },
        { { 16, 8, 3, true }, 3 },
        { { 17, 8, 3, false }, CELLS_NONE },
        { { 1, 9, 3, false }, CELLS_NONE },
        { { 9, 3, 1, true }, CELLS_NONE },
        { { 8, 3, 1, true }, 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct celltree tree;
        struct cells_part parts[32];
        uint32_t level = CELLS_NONE, count;

        celltree_init(&tree, &shape);
        count = celltree_find(&tree, &cases[i].ask, parts, &level);
        if (level != cases[i].level || (count == 0) != (level == CELLS_NONE))
            fail_msg("case %zu: level %u, %u parts", i, level, count);
        celltree_fini(&tree);
    }
}

/* Existence and tightness beside a count of every cell of every level. */
static void test_find_exact(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct rng rng = { seed };
        struct cells_shape shape = { 1 + (uint32_t)rng_below(&rng, 4), { 0 } };
        struct celltree tree;

        shape.counts[0] = 1 + (uint32_t)rng_below(&rng, 8);
        for (uint32_t l = 1; l < shape.levels_count; l++)
            shape.counts[l] = 1 + (uint32_t)rng_below(&rng, 4);
        celltree_init(&tree, &shape);
        for (uint32_t n = 0; n < tree.cells_count[0]; n++)
            if (rng_below(&rng, 2))
                celltree_change(&tree, n, -(int32_t)rng_below(&rng, shape.counts[0] + 1));
        for (uint32_t k = 0; k < 50; k++) {
            struct cells_ask ask = { 1 + (uint32_t)rng_below(&rng, 12),
                                     1 + (uint32_t)rng_below(&rng, 9), (uint32_t)rng_below(&rng, 4),
                                     rng_below(&rng, 2) };
            struct cells_part parts[64];
            uint32_t level = CELLS_NONE, want = CELLS_NONE, sum = 0;
            uint32_t count = celltree_find(&tree, &ask, parts, &level);

            for (uint32_t l = 0; l < shape.levels_count && want == CELLS_NONE; l++)
                for (uint32_t c = 0; c < tree.cells_count[l]; c++) {
                    uint32_t tasks = 0;

                    for (uint32_t n = c * tree.sizes[l]; n < (c + 1) * tree.sizes[l]; n++)
                        tasks += tree.free[n] / ask.task_devices;
                    if (tasks >= ask.tasks && !(ask.is_hard && l > ask.level))
                        want = l;
                }
            if (level != want)
                fail_msg("seed %llu ask %u: level %u, brute force %u", (unsigned long long)seed, k,
                         level, want);
            for (uint32_t i = 0; i < count; i++) {
                assert_int_equal(parts[i].devices % ask.task_devices, 0);
                assert_true(parts[i].devices <= tree.free[parts[i].node]);
                assert_int_equal(parts[i].node / tree.sizes[level],
                                 parts[0].node / tree.sizes[level]);
                for (uint32_t j = 0; j < i; j++)
                    assert_int_not_equal(parts[i].node, parts[j].node);
                sum += parts[i].devices;
            }
            if (count)
                assert_int_equal(sum, ask.tasks * ask.task_devices);
        }
        celltree_fini(&tree);
    }
}

/* Can these cells be cut from one cell of `level` with nothing in it? By trying. */
static bool packs(const struct cells_shape *shape, uint32_t level, uint32_t *left)
{
    for (uint32_t l = level + 1; l-- > 0;) {
        if (!left[l])
            continue;
        if (l == level) {
            left[l]--;
            return true;
        }
        break;
    }
    if (level == 0)
        return true;
    for (uint32_t c = 0; c < shape->counts[level]; c++)
        packs(shape, level - 1, left);
    return true;
}

static void test_guarantees_exact(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rng rng = { seed };
        struct cells_shape shape = {
            3, { 4, 1 + (uint32_t)rng_below(&rng, 3), 1 + (uint32_t)rng_below(&rng, 4) }
        };
        uint32_t want[3] = { (uint32_t)rng_below(&rng, 5), (uint32_t)rng_below(&rng, 4), 0 };
        uint32_t left[3] = { want[0], want[1], want[2] };
        struct cells *cells = make(&shape, 2);
        bool fits = true;

        packs(&shape, 2, left); /* largest first is exact: small ones fill what is left */
        for (uint32_t l = 0; l < 2; l++)
            fits = fits && cells_set_guarantee(cells, l, l, want[l], NULL) == 0;
        if (fits != (!left[0] && !left[1]))
            fail_msg("seed %llu: %d, by trying %d", (unsigned long long)seed, fits,
                     !left[0] && !left[1]);
        cells_destroy(cells);
    }
}

#define JOBS_MAX 200u

struct world { /* the shared pool, and each owner alone in one of the same promises */
    struct cells *shared, *alone[3];
    struct cells_list off;
    uint32_t jobs[JOBS_MAX], twins[JOBS_MAX], owner[JOBS_MAX];
    uint32_t count;
};

static void step_claim(struct world *world, uint32_t i, uint64_t seed)
{
    uint32_t job = world->jobs[i], owner = world->owner[i];

    if (!cells_has_claim(world->shared, job)) {
        bool is_in = cells_claim(world->shared, job);

        if (is_in != cells_claim(world->alone[owner], world->twins[i]))
            fail_msg("seed %llu: claimed %d, alone %d", (unsigned long long)seed, is_in, !is_in);
        if (is_in)
            assert_true(cells_may_claim(world->shared, job));
        return;
    }
    if (cells_place_of(world->shared, job) == CELLS_FIRM)
        return;
    if (cells_place_of(world->shared, job) == CELLS_LENT && cells_adopt(world->shared, job))
        return;
    world->off.count = 0; /* the guarantee: with a claim, there is always a place */
    if (cells_settle(world->shared, job, &world->off) < 0)
        fail_msg("seed %llu: a claim was not settled", (unsigned long long)seed);
    for (uint32_t k = 0; k < world->off.count; k++)
        assert_int_equal(cells_place_of(world->shared, world->off.jobs[k]), CELLS_WAITING);
}

static void step(struct world *world, struct rng *rng, uint64_t seed)
{
    uint32_t pick = (uint32_t)rng_below(rng, 10);
    uint32_t i = world->count ? (uint32_t)rng_below(rng, world->count) : 0;
    struct err err = { { 0 }, { 0 } };

    if ((pick < 3 || !world->count) && world->count < JOBS_MAX) {
        uint32_t owner = (uint32_t)rng_below(rng, 3);
        bool is_wide = rng_below(rng, 3) == 0;
        struct cells_ask ask = { is_wide ? 1 + (uint32_t)rng_below(rng, 6) : 1,
                                 is_wide ? 4 : 1 + (uint32_t)rng_below(rng, 4),
                                 (uint32_t)rng_below(rng, 4), rng_below(rng, 2) };

        world->owner[world->count] = owner;
        world->jobs[world->count] = cells_add(world->shared, owner, &ask);
        world->twins[world->count] = cells_add(world->alone[owner], owner, &ask);
        cells_set_worth(world->shared, world->jobs[world->count], (double)rng_below(rng, 5));
        world->count++;
    } else if (pick < 5) {
        if (cells_place_of(world->shared, world->jobs[i]) == CELLS_WAITING)
            cells_lend(world->shared, world->jobs[i]);
    } else if (pick < 8) {
        step_claim(world, i, seed);
    } else if (pick < 9) {
        cells_release(world->shared, world->jobs[i]);
    } else {
        cells_remove(world->shared, world->jobs[i]);
        cells_remove(world->alone[world->owner[i]], world->twins[i]);
        world->count--;
        world->jobs[i] = world->jobs[world->count];
        world->twins[i] = world->twins[world->count];
        world->owner[i] = world->owner[world->count];
    }
    if (!cells_check(world->shared, &err))
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
}

static void test_guarantee_holds(void **state)
{
    const struct cells_shape shape = { 4, { 4, 2, 3, 2 } }; /* 12 nodes, 6 boards, 2 racks */
    static const uint32_t promised[3][3] = { { 3, 1, 0 }, { 1, 0, 1 }, { 0, 0, 0 } };

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rng rng = { seed };
        struct world world = { .shared = make(&shape, 3) };

        for (uint32_t o = 0; o < 3; o++) {
            world.alone[o] = make(&shape, 3);
            for (uint32_t l = 0; l < 3; l++) {
                assert_int_equal(cells_set_guarantee(world.shared, o, l, promised[o][l], NULL), 0);
                assert_int_equal(cells_set_guarantee(world.alone[o], o, l, promised[o][l], NULL),
                                 0);
            }
        }
        for (uint32_t k = 0; k < 2000; k++)
            step(&world, &rng, seed);
        while (world.count) { /* buddies merge: the whole pool can be promised again */
            cells_remove(world.shared, world.jobs[--world.count]);
        }
        for (uint32_t o = 0; o < 3; o++)
            for (uint32_t l = 0; l < 3; l++)
                assert_int_equal(cells_set_guarantee(world.shared, o, l, 0, NULL), 0);
        assert_int_equal(cells_set_guarantee(world.shared, 0, 3, 1, NULL), 0);
        assert_int_equal(cells_tree(world.shared)->devices_free, 48);
        assert_true(cells_check(world.shared, NULL));
        cells_destroy(world.shared);
        for (uint32_t o = 0; o < 3; o++)
            cells_destroy(world.alone[o]);
        cells_list_fini(&world.off);
    }
}

static void test_closed_nodes(void **state)
{
    const struct cells_shape shape = { 2, { 8, 2 } };
    const struct cells_ask ask = { 1, 8, 1, false };
    struct cells *cells = make(&shape, 1);
    struct cells_list off = { 0 };
    uint32_t a = cells_add(cells, 0, &ask), b = cells_add(cells, 0, &ask);

    (void)state;
    assert_int_equal(cells_set_guarantee(cells, 0, 0, 2, NULL), 0);
    cells_set_open(cells, 0, false);
    assert_true(cells_claim(cells, a));
    assert_int_equal(cells_set_guarantee(cells, 0, 0, 1, NULL), -EBUSY);
    assert_int_equal(cells_settle(cells, a, &off), 0);
    assert_true(cells_claim(cells, b));
    assert_int_equal(cells_settle(cells, b, &off), -ENOSPC);
    assert_true(cells_check(cells, NULL));
    cells_set_open(cells, 0, true);
    assert_int_equal(cells_settle(cells, b, &off), 0);
    cells_set_open(cells, 0, false);
    cells_remove(cells, b);
    cells_remove(cells, a);
    assert_int_equal(cells_tree(cells)->devices_free, 8);
    cells_set_open(cells, 0, true);
    assert_int_equal(cells_tree(cells)->devices_free, 16);
    cells_list_fini(&off);
    cells_destroy(cells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes_refused),   cmocka_unit_test(test_promised_once),
        cmocka_unit_test(test_tightest_domain),  cmocka_unit_test(test_find_exact),
        cmocka_unit_test(test_guarantees_exact), cmocka_unit_test(test_guarantee_holds),
        cmocka_unit_test(test_closed_nodes),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
