#include "controller/controller.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "controller/api.h"
#include "controller/api_store.h"
#include "controller/changes.h"
#include "wire/door.h"
#include "controller/history.h"
#include "controller/leases.h"
#include "wire/members.h"
#include "controller/metrics.h"
#include "controller/relay.h"
#include "controller/seal.h"
#include "controller/session.h"
#include "controller/bridge.h"
#include "controller/sizes.h"
#include "controller/waits.h"
#include "model/chip.h"
#include "net/sign.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLAY_STAGED_MAX 20000u

/* --- what the shell tells -----------------------------------------------------------------------
 */

static void on_effect(void *context, uint64_t seq, const struct effect *effect)
{
    struct controller *controller = context;
    struct change change = { 0 };

    history_add_effect(controller->history, seq, shell_grid(controller->shell), effect);
    sessions_take_effect(controller->sessions, seq, effect);
    if (effect->type == EFFECT_USAGE)
        metrics_count_usage(controller->metrics, &effect->usage);
    else if (effect->type == EFFECT_SETTLED)
        metrics_count_usage(controller->metrics, &effect->more);
    if (effect->type == EFFECT_JOB_ENDED)
        store_job_ended(controller, &effect->view);
    if (effect->disputes_count)
        log_warn("site %s: what it says attempt %" PRIu32 " of job %" PRIu64
                 " used is not possible: see `mains ledger disputes`",
                 effect->view.allocation.site, effect->epoch, effect->job_id);
    if (change_from_effect(seq, effect, &change))
        events_note(controller->events, &change);
}

static void on_durable(void *context, uint64_t seq)
{
    struct controller *controller = context;

    history_commit(controller->history, seq, false);
    if (controller->events) /* none any more while the last records are written */
        events_publish(controller->events, seq);
}

static void on_writable(void *context, bool writable)
{
    struct controller *controller = context;

    if (writable)
        sessions_retry(controller->sessions);
}

/* A snapshot may be kept only once the history holds all that led to it: a restart from it does not
 * see those effects again. */
static void on_snapshot_ready(void *context, uint64_t seq)
{
    struct controller *controller = context;

    if (history_applied_seq(controller->history) >= seq)
        shell_save_snapshot(controller->shell);
    else
        history_commit(controller->history, seq, true); /* on_history_advanced follows */
}

static void on_history_advanced(void *context, uint64_t applied_seq)
{
    struct controller *controller = context;
    uint64_t wanted = controller->shell ? shell_snapshot_seq(controller->shell) : 0;

    if (wanted && applied_seq >= wanted)
        shell_save_snapshot(controller->shell);
}

/* --- start --------------------------------------------------------------------------------------
 */

struct recovery {
    struct controller *controller;
    struct replay replay;
};

static void on_replay_effect(void *context, uint64_t seq, const struct effect *effect)
{
    struct recovery *recovery = context;
    struct history *history = recovery->controller->history;

    history_add_effect(history, seq, recovery->replay.grid, effect);
    history_commit(history, seq - 1, false);
    history_throttle(history, REPLAY_STAGED_MAX);
}

static int open_journal(struct controller *controller, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/journal.db", controller->config.state_dir);
    struct journal_open how = { .path = path, .create = true };

    return path ? journal_open_sqlite(&how, &controller->journal, err) : -ENOMEM;
}

/* The grid as it was, and the history brought up to it. */
static int recover(struct controller *controller, struct err *err)
{
    struct recovery recovery = { .controller = controller };
    struct shell_config config = { .loop = &controller->loop,
                                   .journal = controller->journal,
                                   .snapshot_records = controller->config.snapshot_records,
                                   .effect = on_effect,
                                   .durable = on_durable,
                                   .writable_changed = on_writable,
                                   .snapshot_ready = on_snapshot_ready,
                                   .context = controller };
    int64_t started = clock_mono_ms();
    uint64_t applied = history_applied_seq(controller->history);
    int rc;

    recovery.replay = (struct replay){ .journal = controller->journal,
                                       .use_snapshot = true,
                                       .history_seq = applied,
                                       .effect = on_replay_effect,
                                       .context = &recovery };
    rc = replay_run(&recovery.replay, err);
    if (rc < 0)
        return rc;
    history_commit(controller->history, recovery.replay.seq, true);
    config.grid = recovery.replay.grid;
    config.time_ms = recovery.replay.time_ms;
    config.snapshot_seq = recovery.replay.snapshot_seq;
    log_info("journal: %" PRIu64 " records, %" PRIu64 " replayed in %" PRId64 " ms",
             recovery.replay.seq, recovery.replay.seq - recovery.replay.snapshot_seq,
             clock_mono_ms() - started);
    return shell_create(&config, &controller->shell, err);
}

static int start_server(struct controller *controller, struct err *err)
{
    struct http_server_config config = { .address = controller->config.address,
                                         .port = controller->config.port,
                                         .body_max = api_body_max,
                                         .handle = api_handle,
                                         .gone = api_gone,
                                         .context = controller };
    int rc;

    door_fill(controller->door, &config);
    if (!config.address)
        config.address = "127.0.0.1";
    rc = http_server_start(&controller->loop, &config, &controller->server, err);
    door_forget_key(controller->door);
    if (rc == 0)
        door_set_port(controller->door, http_server_port(controller->server));
    return rc;
}

static int write_endpoint(struct controller *controller, struct err *err)
{
    const struct controller_config *config = &controller->config;
    CLEANUP(freep) char *path = path_format("%s/endpoint.json", config->state_dir);
    CLEANUP(buf_fini) struct buf text = buf_init(4096);
    const char *address = config->address ? config->address : "127.0.0.1";
    const char *pin = door_pin(controller->door);
    bool is_v6 = strchr(address, ':') != NULL;

    /* Those on this machine need one they can dial. */
    if (!strcmp(address, "0.0.0.0") || !strcmp(address, "::"))
        address = is_v6 ? "::1" : "127.0.0.1";
    buf_printf(&text, "{\"url\":\"%s://%s%s%s:%u\",\"pid\":%d%s%s%s}\n", *pin ? "https" : "http",
               is_v6 ? "[" : "", address, is_v6 ? "]" : "",
               (unsigned)http_server_port(controller->server), (int)getpid(),
               *pin ? ",\"pin\":\"" : "", pin, *pin ? "\"" : "");
    if (!path || text.failed)
        return err_set(err, -ENOMEM, "out of memory");
    return file_write(path, text.data, text.len, 0600, false, err);
}

/* The operator's own rows stand in the state folder, where there are any. */
static int load_catalogue(struct controller *controller, struct err *err)
{
    CLEANUP(freep) char *path = path_format("%s/chips.csv", controller->config.state_dir);

    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    return catalogue_load(access(path, R_OK) == 0 ? path : NULL, &controller->catalogue, err);
}

static int open_door(struct controller *controller, struct err *err)
{
    const struct controller_config *config = &controller->config;
    struct door_config door = { .state_dir = config->state_dir,
                                .address = config->address,
                                .cert_pem = config->cert_pem,
                                .key_pem = config->key_pem,
                                .tls = config->tls,
                                .cert_life_ms = config->cert_life_ms };

    return door_open(&door, &controller->door, err);
}

static int start(struct controller *controller, struct err *err)
{
    const char *state_dir = controller->config.state_dir;
    struct history_config history = { .state_dir = state_dir,
                                      .loop = &controller->loop,
                                      .advanced = on_history_advanced,
                                      .context = controller };
    struct vault_config vault = { .state_dir = state_dir,
                                  .loop = &controller->loop,
                                  .bytes_max = controller->config.store_bytes_max };
    int rc = dir_make(state_dir, 0700, err);

    if (rc == 0)
        rc = open_journal(controller, err); /* first: its lock keeps a second controller out */
    if (rc == 0)
        rc = auth_open(state_dir, &controller->auth, err);
    if (rc == 0)
        rc = seal_open(state_dir, &controller->seal, err);
    if (rc == 0)
        rc = open_door(controller, err);
    if (rc == 0)
        rc = members_open(state_dir, "mains site token", &controller->members, err);
    if (rc == 0)
        rc = load_catalogue(controller, err);
    if (rc == 0) {
        history.signer = controller->signer = door_signer(controller->door);
        rc = history_open(&history, &controller->history, err);
    }
    if (rc == 0)
        rc = recover(controller, err);
    if (rc < 0)
        return rc;
    controller->metrics = metrics_create(api_routes_count());
    controller->events = events_create(controller);
    controller->waits = waits_create(controller);
    controller->relays = relays_create(controller);
    controller->bridges = bridges_create(controller);
    controller->sessions = sessions_create(controller);
    controller->leases = leases_create(controller);
    if (!controller->metrics || !controller->events || !controller->waits || !controller->relays ||
        !controller->bridges || !controller->sessions || !controller->leases)
        return err_set(err, -ENOMEM, "out of memory");
    rc = vault_create(&vault, &controller->vault, err);
    if (rc < 0)
        return rc;
    controller->sizes = sizes_create();
    sessions_begin(controller->sessions);
    leases_begin(controller->leases);
    rc = start_server(controller, err);
    if (rc == 0)
        rc = write_endpoint(controller, err);
    return rc;
}

/* --- stop ---------------------------------------------------------------------------------------
 */

/* What an orderly stop saves the next start: no replay. */
static void save_last_snapshot(struct controller *controller)
{
    struct err err = { 0 };
    size_t len = 0;
    CLEANUP(freep) void *data = NULL;
    uint64_t seq = shell_last_seq(controller->shell);

    if (shell_durable_seq(controller->shell) != seq)
        return;
    history_commit(controller->history, seq, true);
    if (history_throttle(controller->history, 0) < 0)
        return;
    data = shell_take_snapshot(controller->shell, &len);
    if (data &&
        controller->journal->ops->snapshot_save(controller->journal, seq, data, len, &err) < 0)
        log_warn("last snapshot: %s", err.text);
}

static void remove_endpoint(struct controller *controller)
{
    CLEANUP(freep) char *path = path_format("%s/endpoint.json", controller->config.state_dir);

    if (path)
        unlink(path);
}

static void stop(struct controller *controller)
{
    controller->stopping = true;
    controller->ready = false;
    remove_endpoint(controller);
    waits_destroy(TAKE(controller->waits));
    relays_destroy(TAKE(controller->relays));
    bridges_destroy(TAKE(controller->bridges));
    sessions_destroy(TAKE(controller->sessions));
    leases_destroy(TAKE(controller->leases));
    events_destroy(TAKE(controller->events));
    http_server_stop(TAKE(controller->server));
    uv_stop(&controller->loop);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct controller *controller = signal->data;

    log_info("%s: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
    if (!controller->stopping)
        stop(controller);
}

static void close_walk(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void clean_up(struct controller *controller)
{
    if (controller->shell) {
        shell_stop(controller->shell);
        save_last_snapshot(controller);
        shell_destroy(controller->shell);
    }
    history_close(controller->history);
    sign_key_close(controller->signer);
    vault_destroy(TAKE(controller->vault));
    uv_run(&controller->loop, UV_RUN_NOWAIT);
    sizes_destroy(TAKE(controller->sizes));
    journal_close(controller->journal);
    auth_close(controller->auth);
    seal_close(controller->seal);
    door_close(controller->door);
    members_close(controller->members);
    catalogue_destroy(controller->catalogue);
    metrics_destroy(controller->metrics);
    uv_walk(&controller->loop, close_walk, NULL);
    uv_run(&controller->loop, UV_RUN_DEFAULT);
    uv_loop_close(&controller->loop);
}

static int exit_code(int rc)
{
    return rc == -EBUSY ? 2 : rc == -EBADMSG ? 3 : 1;
}

int controller_main(const struct controller_config *config)
{
    struct controller controller = { .config = *config, .started_ms = clock_wall_ms() };
    struct err err = { 0 };
    int rc;

    log_setup("controller", config->log_level);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of write, as a full disk is */
    umask(0077);
    /* Each larger allocation of a request would first merge all small free ones: a twentieth of
     * the time of a submit. The thread cache serves the small ones as well without. */
    mallopt(M_MXFAST, 0);
    /* Inventories are megabytes of mostly nothing: pages of their own, given back when done. */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    uv_loop_init(&controller.loop);
    rc = start(&controller, &err);
    if (rc < 0) {
        log_error("%s", err.text[0] ? err.text : strerror(-rc));
        _exit(exit_code(rc)); /* nothing was accepted: nothing to save */
    }
    uv_signal_init(&controller.loop, &controller.sigterm);
    uv_signal_init(&controller.loop, &controller.sigint);
    controller.sigterm.data = controller.sigint.data = &controller;
    uv_signal_start(&controller.sigterm, on_signal, SIGTERM);
    uv_signal_start(&controller.sigint, on_signal, SIGINT);
    controller.ready = true;
    log_info("answers on port %u", (unsigned)http_server_port(controller.server));
    uv_run(&controller.loop, UV_RUN_DEFAULT);
    clean_up(&controller);
    log_info("stopped");
    return 0;
}
