#include "agent/kube_internal.h"

#include "agent/guard.h"
#include "model/rank_env.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERPRETER_WORDS_MAX 16
#define INTERPRETER_BYTES 1024u
#define ARGUMENT_BYTES_MAX (96u << 10) /* one word of a command; longer texts are files */
#define ARENA_BYTES_MAX (64u << 20)
#define MASTER_PORT_BASE 20000u
#define MASTER_PORTS 20000u
#define VALUE_BYTES_MAX (2u << 20)

/* setup, then the job itself in its place: $1 the interpreter, $2 a name or a file, $3 the text. */
#define SETUP_SCRIPT                                                                               \
    "set -f; if [ -n \"$3\" ]; then $1 -c \"$3\" \"$2\"; else $1 \"$2\"; fi || exit $?; shift 3; " \
    "exec \"$@\""

/* ---- the job's own words ---- */

static const struct spec_variant *find_variant(const struct kube_order *order)
{
    return spec_find_variant(order->spec,
                             order->base.devices_count ? order->base.devices[0].chip : "cpu",
                             order->base.devices_count ? order->base.devices[0].family : "cpu");
}

const char *kube_pod_image(const struct kube_order *order)
{
    const struct spec_variant *variant = find_variant(order);

    if (variant && variant->image)
        return variant->image;
    if (order->spec->image)
        return order->spec->image;
    return order->settings->default_image[0] ? order->settings->default_image : NULL;
}

static const char *text_of(const struct kube_order *order, bool setup)
{
    const struct spec_variant *variant = find_variant(order);

    if (setup)
        return variant && variant->setup ? variant->setup : order->spec->setup;
    return variant && variant->run ? variant->run : order->spec->run;
}

static const char *interpreter_of(const struct kube_order *order)
{
    return order->spec->script_interpreter ? order->spec->script_interpreter : "/bin/sh";
}

/* Any shell takes a text as an argument; other interpreters, and long texts, need a file. */
static bool is_argument(const struct kube_order *order, const char *text)
{
    const char *interpreter = interpreter_of(order);
    size_t len = strcspn(interpreter, " \t");

    return len >= 2 && strncmp(interpreter + len - 2, "sh", 2) == 0 &&
           strlen(text) <= ARGUMENT_BYTES_MAX;
}

const char *kube_pod_text(const struct kube_order *order, bool setup)
{
    const char *text = text_of(order, setup);

    return text && !is_argument(order, text) ? text : NULL;
}

bool kube_order_needs_secret(const struct kube_order *order)
{
    return order->spec->secrets_count > 0 || kube_pod_text(order, false) ||
           kube_pod_text(order, true);
}

int kube_order_check(const struct kube_order *order, struct err *err)
{
    const struct job_spec *spec = order->spec;
    const struct kube_settings *settings = order->settings;
    size_t len = strlen(settings->volume_path);

    if (!kube_pod_image(order))
        return err_field(err, -EINVAL, "image",
                         "image: the job names none, and this site has no default_image");
    if (!text_of(order, false) && spec->argv_count == 0)
        return err_set(err, -EINVAL, "the job has no command");
    if (spec->launch == LAUNCH_ONCE && order->note->parts_count > 1)
        return err_field(err, -ENOTSUP, "launch",
                         "launch: once over several nodes: a pod of Kubernetes cannot start the "
                         "others; use launch: each");
    if (order->note->tasks > KUBE_TASKS_MAX)
        return err_set(err, -E2BIG, "%" PRIu32 " tasks: this site starts at most %u pods for a job",
                       order->note->tasks, KUBE_TASKS_MAX);
    if (spec->workdir && (len == 0 || strncmp(spec->workdir, settings->volume_path, len) != 0 ||
                          (spec->workdir[len] != '/' && spec->workdir[len] != '\0')))
        return err_field(err, -ENOTSUP, "workdir",
                         "workdir %.80s: pods here see %s; leave it out (mains run --scratch)",
                         spec->workdir, len ? settings->volume_path : "no folder of the site");
    if (spec->workdir && !order->base.host_paths)
        return err_field(err, -EACCES, "workdir",
                         "workdir %.100s: this tenant may not use folders of the site",
                         spec->workdir);
    if (len == 0 && (spec->inputs_count || spec->outputs_count || spec->checkpoint_path ||
                     spec->stdout_pattern || spec->stderr_pattern))
        return err_set(err, -ENOTSUP,
                       "inputs, outputs, checkpoints and log files need a volume that pods and "
                       "agent share, and this site has none (kubernetes.volume)");
    return 0;
}

/* ---- the command ---- */

/* "$(NAME)" would be replaced by Kubernetes, in words and in values; "$$" stands for "$". */
static json_t *plain(const char *text)
{
    struct buf out = buf_init(VALUE_BYTES_MAX);
    json_t *string = NULL;

    buf_add(&out, "", 0);
    for (; *text; text++) {
        if (*text == '$')
            buf_add_char(&out, '$');
        buf_add_char(&out, *text);
    }
    if (!out.failed)
        string = json_string(out.data ? out.data : "");
    buf_fini(&out);
    return string;
}

static void add_word(json_t *words, const char *word, bool *failed)
{
    if (json_array_append_new(words, plain(word)) < 0)
        *failed = true;
}

static void add_interpreter(json_t *words, const char *interpreter, bool *failed)
{
    char text[INTERPRETER_BYTES];

    snprintf(text, sizeof(text), "%s", interpreter);
    for (char *p = text; *p && json_array_size(words) < INTERPRETER_WORDS_MAX * 2;) {
        char *word = p += strspn(p, " \t");

        p += strcspn(p, " \t");
        if (*p)
            *p++ = '\0';
        if (*word)
            add_word(words, word, failed);
    }
}

static void add_run(const struct kube_order *order, json_t *words, bool *failed)
{
    const struct job_spec *spec = order->spec;
    const char *run = text_of(order, false);

    for (uint32_t i = 0; !run && i < spec->argv_count; i++)
        add_word(words, spec->argv[i], failed);
    if (!run)
        return;
    add_interpreter(words, interpreter_of(order), failed);
    if (is_argument(order, run)) {
        add_word(words, "-c", failed);
        add_word(words, run, failed);
        add_word(words, spec->name, failed);
    } else {
        add_word(words, KUBE_SCRIPT "/run", failed);
    }
    for (uint32_t i = 0; i < spec->args_count; i++)
        add_word(words, spec->args[i], failed);
}

bool kube_order_is_guarded(const struct kube_order *order)
{
    return order->work_path[0] && (order->note->lease || order->note->save_signal);
}

json_t *kube_pod_command(const struct kube_order *order)
{
    const char *setup = text_of(order, true);
    json_t *words = json_array();
    bool failed = !words;
    char path[sizeof(order->folder) + 16];

    if (kube_order_is_guarded(order)) {
        snprintf(path, sizeof(path), "%s/" KUBE_GUARD_FILE, order->folder);
        add_word(words, "/bin/sh", &failed);
        add_word(words, path, &failed);
    }

    if (setup) {
        bool argument = is_argument(order, setup);

        add_word(words, "/bin/sh", &failed);
        add_word(words, "-c", &failed);
        add_word(words, SETUP_SCRIPT, &failed);
        add_word(words, "sh", &failed);
        add_word(words, interpreter_of(order), &failed);
        add_word(words, argument ? order->spec->name : KUBE_SCRIPT "/setup", &failed);
        add_word(words, argument ? setup : "", &failed);
    }
    add_run(order, words, &failed);
    if (failed) {
        json_decref(words);
        return NULL;
    }
    return words;
}

/* ---- the environment ---- */

/* What differs from pod to pod: its index; the rest of these is the same in each, as a pod is a
 * node of its own to the job. */
static bool is_of_index(const char *name)
{
    static const char *const names[] = {
        "MAINS_RANK",   "MAINS_NODE_RANK",    "RANK",
        "NODE_RANK",    "GROUP_RANK",         "SLURM_PROCID",
        "SLURM_NODEID", "SKYPILOT_NODE_RANK", "SKYPILOT_SETUP_NODE_RANK",
    };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_own_name(const char *name)
{
    return strcmp(name, "MAINS_NODE") == 0 || strcmp(name, "SLURMD_NODENAME") == 0;
}

static bool is_secret(const struct job_spec *spec, const char *name, const char *value)
{
    for (uint32_t i = 0; i < spec->secrets_count; i++)
        if (strcmp(spec->secrets[i].name, name) == 0)
            return spec->secrets[i].value && strcmp(spec->secrets[i].value, value) == 0;
    return false;
}

static int add_variable(const struct kube_order *order, const char *object, const char *name,
                        const char *value, json_t *list)
{
    const struct job_spec *spec = order->spec;
    char text[NAME_MAX + 1];
    bool own = spec_env_find(spec, name) && strncmp(name, "MAINS_", 6) != 0;
    json_t *variable;

    if (is_secret(spec, name, value)) {
        snprintf(text, sizeof(text), "env.%s", name);
        variable = json_pack("{s:s,s:{s:{s:s,s:s}}}", "name", name, "valueFrom", "secretKeyRef",
                             "name", object, "key", text);
    } else if (order->note->tasks > 1 && !own && is_of_index(name)) {
        variable = json_pack("{s:s,s:{s:{s:s}}}", "name", name, "valueFrom", "fieldRef",
                             "fieldPath", "metadata.annotations['" KUBE_INDEX_ANNOTATION "']");
    } else if (order->note->tasks > 1 && !own && is_own_name(name)) {
        /* MAINS_RANK stands before it in the list. */
        snprintf(text, sizeof(text), "%s-$(MAINS_RANK)", object);
        variable = json_pack("{s:s,s:s}", "name", name, "value", text);
    } else {
        variable = json_pack("{s:s,s:o}", "name", name, "value", plain(value));
    }
    return json_array_append_new(list, variable);
}

/* One node a pod: "<name>-<index>", reachable as "<name>-<index>.<name>". */
static struct rank_node *make_nodes(const struct kube_order *order, const char *object,
                                    struct arena *arena)
{
    uint32_t count = order->note->tasks;
    struct rank_node *nodes = arena_alloc(arena, count, sizeof(*nodes));
    char text[KUBE_NAME_BYTES * 2 + 16];

    for (uint32_t i = 0; nodes && i < count; i++) {
        snprintf(text, sizeof(text), "%s-%" PRIu32, object, i);
        nodes[i].name = arena_strdup(arena, text);
        snprintf(text, sizeof(text), "%s-%" PRIu32 ".%s", object, i, object);
        nodes[i].address = count > 1 ? arena_strdup(arena, text) : "localhost";
        nodes[i].tasks =
            order->spec->launch == LAUNCH_ONCE ? MAX(order->spec->request.shape.tasks, 1u) : 1;
        if (!nodes[i].name || !nodes[i].address)
            return NULL;
    }
    return nodes;
}

static int fill_env(const struct kube_order *order, const char *object, struct rank_env *env)
{
    const struct attempt_order *base = &order->base;
    uint32_t each = order->spec->request.shape.devices_milli / 1000;
    struct rank_node *nodes = make_nodes(order, object, env->arena);
    uint32_t devices[NODE_DEVICES_MAX];
    struct rank_facts facts = {
        .job_id = base->key.job_id,
        .array_id = base->array_id,
        .array_index = base->array_index,
        .array_count = base->array_count,
        .attempt = base->attempt_number,
        .epoch = base->key.epoch,
        .tenant = base->tenant,
        .user = base->user,
        .site = base->site,
        .nodes = nodes,
        .nodes_count = order->note->tasks,
        .devices = devices,
        .workdir = order->work_path[0] ? order->work_path : KUBE_WORK,
        .master_port = (uint16_t)(MASTER_PORT_BASE + base->key.job_id % MASTER_PORTS),
    };

    if (!nodes)
        return -ENOMEM;
    if (order->spec->launch == LAUNCH_ONCE)
        each *= nodes[0].tasks;
    /* The plugin shows a container its own devices only, counted from 0. */
    facts.devices_count = MIN(each, NODE_DEVICES_MAX);
    for (uint32_t i = 0; i < facts.devices_count; i++)
        devices[i] = i;
    if (order->restored)
        rank_env_set(env, "MAINS_RESTORED", "1");
    rank_env_set(env, "MAINS_RANK", "0"); /* before: others refer to it */
    return rank_env_add_job(env, order->spec, find_variant(order)) < 0 ||
                   rank_env_add_rank(env, order->spec, &facts) < 0 || env->failed
               ? -ENOMEM
               : 0;
}

struct adding {
    const struct kube_order *order;
    const char *object;
    json_t *list;
    bool failed;
};

static void add_guard(void *context, const char *name, const char *value)
{
    struct adding *adding = context;

    if (add_variable(adding->order, adding->object, name, value, adding->list) < 0)
        adding->failed = true;
}

static int add_guard_variables(const struct kube_order *order, const char *object, json_t *list)
{
    const struct guard_job job = { .agent_dir = order->agent_dir,
                                   .folder = order->folder,
                                   .key = order->base.key,
                                   .lease = order->note->lease,
                                   .signal_number = order->note->save_signal };
    struct adding adding = { order, object, list, false };

    guard_each_variable(&job, add_guard, &adding);
    return adding.failed ? -ENOMEM : 0;
}

json_t *kube_pod_env(const struct kube_order *order, const char *object)
{
    struct arena arena = arena_init(ARENA_BYTES_MAX);
    struct rank_env env = rank_env_init(&arena);
    json_t *list = json_array();
    int rc = fill_env(order, object, &env);

    for (uint32_t i = 0; rc == 0 && i < env.count; i++) {
        const char *equals = strchr(env.list[i], '=');
        char *name = arena_strndup(&arena, env.list[i], (size_t)(equals - env.list[i]));

        if (!name || add_variable(order, object, name, equals + 1, list) < 0)
            rc = -ENOMEM;
    }
    if (rc == 0 && kube_order_is_guarded(order))
        rc = add_guard_variables(order, object, list);
    arena_fini(&arena);
    if (rc < 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}
