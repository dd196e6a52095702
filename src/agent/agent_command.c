#include "agent/agent_internal.h"

#include "agent/gang.h"
#include "agent/nodes.h"
#include "base/clock.h"
#include "base/log.h"
#include "model/spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNKNOWN_AFTER_MS 1000
#define LOOK_TICKS 4 /* so many until checkpoints are looked for where no supervisor tells */

static struct attempt_key key_of(struct wire_attempt_id id)
{
    return (struct attempt_key){ id.job_id, id.epoch };
}

/* ---- telling ---- */

static void tell_record(struct agent *agent, enum wire_report_type type,
                        const struct attempt_record *record)
{
    struct wire_report report = { .type = type,
                                  .attempt = { record->key.job_id, record->key.epoch },
                                  .started_ms = record->started_ms,
                                  .ended_ms = record->ended_ms,
                                  .checkpoint_ms = record->checkpoint_ms,
                                  .stall_ms = record->stall_ms,
                                  .usage = record->usage,
                                  .outcome = record->end,
                                  .exit_code = record->exit_code };

    snprintf(report.reason, sizeof(report.reason), "%s", record->reason);
    if (type == REPORT_ENDED)
        receipts_sign(agent->receipts, &report);
    session_report(agent->session, &report);
}

static void tell_metered(struct agent *agent, enum wire_report_type type,
                         const struct attempt_record *record)
{
    const struct executor_ops *ops = agent->executor->ops;
    struct attempt_record metered = *record;

    if (!ops->is_metered || !ops->is_metered(agent->executor, record->key))
        meter_read(agent->meter, &metered, type == REPORT_ENDED);
    tell_record(agent, type, &metered);
}

/* The end is told once what the attempt leaves is in the network. */
static void tell_ended(struct agent *agent, const struct attempt_record *record)
{
    if (!saves_end(agent->saves, record->key, record))
        tell_metered(agent, REPORT_ENDED, record);
}

void agent_on_saved(void *context, struct attempt_key key)
{
    struct agent *agent = context;
    struct attempt_view view;

    if (agent->executor->ops->find(agent->executor, key, &view) && view.state == ATTEMPT_ENDED)
        tell_metered(agent, REPORT_ENDED, view.record);
    session_flush(agent->session);
}

void agent_link(void *context, struct transfer_link *link_out)
{
    struct agent *agent = context;

    session_link(agent->session, link_out);
    link_out->over = depot_hushed(agent->depot);
    link_out->is_short = agent->site.policy.contacts_count > 0;
}

struct turn agent_turn(void *context, struct attempt_key key, enum turn_kind kind, int64_t since_ms)
{
    struct agent *agent = context;

    return turns_find(agent->turns, key, kind, since_ms);
}

/* `why_not` "": it stands. */
static void tell_suspended(struct agent *agent, struct attempt_key key, const char *why_not)
{
    struct wire_report report = { .type = REPORT_SUSPENDED,
                                  .attempt = { key.job_id, key.epoch },
                                  .suspended = !*why_not };

    snprintf(report.reason, sizeof(report.reason), "%s", why_not);
    session_report(agent->session, &report);
}

void agent_on_note(void *context, enum attempt_note_type type, const struct attempt_record *record)
{
    struct agent *agent = context;

    if (!agent->session)
        return; /* found at the start: RECONCILE will ask for it */
    switch (type) {
    case NOTE_STARTED:
        meter_begin(agent->meter, record->key);
        tell_record(agent, REPORT_STARTED, record);
        break;
    case NOTE_PROGRESS:
        tell_metered(agent, REPORT_PROGRESS, record);
        saves_seen(agent->saves, record->key, record->checkpoint_ms);
        break;
    case NOTE_SUSPENDED:
        tell_suspended(agent, record->key, record->reason);
        break;
    case NOTE_ENDED:
        tunnels_end(agent->tunnels, record->key);
        tell_ended(agent, record);
        logread_ended(agent->logread, record->key);
        break;
    }
}

static void tell_not_started(struct agent *agent, struct attempt_key key, enum attempt_end end,
                             const struct err *err)
{
    struct attempt_record record = { .key = key, .end = end };

    log_warn("job %" PRIu64 ": %s", key.job_id, err->text);
    tunnels_end(agent->tunnels, key);
    snprintf(record.reason, sizeof(record.reason), "%.159s", err->text);
    tell_record(agent, REPORT_ENDED, &record);
}

/* It could not be told from one that runs elsewhere by now. */
static void tell_no_lease(struct agent *agent, struct wire_attempt_id id)
{
    struct attempt_record record = { .key = key_of(id), .end = END_LEASE };

    snprintf(record.reason, sizeof(record.reason), "the site's lease had ended");
    tell_record(agent, REPORT_ENDED, &record);
}

/* How an attempt stands that was begun before. False: never heard of. */
static bool tell_known(struct agent *agent, struct attempt_key key)
{
    struct attempt_record record;
    struct attempt_view view;

    if (agent->executor->ops->find(agent->executor, key, &view)) {
        if (view.state == ATTEMPT_RUNNING)
            tell_record(agent, REPORT_STARTED, view.record);
        else if (view.state == ATTEMPT_ENDED)
            tell_ended(agent, view.record);
        return true;
    }
    if (staging_has(agent->staging, key))
        return true;
    if (!agent->executor->ops->recall(agent->executor, key, &record))
        return false;
    tell_metered(agent, REPORT_ENDED, &record);
    return true;
}

static void tell_unknown(struct agent *agent, struct wire_attempt_id id)
{
    struct wire_report report = { .type = REPORT_UNKNOWN, .attempt = id };

    session_report(agent->session, &report);
}

/* ---- RECONCILE ---- */

void agent_send_unknown(struct agent *agent)
{
    for (uint32_t i = 0; i < agent->unknown_count; i++)
        tell_unknown(agent, agent->unknown[i]);
    agent->unknown_count = 0;
    session_flush(agent->session);
}

static void on_unknown_timer(uv_timer_t *timer)
{
    agent_send_unknown(timer->data);
}

static int compare_ids(const void *a, const void *b)
{
    const struct wire_attempt_id *left = a, *right = b;

    if (left->job_id != right->job_id)
        return left->job_id < right->job_id ? -1 : 1;
    return left->epoch < right->epoch ? -1 : left->epoch > right->epoch;
}

struct reconcile {
    struct agent *agent;
    const struct wire_attempt_id *listed; /* sorted */
    uint32_t listed_count;
    struct attempt_key *unlisted;
    uint32_t unlisted_count;
    struct ended_one *ended; /* room for all that are held */
    uint32_t ended_count;
};
struct ended_one {
    struct turn turn;
    const struct attempt_record *record;
};

static void visit_held(void *context, const struct attempt_view *view)
{
    struct reconcile *reconcile = context;
    struct wire_attempt_id id = { view->key.job_id, view->key.epoch };

    if (view->state == ATTEMPT_ENDED)
        return; /* told before all these */
    if (!reconcile->listed_count ||
        !bsearch(&id, reconcile->listed, reconcile->listed_count, sizeof(id), compare_ids))
        reconcile->unlisted[reconcile->unlisted_count++] = view->key;
    else if (view->state == ATTEMPT_RUNNING)
        tell_record(reconcile->agent, REPORT_STARTED, view->record);
}

static void visit_ended(void *context, const struct attempt_view *view)
{
    struct reconcile *reconcile = context;

    if (view->state == ATTEMPT_ENDED)
        reconcile->ended[reconcile->ended_count++] =
            (struct ended_one){ agent_turn(reconcile->agent, view->key, TURN_OUTPUTS,
                                           view->record->ended_ms),
                                view->record };
}

static int compare_ended(const void *a, const void *b)
{
    const struct ended_one *left = a, *right = b;

    return turn_compare(&left->turn, &right->turn);
}

/* Results before all else, and of them what cannot wait first: the contact may be short. */
static void tell_all_ended(struct reconcile *reconcile)
{
    struct executor *executor = reconcile->agent->executor;

    executor->ops->each(executor, visit_ended, reconcile);
    qsort(reconcile->ended, reconcile->ended_count, sizeof(*reconcile->ended), compare_ended);
    for (uint32_t i = 0; i < reconcile->ended_count; i++)
        tell_ended(reconcile->agent, reconcile->ended[i].record);
}

static void visit_staged(void *context, struct attempt_key key)
{
    struct reconcile *reconcile = context;
    struct wire_attempt_id id = { key.job_id, key.epoch };

    if (!reconcile->listed_count ||
        !bsearch(&id, reconcile->listed, reconcile->listed_count, sizeof(id), compare_ids))
        reconcile->unlisted[reconcile->unlisted_count++] = key;
}

static void reconcile_with(struct agent *agent, const struct wire_command *command)
{
    struct executor *executor = agent->executor;
    size_t ids_bytes = (command->attempts_count + 1u) * sizeof(*command->attempts);
    struct wire_attempt_id *listed = malloc(ids_bytes), *unknown = malloc(ids_bytes);
    struct reconcile reconcile = { .agent = agent,
                                   .listed = listed,
                                   .listed_count = command->attempts_count };
    struct attempt_view view;

    reconcile.unlisted = calloc(executor->ops->count(executor) + staging_count(agent->staging) + 1u,
                                sizeof(struct attempt_key));
    reconcile.ended = calloc(executor->ops->count(executor) + 1u, sizeof(*reconcile.ended));
    if (!listed || !unknown || !reconcile.unlisted || !reconcile.ended) {
        log_error("RECONCILE: out of memory");
        free(reconcile.ended);
        free(listed);
        free(unknown);
        free(reconcile.unlisted);
        return;
    }
    if (command->attempts_count)
        memcpy(listed, command->attempts, command->attempts_count * sizeof(*listed));
    qsort(listed, command->attempts_count, sizeof(*listed), compare_ids);
    tell_all_ended(&reconcile);
    free(reconcile.ended);
    executor->ops->each(executor, visit_held, &reconcile);
    staging_each(agent->staging, visit_staged, &reconcile);
    for (uint32_t i = 0; i < reconcile.unlisted_count; i++)
        if (!staging_cancel(agent->staging, reconcile.unlisted[i]))
            executor->ops->stop(executor, reconcile.unlisted[i], -1,
                                "the network does not know it any more", NULL);
    free(agent->unknown);
    agent->unknown = unknown;
    agent->unknown_count = 0;
    for (uint32_t i = 0; i < command->attempts_count; i++)
        if (!executor->ops->find(executor, key_of(listed[i]), &view) &&
            !tell_known(agent, key_of(listed[i])))
            agent->unknown[agent->unknown_count++] = listed[i];
    free(listed);
    free(reconcile.unlisted);
    /* An order that was lost on its way comes again right after: only what has not come by then is
     * unknown. */
    if (agent->unknown_count)
        uv_timer_start(&agent->unknown_timer, on_unknown_timer, UNKNOWN_AFTER_MS, 0);
}

/* Who is to stand stands, all others go on: what was said while nobody listened counts. */
static void reconcile_suspended(struct agent *agent, const struct wire_command *command)
{
    struct executor *executor = agent->executor;
    struct wire_attempt_id *sorted = NULL;
    struct attempt_view view;

    if (!executor->ops->suspend)
        return;
    if (command->suspended_count) {
        sorted = malloc(command->suspended_count * sizeof(*sorted));
        if (!sorted) {
            log_error("RECONCILE: out of memory");
            return;
        }
        memcpy(sorted, command->suspended, command->suspended_count * sizeof(*sorted));
        qsort(sorted, command->suspended_count, sizeof(*sorted), compare_ids);
    }
    for (uint32_t i = 0; i < command->attempts_count; i++) {
        struct attempt_key key = key_of(command->attempts[i]);
        bool is_suspended =
            sorted && bsearch(&command->attempts[i], sorted, command->suspended_count,
                              sizeof(*sorted), compare_ids);
        struct err err = { 0 };

        if (executor->ops->find(executor, key, &view) && view.state == ATTEMPT_RUNNING &&
            executor->ops->suspend(executor, key, is_suspended, &err) < 0)
            log_error("%s", err.text);
    }
    free(sorted);
}

static void not_unknown(struct agent *agent, struct wire_attempt_id id)
{
    for (uint32_t i = 0; i < agent->unknown_count; i++)
        if (compare_ids(&agent->unknown[i], &id) == 0)
            agent->unknown[i--] = agent->unknown[--agent->unknown_count];
}

/* ---- RUN and STOP ---- */

static int choose_identity(struct agent *agent, const struct wire_command *command,
                           struct attempt_order *order, struct err *err)
{
    order->drop = geteuid() == 0;
    order->host_paths = command->host_paths;
    if (!order->drop) {
        order->uid = geteuid();
        order->gid = getegid();
        return 0;
    }
    if (command->run_as_uid >= 0) {
        order->uid = (uid_t)command->run_as_uid;
        order->gid = command->run_as_gid >= 0 ? (gid_t)command->run_as_gid : (gid_t)order->uid;
        return 0;
    }
    order->host_paths = false; /* a private uid owns nothing there */
    if (tenants_find_uid(agent->tenants, command->tenant, &order->uid, err) < 0)
        return -EIO;
    order->gid = (gid_t)order->uid;
    return 0;
}

static int add_devices(const struct node_info *node, const struct wire_part *part,
                       struct attempt_order *order, struct err *err)
{
    for (uint32_t i = 0; i < part->devices_count; i++) {
        struct attempt_device *device = &order->devices[i];
        const struct device_info *info;

        if (part->devices[i].index >= node->devices_count)
            return err_set(err, -ENODEV, "device %" PRIu32 " is not there", part->devices[i].index);
        info = &node->devices[part->devices[i].index];
        device->index = part->devices[i].index;
        device->milli = part->devices[i].milli;
        device->vendor_index = info->index;
        snprintf(device->visibility_env, sizeof(device->visibility_env), "%s",
                 info->visibility_env);
        snprintf(device->visibility_value, sizeof(device->visibility_value), "%s",
                 info->visibility_value);
        snprintf(device->family, sizeof(device->family), "%s", info->family);
        snprintf(device->chip, sizeof(device->chip), "%s", info->chip);
        snprintf(device->device_nodes, sizeof(device->device_nodes), "%s", info->device_nodes);
        order->devices_count++;
    }
    return 0;
}

static void fill_across(const struct wire_command *command, struct attempt_across *across)
{
    across->count = command->across_count;
    across->self = command->across_self;
    for (uint32_t i = 0; i < across->count; i++) {
        memcpy(across->sites[i].site, command->across[i].site, sizeof(across->sites[i].site));
        across->sites[i].tasks = command->across[i].tasks;
    }
}

/* The node that an order is for: this machine, where it has a part, else that of the first one.
 * `rank_out`: which part. NULL: none that is known. */
static const struct node_info *find_place(const struct agent *agent,
                                          const struct wire_command *command, uint32_t *rank_out)
{
    const struct executor_ops *ops = agent->executor->ops;
    const struct site_info *site = &agent->site.info;

    *rank_out = 0;
    for (uint32_t i = 0; !ops->is_elsewhere && !ops->discover && i < command->parts_count; i++)
        if (strcmp(site->nodes[0].name, command->parts[i].node) == 0) {
            *rank_out = i;
            return &site->nodes[0];
        }
    for (uint32_t i = 0; ops->start_parts && command->parts_count && i < site->nodes_count; i++)
        if (strcmp(site->nodes[i].name, command->parts[0].node) == 0)
            return &site->nodes[i];
    return NULL;
}

static void tell_as_told(const struct wire_command *command, struct attempt_order *order)
{
    order->told_uid = command->run_as_uid;
    order->told_gid = command->run_as_gid;
    snprintf(order->checkpoint, sizeof(order->checkpoint), "%s", command->checkpoint);
}

/* Here, or where the engine says. */
static bool is_here(const struct agent *agent, const char *node)
{
    return agent->executor->ops->discover || agent->executor->ops->is_elsewhere ||
           strcmp(agent->site.info.nodes[0].name, node) == 0;
}

static int make_order(struct agent *agent, const struct wire_command *command,
                      struct attempt_order *order, struct err *err)
{
    bool parts = agent->executor->ops->start_parts != NULL; /* wherever the engine says they are */
    const struct wire_part *part;
    const struct node_info *node;
    uint32_t rank;
    int rc;

    memset(order, 0, sizeof(*order));
    node = find_place(agent, command, &rank);
    part = &command->parts[rank];
    /* Who knows all the machines of an attempt says where they are. */
    if (!node || (command->parts_count != 1 && !parts && !part->address[0]))
        return err_set(err, -EINVAL, "this site is one node, %s: it cannot run %" PRIu32 " parts",
                       agent->site.info.nodes[0].name, command->parts_count);
    order->key = key_of(command->attempt);
    if (command->parts_count > 1) {
        order->node_rank = rank;
        order->nodes_count = command->parts_count;
    }
    tell_as_told(command, order);
    order->array_id = command->array_id;
    order->array_index = command->array_index;
    order->array_count = command->array_count;
    order->attempt_number = command->attempt_number;
    order->lease = command->lease ? agent->lease.state.number : 0;
    order->duration_ms_max = command->duration_ms_max;
    order->sandbox_off_allowed = agent->config->allow_no_sandbox;
    order->sandbox_off_forced = agent->config->sandbox_off;
    snprintf(order->tenant, sizeof(order->tenant), "%s", command->tenant);
    snprintf(order->user, sizeof(order->user), "%s", command->user);
    snprintf(order->name, sizeof(order->name), "%s", command->name);
    snprintf(order->node, sizeof(order->node), "%s", node->name);
    snprintf(order->site, sizeof(order->site), "%s",
             command->site[0] ? command->site : agent->site.info.name);
    order->checkpoint_saved_ms = command->checkpoint_saved_ms;
    order->checkpoint_every_ms = command->checkpoint_every_ms;
    order->node_cpus = node->cpus;
    order->tasks = part->tasks;
    order->cpus = part->cpus;
    order->memory_bytes = part->memory_bytes;
    order->disk_bytes = part->disk_bytes;
    fill_across(command, &order->across);
    order->spec_len = (uint32_t)strlen(command->spec_json);
    rc = choose_identity(agent, command, order, err);
    order->shares_count = part->shares_count;
    memcpy(order->shares_ppm, part->shares_ppm, sizeof(order->shares_ppm));
    /* Of another machine they are its own agent's to know. */
    return rc < 0 || !is_here(agent, node->name) ? rc : add_devices(node, part, order, err);
}

static void on_tick(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    if (!agent->executor->ops->tick(agent->executor))
        uv_timer_stop(timer);
    if (agent->executor->ops->discover) /* its logs may be a file server's, which tells nobody */
        logread_resume(agent->logread);
    if (agent->executor->ops->discover && ++agent->ticks_count % LOOK_TICKS == 0)
        saves_look(agent->saves);
    telling_look(&agent->telling, agent->executor, agent->depot, agent->session);
    session_flush(agent->session);
}

void agent_start_tick(struct agent *agent)
{
    if (!uv_is_active((uv_handle_t *)&agent->tick))
        uv_timer_start(&agent->tick, on_tick, EXECUTOR_TICK_MS, EXECUTOR_TICK_MS);
}

/* One machine's part of an attempt over several. */
static int start_part(struct agent *agent, const struct attempt_order *order,
                      const struct wire_part *parts, uint32_t parts_count, const char *spec_json,
                      struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(order->spec_len + (size_t)GANG_BYTES_MAX);
    struct attempt_order part = *order;
    int rc = gang_print(spec_json, parts, parts_count, &part, &text);

    if (rc < 0)
        return err_set(err, rc, "%" PRIu32 " nodes: %s", parts_count, strerror(-rc));
    rc = agent->executor->ops->start(agent->executor, &part, text.data, err);
    explicit_bzero(text.data, text.len); /* secrets */
    return rc;
}

static void start(struct agent *agent, const struct attempt_order *order,
                  const struct wire_part *parts, uint32_t parts_count, const char *spec_json)
{
    const struct executor_ops *ops = agent->executor->ops;
    struct err err = { 0 };
    int rc = ops->start_parts
                 ? ops->start_parts(agent->executor, order, parts, parts_count, spec_json, &err)
             : parts_count > 1 ? start_part(agent, order, parts, parts_count, spec_json, &err)
                               : ops->start(agent->executor, order, spec_json, &err);

    if (rc == -EPIPE) {
        log_error("%s: starting anew", err.text);
        agent->exit_code = 1;
        uv_stop(&agent->loop);
    } else if (rc < 0) {
        tell_not_started(agent, order->key,
                         rc == -ENOTSUP && order->lease ? END_REFUSED : END_START_FAILED, &err);
    } else {
        agent_start_tick(agent);
    }
}

void agent_on_staged(void *context, const struct attempt_order *order,
                     const struct wire_part *parts, uint32_t parts_count, const char *spec_json,
                     int rc, const struct err *err)
{
    struct agent *agent = context;

    if (rc < 0)
        tell_not_started(agent, order->key, END_START_FAILED, err);
    else
        start(agent, order, parts, parts_count, spec_json);
    session_flush(agent->session);
}

static bool has_image(const char *spec_json)
{
    json_t *spec = json_loads(spec_json, 0, NULL);
    bool has = json_object_get(spec, "image") != NULL;

    json_decref(spec);
    return has;
}

static bool starts_once(const char *spec_json)
{
    struct job_spec *spec = NULL;
    bool once = spec_parse_json_text(spec_json, strlen(spec_json), &spec, NULL) == 0 &&
                spec->launch == LAUNCH_ONCE;

    spec_destroy(spec);
    return once;
}

static bool is_whole_here(const struct agent *agent, const struct wire_command *command)
{
    return command->parts_count == 1 && is_here(agent, command->parts[0].node);
}

static bool is_by_criu(const char *spec_json)
{
    json_t *spec;
    const char *by;
    bool is;

    if (!strstr(spec_json, "\"criu\"")) /* most are not: they are not worth a parse */
        return false;
    spec = json_loads(spec_json, 0, NULL);
    by = json_string_value(json_object_get(json_object_get(spec, "checkpoint"), "by"));
    is = by && strcmp(by, "criu") == 0;
    json_decref(spec);
    return is;
}

/* What the engine here does not do, and another site's may. */
static bool engine_bars(const struct agent *agent, const struct wire_command *command,
                        struct err *err)
{
    const struct executor_ops *ops = agent->executor->ops;

    if (command->lease && !ops->keeps_lease(agent->executor))
        return err_set(err, -ENOTSUP,
                       "on_unreachable: move: this %s site cannot promise that its work ends when "
                       "it is not heard",
                       ops->name) < 0;
    if (command->across_count && !ops->tunnels)
        return err_set(err, -ENOTSUP, "a %s site carries no connections to other sites",
                       ops->name) < 0;
    if (command->across_count && ops->is_apart && !is_whole_here(agent, command))
        return err_set(err, -ENOTSUP,
                       "tasks of other sites are reached from the machine of this site's agent "
                       "only") < 0;
    if (ops->is_apart && command->parts_count > 1 && starts_once(command->spec_json))
        return err_set(err, -ENOTSUP,
                       "launch: once: the machines of this site start nothing on each other; with "
                       "launch: each the tasks start by themselves") < 0;
    if (agent->criu.text[0] && is_by_criu(command->spec_json))
        return err_set(err, -ENOTSUP, "checkpoint.by: criu: %.120s", agent->criu.text) < 0;
    if (!ops->images && has_image(command->spec_json))
        return err_set(err, -ENOTSUP, "this site runs no container images") < 0;
    return false;
}

/* The labels of its data, before anything of it is there. */
static int note_labels(struct agent *agent, const struct wire_command *command, struct err *err)
{
    struct labels labels;
    json_t *spec;
    int rc;

    if (!strstr(command->spec_json, "\"data\"")) /* most have none: they are not worth a parse */
        return 0;
    spec = json_loads(command->spec_json, 0, NULL);
    rc = labels_of_spec(spec, &labels);
    json_decref(spec);
    return rc < 0 ? err_set(err, -EACCES, "the labels of its data make no sense")
                  : labels_note(agent->agent_dir, key_of(command->attempt), &labels, err);
}

/* Does it work on data that may not leave? Then what was asked for is refused, and logged. What it
 * works on cannot be read: the same. Gives the label, which is in `labels`. */
static const char *keeps_data(const struct agent *agent, struct attempt_key key, const char *what,
                              struct labels *labels)
{
    const char *kept = labels_recall(agent->agent_dir, key, labels) < 0
                           ? "nobody knows how"
                           : labels_kept(labels, &agent->site.policy);

    if (kept)
        log_warn("job %" PRIu64 ", attempt %" PRIu32
                 ": %s was asked for and is refused: data labelled %s may not leave",
                 key.job_id, key.epoch, what, kept);
    return kept;
}

/* Tasks at other sites are talked to through tunnels, both ways. */
static bool labels_bar(const struct agent *agent, const struct wire_command *command,
                       struct err *err)
{
    struct labels labels;
    const char *kept = command->across_count ? keeps_data(agent, key_of(command->attempt),
                                                          "a part of a gang over sites", &labels)
                                             : NULL;

    return kept && err_set(err, -ENOTSUP,
                           "data labelled %s may not leave this site, and tasks at other sites "
                           "would be reached from here",
                           kept) < 0;
}

static void run(struct agent *agent, const struct wire_command *command)
{
    const struct policy_ask ask = { command->tenant, command->spec_json, command->duration_ms_max };
    struct attempt_order order;
    struct err err = { 0 };
    int rc;

    not_unknown(agent, command->attempt);
    rc = make_order(agent, command, &order, &err);
    if (rc == 0)
        turns_note(agent->turns, order.key, command->spec_json, command->deadline_ms);
    if (rc == 0 && order.across.count &&
        is_whole_here(agent, command)) /* also of one that runs: this agent may have begun anew */
        rc = tunnels_begin(agent->tunnels, order.key, &order.across, &err);
    /* Of several parts, at sites or on machines of one, what the first leaves is the job's. */
    if (rc == 0 && !order.across.self && is_here(agent, command->parts[0].node))
        saves_watch(agent->saves, order.key, command->spec_json, order.uid);
    if (rc == 0 && agent->executor->ops->again)
        agent->executor->ops->again(agent->executor, &order, command->parts, command->parts_count,
                                    command->spec_json);
    if (tell_known(agent, key_of(command->attempt)))
        return;
    if (policy_check(&agent->site.policy, &ask, clock_wall_ms(), &err) < 0) {
        tell_not_started(agent, key_of(command->attempt), END_REFUSED, &err);
        return;
    }
    if (rc == 0)
        rc = note_labels(agent, command, &err);
    if (engine_bars(agent, command, &err) || labels_bar(agent, command, &err)) {
        tell_not_started(agent, key_of(command->attempt), END_REFUSED, &err);
        return;
    }
    if (command->lease && !lease_is_held(&agent->lease)) {
        tell_no_lease(agent, command->attempt);
        return;
    }
    if (rc == 0 && is_here(agent, order.node) && staging_is_needed(command)) {
        rc = staging_begin(agent->staging, &order, command, &err);
        if (rc == 0)
            return;
    }
    if (rc < 0)
        tell_not_started(agent, key_of(command->attempt), END_START_FAILED, &err);
    else
        start(agent, &order, command->parts, command->parts_count, command->spec_json);
}

/* A log of what works on data that may not leave is part of what stays. */
static void read_log(struct agent *agent, const struct wire_command *command)
{
    struct wire_report report = { .type = REPORT_LOG,
                                  .attempt = command->attempt,
                                  .request = command->request,
                                  .offset = MAX(command->offset, 0),
                                  .eof = true };
    struct labels labels;
    char text[256] = "";
    const char *kept =
        command->cancel ? NULL : keeps_data(agent, key_of(command->attempt), "its log", &labels);

    if (!kept) {
        logread_command(agent->logread, command);
        return;
    }
    if (command->offset <= 0)
        snprintf(text, sizeof(text),
                 "mains: this log stays at site %s: data labelled %s may not leave it\n",
                 agent->site.info.name, kept);
    report.data = text;
    report.data_len = (uint32_t)strlen(text);
    session_report(agent->session, &report);
}

/* It never began: that is its end. */
static void tell_stopped(struct agent *agent, const struct wire_command *command)
{
    struct attempt_record record = { .key = key_of(command->attempt), .end = END_STOPPED };

    snprintf(record.reason, sizeof(record.reason), "%s", command->reason);
    tell_record(agent, REPORT_ENDED, &record);
}

static void stop(struct agent *agent, const struct wire_command *command)
{
    struct err err = { 0 };
    int rc;

    if (staging_cancel(agent->staging, key_of(command->attempt))) {
        tunnels_end(agent->tunnels, key_of(command->attempt));
        tell_stopped(agent, command);
        return;
    }
    rc = agent->executor->ops->stop(agent->executor, key_of(command->attempt), command->grace_ms,
                                    command->reason, &err);

    not_unknown(agent, command->attempt);
    if (rc == -ENOENT && !tell_known(agent, key_of(command->attempt)))
        tell_unknown(agent, command->attempt);
    else if (rc < 0 && rc != -ENOENT)
        log_error("%s", err.text);
}

static void suspend(struct agent *agent, const struct wire_command *command)
{
    struct executor *executor = agent->executor;
    struct attempt_key key = key_of(command->attempt);
    bool is_suspended = command->type == WIRE_SUSPEND;
    struct err err = { 0 };
    int rc = executor->ops->suspend
                 ? executor->ops->suspend(executor, key, is_suspended, &err)
                 : err_set(&err, -ENOTSUP, "a %s site does not suspend", executor->ops->name);

    if (rc == -ENOENT) {
        tell_known(agent, key); /* or RECONCILE will ask */
    } else if (rc < 0) {
        log_warn("job %" PRIu64 ": %s", key.job_id, err.text);
        if (is_suspended)
            tell_suspended(agent, key, err.text);
    }
}

void agent_on_command(void *context, const struct wire_command *command)
{
    struct agent *agent = context;
    struct labels labels;

    switch (command->type) {
    case WIRE_RUN:
        run(agent, command);
        break;
    case WIRE_STOP:
        stop(agent, command);
        break;
    case WIRE_RECONCILE:
        agent_take_lease(agent, command);
        depot_gather(agent->depot, true);
        reconcile_with(agent, command);
        reconcile_suspended(agent, command);
        saves_resume(agent->saves);
        staging_resume(agent->staging);
        depot_gather(agent->depot, false);
        pricing_look(agent->pricing);
        telling_begin(&agent->telling);
        telling_look(&agent->telling, agent->executor, agent->depot, agent->session);
        agent_tell_node(agent);
        if (agent_has_nodes(agent))
            nodes_tell_states(agent->executor);
        break;
    case WIRE_SUSPEND:
    case WIRE_RESUME:
        suspend(agent, command);
        break;
    case WIRE_PING:
        break;
    case WIRE_LOG_READ:
        read_log(agent, command);
        break;
    case WIRE_TUNNEL:
        if (keeps_data(agent, key_of(command->attempt), "a tunnel into it", &labels))
            break;
        tunnels_connect(agent->tunnels, key_of(command->attempt), command->request, command->port,
                        command->direct, command->resume);
        break;
    case WIRE_FORGET:
        tunnels_end(agent->tunnels, key_of(command->attempt));
        agent->executor->ops->forget(agent->executor, key_of(command->attempt));
        turns_forget(agent->turns, key_of(command->attempt));
        break;
    case WIRE_RECEIPT:
        receipts_take(agent->receipts, command);
        break;
    case WIRE_PRESTAGE:
        prestage_take(agent->prestage, command);
        break;
    }
}
