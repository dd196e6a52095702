#include "cli/commands.h"
#include "cli/remote.h"
#include "cli/text.h"
#include "model/units.h"

#include <inttypes.h>
#include <string.h>

static const struct cli_option options[] = {
    { "after", 'a', "N", NULL, "Resume after this sequence number." },
    { "count", 'n', "N", NULL, "Leave after so many events." },
    { 0 },
};

#define LINE_BYTES_MAX (4u << 20)

struct reader {
    struct buf line;
    char id[32], event[32];
    bool json;
    int64_t left; /* events; -1 = no end */
};

static int show(struct reader *reader, const char *data)
{
    json_t *root = json_loads(data, JSON_DECODE_ANY, NULL);
    CLEANUP(buf_fini) struct buf out = buf_init(LINE_BYTES_MAX);

    if (reader->json) {
        json_t *whole =
            json_pack("{s:s, s:s, s:O?}", "id", reader->id, "event", reader->event, "data", root);
        char *text = whole ? json_dumps(whole, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

        puts(text ? text : "{}");
        freep(&text);
        json_decref(whole);
    } else {
        buf_printf(&out, "%-8s %-6s ", reader->id, reader->event);
        if (json_is_object(root) && *reply_text(root, "state")) {
            buf_add_text(&out, reply_text(root, "id"));
            buf_add_text(&out, " ");
            text_add_safe(&out, reply_text(root, "state"), strlen(reply_text(root, "state")));
            if (*reply_text(root, "reason")) {
                buf_add_text(&out, ": ");
                text_add_safe(&out, reply_text(root, "reason"), strlen(reply_text(root, "reason")));
            }
        } else {
            text_add_safe(&out, data, strlen(data));
        }
        puts(out.data);
    }
    json_decref(root);
    if (fflush(stdout) != 0)
        return 1;
    return reader->left > 0 && --reader->left == 0;
}

/* One line of the stream (WHATWG server-sent events): id, event and data are what mains sends. */
static int take_line(struct reader *reader, const char *line)
{
    const char *value = strchr(line, ':');

    if (*line == '\0' || *line == ':' || !value)
        return 0;
    value += value[1] == ' ' ? 2 : 1;
    if (strncmp(line, "id:", 3) == 0)
        snprintf(reader->id, sizeof(reader->id), "%.20s", value);
    else if (strncmp(line, "event:", 6) == 0)
        snprintf(reader->event, sizeof(reader->event), "%.20s", value);
    else if (strncmp(line, "data:", 5) == 0)
        return show(reader, value);
    return 0;
}

static int take(void *context, const char *data, size_t len)
{
    struct reader *reader = context;

    for (size_t i = 0; i < len; i++) {
        int stop = 0;

        if (data[i] != '\n') {
            if (data[i] != '\r')
                buf_add_char(&reader->line, data[i]);
            continue;
        }
        if (!reader->line.failed)
            stop = take_line(reader, reader->line.data ? reader->line.data : "");
        buf_clear(&reader->line);
        if (stop)
            return 1;
    }
    return 0;
}

static int run(const struct cli_args *args)
{
    const char *after = cli_args_get(args, "after");
    const char *count = cli_args_get(args, "count");
    struct reader reader = { .line = buf_init(LINE_BYTES_MAX),
                             .json = cli_args_has(args, "json"),
                             .left = -1 };
    struct remote remote;
    int64_t number = 0;
    char path[64] = "/events";
    struct err err;
    int code = CLI_OK;

    if (after && units_parse_int(after, 0, INT64_MAX, &number, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--after: %s", err.text);
    if (count && units_parse_int(count, 1, INT64_MAX, &reader.left, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--count: %s", err.text);
    if (after)
        snprintf(path, sizeof(path), "/events?after=%" PRId64, number);
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (remote_stream(&remote, path, take, &reader, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    buf_fini(&reader.line);
    remote_fini(&remote);
    return code;
}

const struct cli_command cmd_events = {
    .name = "events",
    .summary = "show what happens, as it happens",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .text =
        "One line an event: its sequence number, its kind and what it says. With --json one JSON "
        "object a line.",
    .examples = { { "mains events", "From now on." },
                  { "mains events --after 1200 --json", "From event 1201 on, for a program." } },
    .run = run,
};
