#include "base/clock.h"
#include "cli/commands.h"
#include "cli/job_show.h"
#include "cli/text.h"
#include "model/units.h"

#include <inttypes.h>
#include <string.h>

static const struct cli_option options[] = {
    { "spec", 0, NULL, NULL, "Only the job's spec, as JSON that can be submitted again." },
    { 0 },
};

static void line(const char *title, const char *text)
{
    CLEANUP(freep) char *safe = text_safe(text);

    if (safe && *safe)
        printf("%-11s %s\n", title, safe);
}

static void time_line(const char *title, const json_t *job, const char *key, int64_t now_ms)
{
    int64_t at = reply_time_ms(job, key);
    char relative[32];
    char text[96];

    if (!at)
        return;
    text_print_relative(at, now_ms, relative, sizeof(relative));
    snprintf(text, sizeof(text), "%s (%s)", reply_text(job, key), relative);
    line(title, text);
}

/* How wide it is and may be, and what stands by for it. */
static void show_width(const json_t *job)
{
    const json_t *width = json_object_get(job, "width"), *part, *name;
    const json_t *allocation = json_object_get(job, "allocation");
    const json_t *spares = json_object_get(allocation, "spares");
    CLEANUP(buf_fini) struct buf text = buf_init(65536);
    int64_t tasks = 0;
    size_t index;

    json_array_foreach (json_object_get(allocation, "parts"), index, part)
        tasks += reply_number(part, "tasks");
    if (width && tasks)
        buf_printf(&text, "%" PRId64 " of ", tasks);
    if (width)
        buf_printf(&text, "%" PRId64 " to %" PRId64 " tasks", reply_number(width, "min"),
                   reply_number(width, "max"));
    if (json_is_integer(json_object_get(width, "most")))
        buf_printf(&text, ", no more than %" PRId64, reply_number(width, "most"));
    if (text.len)
        line("width", text.data);
    buf_clear(&text);
    json_array_foreach (spares, index, name)
        buf_printf(&text, "%s%s", index ? ", " : "", json_string_value(name));
    if (text.len)
        line("spares", text.data);
}

static void show_attempts(const json_t *attempts)
{
    size_t index;
    json_t *attempt;

    json_array_foreach (attempts, index, attempt) {
        char title[32];
        char text[256];
        const json_t *code = json_object_get(attempt, "exit_code");
        int len;

        snprintf(title, sizeof(title), "attempt %" PRId64, reply_number(attempt, "epoch"));
        len = snprintf(text, sizeof(text), "%s", reply_text(attempt, "outcome"));
        if (json_is_integer(code) && len < 200)
            len += snprintf(text + len, sizeof(text) - (size_t)len, " %d",
                            (int)json_integer_value(code));
        if (reply_text(attempt, "reason")[0] && len < 200)
            snprintf(text + len, sizeof(text) - (size_t)len, ": %s", reply_text(attempt, "reason"));
        line(title, text);
    }
}

static void show_usage(const json_t *usage)
{
    char cpu[32];
    char held[32];
    char memory[32];
    char energy[32];
    char carbon[32];
    char price[64];

    if (!json_is_object(usage))
        return;
    units_print_duration(reply_number(usage, "cpu_ms"), cpu, sizeof(cpu));
    units_print_duration(reply_number(usage, "cpu_held_ms"), held, sizeof(held));
    units_print_bytes(reply_number(usage, "memory_peak_bytes"), memory, sizeof(memory));
    usage_print_energy(usage, energy, sizeof(energy));
    usage_print_carbon(usage, carbon, sizeof(carbon));
    usage_print_price(usage, price, sizeof(price));
    printf("%-11s CPU %s of %s held, memory %s at most", "usage", cpu, held, memory);
    if (reply_number(usage, "device_milli_ms"))
        printf(", devices %.3f s", reply_figure(usage, "device_milli_ms") / 1e6);
    printf("\n%-11s %s (%s), %s CO2, price %s\n", "", energy,
           reply_flag(usage, "energy_measured") ? "measured" : "modelled", carbon, price);
}

static void show_why(struct remote *remote, const char *id)
{
    CLEANUP(freep) char *path = NULL;
    json_t *why = NULL;
    struct err err;

    if (remote_job_path(id, "/why", &path, &err) == 0 && remote_get(remote, path, &why, &err) == 0)
        line("why", reply_text(why, "text"));
    json_decref(why);
}

/* An array as a whole. */
static void show_counts(const json_t *job)
{
    static const char *const states[] = {
        "held", "queued", "running", "done", "failed", "cancelled"
    };
    const json_t *counts = json_object_get(job, "counts");

    if (!json_is_object(counts))
        return;
    printf("%-11s %" PRId64 ":", "jobs", reply_number(job, "jobs"));
    for (size_t i = 0; i < ARRAY_COUNT(states); i++)
        if (reply_number(counts, states[i]))
            printf(" %" PRId64 " %s", reply_number(counts, states[i]), states[i]);
    printf(" (one of them: mains show %s.0)\n", reply_text(job, "id"));
}

static void show_job(struct remote *remote, const json_t *job)
{
    CLEANUP(buf_fini) struct buf place = buf_init(1u << 20);
    const char *state = reply_text(job, "state");
    const char *id = reply_text(job, "id");
    int64_t now_ms = clock_wall_ms();
    bool color = term_has_color(stdout);
    char text[256];

    line("job", id);
    line("name", reply_text(job, "name"));
    printf("%-11s %s%s%s", "state", color ? term_color_on(job_state_color(state)) : "", state,
           color && job_state_color(state) != TERM_PLAIN ? TERM_COLOR_OFF : "");
    if (job_state_is_over(state) && json_is_integer(json_object_get(job, "exit_code")))
        printf(" (%s %" PRId64 ")", reply_text(job, "outcome"), reply_number(job, "exit_code"));
    putchar('\n');
    show_counts(job);
    line("reason", reply_text(job, "reason"));
    if (strcmp(state, "queued") == 0 || strcmp(state, "held") == 0)
        show_why(remote, id);
    snprintf(text, sizeof(text), "%s of %s", reply_text(job, "user"), reply_text(job, "tenant"));
    line("user", text);
    line("class", reply_text(job, "class"));
    time_line("submitted", job, "submitted_at", now_ms);
    time_line("started", job, "started_at", now_ms);
    time_line("ended", job, "ended_at", now_ms);
    if (reply_time_ms(job, "started_at")) {
        units_print_duration(job_elapsed_ms(job, now_ms), text, sizeof(text));
        line(job_state_is_over(state) ? "ran" : "runs", text);
    }
    job_print_place(job, &place);
    if (place.len)
        line("holds", place.data);
    show_width(job);
    show_attempts(json_object_get(job, "attempts"));
    show_usage(json_object_get(job, "usage"));
}

static int show_one(const struct cli_args *args, struct remote *remote, const char *id)
{
    CLEANUP(freep) char *path = NULL;
    json_t *job = NULL;
    struct err err;
    int code = CLI_OK;

    if (remote_job_path(id, "", &path, &err) < 0 || remote_get(remote, path, &job, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (cli_args_has(args, "spec"))
        code = reply_show(json_object_get(job, "spec"));
    else if (cli_args_has(args, "json"))
        code = reply_show(job);
    else
        show_job(remote, job);
    json_decref(job);
    return code;
}

static int run(const struct cli_args *args)
{
    struct remote remote;
    struct err err;
    int code = CLI_OK;

    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    for (uint32_t i = 0; i < args->rest_count; i++) {
        int one;

        if (i && !cli_args_has(args, "json"))
            putchar('\n');
        one = show_one(args, &remote, args->rest[i]);
        code = one ? one : code;
    }
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_show = {
    .name = "show",
    .summary = "everything about a job",
    .usage = "[OPTION...] JOB...",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "JOB", NULL, false, true } },
    .text = "State and reason, times, what it holds, its attempts, and what it used. Energy says "
            "whether it was measured or modelled.",
    .examples = { { "mains show 12", "The sheet of job 12." },
                  { "mains show --spec 12 > again.json", "Its spec, to be submitted again." } },
    .run = run,
};
