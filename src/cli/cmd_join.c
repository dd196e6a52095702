#include "agent/membership.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/family.h"
#include "cli/join.h"
#include "cli/lent.h"
#include "cli/place.h"
#include "wire/join_token.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_MS 10000
#define CONFIG_BYTES_MAX (1u << 20)

const struct cli_option join_options[] = {
    { "detach", 'd', NULL, NULL, "Go into the background; the log is DIR/up.log." },
    { "config", 'c', "FILE", NULL,
      "The owner's settings (YAML, or .json), copied to DIR/site.yaml: tariff, and the policy that "
      "holds here." },
    { "cpus", 0, "N", NULL, "CPUs lent to jobs (all); more than there are overcommits them." },
    { "memory", 0, "SIZE", NULL, "Memory lent to jobs (all but a reserve for the system)." },
    { "allow-no-sandbox", 0, NULL, NULL, "Jobs may ask to run outside the sandbox." },
    { "sandbox-off", 0, NULL, NULL,
      "Run every job outside the sandbox: for machines that allow no namespaces." },
    { "verbose", 'v', NULL, NULL, "Log more." },
    { 0 },
};

static const struct cli_option site_options[] = {
    { "region", 0, "NAME", NULL, "Its region." },
    { "nodes-listen", 0, "ADDR:PORT", NULL,
      "Let other machines join this site as its nodes, and listen for them here (port 7744; 0 = "
      "any "
      "free one): `mains node token`." },
    { "executor", 0, "NAME", "local|slurm|sim",
      "Who runs the jobs: this machine, the Slurm cluster that it belongs to, or nobody "
      "(--sim-fleet). "
      "It may stand in site.json too." },
    { "sim-fleet", 0, "FILE", NULL,
      "With --executor sim: nodes and devices that are made up, and how long jobs take there; for "
      "tests and benches of a network (docs/operating.md)." },
    { 0 },
};

struct join {
    struct family family;
    const char *token; /* NULL: it has joined before */
    bool is_node;
    struct membership *membership;
    char *state, *sim_fleet; /* absolute: it works in / */
};

static void describe_agent(struct join *join, const struct cli_args *args)
{
    struct family_child *agent = &join->family.children[FAMILY_AGENT];

    family_child_word(agent, "mains");
    family_child_word(agent, "agent");
    family_child_pair(agent, "--state", join->state);
    family_child_pair(agent, "--log", cli_args_has(args, "verbose") ? "debug" : "info");
    if (cli_args_has(args, "allow-no-sandbox"))
        family_child_word(agent, "--allow-no-sandbox");
    if (cli_args_has(args, "sandbox-off"))
        family_child_word(agent, "--sandbox-off");
    /* What the network calls it and knows it for: not the owner's to say anew. */
    family_child_pair(agent, "--site", join->membership->site);
    if (join->is_node)
        family_child_pair(agent, "--node", join->membership->site);
    family_child_pair(agent, "--owner", join->membership->owner);
    family_child_pair(agent, "--region", cli_args_get(args, "region"));
    family_child_pair(agent, "--cpus", cli_args_get(args, "cpus"));
    family_child_pair(agent, "--memory", cli_args_get(args, "memory"));
    family_child_pair(agent, "--executor", cli_args_get(args, "executor"));
    family_child_pair(agent, "--sim-fleet", join->sim_fleet);
    family_child_pair(agent, "--nodes-listen", cli_args_get(args, "nodes-listen"));
}

static int copy_config(const struct join *join, const char *from, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = buf_init(CONFIG_BYTES_MAX);
    CLEANUP(freep) char *json = path_format("%s/site.json", join->state);
    CLEANUP(freep) char *yaml = path_format("%s/site.yaml", join->state);
    const char *dot = strrchr(from, '.');
    bool is_json = dot && strcmp(dot, ".json") == 0;
    int rc = json && yaml ? file_read(from, &text, err) : err_set(err, -ENOMEM, "out of memory");

    if (rc == 0)
        rc = file_write(is_json ? json : yaml, text.data ? text.data : "", text.len, 0600, true,
                        err);
    if (rc < 0)
        return rc;
    /* What was said before is over. */
    if (unlink(is_json ? yaml : json) < 0 && errno != ENOENT)
        return err_set(err, -errno, "%s: %s", is_json ? yaml : json, strerror(errno));
    return 0;
}

/* A node's token is for a node, a site's for a site: they are not the same to those who run it. */
static int check_kind(const struct join *join, bool is_node, const char *what, struct err *err)
{
    if (is_node == join->is_node)
        return 0;
    return err_set(err, -EINVAL, "%s is a %s's: use `mains %s`", what, is_node ? "node" : "site",
                   is_node ? "node join" : "join");
}

/* Use the token, where one is given; then what was kept of it. */
static int find_membership(struct join *join, struct err *err)
{
    struct join_token token;
    int rc = membership_load(join->state, &join->membership, err);

    if (rc == 0 && check_kind(join, join->membership->node, join->state, err) < 0)
        return -EINVAL;
    if (!join->token) {
        if (rc == -ENOENT)
            err_set(err, rc, "%s: this place has not joined a %s: give the token", join->state,
                    join->is_node ? "site" : "network");
        return rc;
    }
    if (rc != -ENOENT && rc < 0)
        return rc;
    rc = join_token_parse(join->token, strlen(join->token), &token, err);
    if (rc == 0)
        rc = check_kind(join, token.node, "this join token", err);
    if (rc < 0)
        return rc;
    if (join->membership && strcmp(join->membership->site, token.site) != 0)
        return err_set(err, -EEXIST,
                       "%s is %s %s already: use another --state, or `mains leave` first",
                       join->state, join->is_node ? "node" : "site", join->membership->site);
    membership_free(TAKE(join->membership));
    rc = membership_join(join->state, &token, err);
    explicit_bzero(&token, sizeof(token));
    return rc < 0 ? rc : membership_load(join->state, &join->membership, err);
}

/* CLI_OK in the process that goes on. All that could go wrong for a person to see has been tried.
 */
static int detach(struct join *join)
{
    struct err err;
    pid_t pid;

    if (family_open_log(&join->family, join->state, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    fflush(stdout);
    pid = fork();
    if (pid < 0)
        return cli_fail_text(CLI_FAILED, "fork: %s", strerror(errno));
    if (pid > 0)
        _exit(CLI_OK); /* buffers and handlers are the other's now */
    setsid();
    family_leave_terminal(&join->family);
    return chdir("/") < 0 ? CLI_FAILED : CLI_OK;
}

static int run_agent(struct join *join, const struct cli_args *args)
{
    struct place_holder holder = { 0 };
    struct err err;
    int code = CLI_OK;
    int lock_fd = -1;

    if (cli_args_has(args, "detach"))
        code = detach(join);
    /* A lock is a process's own: taken by the one that stays. */
    if (code == CLI_OK && place_lock(join->state, &lock_fd, &holder, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    if (code != CLI_OK)
        return code;
    family_prepare(&join->family);
    describe_agent(join, args);
    if (family_start(&join->family, FAMILY_AGENT, &err) < 0 || family_run(&join->family, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    family_stop(&join->family, STOP_MS);
    close(lock_fd);
    return code;
}

int join_run(const struct cli_args *args, const char *token, bool is_node)
{
    struct join join = { .family = { .log_fd = -1 }, .token = token, .is_node = is_node };
    const char *config = cli_args_get(args, "config");
    const char *sim_fleet = cli_args_get(args, "sim-fleet");
    struct place_holder holder;
    struct lent lent;
    struct err err;
    int code = CLI_OK;

    if (lent_parse(args, &lent, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    if (place_find_state(args, &join.state, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    log_setup("join", LOG_INFO);
    if (dir_make(join.state, 0700, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (place_find_holder(join.state, &holder) == 0)
        code = cli_fail_text(CLI_FAILED,
                             "%s is held by process %jd: stop it with `mains down --state %s`",
                             join.state, (intmax_t)holder.pid, join.state);
    else if (sim_fleet && !(join.sim_fleet = realpath(sim_fleet, NULL)))
        code = cli_fail_text(CLI_FAILED, "%s: %s", sim_fleet, strerror(errno));
    else if (config && copy_config(&join, config, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    else if (find_membership(&join, &err) < 0)
        code = cli_fail(CLI_FAILED, &err);
    if (code == CLI_OK) {
        printf("%s %s of %s (state %s)\n", is_node ? "node" : "site", join.membership->site,
               join.membership->urls[0], join.state);
        code = run_agent(&join, args);
    }
    membership_free(join.membership);
    free(join.family.log_path);
    free(join.sim_fleet);
    free(join.state);
    return code;
}

static int run_join(const struct cli_args *args)
{
    return join_run(args, args->rest_count ? args->rest[0] : NULL, false);
}

static int run_leave(const struct cli_args *args)
{
    static const char *const names[] = { "joined.json", "site.key", "site.crt" };
    CLEANUP(freep) char *state = NULL;
    struct place_holder holder;
    struct err err;

    if (place_find_state(args, &state, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (place_find_holder(state, &holder) == 0)
        return cli_fail_text(CLI_FAILED,
                             "the site runs: stop it first with `mains down --state %s`", state);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        CLEANUP(freep) char *path = path_format("%s/%s", state, names[i]);

        if (!path || (unlink(path) < 0 && (errno != ENOENT || i == 0)))
            return cli_fail_text(CLI_FAILED, "%s: %s", path ? path : state,
                                 errno == ENOENT ? "this place has not joined a network"
                                                 : strerror(errno));
    }
    printf("%s has left its network; there, `mains site remove` ends what it still counts on\n",
           state);
    return CLI_OK;
}

const struct cli_command cmd_join = {
    .name = "join",
    .summary = "make this machine a site of a network elsewhere",
    .usage = "[OPTION...] [TOKEN]",
    .flags = CLI_TAKES_STATE,
    .options = { join_options, site_options },
    .arguments = { { "TOKEN", NULL, true, false } },
    .text =
        "TOKEN is the line that `mains site token NAME` printed there. It is good once: it is "
        "traded for a certificate of the network's own, kept in the state folder with its key, and "
        "the agent speaks with that from then on, and renews it. The agent dials out; nothing here "
        "listens, and root is not needed. Without TOKEN a place that has joined before is started "
        "again; `mains down` stops it, jobs that run go on.\n\n"
        "The policy in site.yaml (docs/owners.md) holds here whatever the network says: tenants, "
        "classes of work, hours, images and data that it does not let in are refused by this "
        "machine.",
    .examples = { { "mains join mainsjoin1.eyJzaXRl... --detach",
                    "Join, and stay in the background." },
                  { "mains join --detach", "Again, after a reboot." } },
    .run = run_join,
};

const struct cli_command cmd_leave = {
    .name = "leave",
    .summary = "forget the network that this machine joined",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_STATE,
    .text = "Removes the key and certificate that `mains join` got. The agent must be stopped "
            "(`mains down`). What it ran stays in the state folder.",
    .examples = { { "mains leave", "It needs a new token to come back." } },
    .run = run_leave,
};
