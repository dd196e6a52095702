#include "model/spec.h"
#include "model/spec_key.h"
#include "model/units.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARNINGS_BYTES_MAX (64u << 10)
#define TIME_MS_MAX INT64_C(253402300799999) /* the last of the year 9999 */

static const struct {
    const char *name;
    int number;
} signals[] = {
    { "HUP", SIGHUP },   { "INT", SIGINT },   { "QUIT", SIGQUIT },   { "KILL", SIGKILL },
    { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "TERM", SIGTERM },   { "CONT", SIGCONT },
    { "STOP", SIGSTOP }, { "TSTP", SIGTSTP }, { "WINCH", SIGWINCH }, { "ALRM", SIGALRM },
    { "XCPU", SIGXCPU }, { "URG", SIGURG },   { "ABRT", SIGABRT },
};

int spec_signal_find(const char *text)
{
    int64_t number = 0;

    if (isdigit((unsigned char)text[0]))
        return units_parse_int(text, 1, 64, &number, NULL) < 0 ? 0 : (int)number;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
        if (strcasecmp(signals[i].name, text) == 0)
            return signals[i].number;
    return 0;
}

const char *spec_signal_name(int number)
{
    for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
        if (signals[i].number == number)
            return signals[i].name;
    return NULL;
}

struct job_spec *spec_create(void)
{
    struct job_spec *spec = calloc(1, sizeof(*spec));

    if (!spec)
        return NULL;
    spec->arena = arena_init(SPEC_ARENA_BYTES_MAX);
    spec_set_defaults(&spec_job_table, spec);
    spec->name = "job";
    return spec;
}

void spec_destroy(struct job_spec *spec)
{
    if (!spec)
        return;
    arena_fini(&spec->arena);
    free(spec);
}

void spec_destroyp(struct job_spec **spec)
{
    spec_destroy(*spec);
    *spec = NULL;
}

void spec_warnings_fini(struct spec_warnings *warnings)
{
    buf_fini(&warnings->text);
    warnings->count = 0;
}

void spec_warn(struct spec_warnings *warnings, const char *fmt, ...)
{
    struct err line = { 0 };
    char text[sizeof(line.text)];
    va_list args;

    if (!warnings)
        return;
    if (!warnings->text.max)
        warnings->text = buf_init(WARNINGS_BYTES_MAX);
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    err_set(&line, 0, "%s", text); /* one line, whatever it quotes */
    if (warnings->count++)
        buf_add_char(&warnings->text, '\n');
    buf_add_text(&warnings->text, line.text);
}

const char *spec_make_name(struct arena *arena, const char *text, size_t len)
{
    char *name = arena_strndup(arena, text, MIN(len, MODEL_NAME_BYTES - 1));

    for (char *p = name; p && *p; p++)
        if (!isascii((unsigned char)*p) ||
            (!isalnum((unsigned char)*p) && (p == name || !strchr("._-", *p))))
            *p = p == name ? 'x' : '_';
    return name && name[0] ? name : "job";
}

const struct spec_variant *spec_find_variant(const struct job_spec *spec, const char *chip,
                                             const char *family)
{
    const struct spec_variant *found = NULL;

    for (uint32_t i = 0; i < spec->variants_count; i++) {
        const struct spec_variant *variant = &spec->variants[i];

        if (strcmp(variant->family, chip) == 0)
            return variant; /* the exact chip before its family */
        if (!found && strcmp(variant->family, family) == 0)
            found = variant;
    }
    return found;
}

bool spec_has_image(const struct job_spec *spec)
{
    bool has = spec->image != NULL;

    for (uint32_t i = 0; i < spec->variants_count; i++)
        has = has || spec->variants[i].image;
    return has;
}

const char *spec_env_find(const struct job_spec *spec, const char *name)
{
    for (uint32_t i = 0; i < spec->env_count; i++)
        if (strcmp(spec->env[i].name, name) == 0)
            return spec->env[i].value;
    return NULL;
}

/* A script's are made absolute by the client before they mean anything. */
static int check_log_path(const struct job_spec *spec, struct spec_reader *reader, const char *key,
                          const char *path)
{
    const struct spec_step root = { 0 };
    const struct spec_step step = { .up = &root, .key = key };

    if (!path || path[0] == '/' || spec->origin == ORIGIN_SBATCH || !spec_path_has_dot_dot(path))
        return 0;
    return spec_refuse(reader, &step, -EINVAL,
                       "expected an absolute path, or one in the work folder without \"..\"");
}

/* Images of all its processes: asked for by a signal that its keeper takes, not the job, and
 * complete when the keeper says so. */
static int finish_criu(struct job_spec *spec, struct spec_reader *reader)
{
    const struct spec_step root = { 0 };
    const struct request_shape *shape = &spec->request.shape;
    char marker[PATH_MAX];

    if (spec->checkpoint_by != CHECKPOINT_BY_CRIU)
        return 0;
    if (!spec->checkpoint_path)
        spec->checkpoint_path = arena_strdup(reader->arena, SPEC_CRIU_PATH);
    snprintf(marker, sizeof(marker), "%.4000s/complete",
             spec->checkpoint_path ? spec->checkpoint_path : "");
    if ((spec->checkpoint_signal && spec->checkpoint_signal != SIGUSR1) ||
        (spec->checkpoint_marker && strcmp(spec->checkpoint_marker, marker) != 0) ||
        spec->checkpoint_portable)
        return spec_refuse(reader, &root, -EINVAL,
                           "checkpoint.by: criu: expected no signal, marker or portable");
    if (spec->sandbox)
        return spec_refuse(reader, &root, -EINVAL,
                           "checkpoint.by: criu: expected sandbox: false; what is in the sandbox "
                           "cannot be restored");
    if (shape->tasks > 1 || shape->devices_milli)
        return spec_refuse(reader, &root, -EINVAL,
                           "checkpoint.by: criu: expected one task, without devices");
    spec->checkpoint_signal = SIGUSR1;
    spec->checkpoint_marker = arena_strdup(reader->arena, marker);
    return spec->checkpoint_path && spec->checkpoint_marker
               ? 0
               : spec_refuse(reader, &root, -ENOMEM, "out of memory");
}

int spec_finish(struct job_spec *spec, struct spec_reader *reader)
{
    const struct spec_step root = { 0 };
    const struct request_shape *shape = &spec->request.shape;
    bool runs_in_variants = spec->variants_count > 0;
    int rc;

    for (uint32_t i = 0; i < spec->variants_count; i++)
        runs_in_variants = runs_in_variants && spec->variants[i].run;
    if (spec->run && spec->argv)
        return spec_refuse(reader, &root, -EINVAL, "expected run or command, not both");
    if (!spec->run && !spec->argv && !runs_in_variants)
        return spec_refuse(reader, &root, -EINVAL, "nothing to do: expected run or command");
    if (spec->argv && !spec->argv[0][0])
        return spec_refuse(reader, &root, -EINVAL, "command: the program's name is empty");
    if (spec->args && !spec->run)
        return spec_refuse(reader, &root, -EINVAL, "args go with run");
    if (!shape->devices_milli &&
        (shape->device_memory_bytes || shape->needs_count || shape->chips_count))
        return spec_refuse(reader, &root, -EINVAL,
                           "resources: chips, needs and device_memory go with devices");
    if (shape->sites_max > 1 && spec->launch == LAUNCH_ONCE)
        return spec_refuse(reader, &root, -EINVAL,
                           "resources.sites: expected launch: each; one process cannot start the "
                           "tasks of another site");
    if (spec->warn_before_ms && !spec->warn_signal)
        return spec_refuse(reader, &root, -EINVAL, "signal: expected name");
    if (spec->warn_signal && !spec->warn_before_ms)
        spec->warn_before_ms = 60000;
    rc = finish_criu(spec, reader);
    if (rc < 0)
        return rc;
    if ((spec->checkpoint_marker || spec->checkpoint_signal || spec->checkpoint_every_ms ||
         spec->checkpoint_portable) &&
        !spec->checkpoint_path)
        return spec_refuse(reader, &root, -EINVAL, "checkpoint: expected path");
    spec->request.checkpoint = spec->checkpoint_signal ? CHECKPOINT_ASKED
                               : spec->checkpoint_path ? CHECKPOINT_OWN
                                                       : CHECKPOINT_NONE;
    if ((spec->request.rpo_ms || spec->rto_ms) && !spec->checkpoint_path)
        return spec_refuse(reader, &root, -EINVAL, "%s: expected checkpoint.path",
                           spec->request.rpo_ms ? "rpo" : "rto");
    if (spec->request.price_micro_max && !spec->request.duration_ms_max)
        return spec_refuse(reader, &root, -EINVAL,
                           "max_price: expected duration, too, so that the price is known");
    rc = spec_check_elastic(spec, reader);
    if (rc < 0)
        return rc;
    snprintf(spec->request.shape.access.image, REQUEST_IMAGE_BYTES, "%s",
             spec->image ? spec->image : "");
    rc = spec_check_work(spec, reader);
    if (rc < 0)
        return rc;
    if (spec->request.retry_codes_count && !spec->request.retries_max)
        return spec_refuse(reader, &root, -EINVAL, "retries: on_exit goes with max");
    if (spec->request.deadline_ms && spec->request.begin_ms &&
        spec->request.deadline_ms <= spec->request.begin_ms)
        return spec_refuse(reader, &root, -EINVAL, "deadline is not after begin");
    rc = check_log_path(spec, reader, "stdout", spec->stdout_pattern);
    return rc < 0 ? rc : check_log_path(spec, reader, "stderr", spec->stderr_pattern);
}

int spec_parse_json(const json_t *root, const struct spec_locator *locator,
                    struct job_spec **spec_out, struct err *err)
{
    CLEANUP(spec_destroyp) struct job_spec *spec = spec_create();
    const struct spec_step step = { 0 };
    struct spec_reader reader = { .locator = locator, .err = err };
    int rc;

    if (!spec)
        return err_set(err, -ENOMEM, "out of memory");
    reader.arena = &spec->arena;
    rc = spec_read_table(&reader, &step, &spec_job_table, root, spec);
    if (rc == 0)
        rc = spec_finish(spec, &reader);
    if (rc < 0)
        return rc;
    *spec_out = TAKE(spec);
    return 0;
}

int spec_parse_json_text(const char *text, size_t len, struct job_spec **spec_out, struct err *err)
{
    json_error_t fault;
    json_t *root;
    int rc;

    if (len > SPEC_TEXT_BYTES_MAX)
        return err_set(err, -E2BIG, "a job is at most %u KiB of text", SPEC_TEXT_BYTES_MAX >> 10);
    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &fault);
    if (!root)
        return err_set(err, -EINVAL, "line %d, column %d: %.160s", fault.line, fault.column,
                       fault.text);
    rc = spec_parse_json(root, NULL, spec_out, err);
    json_decref(root);
    return rc;
}

int spec_resolve_times(struct job_spec *spec, int64_t now_ms, struct err *err)
{
    struct job_request *request = &spec->request;
    int64_t deadline = request->deadline_ms, begin = request->begin_ms;

    if (spec->deadline_after_ms &&
        __builtin_add_overflow(now_ms, spec->deadline_after_ms, &deadline))
        deadline = INT64_MAX;
    if (spec->begin_after_ms && __builtin_add_overflow(now_ms, spec->begin_after_ms, &begin))
        begin = INT64_MAX;
    if (deadline > TIME_MS_MAX)
        return err_field(err, -ERANGE, "deadline", "deadline: past the year 9999");
    if (begin > TIME_MS_MAX)
        return err_field(err, -ERANGE, "begin", "begin: past the year 9999");
    if (deadline && begin && deadline <= begin)
        return err_field(err, -EINVAL, "deadline", "deadline is not after begin");
    request->deadline_ms = deadline;
    request->begin_ms = begin;
    spec->deadline_after_ms = 0;
    spec->begin_after_ms = 0;
    return 0;
}
