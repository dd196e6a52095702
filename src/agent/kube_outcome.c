#include "agent/kube_internal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SIGNAL_BASE 128

static bool is_one_of(const char *text, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(text, *list) == 0)
            return true;
    return false;
}

static void say(struct kube_outcome *out, enum attempt_end end, const char *what, const char *why)
{
    out->end = end;
    out->exit_code = 0;
    snprintf(out->reason, sizeof(out->reason), "%.60s%s%.98s", what, why[0] ? ": " : "", why);
}

/* What befell the pod from outside of its container. */
static bool read_pod_reason(const struct kube_pod *pod, struct kube_outcome *out)
{
    /* The node would not have it, or lost it: the work is fit to run elsewhere. */
    static const char *const lost[] = { "NodeLost",
                                        "NodeShutdown",
                                        "Terminated",
                                        "Shutdown",
                                        "Preempting",
                                        "NodeAffinity",
                                        "Preempted",
                                        "UnexpectedAdmissionError",
                                        "OutOfcpu",
                                        "OutOfmemory",
                                        "OutOfpods",
                                        "OutOfephemeral-storage",
                                        "TopologyAffinityError",
                                        NULL };

    if (strcmp(pod->reason, "DeadlineExceeded") == 0) {
        say(out, END_TIME_LIMIT, "its time was over, says Kubernetes", "");
        return true;
    }
    if (strcmp(pod->reason, "Evicted") == 0) {
        bool disk = strstr(pod->message, "ephemeral local storage usage exceeds") ||
                    strstr(pod->message, "Usage of EmptyDir volume");

        say(out, disk ? END_DISK : END_LOST, "evicted", pod->message);
        return true;
    }
    if (is_one_of(pod->reason, lost) || strncmp(pod->reason, "OutOf", 5) == 0) {
        say(out, END_LOST, pod->reason, pod->message);
        return true;
    }
    if (pod->disrupted[0]) {
        say(out, END_LOST, pod->disrupted, pod->disrupted_text);
        return true;
    }
    return false;
}

bool kube_outcome_of_pod(const struct kube_pod *pod, struct kube_outcome *out)
{
    static const char *const not_begun[] = { "ContainerCannotRun", "StartError",
                                             "ContainerCreateFailed", NULL };
    int number = pod->exit_code - SIGNAL_BASE;

    memset(out, 0, sizeof(*out));
    out->ended_ms = pod->ended_ms;
    if (strcmp(pod->phase, "Succeeded") == 0 ||
        (pod->began && pod->ended && pod->exit_code == 0 && strcmp(pod->phase, "Failed") != 0))
        return false;
    if (read_pod_reason(pod, out))
        return true;
    if (!pod->ended)
        return false;
    if (!pod->ended_reason[0] && !pod->began) {
        say(out, END_LOST, pod->reason[0] ? pod->reason : "its pod failed", pod->message);
    } else if (strcmp(pod->ended_reason, "OOMKilled") == 0) {
        say(out, END_MEMORY, "out of memory, says Kubernetes", "");
    } else if (is_one_of(pod->ended_reason, not_begun)) {
        say(out, END_START_FAILED, "its container cannot start", pod->ended_text);
    } else if (strcmp(pod->ended_reason, "ContainerStatusUnknown") == 0) {
        say(out, END_LOST, "its node lost sight of it", pod->ended_text);
    } else if (number > 0 && number < NSIG) {
        out->end = END_SIGNALLED;
        out->exit_code = number;
        snprintf(out->reason, sizeof(out->reason), "killed by signal %d", number);
    } else {
        out->end = END_EXITED;
        out->exit_code = pod->exit_code ? MIN(pod->exit_code, 255) : 1;
        snprintf(out->reason, sizeof(out->reason), "exit status %d", out->exit_code);
    }
    return true;
}

/* What was ended because another had failed says nothing: those come later, and are being
 * deleted. */
static bool is_before(const struct kube_pod *a, const struct kube_pod *b)
{
    if (a->deleting != b->deleting)
        return !a->deleting;
    if (a->ended_ms != b->ended_ms)
        return a->ended_ms < b->ended_ms;
    return a->index < b->index;
}

void kube_outcome_of_job(const struct kube_job *job, const struct kube_rank *ranks, uint32_t count,
                         struct kube_outcome *out)
{
    const struct kube_pod *first = NULL;
    struct kube_outcome outcome;
    int64_t last_ms = job->ended_ms;

    for (uint32_t i = 0; i < count; i++) {
        if (!ranks[i].known)
            continue;
        last_ms = MAX(last_ms, ranks[i].pod.ended_ms);
        if (kube_outcome_of_pod(&ranks[i].pod, &outcome) &&
            (!first || is_before(&ranks[i].pod, first)))
            first = &ranks[i].pod;
    }
    memset(out, 0, sizeof(*out));
    if (first && !job->complete) {
        kube_outcome_of_pod(first, out);
        if (count > 1) {
            char text[ATTEMPT_REASON_BYTES];

            snprintf(text, sizeof(text), "task %d: %.140s", first->index, out->reason);
            snprintf(out->reason, sizeof(out->reason), "%s", text);
        }
    } else if (job->failed) {
        if (strcmp(job->reason, "DeadlineExceeded") == 0)
            say(out, END_TIME_LIMIT, "its time was over, says Kubernetes", "");
        else
            say(out, END_LOST, job->reason[0] ? job->reason : "its Job failed", job->message);
    }
    out->ended_ms = last_ms;
}

enum kube_trouble kube_outcome_trouble(const struct kube_pod *pod)
{
    /* An image may come when its registry answers again; a secret is made a moment later. */
    static const char *const waiting[] = { "ErrImagePull",
                                           "ImagePullBackOff",
                                           "ImageInspectError",
                                           "RegistryUnavailable",
                                           "CreateContainerError",
                                           "CreateContainerConfigError",
                                           NULL };
    static const char *const hopeless[] = { "InvalidImageName", "ErrImageNeverPull", NULL };

    if (pod->began || !pod->waiting[0])
        return KUBE_TROUBLE_NONE;
    if (is_one_of(pod->waiting, hopeless))
        return KUBE_TROUBLE_HOPELESS;
    return is_one_of(pod->waiting, waiting) ? KUBE_TROUBLE_IMAGE : KUBE_TROUBLE_NONE;
}
