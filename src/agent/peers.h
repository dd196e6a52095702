/* peers.h - where the tasks of a gang over several sites are to be reached: the same addresses at
 * each of its sites, so that tasks may tell them to each other.
 *
 * Each part has an address of its own in 127/8, by its job, and each task a port of its own. At the
 * task's site that is where it listens (or at any address: 0.0.0.0 will do, and so will 127.0.0.1
 * for what comes from other sites); at the others the agent listens there and carries what is
 * connected to the task (tunnel.h). */
#pragma once

#include "agent/attempt.h"

#define PEERS_ADDRESS_BYTES 16u
#define PEERS_TEXT_BYTES_MAX (REQUEST_ACROSS_TASKS_MAX * 24u) /* of MAINS_PEERS */

void peers_address(uint64_t job_id, uint32_t part, char out[PEERS_ADDRESS_BYTES]);
uint16_t peers_port(uint64_t job_id, uint32_t rank);
/* MASTER_PORT: of rank 0, beside its own. */
uint16_t peers_master_port(uint64_t job_id);
uint32_t peers_first_rank(const struct attempt_across *across, uint32_t part);
/* Which part listens on this port of the job; -1 = none of them. */
int peers_part_of_port(uint64_t job_id, const struct attempt_across *across, uint32_t port);
/* "127.64.0.7:11792,127.65.0.7:11793": in the order of ranks. */
void peers_print(uint64_t job_id, const struct attempt_across *across, struct buf *out);
