/* How an attempt over machines stands: from what its parts report to what the network is told. */
#include "agent/nodes_internal.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOGS_PATIENCE_MS 10000 /* so long its end waits for logs that still come */

struct gang_part *gang_part_of(struct gang *gang, const char *node)
{
    for (uint32_t i = 0; i < gang->parts_count; i++)
        if (strcmp(gang->parts[i].node, node) == 0)
            return &gang->parts[i];
    return NULL;
}

static bool is_well(const struct gang_part *part)
{
    return part->record.end == END_EXITED && part->record.exit_code == 0;
}

static void save(const struct nodes *nodes, const struct gang *gang)
{
    struct err err;

    if (gang_save(nodes, gang, &err) < 0)
        log_error("%s", err.text); /* a restart would decide it anew, by what it finds */
}

static void decide(struct nodes *nodes, struct gang *gang, uint32_t end, int32_t code,
                   const char *reason)
{
    gang->decided = true;
    gang->record.end = end;
    gang->record.exit_code = code;
    snprintf(gang->record.reason, sizeof(gang->record.reason), "%.159s", reason);
    save(nodes, gang);
}

/* A node may say any number; the network would not take it, and wait for another word. */
static bool is_end(uint32_t end)
{
    return end <= END_LOST || end == END_LEASE || end == END_REFUSED;
}

/* The first that did not end well says how all of it ends. */
static void decide_by(struct nodes *nodes, struct gang *gang, const struct gang_part *part)
{
    const struct attempt_record *record = &part->record;
    bool asked = gang->stopping && record->end == END_STOPPED;
    uint32_t end = record->end;
    char reason[ATTEMPT_REASON_BYTES + MODEL_NAME_BYTES + 16];

    /* It is the lease of its node that ended there; the site's own is looked after here. */
    if ((end == END_LEASE && !part->is_here) || !is_end(end))
        end = END_LOST;
    if (end == END_REFUSED) /* others had begun: elsewhere it may be taken, by its retries */
        end = END_START_FAILED;
    if (asked)
        snprintf(reason, sizeof(reason), "%s", record->reason);
    else
        snprintf(reason, sizeof(reason), "node %s%s%s", part->node, record->reason[0] ? ": " : "",
                 record->reason);
    decide(nodes, gang, end, record->exit_code, reason);
}

static void stop_parts(struct nodes *nodes, struct gang *gang)
{
    struct wire_command stop = { .type = WIRE_STOP,
                                 .attempt = { gang->key.job_id, gang->key.epoch },
                                 .grace_ms = gang->stopping ? gang->grace_ms : WIRE_GRACE_JOB };

    snprintf(stop.reason, sizeof(stop.reason), "%s",
             gang->stopping ? gang->why : gang->record.reason);
    for (uint32_t i = 0; i < gang->parts_count; i++) {
        struct gang_part *part = &gang->parts[i];
        struct machine *machine = machine_find(nodes, part->node);
        int rc;

        if (part->state == PART_ENDED || part->stop_told)
            continue;
        if (part->is_here) {
            rc = nodes->local->ops->stop(nodes->local, gang->key, stop.grace_ms, stop.reason, NULL);
            if (rc < 0 && rc != -ENOENT)
                continue; /* a full disk: the tick tries again */
        } else if (machine && machine_is_open(machine)) {
            machine_send(machine, &stop);
        } else {
            continue; /* when its stream opens */
        }
        part->stop_told = true;
    }
}

/* ---- what it used ---- */

/* What nodes claim may be anything. */
static int64_t sum_of(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static void sum_usage(struct gang *gang)
{
    struct usage sum = { .energy_measured = true };
    struct attempt_record *all = &gang->record;

    for (uint32_t i = 0; i < gang->parts_count; i++) {
        const struct usage *usage = &gang->parts[i].record.usage;

        sum.wall_ms = MAX(sum.wall_ms, usage->wall_ms);
        sum.cpu_ms = sum_of(sum.cpu_ms, usage->cpu_ms);
        sum.cpu_held_ms = sum_of(sum.cpu_held_ms, usage->cpu_held_ms);
        sum.device_milli_ms = sum_of(sum.device_milli_ms, usage->device_milli_ms);
        sum.memory_peak_bytes = sum_of(sum.memory_peak_bytes, usage->memory_peak_bytes);
        sum.energy_mj = sum_of(sum.energy_mj, usage->energy_mj);
        sum.energy_measured = sum.energy_measured && usage->energy_measured;
    }
    all->usage = sum;
    /* The first one's checkpoint is the attempt's. */
    all->checkpoint_ms = gang->parts[0].record.checkpoint_ms;
    all->stall_ms = gang->parts[0].record.stall_ms;
}

void gang_progress(struct nodes *nodes, struct gang *gang)
{
    if (gang->state != ATTEMPT_RUNNING)
        return;
    sum_usage(gang);
    nodes->up.told(nodes->up.context, NOTE_PROGRESS, &gang->record);
}

/* ---- its course ---- */

static void tell_started(struct nodes *nodes, struct gang *gang)
{
    for (uint32_t i = 0; i < gang->parts_count; i++)
        gang->record.started_ms = MAX(gang->record.started_ms, gang->parts[i].record.started_ms);
    gang->state = ATTEMPT_RUNNING;
    nodes->up.told(nodes->up.context, NOTE_STARTED, &gang->record);
}

static void end(struct nodes *nodes, struct gang *gang)
{
    int64_t now_ms = clock_mono_ms();

    if (!gang->over_mono_ms)
        gang->over_mono_ms = now_ms;
    if (!gang_logs_are_whole(gang) && now_ms - gang->over_mono_ms < LOGS_PATIENCE_MS)
        return;
    sum_usage(gang);
    for (uint32_t i = 0; i < gang->parts_count; i++)
        gang->record.ended_ms = MAX(gang->record.ended_ms, gang->parts[i].record.ended_ms);
    if (!gang->record.ended_ms)
        gang->record.ended_ms = clock_wall_ms();
    gang->record.ended_ms = MAX(gang->record.ended_ms, gang->record.started_ms);
    if (!gang->decided) {
        gang->record.end = END_EXITED;
        gang->record.exit_code = 0;
        gang->record.reason[0] = '\0';
    }
    if (gang_save_final(nodes, gang) < 0)
        return; /* a full disk: the tick tries again */
    gang->state = ATTEMPT_ENDED;
    gang_logs_close(gang);
    nodes->up.told(nodes->up.context, NOTE_ENDED, &gang->record);
}

void gang_look(struct nodes *nodes, struct gang *gang)
{
    bool all_begun = true, all_ended = true;

    if (gang->state == ATTEMPT_ENDED)
        return;
    for (uint32_t i = 0; i < gang->parts_count; i++) {
        const struct gang_part *part = &gang->parts[i];

        all_begun = all_begun && part->record.started_ms;
        all_ended = all_ended && part->state == PART_ENDED;
        if (part->state == PART_ENDED && !is_well(part) && !gang->decided)
            decide_by(nodes, gang, part);
    }
    if (all_begun && gang->state == ATTEMPT_BEGUN)
        tell_started(nodes, gang);
    if (gang->decided || gang->stopping)
        stop_parts(nodes, gang);
    if (all_ended)
        end(nodes, gang);
}

void gang_part_started(struct nodes *nodes, struct gang *gang, struct gang_part *part,
                       int64_t started_ms)
{
    if (part->state == PART_ENDED)
        return;
    part->record.started_ms = started_ms;
    part->state = PART_RUNNING;
    if (!part->is_here)
        gang_logs_ask(nodes, gang, part);
    gang_look(nodes, gang);
}

void gang_part_ended(struct nodes *nodes, struct gang *gang, struct gang_part *part,
                     const struct attempt_record *record)
{
    if (part->state == PART_ENDED)
        return;
    part->record = *record;
    part->state = PART_ENDED;
    if (part->is_here)
        gang_logs_copy(nodes, gang, part);
    else
        gang_logs_ask(nodes, gang, part);
    gang_look(nodes, gang);
}

void gang_part_lost(struct nodes *nodes, struct gang *gang, struct gang_part *part,
                    const char *reason)
{
    struct attempt_record record = part->record;

    if (part->state == PART_ENDED)
        return;
    record.end = END_LOST;
    record.ended_ms = clock_wall_ms();
    snprintf(record.reason, sizeof(record.reason), "%.159s", reason);
    part->record = record;
    part->state = PART_ENDED;
    for (uint32_t s = 0; s < NODES_LOG_STREAMS; s++)
        part->logs[s].eof = true;
    log_warn("job %" PRIu64 ": node %s: %s", gang->key.job_id, part->node, reason);
    gang_look(nodes, gang);
}

/* ---- by the clock ---- */

/* So long before the site's own lease ends the nodes are told to stop: a node that does not hear it
 * has stopped by itself before. */
static int64_t stop_before_ms(const struct nodes *nodes)
{
    return 2 * nodes->config.lease->state.stop_ms + nodes_lease_span_ms(nodes);
}

bool gang_lease_is_enough(const struct nodes *nodes)
{
    /* A renewal comes after a tenth of it, or some more. */
    return stop_before_ms(nodes) < nodes->config.lease->lease_ms / 5 * 4;
}

/* With what of the site's own lease is left, could a node that is not heard from now on still run
 * it when that ends? */
static bool lease_is_over(const struct nodes *nodes, const struct gang *gang)
{
    const struct lease_state *state = &nodes->config.lease->state;

    return gang->lease && (state->number != gang->lease ||
                           clock_boot_ms() > state->ends_ms - stop_before_ms(nodes));
}

static void look_for_lost(struct nodes *nodes, struct gang *gang)
{
    for (uint32_t i = 0; i < gang->parts_count; i++) {
        struct gang_part *part = &gang->parts[i];
        const struct machine *machine = machine_find(nodes, part->node);

        if (part->is_here || part->state == PART_ENDED)
            continue;
        if (!machine)
            gang_part_lost(nodes, gang, part, "it is no node of this site any more");
        else if (!machine->stream && clock_boot_ms() > machine->granted_until_ms)
            gang_part_lost(nodes, gang, part, "it was not heard for longer than its lease");
    }
}

void gangs_look(struct nodes *nodes)
{
    struct gang *gang, *next;

    HASH_ITER (hh, nodes->gangs, gang, next) {
        if (gang->state == ATTEMPT_ENDED)
            continue;
        for (uint32_t i = 0; i < gang->parts_count; i++)
            if (gang->parts[i].is_here)
                gang_logs_copy(nodes, gang, &gang->parts[i]);
        if (lease_is_over(nodes, gang) && !gang->decided)
            decide(nodes, gang, END_LEASE, 0, "the site's lease was about to end");
        look_for_lost(nodes, gang);
        gang_look(nodes, gang);
    }
}
