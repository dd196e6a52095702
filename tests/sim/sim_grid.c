/* sim_grid - the real grid under random jobs, faults and clocks.
 *
 *   sim_grid [--seeds A-B] [--steps N]       many seeds; one TAP line
 *   sim_grid --seed N [--steps N] --verbose  one seed, every event printed
 *   sim_grid --seed N --corpus FOLDER        its events and states as inputs for the fuzzers
 *
 * The driver is a shell as the controller is one: it logs an event, steps, and performs the effects
 * once the event is durable. A crash loses what was not durable and all that was on the way; the
 * grid comes back by replay, or from a snapshot and the tail. */
#include "base/arena.h"
#include "base/file.h"
#include "sim_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the shell -------------------------------------------------------------------------------- */

static uint64_t together(const struct effect *effect)
{
    uint64_t marks = sim_mark(effect->epoch);

    for (uint32_t i = 0; i < effect->view.across.sites_count; i++)
        marks |= sim_mark(effect->view.across.sites[i].epoch);
    return marks;
}

static int command_of(enum effect_type type)
{
    return type == EFFECT_RUN       ? SIM_RUN
           : type == EFFECT_SUSPEND ? SIM_SUSPEND
           : type == EFFECT_RESUME  ? SIM_RESUME
                                    : SIM_STOP;
}

static void hear(void *context, const struct effect *effect)
{
    struct sim *sim = context;
    struct pending one = { .site = SITES_MAX };

    model_hear(&sim->model, &sim->truth, sim->grid, effect);
    if (sim->quiet_ear || effect->type == EFFECT_JOB_CHANGED || effect->type == EFFECT_JOB_ENDED ||
        effect->type == EFFECT_SETTLED || effect->type == EFFECT_RECEIPT)
        return;
    one.site = 0; /* the driver's own number: the grid counts sites as they join */
    if (effect->type == EFFECT_USAGE)
        one.site = SITES_MAX;
    while (one.site < SITES_MAX &&
           strcmp(sim->sites[one.site].name, effect->view.allocation.site) != 0)
        one.site++;
    one.command.type = command_of(effect->type);
    one.command.job_id = effect->job_id;
    one.command.epoch = effect->epoch;
    one.command.together = together(effect);
    one.command.duration_ms_max = effect->view.request->duration_ms_max;
    one.command.is_leased = sim_lease_binds(effect->view.request);
    if (sim->pending_count == sim->pending_cap) {
        sim->pending_cap = sim->pending_cap ? sim->pending_cap * 2 : 64;
        sim->pending = realloc(sim->pending, sim->pending_cap * sizeof(one));
        if (!sim->pending)
            abort();
    }
    sim->pending[sim->pending_count++] = one;
}

void sim_check_state(struct sim *sim, const char *after)
{
    struct err err = { 0 };

    if (!sim->truth.failure[0] && grid_check_invariants(sim->grid, &err) < 0)
        sim_fail(&sim->truth, "after %s: %.200s", after, err.text);
}

static void print_event(const struct sim *sim, const struct event *event)
{
    json_t *json = event_to_json(event);
    char *text = json_dumps(json, JSON_COMPACT);

    printf("# %u %.700s\n", sim->entries_count, text ? text : "?");
    free(text);
    json_decref(json);
}

/* Log and step, if the grid takes it. The effects wait. */
bool sim_apply(struct sim *sim, struct event *event)
{
    struct entry *entry = &sim->entries[sim->entries_count];
    struct step_result result = { 0 };
    struct err err = { 0 };

    if (sim->entries_count == LOG_MAX || sim->truth.failure[0])
        return false;
    if (grid_check(sim->grid, event, &err) < 0)
        return false;
    if (sim->verbose)
        print_event(sim, event);
    *entry = (struct entry){ .at = sim->log.len, .ack_site = SITES_MAX };
    if (event_encode(event, &sim->log) < 0) {
        sim_fail(&sim->truth, "event %s cannot be encoded", event_type_name(event->type));
        return false;
    }
    entry->len = sim->log.len - entry->at;
    model_advance(&sim->model, event->time_ms);
    if (grid_step(sim->grid, event, hear, sim, &result, &err) < 0)
        sim_fail(&sim->truth, "the grid took %s in its check and not in its step: %.100s",
                 event_type_name(event->type), err.text);
    if (event->type == EVENT_JOB_SUBMITTED) {
        bool is_array = event->job_submitted.elements_count > 0;

        entry->first_id = result.job_id + is_array;
        entry->ids_count = result.repeated ? 0 : result.jobs_count;
        if (!result.repeated)
            sim->next_id = result.job_id + is_array + result.jobs_count;
    }
    entry->effects_end = sim->pending_count;
    sim->entries_count++;
    sim_check_state(sim, event_type_name(event->type));
    return true;
}

static void bill(struct sim_truth *truth, uint64_t job_id, uint32_t epoch)
{
    truth->billed[job_id] |= sim_mark(epoch);
    truth->billed[job_id] &= ~sim_mark(epoch + 32);
}

/* All that is logged is safe: answer, acknowledge, perform. */
void sim_commit(struct sim *sim)
{
    for (; sim->durable_count < sim->entries_count; sim->durable_count++) {
        const struct entry *entry = &sim->entries[sim->durable_count];

        for (uint64_t i = 0; i < entry->ids_count; i++)
            sim->answered[entry->first_id + i] = 1;
        if (entry->ack_site < SITES_MAX)
            sim_site_acknowledge(&sim->sites[entry->ack_site], entry->ack_job, entry->ack_epoch);
        for (; sim->performed_count < entry->effects_end; sim->performed_count++) {
            const struct pending *one = &sim->pending[sim->performed_count];

            if (one->site < SITES_MAX)
                sim_site_send(&sim->sites[one->site], &one->command);
            else
                bill(&sim->truth, one->command.job_id, one->command.epoch);
            if (one->site == SITES_MAX &&
                (sim->truth.running[one->command.job_id] & sim_mark(one->command.epoch)))
                sim_fail(&sim->truth, "job %" PRIu64 " attempt %u is billed and still runs",
                         one->command.job_id, one->command.epoch);
        }
    }
}

int64_t sim_event_time(struct sim *sim)
{
    uint64_t draw = rng_below(&sim->rng, 100);

    if (draw == 0)
        return sim->now_ms > 3600000 ? sim->now_ms - 3600000 : 0; /* a clock set back */
    if (draw == 1 && rng_below(&sim->rng, 10) == 0)
        sim->now_ms += 25 * 3600000LL; /* a day asleep: keys are forgotten */
    return sim->now_ms;
}

/* --- restarts --------------------------------------------------------------------------------- */

static struct grid *replay(struct sim *sim, struct grid *grid, uint32_t from)
{
    struct arena arena = arena_init(64 << 20);

    for (uint32_t i = from; i < sim->entries_count; i++) {
        struct err err = { 0 };
        struct event event;

        if (event_decode(sim->log.data + sim->entries[i].at, sim->entries[i].len, &arena, &event,
                         &err) < 0) {
            sim_fail(&sim->truth, "event %u cannot be read back: %.150s", i, err.text);
            break;
        }
        sim->grid = grid;
        if (!from)
            model_advance(&sim->model, event.time_ms);
        if (grid_step(grid, &event, from ? NULL : hear, sim, NULL, &err) < 0)
            sim_fail(&sim->truth, "event %u is refused in replay: %.150s", i, err.text);
        arena_fini(&arena);
    }
    return grid;
}

static bool same_bytes(struct sim *sim, const struct grid *a, const struct grid *b,
                       const char *what)
{
    struct buf x = buf_init(64 << 20), y = buf_init(64 << 20);
    bool same;

    grid_snapshot(a, &x);
    grid_snapshot(b, &y);
    same = x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
    if (!same)
        sim_fail(&sim->truth, "%s gives another state (%zu and %zu bytes)", what, x.len, y.len);
    buf_fini(&x);
    buf_fini(&y);
    return same;
}

/* The whole log again, and the model with it; the same state must come out. */
static void check_replay(struct sim *sim, const char *what)
{
    struct grid *live = sim->grid, *again;

    model_reset(&sim->model);
    sim->quiet_ear = true;
    again = replay(sim, grid_create(), 0);
    sim->quiet_ear = false;
    sim->grid = live;
    if (live)
        same_bytes(sim, live, again, what);
    if (live)
        grid_destroy(again);
    else
        sim->grid = again;
}

static void check_restore(struct sim *sim)
{
    struct buf bytes = buf_init(64 << 20);
    struct grid *restored = NULL;
    struct err err = { 0 };

    grid_snapshot(sim->grid, &bytes);
    if (grid_restore(bytes.data, bytes.len, &restored, &err) < 0) {
        sim_fail(&sim->truth, "a snapshot cannot be read back: %.150s", err.text);
    } else if (same_bytes(sim, sim->grid, restored, "a snapshot restored") &&
               rng_below(&sim->rng, 2)) {
        /* Go on with the restored one: nothing may tell them apart. */
        struct grid *old = sim->grid;

        sim->grid = restored;
        restored = old;
    }
    grid_destroy(restored);
    buf_fini(&bytes);
}

static void save_snapshot(struct sim *sim)
{
    sim_commit(sim);
    buf_clear(&sim->saved);
    grid_snapshot(sim->grid, &sim->saved);
    sim->saved_count = sim->entries_count;
}

static void lose_sessions(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->sites_count; i++) {
        struct event event = { .type = EVENT_SITE_LOST };

        if (rng_below(&sim->rng, 4) == 0)
            continue; /* a shell that does not say so must be safe too */
        event.time_ms = sim_event_time(sim);
        event.site_lost.site = sim->sites[i].name;
        event.site_lost.session = sim->sites[i].session;
        sim_apply(sim, &event);
    }
}

static void crash(struct sim *sim)
{
    struct grid *restored = NULL;
    struct err err = { 0 };

    sim->crashes++;
    if (sim->verbose)
        printf("# crash: events %u to %u are lost\n", sim->durable_count, sim->entries_count);
    if (rng_below(&sim->rng, 2))
        sim_commit(sim);
    sim->entries_count = sim->durable_count;
    sim->log.len = sim->entries_count ? sim->entries[sim->entries_count - 1].at +
                                            sim->entries[sim->entries_count - 1].len
                                      : 0;
    sim->pending_count = sim->performed_count;
    grid_destroy(sim->grid);
    sim->grid = NULL;
    sim->next_id = 1;
    for (uint32_t i = 0; i < sim->entries_count; i++)
        if (sim->entries[i].ids_count)
            sim->next_id = sim->entries[i].first_id + sim->entries[i].ids_count;
    check_replay(sim, "replay");
    if (sim->saved_count && rng_below(&sim->rng, 2)) {
        struct grid *full = sim->grid;

        if (grid_restore(sim->saved.data, sim->saved.len, &restored, &err) < 0) {
            sim_fail(&sim->truth, "the saved snapshot cannot be read: %.150s", err.text);
        } else {
            restored = replay(sim, restored, sim->saved_count);
            sim->grid = full;
            same_bytes(sim, full, restored, "snapshot and tail");
            sim->grid = restored;
            grid_destroy(full);
        }
    }
    for (uint32_t i = 0; i < sim->sites_count; i++) {
        sim_site_drop_session(&sim->sites[i]);
        sim_lease_heard(&sim->sites[i].lease, sim->now_ms); /* or not: nobody knows */
    }
    lose_sessions(sim);
    sim_check_state(sim, "crash");
}

/* --- sessions --------------------------------------------------------------------------------- */

struct reissue {
    struct sim *sim;
    struct sim_site *site;
    bool runs; /* starting ones; else stops */
};

static void send_again(void *context, const struct effect *effect)
{
    struct reissue *reissue = context;
    struct sim_command command = { .job_id = effect->job_id, .epoch = effect->epoch };
    bool is_run = effect->type == EFFECT_RUN;

    if (strcmp(effect->view.allocation.site, reissue->site->name) != 0 || is_run != reissue->runs)
        return;
    if (is_run && effect->view.state != JOB_STARTING)
        return;
    command.type = is_run ? SIM_RUN : SIM_STOP;
    command.together = together(effect);
    command.duration_ms_max = effect->view.request->duration_ms_max;
    command.is_leased = sim_lease_binds(effect->view.request);
    sim_site_send(reissue->site, &command);
}

struct listing {
    const struct sim_site *site;
    struct sim_command *command;
};

static void list_held(void *context, const struct effect *effect)
{
    const struct listing *listing = context;
    struct sim_command *command = listing->command;

    if (strcmp(effect->view.allocation.site, listing->site->name) != 0)
        return;
    command->listed[3 * command->listed_count] = effect->job_id;
    command->listed[3 * command->listed_count + 1] = effect->epoch;
    command->listed[3 * command->listed_count++ + 2] = effect->view.suspended;
}

static void send_reconcile(struct sim *sim, struct sim_site *site)
{
    struct sim_command command = { .type = SIM_RECONCILE, .hello_ms = sim->now_ms };
    struct listing listing = { site, &command };

    command.listed = calloc(3 * SIM_IDS_MAX, sizeof(uint64_t));
    if (!command.listed)
        abort();
    grid_reissue(sim->grid, list_held, &listing);
    sim_site_send(site, &command);
}

void sim_join(struct sim *sim, struct sim_site *site)
{
    static const struct chip_figures figures[] = {
        { .kind = "chip-a",
          .metric_milli = { [METRIC_BF16_TFLOPS] = 200000 },
          .power_watts = 300,
          .power_idle_watts = -1 },
        { .kind = "chip-b",
          .metric_milli = { [METRIC_BF16_TFLOPS] = 500000 },
          .power_watts = 700,
          .power_idle_watts = 70 },
    };
    struct node_info *nodes = calloc(SIM_NODES_MAX, sizeof(*nodes));
    struct event event = { .type = EVENT_SITE_JOINED, .time_ms = sim_event_time(sim) };

    if (!nodes)
        abort();
    sim_site_inventory(site, &event.site_joined.site, nodes);
    event.site_joined.chips = figures;
    event.site_joined.chips_count = 2;
    sim_apply(sim, &event);
    free(nodes);
}

static void set_forgotten(struct sim *sim, const struct sim_site *site, bool forgotten)
{
    struct event event = { .type = EVENT_SITE_FORGOTTEN, .time_ms = sim_event_time(sim) };

    event.site_forgotten.site = site->name;
    event.site_forgotten.forgotten = forgotten;
    event.site_forgotten.by = "op";
    event.site_forgotten.reason = "gone";
    sim_apply(sim, &event);
}

static bool is_forgotten(const struct sim *sim, const struct sim_site *site)
{
    int index = grid_site_find(sim->grid, site->name);

    return index >= 0 && grid_site_is_forgotten(sim->grid, (uint32_t)index);
}

/* Of what was closed unheard, it does not hold this: nothing more will come. */
static void close_dark(struct sim *sim, struct sim_site *site)
{
    struct dark_view dark;

    for (uint32_t cursor = 0; grid_dark_next(sim->grid, &cursor, &dark);) {
        struct event event = { .type = EVENT_ATTEMPT_UNKNOWN, .time_ms = sim_event_time(sim) };

        event.attempt_unknown.job_id = dark.job_id;
        event.attempt_unknown.epoch = dark.epoch;
        if (strcmp(dark.site, site->name) == 0 && !sim_site_holds(site, dark.job_id, dark.epoch) &&
            sim_apply(sim, &event))
            cursor--;
    }
}

static void open_session(struct sim *sim, struct sim_site *site)
{
    struct event event = { .type = EVENT_SITE_SEEN };
    struct reissue reissue = { .sim = sim, .site = site, .runs = true };

    if (site->is_open)
        return;
    sim_join(sim, site);
    if (is_forgotten(sim, site))
        return; /* its HELLO is refused */
    close_dark(sim, site);
    if (rng_below(&sim->rng, 2))
        sim_tell_power(sim, site);
    sim_lease_heard(&site->lease, sim->now_ms);
    event.site_seen.lease_ms = SIM_LEASE_MS;
    event.time_ms = sim_event_time(sim);
    site->session = event.site_seen.session = ++sim->next_session;
    event.site_seen.site = site->name;
    sim_apply(sim, &event);
    sim_commit(sim); /* only what is durable may be told */
    site->is_open = true;
    if (rng_below(&sim->rng, 2))
        grid_reissue(sim->grid, send_again, &reissue);
    send_reconcile(sim, site);
    reissue.runs = false;
    grid_reissue(sim->grid, send_again, &reissue);
}

static void close_session(struct sim *sim, struct sim_site *site)
{
    struct event event = { .type = EVENT_SITE_LOST };

    if (!site->is_open)
        return;
    sim_site_drop_session(site);
    event.time_ms = sim_event_time(sim);
    event.site_lost.site = site->name;
    event.site_lost.session = site->session - (rng_below(&sim->rng, 8) == 0);
    sim_apply(sim, &event);
}

/* By the controller's own count the site's lease is over. */
static void end_lease(struct sim *sim, struct sim_site *site)
{
    int index = grid_site_find(sim->grid, site->name);
    struct event event = { .type = EVENT_SITE_LOST, .time_ms = sim_event_time(sim) };
    bool reachable;

    if (index < 0 || sim->now_ms < site->lease.surely_ms)
        return;
    close_session(sim, site);
    event.site_lost.site = site->name;
    event.site_lost.session = grid_site_session(sim->grid, (uint32_t)index);
    grid_site_get(sim->grid, (uint32_t)index, &reachable);
    if (reachable)
        sim_apply(sim, &event);
    event.type = EVENT_LEASE_ENDED;
    sim->truth.leases_ended += sim_apply(sim, &event);
}

static uint64_t recent_id(struct sim *sim)
{
    return sim->next_id - 1 - rng_below(&sim->rng, sim->next_id < 64 ? sim->next_id : 64);
}

static void move_job(struct sim *sim)
{
    struct event event = { .type = EVENT_JOB_MOVE, .time_ms = sim_event_time(sim) };
    const struct sim_site *to = &sim->sites[rng_below(&sim->rng, sim->sites_count)];
    bool is_taken = false;

    event.job_move.to = rng_below(&sim->rng, 2) ? to->name : "";
    event.job_move.force = rng_below(&sim->rng, 4) > 0;
    event.job_move.by = event.job_move.reason = "op";
    for (uint32_t i = 0; i < 16 && !is_taken; i++) { /* few run */
        event.job_move.job_id = recent_id(sim);
        is_taken = sim_apply(sim, &event);
    }
    sim->truth.moved += is_taken;
}

static void resize_job(struct sim *sim)
{
    struct event event = { .type = EVENT_JOB_RESIZE, .time_ms = sim_event_time(sim) };
    bool is_taken = false;

    event.job_resize.by = event.job_resize.reason = "op";
    for (uint32_t i = 0; i < 16 && !is_taken; i++) { /* few are elastic */
        event.job_resize.job_id = recent_id(sim);
        event.job_resize.tasks = (uint32_t)rng_below(&sim->rng, 9);
        is_taken = sim_apply(sim, &event);
    }
    sim->truth.wishes += is_taken;
}

/* The first event of each type, and the state now and then. */
static void write_corpus(const struct sim *sim)
{
    struct buf bytes = buf_init(64 << 20);
    bool seen[EVENT_TYPE_LAST + 1] = { false };
    char path[512];

    for (uint32_t i = 0; i < sim->entries_count; i++) {
        const char *record = sim->log.data + sim->entries[i].at;
        uint8_t type = (uint8_t)record[0];

        if (seen[type])
            continue;
        seen[type] = true;
        snprintf(path, sizeof(path), "%s/event/%s", sim->corpus, event_type_name(type));
        file_write(path, record, sim->entries[i].len, 0644, false, NULL);
    }
    grid_snapshot(sim->grid, &bytes);
    snprintf(path, sizeof(path), "%s/snapshot/%u", sim->corpus, sim->entries_count);
    file_write(path, bytes.data, bytes.len, 0644, false, NULL);
    buf_fini(&bytes);
}

/* --- steps ------------------------------------------------------------------------------------ */

static void submit(struct sim *sim)
{
    struct event event = { 0 };

    if (sim->next_id + 16 > SIM_IDS_MAX)
        return;
    sim_load_submit(&event, &sim->rng, sim->next_id, sim->now_ms, sim->serial++);
    event.time_ms = sim_event_time(sim);
    sim_apply(sim, &event);
}

static void cancel(struct sim *sim, uint64_t id)
{
    struct event event = { .type = EVENT_JOB_CANCELLED, .time_ms = sim_event_time(sim) };

    event.job_cancelled.job_id = id;
    event.job_cancelled.by = "alice";
    event.job_cancelled.reason = "no need";
    sim_apply(sim, &event);
}

static void simple(struct sim *sim, enum event_type type)
{
    struct event event = { .type = type, .time_ms = sim_event_time(sim) };

    if (type == EVENT_NOTE)
        event.note.text = "a note";
    sim_apply(sim, &event);
}

/* Of any attempt of any job, from any site: only those that may are taken, and the newest stays. */
static void store_checkpoint(struct sim *sim, const struct sim_site *site)
{
    char manifest[CHECKPOINT_NAME_CHARS + 1];
    struct event event = { .type = EVENT_CHECKPOINT_STORED, .time_ms = sim_event_time(sim) };
    struct event_checkpoint_stored *stored = &event.checkpoint_stored;
    struct job_view view;
    uint32_t epoch;
    int64_t saved_ms;

    stored->job_id = 1 + rng_below(&sim->rng, sim->next_id);
    if (site->attempts_count && rng_below(&sim->rng, 4))
        stored->job_id = site->attempts[rng_below(&sim->rng, site->attempts_count)].job_id;
    if (!grid_find_job(sim->grid, stored->job_id, &view) || !view.epoch)
        return;
    epoch = view.checkpoint_epoch;
    saved_ms = view.checkpoint_saved_ms;
    stored->epoch = view.epoch + (uint32_t)rng_below(&sim->rng, 3) - 1;
    stored->site = site->name;
    stored->saved_ms = sim->now_ms;
    stored->bytes = (int64_t)rng_below(&sim->rng, 1 << 20);
    for (uint32_t i = 0; i < CHECKPOINT_NAME_CHARS; i++)
        manifest[i] = "0123456789abcdef"[rng_below(&sim->rng, 16)];
    manifest[CHECKPOINT_NAME_CHARS] = '\0';
    stored->manifest = manifest;
    if (!sim_apply(sim, &event) || !grid_find_job(sim->grid, stored->job_id, &view))
        return;
    if (strcmp(view.checkpoint, manifest) != 0 || view.checkpoint_epoch < epoch ||
        (view.checkpoint_epoch == epoch && view.checkpoint_saved_ms < saved_ms))
        sim_fail(&sim->truth, "job %" PRIu64 ": an older checkpoint took a newer one's place",
                 stored->job_id);
}

/* What a site signs comes before the end itself: taken exactly of what the site holds. */
static void tell_receipt(struct sim *sim, const struct sim_site *site,
                         const struct sim_report *report)
{
    struct event event = { .type = EVENT_RECEIPT, .time_ms = sim_event_time(sim) };

    event.receipt =
        (struct event_receipt){ .job_id = report->attempt.job_id,
                                .epoch = report->attempt.epoch,
                                .site = site->name,
                                .verdict = (uint32_t)rng_below(&sim->rng, RECEIPT_UNSIGNED + 1),
                                .text = "text",
                                .signature = "signature",
                                .key = "key" };
    if (rng_below(&sim->rng, 2) && sim_apply(sim, &event) &&
        event.receipt.verdict > RECEIPT_VERDICT_LAST)
        sim_fail(&sim->truth, "a receipt of no verdict is taken");
}

void sim_deliver_report(struct sim *sim, struct sim_site *site, bool again)
{
    struct event event = { .time_ms = sim_event_time(sim) };
    struct sim_report report;
    uint32_t entry;

    if (!(again ? sim_site_repeat_report : sim_site_give_report)(site, &sim->rng, &report))
        return;
    if (report.type == SIM_ENDED)
        tell_receipt(sim, site, &report);
    entry = sim->entries_count;
    sim_report_event(&report, &sim->rng, sim->now_ms, &event);
    if (report.type == SIM_PROGRESS && rng_below(&sim->rng, 2))
        store_checkpoint(sim, site);
    if (sim_apply(sim, &event) && report.type == SIM_ENDED) {
        sim->entries[entry].ack_site = site->index;
        sim->entries[entry].ack_job = report.attempt.job_id;
        sim->entries[entry].ack_epoch = report.attempt.epoch;
    }
}

static void random_step(struct sim *sim)
{
    struct sim_site *site = &sim->sites[rng_below(&sim->rng, sim->sites_count)];
    uint64_t draw = rng_below(&sim->rng, 1000);
    struct event event = { 0 };

    sim->now_ms += (int64_t)rng_below(&sim->rng, rng_below(&sim->rng, 10) ? 1500 : 60000);
    for (uint32_t i = 0; i < sim->sites_count; i++) {
        sim_site_watch(&sim->sites[i], &sim->truth, sim->now_ms);
        if (sim->sites[i].is_open && rng_below(&sim->rng, 4))
            sim_lease_beat(&sim->sites[i].lease, &sim->rng, sim->now_ms);
    }
    sim_site_work(site, &sim->truth, &sim->rng, sim->now_ms);
    if (rng_below(&sim->rng, 8) == 0)
        end_lease(sim, site);
    if (draw < 190) {
        submit(sim);
    } else if (draw < 200) {
        if (rng_below(&sim->rng, 2))
            move_job(sim);
        else
            resize_job(sim);
    } else if (draw < 215) {
        sim_cut(sim, site);
    } else if (draw < 400) {
        if (grid_wants_pass(sim->grid))
            simple(sim, EVENT_PASS);
    } else if (draw < 550) {
        sim_site_take_command(site, &sim->truth, &sim->rng, sim->now_ms);
    } else if (draw < 670) {
        sim_deliver_report(sim, site, false);
    } else if (draw < 700) {
        sim_deliver_report(sim, site, true);
    } else if (draw < 800) {
        sim_commit(sim);
    } else if (draw < 840) {
        if (grid_next_timer_ms(sim->grid) <= sim->now_ms)
            simple(sim, EVENT_TICK);
    } else if (draw < 870) {
        cancel(sim, 1 + rng_below(&sim->rng, sim->next_id));
    } else if (draw < 890) {
        sim_tell_power(sim, site);
    } else if (draw < 895) {
        sim_tell_owner(sim, site);
    } else if (draw < 899) {
        sim_tell_freight(sim, site);
    } else if (draw < 910) {
        open_session(sim, site);
    } else if (draw < 920) {
        close_session(sim, site);
    } else if (draw < 925) {
        sim_site_wipe(site, &sim->truth);
        close_session(sim, site);
        if (rng_below(&sim->rng, 2))
            set_forgotten(sim, site, true);
    } else if (draw < 927) {
        set_forgotten(sim, site, false);
    } else if (draw < 935) {
        sim_change_inventory(sim, site);
    } else if (draw < 945) {
        sim_cordon(sim, site, rng_below(&sim->rng, 2));
    } else if (draw < 955) {
        if (rng_below(&sim->rng, 4) == 0)
            sim_load_cells(&event, &sim->rng, site->name);
        else if (rng_below(&sim->rng, 4))
            sim_load_tenant(&event, &sim->rng);
        else
            sim_load_policy(&event, &sim->rng);
        event.time_ms = sim_event_time(sim);
        sim_apply(sim, &event);
    } else if (draw < 965) {
        crash(sim);
    } else if (draw < 975) {
        check_restore(sim);
    } else if (draw < 980) {
        save_snapshot(sim);
    } else if (draw < 995) {
        sim_ask_why(sim);
    } else if (draw < 997) {
        store_checkpoint(sim, site);
    } else if (draw < 998) {
        sim_ask_plan(sim);
    } else if (rng_below(&sim->rng, 4) == 0) { /* a storm */
        for (uint64_t id = 1; id < sim->next_id; id++)
            cancel(sim, id);
    } else {
        simple(sim, EVENT_NOTE);
    }
}

/* --- the end: no more faults, and all that can run has run ---------------------------------------
 */

/* What cannot be stopped would wait for ever where all is guaranteed to others. */
static void calm_cells(struct sim *sim)
{
    struct cell_view cell;

    while (grid_cell(sim->grid, 0, &cell) && !sim->truth.failure[0]) {
        struct event event = { .type = EVENT_TENANT_CELLS, .time_ms = sim->now_ms };
        char tenant[MODEL_NAME_BYTES], chip[MODEL_NAME_BYTES];

        snprintf(tenant, sizeof(tenant), "%s", cell.tenant);
        snprintf(chip, sizeof(chip), "%s", cell.chip);
        event.tenant_cells.tenant = tenant;
        event.tenant_cells.site = cell.site;
        event.tenant_cells.chip = chip;
        event.tenant_cells.by = "op";
        sim_apply(sim, &event);
    }
}

static void heal(struct sim *sim)
{
    static const char *const tenants[] = { "alice", "bob", "carol" };

    for (uint32_t i = 0; i < 3; i++) {
        struct event event = { .type = EVENT_TENANT_SET, .time_ms = sim->now_ms };

        event.tenant_set.tenant = tenants[i];
        event.tenant_set.cpus_max = event.tenant_set.devices_milli_max = -1;
        event.tenant_set.jobs_max = event.tenant_set.budget_micro = -1;
        event.tenant_set.weight_milli = 1000;
        sim_apply(sim, &event);
    }
    calm_cells(sim);
    for (uint32_t i = 0; i < sim->sites_count; i++) {
        struct sim_site *site = &sim->sites[i];

        for (uint32_t n = 0; n < site->nodes_count; n++)
            site->nodes[n].present = true;
        close_session(sim, site);
        set_forgotten(sim, site, false);
        open_session(sim, site);
        sim_calm_power(sim, site);
        sim_calm_owner(sim, site);
        sim_calm_queue(sim, site);
        for (uint32_t n = 0; n < site->nodes_count; n++)
            for (int32_t d = -1; d < (int32_t)SIM_DEVICES_MAX; d++) {
                struct event event = { .type = EVENT_NODE_STATE, .time_ms = sim->now_ms };

                event.node_state.site = site->name;
                event.node_state.node = site->nodes[n].name;
                event.node_state.device = d;
                event.node_state.reason = "";
                sim_apply(sim, &event);
            }
    }
}

static uint64_t live(const struct sim *sim)
{
    struct grid_counts counts = grid_count(sim->grid);

    return counts.held + counts.queued + counts.starting + counts.running + counts.stopping;
}

static void run_quiet(struct sim *sim)
{
    uint32_t idle = 0;

    while (idle < 250 && live(sim) && !sim->truth.failure[0]) {
        uint32_t before = sim->entries_count;

        sim->now_ms += 2000;
        if (grid_wants_pass(sim->grid))
            simple(sim, EVENT_PASS);
        if (grid_next_timer_ms(sim->grid) <= sim->now_ms)
            simple(sim, EVENT_TICK);
        sim_commit(sim);
        for (uint32_t i = 0; i < sim->sites_count; i++) {
            struct sim_site *site = &sim->sites[i];

            sim_site_watch(site, &sim->truth, sim->now_ms);
            sim_lease_renew(&site->lease, sim->now_ms, sim->now_ms);
            sim_lease_heard(&site->lease, sim->now_ms);
            while (sim_site_take_command(site, &sim->truth, &sim->rng, sim->now_ms))
                ;
            sim_site_work(site, &sim->truth, &sim->rng, sim->now_ms);
            for (uint32_t k = 0; site->reports_count && k < 200; k++)
                sim_deliver_report(sim, site, false);
        }
        sim_commit(sim);
        idle = sim->entries_count == before ? idle + 1 : 0;
    }
}

static void check_rest(struct sim *sim)
{
    static const char *const stuck[] = {
        "busy",      "priority", "pass",      "parallel", "quota",
        "begin",     "starting", "running",   "stopping", "tariff",
        "suspended", "power",    "power_cut", "hours",    "contact"
    };
    struct job_view view;

    for (uint64_t id = 0; grid_next_job(sim->grid, id, NULL, &view);) {
        struct why why;

        id = view.id;
        grid_why(sim->grid, id, &why);
        for (size_t i = 0; i < ARRAY_COUNT(stuck); i++)
            if (strcmp(why.code, stuck[i]) == 0)
                sim_fail(&sim->truth, "job %" PRIu64 " never ended: %.150s", id, why.text);
    }
}

static void check_end(struct sim *sim)
{
    const struct model *model = &sim->model;
    struct dark_view dark;

    if (live(sim))
        sim_fail(&sim->truth, "%" PRIu64 " jobs are left", live(sim));
    for (uint64_t id = 1; id < sim->next_id; id++) {
        if (sim->answered[id] && sim->model.ended[id] != 1)
            sim_fail(&sim->truth, "job %" PRIu64 " was answered and ended %u times", id,
                     sim->model.ended[id]);
        if (sim->truth.running[id])
            sim_fail(&sim->truth, "job %" PRIu64 " runs after its end", id);
    }
    if (model->holdings_count || model->runs != model->rows ||
        model->cpu_ms != model->rows_cpu_ms ||
        model->device_milli_ms != model->rows_device_milli_ms)
        sim_fail(&sim->truth, "the ledger is not what was held: %" PRIu64 " of %" PRIu64 " CPU-ms",
                 model->rows_cpu_ms, model->cpu_ms);
    check_replay(sim, "replay of the whole log");
    check_restore(sim);
    for (uint32_t cursor = 0; grid_dark_next(sim->grid, &cursor, &dark);)
        sim_fail(&sim->truth, "job %" PRIu64 ": attempt %u was never settled", dark.job_id,
                 dark.epoch);
}

static bool run_seed(struct sim *sim, uint64_t seed, uint32_t steps, bool verbose,
                     const char *corpus)
{
    memset(sim, 0, sizeof(*sim));
    sim->corpus = corpus;
    sim->rng.state = seed * 0x9e3779b97f4a7c15u + 1;
    sim->verbose = verbose;
    sim->log = buf_init((size_t)1 << 30);
    sim->saved = buf_init(64 << 20);
    sim->grid = grid_create();
    sim->now_ms = 1000000;
    sim->next_id = 1;
    sim->sites_count = 1 + (uint32_t)rng_below(&sim->rng, SITES_MAX);
    for (uint32_t i = 0; i < sim->sites_count; i++)
        sim_site_init(&sim->sites[i], i, &sim->rng);
    for (uint32_t i = 0; i < 3 && seed % 2; i++) {
        struct event event = { .time_ms = sim->now_ms };

        sim_load_owner(&event, &sim->rng, i);
        sim_apply(sim, &event);
    }
    for (uint32_t i = 0; i < steps && !sim->truth.failure[0]; i++)
        random_step(sim);
    if (sim->corpus)
        write_corpus(sim);
    heal(sim);
    run_quiet(sim);
    check_rest(sim);
    for (uint64_t id = 1; id < sim->next_id; id++)
        cancel(sim, id);
    run_quiet(sim);
    sim_commit(sim);
    check_end(sim);
    grid_destroy(sim->grid);
    for (uint32_t i = 0; i < sim->sites_count; i++)
        sim_site_fini(&sim->sites[i]);
    model_fini(&sim->model);
    free(sim->pending);
    buf_fini(&sim->log);
    buf_fini(&sim->saved);
    return !sim->truth.failure[0];
}

int main(int argc, char **argv)
{
    uint64_t first = 1, last = 1000, events = 0, attempts = 0, crashes = 0, preempted = 0,
             leases = 0, settled = 0, moved = 0, across = 0, suspended = 0, resized = 0, wishes = 0;
    uint32_t steps = 400;
    struct sim *sim = calloc(1, sizeof(*sim));
    const char *corpus = NULL;
    bool verbose = false;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--seeds") == 0 &&
                   sscanf(value, "%" SCNu64 "-%" SCNu64, &first, &last) == 2) {
            i++;
        } else if (strcmp(argv[i], "--seed") == 0 && sscanf(value, "%" SCNu64, &first) == 1) {
            last = first;
            i++;
        } else if (strcmp(argv[i], "--corpus") == 0 && *value) {
            corpus = argv[++i];
        } else if (strcmp(argv[i], "--steps") == 0 && sscanf(value, "%" SCNu32, &steps) == 1) {
            i++;
        } else {
            fprintf(stderr, "usage: sim_grid [--seeds A-B | --seed N] [--steps N] [--verbose]\n");
            return 2;
        }
    }
    if (!sim)
        return 1;
    for (uint64_t seed = first; seed <= last; seed++) {
        if (!run_seed(sim, seed, steps, verbose, corpus)) {
            printf("1..1\nnot ok 1 - seed %" PRIu64 ": %s\n", seed, sim->truth.failure);
            printf("# again: %s --seed %" PRIu64 " --steps %u --verbose\n", argv[0], seed, steps);
            free(sim);
            return 1;
        }
        events += sim->entries_count;
        attempts += sim->truth.attempts_started;
        preempted += sim->truth.preempted;
        leases += sim->truth.leases_ended;
        settled += sim->model.settled;
        moved += sim->truth.moved;
        across += sim->truth.across;
        suspended += sim->truth.suspended;
        resized += sim->truth.resized;
        wishes += sim->truth.wishes;
        crashes += sim->crashes;
    }
    printf("1..1\nok 1 - seeds %" PRIu64 "-%" PRIu64 ": %" PRIu64 " events, %" PRIu64
           " attempts, %" PRIu64 " crashes, %" PRIu64 " times a job made way, %" PRIu64
           " leases ended, %" PRIu64 " attempts settled later, %" PRIu64 " moves, %" PRIu64
           " parts beside others, %" PRIu64 " times one stood still, %" PRIu64
           " attempts resized, %" PRIu64 " widths asked for\n",
           first, last, events, attempts, crashes, preempted, leases, settled, moved, across,
           suspended, resized, wishes);
    free(sim);
    return 0;
}
