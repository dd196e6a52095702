#include "controller/session.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "controller/api.h"
#include "controller/leases.h"
#include "wire/members.h"
#include "controller/metrics.h"
#include "controller/receipts.h"
#include "controller/relay.h"
#include "controller/session_command.h"
#include "controller/session_guard.h"
#include "controller/bridge.h"
#include "controller/sizes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSION_LINE_BYTES_MAX ((size_t)WIRE_LINE_BYTES_MAX)
#define SESSION_REISSUE_BYTES_MAX ((size_t)1 << 30)
#define SESSION_REPORTS_ARENA_MAX ((size_t)256 << 20)
#define SESSION_CHIPS_ARENA_MAX ((size_t)4 << 20)

struct site_session {
    struct site_session *next;
    struct sessions *sessions;
    char site[MODEL_NAME_BYTES];
    uint64_t number;
    struct api_call *call; /* the command stream; NULL = not open */
    bool opened;           /* RECONCILE is out: commands may follow */
    bool lost_unnoted;     /* SITE_LOST could not be journaled yet */
    int64_t backlog_since_ms;
    struct session_guard guard; /* of the site, whatever session it is in */
};
struct sessions {
    struct controller *controller;
    struct site_session *list;
    uint64_t number_last;
    uv_timer_t ping;
};

static struct site_session *find(const struct sessions *sessions, const char *site)
{
    for (struct site_session *session = sessions->list; session; session = session->next)
        if (!strcmp(session->site, site))
            return session;
    return NULL;
}

bool sessions_is_open(const struct sessions *sessions, const char *site)
{
    const struct site_session *session = find(sessions, site);

    return session && session->call && session->opened;
}

uint32_t sessions_count(const struct sessions *sessions)
{
    uint32_t count = 0;

    for (struct site_session *session = sessions->list; session; session = session->next)
        count += session->call != NULL;
    return count;
}

/* --- lost and found --------------------------------------------------------------------------- */

static void note_lost(struct site_session *session)
{
    struct controller *controller = session->sessions->controller;
    struct event event = { .type = EVENT_SITE_LOST };
    struct change change = { 0 };
    uint64_t seq = 0;
    struct err err = { 0 };
    int rc;

    event.site_lost.site = session->site;
    event.site_lost.session = session->number;
    rc = shell_apply(controller->shell, &event, NULL, &seq, &err);
    session->lost_unnoted = rc == -EROFS || rc == -ENOBUFS;
    if (rc < 0)
        return;
    if (change_from_event(seq, &event, &change))
        events_note(controller->events, &change);
}

void sessions_retry(struct sessions *sessions)
{
    for (struct site_session *session = sessions->list; session; session = session->next)
        if (session->lost_unnoted && !session->call)
            note_lost(session);
}

/* The stream ended, whoever ended it. */
static void stream_over(struct site_session *session, const char *why)
{
    struct sessions *sessions = session->sessions;

    log_info("site %s: session %" PRIu64 " is over: %s", session->site, session->number, why);
    session->call = NULL;
    session->opened = false;
    if (!sessions_count(sessions))
        uv_timer_stop(&sessions->ping);
    if (!sessions->controller->stopping)
        note_lost(session);
}

static void on_stream_gone(struct api_call *call)
{
    stream_over(call->kept, "the agent went away");
}

static void end_stream(struct site_session *session, const char *why)
{
    struct api_call *call = session->call;

    if (!call)
        return;
    call->gone = NULL;
    api_stream_end(call);
    stream_over(session, why);
}

/* --- sending ---------------------------------------------------------------------------------- */

static int push(struct site_session *session, const void *data, size_t len)
{
    int rc = session->call ? http_stream_push(session->call->request, data, len) : -ENOTCONN;

    if (rc == -ENOBUFS)
        end_stream(session, "it reads too slowly"); /* it reconciles when it is back */
    return rc;
}

int sessions_send(struct sessions *sessions, const char *site, const struct wire_command *command)
{
    CLEANUP(buf_fini) struct buf line = buf_init(SESSION_LINE_BYTES_MAX);
    struct site_session *session = find(sessions, site);
    int rc;

    if (!session || !session->call || !session->opened)
        return -ENOTCONN;
    rc = wire_command_print(command, &line);
    return rc < 0 ? rc : push(session, line.data, line.len);
}

/* Lines that wait for their seq; for this session only: a later one reconciles from the state. */
struct queued_lines {
    struct deferred deferred;
    struct site_session *session; /* never freed while the controller lives */
    uint64_t number;
    bool opens;
    struct buf lines;
};

static void send_queued(struct deferred *deferred)
{
    struct queued_lines *queued = CONTAINER_OF(deferred, struct queued_lines, deferred);
    struct site_session *session = queued->session;

    if (session->number == queued->number && session->call) {
        int rc = push(session, queued->lines.data, queued->lines.len);

        if (rc == 0 && queued->opens) {
            session->opened = true;
            relays_site_open(session->sessions->controller->relays, session->site);
        }
    }
    buf_fini(&queued->lines);
    free(queued);
}

static void queue_lines(struct site_session *session, uint64_t seq, struct buf *lines, bool opens)
{
    struct queued_lines *queued = calloc(1, sizeof(*queued));

    if (!queued) {
        buf_fini(lines);
        end_stream(session, "out of memory"); /* the reconnect makes up for what is lost here */
        return;
    }
    queued->deferred.run = send_queued;
    queued->session = session;
    queued->number = session->number;
    queued->opens = opens;
    queued->lines = *lines;
    shell_defer(session->sessions->controller->shell, seq, &queued->deferred);
}

/* A job whose spec cannot be opened any more must not hang as "starting" for ever. */
struct unstartable {
    struct deferred deferred;
    struct controller *controller;
    uint64_t job_id;
    uint32_t epoch;
    char reason[REASON_BYTES];
};

static void end_unstartable(struct deferred *deferred)
{
    struct unstartable *job = CONTAINER_OF(deferred, struct unstartable, deferred);
    struct event event = { .type = EVENT_ATTEMPT_ENDED };
    struct err err = { 0 };

    event.attempt_ended.job_id = job->job_id;
    event.attempt_ended.epoch = job->epoch;
    event.attempt_ended.outcome = OUTCOME_START_FAILED;
    event.attempt_ended.reason = job->reason;
    if (shell_apply(job->controller->shell, &event, NULL, NULL, &err) < 0)
        log_error("job %" PRIu64 ": %s", job->job_id, err.text);
    free(job);
}

static void give_up_start(struct controller *controller, uint64_t seq, const struct effect *effect,
                          const struct err *err)
{
    struct unstartable *job = calloc(1, sizeof(*job));

    log_error("job %" PRIu64 ": cannot be started: %s", effect->job_id, err->text);
    if (!job)
        return;
    job->deferred.run = end_unstartable;
    job->controller = controller;
    job->job_id = effect->job_id;
    job->epoch = effect->epoch;
    snprintf(job->reason, sizeof(job->reason), "%.150s", err->text);
    shell_defer(controller->shell, seq, &job->deferred);
}

void sessions_take_effect(struct sessions *sessions, uint64_t seq, const struct effect *effect)
{
    struct controller *controller = sessions->controller;
    struct site_session *session;
    struct buf line = buf_init(SESSION_LINE_BYTES_MAX);
    struct err err = { 0 };
    int rc;

    if (effect->type != EFFECT_RUN && effect->type != EFFECT_STOP &&
        effect->type != EFFECT_SUSPEND && effect->type != EFFECT_RESUME)
        return;
    session = find(sessions, effect->view.allocation.site);
    if (!session || !session->call)
        return;
    rc = command_print_effect(shell_grid(controller->shell), controller->auth, controller->seal,
                              effect, &line, &err);
    if (rc == 0) {
        queue_lines(session, seq, &line, false);
        return;
    }
    buf_fini(&line);
    if (effect->type == EFFECT_RUN)
        give_up_start(controller, seq, effect, &err);
}

static void on_ping(uv_timer_t *timer)
{
    struct sessions *sessions = timer->data;
    struct wire_command ping = { .type = WIRE_PING, .time_ms = clock_wall_ms() };
    struct buf line = buf_init(4096);

    if (wire_command_print(&ping, &line) == 0)
        for (struct site_session *session = sessions->list; session; session = session->next) {
            int64_t now = clock_mono_ms();

            if (!session->call)
                continue;
            if (!http_stream_backlog(session->call->request))
                session->backlog_since_ms = now;
            if (now - session->backlog_since_ms > WIRE_SILENCE_MS_MAX)
                end_stream(session, "nothing was read for too long");
            else if (leases_is_silent(sessions->controller->leases, session->site))
                end_stream(session, "nothing was heard for too long");
            else if (session->opened)
                push(session, line.data, line.len);
        }
    buf_fini(&line);
}

/* --- GET: the command stream --------------------------------------------------------------------
 */

struct reissue {
    struct controller *controller;
    const char *site;
    struct buf lines;
    struct wire_attempt_id *attempts, *suspended; /* of the same room */
    uint32_t count, suspended_count, cap;
    uint64_t seq;
    bool failed;
};

static bool grow_reissue(struct reissue *reissue)
{
    uint32_t cap = reissue->cap ? reissue->cap * 2 : 64;
    struct wire_attempt_id *more = realloc(reissue->attempts, cap * sizeof(*more));

    if (more)
        reissue->attempts = more;
    more = more ? realloc(reissue->suspended, cap * sizeof(*more)) : NULL;
    if (!more)
        return false;
    reissue->suspended = more;
    reissue->cap = cap;
    return true;
}

static void on_reissue(void *context, const struct effect *effect)
{
    struct reissue *reissue = context;
    struct controller *controller = reissue->controller;
    struct err err = { 0 };
    size_t before = reissue->lines.len;

    if (effect->type != EFFECT_RUN && effect->type != EFFECT_STOP)
        return;
    if (strcmp(effect->view.allocation.site, reissue->site) != 0)
        return;
    if (reissue->count == reissue->cap && !grow_reissue(reissue)) {
        reissue->failed = true;
        return;
    }
    reissue->attempts[reissue->count].job_id = effect->job_id;
    reissue->attempts[reissue->count++].epoch = effect->epoch;
    if (effect->view.suspended)
        reissue->suspended[reissue->suspended_count++] = reissue->attempts[reissue->count - 1];
    if (command_print_effect(shell_grid(controller->shell), controller->auth, controller->seal,
                             effect, &reissue->lines, &err) == 0)
        return;
    reissue->lines.len = before;
    if (effect->type == EFFECT_RUN)
        give_up_start(controller, reissue->seq, effect, &err);
}

/* RECONCILE and what is owed, from the state after `seq`, sent once that is durable. */
static void queue_opening(struct site_session *session, uint64_t seq)
{
    struct controller *controller = session->sessions->controller;
    struct reissue reissue = { .controller = controller,
                               .site = session->site,
                               .lines = buf_init(SESSION_REISSUE_BYTES_MAX),
                               .seq = seq };
    struct wire_command reconcile = { .type = WIRE_RECONCILE };
    struct buf all = buf_init(SESSION_REISSUE_BYTES_MAX);

    leases_fill(controller->leases, session->site, &reconcile);
    grid_reissue(shell_grid(controller->shell), on_reissue, &reissue);
    reconcile.attempts_count = reissue.count;
    reconcile.attempts = reissue.attempts;
    reconcile.suspended_count = reissue.suspended_count;
    reconcile.suspended = reissue.suspended;
    if (wire_command_print(&reconcile, &all) < 0 || reissue.failed ||
        buf_add(&all, reissue.lines.data ? reissue.lines.data : "", reissue.lines.len) < 0) {
        buf_fini(&all);
        end_stream(session, "out of memory");
    } else {
        queue_lines(session, seq, &all, true);
    }
    buf_fini(&reissue.lines);
    free(reissue.attempts);
    free(reissue.suspended);
}

const char *session_site_of(struct api_call *call)
{
    const char *site = http_request_query(call->request, "site");

    if (!site || !*site || strlen(site) >= MODEL_NAME_BYTES) {
        api_error(call, 400, "invalid", "site", "site: the site's name is needed");
        return NULL;
    }
    if (call->who.tenant[0] && strcmp(call->who.tenant, site) != 0) {
        api_error(call, 403, "forbidden", "site", "this token speaks for site %s, not %s",
                  call->who.tenant, site);
        return NULL;
    }
    /* What joined with a key of its own is not to be played by whoever holds a token. */
    if (!call->by_certificate && members_find(call->controller->members, site)) {
        api_error(call, 403, "forbidden", "site",
                  "site %s speaks with its certificate, not with a token", site);
        return NULL;
    }
    return site;
}

static bool is_current(struct api_call *call, const struct site_session *session)
{
    const char *text = http_request_query(call->request, "session");

    if (session && text && strtoull(text, NULL, 10) == session->number)
        return true;
    api_error(call, 409, "session_stale", "session",
              "this session is over: post a HELLO report to open another");
    return false;
}

void session_handle_stream(struct api_call *call)
{
    struct controller *controller = call->controller;
    const char *site = session_site_of(call);
    struct event event = { .type = EVENT_SITE_SEEN };
    struct wire_command terms = { 0 };
    struct site_session *session;
    struct change change = { 0 };
    struct err err = { 0 };
    uint64_t seq = 0;
    int rc;

    if (!site)
        return;
    session = find(controller->sessions, site);
    if (!is_current(call, session))
        return;
    end_stream(session, "the agent opened another stream");
    event.site_seen.site = session->site;
    event.site_seen.session = session->number;
    leases_fill(controller->leases, session->site, &terms);
    event.site_seen.lease_ms = terms.lease_ms; /* in the journal before the agent is told */
    rc = shell_apply(controller->shell, &event, NULL, &seq, &err);
    if (rc == -EALREADY)
        seq = shell_last_seq(controller->shell);
    else if (rc < 0) {
        api_fail(call, rc, &err);
        return;
    } else if (change_from_event(seq, &event, &change)) {
        events_note(controller->events, &change);
    }
    if (api_stream_begin(call, "application/x-ndjson", NULL, 0) < 0)
        return;
    session->call = call;
    session->opened = false;
    session->lost_unnoted = false;
    session->backlog_since_ms = clock_mono_ms();
    call->gone = on_stream_gone;
    call->kept = session;
    if (!uv_is_active((uv_handle_t *)&controller->sessions->ping))
        uv_timer_start(&controller->sessions->ping, on_ping, WIRE_HEARTBEAT_MS, WIRE_HEARTBEAT_MS);
    log_info("site %s: session %" PRIu64 " is open", session->site, session->number);
    queue_opening(session, seq);
}

/* --- POST: reports ------------------------------------------------------------------------------
 */

static void queue_event(const char *site, const struct wire_report *report,
                        struct freight_wait waits_out[WIRE_WAITS_MAX], struct event *event)
{
    event->type = EVENT_SITE_QUEUE;
    event->site_queue = (struct event_site_queue){ .site = site,
                                                   .waits_count = report->waits_count,
                                                   .waits = waits_out };
    for (uint32_t i = 0; i < report->waits_count; i++)
        waits_out[i] = (struct freight_wait){ .has_devices = report->waits[i].has_devices,
                                              .nodes_max = report->waits[i].nodes_max,
                                              .pending = report->waits[i].pending,
                                              .wait_ms = report->waits[i].wait_ms };
}

/* Fill `event`, which may point into `waits_out`, from a report that becomes one; false: it does
 * not. */
static bool event_from_report(const char *site, const struct wire_report *report,
                              struct freight_wait waits_out[WIRE_WAITS_MAX], struct event *event)
{
    memset(event, 0, sizeof(*event));
    switch (report->type) {
    case REPORT_HELLO:
    case REPORT_INVENTORY:
        event->type = EVENT_SITE_JOINED;
        event->site_joined.site = report->site;
        return true;
    case REPORT_STARTED:
        event->type = EVENT_ATTEMPT_STARTED;
        event->attempt_started.job_id = report->attempt.job_id;
        event->attempt_started.epoch = report->attempt.epoch;
        event->attempt_started.started_ms = report->started_ms;
        return true;
    case REPORT_PROGRESS:
        event->type = EVENT_ATTEMPT_PROGRESS;
        event->attempt_progress.job_id = report->attempt.job_id;
        event->attempt_progress.epoch = report->attempt.epoch;
        event->attempt_progress.usage = report->usage;
        event->attempt_progress.checkpoint_ms = report->checkpoint_ms;
        event->attempt_progress.reason = report->reason;
        event->attempt_progress.stall_ms = report->stall_ms;
        return true;
    case REPORT_ENDED:
        event->type = EVENT_ATTEMPT_ENDED;
        event->attempt_ended = (struct event_attempt_ended){ .job_id = report->attempt.job_id,
                                                             .epoch = report->attempt.epoch,
                                                             .outcome = report->outcome,
                                                             .exit_code = report->exit_code,
                                                             .started_ms = report->started_ms,
                                                             .ended_ms = report->ended_ms,
                                                             .usage = report->usage,
                                                             .reason = report->reason };
        return true;
    case REPORT_UNKNOWN:
        event->type = EVENT_ATTEMPT_UNKNOWN;
        event->attempt_unknown.job_id = report->attempt.job_id;
        event->attempt_unknown.epoch = report->attempt.epoch;
        return true;
    case REPORT_SUSPENDED:
        event->type = EVENT_ATTEMPT_SUSPENDED;
        event->attempt_suspended.job_id = report->attempt.job_id;
        event->attempt_suspended.epoch = report->attempt.epoch;
        event->attempt_suspended.suspended = report->suspended;
        event->attempt_suspended.reason = report->reason;
        return true;
    case REPORT_NODE:
        event->type = EVENT_NODE_STATE;
        event->node_state.site = site;
        event->node_state.node = report->node;
        event->node_state.device = report->device;
        event->node_state.cordoned = report->cordoned;
        event->node_state.reason = report->reason;
        return true;
    case REPORT_QUEUE:
        queue_event(site, report, waits_out, event);
        return true;
    case REPORT_LINK:
        event->type = EVENT_SITE_LINK;
        event->site_link = (struct event_site_link){ .site = site,
                                                     .down_bytes_s = report->down_bytes_s,
                                                     .up_bytes_s = report->up_bytes_s };
        return true;
    case REPORT_LOG:
    case REPORT_ALIVE:
    case REPORT_TARIFF:
        return false;
    }
    return false;
}

/* Of a site that says much nonsense, only some is logged. */
static void say_refused(struct site_session *session, const char *what, const char *why)
{
    uint32_t unsaid = 0;

    if (!session_guard_says(&session->guard, clock_mono_ms(), &unsaid))
        return;
    if (unsaid)
        log_warn("site %s: %" PRIu32 " more reports were refused", session->site, unsaid);
    log_warn("site %s: %s is refused: %s", session->site, what, why);
}

void sessions_refuse(struct sessions *sessions, const char *site, const char *what, const char *why)
{
    struct site_session *session = find(sessions, site);

    if (session)
        say_refused(session, what, why);
}

/* And does not stand yet, as far as is known. */
static bool is_told_to_stand(struct grid *grid, uint64_t job_id)
{
    struct job_view view;

    return grid_find_job(grid, job_id, &view) && view.suspended && !view.stands;
}

/* Is there something in it for the grid? Not in what was said before, nor on attempts that are
 * over; nor is it this site's to speak of an attempt that another one holds. */
static bool is_news(struct site_session *session, const struct wire_report *report)
{
    struct grid *grid = shell_grid(session->sessions->controller->shell);
    struct dark_view dark;
    struct attempt_place place;
    char what[64];

    switch (report->type) {
    case REPORT_STARTED:
    case REPORT_PROGRESS:
    case REPORT_ENDED:
    case REPORT_UNKNOWN:
    case REPORT_SUSPENDED:
        break;
    default:
        return true;
    }
    if (grid_dark_find(grid, report->attempt.job_id, report->attempt.epoch, &dark)) {
        if (strcmp(dark.site, session->site) == 0)
            return report->type == REPORT_ENDED || report->type == REPORT_UNKNOWN;
        snprintf(what, sizeof(what), "a report on job %" PRIu64, report->attempt.job_id);
        say_refused(session, what, "another site ran it");
        return false;
    }
    if (!grid_find_attempt(grid, report->attempt.job_id, report->attempt.epoch, &place))
        return false;
    if (strcmp(place.site, session->site) != 0) {
        snprintf(what, sizeof(what), "a report on job %" PRIu64, report->attempt.job_id);
        say_refused(session, what, "another site runs it");
        return false;
    }
    if (report->type == REPORT_SUSPENDED)
        return is_told_to_stand(grid, report->attempt.job_id);
    return report->type != REPORT_STARTED || !place.started;
}

/* Whose a site is that joined from elsewhere was said when it was invited: it is not its own to
 * say. */
static void set_owner(const struct controller *controller, struct site_info *site)
{
    const struct member *member = members_find(controller->members, site->name);

    if (member && member->owner[0])
        snprintf(site->owner, sizeof(site->owner), "%s", member->owner);
}

/* Reports of these kinds may come without end. */
static bool is_within_bounds(struct site_session *session, const struct wire_report *report,
                             size_t bytes)
{
    if (report->type != REPORT_PROGRESS && report->type != REPORT_NODE &&
        report->type != REPORT_INVENTORY && report->type != REPORT_HELLO &&
        report->type != REPORT_TARIFF && report->type != REPORT_SUSPENDED &&
        report->type != REPORT_QUEUE && report->type != REPORT_LINK)
        return true;
    return session_guard_takes(&session->guard, clock_mono_ms(), bytes);
}

/* A site says that its node is well again: what an operator has cordoned stays so. */
static bool is_operators(const struct site_session *session, const struct wire_report *report)
{
    const struct grid *grid = shell_grid(session->sessions->controller->shell);
    int site = grid_site_find(grid, session->site);
    bool reachable;
    const struct site_info *info =
        site < 0 ? NULL : grid_site_get(grid, (uint32_t)site, &reachable);
    struct node_view view;

    for (uint32_t i = 0; report->type == REPORT_NODE && !report->cordoned && info &&
                         report->device < 0 && i < info->nodes_count;
         i++)
        if (strcmp(info->nodes[i].name, report->node) == 0 &&
            grid_node_get(grid, (uint32_t)site, i, &view))
            return view.cordoned && strncmp(view.cordon_reason ? view.cordon_reason : "",
                                            WIRE_NODE_UNHEALTHY, strlen(WIRE_NODE_UNHEALTHY)) != 0;
    return false;
}

/* An inventory gets the catalogue's figures of its chips; one that is known already, as after each
 * session that broke, is not worth a record of 200 KiB. */
static int apply_report(struct controller *controller, struct event *event, uint64_t *seq_out,
                        struct err *err)
{
    CLEANUP(arena_fini) struct arena arena = arena_init(SESSION_CHIPS_ARENA_MAX);
    bool is_inventory = event->type == EVENT_SITE_JOINED;

    if (is_inventory && event_fill_chips(event, controller->catalogue, &arena) < 0)
        return err_set(err, -ENOMEM, "inventory: out of memory");
    if (is_inventory && grid_site_is_known(shell_grid(controller->shell), event) &&
        grid_check(shell_grid(controller->shell), event, err) == 0)
        return -EALREADY;
    return shell_apply(controller->shell, event, NULL, seq_out, err);
}

/* The owner's own series; what it cannot be, such as slots of another length, is told once. */
static int take_tariff(struct site_session *session, const struct tariff_file *tariff,
                       struct err *err)
{
    struct tariff_row *rows = calloc(tariff->count + 1u, sizeof(*rows));
    struct event event = { .type = EVENT_SITE_TARIFF };
    struct change change = { 0 };
    uint64_t seq = 0;
    int rc;

    if (!rows)
        return err_set(err, -ENOMEM, "tariff: out of memory");
    for (uint32_t i = 0; i < tariff->count; i++)
        rows[i] = (struct tariff_row){ tariff->rows[i].price_micro, tariff->rows[i].carbon_mg,
                                       tariff->rows[i].green_ppm, tariff->rows[i].cap_w };
    event.site_tariff = (struct event_site_tariff){ .site = session->site,
                                                    .kind = TARIFF_FACTS,
                                                    .from_ms = tariff->from_ms,
                                                    .slot_ms = tariff->slot_ms,
                                                    .rows_count = tariff->count,
                                                    .rows = rows,
                                                    .by = "its owner" };
    rc = shell_apply(session->sessions->controller->shell, &event, NULL, &seq, err);
    free(rows);
    if (rc == 0 && change_from_event(seq, &event, &change))
        events_note(session->sessions->controller->events, &change);
    if (rc == -EROFS || rc == -ENOBUFS || rc == -ENOMEM)
        return rc;
    if (rc < 0)
        log_warn("site %s: its owner's tariff is refused: %s", session->site, err->text);
    return 0;
}

/* Before the next pass, so that nothing is placed that its owner does not let in. */
static int take_policy(struct site_session *session, const struct site_policy *policy,
                       struct err *err)
{
    struct event event = { .type = EVENT_SITE_POLICY };
    struct change change = { 0 };
    uint64_t seq = 0;
    int rc;

    event.site_policy.site = session->site;
    event.site_policy.kind = POLICY_OWNER;
    event.site_policy.policies_count = 1;
    event.site_policy.policy = policy;
    event.site_policy.by = "";
    rc = shell_apply(session->sessions->controller->shell, &event, NULL, &seq, err);
    if (rc == 0 && change_from_event(seq, &event, &change))
        events_note(session->sessions->controller->events, &change);
    return rc == -EALREADY ? 0 : rc;
}

/* A report refused for what it says is told once and dropped: repeating it would not help.
 * Negative: the whole post must come again. */
static int take_report(struct site_session *session, const struct wire_report *report, size_t bytes,
                       struct err *err)
{
    struct controller *controller = session->sessions->controller;
    struct freight_wait waits[WIRE_WAITS_MAX];
    struct change change = { 0 };
    struct event event;
    uint64_t seq = 0;
    int rc;

    if (report->type == REPORT_LOG) {
        relays_take(controller->relays, session->site, report);
        return 0;
    }
    if (report->type == REPORT_TARIFF)
        return take_tariff(session, &report->tariff, err);
    if (is_operators(session, report))
        return 0;
    if (!is_news(session, report)) {
        if (report->type == REPORT_ENDED)
            receipts_forget(controller, session->site, shell_last_seq(controller->shell), report);
        return 0;
    }
    if (!event_from_report(session->site, report, waits, &event))
        return 0;
    if (event.type == EVENT_SITE_JOINED)
        set_owner(controller, &event.site_joined.site);
    event.time_ms = shell_now_ms(controller->shell);
    if (grid_check(shell_grid(controller->shell), &event, NULL) == 0 &&
        !is_within_bounds(session, report, bytes)) {
        say_refused(session, event_type_name(event.type), "it comes too often");
        return err_set(err, -EAGAIN, "site %s: so much was said so often that it must wait",
                       session->site);
    }
    if (event.type == EVENT_SITE_JOINED && strcmp(event.site_joined.site.name, session->site) != 0)
        return err_set(err, -EINVAL, "the inventory names site %s, the session is of %s",
                       event.site_joined.site.name, session->site);
    if (report->type == REPORT_ENDED && controller->sizes)
        sizes_find_outputs(controller->sizes, report->attempt.job_id, report->attempt.epoch,
                           &event.attempt_ended.output);
    /* Once an attempt: of an end that is refused, and may be told without end, nothing is kept. */
    if (report->type == REPORT_ENDED &&
        grid_check(shell_grid(controller->shell), &event, NULL) == 0)
        receipts_note(controller, session->site, report);
    rc = apply_report(controller, &event, &seq, err);
    if (rc == -EROFS || rc == -ENOBUFS || rc == -ENOMEM)
        return rc;
    if (rc < 0 && rc != -EALREADY && rc != -ENOENT)
        say_refused(session, event_type_name(event.type), err->text);
    if (rc == 0 && change_from_event(seq, &event, &change))
        events_note(controller->events, &change);
    if (report->type == REPORT_ENDED)
        receipts_forget(controller, session->site, shell_last_seq(controller->shell), report);
    if (event.type == EVENT_SITE_JOINED && rc < 0 && rc != -EALREADY)
        return rc;
    return report->policy ? take_policy(session, report->policy, err) : 0;
}

static struct site_session *open_session(struct sessions *sessions, const char *site)
{
    struct site_session *session = find(sessions, site);

    if (!session) {
        session = calloc(1, sizeof(*session));
        if (!session)
            return NULL;
        session->sessions = sessions;
        snprintf(session->site, sizeof(session->site), "%s", site);
        session->next = sessions->list;
        sessions->list = session;
    }
    end_stream(session, "the agent said HELLO again");
    /* Grows over restarts as well. */
    sessions->number_last = MAX(sessions->number_last + 1, (uint64_t)clock_wall_ms());
    session->number = sessions->number_last;
    return session;
}

void sessions_fence(struct sessions *sessions, const char *site)
{
    if (find(sessions, site))
        open_session(sessions, site);
}

struct report_line {
    const char *text;
    size_t len;
};

static bool next_line(const char **at, const char *end, struct report_line *line)
{
    while (*at < end) {
        const char *stop = memchr(*at, '\n', (size_t)(end - *at));

        line->text = *at;
        line->len = (size_t)((stop ? stop : end) - *at);
        *at = stop ? stop + 1 : end;
        if (line->len && line->text[line->len - 1] == '\r')
            line->len--;
        if (line->len)
            return true;
    }
    return false;
}

/* 1: a report; 0: one this version does not know; -errno. */
static int parse_line(const struct report_line *line, struct arena *arena,
                      struct wire_report *report, struct err *err)
{
    int rc = wire_report_parse(line->text, line->len, arena, report, err);

    if (rc == -ENOTSUP)
        return 0;
    return rc < 0 ? rc : 1;
}

/* Attempts that were closed when the site's lease ended, and that it does not hold: nothing more
 * will be told of them. */
static int close_dark(struct site_session *session, const struct wire_report *hello,
                      struct err *err)
{
    struct shell *shell = session->sessions->controller->shell;
    struct dark_view dark;
    uint32_t cursor = 0;
    int rc = 0;

    while (rc == 0 && grid_dark_next(shell_grid(shell), &cursor, &dark)) {
        struct event event = { .type = EVENT_ATTEMPT_UNKNOWN };
        bool is_held = strcmp(dark.site, session->site) != 0;

        for (uint32_t i = 0; i < hello->attempts_count && !is_held; i++)
            is_held =
                hello->attempts[i].job_id == dark.job_id && hello->attempts[i].epoch == dark.epoch;
        if (is_held)
            continue;
        event.attempt_unknown.job_id = dark.job_id;
        event.attempt_unknown.epoch = dark.epoch;
        rc = shell_apply(shell, &event, NULL, NULL, err);
        cursor--; /* it is gone from the list */
    }
    return rc;
}

static void take_hello(struct api_call *call, const char *site, struct wire_report *report,
                       size_t bytes)
{
    struct sessions *sessions = call->controller->sessions;
    struct site_session *session = open_session(sessions, site);
    struct err err = { 0 };
    int rc = session ? take_report(session, report, bytes, &err) : -ENOMEM;

    leases_hello(call->controller->leases, site, report->boot_ms);
    bridges_hello(call->controller->bridges, site, report->incarnation);
    if (rc == 0)
        rc = close_dark(session, report, &err);
    if (rc < 0)
        api_fail(call, rc, &err);
    else
        api_reply_durable(call, shell_last_seq(call->controller->shell), 200,
                          json_pack("{s:I}", "session", (json_int_t)session->number));
}

void session_handle_reports(struct api_call *call)
{
    CLEANUP(arena_fini) struct arena arena = arena_init(SESSION_REPORTS_ARENA_MAX);
    struct site_session *session;
    struct report_line line;
    size_t len = 0;
    const char *at = http_request_body(call->request, &len);
    const char *site = session_site_of(call); /* NULL: answered, the call is over */
    const char *end = at ? at + len : NULL;
    json_int_t accepted = 0;
    bool heard = false, waits = false;
    struct err err = { 0 };
    int rc = 0;

    if (!site)
        return;
    while (rc >= 0 && at && next_line(&at, end, &line)) {
        struct wire_report report = { 0 };

        rc = parse_line(&line, &arena, &report, &err);
        if (rc > 0 && report.type == REPORT_HELLO) {
            take_hello(call, site, &report, line.len);
            site_info_fini(&report.site);
            return;
        }
        session = find(call->controller->sessions, site);
        if (rc > 0 && !is_current(call, session)) {
            site_info_fini(&report.site);
            return;
        }
        if (rc > 0 && (!heard || report.boot_ms)) {
            leases_heard(call->controller->leases, site, report.boot_ms);
            heard = true;
        }
        waits |= rc > 0 && report.type != REPORT_ALIVE;
        if (rc > 0)
            rc = take_report(session, &report, line.len, &err);
        site_info_fini(&report.site);
        accepted++;
    }
    if (rc < 0) {
        api_fail(call, rc, &err);
        return;
    }
    if (!waits) { /* a full disk here is no reason to let its lease end */
        api_reply_json(call, 200, json_pack("{s:I}", "accepted", accepted));
        return;
    }
    api_reply_durable(call, shell_last_seq(call->controller->shell), 200,
                      json_pack("{s:I}", "accepted", accepted));
}

/* --- life ------------------------------------------------------------------------------------- */

struct sessions *sessions_create(struct controller *controller)
{
    struct sessions *sessions = calloc(1, sizeof(*sessions));

    if (!sessions)
        return NULL;
    sessions->controller = controller;
    uv_timer_init(&controller->loop, &sessions->ping);
    sessions->ping.data = sessions;
    return sessions;
}

void sessions_begin(struct sessions *sessions)
{
    struct shell *shell = sessions->controller->shell;
    uint32_t count = grid_site_count(shell_grid(shell));

    for (uint32_t i = 0; i < count; i++) {
        struct event event = { .type = EVENT_SITE_LOST };
        char name[MODEL_NAME_BYTES];
        bool reachable = false;
        uint64_t seq = 0;
        struct err err = { 0 };

        snprintf(name, sizeof(name), "%s", grid_site_get(shell_grid(shell), i, &reachable)->name);
        if (!reachable)
            continue;
        event.site_lost.site = name;
        event.site_lost.session = grid_site_session(shell_grid(shell), i);
        if (shell_apply(shell, &event, NULL, &seq, &err) < 0)
            log_warn("site %s: %s", name, err.text);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct sessions *sessions = handle->data;
    struct site_session *next;

    for (struct site_session *session = sessions->list; session; session = next) {
        next = session->next;
        free(session);
    }
    free(sessions);
}

void sessions_destroy(struct sessions *sessions)
{
    if (!sessions)
        return;
    for (struct site_session *session = sessions->list; session; session = session->next)
        end_stream(session, "the controller stops");
    uv_close((uv_handle_t *)&sessions->ping, on_closed);
}
