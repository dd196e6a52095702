#include "cli/commands.h"
#include "cli/job_show.h"
#include "model/units.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const struct cli_option options[] = {
    { "jobs", 'j', "N", NULL, "At most so many live jobs; none = no limit." },
    { "cpus", 'c', "N", NULL, "At most so many CPUs held at once; none = no limit." },
    { "devices", 'd', "N", NULL, "At most so many devices held at once, as 2 or 0.5; none." },
    { "parent", 'p', "TENANT", NULL, "Under this tenant, which is set already; none." },
    { "weight", 'w', "N", NULL, "Its part beside its siblings', as 2 or 0.5 (1)." },
    { "guarantee-devices", 0, "N", NULL, "Devices that are its own, as 2 or 0.5." },
    { "guarantee-cpus", 0, "N", NULL, "CPUs that are its own." },
    { "cells", 0, "CELLS", NULL,
      "Whole cells that are its own, as SITE/CHIP:rack=2,node=1; SITE/CHIP:none. May be "
      "repeated." },
    { "budget", 'b', "MONEY", NULL, "What it may spend in all, in the sites' currency; none." },
    { 0 },
};

static void add_share(struct table *table, const json_t *tenant, const char *held, bool milli)
{
    char key[64], used[32], most[32] = "-";
    const json_t *limit;

    snprintf(key, sizeof(key), "%s_max", held);
    limit = json_object_get(tenant, key);
    if (milli) {
        units_print_milli(reply_number(tenant, held), used, sizeof(used));
        if (json_is_integer(limit))
            units_print_milli(json_integer_value(limit), most, sizeof(most));
    } else {
        snprintf(used, sizeof(used), "%" PRId64, reply_number(tenant, held));
        if (json_is_integer(limit))
            snprintf(most, sizeof(most), "%" PRId64, (int64_t)json_integer_value(limit));
    }
    table_addf(table, "%s / %s", used, most);
}

static void add_money(struct table *table, const json_t *tenant)
{
    const json_t *budget = json_object_get(tenant, "budget_micro");
    char spent[32], most[32] = "-";

    units_print_micro(reply_number(tenant, "spent_micro") + reply_number(tenant, "reserved_micro"),
                      spent, sizeof(spent));
    if (json_is_integer(budget))
        units_print_micro(json_integer_value(budget), most, sizeof(most));
    table_addf(table, "%s / %s", spent, most);
}

static void add_tree(struct table *table, const json_t *tenant)
{
    char weight[32], devices[32];

    units_print_milli(reply_number(tenant, "weight_milli"), weight, sizeof(weight));
    units_print_milli(reply_number(tenant, "guarantee_devices_milli"), devices, sizeof(devices));
    table_add(table, *reply_text(tenant, "parent") ? reply_text(tenant, "parent") : "-");
    table_add(table, weight);
    table_addf(table, "%" PRId64 ", %s", reply_number(tenant, "guarantee_cpus"), devices);
}

static int show_tenants(const json_t *rows)
{
    static const struct table_column columns[] = {
        { "TENANT", false, 8 },           { "JOBS", true, 0 },    { "CPUS", true, 0 },
        { "DEVICES", true, 0 },           { "PARENT", false, 0 }, { "WEIGHT", true, 0 },
        { "OWN CPUS, DEVICES", true, 0 }, { "MONEY", true, 0 },   { 0 },
    };
    struct table table = table_init(columns);
    size_t index;
    json_t *row;
    int rc;

    json_array_foreach (rows, index, row) {
        table_add_color(&table, reply_text(row, "name"), TERM_CYAN);
        add_share(&table, row, "jobs", false);
        add_share(&table, row, "cpus", false);
        add_share(&table, row, "devices_milli", true);
        add_tree(&table, row);
        add_money(&table, row);
    }
    if (json_array_size(rows) == 0)
        printf("No tenant has jobs or limits.\n");
    rc = json_array_size(rows) ? table_show(&table) : 0;
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

/* 0, or -EINVAL; the limit goes into `body`. */
static int add_limit(const struct cli_args *args, const char *option, const char *key, bool milli,
                     json_t *body, struct err *err)
{
    const char *text = cli_args_get(args, option);
    int64_t limit = -1;
    int rc = 0;

    if (!text)
        return 0;
    if (strcmp(text, "none") != 0 && strcmp(text, "-1") != 0)
        rc = milli ? units_parse_milli(text, &limit, err)
                   : units_parse_int(text, 0, 1000000000, &limit, err);
    if (rc < 0)
        return err_prefix(err, rc, "--%s", option);
    json_object_set_new(body, key, limit < 0 ? json_null() : json_integer(limit));
    return 0;
}

static int add_number(const struct cli_args *args, const char *option, const char *key,
                      int (*parse)(const char *text, int64_t *out, struct err *err), bool has_none,
                      json_t *body, struct err *err)
{
    const char *text = cli_args_get(args, option);
    bool is_none = has_none && text && strcmp(text, "none") == 0;
    int64_t number = 0;
    int rc;

    if (!text)
        return 0;
    rc = is_none ? 0 : parse(text, &number, err);
    if (rc < 0)
        return err_prefix(err, rc, "--%s", option);
    json_object_set_new(body, key, is_none ? json_null() : json_integer(number));
    return 0;
}

static int parse_count(const char *text, int64_t *out, struct err *err)
{
    return units_parse_int(text, 0, 1000000000, out, err);
}

static int parse_money(const char *text, int64_t *out, struct err *err)
{
    int rc = units_parse_milli(text, out, err);

    if (rc == 0 && *out > INT64_MAX / 10000)
        rc = err_set(err, -ERANGE, "%s is too much", text);
    if (rc == 0)
        *out *= 1000;
    return rc;
}

/* Where it stands, and its money. */
static int add_standing(const struct cli_args *args, json_t *body, struct err *err)
{
    const char *parent = cli_args_get(args, "parent");
    int rc;

    if (parent)
        json_object_set_new(body, "parent",
                            strcmp(parent, "none") ? json_string(parent) : json_null());
    rc = add_number(args, "weight", "weight_milli", units_parse_milli, false, body, err);
    if (rc == 0)
        rc = add_number(args, "guarantee-devices", "guarantee_devices_milli", units_parse_milli,
                        false, body, err);
    if (rc == 0)
        rc = add_number(args, "guarantee-cpus", "guarantee_cpus", parse_count, false, body, err);
    if (rc == 0)
        rc = add_number(args, "budget", "budget_micro", parse_money, true, body, err);
    return rc;
}

static int parse_level(char *text, json_t *cells, struct err *err)
{
    static const char *const levels[] = { "node", "rack", "supernode", "pool" };
    char *number = strchr(text, '=');
    int64_t count = 0;

    for (size_t i = 0; number && i < ARRAY_COUNT(levels); i++) {
        size_t len = strlen(levels[i]);

        if ((size_t)(number - text) != len || strncmp(text, levels[i], len) != 0)
            continue;
        if (units_parse_int(number + 1, 0, 1000000, &count, err) < 0)
            return -EINVAL;
        json_object_set_new(cells, levels[i], json_integer(count));
        return 0;
    }
    return err_set(err, -EINVAL, "%s: expected node=N, rack=N, supernode=N or pool=N", text);
}

/* "west/h100:rack=2,node=1", or "west/h100:none". */
static int parse_cells(const char *text, json_t *list, struct err *err)
{
    const char *slash = strchr(text, '/'), *colon = slash ? strchr(slash, ':') : NULL;
    char levels[256], *level = levels, *comma;
    json_t *cells;
    int rc = 0;

    if (!colon || slash == text || colon == slash + 1 || strlen(colon + 1) >= sizeof(levels))
        return err_set(err, -EINVAL, "%s: expected SITE/CHIP:rack=2,node=1 or SITE/CHIP:none",
                       text);
    cells = json_pack("{s:s%, s:s%}", "site", text, (size_t)(slash - text), "chip", slash + 1,
                      (size_t)(colon - slash - 1));
    if (json_array_append_new(list, cells) < 0)
        return err_set(err, -EINVAL, "%s: not UTF-8 text", text);
    snprintf(levels, sizeof(levels), "%s", colon + 1);
    if (strcmp(levels, "none") == 0)
        return 0;
    do {
        comma = strchr(level, ',');
        if (comma)
            *comma = '\0';
        rc = parse_level(level, cells, err);
        level = comma ? comma + 1 : level;
    } while (rc == 0 && comma);
    return rc;
}

static int add_cells(const struct cli_args *args, json_t *body, struct err *err)
{
    const char *text;
    json_t *list;
    int rc = 0;

    if (!cli_args_has(args, "cells"))
        return 0;
    list = json_array();
    json_object_set_new(body, "cells", list);
    for (uint32_t i = 0; rc == 0 && (text = cli_args_nth(args, "cells", i)) != NULL; i++)
        rc = parse_cells(text, list, err);
    return rc < 0 ? err_prefix(err, rc, "--cells") : 0;
}

static int show_cells(const json_t *tenant)
{
    static const struct table_column columns[] = {
        { "CELL", false, 8 },   { "SITE", false, 0 }, { "CHIP", false, 0 }, { "NODES", true, 0 },
        { "DEVICES", true, 0 }, { "OWN", true, 0 },   { "LENT", true, 0 },  { 0 },
    };
    static const char *const sums[] = { "devices_milli", "own_milli", "lent_milli" };
    struct table table;
    size_t index;
    json_t *cell;
    char text[32];
    int rc;

    if (json_array_size(json_object_get(tenant, "cells")) == 0)
        return CLI_OK;
    table = table_init(columns);
    json_array_foreach (json_object_get(tenant, "cells"), index, cell) {
        table_addf(&table, "%s %s", reply_text(cell, "level"), reply_text(cell, "place"));
        table_add(&table, reply_text(cell, "site"));
        table_add(&table, reply_text(cell, "chip"));
        table_addf(&table, "%" PRId64, reply_number(cell, "nodes"));
        for (size_t i = 0; i < ARRAY_COUNT(sums); i++) {
            units_print_milli(reply_number(cell, sums[i]), text, sizeof(text));
            table_add(&table, text);
        }
    }
    printf("\n");
    rc = table_show(&table);
    table_fini(&table);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static int call_one(const struct cli_args *args, struct remote *remote, const json_t *body)
{
    CLEANUP(buf_fini) struct buf path = buf_init(4096);
    json_t *answer = NULL, *rows;
    struct err err;
    int code;

    buf_add_text(&path, "/tenants/");
    remote_add_encoded(&path, args->rest[1]);
    if (remote_call(remote, body ? "PUT" : "GET", path.data, body, &answer, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (cli_args_has(args, "json")) {
        code = reply_show(answer);
    } else {
        rows = json_pack("[O]", answer);
        code = show_tenants(rows);
        if (code == CLI_OK)
            code = show_cells(answer);
        json_decref(rows);
    }
    json_decref(answer);
    return code;
}

static int list(const struct cli_args *args, struct remote *remote)
{
    json_t *rows = NULL;
    struct err err;
    int code;

    if (remote_list(remote, "/tenants", "tenants", 0, &rows, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    code = cli_args_has(args, "json") ? reply_show(rows) : show_tenants(rows);
    json_decref(rows);
    return code;
}

static int run(const struct cli_args *args)
{
    bool is_set = strcmp(args->rest[0], "set") == 0;
    bool is_list = strcmp(args->rest[0], "list") == 0;
    json_t *body = json_object();
    struct remote remote;
    struct err err = { 0 };
    int code = CLI_OK;

    if (is_list != (args->rest_count == 1))
        code = cli_fail_text(CLI_USAGE,
                             is_list ? "tenant list: takes no name"
                                     : "tenant %s: the name of a tenant is expected",
                             args->rest[0]);
    else if (add_limit(args, "jobs", "jobs_max", false, body, &err) < 0 ||
             add_limit(args, "cpus", "cpus_max", false, body, &err) < 0 ||
             add_limit(args, "devices", "devices_milli_max", true, body, &err) < 0 ||
             add_standing(args, body, &err) < 0 || add_cells(args, body, &err) < 0)
        code = cli_fail(CLI_USAGE, &err);
    else if (is_set != (json_object_size(body) > 0))
        code = cli_fail_text(
            CLI_USAGE, is_set ? "tenant set: an option is expected, such as --cpus or --weight"
                              : "tenant: limits go with `set`");
    else if (remote_open(args, &remote, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else {
        code = is_list ? list(args, &remote) : call_one(args, &remote, is_set ? body : NULL);
        remote_fini(&remote);
    }
    json_decref(body);
    return code;
}

const struct cli_command cmd_tenant = {
    .name = "tenant",
    .summary = "the limits, shares and budgets of tenants",
    .usage = "list|show|set [OPTION...] [TENANT]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .options = { options },
    .arguments = { { "ACTION", "list|show|set", false, false }, { "TENANT", NULL, true, false } },
    .text =
        "A limit on jobs refuses what is submitted above it. Limits on CPUs and devices let jobs "
        "wait: `mains why` says so. What `set` does not name stays; none takes a limit away, and a "
        "limit below what is held stops nothing that runs. A tenant sees its own limits, "
        "admins and operators set them. `list` shows those that have live jobs or limits, "
        "each with what it holds and its limit (- = none). Within a class of jobs the tenant goes "
        "first that holds least of what is its own (--guarantee-devices, --guarantee-cpus), then "
        "the one that has borrowed least for its --weight; a tenant may be under another "
        "(--parent): what is said of that one holds for all under it together. With a --budget "
        "jobs need a duration: what they may cost is set aside before they start. With --cells "
        "whole nodes, racks, supernodes or pools of a chip at a site are its own: others' work is "
        "put there only if it can be made to stop, and goes as soon as its own would fit.",
    .examples = { { "mains tenant set physics --jobs 1000 --cpus 64", "Two limits." },
                  { "mains tenant set physics --cpus none", "One less." },
                  { "mains tenant set optics -p physics -w 2 --guarantee-devices 8",
                    "A part of it, with eight devices of its own." },
                  { "mains tenant set optics --cells west/h100:rack=2",
                    "Two whole racks, whenever it asks." },
                  { "mains tenant list", "What is held, and the limits." } },
    .run = run,
};
