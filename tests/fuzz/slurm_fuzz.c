/* slurm_fuzz.c - what Slurm's commands print, and what a job's script says of itself. The first
 * byte chooses the reader. */
#include "agent/slurm_job.h"
#include "agent/slurm_text.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t bytes)
{
    size_t len = strnlen(text, bytes);

    assert(len < bytes);
    for (size_t i = 0; i < len; i++)
        assert(text[i] >= 0x20 && text[i] < 0x7f);
}

static void see_node(void *context, const struct slurm_node *node)
{
    (void)context;
    assert(node->name[0] && node->cpus_used <= node->cpus && node->gres_count <= SLURM_GRES_MAX);
    check_text(node->state, sizeof(node->state));
    check_text(node->reason, sizeof(node->reason));
    for (uint32_t i = 0; i < node->gres_count; i++)
        assert(node->gres[i].used <= node->gres[i].count &&
               node->gres[i].count <= NODE_DEVICES_MAX);
    (void)slurm_node_is_usable(node);
}

static void see_partition(void *context, const struct slurm_partition *partition)
{
    (void)context;
    assert(partition->name[0] && partition->time_ms_max >= 0);
}

static void see_job(void *context, const struct slurm_job *job)
{
    struct attempt_key key;

    (void)context;
    assert(job->id > 0);
    check_text(job->reason, sizeof(job->reason));
    (void)slurm_job_parse_name("0123abcd", job->name, &key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slurm_event event;
    const char *text = (const char *)data + 1;

    if (size == 0)
        return 0;
    size--;
    switch (data[0]) {
    case 'N':
        slurm_parse_nodes(text, size, see_node, NULL);
        break;
    case 'P':
        slurm_parse_partitions(text, size, see_partition, NULL);
        break;
    case 'J':
        slurm_parse_jobs(text, size, see_job, NULL);
        break;
    case 'E':
        (void)slurm_event_parse(text, size, &event);
        break;
    case 'S':
        (void)slurm_parse_submitted(text, size);
        break;
    default:
        break;
    }
    return 0;
}
