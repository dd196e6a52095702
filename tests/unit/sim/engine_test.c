/* Runs whose outcome can be told by hand, and that the same inputs give the same bytes. */
#include "sim_bed.h"

#include "grid/grid.h"
#include "journal/journal.h"
#include "sim/load_demo.h"
#include "sim/replay.h"

#include <stdlib.h>

#define ONE_NODE                                                                                   \
    "sites:\n  - name: a\n    tariff: { power_price: 0.5, carbon: 100, device_price: 2 }\n"        \
    "    pools: [ { name: n, nodes: 1, cpus: 4, memory: 1Gi, devices: 2, chip: odd,"               \
    " chip_watts: 500 } ]\n"
#define TWO_SITES                                                                                  \
    "sites:\n"                                                                                     \
    "  - { name: a, pools: [ { name: n, nodes: 1, cpus: 4, memory: 1Gi } ] }\n"                    \
    "  - { name: b, pools: [ { name: n, nodes: 1, cpus: 4, memory: 1Gi } ] }\n"
#define HEAD "submit_s,run_s,limit_s,tasks,cpus,devices,tenant,state\n"

static void jobs_wait_for_each_other(void **state)
{
    struct bed bed = bed_init(ONE_NODE, "jobs",
                              HEAD "0,100,,1,1,2,x,\n10,100,,1,1,2,x,FAILED\n20,50,20,1,1,0,x,\n"
                                   "30,5,,1,1,3,x,\n");

    (void)state;
    bed_run(&bed);
    assert_int_equal(bed.result.submitted, 4);
    assert_int_equal(bed.result.done, 1);
    assert_int_equal(bed.result.failed, 2); /* one by itself, one by its time limit */
    assert_int_equal(bed.result.never_started, 1);
    assert_int_equal(bed.result.whys_count, 1);
    assert_int_equal(bed.result.wait_all.count, 3);
    assert_int_equal(bed.result.wait_all.most_ms, 90000);
    assert_int_equal(bed.result.end_ms, 200000);
    /* 2 devices x 500 W x 200 s = 200 kJ; 100 g/kWh; 2 x 2 a device-hour and 0.5 a kWh */
    assert_int_equal(bed.result.energy_mj, 200000000);
    assert_int_equal(bed.result.carbon_ug, 5555556);
    assert_int_equal(bed.result.price_micro, 222222 + 27778);
    assert_true(bed.result.groups[0].held_ms == (__int128)2000 * 200000);
    assert_true(bed.result.devices.useful == (__int128)2000 * 200000);
    bed_fini(&bed);
}

static void faster_chips_end_sooner(void **state)
{
    struct bed bed = bed_init("sites:\n  - name: a\n    pools: [ { name: n, nodes: 1, cpus: 4, "
                              "memory: 1Gi, devices: 1, chip: odd, chip_tflops: 250 } ]\n",
                              "jobs", "submit_s,run_s,devices\n0,100,1\n");

    (void)state;
    bed.load->jobs[0].reference = sim_load_name(bed.load, "v100-sxm2-16g"); /* 125 TFLOPS */
    bed_run(&bed);
    assert_int_equal(bed.result.end_ms, 50000);
    bed.load->jobs[0].reference = sim_load_name(bed.load, "nobody-knows-it");
    bed_run(&bed);
    assert_int_equal(bed.result.end_ms, 100000);
    assert_int_equal(bed.result.speed_unknown, 1);
    bed_fini(&bed);
}

/* Power is lost at 100 s for 60 s: what was saved by then counts, the rest is run again. */
static void lost_work_is_run_again(void **state)
{
    static const struct {
        const char *faults;
        int64_t end_s, lost_s, overhead_s;
    } cases[] = {
        { "windows: [ { site: a, kind: power, at: 100s, for: 60s } ]", 160 + 300, 100, 0 },
        /* 2 saves in 100 s, each 30 s of work and 5 s of stall, then 30 s that are lost. After
         * 20 s of coming back 240 s of work and 7 saves are left. */
        { "windows: [ { site: a, kind: power, at: 100s, for: 60s } ]\n"
          "checkpoint: { every: 30s, stall: 5s, restart: 20s }",
          160 + 20 + 240 + 35, 30, 10 + 20 + 35 },
        { "windows: [ { site: a, kind: maintenance, at: 100s, for: 60s } ]", 160 + 300, 100, 0 },
        /* Out of earshot it runs on; its end is heard when the link is back. */
        { "windows: [ { site: a, kind: link, at: 100s, for: 60s } ]", 300, 0, 0 },
        { "windows: [ { site: a, kind: contact, at: 0s, for: 10s, every: 600s } ]", 300, 0, 0 },
        { "windows: [ { site: a, kind: contact, at: 50s, for: 10s, every: 600s } ]", 350, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bed bed = bed_init(ONE_NODE, "jobs", "submit_s,run_s,devices\n0,300,1\n");

        bed_set_faults(&bed, cases[i].faults);
        bed_run(&bed);
        print_message("# case %zu\n", i);
        assert_int_equal(bed.result.done, 1);
        assert_int_equal(bed.result.end_ms, cases[i].end_s * 1000);
        assert_true(bed.result.devices.useful == (__int128)1000 * 300000);
        assert_true(bed.result.devices.lost == (__int128)1000 * 1000 * cases[i].lost_s);
        assert_true(bed.result.devices.overhead == (__int128)1000 * 1000 * cases[i].overhead_s);
        bed_fini(&bed);
    }
}

/* A site is out of earshot from 100 s on, for so long; jobs run for 300 s each. */
static void leases_end(void **state)
{
    static const struct {
        const char *policy, *silence;
        int64_t end_ms, lost_s;
    } cases[] = {
        { "on_unreachable: wait", "1000s", 300000, 0 },
        { "on_unreachable: move\nlease: 60s", "59s", 300000, 0 },
        /* Stopped after 60 s of silence, known 1.13 s later, begun anew with the pass after it. */
        { "on_unreachable: move\nlease: 60s", "1000s", 161130 + 300000, 160 },
        /* It had ended by itself, but nobody heard that in time. */
        { "on_unreachable: move\nlease: 250s", "1000s", 353125 + 300000, 300 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct bed bed = bed_init(TWO_SITES, "jobs", "submit_s,run_s,cpus\n0,300,4\n");
        char faults[128];

        snprintf(faults, sizeof(faults), "windows: [ { site: a, kind: link, at: 100s, for: %s } ]",
                 cases[i].silence);
        bed_set_faults(&bed, faults);
        bed_set_policy(&bed, cases[i].policy);
        bed_run(&bed);
        print_message("# case %zu: %lld ms\n", i, (long long)bed.result.end_ms);
        assert_int_equal(bed.result.done, 1);
        assert_in_range(bed.result.end_ms, cases[i].end_ms, cases[i].end_ms + 1000);
        assert_true(bed.result.cpus.useful == (__int128)4 * 300000);
        assert_true(bed.result.cpus.lost == (__int128)4 * 1000 * cases[i].lost_s);
        bed_fini(&bed);
    }
}

static void faults_come_at_their_rate(void **state)
{
    /* 100 nodes for 100 days at 5 a 1,000 node-days: 50 failures, give or take 4 sigma. */
    struct bed bed = bed_init("sites:\n  - name: a\n    pools: [ { name: n, nodes: 100, cpus: 1, "
                              "memory: 1Gi, devices: 1, chip: odd } ]\n",
                              "jobs", "submit_s,run_s,devices\n0,8640000,1\n0,8640000,1\n");

    (void)state;
    bed_set_faults(&bed, "nodes: { failures_per_1000_node_days: 5, repair: 1h }\n"
                         "chips: { failures_per_1000_device_days: 5, repair: 1h }\n"
                         "links: { failures_per_1000_site_days: 500, repair: 1m }\n"
                         "checkpoint: { stall: 5s, restart: 150s }\n");
    bed.until_ms = 100LL * 86400 * 1000;
    bed_run(&bed);
    assert_in_range(bed.result.node_failures, 22, 78);
    assert_in_range(bed.result.chip_failures, 22, 78);
    assert_in_range(bed.result.link_failures, 22, 78);
    assert_int_equal(bed.result.cut_off + bed.result.done, 2);
    bed_fini(&bed);
}

static void users_cancel_and_quotas_hold(void **state)
{
    struct bed bed =
        bed_init(TWO_SITES, "jobs", HEAD "0,100,,1,2,,x,\n0,100,,1,2,,x,\n0,100,,1,2,,y,\n");

    (void)state;
    bed_set_policy(&bed, "quotas: [ { tenant: x, cpus: 2 } ]");
    bed.load->jobs[2].cancel_ms = 40000;
    bed_run(&bed);
    assert_int_equal(bed.result.done, 2);
    assert_int_equal(bed.result.cancelled, 1);
    assert_int_equal(bed.result.end_ms, 200000);
    assert_true(bed.result.cpus.useful == 2 * (100000 + 100000 + 40000));
    bed_fini(&bed);
}

/* x has borrowed both devices for 1,000 s; y comes for the one that is its own. */
static void owners_take_back(void **state)
{
    static const char fleet[] = "sites:\n  - name: a\n    pools: [ { name: n, nodes: 2, cpus: 4, "
                                "memory: 1Gi, devices: 1, chip: odd } ]\n";
    static const char trace[] = "submit_s,run_s,devices,tenant\n0,1000,1,x\n0,1000,1,x\n"
                                "300,100,1,y\n";
    struct bed bed = bed_init(fleet, "jobs", trace);

    (void)state;
    bed_set_policy(&bed, "quotas: [ { tenant: x, guarantee_devices: 1 }, { tenant: y, "
                         "guarantee_devices: 1, weight: 2 } ]");
    bed_run(&bed);
    assert_int_equal(bed.result.done, 3);
    assert_int_equal(bed.result.yields, 1);
    assert_in_range(bed.result.end_ms, 1420000, 1440000); /* what was not saved is done again */
    bed_fini(&bed);

    bed = bed_init(fleet, "jobs", trace);
    bed_set_policy(&bed, "quotas: [ { tenant: y, guarantee_devices: 1 } ]\npreempt: off");
    bed_run(&bed);
    assert_int_equal(bed.result.yields, 0);
    assert_int_equal(bed.result.end_ms, 1100000);
    bed_fini(&bed);
}

static void the_same_inputs_give_the_same_bytes(void **state)
{
    static const char fleet[] =
        "sites:\n"
        "  - { name: a, pools: [ { name: n, nodes: 4, cpus: 32, memory: 64Gi, devices: 8, chip: "
        "v100-sxm2-32g } ] }\n"
        "  - { name: b, pools: [ { name: n, nodes: 2, cpus: 32, memory: 64Gi, devices: 8, chip: "
        "a100-sxm-80g } ] }\n";
    struct bed bed = bed_init(fleet, "jobs", "submit_s,run_s\n0,1\n");
    CLEANUP(buf_fini) struct buf first = buf_init(SIM_REPORT_BYTES_MAX);
    CLEANUP(buf_fini) struct buf second = buf_init(SIM_REPORT_BYTES_MAX);
    struct sim_demo demo = { .jobs = 800, .load_milli = 900, .seed = 7 };
    struct err err = { 0 };

    (void)state;
    for (int i = 0; i < 3; i++) {
        sim_load_destroy(TAKE(bed.load));
        assert_int_equal(sim_load_demo("venus", &demo, bed.fleet, bed.catalogue, &bed.load, &err),
                         0);
        bed_set_faults(&bed, "nodes: { failures_per_1000_node_days: 40, repair: 4h }\n"
                             "checkpoint: { every: 10m }\n");
        bed.seed = i == 2 ? 8 : 7;
        bed_run(&bed);
        assert_int_equal(bed.result.submitted, 800);
        assert_int_equal(bed.result.done + bed.result.failed, 800);
        bed_report(&bed, i == 0 ? &first : &second);
        if (i == 1)
            assert_string_equal(first.data, second.data);
        if (i == 2)
            assert_string_not_equal(first.data, second.data);
        buf_clear(&second);
    }
    bed_fini(&bed);
}

/* --- a journal as a trace -----------------------------------------------------------------------
 */

static void append(struct journal *journal, const struct event *event)
{
    CLEANUP(buf_fini) struct buf out = buf_init(EVENT_BYTES_MAX);
    struct journal_blob blob;

    assert_int_equal(event_encode(event, &out), 0);
    blob = (struct journal_blob){ out.data, (uint32_t)out.len };
    assert_int_equal(journal_append(journal, &blob, 1, NULL), 0);
}

static void append_submit(struct journal *journal, int64_t time_ms)
{
    struct event event = { .type = EVENT_JOB_SUBMITTED, .time_ms = time_ms };

    event.job_submitted.tenant = "t";
    event.job_submitted.user = "u";
    event.job_submitted.request.job_class = CLASS_NORMAL;
    event.job_submitted.request.shape = (struct request_shape){ .tasks = 1, .cpus = 2 };
    append(journal, &event);
}

static void append_plain(struct journal *journal, enum event_type type, int64_t time_ms,
                         uint64_t job_id)
{
    struct event event = { .type = type, .time_ms = time_ms };

    if (type == EVENT_ATTEMPT_STARTED) {
        event.attempt_started.job_id = job_id;
        event.attempt_started.epoch = 1;
    } else if (type == EVENT_ATTEMPT_ENDED) {
        event.attempt_ended.job_id = job_id;
        event.attempt_ended.epoch = 1;
        event.attempt_ended.started_ms = time_ms;
    } else if (type == EVENT_JOB_CANCELLED) {
        event.job_cancelled.job_id = job_id;
        event.job_cancelled.by = "u";
    }
    append(journal, &event);
}

static void append_tenant(struct journal *journal, const char *name, const char *parent,
                          int64_t cpus_max)
{
    struct event event = { .type = EVENT_TENANT_SET, .time_ms = 1000000 };

    event.tenant_set.tenant = name;
    event.tenant_set.parent = parent;
    event.tenant_set.cpus_max = cpus_max;
    event.tenant_set.devices_milli_max = event.tenant_set.jobs_max = -1;
    event.tenant_set.weight_milli = 2000;
    event.tenant_set.budget_micro = -1;
    append(journal, &event);
}

static void a_journal_is_a_trace(void **state)
{
    struct event join = { .type = EVENT_SITE_JOINED, .time_ms = 1000000 };
    struct node_info *node = calloc(1, sizeof(*node));
    struct bed bed = { .arena = arena_init(1u << 20),
                       .faults = sim_faults_init(),
                       .policy = sim_policy_init() };
    struct journal *journal;
    struct err err = { 0 };

    (void)state;
    memcpy(node->name, "n1", 3);
    node->cpus = 2;
    memcpy(join.site_joined.site.name, "s", 2);
    join.site_joined.site.nodes = node;
    join.site_joined.site.nodes_count = 1;
    assert_int_equal(journal_open_mem(&journal, &err), 0);
    append(journal, &join);
    append_tenant(journal, "uni", "", 2);
    append_tenant(journal, "a-lab", "uni", -1); /* before it by name, under it in the tree */
    append_submit(journal, 1000000);
    append_submit(journal, 1005000);
    append_submit(journal, 1006000); /* waits still at the end: nobody knows its length */
    append_plain(journal, EVENT_PASS, 1006000, 0);
    append_plain(journal, EVENT_ATTEMPT_STARTED, 1006000, 1);
    append_plain(journal, EVENT_JOB_CANCELLED, 1010000, 2);
    append_plain(journal, EVENT_ATTEMPT_ENDED, 1036000, 1);
    assert_int_equal(catalogue_load(NULL, &bed.catalogue, &err), 0);
    if (sim_replay_read(journal, bed.catalogue, &bed.arena, &bed.load, &bed.fleet, &bed.policy,
                        &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(bed.policy.name, "as-journaled");
    assert_true(bed.policy.quotas_count >= 2);
    for (uint32_t i = 0, found = 0; i < bed.policy.quotas_count; i++) {
        const struct sim_quota *quota = &bed.policy.quotas[i];

        if (strcmp(quota->tenant, "a-lab") == 0) {
            assert_int_equal(found, 1);
            assert_string_equal(quota->parent, "uni");
        }
        found += strcmp(quota->tenant, "uni") == 0 && quota->cpus_max == 2 &&
                 quota->weight_milli == 2000;
    }
    assert_int_equal(bed.load->jobs_count, 2);
    assert_int_equal(bed.load->lines_skipped, 1);
    assert_int_equal(bed.load->jobs[0].run_ms, 30000);
    assert_int_equal(bed.load->jobs[1].submit_ms, 5000);
    assert_int_equal(bed.load->jobs[1].cancel_ms, 10000);
    assert_int_equal(bed.fleet->cpus_count, 2);
    bed_run(&bed);
    assert_int_equal(bed.result.done, 1);
    assert_int_equal(bed.result.cancelled, 1);
    assert_int_equal(bed.result.end_ms, 30000);
    journal_close(journal);
    free(node);
    bed_fini(&bed);
}

/* Two hours of all, then ten minutes of all: the short one does not wait where work that saves
 * makes way for what needs less, and the long one pays a restart for it. */
static void what_needs_less_goes_first(void **state)
{
    struct bed bed = bed_init("sites: [ { name: s, pools: [ { name: p, nodes: 1, cpus: 8, memory: "
                              "8Gi, devices: 2, chip: odd } ] } ]",
                              "jobs", "submit_s,run_s,gpus\n0,7200,2\n60,600,2\n");

    (void)state;
    bed_run(&bed);
    assert_int_equal(bed.result.end_ms, 7800000);
    assert_int_equal(bed.result.yields, 0);
    bed_set_policy(&bed, "order: predicted"); /* nothing saves */
    bed_run(&bed);
    assert_int_equal(bed.result.yields, 0);
    bed_set_policy(&bed, "order: predicted\nsaves: told");
    bed_run(&bed);
    assert_int_equal(bed.result.done, 2);
    assert_int_equal(bed.result.yields, 1);
    assert_in_range(bed.result.end_ms, 7860000, 7862000); /* a restart, and a pass */
    assert_int_equal(bed.result.devices.lost, 0);
    bed_set_policy(&bed, "order: predicted\nsaves: told\npreempt: off");
    bed_run(&bed);
    assert_int_equal(bed.result.yields, 0);
    bed_fini(&bed);
}

/* The second waits for the first, and is told so; the third can never start, and counts elsewhere.
 */
static void waiting_has_its_reasons(void **state)
{
    struct bed bed = bed_init(ONE_NODE, "jobs",
                              "submit_s,run_s,devices,id\n0,7200,2,17\n60,600,2,23\n"
                              "90,5,3,29\n");
    const struct sim_reason *reason;
    const struct sim_story *story;
    CLEANUP(buf_fini) struct buf out = buf_init(1u << 20);

    (void)state;
    bed.story = 23;
    bed_run(&bed);
    reason = bed.result.reasons;
    assert_int_equal(bed.result.reasons_count, 1);
    assert_string_equal(reason->code, "busy");
    assert_non_null(strstr(reason->text, "2 of 2 odd at a are busy"));
    assert_int_equal(reason->job, 23);
    assert_true(reason->waited_ms > 0 && reason->waited_ms < 7140000);
    assert_true(reason->wait_ms > 6000000 && reason->wait_ms < 8000000); /* it waited 7,140 s */
    assert_string_equal(bed.result.whys[0].code, "devices");
    assert_int_equal(bed.result.stories_count, 1);
    story = bed.result.stories;
    assert_int_equal(story->moments_count, 3);
    assert_string_equal(story->moments[0].code, "busy");
    assert_int_equal(story->moments[0].at_ms, 60000);
    assert_string_equal(story->moments[1].code, "running");
    assert_string_equal(story->moments[1].text, "starts at a on odd");
    assert_int_equal(story->moments[1].at_ms, 7200000);
    assert_string_equal(story->moments[2].code, "done");
    bed_report(&bed, &out);
    assert_non_null(strstr(out.data, "\"stories\""));
    assert_non_null(strstr(out.data, "\"waited_for\""));
    bed_fini(&bed);
}

/* Eight wide it is eight times as fast; it makes room for another, and grows again. */
static void elastic_jobs_use_what_is_idle(void **state)
{
    struct bed bed = bed_init("sites: [ { name: s, pools: [ { name: p, nodes: 8, cpus: 1, memory: "
                              "8Gi, devices: 1, chip: odd } ] } ]",
                              "jobs",
                              "submit_s,run_s,tasks,tasks_most,devices\n0,80000,1,8,1\n"
                              "2000,600,2,,1\n");

    (void)state;
    bed_run(&bed);
    assert_int_equal(bed.result.end_ms, 80000000); /* nothing saves: its least width */
    bed_set_policy(&bed, "saves: told");
    bed_run(&bed);
    assert_int_equal(bed.result.done, 2);
    assert_true(bed.result.yields >= 2);               /* narrower, and wide again */
    assert_true(bed.result.wait_all.most_ms < 900000); /* the other need not wait it out */
    assert_in_range(bed.result.end_ms, 10000000 + 150000, 11500000); /* 10,000 s alone */
    assert_int_equal(bed.result.devices.lost, 0);
    bed_fini(&bed);
}

/* By deadline, whoever came first; but for the one that had its start promised. */
static void deadlines_order(void **state)
{
    struct bed bed =
        bed_init(ONE_NODE, "jobs",
                 "submit_s,run_s,limit_s,deadline_s,devices\n0,600,600,,2\n10,600,600,,2\n"
                 "15,600,600,,2\n20,600,600,2000,2\n30,600,600,30,2\n");

    (void)state;
    assert_int_equal(bed.load->lines_bad, 1); /* a deadline before it came */
    bed_set_policy(&bed, "reservations: 1");
    bed_run(&bed);
    assert_int_equal(bed.result.deadlines, 1);
    assert_int_equal(bed.result.deadlines_missed, 1);
    bed_set_policy(&bed, "reservations: 1\norder: deadline");
    bed_run(&bed);
    assert_int_equal(bed.result.done, 4);
    assert_int_equal(bed.result.deadlines_missed, 0);
    bed_fini(&bed);
}

/* Who was blocked is cancelled: the timer that would have looked at it again is left over, with
 * nobody in line. */
static void timers_with_nobody_in_line_pass(void **state)
{
    struct bed bed = bed_init("sites: [ { name: s, pools: [ { name: p, nodes: 1, cpus: 8, memory: "
                              "8Gi, devices: 2, chip: odd } ] } ]",
                              "jobs", "submit_s,run_s,gpus\n0,7200,2\n60,600,2\n");

    (void)state;
    bed.load->jobs[1].cancel_ms = 400000;
    bed_set_policy(&bed, "order: predicted");
    bed_run(&bed);
    assert_int_equal(bed.result.done, 1);
    assert_int_equal(bed.result.cancelled, 1);
    assert_int_equal(bed.result.end_ms, 7200000);
    bed_fini(&bed);
}

/* A fast chip and two that are a quarter as fast: of a gang on all three each does what it can. */
static void mixed_gangs_share_by_speed(void **state)
{
    static const char fleet[] =
        "sites: [ { name: s, pools: [ { name: f, nodes: 1, cpus: 8, memory: 8Gi, devices: 1, chip: "
        "quick, chip_tflops: 400, chip_watts: 400 }, { name: g, nodes: 2, cpus: 8, memory: 8Gi, "
        "devices: 1, chip: odd, chip_tflops: 100, chip_watts: 100 } ] } ]";
    struct bed bed = bed_init(fleet, "jobs",
                              "submit_s,run_s,tasks,devices,chips,mixed\n"
                              "0,1000,3,1,quick|odd,1\n0,100,1,1,,0\n");

    (void)state;
    bed.load->jobs[0].reference = bed.load->chip_sets[bed.load->jobs[0].chips].names[0];
    bed_run(&bed);
    assert_int_equal(bed.result.done, 2);
    /* 1,000 s on three quick ones: 3 x 400 of (400 + 100 + 100). */
    assert_in_range(bed.result.end_ms, 2000000, 2101000);
    assert_int_equal(bed.result.never_started, 0);
    bed_fini(&bed);

    bed = bed_init(fleet, "jobs", "submit_s,run_s,tasks,devices,chips\n0,1000,3,1,quick|odd\n");
    bed_run(&bed);
    assert_int_equal(bed.result.never_started, 1); /* of one kind there are two */
    bed_fini(&bed);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_wait_for_each_other),
        cmocka_unit_test(faster_chips_end_sooner),
        cmocka_unit_test(lost_work_is_run_again),
        cmocka_unit_test(leases_end),
        cmocka_unit_test(faults_come_at_their_rate),
        cmocka_unit_test(users_cancel_and_quotas_hold),
        cmocka_unit_test(owners_take_back),
        cmocka_unit_test(what_needs_less_goes_first),
        cmocka_unit_test(timers_with_nobody_in_line_pass),
        cmocka_unit_test(elastic_jobs_use_what_is_idle),
        cmocka_unit_test(deadlines_order),
        cmocka_unit_test(waiting_has_its_reasons),
        cmocka_unit_test(mixed_gangs_share_by_speed),
        cmocka_unit_test(the_same_inputs_give_the_same_bytes),
        cmocka_unit_test(a_journal_is_a_trace),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
