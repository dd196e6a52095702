#include "agent/criu.h"
#include "agent/discover.h"
#include "base/clock.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/place.h"
#include "cli/remote.h"
#include "cli/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define CHECKS_MAX (DISCOVER_CHECKS_MAX + 16u)
#define DISK_LOW_BYTES (INT64_C(1) << 30)
#define CLOCK_EARLIEST_MS INT64_C(1767225600000) /* 2026-01-01: before that it was not built */

struct doctor {
    struct discover_check checks[CHECKS_MAX];
    uint32_t count;
    const struct cli_args *args;
    char *state;
};

static void PRINTF_LIKE(5, 6)
    note(struct doctor *doctor, const char *name, bool ok, bool needed, const char *fmt, ...)
{
    struct discover_check *check = &doctor->checks[doctor->count];
    va_list args;

    if (doctor->count == CHECKS_MAX)
        return;
    doctor->count++;
    *check = (struct discover_check){ .ok = ok, .needed = needed };
    snprintf(check->name, sizeof(check->name), "%s", name);
    va_start(args, fmt);
    vsnprintf(check->text, sizeof(check->text), fmt, args);
    va_end(args);
}

static void PRINTF_LIKE(2, 3) advise(struct doctor *doctor, const char *fmt, ...)
{
    struct discover_check *check = &doctor->checks[doctor->count - 1];
    va_list args;

    va_start(args, fmt);
    vsnprintf(check->advice, sizeof(check->advice), fmt, args);
    va_end(args);
}

static bool check_state_folder(struct doctor *doctor)
{
    struct stat st;

    if (stat(doctor->state, &st) < 0) {
        bool none = errno == ENOENT;

        note(doctor, "state folder", none, !none, "%.120s: %s", doctor->state,
             none ? "not made yet" : strerror(errno));
        if (!none)
            advise(doctor, "make it readable for this user, or name another with --state");
        return false;
    }
    if (!S_ISDIR(st.st_mode) || access(doctor->state, R_OK | W_OK | X_OK) < 0) {
        note(doctor, "state folder", false, true, "%.120s: not a folder this user may write in",
             doctor->state);
        advise(doctor, "it belongs to uid %u: run mains as that user, or give another --state",
               (unsigned)st.st_uid);
        return false;
    }
    note(doctor, "state folder", (st.st_mode & 077) == 0, true, "%.120s, mode %04o", doctor->state,
         (unsigned)(st.st_mode & 07777));
    if (st.st_mode & 077)
        advise(doctor, "others can look into it: chmod 700 %.150s", doctor->state);
    return true;
}

static void check_secret_file(struct doctor *doctor, const char *name)
{
    CLEANUP(freep) char *path = path_format("%s/%s", doctor->state, name);
    struct stat st;

    if (!path || stat(path, &st) < 0)
        return; /* made by the first `mains up` */
    note(doctor, name, (st.st_mode & 077) == 0, true, "mode %04o", (unsigned)(st.st_mode & 07777));
    if (st.st_mode & 077)
        advise(doctor, "others can read it: chmod 600 %.150s", path);
}

static void check_disk(struct doctor *doctor)
{
    struct statvfs fs;
    int64_t free_bytes;

    if (statvfs(doctor->state, &fs) < 0)
        return;
    free_bytes = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    note(doctor, "disk", free_bytes >= DISK_LOW_BYTES, true, "%.1f GiB free for the state folder",
         (double)free_bytes / (1 << 30));
    if (free_bytes < DISK_LOW_BYTES)
        advise(doctor, "make room: a full disk stops submits (nothing that was answered is lost)");
    if (fs.f_flag & ST_RDONLY) {
        note(doctor, "disk", false, true, "the state folder's file system is read-only");
        advise(doctor, "mount it writable, or give another --state");
    }
}

static void check_clock(struct doctor *doctor)
{
    bool ok = clock_wall_ms() >= CLOCK_EARLIEST_MS;

    note(doctor, "clock", ok, true, "%s", ok ? "set" : "it stands before this program was made");
    if (!ok)
        advise(doctor, "set the time (timedatectl set-ntp true): journal and usage carry it");
}

static void check_sites(struct doctor *doctor, struct remote *remote)
{
    json_t *answer = NULL;
    const json_t *sites;
    size_t reachable = 0;
    size_t index;
    json_t *site;
    struct err err;

    if (remote_get(remote, "/sites", &answer, &err) < 0) {
        note(doctor, "sites", false, true, "%.180s", err.text);
        return;
    }
    sites = json_is_array(answer) ? answer : json_object_get(answer, "sites");
    json_array_foreach (sites, index, site)
        reachable += reply_flag(site, "reachable");
    note(doctor, "sites", reachable > 0, true, "%zu of %zu reachable", reachable,
         json_array_size(sites));
    if (!reachable)
        advise(doctor, "look for its reason in %.120s/up.log", doctor->state);
    json_decref(answer);
}

static void check_journal(struct doctor *doctor, struct remote *remote)
{
    json_t *answer = NULL;

    if (remote_get(remote, "/journal/status", &answer, NULL) < 0)
        return;
    note(doctor, "journal", reply_flag(answer, "writable"), true, "%s %.150s",
         reply_flag(answer, "writable") ? "writable" : "cannot be written:",
         reply_text(answer, "reason"));
    if (!reply_flag(answer, "writable"))
        advise(doctor, "free the disk or make it writable; it then goes on by itself");
    json_decref(answer);
}

static void check_network(struct doctor *doctor)
{
    struct place_holder holder;
    struct remote remote;
    json_t *answer = NULL;
    struct err err;
    int rc;

    if (place_find_holder(doctor->state, &holder) < 0 && !cli_args_has(doctor->args, "url") &&
        !getenv("MAINS_URL")) {
        note(doctor, "network", true, false, "not running");
        advise(doctor, "start it with: mains up --detach");
        return;
    }
    rc = remote_open(doctor->args, &remote, &err);
    if (rc == 0) {
        rc = remote_get(&remote, "/version", &answer, &err);
        if (rc < 0)
            remote_fini(&remote);
    }
    if (rc < 0) {
        note(doctor, "network", false, true, "%.190s", err.text);
        advise(doctor, "look into %.120s/up.log; `mains down`, then `mains up`", doctor->state);
        return;
    }
    note(doctor, "network", true, true, "answers at %.150s", remote.url);
    note(doctor, "versions", strcmp(reply_text(answer, "version"), MAINS_VERSION) == 0, false,
         "this program %s, the network %.40s", MAINS_VERSION, reply_text(answer, "version"));
    if (strcmp(reply_text(answer, "version"), MAINS_VERSION) != 0)
        advise(doctor, "restart the network: mains down && mains up --detach");
    json_decref(answer);
    if (remote_get(&remote, "/whoami", NULL, &err) < 0) {
        note(doctor, "token", false, true, "%.190s", err.text);
        advise(doctor, "give --token-file, or use the state folder's admin.token");
    } else {
        note(doctor, "token", true, true, "accepted");
        check_sites(doctor, &remote);
        check_journal(doctor, &remote);
    }
    remote_fini(&remote);
}

static void check_machine(struct doctor *doctor)
{
    struct discover_config config = { .disk_path = "/", .opencl = false };
    struct discover_check checks[DISCOVER_CHECKS_MAX];
    uint32_t count = discover_checks(&config, checks);

    for (uint32_t i = 0; i < count && doctor->count < CHECKS_MAX; i++)
        doctor->checks[doctor->count++] = checks[i];
}

/* Most machines have no CRIU, and need none. */
static void check_criu(struct doctor *doctor)
{
    char criu[PATH_MAX], keeper[PATH_MAX];
    struct err err = { 0 };
    bool ok;

    if (criu_find(criu, keeper, &err) < 0)
        return;
    ok = criu_check(&err) == 0;
    note(doctor, "criu", ok, false, "%.180s", ok ? "jobs can be saved by CRIU" : err.text);
}

static void print_text(const struct doctor *doctor)
{
    bool color = term_has_color(stdout);
    uint32_t bad = 0;
    uint32_t missed = 0;

    for (uint32_t i = 0; i < doctor->count; i++) {
        const struct discover_check *check = &doctor->checks[i];
        enum term_color shade = check->ok ? TERM_GREEN : check->needed ? TERM_RED : TERM_YELLOW;
        CLEANUP(freep) char *text = text_safe(check->text);
        CLEANUP(freep) char *advice = text_safe(check->advice);

        printf("%s%-4s%s %-16s %s\n", color ? term_color_on(shade) : "",
               check->ok       ? "ok"
               : check->needed ? "BAD"
                               : "warn",
               color ? TERM_COLOR_OFF : "", check->name, text ? text : "");
        if (advice && *advice)
            printf("     %-16s -> %s\n", "", advice);
        bad += !check->ok && check->needed;
        missed += !check->ok && !check->needed;
    }
    if (bad)
        printf("\n%u thing%s must be mended before mains works well here.\n", bad,
               bad == 1 ? "" : "s");
    else if (missed)
        printf("\nmains works here; %u thing%s could be better.\n", missed, missed == 1 ? "" : "s");
    else
        printf("\nAll is well.\n");
}

static int print_json(const struct doctor *doctor)
{
    json_t *checks = json_array();
    int code;

    for (uint32_t i = 0; i < doctor->count; i++) {
        const struct discover_check *check = &doctor->checks[i];

        json_array_append_new(checks, json_pack("{s:s, s:b, s:b, s:s, s:s}", "name", check->name,
                                                "ok", check->ok, "needed", check->needed, "text",
                                                check->text, "advice", check->advice));
    }
    code = reply_show(checks);
    json_decref(checks);
    return code;
}

static int run(const struct cli_args *args)
{
    struct doctor *doctor = calloc(1, sizeof(*doctor));
    struct err err;
    int code = CLI_OK;

    if (!doctor)
        return cli_fail_text(CLI_FAILED, "out of memory");
    doctor->args = args;
    if (place_find_state(args, &doctor->state, &err) < 0) {
        free(doctor);
        return cli_fail(CLI_FAILED, &err);
    }
    if (check_state_folder(doctor)) {
        check_secret_file(doctor, "admin.token");
        check_secret_file(doctor, "site.token");
        check_secret_file(doctor, "tokens.json");
        check_disk(doctor);
    }
    check_clock(doctor);
    check_network(doctor);
    check_machine(doctor);
    check_criu(doctor);
    if (cli_args_has(args, "json"))
        print_json(doctor);
    else
        print_text(doctor);
    for (uint32_t i = 0; i < doctor->count; i++)
        if (!doctor->checks[i].ok && doctor->checks[i].needed)
            code = CLI_FAILED;
    free(doctor->state);
    free(doctor);
    return code;
}

const struct cli_command cmd_doctor = {
    .name = "doctor",
    .summary = "check the installation and say what to do",
    .usage = "[OPTION...]",
    .flags = CLI_TAKES_NETWORK | CLI_TAKES_JSON,
    .text = "Looks at the state folder, its files, the disk, the clock, the network that runs, and "
            "at what this machine needs to run jobs: sandbox, cgroups, vendor tools. Exit status 1 "
            "when something that mains needs is missing.",
    .examples = { { "mains doctor", "Before anything else, or when something is odd." } },
    .run = run,
};
