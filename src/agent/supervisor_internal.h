/* supervisor_internal.h - the supervisor's own state, shared by its files only. */
#pragma once

#include "agent/crew.h"
#include "agent/freeze.h"
#include "agent/lease.h"
#include "agent/logs.h"
#include "agent/sandbox.h"
#include "agent/save_wait.h"
#include "agent/supervisor.h"
#include "base/arena.h"
#include "model/rank_env.h"
#include "model/spec.h"

#include <limits.h>

#define WORK_DEFAULT "work"
#define SUPERVISOR_ARENA_BYTES_MAX (64u << 20)

struct supervisor {
    const struct supervisor_place *place;
    const struct attempt_order *order;
    int attempt_fd;
    char name[ATTEMPT_NAME_BYTES];
    struct job_spec *spec;
    struct arena arena;
    uint32_t rank_first;     /* of the attempt's ranks, the first here */
    struct rank_node *nodes; /* of an attempt over several machines; NULL = it is alone */
    struct identity identity;
    bool sandboxed;

    char work_path[PATH_MAX]; /* on the host */
    const char *work_seen;    /* as the job sees it */
    const char *bin_dir;      /* commands of ours for it; NULL = none */
    int work_fd;
    bool work_private; /* ours to bound and remove */
    bool work_kept;    /* may stay, empty, for the folder's next attempt */

    struct cgroup *cgroup;  /* NULL = none */
    int64_t self_us_before; /* CPU time that earlier attempts cost this process */
    struct sandbox sandbox;
    struct crew_plan plan;
    struct crew crew;
    bool crew_on;
    struct logs logs;
    int log_writes[2]; /* open to the end: the ranks may start only after setup */
    int signal_fd, oom_fd;
    int lease_fd; /* a timer on CLOCK_BOOTTIME: when the lease would begin to end; -1 = none */

    struct attempt_record record;
    bool decided; /* how it ends is known; the first reason counts */
    bool done;    /* no rank runs any more */
    bool told_started;
    bool has_left;    /* the group that bounds CPUs: no further attempt can be born in it */
    int64_t leave_at; /* 0 = not, or done */
    int64_t began_mono_ms;
    /* 0 = never */
    int64_t kill_by; /* whatever its grace */
    int64_t kill_at, limit_at, warn_at, disk_at, space_at, checkpoint_at, progress_at;
    int64_t disk_seen_bytes, disk_pause_ms;
    /* When to look for a new checkpoint; the newest seen, and the newest told of. */
    int64_t seen_at, seen_ms, seen_told_ms;
    int64_t seen_restless_at; /* since when each look finds another; 0 = it does not */
    int64_t asked_ms;         /* when a save was asked for that has not been seen; 0 = none */
    bool restored;            /* there is a checkpoint to go on from */
    /* Asked to save before it is stopped. */
    int64_t save_at; /* when to look for it next; 0 = nothing is waited for */
    struct save_wait save;
    /* It stands still, since then (0 = not), and has stood before. */
    enum freeze_way frozen;
    int64_t frozen_at, stood_ms;
    bool was_frozen; /* a group may be left of it */
};

/* supervisor_prepare.c: all that comes before the ranks: folders, inputs, environment, argv. */
int supervisor_prepare(struct supervisor *sup, struct err *err);
/* Is there a word to stop in the attempt's folder? */
bool supervisor_read_stop(struct supervisor *sup, int64_t *grace_ms_out,
                          char reason_out[ATTEMPT_REASON_BYTES]);
/* The variant of the job for the devices it got; NULL = none fits. */
int64_t supervisor_save_every_ms(const struct supervisor *sup); /* 0 = as the job likes */
const struct spec_variant *supervisor_find_variant(const struct supervisor *sup);
