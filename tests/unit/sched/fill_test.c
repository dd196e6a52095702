/* The fill: what is refused, what a node's room is worth, and the set of nodes against a walk over
 * all of them. */
#include "base/cleanup.h"
#include "base/rng.h"
#include "sched/fill_set.h"
#include "sched/fill_streams.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ANY UINT64_MAX
#define NODES 60u

static const struct fill_room no_room;

static void test_params(void **state)
{
    struct fill_params params = fill_params_default();
    struct fill *fill = fill_create(&params, 1);

    (void)state;
    assert_non_null(fill);
    fill_destroy(fill);
    fill_destroy(NULL);
    fill_set_destroy(NULL);
    params.streams = 0;
    assert_null(fill_create(&params, 1));
    params = fill_params_default();
    params.stream_asks = FILL_STREAMS_MAX + 1;
    assert_null(fill_create(&params, 1));
    params = fill_params_default();
    params.draw_growth_percent = 100;
    assert_null(fill_create(&params, 1));
    params = fill_params_default();
    params.balance_floor = 0;
    assert_null(fill_create(&params, 1));
    assert_null(fill_set_create(&params, 1, 4));
}

static const struct {
    struct fill_ask ask;
    bool is_valid;
} asks[] = {
    { { -1, 0, 0, ANY }, false },
    { { FILL_CPU_MILLI_MAX + INT64_C(1), 0, 0, ANY }, false },
    { { 1000, 0, 500, ANY }, false },
    { { 1000, 1, 0, ANY }, false },
    { { 1000, 1, 1001, ANY }, false },
    { { 1000, 2, 500, ANY }, false },
    { { 1000, FILL_DEVICES_MAX + 1, 1000, ANY }, false },
    { { 1000, 1, 500, 0 }, false },
    { { 0, 0, 0, 0 }, true },
    { { 1000, 1, 1, 1 }, true },
    { { 1000, FILL_DEVICES_MAX, 1000, ANY }, true },
};

static void test_asks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(asks); i++)
        if (fill_ask_is_valid(&asks[i].ask) != asks[i].is_valid)
            fail_msg("ask %zu", i);
}

static const struct {
    struct fill_ask ask;
    bool fits;
} fits[] = {
    { { 8000, 0, 0, ANY }, true },     { { 8001, 0, 0, ANY }, false },
    { { 0, 1, 300, ANY }, true },      { { 0, 1, 301, ANY }, true },
    { { 0, 1, 1000, 1 << 3 }, true },  { { 0, 1, 1000, 1 << 2 }, false },
    { { 0, 2, 1000, ANY }, true },     { { 0, 3, 1000, ANY }, false },
    { { 8001, 1, 1000, ANY }, false },
};

static void test_fits(void **state)
{
    struct fill_node node = {
        .cpu_milli = 8000, .chip = 3, .devices_count = 4, .free_milli = { 300, 1000, 0, 1000 }
    };

    (void)state;
    fill_node_seal(&node);
    assert_int_equal(node.free_total, 2300);
    for (size_t i = 0; i < ARRAY_COUNT(fits); i++)
        if (fill_fits(&node, &fits[i].ask) != fits[i].fits)
            fail_msg("ask %zu", i);
}

static struct fill *fill_of(const struct fill_ask *list, size_t count, uint32_t times)
{
    struct fill_params params = fill_params_default();
    struct fill *fill = fill_create(&params, 7);

    assert_non_null(fill);
    for (uint32_t t = 0; t < times; t++)
        for (size_t i = 0; i < count; i++)
            fill_learn(fill, &list[i]);
    return fill;
}

static struct fill_node one_device(int64_t cpu_milli, uint16_t free_milli)
{
    struct fill_node node = { .cpu_milli = cpu_milli,
                              .devices_count = 1,
                              .free_milli = { free_milli } };

    fill_node_seal(&node);
    return node;
}

/* With asks of 400 alone, a device is worth what whole 400s it holds. */
static void test_value(void **state)
{
    static const struct fill_ask ask = { 1000, 1, 400, ANY };
    static const struct {
        int64_t cpu_milli;
        uint16_t free_milli;
        double value;
    } cases[] = { { 9000, 1000, 800 }, { 9000, 799, 400 }, { 9000, 400, 400 }, { 9000, 399, 0 },
                  { 1999, 1000, 400 }, { 999, 1000, 0 },   { -5, 1000, 0 },    { 9000, 0, 0 } };
    struct fill *fill = fill_of(&ask, 1, 20);
    struct fill_node node = one_device(9000, 1000);

    (void)state;
    assert_true(fill_is_due(fill));
    assert_true(fill_value(fill, &node) <= 0); /* nothing drawn yet */
    fill_draw(fill, NULL, 0, &no_room);
    assert_false(fill_is_due(fill));
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        double value;

        node = one_device(cases[i].cpu_milli, cases[i].free_milli);
        value = fill_value(fill, &node);
        if (value < cases[i].value || value > cases[i].value)
            fail_msg("case %zu: %g", i, value);
    }
    fill_destroy(fill);
}

/* Asks of other kinds' chips do not count; without devices CPUs alone are worth nothing. */
static void test_value_chips(void **state)
{
    static const struct fill_ask list[] = { { 1000, 1, 500, 1 << 1 }, { 1000, 0, 0, ANY } };
    struct fill *fill = fill_of(list, ARRAY_COUNT(list), 20);
    struct fill_node node = one_device(90000, 1000);

    (void)state;
    fill_draw(fill, NULL, 0, &no_room);
    assert_true(fill_value(fill, &node) <= 0);
    node.chip = 1;
    assert_true(fill_value(fill, &node) >= 1000);
    fill_destroy(fill);
}

/* A share goes where it spoils least: beside what it completes, into a hole of its size, and on
 * the device with less left where it is all one. */
static void test_score(void **state)
{
    static const struct fill_ask list[] = { { 0, 1, 600, ANY }, { 0, 1, 400, ANY } };
    static const struct {
        uint16_t free_milli[3], ask, device;
    } cases[] = { { { 1000, 700, 0 }, 0, 1 },
                  { { 1000, 0, 600 }, 0, 2 },
                  { { 1000, 500, 0 }, 1, 1 },
                  { { 500, 1000, 400 }, 1, 2 },
                  { { 300, 1000, 0 }, 1, 1 } };
    struct fill *fill = fill_of(list, ARRAY_COUNT(list), 50);

    (void)state;
    fill_draw(fill, NULL, 0, &no_room);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fill_node node = { .cpu_milli = 1000, .devices_count = 3 };
        uint16_t device;

        memcpy(node.free_milli, cases[i].free_milli, sizeof(cases[i].free_milli));
        fill_node_seal(&node);
        device = fill_score(fill, &node, &list[cases[i].ask], &no_room).device;
        if (device != cases[i].device)
            fail_msg("case %zu: device %u", i, device);
    }
    fill_destroy(fill);
}

/* Rare chips are kept for those who need them, empty big nodes for big asks. */
static void test_kept(void **state)
{
    static const struct fill_ask list[] = { { 0, 1, 500, ANY },
                                            { 0, 1, 1000, 1 << 1 },
                                            { 0, 8, 1000, ANY } };
    struct fill *fill = fill_of(list, ARRAY_COUNT(list), 50);
    struct fill_room room = { .free_milli = { 95000, 5000 },
                              .total_milli = { 90000, 10000 },
                              .free_all_milli = 100000,
                              .big_empty_milli = 16000 };
    struct fill_node node = one_device(1000, 1000), big = { .devices_count = 8 };
    double common, rare, begun, empty;

    (void)state;
    fill_draw(fill, NULL, 0, &room);
    common = fill_score(fill, &node, &list[0], &room).score;
    node.chip = 1;
    rare = fill_score(fill, &node, &list[0], &room).score;
    assert_true(rare < common - 400);
    for (uint32_t i = 0; i < 8; i++)
        big.free_milli[i] = FILL_DEVICE_MILLI;
    fill_node_seal(&big);
    begun = fill_score(fill, &big, &list[0], &room).score;
    big.is_empty = true;
    empty = fill_score(fill, &big, &list[0], &room).score;
    assert_true(empty < begun - 5000);
    begun = fill_score(fill, &big, &list[2], &room).score;
    big.is_empty = false;
    empty = fill_score(fill, &big, &list[2], &room).score;
    assert_true(empty >= begun && empty <= begun);
    fill_destroy(fill);
}

static struct fill_ask random_ask(struct rng *rng)
{
    static const uint16_t milli[] = { 110, 230, 320, 470, 650, 810 };
    struct fill_ask ask = { .cpu_milli = (int64_t)rng_below(rng, 12) * 1000, .chips = ANY };

    switch (rng_below(rng, 4)) {
    case 0:
        break;
    case 1:
        ask.devices = (uint16_t)(1u << rng_below(rng, 4));
        ask.milli = FILL_DEVICE_MILLI;
        break;
    default:
        ask.devices = 1;
        ask.milli = milli[rng_below(rng, ARRAY_COUNT(milli))];
    }
    if (rng_below(rng, 5) == 0)
        ask.chips = rng_below(rng, 7) + 1;
    return ask;
}

static struct fill_node random_node(struct rng *rng)
{
    struct fill_node node = { .cpu_milli = (int64_t)rng_below(rng, 97) * 1000,
                              .chip = (uint16_t)rng_below(rng, 3),
                              .devices_count = (uint16_t)(1u << rng_below(rng, 4)) };

    for (uint32_t i = 0; i < node.devices_count; i++)
        node.free_milli[i] =
            (uint16_t)(rng_below(rng, 2) ? FILL_DEVICE_MILLI : rng_below(rng, 100) * 10);
    node.is_empty = rng_below(rng, 3) == 0;
    fill_node_seal(&node);
    return node;
}

/* One stream, offered ask by ask without lanes and tiers. */
static uint32_t offer_plainly(const struct fill_class *classes, const uint16_t *order,
                              uint32_t asks_count, struct fill_node node)
{
    uint32_t got = 0;

    for (uint32_t i = 0; i < asks_count; i++) {
        const struct fill_ask *ask = &classes[order[i]].ask;
        uint32_t best = UINT32_MAX, left = ask->devices;

        if (!fill_fits(&node, ask))
            continue;
        node.cpu_milli -= ask->cpu_milli;
        for (uint32_t d = 0; d < node.devices_count; d++)
            if (ask->milli == FILL_DEVICE_MILLI && left && node.free_milli[d] == ask->milli) {
                node.free_milli[d] = 0;
                left--;
            } else if (ask->devices && ask->milli < FILL_DEVICE_MILLI &&
                       node.free_milli[d] >= ask->milli &&
                       (best == UINT32_MAX || node.free_milli[d] < node.free_milli[best])) {
                best = d;
            }
        if (best != UINT32_MAX)
            node.free_milli[best] = (uint16_t)(node.free_milli[best] - ask->milli);
        fill_node_seal(&node);
        got += (uint32_t)ask->devices * ask->milli;
    }
    return got;
}

/* Lanes and tiers change nothing: the shuffle is made again here and offered plainly. */
static void test_streams(void **state)
{
    enum { CLASSES = 12, STREAMS = 8, ASKS = 25, PLACES = STREAMS * ASKS };
    struct rng rng = { 5 };

    (void)state;
    for (uint32_t round = 0; round < 40; round++) {
        struct fill_streams *streams = fill_streams_create(STREAMS, ASKS);
        struct fill_class classes[CLASSES] = { 0 };
        uint64_t takes[CLASSES] = { 0 };
        uint16_t order[PLACES];
        struct rng again = { round };
        struct fill_node node = random_node(&rng);
        uint64_t want = 0, taken = 0;
        double mean;

        assert_non_null(streams);
        for (uint32_t i = 0; i < CLASSES; i++)
            classes[i] = (struct fill_class){ .ask = random_ask(&rng), .drawn = 1.0 / CLASSES };
        fill_streams_draw(streams, classes, CLASSES, round);
        for (uint32_t i = 0, count = 0; i < CLASSES; i++)
            while (count < PLACES &&
                   (i == CLASSES - 1 || count + 0.5 < (i + 1) * (double)PLACES / CLASSES))
                order[count++] = (uint16_t)i;
        for (uint32_t i = PLACES - 1; i > 0; i--) {
            uint32_t j = (uint32_t)rng_below(&again, i + 1);
            uint16_t swap = order[i];

            order[i] = order[j];
            order[j] = swap;
        }
        for (uint32_t i = 0; i < STREAMS; i++)
            want += offer_plainly(classes, order + (size_t)i * ASKS, ASKS, node);
        mean = fill_streams_mean(streams, &node, STREAMS, takes, 3);
        if ((uint64_t)(mean * STREAMS + 0.5) != want)
            fail_msg("round %u: %g, not %g", round, mean * STREAMS, (double)want);
        for (uint32_t i = 0; i < CLASSES; i++)
            taken += takes[i] * classes[i].ask.devices * classes[i].ask.milli;
        assert_int_equal(taken, want * 3);
        fill_streams_destroy(streams);
    }
}

/* What is kept of a fill gives the same scores in another, and the same future. */
static void test_restore(void **state)
{
    struct fill_params params = fill_params_default();
    struct fill_memory *memory = malloc(sizeof(*memory));
    struct fill *a = fill_create(&params, 3), *b = fill_create(&params, 99);
    struct rng rng = { 17 };

    (void)state;
    assert_true(a && b && memory);
    for (uint32_t i = 0; i < 4000; i++) {
        struct fill_ask ask = random_ask(&rng);
        struct fill_group group = { .node = random_node(&rng), .count = 3 };

        fill_learn(a, &ask);
        if (i > 2000)
            fill_learn(b, &ask);
        if (fill_is_due(a))
            fill_draw(a, &group, 1, &no_room);
        if (i > 2000) {
            if (fill_is_due(b))
                fill_draw(b, &group, 1, &no_room);
            if (fill_value(a, &group.node) < fill_value(b, &group.node) ||
                fill_value(a, &group.node) > fill_value(b, &group.node))
                fail_msg("ask %u", i);
        }
        if (i == 2000) {
            *memory = *fill_memory(a);
            assert_int_equal(fill_restore(b, memory), 0);
        }
    }
    memory->classes[0].weight = 0;
    assert_int_equal(fill_restore(b, memory), -EINVAL);
    memory->classes_count = FILL_CLASSES_MAX + 1;
    assert_int_equal(fill_restore(b, memory), -EINVAL);
    fill_destroy(a);
    fill_destroy(b);
    free(memory);
}

/* More distinct asks than are remembered: the table stays bounded and the frequent stay in it. */
static void test_bounds(void **state)
{
    struct fill_params params = fill_params_default();
    const struct fill_memory *memory;
    struct fill *fill;
    uint32_t frequent = 0;

    (void)state;
    params.streams = 4;
    fill = fill_create(&params, 3);
    assert_non_null(fill);
    memory = fill_memory(fill);
    for (uint32_t i = 0; i < 100000; i++) {
        struct fill_ask ask = { .cpu_milli = i % 3 ? 500 : i, .chips = ANY };

        ask.devices = 1;
        ask.milli = 500;
        fill_learn(fill, &ask);
        if (fill_is_due(fill))
            fill_draw(fill, NULL, 0, &no_room);
        assert_true(memory->classes_count <= FILL_CLASSES_MAX);
    }
    for (uint32_t i = 0; i < memory->classes_count; i++)
        if (memory->classes[i].ask.cpu_milli == 500)
            frequent = memory->classes[i].count;
    assert_true(frequent > 20000 && frequent < 2 * FILL_LEARNED_MAX);
    fill_destroy(fill);
}

static struct fill_room room_of(const struct fill_node *nodes, const bool *is_in)
{
    struct fill_room room = { 0 };

    for (uint32_t i = 0; i < NODES; i++) {
        if (!is_in[i])
            continue;
        room.free_milli[nodes[i].chip] += nodes[i].free_total;
        room.total_milli[nodes[i].chip] += nodes[i].devices_count * FILL_DEVICE_MILLI;
        room.free_all_milli += nodes[i].free_total;
        if (nodes[i].is_empty && nodes[i].devices_count >= 8)
            room.big_empty_milli += nodes[i].free_total;
    }
    return room;
}

static void check_choice(struct fill_set *set, const struct fill_node *nodes, const bool *is_in,
                         const struct fill_ask *ask, const struct fill_choice *choice, bool found)
{
    struct fill_room room = room_of(nodes, is_in);
    uint32_t best = UINT32_MAX;
    double best_score = 0;

    for (uint32_t i = 0; i < NODES; i++) {
        double score;

        /* Nodes with odd numbers have one byte of memory less than is asked for. */
        if (!is_in[i] || i % 2 || !fill_fits(&nodes[i], ask))
            continue;
        score = fill_score(fill_set_fill(set), &nodes[i], ask, &room).score;
        if (best == UINT32_MAX || score > best_score) {
            best = i;
            best_score = score;
        }
    }
    assert_int_equal(found, best != UINT32_MAX);
    if (!found)
        return;
    assert_int_equal(choice->node, best);
    assert_true(choice->score >= best_score && choice->score <= best_score);
    assert_int_equal(choice->devices_count, ask->devices);
    for (uint32_t i = 0; i < choice->devices_count; i++) {
        assert_true(nodes[best].free_milli[choice->devices[i]] >= ask->milli);
        assert_true(i == 0 || choice->devices[i] > choice->devices[i - 1]);
    }
}

/* Nodes come, change and go; the choice is that of a walk over all. */
static void test_set(void **state)
{
    struct fill_params params = fill_params_default();
    struct fill_set *set = fill_set_create(&params, 11, NODES);
    struct fill_node nodes[NODES] = { 0 };
    bool is_in[NODES] = { false };
    struct rng rng = { 23 };

    (void)state;
    assert_non_null(set);
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t number = (uint32_t)rng_below(&rng, NODES);
        struct fill_ask ask = random_ask(&rng);
        struct fill_choice choice;
        bool found;

        if (rng_below(&rng, 6) == 0) {
            fill_set_put(set, number, NULL, 0);
            is_in[number] = false;
        } else {
            struct rng few = { rng_below(&rng, 40) }; /* so that some are alike */

            nodes[number] = random_node(&few);
            fill_set_put(set, number, &nodes[number], 1 << 20 | (number % 2 ? 0 : 1));
            is_in[number] = true;
        }
        fill_set_learn(set, &ask);
        found = fill_set_find(set, &ask, (1 << 20) + 1, &choice);
        check_choice(set, nodes, is_in, &ask, &choice, found);
        assert_true(fill_set_groups_count(set) <= NODES);
    }
    for (uint32_t i = 0; i < NODES; i++)
        fill_set_put(set, i, NULL, 0);
    assert_int_equal(fill_set_groups_count(set), 0);
    fill_set_destroy(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params),      cmocka_unit_test(test_asks),
        cmocka_unit_test(test_fits),        cmocka_unit_test(test_value),
        cmocka_unit_test(test_value_chips), cmocka_unit_test(test_score),
        cmocka_unit_test(test_kept),        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_restore),     cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_set),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
