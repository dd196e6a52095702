#include "agent/kube_internal.h"

#include "agent/engine_job.h"

#include <unistd.h>

bool kube_keeps_lease(const struct executor *executor)
{
    const struct kube *kube = CONTAINER_OF(executor, struct kube, base);
    int64_t user = kube->settings->run_as_user;

    /* Without a volume there is no guard, and the cluster itself promises nothing: the controller
     * that ends a Job does not reach a node that is cut off. Nor where pods are another user, who
     * can write nothing there. */
    return kube->worker && (user < 0 || user == (int64_t)geteuid());
}

void kube_take_lease(struct executor *executor, const struct lease *lease)
{
    struct kube *kube = CONTAINER_OF(executor, struct kube, base);

    if (kube->worker)
        guard_take_lease(&kube->guard, lease, kube->bound);
}

static uint64_t lease_of(void *context, struct attempt_key key)
{
    const struct kube_attempt *attempt = kube_find(context, key);

    return attempt && attempt->state != ATTEMPT_ENDED && !attempt->stopping && !attempt->ended
               ? attempt->note.lease
               : 0;
}

void kube_answer_guards(struct kube *kube)
{
    if (kube->bound && kube->worker)
        guard_answer(&kube->guard, lease_of, kube);
}

bool kube_lease_has_ended(const struct kube *kube, const struct kube_attempt *attempt,
                          bool went_well)
{
    CLEANUP(closep) int fd = -1;
    int64_t left_ms;

    if (!attempt->note.lease || !kube->worker)
        return false;
    if (!went_well && guard_is_over(&kube->guard, attempt->note.lease, &left_ms))
        return true;
    fd = engine_open_attempt(&kube->place, attempt->key);
    return fd >= 0 && guard_has_ended(fd);
}

/* ---- checkpoints ---- */

bool kube_save_first(struct kube *kube, struct kube_attempt *attempt)
{
    int64_t newest_ms;

    if (!attempt->note.save_signal || !kube->worker || attempt->state != ATTEMPT_RUNNING)
        return false;
    newest_ms = engine_job_saved_ms(&kube->place, attempt->key, attempt->note.save_path);
    if (!engine_job_ask_to_save(&kube->place, attempt->key, &attempt->saves_asked))
        return false;
    save_wait_begin(&attempt->save, newest_ms,
                    kube_now() + attempt->note.grace_ms + EXECUTOR_TICK_MS);
    return true;
}

void kube_lease_tick(struct kube *kube, struct kube_attempt *attempt, int64_t now)
{
    int64_t every_ms = attempt->note.save_every_ms, left_ms;

    if (attempt->state == ATTEMPT_ENDED || attempt->ended || !kube->worker)
        return;
    if (attempt->note.lease && attempt->stop_end != END_LEASE &&
        guard_is_over(&kube->guard, attempt->note.lease, &left_ms)) {
        /* Its guards see to what runs; the rest must never begin. */
        attempt->stop_end = END_LEASE;
        kube_stop(kube, attempt, END_LEASE, left_ms,
                  "the site was not answered by the network for longer than its lease");
    }
    if (attempt->save.until_ms &&
        save_wait_look(&attempt->save,
                       engine_job_saved_ms(&kube->place, attempt->key, attempt->note.save_path),
                       now))
        kube_queue(kube, attempt);
    if (every_ms <= 0 || !attempt->note.save_signal || attempt->state != ATTEMPT_RUNNING ||
        attempt->stopping)
        return;
    if (attempt->save_at_ms && now >= attempt->save_at_ms)
        engine_job_ask_to_save(&kube->place, attempt->key, &attempt->saves_asked);
    if (!attempt->save_at_ms || now >= attempt->save_at_ms)
        attempt->save_at_ms = now + every_ms;
}
