/* slurm_text.h - reading what Slurm's commands print.
 *
 * Pure: text in, plain data out. Takes any bytes, keeps what it understood, never reads past `len`;
 * what is missing is 0, "" or -1. Texts that come out are printable ASCII. Works with the
 * one-line forms of `scontrol -d -o show node|partition` and with our own format of `squeue`; all
 * commands run with SLURM_TIME_FORMAT=%s. */
#pragma once

#include "base/err.h"
#include "model/inventory.h"

#define SLURM_GRES_MAX 8u /* kinds of device of one node */
#define SLURM_NODES_MAX 10000u
#define SLURM_PARTITIONS_MAX 256u
#define SLURM_JOBS_MAX 200000u
/* What slurm_parse_jobs reads: the name last, as it may hold anything. */
#define SLURM_JOBS_FORMAT "%i|%T|%S|%e|%C|%N|%r|%j"

struct slurm_gres {
    char name[16];               /* "gpu" */
    char type[MODEL_NAME_BYTES]; /* "a100"; "" = none told */
    uint32_t count, used;
};
struct slurm_node {
    char name[MODEL_NAME_BYTES];
    char arch[16], os[96];
    char state[64]; /* "IDLE+DRAIN" */
    char reason[96];
    char partitions[256]; /* commas between */
    uint32_t cpus, cpus_used;
    int64_t memory_bytes, memory_used_bytes, disk_bytes;
    uint32_t gres_count;
    struct slurm_gres gres[SLURM_GRES_MAX];
};
struct slurm_partition {
    char name[MODEL_NAME_BYTES];
    bool is_default, up, root_only;
    int64_t time_ms_max; /* 0 = no limit */
};
enum slurm_job_state {
    SLURM_PENDING,
    SLURM_RUNNING, /* or suspended */
    SLURM_ENDING,  /* COMPLETING: it has ended, its nodes are not free yet */
    SLURM_COMPLETED,
    SLURM_FAILED,
    SLURM_CANCELLED,
    SLURM_TIMEOUT,
    SLURM_NODE_FAIL,
    SLURM_MEMORY,
    SLURM_PREEMPTED,
    SLURM_STATE_OTHER
};
struct slurm_job {
    uint64_t id;
    enum slurm_job_state state;
    int64_t start_s, end_s; /* 0 = not known */
    char reason[64];        /* why it waits: "Resources" */
    char name[64];
};
/* Each calls `visit` for what it understood, in order; the number of them. */
uint32_t slurm_parse_nodes(const char *text, size_t len,
                           void (*visit)(void *, const struct slurm_node *), void *context);
uint32_t slurm_parse_partitions(const char *text, size_t len,
                                void (*visit)(void *, const struct slurm_partition *),
                                void *context);
/* squeue -h -o SLURM_JOBS_FORMAT */
uint32_t slurm_parse_jobs(const char *text, size_t len,
                          void (*visit)(void *, const struct slurm_job *), void *context);
/* "12" or "12;cluster" of sbatch --parsable; 0 = none. */
uint64_t slurm_parse_submitted(const char *text, size_t len);
/* May jobs start there? */
bool slurm_node_is_usable(const struct slurm_node *node);
/* "1-02:03:04", "02:03:04", "03:04.567", "UNLIMITED" (0); -1 = not a time. */
int64_t slurm_parse_time_ms(const char *text);
/* "gpu:a100:4(S:0-1),gpu:2"; `used`: they are GresUsed's, of those already there. */
void slurm_parse_gres(const char *text, size_t len, bool used, struct slurm_node *node);
