#include "agent/engine_job.h"

#include "agent/checkpoint.h"
#include "agent/guard.h"
#include "agent/laid.h"
#include "agent/stage.h"
#include "agent/tree.h"
#include "base/file.h"
#include "base/log.h"
#include "model/rank_env.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_work(struct engine_job *job, struct err *err)
{
    struct supervisor *sup = &job->sup;
    const char *path = sup->spec->workdir;

    if (path && !sup->order->host_paths)
        return err_field(err, -EACCES, "workdir",
                         "workdir %s: this tenant may not use folders of the site", path);
    if (path) {
        snprintf(sup->work_path, sizeof(sup->work_path), "%s", path);
        sup->work_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } else {
        if (mkdirat(sup->attempt_fd, WORK_DEFAULT, 0700) < 0 && errno != EEXIST)
            return err_set(err, -errno, "work folder: %s", strerror(errno));
        if (snprintf(sup->work_path, sizeof(sup->work_path), "%.4000s/" WORK_DEFAULT,
                     job->folder) >= (int)sizeof(sup->work_path))
            return err_set(err, -ENAMETOOLONG, "work folder: its path is too long");
        sup->work_fd =
            openat(sup->attempt_fd, WORK_DEFAULT, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    }
    sup->work_private = path == NULL;
    sup->work_seen = sup->work_path;
    return sup->work_fd < 0
               ? err_set(err, -errno, "work folder %s: %s", sup->work_path, strerror(errno))
               : 0;
}

int engine_job_open(struct engine_job *job, const struct attempt_order *order,
                    const char *spec_json, int attempt_fd, const char *state_dir,
                    const char *agent_dir, struct err *err)
{
    struct supervisor *sup = &job->sup;
    int rc;

    memset(job, 0, sizeof(*job));
    sup->work_fd = -1;
    attempt_name(order->key, sup->name);
    if (snprintf(job->folder, sizeof(job->folder), "%s/attempts/%s", agent_dir, sup->name) >=
        (int)sizeof(job->folder))
        return err_set(err, -ENAMETOOLONG, "%s: the path is too long", agent_dir);
    job->place.state_dir = state_dir;
    job->place.agent_dir = agent_dir;
    sup->place = &job->place;
    sup->order = order;
    sup->attempt_fd = attempt_fd;
    identity_find(geteuid(), getegid(), false, &sup->identity);
    rc = spec_parse_json_text(spec_json, strlen(spec_json), &sup->spec, err);
    return rc < 0 ? rc : open_work(job, err);
}

void engine_job_close(struct engine_job *job)
{
    closep(&job->sup.work_fd);
    spec_destroy(job->sup.spec);
}

int engine_job_prepare(struct engine_job *job, struct err *err)
{
    struct supervisor *sup = &job->sup;
    int rc = 0;

    if (sup->spec->inputs_count)
        rc = stage_inputs(sup, err);
    if (rc == 0 && sup->spec->checkpoint_path)
        rc = checkpoint_restore(sup, err);
    laid_clear(sup);
    return rc;
}

int64_t engine_job_saved_ms(const struct engine_place *place, struct attempt_key key,
                            const char *path)
{
    CLEANUP(closep) int attempt = engine_open_attempt(place, key);
    CLEANUP(closep) int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(closep) int work = -1;
    char folder[PATH_MAX];
    ssize_t len = attempt < 0 ? -1 : readlinkat(attempt, "place", folder, sizeof(folder) - 1);

    if (root < 0 || len <= 1 || folder[0] != '/')
        return 0;
    folder[len] = '\0';
    work = tree_open(root, folder + 1, O_RDONLY | O_DIRECTORY, 0);
    return work < 0 ? 0 : stage_newest_ms(work, path);
}

bool engine_job_ask_to_save(const struct engine_place *place, struct attempt_key key,
                            uint32_t *asked)
{
    CLEANUP(closep) int attempt = engine_open_attempt(place, key);
    int rc = attempt < 0 ? attempt : guard_ask_to_save(attempt, *asked + 1);

    if (rc < 0)
        log_warn("job %" PRIu64 ": cannot be asked for a checkpoint", key.job_id);
    else
        (*asked)++;
    return rc == 0;
}

static int copy_log(struct engine_job *job, const char *node_name, uint32_t tasks, const char *log,
                    const char *pattern, struct err *err)
{
    const struct attempt_order *order = job->sup.order;
    struct rank_node node = { .name = node_name, .tasks = tasks };
    struct rank_facts facts = { .job_id = order->key.job_id,
                                .array_id = order->array_id,
                                .array_index = order->array_index,
                                .array_count = order->array_count,
                                .user = order->user,
                                .nodes = &node,
                                .nodes_count = 1 };
    char path[PATH_MAX], piece[32768];
    ssize_t got;
    int from, to = -1, rc;

    rc = rank_expand_pattern(job->sup.spec, &facts, pattern, path, sizeof(path));
    if (rc < 0)
        return err_set(err, rc, "%s: the name is too long", log);
    from = openat(job->sup.attempt_fd, log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    rc = stage_open_output(&job->sup, path, &to, err);
    while (rc == 0 && from >= 0 && (got = read(from, piece, sizeof(piece))) > 0)
        rc = file_write_all(to, piece, (size_t)got);
    closep(&from);
    closep(&to);
    return rc;
}

int engine_job_collect(struct engine_job *job, const char *node, uint32_t tasks, struct err *err)
{
    const struct job_spec *spec = job->sup.spec;
    struct err later = { 0 };
    int rc = 0;

    if (spec->stdout_pattern)
        rc = copy_log(job, node, tasks, "stdout", spec->stdout_pattern, err);
    if (rc == 0 && spec->stderr_pattern)
        rc = copy_log(job, node, tasks, "stderr", spec->stderr_pattern, err);
    if (spec->outputs_count) {
        int collected = stage_collect(&job->sup, rc < 0 ? &later : err);

        rc = rc < 0 ? rc : collected;
    }
    return rc;
}
