/* The fit: whenever a placement exists one is found, and never one that is not there. */
#include "base/rng.h"
#include "sched/fit.h"
#include "sched/reserve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NODES 4u
#define ANY_OBJECTIVE ((struct objective){ .kind = OBJECTIVE_FASTEST })

static void join(struct fleet *fleet, struct rng *rng)
{
    struct node_info *nodes = calloc(NODES, sizeof(*nodes));
    struct site_info info = { .name = "here", .nodes = nodes, .nodes_count = NODES };

    assert_non_null(nodes);
    for (uint32_t i = 0; i < NODES; i++) {
        snprintf(nodes[i].name, sizeof(nodes[i].name), "n%u", i);
        nodes[i].cpus = 1 + (uint32_t)rng_below(rng, 8);
        nodes[i].memory_bytes = (int64_t)rng_below(rng, 9);
        nodes[i].disk_bytes = 4;
        nodes[i].devices_count = (uint32_t)rng_below(rng, 4);
        for (uint32_t d = 0; d < nodes[i].devices_count; d++) {
            strcpy(nodes[i].devices[d].chip, rng_below(rng, 4) ? "a" : "b");
            nodes[i].devices[d].memory_bytes = 10 + (int64_t)rng_below(rng, 2);
            nodes[i].devices[d].health = rng_below(rng, 8) ? DEVICE_OK : DEVICE_SICK;
        }
    }
    assert_int_equal(fleet_check_site(fleet, &info, 1, NULL), 0);
    fleet_set_site(fleet, &info, NULL, 0);
    free(nodes);
}

static void draw_shape(struct request_shape *shape, struct rng *rng)
{
    memset(shape, 0, sizeof(*shape));
    shape->tasks = 1 + (uint32_t)rng_below(rng, 6);
    shape->tasks_per_node = (uint32_t)rng_below(rng, 3);
    shape->cpus = 1 + (uint32_t)rng_below(rng, 3);
    shape->memory_bytes = (int64_t)rng_below(rng, 3);
    shape->disk_bytes = (int64_t)rng_below(rng, 2);
    shape->device_memory_bytes = rng_below(rng, 3) ? 0 : 11;
    switch (rng_below(rng, 3)) {
    case 0:
        shape->devices_milli = 1000 * (1 + (uint32_t)rng_below(rng, 2));
        break;
    case 1:
        shape->devices_milli = 100 * (1 + (uint32_t)rng_below(rng, 9));
        break;
    default:
        break;
    }
    if (rng_below(rng, 4) == 0) {
        shape->chips_count = 1;
        strcpy(shape->chips[0], "b");
    }
}

/* Task by task, the plain way, without any of the fit's arithmetic. */
static uint32_t count_plainly(const struct fleet_site *site, const struct fleet_node *node,
                              const struct request_shape *shape, const char *chip)
{
    int64_t cpus = (int64_t)node->cpus - node->cpus_used;
    int64_t memory = node->memory_bytes - node->memory_used;
    int64_t disk = node->disk_bytes - node->disk_used;
    uint32_t room[NODE_DEVICES_MAX] = { 0 }, tasks = 0;

    for (uint32_t d = 0; d < node->devices_count; d++)
        if (strcmp(site->chips[node->devices[d].chip].kind, chip) == 0 &&
            node->devices[d].healthy && node->devices[d].memory_bytes >= shape->device_memory_bytes)
            room[d] = 1000u - node->devices[d].used_milli;
    while (cpus >= shape->cpus && memory >= shape->memory_bytes && disk >= shape->disk_bytes &&
           (!shape->tasks_per_node || tasks < shape->tasks_per_node) && tasks < shape->tasks) {
        uint32_t left = shape->devices_milli;

        for (uint32_t d = 0; d < node->devices_count && left; d++) {
            if (shape->devices_milli < 1000 ? room[d] >= left : room[d] == 1000) {
                uint32_t taken = shape->devices_milli < 1000 ? left : 1000;

                room[d] -= taken;
                left -= taken;
            }
        }
        if (left)
            break;
        cpus -= shape->cpus;
        memory -= shape->memory_bytes;
        disk -= shape->disk_bytes;
        tasks++;
    }
    return tasks;
}

static bool exists_plainly(const struct fleet *fleet, const struct request_shape *shape)
{
    static const char *const kinds[] = { "a", "b" };
    const struct fleet_site *site = &fleet->sites[0];

    for (uint32_t k = 0; k < 2; k++) {
        uint32_t sum = 0;

        if (shape->devices_milli && shape->chips_count && strcmp(shape->chips[0], kinds[k]) != 0)
            continue;
        for (uint32_t i = 0; i < NODES; i++)
            sum += count_plainly(site, &site->nodes[i], shape, kinds[k]);
        if (sum >= shape->tasks)
            return true;
    }
    return false;
}

static void check_grant(const struct fleet *fleet, const struct request_shape *shape,
                        const struct grant *grant)
{
    const struct fleet_site *site = &fleet->sites[0];
    uint32_t tasks = 0;
    int chip = -1;

    for (uint32_t i = 0; i < grant->parts_count; i++) {
        const struct grant_part *part = &grant->parts[i];
        const struct fleet_node *node = &site->nodes[part->node];
        uint32_t milli = 0;

        tasks += part->tasks;
        assert_true(node->cpus_used + part->cpus <= node->cpus);
        assert_true(node->memory_used + part->memory_bytes <= node->memory_bytes);
        assert_int_equal(part->cpus, part->tasks * shape->cpus);
        for (uint32_t d = 0; d < part->devices_count; d++) {
            const struct fleet_device *device = &node->devices[part->devices[d].index];

            assert_true(device->used_milli + part->devices[d].milli <= 1000);
            assert_true(device->healthy && device->memory_bytes >= shape->device_memory_bytes);
            assert_true(chip < 0 || chip == device->chip); /* one kind for all */
            chip = device->chip;
            milli += part->devices[d].milli;
        }
        assert_int_equal(milli, part->tasks * shape->devices_milli);
    }
    assert_int_equal(tasks, shape->tasks);
}

static void test_exact(void **state)
{
    struct rng rng = { 42 };
    uint32_t fits = 0;

    (void)state;
    for (uint32_t round = 0; round < 400; round++) {
        struct grant *held[64];
        struct fleet fleet = { 0 };
        struct shapes shapes = { 0 };
        struct fit fit = { 0 };
        uint32_t count = 0;

        join(&fleet, &rng);
        for (uint32_t i = 0; i < 20; i++) {
            struct request_shape request;
            uint32_t number;
            bool found;

            draw_shape(&request, &rng);
            number = shapes_get(&shapes, &request);
            found = fit_find(shapes_at(&shapes, number), &fleet, &ANY_OBJECTIVE, FIT_NOW, &fit);
            if (found != exists_plainly(&fleet, &request))
                fail_msg("round %u, job %u: found %d", round, i, found);
            if (found) {
                struct grant *grant = fit_grant(shapes_at(&shapes, number), &fleet, &fit, FIT_NOW);

                check_grant(&fleet, &request, grant);
                grant->job_id = i + 1;
                grant->end_ms = INT64_MAX;
                fleet_hold(&fleet, grant);
                held[count++] = grant;
                fits++;
            } else if (count && rng_below(&rng, 2)) {
                fleet_release(&fleet, held[--count]);
                grant_destroy(held[count]);
            }
        }
        while (count) {
            fleet_release(&fleet, held[--count]);
            grant_destroy(held[count]);
        }
        for (uint32_t i = 0; i < NODES; i++) {
            assert_int_equal(fleet.sites[0].nodes[i].cpus_used, 0);
            assert_int_equal(fleet.sites[0].nodes[i].grants_count, 0);
        }
        fit_fini(&fit);
        shapes_fini(&shapes);
        fleet_fini(&fleet);
    }
    assert_true(fits > 1000);
}

/* --- the promise --------------------------------------------------------------------------------
 */

/* Backfill inside the limits never makes the head later: its place is still there at that time. */
static void test_promise_holds(void **state)
{
    struct rng rng = { 7 };
    uint32_t promised = 0;

    (void)state;
    for (uint32_t round = 0; round < 3000; round++) {
        struct grant *held[64];
        struct fleet fleet = { 0 };
        struct shapes shapes = { 0 };
        struct reserve reserve = { 0 };
        struct reserve_ask ask = { .now_ms = 10, .before_ms = -1 };
        struct promise promise = { .job_id = 99 }, again = { .job_id = 99 };
        struct fit fit = { 0 };
        struct request_shape request;
        uint32_t count = 0, head;
        int64_t start_ms;

        join(&fleet, &rng);
        for (uint32_t i = 0; i < 12; i++) {
            uint32_t number;

            draw_shape(&request, &rng);
            number = shapes_get(&shapes, &request);
            if (!fit_find(shapes_at(&shapes, number), &fleet, &ANY_OBJECTIVE, FIT_NOW, &fit))
                continue;
            held[count] = fit_grant(shapes_at(&shapes, number), &fleet, &fit, FIT_NOW);
            held[count]->job_id = i + 1;
            held[count]->end_ms = 100 + (int64_t)rng_below(&rng, 1000);
            fleet_hold(&fleet, held[count++]);
        }
        draw_shape(&request, &rng);
        head = shapes_get(&shapes, &request);
        if (!fit_find(shapes_at(&shapes, head), &fleet, &ANY_OBJECTIVE, FIT_NOW, &fit)) {
            uint32_t candidates;

            ask.span_ms = 1 + (int64_t)rng_below(&rng, 500);
            start_ms = reserve_find(&reserve, shapes_at(&shapes, head), &fleet, &ANY_OBJECTIVE,
                                    &ask, &fit, &promise);
            if (promise.plan)
                promise_set(&promise, &fleet);
            shape_candidates(shapes_at(&shapes, head), &fleet, &ANY_OBJECTIVE, &candidates);
            for (uint32_t i = 0; candidates && i < 10; i++) {
                uint32_t number;

                draw_shape(&request, &rng);
                number = shapes_get(&shapes, &request);
                if (!fit_find(shapes_at(&shapes, number), &fleet, &ANY_OBJECTIVE, FIT_LIMITED,
                              &fit))
                    continue;
                held[count] = fit_grant(shapes_at(&shapes, number), &fleet, &fit, FIT_LIMITED);
                held[count]->job_id = 100 + i;
                held[count]->end_ms = INT64_MAX; /* it may run for ever */
                fleet_hold(&fleet, held[count++]);
                promised++;
            }
            /* Planned again only now: what was taken since must be in the limits. */
            if (promise.plan && (!promise_is_sound(&promise, &fleet) ||
                                 !promise_limits_are_sound(&promise, &fleet)))
                fail_msg("round %u: the promise for %d is not kept", round, (int)start_ms);
            promise_unset(&promise, &fleet);
            if (reserve_find(&reserve, shapes_at(&shapes, head), &fleet, &ANY_OBJECTIVE, &ask, &fit,
                             &again) > start_ms)
                fail_msg("round %u: promised %d, now %d", round, (int)start_ms,
                         (int)again.start_ms);
            promise_clear(&promise, &fleet);
            promise_clear(&again, &fleet);
        }
        while (count) {
            fleet_release(&fleet, held[--count]);
            grant_destroy(held[count]);
        }
        reserve_fini(&reserve);
        fit_fini(&fit);
        shapes_fini(&shapes);
        fleet_fini(&fleet);
    }
    assert_true(promised > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_promise_holds),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
