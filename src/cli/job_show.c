#include "cli/job_show.h"

#include "cli/text.h"
#include "model/units.h"

#include <inttypes.h>
#include <string.h>

enum term_color job_state_color(const char *state)
{
    static const struct {
        const char *state;
        enum term_color color;
    } colors[] = {
        { "running", TERM_GREEN }, { "starting", TERM_CYAN }, { "stopping", TERM_YELLOW },
        { "queued", TERM_YELLOW }, { "held", TERM_DIM },      { "failed", TERM_RED },
        { "cancelled", TERM_DIM },
    };

    for (size_t i = 0; i < ARRAY_COUNT(colors); i++)
        if (strcmp(state, colors[i].state) == 0)
            return colors[i].color;
    return TERM_PLAIN;
}

bool job_state_is_over(const char *state)
{
    return strcmp(state, "done") == 0 || strcmp(state, "failed") == 0 ||
           strcmp(state, "cancelled") == 0;
}

int64_t job_elapsed_ms(const json_t *job, int64_t now_ms)
{
    int64_t started = reply_time_ms(job, "started_at");
    int64_t ended = reply_time_ms(job, "ended_at");

    if (!started)
        started = reply_time_ms(job, "submitted_at");
    if (!started)
        return 0;
    return MAX(0, (ended ? ended : now_ms) - started);
}

int job_exit_status(const json_t *job)
{
    const char *state = reply_text(job, "state");
    const char *outcome = reply_text(job, "outcome");
    int64_t code = reply_number(job, "exit_code");

    if (strcmp(state, "done") == 0)
        return 0;
    if (strcmp(state, "cancelled") == 0)
        return CLI_DETACHED;
    if (strcmp(outcome, "time_limit") == 0)
        return 124;
    if (strcmp(outcome, "signalled") == 0)
        return 128 + (int)(code & 127);
    if (strcmp(outcome, "memory") == 0 || strcmp(outcome, "disk") == 0)
        return 128 + 9;
    if (strcmp(outcome, "exited") == 0 && code > 0 && code < 256)
        return (int)code;
    return CLI_MAINS;
}

void job_print_place(const json_t *job, struct buf *out)
{
    const json_t *allocation = json_object_get(job, "allocation");
    const json_t *parts = json_object_get(allocation, "parts");
    size_t index;
    json_t *part;

    if (!json_is_object(allocation))
        return;
    json_array_foreach (parts, index, part) {
        char memory[32] = "";
        int64_t bytes = reply_number(part, "memory_bytes");
        int64_t cpus = reply_number(part, "cpus");
        const json_t *devices = json_object_get(part, "devices");

        if (index)
            buf_add_text(out, "; ");
        buf_printf(out, "%" PRId64 " CPU%s", cpus, cpus == 1 ? "" : "s");
        if (bytes > 0) {
            units_print_bytes(bytes, memory, sizeof(memory));
            buf_printf(out, ", %s", memory);
        }
        if (json_array_size(devices))
            buf_printf(out, ", %zu device%s", json_array_size(devices),
                       json_array_size(devices) == 1 ? "" : "s");
        buf_printf(out, " on %s", reply_text(part, "node"));
    }
    if (reply_text(allocation, "site")[0])
        buf_printf(out, " (%s)", reply_text(allocation, "site"));
    json_array_foreach (json_object_get(job, "across"), index, part) {
        int64_t tasks = reply_number(part, "tasks");

        if (strcmp(reply_text(part, "site"), reply_text(allocation, "site")) == 0)
            continue;
        buf_printf(out, "; %" PRId64 " task%s at %s%s", tasks, tasks == 1 ? "" : "s",
                   reply_text(part, "site"),
                   json_is_true(json_object_get(part, "ended")) ? " (ended)" : "");
    }
}

static void print_scaled(double value, const char *const *units, size_t count, char *out,
                         size_t out_bytes)
{
    char number[32];
    size_t unit = 0;

    while (unit + 1 < count && value >= 1000) {
        value /= 1000;
        unit++;
    }
    text_print_number(value, number, sizeof(number));
    snprintf(out, out_bytes, "%s %s", number, units[unit]);
}

void usage_print_energy(const json_t *usage, char *out, size_t out_bytes)
{
    static const char *const units[] = { "mJ", "J", "kJ", "MJ", "GJ" };

    print_scaled(reply_figure(usage, "energy_mj"), units, ARRAY_COUNT(units), out, out_bytes);
}

void usage_print_carbon(const json_t *usage, char *out, size_t out_bytes)
{
    static const char *const units[] = { "\u00b5g", "mg", "g", "kg", "t" };
    static const char *const plain[] = { "ug", "mg", "g", "kg", "t" };

    print_scaled(reply_figure(usage, "carbon_ug"), term_has_utf8() ? units : plain,
                 ARRAY_COUNT(units), out, out_bytes);
}

void usage_print_price(const json_t *usage, char *out, size_t out_bytes)
{
    char number[48];

    units_print_micro(reply_number(usage, "price_micro"), number, sizeof(number));
    snprintf(out, out_bytes, "%s%s%s", number, reply_text(usage, "currency")[0] ? " " : "",
             reply_text(usage, "currency"));
}

bool cli_wants_json(const struct cli_args *args)
{
    return cli_args_has(args, "json");
}
