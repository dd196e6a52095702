#include "cli/job_file.h"

#include "base/file.h"
#include "cli/uploads.h"
#include "model/spec_source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void job_text_fini(struct job_text *text)
{
    /* It may hold secrets. */
    if (text->json)
        explicit_bzero(text->json, strlen(text->json));
    free(text->json);
    free(text->name);
    memset(text, 0, sizeof(*text));
}

/* A text file (job file or script), as opposed to a program: no NUL in its beginning. */
static bool is_text_file(const char *path)
{
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char head[512];
    struct stat st;
    ssize_t got;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    got = read(fd, head, sizeof(head));
    return got >= 0 && !memchr(head, '\0', (size_t)got);
}

static bool has_file_name(const char *word)
{
    static const char *const ends[] = { ".yaml", ".yml", ".json", ".sh", ".sbatch", ".slurm" };
    size_t len = strlen(word);

    for (size_t i = 0; i < ARRAY_COUNT(ends); i++)
        if (len > strlen(ends[i]) && strcmp(word + len - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

/* "./a.out" -> "a.out"; letters that names do not take become '-'. */
static json_t *name_of_command(const char *word)
{
    const char *slash = strrchr(word, '/');
    char name[64];
    size_t len = 0;

    for (word = slash ? slash + 1 : word; *word && len < 40; word++) {
        unsigned char c = (unsigned char)*word;

        if (c < 128 && isalnum(c))
            name[len++] = (char)c;
        else if (len)
            name[len++] = strchr("._-", c) ? (char)c : '-';
    }
    name[len] = '\0';
    return json_string(len ? name : "command");
}

static int root_of_command(const struct cli_args *args, json_t **root_out, struct err *err)
{
    json_t *command = json_array();
    json_t *root = json_object();
    int rc = json_object_set_new(root, "command", command);

    for (uint32_t i = 0; i < args->rest_count && rc == 0; i++)
        rc = json_array_append_new(command, json_string(args->rest[i]));
    if (rc == 0)
        rc = json_object_set_new(root, "name", name_of_command(args->rest[0]));
    if (rc == 0)
        rc = json_object_set_new(root, "origin", json_string("command"));
    if (rc < 0) {
        json_decref(root);
        return err_set(err, -EINVAL, "the command is not UTF-8 text");
    }
    *root_out = root;
    return 0;
}

static int root_of_spec(const struct job_spec *spec, json_t **root_out, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(64u << 20);
    json_error_t why;
    int rc = spec_print_json(spec, true, &text);

    if (rc < 0)
        return err_set(err, rc, "the job is too large to be sent");
    *root_out = json_loadb(text.data, text.len, 0, &why);
    explicit_bzero(text.data, text.len);
    return *root_out ? 0 : err_set(err, -EINVAL, "the job does not print as JSON: %s", why.text);
}

static int root_of_file(const char *path, json_t **root_out, struct err *err)
{
    CLEANUP(spec_destroyp) struct job_spec *spec = NULL;
    struct spec_warnings warnings = { .text = buf_init(65536) };
    int rc = spec_parse_file(path, &spec, &warnings, err);

    if (rc == 0 && warnings.text.len) {
        char *rest = warnings.text.data;
        char *line;

        while ((line = strsep(&rest, "\n")) != NULL)
            if (*line)
                fprintf(stderr, "mains: warning: %s\n", line);
    }
    buf_fini(&warnings.text);
    return rc < 0 ? rc : root_of_spec(spec, root_out, err);
}

static int read_root(const struct cli_args *args, json_t **root_out, bool *is_file_out,
                     struct err *err)
{
    const char *first = args->rest[0];
    struct stat st;
    int rc;

    if (!args->has_dashes && stat(first, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(err, -EISDIR, "%s: a folder, neither a job file nor a program", first);
    *is_file_out = !args->has_dashes &&
                   (is_text_file(first) || has_file_name(first) || strcmp(first, "-") == 0);
    if (!*is_file_out)
        return root_of_command(args, root_out, err);
    rc = root_of_file(strcmp(first, "-") == 0 ? "/dev/stdin" : first, root_out, err);
    if (rc == 0 && args->rest_count > 1) {
        json_t *words = json_array();

        json_object_set_new(*root_out, "args", words);
        for (uint32_t i = 1; i < args->rest_count; i++)
            json_array_append_new(words, json_string(args->rest[i]));
    }
    return rc;
}

/* Relative paths of a job file are meant from where it lies; those of a script from here, as with
 * sbatch. */
static int base_folder(const struct cli_args *args, bool is_file, char **folder_out,
                       struct err *err)
{
    CLEANUP(freep) char *path = NULL;
    char *slash;

    if (is_file && strcmp(args->rest[0], "-") != 0)
        path = realpath(args->rest[0], NULL);
    if (path && (slash = strrchr(path, '/')) != NULL)
        slash[slash == path] = '\0';
    *folder_out = path ? TAKE(path) : getcwd(NULL, 0);
    return *folder_out ? 0 : err_set(err, -errno, "the current folder: %s", strerror(errno));
}

/* What is not there would fail the job when it starts. A job that comes after others may wait for
 * files that they make. */
static bool is_path(const struct spec_file *input)
{
    return input->from && spec_source_of(input->from) == SOURCE_PATH;
}

static int check_inputs(const struct job_spec *spec, struct err *err)
{
    for (uint32_t i = 0; i < spec->inputs_count && !spec->after_count; i++) {
        const char *path = spec->inputs[i].from;
        struct stat st;

        if (!is_path(&spec->inputs[i]))
            continue;
        if (stat(path, &st) < 0 || access(path, S_ISDIR(st.st_mode) ? R_OK | X_OK : R_OK) < 0)
            return err_field(err, -errno, "inputs", "inputs[%u]: %s: %s", i, path, strerror(errno));
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
            return err_field(err, -EINVAL, "inputs", "inputs[%u]: %s: expected a file or a folder",
                             i, path);
    }
    return 0;
}

static int finish(const struct job_source *source, json_t *root, const char *folder,
                  struct job_text *text_out, struct err *err)
{
    CLEANUP(spec_destroyp) struct job_spec *spec = NULL;
    CLEANUP(buf_fini) struct buf json = buf_init(64u << 20);
    int rc = spec_parse_json(root, NULL, &spec, err);

    if (rc == 0)
        rc = spec_resolve_local(spec, folder, environ, err);
    if (rc == 0)
        rc = check_inputs(spec, err);
    if (rc == 0 && source->remote)
        rc = uploads_run(source->remote, spec, err);
    if (rc < 0)
        return rc;
    rc = spec_print_json(spec, true, &json);
    if (rc < 0)
        return err_set(err, rc, "the job is too large to be sent");
    text_out->name = strdup(spec->name);
    text_out->elements_count = spec->elements_count;
    text_out->json = buf_take(&json);
    return text_out->json && text_out->name ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int job_file_read(const struct job_source *source, struct job_text *text_out, struct err *err)
{
    CLEANUP(freep) char *here = getcwd(NULL, 0);
    CLEANUP(freep) char *folder = NULL;
    struct job_text text = { 0 };
    json_t *root = NULL;
    bool is_file = false;
    int rc = read_root(source->args, &root, &is_file, err);

    if (rc == 0)
        rc = job_options_apply(source->args, root, err);
    if (rc == 0 && source->here && here && !is_file && !json_object_get(root, "workdir") &&
        !cli_args_has(source->args, "scratch"))
        json_object_set_new(root, "workdir", json_string(here));
    if (rc == 0)
        rc = base_folder(source->args, is_file && strcmp(reply_text(root, "origin"), "sbatch") != 0,
                         &folder, err);
    if (rc == 0)
        rc = finish(source, root, folder, &text, err);
    json_decref(root);
    if (rc < 0) {
        job_text_fini(&text);
        return rc;
    }
    *text_out = text;
    return 0;
}
