/* The two children of `mains up`. */
#include "agent/agent.h"
#include "cli/commands.h"
#include "cli/lent.h"
#include "cli/listen.h"
#include "cli/place.h"
#include "controller/controller.h"
#include "controller/leases.h"
#include "model/units.h"

#include <string.h>

static const struct cli_option common_options[] = {
    { "log", 0, "LEVEL", "debug|info|warn|error", "Least level that is logged." },
    { 0 },
};
static const struct cli_option controller_options[] = {
    { "listen", 0, "ADDR:PORT", NULL, "Where the API answers." },
    { "cert", 0, "FILE", NULL, "TLS certificate (PEM)." },
    { "key", 0, "FILE", NULL, "Its key (PEM)." },
    { "tls", 0, NULL, NULL, "TLS on loopback too, with a certificate of its own." },
    { "cert-life", 0, "DURATION", NULL, "How long a joined site's certificate holds." },
    { "store", 0, "SIZE", NULL, "What the store of files may take." },
    { "lease", 0, "DURATION", NULL, "How long a site may be unheard before jobs move." },
    { "metrics-open", 0, NULL, NULL, "/metrics needs no token, wherever it is asked from." },
    { 0 },
};
static const struct cli_option agent_options[] = {
    { "site", 0, "NAME", NULL, "The site's name." },
    { "owner", 0, "NAME", NULL, "Its owner." },
    { "region", 0, "NAME", NULL, "Its region." },
    { "cpus", 0, "N", NULL, "CPUs lent to jobs." },
    { "memory", 0, "SIZE", NULL, "Memory lent to jobs." },
    { "controller", 0, "URL", NULL, "The controller's address." },
    { "token-file", 0, "FILE", NULL, "The site's token." },
    { "allow-no-sandbox", 0, NULL, NULL, "Jobs may ask to run outside the sandbox." },
    { "sandbox-off", 0, NULL, NULL, "Run every job outside the sandbox." },
    { "executor", 0, "NAME", "local|slurm|kubernetes|sim", "Who runs the jobs." },
    { "sim-fleet", 0, "FILE", NULL, "What a simulated site has." },
    { "nodes-listen", 0, "ADDR:PORT", NULL, "Where other machines of the site dial." },
    { "node", 0, "NAME", NULL, "What this machine is called as a node." },
    { 0 },
};

static enum log_level level_of(const struct cli_args *args)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    const char *name = cli_args_get(args, "log");

    for (size_t i = 0; name && i < ARRAY_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0)
            return (enum log_level)i;
    return LOG_INFO;
}

static int run_controller(const struct cli_args *args)
{
    CLEANUP(freep) char *state = NULL;
    const char *listen = cli_args_get(args, "listen");
    struct controller_config config = {
        .cert_pem = cli_args_get(args, "cert"),
        .key_pem = cli_args_get(args, "key"),
        .metrics_open = cli_args_has(args, "metrics-open"),
        .log_level = level_of(args),
    };
    const char *life = cli_args_get(args, "cert-life");
    const char *store = cli_args_get(args, "store");
    const char *lease = cli_args_get(args, "lease");
    struct listen_place place;
    struct err err;

    config.tls = cli_args_has(args, "tls");
    if (life && units_parse_duration(life, &config.cert_life_ms, &err) < 0)
        return cli_fail_text(CLI_FAILED, "--cert-life: %s", err.text);
    if (store && units_parse_bytes(store, &config.store_bytes_max, &err) < 0)
        return cli_fail_text(CLI_FAILED, "--store: %s", err.text);
    if (lease && leases_parse(lease, &config.lease_ms, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (listen_parse(listen ? listen : "127.0.0.1", CONTROLLER_PORT_DEFAULT, &place, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (place_find_state(args, &state, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    config.state_dir = state;
    config.address = place.address;
    config.port = place.port;
    log_setup("controller", config.log_level);
    return controller_main(&config);
}

static int run_agent(const struct cli_args *args)
{
    CLEANUP(freep) char *state = NULL;
    struct agent_config config = {
        .controller_url = cli_args_get(args, "controller"),
        .token_file = cli_args_get(args, "token-file"),
        .site = cli_args_get(args, "site"),
        .owner = cli_args_get(args, "owner"),
        .region = cli_args_get(args, "region"),
        .allow_no_sandbox = cli_args_has(args, "allow-no-sandbox"),
        .sandbox_off = cli_args_has(args, "sandbox-off"),
        .executor = cli_args_get(args, "executor"),
        .sim_fleet = cli_args_get(args, "sim-fleet"),
        .node = cli_args_get(args, "node"),
        .log_level = level_of(args),
    };
    const char *nodes = cli_args_get(args, "nodes-listen");
    struct listen_place place;
    struct lent lent;
    struct err err;

    if (place_find_state(args, &state, &err) < 0 || lent_parse(args, &lent, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (nodes && listen_parse(nodes, NODES_PORT_DEFAULT, &place, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (nodes) {
        config.nodes_address = place.address;
        config.nodes_port = place.port;
    }
    config.cpus_lent = lent.cpus;
    config.memory_lent_bytes = lent.memory_bytes;
    config.state_dir = state;
    log_setup("agent", config.log_level);
    return agent_main(&config);
}

const struct cli_command cmd_controller = {
    .name = "controller",
    .summary = "the controller of a state folder (a child of `mains up`)",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_STATE | CLI_HIDDEN,
    .options = { common_options, controller_options },
    .text = "",
    .run = run_controller,
};

const struct cli_command cmd_agent = {
    .name = "agent",
    .summary = "the site of this machine (a child of `mains up`)",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_STATE | CLI_HIDDEN,
    .options = { common_options, agent_options },
    .text = "",
    .run = run_agent,
};
