/* simsite_log.h - what a simulated site ran, one JSON object a line: its memory over restarts of
 * the agent, and the books that tests compare with the controller's.
 *
 *     {"ms":..,"run":"7.1","begin":..,"until":..,"end":0,"code":0,"parts":[[node,cpus,[dev,milli,
 *      ...]],...]}
 *     {"ms":..,"stop":"7.1","until":..,"end":5,"reason":".."}
 *     {"ms":..,"clash":"7.1","node":3,"device":2}   what it was given is held by another
 *     {"ms":..,"ended":"7.1","begin":..,"until":..,"end":0,"code":0,"reason":"","cpu_ms":..,
 *      "cpu_held_ms":..,"device_milli_ms":..}
 *     {"ms":..,"forget":"7.1"}
 * Lines are appended whole with one write and survive a kill of the agent, not of the machine. A
 * line that cannot be read is skipped. A file that is past half of SIMSITE_LOG_BYTES_MAX is
 * rewritten when it is opened: what is over and forgotten goes. */
#pragma once

#include "agent/attempt.h"

#define SIMSITE_LOG_BYTES_MAX (256u << 20)

struct simsite_part {
    uint32_t node, cpus;
    uint32_t devices_count;
    struct {
        uint32_t index, milli;
    } * devices;
};
struct simsite_run {              /* an attempt as it is or was */
    struct attempt_record record; /* ended_ms: when it will end, or has */
    bool ended, stopped;
    uint64_t lease; /* which it must not outlive; 0 = none */
    uint32_t parts_count;
    struct simsite_part *parts; /* one block with their devices */
};

struct simsite_log; /* opaque */
/* What is not forgotten, each told once, in the order it began; `take` owns run->parts then. */
int simsite_log_open(const char *path, void (*take)(void *context, const struct simsite_run *run),
                     void *context, struct simsite_log **log_out, struct err *err);
void simsite_log_close(struct simsite_log *log);
/* 0 or -errno. Those that tell no result are for people only. */
int simsite_log_run(struct simsite_log *log, const struct simsite_run *run);
int simsite_log_stop(struct simsite_log *log, const struct attempt_record *record);
void simsite_log_clash(struct simsite_log *log, struct attempt_key key, uint32_t node,
                       uint32_t device);
int simsite_log_ended(struct simsite_log *log, const struct attempt_record *record);
void simsite_log_forget(struct simsite_log *log, struct attempt_key key);
/* Parts with room for so many devices in all: a block to be free'd; NULL when memory is short. */
struct simsite_part *simsite_parts_create(uint32_t parts_count, uint32_t devices_count);
