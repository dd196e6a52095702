/* What is moved for jobs, what that costs and takes, sites' own queues, and bounds on prices. */
#include "bed.h"

#include "sched/freight.h"

#define GB INT64_C(1000000000)
#define MINUTE_MS INT64_C(60000)
#define HOUR_MS INT64_C(3600000)
#define MANIFEST "00000000000000aa000000000000000000000000000000000000000000000000"

static struct bed_node one[] = { { "n1", 4, 0, NULL } };

/* Sites "here" and "there", alike. */
static struct bed two_sites(void)
{
    struct bed bed = bed_create(one, 1);

    bed_join(&bed, "there", one, 1);
    return bed;
}

static void tell_link(struct bed *bed, const char *site, int64_t egress, int64_t ingress,
                      int64_t bytes_s)
{
    struct event event = { .type = EVENT_SITE_POLICY };
    struct site_policy policy;

    site_policy_init(&policy);
    policy.egress_gb_micro = egress;
    policy.ingress_gb_micro = ingress;
    policy.link_bytes_s = bytes_s;
    event.site_policy.site = site;
    event.site_policy.policies_count = 1;
    event.site_policy.policy = &policy;
    event.site_policy.limits = (struct site_limits){ -1, -1, -1, -1 };
    event.site_policy.by = "";
    bed_step(bed, &event);
}

static int tell_queue(struct bed *bed, const char *site, uint32_t nodes_max, int64_t wait_ms,
                      struct err *err)
{
    struct freight_wait wait = { .nodes_max = nodes_max, .pending = 1, .wait_ms = wait_ms };
    struct event event = { .type = EVENT_SITE_QUEUE };

    event.site_queue = (struct event_site_queue){ .site = site, .waits_count = 1, .waits = &wait };
    return bed_try(bed, &event, NULL, err);
}

static int tell_rate(struct bed *bed, const char *site, int64_t down, int64_t up, struct err *err)
{
    struct event event = { .type = EVENT_SITE_LINK };

    event.site_link = (struct event_site_link){ site, down, up };
    return bed_try(bed, &event, NULL, err);
}

static struct event job_with(uint64_t name, int64_t bytes)
{
    struct event event = bed_job(1);

    event.job_submitted.request.goods.count = 1;
    event.job_submitted.request.goods.list[0] = (struct request_good){ name, bytes };
    return event;
}

static const char *site_of(struct bed *bed, uint64_t job)
{
    static char name[MODEL_NAME_BYTES];
    struct job_view view;

    view = bed_view(bed, job);
    snprintf(name, sizeof(name), "%s", view.allocation.site);
    return name;
}

static const char *goes_to(struct bed *bed, struct event event)
{
    uint64_t job = bed_submit(bed, event);
    const char *name;
    char kept[MODEL_NAME_BYTES];

    bed_pass(bed);
    snprintf(kept, sizeof(kept), "%s", site_of(bed, job));
    bed_cancel(bed, job);
    if (kept[0])
        bed_ended(bed, job, 1, OUTCOME_STOPPED, 0);
    name = strcmp(kept, "here") == 0 ? "here" : kept[0] ? "there" : "";
    return name;
}

static void refused(struct bed *bed, struct event event, const char *part)
{
    struct err err = { 0 };

    assert_int_equal(bed_try(bed, &event, NULL, &err), -EINVAL);
    if (!strstr(err.text, part))
        fail_msg("\"%s\", expected \"%s\"", err.text, part);
}

static void test_refusals(void **state)
{
    struct bed bed = two_sites();
    struct freight_wait bad = { .nodes_max = 0 };
    struct event event = bed_job(1), queue = { .type = EVENT_SITE_QUEUE };
    struct err err = { 0 };

    (void)state;
    event.job_submitted.request.price_micro_max = 1000000;
    refused(&bed, event, "max_price: say a duration");
    event.job_submitted.request.duration_ms_max = HOUR_MS;
    event.job_submitted.request.price_micro_max = -1;
    refused(&bed, event, "max_price: out of range");
    event.job_submitted.request.price_micro_max = 1;
    event.job_submitted.request.shape.sites_max = 2;
    event.job_submitted.request.shape.tasks = 2;
    refused(&bed, event, "max_price: goes with work at one site");
    refused(&bed, job_with(1, -1), "inputs");
    event = job_with(1, 1);
    event.job_submitted.request.goods.count = REQUEST_GOODS_MAX + 1;
    refused(&bed, event, "inputs");
    assert_int_equal(tell_queue(&bed, "nowhere", 1, 1, &err), -ENOENT);
    assert_int_equal(tell_queue(&bed, "here", 1, -1, &err), -EINVAL);
    queue.site_queue = (struct event_site_queue){ "here", 1, &bad };
    assert_int_equal(bed_try(&bed, &queue, NULL, &err), -EINVAL);
    queue.site_queue.waits_count = FREIGHT_WAITS_MAX + 1;
    assert_int_equal(bed_try(&bed, &queue, NULL, &err), -EINVAL);
    assert_int_equal(tell_rate(&bed, "nowhere", 1, 1, &err), -ENOENT);
    assert_int_equal(tell_rate(&bed, "here", -1, 1, &err), -EINVAL);
    /* What is known is no news. */
    assert_int_equal(tell_queue(&bed, "here", 1, 5000, &err), 0);
    assert_int_equal(tell_queue(&bed, "here", 1, 5000, &err), -EALREADY);
    assert_int_equal(tell_rate(&bed, "here", 1000, 0, &err), 0);
    assert_int_equal(tell_rate(&bed, "here", 1100, 0, &err), -EALREADY);
    assert_int_equal(tell_rate(&bed, "here", 2000, 0, &err), 0);
    bed_destroy(&bed);
}

/* Where nobody tells what data costs or how fast it is, jobs with inputs are placed, and kept, as
 * those without. */
static void test_nothing_told_changes_nothing(void **state)
{
    struct bed with = two_sites(), without = two_sites();
    struct grid_counts a, b;

    (void)state;
    for (int i = 0; i < 6; i++) {
        uint64_t x = bed_submit(&with, job_with((uint64_t)i + 1, 500 * GB));
        uint64_t y = bed_submit(&without, bed_job(1));

        bed_pass(&with);
        bed_pass(&without);
        assert_int_equal(x, y);
        assert_string_equal(site_of(&with, x), site_of(&without, y));
        bed_started(&with, x, 1);
        bed_started(&without, y, 1);
    }
    a = grid_count(with.grid);
    b = grid_count(without.grid);
    assert_memory_equal(&a, &b, sizeof(a));
    bed_destroy(&with);
    bed_destroy(&without);
}

static void test_money(void **state)
{
    struct bed bed = two_sites();
    struct event event = job_with(1, 100 * GB);
    struct plan_candidate plan[PLAN_CANDIDATES_MAX];
    uint32_t count = 0;

    (void)state;
    event.job_submitted.request.objective = OBJECTIVE_CHEAPEST;
    event.job_submitted.request.duration_ms_max = HOUR_MS;
    assert_string_equal(goes_to(&bed, event), "here"); /* alike: the first */
    tell_link(&bed, "here", 0, 90000, 0);              /* 0.09 a GB */
    assert_string_equal(goes_to(&bed, event), "there");
    assert_int_equal(
        grid_plan(bed.grid, &event.job_submitted.request, "alice", bed.now_ms, plan, &count, NULL),
        0);
    assert_int_equal(count, 2);
    assert_string_equal(plan[0].site, "there");
    assert_int_equal(plan[0].move_price_micro, 0);
    assert_int_equal(plan[0].move_bytes, 100 * GB);
    assert_int_equal(plan[1].move_price_micro, 9000000);
    assert_int_equal(plan[1].price_most_micro - plan[0].price_most_micro, 9000000);
    /* Those that are small cost next to nothing, and are alike. */
    event.job_submitted.request.goods.list[0].bytes = 1000;
    assert_string_equal(goes_to(&bed, event), "here");
    bed_destroy(&bed);
}

/* What a site holds need not come: as soon as a job that needed it has started there. */
static void test_held_data_counts_as_there(void **state)
{
    struct bed bed = two_sites();
    struct event event = job_with(7, 100 * GB / 2), away = event;
    struct request_place *place = away.job_submitted.request.shape.places;
    uint64_t job;
    struct why why;

    (void)state;
    tell_link(&bed, "here", 0, 0, 100000000);
    tell_link(&bed, "there", 0, 0, 100000000);
    assert_string_equal(goes_to(&bed, event), "here");
    away.job_submitted.request.shape.places_count = 1;
    *place = (struct request_place){ .kind = PLACE_SITE };
    strcpy(place->name, "there");
    job = bed_submit(&bed, away);
    grid_why(bed.grid, job, &why);
    if (!strstr(why.freight, "GiB of files are moved"))
        fail_msg("%s", why.freight);
    assert_non_null(strstr(why.freight, "8m20s"));
    bed_pass(&bed);
    assert_string_equal(goes_to(&bed, event), "here"); /* it has not come yet */
    bed_started(&bed, job, 1);
    bed_restart(&bed);
    assert_string_equal(goes_to(&bed, event), "there");
    /* Another tree is nowhere. */
    event.job_submitted.request.goods.list[0].name = 8;
    assert_string_equal(goes_to(&bed, event), "here");
    bed_destroy(&bed);
}

static void test_measured_rates_overrule(void **state)
{
    struct bed bed = two_sites();
    struct err err = { 0 };

    (void)state;
    tell_link(&bed, "here", 0, 0, 100000000);
    tell_link(&bed, "there", 0, 0, 90000000);
    assert_string_equal(goes_to(&bed, job_with(1, GB)), "here");
    assert_int_equal(tell_rate(&bed, "here", 10000000, 0, &err), 0);
    assert_string_equal(goes_to(&bed, job_with(1, GB)), "there");
    bed_restart(&bed);
    assert_string_equal(goes_to(&bed, job_with(1, GB)), "there");
    bed_destroy(&bed);
}

/* The own list of chips decides, until waiting takes as long again as the work itself. */
static void test_delays_beside_the_list_of_chips(void **state)
{
    static struct bed_node slow[] = { { "s", 8, 1, "slow" } }, fast[] = { { "f", 8, 1, "fast" } };
    struct bed bed = bed_create(slow, 1);
    struct event event = job_with(1, 100 * GB);
    struct request_shape *shape = &event.job_submitted.request.shape;

    (void)state;
    bed_join(&bed, "there", fast, 1);
    shape->devices_milli = 1000;
    shape->chips_count = 2;
    strcpy(shape->chips[0], "fast");
    strcpy(shape->chips[1], "slow");
    event.job_submitted.request.duration_ms_max = 20 * MINUTE_MS;
    assert_string_equal(goes_to(&bed, event), "there");
    tell_link(&bed, "there", 0, 0, 100000000); /* 16 minutes 40 */
    assert_string_equal(goes_to(&bed, event), "there");
    event.job_submitted.request.duration_ms_max = 5 * MINUTE_MS; /* 45 there */
    assert_string_equal(goes_to(&bed, event), "there");
    tell_link(&bed, "there", 0, 0, 10000000);
    assert_string_equal(goes_to(&bed, event), "here");
    event.job_submitted.request.duration_ms_max = 10 * HOUR_MS;
    assert_string_equal(goes_to(&bed, event), "there");
    bed_destroy(&bed);
}

static void test_outputs_by_history(void **state)
{
    struct bed bed = two_sites();
    struct event event = bed_job(1), ended = { .type = EVENT_ATTEMPT_ENDED };
    uint64_t job;

    (void)state;
    event.job_submitted.request.objective = OBJECTIVE_CHEAPEST;
    tell_link(&bed, "here", 90000, 0, 0);
    job = bed_submit(&bed, event);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, job), "here"); /* nobody knows yet */
    bed_started(&bed, job, 1);
    ended.attempt_ended = (struct event_attempt_ended){
        .job_id = job, .epoch = 1, .reason = "", .output = { 99, 50 * GB }
    };
    bed_step(&bed, &ended);
    assert_string_equal(goes_to(&bed, event), "there");
    bed_restart(&bed);
    assert_string_equal(goes_to(&bed, event), "there");
    event.job_submitted.name = "another";
    assert_string_equal(goes_to(&bed, event), "here");
    bed_destroy(&bed);
}

/* Whatever size is told of what it left, the network goes on from its snapshot. */
static void test_outputs_out_of_range(void **state)
{
    static const int64_t sizes[] = { INT64_MAX, REQUEST_GOOD_BYTES_MAX + 1, -1, INT64_MIN };

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct bed bed = two_sites();
        struct event ended = { .type = EVENT_ATTEMPT_ENDED };
        uint64_t job = bed_submit(&bed, bed_job(1));

        bed_pass(&bed);
        ended.attempt_ended = (struct event_attempt_ended){
            .job_id = job, .epoch = 1, .reason = "", .output = { 99, sizes[i] }
        };
        bed_step(&bed, &ended);
        bed_restart(&bed);
        bed_destroy(&bed);
    }
}

/* A job that goes on from a checkpoint brings it along; where it is there already, it costs
 * nothing. */
static void test_checkpoints_are_moved(void **state)
{
    struct bed bed = two_sites();
    struct event event = bed_job(1), stored = { .type = EVENT_CHECKPOINT_STORED };
    uint64_t job;

    (void)state;
    event.job_submitted.request.checkpoint = CHECKPOINT_OWN;
    tell_link(&bed, "here", 0, 0, 100000000);
    tell_link(&bed, "there", 0, 0, 1000000000);
    job = bed_submit(&bed, event);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, job), "here");
    bed_started(&bed, job, 1);
    stored.checkpoint_stored = (struct event_checkpoint_stored){ .job_id = job,
                                                                 .epoch = 1,
                                                                 .site = "here",
                                                                 .manifest = MANIFEST,
                                                                 .bytes = 20 * GB,
                                                                 .saved_ms = 5 };
    bed_step(&bed, &stored);
    bed_restart(&bed);
    bed_ended(&bed, job, 1, OUTCOME_LOST, 0);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, job), "here"); /* it is there; to `there` it would be 20 s */
    bed_restart(&bed);
    bed_destroy(&bed);
}

static void test_max_price(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct event event = bed_job(1);
    struct plan_candidate plan[PLAN_CANDIDATES_MAX];
    uint32_t count = 0;
    uint64_t job, other;

    (void)state;
    /* An hour and its minute: 36,600. */
    event.job_submitted.request.duration_ms_max = HOUR_MS;
    event.job_submitted.request.price_micro_max = 36599;
    job = bed_submit(&bed, event);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_QUEUED);
    bed_why(&bed, job, "price",
            "may cost 0.0366 by its duration where that is least (here), and "
            "max_price is 0.036599");
    assert_int_equal(
        grid_plan(bed.grid, &event.job_submitted.request, "alice", bed.now_ms, plan, &count, NULL),
        0);
    assert_int_equal(count, 1);
    assert_false(plan[0].fits_ever);
    assert_non_null(strstr(plan[0].reason, "more than max_price"));
    bed_restart(&bed);
    bed_why(&bed, job, "price", "max_price");
    event.job_submitted.request.price_micro_max = 36600;
    other = bed_submit(&bed, event);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, other), JOB_STARTING);
    assert_int_equal(bed_state(&bed, job), JOB_QUEUED);
    /* What a first attempt has cost is not there for the second. */
    bed_started(&bed, other, 1);
    bed.now_ms += 30 * MINUTE_MS;
    bed_ended(&bed, other, 1, OUTCOME_LOST, 0);
    bed_pass(&bed);
    bed_why(&bed, other, "price", "of which 0.018 is spent");
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* What comes and goes counts, and a place where it is there already may do. */
static void test_max_price_with_data(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct event event = job_with(7, 10 * GB);
    uint64_t job;

    (void)state;
    event.job_submitted.request.duration_ms_max = HOUR_MS;
    event.job_submitted.request.price_micro_max = 936600;
    tell_link(&bed, "here", 0, 90000, 0);
    assert_string_equal(goes_to(&bed, event), "here");
    event.job_submitted.request.price_micro_max = 936599;
    job = bed_submit(&bed, event);
    bed_pass(&bed);
    bed_why(&bed, job, "price", "may cost 0.9366");
    bed_join(&bed, "there", one, 1);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, job), "there");
    bed_destroy(&bed);
}

static void test_queue_of_a_site(void **state)
{
    struct bed bed = two_sites();
    struct err err = { 0 };
    struct why why;
    uint64_t job;

    (void)state;
    assert_string_equal(goes_to(&bed, bed_job(1)), "here");
    assert_int_equal(tell_queue(&bed, "here", 1, 10 * MINUTE_MS, &err), 0);
    assert_string_equal(goes_to(&bed, bed_job(1)), "there");
    bed_restart(&bed);
    assert_string_equal(goes_to(&bed, bed_job(1)), "there");
    /* Where there is no room, it waits in that queue rather than in ours. */
    bed_submit(&bed, bed_job(4));
    bed_pass(&bed);
    job = bed_submit(&bed, bed_job(1));
    grid_why(bed.grid, job, &why);
    assert_string_equal(why.freight, "");
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, job), "here");
    /* It has no queue any more. */
    assert_int_equal(tell_queue(&bed, "here", 1, 0, &err), 0);
    bed_destroy(&bed);
}

static void say_waiting(struct bed *bed, uint64_t job)
{
    struct event event = { .type = EVENT_ATTEMPT_PROGRESS };

    event.attempt_progress.job_id = job;
    event.attempt_progress.epoch = 1;
    event.attempt_progress.reason = "waits in the queue: Resources";
    bed_step(bed, &event);
}

/* A job waits in the queue of "here" while all of "there" is taken by another. */
static struct bed stuck(uint64_t *job_out, uint64_t *other_out)
{
    struct bed bed = two_sites();
    struct event wide = bed_job(4);
    struct request_place *place = wide.job_submitted.request.shape.places;
    struct err err = { 0 };

    wide.job_submitted.request.shape.places_count = 1;
    *place = (struct request_place){ .kind = PLACE_SITE };
    strcpy(place->name, "there");
    *other_out = bed_submit(&bed, wide);
    bed_pass(&bed);
    bed_started(&bed, *other_out, 1);
    *job_out = bed_submit(&bed, bed_job(1));
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, *job_out), "here");
    say_waiting(&bed, *job_out);
    assert_int_equal(tell_queue(&bed, "here", 1, MINUTE_MS, &err), 0);
    return bed;
}

static void test_withdrawn(void **state)
{
    uint64_t job, other;
    struct bed bed = stuck(&job, &other);
    struct err err = { 0 };

    (void)state;
    bed.now_ms += 10 * MINUTE_MS;
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_STARTING); /* nowhere else is room */
    bed_done(&bed, other);
    bed_pass(&bed);
    bed.now_ms = grid_next_timer_ms(bed.grid);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_STOPPING);
    bed_why(&bed, job, "moving", "waits in the queue of site here for longer than was told");
    bed_restart(&bed);
    /* Not before the site has said that it is gone. */
    bed.now_ms += MINUTE_MS;
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_STOPPING);
    bed_ended(&bed, job, 1, OUTCOME_STOPPED, 0);
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, job), "there");
    bed_started(&bed, job, 2);
    assert_int_equal(tell_queue(&bed, "there", 1, 10 * MINUTE_MS, &err), 0);
    bed.now_ms += HOUR_MS;
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_RUNNING); /* what has started stays */
    bed_ended(&bed, job, 2, OUTCOME_EXITED, 0);
    bed_destroy(&bed);
}

/* A stop and an end that cross: what has ended has ended. */
static void test_withdrawn_too_late(void **state)
{
    uint64_t job, other;
    struct bed bed = stuck(&job, &other);

    (void)state;
    bed_done(&bed, other);
    bed.now_ms += 10 * MINUTE_MS;
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_STOPPING);
    bed_ended(&bed, job, 1, OUTCOME_EXITED, 0);
    assert_int_equal(bed_state(&bed, job), JOB_DONE);
    bed_destroy(&bed);
}

static void test_not_withdrawn(void **state)
{
    uint64_t job, other;
    struct bed bed = stuck(&job, &other);
    struct err err = { 0 };

    (void)state;
    bed_done(&bed, other);
    bed.now_ms += 10000; /* not for long enough */
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_STARTING);
    /* The queue is short now: nothing would be gained. */
    assert_int_equal(tell_queue(&bed, "here", 1, 15000, &err), 0);
    bed.now_ms += 10 * MINUTE_MS;
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_STARTING);
    assert_int_equal(tell_queue(&bed, "here", 1, 30 * MINUTE_MS, &err), 0);
    assert_int_equal(tell_queue(&bed, "there", 1, 30 * MINUTE_MS, &err), 0);
    bed.now_ms += 10 * MINUTE_MS;
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_STARTING); /* there it is as bad */
    bed_started(&bed, job, 1);
    assert_int_equal(tell_queue(&bed, "there", 1, 0, &err), 0);
    bed.now_ms += 10 * MINUTE_MS;
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_RUNNING);
    bed_destroy(&bed);
}

/* However many wait without hope, each has its turn: one of them has room elsewhere. */
static void test_withdrawn_in_turns(void **state)
{
    static struct bed_node big[] = { { "n1", 64, 0, NULL } };
    struct bed bed = bed_create(big, 1);
    struct event filler = bed_job(1);
    struct err err = { 0 };
    uint64_t last = 0, taken;
    int64_t begin_ms;

    (void)state;
    for (int i = 0; i < 41; i++) {
        struct event event = bed_job(1);

        event.job_submitted.request.shape.memory_bytes = (int64_t)(i < 40 ? 900 : 400) << 20;
        last = bed_submit(&bed, event);
        bed_pass(&bed);
        say_waiting(&bed, last);
        bed.now_ms += 10;
    }
    bed_join(&bed, "there", one, 1);
    assert_int_equal(tell_queue(&bed, "here", 1, HOUR_MS, &err), 0);
    filler.job_submitted.request.shape.memory_bytes = (INT64_C(63) << 30) + (INT64_C(512) << 20);
    taken = bed_submit(&bed, filler); /* only the smallest has room beside it */
    bed_pass(&bed);
    assert_string_equal(site_of(&bed, taken), "there");
    bed_started(&bed, taken, 1);
    bed.now_ms += 3 * HOUR_MS;
    begin_ms = bed.now_ms;
    while (bed_state(&bed, last) == JOB_STARTING && bed.now_ms < begin_ms + 5 * MINUTE_MS) {
        bed_pass(&bed);
        bed.now_ms += 5000;
    }
    assert_int_equal(bed_state(&bed, last), JOB_STOPPING);
    assert_int_equal(bed.stops, 1);
    bed_destroy(&bed);
}

/* What is forgotten has no queue, and nothing that was brought there. */
static void test_forgotten(void **state)
{
    struct bed bed = two_sites();
    struct err err = { 0 };

    (void)state;
    assert_int_equal(tell_queue(&bed, "here", 1, 10 * MINUTE_MS, &err), 0);
    assert_int_equal(tell_rate(&bed, "here", 1000000, 1000000, &err), 0);
    bed_seen(&bed, "here", 1, 10000);
    bed_lost(&bed, "here", 1);
    assert_int_equal(bed_forget(&bed, "here", true), 0);
    assert_int_equal(grid_site_freight(bed.grid, 0).waits_count, 0);
    assert_int_equal(grid_site_freight(bed.grid, 0).down_bytes_s, 0);
    bed_restart(&bed);
    bed_destroy(&bed);
}

/* --- sched/freight ---------------------------------------------------------------------------- */

static void test_held_is_bounded(void **state)
{
    struct freight_site site = { 0 };

    (void)state;
    for (uint64_t i = 1; i <= 2 * FREIGHT_HELD_MAX; i++)
        assert_true(freight_hold(&site, i, 1, (int64_t)i));
    assert_int_equal(site.held_count, FREIGHT_HELD_MAX);
    assert_false(freight_has(&site, FREIGHT_HELD_MAX));
    assert_true(freight_has(&site, FREIGHT_HELD_MAX + 1));
    assert_false(freight_hold(&site, FREIGHT_HELD_MAX + 1, 1, 10000)); /* used again */
    assert_true(freight_hold(&site, 1, FREIGHT_HELD_BYTES_MAX - 1, 10001));
    assert_int_equal(site.held_count, 2);
    assert_true(freight_has(&site, FREIGHT_HELD_MAX + 1));
    assert_false(freight_hold(&site, 2, FREIGHT_HELD_BYTES_MAX + 1, 10002));
    assert_true(freight_has(&site, 1));
    freight_site_fini(&site);
}

static void test_waits_by_width(void **state)
{
    struct freight_site site = { .waits_count = 3,
                                 .waits = { { 0, 1, 0, 10 }, { 0, 8, 0, 20 }, { 1, 4, 0, 40 } } };

    (void)state;
    assert_true(freight_waits_are_sound(site.waits, 3));
    assert_int_equal(freight_wait_ms(&site, false, 1), 10);
    assert_int_equal(freight_wait_ms(&site, false, 2), 20);
    assert_int_equal(freight_wait_ms(&site, false, 100), 20);
    assert_int_equal(freight_wait_ms(&site, true, 1), 40);
    site.waits[1].nodes_max = 1;
    assert_false(freight_waits_are_sound(site.waits, 3));
    site.waits_count = 2;
    assert_int_equal(freight_wait_ms(&site, true, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_nothing_told_changes_nothing),
        cmocka_unit_test(test_money),
        cmocka_unit_test(test_held_data_counts_as_there),
        cmocka_unit_test(test_measured_rates_overrule),
        cmocka_unit_test(test_delays_beside_the_list_of_chips),
        cmocka_unit_test(test_outputs_by_history),
        cmocka_unit_test(test_outputs_out_of_range),
        cmocka_unit_test(test_checkpoints_are_moved),
        cmocka_unit_test(test_max_price),
        cmocka_unit_test(test_max_price_with_data),
        cmocka_unit_test(test_queue_of_a_site),
        cmocka_unit_test(test_withdrawn),
        cmocka_unit_test(test_withdrawn_too_late),
        cmocka_unit_test(test_not_withdrawn),
        cmocka_unit_test(test_withdrawn_in_turns),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_held_is_bounded),
        cmocka_unit_test(test_waits_by_width),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
