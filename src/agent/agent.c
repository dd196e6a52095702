#include "agent/agent.h"

#include "agent/agent_internal.h"
#include "agent/criu.h"
#include "agent/nodes.h"
#include "agent/retain.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MINUTE_MS 60000
#define METER_TICK_MS 30000
#define CONTACT_LOOK_MS 60000
/* A sign of life that is not answered for such a part of the lease: the connection is no good. */
#define PATIENCE_PART 2
#define PATIENCE_MS_MIN 2000

/* ---- one agent a folder, and how often it began ---- */

static int take_lock(struct agent *agent, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/lock", agent->agent_dir);
    int rc = dir_make(agent->agent_dir, 0700, err);

    if (rc < 0)
        return rc;
    if (!path)
        return err_set(err, -ENOMEM, "lock: out of memory");
    agent->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (agent->lock_fd < 0)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (flock(agent->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, errno == EWOULDBLOCK ? -EBUSY : -errno,
                       "%s: another agent holds this folder", path);
    return 0;
}

static int count_incarnation(struct agent *agent, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/incarnation", agent->agent_dir);
    struct buf text = buf_init(64);
    char line[32];

    if (!path)
        return err_set(err, -ENOMEM, "incarnation: out of memory");
    if (file_read(path, &text, NULL) == 0 && text.data)
        agent->incarnation = strtoull(text.data, NULL, 10);
    buf_fini(&text);
    agent->incarnation++;
    snprintf(line, sizeof(line), "%" PRIu64 "\n", agent->incarnation);
    return file_write(path, line, strlen(line), 0600, false, err);
}

/* ---- the session's questions ---- */

struct listing {
    struct wire_attempt_id *ids;
    uint32_t count;
};

static void list_one(void *context, const struct attempt_view *view)
{
    struct listing *listing = context;

    listing->ids[listing->count++] = (struct wire_attempt_id){ view->key.job_id, view->key.epoch };
}

static void list_staged(void *context, struct attempt_key key)
{
    struct listing *listing = context;

    listing->ids[listing->count++] = (struct wire_attempt_id){ key.job_id, key.epoch };
}

static void on_hello(void *context, struct wire_report *report)
{
    struct agent *agent = context;
    struct listing listing = { 0 };

    receipts_reload(agent->receipts);
    free(agent->held);
    agent->held = calloc(agent->executor->ops->count(agent->executor) +
                             (agent->staging ? staging_count(agent->staging) : 0) + 1u,
                         sizeof(*agent->held));
    listing.ids = agent->held;
    if (agent->held)
        agent->executor->ops->each(agent->executor, list_one, &listing);
    if (agent->held && agent->staging)
        staging_each(agent->staging, list_staged, &listing);
    report->boot_ms = agent->executor->ops->keeps_lease(agent->executor) ? clock_boot_ms() : 0;
    report->site = agent->site.info;
    report->policy = &agent->site.policy;
    snprintf(report->version, sizeof(report->version), "%s", MAINS_VERSION);
    report->attempts = agent->held;
    report->attempts_count = MIN(listing.count, WIRE_ATTEMPTS_MAX);
}

/* ---- the lease ---- */

static void plan_alive(struct agent *agent);

static void on_alive(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    if (clock_boot_ms() - session_sent_ms(agent->session) >= agent->lease.every_ms) {
        session_report(agent->session,
                       &(struct wire_report){ .type = REPORT_ALIVE, .boot_ms = clock_boot_ms() });
        session_flush(agent->session);
    }
    plan_alive(agent);
}

static void plan_alive(struct agent *agent)
{
    int64_t since_ms = clock_boot_ms() - session_sent_ms(agent->session);
    int64_t wait_ms = agent->lease.every_ms - since_ms;

    if (!agent->lease.every_ms)
        uv_timer_stop(&agent->alive);
    else
        uv_timer_start(&agent->alive, on_alive,
                       (uint64_t)(wait_ms > 0 ? wait_ms : agent->lease.every_ms), 0);
}

static void show_lease(struct agent *agent)
{
    if (agent->executor->ops->lease)
        agent->executor->ops->lease(agent->executor, &agent->lease);
}

static void on_acked(void *context)
{
    struct agent *agent = context;
    struct err err;

    if (lease_renew(&agent->lease, session_acked_ms(agent->session), &err) < 0)
        log_error("%s", err.text);
    show_lease(agent);
}

/* What RECONCILE says of it. The HELLO before was answered, so it holds from then on. */
void agent_take_lease(struct agent *agent, const struct wire_command *reconcile)
{
    lease_set_terms(&agent->lease, reconcile->lease_ms, reconcile->stop_ms, reconcile->every_ms);
    session_set_patience(
        agent->session,
        agent->lease.every_ms ? MAX(agent->lease.lease_ms / PATIENCE_PART, PATIENCE_MS_MIN) : 0);
    on_acked(agent);
    plan_alive(agent);
}

static void on_drained(void *context)
{
    struct agent *agent = context;

    logread_resume(agent->logread);
}

static void on_closed(void *context)
{
    struct agent *agent = context;

    pricing_lost(agent->pricing);
    logread_drop_all(agent->logread);
    agent->unknown_count = 0;
    uv_timer_stop(&agent->unknown_timer);
}

/* ---- the loop's events ---- */

static void on_executor(uv_poll_t *poll, int status, int events)
{
    struct agent *agent = poll->data;
    struct err err = { 0 };

    (void)status;
    (void)events;
    if (agent->executor->ops->pump(agent->executor, &err) < 0) {
        log_error("%s: starting anew", err.text);
        agent->exit_code = 1;
        uv_stop(&agent->loop);
    }
    session_flush(agent->session);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct agent *agent = handle->data;

    log_info("%s: stopping; what runs goes on", strsignal(number));
    uv_stop(&agent->loop);
}

void agent_tell_inventory(struct agent *agent)
{
    session_report(agent->session, &(struct wire_report){ .type = REPORT_INVENTORY,
                                                          .site = agent->site.info,
                                                          .policy = &agent->site.policy,
                                                          .incarnation = agent->incarnation });
    session_flush(agent->session);
}

static void do_chores(uv_work_t *work)
{
    struct agent *agent = work->data;
    CLEANUP(freep) char *nodes = path_format("%s/nodes", agent->agent_dir);
    const struct retain_limits limits = { RETAIN_ATTEMPTS_MAX, RETAIN_AGE_MS, RETAIN_BYTES_MAX };

    while (retain_run(agent->agent_dir, clock_wall_ms(), &limits) == RETAIN_BATCH_MAX)
        ;
    if (!agent->receipts_trimmed_ms ||
        clock_mono_ms() - agent->receipts_trimmed_ms > RECEIPTS_TRIM_EVERY_MS) {
        receipts_trim(agent->agent_dir, clock_wall_ms(), RECEIPTS_KEPT_MAX);
        labels_trim(agent->agent_dir);
        agent->receipts_trimmed_ms = clock_mono_ms();
    }
    while (nodes && retain_run(nodes, clock_wall_ms(), &limits) == RETAIN_BATCH_MAX)
        ;
}

static void chores_done(uv_work_t *work, int status)
{
    struct agent *agent = work->data;

    (void)status;
    agent->chores_running = false;
}

static void on_looked(void *context, const struct discover_readings *readings)
{
    struct agent *agent = context;

    if (agent->site.info.nodes[0].devices_count)
        meter_tick(agent->meter, readings->power_mw, agent->site.info.nodes[0].devices_count);
}

static void on_devices_changed(void *context)
{
    struct agent *agent = context;
    const struct node_info *node = &agent->site.info.nodes[0];

    meter_set_node(agent->meter, node, agent->site.catalogue);
    for (uint32_t i = 0; i < node->devices_count; i++)
        if (node->devices[i].health == DEVICE_SICK)
            log_warn("device %" PRIu32 " (%s): %s", i, node->devices[i].chip,
                     node->devices[i].health_text);
    log_info("the devices of this node changed");
    agent_tell_inventory(agent);
}

/* What an operator has cordoned stays so: the controller sees to that. */
void agent_tell_node(struct agent *agent)
{
    const struct health *health = agent->watch ? watch_health(agent->watch) : NULL;
    struct wire_report report = { .type = REPORT_NODE, .device = -1 };

    if (!health)
        return;
    memcpy(report.node, agent->site.info.nodes[0].name, sizeof(report.node));
    report.cordoned = health->node_is_sick;
    snprintf(report.reason, sizeof(report.reason), "%s",
             health->node_is_sick ? health->node_reason : "");
    session_report(agent->session, &report);
    session_flush(agent->session);
}

static void on_node_changed(void *context, const struct health *health)
{
    log_warn("this node %s", health->node_is_sick ? health->node_reason : "is well again");
    agent_tell_node(context);
}

static int open_watch(struct agent *agent, struct err *err)
{
    struct watch_config config = { .loop = &agent->loop,
                                   .discover = &agent->site.discover,
                                   .node = &agent->site.info.nodes[0],
                                   .state_dir = agent->config->state_dir,
                                   .looked = on_looked,
                                   .changed = on_devices_changed,
                                   .node_changed = on_node_changed,
                                   .context = agent };

    return agent->executor->ops->discover ? 0 : watch_create(&config, &agent->watch, err);
}

/* By the plan of contacts: dial, or be still until the next one. */
static void keep_contacts(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    const struct site_policy *policy = &agent->site.policy;
    int64_t now_ms = clock_wall_ms(), until_ms = site_policy_heard_until(policy, now_ms);
    int64_t next_ms = until_ms > 0 ? until_ms : site_policy_next_contact(policy, now_ms);

    depot_set_ordered(agent->depot, policy->contacts_count > 0);
    depot_hush(agent->depot, until_ms < 0);
    session_hold(agent->session, until_ms < 0);
    if (next_ms == INT64_MAX)
        return;
    /* Not for so long that a clock that was set is not seen. */
    uv_timer_start(&agent->contact, keep_contacts,
                   (uint64_t)MIN(MAX(next_ms - now_ms, 1), CONTACT_LOOK_MS), 0);
}

static void list_running(void *context, const struct attempt_view *view)
{
    if (view->state == ATTEMPT_RUNNING)
        list_one(context, view);
}

/* What the owner wrote holds from the next look on; what still runs when the hours are over ends,
 * whoever says otherwise. */
static void look_at_policy(struct agent *agent)
{
    struct listing listing = { 0 };
    struct err err;
    int rc = site_reload_policy(agent->config, &agent->site, &err);

    if (rc < 0 && !agent->policy_is_bad)
        log_warn("%s: the policy stays as it was", err.text);
    agent->policy_is_bad = rc < 0;
    if (rc > 0) {
        log_info("the owner's policy has changed");
        agent_tell_inventory(agent);
        keep_contacts(&agent->contact);
    }
    if (!policy_is_closed(&agent->site.policy, clock_wall_ms()))
        return;
    listing.ids = calloc(agent->executor->ops->count(agent->executor) + 1u, sizeof(*listing.ids));
    if (listing.ids)
        agent->executor->ops->each(agent->executor, list_running, &listing);
    for (uint32_t i = 0; i < listing.count; i++)
        agent->executor->ops->stop(
            agent->executor, (struct attempt_key){ listing.ids[i].job_id, listing.ids[i].epoch },
            -1, "the owner's hours are over", NULL);
    free(listing.ids);
}

static void on_minute(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    look_at_policy(agent);
    pricing_look(agent->pricing);
    telling_look(&agent->telling, agent->executor, agent->depot, agent->session);

    meter_tick(agent->meter, NULL, 0);
    if (agent->chores_running)
        return;
    agent->chores.data = agent;
    agent->chores_running =
        uv_queue_work(&agent->loop, &agent->chores, do_chores, chores_done) == 0;
}

/* ---- begin, run, end ---- */

/* The engine has looked its nodes over. */
static void on_site_changed(void *context)
{
    struct agent *agent = context;
    struct err err;
    int rc;

    if (!agent->session)
        return;
    rc = site_refresh(&agent->site, agent->executor, &err);
    if (rc < 0)
        log_warn("%s", err.text);
    else if (rc > 0)
        agent_tell_inventory(agent);
}

static int open_lease(struct agent *agent, struct err *err)
{
    CLEANUP(closep) int fd = open(agent->agent_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? err_set(err, -errno, "%s: %s", agent->agent_dir, strerror(errno))
                  : lease_open(fd, &agent->lease, err);
}

static int open_parts(struct agent *agent, struct err *err)
{
    struct executor_config config = { .state_dir = agent->config->state_dir,
                                      .agent_dir = agent->agent_dir,
                                      .slurm = &agent->slurm,
                                      .sim_fleet = agent->config->sim_fleet,
                                      .kube = &agent->kube,
                                      .told = agent_on_note,
                                      .changed = on_site_changed,
                                      .context = agent };
    const struct executor_ops *ops = NULL;
    int rc = take_lock(agent, err);

    if (rc == 0)
        rc = count_incarnation(agent, err);
    if (rc == 0)
        rc = open_lease(agent, err);
    if (rc == 0)
        rc = site_choose_executor(agent->config, &ops, &agent->slurm, &agent->kube, err);
    if (rc == 0) /* forks: before anything else has grown this process */
        rc = ops->open(&config, &agent->executor, err);
    if (rc == 0)
        show_lease(agent);
    if (rc == 0 && ops->discover)
        err_set(&agent->criu, -ENOTSUP, "what a %s site runs is beyond it", ops->name);
    else if (rc == 0 && criu_check(&agent->criu) == 0)
        log_info("jobs here can be saved by CRIU");
    if (rc == 0 && geteuid() == 0)
        rc = tenants_open(agent->agent_dir, &agent->tenants, err);
    if (rc == 0)
        rc = site_open(agent->config, agent->executor, &agent->site, err);
    if (rc == 0)
        rc = meter_create(&agent->site.info.nodes[0], agent->site.catalogue, !ops->discover,
                          &agent->meter, err);
    return rc;
}

static int open_session(struct agent *agent, struct err *err)
{
    struct session_config config = { .loop = &agent->loop,
                                     .state_dir = agent->config->state_dir,
                                     .controller_url = agent->config->controller_url,
                                     .token_file = agent->config->token_file,
                                     .site = agent->site.info.name,
                                     .incarnation = agent->incarnation,
                                     .hello = on_hello,
                                     .command = agent_on_command,
                                     .acked = on_acked,
                                     .drained = on_drained,
                                     .closed = on_closed,
                                     .context = agent };
    int rc = session_create(&config, &agent->session, err);

    if (rc == 0)
        keep_contacts(&agent->contact);
    if (rc == 0)
        rc = pricing_create(&agent->loop, &agent->site.pricing, agent->session, &agent->pricing,
                            err);
    return rc < 0 ? rc
                  : logread_create(&agent->loop, agent->agent_dir, agent->executor, agent->session,
                                   &agent->logread, err);
}

static int open_stores(struct agent *agent, struct err *err)
{
    struct depot_config depot = { .loop = &agent->loop,
                                  .agent_dir = agent->agent_dir,
                                  .rate_bytes = agent->site.link_rate_bytes };
    struct saves_config saves = { .loop = &agent->loop,
                                  .agent_dir = agent->agent_dir,
                                  .site = agent->site.info.name,
                                  .keeps_outputs = agent->renewal != NULL,
                                  .policy = &agent->site.policy,
                                  .link = agent_link,
                                  .turn = agent_turn,
                                  .ended = agent_on_saved,
                                  .context = agent };
    struct staging_config staging = { .loop = &agent->loop,
                                      .agent_dir = agent->agent_dir,
                                      .site = agent->site.info.name,
                                      .link = agent_link,
                                      .turn = agent_turn,
                                      .ready = agent_on_staged,
                                      .context = agent };
    struct prestage_config prestage = { .policy = &agent->site.policy,
                                        .link = agent_link,
                                        .context = agent };
    struct tunnels_config tunnels = { .loop = &agent->loop,
                                      .site = agent->site.info.name,
                                      .address = agent->site.info.address,
                                      .link = agent_link,
                                      .context = agent };
    int rc = depot_create(&depot, &agent->depot, err);

    agent->turns = turns_create();
    if (rc == 0 && !agent->turns)
        rc = err_set(err, -ENOMEM, "out of memory");
    if (rc < 0)
        return rc;
    saves.depot = staging.depot = prestage.depot = agent->depot;
    rc = saves_create(&saves, &agent->saves, err);
    if (rc == 0)
        rc = prestage_create(&prestage, &agent->prestage, err);
    if (rc == 0)
        rc = tunnels_create(&tunnels, &agent->tunnels, err);
    return rc < 0 ? rc : staging_create(&staging, &agent->staging, err);
}

/* On an initialised loop. */
static int open_handles(struct agent *agent, struct err *err)
{
    static const int numbers[] = { SIGTERM, SIGINT };
    uv_timer_t *timers[] = { &agent->tick, &agent->unknown_timer, &agent->minute, &agent->alive,
                             &agent->contact };
    int rc;

    uv_poll_init(&agent->loop, &agent->executor_poll, agent->executor->ops->fd(agent->executor));
    agent->executor_poll.data = agent;
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++) {
        uv_timer_init(&agent->loop, timers[i]);
        timers[i]->data = agent;
    }
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        uv_signal_init(&agent->loop, &agent->signals[i]);
        agent->signals[i].data = agent;
        uv_signal_start(&agent->signals[i], on_signal, numbers[i]);
    }
    uv_poll_start(&agent->executor_poll, UV_READABLE, on_executor);
    uv_timer_start(&agent->minute, on_minute, METER_TICK_MS, METER_TICK_MS);
    if (agent->executor->ops->discover)
        agent_start_tick(agent);
    agent->renewal = renewal_create(&agent->loop, agent->config->state_dir);
    rc = open_stores(agent, err);
    if (rc == 0)
        rc = receipts_create(agent->config->state_dir, agent->agent_dir, &agent->receipts, err);
    if (rc == 0)
        rc = open_watch(agent, err);
    if (rc == 0)
        rc = open_session(agent, err);
    return rc < 0 ? rc : agent_open_nodes(agent, err);
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_loop(struct agent *agent)
{
    if (agent_has_nodes(agent))
        nodes_end(agent->executor);
    saves_close(agent->saves);
    staging_close(agent->staging);
    depot_destroy(agent->depot);
    saves_destroy(agent->saves);
    staging_destroy(agent->staging);
    prestage_destroy(agent->prestage);
    tunnels_destroy(agent->tunnels);
    watch_destroy(agent->watch);
    pricing_destroy(agent->pricing);
    logread_destroy(agent->logread);
    session_destroy(agent->session);
    renewal_destroy(agent->renewal);
    uv_run(&agent->loop, UV_RUN_NOWAIT); /* lets those who free their own handles do it */
    uv_walk(&agent->loop, close_handle, NULL);
    while (uv_run(&agent->loop, UV_RUN_DEFAULT) != 0)
        ;
    uv_loop_close(&agent->loop);
}

static void close_parts(struct agent *agent)
{
    if (agent->executor)
        agent->executor->ops->close(agent->executor);
    tenants_close(agent->tenants);
    meter_destroy(agent->meter);
    site_close(&agent->site);
    receipts_destroy(agent->receipts);
    turns_destroy(agent->turns);
    kube_settings_fini(&agent->kube);
    free(agent->unknown);
    free(agent->held);
    free(agent->agent_dir);
    lease_close(&agent->lease);
    if (agent->lock_fd >= 0)
        close(agent->lock_fd);
}

int agent_main(const struct agent_config *config)
{
    struct agent agent = { .config = config, .lock_fd = -1 };
    struct err err = { 0 };
    int rc;

    log_setup("agent", config->log_level);
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    agent.agent_dir = path_format("%s/agent", config->state_dir);
    rc = agent.agent_dir ? open_parts(&agent, &err) : err_set(&err, -ENOMEM, "out of memory");
    if (rc == 0) {
        rc = uv_loop_init(&agent.loop);
        if (rc < 0)
            err_set(&err, rc, "loop: %s", uv_strerror(rc));
    }
    if (rc == 0) {
        rc = open_handles(&agent, &err);
        if (rc == 0) {
            log_info("site %s (%s): %" PRIu32 " nodes, the first with %" PRIu32 " CPUs, %" PRIu32
                     " devices; %" PRIu32 " attempts held",
                     agent.site.info.name, agent.executor->ops->name, agent.site.info.nodes_count,
                     agent.site.info.nodes[0].cpus, agent.site.info.nodes[0].devices_count,
                     agent.executor->ops->count(agent.executor));
            uv_run(&agent.loop, UV_RUN_DEFAULT);
        }
        close_loop(&agent);
    }
    if (rc < 0) {
        log_error("%s", err.text);
        agent.exit_code = rc == -EBUSY ? 2 : 1;
    }
    close_parts(&agent);
    return agent.exit_code;
}
