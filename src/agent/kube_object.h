/* kube_object.h - an attempt as objects of Kubernetes.
 *
 * One batch/v1 Job per attempt, with one pod per task: `Indexed`, as many at once as there are,
 * none started a second time (backoffLimit 0, restartPolicy Never, podFailurePolicy FailJob). What
 * hangs on it, with the Job as its owner so that it goes with it:
 *     Secret    the values of secrets, and the texts `run` and `setup`
 *     Service   headless: the pods' addresses, where there is more than one
 *     PodGroup  of Volcano, where that admits gangs
 * A Job that needs any of them is made suspended and let go once they are there. The
 * pods may run on the nodes that the scheduler chose and on no other. */
#pragma once

#include "agent/engine_part.h"
#include "agent/kube_settings.h"
#include "base/arena.h"
#include "model/spec.h"

#include <jansson.h>

#define KUBE_OBJECT_BYTES_MAX (1u << 20) /* what the API server stores in one piece, about */
#define KUBE_TASKS_MAX 4096u
#define KUBE_TTL_S 86400 /* an ended Job that nobody takes away goes by itself */
#define KUBE_DEADLINE_MARGIN_S 900
#define KUBE_MOUNT "/mains"
#define KUBE_WORK KUBE_MOUNT "/work" /* where there is no volume */

/* What is kept of an attempt while it lives, also on disk: `kubernetes` in its folder. */
struct kube_note {
    struct attempt_key key;
    int64_t begun_ms, duration_ms_max, grace_ms;
    int64_t log_bytes_max;
    uint64_t lease;        /* that it must not outlive; 0 = none */
    int32_t save_signal;   /* asks for a checkpoint; 0 = it takes none */
    int64_t save_every_ms; /* so often; 0 = never but before a stop */
    char save_path[256];   /* in its work folder */
    uint64_t array_id;
    uint32_t array_index, array_count;
    char user[MODEL_NAME_BYTES];
    uint32_t tasks; /* pods */
    bool dressed;   /* all that hangs on the Job is there, and it was let go */
    bool staged;    /* it has a work folder on the volume, with outputs to collect */
    uint32_t parts_count;
    struct engine_part *parts; /* owned */
};
void kube_note_fini(struct kube_note *note);
int kube_note_write(int attempt_fd, const struct kube_note *note);
int kube_note_read(int attempt_fd, struct attempt_key key, struct kube_note *note_out);

struct kube_order {            /* all that making the objects needs */
    struct attempt_order base; /* devices[0] tells the kind of device */
    const struct kube_note *note;
    const struct kube_settings *settings;
    struct job_spec *spec; /* owned, as is what follows */
    char *spec_json;
    char tag[16];
    char resource[KUBE_LABEL_BYTES]; /* "nvidia.com/gpu"; "" = no device */
    char work_path[512];             /* on the volume; "" = none */
    const char *agent_dir;           /* on it, too, then; borrowed */
    char folder[512];                /* the attempt's, there */
    bool restored;                   /* there is a checkpoint in it to go on from */
};
void kube_order_free(struct kube_order *order);
/* A guard starts the job in each pod (agent/guard.h). */
bool kube_order_is_guarded(const struct kube_order *order);
#define KUBE_GUARD_FILE "guard" /* in the attempt's folder */

/* What this site cannot do, in one line: -ENOTSUP, -EINVAL, -EACCES. */
int kube_order_check(const struct kube_order *order, struct err *err);
bool kube_order_needs_secret(const struct kube_order *order);
bool kube_order_needs_service(const struct kube_order *order);
bool kube_order_needs_group(const struct kube_order *order);

/* New references. -E2BIG; -ENOMEM. */
int kube_object_job(const struct kube_order *order, json_t **json_out, struct err *err);
/* `uid` of the Job. */
int kube_object_secret(const struct kube_order *order, const char *uid, json_t **json_out,
                       struct err *err);
int kube_object_service(const struct kube_order *order, const char *uid, json_t **json_out,
                        struct err *err);
int kube_object_group(const struct kube_order *order, const char *uid, json_t **json_out,
                      struct err *err);
