/* Rates told beside a trace: refusals, how long jobs then run, and what the scheduler makes of it.
 */
#include "sim_bed.h"

#include "sim/rates.h"

#include <errno.h>

#define FLEET                                                                                      \
    "sites: [ { name: lab, pools: [\n"                                                             \
    "  { name: f, nodes: 1, cpus: 8, memory: 64Gi, devices: 1, chip: quick },\n"                   \
    "  { name: s, nodes: 1, cpus: 8, memory: 64Gi, devices: 1, chip: tardy } ] } ]\n"
#define TRACE                                                                                      \
    "submit_s,run_s,gpus,work,units\n"                                                             \
    "0,7,1,even,3600\n" /* hardly cares, and comes first */                                        \
    "10,7,1,steep,3600\n"
#define RATES "work,chip,seconds\neven,quick,1\neven,tardy,1.1\nsteep,quick,1\nsteep,tardy,8\n"

static int read_rates(struct sim_load *load, const char *text, struct err *err)
{
    struct sim_lines *lines = NULL;
    int rc;

    assert_int_equal(sim_lines_of_memory("rates.csv", text, strlen(text), &lines, NULL), 0);
    rc = sim_rates_read(lines, load, err);
    sim_lines_close(lines);
    return rc;
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "", "rates.csv: is empty" },
        { "work,chip\n", "rates.csv:1: no column \"seconds\"" },
        { "work,chip,seconds\neven,quick\n", "rates.csv:2: fewer fields" },
        { "work,chip,seconds\neven,quick,0\n", "rates.csv:2: seconds" },
        { "work,chip,seconds\neven,quick,fast\n", "rates.csv:2: seconds" },
        { "work,chip,seconds\n\n,quick,1\n", "rates.csv:3: work and chip" },
        { "work,chip,seconds\neven,quick,1\neven,quick,2\n", "even on quick is told twice" },
        { "work,chip,seconds\neven,quick,99999999\n", "job 1 does 3600.000 units of even" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bed bed = bed_init(FLEET, "jobs", TRACE);
        struct err err = { 0 };

        assert_int_equal(read_rates(bed.load, cases[i].text, &err), -EINVAL);
        if (!strstr(err.text, cases[i].says))
            fail_msg("\"%s\": \"%s\", not \"%s\"", cases[i].text, err.text, cases[i].says);
        bed_fini(&bed);
    }
}

static void test_lengths(void **state)
{
    struct bed bed = bed_init(FLEET, "jobs", TRACE);

    (void)state;
    assert_int_equal(read_rates(bed.load, RATES, NULL), 0);
    assert_int_equal(bed.load->jobs[1].run_ms, 3600000); /* on its best kind */
    bed_set_policy(&bed, "limits: none\nsaves: told\n");
    bed_run(&bed);
    assert_int_equal(bed.result.done, 2);
    assert_int_equal(bed.result.end_ms, 10000 + 8 * 3600000);
    assert_int_equal(bed.result.restarts, 0);
    bed_set_policy(&bed, "limits: none\nsaves: told\nassign: on\n");
    bed_run(&bed);
    assert_int_equal(bed.result.done, 2);
    assert_int_equal(bed.result.restarts, 2); /* they change places, once */
    assert_in_range(bed.result.end_ms, 3600000, 3600000 + 30 * 60000);
    bed_fini(&bed);
}

/* A chip that nothing is told of counts as the best, and is counted. */
static void test_unknown(void **state)
{
    struct bed bed = bed_init(FLEET, "jobs", TRACE);

    (void)state;
    assert_int_equal(read_rates(bed.load, "seconds,chip,work\n2,other,even\n", NULL), 0);
    bed_set_policy(&bed, "limits: none\n");
    bed_run(&bed);
    assert_int_equal(bed.result.speed_unknown, 1);
    assert_int_equal(bed.result.end_ms, 7200000);
    bed_fini(&bed);
}

static void test_measured(void **state)
{
    struct bed bed = bed_init(FLEET, "jobs", TRACE);
    struct sim_setup setup = { .fleet = bed.fleet,
                               .load = bed.load,
                               .faults = &bed.faults,
                               .policy = &bed.policy,
                               .catalogue = bed.catalogue,
                               .measure_from = 1,
                               .measure_to = 1 };

    (void)state;
    assert_int_equal(read_rates(bed.load, RATES, NULL), 0);
    assert_int_equal(sim_run(&setup, &bed.result, NULL), 0);
    assert_int_equal(bed.result.turnaround.count, 1);
    assert_int_equal(bed.result.turnaround.mean_ms, 8 * 3600000);
    assert_int_equal(bed.result.wait_all.count, 1);
    assert_int_equal(bed.result.done, 2);
    bed_fini(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_measured),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
