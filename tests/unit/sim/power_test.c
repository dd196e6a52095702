/* Tariffs over time in simulation: waiting never makes a deadline missed, it costs less, and what
 * it costs is by the hour; grid events; bad series get one line. */
#include "sim_bed.h"

#include "base/rng.h"

#define HEAD                                                                                       \
    "start: 2026-01-05T00:00:00Z\nsites:\n  - name: a\n    tariff: { power_price: 0.2, carbon: "   \
    "400 }\n    pools:\n      - { name: p, nodes: 8, cpus: 16, memory: 64Gi, devices: 4, chip: "   \
    "t4, chip_watts: 100, cpu_watts: 10 }\n"

/* Two weeks of prices, dear by day, with noise. */
static void print_fleet(struct buf *out, uint64_t seed)
{
    struct rng rng = { .state = seed };

    buf_add_text(out, HEAD "    series:\n      rows:\n");
    for (int i = 0; i < 14 * 24; i++)
        buf_printf(out, "        - { price: 0.%03d }\n",
                   (i % 24 < 7 ? 50 : 250) + (int)rng_below(&rng, 200));
}

static void print_trace(struct buf *out, uint64_t seed, uint32_t jobs)
{
    struct rng rng = { .state = seed ^ 77 };
    uint64_t at = 0;

    buf_add_text(out, "submit_s,run_s,devices,cpus\n");
    for (uint32_t i = 0; i < jobs; i++) {
        at += rng_below(&rng, 2400);
        buf_printf(out, "%d,%d,%d,1\n", (int)at, 600 + (int)rng_below(&rng, 14400),
                   1 + (int)rng_below(&rng, 3));
    }
}

struct sums {
    uint64_t deadlines, missed;
    int64_t price_micro, energy_mj;
};

static struct sums run(const char *fleet, const char *trace, bool shifts, bool saves)
{
    struct bed bed = bed_init(fleet, "jobs", trace);
    struct sums sums;

    bed_set_policy(&bed, shifts && saves
                             ? "limits: exact\nobjective: cheapest\npatient: { share: 0.7, within: "
                               "20h, checkpoints: on }\n"
                         : shifts ? "limits: exact\nobjective: cheapest\npatient: { share: 0.7, "
                                    "within: 20h }\n"
                                  : "limits: exact\nobjective: cheapest\nshift: off\npatient: { "
                                    "share: 0.7, within: 20h }\n");
    bed_run(&bed);
    assert_int_equal(bed.result.done, bed.load->jobs_count);
    sums = (struct sums){ bed.result.deadlines, bed.result.deadlines_missed,
                          bed.result.sites[0].price_micro, bed.result.sites[0].energy_mj };
    bed_fini(&bed);
    return sums;
}

static void test_no_deadline_is_missed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        CLEANUP(buf_fini) struct buf fleet = buf_init(1 << 20), trace = buf_init(1 << 20);
        struct sums at_once, waiting, pausing;

        print_fleet(&fleet, seed);
        print_trace(&trace, seed, 150);
        at_once = run(fleet.data, trace.data, false, false);
        waiting = run(fleet.data, trace.data, true, false);
        pausing = run(fleet.data, trace.data, true, true);
        assert_true(at_once.deadlines > 50);
        assert_int_equal(at_once.missed, 0);
        assert_int_equal(waiting.missed, 0);
        assert_int_equal(pausing.missed, 0);
        assert_int_equal(waiting.energy_mj, at_once.energy_mj);
        assert_true(waiting.price_micro < at_once.price_micro);
        assert_true(pausing.price_micro < at_once.price_micro);
    }
}

/* 100 W and 10 W x 1/16 for two hours, the second at another price and half of it green. */
static void test_bill_by_the_hour(void **state)
{
    static const char fleet[] =
        HEAD "    series: { rows: [ { price: 0.1, carbon: 100 }, { price: 0.3, green: 0.5 } ] }\n";
    struct bed bed = bed_init(fleet, "jobs", "submit_s,run_s,devices,cpus\n0,7200,1,1\n");

    (void)state;
    bed_run(&bed);
    assert_int_equal(bed.result.sites[0].energy_mj, 100625LL * 7200);
    assert_int_equal(bed.result.sites[0].price_micro, 40250);  /* 0.100625 kWh x (0.1 + 0.3) */
    assert_int_equal(bed.result.sites[0].carbon_ug, 30187500); /* x (100 + 400 / 2) g */
    bed_fini(&bed);
}

static void test_grid_event(void **state)
{
    CLEANUP(buf_fini) struct buf trace = buf_init(1 << 20);
    struct bed bed;

    (void)state;
    print_trace(&trace, 3, 60);
    bed = bed_init(HEAD, "jobs", trace.data);
    bed_set_faults(&bed, "sheds: [ { site: a, at: 6h, for: 3h, percent: 50 } ]\n");
    bed_run(&bed);
    assert_int_equal(bed.result.sheds, 1);
    assert_true(bed.result.yields > 0);
    assert_int_equal(bed.result.done, 60);
    bed_fini(&bed);
}

static void test_bad_series(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "3", "expected a series: a mapping" },
        { "{ ahead: 1d }", "series: expected either file or rows" },
        { "{ file: x.csv, rows: [ { price: 1 } ] }", "series: expected either file or rows" },
        { "{ file: gone.csv }", "gone.csv" },
        { "{ file: ../x.csv }", "expected a name of letters" },
        { "{ rows: [ { prize: 1 } ] }", "did you mean \"price\"?" },
        { "{ rows: [ { price: dear } ] }", "price: expected a number" },
        { "{ rows: [ { green: 1.5 } ] }", "green: expected a number from 0" },
        { "{ rows: [ { carbon: -1 } ] }", "carbon: expected a number from 0" },
        { "{ slot: 1s, rows: [ { price: 1 } ] }", "slot: " },
        { "{ slot: soon, rows: [ { price: 1 } ] }", "slot: " },
    };
    struct catalogue *catalogue;

    (void)state;
    assert_int_equal(catalogue_load(NULL, &catalogue, NULL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        CLEANUP(buf_fini) struct buf text = buf_init(1 << 16);
        struct sim_fleet *fleet = NULL;
        struct err err = { 0 };

        buf_printf(&text, "%s    series: %s\n", HEAD, cases[i].text);
        assert_true(sim_fleet_read("f", text.data, text.len, catalogue, &fleet, &err) < 0);
        if (!strstr(err.text, cases[i].message) || strchr(err.text, '\n'))
            fail_msg("%s: \"%s\", expected \"%s\"", cases[i].text, err.text, cases[i].message);
    }
    catalogue_destroy(catalogue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_deadline_is_missed),
        cmocka_unit_test(test_bill_by_the_hour),
        cmocka_unit_test(test_grid_event),
        cmocka_unit_test(test_bad_series),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
