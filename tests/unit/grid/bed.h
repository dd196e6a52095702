/* bed.h - a small network to try things on: one call an event, effects counted. */
#pragma once

#include "grid/grid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct bed {
    struct grid *grid;
    int64_t now_ms;
    uint32_t runs, stops, changes, ends, rows, receipts, suspends_heard, resumes;
    uint64_t run_jobs[128];    /* in the order of their starts */
    struct across_view across; /* of the newest start */
    bool tunnels;              /* sites that join say so */
    bool suspends;             /* the same */
    enum job_state ended_as;
    uint64_t ended_job;
    char ended_reason[REASON_BYTES];
    struct usage row; /* the newest ledger row */
    uint32_t settled;
    struct usage settled_more; /* of the newest that was settled late */
    char row_site[MODEL_NAME_BYTES];
};

static inline void bed_hear(void *context, const struct effect *effect)
{
    struct bed *bed = context;

    switch (effect->type) {
    case EFFECT_RUN:
        assert_true(bed->runs < ARRAY_COUNT(bed->run_jobs));
        bed->run_jobs[bed->runs++] = effect->job_id;
        assert_true(effect->view.allocation.parts_count > 0);
        bed->across = effect->view.across;
        break;
    case EFFECT_STOP:
        bed->stops++;
        break;
    case EFFECT_JOB_CHANGED:
        bed->changes++;
        break;
    case EFFECT_JOB_ENDED:
        bed->ends++;
        bed->ended_as = effect->view.state;
        bed->ended_job = effect->job_id;
        snprintf(bed->ended_reason, sizeof(bed->ended_reason), "%s", effect->view.reason);
        break;
    case EFFECT_USAGE:
        bed->rows++;
        bed->row = effect->usage;
        memcpy(bed->row_site, effect->view.allocation.site, sizeof(bed->row_site));
        break;
    case EFFECT_RECEIPT:
        bed->receipts++;
        break;
    case EFFECT_SUSPEND:
        bed->suspends_heard++;
        break;
    case EFFECT_RESUME:
        bed->resumes++;
        break;
    case EFFECT_SETTLED:
        bed->settled++;
        bed->row = effect->usage;
        bed->settled_more = effect->more;
        break;
    }
}

static inline int bed_try(struct bed *bed, struct event *event, struct step_result *result,
                          struct err *err)
{
    int rc, checked;

    event->time_ms = bed->now_ms;
    checked = grid_check(bed->grid, event, err);
    rc = grid_step(bed->grid, event, bed_hear, bed, result, err);
    assert_int_equal(rc, checked);
    return rc;
}

static inline void bed_step(struct bed *bed, struct event *event)
{
    struct err err = { 0 };

    if (bed_try(bed, event, NULL, &err) < 0)
        fail_msg("%s: %s", event_type_name(event->type), err.text);
    if (grid_check_invariants(bed->grid, &err) < 0)
        fail_msg("after %s: %s", event_type_name(event->type), err.text);
}

struct bed_node {
    const char *name;
    uint32_t cpus, devices;
    const char *chip;
};

static inline void bed_fill_node(struct node_info *info, const char *site,
                                 const struct bed_node *node)
{
    snprintf(info->name, sizeof(info->name), "%s", node->name);
    info->cpus = node->cpus;
    info->memory_bytes = 64LL << 30;
    info->disk_bytes = 100LL << 30;
    info->devices_count = node->devices;
    for (uint32_t d = 0; d < node->devices; d++) {
        snprintf(info->devices[d].chip, MODEL_NAME_BYTES, "%s", node->chip);
        snprintf(info->devices[d].uuid, 90, "%s-%s-%u", site, node->name, d);
        info->devices[d].memory_bytes = 80LL << 30;
    }
}

/* The nodes are given away. */
static inline void bed_join_nodes(struct bed *bed, struct event *event, struct node_info *nodes,
                                  uint32_t count, const struct chip_figures *figures,
                                  uint32_t figures_count)
{
    event->site_joined.site.nodes = nodes;
    event->site_joined.site.nodes_count = count;
    event->site_joined.chips = figures;
    event->site_joined.chips_count = figures_count;
    bed_step(bed, event);
    free(nodes);
}

static inline void bed_join(struct bed *bed, const char *site, const struct bed_node *list,
                            uint32_t count)
{
    static const struct chip_figures figures[] = {
        { .kind = "fast",
          .metric_milli = { [METRIC_BF16_TFLOPS] = 900000 },
          .power_watts = 700,
          .power_idle_watts = 70 },
        { .kind = "slow", .metric_milli = { [METRIC_BF16_TFLOPS] = 100000 }, .power_watts = 100 },
    };
    struct node_info *nodes = calloc(count, sizeof(*nodes));
    struct event event = { .type = EVENT_SITE_JOINED };

    assert_non_null(nodes);
    for (uint32_t i = 0; i < count; i++)
        bed_fill_node(&nodes[i], site, &list[i]);
    snprintf(event.site_joined.site.name, MODEL_NAME_BYTES, "%s", site);
    snprintf(event.site_joined.site.owner, MODEL_NAME_BYTES, "owner-of-%s", site);
    snprintf(event.site_joined.site.region, MODEL_NAME_BYTES, "region-of-%s", site);
    event.site_joined.site.tariff = (struct site_tariff){ .carbon_g_per_kwh_milli = 400000,
                                                          .power_price_micro_per_kwh = 250000,
                                                          .cpu_price_micro_per_hour = 36000,
                                                          .device_price_micro_per_hour = 3600000 };
    event.site_joined.site.tunnels = bed->tunnels;
    event.site_joined.site.suspends = bed->suspends;
    bed_join_nodes(bed, &event, nodes, count, figures, 2);
}

/* "here": nodes n0, n1, ... of 32 CPUs and four fast devices, so many to a rack (r0, r1, ...; 0 =
 * no racks). It has no tariff: nothing costs. */
static inline void bed_join_racks(struct bed *bed, uint32_t count, uint32_t rack_nodes)
{
    static const struct chip_figures figures[] = {
        { .kind = "fast", .metric_milli = { [METRIC_BF16_TFLOPS] = 900000 }, .power_watts = 700 },
    };
    struct node_info *nodes = calloc(count, sizeof(*nodes));
    struct event event = { .type = EVENT_SITE_JOINED };

    assert_non_null(nodes);
    for (uint32_t i = 0; i < count; i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%u", i);
        bed_fill_node(&nodes[i], "here", &(struct bed_node){ name, 32, 4, "fast" });
        if (rack_nodes)
            snprintf(nodes[i].rack, sizeof(nodes[i].rack), "r%u", i / rack_nodes);
    }
    snprintf(event.site_joined.site.name, MODEL_NAME_BYTES, "here");
    bed_join_nodes(bed, &event, nodes, count, figures, 1);
}

static inline struct bed bed_create(const struct bed_node *nodes, uint32_t count)
{
    struct bed bed = { .grid = grid_create(), .now_ms = 1000000 };

    assert_non_null(bed.grid);
    if (count)
        bed_join(&bed, "here", nodes, count);
    return bed;
}

/* A snapshot that an older build left, of tests/recorded/grid. */
static inline struct bed bed_read(const char *path, int64_t now_ms)
{
    struct bed bed = { .now_ms = now_ms };
    FILE *file = fopen(path, "r");
    struct err err = { 0 };
    char data[16384];
    size_t len;

    assert_non_null(file);
    len = fread(data, 1, sizeof(data), file);
    fclose(file);
    if (grid_restore(data, len, &bed.grid, &err) < 0)
        fail_msg("%s", err.text);
    return bed;
}

static inline void bed_destroy(struct bed *bed)
{
    grid_destroy(bed->grid);
}

/* A tenant without limits; change what matters. */
static inline struct event bed_tenant(const char *name)
{
    struct event event = { .type = EVENT_TENANT_SET };

    event.tenant_set = (struct event_tenant_set){ .tenant = name,
                                                  .cpus_max = -1,
                                                  .devices_milli_max = -1,
                                                  .jobs_max = -1,
                                                  .parent = "",
                                                  .weight_milli = 1000,
                                                  .budget_micro = -1 };
    return event;
}

/* A job of one task with one CPU; change what matters. */
static inline struct event bed_job(uint32_t cpus)
{
    struct event event = { .type = EVENT_JOB_SUBMITTED };

    event.job_submitted.request.job_class = CLASS_NORMAL;
    event.job_submitted.request.requeue_on_loss = 1;
    event.job_submitted.request.shape.tasks = 1;
    event.job_submitted.request.shape.cpus = cpus;
    event.job_submitted.tenant = "alice";
    event.job_submitted.user = "al";
    event.job_submitted.name = "job";
    event.job_submitted.idempotency_key = "";
    event.job_submitted.spec_json = "{}";
    event.job_submitted.spec_len = 2;
    return event;
}

static inline uint64_t bed_submit(struct bed *bed, struct event event)
{
    struct step_result result = { 0 };
    struct err err = { 0 };

    if (bed_try(bed, &event, &result, &err) < 0)
        fail_msg("submit: %s", err.text);
    return result.job_id;
}

static inline void bed_pass(struct bed *bed)
{
    struct event event = { .type = EVENT_PASS };

    bed_step(bed, &event);
}

/* Its time comes; then a pass, if one is wanted. */
static inline void bed_tick(struct bed *bed, int64_t to_ms)
{
    struct event event = { .type = EVENT_TICK };

    bed->now_ms = to_ms;
    bed_step(bed, &event);
    if (grid_wants_pass(bed->grid))
        bed_pass(bed);
}

/* It is heard; lease_ms: how long it may go on unheard with what moves, 0 = it keeps no lease. */
static inline void bed_seen(struct bed *bed, const char *site, uint64_t session, int64_t lease_ms)
{
    struct event event = { .type = EVENT_SITE_SEEN };

    event.site_seen.site = site;
    event.site_seen.session = session;
    event.site_seen.lease_ms = lease_ms;
    bed_step(bed, &event);
}

static inline void bed_lost(struct bed *bed, const char *site, uint64_t session)
{
    struct event event = { .type = EVENT_SITE_LOST };

    event.site_lost.site = site;
    event.site_lost.session = session;
    bed_step(bed, &event);
}

/* It must be lost to be forgotten. */
static inline int bed_forget(struct bed *bed, const char *site, bool forgotten)
{
    struct event event = { .type = EVENT_SITE_FORGOTTEN };
    struct err err = { 0 };

    event.site_forgotten.site = site;
    event.site_forgotten.forgotten = forgotten;
    event.site_forgotten.by = "op";
    event.site_forgotten.reason = "";
    return bed_try(bed, &event, NULL, &err);
}

/* "here" must draw so much less, within half a minute. */
static inline void bed_shed(struct bed *bed, uint32_t percent, int64_t lasts_ms)
{
    struct event event = { .type = EVENT_SITE_SHED };

    event.site_shed = (struct event_site_shed){ .site = "here",
                                                .share_ppm = percent * 10000,
                                                .within_ms = 30000,
                                                .lasts_ms = lasts_ms,
                                                .by = "grid operator",
                                                .reason = "" };
    bed_step(bed, &event);
}

static inline void bed_started(struct bed *bed, uint64_t job_id, uint32_t epoch)
{
    struct event event = { .type = EVENT_ATTEMPT_STARTED };

    event.attempt_started.job_id = job_id;
    event.attempt_started.epoch = epoch;
    bed_step(bed, &event);
}

static inline void bed_ended(struct bed *bed, uint64_t job_id, uint32_t epoch, uint32_t outcome,
                             int32_t exit_code)
{
    struct event event = { .type = EVENT_ATTEMPT_ENDED };

    event.attempt_ended.job_id = job_id;
    event.attempt_ended.epoch = epoch;
    event.attempt_ended.outcome = outcome;
    event.attempt_ended.exit_code = exit_code;
    event.attempt_ended.reason = "";
    bed_step(bed, &event);
}

static inline void bed_done(struct bed *bed, uint64_t job_id)
{
    bed_ended(bed, job_id, 1, OUTCOME_EXITED, 0);
}

static inline int bed_cancel(struct bed *bed, uint64_t job_id)
{
    struct event event = { .type = EVENT_JOB_CANCELLED };
    struct err err = { 0 };

    event.job_cancelled.job_id = job_id;
    event.job_cancelled.by = "al";
    event.job_cancelled.reason = "";
    return bed_try(bed, &event, NULL, &err);
}

static inline struct job_view bed_view(struct bed *bed, uint64_t job_id)
{
    struct job_view view;

    assert_true(grid_find_job(bed->grid, job_id, &view));
    return view;
}

/* The tasks that its attempt holds; 0 = it has none. */
static inline uint32_t bed_width(struct bed *bed, uint64_t job_id)
{
    struct job_view view = bed_view(bed, job_id);
    uint32_t tasks = 0;

    for (uint32_t i = 0; i < view.allocation.parts_count; i++)
        tasks += view.allocation.parts[i].tasks;
    return tasks;
}

static inline enum job_state bed_state(struct bed *bed, uint64_t job_id)
{
    struct job_view view;

    if (grid_find_job(bed->grid, job_id, &view))
        return view.state;
    return (enum job_state)grid_find_outcome(bed->grid, job_id);
}

static inline void bed_why(struct bed *bed, uint64_t job_id, const char *code, const char *part)
{
    struct why why;

    assert_int_equal(grid_why(bed->grid, job_id, &why), 0);
    if (strcmp(why.code, code) != 0 || !strstr(why.text, part))
        fail_msg("job %d: %s: \"%s\"; expected %s: \"...%s...\"", (int)job_id, why.code, why.text,
                 code, part);
}

/* How it came to its place, and which of its places that is. */
static inline void bed_choice(struct bed *bed, uint64_t job_id, const char *how, uint32_t rank,
                              const char *part)
{
    struct why_more more;

    assert_int_equal(grid_why_more(bed->grid, job_id, &more), 0);
    if (strcmp(more.choice.how, how) != 0 || more.choice.rank != rank ||
        !strstr(more.choice.text, part))
        fail_msg("job %d: %s, rank %u: \"%s\"", (int)job_id, more.choice.how, more.choice.rank,
                 more.choice.text);
}

/* Two networks that are one, byte for byte. */
static inline void bed_check_same(const struct grid *a, const struct grid *b)
{
    struct buf x = buf_init(1 << 20), y = buf_init(1 << 20);

    assert_int_equal(grid_snapshot(a, &x), 0);
    assert_int_equal(grid_snapshot(b, &y), 0);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    buf_fini(&x);
    buf_fini(&y);
}

/* It ends here and goes on from its snapshot, which is refused wherever it is cut off. */
static inline void bed_restart(struct bed *bed)
{
    struct buf bytes = buf_init((size_t)1 << 20);
    struct grid *grid = NULL, *cut_off = NULL;
    struct err err = { 0 };

    assert_int_equal(grid_snapshot(bed->grid, &bytes), 0);
    if (grid_restore(bytes.data, bytes.len, &grid, &err) < 0)
        fail_msg("%s", err.text);
    bed_check_same(bed->grid, grid);
    grid_destroy(bed->grid);
    bed->grid = grid;
    for (size_t cut = bytes.len > 200 ? bytes.len - 200 : 1; cut < bytes.len; cut++)
        assert_int_equal(grid_restore(bytes.data, cut, &cut_off, &err), -EBADMSG);
    buf_fini(&bytes);
}
