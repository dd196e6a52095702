#include "agent/peers.h"

#include <inttypes.h>
#include <stdio.h>

#define MASTER_PORT_BASE 20000u
#define MASTER_PORTS 20000u
#define TASK_PORT_BASE 10000u
#define TASK_PORTS 10000u
#define ADDRESS_FIRST 64u /* 127.64/16 is of the parts with rank 0, 127.65/16 of the next, ... */

void peers_address(uint64_t job_id, uint32_t part, char out[PEERS_ADDRESS_BYTES])
{
    snprintf(out, PEERS_ADDRESS_BYTES, "127.%u.%u.%u", (ADDRESS_FIRST + part) & 255u,
             (unsigned)(job_id >> 8 & 255), (unsigned)(job_id & 255));
}

uint16_t peers_port(uint64_t job_id, uint32_t rank)
{
    uint64_t first = job_id % TASK_PORTS * REQUEST_ACROSS_TASKS_MAX;

    return (uint16_t)(TASK_PORT_BASE + (first + rank) % TASK_PORTS);
}

uint16_t peers_master_port(uint64_t job_id)
{
    return (uint16_t)(MASTER_PORT_BASE + job_id % MASTER_PORTS);
}

uint32_t peers_first_rank(const struct attempt_across *across, uint32_t part)
{
    uint32_t rank = 0;

    for (uint32_t i = 0; i < part; i++)
        rank += across->sites[i].tasks;
    return rank;
}

int peers_part_of_port(uint64_t job_id, const struct attempt_across *across, uint32_t port)
{
    uint32_t rank = 0;

    if (port == peers_master_port(job_id))
        return 0;
    for (uint32_t i = 0; i < across->count; i++)
        for (uint32_t t = 0; t < across->sites[i].tasks; t++)
            if (peers_port(job_id, rank++) == port)
                return (int)i;
    return -1;
}

void peers_print(uint64_t job_id, const struct attempt_across *across, struct buf *out)
{
    char address[PEERS_ADDRESS_BYTES];
    uint32_t rank = 0;

    for (uint32_t i = 0; i < across->count; i++) {
        peers_address(job_id, i, address);
        for (uint32_t t = 0; t < across->sites[i].tasks; t++, rank++)
            buf_printf(out, "%s%s:%u", rank ? "," : "", address, peers_port(job_id, rank));
    }
}
