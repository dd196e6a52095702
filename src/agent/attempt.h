/* attempt.h - what agent, spawner and supervisor agree on about one attempt: its order, its folder
 * and its final record.
 *
 * The folder `attempts/<job>.<epoch>` is made by the agent (mkdir is the durable mark "this epoch
 * was begun here": the same one never runs twice) and flock'd from then on: first through the
 * agent's descriptor, which travels with the order, then through the supervisor's copy. No lock and
 * no record means: the supervisor died, the attempt is lost. In it:
 * - run: "<pid> <started_ms> <cgroup>" of the supervisor when it starts the ranks; at the end the
 *   record is put behind it, and it moves to ended/
 * - stop: "<grace_ms> <reason>\n", asks the supervisor to stop; SIGUSR1 makes it look
 * - suspend: while it is there the attempt is to stand still; SIGUSR1 makes it look
 * - work/: the private work folder
 * - place: a link that names the work folder, of a job with a checkpoint
 * - saved/: its checkpoint, once it has ended otherwise than well and its work folder is gone
 * - stdout, stderr: the logs (made at the first byte)
 * - outputs/: what was collected
 * - ended: the final record, once the controller has it */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "model/inventory.h"
#include "model/request.h"
#include "model/usage.h"

#include <sys/types.h>

#define ATTEMPT_NAME_BYTES 40u
#define ATTEMPT_REASON_BYTES 160u
#define ATTEMPT_NOTE_BYTES_MAX 3968u /* one line on the notify FIFO: less than PIPE_BUF */
/* `run`, which becomes the record: a line about the supervisor, filled up with blanks, then the
 * record's line, filled up. Never longer nor shorter, so that one that serves again frees no disk
 * block (some file systems wait for the disk to discard it). */
#define ATTEMPT_RUN_BYTES 128u
#define ATTEMPT_FILE_BYTES (ATTEMPT_RUN_BYTES + ATTEMPT_NOTE_BYTES_MAX)
#define ATTEMPT_LOG_BYTES_DEFAULT (64LL << 20)

/* The numbers of enum attempt_outcome in grid/event.h, which the agent must not include. */
enum attempt_end {
    END_EXITED = 0,
    END_SIGNALLED = 1,
    END_TIME_LIMIT = 2,
    END_MEMORY = 3,
    END_DISK = 4,
    END_STOPPED = 5,
    END_START_FAILED = 6,
    END_LOST = 7,
    END_LEASE = 12,  /* its site's lease ended, or was about to */
    END_REFUSED = 13 /* by the site's owner: it never ran */
};

struct attempt_key {
    uint64_t job_id;
    uint32_t epoch;
};
void attempt_name(struct attempt_key key, char out[ATTEMPT_NAME_BYTES]);
bool attempt_parse_name(const char *name, struct attempt_key *key_out);

struct attempt_device {
    uint32_t index; /* in the node's inventory */
    uint32_t milli;
    uint32_t vendor_index;
    char visibility_env[48], visibility_value[96];
    char family[32];
    char chip[MODEL_NAME_BYTES];
    char device_nodes[192]; /* ';' between paths */
};

struct attempt_across {   /* a gang over several sites: its parts in the order of ranks */
    uint32_t count, self; /* count 0: it is here alone */
    struct {
        char site[MODEL_NAME_BYTES];
        uint32_t tasks;
    } sites[REQUEST_SITES_MAX];
};

/* Plain bytes: goes as it is from the agent to the spawner, which is a fork of it. */
struct attempt_order {
    struct attempt_key key;
    uint64_t array_id;
    uint32_t array_index, array_count;
    uint32_t attempt_number;
    int64_t duration_ms_max; /* 0 = none */
    uid_t uid;
    gid_t gid;
    bool drop;       /* become uid:gid (the agent is root); else they are its own */
    bool host_paths; /* may use the host's folders as its unix user */
    bool sandbox_off_allowed, sandbox_off_forced;
    uint64_t lease; /* the number of the lease that it must not outlive; 0 = it goes on */
    char tenant[MODEL_NAME_BYTES], user[MODEL_NAME_BYTES], name[MODEL_NAME_BYTES];
    char node[MODEL_NAME_BYTES], site[MODEL_NAME_BYTES];
    /* Of an attempt over several machines: which of them this is. `nodes_count` 0 = it is alone. */
    uint32_t node_rank, nodes_count;
    uint32_t gang_len; /* of the text about all of them (gang.h), right behind the spec */
    /* As it was told, for who passes the order on. */
    int32_t told_uid, told_gid;
    char checkpoint[65];
    bool staged; /* agent_dir/staged/<job>.<epoch> holds the checkpoint that it goes on from */
    int64_t checkpoint_saved_ms;
    int64_t checkpoint_every_ms; /* the network's word on it; 0 = the spec's */
    uint32_t node_cpus;          /* of the whole node: no quota is set for a job that holds all */
    uint32_t tasks, cpus;
    int64_t memory_bytes, disk_bytes; /* of this part in all; 0 = no limit */
    uint32_t processes_max;           /* 0 = the usual */
    uint32_t spec_len;                /* the spec's JSON follows */
    struct attempt_across across;
    uint32_t shares_count; /* of a mixed gang: of the work of all, each task's, in ppm */
    uint32_t shares_ppm[NODE_DEVICES_MAX];
    uint32_t devices_count;
    struct attempt_device devices[NODE_DEVICES_MAX]; /* last: only those there are are sent */
};

struct attempt_record {
    struct attempt_key key;
    uint32_t end; /* enum attempt_end */
    int32_t exit_code;
    int64_t started_ms, ended_ms; /* started 0 = never */
    int64_t checkpoint_ms;
    int64_t stall_ms; /* of the newest save that was asked for and has not been told; 0 = none */
    int64_t suspended_ms; /* of usage.wall_ms it stood still */
    struct usage usage;
    char reason[ATTEMPT_REASON_BYTES];
    uint32_t devices_count; /* for the energy model, should the agent have started anew */
    struct {
        uint32_t index, milli;
    } devices[NODE_DEVICES_MAX];
};

/* What a supervisor says on the notify FIFO: one line of JSON each. */
enum attempt_note_type {
    NOTE_STARTED,
    NOTE_PROGRESS,
    NOTE_ENDED,
    NOTE_SUSPENDED /* it stands still; with a reason: it could not */
};
struct attempt_note {
    enum attempt_note_type type;
    pid_t pid; /* NOTE_STARTED */
    struct attempt_record record;
};

/* One line with '\n', at most ATTEMPT_NOTE_BYTES_MAX. */
int attempt_note_print(const struct attempt_note *note, struct buf *out);
/* A record file, opened for reading or writing. Reading: -EBADMSG when it holds no record of `key`.
 */
int attempt_record_write(int fd, const struct attempt_record *record);
int attempt_record_read(int fd, struct attempt_key key, struct attempt_record *record_out);
/* The first line of `run`. */
int attempt_run_write(int fd, const char *line);
/* -EBADMSG when it is none. */
int attempt_note_parse(const char *line, size_t len, struct attempt_note *note_out,
                       struct err *err);
