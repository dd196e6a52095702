/* srun: starts the tasks of a step, for scripts that were written for Slurm and run here as they
 * are. A job from such a script finds it in front of its PATH.
 *
 * The job has its allocation and is on one machine; what is left to do is to start N processes with
 * their ranks, hand signals on, and exit as the worst of them did. Programs of MPI need a launcher
 * that speaks its protocol: mpirun starts those, when --mpi says so or the program is linked with
 * MPI, and each rank passes through here again (--mains-rank) for Slurm's names of it. */
#include "agent/srun_options.h"
#include "base/cleanup.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_BYTES 8192u
#define KILL_MS 5000 /* from SIGTERM to SIGKILL, once a task has failed under -K */
#define EXIT_CANNOT_RUN 127
#define RANK_WORD "--mains-rank"

struct pipe_end { /* of one task's output, under --label */
    int fd;       /* -1 = at its end */
    int to;
    uint32_t task;
    size_t len;
    char line[LINE_BYTES];
};
struct step {
    struct srun_options options;
    uint32_t tasks, left;
    pid_t *pids; /* 0 = ended */
    struct pipe_end *ends;
    uint32_t ends_count;
    int signal_fd;
    sigset_t old_mask;
    int worst; /* exit status so far */
    bool is_killing;
};

static int say(const char *text, int code)
{
    fprintf(stderr, "srun: %s\n", text);
    return code;
}

static uint32_t number_of(const char *name)
{
    const char *text = getenv(name);

    return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static void set_number(const char *name, uint32_t number)
{
    char text[16];

    snprintf(text, sizeof(text), "%" PRIu32, number);
    setenv(name, text, 1);
}

/* ---- what MPI needs ---- */

/* A dynamic program of this machine's: its loader can be asked, and runs nothing of it. */
static bool is_dynamic(const char *path)
{
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    Elf64_Ehdr head;

    if (fd < 0 || read(fd, &head, sizeof(head)) != (ssize_t)sizeof(head) ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64)
        return false;
    for (uint32_t i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr part;

        if (pread(fd, &part, sizeof(part), (off_t)(head.e_phoff + (uint64_t)i * sizeof(part))) !=
            (ssize_t)sizeof(part))
            return false;
        if (part.p_type == PT_INTERP)
            return true;
    }
    return false;
}

static bool find_command(const char *name, char path_out[PATH_MAX])
{
    const char *list = getenv("PATH");

    if (strchr(name, '/')) {
        snprintf(path_out, PATH_MAX, "%s", name);
        return access(path_out, X_OK) == 0;
    }
    while (list && *list) {
        size_t len = strcspn(list, ":");

        if (snprintf(path_out, PATH_MAX, "%.*s/%s", (int)len, list, name) < PATH_MAX &&
            access(path_out, X_OK) == 0)
            return true;
        list += len + (list[len] == ':');
    }
    return false;
}

/* As ldd does: the loader names what it would load, and ends. */
static bool is_linked_with_mpi(const char *path)
{
    static const char wanted[] = "libmpi";
    char text[sizeof(wanted) - 1 + 4096];
    size_t kept = 0;
    bool found = false;
    int ends[2];
    ssize_t got;
    pid_t pid;

    if (!is_dynamic(path) || pipe2(ends, O_CLOEXEC) < 0)
        return false;
    pid = fork();
    if (pid == 0) {
        setenv("LD_TRACE_LOADED_OBJECTS", "1", 1);
        dup2(ends[1], STDOUT_FILENO);
        execl(path, path, (char *)NULL);
        _exit(EXIT_CANNOT_RUN);
    }
    close(ends[1]);
    while (pid > 0 && (got = read(ends[0], text + kept, sizeof(text) - 1 - kept)) > 0) {
        size_t len = kept + (size_t)got;

        text[len] = '\0';
        found = found || strstr(text, wanted);
        kept = len < sizeof(wanted) - 2 ? len : sizeof(wanted) - 2; /* a word cut in two */
        memmove(text, text + len - kept, kept);
    }
    close(ends[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return found;
}

/* Returns when no launcher is here. */
static void launch_mpi(const struct step *step)
{
    char launcher[PATH_MAX], self[PATH_MAX], count[16];
    const char *argv[8 + 4096];
    uint32_t n = 0;
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (len <= 0 || !find_command("mpirun", launcher))
        return;
    self[len] = '\0';
    snprintf(count, sizeof(count), "%" PRIu32, step->tasks);
    argv[n++] = launcher;
    argv[n++] = "-n";
    argv[n++] = count;
    argv[n++] = self;
    argv[n++] = RANK_WORD;
    for (char *const *word = step->options.command; *word && n < ARRAY_COUNT(argv) - 1; word++)
        argv[n++] = *word;
    argv[n] = NULL;
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 0);
    setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe", 0);
    if (geteuid() == 0) { /* the job's, in its sandbox */
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
        setenv("PRTE_ALLOW_RUN_AS_ROOT", "1", 0);
        setenv("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    }
    execv(launcher, (char *const *)(uintptr_t)argv);
}

/* One rank that mpirun has started. */
static int be_rank(char **command)
{
    static const char *const names[] = { "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK" };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (getenv(names[i])) {
            set_number("SLURM_PROCID", number_of(names[i]));
            set_number("SLURM_LOCALID", number_of(names[i]));
            break;
        }
    if (!*command)
        return say("a command is missing", 1);
    execvp(*command, command);
    fprintf(stderr, "srun: %s: %s\n", *command, strerror(errno));
    return EXIT_CANNOT_RUN;
}

/* ---- tasks ---- */

/* %t task, %n node, %N its name, %j and %J job, %s step, %% a percent. */
static bool expand(const char *pattern, uint32_t task, char out[PATH_MAX])
{
    size_t len = 0;

    for (const char *p = pattern; *p; p++) {
        char one[32] = { *p, '\0' };
        const char *text = one;

        if (*p == '%' && p[1]) {
            p++;
            snprintf(one, sizeof(one), "%" PRIu32, *p == 't' ? task : 0);
            if (*p == 'N')
                text = getenv("SLURMD_NODENAME");
            else if (*p == 'j' || *p == 'J')
                text = getenv("SLURM_JOB_ID");
            else if (*p == '%')
                text = "%";
            else if (!strchr("tns", *p))
                return false;
        }
        text = text ? text : "";
        if (len + strlen(text) >= PATH_MAX)
            return false;
        memcpy(out + len, text, strlen(text));
        len += strlen(text);
    }
    out[len] = '\0';
    return true;
}

static int redirect(const char *pattern, uint32_t task, int flags, int to)
{
    char path[PATH_MAX];
    int fd;

    if (!pattern)
        return 0;
    if (!expand(pattern, task, path)) {
        fprintf(stderr, "srun: %s: expected a path with %%t, %%n, %%N, %%j or %%s\n", pattern);
        return -EINVAL;
    }
    fd = open(path, flags | O_CLOEXEC, 0666);
    if (fd < 0 || dup2(fd, to) < 0) {
        fprintf(stderr, "srun: %s: %s\n", path, strerror(errno));
        return -errno;
    }
    return 0;
}

static _Noreturn void be_task(struct step *step, uint32_t task, const int out[2])
{
    const struct srun_options *options = &step->options;
    const int flags =
        O_WRONLY | O_CREAT | (strstr(options->out ? options->out : "", "%t") ? O_TRUNC : O_APPEND);

    sigprocmask(SIG_SETMASK, &step->old_mask, NULL);
    set_number("SLURM_PROCID", task);
    set_number("SLURM_LOCALID", task);
    set_number("SLURM_TASK_PID", (uint32_t)getpid());
    for (int i = 0; i < 2; i++)
        if (out[i] >= 0)
            dup2(out[i], i == 0 ? STDOUT_FILENO : STDERR_FILENO);
    /* What comes in goes to the first: it can be read once. */
    if (redirect(options->in ? options->in
                 : task      ? "/dev/null"
                             : NULL,
                 task, O_RDONLY, STDIN_FILENO) < 0 ||
        redirect(options->out, task, flags, STDOUT_FILENO) < 0 ||
        redirect(options->err, task, flags, STDERR_FILENO) < 0)
        _exit(1);
    if (options->out && !options->err)
        dup2(STDOUT_FILENO, STDERR_FILENO);
    execvp(*options->command, options->command);
    fprintf(stderr, "srun: %s: %s\n", *options->command, strerror(errno));
    _exit(EXIT_CANNOT_RUN);
}

static int start_task(struct step *step, uint32_t task)
{
    int pipes[2][2] = { { -1, -1 }, { -1, -1 } };
    const bool piped[2] = { step->options.label && !step->options.out,
                            step->options.label && !step->options.out && !step->options.err };
    pid_t pid;

    for (int i = 0; i < 2; i++)
        if (piped[i] && pipe2(pipes[i], O_CLOEXEC) < 0)
            return -errno;
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        be_task(step, task, (const int[2]){ pipes[0][1], pipes[1][1] });
    for (int i = 0; i < 2; i++)
        if (piped[i]) {
            struct pipe_end *end = &step->ends[step->ends_count++];

            close(pipes[i][1]);
            end->fd = pipes[i][0];
            end->to = i == 0 ? STDOUT_FILENO : STDERR_FILENO;
            end->task = task;
        }
    step->pids[task] = pid;
    step->left++;
    return 0;
}

static void send_all(const struct step *step, int number)
{
    for (uint32_t i = 0; i < step->tasks; i++)
        if (step->pids[i] > 0)
            kill(step->pids[i], number);
}

static void write_line(const struct pipe_end *end, size_t len)
{
    dprintf(end->to, "%" PRIu32 ": %.*s\n", end->task, (int)len, end->line);
}

/* Whole lines, so that two tasks' never mix. */
static void read_end(struct pipe_end *end)
{
    ssize_t got = read(end->fd, end->line + end->len, sizeof(end->line) - end->len);
    char *stop;

    if (got <= 0) {
        if (got < 0 && errno == EINTR)
            return;
        if (end->len)
            write_line(end, end->len);
        close(end->fd);
        end->fd = -1;
        return;
    }
    end->len += (size_t)got;
    while ((stop = memchr(end->line, '\n', end->len)) != NULL) {
        size_t len = (size_t)(stop - end->line);

        write_line(end, len);
        end->len -= len + 1;
        memmove(end->line, stop + 1, end->len);
    }
    if (end->len == sizeof(end->line)) {
        write_line(end, end->len);
        end->len = 0;
    }
}

static void note_end(struct step *step, uint32_t task, int status)
{
    int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);

    step->pids[task] = 0;
    step->left--;
    step->worst = code > step->worst ? code : step->worst;
    if (code == 0)
        return;
    if (WIFSIGNALED(status))
        fprintf(stderr, "srun: error: task %" PRIu32 ": %s\n", task, strsignal(WTERMSIG(status)));
    else
        fprintf(stderr, "srun: error: task %" PRIu32 ": Exited with exit code %d\n", task, code);
    if (step->options.kill_on_bad_exit && !step->is_killing) {
        step->is_killing = true;
        send_all(step, SIGTERM);
    }
}

static void reap(struct step *step)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (uint32_t i = 0; i < step->tasks; i++)
            if (step->pids[i] == pid)
                note_end(step, i, status);
}

static void read_signals(struct step *step)
{
    struct signalfd_siginfo info;

    while (read(step->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        if (info.ssi_signo != SIGCHLD)
            send_all(step, (int)info.ssi_signo);
    reap(step);
}

static void stand_over(struct step *step)
{
    struct pollfd *polls = calloc(step->ends_count + 1, sizeof(*polls));
    bool is_open = step->ends_count > 0;

    while (polls && (step->left || is_open)) {
        int ready;

        polls[0] = (struct pollfd){ .fd = step->signal_fd, .events = POLLIN };
        for (uint32_t i = 0; i < step->ends_count; i++)
            polls[i + 1] = (struct pollfd){ .fd = step->ends[i].fd, .events = POLLIN };
        ready = poll(polls, step->ends_count + 1, step->is_killing ? KILL_MS : -1);
        if (ready == 0)
            send_all(step, SIGKILL);
        is_open = false;
        for (uint32_t i = 0; i < step->ends_count; i++) {
            if (polls[i + 1].revents)
                read_end(&step->ends[i]);
            is_open = is_open || step->ends[i].fd >= 0;
        }
        read_signals(step);
    }
    free(polls);
}

static int run_tasks(struct step *step)
{
    sigset_t mask;
    int rc = 0;

    sigemptyset(&mask);
    for (size_t i = 0; i < 6; i++)
        sigaddset(&mask, (const int[]){ SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 }[i]);
    sigprocmask(SIG_BLOCK, &mask, &step->old_mask);
    step->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    step->pids = calloc(step->tasks, sizeof(*step->pids));
    step->ends = calloc((size_t)step->tasks * 2, sizeof(*step->ends));
    if (step->signal_fd < 0 || !step->pids || !step->ends)
        return say("out of memory", 1);
    for (uint32_t i = 0; rc == 0 && i < step->tasks; i++)
        rc = start_task(step, i);
    if (rc < 0) {
        fprintf(stderr, "srun: cannot start a task: %s\n", strerror(-rc));
        send_all(step, SIGKILL);
        step->worst = 1;
    }
    stand_over(step);
    return step->worst;
}

static int check_room(const struct step *step)
{
    uint32_t cpus = number_of("SLURM_CPUS_ON_NODE");
    uint32_t each = step->options.cpus_per_task ? step->options.cpus_per_task : 1;
    char text[128];

    if (!step->options.tasks || !cpus || step->options.overcommit ||
        (uint64_t)step->tasks * each <= cpus)
        return 0;
    snprintf(text, sizeof(text),
             "%" PRIu32 " tasks of %" PRIu32 " CPUs: the job has %" PRIu32
             " CPUs (-O starts them all the same)",
             step->tasks, each, cpus);
    return say(text, 1);
}

int main(int argc, char **argv)
{
    struct step step = { .signal_fd = -1 };
    char path[PATH_MAX];
    struct err err = { 0 };

    if (argc > 1 && strcmp(argv[1], RANK_WORD) == 0)
        return be_rank(argv + 2);
    if (srun_options_read(argc, argv, &step.options, &err) < 0)
        return say(err.text, 1);
    if (step.options.help) {
        puts("srun: starts tasks of this job: srun [-n TASKS] [-l] [-K] [-D DIR] [-o FILE] "
             "[--mpi=TYPE] COMMAND [ARGUMENT...]");
        return 0;
    }
    step.tasks = step.options.tasks ? step.options.tasks : number_of("SLURM_NTASKS");
    step.tasks = step.tasks ? step.tasks : 1;
    if (step.tasks > SRUN_TASKS_MAX || check_room(&step) != 0)
        return 1;
    if (step.options.folder && chdir(step.options.folder) < 0) {
        fprintf(stderr, "srun: %s: %s\n", step.options.folder, strerror(errno));
        return 1;
    }
    if (!find_command(*step.options.command, path)) {
        fprintf(stderr, "srun: error: %s: no such command\n", *step.options.command);
        return EXIT_CANNOT_RUN;
    }
    set_number("SLURM_NTASKS", step.tasks);
    set_number("SLURM_NPROCS", step.tasks);
    set_number("SLURM_STEP_NUM_TASKS", step.tasks);
    set_number("SLURM_STEP_ID", 0);
    set_number("SLURM_STEPID", 0);
    if (step.options.cpus_per_task)
        set_number("SLURM_CPUS_PER_TASK", step.options.cpus_per_task);
    if (step.options.mpi == SRUN_MPI_YES ||
        (step.options.mpi == SRUN_MPI_LOOK && is_linked_with_mpi(path)))
        launch_mpi(&step);
    return run_tasks(&step);
}
