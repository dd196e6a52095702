#include "controller/job_json.h"

#include "controller/seal.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void job_id_print(uint64_t id, uint64_t array_id, uint32_t array_index, char out[JOB_ID_TEXT_BYTES])
{
    if (array_id)
        snprintf(out, JOB_ID_TEXT_BYTES, "%" PRIu64 ".%" PRIu32, array_id, array_index);
    else
        snprintf(out, JOB_ID_TEXT_BYTES, "%" PRIu64, id);
}

static bool parse_number(const char *text, size_t len, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (!len || len > 19 || (len > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return value <= max;
}

bool job_id_parse(const char *text, uint64_t *id_out, bool *is_element_out, uint32_t *index_out)
{
    const char *dot = strchr(text, '.');
    uint64_t id, index = 0;

    if (!parse_number(text, dot ? (size_t)(dot - text) : strlen(text), INT64_MAX, &id) || !id)
        return false;
    if (dot && !parse_number(dot + 1, strlen(dot + 1), UINT32_MAX, &index))
        return false;
    *id_out = id;
    *is_element_out = dot != NULL;
    *index_out = (uint32_t)index;
    return true;
}

const char *job_class_name(uint32_t job_class)
{
    static const char *const names[CLASS_COUNT] = { "low", "normal", "high", "urgent" };

    return job_class < CLASS_COUNT ? names[job_class] : "normal";
}

const char *outcome_name(uint32_t outcome)
{
    static const char *const names[] = { "exited",    "signalled", "time_limit",   "memory",
                                         "disk",      "stopped",   "start_failed", "lost",
                                         "preempted", "shed",      "paused",       "moved",
                                         "lease",     "refused",   "resized",      "made_room" };

    return outcome < ARRAY_COUNT(names) && names[outcome] ? names[outcome] : "unknown";
}

json_t *time_to_json(int64_t unix_ms)
{
    char text[40];

    if (!unix_ms)
        return json_null();
    units_print_time(unix_ms, text, sizeof(text));
    return json_string(text);
}

json_t *usage_to_json(const struct usage *usage)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I}", "wall_ms", (json_int_t)usage->wall_ms,
        "cpu_ms", (json_int_t)usage->cpu_ms, "cpu_held_ms", (json_int_t)usage->cpu_held_ms,
        "device_milli_ms", (json_int_t)usage->device_milli_ms, "memory_peak_bytes",
        (json_int_t)usage->memory_peak_bytes, "energy_mj", (json_int_t)usage->energy_mj,
        "energy_measured", usage->energy_measured, "carbon_ug", (json_int_t)usage->carbon_ug,
        "price_micro", (json_int_t)usage->price_micro);
}

/* Text of the journal that json_string would refuse (not UTF-8) is shown as null. */
static json_t *text_or_null(const char *text)
{
    json_t *json = text && text[0] ? json_string(text) : NULL;

    return json ? json : json_null();
}

static json_t *array_place(uint64_t array_id, uint32_t index, uint32_t count)
{
    char id[JOB_ID_TEXT_BYTES];

    if (!array_id)
        return json_null();
    job_id_print(array_id, 0, 0, id);
    return json_pack("{s:s, s:I, s:I}", "id", id, "index", (json_int_t)index, "count",
                     (json_int_t)count);
}

static json_t *spec_of(const char *stored, size_t len)
{
    json_t *spec = stored && len ? json_loadb(stored, len, 0, NULL) : NULL;

    if (spec)
        json_object_del(spec, "sealed");
    return spec ? spec : json_null();
}

static json_t *spares_to_json(const struct site_info *info, const struct allocation *allocation)
{
    json_t *names = json_array();

    for (uint32_t i = 0; i < allocation->spares_count; i++) {
        uint32_t node = allocation->parts[allocation->parts_count + i].node;

        json_array_append_new(
            names, json_string(info && node < info->nodes_count ? info->nodes[node].name : ""));
    }
    return names;
}

static json_t *allocation_to_json(const struct grid *grid, const struct allocation *allocation)
{
    int site = grid_site_find(grid, allocation->site);
    bool reachable;
    const struct site_info *info =
        site < 0 ? NULL : grid_site_get(grid, (uint32_t)site, &reachable);
    json_t *parts = json_array(), *answer;

    if (!allocation->parts_count) {
        json_decref(parts);
        return json_null();
    }
    for (uint32_t i = 0; i < allocation->parts_count; i++) {
        const struct alloc_part *part = &allocation->parts[i];
        const struct node_info *node =
            info && part->node < info->nodes_count ? &info->nodes[part->node] : NULL;
        json_t *devices = json_array();

        for (uint32_t d = 0; d < part->devices_count; d++) {
            uint32_t index = part->devices[d].index;
            bool known = node && index < node->devices_count;

            json_array_append_new(
                devices, json_pack("{s:I, s:I, s:s}", "index",
                                   (json_int_t)(known ? node->devices[index].index : index),
                                   "milli", (json_int_t)part->devices[d].milli, "chip",
                                   known ? node->devices[index].chip : ""));
        }
        json_array_append_new(
            parts, json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "node", node ? node->name : "",
                             "tasks", (json_int_t)part->tasks, "cpus", (json_int_t)part->cpus,
                             "memory_bytes", (json_int_t)part->memory_bytes, "disk_bytes",
                             (json_int_t)part->disk_bytes, "devices", devices));
    }
    answer = json_pack("{s:s, s:o}", "site", allocation->site, "parts", parts);
    if (allocation->spares_count)
        json_object_set_new(answer, "spares", spares_to_json(info, allocation));
    return answer;
}

static json_t *checkpoint_to_json(const struct job_view *view)
{
    return json_pack("{s:s, s:I, s:I, s:o}", "manifest", view->checkpoint, "epoch",
                     (json_int_t)view->checkpoint_epoch, "bytes",
                     (json_int_t)view->checkpoint_bytes, "saved_at",
                     time_to_json(view->checkpoint_saved_ms));
}

static json_t *across_to_json(const struct across_view *across)
{
    json_t *list = json_array();

    for (uint32_t i = 0; list && i < across->sites_count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:i, s:i, s:b}", "site", across->sites[i].site, "epoch",
                            (json_int_t)across->sites[i].epoch, "first_rank",
                            (int)across->sites[i].first_rank, "tasks", (int)across->sites[i].tasks,
                            "ended", across->sites[i].is_over));
    return list;
}

json_t *job_view_to_json(const struct grid *grid, const struct job_view *view, bool full)
{
    bool ran = view->ended_ms || view->attempts_failed || view->attempts_lost;
    char id[JOB_ID_TEXT_BYTES];
    json_t *json;

    job_id_print(view->id, view->array_id, view->array_index, id);
    json = json_pack(
        "{s:s, s:o, s:o, s:s, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:o, "
        "s:o}",
        "id", id, "array", array_place(view->array_id, view->array_index, view->array_count),
        "name", text_or_null(view->name), "state", job_state_name(view->state), "reason",
        text_or_null(view->reason), "tenant", view->tenant, "user", text_or_null(view->user),
        "class", job_class_name(view->request ? view->request->job_class : CLASS_NORMAL),
        "submitted_at", time_to_json(view->submitted_ms), "started_at",
        time_to_json(view->started_ms), "ended_at", time_to_json(view->ended_ms), "exit_code",
        ran ? json_integer(view->exit_code) : json_null(), "outcome",
        ran ? json_string(outcome_name(view->outcome)) : json_null(), "epoch",
        (json_int_t)view->epoch, "allocation", allocation_to_json(grid, &view->allocation), "usage",
        usage_to_json(&view->usage));
    if (json)
        json_object_set_new(json, "promised_start_at", time_to_json(view->promised_start_ms));
    if (json && view->across.sites_count)
        json_object_set_new(json, "across", across_to_json(&view->across));
    if (json)
        json_object_set_new(json, "suspended", json_boolean(view->suspended));
    if (json && view->suspended_ms)
        json_object_set_new(json, "suspended_ms", json_integer(view->suspended_ms));
    if (json && view->width_max)
        json_object_set_new(
            json, "width",
            json_pack("{s:I, s:I, s:o}", "min", (json_int_t)view->width_min, "max",
                      (json_int_t)view->width_max, "most",
                      view->width_wish ? json_integer(view->width_wish) : json_null()));
    if (json && full)
        json_object_set_new(json, "spec", spec_of(view->spec_json, view->spec_len));
    if (json && full && view->checkpoint[0])
        json_object_set_new(json, "checkpoint", checkpoint_to_json(view));
    return json;
}

json_t *job_row_to_json(const struct history_job *row, bool full)
{
    char id[JOB_ID_TEXT_BYTES];
    json_t *json;

    job_id_print(row->id, row->array_id, row->array_index, id);
    json = json_pack(
        "{s:s, s:o, s:o, s:s, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:n, "
        "s:o}",
        "id", id, "array", array_place(row->array_id, row->array_index, row->array_count), "name",
        text_or_null(row->name), "state", job_state_name(row->state), "reason",
        text_or_null(row->reason), "tenant", row->tenant, "user", text_or_null(row->user), "class",
        row->job_class, "submitted_at", time_to_json(row->submitted_ms), "started_at",
        time_to_json(row->started_ms), "ended_at", time_to_json(row->ended_ms), "exit_code",
        row->epoch ? json_integer(row->exit_code) : json_null(), "outcome",
        row->epoch ? json_string(outcome_name(row->outcome)) : json_null(), "epoch",
        (json_int_t)row->epoch, "allocation", "usage", usage_to_json(&row->usage));
    if (json)
        json_object_set_new(json, "promised_start_at", json_null());
    if (json)
        json_object_set_new(json, "suspended", json_false());
    if (json && full)
        json_object_set_new(json, "spec", spec_of(row->spec, strlen(row->spec)));
    return json;
}

json_t *attempt_row_to_json(const struct history_attempt *attempt)
{
    return json_pack("{s:I, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "epoch",
                     (json_int_t)attempt->epoch, "outcome", outcome_name(attempt->outcome),
                     "exit_code", (int)attempt->exit_code, "site", text_or_null(attempt->site),
                     "nodes", text_or_null(attempt->nodes), "chip", text_or_null(attempt->chip),
                     "granted_at", time_to_json(attempt->granted_ms), "released_at",
                     time_to_json(attempt->released_ms), "usage", usage_to_json(&attempt->usage));
}

enum job_state array_state(const struct array_counts *counts)
{
    if (counts->running)
        return JOB_RUNNING;
    if (counts->queued)
        return JOB_QUEUED;
    if (counts->held)
        return JOB_HELD;
    if (counts->failed)
        return JOB_FAILED;
    return counts->cancelled ? JOB_CANCELLED : JOB_DONE;
}

json_t *array_to_json(uint64_t array_id, uint32_t count, const char *name, const char *tenant,
                      const char *user, const struct array_counts *counts)
{
    char id[JOB_ID_TEXT_BYTES];

    job_id_print(array_id, 0, 0, id);
    return json_pack("{s:s, s:o, s:s, s:s, s:o, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "id", id,
                     "name", text_or_null(name), "state", job_state_name(array_state(counts)),
                     "tenant", tenant, "user", text_or_null(user), "jobs", (json_int_t)count,
                     "counts", "held", (json_int_t)counts->held, "queued",
                     (json_int_t)counts->queued, "running", (json_int_t)counts->running, "done",
                     (json_int_t)counts->done, "failed", (json_int_t)counts->failed, "cancelled",
                     (json_int_t)counts->cancelled);
}
