/* kube_config.h - where a cluster's API server is and how it knows us: a kubeconfig file, or the
 * service account of the pod we are in.
 *
 * Certificates are always checked. What would run a program (exec, auth-provider) or send a
 * password, and what would switch the check off, is refused with one line. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define KUBE_CONFIG_BYTES_MAX (1u << 20)
#define KUBE_IN_CLUSTER_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

struct kube_access {
    char server[300];   /* "https://10.0.0.1:6443": no '/' at its end */
    char namespace[64]; /* "" = not told */
    char *ca_pem;       /* NULL: the system's authorities */
    char *cert_pem, *key_pem;
    char *token;
    char *token_path; /* read again from time to time: it is renewed on disk */
};

void kube_access_fini(struct kube_access *access);
/* `context` "" or NULL: the current one. Errors name `file`. Relative paths in it count from its
 * own folder. */
int kube_access_parse(const char *file, const char *text, size_t len, const char *context,
                      struct kube_access *access_out, struct err *err);
/* `folder`: where the service account is mounted; `host` and `port` as the environment tells. */
int kube_access_in_cluster(const char *folder, const char *host, const char *port,
                           struct kube_access *access_out, struct err *err);
/* The file that is named; else the cluster we are in; else $KUBECONFIG; else ~/.kube/config. */
int kube_access_find(const char *kubeconfig, const char *context, struct kube_access *access_out,
                     struct err *err);
/* The token of `token_path` as it is now; nothing where there is none. */
int kube_access_renew(struct kube_access *access, struct err *err);
