/* kube_settings.h - how the owner of a Kubernetes cluster lends it: `kubernetes` in site.json.
 *
 *     "kubernetes": {
 *       "kubeconfig": "/home/ops/.kube/config", "context": "lab",  (see kube_config.h)
 *       "namespace": "mains",                      where our objects are; else the context's
 *       "default_image": "docker.io/library/debian:12",  for jobs that name none
 *       "gang": "kueue" | "volcano" | "none",     who admits the pods of a job together
 *       "queue": "lab-queue",                      of Kueue or Volcano
 *       "service_account": "runner", "priority_class": "low", "image_pull_secret": "registry",
 *       "image_wait": "2m",                        how long an image may fail to come
 *       "run_as_user": 1000,
 *       "volume": { "claim": "shared", "path": "/shared" },
 *       "node_selector": { "pool": "gpu" },        nodes that may be used, and pods' nodeSelector
 *       "tolerations": [ { "key": "gpu", "operator": "Exists" } ],
 *       "resource_names": { "example.com/npu": "ascend-910b3" },  resource -> chip kind
 *       "rack_label": "topology.example.com/rack", "supernode_label": "..." }
 *
 * A key that is not known, and a value of the wrong kind, is an error. */
#pragma once

#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

#define KUBE_NAME_BYTES 64u   /* of an object that must be a DNS label, NUL included */
#define KUBE_LABEL_BYTES 320u /* prefix/name of a label or a resource, NUL included */
#define KUBE_IMAGE_BYTES 512u

enum kube_gang { KUBE_GANG_NONE, KUBE_GANG_KUEUE, KUBE_GANG_VOLCANO };

struct kube_settings {
    char kubeconfig[256], context[128];
    char namespace[KUBE_NAME_BYTES];
    char default_image[KUBE_IMAGE_BYTES];
    enum kube_gang gang;
    char queue[KUBE_NAME_BYTES];
    char service_account[KUBE_NAME_BYTES], priority_class[KUBE_NAME_BYTES];
    char image_pull_secret[KUBE_NAME_BYTES];
    char rack_label[KUBE_LABEL_BYTES], supernode_label[KUBE_LABEL_BYTES];
    char volume_claim[KUBE_NAME_BYTES], volume_path[256]; /* both or none */
    int64_t image_wait_ms;
    int64_t run_as_user;    /* -1 = the image's */
    json_t *node_selector;  /* object of texts; NULL = none */
    json_t *tolerations;    /* list as in a pod; NULL = none */
    json_t *resource_names; /* object of texts; NULL = none */
};

/* `json` NULL: all as it is by default. -EINVAL: "kubernetes.KEY: what was expected". */
int kube_settings_parse(const json_t *json, struct kube_settings *settings_out, struct err *err);
void kube_settings_fini(struct kube_settings *settings);
