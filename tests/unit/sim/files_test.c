/* Fleet, fault and policy files: what is refused, with which line; what is taken. */
#include "sim_bed.h"

#include "sim/what.h"

#define SITE "sites:\n  - name: a\n    pools:\n"
#define POOL "      - { name: p, nodes: 2, cpus: 8, memory: 16Gi }\n"

struct refusal {
    const char *text, *message; /* what the one line must hold */
};

static const struct refusal bad_fleets[] = {
    { "", "f:" },
    { "[]", "f:1:1: expected a fleet: a mapping" },
    { "sites: []", "a fleet has 1 to" },
    { "sites: 3", "f:1:8: sites: expected a list" },
    { "site: []", "f:1:1: a fleet has no key \"site\": did you mean \"sites\"?" },
    { SITE "      - { name: p, nodes: 2, cpus: 8 }\n", "f:4:9: a pool needs the key \"memory\"" },
    { SITE "      - { name: p, nodes: 0, cpus: 8, memory: 1Gi }\n",
      "f:4:27: nodes: expected a whole number from 1 to 20000, not" },
    { SITE "      - { name: p, nodes: 2.5, cpus: 8, memory: 1Gi }\n",
      "nodes: expected a whole number" },
    { SITE "      - { name: p, nodes: 2, cpus: 8, memory: lots }\n", "f:4:47: memory: " },
    { SITE "      - { name: p, nodes: 2, cpus: 8, memory: 1Gi, devices: 8 }\n",
      "pool p has devices but no chip" },
    { SITE "      - { name: p, nodes: 2, cpus: 8, memory: 1Gi, chip: t4 }\n",
      "pool p has a chip but no devices" },
    { SITE "      - { name: p/q, nodes: 2, cpus: 8, memory: 1Gi }\n",
      "expected a name of letters" },
    { SITE POOL POOL, "site a has two pools named p" },
    { SITE POOL "  - name: a\n    pools:\n" POOL, "two sites are named a" },
    { SITE POOL "    tariff: { carbon: -3 }\n", "carbon: expected a number from 0" },
    { SITE POOL "    tariff: { power: 3 }\n", "a tariff has no key \"power\"" },
    { SITE POOL "    windows: [ { kind: eclipse, for: 1h } ]\n",
      "kind: expected one of maintenance, contact, link, power" },
    { SITE POOL "    windows: [ { kind: link, for: 2h, every: 1h } ]\n",
      "a window that returns before it ends" },
};

/* Behind `tariff: `, on line 3 of the fleet. */
static const struct refusal bad_tariffs[] = {
    { "3", "f:3:13: expected a tariff: a mapping" },
    { "{ power: 0.1 }", "a tariff has no key \"power\"" },
    { "{ carbonn: 3 }", "did you mean \"carbon\"?" },
    { "{ power_price: -0.1 }", "f:3:28: power_price: expected a number from 0" },
    { "{ power_price: 0.1234567 }", "with up to 6 decimals, not \"0.1234567\"" },
    { "{ power_price: cheap }", "power_price: expected a number" },
    { "{ carbon: -3 }", "carbon: expected a number from 0" },
    { "{ carbon: 1e3 }", "carbon: expected a number from 0" },
    { "{ carbon: [ 1 ] }", "carbon: expected a word or a number" },
    { "{ carbon: 0x10 }", "carbon: expected a number" },
    { "{ device_price: 99999999999 }", "device_price: expected a number from 0" },
    { "{ cpu_price: 1, cpu_price: 2 }", "f:3:" },
};

static void bad_tariffs_get_one_line(void **state)
{
    struct catalogue *catalogue;

    (void)state;
    assert_int_equal(catalogue_load(NULL, &catalogue, NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(bad_tariffs); i++) {
        struct sim_fleet *fleet = NULL;
        struct err err = { 0 };
        char text[512];

        snprintf(text, sizeof(text), "sites:\n  - name: a\n    tariff: %s\n    pools:\n" POOL,
                 bad_tariffs[i].text);
        assert_true(sim_fleet_read("f", text, strlen(text), catalogue, &fleet, &err) < 0);
        if (!strstr(err.text, bad_tariffs[i].message) || strchr(err.text, '\n'))
            fail_msg("tariff %zu: \"%s\" does not say \"%s\"", i, err.text, bad_tariffs[i].message);
    }
    catalogue_destroy(catalogue);
}

static void bad_fleets_get_one_line(void **state)
{
    struct catalogue *catalogue;

    (void)state;
    assert_int_equal(catalogue_load(NULL, &catalogue, NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(bad_fleets); i++) {
        struct sim_fleet *fleet = NULL;
        struct err err = { 0 };

        assert_true(sim_fleet_read("f", bad_fleets[i].text, strlen(bad_fleets[i].text), catalogue,
                                   &fleet, &err) < 0);
        assert_null(fleet);
        if (!strstr(err.text, bad_fleets[i].message))
            fail_msg("fleet %zu: \"%s\" does not say \"%s\"", i, err.text, bad_fleets[i].message);
    }
    catalogue_destroy(catalogue);
}

static const struct refusal bad_plans[] = {
    { "nodes: 3", "p:1:8: expected nodes: a mapping" },
    { "nodes: { repair: 4h }", "nodes needs the key \"failures_per_1000_node_days\"" },
    { "nodes: { failures_per_1000_node_days: x }", "expected a number" },
    { "chips: { failures_per_1000_node_days: 1 }", "chips has no key" },
    { "slow: { share: 1.5, speed: 0.5 }", "share: expected a number from 0 to 1" },
    { "checkpoint: { every: 10ms }", "every: " },
    { "windows: [ { kind: power, for: 1h } ]", "a window needs the key \"site\"" },
    { "nodez: {}", "did you mean \"nodes\"?" },
    { "a: 1\na: 2", "p:2:1:" },
    { "windows: { }", "windows: expected a list" },
};
static const struct refusal bad_policies[] = {
    { "backfill: off", "p:1:1: a policy has no key \"backfill\"" },
    { "limits: perfect", "p:1:9: limits: expected one of trace, exact, none" },
    { "limit: none", "did you mean \"limits\"?" },
    { "objective: best", "expected one of job, fastest, cheapest, greenest" },
    { "limits_times: 0.5", "limits_times: expected a number from 1 to" },
    { "pass_every: soon", "pass_every: " },
    { "quotas: [ { cpus: 3 } ]", "a quota needs the key \"tenant\"" },
    { "quotas: [ { tenant: a, cpus: -3 } ]", "cpus: expected a number" },
    { "name: [a]", "name: expected a word" },
    { "order: lottery", "order: expected one of fair, fifo, predicted" },
    { "saves: never", "saves: expected one of trace, told" },
    { "preempt: maybe", "preempt: expected one of on, off" },
    { "reservations: 0", "reservations: " },
    { "reservations: 17", "reservations: " },
    { "spares: 1025", "spares: " },
    { "spares_planned: perhaps", "spares_planned: expected one of" },
    { "quotas: [ { tenant: a, weight: 0 } ]", "weight: expected a number" },
    { "- name: a", "expected a policy: a mapping" },
};

static void bad_plans_and_policies_get_one_line(void **state)
{
    struct arena arena = arena_init(1u << 20);
    struct sim_faults faults;
    struct sim_policy policy;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad_plans); i++) {
        struct err err = { 0 };

        assert_true(sim_faults_read("p", bad_plans[i].text, strlen(bad_plans[i].text), &arena,
                                    &faults, &err) < 0);
        if (!strstr(err.text, bad_plans[i].message))
            fail_msg("plan %zu: \"%s\"", i, err.text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad_policies); i++) {
        struct err err = { 0 };

        assert_true(sim_policy_read("p", bad_policies[i].text, strlen(bad_policies[i].text), &arena,
                                    &policy, &err) < 0);
        if (!strstr(err.text, bad_policies[i].message))
            fail_msg("policy %zu: \"%s\"", i, err.text);
    }
    arena_fini(&arena);
}

static void good_files_mean_what_they_say(void **state)
{
    static const char text[] = "start: 2026-03-01T00:00:00Z\n" SITE
                               "      - { name: g, nodes: 3, cpus: 8, memory: 16Gi, devices: 4,\n"
                               "          chip: odd, chip_tflops: 100.5, chip_watts: 300 }\n"
                               "      - { name: c, nodes: 1, cpus: 64, memory: 1Ti }\n"
                               "    tariff: { power_price: 0.1, device_price: 1.25 }\n";
    struct catalogue *catalogue;
    struct sim_fleet *fleet;
    struct err err;
    char name[MODEL_NAME_BYTES];

    (void)state;
    assert_int_equal(catalogue_load(NULL, &catalogue, NULL), 0);
    assert_int_equal(sim_fleet_read("f", text, strlen(text), catalogue, &fleet, &err), 0);
    assert_int_equal(fleet->start_ms, 1772323200000);
    assert_int_equal(fleet->devices_count, 12);
    assert_int_equal(fleet->cpus_count, 88);
    assert_int_equal(fleet->sites[0].tariff.power_price_micro_per_kwh, 100000);
    assert_int_equal(fleet->sites[0].tariff.device_price_micro_per_hour, 1250000);
    assert_int_equal(sim_chip_speed(&fleet->sites[0].pools[0].figures), 100500);
    assert_int_equal(fleet->sites[0].pools[0].figures.power_watts, 300);
    sim_node_name(&fleet->sites[0], 2, name);
    assert_string_equal(name, "g-00002");
    sim_node_name(&fleet->sites[0], 3, name);
    assert_string_equal(name, "c");
    sim_fleet_destroy(fleet);
    catalogue_destroy(catalogue);
}

#define WHAT_FLEET                                                                                 \
    "sites:\n  - name: west\n    tariff: { power_price: 0.1, carbon: 5 }\n    pools:\n"            \
    "      - { name: a, nodes: 2, cpus: 8, memory: 1Gi, devices: 8, chip: odd }\n"                 \
    "      - { name: b, nodes: 1, cpus: 8, memory: 1Gi, devices: 4, chip: other }\n"               \
    "  - name: east\n    pools: [ { name: c, nodes: 3, cpus: 8, memory: 1Gi } ]\n"

static struct sim_fleet *what_fleet(void)
{
    struct sim_fleet *fleet = NULL;
    struct catalogue *catalogue;
    struct err err = { 0 };

    assert_int_equal(catalogue_load(NULL, &catalogue, &err), 0);
    assert_int_equal(sim_fleet_read("f", WHAT_FLEET, strlen(WHAT_FLEET), catalogue, &fleet, &err),
                     0);
    catalogue_destroy(catalogue);
    return fleet;
}

static int change(const char *text, struct sim_what *out, struct sim_fleet **fleet_out,
                  const struct sim_what *base, struct arena *arena, struct err *err)
{
    struct catalogue *catalogue;
    int rc;

    assert_int_equal(catalogue_load(NULL, &catalogue, err), 0);
    rc = sim_what_if(text, base, catalogue, arena, out, fleet_out, err);
    catalogue_destroy(catalogue);
    return rc;
}

/* Each changes what it names, and nothing of what it was made from. */
static void what_ifs_change_one_thing(void **state)
{
    struct arena arena = arena_init(1u << 20);
    struct sim_fleet *fleet = what_fleet(), *other = NULL;
    struct sim_what base = { .faults = sim_faults_init(), .policy = sim_policy_init() }, got;
    struct err err = { 0 };

    (void)state;
    base.fleet = fleet;
    assert_int_equal(change("add: 24 at west", &got, &other, &base, &arena, &err), 0);
    assert_int_equal(got.fleet->devices_count, 20 + 24);
    assert_int_equal(got.fleet->sites[0].pools[2].nodes, 3);
    assert_string_equal(got.fleet->sites[0].pools[2].chip, "odd");
    assert_int_equal(got.fleet->sites[0].pools[2].first_node, 3);
    assert_string_equal(got.policy.name, "add: 24 at west");
    sim_fleet_destroy(other);
    assert_int_equal(change("add: 8 other at east", &got, &other, &base, &arena, &err), 0);
    assert_int_equal(got.fleet->sites[1].pools[1].nodes, 2);
    assert_int_equal(got.fleet->devices_count, 28);
    sim_fleet_destroy(other);
    assert_int_equal(change("add: 5 nodes at east", &got, &other, &base, &arena, &err), 0);
    assert_int_equal(got.fleet->nodes_count, 11);
    sim_fleet_destroy(other);
    assert_int_equal(change("power_price: 0.3 at west", &got, &other, &base, &arena, &err), 0);
    assert_int_equal(got.fleet->sites[0].tariff.power_price_micro_per_kwh, 300000);
    assert_int_equal(got.fleet->sites[0].tariff.carbon_g_per_kwh_milli, 5000);
    sim_fleet_destroy(other);
    assert_int_equal(change("lose: west at 3d for 2d", &got, &other, &base, &arena, &err), 0);
    assert_null(other);
    assert_int_equal(got.faults.windows_count, 1);
    assert_int_equal(got.faults.windows[0].window.kind, SIM_WINDOW_POWER);
    assert_int_equal(got.faults.windows[0].window.at_ms, 3 * 86400000LL);
    assert_int_equal(got.faults.windows[0].window.length_ms, 2 * 86400000LL);
    assert_int_equal(got.policy.moves, 0);
    assert_int_equal(change("lose: west", &got, &other, &base, &arena, &err), 0);
    assert_int_equal(got.policy.moves, 1); /* nobody waits for what will not come back */
    assert_int_equal(change("order: fifo", &got, &other, &base, &arena, &err), 0);
    assert_int_equal(got.policy.order, 1);
    assert_int_equal(got.policy.reservations, base.policy.reservations);
    assert_int_equal(fleet->devices_count, 20);
    assert_int_equal(fleet->sites[0].tariff.power_price_micro_per_kwh, 100000);
    assert_int_equal(base.faults.windows_count, 0);
    sim_fleet_destroy(fleet);
    arena_fini(&arena);
}

static void bad_what_ifs_get_one_line(void **state)
{
    static const char *const rows[][2] = {
        { "", "expected \"add: 8 at SITE\"" },
        { "add", "expected \"add: 8 at SITE\"" },
        { "add: 3 at west", "nodes like those have 8 devices each: add 8 of them" },
        { "add: 0 at west", "expected a whole number from 1" },
        { "add: 8 h200-sxm at west", "has a node with h200-sxm to be like" },
        { "add: 8 at east", "the nodes there have no devices" },
        { "add: 8 west", "expected \"add: N [KIND or nodes] at SITE\"" },
        { "add: 9999999 nodes at west", "more than" },
        { "lose: north", "has no site north; its first is west" },
        { "lose: west at", "expected \"lose: SITE [at TIME] [for TIME]\"" },
        { "lose: west for 0s", "expected a second to ten years" },
        { "lose: west in 3d", "expected \"at\" or \"for\", not \"in\"" },
        { "power_price: dear at west", "power_price: expected a number" },
        { "order: best", "order: expected one of" },
        { "ordr: fifo", "did you mean \"order\"?" },
        { "lose: a b c d e f g h", "too many words" },
    };
    struct arena arena = arena_init(1u << 20);
    struct sim_what base = { .faults = sim_faults_init(), .policy = sim_policy_init() }, got;
    struct sim_fleet *fleet = what_fleet(), *other = NULL;
    struct err err = { 0 };

    (void)state;
    base.fleet = fleet;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_true(change(rows[i][0], &got, &other, &base, &arena, &err) < 0);
        assert_null(other);
        if (!strstr(err.text, rows[i][1]) || strchr(err.text, '\n'))
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", rows[i][0], err.text, rows[i][1]);
    }
    sim_fleet_destroy(fleet);
    arena_fini(&arena);
}

/* What is written reads back to the same, whatever the fleet. */
static void fleets_survive_writing(void **state)
{
    static const char odd[] =
        "name: odd\nsites:\n  - name: no\n    region: no\n    owner: '1e5'\n"
        "    tariff: { power_price: 0.000001, carbon: 0.5, cpu_price: 12, device_price: 1.25 }\n"
        "    pools:\n"
        "      - { name: 'null', nodes: 3, cpus: 8, memory: 1000001, disk: 5Ti, devices: 4,\n"
        "          chip: odd, chip_tflops: 100.125, chip_watts: 0, cpu_watts: 7,\n"
        "          failures_per_1000_node_days: 0 }\n"
        "    windows:\n"
        "      - { kind: contact, at: 0s, for: 10m, every: 95m }\n"
        "      - { kind: maintenance, at: 7d, for: 8h5s, drain: 12h }\n"
        "  - name: b\n    pools: [ { name: c, nodes: 1, cpus: 64, memory: 1Ti } ]\n";
    struct buf first = buf_init(1u << 20), second = buf_init(1u << 20);
    struct sim_fleet *fleets[4] = { NULL };
    struct catalogue *catalogue;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(catalogue_load(NULL, &catalogue, NULL), 0);
    assert_int_equal(sim_fleet_read("f", odd, strlen(odd), catalogue, &fleets[0], &err), 0);
    assert_int_equal(sim_fleet_open("demo-100k", catalogue, &fleets[2], &err), 0);
    for (int i = 0; i < 4; i += 2) {
        buf_clear(&first);
        buf_clear(&second);
        assert_int_equal(sim_fleet_write(fleets[i], &first), 0);
        if (sim_fleet_read("w", first.data, first.len, catalogue, &fleets[i + 1], &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(sim_fleet_write(fleets[i + 1], &second), 0);
        assert_int_equal(first.len, second.len);
        assert_memory_equal(first.data, second.data, first.len);
        assert_int_equal(fleets[i]->devices_count, fleets[i + 1]->devices_count);
    }
    assert_int_equal(fleets[1]->sites[0].tariff.power_price_micro_per_kwh, 1);
    assert_string_equal(fleets[1]->sites[0].owner, "1e5");
    assert_int_equal(fleets[1]->sites[0].pools[0].memory_bytes, 1000001);
    assert_int_equal(fleets[1]->sites[0].pools[0].chip_tflops_milli, 100125);
    assert_int_equal(fleets[1]->sites[0].pools[0].chip_watts, 0);
    assert_int_equal(fleets[1]->sites[0].pools[0].failures_milli, 0);
    assert_int_equal(fleets[1]->sites[1].pools[0].failures_milli, -1);
    assert_int_equal(fleets[1]->sites[0].windows[1].length_ms, 28805000);
    for (int i = 0; i < 4; i++)
        sim_fleet_destroy(fleets[i]);
    catalogue_destroy(catalogue);
    buf_fini(&first);
    buf_fini(&second);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_fleets_get_one_line),
        cmocka_unit_test(bad_tariffs_get_one_line),
        cmocka_unit_test(bad_plans_and_policies_get_one_line),
        cmocka_unit_test(good_files_mean_what_they_say),
        cmocka_unit_test(what_ifs_change_one_thing),
        cmocka_unit_test(bad_what_ifs_get_one_line),
        cmocka_unit_test(fleets_survive_writing),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
