#include "sim_site.h"

#include "sim_lease.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUSH(list, count, cap, value)                                                              \
    do {                                                                                           \
        if ((count) == (cap)) {                                                                    \
            (cap) = (cap) ? (cap)*2 : 16;                                                          \
            (list) = realloc((list), (cap) * sizeof(*(list)));                                     \
            if (!(list))                                                                           \
                abort();                                                                           \
        }                                                                                          \
        (list)[(count)++] = (value);                                                               \
    } while (0)

void sim_fail(struct sim_truth *truth, const char *fmt, ...)
{
    va_list args;

    if (truth->failure[0])
        return;
    va_start(args, fmt);
    vsnprintf(truth->failure, sizeof(truth->failure), fmt, args);
    va_end(args);
}

void sim_site_init(struct sim_site *site, uint32_t index, struct rng *rng)
{
    static const char *const regions[] = { "north", "south" };

    *site = (struct sim_site){ .index = index };
    snprintf(site->name, sizeof(site->name), "site%u", index);
    snprintf(site->owner, sizeof(site->owner), "owner%u", index % 2);
    snprintf(site->region, sizeof(site->region), "%s", regions[index % 2]);
    site->nodes_count = 1 + (uint32_t)rng_below(rng, SIM_NODES_MAX);
    site->suspends = rng_below(rng, 4) > 0;
    for (uint32_t i = 0; i < site->nodes_count; i++) {
        struct sim_node *node = &site->nodes[i];

        snprintf(node->name, sizeof(node->name), "n%u", i);
        node->present = true;
        node->cpus = 1 + (uint32_t)rng_below(rng, 8);
        node->devices_count = rng_below(rng, 2) ? (uint32_t)rng_below(rng, SIM_DEVICES_MAX + 1) : 0;
    }
}

void sim_site_fini(struct sim_site *site)
{
    sim_site_drop_session(site);
    free(site->attempts);
    free(site->commands);
    free(site->reports);
}

void sim_site_inventory(const struct sim_site *site, struct site_info *info_out,
                        struct node_info *nodes)
{
    memset(info_out, 0, sizeof(*info_out));
    snprintf(info_out->name, sizeof(info_out->name), "%s", site->name);
    snprintf(info_out->owner, sizeof(info_out->owner), "%s", site->owner);
    snprintf(info_out->region, sizeof(info_out->region), "%s", site->region);
    info_out->tariff = (struct site_tariff){ .carbon_g_per_kwh_milli = 100000 * (site->index + 1),
                                             .power_price_micro_per_kwh = 200000,
                                             .cpu_price_micro_per_hour = 10000 * (site->index + 1),
                                             .device_price_micro_per_hour = 1000000 };
    info_out->tunnels = true;
    info_out->suspends = site->suspends;
    info_out->nodes = nodes;
    for (uint32_t i = 0; i < site->nodes_count; i++) {
        struct node_info *node = &nodes[info_out->nodes_count];

        if (!site->nodes[i].present)
            continue;
        info_out->nodes_count++;
        memset(node, 0, sizeof(*node));
        memcpy(node->name, site->nodes[i].name, sizeof(site->nodes[i].name));
        node->cpus = site->nodes[i].cpus;
        node->memory_bytes = (int64_t)node->cpus << 30;
        node->disk_bytes = 100LL << 30;
        if (site->nodes_count > 2) { /* a small site has no labels */
            snprintf(node->rack, sizeof(node->rack), "rack%u", i / 2);
            snprintf(node->supernode, sizeof(node->supernode), "super%u", i / 3);
        }
        node->cpu_load_watts = 100;
        node->devices_count = site->nodes[i].devices_count;
        for (uint32_t d = 0; d < node->devices_count; d++) {
            struct device_info *device = &node->devices[d];

            snprintf(device->chip, sizeof(device->chip), "%s", i % 2 ? "chip-b" : "chip-a");
            snprintf(device->uuid, sizeof(device->uuid), "%s.%u", site->nodes[i].name,
                     site->nodes[i].devices_first + d);
            device->index = d;
            device->memory_bytes = 16LL << 30;
        }
    }
}

void sim_site_send(struct sim_site *site, const struct sim_command *command)
{
    if (site->is_open)
        PUSH(site->commands, site->commands_count, site->commands_cap, *command);
    else
        free(command->listed);
}

void sim_site_drop_session(struct sim_site *site)
{
    for (uint32_t i = 0; i < site->commands_count; i++)
        free(site->commands[i].listed);
    site->commands_count = 0;
    site->reports_count = 0;
    site->lease.sent_ms = 0;
    site->is_open = false;
}

/* --- attempts --------------------------------------------------------------------------------- */

static struct sim_attempt *find(struct sim_site *site, uint64_t job_id, uint32_t epoch)
{
    for (uint32_t i = 0; i < site->attempts_count; i++)
        if (site->attempts[i].job_id == job_id && site->attempts[i].epoch == epoch)
            return &site->attempts[i];
    return NULL;
}

bool sim_site_holds(struct sim_site *site, uint64_t job_id, uint32_t epoch)
{
    return find(site, job_id, epoch) != NULL;
}

static void report(struct sim_site *site, int type, const struct sim_attempt *attempt)
{
    struct sim_report one = { .attempt = *attempt };

    one.type = type;
    if (site->is_open)
        PUSH(site->reports, site->reports_count, site->reports_cap, one);
}

static void end(struct sim_site *site, struct sim_truth *truth, struct sim_attempt *attempt)
{
    attempt->running = false;
    truth->running[attempt->job_id] &= ~sim_mark(attempt->epoch);
    report(site, SIM_ENDED, attempt);
}

static void choose_end(struct sim_attempt *attempt, int64_t duration_ms_max, struct rng *rng)
{
    static const struct {
        uint8_t weight;
        uint8_t outcome;
    } ends[] = { { 60, OUTCOME_EXITED }, { 20, OUTCOME_EXITED },    { 5, OUTCOME_SIGNALLED },
                 { 4, OUTCOME_MEMORY },  { 2, OUTCOME_DISK },       { 4, OUTCOME_START_FAILED },
                 { 3, OUTCOME_LOST },    { 1, OUTCOME_TIME_LIMIT }, { 1, OUTCOME_REFUSED } };
    uint64_t draw = rng_below(rng, 100);
    size_t i = 0;

    while (draw >= ends[i].weight)
        draw -= ends[i++].weight;
    attempt->outcome = ends[i].outcome;
    attempt->exit_code = i == 1 ? 1 + (int32_t)rng_below(rng, 3) : 0;
    if (attempt->outcome == OUTCOME_SIGNALLED)
        attempt->exit_code = 11;
    attempt->ends_ms =
        attempt->started_ms + (int64_t)rng_below(rng, rng_below(rng, 2) ? 20000 : 400000);
    if (duration_ms_max && attempt->ends_ms > attempt->started_ms + duration_ms_max) {
        attempt->ends_ms = attempt->started_ms + duration_ms_max;
        attempt->outcome = OUTCOME_TIME_LIMIT;
    }
    attempt->energy_mj = (int64_t)rng_below(rng, 1000000);
}

static void take_run(struct sim_site *site, struct sim_truth *truth, struct rng *rng,
                     const struct sim_command *command, int64_t now_ms)
{
    struct sim_attempt attempt = {
        .job_id = command->job_id, .epoch = command->epoch, .running = true, .started_ms = now_ms
    };

    if (site->fence[command->job_id] >= command->epoch)
        return;
    site->fence[command->job_id] = command->epoch;
    attempt.is_leased = command->is_leased;
    if (attempt.is_leased && now_ms >= site->lease.ends_ms) { /* it lay on the way for too long */
        attempt.running = false;
        attempt.started_ms = 0;
        attempt.outcome = OUTCOME_LEASE;
        PUSH(site->attempts, site->attempts_count, site->attempts_cap, attempt);
        report(site, SIM_ENDED, &attempt);
        return;
    }
    choose_end(&attempt, command->duration_ms_max, rng);
    truth->across += (truth->running[command->job_id] & command->together) != 0;
    if (truth->running[command->job_id] & ~(command->together & ~sim_mark(command->epoch)))
        sim_fail(truth, "job %" PRIu64 " runs twice at once (attempt %u at %s)", command->job_id,
                 command->epoch, site->name);
    truth->running[command->job_id] |= sim_mark(command->epoch);
    if (truth->billed[command->job_id] & sim_mark(command->epoch))
        sim_fail(truth, "job %" PRIu64 " attempt %u starts after it was billed", command->job_id,
                 command->epoch);
    truth->attempts_started++;
    PUSH(site->attempts, site->attempts_count, site->attempts_cap, attempt);
    report(site, SIM_STARTED, &attempt);
}

static void take_stop(struct sim_site *site, struct sim_truth *truth, struct rng *rng,
                      const struct sim_command *command)
{
    struct sim_attempt *attempt = find(site, command->job_id, command->epoch);

    if (!attempt) { /* the stop overtook nothing: it never came here, or was acknowledged */
        struct sim_attempt none = { .job_id = command->job_id, .epoch = command->epoch };

        if (site->fence[command->job_id] < command->epoch) {
            site->fence[command->job_id] = command->epoch;
            report(site, SIM_UNKNOWN, &none);
        }
        return;
    }
    if (!attempt->running)
        return;
    if (rng_below(rng, 4)) { /* else it ends by itself in the same moment */
        attempt->outcome = OUTCOME_STOPPED;
        attempt->exit_code = 0;
    }
    end(site, truth, attempt);
}

/* It stands still, or goes on; what is left of it comes so much later. */
static void hold(struct sim_site *site, struct sim_truth *truth, struct rng *rng,
                 struct sim_attempt *attempt, bool is_held, int64_t now_ms)
{
    if (!attempt || !attempt->running)
        return;
    if (is_held && !attempt->held_ms && rng_below(rng, 8) == 0) {
        report(site, SIM_STANDS_NOT, attempt);
        return;
    }
    if (is_held && !attempt->held_ms) {
        attempt->held_ms = now_ms;
        truth->suspended++;
    } else if (!is_held && attempt->held_ms) {
        attempt->ends_ms += now_ms - attempt->held_ms;
        attempt->held_ms = 0;
    }
    if (is_held && rng_below(rng, 8)) /* else the word is lost */
        report(site, SIM_STANDS, attempt);
}

static void take_reconcile(struct sim_site *site, struct sim_truth *truth, struct rng *rng,
                           const struct sim_command *command, int64_t now_ms)
{
    sim_lease_renew(&site->lease, command->hello_ms, now_ms);
    for (uint32_t i = 0; i < command->listed_count; i++) {
        uint64_t job_id = command->listed[3 * i];
        uint32_t epoch = (uint32_t)command->listed[3 * i + 1];
        struct sim_attempt none = { .job_id = job_id, .epoch = epoch };

        hold(site, truth, rng, find(site, job_id, epoch), command->listed[3 * i + 2], now_ms);
        if (find(site, job_id, epoch))
            continue;
        if (site->fence[job_id] < epoch)
            site->fence[job_id] = epoch;
        report(site, SIM_UNKNOWN, &none);
    }
    for (uint32_t k = 0; k < site->attempts_count; k++) {
        struct sim_attempt *attempt = &site->attempts[k];
        bool is_listed = false;

        for (uint32_t i = 0; i < command->listed_count; i++)
            is_listed |= command->listed[3 * i] == attempt->job_id &&
                         command->listed[3 * i + 1] == attempt->epoch;
        if (attempt->running && !is_listed)
            sim_fail(truth, "%s runs job %" PRIu64 " attempt %u, which the grid forgot", site->name,
                     attempt->job_id, attempt->epoch);
        report(site, attempt->running ? SIM_STARTED : SIM_ENDED, attempt);
    }
}

bool sim_site_take_command(struct sim_site *site, struct sim_truth *truth, struct rng *rng,
                           int64_t now_ms)
{
    struct sim_command command;

    if (!site->commands_count)
        return false;
    command = site->commands[0];
    memmove(site->commands, site->commands + 1, --site->commands_count * sizeof(command));
    switch (command.type) {
    case SIM_RUN:
        take_run(site, truth, rng, &command, now_ms);
        break;
    case SIM_STOP:
        take_stop(site, truth, rng, &command);
        break;
    case SIM_SUSPEND:
    case SIM_RESUME:
        hold(site, truth, rng, find(site, command.job_id, command.epoch),
             command.type == SIM_SUSPEND, now_ms);
        break;
    case SIM_RECONCILE:
        take_reconcile(site, truth, rng, &command, now_ms);
        break;
    }
    free(command.listed);
    return true;
}

void sim_site_work(struct sim_site *site, struct sim_truth *truth, struct rng *rng, int64_t now_ms)
{
    for (uint32_t i = 0; i < site->attempts_count; i++) {
        struct sim_attempt *attempt = &site->attempts[i];

        if (!attempt->running || attempt->held_ms)
            continue;
        if (attempt->ends_ms <= now_ms)
            end(site, truth, attempt);
        else if (rng_below(rng, 20) == 0)
            report(site, SIM_PROGRESS, attempt);
    }
}

void sim_site_watch(struct sim_site *site, struct sim_truth *truth, int64_t now_ms)
{
    for (uint32_t i = 0; i < site->attempts_count && now_ms >= site->lease.ends_ms; i++) {
        struct sim_attempt *attempt = &site->attempts[i];

        if (!attempt->running || !attempt->is_leased)
            continue;
        attempt->outcome = OUTCOME_LEASE;
        attempt->exit_code = 0;
        attempt->ends_ms = MIN(attempt->ends_ms, site->lease.ends_ms);
        end(site, truth, attempt);
    }
}

void sim_site_wipe(struct sim_site *site, struct sim_truth *truth)
{
    for (uint32_t i = 0; i < site->attempts_count; i++)
        if (site->attempts[i].running)
            truth->running[site->attempts[i].job_id] &= ~sim_mark(site->attempts[i].epoch);
    site->attempts_count = 0;
    memset(site->fence, 0, sizeof(site->fence));
    site->ghosts_count = 0; /* the controller takes no report of a session that is over */
    sim_site_drop_session(site);
}

bool sim_site_give_report(struct sim_site *site, struct rng *rng, struct sim_report *out)
{
    uint32_t pick;

    if (!site->reports_count)
        return false;
    pick = (uint32_t)rng_below(rng, site->reports_count);
    *out = site->reports[pick];
    site->ghosts[site->ghosts_count++ % SIM_GHOSTS] = *out;
    if (rng_below(rng, 10)) /* else it comes again */
        site->reports[pick] = site->reports[--site->reports_count];
    return true;
}

bool sim_site_repeat_report(struct sim_site *site, struct rng *rng, struct sim_report *out)
{
    if (site->ghosts_count)
        *out = site->ghosts[rng_below(rng, MIN(site->ghosts_count, SIM_GHOSTS))];
    return site->ghosts_count > 0;
}

void sim_site_acknowledge(struct sim_site *site, uint64_t job_id, uint32_t epoch)
{
    struct sim_attempt *attempt = find(site, job_id, epoch);

    if (attempt && !attempt->running)
        *attempt = site->attempts[--site->attempts_count];
}

void sim_report_event(const struct sim_report *report, struct rng *rng, int64_t now_ms,
                      struct event *event)
{
    const struct sim_attempt *attempt = &report->attempt;

    switch (report->type) {
    case SIM_STARTED:
        event->type = EVENT_ATTEMPT_STARTED;
        event->attempt_started.job_id = attempt->job_id;
        event->attempt_started.epoch = attempt->epoch;
        event->attempt_started.started_ms = attempt->started_ms;
        break;
    case SIM_PROGRESS:
        event->type = EVENT_ATTEMPT_PROGRESS;
        event->attempt_progress.job_id = attempt->job_id;
        event->attempt_progress.epoch = attempt->epoch;
        event->attempt_progress.usage.energy_mj = attempt->energy_mj / 2;
        event->attempt_progress.checkpoint_ms = now_ms;
        event->attempt_progress.stall_ms = (int64_t)rng_below(rng, 60000);
        break;
    case SIM_ENDED:
        event->type = EVENT_ATTEMPT_ENDED;
        event->attempt_ended.job_id = attempt->job_id;
        event->attempt_ended.epoch = attempt->epoch;
        event->attempt_ended.outcome = attempt->outcome;
        event->attempt_ended.exit_code = attempt->exit_code;
        event->attempt_ended.started_ms = attempt->started_ms;
        event->attempt_ended.ended_ms = attempt->ends_ms;
        event->attempt_ended.usage.energy_mj = attempt->energy_mj;
        event->attempt_ended.reason = "";
        if (rng_below(rng, 3) == 0)
            event->attempt_ended.output =
                (struct request_good){ .name = 1 + rng_below(rng, 5),
                                       .bytes = (int64_t)rng_below(rng, 1ull << 37) };
        break;
    case SIM_UNKNOWN:
        event->type = EVENT_ATTEMPT_UNKNOWN;
        event->attempt_unknown.job_id = attempt->job_id;
        event->attempt_unknown.epoch = attempt->epoch;
        break;
    case SIM_STANDS:
    case SIM_STANDS_NOT:
        event->type = EVENT_ATTEMPT_SUSPENDED;
        event->attempt_suspended.job_id = attempt->job_id;
        event->attempt_suspended.epoch = attempt->epoch;
        event->attempt_suspended.suspended = report->type == SIM_STANDS;
        event->attempt_suspended.reason = report->type == SIM_STANDS ? "" : "it would not";
        break;
    }
}

void sim_site_change(struct sim_site *site, struct rng *rng)
{
    struct sim_node *node = &site->nodes[rng_below(rng, site->nodes_count)];

    switch (rng_below(rng, 4)) {
    case 0:
        node->present = !node->present;
        break;
    case 1:
        node->cpus = 1 + (uint32_t)rng_below(rng, 8);
        break;
    case 2: /* the first device goes or comes back: the others change places */
        if (node->devices_first) {
            node->devices_first--;
            node->devices_count++;
        } else if (node->devices_count) {
            node->devices_first++;
            node->devices_count--;
        }
        break;
    case 3:
        if (node->devices_count)
            node->devices_count--;
        break;
    }
}
