/* What would start a job sooner: every kind of change, each found by trying it; asking changes
 * nothing. */
#include "bed.h"

#include <inttypes.h>

#define HOUR 3600000LL
#define MINUTE 60000LL

static const struct bed_node two_fast[] = { { "f1", 16, 4, "fast" }, { "f2", 16, 4, "fast" } };
static const struct bed_node two_slow[] = { { "s1", 16, 4, "slow" }, { "s2", 16, 4, "slow" } };

static struct event device_job(uint32_t tasks, uint32_t devices, int64_t duration_ms)
{
    struct event event = bed_job(1);

    event.job_submitted.request.shape.tasks = tasks;
    event.job_submitted.request.shape.devices_milli = devices * 1000;
    event.job_submitted.request.duration_ms_max = duration_ms;
    return event;
}

static struct event on_chip(struct event event, const char *chip)
{
    event.job_submitted.request.shape.chips_count = 1;
    snprintf(event.job_submitted.request.shape.chips[0], MODEL_NAME_BYTES, "%s", chip);
    return event;
}

static const struct why_change *find_change(const struct why_more *more, const char *code)
{
    for (uint32_t i = 0; i < more->changes_count; i++)
        if (strcmp(more->changes[i].code, code) == 0)
            return &more->changes[i];
    return NULL;
}

/* It is offered, with this in its text, and would start it then (0 = not known). */
static struct why_change check_change(struct bed *bed, uint64_t id, const char *code,
                                      const char *part, int64_t start_ms)
{
    const struct why_change *change;
    struct why_more more;

    assert_int_equal(grid_why_more(bed->grid, id, &more), 0);
    change = find_change(&more, code);
    if (!change) {
        for (uint32_t i = 0; i < more.changes_count; i++)
            print_message("  %s: %s\n", more.changes[i].code, more.changes[i].text);
        fail_msg("job %d: no change of %s", (int)id, code);
    }
    if (!strstr(change->text, part) || change->start_ms != start_ms)
        fail_msg("%s: \"%s\" at %" PRId64 "; expected \"%s\" at %" PRId64, code, change->text,
                 change->start_ms, part, start_ms);
    return *change;
}

static void check_no_change(struct bed *bed, uint64_t id, const char *code)
{
    struct why_more more;

    assert_int_equal(grid_why_more(bed->grid, id, &more), 0);
    if (find_change(&more, code))
        fail_msg("%s: \"%s\"", code, find_change(&more, code)->text);
}

/* All of both sites is held: the fast one for an hour, the slow one for two. */
static struct bed full_bed(void)
{
    struct bed bed = bed_create(two_fast, 2);

    bed_join(&bed, "there", two_slow, 2);
    bed_submit(&bed, on_chip(device_job(2, 4, HOUR), "fast"));
    bed_submit(&bed, on_chip(device_job(2, 4, 2 * HOUR), "slow"));
    bed_pass(&bed);
    assert_int_equal(bed.runs, 2);
    return bed;
}

static void test_kinds_and_places(void **state)
{
    struct bed bed = full_bed();
    int64_t in_an_hour = bed.now_ms + HOUR + MINUTE;
    struct event event = on_chip(device_job(1, 4, HOUR), "slow");
    struct why_change change;
    uint64_t id = bed_submit(&bed, event), there, needs;

    (void)state;
    bed_pass(&bed);
    change = check_change(&bed, id, "resources.chips", "any kind of chip", in_an_hour);
    assert_string_equal(change.chip, "fast");
    assert_string_equal(change.site, "here");
    assert_true(change.price_micro > 0);
    /* 0.6 kW more for four devices, an hour at 0.25 */
    assert_int_equal(change.price_more_micro, 4 * 600 * 250);
    check_no_change(&bed, id, "where");

    event = device_job(1, 4, HOUR);
    event.job_submitted.request.shape.places_count = 1;
    event.job_submitted.request.shape.places[0].kind = PLACE_SITE;
    snprintf(event.job_submitted.request.shape.places[0].name, MODEL_NAME_BYTES, "there");
    there = bed_submit(&bed, event);
    bed_pass(&bed);
    check_change(&bed, there, "where", "any site", in_an_hour);
    check_no_change(&bed, there, "resources.chips");

    event = device_job(1, 1, HOUR);
    event.job_submitted.request.shape.needs_count = 1;
    event.job_submitted.request.shape.needs[0].metric = METRIC_BF16_TFLOPS;
    event.job_submitted.request.shape.needs[0].least_milli = 2000000;
    needs = bed_submit(&bed, event);
    bed_pass(&bed);
    check_change(&bed, needs, "resources.needs", "bf16_tflops 900, which", in_an_hour);
    bed_destroy(&bed);
}

/* What fits nowhere, whatever ends: the most that would, now or later. */
static void test_quantities(void **state)
{
    struct bed bed = bed_create(two_fast, 2);
    struct event event;
    uint64_t id;

    (void)state;
    id = bed_submit(&bed, device_job(1, 8, HOUR));
    bed_pass(&bed);
    check_change(&bed, id, "resources.devices", "4 instead of 8", bed.now_ms);
    id = bed_submit(&bed, device_job(5, 2, HOUR));
    bed_pass(&bed);
    check_change(&bed, id, "tasks", "4 instead of 5", bed.now_ms);
    id = bed_submit(&bed, bed_job(40));
    bed_pass(&bed);
    check_change(&bed, id, "resources.cpus", "16 instead of 40", bed.now_ms);
    event = bed_job(1);
    event.job_submitted.request.shape.memory_bytes = 100LL << 30;
    id = bed_submit(&bed, event);
    bed_pass(&bed);
    check_change(&bed, id, "resources.memory", "64 GiB instead of 100 GiB", bed.now_ms);
    bed_submit(&bed, device_job(2, 4, HOUR));
    bed_pass(&bed);
    event = device_job(1, 1, HOUR);
    event.job_submitted.request.shape.device_memory_bytes = 200LL << 30;
    id = bed_submit(&bed, event);
    bed_pass(&bed);
    check_change(&bed, id, "resources.device_memory", "80 GiB instead of 200 GiB",
                 bed.now_ms + HOUR + MINUTE);
    bed_destroy(&bed);
}

/* A gang is promised both nodes; one of them is free until then. */
static void test_duration_and_across(void **state)
{
    struct bed bed = bed_create(two_fast, 2);
    struct why_change change;
    uint64_t wide, late;

    (void)state;
    bed.tunnels = true;
    bed_submit(&bed, device_job(1, 4, HOUR));
    bed_pass(&bed);
    wide = bed_submit(&bed, device_job(2, 4, HOUR));
    bed_pass(&bed);
    assert_int_equal(bed.runs, 1);
    check_change(&bed, wide, "tasks", "1 instead of 2", bed.now_ms);
    check_no_change(&bed, wide, "duration");
    late = bed_submit(&bed, device_job(1, 4, 3 * HOUR));
    bed_pass(&bed);
    assert_int_equal(bed.runs, 1);
    change = check_change(&bed, late, "duration", "at most 1h", bed.now_ms);
    assert_true(change.price_more_micro < 0);
    /* and so it is */
    late = bed_submit(&bed, device_job(1, 4, HOUR));
    bed_pass(&bed);
    assert_int_equal(bed.runs, 2);
    assert_int_equal(bed.run_jobs[1], late);
    bed_destroy(&bed);

    bed = bed_create(NULL, 0);
    bed.tunnels = true;
    bed_join(&bed, "here", two_fast, 2);
    bed_join(&bed, "there", two_fast, 2);
    wide = bed_submit(&bed, device_job(4, 4, HOUR));
    bed_pass(&bed);
    check_change(&bed, wide, "resources.sites", "2: over several sites", bed.now_ms);
    check_change(&bed, wide, "tasks", "2 instead of 4", bed.now_ms);
    bed_destroy(&bed);
}

static void set_limits(struct bed *bed, int64_t devices_milli, int64_t budget_micro)
{
    struct event event = bed_tenant("alice");

    event.tenant_set.devices_milli_max = devices_milli;
    event.tenant_set.budget_micro = budget_micro;
    bed_step(bed, &event);
}

static void test_holds(void **state)
{
    struct bed bed = bed_create(two_fast, 2);
    struct event array = bed_job(1);
    uint64_t id;

    (void)state;
    set_limits(&bed, 3000, -1);
    bed_submit(&bed, device_job(2, 1, HOUR));
    bed_pass(&bed);
    id = bed_submit(&bed, device_job(3, 1, HOUR));
    bed_pass(&bed);
    check_change(&bed, id, "quota", "mains tenant set alice --devices 5", bed.now_ms);
    check_change(&bed, id, "tasks", "1: what is left", bed.now_ms);
    check_change(&bed, id, "wait", "has ended", bed.now_ms + HOUR + MINUTE);
    assert_int_equal(bed_cancel(&bed, id), 0);

    set_limits(&bed, -1, 30000000);
    id = bed_submit(&bed, device_job(2, 4, 10 * HOUR));
    bed_pass(&bed);
    check_change(&bed, id, "budget", "mains tenant set alice --budget", bed.now_ms + HOUR + MINUTE);
    check_change(&bed, id, "duration", "what is left pays for it", bed.now_ms + HOUR + MINUTE);
    assert_int_equal(bed_cancel(&bed, id), 0);
    set_limits(&bed, -1, -1);

    array.job_submitted.elements_count = 4;
    array.job_submitted.parallel_max = 2;
    id = bed_submit(&bed, array);
    bed_pass(&bed);
    check_change(&bed, id + 3, "array.parallel", "3 instead of 2", bed.now_ms);
    bed_destroy(&bed);
}

/* What is promised to its tenant's others is in its way as well as what they hold. */
static void test_holds_of_promises(void **state)
{
    struct bed bed = bed_create(two_fast, 2);
    struct event other = device_job(2, 3, HOUR);
    uint64_t id;

    (void)state;
    other.job_submitted.tenant = "bob";
    bed_submit(&bed, other);
    set_limits(&bed, 4000, -1);
    bed_submit(&bed, device_job(1, 4, HOUR)); /* promised all that alice may have */
    bed_pass(&bed);
    id = bed_submit(&bed, device_job(1, 1, 10 * HOUR));
    bed_pass(&bed);
    bed_why(&bed, id, "quota",
            "tenant alice holds 0 devices and was promised 4, this needs 1 more, its limit is 4");
    check_change(&bed, id, "quota", "mains tenant set alice --devices 5", bed.now_ms);
    check_no_change(&bed, id, "tasks");
    set_limits(&bed, -1, 45000000);
    bed_pass(&bed);
    bed_why(&bed, id, "budget", "left to spend beside what it was promised");
    check_change(&bed, id, "budget", "mains tenant set alice --budget 53.561784", bed.now_ms);
    check_change(&bed, id, "duration", "at most 7h45m", bed.now_ms);
    bed_destroy(&bed);
}

/* Who can never start is in nobody's way. */
static void test_ahead(void **state)
{
    struct bed bed = full_bed();
    struct event low = device_job(1, 4, HOUR);
    struct why why;
    uint64_t id;

    (void)state;
    bed_submit(&bed, device_job(1, 64, HOUR));
    bed_submit(&bed, on_chip(device_job(1, 4, HOUR), "fast"));
    low.job_submitted.request.job_class = CLASS_LOW;
    id = bed_submit(&bed, low);
    bed_pass(&bed);
    assert_int_equal(grid_why(bed.grid, id, &why), 0);
    assert_int_equal(why.ahead, 1);
    check_change(&bed, id, "class", "normal: 0 jobs ahead of it instead of 1", 0);
    bed_destroy(&bed);
}

/* Places stand as in a plan, the soonest first; nobody who runs is told anything; asking, of all
 * and often, leaves every byte as it was, and so do the passes that follow. */
static void test_asking_changes_nothing(void **state)
{
    struct bed bed = full_bed(), twin = full_bed();
    struct event event = device_job(2, 4, HOUR);
    struct why_more more;
    uint64_t last = 0;

    (void)state;
    for (uint32_t i = 0; i < 12; i++) {
        event = device_job(1 + i % 3, 1 + i % 4, (1 + i % 5) * HOUR);
        event.job_submitted.request.job_class = i % CLASS_COUNT;
        event.job_submitted.request.shape.mixed = i % 3 == 2;
        last = bed_submit(&bed, event);
        bed_submit(&twin, event);
        bed_pass(&bed);
        bed_pass(&twin);
        for (uint64_t id = 1; id <= last; id++)
            assert_int_equal(grid_why_more(bed.grid, id, &more), 0);
    }
    assert_int_equal(grid_why_more(bed.grid, last + 1, &more), -ENOENT);
    bed_check_same(bed.grid, twin.grid);
    assert_int_equal(grid_why_more(bed.grid, 1, &more), 0);
    assert_int_equal(more.places_count + more.changes_count, 0);
    assert_int_equal(grid_why_more(bed.grid, last, &more), 0);
    assert_true(more.places_count >= 2);
    assert_true(more.places[0].start_estimate_ms <= more.places[1].start_estimate_ms);
    for (uint32_t i = 0; i < 200; i++) {
        bed.now_ms += 3 * MINUTE;
        twin.now_ms = bed.now_ms;
        if (i == 20 || i == 60) {
            bed_done(&bed, i / 20 - i / 30);
            bed_done(&twin, i / 20 - i / 30);
        }
        for (uint64_t id = 1; id <= last; id++)
            if (grid_why_more(bed.grid, id, &more) == 0 && i % 7 == 0)
                assert_true(more.changes_count <= WHY_CHANGES_MAX);
        bed_pass(&bed);
        bed_pass(&twin);
    }
    bed_check_same(bed.grid, twin.grid);
    bed_destroy(&bed);
    bed_destroy(&twin);
}

/* Who runs is told how it came there, after a restart too. */
static void test_choice(void **state)
{
    struct bed bed = bed_create(two_fast, 2);
    uint64_t best, second, wide, around;

    (void)state;
    bed_join(&bed, "there", two_slow, 1);
    best = bed_submit(&bed, device_job(2, 4, HOUR));
    bed_pass(&bed);
    second = bed_submit(&bed, device_job(1, 2, HOUR));
    bed_pass(&bed);
    wide = bed_submit(&bed, device_job(2, 4, HOUR));
    bed_pass(&bed);
    around = bed_submit(&bed, device_job(1, 2, HOUR));
    bed_pass(&bed);
    bed_restart(&bed);
    assert_int_equal(bed.runs, 3);
    bed_choice(&bed, best, "turn", 1, "turn came; the best of 1 place");
    bed_choice(&bed, second, "turn", 2, "place 2 of 2, as the best (fast at here) had no room");
    bed_choice(&bed, around, "around", 2, "went around others");
    bed_choice(&bed, wide, "", 0, "");
    bed.now_ms += HOUR / 2;
    bed_done(&bed, best);
    bed_pass(&bed);
    bed_choice(&bed, wide, "promised", 1, "is there by then");
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_and_places),
        cmocka_unit_test(test_quantities),
        cmocka_unit_test(test_duration_and_across),
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_holds_of_promises),
        cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_asking_changes_nothing),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
