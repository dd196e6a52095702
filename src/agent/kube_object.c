#include "agent/kube_object.h"

#include "agent/kube_internal.h"
#include "agent/kube_text.h"
#include "base/buf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_BYTES 160u
#define SECOND_MS 1000

void kube_order_free(struct kube_order *order)
{
    if (!order)
        return;
    spec_destroy(order->spec);
    if (order->spec_json)
        explicit_bzero(order->spec_json, strlen(order->spec_json));
    free(order->spec_json);
    free(order);
}

bool kube_order_needs_service(const struct kube_order *order)
{
    return order->note->tasks > 1;
}

bool kube_order_needs_group(const struct kube_order *order)
{
    return order->settings->gang == KUBE_GANG_VOLCANO && order->note->tasks > 1;
}

/* ---- what all objects have ---- */

static void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, json_string(text));
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    set_text(object, key, text);
}

static json_t *make_labels(const struct kube_order *order)
{
    json_t *labels = json_object();

    set_text(labels, "app.kubernetes.io/managed-by", "mains");
    set_text(labels, KUBE_LABEL_AGENT, order->tag);
    set_number(labels, KUBE_LABEL_JOB, order->base.key.job_id);
    set_number(labels, KUBE_LABEL_EPOCH, order->base.key.epoch);
    return labels;
}

static json_t *make_metadata(const struct kube_order *order, const char *uid)
{
    char name[KUBE_NAME_BYTES];
    json_t *metadata = json_object();

    kube_object_name(order->tag, order->base.key, name);
    set_text(metadata, "name", name);
    json_object_set_new(metadata, "labels", make_labels(order));
    if (uid)
        json_object_set_new(metadata, "ownerReferences",
                            json_pack("[{s:s,s:s,s:s,s:s,s:b,s:b}]", "apiVersion", "batch/v1",
                                      "kind", "Job", "name", name, "uid", uid, "controller", 0,
                                      "blockOwnerDeletion", 0));
    return metadata;
}

static json_t *make_object(const struct kube_order *order, const char *version, const char *kind,
                           const char *uid)
{
    return json_pack("{s:s,s:s,s:o}", "apiVersion", version, "kind", kind, "metadata",
                     make_metadata(order, uid));
}

static int finish(json_t *object, bool failed, json_t **json_out, struct err *err)
{
    size_t bytes = object && !failed ? json_dumpb(object, NULL, 0, JSON_COMPACT) : 0;

    if (bytes == 0 || bytes > KUBE_OBJECT_BYTES_MAX) {
        json_decref(object);
        return bytes == 0 ? err_set(err, -ENOMEM, "attempt: out of memory")
                          : err_set(err, -E2BIG,
                                    "command, environment and secrets of the job are larger than "
                                    "what Kubernetes stores (%u bytes)",
                                    KUBE_OBJECT_BYTES_MAX);
    }
    *json_out = object;
    return 0;
}

/* ---- what hangs on the Job ---- */

int kube_object_secret(const struct kube_order *order, const char *uid, json_t **json_out,
                       struct err *err)
{
    const struct job_spec *spec = order->spec;
    json_t *secret = make_object(order, "v1", "Secret", uid), *data = json_object();
    const char *run = kube_pod_text(order, false), *setup = kube_pod_text(order, true);
    char key[NAME_BYTES];

    set_text(secret, "type", "Opaque");
    for (uint32_t i = 0; i < spec->secrets_count; i++) {
        snprintf(key, sizeof(key), "env.%s", spec->secrets[i].name);
        if (spec->secrets[i].value)
            set_text(data, key, spec->secrets[i].value);
    }
    if (run)
        set_text(data, "run", run);
    if (setup)
        set_text(data, "setup", setup);
    json_object_set_new(secret, "stringData", data);
    return finish(secret, false, json_out, err);
}

int kube_object_service(const struct kube_order *order, const char *uid, json_t **json_out,
                        struct err *err)
{
    json_t *service = make_object(order, "v1", "Service", uid), *spec = json_object();

    /* The ranks look for each other before any of them could say that it is ready. */
    set_text(spec, "clusterIP", "None");
    json_object_set_new(spec, "publishNotReadyAddresses", json_true());
    json_object_set_new(spec, "selector", make_labels(order));
    json_object_set_new(service, "spec", spec);
    return finish(service, false, json_out, err);
}

int kube_object_group(const struct kube_order *order, const char *uid, json_t **json_out,
                      struct err *err)
{
    json_t *group = make_object(order, "scheduling.volcano.sh/v1beta1", "PodGroup", uid);
    json_t *spec = json_object();

    json_object_set_new(spec, "minMember", json_integer(order->note->tasks));
    if (order->settings->queue[0])
        set_text(spec, "queue", order->settings->queue);
    if (order->settings->priority_class[0])
        set_text(spec, "priorityClassName", order->settings->priority_class);
    json_object_set_new(group, "spec", spec);
    return finish(group, false, json_out, err);
}

/* ---- where the pods may be ---- */

static json_t *make_affinity(const struct kube_note *note)
{
    json_t *terms = json_array();

    for (uint32_t i = 0; i < note->parts_count; i++)
        json_array_append_new(terms, json_pack("{s:[{s:s,s:s,s:[s]}]}", "matchFields", "key",
                                               "metadata.name", "operator", "In", "values",
                                               note->parts[i].node));
    return json_pack("{s:{s:{s:o}}}", "nodeAffinity",
                     "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", terms);
}

/* As many on each of the nodes, where the scheduler said so. */
static void add_spread(const struct kube_order *order, json_t *spec)
{
    const struct kube_note *note = order->note;

    for (uint32_t i = 0; i < note->parts_count; i++)
        if (note->parts[i].tasks != note->parts[0].tasks)
            return;
    if (note->parts_count > 1 && note->tasks > 1)
        json_object_set_new(spec, "topologySpreadConstraints",
                            json_pack("[{s:i,s:s,s:s,s:{s:o}}]", "maxSkew", 1, "topologyKey",
                                      "kubernetes.io/hostname", "whenUnsatisfiable",
                                      "DoNotSchedule", "labelSelector", "matchLabels",
                                      make_labels(order)));
}

static void add_place(const struct kube_order *order, json_t *spec)
{
    const struct kube_settings *settings = order->settings;

    json_object_set_new(spec, "affinity", make_affinity(order->note));
    add_spread(order, spec);
    if (settings->node_selector)
        json_object_set(spec, "nodeSelector", settings->node_selector);
    if (settings->tolerations)
        json_object_set(spec, "tolerations", settings->tolerations);
    if (settings->priority_class[0])
        set_text(spec, "priorityClassName", settings->priority_class);
    if (settings->service_account[0])
        set_text(spec, "serviceAccountName", settings->service_account);
    if (settings->image_pull_secret[0])
        json_object_set_new(spec, "imagePullSecrets",
                            json_pack("[{s:s}]", "name", settings->image_pull_secret));
    if (settings->gang == KUBE_GANG_VOLCANO)
        set_text(spec, "schedulerName", "volcano");
}

/* ---- the pod ---- */

static json_t *make_volumes(const struct kube_order *order, const char *name)
{
    json_t *volumes = json_array(), *work = json_object();
    int64_t disk = order->spec->request.shape.disk_bytes;

    if (order->work_path[0]) {
        json_array_append_new(volumes,
                              json_pack("{s:s,s:{s:s}}", "name", "shared", "persistentVolumeClaim",
                                        "claimName", order->settings->volume_claim));
        json_decref(work);
    } else {
        if (disk > 0)
            set_number(work, "sizeLimit", (uint64_t)disk);
        json_array_append_new(volumes, json_pack("{s:s,s:o}", "name", "work", "emptyDir", work));
    }
    if (kube_pod_text(order, false) || kube_pod_text(order, true))
        json_array_append_new(volumes, json_pack("{s:s,s:{s:s,s:i}}", "name", "texts", "secret",
                                                 "secretName", name, "defaultMode", 0555));
    return volumes;
}

static json_t *make_mounts(const struct kube_order *order)
{
    json_t *mounts = json_array();

    if (order->work_path[0])
        json_array_append_new(mounts, json_pack("{s:s,s:s}", "name", "shared", "mountPath",
                                                order->settings->volume_path));
    else
        json_array_append_new(mounts,
                              json_pack("{s:s,s:s}", "name", "work", "mountPath", KUBE_WORK));
    if (kube_pod_text(order, false) || kube_pod_text(order, true))
        json_array_append_new(mounts, json_pack("{s:s,s:s,s:b}", "name", "texts", "mountPath",
                                                KUBE_SCRIPT, "readOnly", 1));
    return mounts;
}

static json_t *make_resources(const struct kube_order *order)
{
    const struct request_shape *shape = &order->spec->request.shape;
    uint32_t times = order->spec->launch == LAUNCH_ONCE ? MAX(shape->tasks, 1u) : 1;
    json_t *amounts = json_object(), *all;

    set_number(amounts, "cpu", (uint64_t)shape->cpus * times);
    if (shape->memory_bytes > 0)
        set_number(amounts, "memory", (uint64_t)shape->memory_bytes * times);
    if (shape->disk_bytes > 0)
        set_number(amounts, "ephemeral-storage", (uint64_t)shape->disk_bytes * times);
    if (order->resource[0])
        set_number(amounts, order->resource, (uint64_t)shape->devices_milli / 1000 * times);
    all = json_object();
    json_object_set(all, "requests", amounts);
    json_object_set_new(all, "limits", amounts);
    return all;
}

static json_t *make_container(const struct kube_order *order, const char *name, bool *failed)
{
    json_t *command = kube_pod_command(order), *env = kube_pod_env(order, name);
    const char *image = kube_pod_image(order);

    if (!command || !env) {
        *failed = true;
        json_decref(command);
        json_decref(env);
        return json_object();
    }
    return json_pack("{s:s,s:s,s:o,s:s,s:o,s:o,s:o,s:{s:b,s:{s:[s]}}}", "name", KUBE_CONTAINER,
                     "image", image, "command", command, "workingDir",
                     order->work_path[0] ? order->work_path : KUBE_WORK, "env", env, "resources",
                     make_resources(order), "volumeMounts", make_mounts(order), "securityContext",
                     "allowPrivilegeEscalation", 0, "capabilities", "drop", "ALL");
}

/* On a shared volume both sides read what the other wrote: the pod is this user, too. */
static void add_user(const struct kube_order *order, json_t *security)
{
    int64_t user = order->settings->run_as_user;

    if (user < 0 && order->work_path[0]) {
        user = geteuid();
        json_object_set_new(security, "runAsGroup", json_integer(getegid()));
    }
    if (user < 0)
        return;
    json_object_set_new(security, "runAsUser", json_integer(user));
    if (user > 0)
        json_object_set_new(security, "runAsNonRoot", json_true());
}

static json_t *make_pod_spec(const struct kube_order *order, const char *name, bool *failed)
{
    const struct kube_note *note = order->note;
    json_t *spec = json_object();
    json_t *security = json_pack("{s:{s:s}}", "seccompProfile", "type", "RuntimeDefault");

    set_text(spec, "restartPolicy", "Never");
    /* A user's job has no business with the cluster's API. */
    json_object_set_new(spec, "automountServiceAccountToken", json_false());
    json_object_set_new(spec, "enableServiceLinks", json_false());
    /* The container's first process is then not the first of its namespace, for which signals
     * without a handler would do nothing. */
    json_object_set_new(spec, "shareProcessNamespace", json_true());
    json_object_set_new(spec, "terminationGracePeriodSeconds",
                        json_integer((note->grace_ms + SECOND_MS - 1) / SECOND_MS));
    if (note->duration_ms_max > 0)
        json_object_set_new(spec, "activeDeadlineSeconds",
                            json_integer((note->duration_ms_max + note->grace_ms) / SECOND_MS +
                                         KUBE_DEADLINE_MARGIN_S));
    if (kube_order_needs_service(order))
        set_text(spec, "subdomain", name);
    add_user(order, security);
    json_object_set_new(spec, "securityContext", security);
    add_place(order, spec);
    json_object_set_new(spec, "volumes", make_volumes(order, name));
    json_object_set_new(spec, "containers", json_pack("[o]", make_container(order, name, failed)));
    return spec;
}

static json_t *make_policy(void)
{
    /* Also where a node is taken away: the network gives the work a new epoch, nobody else. The
     * empty list is for servers of 1.25, whose schema asks for one. */
    return json_pack("{s:[{s:s,s:[{s:s,s:s}]},{s:s,s:[],s:{s:s,s:s,s:[i]}}]}", "rules", "action",
                     "FailJob", "onPodConditions", "type", "DisruptionTarget", "status", "True",
                     "action", "FailJob", "onPodConditions", "onExitCodes", "containerName",
                     KUBE_CONTAINER, "operator", "NotIn", "values", 0);
}

static json_t *make_template(const struct kube_order *order, const char *name, bool *failed)
{
    json_t *metadata = json_object();

    json_object_set_new(metadata, "labels", make_labels(order));
    if (kube_order_needs_group(order))
        json_object_set_new(metadata, "annotations",
                            json_pack("{s:s}", "scheduling.k8s.io/group-name", name));
    return json_pack("{s:o,s:o}", "metadata", metadata, "spec", make_pod_spec(order, name, failed));
}

static void annotate(const struct kube_order *order, json_t *job)
{
    json_t *metadata = json_object_get(job, "metadata"), *notes = json_object();

    set_text(notes, "mains.local/name", order->base.name);
    set_text(notes, "mains.local/tenant", order->base.tenant);
    set_text(notes, "mains.local/user", order->base.user);
    set_text(notes, "mains.local/site", order->base.site);
    if (order->base.array_id)
        set_number(notes, "mains.local/array", order->base.array_id);
    json_object_set_new(metadata, "annotations", notes);
    if (order->settings->gang == KUBE_GANG_KUEUE)
        set_text(json_object_get(metadata, "labels"), "kueue.x-k8s.io/queue-name",
                 order->settings->queue);
}

int kube_object_job(const struct kube_order *order, json_t **json_out, struct err *err)
{
    const struct kube_note *note = order->note;
    json_t *job = make_object(order, "batch/v1", "Job", NULL), *spec = json_object();
    char name[KUBE_NAME_BYTES];
    bool failed = false;

    kube_object_name(order->tag, order->base.key, name);
    json_object_set_new(spec, "parallelism", json_integer(note->tasks));
    json_object_set_new(spec, "completions", json_integer(note->tasks));
    set_text(spec, "completionMode", "Indexed");
    json_object_set_new(spec, "backoffLimit", json_integer(0));
    json_object_set_new(spec, "ttlSecondsAfterFinished", json_integer(KUBE_TTL_S));
    json_object_set_new(spec, "podFailurePolicy", make_policy());
    if (!note->dressed || order->settings->gang == KUBE_GANG_KUEUE)
        json_object_set_new(spec, "suspend", json_true());
    json_object_set_new(spec, "template", make_template(order, name, &failed));
    json_object_set_new(job, "spec", spec);
    annotate(order, job);
    return finish(job, failed, json_out, err);
}
