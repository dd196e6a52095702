#include "agent/slurm_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUBMIT_AGAIN_MS 5000
#define ARENA_BYTES_MAX (64u << 20)

struct submit_task {
    struct engine_task task;
    struct slurm *slurm;
    const struct slurm_order *order; /* the attempt's, which stays while this is under way */
    struct attempt_key key;
    int rc;
    struct err err;
    uint64_t slurm_id;
    bool passing; /* Slurm is away: ask again */
    bool unsure;  /* it may have taken the job all the same */
};

void slurm_order_free(struct slurm_order *order)
{
    if (!order)
        return;
    free(order->spec_json);
    free(order);
}

static void ask_sbatch(struct submit_task *submit, const char *const *argv)
{
    const char *bin = submit->order->settings->bin_dir;
    struct slurm_result result;
    char text[120];

    submit->rc =
        slurm_command_run(argv, bin[0] ? bin : NULL, slurm_job_script, &result, &submit->err);
    if (submit->rc == -ETIMEDOUT) {
        submit->unsure = submit->passing = true;
    } else if (submit->rc == 0) {
        submit->slurm_id =
            result.exit_code == 0
                ? slurm_parse_submitted(result.out.data ? result.out.data : "", result.out.len)
                : 0;
        if (!submit->slurm_id) {
            slurm_result_say(&result, text, sizeof(text));
            submit->rc = err_set(&submit->err, -EIO, "sbatch: %s", text);
            submit->passing = slurm_result_is_passing(&result);
            /* A refused connection has carried nothing; anything else may have. */
            submit->unsure =
                result.exit_code == 0 || (submit->passing && !strstr(text, "Unable to contact"));
        }
    }
    slurm_result_fini(&result);
}

static void submit_work(struct engine_task *task)
{
    struct submit_task *submit = CONTAINER_OF(task, struct submit_task, task);
    const char *argv[SLURM_OPTIONS_MAX];
    struct arena arena = arena_init(ARENA_BYTES_MAX);
    char name[ATTEMPT_NAME_BYTES];
    struct slurm_note note = submit->order->note;
    CLEANUP(freep) char *path = NULL;
    int fd;

    attempt_name(submit->key, name);
    fd = openat(submit->slurm->place.attempts_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        submit->rc = err_set(&submit->err, -errno, "attempt %s: %s", name, strerror(errno));
        arena_fini(&arena);
        return;
    }
    path = path_format("%s/attempts/%s/work", submit->order->agent_dir, name);
    if (path) /* of a try before this one */
        dir_remove(path, NULL);
    submit->rc =
        slurm_job_prepare(submit->order, fd, &arena, argv, ARRAY_COUNT(argv), &submit->err);
    if (submit->rc == 0) { /* from here on a restarted agent asks Slurm before it submits */
        submit->rc = slurm_note_write(fd, &note);
        if (submit->rc < 0)
            err_set(&submit->err, submit->rc, "attempt %s: %s", name, strerror(-submit->rc));
    }
    if (submit->rc == 0)
        ask_sbatch(submit, argv);
    if (submit->slurm_id) {
        note.slurm_id = submit->slurm_id;
        if (slurm_note_write(fd, &note) < 0)
            log_warn("attempt %s: its number in Slurm is not written: its name will find it", name);
    }
    close(fd);
    arena_fini(&arena);
}

static void submit_done(struct engine_task *task)
{
    struct submit_task *submit = CONTAINER_OF(task, struct submit_task, task);
    struct slurm *slurm = submit->slurm;
    struct slurm_attempt *attempt = slurm_find(slurm, submit->key);
    int64_t now = slurm_now_mono();

    if (!attempt)
        return;
    attempt->submitting = false;
    if (attempt->state == ATTEMPT_ENDED)
        return;
    if (submit->rc == 0) {
        attempt->note.slurm_id = submit->slurm_id;
        attempt->unsure = false;
        attempt->missed = 0;
        slurm_order_free(TAKE(attempt->order));
        if (attempt->stopping) /* it was asked to stop meanwhile */
            slurm_cancel(slurm, attempt, NULL);
        slurm->look_at_ms = MIN(slurm->look_at_ms, now + SLURM_LOOK_MS_MIN);
        return;
    }
    if (submit->passing) {
        attempt->unsure = submit->unsure;
        attempt->unsure_ms = now;
        attempt->submit_at_ms = now + SUBMIT_AGAIN_MS * (int64_t)(1 + attempt->submits);
        snprintf(attempt->waits_for, sizeof(attempt->waits_for), "Slurm does not answer");
        log_warn("%s: will be asked again", submit->err.text);
        return;
    }
    slurm_finish(slurm, attempt, attempt->stopping ? attempt->stop_end : END_START_FAILED, 0,
                 clock_wall_ms(), submit->err.text);
}

static void submit_drop(struct engine_task *task)
{
    free(CONTAINER_OF(task, struct submit_task, task));
}

void slurm_submit(struct slurm *slurm, struct slurm_attempt *attempt)
{
    struct submit_task *submit = calloc(1, sizeof(*submit));

    if (!submit) {
        attempt->submit_at_ms = slurm_now_mono() + SUBMIT_AGAIN_MS;
        return;
    }
    submit->slurm = slurm;
    submit->order = attempt->order;
    submit->key = attempt->key;
    submit->task =
        (struct engine_task){ .work = submit_work, .done = submit_done, .drop = submit_drop };
    attempt->submitting = true;
    attempt->submit_at_ms = 0;
    attempt->submits++;
    engine_worker_push(slurm->worker, &submit->task);
}
