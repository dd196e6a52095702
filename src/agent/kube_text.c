#include "agent/kube_text.h"

#include "agent/kube_resource.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINERS_MAX 64u
#define TAINTS_MAX 64u
#define CONDITIONS_MAX 64u

void kube_text_clean(const char *text, char *out, size_t out_bytes)
{
    size_t len = 0;

    for (; text && *text && len + 1 < out_bytes; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c & 0xc0) == 0x80)
            continue; /* the rest of a character that has its '?' already */
        out[len++] = c == '\n' || c == '\t' ? ' ' : c < 0x20 || c >= 0x7f ? '?' : (char)c;
    }
    out[len] = '\0';
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void take(const json_t *object, const char *key, char *out, size_t out_bytes)
{
    kube_text_clean(text_of(object, key), out, out_bytes);
}

/* ---- numbers and times ---- */

static const struct {
    const char *suffix;
    double factor;
} suffixes[] = {
    { "n", 1e-9 },
    { "u", 1e-6 },
    { "m", 1e-3 },
    { "k", 1e3 },
    { "M", 1e6 },
    { "G", 1e9 },
    { "T", 1e12 },
    { "P", 1e15 },
    { "E", 1e18 },
    { "Ki", 1024.0 },
    { "Mi", 1048576.0 },
    { "Gi", 1073741824.0 },
    { "", 1 },
    { "Ti", 1099511627776. },
    { "Pi", 1125899906842624. },
    { "Ei", 1152921504606846976. },
};

bool kube_quantity_parse(const char *text, int64_t *milli_out)
{
    char *end;
    double value, milli;

    if (!text || strlen(text) > 40 || !strchr("0123456789.", text[0]) || !text[0] ||
        text[1] == 'x' || text[1] == 'X')
        return false;
    value = strtod(text, &end);
    /* 'E' alone is a suffix: strtod leaves it where no digits follow. */
    for (size_t i = 0; end != text && i < ARRAY_COUNT(suffixes); i++) {
        if (strcmp(end, suffixes[i].suffix) != 0)
            continue;
        milli = value * suffixes[i].factor * 1000;
        if (!(milli >= 0))
            return false;
        if (milli >= 9.2e18) {
            *milli_out = INT64_MAX;
        } else {
            *milli_out = (int64_t)milli;
            if ((double)*milli_out < milli)
                ++*milli_out;
        }
        return true;
    }
    return false;
}

int64_t kube_time_ns(const char *text)
{
    char whole[40];
    size_t len = text ? strcspn(text, ".") : 0;
    int64_t ms, fraction = 0, unit = 100000000;
    const char *rest;

    if (!text || len > 30)
        return 0;
    rest = text + len;
    if (*rest == '.')
        for (rest++; *rest >= '0' && *rest <= '9'; rest++) {
            fraction += (*rest - '0') * unit;
            unit /= 10;
        }
    snprintf(whole, sizeof(whole), "%.*s%.8s", (int)len, text, text[len] == '.' ? rest : "");
    if (units_parse_time(whole, &ms, NULL) < 0 || ms < 0)
        return 0;
    return ms > INT64_MAX / 1000000 - 1000 ? 0 : ms * 1000000 + fraction;
}

int64_t kube_time_ms(const char *text)
{
    return kube_time_ns(text) / 1000000;
}

static int64_t time_of(const json_t *object, const char *key)
{
    return kube_time_ms(text_of(object, key));
}

/* A quantity may be written as a number, too. */
static int64_t quantity_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    int64_t milli = 0;

    if (json_is_integer(value) && json_integer_value(value) >= 0)
        return json_integer_value(value) > INT64_MAX / 1000 ? INT64_MAX
                                                            : json_integer_value(value) * 1000;
    return kube_quantity_parse(json_string_value(value), &milli) ? milli : 0;
}

/* ---- nodes ---- */

static bool toleration_fits(const json_t *toleration, const char *key, const char *value,
                            const char *effect)
{
    const char *its_key = text_of(toleration, "key"), *its_effect = text_of(toleration, "effect");
    const char *operator= text_of(toleration, "operator");

    if (its_effect[0] && strcmp(its_effect, effect) != 0)
        return false;
    if (its_key[0] ? strcmp(its_key, key) != 0 : strcmp(operator, "Exists") != 0)
        return false;
    return strcmp(operator, "Exists") == 0 || strcmp(text_of(toleration, "value"), value) == 0;
}

static bool is_tolerated(const json_t *tolerations, const json_t *taint)
{
    const char *effect = text_of(taint, "effect");

    if (strcmp(effect, "PreferNoSchedule") == 0)
        return true;
    for (size_t i = 0; i < json_array_size(tolerations); i++)
        if (toleration_fits(json_array_get(tolerations, i), text_of(taint, "key"),
                            text_of(taint, "value"), effect))
            return true;
    return false;
}

static void read_conditions(const json_t *status, struct kube_node *node)
{
    const json_t *conditions = json_object_get(status, "conditions");
    char text[100];

    snprintf(node->why, sizeof(node->why), "it never told that it is ready");
    for (size_t i = 0; i < MIN(json_array_size(conditions), CONDITIONS_MAX); i++) {
        const json_t *condition = json_array_get(conditions, i);

        if (strcmp(text_of(condition, "type"), "Ready") != 0)
            continue;
        node->ready = strcmp(text_of(condition, "status"), "True") == 0;
        take(condition, "message", text, sizeof(text));
        snprintf(node->why, sizeof(node->why), "not ready%s%s", text[0] ? ": " : "", text);
    }
    if (node->ready)
        node->why[0] = '\0';
}

static void read_taints(const json_t *spec, const json_t *tolerations, struct kube_node *node)
{
    const json_t *taints = json_object_get(spec, "taints");

    node->cordoned = json_is_true(json_object_get(spec, "unschedulable"));
    if (node->cordoned && !node->why[0])
        snprintf(node->why, sizeof(node->why), "cordoned");
    for (size_t i = 0; i < MIN(json_array_size(taints), TAINTS_MAX); i++) {
        const json_t *taint = json_array_get(taints, i);
        char key[80], effect[24];

        if (node->why[0] || is_tolerated(tolerations, taint))
            continue;
        take(taint, "key", key, sizeof(key));
        take(taint, "effect", effect, sizeof(effect));
        snprintf(node->why, sizeof(node->why), "taint %s (%s)", key, effect);
    }
}

static void read_resource(const char *name, const json_t *status, const json_t *labels,
                          struct kube_node *node)
{
    const struct kube_resource *row = kube_resource_find(name);
    struct kube_node_resource *resource = &node->resources[node->resources_count];
    int64_t count = quantity_of(json_object_get(status, "allocatable"), name) / 1000;
    int64_t capacity = quantity_of(json_object_get(status, "capacity"), name) / 1000;
    const char *memory = row && row->memory_label ? text_of(labels, row->memory_label) : "";
    int64_t milli = 0;

    memset(resource, 0, sizeof(*resource));
    kube_text_clean(name, resource->name, sizeof(resource->name));
    resource->count = (uint32_t)MIN(count, (int64_t)NODE_DEVICES_MAX);
    resource->capacity = (uint32_t)MIN(MAX(capacity, count), (int64_t)NODE_DEVICES_MAX);
    if (row && row->product_label)
        take(labels, row->product_label, resource->product, sizeof(resource->product));
    if (row && kube_quantity_parse(memory, &milli) && milli / 1000 < (INT64_C(1) << 42))
        resource->memory_bytes = milli / 1000 * row->memory_unit_bytes;
    if (resource->capacity > 0)
        node->resources_count++;
}

static void read_resources(const json_t *status, const json_t *labels, const json_t *resource_names,
                           struct kube_node *node)
{
    json_t *capacity = json_object_get(status, "capacity");
    const char *name;
    json_t *value;

    if (json_object_size(capacity) == 0)
        capacity = json_object_get(status, "allocatable");
    json_object_foreach (capacity, name, value) {
        (void)value;
        if (node->resources_count < KUBE_NODE_RESOURCES_MAX && strlen(name) < KUBE_LABEL_BYTES &&
            kube_resource_is_device(name, resource_names))
            read_resource(name, status, labels, node);
    }
}

static bool has_labels(const json_t *labels, const json_t *wanted)
{
    json_t *object = json_incref((json_t *)(uintptr_t)wanted), *value;
    const char *key;
    bool all = true;

    json_object_foreach (object, key, value)
        all = all && strcmp(text_of(labels, key), json_string_value(value)) == 0 &&
              json_object_get(labels, key);
    json_decref(object);
    return all;
}

static int compare_resources(const void *a, const void *b)
{
    return strcmp(((const struct kube_node_resource *)a)->name,
                  ((const struct kube_node_resource *)b)->name);
}

bool kube_node_parse(const json_t *json, const struct kube_settings *settings,
                     struct kube_node *node_out)
{
    const json_t *metadata = json_object_get(json, "metadata");
    const json_t *labels = json_object_get(metadata, "labels");
    const json_t *status = json_object_get(json, "status");
    const json_t *info = json_object_get(status, "nodeInfo");
    const json_t *allocatable = json_object_get(status, "allocatable");
    const char *name = text_of(metadata, "name"), *arch = text_of(info, "architecture");

    /* The name is the key of everything: one that does not fit is no node of ours. */
    if (!name[0] || strlen(name) >= sizeof(node_out->name))
        return false;
    memset(node_out, 0, sizeof(*node_out));
    kube_text_clean(name, node_out->name, sizeof(node_out->name));
    kube_text_clean(strcmp(arch, "amd64") == 0   ? "x86_64"
                    : strcmp(arch, "arm64") == 0 ? "aarch64"
                                                 : arch,
                    node_out->arch, sizeof(node_out->arch));
    take(info, "osImage", node_out->os, sizeof(node_out->os));
    node_out->cpu_milli = quantity_of(allocatable, "cpu");
    node_out->memory_bytes = quantity_of(allocatable, "memory") / 1000;
    node_out->disk_bytes = quantity_of(allocatable, "ephemeral-storage") / 1000;
    if (settings->rack_label[0])
        take(labels, settings->rack_label, node_out->rack, sizeof(node_out->rack));
    if (settings->supernode_label[0])
        take(labels, settings->supernode_label, node_out->supernode, sizeof(node_out->supernode));
    node_out->selected = !settings->node_selector || has_labels(labels, settings->node_selector);
    read_conditions(status, node_out);
    read_taints(json_object_get(json, "spec"), settings->tolerations, node_out);
    read_resources(status, labels, settings->resource_names, node_out);
    /* Devices are counted in this order: it must be the same at each look. */
    qsort(node_out->resources, node_out->resources_count, sizeof(node_out->resources[0]),
          compare_resources);
    return true;
}

/* ---- pods of anybody ---- */

static bool is_of_agent(const json_t *metadata, const char *tag)
{
    return strcmp(text_of(json_object_get(metadata, "labels"), KUBE_LABEL_AGENT), tag) == 0;
}

struct sum {
    int64_t cpu, memory, devices;
};

static struct sum sum_of(const json_t *requests, const json_t *resource_names)
{
    json_t *object = json_incref((json_t *)(uintptr_t)requests), *value;
    struct sum sum = { quantity_of(requests, "cpu"), quantity_of(requests, "memory") / 1000, 0 };
    const char *name;

    json_object_foreach (object, name, value) {
        (void)value;
        if (kube_resource_is_device(name, resource_names))
            sum.devices += MIN(quantity_of(requests, name) / 1000, 1000);
    }
    json_decref(object);
    /* No node is so large: sums of what is bounded cannot overflow. */
    sum.cpu = MIN(sum.cpu, INT64_C(1) << 40);
    sum.memory = MIN(sum.memory, INT64_C(1) << 55);
    return sum;
}

/* The scheduler's rule: the containers together, or the largest that runs before them. */
static void add_containers(const json_t *spec, const json_t *resource_names, struct kube_use *use)
{
    const json_t *main = json_object_get(spec, "containers");
    const json_t *before = json_object_get(spec, "initContainers");
    struct sum overhead = sum_of(json_object_get(spec, "overhead"), resource_names);
    struct sum all = { 0 };

    for (size_t i = 0; i < MIN(json_array_size(main), CONTAINERS_MAX); i++) {
        const json_t *resources = json_object_get(json_array_get(main, i), "resources");
        struct sum one = sum_of(json_object_get(resources, "requests"), resource_names);

        all.cpu += one.cpu;
        all.memory += one.memory;
        all.devices += one.devices;
    }
    for (size_t i = 0; i < MIN(json_array_size(before), CONTAINERS_MAX); i++) {
        const json_t *resources = json_object_get(json_array_get(before, i), "resources");
        struct sum one = sum_of(json_object_get(resources, "requests"), resource_names);

        all.cpu = MAX(all.cpu, one.cpu);
        all.memory = MAX(all.memory, one.memory);
        all.devices = MAX(all.devices, one.devices);
    }
    use->cpu_milli = all.cpu + overhead.cpu;
    use->memory_bytes = all.memory + overhead.memory;
    use->devices = (uint32_t)MIN(all.devices, (int64_t)NODE_DEVICES_MAX);
}

static bool has_ended(const char *phase)
{
    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

bool kube_use_parse(const json_t *json, const json_t *resource_names, const char *tag,
                    struct kube_use *use_out)
{
    const json_t *metadata = json_object_get(json, "metadata");
    const json_t *spec = json_object_get(json, "spec");
    const char *uid = text_of(metadata, "uid");

    if (!uid[0] || strlen(uid) >= sizeof(use_out->uid))
        return false;
    memset(use_out, 0, sizeof(*use_out));
    kube_text_clean(uid, use_out->uid, sizeof(use_out->uid));
    take(spec, "nodeName", use_out->node, sizeof(use_out->node));
    use_out->ours = is_of_agent(metadata, tag);
    use_out->ended = has_ended(text_of(json_object_get(json, "status"), "phase"));
    add_containers(spec, resource_names, use_out);
    return true;
}

/* ---- ours ---- */

static bool key_of(const json_t *metadata, struct attempt_key *key_out)
{
    const json_t *labels = json_object_get(metadata, "labels");
    char name[ATTEMPT_NAME_BYTES];

    if (snprintf(name, sizeof(name), "%s.%s", text_of(labels, KUBE_LABEL_JOB),
                 text_of(labels, KUBE_LABEL_EPOCH)) >= (int)sizeof(name))
        return false;
    return attempt_parse_name(name, key_out);
}

static int32_t index_of(const json_t *metadata)
{
    const char *text = text_of(json_object_get(metadata, "annotations"), KUBE_INDEX_ANNOTATION);
    int64_t index;

    return units_parse_int(text, 0, REQUEST_TASKS_MAX - 1, &index, NULL) < 0 ? -1 : (int32_t)index;
}

static void read_container(const json_t *status, struct kube_pod *pod)
{
    const json_t *all = json_object_get(status, "containerStatuses");
    const json_t *state, *waiting, *running, *ended;

    for (size_t i = 0; i < MIN(json_array_size(all), CONTAINERS_MAX); i++) {
        const json_t *container = json_array_get(all, i);

        if (strcmp(text_of(container, "name"), KUBE_CONTAINER) != 0)
            continue;
        state = json_object_get(container, "state");
        waiting = json_object_get(state, "waiting");
        running = json_object_get(state, "running");
        ended = json_object_get(state, "terminated");
        take(waiting, "reason", pod->waiting, sizeof(pod->waiting));
        take(waiting, "message", pod->waiting_text, sizeof(pod->waiting_text));
        pod->began = running || ended;
        pod->ended = ended != NULL;
        pod->started_ms = time_of(running ? running : ended, "startedAt");
        pod->ended_ms = time_of(ended, "finishedAt");
        pod->exit_code =
            (int32_t)MIN(MAX(json_integer_value(json_object_get(ended, "exitCode")), (json_int_t)0),
                         (json_int_t)INT32_MAX);
        take(ended, "reason", pod->ended_reason, sizeof(pod->ended_reason));
        take(ended, "message", pod->ended_text, sizeof(pod->ended_text));
    }
}

static void read_pod_conditions(const json_t *status, struct kube_pod *pod)
{
    const json_t *all = json_object_get(status, "conditions");

    for (size_t i = 0; i < MIN(json_array_size(all), CONDITIONS_MAX); i++) {
        const json_t *condition = json_array_get(all, i);
        const char *type = text_of(condition, "type");
        bool is_true = strcmp(text_of(condition, "status"), "True") == 0;

        if (strcmp(type, "PodScheduled") == 0 && !is_true) {
            take(condition, "reason", pod->pending, sizeof(pod->pending));
            take(condition, "message", pod->pending_text, sizeof(pod->pending_text));
        } else if (strcmp(type, "DisruptionTarget") == 0 && is_true) {
            take(condition, "reason", pod->disrupted, sizeof(pod->disrupted));
            take(condition, "message", pod->disrupted_text, sizeof(pod->disrupted_text));
        }
    }
}

bool kube_pod_parse(const json_t *json, const char *tag, struct kube_pod *pod_out)
{
    const json_t *metadata = json_object_get(json, "metadata");
    const json_t *status = json_object_get(json, "status");

    memset(pod_out, 0, sizeof(*pod_out));
    if (!is_of_agent(metadata, tag) || !key_of(metadata, &pod_out->key))
        return false;
    pod_out->index = index_of(metadata);
    take(metadata, "name", pod_out->name, sizeof(pod_out->name));
    take(metadata, "uid", pod_out->uid, sizeof(pod_out->uid));
    take(json_object_get(json, "spec"), "nodeName", pod_out->node, sizeof(pod_out->node));
    take(status, "phase", pod_out->phase, sizeof(pod_out->phase));
    take(status, "reason", pod_out->reason, sizeof(pod_out->reason));
    take(status, "message", pod_out->message, sizeof(pod_out->message));
    pod_out->deleting = text_of(metadata, "deletionTimestamp")[0] != '\0';
    read_pod_conditions(status, pod_out);
    read_container(status, pod_out);
    /* What the node refused or lost has no container that ended. */
    if (has_ended(pod_out->phase))
        pod_out->ended = true;
    return pod_out->name[0] && pod_out->uid[0];
}

bool kube_job_parse(const json_t *json, const char *tag, struct kube_job *job_out)
{
    const json_t *metadata = json_object_get(json, "metadata");
    const json_t *status = json_object_get(json, "status");
    const json_t *all = json_object_get(status, "conditions");

    memset(job_out, 0, sizeof(*job_out));
    if (!is_of_agent(metadata, tag) || !key_of(metadata, &job_out->key))
        return false;
    take(metadata, "name", job_out->name, sizeof(job_out->name));
    take(metadata, "uid", job_out->uid, sizeof(job_out->uid));
    job_out->deleting = text_of(metadata, "deletionTimestamp")[0] != '\0';
    job_out->suspended = json_is_true(json_object_get(json_object_get(json, "spec"), "suspend"));
    job_out->started_ms = time_of(status, "startTime");
    job_out->ended_ms = time_of(status, "completionTime");
    job_out->active =
        (uint32_t)MIN(MAX(json_integer_value(json_object_get(status, "active")), (json_int_t)0),
                      (json_int_t)REQUEST_TASKS_MAX);
    for (size_t i = 0; i < MIN(json_array_size(all), CONDITIONS_MAX); i++) {
        const json_t *condition = json_array_get(all, i);
        const char *type = text_of(condition, "type");

        if (strcmp(text_of(condition, "status"), "True") != 0)
            continue;
        if (strcmp(type, "Complete") == 0)
            job_out->complete = true;
        if (strcmp(type, "Failed") == 0) {
            job_out->failed = true;
            take(condition, "reason", job_out->reason, sizeof(job_out->reason));
            take(condition, "message", job_out->message, sizeof(job_out->message));
            if (!job_out->ended_ms)
                job_out->ended_ms = time_of(condition, "lastTransitionTime");
        }
    }
    return job_out->name[0] && job_out->uid[0];
}

void kube_object_name(const char *tag, struct attempt_key key, char out[KUBE_NAME_BYTES])
{
    snprintf(out, KUBE_NAME_BYTES, "mains-%.8s-%" PRIu64 "-%" PRIu32, tag, key.job_id, key.epoch);
}
