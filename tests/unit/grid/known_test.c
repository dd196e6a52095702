/* An inventory that is told again: is it what is known? And the sums over a site. */
#include "bed.h"

#define NODES 3u

struct telling {
    struct event event;
    struct node_info nodes[NODES + 1];
    struct chip_figures chips[2];
};

static void telling_init(struct telling *telling)
{
    memset(telling, 0, sizeof(*telling));
    for (uint32_t i = 0; i <= NODES; i++) {
        struct node_info *node = &telling->nodes[i];

        snprintf(node->name, sizeof(node->name), "n%u", i);
        node->cpus = 8;
        node->memory_bytes = 64LL << 30;
        node->devices_count = 2;
        for (uint32_t d = 0; d < 2; d++)
            snprintf(node->devices[d].chip, sizeof(node->devices[d].chip), "fast");
    }
    snprintf(telling->chips[0].kind, sizeof(telling->chips[0].kind), "fast");
    telling->chips[0].power_watts = 700;
    telling->event.type = EVENT_SITE_JOINED;
    snprintf(telling->event.site_joined.site.name, MODEL_NAME_BYTES, "lab");
    telling->event.site_joined.site.nodes = telling->nodes;
    telling->event.site_joined.site.nodes_count = NODES;
    telling->event.site_joined.chips = telling->chips;
    telling->event.site_joined.chips_count = 1;
}

static void change_name(struct telling *telling)
{
    snprintf(telling->event.site_joined.site.name, MODEL_NAME_BYTES, "lab2");
}
static void change_owner(struct telling *telling)
{
    snprintf(telling->event.site_joined.site.owner, MODEL_NAME_BYTES, "physics");
}
static void change_region(struct telling *telling)
{
    snprintf(telling->event.site_joined.site.region, MODEL_NAME_BYTES, "north");
}
static void change_price(struct telling *telling)
{
    telling->event.site_joined.site.tariff.device_price_micro_per_hour = 1;
}
static void change_currency(struct telling *telling)
{
    snprintf(telling->event.site_joined.site.tariff.currency, 8, "EUR");
}
static void change_sandbox(struct telling *telling)
{
    telling->event.site_joined.site.sandbox_optional = true;
}
static void change_kinds(struct telling *telling)
{
    telling->event.site_joined.site.one_kind = true;
}
static void change_tunnels(struct telling *telling)
{
    telling->event.site_joined.site.tunnels = true;
}
static void change_suspends(struct telling *telling)
{
    telling->event.site_joined.site.suspends = true;
}
static void change_address(struct telling *telling)
{
    snprintf(telling->event.site_joined.site.address, 24, "192.0.2.7:7800");
}
static void change_cpus(struct telling *telling)
{
    telling->nodes[1].cpus = 9;
}
static void change_rack(struct telling *telling)
{
    snprintf(telling->nodes[2].rack, MODEL_NAME_BYTES, "r1");
}
static void change_health(struct telling *telling)
{
    telling->nodes[2].devices[1].health = DEVICE_SICK;
}
static void change_figures(struct telling *telling)
{
    telling->chips[0].power_watts = 600;
}
static void add_node(struct telling *telling)
{
    telling->event.site_joined.site.nodes_count++;
}
static void take_node(struct telling *telling)
{
    telling->event.site_joined.site.nodes_count--;
}
static void take_all_nodes(struct telling *telling)
{
    telling->event.site_joined.site.nodes_count = 0;
}

static void test_known(void **state)
{
    static void (*const changes[])(struct telling *) = {
        change_name, change_owner,   change_region, change_price,   change_currency, change_rack,
        change_cpus, change_sandbox, change_kinds,  change_tunnels, change_suspends, change_address,
        add_node,    change_health,  take_node,     take_all_nodes, change_figures,
    };
    struct telling *telling = malloc(sizeof(*telling));
    struct bed bed = { .grid = grid_create(), .now_ms = 1000 };

    (void)state;
    telling_init(telling);
    assert_false(grid_site_is_known(bed.grid, &telling->event));
    bed_step(&bed, &telling->event);
    assert_true(grid_site_is_known(bed.grid, &telling->event));
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        telling_init(telling);
        changes[i](telling);
        if (grid_site_is_known(bed.grid, &telling->event))
            fail_msg("change %zu is not seen", i);
    }
    /* One that is gone stays listed; the rest is known without it, and it is missed no more. */
    telling_init(telling);
    take_node(telling);
    bed_step(&bed, &telling->event);
    assert_true(grid_site_is_known(bed.grid, &telling->event));
    add_node(telling);
    assert_false(grid_site_is_known(bed.grid, &telling->event));
    grid_destroy(bed.grid);
    free(telling);
}

static void test_totals(void **state)
{
    struct telling *telling = malloc(sizeof(*telling));
    struct bed bed = { .grid = grid_create(), .now_ms = 1000 };
    struct event cordon = { .type = EVENT_NODE_STATE };
    struct site_totals totals;

    (void)state;
    telling_init(telling);
    bed_step(&bed, &telling->event);
    take_node(telling);
    bed_step(&bed, &telling->event);
    cordon.node_state.site = "lab";
    cordon.node_state.node = "n1";
    cordon.node_state.device = -1;
    cordon.node_state.cordoned = true;
    bed_step(&bed, &cordon);
    totals = grid_site_totals(bed.grid, 0);
    assert_true(totals.nodes == 2 && totals.cordoned == 1 && totals.cpus == 16);
    assert_true(totals.cpus_free == 16 && totals.devices == 4);
    assert_true(totals.devices_free_milli == 4000 && totals.attempts == 0);
    assert_true(grid_site_totals(bed.grid, 1).nodes == 0);
    grid_destroy(bed.grid);
    free(telling);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_totals),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
