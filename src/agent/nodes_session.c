/* The site's end of its nodes' sessions: what wire.h says of a controller, for machines of one
 * site.
 *
 * Nothing of it is in a journal: what a node holds it tells again in each session, and what it runs
 * goes on only as long as it is heard. The lease of a node begins anew with each post of it that is
 * answered 200. The site's own lease bounds it: a node that runs something which must be gone when
 * that ends is answered no more when its own lease would outlast it. */
#include "agent/nodes_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#define RECONCILE_BYTES_MAX ((size_t)256 << 20)
#define REPORTS_ARENA_MAX ((size_t)256 << 20)
#define KNOWN_BYTES_MAX (1u << 20)
#define LEASE_PART 3   /* of the site's own */
#define EVERY_PART 10  /* of its lease: how often a node speaks */
#define STOP_PART 5    /* of its lease: how long it takes to stop */
#define SILENCE_PART 4 /* of its lease: then its stream is ended */
#define SILENCE_MS_MIN 2000
#define DRIFT_PART 100 /* of any time: clocks go differently, far less than that */
#define DRIFT_MS 500

static int64_t span_of(int64_t lease_ms)
{
    return lease_ms + lease_ms / DRIFT_PART + DRIFT_MS;
}

/* What is given from now on; before the network has said what the site's own is, as before. */
static int64_t lease_now_ms(const struct nodes *nodes)
{
    int64_t own_ms = nodes->config.lease ? nodes->config.lease->lease_ms : 0;

    if (own_ms)
        return MAX(MIN(own_ms / LEASE_PART, NODES_LEASE_MS), NODES_LEASE_MS_MIN);
    return nodes->lease_known_ms ? nodes->lease_known_ms : NODES_LEASE_MS;
}

int64_t nodes_lease_span_ms(const struct nodes *nodes)
{
    int64_t most_ms = lease_now_ms(nodes);

    for (const struct machine *machine = nodes->machines; machine; machine = machine->next)
        most_ms = MAX(most_ms, machine->lease_ms);
    return span_of(most_ms);
}

struct machine *machine_find(const struct nodes *nodes, const char *name)
{
    struct machine *machine;

    LL_FOREACH (nodes->machines, machine)
        if (strcmp(machine->name, name) == 0)
            return machine;
    return NULL;
}

bool machine_is_open(const struct machine *machine)
{
    return machine->stream != NULL;
}

/* ---- what is known of each ---- */

struct machine *machine_add(struct nodes *nodes, const char *name)
{
    struct machine *machine =
        nodes->machines_count < NODES_MAX ? calloc(1, sizeof(*machine)) : NULL;

    if (!machine)
        return NULL;
    snprintf(machine->name, sizeof(machine->name), "%s", name);
    LL_APPEND(nodes->machines, machine);
    nodes->machines_count++;
    return machine;
}

void machines_free(struct nodes *nodes)
{
    struct machine *machine, *next;

    LL_FOREACH_SAFE(nodes->machines, machine, next)
    {
        free(machine->info);
        free(machine);
    }
    nodes->machines = NULL;
}

static char *known_path(const struct nodes *nodes, const char *name)
{
    return path_format("%s/known/%s", nodes->dir, name);
}

static void save_known(const struct nodes *nodes, const struct machine *machine)
{
    CLEANUP(freep) char *path = known_path(nodes, machine->name);
    CLEANUP(freep) char *text = NULL;
    struct site_info info = { .nodes_count = 1, .nodes = machine->info };
    struct err err = { .text = "out of memory" };
    json_t *root;

    if (!machine->info)
        return;
    memcpy(info.name, machine->name, sizeof(info.name));
    root = json_pack("{s:s, s:I, s:o}", "address", machine->address, "lease_ms",
                     (json_int_t)machine->lease_ms, "site", site_info_to_json(&info));
    text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!path || !text || file_write(path, text, strlen(text), 0600, false, &err) < 0)
        log_warn("node %s: what it has is not kept: %s", machine->name, err.text);
}

static void load_known(struct nodes *nodes, struct machine *machine)
{
    CLEANUP(freep) char *path = known_path(nodes, machine->name);
    CLEANUP(buf_fini) struct buf text = buf_init(KNOWN_BYTES_MAX);
    struct site_info info;
    const char *address;
    int64_t lease_ms;
    json_t *root;

    if (!path || file_read(path, &text, NULL) < 0)
        return; /* it never said HELLO */
    machine->lease_ms = NODES_LEASE_MS;
    root = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
    address = json_string_value(json_object_get(root, "address"));
    if (site_info_parse_json(json_object_get(root, "site"), &info, NULL) == 0) {
        if (info.nodes_count == 1)
            machine->info = TAKE(info.nodes);
        site_info_fini(&info);
        snprintf(machine->address, sizeof(machine->address), "%s", address ? address : "");
        lease_ms = json_integer_value(json_object_get(root, "lease_ms"));
        if (lease_ms > 0 && lease_ms <= NODES_LEASE_MS)
            machine->lease_ms = nodes->lease_known_ms = lease_ms;
    }
    json_decref(root);
}

int machines_load(struct nodes *nodes, struct err *err)
{
    int64_t now_ms = clock_boot_ms();
    const struct member *member;
    int rc = members_open(nodes->dir, "mains node token --name", &nodes->members, err);

    for (uint32_t i = 0; rc == 0 && (member = members_nth(nodes->members, i)) != NULL; i++) {
        struct machine *machine = member->pin[0] ? machine_add(nodes, member->site) : NULL;

        if (!machine)
            continue;
        load_known(nodes, machine);
        /* Nobody knows when the agent before this one answered it last. */
        machine->granted_until_ms = now_ms + span_of(machine->lease_ms);
        machine->gone_boot_ms = now_ms;
        machine->heard = true; /* until it has had the time to come back */
    }
    return rc;
}

void machine_tell(struct nodes *nodes, const struct machine *machine)
{
    char reason[160];

    if (!machine->info || !nodes->door)
        return;
    if (!machine->heard)
        snprintf(reason, sizeof(reason), WIRE_NODE_UNHEALTHY "its agent is not heard");
    else
        snprintf(reason, sizeof(reason), "%s", machine->is_sick ? machine->reason : "");
    nodes->config.node_state(nodes->config.context, machine->name,
                             !machine->heard || machine->is_sick, reason);
}

static void set_heard(struct nodes *nodes, struct machine *machine, bool heard)
{
    if (machine->heard == heard)
        return;
    machine->heard = heard;
    log_warn("node %s is %s", machine->name, heard ? "heard again" : "not heard");
    machine_tell(nodes, machine);
}

/* ---- the stream of commands ---- */

static void stream_over(struct nodes *nodes, struct machine *machine, const char *why)
{
    struct gang *gang, *next;

    log_info("node %s: session %" PRIu64 " is over: %s", machine->name, machine->session, why);
    machine->gone_boot_ms = clock_boot_ms();
    HASH_ITER (hh, nodes->gangs, gang, next) {
        struct gang_part *part = gang_part_of(gang, machine->name);

        for (uint32_t s = 0; part && s < NODES_LOG_STREAMS; s++)
            part->logs[s].request = 0;
        if (part)
            part->run_told = part->stop_told = false;
    }
}

void machine_end_stream(struct nodes *nodes, struct machine *machine, const char *why)
{
    struct http_request *stream = TAKE(machine->stream);

    if (!stream)
        return;
    http_stream_end(stream);
    stream_over(nodes, machine, why);
}

void machine_stream_gone(struct nodes *nodes, const struct http_request *request)
{
    struct machine *machine;

    LL_FOREACH (nodes->machines, machine)
        if (machine->stream == request) {
            machine->stream = NULL;
            stream_over(nodes, machine, "its agent went away");
        }
}

void machine_send_line(struct machine *machine, const char *line, size_t len)
{
    if (machine->stream && !machine->choked && http_stream_push(machine->stream, line, len) < 0)
        machine->choked = true; /* something is missing now: it is to begin anew */
}

void machine_send(struct machine *machine, const struct wire_command *command)
{
    CLEANUP(buf_fini) struct buf line = buf_init(WIRE_LINE_BYTES_MAX);

    if (wire_command_print(command, &line) == 0)
        machine_send_line(machine, line.data, line.len);
}

static bool fill_reconcile(const struct nodes *nodes, const struct machine *machine,
                           struct wire_command *command)
{
    struct wire_attempt_id *ids = calloc(HASH_COUNT(nodes->gangs) + 1u, sizeof(*ids));
    struct gang *gang, *next;

    *command = (struct wire_command){ .type = WIRE_RECONCILE,
                                      .lease_ms = machine->lease_ms,
                                      .stop_ms = machine->lease_ms / STOP_PART,
                                      .every_ms = machine->lease_ms / EVERY_PART,
                                      .attempts = ids };
    if (!ids)
        return false;
    HASH_ITER (hh, nodes->gangs, gang, next) {
        const struct gang_part *part = gang_part_of(gang, machine->name);

        if (part && part->state != PART_ENDED)
            ids[command->attempts_count++] =
                (struct wire_attempt_id){ gang->key.job_id, gang->key.epoch };
    }
    return true;
}

/* What it should hold, then what it may not have heard. */
static void send_opening(struct nodes *nodes, struct machine *machine)
{
    CLEANUP(buf_fini) struct buf line = buf_init(RECONCILE_BYTES_MAX);
    struct wire_command reconcile;
    struct gang *gang, *next;

    if (!fill_reconcile(nodes, machine, &reconcile) || wire_command_print(&reconcile, &line) < 0) {
        free((void *)(uintptr_t)reconcile.attempts);
        machine_end_stream(nodes, machine, "out of memory");
        return;
    }
    free((void *)(uintptr_t)reconcile.attempts);
    machine_send_line(machine, line.data, line.len);
    HASH_ITER (hh, nodes->gangs, gang, next) {
        struct gang_part *part = gang_part_of(gang, machine->name);

        if (!part || gang->state == ATTEMPT_ENDED)
            continue;
        part->run_told = part->stop_told = false;
        gang_send_order(nodes, gang, part);
        if (part->state != PART_ORDERED)
            gang_logs_ask(nodes, gang, part);
        gang_look(nodes, gang);
    }
}

void nodes_take_stream(struct nodes *nodes, struct machine *machine, struct http_request *request)
{
    const char *text = http_request_query(request, "session");

    if (!machine->session || !text || strtoull(text, NULL, 10) != machine->session) {
        nodes_reply_error(request, 409, "session_stale",
                          "this session is over: post a HELLO report to open another");
        return;
    }
    machine_end_stream(nodes, machine, "its agent opened another stream");
    if (http_stream_begin(request, 200, "application/x-ndjson", NULL, 0) < 0) {
        nodes_reply_error(request, 503, "overloaded", "the stream cannot be opened");
        return;
    }
    machine->stream = request;
    machine->choked = false;
    machine->backlog_since_ms = clock_mono_ms();
    log_info("node %s: session %" PRIu64 " is open", machine->name, machine->session);
    set_heard(nodes, machine, true);
    send_opening(nodes, machine);
}

/* ---- reports ---- */

/* Does it run something that must be gone before its lease, begun now, would end? */
static bool outlasts(const struct nodes *nodes, const struct machine *machine)
{
    const struct lease_state *own = &nodes->config.lease->state;
    int64_t until_ms = clock_boot_ms() + span_of(machine->lease_ms);
    struct gang *gang, *next;

    HASH_ITER (hh, nodes->gangs, gang, next) {
        const struct gang_part *part = gang->lease ? gang_part_of(gang, machine->name) : NULL;

        if (part && part->state != PART_ENDED &&
            (own->number != gang->lease || until_ms > own->ends_ms))
            return true;
    }
    return false;
}

static void grant(struct machine *machine)
{
    machine->heard_boot_ms = clock_boot_ms();
    machine->granted_until_ms =
        MAX(machine->granted_until_ms, machine->heard_boot_ms + span_of(machine->lease_ms));
}

/* What it has; its name is ours to say. */
static void take_inventory(struct nodes *nodes, struct machine *machine,
                           const struct wire_report *report)
{
    struct node_info *info = machine->info;

    if (report->site.nodes_count != 1 || !(info = malloc(sizeof(*info))))
        return;
    *info = report->site.nodes[0];
    memcpy(info->name, machine->name, sizeof(info->name));
    if (machine->info && node_info_is_equal(info, machine->info)) {
        free(info);
        return;
    }
    free(machine->info);
    machine->info = info;
    save_known(nodes, machine);
    nodes->config.changed(nodes->config.context);
}

/* Nobody waits for it any more: its node need not keep it. */
static void send_forget(struct machine *machine, struct wire_attempt_id attempt)
{
    struct wire_command forget = { .type = WIRE_FORGET, .attempt = attempt };

    if (machine->stream)
        machine_send(machine, &forget);
}

static void take_ended(struct nodes *nodes, struct machine *machine, struct gang *gang,
                       struct gang_part *part, const struct wire_report *report)
{
    struct attempt_record record = { .end = report->outcome,
                                     .exit_code = report->exit_code,
                                     .started_ms = report->started_ms,
                                     .ended_ms = report->ended_ms,
                                     .checkpoint_ms = report->checkpoint_ms,
                                     .usage = report->usage };

    if (!part) {
        send_forget(machine, report->attempt);
        return;
    }
    record.key = gang->key;
    if (!record.started_ms)
        record.started_ms = part->record.started_ms;
    snprintf(record.reason, sizeof(record.reason), "%s", report->reason);
    gang_part_ended(nodes, gang, part, &record);
}

static void take_attempt(struct nodes *nodes, struct machine *machine,
                         const struct wire_report *report)
{
    struct attempt_key key = { report->attempt.job_id, report->attempt.epoch };
    struct gang *gang = gang_find(nodes, key);
    struct gang_part *part = gang ? gang_part_of(gang, machine->name) : NULL;

    if (report->type == REPORT_ENDED) {
        take_ended(nodes, machine, gang, part, report);
        return;
    }
    if (!part || part->is_here)
        return;
    if (report->type == REPORT_STARTED) {
        gang_part_started(nodes, gang, part, report->started_ms);
    } else if (report->type == REPORT_UNKNOWN) {
        if (!part->run_told) /* else it had not come to the order yet */
            gang_part_lost(nodes, gang, part, "it has no trace of it");
    } else if (part->state == PART_RUNNING) {
        part->record.usage = report->usage;
        part->record.checkpoint_ms = report->checkpoint_ms;
        part->record.stall_ms = report->stall_ms;
        gang_progress(nodes, gang);
    }
}

static void take_report(struct nodes *nodes, struct machine *machine,
                        const struct wire_report *report)
{
    switch (report->type) {
    case REPORT_STARTED:
    case REPORT_PROGRESS:
    case REPORT_ENDED:
    case REPORT_UNKNOWN:
        take_attempt(nodes, machine, report);
        break;
    case REPORT_LOG:
        gang_logs_take(nodes, machine, report);
        break;
    case REPORT_INVENTORY:
        take_inventory(nodes, machine, report);
        break;
    case REPORT_NODE:
        if (report->device < 0 &&
            (report->cordoned != machine->is_sick || strcmp(report->reason, machine->reason))) {
            machine->is_sick = report->cordoned;
            snprintf(machine->reason, sizeof(machine->reason), "%s", report->reason);
            machine_tell(nodes, machine);
        }
        break;
    case REPORT_HELLO:
    case REPORT_ALIVE:
    case REPORT_SUSPENDED: /* none is asked to stand still */
    case REPORT_TARIFF:    /* the site's is its own agent's to tell */
    case REPORT_QUEUE:
    case REPORT_LINK:
        break;
    }
}

static void take_hello(struct nodes *nodes, struct machine *machine, struct http_request *request,
                       const struct wire_report *hello)
{
    const char *peer = http_request_peer(request);
    bool changed = strcmp(machine->address, peer) != 0 || machine->lease_ms != lease_now_ms(nodes);

    if (!hello->boot_ms || hello->site.nodes_count != 1) {
        nodes_reply_error(request, 409, "conflict",
                          "this is no node's agent: it keeps no lease, or is not one machine");
        return;
    }
    machine_end_stream(nodes, machine, "its agent said HELLO again");
    if (outlasts(nodes, machine)) {
        nodes_reply_error(request, 503, "lease", "the site's own lease ends before: wait");
        return;
    }
    nodes->session_last = MAX(nodes->session_last + 1, (uint64_t)clock_wall_ms());
    machine->session = nodes->session_last;
    machine->lease_ms = lease_now_ms(nodes);
    snprintf(machine->address, sizeof(machine->address), "%s", peer);
    take_inventory(nodes, machine, hello);
    if (changed) /* before it is answered: it counts from then */
        save_known(nodes, machine);
    grant(machine);
    nodes_reply_json(request, 200, json_pack("{s:I}", "session", (json_int_t)machine->session));
}

static bool next_line(const char **at, const char *end, const char **line_out, size_t *len_out)
{
    while (*at < end) {
        const char *stop = memchr(*at, '\n', (size_t)(end - *at));

        *line_out = *at;
        *len_out = (size_t)((stop ? stop : end) - *at);
        *at = stop ? stop + 1 : end;
        if (*len_out)
            return true;
    }
    return false;
}

void nodes_take_reports(struct nodes *nodes, struct machine *machine, struct http_request *request)
{
    CLEANUP(arena_fini) struct arena arena = arena_init(REPORTS_ARENA_MAX);
    const char *text = http_request_query(request, "session");
    uint64_t session = text ? strtoull(text, NULL, 10) : 0;
    size_t len = 0, line_len;
    const char *at = http_request_body(request, &len);
    const char *end = at ? at + len : NULL, *line;
    struct err err = { 0 };

    while (at && next_line(&at, end, &line, &line_len)) {
        struct wire_report report = { 0 };
        int rc = wire_report_parse(line, line_len, &arena, &report, &err);

        if (rc == -ENOTSUP)
            continue;
        if (rc == 0 && report.type == REPORT_HELLO) {
            take_hello(nodes, machine, request, &report);
            site_info_fini(&report.site);
            return;
        }
        if (rc < 0 || !machine->session || session != machine->session) {
            site_info_fini(&report.site);
            nodes_reply_error(request, rc < 0 ? 400 : 409, rc < 0 ? "invalid" : "session_stale",
                              "%s", rc < 0 ? err.text : "this session is over");
            return;
        }
        take_report(nodes, machine, &report);
        site_info_fini(&report.site);
    }
    if (!machine->session || session != machine->session || outlasts(nodes, machine)) {
        nodes_reply_error(request, 503, "lease", "the site's own lease ends before: wait");
        return;
    }
    grant(machine);
    nodes_reply_json(request, 200, json_pack("{s:b}", "accepted", true));
}

/* ---- by the clock ---- */

static void look_at(struct nodes *nodes, struct machine *machine, bool ping)
{
    struct wire_command command = { .type = WIRE_PING, .time_ms = clock_wall_ms() };
    int64_t boot_ms = clock_boot_ms(), mono_ms = clock_mono_ms();
    int64_t silence_ms = MAX(machine->lease_ms / SILENCE_PART, SILENCE_MS_MIN);

    if (machine->stream && !http_stream_backlog(machine->stream))
        machine->backlog_since_ms = mono_ms;
    if (machine->stream &&
        (machine->choked || mono_ms - machine->backlog_since_ms > WIRE_SILENCE_MS_MAX))
        machine_end_stream(nodes, machine, "nothing was read for too long");
    else if (machine->stream && boot_ms - machine->heard_boot_ms > silence_ms) {
        machine_end_stream(nodes, machine, "nothing was heard for too long");
        set_heard(nodes, machine, false);
    } else if (machine->stream && machine->lease_ms != lease_now_ms(nodes))
        machine_end_stream(nodes, machine, "the site's lease is another");
    if (!machine->stream && boot_ms - machine->gone_boot_ms > NODES_GONE_MS)
        set_heard(nodes, machine, false);
    if (machine->stream && ping)
        machine_send(machine, &command);
}

void machines_look(struct nodes *nodes)
{
    int64_t now_ms = clock_mono_ms();
    bool ping = now_ms - nodes->ping_mono_ms >= WIRE_HEARTBEAT_MS;
    struct machine *machine;

    if (ping)
        nodes->ping_mono_ms = now_ms;
    LL_FOREACH (nodes->machines, machine)
        look_at(nodes, machine, ping);
}

void machine_forget(struct nodes *nodes, struct machine *machine)
{
    CLEANUP(freep) char *path = known_path(nodes, machine->name);

    machine_end_stream(nodes, machine, "it was removed");
    machine->session = 0;
    free(TAKE(machine->info)); /* what it runs is lost when its lease is over */
    if (path)
        unlink(path);
    nodes->config.changed(nodes->config.context);
}
