/* Made-up loads have the marginals of the clusters that they are named after. */
#include "sim_bed.h"

#include "sim/load_demo.h"

#include <stdlib.h>

#define JOBS 60000u

/* From the traces, or what was published of them (load_demo.c names both): share of jobs with one
 * device and with at most eight, and quantiles of the run times of those with one and with five to
 * eight. */
static const struct {
    const char *name;
    double one, eight;
    double p50_one_s, p90_one_s, p50_eight_s, p90_eight_s;
} published[] = {
    { "philly", .8665, .9896, 1199, 15586, 12567, 365261 },
    { "venus", .5184, .8998, 190, 8444, 216, 26143 },
    { "seren", .5404, .9675, 130, 1150, 254, 5700 },
};

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void is_near(const char *name, const char *what, double is, double should, double share)
{
    if (is < should * (1 - share) || is > should * (1 + share))
        fail_msg("%s: %s is %.4f, published %.4f", name, what, is, should);
}

/* Quantile of the run times of jobs with `least` to `most` devices, in seconds. */
static double quantile(const struct sim_load *load, uint32_t least, uint32_t most, double at)
{
    int64_t *runs = calloc(load->jobs_count, sizeof(*runs));
    uint32_t count = 0;
    double value;

    assert_non_null(runs);
    for (uint32_t i = 0; i < load->jobs_count; i++)
        if (load->jobs[i].gpus >= least && load->jobs[i].gpus <= most)
            runs[count++] = load->jobs[i].run_ms;
    assert_true(count > 500);
    qsort(runs, count, sizeof(*runs), compare);
    value = (double)runs[(size_t)((count - 1) * at)] / 1000;
    free(runs);
    return value;
}

static double share_up_to(const struct sim_load *load, uint32_t most)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < load->jobs_count; i++)
        count += load->jobs[i].gpus <= most;
    return (double)count / load->jobs_count;
}

static struct sim_load *make(const char *name, const struct sim_demo *demo, const char *fleet_name,
                             double *could_out)
{
    struct catalogue *catalogue;
    struct sim_fleet *fleet;
    struct sim_load *load = NULL;
    struct err err = { 0 };

    assert_int_equal(catalogue_load(NULL, &catalogue, NULL), 0);
    assert_int_equal(sim_fleet_open(fleet_name, catalogue, &fleet, &err), 0);
    if (sim_load_demo(name, demo, fleet, catalogue, &load, &err) < 0)
        fail_msg("%s", err.text);
    *could_out = (double)fleet->devices_count;
    sim_fleet_destroy(fleet);
    catalogue_destroy(catalogue);
    return load;
}

static void loads_are_as_published(void **state)
{
    double could;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(published); i++) {
        struct sim_demo demo = { .jobs = JOBS, .load_milli = 800, .seed = 5 };
        struct sim_load *load = make(published[i].name, &demo, "demo-100k", &could);
        const char *name = published[i].name;

        assert_int_equal(load->jobs_count, JOBS);
        is_near(name, "jobs with one device", share_up_to(load, 1), published[i].one, .02);
        is_near(name, "jobs with up to eight", share_up_to(load, 8), published[i].eight, .01);
        is_near(name, "p50 of one", quantile(load, 1, 1, .5), published[i].p50_one_s, .06);
        is_near(name, "p90 of one", quantile(load, 1, 1, .9), published[i].p90_one_s, .15);
        is_near(name, "p50 of eight", quantile(load, 5, 8, .5), published[i].p50_eight_s, .2);
        is_near(name, "p90 of eight", quantile(load, 5, 8, .9), published[i].p90_eight_s, .35);
        sim_load_destroy(load);
    }
}

/* The demo's long runs are cut, so that what is offered is what comes: 14 days at 0.8. */
static void the_demo_offers_what_it_says(void **state)
{
    struct sim_demo demo = { .load_milli = 800, .seed = 5 };
    double could, work = 0;
    struct sim_load *load = make("demo", &demo, "demo", &could);

    (void)state;
    for (uint32_t i = 0; i < load->jobs_count; i++) {
        assert_true(load->jobs[i].run_ms <= 2 * 86400000LL);
        assert_true(load->jobs[i].limit_ms > load->jobs[i].run_ms);
        assert_true(load->jobs[i].submit_ms < 14 * 86400000LL);
        work += (double)load->jobs[i].run_ms * load->jobs[i].gpus;
    }
    /* In V100s: the fleet's chips are faster, 2.5 to 10 times. */
    assert_true(work / 14 / 86400000 / could > 0.8 * 2.5);
    assert_true(work / 14 / 86400000 / could < 0.8 * 10);
    sim_load_destroy(load);
}

static void what_cannot_be_is_refused(void **state)
{
    static const struct {
        const char *name;
        struct sim_demo demo;
        const char *message;
    } cases[] = {
        { "pilly", { .load_milli = 800 }, "no load \"pilly\"" },
        { "demo", { .load_milli = 0 }, "offered work must be above 0" },
        { "demo", { .load_milli = 800, .days_milli = 20000000 }, "would be" },
    };
    struct catalogue *catalogue;
    struct sim_fleet *fleet;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(catalogue_load(NULL, &catalogue, NULL), 0);
    assert_int_equal(sim_fleet_open("demo", catalogue, &fleet, &err), 0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sim_load *load = NULL;

        assert_true(sim_load_demo(cases[i].name, &cases[i].demo, fleet, catalogue, &load, &err) <
                    0);
        assert_null(load);
        if (!strstr(err.text, cases[i].message))
            fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].message);
    }
    sim_fleet_destroy(fleet);
    catalogue_destroy(catalogue);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_are_as_published),
        cmocka_unit_test(the_demo_offers_what_it_says),
        cmocka_unit_test(what_cannot_be_is_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
