#include "agent/srun_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT_OUT = 256, MPI, HELP };

static const struct option longs[] = {
    { "ntasks", required_argument, NULL, 'n' },
    { "cpus-per-task", required_argument, NULL, 'c' },
    { "label", no_argument, NULL, 'l' },
    { "kill-on-bad-exit", optional_argument, NULL, 'K' },
    { "overcommit", no_argument, NULL, 'O' },
    { "chdir", required_argument, NULL, 'D' },
    { "job-name", required_argument, NULL, 'J' },
    { "output", required_argument, NULL, 'o' },
    { "error", required_argument, NULL, 'e' },
    { "input", required_argument, NULL, 'i' },
    { "mpi", required_argument, NULL, MPI },
    { "help", no_argument, NULL, HELP },
    /* Of an allocation, or of where in it: there is one machine here, and it is ours already. */
    { "account", required_argument, NULL, LEFT_OUT },
    { "accel-bind", required_argument, NULL, LEFT_OUT },
    { "constraint", required_argument, NULL, LEFT_OUT },
    { "cores-per-socket", required_argument, NULL, LEFT_OUT },
    { "cpu-bind", required_argument, NULL, LEFT_OUT },
    { "cpu_bind", required_argument, NULL, LEFT_OUT },
    { "cpu-freq", required_argument, NULL, LEFT_OUT },
    { "cpus-per-gpu", required_argument, NULL, LEFT_OUT },
    { "distribution", required_argument, NULL, LEFT_OUT },
    { "exact", no_argument, NULL, LEFT_OUT },
    { "exclude", required_argument, NULL, LEFT_OUT },
    { "exclusive", optional_argument, NULL, LEFT_OUT },
    { "export", required_argument, NULL, LEFT_OUT },
    { "gpu-bind", required_argument, NULL, LEFT_OUT },
    { "gpus", required_argument, NULL, LEFT_OUT },
    { "gpus-per-node", required_argument, NULL, LEFT_OUT },
    { "gpus-per-task", required_argument, NULL, LEFT_OUT },
    { "gres", required_argument, NULL, LEFT_OUT },
    { "gres-flags", required_argument, NULL, LEFT_OUT },
    { "hint", required_argument, NULL, LEFT_OUT },
    { "immediate", optional_argument, NULL, LEFT_OUT },
    { "jobid", required_argument, NULL, LEFT_OUT },
    { "mem", required_argument, NULL, LEFT_OUT },
    { "mem-bind", required_argument, NULL, LEFT_OUT },
    { "mem-per-cpu", required_argument, NULL, LEFT_OUT },
    { "mem-per-gpu", required_argument, NULL, LEFT_OUT },
    { "nodelist", required_argument, NULL, LEFT_OUT },
    { "nodes", required_argument, NULL, LEFT_OUT },
    { "ntasks-per-core", required_argument, NULL, LEFT_OUT },
    { "ntasks-per-gpu", required_argument, NULL, LEFT_OUT },
    { "ntasks-per-node", required_argument, NULL, LEFT_OUT },
    { "ntasks-per-socket", required_argument, NULL, LEFT_OUT },
    { "open-mode", required_argument, NULL, LEFT_OUT },
    { "overlap", no_argument, NULL, LEFT_OUT },
    { "partition", required_argument, NULL, LEFT_OUT },
    { "propagate", optional_argument, NULL, LEFT_OUT },
    { "qos", required_argument, NULL, LEFT_OUT },
    { "quiet", no_argument, NULL, LEFT_OUT },
    { "signal", required_argument, NULL, LEFT_OUT },
    { "threads-per-core", required_argument, NULL, LEFT_OUT },
    { "time", required_argument, NULL, LEFT_OUT },
    { "unbuffered", no_argument, NULL, LEFT_OUT },
    { "verbose", no_argument, NULL, LEFT_OUT },
    { "wait", required_argument, NULL, LEFT_OUT },
    { 0 },
};
static const char shorts[] = "+:n:c:lK::OD:J:o:e:i:hA:C:G:N:p:q:t:w:x:W:m:QsuvI::";

static int read_count(const char *option, const char *text, uint32_t *out, struct err *err)
{
    char *end;
    long number;

    errno = 0;
    number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < 1 || number > (long)SRUN_TASKS_MAX)
        return err_set(err, -EINVAL, "%s %s: expected a number from 1 to %u", option, text,
                       SRUN_TASKS_MAX);
    *out = (uint32_t)number;
    return 0;
}

static int take(int option, struct srun_options *options, struct err *err)
{
    switch (option) {
    case 'n':
        return read_count("--ntasks", optarg, &options->tasks, err);
    case 'c':
        return read_count("--cpus-per-task", optarg, &options->cpus_per_task, err);
    case 'l':
        options->label = true;
        return 0;
    case 'K':
        options->kill_on_bad_exit = !optarg || strcmp(optarg, "0") != 0;
        return 0;
    case 'O':
        options->overcommit = true;
        return 0;
    case 'D':
        options->folder = optarg;
        return 0;
    case 'J':
        options->name = optarg;
        return 0;
    case 'o':
        options->out = optarg;
        return 0;
    case 'e':
        options->err = optarg;
        return 0;
    case 'i':
        options->in = optarg;
        return 0;
    case MPI:
        options->mpi = strcmp(optarg, "none") == 0 ? SRUN_MPI_NO : SRUN_MPI_YES;
        return 0;
    case HELP:
    case 'h':
        options->help = true;
        return 0;
    default:
        return 0;
    }
}

int srun_options_read(int argc, char **argv, struct srun_options *options_out, struct err *err)
{
    int option, rc = 0;

    *options_out = (struct srun_options){ 0 };
    opterr = 0;
    while (rc == 0 && (option = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (option == '?')
            return err_set(err, -EINVAL, "no option %s", argv[optind - 1]);
        if (option == ':')
            return err_set(err, -EINVAL, "%s: a value is missing", argv[optind - 1]);
        rc = take(option, options_out, err);
    }
    options_out->command = argv + optind;
    if (rc == 0 && !options_out->help && optind >= argc)
        rc = err_set(err, -EINVAL, "expected a command: srun [-n TASKS] COMMAND [ARGUMENT...]");
    return rc;
}
