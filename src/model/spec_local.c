/* What only the submitting process knows, and what this network cannot do. */
#include "base/file.h"
#include "model/spec.h"
#include "model/spec_key.h"
#include "model/spec_source.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRETS_MAX 64u

/* Variables of a shell that mean nothing, or something else, where the job runs. */
static const char *const left_behind[] = {
    "MAINS_", "SLURM_",   "SKYPILOT_",    "PWD=",        "OLDPWD=",     "SHLVL=",
    "_=",     "TMPDIR=",  "RANK=",        "LOCAL_RANK=", "WORLD_SIZE=", "LOCAL_WORLD_SIZE=",
    "XDG_",   "DBUS_",    "SSH_",         "NODE_RANK=",  "GROUP_RANK=", "MASTER_ADDR=",
    "TERM=",  "DISPLAY=", "MASTER_PORT=", "OMPI_",       "PMIX_",       "PMI_",
};
static const char *const secret_words[] = { "TOKEN",  "SECRET",     "PASSWORD",
                                            "PASSWD", "API_KEY",    "PRIVATE_KEY",
                                            "APIKEY", "CREDENTIAL", "ACCESS_KEY" };

static int too_big(struct err *err)
{
    return err_set(err, -E2BIG, "the job is too big: more than %u MiB in all",
                   SPEC_ARENA_BYTES_MAX >> 20);
}

/* base + "/" + path, with "." and ".." taken out (as text: links are not followed). */
static int make_absolute(struct arena *arena, const char *base, const char *path,
                         const char **path_out, struct err *err)
{
    size_t base_len = strlen(base), path_len = strlen(path);
    char *out = arena_alloc(arena, base_len + path_len + 3, 1);
    const char *parts[2] = { path[0] == '/' ? "" : base, path };
    size_t len = 0;

    if (!out)
        return too_big(err);
    for (int i = 0; i < 2; i++)
        for (const char *p = parts[i]; *p;) {
            size_t part = strcspn(p, "/");

            if (part == 2 && p[0] == '.' && p[1] == '.') {
                while (len > 0 && out[--len] != '/')
                    ;
            } else if (part > 0 && !(part == 1 && p[0] == '.')) {
                out[len++] = '/';
                memcpy(out + len, p, part);
                len += part;
            }
            p += part + (p[part] == '/');
        }
    if (len == 0)
        out[len++] = '/';
    out[len] = '\0';
    if (len > 4096)
        return err_set(err, -ENAMETOOLONG, "path of more than 4096 bytes: %.60s", path);
    *path_out = out;
    return 0;
}

/* "~/x" -> $HOME/x; else `path`. */
static int make_path(struct arena *arena, const char *base, const char *home, const char *path,
                     const char **path_out, struct err *err)
{
    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0') && home && home[0] == '/')
        return make_absolute(arena, home, path[1] ? path + 2 : ".", path_out, err);
    return make_absolute(arena, base, path, path_out, err);
}

static const char *find_variable(char *const *environment, const char *name)
{
    size_t len = strlen(name);

    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
            return *environment + len + 1;
    return NULL;
}

static int read_secret_file(struct job_spec *spec, const char *path, const char **value_out,
                            struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(SPEC_ENV_BYTES_MAX);
    int rc = file_read(path, &text, err);

    if (rc < 0)
        return rc;
    if (text.len && text.data[text.len - 1] == '\n')
        text.len--;
    if (memchr(text.data ? text.data : "", '\0', text.len))
        return err_set(err, -EINVAL, "%s: holds a NUL byte", path);
    *value_out = arena_strndup(&spec->arena, text.data ? text.data : "", text.len);
    if (text.data)
        explicit_bzero(text.data, text.len);
    return *value_out ? 0 : too_big(err);
}

static int resolve_secrets(struct job_spec *spec, const char *base_dir, const char *home,
                           char *const *environment, struct err *err)
{
    struct spec_secret *secrets = (struct spec_secret *)spec->secrets;

    for (uint32_t i = 0; i < spec->secrets_count; i++) {
        struct spec_secret *secret = &secrets[i];
        const char *path = NULL;
        int rc = 0;

        if (secret->from_env) {
            const char *value = find_variable(environment, secret->from_env);

            if (!value)
                return err_field(err, -ENOENT, "secrets", "secrets.%s: variable %s is not set here",
                                 secret->name, secret->from_env);
            secret->value = arena_strdup(&spec->arena, value);
            if (!secret->value)
                return too_big(err);
        } else if (secret->from_file) {
            rc = make_path(&spec->arena, base_dir, home, secret->from_file, &path, err);
            if (rc == 0)
                rc = read_secret_file(spec, path, &secret->value, err);
            if (rc < 0)
                return err_prefix(err, rc, "secrets.%s", secret->name);
        }
        secret->from_env = NULL;
        secret->from_file = NULL;
    }
    return 0;
}

static bool is_left_behind(const char *entry)
{
    for (size_t i = 0; i < ARRAY_COUNT(left_behind); i++)
        if (strncmp(entry, left_behind[i], strlen(left_behind[i])) == 0)
            return true;
    return strstr(entry, "_VISIBLE_DEVICES=") != NULL;
}

static bool looks_secret(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(secret_words); i++)
        if (strcasestr(name, secret_words[i]))
            return true;
    return false;
}

static bool is_wanted(const struct job_spec *spec, const char *entry, const char *name)
{
    if (spec_env_find(spec, name))
        return false;
    for (uint32_t i = 0; i < spec->secrets_count; i++)
        if (strcmp(spec->secrets[i].name, name) == 0)
            return false;
    for (uint32_t i = 0; i < spec->export_names_count; i++)
        if (strcmp(spec->export_names[i], name) == 0)
            return strncmp(name, "MAINS_", 6) != 0;
    return spec->export_all && !is_left_behind(entry);
}

/* The submitter's variables; those that look secret travel sealed. What `env` sets stays. */
static int take_environment(struct job_spec *spec, char *const *environment, struct err *err)
{
    struct spec_pair *env;
    struct spec_secret *secrets;

    if (!spec->export_all && !spec->export_names_count)
        return 0;
    env = arena_alloc(&spec->arena, SPEC_LIST_MAX, sizeof(*env));
    secrets = arena_alloc(&spec->arena, SECRETS_MAX, sizeof(*secrets));
    if (!env || !secrets)
        return too_big(err);
    for (uint32_t i = 0; i < spec->env_count; i++)
        env[i] = spec->env[i];
    for (uint32_t i = 0; i < spec->secrets_count; i++)
        secrets[i] = spec->secrets[i];
    spec->env = env;
    spec->secrets = secrets;
    for (; environment && *environment; environment++) {
        const char *sign = strchr(*environment, '=');
        char *name, *value;

        if (!sign || strlen(sign) > SPEC_ENV_BYTES_MAX)
            continue;
        name = arena_strndup(&spec->arena, *environment, (size_t)(sign - *environment));
        value = arena_strdup(&spec->arena, sign + 1);
        if (!name || !value)
            return too_big(err);
        /* Shell functions, and bytes that are no UTF-8, cannot travel as JSON. */
        if (!spec_env_name_is_valid(name) || !is_wanted(spec, *environment, name) ||
            !spec_text_is_utf8(value, strlen(value)))
            continue;
        if (spec->env_count == SPEC_LIST_MAX || spec->secrets_count == SECRETS_MAX)
            return err_field(err, -E2BIG, "export",
                             "export: too many variables; name those needed");
        if (looks_secret(name))
            secrets[spec->secrets_count++] = (struct spec_secret){ .name = name, .value = value };
        else
            env[spec->env_count++] = (struct spec_pair){ .name = name, .value = value };
    }
    spec->export_all = false;
    spec->export_names_count = 0;
    return 0;
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int resolve_files(struct job_spec *spec, const char *base_dir, const char *home,
                         struct err *err)
{
    struct spec_file *inputs = (struct spec_file *)spec->inputs;
    struct spec_file *outputs = (struct spec_file *)spec->outputs;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < spec->inputs_count; i++) {
        struct spec_file *file = &inputs[i];

        if (!file->from)
            continue;
        if (spec_source_of(file->from) == SOURCE_PATH)
            rc = make_path(&spec->arena, base_dir, home, file->from, &file->from, err);
        if (rc == 0 && !file->to) {
            file->to = last_name(spec_source_path(file->from));
            if (!spec_work_path_is_valid(file->to))
                return err_field(err, -EINVAL, "inputs", "inputs[%u]: expected to", i);
        }
    }
    for (uint32_t i = 0; rc == 0 && i < spec->outputs_count; i++)
        if (outputs[i].to && spec_source_of(outputs[i].to) == SOURCE_PATH)
            rc = make_path(&spec->arena, base_dir, home, outputs[i].to, &outputs[i].to, err);
    return rc;
}

static int resolve_script(struct job_spec *spec, const char *base_dir, const char *home,
                          struct err *err)
{
    char host[HOST_NAME_MAX + 1] = "";
    int rc = 0;

    if (!spec->workdir)
        spec->workdir = base_dir;
    rc = make_path(&spec->arena, base_dir, home, spec->workdir, &spec->workdir, err);
    if (rc == 0 && spec->stdout_pattern)
        rc = make_absolute(&spec->arena, spec->workdir, spec->stdout_pattern, &spec->stdout_pattern,
                           err);
    if (rc == 0 && spec->stderr_pattern)
        rc = make_absolute(&spec->arena, spec->workdir, spec->stderr_pattern, &spec->stderr_pattern,
                           err);
    if (rc == 0)
        rc = make_absolute(&spec->arena, "", base_dir, &spec->submit_dir, err);
    if (rc < 0)
        return rc;
    if (gethostname(host, sizeof(host) - 1) == 0 && spec_name_is_valid(host)) {
        spec->submit_host = arena_strdup(&spec->arena, host);
        if (!spec->submit_host)
            return too_big(err);
    }
    return 0;
}

int spec_resolve_local(struct job_spec *spec, const char *base_dir, char *const *environment,
                       struct err *err)
{
    const char *home = find_variable(environment, "HOME");
    int rc;

    if (base_dir[0] != '/')
        return err_set(err, -EINVAL, "%.100s: expected an absolute folder", base_dir);
    rc = resolve_secrets(spec, base_dir, home, environment, err);
    if (rc == 0)
        rc = take_environment(spec, environment, err);
    if (rc == 0)
        rc = resolve_files(spec, base_dir, home, err);
    if (rc == 0 && spec->origin == ORIGIN_SBATCH)
        rc = resolve_script(spec, base_dir, home, err);
    else if (rc == 0 && spec->workdir)
        rc = make_path(&spec->arena, base_dir, home, spec->workdir, &spec->workdir, err);
    return rc;
}

/* What the client should have put in. */
static int check_resolved(const struct job_spec *spec, struct err *err)
{
    for (uint32_t i = 0; i < spec->secrets_count; i++)
        if (!spec->secrets[i].value)
            return err_field(err, -EINVAL, "secrets", "secrets.%s: expected its value",
                             spec->secrets[i].name);
    if (spec->export_all || spec->export_names_count)
        return err_field(err, -EINVAL, "export",
                         "export: the client reads its variables and sends them as env");
    if (spec->workdir && spec->workdir[0] != '/')
        return err_field(err, -EINVAL, "workdir", "workdir: expected an absolute path");
    if (spec->stdout_pattern && spec->stdout_pattern[0] != '/' &&
        spec_path_has_dot_dot(spec->stdout_pattern))
        return err_field(err, -EINVAL, "stdout", "stdout: expected a path without \"..\"");
    if (spec->stderr_pattern && spec->stderr_pattern[0] != '/' &&
        spec_path_has_dot_dot(spec->stderr_pattern))
        return err_field(err, -EINVAL, "stderr", "stderr: expected a path without \"..\"");
    for (uint32_t i = 0; i < spec->inputs_count; i++) {
        const struct spec_file *file = &spec->inputs[i];

        enum spec_source source = file->from ? spec_source_of(file->from) : SOURCE_PATH;
        struct err why = { 0 };
        int rc = file->from ? spec_source_check(file->from, &why) : 0;

        if (rc == 0 && source == SOURCE_RCLONE)
            rc =
                err_set(&why, -EINVAL, "the client fetches it, through rclone, and sends store:ID");
        if (rc < 0)
            return err_field(err, rc, "inputs", "inputs[%u].from: %s", i, why.text);
        if (file->from && ((source == SOURCE_PATH && file->from[0] != '/') || !file->to))
            return err_field(err, -EINVAL, "inputs",
                             "inputs[%u]: expected an absolute from, and to", i);
    }
    for (uint32_t i = 0; i < spec->outputs_count; i++) {
        const struct spec_file *file = &spec->outputs[i];

        if (file->to && spec_source_of(file->to) == SOURCE_SITE) {
            struct err why = { 0 };
            int rc = spec_source_check(file->to, &why);

            if (rc < 0)
                return err_field(err, rc, "outputs", "outputs[%u].to: %s", i, why.text);
            continue;
        }
        if (file->to && spec_source_of(file->to) != SOURCE_PATH)
            return err_field(err, -ENOTSUP, "outputs",
                             "outputs[%u].to: outputs go to folders; from there `mains artifacts "
                             "get` sends them to a remote of rclone's",
                             i);
        if (file->to && file->to[0] != '/')
            return err_field(err, -EINVAL, "outputs", "outputs[%u].to: expected an absolute path",
                             i);
    }
    return 0;
}

int spec_check_supported(const struct job_spec *spec, struct err *err)
{
    if (spec->request.on_unreachable == UNREACHABLE_MOVE && !spec->request.requeue_on_loss)
        return err_field(err, -EINVAL, "on_unreachable",
                         "on_unreachable: move starts the job again elsewhere, which "
                         "requeue_on_loss: false forbids");
    return check_resolved(spec, err);
}
