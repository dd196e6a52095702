/* rank_env.h - the environment of one process of a job: what mains promises (MAINS_*), what
 * torchrun and MPI read, the usual SLURM_* of a script that came with #SBATCH lines, SKYPILOT_* of
 * a SkyPilot task, and the chip's visibility variable. docs/job-file.md lists them.
 *
 * A list lives in an arena and is NULL-terminated as execve wants it. What the job's own `env` has
 * set wins, but for MAINS_* and the visibility variable, which are always ours. */
#pragma once

#include "model/spec.h"

#define RANK_ENV_VARIABLES_MAX 4096u

struct rank_env {
    struct arena *arena;
    char **list; /* "NAME=VALUE"; NULL-terminated; NULL while empty */
    uint32_t count, room;
    bool failed; /* out of memory or of room: the list lacks something */
};

struct rank_env rank_env_init(struct arena *arena);
/* Add or replace. */
void rank_env_set(struct rank_env *env, const char *name, const char *value);
void rank_env_format(struct rank_env *env, const char *name, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
const char *rank_env_find(const struct rank_env *env, const char *name); /* NULL = not there */

struct rank_node { /* a node of the attempt, in rank order */
    const char *name;
    const char *address; /* NULL: its name */
    uint32_t tasks;
};

struct rank_facts {
    uint64_t job_id;
    uint64_t array_id; /* 0 = not an element */
    uint32_t array_index, array_count;
    uint32_t attempt; /* 1 = first */
    uint32_t epoch;
    const char *tenant, *user, *site; /* NULL = not told */

    const struct rank_node *nodes;
    uint32_t nodes_count;
    uint32_t node_rank; /* this process's node among them */
    /* This process's task; with LAUNCH_ONCE the only one is rank 0 on node 0. */
    uint32_t rank, local_rank;

    /* As the vendor counts them. `devices` of this task (LAUNCH_ONCE: of the node). */
    const uint32_t *devices;
    uint32_t devices_count;
    const uint32_t *node_devices; /* all that the attempt holds on this node; NULL = `devices` */
    uint32_t node_devices_count;
    const char *visibility_env; /* "CUDA_VISIBLE_DEVICES"; NULL = none; no devices: set to "" */

    const char *bin_dir; /* has an `srun` of ours, for the PATH of scripts for Slurm; NULL = none */
    int64_t checkpoint_every_ms; /* how often it should save; 0 = as it likes */
    uint32_t share_ppm;          /* of a mixed gang: how much of all work is its; 0 = not mixed */
    const char *workdir;
    const char *hostfile;    /* written with rank_hostfile_print; NULL = none */
    const char *master_addr; /* NULL: address of node 0 */
    uint16_t master_port;    /* 0 = none */
    /* Of a gang over several sites, whose parts stand as its nodes; else NULL and 0. */
    const char *peers; /* "address:port" of all tasks, in the order of ranks */
    uint16_t port;     /* of this one */
};

/* The job's own variables: its env, its secrets, then those of `variant` (NULL = none). */
int rank_env_add_job(struct rank_env *env, const struct job_spec *spec,
                     const struct spec_variant *variant);
/* Everything that depends on the rank; after rank_env_add_job. Both: 0 or -ENOMEM. */
int rank_env_add_rank(struct rank_env *env, const struct job_spec *spec,
                      const struct rank_facts *facts);

/* One line a node, "name slots=N", as Open MPI's host file. */
int rank_hostfile_print(const struct job_spec *spec, const struct rank_facts *facts,
                        struct buf *out);
/* %j job (%J the same), %A array, %a element, %x name, %u user, %N node's name, %n node's rank,
 * %t task's rank, %% a percent; a number after % pads with zeros ("%4a"). -ENAMETOOLONG. */
int rank_expand_pattern(const struct job_spec *spec, const struct rank_facts *facts,
                        const char *pattern, char *out, size_t out_bytes);
