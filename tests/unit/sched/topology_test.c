/* Gangs in domains: against looking at every domain, whatever is held. And nodes by expected fill.
 */
#include "bed.h"

#define NODES 24u
#define HELD_MAX 60u

/* Racks of four in no order, supernodes of eight; some nodes are in none. */
static void join(struct bed *bed, bool labelled)
{
    struct node_info *nodes = calloc(NODES, sizeof(*nodes));
    struct site_info info = { .name = "here", .nodes = nodes, .nodes_count = NODES };

    assert_non_null(nodes);
    for (uint32_t i = 0; i < NODES; i++) {
        uint32_t place = i * 7 % NODES;

        snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i);
        nodes[i].cpus = 16;
        nodes[i].memory_bytes = 64;
        nodes[i].devices_count = 8;
        for (uint32_t d = 0; d < 8; d++)
            strcpy(nodes[i].devices[d].chip, i % 3 ? "a" : "b");
        if (!labelled || i == 5)
            continue;
        snprintf(nodes[i].rack, sizeof(nodes[i].rack), "r%u", place / 4);
        if (i != 6)
            snprintf(nodes[i].supernode, sizeof(nodes[i].supernode), "s%u", place / 8);
    }
    assert_int_equal(fleet_check_site(&bed->fleet, &info, 1, NULL), 0);
    fleet_set_site(&bed->fleet, &info, NULL, 0);
    free(nodes);
}

static struct shape *shape_of(struct bed *bed, uint32_t tasks, uint32_t devices_milli,
                              uint32_t within, bool hard, bool spread)
{
    struct request_shape request = { .tasks = tasks,
                                     .cpus = 1,
                                     .devices_milli = devices_milli,
                                     .within = within,
                                     .within_hard = hard,
                                     .spread = spread };

    return shapes_at(&bed->shapes, shapes_get(&bed->shapes, &request));
}

static const char *domain_of(const struct bed *bed, uint32_t node, uint32_t level)
{
    const struct node_info *info = &bed->fleet.sites[0].info.nodes[node];
    const struct room *room = &bed->fleet.sites[0].room;
    static const char pools[] = "0123456789";

    switch (level) {
    case TOPOLOGY_NODE:
        return info->name;
    case TOPOLOGY_RACK:
        return info->rack;
    case TOPOLOGY_SUPERNODE:
        return info->supernode;
    default:
        return &pools[room->spots[node].pool];
    }
}

/* The most that one domain of the level holds now, by looking at all pairs of nodes. */
static uint64_t most_in_one(const struct bed *bed, const struct shape *shape, uint16_t chip,
                            uint32_t level)
{
    const struct fleet_site *site = &bed->fleet.sites[0];
    uint64_t most = 0;

    for (uint32_t i = 0; i < NODES; i++) {
        const char *name = domain_of(bed, i, level);
        uint64_t sum = 0;

        if (!*name)
            continue;
        for (uint32_t k = 0; k < NODES; k++)
            if (strcmp(name, domain_of(bed, k, level)) == 0)
                sum += fit_tasks(shape, site, &site->nodes[k], chip, FIT_NOW);
        most = sum > most ? sum : most;
    }
    return most;
}

/* The nearest level that has one domain for all; TOPOLOGY_ANY: none up to what is asked. */
static uint32_t level_of(const struct bed *bed, const struct shape *shape, uint16_t chip)
{
    for (uint32_t level = shape->spread ? shape->within : TOPOLOGY_NODE;
         level && level <= shape->within; level++)
        if (most_in_one(bed, shape, chip, level) >= shape->tasks)
            return level;
    return TOPOLOGY_ANY;
}

static void check_placed(struct bed *bed, const struct shape *shape, uint32_t level)
{
    uint32_t tasks = 0;

    /* Labels need not nest: what must hold is the level that was asked for. */
    if (level != TOPOLOGY_ANY && shape->within_hard)
        level = shape->within;
    for (uint32_t i = 0; i < bed->fit.parts_count; i++) {
        tasks += bed->fit.parts[i].tasks;
        if (level != TOPOLOGY_ANY)
            assert_string_equal(domain_of(bed, bed->fit.parts[i].node, level),
                                domain_of(bed, bed->fit.parts[0].node, level));
    }
    assert_int_equal(tasks, shape->tasks);
}

static void test_against_all_domains(void **state)
{
    uint32_t placed = 0, refused = 0, scattered = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct bed bed = { .rng = { seed } };

        join(&bed, true);
        for (uint32_t i = 0; i < 120; i++) {
            uint32_t within = draw(&bed, TOPOLOGY_COUNT);
            struct shape *shape = shape_of(&bed, 1 + draw(&bed, 40), draw(&bed, 4) ? 1000 : 0,
                                           within, within && draw(&bed, 2), draw(&bed, 3) == 0);
            uint16_t chip = shape->devices_milli ? (uint16_t)draw(&bed, 2) : FLEET_NO_CHIP;
            uint32_t level = level_of(&bed, shape, chip);
            bool found = fit_candidate(shape, &bed.fleet, 0, chip, FIT_NOW, &bed.fit);

            if (shape->within_hard)
                assert_int_equal(found, level != TOPOLOGY_ANY);
            else
                assert_int_equal(found, fit_count(shape, &bed.fleet, 0, chip) >= shape->tasks);
            if (found) {
                check_placed(&bed, shape, level);
                scattered += within && level == TOPOLOGY_ANY;
                placed++;
            }
            refused += !found;
            if (found && bed.held_count < HELD_MAX)
                bed_hold(&bed, fit_grant(shape, &bed.fleet, &bed.fit, FIT_NOW));
            if (bed.held_count && draw(&bed, 2))
                bed_let_go(&bed);
            assert_true(domains_are_sound(&bed.fleet.sites[0].domains, &bed.fleet.sites[0]));
        }
        bed_end(&bed);
    }
    assert_true(placed > 500 && refused > 200 && scattered > 20);
}

static void test_tightest(void **state)
{
    struct bed bed = { .rng = { 1 } };
    struct shape *eight, *sixteen;

    (void)state;
    join(&bed, true);
    eight = shape_of(&bed, 2, 4000, TOPOLOGY_SUPERNODE, false, false);
    assert_true(fit_candidate(eight, &bed.fleet, 0, 0, FIT_NOW, &bed.fit));
    assert_int_equal(bed.fit.parts_count, 1); /* one node is enough */
    sixteen = shape_of(&bed, 2, 8000, TOPOLOGY_SUPERNODE, false, false);
    assert_true(fit_candidate(sixteen, &bed.fleet, 0, 0, FIT_NOW, &bed.fit));
    check_placed(&bed, sixteen, TOPOLOGY_RACK); /* one rack is */
    assert_false(fit_candidate(shape_of(&bed, 40, 8000, TOPOLOGY_RACK, true, false), &bed.fleet, 0,
                               0, FIT_EMPTY, &bed.fit));
    bed_end(&bed);
}

static void test_spread(void **state)
{
    struct bed bed = { .rng = { 1 } };
    struct shape *shape;

    (void)state;
    join(&bed, false);
    shape = shape_of(&bed, 6, 1000, TOPOLOGY_ANY, false, true);
    assert_true(fit_candidate(shape, &bed.fleet, 0, 0, FIT_NOW, &bed.fit));
    assert_int_equal(bed.fit.parts_count, 6);
    shape = shape_of(&bed, 20, 1000, TOPOLOGY_ANY, false, true); /* of chip 0 there are 8 nodes */
    assert_true(fit_candidate(shape, &bed.fleet, 0, 0, FIT_NOW, &bed.fit));
    for (uint32_t i = 0; i < bed.fit.parts_count; i++)
        assert_true(bed.fit.parts[i].tasks <= 3);
    assert_true(bed.fit.parts_count >= 7);
    shape = shape_of(&bed, 9, 1000, TOPOLOGY_RACK, true, false); /* nobody has labels */
    assert_false(fit_candidate(shape, &bed.fleet, 0, 0, FIT_NOW, &bed.fit));
    assert_int_equal(topology_most(shape, &bed.fleet.sites[0], 0, FIT_NOW), 8);
    shape = shape_of(&bed, 8, 1000, TOPOLOGY_RACK, true, false); /* one node is in one rack */
    assert_true(fit_candidate(shape, &bed.fleet, 0, 0, FIT_NOW, &bed.fit));
    shape = shape_of(&bed, 9, 1000, TOPOLOGY_RACK, false, false);
    assert_true(fit_candidate(shape, &bed.fleet, 0, 0, FIT_NOW, &bed.fit));
    bed_end(&bed);
}

/* --- expected fill -------------------------------------------------------------------------- */

/* A packer finds a place exactly when there is one; its grant is what it says. */
static void test_packed(void **state)
{
    static const struct objective any = { .kind = OBJECTIVE_FASTEST };
    uint32_t shares = 0, placed = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct bed bed = { .rng = { seed } };

        join(&bed, false);
        bed.fleet.packer = packer_create(PACKER_PLACES);
        packer_add_site(bed.fleet.packer, &bed.fleet.sites[0]);
        for (uint32_t i = 0; i < 150; i++) {
            uint32_t milli = draw(&bed, 2) ? 100 * (1 + draw(&bed, 9)) : 1000 * (1 + draw(&bed, 8));
            struct shape *shape = shape_of(&bed, 1, milli, 0, false, false);
            bool there = fit_count(shape, &bed.fleet, 0, 0) + fit_count(shape, &bed.fleet, 0, 1);

            packer_learn(bed.fleet.packer, shape, &bed.fleet);
            packer_look(bed.fleet.packer, &bed.fleet);
            assert_int_equal(fit_find(shape, &bed.fleet, &any, FIT_NOW, &bed.fit), there);
            if (there && bed.held_count < HELD_MAX) {
                bed_hold(&bed, fit_grant(shape, &bed.fleet, &bed.fit, FIT_NOW));
                assert_int_equal(bed.held[bed.held_count - 1]->devices_milli, milli);
                assert_int_equal(bed.held[bed.held_count - 1]->parts_count, 1);
                shares += milli < 1000;
                placed++;
            }
            if (bed.held_count && draw(&bed, 3) == 0)
                bed_let_go(&bed);
        }
        bed_end(&bed);
    }
    assert_true(shares > 200 && placed > 500);
}

/* Of the same asks the same answers, also from what a snapshot keeps. */
static void test_packed_again(void **state)
{
    static const struct objective any = { .kind = OBJECTIVE_FASTEST };
    struct bed beds[2] = { { .rng = { 3 } }, { .rng = { 3 } } };

    (void)state;
    for (uint32_t b = 0; b < 2; b++) {
        join(&beds[b], false);
        beds[b].fleet.packer = packer_create(PACKER_PLACES);
        packer_add_site(beds[b].fleet.packer, &beds[b].fleet.sites[0]);
    }
    for (uint32_t i = 0; i < 200; i++) {
        for (uint32_t b = 0; b < 2; b++) {
            struct bed *bed = &beds[b];
            uint32_t milli = draw(bed, 2) ? 100 * (1 + draw(bed, 9)) : 1000 * (1 + draw(bed, 4));
            struct shape *shape = shape_of(bed, 1, milli, 0, false, false);

            packer_learn(bed->fleet.packer, shape, &bed->fleet);
            packer_look(bed->fleet.packer, &bed->fleet);
            if (fit_find(shape, &bed->fleet, &any, FIT_NOW, &bed->fit) &&
                bed->held_count < HELD_MAX)
                bed_hold(bed, fit_grant(shape, &bed->fleet, &bed->fit, FIT_NOW));
            if (bed->held_count && draw(bed, 2) == 0)
                bed_let_go(bed);
        }
        assert_int_equal(beds[0].held_count, beds[1].held_count);
        for (uint32_t h = 0; h < beds[0].held_count; h++) {
            const struct grant_part *x = beds[0].held[h]->parts, *y = beds[1].held[h]->parts;

            assert_int_equal(x->node, y->node);
            assert_int_equal(x->devices[0].index, y->devices[0].index);
        }
        if (i % 40 == 39) { /* one goes on from what lasts */
            struct packer *packer = packer_create(PACKER_PLACES);

            packer_add_site(packer, &beds[1].fleet.sites[0]);
            assert_int_equal(fill_restore(packer->fill, fill_memory(beds[1].fleet.packer->fill)),
                             0);
            packer_destroy(beds[1].fleet.packer);
            beds[1].fleet.packer = packer;
        }
    }
    bed_end(&beds[0]);
    bed_end(&beds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_all_domains),
        cmocka_unit_test(test_tightest),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_packed_again),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
