#include "agent/energy.h"

#include "base/file.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* One node of 4 CPUs, 40 W idle and 200 W loaded; a device of 50..350 W and one of 0..100 W. */
static const struct energy_model model = {
    .cpus = 4,
    .cpu_load_watts = 200,
    .cpu_idle_watts = 40,
    .devices_count = 2,
    .devices = { { 350, 50 }, { 100, 0 } },
};

static const struct {
    const char *what;
    struct energy_use use;
    int64_t mj;
    bool measured;
} cases[] = {
    { "nothing", { .cpu_measured_mj = -1 }, 0, false },
    { "negative clocks count as zero",
      { .cpu_ms = -5, .cpu_held_ms = -5, .wall_ms = -1, .cpu_measured_mj = -1 },
      0,
      false },
    /* 2 of 4 CPUs held for 1 s, asleep: 40 W x 2/4 x 1 s */
    { "held and idle",
      { .cpu_held_ms = 2000, .wall_ms = 1000, .cpu_measured_mj = -1 },
      20000,
      false },
    /* and busy: + (200 - 40) W x 2/4 x 1 s */
    { "held and busy",
      { .cpu_ms = 2000, .cpu_held_ms = 2000, .wall_ms = 1000, .cpu_measured_mj = -1 },
      100000,
      false },
    { "all the node for a second is its load power",
      { .cpu_ms = 4000, .cpu_held_ms = 4000, .wall_ms = 1000, .cpu_measured_mj = -1 },
      200000,
      false },
    { "a measured CPU",
      { .cpu_ms = 4000, .cpu_held_ms = 4000, .cpu_measured_mj = 123 },
      123,
      true },
    { "a device, use not known: full",
      { .wall_ms = 1000,
        .cpu_measured_mj = 0,
        .devices_count = 1,
        .devices = { { 0, 1000, -1, -1 } } },
      350000,
      false },
    { "a device, idle",
      { .wall_ms = 1000,
        .cpu_measured_mj = 0,
        .devices_count = 1,
        .devices = { { 0, 1000, 0, -1 } } },
      50000,
      false },
    { "a tenth of a device, half busy",
      { .wall_ms = 1000,
        .cpu_measured_mj = 0,
        .devices_count = 1,
        .devices = { { 0, 100, 500, -1 } } },
      20000,
      false },
    { "half of a measured device",
      { .wall_ms = 1000,
        .cpu_measured_mj = 7,
        .devices_count = 1,
        .devices = { { 0, 500, -1, 9000 } } },
      4507,
      true },
    { "one device measured and one not",
      { .wall_ms = 1000,
        .cpu_measured_mj = 0,
        .devices_count = 2,
        .devices = { { 0, 1000, -1, 1000 }, { 1, 1000, -1, -1 } } },
      101000,
      false },
    { "a device the model does not have: assumed",
      { .wall_ms = 1000,
        .cpu_measured_mj = 0,
        .devices_count = 1,
        .devices = { { 63, 1000, -1, -1 } } },
      250000,
      false },
    { "shares above a whole device do not exist",
      { .wall_ms = 1000,
        .cpu_measured_mj = 0,
        .devices_count = 1,
        .devices = { { 1, 4000000000u, 2000, -1 } } },
      100000,
      false },
    { "overflow stops at the ceiling",
      { .wall_ms = INT64_MAX,
        .cpu_measured_mj = INT64_MAX,
        .devices_count = 1,
        .devices = { { 0, 1000, -1, INT64_MAX } } },
      INT64_MAX,
      true },
};

static void test_attempt(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        bool measured = !cases[i].measured;
        int64_t mj = energy_attempt_mj(&model, &cases[i].use, &measured);

        if (mj != cases[i].mj || measured != cases[i].measured)
            fail_msg("%s: %" PRId64 " mJ, measured %d; expected %" PRId64, cases[i].what, mj,
                     measured, cases[i].mj);
        assert_int_equal(energy_attempt_mj(&model, &cases[i].use, NULL), mj);
    }
}

/* Two attempts that share a node cost what the node draws: nothing is counted twice. */
static void test_attempts_add_up(void **state)
{
    struct energy_use a = { .cpu_ms = 900, .cpu_held_ms = 1000, .cpu_measured_mj = -1 };
    struct energy_use b = { .cpu_ms = 2100, .cpu_held_ms = 3000, .cpu_measured_mj = -1 };
    struct energy_use both = { .cpu_ms = 3000, .cpu_held_ms = 4000, .cpu_measured_mj = -1 };

    (void)state;
    assert_int_equal(energy_attempt_mj(&model, &a, NULL) + energy_attempt_mj(&model, &b, NULL),
                     energy_attempt_mj(&model, &both, NULL));
    assert_int_equal(energy_share_mj(10000, 900, 3000) + energy_share_mj(10000, 2100, 3000), 10000);
}

static void test_share(void **state)
{
    (void)state;
    assert_int_equal(energy_share_mj(-1, 10, 10), -1);
    assert_int_equal(energy_share_mj(1000, 0, 10), 0);
    assert_int_equal(energy_share_mj(1000, 0, 0), 0);
    assert_int_equal(energy_share_mj(1000, -3, 10), 0);
    assert_int_equal(energy_share_mj(1000, 20, 10), 1000); /* never more than the whole */
    assert_int_equal(energy_share_mj(1000, 5, 10), 500);
    assert_int_equal(energy_share_mj(INT64_MAX, INT64_MAX, INT64_MAX), INT64_MAX);
}

static void test_model_from_catalogue(void **state)
{
    struct energy_model *made = calloc(1, sizeof(*made));
    struct node_info *node = calloc(1, sizeof(*node));
    struct catalogue *catalogue = NULL;

    (void)state;
    assert_int_equal(catalogue_load(NULL, &catalogue, NULL), 0);
    node->cpus = 2;
    node->memory_bytes = INT64_C(16) << 30;
    node->devices_count = 2;
    snprintf(node->devices[0].chip, sizeof(node->devices[0].chip), "h100-sxm-80g");
    snprintf(node->devices[1].chip, sizeof(node->devices[1].chip), "unknown-amd");
    energy_model_init(made, node, catalogue);
    assert_int_equal(made->devices[0].load_watts, 700);
    assert_int_equal(made->devices[0].idle_watts, 105); /* 15 % */
    assert_int_equal(made->devices[1].load_watts, ENERGY_DEVICE_WATTS_ASSUMED);
    assert_int_equal(made->cpu_load_watts, 13); /* 2 x 3.5 + 16 x 0.392 W */
    assert_int_equal(made->cpu_idle_watts, 8);  /* 2 x 0.74 + 16 x 0.392 W */
    node->cpu_load_watts = 300;
    node->cpu_idle_watts = 100;
    energy_model_init(made, node, NULL);
    assert_int_equal(made->cpu_load_watts, 300);
    assert_int_equal(made->devices[0].load_watts, ENERGY_DEVICE_WATTS_ASSUMED);
    catalogue_destroy(catalogue);
    free(made);
    free(node);
}

/* A machine made of files. */
static void put(const char *root, const char *path, const char *text)
{
    char full[256];
    char *slash;

    snprintf(full, sizeof(full), "%s%s", root, path);
    slash = strrchr(full, '/');
    *slash = '\0';
    assert_int_equal(dir_make(full, 0700, NULL), 0);
    *slash = '/';
    assert_int_equal(file_write(full, text, strlen(text), 0600, false, NULL), 0);
}

static void put_rapl(const char *root, const char *domain, const char *name, const char *uj)
{
    char path[128], line[64];

    snprintf(path, sizeof(path), "/sys/class/powercap/%s/name", domain);
    snprintf(line, sizeof(line), "%s\n", name);
    put(root, path, line);
    snprintf(path, sizeof(path), "/sys/class/powercap/%s/max_energy_range_uj", domain);
    put(root, path, "1000000000\n");
    snprintf(path, sizeof(path), "/sys/class/powercap/%s/energy_uj", domain);
    snprintf(line, sizeof(line), "%s\n", uj);
    put(root, path, line);
}

static void test_sampler_counts_rapl(void **state)
{
    char root[] = "/tmp/mains-energy-XXXXXX";
    struct energy_sampler *sampler;
    struct energy_counters counters;

    (void)state;
    assert_non_null(mkdtemp(root));
    assert_false(energy_rapl_is_readable(root));
    put_rapl(root, "intel-rapl:0", "package-0", "999000000");
    put_rapl(root, "intel-rapl:0:0", "core", "5"); /* part of the package */
    put_rapl(root, "intel-rapl:0:1", "dram", "100000");
    put_rapl(root, "intel-rapl:1", "psys", "5");           /* more than the CPUs */
    put_rapl(root, "intel-rapl-mmio:0", "package-0", "5"); /* the same package again */
    put(root, "/proc/stat", "cpu  100 0 100 5000 10 0 0 0 0 0\n");
    assert_true(energy_rapl_is_readable(root));

    sampler = energy_sampler_create(root);
    energy_sampler_tick(sampler, 1000, NULL, 0);
    energy_sampler_read(sampler, &counters);
    assert_int_equal(counters.cpu_mj, 0);

    /* The package wraps: 1 J up to the range and 2 J after; memory 0.5 J. */
    put_rapl(root, "intel-rapl:0", "package-0", "2000000");
    put_rapl(root, "intel-rapl:0:0", "core", "900000000");
    put_rapl(root, "intel-rapl:0:1", "dram", "600000");
    put(root, "/proc/stat", "cpu  200 50 100 5000 10 0 50 0 0 0\n");
    energy_sampler_tick(sampler, 2000, NULL, 0);
    energy_sampler_read(sampler, &counters);
    assert_int_equal(counters.cpu_mj, 3500);
    assert_int_equal(counters.cpu_busy_ms, 200 * 1000 / sysconf(_SC_CLK_TCK));

    /* A counter that can no longer be read adds nothing. */
    put_rapl(root, "intel-rapl:0", "package-0", "garbage");
    energy_sampler_tick(sampler, 3000, NULL, 0);
    energy_sampler_read(sampler, &counters);
    assert_int_equal(counters.cpu_mj, 3500);
    assert_int_equal(counters.device_mj[0], -1);
    energy_sampler_destroy(sampler);
    assert_int_equal(dir_remove(root, NULL), 0);
}

static void test_sampler_integrates_devices(void **state)
{
    char root[] = "/tmp/mains-energy-XXXXXX";
    struct energy_sampler *sampler;
    struct energy_counters counters;

    (void)state;
    assert_non_null(mkdtemp(root));
    sampler = energy_sampler_create(root);
    energy_sampler_tick(sampler, 0, (const int64_t[]){ 100000, -1 }, 2);
    energy_sampler_tick(sampler, 1000, (const int64_t[]){ 300000, -1 }, 2);
    energy_sampler_tick(sampler, 2000, NULL, 0); /* no reading: as before */
    energy_sampler_read(sampler, &counters);
    assert_int_equal(counters.cpu_mj, -1);
    assert_int_equal(counters.device_mj[0], 200000 + 300000); /* 200 W and 300 W for 1 s */
    assert_int_equal(counters.device_mj[1], -1);
    assert_int_equal(counters.device_readings[0], 2);
    assert_int_equal(counters.device_readings[1], 0);
    energy_sampler_tick(sampler, 1500, NULL, 0); /* a clock that steps back adds nothing */
    energy_sampler_read(sampler, &counters);
    assert_int_equal(counters.device_mj[0], 500000);
    energy_sampler_destroy(sampler);
    energy_sampler_destroy(NULL);
    assert_int_equal(dir_remove(root, NULL), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attempt),
        cmocka_unit_test(test_attempts_add_up),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_model_from_catalogue),
        cmocka_unit_test(test_sampler_counts_rapl),
        cmocka_unit_test(test_sampler_integrates_devices),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
