/* The index by free state: it gives what looking at each node gives, whatever has happened. */
#include "bed.h"

#include "sched/reserve.h"

#define NODES 40u
#define ANY_OBJECTIVE ((struct objective){ .kind = OBJECTIVE_FASTEST })

/* Few kinds of node, in no order, so that pools have several nodes; now and then an odd one. */
static void join(struct bed *bed, bool again)
{
    struct node_info *nodes = calloc(NODES, sizeof(*nodes));
    struct site_info info = { .name = "here", .nodes = nodes, .nodes_count = NODES };

    assert_non_null(nodes);
    for (uint32_t i = 0; i < NODES; i++) {
        uint32_t kind = (i * 7 + 3) % 4;

        snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", again && i == 5 ? NODES : i);
        nodes[i].cpus = 8 + 4 * (kind % 2) + (draw(bed, 16) == 0);
        nodes[i].memory_bytes = 32;
        nodes[i].disk_bytes = 16;
        nodes[i].devices_count = kind < 3 ? 4 : 0;
        for (uint32_t d = 0; d < nodes[i].devices_count; d++) {
            strcpy(nodes[i].devices[d].chip, kind == 2 && d % 2 ? "b" : "a");
            nodes[i].devices[d].memory_bytes = 10 + (kind == 1 && d == 3);
            nodes[i].devices[d].health = draw(bed, 40) ? DEVICE_OK : DEVICE_SICK;
        }
    }
    assert_int_equal(fleet_check_site(&bed->fleet, &info, 1, NULL), 0);
    fleet_set_site(&bed->fleet, &info, NULL, 0);
    free(nodes);
}

static struct shape *draw_shape(struct bed *bed)
{
    struct request_shape request = { .tasks = 1 };

    if (draw(bed, 2))
        request.tasks = 1 + draw(bed, 40);
    request.tasks_per_node = draw(bed, 4) ? 0 : 1 + draw(bed, 3);
    request.cpus = 1 + draw(bed, 3);
    request.memory_bytes = draw(bed, 4);
    request.disk_bytes = draw(bed, 2);
    request.device_memory_bytes = draw(bed, 4) ? 0 : 11;
    switch (draw(bed, 3)) {
    case 0:
        request.devices_milli = 1000 * (1 + draw(bed, 4));
        break;
    case 1:
        request.devices_milli = 250 * (1 + draw(bed, 3));
        break;
    default:
        break;
    }
    return shapes_at(&bed->shapes, shapes_get(&bed->shapes, &request));
}

static void assert_same(struct bed *bed, const struct shape *shape, uint16_t chip,
                        enum fit_when when)
{
    struct fit plain = { 0 };
    bool found = fit_candidate(shape, &bed->fleet, 0, chip, when, &bed->fit);

    assert_int_equal(found, fit_candidate_plainly(shape, &bed->fleet, 0, chip, when, &plain));
    if (found) {
        assert_int_equal(bed->fit.parts_count, plain.parts_count);
        for (uint32_t i = 0; i < plain.parts_count; i++) {
            assert_int_equal(bed->fit.parts[i].node, plain.parts[i].node);
            assert_int_equal(bed->fit.parts[i].tasks, plain.parts[i].tasks);
        }
    }
    fit_fini(&plain);
}

static uint64_t count_plainly(const struct fleet *fleet, const struct shape *shape, uint16_t chip)
{
    const struct fleet_site *site = &fleet->sites[0];
    uint64_t sum = 0;

    for (uint32_t i = 0; i < site->info.nodes_count; i++)
        sum += fit_tasks(shape, site, &site->nodes[i], chip, FIT_NOW);
    return sum;
}

static void try_shape(struct bed *bed)
{
    struct shape *shape = draw_shape(bed);
    uint32_t chips = shape->devices_milli ? bed->fleet.sites[0].chips_count : 1;
    struct grant *grant;

    for (uint32_t c = 0; c < chips; c++) {
        uint16_t chip = shape->devices_milli ? (uint16_t)c : FLEET_NO_CHIP;

        assert_same(bed, shape, chip, FIT_NOW);
        assert_same(bed, shape, chip, FIT_LIMITED);
        assert_int_equal(fit_count(shape, &bed->fleet, 0, chip),
                         count_plainly(&bed->fleet, shape, chip));
    }
    if (bed->held_count == BED_HELD_MAX ||
        !fit_find(shape, &bed->fleet, &ANY_OBJECTIVE, FIT_NOW, &bed->fit))
        return;
    grant = fit_grant(shape, &bed->fleet, &bed->fit, FIT_NOW);
    grant->granted_ms = (int64_t)bed->held_ever + 1;
    grant->end_ms = draw(bed, 8) ? 1000 + (int64_t)draw(bed, 1000) : INT64_MAX;
    bed_hold(bed, grant);
}

/* Promise some of a few nodes. */
static void set_limits(struct bed *bed, struct fleet_limit *limits, uint32_t count, bool on)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = i * 3;

        if (on) {
            limits[i] = (struct fleet_limit){ .is_always = true,
                                              .window = &bed->fleet.window,
                                              .cpus = draw(bed, 8),
                                              .memory_bytes = draw(bed, 32),
                                              .disk_bytes = draw(bed, 16) };
            for (uint32_t d = 0; d < 4; d++)
                limits[i].devices_milli[d] = (int32_t)(250 * draw(bed, 5));
        }
        bed->fleet.sites[0].nodes[node].limits = on ? &limits[i] : NULL;
        room_set_apart(&bed->fleet.sites[0].room, &bed->fleet.sites[0], node, on);
        kinds_touch_node(&bed->fleet, 0, node, false);
        bed->fleet.limit_version++;
    }
}

static void test_same_as_plain(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 60; round++) {
        struct bed bed = { .rng = { round } };
        struct fleet_limit limits[6];
        bool limited = false;

        join(&bed, false);
        for (uint32_t i = 0; i < 150; i++) {
            switch (draw(&bed, 12)) {
            case 0:
                limited = !limited;
                set_limits(&bed, limits, 6, limited);
                break;
            case 1:
                if (!limited) /* events come only outside a pass */
                    fleet_set_cordon(&bed.fleet, 0, draw(&bed, NODES), -1, draw(&bed, 2), "");
                break;
            case 2:
                if (!limited && i % 3 == 0)
                    join(&bed, draw(&bed, 2));
                break;
            case 3:
            case 4:
            case 5:
                if (bed.held_count)
                    bed_let_go(&bed);
                break;
            default:
                try_shape(&bed);
            }
            if (!room_is_sound(&bed.fleet.sites[0].room, &bed.fleet.sites[0]))
                fail_msg("round %u, step %u: the index is not what the nodes are", round, i);
            if (limited && !draw(&bed, 8)) {
                limited = false;
                set_limits(&bed, limits, 6, false);
            }
        }
        bed_end(&bed);
    }
}

/* --- ends ------------------------------------------------------------------------------------ */

static int compare_grants(const void *a, const void *b)
{
    const struct grant *x = *(struct grant *const *)a, *y = *(struct grant *const *)b;

    if (x->end_ms != y->end_ms)
        return x->end_ms < y->end_ms ? -1 : 1;
    if (x->granted_ms != y->granted_ms)
        return x->granted_ms < y->granted_ms ? -1 : 1;
    return x->job_id < y->job_id ? -1 : 1;
}

/* Against a sorted list in which what is late is without an end. */
static void test_ends(void **state)
{
    struct rng rng = { 3 };

    (void)state;
    for (uint32_t round = 0; round < 500; round++) {
        uint32_t count = (uint32_t)rng_below(&rng, 50);
        struct grant grants[50] = { 0 }, *list[50];
        struct ends ends = { 0 };
        struct ends_walk walk = { 0 };
        int64_t now_ms = (int64_t)rng_below(&rng, 30), end_ms, first_ms = INT64_MAX;

        for (uint32_t i = 0; i < count; i++) {
            grants[i].job_id = i;
            grants[i].granted_ms = (int64_t)rng_below(&rng, 10);
            grants[i].end_ms = rng_below(&rng, 4) ? (int64_t)rng_below(&rng, 40) : INT64_MAX;
            ends_add(&ends, &grants[i]);
        }
        while (count && rng_below(&rng, 8))
            ends_remove(&ends, &grants[--count]);
        for (uint32_t i = 0; i < count; i++) {
            if (grants[i].end_ms > now_ms && grants[i].end_ms < first_ms)
                first_ms = grants[i].end_ms;
            list[i] = &grants[i];
        }
        assert_true(ends_next_ms(&ends, now_ms) == first_ms);
        for (uint32_t pass = 0; pass < 2; pass++) {
            struct grant *order[50];

            ends_walk_begin(&walk, &ends, now_ms);
            for (uint32_t i = 0; i < count; i++) {
                order[i] = ends_walk_next(&walk, &end_ms);
                assert_non_null(order[i]);
                assert_true(end_ms == (order[i]->end_ms > now_ms ? order[i]->end_ms : INT64_MAX));
            }
            assert_null(ends_walk_next(&walk, &end_ms));
            if (!pass)
                continue;
            for (uint32_t i = 0; i < count; i++)
                if (grants[i].end_ms <= now_ms)
                    grants[i].end_ms = INT64_MAX;
            if (count)
                qsort(list, count, sizeof(list[0]), compare_grants);
            for (uint32_t i = 0; i < count; i++)
                assert_ptr_equal(list[i], order[i]);
        }
        ends_walk_fini(&walk);
        ends_fini(&ends);
    }
}

/* --- remembered looks ahead ------------------------------------------------------------------ */

/* A plan made from what was remembered is the plan made from nothing. */
static void test_plans_are_the_same(void **state)
{
    uint32_t plans = 0;

    (void)state;
    for (uint32_t round = 0; round < 40; round++) {
        struct bed bed = { .rng = { 1000 + round } };
        struct reserve reserve = { 0 };
        struct promise kept = { 0 }, fresh = { 0 };
        struct request_shape request = { .tasks = 20 + round % 15, .cpus = 2 };
        uint32_t number;
        int64_t now_ms = 900;

        request.devices_milli = round % 3 ? 2000 : 0;
        join(&bed, false);
        number = shapes_get(&bed.shapes, &request);
        for (uint32_t i = 0; i < 200; i++) {
            struct shape *shape = shapes_at(&bed.shapes, number);
            struct candidate saved[8];
            struct reserve_ask ask = { .span_ms = 40, .before_ms = -1 };
            uint32_t count;
            int64_t start_ms;

            if (draw(&bed, 3) || !bed.held_count)
                try_shape(&bed);
            else
                bed_let_go(&bed);
            now_ms += draw(&bed, 6);
            ask.now_ms = now_ms;
            shape = shapes_at(&bed.shapes, number);
            if (fit_find(shape, &bed.fleet, &ANY_OBJECTIVE, FIT_NOW, &bed.fit))
                continue;
            start_ms =
                reserve_find(&reserve, shape, &bed.fleet, &ANY_OBJECTIVE, &ask, &bed.fit, &kept);
            shape_candidates(shape, &bed.fleet, &ANY_OBJECTIVE, &count);
            assert_true(count <= 8);
            memcpy(saved, shape->candidates, count * sizeof(saved[0]));
            for (uint32_t c = 0; c < count; c++)
                shape->candidates[c].ahead.changes_count = UINT64_MAX;
            assert_true(start_ms == reserve_find(&reserve, shape, &bed.fleet, &ANY_OBJECTIVE, &ask,
                                                 &bed.fit, &fresh));
            memcpy(shape->candidates, saved, count * sizeof(saved[0]));
            assert_true(kept.start_ms == fresh.start_ms && kept.end_ms == fresh.end_ms);
            assert_true((kept.plan != NULL) == (fresh.plan != NULL));
            for (uint32_t p = 0; kept.plan && p < kept.plan->parts_count; p++)
                assert_true(kept.plan->parts[p].node == fresh.plan->parts[p].node &&
                            kept.plan->parts[p].tasks == fresh.plan->parts[p].tasks);
            promise_clear(&kept, &bed.fleet);
            promise_clear(&fresh, &bed.fleet);
            plans++;
            assert_true(room_is_sound(&bed.fleet.sites[0].room, &bed.fleet.sites[0]));
        }
        reserve_fini(&reserve);
        bed_end(&bed);
    }
    assert_true(plans > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_plain),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_plans_are_the_same),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
