#include "cli/uploads.h"

#include "base/file.h"
#include "cli/files.h"
#include "cli/rclone.h"
#include "model/spec_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    rc = path ? rclone_fetch(input->from, path, err) : err_set(err, -ENOMEM, "out of memory");
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
