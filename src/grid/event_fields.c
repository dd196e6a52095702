/* One line a field, in the order of the record. Only ever add at the end of a table, with the
 * value that older records mean; docs/journal.md says the same in words. */
#include "grid/event_fields.h"
#include "grid/grid.h"

#include <stddef.h>

#define NUMBER(kind_, type, member)                                                                \
    {                                                                                              \
        .name = #member, .kind = FIELD_##kind_, .offset = offsetof(type, member)                   \
    }
#define TEXT(type, member)                                                                         \
    {                                                                                              \
        .name = #member, .kind = FIELD_TEXT, .offset = offsetof(type, member),                     \
        .bytes = sizeof(((type *)0)->member)                                                       \
    }
#define STRUCT(type, member, table)                                                                \
    {                                                                                              \
        .name = #member, .kind = FIELD_STRUCT, .offset = offsetof(type, member), .of = &(table)    \
    }
#define ARRAY(type, member, count, table)                                                          \
    {                                                                                              \
        .name = #member, .kind = FIELD_ARRAY, .offset = offsetof(type, member),                    \
        .bytes = sizeof(((type *)0)->member[0]), .count_offset = offsetof(type, count),            \
        .max = sizeof(((type *)0)->member) / sizeof(((type *)0)->member[0]), .of = &(table)        \
    }
#define FIXED(type, member, table)                                                                 \
    {                                                                                              \
        .name = #member, .kind = FIELD_FIXED, .offset = offsetof(type, member),                    \
        .bytes = sizeof(((type *)0)->member[0]),                                                   \
        .max = sizeof(((type *)0)->member) / sizeof(((type *)0)->member[0]), .of = &(table)        \
    }
#define LIST(type, member, count, max_, table)                                                     \
    {                                                                                              \
        .name = #member, .kind = FIELD_LIST, .offset = offsetof(type, member),                     \
        .bytes = sizeof(*((type *)0)->member), .count_offset = offsetof(type, count),              \
        .max = (max_), .of = &(table)                                                              \
    }
#define TABLE(name_, list_)                                                                        \
    const struct fields name_ = { .list = (list_), .count = sizeof(list_) / sizeof((list_)[0]) }
#define PLAIN(name_, ...)                                                                          \
    static const struct field name_##_list[] = { { .name = "", __VA_ARGS__ } };                    \
    static const struct fields name_ = { .list = name_##_list, .count = 1, .plain = true }

PLAIN(plain_name, .kind = FIELD_TEXT, .bytes = MODEL_NAME_BYTES);
PLAIN(plain_image, .kind = FIELD_TEXT, .bytes = REQUEST_IMAGE_BYTES);
PLAIN(plain_u8, .kind = FIELD_U8);
PLAIN(plain_metric, .kind = FIELD_I64, .missing = -1);

static const struct field need_list[] = {
    NUMBER(U32, struct request_need, metric),
    NUMBER(I64, struct request_need, least_milli),
};
static TABLE(fields_of_need, need_list);

static const struct field place_list[] = {
    NUMBER(U32, struct request_place, kind),
    NUMBER(U32, struct request_place, deny),
    TEXT(struct request_place, name),
};
static TABLE(fields_of_place, place_list);

static const struct field dep_list[] = {
    NUMBER(U64, struct request_dep, job_id),
    NUMBER(U32, struct request_dep, kind),
};
static TABLE(fields_of_dep, dep_list);

static const struct field access_list[] = {
    TEXT(struct request_access, image),
    ARRAY(struct request_access, labels, labels_count, plain_name),
};
static TABLE(fields_of_access, access_list);

static const struct field apart_list[] = {
    ARRAY(struct request_apart, labels, labels_count, plain_name),
    ARRAY(struct request_apart, avoids, avoids_count, plain_name),
    NUMBER(U32, struct request_apart, level),
    TEXT(struct request_apart, tenant),
};
static TABLE(fields_of_apart, apart_list);

static const struct field shape_list[] = {
    NUMBER(U32, struct request_shape, tasks),
    NUMBER(U32, struct request_shape, tasks_per_node),
    NUMBER(U32, struct request_shape, cpus),
    NUMBER(U32, struct request_shape, devices_milli),
    NUMBER(I64, struct request_shape, memory_bytes),
    NUMBER(I64, struct request_shape, disk_bytes),
    NUMBER(I64, struct request_shape, device_memory_bytes),
    ARRAY(struct request_shape, chips, chips_count, plain_name),
    ARRAY(struct request_shape, needs, needs_count, fields_of_need),
    ARRAY(struct request_shape, places, places_count, fields_of_place),
    NUMBER(U32, struct request_shape, within),
    NUMBER(U32, struct request_shape, within_hard),
    NUMBER(U32, struct request_shape, spread),
    STRUCT(struct request_shape, access, fields_of_access),
    NUMBER(U32, struct request_shape, mixed),
    NUMBER(U32, struct request_shape, sites_max),
    STRUCT(struct request_shape, apart, fields_of_apart),
};
TABLE(fields_of_shape, shape_list);

static const struct field pace_list[] = {
    TEXT(struct request_pace, chip),
    NUMBER(I64, struct request_pace, seconds_milli),
};
static TABLE(fields_of_pace, pace_list);

static const struct field work_list[] = {
    TEXT(struct request_work, class),
    NUMBER(I64, struct request_work, units_milli),
    NUMBER(I64, struct request_work, operations),
    NUMBER(I64, struct request_work, bytes),
    NUMBER(U32, struct request_work, metric),
    ARRAY(struct request_work, paces, paces_count, fields_of_pace),
};
static TABLE(fields_of_work, work_list);

static const struct field good_list[] = {
    NUMBER(U64, struct request_good, name),
    NUMBER(I64, struct request_good, bytes),
};
static TABLE(fields_of_good, good_list);

static const struct field goods_list[] = {
    { .name = "list",
      .kind = FIELD_ARRAY,
      .offset = offsetof(struct request_goods, list),
      .bytes = sizeof(struct request_good),
      .count_offset = offsetof(struct request_goods, count),
      .max = REQUEST_GOODS_MAX,
      .of = &fields_of_good },
    NUMBER(I64, struct request_goods, more_bytes),
};
static TABLE(fields_of_goods, goods_list);

static const struct field request_list[] = {
    NUMBER(U32, struct job_request, job_class),
    NUMBER(U32, struct job_request, objective),
    NUMBER(U32, struct job_request, weight_time_milli),
    NUMBER(U32, struct job_request, weight_money_milli),
    NUMBER(U32, struct job_request, weight_carbon_milli),
    NUMBER(U32, struct job_request, on_unreachable),
    NUMBER(I64, struct job_request, duration_ms_max),
    NUMBER(I64, struct job_request, deadline_ms),
    NUMBER(I64, struct job_request, begin_ms),
    NUMBER(U32, struct job_request, retries_max),
    ARRAY(struct job_request, retry_codes, retry_codes_count, plain_u8),
    NUMBER(U32, struct job_request, requeue_on_loss),
    ARRAY(struct job_request, deps, deps_count, fields_of_dep),
    STRUCT(struct job_request, shape, fields_of_shape),
    NUMBER(U32, struct job_request, checkpoint),
    NUMBER(U32, struct job_request, waits_never),
    STRUCT(struct job_request, work, fields_of_work),
    NUMBER(I64, struct job_request, rpo_ms),
    STRUCT(struct job_request, goods, fields_of_goods),
    NUMBER(I64, struct job_request, price_micro_max),
    NUMBER(U32, struct job_request, tasks_max),
    NUMBER(U32, struct job_request, tasks_step),
    NUMBER(I64, struct job_request, resize_hold_ms),
    NUMBER(U32, struct job_request, spares),
};
TABLE(fields_of_request, request_list);

static const struct field usage_list[] = {
    NUMBER(I64, struct usage, wall_ms),           NUMBER(I64, struct usage, cpu_ms),
    NUMBER(I64, struct usage, cpu_held_ms),       NUMBER(I64, struct usage, device_milli_ms),
    NUMBER(I64, struct usage, memory_peak_bytes), NUMBER(I64, struct usage, energy_mj),
    NUMBER(I64, struct usage, carbon_ug),         NUMBER(I64, struct usage, price_micro),
    NUMBER(BOOL, struct usage, energy_measured),
};
TABLE(fields_of_usage, usage_list);

static const struct field chips_list[] = {
    TEXT(struct chip_figures, kind),
    FIXED(struct chip_figures, metric_milli, plain_metric),
    NUMBER(I32, struct chip_figures, power_watts),
    NUMBER(I32, struct chip_figures, power_idle_watts),
};
TABLE(fields_of_chips, chips_list);

static const struct field device_list[] = {
    TEXT(struct device_info, chip),           TEXT(struct device_info, vendor),
    TEXT(struct device_info, uuid),           NUMBER(U32, struct device_info, index),
    NUMBER(U32, struct device_info, numa),    NUMBER(I64, struct device_info, memory_bytes),
    NUMBER(U32, struct device_info, health),  TEXT(struct device_info, health_text),
    TEXT(struct device_info, visibility_env), TEXT(struct device_info, family),
    TEXT(struct device_info, device_nodes),   TEXT(struct device_info, driver),
};
static TABLE(fields_of_device, device_list);

static const struct field node_list[] = {
    TEXT(struct node_info, name),
    TEXT(struct node_info, cpu_model),
    TEXT(struct node_info, arch),
    TEXT(struct node_info, os),
    NUMBER(U32, struct node_info, cpus),
    NUMBER(U32, struct node_info, numa_count),
    NUMBER(I64, struct node_info, memory_bytes),
    NUMBER(I64, struct node_info, disk_bytes),
    NUMBER(I32, struct node_info, cpu_load_watts),
    NUMBER(I32, struct node_info, cpu_idle_watts),
    NUMBER(BOOL, struct node_info, energy_measured),
    ARRAY(struct node_info, devices, devices_count, fields_of_device),
    TEXT(struct node_info, rack),
    TEXT(struct node_info, supernode),
};
static TABLE(fields_of_node, node_list);

static const struct field tariff_list[] = {
    NUMBER(I64, struct site_tariff, carbon_g_per_kwh_milli),
    NUMBER(I64, struct site_tariff, power_price_micro_per_kwh),
    NUMBER(I64, struct site_tariff, cpu_price_micro_per_hour),
    NUMBER(I64, struct site_tariff, device_price_micro_per_hour),
    TEXT(struct site_tariff, currency),
    NUMBER(BOOL, struct site_tariff, carbon_assumed),
    NUMBER(BOOL, struct site_tariff, price_assumed),
};
static TABLE(fields_of_tariff, tariff_list);

static const struct field site_list[] = {
    TEXT(struct site_info, name),
    TEXT(struct site_info, owner),
    TEXT(struct site_info, region),
    STRUCT(struct site_info, tariff, fields_of_tariff),
    LIST(struct site_info, nodes, nodes_count, SITE_NODES_MAX, fields_of_node),
    NUMBER(BOOL, struct site_info, sandbox_optional),
    NUMBER(BOOL, struct site_info, one_kind),
    NUMBER(BOOL, struct site_info, images),
    NUMBER(BOOL, struct site_info, tunnels),
    NUMBER(BOOL, struct site_info, suspends),
    TEXT(struct site_info, address),
};
TABLE(fields_of_site, site_list);

/* --- events ------------------------------------------------------------------------------- */

/* A member of the event's union, named without its path. */
#define AT(name_, kind_, member)                                                                   \
    {                                                                                              \
        .name = (name_), .kind = FIELD_##kind_, .offset = offsetof(struct event, member)           \
    }
/* With the value that older records mean. */
#define AT_OR(name_, kind_, member, missing_)                                                      \
    {                                                                                              \
        .name = (name_), .kind = FIELD_##kind_, .offset = offsetof(struct event, member),          \
        .missing = (missing_)                                                                      \
    }
#define STRING(name_, member, max_)                                                                \
    {                                                                                              \
        .name = (name_), .kind = FIELD_STRING, .offset = offsetof(struct event, member),           \
        .max = (max_)                                                                              \
    }
#define NAME_MAX_ (MODEL_NAME_BYTES - 1)

static const struct field submitted_list[] = {
    { .name = "request",
      .kind = FIELD_STRUCT,
      .offset = offsetof(struct event, job_submitted.request),
      .of = &fields_of_request },
    STRING("tenant", job_submitted.tenant, NAME_MAX_),
    STRING("user", job_submitted.user, NAME_MAX_),
    STRING("name", job_submitted.name, NAME_MAX_),
    STRING("idempotency_key", job_submitted.idempotency_key, EVENT_TEXT_BYTES_MAX),
    AT("elements_count", U32, job_submitted.elements_count),
    AT("parallel_max", U32, job_submitted.parallel_max),
    { .name = "spec_json",
      .kind = FIELD_BLOB,
      .offset = offsetof(struct event, job_submitted.spec_json),
      .count_offset = offsetof(struct event, job_submitted.spec_len),
      .max = EVENT_BYTES_MAX },
    AT("body_hash", U64, job_submitted.body_hash),
};
static const struct field cancelled_list[] = {
    AT("job_id", U64, job_cancelled.job_id),
    STRING("by", job_cancelled.by, EVENT_TEXT_BYTES_MAX),
    STRING("reason", job_cancelled.reason, EVENT_TEXT_BYTES_MAX),
};
static const struct field joined_list[] = {
    { .name = "site",
      .kind = FIELD_STRUCT,
      .offset = offsetof(struct event, site_joined.site),
      .of = &fields_of_site },
    { .name = "chips",
      .kind = FIELD_LIST,
      .offset = offsetof(struct event, site_joined.chips),
      .bytes = sizeof(struct chip_figures),
      .count_offset = offsetof(struct event, site_joined.chips_count),
      .max = SITE_CHIPS_MAX,
      .of = &fields_of_chips },
};
static const struct field seen_list[] = {
    STRING("site", site_seen.site, NAME_MAX_),
    AT("session", U64, site_seen.session),
    AT("lease_ms", I64, site_seen.lease_ms),
};
static const struct field lost_list[] = {
    STRING("site", site_lost.site, NAME_MAX_),
    AT("session", U64, site_lost.session),
};
static const struct field lease_ended_list[] = {
    STRING("site", lease_ended.site, NAME_MAX_),
    AT("session", U64, lease_ended.session),
};
static const struct field job_move_list[] = {
    AT("job_id", U64, job_move.job_id),
    STRING("to", job_move.to, NAME_MAX_),
    AT("force", BOOL, job_move.force),
    STRING("by", job_move.by, EVENT_TEXT_BYTES_MAX),
    STRING("reason", job_move.reason, EVENT_TEXT_BYTES_MAX),
};
static const struct field started_list[] = {
    AT("job_id", U64, attempt_started.job_id),
    AT("epoch", U32, attempt_started.epoch),
    AT("started_ms", I64, attempt_started.started_ms),
};
static const struct field progress_list[] = {
    AT("job_id", U64, attempt_progress.job_id),
    AT("epoch", U32, attempt_progress.epoch),
    { .name = "usage",
      .kind = FIELD_STRUCT,
      .offset = offsetof(struct event, attempt_progress.usage),
      .of = &fields_of_usage },
    AT("checkpoint_ms", I64, attempt_progress.checkpoint_ms),
    STRING("reason", attempt_progress.reason, EVENT_TEXT_BYTES_MAX),
    AT("stall_ms", I64, attempt_progress.stall_ms),
};
static const struct field ended_list[] = {
    AT("job_id", U64, attempt_ended.job_id),
    AT("epoch", U32, attempt_ended.epoch),
    AT("outcome", U32, attempt_ended.outcome),
    AT("exit_code", I32, attempt_ended.exit_code),
    AT("started_ms", I64, attempt_ended.started_ms),
    AT("ended_ms", I64, attempt_ended.ended_ms),
    { .name = "usage",
      .kind = FIELD_STRUCT,
      .offset = offsetof(struct event, attempt_ended.usage),
      .of = &fields_of_usage },
    STRING("reason", attempt_ended.reason, EVENT_TEXT_BYTES_MAX),
    AT("output", U64, attempt_ended.output.name),
    AT("output_bytes", I64, attempt_ended.output.bytes),
};
static const struct field unknown_list[] = {
    AT("job_id", U64, attempt_unknown.job_id),
    AT("epoch", U32, attempt_unknown.epoch),
};
static const struct field suspended_list[] = {
    AT("job_id", U64, attempt_suspended.job_id),
    AT("epoch", U32, attempt_suspended.epoch),
    AT("suspended", BOOL, attempt_suspended.suspended),
    STRING("reason", attempt_suspended.reason, EVENT_TEXT_BYTES_MAX),
};
static const struct field node_state_list[] = {
    STRING("site", node_state.site, NAME_MAX_),
    STRING("node", node_state.node, NAME_MAX_),
    AT("device", I32, node_state.device),
    AT("cordoned", BOOL, node_state.cordoned),
    STRING("reason", node_state.reason, EVENT_TEXT_BYTES_MAX),
};
static const struct field tenant_list[] = {
    STRING("tenant", tenant_set.tenant, NAME_MAX_),
    AT("cpus_max", I64, tenant_set.cpus_max),
    AT("devices_milli_max", I64, tenant_set.devices_milli_max),
    AT("jobs_max", I64, tenant_set.jobs_max),
    STRING("parent", tenant_set.parent, NAME_MAX_),
    AT_OR("weight_milli", U32, tenant_set.weight_milli, 1000),
    AT("guarantee_cpus", I64, tenant_set.guarantee_cpus),
    AT("guarantee_devices_milli", I64, tenant_set.guarantee_devices_milli),
    AT_OR("budget_micro", I64, tenant_set.budget_micro, -1),
};
static const struct field cells_list[] = {
    STRING("tenant", tenant_cells.tenant, NAME_MAX_),
    STRING("site", tenant_cells.site, NAME_MAX_),
    STRING("chip", tenant_cells.chip, NAME_MAX_),
    AT("nodes", U32, tenant_cells.nodes),
    AT("racks", U32, tenant_cells.racks),
    AT("supernodes", U32, tenant_cells.supernodes),
    AT("pools", U32, tenant_cells.pools),
    STRING("by", tenant_cells.by, EVENT_TEXT_BYTES_MAX),
};
static const struct field policy_list[] = {
    AT("order", U32, policy_set.order),
    AT("preempts", U32, policy_set.preempts),
    STRING("by", policy_set.by, EVENT_TEXT_BYTES_MAX),
    AT("fills", U32, policy_set.fills),
    AT("reservations", U32, policy_set.reservations),
    AT("defrags", U32, policy_set.defrags),
    AT("by_value", U32, policy_set.by_value),
    AT("assigns", U32, policy_set.assigns),
};
static const struct field note_list[] = {
    STRING("text", note.text, EVENT_TEXT_BYTES_MAX),
};
static const struct field forgotten_list[] = {
    STRING("site", site_forgotten.site, NAME_MAX_),
    AT("forgotten", BOOL, site_forgotten.forgotten),
    STRING("by", site_forgotten.by, EVENT_TEXT_BYTES_MAX),
    STRING("reason", site_forgotten.reason, EVENT_TEXT_BYTES_MAX),
};

static const struct field tariff_row_list[] = {
    NUMBER(I64, struct tariff_row, price),
    NUMBER(I64, struct tariff_row, carbon),
    NUMBER(I64, struct tariff_row, green),
    NUMBER(I64, struct tariff_row, cap),
};
static TABLE(fields_of_tariff_row, tariff_row_list);
static const struct field site_tariff_list[] = {
    STRING("site", site_tariff.site, NAME_MAX_),
    AT("kind", U32, site_tariff.kind),
    AT("from_ms", I64, site_tariff.from_ms),
    AT("slot_ms", I64, site_tariff.slot_ms),
    { .name = "rows",
      .kind = FIELD_LIST,
      .offset = offsetof(struct event, site_tariff.rows),
      .bytes = sizeof(struct tariff_row),
      .count_offset = offsetof(struct event, site_tariff.rows_count),
      .max = TARIFF_ROWS_MAX,
      .of = &fields_of_tariff_row },
    STRING("by", site_tariff.by, EVENT_TEXT_BYTES_MAX),
};
static const struct field window_list[] = {
    NUMBER(U32, struct site_window, from_min),
    NUMBER(U32, struct site_window, until_min),
};
static TABLE(fields_of_window, window_list);
static const struct field contact_list[] = {
    NUMBER(I64, struct site_contact, from_ms),
    NUMBER(I64, struct site_contact, until_ms),
    NUMBER(I64, struct site_contact, period_ms),
};
static TABLE(fields_of_contact, contact_list);
static const struct field site_policy_list[] = {
    NUMBER(BOOL, struct site_policy, tenants_told),
    ARRAY(struct site_policy, tenants, tenants_count, plain_name),
    NUMBER(BOOL, struct site_policy, classes_told),
    NUMBER(U32, struct site_policy, classes),
    NUMBER(BOOL, struct site_policy, images_told),
    ARRAY(struct site_policy, images, images_count, plain_image),
    NUMBER(BOOL, struct site_policy, come_told),
    ARRAY(struct site_policy, come, come_count, plain_name),
    NUMBER(BOOL, struct site_policy, leave_told),
    ARRAY(struct site_policy, leave, leave_count, plain_name),
    ARRAY(struct site_policy, here, here_count, plain_name),
    ARRAY(struct site_policy, windows, windows_count, fields_of_window),
    NUMBER(I64, struct site_policy, cpu_hour_micro),
    NUMBER(I64, struct site_policy, device_hour_micro),
    { .name = "cap_watts",
      .kind = FIELD_I64,
      .offset = offsetof(struct site_policy, cap_watts),
      .missing = -1 },
    TEXT(struct site_policy, own_tenant),
    NUMBER(U32, struct site_policy, own_ppm),
    ARRAY(struct site_policy, contacts, contacts_count, fields_of_contact),
    NUMBER(I64, struct site_policy, egress_gb_micro),
    NUMBER(I64, struct site_policy, ingress_gb_micro),
    NUMBER(I64, struct site_policy, link_bytes_s),
};
TABLE(fields_of_site_policy, site_policy_list);
static const struct field owner_list[] = {
    STRING("site", site_policy.site, NAME_MAX_),
    AT("kind", U32, site_policy.kind),
    { .name = "policies",
      .kind = FIELD_LIST,
      .offset = offsetof(struct event, site_policy.policy),
      .bytes = sizeof(struct site_policy),
      .count_offset = offsetof(struct event, site_policy.policies_count),
      .max = 1,
      .of = &fields_of_site_policy },
    AT_OR("cpus", I64, site_policy.limits.cpus, -1),
    AT_OR("devices", I64, site_policy.limits.devices, -1),
    AT_OR("memory_bytes", I64, site_policy.limits.memory_bytes, -1),
    AT_OR("watts", I64, site_policy.limits.watts, -1),
    STRING("by", site_policy.by, EVENT_TEXT_BYTES_MAX),
};
static const struct field shed_list[] = {
    STRING("site", site_shed.site, NAME_MAX_),
    AT("share_ppm", U32, site_shed.share_ppm),
    AT("within_ms", I64, site_shed.within_ms),
    AT("lasts_ms", I64, site_shed.lasts_ms),
    STRING("by", site_shed.by, EVENT_TEXT_BYTES_MAX),
    STRING("reason", site_shed.reason, EVENT_TEXT_BYTES_MAX),
};

static const struct field checkpoint_stored_list[] = {
    AT("job_id", U64, checkpoint_stored.job_id),
    AT("epoch", U32, checkpoint_stored.epoch),
    STRING("site", checkpoint_stored.site, NAME_MAX_),
    STRING("manifest", checkpoint_stored.manifest, CHECKPOINT_NAME_CHARS),
    AT("bytes", I64, checkpoint_stored.bytes),
    AT("saved_ms", I64, checkpoint_stored.saved_ms),
};

static const struct field receipt_list[] = {
    AT("job_id", U64, receipt.job_id),
    AT("epoch", U32, receipt.epoch),
    STRING("site", receipt.site, NAME_MAX_),
    AT("verdict", U32, receipt.verdict),
    STRING("text", receipt.text, RECEIPT_TEXT_BYTES - 1),
    STRING("signature", receipt.signature, RECEIPT_SIGNATURE_BYTES - 1),
    STRING("key", receipt.key, RECEIPT_KEY_BYTES - 1),
};
static const struct field wait_list[] = {
    NUMBER(U32, struct freight_wait, has_devices),
    NUMBER(U32, struct freight_wait, nodes_max),
    NUMBER(U32, struct freight_wait, pending),
    NUMBER(I64, struct freight_wait, wait_ms),
};
static TABLE(fields_of_wait, wait_list);
static const struct field site_queue_list[] = {
    STRING("site", site_queue.site, NAME_MAX_),
    { .name = "waits",
      .kind = FIELD_LIST,
      .offset = offsetof(struct event, site_queue.waits),
      .bytes = sizeof(struct freight_wait),
      .count_offset = offsetof(struct event, site_queue.waits_count),
      .max = FREIGHT_WAITS_MAX,
      .of = &fields_of_wait },
};
static const struct field site_link_list[] = {
    STRING("site", site_link.site, NAME_MAX_),
    AT("down_bytes_s", I64, site_link.down_bytes_s),
    AT("up_bytes_s", I64, site_link.up_bytes_s),
};
static const struct field job_resize_list[] = {
    AT("job_id", U64, job_resize.job_id),
    AT("tasks", U32, job_resize.tasks),
    STRING("by", job_resize.by, EVENT_TEXT_BYTES_MAX),
    STRING("reason", job_resize.reason, EVENT_TEXT_BYTES_MAX),
};

static const struct {
    const char *name;
    struct fields fields;
} types[] = {
#define TYPE(number, name_, list_)                                                                 \
    [number] = { name_, { .list = (list_), .count = sizeof(list_) / sizeof((list_)[0]) } }
    TYPE(EVENT_JOB_SUBMITTED, "job_submitted", submitted_list),
    TYPE(EVENT_JOB_CANCELLED, "job_cancelled", cancelled_list),
    TYPE(EVENT_SITE_JOINED, "site_joined", joined_list),
    TYPE(EVENT_SITE_SEEN, "site_seen", seen_list),
    TYPE(EVENT_SITE_LOST, "site_lost", lost_list),
    [EVENT_PASS] = { "pass", { 0 } },
    [EVENT_TICK] = { "tick", { 0 } },
    TYPE(EVENT_ATTEMPT_STARTED, "attempt_started", started_list),
    TYPE(EVENT_ATTEMPT_PROGRESS, "attempt_progress", progress_list),
    TYPE(EVENT_ATTEMPT_ENDED, "attempt_ended", ended_list),
    TYPE(EVENT_ATTEMPT_UNKNOWN, "attempt_unknown", unknown_list),
    TYPE(EVENT_NODE_STATE, "node_state", node_state_list),
    TYPE(EVENT_TENANT_SET, "tenant_set", tenant_list),
    TYPE(EVENT_NOTE, "note", note_list),
    TYPE(EVENT_SITE_FORGOTTEN, "site_forgotten", forgotten_list),
    TYPE(EVENT_SITE_TARIFF, "site_tariff", site_tariff_list),
    TYPE(EVENT_SITE_SHED, "site_shed", shed_list),
    TYPE(EVENT_POLICY_SET, "policy_set", policy_list),
    TYPE(EVENT_LEASE_ENDED, "lease_ended", lease_ended_list),
    TYPE(EVENT_JOB_MOVE, "job_move", job_move_list),
    TYPE(EVENT_SITE_POLICY, "site_policy", owner_list),
    TYPE(EVENT_CHECKPOINT_STORED, "checkpoint_stored", checkpoint_stored_list),
    TYPE(EVENT_JOB_RESIZE, "job_resize", job_resize_list),
    TYPE(EVENT_RECEIPT, "receipt", receipt_list),
    TYPE(EVENT_SITE_QUEUE, "site_queue", site_queue_list),
    TYPE(EVENT_SITE_LINK, "site_link", site_link_list),
    TYPE(EVENT_ATTEMPT_SUSPENDED, "attempt_suspended", suspended_list),
    TYPE(EVENT_TENANT_CELLS, "tenant_cells", cells_list),
};

const struct fields *event_fields(unsigned type)
{
    if (type >= ARRAY_COUNT(types) || !types[type].name)
        return NULL;
    return &types[type].fields;
}

const char *event_type_name(enum event_type type)
{
    if ((unsigned)type >= ARRAY_COUNT(types) || !types[type].name)
        return "unknown";
    return types[type].name;
}
