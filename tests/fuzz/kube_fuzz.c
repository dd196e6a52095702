/* kube_fuzz.c - what a Kubernetes API server says, and what an owner's kubeconfig holds. The first
 * byte chooses the reader. */
#include "agent/kube_internal.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t bytes)
{
    size_t len = strnlen(text, bytes);

    assert(len < bytes);
    for (size_t i = 0; i < len; i++)
        assert(text[i] >= 0x20 && text[i] < 0x7f);
}

static void see_node(const json_t *json)
{
    struct kube_settings settings = { .run_as_user = -1, .rack_label = "r" };
    struct kube_node node;

    if (!kube_node_parse(json, &settings, &node))
        return;
    check_text(node.name, sizeof(node.name));
    check_text(node.os, sizeof(node.os));
    check_text(node.why, sizeof(node.why));
    check_text(node.rack, sizeof(node.rack));
    assert(node.name[0] && node.cpu_milli >= 0 && node.memory_bytes >= 0 && node.disk_bytes >= 0);
    assert(node.resources_count <= KUBE_NODE_RESOURCES_MAX);
    for (uint32_t i = 0; i < node.resources_count; i++) {
        check_text(node.resources[i].product, sizeof(node.resources[i].product));
        assert(node.resources[i].count <= node.resources[i].capacity &&
               node.resources[i].capacity <= NODE_DEVICES_MAX &&
               node.resources[i].memory_bytes >= 0);
    }
}

static void see_pod(const json_t *json)
{
    struct kube_outcome outcome;
    struct kube_use use;
    struct kube_pod pod;

    if (kube_use_parse(json, NULL, "0123abcd", &use)) {
        assert(use.uid[0] && use.cpu_milli >= 0 && use.memory_bytes >= 0);
        assert(use.devices <= NODE_DEVICES_MAX);
        check_text(use.node, sizeof(use.node));
    }
    if (!kube_pod_parse(json, "0123abcd", &pod))
        return;
    assert(pod.name[0] && pod.uid[0] && pod.index >= -1 && pod.exit_code >= 0);
    check_text(pod.waiting_text, sizeof(pod.waiting_text));
    check_text(pod.pending_text, sizeof(pod.pending_text));
    (void)kube_outcome_trouble(&pod);
    if (kube_outcome_of_pod(&pod, &outcome)) {
        assert(outcome.end <= END_LOST && outcome.exit_code >= 0 && outcome.exit_code <= 255);
        check_text(outcome.reason, sizeof(outcome.reason));
    }
}

static void see_job(const json_t *json)
{
    struct kube_job job;

    if (!kube_job_parse(json, "0123abcd", &job))
        return;
    assert(job.name[0] && job.uid[0] && job.ended_ms >= 0);
    check_text(job.reason, sizeof(job.reason));
    check_text(job.message, sizeof(job.message));
}

static void see_watch(const char *text, size_t size)
{
    const json_t *object;
    const char *type;
    json_t *root = NULL;
    char version[64];
    int code;

    if (!kube_watch_parse(text, size, &root, &type, &object, version, &code))
        return;
    assert(strlen(version) < sizeof(version) && !strpbrk(version, "&?# \n"));
    json_decref(root);
}

static void see_config(const char *text, size_t size)
{
    struct kube_access access = { 0 };
    struct err err;

    if (kube_access_parse("k", text, size, NULL, &access, &err) < 0)
        return;
    assert(strncmp(access.server, "https://", 8) == 0 ||
           (strncmp(access.server, "http://", 7) == 0 && !access.token));
    kube_access_fini(&access);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    json_t *json;
    int64_t ns;

    if (size == 0 || size > 65536)
        return 0;
    size--;
    switch (data[0]) {
    case 'W':
        see_watch(text, size);
        return 0;
    case 'L':
        if (kube_log_parse_line(text, size, &ns))
            assert(ns > 0);
        return 0;
    case 'C':
        see_config(text, size);
        return 0;
    default:
        break;
    }
    json = json_loadb(text, size, 0, NULL);
    if (data[0] == 'N')
        see_node(json);
    else if (data[0] == 'P')
        see_pod(json);
    else if (data[0] == 'J')
        see_job(json);
    json_decref(json);
    return 0;
}
