#include "agent/kube_internal.h"

#include "agent/engine_job.h"
#include "base/log.h"

#include <inttypes.h>
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

static bool ask_to_save(const struct kube *kube, struct kube_attempt *attempt)
{
    CLEANUP(closep) int fd = engine_open_attempt(&kube->place, attempt->key);
    int rc = fd < 0 ? fd : guard_ask_to_save(fd, attempt->saves_asked + 1);

    if (rc < 0)
        log_warn("job %" PRIu64 ": cannot be asked for a checkpoint", attempt->key.job_id);
    else
        attempt->saves_asked++;
    return rc == 0;
}

static int64_t newest_of(const struct kube *kube, const struct kube_attempt *attempt)
{
    CLEANUP(closep) int fd = engine_open_attempt(&kube->place, attempt->key);

    return fd < 0 ? 0 : engine_job_saved_ms(fd, attempt->note.save_path);
}

bool kube_save_first(struct kube *kube, struct kube_attempt *attempt)
{
    if (!attempt->note.save_signal || !kube->worker || attempt->state != ATTEMPT_RUNNING)
        return false;
    attempt->save_newest_ms = newest_of(kube, attempt);
    attempt->save_came = false;
    if (!ask_to_save(kube, attempt))
        return false;
    attempt->save_until_ms = kube_now() + attempt->note.grace_ms + EXECUTOR_TICK_MS;
    return true;
}

/* It is there when it has not changed for one look more. */
static void look_for_save(struct kube *kube, struct kube_attempt *attempt, int64_t now)
{
    int64_t newest_ms = newest_of(kube, attempt);
    bool is_new = newest_ms != attempt->save_newest_ms;

    if ((attempt->save_came && !is_new) || now >= attempt->save_until_ms) {
        attempt->save_until_ms = 0;
        kube_queue(kube, attempt);
        return;
    }
    attempt->save_came = attempt->save_came || is_new;
    attempt->save_newest_ms = newest_ms;
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
    if (attempt->save_until_ms)
        look_for_save(kube, attempt, now);
    if (every_ms <= 0 || !attempt->note.save_signal || attempt->state != ATTEMPT_RUNNING ||
        attempt->stopping)
        return;
    if (attempt->save_at_ms && now >= attempt->save_at_ms)
        ask_to_save(kube, attempt);
    if (!attempt->save_at_ms || now >= attempt->save_at_ms)
        attempt->save_at_ms = now + every_ms;
}
