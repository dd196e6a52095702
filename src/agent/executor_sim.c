/* The engine of a site that is made up (simsite.h): attempts are entries with a time at which they
 * end. All else is as at any other site: it remembers over restarts, tells, is asked to stop. */
#include "agent/executor.h"
#include "agent/lease.h"
#include "agent/simsite.h"
#include "agent/simsite_log.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uthash.h>

struct held {
    struct attempt_key key; /* padding zeroed */
    enum attempt_state state;
    bool acknowledged;
    int64_t due_ms; /* when it begins, then when it ends */
    uint32_t place; /* in the heap */
    struct simsite_run run;
    UT_hash_handle hh;
};
struct booked { /* of one node */
    uint32_t devices_milli[NODE_DEVICES_MAX];
};
struct sim {
    struct executor base;
    struct executor_config config;
    struct simsite site;
    struct simsite_log *log;
    struct booked *booked; /* by node */
    struct held *all;
    uint32_t unacknowledged;
    struct held **heap; /* those that are not over, the next due first */
    uint32_t heap_count, heap_cap;
    int timer_fd;
    int agent_fd;          /* where the lease is */
    uint32_t bound_count;  /* attempts that must not outlive a lease */
    uint64_t lease_seen;   /* the one that was looked at last */
    int64_t lease_stop_ms; /* when what is bound to it stops (CLOCK_BOOTTIME) */
};

static struct sim *sim_of(struct executor *executor)
{
    return CONTAINER_OF(executor, struct sim, base);
}

static struct held *find(const struct sim *sim, struct attempt_key key)
{
    struct attempt_key clean;
    struct held *found;

    memset(&clean, 0, sizeof(clean));
    clean.job_id = key.job_id;
    clean.epoch = key.epoch;
    HASH_FIND(hh, sim->all, &clean, sizeof(clean), found);
    return found;
}

/* ---- what is due when ---- */

static bool comes_before(const struct held *a, const struct held *b)
{
    if (a->due_ms != b->due_ms)
        return a->due_ms < b->due_ms;
    return a->key.job_id != b->key.job_id ? a->key.job_id < b->key.job_id
                                          : a->key.epoch < b->key.epoch;
}

static void put(struct sim *sim, uint32_t place, struct held *held)
{
    sim->heap[place] = held;
    held->place = place;
}

/* To where it belongs, from `place`, which is free. */
static void settle(struct sim *sim, uint32_t place, struct held *held)
{
    while (place > 0 && comes_before(held, sim->heap[(place - 1) / 2])) {
        put(sim, place, sim->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        uint32_t child = place * 2 + 1;

        if (child + 1 < sim->heap_count && comes_before(sim->heap[child + 1], sim->heap[child]))
            child++;
        if (child >= sim->heap_count || !comes_before(sim->heap[child], held))
            break;
        put(sim, place, sim->heap[child]);
        place = child;
    }
    put(sim, place, held);
}

static int heap_add(struct sim *sim, struct held *held)
{
    if (sim->heap_count == sim->heap_cap) {
        uint32_t cap = MAX(sim->heap_cap * 2, 64u);
        struct held **grown = realloc(sim->heap, cap * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        sim->heap = grown;
        sim->heap_cap = cap;
    }
    settle(sim, sim->heap_count++, held);
    return 0;
}

static void heap_remove(struct sim *sim, const struct held *held)
{
    struct held *last = sim->heap[--sim->heap_count];

    if (last != held)
        settle(sim, held->place, last);
}

static void set_timer(const struct sim *sim)
{
    struct itimerspec when = { 0 };
    int64_t wait_ms;

    if (sim->heap_count) {
        wait_ms = MAX(sim->heap[0]->due_ms - clock_wall_ms(), 0);
        if (sim->bound_count && sim->lease_seen)
            wait_ms = MIN(wait_ms, MAX(sim->lease_stop_ms - clock_boot_ms(), 0));
        when.it_value.tv_sec = wait_ms / 1000;
        when.it_value.tv_nsec = wait_ms % 1000 * 1000000 + 1; /* zero would be never */
    }
    timerfd_settime(sim->timer_fd, 0, &when, NULL);
}

/* ---- who holds what ---- */

static void book(struct sim *sim, const struct held *held, bool give_back)
{
    for (uint32_t i = 0; i < held->run.parts_count; i++) {
        const struct simsite_part *part = &held->run.parts[i];

        for (uint32_t d = 0; part->node < sim->site.nodes && d < part->devices_count; d++) {
            uint32_t index = part->devices[d].index % NODE_DEVICES_MAX;
            uint32_t *milli = &sim->booked[part->node].devices_milli[index];

            if (give_back) {
                *milli -= part->devices[d].milli;
                continue;
            }
            *milli += part->devices[d].milli;
            if (*milli <= 1000)
                continue;
            log_error("job %" PRIu64 ": device %" PRIu32 " of node %" PRIu32
                      " is held by another attempt",
                      held->key.job_id, index, part->node);
            simsite_log_clash(sim->log, held->key, part->node, index);
        }
    }
}

static void fill_usage(struct held *held, int64_t until_ms, struct attempt_record *record)
{
    int64_t wall = held->state == ATTEMPT_BEGUN ? 0 : MAX(until_ms - record->started_ms, 0);
    int64_t cpus = 0, milli = 0;

    record->devices_count = 0;
    for (uint32_t i = 0; i < held->run.parts_count; i++) {
        const struct simsite_part *part = &held->run.parts[i];

        cpus += part->cpus;
        for (uint32_t d = 0; d < part->devices_count; d++) {
            milli += part->devices[d].milli;
            if (record->devices_count == NODE_DEVICES_MAX)
                continue; /* the energy model is of one node */
            record->devices[record->devices_count].index = part->devices[d].index;
            record->devices[record->devices_count++].milli = part->devices[d].milli;
        }
    }
    record->usage.wall_ms = wall;
    record->usage.cpu_ms = record->usage.cpu_held_ms = wall * cpus;
    record->usage.device_milli_ms = wall * milli;
}

/* ---- begin and end ---- */

static void finish(struct sim *sim, struct held *held)
{
    struct attempt_record *record = &held->run.record;

    fill_usage(held, record->ended_ms, record);
    if (held->state == ATTEMPT_BEGUN)
        record->started_ms = 0;
    held->state = ATTEMPT_ENDED;
    sim->bound_count -= held->run.lease != 0;
    book(sim, held, true);
    if (simsite_log_ended(sim->log, record) < 0)
        log_error("job %" PRIu64 ": its end cannot be written down", held->key.job_id);
    sim->config.told(sim->config.context, NOTE_ENDED, record);
}

/* ---- the lease: what its supervisor would do at a real site, agent or not ---- */

/* When what is bound to this lease stopped (Unix ms); INT64_MAX: it is held. */
static int64_t find_lease_over(struct sim *sim, uint64_t number)
{
    int64_t wall = clock_wall_ms(), boot = clock_boot_ms(), at;
    struct lease_state state;

    at = lease_stop_at(sim->agent_fd, number, &state);
    if (at) {
        sim->lease_seen = number;
        sim->lease_stop_ms = at;
        return boot < at ? INT64_MAX : wall - (boot - at);
    }
    /* There is another by now. This one was over when it was to be, as far as it was seen. */
    return sim->lease_seen == number ? wall - MAX(boot - sim->lease_stop_ms, 0) : wall;
}

static void end_by_lease(struct sim *sim, struct held *held, int64_t over_ms)
{
    struct attempt_record *record = &held->run.record;

    if (record->ended_ms <= over_ms)
        return; /* it was at its end before */
    record->ended_ms = over_ms;
    record->end = END_LEASE;
    record->exit_code = 0;
    snprintf(record->reason, sizeof(record->reason),
             "the site was not answered by the network for longer than its lease");
    held->run.stopped = true;
    simsite_log_stop(sim->log, record);
    heap_remove(sim, held);
    held->due_ms = over_ms;
    settle(sim, sim->heap_count++, held);
}

static void end_by_leases(struct sim *sim)
{
    int64_t over_ms = INT64_MAX;
    uint64_t number = 0;
    struct held *held, *next;

    if (!sim->bound_count)
        return;
    HASH_ITER (hh, sim->all, held, next) {
        if (!held->run.lease || held->state == ATTEMPT_ENDED)
            continue;
        if (held->run.lease != number)
            over_ms = find_lease_over(sim, held->run.lease);
        number = held->run.lease;
        if (over_ms != INT64_MAX)
            end_by_lease(sim, held, over_ms);
    }
}

static void run_due(struct sim *sim)
{
    int64_t now = clock_wall_ms();

    end_by_leases(sim);
    while (sim->heap_count && sim->heap[0]->due_ms <= now) {
        struct held *held = sim->heap[0];

        heap_remove(sim, held);
        if (held->state != ATTEMPT_BEGUN || held->run.stopped) {
            finish(sim, held);
            continue;
        }
        held->state = ATTEMPT_RUNNING;
        held->due_ms = held->run.record.ended_ms;
        settle(sim, sim->heap_count++, held); /* there is room: it was in it */
        sim->config.told(sim->config.context, NOTE_STARTED, &held->run.record);
    }
    set_timer(sim);
}

static struct held *add_held(struct sim *sim, const struct simsite_run *run,
                             enum attempt_state state)
{
    struct held *held = calloc(1, sizeof(*held));

    if (!held)
        return NULL;
    held->key.job_id = run->record.key.job_id;
    held->key.epoch = run->record.key.epoch;
    held->run = *run;
    held->state = state;
    held->due_ms = state == ATTEMPT_BEGUN ? run->record.started_ms : run->record.ended_ms;
    if (!run->ended && heap_add(sim, held) < 0) {
        free(held);
        return NULL;
    }
    HASH_ADD(hh, sim->all, key, sizeof(held->key), held);
    sim->unacknowledged++;
    sim->bound_count += run->lease && !run->ended;
    return held;
}

static void drop(struct sim *sim, struct held *held)
{
    sim->unacknowledged -= !held->acknowledged;
    HASH_DEL(sim->all, held);
    free(held->run.parts);
    free(held);
}

static int take_parts(const struct sim *sim, const struct wire_part *parts, uint32_t count,
                      struct simsite_run *run, struct err *err)
{
    uint32_t devices_count = 0, at = 0;
    void *devices;

    for (uint32_t i = 0; i < count; i++)
        devices_count += parts[i].devices_count;
    run->parts = simsite_parts_create(count, devices_count);
    if (!run->parts)
        return err_set(err, -ENOMEM, "attempt: out of memory");
    run->parts_count = count;
    devices = run->parts[0].devices;
    for (uint32_t i = 0; i < count; i++) {
        struct simsite_part *part = &run->parts[i];
        int node = simsite_find_node(&sim->site, parts[i].node);

        if (node < 0)
            return err_set(err, -ENOENT, "there is no node %s here", parts[i].node);
        part->node = (uint32_t)node;
        part->cpus = parts[i].cpus;
        part->devices = devices;
        part->devices += at;
        part->devices_count = parts[i].devices_count;
        at += part->devices_count;
        for (uint32_t d = 0; d < part->devices_count; d++) {
            part->devices[d].index = parts[i].devices[d].index;
            part->devices[d].milli = parts[i].devices[d].milli;
            if (part->devices[d].index >= sim->site.devices)
                return err_set(err, -ENODEV, "node %s has no device %" PRIu32, parts[i].node,
                               part->devices[d].index);
        }
    }
    return 0;
}

static int sim_start_parts(struct executor *executor, const struct attempt_order *order,
                           const struct wire_part *parts, uint32_t parts_count,
                           const char *spec_json, struct err *err)
{
    struct sim *sim = sim_of(executor);
    struct simsite_run run = { .record.key = order->key, .lease = order->lease };
    struct simsite_fate fate;
    struct held *held;
    int rc;

    if (find(sim, order->key))
        return -EEXIST;
    if (parts_count == 0)
        return err_set(err, -EINVAL, "an attempt without a node");
    rc = simsite_draw(&sim->site, order->key, spec_json, order->duration_ms_max, &fate, err);
    if (rc == 0)
        rc = take_parts(sim, parts, parts_count, &run, err);
    run.record.started_ms = clock_wall_ms() + sim->site.start_ms;
    run.record.ended_ms = run.record.started_ms + fate.run_ms;
    run.record.end = fate.end;
    run.record.exit_code = fate.exit_code;
    if (rc == 0 && fate.end == END_TIME_LIMIT)
        snprintf(run.record.reason, sizeof(run.record.reason), "reached its duration limit");
    if (rc == 0 && (rc = simsite_log_run(sim->log, &run)) < 0)
        err_set(err, rc, "attempt: it cannot be written down: %s", strerror(-rc));
    held = rc == 0 ? add_held(sim, &run, ATTEMPT_BEGUN) : NULL;
    if (!held) {
        free(run.parts);
        return rc < 0 ? rc : err_set(err, -ENOMEM, "attempt: out of memory");
    }
    book(sim, held, false);
    end_by_leases(sim); /* and when to look again */
    set_timer(sim);
    return 0;
}

static int sim_start(struct executor *executor, const struct attempt_order *order,
                     const char *spec_json, struct err *err)
{
    (void)executor;
    (void)order;
    (void)spec_json;
    return err_set(err, -EINVAL, "an attempt at a simulated site is told by its parts");
}

static int sim_stop(struct executor *executor, struct attempt_key key, int64_t grace_ms,
                    const char *reason, struct err *err)
{
    struct sim *sim = sim_of(executor);
    struct held *held = find(sim, key);
    struct attempt_record *record;
    int64_t now = clock_wall_ms();
    int64_t until = now + (grace_ms < 0 ? sim->site.stop_ms : MIN(grace_ms, sim->site.stop_ms));
    int rc;

    if (!held || held->state == ATTEMPT_ENDED)
        return -ENOENT;
    record = &held->run.record;
    if (until >= record->ended_ms)
        return 0; /* over before that, or stopped already */
    record->ended_ms = held->state == ATTEMPT_BEGUN ? now : until;
    record->end = END_STOPPED;
    record->exit_code = 0;
    if (grace_ms == WIRE_GRACE_SAVES && held->state == ATTEMPT_RUNNING)
        record->checkpoint_ms = record->ended_ms;
    snprintf(record->reason, sizeof(record->reason), "%.159s", reason);
    held->run.stopped = true;
    rc = simsite_log_stop(sim->log, record);
    heap_remove(sim, held);
    held->due_ms = record->ended_ms;
    settle(sim, sim->heap_count++, held);
    set_timer(sim);
    return rc < 0 ? err_set(err, rc, "its stop cannot be written down: %s", strerror(-rc)) : 0;
}

/* ---- what it holds ---- */

static void view_of(const struct held *held, struct attempt_view *view_out)
{
    view_out->key = held->key;
    view_out->state = held->state;
    view_out->record = &held->run.record;
}

static bool sim_find(struct executor *executor, struct attempt_key key,
                     struct attempt_view *view_out)
{
    struct held *held = find(sim_of(executor), key);

    if (!held || held->acknowledged)
        return false;
    view_of(held, view_out);
    return true;
}

static void sim_each(struct executor *executor, void (*visit)(void *, const struct attempt_view *),
                     void *context)
{
    struct held *held, *next;
    struct attempt_view view;

    HASH_ITER (hh, sim_of(executor)->all, held, next) {
        if (held->acknowledged)
            continue;
        view_of(held, &view);
        visit(context, &view);
    }
}

static uint32_t sim_count(const struct executor *executor)
{
    return CONTAINER_OF(executor, struct sim, base)->unacknowledged;
}

static bool sim_recall(struct executor *executor, struct attempt_key key,
                       struct attempt_record *record_out)
{
    const struct held *held = find(sim_of(executor), key);

    if (!held || !held->acknowledged)
        return false;
    *record_out = held->run.record;
    return true;
}

static void sim_acknowledge(struct executor *executor, struct attempt_key key)
{
    struct sim *sim = sim_of(executor);
    struct held *held = find(sim, key);

    if (!held || held->state != ATTEMPT_ENDED || held->acknowledged)
        return;
    held->acknowledged = true;
    sim->unacknowledged--;
}

static void sim_forget(struct executor *executor, struct attempt_key key)
{
    struct sim *sim = sim_of(executor);
    struct held *held = find(sim, key);

    if (!held || held->state != ATTEMPT_ENDED)
        return;
    simsite_log_forget(sim->log, key);
    drop(sim, held);
}

static int sim_discover(struct executor *executor, const struct catalogue *catalogue,
                        struct node_info **nodes_out, uint32_t *count_out, struct err *err)
{
    const struct sim *sim = sim_of(executor);
    int rc = simsite_describe(&sim->site, catalogue, nodes_out, err);

    if (rc == 0)
        *count_out = sim->site.nodes;
    return rc;
}

/* ---- time, begin, end ---- */

static int sim_fd(const struct executor *executor)
{
    return CONTAINER_OF(executor, struct sim, base)->timer_fd;
}

static int sim_pump(struct executor *executor, struct err *err)
{
    struct sim *sim = sim_of(executor);
    uint64_t skipped;

    (void)err;
    if (read(sim->timer_fd, &skipped, sizeof(skipped)) < 0 && errno != EAGAIN)
        log_warn("timer: %s", strerror(errno));
    run_due(sim);
    return 0;
}

static bool sim_tick(struct executor *executor)
{
    (void)executor;
    return false; /* the timer is all */
}

/* An attempt of before. */
static void adopt(void *context, const struct simsite_run *run)
{
    struct sim *sim = context;
    const struct attempt_record *record = &run->record;
    bool began = run->ended ? record->started_ms != 0
                            : record->started_ms <= clock_wall_ms() &&
                                  record->started_ms <= record->ended_ms;
    struct held *held = add_held(sim, run, began ? ATTEMPT_RUNNING : ATTEMPT_BEGUN);

    if (!held) {
        free(run->parts);
        return;
    }
    if (!run->ended) {
        book(sim, held, false);
        return;
    }
    fill_usage(held, record->ended_ms, &held->run.record);
    held->state = ATTEMPT_ENDED;
}

static void sim_close(struct executor *executor)
{
    struct sim *sim = sim_of(executor);
    struct held *held, *next;

    HASH_ITER (hh, sim->all, held, next)
        drop(sim, held);
    simsite_log_close(sim->log);
    if (sim->timer_fd >= 0)
        close(sim->timer_fd);
    if (sim->agent_fd >= 0)
        close(sim->agent_fd);
    free(sim->heap);
    free(sim->booked);
    free(sim);
}

static int sim_open(const struct executor_config *config, struct executor **executor_out,
                    struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/simsite.log", config->agent_dir);
    struct sim *sim = calloc(1, sizeof(*sim));
    int rc;

    if (!sim || !path) {
        free(sim);
        return err_set(err, -ENOMEM, "simulated site: out of memory");
    }
    sim->base.ops = &executor_sim_ops;
    sim->config = *config;
    sim->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    sim->agent_fd = open(config->agent_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = sim->timer_fd < 0 || sim->agent_fd < 0
             ? err_set(err, -errno, "%s: %s", config->agent_dir, strerror(errno))
             : 0;
    if (rc == 0 && !config->sim_fleet)
        rc = err_set(err, -EINVAL, "executor sim: --sim-fleet FILE says what the site is");
    if (rc == 0)
        rc = simsite_read(config->sim_fleet, &sim->site, err);
    if (rc == 0) {
        sim->booked = calloc(sim->site.nodes, sizeof(*sim->booked));
        rc = sim->booked ? 0 : err_set(err, -ENOMEM, "simulated site: out of memory");
    }
    if (rc == 0)
        rc = simsite_log_open(path, adopt, sim, &sim->log, err);
    if (rc < 0) {
        sim_close(&sim->base);
        return rc;
    }
    end_by_leases(sim);
    set_timer(sim);
    *executor_out = &sim->base;
    return 0;
}

static bool sim_keeps_lease(const struct executor *executor)
{
    (void)executor;
    return true;
}

const struct executor_ops executor_sim_ops = {
    .name = "sim",
    .keeps_lease = sim_keeps_lease,
    .is_elsewhere = true,
    .open = sim_open,
    .close = sim_close,
    .fd = sim_fd,
    .pump = sim_pump,
    .tick = sim_tick,
    .start = sim_start,
    .stop = sim_stop,
    .find = sim_find,
    .each = sim_each,
    .count = sim_count,
    .recall = sim_recall,
    .acknowledge = sim_acknowledge,
    .forget = sim_forget,
    .discover = sim_discover,
    .start_parts = sim_start_parts,
};
