/* What owners let happen at their sites, as the scheduler obeys it and says so. */
#include "bed.h"

#include "base/arena.h"

#define HOUR_MS 3600000LL
#define MONDAY_MS 345600000LL /* 1970-01-05 00:00 UTC, a Monday */

static struct bed_node one[] = { { "n1", 4, 0, NULL } };

static int tell(struct bed *bed, const char *site, const struct site_policy *policy,
                struct err *err)
{
    struct event event = { .type = EVENT_SITE_POLICY };

    event.site_policy.site = site;
    event.site_policy.policies_count = policy != NULL;
    event.site_policy.policy = policy;
    event.site_policy.limits = (struct site_limits){ -1, -1, -1, -1 };
    event.site_policy.by = "";
    return bed_try(bed, &event, NULL, err);
}

static void must_tell(struct bed *bed, const char *site, const struct site_policy *policy)
{
    struct err err = { 0 };

    if (tell(bed, site, policy, &err) < 0)
        fail_msg("policy: %s", err.text);
    if (grid_check_invariants(bed->grid, &err) < 0)
        fail_msg("after a policy: %s", err.text);
}

static void limit(struct bed *bed, struct site_limits limits)
{
    struct event event = { .type = EVENT_SITE_POLICY };

    event.site_policy.site = "here";
    event.site_policy.kind = POLICY_LIMITS;
    event.site_policy.limits = limits;
    event.site_policy.by = "op";
    bed_step(bed, &event);
}

static struct site_policy *lets_tenant(struct site_policy *policy, const char *tenant)
{
    site_policy_init(policy);
    policy->tenants_told = true;
    policy->tenants_count = 1;
    strcpy(policy->tenants[0], tenant);
    return policy;
}

static struct event job_of(const char *tenant, int64_t duration_ms)
{
    struct event event = bed_job(1);

    event.job_submitted.tenant = tenant;
    event.job_submitted.request.duration_ms_max = duration_ms;
    return event;
}

static void test_refusals(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(tell(&bed, "nowhere", lets_tenant(&policy, "bob"), &err), -ENOENT);
    policy.own_ppm = 1000001;
    assert_int_equal(tell(&bed, "here", &policy, &err), -EINVAL);
    lets_tenant(&policy, "bob")->windows_count = 1; /* from 0 to 0 */
    assert_int_equal(tell(&bed, "here", &policy, &err), -EINVAL);
    assert_int_equal(tell(&bed, "here", NULL, &err), -EALREADY);
    must_tell(&bed, "here", lets_tenant(&policy, "bob"));
    assert_int_equal(tell(&bed, "here", &policy, &err), -EALREADY);
    bed_destroy(&bed);
}

/* Also those who waited before the policy came, and again when it is gone. */
static void test_tenants_and_classes(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    uint64_t alices = bed_submit(&bed, job_of("alice", 0)), bobs;

    (void)state;
    must_tell(&bed, "here", lets_tenant(&policy, "bob"));
    bobs = bed_submit(&bed, job_of("bob", 0));
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, alices), JOB_QUEUED);
    assert_int_equal(bed_state(&bed, bobs), JOB_STARTING);
    bed_why(&bed, alices, "policy", "does not let tenant alice in");
    policy.classes_told = true;
    policy.classes = 1u << CLASS_HIGH;
    strcpy(policy.tenants[0], "alice");
    must_tell(&bed, "here", &policy);
    bed_pass(&bed);
    bed_why(&bed, alices, "policy", "class normal");
    must_tell(&bed, "here", NULL);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, alices), JOB_STARTING);
    bed_destroy(&bed);
}

/* One site that would do bars it, another lets it in but is too small. */
static void test_the_bar_is_named_where_it_fits(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    struct event wide = bed_job(3);
    struct plan_candidate plan[PLAN_CANDIDATES_MAX];
    uint32_t count = 0;
    uint64_t job;
    bool told = false;

    (void)state;
    bed_join(&bed, "small", (struct bed_node[]){ { "s1", 1, 0, NULL } }, 1);
    must_tell(&bed, "here", lets_tenant(&policy, "bob"));
    job = bed_submit(&bed, wide);
    bed_pass(&bed);
    bed_why(&bed, job, "policy", "the owner of here does not let tenant alice in");
    assert_int_equal(
        grid_plan(bed.grid, &wide.job_submitted.request, "alice", bed.now_ms, plan, &count, NULL),
        0);
    for (uint32_t i = 0; i < count; i++)
        told |= strstr(plan[i].reason, "does not let tenant alice in") != NULL;
    assert_true(told);
    bed_destroy(&bed);
}

static void test_images_and_data(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    struct event event = bed_job(1);
    struct request_access *access = &event.job_submitted.request.shape.access;
    uint64_t image, comes, leaves, stays;

    (void)state;
    bed_join(&bed, "ward", one, 1);
    site_policy_init(&policy);
    policy.images_told = policy.come_told = true;
    policy.images_count = policy.come_count = 1;
    strcpy(policy.images[0], "lab/*");
    strcpy(policy.come[0], "public");
    must_tell(&bed, "here", &policy);
    site_policy_init(&policy);
    policy.leave_told = true;
    policy.here_count = 1;
    strcpy(policy.here[0], "patients");
    lets_tenant(&policy, "nobody");
    policy.leave_told = true;
    policy.here_count = 1;
    strcpy(policy.here[0], "patients");
    must_tell(&bed, "ward", &policy);
    strcpy(access->image, "hub/x");
    image = bed_submit(&bed, event);
    strcpy(access->image, "lab/x");
    access->labels_count = 1;
    strcpy(access->labels[0], "other");
    comes = bed_submit(&bed, event);
    strcpy(access->labels[0], "public");
    stays = bed_submit(&bed, event);
    bed_pass(&bed);
    bed_why(&bed, image, "policy", "image hub/x");
    bed_why(&bed, comes, "policy", "data labelled other may not come to here");
    assert_int_equal(bed_state(&bed, stays), JOB_STARTING);
    must_tell(&bed, "here", NULL); /* all may come there, but not what may not leave the ward */
    strcpy(access->labels[0], "patients");
    leaves = bed_submit(&bed, event);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, comes), JOB_STARTING);
    bed_why(&bed, leaves, "policy", "may not leave ward");
    bed_destroy(&bed);
}

/* Open from 08:00 to 18:00 on Mondays. */
static struct site_policy *office(struct site_policy *policy)
{
    site_policy_init(policy);
    policy->windows_count = 1;
    policy->windows[0] = (struct site_window){ 8 * 60, 18 * 60 };
    return policy;
}

static void test_hours(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    struct event saving = job_of("alice", 40 * HOUR_MS);
    uint64_t early, late, unknown, long_one, saves;
    struct why why;

    (void)state;
    bed.now_ms = MONDAY_MS + 7 * HOUR_MS;
    must_tell(&bed, "here", office(&policy));
    early = bed_submit(&bed, job_of("alice", 2 * HOUR_MS));
    unknown = bed_submit(&bed, job_of("alice", 0));
    long_one = bed_submit(&bed, job_of("alice", 11 * HOUR_MS));
    bed_pass(&bed);
    bed_why(&bed, early, "hours", "from 1970-01-05T08:00:00Z on");
    bed_why(&bed, unknown, "policy", "it has no duration");
    bed_why(&bed, long_one, "policy", "longer than here is ever open");
    assert_int_equal(grid_why(bed.grid, early, &why), 0);
    assert_int_equal(why.start_estimate_ms, MONDAY_MS + 8 * HOUR_MS);
    assert_true(grid_next_timer_ms(bed.grid) <= MONDAY_MS + 8 * HOUR_MS);
    bed_step(&bed, &(struct event){ .type = EVENT_TICK });
    assert_int_equal(grid_next_timer_ms(bed.grid), MONDAY_MS + 8 * HOUR_MS);
    bed.now_ms = MONDAY_MS + 8 * HOUR_MS;
    bed_step(&bed, &(struct event){ .type = EVENT_TICK });
    assert_true(grid_wants_pass(bed.grid));
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, early), JOB_STARTING);
    bed_done(&bed, early);
    /* At five, an hour is in time, two are not, until next week; what saves may. */
    bed.now_ms = MONDAY_MS + 17 * HOUR_MS;
    late = bed_submit(&bed, job_of("alice", 2 * HOUR_MS));
    saving.job_submitted.request.checkpoint = CHECKPOINT_OWN;
    saves = bed_submit(&bed, saving);
    early = bed_submit(&bed, job_of("alice", HOUR_MS));
    bed_pass(&bed);
    bed_why(&bed, late, "hours", "from 1970-01-12T08:00:00Z on");
    assert_int_equal(bed_state(&bed, early), JOB_STARTING);
    assert_int_equal(bed_state(&bed, saves), JOB_STARTING);
    bed_started(&bed, saves, 1);
    bed_done(&bed, early);
    assert_int_equal(bed.stops, 0);
    /* A minute before the end, what saves is told to. */
    bed.now_ms = MONDAY_MS + 18 * HOUR_MS - POLICY_SLACK_MS;
    bed_step(&bed, &(struct event){ .type = EVENT_TICK });
    assert_int_equal(bed.stops, 1);
    bed_ended(&bed, saves, 1, OUTCOME_STOPPED, 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, saves), JOB_QUEUED);
    bed.now_ms += 7 * 24 * HOUR_MS - 10 * HOUR_MS + POLICY_SLACK_MS;
    bed_step(&bed, &(struct event){ .type = EVENT_TICK });
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, saves), JOB_STARTING);
    assert_int_equal(bed_state(&bed, late), JOB_STARTING);
    bed_destroy(&bed);
}

/* What was worked out for the opening is not believed when that is over. */
static void test_hours_pass(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    struct event wide = job_of("alice", 2 * HOUR_MS);
    struct why why;
    uint64_t holder, job;

    (void)state;
    bed.now_ms = MONDAY_MS + 15 * HOUR_MS;
    must_tell(&bed, "here", office(&policy));
    wide.job_submitted.request.shape.cpus = 4;
    wide.job_submitted.request.duration_ms_max = 3 * HOUR_MS - 60000;
    holder = bed_submit(&bed, wide);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, holder), JOB_STARTING);
    wide.job_submitted.request.duration_ms_max = 2 * HOUR_MS;
    job = bed_submit(&bed, wide); /* not before the holder's end, and then it is too late */
    bed_pass(&bed);
    assert_int_equal(grid_why(bed.grid, job, &why), 0);
    assert_int_equal(why.start_estimate_ms, MONDAY_MS + (7 * 24 + 8) * HOUR_MS);
    bed.now_ms = MONDAY_MS + 17 * HOUR_MS;
    bed_done(&bed, holder);
    for (int i = 0; i < 3; i++) {
        bed_step(&bed, &(struct event){ .type = EVENT_TICK });
        bed_pass(&bed);
        bed.now_ms += 10 * 60000;
    }
    assert_int_equal(bed_state(&bed, job), JOB_QUEUED);
    assert_int_equal(grid_why(bed.grid, job, &why), 0);
    assert_int_equal(why.start_estimate_ms, MONDAY_MS + (7 * 24 + 8) * HOUR_MS);
    bed.now_ms = MONDAY_MS + (7 * 24 + 8) * HOUR_MS;
    bed_step(&bed, &(struct event){ .type = EVENT_TICK });
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_STARTING);
    bed_destroy(&bed);
}

/* Heard for ten minutes of each hour: what is to run there waits for that, also with its start
 * promised, and is told so; while it is not heard nothing starts. */
static void test_contacts(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    struct event wide = job_of("alice", 0);
    struct why why;
    uint64_t job, behind;

    (void)state;
    bed.now_ms = MONDAY_MS;
    site_policy_init(&policy);
    policy.contacts_count = 1;
    policy.contacts[0] = (struct site_contact){ MONDAY_MS, MONDAY_MS + 600000, HOUR_MS };
    must_tell(&bed, "here", &policy);
    bed.now_ms += 600000;
    bed_lost(&bed, "here", 0);
    bed_step(&bed, &(struct event){ .type = EVENT_TICK });
    wide.job_submitted.request.shape.cpus = 4;
    wide.job_submitted.request.duration_ms_max = HOUR_MS / 2;
    job = bed_submit(&bed, wide);
    wide.job_submitted.request.deadline_ms = MONDAY_MS + HOUR_MS * 3 / 2;
    behind = bed_submit(&bed, wide);
    bed_pass(&bed);
    bed_why(&bed, job, "contact", "can be told to start it at 1970-01-05T01:00:00Z");
    assert_int_equal(grid_why(bed.grid, job, &why), 0);
    /* It runs for half an hour, and is heard again at two. */
    assert_non_null(strstr(why.freight, "its results come at 1970-01-05T02:00:00Z"));
    assert_null(strstr(why.freight, "deadline"));
    assert_int_equal(grid_why(bed.grid, behind, &why), 0);
    assert_non_null(strstr(why.freight, "02:00:00Z, after its deadline (1970-01-05T01:30:00Z)"));
    assert_int_equal(why.start_estimate_ms, MONDAY_MS + HOUR_MS);
    assert_int_equal(grid_next_timer_ms(bed.grid), MONDAY_MS + HOUR_MS);
    bed.now_ms = MONDAY_MS + HOUR_MS; /* the contact begins; it is heard a second later */
    bed_step(&bed, &(struct event){ .type = EVENT_TICK });
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_QUEUED);
    bed.now_ms += 1000;
    bed_seen(&bed, "here", 0, 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_STARTING);
    assert_int_equal(bed_state(&bed, behind), JOB_QUEUED);
    assert_int_equal(grid_why(bed.grid, behind, &why), 0);
    assert_int_equal(why.start_estimate_ms, MONDAY_MS + 2 * HOUR_MS);
    bed_destroy(&bed);
}

/* Who refuses is not asked again, until the policy is another; others may take it. */
static void test_refused_by_the_site(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    uint64_t job = bed_submit(&bed, job_of("alice", HOUR_MS));
    struct job_view view;

    (void)state;
    bed_pass(&bed);
    bed_ended(&bed, job, 1, OUTCOME_REFUSED, 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_QUEUED);
    bed_why(&bed, job, "policy", "has refused it");
    view = bed_view(&bed, job);
    assert_int_equal(view.attempts_failed + view.attempts_lost, 0);
    bed_join(&bed, "there", one, 1);
    bed_pass(&bed);
    view = bed_view(&bed, job);
    assert_string_equal(view.allocation.site, "there");
    bed_ended(&bed, job, 2, OUTCOME_REFUSED, 0);
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, job), JOB_QUEUED);
    must_tell(&bed, "here", lets_tenant(&policy, "alice"));
    bed_pass(&bed);
    view = bed_view(&bed, job);
    assert_string_equal(view.allocation.site, "here");
    bed_destroy(&bed);
}

static void test_floors(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    struct event cheap = job_of("alice", HOUR_MS);
    uint64_t job;

    (void)state;
    site_policy_init(&policy);
    policy.cpu_hour_micro = 100000; /* the tariff says 36000 */
    must_tell(&bed, "here", &policy);
    bed_join(&bed, "there", one, 1);
    cheap.job_submitted.request.objective = OBJECTIVE_CHEAPEST;
    job = bed_submit(&bed, cheap);
    bed_pass(&bed);
    bed.now_ms += HOUR_MS;
    bed_done(&bed, job);
    assert_string_equal(bed.row_site, "there");
    bed_join(&bed, "there", one, 0); /* gone */
    job = bed_submit(&bed, cheap);
    bed_pass(&bed);
    bed.now_ms += HOUR_MS;
    bed_done(&bed, job);
    assert_string_equal(bed.row_site, "here");
    assert_int_equal(bed.row.price_micro, 100000);
    bed_destroy(&bed);
}

static void test_limits(void **state)
{
    struct bed bed =
        bed_create((struct bed_node[]){ { "n1", 4, 2, "fast" }, { "n2", 4, 2, "fast" } }, 2);
    struct event event = bed_job(1);
    uint64_t jobs[3];

    (void)state;
    limit(&bed, (struct site_limits){ 6, 3, -1, -1 });
    event.job_submitted.request.shape.cpus = 3;
    for (int i = 0; i < 3; i++)
        jobs[i] = bed_submit(&bed, event);
    bed_pass(&bed); /* 4 and 2 CPUs: room for one */
    assert_int_equal(bed.runs, 1);
    event.job_submitted.request.shape.cpus = 1;
    event.job_submitted.request.shape.devices_milli = 1000;
    for (int i = 0; i < 4; i++)
        bed_submit(&bed, event);
    bed_pass(&bed);
    assert_int_equal(bed.runs, 3); /* one CPU beside two devices, two beside one */
    limit(&bed, (struct site_limits){ -1, -1, -1, -1 });
    bed_pass(&bed);
    assert_int_equal(bed_state(&bed, jobs[1]), JOB_STARTING);
    assert_int_equal(bed_state(&bed, jobs[2]), JOB_QUEUED);
    bed_destroy(&bed);
}

static void test_cap(void **state)
{
    struct bed bed = bed_create((struct bed_node[]){ { "n1", 4, 2, "fast" } }, 1);
    struct site_policy policy;
    struct event event = bed_job(1);

    (void)state;
    site_policy_init(&policy);
    policy.cap_watts = 1000; /* of 700 W each */
    must_tell(&bed, "here", &policy);
    event.job_submitted.request.shape.devices_milli = 1000;
    bed_submit(&bed, event);
    bed_submit(&bed, event);
    bed_pass(&bed);
    assert_int_equal(bed.runs, 1);
    limit(&bed, (struct site_limits){ -1, -1, -1, 500 });
    must_tell(&bed, "here", NULL);
    bed_pass(&bed);
    assert_int_equal(bed.runs, 1);
    limit(&bed, (struct site_limits){ -1, -1, -1, -1 });
    bed_pass(&bed);
    assert_int_equal(bed.runs, 2);
    bed_destroy(&bed);
}

/* Half of the site is alice's first: what is lent of that comes back at once, and no more of it. */
static void test_own_share(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct site_policy policy;
    uint64_t bobs[4], alices[3];

    (void)state;
    site_policy_init(&policy);
    strcpy(policy.own_tenant, "alice");
    policy.own_ppm = 500000;
    must_tell(&bed, "here", &policy);
    for (int i = 0; i < 4; i++)
        bobs[i] = bed_submit(&bed, job_of("bob", HOUR_MS));
    bed_pass(&bed);
    assert_int_equal(bed.runs, 4);
    for (int i = 0; i < 4; i++)
        bed_started(&bed, bobs[i], 1);
    bed.now_ms += 10;
    for (int i = 0; i < 3; i++)
        alices[i] = bed_submit(&bed, job_of("alice", HOUR_MS));
    for (int i = 0; i < 2; i++) { /* the newest of bob's makes way, each time */
        bed_pass(&bed);
        assert_int_equal(bed.stops, i + 1);
        assert_int_equal(bed_state(&bed, bobs[3 - i]), JOB_STOPPING);
        bed_why(&bed, bobs[3 - i], "preempted", "the owner of its site takes back what is lent");
        bed_ended(&bed, bobs[3 - i], 1, OUTCOME_STOPPED, 0);
        bed_pass(&bed);
        assert_int_equal(bed_state(&bed, alices[i]), JOB_STARTING);
        bed_started(&bed, alices[i], 1);
    }
    bed_pass(&bed);
    bed.now_ms += 40000;
    bed_pass(&bed);
    assert_int_equal(bed.stops, 2);
    assert_int_equal(bed_state(&bed, alices[2]), JOB_QUEUED);
    bed_destroy(&bed);
}

/* It comes back from a snapshot, byte for byte, and from the journal's form. */
static void test_kept(void **state)
{
    struct bed bed = bed_create(one, 1);
    struct buf first = buf_init(1 << 20), second = buf_init(1 << 20), record = buf_init(1 << 20);
    struct arena arena = arena_init(1 << 20);
    struct event event = { .type = EVENT_SITE_POLICY, .time_ms = 5 }, back;
    struct grid *restored = NULL;
    struct site_policy policy;
    struct err err = { 0 };

    (void)state;
    bed.now_ms = MONDAY_MS;
    office(&policy);
    lets_tenant(&policy, "bob");
    policy.windows_count = 1;
    policy.windows[0] = (struct site_window){ 8 * 60, 18 * 60 };
    must_tell(&bed, "here", &policy);
    limit(&bed, (struct site_limits){ 3, -1, -1, 100 });
    bed_submit(&bed, job_of("alice", HOUR_MS));
    bed_submit(&bed, job_of("bob", HOUR_MS));
    bed_pass(&bed);
    assert_int_equal(grid_snapshot(bed.grid, &first), 0);
    if (grid_restore(first.data, first.len, &restored, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(grid_snapshot(restored, &second), 0);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    assert_true(site_policy_is_equal(grid_site_policy(restored, 0), &policy));
    event.site_policy.site = "here";
    event.site_policy.policies_count = 1;
    event.site_policy.policy = &policy;
    event.site_policy.by = "";
    assert_int_equal(event_encode(&event, &record), 0);
    assert_int_equal(event_decode(record.data, record.len, &arena, &back, &err), 0);
    assert_int_equal(back.site_policy.policies_count, 1);
    assert_true(site_policy_is_equal(back.site_policy.policy, &policy));
    arena_fini(&arena);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&record);
    grid_destroy(restored);
    bed_destroy(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_tenants_and_classes),
        cmocka_unit_test(test_the_bar_is_named_where_it_fits),
        cmocka_unit_test(test_images_and_data),
        cmocka_unit_test(test_hours),
        cmocka_unit_test(test_hours_pass),
        cmocka_unit_test(test_contacts),
        cmocka_unit_test(test_refused_by_the_site),
        cmocka_unit_test(test_floors),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_own_share),
        cmocka_unit_test(test_kept),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
