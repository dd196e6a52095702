/* kube_text.h - what the API server says of nodes, pods and jobs, read into small structs.
 *
 * Everything here comes from outside: what is missing is 0 or "", what is too long is cut, texts
 * are cleaned to printable ASCII, counts have ceilings. */
#pragma once

#include "agent/attempt.h"
#include "agent/kube_settings.h"

#include <jansson.h>

#define KUBE_UID_BYTES 40u
#define KUBE_TEXT_BYTES 160u
#define KUBE_NODE_RESOURCES_MAX 4u
#define KUBE_CONTAINER "main" /* the one of ours in each pod */

/* Labels and annotations of all that is ours. */
#define KUBE_LABEL_AGENT "mains.local/agent" /* the tag: tells agents in one namespace apart */
#define KUBE_LABEL_JOB "mains.local/job"
#define KUBE_LABEL_EPOCH "mains.local/epoch"
#define KUBE_LABEL_SITE "mains.local/site"
#define KUBE_INDEX_ANNOTATION "batch.kubernetes.io/job-completion-index"

struct kube_node_resource { /* devices of one kind of plugin */
    char name[KUBE_LABEL_BYTES];
    uint32_t count, capacity; /* count: those that the plugin calls healthy */
    char product[96];
    int64_t memory_bytes; /* of one; 0 = not told */
};
struct kube_node {
    char name[MODEL_NAME_BYTES];
    char arch[16], os[96];
    bool ready, cordoned;
    bool selected;                               /* has the labels of the owner's node_selector */
    char why[KUBE_TEXT_BYTES];                   /* it takes no pods of ours: why; "" = it does */
    int64_t cpu_milli, memory_bytes, disk_bytes; /* allocatable */
    char rack[MODEL_NAME_BYTES], supernode[MODEL_NAME_BYTES];
    uint32_t resources_count;
    struct kube_node_resource resources[KUBE_NODE_RESOURCES_MAX];
};

struct kube_use { /* what a pod asks of its node */
    char uid[KUBE_UID_BYTES];
    char node[MODEL_NAME_BYTES]; /* "" = not bound yet */
    bool ended;                  /* it holds nothing any more */
    bool ours;
    int64_t cpu_milli, memory_bytes;
    uint32_t devices;
};

struct kube_pod { /* one of ours */
    struct attempt_key key;
    int32_t index; /* rank; -1 = none told */
    char name[KUBE_NAME_BYTES + 16];
    char uid[KUBE_UID_BYTES];
    char node[MODEL_NAME_BYTES];
    char phase[16]; /* "Pending", "Running", ... */
    bool deleting;
    char reason[48], message[KUBE_TEXT_BYTES];           /* of the pod: "Evicted" */
    char pending[48], pending_text[KUBE_TEXT_BYTES];     /* why it is not scheduled */
    char waiting[48], waiting_text[KUBE_TEXT_BYTES];     /* why its container does not run */
    char disrupted[48], disrupted_text[KUBE_TEXT_BYTES]; /* condition DisruptionTarget */
    bool began, ended;                                   /* its container */
    int64_t started_ms, ended_ms;                        /* 0 = not told */
    int32_t exit_code;
    char ended_reason[48], ended_text[KUBE_TEXT_BYTES]; /* "OOMKilled" */
};

struct kube_job {
    struct attempt_key key;
    char name[KUBE_NAME_BYTES];
    char uid[KUBE_UID_BYTES];
    bool suspended, deleting;
    bool complete, failed;
    int64_t started_ms, ended_ms;
    uint32_t active;
    char reason[48], message[KUBE_TEXT_BYTES]; /* of the failure */
};

/* "100m", "1.5", "2Gi", "1e3", "128974848": in 1/1000, rounded up; past int64 it is INT64_MAX.
 * False: no quantity, or negative. */
bool kube_quantity_parse(const char *text, int64_t *milli_out);
/* "2026-11-22T09:00:00Z", with or without a fraction; 0 = no time. Unix nanoseconds. */
int64_t kube_time_ns(const char *text);
int64_t kube_time_ms(const char *text);

/* False: not the object it should be (no name). `tag`: of this agent. */
bool kube_node_parse(const json_t *json, const struct kube_settings *settings,
                     struct kube_node *node_out);
bool kube_use_parse(const json_t *json, const json_t *resource_names, const char *tag,
                    struct kube_use *use_out);
/* Also false when it is not of this agent. */
bool kube_pod_parse(const json_t *json, const char *tag, struct kube_pod *pod_out);
bool kube_job_parse(const json_t *json, const char *tag, struct kube_job *job_out);

/* The name of an attempt's objects: "mains-<tag>-<job>-<epoch>". */
void kube_object_name(const char *tag, struct attempt_key key, char out[KUBE_NAME_BYTES]);
/* `text` into `out`, printable ASCII on one line. */
void kube_text_clean(const char *text, char *out, size_t out_bytes);
