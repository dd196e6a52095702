/* nodes, devices and sites: one GET and one table each. */
#include "cli/commands.h"
#include "cli/job_show.h"
#include "cli/site_join.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int show_table(struct table *table, const char *none)
{
    int rc = 0;

    if (table->rows_count == 0)
        printf("%s\n", none);
    else
        rc = table_show(table);
    table_fini(table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static int show_nodes(const json_t *rows)
{
    static const struct table_column columns[] = {
        { "NODE", false, 10 },    { "SITE", false, 8 },       { "STATE", false, 0 },
        { "CPUS FREE", true, 0 }, { "MEMORY FREE", true, 0 }, { "DEVICES FREE", true, 0 },
        { "JOBS", true, 0 },      { "CPU", false, 12 },       { 0 },
    };
    struct table table = table_init(columns);
    size_t index;
    json_t *node;

    json_array_foreach (rows, index, node) {
        const char *state = reply_text(node, "state");
        char free_text[32];
        char all_text[32];
        char devices[32];

        units_print_bytes(reply_number(node, "memory_free_bytes"), free_text, sizeof(free_text));
        units_print_bytes(reply_number(node, "memory_bytes"), all_text, sizeof(all_text));
        units_print_milli(reply_number(node, "devices_free_milli"), devices, sizeof(devices));
        table_add_color(&table, reply_text(node, "name"), TERM_CYAN);
        table_add(&table, reply_text(node, "site"));
        table_add_color(&table, state, strcmp(state, "ready") == 0 ? TERM_GREEN : TERM_YELLOW);
        table_addf(&table, "%" PRId64 " of %" PRId64, reply_number(node, "cpus_free"),
                   reply_number(node, "cpus"));
        table_addf(&table, "%s of %s", free_text, all_text);
        table_addf(&table, "%s of %" PRId64, devices, reply_number(node, "devices"));
        table_addf(&table, "%" PRId64, reply_number(node, "jobs"));
        table_add(&table, reply_text(node, "cpu_model"));
    }
    return show_table(&table, "No nodes: no site has joined yet (`mains doctor` tells why).");
}

static int show_devices(const json_t *rows)
{
    static const struct table_column columns[] = {
        { "NODE", false, 10 }, { "DEVICE", true, 0 }, { "CHIP", false, 10 },  { "MEMORY", true, 0 },
        { "FREE", true, 0 },   { "STATE", false, 0 }, { "DRIVER", false, 8 }, { 0 },
    };
    struct table table = table_init(columns);
    size_t index;
    json_t *device;

    json_array_foreach (rows, index, device) {
        const char *state = reply_text(device, "state");
        char memory[32];
        char share[32];

        units_print_bytes(reply_number(device, "memory_bytes"), memory, sizeof(memory));
        units_print_milli(reply_number(device, "free_milli"), share, sizeof(share));
        table_add_color(&table, reply_text(device, "node"), TERM_CYAN);
        table_addf(&table, "%" PRId64, reply_number(device, "index"));
        table_add(&table, reply_text(device, "chip"));
        table_add(&table, memory);
        table_add(&table, share);
        table_add_color(&table, state, strcmp(state, "ready") == 0 ? TERM_GREEN : TERM_YELLOW);
        table_add(&table, reply_text(device, "driver"));
    }
    return show_table(&table, "No accelerators here; jobs run on CPUs (`mains nodes`).");
}

static int show_sites(const json_t *rows)
{
    static const struct table_column columns[] = {
        { "SITE", false, 10 },   { "OWNER", false, 8 },      { "REGION", false, 8 },
        { "STATE", false, 0 },   { "NODES", true, 0 },       { "g CO2/kWh", true, 0 },
        { "CPU-HOUR", true, 0 }, { "DEVICE-HOUR", true, 0 }, { 0 },
    };
    struct table table = table_init(columns);
    size_t index;
    json_t *site;

    json_array_foreach (rows, index, site) {
        const json_t *tariff = json_object_get(site, "tariff");
        bool reachable = reply_flag(site, "reachable");
        bool forgotten = reply_flag(site, "forgotten");
        char text[48], lease[96], state[128];

        site_print_lease(site, lease, sizeof(lease));
        snprintf(state, sizeof(state), "unreachable%s%s", *lease ? ", lease " : "", lease);
        table_add_color(&table, reply_text(site, "name"), TERM_CYAN);
        table_add(&table, reply_text(site, "owner"));
        table_add(&table, reply_text(site, "region"));
        table_add_color(&table,
                        reachable   ? "reachable"
                        : forgotten ? "forgotten"
                                    : state,
                        reachable ? TERM_GREEN : TERM_YELLOW);
        table_addf(&table, "%" PRId64, reply_number(site, "nodes"));
        units_print_milli(reply_number(tariff, "carbon_g_per_kwh_milli"), text, sizeof(text));
        table_addf(&table, "%s%s", text, reply_flag(tariff, "carbon_assumed") ? "*" : "");
        units_print_micro(reply_number(tariff, "cpu_price_micro_per_hour"), text, sizeof(text));
        table_addf(&table, "%s %s%s", text, reply_text(tariff, "currency"),
                   reply_flag(tariff, "price_assumed") ? "*" : "");
        units_print_micro(reply_number(tariff, "device_price_micro_per_hour"), text, sizeof(text));
        table_addf(&table, "%s %s%s", text, reply_text(tariff, "currency"),
                   reply_flag(tariff, "price_assumed") ? "*" : "");
    }
    return show_table(&table, "No sites have joined yet (`mains doctor` tells why).");
}

#define ROWS_DEFAULT 1000

/* As far as the limit goes; programs get all unless they set one. */
static int show_list(const struct cli_args *args, const char *path, const char *key,
                     int (*show)(const json_t *rows))
{
    CLEANUP(buf_fini) struct buf query = buf_init(4096);
    json_t *rows = NULL;
    const char *site = cli_args_get(args, "site"), *text = cli_args_get(args, "limit");
    bool is_json = cli_args_has(args, "json");
    int64_t limit = is_json ? 0 : ROWS_DEFAULT;
    struct remote remote;
    struct err err;
    bool is_cut;
    int rc, code;

    if (text && units_parse_int(text, 0, INT32_MAX, &limit, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--limit: %s", err.text);
    buf_printf(&query, "%s%s", path, site ? "?site=" : "");
    remote_add_encoded(&query, site ? site : "");
    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    /* One more than are shown tells whether there are more. */
    rc = remote_list(&remote, query.data, key, limit ? (uint32_t)limit + !is_json : 0, &rows, &err);
    remote_fini(&remote);
    if (rc < 0)
        return cli_fail(CLI_FAILED, &err);
    is_cut = !is_json && limit && json_array_size(rows) > (size_t)limit;
    if (is_cut)
        json_array_remove(rows, (size_t)limit);
    code = is_json ? reply_show(rows) : show(rows);
    json_decref(rows);
    if (is_cut)
        printf("(the first %" PRId64
               "; --limit N shows more, --limit 0 all, --site NAME one site's)\n",
               limit);
    return code;
}

#define LIST_OPTIONS                                                                               \
    { "site", 's', "NAME", NULL, "Only of this site." },                                           \
    {                                                                                              \
        "limit", 'l', "N", NULL, "At most so many (1000; 0 = all; with --json all)."               \
    }

static const struct cli_option devices_options[] = { LIST_OPTIONS, { 0 } };
static const struct cli_option nodes_options[] = {
    LIST_OPTIONS,
    { "cordon", 0, "NODE", NULL,
      "Start nothing new on this node (NODE, or SITE/NODE); what runs there goes on." },
    { "uncordon", 0, "NODE", NULL, "Use it again." },
    { "reason", 'r', "TEXT", NULL, "Why it is cordoned." },
    { 0 },
};

/* The site of a node that was named without one; malloc'd. */
static char *find_site(struct remote *remote, const char *node, struct err *err)
{
    json_t *answer = NULL;
    char *site = NULL;
    size_t index;
    json_t *row;

    if (remote_list(remote, "/nodes", "nodes", 0, &answer, err) < 0)
        return NULL;
    json_array_foreach (answer, index, row)
        if (!site && strcmp(reply_text(row, "name"), node) == 0)
            site = strdup(reply_text(row, "site"));
    json_decref(answer);
    if (!site)
        err_set(err, -ENOENT, "no node \"%s\": `mains nodes` lists them", node);
    return site;
}

static int set_cordon(const struct cli_args *args, const char *action, const char *name)
{
    CLEANUP(buf_fini) struct buf path = buf_init(65536);
    CLEANUP(freep) char *site = NULL;
    const char *slash = strchr(name, '/');
    const char *reason = cli_args_get(args, "reason");
    struct remote remote;
    json_t *answer = NULL;
    struct err err;
    int code = CLI_OK;

    if (remote_open(args, &remote, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    site = slash ? strndup(name, (size_t)(slash - name)) : find_site(&remote, name, &err);
    buf_add_text(&path, "/nodes/");
    remote_add_encoded(&path, site ? site : "");
    buf_add_char(&path, '/');
    remote_add_encoded(&path, slash ? slash + 1 : name);
    buf_printf(&path, "/%s%s", action, reason ? "?reason=" : "");
    remote_add_encoded(&path, reason ? reason : "");
    if (!site || remote_call(&remote, "POST", path.data, NULL, &answer, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (cli_args_has(args, "json"))
        code = reply_show(answer);
    else
        printf("%s: %sed\n", slash ? slash + 1 : name, action);
    json_decref(answer);
    remote_fini(&remote);
    return code;
}

static int run_nodes(const struct cli_args *args)
{
    const char *cordon = cli_args_get(args, "cordon");
    const char *uncordon = cli_args_get(args, "uncordon");

    if (cordon && uncordon)
        return cli_fail_text(CLI_USAGE, "nodes: either --cordon or --uncordon");
    if (cordon || uncordon)
        return set_cordon(args, cordon ? "cordon" : "uncordon", cordon ? cordon : uncordon);
    return show_list(args, "/nodes", "nodes", show_nodes);
}

static int run_devices(const struct cli_args *args)
{
    return show_list(args, "/devices", "devices", show_devices);
}

static int run_sites(const struct cli_args *args)
{
    return remote_show(args, "/sites", "sites", show_sites);
}

const struct cli_command cmd_nodes = {
    .name = "nodes",
    .summary = "the machines of the network, and what is free on them",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { nodes_options },
    .text = "An operator may cordon a node: jobs that run there go on, and none is started.",
    .examples = { { "mains nodes", "One line a machine." },
                  { "mains nodes --cordon rack2 --reason 'new memory'", "Let it run empty." } },
    .run = run_nodes,
};

const struct cli_command cmd_devices = {
    .name = "devices",
    .summary = "the accelerators of the network, and what is free of them",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { devices_options },
    .text = "CHIP is the kind, as a job's `chips` names it. A job may take a share of a device, as "
            "--devices 0.25.",
    .examples = { { "mains devices --json", "All that is known of each." } },
    .run = run_devices,
};

const struct cli_command cmd_sites = {
    .name = "sites",
    .summary = "the sites of the network, their owners and tariffs",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .text = "A figure marked * is a default; the owner has not told it (site.json in the state "
            "folder).",
    .examples = { { "mains sites", "One line a site." } },
    .run = run_sites,
};
