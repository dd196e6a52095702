/* The engine of a site over several machines (nodes.h): attempts that lie on this machine alone are
 * the local executor's; the others are split here, and what their parts report is put together. */
#include "agent/gang.h"
#include "agent/nodes_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct nodes *nodes_of(struct executor *executor)
{
    return CONTAINER_OF(executor, struct nodes, base);
}

struct gang *gang_find(const struct nodes *nodes, struct attempt_key key)
{
    struct attempt_key clean;
    struct gang *found;

    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    HASH_FIND(hh, nodes->gangs, &clean, sizeof(clean), found);
    return found;
}

static void on_local(void *context, enum attempt_note_type type,
                     const struct attempt_record *record)
{
    struct nodes *nodes = context;
    struct gang *gang = gang_find(nodes, record->key);
    struct attempt_record metered = *record;
    struct gang_part *part = NULL;

    for (uint32_t i = 0; gang && i < gang->parts_count; i++)
        if (gang->parts[i].is_here)
            part = &gang->parts[i];
    if (!gang || !part) {
        nodes->up.told(nodes->up.context, type, record);
        return;
    }
    if (type != NOTE_STARTED && nodes->config.meter)
        nodes->config.meter(nodes->config.context, &metered, type == NOTE_ENDED);
    switch (type) {
    case NOTE_STARTED:
        gang_part_started(nodes, gang, part, record->started_ms);
        break;
    case NOTE_PROGRESS:
        part->record.usage = metered.usage;
        part->record.checkpoint_ms = metered.checkpoint_ms;
        part->record.stall_ms = metered.stall_ms;
        gang_progress(nodes, gang);
        break;
    case NOTE_ENDED:
        gang_part_ended(nodes, gang, part, &metered);
        break;
    case NOTE_SUSPENDED:
        break;
    }
}

/* ---- orders ---- */

static const char *address_of(const struct nodes *nodes, const char *node)
{
    const struct machine *machine = machine_find(nodes, node);

    if (!nodes->door)
        return NULL;
    if (strcmp(node, nodes->config.node) == 0)
        return door_own_address(nodes->door);
    return machine && machine->info && machine->address[0] ? machine->address : NULL;
}

/* With where each is reached. malloc'd; NULL: `err` says why. */
static struct wire_part *place_parts(const struct nodes *nodes, const struct wire_part *parts,
                                     uint32_t parts_count, struct err *err)
{
    struct wire_part *placed = calloc(parts_count, sizeof(*placed));

    for (uint32_t i = 0; placed && i < parts_count; i++) {
        const char *address = address_of(nodes, parts[i].node);

        placed[i] = parts[i];
        if (!address) {
            err_set(err, -ENODEV, "node %s is not known here", parts[i].node);
            free(placed);
            return NULL;
        }
        snprintf(placed[i].address, sizeof(placed[i].address), "%s", address);
    }
    if (!placed)
        err_set(err, -ENOMEM, "attempt: out of memory");
    return placed;
}

/* RUN for the nodes: the same line for all. */
static int print_line(struct gang *gang, const struct attempt_order *order,
                      const struct wire_part *parts, const char *spec_json, struct err *err)
{
    struct wire_command command = { .type = WIRE_RUN,
                                    .attempt = { order->key.job_id, order->key.epoch },
                                    .array_id = order->array_id,
                                    .array_index = order->array_index,
                                    .array_count = order->array_count,
                                    .attempt_number = order->attempt_number,
                                    .duration_ms_max = order->duration_ms_max,
                                    .run_as_uid = order->told_uid,
                                    .run_as_gid = order->told_gid,
                                    .host_paths = order->host_paths,
                                    .lease = true,
                                    .spec_json = spec_json,
                                    .checkpoint_saved_ms = order->checkpoint_saved_ms,
                                    .checkpoint_every_ms = order->checkpoint_every_ms,
                                    .parts_count = gang->parts_count,
                                    .parts = parts };
    struct buf line = buf_init(WIRE_LINE_BYTES_MAX);
    int rc;

    snprintf(command.tenant, sizeof(command.tenant), "%s", order->tenant);
    snprintf(command.user, sizeof(command.user), "%s", order->user);
    snprintf(command.name, sizeof(command.name), "%s", order->name);
    snprintf(command.site, sizeof(command.site), "%s", order->site);
    snprintf(command.checkpoint, sizeof(command.checkpoint), "%s", order->checkpoint);
    rc = wire_command_print(&command, &line);
    if (rc < 0) {
        buf_fini(&line);
        return err_set(err, rc, "the order for the nodes: %s", strerror(-rc));
    }
    gang->line_len = line.len;
    gang->line = buf_take(&line);
    return gang->line ? 0 : err_set(err, -ENOMEM, "attempt: out of memory");
}

static int start_here(struct nodes *nodes, const struct gang *gang,
                      const struct attempt_order *order, const struct wire_part *parts,
                      const char *spec_json, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(order->spec_len + (size_t)GANG_BYTES_MAX);
    struct attempt_order here = *order;
    int rc = gang_print(spec_json, parts, gang->parts_count, &here, &text);

    if (rc < 0)
        return err_set(err, rc, "the nodes of the attempt: %s", strerror(-rc));
    rc = nodes->local->ops->start(nodes->local, &here, text.data, err);
    explicit_bzero(text.data, text.len);
    return rc;
}

static int begin_gang(struct nodes *nodes, struct gang *gang, struct err *err)
{
    CLEANUP(freep) char *folder = gang_folder(nodes, gang->key);
    int rc;

    if (!folder)
        return err_set(err, -ENOMEM, "attempt: out of memory");
    if (mkdir(folder, 0700) < 0)
        return err_set(err, -errno, "%s: %s", folder, strerror(errno));
    rc = gang_save(nodes, gang, err);
    if (rc == 0)
        rc = gang_logs_open(nodes, gang, err);
    if (rc < 0)
        dir_remove(folder, NULL);
    return rc;
}

void gang_send_order(struct nodes *nodes, struct gang *gang, struct gang_part *part)
{
    struct machine *machine = machine_find(nodes, part->node);

    if (part->is_here || part->state == PART_ENDED || part->run_told || !gang->line ||
        gang->decided || gang->stopping || !machine || !machine_is_open(machine))
        return;
    machine_send_line(machine, gang->line, gang->line_len);
    part->run_told = true;
}

static void send_orders(struct nodes *nodes, struct gang *gang)
{
    for (uint32_t i = 0; i < gang->parts_count; i++)
        gang_send_order(nodes, gang, &gang->parts[i]);
}

/* After this agent was killed: the nodes hear the order again from here, as this one does. */
static void nodes_again(struct executor *executor, const struct attempt_order *order,
                        const struct wire_part *parts, uint32_t parts_count, const char *spec_json)
{
    struct nodes *nodes = nodes_of(executor);
    struct gang *gang = gang_find(nodes, order->key);
    CLEANUP(freep) struct wire_part *placed = NULL;
    struct err err;

    if (!gang || gang->line || gang->state == ATTEMPT_ENDED || gang->parts_count != parts_count)
        return;
    placed = place_parts(nodes, parts, parts_count, &err);
    if (placed && print_line(gang, order, placed, spec_json, &err) == 0)
        send_orders(nodes, gang);
    else
        log_warn("job %" PRIu64 ": %s", order->key.job_id, err.text);
}

static int nodes_start_parts(struct executor *executor, const struct attempt_order *order,
                             const struct wire_part *parts, uint32_t parts_count,
                             const char *spec_json, struct err *err)
{
    struct nodes *nodes = nodes_of(executor);
    CLEANUP(freep) struct wire_part *placed = NULL;
    struct gang_part *here = NULL;
    struct gang *gang;
    int rc = 0;

    if (parts_count == 1 && strcmp(parts[0].node, nodes->config.node) == 0)
        return nodes->local->ops->start(nodes->local, order, spec_json, err);
    if (gang_find(nodes, order->key))
        return -EEXIST;
    if (order->lease && !gang_lease_is_enough(nodes))
        return err_set(err, -ENOTSUP,
                       "on_unreachable: move: the network's leases are too short for other "
                       "machines of this site to have theirs within");
    placed = place_parts(nodes, parts, parts_count, err);
    if (!placed)
        return -ENODEV;
    gang = gang_create(order->key, parts_count);
    if (!gang)
        return err_set(err, -ENOMEM, "attempt: out of memory");
    gang->lease = order->lease;
    for (uint32_t i = 0; i < parts_count; i++) {
        memcpy(gang->parts[i].node, parts[i].node, sizeof(parts[i].node));
        gang->parts[i].is_here = strcmp(parts[i].node, nodes->config.node) == 0;
        if (gang->parts[i].is_here)
            here = &gang->parts[i];
    }
    rc = print_line(gang, order, placed, spec_json, err);
    if (rc == 0)
        rc = begin_gang(nodes, gang, err);
    if (rc < 0) {
        gang_destroy(gang);
        return rc;
    }
    HASH_ADD(hh, nodes->gangs, key, sizeof(gang->key), gang);
    send_orders(nodes, gang);
    if (here)
        rc = start_here(nodes, gang, order, placed, spec_json, err);
    if (rc == -EPIPE)
        return rc;
    if (rc < 0) {
        struct attempt_record record = { .key = gang->key, .end = END_START_FAILED };

        snprintf(record.reason, sizeof(record.reason), "%.150s", err->text);
        gang_part_ended(nodes, gang, here, &record);
    }
    return 0;
}

static int nodes_start(struct executor *executor, const struct attempt_order *order,
                       const char *spec_json, struct err *err)
{
    struct nodes *nodes = nodes_of(executor);

    return nodes->local->ops->start(nodes->local, order, spec_json, err);
}

static int nodes_stop(struct executor *executor, struct attempt_key key, int64_t grace_ms,
                      const char *reason, struct err *err)
{
    struct nodes *nodes = nodes_of(executor);
    struct gang *gang = gang_find(nodes, key);
    int rc;

    if (!gang)
        return nodes->local->ops->stop(nodes->local, key, grace_ms, reason, err);
    if (gang->state == ATTEMPT_ENDED)
        return -ENOENT;
    gang->stopping = true;
    gang->grace_ms = grace_ms;
    snprintf(gang->why, sizeof(gang->why), "%.159s", reason);
    for (uint32_t i = 0; i < gang->parts_count; i++)
        gang->parts[i].stop_told = false; /* again, with another grace */
    rc = gang_save(nodes, gang, err);
    gang_look(nodes, gang);
    return rc;
}

/* Where no engine can, the network stops it instead. */
static int nodes_suspend(struct executor *executor, struct attempt_key key, bool is_suspended,
                         struct err *err)
{
    struct nodes *nodes = nodes_of(executor);

    if (!gang_find(nodes, key))
        return nodes->local->ops->suspend(nodes->local, key, is_suspended, err);
    return is_suspended ? err_set(err, -ENOTSUP, "it does not lie on one machine alone") : 0;
}

/* ---- what it holds ---- */

static void view_of(const struct gang *gang, struct attempt_view *view_out)
{
    *view_out = (struct attempt_view){ gang->key, gang->state, &gang->record };
}

static bool nodes_find(struct executor *executor, struct attempt_key key,
                       struct attempt_view *view_out)
{
    struct nodes *nodes = nodes_of(executor);
    const struct gang *gang = gang_find(nodes, key);

    if (!gang)
        return nodes->local->ops->find(nodes->local, key, view_out);
    view_of(gang, view_out);
    return true;
}

struct visit {
    const struct nodes *nodes;
    void (*visit)(void *, const struct attempt_view *);
    void *context;
};

static void visit_alone(void *context, const struct attempt_view *view)
{
    const struct visit *visit = context;

    if (!gang_find(visit->nodes, view->key))
        visit->visit(visit->context, view);
}

static void nodes_each(struct executor *executor,
                       void (*visit)(void *, const struct attempt_view *), void *context)
{
    struct nodes *nodes = nodes_of(executor);
    struct visit inner = { nodes, visit, context };
    struct gang *gang, *next;
    struct attempt_view view;

    nodes->local->ops->each(nodes->local, visit_alone, &inner);
    HASH_ITER (hh, nodes->gangs, gang, next) {
        view_of(gang, &view);
        visit(context, &view);
    }
}

/* At most: parts of this machine count too. */
static uint32_t nodes_count(const struct executor *executor)
{
    const struct nodes *nodes = CONTAINER_OF(executor, struct nodes, base);

    return nodes->local->ops->count(nodes->local) + HASH_COUNT(nodes->gangs);
}

static bool nodes_recall(struct executor *executor, struct attempt_key key,
                         struct attempt_record *record_out)
{
    struct nodes *nodes = nodes_of(executor);

    return gang_recall(nodes, key, "ended", record_out) ||
           nodes->local->ops->recall(nodes->local, key, record_out);
}

static bool nodes_is_metered(struct executor *executor, struct attempt_key key)
{
    CLEANUP(freep) char *folder = nodes_log_folder(executor, key);

    return folder != NULL;
}

static void nodes_acknowledge(struct executor *executor, struct attempt_key key)
{
    struct nodes *nodes = nodes_of(executor);
    struct gang *gang = gang_find(nodes, key);
    CLEANUP(freep) char *folder = gang_folder(nodes, key);
    CLEANUP(freep) char *from = folder ? path_format("%s/final", folder) : NULL;
    CLEANUP(freep) char *to = folder ? path_format("%s/ended", folder) : NULL;
    struct wire_command forget = { .type = WIRE_FORGET, .attempt = { key.job_id, key.epoch } };

    if (!gang) {
        nodes->local->ops->acknowledge(nodes->local, key);
        return;
    }
    if (gang->state != ATTEMPT_ENDED || !from || !to || rename(from, to) < 0)
        return;
    for (uint32_t i = 0; i < gang->parts_count; i++) {
        struct machine *machine = machine_find(nodes, gang->parts[i].node);

        if (gang->parts[i].is_here)
            nodes->local->ops->acknowledge(nodes->local, key); /* its outputs stay */
        else if (machine && machine_is_open(machine))
            machine_send(machine, &forget); /* else when it says so again */
    }
    HASH_DEL(nodes->gangs, gang);
    gang_destroy(gang);
}

static void nodes_forget(struct executor *executor, struct attempt_key key)
{
    struct nodes *nodes = nodes_of(executor);

    if (gang_find(nodes, key))
        nodes_acknowledge(executor, key);
    else
        nodes->local->ops->forget(nodes->local, key);
}

char *nodes_log_folder(struct executor *executor, struct attempt_key key)
{
    struct nodes *nodes = nodes_of(executor);
    char *folder = gang_folder(nodes, key);

    if (folder && access(folder, F_OK) == 0)
        return folder;
    free(folder);
    return NULL;
}

/* ---- begin and end ---- */

static int nodes_pump(struct executor *executor, struct err *err)
{
    struct nodes *nodes = nodes_of(executor);

    return nodes->local->ops->pump(nodes->local, err);
}

static bool nodes_tick(struct executor *executor)
{
    struct nodes *nodes = nodes_of(executor);

    return nodes->local->ops->tick(nodes->local);
}

static int nodes_fd(const struct executor *executor)
{
    const struct nodes *nodes = CONTAINER_OF(executor, struct nodes, base);

    return nodes->local->ops->fd(nodes->local);
}

/* Its note comes before anything is ordered: without one nothing was. */
static void remove_unbegun(const struct nodes *nodes, struct attempt_key key)
{
    CLEANUP(freep) char *folder = gang_folder(nodes, key);

    if (folder)
        dir_remove(folder, NULL);
}

static int load_gangs(struct nodes *nodes, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/attempts", nodes->dir);
    DIR *dir = path ? opendir(path) : NULL;
    struct dirent *entry;

    if (!dir)
        return err_set(err, -errno, "%s: %s", nodes->dir, strerror(errno));
    while ((entry = readdir(dir)) != NULL) {
        struct attempt_record record;
        struct gang *gang = NULL;
        struct attempt_key key;
        int rc;

        if (!attempt_parse_name(entry->d_name, &key) || gang_recall(nodes, key, "ended", &record))
            continue;
        rc = gang_load(nodes, key, &gang);
        if (rc == -ENOENT)
            remove_unbegun(nodes, key);
        if (rc < 0)
            continue;
        HASH_ADD(hh, nodes->gangs, key, sizeof(gang->key), gang);
        if (gang->state != ATTEMPT_ENDED)
            gang_logs_open(nodes, gang, NULL);
    }
    closedir(dir);
    return 0;
}

static void nodes_close(struct executor *executor)
{
    struct nodes *nodes = nodes_of(executor);
    struct gang *gang, *next;

    if (nodes->local)
        nodes->local->ops->close(nodes->local);
    HASH_ITER (hh, nodes->gangs, gang, next) {
        HASH_DEL(nodes->gangs, gang);
        gang_destroy(gang);
    }
    machines_free(nodes);
    members_close(nodes->members);
    free(nodes->dir);
    free(nodes);
}

static int make_folders(struct nodes *nodes, struct err *err)
{
    static const char *const names[] = { "attempts", "known" };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_COUNT(names); i++) {
        CLEANUP(freep) char *path = path_format("%s/%s", nodes->dir, names[i]);

        rc = path ? dir_make(path, 0700, err) : err_set(err, -ENOMEM, "nodes: out of memory");
    }
    return rc;
}

static int nodes_open(const struct executor_config *config, struct executor **executor_out,
                      struct err *err)
{
    struct nodes *nodes = calloc(1, sizeof(*nodes));
    struct executor_config local = *config;
    int rc;

    if (!nodes)
        return err_set(err, -ENOMEM, "nodes: out of memory");
    nodes->base.ops = &executor_nodes_ops;
    nodes->up = *config;
    nodes->dir = path_format("%s/nodes", config->agent_dir);
    local.told = on_local;
    local.context = nodes;
    rc = nodes->dir ? make_folders(nodes, err) : err_set(err, -ENOMEM, "nodes: out of memory");
    if (rc == 0) /* it forks: before anything else has grown this process */
        rc = executor_local_ops.open(&local, &nodes->local, err);
    if (rc == 0)
        rc = machines_load(nodes, err);
    if (rc == 0)
        rc = load_gangs(nodes, err);
    if (rc < 0) {
        nodes_close(&nodes->base);
        return rc;
    }
    *executor_out = &nodes->base;
    return 0;
}

/* What became of this machine's own parts while no agent was here. */
static void adopt_own(struct nodes *nodes, struct gang *gang)
{
    struct attempt_record record;
    struct attempt_view view;

    for (uint32_t i = 0; i < gang->parts_count; i++) {
        struct gang_part *part = &gang->parts[i];

        part->is_here = strcmp(part->node, nodes->config.node) == 0;
        if (!part->is_here || gang->state == ATTEMPT_ENDED)
            continue;
        if (!nodes->local->ops->find(nodes->local, gang->key, &view)) {
            if (nodes->local->ops->recall(nodes->local, gang->key, &record))
                gang_part_ended(nodes, gang, part, &record);
            else
                gang_part_lost(nodes, gang, part, "it had not begun when the agent was killed");
        } else if (view.state == ATTEMPT_ENDED) {
            record = *view.record;
            nodes->config.meter(nodes->config.context, &record, true);
            gang_part_ended(nodes, gang, part, &record);
        } else if (view.state == ATTEMPT_RUNNING) {
            gang_part_started(nodes, gang, part, view.record->started_ms);
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct nodes *nodes = timer->data;

    machines_look(nodes);
    gangs_look(nodes);
}

int nodes_begin(struct executor *executor, const struct nodes_config *config, struct err *err)
{
    struct nodes *nodes = nodes_of(executor);
    struct gang *gang, *next;
    int rc;

    nodes->config = *config;
    uv_timer_init(config->loop, &nodes->tick);
    nodes->tick.data = nodes;
    rc = config->address ? nodes_door_open(nodes, err) : nodes_door_remove(nodes, err);
    if (rc < 0)
        return rc;
    uv_timer_start(&nodes->tick, on_tick, NODES_TICK_MS, NODES_TICK_MS);
    HASH_ITER (hh, nodes->gangs, gang, next)
        adopt_own(nodes, gang);
    return 0;
}

void nodes_end(struct executor *executor)
{
    struct nodes *nodes = nodes_of(executor);

    if (!nodes->config.loop)
        return;
    nodes_door_close(nodes);
    uv_close((uv_handle_t *)&nodes->tick, NULL);
    nodes->config.loop = NULL;
}

uint32_t nodes_fill(struct executor *executor, struct node_info *nodes_out, uint32_t nodes_max)
{
    const struct nodes *nodes = nodes_of(executor);
    uint32_t count = 0;

    for (const struct machine *machine = nodes->machines; machine && nodes->door;
         machine = machine->next)
        if (machine->info && count < nodes_max && strcmp(machine->name, nodes->config.node) != 0)
            nodes_out[count++] = *machine->info;
    return count;
}

void nodes_tell_states(struct executor *executor)
{
    struct nodes *nodes = nodes_of(executor);

    for (struct machine *machine = nodes->machines; machine; machine = machine->next)
        machine_tell(nodes, machine);
}

static bool nodes_keeps_lease(const struct executor *executor)
{
    (void)executor;
    return true;
}

const struct executor_ops executor_nodes_ops = {
    .name = "local",
    .keeps_lease = nodes_keeps_lease,
    .is_apart = true,
    .tunnels = true, /* of this machine */
    .open = nodes_open,
    .close = nodes_close,
    .fd = nodes_fd,
    .pump = nodes_pump,
    .tick = nodes_tick,
    .start = nodes_start,
    .stop = nodes_stop,
    .suspend = nodes_suspend,
    .find = nodes_find,
    .each = nodes_each,
    .count = nodes_count,
    .recall = nodes_recall,
    .is_metered = nodes_is_metered,
    .acknowledge = nodes_acknowledge,
    .forget = nodes_forget,
    .start_parts = nodes_start_parts,
    .again = nodes_again,
};
