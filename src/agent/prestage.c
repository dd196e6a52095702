#include "agent/prestage.h"

#include "agent/labels.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define HELD_MS (24 * INT64_C(3600000))
#define AT_ONCE_MAX 64u /* jobs whose checkpoints wait or are on their way */

struct coming {
    struct depot_task task; /* first */
    struct coming *next, *prev;
    struct prestage *prestage;
    uint64_t job_id;
    struct store_id id;
    struct transfer_link link;
    struct transfer transfer;
    bool carrying;
};
struct prestage {
    struct prestage_config config;
    struct coming *list;
    uint32_t count;
};

int prestage_create(const struct prestage_config *config, struct prestage **prestage_out,
                    struct err *err)
{
    struct prestage *prestage = calloc(1, sizeof(*prestage));

    if (!prestage)
        return err_set(err, -ENOMEM, "out of memory");
    prestage->config = *config;
    *prestage_out = prestage;
    return 0;
}

static int step(struct depot_task *task, const struct depot_bench *bench, struct err *err)
{
    struct coming *coming = (struct coming *)task;
    char root[STORE_ROOT_NAME_BYTES_MAX + 1];
    int rc;

    if (!coming->carrying) {
        coming->transfer = transfer_init(bench->store, bench->easy, &coming->link, bench->pace,
                                         false, &coming->id);
        coming->transfer.meter = bench->meter;
        coming->carrying = true;
    }
    rc = transfer_step(&coming->transfer, err);
    if (rc != 0)
        return rc;
    snprintf(root, sizeof(root), "pre-%" PRIu64, coming->job_id);
    return store_root_set(bench->store, root, &coming->id, clock_wall_ms() + HELD_MS, err);
}

static void drop_step(struct depot_task *task)
{
    struct coming *coming = (struct coming *)task;

    if (coming->carrying)
        transfer_fini(&coming->transfer); /* it waits for what is on its way: not on the loop */
}

static void done(struct depot_task *task)
{
    struct coming *coming = (struct coming *)task;
    struct prestage *prestage = coming->prestage;

    if (coming->carrying)
        transfer_fini(&coming->transfer);
    if (task->rc == 0)
        log_info("job %" PRIu64 ": its checkpoint is here, should it have to go on here",
                 coming->job_id);
    else if (task->rc != -ECANCELED)
        log_info("job %" PRIu64 ": its checkpoint was not had beforehand: %s", coming->job_id,
                 task->err.text);
    DL_DELETE(prestage->list, coming);
    prestage->count--;
    transfer_link_fini(&coming->link);
    free(coming);
}

static bool may_come(const struct prestage *prestage, const struct wire_command *command)
{
    const struct site_policy *policy = prestage->config.policy;
    struct labels labels = { .count = 0 };
    const char *barred = "that are not told";

    if (!policy->come_told)
        return true;
    for (uint32_t i = 0; i < command->labels_count && i < REQUEST_LABELS_MAX; i++)
        memcpy(labels.names[labels.count++], command->labels[i], MODEL_NAME_BYTES);
    if (command->labels_told && !(barred = labels_barred(&labels, policy)))
        return true;
    log_warn("job %" PRIu64 ": a checkpoint of it is refused: data labelled %s may not come here",
             command->attempt.job_id, barred);
    return false;
}

void prestage_take(struct prestage *prestage, const struct wire_command *command)
{
    struct coming *coming, *next;
    struct store_id id;

    if (!store_id_parse(command->checkpoint, strlen(command->checkpoint), &id) ||
        !may_come(prestage, command))
        return;
    DL_FOREACH_SAFE (prestage->list, coming, next) {
        if (coming->job_id == command->attempt.job_id)
            depot_cancel(prestage->config.depot, &coming->task);
    }
    if (prestage->count >= AT_ONCE_MAX || !(coming = calloc(1, sizeof(*coming))))
        return;
    coming->prestage = prestage;
    coming->job_id = command->attempt.job_id;
    coming->id = id;
    coming->task.turn = (struct turn){ .kind = TURN_PRESTAGE };
    coming->task.step = step;
    coming->task.drop = drop_step;
    coming->task.done = done;
    prestage->config.link(prestage->config.context, &coming->link);
    DL_APPEND(prestage->list, coming);
    prestage->count++;
    depot_submit(prestage->config.depot, &coming->task);
}

void prestage_destroy(struct prestage *prestage)
{
    free(prestage);
}
