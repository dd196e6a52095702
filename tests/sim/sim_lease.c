#include "sim_lease.h"

bool sim_lease_binds(const struct job_request *request)
{
    return request->on_unreachable == UNREACHABLE_MOVE && request->requeue_on_loss;
}

void sim_lease_heard(struct sim_lease *lease, int64_t now_ms)
{
    lease->surely_ms = MAX(lease->surely_ms, now_ms + SIM_LEASE_SURELY_MS);
}

void sim_lease_renew(struct sim_lease *lease, int64_t sent_ms, int64_t now_ms)
{
    if (sent_ms + SIM_LEASE_MS > now_ms)
        lease->ends_ms = MAX(lease->ends_ms, sent_ms + SIM_LEASE_MS);
}

void sim_lease_beat(struct sim_lease *lease, struct rng *rng, int64_t now_ms)
{
    if (!lease->sent_ms) {
        lease->sent_ms = now_ms;
        lease->heard = false;
    } else if (!lease->heard) {
        sim_lease_heard(lease, now_ms);
        lease->heard = true;
    } else {
        if (rng_below(rng, 4)) /* else the answer is lost */
            sim_lease_renew(lease, lease->sent_ms, now_ms);
        lease->sent_ms = 0;
    }
}
