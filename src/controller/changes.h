/* changes.h - what changed, in order: the source of GET /events, of long polls and of log relays.
 *
 * Entries are noted as the grid steps and told once durable. A ring keeps the newest; a client that
 * resumes from further back is served by a replay of the journal on a worker thread. */
#pragma once

#include "controller/replay.h"

struct controller;
struct api_call;

enum change_kind { CHANGE_JOB, CHANGE_SITE, CHANGE_NODE };
struct change {
    uint64_t seq;
    enum change_kind kind;
    bool ended;
    uint64_t job_id, array_id;
    uint32_t array_index, epoch;
    enum job_state state;
    int32_t exit_code;
    char tenant[MODEL_NAME_BYTES], name[MODEL_NAME_BYTES]; /* of a job; or site and node */
    char text[REASON_BYTES]; /* the job's reason; "joined", "seen", "lost", "cordoned", ... */
};
/* From an effect or an event; false: nothing to tell. */
bool change_from_effect(uint64_t seq, const struct effect *effect, struct change *change_out);
bool change_from_event(uint64_t seq, const struct event *event, struct change *change_out);

struct events;
struct events *events_create(struct controller *controller);
void events_destroy(struct events *events);
void events_note(struct events *events, const struct change *change);
/* Tell all up to `seq`. */
void events_publish(struct events *events, uint64_t seq);
void events_handle(struct api_call *call); /* GET /events */
uint32_t events_clients(const struct events *events);
