#include "cli/wait.h"

#include "base/clock.h"
#include "cli/job_show.h"
#include "cli/progress.h"
#include "cli/text.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_CHANCE_MS 1000
#define POLL_S_MAX 10
#define LOST_TRIES_SAID 5u

static sigset_t leave_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

/* The signal that came within `ms`; 0 = none. */
static int next_signal(int64_t ms)
{
    sigset_t set = leave_signals();
    struct timespec limit = { ms / 1000, ms % 1000 * 1000000 };
    int number = sigtimedwait(&set, NULL, &limit);

    return number < 0 ? 0 : number;
}

static int64_t count_of(const json_t *job, const char *state)
{
    return reply_number(json_object_get(job, "counts"), state);
}

static bool is_array(const json_t *job)
{
    return json_is_object(json_object_get(job, "counts"));
}

static void show_progress(struct progress *progress, const json_t *job)
{
    int64_t running = count_of(job, "running");
    int64_t failed = count_of(job, "failed");
    int64_t cancelled = count_of(job, "cancelled");
    char note[128];
    int len = snprintf(note, sizeof(note), "%" PRId64 " running", running);

    if (failed)
        len += snprintf(note + len, sizeof(note) - (size_t)len, ", %" PRId64 " failed", failed);
    if (cancelled)
        snprintf(note + len, sizeof(note) - (size_t)len, ", %" PRId64 " cancelled", cancelled);
    progress->total = (uint64_t)MAX(1, reply_number(job, "jobs"));
    progress_show(progress, (uint64_t)(count_of(job, "done") + failed + cancelled), note);
}

/* A signal came: leave, or cancel when a second one follows soon. */
static int take_signal(const struct wait_config *config, struct progress *progress, int number,
                       bool *cancelled, struct err *err)
{
    CLEANUP(freep) char *path = NULL;

    if (!config->stops_with_job || number != SIGINT || *cancelled)
        return err_set(err, -EINTR, "left; job %s goes on", config->id);
    progress_end(progress);
    fprintf(stderr,
            "\nmains: job %s goes on without you; come back with: %s\n"
            "mains: Ctrl-C again within a second cancels it\n",
            config->id, config->again ? config->again : "mains wait");
    if (next_signal(SECOND_CHANCE_MS) != SIGINT)
        return err_set(err, -EINTR, "left; job %s goes on", config->id);
    fprintf(stderr, "mains: cancelling job %s\n", config->id);
    *cancelled = true;
    if (remote_job_path(config->id, "?reason=Ctrl-C", &path, err) < 0)
        return -EINVAL;
    return remote_call(config->remote, "DELETE", path, NULL, NULL, err);
}

/* Answers that mean "not now" as opposed to "no". */
static bool may_come_back(int rc)
{
    return rc == -ECONNREFUSED || rc == -ETIMEDOUT || rc == -EIO;
}

static int ask(const struct wait_config *config, int64_t wait_s, json_t **job_out, struct err *err)
{
    CLEANUP(freep) char *path = NULL;
    char rest[48] = "";
    int rc;

    if (wait_s > 0)
        snprintf(rest, sizeof(rest), "/wait?timeout_s=%" PRId64, wait_s);
    rc = remote_job_path(config->id, rest, &path, err);
    return rc < 0 ? rc : remote_get(config->remote, path, job_out, err);
}

static int wait_loop(const struct wait_config *config, struct progress *progress, json_t **job_out,
                     struct err *err)
{
    int64_t until_ms = config->timeout_ms ? clock_mono_ms() + config->timeout_ms : INT64_MAX;
    uint32_t failures = 0;
    uint32_t rounds = 0;
    bool cancelled = false;

    for (;;) {
        int64_t left_ms = until_ms - clock_mono_ms();
        int64_t pause_ms = MIN(500, 20 << MIN(rounds, 5u));
        json_t *job = NULL;
        int number;
        int rc;

        rounds++;
        /* A bar is redrawn by asking; without one the server tells. One second each, so that
         * Ctrl-C is heard soon. */
        rc = ask(config, config->progress || left_ms < 1000 ? 0 : 1, &job, err);
        if (rc < 0 && !may_come_back(rc))
            return rc;
        if (rc < 0 && ++failures == LOST_TRIES_SAID)
            fprintf(stderr, "mains: %s; the job goes on; waiting for it\n", err->text);
        if (rc == 0)
            failures = 0;
        if (config->progress && is_array(job)) {
            if (!config->name)
                progress_rename(progress, reply_text(job, "name"));
            show_progress(progress, job);
        }
        if (rc == 0 && job_state_is_over(reply_text(job, "state"))) {
            *job_out = job;
            return 0;
        }
        json_decref(job);
        if (clock_mono_ms() >= until_ms)
            return err_set(err, -ETIMEDOUT, "job %s has not ended yet", config->id);
        number = next_signal(MIN(failures ? 500 : pause_ms, MAX(1, until_ms - clock_mono_ms())));
        rc = number ? take_signal(config, progress, number, &cancelled, err) : 0;
        if (rc < 0)
            return rc;
    }
}

int wait_job(const struct wait_config *config, json_t **job_out, struct err *err)
{
    struct progress progress = progress_init(config->name ? config->name : config->id, 1);
    sigset_t set = leave_signals();
    sigset_t before;
    int rc;

    sigprocmask(SIG_BLOCK, &set, &before);
    rc = wait_loop(config, &progress, job_out, err);
    progress_end(&progress);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int wait_exit_status(struct remote *remote, const json_t *job)
{
    int64_t count = reply_number(job, "jobs");

    if (!is_array(job))
        return job_exit_status(job);
    if (count_of(job, "done") == count)
        return 0;
    for (int64_t i = 0; i < count; i++) {
        CLEANUP(freep) char *path = NULL;
        json_t *element = NULL;
        char id[80];
        int status;

        snprintf(id, sizeof(id), "%s.%" PRId64, reply_text(job, "id"), i);
        if (remote_job_path(id, "", &path, NULL) < 0 ||
            remote_get(remote, path, &element, NULL) < 0)
            return CLI_MAINS;
        status = job_exit_status(element);
        json_decref(element);
        if (status)
            return status;
    }
    return CLI_OK;
}
