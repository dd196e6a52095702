/* A SkyPilot task (https://docs.skypilot.co, "Task YAML") as a job: one task a node, the workdir
 * and the local file mounts copied into the work folder. */
#include "model/spec_key.h"
#include "model/units.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define GIB (INT64_C(1) << 30)

struct sky_resources {
    uint32_t cpus;
    int64_t memory_bytes;
    uint32_t devices_milli;
    uint32_t chips_count;
    char chips[REQUEST_CHIPS_MAX][MODEL_NAME_BYTES];
    int64_t memory_gb_milli; /* of "A100-80GB"; of the only chip */
    const char *image;
};

struct sky_task {
    const char *name, *workdir, *setup, *run;
    uint32_t nodes;
    const struct spec_pair *envs;
    uint32_t envs_count;
    const struct spec_pair *secrets;
    uint32_t secrets_count;
    const struct spec_file *mounts;
    uint32_t mounts_count;
    struct sky_resources resources;
    uint32_t retries;
};

#define AT(member) .offset = offsetof(struct sky_task, member)
#define AT_COUNTED(list, count)                                                                    \
    .offset = offsetof(struct sky_task, list), .count_offset = offsetof(struct sky_task, count)

static bool is_word(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

/* "A100-80GB" -> chip "a100" and 80 GB. */
static int add_chip(struct spec_reader *reader, const struct spec_step *step, const char *text,
                    size_t len, struct sky_resources *resources)
{
    char name[MODEL_NAME_BYTES];
    char *dash;

    if (len == 0 || len >= sizeof(name))
        return spec_refuse(reader, step, -EINVAL, "expected an accelerator such as A100:8");
    for (size_t i = 0; i < len; i++)
        name[i] = (char)tolower((unsigned char)text[i]);
    name[len] = '\0';
    dash = strrchr(name, '-');
    if (dash && isdigit((unsigned char)dash[1]) && strlen(dash) > 3 &&
        strcmp(dash + strlen(dash) - 2, "gb") == 0) {
        int64_t gb = 0;

        dash[strlen(dash) - 2] = '\0';
        if (units_parse_int(dash + 1, 1, 100000, &gb, NULL) == 0)
            resources->memory_gb_milli = gb * 1000;
        *dash = '\0';
    }
    if (!spec_name_is_valid(name))
        return spec_refuse(reader, step, -EINVAL, "expected an accelerator such as A100:8");
    for (uint32_t i = 0; i < resources->chips_count; i++)
        if (strcmp(resources->chips[i], name) == 0)
            return 0;
    if (resources->chips_count == REQUEST_CHIPS_MAX)
        return spec_refuse(reader, step, -E2BIG, "more than %u accelerators", REQUEST_CHIPS_MAX);
    memcpy(resources->chips[resources->chips_count++], name, strlen(name) + 1);
    return 0;
}

static int set_devices(struct spec_reader *reader, const struct spec_step *step, int64_t milli,
                       struct sky_resources *resources)
{
    if (milli < 1 || milli > 1024000 || (milli > 1000 && milli % 1000))
        return spec_refuse(reader, step, -EINVAL,
                           "expected a whole number of accelerators, or a share of one");
    if (resources->devices_milli && resources->devices_milli != milli)
        return spec_refuse(reader, step, -ENOTSUP,
                           "accelerators in different numbers to choose from: mains takes one "
                           "number for all kinds");
    resources->devices_milli = (uint32_t)milli;
    return 0;
}

/* "A100:8", "A100" */
static int read_accelerator(struct spec_reader *reader, const struct spec_step *step,
                            const json_t *value, struct sky_resources *resources)
{
    const char *text = json_string_value(value);
    const char *colon = text ? strchr(text, ':') : NULL;
    int64_t milli = 1000;
    int rc;

    if (!text)
        return spec_expected(reader, step, value, "an accelerator such as A100:8");
    if (colon && units_parse_milli(colon + 1, &milli, NULL) < 0)
        return spec_expected(reader, step, value, "an accelerator such as A100:8");
    rc = add_chip(reader, step, text, colon ? (size_t)(colon - text) : strlen(text), resources);
    return rc < 0 ? rc : set_devices(reader, step, milli, resources);
}

static int read_accelerators(struct spec_reader *reader, const struct spec_step *step,
                             const json_t *value, struct sky_resources *resources)
{
    const char *name;
    json_t *member;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < json_array_size(value); i++) {
        struct spec_step item = { .up = step, .index = i };

        rc = read_accelerator(reader, &item, json_array_get(value, i), resources);
    }
    if (rc < 0 || json_is_array(value) || json_is_null(value))
        return rc;
    if (!json_is_object(value))
        return read_accelerator(reader, step, value, resources);
    json_object_foreach ((json_t *)value, name, member) {
        struct spec_step item = { .up = step, .key = name };
        int64_t milli = 1000;

        if (!json_is_null(member))
            rc = spec_read_milli(reader, &item, member, 1, 1024000, &milli);
        if (rc == 0)
            rc = add_chip(reader, &item, name, strlen(name), resources);
        if (rc == 0)
            rc = set_devices(reader, &item, milli, resources);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* 8, "8", "8+", "0.5+": at least so many, in thousandths. */
static int read_at_least(struct spec_reader *reader, const struct spec_step *step,
                         const json_t *value, int64_t *milli_out)
{
    const char *text = json_string_value(value);
    char number[32];
    size_t len;

    if (!text)
        return spec_read_milli(reader, step, value, 1, INT64_C(1000000000), milli_out);
    len = strcspn(text, "+xGg");
    if (len < sizeof(number) && text[len] != 'x') {
        memcpy(number, text, len);
        number[len] = '\0';
        if (units_parse_milli(number, milli_out, NULL) == 0 && *milli_out > 0 &&
            *milli_out <= INT64_C(1000000000))
            return 0;
    }
    return spec_expected(reader, step, value, "a number such as 8 or 8+");
}

static int read_resource_list(struct spec_reader *reader, const struct spec_step *step,
                              const json_t *value, struct sky_resources *resources);

static int read_resource(struct spec_reader *reader, const struct spec_step *step,
                         const json_t *value, struct sky_resources *resources)
{
    int64_t milli = 0;
    int rc;

    if (strcmp(step->key, "accelerators") == 0)
        return read_accelerators(reader, step, value, resources);
    if (strcmp(step->key, "any_of") == 0 || strcmp(step->key, "ordered") == 0)
        return read_resource_list(reader, step, value, resources);
    if (json_is_null(value))
        return 0;
    if (strcmp(step->key, "image_id") == 0 && json_is_string(value))
        return spec_read_scalar_text(reader, step, value, &resources->image);
    if (strcmp(step->key, "cpus") == 0) {
        rc = read_at_least(reader, step, value, &milli);
        if (rc == 0)
            resources->cpus = (uint32_t)MIN((milli + 999) / 1000, 65536);
        return rc;
    }
    if (strcmp(step->key, "memory") == 0) {
        rc = read_at_least(reader, step, value, &milli);
        if (rc == 0)
            resources->memory_bytes = milli / 1000 * GIB + milli % 1000 * GIB / 1000;
        return rc;
    }
    return 0;
}

static const char *const resource_names[] = { "accelerators", "cpus",   "memory",
                                              "image_id",     "any_of", "ordered" };

/* What names a cloud's offer: there is one machine park here, so it is told and left out. */
static const char *const cloud_names[] = { "cloud",     "infra",         "region",
                                           "zone",      "instance_type", "use_spot",
                                           "disk_size", "disk_tier",     "ports",
                                           "labels",    "spot_recovery", "autostop",
                                           "priority",  "network_tier",  "accelerator_args",
                                           "local_disk" };

static int read_resources_of(struct spec_reader *reader, const struct spec_step *step,
                             const json_t *value, struct sky_resources *resources)
{
    const char *name;
    json_t *member;

    if (!json_is_object(value))
        return spec_expected(reader, step, value, "a mapping");
    json_object_foreach ((json_t *)value, name, member) {
        struct spec_step item = { .up = step, .key = name };
        int rc;

        if (is_word(name, cloud_names, ARRAY_COUNT(cloud_names)) ||
            strcmp(name, "job_recovery") == 0)
            continue;
        if (!is_word(name, resource_names, ARRAY_COUNT(resource_names)))
            return spec_refuse_key(reader, &item, "unknown key of a SkyPilot task's resources");
        rc = read_resource(reader, &item, member, resources);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_resource_list(struct spec_reader *reader, const struct spec_step *step,
                              const json_t *value, struct sky_resources *resources)
{
    if (!json_is_array(value))
        return spec_expected(reader, step, value, "a list of resources");
    for (size_t i = 0; i < json_array_size(value); i++) {
        struct spec_step item = { .up = step, .index = i };
        const json_t *choice = json_array_get(value, i);
        int rc;

        if (json_object_get(choice, "any_of") || json_object_get(choice, "ordered"))
            return spec_refuse(reader, &item, -EINVAL, "choices inside a choice");
        rc = read_resources_of(reader, &item, choice, resources);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* job_recovery: {max_restarts_on_errors: 3} */
static int read_recovery(struct spec_reader *reader, const struct spec_step *step,
                         const json_t *value, struct sky_task *task)
{
    struct spec_step recovery = { .up = step, .key = "job_recovery" };
    struct spec_step item = { .up = &recovery, .key = "max_restarts_on_errors" };
    const json_t *restarts =
        json_object_get(json_object_get(value, "job_recovery"), "max_restarts_on_errors");

    if (!restarts)
        return 0;
    if (!json_is_integer(restarts) || json_integer_value(restarts) < 0 ||
        json_integer_value(restarts) > 1000)
        return spec_expected(reader, &item, restarts, "a whole number from 0 to 1000");
    task->retries = (uint32_t)json_integer_value(restarts);
    return 0;
}

static int read_resources(struct spec_reader *reader, const struct spec_step *step,
                          const json_t *value, void *target)
{
    struct sky_task *task = target;
    int rc = read_resources_of(reader, step, value, &task->resources);

    return rc < 0 ? rc : read_recovery(reader, step, value, task);
}

/* "~/data", "./data" or "data" -> "data", in the work folder (the home of a SkyPilot job here). */
static int read_mount(struct spec_reader *reader, const struct spec_step *step, const json_t *value,
                      struct spec_file *file)
{
    const char *to = step->key;

    if (!json_is_string(value))
        return spec_refuse(reader, step, -ENOTSUP,
                           "mounts of storage are not offered yet: only local files and folders");
    if (strstr(json_string_value(value), "://"))
        return spec_refuse(reader, step, -ENOTSUP,
                           "mounts of URLs are not offered yet: only local files and folders");
    if (strncmp(to, "~/", 2) == 0 || strncmp(to, "./", 2) == 0)
        to += 2;
    if (to[0] == '/')
        return spec_refuse(reader, step, -ENOTSUP,
                           "files go below the job's work folder: use ~/NAME or a relative path");
    if (!spec_work_path_is_valid(to))
        return spec_refuse_key(reader, step, "expected a path below ~/, without \"..\"");
    file->to = arena_strdup(reader->arena, to);
    if (!file->to)
        return spec_no_memory(reader, step);
    return spec_read_scalar_text(reader, step, value, &file->from);
}

static int read_mounts(struct spec_reader *reader, const struct spec_step *step,
                       const json_t *value, void *target)
{
    struct sky_task *task = target;
    struct spec_file *files;
    const char *name;
    json_t *member;

    if (!json_is_object(value))
        return spec_expected(reader, step, value, "a mapping of paths");
    if (json_object_size(value) >= SPEC_LIST_MAX)
        return spec_refuse(reader, step, -E2BIG, "more than %u of them", SPEC_LIST_MAX - 1);
    files = arena_alloc(reader->arena, json_object_size(value) + 1, sizeof(*files));
    if (!files)
        return spec_no_memory(reader, step);
    json_object_foreach ((json_t *)value, name, member) {
        struct spec_step item = { .up = step, .key = name };
        int rc = read_mount(reader, &item, member, &files[task->mounts_count]);

        if (rc < 0)
            return rc;
        task->mounts_count++;
    }
    task->mounts = files;
    return 0;
}

static const struct spec_key task_keys[] = {
    { "name", KEY_LINE, AT(name), .min = 1, .max = 255 },
    { "resources", KEY_CUSTOM, .read = read_resources },
    { "num_nodes", KEY_U32, AT(nodes), .min = 1, .max = REQUEST_TASKS_MAX },
    { "envs", KEY_PAIRS, AT_COUNTED(envs, envs_count), .max = SPEC_LIST_MAX },
    { "secrets", KEY_PAIRS, AT_COUNTED(secrets, secrets_count), .max = 64 },
    { "workdir", KEY_HOST_PATH, AT(workdir), .min = 1, .max = 4096 },
    { "file_mounts", KEY_CUSTOM, .read = read_mounts },
    { "setup", KEY_TEXT, AT(setup), .min = 0, .max = SPEC_TEXT_BYTES_MAX },
    { "run", KEY_TEXT, AT(run), .min = 0, .max = SPEC_TEXT_BYTES_MAX },
};
static const struct spec_table task_table = { "a SkyPilot task", sizeof(struct sky_task), task_keys,
                                              ARRAY_COUNT(task_keys), NULL };

bool spec_is_skypilot(const json_t *root)
{
    static const char *const task_names[] = { "num_nodes", "file_mounts", "envs", "service" };
    const json_t *resources = json_object_get(root, "resources");

    for (size_t i = 0; i < ARRAY_COUNT(task_names); i++)
        if (json_object_get(root, task_names[i]))
            return true;
    for (size_t i = 0; i < ARRAY_COUNT(cloud_names); i++)
        if (json_object_get(resources, cloud_names[i]))
            return true;
    return json_object_get(resources, "accelerators") || json_object_get(resources, "any_of") ||
           json_object_get(resources, "ordered");
}

static void warn_clouds(const json_t *resources, struct spec_warnings *warnings)
{
    const char *name;
    json_t *member;

    json_object_foreach ((json_t *)resources, name, member) {
        bool is_list = strcmp(name, "any_of") == 0 || strcmp(name, "ordered") == 0;

        for (size_t i = 0; is_list && i < json_array_size(member); i++)
            warn_clouds(json_array_get(member, i), warnings);
        if (is_word(name, cloud_names, ARRAY_COUNT(cloud_names)))
            spec_warn(warnings, "resources.%s names a cloud's offer: it has no effect here", name);
    }
}

static void set_resources(struct job_spec *spec, const struct sky_resources *resources)
{
    struct request_shape *shape = &spec->request.shape;

    shape->cpus = resources->cpus ? resources->cpus : 1;
    shape->memory_bytes = resources->memory_bytes;
    shape->devices_milli = resources->devices_milli;
    shape->chips_count = resources->chips_count;
    memcpy(shape->chips, resources->chips, sizeof(shape->chips));
    if (resources->memory_gb_milli && resources->chips_count == 1) {
        shape->needs_count = 1;
        shape->needs[0] = (struct request_need){ .metric = METRIC_MEMORY_GB,
                                                 .least_milli = resources->memory_gb_milli };
    }
    spec->image = resources->image;
}

static int set_files(struct job_spec *spec, const struct sky_task *task)
{
    struct spec_file *files = arena_alloc(&spec->arena, task->mounts_count + 1, sizeof(*files));

    if (!files)
        return -ENOMEM;
    spec->inputs = files;
    if (task->workdir)
        files[spec->inputs_count++] = (struct spec_file){ .from = task->workdir, .to = "." };
    for (uint32_t i = 0; i < task->mounts_count; i++)
        files[spec->inputs_count++] = task->mounts[i];
    return 0;
}

static int set_secrets(struct job_spec *spec, const struct sky_task *task)
{
    struct spec_secret *secrets =
        arena_alloc(&spec->arena, task->secrets_count + 1, sizeof(*secrets));

    if (!secrets)
        return -ENOMEM;
    for (uint32_t i = 0; i < task->secrets_count; i++)
        secrets[i] =
            (struct spec_secret){ .name = task->secrets[i].name, .value = task->secrets[i].value };
    spec->secrets = secrets;
    spec->secrets_count = task->secrets_count;
    return 0;
}

int spec_read_skypilot(const json_t *root, const struct spec_locator *locator,
                       struct job_spec **spec_out, struct spec_warnings *warnings, struct err *err)
{
    CLEANUP(spec_destroyp) struct job_spec *spec = spec_create();
    struct spec_reader reader = { .locator = locator, .err = err };
    const struct spec_step step = { 0 };
    const struct spec_step service = { .up = &step, .key = "service" };
    struct sky_task task = { .nodes = 1 };
    int rc;

    if (!spec)
        return err_set(err, -ENOMEM, "out of memory");
    reader.arena = &spec->arena;
    if (json_object_get(root, "service"))
        return spec_refuse(&reader, &service, -ENOTSUP, "services are not offered yet");
    rc = spec_read_table(&reader, &step, &task_table, root, &task);
    if (rc < 0)
        return rc;
    warn_clouds(json_object_get(root, "resources"), warnings);
    spec->origin = ORIGIN_SKYPILOT;
    spec->name = spec_make_name(&spec->arena, task.name ? task.name : "sky",
                                strlen(task.name ? task.name : "sky"));
    spec->request.shape.tasks = task.nodes;
    spec->request.shape.tasks_per_node = task.nodes > 1 ? 1 : 0;
    spec->request.retries_max = task.retries;
    spec->script_interpreter = "/bin/bash";
    spec->setup = task.setup && task.setup[0] ? task.setup : NULL;
    spec->run = task.run && task.run[0] ? task.run : NULL;
    spec->env = task.envs;
    spec->env_count = task.envs_count;
    set_resources(spec, &task.resources);
    rc = set_files(spec, &task);
    if (rc == 0)
        rc = set_secrets(spec, &task);
    if (rc < 0)
        return err_set(err, rc, "out of memory");
    rc = spec_finish(spec, &reader);
    if (rc < 0)
        return rc;
    *spec_out = TAKE(spec);
    return 0;
}
