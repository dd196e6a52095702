#include "cli/site_owner.h"

#include "cli/remote.h"
#include "cli/text.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MIN 1440
#define WEEK_MIN 10080

const struct cli_option site_owner_options[] = {
    { "cpus", 0, "N", NULL, "limits: CPUs that jobs may hold there in all; none = no limit." },
    { "devices", 0, "K", NULL, "limits: devices, likewise." },
    { "memory", 0, "SIZE", NULL, "limits: memory, likewise." },
    { "power", 0, "WATTS", NULL, "limits: what jobs may draw, likewise." },
    { "device", 0, "N", NULL, "cordon-node: only this device of it." },
    { 0 },
};

bool site_owner_has(const char *action)
{
    static const char *const actions[] = { "limits", "cordon-node", "uncordon-node" };

    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        if (strcmp(actions[i], action) == 0)
            return true;
    return false;
}

/* --- what is let in ------------------------------------------------------------------------- */

static void show_list(const char *name, const json_t *list, const char *none)
{
    size_t i;
    json_t *item;

    if (!list)
        return;
    printf("  %-8s %s", name, json_array_size(list) ? "" : none);
    json_array_foreach (list, i, item) {
        CLEANUP(freep) char *text = text_safe(json_string_value(item));

        printf("%s%s", i ? ", " : "", text ? text : "?");
    }
    printf("\n");
}

static void print_minute(int64_t minute, bool with_day)
{
    static const char *const days[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };

    minute %= WEEK_MIN;
    if (with_day)
        printf("%s ", days[minute / DAY_MIN]);
    printf("%02d:%02d", (int)(minute % DAY_MIN / 60), (int)(minute % 60));
}

static void show_hours(const json_t *windows)
{
    size_t i;
    json_t *window;

    if (!windows)
        return;
    printf("  hours    ");
    json_array_foreach (windows, i, window) {
        int64_t from = json_integer_value(json_array_get(window, 0));
        int64_t until = json_integer_value(json_array_get(window, 1));

        printf("%s", i ? ", " : "");
        print_minute(from, true);
        printf("-");
        print_minute(until, until - from >= DAY_MIN);
    }
    printf(" (UTC)\n");
}

static void show_contacts(const json_t *contacts)
{
    size_t i;
    json_t *contact;

    json_array_foreach (contacts, i, contact) {
        int64_t from = json_integer_value(json_array_get(contact, 0));
        int64_t until = json_integer_value(json_array_get(contact, 1));
        int64_t period = json_integer_value(json_array_get(contact, 2));
        char first[64], lasts[32], every[32];

        units_print_time(from, first, sizeof(first));
        units_print_duration(until - from, lasts, sizeof(lasts));
        units_print_duration(period, every, sizeof(every));
        printf("  heard    %s%s%s from %s on\n", lasts, period ? " every " : "",
               period ? every : "", first);
    }
}

static void show_money(const json_t *floor, const char *key, const char *what)
{
    char text[32];

    if (!json_object_get(floor, key))
        return;
    units_print_micro(reply_number(floor, key), text, sizeof(text));
    printf("  at least %s %s\n", text, what);
}

static void show_limits(const json_t *limits)
{
    static const char *const keys[] = { "cpus", "devices", "memory_bytes", "watts" };
    static const char *const words[] = { "CPUs", "devices", "memory", "W" };
    uint32_t count = 0;

    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        const json_t *value = json_object_get(limits, keys[i]);
        char text[32];

        if (!json_is_integer(value))
            continue;
        snprintf(text, sizeof(text), "%" PRId64, (int64_t)json_integer_value(value));
        if (i == 2)
            units_print_bytes(json_integer_value(value), text, sizeof(text));
        printf("%s%s %s", count++ ? ", " : "  limits   ", text, words[i]);
    }
    if (count)
        printf("\n");
}

static void show_link(const json_t *link)
{
    static const char *const keys[] = { "egress_gb_micro", "ingress_gb_micro" };
    static const char *const words[] = { "a GB from there", "a GB to there" };
    const char *between = "  link     ";
    char text[32];

    if (json_object_get(link, "bytes_s")) {
        units_print_bytes(reply_number(link, "bytes_s"), text, sizeof(text));
        printf("%s%s a second", between, text);
        between = ", ";
    }
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        if (!json_object_get(link, keys[i]))
            continue;
        units_print_micro(reply_number(link, keys[i]), text, sizeof(text));
        printf("%s%s %s", between, text, words[i]);
        between = ", ";
    }
    if (link)
        printf("\n");
}

/* What was measured: files on their way, and its own queue. */
static void show_freight(const json_t *freight)
{
    static const char *const keys[] = { "down_bytes_s", "up_bytes_s" };
    static const char *const words[] = { "to", "from" };
    const json_t *wait;
    size_t i;
    char text[32];

    for (i = 0; i < ARRAY_COUNT(keys); i++) {
        if (!reply_number(freight, keys[i]))
            continue;
        units_print_bytes(reply_number(freight, keys[i]), text, sizeof(text));
        printf("  files    %s a second %s there, as measured\n", text, words[i]);
    }
    json_array_foreach (json_object_get(freight, "waits"), i, wait) {
        if (!reply_number(wait, "wait_ms"))
            continue;
        units_print_duration(reply_number(wait, "wait_ms"), text, sizeof(text));
        printf("  queue    %s for work %s devices", text,
               json_is_true(json_object_get(wait, "devices")) ? "with" : "without");
        if (reply_number(wait, "nodes_max") < UINT32_MAX)
            printf(" on up to %" PRId64 " nodes", reply_number(wait, "nodes_max"));
        printf("\n");
    }
}

void site_owner_show(const json_t *site)
{
    const json_t *policy = json_object_get(site, "policy"), *data = json_object_get(policy, "data");
    const json_t *own = json_object_get(policy, "own"), *floor = json_object_get(policy, "floor");
    char text[32];

    show_list("tenants", json_object_get(policy, "tenants"), "none");
    show_list("classes", json_object_get(policy, "classes"), "none");
    show_hours(json_object_get(policy, "windows"));
    show_contacts(json_object_get(policy, "contacts"));
    show_list("images", json_object_get(policy, "images"), "none, but the site's own system");
    show_list("come", json_object_get(data, "come"), "no labelled data");
    show_list("leave", json_object_get(data, "leave"), "none of its data");
    show_list("here", json_object_get(data, "here"), "none");
    show_money(floor, "cpu_hour_micro", "a CPU-hour");
    show_money(floor, "device_hour_micro", "a device-hour");
    if (json_object_get(policy, "cap_watts"))
        printf("  power    at most %" PRId64 " W\n", reply_number(policy, "cap_watts"));
    if (own) {
        units_print_milli(reply_number(own, "ppm") / 10, text, sizeof(text));
        printf("  own      %s %% first for %s\n", text, reply_text(own, "tenant"));
    }
    show_link(json_object_get(policy, "link"));
    show_limits(json_object_get(site, "limits"));
    show_freight(json_object_get(site, "freight"));
}

/* --- limits and nodes ----------------------------------------------------------------------- */

static int read_limit(const char *option, const char *text, json_t *body, struct err *err)
{
    static const char *const keys[][2] = { { "cpus", "cpus" },
                                           { "devices", "devices" },
                                           { "memory", "memory_bytes" },
                                           { "power", "watts" } };
    int64_t value = 0;
    size_t i = 0;
    int rc = 0;

    while (strcmp(keys[i][0], option) != 0)
        i++;
    if (strcmp(text, "none") == 0)
        return json_object_set_new(body, keys[i][1], json_null());
    rc = i == 2 ? units_parse_bytes(text, &value, err)
                : units_parse_int(text, 0, INT64_C(1) << 50, &value, err);
    if (rc < 0)
        return err_prefix(err, rc, "--%s", option);
    return json_object_set_new(body, keys[i][1], json_integer(value));
}

static json_t *limits_body(const struct cli_args *args, struct err *err)
{
    static const char *const options[] = { "cpus", "devices", "memory", "power" };
    json_t *body = json_object();

    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        const char *text = cli_args_get(args, options[i]);

        if (text && read_limit(options[i], text, body, err) < 0) {
            json_decref(body);
            return NULL;
        }
    }
    return body;
}

static int run_limits(const struct cli_args *args, struct remote *remote)
{
    CLEANUP(buf_fini) struct buf path = buf_init(4096);
    json_t *answer = NULL, *body;
    struct err err = { 0 };
    int code = CLI_OK;

    body = limits_body(args, &err);
    if (!body)
        return cli_fail(CLI_USAGE, &err);
    buf_add_text(&path, "/sites/");
    remote_add_encoded(&path, args->rest[1]);
    buf_add_text(&path, "/limits");
    if (remote_call(remote, "PUT", path.data, body, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (cli_args_has(args, "json"))
        code = reply_show(answer);
    else {
        printf("%s:\n", reply_text(answer, "site"));
        show_limits(json_object_get(answer, "limits"));
    }
    json_decref(body);
    json_decref(answer);
    return code;
}

static int run_cordon(const struct cli_args *args, struct remote *remote)
{
    CLEANUP(buf_fini) struct buf path = buf_init(65536);
    const char *reason = cli_args_get(args, "reason"), *device = cli_args_get(args, "device");
    bool cordons = strcmp(args->rest[0], "cordon-node") == 0;
    json_t *answer = NULL;
    struct err err = { 0 };
    int code = CLI_OK;

    buf_add_text(&path, "/nodes/");
    remote_add_encoded(&path, args->rest[1]);
    buf_add_char(&path, '/');
    remote_add_encoded(&path, args->rest[2]);
    buf_printf(&path, "/%s?", cordons ? "cordon" : "uncordon");
    if (reason)
        buf_add_text(&path, "reason=");
    remote_add_encoded(&path, reason ? reason : "");
    if (device)
        buf_add_text(&path, reason ? "&device=" : "device=");
    remote_add_encoded(&path, device ? device : "");
    if (remote_call(remote, "POST", path.data, NULL, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (cli_args_has(args, "json"))
        code = reply_show(answer);
    else
        printf("%s/%s: %s\n", args->rest[1], args->rest[2],
               cordons ? "takes no new work; what runs goes on" : "takes work again");
    json_decref(answer);
    return code;
}

int site_owner_run(const struct cli_args *args)
{
    bool limits = strcmp(args->rest[0], "limits") == 0;
    struct remote remote;
    struct err err;
    int code;

    if (args->rest_count != (limits ? 2u : 3u))
        return cli_fail_text(CLI_USAGE, "site %s: expected SITE%s", args->rest[0],
                             limits ? "" : " and NODE");
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    code = limits ? run_limits(args, &remote) : run_cordon(args, &remote);
    remote_fini(&remote);
    return code;
}
