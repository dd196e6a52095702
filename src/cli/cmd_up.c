#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/family.h"
#include "cli/lent.h"
#include "cli/listen.h"
#include "cli/place.h"
#include "cli/remote.h"
#include "cli/text.h"
#include "controller/controller.h"
#include "controller/leases.h"
#include "net/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS_MAX 120000
#define JOIN_MS_MAX 20000
#define STOP_MS 10000

static const struct cli_option options[] = {
    { "detach", 'd', NULL, NULL,
      "Go into the background once the network is ready; the log is DIR/up.log." },
    { "listen", 'l', "ADDR:PORT", NULL,
      "Where the API answers (127.0.0.1:7743; port 0 = any free one). On other addresses than "
      "loopback it serves TLS only, with a certificate of its own where --cert names none." },
    { "cert", 0, "FILE", NULL, "TLS certificate (PEM); goes with --key." },
    { "key", 0, "FILE", NULL, "Its key (PEM)." },
    { "tls", 0, NULL, NULL, "Serve TLS on loopback too, with a certificate of the network's own." },
    { "cert-life", 0, "DURATION", NULL,
      "How long the certificate of a site that joined holds; it is renewed before (90d)." },
    { "store", 0, "SIZE", NULL,
      "What the network's store of files may take (half of its file system)." },
    { "lease", 0, "DURATION", NULL,
      "How long a site may be unheard before its jobs with `on_unreachable: move` are stopped "
      "there "
      "and started elsewhere (60s)." },
    { "metrics-open", 0, NULL, NULL,
      "/metrics needs no token, also where the API listens beyond loopback." },
    { "site", 0, "NAME", NULL, "The name of the site here (this machine's)." },
    { "owner", 0, "NAME", NULL, "Its owner (local)." },
    { "region", 0, "NAME", NULL, "Its region." },
    { "cpus", 0, "N", NULL, "CPUs lent to jobs (all); more than there are overcommits them." },
    { "memory", 0, "SIZE", NULL, "Memory lent to jobs (all but a reserve for the system)." },
    { "allow-no-sandbox", 0, NULL, NULL, "Jobs may ask to run outside the sandbox." },
    { "sandbox-off", 0, NULL, NULL,
      "Run every job outside the sandbox: for machines that allow no namespaces." },
    { "executor", 0, "NAME", "local|slurm|kubernetes",
      "Who runs the jobs: this machine, or the Slurm or Kubernetes cluster that it belongs to." },
    { "nodes-listen", 0, "ADDR:PORT", NULL,
      "Let other machines join the site here as its nodes, and listen for them (port 7744; 0 = any "
      "free one): `mains node token`." },
    { "verbose", 'v', NULL, NULL, "Log more." },
    { 0 },
};

struct up {
    struct family family;
    struct place_endpoint endpoint;
    char *state, *cert, *key; /* absolute: it works in / */
    char listen[96];
    int ready_fd;    /* --detach: where the waiting shell is told; -1 = none */
    off_t log_start; /* of this run in the log */
    bool joined;
};

static void describe_children(struct up *up, const struct cli_args *args)
{
    struct family_child *controller = &up->family.children[FAMILY_CONTROLLER];
    struct family_child *agent = &up->family.children[FAMILY_AGENT];
    const char *level = cli_args_has(args, "verbose")  ? "debug"
                        : cli_args_has(args, "detach") ? "info"
                                                       : "warn";

    for (int i = 0; i < FAMILY_COUNT; i++) {
        struct family_child *child = &up->family.children[i];

        family_child_word(child, "mains");
        family_child_word(child, child->name);
        family_child_word(child, "--state");
        family_child_word(child, up->state);
        family_child_word(child, "--log");
        family_child_word(child, level);
    }
    if (cli_args_has(args, "allow-no-sandbox"))
        family_child_word(agent, "--allow-no-sandbox");
    if (cli_args_has(args, "sandbox-off"))
        family_child_word(agent, "--sandbox-off");
    family_child_word(controller, "--listen");
    family_child_word(controller, up->listen);
    family_child_pair(controller, "--cert", up->cert);
    family_child_pair(controller, "--key", up->key);
    if (cli_args_has(args, "tls"))
        family_child_word(controller, "--tls");
    family_child_pair(controller, "--cert-life", cli_args_get(args, "cert-life"));
    family_child_pair(controller, "--store", cli_args_get(args, "store"));
    family_child_pair(controller, "--lease", cli_args_get(args, "lease"));
    if (cli_args_has(args, "metrics-open"))
        family_child_word(controller, "--metrics-open");
    family_child_pair(agent, "--site", cli_args_get(args, "site"));
    family_child_pair(agent, "--owner", cli_args_get(args, "owner"));
    family_child_pair(agent, "--region", cli_args_get(args, "region"));
    family_child_pair(agent, "--cpus", cli_args_get(args, "cpus"));
    family_child_pair(agent, "--executor", cli_args_get(args, "executor"));
    family_child_pair(agent, "--memory", cli_args_get(args, "memory"));
    family_child_pair(agent, "--nodes-listen", cli_args_get(args, "nodes-listen"));
}

static int lock_state(struct up *up, int *fd_out)
{
    struct place_holder holder = { 0 };
    struct place_endpoint endpoint = { .url = "not answering yet" };
    char since[32];
    struct err err;
    int rc = dir_make(up->state, 0700, &err);

    if (rc == 0)
        rc = place_lock(up->state, fd_out, &holder, &err);
    if (rc == -EBUSY) {
        place_read_endpoint(up->state, &endpoint, NULL);
        text_print_relative(holder.since_ms, clock_wall_ms(), since, sizeof(since));
        return cli_fail_text(CLI_FAILED,
                             "%s is held by process %jd (`mains up`, started %s, at %s): use it, "
                             "or stop it with `mains down --state %s`",
                             up->state, (intmax_t)holder.pid, since, endpoint.url, up->state);
    }
    return rc < 0 ? cli_fail(CLI_FAILED, &err) : CLI_OK;
}

/* Does the site of this family speak with the controller? */
static bool site_has_joined(struct remote *remote)
{
    json_t *answer = NULL;
    const json_t *sites;
    bool joined = false;
    size_t index;
    json_t *site;

    if (remote_get(remote, "/sites", &answer, NULL) < 0)
        return false;
    sites = json_is_array(answer) ? answer : json_object_get(answer, "sites");
    json_array_foreach (sites, index, site)
        joined = joined || reply_flag(site, "connected");
    json_decref(answer);
    return joined;
}

static bool controller_is_ready(struct up *up, struct remote *remote)
{
    struct remote_request request = {
        .method = "GET", .path = "/readyz", .at_root = true, .timeout_ms = 2000
    };
    pid_t pid = up->family.children[FAMILY_CONTROLLER].pid;
    int status = 0;

    if (place_read_endpoint(up->state, &up->endpoint, NULL) < 0 || up->endpoint.pid != pid)
        return false;
    if (!remote->easy) {
        remote->state = strdup(up->state);
        remote->url = strdup(up->endpoint.url);
        remote->pin = up->endpoint.pin[0] ? strdup(up->endpoint.pin) : NULL;
        remote->easy = http_easy_create();
        if (!remote->state || !remote->url || !remote->easy) {
            remote_fini(remote);
            return false;
        }
    }
    remote_send(remote, &request, NULL, &status, NULL);
    return status == 200;
}

/* What the children wrote since this start, for the shell that waits. */
static void show_log(const struct up *up)
{
    CLEANUP(buf_fini) struct buf text = buf_init(64u << 20);

    if (up->family.log_fd < 0 || file_read(up->family.log_path, &text, NULL) < 0 ||
        (off_t)text.len <= up->log_start)
        return;
    fprintf(stderr, "%s", text.data + up->log_start);
}

static int explain_early_end(const struct up *up, const struct family_child *child)
{
    int status = child->exit_status;

    show_log(up);
    if (WIFSIGNALED(status))
        return cli_fail_text(CLI_FAILED, "the %s was killed by signal %d while it started",
                             child->name, WTERMSIG(status));
    return cli_fail_text(CLI_FAILED,
                         "the %s did not start (exit status %d; its reason stands above)",
                         child->name, WEXITSTATUS(status));
}

/* A child that ended while it was waited for: CLI_OK when it was, or will be, started again. The
 * one of a parent that was just killed may need a moment to let go of the folder. */
static int restart_early(struct up *up, enum family_member member)
{
    struct family_child *child = &up->family.children[member];
    bool held =
        WIFEXITED(child->exit_status) && WEXITSTATUS(child->exit_status) == FAMILY_EXIT_HELD;
    struct err err;

    if (child->pid || up->family.stop)
        return CLI_OK;
    if (!held || child->failures >= 8)
        return explain_early_end(up, child);
    if (clock_mono_ms() >= child->start_at_ms && family_start(&up->family, member, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    return CLI_OK;
}

static int wait_for_site(struct up *up, struct remote *remote)
{
    int64_t until_ms = clock_mono_ms() + JOIN_MS_MAX;
    int code = CLI_OK;

    while (code == CLI_OK && !up->family.stop && !(up->joined = site_has_joined(remote)) &&
           clock_mono_ms() < until_ms) {
        family_wait(&up->family, 20);
        code = restart_early(up, FAMILY_AGENT);
        if (code == CLI_OK)
            code = restart_early(up, FAMILY_CONTROLLER);
    }
    return code;
}

/* Start both, in order, and wait until work can be taken. */
static int bring_up(struct up *up, struct remote *remote)
{
    struct family_child *controller = &up->family.children[FAMILY_CONTROLLER];
    int64_t until_ms = clock_mono_ms() + READY_MS_MAX;
    struct err err;
    int code;

    if (family_start(&up->family, FAMILY_CONTROLLER, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    while (!controller_is_ready(up, remote)) {
        code = restart_early(up, FAMILY_CONTROLLER);
        if (code != CLI_OK)
            return code;
        if (up->family.stop)
            return CLI_DETACHED;
        if (clock_mono_ms() > until_ms)
            return cli_fail_text(CLI_FAILED, "the controller did not become ready in %d s",
                                 READY_MS_MAX / 1000);
        family_wait(&up->family, 10);
    }
    controller->failures = 0;
    if (family_start(&up->family, FAMILY_AGENT, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (!remote->token) {
        CLEANUP(freep) char *path = path_format("%s/admin.token", up->state);

        if (!path || place_read_token(path, &remote->token, &err) < 0)
            return cli_fail(CLI_FAILED, &err);
    }
    code = wait_for_site(up, remote);
    if (code != CLI_OK)
        return code;
    return up->family.stop ? CLI_DETACHED : CLI_OK;
}

/* A controller that was given any free port keeps it when it is started again. */
static void keep_port(struct up *up)
{
    const char *colon = strrchr(up->endpoint.url, ':');
    char *own = strrchr(up->listen, ':');

    if (colon && own && strspn(colon + 1, "0123456789") == strlen(colon + 1))
        snprintf(own, sizeof(up->listen) - (size_t)(own - up->listen), "%s", colon);
}

static void greet(const struct up *up, const struct cli_args *args)
{
    printf("mains is up at %s (state %s)\n", up->endpoint.url, up->state);
    if (!up->joined)
        printf("The site here has not joined yet: `mains doctor` tells why.\n");
    if (!cli_args_has(args, "state"))
        printf("Try: mains run -- echo hello     Stop: mains down\n");
    else
        printf("Try: mains run --state %s -- echo hello     Stop: mains down --state %s\n",
               up->state, up->state);
    fflush(stdout);
}

/* --- --detach --------------------------------------------------------------------------------- */

/* In the process that stays with the shell: hand on what the other says until it is ready. */
static int wait_for_ready(int fd, pid_t pid)
{
    char text[4096];
    ssize_t got;
    int status = 0;
    char code = CLI_FAILED;
    bool told = false;

    while ((got = read(fd, text, sizeof(text))) > 0 || (got < 0 && errno == EINTR))
        if (got > 0) {
            /* The last byte is the status. */
            told = true;
            code = text[got - 1];
        }
    if (!told && waitpid(pid, &status, 0) == pid && WIFEXITED(status))
        code = (char)WEXITSTATUS(status);
    return code;
}

/* CLI_OK in the process that goes on; the one that stays with the shell ends here. */
static int detach(struct up *up)
{
    struct err err;
    int ends[2];
    pid_t pid;

    if (dir_make(up->state, 0700, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    if (pipe2(ends, O_CLOEXEC) < 0)
        return cli_fail_text(CLI_FAILED, "pipe: %s", strerror(errno));
    fflush(stdout);
    pid = fork();
    if (pid < 0)
        return cli_fail_text(CLI_FAILED, "fork: %s", strerror(errno));
    if (pid > 0) {
        close(ends[1]);
        /* _exit: buffers and handlers are the other's now. */
        _exit(wait_for_ready(ends[0], pid));
    }
    close(ends[0]);
    up->ready_fd = ends[1];
    setsid();
    if (family_open_log(&up->family, up->state, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    up->log_start = lseek(up->family.log_fd, 0, SEEK_END);
    if (chdir("/") < 0)
        return cli_fail_text(CLI_FAILED, "/: %s", strerror(errno));
    return CLI_OK;
}

/* From here on all that is said goes to the log. */
static void leave_terminal(struct up *up)
{
    char code = CLI_OK;

    family_leave_terminal(&up->family);
    if (write(up->ready_fd, &code, 1) != 1)
        log_warn("the shell that started this is gone");
    close(up->ready_fd);
    up->ready_fd = -1;
}

static int run_family(struct up *up, const struct cli_args *args)
{
    struct remote remote = { 0 };
    struct err err = { .text = "" };
    int code;

    family_prepare(&up->family);
    describe_children(up, args);
    code = bring_up(up, &remote);
    remote_fini(&remote);
    if (code == CLI_OK) {
        keep_port(up);
        greet(up, args);
        if (up->ready_fd >= 0)
            leave_terminal(up);
        if (family_run(&up->family, &err) < 0)
            code = cli_fail(CLI_FAILED, &err);
    }
    family_stop(&up->family, STOP_MS);
    return code == CLI_DETACHED ? CLI_OK : code;
}

static int find_pem(const struct cli_args *args, const char *option, char **path_out)
{
    const char *path = cli_args_get(args, option);

    if (path && !(*path_out = realpath(path, NULL)))
        return cli_fail_text(CLI_FAILED, "--%s %s: %s", option, path, strerror(errno));
    return CLI_OK;
}

/* The controller would refuse these too, but only after it was started. */
static int check_listen(const struct cli_args *args, const struct listen_place *place)
{
    struct in_addr four;
    struct in6_addr six;
    bool is_four = inet_pton(AF_INET, place->address, &four) == 1;
    bool cert = cli_args_has(args, "cert");

    if (!is_four && inet_pton(AF_INET6, place->address, &six) != 1)
        return cli_fail_text(CLI_USAGE,
                             "--listen: \"%s\": expected an IP address such as 127.0.0.1",
                             place->address);
    if (cert != cli_args_has(args, "key"))
        return cli_fail_text(CLI_USAGE, "--cert and --key go together");
    return CLI_OK;
}

static int run(const struct cli_args *args)
{
    const char *listen = cli_args_get(args, "listen");
    struct up up = { .family = { .log_fd = -1 }, .ready_fd = -1 };
    struct listen_place place;
    struct lent lent;
    int64_t lease_ms;
    struct err err;
    int lock_fd = -1;
    int code;

    if (lent_parse(args, &lent, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    if (cli_args_has(args, "lease") &&
        leases_parse(cli_args_get(args, "lease"), &lease_ms, &err) < 0)
        return cli_fail(CLI_USAGE, &err);
    if (listen_parse(listen ? listen : "127.0.0.1", CONTROLLER_PORT_DEFAULT, &place, &err) < 0)
        return cli_fail_text(CLI_USAGE, "--listen: %s", err.text);
    code = check_listen(args, &place);
    if (code != CLI_OK)
        return code;
    snprintf(up.listen, sizeof(up.listen), strchr(place.address, ':') ? "[%s]:%u" : "%s:%u",
             place.address, place.port);
    if (place_find_state(args, &up.state, &err) < 0)
        return cli_fail(CLI_FAILED, &err);
    code = find_pem(args, "cert", &up.cert);
    if (code == CLI_OK)
        code = find_pem(args, "key", &up.key);
    if (code != CLI_OK)
        return code;
    log_setup("up", LOG_INFO);
    /* The lock is taken by the process that goes on. */
    code = cli_args_has(args, "detach") ? detach(&up) : CLI_OK;
    if (code == CLI_OK)
        code = lock_state(&up, &lock_fd);
    if (code == CLI_OK)
        code = run_family(&up, args);
    if (lock_fd >= 0)
        close(lock_fd);
    free(up.state);
    free(up.cert);
    free(up.key);
    free(up.family.log_path);
    return code;
}

const struct cli_command cmd_up = {
    .name = "up",
    .summary = "start the network on this machine",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_STATE,
    .options = { options },
    .text =
        "Starts a controller and a site for this machine as one process tree, waits until the site "
        "has joined, and keeps both running. Everything is kept in the state folder; nothing else "
        "is needed. A state folder is held by one `mains up` at a time; a second one says by "
        "whom.\n\n"
        "Ctrl-C or `mains down` stops the network. Jobs that run go on under their supervisors, "
        "and the next `mains up` finds them again. Started by root, each job runs as the user its "
        "token stands for.",
    .examples = { { "mains up --detach", "In the background; state in ~/.local/state/mains." },
                  { "mains up --state /srv/mains --listen 127.0.0.1:0",
                    "Another folder, any free port." } },
    .run = run,
};
