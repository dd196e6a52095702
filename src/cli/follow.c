#include "cli/follow.h"

#include "base/clock.h"
#include "base/file.h"
#include "cli/job_show.h"
#include "cli/text.h"
#include "net/http_client.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define AGAIN_MS_LEAST 30
#define AGAIN_MS_MOST 1000
#define SECOND_CHANCE_MS 1000 /* a second Ctrl-C within this cancels */
#define LAST_WORDS_MS 10000   /* how long an ended job's output may take to arrive */
#define WAIT_S 20
#define SILENCE_MS 60000

struct follow;
struct stream {
    struct follow *follow;
    const char *name; /* "stdout" */
    int fd;           /* where it goes */
    int64_t offset, epoch;
    uint32_t tries; /* in a row that brought nothing */
    uv_timer_t timer;
    struct http_pending *pending;
    bool wanted, done;
    bool last;             /* asked for after the job had ended */
    bool whole;            /* its last answer ended as it should */
    uint32_t whole_breaks; /* `breaks` then */
};
struct follow {
    const struct follow_config *config;
    uv_loop_t loop;
    struct http_client *client;
    struct stream streams[2];
    uv_timer_t wait_timer, leave_timer;
    uv_signal_t signals[3];
    json_t *job;       /* as last heard */
    int64_t epoch;     /* of the newest attempt heard of */
    int64_t asked_ms;  /* first Ctrl-C; 0 = none */
    uint32_t failures; /* of the network, in a row */
    uint32_t breaks;   /* of the network, in all */
    bool final, lost, told, cancelling, stopped;
    int signal;
    int rc;
    struct err err;
};

static void ask_state(struct follow *follow);
static void stream_open(struct stream *stream);

static void finish(struct follow *follow, int rc)
{
    if (follow->stopped)
        return;
    follow->stopped = true;
    follow->rc = rc;
    uv_stop(&follow->loop);
}

static void finish_when_all_is_said(struct follow *follow)
{
    for (size_t i = 0; i < ARRAY_COUNT(follow->streams); i++)
        if (follow->streams[i].wanted && !follow->streams[i].done)
            return;
    if (follow->final)
        finish(follow, 0);
}

static int call(struct follow *follow, const char *method, const char *path, http_data_fn on_data,
                http_done_fn done, void *context, int64_t silence_ms,
                struct http_pending **pending_out)
{
    CLEANUP(freep) char *url = path_format("%s/api/v1%s", follow->config->remote->url, path);
    struct http_call request = { .method = method,
                                 .url = url,
                                 .bearer = follow->config->remote->token,
                                 .pin_sha256 = follow->config->remote->pin,
                                 .silence_timeout_ms = silence_ms };

    if (!url)
        return -ENOMEM;
    return http_client_call(follow->client, &request, on_data, done, context, pending_out,
                            &follow->err);
}

static int64_t delay_ms(uint32_t tries)
{
    int64_t delay = AGAIN_MS_LEAST;

    while (tries-- > 1 && delay < AGAIN_MS_MOST)
        delay *= 2;
    return MIN(delay, AGAIN_MS_MOST);
}

/* The network is gone or came back: said once each time. */
static void note_network(struct follow *follow, bool answers)
{
    if (answers && follow->lost)
        fprintf(stderr, "mains: the network answers again\n");
    follow->lost = follow->lost && !answers;
    if (answers) {
        follow->failures = 0;
        return;
    }
    if (++follow->failures == 5) {
        follow->lost = true;
        fprintf(stderr, "mains: %s does not answer; the job goes on; waiting for it\n",
                follow->config->remote->url);
    }
}

/* --- the job's output ------------------------------------------------------------------------- */

static void write_all(struct stream *stream, const char *data, size_t len)
{
    while (len) {
        ssize_t put = write(stream->fd, data, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            err_set(&stream->follow->err, -errno, "%s: %s", stream->name, strerror(errno));
            finish(stream->follow, errno == EPIPE ? -EPIPE : -EIO);
            return;
        }
        data += put;
        len -= (size_t)put;
    }
}

static void on_output(void *context, const char *data, size_t len)
{
    struct stream *stream = context;

    if (stream->follow->stopped)
        return;
    stream->offset += (int64_t)len;
    stream->tries = 0;
    write_all(stream, data, len);
}

static void on_stream_timer(uv_timer_t *timer)
{
    stream_open(timer->data);
}

static void stream_again(struct stream *stream, int64_t ms)
{
    uv_timer_start(&stream->timer, on_stream_timer, (uint64_t)ms, 0);
}

static void on_stream_done(void *context, const struct http_answer *answer)
{
    struct stream *stream = context;
    struct follow *follow = stream->follow;

    stream->pending = NULL;
    if (follow->stopped)
        return;
    stream->whole = answer->status == 200;
    stream->whole_breaks = follow->breaks;
    /* After the end one whole answer is all there is; no log at all is an answer too. */
    if (stream->last && answer->status != 0 && answer->status != 503) {
        stream->done = true;
        finish_when_all_is_said(follow);
        return;
    }
    stream->tries++;
    if (answer->status == 401 || answer->status == 403) {
        err_set(&follow->err, -EACCES, "the network does not show this job's output");
        finish(follow, -EACCES);
        return;
    }
    note_network(follow, answer->status != 0);
    /* Whole: the job has ended, or the controller is stopping; the state will tell. */
    stream_again(stream, delay_ms(stream->tries));
}

/* Bytes are counted from the beginning of the first attempt that was read. Once there were others,
 * only the newest attempt is a place to begin again at. */
static void stream_place(struct stream *stream)
{
    struct follow *follow = stream->follow;

    if (follow->config->attempt || follow->epoch <= 1 || stream->epoch >= follow->epoch ||
        stream->offset == 0)
        return;
    stream->epoch = follow->epoch;
    stream->offset = 0;
}

static void stream_open(struct stream *stream)
{
    struct follow *follow = stream->follow;
    char attempt[48] = "";
    char path[256];

    if (stream->pending || stream->done || follow->stopped)
        return;
    /* A controller that stops ends streams in order too; but then the wait breaks as well. */
    if (follow->final && stream->whole &&
        (follow->epoch > 1 || stream->whole_breaks == follow->breaks)) {
        stream->done = true;
        finish_when_all_is_said(follow);
        return;
    }
    stream_place(stream);
    stream->last = follow->final;
    if (stream->epoch)
        snprintf(attempt, sizeof(attempt), "&attempt=%" PRId64, stream->epoch);
    snprintf(path, sizeof(path), "/jobs/%s/logs?stream=%s&offset=%" PRId64 "%s%s%s",
             follow->config->id, stream->name, stream->offset, attempt,
             follow->final ? "" : "&follow=1",
             follow->config->seams && stream->fd == STDOUT_FILENO ? "&seams=1" : "");
    if (call(follow, "GET", path, on_output, on_stream_done, stream,
             follow->final ? LAST_WORDS_MS : 0, &stream->pending) < 0)
        stream_again(stream, AGAIN_MS_MOST);
}

/* --- the job's state -------------------------------------------------------------------------- */

static void on_wait_timer(uv_timer_t *timer)
{
    ask_state(timer->data);
}

static void on_last_words(uv_timer_t *timer)
{
    finish(timer->data, 0);
}

static void take_job(struct follow *follow, json_t *job)
{
    json_decref(follow->job);
    follow->job = job;
    follow->epoch = MAX(follow->epoch, reply_number(job, "epoch"));
    if (job_state_is_over(reply_text(job, "state")) && !follow->final) {
        follow->final = true;
        uv_timer_start(&follow->wait_timer, on_last_words, LAST_WORDS_MS, 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(follow->streams) && follow->final; i++)
        if (follow->streams[i].wanted)
            stream_open(&follow->streams[i]);
    finish_when_all_is_said(follow);
}

static void on_state(void *context, const struct http_answer *answer)
{
    struct follow *follow = context;
    json_t *job = answer->status == 200 && answer->body.data
                      ? json_loadb(answer->body.data, answer->body.len, 0, NULL)
                      : NULL;

    if (follow->stopped) {
        json_decref(job);
        return;
    }
    note_network(follow, answer->status != 0);
    follow->breaks += answer->status != 200;
    if (answer->status == 404 || answer->status == 401 || answer->status == 403) {
        json_decref(job);
        err_set(&follow->err, -ENOENT,
                "job %s: the network does not know it, or not for this token", follow->config->id);
        finish(follow, -ENOENT);
        return;
    }
    if (json_is_object(job) && *reply_text(job, "state"))
        take_job(follow, job);
    else
        json_decref(job);
    if (follow->final || follow->stopped)
        return;
    uv_timer_start(&follow->wait_timer, on_wait_timer,
                   answer->status == 200 ? 0 : (uint64_t)delay_ms(follow->failures), 0);
}

static void ask_state(struct follow *follow)
{
    char path[128];

    snprintf(path, sizeof(path), "/jobs/%s/wait?timeout_s=%d", follow->config->id, WAIT_S);
    if (call(follow, "GET", path, NULL, on_state, follow, SILENCE_MS, NULL) < 0)
        uv_timer_start(&follow->wait_timer, on_wait_timer, AGAIN_MS_MOST, 0);
}

/* --- Ctrl-C ----------------------------------------------------------------------------------- */

static void say_where_it_is(struct follow *follow)
{
    const char *state = reply_text(follow->job, "state");
    char age[32] = "";

    if (follow->told)
        return;
    follow->told = true;
    if (reply_time_ms(follow->job, "started_at"))
        text_print_age(job_elapsed_ms(follow->job, clock_wall_ms()), age, sizeof(age));
    fprintf(stderr,
            "\nmains: job %s is %s%s%s and goes on without you; come back with: %s\n"
            "mains: Ctrl-C again within a second cancels it\n",
            follow->config->id, *state ? state : "submitted", *age ? " for " : "", age,
            follow->config->again);
}

static void on_where(void *context, const struct http_answer *answer)
{
    struct follow *follow = context;
    json_t *job = answer->status == 200 && answer->body.data
                      ? json_loadb(answer->body.data, answer->body.len, 0, NULL)
                      : NULL;

    if (follow->stopped || !json_is_object(job)) {
        json_decref(job);
        return;
    }
    json_decref(follow->job);
    follow->job = job;
    say_where_it_is(follow);
}

static void on_leave(uv_timer_t *timer)
{
    struct follow *follow = timer->data;

    say_where_it_is(follow); /* as it was last heard, when the network did not answer */
    follow->signal = SIGINT;
    finish(follow, -EINTR);
}

static void on_cancelled(void *context, const struct http_answer *answer)
{
    struct follow *follow = context;

    if (answer->status >= 200 && answer->status <= 299)
        return;
    fprintf(stderr, "mains: it could not be cancelled (%s); %s\n",
            answer->status ? "refused" : "no answer", follow->config->again);
    follow->cancelling = false;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct follow *follow = handle->data;
    char path[128];

    if (number != SIGINT || !follow->config->stops_with_job || follow->cancelling) {
        follow->signal = number;
        finish(follow, -EINTR);
        return;
    }
    if (!follow->asked_ms) {
        follow->asked_ms = clock_mono_ms();
        snprintf(path, sizeof(path), "/jobs/%s", follow->config->id);
        if (call(follow, "GET", path, NULL, on_where, follow, SECOND_CHANCE_MS, NULL) < 0)
            say_where_it_is(follow);
        uv_timer_start(&follow->leave_timer, on_leave, SECOND_CHANCE_MS, 0);
        return;
    }
    uv_timer_stop(&follow->leave_timer);
    follow->cancelling = true;
    fprintf(stderr, "mains: cancelling job %s\n", follow->config->id);
    snprintf(path, sizeof(path), "/jobs/%s?reason=Ctrl-C", follow->config->id);
    if (call(follow, "DELETE", path, NULL, on_cancelled, follow, SILENCE_MS, NULL) < 0)
        fprintf(stderr, "mains: %s\n", follow->err.text);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void on_each(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void set_up(struct follow *follow)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    static const char *const names[] = { "stdout", "stderr" };
    const struct follow_config *config = follow->config;

    for (int i = 0; i < 2; i++) {
        struct stream *stream = &follow->streams[i];

        *stream = (struct stream){ .follow = follow,
                                   .name = names[i],
                                   .fd = i == 0 ? STDOUT_FILENO : STDERR_FILENO,
                                   .epoch = config->attempt,
                                   .wanted = i == 0 ? !config->no_stdout : !config->no_stderr };
        uv_timer_init(&follow->loop, &stream->timer);
        stream->timer.data = stream;
    }
    uv_timer_init(&follow->loop, &follow->wait_timer);
    uv_timer_init(&follow->loop, &follow->leave_timer);
    follow->wait_timer.data = follow;
    follow->leave_timer.data = follow;
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        uv_signal_init(&follow->loop, &follow->signals[i]);
        follow->signals[i].data = follow;
        uv_signal_start(&follow->signals[i], on_signal, numbers[i]);
    }
}

int follow_job(const struct follow_config *config, json_t **job_out, int *signal_out,
               struct err *err)
{
    struct follow follow = { .config = config };
    int rc = uv_loop_init(&follow.loop);

    *job_out = NULL;
    if (rc < 0)
        return err_set(err, rc, "event loop: %s", uv_strerror(rc));
    rc = http_client_create(&follow.loop, &follow.client, err);
    if (rc < 0) {
        uv_loop_close(&follow.loop);
        return rc;
    }
    fflush(stdout);
    set_up(&follow);
    ask_state(&follow);
    for (size_t i = 0; i < ARRAY_COUNT(follow.streams); i++)
        if (follow.streams[i].wanted)
            stream_open(&follow.streams[i]);
    uv_run(&follow.loop, UV_RUN_DEFAULT);
    http_client_destroy(follow.client);
    uv_walk(&follow.loop, on_each, NULL);
    uv_run(&follow.loop, UV_RUN_DEFAULT);
    uv_loop_close(&follow.loop);
    if (follow.rc == 0 && follow.final)
        *job_out = TAKE(follow.job);
    json_decref(follow.job);
    *signal_out = follow.signal;
    return follow.rc < 0 ? err_set(err, follow.rc, "%s", follow.err.text) : 0;
}
