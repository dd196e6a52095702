#include "model/spec_key.h"
#include "model/spec_source.h"

#include <errno.h>
#include <stddef.h>

#define AT(member) .offset = offsetof(struct job_spec, member)
#define AT_COUNTED(list, count)                                                                    \
    .offset = offsetof(struct job_spec, list), .count_offset = offsetof(struct job_spec, count)
#define IN(type, member) .offset = offsetof(struct type, member)
#define TABLE(list) .keys = (list), .keys_count = ARRAY_COUNT(list)
#define NAMES(list) .names = (list), .names_count = ARRAY_COUNT(list)

#define DAYS_MS(n) ((n)*INT64_C(86400000))
#define DURATION_MS_MAX DAYS_MS(3660)
#define PATH_BYTES_MAX 4096
#define SIZE_BYTES_MAX (INT64_C(1) << 60)

static const char *const class_names[] = { "low", "normal", "high", "urgent" };
static const char *const origin_names[] = { "mains", "sbatch", "skypilot", "command" };
static const char *const launch_names[] = { "each", "once" };
static const char *const unreachable_names[] = { "wait", "move" };
static const char *const topology_names[] = { "any", "node", "rack", "supernode", "pool" };
static const char *const apart_names[] = { "node", "rack", "supernode", "site" };
static const char *const when_names[] = { "ok", "any", "failed" };

static const struct spec_key tasks_keys[] = {
    { "count", KEY_U32, AT(request.shape.tasks), .min = 1, .max = REQUEST_TASKS_MAX, .fallback = 1,
      .help = "How many tasks; all of them start together, or none." },
    { "per_node", KEY_U32, AT(request.shape.tasks_per_node), .min = 1, .max = REQUEST_TASKS_MAX,
      .help = "At most this many of them on one node; absent: as many as fit." },
};
static const struct spec_table tasks_table = { "tasks", sizeof(struct job_spec), TABLE(tasks_keys),
                                               NULL };

static const struct spec_key resources_keys[] = {
    { "cpus", KEY_U32, AT(request.shape.cpus), .min = 1, .max = 65536, .fallback = 1,
      .help = "CPUs of each task." },
    { "memory", KEY_BYTES, AT(request.shape.memory_bytes), .min = 1, .max = SIZE_BYTES_MAX,
      .help = "Memory of each task; past it the task is stopped. Absent: no claim, no limit." },
    { "disk", KEY_BYTES, AT(request.shape.disk_bytes), .min = 1, .max = SIZE_BYTES_MAX,
      .help = "Scratch space of each task. Absent: no claim." },
    { "devices", KEY_MILLI, AT(request.shape.devices_milli), .min = 0, .max = 1024000,
      .help = "Accelerators of each task: a whole number, or a share of one such as 0.25." },
    { "device_memory", KEY_BYTES, AT(request.shape.device_memory_bytes), .min = 1,
      .max = SIZE_BYTES_MAX, .help = "Memory each device has at least." },
    { "chips", KEY_NAMES, AT_COUNTED(request.shape.chips, request.shape.chips_count),
      .max = REQUEST_CHIPS_MAX, .item = "chip kind",
      .help = "Kinds of chip that will do, best first: a kind of the catalogue, or its beginning "
              "up to a hyphen (\"h100\" is every H100)." },
    { "mixed", KEY_FLAG, AT(request.shape.mixed),
      .help =
          "Tasks of a gang may be on different kinds at one site, each task on one, where no one "
          "kind has room for all. MAINS_SHARE tells each how much of the work is its." },
    { "sites", KEY_U32, AT(request.shape.sites_max), .min = 1, .max = REQUEST_SITES_MAX,
      .help =
          "Tasks of a gang may be over so many sites, where no one site has room for all of them "
          "now; absent: at one. MAINS_PEERS tells each where the others are to be reached." },
    { "needs", KEY_CUSTOM, .read = spec_read_needs, .print = spec_print_needs,
      .schema =
          "{\"type\":\"object\",\"maxProperties\":8,\"additionalProperties\":false,"
          "\"patternProperties\":{\"^(memory_gb|bandwidth_gbs|fp64_tflops|fp32_tflops|tf32_tflops|"
          "fp16_tflops|bf16_tflops|fp8_tflops|int8_tops|link_gbs)$\":{\"$ref\":\"#/$defs/"
          "figure\"}}}",
      .help = "Lower bounds on the chip's figures, such as bf16_tflops: 300." },
};
static const struct spec_table resources_table = { "resources", sizeof(struct job_spec),
                                                   TABLE(resources_keys), NULL };

static const struct spec_key input_keys[] = {
    { "from", KEY_HOST_PATH, IN(spec_file, from), .min = 1, .max = PATH_BYTES_MAX,
      .help = "File or folder of the submitting machine; or store:ID, artifact:JOB/PATH, "
              "http(s)://..., site:NAME:/path, rclone:REMOTE:path, s3://bucket/path." },
    { "to", KEY_WORK_PATH, IN(spec_file, to), .min = 1, .max = PATH_BYTES_MAX,
      .help = "Where it goes in the work folder; absent: its own last name." },
    { "content", KEY_TEXT, IN(spec_file, content), .min = 0, .max = SPEC_TEXT_BYTES_MAX,
      .help = "The text itself, instead of `from`." },
    { "executable", KEY_BOOL, IN(spec_file, executable), .help = "Make it executable." },
    { "digest", KEY_LINE, IN(spec_file, digest), .min = 1, .max = 80,
      .help = "What must come of an address: sha256:HEX or blake2b:HEX." },
    { "upload", KEY_BOOL, IN(spec_file, upload),
      .help = "Bring it to the network's store first, so that any site can have it." },
};
static int check_input(struct spec_reader *reader, const struct spec_step *step, const void *target)
{
    const struct spec_file *file = target;

    if (!file->from == !file->content)
        return spec_refuse(reader, step, -EINVAL, "expected either from or content");
    if (file->content && !file->to)
        return spec_refuse(reader, step, -EINVAL, "content needs to: the file it goes into");
    if (file->digest && !spec_digest_is_valid(file->digest))
        return spec_refuse(reader, step, -EINVAL,
                           "digest: expected sha256: or blake2b: and 64 hex "
                           "digits");
    if (file->digest && (!file->from || spec_source_of(file->from) != SOURCE_WEB))
        return spec_refuse(reader, step, -EINVAL, "digest: goes with an http(s) address");
    return 0;
}
static const struct spec_table input_table = { "an input", sizeof(struct spec_file),
                                               TABLE(input_keys), check_input };

static const struct spec_key output_keys[] = {
    { "from", KEY_WORK_PATH, IN(spec_file, from), .min = 1, .max = PATH_BYTES_MAX,
      .help = "File, folder or pattern (*, ?, [..]) in the work folder." },
    { "to", KEY_HOST_PATH, IN(spec_file, to), .min = 1, .max = PATH_BYTES_MAX,
      .help = "Where a copy goes; absent: kept with the job, to be fetched." },
};
static int check_output(struct spec_reader *reader, const struct spec_step *step,
                        const void *target)
{
    const struct spec_file *file = target;

    return file->from ? 0 : spec_refuse(reader, step, -EINVAL, "expected from");
}
static const struct spec_table output_table = { "an output", sizeof(struct spec_file),
                                                TABLE(output_keys), check_output };

static const struct spec_key secret_keys[] = {
    { "env", KEY_LINE, IN(spec_secret, from_env), .min = 1, .max = 255,
      .help = "Taken from this variable of the submitting process." },
    { "file", KEY_HOST_PATH, IN(spec_secret, from_file), .min = 1, .max = PATH_BYTES_MAX,
      .help = "Taken from this file of the submitting machine." },
    { "value", KEY_TEXT, IN(spec_secret, value), .min = 0, .max = SPEC_ENV_BYTES_MAX,
      .secret = true, .help = "The secret itself (better not in a file)." },
};
static int check_secret(struct spec_reader *reader, const struct spec_step *step,
                        const void *target)
{
    const struct spec_secret *secret = target;

    if (!spec_env_name_is_valid(secret->name))
        return spec_refuse_key(reader, step, "expected the name of a variable");
    if ((secret->from_env != NULL) + (secret->from_file != NULL) + (secret->value != NULL) != 1)
        return spec_refuse(reader, step, -EINVAL, "expected one of env, file and value");
    return 0;
}
static const struct spec_table secret_table = { "a secret", sizeof(struct spec_secret),
                                                TABLE(secret_keys), check_secret };

static const struct spec_key variant_keys[] = {
    { "image", KEY_LINE, IN(spec_variant, image), .min = 1, .max = 1024,
      .help = "Container image on this family." },
    { "setup", KEY_TEXT, IN(spec_variant, setup), .min = 1, .max = SPEC_TEXT_BYTES_MAX,
      .help = "Shell text run before `run` on this family." },
    { "env", KEY_PAIRS, IN(spec_variant, env),
      .count_offset = offsetof(struct spec_variant, env_count), .max = SPEC_LIST_MAX,
      .help = "Variables added or changed on this family." },
    { "run", KEY_TEXT, IN(spec_variant, run), .min = 1, .max = SPEC_TEXT_BYTES_MAX,
      .help = "Shell text to run on this family." },
};
static int check_variant(struct spec_reader *reader, const struct spec_step *step,
                         const void *target)
{
    const struct spec_variant *variant = target;

    return spec_name_is_valid(variant->family)
               ? 0
               : spec_refuse_key(reader, step, "expected a chip family such as cuda or cpu");
}
static const struct spec_table variant_table = { "a variant", sizeof(struct spec_variant),
                                                 TABLE(variant_keys), check_variant };

static const char *const by_names[] = { "job", "criu" };

static const struct spec_key checkpoint_keys[] = {
    { "by", KEY_ENUM, AT(checkpoint_by), NAMES(by_names),
      .help = "Who makes them: the job itself (default), or criu: its processes are saved as they "
              "are, where the site can do that; needs sandbox: false." },
    { "path", KEY_WORK_PATH, AT(checkpoint_path), .min = 1, .max = PATH_BYTES_MAX,
      .help = "File or folder in the work folder the job can go on from." },
    { "marker", KEY_WORK_PATH, AT(checkpoint_marker), .min = 1, .max = PATH_BYTES_MAX,
      .help = "A file that the job writes each time a checkpoint is complete." },
    { "signal", KEY_SIGNAL, AT(checkpoint_signal), .help = "Sent to ask for a checkpoint." },
    { "every", KEY_DURATION, AT(checkpoint_every_ms), .min = 1000, .max = DURATION_MS_MAX,
      .help = "How often one is made (or asked for with `signal`)." },
    { "portable", KEY_BOOL, AT(checkpoint_portable),
      .help = "Another family of chips can go on from it." },
};
static const struct spec_table checkpoint_table = { "checkpoint", sizeof(struct job_spec),
                                                    TABLE(checkpoint_keys), NULL };

static const struct spec_key elastic_keys[] = {
    { "min", KEY_U32, AT(elastic_min), .min = 1, .max = REQUEST_TASKS_MAX,
      .help = "The same as `tasks`: its least width." },
    { "max", KEY_U32, AT(request.tasks_max), .min = 2, .max = REQUEST_TASKS_MAX,
      .help = "Its greatest width, in tasks." },
    { "step", KEY_CUSTOM, .read = spec_read_step, .print = spec_print_step,
      .schema = "{\"oneOf\":[{\"type\":\"integer\",\"minimum\":1,\"maximum\":65536},{\"enum\":["
                "\"double\"]}]}",
      .help = "By how many tasks its widths differ (1 when absent), or double: 1, 2, 4, ... times "
              "the least." },
    { "hold", KEY_DURATION, AT(request.resize_hold_ms), .min = 1000, .max = DURATION_MS_MAX,
      .help = "It runs so long before it grows; 10 minutes when absent." },
};
static const struct spec_table elastic_table = { "elastic", sizeof(struct job_spec),
                                                 TABLE(elastic_keys), NULL };

static const struct spec_key retries_keys[] = {
    { "max", KEY_U32, AT(request.retries_max), .min = 0, .max = 1000,
      .help = "Further attempts after the job itself failed." },
    { "on_exit", KEY_CUSTOM, .read = spec_read_codes, .print = spec_print_codes,
      .schema = "{\"type\":\"array\",\"minItems\":1,\"maxItems\":16,\"items\":{\"type\":"
                "\"integer\",\"minimum\":1,\"maximum\":255}}",
      .help = "Only after these exit codes; absent: after any but 0." },
};
static const struct spec_table retries_table = { "retries", sizeof(struct job_spec),
                                                 TABLE(retries_keys), NULL };

static const struct spec_key work_keys[] = {
    { "class", KEY_NAME, AT(work_class),
      .help = "What the work is called: your jobs of one class do the same, in units." },
    { "units", KEY_CUSTOM, .read = spec_read_units, .print = spec_print_units,
      .schema = "{\"$ref\":\"#/$defs/figure\"}",
      .help = "How many units of it this job does: steps, samples, files." },
    { "seconds_per_unit", KEY_CUSTOM, .read = spec_read_paces, .print = spec_print_paces,
      .schema = "{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":16,"
                "\"propertyNames\":{\"$ref\":\"#/$defs/name\"},\"additionalProperties\":{"
                "\"$ref\":\"#/$defs/figure\"}}",
      .help = "Seconds of this job for a unit, by kind of chip (cpu: without devices). Finished "
              "jobs overrule it." },
    { "operations", KEY_CUSTOM, .read = spec_read_operations, .print = spec_print_operations,
      .schema = "{\"type\":\"number\",\"minimum\":1,\"maximum\":9e18}",
      .help = "Arithmetic of a unit, such as 6e15." },
    { "bytes", KEY_BYTES, AT(request.work.bytes), .min = 1, .max = SIZE_BYTES_MAX,
      .help = "Memory traffic of a unit." },
    { "metric", KEY_CUSTOM, .read = spec_read_metric, .print = spec_print_metric,
      .schema = "{\"enum\":[\"fp64_tflops\",\"fp32_tflops\",\"tf32_tflops\",\"fp16_tflops\","
                "\"bf16_tflops\",\"fp8_tflops\",\"int8_tops\"]}",
      .help = "Which arithmetic the operations are; absent: bf16_tflops." },
};
static const struct spec_table work_table = { "work", sizeof(struct job_spec), TABLE(work_keys),
                                              NULL };

static const struct spec_key topology_keys[] = {
    { "within", KEY_ENUM, AT(request.shape.within), NAMES(topology_names),
      .help =
          "What all of its nodes have in common: one node, one rack, one supernode (as the site "
          "labels them), or a pool of nodes that are alike." },
    { "hard", KEY_FLAG, AT(request.shape.within_hard),
      .help = "It waits until one such domain has room; false: it goes elsewhere when none has." },
    { "spread", KEY_FLAG, AT(request.shape.spread),
      .help = "Over as many nodes as it can, instead of as few." },
    { "not_with", KEY_NAMES,
      AT_COUNTED(request.shape.apart.avoids, request.shape.apart.avoids_count),
      .max = REQUEST_APART_MAX, .item = "label",
      .help = "It is never beside jobs of its tenant with one of these labels." },
    { "apart", KEY_ENUM, AT(request.shape.apart.level), NAMES(apart_names),
      .help = "How far from those of not_with: never on one node, in one rack, in one supernode, "
              "at one site." },
};
static const struct spec_table topology_table = { "topology", sizeof(struct job_spec),
                                                  TABLE(topology_keys), NULL };

static const struct spec_key after_keys[] = {
    { "job", KEY_NAME, .bare = true, IN(spec_dep, job),
      .help = "Id (12, 12.3) or name of an earlier job." },
    { "when", KEY_ENUM, IN(spec_dep, kind), NAMES(when_names),
      .help = "Start when it ended well, in any way, or only when it failed." },
};
static int check_after(struct spec_reader *reader, const struct spec_step *step, const void *target)
{
    const struct spec_dep *dep = target;

    return dep->job ? 0 : spec_refuse(reader, step, -EINVAL, "expected job: an id or a name");
}
static const struct spec_table after_table = { "a dependency", sizeof(struct spec_dep),
                                               TABLE(after_keys), check_after };

static const struct spec_key signal_keys[] = {
    { "name", KEY_SIGNAL, AT(warn_signal), .help = "Which signal." },
    { "before", KEY_DURATION, AT(warn_before_ms), .min = 1000, .max = DURATION_MS_MAX,
      .help = "How long before the end of `duration`." },
};
static const struct spec_table signal_table = { "signal", sizeof(struct job_spec),
                                                TABLE(signal_keys), NULL };

static const struct spec_key job_keys[] = {
    { "name", KEY_NAME, AT(name), .help = "What people call it; absent: job." },
    { "notes", KEY_TEXT, AT(notes), .min = 0, .max = 4096,
      .help = "Free text, kept with the job." },
    { "tasks", KEY_OBJECT, .bare = true, .table = &tasks_table,
      .help = "How many tasks the job is made of, all started together." },
    { "resources", KEY_OBJECT, .table = &resources_table, .help = "What each task gets." },
    { "launch", KEY_ENUM, AT(launch), NAMES(launch_names),
      .help = "each: one process a task. once: one process on the first node, which starts the "
              "others itself (mpirun with the host file)." },
    { "slots", KEY_U32, AT(slots), .min = 1, .max = 65536, .fallback = 1,
      .help = "Processes a launcher may start in each task: the slots of the host file." },
    { "duration", KEY_DURATION, AT(request.duration_ms_max), .min = 1, .max = DURATION_MS_MAX,
      .help = "How long it may run; then it is stopped. Absent: no limit." },
    { "deadline", KEY_WHEN, AT(request.deadline_ms),
      .count_offset = offsetof(struct job_spec, deadline_after_ms), .max = DURATION_MS_MAX,
      .help = "When it should have ended: a time, or so long after the submit." },
    { "begin", KEY_WHEN, AT(request.begin_ms),
      .count_offset = offsetof(struct job_spec, begin_after_ms), .max = DURATION_MS_MAX,
      .help = "Not to start before: a time, or so long after the submit." },
    { "class", KEY_ENUM, AT(request.job_class), NAMES(class_names), .fallback = CLASS_NORMAL,
      .help = "How urgent it is." },
    { "objective", KEY_CUSTOM, .read = spec_read_objective, .print = spec_print_objective,
      .schema = "{\"oneOf\":[{\"enum\":[\"fastest\",\"cheapest\",\"greenest\"]},{\"type\":"
                "\"object\",\"minProperties\":1,\"additionalProperties\":false,\"properties\":{"
                "\"time\":{\"$ref\":\"#/$defs/figure\"},\"money\":{\"$ref\":\"#/$defs/figure\"},"
                "\"carbon\":{\"$ref\":\"#/$defs/figure\"}}}]}",
      .help = "What the best place is: fastest (as when absent), cheapest, greenest, or weights of "
              "time, money and carbon." },
    { "max_price", KEY_CUSTOM, .read = spec_read_max_price, .print = spec_print_max_price,
      .schema = "{\"type\":\"number\",\"minimum\":0.000001,\"maximum\":1e9}",
      .help = "It starts only where it may cost no more than this by its duration, power and moved "
              "files included." },
    { "where", KEY_CUSTOM, .read = spec_read_where, .print = spec_print_where,
      .schema = "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"owners\":{"
                "\"$ref\":\"#/$defs/places\"},\"sites\":{\"$ref\":\"#/$defs/places\"},\"regions\":{"
                "\"$ref\":\"#/$defs/places\"}}}",
      .help = "Owners, sites and regions it may (allow) and may not (deny) run at." },
    { "data", KEY_NAMES, AT_COUNTED(request.shape.access.labels, request.shape.access.labels_count),
      .max = REQUEST_LABELS_MAX, .item = "label",
      .help = "Labels of the data it works on: owners say which may come to their sites, and which "
              "may leave." },
    { "labels", KEY_NAMES, AT_COUNTED(request.shape.apart.labels, request.shape.apart.labels_count),
      .max = REQUEST_APART_MAX, .item = "label",
      .help = "What it is called by jobs that keep away from it (topology.not_with)." },
    { "topology", KEY_OBJECT, .table = &topology_table,
      .help = "How the nodes of its gang should lie to each other." },
    { "work", KEY_OBJECT, .table = &work_table,
      .help = "What it does, so that the network learns how fast that is on each chip." },
    { "on_unreachable", KEY_ENUM, AT(request.on_unreachable), NAMES(unreachable_names),
      .help = "When its site is not heard: wait for it, or move elsewhere." },
    { "retries", KEY_OBJECT, .bare = true, .table = &retries_table,
      .help = "Try again after a failure." },
    { "requeue_on_loss", KEY_FLAG, AT(request.requeue_on_loss), .fallback = 1,
      .help = "Queue it again when its node or agent is lost under it." },
    { "elastic", KEY_OBJECT, .table = &elastic_table,
      .help = "It runs on `tasks` to `max` tasks, whatever there is room for, and is started again "
              "from its checkpoint to grow and to shrink." },
    { "spares", KEY_CUSTOM, .read = spec_read_spares, .print = spec_print_spares,
      .schema = "{\"oneOf\":[{\"type\":\"integer\",\"minimum\":0,\"maximum\":1024},{\"enum\":["
                "\"auto\"]}]}",
      .help = "Nodes that are held beside its gang, to go on with at once when one of them fails; "
              "auto: as many as pay for themselves." },
    { "rpo", KEY_DURATION, AT(request.rpo_ms), .min = 1000, .max = DURATION_MS_MAX,
      .help =
          "At most this much work should be lost to a fault; the network says how often to save." },
    { "rto", KEY_DURATION, AT(rto_ms), .min = 1000, .max = DURATION_MS_MAX,
      .help = "It should run again so soon after a fault: its newest checkpoint waits elsewhere." },
    { "image", KEY_LINE, AT(image), .min = 1, .max = 1024,
      .help = "Container image; absent: the site's own system." },
    { "setup", KEY_TEXT, AT(setup), .min = 1, .max = SPEC_TEXT_BYTES_MAX,
      .help = "Shell text run once on each node before the tasks." },
    { "run", KEY_TEXT, AT(run), .min = 1, .max = SPEC_TEXT_BYTES_MAX,
      .help = "Shell text to run (or a whole script)." },
    { "interpreter", KEY_LINE, AT(script_interpreter), .min = 1, .max = 255,
      .help = "What runs `setup` and `run`, as after #!; absent: /bin/sh." },
    { "args", KEY_TEXTS, AT_COUNTED(args, args_count), .max = SPEC_LIST_MAX,
      .help = "$1, $2, ... of `run`." },
    { "command", KEY_TEXTS, AT_COUNTED(argv, argv_count), .min = 1, .max = SPEC_LIST_MAX,
      .help = "Program and arguments, without a shell; instead of `run`." },
    { "workdir", KEY_HOST_PATH, AT(workdir), .min = 1, .max = PATH_BYTES_MAX,
      .help = "Folder to work in, of the site; absent: a fresh private one." },
    { "stdout", KEY_HOST_PATH, AT(stdout_pattern), .min = 1, .max = PATH_BYTES_MAX,
      .help = "File that also gets the output: %j job, %A array, %a element, %x name, %u user, "
              "%N node." },
    { "stderr", KEY_HOST_PATH, AT(stderr_pattern), .min = 1, .max = PATH_BYTES_MAX,
      .help = "The same for the error output." },
    { "env", KEY_PAIRS, AT_COUNTED(env, env_count), .max = SPEC_LIST_MAX, .help = "Variables." },
    { "export", KEY_CUSTOM, .read = spec_read_export, .print = spec_print_export,
      .schema = "{\"oneOf\":[{\"enum\":[\"all\",\"none\"]},{\"type\":\"array\",\"maxItems\":1024,"
                "\"items\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z_][A-Za-z0-9_]*$\"}}]}",
      .help = "Variables of the submitting process to take along: none (as when absent), all, or "
              "these." },
    { "secrets", KEY_MAP, AT_COUNTED(secrets, secrets_count), .max = 64, .table = &secret_table,
      .help = "Variables that are sealed, and shown nowhere." },
    { "inputs", KEY_LIST, AT_COUNTED(inputs, inputs_count), .bare = true, .max = SPEC_LIST_MAX,
      .table = &input_table, .help = "Files brought into the work folder." },
    { "outputs", KEY_LIST, AT_COUNTED(outputs, outputs_count), .bare = true, .max = SPEC_LIST_MAX,
      .table = &output_table, .help = "Files kept when it ended." },
    { "checkpoint", KEY_OBJECT, .table = &checkpoint_table,
      .help = "How the job can go on where it was." },
    { "variants", KEY_MAP, AT_COUNTED(variants, variants_count), .max = 32, .table = &variant_table,
      .help = "What differs on one family of chips (or one kind)." },
    { "array", KEY_CUSTOM, .read = spec_read_array, .print = spec_print_array,
      .schema = "{\"$ref\":\"#/$defs/array\"}",
      .help = "Many jobs of one form: a range of numbers, or lists of values." },
    { "after", KEY_LIST, AT_COUNTED(after, after_count), .bare = true, .max = REQUEST_DEPS_MAX,
      .table = &after_table, .help = "Jobs to wait for." },
    { "signal", KEY_OBJECT, .table = &signal_table,
      .help = "A signal sent some time before the limit." },
    { "grace", KEY_DURATION, AT(grace_ms), .min = 0, .max = 3600000, .fallback = 10000,
      .help = "From SIGTERM to SIGKILL." },
    { "log_limit", KEY_BYTES, AT(log_bytes_max), .min = 4096, .max = INT64_C(1) << 40,
      .fallback = 64 << 20, .help = "Output kept of each of stdout and stderr." },
    { "sandbox", KEY_BOOL, AT(sandbox), .fallback = 1,
      .help = "Read-only system, private /tmp; false only where the operator allows it." },
    { "origin", KEY_ENUM, AT(origin), NAMES(origin_names),
      .help = "What it was written as: decides whose variables the tasks see. Set by the reader." },
    { "submit_dir", KEY_HOST_PATH, AT(submit_dir), .min = 1, .max = PATH_BYTES_MAX,
      .help = "Where a script was submitted. Set by the reader." },
    { "submit_host", KEY_NAME, AT(submit_host), .help = "From which machine. Set by the reader." },
};
const struct spec_table spec_job_table = { "a job", sizeof(struct job_spec), TABLE(job_keys),
                                           NULL };
