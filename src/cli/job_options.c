/* The options that describe a job, and how each goes into the job's JSON (docs/job-file.md). */
#include "base/file.h"
#include "cli/commands.h"
#include "cli/job_file.h"
#include "model/spec_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct cli_option job_options[] = {
    { "name", 'n', "NAME", NULL, "What people call the job." },
    { "tasks", 't', "N", NULL, "How many tasks it is made of; all start together, or none." },
    { "per-node", 0, "N", NULL, "At most this many tasks on one node." },
    { "cpus", 'c', "N", NULL, "CPUs of each task (1)." },
    { "memory", 'm', "SIZE", NULL,
      "Memory of each task, as 512M or 4G; past it the task is stopped." },
    { "disk", 0, "SIZE", NULL, "Scratch space of each task." },
    { "devices", 'd', "N", NULL,
      "Accelerators of each task: a whole number, or a share of one, as 0.25." },
    { "device-memory", 0, "SIZE", NULL, "Memory each accelerator has at least." },
    { "chips", 0, "KIND,...", NULL,
      "Kinds of accelerator that will do, best first, as h100,910b (`mains devices`)." },
    { "mixed", 0, NULL, NULL,
      "Tasks may be on different kinds where no one kind has room (see MAINS_SHARE)." },
    { "across", 0, "N", NULL,
      "Tasks may be over so many sites where no one has room (see MAINS_PEERS)." },
    { "need", 0, "FIGURE=N", NULL,
      "A lower bound on a figure of the chip, as bf16_tflops=300. May be given again." },
    { "time", 'T', "DURATION", NULL,
      "How long it may run, as 90s, 15m, 2h30m; then it is stopped." },
    { "deadline", 0, "TIME", NULL, "When it should have ended: a time, or so long from now." },
    { "begin", 0, "TIME", NULL, "Not to start before: a time, or so long from now." },
    { "class", 0, "CLASS", "low|normal|high|urgent", "How urgent it is (normal)." },
    { "objective", 0, "WHAT", "fastest|cheapest|greenest", "What the best place is (fastest)." },
    { "site", 0, "NAME,...", NULL, "Only at these sites." },
    { "region", 0, "NAME,...", NULL, "Only in these regions." },
    { "owner", 0, "NAME,...", NULL, "Only at sites of these owners." },
    { "on-unreachable", 0, "WHAT", "wait|move",
      "When its site is not heard: wait for it (the default), or move elsewhere." },
    { "env", 'e', "NAME[=VALUE]", NULL,
      "A variable for the job; without a value, as it is here. May be given again." },
    { "export", 0, "NAMES", NULL,
      "Variables to take along from here: all, none (the default), or names parted by commas." },
    { "secret", 0, "NAME[=FILE]", NULL,
      "A variable that is sealed and shown nowhere, taken from the variable of that name here, or "
      "from a file. May be given again." },
    { "workdir", 'w', "DIR", NULL, "The folder to work in." },
    { "scratch", 0, NULL, NULL, "Work in a fresh private folder." },
    { "input", 'i', "FROM[:TO]", NULL,
      "A file or folder to bring into the work folder. May be given again." },
    { "output", 'o', "FROM[:TO]", NULL,
      "A file, folder or pattern of the work folder to keep when the job ended. May be given "
      "again." },
    { "stdout", 0, "FILE", NULL,
      "A file that also gets the output (%j job, %a element, %x name)." },
    { "stderr", 0, "FILE", NULL, "The same for the error output." },
    { "image", 0, "IMAGE", NULL, "Container image to run in." },
    { "setup", 0, "SHELL", NULL, "Shell text to run once on each node before the tasks." },
    { "array", 'a', "SPEC", NULL,
      "Many jobs of one form: 0-99, 1-9:2, 1,3,7 (at most N at once: 0-99%N), or NAME=a,b,c: "
      "values of $MAINS_PARAM_NAME (upper case). Several names are crossed." },
    { "after", 0, "JOB[:WHEN]", NULL,
      "Start after a job ended: ok (the default), any or failed. May be given again." },
    { "retries", 0, "N", NULL, "Try again so often after a failure." },
    { "launch", 0, "HOW", "each|once",
      "each: one process a task. once: one process that starts the others itself (mpirun)." },
    { "slots", 0, "N", NULL, "Processes a launcher may start in each task." },
    { "checkpoint", 0, "PATH", NULL, "Where in the work folder the job keeps its checkpoint." },
    { "grace", 0, "DURATION", NULL, "From SIGTERM to SIGKILL (10s)." },
    { "log-limit", 0, "SIZE", NULL, "Output kept of each of stdout and stderr (64M)." },
    { "no-sandbox", 0, NULL, NULL, "Run outside the sandbox, where the operator allows it." },
    { "notes", 0, "TEXT", NULL, "Free text, kept with the job." },
    { 0 },
};

/* Given on the command line, a path is meant from here, wherever the job file lies. */
static json_t *from_here(const char *path, size_t len)
{
    CLEANUP(freep) char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    CLEANUP(freep) char *whole = here ? path_format("%s/%.*s", here, (int)len, path) : NULL;

    return whole ? json_string(whole) : json_stringn(path, len);
}

enum form { FORM_TEXT, FORM_NUMBER, FORM_NAMES, FORM_PATH };

static const struct {
    const char *option;
    const char *path; /* "resources.cpus" */
    enum form form;
} simple[] = {
    { "name", "name", FORM_TEXT },
    { "tasks", "tasks.count", FORM_NUMBER },
    { "across", "resources.sites", FORM_NUMBER },
    { "per-node", "tasks.per_node", FORM_NUMBER },
    { "cpus", "resources.cpus", FORM_NUMBER },
    { "memory", "resources.memory", FORM_TEXT },
    { "disk", "resources.disk", FORM_TEXT },
    { "devices", "resources.devices", FORM_NUMBER },
    { "device-memory", "resources.device_memory", FORM_TEXT },
    { "chips", "resources.chips", FORM_NAMES },
    { "time", "duration", FORM_TEXT },
    { "deadline", "deadline", FORM_TEXT },
    { "begin", "begin", FORM_TEXT },
    { "class", "class", FORM_TEXT },
    { "objective", "objective", FORM_TEXT },
    { "site", "where.sites.allow", FORM_NAMES },
    { "region", "where.regions.allow", FORM_NAMES },
    { "owner", "where.owners.allow", FORM_NAMES },
    { "on-unreachable", "on_unreachable", FORM_TEXT },
    { "workdir", "workdir", FORM_PATH },
    { "stdout", "stdout", FORM_PATH },
    { "stderr", "stderr", FORM_PATH },
    { "image", "image", FORM_TEXT },
    { "setup", "setup", FORM_TEXT },
    { "retries", "retries.max", FORM_NUMBER },
    { "launch", "launch", FORM_TEXT },
    { "slots", "slots", FORM_NUMBER },
    { "checkpoint", "checkpoint.path", FORM_TEXT },
    { "grace", "grace", FORM_TEXT },
    { "log-limit", "log_limit", FORM_TEXT },
    { "notes", "notes", FORM_TEXT },
};

/* Digits and a point make a number; all else stays text, for the reader of specs to refuse. */
static json_t *number_of(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    if (digits && digits < 18 && text[digits] == '\0')
        return json_integer(strtoll(text, NULL, 10));
    if (digits && digits < 18 && text[digits] == '.' && text[digits + 1] &&
        text[digits + 1 + strspn(text + digits + 1, "0123456789")] == '\0')
        return json_real(strtod(text, NULL));
    return json_string(text);
}

static json_t *names_of(const char *text)
{
    json_t *names = json_array();

    while (names) {
        size_t len = strcspn(text, ",");

        if (len)
            json_array_append_new(names, json_stringn(text, len));
        text += len;
        if (!*text)
            break;
        text++;
    }
    return names;
}

/* The object at all but the last part of `path`, made on the way; what stood there as a bare value
 * (tasks: 4) goes into its first key. */
static json_t *reach(json_t *root, const char *path, const char **last_out)
{
    const char *dot;

    while ((dot = strchr(path, '.')) != NULL) {
        json_t *next = json_object_getn(root, path, (size_t)(dot - path));

        if (!json_is_object(next)) {
            json_t *made = json_object();

            if (json_is_integer(next) && made)
                json_object_set(made, strncmp(path, "retries", 7) == 0 ? "max" : "count", next);
            if (json_object_setn_new(root, path, (size_t)(dot - path), made) < 0)
                return NULL;
            next = made;
        }
        root = next;
        path = dot + 1;
    }
    *last_out = path;
    return root;
}

static int put(json_t *root, const char *path, json_t *value, struct err *err)
{
    const char *last;
    json_t *object = reach(root, path, &last);

    if (!object || json_object_set_new(object, last, value) < 0)
        return err_set(err, -ENOMEM, "out of memory");
    return 0;
}

static json_t *list_at(json_t *root, const char *key)
{
    json_t *list = json_object_get(root, key);

    if (!json_is_array(list)) {
        list = json_array();
        json_object_set_new(root, key, list);
    }
    return list;
}

static json_t *object_at(json_t *root, const char *path)
{
    const char *last = NULL;
    json_t *parent = reach(root, path, &last);
    json_t *object = json_object_get(parent, last);

    if (!json_is_object(object)) {
        object = json_object();
        json_object_set_new(parent, last, object);
    }
    return object;
}

static int apply_env(const struct cli_args *args, json_t *root, struct err *err)
{
    const char *text;

    for (uint32_t i = 0; (text = cli_args_nth(args, "env", i)) != NULL; i++) {
        size_t len = strcspn(text, "=");
        CLEANUP(freep) char *name = strndup(text, len);
        const char *value = text[len] ? text + len + 1 : name ? getenv(name) : NULL;

        if (!value)
            return err_set(err, -EINVAL, "--env %s: no such variable here; say %s=VALUE", text,
                           text);
        if (json_object_set_new(object_at(root, "env"), name, json_string(value)) < 0)
            return err_set(err, -EINVAL, "--env %s: not UTF-8 text", text);
    }
    for (uint32_t i = 0; (text = cli_args_nth(args, "secret", i)) != NULL; i++) {
        size_t len = strcspn(text, "=");
        CLEANUP(freep) char *name = strndup(text, len);
        json_t *from = text[len] ? json_pack("{s:s}", "file", text + len + 1)
                                 : json_pack("{s:s}", "env", text);

        if (!name || json_object_set_new(object_at(root, "secrets"), name, from) < 0)
            return err_set(err, -EINVAL, "--secret %s: not UTF-8 text", text);
    }
    text = cli_args_get(args, "export");
    if (!text)
        return 0;
    return put(root, "export",
               strcmp(text, "all") == 0 || strcmp(text, "none") == 0 ? json_string(text)
                                                                     : names_of(text),
               err);
}

/* Where the `to` of a source begins that has colons of its own; NULL = it names none. */
static const char *colon_of_source(const char *text)
{
    enum spec_source source = spec_source_of(text);
    const char *colon = strchr(text, ':');

    if (source == SOURCE_SITE && colon)
        colon = strchr(colon + 1, ':');
    if (source != SOURCE_SITE && source != SOURCE_STORE && source != SOURCE_ARTIFACT)
        return NULL;
    return colon ? strchr(colon + 1, ':') : NULL;
}

static int apply_files(const struct cli_args *args, json_t *root, const char *option,
                       const char *key, struct err *err)
{
    bool inputs = strcmp(key, "inputs") == 0;
    const char *text;

    for (uint32_t i = 0; (text = cli_args_nth(args, option, i)) != NULL; i++) {
        bool is_path = !inputs || spec_source_of(text) == SOURCE_PATH;
        const char *to_site = inputs ? NULL : strstr(text, ":site:");
        const char *colon = to_site   ? to_site
                            : is_path ? strrchr(text, ':')
                                      : colon_of_source(text);
        size_t len = colon ? (size_t)(colon - text) : strlen(text);
        json_t *from = inputs && is_path ? from_here(text, len) : json_stringn(text, len);
        json_t *file = json_pack("{s:o}", "from", from);

        if (colon && file)
            json_object_set_new(file, "to",
                                inputs || to_site ? json_string(colon + 1)
                                                  : from_here(colon + 1, strlen(colon + 1)));
        if (json_array_append_new(list_at(root, key), file) < 0)
            return err_set(err, -EINVAL, "--%s %s: not UTF-8 text", option, text);
    }
    return 0;
}

static int apply_after(const struct cli_args *args, json_t *root, struct err *err)
{
    const char *text;

    for (uint32_t i = 0; (text = cli_args_nth(args, "after", i)) != NULL; i++) {
        const char *colon = strrchr(text, ':');
        size_t len = colon ? (size_t)(colon - text) : strlen(text);
        json_t *dep = json_pack("{s:s%, s:s}", "job", text, len, "when", colon ? colon + 1 : "ok");

        if (json_array_append_new(list_at(root, "after"), dep) < 0)
            return err_set(err, -EINVAL, "--after %s: not UTF-8 text", text);
    }
    return 0;
}

static int apply_needs(const struct cli_args *args, json_t *root, struct err *err)
{
    const char *text;

    for (uint32_t i = 0; (text = cli_args_nth(args, "need", i)) != NULL; i++) {
        const char *equals = strchr(text, '=');
        CLEANUP(freep) char *name = equals ? strndup(text, (size_t)(equals - text)) : NULL;

        if (!name)
            return err_set(err, -EINVAL, "--need %s: expected FIGURE=NUMBER, as bf16_tflops=300",
                           text);
        json_object_set_new(object_at(root, "resources.needs"), name, number_of(equals + 1));
    }
    return 0;
}

static int apply_array(const struct cli_args *args, json_t *root, struct err *err)
{
    const char *text = cli_args_get(args, "array");
    json_t *array;

    if (!text)
        return 0;
    array = json_object();
    json_object_set_new(root, "array", array);
    for (uint32_t i = 0; (text = cli_args_nth(args, "array", i)) != NULL; i++) {
        const char *equals = strchr(text, '=');
        const char *percent = strrchr(text, '%');
        json_t *lists = object_at(array, "params");
        CLEANUP(freep) char *name = NULL;

        if (equals) {
            name = strndup(text, (size_t)(equals - text));
            if (!name || json_object_set_new(lists, name, names_of(equals + 1)) < 0)
                return err_set(err, -EINVAL, "--array %s: not UTF-8 text", text);
            continue;
        }
        json_object_set_new(array, "range",
                            json_stringn(text, percent ? (size_t)(percent - text) : strlen(text)));
        if (percent)
            json_object_set_new(array, "parallel", number_of(percent + 1));
    }
    if (json_object_size(json_object_get(array, "params")) == 0)
        json_object_del(array, "params");
    return 0;
}

int job_options_apply(const struct cli_args *args, json_t *root, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < ARRAY_COUNT(simple) && rc == 0; i++) {
        const char *text = cli_args_get(args, simple[i].option);
        json_t *value;

        if (!text)
            continue;
        value = simple[i].form == FORM_NUMBER  ? number_of(text)
                : simple[i].form == FORM_NAMES ? names_of(text)
                : simple[i].form == FORM_PATH  ? from_here(text, strlen(text))
                                               : json_string(text);
        if (!value)
            return err_set(err, -EINVAL, "--%s: not UTF-8 text", simple[i].option);
        rc = put(root, simple[i].path, value, err);
    }
    if (rc == 0 && cli_args_has(args, "no-sandbox"))
        rc = put(root, "sandbox", json_false(), err);
    if (rc == 0 && cli_args_has(args, "mixed"))
        rc = put(root, "resources.mixed", json_true(), err);
    if (rc == 0 && cli_args_has(args, "scratch"))
        json_object_del(root, "workdir");
    if (rc == 0)
        rc = apply_env(args, root, err);
    if (rc == 0)
        rc = apply_files(args, root, "input", "inputs", err);
    if (rc == 0)
        rc = apply_files(args, root, "output", "outputs", err);
    if (rc == 0)
        rc = apply_after(args, root, err);
    if (rc == 0)
        rc = apply_needs(args, root, err);
    return rc < 0 ? rc : apply_array(args, root, err);
}
