/* What sites and operators say now and then, and what they are asked. */
#include "sim_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sim_cordon(struct sim *sim, struct sim_site *site, bool cordoned)
{
    const struct sim_node *node = &site->nodes[rng_below(&sim->rng, site->nodes_count)];
    struct event event = { .type = EVENT_NODE_STATE, .time_ms = sim_event_time(sim) };

    event.node_state.site = site->name;
    event.node_state.node = node->name;
    event.node_state.device =
        rng_below(&sim->rng, 2) ? -1 : (int32_t)rng_below(&sim->rng, SIM_DEVICES_MAX);
    event.node_state.cordoned = cordoned;
    event.node_state.reason = "repair";
    sim_apply(sim, &event);
}

void sim_change_inventory(struct sim *sim, struct sim_site *site)
{
    sim_site_change(site, &sim->rng);
    sim_join(sim, site);
}

/* Everybody who waits can be told why, and what would help. */
void sim_ask_why(struct sim *sim)
{
    struct why_more more = { 0 };
    struct job_view view;
    struct why why;
    uint64_t after = rng_below(&sim->rng, sim->next_id);

    if (!grid_next_job(sim->grid, after, NULL, &view))
        return;
    after = view.id;
    if (grid_why(sim->grid, after, &why) < 0 || !why.text[0] || !why.code[0])
        sim_fail(&sim->truth, "job %" PRIu64 " cannot say why", after);
    else if (sim->verbose)
        printf("# why %" PRIu64 ": %s: %s\n", after, why.code, why.text);
    if (grid_why_more(sim->grid, after, &more) < 0)
        sim_fail(&sim->truth, "job %" PRIu64 " cannot say what would help", after);
    for (uint32_t i = 0; i < more.changes_count; i++)
        if (!more.changes[i].text[0] || (i && more.changes[i].start_ms &&
                                         more.changes[i].start_ms < more.changes[i - 1].start_ms))
            sim_fail(&sim->truth, "job %" PRIu64 " is told nothing, or not the soonest first",
                     after);
    sim_check_state(sim, "why");
}

void sim_ask_plan(struct sim *sim)
{
    struct plan_candidate candidates[PLAN_CANDIDATES_MAX];
    struct event event = { 0 };
    uint32_t count = 0;

    sim_load_submit(&event, &sim->rng, 1, sim->now_ms, 0);
    if (grid_plan(sim->grid, &event.job_submitted.request, "alice", sim->now_ms, candidates, &count,
                  NULL) < 0)
        sim_fail(&sim->truth, "a plan was refused");
    sim_check_state(sim, "plan");
}

void sim_tell_power(struct sim *sim, const struct sim_site *site)
{
    struct tariff_row rows[SIM_TARIFF_ROWS];
    struct event event = { 0 };

    if (rng_below(&sim->rng, 2))
        sim_load_tariff(&event, &sim->rng, site->name, sim->now_ms, rows);
    else
        sim_load_shed(&event, &sim->rng, site->name);
    event.time_ms = sim_event_time(sim);
    sim_apply(sim, &event);
}

/* Where something runs, as the grid has heard. */
void sim_cut(struct sim *sim, struct sim_site *site)
{
    struct event event = { 0 };

    sim_commit(sim);
    while (sim_site_take_command(site, &sim->truth, &sim->rng, sim->now_ms))
        ;
    for (uint32_t i = 0; site->reports_count && i < 40; i++)
        sim_deliver_report(sim, site, false);
    sim_load_shed(&event, &sim->rng, site->name);
    event.time_ms = sim_event_time(sim);
    event.site_shed.share_ppm = 50000 + event.site_shed.share_ppm / 2;
    event.site_shed.lasts_ms *= 5;
    sim_apply(sim, &event);
    sim_commit(sim);
    if (rng_below(&sim->rng, 2))
        sim_site_take_command(site, &sim->truth, &sim->rng, sim->now_ms);
}

void sim_tell_owner(struct sim *sim, const struct sim_site *site)
{
    struct event event = { 0 };
    struct site_policy policy;

    sim_load_site_policy(&event, &sim->rng, site->name, sim->now_ms, &policy);
    event.time_ms = sim_event_time(sim);
    sim_apply(sim, &event);
}

/* What the site says of its link and its queue, and to one that waits in that. */
void sim_tell_freight(struct sim *sim, const struct sim_site *site)
{
    struct event event = { 0 };
    struct freight_wait waits[2];
    struct job_view view;

    sim_load_freight(&event, &sim->rng, site->name, waits);
    event.time_ms = sim_event_time(sim);
    sim_apply(sim, &event);
    for (uint64_t id = 0; grid_next_job(sim->grid, id, NULL, &view); id = view.id)
        if (view.state == JOB_STARTING && strcmp(view.allocation.site, site->name) == 0 &&
            rng_below(&sim->rng, 2)) {
            event = (struct event){ .type = EVENT_ATTEMPT_PROGRESS, .time_ms = sim->now_ms };
            event.attempt_progress.job_id = view.id;
            event.attempt_progress.epoch = view.epoch;
            event.attempt_progress.reason = "waits in the queue";
            sim_apply(sim, &event);
            return;
        }
}

/* It has no queue any more. */
void sim_calm_queue(struct sim *sim, const struct sim_site *site)
{
    struct event event = { .type = EVENT_SITE_QUEUE, .time_ms = sim->now_ms };

    event.site_queue.site = site->name;
    sim_apply(sim, &event);
}

/* No policy, no limits. */
void sim_calm_owner(struct sim *sim, const struct sim_site *site)
{
    struct event event = { .type = EVENT_SITE_POLICY, .time_ms = sim->now_ms };

    event.site_policy.site = site->name;
    event.site_policy.by = "op";
    event.site_policy.limits = (struct site_limits){ -1, -1, -1, -1 };
    sim_apply(sim, &event);
    event.site_policy.kind = POLICY_LIMITS;
    sim_apply(sim, &event);
}

/* No cut and no tariff that changes. */
void sim_calm_power(struct sim *sim, const struct sim_site *site)
{
    struct event event = { .type = EVENT_SITE_TARIFF, .time_ms = sim->now_ms };

    event.site_tariff.site = site->name;
    event.site_tariff.kind = TARIFF_CLEAR;
    event.site_tariff.by = "op";
    sim_apply(sim, &event);
    event = (struct event){ .type = EVENT_SITE_SHED, .time_ms = sim->now_ms };
    event.site_shed.site = site->name;
    event.site_shed.by = "op";
    event.site_shed.reason = "";
    sim_apply(sim, &event);
}
