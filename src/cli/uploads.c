#include "cli/uploads.h"

#include "base/file.h"
#include "cli/files.h"
#include "model/spec_source.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* "rclone:REMOTE:path" -> "REMOTE:path"; "s3://bucket/path" -> ":s3,env_auth:bucket/path". */
static char *remote_of(const char *from)
{
    if (strncmp(from, "rclone:", 7) == 0)
        return strdup(from + 7);
    return path_format(":s3,env_auth:%s", from + strlen("s3://"));
}

/* By the user's own rclone and its settings: what it may read, he may. */
static int run_rclone(const char *from, const char *to, struct err *err)
{
    CLEANUP(freep) char *remote = remote_of(from);
    char *const argv[] = { "rclone", "copyto", "--", remote, (char *)(uintptr_t)to, NULL };
    pid_t pid;
    int status = 0;
    int rc = remote ? posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) : ENOMEM;

    if (rc == ENOENT)
        return err_set(err, -ENOENT, "%s: rclone is not installed here", from);
    if (rc)
        return err_set(err, -rc, "rclone: %s", strerror(rc));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(err, -EIO, "%s: rclone could not fetch it", from);
    return 0;
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int put(struct files *files, struct job_spec *spec, struct spec_file *input,
               const char *path, const char *name, struct err *err)
{
    CLEANUP(freep) char *from = NULL;
    char id_text[STORE_ID_TEXT_BYTES];
    struct store_id id;
    int rc = files_put(files, path, true, &id, NULL, err);

    if (rc < 0)
        return rc;
    store_id_format(&id, id_text);
    from = path_format("store:%s/%s", id_text, name);
    input->from = from ? arena_strdup(&spec->arena, from) : NULL;
    input->upload = false;
    return input->from ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int put_rclone(struct files *files, struct job_spec *spec, struct spec_file *input,
                      struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    CLEANUP(freep)
    char *folder = path_format("%s/mains-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/var/tmp");
    CLEANUP(freep) char *path = NULL;
    int rc;

    if (!folder || !mkdtemp(folder))
        return err_set(err, -errno, "a temporary folder: %s", strerror(errno));
    path = path_format("%s/%s", folder, "fetched");
    rc = path ? run_rclone(input->from, path, err) : err_set(err, -ENOMEM, "out of memory");
    if (rc == 0)
        rc = put(files, spec, input, path, "fetched", err);
    dir_remove(folder, NULL);
    return rc;
}

/* May the job go to a site that does not share this machine? */
static bool goes_elsewhere(struct remote *remote, const struct job_spec *spec)
{
    const struct request_shape *shape = &spec->request.shape;
    json_t *answer = NULL, *site;
    bool elsewhere = false;
    size_t i;

    if (!remote->state)
        return true;
    if (remote_get(remote, "/sites", &answer, NULL) < 0)
        return false;
    json_array_foreach (json_object_get(answer, "sites"), i, site) {
        bool listed = false, named = false, denied = false;

        for (uint32_t k = 0; k < shape->places_count; k++) {
            const struct request_place *place = &shape->places[k];
            bool is_it =
                place->kind == PLACE_SITE && strcmp(place->name, reply_text(site, "name")) == 0;

            listed = listed || (place->kind == PLACE_SITE && !place->deny);
            named = named || (is_it && !place->deny);
            denied = denied || (is_it && place->deny);
        }
        if (!json_is_null(json_object_get(site, "joined_at")) &&
            json_is_null(json_object_get(site, "removed_at")) && !denied && (!listed || named))
            elsewhere = true;
    }
    json_decref(answer);
    return elsewhere;
}

static bool must_travel(const struct spec_file *input, bool elsewhere)
{
    enum spec_source source = input->from ? spec_source_of(input->from) : SOURCE_UNKNOWN;

    if (source == SOURCE_RCLONE)
        return true;
    return source == SOURCE_PATH && (input->upload || elsewhere) && access(input->from, F_OK) == 0;
}

int uploads_run(struct remote *remote, struct job_spec *spec, struct err *err)
{
    CLEANUP(files_closep) struct files *files = NULL;
    struct spec_file *inputs = (struct spec_file *)(uintptr_t)spec->inputs;
    bool has_path = false, elsewhere;
    int rc = 0;

    for (uint32_t i = 0; i < spec->inputs_count; i++)
        has_path = has_path || (inputs[i].from && spec_source_of(inputs[i].from) == SOURCE_PATH);
    elsewhere = has_path && goes_elsewhere(remote, spec);
    for (uint32_t i = 0; rc == 0 && i < spec->inputs_count; i++) {
        if (!must_travel(&inputs[i], elsewhere))
            continue;
        if (!files)
            rc = files_open(remote, &files, err);
        if (rc == 0 && spec_source_of(inputs[i].from) == SOURCE_RCLONE)
            rc = put_rclone(files, spec, &inputs[i], err);
        else if (rc == 0)
            rc = put(files, spec, &inputs[i], inputs[i].from, last_name(inputs[i].from), err);
        if (rc < 0)
            return err_prefix(err, rc, "inputs[%u]", i);
    }
    return rc;
}
