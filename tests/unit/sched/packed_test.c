/* Expected fill over all candidates at once: against a look at every node, whatever is held, and
 * whatever was kept of looks before. */
#include "bed.h"

#include "sched/fit_packed.h"

#define SITES 3u
#define NODES 10u
#define HELD_MAX 120u

static const struct objective fastest = { .kind = OBJECTIVE_FASTEST };

/* Chips "a" and "b" at each site, and at the last one two nodes without devices. */
static void join(struct bed *bed, uint32_t number)
{
    struct node_info *nodes = calloc(NODES, sizeof(*nodes));
    struct site_info info = { .nodes = nodes, .nodes_count = NODES };

    assert_non_null(nodes);
    snprintf(info.name, sizeof(info.name), "s%u", number);
    for (uint32_t i = 0; i < NODES; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i);
        nodes[i].cpus = 12 + 4 * (i % 2);
        nodes[i].memory_bytes = 64;
        nodes[i].devices_count = number == SITES - 1 && i < 2 ? 0 : i % 4 ? 8 : 2;
        for (uint32_t d = 0; d < nodes[i].devices_count; d++)
            strcpy(nodes[i].devices[d].chip, i % 3 ? "a" : "b");
    }
    assert_int_equal(fleet_check_site(&bed->fleet, &info, SITES, NULL), 0);
    fleet_set_site(&bed->fleet, &info, NULL, 0);
    fleet_set_reachable(&bed->fleet, number, true);
    packer_add_site(bed->fleet.packer, &bed->fleet.sites[number]);
    free(nodes);
}

static struct bed bed_begin(uint64_t seed, enum packer_reach reach)
{
    struct bed bed = { .rng = { seed } };

    bed.fleet.packer = packer_create(reach);
    for (uint32_t i = 0; i < SITES; i++)
        join(&bed, i);
    return bed;
}

static struct shape *shape_of(struct bed *bed, uint32_t milli, uint32_t cpus, const char *chip)
{
    struct request_shape request = {
        .tasks = 1, .cpus = cpus, .devices_milli = milli, .chips_count = chip != NULL
    };

    if (chip)
        strcpy(request.chips[0], chip);
    return shapes_at(&bed->shapes, shapes_get(&bed->shapes, &request));
}

/* The best score over all nodes, and whether the place that was found has it. */
static void check_best(struct bed *bed, const struct shape *shape)
{
    const struct packer *packer = bed->fleet.packer;
    double best = -1e18, is = -1e18;

    for (uint32_t c = 0; c < shape->candidates_count; c++) {
        const struct candidate *at = &shape->candidates[c];
        const struct fleet_site *site = &bed->fleet.sites[at->site];

        for (uint32_t n = 0; n < NODES; n++) {
            const struct fleet_node *node = &site->nodes[n];
            struct packer_look look;
            uint16_t kind = 0;
            double score;

            if (node->devices_count)
                kind = packer_kind(packer, site->chips[node->devices[0].chip].kind);
            if (!fit_tasks(shape, site, node, at->chip, FIT_NOW) ||
                !packer_look_at(packer, shape, node, at->chip, kind, FIT_NOW, &look))
                continue;
            score = packer_score(packer, shape, kind, &look);
            best = score > best ? score : best;
            if (bed->fit.site == at->site && bed->fit.chip == at->chip &&
                bed->fit.parts[0].node == n)
                is = score;
        }
    }
    assert_true(is >= best);
}

static struct shape *draw_shape(struct bed *bed)
{
    uint32_t milli = draw(bed, 2) ? 100 * (1 + draw(bed, 9)) : 1000 * draw(bed, 9);

    return shape_of(bed, milli, 1 + draw(bed, 4), NULL);
}

static void test_against_all_nodes(void **state)
{
    uint32_t placed = 0, refused = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct bed bed = bed_begin(seed, PACKER_PLACES);

        for (uint32_t i = 0; i < 250; i++) {
            struct shape *shape = draw_shape(&bed);
            uint32_t count;

            packer_learn(bed.fleet.packer, shape, &bed.fleet);
            if (i % 3 == 0) /* what was kept stands, whatever is kept back since */
                packer_look(bed.fleet.packer, &bed.fleet);
            if (fit_find(shape, &bed.fleet, &fastest, FIT_NOW, &bed.fit)) {
                struct fit found = bed.fit;
                uint32_t node = found.parts[0].node;

                check_best(&bed, shape);
                free(shape->picks); /* and a fresh look finds the same */
                shape->picks = NULL;
                assert_true(fit_find(shape, &bed.fleet, &fastest, FIT_NOW, &bed.fit));
                assert_int_equal(bed.fit.site, found.site);
                assert_int_equal(bed.fit.chip, found.chip);
                assert_int_equal(bed.fit.parts[0].node, node);
                assert_int_equal(bed.fit.share_room, found.share_room);
                if (bed.held_count < HELD_MAX)
                    bed_hold(&bed, fit_grant(shape, &bed.fleet, &bed.fit, FIT_NOW));
                placed++;
            } else {
                shape_candidates(shape, &bed.fleet, &fastest, &count);
                for (uint32_t c = 0; c < count; c++)
                    assert_int_equal(fit_count(shape, &bed.fleet, shape->candidates[c].site,
                                               shape->candidates[c].chip),
                                     0);
                refused++;
            }
            if (bed.held_count && draw(&bed, 5) == 0)
                bed_let_go(&bed);
        }
        bed_end(&bed);
    }
    assert_true(placed > 400 && refused > 50);
}

/* Who says what it prefers gets it, where there is room; and so did everybody of old. */
static void test_who_prefers(void **state)
{
    static const struct objective cheapest = { .kind = OBJECTIVE_CHEAPEST };
    struct bed bed = bed_begin(1, PACKER_PLACES), old = bed_begin(1, PACKER_NODES);
    struct shape *shape = shape_of(&bed, 500, 1, NULL);

    (void)state;
    packer_learn(bed.fleet.packer, shape, &bed.fleet);
    for (uint32_t i = 0; i < 40; i++)
        packer_learn(bed.fleet.packer, shape_of(&bed, 1000, 1, NULL), &bed.fleet);
    packer_look(bed.fleet.packer, &bed.fleet);
    shape = shape_of(&bed, 500, 1, NULL);
    /* A hole that it fills exactly, at the last place by any order. */
    assert_true(fit_candidate(shape, &bed.fleet, SITES - 1, 1, FIT_NOW, &bed.fit));
    bed_hold(&bed, fit_grant(shape, &bed.fleet, &bed.fit, FIT_NOW));
    assert_true(fit_find(shape, &bed.fleet, &fastest, FIT_NOW, &bed.fit));
    assert_int_equal(bed.fit.site, SITES - 1);
    assert_int_equal(bed.fit.chip, 1);
    assert_true(fit_find(shape, &bed.fleet, &cheapest, FIT_NOW, &bed.fit));
    assert_int_equal(bed.fit.site, 0);
    shape = shape_of(&bed, 500, 1, "a");
    assert_true(fit_find(shape, &bed.fleet, &fastest, FIT_NOW, &bed.fit));
    assert_int_equal(bed.fit.site, 0);

    shape = shape_of(&old, 500, 1, NULL);
    packer_learn(old.fleet.packer, shape, &old.fleet);
    assert_true(fit_candidate(shape, &old.fleet, SITES - 1, 1, FIT_NOW, &old.fit));
    bed_hold(&old, fit_grant(shape, &old.fleet, &old.fit, FIT_NOW));
    assert_true(fit_find(shape, &old.fleet, &fastest, FIT_NOW, &old.fit));
    assert_int_equal(old.fit.site, 0);
    assert_false(packer_ask(shape_of(&old, 0, 1, NULL), &old.fleet));
    bed_end(&bed);
    bed_end(&old);
}

/* CPUs beside devices are taken when there are no others, and then those that are missed least. */
static void test_without_devices(void **state)
{
    struct bed bed = bed_begin(1, PACKER_PLACES);
    struct shape *cpus = shape_of(&bed, 0, 8, NULL), *whole = shape_of(&bed, 1000, 4, NULL);

    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        packer_learn(bed.fleet.packer, whole, &bed.fleet);
    packer_learn(bed.fleet.packer, cpus, &bed.fleet);
    packer_look(bed.fleet.packer, &bed.fleet);
    for (uint32_t i = 0; i < 3; i++) { /* of 12 and 16 CPUs: the small one first */
        assert_true(fit_find(cpus, &bed.fleet, &fastest, FIT_NOW, &bed.fit));
        assert_int_equal(bed.fit.site, SITES - 1);
        assert_int_equal(bed.fit.parts[0].node, i ? 1 : 0);
        bed_hold(&bed, fit_grant(cpus, &bed.fleet, &bed.fit, FIT_NOW));
    }
    assert_true(fit_find(cpus, &bed.fleet, &fastest, FIT_NOW, &bed.fit));
    check_best(&bed, cpus);
    /* Two devices need 8 CPUs of a node: one of 16 has them to spare. */
    assert_int_equal(bed.fleet.sites[bed.fit.site].nodes[bed.fit.parts[0].node].devices_count, 2);
    bed_end(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_all_nodes),
        cmocka_unit_test(test_who_prefers),
        cmocka_unit_test(test_without_devices),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
