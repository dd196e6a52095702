/* slurm_job.h - one attempt as a job of Slurm: its files, its options of sbatch, and what the
 * script it runs says of itself.
 *
 * The script is always the same text. What a user wrote reaches the job as a file (`run`, `setup`)
 * or as the value of a variable (--export-file), never as a part of the script or of a command
 * line. In the attempt's folder, which the cluster's nodes must see at the same path:
 *     slurm       what the agent must know after a restart: see slurm_note
 *     script/     run, setup, rank, guard, hosts, times.<rank>
 *     claimed/    made by the job itself: a second submission of the attempt ends at once
 *     stdout, stderr, work/, outputs/  as for local attempts
 * and in `agent`/slurm, one folder for all: <job>.<epoch>.started, .ended, written by the job. */
#pragma once

#include "agent/engine_part.h"
#include "agent/executor.h"
#include "agent/slurm_text.h"
#include "base/arena.h"
#include "wire/wire.h"

#define SLURM_OPTIONS_MAX 40u
#define SLURM_EVENTS "slurm"

/* What is kept of an attempt while it lives; written to its folder before sbatch is asked. */
struct slurm_note {
    struct attempt_key key;
    uint64_t slurm_id; /* 0 = sbatch has not answered */
    int64_t submitted_ms;
    int64_t duration_ms_max, grace_ms;
    uint64_t lease;        /* that it must not outlive; 0 = none */
    int32_t save_signal;   /* asks for a checkpoint; 0 = it takes none */
    int64_t save_every_ms; /* so often; 0 = never but before a stop */
    char save_path[256];   /* in its work folder */
    uint64_t array_id;
    uint32_t array_index, array_count;
    char user[MODEL_NAME_BYTES];
    char partition[MODEL_NAME_BYTES];
    uint32_t parts_count;
    struct engine_part *parts; /* owned; in Slurm's order of nodes */
};
struct slurm_settings {  /* the owner's: site.json, `slurm` */
    char partition[256]; /* allowed ones, commas between; "" = the default one */
    char account[MODEL_NAME_BYTES], qos[MODEL_NAME_BYTES], reservation[MODEL_NAME_BYTES];
    char bin_dir[256]; /* "" = PATH */
    bool unguarded;    /* no guard beside the jobs: none that moves by itself is taken */
};
struct slurm_order { /* all that submitting needs */
    struct slurm_note note;
    struct attempt_order base; /* key, names, number, array, permissions; devices[0] tells the kind
                                  of device */
    char gres[96];             /* "gpu:a100"; "" = no device */
    char tag[16];              /* of this agent: in every job's name */
    const char *state_dir, *agent_dir;
    const struct slurm_settings *settings;
    char *spec_json;
};

void slurm_note_fini(struct slurm_note *note);
/* Every attempt has one name in Slurm: "mains-<tag>-<job>.<epoch>". */
void slurm_job_name(const char *tag, struct attempt_key key, char out[80]);
/* The attempt of a name of this agent's; false: another's job. */
bool slurm_job_parse_name(const char *tag, const char *name, struct attempt_key *key_out);

int slurm_note_write(int attempt_fd, const struct slurm_note *note);
int slurm_note_read(int attempt_fd, struct attempt_key key, struct slurm_note *note_out);

/* Folders, inputs, texts and variables; the options of sbatch into `argv_out` (words live in
 * `arena`). Blocks while inputs are copied. */
int slurm_job_prepare(const struct slurm_order *order, int attempt_fd, struct arena *arena,
                      const char **argv_out, uint32_t argv_max, struct err *err);
/* The script for sbatch's stdin. */
extern const char slurm_job_script[];
/* After its end: outputs, and the log files that the job's user named. */
int slurm_job_collect(const struct slurm_order *order, int attempt_fd, struct err *err);
/* Away with texts and variables, which may hold secrets. */
void slurm_job_clean(int attempt_fd);

struct slurm_event { /* one file of `agent`/slurm */
    int64_t at_ms;
    int32_t exit_code;
    int64_t cpu_ms;
    char host[64];
};
/* "<exit code or 0> <Unix ms> <host>" and lines of `times`; false: nothing understood. */
bool slurm_event_parse(const char *text, size_t len, struct slurm_event *event_out);
